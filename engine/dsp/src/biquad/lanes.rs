//! Many biquads at once, in SIMD lanes.
//!
//! A biquad waits for itself: each output needs the one before it, three roundings earlier. Lanes fill that wait with
//! other filters: [`bank`] with filters of other signals, [`series`] with the filters that follow, each one sample
//! behind its predecessor. Both do for every filter exactly what [`process`] does, in the same order, and differ in
//! speed alone. Only the payload of a NaN may come out differently.
//!
//! The kernels are written once, over [`Lanes`], and compiled for AVX-512 and for AVX2, where the processor has them.
//! Fused multiply-adds stay off, for they round differently.
//!
//! *Realtime-safe: yes*, all of it, on any thread.

#![allow(unsafe_code, reason = "instructions that the processor is asked for at run time")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;

use std::array;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;

use super::{Coefficients, State, process};

/// Filters of a bank that are worked on in turn: while one vector waits for itself, the processor is busy with the
/// next ones.
const ROWS: usize = 64;
/// Frames of a bank that are transposed at a time, so that a vector holds one sample of each filter.
const QUAD: usize = 4;
/// A group of filters is a multiple of these, the lanes of the longest vectors, lest they be filled by halves.
const LANES_MAX: usize = 16;
/// A series runs over this many frames at a time, so that they stay in the first cache.
const SERIES_FRAMES: usize = 2048;
/// Fewer frames than this would be spent running in.
const SERIES_FRAMES_MIN: usize = 8;

