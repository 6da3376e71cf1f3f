//! A chain as a document: what a project keeps, what nodes are handed, what is read with suspicion when a peer sent it.

use std::collections::{BTreeMap, BTreeSet};

use audiocloud_effects::effect::{Activation, Kind, Tail};
use audiocloud_effects::parameter::{Parameter, Unit};
use serde::{Deserialize, Serialize};

use crate::blob::{Blob, STATE_BYTES_MAX};
use crate::bounded;
use crate::error::ChainError;

/// The form that is written. Later ones are refused.
pub const SCHEMA: u32 = 1;
/// The longest document that is read.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// The most effects of a chain.
pub const EFFECTS_MAX: usize = 64;
/// The most parallels of a chain.
pub const PARALLELS_MAX: usize = 32;
/// The most branches of a parallel.
pub const BRANCHES_MAX: usize = 8;
/// How deep parallels may be in branches of parallels.
pub const DEPTH_MAX: usize = 4;
/// The most values of one effect: foreign plug-ins have thousands of parameters.
pub const VALUES_MAX: usize = 4_096;
/// The longest name of a chain or an effect, and the longest kind, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// The longest latency of a chain: 20 seconds at 48 kHz.
pub const LATENCY_FRAMES_MAX: u32 = 960_000;
/// Ids are below this, so that there is always a next one.
pub const ID_END: u32 = 1 << 31;
/// How kinds begin that are CLAP plug-ins; what follows is the plug-in's id.
pub const CLAP: &str = "clap:";

/// Effects in a row and in branches, as data: what is kept, sent, and played by a [`crate::rack`]. Fields that are unknown
/// are passed over when it is read.
///
/// *Realtime-safe: no*, all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// The document's form, [`SCHEMA`].
    pub schema: u32,
    /// For people; empty where nobody gave one.
    #[serde(default)]
    pub name: String,
    /// How late every rack of this document is, exactly, in frames: its owner writes here what the host was told. A chain
    /// that needs more is refused. `None`: as late as its effects are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_frames: Option<u32>,
    /// What the next item is numbered. Ids of items that are gone are not given again, or automation would move what it
    /// was not drawn for.
    #[serde(default)]
    pub next_id: u32,
    /// What it does, in this order.
    #[serde(default, deserialize_with = "bounded::list::<{ EFFECTS_MAX + PARALLELS_MAX }, _, _>")]
    pub items: Vec<Item>,
}

/// One step of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// One effect.
    Effect(Slot),
    /// Several branches side by side.
    Parallel(Parallel),
}

/// The place of an effect, and all that it is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Names it among all items of the chain, for ever.
    pub id: u32,
    /// One of [`audiocloud_effects::KINDS`], or [`CLAP`] and the id of a plug-in. A kind that is not known here passes its
    /// input.
    pub kind: String,
    /// For people; empty: the kind's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whether it is passed by. Its latency stays.
    #[serde(default)]
    pub bypassed: bool,
    /// Plain values (dB, Hz, an index of choices) by the parameter's id; what is missing has its default.
    #[serde(default)]
    pub values: BTreeMap<u32, f32>,
    /// What a foreign plug-in keeps of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Blob>,
}

/// Branches that get the same input, and whose outputs are summed, to the sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parallel {
    /// Names it among all items of the chain, for ever. Its parameters are the branches' levels in dB, by place.
    pub id: u32,
    /// At least one.
    #[serde(deserialize_with = "bounded::list::<BRANCHES_MAX, _, _>")]
    pub branches: Vec<Branch>,
}

/// One way through a parallel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// How loud its output is in the sum: see [`LEVELS`].
    #[serde(default)]
    pub level_db: f32,
    /// What it does; nothing: its input, so that a dry path beside a wet one is a branch without items.
    #[serde(default, deserialize_with = "bounded::list::<{ EFFECTS_MAX + PARALLELS_MAX }, _, _>")]
    pub items: Vec<Item>,
}

