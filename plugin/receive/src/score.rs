//! The events of all streams within one piece of a block, put in order of time.

use audiocloud_engine::rt::event::Body;
use audiocloud_instance::guarded::Notes;

use crate::merge::Merge;

/// Events that are put in order at once. More of them in one block are sent in batches, the later batch not before the
/// last event of the earlier one.
const EVENTS: usize = 8_192;

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: u32,
    /// Of what comes at the same time the first noted is the first played.
    order: u32,
    body: Body,
}

/// Collects events, each stream's in order, and plays them in order. Never grows.
#[derive(Debug)]
pub(crate) struct Score {
    entries: Vec<Entry>,
    /// No event may go before the last that went.
    earliest: u32,
}

impl Score {
    /// *Realtime-safe: no.*
    pub(crate) fn new() -> Self {
        Self { entries: Vec::with_capacity(EVENTS), earliest: 0 }
    }

    /// Keeps an event until all streams were asked. *Realtime-safe: yes.*
    pub(crate) fn note(&mut self, offset: u32, body: Body, merge: &mut Merge<'_, impl Notes>) {
        if self.entries.len() == EVENTS {
            self.send(merge);
        }
        let order = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry { offset, order, body });
    }

    /// Sends everything: the piece is over. *Realtime-safe: yes.*
    pub(crate) fn play(&mut self, merge: &mut Merge<'_, impl Notes>) {
        self.send(merge);
        self.earliest = 0;
    }

    fn send(&mut self, merge: &mut Merge<'_, impl Notes>) {
        // Unstable, for a stable sort may allocate; the order of equals is in the key.
        self.entries.sort_unstable_by_key(|entry| (entry.offset, entry.order));
        for entry in &self.entries {
            self.earliest = self.earliest.max(entry.offset);
            merge.stream_event(self.earliest, &entry.body);
        }
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Held;
    use audiocloud_engine::rt::event::NoteAddress;
    use audiocloud_instance::events::HostEvent;
    use nice_plug::midi::{Key, NoteEvent};

    #[derive(Default)]
    struct Host(Vec<(u32, Key)>);

    impl Notes for Host {
        fn next_event(&mut self) -> Option<HostEvent> {
            None
        }

        fn try_send(&mut self, event: HostEvent) -> bool {
            if let NoteEvent::NoteOn { timing, key, .. } = event {
                self.0.push((timing, key));
            }
            true
        }
    }

    fn on(key: i16) -> Body {
        Body::NoteOn { note: NoteAddress { note_id: -1, port: 0, channel: 0, key }, velocity: 0.5 }
    }

    fn played(note: impl FnOnce(&mut Score, &mut Merge<'_, Host>)) -> Vec<(u32, Key)> {
        let (mut host, mut held, mut score) = (Host::default(), Held::default(), Score::new());
        let mut merge = Merge::new(&mut host, &mut held, true);
        note(&mut score, &mut merge);
        score.play(&mut merge);
        merge.rest();
        host.0
    }

    #[test]
    fn streams_come_out_in_order_of_time() {
        let heard = played(|score, merge| {
            for (offset, key) in [(0, 1), (90, 2), (5, 3), (90, 4), (0, 5)] {
                score.note(offset, on(key), merge);
            }
        });
        let expected = [(0, 1), (0, 5), (5, 3), (90, 2), (90, 4)];
        assert_eq!(heard, expected.map(|(offset, key)| (offset, Key::Number(key))));
    }

    #[test]
    fn none_is_lost_however_many_there_are() {
        let heard = played(|score, merge| {
            // The second stream's come at the beginning again, when there is no room any more.
            for offset in [100, 3] {
                for _ in 0..EVENTS {
                    score.note(offset, on(1), merge);
                }
            }
        });
        assert_eq!(heard.len(), 2 * EVENTS);
        assert!(heard.is_sorted_by_key(|(timing, _)| *timing), "time goes back");
    }
}
