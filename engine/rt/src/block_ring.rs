//! A ring of audio blocks between the callback and the runtime: headers in one `rtrb` ring, planar samples in
//! another. Samples are committed before their header, so that whoever sees a header sees its samples.

use audiocloud_units::{HostTime, MediaTime, Nanos, SampleRate, SessionTime};

/// One uninterrupted life of a stream: random, and new at a restart, a rate change or a suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// What is special about a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Frames before this block were never sent: it does not continue the waveform.
    pub const DISCONTINUITY: Self = Self(1);
    /// A copy of frames that were sent before.
    pub const REPEAT: Self = Self(1 << 1);
    /// All samples are zero.
    pub const SILENCE: Self = Self(1 << 2);

    /// Whether every flag of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// When a frame is, on the session's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionStamp {
    /// When it was recorded.
    pub time: SessionTime,
    /// How long after that every receiver is to let it go, where the sender says so: as long as the slowest of those needs
    /// who play it aligned.
    pub link_offset: Option<Nanos>,
}

/// What a block is, beside its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The epoch that `start` counts in.
    pub epoch: Epoch,
    /// The stream's nominal rate.
    pub sample_rate: SampleRate,
    /// The first frame's index.
    pub start: MediaTime,
    /// Frames in this block.
    pub frames: u32,
    /// The first of the stream's channels that this block carries.
    pub first_channel: u16,
    /// How many channels this block carries.
    pub channels: u16,
    /// How many channels the whole stream has.
    pub stream_channels: u16,
    /// The sender's callback entry, or on the far side of a network the packet's arrival.
    pub host_time: HostTime,
    /// Session time of the first frame, where known.
    pub session_time: Option<SessionStamp>,
    /// What is special about it.
    pub flags: Flags,
    /// From when a block usually comes until one that was lost has been brought back in its place, as the decoder reckons
    /// with; 0 where nothing is lost, or where nothing brings it back.
    pub recovery: Nanos,
}

impl Header {
    /// Samples of all its channels.
    #[must_use]
    pub fn samples(&self) -> usize {
        usize::from(self.channels).saturating_mul(self.frame_count())
    }

    /// `frames` as a count for slices.
    #[must_use]
    pub fn frame_count(&self) -> usize {
        usize::try_from(self.frames).unwrap_or(usize::MAX)
    }
}

/// There is no room: the ring was left as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the block ring is full: its reader is too slow or gone")
    }
}

impl std::error::Error for Full {}

/// The end that writes.
#[derive(Debug)]
pub struct Producer {
    headers: rtrb::Producer<Header>,
    samples: rtrb::Producer<f32>,
}

/// The end that reads.
#[derive(Debug)]
pub struct Consumer {
    headers: rtrb::Consumer<Header>,
    samples: rtrb::Consumer<f32>,
}

/// A ring of at most `blocks` blocks that together hold at most `samples` samples (frames times channels).
/// *Realtime-safe: no* (allocates); nor is dropping the last end, which frees.
#[must_use]
pub fn block_ring(blocks: usize, samples: usize) -> (Producer, Consumer) {
    let (headers_in, headers_out) = rtrb::RingBuffer::new(blocks);
    let (samples_in, samples_out) = rtrb::RingBuffer::new(samples);
    (
        Producer { headers: headers_in, samples: samples_in },
        Consumer { headers: headers_out, samples: samples_out },
    )
}

impl Producer {
    /// Copies one block in. `fill(channel, from_frame, destination)` is called for each contiguous piece of each
    /// channel and must write all of `destination`, which is zeros before.
    ///
    /// # Errors
    /// [`Full`] when the header or the samples do not fit; then nothing has changed, and `fill` was not called.
    ///
    /// *Realtime-safe: yes*, one thread.
    pub fn try_push(
        &mut self,
        header: &Header,
        mut fill: impl FnMut(usize, usize, &mut [f32]),
    ) -> Result<(), Full> {
        if self.headers.is_full() {
            return Err(Full);
        }
        let mut chunk = self.samples.write_chunk(header.samples()).map_err(|_| Full)?;
        let (one, two) = chunk.as_mut_slices();
        let frames = header.frame_count();
        for channel in 0..usize::from(header.channels) {
            let (begin, end) = (channel * frames, (channel + 1) * frames);
            let middle = one.len().clamp(begin, end);
            if begin < middle {
                fill(channel, 0, &mut one[begin..middle]);
            }
            if middle < end {
                fill(channel, middle - begin, &mut two[middle - one.len()..end - one.len()]);
            }
        }
        chunk.commit_all();
        let pushed = self.headers.push(*header);
        debug_assert!(pushed.is_ok(), "room was checked, and only this end takes it");
        Ok(())
    }

