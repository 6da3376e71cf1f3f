//! Convolution with long impulse responses, in real time.
//!
//! The response is cut into partitions that grow along it (W. G. Gardner, *Efficient convolution without input–output
//! delay*, J. Audio Eng. Soc. 43(3), 1995). Partitions of one size are a section: a uniformly partitioned overlap-save
//! convolution with a delay line of spectra (F. Wefers, *Partitioned convolution algorithms for real-time
//! auralization*, RWTH Aachen, 2015, chapter 5). A section of partition size `n` answers `n` frames late by nature, and
//! so takes the part of the response that begins `n` frames in; what comes before the first section is filtered in the
//! time domain.
//!
//! Each section works at fixed positions of the sample count since reset, a little every few frames.

pub(crate) mod direct;

use crate::fft::RealFft;

/// A section adds up its products a few at a time, each so many frames. Divides every partition size.
const STEP_FRAMES: usize = 16;
/// Partitions of one section are so many times as long as those of the section before.
const GROWTH: usize = 8;
/// Blocks are processed in pieces of at most so many frames.
const PIECE_FRAMES: usize = 64;

/// How a response is cut, which is a matter of cost and latency alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The shortest partition, a power of two from 16 to 4096: longer ones cost less at a latency of one partition, and
    /// more without latency.
    pub partition_frames: usize,
    /// The longest partition: longer ones cost less on average, and more at once. Equal to `partition_frames`, all are
    /// of one size; from eight times that on they grow, where the response is long enough. At most 8192.
    pub partition_frames_max: usize,
    /// Filters the first partition in the time domain, so that there is no latency. Otherwise it is one partition.
    pub zero_latency: bool,
}

impl Default for Config {
    /// No latency, from 64 to 4096 frames.
    fn default() -> Self {
        Self { partition_frames: 64, partition_frames_max: 4096, zero_latency: true }
    }
}

/// One channel convolved with one impulse response.
#[derive(Clone, Debug)]
pub struct Convolver {
    head: Head,
    sections: Box<[Section]>,
    latency_frames: usize,
}

impl Convolver {
    /// A convolver at rest. Values of `config` are rounded up to powers of two and held within their ranges.
    ///
    /// *Realtime-safe: no*, it allocates and transforms the response.
    #[must_use]
    pub fn new(impulse_response: &[f32], config: Config) -> Self {
        let size = config.partition_frames.clamp(16, 4096).next_power_of_two();
        let size_max = config.partition_frames_max.clamp(size, 8192);
        let latency_frames = if config.zero_latency { 0 } else { size };
        let (head, mut rest) = impulse_response.split_at((size - latency_frames).min(impulse_response.len()));
        let mut sections = Vec::new();
        let mut size = size;
        while !rest.is_empty() {
            // As far as the next section's own lateness lets it take over, if that is worth its transforms.
            let (reach, next) = (size * (GROWTH - 1), size * GROWTH);
            let grows = next <= size_max && rest.len() >= reach + next * GROWTH;
            let covered = if grows { reach } else { rest.len() };
            let (part, later) = rest.split_at(covered);
            sections.push(Section::new(part, size));
            rest = later;
            size = next;
        }
        Self { head: Head::new(head), sections: sections.into_boxed_slice(), latency_frames }
    }

    /// How many frames late the output is. *Realtime-safe: yes.*
    #[must_use]
    pub fn latency_frames(&self) -> usize {
        self.latency_frames
    }

    /// Forgets all input. *Realtime-safe: yes*, in a time proportional to the longest partition.
    pub fn reset(&mut self) {
        self.head.reset();
        for section in &mut self.sections {
            section.reset();
        }
    }

    /// Convolves in place. *Realtime-safe: yes.* At most one partition of each section is transformed there and back at
    /// the same frame.
    pub fn process(&mut self, samples: &mut [f32]) {
        for piece in samples.chunks_mut(PIECE_FRAMES) {
            let mut memory = [0.0; PIECE_FRAMES];
            let input = &mut memory[..piece.len()];
            input.copy_from_slice(piece);
            self.head.process(input, piece);
            for section in &mut self.sections {
                section.process(input, piece);
            }
        }
    }
}

