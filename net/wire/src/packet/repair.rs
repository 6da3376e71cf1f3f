//! Repair packets: a symbol made of the last audio packets of a stream, from which a receiver that has the
//! others makes the one that it lost.
//!
//! | byte | field | type |
//! |---:|---|---|
//! | 0 | version 1, kind 2: `0x12` | u8 |
//! | 1 | flags, none assigned | u8 |
//! | 2 | window | u8 |
//! | 3 | key | u8 |
//! | 4 | epoch | u32 |
//! | 8 | stream | u64 |
//! | 16 | last sequence | u32 |
//! | 20 | symbol | |
//!
//! Each packet that is covered makes a symbol too: its length (u16), its bytes as they were sent first, and
//! zeros up to the longest of those covered. The packet's symbol is a sum of these over GF(2⁸), each times a
//! coefficient that follows from the key; how is the business of `audiocloud-codec`. A window of 1 with key 0
//! is the packet itself.

use crate::id::StreamId;
use crate::packet::audio::{self, AUDIO_BYTES_MAX};
use crate::packet::cursor::{Reader, Writer};
use crate::packet::{DecodeError, EncodeError, Kind, PACKET_BYTES_MAX};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 20;

/// Bytes of the length in front of each packet in a symbol.
pub const SYMBOL_LENGTH_BYTES: usize = 2;

/// The most packets that one repair covers.
pub const WINDOW_MAX: u8 = 16;

/// The shortest symbol: of a packet of silence.
pub const SYMBOL_BYTES_MIN: usize = SYMBOL_LENGTH_BYTES + audio::HEADER_BYTES;

/// The longest symbol: of the longest audio packet.
pub const SYMBOL_BYTES_MAX: usize = SYMBOL_LENGTH_BYTES + AUDIO_BYTES_MAX;

// The longest audio packet is as long as it is so that a repair of it fits.
const _: () = assert!(HEADER_BYTES + SYMBOL_BYTES_MAX == PACKET_BYTES_MAX);

/// Everything in a repair packet but the symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The stream, among those of the peer that sends.
    pub stream: StreamId,
    /// The epoch that the sequence counts in.
    pub epoch: u32,
    /// Sequence number of the newest packet covered.
    pub last_sequence: u32,
    /// How many packets are covered, with consecutive numbers up to the last: from 1 to [`WINDOW_MAX`].
    pub window: u8,
    /// Chooses the coefficients.
    pub key: u8,
}

impl Header {
    /// Sequence number of the oldest packet covered.
    pub const fn first_sequence(&self) -> u32 {
        self.last_sequence.wrapping_sub(self.window.saturating_sub(1) as u32)
    }

    /// Writes the header to the front of `out`. Returns how many bytes that took, which is where the symbol
    /// goes.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Window`] for a window that no decoder accepts, [`EncodeError::NoRoom`] when `out` is too
    /// short.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        if !(1..=WINDOW_MAX).contains(&self.window) {
            return Err(EncodeError::Window);
        }
        let mut writer = Writer::new(out);
        writer.put(&[Kind::Repair.first_byte(), 0, self.window, self.key])?;
        writer.put(&self.epoch.to_be_bytes())?;
        writer.put(&self.stream.to_bytes())?;
        writer.put(&self.last_sequence.to_be_bytes())?;
        debug_assert_eq!(writer.length(), HEADER_BYTES);
        Ok(writer.length())
    }
}

/// A repair packet, borrowed from its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairPacket<'a> {
    /// The fields of fixed place.
    pub header: Header,
    /// The sum of the covered packets' symbols: from [`SYMBOL_BYTES_MIN`] to [`SYMBOL_BYTES_MAX`] bytes.
    pub symbol: &'a [u8],
}

