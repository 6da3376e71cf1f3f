use crate::hand::Command;
use crate::lead::Standing;
use crate::params::Role;
use crate::plan::Quantum;
use crate::studio::{HORIZON, Studio, at, playing, stopped};

/// Stands at beat 0 for a second, then plays at a tempo.
fn from_a_second(bpm: f64) -> impl Fn(f64) -> audiocloud_instance::transport::Transport {
    move |seconds| if seconds < 1.0 { stopped(0.0, bpm) } else { playing((seconds - 1.0) * bpm / 60.0, bpm) }
}

fn horizon() -> f64 {
    HORIZON.as_secs_f64() + 0.02
}

#[test]
fn a_host_that_leads_starts_everybody_in_its_phase() {
    let mut studio = Studio::new(Role::Lead, Quantum::AtOnce);
    let host = from_a_second(120.0);
    studio.play(10.0, &host);
    let map = studio.beat.map();
    assert!(!map.at(at(1.0)).unwrap().playing);
    assert!(map.at(at(1.0 + horizon())).unwrap().playing);
    let off = studio.off_ms(1.0 + horizon(), 10.0, &host);
    assert!(off < 0.01, "{off} ms");
    assert!(studio.facts.told <= 3, "{} changes for nothing", studio.facts.told);
    assert_eq!(studio.facts.standing, Standing::Leading);
    assert!(studio.facts.error.unwrap().phase_ms.abs() < 0.01);
}

#[test]
fn a_ramp_of_8_bars_stays_within_a_millisecond() {
    // 90 to 150 over 32 beats, evenly by the beat, from beat 4 on.
    let slope = 60.0 / 32.0;
    let lasts = (150.0_f64 / 90.0).ln() / slope * 60.0;
    let begins = 1.0 + 4.0 * 60.0 / 90.0;
    let host = move |seconds: f64| {
        if seconds < begins {
            return from_a_second(90.0)(seconds);
        }
        let since = seconds - begins;
        if since < lasts {
            let beats = 90.0 / slope * (slope * since / 60.0).exp_m1();
            playing(4.0 + beats, 90.0 + slope * beats)
        } else {
            playing(36.0 + (since - lasts) * 2.5, 150.0)
        }
    };
    let mut studio = Studio::new(Role::Lead, Quantum::AtOnce);
    studio.play(begins + lasts + 5.0, host);
    let off = studio.off_ms(1.0 + horizon(), studio.seconds(), host);
    assert!(off < 0.7, "{off} ms");
    assert!(studio.facts.told < 60, "{} changes", studio.facts.told);
}

#[test]
fn a_loop_a_meter_and_a_jump_arrive() {
    // A loop of two bars; then out of it, into three quarters from beat 16 on.
    let looping = |seconds: f64| {
        let beats = (seconds - 1.0) * 2.0;
        let round = if beats < 8.0 { beats } else { (beats - 8.0) % 8.0 };
        let bar = Some(((round / 4.0).floor() * 4.0, if round < 4.0 { 0 } else { 1 }));
        let transport = audiocloud_instance::transport::Transport {
            bar,
            looped: Some((0.0, 8.0)),
            ..playing(round, 120.0)
        };
        if seconds < 1.0 { stopped(0.0, 120.0) } else { transport }
    };
    let waltz = |seconds: f64| {
        let beat = 16.0 + (seconds - 15.0) * 2.0;
        let bars = ((beat - 16.0) / 3.0).floor();
        #[allow(clippy::cast_possible_truncation, reason = "a few bars")]
        let bar = Some((16.0 + bars * 3.0, 4 + bars as i64));
        audiocloud_instance::transport::Transport { bar, meter: Some((3, 4)), ..playing(beat, 120.0) }
    };
    let host = move |seconds: f64| if seconds < 15.0 { looping(seconds) } else { waltz(seconds) };
    let mut studio = Studio::new(Role::Lead, Quantum::AtOnce);
    studio.play(25.0, host);
    for (from, to) in [(1.0 + horizon(), 15.0), (15.0 + horizon(), 25.0)] {
        let off = studio.off_ms(from, to, host);
        assert!(off < 0.01, "{off} ms from {from} on");
    }
    let position = studio.beat.map().at(at(15.0 + 3.2)).unwrap();
    assert_eq!((position.bar, position.meter.beats), (6, 3));
    assert!((position.in_bar.get() - 0.4).abs() < 1e-3, "{position:?}");
    assert!(studio.facts.told < 8, "{} changes: going round is none", studio.facts.told);
}