/// The start of a response, in the time domain.
#[derive(Clone, Debug)]
struct Head {
    /// Backwards in time.
    taps: Box<[f32]>,
    /// The input before the current piece, one frame less than there are taps, and the piece.
    window: Box<[f32]>,
}

impl Head {
    fn new(response: &[f32]) -> Self {
        let window = vec![0.0; response.len().saturating_sub(1) + PIECE_FRAMES].into_boxed_slice();
        Self { taps: response.iter().rev().copied().collect(), window }
    }

    fn reset(&mut self) {
        self.window.fill(0.0);
    }

    /// Overwrites `out`, which is as long as `input`.
    fn process(&mut self, input: &[f32], out: &mut [f32]) {
        let past = self.taps.len().saturating_sub(1);
        let used = past + input.len();
        self.window[past..used].copy_from_slice(input);
        direct::filter(&self.taps, &self.window[..used], out);
        self.window.copy_within(input.len()..used, 0);
    }
}

/// A stretch of the response in partitions of one size, answering that size late.
#[derive(Clone, Debug)]
struct Section {
    fft: RealFft,
    /// Of the response, the earliest first.
    partitions: Spectra,
    /// Of the input's two last blocks together, as they were at each of the last block boundaries: a ring.
    past: Spectra,
    newest: usize,
    /// How many of those there have been since reset.
    remembered: usize,
    /// What is already known of the next block's spectrum, in one row.
    sum: Spectra,
    /// How many partitions are in the sum, not counting the first.
    summed: usize,
    /// The last block of input and the current one.
    input: Box<[f32]>,
    /// The transform's own double block, the second of which is the current block's output.
    output: Box<[f32]>,
    /// Frames of the current block that are done.
    position: usize,
}

impl Section {
    fn new(response: &[f32], size: usize) -> Self {
        let mut fft = RealFft::new(2 * size);
        let count = response.len().div_ceil(size);
        let mut partitions = Spectra::new(count, size);
        let mut padded = vec![0.0; 2 * size];
        for (k, part) in response.chunks(size).enumerate() {
            padded.fill(0.0);
            padded[..part.len()].copy_from_slice(part);
            let (re, im) = partitions.row_mut(k);
            fft.forward(&padded, re, im);
        }
        Self {
            fft,
            partitions,
            past: Spectra::new(count, size),
            newest: 0,
            remembered: 0,
            sum: Spectra::new(1, size),
            summed: 0,
            input: vec![0.0; 2 * size].into_boxed_slice(),
            output: vec![0.0; 2 * size].into_boxed_slice(),
            position: 0,
        }
    }

    fn reset(&mut self) {
        // The ring of spectra is not cleared, which could take long: none of it counts as remembered.
        self.remembered = 0;
        self.sum.clear();
        self.summed = 0;
        self.input.fill(0.0);
        self.output.fill(0.0);
        self.position = 0;
    }

    fn size(&self) -> usize {
        self.partitions.bins
    }

    /// Adds to `out`, which is as long as `input`.
    fn process(&mut self, mut input: &[f32], mut out: &mut [f32]) {
        while !input.is_empty() {
            let frames = (STEP_FRAMES - self.position % STEP_FRAMES).min(input.len());
            let (now, later) = input.split_at(frames);
            let (out_now, out_later) = out.split_at_mut(frames);
            let start = self.size() + self.position;
            self.input[start..start + frames].copy_from_slice(now);
            for (out, tail) in out_now.iter_mut().zip(&self.output[start..start + frames]) {
                *out += *tail;
            }
            self.position += frames;
            if self.position.is_multiple_of(STEP_FRAMES) {
                self.step();
            }
            (input, out) = (later, out_later);
        }
    }

