//! A plug-in's width is not always the chain's: which samples become which.

use std::sync::atomic::AtomicU32;

use audiocloud_graph::node::GRID;

use crate::shared::{read, write};

/// Where one channel's samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    One(usize),
    Mean,
    Silence,
}

/// Mono goes to all, all go to mono as their mean, and otherwise each to its own as far as there are any.
fn origin(channel: usize, from: usize, to: usize) -> Origin {
    match (from, to) {
        (0, _) => Origin::Silence,
        (1, _) => Origin::One(0),
        (_, 1) => Origin::Mean,
        _ if channel < from => Origin::One(channel),
        _ => Origin::Silence,
    }
}

/// Fills the channels of a port.
pub(super) fn fill(port: &mut [Vec<f32>], from: &[&[AtomicU32]]) {
    let width = port.len();
    for (channel, samples) in port.iter_mut().enumerate() {
        match origin(channel, from.len(), width) {
            Origin::One(one) => read(from[one], samples),
            Origin::Silence => samples.fill(0.0),
            Origin::Mean => {
                samples.fill(0.0);
                let mut one = [0.0; GRID];
                for from in from {
                    read(from, &mut one);
                    samples.iter_mut().zip(one).for_each(|(sum, sample)| *sum += sample);
                }
                scale(samples, from.len());
            }
        }
    }
}

/// Writes the channels of a port where the chain's are.
pub(super) fn empty(port: &[Vec<f32>], to: &[&[AtomicU32]]) {
    for (channel, place) in to.iter().enumerate() {
        match origin(channel, port.len(), to.len()) {
            Origin::One(one) => write(place, &port[one]),
            Origin::Silence => write(place, &[0.0; GRID]),
            Origin::Mean => {
                let mut sum = [0.0; GRID];
                for channel in port {
                    sum.iter_mut().zip(channel).for_each(|(sum, sample)| *sum += sample);
                }
                scale(&mut sum, port.len());
                write(place, &sum);
            }
        }
    }
}

fn scale(samples: &mut [f32], count: usize) {
    let factor = 1.0 / f32::from(u16::try_from(count).unwrap_or(1));
    samples.iter_mut().for_each(|sample| *sample *= factor);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(values: &[f32]) -> Vec<Vec<AtomicU32>> {
        let channel = |value: &f32| (0..GRID).map(|_| AtomicU32::new(value.to_bits())).collect();
        values.iter().map(channel).collect()
    }

    #[test]
    fn widths_meet() {
        let check = |from: &[f32], expected: &[f32]| {
            let source = words(from);
            let views: Vec<&[AtomicU32]> = source.iter().map(Vec::as_slice).collect();
            let mut port = vec![vec![9.0; GRID]; expected.len()];
            fill(&mut port, &views);
            assert_eq!(
                port,
                expected.iter().map(|value| vec![*value; GRID]).collect::<Vec<_>>(),
                "in {from:?}"
            );

            let port: Vec<Vec<f32>> = from.iter().map(|value| vec![*value; GRID]).collect();
            let target = words(&vec![9.0; expected.len()]);
            let views: Vec<&[AtomicU32]> = target.iter().map(Vec::as_slice).collect();
            empty(&port, &views);
            let mut samples = [0.0; GRID];
            for (view, expected) in views.iter().zip(expected) {
                read(view, &mut samples);
                assert_eq!(samples, [*expected; GRID], "out {from:?}");
            }
        };
        check(&[1.0, 2.0], &[1.0, 2.0]);
        check(&[1.0], &[1.0, 1.0]);
        check(&[1.0, 2.0], &[1.5]);
        check(&[1.0, 2.0], &[1.0, 2.0, 0.0, 0.0]);
        check(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0]);
        check(&[], &[0.0, 0.0]);
        check(&[1.0], &[]);
    }
}
