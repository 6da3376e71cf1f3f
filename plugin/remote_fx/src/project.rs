//! The chain, its slots, and what the host's parameters have to do with it.
//!
//! The document always holds the values in force. Whoever moves one says so twice: to the document, and to the callbacks as
//! an event, which takes it to the frame at which it is heard. A slot takes effect when the host moves it, not because it
//! stands somewhere: so a parameter that gets a slot, or is set by somebody else, does not jump.

use std::sync::{Mutex, MutexGuard, PoisonError};

use audiocloud_engine::chain::document::{Chain, Item};
use audiocloud_engine::chain::edit::Edit;
use audiocloud_engine::chain::error::ChainError;
use audiocloud_engine::chain::slots::{Mapping, SLOTS, Slots, Target};
use audiocloud_engine::rt::chain_event::ChainBody;
use audiocloud_instance::state::KeptChain;
use audiocloud_net::runtime::remote::NodeChoice;
use audiocloud_net::wire::id::DeviceId;

/// A slot that is this far from the value it moves is put there, where somebody can.
const OUT_OF_STEP: f32 = 1e-4;

/// What the project says of the chain.
#[derive(Clone, Debug, Default)]
pub struct Project {
    pub chain: Chain,
    pub slots: Slots,
    /// Where the host's slots stood when the chain had its values.
    positions: Positions,
    pub node: NodeChoice,
    /// Counts changes of what the callbacks know of the slots.
    mapped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Positions([f32; SLOTS]);

impl Default for Positions {
    fn default() -> Self {
        Self([0.0; SLOTS])
    }
}

/// What the callbacks know of the slots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotTable {
    pub(crate) mappings: [Option<Mapping>; SLOTS],
    pub(crate) positions: [f32; SLOTS],
}

/// What an edit leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// What the callbacks are to be told.
    pub events: Vec<ChainBody>,
    /// The id of what was added.
    pub added: Option<u32>,
}

impl Project {
    /// As a project keeps it.
    ///
    /// # Errors
    /// Chain or slots cannot be read; in words.
    pub fn from_kept(kept: &KeptChain) -> Result<Self, String> {
        let chain = match &kept.chain {
            serde_json::Value::Null => Chain::default(),
            chain => Chain::from_json(chain.to_string().as_bytes()).map_err(|error| error.to_string())?,
        };
        let slots = match &kept.slots {
            serde_json::Value::Null => Slots::default(),
            slots => serde_json::from_value(slots.clone())
                .map_err(|error| format!("the slots cannot be read ({error})"))?,
        };
        let mut positions = Positions::default();
        positions.0.iter_mut().zip(&kept.positions).for_each(|(position, kept)| *position = *kept);
        let node = kept.node.map_or(NodeChoice::Automatic, |node| NodeChoice::Device(DeviceId(node)));
        Ok(Self { chain, slots, positions, node, mapped: 0 })
    }

    /// As [`Project::from_kept`] reads it.
    #[must_use]
    pub fn to_kept(&self) -> KeptChain {
        // What is promised of the latency is this activation's, not the project's.
        let chain = Chain { latency_frames: None, ..self.chain.clone() };
        KeptChain {
            chain: serde_json::from_slice(&chain.to_json()).unwrap_or_default(),
            slots: serde_json::to_value(&self.slots).unwrap_or_default(),
            positions: self.positions.0.to_vec(),
            node: match self.node {
                NodeChoice::Automatic => None,
                NodeChoice::Device(device) => Some(device.0),
            },
        }
    }

    /// The chain for those who play it: late by exactly so many frames.
    #[must_use]
    pub fn document(&self, latency_frames: u32) -> Chain {
        Chain { latency_frames: Some(latency_frames), ..self.chain.clone() }
    }

    /// Takes over where the host has its slots: what it moved since then has effect. Whether anything did.
    pub fn follow_host(&mut self, host: impl Fn(usize) -> f32) -> bool {
        let mappings = self.slots.mappings(&self.chain);
        let mut is_moved = false;
        for (slot, mapping) in mappings.iter().enumerate() {
            let (position, Some(mapping)) = (host(slot), mapping) else { continue };
            if position != self.positions.0[slot] {
                self.positions.0[slot] = position;
                let Mapping { effect, parameter, .. } = *mapping;
                let edit = Edit::Set { effect, parameter, value: mapping.plain(position) };
                is_moved |= self.chain.apply(&edit).is_ok();
            }
        }
        is_moved
    }

    /// Slots whose host shows something else than is in force, with where they should stand.
    #[must_use]
    pub fn out_of_step(&self) -> Vec<(usize, f32)> {
        let mappings = self.slots.mappings(&self.chain);
        let step = |(slot, mapping): (usize, &Option<Mapping>)| {
            let mapping = mapping.as_ref()?;
            let position = mapping.position(self.chain.value(mapping.effect, mapping.parameter)?);
            ((position - self.positions.0[slot]).abs() > OUT_OF_STEP).then_some((slot, position))
        };
        mappings.iter().enumerate().filter_map(step).collect()
    }

