//! The plug-in's side of chains that run on a node, without a plug-in: what `cargo xtask bench remote-fx` measures.
//!
//! `cargo run -p audiocloud-runtime --example remote -- FOLDER DOCUMENT [OPTION VALUE]…`: noise goes in blocks of
//! `--frames` (64) at 48 kHz, stereo, for `--seconds` (10) through `--chains` (1) chains of the document, on whatever node is
//! found from the configuration in FOLDER; the first `--settle` (2) seconds do not count. Then one line of JSON: of each
//! block that came back the time from its callback's entry, in microseconds, summed up; and one by one those that took
//! longer than a block lasts, with the callback's time on this machine's monotonic clock.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use audiocloud_rt::block_ring::{self, Epoch, Flags, Header};
use audiocloud_rt::{chain_event, event, host_time, priority};
use audiocloud_runtime::remote::{
    Arrived, NodeChoice, PlugEnds, Remote, RemoteConfig, RemoteState, Transfer,
};
use audiocloud_runtime::{Config, Runtime};
use audiocloud_units::{MediaTime, Nanos, SampleRate};
use serde_json::{Value, json};

type Failure = Box<dyn Error>;

const RATE_HZ: u32 = 48_000;
/// As a host's audio thread, above the network's.
const CALLBACK_PRIORITY: u8 = 70;
/// Who notes when something comes back must not wait for anybody.
const READER_PRIORITY: u8 = 75;
/// Until all chains are open, or refused.
const OPENING: Duration = Duration::from_secs(20);
/// How often rings are looked at whose bell nobody hears.
const LOOK_EVERY: Duration = Duration::from_micros(250);
/// Blocks under way when the measurement ends.
const AFTER: Duration = Duration::from_millis(200);
const LATE_MAX: usize = 100_000;

struct Options(HashMap<String, String>);

impl Options {
    fn get(&self, name: &str, default: u32) -> Result<u32, Failure> {
        Ok(self.0.get(name).map_or(Ok(default), |text| text.parse())?)
    }
}

