//! Envelope followers.

use audiocloud_units::SampleRate;

/// What of the signal is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Detector {
    /// Its magnitude.
    #[default]
    Peak,
    /// Its power, whose square root is given out. The times are those of the power.
    Rms,
}

/// How attack and release share the envelope.
///
/// The two smooth detectors of D. Giannoulis, M. Massberg and J. D. Reiss, *Digital Dynamic Range Compressor Design: A
/// Tutorial and Analysis*, J. Audio Eng. Soc. 60(6), 2012, section 2.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Smoothing {
    /// Attack while the signal is above the envelope, release while it is below: both times are exact. A tone's envelope
    /// settles below its peak, the more so the longer the attack is in comparison to the release.
    #[default]
    Branching,
    /// Release first, then the attack smooths what is left: a tone's envelope comes near its peak, and the attack's time
    /// adds to the release's.
    Decoupled,
}

/// The times of a follower. A time constant is that to go 1 − 1/e (63%) of the way after a step; from 10% to 90%, as
/// others count, takes 2.2 times as long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub detector: Detector,
    pub smoothing: Smoothing,
    /// 0 follows at once.
    pub attack_ms: f64,
    /// For how long the envelope stays at a peak before it is released.
    pub hold_ms: f64,
    /// 0 lets go at once.
    pub release_ms: f64,
}

impl Default for Settings {
    /// A peak follower of 5 ms and 100 ms.
    fn default() -> Self {
        Self {
            detector: Detector::Peak,
            smoothing: Smoothing::Branching,
            attack_ms: 5.0,
            hold_ms: 0.0,
            release_ms: 100.0,
        }
    }
}

/// An envelope follower for one channel.
///
/// The envelope is kept in double precision, for in single precision one of seconds would stop short of its target by
/// more than a hundredth of a dB. A sample that is not finite counts as silence.
#[derive(Clone, Debug)]
pub struct Follower {
    rate_hz: f64,
    detector: Detector,
    smoothing: Smoothing,
    /// How much of the way is left after a frame.
    attack: f64,
    release: f64,
    hold_frames: u32,
    held_frames: u32,
    /// Of [`Smoothing::Decoupled`]: released, not yet smoothed by the attack.
    released: f64,
    /// In amplitude for [`Detector::Peak`], in power for [`Detector::Rms`].
    envelope: f64,
}

impl Follower {
    /// At silence.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn new(sample_rate: SampleRate, settings: Settings) -> Self {
        let mut follower = Self {
            rate_hz: f64::from(sample_rate.hz()),
            detector: settings.detector,
            smoothing: settings.smoothing,
            attack: 0.0,
            release: 0.0,
            hold_frames: 0,
            held_frames: 0,
            released: 0.0,
            envelope: 0.0,
        };
        follower.set(settings);
        follower
    }

    /// Takes other settings from the next sample on. The envelope goes on where it is; but another detector, whose
    /// envelope is of another kind, starts at silence. Times below zero, or no numbers, are zero.
    ///
    /// *Realtime-safe: yes*.
    pub fn set(&mut self, settings: Settings) {
        if settings.detector != self.detector {
            self.reset();
        }
        if settings.smoothing != self.smoothing {
            self.released = self.envelope;
        }
        self.detector = settings.detector;
        self.smoothing = settings.smoothing;
        self.attack = remainder(settings.attack_ms, self.rate_hz);
        self.release = remainder(settings.release_ms, self.rate_hz);
        self.hold_frames = frames(settings.hold_ms, self.rate_hz);
        self.held_frames = self.held_frames.min(self.hold_frames);
    }

    /// Back to silence.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        self.held_frames = 0;
        self.released = 0.0;
        self.envelope = 0.0;
    }

    /// The envelope at the next sample of the signal, linear, at least 0.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn follow(&mut self, sample: f32) -> f32 {
        let sample = if sample.is_finite() { f64::from(sample.abs()) } else { 0.0 };
        match self.detector {
            Detector::Peak => single(self.smooth(sample)),
            Detector::Rms => single(self.smooth(sample * sample).sqrt()),
        }
    }

    /// Fills `envelope` with that of `signal`, as far as the shorter of them reaches.
    ///
    /// *Realtime-safe: yes*.
    pub fn process(&mut self, signal: &[f32], envelope: &mut [f32]) {
        for (envelope, &sample) in envelope.iter_mut().zip(signal) {
            *envelope = self.follow(sample);
        }
    }

    fn smooth(&mut self, level: f64) -> f64 {
        self.envelope = match self.smoothing {
            Smoothing::Branching => self.step(self.envelope, level, self.attack),
            Smoothing::Decoupled => {
                self.released = self.step(self.released, level, 0.0);
                towards(self.envelope, self.released, self.attack)
            }
        };
        self.envelope
    }

    /// Up to `level` with this attack; or hold; or down to it with the release.
    fn step(&mut self, from: f64, level: f64, attack: f64) -> f64 {
        if level >= from {
            self.held_frames = self.hold_frames;
            towards(from, level, attack)
        } else if self.held_frames > 0 {
            self.held_frames -= 1;
            from
        } else {
            towards(from, level, self.release)
        }
    }
}

