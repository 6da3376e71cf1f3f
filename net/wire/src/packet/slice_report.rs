//! Slice reports: how the slices of one way arrive, and which of them are missed, from who receives them to who sends
//! them.
//!
//! | byte | field | type |
//! |---:|---|---|
//! | 0 | version 1, kind 7: `0x17` | u8 |
//! | 1 | flags: 1: of slices that come back from the node; others are not assigned | u8 |
//! | 2 | zero | u16 |
//! | 4 | epoch | u32 |
//! | 8 | remote | u64 |
//! | 16 | next sequence | u32 |
//! | 20 | received | u32 |
//! | 24 | missed | u32 |
//! | 28 | lost | u32 |
//! | 32 | late | u32 |
//! | 36 | first missing | u32 |
//! | 40 | mask of the missing | u64 |
//!
//! Counts go on through the epoch, so that a report which is lost takes nothing with it. One goes out at once when a slice
//! is missed, with its bit in the mask, and else now and then.

use crate::id::RemoteId;
use crate::packet::cursor::{Reader, Writer};
use crate::packet::{DecodeError, EncodeError, Kind};

/// Bytes of a report.
pub const SLICE_REPORT_BYTES: usize = 48;

const BACK: u8 = 1;

/// How slices arrive, and which are to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceReport {
    /// Which opening of which chain.
    pub remote: RemoteId,
    /// Of the slices that come back from the node; else of those that go to it.
    pub back: bool,
    /// The epoch that everything here counts in.
    pub epoch: u32,
    /// Every slice below this number has come, or was given up.
    pub next_sequence: u32,
    /// Slices that came, each number once, however it came.
    pub received: u32,
    /// Slices that did not come by themselves: they were asked for, came by a repeat alone, or were given up.
    pub missed: u32,
    /// Slices that did not come in time, and were given up.
    pub lost: u32,
    /// Of the lost ones, those that came after that.
    pub late: u32,
    /// The sequence number that the mask begins at.
    pub first_missing: u32,
    /// Bit *n*, from the lowest on: the slice with the number `first_missing` + *n* is to be sent again.
    pub missing: u64,
}

impl SliceReport {
    /// The numbers of the slices that are to be sent again, at most 64, in ascending order but for the wrap.
    pub fn sequences(&self) -> impl Iterator<Item = u32> + use<> {
        let Self { first_missing, missing, .. } = *self;
        (0..u64::BITS)
            .filter(move |bit| missing >> bit & 1 == 1)
            .map(move |bit| first_missing.wrapping_add(bit))
    }

    /// Reads one datagram.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of(bytes, Kind::SliceReport)?;
        let [_, flags, _, _] = reader.array()?;
        let report = Self {
            back: flags & BACK != 0,
            epoch: reader.u32()?,
            remote: RemoteId(reader.u64()?),
            next_sequence: reader.u32()?,
            received: reader.u32()?,
            missed: reader.u32()?,
            lost: reader.u32()?,
            late: reader.u32()?,
            first_missing: reader.u32()?,
            missing: reader.u64()?,
        };
        if reader.0.is_empty() { Ok(report) } else { Err(DecodeError::TrailingBytes) }
    }

    /// Writes the report to the front of `out`, and returns its length, [`SLICE_REPORT_BYTES`].
    ///
    /// # Errors
    ///
    /// [`EncodeError::NoRoom`] when `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::new(out);
        let flags = if self.back { BACK } else { 0 };
        writer.put(&[Kind::SliceReport.first_byte(), flags, 0, 0])?;
        writer.put(&self.epoch.to_be_bytes())?;
        writer.put(&self.remote.to_bytes())?;
        let fields =
            [self.next_sequence, self.received, self.missed, self.lost, self.late, self.first_missing];
        for field in fields {
            writer.put(&field.to_be_bytes())?;
        }
        writer.put(&self.missing.to_be_bytes())?;
        debug_assert_eq!(writer.length(), SLICE_REPORT_BYTES);
        Ok(writer.length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: SliceReport = SliceReport {
        remote: RemoteId(0x0102_0304_0506_0708),
        back: true,
        epoch: 0xa1a2_a3a4,
        next_sequence: 0x0101_0101,
        received: 0x0202_0202,
        missed: 0x0303_0303,
        lost: 0x0404_0404,
        late: 0x0505_0505,
        first_missing: u32::MAX,
        missing: 0x8000_0000_0000_0005,
    };

    #[test]
    fn bytes_are_those_of_the_table() {
        let mut bytes = [0xee; SLICE_REPORT_BYTES + 1];
        assert_eq!(REPORT.encode(&mut bytes), Ok(SLICE_REPORT_BYTES));
        let front = b"\x17\x01\x00\x00\xa1\xa2\xa3\xa4\x01\x02\x03\x04\x05\x06\x07\x08";
        assert_eq!(bytes[..16], *front);
        for (place, field) in (1..=5).zip(bytes[16..36].chunks_exact(4)) {
            assert_eq!(field, [place; 4]);
        }
        assert_eq!(bytes[36..48], *b"\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\x00\x05");
        assert_eq!(SliceReport::decode(&bytes[..SLICE_REPORT_BYTES]), Ok(REPORT));
        assert_eq!(SliceReport::decode(&bytes), Err(DecodeError::TrailingBytes));
    }

    #[test]
    fn bits_are_numbers_that_wrap() {
        assert_eq!(REPORT.sequences().collect::<Vec<_>>(), [u32::MAX, 1, 62]);
        assert_eq!(SliceReport { missing: 0, ..REPORT }.sequences().count(), 0);
    }

    #[test]
    fn every_cut_ends_in_an_error() {
        let mut bytes = [0; SLICE_REPORT_BYTES];
        for length in 0..SLICE_REPORT_BYTES {
            assert_eq!(REPORT.encode(&mut bytes[..length]), Err(EncodeError::NoRoom));
        }
        REPORT.encode(&mut bytes).unwrap();
        for length in 0..SLICE_REPORT_BYTES {
            assert_eq!(SliceReport::decode(&bytes[..length]), Err(DecodeError::Truncated));
        }
    }
}
