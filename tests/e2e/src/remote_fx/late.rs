//! What late blocks cost, and whose fault they were.
//!
//! What a node's answer lacks is heard dry, and each late callback costs a known span: the fade to what is heard instead
//! begins with its block, the answers have to come in time again for 20 ms, and the fade back takes 5 ms (*Late block: dry*
//! of `engine/stream/src/insert.rs`). All other frames are the answer's, bit for bit.
//!
//! A callback is late by the machine's fault if, stalls of processors taken off, less time passed between the callback that
//! handed over what it needs and itself than the sample clock has: the host caught up, or a processor stood still.

use std::{collections::BTreeSet, fmt, ops::Range};

use audiocloud_rig::{
    audio::Audio,
    callback_log::{CallbackLog, Record},
    processors::{Stall, stood_still_us},
};

/// The fade from one source to another.
const FADE_MS: usize = 5;
/// How long answers have to come in time before they are heard again.
const STEADY_MS: usize = 20;
/// A processor that wakes later than this much of a block has stood still; callbacks may be so uneven without anybody's
/// fault.
pub const STALL_BLOCKS: f64 = 0.1;

/// About so many callbacks are looked at to tell how many had a stall.
const LOOKS: usize = 2_000;

/// A rig's calls from the frame on at which the input began, with a plug-in that is late by as much.
#[derive(Clone, Copy, Debug)]
pub struct Calls<'a> {
    /// All calls of the run.
    pub log: &'a CallbackLog,
    /// The run's frame at which the input began.
    pub input_from: u64,
    /// Of each call.
    pub block: usize,
    /// *D*.
    pub delay: usize,
    /// Frames per second.
    pub sample_rate: u32,
}

impl Calls<'_> {
    /// The most that one late callback costs, frames from the first one that differs on.
    fn span_max(&self) -> usize {
        self.frames(STEADY_MS).next_multiple_of(self.block) + self.frames(FADE_MS)
    }

    fn frames(&self, ms: usize) -> usize {
        (ms * usize::try_from(self.sample_rate).unwrap_or(0)).div_ceil(1000)
    }

    fn us(&self, frames: usize) -> f64 {
        f64::from(u32::try_from(frames).unwrap_or(u32::MAX)) * 1e6 / f64::from(self.sample_rate)
    }

    fn call(&self, frame: usize) -> Option<&Record> {
        self.log.call_of(self.input_from + u64::try_from(frame).ok()?)
    }

    /// When what the callback that plays `frame` needs was handed over, when it was due, and the time between by the sample
    /// clock, µs.
    fn times_us(&self, frame: usize) -> Option<[f64; 3]> {
        let first = frame - frame % self.block;
        let (played, handed) = (self.call(first)?, self.call(first.saturating_sub(self.delay))?);
        let clock_us = self.us(usize::try_from(played.first_frame - handed.first_frame).unwrap_or(0));
        Some([us_of(handed.entered_ns), us_of(played.entered_ns), clock_us])
    }

    /// Whether there was less time for what the callback that plays `frame` needs than there should have been.
    fn is_machines(&self, frame: usize, stalls: &[Stall]) -> bool {
        let Some([from_us, to_us, clock_us]) = self.times_us(frame) else { return false };
        let had_us = to_us - from_us - stood_still_us(stalls, from_us, to_us);
        had_us < clock_us - STALL_BLOCKS * self.us(self.block)
    }

    /// What is known of a late callback, in words.
    fn account(&self, frame: usize, stalls: &[Stall]) -> String {
        let Some([from_us, to_us, clock_us]) = self.times_us(frame) else { return format!("frame {frame}") };
        let before = stalls.iter().filter(|stall| stall.from_us < to_us);
        let last = before.max_by(|one, other| one.to_us.total_cmp(&other.to_us));
        let last = last.map_or_else(String::new, |stall| {
            let (ended, lasted) = (from_us - stall.to_us, stall.to_us - stall.from_us);
            format!("; the last stall, of {lasted:.0} µs, ended {ended:.0} µs before it was handed over")
        });
        format!("frame {frame} had {:.0} µs, by the clock {clock_us:.0} µs{last}", to_us - from_us)
    }
}

#[allow(clippy::cast_precision_loss, reason = "less than 104 days in nanoseconds")]
fn us_of(ns: i64) -> f64 {
    ns as f64 / 1e3
}

