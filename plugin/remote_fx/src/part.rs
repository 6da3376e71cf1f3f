//! Remote FX in the callbacks: what comes in leaves for the node, and what was heard *D* frames ago comes out processed.

use std::sync::Arc;

use audiocloud_engine::rt::callback::Callback;
use audiocloud_engine::rt::chain_event::ChainBody;
use audiocloud_engine::rt::snapshot::Writer;
use audiocloud_engine::stream::insert::{Insert, Late, Source, Wanted};
use audiocloud_instance::editor::window;
use audiocloud_instance::guard::Guard;
use audiocloud_instance::guarded::{Notes, Part};
use audiocloud_instance::time::{Epochs, Setup};
use audiocloud_instance::transport::Transport;
use audiocloud_instance::{events, layouts};
use nice_plug::prelude::*;

use crate::automation::Automation;
use crate::editor::RemoteFxEditor;
use crate::params::{LateBlock, RemoteFxParams, Render};
use crate::patience::{Patience, Wait};
use crate::player::Player;
use crate::shared::{Heard, Shared};

/// The most channels of a bus.
const CHANNELS: usize = 2;

/// The part of Remote FX that is its own; see [`crate::RemoteFx`]. With or without an input that effects listen to.
#[derive(Debug)]
pub struct RemoteFxPart<const SIDE_CHAIN: bool = true> {
    params: Arc<RemoteFxParams>,
    shared: Arc<Shared>,
    /// What was sized at activation; `None` while inactive.
    active: Option<Active>,
    epochs: Epochs,
    /// Whether the present epoch has had a block.
    begun: bool,
}

/// The callbacks' own.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) insert: Insert,
    pub(crate) player: Player,
    pub(crate) automation: Automation,
    pub(crate) patience: Arc<Patience>,
    pub(crate) heard: Writer<Heard>,
    /// The host says that nobody listens.
    pub(crate) offline: bool,
    pub(crate) block_frames_max: usize,
    /// The frame from which on the way to the node has had everything.
    pub(crate) exact_from: u64,
    /// A wait took too long: none until answers come again by themselves.
    pub(crate) gave_up: bool,
    /// Whether the host's transport ran in the last block.
    pub(crate) is_playing: bool,
}

/// What the parameters ask for.
#[derive(Clone, Copy, Debug)]
struct Orders {
    wanted: Wanted,
    /// The callback may wait.
    exact: bool,
}

impl Orders {
    fn of(params: &RemoteFxParams, offline: bool) -> Self {
        let late = match params.late.value() {
            LateBlock::Hold => Late::Hold,
            LateBlock::Dry => Late::Dry,
            LateBlock::Local => Late::Local,
        };
        let exact = offline || params.render.value() == Render::Exact;
        Self { wanted: Wanted { here: params.here.value(), late }, exact }
    }

    /// Whether the callback may wait for the node.
    fn may_wait(self) -> bool {
        self.exact && !self.wanted.here
    }

    /// Whether the chain is to run in this process, if only in case.
    fn runs_here(self) -> bool {
        self.wanted.here || self.wanted.late == Late::Local
    }
}

/// One channel's frames, or none.
type Rows<'a> = [&'a [f32]; CHANNELS];

fn rows<'a>(buffer: &'a Buffer<'_>, from: usize, frames: usize) -> (Rows<'a>, usize) {
    let channels = buffer.as_slice_immutable();
    let mut rows: Rows<'a> = [&[]; CHANNELS];
    for (row, channel) in rows.iter_mut().zip(channels) {
        *row = channel.get(from..from + frames).unwrap_or_default();
    }
    (rows, channels.len().min(CHANNELS))
}

impl Active {
    /// Whether an exact render begins with this block: the host's transport starts. What the chain heard until then, and for
    /// how long, differs from one time to the next, and two renders of the same are to be the same.
    fn is_render_begun(&mut self, params: &RemoteFxParams, transport: &Transport) -> bool {
        let was_playing = std::mem::replace(&mut self.is_playing, transport.is_playing);
        transport.is_playing && !was_playing && Orders::of(params, self.offline).exact
    }

