//! Who we were introduced to, and the ways to each.
//!
//! What comes in by any way is heard here, and what goes out asks here where to go; [`Ways`] decides. Nothing here sends:
//! the socket takes what is to be sent, the network thread what has happened.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audiocloud_traversal::frame::{ChannelId, PROBE_BYTES, Probe, Tag};
use audiocloud_traversal::meeting::{Gone, Introduced, Room};
use audiocloud_traversal::probe::{ProbeKey, ProbeSecret};
use audiocloud_traversal::ways::{Action, Carrier, Change, Way, Ways};
use audiocloud_wire::id::{DeviceId, InstanceId};
use tokio::sync::Notify;

use crate::address_table::{AddressTable, canonical};

/// The most peers known by introduction.
const PEERS_MAX: usize = 512;
/// How long a peer that nobody introduces any more is kept when there is no connection to it.
const FORGET_AFTER: Duration = Duration::from_secs(30);
/// What has happened and nobody has looked at.
const NEWS_MAX: usize = 1024;

/// Where a datagram goes next: to an address, and when that is a relay's, by which of its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) to: SocketAddr,
    pub(crate) channel: Option<ChannelId>,
}

/// Something for the network thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Of the peer's virtual address.
    pub(crate) number: u64,
    pub(crate) before: Option<Way>,
    pub(crate) now: Option<Way>,
    pub(crate) why: Change,
}

/// A peer.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) device: DeviceId,
    pub(crate) instance: InstanceId,
    /// Which nodes introduced it, in which rooms, and where it may be as they say.
    met: Vec<Met>,
    key: ProbeKey,
    tag: Tag,
    ways: Ways,
    way: Option<Way>,
    /// When the last introduction ended.
    unmet_since: Option<Instant>,
}

#[derive(Debug)]
struct Met {
    node: u16,
    carrier: Carrier,
    room: Room,
    addresses: Vec<SocketAddr>,
    channel: ChannelId,
}

impl Known {
    /// The way that its packets take now.
    pub(crate) fn way(&self) -> Option<Way> {
        self.way
    }

    /// The channel to it that we take.
    fn channel(&self, node: u16, carrier: Carrier) -> Option<ChannelId> {
        let met = self.met.iter().find(|met| (met.node, met.carrier) == (node, carrier));
        met.map(|met| met.channel)
    }

    /// The rooms in which it is.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = Room> {
        self.met.iter().map(|met| met.room)
    }
}

/// Whose a channel is.
#[derive(Clone, Copy, Debug)]
struct Leads {
    number: u64,
    node: u16,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peers {
    secret: ProbeSecret,
    by_number: HashMap<u64, Known>,
    by_tag: HashMap<Tag, u64>,
    by_channel: HashMap<ChannelId, Leads>,
    /// The addresses of each node, by its number: UDP's, and the tunnel's.
    nodes: Vec<[Option<SocketAddr>; 2]>,
    outgoing: Vec<(Hop, [u8; PROBE_BYTES])>,
    moved: VecDeque<Moved>,
    /// When [`Peers::handle_timeout`] is to be called, as those know who wait for it.
    due: Option<Instant>,
    /// Rung when that is earlier than it was, and when something has moved.
    pub(crate) changed: Arc<Notify>,
}

fn index(carrier: Carrier) -> usize {
    match carrier {
        Carrier::Udp => 0,
        Carrier::Tunnel => 1,
    }
}

impl Peers {
    pub(crate) fn new(secret: ProbeSecret) -> Self {
        Self {
            secret,
            by_number: HashMap::new(),
            by_tag: HashMap::new(),
            by_channel: HashMap::new(),
            nodes: Vec::new(),
            outgoing: Vec::new(),
            moved: VecDeque::new(),
            due: None,
            changed: Arc::default(),
        }
    }

