//! Receive beside the callbacks: its subscription, and what the window and the status report know.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use audiocloud_engine::rt::hand_off::{Giver, Taker, hand_off};
use audiocloud_engine::rt::{block_ring, event, host_time, snapshot};
use audiocloud_engine::stream::receiver::{self, Cause, Playout};
use audiocloud_engine::units::{Frames, Nanos};
use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::engine::Control;
use audiocloud_instance::feedback::{Meeting, Player, Watch};
use audiocloud_instance::guard::{Guard, Stage};
use audiocloud_instance::params::DELAY_MAX_MS;
use audiocloud_instance::session::{self, Session};
use audiocloud_instance::state::StreamRef;
use audiocloud_instance::status::{RECENT, Recent, Status};
use audiocloud_instance::time::{EVENTS, Setup};
use audiocloud_net::runtime::{self, Report, StreamEntry, Subscription};
use audiocloud_net::wire::codec::Codec;
use audiocloud_net::wire::id::StreamKey;
use serde_json::json;

use crate::model::{Action, Bound, Choice, Model};
use crate::params::ReceiveParams;
use crate::status::{Facts, Link as LinkFact, Sound, kilohertz, status};

/// What the callbacks of one subscription work with.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) playout: Playout,
    /// `None` when too many Receives of the stream are watched for feedback already.
    pub(crate) player: Option<Player>,
}

/// What the window, the report and the callbacks' owner share. The callbacks themselves never come here.
#[derive(Debug)]
pub struct Shared {
    params: Arc<ReceiveParams>,
    guard: Guard,
    link: Mutex<Link>,
}

#[derive(Debug, Default)]
struct Link {
    /// What the host decided, while the plug-in is active.
    setup: Option<Setup>,
    giver: Option<Giver<Live>>,
    engine: Option<Control>,
    subscription: Option<Subscription>,
    /// What `subscription` plays.
    bound: Option<StreamRef>,
    playout: Option<snapshot::Reader<receiver::Status>>,
    watch: Option<Watch>,
    error: Option<String>,
    gaps: Recent,
    /// Last, so that it goes last: the runtime should hear that the others went.
    session: Session,
}

