//! What lies where in the memory that a node's audio half and a plug-in's process share.
//!
//! It is a ring of slots, one for each block of 64 frames, numbered from 0 for ever. Ours fills slot `submitted`, then
//! counts it; theirs answers slot `done`, in the same slot, then counts that. Neither ever writes what the other may
//! read at that moment: a slot is ours from `done` on and theirs from `submitted` on, and ours never gets further
//! ahead than there are slots.

use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use audiocloud_graph::event::Transport;
use audiocloud_graph::node::{CHANNELS_MAX, GRID};
use rustix::event::Timespec;
use rustix::thread::futex;

use crate::memory::Memory;
use crate::words::{EVENT_WORDS, EventWords};

/// The most events of one block in each direction; what comes beyond is refused and counted.
pub(crate) const EVENTS_MAX: usize = 256;
/// Buckets of a histogram of times; see [`crate::hop`].
pub(crate) const BUCKETS: usize = 160;

const SLOTS_MAX: u32 = 1024;

/// 64-bit words before those of the slots. Each counter has a cache line.
const HEADER_LONGS: usize = 64 + 2 * BUCKETS;
const SUBMITTED: usize = 0;
const DONE: usize = 8;
const BEATS: usize = 16;
const ERRORS: usize = 24;
const REFUSED_EVENTS: usize = 25;
const WAKES: Range<usize> = 64..64 + BUCKETS;
const TURNS: Range<usize> = 64 + BUCKETS..64 + 2 * BUCKETS;

/// 32-bit words before those of the slots.
const HEADER_WORDS: usize = 32;
/// Changes with each answer, so that one can wait for the next.
const RUNG: usize = 0;
/// How many do.
const WAITING: usize = 16;

/// 64-bit words of a slot.
const SLOT_LONGS: usize = 8;
const POSITION: usize = 0;
const SUBMITTED_AT: usize = 1;
const TEMPO: usize = 2;
const BEAT: usize = 3;

/// 32-bit words of a slot before its events.
const SLOT_WORDS: usize = 16;
const FLAGS: usize = 0;
const SIGNATURE: usize = 1;
const EVENTS_IN: usize = 2;
const EVENTS_OUT: usize = 3;

const BEGINS: u32 = 1;
const OFFLINE: u32 = 2;
const PLAYING: u32 = 4;

/// What both sides must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Of the chain: as many go in as come out.
    pub(crate) channels: u16,
    /// Of a second input; 0 for none.
    pub(crate) side_chain: u16,
    /// Blocks that can be under way.
    pub(crate) slots: u32,
}

impl Shape {
    /// `None` where it makes no sense.
    pub(crate) fn new(channels: u16, side_chain: u16, slots: u32) -> Option<Self> {
        let fits = (1..=CHANNELS_MAX).contains(&channels)
            && side_chain <= CHANNELS_MAX
            && (2..=SLOTS_MAX).contains(&slots);
        fits.then_some(Self { channels, side_chain, slots })
    }

    fn slot_words(self) -> usize {
        let channels = 2 * usize::from(self.channels) + usize::from(self.side_chain);
        SLOT_WORDS + 2 * EVENTS_MAX * EVENT_WORDS + channels * GRID
    }

    fn lengths(self) -> (usize, usize) {
        let slots = self.slots as usize;
        (HEADER_LONGS + slots * SLOT_LONGS, HEADER_WORDS + slots * self.slot_words())
    }
}

/// The memory with its places named.
#[derive(Debug)]
pub(crate) struct Shared {
    memory: Memory,
    shape: Shape,
}

impl Shared {
    pub(crate) fn create(shape: Shape) -> io::Result<Self> {
        let (longs, words) = shape.lengths();
        Ok(Self { memory: Memory::create(longs, words)?, shape })
    }

    pub(crate) fn adopt(file: OwnedFd, shape: Shape) -> io::Result<Self> {
        let (longs, words) = shape.lengths();
        Ok(Self { memory: Memory::adopt(file, longs, words)?, shape })
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.memory.file()
    }

    fn long(&self, index: usize) -> &AtomicU64 {
        &self.memory.longs()[index]
    }

    /// Blocks that were given to the plug-in.
    pub(crate) fn submitted(&self) -> u64 {
        self.long(SUBMITTED).load(Ordering::Acquire)
    }

