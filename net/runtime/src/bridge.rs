//! Bridges: the shared beat, for what on this machine listens to something else than us.
//!
//! A plug-in cannot set its host's transport. So the beat of a session goes to the DAW in what DAWs follow: tempo Link, MIDI
//! clock and time code, OSC. Each is a [`Bridge`] with a thread of its own, switched on and off by [`Settings`]. All of
//! them see the beat through [`SharedBeat`], which is a session's `Clock`, or a test's.
//!
//! The beat map is the authority. What a bridge hears from its other side becomes an edit of the map where this machine may
//! lead, and is put back where it may not.

mod ardour;
mod link;
mod midi;
mod osc;
mod worker;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use audiocloud_clock::beat_map::Segment;
use audiocloud_clock::timeline::Timeline;
use audiocloud_units::{HostTime, Nanos};

pub use audiocloud_midi_clock::{FrameRate, Settings as MidiSettings};

use crate::status::lock;

/// What bridges need of a domain's time.
pub trait SharedBeat: Send + Sync {
    /// The time and the beats, as they stand.
    fn timeline(&self) -> Timeline;
    /// Another number whenever the map is another; cheap.
    fn revision(&self) -> u64;
    /// The clock that the timeline's line is over.
    fn now(&self) -> HostTime;
    /// An edit that begins so much ahead reaches everybody first.
    fn horizon(&self) -> Nanos;
    /// Makes these the map's next segments, for everybody.
    ///
    /// # Errors
    /// A sentence for people: who may not, or what cannot be.
    fn edit(&self, segments: &[Segment]) -> Result<(), String>;
}

/// Which bridges there are; none by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Tempo Link, with every peer of it that multicast reaches.
    pub link: bool,
    /// A virtual MIDI port.
    pub midi: Option<MidiSettings>,
    /// OSC to REAPER, at this address: [`REAPER`] unless the user chose another port.
    pub osc: Option<SocketAddr>,
    /// Ardour's WebSocket surface, at this address: [`ARDOUR`] unless the user chose another port. Its OSC is at the port
    /// after it.
    pub ardour: Option<SocketAddr>,
}

/// Where REAPER listens for OSC on this machine, by default.
pub const REAPER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8_000);
/// Where Ardour's WebSocket surface listens on this machine, by default.
pub const ARDOUR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3_818);

/// Where a bridge stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeStatus {
    /// Which: "Tempo Link", "MIDI", "OSC", "Ardour".
    pub name: &'static str,
    /// What it does now, for people.
    pub words: String,
    /// Others that are on its far side, where it knows.
    pub peers: usize,
    /// What keeps it from working, and the remedy.
    pub trouble: Option<String>,
}

/// One that runs. Dropping it ends it, and waits for its thread: 100 ms at most.
pub(crate) trait Bridge: Send {
    fn status(&self) -> BridgeStatus;
}

/// The bridges of one domain. Dropping it ends them.
pub struct Bridges {
    beat: Arc<dyn SharedBeat>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    settings: Settings,
    link: Option<Box<dyn Bridge>>,
    midi: Option<Box<dyn Bridge>>,
    osc: Option<Box<dyn Bridge>>,
    ardour: Option<Box<dyn Bridge>>,
}

impl std::fmt::Debug for Bridges {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Bridges").field("settings", &self.settings()).finish_non_exhaustive()
    }
}

impl Bridges {
    /// All switched off, at this beat.
    #[must_use]
    pub fn start(beat: impl SharedBeat + 'static) -> Self {
        Self { beat: Arc::new(beat), running: Mutex::default() }
    }

    /// Switches on what is wanted and off what is not; what stays as it was goes on undisturbed. Waits for threads that
    /// end: 100 ms for each at most. *Realtime-safe: no.*
    pub fn set(&self, settings: Settings) {
        let mut running = lock(&self.running);
        if settings.link != running.settings.link {
            running.link = None;
            if settings.link {
                running.link = Some(Box::new(link::Link::start(Arc::clone(&self.beat))));
            }
        }
        let beat = || Arc::clone(&self.beat);
        if settings.midi != running.settings.midi {
            running.midi = None;
            running.midi =
                settings.midi.map(|midi| -> Box<dyn Bridge> { Box::new(midi::start(beat(), midi)) });
        }
        if settings.osc != running.settings.osc {
            running.osc = None;
            running.osc =
                settings.osc.map(|address| -> Box<dyn Bridge> { Box::new(osc::start(beat(), address)) });
        }
        if settings.ardour != running.settings.ardour {
            running.ardour = None;
            running.ardour = settings
                .ardour
                .map(|address| -> Box<dyn Bridge> { Box::new(ardour::start(beat(), address)) });
        }
        running.settings = settings;
    }

    /// What was wanted last.
    #[must_use]
    pub fn settings(&self) -> Settings {
        lock(&self.running).settings.clone()
    }

    /// Of each that is switched on.
    #[must_use]
    pub fn status(&self) -> Vec<BridgeStatus> {
        let running = lock(&self.running);
        [&running.link, &running.midi, &running.osc, &running.ardour]
            .into_iter()
            .flatten()
            .map(|bridge| bridge.status())
            .collect()
    }
}
