//! What is asked before something is done: a name, a link, for whom an invitation is, whether it is meant.

use audiocloud_net::wire::id::SessionId;
use egui::accesskit::Role;
use egui::{Button, ComboBox, DragValue, Key, RichText, TextEdit, Ui, WidgetInfo};

use super::{form, set_form};
use crate::editor::theme;
use crate::sessions::{self, Act, Member, Model, Offer, Stay};

/// A session's name, characters.
const NAME_MAX: usize = 64;
/// A link, characters: with room for the white space that mail programs add.
const LINK_MAX: usize = 20_000;
/// People that one link lets in at most.
const USES_MAX: u16 = 16;

/// A form that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Create(String),
    Join(String),
    Invite(Offer),
    /// Whether this is meant, and what it is called.
    Confirm {
        act: Act,
        question: String,
        verb: &'static str,
    },
}

/// Those that open a form.
pub(super) fn buttons(ui: &mut Ui, model: &Model) {
    let mut wanted = None;
    if ui.button("New…").on_hover_text("Begin a session of your own.").clicked() {
        wanted = Some(Form::Create(String::new()));
    }
    if ui.button("Join…").on_hover_text("By a link or a code that somebody gave you.").clicked() {
        wanted = Some(Form::Join(String::new()));
    }
    let joined = model.current.as_ref().filter(|current| model.joined.iter().any(|it| it.id == current.id));
    let invite = ui.add_enabled(joined.is_some() && model.may_invite, Button::new("Invite…"));
    if invite.on_hover_text("Make a link or a code for somebody.").clicked() {
        wanted = Some(Form::Invite(Offer::default()));
    }
    let leave = ui.add_enabled(joined.is_some(), Button::new("Leave…"));
    if let (true, Some(current)) = (leave.on_hover_text("Be a member no more.").clicked(), joined) {
        let question = format!("Leave “{}”? To come back you need a new link.", current.name);
        wanted = Some(Form::Confirm { act: Act::Leave(current.id), question, verb: "Leave" });
    }
    if wanted.is_some() {
        set_form(ui, wanted);
    }
}

/// Opens the question whether somebody is to be taken out.
pub(super) fn remove_button(ui: &mut Ui, model: &Model, member: &Member) {
    let Some(current) = &model.current else { return };
    let remove = ui.add(Button::new("Remove…").small());
    remove.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Remove {}…", member.name)));
    if remove.on_hover_text("Take them out, with all whom they invited, for good.").clicked() {
        let question =
            format!("Remove {} and all whom they invited? This cannot be taken back.", member.name);
        let act = Act::Remove(current.id, member.user);
        set_form(ui, Some(Form::Confirm { act, question, verb: "Remove" }));
    }
}

/// The open form, if there is one.
pub(super) fn show(ui: &mut Ui, model: &Model, acts: &mut Vec<Act>) {
    let Some(mut open) = form(ui) else { return };
    let (mut done, mut is_closed) = (None, ui.input(|input| input.key_pressed(Key::Escape)));
    ui.horizontal_wrapped(|ui| {
        match &mut open {
            Form::Create(name) => {
                let is_entered = line(ui, "Name of the new session", name, NAME_MAX);
                let is_named = !name.trim().is_empty();
                if (ui.add_enabled(is_named, Button::new("Create")).clicked() || is_entered) && is_named {
                    done = Some(Act::Create(name.trim().to_owned()));
                }
            }
            Form::Join(text) => {
                let is_entered = line(ui, "Paste the link, or enter the code", text, LINK_MAX);
                let is_there = is_code(text) && model.desk.pairing.is_none() || is_link(text);
                if (ui.add_enabled(is_there, Button::new("Join")).clicked() || is_entered) && is_there {
                    let text = text.trim().to_owned();
                    done = Some(if is_code(&text) { Act::EnterCode(text) } else { Act::Join(text) });
                }
            }
            Form::Invite(offer) => {
                if let Some(current) = &model.current {
                    done = invite(ui, current.id, offer, model.desk.pairing.is_some());
                }
            }
            Form::Confirm { act, question, verb } => {
                ui.label(RichText::new(question.as_str()).color(theme::WARNING));
                if ui.button(*verb).clicked() {
                    done = Some(act.clone());
                }
            }
        }
        is_closed |= ui.button("Cancel").clicked();
    });
    is_closed |= done.is_some();
    acts.extend(done);
    set_form(ui, (!is_closed).then_some(open));
}

/// A code begins with its number.
fn is_code(text: &str) -> bool {
    text.trim_start().starts_with(|first: char| first.is_ascii_digit())
}

fn is_link(text: &str) -> bool {
    !is_code(text) && !text.trim().is_empty()
}

/// A line of text; true when Enter was pressed in it.
fn line(ui: &mut Ui, name: &str, text: &mut String, characters_max: usize) -> bool {
    let width = (ui.available_width() - 150.0).max(120.0);
    let edit = TextEdit::singleline(text)
        .desired_width(width)
        .char_limit(characters_max)
        .background_color(theme::WELL)
        .hint_text(name);
    let response = ui.add(edit);
    response.widget_info(|| WidgetInfo {
        label: Some(name.to_owned()),
        ..WidgetInfo::text_edit(true, "", text.as_str(), name)
    });
    response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter))
}

/// For whom an invitation is, and in which form it is to be made, once that is asked for.
fn invite(ui: &mut Ui, session: SessionId, offer: &mut Offer, is_pairing: bool) -> Option<Act> {
    let label = ui.label(RichText::new("They may").color(theme::TEXT_WEAK));
    let list = ComboBox::from_id_salt("role").selected_text(offer.role.words()).width(120.0);
    let list = list.show_ui(ui, |ui| {
        for role in sessions::Role::ALL {
            ui.selectable_value(&mut offer.role, role, role.words());
        }
    });
    list.response.labelled_by(label.id);
    let list = ComboBox::from_id_salt("stay").selected_text(offer.stay.words()).width(90.0);
    let list = list.show_ui(ui, |ui| {
        for stay in Stay::ALL {
            ui.selectable_value(&mut offer.stay, stay, stay.words());
        }
    });
    list.response.on_hover_text("How long they stay members.");
    let suffix = if offer.uses == 1 { " person" } else { " people" };
    let people = DragValue::new(&mut offer.uses).range(1..=USES_MAX).suffix(suffix);
    ui.add(people).on_hover_text("How many the link lets in; then it is used up.");
    let link = ui.button("Make a link").on_hover_text("To be sent to them.");
    let code = ui.add_enabled(offer.uses == 1 && !is_pairing, Button::new("Make a code"));
    let code =
        code.on_hover_text("To be said to one person who is on this network now. It serves for one try.");
    let by_code = code.clicked().then_some(Act::ShowCode(session, *offer));
    link.clicked().then_some(Act::Invite(session, *offer)).or(by_code)
}
