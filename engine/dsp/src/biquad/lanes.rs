//! Many biquads at once, in SIMD lanes.
//!
//! A biquad waits for itself: each output needs the one before it, three roundings earlier. Lanes fill that wait with
//! other filters: [`bank`] with filters of other signals, [`series`] with the filters that follow, each one sample
//! behind its predecessor. Both do for every filter exactly what [`process`] does, in the same order, and differ in
//! speed alone. Only the payload of a NaN may come out differently.
//!
//! The kernels are written once, over [`Lanes`], and compiled for AVX2 where the processor has it. Fused multiply-adds
//! stay off, for they round differently.
//!
//! *Realtime-safe: yes*, all of it, on any thread.

#![allow(unsafe_code, reason = "instructions that the processor is asked for at run time")]

use std::ops::Range;
use std::{array, ptr};

use super::{Coefficients, State, process};

#[cfg(test)]
mod tests;

/// Filters in one vector.
const LANES: usize = 8;
/// Vectors of a bank that are worked on in turn: while one waits for itself, the processor is busy with the next ones.
const BANK_VECTORS: usize = 8;
/// Vectors of a series that are worked on in turn. More would hide no more of the wait, and lengthen the run-in.
const SERIES_VECTORS: usize = 3;
/// A series runs over this many frames at a time, so that they stay in the first cache.
const SERIES_FRAMES: usize = 2048;
/// Fewer frames than this would be spent running in.
const SERIES_FRAMES_MIN: usize = 8;

/// Independent filters: the `range` of `buffers[i]` is filtered in place by `coefficients[i]` and `states[i]`, for as
/// many filters as all three slices have. A buffer that ends within `range` is filtered to its end.
///
/// *Realtime-safe: yes*.
pub fn bank<B: AsMut<[f32]>>(
    coefficients: &[Coefficients],
    states: &mut [State],
    buffers: &mut [B],
    range: Range<usize>,
) {
    let count = coefficients.len().min(states.len()).min(buffers.len());
    let vectors = count.div_ceil(LANES);
    // Groups of even size: a vector left alone would wait for itself.
    let group = LANES * vectors.div_ceil(vectors.div_ceil(BANK_VECTORS).max(1)).max(1);
    let groups = coefficients[..count].chunks(group).zip(states[..count].chunks_mut(group));
    for ((coefficients, states), buffers) in groups.zip(buffers[..count].chunks_mut(group)) {
        let mut rows: [&mut [f32]; LANES * BANK_VECTORS] = array::from_fn(|_| Default::default());
        let rows = &mut rows[..buffers.len()];
        for (row, buffer) in rows.iter_mut().zip(buffers) {
            *row = clipped(buffer.as_mut(), &range);
        }
        if rows.len() > 1 && range.len() >= LANES && rows.iter().all(|row| row.len() == range.len()) {
            bank_of_vectors(coefficients, states, rows);
        } else {
            for ((coefficients, state), row) in coefficients.iter().zip(states).zip(rows) {
                process(coefficients, state, row);
            }
        }
    }
}

/// One signal through all filters, one after the other, as many as both slices have.
///
/// *Realtime-safe: yes*.
pub fn series(coefficients: &[Coefficients], states: &mut [State], samples: &mut [f32]) {
    let count = coefficients.len().min(states.len());
    let (coefficients, states) = (&coefficients[..count], &mut states[..count]);
    for samples in samples.chunks_mut(SERIES_FRAMES) {
        if count > 1 && samples.len() >= SERIES_FRAMES_MIN {
            series_of_vectors(coefficients, states, samples);
        } else {
            for (coefficients, state) in coefficients.iter().zip(states.iter_mut()) {
                process(coefficients, state, samples);
            }
        }
    }
}

/// The part of `range` that `buffer` has.
fn clipped<'a>(buffer: &'a mut [f32], range: &Range<usize>) -> &'a mut [f32] {
    let end = range.end.min(buffer.len());
    &mut buffer[range.start.min(end)..end]
}

