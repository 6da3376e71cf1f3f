//! What a project keeps beside the parameters: a small JSON document with its own schema number.
//!
//! Fields that this version does not know survive being loaded and saved. A document of a later schema is kept
//! untouched and not read, and the plug-in says so.

mod bridges;
mod chain;
mod mix;
mod session;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nice_plug::params::persist::PersistentField;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use bridges::{Bridge, Bridges};
pub use chain::{KeptChain, KeptDelay};
pub use mix::{Fader, FaderKey, OUTPUTS, PersonRef, Selection};
pub use session::SessionRef;

/// The latest schema that this version reads. A document says the earliest one that has all that is in it: 1 has a name,
/// a stream and a codec, 2 also what else a Receive plays, and its faders, 3 also a session, and what is open to others,
/// 4 also a chain of effects.
pub const SCHEMA: u64 = 4;
const SCHEMA_OF_MIX: u64 = 2;
const SCHEMA_OF_SESSION: u64 = 3;
const SCHEMA_OF_CHAIN: u64 = 4;

/// A stream by its publisher's device and its own id, as a project stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamRef {
    /// Ed25519 public key of the publishing device.
    pub publisher: [u8; 32],
    pub stream: u64,
}

/// A document as stored: whatever was in it, whether we know it or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Document(Value);

impl Default for Document {
    fn default() -> Self {
        let mut fields = Map::new();
        fields.insert("schema".to_owned(), 1.into());
        Self(Value::Object(fields))
    }
}

impl Document {
    /// Its schema; 0 when it has none that can be read.
    fn schema(&self) -> u64 {
        self.0.get("schema").and_then(Value::as_u64).unwrap_or(0)
    }

    /// Whether this version can read it: anything else is kept as it is.
    fn is_readable(&self) -> bool {
        self.0.is_object() && (1..=SCHEMA).contains(&self.schema())
    }

    fn field(&self, field: &str) -> Option<&Value> {
        if self.is_readable() { self.0.get(field) } else { None }
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.field(field)?.as_str()
    }

    fn set(&mut self, field: &str, value: Option<String>) {
        self.put(field, value.map(Value::String));
    }

    fn put(&mut self, field: &str, value: Option<Value>) {
        if let Some(fields) = self.0.as_object_mut() {
            match value {
                Some(value) => fields.insert(field.to_owned(), value),
                None => fields.remove(field),
            };
        }
    }

    /// Something in it is of this schema.
    fn raise(&mut self, schema: u64) {
        if self.schema() < schema {
            self.put("schema", Some(schema.into()));
        }
    }
}

/// The stored document of one instance, as nice-plug loads and saves it.
pub struct Stored {
    document: Mutex<Document>,
    revision: AtomicU64,
    /// Takes the first session that is offered. Only changed with the document locked.
    awaits_session: AtomicBool,
    on_load: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Stored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stored").field("document", &*self.lock()).finish_non_exhaustive()
    }
}

impl Default for Stored {
    fn default() -> Self {
        Self {
            document: Mutex::default(),
            revision: AtomicU64::new(0),
            awaits_session: AtomicBool::new(false),
            on_load: OnceLock::new(),
        }
    }
}

impl Stored {
    fn lock(&self) -> MutexGuard<'_, Document> {
        self.document.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `hook` called whenever the host loaded a document; once.
    pub fn on_load(&self, hook: impl Fn() + Send + Sync + 'static) {
        let set = self.on_load.set(Box::new(hook));
        debug_assert!(set.is_ok(), "one hook");
    }

    /// The schema of a document that only a later version can read.
    pub fn unreadable(&self) -> Option<u64> {
        let document = self.lock();
        (!document.is_readable()).then(|| document.schema())
    }

    /// How often a plug-in itself changed the document: each time the host should mark its project as changed.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// The name in it; empty when there is none.
    pub fn name(&self) -> String {
        self.lock().text("name").unwrap_or_default().to_owned()
    }

