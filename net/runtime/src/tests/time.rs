//! Shared time and beats, between runtimes.

use std::time::{Duration, Instant};

use audiocloud_clock::beat_map::Segment;
use audiocloud_membership::rights::Rights;
use audiocloud_rt::host_time;
use audiocloud_units::{Beats as QuarterNotes, HostTime, Nanos, Ppm, SessionTime};
use audiocloud_wire::id::{DeviceId, InstanceId, MachineId};
use audiocloud_wire::message::{Beats, Message, TimeCandidate, TimeChoice, TimeGrade, TimeMaster, TimeState};
use audiocloud_wire::packet::clock::ClockPacket;

use super::refusal::{Puppet, Undisturbed};
use super::rig::{Machine, until};
use super::sessions::{gathered, with};
use crate::clock::{Clock, HostClock, Role, Standing};
use crate::{Config, Handle, Runtime};

/// A clock that is wrong by so many millionths, and far off.
fn wrong_by(ppm: f64) -> HostClock {
    HostClock::Simulated {
        ppm: Ppm::new(ppm),
        wander: Ppm::new(0.1),
        wander_period: Nanos::from_secs(60),
        offset: Nanos::from_secs(1_000),
    }
}

/// A process of this machine that is like one of another machine.
fn start(machine: &Machine, name: &str, ppm: f64) -> (Handle, HostClock) {
    let host_clock = wrong_by(ppm);
    let config = Config { host_clock, ..machine.config(name) };
    (Runtime::acquire_with(config).unwrap(), host_clock)
}

/// What a clock shows at an instant of this machine.
fn shown(clock: &Clock, host_clock: HostClock, at: HostTime) -> Option<SessionTime> {
    clock.line().read().map(|line| line.session_at(host_clock.at(at)))
}

fn apart(one: (&Clock, HostClock), other: (&Clock, HostClock)) -> Option<Nanos> {
    let now = host_time::now();
    shown(one.0, one.1, now).zip(shown(other.0, other.1, now)).map(|(one, other)| (one - other).abs())
}

fn has_role(clock: &Clock, role: Role) -> bool {
    clock.status().peers.iter().any(|peer| peer.role == role)
}

#[test]
fn one_machine_alone_has_a_time_and_a_beat_and_says_so() {
    let machine = Machine::new();
    let handle = machine.start("one");
    let clock = handle.clock(None);
    assert!(clock.edit(&[Segment::steady(SessionTime::new(0), QuarterNotes::new(0.0), 120.0)]).is_err());
    until("there is a time", || clock.line().read().is_some());
    let status = clock.status();
    assert_eq!((status.state, status.bound), (Standing::Alone, Some(Nanos::ZERO)));
    assert!(status.master.is_some_and(|master| master.is_this_machine && master.name == "one"));
    let now = clock.line().read().unwrap().session_at(clock.now());
    let revision = clock.revision();
    clock.edit(&[Segment::steady(now, QuarterNotes::new(4.0), 120.0)]).unwrap();
    assert_ne!(clock.revision(), revision);
    assert!(clock.timeline().at(clock.now()).unwrap().beat.get() >= 4.0);
    assert_eq!(handle.clock(None).revision(), clock.revision(), "it is the same one");
    let json = handle.status_json();
    assert_eq!(json["clocks"][0]["state"], "alone");
    assert_eq!(json["clocks"][0]["segments"], 1);
    assert!(json["clocks"][0]["bound_ns"].as_i64().unwrap() == 0);
}

