//! Stream and input into the main output, gliding where a parameter moves, exact where nothing does.

use std::ops::Range;

use audiocloud_instance::ramp::Ramp;
use audiocloud_instance::time::Setup;

use crate::params::Mode;

/// The most channels of any layout.
const CHANNELS_MAX: usize = 8;
/// A stream that is replaced by another fades out in this long, ms.
const LEAVE_MS: u32 = 5;

/// Room for one block of the stream.
#[derive(Debug)]
pub(crate) struct Scratch {
    channels: Vec<Vec<f32>>,
    /// Frames from here on are silent for certain.
    used: usize,
}

impl Scratch {
    pub(crate) fn new(setup: &Setup) -> Self {
        let frames = usize::try_from(setup.block_max).unwrap_or(1);
        let channels = usize::from(setup.channels).min(CHANNELS_MAX);
        Self { channels: vec![vec![0.0; frames]; channels], used: 0 }
    }

    /// The longest block that fits, frames.
    pub(crate) fn frames(&self) -> usize {
        self.channels.first().map_or(1, Vec::len)
    }

    pub(crate) fn clear(&mut self) {
        let used = std::mem::take(&mut self.used);
        for channel in &mut self.channels {
            channel[..used].fill(0.0);
        }
    }

    /// Has `fill` write every sample of these frames, a slice for each channel.
    pub(crate) fn write(&mut self, frames: Range<usize>, fill: impl FnOnce(&mut [&mut [f32]])) {
        let mut slices: [&mut [f32]; CHANNELS_MAX] = Default::default();
        self.used = self.used.max(frames.end);
        let channels = self.channels.len();
        for (slice, channel) in slices.iter_mut().zip(&mut self.channels) {
            *slice = &mut channel[frames.clone()];
        }
        fill(&mut slices[..channels]);
    }

    /// A line down to silence at most [`LEAVE_MS`] long, within the first `frames`.
    pub(crate) fn fade_out(&mut self, frames: usize, sample_rate_hz: u32) {
        let length = frames.min(usize::try_from(sample_rate_hz / 1_000 * LEAVE_MS).unwrap_or(1)).max(1);
        for channel in &mut self.channels {
            let mut gain = 1.0;
            #[allow(clippy::cast_precision_loss, reason = "at most a few thousand frames, far below 2^24")]
            let step = 1.0 / length as f32;
            for sample in &mut channel[..length.min(frames)] {
                gain = (gain - step).max(0.0);
                *sample *= gain;
            }
            channel[length.min(frames)..].fill(0.0);
        }
    }

    /// Adds `other`, which is empty afterwards.
    pub(crate) fn add(&mut self, other: &mut Self) {
        if other.used == 0 {
            return;
        }
        for (channel, added) in self.channels.iter_mut().zip(&other.channels) {
            channel.iter_mut().zip(&added[..other.used]).for_each(|(sample, added)| *sample += added);
        }
        self.used = self.used.max(other.used);
        other.clear();
    }

    /// Copies the block to where it belongs in `output`; channels that it does not have become silent.
    pub(crate) fn copy_to(&self, output: &mut [&mut [f32]], at: Range<usize>) {
        for (index, channel) in output.iter_mut().enumerate() {
            let Some(channel) = channel.get_mut(at.clone()) else { continue };
            match self.channels.get(index) {
                Some(stream) => channel.copy_from_slice(&stream[..at.len()]),
                None => channel.fill(0.0),
            }
        }
    }
}

/// The two gains of the main output.
#[derive(Debug)]
pub(crate) struct Mixer {
    level: Ramp,
    input: Ramp,
}

impl Mixer {
    pub(crate) fn new(sample_rate_hz: u32) -> Self {
        Self { level: Ramp::new(0.0, sample_rate_hz), input: Ramp::new(1.0, sample_rate_hz) }
    }

    pub(crate) fn jump_to(&mut self, level: f32, mode: Mode) {
        self.level.jump_to(level);
        self.input.jump_to(input_gain(mode));
    }

    pub(crate) fn glide_to(&mut self, level: f32, mode: Mode) {
        self.level.glide_to(level);
        self.input.glide_to(input_gain(mode));
    }

