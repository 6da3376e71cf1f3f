//! What an effect is: its kind, what it is made for, and what it is given for each block.

use std::fmt::{self, Debug};

use audiocloud_dsp::ramp::Ramp;
use audiocloud_units::SampleRate;

use crate::parameter::{Parameter, index};

/// The longest block in frames, and the distance of the grid points.
pub const GRID: usize = 64;
/// The same, as frames are counted.
pub const GRID_FRAMES: u32 = 64;
/// The most channels that an effect is made for.
pub const CHANNELS_MAX: usize = 2;

/// What an effect is made for; another rate or width means another effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    pub sample_rate: SampleRate,
    /// 1 or 2.
    pub channels: u16,
}

impl Activation {
    /// Frames per second. *Realtime-safe: yes.*
    #[must_use]
    pub fn rate_hz(&self) -> f64 {
        f64::from(self.sample_rate.hz())
    }

    /// 1 or 2, as an index needs it. *Realtime-safe: yes.*
    #[must_use]
    pub fn width(&self) -> usize {
        usize::from(self.channels).clamp(1, CHANNELS_MAX)
    }

    /// The nearest whole number of frames, below 2³¹. *Realtime-safe: yes.*
    #[must_use]
    pub fn frames(&self, time_ms: f64) -> u32 {
        let frames = libm::round(time_ms * self.rate_hz() / 1000.0).clamp(0.0, f64::from(i32::MAX));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range")]
        let frames = frames as u32;
        frames
    }
}

/// How long an effect sounds on after its input fell silent, from the frame on that answers the first silent one: until
/// its output stays below −100 dBFS, after an input of full scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// So many frames.
    Frames(u64),
    /// For ever.
    Infinite,
}

/// Where the host's song is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transport {
    /// Whether it rolls.
    pub playing: bool,
    /// Quarter notes per minute.
    pub tempo_bpm: f64,
    /// Quarter notes since the song's beginning, at the block's first frame; negative in a count-in.
    pub position_beats: f64,
    /// Beats in a bar, and the note value that is a beat.
    pub signature: (u16, u16),
}

/// One sort of effect, as the list of all shows it.
pub struct Kind {
    /// Stable for ever: chains are kept by it.
    pub id: &'static str,
    /// For people.
    pub name: &'static str,
    /// For people: one sentence on what it does.
    pub about: &'static str,
    /// In the order of [`Block::parameters`].
    pub parameters: &'static [Parameter],
    /// Whether it can listen to another signal.
    pub side_chain: bool,
    /// Whether it heeds [`Effect::set_oversampling`].
    pub oversamples: bool,
    /// Frames from an input sample to the output sample that answers it: the same for every setting.
    pub latency_frames: fn(&Activation) -> u32,
    /// How long it sounds on with these plain values, one for each parameter.
    pub tail: fn(&Activation, &[f32]) -> Tail,
    /// Makes one, with all memory that it will need. *Realtime-safe: no.*
    pub make: fn(&Activation) -> Box<dyn Effect>,
}

impl Kind {
    /// The parameter with this id, and its place.
    #[must_use]
    pub fn parameter(&self, id: u32) -> Option<(usize, &'static Parameter)> {
        self.parameters.iter().enumerate().find(|(_, parameter)| parameter.id == id)
    }

    /// The plain values of a new effect, in order.
    #[must_use]
    pub fn defaults(&self) -> Vec<f32> {
        self.parameters.iter().map(|parameter| parameter.default).collect()
    }
}

impl Debug for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Kind").field(&self.id).finish()
    }
}

/// An effect at work. Made off the audio thread, used on it, and freed off it again.
pub trait Effect: Debug + Send {
    /// Processes a block in place. The result must not depend on how time is cut into blocks: what happens less often
    /// than every sample happens where [`Control::due`] says so.
    ///
    /// *Realtime-safe: yes*, audio thread.
    fn process(&mut self, block: &mut Block<'_, '_>);

    /// Forgets all it heard: from here on it does what a new one would, bit for bit.
    ///
    /// *Realtime-safe: yes*, audio thread.
    fn reset(&mut self);

    /// Oversamples or not, by a crossfade of its own. Its latency stays.
    ///
    /// *Realtime-safe: yes*, audio thread.
    fn set_oversampling(&mut self, _on: bool) {}
}

/// One block: at most [`GRID`] frames, which cross no grid point.
#[derive(Debug)]
pub struct Block<'a, 'b> {
    /// The channels that the effect was made for, all equally long: input, and then output.
    pub main: &'a mut [&'b mut [f32]],
    /// Another signal to listen to, as long; empty where there is none.
    pub side_chain: &'a [&'b [f32]],
    /// In the order of [`Kind::parameters`]: each with its value at the first frame, and the ramp it is on.
    pub parameters: &'a [Ramp],
    /// Frames since the grid began, at the first frame.
    pub position: u64,
    /// Where the host's song is at the first frame, where that is known.
    pub transport: Option<Transport>,
    /// Whether nobody listens, so that quality comes before time.
    pub offline: bool,
}

impl Block<'_, '_> {
    /// Length, 1 to [`GRID`]. *Realtime-safe: yes.*
    #[must_use]
    pub fn frames(&self) -> usize {
        self.main.first().map_or(0, |channel| channel.len()).min(GRID)
    }

    /// Whether the first frame is a grid point. *Realtime-safe: yes.*
    #[must_use]
    pub fn is_at_grid(&self) -> bool {
        self.position.is_multiple_of(GRID as u64)
    }

    /// Frames since the last grid point, below [`GRID`]. *Realtime-safe: yes.*
    #[must_use]
    pub fn offset(&self) -> u32 {
        #[allow(clippy::cast_possible_truncation, reason = "below 64")]
        let offset = (self.position % GRID as u64) as u32;
        offset
    }

    /// The parameter at this place. *Realtime-safe: yes.*
    #[must_use]
    pub fn ramp(&self, place: usize) -> Ramp {
        self.parameters.get(place).copied().unwrap_or(Ramp::constant(0.0))
    }

    /// Its plain value at the first frame. *Realtime-safe: yes.*
    #[must_use]
    pub fn value(&self, place: usize) -> f32 {
        self.ramp(place).value()
    }

    /// Its plain value at the next grid point, if nothing else is asked of it until then: where that which moves from
    /// grid point to grid point should be going. *Realtime-safe: yes.*
    #[must_use]
    pub fn ahead(&self, place: usize) -> f32 {
        let mut ramp = self.ramp(place);
        ramp.advance(GRID_FRAMES - self.offset());
        ramp.value()
    }

    /// The index of a choice: the one it is on its way to, for there is nothing between two. *Realtime-safe: yes.*
    #[must_use]
    pub fn choice(&self, place: usize) -> usize {
        index(self.ramp(place).target())
    }

    /// A switch: as [`Self::choice`]. *Realtime-safe: yes.*
    #[must_use]
    pub fn is_on(&self, place: usize) -> bool {
        self.ramp(place).target() > 0.5
    }
}

/// Tells when control-rate work is due: at grid points, and once before anything else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Control {
    begun: bool,
}

/// Why control-rate work is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The first block since it was made or reset, wherever it begins: what glides elsewhere jumps here.
    First,
    /// A grid point.
    Grid,
}

impl Control {
    /// *Realtime-safe: yes*.
    pub fn due(&mut self, block: &Block<'_, '_>) -> Option<Due> {
        if !std::mem::replace(&mut self.begun, true) {
            Some(Due::First)
        } else if block.is_at_grid() {
            Some(Due::Grid)
        } else {
            None
        }
    }

    /// As new. *Realtime-safe: yes.*
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}
