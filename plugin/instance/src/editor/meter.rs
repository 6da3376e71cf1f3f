//! A peak meter: a bar per channel, full scale at the right, the held peak as a mark and a figure.
//!
//! The fall of 20 dB in 1.7 s is IEC 60268-10's for a type I meter; the rise is immediate, as the peaks are
//! samples.

use egui::accesskit::Role;
use egui::{Align2, Id, Rect, Response, Sense, Ui, WidgetInfo, pos2, vec2};

use super::theme;

/// What the left end of a bar stands for, dBFS.
pub const FLOOR_DB: f32 = -60.0;
/// Most channels that get a bar.
pub const CHANNELS_MAX: usize = 8;

const FALL_DB_PER_S: f32 = 20.0 / 1.7;
const HOLD_S: f64 = 1.5;
/// Everything from here up is drawn in the warning's colour, dBFS.
const HOT_DB: f32 = -6.0;
const FIGURE_WIDTH: f32 = 92.0;
const SCALE_HEIGHT: f32 = 14.0;
const NAME_WIDTH: f32 = 18.0;
const MARKS_DB: [(f32, &str); 6] =
    [(-48.0, "-48"), (-36.0, "-36"), (-24.0, "-24"), (-12.0, "-12"), (-6.0, "-6"), (0.0, "0")];

/// Level in dB of a linear peak; minus infinity for silence and for what is not a number.
pub fn decibels(peak: f32) -> f32 {
    if peak > 0.0 { 20.0 * peak.log10() } else { f32::NEG_INFINITY }
}

/// A level as it is written in the window: "-6.0 dBFS".
pub fn dbfs(level_db: f32) -> String {
    // What would be rounded to "-0.0" is full scale, and below -120 dB nobody hears a difference.
    if level_db < -120.0 || level_db.is_nan() {
        "-inf dBFS".to_owned()
    } else if level_db.abs() < 0.05 {
        "0.0 dBFS".to_owned()
    } else {
        format!("{level_db:.1} dBFS")
    }
}

