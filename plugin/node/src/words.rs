//! What the runtimes answered, in words: a line for each stream.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::field::{
    bit_rate, clean, counted, fingerprint, list, milliseconds, number, percent, plain, quoted,
};

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
    for one in list(runtime, "publications") {
        line("sends", publication(one));
        list(one, "listeners").iter().for_each(|one| line("  to", listener(one)));
        losses(one).for_each(|words| line("  lost", words));
    }
    for one in list(runtime, "subscriptions") {
        line("receives", subscription(one));
        heard(one).into_iter().for_each(|words| line("  heard", words));
        losses(one).for_each(|words| line("  lost", words));
    }
    for one in list(runtime, "remotes") {
        line("chain", remote(one));
        losses(one).for_each(|words| line("  lost", words));
    }
    for one in list(runtime, "served") {
        line("plays", served(one));
        losses(one).for_each(|words| line("  lost", words));
    }
    list(runtime, "peers").iter().for_each(|one| line("peer", peer(one)));
    list(runtime, "sessions").iter().for_each(|one| line("session", session(one)));
    list(runtime, "strangers").iter().for_each(|one| line("stranger", stranger(one)));
    list(runtime, "refusals").iter().for_each(|one| line("refused", clean(one.as_str().unwrap_or_default())));
    let journal = list(runtime, "journal");
    let lately = &journal[journal.len().saturating_sub(JOURNAL_LINES)..];
    lately.iter().for_each(|one| line("log", clean(one.as_str().unwrap_or_default().trim_start())));
    text
}

/// A chain of ours that runs elsewhere, or would.
fn remote(chain: &Value) -> String {
    let round_us = number(&chain["counters"], "round_us");
    let there_and_back = match chain["state"] == "live" && round_us > 0 {
        true => format!(", {} there and back", milliseconds(round_us)),
        false => String::new(),
    };
    format!("{}: {}{there_and_back}", fingerprint_of_chain(chain), plain(chain, "words"))
}

/// A chain that runs here for somebody.
fn served(chain: &Value) -> String {
    let exact = if chain["exact"] == true { ", exactly" } else { "" };
    let (name, owner) = (quoted(chain, "name"), quoted(chain, "owner"));
    format!(
        "{name} of {owner} at {} kHz{exact}",
        f64::from(u32::try_from(number(chain, "sample_rate")).unwrap_or(0)) / 1e3
    )
}

/// Of a chain's id the part that is its own, as far as people compare.
fn fingerprint_of_chain(chain: &Value) -> String {
    plain(chain, "chain").rsplit('/').next().unwrap_or_default().chars().take(8).collect()
}

/// A session, and who of it is there.
fn session(session: &Value) -> String {
    let trouble = plain(session, "trouble");
    if !trouble.is_empty() {
        return format!("{}: {trouble}", quoted(session, "name"));
    }
    let members = list(session, "members");
    let others = || members.iter().filter(|member| member["self"] != true);
    let here: Vec<String> =
        others().filter(|member| member["present"] == true).map(|member| plain(member, "name")).collect();
    let of = counted(u64::try_from(others().count()).unwrap_or(0), "other member", "other members");
    match here.is_empty() {
        true => format!("{}: none of {of} is here", quoted(session, "name")),
        false => format!("{}: {} here, of {of}", quoted(session, "name"), here.join(", ")),
    }
}

/// Somebody who knocks.
fn stranger(stranger: &Value) -> String {
    let key = if stranger["user"].is_string() { "user" } else { "device" };
    format!(
        "{} ({key} {}) at {}: {}; `audiocloud accept` lets a user in",
        quoted(stranger, "name"),
        fingerprint(stranger, key),
        plain(stranger, "address"),
        plain(stranger, "why")
    )
}

/// A plug-in, in the words of its own window.
fn instance(report: &Value) -> String {
    let name = plain(report, "name");
    let name = if name.is_empty() { name } else { format!(" \"{name}\"") };
    let sentence = if report["busy"] == true { "busy".to_owned() } else { plain(report, "sentence") };
    format!("{}{name}: {sentence}", plain(report, "plugin"))
}

fn publication(publication: &Value) -> String {
    format!(
        "{}, {}, {}, {} packets",
        quoted(publication, "name"),
        format_of(publication),
        counted(number(publication, "subscribers"), "listener", "listeners"),
        number(&publication["counters"], "packets"),
    )
}