    /// Whether the reading end is gone: what is pushed now nobody will read.
    ///
    /// *Realtime-safe: yes*, one thread.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.headers.is_abandoned()
    }

    /// Whether a block of so many samples (frames times channels) fits now.
    ///
    /// *Realtime-safe: yes*, one thread.
    #[must_use]
    pub fn has_room(&self, samples: usize) -> bool {
        !self.headers.is_full() && self.samples.slots() >= samples
    }

    /// The most samples (frames times channels) that the ring can hold: larger blocks never fit.
    ///
    /// *Realtime-safe: yes*, one thread.
    #[must_use]
    pub fn samples_max(&self) -> usize {
        self.samples.buffer().capacity()
    }

    /// The most blocks that the ring can hold.
    ///
    /// *Realtime-safe: yes*, one thread.
    #[must_use]
    pub fn blocks_max(&self) -> usize {
        self.headers.buffer().capacity()
    }
}

impl Consumer {
    /// The next block's header, left in the ring.
    ///
    /// *Realtime-safe: yes*, one thread.
    #[must_use]
    pub fn peek(&self) -> Option<Header> {
        self.headers.peek().ok().copied()
    }

    /// Hands the next block to `read` and frees its room afterwards. `None` when the ring is empty.
    ///
    /// *Realtime-safe: yes*, one thread.
    pub fn try_pop<R>(&mut self, read: impl FnOnce(&Header, Samples<'_>) -> R) -> Option<R> {
        let header = self.peek()?;
        let result = match self.samples.read_chunk(header.samples()) {
            Ok(chunk) => {
                let (one, two) = chunk.as_slices();
                let result = read(&header, Samples { one, two, header: &header });
                chunk.commit_all();
                Some(result)
            }
            Err(_) => {
                debug_assert!(false, "samples are committed before their header");
                None
            }
        };
        let popped = self.headers.pop();
        debug_assert!(popped.is_ok(), "a header was peeked, and only this end takes it");
        result
    }

    /// Blocks waiting.
    ///
    /// *Realtime-safe: yes*, one thread.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.headers.slots()
    }

    /// Whether the writing end is gone: after what is still inside nothing will come.
    ///
    /// *Realtime-safe: yes*, one thread.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.headers.is_abandoned()
    }

    /// The most samples (frames times channels) that the ring can hold.
    ///
    /// *Realtime-safe: yes*, one thread.
    #[must_use]
    pub fn samples_max(&self) -> usize {
        self.samples.buffer().capacity()
    }

    /// The most blocks that the ring can hold.
    ///
    /// *Realtime-safe: yes*, one thread.
    #[must_use]
    pub fn blocks_max(&self) -> usize {
        self.headers.buffer().capacity()
    }
}

/// A block's samples, in place in the ring; a channel that spans the ring's end comes in two pieces.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    one: &'a [f32],
    two: &'a [f32],
    header: &'a Header,
}

