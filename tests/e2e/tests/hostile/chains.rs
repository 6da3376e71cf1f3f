//! Attacks by a member on chains of effects: on who might play them, and on who might own some.

use audiocloud_net::wire::{
    id::{ChainId, RemoteId},
    message::{
        Bytes, Message, RemoteDocument, RemoteOpen, RemoteOpened, RemoteProposal, RemoteRefusal,
        RemoteReport, RemoteView, Text,
    },
    packet::{
        slice::{Encoder, Flags, Header, SLICE_BYTES_MAX, write_samples},
        slice_report::{SLICE_REPORT_BYTES, SliceReport},
    },
};

use super::members::{cut_off, datagrams, enter, frame_of};
use super::{Attack, Field};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "a chain without right",
        does: "asks Anna's machine to play 60 chains, with a ticket to listen",
        must: "each is refused, and in the log",
        run: opens_without_right,
    },
    Attack {
        name: "a flood of chains",
        does: "does so without end",
        must: "cut off",
        run: |field| cut_off(field, &field.anna, "listener", &frame_of(&open(field, 1))),
    },
    Attack {
        name: "sound of nobody's chain",
        does: "sends 2000 slices there and back, and reports on slices, of chains that are not there",
        must: "each is counted",
        run: |field| datagrams(field, &field.anna, "unknown_stream", (0..2000).map(packet).collect()),
    },
    Attack {
        name: "a node that nobody asked",
        does: "says that it plays chains, reports on them and shows them, and proposes edits to chains that are not there",
        must: "each edit is refused, and nothing comes of the rest",
        run: unasked,
    },
];

fn open(field: &Field, remote: u64) -> Message {
    Message::RemoteOpen(Box::new(RemoteOpen {
        remote: RemoteId(remote),
        chain: ChainId(remote),
        name: Text::new("Smuggled"),
        session: Some(field.session),
        sample_rate_hz: 48_000,
        inputs: 32,
        side_chain: 32,
        outputs: 64,
        block_frames_max: 65_536,
        patience_us: u32::MAX,
        exact: remote.is_multiple_of(2),
    }))
}

fn opens_without_right(field: &Field) {
    let mut puppet = enter(field, &field.anna, "listener");
    for remote in 0..60 {
        puppet.say(&open(field, remote));
        let bytes = Bytes::try_from(vec![b'['; 49_152]).expect("a part's length");
        let (remote, revision, part, parts) = (RemoteId(remote), u64::MAX, 0, 341);
        puppet.say(&Message::RemoteDocument(RemoteDocument { remote, revision, part, parts, bytes }));
    }
    for remote in 0..60 {
        let refused = puppet.hear_until(|message| match message {
            Message::RemoteRefused(refused) => Some(refused),
            Message::RemoteOpened(opened) => panic!("{opened:?}"),
            _ => None,
        });
        assert_eq!(
            (refused.remote, refused.reason),
            (RemoteId(remote), RemoteRefusal::NotAllowed),
            "{refused:?}"
        );
    }
    field.says(&field.anna, &["may not have a chain played here", "does not allow"]);
}

/// A slice there, a slice back, or a report.
fn packet(number: u32) -> Vec<u8> {
    let remote = RemoteId(u64::from(number / 7));
    if number.is_multiple_of(3) {
        let report = SliceReport {
            remote,
            back: number.is_multiple_of(2),
            epoch: number,
            next_sequence: 0,
            received: u32::MAX,
            missed: u32::MAX,
            lost: 0,
            late: 0,
            first_missing: number,
            missing: u64::MAX,
        };
        let mut bytes = vec![0; SLICE_REPORT_BYTES];
        report.encode(&mut bytes).expect("a report");
        return bytes;
    }
    let header = Header {
        remote,
        flags: if number.is_multiple_of(2) { Flags::BACK } else { Flags::REPEAT },
        epoch: number,
        sequence: number.wrapping_mul(0x9e37_79b9),
        first_event: 0,
        first_frame: u64::from(number) << 30,
        frames: 64,
        channels: 2,
    };
    let mut bytes = vec![0; SLICE_BYTES_MAX];
    let encoder = Encoder::new(&header, &mut bytes).expect("a slice");
    let length = encoder.finish(|_, bytes| write_samples(&[1.0; 64], bytes));
    bytes.truncate(length);
    bytes
}

fn unasked(field: &Field) {
    let mut puppet = enter(field, &field.anna, "listener");
    for number in 0..40 {
        let (remote, chain) = (RemoteId(number), ChainId(number));
        let bytes = || Bytes::try_from(vec![b'x'; 1000]).expect("a length");
        puppet.say(&Message::RemoteOpened(RemoteOpened { remote }));
        let report = Bytes::try_from(vec![b'x'; 1000]).expect("a length");
        puppet.say(&Message::RemoteReport(RemoteReport { remote, revision: 1, report }));
        let (revision, part, parts) = (1, 0, 1);
        let states = RemoteDocument { remote, revision, part, parts, bytes: bytes() };
        puppet.say(&Message::RemoteStates(states));
        puppet.say(&Message::RemoteView(RemoteView { chain, revision, part, parts, bytes: bytes() }));
        let edit = Bytes::try_from(vec![b'x'; 1000]).expect("a length");
        puppet.say(&Message::RemoteProposal(RemoteProposal { chain, token: number, edit }));
    }
    for number in 0..40 {
        let refused = puppet.hear_until(|message| match message {
            Message::RemoteProposalRefused(refused) => Some(refused),
            _ => None,
        });
        assert_eq!((refused.chain, refused.token), (ChainId(number), number));
    }
    field.wait(&field.anna, "no chain is there", |status| {
        let runtime = &status["runtimes"][0];
        ["remotes", "served", "chains"]
            .iter()
            .all(|list| runtime[list] == serde_json::json!([]))
            .then_some(())
    });
}
