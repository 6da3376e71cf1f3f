//! Receive's window: people and streams, level, meter, latency, and the sentence of status; the rest is folded away.

use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::editor::slider::{self, Gesture};
use audiocloud_instance::editor::window::{View, Window, carry_out, set};
use audiocloud_instance::editor::{details, figure, meter, name_field, page, session_panel, theme, toggle};
use audiocloud_instance::params::{LEVEL_MAX_DB, LEVEL_MIN_DB};
use egui::{RichText, Slider, Ui, Vec2, vec2};
use nice_plug::prelude::{IntParam, ParamSetter};

use crate::model::{Action, Model};
use crate::params::{Clock, Interval, Mode, Outputs, Playout, Quality, ReceiveParams};
use crate::playout_panel::{self, choice};
use crate::stream_list::{self, level_text, parse_level};

const PLUG_IN: &str = "audiocloud Receive";

/// Points.
const SIZE: Vec2 = vec2(500.0, 552.0);
const SIZE_MIN: Vec2 = vec2(420.0, 360.0);

/// The values of Receive's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Controls {
    pub level_db: f32,
    pub mode: Mode,
    pub outputs: Outputs,
    pub playout: Playout,
    pub delay_ms: f32,
    pub floor_ms: f32,
    pub ceiling_ms: f32,
    pub link_offset_ms: f32,
    pub interval: Interval,
    pub quality: Quality,
    pub clock: Clock,
    pub report_latency: bool,
    pub budget_ms: f32,
}

impl From<&ReceiveParams> for Controls {
    fn from(params: &ReceiveParams) -> Self {
        Self {
            level_db: params.level.value(),
            mode: params.mode.value(),
            outputs: params.outputs.value(),
            playout: params.playout.value(),
            delay_ms: params.delay.value(),
            floor_ms: params.floor.value(),
            ceiling_ms: params.ceiling.value(),
            link_offset_ms: params.link_offset.value(),
            interval: params.interval.value(),
            quality: params.quality.value(),
            clock: params.clock.value(),
            report_latency: params.report_latency.value(),
            budget_ms: params.budget.value(),
        }
    }
}

/// The parameters that are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    Delay,
    Floor,
    Ceiling,
    LinkOffset,
    Budget,
}

/// What the user asked for in one frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The parameter *Level*, dB.
    Level(Gesture),
    /// One of the parameters in ms.
    Span(Span, Gesture),
    Mode(Mode),
    Outputs(Outputs),
    Playout(Playout),
    Interval(Interval),
    Quality(Quality),
    Clock(Clock),
    ReportLatency(bool),
    Act(Action),
}

/// Draws one frame of the window and says what the user asked for.
pub fn ui(ui: &mut Ui, model: &Model, controls: Controls) -> Vec<Request> {
    let mut requests = Vec::new();
    page(
        ui,
        PLUG_IN,
        &model.status,
        |ui| latency(ui, model),
        |ui| {
            requests.extend(stream_list::show(ui, model).into_iter().map(Request::Act));
            ui.add_space(4.0);
            requests.extend(level(ui, controls.level_db).into_iter().map(Request::Level));
            let modes = [
                (Mode::Mix, "Mix", "The track's own input and the streams together."),
                (Mode::Replace, "Replace", "The streams alone; the track's own input is not heard."),
            ];
            requests.extend(choice(ui, "Track input", controls.mode, modes).map(Request::Mode));
            ui.add_space(6.0);
            meter::show(ui, "Stream", &model.peaks);
            ui.add_space(2.0);
            requests.extend(session(ui, model).into_iter().map(Request::Act));
            requests.extend(playout_panel::show(ui, model, &controls));
            details::show(ui, &model.identity, &lines(model), |_| ());
        },
    );
    requests
}

fn session(ui: &mut Ui, model: &Model) -> Vec<Action> {
    let mut own = Vec::new();
    let acts = session_panel::show(ui, &model.session, |ui| {
        ui.horizontal_wrapped(|ui| {
            let label = ui.label(RichText::new("Input name").color(theme::TEXT_WEAK));
            let name = name_field::show(ui, &model.input_name, "Name this input", 130.0, label.id);
            own.extend(name.map(Action::SetInputName));
            let mut is_open = model.is_open;
            let switch = toggle::show(ui, "Others may rewire this input", &mut is_open);
            let meaning = "Who has the right to may then choose what is played here, from the patch bay.";
            if switch.on_hover_text(meaning).changed() {
                own.push(Action::SetOpen(is_open));
            }
        });
    });
    own.into_iter().chain(acts.into_iter().map(Action::Session)).collect()
}

fn level(ui: &mut Ui, mut level_db: f32) -> Vec<Gesture> {
    let meaning = "How loud the streams are in the output; the track's own input is left as it is.";
    slider::show(ui, "Level", meaning, &mut level_db, 0.0, |value| {
        Slider::new(value, LEVEL_MIN_DB..=LEVEL_MAX_DB)
            .step_by(0.1)
            .custom_formatter(|db, _| level_text(db))
            .custom_parser(parse_level)
    })
}

fn latency(ui: &mut Ui, model: &Model) {
    let latency = model.latency_ms.map_or_else(|| "--".to_owned(), figure::milliseconds);
    let meaning = "From a sample's arrival in Send to its leaving this track: half of the network's round trip, and the time here. The longest of all streams.";
    figure::show(ui, "Latency", &latency, meaning);
}

fn lines(model: &Model) -> Vec<Detail> {
    playout_panel::waterfall(model).into_iter().chain(model.details.iter().cloned()).collect()
}

/// The window in a host.
#[derive(Debug)]
pub struct ReceiveView;

/// The type of Receive's editor.
pub type ReceiveEditor = Window<ReceiveView>;

impl View for ReceiveView {
    type Params = ReceiveParams;
    type Model = Model;
    type Action = Action;

    const PLUG_IN: &'static str = PLUG_IN;
    const SIZE: Vec2 = SIZE;
    const SIZE_MIN: Vec2 = SIZE_MIN;

    fn revision<'a>(model: &Model, params: &'a ReceiveParams) -> (u64, &'a IntParam) {
        (model.revision, &params.revision)
    }

    fn draw(
        ui: &mut Ui,
        model: &Model,
        params: &ReceiveParams,
        setter: &ParamSetter<'_>,
        act: &mut dyn FnMut(Action),
    ) {
        for request in self::ui(ui, model, Controls::from(params)) {
            match request {
                Request::Level(gesture) => carry_out(setter, &params.level, gesture),
                Request::Span(span, gesture) => {
                    let param = match span {
                        Span::Delay => &params.delay,
                        Span::Floor => &params.floor,
                        Span::Ceiling => &params.ceiling,
                        Span::LinkOffset => &params.link_offset,
                        Span::Budget => &params.budget,
                    };
                    carry_out(setter, param, gesture);
                }
                Request::Mode(mode) => set(setter, &params.mode, mode),
                Request::Outputs(outputs) => set(setter, &params.outputs, outputs),
                Request::Playout(playout) => set(setter, &params.playout, playout),
                Request::Interval(interval) => set(setter, &params.interval, interval),
                Request::Quality(quality) => set(setter, &params.quality, quality),
                Request::Clock(clock) => set(setter, &params.clock, clock),
                Request::ReportLatency(is_on) => set(setter, &params.report_latency, is_on),
                Request::Act(action) => act(action),
            }
        }
    }
}

#[cfg(test)]
mod tests;