impl Shared {
    pub(crate) fn new(params: &Arc<ReceiveParams>, guard: &Guard) -> Arc<Self> {
        let (params, guard) = (params.clone(), guard.clone());
        let shared = Arc::new(Self { params, guard, link: Mutex::default() });
        let weak = Arc::downgrade(&shared);
        shared.params.stored.on_load(move || {
            if let Some(shared) = weak.upgrade() {
                shared.guard.run(Stage::State, || shared.rebind());
            }
        });
        shared
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes, where that can be done; the callbacks' end of it.
    pub(crate) fn activate(self: &Arc<Self>, setup: &Setup, engine: Control) -> Taker<Live> {
        let mut link = self.lock();
        (link.setup, link.engine) = (Some(*setup), Some(engine));
        let (giver, taker) = hand_off(self.subscribe(&mut link, setup));
        link.giver = Some(giver);
        taker
    }

    pub(crate) fn deactivate(&self) {
        let mut link = self.lock();
        link.unsubscribe();
        (link.setup, link.giver, link.engine) = (None, None, None);
    }

    /// Lets go of everything: the runtime's threads are joined in here when this was its last user.
    pub(crate) fn shut_down(&self) {
        let last = std::mem::take(&mut *self.lock());
        drop(last);
    }

    /// The stored binding may have changed: follows it.
    fn rebind(self: &Arc<Self>) {
        let mut link = self.lock();
        let Some(setup) = link.setup else { return };
        if link.subscription.is_some() && link.bound == self.params.stored.stream_ref() {
            return;
        }
        let live = self.subscribe(&mut link, &setup);
        // Full means that no callback has run for a long while: the next activation brings everything anew.
        if link.giver.as_mut().is_some_and(|giver| giver.give(live).is_err()) {
            link.unsubscribe();
            link.error = Some(
                "the host stopped calling while the stream changed; switch the plug-in off and on".into(),
            );
        }
    }

    fn subscribe(self: &Arc<Self>, link: &mut Link, setup: &Setup) -> Option<Box<Live>> {
        link.unsubscribe();
        link.error = None;
        // Also where nothing is to be played: the list of streams comes from it, and the status command's answer.
        let handle = link.session.join(self.reporter()).map_err(|error| link.error = Some(error)).ok()?;
        if setup.offline || self.params.stored.unreadable().is_some() {
            return None;
        }
        let stream = self.params.stored.stream_ref()?;
        let (blocks, samples) = setup.ring();
        let (block_producer, block_consumer) = block_ring::block_ring(blocks, samples);
        let (event_producer, event_consumer) = event::event_ring(EVENTS);
        let config = receiver::Config {
            sample_rate: setup.sample_rate,
            channels: setup.channels,
            max_block: setup.block_max,
            playout_delay: setup.delay(self.params.delay.value()),
            playout_delay_max: setup.delay(DELAY_MAX_MS),
        };
        let mut playout = Playout::new(config, block_consumer, event_consumer);
        if let Some(engine) = &mut link.engine {
            playout = playout.with_log(engine.stream_log());
        }
        link.playout = Some(playout.status());
        link.bound = Some(stream);
        let player = Player::new(Meeting::of(stream), setup.sample_rate.hz());
        link.watch = player.as_ref().map(Player::watch);
        let report = self.reporter();
        link.subscription = Some(handle.subscribe(stream.into(), block_producer, event_producer, report));
        Some(Box::new(Live { playout, player }))
    }

    /// What the window shows now.
    pub fn model(&self) -> Model {
        let mut link = self.lock();
        let streams = link.session.started().map_or_else(Vec::new, runtime::Handle::streams);
        let playout = link.playout.as_ref().map(snapshot::Reader::read);
        let channels = link.setup.map_or(0, |setup| usize::from(setup.channels));
        let bound = self.bound(&link);
        Model {
            status: self.status(&mut link, bound.as_ref()),
            choices: choices(&streams, link.setup.as_ref()),
            bound,
            latency_ms: playout.as_ref().and_then(latency_ms).map(|here| here + link.way_ms()),
            delay_ms: playout
                .map_or(f64::from(self.params.delay.value()), |playout| link.frames_ms(playout.delay_frames)),
            peaks: playout
                .map_or_else(Vec::new, |playout| playout.peaks.iter().copied().take(channels).collect()),
            missing_frames: playout.map_or(0, |playout| playout.missing_frames),
            late_blocks: playout.map_or(0, |playout| playout.late_blocks),
            identity: link
                .session
                .started()
                .map_or_else(String::new, |handle| handle.device().short().to_string()),
            details: playout
                .iter()
                .flat_map(details)
                .chain(link.engine.iter().flat_map(Control::details))
                .collect(),
            revision: self.params.stored.revision(),
        }
    }

    /// Does what the user asked for in the window.
    pub fn act(self: &Arc<Self>, action: Action) {
        let binding = match &action {
            Action::Bind { stream, name } => Some((*stream, name.as_str())),
            Action::Unbind => None,
        };
        if self.params.stored.set_binding(binding) {
            self.rebind();
        }
    }

    /// The guard around the window's drawing.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The stream in the project by its present names, as far as they are known.
    fn bound(&self, link: &Link) -> Option<Bound> {
        let stream = self.params.stored.stream_ref()?;
        let key = StreamKey::from(stream);
        let known = link.subscription.as_ref().map(Subscription::status);
        let (stream_name, publisher_name) =
            known.map_or_else(Default::default, |known| (known.stream_name, known.publisher_name));
        let first = |names: [String; 3]| names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        let name = first([stream_name, self.params.stored.name(), key.stream.to_string()]);
        let publisher = first([publisher_name, format!("device {}", key.publisher.short()), String::new()]);
        Some(Bound { stream, name, publisher })
    }

    fn status(&self, link: &mut Link, bound: Option<&Bound>) -> Status {
        let playout = link.playout.as_ref().map(snapshot::Reader::read);
        status(&Facts {
            panicked: self.guard.status("audiocloud Receive", "it is silent"),
            unreadable_schema: self.params.stored.unreadable(),
            active: link.setup.is_some(),
            offline: link.setup.is_some_and(|setup| setup.offline),
            error: link.error.clone(),
            stream: bound.map(|bound| (bound.name.clone(), bound.publisher.clone())),
            link: link.subscription.as_ref().map_or(LinkFact::Searching, |it| fact(it.status().link)),
            sound: playout.as_ref().map_or(Sound::Waiting, sound),
            looped: link.watch.as_ref().is_some_and(Watch::is_looped),
            ours_hz: link.setup.map_or(0, |setup| setup.sample_rate.hz()),
            gaps: playout.map_or(0, |playout| link.gaps.look(playout.missing_frames, Instant::now())),
            silent_s: playout
                .map_or(0, |playout| (host_time::now() - playout.last_block_at).get() / 1_000_000_000),
            cause: playout.as_ref().and_then(recent_cause),
            engine: link.engine.as_mut().and_then(Control::look),
            burst_ms: link.frames_ms(playout.map_or(0, |playout| playout.burst_frames)),
            delay_ms: f64::from(self.params.delay.value()),
        })
    }

    fn reporter(self: &Arc<Self>) -> Report {
        session::report(self, &self.guard, Self::report)
    }

    fn report(&self) -> serde_json::Value {
        // The runtime asks from its own thread, perhaps while we are telling it something: never wait for it.
        let Ok(mut link) = self.link.try_lock() else { return json!({ "plugin": "receive", "busy": true }) };
        let bound = self.bound(&link);
        let said = self.status(&mut link, bound.as_ref());
        let playout = link.playout.as_ref().map(snapshot::Reader::read);
        let mut report = json!({
            "plugin": "receive",
            "stream": self.params.stored.stream_ref().map(|stream| stream.to_string()),
            "severity": said.severity.word(),
            "sentence": said.sentence(),
            "delay_ms": self.params.delay.value(),
            "engine": link.engine.as_ref().map(Control::report),
        });
        if let (Some(playout), Some(fields)) = (playout, report.as_object_mut())
            && let serde_json::Value::Object(figures) = figures(&playout)
        {
            fields.extend(figures);
        }
        report
    }
}

impl Link {
    /// Frames at the host's rate as milliseconds.
    fn frames_ms(&self, frames: i64) -> f64 {
        let span = self.setup.map(|setup| Frames::new(frames).to_nanos_floor(setup.sample_rate));
        span.map_or(0.0, Nanos::as_millis_f64)
    }

