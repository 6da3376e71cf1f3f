//! A received signal of any kind beside the one that was sent: aligned, with a delay that may move slowly and by fractions
//! of a frame where somebody resamples, and that may jump where somebody changes a buffer.
//!
//! The delay is found block by block: predicted by the block before, refined by Gauss-Newton steps on those windows that
//! fit, searched for by correlation where it is lost. Each window then takes whichever of the neighbouring delays suits it
//! best, so that a jump costs the windows that it tears and no others. One gain for all.

use std::sync::OnceLock;

use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

use super::signal::{count, rms};
use super::verdict::{HOP, RESIDUAL_MAX, WINDOW, Windows};

/// Frames whose delay is one: few, so that noise still fits where somebody resamples by a part in a thousand.
const BLOCK: usize = 512;
/// How far a lost delay is searched for, in frames either way.
const SEARCH: usize = 6144;
/// Taps either side of a fractional place.
const REACH: isize = 24;
const STEPS: usize = 4;
/// A window fits when its residual is below this part of the signal's level, and below that part of its block's own: what
/// is quiet is no more alike for that.
const FITS: f64 = 0.1;
const FITS_QUIET: f64 = 0.5;
/// Further off than this a gain spoils what was found with it.
const GAIN_OFF_MAX: f64 = 0.01;
/// Blocks quieter than this part of the level tell nothing about the delay.
const QUIET: f64 = 0.01;

/// What should have been received in place of `received`, where all is as in [`windows`].
pub(crate) fn expected(sent: &[f32], received: &[f32], delay: f64) -> Vec<f64> {
    let tracker = Tracker::tracked(sent, received, delay);
    let sample = |frame: usize| tracker.gain * tracker.at(count(frame) - tracker.moving(frame));
    (0..received.len()).map(sample).collect()
}

/// The windows of `received`, of which frame 0 is received frame `from` and holds about the frame `-delay` of `sent`.
pub(crate) fn windows(sent: &[f32], received: &[f32], delay: f64, from: usize) -> Windows {
    let tracker = Tracker::tracked(sent, received, delay);
    let level = tracker.level * tracker.gain;
    let residuals: Vec<f64> = (0..(received.len() + HOP).saturating_sub(WINDOW) / HOP)
        .filter(|index| index * HOP + WINDOW <= received.len())
        .map(|index| tracker.residual(index * HOP) / level.max(1e-9))
        .collect();
    Windows { from, bad: residuals.iter().map(|residual| *residual > RESIDUAL_MAX).collect(), residuals }
}

struct Tracker<'a> {
    sent: &'a [f32],
    received: &'a [f32],
    level: f64,
    /// Of the block before: received frame r holds sent frame r - delay.
    delay: f64,
    gain: f64,
    delays: Vec<f64>,
}

impl<'a> Tracker<'a> {
    fn new(sent: &'a [f32], received: &'a [f32], delay: f64) -> Self {
        Self { sent, received, level: rms(sent), delay, gain: 1.0, delays: Vec::new() }
    }

    /// With delays of every block, and the gain.
    fn tracked(sent: &'a [f32], received: &'a [f32], delay: f64) -> Self {
        let mut tracker = Self::new(sent, received, delay);
        // Holes make it too small, but not by much.
        tracker.gain = (rms(received) / tracker.level.max(1e-9)).clamp(0.1, 10.0);
        tracker.track();
        let gain = tracker.measured_gain();
        if (gain / tracker.gain - 1.0).abs() > GAIN_OFF_MAX {
            tracker = Self { gain, ..Self::new(sent, received, delay) };
            tracker.track();
        }
        tracker.gain = gain;
        tracker
    }

    fn track(&mut self) {
        for block in 0..self.received.len().div_ceil(BLOCK) {
            let (from, to) = (block * BLOCK, self.received.len().min((block + 1) * BLOCK));
            let heard = rms(&self.received[from..to]);
            if heard > QUIET * self.level {
                let near = self.refined(from..to, self.predicted());
                let fitting = self.fitting(from..to, near);
                self.delay = near;
                if fitting < 0.5 {
                    let far = self.searched(from..to).map(|delay| self.refined(from..to, delay));
                    if let Some(far) = far.filter(|far| self.fitting(from..to, *far) > fitting) {
                        self.delay = far;
                    }
                }
            }
            self.delays.push(self.delay);
        }
    }

