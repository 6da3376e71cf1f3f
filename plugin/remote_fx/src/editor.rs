//! Remote FX's window: where the chain runs, the chain itself with its parameters, and the sentence of status.

mod chain_panel;
mod effect_panel;

use audiocloud_engine::stream::insert::Source;
use audiocloud_instance::editor::slider::{self, Gesture};
use audiocloud_instance::editor::window::{View, Window, carry_out, set};
use audiocloud_instance::editor::{details, figure, meter, name_field, page, session_panel, theme, toggle};
use audiocloud_net::runtime::remote::NodeChoice;
use egui::{CollapsingHeader, ComboBox, RichText, Slider, Ui, Vec2, vec2};
use nice_plug::prelude::{Enum, IntParam, ParamSetter};

use crate::delay::{HEAD_ROOM_DEFAULT_MS, HEAD_ROOM_MAX_MS, NETWORK_DEFAULT_MS, NETWORK_MAX_MS};
use crate::model::{Action, Model};
use crate::params::{LateBlock, RemoteFxParams, Render};

const PLUG_IN: &str = "audiocloud Remote FX";
/// Points.
const SIZE: Vec2 = vec2(580.0, 640.0);
const SIZE_MIN: Vec2 = vec2(480.0, 360.0);

/// The parameters as they stand, but for the slots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Controls {
    pub here: bool,
    pub render: Render,
    pub late: LateBlock,
    pub network_ms: f32,
    pub head_room_ms: f32,
}

impl From<&RemoteFxParams> for Controls {
    fn from(params: &RemoteFxParams) -> Self {
        Self {
            here: params.here.value(),
            render: params.render.value(),
            late: params.late.value(),
            network_ms: params.network.value(),
            head_room_ms: params.head_room.value(),
        }
    }
}

/// What the user asked for in one frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Here(bool),
    Render(Render),
    Late(LateBlock),
    /// ms.
    Network(Gesture),
    /// ms.
    HeadRoom(Gesture),
    /// A slot of the host, from 0 to 1.
    Slot(usize, Gesture),
    Act(Action),
}

/// Draws one frame of the window and says what the user asked for.
pub fn ui(ui: &mut Ui, model: &Model, controls: Controls) -> Vec<Request> {
    let mut requests = Vec::new();
    page(
        ui,
        PLUG_IN,
        &model.status,
        |ui| figures(ui, model),
        |ui| {
            ui.horizontal(|ui| {
                let label = ui.label(RichText::new("Chain").color(theme::TEXT_WEAK));
                let width = (ui.available_width() - 116.0).max(80.0);
                if let Some(name) = name_field::show(ui, &model.name, "Name this chain", width, label.id) {
                    requests.push(Request::Act(Action::SetName(name)));
                }
                let mut here = controls.here;
                let meaning = "The chain runs in this plug-in instead, as late as on a node: to compare, and without a network.";
                if toggle::show(ui, "Run here", &mut here).on_hover_text(meaning).changed() {
                    requests.push(Request::Here(here));
                }
            });
            ui.horizontal(|ui| requests.extend(places(ui, model, controls)));
            ui.add_space(4.0);
            meter::show(ui, "In", &model.peaks_in);
            meter::show(ui, "Out", &model.peaks_out);
            ui.add_space(4.0);
            requests.extend(chain_panel::show(ui, model));
            if let Some(refused) = &model.refused {
                ui.label(RichText::new(refused).color(theme::WARNING));
            }
            ui.add_space(4.0);
            requests.extend(latency(ui, model, controls));
            let acts = session_panel::show(ui, &model.session, |_| ());
            requests.extend(acts.into_iter().map(|act| Request::Act(Action::Session(act))));
            details::show(ui, &model.identity, &model.details, |_| ());
        },
    );
    requests
}

/// At the right of the head, from the right.
fn figures(ui: &mut Ui, model: &Model) {
    let shown = |ms: Option<f64>| ms.map_or_else(|| "--".to_owned(), figure::milliseconds);
    let meaning = "By how much everything is late, wherever it runs; the host makes up for it.";
    figure::show(ui, "Latency", &shown(model.delay_ms), meaning);
    figure::show(
        ui,
        "Round trip",
        &shown(model.round_ms),
        "From a block's leaving until its answer is back.",
    );
    let heard = match model.source {
        Source::Far => "node",
        Source::Here => "here",
        Source::Dry => "dry",
    };
    figure::show(
        ui,
        "Heard",
        heard,
        "What plays now: the node's answer, the chain in this plug-in, or the track.",
    );
}

