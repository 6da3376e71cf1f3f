//! What a rack tells of itself, for windows, nodes' reports and tests.

use audiocloud_graph::load;
use audiocloud_rt::log::{Entry, What};
use serde::{Deserialize, Serialize};

use super::{GROUP_SHARED, Placed, RackControl, Source};
use crate::document::Slot;
use crate::foreign::{Description, ForeignParameter};

/// Sentences that are kept until somebody reads them.
const WORDS_MAX: usize = 16;

/// How a rack does. Names and units are stable: it travels as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RackReport {
    /// From input to output, in frames.
    pub latency_frames: u32,
    /// How much of it the effects need; the rest is padding.
    pub needed_frames: u32,
    /// Frames since the last reset.
    pub position: u64,
    /// The whole chain's time against its deadline.
    pub load: LoadReport,
    /// Oversampling is given up for want of time.
    pub oversampling_off: bool,
    /// Overloaded, with nothing left to give up.
    pub is_helpless: bool,
    /// Blocks in which something that is not a number was replaced by silence.
    pub not_finite: u64,
    /// Events that were for nobody, or found no room.
    pub events_refused: u64,
    /// Every effect, in the document's order.
    pub effects: Vec<EffectReport>,
    /// What happened since the last report, in words.
    pub words: Vec<String>,
}

/// Time spent over time available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadReport {
    /// Moving average over 100 ms.
    pub average: f32,
    /// 99.9 % of the blocks of the last ten seconds took no more.
    pub p999: f32,
    /// The worst of them.
    pub peak: f32,
    /// Blocks in all, and those that took longer than they last.
    pub blocks: u64,
    /// As above.
    pub over: u64,
}

impl From<load::Report> for LoadReport {
    fn from(report: load::Report) -> Self {
        let load::Report { ewma, p999, peak, callbacks, over } = report;
        Self { average: ewma, p999, peak, blocks: callbacks, over }
    }
}

/// How one effect does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EffectReport {
    /// In the document.
    pub id: u32,
    /// In the document.
    pub kind: String,
    /// What people call it.
    pub name: String,
    /// In frames.
    pub latency_frames: u32,
    /// Its time against the chain's deadline, average and 99.9 %; `None`: not known, as for the fifteenth and further ones.
    pub load: Option<(f32, f32)>,
    /// It cannot be had here, and passes its input.
    pub is_missing: bool,
    /// It does without something for want of time: its oversampling, or itself.
    pub is_shed: bool,
    /// How often something that is not a number came out of it.
    pub not_finite: u64,
    /// Events for it that found no room.
    pub events_refused: u64,
    /// What is the matter with it.
    pub words: Option<String>,
    /// What of a foreign one can be automated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ForeignParameter>,
}

/// What the log said of an item.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    load: Option<(f32, f32)>,
    is_bypassed: bool,
    not_finite: u64,
    events_refused: u64,
}

impl RackControl {
    /// How it does. Sentences are told once.
    pub fn report(&mut self) -> RackReport {
        self.collect();
        let status = self.controller.status();
        let frames = |id: u32| self.placed.get(&id).map_or(0, |placed| placed.latency_frames);
        let needed_frames = super::latency(&self.chain.items, &frames);
        let effects = self.chain.effects().into_iter();
        let effects = effects
            .filter_map(|slot| Some(self.effect(slot, self.placed.get(&slot.id)?, status.oversampling_off)));
        RackReport {
            latency_frames: self.controller.latency_frames(),
            needed_frames,
            position: status.position,
            load: status.load.into(),
            oversampling_off: status.oversampling_off,
            is_helpless: status.is_helpless,
            not_finite: status.not_finite,
            events_refused: status.events_refused + self.strays.read(),
            effects: effects.collect(),
            words: std::mem::take(&mut self.words),
        }
    }

    fn effect(&self, slot: &Slot, placed: &Placed, oversampling_off: bool) -> EffectReport {
        let Tally { load, is_bypassed, not_finite, events_refused } = placed.tally;
        let does_without = match placed.source {
            Source::Own(kind) => kind.oversamples && oversampling_off,
            Source::Foreign | Source::Missing | Source::Mix => false,
        };
        let Description { words, parameters } = match placed.source {
            Source::Foreign => self.foreign.describe(slot.id),
            Source::Own(_) | Source::Missing | Source::Mix => Description::default(),
        };
        EffectReport {
            id: slot.id,
            kind: slot.kind.clone(),
            name: slot.title().to_owned(),
            latency_frames: placed.latency_frames,
            load,
            is_missing: matches!(placed.source, Source::Missing),
            is_shed: is_bypassed || does_without,
            not_finite,
            events_refused,
            words: placed.words.clone().or(words),
            parameters,
        }
    }

    /// What the audio half had to tell.
    pub(super) fn read_log(&mut self) {
        while let Some(entry) = self.log.pop() {
            self.hear(&entry);
            let is_news = !matches!(entry.what, What::Load | What::EditTaken);
            if let Some(words) = self.controller.explain(&entry).filter(|_| is_news) {
                if self.words.len() == WORDS_MAX {
                    self.words.remove(0);
                }
                self.words.push(words);
            }
        }
    }

    fn hear(&mut self, entry: &Entry) {
        let Entry { what, a, b, .. } = *entry;
        if what == What::Load {
            let one = |in_65536ths: u64| {
                // Both figures fit into 32 bits.
                let figure = u32::try_from(in_65536ths).unwrap_or(u32::MAX);
                narrow(f64::from(figure) / 65_536.0)
            };
            let load = (one(b >> 32), one(b & 0xffff_ffff));
            let alone = |placed: &&mut Placed| u64::from(placed.group) == a && placed.group < GROUP_SHARED;
            if let Some(placed) = self.placed.values_mut().find(alone) {
                placed.tally.load = Some(load);
            }
            return;
        }
        let Some(placed) = self.placed.values_mut().find(|placed| placed.key.to_u64() == a) else { return };
        match what {
            What::NotFinite => placed.tally.not_finite = b,
            What::EventsRefused => placed.tally.events_refused = b,
            What::Shed if b == 2 => placed.tally.is_bypassed = true,
            What::Restored if b == 2 => placed.tally.is_bypassed = false,
            _ => {}
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a load is rounded to the nearest f32")]
fn narrow(load: f64) -> f32 {
    load as f32
}
