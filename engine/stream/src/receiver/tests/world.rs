//! The virtual world of the tests: time is a number, and nothing happens by chance but by the seed.

use super::super::*;
use audiocloud_rt::block_ring::{Epoch, Flags, Header, block_ring};
use audiocloud_rt::callback;
use audiocloud_units::MediaTime;

pub(super) fn rate() -> SampleRate {
    SampleRate::new(48_000).unwrap()
}

/// A signal: channel and frame to sample.
pub(super) type Signal = fn(usize, u64) -> f32;

fn hash(value: u64) -> u64 {
    // SplitMix64.
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[allow(clippy::cast_possible_truncation, reason = "test signals")]
fn sine(frame: u64, hertz: f64) -> f32 {
    (frame as f64 * hertz * std::f64::consts::TAU / 48_000.0).sin() as f32
}

/// Tones under noise of a 24-bit grid, never zero, different on every channel.
pub(super) fn music(channel: usize, frame: u64) -> f32 {
    let noise = (hash(frame.wrapping_mul(8) + buffer::count(channel)) >> 41) as f32 / 8_388_608.0;
    0.3 * sine(frame, 137.3) + 0.2 * sine(frame, 1_871.7) + 0.2 * noise + 0.01
}

/// Low tones, loud, that step by less than 0.04 from frame to frame.
pub(super) fn quiet(_channel: usize, frame: u64) -> f32 {
    0.6 * sine(frame.wrapping_add(400), 83.1) + 0.3 * sine(frame.wrapping_add(400), 331.7)
}

/// A low tone that begins at zero.
pub(super) fn from_zero(_channel: usize, frame: u64) -> f32 {
    0.8 * sine(frame, 83.1)
}

/// Block sizes: random from `min` to `max`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) seed: u64,
}

impl Sizes {
    pub(super) fn fixed(frames: u32) -> Self {
        Self { min: frames, max: frames, seed: 0 }
    }

    fn get(self, index: u64) -> u32 {
        let span = u64::from(self.max - self.min + 1);
        self.min + u32::try_from(hash(index ^ self.seed) % span).unwrap()
    }
}

/// What the network does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrival {
    AtOnce,
    Jitter {
        nanos_max: u64,
    },
    /// Lost, doubled and reordered within 4 ms.
    Unreliable {
        lost_percent: u64,
    },
    Outage {
        from: u64,
        frames: u64,
    },
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) signal: Signal,
    pub(super) channels: u16,
    pub(super) sender: Sizes,
    pub(super) receiver: Sizes,
    /// Fixed; none: the lowest.
    pub(super) delay: i64,
    pub(super) is_lowest: bool,
    /// How much faster the sender's clock is.
    pub(super) ppm: f64,
    pub(super) arrival: Arrival,
    /// Blocks that the sender's host renders at once.
    pub(super) burst: u64,
    /// Frames of a packet, into which the runtime cuts a sender's block.
    pub(super) packet: u32,
    /// Callbacks that the receiver's host makes at once.
    pub(super) receiver_burst: u64,
    /// The first block that is sent.
    pub(super) joins_at: u64,
    pub(super) ahead_nanos: i64,
    /// At which frame the sender's host stands still, and for how long.
    pub(super) stall: Option<(u64, i64)>,
    /// At which frame of the output the receiver's device leaves callbacks out, and for how long.
    pub(super) left_out: Option<(u64, i64)>,
    /// Frames of callbacks before the sender begins, and frames until it ends.
    pub(super) starts_after: u64,
    pub(super) ends_after: u64,
    /// Delays to set, at frames of the output.
    pub(super) delays: Vec<(u64, i64)>,
    pub(super) seconds: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            signal: music,
            channels: 2,
            sender: Sizes::fixed(128),
            receiver: Sizes::fixed(128),
            delay: 480,
            is_lowest: false,
            ppm: 0.0,
            arrival: Arrival::AtOnce,
            burst: 1,
            packet: u32::MAX,
            receiver_burst: 1,
            joins_at: 0,
            ahead_nanos: 0,
            stall: None,
            left_out: None,
            starts_after: 0,
            ends_after: u64::MAX,
            delays: Vec::new(),
            seconds: 5,
        }
    }
}

/// A block's first frame and its length.
type Lost = (u64, u64);

/// What came of it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) output: Vec<Vec<f32>>,
    pub(super) status: Status,
    pub(super) lost_frames: u64,
    pub(super) level_max: i64,
    pub(super) causes: Vec<Cause>,
    signal: Signal,
}

