//! Slices on a stream: each with its length in front, 16 bits, big-endian.
//!
//! On a stream nothing is lost, and what is not read is not sent: a full ring at the one end stops the other.

use audiocloud_wire::packet::slice::{HEADER_BYTES, SLICE_BYTES_MAX};

/// Bytes in front of each slice.
pub const LENGTH_BYTES: usize = 2;

/// A length that no slice has: the stream means something else, so end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLength(pub u16);

impl std::fmt::Display for BadLength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a slice of {} bytes; from {HEADER_BYTES} to {SLICE_BYTES_MAX} are allowed", self.0)
    }
}

impl std::error::Error for BadLength {}

/// Writes a slice's length to `room`, which has [`LENGTH_BYTES`], or none where no length is wanted.
pub(super) fn write_length(length: usize, room: &mut [u8]) {
    if let Some(room) = room.first_chunk_mut() {
        // A slice has at most 1,140 bytes.
        *room = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    }
}

/// Cuts a stream into slices, however its bytes come.
#[derive(Clone, Debug)]
pub struct Deframer {
    bytes: [u8; LENGTH_BYTES + SLICE_BYTES_MAX],
    filled: usize,
}

impl Default for Deframer {
    fn default() -> Self {
        Self { bytes: [0; LENGTH_BYTES + SLICE_BYTES_MAX], filled: 0 }
    }
}

impl Deframer {
    /// Takes bytes off the front of `input`, up to the end of the slice that they are of. The slice, once it is whole: until
    /// the next call.
    ///
    /// # Errors
    ///
    /// [`BadLength`]: nothing after it can be trusted.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<&[u8]>, BadLength> {
        if self.filled >= LENGTH_BYTES && self.filled == self.wanted()? {
            self.filled = 0;
        }
        if !self.take(LENGTH_BYTES, input) {
            return Ok(None);
        }
        let wanted = self.wanted()?;
        if !self.take(wanted, input) {
            return Ok(None);
        }
        Ok(self.bytes.get(LENGTH_BYTES..wanted))
    }

    /// Fills up to `until`. Whether that is so.
    fn take(&mut self, until: usize, input: &mut &[u8]) -> bool {
        let count = until.saturating_sub(self.filled).min(input.len());
        let (head, rest) = input.split_at(count);
        self.bytes[self.filled..self.filled + count].copy_from_slice(head);
        self.filled += count;
        *input = rest;
        self.filled >= until
    }

    /// Bytes of the slice that has begun, with its length.
    fn wanted(&self) -> Result<usize, BadLength> {
        let [high, low, ..] = self.bytes;
        let length = u16::from_be_bytes([high, low]);
        let bytes = usize::from(length);
        if !(HEADER_BYTES..=SLICE_BYTES_MAX).contains(&bytes) {
            return Err(BadLength(length));
        }
        Ok(LENGTH_BYTES + bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(lengths: &[u16]) -> Vec<u8> {
        let one = |length: &u16| [&length.to_be_bytes()[..], &vec![7; usize::from(*length)]].concat();
        lengths.iter().flat_map(one).collect()
    }

    #[test]
    fn slices_are_cut_off_however_the_bytes_come() {
        let lengths = [36, 1140, 40, 36];
        let stream = framed(&lengths);
        for size in [1, 2, 3, 35, 36, 37, 1000, 5000] {
            let (mut deframer, mut found) = (Deframer::default(), Vec::new());
            for mut input in stream.chunks(size) {
                while let Some(slice) = deframer.next(&mut input).unwrap() {
                    assert!(slice.iter().all(|byte| *byte == 7));
                    found.push(u16::try_from(slice.len()).unwrap());
                }
                assert!(input.is_empty());
            }
            assert_eq!(found, lengths, "{size} bytes at a time");
        }
    }

    #[test]
    fn lengths_of_no_slice_end_it() {
        for length in [0, 35, 1141, u16::MAX] {
            let bytes = [length.to_be_bytes(), [0, 0]].concat();
            assert_eq!(Deframer::default().next(&mut &bytes[..]), Err(BadLength(length)));
        }
    }
}
