//! What a Receive plays of a session, and how loud each person and each stream is in it.

use std::fmt;

use serde_json::{Map, Value};

use super::{Document, SCHEMA_OF_MIX, StreamRef, hex, parse_key, parse_stream, session};
use crate::params::{LEVEL_MAX_DB, LEVEL_MIN_DB};

/// Outputs that streams can have for themselves; they count from 1.
pub const OUTPUTS: u8 = 8;

/// A person by their user key, or, where that was not known, by the key of the device that publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonRef(pub [u8; 32]);

/// What is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    #[default]
    Nothing,
    /// This stream and no other.
    Stream(StreamRef),
    /// Every stream of a person.
    Person(PersonRef),
    /// Every stream in reach.
    Session,
}

/// Whose fader it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaderKey {
    Stream(StreamRef),
    Person(PersonRef),
}

/// Where a fader stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fader {
    /// From [`LEVEL_MIN_DB`], which is silence, to [`LEVEL_MAX_DB`].
    pub level_db: f32,
    /// From −1, left, to 1, right.
    pub pan: f32,
    pub is_muted: bool,
    /// The output of a stream's own, 1 to [`OUTPUTS`]; nothing: the first that is free.
    pub output: Option<u8>,
    /// A stream of this process is played with the others: without, it is left out.
    pub is_chosen: bool,
}

impl fmt::Display for PersonRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl fmt::Display for FaderKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(stream) => stream.fmt(formatter),
            Self::Person(person) => person.fmt(formatter),
        }
    }
}

pub(super) fn selection(document: &Document) -> Selection {
    let person = || Some(Selection::Person(PersonRef(parse_key(document.text("person")?)?)));
    let stream = || {
        let stream = document.text("stream").and_then(parse_stream)?;
        Some(Selection::Stream(StreamRef { publisher: parse_key(document.text("publisher")?)?, stream }))
    };
    let selected = match document.text("play") {
        Some("session") => Some(Selection::Session),
        Some("person") => person(),
        _ => stream(),
    };
    selected.unwrap_or_default()
}

pub(super) fn select(document: &mut Document, wanted: Selection, name: &str) {
    if wanted != selection(document) {
        session::set_member(document, None);
    }
    let stream = if let Selection::Stream(stream) = wanted { Some(stream) } else { None };
    let person = if let Selection::Person(person) = wanted { Some(person) } else { None };
    let play = match wanted {
        Selection::Nothing | Selection::Stream(_) => None,
        Selection::Person(_) => Some("person"),
        Selection::Session => Some("session"),
    };
    let named = stream.is_some() || person.is_some();
    document.set("publisher", stream.map(|stream| hex(&stream.publisher)));
    document.set("stream", stream.map(|stream| format!("{:016x}", stream.stream)));
    document.set("person", person.map(|person| person.to_string()));
    document.set("name", named.then(|| name.to_owned()));
    document.set("play", play.map(str::to_owned));
    if play.is_some() {
        document.raise(SCHEMA_OF_MIX);
    }
}

/// The stream that is played has another publisher; everything else of it stays.
pub(super) fn follow_stream(document: &mut Document, to: StreamRef) {
    let Selection::Stream(from) = selection(document) else { return };
    let (from, key) = (FaderKey::Stream(from), FaderKey::Stream(to));
    let moved = fader(document, from);
    set_fader(document, from, Fader::default());
    set_fader(document, key, moved);
    document.set("publisher", Some(hex(&to.publisher)));
    document.set("stream", Some(format!("{:016x}", to.stream)));
}

pub(super) fn fader(document: &Document, key: FaderKey) -> Fader {
    if !document.is_readable() {
        return Fader::default();
    }
    let kept = document.0.get("faders").and_then(|faders| faders.get(key.to_string()));
    let field = |name: &str| kept.and_then(|fader| fader.get(name));
    #[allow(clippy::cast_possible_truncation, reason = "a level or a position, rounded to f32")]
    let number = |name: &str| field(name).and_then(Value::as_f64).map_or(0.0, |value| value as f32);
    let is = |name: &str| field(name).and_then(Value::as_bool).unwrap_or(false);
    let output = field("output").and_then(Value::as_u64).and_then(|output| u8::try_from(output).ok());
    Fader {
        level_db: number("level").clamp(LEVEL_MIN_DB, LEVEL_MAX_DB),
        pan: number("pan").clamp(-1.0, 1.0),
        is_muted: is("mute"),
        output: output.filter(|output| (1..=OUTPUTS).contains(output)),
        is_chosen: is("own"),
    }
}

pub(super) fn set_fader(document: &mut Document, key: FaderKey, fader: Fader) {
    let mut faders = document.0.get("faders").and_then(Value::as_object).cloned().unwrap_or_default();
    let kept = faders.entry(key.to_string()).or_insert_with(|| Value::Object(Map::new()));
    if let Some(kept) = kept.as_object_mut() {
        let mut put = |name: &str, value: Option<Value>| match value {
            Some(value) => drop(kept.insert(name.to_owned(), value)),
            None => drop(kept.remove(name)),
        };
        // What rests is not written: a fader that nobody touched leaves no trace.
        put("level", (fader.level_db != 0.0).then(|| rounded(fader.level_db)));
        put("pan", (fader.pan != 0.0).then(|| rounded(fader.pan)));
        put("mute", fader.is_muted.then_some(true.into()));
        put("output", fader.output.map(Into::into));
        put("own", fader.is_chosen.then_some(true.into()));
    }
    faders.retain(|_, kept| kept.as_object().is_none_or(|kept| !kept.is_empty()));
    if faders.is_empty() {
        return document.put("faders", None);
    }
    document.put("faders", Some(faders.into()));
    document.raise(SCHEMA_OF_MIX);
}