impl World {
    pub(super) fn run(&self) -> Run {
        let total = self.seconds * 48_000;
        let (mut arrivals, mut lost_frames) = self.arrivals(total);
        // Later than the last one that was played nothing counts as lost.
        arrivals.sort_by_key(|(time, ..)| *time);
        let mut arrivals = arrivals.into_iter().peekable();
        let mut bench = bench(self.channels, self.receiver.max.max(64), self.delay);
        if self.is_lowest {
            let mode = Mode::Lowest { floor: Frames::new(0), ceiling: Frames::new(4_800) };
            bench.playout.set(Settings { mode, clock: Clock::Automatic });
        }
        let (mut level_max, mut causes) = (0, Vec::new());
        let mut delays = self.delays.iter().peekable();
        for index in 0.. {
            let done = bench.done();
            if done >= total {
                break;
            }
            while let Some((_, delay)) = delays.next_if(|(at, _)| *at <= done) {
                bench.playout.set(Settings::fixed(Frames::new(*delay)));
            }
            if index % self.receiver_burst == 0 {
                let left_out = self.left_out.map_or(0, |(at, length)| if done >= at { length } else { 0 });
                bench.clock = HostTime::new(nanos(done) + left_out);
            }
            let now = bench.now();
            while let Some((time, header)) = arrivals.next_if(|(time, _)| *time <= now.get()) {
                bench.push(&Header { host_time: HostTime::new(time), ..header }, self.signal);
            }
            bench.callback(usize::try_from(self.receiver.get(index)).unwrap());
            bench.clock = now;
            level_max = level_max.max(bench.status().level_frames);
            causes.extend(bench.status().last_cause.filter(|cause| causes.last() != Some(cause)));
        }
        let status = bench.status();
        // Losses that were not yet due when the test ended.
        let end = status.played.get();
        lost_frames.retain(|(start, frames)| start + frames <= end);
        let lost_frames = lost_frames.iter().map(|(_, frames)| frames).sum();
        Run { output: bench.output, status, lost_frames, level_max, causes, signal: self.signal }
    }

    /// Every block that comes, with its time of arrival; and what is lost on the way.
    fn arrivals(&self, total: u64) -> (Vec<(i64, Header)>, Vec<Lost>) {
        let (mut arrivals, mut lost) = (Vec::new(), Vec::new());
        let mut start = 0;
        let (mut sent_at, mut block, mut left) = (0, 0, 0);
        for index in 0.. {
            if left == 0 {
                left = self.sender.get(block);
                if block % self.burst == 0 {
                    sent_at = self.send_time(start);
                }
                block += 1;
            }
            let frames = left.min(self.packet);
            left -= frames;
            let is_over = start >= self.ends_after || sent_at > nanos(total);
            if is_over {
                return (arrivals, lost);
            }
            let header = Header {
                epoch: Epoch(1),
                sample_rate: rate(),
                start: MediaTime::new(start),
                frames,
                first_channel: 0,
                channels: self.channels,
                stream_channels: self.channels,
                host_time: HostTime::new(0),
                session_time: None,
                flags: Flags::NONE,
                recovery: Nanos::ZERO,
            };
            if index >= self.joins_at {
                let chance = hash(index ^ 0xabcd);
                match self.arrival {
                    Arrival::AtOnce => arrivals.push((sent_at, header)),
                    Arrival::Jitter { nanos_max } => {
                        arrivals.push((sent_at + i64::try_from(chance % nanos_max).unwrap(), header));
                    }
                    Arrival::Unreliable { lost_percent } if index > 50 && chance % 100 < lost_percent => {
                        lost.push((start, u64::from(frames)));
                    }
                    Arrival::Unreliable { .. } => {
                        let late = if chance.is_multiple_of(7) { 4_000_000 } else { 0 };
                        arrivals.push((sent_at + late, header));
                        if chance.is_multiple_of(11) {
                            arrivals.push((sent_at + 3_000_000, header));
                        }
                    }
                    Arrival::Outage { from, frames: length } if (from..from + length).contains(&start) => {
                        lost.push((start, u64::from(frames)));
                    }
                    Arrival::Outage { .. } => arrivals.push((sent_at, header)),
                }
            }
            start += u64::from(frames);
        }
        unreachable!()
    }

    fn send_time(&self, start: u64) -> i64 {
        #[allow(clippy::cast_possible_truncation, reason = "nanoseconds of a test")]
        let drifted = (nanos(start) as f64 / (1.0 + self.ppm * 1e-6)) as i64;
        let stalled = self.stall.map_or(0, |(at, length)| if start >= at { length } else { 0 });
        nanos(self.starts_after) + (drifted - self.ahead_nanos).max(0) + stalled
    }
}

fn nanos(frames: u64) -> i64 {
    Frames::new(i64::try_from(frames).unwrap()).to_nanos_floor(rate()).get()
}

fn first_sound(output: &[Vec<f32>]) -> Option<usize> {
    output.first()?.iter().position(|sample| *sample != 0.0)
}

