//! When the first frame of a callback was due, to the microsecond: by the callbacks that came earliest.
//!
//! A callback is late, never early: by the time that the scheduler took, and by what the host did before. That lateness
//! has no mean worth knowing, for it grows with the load of the machine. Its least value hardly moves. So of all callbacks
//! of a quarter of a second only the earliest one counts, as of a network's packets the quickest; a delay-locked loop
//! ([`DelayLockedLoop`]) over those is what two machines compare when they are to play the same instant at one time.

use audiocloud_units::{HostTime, Nanos, SampleRate};

use crate::delay_locked_loop::DelayLockedLoop;

/// Of the loop: it follows a crystal that warms up, by 0.01 ppm a second, within a fraction of a microsecond, and one that is
/// blown at, by 0.3, within five.
const BANDWIDTH_HZ: f64 = 0.04;
/// Of the earliest ones.
const JITTER: Nanos = Nanos::from_micros(20);
/// Of so many one counts.
const WINDOW: Nanos = Nanos::from_millis(250);
/// What comes this much too early is right, and what was thought before was not.
const EARLY_NS: i64 = 100_000;
/// What is later than this may be late because the device lost frames: where nothing comes earlier for so long.
const LATE_NS: i64 = 250_000;
const LATE_CALLBACKS: u32 = 8;
const LATE_FOR: Nanos = Nanos::from_millis(30);
/// A pause.
const STALL_NS: i64 = 200_000_000;
const JITTERS: i64 = 6;

/// Follows the callbacks of one device.
#[derive(Clone, Debug)]
pub struct CallbackClock {
    sample_rate: SampleRate,
    earliest: DelayLockedLoop,
    /// The frame that the loop counts from.
    zero: u64,
    /// The first frame of this callback, and of the next one, counted from the first one of all.
    position: u64,
    next: u64,
    last_at: Option<HostTime>,
    /// In the first window the device is taken to run as it should, and the earliest one so far counts.
    is_first_window: bool,
    window_began: u64,
    /// The earliest one of the window: how late it was, when it came, and its first frame.
    best: Option<(Nanos, HostTime, u64)>,
    late: Option<Late>,
    leaps: u64,
}

/// Callbacks in a row that were too late.
#[derive(Clone, Copy, Debug)]
struct Late {
    callbacks: u32,
    since: u64,
    least: Nanos,
    last: Nanos,
}

impl CallbackClock {
    /// For a device of this nominal rate.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn new(sample_rate: SampleRate) -> Self {
        Self {
            sample_rate,
            earliest: DelayLockedLoop::new(sample_rate, BANDWIDTH_HZ).expecting(JITTER),
            zero: 0,
            position: 0,
            next: 0,
            last_at: None,
            is_first_window: true,
            window_began: 0,
            best: None,
            late: None,
            leaps: 0,
        }
    }

    /// A callback began at `at`, with a block of so many frames. A second one at the very same time is a piece of it.
    /// Whether frames have other times from here on: the device lost some, or stood still.
    ///
    /// *Realtime-safe: yes*.
    pub fn observe(&mut self, at: HostTime, frames: u32) -> bool {
        self.position = self.next;
        self.next = self.next.saturating_add(frames.into());
        let Some(last_at) = self.last_at.replace(at) else {
            self.begin_at(at);
            return false;
        };
        if last_at == at {
            return false;
        }
        let late = at - self.due();
        if self.is_first_window && late < Nanos::ZERO {
            self.begin_at(at);
        }
        let jitter = Nanos::new(JITTERS * self.earliest.jitter().get());
        let is_early = !self.is_first_window && late < -Nanos::new(EARLY_NS).max(jitter);
        if is_early || late > Nanos::new(STALL_NS) {
            return self.leap(late);
        }
        if self.is_lost(late, Nanos::new(LATE_NS).max(jitter)) {
            let least = self.late.map_or(late, |seen| seen.least);
            return self.leap(least);
        }
        if self.best.is_none_or(|(least, ..)| late < least) {
            self.best = Some((late, at, self.position));
        }
        if self.span(self.next - self.window_began) >= WINDOW {
            self.close_window();
        }
        false
    }

    /// Whether callbacks have been late for so long that it is not they who are late. A host that catches up comes nearer
    /// from one to the next; a device that left some out does not.
    fn is_lost(&mut self, late: Nanos, tolerated: Nanos) -> bool {
        if late <= tolerated {
            self.late = None;
            return false;
        }
        let begun = Late { callbacks: 0, since: self.position, least: late, last: late };
        let seen = match self.late {
            Some(seen) if late >= seen.last - tolerated => seen,
            _ => begun,
        };
        let seen = Late { callbacks: seen.callbacks + 1, least: seen.least.min(late), last: late, ..seen };
        self.late = Some(seen);
        seen.callbacks >= LATE_CALLBACKS && self.span(self.position - seen.since) >= LATE_FOR
    }

    /// The loop begins with this callback.
    fn begin_at(&mut self, at: HostTime) {
        self.earliest.reset();
        self.earliest.observe_at(at, 0);
        self.zero = self.position;
    }

    fn close_window(&mut self) {
        if let Some((_, at, position)) = self.best.take()
            && !self.is_first_window
        {
            self.earliest.observe_at(at, position - self.zero);
        }
        self.is_first_window = false;
        self.window_began = self.next;
    }

    fn leap(&mut self, by: Nanos) -> bool {
        self.earliest.shift(by);
        (self.best, self.late) = (None, None);
        self.window_began = self.next;
        self.leaps = self.leaps.saturating_add(1);
        true
    }

    fn span(&self, frames: u64) -> Nanos {
        audiocloud_units::Frames::new(i64::try_from(frames).unwrap_or(i64::MAX))
            .to_nanos_floor(self.sample_rate)
    }

    /// When the first frame of the last observed callback was due.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn due(&self) -> HostTime {
        self.due_after(0)
    }

    /// When the frame so many after that one is due.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn due_after(&self, frames: u64) -> HostTime {
        self.earliest.time_at((self.position - self.zero).saturating_add(frames) as f64)
    }

    /// The device's rate on this machine's clock, in Hz.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn rate_hz(&self) -> f64 {
        self.earliest.rate_hz()
    }

    /// How often frames got other times.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn leaps(&self) -> u64 {
        self.leaps
    }
}

#[cfg(test)]
mod tests;
