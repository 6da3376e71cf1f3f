//! The fold named "Playout": how long frames wait, as what they are asked for, and what is known of the clocks.

use audiocloud_instance::editor::slider::{self, Gesture};
use audiocloud_instance::editor::{figure, theme, toggle};
use audiocloud_instance::params::{
    BUDGET_MAX_MS, CEILING_DEFAULT_MS, DELAY_DEFAULT_MS, DELAY_MAX_MS, DELAY_MIN_MS, LINK_OFFSET_MAX_MS,
};
use egui::{Button, CollapsingHeader, ComboBox, RichText, Slider, Ui, vec2};
use nice_plug::prelude::Enum;

use crate::editor::{Controls, Request, Span};
use crate::model::Model;
use crate::params::{Clock, Outputs, Playout};

/// Draws the fold and says what was asked for.
pub(crate) fn show(ui: &mut Ui, model: &Model, controls: &Controls) -> Vec<Request> {
    let title = RichText::new("Playout").color(theme::TEXT_WEAK);
    let fold = CollapsingHeader::new(title).id_salt("playout").show(ui, |ui| {
        let mut requests = Vec::new();
        let meaning = "0 ms: none. Else quality and waiting follow from it, whatever is set below.";
        requests.extend(milliseconds(
            ui,
            "Budget",
            meaning,
            Span::Budget,
            controls.budget_ms,
            0.0,
            0.0..=BUDGET_MAX_MS,
        ));
        if !model.plan.is_empty() {
            ui.label(RichText::new(&model.plan).color(theme::TEXT_WEAK));
        }
        ui.add_enabled_ui(controls.budget_ms <= 0.0, |ui| {
            let choices = [
                (Playout::Lowest, "Lowest", "As briefly as the network allows, between floor and ceiling."),
                (Playout::Fixed, "Fixed", "Always for as long as is set."),
                (Playout::Aligned, "Aligned", "Everybody who plays a stream so hears it at the same time."),
                (Playout::Interval, "Interval", "Late by whole bars: to play along over any distance."),
            ];
            requests.extend(choice(ui, "Waiting", controls.playout, choices).map(Request::Playout));
            match controls.playout {
                Playout::Lowest => requests.extend(bounds(ui, controls)),
                Playout::Fixed => requests.extend(delay(ui, controls)),
                Playout::Aligned => requests.extend(link_offset(ui, controls)),
                Playout::Interval => {
                    let chosen = list(ui, "Interval", controls.interval);
                    requests.extend(chosen.map(Request::Interval));
                }
            }
            requests.extend(list(ui, "Quality", controls.quality).map(Request::Quality));
        });
        let choices = [
            (
                Clock::Automatic,
                "Automatic",
                "Where the clocks of both computers differ, the stream is resampled.",
            ),
            (Clock::Shared, "Shared", "Both have one word clock: the stream is never resampled."),
        ];
        requests.extend(choice(ui, "Clock", controls.clock, choices).map(Request::Clock));
        if model.has_outputs {
            let choices = [
                (Outputs::Mixed, "Mixed", "All streams in the main output."),
                (
                    Outputs::Separate,
                    "Separate",
                    "Eight streams on outputs of their own, instead of in the main one.",
                ),
            ];
            requests.extend(choice(ui, "Outputs", controls.outputs, choices).map(Request::Outputs));
        }
        let mut report = controls.report_latency;
        let meaning = "The host delays its other tracks by as much; a change restarts the plug-in.";
        if toggle::show(ui, "Report latency to the host", &mut report).on_hover_text(meaning).changed() {
            requests.push(Request::ReportLatency(report));
        }
        requests
    });
    fold.body_returned.unwrap_or_default()
}

