//! A text that many write at once: each character has a name, and stays where its writer put it.
//!
//! A replicated growable array (Roh, Jeon, Kim, Lee: *Replicated abstract data types*, 2011). As all apply the same
//! splices in the same order, an insertion needs no search for its place among concurrent ones: it goes right after
//! the character that its writer saw before it.

use std::collections::HashMap;

use audiocloud_wire::id::ChangeHash;
use serde::{Deserialize, Serialize};

/// How many separate stretches one splice can take out.
pub(crate) const STRETCHES_MAX: usize = 512;
/// How many characters one splice can take out.
const REMOVED_MAX: u32 = 1 << 17;

/// A character: the change that brought it, and its position among the characters of that change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct CharacterId {
    change: ChangeHash,
    index: u32,
}

/// Takes stretches of characters out, and puts a text in after a character; `None`: at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Splice {
    after: Option<CharacterId>,
    /// First character and how many that its change brought from there on.
    pub(crate) removed: Vec<(CharacterId, u32)>,
    inserted: String,
}

#[derive(Debug)]
struct Character {
    id: CharacterId,
    value: char,
    removed: bool,
    /// The character to its right, as a place in `characters`.
    next: Option<u32>,
}

/// The text.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// All that ever were, in the order in which they came: those of one change are neighbours here.
    characters: Vec<Character>,
    /// Where the characters of a change begin in `characters`, and how many they are.
    changes: HashMap<ChangeHash, (u32, u32)>,
    first: Option<u32>,
}

impl Notes {
    /// The text, without what was taken out.
    pub(crate) fn text(&self) -> String {
        self.iter().filter(|character| !character.removed).map(|character| character.value).collect()
    }

    /// What makes `wanted` of the text: all between what both begin and what both end with is replaced. `None`
    /// when it is the same text.
    pub(crate) fn splice_to(&self, wanted: &str) -> Option<Splice> {
        let now: Vec<_> = self.iter().filter(|character| !character.removed).collect();
        let wanted: Vec<char> = wanted.chars().collect();
        let both = |(a, b): &(&&Character, &char)| a.value == **b;
        let before = now.iter().zip(&wanted).take_while(both).count();
        let behind = now[before..].iter().rev().zip(wanted[before..].iter().rev()).take_while(both).count();
        let (gone, come) = (&now[before..now.len() - behind], &wanted[before..wanted.len() - behind]);
        if gone.is_empty() && come.is_empty() {
            return None;
        }
        let after = before.checked_sub(1).map(|last| now[last].id);
        let mut removed: Vec<(CharacterId, u32)> = Vec::new();
        for Character { id, .. } in gone {
            match removed.last_mut() {
                Some((first, many)) if first.change == id.change && first.index + *many == id.index => {
                    *many += 1
                }
                _ => removed.push((*id, 1)),
            }
        }
        Some(Splice { after, removed, inserted: come.iter().collect() })
    }

    /// Applies a splice that came in `change`. One that names characters that are not there leaves those parts
    /// out: only a change that is made to mislead does so, and it does the same to all.
    pub(crate) fn apply(&mut self, change: ChangeHash, splice: &Splice) {
        let mut allowed = REMOVED_MAX;
        for (id, many) in splice.removed.iter().take(STRETCHES_MAX) {
            let Some(first) = self.place(id) else { continue };
            let (begin, held) = self.changes[&id.change];
            let many = (*many).min(begin + held - first).min(allowed);
            allowed -= many;
            for place in first..first + many {
                self.characters[index(place)].removed = true;
            }
        }
        let left = match splice.after {
            None => None,
            Some(id) => match self.place(&id) {
                None => return,
                place => place,
            },
        };
        self.insert(change, left, &splice.inserted);
    }

