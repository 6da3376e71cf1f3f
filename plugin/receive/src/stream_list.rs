//! The list of people and streams: what can be picked, what is played and how loud, and what is picked but not there.

use audiocloud_instance::editor::{meter, status_line, theme};
use audiocloud_instance::params::{LEVEL_MAX_DB, LEVEL_MIN_DB};
use audiocloud_instance::state::{Fader, FaderKey, Selection};
use audiocloud_instance::status::Severity;
use egui::accesskit::Role;
use egui::{
    Align2, Button, Color32, DragValue, FontId, Rect, RichText, ScrollArea, Sense, Ui, WidgetInfo, vec2,
};

use crate::model::{Action, Model, Person, Playing, Track};

const ROW_HEIGHT: f32 = 25.0;
const HEIGHT: f32 = 186.0;
/// Meter, level, mute and pan at the right of what is played.
const METER_WIDTH: f32 = 46.0;
const FADER_WIDTH: f32 = 142.0;

struct Row<'a> {
    name: &'a str,
    /// After the name, weaker.
    beside: &'a str,
    /// At the right: the format, or what is the matter.
    aside: &'a str,
    /// What a screen reader says.
    spoken: &'a str,
    is_picked: bool,
    /// Draws the eye: how it fares, or what is wrong with it.
    sign: Option<Severity>,
    is_nested: bool,
}

/// Draws the list and says what was asked for.
pub(crate) fn show(ui: &mut Ui, model: &Model) -> Vec<Action> {
    let mut actions = Vec::new();
    ui.horizontal(|ui| {
        ui.label(RichText::new("Streams").color(theme::TEXT_WEAK));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let is_picked = model.selection != Selection::Nothing;
            let release = ui.add_enabled(is_picked, Button::new("Release").small());
            if release.on_hover_text("Play no stream.").clicked() {
                actions.push(Action::Select(Selection::Nothing, String::new()));
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
            .show(ui, |ui| rows(ui, model, &mut actions));
    });
    actions
}

fn rows(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let plays_many = matches!(model.selection, Selection::Session | Selection::Person(_));
    // With one stream about there is nobody to choose between.
    let has_people = plays_many || model.tracks().count() > 1;
    if has_people {
        let (name, spoken) = ("Everyone", "Everyone: all streams of the session, but this project's own");
        let is_picked = model.selection == Selection::Session;
        let row = Row { name, beside: "", aside: "", spoken, is_picked, sign: None, is_nested: false };
        if pickable(ui, &row, 0.0) && !is_picked {
            actions.push(Action::Select(Selection::Session, String::new()));
        }
    }
    for person in &model.people {
        if has_people {
            person_row(ui, model.selection, person, plays_many, actions);
        }
        for track in &person.tracks {
            track_row(ui, model.selection, track, plays_many, has_people, actions);
        }
    }
    if model.people.is_empty() && model.selection == Selection::Nothing {
        ui.add_space(6.0);
        let hint = "No streams in reach. Put audiocloud Send on a track, here or on another computer of this network.";
        ui.label(RichText::new(hint).color(theme::TEXT_WEAK));
    }
}

fn person_row(
    ui: &mut Ui,
    selection: Selection,
    person: &Person,
    plays_many: bool,
    actions: &mut Vec<Action>,
) {
    let picked = Selection::Person(person.person);
    let is_picked = selection == picked;
    let spoken = format!("{}: all their streams", person.name);
    let row = Row {
        name: &person.name,
        beside: "",
        aside: if person.tracks.is_empty() { "missing" } else { "" },
        spoken: &spoken,
        is_picked,
        sign: person.tracks.is_empty().then_some(Severity::Warning),
        is_nested: false,
    };
    let is_played = plays_many && person.tracks.iter().any(|track| track.playing.is_some());
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        if pickable(ui, &row, if is_played { FADER_WIDTH } else { 0.0 }) && !is_picked {
            actions.push(Action::Select(picked, person.name.clone()));
        }
        if is_played {
            let moved = fader(ui, &person.name, person.fader);
            actions.extend(moved.map(|fader| Action::Fade(FaderKey::Person(person.person), fader)));
        }
    });
}

