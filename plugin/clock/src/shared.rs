//! Clock beside the callbacks: whose beat it is, and what the window and the status report know.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use audiocloud_engine::rt::hand_off::{Borrower, Lender, hand_off, loan};
use audiocloud_engine::rt::snapshot::{self, snapshot};
use audiocloud_engine::units::HostTime;
use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::guard::{Guard, Stage};
use audiocloud_instance::session::{self, Session};
use audiocloud_instance::sessions::desk::Desk;
use audiocloud_instance::state::{Bridge, Bridges as Wanted};
use audiocloud_instance::status::{Severity, Status};
use audiocloud_instance::time::Setup;
use audiocloud_net::clock::beat_map::Position;
use audiocloud_net::runtime::Report;
use audiocloud_net::runtime::bridge::{
    ARDOUR, BridgeStatus, Bridges, FrameRate, MidiSettings, REAPER, Settings,
};
use audiocloud_net::runtime::clock::{Clock, ClockStatus};
use serde_json::{Value, json};

use crate::model::{Action, BridgeLine, Command, Model, Place};
use crate::observation::Observation;
use crate::params::{ClockParams, Role};
use crate::part::Active;
use crate::pilot::{self, Difference};
use crate::status::{Facts, span, status};
use crate::worker::{CALLBACKS, Ends, Worker};

/// Changes of the beat that the report lists, the latest.
const REPORTED: usize = 32;

/// What the callbacks say of themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// When the last block's first frame is heard, and which one that is since the first callback.
    pub(crate) first_frame: HostTime,
    pub(crate) position: u64,
    pub(crate) speed: f64,
    pub(crate) clicks: u64,
    pub(crate) leaps: u64,
    pub(crate) unseen: u64,
}

/// What the window, the report and the callbacks' owner share. The callbacks themselves never come here.
#[derive(Debug)]
pub struct Shared {
    params: Arc<ClockParams>,
    guard: Guard,
    link: Mutex<Link>,
    desk: Desk,
}

