//! The fold named "Session": which one the project belongs to, who is in it, and the ways in and out.

mod forms;

use egui::accesskit::Role;
use egui::{Button, CollapsingHeader, ComboBox, Label, RichText, Sense, Ui, WidgetInfo, vec2};

use super::{qr_code, status_line, theme};
use crate::sessions::{Act, Link, Member, Model, Pairing, Stranger};
use crate::status::Severity;
use forms::Form;

/// What a project without a session is called in the list.
const NONE: &str = "No session";
/// A QR code's side, points.
const CODE_WIDTH: f32 = 300.0;
/// The letters of a spoken code, points.
const CODE_SIZE: f32 = 20.0;

/// Draws the fold, first in it whatever `own` draws of the plug-in itself; what was asked for.
pub fn show(ui: &mut Ui, model: &Model, own: impl FnOnce(&mut Ui)) -> Vec<Act> {
    let name = model.current.as_ref().map_or(String::new(), |current| format!(": {}", current.name));
    let title = RichText::new(format!("Session{name}")).color(theme::TEXT_WEAK);
    let fold = CollapsingHeader::new(title).id_salt("session").show(ui, |ui| content(ui, model, own));
    fold.body_returned.unwrap_or_default()
}

fn content(ui: &mut Ui, model: &Model, own: impl FnOnce(&mut Ui)) -> Vec<Act> {
    let mut acts = Vec::new();
    ui.add_enabled_ui(!model.desk.is_busy, |ui| {
        choice(ui, model, &mut acts);
        own(ui);
        standing(ui, model);
        forms::show(ui, model, &mut acts);
        if let Some(said) = &model.desk.said {
            status_line::show(ui, said);
        }
        if let Some(link) = &model.desk.link {
            link_card(ui, link, &mut acts);
        }
        if let Some(pairing) = &model.desk.pairing {
            code_card(ui, pairing, &mut acts);
        }
        model.members.iter().for_each(|member| member_row(ui, model, member));
        strangers(ui, &model.strangers, &mut acts);
    });
    acts
}

/// The session's name, to be changed; in and out of it.
fn choice(ui: &mut Ui, model: &Model, acts: &mut Vec<Act>) {
    ui.horizontal(|ui| {
        let label = ui.label(RichText::new("Belongs to").color(theme::TEXT_WEAK));
        let mut wanted = model.current.as_ref().map(|current| current.id);
        let now = wanted;
        let shown = model.current.as_ref().map_or(NONE, |current| &current.name);
        let list = ComboBox::from_id_salt("session").selected_text(shown).width(220.0).show_ui(ui, |ui| {
            ui.selectable_value(&mut wanted, None, NONE);
            for session in &model.joined {
                ui.selectable_value(&mut wanted, Some(session.id), &session.name);
            }
        });
        let meaning = "Members of a session hear what its tracks send. Without one, only your own computers do, and whom you named.";
        list.response.labelled_by(label.id).on_hover_text(meaning);
        if wanted != now {
            let session = model.joined.iter().find(|session| Some(session.id) == wanted);
            acts.push(Act::Choose(session.cloned()));
        }
    });
    ui.horizontal(|ui| forms::buttons(ui, model));
}

/// How it stands: in weak words where all is well.
fn standing(ui: &mut Ui, model: &Model) {
    if model.status.severity > Severity::Good {
        status_line::show(ui, &model.status);
    } else if !model.status.cause.is_empty() {
        ui.label(RichText::new(model.status.sentence()).color(theme::TEXT_WEAK));
    }
}

fn card() -> egui::Frame {
    egui::Frame::new().fill(theme::CARD).corner_radius(theme::ROUNDING).inner_margin(8)
}

/// A code, to be read out from afar.
fn code_card(ui: &mut Ui, pairing: &Pairing, acts: &mut Vec<Act>) {
    card().show(ui, |ui| {
        if let Some(code) = &pairing.code {
            ui.label(RichText::new(code).font(theme::figure_font(CODE_SIZE)).color(theme::TEXT));
        }
        ui.horizontal_wrapped(|ui| {
            let stop = ui.button("Put away").on_hover_text("The code is then good for nothing.");
            if stop.clicked() {
                acts.push(Act::StopPairing);
            }
            ui.label(RichText::new(&pairing.about).color(theme::TEXT_WEAK));
        });
    });
}

