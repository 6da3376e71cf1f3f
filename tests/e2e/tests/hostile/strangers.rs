//! Attacks by who is let in nowhere.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use audiocloud_net::wire::message::{Message, Ping};
use rustls::pki_types::CertificateDer;

use super::attacker::{Noise, PEER, Shown, Villain, frame};
use super::{Attack, Field};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "garbage",
        does: "3000 datagrams of noise",
        must: "each is counted at the door",
        run: garbage,
    },
    Attack {
        name: "frames of nobody",
        does: "1000 probes and 1000 relayed datagrams that nobody sealed, and some of no kind",
        must: "each is counted at the door, and none answered",
        run: frames_of_nobody,
    },
    Attack {
        name: "half-open connections",
        does: "200 handshakes from as many ports, none of which goes on",
        must: "who answers at their address is let in meanwhile",
        run: half_open,
    },
    Attack {
        name: "silent connections",
        does: "40 connections whose handshake is done and who say nothing, or one byte of a long message",
        must: "at most 32 are kept, for three seconds",
        run: silent,
    },
    Attack {
        name: "datagrams before the hello",
        does: "24 connections that fill every buffer for datagrams instead of saying who they are",
        must: "none is kept, and each counted",
        run: datagrams_before_the_hello,
    },
    Attack {
        name: "another protocol",
        does: "asks for HTTP/3 in TLS",
        must: "the handshake fails",
        run: |field| no_handshake(field, Villain::new().shown(), b"h3"),
    },
    Attack {
        name: "no certificate",
        does: "shows none in TLS",
        must: "the handshake fails",
        run: |field| no_handshake(field, Shown(None), PEER),
    },
    Attack {
        name: "a stolen certificate",
        does: "shows Ben's own, without his key",
        must: "the handshake fails",
        run: stolen_certificate,
    },
    Attack {
        name: "a broken certificate",
        does: "shows 2000 bytes of noise in TLS",
        must: "the handshake fails",
        run: |field| {
            let noise = CertificateDer::from(Noise::new(7).bytes(2000));
            no_handshake(field, Villain::new().showing(noise), PEER);
        },
    },
    Attack {
        name: "a foreign identity",
        does: "is in order, but nobody whom Anna knows",
        must: "refused by name",
        run: foreign_identity,
    },
    Attack {
        name: "a forged user",
        does: "says to be Anna's, whose signature it has not",
        must: "refused: the certificate is not hers",
        run: forged_user,
    },
    Attack {
        name: "another's device",
        does: "shows Ben's certificate of a device in the hello, over a connection of its own",
        must: "refused: the key is not the connection's",
        run: another_device,
    },
    Attack {
        name: "no hello",
        does: "begins with another message",
        must: "refused: malformed",
        run: no_hello,
    },
    Attack {
        name: "a length that lies",
        does: "announces a message of 4 GiB, or of none",
        must: "closed at once",
        run: |field| broken_off(field, &[&[0xff; 64], &[0; 64]]),
    },
    Attack {
        name: "deep CBOR",
        does: "says 60,000 arrays within each other instead of a hello, or maps",
        must: "closed at once",
        run: |field| broken_off(field, &[&frame(&[0x81; 60_000]), &frame(&[0xa1; 60_000])]),
    },
    Attack {
        name: "CBOR that lies",
        does: "announces 2⁶⁴−1 entries, items or bytes in a few",
        must: "closed at once",
        run: cbor_that_lies,
    },
    Attack {
        name: "a thousand streams",
        does: "opens 1000 streams of QUIC",
        must: "there is one",
        run: thousand_streams,
    },
    Attack {
        name: "replays",
        does: "sends each datagram of a connection eleven times, also from elsewhere",
        must: "what is in them is taken once",
        run: replays,
    },
    Attack {
        name: "noise at the control socket",
        does: "connects on Anna's machine: noise, lines without end, 30 connections that say nothing",
        must: "told what is wrong, or dropped",
        run: control_socket,
    },
];