/// One frame on the way from `from` to `to`, with `remainder` of it left.
fn towards(from: f64, to: f64, remainder: f64) -> f64 {
    to + remainder * (from - to)
}

/// What is left of the way after a frame, with a time constant: e^(−1/τ), τ in frames.
fn remainder(time_ms: f64, rate_hz: f64) -> f64 {
    let time_frames = time_ms * rate_hz / 1000.0;
    if time_frames > 0.0 { libm::exp(-1.0 / time_frames) } else { 0.0 }
}

fn frames(time_ms: f64, rate_hz: f64) -> u32 {
    let frames = libm::round(time_ms * rate_hz / 1000.0);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and makes what is not a number zero"
    )]
    let frames = frames as u32;
    frames
}

#[allow(clippy::cast_possible_truncation, reason = "a magnitude that came from single precision")]
fn single(envelope: f64) -> f32 {
    envelope as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE_HZ: f64 = 48_000.0;

    fn follower(settings: Settings) -> Follower {
        Follower::new(SampleRate::new(48_000).unwrap(), settings)
    }

    /// The envelope of ones for `up` frames, then of zeros for `down` frames.
    fn step_response(settings: Settings, up: usize, down: usize) -> Vec<f32> {
        let mut signal = vec![1.0; up];
        signal.resize(up + down, 0.0);
        let mut envelope = vec![f32::NAN; up + down];
        follower(settings).process(&signal, &mut envelope);
        envelope
    }

    /// e^(−n/τ)
    fn decay(frames: usize, time_ms: f64) -> f64 {
        (-(frames as f64) * 1000.0 / (RATE_HZ * time_ms)).exp()
    }

    fn assert_near(found: f32, expected: f64, frame: usize) {
        assert!((f64::from(found) - expected).abs() < 1e-6, "frame {frame}: {found} for {expected}");
    }

    #[test]
    fn branching_steps_are_exponential_up_and_down() {
        for detector in [Detector::Peak, Detector::Rms] {
            let settings = Settings { detector, attack_ms: 2.0, release_ms: 7.0, ..Settings::default() };
            let envelope = step_response(settings, 4800, 4800);
            let of_power = |power: f64| if detector == Detector::Rms { power.sqrt() } else { power };
            for (frame, &found) in envelope[..4800].iter().enumerate() {
                assert_near(found, of_power(1.0 - decay(frame + 1, 2.0)), frame);
            }
            for (frame, &found) in envelope[4800..].iter().enumerate() {
                assert_near(found, of_power(decay(frame + 1, 7.0)), frame);
            }
            // 63% after 2 ms, which are 96 frames.
            assert_near(envelope[95], of_power(1.0 - (-1.0_f64).exp()), 95);
        }
    }

    #[test]
    fn decoupled_releases_through_both_time_constants() {
        let settings = Settings {
            smoothing: Smoothing::Decoupled,
            attack_ms: 2.0,
            release_ms: 7.0,
            ..Settings::default()
        };
        let envelope = step_response(settings, 4800, 4800);
        for (frame, &found) in envelope[..4800].iter().enumerate() {
            assert_near(found, 1.0 - decay(frame + 1, 2.0), frame);
        }
        // Two poles in a row: yₙ = a·yₙ₋₁ + (1 − a)·rⁿ from y₀ = 1, solved.
        let (a, r) = (decay(1, 2.0), decay(1, 7.0));
        let weight = (1.0 - a) * r / (r - a);
        for (frame, &found) in envelope[4800..].iter().enumerate() {
            let expected = weight * decay(frame + 1, 7.0) + (1.0 - weight) * decay(frame + 1, 2.0);
            assert_near(found, expected, frame);
        }
    }

    #[test]
    fn hold_delays_the_release() {
        for smoothing in [Smoothing::Branching, Smoothing::Decoupled] {
            let settings =
                Settings { smoothing, attack_ms: 0.0, hold_ms: 10.0, release_ms: 5.0, ..Settings::default() };
            let envelope = step_response(settings, 10, 4800);
            for (frame, &found) in envelope.iter().enumerate() {
                let expected = if frame < 10 + 480 { 1.0 } else { decay(frame - 489, 5.0) };
                assert_near(found, expected, frame);
            }
        }
    }

    #[test]
    fn zero_times_follow_at_once() {
        let settings = Settings { attack_ms: 0.0, release_ms: 0.0, ..Settings::default() };
        let mut envelope = [f32::NAN; 4];
        follower(settings).process(&[0.5, -0.25, 0.0, -1.0], &mut envelope);
        assert_eq!(envelope, [0.5, 0.25, 0.0, 1.0]);
        let settings =
            Settings { attack_ms: -1.0, hold_ms: f64::NAN, release_ms: f64::NAN, ..Settings::default() };
        follower(settings).process(&[0.5, -0.25, 0.0, -1.0], &mut envelope);
        assert_eq!(envelope, [0.5, 0.25, 0.0, 1.0]);
    }

    #[test]
    fn rms_of_a_sine_is_3_db_below_its_peak() {
        let settings =
            Settings { detector: Detector::Rms, attack_ms: 50.0, release_ms: 50.0, ..Settings::default() };
        let mut follower = follower(settings);
        let mut last = 0.0;
        for frame in 0..48_000 {
            let sample = (std::f64::consts::TAU * 1000.0 * f64::from(frame) / RATE_HZ).sin();
            last = follower.follow(single(sample));
        }
        let level_db = 20.0 * last.log10();
        assert!((level_db + 3.01).abs() < 0.02, "{level_db} dB");
    }

    #[test]
    fn a_long_release_arrives() {
        // In single precision a release of 10 s at 192 kHz would stop 0.06 short of this, where its steps round to nothing.
        let settings = Settings { attack_ms: 0.0, release_ms: 10_000.0, ..Settings::default() };
        let mut follower = Follower::new(SampleRate::new(192_000).unwrap(), settings);
        let _first = follower.follow(1.0);
        let mut last = 0.0;
        for _ in 0..192_000 * 20 {
            last = follower.follow(0.9);
        }
        assert_near(last, 0.9 + 0.1 * (-2.0_f64).exp(), 192_000 * 20);
    }

    #[test]
    fn what_is_not_finite_is_silence() {
        let mut envelope = [f32::NAN; 5];
        let mut follower = follower(Settings::default());
        follower.process(&[1.0, f32::NAN, f32::INFINITY, -1.0, f32::MAX], &mut envelope);
        assert!(envelope.iter().all(|value| value.is_finite()), "{envelope:?}");
        follower.reset();
        assert_eq!(follower.follow(0.0), 0.0);
    }

    proptest! {
        #[test]
        fn the_same_in_any_cut_to_the_bit(
            rms in any::<bool>(), decoupled in any::<bool>(), hold_ms in 0.0..1.0_f64,
            signal in prop::collection::vec(-1.0..1.0_f32, 0..500), cuts in prop::collection::vec(0..60_usize, 0..12),
        ) {
            let settings = Settings {
                detector: if rms { Detector::Rms } else { Detector::Peak },
                smoothing: if decoupled { Smoothing::Decoupled } else { Smoothing::Branching },
                attack_ms: 0.1,
                hold_ms,
                release_ms: 1.0,
            };
            let mut whole = vec![f32::NAN; signal.len()];
            follower(settings).process(&signal, &mut whole);
            let mut cut = follower(settings);
            let mut rest = signal.as_slice();
            let mut found = Vec::new();
            for count in cuts.into_iter().chain([usize::MAX]) {
                let (part, after) = rest.split_at(count.min(rest.len()));
                rest = after;
                let mut envelope = vec![f32::NAN; part.len()];
                cut.process(part, &mut envelope);
                found.extend(envelope);
            }
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&whole), bits(&found));
        }
    }
}