    /// All partitions but the first meet blocks that were known when the current one began: their products are spread
    /// over its steps.
    fn step(&mut self) {
        let steps = self.size() / STEP_FRAMES;
        let due = (self.partitions.rows - 1).div_ceil(steps);
        for _ in 0..due {
            // Partition k meets the spectrum k blocks before the one that the current block will yield.
            let k = self.summed + 1;
            if k < self.partitions.rows && k <= self.remembered {
                let row = (self.newest + self.past.rows + 1 - k) % self.past.rows;
                self.sum.add_product(self.past.row(row), self.partitions.row(k));
                self.summed = k;
            }
        }
        if self.position == self.size() {
            self.finish_block();
        }
    }

    fn finish_block(&mut self) {
        self.newest = (self.newest + 1) % self.past.rows;
        self.remembered = (self.remembered + 1).min(self.past.rows);
        let (re, im) = self.past.row_mut(self.newest);
        self.fft.forward(&self.input, re, im);
        self.sum.add_product(self.past.row(self.newest), self.partitions.row(0));
        let (re, im) = self.sum.row_mut(0);
        self.fft.inverse(re, im, &mut self.output);
        self.sum.clear();
        self.summed = 0;
        self.input.copy_within(self.partitions.bins.., 0);
        self.position = 0;
    }
}

/// Rows of spectra in the form of [`RealFft`].
#[derive(Clone, Debug)]
struct Spectra {
    re: Box<[f32]>,
    im: Box<[f32]>,
    rows: usize,
    bins: usize,
}

impl Spectra {
    fn new(rows: usize, bins: usize) -> Self {
        let zeros = || vec![0.0; rows * bins].into_boxed_slice();
        Self { re: zeros(), im: zeros(), rows, bins }
    }

    fn clear(&mut self) {
        self.re.fill(0.0);
        self.im.fill(0.0);
    }

    fn row(&self, row: usize) -> (&[f32], &[f32]) {
        let bins = row * self.bins..(row + 1) * self.bins;
        (&self.re[bins.clone()], &self.im[bins])
    }

    fn row_mut(&mut self, row: usize) -> (&mut [f32], &mut [f32]) {
        let bins = row * self.bins..(row + 1) * self.bins;
        (&mut self.re[bins.clone()], &mut self.im[bins])
    }

    /// Adds the product of two spectra to the first row.
    fn add_product(&mut self, a: (&[f32], &[f32]), b: (&[f32], &[f32])) {
        let bins = self.bins;
        let (re, im) = (&mut self.re[..bins], &mut self.im[..bins]);
        let (a_re, a_im, b_re, b_im) = (&a.0[..bins], &a.1[..bins], &b.0[..bins], &b.1[..bins]);
        // The two ends of the spectrum, which share the first bin, are real.
        let ends = (re[0] + a_re[0] * b_re[0], im[0] + a_im[0] * b_im[0]);
        for k in 0..bins {
            re[k] += a_re[k] * b_re[k] - a_im[k] * b_im[k];
            im[k] += a_re[k] * b_im[k] + a_im[k] * b_re[k];
        }
        (re[0], im[0]) = ends;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNIFORM: Config = Config { partition_frames: 64, partition_frames_max: 64, zero_latency: true };

    /// Reproducible noise in ±1.
    fn noise(frames: usize, seed: u16) -> Vec<f32> {
        let mut state = u32::from(seed) * 2 + 1;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from((state >> 16) as u16) / 32_768.0 - 1.0
        };
        (0..frames).map(|_| next()).collect()
    }

    /// Noise that decays by 60 dB over the response, like a room's.
    fn room(frames: usize) -> Vec<f32> {
        let decay = |k: usize| (-6.9 * k as f32 / frames as f32).exp();
        noise(frames, 5).iter().enumerate().map(|(k, x)| x * decay(k)).collect()
    }

