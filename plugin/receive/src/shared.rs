//! Receive beside the callbacks: who is played, and what the window and the status report know.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audiocloud_engine::rt::{block_ring, event, snapshot};
use audiocloud_engine::stream::receiver::{self, Playout};
use audiocloud_engine::units::Nanos;
use audiocloud_instance::engine::Control;
use audiocloud_instance::feedback::{Meeting, Player};
use audiocloud_instance::guard::{Guard, Stage};
use audiocloud_instance::session::{self, Session};
use audiocloud_instance::sessions::desk::Desk;
use audiocloud_instance::state::{Fader, FaderKey, OUTPUTS, PersonRef, Selection, StreamRef};
use audiocloud_instance::status::Recent;
use audiocloud_instance::time::{EVENTS, Setup};
use audiocloud_net::runtime::{Handle, Report, SubscribeConfig};
use serde_json::json;

use crate::figures;
use crate::follower::Follower;
use crate::latency::{self, Offer};
use crate::member::{Member, Reading};
use crate::missing::Missing;
use crate::mixer::{self, Mixer, STRIPS, Slots};
use crate::model::{Action, Model};
use crate::overview;
use crate::params::{Outputs, ReceiveParams};
use crate::planner::{self, Planner};
use crate::rewiring::Rewiring;
use crate::roster::{self, Scope, Track, Wanted};
use crate::settings;
use crate::status::{self, Host, Played};
use crate::strip::{Dial, Strip, gains};
use crate::timing::{Kind, Timing};

/// A stream of a person or of the session that is gone for so long is no longer waited for.
const ABSENCE: Duration = Duration::from_secs(5);
/// Streams that one look adds at most: others wait meanwhile, for a tenth of a second.
const ADDED_AT_ONCE: usize = 8;

/// What the window, the report and the callbacks' owner share. The callbacks themselves never come here, but for one
/// figure.
#[derive(Debug)]
pub struct Shared {
    params: Arc<ReceiveParams>,
    guard: Guard,
    /// Whether the host has outputs for streams by themselves.
    has_outputs: bool,
    link: Mutex<Link>,
    desk: Desk,
    latency_frames: AtomicU32,
}

#[derive(Debug, Default)]
struct Link {
    follower: Option<Follower>,
    /// What the host decided, while the plug-in is active.
    setup: Option<Setup>,
    slots: Option<Slots>,
    engine: Option<Control>,
    members: Vec<Member>,
    /// Slots that are nobody's any more, and the callbacks do not know yet.
    stale: Vec<usize>,
    /// Streams in reach that there is no room for.
    left_out: usize,
    missing: Missing,
    /// Since when the picked stream has been out of reach.
    lost_at: Option<Instant>,
    rewiring: Rewiring,
    offer: Offer,
    error: Option<String>,
    /// Last, so that it goes last: the runtime should hear that the others went.
    session: Session,
}

