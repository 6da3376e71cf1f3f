//! What a node is: its control half, its audio half, and what the audio half is given for each block.

use std::fmt::Debug;
use std::ops::{Deref, DerefMut, Range};

use audiocloud_dsp::biquad::Shape;
use audiocloud_dsp::ramp::{Curve, Ramp};
use audiocloud_rt::callback::Callback;
use audiocloud_units::SampleRate;
use serde::{Deserialize, Serialize};

use crate::event::{Event, EventList, Transport};

/// The longest block that a [`Processor`] sees, in frames, and the distance of the grid points.
pub const GRID: usize = 64;
/// The most channels of a port.
pub const CHANNELS_MAX: u16 = 64;

/// One channel of one block, at the beginning of a cache line. Moved by its address.
#[derive(Debug)]
pub(crate) struct Buffer(Box<Samples>);

#[derive(Debug)]
#[repr(align(64))]
struct Samples([f32; GRID]);

impl Buffer {
    /// Silence. *Realtime-safe: no* (allocates).
    pub(crate) fn new() -> Self {
        Self(Box::new(Samples([0.0; GRID])))
    }
}

impl Deref for Buffer {
    type Target = [f32; GRID];

    fn deref(&self) -> &Self::Target {
        &self.0.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0.0
    }
}

impl AsMut<[f32]> for Buffer {
    fn as_mut(&mut self) -> &mut [f32] {
        &mut self.0.0
    }
}

/// What goes in and out of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layout {
    /// Channels of each audio input port.
    pub inputs: Vec<u16>,
    /// Channels of each audio output port.
    pub outputs: Vec<u16>,
    /// Whether it takes events.
    pub event_input: bool,
    /// Whether it gives events.
    pub event_output: bool,
}

impl Layout {
    /// One input and one output of so many channels, no events.
    #[must_use]
    pub fn effect(channels: u16) -> Self {
        Self { inputs: vec![channels], outputs: vec![channels], ..Self::default() }
    }
}

/// What happens to a node when the machine is too slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shed {
    /// It goes on as it is.
    #[default]
    Never,
    /// It only shows something, and is the first to be left out. Its audio passes.
    Meter,
    /// It oversamples, and is told to stop that: [`Processor::set_oversampling`].
    Oversampling,
    /// It can be bypassed, by a crossfade.
    Bypass,
}

/// What the compiler may count on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// The first output port's channels replace the first input port's: [`Block::output`] holds the input when the
    /// processor is called, and [`Block::input`] begins with the second port.
    pub in_place: bool,
    /// An output sample depends on nothing that came before it, so that nothing can poison the processor.
    pub stateless: bool,
    /// What it does under overload. What is bypassed must be in place, or have no audio input.
    pub shed: Shed,
}

/// How long a node sounds on after its input fell silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// So many frames.
    Frames(u64),
    /// For ever.
    Infinite,
}

/// How a parameter gets to a new value that came without a ramp of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Smoothing {
    /// At once.
    None,
    /// Along this curve in this many milliseconds, whatever the block size.
    Glide { ms: f32, curve: Curve },
}

/// One parameter of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Stable over versions.
    pub id: u32,
    /// For people.
    pub name: &'static str,
    /// For people: `"Hz"`, `"dB"`, or nothing.
    pub unit: &'static str,
    /// Smallest and largest value; others are clamped.
    pub range: (f32, f32),
    /// The value of a new node.
    pub default: f32,
    /// How it moves.
    pub smoothing: Smoothing,
}

/// What a [`Processor`] is made for; another rate means another processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The device's nominal rate.
    pub sample_rate: SampleRate,
}

/// The audio half of a node, as the compiler knows it.
#[derive(Debug)]
pub enum Kernel {
    /// Multiplies by its first parameter. Chains and sums of these are fused.
    Gain,
    /// Second-order filter; parameters: frequency in Hz, Q, gain in dB. Many at once are run in SIMD lanes.
    Biquad(Shape),
    /// Anything else.
    Processor(Box<dyn Processor>),
}

/// The control half of a node: what it is, not what it does. Lives off the audio thread.
pub trait Node: Debug + Send {
    /// The kind's stable name, by which a snapshot finds it again.
    fn kind(&self) -> &'static str;

    /// What goes in and out.
    fn layout(&self) -> Layout;

    /// What the compiler may count on.
    fn behaviour(&self) -> Behaviour {
        Behaviour::default()
    }

    /// What can be set while playing.
    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    /// Frames from an input sample to the output sample that answers it.
    fn latency_frames(&self, _activation: &Activation) -> u32 {
        0
    }

    /// How long it sounds on.
    fn tail(&self, _activation: &Activation) -> Tail {
        Tail::Frames(0)
    }

    /// What else a snapshot must keep, as the kind's own text; given back to its constructor.
    fn state(&self) -> String {
        String::new()
    }

    /// The audio half, with all memory that it will need.
    fn kernel(&self, activation: &Activation) -> Kernel;
}