    /// Only for the side that submits.
    pub(crate) fn set_submitted(&self, count: u64) {
        self.long(SUBMITTED).store(count, Ordering::Release);
    }

    /// Blocks that the plug-in has answered; what its process writes, so anything.
    pub(crate) fn done(&self) -> u64 {
        self.long(DONE).load(Ordering::Acquire)
    }

    /// Only for the side that answers.
    pub(crate) fn set_done(&self, count: u64) {
        self.long(DONE).store(count, Ordering::Release);
        self.ring();
    }

    /// Has who waits look again. *Realtime-safe: yes*: a system call only where somebody waits, and that does not block.
    pub(crate) fn ring(&self) {
        let rung = &self.memory.words()[RUNG];
        rung.fetch_add(1, Ordering::SeqCst);
        if self.memory.words()[WAITING].load(Ordering::SeqCst) > 0 {
            // Whom it does not reach looks when their time is over.
            futex::wake(rung, futex::Flags::empty(), 1 << 30).ok();
        }
    }

    /// Waits for something that comes with an answer, or with an end; for at most so long. Whether it has come.
    ///
    /// *Realtime-safe: no* (waits).
    pub(crate) fn wait_until(&self, has_come: impl Fn() -> bool, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let [rung, waiting] = [RUNG, WAITING].map(|word| &self.memory.words()[word]);
        waiting.fetch_add(1, Ordering::SeqCst);
        let come = loop {
            // In this order: what rings after the look finds another number, and the wait does not begin.
            let before = rung.load(Ordering::SeqCst);
            let left = deadline.saturating_duration_since(Instant::now());
            if has_come() || left.is_zero() {
                break has_come();
            }
            if let Ok(left) = Timespec::try_from(left) {
                // Rung, interrupted or over: it looks again in any case.
                futex::wait(rung, futex::Flags::empty(), before, Some(&left)).ok();
            }
        };
        waiting.fetch_sub(1, Ordering::SeqCst);
        come
    }

    /// Rises while the plug-in's main thread lives.
    pub(crate) fn beats(&self) -> u64 {
        self.long(BEATS).load(Ordering::Relaxed)
    }

    pub(crate) fn beat(&self) {
        self.long(BEATS).fetch_add(1, Ordering::Relaxed);
    }

    /// Calls that the plug-in said had failed.
    pub(crate) fn errors(&self) -> u64 {
        self.long(ERRORS).load(Ordering::Relaxed)
    }

    pub(crate) fn count_error(&self) {
        self.long(ERRORS).fetch_add(1, Ordering::Relaxed);
    }

    /// Events that found no room, in either direction.
    pub(crate) fn refused_events(&self) -> u64 {
        self.long(REFUSED_EVENTS).load(Ordering::Relaxed)
    }

    fn count_refused_event(&self) {
        self.long(REFUSED_EVENTS).fetch_add(1, Ordering::Relaxed);
    }

    /// Times from submission to the plug-in's beginning.
    pub(crate) fn wakes(&self) -> &[AtomicU64] {
        &self.memory.longs()[WAKES]
    }

    /// Times from submission to the answer.
    pub(crate) fn turns(&self) -> &[AtomicU64] {
        &self.memory.longs()[TURNS]
    }

    /// The place of one block.
    pub(crate) fn slot(&self, number: u64) -> Slot<'_> {
        let slots = u64::from(self.shape.slots);
        let index = usize::try_from(number % slots).unwrap_or(0);
        let longs = HEADER_LONGS + index * SLOT_LONGS;
        let words = HEADER_WORDS + index * self.shape.slot_words();
        Slot {
            shared: self,
            longs: &self.memory.longs()[longs..longs + SLOT_LONGS],
            words: &self.memory.words()[words..words + self.shape.slot_words()],
        }
    }
}

/// Which way events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    In,
    Out,
}

/// What holds for a whole block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Head {
    /// Frames since reset, a multiple of 64.
    pub(crate) position: u64,
    /// The plug-in forgets what it heard before.
    pub(crate) begins: bool,
    pub(crate) offline: bool,
    pub(crate) transport: Transport,
}

