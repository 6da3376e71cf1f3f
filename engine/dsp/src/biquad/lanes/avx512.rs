//! Sixteen lanes with AVX-512F.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{Coefficients, Lanes, QUAD, ROWS, Rows, State, bank_in, series_in};

const LANES: usize = 16;
/// More would hide no more of the wait, and lengthen the run-in.
const SERIES_VECTORS: usize = 2;

/// Only the two functions below, which are compiled for AVX-512F, make one: that is what makes its methods sound.
#[derive(Clone, Copy)]
struct Avx512(__m512);

#[target_feature(enable = "avx512f")]
pub(super) fn bank(coefficients: &[Coefficients], states: &mut [State], rows: &Rows<'_>) {
    bank_in::<Avx512, LANES, { ROWS / LANES }>(coefficients, states, rows);
}

#[target_feature(enable = "avx512f")]
pub(super) fn series(coefficients: &[Coefficients], states: &mut [State], samples: &mut [f32]) {
    series_in::<Avx512, LANES, SERIES_VECTORS>(coefficients, states, samples);
}

impl Lanes<LANES> for Avx512 {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see `Avx512`.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        // SAFETY: see `Avx512`; the array has sixteen values, and may be unaligned.
        Self(unsafe { _mm512_loadu_ps(values.as_ptr()) })
    }

    #[inline(always)]
    fn load_states(states: &[State; LANES]) -> (Self, Self) {
        // SAFETY: see `Avx512`.
        let (s1, s2) = unsafe { load_states(states) };
        (Self(s1), Self(s2))
    }

    #[inline(always)]
    fn store_states(s1: Self, s2: Self, states: &mut [State; LANES]) {
        // SAFETY: see `Avx512`.
        unsafe { store_states(s1.0, s2.0, states) }
    }

    #[inline(always)]
    unsafe fn gather(rows: &[*const f32; LANES], from: usize) -> [Self; QUAD] {
        // SAFETY: see `Avx512`; and the caller's promise.
        unsafe { gather(rows, from) }
    }

    #[inline(always)]
    unsafe fn scatter(columns: [Self; QUAD], rows: &[*mut f32; LANES], from: usize) {
        // SAFETY: see `Avx512`; and the caller's promise.
        unsafe { scatter(columns, rows, from) }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: see `Avx512`.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: see `Avx512`.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: see `Avx512`.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn rotated(self) -> Self {
        // SAFETY: see `Avx512`.
        Self(unsafe { rotated(self.0) })
    }

    #[inline(always)]
    fn with_first(self, other: Self) -> Self {
        // SAFETY: see `Avx512`.
        Self(unsafe { _mm512_mask_blend_ps(1, self.0, other.0) })
    }

    #[inline(always)]
    fn pick(self, lane: usize) -> f32 {
        // SAFETY: see `Avx512`.
        unsafe { pick(self.0, lane) }
    }

    #[inline(always)]
    fn where_within(self, position: Self, limit: Self, otherwise: Self) -> Self {
        // SAFETY: see `Avx512`.
        Self(unsafe { where_within(self.0, position.0, limit.0, otherwise.0) })
    }
}

/// Rows `i`, `i + 4`, `i + 8` and `i + 12` beside each other, then the square in each quarter on its own: so the lanes
/// come out in order.
///
/// # Safety
/// As in [`Lanes::gather`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn gather(rows: &[*const f32; LANES], from: usize) -> [Avx512; QUAD] {
    let quad = |row: usize| {
        // SAFETY: the caller's promise.
        let start = unsafe { rows[row].add(from) };
        // SAFETY: the caller's promise; it may be unaligned.
        unsafe { _mm_loadu_ps(start) }
    };
    let four = |row: usize| {
        let quads = _mm512_castps128_ps512(quad(row));
        let quads = _mm512_insertf32x4::<1>(quads, quad(row + 4));
        let quads = _mm512_insertf32x4::<2>(quads, quad(row + 8));
        _mm512_insertf32x4::<3>(quads, quad(row + 12))
    };
    transposed([four(0), four(1), four(2), four(3)]).map(Avx512)
}

