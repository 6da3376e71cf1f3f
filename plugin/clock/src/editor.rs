//! Clock's window: where the music is, who leads, the metronome, the bridges, and the sentence of status.

mod bridge_panel;

use audiocloud_instance::editor::slider::{self, Gesture};
use audiocloud_instance::editor::window::{View, Window, carry_out, set};
use audiocloud_instance::editor::{details, figure, page, session_panel, theme, toggle};
use audiocloud_instance::params::{DELAY_MAX_MS, LEVEL_MAX_DB, LEVEL_MIN_DB};
use audiocloud_net::clock::beat_map::{Meter, TEMPO_BPM};
use egui::accesskit::Role as AccessRole;
use egui::{Button, ComboBox, DragValue, FontId, RichText, Sense, Slider, Ui, Vec2, WidgetInfo, vec2};
use nice_plug::prelude::{Enum, IntParam, ParamSetter};

use crate::model::{Action, Command, Model, Place};
use crate::params::{COUNT_IN_MAX, ClockParams, Role};
use crate::plan::Quantum;
use crate::status::span;

const PLUG_IN: &str = "audiocloud Clock";
/// Points.
const SIZE: Vec2 = vec2(480.0, 440.0);
const SIZE_MIN: Vec2 = vec2(400.0, 320.0);
/// Letters of the position, points.
const PLACE: f32 = 30.0;
/// Meters to choose from.
const METERS: [(u8, u8); 10] =
    [(4, 4), (3, 4), (2, 4), (5, 4), (6, 4), (7, 4), (6, 8), (7, 8), (9, 8), (12, 8)];

/// The parameters as they stand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Controls {
    pub role: Role,
    pub quantum: Quantum,
    pub count_in: i32,
    pub metronome: bool,
    pub level_db: f32,
    pub output_delay_ms: f32,
}

impl From<&ClockParams> for Controls {
    fn from(params: &ClockParams) -> Self {
        Self {
            role: params.role.value(),
            quantum: params.quantum.value(),
            count_in: params.count_in.value(),
            metronome: params.metronome.value(),
            level_db: params.level.value(),
            output_delay_ms: params.output_delay.value(),
        }
    }
}

/// What the user asked for in one frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Role(Role),
    Quantum(Quantum),
    CountIn(i32),
    Metronome(bool),
    /// The metronome's level, dB.
    Level(Gesture),
    /// ms.
    OutputDelay(Gesture),
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
            place(ui, model.place.as_ref());
            ui.add_space(4.0);
            requests.extend(role(ui, controls.role));
            if controls.role == Role::Follow {
                requests.extend(hand(ui, model).map(|command| Request::Act(Action::Command(command))));
            }
            requests.extend(when(ui, controls));
            ui.add_space(4.0);
            requests.extend(metronome(ui, controls));
            ui.add_space(2.0);
            let bridges = bridge_panel::show(ui, &model.bridges, &model.bridge_lines);
            requests.extend(bridges.map(|bridges| Request::Act(Action::SetBridges(bridges))));
            let acts = session_panel::show(ui, &model.session, |_| ());
            requests.extend(acts.into_iter().map(|act| Request::Act(Action::Session(act))));
            details::show(ui, &model.identity, &model.details, |_| ());
        },
    );
    requests
}

/// At the right of the head, from the right.
fn figures(ui: &mut Ui, model: &Model) {
    let bound = model.bound_ms.map_or_else(|| "--".to_owned(), |ms| format!("±{}", span(ms)));
    figure::show(ui, "Clock", &bound, "By how much the time here may differ from the master's.");
    let Some(difference) = model.difference else { return };
    let phase = if difference.beats == 0.0 {
        format!("{:+.1} ms", difference.phase_ms)
    } else {
        format!("{:+.0} beats", difference.beats)
    };
    let meaning =
        "How much later than the session's this host's beat is heard, by what the host tells of itself.";
    figure::show(ui, "Host", &phase, meaning);
    let tempo = format!("{:+.2} bpm", difference.bpm);
    figure::show(ui, "Tempo", &tempo, "By how much this host's tempo is higher than the session's.");
}

