//! Decibels and gains.
//!
//! A gain is an amplitude ratio: `gain = 10^(db / 20)`, so that 6.02 dB is a factor of two and −∞ dB is silence.
//!
//! *Realtime-safe: yes*, all of it, on any thread.

/// The gain of a level in decibels; −∞ dB is 0.
#[must_use]
pub fn gain_from_db(db: f32) -> f32 {
    libm::powf(10.0, db / 20.0)
}

/// The level in decibels of a gain, whose sign (a polarity) is ignored; 0 is −∞ dB.
#[must_use]
pub fn db_from_gain(gain: f32) -> f32 {
    20.0 * libm::log10f(gain.abs())
}

/// As [`gain_from_db`], where a filter is designed rather than a signal scaled.
#[must_use]
pub fn gain_from_db_f64(db: f64) -> f64 {
    libm::pow(10.0, db / 20.0)
}

/// As [`db_from_gain`], where something is measured.
#[must_use]
pub fn db_from_gain_f64(gain: f64) -> f64 {
    20.0 * libm::log10(gain.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decibels_and_gains_name_the_same_level() {
        fn check(db: f32, gain: f32) {
            assert!((gain_from_db(db) / gain - 1.0).abs() < 1e-6, "{db} dB: {}", gain_from_db(db));
            assert!((db_from_gain(gain) - db).abs() < 1e-5, "{gain}: {} dB", db_from_gain(gain));
            assert!((gain_from_db_f64(db.into()) / f64::from(gain) - 1.0).abs() < 1e-6);
            assert!((db_from_gain_f64(gain.into()) - f64::from(db)).abs() < 1e-5);
        }
        check(0.0, 1.0);
        check(20.0, 10.0);
        check(-20.0, 0.1);
        check(-120.0, 1e-6);
        check(6.020_6, 2.0);
        check(-3.010_3, std::f32::consts::FRAC_1_SQRT_2);
    }

    #[test]
    fn unity_is_exact_and_silence_is_minus_infinity() {
        assert_eq!(gain_from_db(0.0), 1.0);
        assert_eq!(db_from_gain(1.0), 0.0);
        assert_eq!(gain_from_db(f32::NEG_INFINITY), 0.0);
        assert_eq!(db_from_gain(0.0), f32::NEG_INFINITY);
        assert_eq!(db_from_gain(-0.5), db_from_gain(0.5));
    }
}
