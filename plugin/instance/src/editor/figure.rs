//! One figure with its name before it.

use egui::accesskit::Role;
use egui::{FontId, Response, Sense, Ui, WidgetInfo, pos2, vec2};

use super::theme;

/// Draws it. In the accessibility tree it is one label, "Latency: 4.2 ms".
pub fn show(ui: &mut Ui, name: &str, value: &str, meaning: &str) -> Response {
    let words = ui.painter().layout_no_wrap(name.to_owned(), FontId::proportional(12.0), theme::TEXT_WEAK);
    let figure = ui.painter().layout_no_wrap(value.to_owned(), theme::figure_font(13.5), theme::TEXT);
    let size = vec2(words.size().x + 6.0 + figure.size().x, words.size().y.max(figure.size().y));
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let middle = |height: f32| rect.center().y - height / 2.0;
    let at = pos2(rect.right() - figure.size().x, middle(figure.size().y));
    ui.painter().galley(pos2(rect.left(), middle(words.size().y)), words, theme::TEXT_WEAK);
    ui.painter().galley(at, figure, theme::TEXT);
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
