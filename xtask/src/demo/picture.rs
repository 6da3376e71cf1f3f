//! The demonstration's picture: what went in, what came out, and latency over time, on one time axis.

use std::fs::File;
use std::io::BufWriter;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use audiocloud_rig::analysis;
use audiocloud_rig::audio::Audio;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::report::Report;
use super::{Attempt, length};

const WIDTH: u32 = 1_400;
const HEIGHT: u32 = 900;
/// Stretches of a waveform: about one per pixel.
const COLUMNS: usize = 1_300;

const INK: RGBColor = RGBColor(0x22, 0x26, 0x2c);
const SENT: RGBColor = RGBColor(0x2f, 0x6f, 0xb0);
const RECEIVED: RGBColor = RGBColor(0x2e, 0x8b, 0x57);
const LATENCY: RGBColor = RGBColor(0xb0, 0x50, 0x2f);

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Draws the picture and writes it as PNG.
pub(super) fn draw(path: &Path, source: &Audio, last: &Attempt, report: &Report) -> Result<()> {
    for style in [FontStyle::Normal, FontStyle::Bold] {
        register_font("sans-serif", style, epaint_default_fonts::UBUNTU_LIGHT)
            .map_err(|_| anyhow!("the picture's font cannot be read"))?;
    }
    let mut pixels = vec![0; usize::try_from(WIDTH * HEIGHT * 3)?];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, (WIDTH, HEIGHT)).into_drawing_area();
        panels(&root, source, last, report)
            .map_err(|error| anyhow!("the picture cannot be drawn: {error}"))?;
    }
    write(path, &pixels)
}

/// A drawing error borrows the canvas's type; its text is all that is kept of it.
fn panels(root: &Area<'_>, source: &Audio, last: &Attempt, report: &Report) -> Result<(), String> {
    root.fill(&WHITE).map_err(text)?;
    let root = root.margin(12, 0, 0, 12);
    let title = format!(
        "{}: {} channels, {} Hz, blocks of {} frames, playout delay {} ms, {}",
        report.input, report.channels, report.rate, report.block, report.playout_delay_ms, report.scheduling
    );
    let root = root.titled(&title, ("sans-serif", 24).into_font().color(&INK)).map_err(text)?;
    let panels = root.split_evenly((3, 1));
    let seconds = length(source).max(0.001);
    waveform(&panels[0], "into audiocloud Send", source, seconds, SENT)?;
    let verdict = match report.complaint() {
        None => "bit for bit the same".to_owned(),
        Some(complaint) => complaint,
    };
    let caption = format!("out of audiocloud Receive: {verdict}");
    waveform(&panels[1], &caption, &last.received(source), seconds, RECEIVED)?;
    latency(&panels[2], last, report, seconds)
}

fn waveform(
    area: &Area<'_>,
    caption: &str,
    audio: &Audio,
    seconds: f64,
    colour: RGBColor,
) -> Result<(), String> {
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 20).into_font().color(&INK))
        .margin(10)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..seconds, -1.0_f32..1.0)
        .map_err(text)?;
    chart.configure_mesh().light_line_style(TRANSPARENT).y_labels(5).draw().map_err(text)?;
    let envelope = analysis::envelope(audio, COLUMNS);
    let column_seconds = length(audio) / f64::from(u32::try_from(COLUMNS).map_err(text)?);
    let mut begin = 0.0;
    let bars = envelope.into_iter().map(|(low, high)| {
        // As wide as the stretch, so that no gap shows between two.
        let end = begin + column_seconds;
        let bar = Rectangle::new([(begin, low), (end, high)], colour.filled());
        begin = end;
        bar
    });
    chart.draw_series(bars).map(drop).map_err(text)
}

fn latency(area: &Area<'_>, last: &Attempt, report: &Report, seconds: f64) -> Result<(), String> {
    let figures = report.latency_ms;
    let caption = format!(
        "latency, callback to callback: median {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        figures.median, figures.p99, figures.max
    );
    let points = &last.outcome.latency.series;
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 20).into_font().color(&INK))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..seconds, scale(points.iter().map(|(_, ms)| *ms)))
        .map_err(text)?;
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT).x_desc("seconds").y_desc("ms").y_labels(5).draw().map_err(text)?;
    chart.draw_series(LineSeries::new(points.iter().copied(), LATENCY)).map(drop).map_err(text)
}

/// An axis from zero, so that the height of the line is the latency.
fn scale(values: impl Iterator<Item = f32>) -> Range<f32> {
    0.0..values.fold(1.0, f32::max) * 1.15
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn write(path: &Path, pixels: &[u8]) -> Result<()> {
    let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_begins_at_zero_and_holds_every_value() {
        let range = scale([3.0, 8.0, 5.0].into_iter());
        assert!(range.start == 0.0 && range.end > 8.0, "{range:?}");
        let empty = scale(std::iter::empty());
        assert!(empty.end > empty.start, "{empty:?}");
    }
}
