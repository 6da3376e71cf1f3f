//! A delay-locked loop: when a callback's first frame was due, and how fast the device's clock runs.
//!
//! The loop is that of F. Adriaensen, *Using a DLL to filter time*, Linux Audio Conference 2005, section 4: the error
//! `e` of the time predicted for a block corrects the time by `√2·ω·e` and the block's length by `ω²·e`, with
//! `ω = 2π·bandwidth·length`. It is critically damped in Butterworth's sense and of second order, so that a constant
//! rate error leaves no error of time. Here the length belongs to a frame, not to a block, for blocks may vary.
//!
//! So narrow a loop would take its time to lock. Until they fall below those of the loop, the gains are a Kalman
//! filter's for a clock of constant but unknown rate: it averages all that it saw, as a straight line fitted by least
//! squares would (R. E. Kalman, *A New Approach to Linear Filtering and Prediction Problems*, J. Basic Eng. 82, 1960).

use std::f64::consts::{SQRT_2, TAU};

use audiocloud_units::{HostTime, Nanos, Ppm, SampleRate};

const NANOS_PER_SECOND: f64 = 1e9;

/// The jitter taken for granted before any was seen, RMS, unless said otherwise: it only weighs the first second.
const JITTER_FIRST_NS: f64 = 500_000.0;

/// How far a device's rate is expected to be off, RMS, before any was seen, and after a stall.
const DRIFT_FIRST_PPM: f64 = 300.0;
const DRIFT_AGAIN_PPM: f64 = 10.0;

/// The rate stays within this of the nominal one, whatever is observed.
const DRIFT_MAX_PPM: f64 = 10_000.0;

/// A callback this much off is no jitter: less than the shortest block that a host may leave out. A greater jitter seen
/// widens it, by [`OUTLIER_JITTERS`]; as long as little was seen, 5 ms and a block do.
const OUTLIER_NS: f64 = 1e6;
const OUTLIER_EARLY_NS: f64 = 5e6;
const EARLY: u32 = 24;
const OUTLIER_JITTERS: f64 = 6.0;

/// A single late callback is passed over, for the next ones catch up with it. This many in a row, or one so late, are
/// frames that the device lost.
const OUTLIERS_IN_A_ROW: u32 = 4;
const STALL_NS: f64 = 200e6;
const CATCHES_UP: f64 = 0.8;
/// A late callback that comes within this part of its block's length after the one before is of a host that was kept
/// waiting and catches up, however many follow.
const HURRIES: f64 = 0.5;

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The first, or one without a frame since the last: taken down, without an error to learn from.
    Noted,
    /// The loop followed it.
    Followed,
    /// Too far off to be jitter; the loop ran on as it was.
    PassedOver,
    /// The device stood still or leapt: frames have other times from here on. The rate is kept.
    Leapt,
}

/// Follows the callbacks of one device.
///
/// Frames are counted from the first observation on, over every stall. Callbacks are late, never early: the filtered
/// time lies after the true one by the mean of that lateness, which no observer can tell from the device's own latency.
#[derive(Clone, Debug)]
pub struct DelayLockedLoop {
    nominal_ns: f64,
    /// Of the loop, in radians per second.
    bandwidth: f64,
    /// The last observation, and what to add for the filtered time. Apart, so that no precision is lost to uptime.
    observed: HostTime,
    correction_ns: f64,
    /// Of the frame at that time.
    position: u64,
    /// From there to the next observation.
    frames: u32,
    frame_ns: f64,
    covariance: Covariance,
    jitter_first_ns: f64,
    jitter_square: f64,
    followed: u32,
    outliers: u32,
    /// The error of the first of them.
    outlier_first_ns: f64,
    leaps: u64,
    leap_ns: f64,
    begun: bool,
}

