//! Chance that is the same for the same seed.

use std::ops::RangeInclusive;

/// Sebastiano Vigna, *An experimental exploration of Marsaglia's xorshift generators, scrambled*, 2016: xorshift64*.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        (0..4).for_each(|_| _ = dice.next());
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }

    pub(crate) fn whole(&mut self, range: RangeInclusive<u32>) -> u32 {
        let values = u64::from(range.end() - range.start()) + 1;
        range.start() + u32::try_from(self.next() % values).expect("below the range's end")
    }

    pub(crate) fn index(&mut self, count: usize) -> usize {
        self.whole(0..=u32::try_from(count - 1).expect("few")) as usize
    }

    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())].clone()
    }

    /// In so many of a hundred cases.
    pub(crate) fn percent(&mut self, cases: u32) -> bool {
        self.whole(0..=99) < cases
    }

    pub(crate) fn real(&mut self, from: f32, to: f32) -> f32 {
        from + (to - from) * (self.whole(0..=65_536) as f32 / 65_536.0)
    }
}