/// One block: what goes in, and what comes out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<'a> {
    shared: &'a Shared,
    longs: &'a [AtomicU64],
    words: &'a [AtomicU32],
}

impl<'a> Slot<'a> {
    /// Begins to fill it.
    pub(crate) fn open(&self, head: &Head) {
        self.set_long(POSITION, head.position);
        self.set_long(TEMPO, head.transport.tempo_bpm.to_bits());
        self.set_long(BEAT, head.transport.position_beats.to_bits());
        let flag = |on, flag| if on { flag } else { 0 };
        let flags =
            flag(head.begins, BEGINS) | flag(head.offline, OFFLINE) | flag(head.transport.playing, PLAYING);
        self.set_word(FLAGS, flags);
        let (beats, value) = head.transport.signature;
        self.set_word(SIGNATURE, u32::from(beats) << 16 | u32::from(value));
        self.set_word(EVENTS_IN, 0);
        self.set_word(EVENTS_OUT, 0);
    }

    pub(crate) fn head(&self) -> Head {
        let flags = self.word(FLAGS);
        let signature = self.word(SIGNATURE);
        let half = |bits: u32| u16::try_from(bits & 0xffff).unwrap_or(0);
        Head {
            position: self.long(POSITION),
            begins: flags & BEGINS != 0,
            offline: flags & OFFLINE != 0,
            transport: Transport {
                playing: flags & PLAYING != 0,
                tempo_bpm: f64::from_bits(self.long(TEMPO)),
                position_beats: f64::from_bits(self.long(BEAT)),
                signature: (half(signature >> 16), half(signature)),
            },
        }
    }

    pub(crate) fn submitted_at(&self) -> u64 {
        self.long(SUBMITTED_AT)
    }

    pub(crate) fn set_submitted_at(&self, nanos: u64) {
        self.set_long(SUBMITTED_AT, nanos);
    }

    /// Adds an event; one that finds no room is counted, and `false`.
    pub(crate) fn push(&self, direction: Direction, event: EventWords) -> bool {
        let (count, _) = place(direction);
        let length = self.word(count) as usize;
        let Some(to) = self.event(direction, length) else {
            self.shared.count_refused_event();
            return false;
        };
        for (to, word) in to.iter().zip(event) {
            to.store(word, Ordering::Relaxed);
        }
        self.words[count].fetch_add(1, Ordering::Relaxed);
        true
    }

    /// What was added, at most [`EVENTS_MAX`].
    pub(crate) fn events(&self, direction: Direction) -> impl Iterator<Item = EventWords> + use<'a> {
        let slot = *self;
        let (count, _) = place(direction);
        let length = (slot.word(count) as usize).min(EVENTS_MAX);
        let words = move |index| {
            let words = slot.event(direction, index)?;
            Some(std::array::from_fn(|word| words[word].load(Ordering::Relaxed)))
        };
        (0..length).filter_map(words)
    }

    fn event(&self, direction: Direction, index: usize) -> Option<&'a [AtomicU32]> {
        let from = place(direction).1 + index * EVENT_WORDS;
        (index < EVENTS_MAX).then(|| &self.words[from..from + EVENT_WORDS])
    }

    /// An input channel: the chain's, then the side-chain's.
    pub(crate) fn input(&self, channel: usize) -> &'a [AtomicU32] {
        let from = SLOT_WORDS + 2 * EVENTS_MAX * EVENT_WORDS + channel * GRID;
        &self.words[from..from + GRID]
    }

    /// An output channel.
    pub(crate) fn output(&self, channel: usize) -> &'a [AtomicU32] {
        let Shape { channels, side_chain, .. } = self.shared.shape;
        self.input(usize::from(channels) + usize::from(side_chain) + channel)
    }

    fn long(&self, index: usize) -> u64 {
        self.longs[index].load(Ordering::Relaxed)
    }

    fn set_long(&self, index: usize, value: u64) {
        self.longs[index].store(value, Ordering::Relaxed);
    }

    fn word(&self, index: usize) -> u32 {
        self.words[index].load(Ordering::Relaxed)
    }

    fn set_word(&self, index: usize, value: u32) {
        self.words[index].store(value, Ordering::Relaxed);
    }
}