impl DelayLockedLoop {
    /// For a device of this nominal rate. `bandwidth_hz` is the highest frequency of wander that is followed, from 0.001
    /// to 10: below 0.1 for a rate to resample by, 1 for time stamps that follow a bad clock.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn new(sample_rate: SampleRate, bandwidth_hz: f64) -> Self {
        let bandwidth_hz = if bandwidth_hz.is_finite() { bandwidth_hz.clamp(0.001, 10.0) } else { 0.1 };
        let nominal_ns = NANOS_PER_SECOND / f64::from(sample_rate.hz());
        Self {
            nominal_ns,
            bandwidth: TAU * bandwidth_hz,
            observed: HostTime::default(),
            correction_ns: 0.0,
            position: 0,
            frames: 0,
            frame_ns: nominal_ns,
            covariance: Covariance::new(JITTER_FIRST_NS, DRIFT_FIRST_PPM * 1e-6 * nominal_ns),
            jitter_first_ns: JITTER_FIRST_NS,
            jitter_square: 0.0,
            followed: 0,
            outliers: 0,
            outlier_first_ns: 0.0,
            leaps: 0,
            leap_ns: 0.0,
            begun: false,
        }
    }

    /// With so much jitter taken for granted before any was seen, RMS: the less, the sooner it locks.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn expecting(mut self, jitter: Nanos) -> Self {
        self.jitter_first_ns = jitter.get().max(1) as f64;
        self.reset();
        self
    }

    /// A callback began at `host_time`, with a block of so many frames.
    ///
    /// *Realtime-safe: yes*.
    pub fn observe(&mut self, host_time: HostTime, frames: u32) -> Observation {
        if !self.begun {
            (self.begun, self.observed, self.frames) = (true, host_time, frames);
            return Observation::Noted;
        }
        let elapsed = self.frames;
        if elapsed == 0 {
            self.frames = frames;
            return Observation::Noted;
        }
        let since_last = (host_time - self.observed).get() as f64;
        let error_ns = self.advance(host_time, frames);
        if error_ns.abs() > self.outlier_ns(elapsed) {
            if (0.0..STALL_NS).contains(&error_ns)
                && since_last < HURRIES * f64::from(elapsed) * self.frame_ns
            {
                return Observation::PassedOver;
            }
            // A host that was late and catches up comes nearer from callback to callback; a device that left some out
            // does not.
            if self.outliers == 0 || error_ns.abs() < CATCHES_UP * self.outlier_first_ns.abs() {
                (self.outliers, self.outlier_first_ns) = (0, error_ns);
            }
            self.outliers += 1;
            if self.outliers < OUTLIERS_IN_A_ROW && error_ns.abs() < STALL_NS {
                return Observation::PassedOver;
            }
            self.leap();
            return Observation::Leapt;
        }
        self.outliers = 0;
        self.follow(error_ns, f64::from(elapsed));
        Observation::Followed
    }

    /// The same for what may come out of order or not at all: the frame at `position`, counted from the first observed one,
    /// was seen at `host_time`. What is not beyond the last one is passed over.
    ///
    /// *Realtime-safe: yes*.
    pub fn observe_at(&mut self, host_time: HostTime, position: u64) -> Observation {
        if self.begun {
            let Some(elapsed) = position.checked_sub(self.position).filter(|elapsed| *elapsed > 0) else {
                return Observation::PassedOver;
            };
            self.frames = u32::try_from(elapsed).unwrap_or(u32::MAX);
        }
        self.observe(host_time, 0)
    }

    /// Goes to the next block as predicted, and says how much later than that it was observed.
    fn advance(&mut self, host_time: HostTime, frames: u32) -> f64 {
        let elapsed = f64::from(self.frames);
        let since_last = (self.observed - host_time).get() as f64;
        self.correction_ns += since_last + elapsed * self.frame_ns;
        self.position = self.position.saturating_add(u64::from(self.frames));
        self.covariance.advance(elapsed);
        (self.observed, self.frames) = (host_time, frames);
        -self.correction_ns
    }

    fn follow(&mut self, error_ns: f64, elapsed: f64) {
        // Adriaensen's ω, for this block. Above 1/2 the loop, made for short blocks, would ring.
        let omega = (self.bandwidth * elapsed * self.nominal_ns / NANOS_PER_SECOND).min(0.5);
        let (time_gain, length_gain) = self.covariance.gains();
        self.correction_ns += time_gain.max(SQRT_2 * omega) * error_ns;
        let length = self.frame_ns + length_gain.max(omega * omega / elapsed) * error_ns;
        let room = DRIFT_MAX_PPM * 1e-6 * self.nominal_ns;
        self.frame_ns = length.clamp(self.nominal_ns - room, self.nominal_ns + room);

        self.followed = self.followed.saturating_add(1);
        let weight = (1.0 / f64::from(self.followed)).max(omega);
        self.jitter_square += weight * (error_ns * error_ns - self.jitter_square);
    }

    fn leap(&mut self) {
        self.leap_ns = -self.correction_ns;
        self.correction_ns = 0.0;
        self.outliers = 0;
        self.leaps = self.leaps.saturating_add(1);
        // Early on the rate is hardly known: then keep the doubt, too.
        let drift_ns = self.covariance.length_deviation().max(DRIFT_AGAIN_PPM * 1e-6 * self.nominal_ns);
        self.covariance = Covariance::new(self.jitter_first_ns, drift_ns);
    }

    fn outlier_ns(&self, frames: u32) -> f64 {
        let jitter = OUTLIER_JITTERS * self.jitter_square.sqrt();
        if self.followed < EARLY {
            OUTLIER_EARLY_NS.max(jitter) + f64::from(frames) * self.nominal_ns
        } else {
            OUTLIER_NS.max(jitter)
        }
    }

    /// The frame that the last observed block began with: frames since the first observation.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// When that frame was due: the last observed time without its jitter.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn time(&self) -> HostTime {
        self.observed + nanos(self.correction_ns)
    }

    /// The device's rate on this machine's clock, in Hz.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn rate_hz(&self) -> f64 {
        NANOS_PER_SECOND / self.frame_ns
    }

    /// How much faster than its nominal rate the device runs.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn drift(&self) -> Ppm {
        Ppm::new((self.nominal_ns / self.frame_ns - 1.0) * 1e6)
    }

    /// How far callbacks are from where they were predicted, RMS, without those passed over.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn jitter(&self) -> Nanos {
        nanos(self.jitter_square.sqrt())
    }

    /// How often frames got other times: stalls and xruns.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn leaps(&self) -> u64 {
        self.leaps
    }

    /// How much later frames were due after the last leap than before; earlier below 0.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn last_leap(&self) -> Nanos {
        nanos(self.leap_ns)
    }

    /// The frame, and the part of one, that is due at `time`; before the first one less than 0.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn position_at(&self, time: HostTime) -> f64 {
        let since_ns = (time - self.observed).get() as f64 - self.correction_ns;
        self.position as f64 + since_ns / self.frame_ns
    }

    /// When the frame at this position is due, to the nanosecond.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn time_at(&self, position: f64) -> HostTime {
        self.observed + nanos(self.correction_ns + (position - self.position as f64) * self.frame_ns)
    }

    /// Frames are known to be due so much later from here on: the device lost some. The rate is kept.
    ///
    /// *Realtime-safe: yes*.
    pub fn shift(&mut self, later: Nanos) {
        // What was predicted is off by that much, which is what a leap makes good.
        let before = self.correction_ns;
        self.correction_ns = -(later.get() as f64);
        self.leap();
        self.correction_ns = before + later.get() as f64;
    }

    /// As new.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        self.begun = false;
        (self.correction_ns, self.position, self.frames, self.frame_ns) = (0.0, 0, 0, self.nominal_ns);
        self.covariance = Covariance::new(self.jitter_first_ns, DRIFT_FIRST_PPM * 1e-6 * self.nominal_ns);
        (self.jitter_square, self.followed, self.outliers, self.leaps) = (0.0, 0, 0, 0);
    }
}

