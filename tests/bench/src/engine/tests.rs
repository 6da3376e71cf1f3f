//! Every engine does what it is measured at.

use super::kernels::{Coefficients, GAIN};
use super::*;

/// The last sample of each of the first blocks after a cascade of sections, in double precision.
fn cascade(sections: usize, blocks: usize) -> Vec<f64> {
    let Coefficients { b0, b1, b2, a1, a2 } = Coefficients::low_pass();
    let [b0, b1, b2, a1, a2] = [b0, b1, b2, a1, a2].map(f64::from);
    let mut states = vec![[0.0; 2]; sections];
    let mut next = || {
        states.iter_mut().fold(f64::from(INPUT), |x, [s1, s2]| {
            let y = b0 * x + *s1;
            (*s1, *s2) = (b1 * x - a1 * y + *s2, b2 * x - a2 * y);
            y
        })
    };
    (0..blocks).map(|_| (0..FRAMES).fold(0.0, |_, _| next())).collect()
}

/// The last samples of `blocks` blocks; Firewheel has played some of its own before.
fn engines(shape: Shape, work: Work, nodes: usize, blocks: usize) -> Vec<(&'static str, Vec<f32>)> {
    let play = |block: &mut dyn FnMut() -> f32| (0..blocks).map(|_| block()).collect();
    vec![
        ("ours", play(&mut ours::graph(shape, work, nodes))),
        ("aether", play(&mut aether::graph(shape, work, nodes))),
        ("fundsp", play(&mut fundsp::graph(shape, work, nodes))),
        ("firewheel", play(&mut firewheel::graph(shape, work, nodes))),
    ]
}

#[test]
fn gains_multiply() {
    let expected = f64::from(INPUT) * f64::from(GAIN).powi(100);
    for (name, samples) in engines(Shape::Chain, Work::Gain, 100, 200) {
        let error = f64::from(samples[199]) / expected - 1.0;
        assert!(error.abs() < 1e-5, "{name}: {error:e}");
    }
}

#[test]
fn filters_filter() {
    let blocks = 60;
    for (shape, sections) in [(Shape::Chain, 5), (Shape::Independent, 1)] {
        let expected = cascade(sections, blocks);
        for (name, samples) in engines(shape, Work::Biquad, 5, blocks) {
            // Firewheel's have settled by then.
            let first = if name == "firewheel" { blocks - 1 } else { 0 };
            for (sample, expected) in samples[first..].iter().zip(&expected[first..]) {
                let error = f64::from(*sample) - expected;
                assert!(error.abs() < 1e-4, "{name}, {shape:?}: {error:e}");
            }
        }
    }
}

#[test]
fn nothing_writes_silence_or_what_came_in() {
    for (name, samples) in engines(Shape::Chain, Work::Nothing, 10, 20) {
        let expected = if name == "fundsp" { INPUT } else { 0.0 };
        assert_eq!(samples[19], expected, "{name}");
    }
}

#[test]
fn ramps_are_always_on_their_way() {
    let check = |name: &str, fill: &mut dyn FnMut(&mut Block)| {
        let mut block = [0.0; FRAMES];
        for _ in 0..1000 {
            fill(&mut block);
            assert!(block.windows(2).all(|pair| pair[0] != pair[1]), "{name}: {block:?}");
        }
    };
    check("aether", &mut aether::ramp());
    check("firewheel", &mut firewheel::ramp());
    // Twelve hours from 0 to 1 would rest for many frames between two numbers.
    let mut ours = ours::ramp();
    let (mut first, mut last) = ([0.0; FRAMES], [0.0; FRAMES]);
    ours(&mut first);
    (0..100_000).for_each(|_| ours(&mut last));
    assert!(first[0] < last[0], "{} {}", first[0], last[0]);
}
