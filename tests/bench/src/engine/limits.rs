//! What the machine cannot do the work without, as small kernels, measured beside those who do it.

use std::hint::black_box;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::kernels::{Biquad, Coefficients};
use super::{Aligned, Block, FRAMES, INPUT};
use crate::measure::Contestant;

trait Empty {
    fn call(&mut self, block: &mut Block);
}

struct Node;

impl Empty for Node {
    #[inline(never)]
    fn call(&mut self, _: &mut Block) {}
}

/// Calls through a table of functions, to nodes that do nothing.
pub(super) fn dispatch(nodes: usize) -> Contestant {
    let mut nodes: Vec<Box<dyn Empty>> = (0..nodes).map(|_| Box::new(Node) as Box<dyn Empty>).collect();
    let mut block = [0.0; FRAMES];
    Contestant::new("dispatch", move || {
        for node in black_box(&mut nodes) {
            node.call(black_box(&mut block));
        }
    })
}

/// A block filled in the nearest cache, again and again.
pub(super) fn stores(blocks: usize) -> Contestant {
    let mut block = Aligned([0.0; FRAMES]);
    Contestant::new("stores", move || {
        for _ in 0..blocks {
            black_box(&mut block.0).fill(0.0);
        }
    })
}

/// A block that stays in registers while it is multiplied again and again.
pub(super) fn gains(factors: usize) -> Contestant {
    // It must not decay into denormals, however long it is measured.
    let factors = vec![1.0; factors];
    let mut block = Aligned([INPUT; FRAMES]);
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512f") {
        return Contestant::new("multiplications", move || {
            // SAFETY: the processor has AVX-512F, as was just asked.
            unsafe { multiply_in_512_bits(black_box(&mut block), black_box(&factors)) };
        });
    }
    Contestant::new("multiplications", move || multiply::<4, 16>(black_box(&mut block), black_box(&factors)))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn multiply_in_512_bits(block: &mut Aligned, factors: &[f32]) {
    multiply::<16, 4>(block, factors);
}

#[inline(always)]
fn multiply<const LANES: usize, const VECTORS: usize>(block: &mut Aligned, factors: &[f32]) {
    let mut vectors: [Vector<LANES>; VECTORS] =
        std::array::from_fn(|vector| Vector(std::array::from_fn(|lane| block.0[vector * LANES + lane])));
    for &factor in factors {
        for vector in &mut vectors {
            *vector = vector.times(Vector::splat(factor));
        }
    }
    for (samples, vector) in block.0.chunks_exact_mut(LANES).zip(vectors) {
        samples.copy_from_slice(&vector.0);
    }
}

/// Scalar filters one after the other: each sample waits for the one before.
pub(super) fn biquads_in_series(filters: usize) -> Contestant {
    let mut filters = vec![Biquad::low_pass(); filters];
    let mut block = [INPUT; FRAMES];
    Contestant::new("recursion", move || {
        let block = black_box(&mut block);
        for filter in &mut filters {
            filter.process_in_place(block);
        }
    })
}

/// A list that grows to its known length and shrinks again.
pub(super) fn list(values: u64) -> Contestant {
    let length = usize::try_from(values).expect("it fits into memory");
    Contestant::new("a list", move || {
        let mut list = Vec::with_capacity(length);
        for value in 0..values {
            list.push(black_box(value));
        }
        while let Some(value) = list.pop() {
            black_box(value);
        }
    })
}

/// A pointer exchanged for another.
pub(super) fn exchange() -> Contestant {
    let mut here = std::ptr::null_mut::<u32>();
    let there = AtomicPtr::new(here);
    Contestant::new("an exchange", move || here = black_box(&there).swap(here, Ordering::AcqRel))
}

