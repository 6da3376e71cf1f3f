//! A JACK client that plays a signal to, or records one from, whatever is measured, and logs each cycle. A process of its
//! own, for libjack knows one server per process: `JACK_DEFAULT_SERVER` names it.
//!
//! It says `ready` when its ports are connected, begins at the line `go`, says `done` when the signal was played, and
//! ends, writing its files, at the line `stop` or at the end of its input.

use std::io::BufRead as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jack::{AudioIn, AudioOut, Client, ClientOptions, Control, Port, ProcessHandler, ProcessScope};
use rustix::time::{ClockId, clock_gettime};

use super::cycle_log::{Cycle, CycleLog};
use super::samples;

/// How long the ports of what is measured may take to appear.
const PORTS_APPEAR: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The client's name
    #[arg(long)]
    name: String,
    /// Plays this signal
    #[arg(long, conflicts_with = "record")]
    play: Option<PathBuf>,
    /// Records to this file
    #[arg(long)]
    record: Option<PathBuf>,
    /// Room for a recording, in frames
    #[arg(long, default_value_t = 0)]
    frames: usize,
    /// Where the cycles go
    #[arg(long)]
    log: PathBuf,
    /// The ports to connect ours with, in order
    #[arg(long)]
    connect: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let switches = Arc::new(Switches::default());
    let channels = args.connect.len();
    let (client, _) = Client::new(&args.name, ClientOptions::NO_START_SERVER)?;
    let mut log = Log::new(Arc::clone(&switches));
    match (&args.play, &args.record) {
        (Some(signal), None) => {
            let signal = samples::read(signal, channels)?;
            let register = |n| client.register_port(&format!("out_{n}"), AudioOut::default());
            let ports = (1..=channels).map(register).collect::<Result<_, _>>()?;
            log.reserve(signal.first().map_or(0, Vec::len));
            let active = client.activate_async((), Player { ports, signal, log })?;
            connect(active.as_client(), args, "out", |client, ours, theirs| {
                client.connect_ports_by_name(ours, theirs)
            })?;
            obey(&switches)?;
            let (_, (), player) = active.deactivate()?;
            player.log.cycles.write(&args.log)
        }
        (None, Some(recording)) => {
            let register = |n| client.register_port(&format!("in_{n}"), AudioIn::default());
            let ports = (1..=channels).map(register).collect::<Result<_, _>>()?;
            log.reserve(args.frames);
            // Touched, so that no callback waits for a page.
            let mut recorded = vec![vec![f32::MIN_POSITIVE; args.frames]; channels];
            recorded.iter_mut().for_each(Vec::clear);
            let active = client.activate_async((), Recorder { ports, recorded, log })?;
            connect(active.as_client(), args, "in", |client, ours, theirs| {
                client.connect_ports_by_name(theirs, ours)
            })?;
            obey(&switches)?;
            let (_, (), recorder) = active.deactivate()?;
            samples::write(recording, &recorder.recorded)?;
            recorder.log.cycles.write(&args.log)
        }
        _ => bail!("either --play or --record"),
    }
}

/// Connects each of our ports as soon as its partner is there.
fn connect(
    client: &Client,
    args: &Args,
    kind: &str,
    join: impl Fn(&Client, &str, &str) -> Result<(), jack::Error>,
) -> Result<()> {
    let deadline = Instant::now() + PORTS_APPEAR;
    for (index, theirs) in args.connect.iter().enumerate() {
        let ours = format!("{}:{kind}_{}", client.name(), index + 1);
        while client.port_by_name(theirs).is_none() {
            ensure!(Instant::now() < deadline, "port {theirs} did not appear");
            std::thread::sleep(Duration::from_millis(50));
        }
        join(client, &ours, theirs).with_context(|| format!("connecting {ours} with {theirs}"))?;
    }
    Ok(())
}

/// Does what the lines of standard input say.
fn obey(switches: &Arc<Switches>) -> Result<()> {
    println!("ready");
    let watched = Arc::clone(switches);
    std::thread::spawn(move || {
        while !watched.done.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(20));
        }
        println!("done");
    });
    for line in std::io::stdin().lock().lines() {
        match line?.as_str() {
            "go" => switches.go.store(true, Ordering::Release),
            "stop" => break,
            other => bail!("no command {other:?}"),
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Switches {
    go: AtomicBool,
    /// The signal, or the room for a recording, is at its end.
    done: AtomicBool,
}

/// The cycles since `go`.
struct Log {
    switches: Arc<Switches>,
    cycles: CycleLog,
    position: usize,
    length: usize,
}

impl Log {
    fn new(switches: Arc<Switches>) -> Self {
        Self { switches, cycles: CycleLog::default(), position: 0, length: 0 }
    }

    fn reserve(&mut self, frames: usize) {
        self.length = frames;
        // JACK's smallest period is 16 frames.
        self.cycles.cycles.reserve(frames / 16 + 1);
    }

    /// The frames of this cycle, where there are any. *Realtime-safe: yes.*
    fn next(&mut self, scope: &ProcessScope) -> Option<std::ops::Range<usize>> {
        if !self.switches.go.load(Ordering::Acquire) || self.position >= self.length {
            return None;
        }
        let time = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
        let entered_us = u64::try_from(time.as_micros()).unwrap_or(0);
        let began_us = scope.cycle_times().map_or(entered_us, |times| times.current_usecs);
        let from = self.position;
        self.position += usize::try_from(scope.n_frames()).unwrap_or(0);
        if self.cycles.cycles.len() < self.cycles.cycles.capacity() {
            self.cycles.cycles.push(Cycle {
                frame: u64::try_from(from).unwrap_or(0),
                began_us,
                entered_us,
                jack_frame: scope.last_frame_time(),
                frames: scope.n_frames(),
            });
        }
        if self.position >= self.length {
            self.switches.done.store(true, Ordering::Release);
        }
        Some(from..self.position.min(self.length))
    }
}

struct Player {
    ports: Vec<Port<AudioOut>>,
    signal: Vec<Vec<f32>>,
    log: Log,
}

impl ProcessHandler for Player {
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        let frames = self.log.next(scope);
        for (port, signal) in self.ports.iter_mut().zip(&self.signal) {
            let output = port.as_mut_slice(scope);
            output.fill(0.0);
            if let Some(samples) = frames.clone().and_then(|frames| signal.get(frames)) {
                output[..samples.len()].copy_from_slice(samples);
            }
        }
        Control::Continue
    }
}

struct Recorder {
    ports: Vec<Port<AudioIn>>,
    recorded: Vec<Vec<f32>>,
    log: Log,
}

impl ProcessHandler for Recorder {
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        let Some(frames) = self.log.next(scope) else { return Control::Continue };
        for (port, recorded) in self.ports.iter().zip(&mut self.recorded) {
            recorded.extend_from_slice(&port.as_slice(scope)[..frames.len()]);
        }
        Control::Continue
    }
}
