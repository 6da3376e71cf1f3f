//! Eight lanes with AVX2.

use std::arch::x86_64::*;

use super::{Coefficients, Lanes, QUAD, ROWS, Rows, State, bank_in, series_in};

pub(super) const LANES: usize = 8;
/// More would hide no more of the wait, and lengthen the run-in.
const SERIES_VECTORS: usize = 3;

/// Only the two functions below, which are compiled for AVX2, make one: that is what makes its methods sound.
#[derive(Clone, Copy)]
struct Avx2(__m256);

#[target_feature(enable = "avx2")]
pub(super) fn bank(coefficients: &[Coefficients], states: &mut [State], rows: &Rows<'_>) {
    bank_in::<Avx2, LANES, { ROWS / LANES }>(coefficients, states, rows);
}

#[target_feature(enable = "avx2")]
pub(super) fn series(coefficients: &[Coefficients], states: &mut [State], samples: &mut [f32]) {
    series_in::<Avx2, LANES, SERIES_VECTORS>(coefficients, states, samples);
}

impl Lanes<LANES> for Avx2 {
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
    fn load_states(states: &[State; LANES]) -> (Self, Self) {
        // SAFETY: see `Avx2`.
        let (s1, s2) = unsafe { load_states(states) };
        (Self(s1), Self(s2))
    }

    #[inline(always)]
    fn store_states(s1: Self, s2: Self, states: &mut [State; LANES]) {
        // SAFETY: see `Avx2`.
        unsafe { store_states(s1.0, s2.0, states) }
    }

    #[inline(always)]
    unsafe fn gather(rows: &[*const f32; LANES], from: usize) -> [Self; QUAD] {
        // SAFETY: see `Avx2`; and the caller's promise.
        unsafe { gather(rows, from) }
    }

    #[inline(always)]
    unsafe fn scatter(columns: [Self; QUAD], rows: &[*mut f32; LANES], from: usize) {
        // SAFETY: see `Avx2`; and the caller's promise.
        unsafe { scatter(columns, rows, from) }
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

/// Row `i` and row `i + 4` beside each other, then the square in each half on its own: so the lanes come out in order.
///
/// # Safety
/// As in [`Lanes::gather`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn gather(rows: &[*const f32; LANES], from: usize) -> [Avx2; QUAD] {
    let quad = |row: usize| {
        // SAFETY: the caller's promise.
        let start = unsafe { rows[row].add(from) };
        // SAFETY: the caller's promise; it may be unaligned.
        unsafe { _mm_loadu_ps(start) }
    };
    let pair = |row: usize| _mm256_set_m128(quad(row + 4), quad(row));
    transposed([pair(0), pair(1), pair(2), pair(3)]).map(Avx2)
}

/// # Safety
/// As in [`Lanes::scatter`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn scatter(columns: [Avx2; QUAD], rows: &[*mut f32; LANES], from: usize) {
    let pairs = transposed(columns.map(|column| column.0));
    for (row, pair) in pairs.into_iter().enumerate() {
        for (row, quad) in [(row, _mm256_castps256_ps128(pair)), (row + 4, _mm256_extractf128_ps::<1>(pair))]
        {
            // SAFETY: the caller's promise.
            let start = unsafe { rows[row].add(from) };
            // SAFETY: the caller's promise; it may be unaligned.
            unsafe { _mm_storeu_ps(start, quad) };
        }
    }
}

/// The square in each half.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed([r0, r1, r2, r3]: [__m256; QUAD]) -> [__m256; QUAD] {
    let (low01, high01) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
    let (low23, high23) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
    [
        _mm256_shuffle_ps::<0b01_00_01_00>(low01, low23),
        _mm256_shuffle_ps::<0b11_10_11_10>(low01, low23),
        _mm256_shuffle_ps::<0b01_00_01_00>(high01, high23),
        _mm256_shuffle_ps::<0b11_10_11_10>(high01, high23),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_states(states: &[State; LANES]) -> (__m256, __m256) {
    let start: *const f32 = states.as_ptr().cast();
    // SAFETY: a state is two singles, so that eight of them are two vectors.
    let second = unsafe { start.add(LANES) };
    // SAFETY: as above; it may be unaligned.
    let low = unsafe { _mm256_loadu_ps(start) };
    // SAFETY: as above; it may be unaligned.
    let high = unsafe { _mm256_loadu_ps(second) };
    let ordered = |halves| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(halves)));
    let s1 = _mm256_shuffle_ps::<0b10_00_10_00>(low, high);
    let s2 = _mm256_shuffle_ps::<0b11_01_11_01>(low, high);
    (ordered(s1), ordered(s2))
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_states(s1: __m256, s2: __m256, states: &mut [State; LANES]) {
    let (even, odd) = (_mm256_unpacklo_ps(s1, s2), _mm256_unpackhi_ps(s1, s2));
    let low = _mm256_permute2f128_ps::<0x20>(even, odd);
    let high = _mm256_permute2f128_ps::<0x31>(even, odd);
    let start: *mut f32 = states.as_mut_ptr().cast();
    // SAFETY: a state is two singles, so that eight of them are two vectors.
    let second = unsafe { start.add(LANES) };
    // SAFETY: as above; it may be unaligned.
    unsafe { _mm256_storeu_ps(start, low) };
    // SAFETY: as above; it may be unaligned.
    unsafe { _mm256_storeu_ps(second, high) };
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
