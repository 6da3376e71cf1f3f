//! Chains of effects on nodes: who runs them, what is in them, and how they fare.
//!
//! A *chain* belongs to whoever has it in a project. An *opening* of it on a node has a number of its own, the
//! [`RemoteId`], which slices carry as well. What is in a chain, and what a node reports of it, is the business of another
//! layer; here it is bytes of bounded length.

use serde::{Deserialize, Serialize};

use super::{codes, list};
use crate::id::{ChainId, DeviceId, RemoteId, SessionId};
use crate::message::{Bytes, Text};

/// The longest part of a document, in bytes.
pub const DOCUMENT_PART_BYTES_MAX: usize = 49_152;
/// The most parts of one document: 16 MiB in all.
pub const DOCUMENT_PARTS_MAX: u16 = 341;
/// The longest report, in bytes.
pub const REPORT_BYTES_MAX: usize = 32_768;
/// The longest edit, in bytes.
pub const EDIT_BYTES_MAX: usize = 49_152;
/// The longest details of a node, in bytes.
pub const DETAILS_BYTES_MAX: usize = 49_152;
/// The most chains of one [`RemoteChains`].
pub const CHAINS_MAX: usize = 128;

/// Asks a node to run a chain. Its document follows; the node answers when it has all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteOpen {
    /// The number of this opening, of whoever asks.
    pub remote: RemoteId,
    /// Which chain.
    pub chain: ChainId,
    /// What its user calls it.
    pub name: Text,
    /// The session that gives the right, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Frames per second.
    #[serde(rename = "sample-rate")]
    pub sample_rate_hz: u32,
    /// Channels that go into the chain, from 1 on.
    pub inputs: u8,
    /// Channels beside them, for side-chains; with the inputs at most 64.
    #[serde(rename = "side-chain")]
    pub side_chain: u8,
    /// Channels that come back.
    pub outputs: u8,
    /// Most frames that the host processes at once.
    #[serde(rename = "block-max")]
    pub block_frames_max: u32,
    /// How long a missing slice may hold up those after it, in microseconds.
    #[serde(rename = "patience-us")]
    pub patience_us: u32,
    /// Slices go over a stream of their own, none is lost, and each is waited for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exact: bool,
}

impl RemoteOpen {
    /// Whether its numbers go together.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let channels = |count: u16| (1..=64).contains(&count);
        if self.sample_rate_hz == 0 {
            return Err("a chain has a sample rate");
        }
        if channels(u16::from(self.inputs) + u16::from(self.side_chain)) && channels(self.outputs.into()) {
            return Ok(());
        }
        Err("a chain has from 1 to 64 channels, each way")
    }
}

/// The node runs the chain: slices may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteOpened {
    /// Which opening.
    pub remote: RemoteId,
}

/// The node does not run the chain, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteRefused {
    /// Which opening.
    pub remote: RemoteId,
    /// Why, for programs.
    pub reason: RemoteRefusal,
    /// Why, for people.
    pub text: Text,
}

codes! {
    /// Why a node does not run a chain.
    RemoteRefusal {
        /// It runs none for anybody.
        NotServed = "not-served",
        /// The peer may not.
        NotAllowed = "not-allowed",
        /// It has no room for another.
        NoRoom = "no-room",
        /// It is about to end.
        Draining = "draining",
        /// It cannot make anything of the document, or of the numbers.
        BadChain = "bad-chain",
        /// What ran has failed.
        Failed = "failed",
    }
}

/// The chain is not needed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteClose {
    /// Which opening.
    pub remote: RemoteId,
}

/// A part of what a chain is, to the node that runs it; or, as remote-states, of what has become of its plug-ins, from
/// there. All parts of a revision follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteDocument {
    /// Which opening.
    pub remote: RemoteId,
    /// Grows with every document of the opening, either way by itself.
    pub revision: u64,
    /// Which part, from 0.
    pub part: u16,
    /// Of how many, from 1 to [`DOCUMENT_PARTS_MAX`].
    pub parts: u16,
    /// Its bytes.
    pub bytes: Bytes<DOCUMENT_PART_BYTES_MAX>,
}

impl RemoteDocument {
    /// Whether its numbers go together.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let fits = (1..=DOCUMENT_PARTS_MAX).contains(&self.parts) && self.part < self.parts;
        if fits { Ok(()) } else { Err("a document has from 1 to 341 parts, counted from 0") }
    }
}

/// How a chain fares on its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteReport {
    /// Which opening.
    pub remote: RemoteId,
    /// The revision of the document that runs.
    pub revision: u64,
    /// What the chain says of itself.
    pub report: Bytes<REPORT_BYTES_MAX>,
}

/// What a node can run, in place of what any earlier such message said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteCapacity {
    /// Chains that it runs now.
    pub chains: u16,
    /// The most that it runs.
    #[serde(rename = "chains-max")]
    pub chains_max: u16,
    /// Of the time until its deadlines, what is left, in thousandths.
    #[serde(rename = "head-room")]
    pub head_room_permille: u16,
    /// Threads that chains run on.
    pub workers: u16,
    /// Whether these have real-time priority.
    pub realtime: bool,
    /// Whether it takes no new ones, for it is about to end.
    #[serde(default, skip_serializing_if = "is_false")]
    pub draining: bool,
    /// What else it says of itself: plug-ins that it has, and devices.
    #[serde(default, skip_serializing_if = "nothing")]
    pub details: Bytes<DETAILS_BYTES_MAX>,
}

/// All chains of the peer that the reader may see, in place of those of any earlier such message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteChains {
    /// At most [`CHAINS_MAX`].
    #[serde(deserialize_with = "list::at_most::<CHAINS_MAX, _, _>")]
    pub chains: Vec<RemoteChain>,
}

