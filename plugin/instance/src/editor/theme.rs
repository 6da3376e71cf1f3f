//! Colours, sizes and fonts of every audiocloud window: dark, calm, one accent.

use egui::style::WidgetVisuals;
use egui::{
    Color32, CornerRadius, FontFamily, FontId, Margin, Stroke, Style, TextStyle, Theme, Visuals, vec2,
};

use crate::status::Severity;

/// Behind everything.
pub const BACKGROUND: Color32 = Color32::from_rgb(0x17, 0x19, 0x1e);
/// Behind what belongs together.
pub const CARD: Color32 = Color32::from_rgb(0x1f, 0x22, 0x29);
/// Wells: text fields, rails, unlit parts of a meter.
pub const WELL: Color32 = Color32::from_rgb(0x10, 0x12, 0x16);
/// Edges.
pub const EDGE: Color32 = Color32::from_rgb(0x31, 0x36, 0x40);
/// What is read.
pub const TEXT: Color32 = Color32::from_rgb(0xdd, 0xe1, 0xe8);
/// What is read second; 6:1 against the background.
pub const TEXT_WEAK: Color32 = Color32::from_rgb(0x98, 0xa1, 0xb0);
/// What is on, selected or in hand.
pub const ACCENT: Color32 = Color32::from_rgb(0x62, 0xa8, 0xe5);
/// Behind what is selected.
pub const ACCENT_DARK: Color32 = Color32::from_rgb(0x26, 0x45, 0x60);
pub const GOOD: Color32 = Color32::from_rgb(0x67, 0xc2, 0x95);
pub const WARNING: Color32 = Color32::from_rgb(0xe8, 0xb8, 0x58);
pub const FAULT: Color32 = Color32::from_rgb(0xf0, 0x7a, 0x72);

/// Space around the content of a window, points.
pub const MARGIN: i8 = 14;
/// Corners of cards and controls.
pub const ROUNDING: CornerRadius = CornerRadius::same(5);

/// A severity's colour; never the only sign of it.
pub fn severity_color(severity: Severity) -> Color32 {
    match severity {
        Severity::Idle => TEXT_WEAK,
        Severity::Good => GOOD,
        Severity::Warning => WARNING,
        Severity::Fault => FAULT,
    }
}

/// Figures, in a fixed width so that they do not dance.
pub fn figure_font(size: f32) -> FontId {
    FontId::new(size, FontFamily::Monospace)
}

/// Dresses a new window's context.
pub fn apply(context: &egui::Context) {
    context.set_theme(Theme::Dark);
    context.set_style_of(Theme::Dark, style());
}

fn style() -> Style {
    let mut style = Style { visuals: visuals(), animation_time: 0.1, ..Style::default() };
    let size = |points| FontId::new(points, FontFamily::Proportional);
    style.text_styles = [
        (TextStyle::Small, size(11.5)),
        (TextStyle::Body, size(13.5)),
        (TextStyle::Button, size(13.5)),
        (TextStyle::Heading, size(16.0)),
        (TextStyle::Monospace, figure_font(12.5)),
    ]
    .into();
    style.spacing.item_spacing = vec2(8.0, 7.0);
    style.spacing.button_padding = vec2(9.0, 3.0);
    style.spacing.interact_size = vec2(36.0, 22.0);
    style.spacing.slider_rail_height = 4.0;
    style.spacing.window_margin = Margin::same(MARGIN);
    style.interaction.selectable_labels = false;
    style
}

fn visuals() -> Visuals {
    let mut visuals = Visuals::dark();
    visuals.override_text_color = None;
    visuals.weak_text_color = Some(TEXT_WEAK);
    visuals.panel_fill = BACKGROUND;
    visuals.window_fill = CARD;
    visuals.window_stroke = Stroke::new(1.0, EDGE);
    visuals.extreme_bg_color = WELL;
    visuals.faint_bg_color = CARD;
    visuals.selection.bg_fill = ACCENT_DARK;
    visuals.selection.stroke = Stroke::new(1.0, TEXT);
    visuals.slider_trailing_fill = true;
    visuals.warn_fg_color = WARNING;
    visuals.error_fg_color = FAULT;
    visuals.indent_has_left_vline = false;
    let dress = |widget: &mut WidgetVisuals, fill, edge, text| {
        widget.bg_fill = fill;
        widget.weak_bg_fill = fill;
        widget.bg_stroke = Stroke::new(1.0, edge);
        widget.fg_stroke = Stroke::new(1.0, text);
        widget.corner_radius = ROUNDING;
        widget.expansion = 0.0;
    };
    let lit = Color32::from_rgb(0x34, 0x3a, 0x46);
    dress(&mut visuals.widgets.noninteractive, CARD, EDGE, TEXT);
    dress(&mut visuals.widgets.inactive, Color32::from_rgb(0x2a, 0x2f, 0x38), EDGE, TEXT);
    dress(&mut visuals.widgets.hovered, lit, Color32::from_rgb(0x55, 0x5e, 0x6e), Color32::WHITE);
    dress(&mut visuals.widgets.active, lit, ACCENT, Color32::WHITE);
    dress(&mut visuals.widgets.open, CARD, EDGE, TEXT);
    visuals
}