fn bank_of_vectors(coefficients: &[Coefficients], states: &mut [State], rows: &mut [&mut [f32]]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as was just asked.
        return unsafe { avx2::bank(coefficients, states, rows) };
    }
    bank_in::<Portable>(coefficients, states, rows);
}

fn series_of_vectors(coefficients: &[Coefficients], states: &mut [State], samples: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as was just asked.
        return unsafe { avx2::series(coefficients, states, samples) };
    }
    series_in::<Portable>(coefficients, states, samples);
}

/// At most [`BANK_VECTORS`] vectors of filters, and a row of samples for each.
#[inline(always)]
fn bank_in<V: Lanes>(coefficients: &[Coefficients], states: &mut [State], rows: &mut [&mut [f32]]) {
    let count = coefficients.len().min(states.len()).min(rows.len());
    let tiles = rows.iter().map(|row| row.len() / LANES).min().unwrap_or(0);
    let mut vectors = [(Filters::<V>::silent(), [ptr::null_mut::<[f32; LANES]>(); LANES]); BANK_VECTORS];
    let vectors = &mut vectors[..count.div_ceil(LANES)];
    let filters = coefficients.chunks(LANES).zip(states.chunks(LANES)).zip(rows.chunks_mut(LANES));
    for ((filters, starts), ((coefficients, states), rows)) in vectors.iter_mut().zip(filters) {
        *filters = Filters::gathered(coefficients, states);
        let mut start = ptr::null_mut();
        for (lane, into) in starts.iter_mut().enumerate() {
            // A lane without a filter repeats the last one: the same samples, written twice.
            start = rows.get_mut(lane).map_or(start, |row| row.as_mut_ptr().cast());
            *into = start;
        }
    }
    for tile in 0..tiles {
        for (filters, starts) in vectors.iter_mut() {
            let mut square = [V::splat(0.0); LANES];
            for (samples, start) in square.iter_mut().zip(&*starts) {
                // SAFETY: every vector has eight rows, and the shortest has this many tiles.
                let row = unsafe { start.add(tile) };
                // SAFETY: the rows are borrowed for as long as this function runs, and used through `starts` alone.
                *samples = V::load(unsafe { &*row });
            }
            V::transpose(&mut square);
            for samples in &mut square {
                *samples = filters.step(*samples);
            }
            V::transpose(&mut square);
            for (samples, start) in square.iter().zip(&*starts) {
                // SAFETY: every vector has eight rows, and the shortest has this many tiles.
                let row = unsafe { start.add(tile) };
                // SAFETY: as above, and no other reference is alive.
                samples.store(unsafe { &mut *row });
            }
        }
    }
    for ((filters, _), states) in vectors.iter().zip(states.chunks_mut(LANES)) {
        filters.scatter(states);
    }
    for ((coefficients, state), row) in coefficients.iter().zip(states).zip(rows) {
        process(coefficients, state, &mut row[tiles * LANES..]);
    }
}

/// Any number of filters.
#[inline(always)]
fn series_in<V: Lanes>(coefficients: &[Coefficients], states: &mut [State], samples: &mut [f32]) {
    const STAGES_MAX: usize = LANES * SERIES_VECTORS;
    for (coefficients, states) in coefficients.chunks(STAGES_MAX).zip(states.chunks_mut(STAGES_MAX)) {
        match states.len().div_ceil(LANES) {
            1 => series_of::<V, 1>(coefficients, states, samples),
            2 => series_of::<V, 2>(coefficients, states, samples),
            _ => series_of::<V, SERIES_VECTORS>(coefficients, states, samples),
        }
    }
}

/// At least one filter and at most `VECTORS` vectors of them. At step `n`, filter `k` takes sample `n − k`, which
/// filter `k − 1` put out the step before.
#[inline(always)]
fn series_of<V: Lanes, const VECTORS: usize>(
    coefficients: &[Coefficients],
    states: &mut [State],
    samples: &mut [f32],
) {
    let lag = states.len() - 1;
    let frames = samples.len();
    let mut pipeline = Pipeline::<V, VECTORS>::new(coefficients, states);
    for step in 0..lag {
        let input = samples.get(step).copied().unwrap_or(0.0);
        pipeline.edge(input, step, frames);
    }
    for step in lag..frames {
        samples[step - lag] = pipeline.step(samples[step]);
    }
    for step in lag.max(frames)..lag + frames {
        samples[step - lag] = pipeline.edge(0.0, step, frames);
    }
    for (filters, states) in pipeline.filters.iter().zip(states.chunks_mut(LANES)) {
        filters.scatter(states);
    }
}