/// At or below this level in dB a branch is silent.
pub const LEVEL_DB_MIN: f32 = -96.0;
/// A branch is at most so much louder than it was, in dB.
pub const LEVEL_DB_MAX: f32 = 24.0;

const fn level(id: u32, name: &'static str) -> Parameter {
    Parameter::linear(id, name, Unit::Decibels, LEVEL_DB_MIN, LEVEL_DB_MAX, 0.0)
}

/// The parameters of a parallel: its branches' levels.
pub static LEVELS: [Parameter; BRANCHES_MAX] = [
    level(0, "Level of branch 1"),
    level(1, "Level of branch 2"),
    level(2, "Level of branch 3"),
    level(3, "Level of branch 4"),
    level(4, "Level of branch 5"),
    level(5, "Level of branch 6"),
    level(6, "Level of branch 7"),
    level(7, "Level of branch 8"),
];

impl Default for Chain {
    fn default() -> Self {
        Self { schema: SCHEMA, name: String::new(), latency_frames: None, next_id: 0, items: Vec::new() }
    }
}

impl Slot {
    /// A new one of this kind.
    #[must_use]
    pub fn new(id: u32, kind: &str) -> Self {
        let (values, name) = (BTreeMap::new(), String::new());
        Self { id, kind: kind.to_owned(), name, bypassed: false, values, state: None }
    }

    /// The kind, where it is one of ours.
    #[must_use]
    pub fn effect_kind(&self) -> Option<&'static Kind> {
        audiocloud_effects::kind(&self.kind)
    }

    /// What people call it.
    #[must_use]
    pub fn title(&self) -> &str {
        match self.effect_kind() {
            _ if !self.name.is_empty() => &self.name,
            Some(kind) => kind.name,
            None => self.kind.strip_prefix(CLAP).unwrap_or(&self.kind),
        }
    }

    /// The value of one of its parameters: its default where the document has none.
    #[must_use]
    pub fn value(&self, parameter: &Parameter) -> f32 {
        self.values.get(&parameter.id).map_or(parameter.default, |value| parameter.clamp(*value))
    }
}

