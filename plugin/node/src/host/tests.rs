//! A node's hosting against racks that are played by hand: no network, real threads.

use std::time::{Duration, Instant};

use audiocloud_engine::chain::document::Chain;
use audiocloud_engine::chain::edit::{Edit, Place};
use audiocloud_engine::chain::foreign::NoForeign;
use audiocloud_engine::chain::rack::{RackCall, RackSetup, rack};
use audiocloud_engine::graph::renderer::Ports;
use audiocloud_engine::rt::block_ring::{self, Epoch, Flags, Header};
use audiocloud_engine::rt::chain_event::{self, ChainBody, ChainEvent};
use audiocloud_engine::rt::wake::{WakeReceiver, Waker, wake_pair};
use audiocloud_engine::rt::{callback, event};
use audiocloud_engine::units::{HostTime, MediaTime, Nanos, SampleRate};
use audiocloud_net::runtime::remote::{ChainKey, Host, NodeEnds, OpenRequest, ServedChain, Transfer, Who};
use audiocloud_net::wire::id::{ChainId, DeviceId, UserId};

use super::*;

mod edits;

const RATE: SampleRate = match SampleRate::new(48_000) {
    Some(rate) => rate,
    None => panic!("a rate"),
};
const PATIENCE: Duration = Duration::from_secs(20);

/// The network's ends of a chain's rings.
struct Far {
    blocks: block_ring::Producer,
    events: chain_event::Producer,
    back: block_ring::Consumer,
    back_events: event::Consumer,
    due: Waker,
    woken: WakeReceiver,
}

fn document(kinds: &[&str]) -> Chain {
    let mut chain = Chain::default();
    for kind in kinds {
        chain.apply(&Edit::Add { at: Place::END, kind: (*kind).to_owned() }).unwrap();
    }
    chain
}

fn request(document: &[u8], transfer: Transfer, back_blocks: usize) -> (OpenRequest, Far) {
    let (blocks_in, blocks) = block_ring::block_ring(256, 1 << 16);
    let (events_in, events) = chain_event::chain_event_ring(64);
    let (back, back_out) = block_ring::block_ring(back_blocks, 1 << 16);
    let (back_events, back_events_out) = event::event_ring(64);
    let (due_waker, due) = wake_pair().unwrap();
    let (waker, woken) = wake_pair().unwrap();
    let ends = NodeEnds { blocks, events, back, back_events, waker, due };
    let device = DeviceId([7; 32]);
    let request = OpenRequest {
        who: Who { device, user: UserId([8; 32]), name: "Ada".to_owned() },
        key: ChainKey { device, chain: ChainId(5) },
        name: "Vocals".to_owned(),
        session: None,
        sample_rate: RATE,
        inputs: 2,
        side_chain: 0,
        outputs: 2,
        block_frames_max: 128,
        transfer,
        document: document.to_vec(),
        ends,
    };
    let far = Far {
        blocks: blocks_in,
        events: events_in,
        back: back_out,
        back_events: back_events_out,
        due: due_waker,
        woken,
    };
    (request, far)
}

fn hosting(change: impl FnOnce(&mut HostSettings)) -> Hosting {
    let mut settings = HostSettings { plugins: false, priority: 0, load_max: 1.0, ..HostSettings::default() };
    change(&mut settings);
    let mut hosting = Hosting::new(settings, PlugIns::default());
    // However slow and busy the machine is that the tests run on.
    hosting.room.cores = 1_000;
    hosting
}

