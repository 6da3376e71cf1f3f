//! What plug-ins, nodes and the threads of chains ask of the network thread.

use std::sync::Arc;

use audiocloud_wire::id::{ChainId, RemoteId};
use tokio::sync::mpsc;

use super::api::{ChainKey, NodeChoice, PlugEnds, RemoteConfig};
use super::host::Host;
use super::status::{HostShared, RemoteShared};
use crate::command::Command;

/// In the order in which they are to be done.
pub(crate) enum Order {
    // ---- Of plug-ins.
    Open {
        shared: Arc<RemoteShared>,
        config: Box<RemoteConfig>,
        ends: Box<PlugEnds>,
    },
    Close {
        chain: ChainId,
    },
    /// The document is another one now.
    Document {
        chain: ChainId,
    },
    /// Its name is another one now, or whether others may edit it.
    Changed,
    Node {
        chain: ChainId,
        node: NodeChoice,
    },
    /// To the owner of a chain, who is somebody else.
    Propose {
        chain: ChainKey,
        edit: Vec<u8>,
    },
    // ---- Of the tasks of exact chains.
    /// The stream ended before the opening did.
    Broke {
        chain: ChainId,
        remote: RemoteId,
        why: String,
    },
    // ---- Of nodes.
    Serve {
        serial: u64,
        host: Arc<dyn Host>,
        shared: Arc<HostShared>,
    },
    Drain {
        serial: u64,
    },
    StopServing {
        serial: u64,
    },
    // ---- Of the threads of served chains.
    Opened {
        serving: u64,
        result: Result<(), String>,
    },
    Report {
        serving: u64,
        report: Vec<u8>,
    },
    /// For its owner to keep.
    States {
        serving: u64,
        states: Vec<u8>,
    },
    /// The thread has ended, for whatever cause.
    Ended {
        serving: u64,
    },
}

/// After the runtime's end there is nobody to be told. Whether there was.
pub(crate) fn tell(commands: &mpsc::UnboundedSender<Command>, order: Order) -> bool {
    commands.send(Command::Remote(order)).is_ok()
}
