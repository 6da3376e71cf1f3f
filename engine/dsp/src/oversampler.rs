//! Oversampling by 2, 4 or 8, for what makes new frequencies: distortion, clipping, modulation.
//!
//! Each doubling is a half-band filter, every second tap of which is zero: P. P. Vaidyanathan and T. Q. Nguyen, *A trick
//! for the design of FIR half-band filters*, IEEE Trans. Circuits and Systems 34(3), 1987, for the property; the design
//! here is by Kaiser's window. The tap in the middle is a delay, the others run at the lower rate (polyphase).

use crate::convolution::direct;
use crate::resampler::kaiser::{LowPass, width_times_length};

/// What each doubling is designed for, so that images and aliases are 104 dB down: Kaiser's formulas are for long
/// filters, and the short ones of the second and third doubling miss by a few dB.
const ATTENUATION_DB: [f64; 3] = [105.0, 112.0, 112.0];
/// The end of the pass band in cycles per frame of the base rate: 20 kHz at 44.1 kHz.
const PASS_EDGE: f64 = 20.0 / 44.1;

/// How many times as many samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    Two,
    Four,
    Eight,
}

impl Factor {
    /// As a number. *Realtime-safe: yes.*
    #[must_use]
    pub const fn get(self) -> usize {
        1 << self.doublings()
    }

    const fn doublings(self) -> usize {
        match self {
            Self::Two => 1,
            Self::Four => 2,
            Self::Eight => 3,
        }
    }
}

/// One channel, up and down again, with any process between.
///
/// The pass band reaches to 0.4535 of the base rate (20 kHz at 44.1 kHz) with a ripple of less than 0.001 dB. Images
/// and aliases of what lies in it are more than 100 dB down; what lies between it and half the base rate is attenuated
/// on the way, and its images reach down to 0.5465 of the base rate.
#[derive(Clone, Debug)]
pub struct Oversampler {
    stages: Box<[Stage]>,
    block_max: usize,
    latency_frames: usize,
}

impl Oversampler {
    /// An oversampler at rest, which handles up to `block_max` frames at a time: longer blocks in pieces.
    ///
    /// *Realtime-safe: no*, it allocates and designs its filters.
    #[must_use]
    pub fn new(factor: Factor, block_max: usize) -> Self {
        let block_max = block_max.max(1);
        let stages: Box<[Stage]> = (0..factor.doublings()).map(|k| Stage::new(k, block_max << k)).collect();
        let latency_frames = stages.iter().enumerate().map(|(k, stage)| stage.latency_frames() >> k).sum();
        Self { stages, block_max, latency_frames }
    }

    /// How late the output is, in whole frames of the base rate. *Realtime-safe: yes.*
    #[must_use]
    pub fn latency_frames(&self) -> usize {
        self.latency_frames
    }

    /// Back to rest. *Realtime-safe: yes.*
    pub fn reset(&mut self) {
        for stage in &mut self.stages {
            stage.reset();
        }
    }

    /// Processes in place: `at_high_rate` is given each piece of the signal with `factor` times as many samples, in
    /// order, and changes them in place. *Realtime-safe: yes*, if `at_high_rate` is.
    pub fn process(&mut self, samples: &mut [f32], mut at_high_rate: impl FnMut(&mut [f32])) {
        for piece in samples.chunks_mut(self.block_max) {
            for k in 0..self.stages.len() {
                let (lower, stage) = self.lower_and_stage(k, piece);
                stage.up(lower);
            }
            let frames = piece.len() << self.stages.len();
            if let Some(last) = self.stages.last_mut() {
                at_high_rate(&mut last.upper[..frames]);
            }
            for k in (0..self.stages.len()).rev() {
                let (lower, stage) = self.lower_and_stage(k, piece);
                stage.down(lower);
            }
        }
    }

    /// The stage `k`, and the signal at the lower of its rates: the piece itself, or what the stage below is above.
    fn lower_and_stage<'a>(&'a mut self, k: usize, piece: &'a mut [f32]) -> (&'a mut [f32], &'a mut Stage) {
        let frames = piece.len() << k;
        let (below, above) = self.stages.split_at_mut(k);
        let lower = below.last_mut().map_or(piece, |stage| &mut stage.upper[..frames]);
        (lower, &mut above[0])
    }
}

/// One doubling and its reverse.
///
/// The half-band filter h has 4m + 3 taps, the middle one `h[2m+1]` = ½. Going up, even samples are filtered by twice
/// every second tap and odd samples are the input, m frames ago. Going down, even samples meet the same taps, and half
/// of the odd sample of m + 1 frames ago is added. Together that takes 2m + 1 frames of the lower rate.
#[derive(Clone, Debug)]
struct Stage {
    /// `h[0]`, `h[2]` … `h[4m+2]`: symmetrical, so that they need no reversal; and their doubles.
    taps: Box<[f32]>,
    taps_doubled: Box<[f32]>,
    /// Frames of delay that make the latency whole at the base rate.
    padding: usize,
    /// Input of the way up; even and odd samples of the way down: each with what the filter needs of the past in front.
    input: Box<[f32]>,
    even: Box<[f32]>,
    odd: Box<[f32]>,
    filtered: Box<[f32]>,
    upper: Box<[f32]>,
}

