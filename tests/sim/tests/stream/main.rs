//! The engine's real tap and playout, over real packets, between two sound cards that drift, on a network that loses,
//! delays and reorders: an hour of it, and what is heard of it.
//!
//! Each sample of the signal says its own frame, so that what the receiver plays is compared with what was sent, and not
//! with what the playout says of itself.

mod wire;

use std::ops::RangeInclusive;

use audiocloud_rt::block_ring::{Consumer, Epoch, Producer, block_ring};
use audiocloud_rt::{callback, event, wake};
use audiocloud_sim::link::{self, Duplication, Order};
use audiocloud_sim::loss::Loss;
use audiocloud_sim::network::Node;
use audiocloud_sim::seed::Seed;
use audiocloud_sim::spread::Spread;
use audiocloud_sim::world::{Context, Event, World};
use audiocloud_sim::{clock, link::Fate};
use audiocloud_stream::receiver::{self, Cause, Playout};
use audiocloud_stream::sender::{self, Tap};
use audiocloud_units::{Frames, HostTime, Nanos, Ppm, SampleRate};

const CHANNELS: u16 = 2;
const BLOCK: u32 = 128;
const BLOCK_FRAMES: usize = BLOCK as usize;
/// The signal repeats after so many frames, far more than are ever on the way.
const PERIOD: u64 = 1 << 22;

fn rate() -> SampleRate {
    SampleRate::new(48_000).unwrap()
}

/// A frame as a sample: exact in 24 bits, from 2⁻²³ to ½.
fn sample(frame: u64) -> f32 {
    u32::try_from(frame % PERIOD + 1).unwrap() as f32 / 8_388_608.0
}

struct Scenario {
    seed: u64,
    seconds: i64,
    /// By how much the sender's card is faster than nominal; the receiver's is exact.
    drift: Ppm,
    link: link::Config,
}

/// Everything that came of it; equal for equal seeds.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    status: receiver::Status,
    link: link::Counters,
    /// Frames of packets that never arrived.
    lost_frames: u64,
    heard: Heard,
}

/// What was played, by the samples themselves.
#[derive(Clone, Debug, Default, PartialEq)]
struct Heard {
    frames: u64,
    /// Frames that are the one after the frame before, to the bit, on both channels.
    continuous: u64,
    last: f32,
    /// Of all output, in order.
    hash: u64,
}

impl Heard {
    fn hear(&mut self, output: &[Vec<f32>]) {
        let step = sample(1) - sample(0);
        for (left, right) in output[0].iter().zip(&output[1]) {
            self.frames += 1;
            let follows = *left == self.last + step || (self.last == 0.5 && *left == step);
            self.continuous += u64::from(follows && *right == -*left);
            self.last = *left;
            let bits = u64::from(left.to_bits()) << 32 | u64::from(right.to_bits());
            self.hash = (self.hash ^ bits).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
        }
    }
}

struct Sender {
    tap: Tap,
    blocks: Consumer,
    sequence: u32,
    input: Vec<Vec<f32>>,
    // Kept, that the other ends do not count as gone.
    _events: event::Consumer,
    _wake: wake::WakeReceiver,
}

impl Sender {
    fn new() -> Self {
        let (blocks_in, blocks) = block_ring(64, 64 << 10);
        let (events_in, events) = event::event_ring(16);
        let (waker, wake) = wake::wake_pair().unwrap();
        let config = sender::Config { sample_rate: rate(), channels: CHANNELS };
        Self {
            tap: Tap::new(config, blocks_in, events_in, waker, Epoch(1)),
            blocks,
            sequence: 0,
            input: vec![vec![0.0; BLOCK_FRAMES]; CHANNELS.into()],
            _events: events,
            _wake: wake,
        }
    }

    fn callback(&mut self, at: HostTime, first_frame: u64, send: impl FnMut(Vec<u8>)) {
        let (left, right) = self.input.split_at_mut(1);
        for ((frame, left), right) in (first_frame..).zip(&mut left[0]).zip(&mut right[0]) {
            (*left, *right) = (sample(frame), -sample(frame));
        }
        callback::enter_at(at, |callback| self.tap.process(callback, &self.input, None));
        wire::pump(&mut self.blocks, &mut self.sequence, send);
    }
}