/// A vector of filters: coefficients, and what they remember.
#[derive(Clone, Copy)]
struct Filters<V> {
    b0: V,
    b1: V,
    b2: V,
    a1: V,
    a2: V,
    s1: V,
    s2: V,
}

impl<V: Lanes> Filters<V> {
    #[inline(always)]
    fn silent() -> Self {
        let zero = V::splat(0.0);
        Self { b0: zero, b1: zero, b2: zero, a1: zero, a2: zero, s1: zero, s2: zero }
    }

    /// At most [`LANES`] filters. A lane too many repeats the last one.
    #[inline(always)]
    fn gathered(coefficients: &[Coefficients], states: &[State]) -> Self {
        let mut columns = [[0.0; LANES]; 7];
        let Some((last_coefficients, last_state)) = coefficients.last().zip(states.last()) else {
            return Self::silent();
        };
        for lane in 0..LANES {
            let Coefficients { b0, b1, b2, a1, a2 } = *coefficients.get(lane).unwrap_or(last_coefficients);
            let State { s1, s2 } = *states.get(lane).unwrap_or(last_state);
            for (column, value) in columns.iter_mut().zip([b0, b1, b2, a1, a2, s1, s2]) {
                column[lane] = value;
            }
        }
        let [b0, b1, b2, a1, a2, s1, s2] = &columns;
        Self {
            b0: V::load(b0),
            b1: V::load(b1),
            b2: V::load(b2),
            a1: V::load(a1),
            a2: V::load(a2),
            s1: V::load(s1),
            s2: V::load(s2),
        }
    }

    /// Hands back what the filters remember.
    #[inline(always)]
    fn scatter(&self, states: &mut [State]) {
        let (mut s1, mut s2) = ([0.0; LANES], [0.0; LANES]);
        self.s1.store(&mut s1);
        self.s2.store(&mut s2);
        for ((state, s1), s2) in states.iter_mut().zip(s1).zip(s2) {
            *state = State { s1, s2 };
        }
    }

    /// One sample of each filter: [`process`], in the same order.
    #[inline(always)]
    fn step(&mut self, x: V) -> V {
        let y = self.b0.times(x).plus(self.s1);
        self.s1 = self.b1.times(x).plus(self.s2).minus(self.a1.times(y));
        self.s2 = self.b2.times(x).minus(self.a2.times(y));
        y
    }
}

/// Filters in series, the first in the first lane.
struct Pipeline<V, const VECTORS: usize> {
    filters: [Filters<V>; VECTORS],
    /// What the filters put out last, each in the lane of the filter that follows it; a vector's last output is in the
    /// first lane.
    outputs: [V; VECTORS],
    /// The position of each lane.
    lanes: [V; VECTORS],
    last_lane: usize,
}

impl<V: Lanes, const VECTORS: usize> Pipeline<V, VECTORS> {
    #[inline(always)]
    fn new(coefficients: &[Coefficients], states: &[State]) -> Self {
        let mut filters = [Filters::silent(); VECTORS];
        let groups = coefficients.chunks(LANES).zip(states.chunks(LANES));
        for (filters, (coefficients, states)) in filters.iter_mut().zip(groups) {
            *filters = Filters::gathered(coefficients, states);
        }
        let mut lanes = [V::splat(0.0); VECTORS];
        for (vector, lanes) in lanes.iter_mut().enumerate() {
            *lanes = V::load(&array::from_fn(|lane| (vector * LANES + lane) as f32));
        }
        let last_lane = (states.len() - 1) % LANES;
        Self { filters, outputs: [V::splat(0.0); VECTORS], lanes, last_lane }
    }