    /// The delay goes on as it went over the last two blocks, where that was slow.
    fn predicted(&self) -> f64 {
        match self.delays[..] {
            [.., before, last] if (last - before).abs() < 1.0 && last == self.delay => 2.0 * last - before,
            _ => self.delay,
        }
    }

    /// Gauss-Newton: the residual projected on the sent signal's slope.
    fn refined(&self, range: std::ops::Range<usize>, mut delay: f64) -> f64 {
        let started = delay;
        for _ in 0..STEPS {
            let (mut product, mut energy) = (0.0, 0.0);
            for window in range.clone().step_by(WINDOW) {
                let window = window..range.end.min(window + WINDOW);
                let (mut window_product, mut window_energy, mut misfit) = (0.0, 0.0, 0.0);
                for frame in window.clone() {
                    let place = count(frame) - delay;
                    let off = f64::from(self.received[frame]) - self.gain * self.at(place);
                    // Between whole frames: a step in a good direction is all that is asked of it.
                    let near = whole(place.round());
                    let slope = (self.sample(near + 1) - self.sample(near - 1)) / 2.0 * self.gain;
                    window_product -= off * slope;
                    window_energy += slope * slope;
                    misfit += off * off;
                }
                // A torn window would pull the delay of the good ones.
                if (misfit / count(window.len())).sqrt() < 5.0 * FITS * self.level {
                    product += window_product;
                    energy += window_energy;
                }
            }
            if energy <= 0.0 {
                break;
            }
            let step = (product / energy).clamp(-0.5, 0.5);
            delay += step;
            if step.abs() < 1e-5 {
                break;
            }
        }
        // A refinement that wanders is none.
        if (delay - started).abs() < 3.0 { snapped(delay) } else { started }
    }

    /// The part of a block's windows that fit at `delay`.
    fn fitting(&self, range: std::ops::Range<usize>, delay: f64) -> f64 {
        let limit = (FITS * self.level).min(FITS_QUIET * rms(&self.received[range.clone()]));
        let (mut fit, mut all) = (0_u32, 0_u32);
        for from in range.clone().step_by(WINDOW).filter(|from| from + WINDOW <= range.end) {
            all += 1;
            fit += u32::from(self.misfit(from, delay) < limit);
        }
        f64::from(fit) / f64::from(all.max(1))
    }

    /// The delay at which a block and what was sent around it correlate most, normalised by the energy of what was sent.
    fn searched(&self, range: std::ops::Range<usize>) -> Option<f64> {
        let middle = whole(count(range.start) - self.delay);
        let first = middle - isize::try_from(SEARCH).ok()?;
        let length = range.len() + 2 * SEARCH;
        let size = (length + range.len()).next_power_of_two();
        let stretch: Vec<f64> = (0..isize::try_from(length).ok()?).map(|n| self.sample(first + n)).collect();
        let spectrum = |samples: &mut dyn Iterator<Item = f64>| {
            let mut values: Vec<Complex<f64>> = samples.map(|x| Complex::new(x, 0.0)).collect();
            values.resize(size, Complex::default());
            FftPlanner::new().plan_fft_forward(size).process(&mut values);
            values
        };
        let mut product = spectrum(&mut stretch.iter().copied());
        let block = spectrum(&mut self.received[range.clone()].iter().map(|x| f64::from(*x)));
        for (a, b) in product.iter_mut().zip(&block) {
            *a *= b.conj();
        }
        FftPlanner::new().plan_fft_inverse(size).process(&mut product);
        let mut energy: f64 = stretch[..range.len()].iter().map(|x| x * x).sum();
        let floor = (QUIET * self.level).powi(2) * count(range.len());
        let mut best = None::<(f64, usize)>;
        for lag in 0..=2 * SEARCH {
            let height = product[lag].re / energy.max(floor).sqrt();
            if best.is_none_or(|(most, _)| height > most) {
                best = Some((height, lag));
            }
            let next = stretch.get(lag + range.len()).copied().unwrap_or(0.0);
            energy += next * next - stretch[lag] * stretch[lag];
        }
        let lag = isize::try_from(best?.1).ok()?;
        Some(count(range.start) - position(first + lag))
    }