/// One chain's ends that the callback has.
struct Chain {
    remote: Remote,
    blocks: block_ring::Producer,
    _events: chain_event::Producer,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("which folder?")?);
    let document = std::fs::read(arguments.next().ok_or("which document?")?)?;
    let arguments: Vec<String> = arguments.collect();
    let options = Options(arguments.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect());
    let frames = options.get("--frames", 64)?;
    let seconds = options.get("--seconds", 10)?;
    let settle = options.get("--settle", 2)?;
    let chains = options.get("--chains", 1)?;

    let mut config = Config::in_folders(&folder.join("config"), &folder.join("run"));
    config.mdns = false;
    let handle = Runtime::acquire_with(config)?;
    let (mut opened, mut back) = (Vec::new(), Vec::new());
    for number in 0..chains {
        let (chain, consumer) = open(&handle, number, frames, &document);
        opened.push(chain);
        back.push(consumer);
    }
    let state = wait_until_open(&opened);
    let period_ns = i64::from(frames) * 1_000_000_000 / i64::from(RATE_HZ);
    let count = |seconds: u32| usize::try_from(u64::from(seconds) * u64::from(RATE_HZ) / u64::from(frames));
    let (blocks, skip) = (count(seconds + settle)?, count(settle)?);
    let pushed: Arc<Vec<AtomicI64>> = Arc::new((0..blocks).map(|_| AtomicI64::new(0)).collect());
    let ended = Arc::new(AtomicBool::new(false));
    let bell = opened.first().ok_or("no chain")?.remote.arrived();
    let reader = {
        let (pushed, ended) = (Arc::clone(&pushed), Arc::clone(&ended));
        std::thread::spawn(move || read(&bell, &mut back, &pushed, frames, &ended))
    };
    let waker = handle.waker();
    let callback = std::thread::spawn(move || {
        let realtime = priority::realtime(CALLBACK_PRIORITY).is_ok();
        let full = play(&mut opened, &waker, &pushed, frames, period_ns);
        std::thread::sleep(AFTER);
        (opened, full, realtime)
    });
    let (opened, full, realtime) = callback.join().map_err(|_| "the callback has panicked")?;
    ended.store(true, Ordering::Relaxed);
    let (rounds, never) = reader.join().map_err(|_| "the reader has panicked")?;
    let statuses: Vec<_> = opened.iter().map(|chain| chain.remote.status()).collect();
    let mut counted: Vec<(i64, i64)> =
        rounds.iter().filter(|(block, ..)| *block >= skip).map(|(_, at, round)| (*at, *round)).collect();
    counted.sort_unstable_by_key(|(_, round)| *round);
    let rank = |per_mille: usize| {
        let place = (counted.len() * per_mille / 1000).min(counted.len().saturating_sub(1));
        counted.get(place).map(|(_, round)| round / 1000)
    };
    let late: Vec<Value> = counted
        .iter()
        .rev()
        .take_while(|(_, round)| *round > period_ns)
        .take(LATE_MAX)
        .map(|(at, round)| json!([at / 1000, round / 1000]))
        .collect();
    let report = statuses.first().map(|status| status.node_report.clone()).unwrap_or_default();
    let told = json!({
        "frames": frames,
        "chains": chains,
        "live": statuses.iter().filter(|status| status.state == RemoteState::Live).count(),
        "opened": state,
        "words": statuses.iter().map(|status| status.words.clone()).collect::<std::collections::BTreeSet<_>>(),
        "realtime": realtime,
        "blocks": counted.len(),
        "never": never.iter().filter(|block| **block >= skip).count(),
        "ring_full": full,
        "round_us": { "p50": rank(500), "p99": rank(990), "p999": rank(999), "max": rank(1000) },
        "late": late,
        "losses": statuses.iter().flat_map(|status| &status.losses).map(ToString::to_string).collect::<Vec<_>>(),
        "figures": statuses.first().map(|status| status.figures),
        "report": serde_json::from_slice::<Value>(&report).unwrap_or_default(),
    });
    println!("{told}");
    Ok(())
}

fn open(
    handle: &audiocloud_runtime::Handle,
    number: u32,
    frames: u32,
    document: &[u8],
) -> (Chain, block_ring::Consumer) {
    let samples = usize::try_from(RATE_HZ).unwrap_or(usize::MAX);
    let (blocks, blocks_out) = block_ring::block_ring(256, samples);
    let (events, events_out) = chain_event::chain_event_ring(16);
    let (back, back_out) = block_ring::block_ring(1024, samples);
    let (back_events, _) = event::event_ring(16);
    let config = RemoteConfig {
        name: format!("bench {number}"),
        session: None,
        node: NodeChoice::Automatic,
        sample_rate: SampleRate::new(RATE_HZ).unwrap_or_else(|| unreachable!("a rate")),
        inputs: 2,
        side_chain: 0,
        outputs: 2,
        block_frames_max: frames,
        patience: Nanos::new(1_000_000),
        transfer: Transfer::Live,
        document: document.to_vec(),
    };
    let remote =
        handle.remote(config, PlugEnds { blocks: blocks_out, events: events_out, back, back_events });
    (Chain { remote, blocks, _events: events }, back_out)
}

