//! Introductions: who is in a room learns who else is, where to try, and by which channel a relay forwards.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use audiocloud_wire::id::{DeviceId, InstanceId};
use audiocloud_wire::message::Text;
use zeroize::Zeroizing;

use super::bucket::Bucket;
use super::relay::Update;
use super::{Carrier, ClientId, Limits, Party};
use crate::address::{canonical, is_reachable};
use crate::frame::ChannelId;
use crate::meeting::{
    ADDRESSES_MAX, Gone, Introduced, Message, Pass, Reason, Refused, Register, Registered, Room,
};
use crate::probe::ProbeKey;

/// A client registers again within this time, or is gone.
const KEEP: Duration = Duration::from_secs(60);
/// What clients are told: two may be lost.
const KEEP_TOLD_MS: u32 = 20_000;
/// A connection that registers nowhere for so long is closed.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// A process without a connection is missed after so long; before that it may come back to what it had. One that stayed
/// for less than `SETTLED_AFTER` is missed at once: else what leaves again and again would be kept without a bound.
const MISSED_AFTER: Duration = Duration::from_secs(5);
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// How often silence is looked for.
const SWEEP: Duration = Duration::from_secs(1);
const MESSAGES_BURST_MS: u32 = 10_000;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a message to a client.
    Send {
        /// Whom.
        client: ClientId,
        /// What.
        message: Message,
    },
    /// Close a client's connection; a refusal was sent before.
    Close(ClientId),
    /// Tell the relay.
    Relay(Update),
}

/// What a node has to do at the moment, and what it refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Connections.
    pub clients: usize,
    /// Rooms.
    pub rooms: usize,
    /// Processes that are registered.
    pub parties: usize,
    /// Refused since the start: no room for more.
    pub full: u64,
    /// Refused since the start: too many messages.
    pub too_fast: u64,
    /// Refused since the start: what no client sends.
    pub malformed: u64,
}

/// Introduces clients to each other.
#[derive(Debug)]
pub struct Rendezvous {
    limits: Limits,
    seed: Zeroizing<[u8; 32]>,
    relay: bool,
    clients: HashMap<ClientId, Client>,
    /// Connections from one IPv4 address or one /64.
    networks: HashMap<IpAddr, usize>,
    parties: BTreeMap<Party, Process>,
    processes: HashMap<(DeviceId, InstanceId), Party>,
    next_party: u64,
    rooms: HashMap<Room, BTreeMap<Party, Membership>>,
    /// From whom to whom, in which room.
    channels: HashMap<ChannelId, (Party, Party, Room)>,
    actions: VecDeque<Action>,
    swept: Option<Instant>,
    full: u64,
    too_fast: u64,
    malformed: u64,
}

#[derive(Debug)]
struct Client {
    device: DeviceId,
    remote: SocketAddr,
    carrier: Carrier,
    party: Option<Party>,
    rooms: BTreeSet<Room>,
    messages: Bucket,
    connected: Instant,
}

#[derive(Debug)]
struct Process {
    device: DeviceId,
    instance: InstanceId,
    udp: Option<ClientId>,
    tunnel: Option<ClientId>,
    rooms: BTreeSet<Room>,
    since: Instant,
    /// The last connection is gone since then.
    absent_since: Option<Instant>,
}

#[derive(Debug)]
struct Membership {
    addresses: Vec<SocketAddr>,
    probe_key: ProbeKey,
    renewed: Instant,
}

impl Process {
    fn leg(&mut self, carrier: Carrier) -> &mut Option<ClientId> {
        match carrier {
            Carrier::Udp => &mut self.udp,
            Carrier::Tunnel => &mut self.tunnel,
        }
    }

    fn legs(&self) -> impl Iterator<Item = ClientId> + use<> {
        [self.udp, self.tunnel].into_iter().flatten()
    }
}

