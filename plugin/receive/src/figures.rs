//! What is counted of a stream: by name for the status command, in words behind Details.

use audiocloud_engine::stream::receiver::{self, Alignment};
use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::editor::figure;
use serde_json::json;

use crate::member::Reading;

/// The playout's figures by name, as the status report shows them.
pub(crate) fn json(playout: &receiver::Status) -> serde_json::Value {
    let mut figures = json!({
        "state": state_word(playout.state),
        "played": playout.played.get(),
        "played_frames": playout.played_frames,
        "latency_ns": playout.latency.last.get(),
        "latency_median_ns": playout.latency.median.get(),
        "latency_p99_ns": playout.latency.p99.get(),
        "latency_max_ns": playout.latency.max.get(),
        "level_frames": playout.level_frames,
        "margin_frames": playout.margin_frames,
        "delay_frames": playout.delay_frames,
        "hold_frames": playout.hold_frames,
        "burst_frames": playout.burst_frames,
        "ratio_ppm": playout.ppm,
        "resampling": playout.is_resampling,
        "blocks": playout.blocks,
        "missing_frames": playout.missing_frames,
        "unsent_frames": playout.unsent_frames,
        "starved_frames": playout.starved_frames,
        "faded_frames": playout.faded_frames,
        "concealed_frames": playout.concealed_frames,
        "concealments": playout.concealments,
        "recovered_blocks": playout.recovered_blocks,
        "late_blocks": playout.late_blocks,
        "late_frames": playout.late_frames,
        "duplicate_blocks": playout.duplicate_blocks,
        "stale_blocks": playout.stale_blocks,
        "malformed_blocks": playout.malformed_blocks,
        "mismatched_blocks": playout.mismatched_blocks,
        "epochs": playout.epochs,
        "resyncs": playout.resyncs,
        "slips": playout.slips,
        "slipped_frames": playout.slipped_frames,
        "last_cause": playout.last_cause.map(|cause| format!("{cause:?}")),
        "events_played": playout.events_played,
        "events_lost": playout.events_lost,
        "events_late": playout.events_late,
        "events_dropped": playout.events_dropped,
        "notes_released": playout.notes_released,
    });
    if let (Some(all), serde_json::Value::Object(timing)) = (figures.as_object_mut(), timing(playout)) {
        all.extend(timing);
    }
    figures
}

/// Those of the session's time.
fn timing(playout: &receiver::Status) -> serde_json::Value {
    json!({
        "alignment": alignment_word(playout.alignment),
        "alignment_error_ns": match playout.alignment {
            Alignment::Kept { error } => Some(error.get()),
            _ => None,
        },
        "link_offset_us": playout.link_offset.get() / 1_000,
        "needs_us": playout.needs.map(|needs| needs.get() / 1_000),
        "realignments": playout.realignments,
    })
}

fn state_word(state: receiver::State) -> &'static str {
    match state {
        receiver::State::Empty => "Empty",
        receiver::State::Waiting => "Waiting",
        receiver::State::Playing => "Playing",
        receiver::State::Starved => "Starved",
        receiver::State::RateMismatch { .. } => "RateMismatch",
    }
}

fn alignment_word(alignment: Alignment) -> &'static str {
    match alignment {
        Alignment::Off => "off",
        Alignment::NoTime => "no-time",
        Alignment::NoStamps => "no-stamps",
        Alignment::TooLong => "too-long",
        Alignment::Kept { .. } => "kept",
    }
}

/// The link offset in force, and how far what is heard is from it, of the stream that is furthest off.
fn alignment(readings: &[Reading]) -> Option<Detail> {
    let kept = readings.iter().filter_map(|reading| match reading.playout.alignment {
        Alignment::Kept { error } => Some((error, reading.playout.link_offset)),
        _ => None,
    });
    let (error, link_offset) = kept.max_by_key(|(error, _)| error.abs())?;
    let value = format!(
        "{}, off by {:.1} µs",
        figure::milliseconds(link_offset.as_millis_f64()),
        error.get() as f64 / 1e3
    );
    let meaning = "From recording to playing, by the session's clock, and how well this is kept here.";
    Some(Detail::new("Link offset", value, meaning))
}

/// What stands behind Details of all streams together, each with its owner.
pub(crate) fn details(readings: &[Reading], buffer_ms: Option<f64>) -> Vec<Detail> {
    let sum = |count: fn(&Reading) -> u64| readings.iter().map(count).sum::<u64>().to_string();
    let clocks =
        readings.iter().map(|reading| reading.playout.ppm).max_by(|a, b| a.abs().total_cmp(&b.abs()));
    let resampled = readings.iter().filter(|reading| reading.playout.is_resampling).count();
    let buffer = buffer_ms.map_or_else(|| "--".to_owned(), figure::milliseconds);
    let clock = match clocks {
        Some(ppm) if resampled > 0 => format!("{ppm:+.1} ppm, resampled"),
        Some(ppm) => format!("{ppm:+.1} ppm, not resampled"),
        None => "--".to_owned(),
    };
    let line = |name: &'static str, value: String, meaning: &'static str| Detail::new(name, value, meaning);
    let mut lines = vec![
        line("Buffer", buffer, "How long frames wait for stragglers; the longest of all streams."),
        line(
            "Their clock",
            clock,
            "How much faster the sender's sample clock runs than ours: of the stream that differs most.",
        ),
        line("Frames played", sum(|it| it.playout.played_frames), "Bit for bit, but where clocks differ."),
        line(
            "Packets lost (network)",
            sum(|it| it.wire.figures.lost),
            "Came by no way while they could still be played.",
        ),
        line(
            "Packets recovered",
            sum(|it| it.wire.figures.recovered()),
            "Lost on the way, and sent again or computed in time.",
        ),
        line(
            "Packets late (network)",
            sum(|it| it.wire.figures.late),
            "Came after they were due: the buffer is short.",
        ),
        line(
            "Frames concealed",
            sum(|it| it.playout.concealed_frames),
            "Missing, and the sound was carried on in their place.",
        ),
        line(
            "Frames missing (network)",
            sum(|it| it.playout.missing_frames),
            "Due and not there, though later ones came.",
        ),
        line(
            "Frames not sent (sender)",
            sum(|it| it.playout.unsent_frames),
            "The sender paused, or its computer was too busy.",
        ),
        line("Blocks late", sum(|it| it.playout.late_blocks), "Came to the playout after they were due."),
        line("Positions set anew", sum(|it| it.playout.resyncs), "Audible moves of the read position."),
        line("Delay changes", sum(|it| it.playout.slips), "Moves that made the buffer longer or shorter."),
        line("Events played", sum(|it| it.playout.events_played), "Notes and expressions."),
        line(
            "Events lost or late",
            sum(|it| it.playout.events_lost + it.playout.events_late),
            "Missed by their numbers, or too late.",
        ),
        line(
            "Notes let go",
            sum(|it| it.playout.notes_released),
            "Ended here because the stream failed them.",
        ),
    ];
    lines.extend(alignment(readings));
    lines
}
