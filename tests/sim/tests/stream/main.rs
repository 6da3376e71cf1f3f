//! A stream between two sound cards that drift, on a network that loses, delays and reorders: an hour of it, and what is
//! heard of it.
//!
//! Each sample of the signal says its own frame, so that what the receiver plays is compared with what was sent, and not
//! with what the playout says of itself. Between two frames a resampler reads off the slope how far it is.

mod ends;

use audiocloud_session::receiver::Figures;
use audiocloud_sim::clock::{self, AfterStall};
use audiocloud_sim::link::{self, Duplication, Order};
use audiocloud_sim::loss::Loss;
use audiocloud_sim::random::Random;
use audiocloud_sim::seed::Seed;
use audiocloud_sim::spread::Spread;
use audiocloud_sim::world::{Event, World};
use audiocloud_stream::receiver::{self, Mode};
use audiocloud_units::{Frames, HostTime, Nanos, Ppm};

use ends::{BLOCK, Receiver, Sender, rate};

/// The signal repeats after so many frames, far more than are ever on the way.
const PERIOD: u32 = 1 << 14;
/// What is heard while the sender is there in its signal comes from where it is straight, up to 1,500 frames later.
const STRAIGHT: std::ops::Range<f64> = 2_048.0..16_000.0;
const RECEIVER_STARTS: Nanos = Nanos::from_micros(1_100);

/// A frame as a sample: exact in 24 bits, from 2⁻²³ to 2⁻⁹.
fn sample(frame: u64) -> f32 {
    u32::try_from(frame % u64::from(PERIOD) + 1).unwrap() as f32 / 8_388_608.0
}

struct Scenario {
    seed: u64,
    seconds: i64,
    /// By how much the sender's card is faster than nominal; the receiver's is exact.
    drift_ppm: f64,
    link: link::Config,
    mode: Mode,
    /// When the receiver's card begins, which is the phase of its callbacks.
    receiver_starts: Nanos,
    /// How often each host leaves out a callback, each second.
    skips_hz: f64,
    /// Both hosts are on one machine, which stands still twice in each second for longer than this, and so both miss it.
    stands_still: Option<Nanos>,
}

/// Everything that came of it; equal for equal seeds.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    status: receiver::Status,
    link: link::Counters,
    figures: Figures,
    heard: Heard,
}

/// What was played, by the samples themselves.
#[derive(Clone, Debug, Default, PartialEq)]
struct Heard {
    frames: u64,
    /// Frames that are the one after the frame before, within a hundredth of one.
    continuous: u64,
    /// Frames that are so to the bit.
    exact: u64,
    last: f32,
    /// From a frame's being recorded until it is heard, in frames of the sender, since all has settled.
    delay: Option<(f64, f64)>,
    /// The longest that any frame waited for, in frames, in each minute.
    delay_of_minutes: Vec<f64>,
    /// Of all output, in order.
    hash: u64,
}

impl Heard {
    /// `recorded` is the position of the sender's card when the block's first frame is heard.
    fn hear(&mut self, output: &[Vec<f32>], recorded: f64, is_settled: bool) {
        let step = sample(1) - sample(0);
        for (index, (left, right)) in output[0].iter().zip(&output[1]).enumerate() {
            self.frames += 1;
            let follows =
                *left == self.last + step || (*left == step && self.last == sample(u64::from(PERIOD) - 1));
            self.exact += u64::from(follows && *right == -*left);
            let place = f64::from(*left) * 8_388_608.0 - 1.0;
            let before = f64::from(self.last) * 8_388_608.0 - 1.0;
            let recorded = recorded + index as f64;
            let is_inside = STRAIGHT.contains(&recorded.rem_euclid(f64::from(PERIOD)));
            self.continuous += u64::from(!is_inside || (place - before - 1.0).abs() < 0.01);
            if is_settled && is_inside {
                let delay = (recorded - place).rem_euclid(f64::from(PERIOD));
                let (least, most) = self.delay.get_or_insert((delay, delay));
                (*least, *most) = (least.min(delay), most.max(delay));
            }
            if is_inside && *left != 0.0 {
                let minute = usize::try_from(self.frames / (60 * 48_000)).unwrap();
                let delay = (recorded - place).rem_euclid(f64::from(PERIOD));
                self.delay_of_minutes.resize(minute + 1, 0.0);
                self.delay_of_minutes[minute] = self.delay_of_minutes[minute].max(delay);
            }
            self.last = *left;
            let bits = u64::from(left.to_bits()) << 32 | u64::from(right.to_bits());
            self.hash = (self.hash ^ bits).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
        }
    }
}

