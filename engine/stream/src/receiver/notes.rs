use audiocloud_rt::event::{Body, Event, NoteAddress};

/// Events that wait for their frame.
const PENDING_MAX: usize = 1_024;
/// Notes that may sound at once.
const VOICES_MAX: usize = 256;

/// Events waiting for their frames, and the notes that sound, so that none is left hanging.
#[derive(Debug)]
pub(super) struct Notes {
    /// By time, and in order of arrival where times are equal. Never grows.
    pending: Vec<Event>,
    /// Never grows.
    voices: Vec<Voice>,
}

/// How a note was begun, and so how it has to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Clap,
    Midi1,
    /// Message type 2 of a universal packet: MIDI 1 voice messages.
    Packet1,
    /// Message type 4: MIDI 2 voice messages.
    Packet2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Voice {
    dialect: Dialect,
    note: NoteAddress,
}

enum Act {
    On(Voice),
    Off(Voice),
    Other,
}

/// What became of an event that was to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Played,
    /// There is no room to remember the note, so it was not begun.
    Dropped,
    /// Events were lost before here; `released` notes were let go.
    Lost {
        count: u32,
        released: u64,
    },
}

impl Notes {
    pub(super) fn new() -> Self {
        Self { pending: Vec::with_capacity(PENDING_MAX), voices: Vec::with_capacity(VOICES_MAX) }
    }

    /// Whether the event ends something, so that it must be played even when it is late.
    pub(super) fn is_ending(body: &Body) -> bool {
        matches!(classify(body), Act::Off(_)) || matches!(body, Body::Lost { .. })
    }

    /// Keeps an event until its frame is due; `false` when there is no room.
    pub(super) fn keep(&mut self, event: Event) -> bool {
        if self.pending.len() == PENDING_MAX {
            return false;
        }
        let index = self.pending.partition_point(|other| other.time <= event.time);
        self.pending.insert(index, event);
        true
    }

    /// The next event, when `is_due`.
    pub(super) fn next(&self, index: usize, is_due: impl FnOnce(&Event) -> bool) -> Option<Event> {
        self.pending.get(index).filter(|event| is_due(event)).copied()
    }

    /// Forgets the first `count` waiting events: they have been dealt with.
    pub(super) fn forget(&mut self, count: usize) {
        self.pending.drain(..count);
    }

    /// Forgets all waiting events; how many.
    pub(super) fn forget_all(&mut self) -> usize {
        let count = self.pending.len();
        self.pending.clear();
        count
    }

    /// Plays one event, and remembers what sounds.
    pub(super) fn play(&mut self, offset: u32, body: Body, on_event: &mut impl FnMut(u32, Body)) -> Outcome {
        if let Body::Lost { count } = body {
            return Outcome::Lost { count, released: self.release(offset, on_event) };
        }
        match classify(&body) {
            Act::On(voice) if self.voices.contains(&voice) => {}
            Act::On(_) if self.voices.len() == VOICES_MAX => return Outcome::Dropped,
            Act::On(voice) => self.voices.push(voice),
            Act::Off(off) => {
                self.voices.retain(|on| on.dialect != off.dialect || !off.note.matches(&on.note));
            }
            Act::Other => {}
        }
        on_event(offset, body);
        Outcome::Played
    }

    /// Lets go every note that sounds; how many.
    pub(super) fn release(&mut self, offset: u32, on_event: &mut impl FnMut(u32, Body)) -> u64 {
        let mut released = 0;
        for voice in self.voices.drain(..) {
            on_event(offset, voice.off());
            released += 1;
        }
        released
    }
}

impl Voice {
    fn midi(dialect: Dialect, port: i16, channel: u8, key: u8) -> Self {
        let note = NoteAddress { note_id: -1, port, channel: i16::from(channel), key: i16::from(key) };
        Self { dialect, note }
    }

    fn off(self) -> Body {
        let NoteAddress { port, channel, key, .. } = self.note;
        let port = u16::try_from(port).unwrap_or(0);
        let channel = u8::try_from(channel & 0xf).unwrap_or(0);
        let key = u8::try_from(key & 0x7f).unwrap_or(0);
        let word = |message: u32, status: u8| {
            let group = u32::from(port & 0xf);
            message << 28 | group << 24 | u32::from(status | channel) << 16 | u32::from(key) << 8
        };
        match self.dialect {
            Dialect::Clap => Body::NoteOff { note: self.note, velocity: 0.0 },
            Dialect::Midi1 => Body::Midi1 { port, bytes: [0x80 | channel, key, 0] },
            Dialect::Packet1 => Body::Midi2 { port, words: [word(2, 0x80), 0, 0, 0] },
            Dialect::Packet2 => Body::Midi2 { port, words: [word(4, 0x80), 0, 0, 0] },
        }
    }
}