/// How many are live, and how many are not.
fn wait_until_open(chains: &[Chain]) -> Value {
    let began = Instant::now();
    loop {
        let states: Vec<_> = chains.iter().map(|chain| chain.remote.status().state).collect();
        let is = |state| states.iter().filter(|one| **one == state).count();
        let (live, refused) = (is(RemoteState::Live), is(RemoteState::Refused));
        if live + refused == chains.len() || began.elapsed() > OPENING {
            return json!({ "live": live, "refused": refused, "after_ms": began.elapsed().as_secs_f64() * 1e3 });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// As a host calls: at even instants, one wake for all. How many blocks found no room.
fn play(
    chains: &mut [Chain],
    waker: &audiocloud_rt::wake::Waker,
    pushed: &[AtomicI64],
    frames: u32,
    period_ns: i64,
) -> u64 {
    let noise: Vec<f32> = noise(usize::try_from(RATE_HZ).unwrap_or(1));
    let mut full = 0;
    let began = host_time::now().get() + period_ns;
    for (number, entry) in pushed.iter().enumerate() {
        let due = began + i64::try_from(number).unwrap_or(0) * period_ns;
        let left = due - host_time::now().get();
        std::thread::sleep(Duration::from_nanos(u64::try_from(left).unwrap_or(0)));
        let now = host_time::now();
        entry.store(now.get(), Ordering::Release);
        let start = u64::try_from(number).unwrap_or(0) * u64::from(frames);
        let header = Header {
            epoch: Epoch(1),
            sample_rate: SampleRate::new(RATE_HZ).unwrap_or_else(|| unreachable!("a rate")),
            start: MediaTime::new(start),
            frames,
            first_channel: 0,
            channels: 2,
            stream_channels: 2,
            host_time: now,
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        let from = usize::try_from(start).unwrap_or(0) % (noise.len() - usize::try_from(frames).unwrap_or(0));
        for chain in &mut *chains {
            let fill = |channel: usize, at: usize, samples: &mut [f32]| {
                samples.copy_from_slice(&noise[from + at..from + at + samples.len()]);
                if channel == 1 {
                    samples.reverse();
                }
            };
            full += u64::from(chain.blocks.try_push(&header, fill).is_err());
        }
        waker.wake();
    }
    full
}

/// White, at −12 dB: an xorshift generator (Marsaglia, 2003).
fn noise(frames: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (f32::from_bits(0x3f80_0000 | (state >> 9)) - 1.5) * 0.5
    };
    (0..frames).map(|_| next()).collect()
}

/// Each block of each chain that came back whole: its number, its callback's entry and how long it took, in ns; and the
/// numbers of those that did not.
type Rounds = (Vec<(usize, i64, i64)>, Vec<usize>);

fn read(
    bell: &Arrived,
    back: &mut [block_ring::Consumer],
    pushed: &[AtomicI64],
    frames: u32,
    ended: &AtomicBool,
) -> Rounds {
    // Without the right to it the figures are larger, and say so themselves.
    priority::realtime(READER_PRIORITY).ok();
    let mut rounds = Vec::with_capacity(pushed.len() * back.len());
    let mut missing = vec![vec![frames; pushed.len()]; back.len()];
    let mut seen = bell.count();
    while !ended.load(Ordering::Relaxed) {
        seen = bell.wait(seen, LOOK_EVERY);
        for (ring, missing) in back.iter_mut().zip(&mut missing) {
            while let Some(header) = ring.try_pop(|header, _| *header) {
                let now = host_time::now().get();
                let mut frame = header.start.get();
                let end = frame + u64::from(header.frames);
                while frame < end {
                    let block = usize::try_from(frame / u64::from(frames)).unwrap_or(usize::MAX);
                    let next = (frame / u64::from(frames) + 1) * u64::from(frames);
                    let covered = u32::try_from(next.min(end) - frame).unwrap_or(0);
                    frame = next.min(end);
                    let (Some(left), Some(entry)) = (missing.get_mut(block), pushed.get(block)) else {
                        continue;
                    };
                    *left = left.saturating_sub(covered);
                    if *left == 0 {
                        let entry = entry.load(Ordering::Acquire);
                        rounds.push((block, entry, now - entry));
                    }
                }
            }
        }
    }
    let gone = |missing: &Vec<u32>| {
        missing.iter().enumerate().filter(|(_, left)| **left > 0).map(|(block, _)| block).collect::<Vec<_>>()
    };
    (rounds, missing.iter().flat_map(gone).collect())
}