    fn process(
        &mut self,
        callback: &Callback<'_>,
        params: &RemoteFxParams,
        main: &mut Buffer<'_>,
        aux: &AuxiliaryBuffers<'_>,
        notes: &mut impl Notes,
    ) {
        let orders = Orders::of(params, self.offline);
        let mut is_new = self.insert.exchange();
        if orders.may_wait() && !self.gave_up {
            self.gave_up = !self.patience.wait_for_way();
            is_new |= self.insert.exchange();
        }
        if is_new {
            self.exact_from = self.insert.position();
            self.automation.reset();
        }
        self.take_events(callback, params, orders, notes);
        let (mut from, frames) = (0, main.samples());
        while from < frames {
            let piece = (frames - from).min(self.block_frames_max);
            self.piece(callback, orders, main, aux, (from, piece), notes);
            from += piece;
        }
        let status = self.insert.status().read();
        self.heard.write(Heard { status, gave_up: self.gave_up });
    }

    /// Everything that happens in this block, to the node and to the rack here alike.
    fn take_events(
        &mut self,
        callback: &Callback<'_>,
        params: &RemoteFxParams,
        orders: Orders,
        notes: &mut impl Notes,
    ) {
        let Self { insert, player, automation, patience, .. } = self;
        let mut wait = Wait::new(patience, orders.may_wait() && !self.gave_up);
        let (position, transport) = (insert.position(), notes.transport());
        let lost = insert.take_events_lost();
        let mut each = |offset: u32, body: ChainBody| {
            insert.event(callback, offset, body, &mut || wait.again());
            player.event(offset, body);
        };
        automation.look(params, &transport, position, |body| each(0, body));
        if lost {
            automation.repeat(|body| each(0, body));
        }
        while let Some(event) = notes.next_event() {
            if let Some(body) = events::from_host(&event) {
                each(event.timing(), ChainBody::Voice(body));
            }
        }
    }

    fn piece(
        &mut self,
        callback: &Callback<'_>,
        orders: Orders,
        main: &mut Buffer<'_>,
        aux: &AuxiliaryBuffers<'_>,
        (from, frames): (usize, usize),
        notes: &mut impl Notes,
    ) {
        let position = self.insert.position();
        let due = position.saturating_sub(u64::from(self.insert.config().delay_frames));
        // What left before the way was one that loses nothing is not waited for.
        let may_wait = orders.may_wait() && !self.gave_up;
        let mut wait = Wait::new(&self.patience, may_wait && due >= self.exact_from);
        let mut room = Wait::new(&self.patience, may_wait);
        let (inputs, channels) = rows(main, from, frames);
        let (side, side_channels) =
            aux.inputs.first().map_or(([&[][..]; CHANNELS], 0), |side| rows(side, from, frames));
        let (inputs, side) = (&inputs[..channels], &side[..side_channels]);
        self.insert.push(callback, inputs, side, &mut || room.again());
        let still_heard = self.insert.source() == Source::Here;
        let runs_here = orders.runs_here() || still_heard;
        self.player.play(callback, &mut self.insert, position, (inputs, side), runs_here, orders.exact);
        let mut outputs: [&mut [f32]; CHANNELS] = Default::default();
        for (output, channel) in outputs.iter_mut().zip(main.as_slice()) {
            *output = &mut channel[from..from + frames];
        }
        let offset = u32::try_from(from).unwrap_or(0);
        let missed = self.insert.missed();
        self.insert.play(
            callback,
            orders.wanted,
            &mut outputs[..channels],
            &mut || wait.again(),
            |at, body| {
                if let Some(event) = events::to_host(offset + at, &body) {
                    // A host without a note input is no loss to anybody.
                    let _taken = notes.try_send(event);
                }
            },
        );
        self.gave_up |= wait.is_over || room.is_over;
        // Of the first frames nothing is due yet: that nothing was missed then tells nothing.
        if position >= u64::from(self.insert.config().delay_frames) {
            self.gave_up &= self.insert.missed() != missed;
        }
    }
}

