//! Bad time against latency: a panel for each network, a point for each run, a colour for each system. What is good is at
//! the lower left.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::cell::Cell;
use super::condition::Condition;
use super::signal::Kind;
use super::system::System;

const WIDTH: u32 = 1_500;
const PANEL_HEIGHT: u32 = 420;
const INK: RGBColor = RGBColor(0x22, 0x26, 0x2c);
/// A minute is bad for at most so long, ms; the axis ends there.
const BAD_MAX: f64 = 60_000.0;

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

fn colour(system: System) -> RGBColor {
    match system {
        System::Ours => RGBColor(0xc0, 0x30, 0x30),
        System::OursOpus => RGBColor(0xe0, 0x90, 0x40),
        System::Zita5 => RGBColor(0x2f, 0x6f, 0xb0),
        System::Zita10 => RGBColor(0x7f, 0xb2, 0xe0),
        System::JackTrip => RGBColor(0x2e, 0x8b, 0x57),
        System::JackTripTwice => RGBColor(0x8f, 0xc8, 0x7a),
        System::Jamulus => RGBColor(0x8a, 0x5f, 0xa8),
    }
}

/// Draws the picture and writes it as PNG.
pub(crate) fn draw(path: &Path, cells: &[Cell], block: u32) -> Result<()> {
    for style in [FontStyle::Normal, FontStyle::Bold] {
        register_font("sans-serif", style, epaint_default_fonts::UBUNTU_LIGHT)
            .map_err(|_| anyhow!("the picture's font cannot be read"))?;
    }
    let is_measured = |condition: &Condition| cells.iter().any(|cell| cell.condition == condition.name());
    let conditions: Vec<Condition> = Condition::ALL.into_iter().filter(is_measured).collect();
    let panel_rows = conditions.len().div_ceil(2).max(1);
    let height = PANEL_HEIGHT * u32::try_from(panel_rows)? + 60;
    let mut pixels = vec![0; usize::try_from(WIDTH * height * 3)?];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, (WIDTH, height)).into_drawing_area();
        panels(&root, cells, &conditions, panel_rows, block)
            .map_err(|error| anyhow!("the picture cannot be drawn: {error}"))?;
    }
    let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), WIDTH, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(())
}

/// A drawing error borrows the canvas's type; its text is all that is kept of it.
fn panels(
    root: &Area<'_>,
    cells: &[Cell],
    conditions: &[Condition],
    rows: usize,
    block: u32,
) -> Result<(), String> {
    root.fill(&WHITE).map_err(text)?;
    let title = format!("bad ms per minute of a sine, against latency; blocks of {block} frames at 48 kHz");
    let root = root.titled(&title, ("sans-serif", 24).into_font().color(&INK)).map_err(text)?;
    for (area, condition) in root.split_evenly((rows, 2)).iter().zip(conditions) {
        let cells: Vec<&Cell> = cells.iter().filter(|cell| cell.condition == condition.name()).collect();
        panel(area, condition.words(), &cells)?;
    }
    Ok(())
}

fn panel(area: &Area<'_>, caption: &str, cells: &[&Cell]) -> Result<(), String> {
    let points: Vec<(System, f64, f64)> = cells
        .iter()
        .filter_map(|cell| {
            let bad = cell.heard(Kind::Sine)?.verdict.bad_ms_per_minute;
            Some((cell.system, cell.latency_ms()?, bad))
        })
        .collect();
    let furthest = points.iter().fold(10.0_f64, |most, (_, ms, _)| most.max(*ms)) * 1.15;
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 20).into_font().color(&INK))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..furthest, 0.0..height(BAD_MAX))
        .map_err(text)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("latency, ms")
        .y_desc("bad ms per minute")
        .y_labels(6)
        .y_label_formatter(&at_height)
        .draw()
        .map_err(text)?;
    for system in System::ALL {
        let of_system: Vec<(f64, f64)> =
            points.iter().filter(|(of, ..)| *of == system).map(|(_, ms, bad)| (*ms, height(*bad))).collect();
        if of_system.is_empty() {
            continue;
        }
        let colour = colour(system);
        chart
            .draw_series(of_system.iter().map(|point| Circle::new(*point, 6, colour.filled())))
            .map_err(text)?
            .label(system.name())
            .legend(move |(x, y)| Circle::new((x + 8, y), 5, colour.filled()));
    }
    chart
        .configure_series_labels()
        .label_font(("sans-serif", 16))
        .background_style(WHITE.mix(0.8))
        .border_style(INK)
        .draw()
        .map_err(text)
}

/// Logarithmic from a tenth of a millisecond on, which is as good as nothing.
fn height(bad_ms: f64) -> f64 {
    bad_ms.max(0.1).log10() + 1.0
}

fn at_height(height: &f64) -> String {
    if *height < 0.5 { "0".to_owned() } else { format!("{:.0}", 10_f64.powf(height - 1.0)) }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_labelled_with_what_they_mean() {
        for (bad_ms, label) in [(0.0, "0"), (1.0, "1"), (100.0, "100"), (10_000.0, "10000")] {
            assert_eq!(at_height(&height(bad_ms)), label);
        }
    }
}
