//! MIDI clock and time code, on ports that others on this machine connect to.
//!
//! A thread of its own, in real time where that is permitted, computes what is to be sent some milliseconds ahead. JACK takes
//! it as it is and places each message at its frame; ALSA's sequencer, and the system's MIDI elsewhere, take a message when
//! it is due. On Linux both are opened where they are there: each has its own listeners.
//!
//! The libraries are looked for at run time. Linking ALSA's, as the crate `midir` does on Linux, would keep every plug-in
//! from loading on a machine without it; and `midir` gives JACK a message at the beginning of a period, which is late by up
//! to one.

#[cfg(target_os = "linux")]
mod alsa;
#[cfg(target_os = "linux")]
mod foreign;
#[cfg(target_os = "linux")]
mod jack;
#[cfg(not(target_os = "linux"))]
mod system;

mod paced;

use std::sync::Arc;
use std::time::{Duration, Instant};

use audiocloud_midi_clock::{Event, Sender, Settings};
use audiocloud_units::{HostTime, Nanos};

use super::worker::{Stage, Worker};
use super::{SharedBeat, osc};

/// Of SCHED_FIFO: below the audio threads of common hosts, above the network's.
const PRIORITY: u8 = 62;
/// Messages are computed this often.
const PERIOD: Nanos = Nanos::from_millis(5);
/// How often ports that are not there are looked for.
const RETRY: Duration = Duration::from_secs(10);
const SAY_EVERY: Duration = Duration::from_millis(250);

/// The name under which ports are found.
const NAME: &str = "audiocloud";
/// What the port is for, where ports have names of their own.
const PORT: &str = "clock";

/// Where messages go.
trait Port: Send {
    /// So long before it is due it has to be given a message.
    fn ahead(&self) -> Nanos;
    /// Takes messages in the order of their time; those it cannot take are counted as lost.
    fn give(&mut self, events: &[Event], now: HostTime);
    /// Sends what is due; when it has to be called again, if it has anything more.
    fn send_due(&mut self, now: HostTime) -> Option<HostTime>;
    fn status(&mut self) -> PortStatus;
}

/// How a port stands.
struct PortStatus {
    /// Its system and name.
    words: String,
    listeners: usize,
    /// Messages that were not sent, or late by more than a millisecond.
    lost: u64,
    /// It has to be opened anew.
    is_gone: bool,
}

/// Sends what `settings` says on all ports that there are.
pub(super) fn start(beat: Arc<dyn SharedBeat>, settings: Settings) -> Worker {
    Worker::start("MIDI", move |stage| {
        if let Err(error) = audiocloud_rt::priority::realtime(PRIORITY) {
            tracing::debug!(target: "audiocloud::bridge", %error, "no real-time scheduling for MIDI");
        }
        Midi::new(settings).run(stage, &*beat);
    })
}

struct Midi {
    settings: Settings,
    sender: Sender,
    ports: Vec<Box<dyn Port>>,
    /// Why there are no more ports.
    missing: Vec<String>,
    looked: Option<Instant>,
    said: Option<Instant>,
}

impl Midi {
    fn new(settings: Settings) -> Self {
        let sender = Sender::new(settings);
        Self { settings, sender, ports: Vec::new(), missing: Vec::new(), looked: None, said: None }
    }

    fn run(&mut self, stage: &Stage, beat: &dyn SharedBeat) {
        let mut events = Vec::with_capacity(256);
        while !stage.is_over() {
            self.look();
            let now = beat.now();
            let ahead = self.ports.iter().map(|port| port.ahead()).max().unwrap_or(Nanos::ZERO);
            self.sender.advance(&beat.timeline(), now + PERIOD + ahead, &mut events);
            let due = self.give(&mut events, beat);
            self.say(stage);
            let wake = due.map_or(now + PERIOD, |due| due.min(now + PERIOD));
            std::thread::sleep(osc::duration((wake - beat.now()).max(Nanos::ZERO)));
        }
        self.end(beat, &mut events);
    }

    fn give(&mut self, events: &mut Vec<Event>, beat: &dyn SharedBeat) -> Option<HostTime> {
        let now = beat.now();
        for port in &mut self.ports {
            port.give(events, now);
        }
        events.clear();
        self.ports.iter_mut().filter_map(|port| port.send_due(beat.now())).min()
    }

    /// Stops who runs, and leaves time for that to be played.
    fn end(&mut self, beat: &dyn SharedBeat, events: &mut Vec<Event>) {
        let ahead = self.ports.iter().map(|port| port.ahead()).max().unwrap_or(Nanos::ZERO);
        let until = beat.now() + PERIOD + ahead;
        self.sender.end(until, events);
        if events.is_empty() {
            return;
        }
        let mut due = self.give(events, beat);
        std::thread::sleep(osc::duration((until - beat.now()).clamp(Nanos::ZERO, Nanos::from_millis(60))));
        while let Some(at) = due.filter(|at| *at <= until) {
            std::thread::sleep(osc::duration((at - beat.now()).max(Nanos::ZERO)));
            due = self.ports.iter_mut().filter_map(|port| port.send_due(beat.now())).min();
        }
    }

    /// Opens what is there and not open yet.
    fn look(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < RETRY) {
            return;
        }
        self.looked = Some(Instant::now());
        let before = self.ports.len();
        self.missing.clear();
        let open: Vec<String> = self.ports.iter_mut().map(|port| port.status().words).collect();
        for (system, open_port) in SYSTEMS {
            if open.iter().any(|words| words.starts_with(system)) {
                continue;
            }
            match open_port() {
                Ok(port) => self.ports.push(port),
                Err(why) => self.missing.push(format!("{system}: {why}")),
            }
        }
        if self.ports.len() > before {
            // Who comes now has not heard what was said.
            self.sender = Sender::new(self.settings);
        }
    }

    fn say(&mut self, stage: &Stage) {
        if self.said.is_some_and(|said| said.elapsed() < SAY_EVERY) {
            return;
        }
        self.said = Some(Instant::now());
        let statuses: Vec<PortStatus> = self.ports.iter_mut().map(|port| port.status()).collect();
        let mut gone = statuses.iter().map(|status| status.is_gone);
        self.ports.retain(|_| !gone.next().unwrap_or(false));
        let words: Vec<String> = statuses.iter().map(|status| status.words.clone()).collect();
        let listeners = statuses.iter().map(|status| status.listeners).sum();
        let lost: u64 = statuses.iter().map(|status| status.lost).sum();
        let trouble = if self.ports.is_empty() {
            Some(format!("there is no MIDI here: {}", self.missing.join("; ")))
        } else if lost > 0 {
            Some(format!(
                "{lost} messages were late or lost; give audiocloud real-time rights, or close what keeps the machine busy"
            ))
        } else if self.sender.is_out_of_range() {
            Some("the song is where MIDI's song position does not reach; clocks go on without it".into())
        } else {
            None
        };
        let words = if words.is_empty() { "no port".into() } else { words.join(", ") };
        stage.say(words, listeners, trouble);
    }
}

type Open = fn() -> Result<Box<dyn Port>, String>;

#[cfg(target_os = "linux")]
const SYSTEMS: [(&str, Open); 2] = [
    ("JACK", || Ok(Box::new(jack::Jack::open()?))),
    ("ALSA", || Ok(Box::new(paced::Paced::new(alsa::Alsa::open()?)))),
];

#[cfg(not(target_os = "linux"))]
const SYSTEMS: [(&str, Open); 1] = [("MIDI", || Ok(Box::new(paced::Paced::new(system::System::open()?))))];