impl Scenario {
    /// One clock, and hosts without fault.
    fn new(seed: u64, seconds: i64, link: link::Config, mode: Mode) -> Self {
        Self {
            seed,
            seconds,
            drift_ppm: 0.0,
            link,
            mode,
            receiver_starts: RECEIVER_STARTS,
            skips_hz: 0.0,
            stands_still: None,
        }
    }

    /// Single callbacks that a host leaves out, at random, as JACK does on a loaded machine.
    fn skips(&self, host: u64) -> Vec<clock::Stall> {
        let mut random = Random::new(self.seed).for_purpose(host);
        let block = Frames::from(BLOCK).to_nanos_floor(rate());
        let (mut skips, mut at) = (Vec::new(), Nanos::ZERO);
        while self.skips_hz > 0.0 && at < Nanos::from_secs(self.seconds) {
            at += random.wait(self.skips_hz);
            skips.push(clock::Stall { during: at..at + block, after: AfterStall::Skip });
        }
        if let Some(least) = self.stands_still {
            skips.extend(self.stands_still(least));
        }
        skips
    }

    /// Pairs of stalls, a second and a little from one to the next: the same for both hosts.
    #[allow(clippy::cast_possible_truncation, reason = "milliseconds of a test")]
    fn stands_still(&self, least: Nanos) -> Vec<clock::Stall> {
        let mut random = Random::new(self.seed).for_purpose(3);
        let mut millis = |from: f64, to: f64| from + (to - from) * random.uniform();
        let mut at = 500.0;
        let mut stalls = Vec::new();
        while at < self.seconds as f64 * 1e3 {
            at += millis(1_010.0, 1_090.0);
            for after in [0.0, 5.3] {
                let length = least.as_millis_f64() + millis(0.0, 2.3);
                let [from, to] =
                    [at + after, at + after + length].map(|ms| Nanos::from_micros((ms * 1e3) as i64));
                stalls.push(clock::Stall { during: from..to, after: AfterStall::Skip });
            }
        }
        stalls
    }

    fn run(&self) -> Outcome {
        let mut world = World::new(self.seed);
        let from = world.add_host(clock::Config {
            offset: Ppm::new(self.drift_ppm),
            callback_jitter: Spread::Uniform { max: Nanos::from_micros(100) },
            stalls: self.skips(1),
            host_time_at_zero: HostTime::new(77_000_000_000),
            ..clock::Config::new(rate(), BLOCK)
        });
        let to = world.add_host(clock::Config {
            callback_jitter: Spread::Uniform { max: Nanos::from_micros(100) },
            stalls: self.skips(2),
            starts_at: self.receiver_starts,
            host_clock_offset: Ppm::new(-15.0),
            ..clock::Config::new(rate(), BLOCK)
        });
        let back = link::Config { outages: Vec::new(), ..self.link.clone() };
        world.network().connect(from, to, self.link.clone());
        world.network().connect(to, from, back);
        let rtt = Nanos::new(2 * self.link.delay.get());
        let (mut sender, mut receiver) = (Sender::new(sample, 1), Receiver::new(self.mode, rtt));
        let (mut heard, mut wake, mut timers) = (Heard::default(), None, 0);
        let their_hz = 48_000.0 * (1.0 + self.drift_ppm * 1e-6);
        world.run(Nanos::from_secs(self.seconds), |context, event| {
            let mut sent = Vec::new();
            match event {
                Event::Callback(node, called) if node == from => {
                    sender.callback(called.host_time, called.position.get(), &mut |_, packet| {
                        sent.push((to, packet))
                    });
                }
                Event::Callback(_, called) => {
                    receiver.callback(called.host_time, None);
                    let seconds = called.due.as_millis_f64() / 1e3;
                    heard.hear(&receiver.output, seconds * their_hz, seconds > 60.0);
                }
                Event::Arrival(arrival) if arrival.to == to => {
                    let now = context.host_time(to);
                    receiver.take(Some(&arrival.bytes), now, &mut |packet| sent.push((from, packet)));
                }
                Event::Arrival(arrival) => {
                    let now = context.host_time(from);
                    sender.feedback(0, &arrival.bytes, now, &mut |packet| sent.push((to, packet)));
                }
                // One that another has taken the place of.
                Event::Timer(_, number) if number != timers => return,
                Event::Timer(..) => {
                    wake = None;
                    receiver.take(None, context.host_time(to), &mut |packet| sent.push((from, packet)));
                }
            }
            for (node, packet) in sent {
                let from = if node == to { from } else { to };
                context.send(from, node, packet);
            }
            if let Some(at) = receiver.intake.next_wake().filter(|at| wake.is_none_or(|wake| *at < wake)) {
                wake = Some(at);
                timers += 1;
                let away = (at - context.host_time(to)).max(Nanos::from_micros(1));
                context.set_timer(to, context.now() + away, timers);
            }
        });
        Outcome {
            status: receiver.playout.status().read(),
            link: *world.network().counters(from, to).unwrap(),
            figures: receiver.figures(),
            heard,
        }
    }
}

