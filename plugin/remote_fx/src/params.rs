//! Remote FX's parameters. The ids are in every saved project: they never change.

use std::sync::Arc;

use audiocloud_engine::chain::slots::SLOTS;
use audiocloud_instance::state::Stored;
use nice_plug::prelude::*;

use crate::delay::{HEAD_ROOM_DEFAULT_MS, HEAD_ROOM_MAX_MS, NETWORK_DEFAULT_MS, NETWORK_MAX_MS};
use crate::project::Board;

/// Whether a callback may wait for the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Render {
    /// When the host says that it renders offline.
    #[id = "follow"]
    #[name = "Follow host"]
    Follow,
    /// Always: for hosts that do not say so.
    #[id = "exact"]
    #[name = "Exact"]
    Exact,
}

/// What is heard where the node's answer is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum LateBlock {
    /// The sound goes on for some milliseconds as it was about to, and fades.
    #[id = "hold"]
    #[name = "Hold and fade"]
    Hold,
    /// The track without the chain.
    #[id = "dry"]
    #[name = "Dry"]
    Dry,
    /// The chain runs in the plug-in too, all the time.
    #[id = "local"]
    #[name = "Local"]
    Local,
}

/// One of the host's slots: it moves what the chain's owner gave it.
#[derive(Debug, Params)]
pub struct SlotParam {
    #[id = "slot"]
    pub position: FloatParam,
}

#[derive(Debug, Params)]
pub struct RemoteFxParams {
    /// The chain runs in the plug-in itself.
    #[id = "here"]
    pub here: BoolParam,
    #[id = "render"]
    pub render: EnumParam<Render>,
    #[id = "late"]
    pub late: EnumParam<LateBlock>,
    /// What the network may take there and back, ms.
    #[id = "network"]
    pub network: FloatParam,
    /// What the chain's own latency may take, ms.
    #[id = "head-room"]
    pub head_room: FloatParam,
    #[nested(array)]
    pub slots: [SlotParam; SLOTS],
    /// Marks the host's project as changed when only the stored state changed; its value means nothing.
    #[id = "revision"]
    pub revision: IntParam,
    /// Chain, slots, node and session.
    #[persist = "chain"]
    pub stored: Arc<Stored>,
    /// What the slots move: for their text.
    pub board: Arc<Board>,
}

impl RemoteFxParams {
    /// Where a slot stands. *Realtime-safe: yes.*
    pub fn position(&self, slot: usize) -> f32 {
        self.slots.get(slot).map_or(0.0, |slot| slot.position.unmodulated_plain_value())
    }
}

impl Default for RemoteFxParams {
    fn default() -> Self {
        let board = Arc::<Board>::default();
        Self {
            here: BoolParam::new("Run here", false),
            render: EnumParam::new("Render", Render::Follow).non_automatable(),
            late: EnumParam::new("Late block", LateBlock::Dry).non_automatable(),
            network: milliseconds("Network", NETWORK_DEFAULT_MS, NETWORK_MAX_MS),
            head_room: milliseconds("Head-room", HEAD_ROOM_DEFAULT_MS, HEAD_ROOM_MAX_MS),
            slots: std::array::from_fn(|slot| slot_param(slot, &board)),
            revision: audiocloud_instance::params::revision(),
            stored: Arc::default(),
            board,
        }
    }
}

/// Decides on the latency at the next activation: nothing for automation.
fn milliseconds(name: &str, default_ms: f32, max_ms: f32) -> FloatParam {
    let range = FloatRange::Skewed { min: 0.0, max: max_ms, factor: FloatRange::skew_factor(-2.0) };
    FloatParam::new(name, default_ms, range)
        .with_step_size(0.1)
        .with_unit(" ms")
        .with_value_to_string(formatters::v2s_f32_rounded(1))
        .non_automatable()
}

fn slot_param(slot: usize, board: &Arc<Board>) -> SlotParam {
    let (shown, read) = (board.clone(), board.clone());
    // No plug-in can give a parameter another name later, so that its text says what it moves.
    let position =
        FloatParam::new(format!("Slot {}", slot + 1), 0.0, FloatRange::Linear { min: 0.0, max: 1.0 })
            .with_value_to_string(Arc::new(move |position| shown.text(slot, position)))
            .with_string_to_value(Arc::new(move |text| read.position(slot, text)));
    SlotParam { position }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::chain::edit::{Edit, Place};

    #[test]
    fn a_slot_says_what_it_moves() {
        let params = RemoteFxParams::default();
        let slot = &params.slots[0].position;
        assert_eq!(slot.normalized_value_to_string(0.5, true), "free");
        params.board.edit(&Edit::Add { at: Place::END, kind: "compressor".to_owned() }, |_| 0.0).unwrap();
        let text = slot.normalized_value_to_string(0.5, true);
        assert!(text.starts_with("Compressor: "), "{text}");
        let back = slot.string_to_normalized_value(&text).unwrap();
        assert!((back - 0.5).abs() < 0.01, "{back}");
    }

    #[test]
    fn ids_are_told_apart_and_stay() {
        let params = RemoteFxParams::default();
        let ids: Vec<String> = params.param_map().into_iter().map(|(id, ..)| id).collect();
        assert_eq!(ids.len(), SLOTS + 6);
        assert!(ids.contains(&"slot_1".to_owned()) && ids.contains(&"slot_64".to_owned()), "{ids:?}");
    }
}
