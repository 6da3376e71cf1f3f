//! Send beside the callbacks: its publication, and what the window and the status report know.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audiocloud_engine::rt::hand_off::{Giver, Taker, hand_off};
use audiocloud_engine::rt::{block_ring, event, snapshot};
use audiocloud_engine::stream::sender::{self, Tap};
use audiocloud_engine::units::{MediaTime, SessionLine};
use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::engine::Control;
use audiocloud_instance::feedback::{Listener, Meeting};
use audiocloud_instance::guard::{Guard, Stage};
use audiocloud_instance::session::{self, Session};
use audiocloud_instance::sessions::desk::Desk;
use audiocloud_instance::state::StreamRef;
use audiocloud_instance::status::{Recent, Severity, Status};
use audiocloud_instance::time::{self, EVENTS, Epochs, Setup};
use audiocloud_net::runtime::clock::Clock;
use audiocloud_net::runtime::{
    Claim, ClaimError, Handle, ListenerStatus, Publication, PublishConfig, Report,
};
use audiocloud_net::wire::codec::Codec;
use audiocloud_net::wire::id::{SessionId, StreamId};
use audiocloud_net::wire::message::Purpose;
use serde_json::json;

use crate::listeners::{self, Trouble, Watch};
use crate::model::{Action, Model};
use crate::params::SendParams;
use crate::quality::Highest;
use crate::status::{Facts, status};

/// A name for a stream that nobody named.
const UNNAMED: &str = "Untitled";
/// Callbacks further apart than this mean that the host is not processing.
const PROCESSING: Duration = Duration::from_millis(500);

/// What the callbacks of one publication work with.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) tap: Tap,
    pub(crate) listener: Listener,
    /// The time that blocks are stamped with: that of the stream's session.
    pub(crate) line: snapshot::Reader<Option<SessionLine>>,
}

/// What the window, the report and the callbacks' owner share. The callbacks themselves never come here.
#[derive(Debug)]
pub struct Shared {
    params: Arc<SendParams>,
    guard: Guard,
    link: Mutex<Link>,
    desk: Desk,
}

#[derive(Debug, Default)]
struct Link {
    /// What the host decided, while the plug-in is active.
    setup: Option<Setup>,
    giver: Option<Giver<Live>>,
    engine: Option<Control>,
    tap: Option<snapshot::Reader<sender::Status>>,
    publication: Option<Publication>,
    /// As what it is published.
    terms: Option<Terms>,
    /// Where Receives of this stream in this process would be found.
    meeting: Option<Arc<Meeting>>,
    /// Of the stream's session; kept, for without a user it stands still.
    clock: Option<Clock>,
    /// The stream's id while it is not published, so that nobody takes it over a bounce or a pause.
    claim: Option<Claim>,
    error: Option<String>,
    fresh_identity: bool,
    progress: Progress,
    watch: Watch,
    /// Last, so that it goes last: the runtime should hear that the others went.
    session: Session,
}

/// What of a publication cannot be changed while it lasts, as the project says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    /// The best that is offered.
    highest: Highest,
    session: Option<SessionId>,
    purpose: Purpose,
}

/// What can be told only by looking twice.
#[derive(Debug, Default)]
struct Progress {
    position: Option<(MediaTime, Instant)>,
    lost: Recent,
}

impl Progress {
    /// Whether frames have been processed lately, and whether blocks have been lost lately.
    fn look(&mut self, tap: &sender::Status, now: Instant) -> (bool, bool) {
        let moved = match self.position {
            Some((before, at)) if before == tap.position => now.duration_since(at) < PROCESSING,
            _ => {
                self.position = Some((tap.position, now));
                true
            }
        };
        (moved, self.lost.look(tap.blocks_dropped + tap.events_dropped, now) > 0)
    }
}