    /// The delay at a frame: between the middles of two blocks it moves from one's to the other's.
    fn moving(&self, frame: usize) -> f64 {
        let last = self.delays.len() - 1;
        let block = (frame / BLOCK).min(last);
        let own = self.delays[block];
        let place = (count(frame) - count(block * BLOCK)) / count(BLOCK) - 0.5;
        let other = if place < 0.0 { block.saturating_sub(1) } else { (block + 1).min(last) };
        own + place.abs() * (self.delays[other] - own)
    }

    /// The least residual of a window, over the delays around it.
    fn residual(&self, from: usize) -> f64 {
        let block = from / BLOCK;
        let last = self.delays.len() - 1;
        let own = self.delays[block.min(last)];
        let before = self.delays[block.saturating_sub(1)];
        let after = self.delays[(block + 1).min(last)];
        let moving = self.moving(from + WINDOW / 2);
        let mut least = f64::INFINITY;
        let mut tried = [f64::NAN; 4];
        for (index, delay) in [own, moving, before, after].into_iter().enumerate() {
            if !tried.contains(&delay) {
                tried[index] = delay;
                least = least.min(self.misfit(from, delay));
            }
        }
        least
    }

    fn misfit(&self, from: usize, delay: f64) -> f64 {
        let energy: f64 = (from..from + WINDOW)
            .map(|frame| f64::from(self.received[frame]) - self.gain * self.at(count(frame) - delay))
            .map(|off| off * off)
            .sum();
        (energy / count(WINDOW)).sqrt()
    }

    /// The median of the windows' least-squares gains: of windows, for there may be a hole in each block.
    fn measured_gain(&self) -> f64 {
        let gains = (0..self.received.len() / WINDOW).filter_map(|window| {
            let from = window * WINDOW;
            let delay = self.delays[from / BLOCK];
            let (mut product, mut energy) = (0.0, 0.0);
            for frame in from..from + WINDOW {
                let sent = self.at(count(frame) - delay);
                product += sent * f64::from(self.received[frame]);
                energy += sent * sent;
            }
            (energy > count(WINDOW) * (0.3 * self.level).powi(2)).then(|| product / energy)
        });
        crate::measure::median(gains.collect()).filter(|gain| *gain > 0.05).unwrap_or(1.0)
    }

    /// What was sent at `place`, between frames by a windowed sinc.
    fn at(&self, place: f64) -> f64 {
        let base = place.floor();
        let fraction = place - base;
        let base = whole(base);
        if fraction == 0.0 {
            return self.sample(base);
        }
        let taps = TAPS.get_or_init(taps);
        let phase = fraction * count(PHASES);
        let (lower, blend) = (phase.floor(), phase - phase.floor());
        let lower = usize::try_from(whole(lower)).unwrap_or(0);
        let sum = |phase: usize| -> f64 {
            taps[phase].iter().zip(1 - REACH..).map(|(tap, n)| tap * self.sample(base + n)).sum()
        };
        sum(lower) * (1.0 - blend) + sum(lower + 1) * blend
    }

    fn sample(&self, index: isize) -> f64 {
        usize::try_from(index).ok().and_then(|index| self.sent.get(index)).map_or(0.0, |x| f64::from(*x))
    }
}

/// Phases between two frames; in between it is linear, to some -110 dB.
const PHASES: usize = 512;
static TAPS: OnceLock<Vec<Vec<f64>>> = OnceLock::new();

