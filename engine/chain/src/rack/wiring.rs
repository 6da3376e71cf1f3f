//! A document's items as connections of a graph.

use std::collections::{BTreeMap, BTreeSet};

use audiocloud_graph::graph::{NodeKey, Port};

use super::Placed;
use crate::document::{Chain, Item};

/// From where to where, and whether events flow rather than audio.
pub(super) type Wire = (Port, Port, bool);

/// What is to be connected.
pub(super) struct Wiring<'r> {
    pub(super) placed: &'r BTreeMap<u32, Placed>,
    pub(super) input: NodeKey,
    pub(super) output: NodeKey,
    pub(super) fold: Option<NodeKey>,
}

fn port(node: NodeKey, port: u16) -> Port {
    Port { node, port }
}

impl Wiring<'_> {
    /// Every connection of the document.
    pub(super) fn wires(&self, chain: &Chain) -> BTreeSet<Wire> {
        let mut wires = BTreeSet::new();
        let mut from = port(self.input, 0);
        if let Some(fold) = self.fold {
            wires.insert((from, port(fold, 0), false));
            from = port(fold, 0);
        }
        let end = self.row(&chain.items, from, &mut wires);
        wires.insert((end, port(self.output, 0), false));
        wires
    }

    /// Items one after the other, the first of which hears `from`: where the last one is heard. As deep as a document may
    /// be.
    fn row(&self, items: &[Item], mut from: Port, wires: &mut BTreeSet<Wire>) -> Port {
        for item in items {
            let Some(placed) = self.placed.get(&item.id()) else { continue };
            let node = placed.key;
            match item {
                Item::Effect(_) => {
                    wires.insert((from, port(node, 0), false));
                    if placed.side_chain {
                        wires.insert((port(self.input, 1), port(node, 1), false));
                    }
                    if placed.event_input {
                        wires.insert((port(self.input, 0), port(node, 0), true));
                    }
                    if placed.event_output {
                        wires.insert((port(node, 0), port(self.output, 0), true));
                    }
                }
                Item::Parallel(parallel) => {
                    for (place, branch) in (0..).zip(&parallel.branches) {
                        let end = self.row(&branch.items, from, wires);
                        wires.insert((end, port(node, place), false));
                    }
                }
            }
            from = port(node, 0);
        }
        from
    }
}

/// From the input of these items to their output, in frames, where `of` knows each effect's.
pub(super) fn latency(items: &[Item], of: &impl Fn(u32) -> u32) -> u32 {
    let one = |item: &Item| match item {
        Item::Effect(slot) => of(slot.id),
        Item::Parallel(parallel) => {
            parallel.branches.iter().map(|branch| latency(&branch.items, of)).max().unwrap_or(0)
        }
    };
    items.iter().map(one).fold(0, u32::saturating_add)
}