/// Where it runs, and what happens otherwise.
fn places(ui: &mut Ui, model: &Model, controls: Controls) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut node = model.node;
    let name = |node: NodeChoice| match node {
        NodeChoice::Automatic => "Automatic".to_owned(),
        NodeChoice::Device(device) => model
            .nodes
            .iter()
            .find(|line| line.device == device)
            .map_or_else(|| format!("{} (not there)", device.short()), |line| line.name.clone()),
    };
    let label = ui.label(RichText::new("Node").color(theme::TEXT_WEAK));
    let list = ComboBox::from_id_salt("node").selected_text(name(node)).width(150.0).show_ui(ui, |ui| {
        ui.selectable_value(&mut node, NodeChoice::Automatic, "Automatic")
            .on_hover_text("The one with the most head-room, and another one when it goes.");
        for line in &model.nodes {
            let choice = NodeChoice::Device(line.device);
            ui.selectable_value(&mut node, choice, &line.name).on_hover_text(&line.words);
        }
    });
    list.response.labelled_by(label.id).on_hover_text("The machine that the chain runs on.");
    if node != model.node {
        requests.push(Request::Act(Action::Node(node)));
    }
    let late = pick(
        ui,
        "Late block",
        "What is heard where the node's answer is late or missing. Local: the chain runs here too, all the time.",
        controls.late,
    );
    requests.extend(late.map(Request::Late));
    let render = pick(
        ui,
        "Render",
        "Exact: each block waits for the node, as in an offline render. For hosts that do not say when they render.",
        controls.render,
    );
    requests.extend(render.map(Request::Render));
    requests
}

/// A parameter with a few values.
fn pick<E: Enum + Copy + PartialEq>(ui: &mut Ui, name: &str, meaning: &str, now: E) -> Option<E> {
    let (names, mut wanted) = (E::variants(), now.to_index());
    let label = ui.label(RichText::new(name).color(theme::TEXT_WEAK));
    let shown = names.get(wanted).copied().unwrap_or_default();
    let list = ComboBox::from_id_salt(name).selected_text(shown).width(92.0).show_ui(ui, |ui| {
        for (index, name) in names.iter().enumerate() {
            ui.selectable_value(&mut wanted, index, *name);
        }
    });
    list.response.labelled_by(label.id).on_hover_text(meaning);
    (wanted != now.to_index()).then(|| E::from_index(wanted))
}

/// What the latency is made of.
fn latency(ui: &mut Ui, model: &Model, controls: Controls) -> Vec<Request> {
    let mut requests = Vec::new();
    let title = RichText::new("Latency").color(theme::TEXT_WEAK);
    CollapsingHeader::new(title).id_salt("latency").show(ui, |ui| {
        let mut network_ms = controls.network_ms;
        let meaning = "What the way to the node and back may take. With two of the host's blocks and the head-room it is the \
                       latency that the host is told.";
        let gestures = slider::show(ui, "Network", meaning, &mut network_ms, NETWORK_DEFAULT_MS, |value| {
            milliseconds(value, NETWORK_MAX_MS)
        });
        requests.extend(gestures.into_iter().map(Request::Network));
        let mut head_room_ms = controls.head_room_ms;
        let meaning = "What effects that look ahead may take: limiters, oversampled distortions, CLAP plug-ins.";
        let gestures = slider::show(ui, "Head-room", meaning, &mut head_room_ms, HEAD_ROOM_DEFAULT_MS, |value| {
            milliseconds(value, HEAD_ROOM_MAX_MS)
        });
        requests.extend(gestures.into_iter().map(Request::HeadRoom));
        if model.is_pending {
            let words = "Takes effect when the host switches the plug-in off and on.";
            ui.label(RichText::new(words).color(theme::WARNING));
        }
    });
    requests
}

fn milliseconds(value: &mut f32, max: f32) -> Slider<'_> {
    Slider::new(value, 0.0..=max).logarithmic(true).smallest_positive(0.1).fixed_decimals(1).suffix(" ms")
}

/// The window in a host.
#[derive(Debug)]
pub struct RemoteFxView;

/// The type of Remote FX's editor.
pub type RemoteFxEditor = Window<RemoteFxView>;

impl View for RemoteFxView {
    type Params = RemoteFxParams;
    type Model = Model;
    type Action = Action;

    const PLUG_IN: &'static str = PLUG_IN;
    const SIZE: Vec2 = SIZE;
    const SIZE_MIN: Vec2 = SIZE_MIN;

    fn revision<'a>(model: &Model, params: &'a RemoteFxParams) -> (u64, &'a IntParam) {
        (model.revision, &params.revision)
    }

    fn draw(
        ui: &mut Ui,
        model: &Model,
        params: &RemoteFxParams,
        setter: &ParamSetter<'_>,
        act: &mut dyn FnMut(Action),
    ) {
        // What was set elsewhere than in the host, the host's slots follow.
        for (slot, position) in &model.out_of_step {
            if let Some(parameter) = params.slots.get(*slot) {
                act(Action::Put(*slot, *position));
                set(setter, &parameter.position, *position);
            }
        }
        for request in self::ui(ui, model, Controls::from(params)) {
            match request {
                Request::Here(on) => set(setter, &params.here, on),
                Request::Render(render) => set(setter, &params.render, render),
                Request::Late(late) => set(setter, &params.late, late),
                Request::Network(gesture) => carry_out(setter, &params.network, gesture),
                Request::HeadRoom(gesture) => carry_out(setter, &params.head_room, gesture),
                Request::Slot(slot, gesture) => {
                    if let Some(slot) = params.slots.get(slot) {
                        carry_out(setter, &slot.position, gesture);
                    }
                }
                Request::Act(action) => act(action),
            }
        }
    }
}

#[cfg(test)]
mod tests;
