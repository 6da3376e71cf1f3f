//! DC blocker.

/// A high-pass of first order, 6 dB per octave, that takes an offset out of a signal.
///
/// The one-pole filter of Vadim Zavalishin, *The Art of VA Filter Design*, chapter 3: what it calls the low-pass is the
/// offset, which is followed in double precision, because a single stops moving some 90 dB below the signal.
#[derive(Clone, Copy, Debug)]
pub struct DcBlocker {
    /// How much of the way to its input the integrator goes per half a sample.
    pace: f64,
    offset: f64,
}

impl DcBlocker {
    /// A filter that is 3 dB down at `cutoff_hz`, which is kept between 0 Hz (the offset stays) and 49 % of the sample
    /// rate.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn new(cutoff_hz: f64, sample_rate_hz: f64) -> Self {
        let mut blocker = Self { pace: 0.0, offset: 0.0 };
        blocker.tune(cutoff_hz, sample_rate_hz);
        blocker
    }

    /// Moves the cutoff, and forgets nothing.
    ///
    /// *Realtime-safe: yes*.
    pub fn tune(&mut self, cutoff_hz: f64, sample_rate_hz: f64) {
        let frequency = cutoff_hz / sample_rate_hz;
        let frequency = if frequency.is_finite() { frequency.clamp(0.0, 0.49) } else { 0.0 };
        let gain = libm::tan(std::f64::consts::PI * frequency);
        self.pace = gain / (1.0 + gain);
    }

    /// Filters `samples` in place.
    ///
    /// *Realtime-safe: yes*.
    pub fn process(&mut self, samples: &mut [f32]) {
        let Self { pace, mut offset } = *self;
        for sample in samples {
            let x = f64::from(*sample);
            let way = (x - offset) * pace;
            let present = offset + way;
            offset = present + way;
            *sample = single(x - present);
        }
        self.offset = offset;
    }

    /// Forgets the offset.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        self.offset = 0.0;
    }
}

#[allow(clippy::cast_possible_truncation, reason = "samples are singles")]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::biquad::tests::{decibels, noise};

    #[test]
    fn is_a_high_pass_of_first_order_through_the_bilinear_transform() {
        let rate = 48_000.0;
        for cutoff in [5.0, 20.0, 300.0] {
            let mut response = vec![0.0; 200_000];
            response[0] = 1.0;
            DcBlocker::new(cutoff, rate).process(&mut response);
            let warp = |hz: f64| (std::f64::consts::PI * hz / rate).tan();
            for frequency in [1.0, cutoff, 100.0, 1000.0, 20_000.0] {
                let angle = std::f64::consts::TAU * frequency / rate;
                let (mut re, mut im) = (0.0, 0.0);
                for (k, sample) in response.iter().enumerate() {
                    re += f64::from(*sample) * (angle * k as f64).cos();
                    im += f64::from(*sample) * (angle * k as f64).sin();
                }
                let ratio = warp(frequency) / warp(cutoff);
                let error_db = decibels(re.hypot(im)) - decibels(ratio / 1.0_f64.hypot(ratio));
                assert!(error_db.abs() < 0.001, "{cutoff} Hz at {frequency} Hz: {error_db} dB off");
            }
        }
    }

    #[test]
    fn an_offset_is_gone_below_what_a_single_can_show() {
        let mut samples = vec![1.0; 48_000];
        DcBlocker::new(10.0, 48_000.0).process(&mut samples);
        assert!(decibels(samples[47_999].into()) < -200.0);
    }

    #[test]
    fn a_cutoff_that_is_none_changes_nothing() {
        for cutoff_hz in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut samples = noise(100, 1);
            DcBlocker::new(cutoff_hz, 48_000.0).process(&mut samples);
            assert_eq!(samples, noise(100, 1));
        }
    }

    #[test]
    fn any_cut_gives_the_same_bits_and_a_reset_starts_afresh() {
        let mut blocker = DcBlocker::new(20.0, 48_000.0);
        let (mut whole, mut cut) = (noise(1000, 5), noise(1000, 5));
        blocker.process(&mut whole);
        blocker.reset();
        for block in cut.chunks_mut(37) {
            blocker.process(block);
        }
        assert!(whole.iter().zip(&cut).all(|(whole, cut)| whole.to_bits() == cut.to_bits()));
    }
}
