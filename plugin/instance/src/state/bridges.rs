//! Where a Clock is to bring the beat besides, as its project keeps it.

use serde_json::{Map, Value, json};

use super::Document;

/// Something at an address; the address stays while it is switched off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    pub is_on: bool,
    /// Host and port; empty: where it is by default.
    pub address: String,
}

/// All that a DAW may listen to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridges {
    /// Tempo Link.
    pub link: bool,
    /// A virtual MIDI port.
    pub midi: bool,
    /// Frames per second of the MIDI time code on it, as "25" or "29.97df"; empty: none is sent.
    pub time_code: String,
    /// OSC to REAPER.
    pub osc: Bridge,
    /// Ardour's surface.
    pub ardour: Bridge,
}

pub(super) fn bridges(document: &Document) -> Bridges {
    let kept = document.field("bridges").and_then(Value::as_object);
    let field = |name: &str| kept.and_then(|kept| kept.get(name));
    let is_on = |name: &str| field(name).and_then(Value::as_bool).unwrap_or(false);
    let bridge = |name: &str| {
        let of = |key: &str| field(name).and_then(|bridge| bridge.get(key));
        let address = of("address").and_then(Value::as_str).unwrap_or_default().to_owned();
        Bridge { is_on: of("on").and_then(Value::as_bool).unwrap_or(false), address }
    };
    Bridges {
        link: is_on("link"),
        midi: is_on("midi"),
        time_code: field("time_code").and_then(Value::as_str).unwrap_or_default().to_owned(),
        osc: bridge("osc"),
        ardour: bridge("ardour"),
    }
}

/// What a later version keeps beside them stays.
pub(super) fn set_bridges(document: &mut Document, bridges: &Bridges) {
    let mut kept: Map<String, Value> =
        document.field("bridges").and_then(Value::as_object).cloned().unwrap_or_default();
    kept.insert("link".to_owned(), bridges.link.into());
    kept.insert("midi".to_owned(), bridges.midi.into());
    kept.insert("time_code".to_owned(), bridges.time_code.clone().into());
    for (name, bridge) in [("osc", &bridges.osc), ("ardour", &bridges.ardour)] {
        kept.insert(name.to_owned(), json!({ "on": bridge.is_on, "address": bridge.address }));
    }
    document.put("bridges", Some(kept.into()));
}

#[cfg(test)]
mod tests {
    use super::super::Stored;
    use super::*;
    use nice_plug::params::persist::PersistentField;

    fn load(document: Value) -> Stored {
        let stored = Stored::default();
        PersistentField::set(&stored, serde_json::from_value(document).unwrap());
        stored
    }

    #[test]
    fn bridges_come_back_with_what_a_later_version_wrote_of_them() {
        let kept =
            json!({ "schema": 1, "bridges": { "osc": { "on": true, "address": "[::1]:8000" }, "cv": 7 } });
        let stored = load(kept);
        let mut bridges = stored.bridges();
        let osc = Bridge { is_on: true, address: "[::1]:8000".into() };
        assert_eq!(bridges, Bridges { osc: osc.clone(), ..Bridges::default() });
        (bridges.link, bridges.midi, bridges.time_code) = (true, true, "25".into());
        assert!(stored.set_bridges(&bridges) && stored.revision() == 1);
        let document = stored.map(|document| serde_json::to_value(document).unwrap());
        assert_eq!((&document["schema"], &document["bridges"]["cv"]), (&json!(1), &json!(7)));
        assert_eq!(load(document).bridges(), bridges);
    }

    #[test]
    fn a_project_that_keeps_its_bridges_is_not_new() {
        let stored = Stored::default();
        assert!(stored.await_session() && stored.set_bridges(&Bridges::default()));
        assert!(!stored.await_session());
        assert_eq!(load(json!({ "schema": 1, "bridges": [1] })).bridges(), Bridges::default());
    }
}
