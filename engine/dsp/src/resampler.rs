//! Resampling by any ratio, which may change at any frame: between sample rates, and after a clock that drifts.
//!
//! The filter is a sinc under Kaiser's window, tabulated at fractions of a frame; between two of them it is interpolated
//! linearly (J. O. Smith and P. Gossett, *A flexible sampling-rate conversion method*, ICASSP 1984). The position is
//! a count of frames and 64 bits of a frame, to which each output adds the ratio exactly: no error accumulates.

pub(crate) mod kaiser;

use kaiser::{LowPass, width_times_length};

/// Each channel's window has room for so many frames more than the filter's length.
const ROOM_FRAMES: usize = 256;
/// Ratios are held within this range.
const RATIO_MIN: f64 = 0.125;
const RATIO_MAX: f64 = 8.0;
/// The end of the pass band, as a part of the lower of the two sample rates: 20 kHz at 44.1 kHz.
const PASS_EDGE: f64 = 20.0 / 44.1;

const TWO_TO_THE_64: f64 = 18_446_744_073_709_551_616.0;

/// How good the filter is, against its cost and latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quality {
    /// 24 taps: monitoring, slow machines. Images and aliases more than 74 dB down, the pass band to 17 kHz at 44.1 kHz.
    Economy,
    /// 48 taps: more than 97 dB, to 19 kHz.
    Standard,
    /// 96 taps: more than 115 dB, to 20 kHz.
    High,
}

impl Quality {
    fn design(self) -> Design {
        match self {
            Self::Economy => Design { taps: 24, phases_log2: 7, attenuation_db: 75.0 },
            Self::Standard => Design { taps: 48, phases_log2: 8, attenuation_db: 98.0 },
            Self::High => Design { taps: 96, phases_log2: 9, attenuation_db: 120.0 },
        }
    }
}

struct Design {
    /// Per frame of the lower rate; a multiple of eight.
    taps: usize,
    phases_log2: u32,
    attenuation_db: f64,
}

/// What a resampler is made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    pub quality: Quality,
    /// The greatest ratio it will be set to, in frames of input per frame of output, up to 8. Above 1 the filter cuts
    /// off so much lower, and is so much longer. For a nominal pair of rates, give their ratio: a drift of up to
    /// 0.1 % beyond is allowed for.
    pub input_per_output_max: f64,
}

/// A resampler of several channels, which share their positions in time.
///
/// The ratio 1 is filtered like any other, so that a drift through it makes no difference: it keeps the pass band, but
/// not the bits.
#[derive(Clone, Debug)]
pub struct Resampler {
    bank: Bank,
    input_per_output_max: f64,
    /// What each output adds to the position: frames, and 2⁻⁶⁴ths of a frame.
    step: (usize, u64),
    /// Where the next output's window begins in `windows`, possibly beyond what is there, and how far it is between two
    /// frames.
    start: usize,
    fraction: u64,
    /// Each channel's recent input in a row of `window_frames`, the first `filled` of which are there.
    windows: Box<[f32]>,
    window_frames: usize,
    filled: usize,
}

impl Resampler {
    /// A resampler at rest, of at least one channel, at the ratio 1 or the greatest below it.
    ///
    /// *Realtime-safe: no*, it allocates and calculates its table.
    #[must_use]
    pub fn new(channels: usize, config: Config) -> Self {
        let channels = channels.max(1);
        let ratio_max = config.input_per_output_max.clamp(RATIO_MIN, RATIO_MAX);
        let ratio_max = if ratio_max.is_nan() { 1.0 } else { ratio_max };
        let bank = Bank::new(&config.quality.design(), ratio_max.max(1.0));
        let window_frames = bank.taps + ROOM_FRAMES;
        let mut resampler = Self {
            input_per_output_max: ratio_max * 1.001,
            step: (1, 0),
            start: 0,
            fraction: 0,
            windows: vec![0.0; channels * window_frames].into_boxed_slice(),
            window_frames,
            filled: bank.taps - 1,
            bank,
        };
        resampler.set_ratio(1.0);
        resampler
    }