    pub(crate) fn key(&self) -> ProbeKey {
        self.secret.public()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Known> {
        self.by_number.get(&number)
    }

    pub(crate) fn find(&self, device: DeviceId, instance: InstanceId) -> Option<u64> {
        let mut all = self.by_number.iter();
        all.find(|(_, known)| (known.device, known.instance) == (device, instance)).map(|(&number, _)| number)
    }

    // ---- What nodes say.

    /// Where the node is reached; none when it is not.
    pub(crate) fn set_node(&mut self, node: u16, carrier: Carrier, address: Option<SocketAddr>) {
        let place = usize::from(node);
        if self.nodes.len() <= place {
            self.nodes.resize(place + 1, [None; 2]);
        }
        if let Some(legs) = self.nodes.get_mut(place) {
            legs[index(carrier)] = address.map(canonical);
        }
    }

    /// A node introduces a peer, or tells news of it. `number`: the virtual address that a connection to it has already.
    /// The peer's number; none when its key is none, or there are too many.
    pub(crate) fn introduce(
        &mut self,
        (node, carrier): (u16, Carrier),
        introduced: &Introduced,
        connected: Option<u64>,
        table: &mut AddressTable,
        now: Instant,
    ) -> Option<u64> {
        let mut known = self.find(introduced.device, introduced.instance);
        if let Some(number) = known
            && self.by_number.get(&number).is_some_and(|known| known.key != introduced.probe_key)
        {
            // Keys last as long as the process, so this is another one, or a node that lies: as good as a stranger.
            self.remove(number, table);
            known = None;
        }
        let number = match (known, connected) {
            (Some(number), Some(connected)) => self.move_to(number, connected, table),
            (Some(number), None) => number,
            (None, connected) => self.add(introduced, connected, table)?,
        };
        let known = self.by_number.get_mut(&number)?;
        known.unmet_since = None;
        let (room, addresses) = (introduced.room, introduced.addresses.clone());
        let met = Met { node, carrier, room, addresses, channel: introduced.channel };
        let same = |one: &Met| (one.node, one.carrier, one.room) == (node, carrier, room);
        let stale = known.met.iter().position(same);
        match stale.and_then(|at| known.met.get_mut(at)) {
            Some(one) => *one = met,
            None => known.met.push(met),
        }
        self.refresh(number, table, now);
        Some(number)
    }

    /// There is a connection to the peer `number` by the virtual address `connected`: that is its number from now on.
    pub(crate) fn move_to(&mut self, number: u64, connected: u64, table: &mut AddressTable) -> u64 {
        if number != connected
            && let Some(known) = self.by_number.remove(&number)
        {
            self.by_tag.insert(known.tag, connected);
            for leads in self.by_channel.values_mut().filter(|leads| leads.number == number) {
                leads.number = connected;
            }
            self.by_number.insert(connected, known);
            table.move_peer(number, connected);
        }
        connected
    }

    fn add(
        &mut self,
        introduced: &Introduced,
        connected: Option<u64>,
        table: &mut AddressTable,
    ) -> Option<u64> {
        if self.by_number.len() >= PEERS_MAX {
            return None;
        }
        let ways = Ways::new(&self.secret, &introduced.probe_key).ok()?;
        let number = connected.unwrap_or_else(|| table.add_peer());
        let tag = ways.tag();
        let known = Known {
            device: introduced.device,
            instance: introduced.instance,
            met: Vec::new(),
            key: introduced.probe_key,
            tag,
            ways,
            way: None,
            unmet_since: None,
        };
        self.by_tag.insert(tag, number);
        self.by_number.insert(number, known);
        Some(number)
    }

    /// A node says by a carrier that a peer has left a room.
    pub(crate) fn gone(
        &mut self,
        (node, carrier): (u16, Carrier),
        gone: &Gone,
        table: &mut AddressTable,
        now: Instant,
    ) {
        if let Some(number) = self.find(gone.device, gone.instance) {
            let same = |met: &Met| (met.node, met.carrier, met.room) == (node, carrier, gone.room);
            self.unmeet(number, table, now, same);
        }
    }

    /// There is no connection to a node by a carrier any more, or a room there was left: what it introduced is known from
    /// others, or not for long.
    pub(crate) fn left(
        &mut self,
        (node, carrier): (u16, Carrier),
        room: Option<Room>,
        table: &mut AddressTable,
        now: Instant,
    ) {
        let numbers: Vec<_> = self.by_number.keys().copied().collect();
        for number in numbers {
            self.unmeet(number, table, now, |met| {
                (met.node, met.carrier) == (node, carrier) && room.is_none_or(|room| met.room == room)
            });
        }
    }

    fn unmeet(
        &mut self,
        number: u64,
        table: &mut AddressTable,
        now: Instant,
        is_over: impl Fn(&Met) -> bool,
    ) {
        let Some(known) = self.by_number.get_mut(&number) else { return };
        let before = known.met.len();
        known.met.retain(|met| !is_over(met));
        if known.met.is_empty() {
            known.unmet_since.get_or_insert(now);
        }
        if known.met.len() != before {
            self.refresh(number, table, now);
        }
    }

    /// Tells the ways of a peer what all who introduce it say.
    fn refresh(&mut self, number: u64, table: &mut AddressTable, now: Instant) {
        let Some(known) = self.by_number.get_mut(&number) else { return };
        if !known.met.is_empty() {
            // Addresses of a peer that nobody introduces any more are as good as they were.
            let mut addresses: Vec<_> =
                known.met.iter().flat_map(|met| &met.addresses).copied().map(canonical).collect();
            addresses.sort_unstable();
            addresses.dedup();
            known.ways.set_addresses(&addresses, now);
        }
        // Two who share several rooms have several channels at a node. Any of them leads there, and the other end may take
        // another one than we.
        self.by_channel.retain(|_, leads| leads.number != number);
        for node in 0..u16::try_from(self.nodes.len()).unwrap_or(u16::MAX) {
            for carrier in [Carrier::Udp, Carrier::Tunnel] {
                match known.channel(node, carrier) {
                    Some(channel) => known.ways.add_relay(node, carrier, channel, now),
                    None => known.ways.remove_relay(node, carrier, now),
                }
            }
        }
        for met in &known.met {
            self.by_channel.insert(met.channel, Leads { number, node: met.node });
        }
        self.settle(number, table);
    }

    fn remove(&mut self, number: u64, table: &mut AddressTable) {
        if let Some(known) = self.by_number.remove(&number) {
            self.by_tag.remove(&known.tag);
            self.by_channel.retain(|_, leads| leads.number != number);
        }
        table.remove_peer(number);
    }

    /// Our own network has changed: what was known of ways is old.
    pub(crate) fn restart(&mut self, table: &mut AddressTable, now: Instant) {
        let numbers: Vec<_> = self.by_number.keys().copied().collect();
        for number in numbers {
            if let Some(known) = self.by_number.get_mut(&number) {
                known.ways.restart(now);
            }
            self.settle(number, table);
        }
    }

    // ---- What the socket asks and tells.

    /// Where the next packet for a peer goes: one way, while that is in doubt two, none while none is open.
    pub(crate) fn route(&mut self, number: u64, table: &mut AddressTable, now: Instant) -> [Option<Hop>; 2] {
        let Some(known) = self.by_number.get_mut(&number) else { return [None; 2] };
        let Some(route) = known.ways.route(now) else { return [None; 2] };
        self.settle(number, table);
        [self.hop(route.first), route.second.and_then(|way| self.hop(way))]
    }

    pub(crate) fn hop(&self, way: Way) -> Option<Hop> {
        match way {
            Way::Direct(to) => Some(Hop { to, channel: None }),
            Way::Relay { node, carrier, channel } => {
                let legs = self.nodes.get(usize::from(node))?;
                legs[index(carrier)].map(|to| Hop { to, channel: Some(channel) })
            }
        }
    }

    /// Which peer a relay means by a channel, and the way that this is.
    pub(crate) fn by_channel(&self, from: SocketAddr, channel: ChannelId) -> Option<(u64, Way)> {
        let &Leads { number, node } = self.by_channel.get(&channel)?;
        let [udp, tunnel] = *self.nodes.get(usize::from(node))?;
        let from = Some(canonical(from));
        let carrier = match (from == udp, from == tunnel) {
            (true, _) => Carrier::Udp,
            (_, true) => Carrier::Tunnel,
            _ => return None,
        };
        let channel = self.by_number.get(&number)?.channel(node, carrier)?;
        Some((number, Way::Relay { node, carrier, channel }))
    }

    /// A probe came. Whether it is of a peer of ours, and sealed by it.
    pub(crate) fn handle_probe(
        &mut self,
        from: Way,
        probe: &Probe,
        table: &mut AddressTable,
        now: Instant,
    ) -> bool {
        let Some(&number) = self.by_tag.get(&probe.tag) else { return false };
        let Some(known) = self.by_number.get_mut(&number) else { return false };
        let is_theirs = known.ways.handle_probe(from, probe, now);
        self.settle(number, table);
        is_theirs
    }

    /// A packet of QUIC came from a peer.
    pub(crate) fn handle_datagram(&mut self, number: u64, table: &mut AddressTable, now: Instant) {
        if let Some(known) = self.by_number.get_mut(&number) {
            known.ways.handle_datagram(now);
            self.settle(number, table);
        }
    }

    /// When to call [`Peers::handle_timeout`].
    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let ways = self.by_number.values().filter_map(|known| known.ways.poll_timeout());
        let forgotten = self.by_number.values().filter_map(|known| Some(known.unmet_since? + FORGET_AFTER));
        self.due = ways.chain(forgotten).min();
        self.due
    }