/// For each phase, the taps of a sinc under a Hann window.
fn taps() -> Vec<Vec<f64>> {
    let tap = |at: f64| {
        let pi = std::f64::consts::PI;
        let sinc = if at == 0.0 { 1.0 } else { (pi * at).sin() / (pi * at) };
        sinc * (0.5 + 0.5 * (pi * at / position(REACH + 1)).cos())
    };
    let phase = |phase: usize| {
        let fraction = count(phase) / count(PHASES);
        (1 - REACH..=REACH).map(|n| tap(fraction - position(n))).collect()
    };
    (0..=PHASES).map(phase).collect()
}

/// Nobody delays by a millionth of a frame: whole delays are compared exactly, and quickly.
fn snapped(delay: f64) -> f64 {
    if (delay - delay.round()).abs() < 2e-3 { delay.round() } else { delay }
}

#[allow(clippy::cast_possible_truncation, reason = "a place in a recording")]
fn whole(place: f64) -> isize {
    place as isize
}

#[allow(clippy::cast_precision_loss, reason = "a place in a recording")]
fn position(index: isize) -> f64 {
    index as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::impairment::SplitMix;

    /// Noise up to about 6 kHz, with a beginning before what is received.
    #[allow(clippy::cast_possible_truncation, reason = "a test's samples")]
    fn noise(length: usize) -> Vec<f32> {
        let mut random = SplitMix(5);
        let white: Vec<f64> = (0..length + 16).map(|_| random.unit() - 0.5).collect();
        (0..length).map(|n| (white[n..n + 16].iter().sum::<f64>() / 4.0) as f32).collect()
    }

    fn bad(windows: &Windows) -> usize {
        windows.bad.iter().filter(|bad| **bad).count()
    }

    #[test]
    fn a_copy_is_good_at_once_and_a_hole_is_bad_where_it_is() {
        let sent = noise(30_000);
        let mut received = sent[1000..25_000].to_vec();
        assert_eq!(bad(&windows(&sent, &received, -1000.4, 0)), 0);
        received[12_000..12_128].fill(0.0);
        let found = windows(&sent, &received, -999.0, 0);
        assert!((4..=6).contains(&bad(&found)), "{}", bad(&found));
        let first = found.bad.iter().position(|bad| *bad).unwrap() * HOP;
        assert!(first.abs_diff(12_000) <= WINDOW, "{first}");
    }

    #[test]
    fn a_jump_of_the_delay_costs_only_the_torn_windows() {
        let sent = noise(40_000);
        let received = [&sent[1000..14_500], &sent[14_628..35_000]].concat();
        let found = bad(&windows(&sent, &received, -1000.0, 0));
        assert!((1..=3).contains(&found), "{found}");
    }

    #[test]
    fn a_jump_where_it_is_quiet_is_found_there() {
        let mut sent = noise(40_000);
        for sample in &mut sent[10_000..20_000] {
            *sample *= 0.07;
        }
        let received = [&sent[1000..14_500], &sent[14_628..35_000]].concat();
        let found = bad(&windows(&sent, &received, -1000.0, 0));
        assert!(found <= 3, "{found}");
    }

    #[test]
    fn a_resampled_copy_is_good() {
        let sent = noise(60_000);
        let tracker =
            Tracker { sent: &sent, received: &[], level: 1.0, delay: 0.0, gain: 1.0, delays: Vec::new() };
        // 100 ppm fast, and half as loud.
        #[allow(clippy::cast_possible_truncation, reason = "a test's samples")]
        let received: Vec<f32> =
            (0..50_000).map(|n| (0.5 * tracker.at(1000.3 + count(n) * 1.0001)) as f32).collect();
        let found = bad(&windows(&sent, &received, -1001.0, 0));
        assert!(found <= 2, "{found}");
    }

    #[test]
    fn another_signal_is_bad() {
        let sent = noise(20_000);
        let received: Vec<f32> = sent.iter().rev().copied().collect();
        let found = windows(&sent, &received[..12_000], 0.0, 0);
        assert!(bad(&found) > 360, "{}", bad(&found));
    }
}
