use super::super::Shape;
use super::super::tests::noise;
use super::*;
use proptest::prelude::*;

const SHAPES: [Shape; 4] = [Shape::LowPass, Shape::Peak, Shape::HighShelf, Shape::AllPass];

/// `count` filters that differ, and that have already heard something.
fn filters(count: usize) -> (Vec<Coefficients>, Vec<State>) {
    let coefficients = (0..count).map(|k| {
        let frequency_hz = 40.0 * (1.0 + k as f64).powf(1.5);
        Coefficients::design(
            SHAPES[k % 4],
            frequency_hz,
            0.3 + k as f64 * 0.1,
            3.0 - k as f64 * 0.2,
            48_000.0,
        )
    });
    let states = noise(2 * count, 7).chunks(2).map(|s| State { s1: s[0], s2: s[1] }).collect();
    (coefficients.collect(), states)
}

fn bits(samples: &[f32]) -> Vec<u32> {
    samples.iter().map(|sample| sample.to_bits()).collect()
}

fn state_bits(states: &[State]) -> Vec<[u32; 2]> {
    states.iter().map(|state| [state.s1.to_bits(), state.s2.to_bits()]).collect()
}

fn one_by_one(
    coefficients: &[Coefficients],
    states: &mut [State],
    buffers: &mut [Vec<f32>],
    range: Range<usize>,
) {
    for ((coefficients, state), buffer) in coefficients.iter().zip(states).zip(buffers) {
        process(coefficients, state, clipped(buffer, &range));
    }
}

fn one_after_the_other(coefficients: &[Coefficients], states: &mut [State], samples: &mut [f32]) {
    for (coefficients, state) in coefficients.iter().zip(states) {
        process(coefficients, state, samples);
    }
}

fn buffers(lengths: impl Iterator<Item = usize>) -> Vec<Vec<f32>> {
    lengths.zip(0..).map(|(length, seed)| noise(length, seed)).collect()
}

fn buffer_bits(buffers: &[Vec<f32>]) -> Vec<Vec<u32>> {
    buffers.iter().map(|buffer| bits(buffer)).collect()
}

proptest! {
    #[test]
    fn a_bank_is_its_filters_one_by_one(
        count in 0_usize..150,
        frames in 0_usize..100,
        start in 0_usize..20,
        length in 0_usize..100,
        cut in 0_usize..100,
    ) {
        let (coefficients, states) = filters(count);
        let (end, cut) = (start + length, start + cut.min(length));
        let (mut expected, mut expected_states) = (buffers(vec![frames; count].into_iter()), states.clone());
        let (mut found, mut found_states) = (expected.clone(), states);
        one_by_one(&coefficients, &mut expected_states, &mut expected, start..end);
        bank(&coefficients, &mut found_states, &mut found, start..cut);
        bank(&coefficients, &mut found_states, &mut found, cut..end);
        prop_assert_eq!(buffer_bits(&found), buffer_bits(&expected));
        prop_assert_eq!(state_bits(&found_states), state_bits(&expected_states));
    }

    #[test]
    fn a_bank_needs_no_promise_by_the_processor(count in 1_usize..=64, frames in 0_usize..100) {
        let (coefficients, states) = filters(count);
        let (mut expected, mut expected_states) = (buffers(vec![frames; count].into_iter()), states.clone());
        let (mut found, mut found_states) = (expected.clone(), states);
        one_by_one(&coefficients, &mut expected_states, &mut expected, 0..frames);
        let mut rows: Vec<&mut [f32]> = found.iter_mut().map(Vec::as_mut_slice).collect();
        bank_in::<Portable>(&coefficients, &mut found_states, &mut rows);
        prop_assert_eq!(buffer_bits(&found), buffer_bits(&expected));
        prop_assert_eq!(state_bits(&found_states), state_bits(&expected_states));
    }

    #[test]
    fn a_series_is_its_filters_one_after_the_other(
        count in 0_usize..60,
        cuts in prop::collection::vec(0_usize..100, 0..4),
        portable: bool,
    ) {
        let (coefficients, states) = filters(count);
        let signal = noise(cuts.iter().sum(), 3);
        let (mut expected, mut expected_states) = (signal.clone(), states.clone());
        one_after_the_other(&coefficients, &mut expected_states, &mut expected);
        let (mut found, mut found_states) = (signal, states);
        let mut rest = found.as_mut_slice();
        for length in cuts {
            let (block, after) = rest.split_at_mut(length);
            if portable {
                series_in::<Portable>(&coefficients, &mut found_states, block);
            } else {
                series(&coefficients, &mut found_states, block);
            }
            rest = after;
        }
        prop_assert_eq!(bits(&found), bits(&expected));
        prop_assert_eq!(state_bits(&found_states), state_bits(&expected_states));
    }
}

#[test]
fn a_long_series_is_cut_without_a_seam() {
    let (coefficients, states) = filters(30);
    let (mut expected, mut expected_states) = (noise(8192, 3), states.clone());
    let (mut found, mut found_states) = (expected.clone(), states);
    one_after_the_other(&coefficients, &mut expected_states, &mut expected);
    series(&coefficients, &mut found_states, &mut found);
    assert_eq!(bits(&found), bits(&expected));
    assert_eq!(state_bits(&found_states), state_bits(&expected_states));
}

#[test]
fn buffers_and_lists_may_end_early() {
    let (coefficients, states) = filters(20);
    let (mut expected, mut expected_states) = (buffers((0..20).map(|k| 3 * k)), states.clone());
    let (mut found, mut found_states) = (expected.clone(), states);
    one_by_one(&coefficients[..19], &mut expected_states, &mut expected, 5..40);
    bank(&coefficients[..19], &mut found_states, &mut found, 5..40);
    assert_eq!(buffer_bits(&found), buffer_bits(&expected));
    assert_eq!(state_bits(&found_states), state_bits(&expected_states));
}
