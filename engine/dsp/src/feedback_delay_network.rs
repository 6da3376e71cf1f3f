//! A feedback delay network: what a room does to sound after its first reflections.
//!
//! Sixteen delays feed one another through an orthogonal matrix, so that nothing is lost but what the filters at their
//! ends take: Jean-Marc Jot and Antoine Chaigne, *Digital delay networks for designing artificial reverberators*, 90th
//! AES Convention, 1991. The matrix is Hadamard's, followed by slow rotations of pairs, which keep it orthogonal at every
//! instant: echoes never settle into tones, and no decay changes. Sebastian J. Schlecht and Emanuël A. P. Habets,
//! *Time-varying feedback matrices in feedback delay networks and their application in artificial reverberation*,
//! J. Acoust. Soc. Am. 138(3), 2015.

use crate::biquad::Shape;
use crate::delay::Ring;
use crate::svf::{Coefficients, Prototype};

/// How many delays there are.
pub const LINES: usize = 16;
/// How many pairs of them rotate.
pub const PAIRS: usize = LINES / 2;
/// The longest block, the shortest delay, and the frames over which a rotation goes on to its next angle.
pub const BLOCK_MAX: usize = 64;

/// One sample of each line.
type Frame = [f32; LINES];

/// The shelves' Q: Butterworth's, the steepest without a bump.
const SHELF_Q: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// How long the sound takes to fall by 60 dB, and where one band turns into the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decay {
    /// Below `low_hz`, between, and above `high_hz`, in seconds.
    pub low_s: f64,
    pub middle_s: f64,
    pub high_s: f64,
    /// Where the decay in dB per second is halfway between its neighbours'.
    pub low_hz: f64,
    pub high_hz: f64,
}

/// The network: two channels in, two channels out.
#[derive(Clone, Debug)]
pub struct Network {
    rings: Box<[Ring]>,
    lengths: [usize; LINES],
    frames_max: usize,
    /// What the middle band keeps per turn.
    gains: Frame,
    low: Shelves,
    high: Shelves,
    /// Cosine and sine of each pair's angle: at the last grid point, and at the next.
    from: [[f32; PAIRS]; 2],
    to: [[f32; PAIRS]; 2],
    block: Box<[Frame]>,
}

impl Network {
    /// At rest, with delays of up to `frames_max`, all at their longest, which never decay: set what they are before use.
    ///
    /// *Realtime-safe: no*, it allocates.
    #[must_use]
    pub fn new(frames_max: usize) -> Self {
        let frames_max = frames_max.max(BLOCK_MAX);
        let upright = [[1.0; PAIRS], [0.0; PAIRS]];
        Self {
            rings: (0..LINES).map(|_| Ring::new(frames_max)).collect(),
            lengths: [frames_max; LINES],
            frames_max,
            gains: [1.0; LINES],
            low: Shelves::new(),
            high: Shelves::new(),
            from: upright,
            to: upright,
            block: vec![[0.0; LINES]; BLOCK_MAX].into_boxed_slice(),
        }
    }

    /// The delays in frames, each held between [`BLOCK_MAX`] and the longest. What is on its way jumps: do it where the
    /// gates of [`Network::process`] are shut, and set the decay anew.
    ///
    /// *Realtime-safe: yes*.
    pub fn set_lengths(&mut self, lengths: [usize; LINES]) {
        self.lengths = lengths.map(|frames| frames.clamp(BLOCK_MAX, self.frames_max));
    }