    /// The host is being told where a slot stands: that is no movement.
    pub fn put(&mut self, slot: usize, position: f32) {
        if let Some(kept) = self.positions.0.get_mut(slot) {
            *kept = position;
            self.mapped += 1;
        }
    }

    /// Changes the chain. What is new in it gets free slots.
    ///
    /// # Errors
    /// In words; everything is as it was.
    pub fn edit(&mut self, edit: &Edit, host: impl Fn(usize) -> f32) -> Result<Changes, ChainError> {
        let before = self.chain.clone();
        let added = self.chain.apply(edit)?;
        let structure = !matches!(edit, Edit::Set { .. } | Edit::Bypass(..));
        if structure {
            self.slots.follow(edit, &self.chain);
            self.give_slots(&before, host);
            self.mapped += 1;
        }
        Ok(Changes { events: events(&before, &self.chain), added })
    }

    /// A parameter gets a slot of its own, or loses it.
    ///
    /// # Errors
    /// None is free, or there is no such parameter.
    pub fn automate(
        &mut self,
        (effect, parameter): (u32, u32),
        on: bool,
        host: impl Fn(usize) -> f32,
    ) -> Result<(), ChainError> {
        match self.slots.find(effect, parameter) {
            Some(slot) if !on => drop(self.slots.set(slot, None)),
            None if on => {
                let slot = self.slots.assign(&self.chain, effect, parameter)?;
                self.positions.0[slot] = host(slot);
            }
            _ => {}
        }
        self.mapped += 1;
        Ok(())
    }

    /// Has a slot move what somebody says, within limits of theirs.
    pub fn aim(&mut self, slot: usize, target: Option<Target>, host: impl Fn(usize) -> f32) -> bool {
        let is_set = self.slots.set(slot, target);
        if is_set {
            self.positions.0[slot] = host(slot);
            self.mapped += 1;
        }
        is_set
    }

    /// Effects that were not there before get slots for all their parameters, as long as there are any.
    fn give_slots(&mut self, before: &Chain, host: impl Fn(usize) -> f32) {
        let mut wanted = Vec::new();
        for slot in self.chain.effects() {
            if before.item(slot.id).is_none() {
                let parameters = slot.effect_kind().map_or(&[][..], |kind| kind.parameters);
                wanted.extend(parameters.iter().map(|parameter| (slot.id, parameter.id)));
            }
        }
        for (effect, parameter) in wanted {
            let Ok(slot) = self.slots.assign(&self.chain, effect, parameter) else { return };
            self.positions.0[slot] = host(slot);
        }
    }
}

/// What of a chain became otherwise that travels as events: values, levels and bypasses of what was there before.
fn events(before: &Chain, after: &Chain) -> Vec<ChainBody> {
    let mut events = Vec::new();
    after.each(&mut |item| match (before.item(item.id()), item) {
        (Some(Item::Effect(old)), Item::Effect(new)) if old.kind == new.kind => {
            if old.bypassed != new.bypassed {
                events.push(ChainBody::Bypass { effect: new.id, on: new.bypassed });
            }
            let ids: std::collections::BTreeSet<u32> =
                old.values.keys().chain(new.values.keys()).copied().collect();
            for parameter in ids {
                let (was, is) = (before.value(new.id, parameter), after.value(new.id, parameter));
                if let (Some(value), true) = (is, was != is) {
                    events.push(ChainBody::Parameter { effect: new.id, parameter, value, ramp_frames: None });
                }
            }
        }
        (Some(Item::Parallel(old)), Item::Parallel(new)) => {
            for (parameter, (was, is)) in (0..).zip(old.branches.iter().zip(&new.branches)) {
                if was.level_db != is.level_db {
                    let value = is.level_db;
                    events.push(ChainBody::Parameter { effect: new.id, parameter, value, ramp_frames: None });
                }
            }
        }
        _ => {}
    });
    events
}

/// All values and bypasses of a chain but for what has a slot: for a node that begins to play it.
pub(crate) fn values(chain: &Chain, slots: &Slots) -> Vec<ChainBody> {
    let mut events = Vec::new();
    for slot in chain.effects() {
        events.push(ChainBody::Bypass { effect: slot.id, on: slot.bypassed });
        for (&parameter, &value) in &slot.values {
            if slots.find(slot.id, parameter).is_none() {
                events.push(ChainBody::Parameter { effect: slot.id, parameter, value, ramp_frames: None });
            }
        }
    }
    events
}

/// The project, as the host's parameters and all others share it. Never on the audio thread.
#[derive(Debug, Default)]
pub struct Board(Mutex<Project>);

