//! The host's own notes and the stream's, as one list in order of time.

use audiocloud_engine::rt::event::Body;
use audiocloud_instance::events::{self, HostEvent};
use audiocloud_instance::guarded::Notes;
use nice_plug::midi::{Channel, Key, NoteEvent};

/// Keys of the host's own notes that were passed on and still sound, a bit for each key of each channel. A key that is
/// held twice counts once, as MIDI has it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held([u128; 16]);

impl Held {
    fn mark(&mut self, channel: Channel, key: Key, on: bool) -> bool {
        let channels = match channel.number() {
            Some(channel) => usize::from(channel & 15)..usize::from(channel & 15) + 1,
            None => 0..16,
        };
        let keys = key.number().map_or(u128::MAX, |key| 1 << (key & 127));
        let mut were_held = false;
        for bits in &mut self.0[channels] {
            were_held |= *bits & keys != 0;
            *bits = if on { *bits | keys } else { *bits & !keys };
        }
        were_held
    }
}

/// One block's merging.
pub(crate) struct Merge<'a, N> {
    notes: &'a mut N,
    /// The host's next event, if it has been taken already.
    waiting: Option<HostEvent>,
    /// The host's own notes pass; without, only the ends of those do that have passed.
    pass: bool,
    held: &'a mut Held,
}

impl<'a, N: Notes> Merge<'a, N> {
    pub(crate) fn new(notes: &'a mut N, held: &'a mut Held, pass: bool) -> Self {
        Self { notes, waiting: None, pass, held }
    }

    /// Sends an event of the stream, after the host's own up to its time.
    pub(crate) fn stream_event(&mut self, offset: u32, body: &Body) {
        self.host_events(offset);
        if let Some(event) = events::to_host(offset, body) {
            self.notes.try_send(event);
        }
    }

    /// Sends what is left of the host's own.
    pub(crate) fn rest(mut self) {
        self.host_events(u32::MAX);
    }

    fn host_events(&mut self, until: u32) {
        loop {
            let Some(event) = self.waiting.take().or_else(|| self.notes.next_event()) else { return };
            if event.timing() > until {
                self.waiting = Some(event);
                return;
            }
            if self.passes(&event) {
                self.notes.try_send(event);
            }
        }
    }

    fn passes(&mut self, event: &HostEvent) -> bool {
        match *event {
            NoteEvent::NoteOn { channel, key, .. } => {
                if self.pass {
                    self.held.mark(channel, key, true);
                }
                self.pass
            }
            // Also after the user has switched from Mix to Replace: nothing is to hang.
            NoteEvent::NoteOff { channel, key, .. } | NoteEvent::Choke { channel, key, .. } => {
                self.held.mark(channel, key, false) || self.pass
            }
            _ => self.pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::rt::event::NoteAddress;
    use nice_plug::midi::VoiceID;
    use std::collections::VecDeque;

    #[derive(Default)]
    struct Host {
        input: VecDeque<HostEvent>,
        output: Vec<HostEvent>,
    }

    impl Notes for Host {
        fn next_event(&mut self) -> Option<HostEvent> {
            self.input.pop_front()
        }

        fn try_send(&mut self, event: HostEvent) -> bool {
            self.output.push(event);
            true
        }
    }

    fn on(timing: u32, key: u8) -> HostEvent {
        let (voice_id, channel, key) = (VoiceID::Wildcard, Channel::Number(2), Key::Number(key));
        HostEvent::NoteOn { timing, voice_id, channel, key, velocity: 0.5 }
    }

    fn off(timing: u32, key: u8) -> HostEvent {
        let (voice_id, channel, key) = (VoiceID::Wildcard, Channel::Number(2), Key::Number(key));
        HostEvent::NoteOff { timing, voice_id, channel, key, velocity: 0.0 }
    }

    fn stream(key: i16) -> Body {
        let note = NoteAddress { note_id: -1, port: 0, channel: 2, key };
        Body::NoteOn { note, velocity: 0.5 }
    }

    #[test]
    fn both_come_out_in_order_of_time() {
        let mut host = Host { input: [on(0, 1), on(5, 2), on(5, 3), on(90, 4)].into(), ..Host::default() };
        let mut held = Held::default();
        let mut merge = Merge::new(&mut host, &mut held, true);
        merge.stream_event(0, &stream(60));
        merge.stream_event(5, &stream(61));
        merge.stream_event(7, &stream(62));
        merge.rest();
        let expected = [on(0, 1), on(0, 60), on(5, 2), on(5, 3), on(5, 61), on(7, 62), on(90, 4)];
        assert_eq!(host.output, expected);
    }

    #[test]
    fn replacing_keeps_the_hosts_own_notes_back_but_hangs_none() {
        let mut host = Host { input: [on(0, 1), on(0, 2)].into(), ..Host::default() };
        let mut held = Held::default();
        Merge::new(&mut host, &mut held, true).rest();
        host.output.clear();
        host.input = [on(0, 3), off(1, 1), off(2, 3), off(3, 1)].into();
        Merge::new(&mut host, &mut held, false).rest();
        assert_eq!(host.output, [off(1, 1)], "key 1 sounded; key 3 never did");
        host.output.clear();
        let all = HostEvent::NoteOff {
            timing: 0,
            voice_id: VoiceID::Wildcard,
            channel: Channel::Wildcard,
            key: Key::Wildcard,
            velocity: 0.0,
        };
        host.input = [all, all].into();
        Merge::new(&mut host, &mut held, false).rest();
        assert_eq!(host.output, [all], "once for key 2");
    }
}
