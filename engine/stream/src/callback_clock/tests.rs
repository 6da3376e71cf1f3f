use audiocloud_units::Frames;

use super::*;

fn rate() -> SampleRate {
    SampleRate::new(48_000).unwrap()
}

/// From 0 to 1, the same for the same number.
fn noise(index: u64) -> f64 {
    let value = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((value ^ (value >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / f64::from(1 << 24)
}

/// Callbacks of 128 frames of a device that runs at `ppm`; what lateness each one has, and when the device lost frames.
struct Device<'a> {
    ppm: f64,
    late_us: &'a dyn Fn(u64) -> f64,
    /// From this callback on everything is due so much later, in microseconds.
    lost: (u64, f64),
}

impl Device<'_> {
    /// The true time of a callback's first frame, in nanoseconds.
    fn due(&self, callback: u64) -> f64 {
        let lost = if callback >= self.lost.0 { self.lost.1 * 1e3 } else { 0.0 };
        5e9 + callback as f64 * 128.0 / (48_000.0 * (1.0 + self.ppm * 1e-6)) * 1e9 + lost
    }

    /// The greatest error since callback `from`, in microseconds, and the leaps.
    fn worst(&self, callbacks: u64, from: u64) -> (f64, u64) {
        let mut clock = CallbackClock::new(rate());
        let mut worst: f64 = 0.0;
        for callback in 0..callbacks {
            #[allow(clippy::cast_possible_truncation, reason = "times of a test")]
            let at = HostTime::new((self.due(callback) + (self.late_us)(callback) * 1e3) as i64);
            clock.observe(at, 128);
            if callback >= from {
                worst = worst.max((clock.due().get() as f64 - self.due(callback)).abs() / 1e3);
            }
        }
        (worst, clock.leaps())
    }
}

/// Half of them late by up to 100 µs, one in twenty by up to 2 ms.
fn busy(callback: u64) -> f64 {
    let most = if noise(callback ^ 0xbe11) < 0.05 { 2_000.0 } else { 100.0 };
    3.0 + most * noise(callback)
}

#[test]
fn what_is_late_at_times_does_not_matter() {
    for ppm in [0.0, 200.0, -200.0] {
        let device = Device { ppm, late_us: &busy, lost: (0, 0.0) };
        let (worst, leaps) = device.worst(375 * 60, 375 * 3);
        assert!(worst < 10.0 && leaps == 0, "{ppm} ppm: {worst} µs, {leaps} leaps");
    }
}

#[test]
fn a_machine_that_becomes_busier_does_not_move_it() {
    // Late by 200 µs more on average from 30 s on; one in ten is as before.
    let late = |callback: u64| {
        let more = if callback > 375 * 30 && noise(callback ^ 77) > 0.1 { 400.0 } else { 20.0 };
        3.0 + more * noise(callback)
    };
    let (worst, leaps) = Device { ppm: 50.0, late_us: &late, lost: (0, 0.0) }.worst(375 * 60, 375 * 5);
    assert!(worst < 12.0 && leaps == 0, "{worst} µs, {leaps} leaps");
}

#[test]
fn frames_that_the_device_lost_are_known_within_a_moment() {
    for lost_us in [667.0, 2_667.0, 300_000.0] {
        let lost = (375 * 20, lost_us);
        let device = Device { ppm: -80.0, late_us: &busy, lost };
        let (worst, leaps) = device.worst(375 * 60, 375 * 20 + 40);
        assert!(leaps >= 1 && worst < 110.0, "{lost_us} µs: {worst} µs, {leaps} leaps");
        let (worst, _) = device.worst(375 * 60, 375 * 25);
        assert!(worst < 12.0, "{lost_us} µs: {worst} µs once settled");
    }
}

#[test]
fn a_host_that_was_late_and_catches_up_lost_nothing() {
    // 60 ms late, then eleven callbacks in 2 ms.
    let late = |callback: u64| match callback {
        7_500..=7_522 => (60_000.0 - (callback - 7_500) as f64 * 2_600.0).max(busy(callback)),
        _ => busy(callback),
    };
    let (worst, leaps) = Device { ppm: 10.0, late_us: &late, lost: (0, 0.0) }.worst(375 * 40, 375 * 3);
    assert!(worst < 10.0 && leaps == 0, "{worst} µs, {leaps} leaps");
}

#[test]
fn pieces_of_a_callback_are_one() {
    let mut clock = CallbackClock::new(rate());
    for callback in 0..2_000 {
        let at = HostTime::new(0) + Frames::new(256 * callback).to_nanos_floor(rate());
        assert!(!clock.observe(at, 128) && !clock.observe(at, 128));
        let second = at + Frames::new(128).to_nanos_floor(rate());
        assert!((clock.due() - second).abs() <= Nanos::new(100), "{callback}: {:?}", clock.due() - second);
        let ahead = clock.due_after(128) - clock.due() - Frames::new(128).to_nanos_floor(rate());
        assert!(ahead.abs() <= Nanos::new(1), "{ahead:?}");
    }
}
