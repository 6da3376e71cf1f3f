//! A Remote FX without its host: a runtime's ends of one chain, fed with noise. Where the transfer is exact, nothing is ever
//! late.

use std::time::{Duration, Instant};

use audiocloud_e2e::Stage;
use audiocloud_net::runtime::{
    Config, Handle, Runtime,
    remote::{NodeChoice, PlugEnds, Remote, RemoteConfig, RemoteState, Transfer},
};
use audiocloud_rt::{
    block_ring::{self, Epoch, Flags, Header},
    chain_event::{self, ChainBody, ChainEvent},
    event, host_time,
};
use audiocloud_units::{MediaTime, Nanos, SampleRate};

pub(crate) const FRAMES: u32 = 128;
pub(crate) const RATE_HZ: u32 = 48_000;
/// Who owns the chains.
pub(crate) const OWNER: &str = "Ada";
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Insert {
    pub(crate) handle: Handle,
    pub(crate) remote: Remote,
    blocks: block_ring::Producer,
    events: chain_event::Producer,
    back: block_ring::Consumer,
    _back_events: event::Consumer,
    pushed: u64,
    /// What came back, of the first channel.
    pub(crate) got: Vec<f32>,
}

impl Insert {
    /// Waits until a node plays the chain.
    pub(crate) fn new(stage: &Stage, name: &str, document: Vec<u8>, transfer: Transfer) -> Self {
        let mut config = Config::in_folders(&stage.world.config, &stage.world.runtime);
        (config.mdns, config.name) = (false, OWNER.to_owned());
        let handle = Runtime::acquire_with(config).unwrap();
        let (blocks, blocks_out) = block_ring::block_ring(64, 1 << 16);
        let (events, events_out) = chain_event::chain_event_ring(64);
        let (back_in, back) = block_ring::block_ring(1024, 1 << 18);
        let (back_events_in, back_events) = event::event_ring(64);
        let config = RemoteConfig {
            name: name.to_owned(),
            session: None,
            node: NodeChoice::Automatic,
            sample_rate: SampleRate::new(RATE_HZ).unwrap(),
            inputs: 2,
            side_chain: 0,
            outputs: 2,
            block_frames_max: FRAMES,
            patience: Nanos::from_micros(100_000),
            transfer,
            document,
        };
        let ends =
            PlugEnds { blocks: blocks_out, events: events_out, back: back_in, back_events: back_events_in };
        let remote = handle.remote(config, ends);
        let insert = Self {
            handle,
            remote,
            blocks,
            events,
            back,
            _back_events: back_events,
            pushed: 0,
            got: Vec::new(),
        };
        insert.wait_until_live();
        insert
    }

    pub(crate) fn wait_until_live(&self) {
        until("a node that plays the chain", || {
            (self.remote.status().state == RemoteState::Live).then_some(())
        });
    }

    /// The next block; whether there was room.
    pub(crate) fn push(&mut self) -> bool {
        let start = self.pushed * u64::from(FRAMES);
        let header = Header {
            epoch: Epoch(1),
            sample_rate: SampleRate::new(RATE_HZ).unwrap(),
            start: MediaTime::new(start),
            frames: FRAMES,
            first_channel: 0,
            channels: 2,
            stream_channels: 2,
            host_time: host_time::now(),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        let fill = |channel: usize, from: usize, samples: &mut [f32]| {
            for (frame, sample) in (start + u64::try_from(from).unwrap()..).zip(samples) {
                *sample = noise(channel, frame);
            }
        };
        let pushed = self.blocks.try_push(&header, fill).is_ok();
        self.pushed += u64::from(pushed);
        self.handle.waker().wake();
        pushed
    }

    /// Sends up to `blocks` blocks in all, and takes what is back; whether all but what is late is.
    pub(crate) fn play(&mut self, blocks: u64, late: usize) -> bool {
        while self.pushed < blocks && self.push() {}
        loop {
            let next = u64::try_from(self.got.len()).unwrap();
            let taken = self.back.try_pop(|header, samples| {
                assert_eq!((header.epoch, header.start.get()), (Epoch(1), next), "a gap in what comes back");
                let (one, two) = samples.channel(0);
                [one, two].concat()
            });
            let Some(samples) = taken else { break };
            self.got.extend(samples);
        }
        self.got.len() + late >= usize::try_from(blocks * u64::from(FRAMES)).unwrap()
    }

    /// Whatever came back is nobody's business.
    pub(crate) fn forget_answers(&mut self) {
        while self.back.try_pop(|_, _| ()).is_some() {}
    }

    /// A parameter of an effect, from a block on that is not sent yet.
    pub(crate) fn set(&mut self, effect: u32, parameter: u32, value: f32) {
        let body = ChainBody::Parameter { effect, parameter, value, ramp_frames: None };
        let time = MediaTime::new(self.pushed * u64::from(FRAMES));
        self.events.push(ChainEvent { epoch: Epoch(1), time, body }).unwrap();
    }

    pub(crate) fn report(&self) -> String {
        String::from_utf8_lossy(&self.remote.status().node_report).into_owned()
    }
}

/// Seeded noise by channel and frame.
pub(crate) fn noise(channel: usize, frame: u64) -> f32 {
    let seed = frame.wrapping_mul(2).wrapping_add(u64::try_from(channel).unwrap());
    let mixed = (seed ^ (seed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = u32::try_from((mixed ^ (mixed >> 29)) >> 32 & 0x007f_ffff).unwrap();
    f32::from_bits(0x3f80_0000 | bits) - 1.5
}

/// Waits until there is something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