/// What was heard beside what should have been.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Compared.
    frames: usize,
    /// That are not the same bits.
    different: usize,
    /// The fewest late callbacks that explain them, each with the frames that it explains.
    spans: Vec<Range<usize>>,
    /// Callbacks that the plug-in counted as late.
    late: usize,
    /// The late callbacks that no stall explains, in words; `None` where the machine could not be watched.
    outside_stalls: Option<Vec<String>>,
    /// Callbacks that stalls may have made late, in the spans.
    excused: usize,
    /// The same of all callbacks, in thousandths: how much such an excuse is worth.
    excusable_permille: usize,
}

impl Verdict {
    /// Of `late` late callbacks in all, and the processors' stalls where they are known.
    pub fn new(
        expected: &Audio,
        heard: &Audio,
        calls: &Calls<'_>,
        late: usize,
        stalls: Option<&[Stall]>,
    ) -> Self {
        let (frames, differing) = (expected.frames(), differing(expected, heard));
        let spans = spans(&differing, calls.span_max());
        let mut verdict = Self {
            frames,
            different: differing.len(),
            late,
            outside_stalls: None,
            excused: 0,
            excusable_permille: 0,
            spans,
        };
        let Some(stalls) = stalls else { return verdict };
        let is_excused = |frame: &usize| calls.is_machines(*frame, stalls);
        let blocks =
            |span: Range<usize>| (span.start - span.start % calls.block..span.end).step_by(calls.block);
        // A span that goes on where the one before it ends is of a callback somewhere in that one.
        let begins = |span: &Range<usize>| {
            let goes_on = differing.binary_search(&span.start.wrapping_sub(1)).is_ok();
            span.start.saturating_sub(if goes_on { calls.span_max() } else { 0 })..span.start + 1
        };
        let unexplained =
            verdict.spans.iter().filter(|span| !blocks(begins(span)).any(|frame| is_excused(&frame)));
        verdict.outside_stalls = Some(unexplained.map(|span| calls.account(span.start, stalls)).collect());
        // In silence nobody hears who plays: a late callback there leaves no span.
        let is_silent =
            |frame: &usize| (*frame..(*frame + calls.block).min(frames)).all(|frame| !heard.sounds_at(frame));
        let late_in_spans = verdict.spans.iter().flat_map(|span| blocks(span.clone()));
        let late_in_silence = (0..frames).step_by(calls.block).filter(is_silent);
        let candidates: BTreeSet<usize> =
            if late == 0 { BTreeSet::new() } else { late_in_spans.chain(late_in_silence).collect() };
        verdict.excused = candidates.iter().filter(|frame| is_excused(frame)).count();
        let apart = calls.block * (1 + frames / calls.block / LOOKS);
        let looks = (0..frames).step_by(apart).len().max(1);
        verdict.excusable_permille = (0..frames).step_by(apart).filter(is_excused).count() * 1000 / looks;
        verdict
    }

    /// Nothing differs but what late callbacks cost, and none of those was late but by the machine's fault.
    ///
    /// # Panics
    /// It is not so; the message has the figures.
    #[track_caller]
    pub fn assert_good(&self) {
        let first = self.spans.first();
        assert!(
            self.spans.len() <= self.late,
            "more differs than late callbacks cost: {self}; first {first:?}"
        );
        if let Some(outside) = &self.outside_stalls {
            assert!(outside.is_empty(), "late outside of stalls: {self}; at {outside:?}");
            assert!(self.late <= self.excused, "more was late than stalls explain: {self}");
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, different, spans, late, .. } = self;
        write!(
            formatter,
            "{different} of {frames} frames differ, in {} spans, {late} callbacks late",
            spans.len()
        )?;
        match &self.outside_stalls {
            Some(outside) => {
                let outside = outside.len().max(late.saturating_sub(self.excused));
                let permille = self.excusable_permille;
                write!(
                    formatter,
                    ", outside host stalls {outside} (of all callbacks {permille} ‰ had a stall)"
                )
            }
            None => write!(formatter, "; stalls unknown"),
        }
    }
}

