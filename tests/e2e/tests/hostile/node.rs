//! Attacks on the node where members meet, and by what lies about being one, while it relays for Anna and Ben.

use std::{
    io::{Read, Write},
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use audiocloud_net::{
    membership::pairing::Code,
    runtime::{
        Config, MeetingPoint,
        pairing::{self, Cancel},
    },
    wire::{
        id::{DeviceId, InstanceId},
        message::Text,
    },
};
use audiocloud_traversal::{
    frame::{ChannelId, Frame},
    meeting::{ALPN, Introduced, Message, Pass, Reason, Refused, Register, Registered, Room},
    probe::{ProbeKey, ProbeSecret},
};
use rustls::pki_types::CertificateDer;

use super::attacker::{Noise, PATIENCE, PEER, Puppet, Shown, TUNNEL, Tls, Villain, frame, is_closed, tls_on};
use super::{Attack, Field, TLS_PORT};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "noise at a node",
        does: "3000 datagrams of noise",
        must: "each is counted at the door",
        run: noise,
    },
    Attack {
        name: "relaying to nobody",
        does: "3000 datagrams for channels that it guesses",
        must: "none is forwarded, and each counted",
        run: relays_to_nobody,
    },
    Attack {
        name: "relaying too much at once",
        does: "datagrams to be relayed that are longer than any, empty, or not sealed",
        must: "each is counted at the door",
        run: relays_oversize,
    },
    Attack {
        name: "another's channel",
        does: "sends by a channel that was told to somebody else",
        must: "none is forwarded, and each counted",
        run: another_channel,
    },
    Attack {
        name: "a flood to relay",
        does: "sends 40,000 datagrams to itself by the relay, in two seconds",
        must: "what is beyond its share is dropped, and counted",
        run: floods_relay,
    },
    Attack {
        name: "relaying by who relays for nobody",
        does: "sends datagrams to be relayed to Anna",
        must: "each is counted at the door",
        run: relays_by_anna,
    },
    Attack {
        name: "a flood of registrations",
        does: "registers without end",
        must: "turned away: too fast",
        run: |field| {
            let villain = Villain::new();
            let message = Message::Register(register(Room([1; 32]), &villain, &[]));
            floods(field, &mut meet(field, &villain), &message);
        },
    },
    Attack {
        name: "a flood of rooms",
        does: "registers in 40 rooms",
        must: "in 16 at most",
        run: floods_rooms,
    },
    Attack {
        name: "a flood of clients",
        does: "connects 60 times from one address",
        must: "32 are served",
        run: floods_clients,
    },
    Attack {
        name: "noise at a meeting point",
        does: "sends messages that are none, too long, or too deep",
        must: "turned away",
        run: malformed,
    },
    Attack {
        name: "playing the node",
        does: "tells the node what only a node tells: that somebody is introduced",
        must: "turned away: malformed",
        run: plays_node,
    },
    Attack {
        name: "a flood to pass on",
        does: "has 2 KiB passed on without end",
        must: "turned away: too fast",
        run: floods_pass,
    },
    Attack {
        name: "an introduction as a weapon",
        does: "registers where Anna and Ben meet, with eight addresses of somebody who has nothing to do with it",
        must: "few and small packets go there",
        run: introduction_as_weapon,
    },
    Attack {
        name: "weak probe keys",
        does: "registers where Anna and Ben meet, with keys that give everybody the same secret",
        must: "it is let in nowhere",
        run: weak_keys,
    },
    Attack {
        name: "a false node",
        does: "answers in a node's place, with another key",
        must: "nobody tells it anything",
        run: false_node,
    },
    Attack {
        name: "guessing a spoken code",
        does: "tries a wrong one",
        must: "the code is used up, and both are told",
        run: guesses_code,
    },
    Attack {
        name: "a stranger at a node's door",
        does: "wants to be let in as a peer",
        must: "refused",
        run: stranger_at_node,
    },
    Attack {
        name: "silence on TCP 443",
        does: "opens 60 connections and says nothing, or a byte now and then",
        must: "dropped within four seconds; others come in meanwhile",
        run: silence_on_tcp,
    },
    Attack { name: "noise on TCP 443", does: "sends what is no TLS", must: "closed", run: noise_on_tcp },
    Attack {
        name: "no certificate on TCP 443",
        does: "shows none, one that is none, or asks for another protocol",
        must: "closed",
        run: no_tunnel,
    },
    Attack {
        name: "a tunnel whose lengths lie",
        does: "announces a datagram of 65,535 bytes",
        must: "closed",
        run: tunnel_that_lies,
    },
    Attack {
        name: "noise in a tunnel",
        does: "3000 datagrams of noise by TLS",
        must: "each is counted at the door",
        run: noise_in_tunnel,
    },
    Attack {
        name: "a tunnel that is not read",
        does: "begins 1000 handshakes of QUIC by a tunnel, and reads none of the answers",
        must: "what waits for it is bounded",
        run: unread_tunnel,
    },
    Attack {
        name: "many tunnels",
        does: "opens 70 from one address",
        must: "64 are taken",
        run: many_tunnels,
    },
];