/// What the Kalman filter does not know yet: variances of a frame's time and length, in ns², and of both together.
#[derive(Clone, Debug)]
struct Covariance {
    jitter: f64,
    time: f64,
    both: f64,
    length: f64,
}

impl Covariance {
    /// After one observation with this jitter, and a length known this well.
    fn new(jitter_ns: f64, length_ns: f64) -> Self {
        let jitter = jitter_ns * jitter_ns;
        Self { jitter, time: jitter, both: 0.0, length: length_ns * length_ns }
    }

    /// So many frames later the time is known less, by what is not known of a frame's length.
    fn advance(&mut self, frames: f64) {
        self.time += frames * (2.0 * self.both + frames * self.length);
        self.both += frames * self.length;
    }

    /// How much of the next error is to be believed of the time, and of the length. An observation is used up by it.
    fn gains(&mut self) -> (f64, f64) {
        let total = self.time + self.jitter;
        let (time, length) = (self.time / total, self.both / total);
        self.length = (self.length - length * self.both).max(0.0);
        self.both *= 1.0 - time;
        self.time *= 1.0 - time;
        (time, length)
    }

    fn length_deviation(&self) -> f64 {
        self.length.sqrt()
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "`as` saturates at 292 years, and takes what is no number for 0"
)]
fn nanos(value: f64) -> Nanos {
    Nanos::new(value.round_ties_even() as i64)
}

#[cfg(test)]
mod tests;
