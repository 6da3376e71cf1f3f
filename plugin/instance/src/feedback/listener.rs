//! The Send's side: it looks for what the Receives play in its own input.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Emphasis, Lengths, Likeness, MARKS, Mark, Meeting, RING};

/// The longest lag between a Receive's output and the Send's input that is looked at, frames.
const LAG_MAX: u32 = 8_192;
/// Frames that one lag of the search is judged by.
const PROBE: u32 = 128;
/// Likeness in a probe that is worth a longer look.
const PROBE_MIN: f64 = 0.6;
/// Likeness in a window below which it counts as unlike.
const WINDOW_MIN: f64 = 0.4;
/// Windows that must be alike for a suspicion, and how many of them one that is not takes back.
const WINDOWS: u32 = 24;
const WINDOWS_MISS: u32 = 3;
/// Or few of them, very alike, and growing.
const WINDOWS_GROWING: u32 = 6;
const GROWING_MIN: f64 = 0.9;
const GROWTH_MIN: f64 = 2.0;
/// Of the gain of the loop, no more than this may remain while the Receive holds back.
const REMAINS_MAX: f64 = 0.35;
/// Dips that must be missed, one after the other.
const DIPS: u32 = 3;
/// Windows of rest after a suspicion that came to nothing; doubled each time.
const REST: u32 = 40;
const REST_MAX: u32 = 3_200;

/// One Send at the meeting place of its stream.
#[derive(Debug)]
pub struct Listener {
    meeting: Arc<Meeting>,
    lengths: Lengths,
    emphasis: Emphasis,
    /// The pre-emphasised input of late, and how many frames there have been.
    input: Box<[f32]>,
    heard: u64,
    /// More than any difference that the order of callbacks makes, frames.
    margin: u64,
    tracks: [Track; MARKS],
}

/// How far the look at one Receive has come.
#[derive(Clone, Copy, Debug)]
struct Track {
    /// Played frame minus heard frame at lag 0; `None` before the first block.
    base: Option<u64>,
    phase: Phase,
    sweep: u32,
    rest: u32,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Search,
    /// Likeness at one lag, window by window.
    Follow {
        lag: u32,
        sums: Likeness,
        windows: u32,
        first_energy: f64,
        next: u64,
    },
    /// Another window before a dip, to know the gain of the loop; then the dip.
    Measure {
        lag: u32,
        sums: Likeness,
        missed: u32,
        next: u64,
    },
    Await {
        lag: u32,
        gain: f64,
        missed: u32,
        dips: u32,
    },
    Dip {
        lag: u32,
        gain: f64,
        missed: u32,
        sums: Likeness,
        start: u64,
        next: u64,
    },
    Rest {
        until: u64,
    },
    Looped,
}

impl Listener {
    /// *Realtime-safe: no.*
    pub fn new(meeting: Arc<Meeting>, sample_rate_hz: u32, block_max: u32) -> Self {
        let track = Track { base: None, phase: Phase::Search, sweep: 0, rest: REST };
        Self {
            meeting,
            lengths: Lengths::at(sample_rate_hz),
            emphasis: Emphasis::default(),
            input: vec![0.0; RING].into_boxed_slice(),
            heard: 0,
            margin: u64::from(block_max.min(1_024)) * 2,
            tracks: [track; MARKS],
        }
    }

    /// Hears one block of the Send's input. *Realtime-safe: yes*: work is bounded by the block's length.
    pub fn hear<C: AsRef<[f32]>>(&mut self, input: &[C]) {
        let frames = input.first().map_or(0, |channel| channel.as_ref().len());
        if self.meeting.marks.iter().all(|mark| !mark.taken.load(Ordering::Acquire)) {
            self.tracks.iter_mut().for_each(Track::restart);
            return;
        }
        for index in 0..frames {
            self.input[super::slot(self.heard)] = self.emphasis.next(input, index);
            self.heard += 1;
        }
        let meeting = self.meeting.clone();
        for (index, mark) in meeting.marks.iter().enumerate() {
            if mark.taken.load(Ordering::Acquire) {
                self.look(index, mark, frames as u64);
            } else {
                self.tracks[index].restart();
            }
        }
    }

