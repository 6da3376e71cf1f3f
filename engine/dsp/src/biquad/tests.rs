use super::*;
use proptest::prelude::*;

pub(crate) const SHAPES: [Shape; 9] = [
    Shape::LowPass,
    Shape::HighPass,
    Shape::BandPassSkirt,
    Shape::BandPassPeak,
    Shape::Notch,
    Shape::AllPass,
    Shape::Peak,
    Shape::LowShelf,
    Shape::HighShelf,
];

fn any_shape() -> impl Strategy<Value = Shape> {
    prop::sample::select(&SHAPES)
}

pub(crate) fn decibels(gain: f64) -> f64 {
    20.0 * gain.log10()
}

/// The analogue prototype's gain at `s = j·angle`, for a centre at 1.
pub(crate) fn prototype_magnitude(shape: Shape, angle: f64, q: f64, gain_db: f64) -> f64 {
    let gain = 10_f64.powf(gain_db / 40.0);
    // The polynomial c2 s² + c1 s + c0.
    let polynomial = |c2: f64, c1: f64, c0: f64| (c0 - c2 * angle * angle).hypot(c1 * angle);
    let resonance = polynomial(1.0, 1.0 / q, 1.0);
    let root = gain.sqrt() / q;
    match shape {
        Shape::LowPass => polynomial(0.0, 0.0, 1.0) / resonance,
        Shape::HighPass => polynomial(1.0, 0.0, 0.0) / resonance,
        Shape::BandPassSkirt => polynomial(0.0, 1.0, 0.0) / resonance,
        Shape::BandPassPeak => polynomial(0.0, 1.0 / q, 0.0) / resonance,
        Shape::Notch => polynomial(1.0, 0.0, 1.0) / resonance,
        Shape::AllPass => 1.0,
        Shape::Peak => polynomial(1.0, gain / q, 1.0) / polynomial(1.0, 1.0 / (gain * q), 1.0),
        Shape::LowShelf => gain * polynomial(1.0, root, gain) / polynomial(gain, root, 1.0),
        Shape::HighShelf => gain * polynomial(gain, root, 1.0) / polynomial(1.0, root, gain),
    }
}

