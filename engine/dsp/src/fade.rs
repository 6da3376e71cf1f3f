//! Fades.
//!
//! A fade's gain is a pure function of the frame's index within the fade, so a fade may be cut into blocks anywhere and
//! gives the same bits.

use std::ops::Range;

/// How a fade travels between silence and unity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Curve {
    /// Constant steps of amplitude. In and out add up to one in amplitude, for signals that are alike.
    Linear,
    /// Half a period of a cosine, raised above zero: no corner at either end, hence the least click. In and out add up
    /// to one in amplitude. The rising half of the window of Hann (F. J. Harris, *On the Use of Windows for Harmonic
    /// Analysis with the Discrete Fourier Transform*, Proc. IEEE 66(1), 1978).
    #[default]
    RaisedCosine,
    /// A quarter of a sine. In and out add up to one in power, for cross-fades between signals that are not alike.
    EqualPower,
}

/// The gain of a fade-in of `length` frames at its frame `frame`: 0 at frame 0, exactly 1 from frame `length` on. A fade
/// of no frames is over before it starts.
///
/// Within 4e-7 of the curve's formula (−128 dB).
///
/// *Realtime-safe: yes*.
#[must_use]
pub fn gain_in(curve: Curve, frame: u32, length: u32) -> f32 {
    if frame >= length {
        return 1.0;
    }
    let progress = ratio(frame, length);
    match curve {
        Curve::Linear => progress,
        Curve::RaisedCosine => raised_cosine(progress),
        Curve::EqualPower => sine_of_quarter(progress),
    }
}

/// The gain of a fade-out of `length` frames at its frame `frame`: exactly 1 at frame 0, exactly 0 from frame `length` on.
///
/// It complements [`gain_in`]: their sum is one within a unit in the last place, or for [`Curve::EqualPower`] the sum of
/// their squares within 5e-7.
///
/// *Realtime-safe: yes*.
#[must_use]
pub fn gain_out(curve: Curve, frame: u32, length: u32) -> f32 {
    if frame >= length {
        return 0.0;
    }
    match curve {
        Curve::Linear => 1.0 - ratio(frame, length),
        Curve::RaisedCosine => 1.0 - raised_cosine(ratio(frame, length)),
        // A cosine is the sine of what remains of the quarter.
        Curve::EqualPower => sine_of_quarter(ratio(length - frame, length)),
    }
}

/// Fills `gains` with [`gain_in`] of the frames from `frame` on, to the bit, at a fraction of its cost per frame.
///
/// *Realtime-safe: yes*.
pub fn fill_in(curve: Curve, frame: u32, length: u32, gains: &mut [f32]) {
    let (fading, faded) = split(frame, length, gains);
    // The match stands outside of the loops, which the compiler then turns into vector instructions.
    match curve {
        Curve::Linear => fill(fading, |frame| ratio(frame, length)),
        Curve::RaisedCosine => fill(fading, |frame| raised_cosine(ratio(frame, length))),
        Curve::EqualPower => fill(fading, |frame| sine_of_quarter(ratio(frame, length))),
    }
    faded.fill(1.0);
}

/// Fills `gains` with [`gain_out`] of the frames from `frame` on, to the bit, at a fraction of its cost per frame.
///
/// *Realtime-safe: yes*.
pub fn fill_out(curve: Curve, frame: u32, length: u32, gains: &mut [f32]) {
    let (fading, faded) = split(frame, length, gains);
    match curve {
        Curve::Linear => fill(fading, |frame| 1.0 - ratio(frame, length)),
        Curve::RaisedCosine => fill(fading, |frame| 1.0 - raised_cosine(ratio(frame, length))),
        Curve::EqualPower => fill(fading, |frame| sine_of_quarter(ratio(length - frame, length))),
    }
    faded.fill(0.0);
}

/// The gains that are still within the fade, with their frames; and those that are past its end.
fn split(frame: u32, length: u32, gains: &mut [f32]) -> ((Range<u32>, &mut [f32]), &mut [f32]) {
    let remaining = usize::try_from(length.saturating_sub(frame)).unwrap_or(usize::MAX);
    let (fading, faded) = gains.split_at_mut(remaining.min(gains.len()));
    ((frame..length, fading), faded)
}

fn fill((frames, gains): (Range<u32>, &mut [f32]), gain_at: impl Fn(u32) -> f32) {
    for (gain, frame) in gains.iter_mut().zip(frames) {
        *gain = gain_at(frame);
    }
}

/// `part / whole`, each rounded to the 24 bits of an `f32`, which is −144 dB of the fade's length.
fn ratio(part: u32, whole: u32) -> f32 {
    part as f32 / whole as f32
}