impl Shared {
    pub(crate) fn new(params: &Arc<ReceiveParams>, guard: &Guard, has_outputs: bool) -> Arc<Self> {
        let (params, guard) = (params.clone(), guard.clone());
        let (link, desk) = (Mutex::default(), Desk::new(params.stored.clone(), &guard));
        let latency_frames = 0.into();
        let shared = Arc::new(Self { params, guard, has_outputs, link, desk, latency_frames });
        let weak = Arc::downgrade(&shared);
        shared.params.stored.on_load(move || {
            if let Some(shared) = weak.upgrade() {
                shared.guard.run(Stage::State, || shared.state_loaded());
            }
        });
        let weak = Arc::downgrade(&shared);
        shared.desk.on_change(move || {
            if let Some(shared) = weak.upgrade() {
                shared.follow_anew();
            }
        });
        shared
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to what is to be played, and follows it; the callbacks' end of it.
    pub(crate) fn activate(self: &Arc<Self>, setup: &Setup, engine: Control) -> Mixer {
        let (slots, mixer) = mixer::mixer(setup);
        let mut link = self.lock();
        (link.setup, link.slots, link.engine) = (Some(*setup), Some(slots), Some(engine));
        link.error = None;
        self.resume(&mut link);
        self.follow(&mut link);
        let weak = Arc::downgrade(self);
        link.follower = Follower::start(move || {
            let Some(shared) = weak.upgrade() else { return false };
            shared.guard.run(Stage::Report, || shared.follow(&mut shared.lock()));
            true
        });
        mixer
    }

    pub(crate) fn deactivate(&self) {
        let mut link = self.lock();
        let follower = link.follower.take();
        (link.members, link.stale) = (Vec::new(), Vec::new());
        (link.setup, link.slots, link.engine) = (None, None, None);
        (link.missing, link.rewiring, link.lost_at) = (Missing::default(), Rewiring::default(), None);
        drop(link);
        // It may be waiting for the lock.
        drop(follower);
    }

    /// Lets go of everything: the runtime's threads are joined in here when this was its last user.
    pub(crate) fn shut_down(&self) {
        let last = std::mem::take(&mut *self.lock());
        drop(last);
    }

    /// What the host is to make up for. *Realtime-safe: yes.*
    pub(crate) fn latency_frames(&self) -> u32 {
        self.latency_frames.load(Ordering::Relaxed)
    }

    /// The host loaded another state.
    fn state_loaded(self: &Arc<Self>) {
        self.resume(&mut self.lock());
        self.follow_anew();
    }

    /// A new project joins the current session; one that was saved has the latency that it had.
    fn resume(&self, link: &mut Link) {
        let Some(setup) = link.setup else { return };
        self.desk.join_current();
        if let Some(latency_us) = self.params.stored.latency_us() {
            link.offer.resume(latency::frames(latency_us, setup.sample_rate));
        }
    }

    /// The stored state may have changed: follows it.
    fn follow_anew(self: &Arc<Self>) {
        let mut link = self.lock();
        link.error = None;
        self.follow(&mut link);
    }

    /// Has the callbacks play what is to be played now, as faders and parameters say.
    fn follow(self: &Arc<Self>, link: &mut Link) {
        let Some(setup) = link.setup else { return };
        if link.error.is_some() {
            return;
        }
        // Also where nothing is to be played: the list of streams comes from it, and the status command's answer.
        let handle = match link.session.join(self.reporter()) {
            Ok(handle) => handle,
            Err(error) => return link.error = Some(error),
        };
        let (tracks, stored) = (roster::in_reach(&handle), &*self.params.stored);
        let played: Vec<StreamRef> = link.members.iter().map(|member| member.stream).collect();
        link.rewiring.look(&handle, stored, &tracks, &played);
        self.find_again(link, &tracks);
        link.missing.look(&handle, stored.selection(), stored.session().as_ref(), &tracks);
        let wanted = self.wanted(link, &setup, &tracks);
        self.dismiss(link, &tracks, &wanted);
        let missing =
            wanted.iter().filter(|wanted| !link.members.iter().any(|it| it.stream == wanted.stream));
        let missing: Vec<&Wanted> = missing.take(ADDED_AT_ONCE).collect();
        for wanted in missing {
            self.add(link, &setup, &handle, wanted);
        }
        link.sweep();
        self.steer(link, &setup);
    }

    /// Keeps in mind whose stream is picked, and finds it when they publish it from another of their devices.
    fn find_again(&self, link: &mut Link, tracks: &[Track]) {
        let stored = &self.params.stored;
        let Selection::Stream(stream) = stored.selection() else { return link.lost_at = None };
        if let Some(track) = tracks.iter().find(|track| track.stream == stream) {
            link.lost_at = None;
            stored.set_member(Some(track.person));
            return;
        }
        let lost_at = *link.lost_at.get_or_insert_with(Instant::now);
        let member = stored.member().filter(|_| lost_at.elapsed() >= ABSENCE);
        if let Some(found) = member.and_then(|member| roster::moved(tracks, stream, member)) {
            tracing::info!(%stream, %found, "the stream comes from another device of its person now");
            stored.follow_stream(found);
        }
    }

    fn wanted(&self, link: &mut Link, setup: &Setup, tracks: &[Track]) -> Vec<Wanted> {
        let stored = &self.params.stored;
        let selection = stored.selection();
        if setup.offline || stored.unreadable().is_some() {
            return Vec::new();
        }
        let is_chosen = |stream| stored.fader(FaderKey::Stream(stream)).is_chosen;
        let scope = Scope { selection, session: stored.session().map(|session| session.id) };
        let (wanted, left_out) = roster::wanted(scope, tracks, STRIPS, is_chosen);
        link.left_out = left_out;
        match (selection, wanted.is_empty()) {
            (Selection::Stream(stream), true) => vec![Wanted {
                stream,
                person: stored.member().unwrap_or(PersonRef(stream.publisher)),
                is_local: false,
                channels: setup.channels,
                sample_rate: None,
                domain: stored.session().map(|session| session.id),
            }],
            _ => wanted.into_iter().map(Wanted::from).collect(),
        }
    }

    /// Parts from those that are not to be played any more. Who is out of reach may come back for a while.
    fn dismiss(&self, link: &mut Link, tracks: &[Track], wanted: &[Wanted]) {
        let (selection, now) = (self.params.stored.selection(), Instant::now());
        let (mut stale, mut gone, kind) = (Vec::new(), Vec::new(), Kind::of(&self.params));
        link.members.retain_mut(|member| {
            let is_wanted = wanted.iter().any(|wanted| wanted.stream == member.stream);
            let is_in_reach = tracks.iter().any(|track| track.stream == member.stream);
            let may_return = match selection {
                Selection::Person(person) => member.person == person || member.stream.publisher == person.0,
                Selection::Session => true,
                Selection::Nothing | Selection::Stream(_) => false,
            };
            if is_wanted {
                member.seen = now;
            }
            let stays =
                is_wanted || (!is_in_reach && may_return && now.duration_since(member.seen) < ABSENCE);
            if !stays && !is_in_reach && may_return {
                gone.push(member.as_missing());
            }
            // Who is out of reach will be back with the same time.
            let track = tracks.iter().find(|track| track.stream == member.stream);
            let domain = track.map_or(member.timing.domain(), |track| track.entry.session);
            let stays = stays && !member.needs_another_rate() && member.timing.is(kind, domain);
            if !stays {
                stale.push(member.slot);
            }
            stays
        });
        link.stale.append(&mut stale);
        gone.into_iter().for_each(|gone| link.missing.note(gone));
    }

    fn add(self: &Arc<Self>, link: &mut Link, setup: &Setup, handle: &Handle, wanted: &Wanted) {
        let taken = |slot: &usize| link.members.iter().any(|member| member.slot == *slot);
        let Some(slot) = (0..STRIPS).find(|slot| !taken(slot)) else { return };
        let widest = setup.channels.max(wanted.channels);
        let (blocks, samples) = Setup { channels: widest, ..*setup }.ring();
        let (block_producer, block_consumer) = block_ring::block_ring(blocks, samples);
        let (event_producer, event_consumer) = event::event_ring(EVENTS);
        let settings = settings::playout(&self.params, setup, None, None);
        let (timing, told) = Timing::new(handle, Kind::of(&self.params), wanted.domain);
        let config = receiver::Config {
            sample_rate: setup.sample_rate,
            stream_rate: wanted.sample_rate,
            channels: setup.channels,
            max_block: setup.block_max,
            settings,
            delay_max: timing.kind().delay_max(setup),
        };
        let mut playout = Playout::new(config, block_consumer, event_consumer);
        if let Some(engine) = &mut link.engine {
            playout = playout.with_log(engine.stream_log());
        }
        // A loop needs a Send of the stream in this process.
        let may_loop = wanted.is_local || wanted.sample_rate.is_none() || self.is_picked(wanted.stream);
        let player =
            may_loop.then(|| Player::new(Meeting::of(wanted.stream), setup.sample_rate.hz())).flatten();
        let asked = settings::quality(self.params.quality.value());
        let subscribe =
            SubscribeConfig { key: wanted.stream.into(), quality: asked, due: Some(playout.due()) };
        let report = self.report_of(wanted.stream);
        let (plan, plan_reader) = snapshot::snapshot(None);
        let (track, person) = self.faders(wanted.stream, wanted.person);
        let output = self.output(link, wanted.stream, track);
        let dial = Arc::new(Dial::new(gains(track, person), output));
        let member = Member {
            stream: wanted.stream,
            person: wanted.person,
            called: link.missing.called(wanted.person).unwrap_or_default().to_owned(),
            slot,
            subscription: handle.subscribe(subscribe, block_producer, event_producer, report),
            playout: playout.status(),
            watch: player.as_ref().map(Player::watch),
            dial: dial.clone(),
            output,
            stream_rate: wanted.sample_rate,
            asked,
            planner: Planner::default(),
            plan,
            timing,
            gaps: Recent::default(),
            seen: Instant::now(),
        };
        let strip = Box::new(Strip::new(playout, settings, player, plan_reader, told, dial));
        // Full means that no callback has run for a long while: the next look tries again.
        if link.slots.as_mut().is_some_and(|slots| slots.give(slot, Some(strip))) {
            link.stale.retain(|stale| *stale != slot);
            link.members.push(member);
        }
    }

    fn is_picked(&self, stream: StreamRef) -> bool {
        self.params.stored.selection() == Selection::Stream(stream)
    }

    /// A stream's fader and the one above it. A stream that was picked by itself has none above it.
    fn faders(&self, stream: StreamRef, person: PersonRef) -> (Fader, Fader) {
        let stored = &self.params.stored;
        let track = stored.fader(FaderKey::Stream(stream));
        let above =
            if self.is_picked(stream) { Fader::default() } else { stored.fader(FaderKey::Person(person)) };
        (track, above)
    }

    /// The output of a stream's own, where streams are to have some: the one in the project, or the first that is free,
    /// which the project keeps from then on.
    fn output(&self, link: &Link, stream: StreamRef, track: Fader) -> Option<u8> {
        let others = || link.members.iter().filter(|member| member.stream != stream);
        let separate = self.has_outputs && self.params.outputs.value() == Outputs::Separate;
        if !separate || track.output.is_some() {
            return track.output.filter(|_| separate);
        }
        let free = (1..=OUTPUTS).find(|output| others().all(|member| member.output != Some(*output)));
        if free.is_some() {
            self.params.stored.set_output(FaderKey::Stream(stream), free);
        }
        free
    }

    /// Faders, plans and qualities as they are now.
    fn steer(&self, link: &mut Link, setup: &Setup) {
        let (now, budget_ms) = (Instant::now(), self.params.budget.value());
        let asked = settings::quality(self.params.quality.value());
        let mut longest: Option<Nanos> = None;
        let mut is_complete = link.missing.names().is_empty();
        for index in 0..link.members.len() {
            let (stream, person) = (link.members[index].stream, link.members[index].person);
            let (track, above) = self.faders(stream, person);
            let output = self.output(link, stream, track);
            let member = &mut link.members[index];
            member.output = output;
            member.dial.turn(gains(track, above), output);
            let reading = member.read();
            let latency = reading.latency_median();
            is_complete &= latency.is_some();
            longest = longest.max(latency);
            let plan = member.planner.look(budget_ms, setup, &reading, now);
            let (quality, hold) =
                plan.map_or((asked, None), |plan| (plan.quality, Some(planner::hold(plan))));
            member.plan.write(hold);
            member.ask(quality);
            member.timing.look(self.params.interval.value().bars(), reading.playout.needs);
        }
        let measured = longest
            .and_then(|longest| u32::try_from(longest.to_frames_nearest(setup.sample_rate).get()).ok());
        let (slack, is_wanted) = (setup.sample_rate.hz() / 1_000, self.params.report_latency.value());
        let told = link.offer.look(is_wanted, measured, is_complete, slack, now);
        self.latency_frames.store(told, Ordering::Relaxed);
        self.params.stored.set_latency_us((told > 0).then(|| latency::micros(told, setup.sample_rate)));
    }

    /// What the window shows now.
    pub fn model(&self) -> Model {
        let mut link = self.lock();
        let stored = &self.params.stored;
        let tracks = link.session.started().map_or_else(Vec::new, roster::in_reach);
        let readings: Vec<Reading> = link.members.iter().map(Member::read).collect();
        let (host, played) = (self.host(&mut link), self.played());
        let said = self.said(&mut link, &readings);
        let longest = link.members.iter().zip(&readings).max_by_key(|(_, reading)| reading.latency());
        let longest = longest.filter(|(_, reading)| reading.latency().is_some());
        let waterfall = longest.zip(link.setup.as_ref()).map(|((member, reading), setup)| {
            reading
                .waterfall(setup, member.asked)
                .parts()
                .map(|(name, part)| (name, part.as_millis_f64()))
                .into()
        });
        let peaks = link.slots.as_ref().map(Slots::peaks);
        let channels = link.setup.map_or(0, |setup| usize::from(setup.channels));
        let buffer = readings.iter().zip(link.setup.iter().cycle());
        let buffer =
            buffer.map(|(reading, setup)| reading.stream_ms(reading.playout.delay_frames, setup.sample_rate));
        Model {
            selection: stored.selection(),
            people: overview::people(
                stored,
                &tracks,
                &link.members,
                &readings,
                &said,
                &link.missing,
                link.setup.as_ref(),
            ),
            status: status::all(&host, &played, &said, link.left_out, &link.missing.names()),
            latency_ms: longest.and_then(|(_, reading)| reading.latency()).map(Nanos::as_millis_f64),
            waterfall: waterfall.unwrap_or_default(),
            plan: overview::plan(&link.members),
            identity: link
                .session
                .started()
                .map_or_else(String::new, |handle| handle.device().short().to_string()),
            peaks: peaks.map_or_else(Vec::new, |peaks| peaks.into_iter().take(channels).collect()),
            details: figures::details(&readings, buffer.max_by(f64::total_cmp))
                .into_iter()
                .chain(link.engine.iter().flat_map(Control::details))
                .chain(link.rewiring.detail())
                .collect(),
            session: self.desk.model(link.session.started()),
            input_name: stored.input_name(),
            is_open: stored.is_open(),
            has_outputs: self.has_outputs,
            revision: stored.revision(),
        }
    }

    /// Does what the user asked for in the window.
    pub fn act(self: &Arc<Self>, action: Action) {
        let done = match action {
            Action::Select(selection, name) => self.params.stored.select(selection, &name),
            Action::Fade(key, fader) => self.params.stored.set_fader(key, fader),
            Action::SetInputName(name) => self.params.stored.set_input_name(&name),
            Action::SetOpen(is_open) => self.params.stored.set_open(is_open),
            Action::Session(act) => return self.desk.ask(act),
        };
        if done {
            self.follow_anew();
        }
    }

    /// The guard around the window's drawing.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    fn host(&self, link: &mut Link) -> Host {
        Host {
            panicked: self.guard.status("audiocloud Receive", "it is silent"),
            unreadable_schema: self.params.stored.unreadable(),
            active: link.setup.is_some(),
            offline: link.setup.is_some_and(|setup| setup.offline),
            error: link.error.clone(),
            engine: link.engine.as_mut().and_then(Control::look),
            session: self.desk.status(link.session.started()),
        }
    }

