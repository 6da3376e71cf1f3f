//! What Remote FX's window shows, and what can be asked of it: plain data, no window, no network.

use audiocloud_engine::chain::document::Chain;
use audiocloud_engine::chain::edit::Edit;
use audiocloud_engine::chain::slots::Slots;
use audiocloud_engine::stream::insert::Source;
use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::sessions;
use audiocloud_instance::status::Status;
use audiocloud_net::runtime::remote::NodeChoice;
use audiocloud_net::wire::id::DeviceId;

/// One frame's worth of what Remote FX's window shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What others call this chain; kept in the project.
    pub name: String,
    pub status: Status,
    /// The chain, with the values in force.
    pub chain: Chain,
    /// What the host's slots move.
    pub slots: Slots,
    /// What is the matter with single effects, by their ids.
    pub words: Vec<(u32, String)>,
    /// CLAP plug-ins that the node has: kind and name.
    pub plug_ins: Vec<(String, String)>,
    /// Nodes that can be chosen.
    pub nodes: Vec<NodeLine>,
    pub node: NodeChoice,
    /// What plays now.
    pub source: Source,
    /// *D*, ms; `None` while the plug-in is inactive.
    pub delay_ms: Option<f64>,
    /// From a block's leaving until its answer is back, ms; `None` while nothing comes back.
    pub round_ms: Option<f64>,
    /// *Network*, *Head-room* or *Render* are not as they were when the plug-in was activated.
    pub is_pending: bool,
    /// Linear peaks of what comes in and what goes out, one per channel.
    pub peaks_in: Vec<f32>,
    pub peaks_out: Vec<f32>,
    /// What was refused last.
    pub refused: Option<String>,
    pub session: sessions::Model,
    pub identity: String,
    pub details: Vec<Detail>,
    /// Slots to be put where what they move stands: the window alone can tell the host.
    pub out_of_step: Vec<(usize, f32)>,
    /// As [`audiocloud_instance::state::Stored::revision`].
    pub revision: u64,
}

/// A node as it can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine {
    pub device: DeviceId,
    pub name: String,
    /// Head-room, way and the like.
    pub words: String,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            name: String::new(),
            status: Status::default(),
            chain: Chain::default(),
            slots: Slots::default(),
            words: Vec::new(),
            plug_ins: Vec::new(),
            nodes: Vec::new(),
            node: NodeChoice::Automatic,
            source: Source::Far,
            delay_ms: None,
            round_ms: None,
            is_pending: false,
            peaks_in: Vec::new(),
            peaks_out: Vec::new(),
            refused: None,
            session: sessions::Model::default(),
            identity: String::new(),
            details: Vec::new(),
            out_of_step: Vec::new(),
            revision: 0,
        }
    }
}

/// What the user can ask of Remote FX, besides its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Change the chain.
    Edit(Edit),
    /// Give a parameter (effect, parameter) a slot of its own, or take it away.
    Automate(u32, u32, bool),
    /// The host is being told where this slot stands.
    Put(usize, f32),
    /// Run it there.
    Node(NodeChoice),
    /// Call the chain so.
    SetName(String),
    /// Something about sessions.
    Session(sessions::Act),
}
