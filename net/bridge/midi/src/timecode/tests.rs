use audiocloud_clock::beat_map::{Ramp, Segment};
use audiocloud_units::Beats;

use super::*;

fn at(millis: i64) -> SessionTime {
    SessionTime::new(millis * 1_000_000)
}

fn map(segments: &[Segment]) -> BeatMap {
    let mut map = BeatMap::new();
    for segment in segments {
        map.insert(*segment, at(0)).unwrap();
    }
    map
}

fn sent(rate: FrameRate, map: &BeatMap, until_ms: i64, step_ms: i64) -> Vec<(SessionTime, Message)> {
    let mut code = Code::new(rate);
    let mut all = Vec::new();
    for now in 0..=until_ms / step_ms {
        code.advance(map, at(now * step_ms), |at, message| all.push((at, message)));
    }
    all
}

/// A decoder of time code, after the standard: eight pieces in order are a label, which was true when the first was sent.
struct Decoder {
    bits: [u8; 8],
    expected: usize,
    began: SessionTime,
}

/// Frames from midnight of a label, by the rule for dropped labels as it is written down: frame labels 0 and 1 of each
/// minute but the tenth do not exist.
fn frames_of(hours: i64, minutes: i64, seconds: i64, frames: i64, code: u8) -> i64 {
    let nominal = [24, 25, 30, 30][usize::from(code)];
    let labels = ((hours * 60 + minutes) * 60 + seconds) * nominal + frames;
    if code != 2 {
        return labels;
    }
    let all_minutes = hours * 60 + minutes;
    assert!(minutes % 10 == 0 || seconds > 0 || frames > 1, "a label that does not exist");
    labels - 2 * (all_minutes - all_minutes / 10)
}

fn seconds_of(frames: i64, code: u8) -> f64 {
    frames as f64 / [24.0, 25.0, 30_000.0 / 1_001.0, 30.0][usize::from(code)]
}

impl Decoder {
    /// A whole label's song time in seconds, and when that was.
    fn hear(&mut self, at: SessionTime, bytes: &[u8]) -> Option<(f64, SessionTime)> {
        let [0xf1, data] = *bytes else {
            self.expected = 0;
            return None;
        };
        let piece = usize::from(data >> 4);
        if piece == 0 {
            self.began = at;
        } else if piece != self.expected {
            self.expected = 0;
            return None;
        }
        self.bits[piece] = data & 15;
        self.expected = piece + 1;
        (piece == 7).then(|| {
            self.expected = 0;
            let part = |low: usize, mask: u8| i64::from(self.bits[low] | (self.bits[low + 1] & mask) << 4);
            let code = self.bits[7] >> 1 & 3;
            let frames = frames_of(part(6, 1), part(4, 3), part(2, 3), part(0, 1), code);
            (seconds_of(frames, code), self.began)
        })
    }
}

/// Labels that a decoder reads, each with the song's time when its first piece came.
fn decoded(sent: &[(SessionTime, Message)]) -> Vec<(f64, SessionTime)> {
    let mut decoder = Decoder { bits: [0; 8], expected: 0, began: at(0) };
    sent.iter().filter_map(|(at, message)| decoder.hear(*at, &message.bytes())).collect()
}

#[test]
fn a_decoder_locks_at_every_rate_and_stays() {
    for rate in FrameRate::ALL {
        // Ten minutes, from 9:30 of the song: through the tenth minute, which drops nothing.
        let map = map(&[Segment::steady(at(1_000), Beats::new(1_140.0), 120.0)]);
        let sent = sent(rate, &map, 601_000, 83);
        assert!(sent.is_sorted_by_key(|(at, _)| *at));
        let labels = decoded(&sent);
        let expected = 600.0 * seconds_of(1, rate.code()).recip() / 2.0;
        assert!((labels.len() as f64 - expected).abs() < 3.0, "{rate:?}: {} labels", labels.len());
        // The first within four frames.
        assert!(labels[0].1 - at(1_000) < Nanos::from_millis(170), "{rate:?}: {:?}", labels[0]);
        for (song, began) in labels {
            let truth = 570.0 + (began - at(1_000)).as_secs_f64();
            assert!((song - truth).abs() < 2e-9 * truth, "{rate:?}: {song} s is {truth} s");
        }
    }
}

