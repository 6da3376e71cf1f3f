//! Seeds of what a plug-in's process says: two messages, the first with a blob.

/// Seeds of the target `plugin_reply`, whose first byte is the length of the pieces in which the rest comes.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |head: &str, blob: &[u8]| {
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(0).to_le_bytes();
        [&length(head.len()), &length(blob.len()), head.as_bytes(), blob].concat()
    };
    let state = frame(r#"{"number":1,"answer":"State"}"#, &[1, 2, 3]);
    let described = r#"{"number":2,"answer":{"Described":{"listed":{"id":"a","features":["reverb"]},
        "inputs":[{"name":"In","channels":2,"main":true}],"parameters":[{"id":7,"min":0.0,"max":1.0}],
        "latency_frames":64,"tail":{"Frames":100},"copies":1}}}"#;
    let unasked = frame(r#"{"number":null,"answer":{"Log":"hm"}}"#, &[]);
    let all = [&[9][..], &state, &frame(described, &[]), &unasked].concat();
    let list = frame(r#"{"number":null,"answer":{"Scanned":[{"id":"a","name":"A"}]}}"#, &[]);
    vec![("plugin_reply", all), ("plugin_reply", [&[255][..], &list].concat())]
}
