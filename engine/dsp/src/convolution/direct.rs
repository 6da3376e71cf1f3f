//! Convolution in the time domain, summed in an order that no block size changes.

/// Filters in the time domain: `out[i] = Σ taps[k]·window[i + k]`, summed from the first tap to the last.
///
/// The taps run backwards in time, against a window that holds `taps.len() − 1` samples more than `out`. Neighbouring
/// outputs are calculated together, and each of them as it would be alone.
pub(crate) fn filter(taps: &[f32], window: &[f32], out: &mut [f32]) {
    let (vectors, rest) = out.as_chunks_mut::<16>();
    let window = filter_chunks(taps, window, vectors);
    let (vectors, rest) = rest.as_chunks_mut::<4>();
    let window = filter_chunks(taps, window, vectors);
    filter_chunks(taps, window, rest.as_chunks_mut::<1>().0);
}

/// Returns the window of what follows.
fn filter_chunks<'a, const N: usize>(taps: &[f32], mut window: &'a [f32], out: &mut [[f32; N]]) -> &'a [f32] {
    for chunk in out {
        let mut sums = [0.0; N];
        for (tap, inputs) in taps.iter().zip(window.array_windows::<N>()) {
            for (sum, input) in sums.iter_mut().zip(inputs) {
                *sum += *tap * *input;
            }
        }
        *chunk = sums;
        window = window.get(N..).unwrap_or_default();
    }
    window
}