impl Board {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Project> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a host shows beside a slot.
    pub(crate) fn text(&self, slot: usize, position: f32) -> String {
        let project = self.lock();
        project.slots.text(slot, position, &project.chain)
    }

    /// What somebody means who writes this beside a slot.
    pub(crate) fn position(&self, slot: usize, text: &str) -> Option<f32> {
        let project = self.lock();
        project.slots.from_text(slot, text, &project.chain).ok()
    }

    /// See [`Project::edit`].
    ///
    /// # Errors
    /// As there.
    pub fn edit(&self, edit: &Edit, host: impl Fn(usize) -> f32) -> Result<Changes, ChainError> {
        self.lock().edit(edit, host)
    }

    /// What the callbacks know of the slots, where that is something else than number `known`.
    pub(crate) fn table(&self, known: Option<u64>) -> Option<(u64, SlotTable)> {
        let project = self.lock();
        let table =
            || SlotTable { mappings: project.slots.mappings(&project.chain), positions: project.positions.0 };
        (known != Some(project.mapped)).then(|| (project.mapped, table()))
    }

    /// Another project was loaded.
    pub(crate) fn load(&self, project: Project) {
        let mut kept = self.lock();
        let mapped = kept.mapped + 1;
        *kept = Project { mapped, ..project };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::chain::edit::Place;
    use audiocloud_engine::effects;

    fn project(kinds: &[&str]) -> Project {
        let mut project = Project::default();
        for kind in kinds {
            let edit = Edit::Add { at: Place::END, kind: (*kind).to_owned() };
            project.edit(&edit, |_| 0.0).unwrap();
        }
        project
    }

    #[test]
    fn what_is_new_gets_slots_and_does_not_jump() {
        let mut project = project(&["compressor"]);
        let kind = effects::kind("compressor").unwrap();
        assert_eq!(project.slots.iter().count(), kind.parameters.len());
        let before = project.chain.clone();
        assert!(!project.follow_host(|_| 0.0), "they stand where they stood");
        assert_eq!(project.chain, before);
        let steps = project.out_of_step();
        assert!(!steps.is_empty());
        for (slot, position) in &steps {
            project.put(*slot, *position);
        }
        assert_eq!(project.out_of_step(), []);
        let told = |slot| steps.iter().find(|(one, _)| *one == slot).map_or(0.0, |(_, position)| *position);
        assert!(!project.follow_host(told), "that is no movement");
        assert!(project.follow_host(|slot| if slot == 0 { 0.75 } else { told(slot) }));
        let mapping = project.slots.mappings(&project.chain)[0].unwrap();
        assert_eq!(project.chain.value(mapping.effect, mapping.parameter), Some(mapping.plain(0.75)));
    }

    #[test]
    fn an_edit_says_what_the_callbacks_have_to_know() {
        let mut project = project(&["compressor", "reverb"]);
        let parameter = effects::kind("reverb").unwrap().parameters[0];
        let value = parameter.bounds().1;
        let set = Edit::Set { effect: 1, parameter: parameter.id, value };
        let event = ChainBody::Parameter { effect: 1, parameter: parameter.id, value, ramp_frames: None };
        assert_eq!(project.edit(&set, |_| 0.0).unwrap().events, [event]);
        let bypass = ChainBody::Bypass { effect: 0, on: true };
        assert_eq!(project.edit(&Edit::Bypass(0, true), |_| 0.0).unwrap().events, [bypass]);
        let moved = project.edit(&Edit::Move { id: 1, to: Place::at(0) }, |_| 0.0).unwrap();
        assert_eq!(moved.events, [], "structure is no event");
        assert!(project.edit(&Edit::Remove(7), |_| 0.0).is_err());
        assert_eq!(project.edit(&Edit::Remove(0), |_| 0.0).unwrap().events, []);
        assert!(project.slots.iter().all(|(_, target)| target.effect == 1), "its slots are free");
        assert_eq!(values(&project.chain, &Slots::default()).len(), 2);
        assert_eq!(values(&project.chain, &project.slots).len(), 1, "what has a slot, the callback tells");
    }

    #[test]
    fn it_is_kept_and_read_again() {
        let mut project = project(&["eq"]);
        project.put(3, 0.5);
        project.node = NodeChoice::Device(DeviceId([7; 32]));
        let kept = project.to_kept();
        let again = Project::from_kept(&kept).unwrap();
        assert_eq!((&again.chain, &again.slots, again.node), (&project.chain, &project.slots, project.node));
        assert_eq!(again.to_kept(), kept);
        let wrong = KeptChain { chain: serde_json::json!({ "schema": 99 }), ..kept };
        assert!(Project::from_kept(&wrong).unwrap_err().contains("newer version"));
    }
}
