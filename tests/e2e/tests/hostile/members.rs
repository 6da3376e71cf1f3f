//! Attacks by who is let in: members of the session, with tickets of their own, who keep to no rule.

use std::time::{Duration, Instant};

use audiocloud_net::{
    membership::invitation::Invitation,
    wire::{
        codec::Codec,
        id::{ConfigId, InputId, InstanceId, SessionId, StreamId, StreamKey},
        message::{
            Directory, Input, Inputs, Message, Patch, Ping, Purpose, StreamAnnouncement, Subscribe,
            SubscribeRefusal, Text, Unsubscribe,
        },
        packet::{audio, report::ReceiverReport, request::ResendRequest},
        quality::Quality,
    },
};
use audiocloud_rig::session::{publications, subscriptions};

use super::attacker::{Noise, Puppet, Villain, frame};
use super::{Attack, Field, Victim, now_ms};

const HEARS_NOTHING: &str = "publish=2x8,edit";

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "publishing without right",
        does: "announces a stream of the session with a ticket to listen",
        must: "refused by name",
        run: |field| announces(field, "listener", 1, 1),
    },
    Attack {
        name: "a huge directory",
        does: "announces 400 streams with a ticket for two",
        must: "two are taken",
        run: |field| announces(field, HEARS_NOTHING, 400, 398),
    },
    Attack {
        name: "a directory beyond all bounds",
        does: "announces 5000 streams, as no message may",
        must: "closed, and counted",
        run: |field| unreadable(field, &directory_of_thousands()),
    },
    Attack {
        name: "unknown streams",
        does: "asks for 300 streams that nobody has",
        must: "each is refused",
        run: unknown_streams,
    },
    Attack {
        name: "hearing without right",
        does: "asks for Anna's stream with a ticket to publish",
        must: "refused, and in the log",
        run: hears_without_right,
    },
    Attack {
        name: "a flood of subscriptions",
        does: "subscribes and unsubscribes without end",
        must: "cut off",
        run: |field| cut_off(field, &field.anna, "listener", &subscribing()),
    },
    Attack {
        name: "a flood of messages",
        does: "pings without end",
        must: "cut off",
        run: |field| cut_off(field, &field.anna, "listener", &frame_of(&Message::Ping(Ping { token: 1 }))),
    },
    Attack {
        name: "a flood of bytes",
        does: "sends the longest messages of a kind of the future without end",
        must: "cut off",
        run: |field| cut_off(field, &field.anna, "listener", &of_the_future()),
    },
    Attack {
        name: "deep CBOR from a member",
        does: "sends 60,000 maps within each other",
        must: "closed, and counted",
        run: |field| unreadable(field, &frame(&[&b"\xa1\x61a"[..]; 20_000].concat())),
    },
    Attack {
        name: "a second hello",
        does: "says who it is again, as somebody else",
        must: "closed",
        run: second_hello,
    },
    Attack {
        name: "a flood of inputs",
        does: "says without end that it has 64 inputs, each time others",
        must: "cut off",
        run: |field| cut_off(field, &field.anna, "listener", &inputs(field)),
    },
    Attack {
        name: "patching without right",
        does: "has Ben's Receive play something else, with a ticket to listen and one to play",
        must: "refused, and told so",
        run: patches_without_right,
    },
    Attack {
        name: "a flood of patches",
        does: "does so without end",
        must: "cut off",
        run: |field| cut_off(field, &field.ben, "listener", &patch(field)),
    },
    Attack {
        name: "packets that nobody reads",
        does: "sends 2000 datagrams of noise inside of QUIC",
        must: "each is counted",
        run: |field| {
            let mut noise = Noise::new(5);
            datagrams(
                field,
                &field.anna,
                "undecodable_packets",
                (0..2000).map(|_| noise.bytes(200)).collect(),
            );
        },
    },
    Attack {
        name: "forged sound",
        does: "sends Ben packets of Anna's stream",
        must: "none is heard, and each counted",
        run: forged_sound,
    },
    Attack {
        name: "reports on nothing",
        does: "reports 2000 times on streams that are not there",
        must: "each is counted",
        run: |field| {
            let reports = (0..2000).map(|number| report(StreamId(number), 0, 0)).collect();
            datagrams(field, &field.anna, "unknown_stream", reports);
        },
    },
    Attack {
        name: "amplification by requests",
        does: "hears Anna, asks for 64 packets again 3000 times, and wishes every repair that there is",
        must: "gets at most three times the stream: each packet, once again, and a repair",
        run: amplification,
    },
    Attack {
        name: "many processes",
        does: "is there as 60 processes at once",
        must: "they are let in, and cost little",
        run: many_processes,
    },
    Attack {
        name: "coming back",
        does: "comes again after it was put out, with the same record",
        must: "out at once, and refused",
        run: comes_back,
    },
];

