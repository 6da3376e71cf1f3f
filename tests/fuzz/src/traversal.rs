//! What traversal's targets read their inputs with, and what they begin with.

use std::net::SocketAddr;

use audiocloud_traversal::frame::{ChannelId, Frame, Probe, Tag};
use audiocloud_traversal::meeting::{
    Gone, Introduced, LENGTH_BYTES, Leave, Message, Pass, Reason, Refused, Register, Registered, Room,
};
use audiocloud_traversal::probe::ProbeKey;
use audiocloud_wire::id::{DeviceId, InstanceId};
use audiocloud_wire::message::Text;

/// An input, from its front.
#[derive(Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl Reader<'_> {
    /// The next bytes, while there are as many.
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }
}

/// What a client may say, from a few bytes.
pub fn meeting_message(reader: &mut Reader<'_>) -> Option<Message> {
    let [what, room, instance, address] = reader.take()?;
    let room = Room([room & 7; 32]);
    if what & 3 == 0 {
        return Some(Message::Leave(Leave { room }));
    }
    let addresses =
        vec![SocketAddr::from(([10, 0, 0, address], u16::from(address) + 1)); usize::from(what >> 5)];
    let instance = InstanceId([instance & 3; 16]);
    Some(Message::Register(Register { room, instance, addresses, probe_key: ProbeKey([what >> 2 & 1; 32]) }))
}

/// Frames, messages, and steps of the node's and the ways' targets.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let (room, probe_key, channel) = (Room([1; 32]), ProbeKey([2; 32]), ChannelId(3));
    let (device, instance) = (DeviceId([4; 32]), InstanceId([5; 16]));
    let addresses: Vec<SocketAddr> = ["192.0.2.1:4460", "[2001:db8::1]:4460"]
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect();
    let reflexive = addresses.first().copied();
    let messages = [
        Message::Register(Register { room, instance, addresses: addresses.clone(), probe_key }),
        Message::Leave(Leave { room }),
        Message::Registered(Registered { room, reflexive, relay: true, keep_ms: 20_000 }),
        Message::Introduced(Introduced { room, device, instance, addresses, probe_key, channel }),
        Message::Gone(Gone { room, device, instance }),
        Message::Pass(Pass { channel, data: vec![7; 40] }),
        Message::Refused(Refused { room: Some(room), reason: Reason::Full, text: Text::new("full") }),
    ];
    let probe = |is_answer| Frame::Probe(Probe { is_answer, tag: Tag([1; 8]), number: 2, mac: [3; 16] });
    let frames = [probe(false), probe(true), Frame::Relayed { channel, datagram: &[0x40; 30] }];
    let mut seeds: Vec<_> = messages
        .iter()
        .map(|message| ("meeting_message", message.to_frame()[LENGTH_BYTES..].to_vec()))
        .collect();
    for frame in frames {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        seeds.push(("traversal_frame", bytes));
    }
    // Four clients connect and register in a room; one moves, one leaves, time passes.
    let mut steps = Vec::new();
    for client in 0..4 {
        steps.extend([0, client, client, 4, client, 0, 1, 1, client, client]);
    }
    steps.extend([6, 0, 0, 2, 1, 9, 4, 2, 0, 0, 1, 2, 0, 7, 100, 200, 1, 3, 0, 7, 250, 250]);
    seeds.push(("rendezvous", steps));
    // Both ends try an address and a relay, and everything arrives.
    let mut steps = Vec::new();
    for end in [0, 0x80] {
        steps.extend([10 + end - end % 10, 1, 2, 11 + end - end % 10, 0, 0]);
    }
    for step in 0..100 {
        steps.extend([27, step, 2, 27, step, 0x80, 26, 0, 20]);
    }
    seeds.push(("ways", steps));
    seeds
}