/// # Safety
/// As in [`Lanes::scatter`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn scatter(columns: [Avx512; QUAD], rows: &[*mut f32; LANES], from: usize) {
    let fours = transposed(columns.map(|column| column.0));
    for (row, four) in fours.into_iter().enumerate() {
        let four = whole(four);
        let quads = [
            _mm512_castps512_ps128(four),
            _mm512_extractf32x4_ps::<1>(four),
            _mm512_extractf32x4_ps::<2>(four),
            _mm512_extractf32x4_ps::<3>(four),
        ];
        for (quarter, quad) in quads.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            let start = unsafe { rows[row + 4 * quarter].add(from) };
            // SAFETY: the caller's promise; it may be unaligned.
            unsafe { _mm_storeu_ps(start, quad) };
        }
    }
}

/// The square in each quarter.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed([r0, r1, r2, r3]: [__m512; QUAD]) -> [__m512; QUAD] {
    let (low01, high01) = (_mm512_unpacklo_ps(r0, r1), _mm512_unpackhi_ps(r0, r1));
    let (low23, high23) = (_mm512_unpacklo_ps(r2, r3), _mm512_unpackhi_ps(r2, r3));
    [
        _mm512_shuffle_ps::<0b01_00_01_00>(low01, low23),
        _mm512_shuffle_ps::<0b11_10_11_10>(low01, low23),
        _mm512_shuffle_ps::<0b01_00_01_00>(high01, high23),
        _mm512_shuffle_ps::<0b11_10_11_10>(high01, high23),
    ]
}

/// Nothing to the vector, but the compiler cannot see through it: it would shuffle each quarter on its own, which is
/// twice the work on the one port that the processor has for it.
#[inline]
#[target_feature(enable = "avx512f")]
fn whole(mut vector: __m512) -> __m512 {
    // SAFETY: there is no instruction.
    unsafe {
        asm!("/* {0} */", inlateout(zmm_reg) vector, options(pure, nomem, nostack, preserves_flags));
    }
    vector
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_states(states: &[State; LANES]) -> (__m512, __m512) {
    let start: *const f32 = states.as_ptr().cast();
    // SAFETY: a state is two singles, so that sixteen of them are two vectors.
    let second = unsafe { start.add(LANES) };
    // SAFETY: as above; it may be unaligned.
    let low = unsafe { _mm512_loadu_ps(start) };
    // SAFETY: as above; it may be unaligned.
    let high = unsafe { _mm512_loadu_ps(second) };
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    (_mm512_permutex2var_ps(low, even, high), _mm512_permutex2var_ps(low, odd, high))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_states(s1: __m512, s2: __m512, states: &mut [State; LANES]) {
    let first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let last = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    let low = _mm512_permutex2var_ps(s1, first, s2);
    let high = _mm512_permutex2var_ps(s1, last, s2);
    let start: *mut f32 = states.as_mut_ptr().cast();
    // SAFETY: a state is two singles, so that sixteen of them are two vectors.
    let second = unsafe { start.add(LANES) };
    // SAFETY: as above; it may be unaligned.
    unsafe { _mm512_storeu_ps(start, low) };
    // SAFETY: as above; it may be unaligned.
    unsafe { _mm512_storeu_ps(second, high) };
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotated(vector: __m512) -> __m512 {
    let before = _mm512_setr_epi32(15, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14);
    _mm512_permutexvar_ps(before, vector)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn pick(vector: __m512, lane: usize) -> f32 {
    let lane = i32::try_from(lane % LANES).unwrap_or(0);
    _mm512_cvtss_f32(_mm512_permutexvar_ps(_mm512_set1_epi32(lane), vector))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn where_within(vector: __m512, position: __m512, limit: __m512, otherwise: __m512) -> __m512 {
    let begun = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(position, _mm512_setzero_ps());
    let within = _mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(begun, position, limit);
    _mm512_mask_blend_ps(within, otherwise, vector)
}