/// Where the count of events is, and where they begin.
const fn place(direction: Direction) -> (usize, usize) {
    match direction {
        Direction::In => (EVENTS_IN, SLOT_WORDS),
        Direction::Out => (EVENTS_OUT, SLOT_WORDS + EVENTS_MAX * EVENT_WORDS),
    }
}

/// Copies samples into shared memory, as far as both reach.
pub(crate) fn write(to: &[AtomicU32], samples: &[f32]) {
    for (to, sample) in to.iter().zip(samples) {
        to.store(sample.to_bits(), Ordering::Relaxed);
    }
}

/// Copies samples out of shared memory, as far as both reach.
pub(crate) fn read(from: &[AtomicU32], samples: &mut [f32]) {
    for (from, sample) in from.iter().zip(samples) {
        *sample = f32::from_bits(from.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_share_nothing_with_each_other() {
        let shape = Shape::new(2, 1, 3).unwrap();
        let shared = Shared::create(shape).unwrap();
        let pattern = |slot: u64, channel: usize| {
            [f32::from(u16::try_from(slot * 10).unwrap() + u16::try_from(channel).unwrap()); GRID]
        };
        for number in 0..3 {
            let slot = shared.slot(number);
            let head = Head {
                position: number * 64,
                begins: number == 1,
                offline: number == 2,
                transport: Transport::default(),
            };
            slot.open(&head);
            for channel in 0..3 {
                write(slot.input(channel), &pattern(number, channel));
            }
            for channel in 0..2 {
                write(slot.output(channel), &pattern(number, channel + 5));
            }
            for event in 0..=EVENTS_MAX {
                let word = u32::try_from(event).unwrap() << 8 | u32::try_from(number).unwrap();
                assert_eq!(slot.push(Direction::In, [word; EVENT_WORDS]), event < EVENTS_MAX);
            }
            assert!(slot.push(Direction::Out, [77; EVENT_WORDS]));
        }
        assert_eq!(shared.refused_events(), 3);
        for number in 3..6 {
            let (slot, number) = (shared.slot(number), number - 3);
            assert_eq!(slot.head().position, number * 64);
            assert_eq!((slot.head().begins, slot.head().offline), (number == 1, number == 2));
            assert_eq!(slot.head().transport, Transport::default());
            let mut samples = [0.0; GRID];
            for channel in 0..3 {
                read(slot.input(channel), &mut samples);
                assert_eq!(samples, pattern(number, channel));
            }
            for channel in 0..2 {
                read(slot.output(channel), &mut samples);
                assert_eq!(samples, pattern(number, channel + 5));
            }
            let events: Vec<_> = slot.events(Direction::In).collect();
            assert_eq!(events.len(), EVENTS_MAX);
            assert_eq!(events[200], [200 << 8 | u32::try_from(number).unwrap(); EVENT_WORDS]);
            assert_eq!(slot.events(Direction::Out).collect::<Vec<_>>(), [[77; EVENT_WORDS]]);
        }
    }

    #[test]
    fn who_waits_is_woken_by_an_answer_and_by_nothing_else() {
        let shared = Shared::create(Shape::new(1, 0, 4).unwrap()).unwrap();
        assert!(!shared.wait_until(|| shared.done() > 0, Duration::from_millis(1)), "nothing came");
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=2_000).for_each(|count| shared.set_done(count)));
            for count in 1..=2_000 {
                assert!(
                    shared.wait_until(|| shared.done() >= count, Duration::from_secs(20)),
                    "answer {count}"
                );
            }
        });
        assert_eq!(shared.memory.words()[WAITING].load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_count_of_events_is_not_believed() {
        let shared = Shared::create(Shape::new(1, 0, 2).unwrap()).unwrap();
        let slot = shared.slot(0);
        slot.set_word(EVENTS_OUT, u32::MAX);
        assert_eq!(slot.events(Direction::Out).count(), EVENTS_MAX);
        assert!(!slot.push(Direction::Out, [0; EVENT_WORDS]));
    }

    #[test]
    fn shapes_that_make_no_sense() {
        assert!(Shape::new(0, 0, 8).is_none());
        assert!(Shape::new(65, 0, 8).is_none());
        assert!(Shape::new(2, 65, 8).is_none());
        assert!(Shape::new(2, 0, 1).is_none());
        assert!(Shape::new(2, 0, 1025).is_none());
    }
}