#[derive(Debug, Default)]
struct Link {
    /// What the host decided, while the plug-in is active.
    setup: Option<Setup>,
    /// Of the callbacks, while no worker has them.
    ends: Option<Ends>,
    worker: Option<Worker>,
    clock: Option<Clock>,
    bridges: Option<Bridges>,
    /// What of the wanted bridges cannot be.
    objection: Option<(&'static str, String)>,
    heard: Option<snapshot::Reader<Heard>>,
    error: Option<String>,
    /// Last, so that it goes last: the runtime should hear that the others went.
    session: Session,
}

impl Shared {
    pub(crate) fn new(params: &Arc<ClockParams>, guard: &Guard) -> Arc<Self> {
        let (params, guard) = (params.clone(), guard.clone());
        let (link, desk) = (Mutex::default(), Desk::new(params.stored.clone(), &guard));
        let shared = Arc::new(Self { params, guard, link, desk });
        let weak = Arc::downgrade(&shared);
        shared.params.stored.on_load(move || {
            if let Some(shared) = weak.upgrade() {
                shared.guard.run(Stage::State, || shared.state_loaded());
            }
        });
        let weak = Arc::downgrade(&shared);
        shared.desk.on_change(move || {
            if let Some(shared) = weak.upgrade() {
                shared.follow_project();
            }
        });
        shared
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to share the beat, where that can be done; what the callbacks work with, but for a render's.
    pub(crate) fn activate(self: &Arc<Self>, setup: &Setup) -> Option<Active> {
        let mut link = self.lock();
        link.end();
        link.setup = Some(*setup);
        self.desk.join_current();
        if setup.offline {
            return None;
        }
        let (live, taker) = hand_off(None);
        let (seen, borrower) = observations();
        let (writer, heard) = snapshot(Heard::default());
        (link.ends, link.heard) = (Some(Ends { seen, live }), Some(heard));
        self.begin(&mut link, setup);
        Some(Active::new(setup.sample_rate, taker, borrower, writer))
    }

    pub(crate) fn deactivate(&self) {
        let mut link = self.lock();
        link.end();
        (link.setup, link.ends, link.heard) = (None, None, None);
    }

    /// Lets go of everything: the runtime's threads are joined in here when this was its last user.
    pub(crate) fn shut_down(&self) {
        let last = std::mem::take(&mut *self.lock());
        drop(last);
    }

    fn state_loaded(self: &Arc<Self>) {
        self.desk.join_current();
        self.follow_project();
    }

    /// The beat is that of the project's session: where that is another one, it is changed over.
    fn follow_project(self: &Arc<Self>) {
        let mut link = self.lock();
        let Some(setup) = link.setup.filter(|setup| !setup.offline) else { return };
        let domain = self.params.stored.session().map(|session| session.id);
        if link.clock.as_ref().is_some_and(|clock| clock.domain() == domain) && link.worker.is_some() {
            return self.build_bridges(&mut link);
        }
        link.end();
        self.begin(&mut link, &setup);
    }

    fn begin(self: &Arc<Self>, link: &mut Link, setup: &Setup) {
        link.error = None;
        let stored = &self.params.stored;
        // Also where nothing is to be shared: the status command should say why.
        let handle = match link.session.join(self.reporter()) {
            Ok(handle) => handle,
            Err(error) => {
                link.error = Some(error);
                return;
            }
        };
        if stored.unreadable().is_some() {
            return;
        }
        // From now on the project is one that was used, with its session or without.
        stored.set_bridges(&stored.bridges());
        let clock = handle.clock(stored.session().map(|session| session.id));
        link.clock = Some(clock.clone());
        let Some(ends) = link.ends.take() else { return };
        match Worker::start(ends, clock, self.params.clone(), setup.sample_rate, &self.guard) {
            Ok(worker) => link.worker = Some(worker),
            Err(error) => link.error = Some(error),
        }
        self.build_bridges(link);
    }

    /// As the project wants them.
    fn build_bridges(&self, link: &mut Link) {
        let Some(clock) = &link.clock else { return };
        let (settings, objection) = settings(&self.params.stored.bridges());
        link.objection = objection;
        if link.bridges.is_none() && settings == Settings::default() {
            return;
        }
        link.bridges.get_or_insert_with(|| Bridges::start(clock.clone())).set(settings);
    }

    /// What the window shows now.
    pub fn model(&self) -> Model {
        let link = self.lock();
        let pilot = link.pilot();
        let clock = link.clock_status();
        let bridge_lines = link.bridge_status().into_iter().map(bridge_line).collect();
        Model {
            status: self.status(&link, &clock, &pilot),
            place: pilot.position.map(|position| place(&position)),
            difference: pilot.error,
            bound_ms: clock.bound.map(|bound| bound.as_millis_f64()),
            is_waiting: pilot.waiting.is_some(),
            has_hand: pilot.has_time
                && self.params.role.value() == Role::Follow
                && clock.may_not_lead.is_none(),
            bridges: self.params.stored.bridges(),
            bridge_lines,
            identity: self.identity(&link),
            session: self.desk.model(link.session.started()),
            details: details(&clock, link.heard(), &pilot),
            revision: self.params.stored.revision(),
        }
    }

    /// Does what the user asked for in the window.
    pub fn act(self: &Arc<Self>, action: Action) {
        match action {
            Action::Command(command) => {
                let command = match command {
                    Command::Start { .. } => Command::Start { count_in_bars: self.count_in() },
                    other => other,
                };
                if let Some(worker) = &self.lock().worker {
                    worker.ask(command);
                }
            }
            Action::SetBridges(bridges) => {
                if self.params.stored.set_bridges(&bridges) {
                    self.build_bridges(&mut self.lock());
                }
            }
            Action::Session(act) => self.desk.ask(act),
        }
    }

    fn count_in(&self) -> u8 {
        u8::try_from(self.params.count_in.value()).unwrap_or(0)
    }

    /// The guard around the window's drawing.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    fn identity(&self, link: &Link) -> String {
        link.session.started().map_or_else(String::new, |handle| handle.device().short().to_string())
    }

    fn status(&self, link: &Link, clock: &ClockStatus, pilot: &pilot::Facts) -> Status {
        let trouble = |bridge: BridgeStatus| bridge.trouble.map(|trouble| (bridge.name, trouble));
        let standing = self.desk.status(link.session.started());
        status(&Facts {
            panicked: self.guard.status("audiocloud Clock", "the track passes through, without a metronome"),
            unreadable_schema: self.params.stored.unreadable(),
            active: link.setup.is_some(),
            offline: link.setup.is_some_and(|setup| setup.offline),
            error: link.error.clone(),
            session: standing.filter(|standing| standing.severity > Severity::Good),
            role: self.params.role.value(),
            clock: clock.clone(),
            pilot: pilot.clone(),
            bridge: link.objection.clone().or_else(|| link.bridge_status().into_iter().find_map(trouble)),
        })
    }

    fn reporter(self: &Arc<Self>) -> Report {
        session::report(self, &self.guard, Self::report)
    }

