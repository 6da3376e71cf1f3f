//! Remote FX beside the callbacks: edits, the way to a node, and what the window and the status report know.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audiocloud_engine::chain::document::Chain;
use audiocloud_engine::chain::edit::Edit;
use audiocloud_engine::chain::rack::RackSetup;
use audiocloud_engine::rt::block_ring::Epoch;
use audiocloud_engine::rt::hand_off::hand_off;
use audiocloud_engine::rt::{chain_event, snapshot};
use audiocloud_engine::stream::insert::{self, Insert, Source};
use audiocloud_instance::guard::{Guard, Stage};
use audiocloud_instance::session;
use audiocloud_instance::sessions::desk::Desk;
use audiocloud_instance::time::Setup;
use audiocloud_net::runtime::Report;
use audiocloud_net::runtime::remote::{RemoteState, Transfer};
use serde_json::json;

use crate::automation::Automation;
use crate::delay::Wishes;
use crate::link::{EDITS, Link, Running, Terms, connect, local_rack};
use crate::model::{Action, Model};
use crate::params::{RemoteFxParams, Render};
use crate::part::Active;
use crate::patience::Patience;
use crate::player::Player;
use crate::project::Project;
use crate::status;

/// A name for a chain that nobody named.
const UNNAMED: &str = "Remote FX";
/// A node that is there is found sooner, over a relay too: a render does not wait for longer where none was.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

/// What the callbacks tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) status: insert::Status,
    /// A wait of an exact render took too long.
    pub(crate) gave_up: bool,
}

/// What the window, the report and the callbacks' owner share. The callbacks themselves never come here.
#[derive(Debug)]
pub struct Shared {
    pub(crate) params: Arc<RemoteFxParams>,
    guard: Guard,
    link: Mutex<Link>,
    pub(crate) desk: Desk,
}

impl Shared {
    pub(crate) fn new(params: &Arc<RemoteFxParams>, guard: &Guard) -> Arc<Self> {
        let (params, guard) = (params.clone(), guard.clone());
        let (link, desk) = (Mutex::default(), Desk::new(params.stored.clone(), &guard));
        let shared = Arc::new(Self { params, guard, link, desk });
        let weak = Arc::downgrade(&shared);
        shared.params.stored.on_load(move || {
            if let Some(shared) = weak.upgrade() {
                shared.guard.run(Stage::State, || shared.state_loaded());
            }
        });
        shared
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guard around the window's drawing.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    pub(crate) fn name(&self) -> String {
        let name = self.params.stored.name();
        if name.trim().is_empty() { UNNAMED.to_owned() } else { name }
    }

    /// Everything that the callbacks need, and a node where one can be had.
    pub(crate) fn activate(self: &Arc<Self>, setup: &Setup, side_chain: u16, epoch: Epoch) -> Option<Active> {
        self.deactivate();
        self.desk.join_current();
        let mut link = self.lock();
        let project = {
            let mut project = self.params.board.lock();
            project.follow_host(|slot| self.params.position(slot));
            project.clone()
        };
        let wishes = self.wishes(setup);
        let delay = wishes.delay_again(self.params.stored.delay());
        self.params.stored.set_delay(&wishes.kept(delay.frames));
        let rack_setup = RackSetup {
            sample_rate: setup.sample_rate,
            inputs: setup.channels,
            side_chain,
            outputs: setup.channels,
        };
        let document = project.document(delay.head_room_frames);
        let (control, audio, chain_error) = match local_rack(&document, &rack_setup) {
            Ok(made) => made,
            Err(error) => {
                link.chain_error = Some(error);
                return None;
            }
        };
        link.chain_error = chain_error.or_else(|| link.chain_error.take());
        let (ends, ends_taker) = hand_off(None);
        let (slots, slots_taker) = hand_off(None);
        let (edits, edits_out) = chain_event::chain_event_ring(EDITS);
        let config = insert::Config {
            sample_rate: setup.sample_rate,
            inputs: setup.channels,
            side_chain,
            outputs: setup.channels,
            delay_frames: delay.frames,
            block_frames_max: setup.block_max,
        };
        let insert = Insert::new(config, ends_taker, epoch);
        let (heard, reader) = snapshot::snapshot(Heard { status: insert.status().read(), gave_up: false });
        let patience = Arc::<Patience>::default();
        let (setup, block_frames_max) = (*setup, usize::try_from(setup.block_max).unwrap_or(1));
        let (known_slots, way) = (None, None);
        let mut running = Running {
            setup,
            side_chain,
            wishes,
            delay,
            rack: control,
            ends,
            slots,
            known_slots,
            edits,
            heard: reader,
            patience: patience.clone(),
            way,
        };
        self.give_slots(&mut running);
        link.running = Some(running);
        self.follow_way(&mut link);
        link.worker = match crate::worker::Worker::start(Arc::downgrade(self), &self.guard) {
            Ok(worker) => Some(worker),
            Err(error) => {
                patience.set_hopeless(true);
                link.error = Some(error);
                None
            }
        };
        let player = Player::new(audio, setup.channels, block_frames_max, delay.head_room_frames);
        Some(Active {
            insert,
            player,
            automation: Automation::new(slots_taker, edits_out, setup.sample_rate.hz()),
            patience,
            heard,
            offline: setup.offline,
            block_frames_max,
            exact_from: 0,
            gave_up: false,
            is_playing: false,
        })
    }

