//! One figure with its name: small above, large below.

use egui::accesskit::Role;
use egui::{Align2, Response, Sense, Ui, WidgetInfo, vec2};

use super::theme;

const SIZE: egui::Vec2 = vec2(118.0, 34.0);

/// Draws it. In the accessibility tree it is one label, "Latency: 4.2 ms".
pub fn show(ui: &mut Ui, name: &str, value: &str, meaning: &str) -> Response {
    let (rect, response) = ui.allocate_exact_size(SIZE, Sense::hover());
    let painter = ui.painter();
    let name_font = egui::FontId::proportional(11.5);
    painter.text(rect.left_top(), Align2::LEFT_TOP, name, name_font, theme::TEXT_WEAK);
    painter.text(rect.left_bottom(), Align2::LEFT_BOTTOM, value, theme::figure_font(15.0), theme::TEXT);
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, format!("{name}: {value}")));
    response.on_hover_text(meaning)
}

/// Milliseconds as they are written in the window.
pub fn milliseconds(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.1} ms") } else { format!("{value:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_in_words() {
        for (value, text) in [(0.0, "0.0 ms"), (4.25, "4.2 ms"), (99.94, "99.9 ms"), (1234.5, "1234 ms")] {
            assert_eq!(milliseconds(value), text);
        }
    }
}
