//! A plug-in without a host, and a node whose chains have one effect: a gain.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use audiocloud_rt::block_ring::{self, Epoch, Flags, Header, block_ring};
use audiocloud_rt::chain_event::{self, ChainBody, ChainEvent, chain_event_ring};
use audiocloud_rt::event::{self, Event, event_ring};
use audiocloud_rt::host_time;
use audiocloud_rt::wake::Waker;
use audiocloud_units::{Frames, MediaTime, Nanos, SampleRate};

use crate::remote::{
    Capacity, Host, NodeChoice, NodeEnds, OpenRequest, PlugEnds, Remote, RemoteConfig, RemoteState,
    ServedChain, Serving, Transfer,
};
use crate::status::lock;
use crate::tests::rig::{Machine, sample, until};
use crate::{Handle, Runtime};

/// Of a block.
pub(super) const FRAMES: u32 = 128;

/// The one parameter of the one effect.
pub(super) struct Gain;
pub(super) const GAIN: Gain = Gain;

impl Gain {
    pub(super) fn set_to(&self, value: f32) -> ChainBody {
        ChainBody::Parameter { effect: 1, parameter: 2, value, ramp_frames: Some(0) }
    }
}

pub(super) fn config() -> RemoteConfig {
    RemoteConfig {
        name: "Vox".to_owned(),
        session: None,
        node: NodeChoice::Automatic,
        sample_rate: SampleRate::new(48_000).unwrap(),
        inputs: 2,
        side_chain: 1,
        outputs: 2,
        block_frames_max: FRAMES,
        patience: Nanos::from_millis(50),
        transfer: Transfer::Live,
        document: b"first".to_vec(),
    }
}

/// A plug-in.
pub(super) struct PlugIn {
    pub(super) remote: Remote,
    blocks: block_ring::Producer,
    events: chain_event::Producer,
    back_blocks: block_ring::Consumer,
    back_events: event::Consumer,
    waker: Waker,
    header: Header,
    /// Frames that went there, and that came back without a gap.
    pub(super) sent: u64,
    pub(super) back: u64,
}

impl PlugIn {
    pub(super) fn new(handle: &Handle, config: RemoteConfig) -> Self {
        Self::with_rings(handle, config, 256)
    }

    /// With rings that hold so many blocks.
    pub(super) fn with_rings(handle: &Handle, config: RemoteConfig, size: usize) -> Self {
        let channels = config.inputs + config.side_chain;
        let samples = |channels: u16| size * usize::try_from(FRAMES).unwrap() * usize::from(channels);
        let (blocks, blocks_out) = block_ring(size, samples(channels));
        let (events, events_out) = chain_event_ring(1024);
        let (back, back_out) = block_ring(4 * size, samples(config.outputs));
        let (back_events, back_events_out) = event_ring(256);
        let header = Header {
            epoch: Epoch(9),
            sample_rate: config.sample_rate,
            start: MediaTime::new(0),
            frames: FRAMES,
            first_channel: 0,
            channels,
            stream_channels: channels,
            host_time: host_time::now(),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        let ends = PlugEnds { blocks: blocks_out, events: events_out, back, back_events };
        Self {
            remote: handle.remote(config, ends),
            blocks,
            events,
            back_blocks: back_out,
            back_events: back_events_out,
            waker: handle.waker(),
            header,
            sent: 0,
            back: 0,
        }
    }

    pub(super) fn until_live(&self) {
        until("a node runs the chain", || self.remote.status().state == RemoteState::Live);
    }

    /// One callback; whether there was room.
    pub(super) fn try_block(&mut self) -> bool {
        self.header.host_time = host_time::now();
        let start = self.sent;
        let pushed = self.blocks.try_push(&self.header, |channel, from, out| {
            for (frame, out) in out.iter_mut().enumerate() {
                *out = sample(channel, start + u64::try_from(from + frame).unwrap());
            }
        });
        self.waker.wake();
        if pushed.is_ok() {
            self.header.start += Frames::new(FRAMES.into());
            self.sent += u64::from(FRAMES);
        }
        pushed.is_ok()
    }

    pub(super) fn block(&mut self) {
        assert!(self.try_block(), "the ring is full");
    }

    /// To be pushed before its block.
    pub(super) fn event(&mut self, frame: u64, body: ChainBody) {
        assert!(self.try_event(frame, body), "the ring is full");
    }

    /// Whether there was room.
    pub(super) fn try_event(&mut self, frame: u64, body: ChainBody) -> bool {
        let event = ChainEvent { epoch: self.header.epoch, time: MediaTime::new(frame), body };
        self.events.push(event).is_ok()
    }

    /// Takes what came back, and checks each sample.
    pub(super) fn check(&mut self, gain: f32) {
        self.check_with(|_| gain);
    }

    pub(super) fn check_with(&mut self, gain: impl Fn(u64) -> f32) {
        while self
            .back_blocks
            .try_pop(|header, samples| {
                assert_eq!(header.start.get(), self.back, "nothing is missing");
                assert_eq!(header.channels, 2);
                for channel in 0..2 {
                    for frame in 0..header.frame_count() {
                        let at = self.back + u64::try_from(frame).unwrap();
                        let expected = sample(channel, at) * gain(at);
                        let found = samples.get(channel, frame);
                        assert_eq!(found.to_bits(), expected.to_bits(), "channel {channel}, frame {at}");
                    }
                }
                self.back += u64::from(header.frames);
            })
            .is_some()
        {}
    }

    /// Takes what came back, whatever is missing. The frames after the last.
    pub(super) fn skip(&mut self) -> u64 {
        while self
            .back_blocks
            .try_pop(|header, _| self.back = header.start.get() + u64::from(header.frames))
            .is_some()
        {}
        self.back
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.back_events.pop().ok()).collect()
    }
}

