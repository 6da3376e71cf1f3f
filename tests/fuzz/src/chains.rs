//! Seeds of chains of effects: documents, and edits of them.

/// Lines as the target `chain_document` reads them.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let row = concat!(
        r#"{"schema":1,"name":"Strings","latency_frames":4800,"next_id":4,"items":[{"effect":{"id":0,"kind":"eq"}},"#,
        r#"{"effect":{"id":1,"kind":"compressor","bypassed":true,"values":{"1":-18.5,"2":4.0}}},"#,
        r#"{"effect":{"id":3,"kind":"clap:org.example.plate","name":"Plate","state":"Zm9v"}}]}"#
    );
    let side_by_side = concat!(
        r#"{"schema":1,"items":[{"parallel":{"id":0,"branches":[{"level_db":-6.0,"items":[]},{"items":["#,
        r#"{"effect":{"id":1,"kind":"reverb"}},{"parallel":{"id":2,"branches":[{"items":[{"effect":{"id":5,"kind":"delay"}}]}]}}"#,
        r#"]}]}}]}"#
    );
    let edits = [
        r#"{"add":{"at":{"index":0},"kind":"limiter"}}"#,
        r#"{"add-parallel":{"at":{"index":4294967295},"branches":3}}"#,
        r#"{"add":{"at":{"within":[5,1],"index":0},"kind":"gate"}}"#,
        r#"{"move":{"id":0,"to":{"within":[5,2],"index":9}}}"#,
        r#"{"set":{"effect":1,"parameter":1,"value":-24.0}}"#,
        r#"{"add-branch":5}"#,
        r#"{"remove-branch":[5,0]}"#,
        r#"{"bypass":[1,false]}"#,
        r#"{"rename":[3,"Hall"]}"#,
        r#"{"rename-chain":"Choir"}"#,
        r#"{"set-state":[3,null]}"#,
        r#"{"remove":1}"#,
        r#"{"replace":{"schema":1,"items":[]}}"#,
    ];
    let edited = [&[row][..], &edits[..]].concat().join("\n");
    let slots = r#"{"0":{"effect":1,"parameter":1,"low":-60.0,"high":0.0},"63":{"effect":3,"parameter":9,"low":1.0,"high":0.0,"name":"Size"}}"#;
    [row, side_by_side, &edited, slots].map(|seed| ("chain_document", seed.as_bytes().to_vec())).to_vec()
}
