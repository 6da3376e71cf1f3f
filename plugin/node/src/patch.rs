//! `audiocloud patch`: who hears what, as a matrix of inputs and streams, and its rewiring.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::bail;
use audiocloud_net::runtime::Config;
use audiocloud_net::runtime::control::{self, Patch};
use audiocloud_net::wire::id::{InputId, StreamKey};
use serde_json::{Value, json};

use crate::arguments::{Crossing, PatchArguments, PatchCommand};
use crate::choice;
use crate::field::{clean, fingerprint, list, plain, quoted};
use crate::output::answer;
use crate::words;

/// How long another machine may take to follow a patch, or refuse it.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) fn run(arguments: &PatchArguments, config: &Config) -> anyhow::Result<()> {
    let runtimes = control::query_all(&config.runtime_dir);
    match &arguments.command {
        None | Some(PatchCommand::List) => {
            let (inputs, streams) = (inputs(&runtimes), words::reachable(&runtimes));
            answer(
                arguments.json,
                &json!({ "inputs": inputs, "streams": streams }),
                &matrix(&inputs, &streams),
            )
        }
        Some(PatchCommand::Connect(crossing)) => rewire(config, &runtimes, crossing, true, arguments.json),
        Some(PatchCommand::Disconnect(crossing)) => {
            rewire(config, &runtimes, crossing, false, arguments.json)
        }
    }
}

/// Every input that some runtime knows, once; our own as its own process tells it.
fn inputs(runtimes: &[Value]) -> Vec<Value> {
    let mut inputs: Vec<Value> =
        runtimes.iter().flat_map(|runtime| list(runtime, "inputs")).cloned().collect();
    inputs.sort_by_key(|input| {
        (plain(input, "device_name"), plain(input, "name"), plain(input, "id"), input["local"] != true)
    });
    inputs.dedup_by_key(|input| plain(input, "id"));
    inputs
}

fn plays(input: &Value, key: &StreamKey) -> bool {
    let is_it = |stream: &Value| {
        plain(stream, "publisher") == key.publisher.to_string()
            && plain(stream, "stream") == key.stream.to_string()
    };
    list(input, "playing").iter().any(is_it)
}

/// Inputs down, streams across by number; then what the numbers are.
fn matrix(inputs: &[Value], streams: &[Value]) -> String {
    if inputs.is_empty() {
        return "Nothing plays streams here or at a connected peer now.\n".to_owned();
    }
    let key = |stream: &Value| {
        let text = format!("{}/{}", plain(stream, "publisher"), plain(stream, "stream"));
        text.parse::<StreamKey>().ok()
    };
    let keys: Vec<Option<StreamKey>> = streams.iter().map(key).collect();
    let title = |input: &Value| {
        let shut = if input["open"] == true || input["local"] == true { "" } else { " (not open)" };
        format!("{} at {}{shut}", quoted(input, "name"), plain(input, "device_name"))
    };
    let titles: Vec<String> = inputs.iter().map(title).collect();
    let width = titles.iter().map(|title| title.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    // Writing to a string cannot fail.
    write!(text, "{:width$} ", "").ok();
    (1..=streams.len()).for_each(|number| _ = write!(text, " {number:>2}"));
    for (input, title) in inputs.iter().zip(&titles) {
        write!(text, "\n{title:width$} ").ok();
        for key in &keys {
            let cross = key.as_ref().is_some_and(|key| plays(input, key));
            write!(text, "  {}", if cross { '●' } else { '·' }).ok();
        }
        let unlisted =
            list(input, "playing").len() - keys.iter().flatten().filter(|key| plays(input, key)).count();
        if unlisted > 0 {
            write!(text, "  and {unlisted} that cannot be reached from here").ok();
        }
    }
    text += "\n\n";
    for (number, stream) in (1..).zip(streams) {
        let publisher = plain(stream, "publisher_name");
        let whose = if publisher.is_empty() { fingerprint(stream, "publisher") } else { publisher };
        writeln!(
            text,
            "{number:>2}  {} from {whose}, id {}",
            quoted(stream, "name"),
            plain(stream, "stream")
        )
        .ok();
    }
    text
}

/// Asks a runtime that knows the input, and waits until it plays the stream, no longer does, or says why not.
fn rewire(
    config: &Config,
    runtimes: &[Value],
    crossing: &Crossing,
    on: bool,
    json: bool,
) -> anyhow::Result<()> {
    let known = inputs(runtimes);
    let input = choice::input(&known, &crossing.input)?;
    let stream = choice::stream(&words::reachable(runtimes), &crossing.stream)?;
    let (Ok(device), Ok(id)) = (plain(input, "device").parse(), plain(input, "id").parse::<InputId>()) else {
        bail!("the process that lists this input is of another version; update audiocloud");
    };
    let place = format!("{} at {}", quoted(input, "name"), plain(input, "device_name"));
    let what = if on { "plays" } else { "no longer plays" };
    let said = json!({ "device": device, "input": id, "stream": stream.to_string(), "on": on });
    if plays(input, &stream) == on {
        return answer(json, &said, &format!("{place} {what} it already.\n"));
    }
    let knows = |runtime: &&Value| {
        // Its own process is asked first, for there nobody has to be persuaded.
        list(runtime, "inputs")
            .iter()
            .any(|one| plain(one, "id") == plain(input, "id") && one["local"] == input["local"])
    };
    let Some(runtime) = runtimes.iter().find(knows) else {
        bail!("{place} is gone; `audiocloud patch` shows what is there")
    };
    let instance = plain(runtime, "instance");
    let before = refusals(runtime, &plain(input, "id"));
    control::patch(&config.runtime_dir, &instance, &Patch { device, input: id, stream, on })?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        std::thread::sleep(LOOK_EVERY);
        let now = control::query_all(&config.runtime_dir);
        if let Some(input) = inputs(&now).iter().find(|one| plain(one, "id") == plain(input, "id"))
            && plays(input, &stream) == on
        {
            return answer(json, &said, &format!("{place} {what} it.\n"));
        }
        let asked = now.iter().find(|one| plain(one, "instance") == instance);
        let refused = asked.map(|runtime| refusals(runtime, &plain(input, "id"))).unwrap_or_default();
        if let Some(text) = refused.get(before.len()..).and_then(<[String]>::last) {
            bail!("{place} is not rewired: {text}");
        }
    }
    bail!(
        "{place} did not follow within {} seconds; its DAW may have stopped, or its project has another way to choose streams",
        PATIENCE.as_secs()
    )
}

