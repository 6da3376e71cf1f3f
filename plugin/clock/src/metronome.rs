//! Clicks, in the callback, on the beat.

use audiocloud_engine::units::{Beats, Nanos, SampleRate, SessionLine, SessionTime};
use audiocloud_net::clock::beat_map::{BeatMap, Position};

use crate::frame_times::FrameTimes;

/// A click, s, and how soon it has fallen to 1/e.
const LENGTH_S: f64 = 0.03;
const DECAY_S: f64 = 0.006;
/// Of a bar's first beat, and of the others.
const FIRST_HZ: f64 = 1_760.0;
const OTHER_HZ: f64 = 1_175.0;
const PEAK: f64 = 0.5;
/// Beats closer than this to the last one are the last one, seen again over a seam of the map.
const SAME: Nanos = Nanos::from_millis(30);
/// Where the search for beats is off by more than this from where the block is, time has jumped.
const JUMP: Nanos = Nanos::from_millis(50);
/// A seam of the map may skip a beat's very instant, by at most so many quarter notes: that is no jump over a beat.
const SEAM_BEATS: f64 = 0.02;
/// So long after a beat the next one is looked for: to the nanosecond it would be found again.
const AFTER: Nanos = Nanos::from_micros(1);
/// Looked for in one block: more than there are at 1000 quarter notes a minute in a second's block.
const CLICKS_MAX: usize = 64;
const SEAMS_MAX: usize = 64;

/// A beat to be heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Click {
    /// When.
    pub at: SessionTime,
    /// A bar's first.
    pub is_first: bool,
}

/// Plays them.
#[derive(Clone, Debug)]
pub struct Metronome {
    /// Of a bar's first beat, and of the others.
    sounds: [Vec<f32>; 2],
    sounding: Option<Sounding>,
    /// Beats before this have been looked for.
    searched_to: Option<SessionTime>,
    last: Option<SessionTime>,
    clicks: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sounding {
    sound: usize,
    /// The next sample of it.
    at: usize,
    gain: f32,
}

impl Metronome {
    /// Silent until there is a beat. *Realtime-safe: no.*
    #[must_use]
    pub fn new(sample_rate: SampleRate) -> Self {
        let sounds = [FIRST_HZ, OTHER_HZ].map(|hz| sound(hz, f64::from(sample_rate.hz())));
        Self { sounds, sounding: None, searched_to: None, last: None, clicks: 0 }
    }

    /// Clicks so far. *Realtime-safe: yes.*
    #[must_use]
    pub fn clicks(&self) -> u64 {
        self.clicks
    }

    /// Forgets what sounds, and where it was. *Realtime-safe: yes.*
    pub fn reset(&mut self) {
        (self.sounding, self.searched_to, self.last) = (None, None, None);
    }

    /// Adds to every channel what is heard of clicks in this block: each begins at the frame nearest to its beat.
    /// *Realtime-safe: yes.*
    pub fn play(
        &mut self,
        times: &FrameTimes,
        line: &SessionLine,
        map: &BeatMap,
        gain: f32,
        channels: &mut [&mut [f32]],
    ) {
        let frames = channels.first().map_or(0, |channel| channel.len());
        let session_at = |frame: f64| line.session_at(times.heard_at(frame));
        let (begin, end) = (session_at(-0.5), session_at(frames as f64 - 0.5));
        let mut from = match self.searched_to {
            Some(searched) if (searched - begin).abs() <= JUMP => searched,
            _ => begin,
        };
        let mut played = 0;
        for _ in 0..CLICKS_MAX {
            let Some(click) = next_click(map, from).filter(|click| click.at < end) else { break };
            from = click.at + AFTER;
            if self.last.is_some_and(|last| (click.at - last).abs() < SAME) {
                continue;
            }
            let frame = nearest(times.frame_at(line.host_at(click.at)), frames);
            self.sound(channels, played..frame);
            played = frame;
            self.last = Some(click.at);
            self.clicks += 1;
            self.sounding = Some(Sounding { sound: usize::from(!click.is_first), at: 0, gain });
        }
        self.sound(channels, played..frames);
        self.searched_to = Some(end.max(from));
    }

