//! Room for a block of a stream, between its endpoint, which wants the host's blocks whole, and the graph.

use std::ops::Range;

use crate::time::Setup;

/// The most channels of any layout.
const CHANNELS_MAX: usize = 64;
/// A stream that is replaced by another fades out in this long, ms.
const LEAVE_MS: u32 = 5;

/// One block of the stream. *Realtime-safe: yes*, all of it but [`Scratch::new`].
#[derive(Debug)]
pub struct Scratch {
    channels: Vec<Vec<f32>>,
    /// Frames from here on are silent for certain.
    used: usize,
}

impl Scratch {
    /// Silence; as long as the longest block that the host announced. *Realtime-safe: no.*
    pub fn new(setup: &Setup) -> Self {
        let frames = usize::try_from(setup.block_max).unwrap_or(1);
        let channels = usize::from(setup.channels).min(CHANNELS_MAX);
        Self { channels: vec![vec![0.0; frames]; channels], used: 0 }
    }

    /// The longest block that fits, frames.
    pub fn frames(&self) -> usize {
        self.channels.first().map_or(1, Vec::len)
    }

    /// The host's block in pieces that fit: one, unless the host asks for more than it announced.
    pub fn pieces(&self, frames: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let longest = self.frames();
        (0..frames).step_by(longest).map(move |from| from..frames.min(from + longest))
    }

    /// What was written last, and beyond it what was before.
    pub fn channels(&self) -> &[Vec<f32>] {
        &self.channels
    }

    /// Silence from now on.
    pub fn clear(&mut self) {
        let used = std::mem::take(&mut self.used);
        for channel in &mut self.channels {
            channel[..used].fill(0.0);
        }
    }

    /// Has `fill` write every sample of so many frames, a slice for each channel.
    pub fn write(&mut self, frames: usize, fill: impl FnOnce(&mut [&mut [f32]])) {
        let mut slices: [&mut [f32]; CHANNELS_MAX] = std::array::from_fn(|_| Default::default());
        self.used = self.used.max(frames);
        let channels = self.channels.len();
        for (slice, channel) in slices.iter_mut().zip(&mut self.channels) {
            *slice = &mut channel[..frames];
        }
        fill(&mut slices[..channels]);
    }

    /// A line down to silence at most [`LEAVE_MS`] long, within the first `frames`.
    pub fn fade_out(&mut self, frames: usize, sample_rate_hz: u32) {
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
    pub fn add(&mut self, other: &mut Self) {
        if other.used == 0 {
            return;
        }
        for (channel, added) in self.channels.iter_mut().zip(&other.channels) {
            channel.iter_mut().zip(&added[..other.used]).for_each(|(sample, added)| *sample += added);
        }
        self.used = self.used.max(other.used);
        other.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::units::SampleRate;

    fn scratch(block_max: u32, values: impl Fn(usize) -> f32) -> Scratch {
        let sample_rate = SampleRate::new(48_000).unwrap();
        let mut scratch = Scratch::new(&Setup { sample_rate, channels: 2, block_max, offline: false });
        scratch.write(scratch.frames(), |slices| {
            for slice in slices {
                slice.iter_mut().enumerate().for_each(|(index, sample)| *sample = values(index));
            }
        });
        scratch
    }

    #[test]
    fn a_long_block_goes_in_pieces() {
        fn check(block_max: u32, frames: usize, expected: &[(usize, usize)]) {
            let pieces = scratch(block_max, |_| 0.0).pieces(frames);
            assert_eq!(pieces.map(|piece| (piece.start, piece.end)).collect::<Vec<_>>(), expected);
        }
        check(64, 0, &[]);
        check(64, 64, &[(0, 64)]);
        check(64, 130, &[(0, 64), (64, 128), (128, 130)]);
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
