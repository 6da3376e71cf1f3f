//! Nodes of every sort that a graph treats in its own way. Their processors are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use audiocloud_dsp::delay::Ring;
use audiocloud_dsp::ramp::Curve;
use audiocloud_graph::event::{Body, Event};
use audiocloud_graph::node::{
    Activation, Behaviour, Block, GRID, Kernel, Layout, Node, Parameter, Processor, Shed, Smoothing,
};
use audiocloud_rt::event as voice;
use audiocloud_rt::event::NoteAddress;
use audiocloud_rt::host_time;

/// What all members of a test share.
#[derive(Clone, Debug, Default)]
pub(crate) struct World(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    processors: AtomicUsize,
    /// How long a [`Sort::Slow`] takes, in thousandths of what its block lasts.
    load: AtomicU32,
    oversampling_changes: AtomicUsize,
}

impl World {
    /// Processors that are not freed yet.
    pub(crate) fn processors(&self) -> usize {
        self.0.processors.load(Ordering::SeqCst)
    }

    pub(crate) fn set_load(&self, thousandths: u32) {
        self.0.load.store(thousandths, Ordering::Relaxed);
    }

    pub(crate) fn oversampling_changes(&self) -> usize {
        self.0.oversampling_changes.load(Ordering::Relaxed)
    }
}

/// One processor, counted from its making until it is freed.
#[derive(Debug)]
struct Life(World);

impl Life {
    fn new(world: &World) -> Self {
        world.0.processors.fetch_add(1, Ordering::SeqCst);
        Self(world.clone())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.0.processors.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Delays by its latency, in place; may be bypassed.
    Late { latency: u32 },
    /// Turns its first port down by its mono second port, and passes events on, many more than there is room for now
    /// and then.
    SideChain,
    /// Sounds as long as a note is held.
    Voice,
    /// Passes, and gives an event at each grid point.
    Meter,
    /// Passes, and hears whether it may oversample.
    Oversampling,
    /// Without state, and not in place.
    Stateless,
    /// Passes, and takes as long as the world wants.
    Slow,
}

impl Sort {
    /// All but the slow one, of which there is to be one at a time.
    pub(crate) const ALL: [Self; 6] = [
        Self::Late { latency: 20 },
        Self::SideChain,
        Self::Voice,
        Self::Meter,
        Self::Oversampling,
        Self::Stateless,
    ];
}

/// See [`Sort`]. Its one parameter is a factor.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) world: World,
    pub(crate) sort: Sort,
    pub(crate) channels: u16,
    /// Grid points between samples that are not numbers; 0 for none at all.
    pub(crate) fault_grids: u32,
}

impl Member {
    pub(crate) const KIND: &'static str = "member";
    pub(crate) const LEVEL: u32 = 7;
}

impl Node for Member {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn layout(&self) -> Layout {
        let effect = Layout::effect(self.channels);
        match self.sort {
            Sort::Late { .. } | Sort::Oversampling | Sort::Stateless | Sort::Slow => effect,
            Sort::SideChain => {
                Layout { inputs: vec![self.channels, 1], event_input: true, event_output: true, ..effect }
            }
            Sort::Voice => Layout { inputs: Vec::new(), event_input: true, ..effect },
            Sort::Meter => Layout { outputs: vec![self.channels, 1], event_output: true, ..effect },
        }
    }

    fn behaviour(&self) -> Behaviour {
        let in_place = |shed| Behaviour { in_place: true, shed, ..Behaviour::default() };
        match self.sort {
            Sort::Late { .. } | Sort::Slow => in_place(Shed::Bypass),
            Sort::SideChain => Behaviour::default(),
            Sort::Voice => Behaviour { shed: Shed::Bypass, ..Behaviour::default() },
            Sort::Meter => in_place(Shed::Meter),
            Sort::Oversampling => in_place(Shed::Oversampling),
            Sort::Stateless => Behaviour { stateless: true, ..Behaviour::default() },
        }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let smoothing = Smoothing::Glide { ms: 1.0, curve: Curve::Linear };
        let (id, range) = (Self::LEVEL, (0.0, 1.0));
        vec![Parameter { id, name: "Level", unit: "", range, default: 0.5, smoothing }]
    }

    fn latency_frames(&self, _activation: &Activation) -> u32 {
        if let Sort::Late { latency } = self.sort { latency } else { 0 }
    }

