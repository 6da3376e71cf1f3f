//! Attacks on the time and the beat that a session shares, by a member who may not lead.

use audiocloud_net::wire::{
    id::{DeviceId, InstanceId, MachineId},
    message::{
        BeatSegment, Beats, Finite, Message, TimeCandidate, TimeChoice, TimeGrade, TimeMaster, TimeState,
    },
    packet::clock::ClockPacket,
};

use super::attacker::Noise;
use super::members::{cut_off, enter, frame_of};
use super::{Attack, Field};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "somebody else's time",
        does: "says that it is master, chosen, of the best clock there is, and for ever, with a ticket to listen",
        must: "the master stays who it was, and each word is counted",
        run: usurps,
    },
    Attack {
        name: "somebody else's beat",
        does: "stops the music, and plans 256 tempos, with a ticket to listen",
        must: "the beat map stays as it was, and each word is counted",
        run: conducts,
    },
    Attack {
        name: "a flood of states",
        does: "says without end how it stands to the time",
        must: "cut off",
        run: |field| cut_off(field, &field.anna, "listener", &frame_of(&state(field, [7; 32], 1))),
    },
    Attack {
        name: "an exchange that nobody asked for",
        does: "sends 2000 messages of PTP, true to form and not",
        must: "each is counted, and none answered",
        run: unasked,
    },
];

/// A state that would be worth following.
fn state(field: &Field, device: [u8; 32], pulse: u64) -> Message {
    let (device, instance) = (DeviceId(device), InstanceId([0; 16]));
    Message::TimeState(Box::new(TimeState {
        session: Some(field.session),
        machine: MachineId([0; 16]),
        node: true,
        candidate: Some(TimeCandidate { grade: TimeGrade::Traceable, round_trip: 0 }),
        choice: Some(TimeChoice { number: u64::MAX, device: Some(device) }),
        master: Some(TimeMaster {
            device,
            instance,
            epoch: (1 << 32) - 1,
            alone: false,
            origin: 1,
            pulse,
            grade: TimeGrade::Traceable,
            round_trip: 0,
            steps: 0,
            bound: 0,
        }),
        source: None,
        beats: 1,
        line: None,
    }))
}

/// Anna's clock of the session, as her status tells of it.
fn clock(field: &Field) -> serde_json::Value {
    field.wait(&field.anna, "the session has a master", |status| {
        let clocks = status["runtimes"][0]["clocks"].as_array()?;
        clocks.iter().find(|clock| clock["master"].is_object()).cloned()
    })
}

/// Attacks, until Anna has refused as much; what her clock is then.
fn refused(field: &Field, more: u64, attack: impl FnOnce()) -> serde_json::Value {
    let before = clock(field)["refused"].as_u64().unwrap_or(0);
    attack();
    field.wait(&field.anna, "what is said of time is refused", |status| {
        let clocks = status["runtimes"][0]["clocks"].as_array()?;
        clocks.iter().find(|clock| clock["refused"].as_u64() >= Some(before + more)).cloned()
    })
}

fn usurps(field: &Field) {
    let before = clock(field);
    let after = refused(field, 20, || {
        let mut puppet = enter(field, &field.anna, "listener");
        for pulse in 0..20 {
            puppet.say(&state(field, [7; 32], pulse));
        }
        puppet.settle();
    });
    assert_eq!(after["master"], before["master"]);
    assert_eq!(after["steps"], before["steps"]);
}

fn conducts(field: &Field) {
    let before = clock(field);
    let real = |value| Finite::new(value).expect("a number");
    let segment = |number: i64| BeatSegment {
        epoch: u64::MAX,
        serial: u64::MAX,
        start: number,
        beat: real(0.0),
        bpm: real(999.0),
        ramp: None,
        meter: (4, 4),
        bar_beat: real(0.0),
        bar: i64::MAX,
        looped: None,
        playing: number > 0,
    };
    let after = refused(field, 20, || {
        let mut puppet = enter(field, &field.anna, "listener");
        for origin in 0..20 {
            let segments = (0..256).map(segment).collect();
            puppet.say(&Message::Beats(Beats { session: Some(field.session), origin, segments }));
        }
        puppet.settle();
    });
    assert_eq!(after["segments"], before["segments"]);
}

fn unasked(field: &Field) {
    let mut noise = Noise::new(9);
    let id = field.session.0;
    let tag = u64::from_be_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]]);
    let packet = |number: usize| {
        let mut ptp = noise.bytes(44);
        if number.is_multiple_of(2) {
            // A delay request of domain 0.
            (ptp[0], ptp[1], ptp[2], ptp[3], ptp[4]) = (1, 2, 0, 44, 0);
        }
        let mut bytes = vec![0; 100];
        let length = ClockPacket { domain: tag, ptp: &ptp }.encode(&mut bytes).expect("a packet");
        bytes.truncate(length);
        bytes
    };
    let packets: Vec<Vec<u8>> = (0..2000).map(packet).collect();
    let mut puppet = enter(field, &field.anna, "listener");
    // Those that the way loses are not counted.
    field.counts(&field.anna, "clock_packets_refused", 1800, || {
        puppet.send_datagrams(packets);
        puppet.settle();
    });
}
