//! A node on the audio thread: its processor, parameters and events. It stays where it is while schedules come and go.

use audiocloud_dsp::biquad::{Coefficients, Shape, State};
use audiocloud_dsp::ramp::{Curve, Ramp};

use crate::bypass::Bypass;
use crate::event::{Body, Event, EventList};
use crate::graph::Entry;
use crate::node::{Activation, Kernel, Parameter, Processor, Shed, Smoothing};

/// Events that a node may be given, or may give, in one block.
const EVENTS: usize = 256;
/// The parameters of a biquad, in order.
const FREQUENCY: usize = 0;
const Q: usize = 1;
const GAIN_DB: usize = 2;

/// A second-order filter with a state for each channel. That of mono and stereo is all in one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Filter {
    shape: Shape,
    sample_rate_hz: f64,
    pub(crate) coefficients: Coefficients,
    front: [State; 2],
    others: Box<[State]>,
}

impl Filter {
    pub(crate) fn state(&mut self, channel: u32) -> Option<&mut State> {
        match (channel as usize).checked_sub(self.front.len()) {
            None => self.front.get_mut(channel as usize),
            Some(other) => self.others.get_mut(other),
        }
    }
}

/// The audio half.
#[derive(Debug, Default)]
pub(crate) enum Player {
    /// Nobody is here.
    #[default]
    Nobody,
    /// A gain, or the graph's input or output: all that they need is the slot.
    Plain,
    Filter(Box<Filter>),
    Processor(Box<dyn Processor>),
}

/// How a parameter event becomes a ramp.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    id: u32,
    low: f32,
    high: f32,
    smoothing_frames: u32,
    curve: Curve,
}

/// What a node is given and gives, in one block.
#[derive(Debug)]
pub(crate) struct Voices {
    pub(crate) given: EventList,
    pub(crate) taken: EventList,
}

/// See the module. What every block needs of it is in one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Slot {
    pub(crate) player: Player,
    pub(crate) parameters: Box<[Ramp]>,
    pub(crate) ranges: Box<[Range]>,
    pub(crate) voices: Option<Box<Voices>>,
    pub(crate) bypass: Option<Box<Bypass>>,
    pub(crate) key: u64,
    /// How often something that is not a number came out.
    pub(crate) faults: u32,
    /// Events that found no room.
    pub(crate) refused: u64,
    pub(crate) stateless: bool,
    pub(crate) shed: Shed,
    /// Whether a ramp is on its way.
    pub(crate) moving: bool,
    /// Whether the ramps were moved on within the present block already.
    pub(crate) ahead: bool,
}

impl Slot {
    /// A slot for a node of a graph, with all its memory. *Realtime-safe: no*.
    pub(crate) fn new(
        entry: &Entry,
        key: u64,
        activation: &Activation,
        fade_frames: u32,
        terminal: bool,
    ) -> Self {
        let ramps = entry.values.iter().map(|value| Ramp::constant(*value));
        let rate = f64::from(activation.sample_rate.hz());
        let channels = entry.layout.inputs.first().map_or(0, |channels| usize::from(*channels));
        let mut slot = Self {
            parameters: ramps.collect(),
            ranges: entry.parameters.iter().map(|parameter| Range::of(parameter, rate)).collect(),
            key,
            stateless: entry.behaviour.stateless,
            shed: entry.behaviour.shed,
            ..Self::default()
        };
        if entry.layout.event_input || entry.layout.event_output {
            let list = EventList::with_capacity;
            slot.voices = Some(Box::new(Voices { given: list(EVENTS), taken: list(EVENTS) }));
        }
        slot.player = match entry.node.kernel(activation) {
            _ if terminal => Player::Plain,
            Kernel::Gain => Player::Plain,
            Kernel::Biquad(shape) => Player::Filter(Box::new(Filter {
                shape,
                sample_rate_hz: rate,
                coefficients: Coefficients::IDENTITY,
                front: [State::default(); 2],
                others: vec![State::default(); channels.saturating_sub(2)].into_boxed_slice(),
            })),
            Kernel::Processor(processor) => {
                if entry.can_be_bypassed() {
                    let latency = entry.node.latency_frames(activation);
                    slot.bypass = Some(Box::new(Bypass::new(channels, latency, fade_frames, entry.bypassed)));
                }
                Player::Processor(processor)
            }
        };
        slot.design();
        slot
    }