#[test]
fn processes_of_one_machine_show_the_same_nanosecond() {
    let machine = Machine::new();
    let [one, two] = ["one", "two"].map(|name| machine.start(name));
    let clocks = [one.clock(None), two.clock(None)];
    until("one of them keeps the time for both", || {
        clocks.iter().filter(|clock| clock.status().state == Standing::Shared).count() == 1
            && clocks.iter().all(|clock| has_role(clock, Role::Here))
    });
    let exact =
        || apart((&clocks[0], HostClock::Machine), (&clocks[1], HostClock::Machine)) == Some(Nanos::ZERO);
    until("they are equal", exact);
    // A beat made at the one that does not keep the time is at both, at the same nanosecond.
    let follower = clocks.iter().find(|clock| clock.status().state == Standing::Shared).unwrap();
    let now = follower.line().read().unwrap().session_at(follower.now());
    follower.edit(&[Segment::steady(now, QuarterNotes::new(0.0), 93.0)]).unwrap();
    until("both have the beat", || clocks.iter().all(|clock| clock.status().segments == 1));
    let at = host_time::now();
    assert_eq!(clocks[0].timeline().at(at), clocks[1].timeline().at(at));
    // The keeper goes: the other one keeps it, and nothing moves.
    let keeps = usize::from(clocks[0].status().state == Standing::Shared);
    let left = &clocks[1 - keeps];
    let before = left.line().read().unwrap();
    let handles = [one, two];
    let mut handles: Vec<_> = handles.into_iter().map(Some).collect();
    handles[keeps] = None;
    until("the other one keeps it", || left.status().state == Standing::Alone);
    let now = left.now();
    let moved = left.line().read().unwrap().session_at(now) - before.session_at(now);
    assert!(moved.abs() <= Nanos::new(1), "{moved:?}");
}

#[test]
fn machines_measure_each_other_and_the_time_stays_when_the_master_goes() {
    let machine = Machine::new();
    let (one, one_s) = start(&machine, "one", 40.0);
    let (two, two_s) = start(&machine, "two", -40.0);
    let clocks = [one.clock(None), two.clock(None)];
    let both = [(&clocks[0], one_s), (&clocks[1], two_s)];
    until("one follows the other", || clocks.iter().any(|clock| clock.status().state == Standing::Locked));
    until("it knows the time to a fraction of a millisecond", || {
        let worst = clocks.iter().filter_map(|clock| clock.status().bound).max();
        worst.is_some_and(|bound| bound < Nanos::from_millis(2))
            && clocks.iter().all(|clock| clock.status().slew_left.abs() < Nanos::from_micros(50))
            && apart(both[0], both[1]).is_some_and(|apart| apart < Nanos::from_micros(300))
    });
    let slave = usize::from(clocks[1].status().state == Standing::Locked);
    let status = clocks[slave].status();
    assert!(apart(both[0], both[1]) <= status.bound);
    assert!(has_role(&clocks[slave], Role::Master) && has_role(&clocks[1 - slave], Role::Follower));
    // 80 millionths between the two clocks, as a sign and as a number.
    let expected = if slave == 0 { -80.0 } else { 80.0 };
    assert!((status.rate.get() - expected).abs() < 30.0, "{status:?}");
    let (steps, handles) = (status.steps, [Some(one), Some(two)]);
    let before = clocks[slave].line().read().unwrap();
    let mut handles = handles;
    handles[1 - slave] = None;
    until("it is master itself", || {
        let status = clocks[slave].status();
        status.state == Standing::Alone && status.master.is_some_and(|master| master.is_this_machine)
    });
    let now = clocks[slave].now();
    let moved = clocks[slave].line().read().unwrap().session_at(now) - before.session_at(now);
    assert!(moved.abs() < Nanos::from_micros(400), "{moved:?}");
    assert_eq!(clocks[slave].status().steps, steps);
    assert!(clocks[slave].status().drift_bound.is_some());
}