/// A node.
pub(super) struct Node {
    pub(super) handle: Handle,
    pub(super) serving: Serving,
    pub(super) host: Arc<GainHost>,
}

impl Node {
    pub(super) fn start(machine: &Machine, name: &str) -> Self {
        Self::on(Runtime::acquire_with(machine.config(name)).unwrap())
    }

    pub(super) fn on(handle: Handle) -> Self {
        let host = Arc::new(GainHost::default());
        let serving = handle.serve(Arc::clone(&host) as Arc<dyn Host>);
        Self { handle, serving, host }
    }
}

/// What a node plays chains with.
#[derive(Default)]
pub(super) struct GainHost {
    state: Arc<State>,
    refusal: Mutex<Option<String>>,
    pub(super) head_room_permille: AtomicUsize,
}

#[derive(Default)]
struct State {
    documents: Mutex<Vec<Vec<u8>>>,
    /// To be told, one each time that it is asked.
    states: Mutex<VecDeque<Vec<u8>>>,
    open: AtomicUsize,
    /// Takes nothing, and gives nothing back.
    stalled: AtomicBool,
    /// Rests between two blocks, so that rings become full.
    is_slow: AtomicBool,
}

impl GainHost {
    pub(super) fn documents(&self) -> Vec<Vec<u8>> {
        lock(&self.state.documents).clone()
    }

    pub(super) fn tell(&self, states: Vec<u8>) {
        lock(&self.state.states).push_back(states);
    }

    pub(super) fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    pub(super) fn refuse(&self, why: Option<&str>) {
        *lock(&self.refusal) = why.map(str::to_owned);
    }

    pub(super) fn stall(&self, on: bool) {
        self.state.stalled.store(on, Ordering::SeqCst);
    }

    pub(super) fn slow(&self) {
        self.state.is_slow.store(true, Ordering::SeqCst);
    }
}

impl Host for GainHost {
    fn open(&self, request: OpenRequest) -> Result<Box<dyn ServedChain>, String> {
        if let Some(why) = &*lock(&self.refusal) {
            return Err(why.clone());
        }
        lock(&self.state.documents).push(request.document.clone());
        self.state.open.fetch_add(1, Ordering::SeqCst);
        let ended = Arc::new(AtomicBool::new(false));
        let (state, over) = (Arc::clone(&self.state), Arc::clone(&ended));
        let outputs = request.outputs;
        let worker = std::thread::spawn(move || play(request.ends, outputs, &state, &over));
        let document = request.document;
        Ok(Box::new(GainChain { state: Arc::clone(&self.state), document, ended, worker: Some(worker) }))
    }

    fn capacity(&self) -> Capacity {
        let head_room_permille = match self.head_room_permille.load(Ordering::SeqCst) {
            0 => 500,
            set => u16::try_from(set).unwrap(),
        };
        let chains = u16::try_from(self.open()).unwrap();
        Capacity { chains, chains_max: 8, head_room_permille, workers: 1, ..Capacity::default() }
    }
}

struct GainChain {
    state: Arc<State>,
    document: Vec<u8>,
    ended: Arc<AtomicBool>,
    worker: Option<std::thread::JoinHandle<()>>,
}

impl ServedChain for GainChain {
    fn set_document(&mut self, document: &[u8]) {
        self.document = document.to_vec();
        lock(&self.state.documents).push(document.to_vec());
    }

    fn report(&mut self) -> Vec<u8> {
        format!("{{\"played\":\"{}\"}}", String::from_utf8_lossy(&self.document)).into_bytes()
    }

    fn states(&mut self) -> Option<Vec<u8>> {
        lock(&self.state.states).pop_front()
    }
}

impl Drop for GainChain {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        self.worker.take().unwrap().join().unwrap();
        self.state.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The worker: copies the main channels, with the gain that events set.
fn play(mut ends: NodeEnds, outputs: u16, state: &State, ended: &AtomicBool) {
    let mut gain = 1.0;
    let mut waiting: VecDeque<ChainEvent> = VecDeque::new();
    while !ended.load(Ordering::SeqCst) {
        ends.due.wait(Duration::from_millis(5));
        while !state.stalled.load(Ordering::SeqCst)
            && let Some(header) = ends.blocks.peek()
            && ends.back.has_room(header.frame_count() * usize::from(outputs))
        {
            let out = Header { channels: outputs, stream_channels: outputs, ..header };
            waiting.extend(std::iter::from_fn(|| ends.events.pop().ok()));
            let mut gains = vec![gain; header.frame_count()];
            while let Some(event) = waiting.front().copied() {
                let offset = event.time.get().saturating_sub(header.start.get());
                let Some(rest) = usize::try_from(offset).ok().and_then(|at| gains.get_mut(at..)) else {
                    break;
                };
                waiting.pop_front();
                match event.body {
                    ChainBody::Parameter { value, .. } => {
                        gain = value;
                        rest.fill(value);
                    }
                    ChainBody::Voice(body) => {
                        ends.back_events.push(Event { epoch: event.epoch, time: event.time, body }).unwrap();
                    }
                    _ => {}
                }
            }
            ends.blocks.try_pop(|_, samples| {
                let copied = ends.back.try_push(&out, |channel, from, out| {
                    for (frame, out) in out.iter_mut().enumerate() {
                        *out = samples.get(channel, from + frame) * gains[from + frame];
                    }
                });
                copied.unwrap();
            });
            ends.waker.wake();
            if state.is_slow.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }
}
