//! A switch with its name beside it.

use egui::accesskit::Role;
use egui::{Align2, Response, Sense, TextStyle, Ui, WidgetInfo, WidgetText, lerp, pos2, vec2};

use super::theme;

const KNOB_RADIUS: f32 = 7.0;

/// Draws the switch; the response is changed when the user threw it, and then `on` has the new value.
pub fn show(ui: &mut Ui, name: &str, on: &mut bool) -> Response {
    let text = WidgetText::from(name).into_galley(ui, None, f32::INFINITY, TextStyle::Button);
    let slot = vec2(32.0, 2.0 * KNOB_RADIUS + 4.0);
    let size = vec2(slot.x + 8.0 + text.size().x, slot.y.max(text.size().y));
    let (rect, mut response) = ui.allocate_exact_size(size, Sense::click());
    if response.clicked() {
        *on = !*on;
        response.mark_changed();
    }
    response.widget_info(|| WidgetInfo::selected(Role::Switch, ui.is_enabled(), *on, name));

    let shown = ui.animate_bool_responsive(response.id, *on);
    let visuals = ui.style().interact(&response);
    let slot = Align2::LEFT_CENTER.align_size_within_rect(slot, rect);
    let fill = theme::WELL.lerp_to_gamma(theme::ACCENT, shown);
    let edge = if response.has_focus() { egui::Stroke::new(1.5, theme::TEXT) } else { visuals.bg_stroke };
    ui.painter().rect(slot, slot.height() / 2.0, fill, edge, egui::StrokeKind::Inside);
    let travel = (slot.left() + KNOB_RADIUS + 2.0)..=(slot.right() - KNOB_RADIUS - 2.0);
    let knob = pos2(lerp(travel, shown), slot.center().y);
    ui.painter().circle_filled(knob, KNOB_RADIUS - 1.0, theme::TEXT);
    let at = pos2(slot.right() + 8.0, rect.center().y - text.size().y / 2.0);
    ui.painter().galley(at, text, visuals.text_color());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    #[test]
    fn a_click_and_the_space_bar_throw_it() {
        let mut harness = Harness::new_ui_state(|ui, on| drop(show(ui, "Transmit", on)), false);
        harness.get_by_role_and_label(Role::Switch, "Transmit").click();
        harness.run();
        assert!(*harness.state());
        harness.get_by_label("Transmit").focus();
        harness.run();
        harness.key_press(egui::Key::Space);
        harness.run();
        assert!(!*harness.state());
    }
}
