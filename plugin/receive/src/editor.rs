//! Receive's window: the streams, its three parameters, meter, latency, and the sentence of status.

use std::sync::Arc;

use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::editor::slider::{self, Gesture};
use audiocloud_instance::editor::window::{self, View, Window, mark_changed};
use audiocloud_instance::editor::{details, figure, meter, page, theme};
use audiocloud_instance::guard::Guard;
use audiocloud_instance::params::{DELAY_DEFAULT_MS, DELAY_MAX_MS, DELAY_MIN_MS, LEVEL_MAX_DB, LEVEL_MIN_DB};
use egui::{Button, RichText, Slider, Ui, Vec2, vec2};
use nice_plug::prelude::{FloatParam, Param, ParamSetter};

use crate::model::{Action, Model};
use crate::params::{Mode, ReceiveParams};
use crate::stream_list;

const PLUG_IN: &str = "audiocloud Receive";

/// Points.
const SIZE: Vec2 = vec2(460.0, 470.0);
const SIZE_MIN: Vec2 = vec2(380.0, 340.0);

/// The values of Receive's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Controls {
    pub level_db: f32,
    pub mode: Mode,
    pub delay_ms: f32,
}

/// What the user asked for in one frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The parameter *Level*, dB.
    Level(Gesture),
    /// The parameter *Mode*.
    Mode(Mode),
    /// The parameter *Playout delay*, ms.
    Delay(Gesture),
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
            requests.extend(stream_list::show(ui, model).map(Request::Act));
            ui.add_space(4.0);
            requests.extend(level(ui, controls.level_db).into_iter().map(Request::Level));
            requests.extend(delay(ui, controls.delay_ms).into_iter().map(Request::Delay));
            requests.extend(mode(ui, controls.mode).map(Request::Mode));
            ui.add_space(6.0);
            meter::show(ui, "Stream", &model.peaks);
            ui.add_space(2.0);
            details::show(ui, &model.identity, &lines(model), |_| ());
        },
    );
    requests
}

fn level(ui: &mut Ui, mut level_db: f32) -> Vec<Gesture> {
    let meaning = "How loud the stream is in the output; the track's own input is left as it is.";
    slider::show(ui, "Level", meaning, &mut level_db, 0.0, |value| {
        Slider::new(value, LEVEL_MIN_DB..=LEVEL_MAX_DB)
            .step_by(0.1)
            .custom_formatter(|db, _| level_text(db))
            .custom_parser(parse_level)
    })
}

fn level_text(level_db: f64) -> String {
    if level_db <= f64::from(LEVEL_MIN_DB) { "-inf dB".to_owned() } else { format!("{level_db:.1} dB") }
}

fn parse_level(text: &str) -> Option<f64> {
    let number = text.trim().trim_end_matches("dB").trim();
    if number.eq_ignore_ascii_case("-inf") { Some(f64::from(LEVEL_MIN_DB)) } else { number.parse().ok() }
}

fn delay(ui: &mut Ui, mut delay_ms: f32) -> Vec<Gesture> {
    let meaning =
        "How long a frame waits for stragglers before it is played: longer is safer, shorter is quicker.";
    slider::show(ui, "Playout delay", meaning, &mut delay_ms, DELAY_DEFAULT_MS, |value| {
        Slider::new(value, DELAY_MIN_MS..=DELAY_MAX_MS).logarithmic(true).fixed_decimals(1).suffix(" ms")
    })
}

fn mode(ui: &mut Ui, current: Mode) -> Option<Mode> {
    let mut wanted = None;
    ui.horizontal(|ui| {
        let height = ui.spacing().interact_size.y;
        let layout = egui::Layout::left_to_right(egui::Align::Center);
        ui.allocate_ui_with_layout(vec2(slider::NAME_WIDTH, height), layout, |ui| {
            ui.set_min_width(slider::NAME_WIDTH);
            ui.label(RichText::new("Track input").color(theme::TEXT_WEAK));
        });
        ui.spacing_mut().item_spacing.x = 4.0;
        for (mode, name, meaning) in [
            (Mode::Mix, "Mix", "The track's own input and the stream together."),
            (Mode::Replace, "Replace", "The stream alone; the track's own input is not heard."),
        ] {
            let button = Button::selectable(current == mode, name)
                .frame_when_inactive(true)
                .min_size(vec2(72.0, 22.0));
            if ui.add(button).on_hover_text(meaning).clicked() && current != mode {
                wanted = Some(mode);
            }
        }
    });
    wanted
}