fn assert_no_step(output: &[Vec<f32>], limit: f32) {
    for samples in output {
        for (frame, pair) in samples.windows(2).enumerate() {
            let step = (pair[1] - pair[0]).abs();
            // A stream heard from its first frame on begins as it is.
            assert!(
                step <= limit || pair[0] == 0.0 && Some(frame + 1) == first_sound(output),
                "{step} at {frame}"
            );
        }
    }
}

impl Run {
    pub(super) fn first_sound(&self) -> Option<usize> {
        first_sound(&self.output)
    }

    pub(super) fn last_sound(&self) -> Option<usize> {
        self.output[0].iter().rposition(|sample| *sample != 0.0)
    }

    pub(super) fn assert_bit_exact(&self) {
        let first = self.first_sound().expect("something is heard");
        for (channel, samples) in self.output.iter().enumerate() {
            for (frame, found) in (0..).zip(&samples[first..]) {
                let wanted = (self.signal)(channel, frame);
                assert!(
                    found.to_bits() == wanted.to_bits(),
                    "{found} for {wanted} at {frame}: {:?}",
                    self.status
                );
            }
        }
        assert!(samples_after(&self.output, first) > 10_000);
        assert_eq!((self.status.missing_frames, self.status.faded_frames), (0, 0), "{:?}", self.status);
    }

    /// At least this part of all frames is exact and where it belongs; the rest is quieter than full scale.
    pub(super) fn assert_in_place(&self, part: f64) {
        let first = self.first_sound().expect("something is heard");
        let samples = &self.output[0][first..];
        let exact = (0..).zip(samples).filter(|(frame, found)| **found == (self.signal)(0, *frame)).count();
        assert!(exact as f64 > part * samples.len() as f64, "{exact} of {}", samples.len());
        assert!(samples.iter().all(|sample| sample.abs() <= 1.0));
    }

    pub(super) fn assert_no_step(&self, limit: f32) {
        assert_no_step(&self.output, limit);
    }
}

fn samples_after(output: &[Vec<f32>], first: usize) -> usize {
    output[0].len() - first
}

/// A playout with its rings, in virtual time.
pub(super) struct Bench {
    pub(super) playout: Playout,
    pub(super) output: Vec<Vec<f32>>,
    pub(super) heard: Vec<(usize, Body)>,
    pub(super) events: event::Producer,
    producer: block_ring::Producer,
    clock: HostTime,
}

pub(super) fn bench(channels: u16, max_block: u32, delay: i64) -> Bench {
    let (producer, consumer) = block_ring(60_000, 400_000);
    let (events, event_consumer) = event::event_ring(4_096);
    let config = Config {
        sample_rate: rate(),
        channels,
        max_block,
        stream_rate: None,
        settings: Settings::fixed(Frames::new(delay)),
        delay_max: Frames::new(9_600),
    };
    Bench {
        playout: Playout::new(config, consumer, event_consumer),
        output: vec![Vec::new(); usize::from(channels)],
        heard: Vec::new(),
        events,
        producer,
        clock: HostTime::new(0),
    }
}

impl Bench {
    fn done(&self) -> u64 {
        buffer::count(self.output[0].len())
    }

    /// The time of the next callback.
    pub(super) fn now(&self) -> HostTime {
        self.clock
    }

    pub(super) fn status(&self) -> Status {
        self.playout.status().read()
    }

    /// Pushes a block of the signal; a host time of 0 means now.
    pub(super) fn push(&mut self, header: &Header, signal: Signal) {
        let host_time = if header.host_time == HostTime::new(0) { self.now() } else { header.host_time };
        let pushed =
            self.producer.try_push(&Header { host_time, ..*header }, |channel, from, destination| {
                for (frame, slot) in (buffer::count(from)..).zip(destination) {
                    let channel = usize::from(header.first_channel) + channel;
                    *slot = signal(channel, header.start.get().wrapping_add(frame));
                }
            });
        pushed.expect("the test's ring is large enough");
    }

    /// One callback, whose output must all be written.
    pub(super) fn callback(&mut self, frames: usize) {
        let mut block = vec![vec![f32::NAN; frames]; self.output.len()];
        let begin = self.output[0].len();
        let (now, heard) = (self.now(), &mut self.heard);
        let playout = &mut self.playout;
        callback::enter_at(now, |callback| {
            let mut last = 0;
            playout.process(callback, &mut block, |offset, body| {
                let offset = usize::try_from(offset).unwrap();
                assert!(offset < frames && offset >= last, "{offset} after {last} of {frames}");
                last = offset;
                heard.push((begin + offset, body));
            });
        });
        for (output, block) in self.output.iter_mut().zip(block) {
            assert!(block.iter().all(|sample| !sample.is_nan()), "every sample is written");
            output.extend(block);
        }
        self.clock = HostTime::new(nanos(self.done()));
    }

    pub(super) fn first_sound(&self) -> Option<usize> {
        first_sound(&self.output)
    }

    pub(super) fn assert_no_step(&self, limit: f32) {
        assert_no_step(&self.output, limit);
    }
}
