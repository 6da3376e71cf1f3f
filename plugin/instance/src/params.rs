//! Parameters that plug-ins have in common, and what their values mean.

use std::sync::Arc;

use audiocloud_engine::dsp::level;
use nice_plug::prelude::*;

/// Lowest level, dB: stands for silence.
pub const LEVEL_MIN_DB: f32 = -80.0;
/// Highest level, dB.
pub const LEVEL_MAX_DB: f32 = 12.0;
/// Shortest playout delay, ms.
pub const DELAY_MIN_MS: f32 = 0.5;
/// Longest playout delay, ms.
pub const DELAY_MAX_MS: f32 = 200.0;
/// Playout delay of a new Receive, ms.
pub const DELAY_DEFAULT_MS: f32 = 10.0;
/// How far the lowest latency may grow in a new Receive, ms.
pub const CEILING_DEFAULT_MS: f32 = 100.0;
/// Longest latency that can be asked for as a whole, ms.
pub const BUDGET_MAX_MS: f32 = 500.0;
/// Longest time from recording to playing that aligned streams may be set to, ms.
pub const LINK_OFFSET_MAX_MS: f32 = 500.0;

/// The hidden parameter whose change makes the host mark its project as changed: state kept outside parameters has
/// no other way to say so.
pub fn revision() -> IntParam {
    IntParam::new("Revision", 0, IntRange::Linear { min: 0, max: 65_535 }).non_automatable().hide()
}

/// A level in dB whose lowest value is silence and whose 0 dB is exactly 1.
pub fn level(name: &str) -> FloatParam {
    // The step makes 0 dB come back as exactly 0.0 from the host's normalised value: unity gain must not round.
    FloatParam::new(name, 0.0, FloatRange::Linear { min: LEVEL_MIN_DB, max: LEVEL_MAX_DB })
        .with_step_size(0.01)
        .with_value_to_string(Arc::new(|db| {
            if db <= LEVEL_MIN_DB { "-inf dB".to_owned() } else { format!("{db:.1} dB") }
        }))
        .with_string_to_value(Arc::new(|text| {
            let number = text.trim().trim_end_matches("dB").trim();
            if number.eq_ignore_ascii_case("-inf") { Some(LEVEL_MIN_DB) } else { number.parse().ok() }
        }))
}

/// Linear gain of a [`level`]. *Realtime-safe: yes.*
pub fn gain(level_db: f32) -> f32 {
    if level_db <= LEVEL_MIN_DB { 0.0 } else { level::gain_from_db(level_db) }
}

/// How long a received frame waits for stragglers, ms.
pub fn playout_delay(name: &str) -> FloatParam {
    let range =
        FloatRange::Skewed { min: DELAY_MIN_MS, max: DELAY_MAX_MS, factor: FloatRange::skew_factor(-1.5) };
    FloatParam::new(name, DELAY_DEFAULT_MS, range)
        .with_step_size(0.1)
        .with_unit(" ms")
        .with_value_to_string(formatters::v2s_f32_rounded(1))
}

/// A bound of a delay that adapts, ms.
pub fn delay_bound(name: &str, default_ms: f32) -> FloatParam {
    milliseconds(name, default_ms, DELAY_MAX_MS)
}

/// The latency that is asked for as a whole, ms; 0: none is.
pub fn latency_budget(name: &str) -> FloatParam {
    milliseconds(name, 0.0, BUDGET_MAX_MS)
}

/// How long after it was recorded a frame leaves everywhere, ms; 0: as is agreed.
pub fn link_offset(name: &str) -> FloatParam {
    milliseconds(name, 0.0, LINK_OFFSET_MAX_MS)
}

fn milliseconds(name: &str, default_ms: f32, max_ms: f32) -> FloatParam {
    let range = FloatRange::Skewed { min: 0.0, max: max_ms, factor: FloatRange::skew_factor(-1.5) };
    FloatParam::new(name, default_ms, range)
        .with_step_size(0.1)
        .with_unit(" ms")
        .with_value_to_string(formatters::v2s_f32_rounded(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unity_survives_the_hosts_normalised_value() {
        let level = level("Level");
        let normalised = level.default_normalized_value();
        assert_eq!(gain(level.preview_plain(normalised)), 1.0);
        assert_eq!(gain(level.preview_plain(0.0)), 0.0);
        assert!((gain(level.preview_plain(1.0)) - 3.981).abs() < 1e-3);
    }

    #[test]
    fn level_reads_what_it_writes() {
        let level = level("Level");
        for db in [LEVEL_MIN_DB, -60.0, -6.0, 0.0, 3.5, LEVEL_MAX_DB] {
            let text = level.normalized_value_to_string(level.preview_normalized(db), true);
            let back = level.string_to_normalized_value(&text).map(|n| level.preview_plain(n));
            assert_eq!(back, Some(db), "{text}");
        }
    }

    #[test]
    fn the_default_delay_is_the_default_delay() {
        let delay = playout_delay("Playout delay");
        assert_eq!(delay.preview_plain(delay.default_normalized_value()), DELAY_DEFAULT_MS);
        let ceiling = delay_bound("Ceiling", CEILING_DEFAULT_MS);
        assert_eq!(ceiling.preview_plain(ceiling.default_normalized_value()), CEILING_DEFAULT_MS);
        let budget = latency_budget("Budget");
        assert_eq!(budget.preview_plain(budget.default_normalized_value()), 0.0);
    }
}