fn bounds(ui: &mut Ui, controls: &Controls) -> Vec<Request> {
    let (floor, ceiling) = ("Frames never wait for less.", "On average frames never wait for more.");
    let mut requests =
        milliseconds(ui, "Floor", floor, Span::Floor, controls.floor_ms, 0.0, 0.0..=DELAY_MAX_MS);
    let range = 0.0..=DELAY_MAX_MS;
    requests.extend(milliseconds(
        ui,
        "Ceiling",
        ceiling,
        Span::Ceiling,
        controls.ceiling_ms,
        CEILING_DEFAULT_MS,
        range,
    ));
    requests
}

fn delay(ui: &mut Ui, controls: &Controls) -> Vec<Request> {
    let meaning =
        "How long a frame waits for stragglers before it is played: longer is safer, shorter is quicker.";
    let range = DELAY_MIN_MS..=DELAY_MAX_MS;
    milliseconds(ui, "Playout delay", meaning, Span::Delay, controls.delay_ms, DELAY_DEFAULT_MS, range)
}

fn link_offset(ui: &mut Ui, controls: &Controls) -> Vec<Request> {
    let meaning = "From recording to playing. 0 ms: as short as all can keep who play the stream so. Set the same everywhere, or 0.";
    let range = 0.0..=LINK_OFFSET_MAX_MS;
    milliseconds(ui, "Link offset", meaning, Span::LinkOffset, controls.link_offset_ms, 0.0, range)
}

fn milliseconds(
    ui: &mut Ui,
    name: &str,
    meaning: &str,
    span: Span,
    mut value_ms: f32,
    default_ms: f32,
    range: std::ops::RangeInclusive<f32>,
) -> Vec<Request> {
    let gestures = slider::show(ui, name, meaning, &mut value_ms, default_ms, |value| {
        Slider::new(value, range).logarithmic(true).smallest_positive(0.1).fixed_decimals(1).suffix(" ms")
    });
    gestures.into_iter().map(|gesture: Gesture| Request::Span(span, gesture)).collect()
}

/// A list of all that a parameter can be.
fn list<T: Enum + PartialEq + Copy>(ui: &mut Ui, called: &str, current: T) -> Option<T> {
    let mut wanted = current;
    let names = T::variants();
    named(ui, called, |ui, name| {
        let shown = names.get(current.to_index()).copied().unwrap_or_default();
        let list = ComboBox::from_id_salt(called).selected_text(shown).width(150.0);
        let list = list.show_ui(ui, |ui| {
            for (index, name) in names.iter().enumerate() {
                ui.selectable_value(&mut wanted, T::from_index(index), *name);
            }
        });
        list.response.labelled_by(name);
    });
    (wanted != current).then_some(wanted)
}

/// Buttons of which one is in.
pub(crate) fn choice<T: PartialEq + Copy, const N: usize>(
    ui: &mut Ui,
    name: &str,
    current: T,
    choices: [(T, &str, &str); N],
) -> Option<T> {
    let mut wanted = None;
    named(ui, name, |ui, _| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for (choice, name, meaning) in choices {
            let button = Button::selectable(current == choice, name)
                .frame_when_inactive(true)
                .min_size(vec2(72.0, 22.0));
            if ui.add(button).on_hover_text(meaning).clicked() && current != choice {
                wanted = Some(choice);
            }
        }
    });
    wanted
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

/// The waterfall as lines of Details.
pub(crate) fn waterfall(model: &Model) -> Vec<audiocloud_instance::editor::details::Detail> {
    let meanings = [
        "Until the sender's block is full.",
        "Until a frame of the codec is full, and what it looks ahead.",
        "The way there: half of the round trip.",
        "Waiting for stragglers and for what is sent again.",
        "Half of its filter, where clocks or rates differ.",
        "Until the next callback here, at most.",
    ];
    let parts = model.waterfall.iter().zip(meanings);
    parts
        .map(|((name, part_ms), meaning)| {
            audiocloud_instance::editor::details::Detail::new(
                format!("Latency: {name}"),
                figure::milliseconds(*part_ms),
                meaning,
            )
        })
        .collect()
}
