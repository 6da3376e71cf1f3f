//! Messages about time, from and to what the time is kept with. What comes from a peer is bounded here or there.

use audiocloud_clock::beat_map::{Meter, Ramp, Segment};
use audiocloud_clock::election::{Master, ProcessId, Quality};
use audiocloud_clock::timekeeper::{Choice, MasterSaid, State};
use audiocloud_units::{Beats as QuarterNotes, HostTime, Nanos, Ppm, SessionLine, SessionTime};
use audiocloud_wire::id::{DeviceId, InstanceId, MachineId, SessionId};
use audiocloud_wire::message::{
    BeatLoop, BeatSegment, Beats, Finite, SEGMENTS_MAX, TempoRamp, TimeCandidate, TimeChoice, TimeGrade,
    TimeLine, TimeMaster, TimeProcess, TimeState,
};

/// What a peer says.
pub(crate) fn state_of(said: &TimeState) -> State {
    let nanos = |nanos: u64| Nanos::new(i64::try_from(nanos).unwrap_or(i64::MAX));
    let id = |device: DeviceId, instance: InstanceId| ProcessId { device: device.0, instance: instance.0 };
    let choice = said.choice.map_or_else(Choice::default, |choice| Choice {
        number: choice.number,
        device: choice.device.map(|device| device.0),
    });
    State {
        machine: said.machine.0,
        is_node: said.node,
        candidate: said.candidate.map(|one| (quality_of(one.grade), nanos(one.round_trip))),
        choice,
        master: said.master.map(|one| MasterSaid {
            master: Master { id: id(one.device, one.instance), epoch: one.epoch, alone: one.alone },
            origin: one.origin,
            pulse: one.pulse,
            quality: quality_of(one.grade),
            worst_round_trip: nanos(one.round_trip),
            steps: one.steps,
            bound: nanos(one.bound),
        }),
        source: said.source.map(|source| id(source.device, source.instance)),
        beats: said.beats,
        line: said.line.map(|line| SessionLine {
            host: HostTime::new(line.host),
            session: SessionTime::new(line.session),
            fraction: line.fraction.get(),
            rate: Ppm::new(line.rate.get()),
        }),
    }
}

/// What to say.
pub(crate) fn state_said(session: Option<SessionId>, state: &State) -> TimeState {
    let nanos = |nanos: Nanos| u64::try_from(nanos.get()).unwrap_or(0);
    TimeState {
        session,
        machine: MachineId(state.machine),
        node: state.is_node,
        candidate: state.candidate.map(|(quality, round_trip)| TimeCandidate {
            grade: grade_of(quality),
            round_trip: nanos(round_trip),
        }),
        choice: (state.choice.number > 0)
            .then(|| TimeChoice { number: state.choice.number, device: state.choice.device.map(DeviceId) }),
        master: state.master.map(|said| TimeMaster {
            device: DeviceId(said.master.id.device),
            instance: InstanceId(said.master.id.instance),
            epoch: said.master.epoch,
            alone: said.master.alone,
            origin: said.origin,
            pulse: said.pulse,
            grade: grade_of(said.quality),
            round_trip: nanos(said.worst_round_trip),
            steps: said.steps,
            bound: nanos(said.bound),
        }),
        source: state.source.map(|source| TimeProcess {
            device: DeviceId(source.device),
            instance: InstanceId(source.instance),
        }),
        beats: state.beats,
        line: state.line.and_then(|line| {
            Some(TimeLine {
                host: line.host.get(),
                session: line.session.get(),
                fraction: Finite::new(line.fraction)?,
                rate: Finite::new(line.rate.get())?,
            })
        }),
    }
}

/// Segments as messages, as many as they take. What is not finite cannot be in a map.
pub(crate) fn beats_of(session: Option<SessionId>, origin: u64, segments: &[Segment]) -> Vec<Beats> {
    let chunks = segments.chunks(SEGMENTS_MAX);
    chunks
        .map(|chunk| Beats { session, origin, segments: chunk.iter().filter_map(segment_said).collect() })
        .collect()
}