/// As low as it gets, up to 100 ms.
fn lowest() -> Mode {
    Mode::Lowest { floor: Frames::new(0), ceiling: Frames::new(4_800) }
}

fn fixed(millis: i64) -> Mode {
    Mode::Fixed { delay: Nanos::from_millis(millis).to_frames_floor(rate()) }
}

fn lan() -> link::Config {
    link::Config {
        delay: Nanos::from_micros(150),
        jitter: Spread::Uniform { max: Nanos::from_micros(100) },
        ..link::Config::default()
    }
}

fn lossy(probability: f64) -> link::Config {
    link::Config { loss: Loss::Bernoulli { probability }, ..lan() }
}

/// Bad frames, in ms per minute.
fn bad_ms(outcome: &Outcome) -> f64 {
    let status = &outcome.status;
    status.concealed_frames as f64 / 48.0 / (outcome.heard.frames as f64 / 48_000.0 / 60.0)
}

/// Ten minutes on two clocks, an hour with `AUDIOCLOUD_SLOW` set: nothing is missing, nothing leaps, and a frame is heard
/// when it should be, to the sample.
fn two_clocks_at(drift_ppm: f64, seed: u64) {
    let seed = Seed::new(seed);
    let seconds = if std::env::var_os("AUDIOCLOUD_SLOW").is_some() { 3_600 } else { 600 };
    let scenario = Scenario { drift_ppm, ..Scenario::new(seed.get(), seconds, lan(), lowest()) };
    let outcome = scenario.run();
    let Outcome { status, heard, .. } = &outcome;
    assert!(status.is_resampling && (status.ppm - drift_ppm).abs() < 0.5, "{outcome:#?}");
    assert_eq!((status.concealed_frames, status.late_blocks, status.resyncs), (0, 0, 0), "{outcome:#?}");
    let (least, most) = heard.delay.unwrap();
    assert!(most - least <= 1.0, "wanders {}: {outcome:#?}", most - least);
    // But for the first seconds, in which the delay is found.
    assert!(heard.frames - heard.continuous < 48_000, "{outcome:#?}");
    assert!(status.latency.median < Nanos::from_micros(5_500), "{outcome:#?}");
}

#[test]
fn two_clocks_and_a_fast_sender() {
    two_clocks_at(200.0, 0x0f0e_5eed);
}

#[test]
fn two_clocks_and_a_slow_sender() {
    two_clocks_at(-200.0, 0x510e_5eed);
}

