//! Without any promise by the processor; the compiler takes what its target has.

use std::array;

use super::{Coefficients, Lanes, QUAD, ROWS, Rows, State, bank_in, series_in};

const LANES: usize = 8;

#[derive(Clone, Copy)]
#[repr(align(32))]
struct Portable([f32; LANES]);

pub(super) fn bank(coefficients: &[Coefficients], states: &mut [State], rows: &Rows<'_>) {
    bank_in::<Portable, LANES, { ROWS / LANES }>(coefficients, states, rows);
}

pub(super) fn series(coefficients: &[Coefficients], states: &mut [State], samples: &mut [f32]) {
    series_in::<Portable, LANES, 3>(coefficients, states, samples);
}

impl Lanes<LANES> for Portable {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    fn load_states(states: &[State; LANES]) -> (Self, Self) {
        (Self(states.map(|state| state.s1)), Self(states.map(|state| state.s2)))
    }

    #[inline(always)]
    fn store_states(s1: Self, s2: Self, states: &mut [State; LANES]) {
        *states = array::from_fn(|lane| State { s1: s1.0[lane], s2: s2.0[lane] });
    }

    #[inline(always)]
    unsafe fn gather(rows: &[*const f32; LANES], from: usize) -> [Self; QUAD] {
        let quads = rows.map(|row| {
            // SAFETY: the caller's promise.
            let quad = unsafe { row.add(from) };
            // SAFETY: the caller's promise.
            unsafe { quad.cast::<[f32; QUAD]>().read() }
        });
        array::from_fn(|column| Self(quads.map(|quad| quad[column])))
    }

    #[inline(always)]
    unsafe fn scatter(columns: [Self; QUAD], rows: &[*mut f32; LANES], from: usize) {
        for (lane, row) in rows.iter().enumerate() {
            // SAFETY: the caller's promise.
            let quad = unsafe { row.add(from) };
            // SAFETY: the caller's promise.
            unsafe { quad.cast::<[f32; QUAD]>().write(columns.map(|column| column.0[lane])) };
        }
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