impl Stage {
    /// The doubling from 2ᵏ times the base rate, for blocks of up to `lower_max` frames.
    fn new(k: usize, lower_max: usize) -> Self {
        let taps = half_band(k);
        let rate = 1 << k;
        let padding = (rate - (taps.len() - 1) % rate) % rate;
        let buffer = |past: usize| vec![0.0; past + lower_max].into_boxed_slice();
        Self {
            input: buffer(taps.len() - 1),
            even: buffer(taps.len() - 1 + padding),
            odd: buffer(taps.len() - 1 + padding),
            filtered: buffer(0),
            upper: buffer(lower_max),
            taps_doubled: taps.iter().map(|tap| narrow(2.0 * tap)).collect(),
            taps: taps.iter().map(|tap| narrow(*tap)).collect(),
            padding,
        }
    }

    /// Up and down together, at the lower rate.
    fn latency_frames(&self) -> usize {
        self.taps.len() - 1 + self.padding
    }

    fn reset(&mut self) {
        self.input.fill(0.0);
        self.even.fill(0.0);
        self.odd.fill(0.0);
    }

    /// From `lower` to `self.upper`.
    fn up(&mut self, lower: &[f32]) {
        let frames = lower.len();
        let past = self.taps.len() - 1;
        let window = &mut self.input[..past + frames];
        window[past..].copy_from_slice(lower);
        let filtered = &mut self.filtered[..frames];
        direct::filter(&self.taps_doubled, window, filtered);
        // m frames before the present are m + 1 after the window's beginning.
        let delayed = &window[self.taps.len() / 2..];
        for ((pair, even), odd) in self.upper.as_chunks_mut().0.iter_mut().zip(filtered).zip(delayed) {
            *pair = [*even, *odd];
        }
        window.copy_within(frames.., 0);
    }

    /// From `self.upper` to `lower`.
    fn down(&mut self, lower: &mut [f32]) {
        let frames = lower.len();
        let past = self.taps.len() - 1 + self.padding;
        let even_window = &mut self.even[..past + frames];
        let odd_window = &mut self.odd[..past + frames];
        let news = even_window[past..].iter_mut().zip(&mut odd_window[past..]);
        for ((even, odd), pair) in news.zip(self.upper.as_chunks().0) {
            [*even, *odd] = *pair;
        }
        // Both windows begin `padding` frames earlier than they would have to, which is the delay.
        direct::filter(&self.taps, even_window, lower);
        for (sample, odd) in lower.iter_mut().zip(&odd_window[self.taps.len() / 2 - 1..]) {
            *sample += 0.5 * *odd;
        }
        even_window.copy_within(frames.., 0);
        odd_window.copy_within(frames.., 0);
    }
}

/// Every second tap, the first among them, of the filter that doubles 2ᵏ times the base rate.
fn half_band(k: usize) -> Vec<f64> {
    let attenuation_db = ATTENUATION_DB[k];
    let upper_rate = (2 << k) as f64;
    // Above the first doubling there is also what its transition let through.
    let pass_edge = if k == 0 { PASS_EDGE } else { 1.0 - PASS_EDGE };
    let width = 0.5 - 2.0 * pass_edge / upper_rate;
    let length = width_times_length(attenuation_db) / width + 1.0;
    // The first 2m + 2 with 4m + 3 of at least that length.
    let count = (1..).map(|m| 2 * m + 2).find(|count| f64::from(2 * count - 1) >= length).unwrap_or(u16::MAX);
    let low_pass = LowPass::new(0.25, f64::from(count), attenuation_db);
    let taps: Vec<f64> = (0..count).map(|k| low_pass.at(f64::from(2 * k + 1) - f64::from(count))).collect();
    // Even samples are to have the same gain as odd ones, exactly: half.
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|tap| 0.5 * tap / sum).collect()
}