    /// What the picked stream was called when it was picked.
    fn kept_name(&self) -> String {
        match self.params.stored.selection() {
            Selection::Stream(_) => self.params.stored.name(),
            _ => String::new(),
        }
    }

    fn played(&self) -> Played {
        match self.params.stored.selection() {
            Selection::Nothing => Played::Nothing,
            Selection::Stream(_) => Played::Stream,
            Selection::Person(_) => Played::Person(self.params.stored.name()),
            Selection::Session => Played::Session,
        }
    }

    /// What is to be said of each member.
    fn said(&self, link: &mut Link, readings: &[Reading]) -> Vec<audiocloud_instance::status::Status> {
        let (setup, kept) = (link.setup, self.kept_name());
        let pairs = link.members.iter_mut().zip(readings);
        pairs.map(|(member, reading)| status::stream(&member.facts(reading, setup, &kept))).collect()
    }

    fn reporter(self: &Arc<Self>) -> Report {
        session::report(self, &self.guard, Self::report)
    }

    /// What the instance says of itself.
    fn report(&self) -> serde_json::Value {
        // The runtime asks from its own thread, perhaps while we are telling it something: never wait for it.
        let Ok(mut link) = self.link.try_lock() else { return json!({ "plugin": "receive", "busy": true }) };
        let readings: Vec<Reading> = link.members.iter().map(Member::read).collect();
        let host = self.host(&mut link);
        let said = self.said(&mut link, &readings);
        let said = status::all(&host, &self.played(), &said, link.left_out, &link.missing.names());
        let stream =
            if let Selection::Stream(stream) = self.params.stored.selection() { Some(stream) } else { None };
        json!({
            "plugin": "receive",
            "plays": overview::word(self.params.stored.selection()),
            "stream": stream.map(|stream| stream.to_string()),
            "streams": link.members.len(),
            "session": self.params.stored.session().map(|session| session.id.to_string()),
            "missing": link.missing.names(),
            "open": self.params.stored.is_open(),
            "severity": said.severity.word(),
            "sentence": said.sentence(),
            "reported_latency_frames": self.latency_frames(),
            "engine": link.engine.as_ref().map(Control::report),
        })
    }

