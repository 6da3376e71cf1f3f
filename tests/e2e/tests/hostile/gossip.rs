//! Attacks by members on what members tell each other: who belongs to the session, where they are, what they share.

use std::time::{Duration, Instant};

use audiocloud_net::{
    membership::{
        key::SigningKey,
        member::MemberRecord,
        revocation::Revocation,
        shared::{Edit, SharedState, SignedChange},
    },
    wire::{
        id::{InstanceId, RosterDigest, SessionId, Signature, UserId},
        message::{
            Bytes, CHANGE_BYTES_MAX, Message, Ping, SessionChanges, SessionHave, SessionPlaces,
            SessionRoster, Text,
        },
    },
};

use super::attacker::{Noise, Villain, frame};
use super::members::{enter, frame_of, unreadable};
use super::{Attack, Field, now_ms};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "a record that is too long",
        does: "sends a member's record of 12,289 bytes",
        must: "closed, and counted",
        run: |field| unreadable(field, &record_too_long(field)),
    },
    Attack {
        name: "a change that is too long",
        does: "sends a change of 49,153 bytes",
        must: "closed, and counted",
        run: |field| unreadable(field, &change_too_long(field)),
    },
    Attack {
        name: "forged records",
        does: "sends 40 records of people whose tickets are made for others, or whose signatures are none",
        must: "none is believed; cut off",
        run: forged_records,
    },
    Attack {
        name: "a revocation without right",
        does: "puts Ben out with a ticket that does not allow it",
        must: "not believed",
        run: revokes_without_right,
    },
    Attack {
        name: "a revocation in the session's name",
        does: "puts Ben out by a key that is not the session's",
        must: "not believed",
        run: revokes_as_session,
    },
    Attack {
        name: "forged presence",
        does: "says 40 times that Ben is elsewhere, without his device's signature",
        must: "not believed; cut off",
        run: forged_presence,
    },
    Attack {
        name: "presence as a weapon",
        does: "says that it is at 16 ports of somebody who has nothing to do with it",
        must: "each member sends each at most eight packets in four seconds",
        run: presence_as_weapon,
    },
    Attack {
        name: "of another session",
        does: "asks and tells about a session that nobody is in",
        must: "ignored, and counted",
        run: of_another_session,
    },
    Attack {
        name: "changes with forged authors",
        does: "edits 40 times in Ben's name, without his signature",
        must: "none is taken; cut off",
        run: forged_changes,
    },
    Attack {
        name: "changes without right",
        does: "edits with a ticket to listen",
        must: "none is taken, and each counted",
        run: changes_without_right,
    },
    Attack {
        name: "changes that follow what nobody has",
        does: "sends 700 changes without the one that all of them follow",
        must: "512 wait, and do nothing",
        run: orphans,
    },
    Attack {
        name: "change bombs",
        does: "fills the shared state with presets of 40 KiB, as it may, until it is full",
        must: "what is beyond its bound is refused",
        run: bombs,
    },
    Attack {
        name: "asking without reading",
        does: "asks for the whole shared state again and again, and reads nothing",
        must: "closed",
        run: asks_without_reading,
    },
    Attack { name: "a flood of changes", does: "chats without end", must: "cut off", run: chats },
];

// ---- Who belongs to it.

fn roster(session: SessionId, records: Vec<Vec<u8>>, revocations: Vec<Vec<u8>>) -> Message {
    let records = records.into_iter().map(|bytes| Bytes::try_from(bytes).expect("a length")).collect();
    let revocations =
        revocations.into_iter().map(|bytes| Bytes::try_from(bytes).expect("a length")).collect();
    Message::SessionRoster(SessionRoster { session, records, revocations })
}

fn record_too_long(field: &Field) -> Vec<u8> {
    // {"kind": "session-roster", "session": …, "records": [12,289 bytes]}
    let head = [&b"\xa3\x64kind\x6esession-roster\x67session\x58\x20"[..], &field.session.0].concat();
    frame(&[&head[..], b"\x67records\x81\x59\x30\x01", &[0; 12_289]].concat())
}

/// Why somebody is cut off who says this to Anna.
fn said_once(field: &Field, villain: &Villain, bytes: &[u8]) -> String {
    let mut puppet = field.lair.enter(field.anna.address(), villain);
    puppet.write(bytes);
    puppet.closed()
}

fn forged_records(field: &Field) {
    let villain = field.member("listener");
    let own = MemberRecord::from_bytes(&villain.memberships[0].record).expect("a record");
    let forged = |number| {
        let (key, ticket) = (SigningKey::generate().expect("a key"), own.ticket.clone());
        let record = MemberRecord::sign(&key, field.session, Text::new("Nobody"), ticket, number, 0);
        let mut bytes = record.to_bytes().to_vec();
        // Every second one has a signature that is none.
        bytes[0] ^= u8::from(number % 2 == 0);
        bytes
    };
    let message = roster(field.session, (0..40).map(forged).collect(), Vec::new());
    field.counts(&field.anna, "session_items_refused", 33, || {
        field.counts(&field.anna, "cut_off", 1, || {
            let why = said_once(field, &villain, &frame_of(&message));
            assert!(why.contains("more false records"), "{why}");
        });
    });
}