/// Why patches of this input were not followed, oldest first.
fn refusals(runtime: &Value, input: &str) -> Vec<String> {
    let of_input = |one: &&Value| plain(one, "input") == input;
    list(runtime, "patch_refusals")
        .iter()
        .filter(of_input)
        .map(|one| clean(one["text"].as_str().unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str, id: u64) -> Value {
        json!({"publisher": "11".repeat(32), "publisher_name": "Ada", "name": name, "stream": format!("{id:016x}")})
    }

    fn input(name: &str, id: u64, playing: &[Value], open: bool, local: bool) -> Value {
        json!({"device": "22".repeat(32), "device_name": "Ben", "id": format!("{id:016x}"), "name": name,
               "playing": playing, "open": open, "local": local})
    }

    #[test]
    fn the_matrix_shows_who_plays_what() {
        let (guitar, voice) = (stream("Guitar", 1), stream("Voice", 2));
        let elsewhere = stream("Drums", 3);
        let inputs = [
            input("Monitor", 7, std::slice::from_ref(&voice), true, false),
            input("Tape", 8, &[guitar.clone(), elsewhere], false, false),
        ];
        let drawn = matrix(&inputs, &[guitar, voice]);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(
            lines,
            [
                "                           1  2",
                "\"Monitor\" at Ben           ·  ●",
                "\"Tape\" at Ben (not open)   ●  ·  and 1 that cannot be reached from here",
                "",
                " 1  \"Guitar\" from Ada, id 0000000000000001",
                " 2  \"Voice\" from Ada, id 0000000000000002",
            ]
        );
        assert!(matrix(&[], &[]).starts_with("Nothing plays"));
    }

    #[test]
    fn an_input_that_two_processes_know_is_told_by_its_own() {
        let runtimes = [
            json!({"inputs": [input("Old name", 7, &[], true, false)]}),
            json!({"inputs": [input("Old name", 7, &[], true, true)]}),
        ];
        let inputs = inputs(&runtimes);
        assert_eq!((inputs.len(), &inputs[0]["local"]), (1, &Value::Bool(true)));
    }

    #[test]
    fn only_refusals_of_this_input_count() {
        let runtime =
            json!({"patch_refusals": [{"input": "a", "text": "no"}, {"input": "b", "text": "never"}]});
        assert_eq!(refusals(&runtime, "b"), ["never"]);
    }
}
