//! Bits into bytes and back, the highest first, and Rice's code on them.

use super::PackError;

/// A quotient of so many ones or more is not written as such: the value follows in 32 bits.
const ESCAPE_ONES: u32 = 24;

/// Writes bits to a slice; past its end, nowhere.
#[derive(Debug)]
pub(super) struct BitWriter<'a> {
    bytes: &'a mut [u8],
    written: usize,
    /// Bits not yet written, the latest lowest.
    pending: u64,
    /// How many: fewer than 32 between calls.
    count: u32,
    full: bool,
}

impl<'a> BitWriter<'a> {
    pub(super) const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, written: 0, pending: 0, count: 0, full: false }
    }

    /// Whether there was not room for everything.
    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// Writes the low `count` bits of `value`, which has no others; `count` is at most 32.
    #[inline]
    pub(super) fn put(&mut self, value: u32, count: u32) {
        self.pending = self.pending << count | u64::from(value);
        self.count += count;
        if self.count >= 32 {
            self.count -= 32;
            let [.., a, b, c, d] = (self.pending >> self.count).to_be_bytes();
            self.write(&[a, b, c, d]);
        }
    }

    /// Writes `value` in Rice's code with parameter `k`, at most 30.
    #[inline]
    pub(super) fn put_rice(&mut self, value: u32, k: u32) {
        let quotient = value >> k;
        if quotient >= ESCAPE_ONES {
            self.put((1 << ESCAPE_ONES) - 1, ESCAPE_ONES);
            self.put(value, 32);
        } else if quotient + 1 + k <= 32 {
            // The zero is the bit above the low ones; the ones are above it.
            let ones = (1_u64 << quotient) - 1;
            let [.., a, b, c, d] = (ones << (k + 1) | u64::from(value & ((1 << k) - 1))).to_be_bytes();
            self.put(u32::from_be_bytes([a, b, c, d]), quotient + 1 + k);
        } else {
            self.put(((1 << quotient) - 1) << 1, quotient + 1);
            self.put(value & ((1 << k) - 1), k);
        }
    }

    /// Fills the last byte: how many bytes were written, none when there was not room for all.
    pub(super) fn finish(mut self) -> Option<usize> {
        let rest = self.count.div_ceil(8);
        let bytes = (self.pending << (64 - self.count.max(1))).to_be_bytes();
        if rest > 0 {
            let rest = usize::try_from(rest).ok()?;
            self.write(&bytes[..rest]);
        }
        (!self.full).then_some(self.written)
    }

    fn write(&mut self, bytes: &[u8]) {
        match self.bytes.get_mut(self.written..self.written + bytes.len()) {
            Some(to) => {
                to.copy_from_slice(bytes);
                self.written += bytes.len();
            }
            None => self.full = true,
        }
    }
}

/// Reads bits from a slice; past its end, zeros.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The first byte not wholly in `pending`.
    next: usize,
    /// What is read next, from the highest bit on.
    pending: u64,
    /// How many bits of `pending` are counted as read ahead.
    count: u32,
}

impl<'a> BitReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, next: 0, pending: 0, count: 0 }
    }

    /// Makes at least 56 bits ready.
    #[inline]
    fn refill(&mut self) {
        if let Some(ahead) = self.bytes.get(self.next..).and_then(<[u8]>::first_chunk) {
            // Bits beyond those counted are the same ones that the next call puts there again.
            self.pending |= u64::from_be_bytes(*ahead) >> self.count;
            let bytes = (63 - self.count) / 8;
            self.next += bytes as usize;
            self.count += bytes * 8;
        } else {
            while self.count < 56 {
                let byte = self.bytes.get(self.next).copied().unwrap_or(0);
                self.pending |= u64::from(byte) << (56 - self.count);
                self.next += 1;
                self.count += 8;
            }
        }
    }

    /// Reads `count` bits, at most 32.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        self.refill();
        self.take_ready(count)
    }

    /// Reads a value in Rice's code with parameter `k`, at most 30.
    #[inline]
    pub(super) fn take_rice(&mut self, k: u32) -> u32 {
        self.refill();
        let quotient = (!self.pending).leading_zeros();
        if quotient >= ESCAPE_ONES {
            self.skip(ESCAPE_ONES);
            return self.take(32);
        }
        self.skip(quotient + 1);
        quotient << k | self.take_ready(k)
    }

    #[inline]
    fn take_ready(&mut self, count: u32) -> u32 {
        // In two steps, as a shift by 64 is none.
        let [.., a, b, c, d] = (self.pending >> 1 >> (63 - count)).to_be_bytes();
        self.skip(count);
        u32::from_be_bytes([a, b, c, d])
    }

    #[inline]
    const fn skip(&mut self, count: u32) {
        self.pending <<= count;
        self.count -= count;
    }

    /// Whether what was read is what there was: all of it, and no more.
    pub(super) fn finish(&self) -> Result<(), PackError> {
        let read = (self.next * 8).saturating_sub(self.count as usize).div_ceil(8);
        match read.cmp(&self.bytes.len()) {
            std::cmp::Ordering::Less => Err(PackError::Malformed),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(PackError::Truncated),
        }
    }
}
