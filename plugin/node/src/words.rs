//! What the runtimes answered, in words: a line for each stream.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

/// The latest lines of a runtime's journal, of which `--json` has all.
const JOURNAL_LINES: usize = 5;
const NOTHING_RUNS: &str = "No audiocloud plug-in is running for this user on this machine.\n";

/// Several lines per runtime: what it is, its streams, its peers, whom it turned away.
pub(crate) fn status(runtimes: &[Value]) -> String {
    if runtimes.is_empty() {
        return NOTHING_RUNS.to_owned();
    }
    runtimes.iter().map(runtime).collect::<Vec<_>>().join("\n")
}

fn runtime(runtime: &Value) -> String {
    let mut text = format!(
        "{}: process {}, UDP port {}, device {}, version {}\n",
        quoted(runtime, "name"),
        number(runtime, "pid"),
        number(runtime, "port"),
        fingerprint(runtime, "device"),
        plain(runtime, "version"),
    );
    let mut line = |what: &str, words: String| {
        // Writing to a string cannot fail.
        writeln!(text, "  {what:<9}{words}").ok();
    };
    list(runtime, "instances").iter().for_each(|one| line("plug-in", instance(one)));
    list(runtime, "publications").iter().for_each(|one| line("sends", publication(one)));
    list(runtime, "subscriptions").iter().for_each(|one| line("receives", subscription(one)));
    list(runtime, "peers").iter().for_each(|one| line("peer", peer(one)));
    list(runtime, "refusals").iter().for_each(|one| line("refused", clean(one.as_str().unwrap_or_default())));
    let journal = list(runtime, "journal");
    let lately = &journal[journal.len().saturating_sub(JOURNAL_LINES)..];
    lately.iter().for_each(|one| line("log", clean(one.as_str().unwrap_or_default().trim_start())));
    text
}

/// A plug-in, in the words of its own window.
fn instance(report: &Value) -> String {
    let name = plain(report, "name");
    let name = if name.is_empty() { name } else { format!(" \"{name}\"") };
    let sentence = if report["busy"] == true { "busy".to_owned() } else { plain(report, "sentence") };
    format!("{}{name}: {sentence}", plain(report, "plugin"))
}

fn publication(publication: &Value) -> String {
    let counters = &publication["counters"];
    let dropped = total(counters, "dropped_");
    let mut words = format!(
        "{}, {}, {}, {} packets",
        quoted(publication, "name"),
        format_of(publication),
        counted(publication["subscribers"].as_u64().unwrap_or(0), "listener", "listeners"),
        number(counters, "packets"),
    );
    if dropped > 0 {
        write!(words, ", {dropped} dropped").ok();
    }
    words
}

fn subscription(subscription: &Value) -> String {
    let counters = &subscription["counters"];
    let mut words = format!("{} from {}: ", quoted(subscription, "name"), publisher(subscription));
    let reason = plain(subscription, "reason");
    let seconds = subscription["since_ms"].as_i64().map(|ms| ms / 1000);
    let link = match plain(subscription, "link").as_str() {
        "live" => format!(
            "live, {}, {} packets, {} missing",
            format_of(subscription),
            number(counters, "packets"),
            number(counters, "sequence_gaps")
        ),
        "searching" => "looking for its publisher".to_owned(),
        "connecting" => "connecting".to_owned(),
        "not-published" => "its publisher is there but does not send it now".to_owned(),
        "refused" => format!("refused: {reason}"),
        "unplayable" => format!("cannot be played: {reason}"),
        "lost" => format!("lost ({reason}), looking for it again"),
        other => other.to_owned(),
    };
    words += &link;
    if let Some(seconds) = seconds {
        write!(words, ", for {seconds} s").ok();
    }
    words
}

fn peer(peer: &Value) -> String {
    let mut words =
        format!("{} at {}: {}", quoted(peer, "name"), plain(peer, "address"), plain(peer, "state"));
    let reason = plain(peer, "reason");
    if !reason.is_empty() {
        write!(words, " ({reason})").ok();
    }
    match peer["rtt_us"].as_u64() {
        Some(rtt_us) if rtt_us > 0 => {
            write!(words, ", round trip {}.{} ms", rtt_us / 1000, rtt_us / 100 % 10).ok();
        }
        _ => {}
    }
    words
}

/// Every stream that some runtime can reach, once, the local ones included: what Receive offers in its list.
pub(crate) fn reachable(runtimes: &[Value]) -> Vec<Value> {
    let mut streams = BTreeMap::new();
    for stream in runtimes.iter().flat_map(|runtime| list(runtime, "streams")) {
        let key = (plain(stream, "publisher"), plain(stream, "stream"));
        let mut stream = stream.clone();
        if let Some(fields) = stream.as_object_mut() {
            // "In the same process" differs from asker to asker.
            fields.remove("local");
        }
        streams.entry(key).or_insert(stream);
    }
    streams.into_values().collect()
}

/// A line per stream.
pub(crate) fn streams(streams: &[Value]) -> String {
    if streams.is_empty() {
        return "No stream can be received here now.\n".to_owned();
    }
    let line = |one: &Value| {
        format!(
            "{} from {}: {}, id {}\n",
            quoted(one, "name"),
            publisher(one),
            format_of(one),
            plain(one, "stream")
        )
    };
    streams.iter().map(line).collect()
}

