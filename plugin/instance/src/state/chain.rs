//! What a project keeps of a chain of effects that runs elsewhere.

use serde_json::{Value, json};

use super::{Document, SCHEMA_OF_CHAIN, hex, parse_key};

/// A chain and what belongs to it. Chain and slots are as those who know them write them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeptChain {
    /// The chain's document; null before there was one.
    pub chain: Value,
    /// What each of the host's slots moves.
    pub slots: Value,
    /// Where the host's slots stood when the chain had its values.
    pub positions: Vec<f32>,
    /// The device that it is to run on; none: any.
    pub node: Option<[u8; 32]>,
}

/// By how much everything is late, and what that was decided from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptDelay {
    pub sample_rate_hz: u32,
    /// The longest block that the host announced.
    pub block_frames_max: u32,
    pub network_us: u32,
    pub head_room_us: u32,
    /// The delay.
    pub frames: u32,
}

pub(super) fn chain(document: &Document) -> Option<KeptChain> {
    let chain = document.field("chain")?.clone();
    let positions = document.field("positions").and_then(Value::as_array);
    #[allow(clippy::cast_possible_truncation, reason = "from 0 to 1; written as single precision")]
    let positions =
        positions.map(|all| all.iter().map(|one| one.as_f64().unwrap_or_default() as f32).collect());
    Some(KeptChain {
        chain,
        slots: document.field("slots").cloned().unwrap_or_default(),
        positions: positions.unwrap_or_default(),
        node: document.text("node").and_then(parse_key),
    })
}

pub(super) fn set_chain(document: &mut Document, kept: &KeptChain) {
    document.put("chain", Some(kept.chain.clone()));
    document.put("slots", Some(kept.slots.clone()));
    document.put("positions", Some(json!(kept.positions)));
    document.set("node", kept.node.map(|node| hex(&node)));
    document.raise(SCHEMA_OF_CHAIN);
}

pub(super) fn delay(document: &Document) -> Option<KeptDelay> {
    let kept = document.field("delay")?;
    let number =
        |name: &str| kept.get(name).and_then(Value::as_u64).and_then(|number| number.try_into().ok());
    Some(KeptDelay {
        sample_rate_hz: number("sample_rate_hz")?,
        block_frames_max: number("block_frames_max")?,
        network_us: number("network_us")?,
        head_room_us: number("head_room_us")?,
        frames: number("frames")?,
    })
}

pub(super) fn set_delay(document: &mut Document, delay: &KeptDelay) {
    let KeptDelay { sample_rate_hz, block_frames_max, network_us, head_room_us, frames } = delay;
    let kept = json!({
        "sample_rate_hz": sample_rate_hz,
        "block_frames_max": block_frames_max,
        "network_us": network_us,
        "head_room_us": head_room_us,
        "frames": frames,
    });
    document.put("delay", Some(kept));
    document.raise(SCHEMA_OF_CHAIN);
}

#[cfg(test)]
mod tests {
    use super::super::Stored;
    use super::*;
    use nice_plug::params::persist::PersistentField;

    #[test]
    fn a_chain_is_kept_with_its_slots_and_its_node() {
        let stored = Stored::default();
        assert_eq!((stored.chain(), stored.delay()), (None, None));
        let kept = KeptChain {
            chain: json!({ "schema": 1, "items": [] }),
            slots: json!({ "0": { "effect": 1, "parameter": 2, "low": 0.0, "high": 1.0 } }),
            positions: vec![0.25, 1.0],
            node: Some([0xab; 32]),
        };
        assert!(stored.set_chain(&kept));
        let delay = KeptDelay {
            sample_rate_hz: 48_000,
            block_frames_max: 128,
            network_us: 1_000,
            head_room_us: 0,
            frames: 304,
        };
        assert!(stored.set_delay(&delay));
        assert_eq!((stored.revision(), stored.chain()), (1, Some(kept.clone())));
        let other = Stored::default();
        other.set(stored.map(Clone::clone));
        assert_eq!((other.chain(), other.delay()), (Some(kept.clone()), Some(delay)));
        assert!(!other.await_session(), "somebody used it without a session");
        let elsewhere = KeptChain { node: None, positions: vec![0.5], ..kept };
        assert!(other.follow_chain(&elsewhere));
        assert_eq!((other.revision(), other.chain()), (0, Some(elsewhere)));
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let stored = Stored::default();
        let wrong = r#"{"schema":4,"chain":null,"positions":[0.5,"x"],"node":"zz","delay":{"frames":-1}}"#;
        stored.set(serde_json::from_str(wrong).unwrap());
        let kept = stored.chain().unwrap();
        assert_eq!((kept.positions, kept.node, stored.delay()), (vec![0.5, 0.0], None, None));
    }
}
