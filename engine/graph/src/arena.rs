//! A generational arena: keys stay valid until their value is removed, and are never mistaken for a later value's.

use serde::{Deserialize, Serialize};

/// Names one value of an [`Arena`]: its place, and how many values had that place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The place and the generation in one number, for logs and fixed-size messages.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The key that [`Key::to_u64`] made this number of.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the two halves of the number, each of 32 bits")]
    pub const fn from_u64(number: u64) -> Self {
        Self { index: number as u32, generation: (number >> 32) as u32 }
    }
}

/// No free place: the end of the list of free places.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
enum Place<T> {
    Full(T),
    /// The next free place.
    Free(u32),
}

#[derive(Clone, Debug)]
struct Entry<T> {
    generation: u32,
    place: Place<T>,
}

/// Values at stable places, each named by a [`Key`].
///
/// *Realtime-safe: no*; for control threads.
#[derive(Clone, Debug)]
pub struct Arena<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    len: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<T> Arena<T> {
    /// Empty, with room for this many values.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity), free: NONE, len: 0 }
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps a value.
    ///
    /// # Panics
    /// With more than four thousand million values.
    pub fn insert(&mut self, value: T) -> Key {
        self.len += 1;
        if let Some(entry) = self.entries.get_mut(self.free as usize) {
            let index = self.free;
            if let Place::Free(next) = std::mem::replace(&mut entry.place, Place::Full(value)) {
                self.free = next;
            }
            return Key { index, generation: entry.generation };
        }
        let index = u32::try_from(self.entries.len()).expect("fewer than 2^32 values");
        self.entries.push(Entry { generation: 0, place: Place::Full(value) });
        Key { index, generation: 0 }
    }

    /// Takes a value out; `None` where it is gone already.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation != key.generation || matches!(entry.place, Place::Free(_)) {
            return None;
        }
        self.len -= 1;
        // A place whose generations are used up is left empty for ever.
        let next = match entry.generation.checked_add(1) {
            Some(generation) => {
                entry.generation = generation;
                std::mem::replace(&mut self.free, key.index)
            }
            None => NONE,
        };
        match std::mem::replace(&mut entry.place, Place::Free(next)) {
            Place::Full(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    /// The value of a key, where it is still there.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.entries.get(key.index as usize) {
            Some(Entry { generation, place: Place::Full(value) }) if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// As [`Arena::get`], to be changed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.entries.get_mut(key.index as usize) {
            Some(Entry { generation, place: Place::Full(value) }) if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// Every value with its key, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| match &entry.place {
            Place::Full(value) => {
                let index = u32::try_from(index).unwrap_or(NONE);
                Some((Key { index, generation: entry.generation }, value))
            }
            Place::Free(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use proptest::prelude::*;

    #[test]
    fn a_key_is_never_mistaken() {
        let mut arena = Arena::default();
        let first = arena.insert("first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_ne!(first, second);
        assert_eq!((arena.get(first), arena.get(second)), (None, Some(&"second")));
        assert_eq!((arena.remove(first), arena.len()), (None, 1));
        assert_eq!(Key::from_u64(second.to_u64()), second);
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(steps in proptest::collection::vec((any::<bool>(), 0_usize..64), 0..300)) {
            let (mut arena, mut map, mut keys) = (Arena::default(), HashMap::new(), Vec::new());
            for (number, (insert, which)) in steps.into_iter().enumerate() {
                if insert {
                    let key = arena.insert(number);
                    prop_assert!(map.insert(key, number).is_none(), "{key:?} was given twice");
                    keys.push(key);
                } else if let Some(key) = keys.get(which) {
                    prop_assert_eq!(arena.remove(*key), map.remove(key));
                }
                prop_assert_eq!(arena.len(), map.len());
            }
            prop_assert_eq!(arena.iter().map(|(key, value)| (key, *value)).collect::<HashMap<_, _>>(), map);
        }
    }
}