impl Shared {
    pub(crate) fn new(params: &Arc<SendParams>, guard: &Guard) -> Arc<Self> {
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

    /// Publishes, where that can be done; the callbacks' end of it.
    pub(crate) fn activate(self: &Arc<Self>, setup: &Setup, engine: Control) -> Taker<Live> {
        let mut link = self.lock();
        (link.setup, link.engine) = (Some(*setup), Some(engine));
        link.unpublish();
        self.desk.join_current();
        let (giver, taker) = hand_off(self.publish(&mut link, setup));
        link.giver = Some(giver);
        taker
    }

    pub(crate) fn deactivate(&self) {
        let mut link = self.lock();
        link.unpublish();
        (link.setup, link.giver, link.engine) = (None, None, None);
    }

    /// Lets go of everything: the runtime's threads are joined in here when this was its last user.
    pub(crate) fn shut_down(&self) {
        let last = std::mem::take(&mut *self.lock());
        drop(last);
    }

    /// The host loaded another state: another id, name or session.
    fn state_loaded(self: &Arc<Self>) {
        self.desk.join_current();
        self.follow_project();
    }

    /// The publication is as the project says: where it is another, it begins anew.
    fn follow_project(self: &Arc<Self>) {
        let mut link = self.lock();
        let Some(setup) = link.setup else { return };
        let published = link.publication.as_ref().map(|publication| publication.stream().get());
        let same = published == self.params.stored.stream() && link.terms == Some(self.terms());
        if published.is_some() && same {
            let name = self.name();
            link.publication.iter().for_each(|publication| publication.rename(&name));
            return;
        }
        self.republish(&mut link, &setup);
    }

    /// The stream ends and begins again while the callbacks run.
    fn republish(self: &Arc<Self>, link: &mut Link, setup: &Setup) {
        link.unpublish();
        let live = self.publish(link, setup);
        link.give(live);
    }

    fn publish(self: &Arc<Self>, link: &mut Link, setup: &Setup) -> Option<Box<Live>> {
        link.error = None;
        // Also where nothing is to be published: the status command should say why.
        let handle = link.session.join(self.reporter()).map_err(|error| link.error = Some(error)).ok()?;
        if setup.offline || self.params.stored.unreadable().is_some() {
            return None;
        }
        let claim = link.claim.take();
        let claim = match self.claim(&handle, claim, &mut link.fresh_identity) {
            Ok(claim) => claim,
            Err(error) => {
                tracing::error!(%error, "the stream's identity cannot be claimed");
                link.error = Some(error.to_string());
                return None;
            }
        };
        let (blocks, samples) = setup.ring();
        let (block_producer, block_consumer) = block_ring::block_ring(blocks, samples);
        let (event_producer, event_consumer) = event::event_ring(EVENTS);
        let config = sender::Config { sample_rate: setup.sample_rate, channels: setup.channels };
        let epoch = Epochs::new().draw();
        let mut tap = Tap::new(config, block_producer, event_producer, handle.waker(), epoch);
        if let Some(engine) = &mut link.engine {
            tap = tap.with_log(engine.stream_log());
        }
        link.tap = Some(tap.status());
        let terms = self.terms();
        let clock = handle.clock(terms.session);
        let line = clock.line();
        link.clock = Some(clock);
        let highest = terms.highest;
        let best = highest.at(setup.sample_rate.hz()).quality();
        let config = PublishConfig {
            name: self.name(),
            sample_rate: setup.sample_rate,
            channels: setup.channels,
            codec: best.codec.unwrap_or(Codec::PcmF32),
            codecs: highest.offered(setup.sample_rate.hz()),
            bitrate_max_bps: best.bitrate_bps,
            max_block: setup.block_max,
            session: terms.session,
            purpose: terms.purpose,
        };
        link.terms = Some(terms);
        let stream = StreamRef { publisher: handle.device().0, stream: claim.stream().0 };
        let meeting = Meeting::of(stream);
        link.meeting = Some(meeting.clone());
        let listener = Listener::new(meeting, setup.sample_rate.hz(), setup.block_max);
        let report = self.reporter();
        link.publication = Some(handle.publish(claim, config, block_consumer, event_consumer, report));
        Some(Box::new(Live { tap, listener, line }))
    }

    /// The stored id, kept or claimed anew; a fresh one where there is none or another Send has it.
    fn claim(&self, handle: &Handle, kept: Option<Claim>, fresh: &mut bool) -> Result<Claim, ClaimError> {
        let stored = &self.params.stored;
        if let Some(stream) = stored.stream().map(StreamId) {
            if let Some(claim) = kept.filter(|claim| claim.stream() == stream) {
                return Ok(claim);
            }
            match handle.claim(stream) {
                Err(ClaimError::Taken) => *fresh = true,
                result => {
                    *fresh = false;
                    return result;
                }
            }
        }
        let stream = StreamId(u64::from_le_bytes(time::random()));
        let claim = handle.claim(stream)?;
        stored.set_stream(stream.0);
        Ok(claim)
    }

    fn terms(&self) -> Terms {
        let stored = &self.params.stored;
        let purpose = if stored.is_talk_back() { Purpose::TalkBack } else { Purpose::Play };
        Terms { highest: self.highest(), session: stored.session().map(|session| session.id), purpose }
    }

    /// What the project says.
    fn highest(&self) -> Highest {
        self.params.stored.codec().map_or(Highest::default(), |id| Highest::from_id(&id))
    }

    fn name(&self) -> String {
        let name = self.params.stored.name();
        if name.trim().is_empty() { UNNAMED.to_owned() } else { name }
    }

    /// What the window shows now.
    pub fn model(&self) -> Model {
        let mut link = self.lock();
        let tap = link.tap.as_ref().map(snapshot::Reader::read);
        let channels = link.setup.map_or(0, |setup| usize::from(setup.channels));
        Model {
            name: self.name(),
            status: self.status(&mut link),
            subscribers: link.subscribers(),
            format: link.setup.map_or_else(String::new, |setup| format(&setup, self.highest())),
            highest: self.highest(),
            listeners: listeners::details(&link.listeners()),
            peaks: tap.map_or_else(Vec::new, |tap| tap.peaks.iter().copied().take(channels).collect()),
            ahead_ms: tap.map_or(0.0, |tap| tap.ahead_ms()),
            session: self.desk.model(link.session.started()),
            is_talk_back: self.params.stored.is_talk_back(),
            identity: self.identity(&link),
            details: tap
                .iter()
                .flat_map(details)
                .chain(link.engine.iter().flat_map(Control::details))
                .collect(),
            revision: self.params.stored.revision(),
        }
    }

    /// Does what the user asked for in the window.
    pub fn act(self: &Arc<Self>, action: Action) {
        match action {
            Action::SetName(name) => {
                if self.params.stored.set_name(name.trim()) {
                    let name = self.name();
                    self.lock().publication.iter().for_each(|publication| publication.rename(&name));
                }
            }
            Action::SetHighest(highest) => {
                if self.params.stored.set_codec(highest.id()) {
                    self.follow_project();
                }
            }
            Action::SetTalkBack(is_on) => {
                if self.params.stored.set_talk_back(is_on) {
                    self.follow_project();
                }
            }
            Action::Session(act) => self.desk.ask(act),
        }
    }

    /// The guard around the window's drawing.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    fn identity(&self, link: &Link) -> String {
        let device =
            link.session.started().map_or_else(String::new, |handle| handle.device().short().to_string());
        let stream = self.params.stored.stream().map_or_else(String::new, |stream| format!("{stream:016x}"));
        format!("{device} {stream}").trim().to_owned()
    }

