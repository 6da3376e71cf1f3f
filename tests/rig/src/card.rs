//! A simulated sound card whose crystal is off, and wanders.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

/// The wander goes up and down once in so long.
const WANDER_NS: f64 = 60e9;

/// When its frames are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// By how much it runs faster than its nominal rate, in parts per million.
    pub drift_ppm: f64,
    /// By how much that wanders up and down, once a minute.
    pub wander_ppm: f64,
}

impl Card {
    /// From the first frame's due until that of the frame at `position`, in nanoseconds.
    #[must_use]
    pub fn due_ns(&self, position: f64, sample_rate: u32) -> f64 {
        let nominal = position * 1e9 / f64::from(sample_rate);
        let wandered = self.wander_ppm * WANDER_NS / TAU * (1.0 - (TAU * nominal / WANDER_NS).cos());
        nominal - (nominal * self.drift_ppm + wandered) * 1e-6
    }

    /// The position, and the part of a frame, that is due so long after the first.
    #[must_use]
    pub fn position_at(&self, ns: f64, sample_rate: u32) -> f64 {
        let mut position = ns * f64::from(sample_rate) / 1e9;
        // What is off shrinks by the drift, a thousandth at most, with each step.
        for _ in 0..4 {
            position += (ns - self.due_ns(position, sample_rate)) * f64::from(sample_rate) / 1e9;
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_as_fast_as_the_crystal_says() {
        let exact = Card::default();
        assert!((exact.due_ns(96_000.0, 48_000) - 2e9).abs() < 1e-3);
        let fast = Card { drift_ppm: 100.0, wander_ppm: 0.0 };
        assert!((fast.due_ns(4_800_000.0, 48_000) - (100e9 - 10e6)).abs() < 1e-3);
        // Half a minute up, half a minute down: fastest after a quarter, 191 µs ahead after half of a minute.
        let wandering = Card { drift_ppm: 0.0, wander_ppm: 10.0 };
        let ahead = |seconds: f64| seconds * 1e9 - wandering.due_ns(seconds * 48_000.0, 48_000);
        assert!((ahead(30.0) - 190_986.0).abs() < 1.0 && ahead(60.0).abs() < 1e-3, "{}", ahead(30.0));
        for card in [exact, fast, wandering] {
            for position in [0.0, 1.5, 777_777.25, 3e7] {
                let back = card.position_at(card.due_ns(position, 48_000), 48_000);
                assert!((back - position).abs() < 1e-5, "{card:?} {position}: {back}");
            }
        }
    }
}
