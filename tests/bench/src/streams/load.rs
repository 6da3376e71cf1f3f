//! Many of our streams over one connection, without JACK: an example program of the runtime sends from A and receives at
//! B, while the forwarder does to them what the row is about.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::forwarder::{Forwarder, Traffic};
use super::impairment::{Bottleneck, Impairment, Loss};
use super::network::{Site, at};
use super::program::Program;
use super::sandbox;
use super::system::PRIORITY;
use super::tcp::Flow;
use crate::table::{Row, Target};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Load {
    /// 64 stereo streams
    Scale,
    /// 26 Mbit/s over 20 ms each way with 2 % loss
    Bulk,
    /// The same with 5 ms of jitter, so that packets overtake each other
    BulkReordered,
    /// Beside one TCP flow (CUBIC) through 20 Mbit/s with 100 ms of queue
    Share,
}

/// Frames of a block: 5 ms, in two datagrams.
const BLOCK: &str = "240";
/// Stereo streams of 24 bits with all headers, in Mbit/s: what a number of them makes.
const STREAMS_OF_26_MBPS: u32 = 11;
/// More than the bottleneck passes.
const STREAMS_OF_SHARE: u32 = 10;
const SHARE_BPS: f64 = 20e6;
/// The part of a run after which both flows have found their rate.
const SETTLED: f64 = 0.3;

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) load: &'static str,
    pub(crate) streams: u32,
    pub(crate) seconds: u32,
    pub(crate) sending_cores: f64,
    pub(crate) receiving_cores: f64,
    pub(crate) frames_sent: f64,
    pub(crate) frames_missed: f64,
    pub(crate) traffic: [Traffic; 2],
    /// Of the bottleneck's rate; with a TCP flow beside.
    pub(crate) media_share: Option<f64>,
    pub(crate) tcp_share: Option<f64>,
}

impl Load {
    pub(crate) const ALL: [Self; 4] = [Self::Scale, Self::Bulk, Self::BulkReordered, Self::Share];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Bulk => "bulk",
            Self::BulkReordered => "bulk-reordered",
            Self::Share => "share",
        }
    }

    fn streams(self) -> u32 {
        match self {
            Self::Scale => 64,
            Self::Bulk | Self::BulkReordered => STREAMS_OF_26_MBPS,
            Self::Share => STREAMS_OF_SHARE,
        }
    }

    fn impairment(self) -> Impairment {
        let none = Impairment::NONE;
        let far = Impairment { loss: Loss::Random(0.02), delay_ms: 20.0, ..none };
        match self {
            Self::Scale => none,
            Self::Bulk => far,
            Self::BulkReordered => Impairment { jitter_ms: 5.0, ..far },
            Self::Share => {
                let bottleneck = Bottleneck { rate_bps: SHARE_BPS, queue_ms: 100.0 };
                Impairment { bottleneck: Some(bottleneck), delay_ms: 5.0, ..none }
            }
        }
    }
}

/// Runs the load for so many seconds.
pub(crate) fn run(load: Load, program: &std::path::Path, seconds: u32, seed: u64) -> Result<Measured> {
    let folder = sandbox::scratch().join(load.name());
    std::fs::create_dir_all(&folder)?;
    let forwarder = Forwarder::start(load.impairment(), seed)?;
    let streams = load.streams();
    let mut command: Command = at(Site::A, Some(PRIORITY), program);
    command
        .args([&seconds.to_string(), &streams.to_string(), BLOCK])
        .env("SCALE_BIND", Site::A.address())
        .env("SCALE_BIND_RECEIVER", Site::B.address())
        .env("SCALE_RUN", format!("ip netns exec {} chrt --fifo {PRIORITY}", Site::B.name()))
        .env("TMPDIR", &folder);
    let mut sending = Program::start(command, load.name(), &folder)?;
    let shares = match load {
        Load::Share => Some(shares(&forwarder, seconds)?),
        _ => None,
    };
    let patience = Duration::from_secs(u64::from(seconds) + 40);
    let mut say = |wanted: &str| sending.wait_for(wanted, patience, &folder);
    let sender = say("sending:")?;
    let receiver = say("receiving:")?;
    let frames = say("frames:")?;
    let traffic = forwarder.traffic();
    sending.finish(patience)?;
    forwarder.finish()?;
    Ok(Measured {
        load: load.name(),
        streams,
        seconds,
        sending_cores: number(&sender, 0)?,
        receiving_cores: number(&receiver, 0)?,
        frames_sent: number(&frames, 1)?,
        frames_missed: number(&frames, 2)?,
        traffic,
        media_share: shares.map(|[media, _]| media),
        tcp_share: shares.map(|[_, tcp]| tcp),
    })
}