fn publisher(of: &Value) -> String {
    let name = plain(of, "publisher_name");
    let device = fingerprint(of, "publisher");
    if name.is_empty() { format!("device {device}") } else { format!("{name} ({device})") }
}

fn format_of(stream: &Value) -> String {
    let channels = counted(stream["channels"].as_u64().unwrap_or(0), "channel", "channels");
    let codec = plain(stream, "codec");
    let codec = if codec.is_empty() { codec } else { format!(", {codec}") };
    format!("{} Hz, {channels}{codec}", number(stream, "sample_rate"))
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn total(counters: &Value, prefix: &str) -> u64 {
    let fields = counters.as_object().into_iter().flatten();
    fields.filter(|(name, _)| name.starts_with(prefix)).filter_map(|(_, count)| count.as_u64()).sum()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or(0)
}

fn plain(value: &Value, field: &str) -> String {
    clean(value[field].as_str().unwrap_or_default())
}

fn quoted(value: &Value, field: &str) -> String {
    let text = plain(value, field);
    if text.is_empty() { "(no name)".to_owned() } else { format!("\"{text}\"") }
}

fn fingerprint(value: &Value, field: &str) -> String {
    plain(value, field).chars().take(8).collect()
}

/// Names come from other people's machines: nothing in them may reach the terminal as a command or turn
/// its text around.
fn clean(text: &str) -> String {
    let steers =
        |one: char| one.is_control() || matches!(one, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|one| if steers(one) { '\u{fffd}' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(got: &str, expected: &[&str]) {
        assert_eq!(got.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_line_for_each_stream_and_peer() {
        let runtime = json!({
            "version": "0.1.0", "name": "Studio B", "pid": 12, "port": 4720, "device": "a5a4a7a6ff",
            "journal": ["0", "1", "2", "3", "  4.0 s  connected", "5"],
            "instances": [
                {"plugin": "send", "name": "Guitar", "sentence": "One listener."}, {"plugin": "receive", "busy": true},
            ],
            "publications": [{
                "name": "Guitar", "sample_rate": 48000, "channels": 1, "codec": "pcm-f32", "subscribers": 1,
                "counters": {"packets": 9, "dropped_queue_full": 2, "dropped_unsendable": 1}, "report": null,
            }],
            "subscriptions": [
                {"publisher": "0123456789", "publisher_name": "Studio A", "name": "Drums", "link": "live",
                 "sample_rate": 44100, "channels": 2, "counters": {"packets": 7, "sequence_gaps": 0}, "report": null},
                {"publisher": "0123456789", "name": "", "link": "lost", "reason": "timeout", "since_ms": 2500},
            ],
            "peers": [{"name": "Studio A", "address": "192.0.2.1:9", "state": "connected",
                       "reason": "", "rtt_us": 1290}],
            "refusals": ["203.0.113.5:1: another identity"],
        });
        check(
            &status(&[runtime]),
            &[
                "\"Studio B\": process 12, UDP port 4720, device a5a4a7a6, version 0.1.0",
                "  plug-in  send \"Guitar\": One listener.",
                "  plug-in  receive: busy",
                "  sends    \"Guitar\", 48000 Hz, 1 channel, pcm-f32, 1 listener, 9 packets, 3 dropped",
                "  receives \"Drums\" from Studio A (01234567): live, 44100 Hz, 2 channels, 7 packets, 0 missing",
                "  receives (no name) from device 01234567: lost (timeout), looking for it again, for 2 s",
                "  peer     \"Studio A\" at 192.0.2.1:9: connected, round trip 1.2 ms",
                "  refused  203.0.113.5:1: another identity",
                "  log      1",
                "  log      2",
                "  log      3",
                "  log      4.0 s  connected",
                "  log      5",
            ],
        );
    }

    #[test]
    fn nothing_and_nonsense_are_said_plainly() {
        check(&status(&[]), &["No audiocloud plug-in is running for this user on this machine."]);
        check(&streams(&[]), &["No stream can be received here now."]);
        check(&status(&[json!([])]), &["(no name): process 0, UDP port 0, device , version "]);
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let text = status(&[json!({ "name": "\u{1b}[2J\nx\u{9b}31m\u{202e}" })]);
        assert!(text.starts_with("\"\u{fffd}[2J\u{fffd}x\u{fffd}31m\u{fffd}\":"), "{text}");
        assert!(!text.trim_end().contains(char::is_control), "{text:?}");
    }

    #[test]
    fn a_stream_that_two_runtimes_reach_is_listed_once() {
        let stream = |name: &str, id: &str, local| {
            json!({"publisher": "aa", "stream": id, "name": name, "publisher_name": "A", "sample_rate": 48000,
                   "channels": 2, "codec": "pcm-f32", "local": local})
        };
        let runtimes = [
            json!({"streams": [stream("One", "01", true), stream("Two", "02", true)]}),
            json!({"streams": [stream("One", "01", false)]}),
        ];
        check(
            &streams(&reachable(&runtimes)),
            &[
                "\"One\" from A (aa): 48000 Hz, 2 channels, pcm-f32, id 01",
                "\"Two\" from A (aa): 48000 Hz, 2 channels, pcm-f32, id 02",
            ],
        );
    }
}
