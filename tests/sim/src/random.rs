//! Numbers that look like chance and are not.

use std::f64::consts::TAU;

use audiocloud_units::Nanos;

/// What the state of SplitMix64 advances by: 2⁶⁴ over the golden ratio, made odd.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64: G. L. Steele, D. Lea and C. H. Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The numbers of a seed. Neighbouring seeds have nothing in common.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: scatter(seed) }
    }

    /// Numbers of their own for a purpose. One for each makes a world in which a change of one thing (another loss rate)
    /// leaves the chance of all others (the delays) as it was.
    #[must_use]
    pub const fn for_purpose(&self, purpose: u64) -> Self {
        Self { state: scatter(self.state ^ scatter(purpose.wrapping_add(GOLDEN))) }
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        scatter(self.state)
    }

    /// From 0 to below 1, evenly, in steps of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// True this often. Takes one number whatever the probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Normal, with mean 0 and deviation 1: G. E. P. Box and M. E. Muller, *A Note on the Generation of Random Normal
    /// Deviates*, Ann. Math. Statist. 29(2), 1958.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        radius * libm::cos(TAU * self.uniform())
    }

    /// The wait for the next of things that happen independently, `per_second` times on average. Never, if not above 0.
    pub fn wait(&mut self, per_second: f64) -> Nanos {
        let seconds = -libm::log(1.0 - self.uniform()) / per_second;
        if per_second > 0.0 { nanos(seconds * 1e9) } else { Nanos::new(i64::MAX) }
    }
}

/// To whole nanoseconds, rounded towards zero; saturates.
#[allow(clippy::cast_possible_truncation, reason = "saturates, as is documented")]
pub(crate) fn nanos(value: f64) -> Nanos {
    Nanos::new(value as i64)
}

const fn scatter(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_splitmix64() {
        // The outputs that Vigna's reference in C is published with, for state 1234567.
        let mut random = Random { state: 1_234_567 };
        for expected in [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423] {
            assert_eq!(random.bits(), expected);
        }
    }

    #[test]
    fn normal_and_wait_have_their_moments() {
        const COUNT: u32 = 200_000;
        let mut random = Random::new(1);
        let (mut sum, mut squares, mut waits) = (0.0, 0.0, 0.0);
        for _ in 0..COUNT {
            let normal = random.normal();
            sum += normal;
            squares += normal * normal;
            waits += random.wait(4.0).as_secs_f64();
        }
        let count = f64::from(COUNT);
        assert!((sum / count).abs() < 0.01, "{}", sum / count);
        assert!((squares / count - 1.0).abs() < 0.015, "{}", squares / count);
        assert!((waits / count - 0.25).abs() < 0.003, "{}", waits / count);
        assert_eq!(random.wait(0.0), Nanos::new(i64::MAX));
    }

    #[test]
    fn purposes_have_nothing_in_common() {
        let seed = Random::new(7);
        let (mut one, mut other) = (seed.for_purpose(0), seed.for_purpose(1));
        let product: f64 = (0..100_000).map(|_| (one.uniform() - 0.5) * (other.uniform() - 0.5)).sum();
        assert!((12.0 * product / 100_000.0).abs() < 0.02, "{product}");
    }
}