    /// Forgets all input; the ratio stays. *Realtime-safe: yes.*
    pub fn reset(&mut self) {
        self.windows.fill(0.0);
        (self.start, self.fraction) = (0, 0);
        self.filled = self.bank.taps - 1;
    }

    /// How late the output is: its first frame is the input this many frames before the first. *Realtime-safe: yes.*
    #[must_use]
    pub fn latency_frames(&self) -> usize {
        self.bank.taps / 2
    }

    /// From the next output's place in the input to the end of what was consumed, in frames: the latency, and what was
    /// consumed for outputs to come. *Realtime-safe: yes.*
    #[must_use]
    pub fn pending_frames(&self) -> f64 {
        // The place is the middle of the window that begins at the position; neither nears 2⁵².
        let ahead = self.filled as f64 - (self.start + self.bank.taps / 2 - 1) as f64;
        ahead - self.fraction as f64 / TWO_TO_THE_64
    }

    /// Sets how many frames of input make one of output, from the next output on: the pitch steps, the signal does not.
    ///
    /// Held between ⅛ and a thousandth more than the greatest ratio of the configuration; what is not a number
    /// changes nothing. *Realtime-safe: yes.*
    pub fn set_ratio(&mut self, input_per_output: f64) {
        if !input_per_output.is_nan() {
            self.step = fixed_point(input_per_output.clamp(RATIO_MIN, self.input_per_output_max));
        }
    }

    /// How many frames of input [`Resampler::process`] has to be given to produce so many of output, at the ratio
    /// that is set: it consumes neither more nor less. *Realtime-safe: yes.*
    #[must_use]
    pub fn frames_needed(&self, outputs: usize) -> usize {
        let Some(steps) = outputs.checked_sub(1) else { return 0 };
        let travel = wide(self.step.0, self.step.1).saturating_mul(steps as u128);
        let last = travel.saturating_add(wide(self.start, self.fraction)) >> 64;
        usize::try_from(last).unwrap_or(usize::MAX).saturating_add(self.bank.taps).saturating_sub(self.filled)
    }

