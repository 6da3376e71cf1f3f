//! Finding a Receive whose output reaches a Send of the same stream in the same process.
//!
//! What a Receive plays is what the Send sent a little earlier, so likeness between the two proves nothing: any steady
//! tone looks like a loop. It only raises a suspicion, when it stays at one lag. Then the Receive is asked to dip for a
//! few milliseconds, at a moment that the music cannot foresee, and the Send looks whether its input misses what was
//! held back. Three dips in a row that are missed make a loop: the Receive fades out, and both say so.
//!
//! The two meet in a [`Meeting`] for each stream and process: rings of atomics, made at activation, without a lock in
//! the callbacks. A Receive without a Send of its stream in the process, and the other way round, costs next to nothing.

mod listener;
mod player;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub use listener::Listener;
pub use player::{Player, Watch};

use crate::state::StreamRef;

/// Receives of one stream in one process that are watched; more go unwatched.
const MARKS: usize = 4;
/// Frames of what was played that are kept, a power of two: the longest lag twice.
const RING: usize = 1 << 14;

static MEETINGS: Mutex<Vec<(StreamRef, Weak<Meeting>)>> = Mutex::new(Vec::new());

/// Where Send and Receives of one stream find each other.
#[derive(Debug)]
pub struct Meeting {
    marks: [Mark; MARKS],
}

/// What one Receive lets the Send know, and the other way round.
#[derive(Debug)]
struct Mark {
    /// A Receive writes here.
    taken: AtomicBool,
    /// The pre-emphasised sum of the channels as they would be played without dips, as bits.
    ring: Box<[AtomicU32]>,
    /// Frames written since the mark was taken.
    written: AtomicU64,
    /// Dips that the Send has asked for.
    dips_wanted: AtomicU32,
    /// Dips that the Receive has begun, and the frame at which it began the last.
    dips_begun: AtomicU32,
    dip_start: AtomicU64,
    looped: AtomicBool,
}

impl Mark {
    fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            ring: (0..RING).map(|_| AtomicU32::new(0)).collect(),
            written: AtomicU64::new(0),
            dips_wanted: AtomicU32::new(0),
            dips_begun: AtomicU32::new(0),
            dip_start: AtomicU64::new(0),
            looped: AtomicBool::new(false),
        }
    }

    /// The sample at a frame; of the ring's span only.
    fn at(&self, frame: u64) -> f32 {
        f32::from_bits(self.ring[slot(frame)].load(Ordering::Relaxed))
    }
}

fn slot(frame: u64) -> usize {
    usize::try_from(frame % RING as u64).unwrap_or(0)
}

impl Meeting {
    /// The meeting place of a stream. *Realtime-safe: no.*
    pub fn of(stream: StreamRef) -> Arc<Self> {
        let mut meetings = MEETINGS.lock().unwrap_or_else(PoisonError::into_inner);
        meetings.retain(|(_, meeting)| meeting.strong_count() > 0);
        let known = meetings.iter().find(|(known, _)| *known == stream);
        if let Some(meeting) = known.and_then(|(_, meeting)| meeting.upgrade()) {
            return meeting;
        }
        let meeting = Arc::new(Self { marks: std::array::from_fn(|_| Mark::new()) });
        meetings.push((stream, Arc::downgrade(&meeting)));
        meeting
    }

    /// Whether any Receive has been found to play into the Send. *Realtime-safe: yes.*
    pub fn is_looped(&self) -> bool {
        self.marks
            .iter()
            .any(|mark| mark.taken.load(Ordering::Relaxed) && mark.looped.load(Ordering::Relaxed))
    }
}

/// Lengths in frames at one sample rate.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    /// One look at the likeness.
    window: u32,
    /// A dip: down, silence, up.
    edge: u32,
    hold: u32,
    /// Out of a loop.
    fade: u32,
}

impl Lengths {
    fn at(sample_rate_hz: u32) -> Self {
        let per_ms = (sample_rate_hz / 1_000).max(1);
        Self { window: 50 * per_ms, edge: 2 * per_ms, hold: 12 * per_ms, fade: 20 * per_ms }
    }

    fn dip(&self) -> u32 {
        2 * self.edge + self.hold
    }
}

/// Sum of the channels, each with another weight so that opposite phases do not cancel, and without its low end:
/// steady bass looks alike at every lag. First difference, so both sides stay linear.
#[derive(Clone, Copy, Debug, Default)]
struct Emphasis {
    before: f32,
}

impl Emphasis {
    fn next<C: AsRef<[f32]>>(&mut self, channels: &[C], frame: usize) -> f32 {
        let (mut sum, mut weight) = (0.0, 1.0);
        for channel in channels {
            sum += weight * channel.as_ref().get(frame).copied().unwrap_or(0.0);
            weight *= 0.7;
        }
        let sum = if sum.is_finite() { sum } else { 0.0 };
        let emphasised = sum - 0.95 * self.before;
        self.before = sum;
        emphasised
    }
}

/// Sums over pairs of what went in and what was played.
#[derive(Clone, Copy, Debug, Default)]
struct Likeness {
    cross: f64,
    input: f64,
    played: f64,
    frames: u32,
}

impl Likeness {
    fn add(&mut self, input: f32, played: f32) {
        let (input, played) = (f64::from(input), f64::from(played));
        self.cross += input * played;
        self.input += input * input;
        self.played += played * played;
        self.frames += 1;
    }

    /// −1 to 1; `None` when either is as good as silent, below −80 dB.
    fn correlation(&self) -> Option<f64> {
        let silent = 1e-8 * f64::from(self.frames.max(1));
        (self.input > silent && self.played > silent).then(|| self.cross / (self.input * self.played).sqrt())
    }

    /// How much of what was played is in the input, as a gain.
    fn gain(&self) -> f64 {
        if self.played > 0.0 { self.cross / self.played } else { 0.0 }
    }
}

#[cfg(test)]
mod tests;
