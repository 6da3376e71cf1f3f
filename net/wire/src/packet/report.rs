//! Receiver reports: how a stream arrives, from its receiver to its sender, some twenty times a second.
//!
//! | byte | field | type |
//! |---:|---|---|
//! | 0 | version 1, kind 3: `0x13` | u8 |
//! | 1 | flags: 1: it needs a link offset; others are not assigned | u8 |
//! | 2 | repair wished every | u8 |
//! | 3 | window wished | u8 |
//! | 4 | epoch | u32 |
//! | 8 | stream | u64 |
//! | 16 | highest sequence | u32 |
//! | 20 | received | u32 |
//! | 24 | lost | u32 |
//! | 28 | recovered | u32 |
//! | 32 | late | u32 |
//! | 36 | jitter, µs | u32 |
//! | 40 | hold, µs | u32 |
//! | 44 | heard, µs | u32 |
//! | 48 | next event | u32 |
//! | 52 | with flag 1: the link offset that it needs, µs | u32 |
//!
//! Counts go on through the epoch, so that a report which is lost takes nothing with it.

use crate::id::StreamId;
use crate::packet::cursor::{Reader, Writer};
use crate::packet::repair::WINDOW_MAX;
use crate::packet::{DecodeError, EncodeError, Kind};

/// Bytes of a report without a link offset.
const SHORT_BYTES: usize = 52;

/// Bytes of a report, at most.
pub const REPORT_BYTES: usize = 56;

/// The flag of a report that says what link offset it needs.
const NEEDS: u8 = 1;

/// How a stream arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverReport {
    /// The stream, among those of the peer that the report goes to.
    pub stream: StreamId,
    /// The epoch that everything here counts in.
    pub epoch: u32,
    /// The newest audio packet that came.
    pub highest_sequence: u32,
    /// Audio packets that came, each number once, however it came.
    pub received: u32,
    /// Numbers up to the highest that did not come in time, and were given up.
    pub lost: u32,
    /// Those of the received ones that came by a resend or a repair.
    pub recovered: u32,
    /// Those of the received ones that came too late to be heard.
    pub late: u32,
    /// Interarrival jitter (RFC 3550, 6.4.1), in microseconds.
    pub jitter_us: u32,
    /// From a packet's arrival to when its first frame is due, lately at least: how long a resend may take.
    pub hold_us: u32,
    /// From a packet's arrival to when its first frame leaves the receiver.
    pub heard_us: u32,
    /// Every event below this number has come, or was given up: none of them need be sent again.
    pub next_event: u32,
    /// A wish: one repair packet for so many audio packets; 0: none.
    pub repair_every: u8,
    /// A wish: packets that each repair covers, at most [`WINDOW_MAX`]; 0 where none is wished.
    pub repair_window: u8,
    /// How long after its session time a frame can leave here at the earliest, all of them, in microseconds; none where the
    /// stream is not played at the session's time.
    pub needs_us: Option<u32>,
}

