//! What a project remembers of the session that it belongs to.

use audiocloud_net::wire::id::SessionId;
use serde_json::{Map, Value};

use super::{Document, PersonRef, SCHEMA_OF_SESSION, hex, parse_key};

/// A session as a project names it, for whoever opens the project: perhaps somebody who is no member of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRef {
    pub id: SessionId,
    /// What its members call it.
    pub name: String,
    /// Who can be asked for a link; empty where nobody is known.
    pub ask: String,
}

pub(super) fn session(document: &Document) -> Option<SessionRef> {
    let kept = document.field("session")?;
    let text = |name: &str| kept.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(SessionRef { id: SessionId(parse_key(&text("id"))?), name: text("name"), ask: text("ask") })
}

/// Nothing is written as such: it was chosen.
pub(super) fn set_session(document: &mut Document, session: Option<&SessionRef>) {
    let is_same = |kept: &Map<String, Value>| {
        session.is_some_and(|session| kept.get("id").and_then(Value::as_str) == Some(&session.id.to_string()))
    };
    let mut fields = document.field("session").and_then(Value::as_object).cloned().unwrap_or_default();
    // What a later version keeps beside it is about that session alone.
    if !is_same(&fields) {
        fields.clear();
    }
    if let Some(session) = session {
        fields.insert("id".to_owned(), session.id.to_string().into());
        fields.insert("name".to_owned(), session.name.clone().into());
        fields.insert("ask".to_owned(), session.ask.clone().into());
    }
    document.put("session", Some(if session.is_some() { fields.into() } else { Value::Null }));
    document.raise(SCHEMA_OF_SESSION);
}

/// Nobody has decided yet whether it belongs to a session, nor used it without one.
pub(super) fn is_new(document: &Document) -> bool {
    document.is_readable()
        && ["session", "stream", "play", "bridges", "chain"]
            .iter()
            .all(|field| document.field(field).is_none())
}

pub(super) fn member(document: &Document) -> Option<PersonRef> {
    parse_key(document.text("member")?).map(PersonRef)
}

pub(super) fn set_member(document: &mut Document, member: Option<PersonRef>) {
    document.set("member", member.map(|member| hex(&member.0)));
}

/// A switch that is off unless it is there.
pub(super) fn is_on(document: &Document, name: &str) -> bool {
    document.field(name).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn switch(document: &mut Document, name: &str, is_on: bool) {
    document.put(name, is_on.then_some(true.into()));
    if is_on {
        document.raise(SCHEMA_OF_SESSION);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stored;
    use super::*;
    use crate::state::{Selection, StreamRef};
    use nice_plug::params::persist::PersistentField;
    use serde_json::json;

    fn jam() -> SessionRef {
        SessionRef { id: SessionId([0xab; 32]), name: "Friday jam".into(), ask: "Anna".into() }
    }

    fn save(stored: &Stored) -> Value {
        stored.map(|document| serde_json::to_value(document).unwrap())
    }

    fn load(document: Value) -> Stored {
        let stored = Stored::default();
        PersistentField::set(&stored, serde_json::from_value(document).unwrap());
        stored
    }

    #[test]
    fn a_session_comes_back_with_what_a_later_version_wrote_of_it() {
        let stored = Stored::default();
        assert!(stored.await_session() && stored.session().is_none());
        assert!(stored.set_session(Some(&jam())));
        let mut document = save(&stored);
        assert_eq!(document["schema"], 3);
        document["session"]["colour"] = "red".into();
        let again = load(document);
        assert_eq!((again.session(), again.await_session()), (Some(jam()), false));
        assert!(again.set_session(Some(&SessionRef { name: "Saturday".into(), ..jam() })));
        assert_eq!((&save(&again)["session"]["colour"], again.revision()), (&json!("red"), 1));
        let other = SessionRef { id: SessionId([1; 32]), ..jam() };
        assert!(again.set_session(Some(&other)));
        assert!(save(&again)["session"].get("colour").is_none(), "it was about another session");
        assert!(again.set_session(None));
        assert_eq!(
            (save(&again)["session"].clone(), again.session(), again.await_session()),
            (Value::Null, None, false)
        );
    }

    #[test]
    fn documents_of_earlier_schemas_belong_to_no_session_and_are_not_new() {
        let stream = "00000000000000bb";
        for document in [
            json!({ "schema": 1, "name": "Bass", "stream": stream }),
            json!({ "schema": 1, "publisher": "ab".repeat(32), "stream": stream }),
            json!({ "schema": 2, "play": "session" }),
        ] {
            let stored = load(document.clone());
            assert_eq!((stored.session(), stored.await_session()), (None, false), "{document}");
            assert_eq!(save(&stored), document);
        }
        assert!(load(json!({ "schema": 1 })).await_session(), "saved before it was ever used");
        assert!(!load(json!({ "schema": 5 })).await_session(), "of a later version");
    }

    #[test]
    fn a_session_that_is_found_late_is_taken_by_who_still_waits_for_one() {
        let stored = Stored::default();
        assert!(!stored.adopt(&jam()), "it did not ask");
        assert!(stored.await_session() && stored.set_stream(7), "in use before the answer came");
        assert!(stored.adopt(&jam()) && stored.session() == Some(jam()));
        assert!(!stored.adopt(&SessionRef { id: SessionId([1; 32]), ..jam() }), "only once");

        let chosen = Stored::default();
        assert!(chosen.await_session() && chosen.set_session(None) && !chosen.adopt(&jam()));
        let loaded = Stored::default();
        assert!(loaded.await_session());
        PersistentField::set(&loaded, serde_json::from_value(json!({ "schema": 1 })).unwrap());
        assert!(!loaded.adopt(&jam()) && loaded.session().is_none());
    }

    #[test]
    fn what_makes_no_sense_is_no_session() {
        for session in [json!(7), json!({ "id": "ab" }), json!({ "name": "Jam" }), json!(["id"])] {
            let stored = load(json!({ "schema": 3, "session": session }));
            assert_eq!((stored.session(), stored.await_session()), (None, false), "{session}");
        }
        let half = load(json!({ "schema": 3, "session": { "id": "ab".repeat(32), "name": 7 } }));
        assert_eq!(half.session(), Some(SessionRef { name: String::new(), ask: String::new(), ..jam() }));
    }

    #[test]
    fn switches_and_hints_leave_no_trace_at_rest() {
        let stored = Stored::default();
        assert!(stored.set_talk_back(true) && stored.set_open(true));
        assert!(stored.set_member(Some(PersonRef([9; 32]))) && stored.set_latency_us(Some(12_345)));
        let again = load(save(&stored));
        assert_eq!((again.is_talk_back(), again.is_open()), (true, true));
        assert_eq!((again.member(), again.latency_us()), (Some(PersonRef([9; 32])), Some(12_345)));
        assert!(again.set_talk_back(false) && again.set_open(false));
        assert!(again.set_member(None) && again.set_latency_us(None));
        assert_eq!(save(&again), json!({ "schema": 3 }));
    }

    #[test]
    fn another_selection_forgets_whose_stream_it_was() {
        let stored = Stored::default();
        let stream = StreamRef { publisher: [7; 32], stream: 1 };
        assert!(stored.select(Selection::Stream(stream), "Drums"));
        assert!(stored.set_member(Some(PersonRef([9; 32]))));
        assert_eq!(save(&stored)["schema"], 1, "an earlier version may ignore it");
        assert!(stored.select(Selection::Stream(stream), "Drums"));
        assert_eq!(stored.member(), Some(PersonRef([9; 32])));
        assert!(stored.select(Selection::Session, ""));
        assert_eq!(stored.member(), None);
    }
}