impl Rendezvous {
    /// Nobody yet. From `seed`, which is random, come the numbers of the channels, which nobody must guess. With
    /// `relay` the relay is told whom to join.
    pub fn new(limits: Limits, seed: [u8; 32], relay: bool) -> Self {
        Self {
            limits,
            seed: Zeroizing::new(seed),
            relay,
            clients: HashMap::new(),
            networks: HashMap::new(),
            parties: BTreeMap::new(),
            processes: HashMap::new(),
            next_party: 0,
            rooms: HashMap::new(),
            channels: HashMap::new(),
            actions: VecDeque::new(),
            swept: None,
            full: 0,
            too_fast: 0,
            malformed: 0,
        }
    }

    /// A client has connected: `device` is proven, `remote` is where its packets come from, or what stands for its
    /// tunnel.
    pub fn connected(
        &mut self,
        client: ClientId,
        device: DeviceId,
        remote: SocketAddr,
        carrier: Carrier,
        now: Instant,
    ) {
        self.swept.get_or_insert(now);
        let remote = canonical(remote);
        let messages = Bucket::new(self.limits.messages_per_s, MESSAGES_BURST_MS, now);
        let (party, rooms, connected) = (None, BTreeSet::new(), now);
        let new = Client { device, remote, carrier, party, rooms, messages, connected };
        if let Some(old) = self.clients.insert(client, new) {
            debug_assert!(false, "two connections have the number of {old:?}");
        }
        let alike = network(remote, carrier).map_or(0, |network| {
            let count = self.networks.entry(network).or_default();
            *count += 1;
            *count
        });
        if self.clients.len() > self.limits.clients_max || alike > self.limits.clients_each_max {
            self.full += 1;
            self.refuse(
                client,
                None,
                Reason::Full,
                "this node has as many connections as it serves; use another, or try again later",
            );
            self.close(client, now);
        }
    }

    /// Its packets come from another address now.
    pub fn moved(&mut self, client: ClientId, remote: SocketAddr, now: Instant) {
        let remote = canonical(remote);
        let Some(known) = self.clients.get_mut(&client).filter(|known| known.remote != remote) else {
            return;
        };
        // It was counted where it connected, which is where it is uncounted.
        let (before, carrier) = (std::mem::replace(&mut known.remote, remote), known.carrier);
        self.recount(before, remote, carrier);
        let Some(party) = self.clients.get(&client).and_then(|known| known.party) else { return };
        self.tell_leg(party, carrier, Some(remote));
        let rooms = self.clients.get(&client).map(|known| known.rooms.clone()).unwrap_or_default();
        for room in rooms {
            self.tell_registered(client, room);
            self.introduce_to_others(party, room);
        }
        self.sweep_if_due(now);
    }

    /// A message has come from a client.
    pub fn handle_message(&mut self, client: ClientId, body: &[u8], now: Instant) {
        let Some(known) = self.clients.get_mut(&client) else { return };
        let message = match Message::decode(body) {
            Ok(message) => message,
            Err(error) => return self.reject(client, &error.to_string(), now),
        };
        // A new member costs a message to each other one, passed bytes their length.
        let cost = match &message {
            Message::Register(register) => 1 + self.rooms.get(&register.room).map_or(0, BTreeMap::len) / 16,
            Message::Pass(pass) => 2 + pass.data.len() / 512,
            _ => 1,
        };
        if !known.messages.take(cost, now) {
            self.too_fast += 1;
            self.refuse(
                client,
                None,
                Reason::TooFast,
                "more messages than anyone needs; connect again later",
            );
            return self.close(client, now);
        }
        match message {
            Message::Register(register) => self.register(client, register, now),
            Message::Leave(leave) => {
                if let Some(party) = self.clients.get(&client).and_then(|known| known.party) {
                    self.leave(party, leave.room);
                }
            }
            Message::Pass(pass) => self.pass(client, pass),
            // Kinds of the future, which a client may try.
            Message::Unknown(_) => {}
            other => self.reject(client, &format!("a client sends no {:?}", other.kind()), now),
        }
    }