#[test]
fn labels_at_seams_are_the_known_ones() {
    let check = |rate: FrameRate, frame: i64, expected: [u8; 4]| {
        let Timecode { hours, minutes, seconds, frames, .. } = rate.label(frame);
        assert_eq!([hours, minutes, seconds, frames], expected, "{rate:?}, frame {frame}");
    };
    check(FrameRate::Film24, 24 * 3_600 + 23, [1, 0, 0, 23]);
    check(FrameRate::Film25, 24 * 3_600 * 25 - 1, [23, 59, 59, 24]);
    check(FrameRate::Film25, 24 * 3_600 * 25, [0, 0, 0, 0]);
    check(FrameRate::Drop2997, 1_799, [0, 0, 59, 29]);
    check(FrameRate::Drop2997, 1_800, [0, 1, 0, 2]);
    check(FrameRate::Drop2997, 17_981, [0, 9, 59, 29]);
    check(FrameRate::Drop2997, 17_982, [0, 10, 0, 0]);
    check(FrameRate::Drop2997, 107_892, [1, 0, 0, 0]);
    check(FrameRate::Whole30, 30 * 61, [0, 1, 1, 0]);
}

#[test]
fn drop_frames_agree_with_the_rule_all_day() {
    for frame in (0..24 * 6 * 17_982).step_by(7) {
        let Timecode { hours, minutes, seconds, frames, .. } = FrameRate::Drop2997.label(frame);
        let counted = frames_of(hours.into(), minutes.into(), seconds.into(), frames.into(), 2);
        assert_eq!(counted, frame);
    }
}

#[test]
fn places_are_told_whole_and_time_goes_on_through_tempo() {
    let stopped = Segment { playing: false, ..Segment::steady(at(0), Beats::new(8.0), 120.0) };
    let ramp = Some(Ramp { to_bpm: 60.0, over: Beats::new(16.0) });
    let ramped = Segment { ramp, ..Segment::steady(at(2_000), Beats::new(8.0), 120.0) };
    let beat = ramped.at(at(9_000)).beat;
    let again = Segment::steady(at(9_000), beat, 75.0);
    let jump = Segment::steady(at(12_000), Beats::new(0.0), 75.0);
    let sent = sent(FrameRate::Film25, &map(&[stopped, ramped, again, jump]), 14_000, 17);
    let whole: Vec<_> = sent
        .iter()
        .filter_map(|(at, message)| match message {
            Message::FullFrame(label) => {
                Some((at.get() / 1_000_000, label.minutes, label.seconds, label.frames))
            }
            _ => None,
        })
        .collect();
    // At rest, 4 s into the song; when it begins; at the jump. Not where the tempo changes.
    assert_eq!(whole, [(0, 0, 4, 0), (2_000, 0, 4, 0), (12_000, 0, 0, 0)]);
    for (song, began) in decoded(&sent) {
        let session = began.get() as f64 * 1e-9;
        let truth = if session < 12.0 { 4.0 + session - 2.0 } else { session - 12.0 };
        assert!((song - truth).abs() < 1e-8, "{song} s is {truth} s");
    }
}

#[test]
fn nothing_is_said_before_the_song_and_a_loop_takes_it_back() {
    let before = map(&[Segment::steady(at(0), Beats::new(-4.0), 120.0)]);
    let all = sent(FrameRate::Whole30, &before, 4_000, 10);
    assert_eq!(all[0].0, at(2_000), "{:?}", all[0]);

    let looped = Some((Beats::new(4.0), Beats::new(8.0)));
    let around = map(&[Segment { looped, ..Segment::steady(at(0), Beats::new(4.0), 120.0) }]);
    let all = sent(FrameRate::Film24, &around, 20_000, 10);
    let labels = decoded(&all);
    assert!(labels.len() > 200, "{}", labels.len());
    for (song, began) in labels {
        let truth = 2.0 + (began.get() as f64 * 1e-9) % 2.0;
        assert!((song - truth).abs() < 1e-8, "{song} s is {truth} s");
    }
}

#[test]
fn a_song_of_years_has_no_time_code() {
    let far = map(&[Segment::steady(at(0), Beats::new(999_999_999.0), 5.61)]);
    assert_eq!(sent(FrameRate::Film25, &far, 5_000, 100), []);
    // Labels go round after a day.
    let day = map(&[Segment::steady(at(0), Beats::new(86_399.0 * 2.0), 120.0)]);
    let labels = decoded(&sent(FrameRate::Film25, &day, 3_000, 100));
    assert!((labels[0].0 - 86_399.0).abs() < 0.1 && labels.last().unwrap().0 < 2.0, "{labels:?}");
}