fn address(field: &Field) -> SocketAddr {
    field.node.address()
}

fn tls_address(field: &Field) -> SocketAddr {
    (field.node.host.public, TLS_PORT).into()
}

/// A little at a time: what the kernel has no room for is not the node's to count.
fn throw(socket: &UdpSocket, to: SocketAddr, datagrams: impl Iterator<Item = Vec<u8>>) {
    for (number, datagram) in datagrams.enumerate() {
        socket.send_to(&datagram, to).expect("sent");
        if number % 20 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn noise(field: &Field) {
    let mut noise = Noise::new(17);
    field.counts(&field.node, "garbage_datagrams", 2000, || {
        throw(
            &field.lair.udp(),
            address(field),
            (0..3000).map(|_| [&[0x05][..], &noise.bytes(900)].concat()),
        );
    });
}

fn relayed(channel: u64, datagram: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame::Relayed { channel: ChannelId(channel), datagram }.encode(&mut bytes);
    bytes
}

fn relays_to_nobody(field: &Field) {
    let mut noise = Noise::new(19);
    field.counts(&field.node, "unforwarded_datagrams", 2700, || {
        let datagrams = (0..3000).map(|_| relayed(noise.next(), &[0x55; 600]));
        throw(&field.lair.udp(), address(field), datagrams);
    });
}

fn relays_oversize(field: &Field) {
    field.counts(&field.node, "garbage_datagrams", 270, || {
        let kinds = [vec![0x55; 1464], Vec::new(), vec![0x03; 600]];
        let datagrams = (0..300).map(|number| relayed(7, &kinds[number % 3]));
        throw(&field.lair.udp(), address(field), datagrams);
    });
}

fn relays_by_anna(field: &Field) {
    field.counts(&field.anna, "garbage_datagrams", 270, || {
        let datagrams = (0..300).map(|number| relayed(number, &[0x55; 600]));
        throw(&field.lair.udp(), field.anna.address(), datagrams);
    });
}

// ---- At the meeting point.

fn meet<'a>(field: &'a Field, villain: &Villain) -> Puppet<'a> {
    field.lair.try_connect(address(field), villain.shown(), ALPN).expect("a connection")
}

fn register(room: Room, villain: &Villain, addresses: &[SocketAddr]) -> Register {
    let seed = villain.identity.device().0;
    let probe_key = ProbeSecret::from_bytes(seed).public();
    Register { room, instance: InstanceId([5; 16]), addresses: addresses.to_vec(), probe_key }
}

/// Two of one's own in a room of one's own; the channel from the first to the second.
fn two_in_a_room(field: &Field, number: u8) -> (Puppet<'_>, Puppet<'_>, ChannelId) {
    let room = Room([number; 32]);
    let mut both = [Villain::new(), Villain::new()].map(|villain| {
        let mut puppet = meet(field, &villain);
        puppet.tell(&Message::Register(register(room, &villain, &[])));
        puppet
    });
    let channel = loop {
        if let Message::Introduced(introduced) = both[0].told().expect("an introduction") {
            break introduced.channel;
        }
    };
    let [one, two] = both;
    (one, two, channel)
}