    fn status(&self, link: &mut Link) -> Status {
        let tap = link.tap.as_ref().map(snapshot::Reader::read);
        let (processing, overrun) =
            tap.map_or((false, false), |tap| link.progress.look(&tap, Instant::now()));
        status(&Facts {
            panicked: self.guard.status("audiocloud Send", "audio passes through, nothing is published"),
            unreadable_schema: self.params.stored.unreadable(),
            active: link.setup.is_some(),
            offline: link.setup.is_some_and(|setup| setup.offline),
            error: link.error.clone(),
            looped: link.meeting.as_ref().is_some_and(|meeting| meeting.is_looped()),
            fresh_identity: link.fresh_identity,
            transmit: self.params.transmit.value(),
            processing,
            ahead_ms: tap.map_or(0.0, |tap| tap.ahead_ms()),
            block_ms: link.setup.map_or(0.0, |setup| block_ms(&setup)),
            overrun,
            engine: link.engine.as_mut().and_then(Control::look),
            session: self.session_trouble(link),
            is_talk_back: self.params.stored.is_talk_back(),
            subscribers: link.subscribers(),
            trouble: link.trouble(),
        })
    }

    /// Why members of the project's session do not hear the stream, where that is known.
    fn session_trouble(&self, link: &Link) -> Option<Status> {
        let standing = self.desk.status(link.session.started())?;
        if standing.severity > Severity::Good {
            return Some(standing);
        }
        let trouble = link.publication.as_ref()?.status().trouble?;
        let said = Status::from_error(&trouble, "The session's members do not hear this stream");
        Some(Status { severity: Severity::Warning, ..said })
    }

