//! Delays that vary from one to the next.

use audiocloud_units::Nanos;

use crate::random::{Random, nanos};

/// How a delay is distributed. Each is independent of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// None at all.
    #[default]
    None,
    /// Evenly from 0 to `max`.
    Uniform {
        /// The longest.
        max: Nanos,
    },
    /// Normal, of which what lies outside 0 to `max` is cut off.
    Normal {
        /// The mean before the cut.
        mean: Nanos,
        /// The standard deviation before the cut.
        deviation: Nanos,
        /// The longest.
        max: Nanos,
    },
}

/// Draws of a normal distribution until one must lie inside; then the nearest end.
const DRAWS_MAX: u32 = 64;

impl Spread {
    /// The next delay, from 0.
    pub fn draw(&self, random: &mut Random) -> Nanos {
        match *self {
            Self::None => Nanos::ZERO,
            Self::Uniform { max } => nanos(random.uniform() * max.get() as f64),
            Self::Normal { mean, deviation, max } => {
                let draw = || mean + nanos(random.normal() * deviation.get() as f64);
                let inside = Nanos::ZERO..=max;
                let mut draws = std::iter::repeat_with(draw).take(DRAWS_MAX as usize);
                draws.find(|delay| inside.contains(delay)).unwrap_or(mean.min(max).max(Nanos::ZERO))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_bounds_are_survived() {
        let far = Spread::Normal {
            mean: Nanos::from_secs(1),
            deviation: Nanos::new(1),
            max: Nanos::from_millis(1),
        };
        assert_eq!(far.draw(&mut Random::new(1)), Nanos::from_millis(1));
    }
}