    pub(crate) fn deactivate(&self) {
        // Outside of the lock: its last look may wait for that.
        let worker = self.lock().worker.take();
        drop(worker);
        let running = self.lock().running.take();
        drop(running);
    }

    /// Lets go of everything: the runtime's threads are joined in here when this was its last user.
    pub(crate) fn shut_down(&self) {
        self.deactivate();
        let last = std::mem::take(&mut *self.lock());
        drop(last);
    }

    /// The host loaded another state.
    fn state_loaded(self: &Arc<Self>) {
        self.desk.join_current();
        let mut link = self.lock();
        let loaded = self
            .params
            .stored
            .chain()
            .map_or_else(|| Ok(Project::default()), |kept| Project::from_kept(&kept));
        match loaded {
            Ok(project) => {
                link.chain_error = None;
                self.params.board.load(project);
            }
            Err(error) => link.chain_error = Some(error),
        }
        let Some(running) = &mut link.running else { return };
        // While the callbacks run: what is new is played as any edit is, and what stays is told its values.
        let project = self.params.board.lock().clone();
        if let Err(error) = running.rack.set_chain(&project.document(running.delay.head_room_frames)) {
            link.chain_error = Some(error.to_string());
            return;
        }
        running.tell(&crate::project::values(&project.chain, &Default::default()));
        self.give_slots(running);
        self.send_document(running);
    }

    fn wishes(&self, setup: &Setup) -> Wishes {
        Wishes {
            sample_rate: setup.sample_rate,
            block_frames_max: setup.block_max,
            network_ms: self.params.network.value(),
            head_room_ms: self.params.head_room.value(),
        }
    }

    fn terms(&self, setup: &Setup) -> Terms {
        let exact = setup.offline || self.params.render.value() == Render::Exact;
        Terms {
            session: self.params.stored.session().map(|session| session.id),
            transfer: if exact { Transfer::Exact } else { Transfer::Live },
        }
    }

    /// The way to a node is as the project says: where it is another, it begins anew, while the callbacks run.
    fn follow_way(self: &Arc<Self>, link: &mut Link) {
        let Some(running) = &mut link.running else { return };
        let terms = self.terms(&running.setup);
        if running.way.as_ref().is_some_and(|way| way.terms == terms) {
            return;
        }
        // Also where nothing is to be reached: the status command should say why.
        let handle = match link.session.join(self.reporter()) {
            Ok(handle) => handle,
            Err(error) => {
                running.patience.set_hopeless(true);
                link.error = Some(error);
                return;
            }
        };
        link.error = None;
        let (node, document) = {
            let project = self.params.board.lock();
            (project.node, project.document(running.delay.head_room_frames).to_json())
        };
        running.way = None;
        running.patience.set(None);
        let (way, ends) = connect(&handle, running, terms, self.name(), node, document);
        if running.ends.give(Some(ends)).is_ok() {
            running.patience.set((terms.transfer == Transfer::Exact).then(|| way.remote.arrived()));
            running.way = Some(way);
        }
    }

    fn give_slots(&self, running: &mut Running) {
        running.slots.free_returned();
        let Some((number, table)) = self.params.board.table(running.known_slots) else { return };
        // Full: no callback has run for a while. The next look tries again.
        if running.slots.give(Some(Box::new(table))).is_ok() {
            running.known_slots = Some(number);
        }
    }

    fn send_document(&self, running: &Running) {
        let Some(way) = &running.way else { return };
        let document = self.params.board.lock().document(running.delay.head_room_frames).to_json();
        if let Err(error) = way.remote.set_document(document) {
            tracing::warn!(%error, "the chain cannot be sent");
        }
    }