impl<const SIDE_CHAIN: bool> Part for RemoteFxPart<SIDE_CHAIN> {
    const NAME: &'static str = "audiocloud Remote FX";
    const DESCRIPTION: &'static str = "A chain of effects that runs on another machine, as an insert";
    const CLAP_ID: &'static str = "org.audiocloud.remote-fx";
    const VST3_ID: [u8; 16] = *b"audiocloudRmFx01";
    const CLAP_FEATURES: &'static [ClapFeature] =
        &[ClapFeature::AudioEffect, ClapFeature::MultiEffects, ClapFeature::Stereo, ClapFeature::Mono];
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] =
        &[Vst3SubCategory::Fx, Vst3SubCategory::Tools, Vst3SubCategory::Network];
    const LAYOUTS: &'static [AudioIOLayout] =
        if SIDE_CHAIN { layouts::EFFECT_AND_SIDE_CHAIN } else { layouts::EFFECT };
    const SAMPLE_ACCURATE: bool = true;

    type Params = RemoteFxParams;
    type Editor = RemoteFxEditor;

    fn new(params: &Arc<RemoteFxParams>, guard: &Guard) -> Self {
        let shared = Shared::new(params, guard);
        Self { params: params.clone(), shared, active: None, epochs: Epochs::default(), begun: false }
    }

    fn editor(&mut self) -> Option<RemoteFxEditor> {
        let (model, act) = (self.shared.clone(), self.shared.clone());
        window::create(
            self.params.clone(),
            self.shared.guard(),
            move || model.model(),
            move |action| act.act(action),
        )
    }

    fn activate(&mut self, setup: &Setup) {
        let side_chain = if SIDE_CHAIN { setup.channels } else { 0 };
        self.active = self.shared.activate(setup, side_chain, self.epochs.draw());
        self.begun = false;
    }

    /// What went through before has nothing to do with what comes: a new epoch.
    fn reset(&mut self, callback: &Callback<'_>) {
        let (begun, Some(active)) = (std::mem::take(&mut self.begun), &mut self.active) else { return };
        if begun {
            active.insert.restart(self.epochs.draw());
            active.exact_from = 0;
            active.gave_up = false;
        }
        active.automation.reset();
        active.player.reset(callback, Orders::of(&self.params, active.offline).runs_here());
    }

    fn process(
        &mut self,
        callback: &Callback<'_>,
        main: &mut Buffer<'_>,
        aux: &mut AuxiliaryBuffers<'_>,
        notes: &mut impl Notes,
    ) {
        let is_render_begun = |active: &mut Active| active.is_render_begun(&self.params, &notes.transport());
        if self.active.as_mut().is_some_and(is_render_begun) {
            self.reset(callback);
        }
        let Some(active) = &mut self.active else { return Self::after_panic(main, aux, notes) };
        self.begun = true;
        active.process(callback, &self.params, main, aux, notes);
    }

    fn latency_frames(&self) -> u32 {
        self.active.as_ref().map_or(0, |active| active.insert.config().delay_frames)
    }

    /// The track passes through, without the delay that the host reckons with.
    fn after_panic(_main: &mut Buffer<'_>, _aux: &mut AuxiliaryBuffers<'_>, notes: &mut impl Notes) {
        while notes.next_event().is_some() {}
    }

    fn deactivate(&mut self) {
        self.shared.deactivate();
        self.active = None;
    }
}

impl<const SIDE_CHAIN: bool> Drop for RemoteFxPart<SIDE_CHAIN> {
    fn drop(&mut self) {
        // The window and the runtime may hold on to `shared` for longer than the host lets us live.
        self.shared.shut_down();
    }
}