#[test]
fn a_clean_network_and_one_clock_are_bit_exact() {
    let link = link::Config { delay: Nanos::from_millis(20), ..link::Config::default() };
    let seed = Seed::new(3).get();
    let outcome = Scenario::new(seed, 600, link, lowest()).run();
    let Outcome { status, heard, .. } = &outcome;
    assert!(!status.is_resampling, "{outcome:#?}");
    assert!(heard.frames - heard.exact < 48_000 / 5, "but for the start and its cuts: {outcome:#?}");
    assert_eq!((status.missing_frames, status.concealed_frames), (0, 0), "{outcome:#?}");
    let outcome = Scenario::new(seed, 60, lan(), fixed(10)).run();
    assert_eq!((outcome.status.slips, outcome.status.missing_frames), (0, 0), "{outcome:#?}");
    assert!(outcome.heard.frames - outcome.heard.exact < 4_800, "{outcome:#?}");
}

#[test]
fn what_a_local_network_loses_is_asked_for() {
    let run = |probability| {
        let seed = Seed::new(6).get();
        Scenario::new(seed, 600, lossy(probability), lowest()).run()
    };
    let outcome = run(0.01);
    assert!(outcome.link.lost() > 2_000, "{outcome:#?}");
    assert!(bad_ms(&outcome) <= 3.0, "{}: {outcome:#?}", bad_ms(&outcome));
    assert!(outcome.status.latency.median < Nanos::from_micros(7_500), "{outcome:#?}");
    let outcome = run(0.05);
    assert!(bad_ms(&outcome) <= 10.0, "{}: {outcome:#?}", bad_ms(&outcome));
    assert!(outcome.status.latency.median < Nanos::from_millis(10), "{outcome:#?}");
}

/// What it takes to ask for a lost packet is known before one has come too late: nothing is learnt the hard way.
#[test]
fn losses_are_waited_for_from_the_first_second_on() {
    let jitter = Spread::Uniform { max: Nanos::from_micros(300) };
    for (loss, delay_us, bad_max) in
        [(0.05, 1_000, 10.0), (0.05, 150, 10.0), (0.01, 1_000, 3.0), (0.01, 150, 3.0)]
    {
        let first = Seed::new(1_000).get();
        // Of all phases between the callbacks of both ends, over the first ten seconds.
        let outcomes = (0..12_u32).map(|phase| {
            let delay = Nanos::from_micros(delay_us);
            let link = link::Config { delay, jitter, ..lossy(loss) };
            let scenario = Scenario::new(first + u64::from(phase), 10, link, lowest());
            let receiver_starts = Nanos::from_micros(1_100 + 222 * i64::from(phase));
            Scenario { receiver_starts, ..scenario }.run()
        });
        let (mut bad, mut latency_ms) = (0.0, 0.0);
        for outcome in outcomes {
            bad += bad_ms(&outcome) / 12.0;
            latency_ms += outcome.status.latency.median.as_millis_f64() / 12.0;
        }
        println!("{loss} at {delay_us} us: {bad:.1} bad ms per minute, {latency_ms:.1} ms");
        assert!(bad <= bad_max && latency_ms < 10.0, "{loss} at {delay_us} us: {bad}, {latency_ms} ms");
    }
}

/// Each callback that a host leaves out moves the phase between both ends by a block. That is not heard twice, nor every
/// time: when it recurs, a block is kept in hand.
#[test]
fn callbacks_that_hosts_leave_out_are_hardly_heard() {
    for (skips_hz, bad_max, latency_max_ms) in [(0.5, 5.0, 7.0), (0.1, 5.0, 7.0), (0.0, 0.0, 3.0)] {
        let seed = Seed::new(2_000).get();
        let (mut bad, mut latency_ms, mut slips) = (0.0, 0.0, 0.0);
        for phase in 0..6_u32 {
            let scenario = Scenario::new(seed + u64::from(phase), 120, lan(), lowest());
            let receiver_starts = Nanos::from_micros(1_100 + 444 * i64::from(phase));
            let outcome = Scenario { receiver_starts, skips_hz, ..scenario }.run();
            assert!(!outcome.status.is_resampling && outcome.status.resyncs == 0, "{outcome:#?}");
            bad += bad_ms(&outcome) / 6.0;
            latency_ms += outcome.status.latency.median.as_millis_f64() / 6.0;
            slips += outcome.status.slips as f64 / 12.0;
        }
        println!("{skips_hz} Hz: {bad:.1} bad ms and {slips:.0} moves per minute, {latency_ms:.1} ms");
        assert!(bad <= bad_max && latency_ms < latency_max_ms, "{skips_hz} Hz: {bad}, {latency_ms} ms");
        // One for each callback left out, no more, and those of the start.
        assert!(slips <= 120.0 * skips_hz + 2.0, "{skips_hz} Hz: {slips} moves per minute");
    }
}