    /// What is said of one stream, as long as there is an instance.
    fn report_of(self: &Arc<Self>, stream: StreamRef) -> Report {
        let (weak, guard) = (Arc::downgrade(self), self.guard.clone());
        Box::new(move || {
            let shared = weak.upgrade();
            let report = shared.and_then(|shared| guard.run(Stage::Report, || shared.report_stream(stream)));
            report.unwrap_or_default()
        })
    }

    fn report_stream(&self, stream: StreamRef) -> serde_json::Value {
        let Ok(mut link) = self.link.try_lock() else { return json!({ "plugin": "receive", "busy": true }) };
        let (host, setup, kept) = (self.host(&mut link), link.setup, self.kept_name());
        let Some(member) = link.members.iter_mut().find(|member| member.stream == stream) else {
            return json!({ "plugin": "receive" });
        };
        let reading = member.read();
        let said = status::at_rest(&host, &self.played())
            .unwrap_or_else(|| status::stream(&member.facts(&reading, setup, &kept)));
        let mut report = json!({
            "plugin": "receive",
            "stream": stream.to_string(),
            "severity": said.severity.word(),
            "sentence": said.sentence(),
            "quality": settings::words(member.asked),
            "plan": member.planner.plan().map(|plan| plan.verdict.to_string()),
            "output": member.output,
            "concealed_ms": setup.map(|setup| {
                let concealed = i64::try_from(reading.playout.concealed_frames).unwrap_or(i64::MAX);
                reading.stream_ms(concealed, setup.sample_rate)
            }),
        });
        if let (Some(fields), serde_json::Value::Object(figures)) =
            (report.as_object_mut(), figures::json(&reading.playout))
        {
            fields.extend(figures);
        }
        report
    }
}

impl Link {
    /// Has the callbacks leave slots that are nobody's, and frees what they left before.
    fn sweep(&mut self) {
        let Some(slots) = &mut self.slots else { return };
        slots.free_returned();
        self.stale.retain(|slot| !slots.give(*slot, None));
    }
}