    /// How many frames a turn takes, on average.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn length_mean(&self) -> f64 {
        self.lengths.iter().map(|frames| *frames as f64).sum::<f64>() / LINES as f64
    }

    /// How fast it decays from the next sample on.
    ///
    /// *Realtime-safe: yes*; it designs 32 filters.
    pub fn set_decay(&mut self, decay: &Decay, sample_rate_hz: f64) {
        for line in 0..LINES {
            let seconds = self.lengths[line] as f64 / sample_rate_hz;
            let lost_db = |decay_s: f64| -60.0 * seconds / decay_s.max(1e-3);
            let middle_db = lost_db(decay.middle_s);
            self.gains[line] = single(libm::pow(10.0, middle_db / 20.0));
            let shelf = |shape, hz, band_s| {
                Prototype::new(shape, SHELF_Q, lost_db(band_s) - middle_db, sample_rate_hz).at(hz)
            };
            self.low.set(line, &shelf(Shape::LowShelf, decay.low_hz, decay.low_s));
            self.high.set(line, &shelf(Shape::HighShelf, decay.high_hz, decay.high_s));
        }
    }

    /// The angle that each pair will be turned by at the next grid point, [`BLOCK_MAX`] frames from this one.
    ///
    /// *Realtime-safe: yes*.
    pub fn turn(&mut self, angles: &[f32; PAIRS]) {
        self.from = self.to;
        self.to = [angles.map(libm::cosf), angles.map(libm::sinf)];
    }

    /// Forgets every sample and every angle.
    ///
    /// *Realtime-safe: yes*, in a time proportional to the longest delay.
    pub fn reset(&mut self) {
        for ring in &mut self.rings {
            ring.reset();
        }
        self.low.reset();
        self.high.reset();
        (self.from, self.to) = ([[1.0; PAIRS], [0.0; PAIRS]], [[1.0; PAIRS], [0.0; PAIRS]]);
    }

    /// Adds what has come out of the delays to nothing: replaces `left` and `right`, at most [`BLOCK_MAX`] frames,
    /// which lie `offset` frames after the last grid point. What comes out of the delays is multiplied by `gates`, one for
    /// each frame, which are 1 unless the delays are about to jump.
    ///
    /// White noise on both inputs comes out, within a dB, as loud as 1 / √(8 (1/k − 1)), where k is the power that a turn keeps.
    ///
    /// *Realtime-safe: yes*.
    pub fn process(&mut self, left: &mut [f32], right: &mut [f32], offset: u32, gates: &[f32]) {
        let frames = left.len().min(right.len()).min(gates.len()).min(BLOCK_MAX);
        let mut column = [0.0; BLOCK_MAX];
        let column = &mut column[..frames];
        let block = &mut self.block[..frames];
        for (line, (ring, length)) in self.rings.iter().zip(&self.lengths).enumerate() {
            ring.read_back(*length, column);
            for (frame, sample) in block.iter_mut().zip(&*column) {
                frame[line] = *sample;
            }
        }
        let channels = left.iter_mut().zip(right.iter_mut());
        for (((frame, gate), (left, right)), moment) in
            block.iter_mut().zip(gates).zip(channels).zip(offset..)
        {
            let out = absorbed(frame, *gate, &self.gains, &mut self.low, &mut self.high);
            let inputs = (*left * INPUT_GAIN, *right * INPUT_GAIN);
            (*left, *right) = taken(&out);
            *frame = mixed(out);
            rotate(frame, &self.from, &self.to, moment as f32 / BLOCK_MAX as f32);
            feed(frame, inputs);
        }
        for (line, ring) in self.rings.iter_mut().enumerate() {
            for (frame, sample) in block.iter().zip(&mut *column) {
                *sample = frame[line];
            }
            ring.write(column);
        }
    }
}

/// Each input goes into half of the lines, which share its power.
const INPUT_GAIN: f32 = 0.353_553_4;
/// Each output takes from all lines.
const OUTPUT_GAIN: f32 = 0.25;

/// What is left of a frame at the ends of the delays.
fn absorbed(frame: &Frame, gate: f32, gains: &Frame, low: &mut Shelves, high: &mut Shelves) -> Frame {
    let mut out = *frame;
    for (sample, gain) in out.iter_mut().zip(gains) {
        *sample *= gain * gate;
    }
    low.step(&mut out);
    high.step(&mut out);
    out
}

/// Two sums with signs that are orthogonal to each other, and to those that the matrix makes.
fn taken(out: &Frame) -> (f32, f32) {
    let (mut left, mut right) = (0.0, 0.0);
    for (line, sample) in out.iter().enumerate() {
        left += sign(line & 0b0110) * sample;
        right += sign(line & 0b1011) * sample;
    }
    (left * OUTPUT_GAIN, right * OUTPUT_GAIN)
}

/// Left into even lines, right into odd ones.
fn feed(frame: &mut Frame, (left, right): (f32, f32)) {
    for (pair, lines) in frame.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let sign = sign(pair & 0b101);
        lines[0] += sign * left;
        lines[1] += sign * right;
    }
}

/// −1 for an odd number of bits: a row of Hadamard's matrix.
const fn sign(bits: usize) -> f32 {
    if bits.count_ones().is_multiple_of(2) { 1.0 } else { -1.0 }
}

/// Hadamard's matrix, orthogonal, by butterflies.
fn mixed(frame: Frame) -> Frame {
    let mut from = frame;
    let mut to = [0.0; LINES];
    // Each stage adds and subtracts both halves and interleaves nothing: after four, all have met all.
    for _ in 0..LINES.ilog2() {
        for k in 0..PAIRS {
            to[2 * k] = from[k] + from[k + PAIRS];
            to[2 * k + 1] = from[k] - from[k + PAIRS];
        }
        from = to;
    }
    from.map(|sample| 0.25 * sample)
}

/// Turns each pair by its angle, `progress` of the way from one to the next.
fn rotate(frame: &mut Frame, from: &[[f32; PAIRS]; 2], to: &[[f32; PAIRS]; 2], progress: f32) {
    for (pair, lines) in frame.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let between = |k: usize| from[k][pair] + progress * (to[k][pair] - from[k][pair]);
        let (cos, sin) = (between(0), between(1));
        *lines = [cos * lines[0] - sin * lines[1], sin * lines[0] + cos * lines[1]];
    }
}

/// A shelf at the end of each line: [`crate::svf`] in as many lanes as there are lines.
#[derive(Clone, Debug)]
struct Shelves {
    a: [Frame; 3],
    mix: [Frame; 3],
    s1: Frame,
    s2: Frame,
}

impl Shelves {
    fn new() -> Self {
        let (none, all) = ([0.0; LINES], [1.0; LINES]);
        Self { a: [none; 3], mix: [all, none, none], s1: none, s2: none }
    }

