//! What a PTP message may look like before anything of it is believed (IEEE 1588-2019, 13).

use std::ops::Deref;

/// The longest of the messages that are exchanged here, an announce.
const LENGTH_MAX: usize = 64;
const HEADER: usize = 34;
/// Where a header says how often, as a power of two of seconds.
const LOG_INTERVAL: usize = 33;
/// Of a header's second octet of flags.
const PTP_TIMESCALE: u8 = 0x08;
/// The seconds of a time stamp that can be: from one on, so that a correction leaves it positive, up to the year 2242.
const SECONDS: std::ops::Range<u64> = 1..1 << 33;
/// No switch holds a message for longer than a second: in units of 2⁻¹⁶ ns.
const CORRECTION_MAX: u64 = 1_000_000_000 << 16;
/// IEEE 1588-2019, 9.3.2.5: an announce that came so far counts for nothing.
const STEPS_MAX: u16 = 255;

/// One message's bytes, without anything appended to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    bytes: [u8; LENGTH_MAX],
    length: usize,
}

impl Message {
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let mut message = Self { bytes: [0; LENGTH_MAX], length: bytes.len() };
        message.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(message)
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::of(self.bytes[0])
    }

    /// As it is sent: with the intervals at which its like come, and without the claim of an announce that the time is of a
    /// timescale that was agreed upon, for it is nobody's but ours.
    pub(super) fn told(mut self, log_interval: i8, log_announce_interval: i8) -> Self {
        match self.kind() {
            Some(Kind::Announce) => {
                self.bytes[7] &= !PTP_TIMESCALE;
                self.bytes[LOG_INTERVAL] = log_announce_interval.to_be_bytes()[0];
            }
            Some(Kind::Sync | Kind::FollowUp) => {
                self.bytes[LOG_INTERVAL] = log_interval.to_be_bytes()[0];
            }
            Some(Kind::DelayRequest | Kind::DelayResponse) | None => {}
        }
        self
    }
}

impl Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The messages of an exchange. What else there is (peer delay, management, signalling) is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sync,
    DelayRequest,
    FollowUp,
    DelayResponse,
    Announce,
}

impl Kind {
    fn of(first: u8) -> Option<Self> {
        match first & 0x0f {
            0x0 => Some(Self::Sync),
            0x1 => Some(Self::DelayRequest),
            0x8 => Some(Self::FollowUp),
            0x9 => Some(Self::DelayResponse),
            0xb => Some(Self::Announce),
            _ => None,
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Sync | Self::DelayRequest | Self::FollowUp => 44,
            Self::DelayResponse => 54,
            Self::Announce => LENGTH_MAX,
        }
    }
}

/// Whether these bytes are an event message, whose time of arrival counts; the others are *general*.
#[must_use]
pub fn is_event(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0x0f < 0x8)
}

/// Why a message was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not PTPv2, or says what cannot be.
    Malformed,
    /// It is another domain's, or of a kind that is not used here.
    Foreign,
}

/// The message, cut to what is used of it, if it can be believed.
pub(super) fn check(bytes: &[u8], domain: u8, own: [u8; 8]) -> Result<(Kind, Message), Refused> {
    let header: &[u8; HEADER] = bytes.first_chunk().ok_or(Refused::Malformed)?;
    if header[1] & 0x0f != 2 {
        return Err(Refused::Malformed);
    }
    let is_ours = header[4] == domain && header[0] >> 4 == 0 && header[5] == 0 && header[20..28] != own;
    let kind = Kind::of(header[0]).filter(|_| is_ours).ok_or(Refused::Foreign)?;
    let length = kind.length();
    let said = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let bytes = bytes.get(..length).filter(|_| said >= length).ok_or(Refused::Malformed)?;
    if !correction(header) || !kind_is_sane(kind, header, &bytes[HEADER..]) {
        return Err(Refused::Malformed);
    }
    let mut message = Message::new(bytes).ok_or(Refused::Malformed)?;
    // What was appended is gone: the length says so.
    message.bytes[2..4].copy_from_slice(&[0, u8::try_from(length).map_err(|_| Refused::Malformed)?]);
    Ok((kind, message))
}

