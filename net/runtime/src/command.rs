//! What other threads ask of the network thread.

use std::sync::Arc;

use audiocloud_membership::shared::Edit;
use audiocloud_rt::due::Due;
use audiocloud_rt::{block_ring, event, snapshot};
use audiocloud_wire::id::{DeviceId, InputId, SessionId, StreamId, StreamKey, UserId};
use audiocloud_wire::quality::Quality;

use crate::input::InputShared;
use crate::remote::order::Order;
use crate::status::{PublicationShared, SubscriptionShared};
use crate::subscriber::SubscriptionId;

/// In the order in which they are to be done.
pub(crate) enum Command {
    Publish {
        shared: Arc<PublicationShared>,
        serial: u64,
        block_frames_max: u32,
        blocks: block_ring::Consumer,
        events: event::Consumer,
    },
    Unpublish {
        stream: StreamId,
        serial: u64,
    },
    Renamed,
    Subscribe {
        id: SubscriptionId,
        shared: Arc<SubscriptionShared>,
        quality: Quality,
        due: Option<snapshot::Reader<Option<Due>>>,
        blocks: block_ring::Producer,
        events: event::Producer,
    },
    SetQuality {
        id: SubscriptionId,
        quality: Quality,
    },
    Unsubscribe {
        id: SubscriptionId,
    },
    AddInput {
        input: Arc<InputShared>,
    },
    /// One of them is called something else, or plays something else.
    InputsChanged,
    RemoveInput {
        input: InputId,
    },
    /// That an input of a device, this one too, plays a stream or no longer.
    Patch {
        device: DeviceId,
        input: InputId,
        stream: StreamKey,
        on: bool,
    },
    /// Edits what a session shares.
    Edit {
        session: SessionId,
        edit: Edit,
        answer: std::sync::mpsc::Sender<Result<(), String>>,
    },
    /// Lets a stranger in, from now on.
    Accept {
        user: UserId,
    },
    /// About chains that run elsewhere, or that run here for others.
    Remote(Order),
}