/// (1 − cos πx) / 2 = sin²(πx / 2) for x from 0 to 1.
pub(crate) fn raised_cosine(x: f32) -> f32 {
    let sine = sine_of_quarter(x);
    sine * sine
}

/// sin(πx / 2) for x from 0 to 1: exactly 0 at 0 and 1 at 1, never above 1, with an error below 2e-7.
///
/// An odd polynomial of degree 9 fitted by the exchange algorithm (E. Remez, 1934) to the least greatest relative error,
/// 7e-9, which the arithmetic's rounding covers. No table and no branch: loops over it become vector instructions.
pub(crate) fn sine_of_quarter(x: f32) -> f32 {
    const C: [f32; 5] = [1.570_796_4, -0.645_963_8, 0.079_689_93, -0.004_674_157_6, 0.000_151_678_53];
    let square = x * x;
    let sine = x * (C[0] + square * (C[1] + square * (C[2] + square * (C[3] + square * C[4]))));
    sine.min(1.0)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use proptest::prelude::*;

    use super::*;

    const CURVES: [Curve; 3] = [Curve::Linear, Curve::RaisedCosine, Curve::EqualPower];

    fn formula(curve: Curve, x: f64) -> f64 {
        match curve {
            Curve::Linear => x,
            Curve::RaisedCosine => 0.5 - 0.5 * (2.0 * FRAC_PI_2 * x).cos(),
            Curve::EqualPower => (FRAC_PI_2 * x).sin(),
        }
    }

    #[test]
    fn follows_its_formula_and_complements_itself() {
        for curve in CURVES {
            for length in [1, 2, 63, 64, 1000, 48_000] {
                for frame in 0..length {
                    let (rising, falling) = (gain_in(curve, frame, length), gain_out(curve, frame, length));
                    let x = f64::from(frame) / f64::from(length);
                    let error = (f64::from(rising) - formula(curve, x)).abs();
                    assert!(error < 4e-7, "{curve:?} {frame}/{length}: {error}");
                    let (sum, tolerance) = match curve {
                        Curve::EqualPower => (rising * rising + falling * falling, 5e-7),
                        _ => (rising + falling, f32::EPSILON),
                    };
                    assert!((sum - 1.0).abs() <= tolerance, "{curve:?} {frame}/{length}: {sum}");
                    assert!((0.0..=1.0).contains(&rising) && (0.0..=1.0).contains(&falling));
                }
            }
        }
    }

    #[test]
    fn begins_and_ends_exactly() {
        for curve in CURVES {
            for length in [1, 7, 64, 44_100, u32::MAX] {
                assert_eq!((gain_in(curve, 0, length), gain_out(curve, 0, length)), (0.0, 1.0));
                for frame in [length, length.saturating_add(1), u32::MAX] {
                    assert_eq!((gain_in(curve, frame, length), gain_out(curve, frame, length)), (1.0, 0.0));
                }
            }
            assert_eq!((gain_in(curve, 0, 0), gain_out(curve, 0, 0)), (1.0, 0.0));
        }
    }

    #[test]
    fn rises_and_never_falls_back_by_more_than_rounding() {
        for curve in CURVES {
            let gains: Vec<f32> = (0..48_000).map(|frame| gain_in(curve, frame, 48_000)).collect();
            assert!(gains.windows(2).all(|pair| pair[1] >= pair[0] - 2.0 * f32::EPSILON), "{curve:?}");
        }
    }

    proptest! {
        #[test]
        fn filled_in_any_cut_to_the_bit(
            which in 0..3_usize, start in 0..3000_u32, length in 0..3000_u32, cuts in prop::collection::vec(0..200_usize, 0..20),
        ) {
            let curve = CURVES[which];
            let mut frame = start;
            for count in cuts {
                let mut rising = vec![f32::NAN; count];
                let mut falling = vec![f32::NAN; count];
                fill_in(curve, frame, length, &mut rising);
                fill_out(curve, frame, length, &mut falling);
                for (rising, falling) in rising.into_iter().zip(falling) {
                    prop_assert_eq!(rising.to_bits(), gain_in(curve, frame, length).to_bits());
                    prop_assert_eq!(falling.to_bits(), gain_out(curve, frame, length).to_bits());
                    frame += 1;
                }
            }
        }
    }

    #[test]
    fn fills_up_to_the_last_frame_there_is() {
        let mut gains = [f32::NAN; 4];
        fill_in(Curve::Linear, u32::MAX - 2, u32::MAX, &mut gains);
        assert_eq!(gains[2..], [1.0, 1.0]);
        fill_out(Curve::EqualPower, u32::MAX, u32::MAX, &mut gains);
        assert_eq!(gains, [0.0; 4]);
        fill_in(Curve::Linear, 0, 0, &mut []);
    }
}