    /// Produces as many frames as the shortest of `outputs` has room for, or as the input suffices for. Returns how many
    /// frames were consumed and produced.
    ///
    /// There is a slice for each channel; the input has as many frames as its shortest one. Where a channel of the input
    /// is missing it is silent, and further outputs than there are channels become silence. *Realtime-safe: yes.*
    pub fn process(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> (usize, usize) {
        let offered = inputs.iter().map(|input| input.len()).min().unwrap_or(0);
        let wanted = outputs.iter().map(|output| output.len()).min().unwrap_or(0);
        let (mut consumed, mut produced) = (0, 0);
        loop {
            produced += self.produce(outputs, produced, wanted);
            let frames = self.frames_needed(wanted - produced).min(offered - consumed);
            if frames == 0 {
                return (consumed, produced);
            }
            consumed += self.consume(inputs, consumed, frames);
        }
    }

    /// Fills `outputs` from frame `from` up to `until`, as far as the windows suffice; returns the number of frames.
    fn produce(&mut self, outputs: &mut [&mut [f32]], from: usize, until: usize) -> usize {
        let mut frame = from;
        while frame < until && self.start + self.bank.taps <= self.filled {
            let taps = self.bank.at(self.fraction);
            let span = self.start..self.start + taps.len();
            let mut rows = self.windows.chunks_exact(self.window_frames);
            for output in &mut *outputs {
                output[frame] = rows.next().map_or(0.0, |row| inner_product(taps, &row[span.clone()]));
            }
            let (fraction, carry) = self.fraction.overflowing_add(self.step.1);
            self.start += self.step.0 + usize::from(carry);
            self.fraction = fraction;
            frame += 1;
        }
        frame - from
    }

    /// Appends up to `frames` frames of the inputs, from frame `from` on, to the windows; returns the number of frames,
    /// which is not zero.
    fn consume(&mut self, inputs: &[&[f32]], from: usize, frames: usize) -> usize {
        if self.filled == self.window_frames {
            // The next output needs less than one length of what is there.
            let done = self.start.min(self.filled);
            for row in self.windows.chunks_exact_mut(self.window_frames) {
                row.copy_within(done.., 0);
            }
            self.start -= done;
            self.filled -= done;
        }
        let frames = frames.min(self.window_frames - self.filled);
        for (channel, row) in self.windows.chunks_exact_mut(self.window_frames).enumerate() {
            let room = &mut row[self.filled..self.filled + frames];
            match inputs.get(channel) {
                Some(input) => room.copy_from_slice(&input[from..from + frames]),
                None => room.fill(0.0),
            }
        }
        self.filled += frames;
        frames
    }
}

/// The filter's taps at each of the tabulated fractions of a frame.
#[derive(Clone, Debug)]
struct Bank {
    taps: usize,
    phases_log2: u32,
    /// A row of taps for each fraction from 0 to 1, both included.
    rows: Box<[f32]>,
    /// The row between two rows that was asked for last.
    between: Box<[f32]>,
}

impl Bank {
    /// `stretch` times as long and as low as the design says.
    fn new(design: &Design, stretch: f64) -> Self {
        let taps = stretched(design.taps, stretch).next_multiple_of(8);
        let width = width_times_length(design.attenuation_db) / design.taps as f64;
        // A filter that is too short for 20 kHz has its transition around half the sample rate.
        let cutoff = (PASS_EDGE + width / 2.0).min(0.5) / stretch;
        let low_pass = LowPass::new(cutoff, taps as f64 / 2.0, design.attenuation_db);
        let phases = 1usize << design.phases_log2;
        let mut rows = Vec::with_capacity((phases + 1) * taps);
        for phase in 0..=phases {
            // Between the two frames in the middle of the window lies the output.
            let middle = (taps / 2 - 1) as f64 + phase as f64 / phases as f64;
            let row: Vec<f64> = (0..taps).map(|k| low_pass.at(k as f64 - middle)).collect();
            // The same gain for a constant at each phase, or it would be modulated.
            let sum: f64 = row.iter().sum();
            rows.extend(row.iter().map(|tap| narrow(tap / sum)));
        }
        let between = vec![0.0; taps].into_boxed_slice();
        Self { taps, phases_log2: design.phases_log2, rows: rows.into_boxed_slice(), between }
    }

    /// The taps for an output that lies `fraction` beyond the middle of its window.
    fn at(&mut self, fraction: u64) -> &[f32] {
        let (phase, weight) = split(fraction, self.phases_log2);
        let start = phase * self.taps;
        let (before, after) = self.rows[start..start + 2 * self.taps].split_at(self.taps);
        for ((tap, before), after) in self.between.iter_mut().zip(before).zip(after) {
            *tap = *before + weight * (*after - *before);
        }
        &self.between
    }
}

/// `Σ a[k]·b[k]` of slices whose length is a multiple of eight, in eight sums that are added at the end.
fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += *a * *b;
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

/// The row below a fraction of 64 bits, and how far the fraction is towards the next: 24 bits, which single precision
/// holds exactly.
#[allow(clippy::cast_possible_truncation, reason = "both parts have been shifted to less than 25 bits")]
fn split(fraction: u64, phases_log2: u32) -> (usize, f32) {
    let phase = fraction >> (64 - phases_log2);
    let weight = (fraction << phases_log2) >> 40;
    (phase as usize, weight as f32 / 16_777_216.0)
}

/// A ratio as whole frames and 2⁻⁶⁴ths, exactly: from ⅛ on no number in double precision has a bit below 2⁻⁵⁵.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ratios are held between 0.125 and 8.008"
)]
fn fixed_point(ratio: f64) -> (usize, u64) {
    let whole = ratio.floor();
    (whole as usize, ((ratio - whole) * 18_446_744_073_709_551_616.0) as u64)
}

/// A position in 2⁻⁶⁴ths of a frame.
fn wide(frames: usize, fraction: u64) -> u128 {
    (frames as u128) << 64 | u128::from(fraction)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 96 times 8")]
fn stretched(taps: usize, stretch: f64) -> usize {
    (taps as f64 * stretch).ceil() as usize
}

#[allow(clippy::cast_possible_truncation, reason = "rounding to single precision is what it is for")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;
