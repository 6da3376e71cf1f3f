//! What each effect costs: of one core, in per cent of real time, stereo at 48 kHz with its usual settings.
//!
//! `cargo run --release -p audiocloud-effects --example cost`

use std::time::Instant;

use audiocloud_dsp::noise::White;
use audiocloud_dsp::ramp::Ramp;
use audiocloud_effects::KINDS;
use audiocloud_effects::effect::{Activation, Block, GRID, Kind};
use audiocloud_units::SampleRate;

const RATE_HZ: u32 = 48_000;
/// Blocks of a measurement: 2.7 s of sound.
const BLOCKS: u64 = 2_000;
/// The least of so many, for whatever else runs only adds to it.
const MEASUREMENTS: usize = 5;

fn main() {
    println!("{:<14}{:>8}{:>12}", "effect", "% core", "ns a frame");
    for kind in KINDS {
        let seconds = (0..MEASUREMENTS).map(|_| measured_s(kind)).fold(f64::INFINITY, f64::min);
        let frames = (BLOCKS * GRID as u64) as f64;
        let of_real_time = seconds * f64::from(RATE_HZ) / frames;
        println!("{:<14}{:>8.2}{:>12.1}", kind.id, 100.0 * of_real_time, 1e9 * seconds / frames);
    }
}

fn measured_s(kind: &Kind) -> f64 {
    let sample_rate = SampleRate::new(RATE_HZ).expect("not 0 Hz");
    let mut effect = (kind.make)(&Activation { sample_rate, channels: 2 });
    let parameters: Vec<Ramp> = kind.defaults().into_iter().map(Ramp::constant).collect();
    let mut noise = White::new(1);
    let (mut left, mut right) = ([0.0; GRID], [0.0; GRID]);
    let begun = Instant::now();
    for block in 0..BLOCKS {
        noise.fill(&mut left);
        noise.fill(&mut right);
        effect.process(&mut Block {
            main: &mut [&mut left, &mut right],
            side_chain: &[],
            parameters: &parameters,
            position: block * GRID as u64,
            transport: None,
            offline: false,
        });
    }
    begun.elapsed().as_secs_f64()
}
