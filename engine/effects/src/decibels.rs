//! Gains along ramps in decibels.

use audiocloud_dsp::octave::{DECIBELS, exp2};
use audiocloud_dsp::ramp::Ramp;

/// The gain of a level in decibels, as [`fill`] has it: exactly 1 for 0 dB. *Realtime-safe: yes.*
pub(crate) fn gain(db: f32) -> f32 {
    exp2((db / DECIBELS).clamp(-126.0, 126.0))
}

/// The gain at each frame of a ramp of levels. *Realtime-safe: yes.*
pub(crate) fn fill(levels_db: &Ramp, gains: &mut [f32]) {
    if levels_db.is_resting() {
        gains.fill(gain(levels_db.target()));
    } else {
        levels_db.fill(gains);
        for gain in gains {
            *gain = self::gain(*gain);
        }
    }
}

/// Multiplies by the gain at each frame of a ramp of levels; 0 dB at rest leaves every bit. *Realtime-safe: yes.*
pub(crate) fn apply(levels_db: &Ramp, channels: &mut [&mut [f32]]) {
    if levels_db.is_resting() && levels_db.target() == 0.0 {
        return;
    }
    let mut gains = [1.0; crate::effect::GRID];
    fill(levels_db, &mut gains);
    for channel in channels {
        for (sample, gain) in channel.iter_mut().zip(&gains) {
            *sample *= gain;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_those_of_their_levels() {
        for db in [-120.0_f32, -24.0, -6.0, -0.1, 0.0, 3.0, 24.0] {
            let expected = 10.0_f64.powf(f64::from(db) / 20.0);
            assert!((f64::from(gain(db)) / expected - 1.0).abs() < 1e-6 + 1e-7 * f64::from(db.abs()));
        }
        assert_eq!(gain(0.0), 1.0);
        assert!(gain(f32::NEG_INFINITY) < 1e-37);
    }
}
