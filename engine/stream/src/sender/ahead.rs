use audiocloud_units::{Frames, HostTime, Nanos, SampleRate};

/// How far the host processes ahead of real time: frames processed against host time elapsed.
///
/// The lowest lead is taken for real time. It leaks upwards by 1,000 ppm, more than any audio clock is off, so that
/// drift never adds up and a stall of the host is forgotten again.
#[derive(Debug)]
pub(super) struct Ahead {
    sample_rate: SampleRate,
    start: Option<HostTime>,
    last: HostTime,
    frames: Frames,
    floor: Nanos,
    window_began: HostTime,
    window_max: Nanos,
    previous_max: Nanos,
}

const WINDOW: Nanos = Nanos::from_secs(1);

impl Ahead {
    pub(super) fn new(sample_rate: SampleRate) -> Self {
        Self {
            sample_rate,
            start: None,
            last: HostTime::new(0),
            frames: Frames::ZERO,
            floor: Nanos::ZERO,
            window_began: HostTime::new(0),
            window_max: Nanos::ZERO,
            previous_max: Nanos::ZERO,
        }
    }

    /// A callback of `frames` frames began at `now`; the largest lead of this window and the one before.
    pub(super) fn observe(&mut self, now: HostTime, frames: Frames) -> Nanos {
        let start = *self.start.get_or_insert_with(|| {
            self.last = now;
            self.window_began = now;
            now
        });
        let lead = self.frames.to_nanos_floor(self.sample_rate) - (now - start);
        let leak = Nanos::new((now - self.last).get() / 1_000);
        self.floor = (self.floor + leak).min(lead);
        self.last = now;
        self.frames += frames;
        if now - self.window_began >= WINDOW {
            self.window_began = now;
            self.previous_max = self.window_max;
            self.window_max = Nanos::ZERO;
        }
        self.window_max = self.window_max.max(lead - self.floor);
        self.window_max.max(self.previous_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lead after `seconds` of a host whose callback `n` of 480 frames at 48 kHz begins at `at(n)` ms.
    fn lead_ms(seconds: i64, at: impl Fn(i64) -> f64) -> f64 {
        let mut ahead = Ahead::new(SampleRate::new(48_000).unwrap());
        let mut lead = Nanos::ZERO;
        for n in 0..seconds * 100 {
            #[allow(clippy::cast_possible_truncation, reason = "milliseconds of a test")]
            let now = HostTime::new((at(n) * 1e6) as i64);
            lead = ahead.observe(now, Frames::new(480));
        }
        lead.as_millis_f64()
    }

    #[test]
    fn leads() {
        fn check(lead: f64, expected: std::ops::RangeInclusive<f64>) {
            assert!(expected.contains(&lead), "{lead} is not in {expected:?}");
        }
        check(lead_ms(5, |n| n as f64 * 10.0), 0.0..=0.1);
        check(lead_ms(60, |n| n as f64 * 10.0 * 1.000_2), 0.0..=0.1);
        check(lead_ms(60, |n| n as f64 * 10.0 * 0.999_8), 0.0..=0.5);
        // Eight blocks at once: the last of them is seven blocks ahead.
        check(lead_ms(5, |n| (n / 8 * 8) as f64 * 10.0), 70.0..=71.0);
        // 200 ms ahead from the beginning.
        check(lead_ms(5, |n| (n as f64 * 10.0 - 200.0).max(0.0)), 190.0..=200.0);
        // A stall of a second, and on at real time.
        check(lead_ms(5, |n| n as f64 * 10.0 + if n > 100 { 1_000.0 } else { 0.0 }), 0.0..=0.1);
    }
}
