//! What stands behind Details: facts and counters, each with the part of the house that owns it.

use std::borrow::Cow;

use egui::{Grid, RichText, Ui};

use super::theme;

/// One line of Details.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// What is counted or said, as "Blocks lost: network".
    pub name: Cow<'static, str>,
    /// Its value with its unit.
    pub value: Cow<'static, str>,
    /// What it means and whose business it is; shown when the pointer rests on the line, and read by screen
    /// readers.
    pub meaning: Cow<'static, str>,
}

impl Detail {
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
        meaning: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { name: name.into(), value: value.into(), meaning: meaning.into() }
    }
}

/// Draws the fold named "Details" and, open, its lines and below them whatever `more` draws.
pub fn show(ui: &mut Ui, identity: &str, details: &[Detail], more: impl FnOnce(&mut Ui)) {
    egui::CollapsingHeader::new(RichText::new("Details").color(theme::TEXT_WEAK)).id_salt("details").show(
        ui,
        |ui| {
            Grid::new("details lines").num_columns(2).spacing([16.0, 4.0]).min_col_width(150.0).show(
                ui,
                |ui| {
                    for detail in details {
                        line(ui, &detail.name, &detail.value, &detail.meaning);
                    }
                    if !identity.is_empty() {
                        line(
                            ui,
                            "Identity",
                            identity,
                            "This device and stream as others see them; give it to support.",
                        );
                    }
                },
            );
            more(ui);
        },
    );
}

fn line(ui: &mut Ui, name: &str, value: &str, meaning: &str) {
    let name = ui.label(RichText::new(name).color(theme::TEXT_WEAK));
    let text = egui::Label::new(RichText::new(value).font(theme::figure_font(12.0))).selectable(true).wrap();
    let value = ui.add(text).labelled_by(name.id);
    if !meaning.is_empty() {
        name.on_hover_text(meaning);
        value.on_hover_text(meaning);
    }
    ui.end_row();
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    #[test]
    fn lines_show_once_unfolded() {
        let lines = [Detail::new("Lost blocks (network)", "3", "Packets that never came.")];
        let mut harness = Harness::new_ui(|ui| show(ui, "abcd", &lines, |_| ()));
        assert!(harness.query_by_label("Lost blocks (network)").is_none());
        harness.get_by_label("Details").click();
        harness.run();
        harness.get_by_label("Lost blocks (network)");
        harness.get_by_label("Identity");
    }
}
