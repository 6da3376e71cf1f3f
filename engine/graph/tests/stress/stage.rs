//! Random callbacks.

use audiocloud_graph::event::{Body, Transport};
use audiocloud_graph::node::CHANNELS_MAX;
use audiocloud_graph::renderer::{Address, Call, HostEvent, Ports, Renderer, Target};
use audiocloud_rt::event as voice;
use audiocloud_rt::{callback, event::NoteAddress};

use super::Random;
use super::member::Member;

/// A host that calls at random.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) renderer: Renderer,
    random: Random,
    host: Host,
    events: Vec<HostEvent>,
    /// Calls for which it still renders offline.
    offline: u64,
    pub(crate) callbacks: u64,
    pub(crate) frames: u64,
}

/// Noise in; out, nothing but numbers.
#[derive(Debug)]
struct Host {
    random: Random,
    bad_inputs: bool,
    bad_outputs: u64,
    loudest: f32,
    events: u64,
}

impl Ports for Host {
    fn read(&mut self, _bus: usize, _channel: usize, _from: usize, samples: &mut [f32]) {
        samples.iter_mut().for_each(|sample| *sample = self.random.unit() - 0.5);
        if self.bad_inputs {
            samples[0] = f32::NAN;
        }
    }

    fn write(&mut self, bus: usize, channel: usize, _from: usize, samples: &[f32]) {
        assert!(bus < 2 && channel < usize::from(CHANNELS_MAX));
        self.bad_outputs += samples.iter().filter(|sample| !sample.is_finite()).count() as u64;
        self.loudest = samples.iter().fold(self.loudest, |loudest, sample| loudest.max(sample.abs()));
    }

    fn event(&mut self, _offset: usize, _body: &Body) {
        self.events += 1;
    }
}

impl Stage {
    pub(crate) fn new(renderer: Renderer, seed: u64) -> Self {
        let host =
            Host { random: Random::new(seed), bad_inputs: false, bad_outputs: 0, loudest: 0.0, events: 0 };
        let events = Vec::with_capacity(8_192);
        Self { renderer, random: Random::new(seed + 1), host, events, offline: 0, callbacks: 0, frames: 0 }
    }

    /// One callback of random length, with random events to the graph's input and to these nodes.
    pub(crate) fn call(&mut self, addresses: &[Address]) {
        let frames = match self.random.below(200) {
            0 => 0,
            1 => self.random.index(2_000),
            2..30 => 64,
            30..100 => 1 + self.random.index(16),
            _ => 1 + self.random.index(192),
        };
        self.gather_events(frames, addresses);
        if self.random.one_in(500) {
            self.offline = self.random.below(20);
        }
        self.offline = self.offline.saturating_sub(1);
        self.host.bad_inputs = self.random.one_in(300);
        let resets = self.random.one_in(2_000);
        let transport = self.random.one_in(10).then(|| Transport { playing: true, ..Transport::default() });
        self.play(frames, transport, self.offline > 0, resets);
    }

    /// One callback of so many frames in which nothing else happens.
    pub(crate) fn call_plainly(&mut self, frames: usize) {
        self.events.clear();
        self.host.bad_inputs = false;
        self.play(frames, None, false, false);
    }

    fn play(&mut self, frames: usize, transport: Option<Transport>, offline: bool, resets: bool) {
        callback::enter(|callback| {
            if resets {
                self.renderer.reset(callback);
            }
            let call = Call { callback, transport, offline, events: &self.events };
            self.renderer.process(&call, frames, &mut self.host);
        });
        self.callbacks += 1;
        self.frames += frames as u64;
    }

    fn gather_events(&mut self, frames: usize, addresses: &[Address]) {
        self.events.clear();
        let (count, at_once) = match self.random.below(2_000) {
            // More than may wait for their time, and more than one node takes at once.
            0 => (5_000, false),
            1..5 => (300, true),
            5..500 => (self.random.index(8), false),
            _ => (0, false),
        };
        let one = self.random.pick(addresses).map_or(Target::Input, Target::Node);
        for _ in 0..count {
            // A few come too late for their block.
            let offset = self.random.number(u32::try_from(frames).unwrap() + 2);
            let (offset, target) = match self.random.pick(addresses) {
                _ if at_once => (0, one),
                Some(address) if !self.random.one_in(3) => (offset, Target::Node(address)),
                _ => (offset, Target::Input),
            };
            let body = self.body();
            self.events.push(HostEvent { offset, target, body });
        }
    }

    fn body(&mut self) -> Body {
        let key = i16::try_from(self.random.below(128)).unwrap();
        let note = NoteAddress { note_id: -1, port: 0, channel: 0, key };
        match self.random.below(6) {
            0 | 1 => Body::Voice(voice::Body::NoteOn { note, velocity: 0.5 }),
            2 => Body::Voice(voice::Body::NoteOff { note, velocity: 0.5 }),
            3 => Body::Parameter {
                id: if self.random.one_in(2) { Member::LEVEL } else { 0 },
                value: 3_000.0 * self.random.unit() - 500.0,
                ramp_frames: self.random.one_in(2).then_some(100),
                curve: audiocloud_dsp::ramp::Curve::Exponential,
            },
            4 => Body::Modulation { id: 0, note, amount: 0.5 },
            _ => Body::Bypass(self.random.one_in(2)),
        }
    }

    /// Samples that left and were not numbers, the loudest of the others, and events that left.
    pub(crate) fn heard(&self) -> (u64, f32, u64) {
        (self.host.bad_outputs, self.host.loudest, self.host.events)
    }
}
