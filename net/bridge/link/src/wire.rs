//! Link's datagrams. All integers are big-endian.
//!
//! Who is there, to `224.76.78.75:20808` by multicast and back to the sender by unicast:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `_asdp_v` and 1 |
//! | 1 | 1 alive, 2 response, 3 bye |
//! | 1 | for how many seconds it holds |
//! | 2 | group: 0 |
//! | 8 | the node |
//! | … | entries |
//!
//! Round trips, between the addresses that `mep4` names: `_link_v` and 1; 1 ping or 2 pong; entries.
//!
//! An entry is a key of four letters, a length of four bytes, and so many bytes. Unknown keys are skipped.
//!
//! | key | bytes | what |
//! |---|---|---|
//! | `tmln` | 24 | microseconds of a beat; beat at the origin in millionths; session time of the origin in microseconds |
//! | `sess` | 8 | the session: its founder's node |
//! | `stst` | 17 | plays (1 byte); beat in millionths and session time at which it has begun to, or ended |
//! | `mep4` | 6 | address and port that answer pings |
//! | `__ht` | 8 | the pinger's clock |
//! | `__gt` | 8 | the answerer's session time |
//! | `_pgt` | 8 | the same, in the pong before |

use std::net::{Ipv4Addr, SocketAddrV4};

use thiserror::Error;

use crate::timeline::{LinkTime, StartStop, Timeline};

/// Where peers find each other.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 76, 78, 75), 20_808);
/// What is longer is nobody's: ours have 107.
pub const DATAGRAM_BYTES_MAX: usize = 1_024;

const PRESENCE: &[u8; 8] = b"_asdp_v\x01";
const MEASURING: &[u8; 8] = b"_link_v\x01";

/// A peer, by a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 8]);

/// A session, by its founder's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkSession(pub [u8; 8]);

/// Bytes that are no datagram of Link's, or that cannot be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// Another protocol, or another version of it.
    #[error("not Link's, or of another version")]
    Foreign,
    /// It ends before it is over, or an entry is as long as it cannot be.
    #[error("cut short, or an entry of a wrong length")]
    Length,
    /// What it must have is not in it.
    #[error("an entry is missing")]
    Missing,
    /// For a group that we are not in.
    #[error("for another group")]
    Group,
    /// A tempo or a time that nobody can have.
    #[error("a tempo or a time that cannot be")]
    Insane,
}

/// What a peer says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Tempo and beats.
    pub timeline: Timeline,
    /// On whose clock.
    pub session: LinkSession,
    /// Whether transports run.
    pub start_stop: StartStop,
    /// Where it answers pings.
    pub endpoint: Option<SocketAddrV4>,
}

/// Who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is, for so many seconds.
    Alive {
        /// Said to one that had said so, not to all.
        is_response: bool,
        /// Seconds.
        ttl_s: u8,
        /// Who.
        node: NodeId,
        /// And how.
        state: State,
    },
    /// It is no longer.
    Bye(NodeId),
}

/// Asks for the session's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// The pinger's clock, in microseconds.
    pub host: i64,
    /// What the pong before had said.
    pub previous: Option<LinkTime>,
}

/// The session's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// Which session's.
    pub session: LinkSession,
    /// When it was answered.
    pub link: LinkTime,
    /// The ping that it answers.
    pub ping: Ping,
}

/// A datagram between the addresses that measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measuring {
    /// A question.
    Ping(Ping),
    /// Its answer.
    Pong(Pong),
}