fn another_channel(field: &Field) {
    let (_one, _two, channel) = two_in_a_room(field, 0x20);
    field.counts(&field.node, "unforwarded_datagrams", 180, || {
        let datagrams = (0..200).map(|_| relayed(channel.0, &[0x55; 600]));
        throw(&field.lair.udp(), address(field), datagrams);
    });
}

fn floods_relay(field: &Field) {
    // The address of the connection is the one that may send.
    let (one, two, channel) = two_in_a_room(field, 0x21);
    let datagram = relayed(channel.0, &[0x55; 100]);
    field.counts(&field.node, "forwarded_datagrams", 100, || {
        field.counts(&field.node, "unforwarded_datagrams", 100, || {
            one.throw(address(field), &datagram, 40_000)
        });
    });
    drop(two);
}

/// How often somebody was turned away grows by this.
fn refuses<T>(field: &Field, more: u64, attack: impl FnOnce() -> T) -> T {
    field.counts(&field.node, "clients_refused", more, attack)
}

/// Says it until it is turned away.
fn floods(field: &Field, puppet: &mut Puppet<'_>, message: &Message) {
    refuses(field, 1, || {
        let began = Instant::now();
        while puppet.connection.close_reason().is_none() && puppet.tell(message) {
            assert!(began.elapsed() < PATIENCE, "it may go on for ever");
        }
        let why = puppet.last_words();
        assert!(why.contains("too-fast"), "{why}");
    });
}

