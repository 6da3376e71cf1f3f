//! Delay lines: whole frames by the block, fractions of a frame by the sample.
//!
//! [`Ring`] remembers; [`Delay`] interpolates between what a ring remembers. Neither ever allocates after construction.

/// A ring of past samples that is written and read in blocks, for delays of whole frames.
///
/// What has not been written since [`Ring::reset`] is silence.
#[derive(Clone, Debug)]
pub struct Ring {
    samples: Box<[f32]>,
    /// Where the next sample goes; below the length, which is a power of two.
    end: usize,
}

impl Ring {
    /// A silent ring that remembers at least `frames_max` frames.
    ///
    /// *Realtime-safe: no*, it allocates.
    #[must_use]
    pub fn new(frames_max: usize) -> Self {
        Self { samples: vec![0.0; frames_max.max(1).next_power_of_two()].into_boxed_slice(), end: 0 }
    }

    /// Forgets everything. *Realtime-safe: yes*, in a time proportional to the capacity.
    pub fn reset(&mut self) {
        self.samples.fill(0.0);
        self.end = 0;
    }

    /// How many frames it remembers: `frames_max`, rounded up to a power of two. *Realtime-safe: yes.*
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.samples.len()
    }

    /// Appends samples; of more than the capacity the newest remain. *Realtime-safe: yes.*
    pub fn write(&mut self, samples: &[f32]) {
        let (_, kept) = samples.split_at(samples.len().saturating_sub(self.capacity()));
        let (start, room) = self.samples.split_at_mut(self.end);
        let (first, second) = kept.split_at(kept.len().min(room.len()));
        room[..first.len()].copy_from_slice(first);
        start[..second.len()].copy_from_slice(second);
        self.end = self.wrapped(self.end + kept.len());
    }

    /// Copies what was written from `back` frames before the newest end on: `out[k]` lies `back - k` frames before it.
    ///
    /// To delay a block of `n` frames by `d`, write it and read back `d + n`. In a loop of feedback, where the block is
    /// not yet known, read back `d` before writing. `back` is held between the length of `out` and the capacity;
    /// what `out` holds beyond the capacity becomes silence. *Realtime-safe: yes.*
    pub fn read_back(&self, back: usize, out: &mut [f32]) {
        let back = back.max(out.len()).min(self.capacity());
        let (out, beyond) = out.split_at_mut(out.len().min(back));
        beyond.fill(0.0);
        let (newer, older) = self.samples.split_at(self.wrapped(self.end + self.capacity() - back));
        let (first, second) = out.split_at_mut(out.len().min(older.len()));
        first.copy_from_slice(&older[..first.len()]);
        second.copy_from_slice(&newer[..second.len()]);
    }

    fn push(&mut self, sample: f32) {
        self.samples[self.end] = sample;
        self.end = self.wrapped(self.end + 1);
    }

    /// The sample written `frames` before the newest, which is 0.
    fn past(&self, frames: usize) -> f32 {
        self.samples[self.wrapped(self.end.wrapping_sub(frames + 1))]
    }

    fn wrapped(&self, index: usize) -> usize {
        index & (self.samples.len() - 1)
    }
}

/// How a [`Delay`] finds a value between two samples.
///
/// All three are described by T. I. Laakso, V. Välimäki, M. Karjalainen and U. K. Laine, *Splitting the unit delay*, IEEE
/// Signal Processing Magazine 13(1), 1996. A whole number of frames is exact in each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// A line through the two nearest samples: cheap, and dull halfway between them (−3 dB at a quarter of the sample
    /// rate).
    Linear,
    /// The Lagrange polynomial through the four nearest samples: for delays that move. Below one frame the four are no
    /// longer centred, and the interpolation is less flat.
    Cubic,
    /// Thiran's first-order all-pass: no loss at any frequency, a delay that is exact at low ones. Made for delays that
    /// keep still or move slowly, as in tuned loops: each jump leaves a transient of a few frames. At least half a frame.
    Allpass,
}

impl Interpolation {
    /// The shortest delay it can make, in frames. *Realtime-safe: yes.*
    #[must_use]
    pub const fn delay_frames_min(self) -> f64 {
        match self {
            Self::Linear | Self::Cubic => 0.0,
            Self::Allpass => 0.5,
        }
    }
}

/// A delay of any length that may change with each sample.
#[derive(Clone, Debug)]
pub struct Delay {
    ring: Ring,
    interpolation: Interpolation,
    delay_frames_max: f64,
    /// The all-pass filter's last output.
    allpass_output: f32,
}