#[test]
fn a_session_s_beats_reach_all_and_who_may_only_listen_makes_none() {
    let (session, mut people) = gathered(&["Anna", "Ben"]);
    let listener = super::sessions::Person::new("Lisa");
    let link = people[0].invite(&session, with(Rights::listener()));
    listener.join(&link);
    people.push(listener);
    until("all are there", || people.iter().all(|person| person.present() == 3));
    let clocks: Vec<Clock> = people.iter().map(|person| person.handle().clock(Some(session))).collect();
    until("all have the same time", || {
        let masters: Vec<_> = clocks.iter().filter_map(|clock| clock.status().master).collect();
        masters.len() == 3 && masters.iter().all(|master| master.instance == masters[0].instance)
    });
    until("Anna and Ben may lead, Lisa may not", || {
        let may: Vec<bool> = clocks.iter().map(|clock| clock.status().may_not_lead.is_none()).collect();
        may == [true, true, false]
    });
    until("all have a time", || clocks.iter().all(|clock| clock.line().read().is_some()));
    let now = clocks[1].line().read().unwrap().session_at(clocks[1].now());
    clocks[1].edit(&[Segment::steady(now + Nanos::from_millis(50), QuarterNotes::new(8.0), 111.0)]).unwrap();
    until("the beat is everywhere", || clocks.iter().all(|clock| clock.status().segments == 1));
    let refused = clocks[2].edit(&[Segment::steady(now, QuarterNotes::new(0.0), 60.0)]).unwrap_err();
    assert!(!refused.to_string().is_empty() && clocks[2].choose(None).is_err());
    // Who comes later gets all of it.
    let late = super::sessions::Person::new("Zoe");
    late.join(&people[0].invite(&session, with(Rights::musician())));
    let clock = late.handle().clock(Some(session));
    until("it is there as well", || clock.status().segments == 1);
    // Whoever changes to another master's time moves the map by what it measures.
    let maps = [&clock, &clocks[1]].map(|clock| clock.timeline().map.segments().to_vec());
    let [theirs, ours] = maps.each_ref().map(|segments| segments.first().expect("one"));
    assert!((theirs.start - ours.start).abs() < Nanos::from_micros(50), "{maps:#?}");
    assert_eq!(Segment { start: ours.start, ..*theirs }, *ours);
    // A choice counts for everybody.
    clock.choose(Some(late.handle().device())).unwrap();
    until("it is everybody's master", || {
        clocks.iter().all(|clock| clock.status().master.is_some_and(|master| master.name == "Zoe"))
    });
}

/// A state in which everything is as bad as it can be.
fn forged(device: DeviceId) -> TimeState {
    let instance = InstanceId([0; 16]);
    TimeState {
        session: None,
        machine: MachineId([9; 16]),
        node: true,
        candidate: Some(TimeCandidate { grade: TimeGrade::Traceable, round_trip: u64::MAX }),
        choice: Some(TimeChoice { number: u64::MAX, device: Some(device) }),
        master: Some(TimeMaster {
            device,
            instance,
            epoch: u64::MAX,
            alone: false,
            origin: u64::MAX,
            pulse: u64::MAX,
            grade: TimeGrade::Unknown,
            round_trip: u64::MAX,
            steps: u8::MAX,
            bound: u64::MAX,
        }),
        source: None,
        beats: u64::MAX,
        line: None,
    }
}

#[test]
fn a_peer_that_says_wild_things_of_time_changes_nothing() {
    let machine = Machine::new();
    let mut stream = Undisturbed::new(&machine);
    let clock = stream.one.clock(None);
    stream.until("there is a time", || clock.line().read().is_some());
    let before = clock.line().read().unwrap();
    let mut puppet = Puppet::connect(&machine, &stream.one);
    puppet.say_hello();
    puppet.answer();
    puppet.send(&Message::TimeState(Box::new(forged(stream.one.device()))).to_frame().unwrap());
    stream.until("the choice is refused", || {
        // What is sent goes out while something is waited for.
        puppet.answer();
        clock.status().last_refusal.is_some_and(|text| text.contains("more than a day"))
    });
    assert!(clock.status().master.is_some_and(|master| master.is_this_machine));
    // Of another session, of another time, and packets that nobody asked for.
    puppet
        .send(&Message::Beats(Beats { session: None, origin: 7, segments: Vec::new() }).to_frame().unwrap());
    let ptp = [0x5a; 64];
    let mut packet = [0; 100];
    let length = ClockPacket { domain: 0, ptp: &ptp }.encode(&mut packet).unwrap();
    for _ in 0..300 {
        puppet.connection.send_datagram(bytes::Bytes::copy_from_slice(&packet[..length])).unwrap();
    }
    let one = stream.one.clone();
    stream.until("they are counted", || {
        puppet.answer();
        one.figures().clock_packets_refused > 0
    });
    let now = clock.now();
    let after = clock.line().read().unwrap();
    assert!((after.session_at(now) - before.session_at(now)).abs() < Nanos::from_micros(10));
    let started = Instant::now();
    stream.until("streams go on", || started.elapsed() > Duration::from_millis(200));
    stream.finish();
}