    fn set(&mut self, line: usize, coefficients: &Coefficients) {
        let (a, mix) = coefficients.parts();
        for k in 0..3 {
            self.a[k][line] = a[k];
            self.mix[k][line] = mix[k];
        }
    }

    fn reset(&mut self) {
        (self.s1, self.s2) = ([0.0; LINES], [0.0; LINES]);
    }

    fn step(&mut self, frame: &mut Frame) {
        let Self { a: [a1, a2, a3], mix: [direct, of_band, of_low], s1, s2 } = self;
        for line in 0..LINES {
            let difference = frame[line] - s2[line];
            let band = a1[line] * s1[line] + a2[line] * difference;
            let low = s2[line] + (a2[line] * s1[line] + a3[line] * difference);
            s1[line] = 2.0 * band - s1[line];
            s2[line] = 2.0 * low - s2[line];
            frame[line] = direct[line] * frame[line] + (of_band[line] * band + of_low[line] * low);
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a coefficient, rounded to the precision of the signal")]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 48_000.0;
    const GATES: [f32; BLOCK_MAX] = [1.0; BLOCK_MAX];
    const EVEN: Decay = Decay { low_s: 1.0, middle_s: 1.0, high_s: 1.0, low_hz: 200.0, high_hz: 5_000.0 };

    fn network(decay: &Decay) -> Network {
        let mut network = Network::new(4_000);
        // In equal ratios, so that no two ways through it take the same time.
        let lengths: Vec<usize> =
            std::iter::successors(Some(700), |frames| Some(frames * 109 / 100)).take(LINES).collect();
        network.set_lengths(lengths.try_into().unwrap());
        network.set_decay(decay, RATE);
        network
    }

    fn response(network: &mut Network, frames: usize, block: usize, depth: f32) -> Vec<[f32; 2]> {
        let mut out = Vec::new();
        let (mut left, mut right) = (vec![0.0; block], vec![0.0; block]);
        left[0] = 1.0;
        let mut position = 0_u16;
        while out.len() < frames {
            if position.is_multiple_of(64) {
                network
                    .turn(&std::array::from_fn(|k| depth * (f32::from(position) * 0.001 + k as f32).sin()));
            }
            network.process(&mut left, &mut right, u32::from(position % 64), &GATES);
            out.extend(left.iter().zip(&right).map(|(left, right)| [*left, *right]));
            (left, right) = (vec![0.0; block], vec![0.0; block]);
            position = position.wrapping_add(u16::try_from(block).unwrap());
        }
        out
    }

    #[test]
    fn the_matrix_is_orthogonal() {
        for line in 0..LINES {
            let mut unit = [0.0; LINES];
            unit[line] = 1.0;
            let column = mixed(unit);
            for other in 0..=line {
                let mut unit = [0.0; LINES];
                unit[other] = 1.0;
                let product: f32 = column.iter().zip(mixed(unit)).map(|(a, b)| a * b).sum();
                assert!((product - f32::from(u8::from(line == other))).abs() < 1e-6, "{line} {other}");
            }
        }
    }

    #[test]
    fn it_decays_by_sixty_decibels_in_its_time_still_or_turning() {
        for depth in [0.0, 0.8] {
            let out = response(&mut network(&EVEN), 48_000, 64, depth);
            let level_db = |from: usize| {
                let power: f64 =
                    out[from..from + 4_800].iter().flatten().map(|x| f64::from(*x).powi(2)).sum();
                10.0 * power.log10()
            };
            let fall = level_db(4_800) - level_db(4_800 + 24_000);
            assert!((fall - 30.0).abs() < 1.0, "{depth}: {fall} dB in half a second");
        }
    }

    #[test]
    fn noise_comes_out_as_loud_as_told() {
        let mut network = network(&EVEN);
        let mut noise = crate::noise::White::new(3);
        let (mut given, mut taken) = (0.0, 0.0);
        for block in 0..3_000 {
            let (mut left, mut right) = ([0.0; 64], [0.0; 64]);
            noise.fill(&mut left);
            noise.fill(&mut right);
            let power = |samples: &[f32]| samples.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
            let before = power(&left) + power(&right);
            network.process(&mut left, &mut right, 0, &GATES);
            if block > 1_000 {
                given += before;
                taken += power(&left) + power(&right);
            }
        }
        let keeps = 10_f64.powf(-6.0 * network.length_mean() / RATE);
        let told = 1.0 / (8.0 * (1.0 / keeps - 1.0));
        let error_db = 10.0 * (taken / given / told).log10();
        assert!(error_db.abs() < 1.0, "{error_db} dB");
    }

    #[test]
    fn no_cut_changes_a_bit_and_reset_is_as_new() {
        let mut used = network(&EVEN);
        let whole = response(&mut used, 6_400, 64, 0.3);
        for block in [1, 16, 32] {
            assert_eq!(response(&mut network(&EVEN), 6_400, block, 0.3)[..6_400], whole[..6_400]);
        }
        used.reset();
        assert_eq!(response(&mut used, 6_400, 64, 0.3), whole);
    }
}