    fn report(&self) -> Value {
        // The runtime asks from its own thread, perhaps while we are telling it something: never wait for it.
        let Ok(link) = self.link.try_lock() else { return json!({ "plugin": "clock", "busy": true }) };
        let (pilot, clock) = (link.pilot(), link.clock_status());
        let said = self.status(&link, &clock, &pilot);
        let heard = link.heard();
        json!({
            "plugin": "clock",
            "severity": said.severity.word(),
            "sentence": said.sentence(),
            "role": if self.params.role.value() == Role::Lead { "lead" } else { "follow" },
            "metronome": self.params.metronome.value(),
            "session": self.params.stored.session().map(|session| session.id.to_string()),
            "state": clock.state.code(),
            "place": pilot.position.map(|position| placed(&position)),
            "difference": pilot.error.map(differing),
            "told": pilot.told,
            "standing": format!("{:?}", pilot.standing),
            "clicks": heard.clicks,
            "leaps": heard.leaps,
            "unseen": heard.unseen,
            "frames": { "position": heard.position, "host_ns": heard.first_frame.get(), "speed": heard.speed },
            "beat": link.clock.as_ref().map(beat),
            "bridges": link.bridge_status().into_iter().map(bridged).collect::<Vec<_>>(),
        })
    }
}

impl Link {
    /// Nothing is shared any more; what the callbacks have stays theirs.
    fn end(&mut self) {
        (self.bridges, self.objection) = (None, None);
        if let Some(ends) = self.worker.take().and_then(Worker::end) {
            self.ends = Some(ends);
        }
        self.clock = None;
    }

    fn pilot(&self) -> pilot::Facts {
        self.worker.as_ref().map(Worker::facts).unwrap_or_default()
    }

    fn clock_status(&self) -> ClockStatus {
        self.clock.as_ref().map(Clock::status).unwrap_or_default()
    }

    fn bridge_status(&self) -> Vec<BridgeStatus> {
        self.bridges.as_ref().map(Bridges::status).unwrap_or_default()
    }

    fn heard(&self) -> Heard {
        self.heard.as_ref().map(snapshot::Reader::read).unwrap_or_default()
    }
}

/// A loan of as many observations as may be under way, all of them lent.
fn observations() -> (Lender<Observation>, Borrower<Observation>) {
    let (mut lender, borrower) = loan(CALLBACKS);
    while lender.lend(Box::default()).is_ok() {}
    (lender, borrower)
}

/// What is wanted, and what of it cannot be: whose, and cause and remedy.
fn settings(wanted: &Wanted) -> (Settings, Option<(&'static str, String)>) {
    let mut objection = None;
    let mut address = |name: &'static str, bridge: &Bridge, default: SocketAddr| match bridge {
        Bridge { is_on: false, .. } => None,
        Bridge { address, .. } if address.is_empty() => Some(default),
        Bridge { address, .. } => {
            let parsed = address.parse().ok();
            if parsed.is_none() {
                objection = Some((name, format!("\"{address}\" is no address; write it as {default}")));
            }
            parsed
        }
    };
    let settings = Settings {
        ardour: address("Ardour", &wanted.ardour, ARDOUR),
        osc: address("OSC", &wanted.osc, REAPER),
        link: wanted.link,
        midi: wanted
            .midi
            .then(|| MidiSettings { timecode: frame_rate(&wanted.time_code), ..MidiSettings::default() }),
    };
    (settings, objection)
}

/// As a project keeps it.
fn frame_rate(id: &str) -> Option<FrameRate> {
    match id {
        "24" => Some(FrameRate::Film24),
        "25" => Some(FrameRate::Film25),
        "29.97df" => Some(FrameRate::Drop2997),
        "30" => Some(FrameRate::Whole30),
        _ => None,
    }
}

fn bridge_line(status: BridgeStatus) -> BridgeLine {
    let BridgeStatus { name, words, trouble, .. } = status;
    BridgeLine { name, words, trouble: trouble.unwrap_or_default() }
}

fn bridged(status: BridgeStatus) -> Value {
    let BridgeStatus { name, words, peers, trouble } = status;
    json!({ "name": name, "words": words, "peers": peers, "trouble": trouble })
}

fn place(position: &Position) -> Place {
    let units = position.in_bar.get() * f64::from(position.meter.unit) / 4.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "less than 256 beats a bar")]
    let beat = (units + 1e-6).floor() as u8;
    Place {
        bar: position.bar.saturating_add(1),
        beat: beat.min(position.meter.beats.saturating_sub(1)).saturating_add(1),
        bpm: position.bpm,
        meter: (position.meter.beats, position.meter.unit),
        is_playing: position.playing,
    }
}

fn placed(position: &Position) -> Value {
    let place = place(position);
    json!({
        "bar": place.bar,
        "beat": place.beat,
        "quarter": position.beat.get(),
        "bpm": place.bpm,
        "meter": [place.meter.0, place.meter.1],
        "playing": place.is_playing,
    })
}

fn differing(difference: Difference) -> Value {
    json!({ "phase_ms": difference.phase_ms, "beats": difference.beats, "bpm": difference.bpm })
}