/// One who hears a stream of ours elsewhere.
fn listener(listener: &Value) -> String {
    let counters = &listener["counters"];
    let mut words = format!(
        "{} at {}: {}, {}",
        quoted(listener, "name"),
        plain(listener, "address"),
        coding(listener),
        bit_rate(number(counters, "rate_bps")),
    );
    let heard = &listener["heard"];
    if let (Some(heard_us), Some(lost)) = (heard["heard_us"].as_u64(), heard["lost"].as_u64()) {
        let after = number(&listener["path"], "one_way_us") + heard_us;
        let recovered = number(heard, "recovered");
        write!(
            words,
            ", heard there {} after it left, {lost} lost, {recovered} recovered",
            milliseconds(after)
        )
        .ok();
    }
    let given_up = plain(listener, "given_up");
    if !given_up.is_empty() {
        write!(words, "; {given_up}").ok();
    }
    words
}

fn coding(stream: &Value) -> String {
    let codec = plain(stream, "codec");
    match (number(stream, "bitrate_bps"), number(stream, "frame_us")) {
        (0, _) => codec,
        (bitrate_bps, frame_us) => format!("{codec} {}, {}", bit_rate(bitrate_bps), milliseconds(frame_us)),
    }
}

fn subscription(subscription: &Value) -> String {
    let counters = &subscription["counters"];
    let mut words = format!("{} from {}: ", quoted(subscription, "name"), publisher(subscription));
    let reason = plain(subscription, "reason");
    let seconds = subscription["since_ms"].as_i64().map(|ms| ms / 1000);
    let link = match plain(subscription, "link").as_str() {
        "live" => {
            format!("live, {}, {} packets", format_of(subscription), number(counters, "packets"))
        }
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

/// How a stream that comes from elsewhere arrives and is played.
fn heard(subscription: &Value) -> Option<String> {
    let counters = &subscription["counters"];
    if subscription["link"] != "live" || !subscription["address"].is_string() {
        return None;
    }
    let path = &subscription["path"];
    let back_us = number(path, "rtt_us").saturating_sub(number(path, "one_way_us"));
    let mut words = format!(
        "{} after it left, {}, jitter {}, buffer {}",
        milliseconds(back_us + number(counters, "heard_us")),
        bit_rate(number(counters, "rate_bps")),
        milliseconds(number(counters, "jitter_us")),
        milliseconds(number(counters, "hold_us")),
    );
    for (field, what) in RECOVERIES {
        if number(counters, field) > 0 {
            write!(words, ", {} {what}", number(counters, field)).ok();
        }
    }
    let report = &subscription["report"];
    if let Some(concealed_ms) = report["concealed_ms"].as_f64().filter(|ms| *ms > 0.0) {
        write!(words, ", {concealed_ms:.0} ms concealed").ok();
    }
    if let Some(ratio_ppm) = report["ratio_ppm"].as_f64().filter(|ppm| *ppm != 0.0) {
        write!(words, ", resampled by {ratio_ppm:+.1} ppm").ok();
    }
    Some(words)
}

/// Fields that count packets which came after all, and what brought them.
const RECOVERIES: [(&str, &str); 3] =
    [("recovered_resend", "resent"), ("recovered_repair", "repaired"), ("recovered_fec", "from Opus")];

/// A line for each owner of losses and each cause.
fn losses(stream: &Value) -> impl Iterator<Item = String> {
    let listeners = list(stream, "listeners").iter().flat_map(|listener| list(listener, "losses"));
    list(stream, "losses").iter().chain(listeners).map(|loss| {
        let owner = match plain(loss, "owner").as_str() {
            "sender-computer" => "the sender's computer".to_owned(),
            "network" => "the network".to_owned(),
            "receiver-computer" => "the receiver's computer".to_owned(),
            "our-limit" => "a limit of ours".to_owned(),
            other => other.to_owned(),
        };
        format!("{} {} ({owner})", number(loss, "count"), plain(loss, "what"))
    })
}

fn peer(peer: &Value) -> String {
    let mut words =
        format!("{} at {}: {}", quoted(peer, "name"), plain(peer, "address"), plain(peer, "state"));
    let reason = plain(peer, "reason");
    if !reason.is_empty() {
        write!(words, " ({reason})").ok();
    }
    let way = plain(peer, "way");
    if !way.is_empty() {
        write!(words, ", {way}").ok();
    }
    let path = &peer["path"];
    if number(path, "rtt_us") > 0 {
        let (rtt, one_way) = (number(path, "rtt_us"), number(path, "one_way_us"));
        write!(words, ", round trip {}, there {}", milliseconds(rtt), milliseconds(one_way)).ok();
    }
    if number(path, "queueing_us") > 0 {
        write!(words, ", of it {} in queues", milliseconds(number(path, "queueing_us"))).ok();
    }
    if number(path, "loss_ppm") > 0 {
        write!(words, ", {} lost", percent(number(path, "loss_ppm"))).ok();
    }
    if let Some(cap_bps) = path["rate_cap_bps"].as_u64() {
        write!(words, ", held to {}", bit_rate(cap_bps)).ok();
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
                "counters": {"packets": 9},
                "losses": [{"owner": "our-limit", "count": 3, "what": "packets could not be sent"}],
                "listeners": [{
                    "name": "Studio A", "address": "192.0.2.1:9", "codec": "opus", "bitrate_bps": 128_000,
                    "frame_us": 5_000, "given_up": "sent as Opus instead of 24 bit: the path takes no more",
                    "path": {"one_way_us": 700}, "counters": {"rate_bps": 171_400},
                    "heard": {"heard_us": 8_000, "lost": 2, "recovered": 5},
                    "losses": [{"owner": "network", "count": 2, "what": "packets never came"}],
                }],
            }],
            "subscriptions": [
                {"publisher": "0123456789", "publisher_name": "Studio A", "name": "Drums", "link": "live",
                 "sample_rate": 44100, "channels": 2, "address": "192.0.2.1:9",
                 "path": {"rtt_us": 1_290, "one_way_us": 690},
                 "counters": {"packets": 7, "heard_us": 7_400, "hold_us": 5_300, "jitter_us": 420,
                              "rate_bps": 2_345_000, "recovered_resend": 4, "recovered_fec": 1},
                 "report": {"concealed_ms": 12.4, "ratio_ppm": -3.26}},
                {"publisher": "0123456789", "name": "", "link": "lost", "reason": "timeout", "since_ms": 2500},
            ],
            "peers": [{"name": "Studio A", "address": "192.0.2.1:9", "state": "connected", "reason": "", "way": "by relay",
                       "path": {"rtt_us": 1_290, "one_way_us": 700, "queueing_us": 110, "loss_ppm": 2_000,
                                "rate_cap_bps": 12_000_000}}],
            "sessions": [
                {"name": "Band", "trouble": null, "members": [
                    {"name": "Studio B", "self": true, "present": true}, {"name": "Ada", "present": true},
                    {"name": "Ben", "present": false},
                ]},
                {"name": "Old", "trouble": "this member was revoked", "members": []},
            ],
            "strangers": [{"user": null, "device": "0102030405", "name": "", "address": "192.0.2.9:1", "why": "unknown"}],
            "refusals": ["203.0.113.5:1: another identity"],
        });
        check(
            &status(&[runtime]),
            &[
                "\"Studio B\": process 12, UDP port 4720, device a5a4a7a6, version 0.1.0",
                "  plug-in  send \"Guitar\": One listener.",
                "  plug-in  receive: busy",
                "  sends    \"Guitar\", 48000 Hz, 1 channel, pcm-f32, 1 listener, 9 packets",
                "    to     \"Studio A\" at 192.0.2.1:9: opus 128 kbit/s, 5.0 ms, 171 kbit/s, heard there 8.7 ms after \
                 it left, 2 lost, 5 recovered; sent as Opus instead of 24 bit: the path takes no more",
                "    lost   3 packets could not be sent (a limit of ours)",
                "    lost   2 packets never came (the network)",
                "  receives \"Drums\" from Studio A (01234567): live, 44100 Hz, 2 channels, 7 packets",
                "    heard  8.0 ms after it left, 2.3 Mbit/s, jitter 0.4 ms, buffer 5.3 ms, 4 resent, 1 from Opus, 12 ms \
                 concealed, resampled by -3.3 ppm",
                "  receives (no name) from device 01234567: lost (timeout), looking for it again, for 2 s",
                "  peer     \"Studio A\" at 192.0.2.1:9: connected, by relay, round trip 1.3 ms, there 0.7 ms, of it 0.1 ms in \
                 queues, 0.20 % lost, held to 12.0 Mbit/s",
                "  session  \"Band\": Ada here, of 2 other members",
                "  session  \"Old\": this member was revoked",
                "  stranger (no name) (device 01020304) at 192.0.2.9:1: unknown; `audiocloud accept` lets a user in",
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
    fn chains_are_told_on_both_sides() {
        let runtime = serde_json::json!({
            "remotes": [{ "chain": "ab/0123456789abcdef", "state": "live", "words": "runs on \"Rack\"", "counters": { "round_us": 1_240 } }],
            "served": [{ "name": "Vocals", "owner": "Ada", "sample_rate": 44_100, "exact": true,
                "losses": [{ "owner": "network", "count": 3, "what": "slices never came" }] }],
        });
        let text = status(&[runtime]);
        assert!(text.contains("  chain    01234567: runs on \"Rack\", 1.2 ms there and back\n"), "{text}");
        assert!(
            text.contains(
                "  plays    \"Vocals\" of \"Ada\" at 44.1 kHz, exactly\n    lost   3 slices never came"
            ),
            "{text}"
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