pub(super) fn frame_of(message: &Message) -> Vec<u8> {
    message.to_frame().expect("a frame")
}

pub(super) fn enter<'a>(field: &'a Field, victim: &Victim, kind: &str) -> Puppet<'a> {
    field.lair.enter(victim.address(), &field.member(kind))
}

/// Says it until it is cut off, and is then told to wait.
pub(super) fn cut_off(field: &Field, victim: &Victim, kind: &str, frame: &[u8]) {
    let villain = field.member(kind);
    let why =
        field.counts(victim, "cut_off", 1, || field.lair.enter(victim.address(), &villain).flood(frame));
    assert!(why.contains("more "), "{why}");
    let said = field.lair.refused(victim.address(), &villain, &villain.hello());
    assert!(said.contains("broke the rules"), "{said}");
}

pub(super) fn unreadable(field: &Field, frame: &[u8]) {
    field.counts(&field.anna, "undecodable_messages", 1, || {
        let mut puppet = enter(field, &field.anna, "listener");
        puppet.write(frame);
        puppet.closed()
    });
}

// ---- Streams.

fn announcement(number: u64, session: Option<SessionId>) -> StreamAnnouncement {
    StreamAnnouncement {
        stream: StreamId(0xbad0_0000 + number),
        name: Text::new("x"),
        config: ConfigId(1),
        epoch: 1,
        sample_rate_hz: 48_000,
        channels: 2,
        codec: Some(Codec::PcmF32),
        codecs: Vec::new(),
        clock_domain: Text::default(),
        block_frames_max: 0,
        session,
        purpose: Purpose::Play,
    }
}

fn announces(field: &Field, kind: &str, count: u64, refused: u64) {
    let streams = (0..count).map(|number| announcement(number, Some(field.session))).collect();
    let mut directory = Directory { revision: 1, streams };
    // As many as a message holds.
    while Message::Directory(directory.clone()).to_frame().is_err() {
        directory.streams.pop();
    }
    let left_out = count - u64::try_from(directory.streams.len()).expect("a few");
    field.counts(&field.anna, "streams_refused", refused - left_out, || {
        let mut puppet = enter(field, &field.anna, kind);
        puppet.say(&Message::Directory(directory));
        puppet.settle();
    });
    field.says(&field.anna, &["are not taken"]);
}

fn directory_of_thousands() -> Vec<u8> {
    // {"kind": "directory", "revision": 1, "streams": [{}, …]}
    let head = b"\xa3\x64kind\x69directory\x68revision\x01\x67streams\x99\x13\x88";
    frame(&[&head[..], &[0xa0; 5000]].concat())
}

fn subscribe(stream: u64) -> Message {
    Message::Subscribe(Subscribe { stream: StreamId(stream), quality: Quality::default() })
}

fn subscribing() -> Vec<u8> {
    let unsubscribe = Message::Unsubscribe(Unsubscribe { stream: StreamId(0xaa) });
    [frame_of(&subscribe(0xaa)), frame_of(&unsubscribe)].concat()
}

fn of_the_future() -> Vec<u8> {
    // {"kind": "later", "x": 65,500 bytes}
    frame(&[&b"\xa2\x64kind\x65later\x61x\x59\xff\xdc"[..], &[0; 65_500]].concat())
}

fn unknown_streams(field: &Field) {
    let mut puppet = enter(field, &field.anna, "listener");
    for stream in 0..300 {
        puppet.say(&subscribe(0xbad + stream));
    }
    let mut refused = 0;
    while refused < 300 {
        if let Message::SubscribeRefused(refusal) = puppet.hear() {
            assert_eq!(refusal.reason, SubscribeRefusal::NotPublished);
            refused += 1;
        }
    }
}