fn segment_said(segment: &Segment) -> Option<BeatSegment> {
    let ramp = match segment.ramp {
        Some(Ramp { to_bpm, over }) => {
            Some(TempoRamp { to_bpm: Finite::new(to_bpm)?, over: Finite::new(over.get())? })
        }
        None => None,
    };
    let looped = match segment.looped {
        Some((from, to)) => Some(BeatLoop { from: Finite::new(from.get())?, to: Finite::new(to.get())? }),
        None => None,
    };
    Some(BeatSegment {
        epoch: segment.epoch,
        serial: segment.serial,
        start: segment.start.get(),
        beat: Finite::new(segment.beat.get())?,
        bpm: Finite::new(segment.bpm)?,
        ramp,
        meter: (segment.meter.beats, segment.meter.unit),
        bar_beat: Finite::new(segment.bar_beat.get())?,
        bar: segment.bar,
        looped,
        playing: segment.playing,
    })
}

/// What a peer says, unchecked.
pub(crate) fn segments_of(beats: &Beats) -> Vec<Segment> {
    let quarters = |value: Finite| QuarterNotes::new(value.get());
    let segment = |said: &BeatSegment| Segment {
        epoch: said.epoch,
        serial: said.serial,
        start: SessionTime::new(said.start),
        beat: quarters(said.beat),
        bpm: said.bpm.get(),
        ramp: said.ramp.map(|ramp| Ramp { to_bpm: ramp.to_bpm.get(), over: quarters(ramp.over) }),
        meter: Meter { beats: said.meter.0, unit: said.meter.1 },
        bar_beat: quarters(said.bar_beat),
        bar: said.bar,
        looped: said.looped.map(|looped| (quarters(looped.from), quarters(looped.to))),
        playing: said.playing,
    };
    beats.segments.iter().map(segment).collect()
}

fn quality_of(grade: TimeGrade) -> Quality {
    match grade {
        TimeGrade::Traceable => Quality::Traceable,
        TimeGrade::Network => Quality::Network,
        TimeGrade::Audio => Quality::Audio,
        _ => Quality::Crystal,
    }
}

fn grade_of(quality: Quality) -> TimeGrade {
    match quality {
        Quality::Traceable => TimeGrade::Traceable,
        Quality::Network => TimeGrade::Network,
        Quality::Audio => TimeGrade::Audio,
        Quality::Crystal => TimeGrade::Crystal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_was_meant() {
        let id = ProcessId { device: [1; 32], instance: [2; 16] };
        let state = State {
            machine: [3; 16],
            is_node: true,
            candidate: Some((Quality::Network, Nanos::from_millis(41))),
            choice: Choice { number: 9, device: Some([4; 32]) },
            master: Some(MasterSaid {
                master: Master { id, epoch: 5, alone: true },
                origin: 6,
                pulse: 7,
                quality: Quality::Audio,
                worst_round_trip: Nanos::from_millis(3),
                steps: 2,
                bound: Nanos::from_micros(50),
            }),
            source: Some(id),
            beats: 8,
            line: Some(SessionLine {
                host: HostTime::new(-1),
                session: SessionTime::new(1 << 60),
                fraction: 0.25,
                rate: Ppm::new(-12.5),
            }),
        };
        assert_eq!(state_of(&state_said(None, &state)), state);
        let steady = Segment::steady(SessionTime::new(5), QuarterNotes::new(-1.5), 61.25);
        let all: Vec<Segment> = (0..300)
            .map(|bar| Segment {
                ramp: Some(Ramp { to_bpm: 90.0, over: QuarterNotes::new(8.0) }),
                looped: Some((QuarterNotes::new(0.0), QuarterNotes::new(4.0))),
                meter: Meter { beats: 7, unit: 8 },
                bar,
                playing: false,
                ..steady
            })
            .collect();
        let said = beats_of(Some(SessionId([1; 32])), 2, &all);
        assert_eq!(said.len(), 2);
        assert_eq!(said.iter().flat_map(segments_of).collect::<Vec<_>>(), all);
    }
}