fn classify(body: &Body) -> Act {
    match *body {
        Body::NoteOn { note, .. } => Act::On(Voice { dialect: Dialect::Clap, note }),
        Body::NoteOff { note, .. } | Body::NoteChoke { note } => {
            Act::Off(Voice { dialect: Dialect::Clap, note })
        }
        Body::Midi1 { port, bytes: [status, key, velocity] } => {
            by_status(Dialect::Midi1, port, status, key, velocity == 0)
        }
        Body::Midi2 { port, words: [word, ..] } => {
            let [first, status, key, velocity] = word.to_be_bytes();
            match first >> 4 {
                2 => by_status(Dialect::Packet1, port, status, key, velocity == 0),
                // In MIDI 2.0 a note-on of velocity 0 is a note-on.
                4 => by_status(Dialect::Packet2, port, status, key, false),
                _ => Act::Other,
            }
        }
        Body::NoteExpression { .. } | Body::Lost { .. } => Act::Other,
    }
}

fn by_status(dialect: Dialect, port: u16, status: u8, key: u8, is_silent: bool) -> Act {
    let port = i16::try_from(port).unwrap_or(i16::MAX);
    let voice = Voice::midi(dialect, port, status & 0xf, key & 0x7f);
    match status >> 4 {
        9 if !is_silent => Act::On(voice),
        8 | 9 => Act::Off(voice),
        _ => Act::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_rt::block_ring::Epoch;
    use audiocloud_units::MediaTime;

    fn note(key: i16) -> NoteAddress {
        NoteAddress { note_id: -1, port: 0, channel: 0, key }
    }

    /// Plays the bodies, then lets everything go: what the release emits.
    fn released(bodies: &[Body]) -> Vec<Body> {
        let mut notes = Notes::new();
        for body in bodies {
            assert_eq!(notes.play(0, *body, &mut |_, _| {}), Outcome::Played);
        }
        let mut found = Vec::new();
        notes.release(0, &mut |_, body| found.push(body));
        assert_eq!(notes.release(0, &mut |_, _| panic!("nothing sounds")), 0);
        found
    }

    #[test]
    fn what_sounds_is_let_go_in_its_own_dialect() {
        let on = |key| Body::NoteOn { note: note(key), velocity: 0.7 };
        let off = |key| Body::NoteOff { note: note(key), velocity: 0.0 };
        let midi = |bytes| Body::Midi1 { port: 1, bytes };
        let packet = |word| Body::Midi2 { port: 3, words: [word, 0x8000_0000, 0, 0] };
        let quiet = |word| Body::Midi2 { port: 3, words: [word, 0, 0, 0] };
        assert_eq!(released(&[on(60), on(61), off(60)]), [off(61)]);
        assert_eq!(released(&[on(60), on(60), off(60)]), []);
        assert_eq!(released(&[on(60), on(61), off(-1)]), []);
        assert_eq!(released(&[on(60), Body::NoteChoke { note: note(60) }]), []);
        assert_eq!(released(&[midi([0x92, 64, 100])]), [midi([0x82, 64, 0])]);
        assert_eq!(released(&[midi([0x92, 64, 100]), midi([0x92, 64, 0])]), []);
        assert_eq!(released(&[midi([0x92, 64, 100]), midi([0x83, 64, 0])]), [midi([0x82, 64, 0])]);
        assert_eq!(released(&[packet(0x4391_3c00)]), [quiet(0x4381_3c00)]);
        assert_eq!(released(&[packet(0x2391_3c40)]), [quiet(0x2381_3c00)]);
        assert_eq!(released(&[packet(0x4391_3c00), packet(0x4381_3c00)]), []);
        assert_eq!(released(&[midi([0xb0, 64, 127])]), []);
    }

    #[test]
    fn tables_are_bounded() {
        let mut notes = Notes::new();
        let body = |key| Body::NoteOn { note: note(key), velocity: 0.7 };
        for key in 0..256 {
            assert_eq!(notes.play(0, body(key), &mut |_, _| {}), Outcome::Played);
        }
        assert_eq!(notes.play(0, body(999), &mut |_, _| panic!("not begun")), Outcome::Dropped);
        let lost = notes.play(0, Body::Lost { count: 3 }, &mut |_, _| {});
        assert_eq!(lost, Outcome::Lost { count: 3, released: 256 });
        let event = Event { epoch: Epoch(0), time: MediaTime::new(5), body: body(1) };
        for _ in 0..1_024 {
            assert!(notes.keep(event));
        }
        assert!(!notes.keep(event));
        assert_eq!(notes.forget_all(), 1_024);
    }

    #[test]
    fn events_are_kept_by_time_and_arrival() {
        let mut notes = Notes::new();
        for (time, key) in [(5, 0), (3, 1), (5, 2), (4, 3)] {
            let body = Body::NoteOn { note: note(key), velocity: 0.7 };
            notes.keep(Event { epoch: Epoch(0), time: MediaTime::new(time), body });
        }
        let keys: Vec<_> = (0..4)
            .filter_map(|index| notes.next(index, |_| true))
            .map(|event| match event.body {
                Body::NoteOn { note, .. } => note.key,
                _ => unreachable!(),
            })
            .collect();
        assert_eq!(keys, [1, 3, 0, 2]);
        assert_eq!(notes.next(0, |event| event.time < MediaTime::new(3)), None);
    }
}