    fn reporter(self: &Arc<Self>) -> Report {
        session::report(self, &self.guard, Self::report)
    }

    fn report(&self) -> serde_json::Value {
        // The runtime asks from its own thread, perhaps while we are telling it something: never wait for it.
        let Ok(mut link) = self.link.try_lock() else { return json!({ "plugin": "send", "busy": true }) };
        let said = self.status(&mut link);
        let tap = link.tap.as_ref().map(snapshot::Reader::read);
        let mut report = json!({
            "plugin": "send",
            "name": self.name(),
            "stream": self.params.stored.stream().map(|stream| format!("{stream:016x}")),
            "severity": said.severity.word(),
            "sentence": said.sentence(),
            "transmit": self.params.transmit.value(),
            "session": self.params.stored.session().map(|session| session.id.to_string()),
            "stamped": link.clock.as_ref().is_some_and(|clock| clock.line().read().is_some()),
            "talk_back": self.params.stored.is_talk_back(),
            "engine": link.engine.as_ref().map(Control::report),
        });
        if let (Some(tap), Some(fields)) = (tap, report.as_object_mut()) {
            fields.insert("position".to_owned(), tap.position.get().into());
            fields.insert("blocks".to_owned(), tap.blocks.into());
            fields.insert("frames".to_owned(), tap.frames.into());
            fields.insert("blocks_dropped".to_owned(), tap.blocks_dropped.into());
            fields.insert("frames_dropped".to_owned(), tap.frames_dropped.into());
            fields.insert("events".to_owned(), tap.events.into());
            fields.insert("events_dropped".to_owned(), tap.events_dropped.into());
            fields.insert("ahead_ms".to_owned(), tap.ahead_ms().into());
        }
        report
    }
}

impl Link {
    /// Off the air; the claim stays ours.
    fn unpublish(&mut self) {
        if let Some(publication) = self.publication.take() {
            self.claim = Some(publication.into_claim());
        }
        (self.tap, self.meeting, self.clock) = (None, None, None);
        self.progress = Progress::default();
    }

    fn give(&mut self, live: Option<Box<Live>>) {
        // Full means that no callback has run for a long while: the next activation brings everything anew.
        if self.giver.as_mut().is_some_and(|giver| giver.give(live).is_err()) {
            self.unpublish();
            self.error = Some(
                "the host stopped calling while the stream changed; switch the plug-in off and on".into(),
            );
        }
    }

    fn subscribers(&self) -> usize {
        self.publication.as_ref().map_or(0, |publication| publication.status().subscribers)
    }

    fn listeners(&self) -> Vec<ListenerStatus> {
        self.publication.as_ref().map_or_else(Vec::new, |publication| publication.status().listeners)
    }

    fn trouble(&mut self) -> Option<Trouble> {
        let listeners = self.listeners();
        self.watch.look(&listeners, Instant::now())
    }
}

fn details(tap: &sender::Status) -> [Detail; 4] {
    [
        Detail::new(
            "Frames sent",
            tap.frames.to_string(),
            "Handed to the network side since the stream began.",
        ),
        Detail::new("Events sent", tap.events.to_string(), "Notes and expressions, handed over likewise."),
        Detail::new(
            "Blocks lost (this computer)",
            tap.blocks_dropped.to_string(),
            "The network side did not take them in time: the processor was busy.",
        ),
        Detail::new(
            "Events lost (this computer)",
            tap.events_dropped.to_string(),
            "As blocks lost; receivers let go of sounding notes.",
        ),
    ]
}

fn format(setup: &Setup, highest: Highest) -> String {
    let rate = f64::from(setup.sample_rate.hz()) / 1_000.0;
    let plural = if setup.channels == 1 { "" } else { "s" };
    let samples = highest.at(setup.sample_rate.hz()).words();
    format!("{rate} kHz, {} channel{plural}, {samples}", setup.channels)
}

fn block_ms(setup: &Setup) -> f64 {
    f64::from(setup.block_max) * 1_000.0 / f64::from(setup.sample_rate.hz())
}
