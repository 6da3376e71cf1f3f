//! Which stretches of a received signal are bad, and what that amounts to.

use serde::Serialize;

use super::signal::{SAMPLE_RATE_HZ, count};

/// Frames of a window.
pub(crate) const WINDOW: usize = 64;
/// Frames from one window to the next.
pub(crate) const HOP: usize = 32;
/// The residual, against the signal's level, above which a window is bad: -30 dB.
pub(crate) const RESIDUAL_MAX: f64 = 0.0316;
/// Bad windows within so much are one glitch.
const GLITCH_SECONDS: f64 = 0.005;

/// What was heard of one section.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows {
    /// The received frame at which the first window begins; the next begins [`HOP`] later.
    pub(crate) from: usize,
    pub(crate) bad: Vec<bool>,
    /// Residuals against the signal's level.
    pub(crate) residuals: Vec<f64>,
}

/// What the windows amount to, host stalls left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) analysed_s: f64,
    /// Near host stalls.
    pub(crate) excluded_s: f64,
    pub(crate) bad_ms: f64,
    pub(crate) bad_ms_per_minute: f64,
    pub(crate) glitches: u32,
    /// Bad as well, but near a host stall.
    pub(crate) bad_ms_at_stalls: f64,
    /// The median residual: a codec's noise, where nothing breaks.
    pub(crate) residual_db: f64,
}

impl Windows {
    /// The verdict, without windows of which `stalled` says that the host stalled at their received frame.
    pub(crate) fn verdict(&self, stalled: impl Fn(usize) -> bool) -> Verdict {
        let seconds = |windows: usize| count(windows * HOP) / f64::from(SAMPLE_RATE_HZ);
        let (mut analysed, mut excluded, mut bad, mut bad_at_stalls, mut glitches) = (0, 0, 0, 0, 0);
        let mut last_bad: Option<usize> = None;
        for (index, &is_bad) in self.bad.iter().enumerate() {
            if stalled(self.from + index * HOP) {
                excluded += 1;
                bad_at_stalls += usize::from(is_bad);
                continue;
            }
            analysed += 1;
            if is_bad {
                bad += 1;
                let new = last_bad.is_none_or(|last| seconds(index - last) > GLITCH_SECONDS);
                glitches += u32::from(new);
                last_bad = Some(index);
            }
        }
        let analysed_s = seconds(analysed);
        let bad_ms = seconds(bad) * 1e3;
        let median = crate::measure::median(self.residuals.clone()).unwrap_or(0.0);
        Verdict {
            analysed_s,
            excluded_s: seconds(excluded),
            bad_ms,
            bad_ms_per_minute: if analysed_s > 0.0 { bad_ms * 60.0 / analysed_s } else { 0.0 },
            glitches,
            bad_ms_at_stalls: seconds(bad_at_stalls) * 1e3,
            residual_db: 20.0 * median.max(1e-9).log10(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_windows_are_counted_and_stalls_are_not() {
        let mut bad = vec![false; 1500];
        for index in [100, 101, 103, 200, 1000, 1001] {
            bad[index] = true;
        }
        let windows = Windows { from: 5000, bad, residuals: vec![0.001; 1500] };
        let verdict = windows.verdict(|frame| frame >= 5000 + 900 * HOP);
        assert_eq!(verdict.glitches, 2);
        assert!((verdict.bad_ms - 4.0 * 32.0 / 48.0).abs() < 1e-9, "{verdict:?}");
        assert!((verdict.analysed_s - 0.6).abs() < 1e-9 && (verdict.excluded_s - 0.4).abs() < 1e-9);
        assert!((verdict.bad_ms_per_minute - verdict.bad_ms * 100.0).abs() < 1e-9);
        assert!((verdict.bad_ms_at_stalls - 2.0 * 32.0 / 48.0).abs() < 1e-9);
        assert!((verdict.residual_db + 60.0).abs() < 1e-9);
    }
}