    fn kernel(&self, activation: &Activation) -> Kernel {
        let latency = self.latency_frames(activation);
        Kernel::Processor(Box::new(MemberProcessor {
            lines: (0..self.channels).map(|_| Ring::new(latency as usize + GRID)).collect(),
            latency: latency as usize,
            sort: self.sort,
            fault_frames: u64::from(self.fault_grids) * GRID as u64,
            nanos_per_frame: 1_000_000_000 / u64::from(activation.sample_rate.hz()),
            held: 0,
            life: Life::new(&self.world),
        }))
    }
}

#[derive(Debug)]
struct MemberProcessor {
    sort: Sort,
    lines: Vec<Ring>,
    latency: usize,
    fault_frames: u64,
    nanos_per_frame: u64,
    held: u32,
    life: Life,
}

impl MemberProcessor {
    fn pass_on(block: &mut Block<'_>) {
        // At most as many as the list holds, and now and then more than that.
        for index in 0..block.events().len() {
            let event = Event { offset: 0, ..block.events()[index] };
            block.give(event);
        }
        if block.is_at_grid() && block.position().is_multiple_of(64 * 41) {
            for offset in 0..300 {
                let note = NoteAddress { note_id: -1, port: 0, channel: 0, key: 60 };
                let body = Body::Voice(voice::Body::NoteOn { note, velocity: 1.0 });
                block.give(Event { offset: offset % 64, body });
            }
        }
    }

    fn hear(&mut self, block: &Block<'_>) {
        for event in block.events() {
            match event.body {
                Body::Voice(voice::Body::NoteOn { .. }) => self.held = self.held.saturating_add(1),
                Body::Voice(voice::Body::NoteOff { note, .. }) if note.key < 0 => self.held = 0,
                Body::Voice(voice::Body::NoteOff { .. }) => self.held = self.held.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn spin(&self, frames: usize) {
        let began = host_time::now();
        let load = u64::from(self.life.0.0.load.load(Ordering::Relaxed));
        let spend = frames as u64 * self.nanos_per_frame * load / 1_000;
        while u64::try_from((host_time::now() - began).get()).unwrap_or(u64::MAX) < spend {
            std::hint::spin_loop();
        }
    }
}

impl Processor for MemberProcessor {
    fn process(&mut self, block: &mut Block<'_>) {
        let level = block.parameter(0);
        let outputs = block.outputs();
        match self.sort {
            Sort::Late { .. } => {
                for (channel, line) in self.lines.iter_mut().enumerate() {
                    let samples = block.output(channel);
                    line.write(samples);
                    line.read_back(self.latency + samples.len(), samples);
                }
            }
            Sort::SideChain => {
                Self::pass_on(block);
                for channel in 0..outputs {
                    let turn_down = block.input(outputs).iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
                    let (input, output) = block.input_and_output(channel, channel);
                    for (output, input) in output.iter_mut().zip(input) {
                        *output = input / (1.0 + turn_down);
                    }
                }
            }
            Sort::Voice => {
                self.hear(block);
                let value = if self.held > 0 { 0.1 * level.value() } else { 0.0 };
                (0..outputs).for_each(|channel| block.output(channel).fill(value));
            }
            Sort::Meter => {
                let peak = block.output(0).iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
                block.output(outputs - 1).fill(peak);
                if block.is_at_grid() {
                    let body = Body::parameter(Member::LEVEL, peak);
                    block.give(Event { offset: 0, body });
                }
            }
            Sort::Oversampling => {}
            Sort::Stateless => {
                for channel in 0..outputs {
                    let (input, output) = block.input_and_output(channel, channel);
                    for (output, input) in output.iter_mut().zip(input) {
                        *output = input * level.value();
                    }
                }
            }
            Sort::Slow => self.spin(block.frames()),
        }
        let position = block.position();
        if self.fault_frames > 0 && position.is_multiple_of(self.fault_frames) {
            let is_nan = position.is_multiple_of(2 * self.fault_frames);
            let bad = if is_nan { f32::NAN } else { f32::INFINITY };
            block.output(0)[0] = bad;
        }
    }

    fn reset(&mut self) {
        self.lines.iter_mut().for_each(Ring::reset);
        self.held = 0;
    }

    fn set_oversampling(&mut self, _on: bool) {
        self.life.0.0.oversampling_changes.fetch_add(1, Ordering::Relaxed);
    }
}