fn floods_rooms(field: &Field) {
    let villain = Villain::new();
    let mut puppet = meet(field, &villain);
    let mut registered = 0;
    refuses(field, 24, || {
        for number in 0..40 {
            puppet.tell(&Message::Register(register(Room([0x40 + number; 32]), &villain, &[])));
        }
        for _ in 0..40 {
            match puppet.told().expect("an answer") {
                Message::Registered(_) => registered += 1,
                Message::Refused(Refused { reason: Reason::Full, .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(registered, 16);
}

fn floods_clients(field: &Field) {
    let villain = Villain::new();
    let (mut served, mut refused, mut held) = (0, 0, Vec::new());
    for _ in 0..60 {
        let Ok(mut puppet) = field.lair.try_connect(address(field), villain.shown(), ALPN) else {
            refused += 1;
            continue;
        };
        let mut own = register(Room([0x30; 32]), &villain, &[]);
        own.instance = InstanceId([served; 16]);
        puppet.tell(&Message::Register(own));
        match puppet.told() {
            Some(Message::Registered(_)) => served += 1,
            _ => refused += 1,
        }
        held.push(puppet);
    }
    // Some of those of earlier attacks may not have gone yet.
    assert!((24..=32).contains(&served) && refused >= 28, "{served} are served, {refused} not");
}

fn malformed(field: &Field) {
    let frames =
        [frame(&[0xff; 100]), frame(&[0xa1; 4000]), frame(b"\xa1\x64kind\x68register"), vec![0xff; 64]];
    // A length that no message has ends it without a word, and so without being counted.
    refuses(field, 3, || {
        for frame in frames {
            let mut puppet = meet(field, &Villain::new());
            puppet.write(&frame);
            let why = puppet.last_words();
            assert!(why.is_empty() || why.contains("malformed"), "{why}");
        }
    });
}

fn plays_node(field: &Field) {
    let room = Room::of_session(&field.session.0);
    let villain = Villain::new();
    let introduced = Introduced {
        room,
        device: villain.identity.device(),
        instance: InstanceId([5; 16]),
        addresses: Vec::new(),
        probe_key: ProbeKey([9; 32]),
        channel: ChannelId(5),
    };
    let registered = Registered { room, reflexive: None, relay: true, keep_ms: 1 };
    let text = Text::new("go away");
    let messages = [
        Message::Introduced(introduced),
        Message::Registered(registered),
        Message::Refused(Refused { room: None, reason: Reason::Full, text }),
    ];
    refuses(field, 3, || {
        for message in messages {
            let mut puppet = meet(field, &villain);
            puppet.tell(&message);
            let why = puppet.last_words();
            assert!(why.contains("malformed"), "{why}");
        }
    });
}

fn floods_pass(field: &Field) {
    let (mut one, _two, channel) = two_in_a_room(field, 0x22);
    floods(field, &mut one, &Message::Pass(Pass { channel, data: vec![1; 2048] }));
}

fn introduction_as_weapon(field: &Field) {
    let sockets: Vec<_> = (0..8).map(|_| field.lair.udp()).collect();
    let at = |socket: &UdpSocket| {
        socket.set_nonblocking(true).expect("a socket");
        SocketAddr::new(field.lair.host.public, socket.local_addr().expect("an address").port())
    };
    let addresses: Vec<_> = sockets.iter().map(at).collect();
    let villain = Villain::new();
    let mut puppet = meet(field, &villain);
    let room = Room::of_session(&field.session.0);
    puppet.tell(&Message::Register(register(room, &villain, &addresses)));
    let mut met = 0;
    while met < 2 {
        met += usize::from(matches!(puppet.told().expect("a message"), Message::Introduced(_)));
    }
    let (began, mut packets, mut bytes) = (Instant::now(), 0, 0);
    while began.elapsed() < Duration::from_secs(3) {
        for socket in &sockets {
            while let Ok((length, _)) = socket.recv_from(&mut [0; 2048]) {
                (packets, bytes) = (packets + 1, bytes + length);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{packets} packets of {bytes} bytes came within 3 s");
    assert!(packets > 0, "nobody tried");
    // Of each of the two, to each address, twenty a second of 33 bytes at most.
    assert!(packets <= 2 * 8 * 20 * 3 && bytes <= packets * 33, "{packets} packets, {bytes} bytes");
}

fn weak_keys(field: &Field) {
    let room = Room::of_session(&field.session.0);
    let mut one = [0; 32];
    one[0] = 1;
    for key in [[0; 32], one] {
        let villain = Villain::new();
        let mut puppet = meet(field, &villain);
        let mut own = register(room, &villain, &[]);
        own.probe_key = ProbeKey(key);
        puppet.tell(&Message::Register(own));
        let mut met = 0;
        while met < 2 {
            met += usize::from(matches!(puppet.told().expect("a message"), Message::Introduced(_)));
        }
    }
}

fn false_node(field: &Field) {
    let false_node = Villain::new();
    let server = field.lair.serve(&false_node, ALPN);
    let point = MeetingPoint {
        address: server.address.to_string(),
        device: field.node.identity.device.parse::<DeviceId>().expect("a key").0,
        tls_port: None,
    };
    let victim = Villain::new();
    let config = Config::in_folders(victim.folder(), &victim.folder().join("run"));
    let host = field.lair.host.clone();
    let guest = std::thread::spawn(move || {
        let code = Code::generate(7).expect("a code");
        host.within(|| pairing::guest(&config, Some(&point), code, &Cancel::default()))
    });
    let believed = server.is_believed();
    let said = guest.join().expect("no panic").expect_err("it is not the node").to_string();
    assert!(said.contains("does not help") && !believed, "{said}");
}

fn guesses_code(field: &Field) {
    let point = MeetingPoint {
        address: address(field).to_string(),
        device: field.node.identity.device.parse::<DeviceId>().expect("a key").0,
        tls_port: None,
    };
    let invitation = field.links[1].parse().expect("a link");
    let (ada, eve) = (Villain::new(), Villain::new());
    let config = |villain: &Villain| Config::in_folders(villain.folder(), &villain.folder().join("run"));
    let (told, heard) = std::sync::mpsc::channel();
    let (given, taken) = std::thread::scope(|scope| {
        let host = scope.spawn(|| {
            field.lair.host.within(|| {
                pairing::host(&config(&ada), Some(&point), &invitation, &Cancel::default(), |code| {
                    told.send(code.slot()).expect("heard");
                })
            })
        });
        let slot = heard.recv().expect("a code");
        // The number is no secret.
        let code = Code::generate(slot).expect("a code");
        let taken =
            field.lair.host.within(|| pairing::guest(&config(&eve), Some(&point), code, &Cancel::default()));
        (host.join().expect("no panic"), taken)
    });
    for said in [given.expect_err("given away").to_string(), taken.expect_err("taken").to_string()] {
        assert!(said.contains("make a new code"), "{said}");
    }
}

fn stranger_at_node(field: &Field) {
    let villain = Villain::new();
    let said = field.lair.refused(address(field), &villain, &villain.hello());
    assert!(said.contains("is another user"), "{said}");
    field.says(&field.node, &["refused", &villain.identity.user().to_string()]);
}

// ---- TCP 443.

fn silence_on_tcp(field: &Field) {
    let began = Instant::now();
    let mut silent: Vec<_> = (0..60).map(|_| field.lair.tcp(tls_address(field))).collect();
    // From another network somebody comes in meanwhile: Ben's.
    let name = field.ben.host.within(|| {
        let stream = std::net::TcpStream::connect(tls_address(field)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a time-out");
        tls_on(stream, Villain::new().shown(), TUNNEL).map(drop)
    });
    assert_eq!(name, Ok(()), "somebody else has no place");
    refuses(field, 8, || {
        for (number, stream) in silent.iter_mut().enumerate() {
            if number % 2 == 0 {
                stream.write_all(&[0x16]).ok();
            }
        }
        for stream in &mut silent {
            assert!(is_closed(stream), "it is kept");
        }
    });
    assert!(began.elapsed() < Duration::from_secs(5), "dropped after {:?}", began.elapsed());
}

fn noise_on_tcp(field: &Field) {
    refuses(field, 20, || {
        for seed in 1..=20 {
            let mut stream = field.lair.tcp(tls_address(field));
            // It may be closed before it has all.
            stream.write_all(&Noise::new(seed).bytes(10_000)).ok();
            assert!(is_closed(&mut stream), "noise is listened to");
        }
    });
}

fn no_tunnel(field: &Field) {
    let villain = Villain::new();
    let noise = villain.showing(CertificateDer::from(Noise::new(23).bytes(1000)));
    let tries =
        [(Shown(None), TUNNEL), (noise, TUNNEL), (villain.shown(), &b"h2"[..]), (villain.shown(), PEER)];
    refuses(field, 4, || {
        for (shown, protocol) in tries {
            if let Ok(mut stream) = field.lair.tls(tls_address(field), shown, protocol) {
                assert!(is_closed(&mut stream), "it is let in");
            }
        }
    });
}

fn tunnel(field: &Field) -> Tls {
    field.lair.tls(tls_address(field), Villain::new().shown(), TUNNEL).expect("a tunnel")
}

fn tunnel_that_lies(field: &Field) {
    refuses(field, 1, || {
        let mut stream = tunnel(field);
        stream.write_all(&[0xff; 2000]).expect("written");
        assert!(is_closed(&mut stream), "it is believed");
    });
}

fn noise_in_tunnel(field: &Field) {
    let mut stream = tunnel(field);
    let mut noise = Noise::new(29);
    field.counts(&field.node, "garbage_datagrams", 2700, || {
        for _ in 0..3000 {
            let datagram = [&[0x05][..], &noise.bytes(499)].concat();
            stream.write_all(&[&500_u16.to_be_bytes()[..], &datagram].concat()).expect("written");
        }
        stream.flush().expect("written");
    });
}

fn unread_tunnel(field: &Field) {
    let mut stream = tunnel(field);
    let first = field.lair.first_datagrams(1000);
    for datagram in first {
        let length = u16::try_from(datagram.len()).expect("a length");
        stream.write_all(&[&length.to_be_bytes()[..], &datagram].concat()).expect("written");
    }
    stream.flush().expect("written");
}

fn many_tunnels(field: &Field) {
    let villain = Villain::new();
    let mut held: Vec<_> = Vec::new();
    refuses(field, 6, || {
        for _ in 0..70 {
            held.extend(field.lair.tls(tls_address(field), villain.shown(), TUNNEL));
        }
    });
    let mut open = 0;
    for stream in &mut held {
        stream.sock.set_read_timeout(Some(Duration::from_millis(20))).expect("a time-out");
        let closed = matches!(stream.read(&mut [0; 16]), Ok(0));
        open += usize::from(!closed);
    }
    assert!((50..=64).contains(&open), "{open} are open");
}
