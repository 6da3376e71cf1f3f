use audiocloud_engine::units::{HostTime, Ppm};
use audiocloud_net::clock::beat_map::{Meter, Segment};

use super::*;

const RATE: SampleRate = SampleRate::new(48_000).unwrap();

fn at(millis: f64) -> SessionTime {
    #[allow(clippy::cast_possible_truncation, reason = "a few minutes")]
    SessionTime::new((millis * 1e6).round() as i64)
}

fn map(segments: &[Segment]) -> BeatMap {
    let mut map = BeatMap::new();
    segments.iter().for_each(|segment| map.insert(*segment, at(0.0)).unwrap());
    map
}

fn steady(start_ms: f64, beat: f64, bpm: f64) -> Segment {
    Segment::steady(at(start_ms), Beats::new(beat), bpm)
}

/// Clicks from a time on, in ms, with an asterisk for a bar's first.
fn clicks(map: &BeatMap, from_ms: f64, count: usize) -> String {
    let mut from = at(from_ms);
    let mut heard = Vec::new();
    while heard.len() < count {
        let Some(click) = next_click(map, from) else { break };
        let star = if click.is_first { "*" } else { "" };
        heard.push(format!("{}{star}", click.at.get() / 1_000_000));
        from = click.at + AFTER;
    }
    heard.join(" ")
}

#[test]
fn beats_are_the_meters_and_a_bars_first_stands_out() {
    let eighths = Segment { meter: Meter { beats: 6, unit: 8 }, ..steady(0.0, 0.0, 60.0) };
    assert_eq!(clicks(&map(&[steady(0.0, 0.0, 60.0)]), 100.0, 4), "1000 2000 3000 4000*");
    assert_eq!(clicks(&map(&[eighths]), 100.0, 6), "500 1000 1500 2000 2500 3000*");
    assert_eq!(clicks(&map(&[steady(0.0, -2.0, 60.0)]), -10.0, 3), "0 1000 2000*", "a count-in");
}

#[test]
fn another_meter_or_a_stop_counts_from_its_own_start() {
    let waltz = Segment {
        meter: Meter { beats: 3, unit: 8 },
        bar_beat: Beats::new(2.25),
        bar: 1,
        ..steady(2_250.0, 2.25, 60.0)
    };
    let both = map(&[steady(0.0, 0.0, 60.0), waltz]);
    assert_eq!(clicks(&both, 500.0, 6), "1000 2000 2250* 2750 3250 3750*");
    let stop = Segment { playing: false, ..steady(2_500.0, 2.5, 60.0) };
    let resumed = map(&[steady(0.0, 0.0, 60.0), stop, steady(5_000.0, 0.0, 60.0)]);
    assert_eq!(clicks(&resumed, 500.0, 9), "1000 2000 5000* 6000 7000 8000 9000* 10000 11000");
    assert_eq!(clicks(&map(&[stop]), 0.0, 1), "");
}

#[test]
fn a_beat_that_falls_into_a_seam_is_heard_once() {
    // A correction of 0.3 ms forwards, over the fourth beat's very instant.
    let forwards = map(&[steady(0.0, 0.0, 60.0), steady(3_999.9, 4.000_2, 60.0)]);
    assert_eq!(clicks(&forwards, 2_500.0, 3), "3000 3999* 4999");
    // Backwards there are two instants of it; who plays them takes them for one.
    let backwards = map(&[steady(0.0, 0.0, 60.0), steady(4_000.1, 3.999_9, 60.0)]);
    assert_eq!(clicks(&backwards, 3_500.0, 3), "4000* 4000* 5000");
    let played = play(&backwards, &[128; 2_000]);
    assert_eq!(played.starts.len(), 6, "{:?}", played.starts);
    // What a jump leaves out is left out.
    let jump = map(&[steady(0.0, 0.0, 60.0), steady(1_500.0, 7.5, 60.0)]);
    assert_eq!(clicks(&jump, 500.0, 2), "1000 2000*");
}

struct Played {
    /// Frames at which a click begins.
    starts: Vec<usize>,
    output: Vec<f32>,
}

