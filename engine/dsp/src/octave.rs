//! Powers of two and logarithms to the base two, in singles and without branches: loops over them become vector
//! instructions, where a library's functions are called once for each sample.
//!
//! Levels within the engine are counted in octaves of amplitude: one octave is 6.02 dB.
//!
//! *Realtime-safe: yes*, all of it, on any thread.

/// Decibels of one octave of amplitude: 20 log₁₀ 2.
pub const DECIBELS: f32 = 6.020_6;

const EXPONENT_BIAS: u32 = 127;
const MANTISSA_BITS: u32 = 23;

/// 2^`x` for `x` within ±126: a relative error below 2·10⁻⁷, exact for whole numbers.
///
/// `x` is split into a whole number, which goes into the exponent's bits, and a fraction within ±½, where
/// `2^f = 1 + f·q(f)`. The coefficients of `q` interpolate `(2^f − 1) / f` at the six Chebyshev nodes of that interval,
/// which leaves a relative error of 9·10⁻⁹ before rounding.
#[inline]
#[must_use]
pub fn exp2(x: f32) -> f32 {
    /// Added to a number within ±2²², leaves it rounded to a whole one, in two's complement in the mantissa's low bits.
    const ROUNDER: f32 = 12_582_912.0;
    let shifted = x + ROUNDER;
    let f = x - (shifted - ROUNDER);
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(EXPONENT_BIAS) << MANTISSA_BITS);
    let q = 1.545_316_3e-4;
    let q = q * f + 1.339_086_3e-3;
    let q = q * f + 9.618_083e-3;
    let q = q * f + 5.550_357e-2;
    let q = q * f + 0.240_226_5;
    let q = q * f + std::f32::consts::LN_2;
    scale * (1.0 + f * q)
}

/// log₂ `x` for a normal `x` above 0, within 2·10⁻⁷ octaves or of the result's own size; exactly 0 for 1.
///
/// `x` is split into a power of two and a number m from √½ to √2, whose logarithm is `2 artanh(s) / ln 2` with
/// `s = (m − 1) / (m + 1)`, at most 0.172 in size: after the term of s⁹ the series is right to 10⁻⁹.
#[inline]
#[must_use]
pub fn log2(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    const MANTISSA: u32 = (1 << MANTISSA_BITS) - 1;
    let bits = x.to_bits().wrapping_sub(SQRT_HALF);
    let whole = bits.cast_signed() >> MANTISSA_BITS;
    let m = f32::from_bits((bits & MANTISSA) + SQRT_HALF);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = 0.320_598_9;
    let series = series * square + 0.412_198_6;
    let series = series * square + 0.577_078;
    let series = series * square + 0.961_796_7;
    let series = series * square + 2.885_39;
    whole as f32 + s * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp2_is_right_to_the_last_bits() {
        for step in -126_000..=126_000 {
            let x = step as f32 / 1000.0;
            let error = f64::from(exp2(x)) / f64::from(x).exp2() - 1.0;
            assert!(error.abs() < 2e-7, "2^{x}: {error:e}");
        }
        for whole in -126..=126 {
            assert_eq!(f64::from(exp2(whole as f32)), f64::from(whole).exp2());
        }
    }

    #[test]
    fn log2_is_right_to_the_last_bits() {
        for step in -100_000..=100_000 {
            let x = exp2(step as f32 / 1000.0);
            let expected = f64::from(x).log2();
            let error = f64::from(log2(x)) - expected;
            assert!(error.abs() < 2e-7 * expected.abs().max(1.0), "log₂ {x:e}: {error:e}");
        }
        for whole in -126_i16..=127 {
            assert_eq!(log2(f32::from(whole).exp2()), f32::from(whole));
        }
    }

    #[test]
    fn near_one_the_logarithm_is_small_and_right() {
        for step in 1..=1000_u16 {
            let x = 1.0 + f32::from(step) * f32::EPSILON;
            let expected = f64::from(x).log2();
            assert!((f64::from(log2(x)) / expected - 1.0).abs() < 1e-6);
        }
    }
}