fn garbage(field: &Field) {
    let socket = field.lair.udp();
    let mut noise = Noise::new(0x2545_f491_4f6c_dd1d);
    // What was lost on the way here is not counted: nine of ten must be.
    field.counts(&field.anna, "garbage_datagrams", 2700, || {
        for number in 0..3000 {
            let length = usize::try_from(noise.next() % 1400).expect("small") + 1;
            socket.send_to(&noise.bytes(length), field.anna.address()).expect("sent");
            if number % 20 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
}

fn frames_of_nobody(field: &Field) {
    let socket = field.lair.udp();
    let mut noise = Noise::new(11);
    field.counts(&field.anna, "garbage_datagrams", 1800, || {
        for number in 0..2000_u32 {
            let kind = [0x01, 0x03, 0x02, 0x3f][usize::try_from(number % 4).expect("small")];
            let length = if kind == 0x03 { 1200 } else { 32 };
            let datagram = [vec![kind], noise.bytes(length)].concat();
            socket.send_to(&datagram, field.anna.address()).expect("sent");
            if number % 20 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    socket.set_nonblocking(true).expect("a socket");
    assert!(socket.recv_from(&mut [0; 64]).is_err(), "somebody was answered");
}

fn half_open(field: &Field) {
    let datagrams = field.lair.first_datagrams(200);
    let began = Instant::now();
    field.counts(&field.anna, "accepted", 150, || {
        for datagram in &datagrams {
            field.lair.udp().send_to(datagram, field.anna.address()).expect("sent");
        }
    });
    drop(field.lair.enter(field.anna.address(), &field.member("listener")));
    assert!(began.elapsed() < Duration::from_secs(3), "they had gone already: {:?}", began.elapsed());
}

fn silent(field: &Field) {
    let villain = Villain::new();
    field.counts(&field.anna, "failed_handshakes", 32, || {
        let mut held = Vec::new();
        for number in 0..40 {
            if let Ok(mut puppet) = field.lair.try_connect(field.anna.address(), villain.shown(), PEER) {
                if number % 2 == 0 {
                    puppet.write(&[0, 0, 0xff, 0xff, 0xa1]);
                }
                held.push(puppet);
            }
        }
        let kept = held.iter().filter(|puppet| puppet.connection.close_reason().is_none()).count();
        assert!(kept <= 33, "{kept} are kept");
        held.iter_mut().for_each(|puppet| drop(puppet.closed()));
    });
}

fn datagrams_before_the_hello(field: &Field) {
    let villain = Villain::new();
    let mut held = Vec::new();
    for _ in 0..24 {
        held.extend(field.lair.try_connect(field.anna.address(), villain.shown(), PEER));
    }
    assert!(held.len() >= 16, "{} had a try", held.len());
    let tried = u64::try_from(held.len()).expect("a few");
    // All of it would be 100 MiB.
    field.counts(&field.anna, "unknown_stream", 24_000, || {
        field.counts(&field.anna, "failed_handshakes", tried, || {
            for puppet in &held {
                puppet.send_datagrams((0..4000).map(|_| vec![0x55; 1100]));
            }
            held.iter_mut().for_each(|puppet| drop(puppet.closed()));
        });
    });
}

fn no_handshake(field: &Field, shown: Shown, protocol: &[u8]) {
    field.counts(&field.anna, "failed_handshakes", 1, || {
        // TLS 1.3 tells the client that it is done before the server has looked at the certificate.
        if let Ok(mut puppet) = field.lair.try_connect(field.anna.address(), shown, protocol) {
            let why = puppet.closed();
            assert!(!why.contains("timed out"), "{why}");
        }
    });
}

fn stolen_certificate(field: &Field) {
    let puppet = field.lair.connect(field.ben.address(), &Villain::new());
    let shown = puppet.connection.peer_identity().expect("a certificate");
    let shown = shown.downcast::<Vec<CertificateDer<'static>>>().expect("of TLS");
    no_handshake(field, Villain::new().showing(shown[0].clone()), PEER);
}

fn foreign_identity(field: &Field) {
    let villain = Villain::new();
    let said = field.lair.refused(field.anna.address(), &villain, &villain.hello());
    assert!(said.contains("is another user"), "{said}");
    field.says(&field.anna, &["refused", &villain.identity.user().to_string()]);
}

fn forged_user(field: &Field) {
    let villain = Villain::new();
    let mut hello = villain.hello();
    hello.user = field.anna.identity.user.parse().expect("a key");
    let said = field.lair.refused(field.anna.address(), &villain, &hello);
    assert!(said.contains("bad-certificate"), "{said}");
    field.says(&field.anna, &["refused", "not signed by the user"]);
}

fn another_device(field: &Field) {
    let villain = Villain::new();
    let mut hello = villain.hello();
    hello.device = field.ben.identity.device.parse().expect("a key");
    let said = field.lair.refused(field.anna.address(), &villain, &hello);
    assert!(said.contains("not the one of the connection"), "{said}");
    field.says(&field.anna, &["refused", "not the one of the connection"]);
}

fn no_hello(field: &Field) {
    let mut puppet = field.lair.connect(field.anna.address(), &Villain::new());
    puppet.say(&Message::Ping(Ping { token: 1 }));
    let Message::HelloRefused(refused) = puppet.hear() else { panic!("it was let in") };
    assert_eq!(refused.reason.code(), "malformed");
}

/// Something else than a hello, that nobody answers.
fn broken_off(field: &Field, beginnings: &[&[u8]]) {
    let most = u64::try_from(beginnings.len()).expect("a few");
    field.counts(&field.anna, "failed_handshakes", most, || {
        for bytes in beginnings {
            let mut puppet = field.lair.connect(field.anna.address(), &Villain::new());
            puppet.write(bytes);
            let why = puppet.closed();
            assert!(!why.contains("timed out"), "{why}");
        }
    });
}

fn cbor_that_lies(field: &Field) {
    let most = [0xff; 8];
    let bodies: Vec<Vec<u8>> = [
        [&[0xbb][..], &most].concat(),
        [&b"\xa1\x64kind\x7b"[..], &most, b"hello"].concat(),
        [&b"\xa2\x64kind\x65hello\x6bmemberships\x9b"[..], &most].concat(),
        [&b"\xa2\x64kind\x65hello\x66device\x5b"[..], &most].concat(),
    ]
    .iter()
    .map(|body| frame(body))
    .collect();
    broken_off(field, &bodies.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

fn thousand_streams(field: &Field) {
    // It has the one stream that there is.
    let puppet = field.lair.connect(field.anna.address(), &Villain::new());
    let opened = field.lair.run(async {
        let mut opened = 0;
        let opening = async {
            for _ in 0..1000 {
                let both = puppet.connection.open_bi();
                let one_way = puppet.connection.open_uni();
                tokio::select! {
                    Ok(_) = both => opened += 1,
                    Ok(_) = one_way => opened += 1,
                    else => return,
                }
            }
        };
        tokio::time::timeout(Duration::from_millis(500), opening).await.ok();
        opened
    });
    assert_eq!(opened, 0, "beside the first");
}

fn replays(field: &Field) {
    let villain = field.member("listener");
    // Between the two, somebody who keeps what passes.
    let (near, far) = (field.lair.udp(), field.lair.udp());
    let elsewhere = field.lair.udp();
    let own = (field.lair.host.public, near.local_addr().expect("an address").port()).into();
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
    }
    let (to, done) = (field.anna.address(), std::sync::atomic::AtomicBool::new(false));
    let client = std::sync::Mutex::new(None);
    let before = field.counter(&field.anna, "undecodable_packets");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut datagram = [0; 2048];
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok((length, from)) = near.recv_from(&mut datagram) else { continue };
                *client.lock().expect("a lock") = Some(from);
                for copy in 0..11 {
                    let by = if copy % 2 == 0 { &far } else { &elsewhere };
                    by.send_to(&datagram[..length], to).expect("sent");
                }
            }
        });
        scope.spawn(|| {
            let mut datagram = [0; 2048];
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok((length, _)) = far.recv_from(&mut datagram) else { continue };
                let client = *client.lock().expect("a lock");
                near.send_to(&datagram[..length], client.expect("a client")).expect("sent");
            }
        });
        let mut puppet = field.lair.enter(own, &villain);
        puppet.send_datagrams((0..100).map(|_| vec![0x10; 100]));
        for token in 0..50 {
            puppet.say(&Message::Ping(Ping { token }));
        }
        let mut answers = 0;
        while answers < 50 {
            answers += usize::from(matches!(puppet.hear(), Message::Pong(_)));
        }
        puppet.settle();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let taken = field.counter(&field.anna, "undecodable_packets") - before;
    assert!((90..=100).contains(&taken), "{taken} of 100");
}

fn control_socket(field: &Field) {
    let folder = std::fs::read_dir(&field.anna.world.runtime).expect("a folder");
    let mut sockets = folder.filter_map(|entry| Some(entry.ok()?.path()));
    let socket = sockets.find(|path| path.extension().is_some_and(|extension| extension == "sock"));
    let socket = socket.expect("a control socket");
    let connect = || {
        let stream = UnixStream::connect(&socket).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(4))).expect("a time-out");
        stream
    };
    let endless = vec![b'x'; 1 << 20];
    let deep = [&b"[".repeat(4000)[..], b"\n"].concat();
    let noise = [&Noise::new(3).bytes(4000)[..], b"\n"].concat();
    for bytes in [&endless, &deep, &noise, &b"{\"cmd\":\"status\",\"cmd\":7}\n".to_vec()] {
        let mut stream = connect();
        // It may hang up before it has all.
        stream.write_all(bytes).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        assert!(answer.is_empty() || answer.windows(7).any(|part| part == b"\"error\""));
    }
    let began = Instant::now();
    let silent: Vec<_> = (0..30).map(|_| connect()).collect();
    for mut stream in silent {
        stream.read_to_end(&mut Vec::new()).ok();
    }
    assert!(began.elapsed() < Duration::from_secs(4), "they are kept: {:?}", began.elapsed());
}
