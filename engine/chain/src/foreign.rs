//! Effects that are not ours: plug-ins that some machines have, hosted by somebody who knows how.

use std::fmt::Debug;

use audiocloud_graph::node::Node;
use serde::{Deserialize, Serialize};

use crate::document::Slot;
use crate::rack::RackSetup;

/// Makes nodes of the kinds that begin with [`crate::document::CLAP`]. Lives with a [`crate::rack::RackControl`], off the
/// audio thread.
pub trait Foreign: Debug + Send {
    /// A node for an effect of the chain, with the state and the values that it has there. Its first input and its first
    /// output have [`RackSetup::outputs`] channels, and it works in place, so that it can be bypassed; a second input gets
    /// the side-chain where its width suits. Events go to it where it takes some.
    ///
    /// # Errors
    /// In words: why it cannot be had here. The effect then passes its input, and the rack's report says so.
    fn node(&mut self, slot: &Slot, setup: &RackSetup) -> Result<Box<dyn Node>, String>;

    /// The effect, which plays, has another state in the document. True where it takes it as it is, or came to it by
    /// itself; false: it is made anew, by a crossfade.
    fn set_state(&mut self, _slot: &Slot) -> bool {
        false
    }

    /// What can be said of one that plays.
    fn describe(&self, _id: u32) -> Description {
        Description::default()
    }

    /// What was made last for this effect, in the place of what plays, is too late for the chain: what plays stays.
    fn refused(&mut self, _id: u32) {}

    /// The effect left the chain.
    fn left(&mut self, _id: u32) {}
}

/// What a foreign effect tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// What people ought to know, such as that it crashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// What of it can be automated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ForeignParameter>,
}

/// A parameter that only the plug-in knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForeignParameter {
    /// The plug-in's own.
    pub id: u32,
    /// For people.
    pub name: String,
    /// Its smallest plain value.
    pub min: f32,
    /// Its largest plain value.
    pub max: f32,
    /// What a new one has.
    pub default: f32,
}

/// Where there are none, as inside of plug-ins.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoForeign;

impl Foreign for NoForeign {
    fn node(&mut self, slot: &Slot, _setup: &RackSetup) -> Result<Box<dyn Node>, String> {
        Err(format!("“{}” is not on this machine: it passes what comes in", slot.title()))
    }
}