fn track_row(
    ui: &mut Ui,
    selection: Selection,
    track: &Track,
    plays_many: bool,
    is_nested: bool,
    actions: &mut Vec<Action>,
) {
    let picked = Selection::Stream(track.stream);
    let is_picked = selection == picked;
    let has_objection = !track.objection.is_empty();
    let aside = if has_objection { &track.objection } else { &track.format };
    let spoken = format!("{}, from {}, {aside}", track.name, track.publisher);
    let sign = match (&track.playing, has_objection) {
        (Some(playing), _) => Some(playing.severity),
        (None, true) => Some(Severity::Warning),
        (None, false) => None,
    };
    let row = Row {
        name: &track.name,
        beside: if is_nested { "" } else { &track.publisher },
        aside: if track.playing.is_some() { "" } else { aside },
        spoken: &spoken,
        is_picked,
        sign,
        is_nested,
    };
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        let reserved = match &track.playing {
            Some(_) => METER_WIDTH + FADER_WIDTH,
            None if plays_many && track.is_local => 76.0,
            None => 0.0,
        };
        if pickable(ui, &row, reserved) && !is_picked {
            actions.push(Action::Select(picked, track.name.clone()));
        }
        let key = FaderKey::Stream(track.stream);
        match &track.playing {
            Some(playing) => {
                level(ui, &track.name, playing);
                let moved = fader(ui, &track.name, playing.fader);
                actions.extend(moved.map(|fader| Action::Fade(key, fader)));
            }
            None if plays_many && track.is_local => {
                let meaning = "It is of this very project: it is played only when you ask for it.";
                if ui.add(Button::new("Play too").small()).on_hover_text(meaning).clicked() {
                    actions.push(Action::Fade(key, Fader { is_chosen: true, ..Fader::default() }));
                }
            }
            None => {}
        }
    });
}

/// The loudest channel, before the fader.
fn level(ui: &mut Ui, name: &str, playing: &Playing) {
    let (rect, response) = ui.allocate_exact_size(vec2(METER_WIDTH - 4.0, ROW_HEIGHT), Sense::hover());
    let peak = playing.peaks.iter().copied().fold(0.0, f32::max);
    let level_db = meter::decibels(peak);
    let bar = Rect::from_center_size(rect.center(), vec2(rect.width(), 6.0));
    ui.painter().rect_filled(bar, 2.0, theme::CARD);
    let share = (1.0 - level_db.clamp(meter::FLOOR_DB, 0.0) / meter::FLOOR_DB).clamp(0.0, 1.0);
    let color = if level_db > 0.0 { theme::FAULT } else { theme::GOOD };
    ui.painter().rect_filled(bar.with_max_x(bar.left() + bar.width() * share), 2.0, color);
    let text = format!("{name}: {}", meter::dbfs(level_db));
    response.widget_info(|| WidgetInfo::labeled(Role::Meter, true, &text));
    response.on_hover_text(&playing.sentence);
}

/// Level, mute and pan; where the user moved one of them, all of them.
fn fader(ui: &mut Ui, name: &str, at: Fader) -> Option<Fader> {
    let mut fader = at;
    ui.spacing_mut().interact_size.x = 58.0;
    let level = DragValue::new(&mut fader.level_db)
        .range(LEVEL_MIN_DB..=LEVEL_MAX_DB)
        .speed(0.2)
        .custom_formatter(|db, _| level_text(db))
        .custom_parser(parse_level);
    let level = ui.add(level);
    level.widget_info(|| WidgetInfo::slider(true, f64::from(at.level_db), format!("Level of {name}")));
    if level.on_hover_text("Drag, or click to type. A double click: 0 dB.").double_clicked() {
        fader.level_db = 0.0;
    }
    let mute = ui.add(Button::selectable(at.is_muted, "M").frame_when_inactive(true).small());
    mute.widget_info(|| WidgetInfo::selected(Role::Switch, true, at.is_muted, format!("Mute {name}")));
    if mute.on_hover_text("Mute").clicked() {
        fader.is_muted = !at.is_muted;
    }
    ui.spacing_mut().interact_size.x = 40.0;
    let pan = DragValue::new(&mut fader.pan)
        .range(-1.0..=1.0)
        .speed(0.01)
        .custom_formatter(|pan, _| pan_text(pan))
        .custom_parser(parse_pan);
    let pan = ui.add(pan);
    pan.widget_info(|| WidgetInfo::slider(true, f64::from(at.pan), format!("Pan of {name}")));
    if pan.on_hover_text("From L100 to R100. A double click: the middle.").double_clicked() {
        fader.pan = 0.0;
    }
    (fader != at).then_some(fader)
}

