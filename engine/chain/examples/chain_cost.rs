//! What chains cost: of one core, in per cent of real time, stereo at 48 kHz in blocks of 64 frames, values at rest.
//!
//! `cargo run --release -p audiocloud-chain --example chain_cost`

use std::time::Instant;

use audiocloud_chain::document::Chain;
use audiocloud_chain::edit::{Edit, Place};
use audiocloud_chain::foreign::NoForeign;
use audiocloud_chain::rack::{RackAudio, RackCall, RackSetup, rack};
use audiocloud_dsp::noise::White;
use audiocloud_graph::renderer::Ports;
use audiocloud_rt::callback;
use audiocloud_units::SampleRate;

const RATE_HZ: u32 = 48_000;
const FRAMES: usize = 64;
/// Blocks of a measurement: 2.7 s of sound.
const BLOCKS: u64 = 2_000;
/// The least of so many, for whatever else runs only adds to it.
const MEASUREMENTS: usize = 5;

fn main() {
    println!("{:<30}{:>8}{:>12}", "chain", "% core", "ns a block");
    for kinds in [&[][..], &["eq"], &["eq", "compressor"], &["eq", "compressor", "reverb"]] {
        let seconds = (0..MEASUREMENTS).map(|_| measured_s(kinds)).fold(f64::INFINITY, f64::min);
        let block_s = seconds / BLOCKS as f64;
        let of_real_time = block_s * f64::from(RATE_HZ) / FRAMES as f64;
        println!("{:<30}{:>8.2}{:>12.0}", kinds.join(" → "), 100.0 * of_real_time, 1e9 * block_s);
    }
}

fn measured_s(kinds: &[&str]) -> f64 {
    let mut chain = Chain::default();
    for kind in kinds {
        let edit = Edit::Add { at: Place::END, kind: (*kind).to_owned() };
        chain.apply(&edit).expect("one of ours");
    }
    let sample_rate = SampleRate::new(RATE_HZ).expect("not 0 Hz");
    let setup = RackSetup { sample_rate, inputs: 2, side_chain: 0, outputs: 2 };
    let (_control, mut audio) = rack(&chain, &setup, Box::new(NoForeign)).expect("stereo");
    let mut noise = Noise(White::new(1));
    let begun = Instant::now();
    (0..BLOCKS).for_each(|_| play(&mut audio, &mut noise));
    begun.elapsed().as_secs_f64()
}

fn play(audio: &mut RackAudio, noise: &mut Noise) {
    callback::enter(|callback| {
        let call = RackCall { callback, offline: false, transport: None, events: &[] };
        audio.process(&call, FRAMES, noise);
    });
}

struct Noise(White);

impl Ports for Noise {
    fn read(&mut self, _bus: usize, _channel: usize, _from: usize, samples: &mut [f32]) {
        self.0.fill(samples);
    }

    fn write(&mut self, _bus: usize, _channel: usize, _from: usize, samples: &[f32]) {
        std::hint::black_box(samples);
    }
}
