//! `audiocloud ping`: how long a sound takes to a peer and back, as heard, not as packets travel.
//!
//! There: from when a sound enters the block of a stream that is sent from here until the peer's Receive plays it, which
//! the peer reports. Back: the same of a stream of theirs that is played here. Both are put together of what the
//! running processes of this machine know; no packet is sent for it. What a sound card adds is not known to anybody here.

use std::fmt;

use anyhow::bail;
use serde_json::{Value, json};

use crate::field::{clean, fingerprint, list, milliseconds, number, plain, quoted};

/// A report older than this says nothing of now.
const STALE_MS: u64 = 2_000;
/// Fewer digits of a key name too many devices.
const PREFIX_MIN: usize = 4;

/// Whom to ask about: a device that is connected to a process of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its key, in hexadecimal.
    device: String,
    name: String,
}

impl Peer {
    /// By name, by the beginning of the device's key, or by address with or without its port.
    pub(crate) fn find(runtimes: &[Value], wanted: &str) -> anyhow::Result<Self> {
        let mut known: Vec<&Value> = runtimes.iter().flat_map(|runtime| list(runtime, "peers")).collect();
        known.retain(|peer| peer["state"] == "connected");
        let is_wanted = |peer: &&Value| {
            let address = plain(peer, "address");
            let host = address.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']);
            let device = plain(peer, "device");
            plain(peer, "name").to_lowercase() == wanted.to_lowercase()
                || (wanted.len() >= PREFIX_MIN && device.starts_with(&wanted.to_lowercase()))
                || address == wanted
                || host == wanted
        };
        let found = |peer: &Value| Self { device: plain(peer, "device"), name: plain(peer, "name") };
        let mut matching: Vec<Self> = known.iter().copied().filter(is_wanted).map(found).collect();
        matching.sort_by(|one, other| one.device.cmp(&other.device));
        matching.dedup_by(|one, other| one.device == other.device);
        match matching.as_slice() {
            [peer] => Ok(peer.clone()),
            [] if known.is_empty() => bail!("no peer is connected; `audiocloud status` says why"),
            [] => bail!("no connected peer is called \"{}\"; there are: {}", clean(wanted), named(&known)),
            _ => bail!("\"{}\" is more than one peer; take their key: {}", clean(wanted), named(&known)),
        }
    }

    fn is(&self, value: &Value, field: &str) -> bool {
        value[field].as_str() == Some(&self.device)
    }
}

fn named(peers: &[&Value]) -> String {
    let mut names: Vec<_> = peers
        .iter()
        .map(|peer| format!("{} ({})", quoted(peer, "name"), fingerprint(peer, "device")))
        .collect();
    names.sort();
    names.dedup();
    names.join(", ")
}

/// One stream one way, its parts in microseconds in the order in which a sound passes them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    stream: String,
    id: String,
    /// Until the sender's block is full.
    block_us: u64,
    /// From there until it is sent; of a sender elsewhere it is not known, and small.
    pump_us: Option<u64>,
    wire_us: u64,
    /// From its arrival until it is heard.
    heard_us: u64,
}

impl Way {
    const fn total_us(&self) -> u64 {
        let pump_us = match self.pump_us {
            Some(pump_us) => pump_us,
            None => 0,
        };
        self.block_us + pump_us + self.wire_us + self.heard_us
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.stream,
            "stream": self.id,
            "block_us": self.block_us,
            "pump_us": self.pump_us,
            "wire_us": self.wire_us,
            "heard_us": self.heard_us,
            "total_us": self.total_us(),
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" {} (block {}",
            self.stream,
            milliseconds(self.total_us()),
            milliseconds(self.block_us)
        )?;
        if let Some(pump_us) = self.pump_us {
            write!(f, ", sending {}", milliseconds(pump_us))?;
        }
        write!(f, ", way {}, playing {})", milliseconds(self.wire_us), milliseconds(self.heard_us))
    }
}

/// How things stand with a peer at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    peer: Peer,
    /// Of packets; none where no connection is left.
    packets_us: Option<u64>,
    there: Vec<Way>,
    back: Vec<Way>,
}

impl Answer {
    pub(crate) fn of(runtimes: &[Value], peer: &Peer) -> Self {
        let connected = |one: &&Value| peer.is(one, "device") && one["state"] == "connected";
        let round_trip = |one: &Value| one["path"]["rtt_us"].as_u64();
        let peers = runtimes.iter().flat_map(|runtime| list(runtime, "peers"));
        Self {
            peer: peer.clone(),
            packets_us: peers.filter(connected).filter_map(round_trip).min(),
            there: runtimes.iter().flat_map(|runtime| there(runtime, peer)).collect(),
            back: runtimes.iter().flat_map(|runtime| back(runtime, peer)).collect(),
        }
    }

    /// Each stream there with each stream back.
    fn pairs(&self) -> impl Iterator<Item = (&Way, &Way)> {
        self.there.iter().flat_map(|there| self.back.iter().map(move |back| (there, back)))
    }

