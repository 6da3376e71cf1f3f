//! Whatever anybody on the network says to a peer of tempo Link, while a beat map goes its own way: what is sent stays in bounds
//! and can be read, nobody is pinged who did not ask for it, and every edit of the map is one that a map takes.
#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use audiocloud_clock::beat_map::{BeatMap, Ramp, Segment};
use audiocloud_clock::timeline::Timeline as Beat;
use audiocloud_fuzz::traversal::Reader;
use audiocloud_link::follower::Follower;
use audiocloud_link::node::{Action, Gateway, Node};
use audiocloud_link::timeline::{LinkTime, StartStop, Timeline};
use audiocloud_link::wire::{LinkSession, Measuring, NodeId, Ping, Pong, Presence, State};
use audiocloud_units::{Beats, HostTime, Nanos, Ppm, SessionLine, SessionTime};
use libfuzzer_sys::fuzz_target;

const STEPS_MAX: usize = 300;
const HORIZON: Nanos = Nanos::from_millis(60);

fn address(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, number & 7), 1_000 + u16::from(number >> 6))
}

/// Small numbers, or any.
fn number(reader: &mut Reader<'_>, near: i64) -> Option<i64> {
    let [kind, small] = reader.take()?;
    match kind % 3 {
        0 => Some(near.saturating_add(i64::from(small) << (kind >> 3))),
        1 => Some(near.saturating_sub(i64::from(small) << (kind >> 3))),
        _ => reader.take().map(i64::from_be_bytes),
    }
}

fn presence(reader: &mut Reader<'_>, node: &Node, now: HostTime) -> Option<(SocketAddrV4, Presence)> {
    let [who, session, flags, endpoint] = reader.take()?;
    let shared = *node.shared();
    let link = shared.offset.link_at(now);
    let timeline = Timeline {
        beat_us: number(reader, shared.timeline.beat_us)?,
        beat_origin: number(reader, shared.timeline.beat_origin)?,
        time_origin: LinkTime::new(number(reader, link.get())?),
    };
    let start_stop = StartStop {
        is_playing: flags & 1 != 0,
        beat: number(reader, 0)?,
        time: LinkTime::new(number(reader, link.get())?),
    };
    // Mostly of our own session, or of three others.
    let session = if session < 192 { shared.session } else { LinkSession([session & 3; 8]) };
    let from = address(who);
    let endpoint = (flags & 4 == 0).then(|| address(if flags & 2 == 0 { who } else { endpoint }));
    let state = State { timeline, session, start_stop, endpoint };
    if flags & 0xc0 == 0xc0 {
        return Some((from, Presence::Bye(NodeId([who; 8]))));
    }
    let alive =
        Presence::Alive { is_response: flags & 8 != 0, ttl_s: flags >> 4, node: NodeId([who; 8]), state };
    Some((from, alive))
}

fuzz_target!(|input: &[u8]| {
    let mut reader = Reader(input);
    let mut now = HostTime::new(1_000_000_000_000);
    let line = SessionLine {
        host: now,
        session: SessionTime::new(1_790_000_000_000_000_000),
        fraction: 0.25,
        rate: Ppm::new(42.0),
    };
    let mut node = Node::new(NodeId([0xff; 8]), 120.0, now);
    let mut follower = Follower::new();
    let mut map = BeatMap::new();
    let mut serial = 0;
    let gateways = [Gateway(1), Gateway(2)];
    for gateway in gateways {
        node.add_gateway(gateway, address(7), now);
    }
    let mut asked: Option<(Gateway, SocketAddrV4, Ping)> = None;
    for _ in 0..STEPS_MAX {
        let Some([what, which]) = reader.take() else { break };
        let gateway = gateways[usize::from(which & 1)];
        match what % 9 {
            0 | 1 => {
                let length = usize::from(which).min(reader.0.len());
                let (bytes, rest) = reader.0.split_at(length);
                reader.0 = rest;
                if what % 9 == 0 {
                    node.receive(gateway, address(which), bytes, now);
                } else {
                    node.receive_measuring(gateway, address(which), bytes, now);
                }
            }
            2 | 3 => {
                let Some((from, presence)) = presence(&mut reader, &node, now) else { break };
                node.receive(gateway, from, &presence.encode(), now);
            }
            4 | 5 => {
                let Some((gateway, from, ping)) = asked else { continue };
                let Some(link) = number(&mut reader, ping.host) else { break };
                now = now + Nanos::from_micros(i64::from(which));
                let session = if which < 240 { LinkSession([which & 3; 8]) } else { node.shared().session };
                let pong = Measuring::Pong(Pong { session, link: LinkTime::new(link), ping });
                node.receive_measuring(gateway, from, &pong.encode(), now);
            }
            6 => {
                let Some([beat, bpm, ramp, flags]) = reader.take() else { break };
                let start = line.session_at(now) + HORIZON + Nanos::from_millis(i64::from(which) * 8);
                let ramp = (ramp > 128)
                    .then(|| Ramp { to_bpm: f64::from(ramp), over: Beats::new(f64::from(flags >> 2) + 0.1) });
                serial += 1;
                let steady = Segment::steady(start, Beats::new(f64::from(beat)), f64::from(bpm) * 4.0 + 1.0);
                let segment = Segment { serial, ramp, playing: flags & 1 != 0, ..steady };
                // One with an impossible tempo is not taken.
                map.insert(segment, line.session_at(now)).ok();
            }
            _ => now = now + Nanos::from_millis(i64::from(which) * if what > 200 { 40 } else { 1 }),
        }
        node.poll(now);
        let beat = Beat { line: Some(line), map: Arc::new(map.clone()) };
        if let Some(segment) = follower.step(&mut node, &beat, HORIZON, now) {
            assert!(segment.start >= line.session_at(now) + HORIZON, "an edit of the past");
            follower.edited(which & 2 == 0);
            if which & 2 == 0 {
                serial += 1;
                map.insert(Segment { serial, ..segment }, line.session_at(now))
                    .expect("an edit that a map takes");
            }
        }
        let mut actions = 0;
        while let Some(action) = node.next_action() {
            actions += 1;
            match action {
                Action::Announce(_, bytes) | Action::Respond(_, _, bytes) => {
                    assert!(Presence::decode(&bytes).is_ok(), "{bytes:?}");
                }
                Action::Measure(gateway, to, bytes) => match Measuring::decode(&bytes).expect("ours") {
                    Measuring::Ping(ping) => asked = Some((gateway, to, ping)),
                    Measuring::Pong(_) => {}
                },
            }
        }
        assert!(actions <= 4, "{actions} at once");
        assert!(node.shared().timeline.is_sane() && node.shared().start_stop.is_sane());
    }
});
