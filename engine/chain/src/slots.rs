//! The automation slots of a host's track: a fixed number of parameters that the host knows by number, each of which
//! moves what the user says, within limits that the user sets.
//!
//! A slot's *position* is from 0 to 1, as hosts have it. What it is mapped to stays with the project; where the effect is
//! gone it moves nothing, and says so.

use std::collections::BTreeMap;

use audiocloud_effects::parameter::Parameter;
use serde::{Deserialize, Serialize};

use crate::document::{Chain, NAME_BYTES_MAX};
use crate::edit::Edit;
use crate::error::ChainError;

/// How many there are.
pub const SLOTS: usize = 64;

/// What a slot moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The effect's or parallel's id in the chain.
    pub effect: u32,
    /// The parameter's id in the effect; of a parallel, the place of a branch.
    pub parameter: u32,
    /// The plain value at position 0.
    pub low: f32,
    /// The plain value at position 1; below `low` where the slot turns it round.
    pub high: f32,
    /// What people call the parameter, where the document does not know it: a foreign plug-in's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// What each slot moves. As JSON an object from the slot's number to its target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<usize, Target>", into = "BTreeMap<usize, Target>")]
pub struct Slots {
    targets: BTreeMap<usize, Target>,
}

impl TryFrom<BTreeMap<usize, Target>> for Slots {
    type Error = String;

    fn try_from(targets: BTreeMap<usize, Target>) -> Result<Self, String> {
        if let Some(slot) = targets.keys().find(|slot| **slot >= SLOTS) {
            return Err(format!("there is no slot {slot}; there are {SLOTS}"));
        }
        for (slot, Target { low, high, name, .. }) in &targets {
            if !(low.is_finite() && high.is_finite() && name.len() <= NAME_BYTES_MAX) {
                return Err(format!("the limits or the name of slot {slot} make no sense"));
            }
        }
        Ok(Self { targets })
    }
}

impl From<Slots> for BTreeMap<usize, Target> {
    fn from(slots: Slots) -> Self {
        slots.targets
    }
}

/// What the callback needs of one slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mapping {
    /// For [`audiocloud_rt::chain_event::ChainBody::Parameter`].
    pub effect: u32,
    /// As above.
    pub parameter: u32,
    /// The plain values at both ends.
    ends: (f32, f32),
    /// With a parameter of ours normalised values, else plain ones.
    low: f32,
    high: f32,
    known: Option<&'static Parameter>,
}

impl Mapping {
    fn of(target: &Target, chain: &Chain) -> Option<Self> {
        let &Target { effect, parameter, low, high, .. } = target;
        let known = chain.parameter(effect, parameter);
        // A foreign plug-in's is believed to be there.
        let is_foreign = chain.slot(effect).is_some_and(|slot| slot.effect_kind().is_none());
        if known.is_none() && !is_foreign {
            return None;
        }
        let held = |plain| known.map_or(plain, |known| known.clamp(plain));
        let on_knob = |plain| known.map_or(plain, |known| known.normalised(plain));
        let ends = (held(low), held(high));
        Some(Self { effect, parameter, ends, low: on_knob(low), high: on_knob(high), known })
    }