/// Seeded noise by channel and frame, as a function: whoever asks gets the same.
fn noise(channel: usize, frame: u64) -> f32 {
    let seed = frame.wrapping_mul(2).wrapping_add(u64::try_from(channel).unwrap());
    let mixed = (seed ^ (seed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = u32::try_from((mixed ^ (mixed >> 29)) >> 32 & 0x007f_ffff).unwrap();
    f32::from_bits(0x3f80_0000 | bits) - 1.5
}

impl Far {
    fn push(&mut self, epoch: u32, start: u64, frames: u32) {
        let header = Header {
            epoch: Epoch(epoch),
            sample_rate: RATE,
            start: MediaTime::new(start),
            frames,
            first_channel: 0,
            channels: 2,
            stream_channels: 2,
            host_time: HostTime::new(0),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        let fill = |channel: usize, from: usize, samples: &mut [f32]| {
            for (index, sample) in samples.iter_mut().enumerate() {
                *sample = noise(channel, start + u64::try_from(from + index).unwrap());
            }
        };
        self.blocks.try_push(&header, fill).unwrap();
        self.due.wake();
    }

    fn tell(&mut self, epoch: u32, time: u64, body: ChainBody) {
        self.events.push(ChainEvent { epoch: Epoch(epoch), time: MediaTime::new(time), body }).unwrap();
    }

    /// What comes back: its first frame, and the left channel.
    fn next(&mut self) -> (u32, u64, Vec<f32>) {
        let began = Instant::now();
        loop {
            let popped = self.back.try_pop(|header, samples| {
                assert_eq!((header.channels, header.sample_rate), (2, RATE));
                let (one, two) = samples.channel(0);
                (header.epoch.0, header.start.get(), [one, two].concat())
            });
            if let Some(popped) = popped {
                self.due.wake();
                return popped;
            }
            self.woken.wait(Duration::from_millis(20));
            assert!(began.elapsed() < PATIENCE, "nothing comes back");
        }
    }

    /// So many frames in a row; what answers them begins at the frame that is returned.
    fn collect(&mut self, frames: usize) -> (u64, Vec<f32>) {
        let (_, first, mut all) = self.next();
        while all.len() < frames {
            let (_, start, more) = self.next();
            assert_eq!(start, first + u64::try_from(all.len()).unwrap(), "a gap in what comes back");
            all.extend(more);
        }
        (first, all)
    }
}

/// The same chain in the caller's hands, in blocks of its own.
struct Own {
    start: u64,
    output: Vec<f32>,
}

impl Ports for Own {
    fn read(&mut self, bus: usize, channel: usize, from: usize, samples: &mut [f32]) {
        assert_eq!(bus, 0);
        for (index, sample) in samples.iter_mut().enumerate() {
            *sample = noise(channel, self.start + u64::try_from(from + index).unwrap());
        }
    }

    fn write(&mut self, _bus: usize, channel: usize, _from: usize, samples: &[f32]) {
        if channel == 0 {
            self.output.extend_from_slice(samples);
        }
    }
}

/// What a rack gives from `start` on, with events at frames; its latency is cut off the beginning.
fn played(chain: &Chain, start: u64, frames: usize, events: &[(u64, ChainBody)]) -> Vec<f32> {
    let setup = RackSetup { sample_rate: RATE, inputs: 2, side_chain: 0, outputs: 2 };
    let (_control, mut audio) = rack(chain, &setup, Box::new(NoForeign)).unwrap();
    let mut own = Own { start, output: Vec::new() };
    callback::enter(|callback| audio.reset_at(callback, start));
    let latency = usize::try_from(audio.latency_frames()).unwrap();
    while own.output.len() < frames + latency {
        let end = own.start + 96;
        let due: Vec<(u32, ChainBody)> = events
            .iter()
            .filter(|(time, _)| (own.start..end).contains(time))
            .map(|(time, body)| (u32::try_from(time - own.start).unwrap(), *body))
            .collect();
        callback::enter(|callback| {
            let call = RackCall { callback, offline: false, transport: None, events: &due };
            audio.process(&call, 96, &mut own);
        });
        own.start = end;
    }
    own.output.drain(..latency);
    own.output.truncate(frames);
    own.output
}

fn bits(samples: &[f32]) -> Vec<u32> {
    samples.iter().map(|sample| sample.to_bits()).collect()
}

#[test]
fn a_worker_plays_what_a_rack_plays_under_the_frames_that_it_answers() {
    // The limiter has latency, so that what answers a frame comes later.
    let chain = document(&["eq", "compressor", "limiter"]);
    let hosting = hosting(|_| ());
    // A node that takes over in mid-stream: from frame 1000 on; the grid's next point is 1024.
    let (request, mut far) = request(&chain.to_json(), Transfer::Live, 256);
    let served = hosting.open(request).unwrap();
    let threshold = ChainBody::Parameter { effect: 1, parameter: 1, value: -40.0, ramp_frames: Some(100) };
    let bypass = ChainBody::Bypass { effect: 0, on: true };
    far.tell(3, 1_234, threshold);
    far.tell(3, 2_000, bypass);
    let mut start = 1_000;
    for frames in [24, 128, 1, 63, 100, 128, 128, 17].into_iter().cycle() {
        far.push(3, start, frames);
        start += u64::from(frames);
        if start > 6_000 {
            break;
        }
    }
    let expected = played(&chain, 1_024, 4_500, &[(1_234, threshold), (2_000, bypass)]);
    let (first, got) = far.collect(4_500);
    assert_eq!(first, 1_024);
    assert_eq!(bits(&got[..4_500]), bits(&expected));
    assert!(expected.iter().any(|sample| sample.abs() > 0.001), "silence proves nothing");
    drop(served);
    assert_eq!(hosting.chains(), 0);
}

#[test]
fn what_answers_the_first_frame_says_so_although_it_comes_later() {
    let chain = document(&["limiter"]);
    let hosting = hosting(|_| ());
    let (request, mut far) = request(&chain.to_json(), Transfer::Live, 256);
    let served = hosting.open(request).unwrap();
    // A block that is longer than the latency: its end answers its beginning.
    far.push(1, 0, 512);
    far.push(1, 512, 512);
    let (first, got) = far.collect(600);
    assert_eq!(first, 0);
    assert_eq!(bits(&got[..600]), bits(&played(&chain, 0, 600, &[])));
    drop(served);
}

#[test]
fn a_new_epoch_and_a_gap_begin_anew() {
    let chain = document(&["eq"]);
    let hosting = hosting(|_| ());
    let (request, mut far) = request(&chain.to_json(), Transfer::Live, 256);
    let served = hosting.open(request).unwrap();
    far.push(1, 0, 128);
    assert_eq!(far.next().1, 0);
    // An event of the epoch that is over must not reach the next one.
    far.tell(1, 500, ChainBody::Bypass { effect: 0, on: true });
    far.push(2, 64, 128);
    let (epoch, start, got) = far.next();
    assert_eq!((epoch, start), (2, 64));
    assert_eq!(bits(&got), bits(&played(&chain, 64, 128, &[])));
    // Frames 192 to 299 never come: from 320 on it is a new beginning.
    far.push(2, 300, 100);
    let (epoch, start, got) = far.next();
    assert_eq!((epoch, start, got.len()), (2, 320, 80));
    assert_eq!(bits(&got), bits(&played(&chain, 320, 80, &[])));
    drop(served);
}

#[test]
fn an_exact_transfer_loses_nothing_however_slowly_it_is_taken() {
    let chain = document(&["compressor"]);
    let hosting = hosting(|_| ());
    let (request, mut far) = request(&chain.to_json(), Transfer::Exact, 2);
    let served = hosting.open(request).unwrap();
    for block in 0..40 {
        far.push(1, block * 64, 64);
    }
    let (first, got) = far.collect(40 * 64);
    assert_eq!(first, 0);
    assert_eq!(bits(&got), bits(&played(&chain, 0, 40 * 64, &[])));
    drop(served);
}

#[test]
fn a_block_of_another_form_is_counted_and_costs_nothing_else() {
    let chain = document(&["eq"]);
    let hosting = hosting(|_| ());
    let (mut request, mut far) = request(&chain.to_json(), Transfer::Live, 256);
    request.side_chain = 2;
    let served = hosting.open(request).unwrap();
    // Two channels come where four were agreed.
    far.push(1, 0, 64);
    let began = Instant::now();
    while hosting.figures().chains[0].counters.misshapen == 0 {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!hosting.figures().chains[0].is_stuck);
    drop(served);
}

#[test]
fn who_is_refused_hears_why() {
    let chain = document(&["eq"]).to_json();
    let refused = |hosting: &Hosting, document: &[u8]| {
        hosting.open(request(document, Transfer::Live, 8).0).err().unwrap()
    };
    let full = hosting(|settings| settings.chains_max = 1);
    let _one = full.open(request(&chain, Transfer::Live, 8).0).unwrap();
    assert!(refused(&full, &chain).contains("runs 1 chains"));
    full.tell(&json!({ "quality": "good", "bound_ns": 9_001 }));
    let details: Value = serde_json::from_slice(&full.capacity().details).unwrap();
    assert_eq!(
        (&details["clock"]["bound_us"], &details["architecture"]),
        (&16.into(), &std::env::consts::ARCH.into())
    );
    assert_eq!((full.capacity().chains, full.figures().refused_full, full.figures().opened), (1, 1, 1));
    let slow = hosting(|settings| settings.load_max = 1e-9);
    assert!(refused(&slow, &chain).contains("take effects out of it"));
    assert!(refused(&slow, b"{\"schema\":1,\"items\":7}").contains("chain"));
    assert_eq!(slow.figures().refused_unplayable, 1);
    let ending = hosting(|_| ());
    ending.drain();
    assert!(refused(&ending, &chain).contains("about to end"));
    assert!(ending.capacity().draining && ending.figures().refused_draining == 1);
    assert_eq!(ending.chains(), 0);
}

#[test]
fn an_edit_that_cannot_be_played_leaves_what_plays_and_says_so() {
    let chain = document(&["eq"]);
    let hosting = hosting(|_| ());
    let (request, mut far) = request(&chain.to_json(), Transfer::Live, 256);
    let mut served = hosting.open(request).unwrap();
    served.set_document(b"nonsense");
    let report = |served: &mut Box<dyn ServedChain>| -> serde_json::Value {
        serde_json::from_slice(&served.report()).unwrap()
    };
    let words = |report: &serde_json::Value| report["words"].to_string();
    assert!(words(&report(&mut served)).contains("chain"), "{}", report(&mut served));
    far.push(1, 0, 128);
    assert_eq!(bits(&far.next().2), bits(&played(&chain, 0, 128, &[])));
    served.set_document(&document(&["eq", "compressor"]).to_json());
    let said = report(&mut served);
    assert_eq!(said["rack"]["effects"].as_array().unwrap().len(), 2);
    assert!(said["load"]["mean"].is_number() && !words(&said).contains("expected"), "{said}");
    assert_eq!(said["realtime"], false);
}
