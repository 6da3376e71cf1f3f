//! Peak meters for the editors.

use audiocloud_units::SampleRate;

/// Channels that a meter shows; further ones are played, but not shown.
pub const CHANNELS_MAX: usize = 8;

/// Samples that are compared at once.
const LANES: usize = 8;

/// Peak per channel, linear, that rises at once and falls by 20 dB in 1.7 s (as IEC 60268-10 type I meters do).
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    peaks: [f32; CHANNELS_MAX],
    /// Gain per frame while falling.
    fall: f32,
}

impl Meter {
    /// All silent.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn new(sample_rate: SampleRate) -> Self {
        let frames = 1.7 * f64::from(sample_rate.hz());
        let fall = 0.1_f64.powf(1.0 / frames);
        #[allow(clippy::cast_possible_truncation, reason = "a number just below one, rounded to f32")]
        let fall = fall as f32;
        Self { peaks: [0.0; CHANNELS_MAX], fall }
    }

    /// Lets all peaks fall for this many frames.
    ///
    /// *Realtime-safe: yes*.
    pub fn fall(&mut self, frames: usize) {
        let factor = self.fall.powi(i32::try_from(frames).unwrap_or(i32::MAX));
        for peak in &mut self.peaks {
            *peak *= factor;
        }
    }

    /// Raises a channel's peak to that of `samples`. What is not a number is not shown.
    ///
    /// *Realtime-safe: yes*.
    pub fn rise(&mut self, channel: usize, samples: &[f32]) {
        if let Some(peak) = self.peaks.get_mut(channel) {
            let (vectors, rest) = samples.as_chunks::<LANES>();
            let mut peaks = [*peak; LANES];
            for vector in vectors {
                for (peak, sample) in peaks.iter_mut().zip(vector) {
                    *peak = higher(*peak, sample.abs());
                }
            }
            *peak = peaks.into_iter().chain(rest.iter().map(|sample| sample.abs())).fold(*peak, higher);
        }
    }

    /// The peaks, linear, 1.0 being full scale.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub const fn peaks(&self) -> [f32; CHANNELS_MAX] {
        self.peaks
    }
}

/// The higher of both; the first, where the second is not a number. One instruction for a whole vector, which `f32::max` is
/// not: it asks whether either is a number.
fn higher(peak: f32, sample: f32) -> f32 {
    if sample > peak { sample } else { peak }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_highest_wherever_it_is() {
        for length in 1..20 {
            for place in 0..length {
                let mut samples = vec![0.25; length];
                samples[place] = -0.5;
                samples[(place + 1) % length] = if length > 1 { f32::NAN } else { -0.5 };
                let mut meter = Meter::new(SampleRate::new(48_000).unwrap());
                meter.rise(0, &samples);
                assert_eq!(meter.peaks()[0], 0.5, "{place} of {length}");
            }
        }
    }

    #[test]
    fn rises_at_once_and_falls_by_20_db_in_1_7_s() {
        let mut meter = Meter::new(SampleRate::new(48_000).unwrap());
        meter.rise(1, &[0.25, -0.5, f32::NAN, 0.1]);
        meter.rise(99, &[1.0]);
        assert_eq!(meter.peaks()[..3], [0.0, 0.5, 0.0]);
        for _ in 0..850 {
            meter.fall(96);
        }
        assert!((meter.peaks()[1] - 0.05).abs() < 0.001, "{:?}", meter.peaks());
    }
}