fn hears_without_right(field: &Field) {
    let mut puppet = enter(field, &field.anna, HEARS_NOTHING);
    puppet.say(&subscribe(0xaa));
    let refusal = puppet.hear_until(|message| match message {
        Message::SubscribeRefused(refusal) => Some(refusal),
        _ => None,
    });
    assert_eq!(refusal.reason, SubscribeRefusal::NotAllowed);
    assert!(refusal.text.contains("does not allow"), "{}", refusal.text);
    // It is written a few times a second.
    field.wait(&field.anna, "in the log", |_| {
        let log = field.anna.world.audiocloud(&field.stage.tools, &["session", "log"]).output().ok()?;
        String::from_utf8_lossy(&log.stdout).contains("asked to hear").then_some(())
    });
    let status = field.anna.world.status(&field.stage.tools).expect("a status");
    assert_eq!(publications(&status)[0]["subscribers"], 1, "Ben alone");
}

fn second_hello(field: &Field) {
    let mut puppet = enter(field, &field.anna, "listener");
    puppet.say(&Message::Hello(Box::new(Villain::new().hello())));
    let why = puppet.closed();
    assert!(why.contains("a second hello"), "{why}");
}

// ---- Who plays what.

fn inputs(field: &Field) -> Vec<u8> {
    let list = |from: u64| {
        let input = |number: u64| Input {
            input: InputId(from + number),
            name: Text::new(&"x".repeat(250)),
            session: Some(field.session),
            playing: vec![StreamKey::new(field.anna.identity.device.parse().expect("a key"), StreamId(1)); 8],
            open: true,
        };
        frame_of(&Message::Inputs(Inputs { inputs: (0..64).map(input).collect() }))
    };
    [list(0), list(1000)].concat()
}

/// The input of Ben's Receive.
fn input_of_ben(field: &Field) -> InputId {
    field.wait(&field.ben, "an input", |status| {
        let inputs = status["runtimes"][0]["inputs"].as_array()?;
        let own = inputs.iter().find(|input| input["local"] == true)?;
        own["id"].as_str()?.parse().ok()
    })
}

fn patch(field: &Field) -> Vec<u8> {
    let stream = StreamKey::new(field.anna.identity.device.parse().expect("a key"), StreamId(0xaa));
    frame_of(&Message::Patch(Patch { input: input_of_ben(field), stream, on: false }))
}

fn patches_without_right(field: &Field) {
    let patch = patch(field);
    for kind in ["listener", "musician"] {
        let mut puppet = enter(field, &field.ben, kind);
        puppet.write(&patch);
        let text = puppet.hear_until(|message| match message {
            Message::PatchRefused(refused) => Some(refused.text),
            _ => None,
        });
        assert!(text.contains("rewire"), "{text}");
    }
    field.says(&field.ben, &["and may not"]);
}

// ---- Media.

pub(super) fn datagrams(field: &Field, victim: &Victim, counter: &str, datagrams: Vec<Vec<u8>>) {
    // Those that the way loses are not counted: nine of ten must be.
    let most = u64::try_from(datagrams.len()).expect("a few") * 9 / 10;
    let mut puppet = enter(field, victim, "listener");
    field.counts(victim, counter, most, || {
        puppet.send_datagrams(datagrams);
        puppet.settle();
    });
}

fn forged_sound(field: &Field) {
    let header = |number: u32| audio::Header {
        stream: StreamId(0xaa),
        epoch: 1,
        config: ConfigId(1),
        sequence: number,
        first_frame: u64::from(number) * 64,
        frames: 64,
        first_channel: 0,
        channels: 2,
        codec: Codec::PcmF32,
        session_time_ns: 0,
        link_offset_us: 0,
        flags: audio::Flags::default(),
    };
    let packet = |number| {
        let mut packet = vec![0; 1100];
        let written = audio::AudioPacket::encode(&header(number), &[], &[0x3f; 512], &mut packet);
        packet.truncate(written.expect("a packet"));
        packet
    };
    datagrams(field, &field.ben, "unknown_stream", (0..1000).map(packet).collect());
}

fn report(stream: StreamId, repair_every: u8, repair_window: u8) -> Vec<u8> {
    let mut bytes = vec![0; 52];
    let report = ReceiverReport {
        stream,
        epoch: 1,
        highest_sequence: 1,
        received: 1,
        lost: u32::MAX,
        recovered: 0,
        late: 0,
        jitter_us: u32::MAX,
        hold_us: u32::MAX,
        heard_us: u32::MAX,
        next_event: 0,
        repair_every,
        repair_window,
        needs_us: None,
    };
    report.encode(&mut bytes).expect("a report");
    bytes
}

