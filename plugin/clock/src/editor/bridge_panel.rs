//! The fold named "Bridges": where the beat is brought besides, for what listens to something else than us.

use std::net::SocketAddr;

use audiocloud_instance::editor::{name_field, theme, toggle};
use audiocloud_instance::state::{Bridge, Bridges};
use audiocloud_net::runtime::bridge::{ARDOUR, REAPER};
use egui::{CollapsingHeader, ComboBox, RichText, Ui};

use crate::model::BridgeLine;

/// Frame rates of MIDI time code; the empty one: none is sent.
const TIME_CODES: [(&str, &str); 5] = [
    ("", "none"),
    ("24", "24 fps"),
    ("25", "25 fps"),
    ("29.97df", "29.97 fps, drop frame"),
    ("30", "30 fps"),
];

/// Draws the fold; the bridges once they are wanted otherwise.
pub(super) fn show(ui: &mut Ui, bridges: &Bridges, lines: &[BridgeLine]) -> Option<Bridges> {
    let mut wanted = bridges.clone();
    let title = RichText::new("Bridges").color(theme::TEXT_WEAK);
    CollapsingHeader::new(title).id_salt("bridges").show(ui, |ui| {
        switch(
            ui,
            "Tempo Link",
            "With every program on this network that has it; both ways, where you may lead.",
            &mut wanted.link,
        );
        ui.horizontal(|ui| {
            switch(
                ui,
                "MIDI clock",
                "On a virtual port: clock, song position, start and stop, for whatever follows them.",
                &mut wanted.midi,
            );
            ui.add_enabled_ui(wanted.midi, |ui| time_code(ui, &mut wanted.time_code));
        });
        let meaning = "REAPER's tempo and transport, by OSC: in REAPER under Preferences, Control/OSC/web.";
        at_address(ui, "OSC to REAPER", meaning, REAPER, &mut wanted.osc);
        let meaning =
            "Ardour's tempo and transport: in Ardour under Preferences, Control Surfaces, WebSockets.";
        at_address(ui, "Ardour", meaning, ARDOUR, &mut wanted.ardour);
        for line in lines {
            let text = format!("{}: {}", line.name, line.words);
            ui.label(RichText::new(text).color(theme::TEXT_WEAK));
            if !line.trouble.is_empty() {
                ui.label(RichText::new(&line.trouble).color(theme::WARNING));
            }
        }
    });
    (wanted != *bridges).then_some(wanted)
}

fn switch(ui: &mut Ui, name: &str, meaning: &str, is_on: &mut bool) {
    toggle::show(ui, name, is_on).on_hover_text(meaning);
}

fn at_address(ui: &mut Ui, name: &str, meaning: &str, default: SocketAddr, bridge: &mut Bridge) {
    ui.horizontal(|ui| {
        let response = toggle::show(ui, name, &mut bridge.is_on).on_hover_text(meaning);
        ui.push_id(name, |ui| {
            let changed = name_field::show(ui, &bridge.address, &default.to_string(), 160.0, response.id);
            bridge.address = changed.unwrap_or_else(|| bridge.address.clone());
        });
    });
}

fn time_code(ui: &mut Ui, now: &mut String) {
    let label = ui.label(RichText::new("Time code").color(theme::TEXT_WEAK));
    let shown = TIME_CODES.iter().find(|(id, _)| id == now).map_or(now.as_str(), |(_, words)| words);
    let list = ComboBox::from_id_salt("time code").selected_text(shown.to_owned()).width(90.0);
    let list = list.show_ui(ui, |ui| {
        for (id, words) in TIME_CODES {
            ui.selectable_value(now, id.to_owned(), words);
        }
    });
    list.response.labelled_by(label.id);
}
