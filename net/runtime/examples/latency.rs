//! One way over the loopback: from a callback's wake to the block in the ring of another runtime.
//!
//! `cargo run -p audiocloud-runtime --example latency -- [SECONDS] [FRAMES] [CHANNELS]`: prints median, 99th percentile
//! and maximum in microseconds, of first packets of blocks, at 48 kHz, paced in real time.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use audiocloud_rt::block_ring::{Epoch, Flags, Header, block_ring};
use audiocloud_rt::event::event_ring;
use audiocloud_rt::{host_time, priority};
use audiocloud_runtime::{Config, Link, PublishConfig, Runtime, SubscribeConfig, random_stream};
use audiocloud_units::{Frames, MediaTime, Nanos, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::StreamKey;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let seconds = arguments.next().transpose()?.unwrap_or(10);
    let frames = arguments.next().transpose()?.unwrap_or(128);
    let channels = u16::try_from(arguments.next().transpose()?.unwrap_or(2))?;
    let folder = tempfile::tempdir()?;
    let mut config = Config::in_folders(&folder.path().join("config"), &folder.path().join("runtime"));
    config.mdns = false;
    config.bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (one, two) = (Runtime::acquire_with(config.clone())?, Runtime::acquire_with(config)?);
    let sample_rate = SampleRate::new(48_000).ok_or("a rate")?;
    let stream = random_stream();
    let publish = PublishConfig {
        name: "latency".into(),
        sample_rate,
        channels,
        codec: Codec::PcmF32,
        codecs: Vec::new(),
        bitrate_max_bps: 0,
        max_block: frames,
        session: None,
        purpose: audiocloud_wire::message::Purpose::Play,
    };
    let room = usize::try_from(frames)? * usize::from(channels) * 64;
    let (mut blocks, blocks_out) = block_ring(64, room);
    let (_events, events_out) = event_ring(16);
    let report = || Box::new(|| serde_json::Value::Null);
    let publication = one.publish(one.claim(stream)?, publish, blocks_out, events_out, report());
    let (received_in, mut received) = block_ring(1 << 14, 1 << 21);
    let (events_in, _received_events) = event_ring(16);
    let subscription = two.subscribe(
        SubscribeConfig::new(StreamKey::new(one.device(), stream)),
        received_in,
        events_in,
        report(),
    );
    while subscription.status().link != Link::Live || publication.status().subscribers == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let waker = one.waker();
    let period = Duration::from_nanos(u64::from(frames) * 1_000_000_000 / 48_000);
    let count = u64::from(seconds) * 48_000 / u64::from(frames);
    let callback = std::thread::spawn(move || {
        if let Err(error) = priority::realtime(80) {
            eprintln!("no real-time scheduling: {error}");
        }
        let mut header = Header {
            epoch: Epoch(1),
            sample_rate,
            start: MediaTime::new(0),
            frames,
            first_channel: 0,
            channels,
            stream_channels: channels,
            host_time: host_time::now(),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        let mut sent = Vec::new();
        let mut late = Duration::ZERO;
        let mut next = Instant::now();
        for _ in 0..count {
            next += period;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            late = late.max(Instant::now().saturating_duration_since(next));
            header.host_time = host_time::now();
            sent.push(header.host_time);
            if blocks.try_push(&header, |_, _, out| out.fill(0.25)).is_err() {
                eprintln!("the ring is full");
            }
            waker.wake();
            header.start += Frames::new(i64::from(frames));
        }
        (sent, late)
    });
    let mut arrivals = Vec::new();
    let mut finished = false;
    while !finished {
        finished = callback.is_finished();
        while let Some(arrival) = received.try_pop(|header, _| (header.start.get(), header.host_time)) {
            arrivals.push(arrival);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let (sent, late) = callback.join().map_err(|_| "the callback panicked")?;
    println!("the callback itself was late by at most {} µs", late.as_micros());
    let mut micros: Vec<i64> = arrivals
        .iter()
        .filter(|(start, _)| start % u64::from(frames) == 0)
        .filter_map(|(start, at)| {
            let index = usize::try_from(start / u64::from(frames)).ok()?;
            Some((*at - *sent.get(index)?).get() / 1000)
        })
        .collect();
    let mut slowest: Vec<_> = micros.iter().copied().enumerate().collect();
    slowest.sort_unstable_by_key(|(_, micros)| -micros);
    slowest.truncate(5);
    println!("slowest (block, µs): {slowest:?}");
    micros.sort_unstable();
    let at = |per_mille: usize| micros.get((micros.len() * per_mille / 1000).min(micros.len().max(1) - 1));
    println!(
        "{} of {count} blocks: p50 {:?} µs, p99 {:?} µs, max {:?} µs",
        micros.len(),
        at(500),
        at(990),
        micros.last()
    );
    println!("{:?}", publication.status().figures);
    println!("{:?}", subscription.status().figures);
    drop((publication, subscription));
    Ok(())
}
