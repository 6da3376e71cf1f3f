//! What was sent against what came out: alignment, exactness, gaps, clicks and latency, as numbers.

use crate::audio::Audio;
use crate::callback_log::CallbackLog;
use crate::correlation;

/// Frames that must agree in every channel for a place to count as found.
const WINDOW_FRAMES: usize = 64;
/// How far a stream may have moved for it to be found again after a gap, in frames.
const MOVE_FRAMES_MAX: usize = 24_000;
/// A stream is looked for again after every so many frames that differ.
const MOVE_LOOK_FRAMES: usize = 480;
/// Runs of differing frames that are listed one by one; all are counted.
const RUNS_LISTED_MAX: usize = 256;

/// Consecutive frames of the source that did not come out as they went in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Run {
    /// First differing frame of the source.
    pub source_frame: usize,
    /// How many.
    pub frames: usize,
}

/// A change of alignment within one stream: frames were repeated or left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Move {
    /// The source frame from which on the new offset holds.
    pub source_frame: usize,
    /// Received index minus source index from there on.
    pub offset_frames: i64,
}

/// The received recording against its source.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// Whether the source was found in the received recording at all.
    pub found: bool,
    /// Index of a frame in the received recording minus its index in the source.
    pub offset_frames: i64,
    /// Every sample of every frame of the source came out, equal as a 32-bit float, without a move.
    pub bit_exact: bool,
    /// Frames compared: the length of the source.
    pub compared_frames: usize,
    /// Frames of the source that differ or did not come out.
    pub missing_frames: usize,
    /// The first frames that differ, in runs; at most 256 are listed.
    pub runs: Vec<Run>,
    /// Where the alignment changed.
    pub moves: Vec<Move>,
    /// First and last frame of the source that came out exactly.
    pub exact_from: Option<usize>,
    /// The last frame of the source that came out exactly.
    pub exact_to: Option<usize>,
    /// Sounding frames of the received recording outside the span of the source.
    pub stray_frames: usize,
    /// The largest difference at the first alignment, full scale 1.
    pub error_max: f32,
}

impl Comparison {
    fn not_found(source: &Audio) -> Self {
        let frames = source.frames();
        Self {
            found: false,
            offset_frames: 0,
            bit_exact: false,
            compared_frames: frames,
            missing_frames: frames,
            runs: vec![Run { source_frame: 0, frames }],
            moves: Vec::new(),
            exact_from: None,
            exact_to: None,
            stray_frames: 0,
            error_max: 1.0,
        }
    }
}

/// Finds `source` in `received` and compares every frame of it.
///
/// The two must have the same number of channels; a received recording of another width is not found.
pub fn compare(source: &Audio, received: &Audio) -> Comparison {
    let Some(first_offset) = align(source, received) else {
        return Comparison::not_found(source);
    };
    let mut result = Comparison {
        found: true,
        offset_frames: first_offset,
        runs: Vec::new(),
        missing_frames: 0,
        error_max: 0.0,
        ..Comparison::not_found(source)
    };
    let mut offset = first_offset;
    let mut run: Option<Run> = None;
    for frame in 0..source.frames() {
        if !frame_equals(source, frame, received, offset) {
            let differing = run.map_or(0, |run| run.frames);
            if differing.is_multiple_of(MOVE_LOOK_FRAMES)
                && let Some(moved) = find_near(source, frame, received, offset)
            {
                offset = moved;
                result.moves.push(Move { source_frame: frame, offset_frames: moved });
            }
        }
        result.error_max = result.error_max.max(frame_error(source, frame, received, first_offset));
        if frame_equals(source, frame, received, offset) {
            if source.sounds_at(frame) {
                result.exact_from = result.exact_from.or(Some(frame));
                result.exact_to = Some(frame);
            }
            close(&mut run, &mut result.runs);
        } else {
            result.missing_frames += 1;
            run.get_or_insert(Run { source_frame: frame, frames: 0 }).frames += 1;
        }
    }
    close(&mut run, &mut result.runs);
    result.bit_exact = result.missing_frames == 0 && result.moves.is_empty();
    let span = (offset_index(0, first_offset), offset_index(source.frames(), offset));
    result.stray_frames = (0..received.frames())
        .filter(|frame| {
            let before = span.0.is_some_and(|start| *frame < start);
            let after = span.1.is_none_or(|end| *frame >= end);
            (before || after) && received.sounds_at(*frame)
        })
        .count();
    result
}

fn close(run: &mut Option<Run>, runs: &mut Vec<Run>) {
    if let Some(run) = run.take()
        && runs.len() < RUNS_LISTED_MAX
    {
        runs.push(run);
    }
}