/// Filters of which none waits for another, a vector of them in step: as fast as this machine's arithmetic goes, in any
/// order of evaluation, unless multiplications and additions are contracted. Their number is rounded up to whole
/// groups. A chain can come near it: while one section filters a frame, the next one filters the frame before.
pub(super) fn biquads_in_vectors(filters: usize) -> Contestant {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            let mut bank = Bank::<16>::new(filters);
            // SAFETY: the processor has AVX-512F, as was just asked.
            return Contestant::new("vectors of 16", move || unsafe { in_512_bits(black_box(&mut bank)) });
        }
        if std::is_x86_feature_detected!("avx") {
            let mut bank = Bank::<8>::new(filters);
            // SAFETY: the processor has AVX, as was just asked.
            return Contestant::new("vectors of 8", move || unsafe { in_256_bits(black_box(&mut bank)) });
        }
    }
    let mut bank = Bank::<4>::new(filters);
    Contestant::new("vectors of 4", move || black_box(&mut bank).process())
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn in_512_bits(bank: &mut Bank<16>) {
    bank.process();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn in_256_bits(bank: &mut Bank<8>) {
    bank.process();
}

/// A vector in plain Rust: the compiler finds the registers that the function it is inlined into may use.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Vector<const LANES: usize>([f32; LANES]);

impl<const LANES: usize> Vector<LANES> {
    const fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn with(self, other: Self, operation: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| operation(self.0[lane], other.0[lane])))
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }
}

/// As many second-order sections as there are lanes, in transposed direct form II.
#[derive(Clone, Copy)]
struct Sections<const LANES: usize> {
    b0: Vector<LANES>,
    b1: Vector<LANES>,
    b2: Vector<LANES>,
    a1: Vector<LANES>,
    a2: Vector<LANES>,
    s1: Vector<LANES>,
    s2: Vector<LANES>,
}

impl<const LANES: usize> Sections<LANES> {
    #[inline(always)]
    fn next(&mut self, x: Vector<LANES>) -> Vector<LANES> {
        let y = self.b0.times(x).plus(self.s1);
        self.s1 = self.b1.times(x).plus(self.s2).minus(self.a1.times(y));
        self.s2 = self.b2.times(x).minus(self.a2.times(y));
        y
    }
}

/// Vectors in step: while one's result is under way the others' are begun.
const STEP: usize = 4;

struct Bank<const LANES: usize> {
    groups: Vec<[Sections<LANES>; STEP]>,
    input: Block,
    output: [[Vector<LANES>; STEP]; FRAMES],
}

impl<const LANES: usize> Bank<LANES> {
    fn new(filters: usize) -> Self {
        let Coefficients { b0, b1, b2, a1, a2 } = Coefficients::low_pass();
        let splat = Vector::splat;
        let (b0, b1, b2, a1, a2) = (splat(b0), splat(b1), splat(b2), splat(a1), splat(a2));
        let sections = Sections { b0, b1, b2, a1, a2, s1: splat(0.0), s2: splat(0.0) };
        Self {
            groups: vec![[sections; STEP]; filters.div_ceil(STEP * LANES)],
            input: [INPUT; FRAMES],
            output: [[splat(0.0); STEP]; FRAMES],
        }
    }

    #[inline(always)]
    fn process(&mut self) {
        for group in &mut self.groups {
            let mut sections = *group;
            for (output, &x) in self.output.iter_mut().zip(&self.input) {
                let x = Vector::splat(x);
                for (output, sections) in output.iter_mut().zip(&mut sections) {
                    *output = sections.next(x);
                }
            }
            *group = sections;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_filters_as_a_scalar_does() {
        let (mut bank, mut filter) = (Bank::<8>::new(32), Biquad::low_pass());
        for _ in 0..10 {
            let mut expected = [INPUT; FRAMES];
            filter.process_in_place(&mut expected);
            bank.process();
            for (vectors, expected) in bank.output.iter().zip(expected) {
                for value in vectors.iter().flat_map(|vector| vector.0) {
                    assert!((value - expected).abs() < 1e-5, "{value} {expected}");
                }
            }
        }
    }
}
