//! The two ends, and a path of virtual time between them that loses, delays, doubles and overtakes.

use std::collections::{BTreeMap, HashMap};

use audiocloud_rt::block_ring::{Epoch, Flags, Header, block_ring};
use audiocloud_rt::chain_event::{ChainBody, ChainEvent};
use audiocloud_units::{HostTime, MediaTime, Nanos, SampleRate};
use audiocloud_wire::id::RemoteId;
use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::slice::SLICE_BYTES_MAX;
use bytes::Bytes;

use super::super::*;

pub(super) const MICROSECOND: i64 = 1000;
pub(super) const MILLISECOND: i64 = 1000 * MICROSECOND;

/// A seeded sequence (Knuth's MMIX generator).
pub(super) struct Random(pub(super) u64);

impl Random {
    /// From 0 to less than 1.
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / 4_294_967_296.0
    }
}

/// What happens to packets, each way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) delay_us: f64,
    /// Uniform, beyond the delay; packets overtake each other.
    pub(super) jitter_us: f64,
    pub(super) loss: f64,
    pub(super) duplication: f64,
    /// From and until: nothing passes.
    pub(super) outage_ms: (i64, i64),
    /// What is sent again does not pass.
    pub(super) drops_repeats: bool,
}

pub(super) const CLEAN: Path = Path {
    delay_us: 500.0,
    jitter_us: 0.0,
    loss: 0.0,
    duplication: 0.0,
    outage_ms: (0, 0),
    drops_repeats: false,
};

pub(super) enum Travelling {
    Slice(Bytes),
    Report(Vec<u8>),
}

/// What was heard at the far end.
#[derive(Default)]
pub(super) struct Heard {
    /// All but the events is of this epoch.
    pub(super) epoch: u32,
    /// The frame after the last, where they are in order.
    pub(super) next: u64,
    pub(super) frames: HashMap<u64, u32>,
    pub(super) filled: u64,
    pub(super) jumps: Vec<(u64, u64)>,
    pub(super) events: Vec<(u64, ChainBody)>,
}

pub(super) struct World {
    pub(super) now: i64,
    pub(super) random: Random,
    pub(super) path: Path,
    pub(super) config: Config,
    pub(super) block: u32,
    pub(super) epoch: u32,
    pub(super) start: u64,
    pub(super) outlet: Outlet,
    pub(super) intake: Intake,
    pub(super) travelling: BTreeMap<(i64, u64), Travelling>,
    pub(super) departed: u64,
    pub(super) heard: Heard,
    pub(super) latest: i64,
    pub(super) sent_bytes: u64,
}

pub(super) fn rate() -> SampleRate {
    SampleRate::new(48_000).unwrap()
}

pub(super) fn config(way: Way, channels: u16, transfer: Transfer) -> Config {
    Config { remote: RemoteId(77), way, sample_rate: rate(), channels, transfer }
}

/// A value that names its frame and channel; never zero.
pub(super) fn sample(frame: u64, channel: usize) -> f32 {
    let word = frame.wrapping_mul(64).wrapping_add(u64::try_from(channel).unwrap());
    f32::from_bits(u32::try_from(word % 0x7f00_0000).unwrap() | 1)
}

pub(super) fn parameter(effect: u32, value: f32) -> ChainBody {
    ChainBody::Parameter { effect, parameter: 1, value, ramp_frames: Some(64) }
}

impl World {
    pub(super) fn new(seed: u64, path: Path, config: Config, block: u32, patience_us: i64) -> Self {
        let mut intake = Intake::new(IntakeConfig {
            config,
            patience: Nanos::from_micros(patience_us),
            block_frames_max: block,
        });
        let rtt_us = 2.0 * path.delay_us + path.jitter_us;
        #[allow(clippy::cast_possible_truncation, reason = "some milliseconds")]
        intake.set_rtt(Nanos::from_micros(rtt_us as i64));
        Self {
            now: 1_000_000_000,
            random: Random(seed),
            path,
            config,
            block,
            epoch: 5,
            start: 0,
            outlet: Outlet::new(config),
            intake,
            travelling: BTreeMap::new(),
            departed: 0,
            heard: Heard::default(),
            latest: 0,
            sent_bytes: 0,
        }
    }

    fn depart(&mut self, what: &dyn Fn() -> Travelling) {
        let since_start = self.now / MILLISECOND - 1000;
        let (from, until) = self.path.outage_ms;
        let is_out = (from..until).contains(&since_start);
        if is_out || self.random.next() < self.path.loss {
            return;
        }
        let copies = if self.random.next() < self.path.duplication { 2 } else { 1 };
        for _ in 0..copies {
            let delay_us = self.path.delay_us + self.random.next() * self.path.jitter_us;
            #[allow(clippy::cast_possible_truncation, reason = "some milliseconds")]
            let at = self.now + (delay_us * 1000.0) as i64;
            self.travelling.insert((at, self.departed), what());
            self.departed += 1;
        }
    }

    fn post_slices(&mut self, sent: Vec<Bytes>) {
        for slice in sent {
            assert!(slice.len() <= SLICE_BYTES_MAX);
            self.sent_bytes += u64::try_from(slice.len()).unwrap();
            // The flags of a slice are its second byte.
            if self.path.drops_repeats && slice[1] & 2 != 0 {
                continue;
            }
            self.depart(&|| Travelling::Slice(slice.clone()));
        }
    }