    fn look(&mut self, index: usize, mark: &Mark, frames: u64) {
        let written = mark.written.load(Ordering::Acquire);
        let mut track = self.tracks[index];
        let begin = self.heard - frames.min(self.heard);
        // Lag 0 is ahead of what the Receive has written, by less than the margin; wrap-around is meant.
        let base = *track.base.get_or_insert(written.wrapping_add(self.margin).wrapping_sub(self.heard));
        let newest = self.heard.wrapping_add(base).wrapping_sub(self.margin);
        // One of the two has been paused: what is alike now is at another lag.
        if written.wrapping_sub(newest).wrapping_add(self.margin) > 2 * self.margin {
            track.restart();
            self.tracks[index] = track;
            return;
        }
        track.phase = self.step(&mut track, mark, View { mark, base, begin, written });
        self.tracks[index] = track;
    }

    fn step(&self, track: &mut Track, mark: &Mark, view: View<'_>) -> Phase {
        match track.phase {
            Phase::Search => self.search(track, view),
            Phase::Follow { lag, mut sums, mut windows, mut first_energy, mut next } => {
                while sums.frames < self.lengths.window {
                    let Some(played) = view.played(next, lag) else { break };
                    if next >= self.heard {
                        break;
                    }
                    sums.add(self.heard_at(next), played);
                    next += 1;
                }
                if sums.frames < self.lengths.window {
                    return Phase::Follow { lag, sums, windows, first_energy, next };
                }
                let correlation = sums.correlation().unwrap_or(0.0);
                if correlation < WINDOW_MIN {
                    // A new note has no likeness yet: a few of those are borne.
                    let sums = Likeness::default();
                    return match windows.checked_sub(WINDOWS_MISS) {
                        Some(windows) => Phase::Follow { lag, sums, windows, first_energy, next },
                        None => Phase::Search,
                    };
                }
                windows += 1;
                first_energy = if windows == 1 { sums.input } else { first_energy };
                let growing = windows >= WINDOWS_GROWING
                    && correlation > GROWING_MIN
                    && sums.input > GROWTH_MIN * first_energy;
                if windows >= WINDOWS || growing {
                    return Phase::Measure { lag, sums: Likeness::default(), missed: 0, next };
                }
                Phase::Follow { lag, sums: Likeness::default(), windows, first_energy, next }
            }
            Phase::Measure { lag, mut sums, missed, mut next } => {
                while let (Some(played), true) = (view.played(next, lag), next < self.heard) {
                    sums.add(self.heard_at(next), played);
                    next += 1;
                }
                if sums.frames < self.lengths.window {
                    return Phase::Measure { lag, sums, missed, next };
                }
                if sums.correlation().is_none_or(|likeness| likeness < WINDOW_MIN) {
                    return self.rest(track);
                }
                let dips = mark.dips_wanted.load(Ordering::Relaxed).wrapping_add(1);
                mark.dips_wanted.store(dips, Ordering::Release);
                Phase::Await { lag, gain: sums.gain(), missed, dips }
            }
            Phase::Await { lag, gain, missed, dips } => {
                if mark.dips_begun.load(Ordering::Acquire) != dips {
                    return track.phase;
                }
                let start = mark.dip_start.load(Ordering::Relaxed) + u64::from(self.lengths.edge);
                let next = start.wrapping_sub(view.base).wrapping_add(u64::from(lag));
                Phase::Dip { lag, gain, missed, sums: Likeness::default(), start, next }
            }
            Phase::Dip { lag, gain, missed, mut sums, start, mut next } => {
                let end = start + u64::from(self.lengths.hold);
                while view.frame(next, lag) < end && next < self.heard {
                    let Some(played) = view.played(next, lag) else { break };
                    sums.add(self.heard_at(next), played);
                    next += 1;
                }
                if view.frame(next, lag) < end {
                    return Phase::Dip { lag, gain, missed, sums, start, next };
                }
                self.judge(track, mark, Judged { lag, gain, missed, sums, next })
            }
            Phase::Rest { until } if self.heard >= until => Phase::Search,
            Phase::Rest { .. } => track.phase,
            Phase::Looped if mark.looped.load(Ordering::Relaxed) => Phase::Looped,
            Phase::Looped => Phase::Search,
        }
    }