    /// The definition, in double precision, at one frame.
    fn convolved(response: &[f32], signal: &[f32], n: usize) -> f64 {
        let past = signal[..=n].iter().rev();
        response.iter().zip(past).map(|(h, x)| f64::from(*h) * f64::from(*x)).sum()
    }

    /// Error over signal, in dB, at every `stride`th frame.
    fn error_db(response: &[f32], config: Config, frames: usize, stride: usize) -> f64 {
        let signal = noise(frames, 1);
        let mut convolver = Convolver::new(response, config);
        let mut output = signal.clone();
        convolver.process(&mut output);
        let (mut error, mut power) = (0.0, 0.0);
        for n in (0..frames - convolver.latency_frames()).step_by(stride) {
            let expected = convolved(response, &signal, n);
            error += (f64::from(output[n + convolver.latency_frames()]) - expected).powi(2);
            power += expected.powi(2);
        }
        10.0 * (error / power).log10()
    }

    #[test]
    fn it_is_convolution() {
        let growing = Config { partition_frames: 16, partition_frames_max: 1024, zero_latency: true };
        for config in [UNIFORM, Config::default(), growing] {
            for config in [config, Config { zero_latency: false, ..config }] {
                for frames in [1, 63, 64, 65, 500, 513, 3_000] {
                    let error = error_db(&room(frames), config, 6_000, 7);
                    assert!(error < -125.0, "{config:?}, {frames} frames: {error:.1} dB");
                }
            }
        }
    }

    #[test]
    fn a_long_response_is_as_exact() {
        let response = room(100_000);
        for config in [Config::default(), Config { partition_frames: 512, ..UNIFORM }] {
            let error = error_db(&response, config, 110_000, 2_111);
            assert!(error < -120.0, "{config:?}: {error:.1} dB");
        }
    }

    #[test]
    fn an_impulse_meets_each_tap_once() {
        let response: Vec<f32> = (1..=1500u16).map(f32::from).collect();
        for zero_latency in [true, false] {
            let mut convolver = Convolver::new(&response, Config { zero_latency, ..Config::default() });
            let latency = convolver.latency_frames();
            assert_eq!(latency, if zero_latency { 0 } else { 64 });
            let mut samples = vec![0.0; 1800];
            samples[0] = 1.0;
            convolver.process(&mut samples);
            for (k, sample) in samples.iter().enumerate() {
                let expected = k.checked_sub(latency).and_then(|k| response.get(k)).unwrap_or(&0.0);
                assert!((sample - expected).abs() < 1e-3, "frame {k}: {sample}, not {expected}");
            }
        }
    }

    #[test]
    fn no_response_is_silence() {
        for zero_latency in [true, false] {
            let mut samples = noise(200, 3);
            Convolver::new(&[], Config { zero_latency, ..UNIFORM }).process(&mut samples);
            assert!(samples.iter().all(|sample| *sample == 0.0));
        }
    }

    #[test]
    fn reset_forgets_even_what_is_not_a_number() {
        let mut convolver = Convolver::new(&room(2_000), Config::default());
        let mut fresh = convolver.clone();
        convolver.process(&mut noise(1_777, 8));
        convolver.process(&mut [f32::NAN; 777]);
        convolver.reset();
        let (mut output, mut expected) = (noise(5_000, 2), noise(5_000, 2));
        convolver.process(&mut output);
        fresh.process(&mut expected);
        assert!(output.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn no_cut_changes_a_bit(cuts in prop::collection::vec(0usize..200, 40), zero_latency: bool) {
            let config = Config { partition_frames: 32, partition_frames_max: 256, zero_latency };
            let signal = noise(cuts.iter().sum(), 4);
            let mut whole = signal.clone();
            Convolver::new(&room(3_000), config).process(&mut whole);
            let mut convolver = Convolver::new(&room(3_000), config);
            let mut parts = signal;
            let mut rest = &mut parts[..];
            for cut in cuts {
                let (block, later) = rest.split_at_mut(cut);
                convolver.process(block);
                rest = later;
            }
            prop_assert!(whole.iter().zip(&parts).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
}