    /// One look of the worker.
    pub(crate) fn look(self: &Arc<Self>) {
        let proposals = {
            let mut link = self.lock();
            self.follow_way(&mut link);
            let Link { running: Some(running), progress, refused, .. } = &mut *link else { return };
            running.ends.free_returned();
            running.rack.collect();
            self.follow_slots(running, progress);
            self.give_slots(running);
            if progress.is_status_due(Instant::now()) {
                self.take_status(running, refused);
            }
            running.way.as_ref().map(|way| way.remote.proposals()).unwrap_or_default()
        };
        for proposal in proposals {
            match Edit::from_json(&proposal.edit).and_then(|edit| self.edit(&edit)) {
                Ok(()) => tracing::info!(from = %proposal.from, "an edit of the chain was taken"),
                Err(error) => {
                    tracing::warn!(from = %proposal.from, %error, "an edit of the chain was refused")
                }
            }
        }
    }

    /// Slots that the host moved: the callbacks have told the chain; the document follows a few times a second.
    fn follow_slots(&self, running: &Running, progress: &mut status::Progress) {
        let (is_moved, kept) = {
            let mut project = self.params.board.lock();
            progress.is_moved |= project.follow_host(|slot| self.params.position(slot));
            let is_due = progress.is_moved && progress.is_due(Instant::now());
            (is_due, is_due.then(|| project.to_kept()))
        };
        if let (true, Some(kept)) = (is_moved, kept) {
            progress.is_moved = false;
            self.params.stored.follow_chain(&kept);
            self.send_document(running);
        }
    }

    /// What the node tells: whether it is worth waiting for, and states of plug-ins of others, which belong to the project.
    fn take_status(&self, running: &mut Running, refused: &mut Option<String>) {
        let Some(way) = &mut running.way else { return };
        let remote = way.remote.status();
        let is_searching = remote.state == RemoteState::Searching;
        let since = is_searching.then(|| way.searching_since.unwrap_or_else(Instant::now));
        way.searching_since = since;
        let is_nobody_there = since.is_some_and(|since| since.elapsed() >= FOUND_WITHIN);
        running.patience.set_hopeless(is_nobody_there || remote.state == RemoteState::Refused);
        let told = way.remote.states();
        let states: Vec<_> = told.iter().flat_map(|states| status::states(states)).collect();
        if states.is_empty() {
            return;
        }
        let mut project = self.params.board.lock();
        for (id, state) in states {
            if let Err(error) = project.chain.apply(&Edit::SetState(id, Some(state))) {
                tracing::warn!(effect = id, %error, "a plug-in's state is not kept");
                *refused =
                    Some(format!("what a plug-in changed by itself is not kept in the project: {error}"));
            }
        }
        self.params.stored.set_chain(&project.to_kept());
        drop(project);
        // The next node is to have them too.
        self.send_document(running);
    }

    /// Changes the chain, everywhere.
    ///
    /// # Errors
    /// In words; then everything is as it was.
    pub(crate) fn edit(&self, edit: &Edit) -> Result<(), audiocloud_engine::chain::error::ChainError> {
        let mut link = self.lock();
        let mut project = self.params.board.lock();
        let before = project.clone();
        let changes = project.edit(edit, |slot| self.params.position(slot))?;
        if let Some(running) = &mut link.running {
            let is_structure = !matches!(edit, Edit::Set { .. } | Edit::Bypass(..));
            if is_structure
                && let Err(error) = running.rack.set_chain(&project.document(running.delay.head_room_frames))
            {
                *project = before;
                return Err(error);
            }
            if !running.tell(&changes.events) {
                tracing::debug!("the host does not call: the chain hears of the edit when it is activated");
            }
        }
        self.params.stored.set_chain(&project.to_kept());
        drop(project);
        if let Some(running) = &mut link.running {
            self.give_slots(running);
            self.send_document(running);
        }
        Ok(())
    }

    /// Changes what the slots move, or where the chain is to run.
    fn change(&self, change: impl FnOnce(&mut Project) -> Result<(), String>) {
        let mut link = self.lock();
        let mut project = self.params.board.lock();
        link.refused = change(&mut project).err();
        self.params.stored.set_chain(&project.to_kept());
        let node = project.node;
        drop(project);
        if let Some(running) = &mut link.running {
            self.give_slots(running);
            running.way.iter().for_each(|way| way.remote.set_node(node));
        }
    }

