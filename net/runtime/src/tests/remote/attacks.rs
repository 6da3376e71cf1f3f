//! Programs that do not keep to the rules.

use std::sync::atomic::Ordering;

use audiocloud_membership::rights::Rights;
use audiocloud_wire::id::{ChainId, RemoteId};
use audiocloud_wire::message::{
    Bytes, Message, RemoteCapacity, RemoteClose, RemoteDocument, RemoteOpen, RemoteOpened, RemoteProposal,
    RemoteRefusal, Text,
};
use audiocloud_wire::packet::slice::{Encoder, Flags, Header, SLICE_BYTES_MAX, write_samples};

use super::super::refusal::Puppet;
use super::super::rig::{Machine, until};
use super::super::sessions::{Person, member_puppet, with};
use super::rig::{Node, PlugIn, config};

fn open(remote: u64, session: Option<audiocloud_wire::id::SessionId>) -> Message {
    Message::RemoteOpen(Box::new(RemoteOpen {
        remote: RemoteId(remote),
        chain: ChainId(5),
        name: Text::new("Smuggled"),
        session,
        sample_rate_hz: 48_000,
        inputs: 2,
        side_chain: 0,
        outputs: 2,
        block_frames_max: 128,
        patience_us: 1000,
        exact: false,
    }))
}

fn document(remote: u64, part: u16, parts: u16, bytes: usize) -> Message {
    let bytes = Bytes::try_from(vec![b'x'; bytes]).unwrap();
    Message::RemoteDocument(RemoteDocument { remote: RemoteId(remote), revision: 1, part, parts, bytes })
}

/// Loud, at any frame.
fn slice(remote: RemoteId, flags: Flags, sequence: u32, first_frame: u64) -> bytes::Bytes {
    let header =
        Header { remote, flags, epoch: 9, sequence, first_event: 0, first_frame, frames: 64, channels: 2 };
    let mut room = [0; SLICE_BYTES_MAX];
    let encoder = Encoder::new(&header, &mut room).unwrap();
    let length = encoder.finish(|_, bytes| write_samples(&[1.0; 64], bytes));
    bytes::Bytes::copy_from_slice(&room[..length])
}

impl Puppet {
    fn say(&mut self, message: &Message) {
        self.send(&message.to_frame().unwrap());
        self.breathe();
    }

    fn welcome(&mut self) {
        self.say_hello();
        let Message::Hello(_) = self.answer() else { panic!("it was not let in") };
    }

    fn refusal(&mut self) -> (RemoteId, RemoteRefusal, String) {
        loop {
            if let Message::RemoteRefused(refused) = self.answer() {
                return (refused.remote, refused.reason, refused.text.to_string());
            }
        }
    }
}

#[test]
fn a_member_without_the_right_opens_nothing() {
    let anna = Person::new("Anna");
    let session = anna.found();
    let node = Node::on(anna.handle().clone());
    let mut ben = Person::new("Ben");
    ben.stop();
    ben.join(&anna.invite(&session, with(Rights::musician())));
    let mut puppet = member_puppet(&ben, &anna, session);
    puppet.welcome();
    for (remote, session) in [(1, Some(session)), (2, None)] {
        puppet.say(&open(remote, session));
        puppet.say(&document(remote, 0, 1, 5));
        let (refused, reason, words) = puppet.refusal();
        assert_eq!((refused, reason), (RemoteId(remote), RemoteRefusal::NotAllowed), "{words}");
    }
    puppet.connection.send_datagram(slice(RemoteId(1), Flags::NONE, 0, 0)).unwrap();
    puppet.breathe();
    until("its sound goes nowhere", || anna.handle().figures().unknown_stream >= 1);
    assert!(node.host.documents().is_empty() && node.serving.chains().is_empty());
    until("it is in the log", || {
        anna.store()
            .log(100)
            .unwrap()
            .iter()
            .any(|line| line.text.contains("asked to have \"Smuggled\" played"))
    });
}