impl Chain {
    /// Reads a document that anybody may have written.
    ///
    /// # Errors
    /// In words, for whatever it can have wrong.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ChainError> {
        at_most("chain", bytes, DOCUMENT_BYTES_MAX)?;
        let unreadable =
            |error: serde_json::Error| ChainError::Unreadable { what: "chain", reason: error.to_string() };
        // Its form first: of a newer one nothing else needs to make sense.
        #[derive(Deserialize)]
        struct Form {
            schema: u32,
        }
        check_schema(serde_json::from_slice::<Form>(bytes).map_err(unreadable)?.schema)?;
        let mut chain: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        chain.check()?;
        chain.number();
        Ok(chain)
    }

    /// The document, the same for the same chain.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Maps with integers for keys, strings and finite numbers: nothing that can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Has the next id be above all there are.
    pub(crate) fn number(&mut self) {
        let mut above = 0;
        self.each(&mut |item| above = above.max(item.id() + 1));
        self.next_id = self.next_id.clamp(above, ID_END - 1);
    }

    /// Whether it may be played: counts, depth, ids, numbers.
    ///
    /// # Errors
    /// In words, the first thing that is wrong.
    pub fn check(&self) -> Result<(), ChainError> {
        let too_many = |what, count, max| ChainError::TooMany { what, count, max };
        check_schema(self.schema)?;
        if let Some(frames) = self.latency_frames.filter(|frames| *frames > LATENCY_FRAMES_MAX) {
            return Err(ChainError::Latency { needed_frames: frames, frames: LATENCY_FRAMES_MAX });
        }
        check_name(&self.name)?;
        let depth = depth(&self.items);
        if depth > DEPTH_MAX {
            return Err(ChainError::TooDeep { depth, max: DEPTH_MAX });
        }
        let (mut effects, mut parallels, mut ids) = (0, 0, BTreeSet::new());
        let mut wrong = Ok(());
        self.each(&mut |item| {
            match item {
                Item::Effect(_) => effects += 1,
                Item::Parallel(_) => parallels += 1,
            }
            if wrong.is_ok() && item.id() >= ID_END - 1 {
                wrong = Err(ChainError::IdTooLarge { id: item.id() });
            }
            if wrong.is_ok() && !ids.insert(item.id()) {
                wrong = Err(ChainError::SameId { id: item.id() });
            }
            if wrong.is_ok() {
                wrong = item.check();
            }
        });
        wrong?;
        if effects > EFFECTS_MAX {
            return Err(too_many("effects", effects, EFFECTS_MAX));
        }
        if parallels > PARALLELS_MAX {
            return Err(too_many("parallels", parallels, PARALLELS_MAX));
        }
        Ok(())
    }

    /// Every item, in the order in which it is processed, branches after their parallel.
    pub fn each<'c>(&'c self, visit: &mut impl FnMut(&'c Item)) {
        each(&self.items, visit);
    }

    /// All effects, in order.
    #[must_use]
    pub fn effects(&self) -> Vec<&Slot> {
        let mut effects = Vec::new();
        self.each(&mut |item| {
            if let Item::Effect(slot) = item {
                effects.push(slot);
            }
        });
        effects
    }

    /// The item with this id.
    #[must_use]
    pub fn item(&self, id: u32) -> Option<&Item> {
        let mut found = None;
        self.each(&mut |item| found = found.or((item.id() == id).then_some(item)));
        found
    }

    /// The effect with this id.
    #[must_use]
    pub fn slot(&self, id: u32) -> Option<&Slot> {
        match self.item(id)? {
            Item::Effect(slot) => Some(slot),
            Item::Parallel(_) => None,
        }
    }

    pub(crate) fn item_mut(&mut self, id: u32) -> Option<&mut Item> {
        find(&mut self.items, id)
    }

    /// A parameter of an effect of ours or of a parallel; `None` also for one of a foreign plug-in.
    #[must_use]
    pub fn parameter(&self, item: u32, parameter: u32) -> Option<&'static Parameter> {
        match self.item(item)? {
            Item::Effect(slot) => Some(slot.effect_kind()?.parameter(parameter)?.1),
            Item::Parallel(parallel) => {
                let branch = usize::try_from(parameter).ok()?;
                LEVELS.get(branch).filter(|_| branch < parallel.branches.len())
            }
        }
    }

    /// The plain value of a parameter, also of a foreign plug-in's where the document has it.
    #[must_use]
    pub fn value(&self, item: u32, parameter: u32) -> Option<f32> {
        match self.item(item)? {
            Item::Effect(slot) => match self.parameter(item, parameter) {
                Some(known) => Some(slot.value(known)),
                None => slot.values.get(&parameter).copied(),
            },
            Item::Parallel(parallel) => {
                Some(parallel.branches.get(usize::try_from(parameter).ok()?)?.level_db)
            }
        }
    }

    /// How long it sounds on after its input fell silent, with the document's values: effects in a row one after the
    /// other, branches side by side. What foreign plug-ins add is not known to the document.
    #[must_use]
    pub fn tail(&self, activation: &Activation) -> Tail {
        tail(&self.items, activation)
    }
}

impl Item {
    /// Names it in its chain.
    #[must_use]
    pub fn id(&self) -> u32 {
        match self {
            Self::Effect(slot) => slot.id,
            Self::Parallel(parallel) => parallel.id,
        }
    }

    /// What people call it.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Self::Effect(slot) => slot.title(),
            Self::Parallel(_) => "Parallel",
        }
    }

    /// Itself alone, without what is in its branches.
    fn check(&self) -> Result<(), ChainError> {
        match self {
            Self::Effect(slot) => slot.check(),
            Self::Parallel(Parallel { branches, .. }) => {
                if branches.is_empty() {
                    return Err(ChainError::NoBranches);
                }
                if branches.len() > BRANCHES_MAX {
                    let count = branches.len();
                    return Err(ChainError::TooMany {
                        what: "branches of one parallel",
                        count,
                        max: BRANCHES_MAX,
                    });
                }
                let finite = branches.iter().all(|branch| branch.level_db.is_finite());
                if finite { Ok(()) } else { Err(ChainError::NotANumber { what: "a level".to_owned() }) }
            }
        }
    }
}