    /// The stream's own id in it.
    pub fn stream(&self) -> Option<u64> {
        self.lock().text("stream").and_then(parse_stream)
    }

    /// The stream that it names, with its publisher.
    pub fn stream_ref(&self) -> Option<StreamRef> {
        let document = self.lock();
        let stream = document.text("stream").and_then(parse_stream)?;
        Some(StreamRef { publisher: parse_key(document.text("publisher")?)?, stream })
    }

    /// The name of the codec in it, as announcements have it; nothing when the user never chose one.
    pub fn codec(&self) -> Option<String> {
        self.lock().text("codec").map(str::to_owned)
    }

    /// Sets the name of the codec. False as in [`Stored::set_name`].
    pub fn set_codec(&self, codec: &str) -> bool {
        self.change(|document| document.set("codec", Some(codec.to_owned())))
    }

    /// Sets the name. False when the document is a later version's, and was left alone.
    pub fn set_name(&self, name: &str) -> bool {
        self.change(|document| document.set("name", Some(name.to_owned())))
    }

    /// Sets the stream's own id. False as in [`Stored::set_name`].
    pub fn set_stream(&self, stream: u64) -> bool {
        self.change(|document| document.set("stream", Some(format!("{stream:016x}"))))
    }

    /// What of a session is played.
    pub fn selection(&self) -> Selection {
        mix::selection(&self.lock())
    }

    /// Sets what is played, and what it is called. False as in [`Stored::set_name`].
    pub fn select(&self, selection: Selection, name: &str) -> bool {
        self.change(|document| mix::select(document, selection, name))
    }

    /// The session that the project belongs to.
    pub fn session(&self) -> Option<SessionRef> {
        session::session(&self.lock())
    }

    /// Sets it, or that it belongs to none. False as in [`Stored::set_name`].
    pub fn set_session(&self, session: Option<&SessionRef>) -> bool {
        self.change(|document| {
            self.awaits_session.store(false, Ordering::Relaxed);
            session::set_session(document, session);
        })
    }

    /// Whether nobody has decided yet on a session, nor used the plug-in without one: then [`Stored::adopt`] may.
    pub fn await_session(&self) -> bool {
        let document = self.lock();
        let is_new = session::is_new(&document);
        self.awaits_session.store(is_new, Ordering::Relaxed);
        is_new
    }

    /// Sets the session, unless one was set or a document loaded since it was waited for; whether it was set.
    pub fn adopt(&self, session: &SessionRef) -> bool {
        let mut is_adopted = false;
        self.change(|document| {
            is_adopted = self.awaits_session.swap(false, Ordering::Relaxed);
            if is_adopted {
                session::set_session(document, Some(session));
            }
        });
        is_adopted
    }

    /// Whose stream it is that is played, where that is known: it may come back from another machine of theirs.
    pub fn member(&self) -> Option<PersonRef> {
        session::member(&self.lock())
    }

    /// Sets whose it is. False as in [`Stored::set_name`].
    pub fn set_member(&self, member: Option<PersonRef>) -> bool {
        self.change(|document| session::set_member(document, member))
    }

    /// Whether the stream is for talking, and never part of a mix.
    pub fn is_talk_back(&self) -> bool {
        session::is_on(&self.lock(), "talk_back")
    }

    /// Sets that. False as in [`Stored::set_name`].
    pub fn set_talk_back(&self, is_on: bool) -> bool {
        self.change(|document| session::switch(document, "talk_back", is_on))
    }

    /// Whether others may choose what is played.
    pub fn is_open(&self) -> bool {
        session::is_on(&self.lock(), "open")
    }

    /// Sets that. False as in [`Stored::set_name`].
    pub fn set_open(&self, is_on: bool) -> bool {
        self.change(|document| session::switch(document, "open", is_on))
    }

    /// What others see in the patch bay; empty where it was not named.
    pub fn input_name(&self) -> String {
        self.lock().text("input").unwrap_or_default().to_owned()
    }

