//! Nodes, and the links between them, that carry bytes.

use std::collections::BTreeMap;

use audiocloud_units::Nanos;

use crate::link::{Config, Counters, Fate, Link};
use crate::random::Random;
use crate::time::Queue;

/// A machine, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u32);

/// A packet that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Nanos,
    /// Who sent it.
    pub from: Node,
    /// Who has it now.
    pub to: Node,
    /// What was sent.
    pub bytes: Vec<u8>,
}

/// All links, one for each direction between two nodes. Whoever sends from one node to another shares the link, with its
/// bottleneck; there are no ways over third nodes.
#[derive(Debug)]
pub struct Network {
    random: Random,
    links: BTreeMap<(Node, Node), Link>,
    on_the_way: Queue<Arrival>,
}

impl Network {
    /// No links yet. All chance is the seed's.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), links: BTreeMap::new(), on_the_way: Queue::new() }
    }

    /// A link from one node to another, in the place of one that there was. Packets on the way still arrive.
    pub fn connect(&mut self, from: Node, to: Node, config: Config) {
        let random = self.random.for_purpose(u64::from(from.0) << 32 | u64::from(to.0));
        self.links.insert((from, to), Link::new(config, &random));
    }

    /// Sends a packet. `now` never goes back.
    ///
    /// # Panics
    ///
    /// If there is no link: the test forgot [`Network::connect`].
    pub fn send(&mut self, from: Node, to: Node, bytes: Vec<u8>, now: Nanos) -> Fate {
        let link = self.links.get_mut(&(from, to));
        let fate = link.expect("a link between the two nodes").send(now, bytes.len());
        if let Fate::Arrives { at, again_at } = fate {
            let again = again_at.map(|at| Arrival { at, from, to, bytes: bytes.clone() });
            for arrival in [Some(Arrival { at, from, to, bytes }), again].into_iter().flatten() {
                self.on_the_way.schedule(arrival.at, arrival);
            }
        }
        fate
    }

    /// When the next packet arrives.
    #[must_use]
    pub fn next_at(&self) -> Option<Nanos> {
        self.on_the_way.next_at()
    }

    /// The next packet that has arrived by now, in order of time.
    pub fn poll(&mut self, now: Nanos) -> Option<Arrival> {
        self.on_the_way.pop_until(now).map(|(_, arrival)| arrival)
    }

    /// What happened on a link; none if there is none.
    #[must_use]
    pub fn counters(&self, from: Node, to: Node) -> Option<&Counters> {
        self.links.get(&(from, to)).map(Link::counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Duplication, Order};
    use crate::spread::Spread;

    const A: Node = Node(0);
    const B: Node = Node(1);

    #[test]
    fn bytes_arrive_in_order_of_time() {
        let mut network = Network::new(1);
        let config = Config {
            jitter: Spread::Uniform { max: Nanos::from_millis(5) },
            order: Order::Free,
            duplication: Some(Duplication { probability: 0.1, after: Spread::None }),
            ..Config::default()
        };
        network.connect(A, B, config.clone());
        network.connect(B, A, config);
        for number in 0..=255_u8 {
            let now = Nanos::from_millis(number.into());
            network.send(A, B, vec![number], now);
            network.send(B, A, vec![number, number], now);
        }
        assert!(network.next_at().is_some());
        let arrivals: Vec<Arrival> = std::iter::from_fn(|| network.poll(Nanos::from_secs(1))).collect();
        assert!(arrivals.is_sorted_by_key(|arrival| arrival.at));
        for (from, to, length) in [(A, B, 1), (B, A, 2)] {
            let mut numbers: Vec<u8> = arrivals
                .iter()
                .filter(|arrival| (arrival.from, arrival.to, arrival.bytes.len()) == (from, to, length))
                .map(|arrival| arrival.bytes[0])
                .collect();
            assert_eq!(Some(numbers.len() as u64), network.counters(from, to).map(|found| found.arriving));
            assert!(!numbers.is_sorted());
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), 256);
        }
        let (there, back) = (network.counters(A, B).unwrap(), network.counters(B, A).unwrap());
        assert_ne!(there.delay_max, back.delay_max, "each link has a chance of its own");
    }
}