fn latency(ui: &mut Ui, model: &Model) {
    let latency = model.latency_ms.map_or_else(|| "--".to_owned(), figure::milliseconds);
    let meaning = "From a sample's arrival in Send to its leaving this track: half of the network's round trip, and the time here.";
    figure::show(ui, "Latency", &latency, meaning);
}

fn lines(model: &Model) -> Vec<Detail> {
    let missing =
        "Frames that were due and had not come, since the stream began: lost or late on the network.";
    let late =
        "Blocks that came after they were due: the playout delay is shorter than the network's wander.";
    let own = [
        Detail::new("Missing frames (network)", model.missing_frames.to_string(), missing),
        Detail::new("Late blocks (playout delay)", model.late_blocks.to_string(), late),
        Detail::new(
            "Delay in force",
            figure::milliseconds(model.delay_ms),
            "The playout delay as it is applied.",
        ),
    ];
    own.into_iter().chain(model.details.iter().cloned()).collect()
}

/// The window's content in a host: model and actions by closure, parameters through the host.
pub struct ReceiveView {
    params: Arc<ReceiveParams>,
    model: Box<dyn FnMut() -> Model + Send>,
    act: Box<dyn FnMut(Action) + Send>,
    revision: u64,
}

/// The type of Receive's editor.
pub type ReceiveEditor = Window<ReceiveView>;

impl std::fmt::Debug for ReceiveView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ReceiveView").finish_non_exhaustive()
    }
}

/// Makes Receive's editor. Both closures are called on the window's thread, `model` once a frame, while it is
/// open.
pub fn create(
    params: Arc<ReceiveParams>,
    guard: &Guard,
    model: impl FnMut() -> Model + Send + 'static,
    act: impl FnMut(Action) + Send + 'static,
) -> Option<ReceiveEditor> {
    let view = ReceiveView { params, model: Box::new(model), act: Box::new(act), revision: 0 };
    window::create(PLUG_IN, SIZE, SIZE_MIN, guard, view)
}

impl View for ReceiveView {
    fn draw(&mut self, ui: &mut Ui, setter: &ParamSetter<'_>) {
        let model = (self.model)();
        if self.revision != model.revision {
            self.revision = model.revision;
            mark_changed(setter, &self.params.revision);
        }
        let params = &self.params;
        let controls = Controls {
            level_db: params.level.value(),
            mode: params.mode.value(),
            delay_ms: params.delay.value(),
        };
        for request in self::ui(ui, &model, controls) {
            match request {
                Request::Level(gesture) => carry_out(setter, &params.level, gesture),
                Request::Delay(gesture) => carry_out(setter, &params.delay, gesture),
                Request::Mode(mode) => {
                    setter.begin_set_parameter(&params.mode);
                    setter.set_parameter(&params.mode, mode);
                    setter.end_set_parameter(&params.mode);
                }
                Request::Act(action) => (self.act)(action),
            }
        }
    }
}