    /// Mixes one block into frames `at` of the main output, which holds the input.
    pub(crate) fn mix(&mut self, main: &mut [&mut [f32]], stream: &Scratch, at: Range<usize>) {
        match (self.input.resting(), self.level.resting()) {
            // Unity is a copy: bit for bit, whatever the sign of a zero.
            (Some(0.0), Some(1.0)) => stream.copy_to(main, at),
            (Some(1.0), Some(0.0)) => {}
            _ => self.mix_gliding(main, stream, at),
        }
    }

    fn mix_gliding(&mut self, main: &mut [&mut [f32]], stream: &Scratch, at: Range<usize>) {
        for (index, frame) in at.enumerate() {
            let (level, input) = (self.level.advance(), self.input.advance());
            for (channel, added) in main.iter_mut().zip(&stream.channels) {
                let Some(sample) = channel.get_mut(frame) else { continue };
                // Not `0.0 * sample`: what is replaced may be infinite.
                let own = if input == 0.0 { 0.0 } else { input * *sample };
                *sample = own + level * added[index];
            }
        }
    }
}

fn input_gain(mode: Mode) -> f32 {
    match mode {
        Mode::Mix => 1.0,
        Mode::Replace => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::units::SampleRate;

    fn scratch(block_max: u32, values: impl Fn(usize) -> f32) -> Scratch {
        let sample_rate = SampleRate::new(48_000).unwrap();
        let mut scratch = Scratch::new(&Setup { sample_rate, channels: 2, block_max, offline: false });
        scratch.write(0..scratch.frames(), |slices| {
            for slice in slices {
                slice.iter_mut().enumerate().for_each(|(index, sample)| *sample = values(index));
            }
        });
        scratch
    }

    fn mixed(mixer: &mut Mixer, input: f32, stream: &Scratch) -> Vec<f32> {
        let (mut left, mut right) = (vec![input; stream.frames()], vec![input; stream.frames()]);
        mixer.mix(&mut [&mut left, &mut right], stream, 0..stream.frames());
        assert_eq!(
            left.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            right.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        );
        left
    }

    #[test]
    fn replace_at_unity_is_bit_exact() {
        let odd = [-0.0, 1.0e-40, f32::MIN_POSITIVE, 0.1, -1.0, 3.0e38];
        let stream = scratch(6, |index| odd[index]);
        let mut mixer = Mixer::new(48_000);
        mixer.jump_to(1.0, Mode::Replace);
        for input in [0.5, f32::INFINITY, f32::NAN] {
            let output = mixed(&mut mixer, input, &stream);
            assert!(
                output.iter().zip(odd).all(|(out, stream)| out.to_bits() == stream.to_bits()),
                "{output:?}"
            );
        }
    }

    #[test]
    fn mix_adds() {
        let stream = scratch(4, |_| 0.25);
        let mut mixer = Mixer::new(48_000);
        mixer.jump_to(1.0, Mode::Mix);
        assert_eq!(mixed(&mut mixer, 0.5, &stream), [0.75; 4]);
        mixer.jump_to(0.5, Mode::Mix);
        assert_eq!(mixed(&mut mixer, 0.5, &stream), [0.625; 4]);
        mixer.jump_to(0.0, Mode::Mix);
        assert_eq!(mixed(&mut mixer, 0.5, &stream), [0.5; 4]);
    }

    #[test]
    fn changes_glide() {
        let stream = scratch(2_000, |_| 1.0);
        let mut mixer = Mixer::new(48_000);
        mixer.jump_to(1.0, Mode::Mix);
        mixer.glide_to(0.5, Mode::Replace);
        let output = mixed(&mut mixer, 1.0, &stream);
        let steepest = output.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.002, "{steepest}");
        assert_eq!(output[1_999], 0.5);
        // And once more at rest, exactly.
        assert_eq!(mixed(&mut mixer, f32::NAN, &stream)[0], 0.5);
    }

    #[test]
    fn a_stream_that_leaves_fades() {
        let mut leaving = scratch(1_000, |_| 1.0);
        leaving.fade_out(1_000, 48_000);
        let mut stream = scratch(1_000, |_| 0.0);
        stream.add(&mut leaving);
        let samples = &stream.channels[1];
        assert!(samples[0] < 1.0 && samples[100] > 0.5 && samples[240..].iter().all(|sample| *sample == 0.0));
        assert!(leaving.channels.iter().flatten().all(|sample| *sample == 0.0));
        // A block shorter than the fade ends in silence all the same.
        let mut leaving = scratch(64, |_| 1.0);
        leaving.fade_out(64, 48_000);
        assert_eq!(leaving.channels[0][63], 0.0);
    }
}
