//! What the tests share: runtimes in folders of their own, and the ends of rings that a plug-in would hold.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use audiocloud_rt::block_ring::{self, Epoch, Flags, Header, block_ring};
use audiocloud_rt::event::{self, Event, event_ring};
use audiocloud_rt::host_time;
use audiocloud_rt::wake::Waker;
use audiocloud_units::{Frames, MediaTime, Nanos, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{SessionId, StreamKey};
use audiocloud_wire::message::Purpose;

use crate::{
    Config, Handle, Link, Publication, PublishConfig, Runtime, SubscribeConfig, Subscription, random_stream,
};

/// Long enough for a machine that does much else.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn config(config_dir: &Path, runtime_dir: &Path, name: &str) -> Config {
    Config {
        name: name.to_owned(),
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        mdns: false,
        ..Config::in_folders(config_dir, runtime_dir)
    }
}

/// A machine: folders that two runtimes of one user share.
pub(super) struct Machine {
    pub(super) config: tempfile::TempDir,
    pub(super) runtime: tempfile::TempDir,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self { config: tempfile::tempdir().unwrap(), runtime: tempfile::tempdir().unwrap() }
    }

    pub(super) fn config(&self, name: &str) -> Config {
        config(self.config.path(), self.runtime.path(), name)
    }

    pub(super) fn start(&self, name: &str) -> Handle {
        Runtime::acquire_with(self.config(name)).unwrap()
    }
}

/// Waits until `done`; fails with `what` when that takes forever.
pub(super) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "this did not happen: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A sample that says where it belongs, exact in 24 bits.
pub(super) fn sample(channel: usize, frame: u64) -> f32 {
    let value = (frame * 31 + u64::try_from(channel).unwrap() * 7919) % 8_388_608;
    let value = i32::try_from(value).unwrap();
    #[allow(clippy::cast_precision_loss, reason = "23 bits fit")]
    let value = value as f32;
    value / 8_388_608.0 - 0.5
}

/// A Send without a host.
pub(super) struct Sender {
    pub(super) publication: Publication,
    blocks: block_ring::Producer,
    pub(super) events: event::Producer,
    waker: Waker,
    pub(super) header: Header,
}

impl Sender {
    pub(super) fn new(handle: &Handle, channels: u16, frames: u32, codec: Codec) -> Self {
        let claim = handle.claim(random_stream()).unwrap();
        Self::with_claim(handle, claim, channels, frames, codec)
    }

    pub(super) fn with_claim(
        handle: &Handle,
        claim: crate::Claim,
        channels: u16,
        frames: u32,
        codec: Codec,
    ) -> Self {
        Self::for_members(handle, claim, (channels, frames, codec), (None, Purpose::Play))
    }

    /// In a session.
    pub(super) fn for_members(
        handle: &Handle,
        claim: crate::Claim,
        (channels, frames, codec): (u16, u32, Codec),
        (session, purpose): (Option<SessionId>, Purpose),
    ) -> Self {
        let size = usize::try_from(frames).unwrap() * usize::from(channels) * 64;
        let (blocks, blocks_out) = block_ring(64, size);
        let (events, events_out) = event_ring(256);
        let sample_rate = SampleRate::new(48_000).unwrap();
        let config = PublishConfig {
            name: "Bass".to_owned(),
            sample_rate,
            channels,
            codec,
            codecs: Codec::ALL.to_vec(),
            bitrate_max_bps: 0,
            max_block: frames,
            session,
            purpose,
        };
        let report = Box::new(|| serde_json::json!({ "from": "sender" }));
        let publication = handle.publish(claim, config, blocks_out, events_out, report);
        let header = Header {
            epoch: Epoch(77),
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
        Self { publication, blocks, events, waker: handle.waker(), header }
    }

    pub(super) fn key(&self, handle: &Handle) -> StreamKey {
        StreamKey::new(handle.device(), self.publication.stream())
    }

    /// One callback.
    pub(super) fn block(&mut self) {
        self.header.host_time = host_time::now();
        let start = self.header.start.get();
        let pushed = self.blocks.try_push(&self.header, |channel, from, out| {
            for (frame, out) in out.iter_mut().enumerate() {
                *out = sample(channel, start + u64::try_from(from + frame).unwrap());
            }
        });
        pushed.unwrap();
        self.waker.wake();
        self.header.start += Frames::new(i64::from(self.header.frames));
        self.header.flags = Flags::NONE;
    }
}

/// A Receive without a host.
pub(super) struct Receiver {
    pub(super) subscription: Subscription,
    pub(super) blocks: block_ring::Consumer,
    pub(super) events: event::Consumer,
}

impl Receiver {
    pub(super) fn new(handle: &Handle, key: StreamKey) -> Self {
        let (blocks, blocks_out) = block_ring(4096, 1 << 20);
        let (events, events_out) = event_ring(256);
        let report = Box::new(|| serde_json::json!({ "from": "receiver" }));
        let subscription = handle.subscribe(SubscribeConfig::new(key), blocks, events, report);
        Self { subscription, blocks: blocks_out, events: events_out }
    }

    pub(super) fn until_live(&self) {
        until("the subscription is live", || self.subscription.status().link == Link::Live);
    }

    /// Takes blocks, checks each sample, and returns how many samples there were.
    pub(super) fn check_blocks(&mut self) -> usize {
        let mut count = 0;
        while let Some(samples) = self.blocks.try_pop(|header, samples| {
            for channel in 0..usize::from(header.channels) {
                for frame in 0..header.frame_count() {
                    let at = header.start.get() + u64::try_from(frame).unwrap();
                    let expected = sample(channel + usize::from(header.first_channel), at);
                    let found = samples.get(channel, frame);
                    assert_eq!(found.to_bits(), expected.to_bits(), "channel {channel}, frame {at}");
                }
            }
            header.samples()
        }) {
            count += samples;
        }
        count
    }

    /// Takes blocks, and returns which frames they are: first, and after the last.
    pub(super) fn frames(&mut self) -> Vec<(u64, u64)> {
        let range = |header: &Header, _: block_ring::Samples<'_>| {
            (header.start.get(), header.start.get() + u64::from(header.frames))
        };
        std::iter::from_fn(|| self.blocks.try_pop(range)).collect()
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.pop().ok()).collect()
    }
}

/// Waits until the publisher knows of this many subscribers.
pub(super) fn until_subscribed(sender: &Sender, count: usize) {
    until("the publisher has its subscribers", || sender.publication.status().subscribers == count);
}