/// A level as it is written in the window.
pub(crate) fn level_text(level_db: f64) -> String {
    if level_db <= f64::from(LEVEL_MIN_DB) { "-inf dB".to_owned() } else { format!("{level_db:.1} dB") }
}

pub(crate) fn parse_level(text: &str) -> Option<f64> {
    let number = text.trim().trim_end_matches("dB").trim();
    if number.eq_ignore_ascii_case("-inf") { Some(f64::from(LEVEL_MIN_DB)) } else { number.parse().ok() }
}

fn pan_text(pan: f64) -> String {
    match (pan * 100.0).round() {
        0.0 => "C".to_owned(),
        left if left < 0.0 => format!("L{:.0}", -left),
        right => format!("R{right:.0}"),
    }
}

fn parse_pan(text: &str) -> Option<f64> {
    let text = text.trim().to_ascii_uppercase();
    let percent = |digits: &str| digits.trim().parse::<f64>().ok().map(|percent| percent / 100.0);
    match text.split_at_checked(1)? {
        ("C", "") => Some(0.0),
        ("L", digits) => percent(digits).map(|pan| -pan),
        ("R", digits) => percent(digits),
        _ => percent(&text),
    }
}

/// Draws a row, leaving so many points free at its right; true when it was picked.
fn pickable(ui: &mut Ui, row: &Row<'_>, reserved: f32) -> bool {
    let width = (ui.available_width() - reserved).max(80.0);
    let (rect, response) = ui.allocate_exact_size(vec2(width, ROW_HEIGHT), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::ListBoxOption, true, row.is_picked, row.spoken));
    if ui.is_rect_visible(rect) {
        let fill = match (row.is_picked, response.hovered() || response.has_focus()) {
            (true, _) => theme::ACCENT_DARK,
            (false, true) => theme::CARD,
            (false, false) => Color32::TRANSPARENT,
        };
        ui.painter().rect_filled(rect, theme::ROUNDING, fill);
        let indent = if row.is_nested { 14.0 } else { 0.0 };
        if let Some(severity) = row.sign {
            let at = rect.left_center() + vec2(14.0 + indent, 0.0);
            status_line::paint_sign(ui.painter(), at, severity, theme::severity_color(severity));
        }
        paint_words(ui, rect.shrink2(vec2(8.0, 0.0)), row, indent);
    }
    response.on_hover_text(row.spoken).clicked()
}

fn paint_words(ui: &Ui, rect: Rect, row: &Row<'_>, indent: f32) {
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    let is_amiss = row.sign.is_some_and(|severity| severity > Severity::Good);
    let aside_color = if is_amiss { theme::WARNING } else { theme::TEXT_WEAK };
    let font = FontId::proportional(11.5);
    let aside = painter.text(rect.right_center(), Align2::RIGHT_CENTER, row.aside, font.clone(), aside_color);
    // Long names end before the words at the right begin.
    let left = rect.with_max_x(aside.left() - 10.0);
    let painter = painter.with_clip_rect(left.intersect(painter.clip_rect()));
    let at = left.left_center() + vec2(20.0 + indent, 0.0);
    let name = painter.text(at, Align2::LEFT_CENTER, row.name, FontId::proportional(13.5), theme::TEXT);
    let at = name.right_center() + vec2(8.0, 0.5);
    painter.text(at, Align2::LEFT_CENTER, row.beside, font, theme::TEXT_WEAK);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_places_are_read_as_they_are_written() {
        for level_db in [-80.0, -6.0, 0.0, 12.0] {
            assert_eq!(parse_level(&level_text(level_db)), Some(level_db));
        }
        for (pan, text) in [(0.0, "C"), (-1.0, "L100"), (0.25, "R25"), (1.0, "R100")] {
            assert_eq!((pan_text(pan).as_str(), parse_pan(text)), (text, Some(pan)));
        }
        assert_eq!(parse_pan(" l 30 "), Some(-0.3));
        assert_eq!((parse_level("loud"), parse_pan("left"), parse_pan("")), (None, None, None));
    }
}