    fn insert(&mut self, change: ChangeHash, left: Option<u32>, text: &str) {
        let begin = place_count(&self.characters);
        let mut left = left;
        let right = match left {
            None => self.first,
            Some(left) => self.characters[index(left)].next,
        };
        for (place, value) in (begin..).zip(text.chars()) {
            let id = CharacterId { change, index: place - begin };
            self.characters.push(Character { id, value, removed: false, next: right });
            match left {
                None => self.first = Some(place),
                Some(left) => self.characters[index(left)].next = Some(place),
            }
            left = Some(place);
        }
        self.changes.insert(change, (begin, place_count(&self.characters) - begin));
    }

    fn place(&self, id: &CharacterId) -> Option<u32> {
        let (begin, many) = self.changes.get(&id.change)?;
        (id.index < *many).then(|| begin + id.index)
    }

    fn iter(&self) -> impl Iterator<Item = &Character> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let character = &self.characters[index(next?)];
            next = character.next;
            Some(character)
        })
    }
}

fn index(place: u32) -> usize {
    usize::try_from(place).expect("audiocloud has no 16-bit machines")
}

/// All changes together have at most [`super::DOCUMENT_BYTES_MAX`] bytes, and so far fewer characters than 2³².
fn place_count(characters: &[Character]) -> u32 {
    u32::try_from(characters.len()).expect("fewer characters than bytes of the document")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u8) -> ChangeHash {
        ChangeHash([number; 32])
    }

    #[test]
    fn what_differs_is_replaced_and_nothing_else() {
        let check = |from: &str, to: &str, removed: u32, inserted: &str| {
            let mut notes = Notes::default();
            notes.insert(hash(1), None, from);
            let splice = notes.splice_to(to).unwrap();
            assert_eq!(splice.removed.iter().map(|(_, many)| many).sum::<u32>(), removed, "{from} to {to}");
            assert_eq!(splice.inserted, inserted, "{from} to {to}");
            notes.apply(hash(2), &splice);
            assert_eq!(notes.text(), to);
            assert_eq!(notes.splice_to(to), None);
        };
        check("", "verse", 0, "verse");
        check("verse", "", 5, "");
        check("verse", "verses", 0, "s");
        check("verse chorus", "verse, chorus", 0, ",");
        check("aaa", "aaaa", 0, "a");
        check("aaaa", "aa", 2, "");
        check("über", "unter", 2, "unt");
        check("Bass: E–A–D–G", "Bass: D–A–D–G", 1, "D");
    }

    #[test]
    fn both_of_two_who_write_at_once_are_kept() {
        let mut seen = Notes::default();
        seen.insert(hash(1), None, "verse\nchorus\n");
        let one = seen.splice_to("verse: piano alone\nchorus\n").unwrap();
        let other = seen.splice_to("verse\nchorus: all\n").unwrap();
        for order in [[(2, &one), (3, &other)], [(3, &other), (2, &one)]] {
            let mut notes = Notes::default();
            notes.insert(hash(1), None, "verse\nchorus\n");
            order.into_iter().for_each(|(number, splice)| notes.apply(hash(number), splice));
            assert_eq!(notes.text(), "verse: piano alone\nchorus: all\n");
        }
    }

    #[test]
    fn a_splice_that_misleads_does_nothing_outside_of_the_text() {
        let mut notes = Notes::default();
        notes.insert(hash(1), None, "abc");
        let nowhere = CharacterId { change: hash(9), index: 0 };
        let past = CharacterId { change: hash(1), index: 3 };
        let check = |notes: &mut Notes, after, removed, text| {
            notes.apply(hash(2), &Splice { after, removed, inserted: "x".to_owned() });
            assert_eq!(notes.text(), text);
        };
        check(&mut notes, Some(nowhere), vec![(nowhere, u32::MAX)], "abc");
        check(&mut notes, Some(past), vec![(past, 1)], "abc");
        check(&mut notes, None, vec![(CharacterId { change: hash(1), index: 1 }, u32::MAX)], "xa");
    }
}