fn offset_index(frame: usize, offset: i64) -> Option<usize> {
    usize::try_from(i64::try_from(frame).ok()?.checked_add(offset)?).ok()
}

fn frame_equals(source: &Audio, frame: usize, received: &Audio, offset: i64) -> bool {
    let Some(index) = offset_index(frame, offset) else { return false };
    source.channels.iter().zip(&received.channels).all(|(sent, got)| got.get(index) == sent.get(frame))
}

fn frame_error(source: &Audio, frame: usize, received: &Audio, offset: i64) -> f32 {
    let got =
        |channel: &Vec<f32>| offset_index(frame, offset).and_then(|i| channel.get(i)).copied().unwrap_or(0.0);
    source
        .channels
        .iter()
        .zip(&received.channels)
        .fold(0.0, |most, (a, b)| (a[frame] - got(b)).abs().max(most))
}

/// Index in `received` minus index in `source`: by an exact stretch where there is one, else by correlation.
pub fn align(source: &Audio, received: &Audio) -> Option<i64> {
    if source.channels.len() != received.channels.len() {
        return None;
    }
    let frames = source.frames();
    let starts = [0, 1, 2, 3].map(|quarter| frames * quarter / 4);
    let exact = starts.into_iter().filter_map(|from| telling_window(source, from)).find_map(|at| {
        (0..received.frames().saturating_sub(WINDOW_FRAMES))
            .find(|index| window_equals(source, at, received, *index))
            .and_then(|index| difference(index, at))
    });
    exact.or_else(|| correlation::offset(source, received))
}

fn difference(index: usize, at: usize) -> Option<i64> {
    i64::try_from(index).ok()?.checked_sub(i64::try_from(at).ok()?)
}

/// The first place from `from` on whose window can be told from others: it sounds and changes throughout.
fn telling_window(source: &Audio, from: usize) -> Option<usize> {
    let changes = |frame: usize| {
        source.channels.iter().any(|channel| channel[frame] != 0.0 && channel[frame] != channel[frame - 1])
    };
    let mut changing = 0;
    for frame in from.max(1)..source.frames() {
        changing = if changes(frame) { changing + 1 } else { 0 };
        if changing == WINDOW_FRAMES {
            return Some(frame + 1 - WINDOW_FRAMES);
        }
    }
    None
}

fn window_equals(source: &Audio, at: usize, received: &Audio, index: usize) -> bool {
    source.channels.iter().zip(&received.channels).all(|(sent, got)| {
        sent.get(at..at + WINDOW_FRAMES)
            .zip(got.get(index..index + WINDOW_FRAMES))
            .is_some_and(|(sent, got)| sent == got)
    })
}

fn find_near(source: &Audio, frame: usize, received: &Audio, offset: i64) -> Option<i64> {
    if telling_window(source, frame)? != frame.max(1) {
        return None;
    }
    let centre = offset_index(frame, offset)?;
    let low = centre.saturating_sub(MOVE_FRAMES_MAX);
    let high = (centre + MOVE_FRAMES_MAX).min(received.frames().saturating_sub(WINDOW_FRAMES));
    (low..high)
        .filter(|index| window_equals(source, frame, received, *index))
        .min_by_key(|index| index.abs_diff(centre))
        .and_then(|index| difference(index, frame))
}

/// The largest step between neighbouring samples within `range` of any channel: `(frame, step)`.
pub fn step_max(audio: &Audio, range: std::ops::Range<usize>) -> (usize, f32) {
    let mut largest = (range.start, 0.0_f32);
    for channel in &audio.channels {
        for frame in range.start.max(1)..range.end.min(channel.len()) {
            let step = (channel[frame] - channel[frame - 1]).abs();
            if step > largest.1 {
                largest = (frame, step);
            }
        }
    }
    largest
}

/// The first frame from `from` on which begins `frames` of silence in all channels.
pub fn silence_from(audio: &Audio, from: usize, frames: usize) -> Option<usize> {
    let mut silent = 0;
    for frame in from..audio.frames() {
        silent = if audio.sounds_at(frame) { 0 } else { silent + 1 };
        if silent == frames {
            return Some(frame + 1 - frames);
        }
    }
    None
}

/// Time from a sample's arrival in Send's callback to its leaving Receive's.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Latency {
    /// Half of the samples took at most this long.
    pub median_ms: f64,
    /// 99 of 100 samples took at most this long.
    pub p99_ms: f64,
    /// No sample took longer.
    pub max_ms: f64,
    /// No sample took less.
    pub min_ms: f64,
    /// Samples (frames) measured.
    pub frames: u64,
    /// Latency over time: `(seconds since the first measured frame, milliseconds)`, one point per pair of calls.
    #[serde(skip)]
    pub series: Vec<(f64, f32)>,
}

