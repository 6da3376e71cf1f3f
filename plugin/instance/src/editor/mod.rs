//! What the windows of all audiocloud plug-ins share.
//!
//! A window is a function of a model and a `Ui`, which tests call without a display; [`window`] puts it into
//! a host. Everything that can be seen has its name and role in egui's tree: what a screen reader will read,
//! tests read today.

pub mod details;
pub mod figure;
pub mod meter;
pub mod name_field;
#[cfg(feature = "pictures")]
pub mod picture;
pub mod qr_code;
pub mod session_panel;
pub mod slider;
pub mod status_line;
pub mod theme;
pub mod toggle;
pub mod window;

use egui::{Frame, Margin, RichText, ScrollArea, Ui, UiBuilder};

use crate::guard::{Guard, Stage};
use crate::status::{Severity, Status};

/// Draws a window with `draw`, or, once that has panicked, a plain message instead of it.
///
/// What the panic left half done in `draw`'s state is not looked at again until the window is opened anew.
pub fn guarded_ui(guard: &Guard, plug_in: &str, ui: &mut Ui, draw: impl FnOnce(&mut Ui)) {
    let area = ui.max_rect();
    let mut inside = ui.new_child(UiBuilder::new().id_salt("guarded").max_rect(area));
    if guard.run(Stage::Editor, || draw(&mut inside)).is_some() {
        return;
    }
    // Over whatever was drawn before the panic in this same frame.
    ui.painter().rect_filled(ui.clip_rect(), 0.0, theme::BACKGROUND);
    let mut plain = ui.new_child(UiBuilder::new().id_salt("after a panic").max_rect(area));
    Frame::new().inner_margin(Margin::same(theme::MARGIN)).show(&mut plain, |ui| {
        ui.label(RichText::new(plug_in).heading().color(theme::TEXT));
        let cause = guard
            .status(&format!("The window of {plug_in}"), "")
            .map_or_else(|| "This window stopped; the sound goes on.".into(), |status| status.cause);
        let remedy =
            "Close this window and open it again. If this comes back, please report the sentence above.";
        status_line::show(ui, &Status::new(Severity::Fault, cause, remedy));
    });
}

/// The common shape of a window: the plug-in's name, across from it `aside`, laid out from the right, then
/// the content, which scrolls where it must, and at the foot the sentence of status, always in sight.
pub fn page(
    ui: &mut Ui,
    plug_in: &str,
    status: &Status,
    aside: impl FnOnce(&mut Ui),
    content: impl FnOnce(&mut Ui),
) {
    ui.painter().rect_filled(ui.clip_rect(), 0.0, theme::BACKGROUND);
    let margin = Margin::same(theme::MARGIN);
    let foot = Frame::new().inner_margin(Margin { top: 6, ..margin });
    egui::Panel::bottom("status").frame(foot).show_separator_line(false).show(ui, |ui| {
        status_line::show(ui, status);
    });
    let body = Frame::new().inner_margin(Margin { bottom: 0, ..margin });
    egui::CentralPanel::default().frame(body).show(ui, |ui| {
        header(ui, plug_in, aside);
        ScrollArea::vertical().auto_shrink(false).show(ui, content);
    });
}

fn header(ui: &mut Ui, plug_in: &str, aside: impl FnOnce(&mut Ui)) {
    let (maker, name) = plug_in.split_once(' ').unwrap_or(("", plug_in));
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 5.0;
        ui.label(RichText::new(maker).heading().color(theme::TEXT_WEAK));
        ui.label(RichText::new(name).heading().color(theme::TEXT));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = 18.0;
            aside(ui);
        });
    });
    ui.add_space(4.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui::accesskit::Role;
    use egui_kittest::Harness;
    use egui_kittest::kittest::{NodeT, Queryable};

    #[test]
    fn a_panic_in_the_middle_of_a_frame_becomes_a_message() {
        let guard = Guard::default();
        let mut frames = 0;
        let mut harness = Harness::new_ui(|ui| {
            theme::apply(ui.ctx());
            guarded_ui(&guard, "audiocloud Send", ui, |ui| {
                frames += 1;
                ui.horizontal(|ui| {
                    ui.label("half drawn");
                    assert!(frames < 3, "no such frame");
                });
            });
        });
        harness.run_steps(5);
        assert!(harness.query_by_label("half drawn").is_none());
        let said = harness.get_by_role(Role::Status).accesskit_node().label().unwrap_or_default();
        assert!(said.contains("(no such frame"), "{said}");
        assert!(said.contains("); the sound goes on. Close this window and open it again."), "{said}");
        drop(harness);
        assert_eq!(frames, 3, "what panicked is not called again");

        guard.reopen_editor();
        let harness =
            Harness::new_ui(|ui| guarded_ui(&guard, "audiocloud Send", ui, |ui| drop(ui.label("fine"))));
        harness.get_by_label("fine");
        assert_eq!(guard.status("", ""), None);
    }

    #[test]
    fn the_status_stays_in_sight_of_a_long_page() {
        let status = Status::new(Severity::Warning, "Something is late.", "Raise the delay.");
        let mut harness = Harness::builder().with_size([400.0, 200.0]).build_ui(|ui| {
            page(
                ui,
                "audiocloud Send",
                &status,
                |_| (),
                |ui| {
                    for line in 0..100 {
                        ui.label(format!("line {line}"));
                    }
                },
            );
        });
        harness.run();
        let foot = harness.get_by_label("Warning: Something is late. Raise the delay.").rect();
        assert!(foot.max.y <= 200.0, "{foot:?}");
    }
}
