//! Frames by position: a ring in which each frame carries the position that it holds, so that nothing is ever cleared.

/// Bits of a frame's key that hold its position: enough for 46 years at 192 kHz.
const POSITION_BITS: u32 = 48;

/// Frames of one epoch by position. *Realtime-safe: yes*, all of it but [`Timeline::new`].
#[derive(Debug)]
pub(super) struct Timeline {
    channels: usize,
    /// A frame's epoch and position; see [`Timeline::key`].
    keys: Box<[u64]>,
    samples: Box<[f32]>,
    /// Counts the epochs from 1, so that what an earlier one left behind names another key.
    life: u64,
}

impl Timeline {
    /// Room for at least `frames` frames in a row. *Realtime-safe: no.*
    pub(super) fn new(channels: u16, frames: usize) -> Self {
        let capacity = frames.next_power_of_two();
        let channels = usize::from(channels);
        Self {
            channels,
            keys: vec![0; capacity].into(),
            samples: vec![0.0; capacity * channels].into(),
            life: 1,
        }
    }

    /// How many frames it holds.
    pub(super) fn capacity(&self) -> usize {
        self.keys.len()
    }

    /// Forgets everything.
    pub(super) fn restart(&mut self) {
        self.life += 1;
    }

    fn index(&self, position: u64) -> usize {
        let capacity = u64::try_from(self.capacity()).unwrap_or(u64::MAX);
        // The remainder is below a usize.
        usize::try_from(position % capacity).unwrap_or(0)
    }

    fn key(&self, position: u64) -> u64 {
        self.life << POSITION_BITS | position & ((1 << POSITION_BITS) - 1)
    }

    pub(super) fn has(&self, position: u64) -> bool {
        self.keys[self.index(position)] == self.key(position)
    }

    /// How many frames from `position` on are there, at most `max`.
    pub(super) fn run(&self, position: u64, max: usize) -> usize {
        (position..).take(max).take_while(|position| self.has(*position)).count()
    }

    /// How many frames from `position` on are missing, at most `max`.
    pub(super) fn gap(&self, position: u64, max: usize) -> usize {
        (position..).take(max).take_while(|position| !self.has(*position)).count()
    }

    /// Writes frames from `position` on: `fill(channel, offset, destination)` is called for each contiguous piece of each
    /// channel. What is longer than the ring is cut to its last frames.
    pub(super) fn write(
        &mut self,
        position: u64,
        frames: usize,
        mut fill: impl FnMut(usize, usize, &mut [f32]),
    ) {
        let capacity = self.capacity();
        let mut from = frames.saturating_sub(capacity);
        while from < frames {
            let at = position + count(from);
            let begin = self.index(at);
            let piece = (frames - from).min(capacity - begin);
            for channel in 0..self.channels {
                let row = channel * capacity;
                fill(channel, from, &mut self.samples[row + begin..row + begin + piece]);
            }
            for offset in 0..piece {
                self.keys[begin + offset] = self.key(at + count(offset));
            }
            from += piece;
        }
    }

    /// One channel's frames from `position` on, whether they are there or not. A channel that there is none of is silent.
    pub(super) fn read(&self, position: u64, channel: usize, destination: &mut [f32]) {
        if channel >= self.channels {
            return destination.fill(0.0);
        }
        let row = channel * self.capacity();
        let mut from = 0;
        while from < destination.len() {
            let begin = self.index(position + count(from));
            let piece = (destination.len() - from).min(self.capacity() - begin);
            destination[from..from + piece].copy_from_slice(&self.samples[row + begin..row + begin + piece]);
            from += piece;
        }
    }
}

/// A length as part of a position.
pub(super) fn count(frames: usize) -> u64 {
    u64::try_from(frames).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(timeline: &mut Timeline, position: u64, frames: usize) {
        timeline.write(position, frames, |channel, offset, destination| {
            for (index, sample) in destination.iter_mut().enumerate() {
                *sample = value(position + count(offset + index), channel);
            }
        });
    }

    fn value(position: u64, channel: usize) -> f32 {
        (position % 1_000_000) as f32 + if channel == 0 { 0.0 } else { 0.5 }
    }

    fn check(timeline: &Timeline, position: u64, frames: usize) {
        for channel in 0..2 {
            let mut row = vec![f32::NAN; frames];
            timeline.read(position, channel, &mut row);
            for (offset, sample) in row.iter().enumerate() {
                assert_eq!(*sample, value(position + count(offset), channel));
            }
        }
    }

    #[test]
    fn holds_what_was_written_last_and_knows_its_positions() {
        let mut timeline = Timeline::new(2, 100);
        assert_eq!(timeline.capacity(), 128);
        assert_eq!((timeline.run(0, 50), timeline.gap(0, 50)), (0, 50));
        write(&mut timeline, 100, 60);
        assert_eq!((timeline.gap(90, 50), timeline.run(100, 90)), (10, 60));
        check(&timeline, 100, 60);
        write(&mut timeline, 160, 100);
        assert_eq!((timeline.run(132, 500), timeline.run(131, 5)), (128, 0));
        check(&timeline, 132, 128);
        write(&mut timeline, 1_000, 1_000);
        assert_eq!(timeline.run(1_872, 500), 128, "of what is longer than it, the end");
        check(&timeline, 1_872, 128);
        timeline.restart();
        assert_eq!(timeline.run(1_872, 1), 0);
    }
}