#[test]
fn slices_for_anothers_chain_do_nothing() {
    let machine = Machine::new();
    let (daw, node) = (machine.start("daw"), Node::start(&machine, "Studio"));
    let mut plug_in = PlugIn::new(&daw, config());
    plug_in.until_live();
    // Of the same user even, and it knows the number.
    let remote = RemoteId(plug_in.remote.shared.opening.load(Ordering::SeqCst));
    let mut to_node = Puppet::connect(&machine, &node.handle);
    to_node.welcome();
    let mut to_daw = Puppet::connect(&machine, &daw);
    to_daw.welcome();
    to_daw.say(&Message::RemoteOpened(RemoteOpened { remote }));
    to_node.say(&Message::RemoteClose(RemoteClose { remote }));
    for step in 0..100_u32 {
        plug_in.block();
        to_node.connection.send_datagram(slice(remote, Flags::NONE, step, u64::from(step) * 64)).unwrap();
        to_daw.connection.send_datagram(slice(remote, Flags::BACK, step, u64::from(step) * 64)).unwrap();
        to_node.breathe();
        to_daw.breathe();
        plug_in.check(1.0);
    }
    until("all of it is back, and nothing else", || {
        plug_in.check(1.0);
        plug_in.back == plug_in.sent
    });
    until("the forged ones are counted", || {
        node.handle.figures().unknown_stream >= 100 && daw.figures().unknown_stream >= 100
    });
}

#[test]
fn a_peer_that_breaks_the_rules_of_documents_loses_the_chain_alone() {
    let machine = Machine::new();
    let (daw, node) = (machine.start("daw"), Node::start(&machine, "Studio"));
    let mut plug_in = PlugIn::new(&daw, config());
    plug_in.until_live();
    let mut puppet = Puppet::connect(&machine, &node.handle);
    puppet.welcome();
    puppet.say(&open(1, None));
    puppet.say(&document(1, 1, 2, 5));
    assert_eq!(puppet.refusal().1, RemoteRefusal::BadChain);
    // Documents that never end.
    let full = 49_152;
    for remote in 10..15 {
        puppet.say(&open(remote, None));
        for part in 0..40 {
            puppet.say(&document(remote, part, 341, full));
        }
    }
    let (_, reason, words) = puppet.refusal();
    assert_eq!(reason, RemoteRefusal::NoRoom, "{words}");
    plug_in.block();
    until("the honest one plays on", || {
        plug_in.check(1.0);
        plug_in.back == plug_in.sent
    });
    assert_eq!(node.host.open(), 1);
}

#[test]
fn openings_by_the_hundred_are_refused() {
    let machine = Machine::new();
    let node = Node::start(&machine, "Studio");
    let mut puppet = Puppet::connect(&machine, &node.handle);
    puppet.welcome();
    for remote in 0..200 {
        puppet.say(&open(remote, None));
    }
    let (_, reason, _) = puppet.refusal();
    assert_eq!(reason, RemoteRefusal::NoRoom);
    drop(puppet);
    until("they are forgotten with it", || node.serving.chains().is_empty() && node.host.open() == 0);
}

#[test]
fn a_node_that_floods_fills_its_own_rings_alone() {
    let machine = Machine::new();
    let daw = machine.start("daw");
    let mut puppet = Puppet::connect(&machine, &daw);
    puppet.welcome();
    let offer = RemoteCapacity {
        chains: 0,
        chains_max: u16::MAX,
        head_room_permille: u16::MAX,
        workers: 1,
        realtime: true,
        draining: false,
        details: Bytes::default(),
    };
    puppet.say(&Message::RemoteCapacity(offer));
    let mut plug_in = PlugIn::new(&daw, config());
    let remote = loop {
        if let Message::RemoteOpen(open) = puppet.answer() {
            break open.remote;
        }
    };
    puppet.say(&Message::RemoteOpened(RemoteOpened { remote }));
    plug_in.until_live();
    for step in 0..20_000_u32 {
        // Frames that were never sent there, from everywhere.
        let frame = u64::from(step).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2;
        let flags = if step % 3 == 0 { Flags::BACK | Flags::REPEAT } else { Flags::BACK };
        puppet.connection.send_datagram(slice(remote, flags, step.wrapping_mul(7919), frame)).unwrap();
        if step % 256 == 0 {
            puppet.breathe();
        }
    }
    until("what has no room is counted", || plug_in.remote.status().figures.ring_full > 0);
    // Proposals for a chain that is nobody else's business, and too many of them.
    for token in 0..100 {
        let (chain, edit) = (plug_in.remote.key().chain, Bytes::default());
        puppet.say(&Message::RemoteProposal(RemoteProposal { chain, token, edit }));
    }
    loop {
        if let Message::RemoteProposalRefused(refused) = puppet.answer() {
            assert!(refused.text.contains("too many edits wait"), "{}", refused.text);
            break;
        }
    }
    // Another node serves it honestly.
    drop(puppet);
    let _node = Node::start(&machine, "Studio");
    until("an honest one has it", || plug_in.remote.status().node.is_some_and(|(_, name)| name == "Studio"));
    plug_in.until_live();
    plug_in.skip();
    plug_in.back = plug_in.sent;
    plug_in.block();
    until("and it is back", || {
        plug_in.check(1.0);
        plug_in.back == plug_in.sent
    });
}