    /// What sounds, into these frames of the block.
    fn sound(&mut self, channels: &mut [&mut [f32]], frames: std::ops::Range<usize>) {
        let Some(Sounding { sound, at, gain }) = self.sounding else { return };
        let left = self.sounds.get(sound).and_then(|sound| sound.get(at..)).unwrap_or_default();
        for channel in channels {
            let heard = channel.get_mut(frames.clone()).unwrap_or_default();
            heard.iter_mut().zip(left).for_each(|(sample, click)| *sample += gain * click);
        }
        let next = at + frames.len();
        self.sounding = (left.len() > frames.len()).then_some(Sounding { sound, at: next, gain });
    }
}

/// The first beat at or after a time, counted as the bar's meter counts. *Realtime-safe: yes.*
#[must_use]
pub fn next_click(map: &BeatMap, from: SessionTime) -> Option<Click> {
    let mut from = from;
    let segments = map.segments();
    for _ in 0..SEAMS_MAX {
        let seam = segments.get(segments.partition_point(|segment| segment.start <= from));
        let grid = grid(&map.at(from)?);
        let found = map.next(from, grid);
        let Some(seam) = seam.filter(|seam| found.is_none_or(|found| seam.start <= found)) else {
            return found.and_then(|at| click(map, at));
        };
        // Beyond the seam beats may be counted otherwise; and on it one may fall between the two.
        if is_skipped(map, seam.start, grid) {
            return click(map, seam.start);
        }
        from = seam.start;
        if found == Some(from) {
            return click(map, from);
        }
    }
    None
}

/// Quarter notes of one of the bar's beats.
fn grid(position: &Position) -> Beats {
    Beats::new(4.0 / f64::from(position.meter.unit.max(1)))
}

fn click(map: &BeatMap, at: SessionTime) -> Option<Click> {
    let position = map.at(at)?;
    let in_bar = position.in_bar.get();
    // A seam may have put it to either side of the bar's line.
    let to_line = in_bar.min(position.meter.bar().get() - in_bar);
    Some(Click { at, is_first: to_line < SEAM_BEATS })
}

/// Whether a beat's instant lies between where one segment ends and where the next one begins.
fn is_skipped(map: &BeatMap, seam: SessionTime, grid: Beats) -> bool {
    let (Some(before), Some(after)) = (map.at(seam - Nanos::new(1)), map.at(seam)) else { return false };
    let lines = |position: &Position| (position.in_bar.get() / grid.get() - 1e-9).floor();
    let skipped = after.beat.get() - before.beat.get();
    before.playing
        && after.playing
        && (0.0..SEAM_BEATS).contains(&skipped)
        && (before.bar, lines(&before)) != (after.bar, lines(&after))
}

/// The frame that is nearest, within the block.
fn nearest(frame: f64, frames: usize) -> usize {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; not below 0")]
    let nearest = frame.round().max(0.0) as usize;
    nearest.min(frames.saturating_sub(1))
}

/// A tone that begins with its peak, so that its first sample can be found, and dies away.
fn sound(hz: f64, sample_rate: f64) -> Vec<f32> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand")]
    let length = (LENGTH_S * sample_rate).round() as u32;
    let sample = |frame: u32| {
        let time = f64::from(frame) / sample_rate;
        let fade = 1.0 - f64::from(frame) / f64::from(length);
        PEAK * fade * (-time / DECAY_S).exp() * (std::f64::consts::TAU * hz * time).cos()
    };
    #[allow(clippy::cast_possible_truncation, reason = "a sample")]
    (0..length).map(|frame| sample(frame) as f32).collect()
}

#[cfg(test)]
mod tests;