/// Bar, beat, tempo and meter, large.
fn place(ui: &mut Ui, place: Option<&Place>) {
    let (text, color) = match place {
        None => ("--.-".to_owned(), theme::TEXT_WEAK),
        Some(place) if place.is_playing => (format!("{}.{}", place.bar, place.beat), theme::ACCENT),
        Some(place) => (format!("{}.{}", place.bar, place.beat), theme::TEXT_WEAK),
    };
    let tempo = place.map_or_else(String::new, |place| format!("{:.2} bpm", place.bpm));
    let meter = place.map_or_else(String::new, |place| format!("{} / {}", place.meter.0, place.meter.1));
    let spoken = match place {
        None => "Position: none yet".to_owned(),
        Some(place) => {
            let state = if place.is_playing { "playing" } else { "stopped" };
            format!("Position: bar {}, beat {}, {tempo}, {meter}, {state}", place.bar, place.beat)
        }
    };
    let size = vec2(ui.available_width(), PLACE + 14.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    ui.painter().rect_filled(rect, theme::ROUNDING, theme::WELL);
    let write = |at: egui::Pos2, align, text: String, font: FontId, color| {
        ui.painter().text(at, align, text, font, color);
    };
    let (left, right) = (rect.left_center() + vec2(14.0, 0.0), rect.right_center() - vec2(14.0, 0.0));
    write(left, egui::Align2::LEFT_CENTER, text, theme::figure_font(PLACE), color);
    write(right - vec2(0.0, 9.0), egui::Align2::RIGHT_CENTER, tempo, theme::figure_font(14.0), theme::TEXT);
    write(
        right + vec2(0.0, 10.0),
        egui::Align2::RIGHT_CENTER,
        meter,
        theme::figure_font(12.5),
        theme::TEXT_WEAK,
    );
    response.widget_info(|| WidgetInfo::labeled(AccessRole::Label, true, &spoken));
}

fn role(ui: &mut Ui, now: Role) -> Option<Request> {
    let choices = [
        (
            Role::Follow,
            "Follow",
            "The session's beat comes here. No plug-in can set its host's transport: see Bridges.",
        ),
        (Role::Lead, "Lead", "This host's tempo, meter, position, loop, start and stop are everybody's."),
    ];
    let mut wanted = None;
    named(ui, "This host", |ui, _| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for (choice, name, meaning) in choices {
            let button =
                Button::selectable(now == choice, name).frame_when_inactive(true).min_size(vec2(72.0, 22.0));
            if ui.add(button).on_hover_text(meaning).clicked() && now != choice {
                wanted = Some(Request::Role(choice));
            }
        }
    });
    wanted
}

/// The session's transport, by hand.
fn hand(ui: &mut Ui, model: &Model) -> Option<Command> {
    let mut asked = None;
    let place = model.place.unwrap_or(Place { bpm: 120.0, meter: (4, 4), ..Place::default() });
    named(ui, "Session", |ui, _| {
        ui.add_enabled_ui(model.has_hand, |ui| {
            let (name, command) = if place.is_playing {
                ("Stop", Command::Stop)
            } else {
                ("Start", Command::Start { count_in_bars: 0 })
            };
            let button = Button::new(name).min_size(vec2(64.0, 22.0));
            if ui.add(button).on_hover_text("For everybody.").clicked() {
                asked = Some(command);
            }
            if ui.button("To bar 1").on_hover_text("For everybody.").clicked() {
                asked = Some(Command::Rewind);
            }
            asked = tempo(ui, place.bpm).map(Command::Tempo).or(asked);
            asked = meter(ui, place.meter).map(Command::Meter).or(asked);
            if model.is_waiting {
                ui.label(RichText::new("waits for its bar").color(theme::TEXT_WEAK));
            }
        });
    });
    asked
}

/// Counts once it is let go, or typed.
fn tempo(ui: &mut Ui, bpm: f64) -> Option<f64> {
    let draft_id = ui.scope_id().with("tempo draft");
    let mut draft = ui.data(|data| data.get_temp::<f64>(draft_id)).unwrap_or(bpm);
    let drag = DragValue::new(&mut draft)
        .range(20.0..=400.0_f64.min(*TEMPO_BPM.end()))
        .speed(0.1)
        .fixed_decimals(2)
        .suffix(" bpm");
    let response = ui.add(drag).on_hover_text("Tempo, for everybody. Drag it, or click and type.");
    response.widget_info(|| WidgetInfo::labeled(AccessRole::SpinButton, true, "Tempo"));
    if response.dragged() || response.has_focus() {
        ui.data_mut(|data| data.insert_temp(draft_id, draft));
        return None;
    }
    let drafted = ui.data_mut(|data| {
        let drafted = data.get_temp::<f64>(draft_id);
        data.remove::<f64>(draft_id);
        drafted
    });
    drafted.map(|_| draft).filter(|draft| (draft - bpm).abs() > 1e-3)
}

fn meter(ui: &mut Ui, now: (u8, u8)) -> Option<Meter> {
    let mut wanted = now;
    let words = |(beats, unit): (u8, u8)| format!("{beats} / {unit}");
    let list = ComboBox::from_id_salt("meter").selected_text(words(now)).width(60.0).show_ui(ui, |ui| {
        for one in METERS {
            ui.selectable_value(&mut wanted, one, words(one));
        }
    });
    list.response.widget_info(|| WidgetInfo::labeled(AccessRole::ComboBox, true, "Meter"));
    list.response.on_hover_text("Meter, for everybody, from the next bar on.");
    (wanted != now).then_some(Meter { beats: wanted.0, unit: wanted.1 })
}

