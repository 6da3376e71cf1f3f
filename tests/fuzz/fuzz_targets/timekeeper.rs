//! Whatever others say of time and beats: nothing is kept without bound, who may not lead changes neither master nor map,
//! and the time that is shown never goes backwards but where it says that it has jumped.
#![no_main]

use audiocloud_clock::beat_map::{Meter, Ramp, Segment};
use audiocloud_clock::election::{EPOCHS_MAX, Master, ProcessId, Quality};
use audiocloud_clock::filter::Measurement;
use audiocloud_clock::timekeeper::{Choice, MasterSaid, PEERS_MAX, Settings, State, Timekeeper};
use audiocloud_fuzz::traversal::Reader;
use audiocloud_units::{Beats, HostTime, Nanos, Ppm, SessionLine, SessionTime};
use libfuzzer_sys::fuzz_target;

const STEPS_MAX: usize = 400;

/// A few names, so that some are met again; the first ones are of this machine.
fn process(number: u8) -> ProcessId {
    ProcessId { device: [number & 7; 32], instance: [number >> 3 & 7; 16] }
}

/// Numbers of all sizes, the greatest and the smallest among them.
fn number(reader: &mut Reader<'_>) -> Option<u64> {
    let [size, value] = reader.take()?;
    Some(match size & 7 {
        0 => u64::from(value),
        1 => u64::MAX - u64::from(value),
        2 => u64::from(value) << 32,
        3 => EPOCHS_MAX - u64::from(value),
        4 => 1_700_000_000_000 + u64::from(value),
        5 => u64::from(value) << 56,
        _ => u64::from(value) * 1_000_000,
    })
}

fn signed(reader: &mut Reader<'_>) -> Option<i64> {
    number(reader).map(u64::cast_signed)
}

fn real(reader: &mut Reader<'_>) -> Option<f64> {
    let bits = number(reader)?;
    let value = if bits & 1 == 0 { f64::from_bits(bits) } else { (bits >> 8) as f64 / 3.0 };
    Some(if value.is_finite() { value } else { 120.0 })
}

fn quality(value: u8) -> Quality {
    [Quality::Traceable, Quality::Network, Quality::Audio, Quality::Crystal][usize::from(value & 3)]
}

fn state(reader: &mut Reader<'_>) -> Option<State> {
    let [flags, machine, who, steps] = reader.take()?;
    let master = MasterSaid {
        master: Master { id: process(who), epoch: number(reader)?, alone: flags & 1 != 0 },
        origin: u64::from(steps >> 6),
        pulse: number(reader)?,
        quality: quality(steps),
        worst_round_trip: Nanos::new(signed(reader)?),
        steps: steps & 7,
        bound: Nanos::new(signed(reader)?),
    };
    let line = SessionLine {
        host: HostTime::new(signed(reader)?),
        session: SessionTime::new(signed(reader)?),
        fraction: real(reader)?,
        rate: Ppm::new(real(reader)?),
    };
    Some(State {
        machine: [machine & 1; 16],
        is_node: flags & 2 != 0,
        candidate: (flags & 4 != 0).then_some((quality(machine >> 1), master.worst_round_trip)),
        choice: Choice { number: number(reader)?, device: (flags & 8 != 0).then_some([who & 7; 32]) },
        master: (flags & 16 != 0).then_some(master),
        source: (flags & 32 != 0).then(|| process(machine)),
        beats: u64::from(steps),
        line: (flags & 64 != 0).then_some(line),
    })
}