fn believes_nothing(field: &Field, revocation: &Revocation) {
    let message = roster(field.session, Vec::new(), vec![revocation.to_bytes().to_vec()]);
    for victim in [&field.anna, &field.ben] {
        field.counts(victim, "session_items_refused", 1, || {
            let mut puppet = enter(field, victim, "musician");
            puppet.say(&message);
            puppet.settle();
        });
    }
    let members =
        field.anna.world.ask(&field.stage.tools, &["session", "members", "--json"]).expect("members");
    let mut list = members["members"].as_array().expect("a list").iter();
    let ben = list.find(|member| member["user"] == field.ben.identity.user.as_str());
    assert!(ben.is_some_and(|ben| ben["rights"].is_string()), "{members:#}");
}

fn revokes_without_right(field: &Field) {
    let villain = Villain::new();
    let record = field.record(&villain, &field.links[0]);
    let ben = field.ben.identity.user.parse::<UserId>().expect("a key").0;
    let (key, now_s) = (villain.identity.user_key(), now_ms() / 1000);
    let forged = Revocation::by_member(&key, record.ticket, field.session, ben, now_s, Text::new("out"));
    believes_nothing(field, &forged);
}

fn revokes_as_session(field: &Field) {
    let ben = field.ben.identity.user.parse::<UserId>().expect("a key").0;
    let key = SigningKey::generate().expect("a key");
    let own = Revocation::by_session(&key, ben, now_ms() / 1000, Text::new("out"));
    believes_nothing(field, &own);
}

// ---- Where they are.

fn places(field: &Field, villain: &Villain, number: u64, places: Vec<Text>) -> SessionPlaces {
    let hello = villain.hello();
    let mut said = SessionPlaces {
        session: field.session,
        user: hello.user,
        device: hello.device,
        certificate: hello.certificate,
        instance: InstanceId([7; 16]),
        places,
        at_ms: now_ms() + number,
        signature: Signature([0; 64]),
    };
    said.signature = Signature(villain.identity.device_key().sign(&said.signed_message()));
    said
}

fn forged_presence(field: &Field) {
    let villain = field.member("listener");
    let message = |number: u64| {
        let mut said = places(field, &villain, number, vec![Text::new("198.51.100.1:9")]);
        said.user = field.ben.identity.user.parse().expect("a key");
        said.device = field.ben.identity.device.parse().expect("a key");
        Message::SessionPlaces(Box::new(said))
    };
    let flood: Vec<u8> = (0..40).flat_map(|number| frame_of(&message(number))).collect();
    field.counts(&field.anna, "cut_off", 1, || {
        let why = said_once(field, &villain, &flood);
        assert!(why.contains("a place"), "{why}");
    });
}