/// A channel's short name: sides where there are two, else its number, for tracks of six and eight channels
/// are not always surround.
pub fn channel_name(channel: usize, channels: usize) -> String {
    match (channels, channel) {
        (1, _) => "M".to_owned(),
        (2, 0) => "L".to_owned(),
        (2, 1) => "R".to_owned(),
        _ => (channel + 1).to_string(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Ballistics {
    shown_db: f32,
    held_db: f32,
    held_until: f64,
}

impl Ballistics {
    const SILENT: Self = Self { shown_db: f32::NEG_INFINITY, held_db: f32::NEG_INFINITY, held_until: 0.0 };

    /// `now` and `elapsed` in seconds.
    fn advance(&mut self, level_db: f32, now: f64, elapsed: f32) {
        self.shown_db = level_db.max(self.shown_db - FALL_DB_PER_S * elapsed.max(0.0));
        if self.shown_db < FLOOR_DB - 20.0 {
            self.shown_db = level_db;
        }
        if level_db >= self.held_db || now >= self.held_until {
            self.held_db = self.shown_db;
            self.held_until = now + HOLD_S;
        }
    }
}

/// Draws linear `peaks`, one bar each, at most [`CHANNELS_MAX`]; no channels is one unlit bar.
///
/// In the accessibility tree each bar is a meter, "Channel L: -6.0 dBFS", and the loudest held peak is a
/// label, "-6.0 dBFS".
pub fn show(ui: &mut Ui, name: &str, peaks: &[f32]) -> Response {
    let peaks = &peaks[..peaks.len().min(CHANNELS_MAX)];
    let id = ui.scope_id().with(("meter", name));
    let channels = advance(ui, id, peaks);
    let loudest_db = channels.iter().map(|c| c.held_db).fold(f32::NEG_INFINITY, f32::max);

    let rows = channels.len().max(1);
    let (pitch, bar) = bar_sizes(rows);
    let height = pitch * small(rows);
    let (area, response) =
        ui.allocate_exact_size(vec2(ui.available_width(), height + SCALE_HEIGHT), Sense::hover());
    let bars = Rect::from_min_max(
        area.min + vec2(NAME_WIDTH, 0.0),
        pos2(area.right() - FIGURE_WIDTH, area.bottom()),
    );
    if channels.is_empty() {
        ui.painter().rect_filled(Rect::from_min_size(bars.min, vec2(bars.width(), bar)), 2.0, theme::WELL);
    }
    for (index, (channel, peak)) in channels.iter().zip(peaks).enumerate() {
        let label = channel_name(index, channels.len());
        let top = area.top() + pitch * small(index);
        let rect = Rect::from_min_size(pos2(bars.left(), top), vec2(bars.width(), bar));
        let text = pos2(area.left(), rect.center().y);
        let font = theme::figure_font(if rows > 4 { 9.0 } else { 10.5 });
        ui.painter().text(text, Align2::LEFT_CENTER, &label, font, theme::TEXT_WEAK);
        paint_bar(ui, rect, channel);
        describe(ui, id.with(index), rect, &format!("Channel {label}: {}", dbfs(decibels(*peak))), *peak);
    }
    paint_scale(ui, bars, area.top() + height);
    let figure_area =
        Rect::from_min_max(pos2(bars.right(), area.top()), pos2(area.right(), area.top() + height));
    figure(ui, id.with("figure"), figure_area, loudest_db);
    response
}

fn advance(ui: &Ui, id: Id, peaks: &[f32]) -> Vec<Ballistics> {
    let (now, elapsed) = ui.input(|input| (input.time, input.stable_dt.min(0.5)));
    ui.data_mut(|data| {
        let channels = data.get_temp_mut_or_default::<Vec<Ballistics>>(id);
        channels.resize(peaks.len(), Ballistics::SILENT);
        for (channel, peak) in channels.iter_mut().zip(peaks) {
            channel.advance(decibels(*peak), now, elapsed);
        }
        channels.clone()
    })
}

/// Distance from bar to bar, and a bar's height: few channels get fat bars, eight still fit.
fn bar_sizes(rows: usize) -> (f32, f32) {
    match rows {
        0..=2 => (15.0, 10.0),
        3..=4 => (11.0, 8.0),
        _ => (9.0, 6.0),
    }
}

/// A count of channels as a factor.
fn small(count: usize) -> f32 {
    f32::from(u8::try_from(count).unwrap_or(u8::MAX))
}

fn x_at(bars: Rect, level_db: f32) -> f32 {
    let clamped = level_db.clamp(FLOOR_DB, 0.0);
    bars.left() + bars.width() * (1.0 - clamped / FLOOR_DB)
}

fn paint_bar(ui: &Ui, rect: Rect, channel: &Ballistics) {
    let painter = ui.painter();
    painter.rect_filled(rect, 2.0, theme::WELL);
    let segment = |from: f32, to: f32, color| {
        if to > from {
            let span = Rect::from_min_max(pos2(from, rect.top()), pos2(to, rect.bottom()));
            painter.rect_filled(span, 2.0, color);
        }
    };
    let (hot, end) = (x_at(rect, HOT_DB), x_at(rect, channel.shown_db));
    let (body, top) = if channel.shown_db > 0.0 {
        (theme::FAULT, theme::FAULT)
    } else {
        (theme::GOOD.gamma_multiply(0.85), theme::WARNING)
    };
    if end > hot {
        segment(rect.left(), end, top);
    }
    segment(rect.left(), end.min(hot), body);
    if channel.held_db > FLOOR_DB {
        let x = x_at(rect, channel.held_db);
        segment(x - 2.0, x, theme::TEXT);
    }
}

fn paint_scale(ui: &Ui, bars: Rect, top: f32) {
    for (level_db, text) in MARKS_DB {
        let align = if level_db == 0.0 { Align2::RIGHT_TOP } else { Align2::CENTER_TOP };
        let at = pos2(x_at(bars, level_db), top);
        ui.painter().text(at, align, text, theme::figure_font(9.5), theme::TEXT_WEAK);
    }
}

fn figure(ui: &Ui, id: Id, area: Rect, loudest_db: f32) {
    let text = dbfs(loudest_db);
    let color = if loudest_db > 0.0 { theme::FAULT } else { theme::TEXT };
    ui.painter().text(area.right_center(), Align2::RIGHT_CENTER, &text, theme::figure_font(12.5), color);
    let response = ui.interact(area, id, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &text));
    response.on_hover_text("The highest peak of the last moments. Above 0 dBFS other equipment may clip.");
}

fn describe(ui: &Ui, id: Id, rect: Rect, label: &str, peak: f32) {
    let response = ui.interact(rect, id, Sense::hover());
    response.widget_info(|| WidgetInfo {
        value: Some(f64::from(decibels(peak).max(FLOOR_DB))),
        ..WidgetInfo::labeled(Role::Meter, true, label)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    fn check(level_db: f32, text: &str) {
        assert_eq!(dbfs(level_db), text);
    }

    #[test]
    fn levels_in_words() {
        check(decibels(0.5), "-6.0 dBFS");
        check(decibels(1.0), "0.0 dBFS");
        check(decibels(0.999), "0.0 dBFS");
        check(decibels(2.0), "6.0 dBFS");
        check(decibels(0.0), "-inf dBFS");
        check(decibels(f32::NAN), "-inf dBFS");
    }

    #[test]
    fn the_bar_falls_at_its_rate_and_the_peak_is_held() {
        let mut channel = Ballistics::SILENT;
        channel.advance(-6.0, 0.0, 0.1);
        channel.advance(f32::NEG_INFINITY, 1.0, 1.0);
        assert!((channel.shown_db - (-6.0 - FALL_DB_PER_S)).abs() < 1e-3);
        assert_eq!(channel.held_db, -6.0);
        channel.advance(f32::NEG_INFINITY, 1.6, 0.6);
        assert!(channel.held_db < -20.0);
        channel.advance(f32::NEG_INFINITY, 20.0, 18.4);
        assert_eq!(channel.shown_db, f32::NEG_INFINITY);
    }

    #[test]
    fn every_channel_is_in_the_tree() {
        let harness = Harness::new_ui(|ui| {
            show(ui, "Input", &[0.5, 0.0]);
        });
        harness.get_by_label("Channel L: -6.0 dBFS");
        harness.get_by_label("Channel R: -inf dBFS");
        harness.get_by_label("-6.0 dBFS");
    }

    #[test]
    fn eight_channels_are_numbered_and_more_are_left_out() {
        let peaks = [0.25; 10];
        let harness = Harness::new_ui(|ui| {
            show(ui, "Input", &peaks);
        });
        harness.get_by_label("Channel 8: -12.0 dBFS");
        assert!(harness.query_by_label("Channel 9: -12.0 dBFS").is_none());
    }
}