    /// A client's connection is gone.
    pub fn disconnected(&mut self, client: ClientId, now: Instant) {
        let Some(gone) = self.clients.remove(&client) else { return };
        self.uncount(gone.remote, gone.carrier);
        let Some((party, process)) =
            gone.party.and_then(|party| self.parties.get_mut(&party).map(|process| (party, process)))
        else {
            return;
        };
        let leg = process.leg(gone.carrier);
        if *leg == Some(client) {
            *leg = None;
            let (is_absent, settled) =
                (process.legs().next().is_none(), now >= process.since + SETTLED_AFTER);
            process.absent_since = is_absent.then_some(now);
            self.tell_leg(party, gone.carrier, None);
            if is_absent && !settled {
                self.remove_party(party);
            }
        }
    }

    /// When to call [`Rendezvous::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.clients.is_empty() && self.parties.is_empty();
        self.swept.filter(|_| !idle).map(|swept| swept + SWEEP)
    }

    /// Removes whoever has been silent for too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.sweep_if_due(now);
    }

    /// What is to be done, the oldest first. To be polled after each call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What there is to do, and what was refused.
    pub fn figures(&self) -> Figures {
        Figures {
            clients: self.clients.len(),
            rooms: self.rooms.len(),
            parties: self.parties.len(),
            full: self.full,
            too_fast: self.too_fast,
            malformed: self.malformed,
        }
    }

    fn register(&mut self, client: ClientId, register: Register, now: Instant) {
        let Register { room, instance, mut addresses, probe_key } = register;
        let Some(party) = self.party_of(client, instance, now) else { return };
        let Some((known, process)) = self.clients.get_mut(&client).zip(self.parties.get_mut(&party)) else {
            return;
        };
        let local = known.remote.ip().is_loopback();
        addresses.iter_mut().for_each(|address| *address = canonical(*address));
        addresses.retain(|address| is_reachable(*address) && (local || !address.ip().is_loopback()));
        let members = self.rooms.get(&room).map_or(0, BTreeMap::len);
        let is_new = !process.rooms.contains(&room);
        let full = if !is_new {
            None
        } else if process.rooms.len() >= self.limits.rooms_each_max {
            Some("this process is in as many rooms as one may be; leave one")
        } else if members == 0 && self.rooms.len() >= self.limits.rooms_max {
            Some("this node has as many rooms as it serves; use another, or try again later")
        } else if members >= self.limits.members_max
            || self.channels.len() / 2 + members > self.limits.pairs_max
        {
            Some("this room has as many members as this node serves; use another, or try again later")
        } else {
            None
        };
        if let Some(text) = full {
            self.full += 1;
            return self.refuse(client, Some(room), Reason::Full, text);
        }
        process.rooms.insert(room);
        let by_this = !known.rooms.insert(room);
        let membership = Membership { addresses, probe_key, renewed: now };
        let before = self.rooms.entry(room).or_default().insert(party, membership);
        if is_new {
            self.join_all(party, room);
        }
        self.tell_registered(client, room);
        if !by_this {
            self.introduce_others_to(client, party, room);
        }
        let after = self.rooms.get(&room).and_then(|members| members.get(&party));
        let changed = match (&before, after) {
            (Some(before), Some(after)) => {
                before.addresses != after.addresses || before.probe_key != after.probe_key
            }
            _ => true,
        };
        // A second connection may have brought the address that is seen from outside.
        if changed || !by_this {
            self.introduce_to_others(party, room);
        }
    }

    /// The process that a client speaks for, by this connection from now on.
    fn party_of(&mut self, client: ClientId, instance: InstanceId, now: Instant) -> Option<Party> {
        let known = self.clients.get_mut(&client)?;
        let (device, remote, carrier) = (known.device, known.remote, known.carrier);
        if let Some(party) = known.party {
            if self.processes.get(&(device, instance)) == Some(&party) {
                return Some(party);
            }
            self.reject(client, "one connection for two instances", now);
            return None;
        }
        let party = *self.processes.entry((device, instance)).or_insert_with(|| {
            self.next_party += 1;
            Party(self.next_party)
        });
        known.party = Some(party);
        let process = self.parties.entry(party).or_insert_with(|| {
            let (udp, tunnel, rooms) = Default::default();
            Process { device, instance, udp, tunnel, rooms, since: now, absent_since: None }
        });
        process.absent_since = None;
        let before = process.leg(carrier).replace(client);
        self.tell_leg(party, carrier, Some(remote));
        if let Some(before) = before {
            self.refuse(
                before,
                None,
                Reason::Replaced,
                "another connection of this process has taken its place",
            );
            self.close(before, now);
        }
        Some(party)
    }

    /// Opens channels between a new member and each other one.
    fn join_all(&mut self, party: Party, room: Room) {
        let others: Vec<Party> = self.others(party, room).collect();
        for other in others {
            let (to_other, to_one) = (self.channel(room, party, other), self.channel(room, other, party));
            self.channels.insert(to_other, (party, other, room));
            self.channels.insert(to_one, (other, party, room));
            self.tell_relay(Update::Join { one: party, to_other, other, to_one });
        }
    }

    fn leave(&mut self, party: Party, room: Room) {
        let Some(process) = self.parties.get_mut(&party) else { return };
        if !process.rooms.remove(&room) {
            return;
        }
        let (device, instance) = (process.device, process.instance);
        for client in process.legs() {
            if let Some(known) = self.clients.get_mut(&client) {
                known.rooms.remove(&room);
            }
        }
        let others: Vec<Party> = self.others(party, room).collect();
        for other in others {
            let (to_other, to_one) = (self.channel(room, party, other), self.channel(room, other, party));
            self.channels.remove(&to_other);
            self.channels.remove(&to_one);
            self.tell_relay(Update::Part { to_other, to_one });
            self.send_to_party(other, room, &Message::Gone(Gone { room, device, instance }));
        }
        if let Some(members) = self.rooms.get_mut(&room) {
            members.remove(&party);
            if members.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    fn pass(&mut self, client: ClientId, pass: Pass) {
        let from = self.clients.get(&client).and_then(|known| known.party);
        // One that is gone by now is no error of the sender's.
        let Some(&(one, other, room)) = self.channels.get(&pass.channel) else { return };
        if from != Some(one) {
            return;
        }
        let channel = self.channel(room, other, one);
        self.send_to_party(other, room, &Message::Pass(Pass { channel, data: pass.data }));
    }

    fn sweep_if_due(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now < swept + SWEEP) {
            return;
        }
        self.swept = Some(now);
        let silent: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, known)| known.rooms.is_empty() && now >= known.connected + SILENT_MAX)
            .map(|(client, _)| *client)
            .collect();
        for client in silent {
            self.reject(client, "connected, but registered nowhere", now);
        }
        let expired: Vec<(Party, Room)> = self
            .rooms
            .iter()
            .flat_map(|(room, members)| members.iter().map(move |(party, member)| (*party, *room, member)))
            .filter(|(_, _, member)| now >= member.renewed + KEEP)
            .map(|(party, room, _)| (party, room))
            .collect();
        for (party, room) in expired {
            self.leave(party, room);
        }
        let absent =
            |process: &Process| process.absent_since.is_some_and(|since| now >= since + MISSED_AFTER);
        let missed: Vec<Party> =
            self.parties.iter().filter(|(_, process)| absent(process)).map(|(party, _)| *party).collect();
        for party in missed {
            self.remove_party(party);
        }
    }

    fn remove_party(&mut self, party: Party) {
        let rooms = self.parties.get(&party).map(|process| process.rooms.clone()).unwrap_or_default();
        for room in rooms {
            self.leave(party, room);
        }
        if let Some(process) = self.parties.remove(&party) {
            self.processes.remove(&(process.device, process.instance));
            self.tell_relay(Update::Gone(party));
        }
    }

    /// The number of the way from one to the other: unguessable, and the same whenever it is asked for.
    fn channel(&self, room: Room, from: Party, to: Party) -> ChannelId {
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        hasher.update(&room.0).update(&from.0.to_be_bytes()).update(&to.0.to_be_bytes());
        let mut number = [0; 8];
        number.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        ChannelId(u64::from_be_bytes(number))
    }

    fn others(&self, party: Party, room: Room) -> impl Iterator<Item = Party> {
        let members = self.rooms.get(&room).into_iter().flat_map(BTreeMap::keys);
        members.copied().filter(move |other| *other != party)
    }

    fn reflexive(&self, process: &Process) -> Option<SocketAddr> {
        Some(self.clients.get(&process.udp?)?.remote)
    }

    fn tell_registered(&mut self, client: ClientId, room: Room) {
        let Some(known) = self.clients.get(&client) else { return };
        let reflexive = Some(known.remote).filter(|_| known.carrier == Carrier::Udp);
        let registered = Registered { room, reflexive, relay: self.relay, keep_ms: KEEP_TOLD_MS };
        self.send(client, Message::Registered(registered));
    }

    /// What `viewer` is told of `party`.
    fn introduction(&self, viewer: Party, party: Party, room: Room) -> Option<Message> {
        let process = self.parties.get(&party)?;
        let member = self.rooms.get(&room)?.get(&party)?;
        let reflexive = self.reflexive(process);
        let named = member.addresses.iter().copied().filter(|address| Some(*address) != reflexive);
        Some(Message::Introduced(Introduced {
            room,
            device: process.device,
            instance: process.instance,
            addresses: reflexive.into_iter().chain(named).take(ADDRESSES_MAX).collect(),
            probe_key: member.probe_key,
            channel: self.channel(room, viewer, party),
        }))
    }

    fn introduce_to_others(&mut self, party: Party, room: Room) {
        let others: Vec<Party> = self.others(party, room).collect();
        for other in others {
            if let Some(message) = self.introduction(other, party, room) {
                self.send_to_party(other, room, &message);
            }
        }
    }

    fn introduce_others_to(&mut self, client: ClientId, party: Party, room: Room) {
        let messages: Vec<Message> =
            self.others(party, room).filter_map(|other| self.introduction(party, other, room)).collect();
        for message in messages {
            self.send(client, message);
        }
    }

    /// By each of its connections that registered in the room.
    fn send_to_party(&mut self, party: Party, room: Room, message: &Message) {
        let Some(process) = self.parties.get(&party) else { return };
        for client in process.legs() {
            if self.clients.get(&client).is_some_and(|known| known.rooms.contains(&room)) {
                self.send(client, message.clone());
            }
        }
    }

    fn send(&mut self, client: ClientId, message: Message) {
        self.actions.push_back(Action::Send { client, message });
    }

    fn tell_leg(&mut self, party: Party, carrier: Carrier, address: Option<SocketAddr>) {
        self.tell_relay(Update::Leg { party, carrier, address });
    }

    fn tell_relay(&mut self, update: Update) {
        if self.relay {
            self.actions.push_back(Action::Relay(update));
        }
    }

    fn refuse(&mut self, client: ClientId, room: Option<Room>, reason: Reason, text: &str) {
        self.send(client, Message::Refused(Refused { room, reason, text: Text::new(text) }));
    }

    fn reject(&mut self, client: ClientId, text: &str, now: Instant) {
        self.malformed += 1;
        self.refuse(client, None, Reason::Malformed, text);
        self.close(client, now);
    }

    fn close(&mut self, client: ClientId, now: Instant) {
        self.disconnected(client, now);
        self.actions.push_back(Action::Close(client));
    }

    fn uncount(&mut self, remote: SocketAddr, carrier: Carrier) {
        let Some(network) = network(remote, carrier) else { return };
        if let Some(count) = self.networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
    }

    fn recount(&mut self, before: SocketAddr, after: SocketAddr, carrier: Carrier) {
        self.uncount(before, carrier);
        if let Some(network) = network(after, carrier) {
            *self.networks.entry(network).or_default() += 1;
        }
    }
}

/// Whom an address counts for. What stands for a tunnel says nothing: whoever accepts TCP has to bound those.
fn network(remote: SocketAddr, carrier: Carrier) -> Option<IpAddr> {
    match (remote.ip(), carrier) {
        (_, Carrier::Tunnel) => None,
        (IpAddr::V4(ip), _) => Some(ip.into()),
        (IpAddr::V6(ip), _) => Some(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into()),
    }
}