impl Delay {
    /// A silent line of up to `delay_frames_max` frames, at least one.
    ///
    /// *Realtime-safe: no*, it allocates.
    #[must_use]
    pub fn new(delay_frames_max: usize, interpolation: Interpolation) -> Self {
        // Two frames beyond the whole delay for the cubic, and one for the newest sample.
        let ring = Ring::new(delay_frames_max.max(1) + 3);
        Self {
            ring,
            interpolation,
            delay_frames_max: whole_f64(delay_frames_max.max(1)),
            allpass_output: 0.0,
        }
    }

    /// Forgets everything. *Realtime-safe: yes*, in a time proportional to the longest delay.
    pub fn reset(&mut self) {
        self.ring.reset();
        self.allpass_output = 0.0;
    }

    /// Delays in place by `delay_frames`, held between the [shortest](Interpolation::delay_frames_min) and the longest.
    /// *Realtime-safe: yes.*
    pub fn process(&mut self, samples: &mut [f32], delay_frames: f64) {
        for sample in samples {
            *sample = self.tick(*sample, delay_frames);
        }
    }

    /// Delays in place, each sample by its own delay in frames; the last one holds when there are fewer delays than
    /// samples, and none at all means the shortest. *Realtime-safe: yes*, if the iterator is.
    pub fn process_modulated(&mut self, samples: &mut [f32], delays_frames: impl IntoIterator<Item = f64>) {
        let mut delays_frames = delays_frames.into_iter().fuse();
        let mut delay_frames = self.interpolation.delay_frames_min();
        for sample in samples {
            delay_frames = delays_frames.next().unwrap_or(delay_frames);
            *sample = self.tick(*sample, delay_frames);
        }
    }

    /// Writes one sample and reads the one that is due. *Realtime-safe: yes.*
    pub fn tick(&mut self, input: f32, delay_frames: f64) -> f32 {
        self.write(input);
        self.read(delay_frames)
    }

    /// Writes one sample: the way in of a line with several taps or with feedback. *Realtime-safe: yes.*
    pub fn write(&mut self, input: f32) {
        self.ring.push(input);
    }

    /// Reads `delay_frames` before the newest sample written. In a loop of feedback, read before writing, one frame
    /// less. [`Interpolation::Allpass`] has a state and so allows one read for each write. *Realtime-safe: yes.*
    pub fn read(&mut self, delay_frames: f64) -> f32 {
        // max() before min(): not-a-number becomes the shortest delay.
        let delay = delay_frames.max(self.interpolation.delay_frames_min()).min(self.delay_frames_max);
        match self.interpolation {
            Interpolation::Linear => self.read_linear(delay),
            Interpolation::Cubic => self.read_cubic(delay),
            Interpolation::Allpass => self.read_allpass(delay),
        }
    }

    fn read_linear(&self, delay: f64) -> f32 {
        let whole = floor_usize(delay);
        let fraction = narrow(delay - whole_f64(whole));
        let (newer, older) = (self.ring.past(whole), self.ring.past(whole + 1));
        newer * (1.0 - fraction) + older * fraction
    }

    /// The four samples lie at −1, 0, 1 and 2, the reading point at `t`: each weight is one at its own sample and zero
    /// at the other three, exactly.
    fn read_cubic(&self, delay: f64) -> f32 {
        let whole = floor_usize(delay).max(1);
        let t = narrow(delay - whole_f64(whole));
        let (below, above, beyond) = (t + 1.0, t - 1.0, t - 2.0);
        let inner = below * beyond * 0.5;
        let outer = t * above * (1.0 / 6.0);
        self.ring.past(whole - 1) * (-outer * beyond)
            + self.ring.past(whole) * (inner * above)
            + self.ring.past(whole + 1) * (-inner * t)
            + self.ring.past(whole + 2) * (outer * below)
    }

    /// The filter's own share of the delay stays within 0.5 to 1.5 frames, where its pole is far inside the unit circle.
    fn read_allpass(&mut self, delay: f64) -> f32 {
        let whole = floor_usize(delay - 0.5);
        let share = narrow(delay - whole_f64(whole));
        let coefficient = (1.0 - share) / (1.0 + share);
        let (newer, older) = (self.ring.past(whole), self.ring.past(whole + 1));
        self.allpass_output = coefficient * (newer - self.allpass_output) + older;
        self.allpass_output
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "delays are held between 0 and the length of a slice"
)]
fn floor_usize(frames: f64) -> usize {
    frames as usize
}

/// Exact, for no delay has 2⁵³ frames.
fn whole_f64(frames: usize) -> f64 {
    frames as f64
}