#[allow(clippy::cast_possible_truncation, reason = "rounding to single precision is what it is for")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    const FACTORS: [Factor; 3] = [Factor::Two, Factor::Four, Factor::Eight];

    fn sine(cycles_per_frame: f64, frames: usize) -> Vec<f32> {
        (0..frames).map(|n| narrow((TAU * (cycles_per_frame * n as f64).fract()).sin())).collect()
    }

    /// The amplitude of a signal's part at a frequency, in dB: through a window of Blackman and Harris, whose side lobes
    /// are more than 92 dB down (Proc. IEEE 66(1), 1978), squared for twice as much.
    fn level_db(signal: &[f32], cycles_per_frame: f64) -> f64 {
        let (mut re, mut im, mut weights) = (0.0, 0.0, 0.0);
        for (n, x) in signal.iter().enumerate() {
            let angle = TAU * (n as f64 + 0.5) / signal.len() as f64;
            let weight = 0.35875 - 0.48829 * angle.cos() + 0.14128 * (2.0 * angle).cos()
                - 0.01168 * (3.0 * angle).cos();
            let weight = weight * weight;
            let (sin, cos) = (TAU * (cycles_per_frame * n as f64).fract()).sin_cos();
            weights += weight / 2.0;
            re += weight * f64::from(*x) * cos;
            im += weight * f64::from(*x) * sin;
        }
        20.0 * (re.hypot(im) / weights).log10()
    }

    #[test]
    fn the_latency_is_whole_and_the_pass_band_flat() {
        for (factor, latency_frames) in FACTORS.into_iter().zip([73, 82, 85]) {
            for frequency_hz in [20.0, 1_000.0, 10_000.0, 15_000.0, 20_000.0] {
                let input = sine(frequency_hz / 44_100.0, 2_000);
                let mut output = input.clone();
                let mut oversampler = Oversampler::new(factor, 256);
                assert_eq!(oversampler.latency_frames(), latency_frames);
                oversampler.process(&mut output, |_| ());
                // Once the filters are full, not only the amplitude but each sample is the one that went in.
                let worst = input[100..]
                    .iter()
                    .zip(&output[100 + latency_frames..])
                    .map(|(a, b)| f64::from(a - b).abs())
                    .fold(0.0, f64::max);
                let ripple_db = 20.0 * worst.ln_1p() / f64::ln(10.0);
                assert!(ripple_db < 0.001, "{factor:?} at {frequency_hz} Hz: {ripple_db} dB");
            }
        }
    }

    #[test]
    fn images_are_down() {
        for factor in FACTORS {
            for frequency_hz in [1_000.0, 10_000.0, 19_900.0] {
                let mut oversampler = Oversampler::new(factor, 8_192);
                let mut high = Vec::new();
                oversampler
                    .process(&mut sine(frequency_hz / 44_100.0, 2_300), |samples| high = samples.to_vec());
                let high = &high[300 * factor.get()..];
                let rate_hz = 44_100.0 * factor.get() as f64;
                let direct = level_db(high, frequency_hz / rate_hz);
                assert!(direct.abs() < 0.001, "{factor:?} at {frequency_hz} Hz: {direct} dB");
                for multiple in 1..=factor.get() / 2 {
                    for image_hz in [-frequency_hz, frequency_hz].map(|f| 44_100.0 * multiple as f64 + f) {
                        let level = level_db(high, image_hz / rate_hz);
                        assert!(
                            level < -100.0,
                            "{factor:?}, {frequency_hz} Hz: {level:.1} dB at {image_hz} Hz"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn aliases_are_down() {
        for factor in FACTORS {
            let rate_hz = 44_100.0 * factor.get() as f64;
            for step in 0..16 {
                let tone_hz = 24_200.0 + (rate_hz / 2.0 - 24_200.0) * f64::from(step) / 15.0;
                let tone = sine(tone_hz / rate_hz + 1e-5, 1_000 * factor.get());
                let mut output = vec![0.0; 1_000];
                Oversampler::new(factor, 1_000)
                    .process(&mut output, |samples| samples.copy_from_slice(&tone));
                // The tone's beginning is a click, which is no alias.
                let peak = output[200..].iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
                let level = 20.0 * f64::from(peak).log10();
                // A tone that aliases to above 20 kHz may be between pass and stop band of a later stage.
                let alias_hz = (tone_hz + 22_050.0).rem_euclid(44_100.0) - 22_050.0;
                assert!(
                    level < -100.0 || alias_hz.abs() > 20_000.0,
                    "{factor:?}, {tone_hz} Hz: {level:.1} dB"
                );
            }
        }
    }

    #[test]
    fn reset_forgets_even_what_is_not_a_number() {
        let mut oversampler = Oversampler::new(Factor::Eight, 64);
        oversampler.process(&mut [f32::NAN; 100], |_| ());
        oversampler.reset();
        let (mut output, mut expected) = (sine(0.01, 400), sine(0.01, 400));
        oversampler.process(&mut output, |_| ());
        Oversampler::new(Factor::Eight, 400).process(&mut expected, |_| ());
        assert!(output.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn no_cut_changes_a_bit(cuts in prop::collection::vec(0usize..90, 20), kind in 0usize..3) {
            let clip = |samples: &mut [f32]| samples.iter_mut().for_each(|x| *x = (2.0 * *x).clamp(-1.0, 1.0));
            let mut whole = sine(0.0371, cuts.iter().sum());
            let mut parts = whole.clone();
            Oversampler::new(FACTORS[kind], 4_096).process(&mut whole, clip);
            let mut oversampler = Oversampler::new(FACTORS[kind], 64);
            let mut rest = &mut parts[..];
            for cut in cuts {
                let (block, later) = rest.split_at_mut(cut);
                oversampler.process(block, clip);
                rest = later;
            }
            prop_assert!(whole.iter().zip(&parts).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
}
