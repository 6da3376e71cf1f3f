//! The kinds of nodes that a snapshot may name.

use std::collections::BTreeMap;

use crate::node::Node;
use crate::nodes::{Biquad, Gain};
use crate::snapshot::NodeDescription;

/// Makes a node of what a snapshot says of it, or says in a sentence why not. Values of parameters, name, group and
/// bypass are set afterwards by [`crate::snapshot::Snapshot::restore`].
pub type Constructor = fn(&NodeDescription) -> Result<Box<dyn Node>, String>;

/// Constructors by [`Node::kind`].
#[derive(Clone, Debug)]
pub struct Registry {
    kinds: BTreeMap<String, Constructor>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// With the kinds of [`crate::nodes`]. *Realtime-safe: no*.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Self { kinds: BTreeMap::new() };
        registry.register("gain", Gain::restore);
        registry.register("biquad", Biquad::restore);
        registry
    }

    /// Adds a kind, in the place of an earlier one of this name. *Realtime-safe: no*.
    pub fn register(&mut self, kind: &str, constructor: Constructor) {
        self.kinds.insert(kind.to_owned(), constructor);
    }

    /// How a node of this kind is made.
    #[must_use]
    pub fn constructor(&self, kind: &str) -> Option<Constructor> {
        self.kinds.get(kind).copied()
    }
}
