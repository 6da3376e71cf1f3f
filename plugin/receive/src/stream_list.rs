//! The list of streams: what can be picked, what is bound, and what is bound but not there.

use audiocloud_instance::editor::{status_line, theme};
use audiocloud_instance::status::Severity;
use egui::accesskit::Role;
use egui::{Align2, Color32, FontId, Rect, RichText, ScrollArea, Sense, Ui, WidgetInfo, vec2};

use crate::model::{Action, Model};

const ROW_HEIGHT: f32 = 25.0;
const HEIGHT: f32 = 104.0;

struct Row<'a> {
    name: &'a str,
    publisher: &'a str,
    /// At the right: the format, or what is the matter.
    aside: &'a str,
    bound: bool,
    /// Draws the eye, with a sign: missing, or not playable here.
    objection: bool,
}

/// Draws the list and says what was picked.
pub(crate) fn show(ui: &mut Ui, model: &Model) -> Option<Action> {
    let mut action = None;
    ui.horizontal(|ui| {
        ui.label(RichText::new("Streams").color(theme::TEXT_WEAK));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let release = ui.add_enabled(model.bound.is_some(), egui::Button::new("Release").small());
            if release.on_hover_text("Play no stream.").clicked() {
                action = Some(Action::Unbind);
            }
        });
    });
    let card = egui::Frame::new().fill(theme::WELL).corner_radius(theme::ROUNDING).inner_margin(4);
    card.show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 1.0;
        ScrollArea::vertical()
            .id_salt("streams")
            .max_height(HEIGHT)
            .min_scrolled_height(HEIGHT)
            .auto_shrink(false)
            .show(ui, |ui| {
                action = rows(ui, model).or(action.take());
            });
    });
    action
}

fn rows(ui: &mut Ui, model: &Model) -> Option<Action> {
    let mut action = None;
    let bound = model.bound.as_ref();
    if let Some(missing) =
        bound.filter(|bound| model.choices.iter().all(|choice| choice.stream != bound.stream))
    {
        let (name, publisher) = (missing.name.as_str(), missing.publisher.as_str());
        row(ui, &Row { name, publisher, aside: "missing", bound: true, objection: true });
    }
    for choice in &model.choices {
        let is_bound = bound.is_some_and(|bound| bound.stream == choice.stream);
        let objection = !choice.objection.is_empty();
        let aside = if objection { &choice.objection } else { &choice.format };
        let (name, publisher) = (choice.name.as_str(), choice.publisher.as_str());
        if row(ui, &Row { name, publisher, aside, bound: is_bound, objection }) && !is_bound {
            action = Some(Action::Bind { stream: choice.stream, name: choice.name.clone() });
        }
    }
    if model.choices.is_empty() && bound.is_none() {
        ui.add_space(6.0);
        let hint = "No streams in reach. Put audiocloud Send on a track, here or on another computer of this network.";
        ui.label(RichText::new(hint).color(theme::TEXT_WEAK));
    }
    action
}

/// Draws a row; true when it was picked.
fn row(ui: &mut Ui, row: &Row<'_>) -> bool {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW_HEIGHT), Sense::click());
    let spoken = format!("{}, from {}, {}", row.name, row.publisher, row.aside);
    response.widget_info(|| WidgetInfo::selected(Role::ListBoxOption, true, row.bound, &spoken));
    if ui.is_rect_visible(rect) {
        let fill = match (row.bound, response.hovered() || response.has_focus()) {
            (true, _) => theme::ACCENT_DARK,
            (false, true) => theme::CARD,
            (false, false) => Color32::TRANSPARENT,
        };
        ui.painter().rect_filled(rect, theme::ROUNDING, fill);
        let sign = match (row.bound, row.objection) {
            (_, true) => Some(Severity::Warning),
            (true, false) => Some(Severity::Good),
            (false, false) => None,
        };
        if let Some(severity) = sign {
            let at = rect.left_center() + vec2(14.0, 0.0);
            status_line::paint_sign(ui.painter(), at, severity, theme::severity_color(severity));
        }
        paint_words(ui, rect.shrink2(vec2(8.0, 0.0)), row);
    }
    response.on_hover_text(&spoken).clicked()
}

fn paint_words(ui: &Ui, rect: Rect, row: &Row<'_>) {
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    let aside_color = if row.objection { theme::WARNING } else { theme::TEXT_WEAK };
    let aside = painter.text(
        rect.right_center(),
        Align2::RIGHT_CENTER,
        row.aside,
        FontId::proportional(11.5),
        aside_color,
    );
    // Long names end before the words at the right begin.
    let left = rect.with_max_x(aside.left() - 10.0);
    let painter = painter.with_clip_rect(left.intersect(painter.clip_rect()));
    let at = left.left_center() + vec2(20.0, 0.0);
    let name = painter.text(at, Align2::LEFT_CENTER, row.name, FontId::proportional(13.5), theme::TEXT);
    let at = name.right_center() + vec2(8.0, 0.5);
    painter.text(at, Align2::LEFT_CENTER, row.publisher, FontId::proportional(11.5), theme::TEXT_WEAK);
}