fn amplification(field: &Field) {
    let mut puppet = enter(field, &field.anna, "listener");
    puppet.say(&subscribe(0xaa));
    let heard = || field.lair.soon("sound", puppet.connection.read_datagram()).expect("a packet");
    let (epoch, sequence) = loop {
        if let Ok(packet) = audio::AudioPacket::decode(&heard()) {
            break (packet.header.epoch, packet.header.sequence);
        }
    };
    let refused = |field: &Field| {
        field.wait(&field.anna, "figures", |status| {
            publications(status)[0]["counters"]["requests_refused"].as_u64()
        })
    };
    let before = refused(field);
    let (mut originals, mut bytes, mut of_originals) = (0, 0, 0);
    let began = Instant::now();
    field.lair.run(async {
        let mut number = sequence;
        let mut next = tokio::time::interval(Duration::from_millis(1));
        while began.elapsed() < Duration::from_secs(3) {
            tokio::select! {
                packet = puppet.connection.read_datagram() => {
                    let packet = packet.expect("a packet");
                    bytes += packet.len();
                    if let Ok(audio) = audio::AudioPacket::decode(&packet)
                        && !audio.header.flags.contains(audio::Flags::REPEAT)
                    {
                        (number, originals, of_originals) =
                            (audio.header.sequence, originals + 1, of_originals + packet.len());
                    }
                }
                _ = next.tick() => {
                    let first_sequence = number.wrapping_sub(63);
                    let request = ResendRequest { stream: StreamId(0xaa), epoch, first_sequence, mask: u64::MAX };
                    let mut asked = vec![0; 28];
                    request.encode(&mut asked).expect("a request");
                    puppet.connection.send_datagram(asked.into()).ok();
                    puppet.connection.send_datagram(report(StreamId(0xaa), 1, 16).into()).ok();
                }
            }
        }
    });
    println!("{bytes} bytes came, of which {of_originals} in {originals} packets were the stream");
    // Each once, once again, and a repair for each; and 256 that were owed before.
    let per_packet = of_originals / originals.max(1);
    assert!(bytes <= 3 * of_originals + 300 * per_packet, "{bytes} bytes for {of_originals}");
    assert!(originals > 500, "{originals} packets in 3 s");
    field.wait(&field.anna, "requests refused", |status| {
        let now = publications(status)[0]["counters"]["requests_refused"].as_u64()?;
        (now > before).then_some(())
    });
}

// ---- Coming and going.

fn many_processes(field: &Field) {
    let villain = field.member("listener");
    let mut held = Vec::new();
    for number in 0..60 {
        let mut hello = villain.hello();
        hello.instance = InstanceId([number; 16]);
        let mut puppet = field.lair.connect(field.anna.address(), &villain);
        let answer = puppet.introduce(&hello);
        assert!(matches!(answer, Message::Hello(_)), "{answer:?}");
        puppet.say(&subscribe(0xbad));
        held.push(puppet);
    }
    let status = field.ben.world.status(&field.stage.tools).expect("a status");
    assert_eq!(subscriptions(&status).len(), 1);
}

fn comes_back(field: &Field) {
    let invited = field.anna.world.ask(&field.stage.tools, &["session", "invite", "--json"]);
    let link: Invitation =
        invited.expect("a link")["link"].as_str().expect("a link").parse().expect("a link");
    let mut villain = Villain::new();
    let record = link.accept(&villain.identity.user_key(), Text::new("Trudy"), now_ms()).expect("a member");
    villain.show(field.session, record.to_bytes());
    let mut puppets = [&field.anna, &field.ben].map(|victim| field.lair.enter(victim.address(), &villain));
    let user = villain.identity.user().to_string();
    let put_out = ["session", "revoke", &user[..12], "--because", "too loud", "--json"];
    field.anna.world.ask(&field.stage.tools, &put_out).expect("put out");
    for puppet in &mut puppets {
        let why = puppet.closed();
        assert!(why.contains("revoked (too loud)"), "{why}");
    }
    for victim in [&field.anna, &field.ben] {
        let said = field.lair.refused(victim.address(), &villain, &villain.hello());
        assert!(said.contains("revoked (too loud)"), "{said}");
    }
}
