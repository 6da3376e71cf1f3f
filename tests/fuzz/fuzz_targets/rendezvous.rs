//! Whatever clients do to a node: it keeps within its limits, answers in bounds, closes for good, and its relay joins
//! only those that it introduced, both ways.
#![no_main]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use audiocloud_fuzz::traversal::{Reader, meeting_message};
use audiocloud_traversal::frame::ChannelId;
use audiocloud_traversal::meeting::{LENGTH_BYTES, Message, Pass};
use audiocloud_traversal::server::{Action, Carrier, ClientId, Dropped, Limits, Relay, Rendezvous};
use audiocloud_wire::id::DeviceId;
use libfuzzer_sys::fuzz_target;

const STEPS_MAX: usize = 400;

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number & 15], 4460))
}

fuzz_target!(|input: &[u8]| {
    let limits = Limits {
        rooms_max: 4,
        members_max: 5,
        rooms_each_max: 3,
        pairs_max: 12,
        clients_max: 10,
        clients_each_max: 4,
        packets_per_s: 100,
        ..Limits::default()
    };
    let mut now = Instant::now();
    let mut node = Rendezvous::new(limits, [7; 32], true);
    let mut relay = Relay::new(limits);
    let mut connected: BTreeSet<u64> = BTreeSet::new();
    let mut next = 0;
    let mut channels: Vec<ChannelId> = Vec::new();
    let mut reader = Reader(input);
    for _ in 0..STEPS_MAX {
        let Some([what, who, more]) = reader.take() else { break };
        let client = connected.iter().nth(usize::from(who) % connected.len().max(1)).map(|id| ClientId(*id));
        match (what % 8, client) {
            (0, _) => {
                next += 1;
                connected.insert(next);
                let carrier = if more & 16 == 0 { Carrier::Udp } else { Carrier::Tunnel };
                node.connected(ClientId(next), DeviceId([who & 7; 32]), address(more), carrier, now);
            }
            (1, Some(client)) => {
                connected.remove(&client.0);
                node.disconnected(client, now);
            }
            (2, Some(client)) => node.moved(client, address(more), now),
            (3, Some(client)) => {
                let length = usize::from(more).min(reader.0.len());
                let (body, rest) = reader.0.split_at(length);
                reader.0 = rest;
                node.handle_message(client, body, now);
            }
            (4 | 5, Some(client)) => {
                let Some(message) = meeting_message(&mut reader) else { break };
                node.handle_message(client, &message.to_frame()[LENGTH_BYTES..], now);
            }
            (6, Some(client)) if !channels.is_empty() => {
                let channel = channels[usize::from(more) % channels.len()];
                let pass = Message::Pass(Pass { channel, data: vec![more; usize::from(who) * 8] });
                node.handle_message(client, &pass.to_frame()[LENGTH_BYTES..], now);
            }
            _ => {
                now += Duration::from_millis(u64::from(who) * u64::from(more));
                node.handle_timeout(now);
                assert!(node.poll_timeout().is_none_or(|at| at > now), "what is due was done");
            }
        }
        let mut actions = 0;
        while let Some(action) = node.poll_action() {
            actions += 1;
            match action {
                Action::Send { client, message } => {
                    assert!(Message::decode(&message.to_frame()[LENGTH_BYTES..]).is_ok());
                    if let Message::Introduced(introduced) = &message {
                        assert!(connected.contains(&client.0), "nobody else is told");
                        channels.push(introduced.channel);
                    }
                }
                Action::Close(client) => {
                    connected.remove(&client.0);
                }
                Action::Relay(update) => relay.apply(update),
            }
        }
        // A member that comes, goes or moves: each other member is told, by two connections, in each room, and so is
        // it; all of them at once when time has passed.
        let told = 4 * limits.members_max * limits.rooms_max + 4;
        assert!(actions <= told * limits.members_max, "{actions} actions at once");
        channels.drain(..channels.len().saturating_sub(64));
        let figures = node.figures();
        assert!(figures.rooms <= limits.rooms_max && figures.clients <= limits.clients_max);
        assert!(figures.clients == connected.len() && relay.channels() <= 2 * limits.pairs_max);
        if let Some(channel) = channels.get(usize::from(more) % channels.len().max(1)) {
            let from = address(who);
            match relay.forward(from, *channel, 1200, now) {
                Ok((to, back)) => {
                    let returned = relay.forward(to, back, 1200, now);
                    assert!(
                        matches!(returned, Ok((_, there)) if there == *channel)
                            || matches!(returned, Err(Dropped::TooFast | Dropped::Unreachable)),
                        "{returned:?}"
                    );
                }
                Err(dropped) => assert_ne!(dropped, Dropped::Length),
            }
        }
    }
});