    /// Does what the user asked for in the window.
    pub fn act(self: &Arc<Self>, action: Action) {
        match action {
            Action::Edit(edit) => {
                let refused = self.edit(&edit).err().map(|error| error.to_string());
                self.lock().refused = refused;
            }
            Action::Automate(effect, parameter, on) => self.change(|project| {
                let automated = project.automate((effect, parameter), on, |slot| self.params.position(slot));
                automated.map_err(|error| error.to_string())
            }),
            Action::Put(slot, position) => {
                self.params.board.lock().put(slot, position);
            }
            Action::Node(node) => self.change(|project| {
                project.node = node;
                Ok(())
            }),
            Action::SetName(name) => {
                if self.params.stored.set_name(name.trim()) {
                    let (name, link) = (self.name(), self.lock());
                    let way = link.running.as_ref().and_then(|running| running.way.as_ref());
                    way.iter().for_each(|way| way.remote.rename(&name));
                }
            }
            Action::Session(act) => self.desk.ask(act),
        }
    }

    /// What the window shows now.
    pub fn model(&self) -> Model {
        let mut link = self.lock();
        let project = self.params.board.lock().clone();
        let said = status::status(&self.facts(&mut link, &project.chain));
        let heard = link.running.as_ref().map(|running| running.heard.read().status);
        let channels = link.running.as_ref().map_or(0, |running| usize::from(running.setup.channels));
        let peaks = |peaks: Option<[f32; 8]>| {
            peaks.map_or_else(Vec::new, |peaks| peaks.iter().copied().take(channels).collect())
        };
        let remote = link.running.as_ref().and_then(|running| Some(running.way.as_ref()?.remote.status()));
        let nodes = link.session.started().map(|handle| handle.nodes()).unwrap_or_default();
        Model {
            name: self.name(),
            status: said,
            words: status::words(remote.as_ref(), &project.chain, self.runs_here()),
            plug_ins: status::plug_ins(&nodes),
            nodes: nodes.iter().map(status::node_line).collect(),
            node: project.node,
            source: heard.map_or(Source::Far, |heard| heard.source),
            delay_ms: link.running.as_ref().map(|running| running.ms(running.delay.frames)),
            round_ms: remote.as_ref().and_then(status::round_ms),
            is_pending: link
                .running
                .as_ref()
                .is_some_and(|running| self.wishes(&running.setup) != running.wishes),
            peaks_in: peaks(heard.map(|heard| heard.peaks_in)),
            peaks_out: peaks(heard.map(|heard| heard.peaks_out)),
            refused: link.refused.clone(),
            session: self.desk.model(link.session.started()),
            identity: remote.as_ref().map_or_else(String::new, |remote| remote.chain.to_string()),
            details: status::details(heard.as_ref(), remote.as_ref()),
            out_of_step: project.out_of_step(),
            slots: project.slots,
            chain: project.chain,
            revision: self.params.stored.revision(),
        }
    }

    fn runs_here(&self) -> bool {
        self.params.here.value()
    }

    fn facts(&self, link: &mut Link, chain: &Chain) -> status::Facts {
        let heard = link.running.as_ref().map(|running| running.heard.read());
        let (is_processing, is_late) =
            heard.map_or((false, false), |heard| link.progress.look(&heard.status, Instant::now()));
        let remote = link.running.as_ref().and_then(|running| Some(running.way.as_ref()?.remote.status()));
        status::Facts {
            panicked: self.guard.status("audiocloud Remote FX", "audio passes through unprocessed"),
            unreadable_schema: self.params.stored.unreadable(),
            is_active: link.running.is_some(),
            error: link.error.clone(),
            chain_error: link.chain_error.clone(),
            is_empty: chain.items.is_empty(),
            has_foreign: chain.effects().iter().any(|slot| slot.effect_kind().is_none()),
            here: self.runs_here(),
            is_exact: link
                .running
                .as_ref()
                .is_some_and(|running| self.terms(&running.setup).transfer == Transfer::Exact),
            gave_up: heard.is_some_and(|heard| heard.gave_up),
            is_processing,
            is_late,
            source: heard.map_or(Source::Far, |heard| heard.status.source),
            late: self.params.late.value(),
            remote,
        }
    }

    fn reporter(self: &Arc<Self>) -> Report {
        session::report(self, &self.guard, Self::report)
    }

    fn report(&self) -> serde_json::Value {
        // The runtime asks from its own thread, perhaps while we are telling it something: never wait for it.
        let Ok(mut link) = self.link.try_lock() else {
            return json!({ "plugin": "remote-fx", "busy": true });
        };
        let chain = self.params.board.lock().chain.clone();
        let said = status::status(&self.facts(&mut link, &chain));
        status::report(&link, &said, &self.name(), &chain, self.params.stored.revision())
    }
}
