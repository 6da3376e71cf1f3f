use audiocloud_units::{Nanos, SampleRate};

use super::status::Cause;

/// Samples of a window that the median is taken of.
const SAMPLES_MAX: usize = 256;

/// Watches how early blocks come, and says when the read position should move.
///
/// The *arrival margin* of a block is the number of frames from its arrival until its first frame is due. On one clock
/// it stays the same, whatever the block sizes; drift moves it steadily; jitter scatters it. So each window of two
/// seconds gives a median, the first one after settling is the reference, and windows that are beyond it by more than
/// half a sender's block and 2 ms call for a slip back to the reference: two in a row when the median got there
/// steadily, as drift does, five when it leapt, as it does when a machine or a network is busy for a while.
#[derive(Debug)]
pub(super) struct Timing {
    millisecond: i64,
    window_length: i64,
    elapsed: i64,
    samples: Box<[i64]>,
    used: usize,
    stride: u32,
    skipped: u32,
    settled: bool,
    reference: Option<i64>,
    /// The last window's median, and how many windows in a row it moved by little.
    median: i64,
    steady: u32,
    /// The windows in a row that called for a slip in the same direction.
    calls: i32,
    sender_block: i64,
    callback: Callbacks,
    often: OftenLate,
}

/// The lengths of our own callbacks over the last one to two windows.
#[derive(Debug, Default)]
struct Callbacks {
    now: Extremes,
    before: Extremes,
}

#[derive(Clone, Copy, Debug, Default)]
struct Extremes {
    min: i64,
    max: i64,
}

/// Callbacks that took blocks, and those of them that found one late, in half a second.
#[derive(Debug, Default)]
struct OftenLate {
    elapsed: i64,
    takes: u32,
    late_takes: u32,
    lowest: i64,
    calls: u32,
}

/// A wish to move the read position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slip {
    /// Frames to skip (positive) or to repeat (negative).
    pub(super) frames: i64,
    pub(super) cause: Cause,
}

impl Timing {
    pub(super) fn new(sample_rate: SampleRate) -> Self {
        let millisecond = Nanos::from_millis(1).to_frames_ceil(sample_rate).get();
        Self {
            millisecond,
            window_length: 2 * i64::from(sample_rate.hz()),
            elapsed: 0,
            samples: vec![0; SAMPLES_MAX].into_boxed_slice(),
            used: 0,
            stride: 1,
            skipped: 0,
            settled: false,
            reference: None,
            median: 0,
            steady: 0,
            calls: 0,
            sender_block: 0,
            callback: Callbacks::default(),
            often: OftenLate::default(),
        }
    }

    /// Forgets what it knew of the stream, not what it knows of our callbacks.
    pub(super) fn relearn(&mut self) {
        self.settled = false;
        self.reference = None;
        self.steady = 0;
        self.sender_block = 0;
        self.often = OftenLate::default();
        self.discard_window();
    }

    /// The read position was moved by others: all margins are `frames` larger, which is as it should be.
    pub(super) fn shift_reference(&mut self, frames: i64) {
        self.reference = self.reference.map(|reference| reference.saturating_add(frames));
        self.median = self.median.saturating_add(frames);
        self.discard_window();
    }

    pub(super) fn discard_window(&mut self) {
        self.elapsed = 0;
        self.used = 0;
        self.stride = 1;
        self.skipped = 0;
        self.calls = 0;
    }

    /// A callback of this many frames begins.
    pub(super) fn begin_callback(&mut self, frames: i64) {
        let now = &mut self.callback.now;
        now.max = now.max.max(frames);
        now.min = if now.min == 0 { frames } else { now.min.min(frames) };
    }

    /// The longest callback to reckon with: a block that arrives just after one began waits as long for the next.
    /// Where the lengths vary, the next power of two above the longest that was seen, up to the host's own limit.
    pub(super) fn callback_max(&self, host_max: i64) -> i64 {
        let (now, before) = (self.callback.now, self.callback.before);
        let max = now.max.max(before.max);
        let varies = now.min != max || (before.max != 0 && before.min != max);
        if varies {
            let above = u64::try_from(max)
                .map_or(max, |max| i64::try_from(max.next_power_of_two()).unwrap_or(i64::MAX));
            above.min(host_max).max(max)
        } else {
            max
        }
    }

    /// A block of `frames` frames came `margin` frames before it was due, `waited` frames after it arrived.
    pub(super) fn observe(&mut self, margin: i64, waited: i64, frames: i64) {
        self.sender_block = self.sender_block.max(frames);
        self.often.lowest = self.often.lowest.min(margin);
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        if self.used == self.samples.len() {
            // Keep every other one, and take half as many from now on: the window stays evenly sampled.
            for index in 0..self.used / 2 {
                self.samples[index] = self.samples[index * 2];
            }
            self.used /= 2;
            self.stride *= 2;
        }
        self.samples[self.used] = margin.saturating_add(waited);
        self.used += 1;
    }

    /// All blocks of this callback have been taken; whether there were any, and whether one was late.
    pub(super) fn end_of_take(&mut self, any: bool, late: bool) {
        self.often.takes += u32::from(any);
        self.often.late_takes += u32::from(late);
    }

    /// `frames` frames go by: whether to move.
    pub(super) fn advance(&mut self, frames: i64) -> Option<Slip> {
        let late = self.advance_often_late(frames);
        if late.is_some() {
            self.relearn();
            return late;
        }
        self.elapsed += frames;
        if self.elapsed < self.window_length {
            return None;
        }
        self.callback.before = std::mem::take(&mut self.callback.now);
        let slip = self.end_of_window();
        let calls = self.calls;
        self.discard_window();
        self.calls = if slip.is_some() { 0 } else { calls };
        slip
    }