    /// The plain value at a position: even steps are even steps of the parameter's own knob.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn plain(&self, position: f32) -> f32 {
        let position = if position.is_nan() { 0.0 } else { position.clamp(0.0, 1.0) };
        // The ends exactly, whatever the arithmetic between them rounds to.
        if position == 0.0 {
            return self.ends.0;
        }
        if position == 1.0 {
            return self.ends.1;
        }
        let way = self.low + (self.high - self.low) * position;
        self.known.map_or(way, |known| known.plain(way))
    }

    /// The position of a plain value.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn position(&self, plain: f32) -> f32 {
        let way = self.known.map_or(plain, |known| known.normalised(plain));
        if self.high == self.low || way.is_nan() {
            return 0.0;
        }
        ((way - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

impl Slots {
    /// What this slot moves.
    #[must_use]
    pub fn target(&self, slot: usize) -> Option<&Target> {
        self.targets.get(&slot)
    }

    /// Every slot that moves something.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Target)> {
        self.targets.iter().map(|(slot, target)| (*slot, target))
    }

    /// Has a slot move something else, or nothing. False where there is no such slot, or its limits are no numbers.
    pub fn set(&mut self, slot: usize, target: Option<Target>) -> bool {
        let suits = |target: &Target| target.low.is_finite() && target.high.is_finite();
        if slot >= SLOTS || !target.as_ref().is_none_or(suits) {
            return false;
        }
        match target {
            Some(target) => self.targets.insert(slot, target),
            None => self.targets.remove(&slot),
        };
        true
    }

    /// Has the first free slot move a parameter over all of its range; the one that does already, where there is one.
    ///
    /// # Errors
    /// The document does not know the parameter, or there is no free slot.
    pub fn assign(&mut self, chain: &Chain, effect: u32, parameter: u32) -> Result<usize, ChainError> {
        let item = chain.item(effect).ok_or(ChainError::NoItem { id: effect })?;
        let known = chain.parameter(effect, parameter);
        let name = || item.title().to_owned();
        let (low, high) = known.ok_or_else(|| ChainError::NoParameter { name: name(), parameter })?.bounds();
        let target = Target { effect, parameter, low, high, name: String::new() };
        self.place(target).ok_or(ChainError::TooMany {
            what: "automated parameters",
            count: SLOTS + 1,
            max: SLOTS,
        })
    }

    /// As [`Slots::assign`], for any target; `None` where no slot is free.
    pub fn place(&mut self, target: Target) -> Option<usize> {
        let slot = self.find(target.effect, target.parameter);
        let slot = slot.or_else(|| (0..SLOTS).find(|slot| !self.targets.contains_key(slot)))?;
        self.set(slot, Some(target)).then_some(slot)
    }

    /// The slot that moves this parameter.
    #[must_use]
    pub fn find(&self, effect: u32, parameter: u32) -> Option<usize> {
        self.iter()
            .find(|(_, target)| (target.effect, target.parameter) == (effect, parameter))
            .map(|(slot, _)| slot)
    }

    /// Frees the slots of effects and branches that are not in the chain any more.
    pub fn tidy(&mut self, chain: &Chain) {
        self.targets.retain(|_, target| Mapping::of(target, chain).is_some());
    }

    /// Slots stay with what they move where an edit, which was applied, gave it another number: the branches behind one
    /// that is gone. Also as [`Slots::tidy`].
    pub fn follow(&mut self, edit: &Edit, chain: &Chain) {
        if let Edit::RemoveBranch(parallel, branch) = edit {
            let gone = u32::from(*branch);
            let is_in = |target: &Target| target.effect == *parallel;
            self.targets.retain(|_, target| !is_in(target) || target.parameter != gone);
            for target in self.targets.values_mut().filter(|target| is_in(target) && target.parameter > gone)
            {
                target.parameter -= 1;
            }
        }
        self.tidy(chain);
    }

    /// What the callback needs, of every slot.
    #[must_use]
    pub fn mappings(&self, chain: &Chain) -> [Option<Mapping>; SLOTS] {
        std::array::from_fn(|slot| Mapping::of(self.target(slot)?, chain))
    }

    /// What people read beside the slot's number: “Compressor: Threshold”.
    #[must_use]
    pub fn title(&self, slot: usize, chain: &Chain) -> String {
        let Some(target) = self.target(slot) else { return "free".to_owned() };
        let Some(item) = chain.item(target.effect) else { return "an effect that is gone".to_owned() };
        let known = chain.parameter(target.effect, target.parameter);
        let parameter = match known {
            Some(known) => known.name.to_owned(),
            None if target.name.is_empty() => format!("parameter {}", target.parameter),
            None => target.name.clone(),
        };
        format!("{}: {parameter}", item.title())
    }

    /// What people read as the slot's value: “Compressor: Threshold −18.0 dB”, for hosts that show no other name.
    #[must_use]
    pub fn text(&self, slot: usize, position: f32, chain: &Chain) -> String {
        match self.value_text(slot, position, chain) {
            Some(value) => format!("{} {value}", self.title(slot, chain)),
            None => self.title(slot, chain),
        }
    }

    /// The value alone: “-18.0 dB”.
    #[must_use]
    pub fn value_text(&self, slot: usize, position: f32, chain: &Chain) -> Option<String> {
        let mapping = Mapping::of(self.target(slot)?, chain)?;
        let plain = mapping.plain(position);
        Some(mapping.known.map_or_else(|| format!("{plain:.3}"), |known| known.to_text(plain)))
    }

    /// The position that a person means by a text: a value with or without its unit, also behind the slot's title.
    ///
    /// # Errors
    /// In words, with what could be written instead.
    pub fn from_text(&self, slot: usize, text: &str, chain: &Chain) -> Result<f32, String> {
        let mapping = self.target(slot).and_then(|target| Mapping::of(target, chain));
        let mapping =
            mapping.ok_or_else(|| format!("slot {} moves nothing: give it a parameter first", slot + 1))?;
        let title = self.title(slot, chain);
        let text = text.strip_prefix(&title).unwrap_or(text).trim();
        let plain = match mapping.known {
            Some(known) => known.from_text(text)?,
            None => text.parse().map_err(|_| format!("“{text}” is no number"))?,
        };
        Ok(mapping.position(plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::Place;

    /// A parallel (0) of two branches, and a foreign plug-in (1).
    fn chain() -> Chain {
        let mut chain = Chain::default();
        chain.apply(&Edit::AddParallel { at: Place::END, branches: 2 }).unwrap();
        chain.apply(&Edit::Add { at: Place::END, kind: "clap:org.example.plate".to_owned() }).unwrap();
        chain
    }

    #[test]
    fn a_slot_moves_what_it_says() {
        let (chain, mut slots) = (chain(), Slots::default());
        assert_eq!(slots.assign(&chain, 0, 1), Ok(0));
        assert_eq!(slots.assign(&chain, 0, 1), Ok(0));
        assert_eq!(slots.assign(&chain, 0, 0), Ok(1));
        assert!(matches!(slots.assign(&chain, 0, 2), Err(ChainError::NoParameter { .. })));
        assert!(matches!(slots.assign(&chain, 7, 0), Err(ChainError::NoItem { id: 7 })));
        let mapping = slots.mappings(&chain)[0].unwrap();
        assert_eq!((mapping.effect, mapping.parameter), (0, 1));
        assert_eq!((mapping.plain(0.0), mapping.plain(1.0), mapping.plain(f32::NAN)), (-96.0, 24.0, -96.0));
        assert!(mapping.plain(0.8).abs() < 1e-5 && mapping.position(0.0) == 0.8);
        assert_eq!(slots.text(0, 0.8, &chain), "Parallel: Level of branch 2 0.0 dB");
        assert_eq!(slots.from_text(0, "-36 dB", &chain), Ok(0.5));
        assert_eq!(slots.from_text(0, &slots.text(0, 0.5, &chain), &chain), Ok(0.5));
        assert!(slots.from_text(0, "loud", &chain).is_err());
        assert_eq!((slots.text(5, 0.5, &chain).as_str(), slots.mappings(&chain)[5]), ("free", None));
    }

    #[test]
    fn limits_may_be_narrow_or_the_other_way_round() {
        let (chain, mut slots) = (chain(), Slots::default());
        let target = |low, high| Some(Target { effect: 0, parameter: 0, low, high, name: String::new() });
        assert!(slots.set(3, target(0.0, -12.0)));
        let mapping = slots.mappings(&chain)[3].unwrap();
        assert_eq!((mapping.plain(0.0), mapping.plain(1.0)), (0.0, -12.0));
        assert!((mapping.plain(0.5) + 6.0).abs() < 1e-4 && (mapping.position(-6.0) - 0.5).abs() < 1e-6);
        // Beyond the limits is at the limits.
        assert_eq!((mapping.position(6.0), mapping.position(-90.0)), (0.0, 1.0));
        assert!(slots.set(3, target(-6.0, -6.0)));
        let mapping = slots.mappings(&chain)[3].unwrap();
        assert_eq!((mapping.position(-6.0), mapping.plain(1.0)), (0.0, -6.0));
        assert!((mapping.plain(0.3) + 6.0).abs() < 1e-4);
        assert!(!slots.set(3, target(f32::NAN, 0.0)) && !slots.set(SLOTS, None));
    }

    #[test]
    fn a_foreign_parameter_moves_on_a_line_under_the_name_that_it_had() {
        let (chain, mut slots) = (chain(), Slots::default());
        let target = Target { effect: 1, parameter: 900, low: 0.0, high: 10.0, name: "Size".to_owned() };
        assert_eq!(slots.place(target), Some(0));
        assert_eq!(slots.mappings(&chain)[0].map(|mapping| mapping.plain(0.25)), Some(2.5));
        assert_eq!(slots.text(0, 0.25, &chain), "org.example.plate: Size 2.500");
        assert_eq!(slots.from_text(0, "7.5", &chain), Ok(0.75));
    }

    #[test]
    fn what_is_gone_is_moved_by_nobody() {
        let (mut chain, mut slots) = (chain(), Slots::default());
        slots.assign(&chain, 0, 0).unwrap();
        slots.assign(&chain, 0, 1).unwrap();
        chain.apply(&Edit::RemoveBranch(0, 1)).unwrap();
        assert!(slots.mappings(&chain)[0].is_some() && slots.mappings(&chain)[1].is_none());
        chain.apply(&Edit::Remove(0)).unwrap();
        assert_eq!(
            (slots.mappings(&chain)[0], slots.text(0, 0.0, &chain).as_str()),
            (None, "an effect that is gone")
        );
        slots.tidy(&chain);
        assert_eq!(slots, Slots::default());
    }

    #[test]
    fn slots_stay_with_their_branch_when_one_before_it_goes() {
        let (mut chain, mut slots) = (chain(), Slots::default());
        chain.apply(&Edit::AddBranch(0)).unwrap();
        (0..3).for_each(|branch| assert!(slots.assign(&chain, 0, branch).is_ok()));
        let edit = Edit::RemoveBranch(0, 1);
        chain.apply(&edit).unwrap();
        slots.follow(&edit, &chain);
        let left: Vec<(usize, u32)> = slots.iter().map(|(slot, target)| (slot, target.parameter)).collect();
        assert_eq!(left, [(0, 0), (2, 1)]);
        // Of another parallel nothing changes, and what does not suit the chain is freed.
        slots.follow(&Edit::RemoveBranch(1, 0), &chain);
        assert_eq!(slots.iter().count(), 2);
        slots.follow(&Edit::Remove(0), &Chain::default());
        assert_eq!(slots, Slots::default());
    }

    #[test]
    fn all_slots_can_be_taken_and_no_more() {
        let (chain, mut slots) = (chain(), Slots::default());
        let target = |parameter| Target { effect: 1, parameter, low: 0.0, high: 1.0, name: String::new() };
        for slot in 0..64_u32 {
            assert_eq!(slots.place(target(slot)), usize::try_from(slot).ok());
        }
        assert_eq!(slots.place(target(64)), None);
        assert!(matches!(slots.assign(&chain, 0, 0), Err(ChainError::TooMany { .. })));
        assert!(slots.mappings(&chain).iter().all(Option::is_some));
    }

    #[test]
    fn they_are_kept_as_text_and_read_with_suspicion() {
        let mut slots = Slots::default();
        slots
            .set(63, Some(Target { effect: 1, parameter: 2, low: -6.0, high: 6.0, name: "Size".to_owned() }));
        let text = r#"{"63":{"effect":1,"parameter":2,"low":-6.0,"high":6.0,"name":"Size"}}"#;
        assert_eq!(serde_json::to_string(&slots).unwrap(), text);
        assert_eq!(serde_json::from_str::<Slots>(text).unwrap(), slots);
        for wrong in [text.replace("63", "64"), text.replace("6.0", "1e300"), text.replace("63", "x")] {
            assert!(serde_json::from_str::<Slots>(&wrong).is_err(), "{wrong}");
        }
    }
}