    /// Sets it. False as in [`Stored::set_name`].
    pub fn set_input_name(&self, name: &str) -> bool {
        self.change(|document| document.set("input", Some(name.to_owned())))
    }

    /// The stream that is played is published by another device from now on: its fader goes with it. False as in
    /// [`Stored::set_name`].
    pub fn follow_stream(&self, to: StreamRef) -> bool {
        self.change(|document| mix::follow_stream(document, to))
    }

    /// Where a Clock is to bring the beat besides.
    pub fn bridges(&self) -> Bridges {
        bridges::bridges(&self.lock())
    }

    /// Sets that. False as in [`Stored::set_name`].
    pub fn set_bridges(&self, bridges: &Bridges) -> bool {
        self.change(|document| bridges::set_bridges(document, bridges))
    }

    /// The chain of effects.
    pub fn chain(&self) -> Option<KeptChain> {
        chain::chain(&self.lock())
    }

    /// Sets it. False as in [`Stored::set_name`].
    pub fn set_chain(&self, kept: &KeptChain) -> bool {
        self.change(|document| chain::set_chain(document, kept))
    }

    /// Sets it where the host knows of what changed already, for it moved its own parameters. False as in
    /// [`Stored::set_name`].
    pub fn follow_chain(&self, kept: &KeptChain) -> bool {
        let mut document = self.lock();
        let is_readable = document.is_readable();
        if is_readable {
            chain::set_chain(&mut document, kept);
        }
        is_readable
    }

    /// By how much everything is late, as it was decided last.
    pub fn delay(&self) -> Option<KeptDelay> {
        chain::delay(&self.lock())
    }

    /// Sets it; it follows from what the host knows. False as in [`Stored::set_name`].
    pub fn set_delay(&self, delay: &KeptDelay) -> bool {
        let mut document = self.lock();
        let is_readable = document.is_readable();
        if is_readable {
            chain::set_delay(&mut document, delay);
        }
        is_readable
    }

    /// The latency that the host was told last, microseconds: until a missing stream is back, it stays.
    pub fn latency_us(&self) -> Option<u64> {
        self.lock().field("latency_us")?.as_u64()
    }

    /// Sets it. False as in [`Stored::set_name`].
    pub fn set_latency_us(&self, latency_us: Option<u64>) -> bool {
        self.change(|document| document.put("latency_us", latency_us.map(Into::into)))
    }

    /// A fader as it was left; where nobody touched it, at rest.
    pub fn fader(&self, key: FaderKey) -> Fader {
        mix::fader(&self.lock(), key)
    }

    /// Gives a fader an output of its own, and leaves it where it is otherwise. False as in [`Stored::set_name`].
    pub fn set_output(&self, key: FaderKey, output: Option<u8>) -> bool {
        self.change(|document| {
            let fader = mix::fader(document, key);
            mix::set_fader(document, key, Fader { output, ..fader });
        })
    }

    /// Moves a fader. False as in [`Stored::set_name`].
    pub fn set_fader(&self, key: FaderKey, fader: Fader) -> bool {
        self.change(|document| mix::set_fader(document, key, fader))
    }

    fn change(&self, change: impl FnOnce(&mut Document)) -> bool {
        let mut document = self.lock();
        if !document.is_readable() {
            return false;
        }
        let before = document.clone();
        change(&mut document);
        if *document != before {
            self.revision.fetch_add(1, Ordering::Relaxed);
        }
        true
    }
}

// For the `Arc` that parameters and plug-in share: nice-plug implements this for an `Arc` of its own types only.
impl PersistentField<'_, Document> for Arc<Stored> {
    fn set(&self, document: Document) {
        PersistentField::set(self.as_ref(), document);
    }

    fn map<F, R>(&self, read: F) -> R
    where
        F: Fn(&Document) -> R,
    {
        self.as_ref().map(read)
    }
}