struct Receiver {
    playout: Playout,
    blocks: Producer,
    output: Vec<Vec<f32>>,
    heard: Heard,
    _events: event::Producer,
}

impl Receiver {
    fn new() -> Self {
        let (blocks, blocks_out) = block_ring(1_024, 1 << 20);
        let (events, events_out) = event::event_ring(16);
        let config = receiver::Config {
            sample_rate: rate(),
            channels: CHANNELS,
            max_block: BLOCK,
            playout_delay: Frames::new(720),
            playout_delay_max: Frames::new(9_600),
        };
        Self {
            playout: Playout::new(config, blocks_out, events_out),
            blocks,
            output: vec![vec![0.0; BLOCK_FRAMES]; CHANNELS.into()],
            heard: Heard::default(),
            _events: events,
        }
    }

    fn callback(&mut self, at: HostTime) {
        callback::enter_at(at, |callback| self.playout.process(callback, &mut self.output, |_, _| ()));
        self.heard.hear(&self.output);
    }
}

impl Scenario {
    fn run(&self) -> Outcome {
        let mut world = World::new(self.seed);
        let from = world.add_host(clock::Config {
            offset: self.drift,
            callback_jitter: Spread::Uniform { max: Nanos::from_micros(300) },
            host_time_at_zero: HostTime::new(77_000_000_000),
            ..clock::Config::new(rate(), BLOCK)
        });
        let to = world.add_host(clock::Config {
            callback_jitter: Spread::Uniform { max: Nanos::from_micros(300) },
            starts_at: Nanos::from_micros(1_100),
            host_clock_offset: Ppm::new(-15.0),
            ..clock::Config::new(rate(), BLOCK)
        });
        world.network().connect(from, to, self.link.clone());
        let (mut sender, mut receiver, mut lost_frames) = (Sender::new(), Receiver::new(), 0);
        world.run(Nanos::from_secs(self.seconds), |context, event| match event {
            Event::Callback(node, called) if node == from => {
                sender.callback(called.host_time, called.position.get(), |packet| {
                    lost_frames += frames_lost(context, from, to, packet);
                });
            }
            Event::Callback(_, called) => receiver.callback(called.host_time),
            Event::Arrival(arrival) => {
                wire::unpack(&arrival.bytes, context.host_time(to), rate(), &mut receiver.blocks);
            }
            Event::Timer(..) => unreachable!("none is set"),
        });
        Outcome {
            status: receiver.playout.status().read(),
            link: *world.network().counters(from, to).unwrap(),
            lost_frames,
            heard: receiver.heard,
        }
    }
}

/// Sends a packet; the frames that it takes with it when it is lost.
fn frames_lost(context: &mut Context<'_>, from: Node, to: Node, packet: Vec<u8>) -> u64 {
    let (_, frames) = wire::frames_of(&packet);
    match context.send(from, to, packet) {
        Fate::Lost(_) => frames,
        Fate::Arrives { .. } => 0,
    }
}

/// 20 ms, 1 % loss, 4 ms of jitter which reorders, and a few duplicates.
fn unreliable() -> link::Config {
    link::Config {
        delay: Nanos::from_millis(20),
        jitter: Spread::Uniform { max: Nanos::from_millis(4) },
        order: Order::Free,
        loss: Loss::Bernoulli { probability: 0.01 },
        duplication: Some(Duplication {
            probability: 0.001,
            after: Spread::Uniform { max: Nanos::from_millis(2) },
        }),
        ..link::Config::default()
    }
}

fn assert_near(what: &str, found: f64, expected: RangeInclusive<f64>, outcome: &Outcome) {
    assert!(expected.contains(&found), "{what}: {found}, not in {expected:?}: {outcome:#?}");
}