    /// Half of the round trip to the publisher, ms: the playout measures from a packet's arrival.
    fn way_ms(&self) -> f64 {
        let round_trip_us = self.subscription.as_ref().map_or(0, |subscription| subscription.status().path.rtt_us);
        f64::from(u32::try_from(round_trip_us).unwrap_or(0)) / 2_000.0
    }

    fn unsubscribe(&mut self) {
        (self.subscription, self.bound) = (None, None);
        (self.playout, self.watch) = (None, None);
        self.gaps = Recent::default();
    }
}

/// The playout's figures by name, as the status report shows them.
fn figures(playout: &receiver::Status) -> serde_json::Value {
    json!({
        "state": state_word(playout.state),
        "played": playout.played.get(),
        "played_frames": playout.played_frames,
        "latency_ns": playout.latency.last.get(),
        "latency_median_ns": playout.latency.median.get(),
        "latency_p99_ns": playout.latency.p99.get(),
        "latency_max_ns": playout.latency.max.get(),
        "level_frames": playout.level_frames,
        "margin_frames": playout.margin_frames,
        "delay_frames": playout.delay_frames,
        "burst_frames": playout.burst_frames,
        "blocks": playout.blocks,
        "missing_frames": playout.missing_frames,
        "unsent_frames": playout.unsent_frames,
        "starved_frames": playout.starved_frames,
        "faded_frames": playout.faded_frames,
        "late_blocks": playout.late_blocks,
        "late_frames": playout.late_frames,
        "duplicate_blocks": playout.duplicate_blocks,
        "stale_blocks": playout.stale_blocks,
        "malformed_blocks": playout.malformed_blocks,
        "mismatched_blocks": playout.mismatched_blocks,
        "epochs": playout.epochs,
        "resyncs": playout.resyncs,
        "slips": playout.slips,
        "slipped_frames": playout.slipped_frames,
        "last_cause": playout.last_cause.map(|cause| format!("{cause:?}")),
        "events_played": playout.events_played,
        "events_lost": playout.events_lost,
        "events_late": playout.events_late,
        "events_dropped": playout.events_dropped,
        "notes_released": playout.notes_released,
    })
}

fn state_word(state: receiver::State) -> &'static str {
    match state {
        receiver::State::Empty => "Empty",
        receiver::State::Waiting => "Waiting",
        receiver::State::Playing => "Playing",
        receiver::State::Starved => "Starved",
        receiver::State::RateMismatch { .. } => "RateMismatch",
    }
}