    fn judge(&self, track: &mut Track, mark: &Mark, dip: Judged) -> Phase {
        // Silence in the stream during the dip says nothing; neither does it hurt to ask again.
        let silent = dip.sums.played < 1e-8 * f64::from(dip.sums.frames.max(1));
        if silent {
            return self.rest(track);
        }
        if dip.sums.gain() > REMAINS_MAX * dip.gain {
            return self.rest(track);
        }
        let missed = dip.missed + 1;
        if missed >= DIPS {
            mark.looped.store(true, Ordering::Relaxed);
            return Phase::Looped;
        }
        // Past the dip's end, so that the next gain is of the loop as it is.
        let next = dip.next + u64::from(2 * self.lengths.edge);
        Phase::Measure { lag: dip.lag, sums: Likeness::default(), missed, next }
    }

    fn rest(&self, track: &mut Track) -> Phase {
        let until = self.heard + u64::from(track.rest) * u64::from(self.lengths.window);
        track.rest = (track.rest * 2).min(REST_MAX);
        Phase::Rest { until }
    }

    /// A few lags in each block: always the most likely ones, and some of all others in turn.
    fn search(&self, track: &mut Track, view: View<'_>) -> Phase {
        let frames = u32::try_from(self.heard - view.begin).unwrap_or(u32::MAX);
        let margin = u32::try_from(self.margin).unwrap_or(0);
        let likely = (0..5)
            .map(|blocks: u32| margin.saturating_sub(frames).saturating_add(frames.saturating_mul(blocks)));
        let count = (frames / 8).clamp(2, 64);
        let from = track.sweep;
        track.sweep = (track.sweep + count) % LAG_MAX;
        likely
            .chain(from..from + count)
            .filter(|lag| *lag < LAG_MAX)
            .find(|lag| self.probe(view, *lag).is_some_and(|likeness| likeness > PROBE_MIN))
            .map_or(Phase::Search, |lag| Phase::Follow {
                lag,
                sums: Likeness::default(),
                windows: 0,
                first_energy: 0.0,
                next: self.heard,
            })
    }

    fn probe(&self, view: View<'_>, lag: u32) -> Option<f64> {
        // The latest frames whose counterpart has been written for certain.
        let end = self.heard.checked_sub(self.margin)?;
        let mut sums = Likeness::default();
        for frame in end.checked_sub(u64::from(PROBE))?..end {
            sums.add(self.heard_at(frame), view.played(frame, lag)?);
        }
        sums.correlation()
    }

    fn heard_at(&self, frame: u64) -> f32 {
        self.input[super::slot(frame)]
    }
}

/// What was played, by the frames that were heard.
#[derive(Clone, Copy)]
struct View<'a> {
    mark: &'a Mark,
    base: u64,
    begin: u64,
    written: u64,
}

impl View<'_> {
    /// The played frame that would be heard at `heard`, had it taken `lag`.
    fn frame(&self, heard: u64, lag: u32) -> u64 {
        heard.wrapping_add(self.base).wrapping_sub(u64::from(lag))
    }

    /// Its sample, if it has been written and is still there.
    fn played(&self, heard: u64, lag: u32) -> Option<f32> {
        let frame = self.frame(heard, lag);
        let age = self.written.wrapping_sub(frame);
        // The Receive may be writing the oldest of the ring just now.
        (1..=(RING - 2_048) as u64).contains(&age).then(|| self.mark.at(frame))
    }
}

struct Judged {
    lag: u32,
    gain: f64,
    missed: u32,
    sums: Likeness,
    next: u64,
}

impl Track {
    fn restart(&mut self) {
        (self.base, self.phase, self.sweep) = (None, Phase::Search, 0);
    }
}
