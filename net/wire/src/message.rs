//! Messages on control streams: CBOR maps with text keys, in frames with their length in front.
//!
//! A frame is a 32-bit big-endian length from 1 to [`FRAME_BYTES_MAX`], and that many bytes of one CBOR map
//! (RFC 8949) in the profile of [`mod@profile`]. Its `"kind"` says which message it is. Fields that a reader
//! does not know are skipped, and so are messages: they come out as [`Message::Unknown`]. The schema is
//! `spec/messages.cddl`.

use serde::{Deserialize, Serialize};

pub use bytes::{Bytes, BytesError};
pub use directory::{Directory, StreamAnnouncement};
pub use hello::{Hello, HelloRefused, NoCommonVersion, RefusalReason, VERSIONS, VersionRange};
pub use hello::{certificate_message, negotiate};
pub use patch::{INPUTS_MAX, Input, Inputs, PLAYING_MAX, Patch, PatchRefused, Purpose};
pub use remote::{CHAINS_MAX, DETAILS_BYTES_MAX, DOCUMENT_PART_BYTES_MAX, DOCUMENT_PARTS_MAX};
pub use remote::{EDIT_BYTES_MAX, REPORT_BYTES_MAX};
pub use remote::{RemoteCapacity, RemoteChain, RemoteChains, RemoteClose, RemoteDocument, RemoteOpen};
pub use remote::{RemoteOpened, RemoteProposal, RemoteProposalRefused, RemoteRefusal, RemoteRefused};
pub use remote::{RemoteReport, RemoteView, RemoteWatch};
pub use session::{CHANGE_BYTES_MAX, CHANGES_MAX, HEADS_MAX, MEMBERSHIPS_MAX, PLACES_MAX};
pub use session::{Membership, SessionChanges, SessionHave, SessionPlaces, SessionRoster};
pub use session::{RECORD_BYTES_MAX, REVOCATION_BYTES_MAX, ROSTER_ITEMS_MAX};
pub use text::{TEXT_BYTES_MAX, Text, TextError};
pub use time::{BeatLoop, BeatSegment, Beats, Finite, SEGMENTS_MAX, TempoRamp, TimeGrade};
pub use time::{TimeCandidate, TimeChoice, TimeLine, TimeMaster, TimeProcess, TimeState};

use crate::id::StreamId;
use crate::quality::Quality;

mod bytes;
mod directory;
mod hello;
mod list;
mod patch;
pub mod profile;
mod remote;
mod session;
mod text;
mod time;

/// The longest body of a frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 65_536;

/// Bytes of the length in front of a body.
pub const LENGTH_BYTES: usize = 4;

/// The most streams of one directory.
pub const DIRECTORY_STREAMS_MAX: usize = 1024;

/// What peers tell each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Message {
    /// Who is there. The first message in each direction.
    Hello(Box<Hello>),
    /// Why the peer is not wanted; the connection closes after it.
    HelloRefused(HelloRefused),
    /// All streams that the peer publishes.
    Directory(Directory),
    /// Asks for the packets of a stream.
    Subscribe(Subscribe),
    /// Ends that.
    Unsubscribe(Unsubscribe),
    /// A subscription that was not accepted, or is no longer.
    SubscribeRefused(SubscribeRefused),
    /// Who belongs to a session.
    SessionRoster(SessionRoster),
    /// Where a member of a session is.
    SessionPlaces(Box<SessionPlaces>),
    /// What the peer has of what a session shares.
    SessionHave(SessionHave),
    /// Changes of what a session shares.
    SessionChanges(SessionChanges),
    /// What plays streams at the peer.
    Inputs(Inputs),
    /// Asks that one of these plays something else.
    Patch(Patch),
    /// That it will not.
    PatchRefused(PatchRefused),
    /// How the sender stands to the time of a domain.
    TimeState(Box<TimeState>),
    /// Some of a domain's beat map.
    Beats(Beats),
    /// Asks a node to run a chain of effects.
    RemoteOpen(Box<RemoteOpen>),
    /// That it does.
    RemoteOpened(RemoteOpened),
    /// That it does not, or no longer.
    RemoteRefused(RemoteRefused),
    /// That it need not any more.
    RemoteClose(RemoteClose),
    /// What the chain is.
    RemoteDocument(RemoteDocument),
    /// How it fares.
    RemoteReport(RemoteReport),
    /// What its owner is to keep of it.
    RemoteStates(RemoteDocument),
    /// What the peer can run as a node.
    RemoteCapacity(RemoteCapacity),
    /// Chains of the peer.
    RemoteChains(RemoteChains),
    /// Asks what one of them is.
    RemoteWatch(RemoteWatch),
    /// What it is.
    RemoteView(RemoteView),
    /// Asks that it be changed.
    RemoteProposal(RemoteProposal),
    /// That it is not.
    RemoteProposalRefused(RemoteProposalRefused),
    /// Asks for a [`Pong`].
    Ping(Ping),
    /// Answers a [`Ping`].
    Pong(Pong),
    /// The connection is about to be closed on purpose.
    Goodbye(Goodbye),
    /// A message of a kind that this version does not know: skip it.
    // Untagged: its kind is its own, not the variant's.
    #[serde(untagged)]
    Unknown(Unknown),
}