fn link_card(ui: &mut Ui, link: &Link, acts: &mut Vec<Act>) {
    card().show(ui, |ui| {
        ui.horizontal(|ui| {
            if ui.button("Copy link").clicked() {
                ui.copy_text(link.text.clone());
            }
            if ui.button("Done").on_hover_text("The link stays good; it is no longer shown.").clicked() {
                acts.push(Act::PutAway);
            }
            ui.label(RichText::new(&link.about).color(theme::TEXT_WEAK));
        });
        let text = ui.add(Label::new(RichText::new(&link.text).font(theme::figure_font(11.0))).truncate());
        text.widget_info(|| WidgetInfo::labeled(Role::Label, true, "The link"));
        match &link.qr_code {
            Some(code) => drop(qr_code::show(ui, code, "QR code of the link", CODE_WIDTH)),
            None => drop(ui.label("The link is too long for a QR code: copy it.")),
        }
    });
}

fn member_row(ui: &mut Ui, model: &Model, member: &Member) {
    let (severity, said) = match (member.trouble.as_str(), member.is_self, member.is_here) {
        ("", true, _) => (Severity::Good, "you"),
        ("", _, true) => (Severity::Good, "here"),
        ("", ..) => (Severity::Idle, "away"),
        (trouble, ..) => (Severity::Warning, trouble),
    };
    ui.horizontal(|ui| {
        sign(ui, severity);
        let name = ui.label(RichText::new(&member.name).color(theme::TEXT));
        name.widget_info(|| WidgetInfo::labeled(Role::Label, true, format!("{}: {said}", member.name)));
        name.on_hover_text(format!("Key {}", member.user));
        ui.add(Label::new(RichText::new(said).color(theme::TEXT_WEAK)).truncate());
        if model.may_remove && !member.is_self {
            forms::remove_button(ui, model, member);
        }
    });
}

fn strangers(ui: &mut Ui, strangers: &[Stranger], acts: &mut Vec<Act>) {
    if strangers.is_empty() {
        return;
    }
    ui.add_space(2.0);
    ui.label(
        RichText::new("At the door: compare the digits with theirs before you accept")
            .color(theme::TEXT_WEAK),
    );
    for stranger in strangers {
        ui.horizontal(|ui| {
            sign(ui, Severity::Warning);
            ui.label(RichText::new(&stranger.name).color(theme::TEXT)).on_hover_text(&stranger.why);
            ui.label(RichText::new(&stranger.fingerprint).font(theme::figure_font(12.0)));
            let Some(user) = stranger.user else { return };
            let accept = ui.add(Button::new("Accept").small());
            accept.widget_info(|| {
                WidgetInfo::labeled(
                    Role::Button,
                    true,
                    format!("Accept {}, {}", stranger.name, stranger.fingerprint),
                )
            });
            let meaning = "They then see and play all that your own computers can.";
            if accept.on_hover_text(meaning).clicked() {
                acts.push(Act::Accept(user, stranger.name.clone()));
            }
        });
    }
}

fn sign(ui: &mut Ui, severity: Severity) {
    let (rect, _) = ui.allocate_exact_size(vec2(16.0, 18.0), Sense::hover());
    status_line::paint_sign(ui.painter(), rect.center(), severity, theme::severity_color(severity));
}

/// The form that is open, kept by the window.
fn form_id() -> egui::Id {
    egui::Id::unique("session form")
}

fn form(ui: &Ui) -> Option<Form> {
    ui.data(|data| data.get_temp(form_id()))
}

fn set_form(ui: &Ui, form: Option<Form>) {
    ui.data_mut(|data| match form {
        Some(form) => drop(data.insert_temp(form_id(), form)),
        None => data.remove::<Form>(form_id()),
    });
}

#[cfg(test)]
mod tests;
