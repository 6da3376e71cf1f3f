//! How a chain changes. An edit means the same to everybody who has the same document.

use serde::{Deserialize, Serialize};

use crate::blob::{Blob, STATE_BYTES_MAX, STATES_BYTES_MAX};
use crate::document::{
    BRANCHES_MAX, Branch, CLAP, Chain, DOCUMENT_BYTES_MAX, Item, LEVEL_DB_MAX, LEVEL_DB_MIN, Parallel, Slot,
    at_most, check_name,
};
use crate::error::ChainError;

/// Between which items something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// A branch, by its parallel's id and its own place; `None`: the chain itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<(u32, u16)>,
    /// Before the item at this place, from 0; at the end where there is none.
    pub index: u32,
}

impl Place {
    /// Behind everything.
    pub const END: Self = Self { within: None, index: u32::MAX };

    /// Before the chain's item at this place.
    #[must_use]
    pub const fn at(index: u32) -> Self {
        Self { within: None, index }
    }

    /// Before the item at this place of a branch.
    #[must_use]
    pub const fn within(parallel: u32, branch: u16, index: u32) -> Self {
        Self { within: Some((parallel, branch)), index }
    }
}

/// One change. As JSON it is `{"bypass":[3,true]}` or `{"set":{"effect":3,"parameter":1,"value":-6.0}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edit {
    /// A new effect, with its defaults.
    Add { at: Place, kind: String },
    /// A new parallel with so many empty branches.
    AddParallel { at: Place, branches: u16 },
    /// A parallel gets one more branch, behind the others.
    AddBranch(u32),
    /// A parallel loses a branch with all that is in it. Those behind it move up.
    RemoveBranch(u32, u16),
    /// An effect, or a parallel with all that is in it, goes.
    Remove(u32),
    /// An item goes elsewhere; the place is counted without it.
    Move { id: u32, to: Place },
    /// An effect is passed by, or no longer.
    Bypass(u32, bool),
    /// A parameter has another plain value; of a parallel, a branch another level.
    Set { effect: u32, parameter: u32, value: f32 },
    /// An effect is called otherwise; empty: as its kind.
    Rename(u32, String),
    /// The chain is called otherwise.
    RenameChain(String),
    /// A foreign plug-in has another state.
    SetState(u32, Option<Blob>),
    /// Everything is as in another document. The latency that was promised stays, and so do ids that were given.
    Replace(Chain),
}