/// The frames that are not the same bits.
///
/// # Panics
/// The two are not of one shape.
pub fn differing(one: &Audio, two: &Audio) -> Vec<usize> {
    let shape = |audio: &Audio| (audio.channels.len(), audio.frames());
    assert_eq!(shape(one), shape(two), "channels and frames");
    let differs = |frame: &usize| {
        one.channels.iter().zip(&two.channels).any(|(a, b)| a[*frame].to_bits() != b[*frame].to_bits())
    };
    (0..one.frames()).filter(differs).collect()
}

/// The fewest spans of at most `most` frames that have all these frames, each cut to the last of them in it.
fn spans(differing: &[usize], most: usize) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for frame in differing {
        match spans.last_mut() {
            Some(span) if *frame < span.start + most => span.end = frame + 1,
            _ => spans.push(*frame..frame + 1),
        }
    }
    spans
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of spans, of which there is often one")]
mod tests {
    use super::*;

    const BLOCK: usize = 64;
    const DELAY: usize = 2 * BLOCK + 48;
    /// 15 blocks are 20 ms.
    const SPAN: usize = 960 + 240;

    /// Calls at even times, but those that are late by so many µs.
    fn log(late_us: &[(usize, i64)]) -> CallbackLog {
        let mut log = CallbackLog::with_capacity(1_000);
        for call in 0..1_000_usize {
            let late = late_us.iter().find(|(which, _)| *which == call).map_or(0, |(_, us)| us * 1000);
            let first_frame = u64::try_from(call * BLOCK).unwrap();
            let entered_ns = i64::try_from(first_frame).unwrap() * 1_000_000_000 / 48_000 + late;
            log.push(Record { first_frame, frames: 64, entered_ns, ..Record::default() });
        }
        log
    }

    fn verdict(
        log: &CallbackLog,
        damaged: &[Range<usize>],
        late: usize,
        stalls: Option<&[Stall]>,
    ) -> Verdict {
        let expected = Audio { sample_rate: 48_000, channels: vec![vec![0.5; 60_000]] };
        let mut heard = expected.clone();
        damaged.iter().cloned().for_each(|span| heard.channels[0][span].fill(0.25));
        let calls = Calls { log, input_from: 64, block: BLOCK, delay: DELAY, sample_rate: 48_000 };
        Verdict::new(&expected, &heard, &calls, late, stalls)
    }

    fn is_good(verdict: &Verdict) -> bool {
        std::panic::catch_unwind(|| verdict.assert_good()).is_ok()
    }

    #[test]
    fn each_late_callback_costs_one_span_and_no_more() {
        let log = log(&[]);
        let check = |damaged: &[Range<usize>], late, expected| {
            let verdict = verdict(&log, damaged, late, None);
            assert_eq!(is_good(&verdict), expected, "{verdict}");
        };
        check(&[], 0, true);
        check(&[640..641], 0, false);
        check(&[640..640 + SPAN], 1, true);
        check(&[640..640 + SPAN + 1], 1, false);
        check(&[640..640 + SPAN + 1], 2, true);
        check(&[640..700, 6_400..6_401], 1, false);
        check(&[640..700, 900..910], 1, true);
    }

    #[test]
    fn only_stalls_excuse() {
        let even = log(&[]);
        let at_us = |call: f64| call * 64e6 / 48e3;
        // What call 21, which plays frame 1,280 of the input, needs was handed over by calls 18 and 19.
        let stall = [Stall { from_us: at_us(19.1), to_us: at_us(19.3) }];
        let check = |log: &CallbackLog, damaged: &[Range<usize>], late, stalls: &[Stall], expected| {
            let verdict = verdict(log, damaged, late, Some(stalls));
            assert_eq!(is_good(&verdict), expected, "{verdict}");
        };
        check(&even, &[1_280..2_000], 1, &[], false);
        check(&even, &[1_280..2_000], 1, &stall, true);
        check(&even, &[1_280..2_000, 12_800..13_000], 2, &stall, false);
        check(&even, &[12_800..13_000], 1, &stall, false);
        // More late callbacks than a stall can have hit.
        check(&even, &[1_280..2_000], 9, &stall, false);
        // The host came late, and then caught up.
        let caught_up = log(&[(18, 3_000), (19, 1_700), (20, 400)]);
        check(&caught_up, &[1_280..2_000], 1, &[], true);
        check(&caught_up, &[12_800..13_000], 1, &[], false);
        assert_eq!(verdict(&even, &[], 0, Some(&stall)).outside_stalls, Some(Vec::new()));
    }
}