impl std::fmt::Display for Latency {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { median_ms, p99_ms, max_ms, frames, .. } = self;
        write!(
            formatter,
            "median {median_ms:.2} ms, p99 {p99_ms:.2} ms, max {max_ms:.2} ms over {frames} frames"
        )
    }
}

/// The latency of the frames `range` of Send's run, given both callback logs and how many frames later (or, where
/// negative, earlier) in Receive's run a frame comes out than it went into Send's.
///
/// A frame arrives when Send's call begins and leaves when Receive's call returns; every frame of a pair of calls
/// took as long, so pairs are weighted by their common frames.
pub fn latency(
    send: &CallbackLog,
    receive: &CallbackLog,
    send_to_receive_frames: i64,
    range: std::ops::Range<u64>,
) -> Latency {
    let mut weighted: Vec<(i64, u64)> = Vec::new();
    let mut result = Latency::default();
    let mut frame = range.start;
    let mut first_ns = None;
    while frame < range.end {
        let step = pair(send, receive, send_to_receive_frames, frame);
        let Some((entered_ns, left_ns, frames)) = step else {
            frame += 1;
            continue;
        };
        let frames = frames.min(range.end - frame);
        let first_ns = *first_ns.get_or_insert(entered_ns);
        weighted.push((left_ns - entered_ns, frames));
        result.series.push((millis(entered_ns - first_ns) / 1e3, single(millis(left_ns - entered_ns))));
        result.frames += frames;
        frame += frames;
    }
    weighted.sort_unstable();
    let at = |part: u64| {
        let mut left = (result.frames.saturating_mul(part)).div_ceil(100);
        let found = weighted.iter().find(|(_, frames)| {
            let reached = left <= *frames;
            left = left.saturating_sub(*frames);
            reached
        });
        found.or(weighted.last()).map_or(0.0, |(ns, _)| millis(*ns))
    };
    result.median_ms = at(50);
    result.p99_ms = at(99);
    result.max_ms = weighted.last().map_or(0.0, |(ns, _)| millis(*ns));
    result.min_ms = weighted.first().map_or(0.0, |(ns, _)| millis(*ns));
    result
}

/// `(Send's entry, Receive's return, frames both calls have in common from here on)`.
fn pair(send: &CallbackLog, receive: &CallbackLog, shift: i64, frame: u64) -> Option<(i64, i64, u64)> {
    let sent = send.call_of(frame)?;
    let out = frame.checked_add_signed(shift)?;
    let got = receive.call_of(out)?;
    let left_in_send = sent.first_frame + u64::from(sent.frames) - frame;
    let left_in_receive = got.first_frame + u64::from(got.frames) - out;
    Some((sent.entered_ns, got.left_ns(), left_in_send.min(left_in_receive)))
}

#[allow(clippy::cast_precision_loss, reason = "a duration of less than 104 days in nanoseconds fits 53 bits")]
fn millis(ns: i64) -> f64 {
    ns as f64 / 1e6
}

#[allow(clippy::cast_possible_truncation, reason = "a figure to plot")]
fn single(value: f64) -> f32 {
    value as f32
}

