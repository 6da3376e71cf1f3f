use audiocloud_rt::block_ring::{Header, Samples};

/// Channels of a frame, a bit for each.
pub(super) const CHANNELS_MAX: usize = 64;
/// In a frame's key: the waveform breaks before it.
const BREAK: u64 = 1 << 63;

/// Frames by position: a ring of planar samples, each frame with a key that says which position it holds, and a mask of
/// the channels of it that have come. A stale key simply names another position, so nothing is ever cleared.
///
/// A position counts frames on the receiver's own axis; it never comes near 2^63.
#[derive(Debug)]
pub(super) struct Buffer {
    channels: usize,
    keys: Box<[u64]>,
    masks: Box<[u64]>,
    samples: Box<[f32]>,
}

/// Frames of a written range by what they did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Frames that gained a channel.
    pub(super) new: usize,
    /// Frames that had it all.
    pub(super) known: usize,
}

impl Buffer {
    /// Room for at least `frames` frames.
    pub(super) fn new(channels: usize, frames: usize) -> Self {
        let capacity = frames.next_power_of_two();
        Self {
            channels,
            keys: vec![0; capacity].into_boxed_slice(),
            masks: vec![0; capacity].into_boxed_slice(),
            samples: vec![0.0; capacity * channels].into_boxed_slice(),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.keys.len()
    }

    fn index(&self, position: u64) -> usize {
        // The capacity is a power of two. Several times for each frame, a division would cost more than all the rest.
        usize::try_from(position & (count(self.capacity()) - 1)).unwrap_or(0)
    }

    /// The channels that are there, when the ring holds this position.
    fn bits(&self, position: u64) -> u64 {
        let index = self.index(position);
        if self.keys[index] & !BREAK == position { self.masks[index] } else { 0 }
    }

    fn is_complete(&self, position: u64, full: u64) -> bool {
        self.bits(position) & full == full
    }

    /// How many frames from `position` on are complete, at most `max`.
    pub(super) fn run(&self, position: u64, max: usize, full: u64) -> usize {
        (position..).take(max).take_while(|position| self.is_complete(*position, full)).count()
    }

    /// How many frames from `position` on are not complete, at most `max`.
    pub(super) fn gap(&self, position: u64, max: usize, full: u64) -> usize {
        (position..).take(max).take_while(|position| !self.is_complete(*position, full)).count()
    }

    /// Whether the sender said that this frame does not continue the one before.
    pub(super) fn is_break(&self, position: u64) -> bool {
        self.keys[self.index(position)] == position | BREAK
    }

    /// Marks the break at a frame that was written.
    pub(super) fn set_break(&mut self, position: u64) {
        if self.bits(position) != 0 {
            let index = self.index(position);
            self.keys[index] |= BREAK;
        }
    }

    /// Stores `frames` frames of a block from its frame `from` on, at `position`. What is there already stays.
    pub(super) fn write(
        &mut self,
        position: u64,
        header: &Header,
        samples: &Samples<'_>,
        from: usize,
        frames: usize,
    ) -> Written {
        let first = usize::from(header.first_channel);
        let end = (first + usize::from(header.channels)).min(self.channels);
        let mut written = Written::default();
        let bits = (first..end).fold(0_u64, |bits, channel| bits | 1 << channel);
        // Where the block is new as a whole, the usual case, whole pieces are copied.
        if (position..).take(frames).all(|position| self.bits(position) & bits == 0) {
            for channel in first..end {
                let (one, two) = samples.channel(channel - first);
                self.copy_in(channel, position, tail(one, from, frames));
                let skipped = one.len().saturating_sub(from).min(frames);
                let rest = tail(two, from.saturating_sub(one.len()), frames - skipped);
                self.copy_in(channel, position + count(skipped), rest);
            }
        } else {
            for (frame, position) in (from..).zip(position..).take(frames) {
                let missing = bits & !self.bits(position);
                for channel in first..end {
                    if missing & 1 << channel != 0 {
                        let slot = channel * self.capacity() + self.index(position);
                        self.samples[slot] = samples.get(channel - first, frame);
                    }
                }
            }
        }
        for position in (position..).take(frames) {
            let before = self.bits(position);
            if bits & !before == 0 {
                written.known += 1;
            } else {
                written.new += 1;
                let index = self.index(position);
                // A key that names another position, or none, is replaced; a break that was marked stays.
                if before == 0 {
                    self.keys[index] = position;
                }
                self.masks[index] = before | bits;
            }
        }
        written
    }

    fn copy_in(&mut self, channel: usize, position: u64, source: &[f32]) {
        let (begin, capacity) = (self.index(position), self.capacity());
        let row = &mut self.samples[channel * capacity..(channel + 1) * capacity];
        let first = source.len().min(capacity - begin);
        row[begin..begin + first].copy_from_slice(&source[..first]);
        row[..source.len() - first].copy_from_slice(&source[first..]);
    }

    /// Copies one channel's samples from `position` on; whether they are there is the caller's to know.
    pub(super) fn copy_out(&self, channel: usize, position: u64, destination: &mut [f32]) {
        let (begin, capacity) = (self.index(position), self.capacity());
        let row = &self.samples[channel * capacity..(channel + 1) * capacity];
        let first = destination.len().min(capacity - begin);
        let (one, two) = destination.split_at_mut(first);
        one.copy_from_slice(&row[begin..begin + first]);
        // A block that is longer than the ring has no frames there: the caller copies only what is complete.
        two.copy_from_slice(&row[..two.len()]);
    }

    pub(super) fn sample(&self, channel: usize, position: u64) -> f32 {
        self.samples[channel * self.capacity() + self.index(position)]
    }
}

/// At most `length` samples of `slice` from `from` on.
fn tail(slice: &[f32], from: usize, length: usize) -> &[f32] {
    let from = from.min(slice.len());
    &slice[from..slice.len().min(from + length)]
}

/// A count as a distance between positions.
pub(super) fn count(frames: usize) -> u64 {
    u64::try_from(frames).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_rt::block_ring::{Epoch, Flags, block_ring};
    use audiocloud_units::{HostTime, MediaTime, Nanos, SampleRate};
    use proptest::prelude::*;

    fn write(buffer: &mut Buffer, position: u64, frames: usize, first: u16, channels: u16) -> Written {
        let header = Header {
            epoch: Epoch(0),
            sample_rate: SampleRate::new(48_000).unwrap(),
            start: MediaTime::new(position),
            frames: u32::try_from(frames).unwrap(),
            first_channel: first,
            channels,
            stream_channels: first + channels,
            host_time: HostTime::new(0),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        let (mut producer, mut consumer) = block_ring(1, 4_096);
        producer
            .try_push(&header, |channel, from, destination| {
                for (frame, slot) in (from..).zip(destination) {
                    *slot = value(usize::from(first) + channel, position + count(frame));
                }
            })
            .unwrap();
        consumer.try_pop(|header, samples| buffer.write(position, header, &samples, 0, frames)).unwrap()
    }

    fn value(channel: usize, position: u64) -> f32 {
        (position % 10_000 * 16) as f32 + channel as f32
    }

    #[test]
    fn channels_come_in_groups() {
        let mut buffer = Buffer::new(4, 64);
        assert_eq!(write(&mut buffer, 1_000, 10, 0, 2), Written { new: 10, known: 0 });
        assert_eq!((buffer.run(1_000, 64, 0b11), buffer.run(1_000, 64, 0b1111)), (10, 0));
        assert_eq!(buffer.gap(1_000, 64, 0b1111), 64);
        assert_eq!(write(&mut buffer, 1_004, 3, 2, 2), Written { new: 3, known: 0 });
        assert_eq!(buffer.gap(1_000, 64, 0b1111), 4);
        assert_eq!(buffer.run(1_004, 64, 0b1111), 3);
        assert_eq!(write(&mut buffer, 998, 4, 0, 2), Written { new: 2, known: 2 });
        assert_eq!(write(&mut buffer, 1_000, 10, 4, 2), Written { new: 0, known: 10 }, "not kept");
    }

    #[test]
    fn breaks_are_kept() {
        let mut buffer = Buffer::new(1, 64);
        buffer.set_break(100);
        assert!(!buffer.is_break(100));
        write(&mut buffer, 100, 4, 0, 1);
        buffer.set_break(100);
        assert!(buffer.is_break(100) && !buffer.is_break(101));
        assert_eq!(buffer.run(100, 64, 1), 4);
    }

    proptest! {
        /// Against a model: whatever the order, what is said to be there is what was written last at that slot.
        #[test]
        fn holds_what_was_written(
            writes in prop::collection::vec((0_u64..300, 1_usize..64, 0_u16..3, 1_u16..3), 1..60)
        ) {
            let mut buffer = Buffer::new(3, 64);
            let mut model = std::collections::BTreeMap::<u64, (u64, u16)>::new();
            for (position, frames, first, channels) in writes {
                let position = position + 1_000;
                write(&mut buffer, position, frames, first, channels);
                let bits = (first..(first + channels).min(3)).fold(0, |bits, channel| bits | 1 << channel);
                for position in (position..).take(frames) {
                    if bits != 0 {
                        let slot = model.entry(position % 64).or_insert((position, 0));
                        if slot.0 != position {
                            *slot = (position, 0);
                        }
                        slot.1 |= bits;
                    }
                }
            }
            for position in 1_000..1_400_u64 {
                let expected = model.get(&(position % 64)).filter(|slot| slot.0 == position).map_or(0, |slot| slot.1);
                for channel in 0..3 {
                    let there = buffer.run(position, 1, 1 << channel) == 1;
                    prop_assert_eq!(there, expected & 1 << channel != 0);
                    if there {
                        prop_assert_eq!(buffer.sample(channel, position), value(channel, position));
                        let mut copied = [0.0];
                        buffer.copy_out(channel, position, &mut copied);
                        prop_assert_eq!(copied[0], value(channel, position));
                    }
                }
            }
        }
    }
}