/// A chain of the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteChain {
    /// Which.
    pub chain: ChainId,
    /// What its user calls it.
    pub name: Text,
    /// The session whose members may see it; absent: those who trust its owner without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Where it runs; absent: nowhere but with its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<DeviceId>,
    /// Grows with every change of its document.
    pub revision: u64,
    /// Whether the reader may propose edits.
    pub open: bool,
}

/// Asks for what a chain of the peer is, from now on, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteWatch {
    /// Which.
    pub chain: ChainId,
    /// Whether it is asked for.
    pub on: bool,
}

/// A part of what a chain is, to whoever watches it. All parts of a revision follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteView {
    /// Which.
    pub chain: ChainId,
    /// Grows with every change.
    pub revision: u64,
    /// Which part, from 0.
    pub part: u16,
    /// Of how many, from 1 to [`DOCUMENT_PARTS_MAX`].
    pub parts: u16,
    /// Its bytes.
    pub bytes: Bytes<DOCUMENT_PART_BYTES_MAX>,
}

impl RemoteView {
    /// Whether its numbers go together.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let fits = (1..=DOCUMENT_PARTS_MAX).contains(&self.parts) && self.part < self.parts;
        if fits { Ok(()) } else { Err("a document has from 1 to 341 parts, counted from 0") }
    }
}

/// Asks the owner of a chain to change it. That it was done shows in the next [`RemoteChains`] and [`RemoteView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteProposal {
    /// Which chain.
    pub chain: ChainId,
    /// Whatever the asking side likes, for the refusal.
    pub token: u64,
    /// What is to be done.
    pub edit: Bytes<EDIT_BYTES_MAX>,
}

/// A [`RemoteProposal`] that is not followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteProposalRefused {
    /// Which chain.
    pub chain: ChainId,
    /// The token of the proposal.
    pub token: u64,
    /// Why, for people.
    pub text: Text,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn nothing<const MAX: usize>(bytes: &Bytes<MAX>) -> bool {
    bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{DecodeError, EncodeError, FRAME_BYTES_MAX, Message, split_frame};

    fn open() -> RemoteOpen {
        RemoteOpen {
            remote: RemoteId(1),
            chain: ChainId(2),
            name: Text::new("Vox"),
            session: None,
            sample_rate_hz: 48_000,
            inputs: 2,
            side_chain: 2,
            outputs: 2,
            block_frames_max: 128,
            patience_us: 3000,
            exact: false,
        }
    }

    fn document(part: u16, parts: u16) -> RemoteDocument {
        let bytes = Bytes::try_from(vec![7; DOCUMENT_PART_BYTES_MAX]).unwrap();
        RemoteDocument { remote: RemoteId(1), revision: 1, part, parts, bytes }
    }

    /// It is neither sent nor read.
    fn check_refused(message: Message) {
        let sent = message.to_frame();
        assert!(matches!(sent, Err(EncodeError::Field(_))), "{sent:?}");
        let mut body = Vec::new();
        ciborium::into_writer(&message, &mut body).unwrap();
        let read = Message::decode(&body);
        assert!(matches!(read, Err(DecodeError::Field { .. })), "{read:?}");
    }

    #[test]
    fn numbers_that_do_not_go_together_are_neither_sent_nor_read() {
        let check = |open: RemoteOpen| check_refused(Message::RemoteOpen(Box::new(open)));
        check(RemoteOpen { sample_rate_hz: 0, ..open() });
        check(RemoteOpen { inputs: 0, side_chain: 0, ..open() });
        check(RemoteOpen { inputs: 64, side_chain: 1, ..open() });
        check(RemoteOpen { inputs: 255, side_chain: 255, ..open() });
        check(RemoteOpen { outputs: 0, ..open() });
        check(RemoteOpen { outputs: 65, ..open() });
        check_refused(Message::RemoteDocument(document(0, 0)));
        check_refused(Message::RemoteDocument(document(3, 3)));
        check_refused(Message::RemoteStates(document(3, 3)));
        check_refused(Message::RemoteDocument(document(0, DOCUMENT_PARTS_MAX + 1)));
        let RemoteDocument { revision, part, parts, bytes, .. } = document(1, 1);
        check_refused(Message::RemoteView(RemoteView { chain: ChainId(1), revision, part, parts, bytes }));
    }

    #[test]
    fn lists_and_bytes_have_bounds() {
        let chain = |chain| RemoteChain {
            chain: ChainId(chain),
            name: Text::new("Vox"),
            session: None,
            node: None,
            revision: 1,
            open: true,
        };
        let chains = |count| Message::RemoteChains(RemoteChains { chains: (0..count).map(chain).collect() });
        assert!(chains(128).to_frame().is_ok());
        check_refused(chains(129));
        for full in [
            Message::RemoteDocument(document(340, 341)),
            Message::RemoteStates(document(0, 1)),
            Message::RemoteReport(RemoteReport {
                remote: RemoteId(1),
                revision: 1,
                report: Bytes::try_from(vec![7; REPORT_BYTES_MAX]).unwrap(),
            }),
            Message::RemoteProposal(RemoteProposal {
                chain: ChainId(u64::MAX),
                token: u64::MAX,
                edit: Bytes::try_from(vec![7; EDIT_BYTES_MAX]).unwrap(),
            }),
        ] {
            let frame = full.to_frame().unwrap();
            let (body, _) = split_frame(&frame).unwrap().unwrap();
            assert!(body.len() <= FRAME_BYTES_MAX);
            assert_eq!(Message::decode(body), Ok(full));
        }
    }
}