/// The lowest and highest sample of all channels in each of `columns` equal stretches: a waveform to plot.
pub fn envelope(audio: &Audio, columns: usize) -> Vec<(f32, f32)> {
    let frames = audio.frames();
    let columns = columns.max(1);
    (0..columns)
        .map(|column| {
            let range = frames * column / columns..frames * (column + 1) / columns;
            let samples = audio.channels.iter().flat_map(|channel| &channel[range.clone()]);
            samples.fold((0.0_f32, 0.0_f32), |(low, high), sample| (low.min(*sample), high.max(*sample)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::phrase;
    use crate::callback_log::Record;

    fn shifted(source: &Audio, frames: usize, tail: usize) -> Audio {
        let mut received = source.clone();
        for channel in &mut received.channels {
            channel.splice(0..0, std::iter::repeat_n(0.0, frames));
            channel.extend(std::iter::repeat_n(0.0, tail));
        }
        received
    }

    #[test]
    fn an_exact_copy_is_bit_exact_at_its_offset() {
        let source = phrase(48_000, 2, 1.0);
        let result = compare(&source, &shifted(&source, 1234, 100));
        assert!(result.bit_exact, "{result:?}");
        assert_eq!((result.offset_frames, result.missing_frames, result.stray_frames), (1234, 0, 0));
    }

    #[test]
    fn a_copy_that_begins_earlier_has_a_negative_offset() {
        let source = phrase(48_000, 1, 0.5).with_lead(0.1);
        let received = Audio { sample_rate: 48_000, channels: vec![source.channels[0][1000..].to_vec()] };
        let result = compare(&source, &received);
        assert_eq!(result.offset_frames, -1000);
        assert_eq!(result.missing_frames, 1000, "frames before the recording began did not come out");
    }

    #[test]
    fn one_changed_sample_is_one_missing_frame() {
        let source = phrase(48_000, 2, 0.5);
        let mut received = shifted(&source, 10, 10);
        received.channels[1][5000] += f32::EPSILON;
        let result = compare(&source, &received);
        assert!(!result.bit_exact);
        assert_eq!(result.runs, vec![Run { source_frame: 4990, frames: 1 }]);
    }

    #[test]
    fn a_dropped_stretch_is_a_move_and_its_frames_are_missing() {
        let source = phrase(48_000, 1, 1.0);
        let mut received = shifted(&source, 100, 0);
        received.channels[0].drain(20_100..20_200);
        let result = compare(&source, &received);
        assert!(!result.bit_exact);
        assert_eq!(result.moves, vec![Move { source_frame: 20_480, offset_frames: 0 }]);
        assert_eq!(result.runs, vec![Run { source_frame: 20_000, frames: 480 }]);
    }

    #[test]
    fn sound_outside_the_source_is_stray() {
        let source = phrase(48_000, 1, 0.5);
        let mut received = shifted(&source, 100, 100);
        received.channels[0][3] = 0.5;
        let last = received.frames() - 1;
        received.channels[0][last] = 0.5;
        assert_eq!(compare(&source, &received).stray_frames, 2);
    }

    #[test]
    fn another_recording_is_not_exact() {
        let result = compare(&phrase(48_000, 1, 0.3), &Audio::silence(48_000, 1, 20_000));
        assert!(!result.found && !result.bit_exact);
    }

    #[test]
    fn a_louder_copy_is_found_by_correlation() {
        let source = phrase(48_000, 1, 0.5);
        let mut received = shifted(&source, 777, 50);
        received.channels[0].iter_mut().for_each(|sample| *sample *= 1.1);
        let result = compare(&source, &received);
        assert!(result.found && !result.bit_exact);
        assert_eq!(result.offset_frames, 777);
    }

    #[test]
    fn steps_and_silence_are_found() {
        let mut audio = Audio::silence(48_000, 1, 100);
        audio.channels[0][10..20].fill(0.5);
        audio.channels[0][20] = 0.25;
        assert_eq!(step_max(&audio, 0..100), (10, 0.5));
        assert_eq!(step_max(&audio, 12..100), (20, 0.25));
        assert_eq!(silence_from(&audio, 12, 5), Some(21));
        assert_eq!(silence_from(&audio, 12, 90), None);
    }

    #[test]
    fn latency_is_weighted_by_frames() {
        let mut send = CallbackLog::with_capacity(10);
        let mut receive = CallbackLog::with_capacity(10);
        for call in 0..10_u32 {
            let first_frame = u64::from(call) * 100;
            let entered_ns = i64::from(call) * 1_000_000;
            send.push(Record { first_frame, frames: 100, entered_ns, ..Record::default() });
            let late_ns = if call == 5 { 900_000 } else { 0 };
            receive.push(Record {
                first_frame,
                frames: 100,
                entered_ns: entered_ns + late_ns,
                duration_ns: 10_000,
                cpu_ns: 9_000,
                ..Record::default()
            });
        }
        // A frame comes out 150 frames later: half of each Send call leaves with the next Receive call but one.
        let result = latency(&send, &receive, 150, 0..800);
        assert_eq!(result.frames, 800);
        // 350 frames took 1.01 ms, 50 took 1.91, 350 took 2.01 and 50 took 2.91.
        assert!((result.median_ms - 1.91).abs() < 1e-9, "{result:?}");
        assert!((result.max_ms - 2.91).abs() < 1e-9, "{result:?}");
        assert_eq!(result.series.len(), 16);
    }

    #[test]
    fn an_envelope_has_the_extremes() {
        let audio = Audio { sample_rate: 1, channels: vec![vec![0.1, -0.2, 0.3, -0.4]] };
        assert_eq!(envelope(&audio, 2), vec![(-0.2, 0.1), (-0.4, 0.3)]);
    }
}