fn segment(reader: &mut Reader<'_>) -> Option<Segment> {
    let [flags, beats, unit] = reader.take()?;
    let quarters = |reader: &mut Reader<'_>| real(reader).map(Beats::new);
    Some(Segment {
        epoch: number(reader)?,
        serial: number(reader)?,
        start: SessionTime::new(signed(reader)?),
        beat: quarters(reader)?,
        bpm: if flags & 1 == 0 { 120.0 } else { real(reader)? },
        ramp: if flags & 2 == 0 {
            None
        } else {
            Some(Ramp { to_bpm: real(reader)?, over: quarters(reader)? })
        },
        meter: if flags & 4 == 0 { Meter::COMMON } else { Meter { beats, unit } },
        bar_beat: quarters(reader)?,
        bar: signed(reader)?,
        looped: if flags & 8 == 0 { None } else { Some((quarters(reader)?, quarters(reader)?)) },
        playing: flags & 16 != 0,
    })
}

fuzz_target!(|input: &[u8]| {
    let mut reader = Reader(input);
    let Some([flags]) = reader.take() else { return };
    let mut now = HostTime::new(1_000_000_000);
    let settings =
        Settings { me: process(0), machine: [0; 16], is_node: flags & 1 != 0, seed: u64::from(flags) };
    let mut keeper = Timekeeper::new(settings, now);
    if flags & 2 != 0 {
        keeper.set_may_lead(Err("may not".to_owned()));
    }
    for _ in 0..STEPS_MAX {
        let Some([what, who]) = reader.take() else { break };
        let (from, may_lead) = (process(who), who & 64 != 0);
        let (line, jumps) = (keeper.line(), keeper.view(now).steps);
        let (master, map) = (keeper.master(), keeper.map().digest());
        let mut is_word = false;
        match what & 7 {
            0 | 1 => {
                let Some(state) = state(&mut reader) else { break };
                let round_trip = Nanos::from_millis(i64::from(what >> 3));
                keeper.hear(from, state, (round_trip, may_lead), now, 1_700_000_000_000);
                is_word = true;
            }
            2 => {
                let Some(segment) = segment(&mut reader) else { break };
                keeper.hear_beats(&[segment], u64::from(who & 3), may_lead, now);
                is_word = true;
            }
            3 => {
                let (Some(session), Some(back)) = (signed(&mut reader), signed(&mut reader)) else { break };
                let (sent, received) = (SessionTime::new(session), now);
                keeper.measure(&from, Measurement::Sync { sent, received }, now);
                let (sent, received) = (now, SessionTime::new(back));
                keeper.measure(&from, Measurement::DelayRequest { sent, received }, now);
            }
            4 => keeper.gone(&from),
            5 => {
                let Some(mut segment) = segment(&mut reader) else { break };
                segment.start = line.map_or(segment.start, |line| line.session_at(now));
                keeper.edit(&[segment], now).ok();
            }
            6 => drop(keeper.choose(Some(from.device), 1_700_000_000_000)),
            _ => {
                now = now + Nanos::from_millis(i64::from(what >> 3) * 10);
                let before = keeper.line().map(|line| line.session_at(now));
                keeper.tick(now, SessionTime::new(1_700_000_000_000_000_000));
                let after = keeper.line().map(|line| line.session_at(now));
                let view = keeper.view(now);
                if let (Some(before), Some(after)) = (before, after)
                    && view.steps == jumps
                    && view.standing != audiocloud_clock::timekeeper::Standing::Shared
                {
                    assert!((after - before).abs() <= Nanos::new(2), "{before:?} {after:?}");
                }
            }
        }
        if is_word && !may_lead {
            assert_eq!((keeper.master(), keeper.map().digest()), (master, map), "a word of who may not lead");
        }
        let view = keeper.view(now);
        assert!(view.peers.len() <= PEERS_MAX && view.segments <= 1_024);
        assert!(view.master.is_none_or(|master| master.epoch < EPOCHS_MAX));
        assert!(keeper.horizon() <= Nanos::from_secs(4));
        let _said = keeper.say(&from, now);
        let map = keeper.map();
        if let Some(line) = keeper.line() {
            let time = line.session_at(now);
            assert!(map.at(time).is_none_or(|position| position.beat.get().is_finite()));
            let _next = map.next(time, Beats::new(1.0));
        }
    }
});