impl ReceiverReport {
    /// Reads one datagram.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of(bytes, Kind::Report)?;
        let [_, flags, repair_every, repair_window] = reader.array()?;
        let mut report = Self {
            epoch: reader.u32()?,
            stream: StreamId(reader.u64()?),
            highest_sequence: reader.u32()?,
            received: reader.u32()?,
            lost: reader.u32()?,
            recovered: reader.u32()?,
            late: reader.u32()?,
            jitter_us: reader.u32()?,
            hold_us: reader.u32()?,
            heard_us: reader.u32()?,
            next_event: reader.u32()?,
            repair_every,
            repair_window,
            needs_us: None,
        };
        if flags & NEEDS != 0 {
            report.needs_us = Some(reader.u32()?);
        }
        if repair_window > WINDOW_MAX {
            return Err(DecodeError::Window(repair_window));
        }
        if reader.0.is_empty() { Ok(report) } else { Err(DecodeError::TrailingBytes) }
    }

    /// Writes the report to the front of `out`, and returns its length, at most [`REPORT_BYTES`].
    ///
    /// # Errors
    ///
    /// [`EncodeError::Window`] for a window that no decoder accepts, [`EncodeError::NoRoom`] when `out` is too
    /// short.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        if self.repair_window > WINDOW_MAX {
            return Err(EncodeError::Window);
        }
        let mut writer = Writer::new(out);
        let flags = if self.needs_us.is_some() { NEEDS } else { 0 };
        writer.put(&[Kind::Report.first_byte(), flags, self.repair_every, self.repair_window])?;
        writer.put(&self.epoch.to_be_bytes())?;
        writer.put(&self.stream.to_bytes())?;
        for field in [
            self.highest_sequence,
            self.received,
            self.lost,
            self.recovered,
            self.late,
            self.jitter_us,
            self.hold_us,
            self.heard_us,
            self.next_event,
        ] {
            writer.put(&field.to_be_bytes())?;
        }
        debug_assert_eq!(writer.length(), SHORT_BYTES);
        if let Some(needs_us) = self.needs_us {
            writer.put(&needs_us.to_be_bytes())?;
        }
        Ok(writer.length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: ReceiverReport = ReceiverReport {
        stream: StreamId(0x0102_0304_0506_0708),
        epoch: 0xa1a2_a3a4,
        highest_sequence: 0x0101_0101,
        received: 0x0202_0202,
        lost: 0x0303_0303,
        recovered: 0x0404_0404,
        late: 0x0505_0505,
        jitter_us: 0x0606_0606,
        hold_us: 0x0707_0707,
        heard_us: 0x0808_0808,
        next_event: 0x0909_0909,
        repair_every: 4,
        repair_window: 8,
        needs_us: None,
    };

    #[test]
    fn bytes_are_those_of_the_table() {
        let mut bytes = [0xee; REPORT_BYTES + 1];
        assert_eq!(REPORT.encode(&mut bytes), Ok(SHORT_BYTES));
        let front = b"\x13\x00\x04\x08\xa1\xa2\xa3\xa4\x01\x02\x03\x04\x05\x06\x07\x08";
        assert_eq!(bytes[..16], *front);
        for (place, field) in (1..=9).zip(bytes[16..SHORT_BYTES].chunks_exact(4)) {
            assert_eq!(field, [place; 4]);
        }
        assert_eq!(ReceiverReport::decode(&bytes[..SHORT_BYTES]), Ok(REPORT));
        assert_eq!(ReceiverReport::decode(&bytes), Err(DecodeError::TrailingBytes));
        let needing = ReceiverReport { needs_us: Some(0x0a0b_0c0d), ..REPORT };
        assert_eq!(needing.encode(&mut bytes), Ok(REPORT_BYTES));
        assert_eq!((bytes[1], &bytes[SHORT_BYTES..REPORT_BYTES]), (1, &[0x0a, 0x0b, 0x0c, 0x0d][..]));
        assert_eq!(ReceiverReport::decode(&bytes[..REPORT_BYTES]), Ok(needing));
    }

    #[test]
    fn every_cut_ends_in_an_error() {
        let needing = ReceiverReport { needs_us: Some(1), ..REPORT };
        let mut bytes = [0; REPORT_BYTES];
        for length in 0..REPORT_BYTES {
            assert_eq!(needing.encode(&mut bytes[..length]), Err(EncodeError::NoRoom));
        }
        needing.encode(&mut bytes).unwrap();
        for length in 0..REPORT_BYTES {
            assert_eq!(ReceiverReport::decode(&bytes[..length]), Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn a_window_is_no_wider_than_a_repair_can_be() {
        let mut bytes = [0; REPORT_BYTES];
        let wide = ReceiverReport { repair_window: WINDOW_MAX + 1, ..REPORT };
        assert_eq!(wide.encode(&mut bytes), Err(EncodeError::Window));
        REPORT.encode(&mut bytes).unwrap();
        bytes[3] = 17;
        assert_eq!(ReceiverReport::decode(&bytes[..SHORT_BYTES]), Err(DecodeError::Window(17)));
    }
}
