//! From a sample's arrival in Send's callback to its leaving Receive's: at most three blocks.

use audiocloud_e2e::{Stage, recording};
use audiocloud_rig::{process::Block, session::PairOptions};

/// A test machine may stall for longer than the whole delay: what counts is what the product does when it is let.
const ATTEMPTS: u32 = 4;

#[test]
fn three_blocks_at_the_smallest_delay() {
    let source = recording("strings-48k.wav", 48_000, 2, 4.0);
    let mut told = Vec::new();
    for _ in 0..ATTEMPTS {
        let mut options =
            PairOptions { playout_ms: Some(4.0), ..PairOptions::new(2, 48_000, Block::Fixed(128)) };
        let outcome = Stage::new().stream(&source, &mut options);
        let latency = outcome.latency;
        println!("latency: {latency:?} ms");
        if outcome.comparison.bit_exact && latency.max_ms <= 8.0 {
            return;
        }
        let missing = outcome.comparison.missing_frames;
        let schedulers = (outcome.send.report.scheduler, outcome.receive.report.scheduler);
        told.push(format!(
            "missing {missing}, median {:.2} ms, p99 {:.2} ms, max {:.2} ms, {schedulers:?}",
            latency.median_ms, latency.p99_ms, latency.max_ms
        ));
    }
    panic!("never three blocks (8 ms) and whole: {told:#?}");
}