/// What media and TCP get of the bottleneck, once both have found their rates.
fn shares(forwarder: &Forwarder, seconds: u32) -> Result<[f64; 2]> {
    // The streams first: they find their rate alone, and then have company.
    std::thread::sleep(Duration::from_secs_f64(f64::from(seconds) * 0.1 + 2.0));
    let flow = Flow::start(Site::A, Site::B)?;
    std::thread::sleep(Duration::from_secs_f64(f64::from(seconds) * SETTLED));
    let (began, before) = (Instant::now(), forwarder.passed());
    std::thread::sleep(Duration::from_secs_f64(f64::from(seconds) * (0.9 - SETTLED) - 2.0));
    let (after, took) = (forwarder.passed(), began.elapsed().as_secs_f64());
    flow.end();
    let share = |after: u64, before: u64| super::cycle_log::exact(after - before) * 8.0 / took / SHARE_BPS;
    Ok([share(after.other, before.other), share(after.tcp, before.tcp)])
}

/// The nth number in a line.
fn number(line: &str, index: usize) -> Result<f64> {
    let mut numbers =
        line.split(|c: char| !(c.is_ascii_digit() || c == '.')).filter_map(|word| word.parse().ok());
    numbers.nth(index).with_context(|| format!("no number {index} in {line:?}"))
}

/// The rows of what was measured, and what they have to reach.
pub(crate) fn rows(measured: &[Measured]) -> Vec<Row> {
    let row = |name: String, unit: &'static str, figure: f64, target: Target| {
        Row::new(&name, unit, Some(figure), std::collections::BTreeMap::new(), None, Some(target))
    };
    let mut rows = Vec::new();
    for one in measured {
        let missed = one.frames_missed / one.frames_sent.max(1.0);
        let name = format!("{}, {} stereo streams", one.load, one.streams);
        if let (Some(media), Some(tcp)) = (one.media_share, one.tcp_share) {
            rows.push(row(format!("{name}: media's share"), "%", media * 100.0, Target::Minimum(30.0)));
            rows.push(row(format!("{name}: TCP's share"), "%", tcp * 100.0, Target::Minimum(30.0)));
            continue;
        }
        let [from_a, _] = one.traffic;
        let lost = super::cycle_log::exact(from_a.lost) / super::cycle_log::exact(from_a.frames.max(1));
        rows.push(row(format!("{name}: missed"), "%", missed * 100.0, Target::Maximum(lost * 100.0)));
        if one.load == Load::Scale.name() {
            let cores = one.sending_cores + one.receiving_cores;
            rows.push(row(format!("{name}: sending and receiving"), "cores", cores, Target::Maximum(1.0)));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_lines() {
        let line = "frames: 3072000 of 3072240 came, 240 did not";
        assert_eq!([0, 1, 2].map(|n| number(line, n).unwrap()), [3_072_000.0, 3_072_240.0, 240.0]);
        assert_eq!(number("sending: 0.125 cores, 0 blocks found their ring full", 0).unwrap(), 0.125);
        assert!(number("sending: none", 0).is_err());
    }
}