    /// Of the slowest stream there and the slowest back: what whoever plays together has to live with.
    fn total_us(&self) -> Option<u64> {
        self.pairs().map(|(there, back)| there.total_us() + back.total_us()).max()
    }

    pub(crate) fn to_json(&self) -> Value {
        let ways = |ways: &[Way]| ways.iter().map(Way::to_json).collect::<Vec<_>>();
        let pair = |(there, back): (&Way, &Way)| json!({ "there": there.id, "back": back.id, "round_trip_us": there.total_us() + back.total_us() });
        json!({
            "device": self.peer.device,
            "name": self.peer.name,
            "there": ways(&self.there),
            "back": ways(&self.back),
            "pairs": self.pairs().map(pair).collect::<Vec<_>>(),
            "heard_round_trip_us": self.total_us(),
            "packets_round_trip_us": self.packets_us,
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: String = self.peer.device.chars().take(8).collect();
        writeln!(f, "\"{}\" ({key})", self.peer.name)?;
        for way in &self.there {
            writeln!(f, "  there  {way}")?;
        }
        for way in &self.back {
            writeln!(f, "  back   {way}")?;
        }
        if self.there.len() + self.back.len() > 2 {
            for (there, back) in self.pairs() {
                let total = milliseconds(there.total_us() + back.total_us());
                writeln!(f, "  pair   \"{}\" and \"{}\" {total} as heard", there.stream, back.stream)?;
            }
        }
        let missing = match (self.there.is_empty(), self.back.is_empty()) {
            (false, false) => None,
            (true, false) => Some("no stream from here is played there"),
            (false, true) => Some("no stream from there is played here"),
            (true, true) => Some("no stream is played either way"),
        };
        match (self.total_us(), missing, self.packets_us) {
            (Some(total_us), ..) => {
                writeln!(f, "  total  {} as heard, there and back", milliseconds(total_us))
            }
            (None, _, None) => writeln!(f, "  total  none: the peer is no longer connected"),
            (None, missing, Some(packets_us)) => {
                let missing = missing.unwrap_or_default();
                let packets = milliseconds(packets_us);
                writeln!(f, "  total  none: {missing}; packets, not audio, take {packets} there and back")
            }
        }
    }
}

/// What this runtime sends that the peer plays.
fn there(runtime: &Value, peer: &Peer) -> Vec<Way> {
    let publications = list(runtime, "publications").iter();
    let listeners = publications.flat_map(|sent| list(sent, "listeners").iter().map(move |to| (sent, to)));
    let heard = listeners.filter_map(|(sent, listener)| {
        let heard = &listener["heard"];
        let heard_us = heard["heard_us"].as_u64().filter(|us| *us > 0)?;
        let is_now = heard["age_ms"].as_u64()? <= STALE_MS;
        (peer.is(listener, "device") && is_now).then(|| Way {
            stream: plain(sent, "name"),
            id: plain(sent, "stream"),
            block_us: frames_us(number(&sent["counters"], "block_frames"), sent),
            pump_us: Some(number(&sent["counters"], "pump_delay_ns") / 1_000),
            wire_us: number(&listener["path"], "one_way_us"),
            heard_us,
        })
    });
    heard.collect()
}

/// What the peer sends that this runtime plays.
fn back(runtime: &Value, peer: &Peer) -> Vec<Way> {
    let subscriptions = list(runtime, "subscriptions").iter();
    let theirs = subscriptions
        .filter(|one| peer.is(one, "publisher") && one["link"] == "live" && one["address"].is_string());
    let heard = theirs.filter_map(|received| {
        let heard_us = received["counters"]["heard_us"].as_u64().filter(|us| *us > 0)?;
        let path = &received["path"];
        Some(Way {
            stream: plain(received, "name"),
            id: plain(received, "stream"),
            block_us: frames_us(number(received, "block_frames_max"), received),
            pump_us: None,
            wire_us: number(path, "rtt_us").saturating_sub(number(path, "one_way_us")),
            heard_us,
        })
    });
    heard.collect()
}

fn frames_us(frames: u64, stream: &Value) -> u64 {
    frames.saturating_mul(1_000_000).checked_div(number(stream, "sample_rate")).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = "0123456789abcdef";

    fn runtime() -> Value {
        json!({
            "peers": [
                {"device": DEVICE, "name": "Studio A", "address": "[2001:db8::1]:4460", "state": "connected",
                 "path": {"rtt_us": 10_400, "one_way_us": 5_300}},
                {"device": "0123000000000000", "name": "Studio C", "address": "192.0.2.7:9", "state": "connected",
                 "path": {"rtt_us": 400, "one_way_us": 200}},
                {"device": null, "name": "Gone", "address": "192.0.2.8:9", "state": "away"},
            ],
            "publications": [{
                "name": "Guitar", "stream": "aa", "sample_rate": 48_000,
                "counters": {"block_frames": 96, "pump_delay_ns": 100_000},
                "listeners": [
                    {"device": DEVICE, "path": {"one_way_us": 5_300}, "heard": {"heard_us": 5_600, "age_ms": 40}},
                    {"device": "0123000000000000", "path": {"one_way_us": 200}, "heard": null},
                ],
            }],
            "subscriptions": [{
                "name": "Drums", "stream": "bb", "publisher": DEVICE, "link": "live", "address": "[2001:db8::1]:4460",
                "sample_rate": 44_100, "block_frames_max": 441, "path": {"rtt_us": 10_400, "one_way_us": 5_300},
                "counters": {"heard_us": 4_900},
            }],
        })
    }

    fn ping(runtimes: &[Value], whom: &str) -> Answer {
        Answer::of(runtimes, &Peer::find(runtimes, whom).unwrap())
    }

    #[test]
    fn a_round_trip_is_the_sum_of_what_a_sound_passes() {
        let answer = ping(&[runtime()], "studio a");
        // There: 96 frames are 2 ms. Back: 441 are 10 ms, and the way back is what the way there leaves.
        let there = 2_000 + 100 + 5_300 + 5_600;
        let back = 10_000 + 5_100 + 4_900;
        let json = answer.to_json();
        assert_eq!(json["there"][0]["total_us"], there);
        assert_eq!(json["back"][0]["total_us"], back);
        assert_eq!(json["pairs"], json!([{"there": "aa", "back": "bb", "round_trip_us": there + back}]));
        assert_eq!(
            (&json["heard_round_trip_us"], &json["packets_round_trip_us"]),
            (&json!(33_000), &json!(10_400))
        );
        assert_eq!(
            answer.to_string().lines().collect::<Vec<_>>(),
            [
                "\"Studio A\" (01234567)",
                "  there  \"Guitar\" 13.0 ms (block 2.0 ms, sending 0.1 ms, way 5.3 ms, playing 5.6 ms)",
                "  back   \"Drums\" 20.0 ms (block 10.0 ms, way 5.1 ms, playing 4.9 ms)",
                "  total  33.0 ms as heard, there and back",
            ]
        );
    }

    #[test]
    fn streams_of_several_processes_are_paired_and_the_slowest_counts() {
        let mut other = runtime();
        other["publications"][0]["name"] = "Bass".into();
        other["publications"][0]["counters"]["block_frames"] = 480.into();
        other["subscriptions"] = json!([]);
        let answer = ping(&[runtime(), other], "Studio A");
        let words = answer.to_string();
        assert_eq!(answer.pairs().count(), 2);
        assert!(words.contains("  pair   \"Guitar\" and \"Drums\" 33.0 ms as heard\n"), "{words}");
        assert!(words.contains("  total  41.0 ms as heard"), "{words}");
    }

    #[test]
    fn where_no_audio_runs_packets_are_named_as_packets() {
        let check = |change: fn(&mut Value), expected: &str| {
            let mut runtime = runtime();
            change(&mut runtime);
            let answer = ping(&[runtime], DEVICE);
            let words = answer.to_string();
            assert!(words.ends_with(&format!("  total  none: {expected}\n")), "{words}");
            assert_eq!(answer.to_json()["heard_round_trip_us"], Value::Null);
        };
        let packets = "packets, not audio, take 10.4 ms there and back";
        check(
            |runtime| runtime["subscriptions"] = json!([]),
            &format!("no stream from there is played here; {packets}"),
        );
        check(
            |runtime| runtime["publications"] = json!([]),
            &format!("no stream from here is played there; {packets}"),
        );
        let stale = |runtime: &mut Value| {
            runtime["publications"][0]["listeners"][0]["heard"]["age_ms"] = 9_000.into();
            runtime["subscriptions"][0]["link"] = "lost".into();
        };
        check(stale, &format!("no stream is played either way; {packets}"));
        let runtimes = [runtime()];
        let gone = Answer::of(&[], &Peer::find(&runtimes, DEVICE).unwrap());
        assert!(gone.to_string().contains("no longer connected"));
    }

    #[test]
    fn peers_are_found_by_name_key_and_address_or_the_others_are_named() {
        let runtimes = [runtime()];
        for wanted in ["Studio A", "studio a", "01234", DEVICE, "[2001:db8::1]:4460", "2001:db8::1"] {
            assert_eq!(Peer::find(&runtimes, wanted).unwrap().device, DEVICE, "{wanted}");
        }
        let refused = |wanted: &str, words: &str| {
            let error = Peer::find(&runtimes, wanted).unwrap_err().to_string();
            assert!(error.contains(words), "{wanted}: {error}");
        };
        refused("0123", "more than one peer");
        refused("012", "there are: \"Studio A\" (01234567), \"Studio C\" (01230000)");
        refused("Gone", "no connected peer is called \"Gone\"");
        assert!(Peer::find(&[], "x").unwrap_err().to_string().starts_with("no peer is connected"));
    }
}