impl<'a> Samples<'a> {
    /// The samples of the block's channel `channel` (0 is the header's `first_channel`), in order: first piece, then
    /// second, either of which may be empty. Both are empty for a channel that the block does not carry.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn channel(&self, channel: usize) -> (&'a [f32], &'a [f32]) {
        if channel >= usize::from(self.header.channels) {
            return (&[], &[]);
        }
        let frames = self.header.frame_count();
        let (begin, end) = (channel * frames, (channel + 1) * frames);
        let middle = self.one.len().clamp(begin, end);
        let first = if begin < middle { &self.one[begin..middle] } else { &[] };
        let second =
            if middle < end { &self.two[middle - self.one.len()..end - self.one.len()] } else { &[] };
        (first, second)
    }

    /// One sample; 0 outside the block.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn get(&self, channel: usize, frame: usize) -> f32 {
        let (first, second) = self.channel(channel);
        match first.get(frame) {
            Some(sample) => *sample,
            None => second.get(frame - first.len()).copied().unwrap_or(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(start: u64, frames: u32, channels: u16) -> Header {
        Header {
            epoch: Epoch(1),
            sample_rate: SampleRate::new(48_000).unwrap(),
            start: MediaTime::new(start),
            frames,
            first_channel: 0,
            channels,
            stream_channels: channels,
            host_time: HostTime::new(0),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        }
    }

    /// A value that names its frame and channel.
    fn sample(start: u64, channel: usize, frame: usize) -> f32 {
        let frame = u64::try_from(frame).unwrap();
        ((start + frame) % 10_000 * 8) as f32 + channel as f32
    }

    fn push(ring: &mut Producer, header: &Header) -> Result<(), Full> {
        ring.try_push(header, |channel, from, destination| {
            for (index, slot) in destination.iter_mut().enumerate() {
                *slot = sample(header.start.get(), channel, from + index);
            }
        })
    }

    fn check_next(ring: &mut Consumer) -> Option<Header> {
        let peeked = ring.peek();
        let popped = ring.try_pop(|header, samples| {
            for channel in 0..usize::from(header.channels) {
                let (first, second) = samples.channel(channel);
                assert_eq!(first.len() + second.len(), header.frame_count());
                for (frame, found) in first.iter().chain(second).enumerate() {
                    assert_eq!(*found, sample(header.start.get(), channel, frame));
                    assert_eq!(samples.get(channel, frame), *found);
                }
            }
            assert_eq!(samples.get(usize::from(header.channels), 0), 0.0);
            assert_eq!(samples.get(0, header.frame_count()), 0.0);
            *header
        });
        // Nothing seen may still be something taken: the other end may be another thread.
        assert!(peeked.is_none() || peeked == popped, "{peeked:?} became {popped:?}");
        popped
    }

    #[test]
    fn full_leaves_the_ring_untouched() {
        let (mut producer, mut consumer) = block_ring(2, 100);
        assert_eq!((producer.blocks_max(), producer.samples_max()), (2, 100));
        assert_eq!(push(&mut producer, &header(0, 101, 1)), Err(Full), "larger than the ring");
        assert_eq!(push(&mut producer, &header(0, 60, 1)), Ok(()));
        assert_eq!(push(&mut producer, &header(60, 41, 1)), Err(Full), "no room for samples");
        assert_eq!(push(&mut producer, &header(60, 20, 2)), Ok(()));
        assert_eq!(push(&mut producer, &header(80, 0, 1)), Err(Full), "no room for a header");
        assert_eq!(consumer.blocks(), 2);
        assert_eq!(check_next(&mut consumer), Some(header(0, 60, 1)));
        assert_eq!(check_next(&mut consumer), Some(header(60, 20, 2)));
        assert_eq!(check_next(&mut consumer), None);
        assert_eq!(push(&mut producer, &header(80, 50, 2)), Ok(()));
        assert_eq!(check_next(&mut consumer), Some(header(80, 50, 2)));
    }

    #[test]
    fn abandonment_is_noticed_at_both_ends() {
        let (producer, consumer) = block_ring(2, 100);
        assert!(!producer.is_abandoned() && !consumer.is_abandoned());
        drop(producer);
        assert!(consumer.is_abandoned());
        let (producer, consumer) = block_ring(2, 100);
        drop(consumer);
        assert!(producer.is_abandoned());
    }

    #[test]
    fn across_threads() {
        let (mut producer, mut consumer) = block_ring(7, 1_000);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut start = 0;
                while start < 200_000 {
                    let frames = 1 + u32::try_from(start % 97).unwrap();
                    if push(&mut producer, &header(start, frames, 2)).is_ok() {
                        start += u64::from(frames);
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
            let mut expected = 0;
            while !(consumer.is_abandoned() && consumer.blocks() == 0) {
                match check_next(&mut consumer) {
                    Some(header) => {
                        assert_eq!(header.start.get(), expected);
                        expected += u64::from(header.frames);
                    }
                    None => std::thread::yield_now(),
                }
            }
            assert!(expected >= 200_000);
        });
    }

    proptest! {
        /// What goes in comes out, whole and in order, wherever the ring's end falls.
        #[test]
        fn keeps_order_and_content(
            steps in prop::collection::vec((any::<bool>(), 0_u32..70, 1_u16..9), 1..200)
        ) {
            let (mut producer, mut consumer) = block_ring(5, 701);
            let mut inside = std::collections::VecDeque::new();
            let mut start = 0;
            for (writes, frames, channels) in steps {
                if writes {
                    let header = header(start, frames, channels);
                    let room = 701 - inside.iter().map(Header::samples).sum::<usize>();
                    let fits = inside.len() < 5 && header.samples() <= room;
                    prop_assert_eq!(push(&mut producer, &header).is_ok(), fits);
                    if fits {
                        inside.push_back(header);
                        start += u64::from(frames);
                    }
                } else {
                    prop_assert_eq!(check_next(&mut consumer), inside.pop_front());
                }
            }
        }
    }
}
