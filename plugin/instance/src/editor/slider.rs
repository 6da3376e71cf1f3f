//! A slider for a parameter of the host, and its gestures: a host records automation from the first touch to
//! the last.

use egui::{Response, RichText, Slider, Ui};

use super::theme;

/// What the user did to a parameter, in the parameter's own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gesture {
    Begin,
    Set(f32),
    End,
}

/// Width of the names, so that sliders below each other start together, points.
pub const NAME_WIDTH: f32 = 92.0;
/// Width of the figure at the right, points.
const VALUE_WIDTH: f32 = 68.0;

/// Draws a `slider` that works on `value`, named `name`, and says what the user did. A double click on the
/// name sets `default`.
pub fn show(
    ui: &mut Ui,
    name: &str,
    meaning: &str,
    value: &mut f32,
    default: f32,
    slider: impl FnOnce(&mut f32) -> Slider<'_>,
) -> Vec<Gesture> {
    let before = *value;
    let response = ui
        .horizontal(|ui| {
            let text =
                egui::Label::new(RichText::new(name).color(theme::TEXT_WEAK)).sense(egui::Sense::click());
            let height = ui.spacing().interact_size.y;
            let layout = egui::Layout::left_to_right(egui::Align::Center);
            let label = ui
                .allocate_ui_with_layout(egui::vec2(NAME_WIDTH, height), layout, |ui| {
                    ui.set_min_width(NAME_WIDTH);
                    ui.add(text)
                })
                .inner;
            let label = label.on_hover_text(format!("{meaning} Double-click this name for {default}."));
            if label.double_clicked() {
                *value = default;
            }
            ui.spacing_mut().slider_width =
                (ui.available_width() - VALUE_WIDTH - ui.spacing().item_spacing.x).max(60.0);
            ui.spacing_mut().interact_size.x = VALUE_WIDTH;
            ui.add(slider(value)).labelled_by(label.id)
        })
        .inner;
    gestures(ui, &response, before, *value)
}

fn gestures(ui: &Ui, response: &Response, before: f32, after: f32) -> Vec<Gesture> {
    let id = response.id.with("gesture");
    let held = response.is_pointer_button_down_on();
    let was_held = ui.data_mut(|data| std::mem::replace(data.get_temp_mut_or_default::<bool>(id), held));
    let changed = before.to_bits() != after.to_bits();
    let mut gestures = Vec::new();
    // Keys and typing have no touch and no release: each change is a whole gesture.
    let whole = changed && !held && !was_held;
    if whole || (held && !was_held) {
        gestures.push(Gesture::Begin);
    }
    if changed {
        gestures.push(Gesture::Set(after));
    }
    if whole || (was_held && !held) {
        gestures.push(Gesture::End);
    }
    gestures
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    fn harness<'a>() -> Harness<'a, (f32, Vec<Gesture>)> {
        let draw = |ui: &mut Ui, (value, seen): &mut (f32, Vec<Gesture>)| {
            seen.extend(show(ui, "Level", "How loud.", value, 5.0, |value| Slider::new(value, 0.0..=10.0)));
        };
        Harness::builder().with_size([400.0, 60.0]).with_step_dt(0.02).build_ui_state(draw, (2.0, Vec::new()))
    }

    #[test]
    fn a_drag_is_one_gesture() {
        let mut harness = harness();
        harness.run();
        let rect = harness.get_by_role_and_label(egui::accesskit::Role::Slider, "Level").rect();
        harness.drag_at(rect.left_center() + egui::vec2(6.0, 0.0));
        harness.run();
        harness.hover_at(rect.center());
        harness.run();
        harness.drop_at(rect.center());
        harness.run();
        let (value, seen) = harness.state();
        assert!((*value - 5.0).abs() < 0.5, "{value}");
        assert_eq!(seen.first(), Some(&Gesture::Begin));
        assert_eq!(seen.last(), Some(&Gesture::End));
        let inner = &seen[1..seen.len() - 1];
        assert!(!inner.is_empty() && inner.iter().all(|g| matches!(g, Gesture::Set(_))), "{seen:?}");
    }

    #[test]
    fn a_key_is_a_whole_gesture() {
        let mut harness = harness();
        harness.get_by_role_and_label(egui::accesskit::Role::Slider, "Level").focus();
        harness.run();
        harness.key_press(egui::Key::ArrowRight);
        harness.run();
        let (value, seen) = harness.state();
        assert!(*value > 2.0);
        assert_eq!(*seen, [Gesture::Begin, Gesture::Set(*value), Gesture::End]);
    }

    #[test]
    fn a_double_click_on_the_name_sets_the_default() {
        let mut harness = harness();
        harness.run();
        let name = harness.get_all_by_value("Level").next().unwrap().rect().center();
        for _ in 0..2 {
            harness.drag_at(name);
            harness.step();
            harness.drop_at(name);
            harness.step();
        }
        assert_eq!(harness.state().0, 5.0);
    }
}
