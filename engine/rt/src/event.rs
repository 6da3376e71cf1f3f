//! Events beside the audio: notes, expressions and MIDI at frame indices, of a fixed size.

use audiocloud_units::MediaTime;

use crate::block_ring::Epoch;

/// Which note is meant, as in CLAP: −1 in a field stands for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteAddress {
    /// The host's own id of the voice, −1 where it gave none.
    pub note_id: i32,
    /// Note port, from 0; −1 any.
    pub port: i16,
    /// MIDI channel, 0 to 15; −1 any.
    pub channel: i16,
    /// MIDI key, 0 to 127; −1 any.
    pub key: i16,
}

impl NoteAddress {
    /// Whether a note-off for `self` ends the sounding note `note`: every field agrees or is "any" on one side.
    ///
    /// *Realtime-safe: yes*, any thread.
    #[must_use]
    pub fn matches(&self, note: &NoteAddress) -> bool {
        let id = self.note_id == -1 || note.note_id == -1 || self.note_id == note.note_id;
        let agree = |mine: i16, theirs: i16| mine == -1 || theirs == -1 || mine == theirs;
        id && agree(self.port, note.port) && agree(self.channel, note.channel) && agree(self.key, note.key)
    }
}

/// CLAP's note expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Linear gain, 0 to 4.
    Volume,
    /// 0 left to 1 right.
    Pan,
    /// Semitones from the key, ±120.
    Tuning,
    /// 0 to 1.
    Vibrato,
    /// 0 to 1.
    Expression,
    /// 0 to 1.
    Brightness,
    /// 0 to 1.
    Pressure,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// A note begins; velocity 0 to 1.
    NoteOn { note: NoteAddress, velocity: f64 },
    /// A note is let go; velocity 0 to 1.
    NoteOff { note: NoteAddress, velocity: f64 },
    /// A note is cut at once.
    NoteChoke { note: NoteAddress },
    /// One expression of a sounding note changes.
    NoteExpression { note: NoteAddress, expression: Expression, value: f64 },
    /// MIDI 1.0 channel voice bytes, unused ones 0.
    Midi1 { port: u16, bytes: [u8; 3] },
    /// A MIDI 2.0 universal packet, unused words 0.
    Midi2 { port: u16, words: [u32; 4] },
    /// This many events before here never arrived, noticed by their numbers.
    Lost { count: u32 },
}

/// Something that happens at one frame of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// The epoch that `time` counts in.
    pub epoch: Epoch,
    /// The frame at which it happens.
    pub time: MediaTime,
    /// What happens.
    pub body: Body,
}

/// The end that writes. *Realtime-safe: yes*, but for dropping it: the last end to go frees the ring.
pub type Producer = rtrb::Producer<Event>;
/// The end that reads. *Realtime-safe: yes*, but for dropping it: the last end to go frees the ring.
pub type Consumer = rtrb::Consumer<Event>;

/// A ring of `capacity` events. *Realtime-safe: no* (allocates).
#[must_use]
pub fn event_ring(capacity: usize) -> (Producer, Consumer) {
    rtrb::RingBuffer::new(capacity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_match() {
        fn check(off: (i32, i16, i16, i16), on: (i32, i16, i16, i16), expected: bool) {
            let address = |(note_id, port, channel, key)| NoteAddress { note_id, port, channel, key };
            assert_eq!(address(off).matches(&address(on)), expected, "{off:?} {on:?}");
        }
        check((1, 0, 0, 60), (1, 0, 0, 60), true);
        check((-1, 0, 0, 60), (7, 0, 0, 60), true);
        check((-1, -1, -1, -1), (7, 3, 2, 61), true);
        check((1, 0, 0, 60), (2, 0, 0, 60), false);
        check((-1, 0, 1, 60), (-1, 0, 0, 60), false);
        check((-1, 0, 0, 61), (-1, 0, 0, 60), false);
    }

    #[test]
    fn stays_small() {
        assert!(size_of::<Event>() <= 48, "{}", size_of::<Event>());
    }
}
