//! Changes that cannot be merged yet: what they follow is not here, or their author may not edit as far as is known.
//!
//! They are signed by who they name, but may be anybody's: room for them is small, and the oldest goes first. What
//! went is offered again by whoever has it.

use std::collections::{BTreeMap, HashMap, HashSet};

use audiocloud_wire::id::ChangeHash;

use super::Node;

/// How many changes can wait.
pub(super) const WAITING_MAX: usize = 512;
/// How many bytes of changes can wait.
pub(super) const WAITING_BYTES_MAX: usize = 1 << 20;

/// The changes that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    nodes: HashMap<ChangeHash, (u64, Node)>,
    arrivals: BTreeMap<u64, ChangeHash>,
    arrived: u64,
    bytes: usize,
}

impl Waiting {
    pub(super) fn get(&self, hash: &ChangeHash) -> Option<&Node> {
        self.nodes.get(hash).map(|(_, node)| node)
    }

    /// In the order in which they came.
    pub(super) fn hashes(&self) -> Vec<ChangeHash> {
        self.arrivals.values().copied().collect()
    }

    /// This one and all of what it follows that waits too, each after those that it follows.
    pub(super) fn with_followed(&self, hash: ChangeHash) -> Vec<ChangeHash> {
        let mut ordered = Vec::new();
        let mut seen = HashSet::new();
        // Twice on the stack: first to open what it follows, then, when that is ordered, to follow it.
        let mut open = vec![(hash, false)];
        while let Some((hash, followed)) = open.pop() {
            let Some(node) = self.get(&hash) else { continue };
            if followed {
                ordered.push(hash);
            } else if seen.insert(hash) {
                open.push((hash, true));
                open.extend(node.after.iter().map(|parent| (*parent, false)));
            }
        }
        ordered
    }

    /// Lets a change wait. Returns how many others had to go for it.
    pub(super) fn insert(&mut self, hash: ChangeHash, node: Node) -> usize {
        self.bytes += node.change.size_bytes();
        self.arrived += 1;
        self.arrivals.insert(self.arrived, hash);
        self.nodes.insert(hash, (self.arrived, node));
        let mut gone = 0;
        while self.nodes.len() > WAITING_MAX || self.bytes > WAITING_BYTES_MAX {
            let oldest = *self.arrivals.first_key_value().expect("who waits has arrived").1;
            self.remove(&oldest);
            gone += 1;
        }
        gone
    }

    pub(super) fn remove(&mut self, hash: &ChangeHash) -> Option<Node> {
        let (arrival, node) = self.nodes.remove(hash)?;
        self.arrivals.remove(&arrival);
        self.bytes -= node.change.size_bytes();
        Some(node)
    }

    /// Those of which all that they follow is either `placed` or waits here too.
    pub(super) fn complete(&self, placed: impl Fn(&ChangeHash) -> bool) -> HashSet<ChangeHash> {
        let mut complete = HashSet::new();
        loop {
            let before = complete.len();
            for (hash, (_, node)) in &self.nodes {
                if node.after.iter().all(|parent| placed(parent) || complete.contains(parent)) {
                    complete.insert(*hash);
                }
            }
            if complete.len() == before {
                return complete;
            }
        }
    }
}
