//! What a chain that is played for somebody does when its document changes, and with what it listens to.

use audiocloud_engine::graph::event::Body;

use super::*;

/// Plays so many blocks of 128 frames from `start` on, one after the other: their left channel, gapless from `first` on.
fn blocks(far: &mut Far, start: u64, count: u64, first: u64) -> Vec<f32> {
    let mut all = Vec::new();
    for block in 0..count {
        far.push(1, start + 128 * block, 128);
        let (_, begin, samples) = far.next();
        assert_eq!(begin, first + u64::try_from(all.len()).unwrap(), "a gap in what comes back");
        all.extend(samples);
    }
    all
}

/// The largest difference to what went in.
fn error(samples: &[f32], first: u64) -> f32 {
    let frames = first..;
    samples.iter().zip(frames).map(|(sample, frame)| (sample - noise(0, frame)).abs()).fold(0.0, f32::max)
}

fn report(served: &mut Box<dyn ServedChain>) -> serde_json::Value {
    serde_json::from_slice(&served.report()).unwrap()
}

#[test]
fn what_comes_back_stays_in_its_place_while_effects_with_latency_come_and_go() {
    const PROMISED: u64 = 512;
    // The limiter has nothing to do, but takes its time.
    let with = |kinds: &[&str]| {
        let mut chain = Chain { latency_frames: Some(512), ..document(kinds) };
        let limiter = chain.effects().iter().find(|slot| slot.kind == "limiter").map(|slot| slot.id);
        for (parameter, value) in [(1, 0.0), (4, 0.0)] {
            if let Some(effect) = limiter {
                chain.apply(&Edit::Set { effect, parameter, value }).unwrap();
            }
        }
        chain
    };
    let hosting = hosting(|_| ());
    let (request, mut far) = request(&with(&[]).to_json(), Transfer::Live, 256);
    let mut served = hosting.open(request).unwrap();
    // The first frames are answered late by what was promised: four whole blocks say nothing.
    (0..4).for_each(|block| far.push(1, 128 * block, 128));
    let mut at = PROMISED;
    for kinds in [&["limiter"][..], &["eq", "limiter"], &[], &["eq"]] {
        served.set_document(&with(kinds).to_json());
        assert_eq!(report(&mut served)["latency_frames"], PROMISED);
        // Long enough for a crossfade and what has to be filled before.
        let heard = blocks(&mut far, at, 20, at - PROMISED);
        assert!(error(&heard, at - PROMISED) < 0.05, "{kinds:?}: {}", error(&heard, at - PROMISED));
        let (last, begin) = (&heard[15 * 128..], at - PROMISED + 15 * 128);
        assert!(error(last, begin) < 1e-5, "{kinds:?}: {}", error(last, begin));
        at += 20 * 128;
    }
    let too_late = Chain { latency_frames: Some(1), ..document(&["limiter"]) };
    served.set_document(&too_late.to_json());
    let said = report(&mut served);
    assert!(said["words"].to_string().contains("there is room for 1"), "{said}");
    assert_eq!(said["rack"]["effects"][0]["kind"], "eq");
}

#[test]
fn a_document_leaves_what_events_said_alone() {
    let chain = document(&["compressor"]);
    let make_up = |value| ChainBody::Parameter { effect: 0, parameter: 6, value, ramp_frames: Some(0) };
    let quiet = ChainBody::Parameter { effect: 0, parameter: 1, value: 0.0, ramp_frames: Some(0) };
    let hosting = hosting(|_| ());
    let (request, mut far) = request(&chain.to_json(), Transfer::Live, 256);
    let mut served = hosting.open(request).unwrap();
    far.tell(1, 0, quiet);
    far.tell(1, 0, make_up(-6.0));
    far.push(1, 0, 128);
    far.next();
    // The same document again, as it was before the events; and with one more effect, which has its own values.
    served.set_document(&chain.to_json());
    let mut longer = chain.clone();
    longer.apply(&Edit::Add { at: Place::END, kind: "compressor".to_owned() }).unwrap();
    for (parameter, value) in [(1, 0.0), (6, 12.0)] {
        longer.apply(&Edit::Set { effect: 1, parameter, value }).unwrap();
    }
    served.set_document(&longer.to_json());
    let heard = blocks(&mut far, 128, 20, 128);
    let ratio = heard[19 * 128 + 7] / noise(0, 128 + 19 * 128 + 7);
    assert!((20.0 * ratio.log10() - 6.0).abs() < 0.1, "{ratio}");
}

#[test]
fn what_is_listened_to_comes_behind_the_main_channels() {
    let mut chain = document(&["compressor"]);
    for (parameter, value) in [(1, -60.0), (10, 1.0)] {
        chain.apply(&Edit::Set { effect: 0, parameter, value }).unwrap();
    }
    let play = |loud: bool| {
        let hosting = hosting(|_| ());
        let (mut request, mut far) = request(&chain.to_json(), Transfer::Live, 256);
        request.side_chain = 2;
        let served = hosting.open(request).unwrap();
        let header = Header {
            epoch: Epoch(1),
            sample_rate: RATE,
            start: MediaTime::new(0),
            frames: 4_096,
            first_channel: 0,
            channels: 4,
            stream_channels: 4,
            host_time: HostTime::new(0),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        let fill = |channel: usize, _from: usize, samples: &mut [f32]| {
            samples.fill(if channel < 2 || loud { 0.5 } else { 0.0 });
        };
        far.blocks.try_push(&header, fill).unwrap();
        far.due.wake();
        let heard = far.next().2;
        drop(served);
        heard[4_000]
    };
    assert!(play(false) == 0.5 && play(true) < 0.05, "{} {}", play(false), play(true));
}

#[test]
fn who_asks_for_a_plug_in_that_is_not_here_hears_so_and_hears_the_rest() {
    let chain = document(&["clap:org.example.plate", "eq"]);
    let hosting = hosting(|_| ());
    let (request, mut far) = request(&chain.to_json(), Transfer::Live, 256);
    let mut served = hosting.open(request).unwrap();
    far.push(1, 0, 128);
    let heard = far.next().2;
    assert_eq!(bits(&heard), bits(&played(&document(&["eq"]), 0, 128, &[])));
    let said = report(&mut served);
    let effects = &said["rack"]["effects"];
    assert_eq!((&effects[0]["is_missing"], &effects[1]["is_missing"]), (&true.into(), &false.into()));
    assert!(effects[0]["words"].to_string().contains("not on this machine"), "{said}");
}

/// Events that leave a chain carry the frame that they answer, as blocks do; without a foreign effect none do.
#[test]
fn notes_end_where_nobody_listens() {
    let hosting = hosting(|_| ());
    let (request, mut far) = request(&document(&["limiter"]).to_json(), Transfer::Live, 256);
    let served = hosting.open(request).unwrap();
    let Body::Voice(note) = Body::all_notes_off() else { panic!("no note") };
    far.tell(1, 5, ChainBody::Voice(note));
    (0..8).for_each(|block| far.push(1, 128 * block, 128));
    far.next();
    assert!(far.back_events.peek().is_err());
    assert_eq!(hosting.figures().chains[0].counters.back_full, 0);
    drop(served);
}
