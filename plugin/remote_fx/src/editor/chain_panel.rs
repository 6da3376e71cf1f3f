//! The chain as a list: what is in it, in which order, and what may be added.

use audiocloud_engine::chain::document::{Item, LEVEL_DB_MIN, LEVELS, Parallel};
use audiocloud_engine::chain::edit::{Edit, Place};
use audiocloud_engine::effects::KINDS;
use audiocloud_instance::editor::theme;
use egui::{Button, CollapsingHeader, Frame, Margin, RichText, Ui};

use super::{Request, effect_panel};
use crate::model::{Action, Model};

/// What a list of items lies in: the chain itself, or a branch of a parallel.
type Within = Option<(u32, u16)>;

/// Draws the chain; what was asked for.
pub(super) fn show(ui: &mut Ui, model: &Model) -> Vec<Request> {
    items(ui, model, &model.chain.items, None)
}

fn items(ui: &mut Ui, model: &Model, items: &[Item], within: Within) -> Vec<Request> {
    let mut requests = Vec::new();
    for (index, item) in (0..).zip(items) {
        let last = index as usize + 1 == items.len();
        ui.push_id(("item", item.id()), |ui| {
            let card = Frame::new()
                .fill(theme::CARD)
                .corner_radius(theme::ROUNDING)
                .inner_margin(Margin::symmetric(8, 5));
            card.show(ui, |ui| {
                ui.set_min_width(ui.available_width());
                requests.extend(one(ui, model, item, Place { within, index }, last));
            });
        });
    }
    requests.extend(add(ui, model, within));
    requests
}

fn one(ui: &mut Ui, model: &Model, item: &Item, at: Place, last: bool) -> Vec<Request> {
    let mut requests = Vec::new();
    let id = item.id();
    ui.horizontal(|ui| {
        if let Item::Effect(slot) = item {
            let mut on = !slot.bypassed;
            let name = format!("{} on", item.title());
            if effect_panel::switch(ui, &name, &mut on) {
                requests.push(edit(Edit::Bypass(id, !on)));
            }
        }
        ui.label(RichText::new(item.title()).color(theme::TEXT).strong());
        if let Some((_, words)) = model.words.iter().find(|(one, _)| *one == id) {
            ui.label(RichText::new(words).color(theme::WARNING));
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let mut small = |text: &str, name: &str, enabled: bool| {
                let button = ui.add_enabled(enabled, Button::new(text).small());
                let spoken = format!("{name} {}", item.title());
                button.widget_info(|| {
                    egui::WidgetInfo::labeled(egui::accesskit::Role::Button, enabled, &spoken)
                });
                button.on_hover_text(name).clicked()
            };
            if small("x", "Remove", true) {
                requests.push(edit(Edit::Remove(id)));
            }
            if small("v", "Move down", !last) {
                requests.push(edit(Edit::Move { id, to: Place { index: at.index + 1, ..at } }));
            }
            if small("^", "Move up", at.index > 0) {
                requests.push(edit(Edit::Move { id, to: Place { index: at.index.saturating_sub(1), ..at } }));
            }
        });
    });
    match item {
        Item::Effect(slot) => {
            CollapsingHeader::new(RichText::new("Parameters").color(theme::TEXT_WEAK)).id_salt(id).show(
                ui,
                |ui| {
                    requests.extend(effect_panel::show(ui, model, slot));
                },
            );
        }
        Item::Parallel(parallel) => requests.extend(branches(ui, model, parallel)),
    }
    requests
}

fn branches(ui: &mut Ui, model: &Model, parallel: &Parallel) -> Vec<Request> {
    let mut requests = Vec::new();
    let id = parallel.id;
    for (number, branch) in (0_u16..).zip(&parallel.branches) {
        ui.push_id(("branch", number), |ui| {
            if let Some(level) = LEVELS.get(usize::from(number)) {
                let off = if branch.level_db <= LEVEL_DB_MIN { " (silent)" } else { "" };
                ui.label(RichText::new(format!("Branch {}{off}", number + 1)).color(theme::TEXT_WEAK));
                requests.extend(effect_panel::parameter(ui, model, id, level, branch.level_db));
            }
            ui.indent("items", |ui| requests.extend(items(ui, model, &branch.items, Some((id, number)))));
            if parallel.branches.len() > 1
                && ui.small_button(format!("Remove branch {}", number + 1)).clicked()
            {
                requests.push(edit(Edit::RemoveBranch(id, number)));
            }
        });
    }
    if ui.small_button("Add branch").clicked() {
        requests.push(edit(Edit::AddBranch(id)));
    }
    requests
}

/// What may go behind everything in a list.
fn add(ui: &mut Ui, model: &Model, within: Within) -> Vec<Request> {
    let mut requests = Vec::new();
    let at = Place { within, index: u32::MAX };
    ui.menu_button("Add…", |ui| {
        let mut offer = |ui: &mut Ui, name: &str, about: &str, wanted: Edit| {
            if ui.button(name).on_hover_text(about).clicked() {
                requests.push(edit(wanted));
                ui.close();
            }
        };
        for kind in KINDS {
            offer(ui, kind.name, kind.about, Edit::Add { at, kind: kind.id.to_owned() });
        }
        offer(
            ui,
            "Parallel",
            "Branches side by side, each with its own level.",
            Edit::AddParallel { at, branches: 2 },
        );
        if !model.plug_ins.is_empty() {
            ui.separator();
        }
        for (kind, name) in &model.plug_ins {
            offer(
                ui,
                name,
                "A CLAP plug-in of a node: it runs there alone.",
                Edit::Add { at, kind: kind.clone() },
            );
        }
    });
    requests
}

fn edit(edit: Edit) -> Request {
    Request::Act(Action::Edit(edit))
}