impl<'a> RepairPacket<'a> {
    /// Reads one datagram.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of(bytes, Kind::Repair)?;
        let [_, _flags, window, key] = reader.array()?;
        let epoch = reader.u32()?;
        let stream = StreamId(reader.u64()?);
        let last_sequence = reader.u32()?;
        if !(1..=WINDOW_MAX).contains(&window) {
            return Err(DecodeError::Window(window));
        }
        let symbol = reader.0;
        if symbol_past_end(symbol) {
            return Err(DecodeError::SymbolLength(symbol.len()));
        }
        Ok(Self { header: Header { stream, epoch, last_sequence, window, key }, symbol })
    }

    /// Writes the packet to the front of `out`, and returns its length.
    ///
    /// # Errors
    ///
    /// Those of [`Header::encode`], and [`EncodeError::Payload`] for a symbol that is too short or too long.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        if symbol_past_end(self.symbol) {
            return Err(EncodeError::Payload);
        }
        let start = self.header.encode(out)?;
        let end = start + self.symbol.len();
        out.get_mut(start..end).ok_or(EncodeError::NoRoom)?.copy_from_slice(self.symbol);
        Ok(end)
    }
}

fn symbol_past_end(symbol: &[u8]) -> bool {
    !(SYMBOL_BYTES_MIN..=SYMBOL_BYTES_MAX).contains(&symbol.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        stream: StreamId(0x0102_0304_0506_0708),
        epoch: 0xa1a2_a3a4,
        last_sequence: 2,
        window: 5,
        key: 9,
    };

    #[test]
    fn bytes_are_those_of_the_table() {
        let symbol = [0x5a; SYMBOL_BYTES_MIN];
        let mut bytes = [0xee; PACKET_BYTES_MAX];
        let length = RepairPacket { header: HEADER, symbol: &symbol }.encode(&mut bytes).unwrap();
        let header = b"\x12\x00\x05\x09\xa1\xa2\xa3\xa4\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x00\x02";
        assert_eq!(bytes[..length], [&header[..], &symbol].concat());
        let packet = RepairPacket::decode(&bytes[..length]).unwrap();
        assert_eq!(packet, RepairPacket { header: HEADER, symbol: &symbol });
        assert_eq!(packet.header.first_sequence(), u32::MAX - 1);
    }

    #[test]
    fn windows_and_symbols_have_bounds() {
        let check = |window: u8, length: usize, expected: Option<DecodeError>| {
            let mut bytes = [0; PACKET_BYTES_MAX + 1];
            HEADER.encode(&mut bytes).unwrap();
            bytes[2] = window;
            assert_eq!(RepairPacket::decode(&bytes[..HEADER_BYTES + length]).err(), expected);
            let symbol = &bytes[HEADER_BYTES..HEADER_BYTES + length];
            let packet = RepairPacket { header: Header { window, ..HEADER }, symbol };
            assert_eq!(packet.encode(&mut [0; PACKET_BYTES_MAX]).is_err(), expected.is_some());
        };
        check(1, SYMBOL_BYTES_MIN, None);
        check(16, SYMBOL_BYTES_MAX, None);
        check(0, SYMBOL_BYTES_MIN, Some(DecodeError::Window(0)));
        check(17, SYMBOL_BYTES_MIN, Some(DecodeError::Window(17)));
        check(1, 0, Some(DecodeError::SymbolLength(0)));
        check(1, SYMBOL_BYTES_MIN - 1, Some(DecodeError::SymbolLength(SYMBOL_BYTES_MIN - 1)));
        check(1, SYMBOL_BYTES_MAX + 1, Some(DecodeError::TooLong));
    }

    #[test]
    fn every_cut_ends_in_an_error() {
        let mut bytes = [0; HEADER_BYTES + SYMBOL_BYTES_MIN];
        RepairPacket { header: HEADER, symbol: &[1; SYMBOL_BYTES_MIN] }.encode(&mut bytes).unwrap();
        for length in 0..bytes.len() {
            assert!(RepairPacket::decode(&bytes[..length]).is_err(), "{length} bytes");
            let room = &mut [0; HEADER_BYTES + SYMBOL_BYTES_MIN][..length];
            let packet = RepairPacket { header: HEADER, symbol: &[1; SYMBOL_BYTES_MIN] };
            assert_eq!(packet.encode(room), Err(EncodeError::NoRoom), "{length} bytes");
        }
    }
}