fn carry_out(setter: &ParamSetter<'_>, param: &FloatParam, gesture: Gesture) {
    match gesture {
        Gesture::Begin => setter.begin_set_parameter(param),
        Gesture::Set(value) => {
            // Stepped as the parameter is, so that what is shown is what is set.
            let stepped = param.preview_plain(param.preview_normalized(value));
            setter.set_parameter(param, stepped);
        }
        Gesture::End => setter.end_set_parameter(param),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bound, Choice};
    use audiocloud_instance::editor::picture::{draw, scale};
    use audiocloud_instance::state::StreamRef;
    use audiocloud_instance::status::{Severity, Status};
    use egui::accesskit::Role;
    use egui_kittest::Harness;
    use egui_kittest::kittest::{NodeT, Queryable};

    fn stream(stream: u64) -> StreamRef {
        StreamRef { publisher: [7; 32], stream }
    }

    fn choice(id: u64, name: &str, objection: &str) -> Choice {
        Choice {
            stream: stream(id),
            name: name.into(),
            publisher: "Studio B".into(),
            format: "48 kHz, 2 ch".into(),
            objection: objection.into(),
        }
    }

    fn model() -> Model {
        Model {
            bound: Some(Bound { stream: stream(1), name: "Drums".into(), publisher: "Studio B".into() }),
            choices: vec![
                choice(1, "Drums", ""),
                choice(2, "Bass", ""),
                choice(3, "Keys", "44.1 kHz, not 48"),
            ],
            status: Status::new(Severity::Good, "Playing Drums from Studio B.", ""),
            latency_ms: Some(12.34),
            delay_ms: 10.0,
            peaks: vec![0.5, 0.0],
            missing_frames: 128,
            late_blocks: 1,
            ..Model::default()
        }
    }

    const CONTROLS: Controls = Controls { level_db: 0.0, mode: Mode::Mix, delay_ms: 10.0 };

    fn harness<'a>(model: Model) -> Harness<'a, Vec<Request>> {
        Harness::builder().with_size(SIZE).build_ui_state(
            move |ui, seen: &mut Vec<Request>| {
                theme::apply(ui.ctx());
                seen.extend(self::ui(ui, &model, CONTROLS));
            },
            Vec::new(),
        )
    }

    #[test]
    fn everything_that_is_shown_has_a_name() {
        let mut harness = harness(model());
        harness.run();
        harness.get_by_role_and_label(Role::Slider, "Level");
        harness.get_by_role_and_label(Role::Slider, "Playout delay");
        harness.get_by_label("Mix");
        harness.get_by_label("Channel L: -6.0 dBFS");
        harness.get_by_label("Latency: 12.3 ms");
        harness.get_by_label("Good: Playing Drums from Studio B.");
        harness.get_by_label("Details").click();
        harness.run();
        harness.get_by_label("Missing frames (network)");
        harness.get_by_label("128");
        assert!(harness.state().is_empty(), "looking asks for nothing");
    }

    #[test]
    fn the_bound_stream_is_marked_and_another_can_be_picked() {
        let mut harness = harness(model());
        let bound = harness.get_by_label("Drums, from Studio B, 48 kHz, 2 ch");
        assert_eq!(bound.accesskit_node().toggled(), Some(egui::accesskit::Toggled::True));
        bound.click();
        harness.run();
        assert!(harness.state().is_empty(), "it is bound already");
        harness.get_by_label("Keys, from Studio B, 44.1 kHz, not 48").click();
        harness.get_by_label("Bass, from Studio B, 48 kHz, 2 ch").click();
        harness.run();
        let bind = Action::Bind { stream: stream(2), name: "Bass".into() };
        assert_eq!(harness.state().last(), Some(&Request::Act(bind)));
    }

    #[test]
    fn a_missing_stream_is_shown_as_missing_and_can_be_released() {
        let mut harness = harness(Model { choices: Vec::new(), ..model() });
        harness.get_by_label("Drums, from Studio B, missing");
        harness.get_by_label("Release").click();
        harness.run();
        assert_eq!(*harness.state(), [Request::Act(Action::Unbind)]);
    }

    #[test]
    fn an_empty_list_says_what_to_do() {
        let harness = harness(Model::default());
        harness.get_by_label_contains("Put audiocloud Send on a track");
        assert!(harness.get_by_label("Release").accesskit_node().is_disabled());
        harness.get_by_label("Latency: --");
    }

    #[test]
    fn the_parameters_are_set() {
        let mut harness = harness(model());
        harness.get_by_label("Mix").click();
        harness.get_by_label("Replace").click();
        harness.run();
        assert_eq!(*harness.state(), [Request::Mode(Mode::Replace)]);
        harness.state_mut().clear();
        harness.get_by_role_and_label(Role::Slider, "Playout delay").focus();
        harness.run();
        harness.key_press(egui::Key::ArrowRight);
        harness.run();
        let [
            Request::Delay(Gesture::Begin),
            Request::Delay(Gesture::Set(delay_ms)),
            Request::Delay(Gesture::End),
        ] = harness.state()[..]
        else {
            panic!("{:?}", harness.state())
        };
        assert!(delay_ms > 10.0 && delay_ms < 15.0, "{delay_ms}");
    }

    #[test]
    fn a_level_is_read_as_it_is_written() {
        for level_db in [-80.0, -6.0, 0.0, 12.0] {
            assert_eq!(parse_level(&level_text(level_db)), Some(level_db));
        }
        assert_eq!(parse_level("loud"), None);
    }

    #[test]
    fn it_has_its_picture() {
        let draw = |model: &Model| draw(SIZE, scale(), |ui| drop(self::ui(ui, model, CONTROLS)));
        let picture = draw(&model());
        picture.keep("receive").unwrap();
        assert!(picture.count(theme::ACCENT_DARK) > 3000, "the bound stream and the mode are marked");
        let status = Status::new(
            Severity::Fault,
            "Studio B's Send of Drums is not in reach; the output is silent.",
            "Start it there, or pick another stream.",
        );
        let missing = Model { choices: vec![choice(2, "Bass", "")], status, peaks: vec![0.0; 2], ..model() };
        let missing = draw(&missing);
        missing.keep("receive_missing").unwrap();
        assert!(missing.count(theme::FAULT) > 100, "the sign of a fault");
        draw(&Model::default()).keep("receive_empty").unwrap();
    }
}
