use audiocloud_units::{HostTime, Nanos, SampleRate};

use crate::delay_locked_loop::{DelayLockedLoop, Observation};

/// Of both loops: narrow, for the ratio is heard.
const BANDWIDTH_HZ: f64 = 0.01;
/// The phase is taken down so often, as the median of what was seen meanwhile.
const WINDOW_MILLIS: i64 = 500;
const SAMPLES_MAX: usize = 64;
/// So many of them are kept; then every other one, and half as often.
const HISTORY: usize = 64;
const HISTORY_LEAST: usize = 8;
/// Drift is what moved the phase this far, along a straight line.
const MOVED_MICROS: i64 = 250;
const STRAIGHT: f64 = 0.97;
/// No two clocks differ by more than this: what does is no drift.
const DRIFT_MAX: f64 = 600e-6;
/// A phase error is worked off with this time constant, by at most so much.
const TRIM_SECONDS: f64 = 20.0;
const TRIM_MAX: f64 = 50e-6;
/// Until then the loops have hardly locked, and what the phase is will do.
const SETTLING: Nanos = Nanos::from_secs(4);

/// Watches two clocks: the sender's, by when its frames arrive, and ours, by when callbacks come.
///
/// Two loops say how fast each runs on this machine's time: their quotient is the ratio to resample by, fed forward;
/// what error of phase is left is worked off slowly. Whether there is any drift at all is judged apart from them: only
/// a phase that moves along a straight line is one. A network that becomes slower moves it, too, but in a step.
#[derive(Debug)]
pub(super) struct Drift {
    theirs: DelayLockedLoop,
    ours: DelayLockedLoop,
    /// The position that the sender's loop counts from.
    zero: Option<u64>,
    nominal: f64,
    /// The phase to keep: the sender's position beyond ours, in frames of the stream; and since when it is to be kept.
    target: Option<(f64, HostTime)>,
    ratio: f64,
    phases: Phases,
}

impl Drift {
    /// For a stream of the rate `theirs` on a device of the rate `ours`.
    pub(super) fn new(theirs: SampleRate, ours: SampleRate) -> Self {
        let nominal = f64::from(theirs.hz()) / f64::from(ours.hz());
        Self {
            theirs: DelayLockedLoop::new(theirs, BANDWIDTH_HZ),
            ours: DelayLockedLoop::new(ours, BANDWIDTH_HZ),
            zero: None,
            nominal,
            target: None,
            ratio: nominal,
            phases: Phases::new(theirs),
        }
    }

    /// A callback of so many frames began. For how long our device stood still, if it did: its clock lost so much.
    pub(super) fn observe_callback(&mut self, at: HostTime, frames: u32) -> Option<Nanos> {
        if self.ours.observe(at, frames) != Observation::Leapt {
            return None;
        }
        self.begin_anew();
        Some(self.ours.last_leap())
    }

    /// The frame at `position` arrived; `phase` is how far it was ahead of a count of frames that only ever grows by
    /// what callbacks play.
    pub(super) fn observe_block(&mut self, at: HostTime, position: u64, phase: i64) {
        let zero = *self.zero.get_or_insert(position);
        let Some(position) = position.checked_sub(zero) else { return };
        if self.theirs.observe_at(at, position) == Observation::Leapt {
            self.begin_anew();
        }
        self.phases.add(phase);
    }

    /// `frames` frames of the stream go by. Whether the clocks were found to differ.
    pub(super) fn advance(&mut self, frames: i64) -> bool {
        self.phases.advance(frames)
    }

    /// Forgets the sender's clock; ours goes on.
    pub(super) fn forget_sender(&mut self) {
        self.theirs.reset();
        self.zero = None;
        self.ratio = self.nominal;
        self.begin_anew();
    }

    /// What is now is as it should be.
    pub(super) fn begin_anew(&mut self) {
        self.target = None;
        self.phases.clear();
    }

    /// The phase moved in a step: what was before says nothing about drift.
    pub(super) fn forget_phases(&mut self) {
        self.phases.clear();
    }