/// Independent filters: the `range` of `buffers[i]` is filtered by `coefficients[i]` and `states[i]`, for as many
/// filters as all three slices have. What is filtered is the same range of `inputs[i]`, or what is in the buffer
/// already where there is none. An input or a buffer that ends within `range` is filtered to its end.
///
/// Inputs that are one and the same slice are read faster than copies of it.
///
/// *Realtime-safe: yes*.
pub fn bank<B: AsMut<[f32]>>(
    coefficients: &[Coefficients],
    states: &mut [State],
    inputs: &[Option<&[f32]>],
    buffers: &mut [B],
    range: Range<usize>,
) {
    let count = coefficients.len().min(states.len()).min(buffers.len());
    // Groups of even size: a vector left alone would wait for itself.
    let vectors = count.div_ceil(LANES_MAX);
    let group = LANES_MAX * vectors.div_ceil(count.div_ceil(ROWS).max(1)).max(1);
    let mut inputs = inputs.chunks(group);
    let groups = coefficients[..count].chunks(group).zip(states[..count].chunks_mut(group));
    for ((coefficients, states), buffers) in groups.zip(buffers[..count].chunks_mut(group)) {
        let inputs = inputs.next().unwrap_or(&[]);
        let mut rest = range.clone();
        let quads = range.start..range.end - range.len() % QUAD;
        if let Some(rows) = Rows::new(inputs, buffers, quads.clone()) {
            bank_of_vectors(coefficients, states, &rows);
            rest.start = quads.end;
        }
        if !rest.is_empty() {
            bank_one_by_one(coefficients, states, inputs, buffers, rest);
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

fn bank_one_by_one<B: AsMut<[f32]>>(
    coefficients: &[Coefficients],
    states: &mut [State],
    inputs: &[Option<&[f32]>],
    buffers: &mut [B],
    range: Range<usize>,
) {
    let inputs = inputs.iter().copied().chain(std::iter::repeat(None));
    for (((coefficients, state), buffer), input) in coefficients.iter().zip(states).zip(buffers).zip(inputs) {
        let buffer = buffer.as_mut();
        let end = range.end.min(buffer.len()).min(input.map_or(usize::MAX, <[f32]>::len));
        let range = range.start.min(end)..end;
        if let Some(input) = input {
            buffer[range.clone()].copy_from_slice(&input[range.clone()]);
        }
        process(coefficients, state, &mut buffer[range]);
    }
}

fn bank_of_vectors(coefficients: &[Coefficients], states: &mut [State], rows: &Rows<'_>) {
    #[cfg(target_arch = "x86_64")]
    {
        if rows.count > avx2::LANES && is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, as was just asked.
            return unsafe { avx512::bank(coefficients, states, rows) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as was just asked.
            return unsafe { avx2::bank(coefficients, states, rows) };
        }
    }
    portable::bank(coefficients, states, rows);
}

fn series_of_vectors(coefficients: &[Coefficients], states: &mut [State], samples: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if states.len() > avx2::LANES && is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, as was just asked.
            return unsafe { avx512::series(coefficients, states, samples) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as was just asked.
            return unsafe { avx2::series(coefficients, states, samples) };
        }
    }
    portable::series(coefficients, states, samples);
}

/// Where the samples of a group of filters are. Rows beyond `count` are the last one again.
struct Rows<'a> {
    /// Each is read for `frames` frames, and is the same row's output, or is written by nobody.
    inputs: [*const f32; ROWS],
    /// Each is read and written for `frames` frames, by its own row alone.
    outputs: [*mut f32; ROWS],
    /// From 2 to [`ROWS`].
    count: usize,
    /// A multiple of [`QUAD`].
    frames: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

impl<'a> Rows<'a> {
    /// As long as `range`, if that is whole quads, and all inputs and buffers have it. Takes [`ROWS`] buffers at most.
    fn new<B: AsMut<[f32]>>(
        inputs: &[Option<&'a [f32]>],
        buffers: &'a mut [B],
        range: Range<usize>,
    ) -> Option<Self> {
        let (count, frames) = (buffers.len(), range.len());
        if !(2..=ROWS).contains(&count) || frames == 0 || !frames.is_multiple_of(QUAD) {
            return None;
        }
        let mut rows = Self {
            inputs: [ptr::null(); ROWS],
            outputs: [ptr::null_mut(); ROWS],
            count,
            frames,
            borrowed: PhantomData,
        };
        let mut inputs = inputs.iter().copied();
        let (mut from, mut to) = (ptr::null(), ptr::null_mut());
        for ((input, output), buffer) in rows.inputs.iter_mut().zip(&mut rows.outputs).zip(buffers) {
            to = buffer.as_mut().get_mut(range.clone())?.as_mut_ptr();
            from = match inputs.next().flatten() {
                Some(input) => input.get(range.clone())?.as_ptr(),
                None => to,
            };
            (*input, *output) = (from, to);
        }
        let lanes = count..count.next_multiple_of(LANES_MAX);
        rows.inputs[lanes.clone()].fill(from);
        rows.outputs[lanes].fill(to);
        Some(rows)
    }
}

/// At most `VECTORS` vectors of filters, and a row of samples for each.
#[inline(always)]
fn bank_in<V: Lanes<LANES>, const LANES: usize, const VECTORS: usize>(
    coefficients: &[Coefficients],
    states: &mut [State],
    rows: &Rows<'_>,
) {
    let mut vectors = [(Filters::<V>::silent(), false); VECTORS];
    let vectors = &mut vectors[..rows.count.div_ceil(LANES).min(VECTORS)];
    let (inputs, _) = rows.inputs.as_chunks::<LANES>();
    let (outputs, _) = rows.outputs.as_chunks::<LANES>();
    let groups = coefficients.chunks(LANES).zip(states.chunks(LANES)).zip(inputs);
    for ((filters, is_fan), ((coefficients, states), inputs)) in vectors.iter_mut().zip(groups) {
        *filters = Filters::gathered(coefficients, states);
        *is_fan = inputs.iter().all(|input| *input == inputs[0]);
    }
    for frame in (0..rows.frames).step_by(QUAD) {
        for (((filters, is_fan), inputs), outputs) in vectors.iter_mut().zip(inputs).zip(outputs) {
            let samples = if *is_fan {
                // SAFETY: `Rows` has frames by the quad.
                let start = unsafe { inputs[0].add(frame) };
                // SAFETY: as above; nobody writes meanwhile.
                unsafe { start.cast::<[f32; QUAD]>().read() }.map(V::splat)
            } else {
                // SAFETY: as above.
                unsafe { V::gather(inputs, frame) }
            };
            let samples = samples.map(|sample| filters.step(sample));
            // SAFETY: as above.
            unsafe { V::scatter(samples, outputs, frame) };
        }
    }
    for ((filters, _), states) in vectors.iter().zip(states.chunks_mut(LANES)) {
        filters.scatter(states);
    }
}

/// Any number of filters.
#[inline(always)]
fn series_in<V: Lanes<LANES>, const LANES: usize, const VECTORS: usize>(
    coefficients: &[Coefficients],
    states: &mut [State],
    samples: &mut [f32],
) {
    let stages_max = LANES * VECTORS;
    for (coefficients, states) in coefficients.chunks(stages_max).zip(states.chunks_mut(stages_max)) {
        match states.len().div_ceil(LANES) {
            1 => series_of::<V, LANES, 1>(coefficients, states, samples),
            2 => series_of::<V, LANES, 2>(coefficients, states, samples),
            _ => series_of::<V, LANES, VECTORS>(coefficients, states, samples),
        }
    }
}

/// At least one filter and at most `VECTORS` vectors of them. At step `n`, filter `k` takes sample `n − k`, which
/// filter `k − 1` put out the step before.
#[inline(always)]
fn series_of<V: Lanes<LANES>, const LANES: usize, const VECTORS: usize>(
    coefficients: &[Coefficients],
    states: &mut [State],
    samples: &mut [f32],
) {
    let lag = states.len() - 1;
    let frames = samples.len();
    let mut pipeline = Pipeline::<V, LANES, VECTORS>::new(coefficients, states);
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

impl<V> Filters<V> {
    #[inline(always)]
    fn silent<const LANES: usize>() -> Self
    where
        V: Lanes<LANES>,
    {
        let zero = V::splat(0.0);
        Self { b0: zero, b1: zero, b2: zero, a1: zero, a2: zero, s1: zero, s2: zero }
    }

    /// At most as many filters as there are lanes. A lane too many repeats the last one.
    #[inline(always)]
    fn gathered<const LANES: usize>(coefficients: &[Coefficients], states: &[State]) -> Self
    where
        V: Lanes<LANES>,
    {
        let Some((last_coefficients, last_state)) = coefficients.last().zip(states.last()) else {
            return Self::silent();
        };
        let (padded_coefficients, padded_states);
        let (coefficients, states) = match (coefficients.try_into(), states.try_into()) {
            (Ok(coefficients), Ok(states)) => (coefficients, states),
            _ => {
                padded_coefficients =
                    array::from_fn(|lane| *coefficients.get(lane).unwrap_or(last_coefficients));
                padded_states = array::from_fn(|lane| *states.get(lane).unwrap_or(last_state));
                (&padded_coefficients, &padded_states)
            }
        };
        let rows = coefficients.each_ref().map(|coefficients| ptr::from_ref(coefficients).cast());
        // SAFETY: coefficients are five singles, in this order.
        let [b0, b1, b2, a1] = unsafe { V::gather(&rows, 0) };
        // SAFETY: as above.
        let [_, _, _, a2] = unsafe { V::gather(&rows, 1) };
        let (s1, s2) = V::load_states(states);
        Self { b0, b1, b2, a1, a2, s1, s2 }
    }

    /// Hands back what the filters remember.
    #[inline(always)]
    fn scatter<const LANES: usize>(&self, states: &mut [State])
    where
        V: Lanes<LANES>,
    {
        if let Ok(states) = states.try_into() {
            return V::store_states(self.s1, self.s2, states);
        }
        let mut all = [State::default(); LANES];
        V::store_states(self.s1, self.s2, &mut all);
        states.iter_mut().zip(all).for_each(|(state, new)| *state = new);
    }

    /// One sample of each filter: [`process`], in the same order.
    #[inline(always)]
    fn step<const LANES: usize>(&mut self, x: V) -> V
    where
        V: Lanes<LANES>,
    {
        let y = self.b0.times(x).plus(self.s1);
        self.s1 = self.b1.times(x).plus(self.s2).minus(self.a1.times(y));
        self.s2 = self.b2.times(x).minus(self.a2.times(y));
        y
    }
}

/// Filters in series, the first in the first lane.
struct Pipeline<V, const LANES: usize, const VECTORS: usize> {
    filters: [Filters<V>; VECTORS],
    /// What the filters put out last, each in the lane of the filter that follows it; a vector's last output is in the
    /// first lane.
    outputs: [V; VECTORS],
    /// The position of each lane.
    lanes: [V; VECTORS],
    last_lane: usize,
}

impl<V: Lanes<LANES>, const LANES: usize, const VECTORS: usize> Pipeline<V, LANES, VECTORS> {
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

/// A vector of so many singles, a multiple of four.
trait Lanes<const LANES: usize>: Copy {
    fn splat(value: f32) -> Self;
    fn load(values: &[f32; LANES]) -> Self;
    /// All that is first in a state, and all that is second.
    fn load_states(states: &[State; LANES]) -> (Self, Self);
    fn store_states(s1: Self, s2: Self, states: &mut [State; LANES]);
    /// Four values of each row, from the one at `from` on: the first of all rows, their second, third and fourth.
    ///
    /// # Safety
    /// All rows have them.
    unsafe fn gather(rows: &[*const f32; LANES], from: usize) -> [Self; QUAD];
    /// The other way round.
    ///
    /// # Safety
    /// All rows have them, and nobody else looks at them.
    unsafe fn scatter(columns: [Self; QUAD], rows: &[*mut f32; LANES], from: usize);
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// Each lane's value in the next one, the last one's in the first.
    fn rotated(self) -> Self;
    /// The first lane from `other`.
    fn with_first(self, other: Self) -> Self;
    /// The value of the lane of that index, modulo their count.
    fn pick(self, lane: usize) -> f32;
    /// `self` in the lanes where 0 ≤ `position` < `limit`, `otherwise` in the others.
    fn where_within(self, position: Self, limit: Self, otherwise: Self) -> Self;
}