/// Asks for the packets of one of the peer's streams, from now on. Who has subscribed and does so again
/// changes the quality from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// Which.
    pub stream: StreamId,
    /// As what; absent where all is left to the sender.
    #[serde(default, skip_serializing_if = "Quality::is_default")]
    pub quality: Quality,
}

/// No more packets of this stream, please. A stream that was not asked for is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscribe {
    /// Which.
    pub stream: StreamId,
}

/// A subscription that was not accepted, or is no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribeRefused {
    /// Which.
    pub stream: StreamId,
    /// Why, for programs.
    pub reason: SubscribeRefusal,
    /// Why, for people.
    pub text: Text,
}

/// Asks for a [`Pong`] with the same token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Whatever the asking side likes.
    pub token: u64,
}

/// Answers a [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The token of the ping.
    pub token: u64,
}

/// The connection is about to be closed on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// Why, for programs.
    pub reason: GoodbyeReason,
    /// Why, for people.
    pub text: Text,
}

/// A message of a kind that this version does not know. What else there was in it is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// Its kind.
    pub kind: Text,
}

/// An enum of codes that are text on the wire, where a code of the future is `Unknown`.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A code that this version does not know.
            Unknown,
        }

        impl $name {
            /// The code as it goes over the wire.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                    Self::Unknown => "unknown",
                }
            }

            /// The meaning of a code.
            pub fn from_code(code: &str) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    _ => Self::Unknown,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.code())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.code())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::message::Text::deserialize(deserializer).map(|code| Self::from_code(&code))
            }
        }
    };
}
pub(crate) use codes;

codes! {
    /// Why a stream is not sent to who asked for it.
    SubscribeRefusal {
        /// No stream with this id is published here, or no longer.
        NotPublished = "not-published",
        /// The peer may not have it.
        NotAllowed = "not-allowed",
        /// As many subscriptions as the publisher serves.
        TooMany = "too-many",
    }
}

codes! {
    /// Why a connection is closed.
    GoodbyeReason {
        /// The process ends, or its last plug-in was removed.
        Shutdown = "shutdown",
        /// Another connection to the same peer is kept.
        Duplicate = "duplicate",
        /// The peer broke the protocol.
        ProtocolError = "protocol-error",
    }
}

/// Why a frame or its message could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A frame's length is zero or more than [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes; from 1 to {FRAME_BYTES_MAX} are allowed")]
    FrameLength(u32),
    /// Not CBOR, or CBOR outside of the profile.
    #[error(transparent)]
    Profile(#[from] profile::ProfileError),
    /// The map has no `"kind"` that is a text of at most 256 bytes.
    #[error("the message has no kind")]
    NoKind,
    /// A field is missing, of another type, or out of its range.
    #[error("a {kind} message: {detail}")]
    Field {
        /// The kind of the message.
        kind: Text,
        /// What is wrong, for people.
        detail: String,
    },
}

impl DecodeError {
    /// The name that the error has in the specification and the vectors.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::FrameLength(_) => "frame-length",
            Self::Profile(error) => error.code(),
            Self::NoKind => "no-kind",
            Self::Field { .. } => "field",
        }
    }
}