#[test]
fn every_shape_is_its_analogue_prototype_through_the_bilinear_transform() {
    let rate = 48_000.0;
    for shape in SHAPES {
        for centre in [30.0, 100.0, 1000.0, 7000.0, 20_000.0] {
            for (q, gain_db) in [(0.5, 6.0), (std::f64::consts::FRAC_1_SQRT_2, -12.0), (4.0, 12.0)] {
                let designed = Coefficients::design(shape, centre, q, gain_db, rate);
                let warp = |hz: f64| (std::f64::consts::PI * hz / rate).tan();
                for step in 0..=60 {
                    let frequency = 10.0 * 10_f64.powf(f64::from(step) / 60.0 * 3.37);
                    let expected = prototype_magnitude(shape, warp(frequency) / warp(centre), q, gain_db);
                    let error = designed.magnitude(frequency, rate) - expected;
                    // Singles place the poles of a 30 Hz filter within a fraction of a percent.
                    let tolerance = if centre < 100.0 { 0.02 } else { 0.002 } * expected.max(0.1);
                    assert!(
                        error.abs() < tolerance,
                        "{shape:?} {centre} Hz Q {q} at {frequency} Hz: {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_named_points_of_each_shape() {
    const BUTTERWORTH: f64 = std::f64::consts::FRAC_1_SQRT_2;
    fn check(shape: Shape, q: f64, gain_db: f64, at_hz: f64, expected_db: f64) {
        let found =
            decibels(Coefficients::design(shape, 1000.0, q, gain_db, 48_000.0).magnitude(at_hz, 48_000.0));
        let met =
            if expected_db == f64::NEG_INFINITY { found < -80.0 } else { (found - expected_db).abs() < 0.01 };
        assert!(met, "{shape:?} Q {q} gain {gain_db} dB at {at_hz} Hz: {found} dB, not {expected_db} dB");
    }
    check(Shape::LowPass, BUTTERWORTH, 0.0, 0.0, 0.0);
    check(Shape::LowPass, BUTTERWORTH, 0.0, 1000.0, -3.0103);
    check(Shape::LowPass, 10.0, 0.0, 1000.0, 20.0);
    check(Shape::LowPass, BUTTERWORTH, 0.0, 24_000.0, f64::NEG_INFINITY);
    check(Shape::HighPass, BUTTERWORTH, 0.0, 0.0, f64::NEG_INFINITY);
    check(Shape::HighPass, BUTTERWORTH, 0.0, 1000.0, -3.0103);
    check(Shape::HighPass, BUTTERWORTH, 0.0, 24_000.0, 0.0);
    check(Shape::BandPassSkirt, 4.0, 0.0, 1000.0, 12.0412);
    check(Shape::BandPassPeak, 4.0, 0.0, 1000.0, 0.0);
    check(Shape::BandPassPeak, 4.0, 0.0, 0.0, f64::NEG_INFINITY);
    check(Shape::Notch, 4.0, 0.0, 1000.0, f64::NEG_INFINITY);
    check(Shape::Notch, 4.0, 0.0, 0.0, 0.0);
    check(Shape::AllPass, 0.5, 0.0, 1000.0, 0.0);
    check(Shape::Peak, 2.0, 9.0, 1000.0, 9.0);
    check(Shape::Peak, 2.0, 9.0, 0.0, 0.0);
    check(Shape::LowShelf, BUTTERWORTH, -9.0, 0.0, -9.0);
    check(Shape::LowShelf, BUTTERWORTH, -9.0, 1000.0, -4.5);
    check(Shape::LowShelf, BUTTERWORTH, -9.0, 24_000.0, 0.0);
    check(Shape::HighShelf, BUTTERWORTH, 9.0, 0.0, 0.0);
    check(Shape::HighShelf, BUTTERWORTH, 9.0, 1000.0, 4.5);
    check(Shape::HighShelf, BUTTERWORTH, 9.0, 24_000.0, 9.0);
}

#[test]
fn an_all_pass_turns_half_a_cycle_at_its_centre() {
    let (re, im) =
        Coefficients::design(Shape::AllPass, 3000.0, 0.7, 0.0, 48_000.0).response(3000.0, 48_000.0);
    assert!((re + 1.0).abs() < 1e-5 && im.abs() < 1e-4, "{re} + {im}j");
}

#[test]
fn the_lowest_filters_keep_their_gain_at_the_ends_of_the_spectrum() {
    for rate in [44_100.0, 48_000.0, 96_000.0, 192_000.0] {
        for frequency in [20.0, 33.0, 50.0] {
            for (shape, low_db, high_db) in [
                (Shape::LowPass, 0.0, f64::NEG_INFINITY),
                (Shape::HighPass, f64::NEG_INFINITY, 0.0),
                (Shape::Notch, 0.0, 0.0),
                (Shape::AllPass, 0.0, 0.0),
                (Shape::Peak, 0.0, 0.0),
            ] {
                let designed = Coefficients::design(shape, frequency, 0.7, 6.0, rate);
                for (at_hz, expected_db) in [(0.0, low_db), (rate / 2.0, high_db)] {
                    let found = decibels(designed.magnitude(at_hz, rate));
                    let met = if expected_db.is_finite() {
                        (found - expected_db).abs() < 1e-3
                    } else {
                        found < -100.0
                    };
                    assert!(met, "{shape:?} {frequency} Hz of {rate} Hz, at {at_hz} Hz: {found} dB");
                }
            }
        }
    }
}

#[test]
fn what_is_not_a_number_is_the_identity() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(Coefficients::design(Shape::Peak, bad, 1.0, 1.0, 48_000.0), Coefficients::IDENTITY);
        assert_eq!(Coefficients::design(Shape::Peak, 1000.0, bad, 1.0, 48_000.0), Coefficients::IDENTITY);
        assert_eq!(Coefficients::design(Shape::Peak, 1000.0, 1.0, bad, 48_000.0), Coefficients::IDENTITY);
    }
    assert_eq!(Coefficients::design(Shape::Peak, 1000.0, 1.0, 1.0, 0.0), Coefficients::IDENTITY);
}

/// Direct form I in double precision.
fn reference(coefficients: &Coefficients, samples: &[f32]) -> Vec<f64> {
    let Coefficients { b0, b1, b2, a1, a2 } = *coefficients;
    let [b0, b1, b2, a1, a2] = [b0, b1, b2, a1, a2].map(f64::from);
    let (mut x1, mut x2, mut y1, mut y2) = (0.0, 0.0, 0.0, 0.0);
    samples
        .iter()
        .map(|&x| {
            let x = f64::from(x);
            let y = b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2;
            (x2, x1, y2, y1) = (x1, x, y1, y);
            y
        })
        .collect()
}

/// White noise within ±1.
pub(crate) fn noise(frames: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.cast_signed() as f32 / i32::MAX as f32
    })
    .take(frames)
    .collect()
}

/// The tolerances are what rounding to singles costs this structure, root mean square: 9 dB more for each octave down.
#[test]
fn filters_as_direct_form_one_does_in_double_precision() {
    let mut impulse = vec![0.0; 4800];
    impulse[0] = 1.0;
    for signal in [impulse, noise(4800, 1)] {
        for shape in SHAPES {
            for (frequency, tolerance_db) in [(50.0, -72.0), (1000.0, -110.0), (15_000.0, -138.0)] {
                let coefficients = Coefficients::design(shape, frequency, 2.0, 6.0, 48_000.0);
                let mut filtered = signal.clone();
                process(&coefficients, &mut State::default(), &mut filtered);
                let power: f64 = filtered
                    .iter()
                    .zip(reference(&coefficients, &signal))
                    .map(|(found, expected)| (f64::from(*found) - expected).powi(2))
                    .sum();
                let error_db = decibels((power / signal.len() as f64).sqrt());
                assert!(error_db < tolerance_db, "{shape:?} {frequency} Hz: {error_db} dB");
            }
        }
    }
}

#[test]
fn a_reset_filter_starts_afresh() {
    let coefficients = Coefficients::design(Shape::LowPass, 500.0, 2.0, 0.0, 48_000.0);
    let mut state = State { s1: f32::NAN, s2: 1.0 };
    state.reset();
    let (mut first, mut second) = (noise(100, 2), noise(100, 2));
    process(&coefficients, &mut state, &mut first);
    process(&coefficients, &mut State::default(), &mut second);
    assert_eq!(first, second);
}

proptest! {
    #[test]
    fn every_design_is_stable(
        shape in any_shape(),
        frequency_exponent in -2.0_f64..6.0,
        q_exponent in -4.0_f64..5.0,
        gain_db in -150.0_f64..150.0,
        rate in prop::sample::select(&[44_100.0, 48_000.0, 192_000.0]),
    ) {
        let (frequency, q) = (10_f64.powf(frequency_exponent), 10_f64.powf(q_exponent));
        let Coefficients { b0, b1, b2, a1, a2 } = Coefficients::design(shape, frequency, q, gain_db, rate);
        let (a1, a2) = (f64::from(a1), f64::from(a2));
        prop_assert!(a2 < 1.0 && a1.abs() < 1.0 + a2, "a1 {} a2 {}", a1, a2);
        prop_assert!([b0, b1, b2].iter().all(|b| b.is_finite()));
    }

    #[test]
    fn any_cut_gives_the_same_bits(
        shape in any_shape(),
        seed: u32,
        cuts in prop::collection::vec(0_usize..100, 0..10),
    ) {
        let coefficients = Coefficients::design(shape, 800.0, 3.0, -6.0, 48_000.0);
        let mut whole = noise(cuts.iter().sum(), seed);
        let mut cut = whole.clone();
        process(&coefficients, &mut State::default(), &mut whole);
        let (mut state, mut rest) = (State::default(), cut.as_mut_slice());
        for length in cuts {
            let (block, after) = rest.split_at_mut(length);
            process(&coefficients, &mut state, block);
            rest = after;
        }
        prop_assert!(whole.iter().zip(&cut).all(|(whole, cut)| whole.to_bits() == cut.to_bits()));
    }
}