    /// The callback: a block, with events at these of its frames.
    pub(super) fn callback(&mut self, events: &[(u32, ChainBody)]) {
        let (mut producer, mut consumer) = block_ring(4, 1 << 17);
        let header = Header {
            epoch: Epoch(self.epoch),
            sample_rate: rate(),
            start: MediaTime::new(self.start),
            frames: self.block,
            first_channel: 0,
            channels: self.config.channels,
            stream_channels: self.config.channels,
            host_time: HostTime::new(self.now),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        let start = self.start;
        let fill = |channel: usize, from: usize, out: &mut [f32]| {
            for (index, slot) in out.iter_mut().enumerate() {
                *slot = sample(start + u64::try_from(from + index).unwrap(), channel);
            }
        };
        producer.try_push(&header, fill).unwrap();
        let event = |(offset, body): &(u32, ChainBody)| ChainEvent {
            epoch: Epoch(self.epoch),
            time: MediaTime::new(start + u64::from(*offset)),
            body: *body,
        };
        let events: Vec<_> = events.iter().map(event).collect();
        let (mut sent, now) = (Vec::new(), HostTime::new(self.now));
        let outlet = &mut self.outlet;
        consumer
            .try_pop(|header, samples| {
                outlet.push(header, &samples, &events, now, &mut |bytes| sent.push(bytes)).unwrap();
            })
            .unwrap();
        self.start += u64::from(self.block);
        self.post_slices(sent);
    }

    pub(super) fn with_intake(
        &mut self,
        act: impl FnOnce(&mut Intake, HostTime, &mut dyn FnMut(Output<'_>)),
    ) {
        let mut reports = Vec::new();
        let (heard, config, now, latest) = (&mut self.heard, self.config, self.now, &mut self.latest);
        act(&mut self.intake, HostTime::new(now), &mut |output| match output {
            Output::Send(bytes) => reports.push(bytes.to_vec()),
            Output::Event(event) => heard.events.push((event.time.get(), event.body)),
            Output::Block { header, samples } => {
                if heard.epoch != header.epoch.0 {
                    let events = std::mem::take(&mut heard.events);
                    *heard = Heard { epoch: header.epoch.0, events, ..Heard::default() };
                }
                let start = header.start.get();
                assert!(header.frames > 0 && header.channels == config.channels);
                let in_order = config.way == Way::There;
                if in_order && start != heard.next {
                    assert!(header.flags.contains(Flags::DISCONTINUITY) || heard.next == 0);
                    heard.jumps.push((heard.next, start));
                }
                let frames = header.frame_count();
                let is_filled = header.flags.contains(Flags::SILENCE);
                for channel in 0..usize::from(config.channels) {
                    let mut out = vec![9.0; frames];
                    samples.read(channel, 0, &mut out);
                    for (frame, found) in (start..).zip(&out) {
                        let expected = if is_filled { 0.0 } else { sample(frame, channel) };
                        assert_eq!(found.to_bits(), expected.to_bits(), "frame {frame} of {channel}");
                    }
                }
                heard.next = start + u64::from(header.frames);
                if is_filled {
                    heard.filled += u64::from(header.frames);
                } else {
                    (start..heard.next).for_each(|frame| *heard.frames.entry(frame).or_default() += 1);
                    let due = 1_000_000_000 + i64::try_from(start * 1_000_000_000 / 48_000).unwrap();
                    *latest = (*latest).max(now - due);
                }
            }
        });
        for report in reports {
            self.depart(&|| Travelling::Report(report.clone()));
        }
    }

    /// All that happens until then.
    pub(super) fn run_until(&mut self, until: i64) {
        loop {
            let arrival = self.travelling.keys().next().map(|(at, _)| *at);
            let wakes = [self.intake.next_wake(), self.outlet.next_wake()];
            let wake = wakes.into_iter().flatten().map(HostTime::get).min();
            let Some(at) = arrival.into_iter().chain(wake).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            if arrival == Some(at) {
                self.arrive();
            }
            let now = HostTime::new(self.now);
            self.with_intake(|intake, now, out| intake.poll(now, out));
            let mut sent = Vec::new();
            self.outlet.poll(now, &mut |bytes| sent.push(bytes));
            self.post_slices(sent);
            assert!(self.intake.next_wake().is_none_or(|at| at > now), "what was due by now is done");
            assert!(self.outlet.next_wake().is_none_or(|at| at > now), "what was due by now is done");
        }
        self.now = until;
    }

    fn arrive(&mut self) {
        let Some((_, packet)) = self.travelling.pop_first() else { return };
        match packet {
            Travelling::Slice(bytes) => {
                let Ok(Packet::Slice(slice)) = Packet::decode(&bytes) else { panic!("no slice") };
                self.with_intake(|intake, now, out| intake.handle(&slice, now, out));
            }
            Travelling::Report(bytes) => {
                let Ok(Packet::SliceReport(report)) = Packet::decode(&bytes) else { panic!("no report") };
                let (mut sent, now) = (Vec::new(), HostTime::new(self.now));
                self.outlet.handle(&report, now, &mut |bytes| sent.push(bytes));
                self.post_slices(sent);
            }
        }
    }

    /// Blocks for so long, each with these events.
    pub(super) fn play(&mut self, millis: i64, mut events: impl FnMut(u64) -> Vec<(u32, ChainBody)>) {
        let until = self.now + millis * MILLISECOND;
        let period = i64::from(self.block) * 1_000_000_000 / 48_000;
        while self.now < until {
            let here = events(self.start);
            self.callback(&here);
            self.run_until(self.now + period);
        }
    }

    /// Lets what is on its way arrive.
    pub(super) fn settle(&mut self) {
        self.run_until(self.now + 2000 * MILLISECOND);
    }

    pub(super) fn frames_heard_once(&self) -> u64 {
        assert!(self.heard.frames.values().all(|count| *count == 1), "each frame once");
        u64::try_from(self.heard.frames.len()).unwrap()
    }
}