/// Time and the latest changes of the beat, so that another program can say where the music is.
fn beat(clock: &Clock) -> Value {
    let timeline = clock.timeline();
    let segments = timeline.map.segments();
    let latest = segments.get(segments.len().saturating_sub(REPORTED)..).unwrap_or_default();
    let segments = latest.iter().map(|segment| {
        json!({
            "start_ns": segment.start.get(),
            "quarter": segment.beat.get(),
            "bpm": segment.bpm,
            "ramp": segment.ramp.map(|ramp| json!({ "to_bpm": ramp.to_bpm, "over": ramp.over.get() })),
            "meter": [segment.meter.beats, segment.meter.unit],
            "loop": segment.looped.map(|(from, to)| [from.get(), to.get()]),
            "playing": segment.playing,
        })
    });
    json!({
        "line": timeline.line.map(|line| json!({
            "host_ns": line.host.get(),
            "session_ns": line.session.get(),
            "fraction_ns": line.fraction,
            "rate_ppm": line.rate.get(),
        })),
        "segments": segments.collect::<Vec<_>>(),
        "horizon_ns": clock.horizon().get(),
    })
}

fn details(clock: &ClockStatus, heard: Heard, pilot: &pilot::Facts) -> Vec<Detail> {
    let master = clock.master.as_ref().map_or_else(
        || "none yet".to_owned(),
        |master| {
            let name =
                if master.name.is_empty() { master.device.short().to_string() } else { master.name.clone() };
            if master.is_this_machine { format!("{name} (this computer)") } else { name }
        },
    );
    let bound = clock.bound.map_or_else(|| "--".to_owned(), |bound| span(bound.as_millis_f64()));
    let rate = format!("{:+.2} ppm", clock.rate.get());
    let mut lines = vec![
        Detail::new("Master", master, "Whose clock everybody's time is."),
        Detail::new("State", clock.state.words(), "Where this computer's share of it comes from."),
        Detail::new(
            "Error at most",
            bound,
            "Of the time against the master's; a known asymmetry is taken off.",
        ),
        Detail::new("Clock rate", rate, "By how much the session's clock is faster than this computer's."),
        Detail::new(
            "Steps",
            clock.steps.to_string(),
            "How often the time has jumped: else it is steered gently.",
        ),
        Detail::new(
            "Changes told",
            pilot.told.to_string(),
            "Of tempo, meter, loop, position, start and stop, by this plug-in.",
        ),
        Detail::new("Clicks", heard.clicks.to_string(), "Of the metronome, since the host switched it on."),
        Detail::new(
            "Sound card leaps (this computer)",
            heard.leaps.to_string(),
            "Callbacks were left out: frames have other times from there on.",
        ),
        Detail::new(
            "Callbacks unseen (this computer)",
            heard.unseen.to_string(),
            "The processor was busy: what the host's transport did in them was not taken in.",
        ),
    ];
    lines.extend(clock.peers.iter().map(|peer| {
        let name = if peer.name.is_empty() { peer.device.short().to_string() } else { peer.name.clone() };
        let value = format!("{}, {} there and back", peer.role.code(), span(peer.round_trip.as_millis_f64()));
        Detail::new(name, value, "Another who has this time.")
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::units::Beats;
    use audiocloud_net::clock::beat_map::Meter;

    #[test]
    fn places_are_counted_as_people_do() {
        let at = |bar, in_bar, (beats, unit)| {
            let position = Position {
                beat: Beats::new(0.0),
                bpm: 120.0,
                bar,
                in_bar: Beats::new(in_bar),
                meter: Meter { beats, unit },
                playing: true,
            };
            let place = place(&position);
            (place.bar, place.beat)
        };
        assert_eq!(at(0, 0.0, (4, 4)), (1, 1));
        assert_eq!(at(11, 2.999_999_9, (4, 4)), (12, 4), "but for rounding");
        assert_eq!(at(-1, 3.99, (4, 4)), (0, 4), "the last of a count-in");
        assert_eq!(at(3, 2.6, (6, 8)), (4, 6));
        assert_eq!(at(3, 9.0, (4, 4)), (4, 4));
    }

    #[test]
    fn what_is_no_address_is_said() {
        let osc = Bridge { is_on: true, address: "studio:8000".into() };
        let (none, objection) = settings(&Wanted { osc: osc.clone(), ..Wanted::default() });
        assert_eq!(none, Settings::default());
        assert!(objection.unwrap().1.ends_with("write it as 127.0.0.1:8000"));
        let off = Bridge { is_on: false, ..osc };
        assert_eq!(settings(&Wanted { osc: off, ..Wanted::default() }), (Settings::default(), None));
        let own = Bridge { is_on: true, address: String::new() };
        let wanted = Wanted { osc: own, midi: true, time_code: "29.97df".into(), ..Wanted::default() };
        let (settings, objection) = settings(&wanted);
        assert_eq!((settings.osc, objection), (Some(REAPER), None));
        assert_eq!(settings.midi.and_then(|midi| midi.timecode), Some(FrameRate::Drop2997));
    }
}