impl PersistentField<'_, Document> for Stored {
    fn set(&self, document: Document) {
        let mut kept = self.lock();
        *kept = document;
        self.awaits_session.store(false, Ordering::Relaxed);
        drop(kept);
        if let Some(hook) = self.on_load.get() {
            hook();
        }
    }

    fn map<F, R>(&self, read: F) -> R
    where
        F: Fn(&Document) -> R,
    {
        read(&self.lock())
    }
}

fn parse_stream(text: &str) -> Option<u64> {
    if text.len() == 16 && text.is_ascii() { u64::from_str_radix(text, 16).ok() } else { None }
}

fn parse_key(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut key = [0; 32];
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(key)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl FromStr for StreamRef {
    type Err = ();

    /// As [`StreamRef`] is displayed: publisher and id in hexadecimal with a slash between.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (publisher, stream) = text.split_once('/').ok_or(())?;
        Ok(Self { publisher: parse_key(publisher).ok_or(())?, stream: parse_stream(stream).ok_or(())? })
    }
}

impl fmt::Display for StreamRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{:016x}", hex(&self.publisher), self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(json: &str) -> Stored {
        let stored = Stored::default();
        stored.set(serde_json::from_str(json).unwrap());
        stored
    }

    fn save(stored: &Stored) -> Value {
        stored.map(|document| serde_json::to_value(document).unwrap())
    }

    #[test]
    fn unknown_fields_survive() {
        let stored = load(r#"{"schema":1,"name":"Bass","stream":"00000000000000ff","colour":{"hue":[1,2]}}"#);
        assert_eq!((stored.name(), stored.stream()), ("Bass".to_owned(), Some(255)));
        assert!(stored.set_name("Lead") && stored.set_stream(1));
        let expected = r#"{"schema":1,"name":"Lead","stream":"0000000000000001","colour":{"hue":[1,2]}}"#;
        assert_eq!(save(&stored), serde_json::from_str::<Value>(expected).unwrap());
        assert_eq!(stored.revision(), 2);
        assert!(stored.set_name("Lead"));
        assert_eq!(stored.revision(), 2, "nothing changed");
    }

    #[test]
    fn a_later_schema_is_kept_and_not_read() {
        for json in [r#"{"schema":5,"name":"Bass","stream":{"group":7}}"#, r#"{"name":"no schema"}"#, "[1,2]"]
        {
            let stored = load(json);
            assert!(stored.unreadable().is_some());
            assert_eq!((stored.name(), stored.stream(), stored.stream_ref()), (String::new(), None, None));
            assert!(!stored.set_name("Lead") && !stored.set_stream(1));
            assert!(!stored.select(Selection::Session, "") && stored.selection() == Selection::Nothing);
            assert_eq!(save(&stored), serde_json::from_str::<Value>(json).unwrap());
        }
        assert_eq!(Stored::default().unreadable(), None);
    }

    #[test]
    fn damaged_ids_are_no_ids() {
        for stream in ["", "ff", "zzzzzzzzzzzzzzzz", "00000000000000ff0", "é0000000000000f"] {
            assert_eq!(load(&format!(r#"{{"schema":1,"stream":"{stream}"}}"#)).stream(), None, "{stream}");
        }
    }

    #[test]
    fn loading_calls_the_hook() {
        let stored = Arc::new(Stored::default());
        let seen = Arc::new(AtomicU64::new(0));
        let (weak, count) = (Arc::downgrade(&stored), seen.clone());
        stored.on_load(move || {
            // The document is not locked while the hook runs.
            let loaded = weak.upgrade().and_then(|stored| stored.stream()).unwrap_or(0);
            count.fetch_add(loaded, Ordering::Relaxed);
        });
        stored.set(serde_json::from_str(r#"{"schema":1,"stream":"0000000000000007"}"#).unwrap());
        assert_eq!(seen.load(Ordering::Relaxed), 7);
    }
}