/// The audio half of a node. Made off the audio thread, used on it, and freed off it again.
pub trait Processor: Debug + Send {
    /// Writes every sample of every output. The block is at most [`GRID`] frames long, crosses no grid point, and
    /// begins with its events. The result must not depend on how time is cut into blocks; what happens less often
    /// than every sample happens at [`Block::is_at_grid`].
    ///
    /// *Realtime-safe: yes*, audio thread.
    fn process(&mut self, block: &mut Block<'_>);

    /// Forgets all it heard, as new. *Realtime-safe: yes*, audio thread.
    fn reset(&mut self) {}

    /// Oversamples or not, by a crossfade of its own. *Realtime-safe: yes*, audio thread.
    fn set_oversampling(&mut self, _on: bool) {}
}

/// What is the same for all nodes in a block.
#[derive(Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) callback: &'a Callback<'a>,
    /// Frames since reset, at the first frame of the graph's block.
    pub(crate) position: u64,
    /// What the host told, and how many frames ago.
    pub(crate) transport: Transport,
    pub(crate) transport_frames: u64,
    pub(crate) sample_rate: SampleRate,
    pub(crate) offline: bool,
}

/// One block for one processor: its inputs, outputs, parameters and events.
#[derive(Debug)]
pub struct Block<'a> {
    pub(crate) moment: &'a Moment<'a>,
    pub(crate) pool: &'a [Buffer],
    /// Where the inputs are in `pool`.
    pub(crate) inputs: &'a [u32],
    pub(crate) outputs: &'a mut [Buffer],
    pub(crate) parameters: &'a [Ramp],
    pub(crate) events: &'a [Event],
    pub(crate) given: &'a mut EventList,
    /// The frames of the graph's block that this one covers.
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl<'a> Block<'a> {
    fn range(&self) -> Range<usize> {
        // The renderer keeps both within the grid; the bound here lets the compiler know.
        let to = (self.to as usize).min(GRID);
        (self.from as usize).min(to)..to
    }

    /// Length, 1 to [`GRID`].
    #[must_use]
    pub fn frames(&self) -> usize {
        self.range().len()
    }

    /// Frames since reset, at the first frame.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.moment.position + u64::from(self.from)
    }

    /// Whether the first frame is a grid point: the only ones where control-rate work is done.
    #[must_use]
    pub fn is_at_grid(&self) -> bool {
        self.position().is_multiple_of(GRID as u64)
    }

    /// The callback in which this happens.
    #[must_use]
    pub fn callback(&self) -> &'a Callback<'a> {
        self.moment.callback
    }

    /// Where the host's song is at the first frame, as far as it has told.
    #[must_use]
    pub fn transport(&self) -> Transport {
        let frames = self.moment.transport_frames + u64::from(self.from);
        self.moment.transport.after(frames, self.moment.sample_rate)
    }

    /// Whether the host renders without listening, and would rather wait than lose quality.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.moment.offline
    }

    /// Input channels, all ports in a row; without the first port where the node is in place.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Output channels, all ports in a row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// One input channel; nothing where there is none.
    #[must_use]
    pub fn input(&self, channel: usize) -> &[f32] {
        input(self.pool, self.inputs, channel, self.range())
    }

    /// One output channel, to be filled; nothing where there is none.
    pub fn output(&mut self, channel: usize) -> &mut [f32] {
        let range = self.range();
        self.outputs.get_mut(channel).map_or(&mut [], |buffer| &mut buffer[range])
    }

    /// An input and an output channel at once.
    pub fn input_and_output(&mut self, from: usize, to: usize) -> (&[f32], &mut [f32]) {
        let range = self.range();
        let output = self.outputs.get_mut(to).map_or(&mut [][..], |buffer| &mut buffer[range.clone()]);
        (input(self.pool, self.inputs, from, range), output)
    }

    /// All there is at once, for what works on several channels together: the output channels, the input channels and
    /// the parameters, as [`Block::output`], [`Block::input`] and [`Block::parameter`] give them one by one.
    pub fn parts(&mut self) -> (impl Iterator<Item = &mut [f32]>, impl Iterator<Item = &[f32]>, &[Ramp]) {
        let range = self.range();
        let (pool, inputs, to) = (self.pool, self.inputs, range.clone());
        let outputs = self.outputs.iter_mut().map(move |buffer| &mut buffer[to.clone()]);
        let inputs = (0..inputs.len()).map(move |channel| input(pool, inputs, channel, range.clone()));
        (outputs, inputs, self.parameters)
    }

    /// The parameter at this place of [`Node::parameters`]: its value at the first frame, and the ramp it is on.
    #[must_use]
    pub fn parameter(&self, index: usize) -> Ramp {
        self.parameters.get(index).copied().unwrap_or(Ramp::constant(0.0))
    }

    /// What happens at the first frame. Parameters and bypass are set already, and are not among it.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        self.events
    }

    /// Gives an event to the nodes that are connected to the event output; `offset` frames into this block.
    /// `false` where there is no room; that is counted.
    pub fn give(&mut self, event: Event) -> bool {
        self.given.push(Event { offset: event.offset.saturating_add(self.from).min(self.to - 1), ..event })
    }
}

fn input<'a>(pool: &'a [Buffer], wiring: &[u32], channel: usize, range: Range<usize>) -> &'a [f32] {
    let buffer = wiring.get(channel).and_then(|index| pool.get(*index as usize));
    buffer.map_or(&[], |buffer| &buffer[range])
}
