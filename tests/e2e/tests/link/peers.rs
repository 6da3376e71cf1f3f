//! Peers of tempo Link that are not ours, as processes on a host.

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use audiocloud_e2e::net::Host;
use audiocloud_units::{HostTime, Nanos};

/// Where SuperCollider's language listens.
const LANGUAGE_PORT: u16 = 57_120;
/// It compiles its library first.
const STARTING: Duration = Duration::from_secs(30);

/// What a peer says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    /// When, by the clock of this machine.
    pub(crate) at: HostTime,
    pub(crate) beat: f64,
    pub(crate) bpm: f64,
    pub(crate) is_playing: bool,
    pub(crate) peers: usize,
}

pub(crate) trait Peer {
    fn ask(&mut self) -> Said;
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/link").join(name)
}

/// Ended when it is dropped, without a goodbye.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// PyPI's `aalink`.
pub(crate) struct Aalink {
    _process: Process,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Aalink {
    /// None, with the reason printed, where Python has no aalink.
    pub(crate) fn start(test: &str, host: &Host, bpm: f64) -> Option<Self> {
        let python = std::env::var_os("AUDIOCLOUD_PYTHON").unwrap_or_else(|| "python3".into());
        let has = Command::new(&python).args(["-c", "import aalink"]).stderr(Stdio::null()).status();
        if !has.is_ok_and(|status| status.success()) {
            println!("{test} skipped: {} has no aalink (`cargo xtask test` installs it)", python.display());
            return None;
        }
        let mut command = host.command(python);
        command.arg(script("peer.py")).arg(bpm.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python");
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both were asked for")
        };
        let mut peer = Self { _process: Process(child), orders, answers: BufReader::new(answers) };
        // It is there when it answers.
        peer.ask();
        Some(peer)
    }

    /// As `peer.py` takes them.
    pub(crate) fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("a peer that listens");
        self.orders.flush().expect("a peer that listens");
    }
}

impl Peer for Aalink {
    fn ask(&mut self) -> Said {
        self.order("ask");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        let said: Vec<f64> = line.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        let nanos = |word: &str| word.parse::<i64>().expect("nanoseconds");
        let times: Vec<i64> = line.split_whitespace().take(2).map(nanos).collect();
        let [_, _, beat, bpm, playing, peers] = said[..] else { panic!("{line:?} is no answer") };
        let at = HostTime::new(0) + Nanos::new(i64::midpoint(times[0], times[1]));
        Said { at, beat, bpm, is_playing: playing == 1.0, peers: count(peers) }
    }
}

/// SuperCollider's `LinkClock`.
pub(crate) struct SuperCollider {
    _process: Process,
    socket: UdpSocket,
}

impl SuperCollider {
    /// None, with the reason printed, where it is not installed.
    pub(crate) fn start(test: &str, host: &Host) -> Option<Self> {
        if !Command::new("sclang")
            .arg("-v")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
        {
            println!("{test} skipped: there is no sclang (Debian: supercollider-language)");
            return None;
        }
        let mut command = host.command("sclang");
        command.arg(script("peer.scd"));
        // It has a browser for its help within, which wants a screen, and no root.
        command.env("QT_QPA_PLATFORM", "offscreen").env("QTWEBENGINE_DISABLE_SANDBOX", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("sclang");
        let Some(output) = child.stdout.take() else { unreachable!("it was asked for") };
        let process = Process(child);
        let mut lines = BufReader::new(output).lines();
        let begun = Instant::now();
        while !lines.next().expect("sclang goes on").expect("text").contains("READY") {
            assert!(begun.elapsed() < STARTING, "sclang starts");
        }
        // What it says later nobody reads, and a full pipe would stop it.
        std::thread::spawn(move || lines.count());
        let socket = host.within(|| UdpSocket::bind("127.0.0.1:0")).expect("a socket");
        socket.connect(("127.0.0.1", LANGUAGE_PORT)).expect("an address");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        Some(Self { _process: process, socket })
    }

    /// What somebody does there.
    pub(crate) fn tempo(&mut self, bpm: f32) {
        self.send(&[&padded(b"/tempo"), &padded(b",f"), &bpm.to_be_bytes()[..]].concat());
    }

    /// It says goodbye and ends.
    pub(crate) fn leave(&mut self) {
        self.send(&[padded(b"/leave"), padded(b",")].concat());
    }

    fn send(&self, message: &[u8]) {
        self.socket.send(message).expect("sclang listens");
    }
}

impl Peer for SuperCollider {
    fn ask(&mut self) -> Said {
        self.send(&[padded(b"/ask"), padded(b",")].concat());
        let mut buffer = [0; 256];
        let length = self.socket.recv(&mut buffer).expect("sclang answers");
        // An address and a type tag of eight and four bytes, then the text.
        let text = String::from_utf8_lossy(&buffer[12..length]);
        let said: Vec<f64> =
            text.trim_end_matches('\0').split(' ').map(|word| word.parse().expect("a number")).collect();
        let [seconds, beat, bpm, playing, peers] = said[..] else { panic!("{text:?} is no answer") };
        let at = HostTime::new(0) + Nanos::from(Duration::from_secs_f64(seconds));
        Said { at, beat, bpm, is_playing: playing == 1.0, peers: count(peers) }
    }
}

/// As OSC has its strings: to the next multiple of four, with one zero at least.
fn padded(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    bytes.resize(text.len() / 4 * 4 + 4, 0);
    bytes
}

fn count(number: f64) -> usize {
    (0..1_000)
        .find(|count| f64::from(*count) == number)
        .map_or(0, |count| usize::try_from(count).unwrap_or_default())
}
