//! Whatever a network does to what two peers send each other, and whatever others send them: each keeps within its
//! bounds, is due later once it has done what was due, and sends only by ways that are open and proven.
#![no_main]

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use audiocloud_fuzz::traversal::Reader;
use audiocloud_traversal::frame::{ChannelId, Frame, PROBE_BYTES, Probe, Tag};
use audiocloud_traversal::probe::ProbeSecret;
use audiocloud_traversal::ways::{Action, Carrier, DIRECT_MAX, RELAYED_MAX, Way, Ways};
use libfuzzer_sys::fuzz_target;

const STEPS_MAX: usize = 300;
/// Probes in flight.
const FLYING_MAX: usize = 64;

fn address(number: u8) -> SocketAddr {
    // Some of them cannot be a peer's.
    let ip = if number % 16 == 15 { [224, 0, 0, 1] } else { [10, 0, number % 16, 1] };
    SocketAddr::from((ip, u16::from(number / 16) + 4460))
}

fn way(number: u8) -> Way {
    let carrier = if number & 1 == 0 { Carrier::Udp } else { Carrier::Tunnel };
    let (node, channel) = (u16::from(number >> 1 & 3), ChannelId(u64::from(number >> 3 & 3)));
    if number & 0x80 == 0 { Way::Direct(address(number)) } else { Way::Relay { node, carrier, channel } }
}

struct End {
    ways: Ways,
    admitted: BTreeSet<SocketAddr>,
    proven: BTreeSet<SocketAddr>,
    probes: u64,
}

fuzz_target!(|input: &[u8]| {
    let secrets = [1, 2].map(|byte| ProbeSecret::from_bytes([byte; 32]));
    let start = Instant::now();
    let mut now = start;
    let mut ends = [0, 1].map(|end| End {
        ways: Ways::new(&secrets[end], &secrets[1 - end].public()).expect("a key"),
        admitted: BTreeSet::new(),
        proven: BTreeSet::new(),
        probes: 0,
    });
    // Who gets it, and what.
    let mut flying: VecDeque<(usize, [u8; PROBE_BYTES])> = VecDeque::new();
    let mut reader = Reader(input);
    for _ in 0..STEPS_MAX {
        let Some([what, first, second]) = reader.take() else { break };
        let this = usize::from(what >> 7);
        let end = &mut ends[this];
        match what % 10 {
            0 => end.ways.set_addresses(&[address(first), address(second)], now),
            1 => end.ways.add_relay(
                u16::from(first & 3),
                if second & 1 == 0 { Carrier::Udp } else { Carrier::Tunnel },
                ChannelId(u64::from(second >> 1 & 3)),
                now,
            ),
            2 => end.ways.remove_relay(u16::from(first & 3), Carrier::Udp, now),
            3 => end.ways.restart(now),
            4 => end.ways.handle_datagram(now),
            5 => {
                // A forgery; now and then as near as a stranger can come.
                let tag = if first & 1 == 0 { end.ways.tag() } else { Tag([first; 8]) };
                let probe =
                    Probe { is_answer: first & 2 == 0, tag, number: u64::from(second), mac: [second; 16] };
                assert!(!end.ways.handle_probe(way(first), &probe, now), "forged");
            }
            6 => {
                for _ in 0..=second % 32 {
                    let route = end.ways.route(now);
                    assert!(route.is_none_or(|route| route.second != Some(route.first)));
                }
            }
            _ => {
                // One that flies arrives, by whatever way, and perhaps again.
                let Some((to, bytes)) = flying.get(usize::from(first) % flying.len().max(1)).copied() else {
                    continue;
                };
                if second & 3 == 0 {
                    flying.remove(usize::from(first) % flying.len());
                }
                let Ok(Frame::Probe(probe)) = Frame::decode(&bytes) else { panic!("no probe") };
                let from = way(second);
                assert!(ends[to].ways.handle_probe(from, &probe, now), "its peer sealed it");
                if let Way::Direct(address) = from {
                    ends[to].proven.insert(address);
                }
            }
        }
        now += Duration::from_micros(u64::from(what) * u64::from(what) * 4);
        for this in [0, 1] {
            let end = &mut ends[this];
            if end.ways.poll_timeout().is_some_and(|at| at <= now) {
                end.ways.handle_timeout(now);
                assert!(end.ways.poll_timeout().is_none_or(|at| at > now), "what is due was done");
            }
            let mut actions = 0;
            while let Some(action) = end.ways.poll_action() {
                actions += 1;
                match action {
                    Action::Probe { bytes, .. } => {
                        end.probes += 1;
                        flying.push_back((1 - this, bytes));
                        flying.drain(..flying.len().saturating_sub(FLYING_MAX));
                    }
                    Action::Admit(address) => {
                        assert!(end.admitted.insert(address) && end.proven.contains(&address));
                    }
                    Action::Dismiss(address) => assert!(end.admitted.remove(&address)),
                    Action::Taken { .. } => {}
                }
            }
            // A probe by each way, an answer, and what a change of ways brings.
            assert!(actions <= 4 * (DIRECT_MAX + RELAYED_MAX), "{actions} actions at once");
            assert!(end.ways.figures().count() <= DIRECT_MAX + RELAYED_MAX);
            assert!(end.admitted.len() <= DIRECT_MAX);
            if let Some(taken) = end.ways.taken() {
                assert!(end.ways.figures().any(|figures| figures.way == taken && figures.open));
            }
        }
    }
    for end in &ends {
        // By each way fifty a second at most, what somebody hurries along, and answers.
        let seconds = (now - start).as_secs() + 1;
        let ways = u64::try_from(DIRECT_MAX + RELAYED_MAX).expect("few");
        assert!(end.probes <= 50 * ways * seconds + 30 * 300, "{} probes in {seconds} s", end.probes);
    }
});