    /// Has the node hear of something at its next frame. True where a parameter is on its way from now on.
    pub(crate) fn hear(&mut self, body: &Body) -> bool {
        match *body {
            Body::Parameter { .. } => {
                // Also where it jumped: a filter has yet to follow.
                set(&mut self.parameters, &self.ranges, body) && !std::mem::replace(&mut self.moving, true)
            }
            Body::Bypass(bypassed) => {
                if let Some(bypass) = &mut self.bypass {
                    bypass.set_by_user(bypassed);
                }
                false
            }
            Body::Voice(_) | Body::Modulation { .. } | Body::Transport(_) => {
                if let Some(voices) = &mut self.voices {
                    // In the order in which it is told, and before what a node gives at this very frame.
                    voices.given.push_aged(Event { offset: 0, body: *body }, u32::MAX);
                }
                false
            }
        }
    }

    /// Moves all ramps on to the end of the block, where they are not there yet.
    pub(crate) fn advance(&mut self, frames: u32) {
        if !std::mem::take(&mut self.ahead) {
            self.parameters.iter_mut().for_each(|ramp| ramp.advance(frames));
        }
    }

    /// A filter follows its parameters.
    pub(crate) fn design(&mut self) {
        if let Player::Filter(filter) = &mut self.player {
            let value = |index: usize| f64::from(self.parameters.get(index).map_or(0.0, Ramp::value));
            filter.coefficients = Coefficients::design(
                filter.shape,
                value(FREQUENCY),
                value(Q),
                value(GAIN_DB),
                filter.sample_rate_hz,
            );
        }
    }

    pub(crate) fn is_filter(&self) -> bool {
        matches!(self.player, Player::Filter(_))
    }

    /// Forgets what was heard; parameters are where they were going.
    pub(crate) fn reset(&mut self) {
        for ramp in &mut self.parameters {
            ramp.jump(ramp.target());
        }
        self.moving = false;
        self.ahead = false;
        self.forget();
        self.design();
        if let Some(bypass) = &mut self.bypass {
            bypass.reset();
        }
        if let Some(voices) = &mut self.voices {
            voices.given.clear();
            voices.taken.clear();
        }
    }

    /// The processor forgets what it heard.
    pub(crate) fn forget(&mut self) {
        match &mut self.player {
            Player::Filter(filter) => {
                filter.front.fill(State::default());
                filter.others.fill(State::default());
            }
            Player::Processor(processor) => processor.reset(),
            Player::Nobody | Player::Plain => {}
        }
    }
}

impl Range {
    fn of(parameter: &Parameter, sample_rate_hz: f64) -> Self {
        let (smoothing_frames, curve) = match parameter.smoothing {
            Smoothing::None => (0, Curve::Linear),
            Smoothing::Glide { ms, curve } => (frames(f64::from(ms) / 1_000.0 * sample_rate_hz), curve),
        };
        let (low, high) = parameter.range;
        Self { id: parameter.id, low, high, smoothing_frames, curve }
    }
}

/// Sends the parameter that the event names on its way. False where there is none, or nowhere to go.
pub(crate) fn set(parameters: &mut [Ramp], ranges: &[Range], body: &Body) -> bool {
    let Body::Parameter { id, value, ramp_frames, curve } = *body else { return false };
    let mut known = ranges.iter().zip(parameters);
    let Some((range, ramp)) = known.find(|(range, _)| range.id == id) else { return false };
    if !value.is_finite() {
        return false;
    }
    let (frames, curve) = match ramp_frames {
        Some(frames) => (frames, curve),
        None => (range.smoothing_frames, range.curve),
    };
    ramp.glide(value.clamp(range.low, range.high), frames, curve);
    true
}

/// Rounded to whole frames.
pub(crate) fn frames(frames: f64) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the bounds, and such a cast saturates in any case"
    )]
    let frames = (frames + 0.5).clamp(0.0, f64::from(u32::MAX)) as u32;
    frames
}