/// Two hosts on one machine that stands still again and again, and packets with them: the delay finds its place and stays
/// there, for each move of it may be heard.
#[test]
fn a_machine_that_stands_still_is_not_run_after() {
    let (mut bad, mut latency_ms, mut slips) = (0.0, 0.0, 0.0);
    for phase in 0..6_u32 {
        let link = link::Config {
            spikes: Some(link::Spikes { per_second: 3.0, length: Nanos::from_micros(2_500) }),
            ..lan()
        };
        let scenario = Scenario::new(Seed::new(2_100).get() + u64::from(phase), 120, link, lowest());
        let receiver_starts = Nanos::from_micros(1_100 + 444 * i64::from(phase));
        let stands_still = Some(Nanos::from_micros(1_200));
        let outcome = Scenario { receiver_starts, stands_still, ..scenario }.run();
        println!("{:?}", outcome.status);
        bad += bad_ms(&outcome) / 6.0;
        latency_ms += outcome.status.latency.median.as_millis_f64() / 6.0;
        slips += outcome.status.slips as f64 / 12.0;
    }
    println!("{bad:.1} bad ms and {slips:.0} moves per minute, {latency_ms:.1} ms");
    assert!(bad < 8.0 && slips < 25.0 && latency_ms < 8.5, "{bad}, {slips}, {latency_ms} ms");
}

#[test]
fn what_a_wide_network_loses_is_computed() {
    let link = link::Config {
        delay: Nanos::from_millis(20),
        jitter: Spread::Uniform { max: Nanos::from_millis(1) },
        order: Order::Free,
        loss: Loss::Bernoulli { probability: 0.01 },
        ..link::Config::default()
    };
    for (mode, most_ms) in [(fixed(7), 10), (lowest(), 11)] {
        let seed = Seed::new(8).get();
        let outcome = Scenario::new(seed, 600, link.clone(), mode).run();
        assert!(bad_ms(&outcome) <= 5.0, "{}: {outcome:#?}", bad_ms(&outcome));
        assert!(outcome.status.latency.median < Nanos::from_millis(most_ms), "{outcome:#?}");
    }
}

#[test]
fn jitter_is_waited_for_and_no_longer() {
    let link = link::Config {
        jitter: Spread::Uniform { max: Nanos::from_millis(10) },
        order: Order::Free,
        duplication: Some(Duplication {
            probability: 0.001,
            after: Spread::Uniform { max: Nanos::from_millis(2) },
        }),
        ..lan()
    };
    let seed = Seed::new(9).get();
    let outcome = Scenario::new(seed, 600, link, lowest()).run();
    assert!(bad_ms(&outcome) <= 3.0, "{}: {outcome:#?}", bad_ms(&outcome));
    assert!(outcome.status.latency.median < Nanos::from_millis(16), "{outcome:#?}");
}

#[test]
fn after_bursts_the_delay_is_short_again() {
    let until = Nanos::from_secs(60);
    let outages = link::periodic_outages(Nanos::from_secs(5), Nanos::from_millis(20), until);
    let link = link::Config { outages, ..lan() };
    let seed = Seed::new(10).get();
    let outcome = Scenario::new(seed, 180, link, lowest()).run();
    let delays = &outcome.heard.delay_of_minutes;
    // In the third minute, half a minute after the last one and more, it is at its floor: one block and some.
    assert!(delays[2] < 480.0, "{outcome:#?}");
}

#[test]
fn the_seed_decides() {
    let link = link::Config { order: Order::Free, ..lossy(0.02) };
    let run = |seed| Scenario { drift_ppm: 100.0, ..Scenario::new(seed, 30, link.clone(), lowest()) }.run();
    let (first, again, other) = (run(4), run(4), run(5));
    assert_eq!(first, again);
    assert_ne!((first.heard.hash, first.link), (other.heard.hash, other.link));
}