/// To a hundredth, which is how far faders are moved: JSON has no `f32`.
fn rounded(value: f32) -> Value {
    ((f64::from(value) * 100.0).round() / 100.0).into()
}

#[cfg(test)]
mod tests {
    use super::super::Stored;
    use super::*;
    use nice_plug::params::persist::PersistentField;

    const STREAM: StreamRef = StreamRef { publisher: *b"\xF0\x0Fabcdefghijklmnopqrstuvwxyz0123", stream: 42 };
    const PERSON: PersonRef = PersonRef([9; 32]);

    fn save(stored: &Stored) -> Value {
        stored.map(|document| serde_json::to_value(document).unwrap())
    }

    fn saved_and_loaded(stored: &Stored) -> Stored {
        let again = Stored::default();
        PersistentField::set(&again, serde_json::from_value(save(stored)).unwrap());
        again
    }

    #[test]
    fn a_selection_comes_back_in_the_earliest_schema_that_has_it() {
        let stored = Stored::default();
        assert_eq!(stored.selection(), Selection::Nothing);
        for (selection, name, schema) in [
            (Selection::Stream(STREAM), "Drums", 1),
            (Selection::Nothing, "", 1),
            (Selection::Person(PERSON), "Anna", 2),
            (Selection::Session, "", 2),
            (Selection::Stream(STREAM), "Drums", 2),
        ] {
            assert!(stored.select(selection, name));
            let again = saved_and_loaded(&stored);
            assert_eq!((again.selection(), again.name().as_str()), (selection, name));
            assert_eq!(save(&again)["schema"], schema, "{selection:?}");
        }
        assert_eq!(STREAM.to_string().parse(), Ok(STREAM));
    }

    #[test]
    fn a_document_of_the_first_schema_plays_its_stream() {
        let stored = Stored::default();
        assert!(stored.select(Selection::Stream(STREAM), "Drums"));
        let document = save(&stored);
        assert_eq!(document["schema"], 1);
        assert_eq!(saved_and_loaded(&stored).selection(), Selection::Stream(STREAM));
        assert_eq!(saved_and_loaded(&stored).fader(FaderKey::Stream(STREAM)), Fader::default());
    }

    #[test]
    fn a_fader_stays_where_it_was_left_and_leaves_no_trace_at_rest() {
        let stored = Stored::default();
        let (stream, person) = (FaderKey::Stream(STREAM), FaderKey::Person(PERSON));
        let moved = Fader { level_db: -6.1, pan: 0.25, is_muted: true, output: Some(3), is_chosen: true };
        assert!(stored.set_fader(stream, moved));
        assert!(stored.set_fader(person, Fader { level_db: 3.0, ..Fader::default() }));
        let again = saved_and_loaded(&stored);
        assert_eq!((again.fader(stream), again.fader(person).level_db), (moved, 3.0));
        assert_eq!(save(&again)["schema"], 2);
        let revision = again.revision();
        assert!(again.set_fader(stream, moved));
        assert_eq!(again.revision(), revision, "nothing changed");
        for key in [stream, person] {
            assert!(again.set_fader(key, Fader::default()));
        }
        assert_eq!(save(&again), serde_json::json!({ "schema": 2 }));
    }

    #[test]
    fn a_stream_that_moves_takes_its_fader_and_its_person_with_it() {
        let stored = Stored::default();
        let to = StreamRef { publisher: [1; 32], ..STREAM };
        stored.follow_stream(to);
        assert_eq!(stored.selection(), Selection::Nothing, "nothing is played");
        assert!(stored.select(Selection::Stream(STREAM), "Drums") && stored.set_member(Some(PERSON)));
        let quiet = Fader { level_db: -6.0, ..Fader::default() };
        assert!(stored.set_fader(FaderKey::Stream(STREAM), quiet) && stored.follow_stream(to));
        assert_eq!((stored.selection(), stored.name().as_str()), (Selection::Stream(to), "Drums"));
        assert_eq!((stored.fader(FaderKey::Stream(to)), stored.member()), (quiet, Some(PERSON)));
        assert_eq!(stored.fader(FaderKey::Stream(STREAM)), Fader::default());
    }

    #[test]
    fn what_makes_no_sense_is_at_rest_and_what_is_unknown_stays() {
        let document = serde_json::json!({ "schema": 2, "play": "person", "person": "no key", "faders": {
            STREAM.to_string(): { "level": 900.0, "pan": "left", "output": 99, "mute": 1, "colour": "red" },
            PERSON.to_string(): 7,
        }});
        let stored = Stored::default();
        PersistentField::set(&stored, serde_json::from_value(document).unwrap());
        assert_eq!(stored.selection(), Selection::Nothing);
        let expected = Fader { level_db: LEVEL_MAX_DB, ..Fader::default() };
        assert_eq!(stored.fader(FaderKey::Stream(STREAM)), expected);
        assert_eq!(stored.fader(FaderKey::Person(PERSON)), Fader::default());
        assert!(stored.set_fader(FaderKey::Stream(STREAM), Fader { pan: -1.0, ..Fader::default() }));
        let kept = &save(&stored)["faders"][STREAM.to_string()];
        assert_eq!(*kept, serde_json::json!({ "pan": -1.0, "colour": "red" }));
    }
}