    /// The read position was moved by so many frames on purpose.
    pub(super) fn moved(&mut self, frames: i64) {
        self.target = self.target.map(|(target, since)| (target - frames as f64, since));
    }

    /// Frames of the stream for each of ours, so that `sounding`, the position that is heard at this callback, stays
    /// behind the sender's as it was.
    pub(super) fn ratio(&mut self, sounding: f64) -> f64 {
        let Some(zero) = self.zero else { return self.ratio };
        let feed_forward = self.theirs.rate_hz() / self.ours.rate_hz();
        let phase = self.theirs.position_at(self.ours.time()) + (zero as f64 - sounding);
        let now = self.ours.time();
        let (target, since) = self.target.get_or_insert((phase, now));
        if now - *since < SETTLING {
            *target = phase;
        }
        let trim = (phase - *target) / (TRIM_SECONDS * self.theirs.rate_hz());
        self.ratio = feed_forward * (1.0 + trim.clamp(-TRIM_MAX, TRIM_MAX));
        self.ratio
    }

    /// How much faster the sender's clock runs than ours, in parts per million, by the loops.
    pub(super) fn ppm(&self) -> f64 {
        if self.zero.is_none() {
            return 0.0;
        }
        (self.theirs.rate_hz() / self.ours.rate_hz() / self.nominal - 1.0) * 1e6
    }
}

/// Medians of the phase, from its last step on.
#[derive(Debug)]
struct Phases {
    samples: [i64; SAMPLES_MAX],
    used: usize,
    skipped: u32,
    stride: u32,
    elapsed: i64,
    window: i64,
    history: [f64; HISTORY],
    kept: usize,
    /// Windows to a median that is kept, and how many have gone by since the last one.
    every: u32,
    since: u32,
    moved: f64,
}

impl Phases {
    fn new(sample_rate: SampleRate) -> Self {
        let hz = i64::from(sample_rate.hz());
        Self {
            samples: [0; SAMPLES_MAX],
            used: 0,
            skipped: 0,
            stride: 1,
            elapsed: 0,
            window: WINDOW_MILLIS * hz / 1_000,
            history: [0.0; HISTORY],
            kept: 0,
            every: 1,
            since: 0,
            moved: (MOVED_MICROS * hz) as f64 / 1e6,
        }
    }

    fn clear(&mut self) {
        (self.used, self.skipped, self.stride, self.elapsed) = (0, 0, 1, 0);
        (self.kept, self.every, self.since) = (0, 1, 0);
    }

    fn add(&mut self, phase: i64) {
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        if self.used == SAMPLES_MAX {
            // Keep every other one, and take half as many from now on: the window stays evenly sampled.
            for index in 0..SAMPLES_MAX / 2 {
                self.samples[index] = self.samples[index * 2];
            }
            self.used /= 2;
            self.stride *= 2;
        }
        self.samples[self.used] = phase;
        self.used += 1;
    }

    fn advance(&mut self, frames: i64) -> bool {
        self.elapsed += frames;
        if self.elapsed < self.window {
            return false;
        }
        self.elapsed = 0;
        let used = std::mem::take(&mut self.used);
        (self.skipped, self.stride) = (0, 1);
        self.since += 1;
        if used < 4 || self.since < self.every {
            return false;
        }
        self.since = 0;
        let median = *self.samples[..used].select_nth_unstable(used / 2).1;
        self.keep(median as f64);
        self.is_straight()
    }

    fn keep(&mut self, median: f64) {
        if self.kept == HISTORY {
            for index in 0..HISTORY / 2 {
                self.history[index] = self.history[2 * index];
            }
            self.kept /= 2;
            self.every *= 2;
        }
        self.history[self.kept] = median;
        self.kept += 1;
    }

