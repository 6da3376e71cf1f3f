//! The sending half: what a callback brings, as a stream.

use std::sync::Arc;

use anyhow::Context;
use audiocloud_engine::rt::block_ring::{Epoch, block_ring};
use audiocloud_engine::rt::callback::Callback;
use audiocloud_engine::rt::event::event_ring;
use audiocloud_engine::rt::snapshot;
use audiocloud_engine::stream::sender::{self, Tap};
use audiocloud_engine::units::SessionLine;
use audiocloud_net::runtime::clock::Clock;
use audiocloud_net::runtime::{ClaimError, Handle, Publication, PublishConfig};
use audiocloud_net::wire::codec::Codec;
use audiocloud_net::wire::id::{SessionId, StreamId, StreamKey};
use audiocloud_net::wire::message::Purpose;
use serde_json::{Value, json};

use super::{EVENTS, Process, Shape};

/// Opus runs at these rates alone.
const OPUS_RATES_HZ: [u32; 2] = [44_100, 48_000];

/// A stream on the air until it is dropped.
pub(super) struct OnAir {
    publication: Publication,
    tap: snapshot::Reader<sender::Status>,
    key: StreamKey,
    /// Kept, for without a user it stands still.
    _clock: Clock,
}

/// The callback's end.
pub(super) struct Feed {
    tap: Tap,
    line: snapshot::Reader<Option<SessionLine>>,
}

/// Begins a stream. One of the same name on the same device is the same stream whenever it is begun again.
pub(super) fn publish(
    handle: &Handle,
    name: &str,
    shape: &Shape,
    session: Option<SessionId>,
) -> anyhow::Result<(OnAir, Feed)> {
    let claim = match handle.claim(stream_of(handle, name)) {
        Err(ClaimError::Taken) => handle.claim(handle.random_stream()),
        claim => claim,
    };
    let claim = claim.context("the stream cannot be named")?;
    let (blocks, samples) = shape.ring();
    let (block_producer, block_consumer) = block_ring(blocks, samples);
    let (event_producer, event_consumer) = event_ring(EVENTS);
    let config = sender::Config { sample_rate: shape.sample_rate, channels: shape.channels };
    let tap = Tap::new(config, block_producer, event_producer, handle.waker(), epoch(handle));
    let status = tap.status();
    let clock = handle.clock(session);
    let feed = Feed { tap, line: clock.line() };
    let has_opus = OPUS_RATES_HZ.contains(&shape.sample_rate.hz());
    let config = PublishConfig {
        name: name.to_owned(),
        sample_rate: shape.sample_rate,
        channels: shape.channels,
        codec: Codec::PcmF32,
        codecs: Codec::ALL.into_iter().filter(|codec| has_opus || *codec != Codec::Opus).collect(),
        bitrate_max_bps: 0,
        max_block: shape.block_max,
        session,
        purpose: Purpose::default(),
    };
    let key = StreamKey::new(handle.device(), claim.stream());
    let shown = status.clone();
    let report = Box::new(move || {
        let tap = shown.read();
        json!({ "kind": "send", "blocks": tap.blocks, "blocks_dropped": tap.blocks_dropped })
    });
    let publication = handle.publish(claim, config, block_consumer, event_consumer, report);
    Ok((OnAir { publication, tap: status, key, _clock: clock }, feed))
}

/// The stream that this name stands for on this device.
fn stream_of(handle: &Handle, name: &str) -> StreamId {
    let mut material = handle.device().0.to_vec();
    material.extend_from_slice(name.as_bytes());
    let hash =
        blake3::derive_key("audiocloud 2026-11 stream of audiocloud send, by device and name", &material);
    let [a, b, c, d, e, f, g, h, ..] = hash;
    StreamId(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

/// One that no earlier one is likely to equal.
fn epoch(handle: &Handle) -> Epoch {
    let [a, b, c, d, ..] = handle.random_stream().0.to_le_bytes();
    Epoch(u32::from_le_bytes([a, b, c, d]))
}

impl OnAir {
    pub(super) fn key(&self) -> StreamKey {
        self.key
    }

    pub(super) fn listeners(&self) -> usize {
        self.publication.status().subscribers
    }

    /// Why the members of its session do not hear it: cause and remedy.
    pub(super) fn trouble(&self) -> Option<String> {
        self.publication.status().trouble
    }

    /// What became of it.
    pub(super) fn figures(&self) -> Value {
        let tap = self.tap.read();
        json!({ "frames": tap.frames, "frames_dropped": tap.frames_dropped, "listeners": self.listeners() })
    }
}

impl Feed {
    /// Sends a block. *Realtime-safe: yes.*
    pub(super) fn send<C: AsRef<[f32]>>(&mut self, callback: &Callback<'_>, input: &[C]) {
        self.tap.process(callback, input, self.line.read());
    }
}

impl Process for Feed {
    fn process(&mut self, callback: &Callback<'_>, input: &[&[f32]], output: &mut [&mut [f32]]) {
        self.send(callback, input);
        output.iter_mut().for_each(|channel| channel.fill(0.0));
    }
}

/// For a source that is looked at from two threads.
pub(super) type Shared = Arc<OnAir>;
