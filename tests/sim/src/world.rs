//! Hosts and the network between them, in the order in which things happen.

use audiocloud_units::{HostTime, Nanos};

use crate::clock::{Callback, Config, SampleClock};
use crate::link::Fate;
use crate::network::{Arrival, Network, Node};
use crate::random::Random;
use crate::time::Queue;

/// Something that happens at a node. At one time packets arrive first, so that a callback finds what is there; then
/// callbacks and timers, in the order in which they were scheduled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The host calls back.
    Callback(Node, Callback),
    /// A packet arrives.
    Arrival(Arrival),
    /// A timer that was set with [`Context::set_timer`] has run out; the number is the one that it was set with.
    Timer(Node, u64),
}

/// What the driven code can do while something happens.
#[derive(Debug)]
pub struct Context<'a> {
    now: Nanos,
    network: &'a mut Network,
    clocks: &'a [SampleClock],
    queue: &'a mut Queue<Due>,
}

impl Context<'_> {
    /// The world's time, which no machine knows.
    #[must_use]
    pub const fn now(&self) -> Nanos {
        self.now
    }

    /// What a machine's monotonic clock shows now.
    ///
    /// # Panics
    ///
    /// If the world has no such host.
    #[must_use]
    pub fn host_time(&self, node: Node) -> HostTime {
        self.clocks[node.0 as usize].host_time(self.now)
    }

    /// Sends a packet now. See [`Network::send`].
    pub fn send(&mut self, from: Node, to: Node, bytes: Vec<u8>) -> Fate {
        self.network.send(from, to, bytes, self.now)
    }

    /// Calls for [`Event::Timer`] at a time of the world.
    pub fn set_timer(&mut self, node: Node, at: Nanos, number: u64) {
        self.queue.schedule(at, Due::Timer(node, number));
    }
}

#[derive(Debug)]
enum Due {
    Callback(Node, Callback),
    Timer(Node, u64),
}

/// Simulated hosts and their network.
#[derive(Debug)]
pub struct World {
    random: Random,
    network: Network,
    clocks: Vec<SampleClock>,
    queue: Queue<Due>,
}

impl World {
    /// An empty world at time zero. All chance is the seed's.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed).for_purpose(u64::MAX),
            network: Network::new(seed),
            clocks: Vec::new(),
            queue: Queue::new(),
        }
    }

    /// Adds a host, whose callbacks begin when its configuration says. Hosts are numbered from 0.
    ///
    /// # Panics
    ///
    /// If there are more than 2³² hosts.
    pub fn add_host(&mut self, config: Config) -> Node {
        let node = Node(u32::try_from(self.clocks.len()).expect("hosts have 32-bit numbers"));
        self.clocks.push(SampleClock::new(config, &self.random.for_purpose(node.0.into())));
        self.schedule_callback(node);
        node
    }

    /// The network, to connect hosts and to read counters.
    pub const fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Lets happen what happens up to and including `until`. May be called again, to go on.
    pub fn run(&mut self, until: Nanos, mut on_event: impl FnMut(&mut Context<'_>, Event)) {
        loop {
            let due_at = self.queue.next_at().filter(|at| *at <= until);
            let (now, event) = if let Some(arrival) = self.network.poll(due_at.unwrap_or(until)) {
                (arrival.at, Event::Arrival(arrival))
            } else if let Some((now, due)) = self.queue.pop_until(until) {
                (now, self.event(due))
            } else {
                return;
            };
            let Self { network, clocks, queue, .. } = self;
            on_event(&mut Context { now, network, clocks, queue }, event);
        }
    }

    fn event(&mut self, due: Due) -> Event {
        match due {
            Due::Timer(node, number) => Event::Timer(node, number),
            Due::Callback(node, callback) => {
                self.schedule_callback(node);
                Event::Callback(node, callback)
            }
        }
    }

    fn schedule_callback(&mut self, node: Node) {
        if let Some(callback) = self.clocks.get_mut(node.0 as usize).and_then(Iterator::next) {
            self.queue.schedule(callback.at, Due::Callback(node, callback));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link;
    use audiocloud_units::SampleRate;

    #[test]
    fn events_come_in_order_of_time() {
        let mut world = World::new(1);
        let rate = SampleRate::new(48_000).unwrap();
        let (a, b) = (world.add_host(Config::new(rate, 48)), world.add_host(Config::new(rate, 96)));
        // Arrives just when the callback of the other one is.
        let delay = Nanos::from_millis(2);
        world.network().connect(a, b, link::Config { delay, ..link::Config::default() });
        let mut seen = Vec::new();
        let mut on_event = |context: &mut Context<'_>, event: Event| {
            let now = context.now().get() / 1_000;
            match event {
                Event::Callback(node, _) if node == a => {
                    seen.push((now, 'a'));
                    context.send(a, b, vec![1]);
                    context.set_timer(b, context.now() + Nanos::from_micros(500), 7);
                }
                Event::Callback(..) => seen.push((now, 'b')),
                Event::Arrival(arrival) => {
                    assert_eq!((arrival.at, arrival.to), (context.now(), b));
                    assert_eq!(context.host_time(b).get(), context.now().get());
                    seen.push((now, '>'));
                }
                Event::Timer(node, number) => {
                    assert_eq!((node, number), (b, 7));
                    seen.push((now, 't'));
                }
            }
        };
        world.run(Nanos::from_micros(1_200), &mut on_event);
        world.run(Nanos::from_millis(2), &mut on_event);
        let expected = [
            (0, 'a'),
            (0, 'b'),
            (500, 't'),
            (1_000, 'a'),
            (1_500, 't'),
            (2_000, '>'),
            (2_000, 'b'),
            (2_000, 'a'),
        ];
        assert_eq!(seen, expected);
    }
}