    fn end_of_window(&mut self) -> Option<Slip> {
        if self.used < 8 {
            return None;
        }
        let used = self.used;
        let (_, median, _) = self.samples[..used].select_nth_unstable(used / 2);
        let median = *median;
        // What arrives in the first two seconds may still be a connection warming up.
        if !std::mem::replace(&mut self.settled, true) {
            return None;
        }
        // 250 ppm of a window.
        let is_near = (median - self.median).abs() <= self.millisecond / 2;
        self.steady = if is_near { self.steady + 1 } else { 0 };
        self.median = median;
        let reference = *self.reference.get_or_insert(median);
        let moved = median - reference;
        let fast = self.sender_block / 2 + 2 * self.millisecond;
        // Towards lateness, act before blocks begin to wait longer than they may.
        let room = reference - self.callback_max(i64::MAX) - self.millisecond;
        let slow = fast.min(room.max(self.millisecond));
        let call = i32::from(moved > fast) - i32::from(moved < -slow);
        self.calls = if call.signum() == self.calls.signum() { self.calls + call } else { call };
        let enough = if self.steady >= 4 { 2 } else { 5 };
        if self.calls.abs() < enough {
            return None;
        }
        self.median = reference;
        let cause = if moved > 0 { Cause::ClockFast } else { Cause::ClockSlow };
        Some(Slip { frames: moved, cause })
    }

    /// Half a second in which an eighth of the takes were late, twice in a row: the anchor was unlucky (in the middle
    /// of a burst), or the delay is too small. Move back by what was lacking.
    fn advance_often_late(&mut self, frames: i64) -> Option<Slip> {
        let often = &mut self.often;
        often.elapsed += frames;
        if often.elapsed < self.window_length / 4 {
            return None;
        }
        let is_call = often.late_takes >= 3 && often.late_takes * 8 > often.takes;
        let lowest = often.lowest;
        let calls = if is_call { often.calls + 1 } else { 0 };
        *often = OftenLate { calls, ..OftenLate::default() };
        (calls >= 2).then(|| Slip { frames: lowest.min(0) - self.millisecond, cause: Cause::BlocksOftenLate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;

    /// Slips in `seconds` for blocks of 128 frames whose arrival margin at second `t` is `margin(t)`.
    fn slips(seconds: i64, margin: impl Fn(f64) -> i64) -> Vec<Slip> {
        let mut timing = Timing::new(SampleRate::new(RATE).unwrap());
        let mut found = Vec::new();
        let mut moved = 0;
        for block in 0..seconds * i64::from(RATE) / 128 {
            let time = (block * 128) as f64 / f64::from(RATE);
            timing.begin_callback(128);
            timing.observe(margin(time) - moved - 50, 50, 128);
            timing.end_of_take(true, margin(time) - moved < 50);
            if let Some(slip) = timing.advance(128) {
                moved += slip.frames;
                found.push(slip);
            }
        }
        found
    }

    #[allow(clippy::cast_possible_truncation, reason = "frames of a test")]
    fn frames(value: f64) -> i64 {
        value as i64
    }

    #[test]
    fn the_same_clock_never_slips() {
        assert_eq!(slips(300, |_| 480), []);
        // Scheduling: scattered by 3 ms, with a stall of 30 ms every ten seconds.
        let scattered = |time: f64| 480 - frames((time * 7_919.0).fract() * 144.0);
        let stalled = |time: f64| scattered(time) - if time % 10.0 < 0.05 { 1_440 } else { 0 };
        assert_eq!(slips(300, stalled), []);
    }

    #[test]
    fn a_busy_while_is_waited_out_and_a_lasting_leap_is_not() {
        // Six seconds in which everything comes 5 ms later, and back to what it was.
        assert_eq!(slips(60, |time| if (20.0..26.0).contains(&time) { 240 } else { 480 }), []);
        let lasting = slips(60, |time| if time > 20.0 { 240 } else { 480 });
        assert_eq!(lasting, [Slip { frames: -240, cause: Cause::ClockSlow }]);
    }

    #[test]
    fn drift_slips_back_to_the_reference() {
        let fast = slips(120, |time| 480 + frames(time * 9.6));
        assert!((4..=8).contains(&fast.len()), "{fast:?}");
        assert!(fast.iter().all(|slip| slip.cause == Cause::ClockFast && (160..230).contains(&slip.frames)));
        let slow = slips(120, |time| 480 - frames(time * 9.6));
        assert!((4..=8).contains(&slow.len()), "{slow:?}");
        assert!(
            slow.iter().all(|slip| slip.cause == Cause::ClockSlow && (-230..-150).contains(&slip.frames))
        );
    }

    #[test]
    fn standing_lateness_moves_back_once() {
        // Every other block is 100 frames late, as after an anchor amid a burst.
        let found = slips(60, |time| if frames(time * 375.0) % 2 == 0 { 480 } else { -50 });
        assert_eq!(found, [Slip { frames: -148, cause: Cause::BlocksOftenLate }]);
    }

    #[test]
    fn callbacks_that_vary_count_as_the_power_of_two_above() {
        let mut timing = Timing::new(SampleRate::new(RATE).unwrap());
        timing.begin_callback(480);
        timing.begin_callback(480);
        assert_eq!(timing.callback_max(4_096), 480);
        timing.begin_callback(300);
        assert_eq!(timing.callback_max(4_096), 512);
        assert_eq!(timing.callback_max(500), 500);
    }
}
