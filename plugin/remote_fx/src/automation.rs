//! What happens to the chain, from the callbacks' side: slots that the host moved, the host's song, what was edited.

use audiocloud_engine::chain::slots::{Mapping, SLOTS};
use audiocloud_engine::rt::chain_event::{self, ChainBody};
use audiocloud_engine::rt::hand_off::Taker;
use audiocloud_instance::transport::Transport;

use crate::params::RemoteFxParams;
use crate::project::SlotTable;

/// The host's song is said again after so many frames: a node that came later hears of it.
const REPEAT_FRAMES: u64 = 8_192;
/// A position that is off by more than this, in quarter notes, is a jump.
const JUMP_BEATS: f64 = 1e-3;

/// Turns parameters and transport into events. *Realtime-safe: yes*, all of it but [`Automation::new`].
#[derive(Debug)]
pub(crate) struct Automation {
    table: Taker<SlotTable>,
    known: [Option<Mapping>; SLOTS],
    /// Where each slot stood when it was told last.
    told: [f32; SLOTS],
    edits: chain_event::Consumer,
    song: Option<Song>,
    rate_hz: f64,
}

/// The host's song as it was told last.
#[derive(Clone, Copy, Debug)]
struct Song {
    playing: bool,
    bpm: f64,
    beat: f64,
    signature: (u16, u16),
    at: u64,
}

impl Song {
    fn beat_at(&self, position: u64, rate_hz: f64) -> f64 {
        if !self.playing {
            return self.beat;
        }
        #[allow(
            clippy::cast_precision_loss,
            reason = "frames since the song was told, a few seconds of them"
        )]
        let seconds = position.saturating_sub(self.at) as f64 / rate_hz;
        self.beat + seconds * self.bpm / 60.0
    }
}

impl Automation {
    pub(crate) fn new(table: Taker<SlotTable>, edits: chain_event::Consumer, rate_hz: u32) -> Self {
        let (known, told) = ([None; SLOTS], [0.0; SLOTS]);
        Self { table, known, told, edits, song: None, rate_hz: rate_hz.into() }
    }

    /// A new beginning: the song is told again.
    pub(crate) fn reset(&mut self) {
        self.song = None;
    }

    /// The events of all slots as they stand, whether they moved or not: some were lost.
    pub(crate) fn repeat(&mut self, mut each: impl FnMut(ChainBody)) {
        self.known
            .iter()
            .zip(self.told)
            .filter_map(|(mapping, told)| Some((mapping.as_ref()?, told)))
            .for_each(|(mapping, told)| each(moved(mapping, told)));
        self.song = None;
    }

    /// What happens at the first frame of a block. Nothing in it depends on how time is cut into blocks, for the host's
    /// blocks are cut where parameters change.
    pub(crate) fn look(
        &mut self,
        params: &RemoteFxParams,
        transport: &Transport,
        position: u64,
        mut each: impl FnMut(ChainBody),
    ) {
        self.table.exchange(|_| ());
        if let Some(table) = self.table.current() {
            for slot in 0..SLOTS {
                if self.known[slot] != table.mappings[slot] {
                    (self.known[slot], self.told[slot]) = (table.mappings[slot], table.positions[slot]);
                }
            }
        }
        if let Some(song) = self.sing(transport, position) {
            each(song);
        }
        // Counted, for the window could go on editing meanwhile.
        for _ in 0..self.edits.slots() {
            let Ok(edit) = self.edits.pop() else { break };
            each(edit.body);
        }
        for slot in 0..SLOTS {
            let Some(mapping) = &self.known[slot] else { continue };
            let now = params.position(slot);
            if now != self.told[slot] {
                self.told[slot] = now;
                each(moved(mapping, now));
            }
        }
    }

    /// Where the host's song is, if that is news.
    fn sing(&mut self, transport: &Transport, position: u64) -> Option<ChainBody> {
        let (bpm, beat) = (transport.bpm?, transport.beat.unwrap_or(0.0));
        let signature = transport.meter.map_or((4, 4), |(beats, unit)| (beats.into(), unit.into()));
        let playing = transport.is_playing;
        let is_known = self.song.as_ref().is_some_and(|song| {
            song.playing == playing
                && song.bpm == bpm
                && song.signature == signature
                && position.saturating_sub(song.at) < REPEAT_FRAMES
                && (song.beat_at(position, self.rate_hz) - beat).abs() < JUMP_BEATS
        });
        if is_known {
            return None;
        }
        self.song = Some(Song { playing, bpm, beat, signature, at: position });
        Some(ChainBody::Transport { playing, tempo_bpm: bpm, position_beats: beat, signature })
    }
}

fn moved(mapping: &Mapping, position: f32) -> ChainBody {
    let Mapping { effect, parameter, .. } = *mapping;
    ChainBody::Parameter { effect, parameter, value: mapping.plain(position), ramp_frames: None }
}
