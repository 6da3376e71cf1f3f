//! Resend requests: which audio packets of a stream its receiver misses, and still has a use for.
//!
//! | byte | field | type |
//! |---:|---|---|
//! | 0 | version 1, kind 5: `0x15` | u8 |
//! | 1 | flags, none assigned | u8 |
//! | 2 | zero | u16 |
//! | 4 | epoch | u32 |
//! | 8 | stream | u64 |
//! | 16 | first sequence | u32 |
//! | 20 | mask | u64 |

use crate::id::StreamId;
use crate::packet::cursor::{Reader, Writer};
use crate::packet::{DecodeError, EncodeError, Kind};

/// Bytes of a request.
pub const REQUEST_BYTES: usize = 28;

/// Audio packets to be sent again, flagged as [`REPEAT`](crate::packet::audio::Flags::REPEAT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResendRequest {
    /// The stream, among those of the peer that the request goes to.
    pub stream: StreamId,
    /// The epoch that the sequence counts in.
    pub epoch: u32,
    /// The sequence number that the mask begins at.
    pub first_sequence: u32,
    /// Bit *n*, from the lowest on: the packet with the number `first_sequence` + *n* is missing.
    pub mask: u64,
}

impl ResendRequest {
    /// The numbers of the packets that are missing, at most 64, in ascending order but for the wrap.
    pub fn sequences(&self) -> impl Iterator<Item = u32> + use<> {
        let Self { first_sequence, mask, .. } = *self;
        (0..u64::BITS)
            .filter(move |bit| mask >> bit & 1 == 1)
            .map(move |bit| first_sequence.wrapping_add(bit))
    }

    /// Reads one datagram.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of(bytes, Kind::Request)?;
        let [_, _flags, _, _] = reader.array()?;
        let request = Self {
            epoch: reader.u32()?,
            stream: StreamId(reader.u64()?),
            first_sequence: reader.u32()?,
            mask: reader.u64()?,
        };
        if reader.0.is_empty() { Ok(request) } else { Err(DecodeError::TrailingBytes) }
    }

    /// Writes the request to the front of `out`, and returns its length, [`REQUEST_BYTES`].
    ///
    /// # Errors
    ///
    /// [`EncodeError::NoRoom`] when `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::new(out);
        writer.put(&[Kind::Request.first_byte(), 0, 0, 0])?;
        writer.put(&self.epoch.to_be_bytes())?;
        writer.put(&self.stream.to_bytes())?;
        writer.put(&self.first_sequence.to_be_bytes())?;
        writer.put(&self.mask.to_be_bytes())?;
        debug_assert_eq!(writer.length(), REQUEST_BYTES);
        Ok(writer.length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: ResendRequest = ResendRequest {
        stream: StreamId(0x0102_0304_0506_0708),
        epoch: 0xa1a2_a3a4,
        first_sequence: u32::MAX,
        mask: 0x8000_0000_0000_0005,
    };

    #[test]
    fn bytes_are_those_of_the_table() {
        let mut bytes = [0xee; REQUEST_BYTES + 1];
        assert_eq!(REQUEST.encode(&mut bytes), Ok(REQUEST_BYTES));
        let expected = b"\x15\x00\x00\x00\xa1\xa2\xa3\xa4\x01\x02\x03\x04\x05\x06\x07\x08\
            \xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\x00\x05";
        assert_eq!(bytes[..REQUEST_BYTES], *expected);
        assert_eq!(ResendRequest::decode(expected), Ok(REQUEST));
        assert_eq!(ResendRequest::decode(&bytes), Err(DecodeError::TrailingBytes));
    }

    #[test]
    fn bits_are_numbers_that_wrap() {
        assert_eq!(REQUEST.sequences().collect::<Vec<_>>(), [u32::MAX, 1, 62]);
        assert_eq!(ResendRequest { mask: 0, ..REQUEST }.sequences().count(), 0);
        assert_eq!(ResendRequest { mask: u64::MAX, ..REQUEST }.sequences().count(), 64);
    }

    #[test]
    fn every_cut_ends_in_an_error() {
        let mut bytes = [0; REQUEST_BYTES];
        for length in 0..REQUEST_BYTES {
            assert_eq!(REQUEST.encode(&mut bytes[..length]), Err(EncodeError::NoRoom));
        }
        REQUEST.encode(&mut bytes).unwrap();
        for length in 0..REQUEST_BYTES {
            assert_eq!(ResendRequest::decode(&bytes[..length]), Err(DecodeError::Truncated));
        }
    }
}
