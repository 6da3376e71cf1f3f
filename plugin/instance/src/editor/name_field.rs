//! A name, edited in place.

use egui::{Key, TextEdit, Ui};

use super::theme;

const CHARACTERS_MAX: usize = 64;

/// Draws the field, as wide as `width` points and labelled by `label`. What is typed counts from Enter or from leaving
/// the field, and Escape takes it back: the new name, once there is one.
pub fn show(ui: &mut Ui, name: &str, hint: &str, width: f32, label: egui::Id) -> Option<String> {
    let draft_id = ui.scope_id().with("draft");
    let mut draft = ui.data(|data| data.get_temp::<String>(draft_id)).unwrap_or_else(|| name.to_owned());
    let edit = TextEdit::singleline(&mut draft)
        .desired_width(width)
        .char_limit(CHARACTERS_MAX)
        .background_color(theme::WELL)
        .hint_text(hint);
    let response = ui.add(edit).labelled_by(label);
    if response.has_focus() {
        ui.data_mut(|data| data.insert_temp(draft_id, draft));
        return None;
    }
    if response.lost_focus() {
        ui.data_mut(|data| data.remove::<String>(draft_id));
        let wanted = draft.trim();
        let taken_back = ui.input(|input| input.key_pressed(Key::Escape));
        return (!taken_back && !wanted.is_empty() && wanted != name).then(|| wanted.to_owned());
    }
    None
}
