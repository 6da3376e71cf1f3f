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

type BankKernel = fn(&[Coefficients], &mut [State], &Rows<'_>);
type SeriesKernel = fn(&[Coefficients], &mut [State], &mut [f32]);

/// All that this processor can run.
fn kernels() -> Vec<(&'static str, BankKernel, SeriesKernel)> {
    let mut kernels: Vec<(_, BankKernel, SeriesKernel)> =
        vec![("portable", portable::bank, portable::series)];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") {
            kernels.push((
                "AVX2",
                // SAFETY: the processor has AVX2, as was just asked.
                |coefficients, states, rows| unsafe { avx2::bank(coefficients, states, rows) },
                // SAFETY: as above.
                |coefficients, states, samples| unsafe { avx2::series(coefficients, states, samples) },
            ));
        }
        if is_x86_feature_detected!("avx512f") {
            kernels.push((
                "AVX-512",
                // SAFETY: the processor has AVX-512F, as was just asked.
                |coefficients, states, rows| unsafe { avx512::bank(coefficients, states, rows) },
                // SAFETY: as above.
                |coefficients, states, samples| unsafe { avx512::series(coefficients, states, samples) },
            ));
        }
    }
    kernels
}

/// Where the filters take their samples from: their own buffer where it says 0, else one of the signals.
fn wired<'a>(wiring: &[usize], signals: &'a [Vec<f32>]) -> Vec<Option<&'a [f32]>> {
    let signal = |index: &usize| index.checked_sub(1).map(|index| signals[index % signals.len()].as_slice());
    wiring.iter().map(signal).collect()
}

/// Filters in place, all of one signal, by eights and sixteens of several, and anyhow.
fn any_wiring() -> impl Strategy<Value = Vec<usize>> {
    let runs = prop::collection::vec((0_usize..3, prop::sample::select(&[3, 8, 16, 40])), 0..10);
    prop_oneof![
        Just(Vec::new()),
        Just(vec![1; 200]),
        runs.prop_map(|runs| runs.into_iter().flat_map(|(signal, count)| vec![signal; count]).collect()),
        prop::collection::vec(0_usize..6, 0..200),
    ]
}

fn one_by_one(
    coefficients: &[Coefficients],
    states: &mut [State],
    inputs: &[Option<&[f32]>],
    buffers: &mut [Vec<f32>],
    range: Range<usize>,
) {
    for (index, ((coefficients, state), buffer)) in coefficients.iter().zip(states).zip(buffers).enumerate() {
        let input = inputs.get(index).copied().flatten();
        for frame in range.clone() {
            let sample = input.map_or(buffer.get(frame), |input| input.get(frame)).copied();
            if let (Some(sample), Some(place)) = (sample, buffer.get_mut(frame)) {
                *place = sample;
                process(coefficients, state, std::slice::from_mut(place));
            }
        }
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
        wiring in any_wiring(),
        frames in 0_usize..100,
        start in 0_usize..20,
        length in 0_usize..100,
        cut in 0_usize..100,
    ) {
        let (coefficients, states) = filters(count);
        let signals: Vec<_> = (1000..1005).map(|seed| noise(frames, seed)).collect();
        let inputs = wired(&wiring, &signals);
        let (end, cut) = (start + length, start + cut.min(length));
        let (mut expected, mut expected_states) = (buffers(vec![frames; count].into_iter()), states.clone());
        let (mut found, mut found_states) = (expected.clone(), states);
        one_by_one(&coefficients, &mut expected_states, &inputs, &mut expected, start..end);
        bank(&coefficients, &mut found_states, &inputs, &mut found, start..cut);
        bank(&coefficients, &mut found_states, &inputs, &mut found, cut..end);
        prop_assert_eq!(buffer_bits(&found), buffer_bits(&expected));
        prop_assert_eq!(state_bits(&found_states), state_bits(&expected_states));
    }

    #[test]
    fn every_kernel_is_the_same_bank(
        count in 2_usize..=ROWS,
        wiring in any_wiring(),
        quads in 1_usize..25,
        start in 0_usize..5,
    ) {
        let (coefficients, states) = filters(count);
        let range = start..start + quads * QUAD;
        let signals: Vec<_> = (1000..1005).map(|seed| noise(range.end, seed)).collect();
        let inputs = wired(&wiring, &signals);
        let unfiltered = buffers(vec![range.end; count].into_iter());
        let (mut expected, mut expected_states) = (unfiltered.clone(), states.clone());
        one_by_one(&coefficients, &mut expected_states, &inputs, &mut expected, range.clone());
        for (name, bank, _) in kernels() {
            let (mut found, mut found_states) = (unfiltered.clone(), states.clone());
            let rows = Rows::new(&inputs, &mut found, range.clone());
            bank(&coefficients, &mut found_states, &rows.expect("as long as the range"));
            prop_assert_eq!(buffer_bits(&found), buffer_bits(&expected), "{}", name);
            prop_assert_eq!(state_bits(&found_states), state_bits(&expected_states), "{}", name);
        }
    }

    #[test]
    fn a_series_is_its_filters_one_after_the_other(
        count in 0_usize..60,
        cuts in prop::collection::vec(0_usize..100, 0..4),
    ) {
        let (coefficients, states) = filters(count);
        let signal = noise(cuts.iter().sum(), 3);
        let (mut expected, mut expected_states) = (signal.clone(), states.clone());
        one_after_the_other(&coefficients, &mut expected_states, &mut expected);
        for (name, series) in
            kernels().into_iter().map(|(name, _, series)| (name, series)).chain([("asked", series as _)])
        {
            let (mut found, mut found_states) = (signal.clone(), states.clone());
            let mut rest = found.as_mut_slice();
            for length in &cuts {
                let (block, after) = rest.split_at_mut(*length);
                series(&coefficients, &mut found_states, block);
                rest = after;
            }
            prop_assert_eq!(bits(&found), bits(&expected), "{}", name);
            prop_assert_eq!(state_bits(&found_states), state_bits(&expected_states), "{}", name);
        }
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
fn inputs_buffers_and_lists_may_end_early() {
    for early in [0, 20, 40] {
        let (coefficients, states) = filters(20);
        let signal = noise(early, 5);
        let inputs = [None, Some(signal.as_slice()), None, Some(signal.as_slice())];
        let (mut expected, mut expected_states) = (buffers((0..20).map(|k| 3 * k)), states.clone());
        let (mut found, mut found_states) = (expected.clone(), states);
        one_by_one(&coefficients[..19], &mut expected_states, &inputs, &mut expected, 5..40);
        bank(&coefficients[..19], &mut found_states, &inputs, &mut found, 5..40);
        assert_eq!(buffer_bits(&found), buffer_bits(&expected));
        assert_eq!(state_bits(&found_states), state_bits(&expected_states));
    }
}
