//! One sentence of status: a sign, a word, the cause, the remedy. The colour only repeats what shape and word
//! say.

use egui::accesskit::Role;
use egui::{Color32, Frame, Margin, Painter, Pos2, Rect, Response, RichText, Sense, Shape, Stroke, Ui};
use egui::{WidgetInfo, pos2, vec2};

use super::theme;
use crate::status::{Severity, Status};

/// Draws the status across the width. In the accessibility tree it is one status, "Good: Two listen."
pub fn show(ui: &mut Ui, status: &Status) -> Response {
    let color = theme::severity_color(status.severity);
    let card = Frame::new()
        .fill(theme::CARD)
        .stroke(Stroke::new(1.0, color.gamma_multiply(0.45)))
        .corner_radius(theme::ROUNDING)
        .inner_margin(Margin::symmetric(10, 7));
    let response = card
        .show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            ui.horizontal_top(|ui| {
                let (rect, _) = ui.allocate_exact_size(vec2(16.0, 20.0), Sense::hover());
                paint_sign(ui.painter(), rect.center(), status.severity, color);
                ui.vertical(|ui| {
                    ui.spacing_mut().item_spacing.y = 2.0;
                    ui.horizontal_wrapped(|ui| {
                        ui.spacing_mut().item_spacing.x = 6.0;
                        ui.label(RichText::new(word(status.severity)).color(color).strong());
                        ui.label(RichText::new(status.cause.as_ref()).color(theme::TEXT));
                    });
                    if !status.remedy.is_empty() {
                        ui.label(RichText::new(status.remedy.as_ref()).color(theme::TEXT_WEAK));
                    }
                });
            });
        })
        .response;
    let spoken = format!("{}: {}", word(status.severity), status.sentence());
    response.widget_info(|| WidgetInfo::labeled(Role::Status, true, &spoken));
    response
}

/// The word that goes with the colour.
pub fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Idle => "Idle",
        Severity::Good => "Good",
        Severity::Warning => "Warning",
        Severity::Fault => "Fault",
    }
}

/// A shape per severity, told apart without colour: ring, tick, triangle, cross. Painted, for fonts lack
/// them.
pub fn paint_sign(painter: &Painter, center: Pos2, severity: Severity, color: Color32) {
    let stroke = Stroke::new(1.8, color);
    let at = |x: f32, y: f32| pos2(center.x + x, center.y + y);
    match severity {
        Severity::Idle => {
            painter.circle_stroke(center, 5.5, stroke);
        }
        Severity::Good => {
            painter.add(Shape::line(vec![at(-5.5, 0.5), at(-1.5, 4.5), at(6.0, -4.5)], stroke));
        }
        Severity::Warning => {
            let corners = vec![at(0.0, -6.0), at(6.5, 5.5), at(-6.5, 5.5)];
            painter.add(Shape::closed_line(corners, stroke));
            painter.line_segment([at(0.0, -2.0), at(0.0, 1.5)], stroke);
            painter.circle_filled(at(0.0, 3.6), 0.9, color);
        }
        Severity::Fault => {
            painter.rect_filled(Rect::from_center_size(center, vec2(13.0, 13.0)), 3.0, color);
            let cross = Stroke::new(1.8, theme::BACKGROUND);
            painter.line_segment([at(-3.0, -3.0), at(3.0, 3.0)], cross);
            painter.line_segment([at(3.0, -3.0), at(-3.0, 3.0)], cross);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    #[test]
    fn word_cause_and_remedy_are_in_the_tree() {
        let status = Status::new(Severity::Fault, "The other side is gone.", "Start it again.");
        let harness = Harness::new_ui(|ui| {
            show(ui, &status);
        });
        harness.get_by_label("Fault: The other side is gone. Start it again.");
        harness.get_by_label("Fault");
        harness.get_by_label("The other side is gone.");
        harness.get_by_label("Start it again.");
    }

    #[test]
    fn each_severity_has_its_own_word() {
        let all = [Severity::Idle, Severity::Good, Severity::Warning, Severity::Fault];
        assert_eq!(all.map(word).into_iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }
}
