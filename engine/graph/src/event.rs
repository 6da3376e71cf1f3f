//! Events inside the graph: of a fixed size, at one frame, sorted.

use audiocloud_dsp::ramp::Curve;
use audiocloud_rt::event::{self, NoteAddress};
use audiocloud_units::SampleRate;

/// Where the host's song is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transport {
    /// Whether it rolls.
    pub playing: bool,
    /// Quarter notes per minute.
    pub tempo_bpm: f64,
    /// Quarter notes since the song's beginning; negative in a count-in.
    pub position_beats: f64,
    /// Beats in a bar, and the note value that is a beat.
    pub signature: (u16, u16),
}

impl Default for Transport {
    fn default() -> Self {
        Self { playing: false, tempo_bpm: 120.0, position_beats: 0.0, signature: (4, 4) }
    }
}

impl Transport {
    /// Where the song is so many frames later, if nobody interferes.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn after(&self, frames: u64, sample_rate: SampleRate) -> Self {
        let mut later = *self;
        if self.playing {
            #[allow(clippy::cast_precision_loss, reason = "exact for the first thousands of years")]
            let frames = frames as f64;
            later.position_beats += frames * self.tempo_bpm / (60.0 * f64::from(sample_rate.hz()));
        }
        later
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// What streams carry too: notes, expressions, MIDI 1 bytes and MIDI 2 words.
    Voice(event::Body),
    /// A parameter is set. It gets there within `ramp_frames`, or by its own smoothing where that is `None`.
    Parameter { id: u32, value: f32, ramp_frames: Option<u32>, curve: Curve },
    /// A parameter differs from its value by `amount`, for the notes that match.
    Modulation { id: u32, note: NoteAddress, amount: f64 },
    /// The host's song started, stopped, or went elsewhere.
    Transport(Transport),
    /// The node is bypassed, or no longer, by a crossfade.
    Bypass(bool),
}

impl Body {
    /// A parameter is set, smoothed as its specification says.
    #[must_use]
    pub const fn parameter(id: u32, value: f32) -> Self {
        Self::Parameter { id, value, ramp_frames: None, curve: Curve::Linear }
    }

    /// Whether it sets the node itself, which is done for it, rather than being for the processor.
    #[must_use]
    pub const fn is_setting(&self) -> bool {
        matches!(self, Self::Parameter { .. } | Self::Bypass(_))
    }

    /// Every sounding note is let go: what follows a connection that is gone.
    #[must_use]
    pub const fn all_notes_off() -> Self {
        let note = NoteAddress { note_id: -1, port: -1, channel: -1, key: -1 };
        Self::Voice(event::Body::NoteOff { note, velocity: 0.0 })
    }
}

/// Something that happens at a frame of the block that is being processed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Frames from the block's first one.
    pub offset: u32,
    /// What happens.
    pub body: Body,
}

/// A list of fixed capacity, kept sorted by offset; what finds no room is counted. At one frame what sets a node comes
/// first, so that a note finds everything set.
#[derive(Debug, Default)]
pub struct EventList {
    events: Vec<Event>,
    /// Of each event, how long before it happens it was given, in frames.
    ages: Vec<u32>,
    refused: u64,
}

impl EventList {
    /// *Realtime-safe: no* (allocates).
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let (events, ages) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        Self { events, ages, refused: 0 }
    }

    /// Adds an event behind all of its kind that happen no later; `false` where the list is full.
    ///
    /// *Realtime-safe: yes*.
    pub fn push(&mut self, event: Event) -> bool {
        self.push_aged(event, 0)
    }

    /// As [`EventList::push`], but before events of its kind and frame that were given later.
    pub(crate) fn push_aged(&mut self, event: Event, age: u32) -> bool {
        if self.events.len() == self.events.capacity() {
            self.refused += 1;
            return false;
        }
        let place = |event: &Event| (event.offset, !event.body.is_setting());
        let from = self.events.partition_point(|other| place(other) < place(&event));
        let to = self.events.partition_point(|other| place(other) <= place(&event));
        let at = from + self.ages[from..to].partition_point(|other| *other >= age);
        self.events.insert(at, event);
        self.ages.insert(at, age);
        true
    }

    /// *Realtime-safe: yes*.
    pub fn clear(&mut self) {
        self.events.clear();
        self.ages.clear();
    }

    /// What happens, sorted by offset. *Realtime-safe: yes*.
    #[must_use]
    pub fn as_slice(&self) -> &[Event] {
        &self.events
    }

    /// Events that found the list full since this was asked last. *Realtime-safe: yes*.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_sorted_stable_and_bounded() {
        let mut list = EventList::with_capacity(4);
        let event = |offset, id| Event { offset, body: Body::parameter(id, 0.0) };
        for (offset, id) in [(5, 0), (1, 1), (5, 2), (0, 3)] {
            assert!(list.push(event(offset, id)));
        }
        assert!(!list.push(event(2, 4)));
        assert_eq!(list.as_slice(), [event(0, 3), event(1, 1), event(5, 0), event(5, 2)]);
        assert_eq!((list.take_refused(), list.take_refused()), (1, 0));
    }

    #[test]
    fn what_was_given_earlier_comes_first() {
        let mut list = EventList::with_capacity(4);
        let event = |offset, id| Event { offset, body: Body::parameter(id, 0.0) };
        for (id, offset, age) in [(0, 5, 0), (1, 5, 7), (2, 5, 7), (3, 4, 0)] {
            assert!(list.push_aged(event(offset, id), age));
        }
        assert_eq!(list.as_slice(), [event(4, 3), event(5, 1), event(5, 2), event(5, 0)]);
    }

    #[test]
    fn settings_come_before_notes() {
        let mut list = EventList::with_capacity(4);
        let event = |offset, body| Event { offset, body };
        let (set, note) = (Body::parameter(0, 0.0), Body::all_notes_off());
        for (offset, body) in [(5, note), (4, note), (5, set), (5, Body::Bypass(true))] {
            assert!(list.push(event(offset, body)));
        }
        let sorted = [event(4, note), event(5, set), event(5, Body::Bypass(true)), event(5, note)];
        assert_eq!(list.as_slice(), sorted);
    }

    #[test]
    fn the_song_goes_on_while_it_plays() {
        let rate = SampleRate::new(48_000).unwrap();
        let stopped = Transport { position_beats: -4.0, ..Transport::default() };
        assert_eq!(stopped.after(48_000, rate), stopped);
        let playing = Transport { playing: true, tempo_bpm: 90.0, ..stopped };
        assert_eq!(playing.after(48_000, rate), Transport { position_beats: -2.5, ..playing });
    }

    #[test]
    fn stays_small() {
        assert!(size_of::<Event>() <= 56, "{}", size_of::<Event>());
    }
}
