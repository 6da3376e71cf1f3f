use super::*;
use crate::effect::Transport;
use crate::stage::Stage;

fn impulse(frames: usize) -> Vec<f32> {
    let mut samples = vec![0.0; frames];
    samples[0] = 1.0;
    samples
}

fn transport(tempo_bpm: f64) -> Option<Transport> {
    Some(Transport { playing: true, tempo_bpm, position_beats: 0.0, signature: (4, 4) })
}

/// Of all that is not silent: where, and how loud.
fn echoes(samples: &[f32]) -> Vec<(usize, f32)> {
    samples.iter().copied().enumerate().filter(|(_, sample)| sample.abs() > 1e-6).collect()
}

/// Where the energy around a frame is.
fn centre(samples: &[f32], around: usize, reach: usize) -> f64 {
    let from = around.saturating_sub(reach);
    let (mut moment, mut mass) = (0.0, 0.0);
    for (frame, sample) in samples[from..around + reach].iter().enumerate() {
        moment += f64::from(*sample) * (from + frame) as f64;
        mass += f64::from(*sample);
    }
    moment / mass
}

#[test]
fn digital_echoes_are_copies_to_the_frame_at_any_rate() {
    for (rate, frames) in [(44_100, 5_513), (48_000, 6_000), (96_000, 12_000), (192_000, 24_000)] {
        let mut stage = Stage::new(&DELAY, rate, 1);
        stage.set(&[("Time", 125.0), ("Feedback", 50.0), ("Mix", 100.0)]);
        let output = stage.play(&[impulse(4 * frames + 1)]);
        let expected = [(frames, 1.0), (2 * frames, 0.5), (3 * frames, 0.25), (4 * frames, 0.125)];
        assert_eq!(echoes(&output[0]), expected, "{rate} Hz");
    }
}

#[test]
fn the_shortest_echo_is_exact_too() {
    let mut stage = Stage::new(&DELAY, 44_100, 1);
    stage.set(&[("Time", 1.0), ("Feedback", 50.0), ("Mix", 100.0)]);
    assert_eq!(echoes(&stage.play(&[impulse(100)])[0]), [(44, 1.0), (88, 0.5)]);
}

#[test]
fn ping_pong_goes_from_side_to_side() {
    let mut stage = Stage::new(&DELAY, 48_000, 2);
    stage.set(&[("Sort", 3.0), ("Time", 10.0), ("Feedback", 50.0), ("Mix", 100.0)]);
    let output = stage.play(&[impulse(2_000), impulse(2_000)]);
    assert_eq!(echoes(&output[0]), [(480, 1.0), (1440, 0.25)]);
    assert_eq!(echoes(&output[1]), [(960, 0.5), (1920, 0.125)]);
}

#[test]
fn in_tempo_an_echo_lasts_its_note() {
    let check = |note: f32, tempo_bpm: f64, frames: usize| {
        let mut stage = Stage::new(&DELAY, 48_000, 1);
        stage.transport = transport(tempo_bpm);
        stage.set(&[("Sync", 1.0), ("Note", note), ("Feedback", 0.0), ("Mix", 100.0)]);
        let output = stage.play(&[impulse(frames + 1_000)]);
        assert_eq!(echoes(&output[0]), [(frames, 1.0)], "{} at {tempo_bpm}", NOTES[index(note)]);
    };
    check(8.0, 120.0, 24_000);
    check(7.0, 100.0, 21_600);
    check(3.0, 90.0, 10_667);
    check(0.0, 174.0, 2_069);
    // Four beats at 40 are 6 s, twice what there is room for.
    check(13.0, 40.0, 144_000);
}

fn index(note: f32) -> usize {
    crate::parameter::index(note)
}

#[test]
fn worn_echoes_come_in_time_however_dull_they_are() {
    for sort in [1.0, 2.0] {
        let mut stage = Stage::new(&DELAY, 48_000, 1);
        stage.set(&[("Sort", sort), ("Time", 200.0), ("Feedback", 60.0), ("Mix", 100.0)]);
        let mut input = impulse(48_000);
        // Quiet enough not to be bent.
        input[0] = 0.01;
        let output = stage.play(&[input]);
        for (echo, feedback) in [(1, 1.0), (2, 0.6), (3, 0.36), (4, 0.216)] {
            let at = 9_600 * echo;
            let found = centre(&output[0], at, 400);
            assert!((found - at as f64).abs() < 0.5, "sort {sort}, echo {echo}: {found} for {at}");
            let sum: f32 = output[0][at - 400..at + 400].iter().sum();
            assert!((sum / (0.01 * feedback) - 1.0).abs() < 0.01, "sort {sort}, echo {echo}: {sum}");
        }
    }
}

#[test]
fn the_high_cut_takes_no_time_from_the_echo() {
    let mut stage = Stage::new(&DELAY, 48_000, 1);
    stage.set(&[("Time", 100.0), ("High cut", 2000.0), ("Feedback", 0.0), ("Mix", 100.0)]);
    let found = centre(&stage.play(&[impulse(9_600)])[0], 4_800, 400);
    assert!((found - 4_800.0).abs() < 0.01, "{found}");
}

/// The greatest step from sample to sample of a tone, while something is changed; with the tone's own for comparison.
fn greatest_step(before: &[(&str, f32)], after: &[(&str, f32)]) -> (f32, f32) {
    let tone = |from: u16| -> Vec<f32> {
        (0..24_000).map(|n| (f32::from(n + from % 96) * std::f32::consts::TAU / 96.0).sin()).collect()
    };
    let mut stage = Stage::new(&DELAY, 48_000, 1);
    stage.set(&[("Mix", 100.0), ("Feedback", 0.0)]);
    stage.set(before);
    let mut output = stage.play(&[tone(0)]).remove(0);
    stage.set(after);
    output.extend(stage.play(&[tone(24_000 % 96)]).remove(0));
    let steps =
        |samples: &[f32]| samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
    (steps(&output[20_000..]), steps(&output[20_000..24_000]))
}

#[test]
fn another_time_or_sort_makes_no_click() {
    let check = |before: &[(&str, f32)], after: &[(&str, f32)], factor: f32| {
        let (found, usual) = greatest_step(before, after);
        assert!(found < factor * usual, "{after:?}: {found}, usually {usual}");
    };
    check(&[("Time", 100.0)], &[("Time", 137.3)], 1.1);
    check(&[("Time", 100.0)], &[("Sort", 3.0)], 1.1);
    check(&[("Time", 100.0)], &[("Sort", 2.0)], 1.1);
    // A head that moves half as fast again plays a fifth higher, and its steps are as much greater.
    check(&[("Time", 200.0), ("Sort", 2.0)], &[("Time", 100.0)], 1.6);
}

#[test]
fn a_time_that_was_glided_to_is_exact_again() {
    let mut stage = Stage::new(&DELAY, 48_000, 1);
    stage.set(&[("Sort", 2.0), ("Time", 100.0), ("Feedback", 0.0), ("Mix", 100.0)]);
    stage.play(&[vec![0.0; 4_800]]);
    stage.set(&[("Time", 150.0)]);
    stage.play(&[vec![0.0; 96_000]]);
    let mut input = impulse(19_200);
    input[0] = 0.01;
    let found = centre(&stage.play(&[input])[0], 7_200, 400);
    assert!((found - 7_200.0).abs() < 0.05, "{found}");
}
