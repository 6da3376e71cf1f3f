//! What effects that follow a level have in common: when they look at their settings, how quickly they follow, and what they
//! listen to.

use crate::effect::{Activation, Block, Control};
use crate::key::{self, Key, Levels, Measure, left_per_frame};
use crate::parameter::{Parameter, Unit};

/// The time constant at which it takes hold.
pub(crate) const fn attack(id: u32, min_ms: f32, max_ms: f32, default_ms: f32) -> Parameter {
    Parameter::logarithmic(id, "Attack", Unit::Milliseconds, min_ms, max_ms, default_ms).without_glide()
}

/// The time constant at which it lets go.
pub(crate) const fn release(id: u32, max_ms: f32) -> Parameter {
    Parameter::logarithmic(id, "Release", Unit::Milliseconds, 5.0, max_ms, 120.0).without_glide()
}

/// Where its parameters are in the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) attack: usize,
    pub(crate) release: usize,
    /// What it listens to: [`key::source`], and behind it [`key::low_cut`] and [`key::high_cut`].
    pub(crate) key: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Dynamics {
    places: Places,
    rate_hz: f64,
    control: Control,
    key: Key,
    /// What is left of a distance after one frame.
    pub(crate) attack_left: f32,
    pub(crate) release_left: f32,
}

impl Dynamics {
    /// *Realtime-safe: no*, it allocates.
    pub(crate) fn new(activation: &Activation, places: Places) -> Self {
        Self {
            places,
            rate_hz: activation.rate_hz(),
            control: Control::default(),
            key: Key::new(activation),
            attack_left: 0.0,
            release_left: 0.0,
        }
    }

    /// At the control rate: does as the block's parameters say. Whether it was time for that, and so is for the others.
    /// *Realtime-safe: yes.*
    pub(crate) fn follow(&mut self, block: &Block<'_, '_>) -> bool {
        let Some(due) = self.control.due(block) else { return false };
        let Places { attack, release, key } = self.places;
        self.attack_left = self.left(block.value(attack));
        self.release_left = self.left(block.value(release));
        self.key.set(
            due,
            key::Setting {
                source: block.choice(key),
                low_cut_hz: block.value(key + 1),
                high_cut_hz: block.value(key + 2),
            },
        );
        true
    }

    #[allow(clippy::cast_possible_truncation, reason = "the nearest single is what is asked for")]
    fn left(&self, time_ms: f32) -> f32 {
        left_per_frame(f64::from(time_ms), self.rate_hz) as f32
    }

    /// See [`Key::listen`]. *Realtime-safe: yes.*
    pub(crate) fn listen(&mut self, block: &Block<'_, '_>, measure: Measure) -> Levels {
        self.key.listen(block, measure)
    }

    /// As new. *Realtime-safe: yes.*
    pub(crate) fn reset(&mut self) {
        self.control.reset();
        self.key.reset();
    }
}