/// Somebody who only counts: bytes and packets that come to 16 ports within a time.
fn presence_as_weapon(field: &Field) {
    let sockets: Vec<_> = (0..16).map(|_| field.lair.udp()).collect();
    let at = |socket: &std::net::UdpSocket| {
        socket.set_nonblocking(true).expect("a socket");
        Text::new(&format!("{}:{}", field.lair.host.public, socket.local_addr().expect("an address").port()))
    };
    let villain = field.member("listener");
    let said = places(field, &villain, 0, sockets.iter().map(at).collect());
    let mut puppet = field.lair.enter(field.anna.address(), &villain);
    field.counts(&field.anna, "dialled", 1, || {
        puppet.say(&Message::SessionPlaces(Box::new(said)));
        puppet.settle();
    });
    let (began, mut packets, mut bytes) = (Instant::now(), 0, 0);
    while began.elapsed() < Duration::from_secs(4) {
        for socket in &sockets {
            while let Ok((length, _)) = socket.recv_from(&mut [0; 2048]) {
                (packets, bytes) = (packets + 1, bytes + length);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{packets} packets of {bytes} bytes came within 4 s");
    // Of each of the two members, to each address, in one handshake's time: what QUIC sends to who does not answer.
    assert!(packets <= 2 * 16 * 8, "{packets} packets");
}

fn of_another_session(field: &Field) {
    let have = SessionHave { session: SessionId([9; 32]), heads: Vec::new(), roster: RosterDigest([0; 32]) };
    field.counts(&field.anna, "session_messages_ignored", 51, || {
        let mut puppet = enter(field, &field.anna, "musician");
        for _ in 0..50 {
            puppet.say(&Message::SessionHave(have.clone()));
        }
        puppet.say(&roster(have.session, vec![vec![1; 100]], Vec::new()));
        puppet.settle();
    });
}

// ---- What they share.

fn changes(session: SessionId, changes: &[SignedChange]) -> Message {
    let changes = changes.iter().map(|change| Bytes::try_from(change.to_bytes()).expect("a length"));
    Message::SessionChanges(SessionChanges { session, changes: changes.collect(), more: false })
}

/// Changes that follow each other, in a state that nobody else knows.
fn edits(session: SessionId, villain: &Villain, edits: impl Iterator<Item = Edit>) -> Vec<SignedChange> {
    let (mut state, key) = (SharedState::new(session), villain.identity.user_key());
    edits.map(|edit| state.edit(&key, edit, now_ms()).expect("a change")).collect()
}

fn chat(count: u32) -> impl Iterator<Item = Edit> {
    (0..count).map(|number| Edit::Chat(format!("Buy now! {number}")))
}

fn change_too_long(field: &Field) -> Vec<u8> {
    let length = u16::try_from(CHANGE_BYTES_MAX + 1).expect("a length");
    // {"kind": "session-changes", "session": …, "changes": [49,153 bytes]}
    let head = [&b"\xa3\x64kind\x6fsession-changes\x67session\x58\x20"[..], &field.session.0].concat();
    let head = [&head[..], b"\x67changes\x81\x59", &length.to_be_bytes()].concat();
    frame(&[&head[..], &vec![0; CHANGE_BYTES_MAX + 1]].concat())
}

fn forged_changes(field: &Field) {
    let villain = field.member("musician");
    let mut forged = edits(field.session, &villain, chat(40));
    for change in &mut forged {
        change.author = field.ben.identity.user.parse().expect("a key");
    }
    let frame = frame_of(&changes(field.session, &forged));
    field.counts(&field.anna, "session_items_refused", 33, || {
        field.counts(&field.anna, "cut_off", 1, || {
            let why = said_once(field, &villain, &frame);
            assert!(why.contains("more false records"), "{why}");
        });
    });
    has_no_chat(field);
}

fn has_no_chat(field: &Field) {
    for victim in [&field.anna, &field.ben] {
        let state = victim.world.audiocloud(&field.stage.tools, &["session", "state", "--json"]).output();
        let state = String::from_utf8_lossy(&state.expect("a state").stdout).into_owned();
        assert!(!state.contains("Buy now!"), "{}: {state}", victim.name);
    }
}

fn changes_without_right(field: &Field) {
    let villain = field.member("listener");
    // None follows another: each could be taken by itself.
    let own: Vec<_> =
        chat(20).flat_map(|edit| edits(field.session, &villain, std::iter::once(edit))).collect();
    field.counts(&field.anna, "session_items_refused", 20, || {
        let mut puppet = field.lair.enter(field.anna.address(), &villain);
        puppet.say(&changes(field.session, &own));
        puppet.settle();
    });
    has_no_chat(field);
}

fn orphans(field: &Field) {
    let villain = field.member("musician");
    let all = edits(field.session, &villain, chat(701));
    // 512 wait; the others are dropped.
    field.counts(&field.anna, "session_items_refused", 188, || {
        let mut puppet = field.lair.enter(field.anna.address(), &villain);
        for some in all[1..].chunks(50) {
            puppet.say(&changes(field.session, some));
        }
        puppet.settle();
    });
    has_no_chat(field);
}

fn bombs(field: &Field) {
    let villain = field.member("musician");
    let mut noise = Noise::new(13);
    let preset = |number| Edit::Preset { name: format!("{number}"), bytes: noise.bytes(40 * 1024) };
    let all = edits(field.session, &villain, (0..60).map(preset));
    let mut others = Noise::new(14);
    let preset = |number| Edit::Preset { name: format!("{number}"), bytes: others.bytes(40 * 1024) };
    let more = edits(field.session, &villain, (0..60).map(preset));
    field.counts(&field.anna, "session_items_refused", 1, || {
        let mut puppet = field.lair.enter(field.anna.address(), &villain);
        for change in all.iter().chain(&more) {
            puppet.say(&changes(field.session, std::slice::from_ref(change)));
        }
        puppet.settle();
    });
}

fn asks_without_reading(field: &Field) {
    let have = SessionHave { session: field.session, heads: Vec::new(), roster: RosterDigest([0; 32]) };
    let ask = frame_of(&Message::SessionHave(have)).repeat(500);
    let mut puppet = enter(field, &field.anna, "musician");
    puppet.write(&ask);
    let why = puppet.flood(&frame_of(&Message::Ping(Ping { token: 2 })));
    println!("{why}");
    assert!(why.contains("messages are not read") || why.contains("more "), "{why}");
}

fn chats(field: &Field) {
    let villain = field.member("musician");
    let own = edits(field.session, &villain, chat(900));
    let flood: Vec<u8> = own
        .iter()
        .flat_map(|change| frame_of(&changes(field.session, std::slice::from_ref(change))))
        .collect();
    field.counts(&field.anna, "cut_off", 1, || {
        let why = field.lair.enter(field.anna.address(), &villain).flood(&flood);
        assert!(why.contains("more "), "{why}");
    });
}