#[test]
fn starts_and_stops_wait_for_their_bars() {
    let mut studio = Studio::new(Role::Lead, Quantum::Bar);
    // Starts in the middle of a bar, stops in the middle of another.
    let host = |seconds: f64| match seconds {
        _ if seconds < 1.0 => stopped(1.3, 120.0),
        _ if seconds < 6.0 => playing(1.3 + (seconds - 1.0) * 2.0, 120.0),
        _ => stopped(11.3, 120.0),
    };
    studio.play(9.0, host);
    let map = studio.beat.map();
    let bar_2 = 1.0 + (4.0 - 1.3) / 2.0;
    assert!(!map.at(at(bar_2 - 0.01)).unwrap().playing);
    let position = map.at(at(bar_2 + 0.25)).unwrap();
    assert!(position.playing && (position.beat.get() - 4.5).abs() < 1e-3, "{position:?}");
    let bar_4 = bar_2 + 4.0;
    assert!(map.at(at(bar_4 - 0.01)).unwrap().playing);
    let position = map.at(at(bar_4 + 0.5)).unwrap();
    assert!(!position.playing && (position.beat.get() - 12.0).abs() < 1e-3, "{position:?}");
    let told = studio.facts.told;
    // Where the host stands is of interest again when its user moves it.
    studio.play(10.0, |_| stopped(11.3, 120.0));
    assert_eq!(studio.facts.told, told);
    studio.play(11.0, |_| stopped(0.0, 120.0));
    assert_eq!(studio.beat.map().at(at(11.0)).unwrap().beat.get(), 0.0);
}

#[test]
fn whoever_touches_the_beat_last_leads() {
    use audiocloud_net::runtime::bridge::SharedBeat;
    let mut studio = Studio::new(Role::Lead, Quantum::AtOnce);
    let host = from_a_second(120.0);
    studio.play(3.0, &host);
    // Somebody else wants it slower.
    let theirs = audiocloud_net::clock::beat_map::Segment::steady(
        at(3.2),
        audiocloud_engine::units::Beats::new(4.4),
        100.0,
    );
    studio.beat.edit(&[theirs]).unwrap();
    let told = studio.facts.told;
    studio.play(6.0, &host);
    assert_eq!((studio.facts.standing, studio.facts.told), (Standing::GivenWay, told));
    assert_eq!(studio.beat.map().at(at(6.0)).unwrap().bpm, 100.0);
    let error = studio.facts.error.unwrap();
    assert!((error.bpm - 20.0).abs() < 1e-6, "{error:?}");
    // This host's user stops and starts again.
    studio.play(6.5, |_| stopped(10.0, 120.0));
    let again = |seconds: f64| playing((seconds - 6.5) * 2.0, 120.0);
    studio.play(8.0, again);
    assert_eq!(studio.facts.standing, Standing::Leading);
    assert!(studio.off_ms(6.5 + horizon(), 8.0, again) < 0.01);
}

#[test]
fn who_is_loaded_into_a_session_that_plays_leads_when_touched() {
    use audiocloud_net::runtime::bridge::SharedBeat;
    let mut studio = Studio::new(Role::Lead, Quantum::AtOnce);
    let theirs = audiocloud_net::clock::beat_map::Segment::steady(
        at(0.0),
        audiocloud_engine::units::Beats::new(0.0),
        100.0,
    );
    studio.beat.edit(&[theirs]).unwrap();
    studio.play(2.0, |_| stopped(0.0, 140.0));
    assert_eq!((studio.facts.standing, studio.facts.told), (Standing::GivenWay, 0));
    // Unless the user says so in the window.
    studio.orders.role = Role::Follow;
    studio.play(2.1, |_| stopped(0.0, 140.0));
    studio.orders.role = Role::Lead;
    studio.play(3.0, |_| stopped(0.0, 140.0));
    assert_eq!((studio.facts.standing, studio.facts.told), (Standing::Leading, 1));
    assert!(!studio.beat.map().at(at(3.0)).unwrap().playing);
}

#[test]
fn a_refusal_is_said_and_not_repeated_all_the_time() {
    let mut studio = Studio::new(Role::Lead, Quantum::AtOnce);
    *studio.beat.refuse.lock().unwrap() = Some("you may not; ask".into());
    studio.play(2.0, from_a_second(120.0));
    assert_eq!((studio.facts.refused.as_deref(), studio.facts.told), (Some("you may not; ask"), 0));
}

#[test]
fn by_hand_everybody_is_counted_in() {
    let mut studio = Studio::new(Role::Follow, Quantum::Bar);
    studio.play(1.0, |_| stopped(0.0, 120.0));
    assert_eq!(studio.facts.position, None);
    studio.pilot.ask(Command::Start { count_in_bars: 1 });
    studio.play(2.0, |_| stopped(0.0, 120.0));
    let position = studio.facts.position.unwrap();
    assert!(position.playing && position.bar == -1, "{position:?}");
    studio.pilot.ask(Command::Stop);
    studio.play(2.5, |_| stopped(0.0, 120.0));
    assert_eq!(studio.facts.waiting, Some(Command::Stop));
    studio.play(3.5, |_| stopped(0.0, 120.0));
    let position = studio.facts.position.unwrap();
    assert!(!position.playing && position.bar == 0 && position.beat.get().abs() < 1e-6, "{position:?}");
}
