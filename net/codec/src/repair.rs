//! Repair packets: a sliding-window erasure code.
//!
//! A repair is a linear combination over GF(2⁸) of the last packets sent, at most [`WINDOW_MAX`] of them. A
//! receiver that misses as many of the packets covered as it has repairs over them computes the missing ones:
//! no round trip, whatever the path's length. Windows slide and overlap (as in RLC, RFC 8681), so that the
//! repair after a packet can help at once, and the next ones still, without the wait for a block's end.
//!
//! What is combined is a packet's *symbol*: its length (`u16`, big-endian), its bytes, then zeros up to the
//! longest covered. The coefficient of packet `sequence` in the repair of `key` is 1 for key 0, so that a
//! window of 1 is plain repetition; else 1 / (x + y), the element of a Cauchy matrix, where x is
//! `sequence` mod 64 and y is 64 + (`key` − 1) mod 192. All x in a receiver's reach differ, and none is any
//! y, hence every square submatrix of repairs of different keys (0 among them) over packets that all of them
//! cover can be solved: the code is MDS there (cf. Blömer et al., *An XOR-Based Erasure-Resilient Coding
//! Scheme*, 1995). RFC 8681 takes random coefficients instead, and none of this needs a seed.
//!
//! Sequence numbers are `u32` and wrap. Whatever bytes come, memory and work are bounded: a receiver keeps
//! the last [`REACH`] packets and at most as many repairs.

mod decoder;
mod encoder;
mod field;

pub use decoder::Decoder;
pub use encoder::Encoder;

/// Most packets that one repair covers.
pub const WINDOW_MAX: usize = 16;

/// How many packets, the newest among them, a receiver holds to compute lost ones from.
pub const REACH: usize = 64;

/// The longest packet that is covered, in bytes.
pub const PACKET_BYTES_MAX: usize = 2048;

/// A symbol's bytes before the packet's: its length.
const LENGTH_BYTES: usize = 2;

/// The coefficient of the packet `sequence` in a repair of `key`: never zero.
fn coefficient(sequence: u32, key: u8) -> u8 {
    if key == 0 {
        return 1;
    }
    let [.., low] = sequence.to_be_bytes();
    field::inverse((low % 64) ^ (64 + (key - 1) % 192))
}

/// Writes the symbol of `packet` to `symbol`, without padding. None is left when the packet is too long.
fn write_symbol(packet: &[u8], symbol: &mut Vec<u8>) -> bool {
    symbol.clear();
    match u16::try_from(packet.len()) {
        Ok(length) if packet.len() <= PACKET_BYTES_MAX => {
            symbol.extend_from_slice(&length.to_be_bytes());
            symbol.extend_from_slice(packet);
            true
        }
        _ => false,
    }
}

/// The packet within a symbol; none when the symbol is none of ours.
fn read_symbol(symbol: &[u8]) -> Option<&[u8]> {
    let (length, rest) = symbol.split_first_chunk()?;
    let (packet, padding) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    padding.iter().all(|&byte| byte == 0).then_some(packet)
}

#[cfg(test)]
mod tests;
