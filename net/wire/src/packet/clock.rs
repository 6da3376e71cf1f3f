//! Packets of the clock exchange: messages of PTP between any two peers who share a time.
//!
//! What is inside is a message of IEEE 1588, as it would stand in a UDP datagram of its own. Its fields are another layer's
//! business, but for whether the instants of sending and arrival count.

use crate::packet::cursor::{Reader, Writer};
use crate::packet::{DecodeError, EncodeError, Kind};

/// Bytes before the message.
pub const CLOCK_HEADER_BYTES: usize = 12;
/// The shortest message: PTP's header alone (IEEE 1588-2019, 13.3).
pub const PTP_BYTES_MIN: usize = 34;
/// The longest message that is taken: an announcement with a few extensions.
pub const PTP_BYTES_MAX: usize = 256;

/// A message of PTP, in the domain that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockPacket<'a> {
    /// The first eight bytes of the session's id; 0 for the time that two peers share without a session.
    pub domain: u64,
    /// The message, of [`PTP_BYTES_MIN`] to [`PTP_BYTES_MAX`] bytes.
    pub ptp: &'a [u8],
}

impl<'a> ClockPacket<'a> {
    /// Reads one datagram.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of(bytes, Kind::Clock)?;
        let [_, _flags, _, _] = reader.array()?;
        let domain = reader.u64()?;
        let ptp = reader.0;
        match ptp.len() {
            0..PTP_BYTES_MIN => Err(DecodeError::Truncated),
            PTP_BYTES_MIN..=PTP_BYTES_MAX => Ok(Self { domain, ptp }),
            _ => Err(DecodeError::TooLong),
        }
    }

    /// Writes the packet to the front of `out`, and returns its length.
    ///
    /// # Errors
    ///
    /// [`EncodeError::NoRoom`] when `out` is too short, [`EncodeError::Payload`] when the message is of no length that is
    /// taken.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        if !(PTP_BYTES_MIN..=PTP_BYTES_MAX).contains(&self.ptp.len()) {
            return Err(EncodeError::Payload);
        }
        let mut writer = Writer::new(out);
        writer.put(&[Kind::Clock.first_byte(), 0, 0, 0])?;
        writer.put(&self.domain.to_be_bytes())?;
        writer.put(self.ptp)?;
        Ok(writer.length())
    }

    /// Whether the instants count at which it is sent and arrives: an event message (IEEE 1588-2019, table 36).
    #[must_use]
    pub fn is_event(&self) -> bool {
        self.ptp.first().is_some_and(|first| first & 0x0f < 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync() -> [u8; 44] {
        let mut ptp = [0; 44];
        (ptp[0], ptp[1], ptp[3]) = (0x00, 0x12, 44);
        ptp
    }

    #[test]
    fn bytes_are_those_of_the_table() {
        let ptp = sync();
        let packet = ClockPacket { domain: 0x0102_0304_0506_0708, ptp: &ptp };
        let mut bytes = [0xee; 80];
        assert_eq!(packet.encode(&mut bytes), Ok(56));
        assert_eq!(bytes[..16], *b"\x14\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x00\x12\x00\x2c");
        assert_eq!(ClockPacket::decode(&bytes[..56]), Ok(packet));
    }

    #[test]
    fn events_are_told_from_the_rest() {
        for (kind, is_event) in [(0, true), (1, true), (8, false), (9, false), (11, false), (13, false)] {
            let mut ptp = sync();
            ptp[0] = kind;
            assert_eq!(ClockPacket { domain: 0, ptp: &ptp }.is_event(), is_event, "{kind}");
        }
    }

    #[test]
    fn every_cut_ends_in_an_error_and_so_does_what_is_too_long() {
        let ptp = [0; 400];
        let mut bytes = [0; 500];
        let packet = ClockPacket { domain: 1, ptp: &ptp[..PTP_BYTES_MAX] };
        let length = packet.encode(&mut bytes).unwrap();
        assert_eq!(ClockPacket::decode(&bytes[..length]), Ok(packet));
        for cut in 0..CLOCK_HEADER_BYTES + PTP_BYTES_MIN {
            assert_eq!(ClockPacket::decode(&bytes[..cut]), Err(DecodeError::Truncated));
            assert_eq!(packet.encode(&mut [0; 500][..cut]), Err(EncodeError::NoRoom));
        }
        assert_eq!(ClockPacket::decode(&bytes[..=length]), Err(DecodeError::TooLong));
        for bad in [0, PTP_BYTES_MIN - 1, PTP_BYTES_MAX + 1] {
            let packet = ClockPacket { domain: 1, ptp: &ptp[..bad] };
            assert_eq!(packet.encode(&mut bytes), Err(EncodeError::Payload));
        }
    }
}