/// Why a message could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("the message takes {0} bytes, {FRAME_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// A field that no reader would accept.
    #[error("the message cannot be sent: {0}")]
    Field(&'static str),
}

impl Message {
    /// The `"kind"` of the message.
    pub fn kind(&self) -> &str {
        match self {
            Self::Hello(_) => "hello",
            Self::HelloRefused(_) => "hello-refused",
            Self::Directory(_) => "directory",
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::SubscribeRefused(_) => "subscribe-refused",
            Self::SessionRoster(_) => "session-roster",
            Self::SessionPlaces(_) => "session-places",
            Self::SessionHave(_) => "session-have",
            Self::SessionChanges(_) => "session-changes",
            Self::Inputs(_) => "inputs",
            Self::Patch(_) => "patch",
            Self::PatchRefused(_) => "patch-refused",
            Self::TimeState(_) => "time-state",
            Self::Beats(_) => "beats",
            Self::RemoteOpen(_) => "remote-open",
            Self::RemoteOpened(_) => "remote-opened",
            Self::RemoteRefused(_) => "remote-refused",
            Self::RemoteClose(_) => "remote-close",
            Self::RemoteDocument(_) => "remote-document",
            Self::RemoteReport(_) => "remote-report",
            Self::RemoteStates(_) => "remote-states",
            Self::RemoteCapacity(_) => "remote-capacity",
            Self::RemoteChains(_) => "remote-chains",
            Self::RemoteWatch(_) => "remote-watch",
            Self::RemoteView(_) => "remote-view",
            Self::RemoteProposal(_) => "remote-proposal",
            Self::RemoteProposalRefused(_) => "remote-proposal-refused",
            Self::Ping(_) => "ping",
            Self::Pong(_) => "pong",
            Self::Goodbye(_) => "goodbye",
            Self::Unknown(Unknown { kind }) => kind,
        }
    }