impl Slot {
    fn check(&self) -> Result<(), ChainError> {
        check_name(&self.name)?;
        check_name(&self.kind)?;
        if self.values.len() > VALUES_MAX {
            let count = self.values.len();
            return Err(ChainError::TooMany { what: "values of one effect", count, max: VALUES_MAX });
        }
        if let Some((id, _)) = self.values.iter().find(|(_, value)| !value.is_finite()) {
            return Err(ChainError::NotANumber { what: format!("parameter {id} of “{}”", self.title()) });
        }
        match &self.state {
            Some(state) => at_most("plug-in's state", state.bytes(), STATE_BYTES_MAX),
            None => Ok(()),
        }
    }
}

/// How deep parallels are nested; 0 without any. The reader of JSON has bounded it already.
fn depth(items: &[Item]) -> usize {
    let of = |item: &Item| match item {
        Item::Effect(_) => 0,
        Item::Parallel(parallel) => {
            1 + parallel.branches.iter().map(|branch| depth(&branch.items)).max().unwrap_or(0)
        }
    };
    items.iter().map(of).max().unwrap_or(0)
}

fn each<'c>(items: &'c [Item], visit: &mut impl FnMut(&'c Item)) {
    for item in items {
        visit(item);
        if let Item::Parallel(parallel) = item {
            for branch in &parallel.branches {
                each(&branch.items, visit);
            }
        }
    }
}

fn find(items: &mut [Item], id: u32) -> Option<&mut Item> {
    for item in items {
        if item.id() == id {
            return Some(item);
        }
        if let Item::Parallel(parallel) = item {
            let mut branches = parallel.branches.iter_mut();
            if let Some(found) = branches.find_map(|branch| find(&mut branch.items, id)) {
                return Some(found);
            }
        }
    }
    None
}

fn tail(items: &[Item], activation: &Activation) -> Tail {
    let of = |item: &Item| match item {
        Item::Effect(slot) if slot.bypassed => Tail::Frames(0),
        Item::Effect(slot) => slot.effect_kind().map_or(Tail::Frames(0), |kind| {
            let values: Vec<f32> = kind.parameters.iter().map(|parameter| slot.value(parameter)).collect();
            (kind.tail)(activation, &values)
        }),
        Item::Parallel(parallel) => {
            let branches = parallel.branches.iter().map(|branch| tail(&branch.items, activation));
            branches.fold(Tail::Frames(0), |longest, tail| match (longest, tail) {
                (Tail::Frames(one), Tail::Frames(other)) => Tail::Frames(one.max(other)),
                _ => Tail::Infinite,
            })
        }
    };
    items.iter().map(of).fold(Tail::Frames(0), |sum, tail| match (sum, tail) {
        (Tail::Frames(one), Tail::Frames(other)) => Tail::Frames(one.saturating_add(other)),
        _ => Tail::Infinite,
    })
}

fn check_schema(schema: u32) -> Result<(), ChainError> {
    match schema {
        SCHEMA => Ok(()),
        0 => {
            let reason = "there is no schema 0".to_owned();
            Err(ChainError::Unreadable { what: "chain", reason })
        }
        _ => Err(ChainError::Newer { schema, known: SCHEMA }),
    }
}

pub(crate) fn at_most(what: &'static str, bytes: &[u8], bytes_max: usize) -> Result<(), ChainError> {
    match bytes.len() {
        bytes if bytes > bytes_max => Err(ChainError::TooLarge { what, bytes, bytes_max }),
        _ => Ok(()),
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), ChainError> {
    at_most("name", name.as_bytes(), NAME_BYTES_MAX)
}

#[cfg(test)]
mod tests;
