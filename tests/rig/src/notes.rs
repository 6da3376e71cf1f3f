//! Notes and MIDI at frame positions: what the rig plays into a plug-in and what it hears from it, as JSON.

use serde::{Deserialize, Serialize};

/// An event at a frame of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoteEvent {
    /// Played into a plug-in: frames since the input began. Heard from it: frames since processing began.
    pub frame: u64,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Body {
    /// A note begins.
    NoteOn {
        /// Which.
        #[serde(flatten)]
        note: Address,
        /// 0 to 1.
        velocity: f64,
    },
    /// A note ends.
    NoteOff {
        /// Which.
        #[serde(flatten)]
        note: Address,
        /// 0 to 1.
        velocity: f64,
    },
    /// A note is cut off.
    NoteChoke {
        /// Which.
        #[serde(flatten)]
        note: Address,
    },
    /// A note's expression changes.
    NoteExpression {
        /// Which note.
        #[serde(flatten)]
        note: Address,
        /// CLAP's number of the expression: 0 volume, 1 pan, 2 tuning, 3 vibrato, 4 expression, 5 brightness, 6 pressure.
        expression: i32,
        /// In CLAP's units of that expression.
        value: f64,
    },
    /// Three bytes of MIDI 1.
    Midi {
        /// Status and data.
        data: [u8; 3],
    },
    /// A parameter goes to a value: the host's automation.
    Parameter {
        /// CLAP's id of it.
        id: u32,
        /// From 0 to 1.
        value: f64,
    },
}

impl Body {
    /// CLAP's id of a parameter, as nice-plug makes it of the parameter's own.
    #[must_use]
    pub fn parameter_id(name: &str) -> u32 {
        name.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())) & 0x7fff_ffff
    }
}

/// A note's address as in CLAP; -1 stands for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// MIDI key.
    pub key: i16,
    /// MIDI channel.
    #[serde(default)]
    pub channel: i16,
    /// Note port.
    #[serde(default)]
    pub port: i16,
    /// The host's own number of the note.
    #[serde(default = "any_note")]
    pub note_id: i32,
}

fn any_note() -> i32 {
    -1
}

/// The notes that are on at the end of `events`, by channel and key.
pub fn hanging(events: &[NoteEvent]) -> Vec<(i16, i16)> {
    let mut on: Vec<(i16, i16)> = Vec::new();
    for event in events {
        match event.body {
            Body::NoteOn { note, .. } => on.push((note.channel, note.key)),
            Body::NoteOff { note, .. } | Body::NoteChoke { note } => {
                on.retain(|(channel, key)| {
                    let channel_matches = note.channel == -1 || note.channel == *channel;
                    let key_matches = note.key == -1 || note.key == *key;
                    !(channel_matches && key_matches)
                });
            }
            Body::NoteExpression { .. } | Body::Midi { .. } | Body::Parameter { .. } => {}
        }
    }
    on
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_nice_plugs_ids() {
        assert_eq!(Body::parameter_id("here"), 3_198_960);
        assert_eq!(Body::parameter_id("head-room"), 1_882_489_000);
    }

    #[test]
    fn events_are_written_as_flat_objects() {
        let json =
            r#"{"frame":7,"type":"note_on","key":60,"channel":0,"port":0,"note_id":-1,"velocity":0.5}"#;
        let event: NoteEvent = serde_json::from_str(json).expect("an event");
        assert_eq!(serde_json::to_string(&event).expect("json"), json);
        let short: NoteEvent =
            serde_json::from_str(r#"{"frame":7,"type":"note_on","key":60,"velocity":0.5}"#)
                .expect("an event");
        assert_eq!(short, event);
    }

    #[test]
    fn a_note_hangs_until_it_is_released() {
        let note = Address { key: 60, channel: 0, port: 0, note_id: -1 };
        let on = NoteEvent { frame: 0, body: Body::NoteOn { note, velocity: 1.0 } };
        let off = NoteEvent { frame: 9, body: Body::NoteOff { note, velocity: 0.0 } };
        let all = Address { key: -1, channel: -1, port: -1, note_id: -1 };
        let choke = NoteEvent { frame: 9, body: Body::NoteChoke { note: all } };
        assert_eq!(hanging(&[on]), vec![(0, 60)]);
        assert!(hanging(&[on, off]).is_empty());
        assert!(hanging(&[on, choke]).is_empty());
    }
}