    /// Whether the phases moved, and a straight line through them says it all: by the coefficient of determination.
    fn is_straight(&self) -> bool {
        let kept = &self.history[..self.kept];
        if kept.len() < HISTORY_LEAST {
            return false;
        }
        let n = kept.len() as f64;
        let (middle, mean) = ((n - 1.0) / 2.0, kept.iter().sum::<f64>() / n);
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (index, phase) in kept.iter().enumerate() {
            let (x, y) = (index as f64 - middle, phase - mean);
            (xx, xy, yy) = (xx + x * x, xy + x * y, yy + y * y);
        }
        let slope = xy / xx;
        let rate = slope / (self.window as f64 * f64::from(self.every));
        rate.abs() <= DRIFT_MAX && slope.abs() * (n - 1.0) >= self.moved && xy * xy >= STRAIGHT * xx * yy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(hz: u32) -> SampleRate {
        SampleRate::new(hz).unwrap()
    }

    fn noise(index: u64) -> f64 {
        let value = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((value ^ (value >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / f64::from(1 << 24)
    }

    /// After how many seconds of blocks of 128 frames drift is found, for arrivals `late(t)` seconds after they were due.
    fn found(seconds: u64, ppm: f64, late: impl Fn(f64, u64) -> f64) -> Option<u64> {
        let mut phases = Phases::new(rate(48_000));
        for block in 0..seconds * 375 {
            let time = block as f64 * 128.0 / 48_000.0;
            #[allow(clippy::cast_possible_truncation, reason = "frames of a test")]
            phases.add((48_000.0 * (time * ppm * 1e-6 - late(time, block))) as i64);
            if phases.advance(128) {
                return Some(block / 375);
            }
        }
        None
    }

    #[test]
    fn drift_is_found_and_a_slower_network_is_not_drift() {
        let jitter = |millis: f64| move |_: f64, block| noise(block) * millis * 1e-3;
        assert!((3..=5).contains(&found(60, 200.0, jitter(0.3)).unwrap()));
        assert!((8..=40).contains(&found(120, -20.0, jitter(0.3)).unwrap()));
        assert!(found(900, 2.0, jitter(1.0)).is_some());
        assert_eq!(found(3_600, 0.0, jitter(0.5)), None);
        assert_eq!(found(3_600, 0.0, jitter(10.0)), None);
        let step = |time: f64, block| noise(block) * if time > 100.0 { 10e-3 } else { 0.5e-3 };
        assert_eq!(found(600, 0.0, step), None);
        let busy =
            |time: f64, block| noise(block) * if (100.0..160.0).contains(&time) { 8e-3 } else { 0.1e-3 };
        assert_eq!(found(600, 0.0, busy), None);
    }

    #[test]
    fn the_ratio_keeps_the_phase_within_a_sample() {
        for (theirs, ours, ppm) in [(48_000, 48_000, 200.0), (44_100, 48_000, -350.0), (48_000, 44_100, 20.0)]
        {
            let mut drift = Drift::new(rate(theirs), rate(ours));
            let (their_hz, our_hz) = (f64::from(theirs) * (1.0 + ppm * 1e-6), f64::from(ours));
            let (mut sounding, mut sent, mut start) = (10_000.0, 0_u64, 0_u64);
            let (mut least, mut most) = (f64::MAX, f64::MIN);
            for callback in 0..120 * 400_u64 {
                let now = start as f64 / our_hz;
                // The sender's blocks of 128 that have arrived by now, up to 0.3 ms late.
                while (sent as f64 / their_hz) + noise(sent) * 0.3e-3 <= now {
                    let at = sent as f64 / their_hz + noise(sent) * 0.3e-3;
                    drift.observe_block(host(at), 10_000 + sent, 0);
                    sent += 128;
                }
                drift.observe_callback(host(now + noise(callback + 7) * 0.1e-3), 120);
                let ratio = drift.ratio(sounding);
                if now > 40.0 {
                    let behind = 10_000.0 + now * their_hz - sounding;
                    (least, most) = (least.min(behind), most.max(behind));
                }
                sounding += 120.0 * ratio;
                start += 120;
            }
            assert!(most - least < 1.0, "{theirs} to {ours}, {ppm} ppm: wanders {}", most - least);
            assert!((drift.ppm() - ppm).abs() < 0.5, "{}", drift.ppm());
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "times of a test")]
    fn host(seconds: f64) -> HostTime {
        HostTime::new(1_000_000_000) + Nanos::new((seconds * 1e9) as i64)
    }
}