    /// Appends the message to `out`, as a whole frame.
    ///
    /// # Errors
    ///
    /// What no reader would accept; `out` is then as before.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check().map_err(EncodeError::Field)?;
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        // Writing into a vector does not fail, and nothing in a message refuses to be serialised.
        if ciborium::into_writer(self, &mut *out).is_err() {
            out.truncate(start);
            return Err(EncodeError::Field("a field has no CBOR form"));
        }
        let length = out.len() - start - LENGTH_BYTES;
        match u32::try_from(length) {
            Ok(prefix) if length <= FRAME_BYTES_MAX => {
                out[start..start + LENGTH_BYTES].copy_from_slice(&prefix.to_be_bytes());
                Ok(())
            }
            _ => {
                out.truncate(start);
                Err(EncodeError::TooLong(length))
            }
        }
    }

    /// Whether a reader would take it.
    fn check(&self) -> Result<(), &'static str> {
        let fits = match self {
            Self::Hello(hello) => hello.memberships.len() <= MEMBERSHIPS_MAX,
            Self::Directory(directory) => return directory.check(),
            Self::RemoteOpen(open) => return open.check(),
            Self::RemoteDocument(document) | Self::RemoteStates(document) => return document.check(),
            Self::RemoteView(view) => return view.check(),
            Self::RemoteChains(chains) => chains.chains.len() <= CHAINS_MAX,
            Self::SessionRoster(roster) => {
                roster.records.len().max(roster.revocations.len()) <= ROSTER_ITEMS_MAX
            }
            Self::SessionPlaces(places) => places.places.len() <= PLACES_MAX,
            Self::SessionHave(have) => have.heads.len() <= HEADS_MAX,
            Self::SessionChanges(changes) => changes.changes.len() <= CHANGES_MAX,
            Self::Beats(beats) => beats.segments.len() <= SEGMENTS_MAX,
            Self::Inputs(Inputs { inputs }) => {
                inputs.len() <= INPUTS_MAX && inputs.iter().all(|input| input.playing.len() <= PLAYING_MAX)
            }
            _ => true,
        };
        if fits { Ok(()) } else { Err("a list has more items than a reader takes") }
    }

    /// The message as a whole frame of its own: see [`Message::encode`].
    ///
    /// # Errors
    ///
    /// What no reader would accept.
    pub fn to_frame(&self) -> Result<Vec<u8>, EncodeError> {
        let mut frame = Vec::new();
        self.encode(&mut frame)?;
        Ok(frame)
    }

    /// Reads the body of a frame, without the length in front of it.
    ///
    /// What this allocates is bounded by the length of `body`, which the caller bounds by [`frame_length`].
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let kind = profile::check(body)?.ok_or(DecodeError::NoKind)?;
        let kind = Text::try_from(kind).map_err(|_| DecodeError::NoKind)?;
        match &*kind {
            "hello" => read(kind, body).map(|hello| Self::Hello(Box::new(hello))),
            "hello-refused" => read(kind, body).map(Self::HelloRefused),
            "directory" => read(kind, body).map(Self::Directory),
            "subscribe" => read(kind, body).map(Self::Subscribe),
            "unsubscribe" => read(kind, body).map(Self::Unsubscribe),
            "subscribe-refused" => read(kind, body).map(Self::SubscribeRefused),
            "session-roster" => read(kind, body).map(Self::SessionRoster),
            "session-places" => read(kind, body).map(|places| Self::SessionPlaces(Box::new(places))),
            "session-have" => read(kind, body).map(Self::SessionHave),
            "session-changes" => read(kind, body).map(Self::SessionChanges),
            "inputs" => read(kind, body).map(Self::Inputs),
            "patch" => read(kind, body).map(Self::Patch),
            "patch-refused" => read(kind, body).map(Self::PatchRefused),
            "time-state" => read(kind, body).map(|state| Self::TimeState(Box::new(state))),
            "beats" => read(kind, body).map(Self::Beats),
            "remote-open" => {
                checked(kind, body, RemoteOpen::check).map(|open| Self::RemoteOpen(Box::new(open)))
            }
            "remote-opened" => read(kind, body).map(Self::RemoteOpened),
            "remote-refused" => read(kind, body).map(Self::RemoteRefused),
            "remote-close" => read(kind, body).map(Self::RemoteClose),
            "remote-document" => checked(kind, body, RemoteDocument::check).map(Self::RemoteDocument),
            "remote-report" => read(kind, body).map(Self::RemoteReport),
            "remote-states" => checked(kind, body, RemoteDocument::check).map(Self::RemoteStates),
            "remote-capacity" => read(kind, body).map(Self::RemoteCapacity),
            "remote-chains" => read(kind, body).map(Self::RemoteChains),
            "remote-watch" => read(kind, body).map(Self::RemoteWatch),
            "remote-view" => checked(kind, body, RemoteView::check).map(Self::RemoteView),
            "remote-proposal" => read(kind, body).map(Self::RemoteProposal),
            "remote-proposal-refused" => read(kind, body).map(Self::RemoteProposalRefused),
            "ping" => read(kind, body).map(Self::Ping),
            "pong" => read(kind, body).map(Self::Pong),
            "goodbye" => read(kind, body).map(Self::Goodbye),
            _ => Ok(Self::Unknown(Unknown { kind })),
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(kind: Text, body: &[u8]) -> Result<T, DecodeError> {
    profile::fields(body).map_err(|detail| DecodeError::Field { kind, detail })
}

/// Reads a message whose numbers have to go together.
fn checked<T: for<'de> Deserialize<'de>>(
    kind: Text,
    body: &[u8],
    check: impl FnOnce(&T) -> Result<(), &'static str>,
) -> Result<T, DecodeError> {
    let message = read(kind.clone(), body)?;
    check(&message).map_err(|detail| DecodeError::Field { kind, detail: detail.to_owned() })?;
    Ok(message)
}

/// The length of a frame's body, from the four bytes in front of it: how much to read next.
///
/// # Errors
///
/// [`DecodeError::FrameLength`]: nothing after it can be trusted, so close the connection.
pub fn frame_length(prefix: [u8; LENGTH_BYTES]) -> Result<usize, DecodeError> {
    let length = u32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(bytes @ 1..=FRAME_BYTES_MAX) => Ok(bytes),
        _ => Err(DecodeError::FrameLength(length)),
    }
}