    pub(crate) fn handle_timeout(&mut self, table: &mut AddressTable, now: Instant) {
        let numbers: Vec<_> = self.by_number.keys().copied().collect();
        for number in numbers {
            let Some(known) = self.by_number.get_mut(&number) else { continue };
            if known.unmet_since.is_some_and(|since| now >= since + FORGET_AFTER) {
                if !table.is_peer_pinned(number) {
                    self.remove(number, table);
                    continue;
                }
                known.unmet_since = Some(now);
            }
            if known.ways.poll_timeout().is_some_and(|due| due <= now) {
                known.ways.handle_timeout(now);
                self.settle(number, table);
            }
        }
    }

    /// A probe to be sent.
    pub(crate) fn poll_outgoing(&mut self) -> Option<(Hop, [u8; PROBE_BYTES])> {
        self.outgoing.pop()
    }

    /// Something that has happened.
    pub(crate) fn poll_moved(&mut self) -> Option<Moved> {
        self.moved.pop_front()
    }

    /// Does what the ways of a peer want done.
    fn settle(&mut self, number: u64, table: &mut AddressTable) {
        let Some(known) = self.by_number.get_mut(&number) else { return };
        let mut probes = Vec::new();
        while let Some(action) = known.ways.poll_action() {
            match action {
                Action::Probe { way, bytes } => probes.push((way, bytes)),
                Action::Admit(address) => table.admit(number, address),
                Action::Dismiss(address) => table.dismiss(number, address),
                Action::Taken { way, why } => {
                    let moved = Moved { number, before: known.way, now: way, why };
                    known.way = way;
                    if self.moved.len() < NEWS_MAX {
                        self.moved.push_back(moved);
                    }
                    self.changed.notify_one();
                }
            }
        }
        let earlier = |due: Instant| self.due.is_none_or(|known| due < known);
        if known.ways.poll_timeout().is_some_and(earlier) {
            self.due = known.ways.poll_timeout();
            self.changed.notify_one();
        }
        for (way, bytes) in probes {
            if let Some(hop) = self.hop(way) {
                self.outgoing.push((hop, bytes));
            }
        }
    }
}
