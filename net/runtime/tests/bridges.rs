//! The bridges to REAPER and Ardour, with a peer of each that was written after their documentation.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audiocloud_clock::beat_map::{BeatMap, Segment};
use audiocloud_clock::timeline::Timeline;
use audiocloud_runtime::bridge::{Bridges, Settings, SharedBeat};
use audiocloud_units::{Beats, HostTime, Nanos, Ppm, SessionLine, SessionTime};
use rosc::{OscPacket, OscType};
use tungstenite::{Message, WebSocket};

/// A session of one, whose time is this machine's.
#[derive(Clone, Default)]
struct Alone(Arc<Mutex<BeatMap>>);

impl Alone {
    /// A change so many milliseconds from now; when that is.
    fn edit(&self, ahead_ms: i64, segment: Segment) -> Instant {
        let ahead = Nanos::from_millis(ahead_ms);
        let start = SessionTime::new((self.now() + ahead).get());
        self.0.lock().unwrap().insert(Segment { start, ..segment }, start).unwrap();
        Instant::now() + Duration::from_millis(ahead_ms.unsigned_abs())
    }
}

fn playing(beat: f64, bpm: f64) -> Segment {
    Segment::steady(SessionTime::new(0), Beats::new(beat), bpm)
}

fn stopped(beat: f64, bpm: f64) -> Segment {
    Segment { playing: false, ..playing(beat, bpm) }
}

impl SharedBeat for Alone {
    fn timeline(&self) -> Timeline {
        let (host, session) = (HostTime::new(0), SessionTime::new(0));
        let line = SessionLine { host, session, fraction: 0.0, rate: Ppm::new(0.0) };
        Timeline { line: Some(line), map: Arc::new(self.0.lock().unwrap().clone()) }
    }

    fn revision(&self) -> u64 {
        self.0.lock().unwrap().digest()
    }

    fn now(&self) -> HostTime {
        audiocloud_rt::host_time::now()
    }

    fn horizon(&self) -> Nanos {
        Nanos::from_millis(100)
    }

    fn edit(&self, _: &[Segment]) -> Result<(), String> {
        Err("nobody edits here".into())
    }
}

/// A receiver of OSC.
struct Osc(UdpSocket);

impl Osc {
    fn bind(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self(socket)
    }

    fn next(&self) -> (String, Vec<OscType>, Instant) {
        let mut bytes = [0; 1_500];
        let length = self.0.recv(&mut bytes).expect("a message within five seconds");
        let heard = Instant::now();
        let (rest, packet) = rosc::decoder::decode_udp(&bytes[..length]).unwrap();
        assert!(rest.is_empty());
        let OscPacket::Message(message) = packet else { panic!("a bundle") };
        (message.addr, message.args, heard)
    }

    fn expect(&self, address: &str, arguments: &[OscType]) -> Instant {
        let (found, given, heard) = self.next();
        assert_eq!((found.as_str(), given.as_slice()), (address, arguments));
        heard
    }
}

/// While it plays it is placed where the beat is by then: a little further.
fn near(given: &OscType, expected: f64, second: f64) {
    let found = match given {
        OscType::Float(seconds) => f64::from(*seconds),
        OscType::Int(sample) => f64::from(*sample),
        other => panic!("{other:?}"),
    };
    assert!((0.0..0.1).contains(&((found - expected) / second)), "{found}, not {expected}");
}

/// Within what a machine that does other things too may take.
fn at(heard: Instant, expected: Instant) {
    let early = expected.saturating_duration_since(heard);
    let late = heard.saturating_duration_since(expected);
    assert!(early < Duration::from_millis(20), "{early:?} early");
    assert!(late < Duration::from_millis(100), "{late:?} late");
}