/// A simulated hour of the present playout: what the network loses is missing, and drift is a slip each half minute or so.
fn an_hour_at(drift_ppm: f64, seed: u64) {
    let seed = Seed::new(seed);
    let scenario =
        Scenario { seed: seed.get(), seconds: 3_600, drift: Ppm::new(drift_ppm), link: unreliable() };
    let outcome = scenario.run();
    let Outcome { status, link, lost_frames, heard } = &outcome;

    // The simulation itself: an hour of blocks, of which 1 % is lost.
    let sent = 3_600.0 * 375.0 * (1.0 + drift_ppm * 1e-6);
    assert_near("packets sent", link.sent as f64, sent - 2.0..=sent + 2.0, &outcome);
    assert_near("loss", link.lost() as f64 / link.sent as f64, 0.009_7..=0.010_3, &outcome);
    assert!(link.overtaking > 10_000, "{link:?}");

    // A frame is missing because it was lost, not because it was late. Slips skip some of the lost frames and repeat others.
    let missing = status.missing_frames as f64 / *lost_frames as f64;
    assert_near("missing of lost", missing, 0.999..=1.001, &outcome);
    assert_eq!((status.late_blocks, status.resyncs, status.malformed_blocks), (0, 0, 0), "{outcome:#?}");
    // Of the same block twice, unless a slip came in between.
    assert_near("duplicates", status.duplicate_blocks as f64 / link.duplicated as f64, 0.99..=1.0, &outcome);

    // All the drift of the hour is slipped, but for what the next slip would take.
    let drifted = 3_600.0 * 48_000.0 * drift_ppm * 1e-6;
    let slipped = status.slipped_frames as f64;
    assert_near("slipped", slipped, drifted - 250.0..=drifted + 250.0, &outcome);
    // Each by more than half a block and 2 ms: 160 frames.
    let each = slipped.abs() / status.slips as f64;
    assert_near("frames per slip", each, 160.0..=200.0, &outcome);
    let cause = if drift_ppm > 0.0 { Cause::ClockFast } else { Cause::ClockSlow };
    assert_eq!(status.last_cause, Some(cause), "{outcome:#?}");

    // By ear: what the playout says that it played as it came is what is heard to be whole; the rest, lost frames and the
    // fades beside them, is 2.6 %.
    let whole = heard.continuous as f64;
    assert_near("whole of played", whole / status.played_frames as f64, 0.999_9..=1.000_1, &outcome);
    assert_near("broken", 1.0 - whole / heard.frames as f64, 0.025..=0.028, &outcome);
}

#[test]
fn an_hour_with_a_fast_sender() {
    an_hour_at(100.0, 0x0f0e_5eed);
}

#[test]
fn an_hour_with_a_slow_sender() {
    an_hour_at(-100.0, 0x510e_5eed);
}

#[test]
fn a_clean_network_and_one_clock_are_bit_exact() {
    let seed = Seed::new(3);
    let link = link::Config { delay: Nanos::from_millis(20), ..link::Config::default() };
    let outcome = Scenario { seed: seed.get(), seconds: 60, drift: Ppm::default(), link }.run();
    let silence = 48_000 / 10;
    assert!(outcome.heard.frames - outcome.heard.continuous < silence, "{outcome:#?}");
    assert_eq!((outcome.status.slips, outcome.status.missing_frames), (0, 0), "{outcome:#?}");
}

#[test]
fn bursts_are_missing_and_nothing_else() {
    // On one clock no slip blurs the count: every frame that the network lost, and no other.
    let until = Nanos::from_secs(120);
    let outages = link::periodic_outages(Nanos::from_secs(5), Nanos::from_millis(20), until);
    let bursts = link::Config { outages, ..unreliable() };
    for link in [bursts, link::Config { loss: Loss::bursts(0.02, 5.0), ..unreliable() }] {
        let seed = Seed::new(6);
        let outcome = Scenario { seed: seed.get(), seconds: 120, drift: Ppm::default(), link }.run();
        let Outcome { status, link, lost_frames, .. } = &outcome;
        assert!(link.lost() > 400, "{outcome:#?}");
        assert_eq!((status.slips, status.resyncs, status.late_blocks), (0, 0, 0), "{outcome:#?}");
        assert_eq!(status.missing_frames, *lost_frames, "{outcome:#?}");
    }
}

#[test]
fn the_seed_decides() {
    let run = |seed| Scenario { seed, seconds: 60, drift: Ppm::new(100.0), link: unreliable() }.run();
    let (first, again, other) = (run(4), run(4), run(5));
    assert_eq!(first, again);
    assert_ne!((first.heard.hash, first.link), (other.heard.hash, other.link));
    assert_ne!(first.lost_frames, other.lost_frames);
}
