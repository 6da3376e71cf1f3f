//! Frames that come from elsewhere, as they are heard: exact where they are there, and where they are not, a fill that ends
//! in silence.

use audiocloud_dsp::concealment::Concealer;
use audiocloud_units::SampleRate;

use super::timeline::{Timeline, count};

/// What is played of one source. *Realtime-safe: yes*, all of it but [`Voice::new`].
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) timeline: Timeline,
    concealer: Concealer,
    channels: usize,
    /// The end of what was written last: where the next block usually begins.
    end: Option<u64>,
}

impl Voice {
    /// *Realtime-safe: no.*
    pub(super) fn new(channels: u16, frames: usize, sample_rate: SampleRate) -> Self {
        Self {
            timeline: Timeline::new(channels, frames),
            concealer: Concealer::new(channels.into(), sample_rate),
            channels: channels.into(),
            end: None,
        }
    }

    /// A new epoch.
    pub(super) fn restart(&mut self) {
        self.timeline.restart();
        self.concealer.reset();
        self.end = None;
    }

    /// It begins to be heard with the frame at `position`. What it played long ago is no part of that; what has come of the
    /// frames just before is, though nobody heard them: should it break off again at once, that is what its fill goes on
    /// from. Through `scratch`, a row for each channel.
    pub(super) fn enter(&mut self, position: i64, scratch: &mut [Box<[f32]>]) {
        self.concealer.reset();
        let Ok(end) = u64::try_from(position) else { return };
        let before = (1..=self.timeline.capacity().min(self.concealer.past_frames())).take_while(|frames| {
            end.checked_sub(count(*frames)).is_some_and(|position| self.timeline.has(position))
        });
        let mut at = end - count(before.count());
        let room = scratch.iter().map(|row| row.len()).min().unwrap_or(0);
        while at < end && room > 0 {
            let piece = usize::try_from(end - at).unwrap_or(room).min(room);
            for (channel, row) in scratch.iter_mut().enumerate() {
                let channel = if self.channels == 1 { 0 } else { channel };
                self.timeline.read(at, channel, &mut row[..piece]);
            }
            self.concealer.play(scratch, 0..piece);
            at += count(piece);
        }
    }

    /// The end of what has come.
    pub(super) fn end(&self) -> u64 {
        self.end.unwrap_or(0)
    }

    /// Takes in frames, as [`Timeline::write`]. Those that were there already, because the chain's own latency became longer,
    /// are faded into the new ones.
    pub(super) fn write(
        &mut self,
        position: u64,
        frames: usize,
        mut fill: impl FnMut(usize, usize, &mut [f32]),
    ) {
        let known = match self.end {
            Some(end) if position < end => self.timeline.run(position, frames),
            _ => 0,
        };
        #[allow(clippy::cast_precision_loss, reason = "a block's length")]
        let step = 1.0 / (known + 1) as f32;
        // Fading in place: the old samples are what the destination holds.
        let mut incoming = [0.0; 64];
        self.timeline.write(position, frames, |channel, offset, destination| {
            let (fading, rest) =
                destination.split_at_mut(known.saturating_sub(offset).min(destination.len()));
            for (index, piece) in fading.chunks_mut(64).enumerate() {
                let begin = offset + 64 * index;
                let new = &mut incoming[..piece.len()];
                fill(channel, begin, new);
                for (number, (old, new)) in (begin + 1..).zip(piece.iter_mut().zip(new)) {
                    #[allow(clippy::cast_precision_loss, reason = "a block's length")]
                    let gain = number as f32 * step;
                    *old += gain * (*new - *old);
                }
            }
            if !rest.is_empty() {
                fill(channel, offset + fading.len(), rest);
            }
        });
        self.end = Some(position + count(frames));
    }

    /// Plays so many frames of `output` from its frame `from` on, the first of them from `position`.
    /// Positions below zero are before the epoch: silence.
    pub(super) fn play<O: AsMut<[f32]>>(
        &mut self,
        position: i64,
        output: &mut [O],
        from: usize,
        frames: usize,
    ) {
        let mut done = 0;
        while done < frames {
            let (begin, left) = (from + done, frames - done);
            let at = position.saturating_add(i64::try_from(done).unwrap_or(i64::MAX));
            let piece = match u64::try_from(at) {
                Err(_) => {
                    let piece = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX).min(left);
                    output.iter_mut().for_each(|row| row.as_mut()[begin..begin + piece].fill(0.0));
                    self.concealer.play(output, begin..begin + piece);
                    piece
                }
                Ok(at) => match self.timeline.run(at, left) {
                    0 => {
                        let piece = self.timeline.gap(at, left);
                        self.concealer.conceal(output, begin..begin + piece);
                        piece
                    }
                    piece => {
                        for (channel, row) in output.iter_mut().enumerate() {
                            // One channel for all, where there is but one.
                            let channel = if self.channels == 1 { 0 } else { channel };
                            self.timeline.read(at, channel, &mut row.as_mut()[begin..begin + piece]);
                        }
                        self.concealer.play(output, begin..begin + piece);
                        piece
                    }
                },
            };
            done += piece.max(1);
        }
    }
}