impl Edit {
    /// Reads an edit that anybody may have written.
    ///
    /// # Errors
    /// In words. Whether it suits a chain shows when it is applied.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ChainError> {
        at_most("change of a chain", bytes, DOCUMENT_BYTES_MAX)?;
        serde_json::from_slice(bytes)
            .map_err(|error| ChainError::Unreadable { what: "change of a chain", reason: error.to_string() })
    }

    /// As [`Edit::from_json`] reads it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Chain {
    /// Changes the document, or leaves it as it was. The id of what was added, where something was.
    ///
    /// # Errors
    /// In words, where the edit does not suit the chain.
    pub fn apply(&mut self, edit: &Edit) -> Result<Option<u32>, ChainError> {
        match edit {
            // What a hand on a knob does many times a second: nothing is copied.
            Edit::Set { effect, parameter, value } => self.set(*effect, *parameter, *value).map(|()| None),
            Edit::Bypass(id, on) => self.effect_mut(*id).map(|slot| slot.bypassed = *on).map(|()| None),
            _ => {
                let mut next = self.clone();
                let added = next.change(edit)?;
                next.check()?;
                next.number();
                *self = next;
                Ok(added)
            }
        }
    }

    fn change(&mut self, edit: &Edit) -> Result<Option<u32>, ChainError> {
        match edit {
            Edit::Add { at, kind } => {
                check_kind(kind)?;
                let id = self.next_id;
                self.put(*at, Item::Effect(Slot::new(id, kind)))?;
                return Ok(Some(id));
            }
            Edit::AddParallel { at, branches } => {
                let id = self.next_id;
                let count = usize::from(*branches).min(BRANCHES_MAX + 1);
                let branches = vec![Branch::default(); count];
                self.put(*at, Item::Parallel(Parallel { id, branches }))?;
                return Ok(Some(id));
            }
            Edit::AddBranch(id) => self.parallel_mut(*id)?.branches.push(Branch::default()),
            Edit::RemoveBranch(id, branch) => {
                let parallel = self.parallel_mut(*id)?;
                if usize::from(*branch) >= parallel.branches.len() {
                    return Err(ChainError::NoBranch { name: "Parallel".to_owned(), branch: *branch });
                }
                parallel.branches.remove(usize::from(*branch));
            }
            Edit::Remove(id) => drop(self.take(*id)?),
            Edit::Move { id, to } => {
                let item = self.take(*id)?;
                let name = item.title().to_owned();
                // Where the place is in what was taken out, it is not to be found.
                let into_itself = to.within.is_some_and(|(parallel, _)| contains(&item, parallel));
                match self.put(*to, item) {
                    Err(ChainError::NoItem { .. }) if into_itself => {
                        return Err(ChainError::IntoItself { name });
                    }
                    put => put?,
                }
            }
            Edit::Bypass(id, on) => self.effect_mut(*id)?.bypassed = *on,
            Edit::Set { effect, parameter, value } => self.set(*effect, *parameter, *value)?,
            Edit::Rename(id, name) => {
                check_name(name)?;
                self.effect_mut(*id)?.name.clone_from(name);
            }
            Edit::RenameChain(name) => self.name.clone_from(name),
            Edit::SetState(id, state) => {
                at_most("plug-in's state", state.as_ref().map_or(&[], Blob::bytes), STATE_BYTES_MAX)?;
                self.effect_mut(*id)?.state.clone_from(state);
                let states = self.effects().into_iter().filter_map(|slot| slot.state.as_ref());
                let bytes: usize = states.map(|state| state.bytes().len()).sum();
                if state.is_some() && bytes > STATES_BYTES_MAX {
                    return Err(ChainError::States { bytes, bytes_max: STATES_BYTES_MAX });
                }
            }
            Edit::Replace(chain) => {
                let Self { latency_frames, next_id, .. } = *self;
                *self = Self { latency_frames, next_id: next_id.max(chain.next_id), ..chain.clone() };
            }
        }
        Ok(None)
    }

    /// A parameter, held within its range where that is known.
    fn set(&mut self, id: u32, parameter: u32, value: f32) -> Result<(), ChainError> {
        let known = self.parameter(id, parameter);
        let item = self.item_mut(id).ok_or(ChainError::NoItem { id })?;
        let name = item.title().to_owned();
        if !value.is_finite() {
            return Err(ChainError::NotANumber { what: format!("parameter {parameter} of “{name}”") });
        }
        match item {
            Item::Effect(slot) => match (slot.effect_kind(), known) {
                (_, Some(known)) => {
                    slot.values.insert(parameter, known.clamp(value));
                }
                (Some(_), None) => return Err(ChainError::NoParameter { name, parameter }),
                (None, None) => {
                    slot.values.insert(parameter, value);
                    if slot.values.len() > crate::document::VALUES_MAX {
                        slot.values.remove(&parameter);
                        return Err(ChainError::NoParameter { name, parameter });
                    }
                }
            },
            Item::Parallel(parallel) => {
                let branch = usize::try_from(parameter).ok().and_then(|at| parallel.branches.get_mut(at));
                let branch = branch.ok_or(ChainError::NoParameter { name, parameter })?;
                branch.level_db = value.clamp(LEVEL_DB_MIN, LEVEL_DB_MAX);
            }
        }
        Ok(())
    }

    fn effect_mut(&mut self, id: u32) -> Result<&mut Slot, ChainError> {
        match self.item_mut(id) {
            Some(Item::Effect(slot)) => Ok(slot),
            Some(item) => Err(ChainError::NotThat { name: item.title().to_owned(), wanted: "effect" }),
            None => Err(ChainError::NoItem { id }),
        }
    }

    fn parallel_mut(&mut self, id: u32) -> Result<&mut Parallel, ChainError> {
        match self.item_mut(id) {
            Some(Item::Parallel(parallel)) => Ok(parallel),
            Some(item) => Err(ChainError::NotThat { name: item.title().to_owned(), wanted: "parallel" }),
            None => Err(ChainError::NoItem { id }),
        }
    }

    fn put(&mut self, at: Place, item: Item) -> Result<(), ChainError> {
        let items = match at.within {
            None => &mut self.items,
            Some((parallel, branch)) => {
                let parallel = self.parallel_mut(parallel)?;
                let missing = ChainError::NoBranch { name: "Parallel".to_owned(), branch };
                &mut parallel.branches.get_mut(usize::from(branch)).ok_or(missing)?.items
            }
        };
        let index = usize::try_from(at.index).unwrap_or(usize::MAX).min(items.len());
        items.insert(index, item);
        Ok(())
    }

    fn take(&mut self, id: u32) -> Result<Item, ChainError> {
        take(&mut self.items, id).ok_or(ChainError::NoItem { id })
    }
}

fn take(items: &mut Vec<Item>, id: u32) -> Option<Item> {
    if let Some(index) = items.iter().position(|item| item.id() == id) {
        return Some(items.remove(index));
    }
    let parallels = items.iter_mut().filter_map(|item| match item {
        Item::Parallel(parallel) => Some(parallel),
        Item::Effect(_) => None,
    });
    parallels.flat_map(|parallel| &mut parallel.branches).find_map(|branch| take(&mut branch.items, id))
}

fn contains(item: &Item, id: u32) -> bool {
    match item {
        Item::Parallel(parallel) => {
            let items = || parallel.branches.iter().flat_map(|branch| &branch.items);
            parallel.id == id || items().any(|item| contains(item, id))
        }
        Item::Effect(_) => false,
    }
}

/// One that exists, or that may exist elsewhere.
fn check_kind(kind: &str) -> Result<(), ChainError> {
    let is_foreign = kind.strip_prefix(CLAP).is_some_and(|id| !id.is_empty());
    if is_foreign || audiocloud_effects::kind(kind).is_some() {
        return check_name(kind);
    }
    let known: Vec<&str> = audiocloud_effects::KINDS.iter().map(|kind| kind.id).collect();
    let kind: String = kind.chars().take(40).collect();
    Err(ChainError::NoKind { kind, known: known.join(", ") })
}

#[cfg(test)]
mod tests;
