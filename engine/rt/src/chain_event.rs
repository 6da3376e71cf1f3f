//! Events of a chain of effects: notes, parameters, bypass and transport at frame indices, of a fixed size.
//!
//! A parameter is addressed by its effect's id in the chain and its own id in the effect, both stable; values are plain
//! ones (dB, Hz, an index of choices).

use audiocloud_units::MediaTime;

use crate::block_ring::Epoch;
use crate::event;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ChainBody {
    /// A note, an expression or a MIDI message.
    Voice(event::Body),
    /// A parameter goes to a value.
    Parameter {
        /// The effect's id in the chain.
        effect: u32,
        /// The parameter's id in the effect.
        parameter: u32,
        /// Where it goes, as a plain value.
        value: f32,
        /// Over how many frames from the event's; `None`: as the parameter is smoothed.
        ramp_frames: Option<u32>,
    },
    /// An effect is passed by, or comes back, by a crossfade.
    Bypass {
        /// The effect's id in the chain.
        effect: u32,
        /// Whether it is passed by.
        on: bool,
    },
    /// What the host's transport does from this frame on.
    Transport {
        /// Whether it rolls.
        playing: bool,
        /// Quarter notes a minute.
        tempo_bpm: f64,
        /// Where this frame is, in quarter notes since the song's start; negative before it.
        position_beats: f64,
        /// Beats of a bar, and which note is a beat: (3, 4) for 3/4.
        signature: (u16, u16),
    },
}

/// Something that happens at one frame of what goes through a chain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChainEvent {
    /// The epoch that `time` counts in.
    pub epoch: Epoch,
    /// The frame at which it happens.
    pub time: MediaTime,
    /// What happens.
    pub body: ChainBody,
}

/// The end that writes. *Realtime-safe: yes*, but for dropping it: the last end to go frees the ring.
pub type Producer = rtrb::Producer<ChainEvent>;
/// The end that reads. *Realtime-safe: yes*, but for dropping it: the last end to go frees the ring.
pub type Consumer = rtrb::Consumer<ChainEvent>;

/// A ring of `capacity` events. *Realtime-safe: no* (allocates).
#[must_use]
pub fn chain_event_ring(capacity: usize) -> (Producer, Consumer) {
    rtrb::RingBuffer::new(capacity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_small() {
        assert!(size_of::<ChainEvent>() <= 56, "{}", size_of::<ChainEvent>());
    }
}