    /// Takes a sample into the first filter, and gives the one that leaves the last.
    #[inline(always)]
    fn step(&mut self, input: f32) -> f32 {
        let mut first = V::splat(input);
        let mut output = 0.0;
        for (filters, outputs) in self.filters.iter_mut().zip(&mut self.outputs) {
            let y = filters.step(outputs.with_first(first));
            first = *outputs;
            *outputs = y.rotated();
            output = y.pick(self.last_lane);
        }
        output
    }

    /// As [`Self::step`], while some filters have no sample yet, or none any more: those remember what they did.
    #[inline(always)]
    fn edge(&mut self, input: f32, step: usize, frames: usize) -> f32 {
        let before = self.filters;
        let output = self.step(input);
        let (step, frames) = (V::splat(step as f32), V::splat(frames as f32));
        for ((filters, before), lanes) in self.filters.iter_mut().zip(before).zip(self.lanes) {
            let frame = step.minus(lanes);
            filters.s1 = filters.s1.where_within(frame, frames, before.s1);
            filters.s2 = filters.s2.where_within(frame, frames, before.s2);
        }
        output
    }
}

/// A vector of eight singles.
trait Lanes: Copy {
    fn splat(value: f32) -> Self;
    fn load(values: &[f32; LANES]) -> Self;
    fn store(self, values: &mut [f32; LANES]);
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// Rows become columns.
    fn transpose(square: &mut [Self; LANES]);
    /// Each lane's value in the next one, the last one's in the first.
    fn rotated(self) -> Self;
    /// The first lane from `other`.
    fn with_first(self, other: Self) -> Self;
    /// The value of the lane of that index, modulo their count.
    fn pick(self, lane: usize) -> f32;
    /// `self` in the lanes where 0 ≤ `position` < `limit`, `otherwise` in the others.
    fn where_within(self, position: Self, limit: Self, otherwise: Self) -> Self;
}

/// Without any promise by the processor; the compiler takes what its target has.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Portable([f32; LANES]);

impl Lanes for Portable {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    fn store(self, values: &mut [f32; LANES]) {
        *values = self.0;
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self(array::from_fn(|lane| self.0[lane] - other.0[lane]))
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        Self(array::from_fn(|lane| self.0[lane] * other.0[lane]))
    }

    #[inline(always)]
    fn transpose(square: &mut [Self; LANES]) {
        let rows = *square;
        *square = array::from_fn(|column| Self(array::from_fn(|row| rows[row].0[column])));
    }

    #[inline(always)]
    fn rotated(self) -> Self {
        Self(array::from_fn(|lane| self.0[(lane + LANES - 1) % LANES]))
    }

    #[inline(always)]
    fn with_first(mut self, other: Self) -> Self {
        self.0[0] = other.0[0];
        self
    }

    #[inline(always)]
    fn pick(self, lane: usize) -> f32 {
        self.0[lane % LANES]
    }

    #[inline(always)]
    fn where_within(self, position: Self, limit: Self, otherwise: Self) -> Self {
        Self(array::from_fn(|lane| {
            let within = 0.0 <= position.0[lane] && position.0[lane] < limit.0[lane];
            if within { self.0[lane] } else { otherwise.0[lane] }
        }))
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Coefficients, LANES, Lanes, State, bank_in, series_in};

    /// Only the two functions below, which are compiled for AVX2, make one: that is what makes its methods sound.
    #[derive(Clone, Copy)]
    struct Avx2(__m256);