fn correction(header: &[u8; HEADER]) -> bool {
    let field = header[8..16].try_into().map(i64::from_be_bytes);
    field.is_ok_and(|correction| correction.unsigned_abs() <= CORRECTION_MAX)
}

fn kind_is_sane(kind: Kind, header: &[u8; HEADER], body: &[u8]) -> bool {
    const TWO_STEP: u8 = 0x02;
    match kind {
        Kind::FollowUp | Kind::DelayResponse => time_stamp(body),
        Kind::Sync => header[6] & TWO_STEP != 0 || time_stamp(body),
        Kind::DelayRequest => true,
        Kind::Announce => u16::from_be_bytes([body[27], body[28]]) < STEPS_MAX,
    }
}

/// Whether a time stamp can be: 48 bits of seconds and 32 of nanoseconds.
fn time_stamp(body: &[u8]) -> bool {
    let seconds = body[..6].iter().fold(0, |seconds, byte| seconds << 8 | u64::from(*byte));
    let nanos = body[6..10].iter().fold(0, |nanos, byte| nanos << 8 | u32::from(*byte));
    SECONDS.contains(&seconds) && nanos < 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A follow-up of domain 24 with a type-length-value appended, by the tables of IEEE 1588-2019, 13.3 and 13.7.
    fn follow_up() -> Vec<u8> {
        let mut bytes = vec![0x08, 0x12, 0, 50, 24, 0, 0, 0];
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 1, 0x80, 0]); // correction: 1.5 ns
        bytes.extend_from_slice(&[0, 0, 0, 0]);
        bytes.extend_from_slice(&[2, 0, 0, 0xff, 0xfe, 0, 0, 1, 0, 1]); // source
        bytes.extend_from_slice(&[0, 7, 2, 0xfd]); // sequence, control, interval
        bytes.extend_from_slice(&[0, 0, 0x65, 0x53, 0xf1, 0x00, 0x3b, 0x9a, 0xc9, 0xff]); // 1_700_000_000.999_999_999
        bytes.extend_from_slice(&[0, 3, 0, 2, 0, 0]);
        bytes
    }

    #[test]
    fn what_is_believed_is_cut_to_what_is_used() {
        let bytes = follow_up();
        let (kind, message) = check(&bytes, 24, [9; 8]).unwrap();
        assert_eq!((kind, message.len(), message[3]), (Kind::FollowUp, 44, 44));
        assert_eq!(message[4..], bytes[4..44]);
        assert!(!is_event(&bytes) && is_event(&[0x11]) && !is_event(&[]));
    }

    #[test]
    fn what_cannot_be_is_passed_over() {
        let with = |change: fn(&mut Vec<u8>)| {
            let mut bytes = follow_up();
            change(&mut bytes);
            check(&bytes, 24, [9; 8]).map(|_| ()).unwrap_err()
        };
        for malformed in [
            |bytes: &mut Vec<u8>| bytes.truncate(43),
            |bytes: &mut Vec<u8>| bytes.truncate(20),
            |bytes: &mut Vec<u8>| bytes[1] = 0x01,
            |bytes: &mut Vec<u8>| bytes[3] = 43,
            |bytes: &mut Vec<u8>| bytes[8] = 0x80,
            |bytes: &mut Vec<u8>| bytes[8..11].copy_from_slice(&[0, 0x40, 0]),
            |bytes: &mut Vec<u8>| bytes[34] = 1,
            |bytes: &mut Vec<u8>| bytes[36..40].fill(0),
            |bytes: &mut Vec<u8>| bytes[40..44].copy_from_slice(&1_000_000_000_u32.to_be_bytes()),
        ] {
            assert_eq!(with(malformed), Refused::Malformed);
        }
        for foreign in [
            |bytes: &mut Vec<u8>| bytes[4] = 0,
            |bytes: &mut Vec<u8>| bytes[0] = 0x18,
            |bytes: &mut Vec<u8>| bytes[0] = 0x0d,
            |bytes: &mut Vec<u8>| bytes[20..28].fill(9),
        ] {
            assert_eq!(with(foreign), Refused::Foreign);
        }
    }
}