/// The body of a frame, and the bytes after the frame.
pub type BodyAndRest<'a> = (&'a [u8], &'a [u8]);

/// The first frame's body in `bytes` and what follows it, or none while the frame is incomplete.
///
/// # Errors
///
/// [`DecodeError::FrameLength`]: nothing after it can be trusted, so close the connection.
pub fn split_frame(bytes: &[u8]) -> Result<Option<BodyAndRest<'_>>, DecodeError> {
    let Some((prefix, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    Ok(rest.split_at_checked(frame_length(*prefix)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &[u8]) -> Result<Message, &'static str> {
        Message::decode(body).map_err(|error| error.code())
    }

    #[test]
    fn bytes_are_those_of_the_schema() {
        let frame = Message::Ping(Ping { token: 258 }).to_frame().unwrap();
        assert_eq!(frame, b"\0\0\0\x14\xa2\x64kind\x64ping\x65token\x19\x01\x02");
        let (body, rest) = split_frame(&frame).unwrap().unwrap();
        assert!(rest.is_empty());
        assert_eq!(decode(body), Ok(Message::Ping(Ping { token: 258 })));
    }

    #[test]
    fn unknown_fields_and_messages_are_skipped() {
        let ping = Ok(Message::Ping(Ping { token: 5 }));
        assert_eq!(decode(b"\xa3\x64kind\x64ping\x63new\x82\x01\xa1\x61x\xf6\x65token\x05"), ping);
        assert_eq!(decode(b"\xa2\x65token\x05\x64kind\x64ping"), ping);
        let unknown = Message::Unknown(Unknown { kind: Text::new("pong2") });
        assert_eq!(decode(b"\xa2\x64kind\x65pong2\x65token\xf6"), Ok(unknown));
    }

    #[test]
    fn a_long_unknown_field_is_skipped() {
        // Longer than the buffer of the CBOR reader, and with characters across its end.
        let mut body = b"\xa3\x64kind\x64ping\x65token\x05\x63new\x79\x27\x0f".to_vec();
        body.extend("€".repeat(3333).bytes());
        assert_eq!(decode(&body), Ok(Message::Ping(Ping { token: 5 })));
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        assert_eq!(decode(b""), Err("truncated"));
        assert_eq!(decode(b"\xa0"), Err("no-kind"));
        assert_eq!(decode(b"\xa1\x64kind\x01"), Err("no-kind"));
        assert_eq!(decode(b"\xa1\x64kind\x64ping"), Err("field"));
        assert_eq!(decode(b"\xa2\x64kind\x64ping\x65token\x20"), Err("field"));
        assert_eq!(decode(b"\xa3\x64kind\x64ping\x65token\x05\x65token\x05"), Err("field"));
        assert_eq!(decode(b"\xa2\x64kind\x64ping\x65token\xc0\x05"), Err("malformed"));
    }

    #[test]
    fn frames_are_cut_off_a_stream_of_bytes() {
        assert_eq!(split_frame(b""), Ok(None));
        assert_eq!(split_frame(b"\0\0\0"), Ok(None));
        assert_eq!(split_frame(b"\0\0\0\x02a"), Ok(None));
        assert_eq!(split_frame(b"\0\0\0\x02abc"), Ok(Some((&b"ab"[..], &b"c"[..]))));
        assert_eq!(split_frame(b"\0\0\0\0"), Err(DecodeError::FrameLength(0)));
        assert_eq!(frame_length([0, 1, 0, 0]), Ok(FRAME_BYTES_MAX));
        assert_eq!(frame_length([0, 1, 0, 1]), Err(DecodeError::FrameLength(65_537)));
        assert_eq!(frame_length([0xff; 4]), Err(DecodeError::FrameLength(u32::MAX)));
    }

    #[test]
    fn codes_of_the_future_are_unknown() {
        assert_eq!(GoodbyeReason::from_code("shutdown"), GoodbyeReason::Shutdown);
        assert_eq!(GoodbyeReason::from_code("eclipse"), GoodbyeReason::Unknown);
        assert_eq!(SubscribeRefusal::NotPublished.to_string(), "not-published");
    }
}
