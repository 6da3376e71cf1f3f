//! When a block's frames are heard, and which of them is heard at a time.

use audiocloud_engine::stream::delay_locked_loop::DelayLockedLoop;
use audiocloud_engine::units::{HostTime, Nanos, SampleRate};

/// Callbacks come late by what the system had to do first; a loop this slow forgets it.
const BANDWIDTH_HZ: f64 = 0.1;

/// Follows this host's callbacks. *Realtime-safe: yes*, all of it.
#[derive(Clone, Debug)]
pub struct FrameTimes {
    callbacks: DelayLockedLoop,
    nominal_hz: f64,
    /// From a frame's time in the callback until it is heard.
    output: Nanos,
}

impl FrameTimes {
    /// No callback yet.
    #[must_use]
    pub fn new(sample_rate: SampleRate) -> Self {
        let nominal_hz = f64::from(sample_rate.hz());
        let callbacks = DelayLockedLoop::new(sample_rate, BANDWIDTH_HZ);
        Self { callbacks, nominal_hz, output: Nanos::ZERO }
    }

    /// A callback began, with a block of so many frames, each of which is heard `output` later than it is processed.
    pub fn begin(&mut self, entered_at: HostTime, frames: u32, output: Nanos) {
        self.callbacks.observe(entered_at, frames);
        self.output = output;
    }

    /// Of the block's first frame, counted since the first callback.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.callbacks.position()
    }

    /// When this frame of the block is heard; those before the block and behind it, too.
    #[must_use]
    pub fn heard_at(&self, frame: f64) -> HostTime {
        self.callbacks.time_at(self.callbacks.position() as f64 + frame) + self.output
    }

    /// Which frame of the block is heard at a time; less than 0 before it.
    #[must_use]
    pub fn frame_at(&self, heard: HostTime) -> f64 {
        self.callbacks.position_at(heard - self.output) - self.callbacks.position() as f64
    }

    /// By what factor the device is faster than its nominal rate.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.callbacks.rate_hz() / self.nominal_hz
    }

    /// How often the device stood still or leapt.
    #[must_use]
    pub fn leaps(&self) -> u64 {
        self.callbacks.leaps()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_through_jitter_and_a_clock_of_its_own() {
        let mut times = FrameTimes::new(SampleRate::new(48_000).unwrap());
        let rate_hz = 48_000.0 * (1.0 + 80e-6);
        let mut random = 7_u64;
        let output = Nanos::from_millis(5);
        for block in 0..20_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let late = f64::from(u32::try_from(random >> 40).unwrap()) / f64::from(1 << 24) * 200_000.0;
            let due = f64::from(block) * 128.0 / rate_hz * 1e9;
            #[allow(clippy::cast_possible_truncation, reason = "less than an hour")]
            times.begin(HostTime::new(1_000_000_000 + (due + late) as i64), 128, output);
        }
        assert_eq!(times.position(), 19_999 * 128);
        assert!((times.speed() - (1.0 + 80e-6)).abs() < 2e-6, "{}", times.speed());
        let due = 19_999.0 * 128.0 / rate_hz * 1e9;
        // On average callbacks are 100 µs late, which cannot be told from the device's own delay.
        let heard = (times.heard_at(0.0) - HostTime::new(1_000_000_000)).get() as f64;
        assert!((heard - due - 100e3 - 5e6).abs() < 20e3, "{}", heard - due);
        assert!((times.frame_at(times.heard_at(77.0)) - 77.0).abs() < 1e-3);
    }
}