impl Presence {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = PRESENCE.to_vec();
        match self {
            Self::Alive { is_response, ttl_s, node, state } => {
                bytes.extend([1 + u8::from(*is_response), *ttl_s, 0, 0]);
                bytes.extend(node.0);
                let State { timeline, session, start_stop, endpoint } = state;
                let line = [timeline.beat_us, timeline.beat_origin, timeline.time_origin.get()];
                entry(&mut bytes, *b"tmln", line.map(i64::to_be_bytes).as_flattened());
                entry(&mut bytes, *b"sess", &session.0);
                let when = [start_stop.beat, start_stop.time.get()].map(i64::to_be_bytes);
                entry(
                    &mut bytes,
                    *b"stst",
                    &[&[u8::from(start_stop.is_playing)], when.as_flattened()].concat(),
                );
                if let Some(endpoint) = endpoint {
                    let port = endpoint.port().to_be_bytes();
                    entry(&mut bytes, *b"mep4", &[&endpoint.ip().octets()[..], &port].concat());
                }
            }
            Self::Bye(node) => {
                bytes.extend([3, 0, 0, 0]);
                bytes.extend(node.0);
            }
        }
        bytes
    }

    /// Bytes of anybody.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let rest = opened(bytes, PRESENCE)?;
        let ([kind, ttl_s, group @ ..], rest) = rest.split_first_chunk::<4>().ok_or(Malformed::Length)?;
        if *group != [0, 0] {
            return Err(Malformed::Group);
        }
        let (node, rest) = rest.split_first_chunk().ok_or(Malformed::Length)?;
        let node = NodeId(*node);
        match *kind {
            kind @ (1 | 2) => {
                let state = State::decode(rest)?;
                Ok(Self::Alive { is_response: kind == 2, ttl_s: *ttl_s, node, state })
            }
            3 => Ok(Self::Bye(node)),
            _ => Err(Malformed::Foreign),
        }
    }
}

impl State {
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (mut timeline, mut session, mut start_stop, mut endpoint) =
            (None, None, StartStop::default(), None);
        for found in Entries(bytes) {
            let (key, value) = found?;
            match &key {
                b"tmln" => {
                    let [beat_us, beat_origin, time] = numbers(value)?;
                    timeline = Some(Timeline { beat_us, beat_origin, time_origin: LinkTime::new(time) });
                }
                b"sess" => session = Some(LinkSession(value.try_into().map_err(|_| Malformed::Length)?)),
                b"stst" => {
                    let (is_playing, rest) = value.split_first().ok_or(Malformed::Length)?;
                    let [beat, time] = numbers(rest)?;
                    start_stop = StartStop { is_playing: *is_playing != 0, beat, time: LinkTime::new(time) };
                }
                b"mep4" => {
                    let [a, b, c, d, port @ ..] =
                        <[u8; 6]>::try_from(value).map_err(|_| Malformed::Length)?;
                    let port = u16::from_be_bytes(port);
                    endpoint = Some(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port));
                }
                _ => {}
            }
        }
        let (Some(timeline), Some(session)) = (timeline, session) else { return Err(Malformed::Missing) };
        if !timeline.is_sane() || !start_stop.is_sane() {
            return Err(Malformed::Insane);
        }
        Ok(Self { timeline, session, start_stop, endpoint })
    }
}

impl Measuring {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MEASURING.to_vec();
        let ping = match self {
            Self::Ping(ping) => {
                bytes.push(1);
                ping
            }
            Self::Pong(Pong { session, link, ping }) => {
                bytes.push(2);
                entry(&mut bytes, *b"sess", &session.0);
                entry(&mut bytes, *b"__gt", &link.get().to_be_bytes());
                ping
            }
        };
        entry(&mut bytes, *b"__ht", &ping.host.to_be_bytes());
        if let Some(previous) = ping.previous {
            entry(&mut bytes, *b"_pgt", &previous.get().to_be_bytes());
        }
        bytes
    }

    /// Bytes of anybody.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (kind, rest) = opened(bytes, MEASURING)?.split_first().ok_or(Malformed::Length)?;
        let (mut session, mut link, mut host, mut previous) = (None, None, None, None);
        for found in Entries(rest) {
            let (key, value) = found?;
            let number = || numbers(value).map(|[number]| number);
            match &key {
                b"sess" => session = Some(LinkSession(value.try_into().map_err(|_| Malformed::Length)?)),
                b"__gt" => link = Some(LinkTime::new(number()?)),
                b"__ht" => host = Some(number()?),
                b"_pgt" => previous = Some(LinkTime::new(number()?)),
                _ => {}
            }
        }
        let ping = Ping { host: host.ok_or(Malformed::Missing)?, previous };
        match (kind, session, link) {
            (1, ..) => Ok(Self::Ping(ping)),
            (2, Some(session), Some(link)) => Ok(Self::Pong(Pong { session, link, ping })),
            (2, ..) => Err(Malformed::Missing),
            _ => Err(Malformed::Foreign),
        }
    }
}