#[allow(clippy::cast_possible_truncation, reason = "rounding to single precision is what it is for")]
fn narrow(fraction: f64) -> f32 {
    fraction as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    const ALL: [Interpolation; 3] = [Interpolation::Linear, Interpolation::Cubic, Interpolation::Allpass];

    fn counted(frames: usize) -> Vec<f32> {
        (1..=frames).map(|k| k as f32 * 0.37).collect()
    }

    #[test]
    fn a_ring_reads_back_what_was_written() {
        let mut ring = Ring::new(5);
        assert_eq!(ring.capacity(), 8);
        let mut out = [9.0; 4];
        let mut check = |ring: &Ring, back: usize, expected: [f32; 4]| {
            ring.read_back(back, &mut out);
            assert_eq!(out, expected, "{back} frames back");
        };
        check(&ring, 4, [0.0; 4]);
        ring.write(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        check(&ring, 4, [3.0, 4.0, 5.0, 6.0]);
        check(&ring, 0, [3.0, 4.0, 5.0, 6.0]);
        check(&ring, 8, [0.0, 0.0, 1.0, 2.0]);
        ring.write(&[7.0, 8.0, 9.0]);
        check(&ring, 5, [5.0, 6.0, 7.0, 8.0]);
        check(&ring, usize::MAX, [2.0, 3.0, 4.0, 5.0]);
        ring.write(&counted(100));
        check(&ring, 4, [97.0 * 0.37, 98.0 * 0.37, 99.0 * 0.37, 100.0 * 0.37]);
        ring.reset();
        check(&ring, 6, [0.0; 4]);
    }

    #[test]
    fn a_ring_asked_for_more_than_it_holds_gives_silence() {
        let mut ring = Ring::new(2);
        ring.write(&[1.0, 2.0]);
        let mut out = [9.0; 3];
        ring.read_back(3, &mut out);
        assert_eq!(out, [1.0, 2.0, 0.0]);
        ring.read_back(3, &mut []);
    }

    proptest! {
        #[test]
        fn a_ring_delays_whatever_the_cuts(delay in 0usize..300, blocks in prop::collection::vec(0usize..70, 1..30)) {
            let signal = counted(blocks.iter().sum());
            let mut ring = Ring::new(300 + 70);
            let mut delayed = Vec::new();
            let mut rest = &signal[..];
            for frames in blocks {
                let (block, later) = rest.split_at(frames);
                rest = later;
                let mut out = vec![9.0; frames];
                ring.write(block);
                ring.read_back(delay + frames, &mut out);
                delayed.extend(out);
            }
            let expected: Vec<f32> = std::iter::repeat_n(0.0, delay).chain(signal).take(delayed.len()).collect();
            prop_assert_eq!(delayed, expected);
        }

        #[test]
        fn a_moving_delay_does_not_see_the_cuts(cut in 0usize..400, kind in 0usize..3) {
            let delays = (0..400).map(|k| 40.0 + 39.0 * (f64::from(k) * 0.1).sin());
            let mut whole = counted(400);
            let mut parts = whole.clone();
            Delay::new(80, ALL[kind]).process_modulated(&mut whole, delays.clone());
            let mut delay = Delay::new(80, ALL[kind]);
            delay.process_modulated(&mut parts[..cut], delays.clone());
            delay.process_modulated(&mut parts[cut..], delays.skip(cut));
            prop_assert!(whole.iter().zip(&parts).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn whole_frames_are_exact() {
        for interpolation in ALL {
            for frames in [0usize, 1, 2, 7, 63, 64] {
                if (frames as f64) < interpolation.delay_frames_min() {
                    continue;
                }
                let mut samples = counted(200);
                Delay::new(64, interpolation).process(&mut samples, frames as f64);
                let expected: Vec<f32> =
                    std::iter::repeat_n(0.0, frames).chain(counted(200)).take(200).collect();
                assert_eq!(samples, expected, "{interpolation:?} by {frames}");
            }
        }
    }

    #[test]
    fn a_delay_out_of_range_is_held() {
        for interpolation in ALL {
            for (asked, held) in [
                (-3.0, interpolation.delay_frames_min()),
                (f64::NAN, interpolation.delay_frames_min()),
                (1e9, 20.0),
            ] {
                let (mut samples, mut expected) = (counted(100), counted(100));
                Delay::new(20, interpolation).process(&mut samples, asked);
                Delay::new(20, interpolation).process(&mut expected, held);
                assert_eq!(samples, expected, "{interpolation:?} by {asked}");
            }
        }
    }

    #[test]
    fn the_last_delay_holds() {
        let (mut samples, mut expected) = (counted(50), counted(50));
        Delay::new(9, Interpolation::Cubic).process_modulated(&mut samples, [4.25]);
        Delay::new(9, Interpolation::Cubic).process(&mut expected, 4.25);
        assert_eq!(samples, expected);
    }

    #[test]
    fn reading_first_makes_a_loop() {
        let mut delay = Delay::new(16, Interpolation::Linear);
        let mut echoes = Vec::new();
        for k in 0..13 {
            let output = delay.read(4.0 - 1.0) * 0.5 + if k == 0 { 1.0 } else { 0.0 };
            delay.write(output);
            echoes.push(output);
        }
        let expected = [1.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.25, 0.0, 0.0, 0.0, 0.125];
        assert_eq!(echoes, expected);
    }

    /// The largest error, in dB of the sine's amplitude.
    fn error_db(interpolation: Interpolation, cycles_per_frame: f64, delay_frames: f64) -> f64 {
        let sine = |at: f64| (TAU * cycles_per_frame * at).sin();
        let mut delay = Delay::new(32, interpolation);
        let mut worst = 0.0f64;
        for k in 0..3_000 {
            let output = delay.tick(narrow(sine(f64::from(k))), delay_frames);
            if k > 100 {
                worst = worst.max((f64::from(output) - sine(f64::from(k) - delay_frames)).abs());
            }
        }
        20.0 * worst.log10()
    }

    /// What the paper's transfer functions predict.
    fn predicted_db(interpolation: Interpolation, cycles_per_frame: f64, delay_frames: f64) -> f64 {
        let omega = TAU * cycles_per_frame;
        let error = match interpolation {
            // Halfway between samples the phase is right, and the amplitude is not.
            Interpolation::Linear => 1.0 - (omega / 2.0).cos(),
            Interpolation::Cubic => 1.0 - (9.0 * (omega / 2.0).cos() - (1.5 * omega).cos()) / 8.0,
            // The amplitude is right, and the phase is not.
            Interpolation::Allpass => {
                let share = delay_frames.fract() + if delay_frames.fract() < 0.5 { 1.0 } else { 0.0 };
                let coefficient = (1.0 - share) / (1.0 + share);
                let phase = 2.0 * (coefficient * omega.sin()).atan2(1.0 + coefficient * omega.cos()) - omega;
                2.0 * ((omega * share + phase) / 2.0).sin().abs()
            }
        };
        20.0 * error.log10()
    }

    #[test]
    fn a_fraction_delays_a_sine_by_its_phase() {
        let check = |interpolation, delay_frames, cycles_per_frame, expected_db: f64| {
            let error = error_db(interpolation, cycles_per_frame, delay_frames);
            let predicted = predicted_db(interpolation, cycles_per_frame, delay_frames);
            let what = format!(
                "{interpolation:?} at {cycles_per_frame}: {error:.1} dB, predicted {predicted:.1} dB"
            );
            assert!((error - predicted).abs() < 0.3, "{what}");
            assert!((error - expected_db).abs() < 0.1, "{what}");
        };
        // Near 1, 5 and 10 kHz at a sample rate of 50 kHz, where no two samples of the sine are alike.
        let [low, middle, high] = [0.0201, 0.1001, 0.2001];
        check(Interpolation::Linear, 20.5, low, -54.0);
        check(Interpolation::Linear, 20.5, middle, -26.2);
        check(Interpolation::Linear, 20.5, high, -14.4);
        check(Interpolation::Cubic, 20.5, low, -104.4);
        check(Interpolation::Cubic, 20.5, middle, -49.0);
        check(Interpolation::Cubic, 20.5, high, -25.8);
        check(Interpolation::Allpass, 20.25, low, -78.6);
        check(Interpolation::Allpass, 20.25, middle, -37.2);
        check(Interpolation::Allpass, 20.25, high, -20.3);
    }

    #[test]
    fn the_allpass_keeps_every_frequency_whole() {
        for cycles_per_frame in [0.01, 0.1, 0.25, 0.4, 0.49] {
            let mut delay = Delay::new(32, Interpolation::Allpass);
            let mut power = 0.0;
            for k in 0..10_100 {
                let input = narrow((TAU * cycles_per_frame * f64::from(k)).sin());
                let output = f64::from(delay.tick(input, 20.3));
                if k >= 100 {
                    power += output * output / 5_000.0;
                }
            }
            assert!((10.0 * f64::log10(power)).abs() < 0.001, "{cycles_per_frame}: {power}");
        }
    }
}
