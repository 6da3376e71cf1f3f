//! The parameters of one effect.

use audiocloud_engine::chain::document::Slot;
use audiocloud_engine::chain::edit::Edit;
use audiocloud_engine::effects::parameter::{Parameter, Range, index};
use audiocloud_instance::editor::slider::Gesture;
use audiocloud_instance::editor::{slider, theme, toggle};
use egui::{Button, ComboBox, RichText, Slider, Ui};

use super::Request;
use crate::model::{Action, Model};

/// A switch by name; whether it was thrown.
pub(super) fn switch(ui: &mut Ui, name: &str, on: &mut bool) -> bool {
    // The name is for those who hear the window: the title stands beside it.
    let response = ui.checkbox(on, "");
    let is_on = *on;
    response.widget_info(|| egui::WidgetInfo::selected(egui::accesskit::Role::Switch, true, is_on, name));
    response.on_hover_text("Off: it is passed by, as late as before.").changed()
}

/// Draws all parameters; what was asked for.
pub(super) fn show(ui: &mut Ui, model: &Model, slot: &Slot) -> Vec<Request> {
    let Some(kind) = slot.effect_kind() else {
        let words = "Its parameters are in the host's slots, as far as they were given one.";
        ui.label(RichText::new(words).color(theme::TEXT_WEAK));
        return Vec::new();
    };
    let mut requests = Vec::new();
    for parameter in kind.parameters {
        requests.extend(self::parameter(ui, model, slot.id, parameter, slot.value(parameter)));
    }
    requests
}

/// Draws one parameter, with its slot.
pub(super) fn parameter(
    ui: &mut Ui,
    model: &Model,
    effect: u32,
    parameter: &'static Parameter,
    value: f32,
) -> Vec<Request> {
    let mut requests = Vec::new();
    let slot = model.slots.find(effect, parameter.id);
    ui.push_id(("parameter", effect, parameter.id), |ui| {
        ui.horizontal(|ui| {
            requests.extend(slot_button(ui, effect, parameter, slot));
            ui.vertical(|ui| match parameter.range {
                Range::Linear { .. } | Range::Logarithmic { .. } => {
                    requests.extend(knob(ui, model, effect, parameter, value, slot));
                }
                Range::Choice(names) => {
                    let (now, mut wanted) = (index(value), index(value));
                    ui.horizontal(|ui| {
                        let label = ui.label(RichText::new(parameter.name).color(theme::TEXT_WEAK));
                        let shown = names.get(now).copied().unwrap_or_default();
                        let list = ComboBox::from_id_salt("choice").selected_text(shown).show_ui(ui, |ui| {
                            for (number, name) in names.iter().enumerate() {
                                ui.selectable_value(&mut wanted, number, *name);
                            }
                        });
                        list.response.labelled_by(label.id);
                    });
                    if wanted != now {
                        let value = u16::try_from(wanted).map_or(0.0, f32::from);
                        requests.extend(whole(model, effect, parameter, value, slot));
                    }
                }
                Range::Switch => {
                    let mut on = value > 0.5;
                    if toggle::show(ui, parameter.name, &mut on).changed() {
                        let value = if on { 1.0 } else { 0.0 };
                        requests.extend(whole(model, effect, parameter, value, slot));
                    }
                }
            });
        });
    });
    requests
}

/// Which slot of the host moves it: a click gives it one, or takes it away.
fn slot_button(ui: &mut Ui, effect: u32, parameter: &Parameter, slot: Option<usize>) -> Option<Request> {
    let text = slot.map_or_else(|| "--".to_owned(), |slot| format!("{:02}", slot + 1));
    let button =
        Button::new(RichText::new(text).font(theme::figure_font(11.0))).small().selected(slot.is_some());
    let response = ui.add(button);
    let spoken = match slot {
        Some(slot) => format!("{}: slot {}", parameter.name, slot + 1),
        None => format!("{}: no slot", parameter.name),
    };
    response.widget_info(|| egui::WidgetInfo::labeled(egui::accesskit::Role::Button, true, &spoken));
    let meaning = match slot {
        Some(slot) => format!("The host automates it as Slot {}. Click to free the slot.", slot + 1),
        None => "Click to give it one of the host's 64 slots, so that it can be automated.".to_owned(),
    };
    let is_asked = response.on_hover_text(meaning).clicked();
    is_asked.then_some(Request::Act(Action::Automate(effect, parameter.id, slot.is_none())))
}

/// A slider on the knob's own scale, with the value as people write it.
fn knob(
    ui: &mut Ui,
    model: &Model,
    effect: u32,
    parameter: &'static Parameter,
    value: f32,
    slot: Option<usize>,
) -> Vec<Request> {
    let mut normalised = parameter.normalised(value);
    let default = parameter.normalised(parameter.default);
    #[allow(clippy::cast_possible_truncation, reason = "a position from 0 to 1")]
    let gestures = slider::show(ui, parameter.name, "", &mut normalised, default, |value| {
        Slider::new(value, 0.0..=1.0)
            .custom_formatter(|position, _| parameter.to_text(parameter.plain(position as f32)))
            .custom_parser(|text| {
                parameter.from_text(text).ok().map(|plain| parameter.normalised(plain).into())
            })
    });
    let mapping = slot.and_then(|slot| Some((slot, model.slots.mappings(&model.chain)[slot]?)));
    let request = |gesture| match (mapping, gesture) {
        // The host hears of the gesture, and may record it.
        (Some((slot, mapping)), Gesture::Set(position)) => {
            Some(Request::Slot(slot, Gesture::Set(mapping.position(parameter.plain(position)))))
        }
        (Some((slot, _)), gesture) => Some(Request::Slot(slot, gesture)),
        (None, Gesture::Set(position)) => {
            let value = parameter.plain(position);
            Some(Request::Act(Action::Edit(Edit::Set { effect, parameter: parameter.id, value })))
        }
        (None, Gesture::Begin | Gesture::End) => None,
    };
    gestures.into_iter().filter_map(request).collect()
}

/// A whole gesture: what has no way between.
fn whole(model: &Model, effect: u32, parameter: &Parameter, value: f32, slot: Option<usize>) -> Vec<Request> {
    match slot.and_then(|slot| Some((slot, model.slots.mappings(&model.chain)[slot]?))) {
        Some((slot, mapping)) => [Gesture::Begin, Gesture::Set(mapping.position(value)), Gesture::End]
            .map(|gesture| Request::Slot(slot, gesture))
            .to_vec(),
        None => vec![Request::Act(Action::Edit(Edit::Set { effect, parameter: parameter.id, value }))],
    }
}