/// Ten seconds and less, from session time 0 on, through a clock that runs fast.
fn play(map: &BeatMap, blocks: &[u32]) -> Played {
    let origin = HostTime::new(77_000_000_000);
    let line = SessionLine { host: origin, session: at(0.0), fraction: 0.0, rate: Ppm::new(40.0) };
    let mut times = FrameTimes::new(RATE);
    let mut metronome = Metronome::new(RATE);
    let mut output = Vec::new();
    let mut starts = Vec::new();
    for frames in blocks {
        let due = Nanos::new(i64::try_from(output.len()).unwrap() * 1_000_000_000 / 48_000);
        times.begin(origin + due, *frames, Nanos::ZERO);
        let mut channel = vec![0.0; usize::try_from(*frames).unwrap()];
        let before = metronome.clicks();
        metronome.play(&times, &line, map, 1.0, &mut [&mut channel]);
        let peak = channel.iter().position(|sample| *sample > 0.45);
        if metronome.clicks() > before {
            starts.push(output.len() + peak.unwrap());
        }
        output.extend(channel);
    }
    Played { starts, output }
}

#[test]
fn clicks_begin_at_the_nearest_frame_whatever_the_blocks() {
    let ramp = Some(audiocloud_net::clock::beat_map::Ramp { to_bpm: 171.3, over: Beats::new(16.0) });
    let map = map(&[Segment { ramp, ..steady(3.3, 0.0, 97.3) }]);
    // Where the beats are, by the map and a line of 40 ppm.
    let frame = |at: SessionTime| at.get() as f64 / (1.0 + 40e-6) * 48e-6;
    let mut expected = Vec::new();
    let mut from = at(0.0);
    while let Some(click) = next_click(&map, from).filter(|click| click.at < at(8_000.0)) {
        expected.push(frame(click.at));
        from = click.at + AFTER;
    }
    assert!(expected.len() > 14);
    let mut random = 1_u32;
    let blocks: Vec<u32> = std::iter::repeat_with(|| {
        random = random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        1 + (random >> 16) % 700
    })
    .take(1_300)
    .collect();
    for blocks in [vec![128; 3_400], vec![1_024; 420], blocks] {
        let played = play(&map, &blocks);
        for (start, expected) in played.starts.iter().zip(&expected) {
            let off = f64::from(u32::try_from(*start).unwrap()) - expected;
            // Half a frame, and what the loop's own arithmetic rounds.
            assert!(off.abs() < 0.6, "{off} at {start} in blocks of {}", blocks[0]);
        }
        assert!(played.starts.len() >= expected.len(), "{} of {}", played.starts.len(), expected.len());
    }
}

#[test]
fn a_click_goes_on_over_blocks_and_dies_away() {
    let map = map(&[steady(10.0, 0.0, 60.0)]);
    let whole = play(&map, &[4_800]).output;
    let pieces = play(&map, &[48; 100]).output;
    assert_eq!(whole, pieces);
    assert_eq!(whole[..480], [0.0; 480]);
    assert!((whole[480] - 0.5).abs() < 1e-6);
    assert_eq!(whole[480 + 1_440..], [0.0; 4_800 - 480 - 1_440]);
    assert!(whole.iter().all(|sample| sample.abs() <= 0.5));
}

#[test]
fn after_a_jump_of_time_it_does_not_catch_up() {
    let map = map(&[steady(0.0, 0.0, 60.0)]);
    let mut metronome = Metronome::new(RATE);
    let line = |session| SessionLine { host: HostTime::new(0), session, fraction: 0.0, rate: Ppm::new(0.0) };
    let mut times = FrameTimes::new(RATE);
    let mut channel = vec![0.0; 480];
    times.begin(HostTime::new(0), 480, Nanos::ZERO);
    metronome.play(&times, &line(at(0.0)), &map, 1.0, &mut [&mut channel]);
    assert_eq!(metronome.clicks(), 1);
    times.begin(HostTime::new(10_000_000), 480, Nanos::ZERO);
    metronome.play(&times, &line(at(20_500.0)), &map, 1.0, &mut [&mut channel]);
    assert_eq!(metronome.clicks(), 1, "twenty beats went by unheard");
}
