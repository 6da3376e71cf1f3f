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
