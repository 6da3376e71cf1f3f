//! A graph that is edited at random while it plays.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod editor;
pub(crate) mod member;
pub(crate) mod stage;

/// Xorshift (Marsaglia, 2003); the seed is fixed, so that a failure can be repeated.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    pub(crate) fn number(&mut self, limit: u32) -> u32 {
        u32::try_from(self.below(u64::from(limit))).unwrap()
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.index(from.len())]) }
    }

    /// From 0 to 1.
    pub(crate) fn unit(&mut self) -> f32 {
        f32::from(u16::try_from(self.below(65_536)).unwrap()) / 65_536.0
    }
}