fn opened<'a>(bytes: &'a [u8], opening: &[u8; 8]) -> Result<&'a [u8], Malformed> {
    if bytes.len() > DATAGRAM_BYTES_MAX {
        return Err(Malformed::Length);
    }
    bytes.strip_prefix(opening).ok_or(Malformed::Foreign)
}

fn entry(bytes: &mut Vec<u8>, key: [u8; 4], value: &[u8]) {
    // None of ours is longer than 24.
    let length = u32::try_from(value.len()).unwrap_or_default();
    bytes.extend(key);
    bytes.extend(length.to_be_bytes());
    bytes.extend(value);
}

/// Exactly so many, one after the other.
fn numbers<const N: usize>(bytes: &[u8]) -> Result<[i64; N], Malformed> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let chunks: &[[u8; 8]; N] = chunks.try_into().map_err(|_| Malformed::Length)?;
    rest.is_empty().then(|| chunks.map(i64::from_be_bytes)).ok_or(Malformed::Length)
}

/// Keys and values, until the end or the first that is cut short.
struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = Result<([u8; 4], &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let split = || {
            let (key, rest) = self.0.split_first_chunk::<4>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            Some((*key, rest.split_at_checked(length)?))
        };
        let Some((key, (value, rest))) = split() else {
            self.0 = &[];
            return Some(Err(Malformed::Length));
        };
        self.0 = rest;
        Some(Ok((key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    /// As running peers said it, at 120 and at 137.5 beats a minute.
    const ALIVE: &str = "5f617364705f7601010500007568385d332d7834746d6c6e00000018000000000007a120000000000000044600\
        0000000000000073657373000000087568385d332d7834737473740000001100000000000000000000000000000000006d6570340000000\
        60a090901d70a";
    const RESPONSE: &str = "5f617364705f7601020500007568385d332d7834746d6c6e00000018000000000006a88c0000000000b7897a00\
        000000005bc29a73657373000000087568385d332d78347374737400000011010000000000fd978700000000007a54616d6570340000000\
        60a090901d70a";
    const BYE: &str = "5f617364705f7601030000007554293d68585441";
    const PING: &str = "5f6c696e6b5f7601015f5f6874000000080000000b1d9dd750";
    const PONG: &str = "5f6c696e6b5f76010273657373000000087568385d332d78345f5f67740000000800000000001c38875f5f687400000\
        0080000000b1d9dd7c45f7067740000000800000000001c387a";

    #[test]
    fn who_is_there_as_running_peers_said_it() {
        let node = NodeId(*b"uh8]3-x4");
        let first = State {
            timeline: Timeline { beat_us: 500_000, beat_origin: 1_094, time_origin: LinkTime::new(0) },
            session: LinkSession(node.0),
            start_stop: StartStop::default(),
            endpoint: Some("10.9.9.1:55050".parse().unwrap()),
        };
        let later = State {
            timeline: Timeline {
                beat_us: 436_364,
                beat_origin: 12_028_282,
                time_origin: LinkTime::new(6_013_594),
            },
            start_stop: StartStop { is_playing: true, beat: 16_619_399, time: LinkTime::new(8_016_993) },
            ..first
        };
        let check = |hex: &str, expected: Presence| {
            assert_eq!(Presence::decode(&bytes(hex)), Ok(expected));
            assert_eq!(expected.encode(), bytes(hex));
        };
        check(ALIVE, Presence::Alive { is_response: false, ttl_s: 5, node, state: first });
        check(RESPONSE, Presence::Alive { is_response: true, ttl_s: 5, node, state: later });
        check(BYE, Presence::Bye(NodeId(*b"uT)=hXTA")));
    }

    #[test]
    fn round_trips_as_running_peers_said_them() {
        let check = |hex: &str, expected: Measuring| {
            assert_eq!(Measuring::decode(&bytes(hex)), Ok(expected));
            assert_eq!(expected.encode(), bytes(hex));
        };
        check(PING, Measuring::Ping(Ping { host: 47_741_523_792, previous: None }));
        let ping = Ping { host: 47_741_523_908, previous: Some(LinkTime::new(1_849_466)) };
        let session = LinkSession(*b"uh8]3-x4");
        check(PONG, Measuring::Pong(Pong { session, link: LinkTime::new(1_849_479), ping }));
    }

    #[test]
    fn what_is_not_known_is_skipped() {
        let mut longer = bytes(ALIVE);
        entry(&mut longer, *b"mep6", &[7; 18]);
        entry(&mut longer, *b"xxxx", &[]);
        assert_eq!(Presence::decode(&longer), Presence::decode(&bytes(ALIVE)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let changed = |hex: &str, at: usize, to: u8| {
            let mut bytes = bytes(hex);
            bytes[at] = to;
            bytes
        };
        let presence = |bytes: &[u8]| Presence::decode(bytes).unwrap_err();
        assert_eq!(presence(b""), Malformed::Foreign);
        assert_eq!(presence(&changed(ALIVE, 7, 2)), Malformed::Foreign);
        assert_eq!(presence(&changed(ALIVE, 8, 4)), Malformed::Foreign);
        assert_eq!(presence(&changed(ALIVE, 11, 1)), Malformed::Group);
        assert_eq!(presence(&changed(ALIVE, 27, 25)), Malformed::Length);
        assert_eq!(presence(&changed(ALIVE, 24, 0xff)), Malformed::Length);
        assert_eq!(presence(&bytes(ALIVE)[..52]), Malformed::Missing);
        assert_eq!(presence(&changed(ALIVE, 33, 0)), Malformed::Insane);
        assert_eq!(presence(&changed(ALIVE, 36, 0x7f)), Malformed::Insane);
        assert_eq!(presence(&[&bytes(ALIVE)[..], &[0; 1_000]].concat()), Malformed::Length);
        let measuring = |bytes: &[u8]| Measuring::decode(bytes).unwrap_err();
        assert_eq!(measuring(&bytes(PING)[..9]), Malformed::Missing);
        assert_eq!(measuring(&bytes(PING)[..20]), Malformed::Length);
        assert_eq!(measuring(&changed(PING, 8, 2)), Malformed::Missing);
        assert_eq!(measuring(&bytes(BYE)), Malformed::Foreign);
        for cut in 0..bytes(RESPONSE).len() {
            // Whole entries, and those that it must have, are enough.
            let read = Presence::decode(&bytes(RESPONSE)[..cut]);
            assert!(read.is_ok() == [68, 93].contains(&cut), "{cut}: {read:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(tail in prop::collection::vec(any::<u8>(), 0..120), kind in 1_u8..4) {
            let presence = [&PRESENCE[..], &[kind], &tail].concat();
            if let Ok(read) = Presence::decode(&presence) {
                prop_assert_eq!(Presence::decode(&read.encode()), Ok(read));
            }
            let measuring = [&MEASURING[..], &[kind], &tail].concat();
            if let Ok(read) = Measuring::decode(&measuring) {
                prop_assert_eq!(Measuring::decode(&read.encode()), Ok(read));
            }
        }
    }
}