fn when(ui: &mut Ui, controls: Controls) -> Vec<Request> {
    let mut requests = Vec::new();
    named(ui, "Start and stop", |ui, label| {
        let names = Quantum::variants();
        let mut wanted = controls.quantum;
        let shown = names.get(wanted.to_index()).copied().unwrap_or_default();
        let list = ComboBox::from_id_salt("quantum").selected_text(shown).width(100.0).show_ui(ui, |ui| {
            for (index, name) in names.iter().enumerate() {
                ui.selectable_value(&mut wanted, Quantum::from_index(index), *name);
            }
        });
        list.response.labelled_by(label).on_hover_text("When everybody starts and stops.");
        if wanted != controls.quantum {
            requests.push(Request::Quantum(wanted));
        }
        let mut count_in = controls.count_in;
        let label = ui.label(RichText::new("Count-in").color(theme::TEXT_WEAK));
        let shown = |bars: i32| match bars {
            0 => "none".to_owned(),
            1 => "1 bar".to_owned(),
            bars => format!("{bars} bars"),
        };
        let list =
            ComboBox::from_id_salt("count-in").selected_text(shown(count_in)).width(70.0).show_ui(ui, |ui| {
                for bars in 0..=COUNT_IN_MAX {
                    ui.selectable_value(&mut count_in, bars, shown(bars));
                }
            });
        list.response
            .labelled_by(label.id)
            .on_hover_text("Before a start by hand, for everybody's metronome.");
        if count_in != controls.count_in {
            requests.push(Request::CountIn(count_in));
        }
    });
    requests
}

fn metronome(ui: &mut Ui, controls: Controls) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut is_on = controls.metronome;
    let switch = toggle::show(ui, "Metronome", &mut is_on);
    if switch.on_hover_text("Clicks in this track's output, on the session's beat.").changed() {
        requests.push(Request::Metronome(is_on));
    }
    let mut level_db = controls.level_db;
    let meaning = "How loud the clicks are; the track itself is left as it is.";
    let gestures = slider::show(ui, "Level", meaning, &mut level_db, 0.0, |value| {
        Slider::new(value, LEVEL_MIN_DB..=LEVEL_MAX_DB).step_by(0.1).suffix(" dB")
    });
    requests.extend(gestures.into_iter().map(Request::Level));
    let mut delay_ms = controls.output_delay_ms;
    let meaning = "From the host to the ear: what the sound card's output takes, which no host tells. Clicks come earlier by \
                   as much, and this host's beat is taken to be heard so much later.";
    let gestures = slider::show(ui, "Output delay", meaning, &mut delay_ms, 0.0, |value| {
        let range = 0.0..=DELAY_MAX_MS;
        Slider::new(value, range).logarithmic(true).smallest_positive(0.1).fixed_decimals(1).suffix(" ms")
    });
    requests.extend(gestures.into_iter().map(Request::OutputDelay));
    requests
}

/// A name as wide as a slider's, and what `draw` draws beside it.
fn named(ui: &mut Ui, name: &str, draw: impl FnOnce(&mut Ui, egui::Id)) {
    ui.horizontal(|ui| {
        let height = ui.spacing().interact_size.y;
        let layout = egui::Layout::left_to_right(egui::Align::Center);
        let name = ui.allocate_ui_with_layout(vec2(slider::NAME_WIDTH, height), layout, |ui| {
            ui.set_min_width(slider::NAME_WIDTH);
            ui.label(RichText::new(name).color(theme::TEXT_WEAK)).id
        });
        draw(ui, name.inner);
    });
}

/// The window in a host.
#[derive(Debug)]
pub struct ClockView;

/// The type of Clock's editor.
pub type ClockEditor = Window<ClockView>;

impl View for ClockView {
    type Params = ClockParams;
    type Model = Model;
    type Action = Action;

    const PLUG_IN: &'static str = PLUG_IN;
    const SIZE: Vec2 = SIZE;
    const SIZE_MIN: Vec2 = SIZE_MIN;

    fn revision<'a>(model: &Model, params: &'a ClockParams) -> (u64, &'a IntParam) {
        (model.revision, &params.revision)
    }

    fn draw(
        ui: &mut Ui,
        model: &Model,
        params: &ClockParams,
        setter: &ParamSetter<'_>,
        act: &mut dyn FnMut(Action),
    ) {
        for request in self::ui(ui, model, Controls::from(params)) {
            match request {
                Request::Role(role) => set(setter, &params.role, role),
                Request::Quantum(quantum) => set(setter, &params.quantum, quantum),
                Request::CountIn(bars) => set(setter, &params.count_in, bars),
                Request::Metronome(is_on) => set(setter, &params.metronome, is_on),
                Request::Level(gesture) => carry_out(setter, &params.level, gesture),
                Request::OutputDelay(gesture) => carry_out(setter, &params.output_delay, gesture),
                Request::Act(action) => act(action),
            }
        }
    }
}

#[cfg(test)]
mod tests;