    #[target_feature(enable = "avx2")]
    pub(super) fn bank(coefficients: &[Coefficients], states: &mut [State], rows: &mut [&mut [f32]]) {
        bank_in::<Avx2>(coefficients, states, rows);
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn series(coefficients: &[Coefficients], states: &mut [State], samples: &mut [f32]) {
        series_in::<Avx2>(coefficients, states, samples);
    }

    impl Lanes for Avx2 {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: see `Avx2`.
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        fn load(values: &[f32; LANES]) -> Self {
            // SAFETY: see `Avx2`; the array has eight values, and may be unaligned.
            Self(unsafe { _mm256_loadu_ps(values.as_ptr()) })
        }

        #[inline(always)]
        fn store(self, values: &mut [f32; LANES]) {
            // SAFETY: see `Avx2`; the array has eight values, and may be unaligned.
            unsafe { _mm256_storeu_ps(values.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            // SAFETY: see `Avx2`.
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            // SAFETY: see `Avx2`.
            Self(unsafe { _mm256_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn times(self, other: Self) -> Self {
            // SAFETY: see `Avx2`.
            Self(unsafe { _mm256_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn transpose(square: &mut [Self; LANES]) {
            // SAFETY: see `Avx2`.
            unsafe { transpose(square) }
        }

        #[inline(always)]
        fn rotated(self) -> Self {
            // SAFETY: see `Avx2`.
            Self(unsafe { rotated(self.0) })
        }

        #[inline(always)]
        fn with_first(self, other: Self) -> Self {
            // SAFETY: see `Avx2`.
            Self(unsafe { _mm256_blend_ps::<1>(self.0, other.0) })
        }

        #[inline(always)]
        fn pick(self, lane: usize) -> f32 {
            // SAFETY: see `Avx2`.
            unsafe { pick(self.0, lane) }
        }

        #[inline(always)]
        fn where_within(self, position: Self, limit: Self, otherwise: Self) -> Self {
            // SAFETY: see `Avx2`.
            Self(unsafe { where_within(self.0, position.0, limit.0, otherwise.0) })
        }
    }

    /// First 4 × 4 squares within the halves, then the halves.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transpose(square: &mut [Avx2; LANES]) {
        let [r0, r1, r2, r3, r4, r5, r6, r7] = square.map(|row| row.0);
        let pairs = [
            _mm256_unpacklo_ps(r0, r1),
            _mm256_unpackhi_ps(r0, r1),
            _mm256_unpacklo_ps(r2, r3),
            _mm256_unpackhi_ps(r2, r3),
            _mm256_unpacklo_ps(r4, r5),
            _mm256_unpackhi_ps(r4, r5),
            _mm256_unpacklo_ps(r6, r7),
            _mm256_unpackhi_ps(r6, r7),
        ];
        let quads = [
            _mm256_shuffle_ps::<0b01_00_01_00>(pairs[0], pairs[2]),
            _mm256_shuffle_ps::<0b11_10_11_10>(pairs[0], pairs[2]),
            _mm256_shuffle_ps::<0b01_00_01_00>(pairs[1], pairs[3]),
            _mm256_shuffle_ps::<0b11_10_11_10>(pairs[1], pairs[3]),
            _mm256_shuffle_ps::<0b01_00_01_00>(pairs[4], pairs[6]),
            _mm256_shuffle_ps::<0b11_10_11_10>(pairs[4], pairs[6]),
            _mm256_shuffle_ps::<0b01_00_01_00>(pairs[5], pairs[7]),
            _mm256_shuffle_ps::<0b11_10_11_10>(pairs[5], pairs[7]),
        ];
        for column in 0..4 {
            let (upper, lower) = (quads[column], quads[column + 4]);
            square[column] = Avx2(_mm256_permute2f128_ps::<0x20>(upper, lower));
            square[column + 4] = Avx2(_mm256_permute2f128_ps::<0x31>(upper, lower));
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn rotated(vector: __m256) -> __m256 {
        _mm256_permutevar8x32_ps(vector, _mm256_setr_epi32(7, 0, 1, 2, 3, 4, 5, 6))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn pick(vector: __m256, lane: usize) -> f32 {
        let lane = i32::try_from(lane % LANES).unwrap_or(0);
        _mm256_cvtss_f32(_mm256_permutevar8x32_ps(vector, _mm256_set1_epi32(lane)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn where_within(vector: __m256, position: __m256, limit: __m256, otherwise: __m256) -> __m256 {
        let begun = _mm256_cmp_ps::<_CMP_GE_OQ>(position, _mm256_setzero_ps());
        let within = _mm256_and_ps(begun, _mm256_cmp_ps::<_CMP_LT_OQ>(position, limit));
        _mm256_blendv_ps(otherwise, vector, within)
    }
}