fn only_status(bridges: &Bridges) -> (String, Option<String>) {
    let statuses = bridges.status();
    assert_eq!(statuses.len(), 1, "{statuses:?}");
    (statuses[0].words.clone(), statuses[0].trouble.clone())
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn reaper_is_told_tempo_place_play_and_stop_when_they_are_due() {
    let reaper = Osc::bind(([127, 0, 0, 1], 0).into());
    let beat = Alone::default();
    let bridges = Bridges::start(beat.clone());
    bridges.set(Settings { osc: Some(reaper.0.local_addr().unwrap()), ..Settings::default() });
    let begins = beat.edit(400, playing(8.0, 96.0));
    reaper.expect("/tempo/raw", &[OscType::Float(96.0)]);
    let placed = reaper.expect("/time", &[OscType::Float(5.0)]);
    assert!(placed < begins, "it is placed before it has to play");
    at(reaper.expect("/play", &[OscType::Float(1.0)]), begins);
    until("it says that it plays", || only_status(&bridges).0.ends_with("plays, at 96.00 bpm"));
    let faster = beat.edit(200, playing(32.0, 120.0));
    at(reaper.expect("/tempo/raw", &[OscType::Float(120.0)]), faster);
    let (address, place, heard) = reaper.next();
    assert_eq!(address, "/time");
    near(&place[0], 16.0, 1.0);
    at(heard, faster);
    let ends = beat.edit(200, stopped(40.0, 120.0));
    at(reaper.expect("/stop", &[OscType::Float(1.0)]), ends);
    reaper.expect("/time", &[OscType::Float(20.0)]);
    // Who goes while it plays leaves it stopped.
    beat.edit(50, playing(40.0, 120.0));
    reaper.expect("/play", &[OscType::Float(1.0)]);
    drop(bridges);
    reaper.expect("/stop", &[OscType::Float(1.0)]);
}

#[test]
fn a_reaper_that_is_not_there_is_said_to_be_missing() {
    let gone = Osc::bind(([127, 0, 0, 1], 0).into()).0.local_addr().unwrap();
    let beat = Alone::default();
    let bridges = Bridges::start(beat.clone());
    bridges.set(Settings { osc: Some(gone), ..Settings::default() });
    for tempo in 0..10 {
        beat.edit(0, stopped(f64::from(tempo), 100.0 + f64::from(tempo)));
        std::thread::sleep(Duration::from_millis(60));
    }
    until("the trouble", || {
        only_status(&bridges).1.is_some_and(|trouble| trouble.contains("nobody listens"))
    });
}

/// Ardour, as far as its surfaces show it.
struct Ardour {
    surface: WebSocket<TcpStream>,
    osc: Osc,
}

impl Ardour {
    /// Listens at two ports that follow each other.
    fn bind() -> (TcpListener, Osc) {
        for _ in 0..100 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let next = SocketAddr::from(([127, 0, 0, 1], port.saturating_add(1)));
            if let Ok(socket) = UdpSocket::bind(next) {
                drop(socket);
                return (listener, Osc::bind(next));
            }
        }
        panic!("no two free ports in a row");
    }

    fn says(&mut self, node: &str, value: &str) {
        let text = format!("{{\"node\":\"transport_{node}\",\"val\":[{value}]}}");
        self.surface.send(Message::text(text)).unwrap();
    }

    /// The tempo that it is given next.
    fn tempo(&mut self) -> f64 {
        loop {
            match self.surface.read().expect("a message within five seconds") {
                Message::Text(text) => {
                    let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(message["node"], "transport_tempo");
                    return message["val"][0].as_f64().unwrap();
                }
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn ardour_gets_its_tempo_while_it_stands_still_and_its_place_in_its_own_samples() {
    let (listener, osc) = Ardour::bind();
    let beat = Alone::default();
    let bridges = Bridges::start(beat.clone());
    bridges.set(Settings { ardour: Some(listener.local_addr().unwrap()), ..Settings::default() });
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut ardour = Ardour { surface: tungstenite::accept(stream).unwrap(), osc };
    ardour.says("tempo", "120");
    // It rolls as it is found: it has to stand still first, and only then takes the tempo.
    beat.edit(0, stopped(8.0, 96.0));
    ardour.says("roll", "true");
    ardour.osc.expect("/transport_stop", &[]);
    ardour.surface.get_ref().set_nonblocking(true).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    assert!(ardour.surface.read().is_err(), "a tempo came while it rolled");
    ardour.surface.get_ref().set_nonblocking(false).unwrap();
    // Where it was at another tempo does not matter.
    ardour.says("roll", "false");
    assert!((ardour.tempo() - 96.0).abs() < 1e-9);
    let mut place = ardour.osc.next();
    while place.1 != [OscType::Int(240_000), OscType::Int(0)] {
        place = ardour.osc.next();
    }
    // It stands at another time than that: its samples are shorter.
    ardour.says("time", "5.44218");
    ardour.osc.expect("/locate", &[OscType::Int(220_500), OscType::Int(0)]);
    ardour.says("time", "5");
    // And it begins in time.
    let begins = beat.edit(400, playing(8.0, 96.0));
    at(ardour.osc.expect("/transport_play", &[]), begins);
    ardour.says("roll", "true");
    std::thread::sleep(Duration::from_millis(50));
    let jumps = beat.edit(300, playing(64.0, 96.0));
    let (address, place, heard) = ardour.osc.next();
    assert_eq!((address.as_str(), &place[1]), ("/locate", &OscType::Int(1)));
    near(&place[0], 1_764_000.0, 44_100.0);
    at(heard, jumps);
    beat.edit(50, playing(80.0, 140.0));
    ardour.osc.next();
    until("the trouble", || only_status(&bridges).1.is_some_and(|trouble| trouble.contains("140.00")));
    let ends = beat.edit(200, stopped(0.0, 140.0));
    at(ardour.osc.expect("/transport_stop", &[]), ends);
    ardour.says("roll", "false");
    assert!((ardour.tempo() - 140.0).abs() < 1e-9);
    // It goes, and is looked for.
    drop(ardour);
    until("the trouble", || only_status(&bridges).1.is_some_and(|trouble| trouble.contains("looked for")));
}