/// What stands behind Details, each with its owner.
fn details(playout: &receiver::Status) -> [Detail; 9] {
    let line =
        |name: &'static str, value: u64, meaning: &'static str| Detail::new(name, value.to_string(), meaning);
    [
        line("Frames played (exact)", playout.played_frames, "As they were sent, bit for bit."),
        line(
            "Frames missing (network)",
            playout.missing_frames,
            "Due and not there, though later ones came.",
        ),
        line(
            "Frames not sent (sender)",
            playout.unsent_frames,
            "The sender paused, or its computer was too busy.",
        ),
        line(
            "Blocks late (network)",
            playout.late_blocks,
            "Came after they were due: the playout delay is short.",
        ),
        line("Positions set anew", playout.resyncs, "Audible moves of the read position."),
        line("Slips (clocks)", playout.slips, "Cross-faded moves, as the two computers' clocks differ."),
        line("Events played", playout.events_played, "Notes and expressions."),
        line(
            "Events lost or late",
            playout.events_lost + playout.events_late,
            "Missed by their numbers, or too late.",
        ),
        line("Notes let go", playout.notes_released, "Ended here because the stream failed them."),
    ]
}

/// Why the playout moved, within the last while.
fn recent_cause(playout: &receiver::Status) -> Option<Cause> {
    let age = host_time::now() - playout.last_cause_at;
    playout.last_cause.filter(|_| age < Nanos::from(RECENT))
}

fn sound(playout: &receiver::Status) -> Sound {
    match playout.state {
        receiver::State::Empty | receiver::State::Waiting => Sound::Waiting,
        receiver::State::Playing => Sound::Playing,
        receiver::State::Starved => Sound::Starved,
        receiver::State::RateMismatch { theirs } => Sound::RateMismatch { theirs_hz: theirs.hz() },
    }
}

fn fact(link: runtime::Link) -> LinkFact {
    match link {
        runtime::Link::Connecting => LinkFact::Connecting,
        runtime::Link::Refused { reason } => LinkFact::Refused { reason },
        runtime::Link::Unplayable { reason } => LinkFact::Unplayable { reason },
        runtime::Link::NotPublished => LinkFact::NotPublished,
        runtime::Link::Live => LinkFact::Live,
        runtime::Link::Lost { since, cause } => {
            let seconds = (host_time::now() - since).get() / 1_000_000_000;
            LinkFact::Lost { cause: loss(cause), seconds }
        }
        _ => LinkFact::Searching,
    }
}

/// Why a connection ended, in words.
fn loss(cause: runtime::LossCause) -> &'static str {
    match cause {
        runtime::LossCause::PeerClosed => "its host or plug-in was closed",
        runtime::LossCause::Timeout => "nothing came for two seconds: it crashed, or the network is gone",
        runtime::LossCause::Unpublished => "it is no longer published",
        _ => "the connection broke",
    }
}

/// How long frames take on this computer, while something is playing.
fn latency_ms(playout: &receiver::Status) -> Option<f64> {
    let playing = playout.state == receiver::State::Playing && playout.latency.blocks > 0;
    playing.then(|| playout.latency.last.as_millis_f64())
}

fn choices(streams: &[StreamEntry], setup: Option<&Setup>) -> Vec<Choice> {
    let mut choices: Vec<Choice> = streams.iter().map(|entry| choice(entry, setup)).collect();
    choices.sort_by(|a, b| (&a.name, &a.publisher, a.stream).cmp(&(&b.name, &b.publisher, b.stream)));
    choices
}

fn choice(entry: &StreamEntry, setup: Option<&Setup>) -> Choice {
    let plural = if entry.channels == 1 { "" } else { "s" };
    let codec = match entry.codec {
        Some(Codec::PcmF32) => "32-bit float",
        Some(Codec::PcmS24) => "24-bit",
        Some(Codec::PcmS16) => "16-bit",
        Some(Codec::Opus) => "Opus",
        None => "unknown coding",
    };
    let format =
        format!("{}, {} channel{plural}, {codec}", kilohertz(entry.sample_rate.hz()), entry.channels);
    let objection = match setup {
        Some(setup) if setup.sample_rate != entry.sample_rate => {
            format!("this project runs at {}", kilohertz(setup.sample_rate.hz()))
        }
        _ if entry.codec.is_none() => "it needs a newer audiocloud here".to_owned(),
        _ => String::new(),
    };
    Choice {
        stream: entry.key.into(),
        name: entry.name.clone(),
        publisher: entry.publisher_name.clone(),
        format,
        objection,
    }
}
