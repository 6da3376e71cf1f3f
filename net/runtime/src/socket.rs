//! The UDP socket under QUIC: virtual peer addresses above; real ones, relays and tunnels below; and garbage stopped at
//! the door.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use audiocloud_traversal::frame::{ChannelId, Frame, RELAYED_HEADER_BYTES, is_frame, relayed_header};
use audiocloud_traversal::probe::ProbeSecret;
use audiocloud_traversal::server::Relay;
use audiocloud_traversal::ways::{Carrier, Way};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use crate::address_table::{self, AddressTable, Destination, canonical, for_family};
use crate::connection_ids::ConnectionIds;
use crate::meeting::datagram_queue::DatagramQueue;
use crate::meeting::peers::{Hop, Known, Peers};
use crate::meeting::tunnel::{self, Tunnels};
use crate::status::lock;

/// Garbage is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// Datagrams of other peers that the kernel put together in one piece with the first peer's.
const SET_ASIDE_BYTES: usize = 512 << 10;

/// What the runtime shares with its socket. Locked in the order of the fields.
#[derive(Debug)]
pub(crate) struct Paths {
    peers: Mutex<Peers>,
    table: Mutex<AddressTable>,
    tunnels: Mutex<Tunnels>,
    /// What this node forwards, if it does.
    relay: Mutex<Option<Relay>>,
    /// Datagrams that nobody here was meant by.
    pub(crate) garbage: AtomicU64,
    /// Datagrams to an address that is forgotten or out of the socket's family.
    pub(crate) unroutable: AtomicU64,
    /// Datagrams to peers that no way is open to.
    pub(crate) no_way: AtomicU64,
    /// Datagrams that were older than what a tunnel could carry, or that nobody took.
    pub(crate) tunnel_dropped: AtomicU64,
    /// Datagrams forwarded for others, and those that were not.
    pub(crate) forwarded: AtomicU64,
    pub(crate) not_forwarded: AtomicU64,
    /// Clients of this node, and tunnels to it, that were turned away.
    pub(crate) clients_refused: AtomicU64,
    /// A network that lets datagrams pass to and from these alone.
    #[cfg(test)]
    pub(crate) wall: Mutex<Option<Vec<SocketAddr>>>,
}

impl Paths {
    pub(crate) fn new(secret: ProbeSecret, relay: Option<Relay>) -> Self {
        Self {
            peers: Mutex::new(Peers::new(secret)),
            table: Mutex::default(),
            tunnels: Mutex::default(),
            relay: Mutex::new(relay),
            garbage: AtomicU64::new(0),
            unroutable: AtomicU64::new(0),
            no_way: AtomicU64::new(0),
            tunnel_dropped: AtomicU64::new(0),
            forwarded: AtomicU64::new(0),
            not_forwarded: AtomicU64::new(0),
            clients_refused: AtomicU64::new(0),
            #[cfg(test)]
            wall: Mutex::default(),
        }
    }

    pub(crate) fn peers(&self) -> MutexGuard<'_, Peers> {
        lock(&self.peers)
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, AddressTable> {
        lock(&self.table)
    }

    pub(crate) fn tunnels(&self) -> MutexGuard<'_, Tunnels> {
        lock(&self.tunnels)
    }

    pub(crate) fn relay(&self) -> MutexGuard<'_, Option<Relay>> {
        lock(&self.relay)
    }

    /// Whether packets to a place can leave: to an introduced peer only by a way that is open.
    pub(crate) fn is_open(&self, address: SocketAddr) -> bool {
        let destination = self.table().destination(address);
        let Some(Destination::Peer(number)) = destination else { return true };
        self.peers().get(number).is_none_or(|known| known.way().is_some())
    }

    /// Where a connection's packets come from, and how, for people: of the address that it is known by here.
    pub(crate) fn shown(&self, address: SocketAddr) -> (SocketAddr, String) {
        let destination = self.table().destination(address);
        let Some(Destination::Peer(number)) = destination else { return (address, "direct".to_owned()) };
        let peers = self.peers();
        let way = peers.get(number).and_then(Known::way);
        let real = way.and_then(|way| peers.hop(way)).map(|hop| hop.to);
        let real = real.or_else(|| self.table().proven(number));
        let words = match way {
            Some(Way::Direct(_)) => "direct",
            Some(Way::Relay { carrier: Carrier::Udp, .. }) => "by relay",
            Some(Way::Relay { carrier: Carrier::Tunnel, .. }) => "by relay over TCP, which takes longer",
            None => "no way is open",
        };
        (real.unwrap_or(address), words.to_owned())
    }

    #[cfg(test)]
    fn is_walled_off(&self, address: SocketAddr) -> bool {
        lock(&self.wall).as_ref().is_some_and(|open| !open.contains(&canonical(address)))
    }

    pub(crate) fn count_refused_clients(&self, clients: u64) {
        self.clients_refused.fetch_add(clients, Ordering::Relaxed);
    }

    pub(crate) fn count_tunnel_drops(&self, datagrams: u64) {
        self.tunnel_dropped.fetch_add(datagrams, Ordering::Relaxed);
    }
}

/// See the module.
pub(crate) struct PathSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    paths: Arc<Paths>,
    ids: ConnectionIds,
    ipv6: bool,
    logged: Mutex<Option<Instant>>,
    /// Where packets get a relay's header in front.
    wrapped: Mutex<Vec<u8>>,
    /// By virtual addresses.
    aside: Mutex<DatagramQueue>,
}

impl std::fmt::Debug for PathSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PathSocket").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// What a datagram turned out to be.
enum Sorted {
    /// Nothing for QUIC.
    Done,
    /// QUIC's from this offset on, of this virtual address.
    Quic(SocketAddr, usize),
    /// Somebody else's, who is there, by this channel.
    Forward(SocketAddr, ChannelId),
}

/// Neighbours that go to the same place, and are sent at once.
struct Run {
    to: SocketAddr,
    range: Range<usize>,
}

impl PathSocket {
    pub(crate) fn new(
        inner: Arc<dyn AsyncUdpSocket>,
        paths: Arc<Paths>,
        ids: ConnectionIds,
    ) -> io::Result<Self> {
        let ipv6 = inner.local_addr()?.is_ipv6();
        Ok(Self {
            inner,
            paths,
            ids,
            ipv6,
            logged: Mutex::new(None),
            wrapped: Mutex::new(Vec::with_capacity(1 << 16)),
            aside: Mutex::new(DatagramQueue::new(SET_ASIDE_BYTES)),
        })
    }

    // ---- Out.

    /// Sends what the ways of peers want sent. A probe that the socket does not take is as good as lost on the way.
    pub(crate) fn flush(&self) {
        loop {
            let Some((hop, probe)) = self.paths.peers().poll_outgoing() else { return };
            let transmit = Transmit {
                destination: hop.to,
                ecn: None,
                contents: &probe,
                segment_size: None,
                src_ip: None,
            };
            self.send_by(hop, &transmit).ok();
        }
    }

    fn send_by(&self, hop: Hop, transmit: &Transmit<'_>) -> io::Result<()> {
        let Some(channel) = hop.channel else { return self.send_to(hop.to, transmit) };
        let mut wrapped = lock(&self.wrapped);
        wrapped.clear();
        let header = relayed_header(channel);
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(size) {
            wrapped.extend_from_slice(&header);
            wrapped.extend_from_slice(datagram);
        }
        let segment_size = transmit.segment_size.map(|size| size + RELAYED_HEADER_BYTES);
        self.send_to(hop.to, &Transmit { contents: &wrapped, segment_size, ..transmit.clone() })
    }

    /// To an address of UDP's, or a tunnel's.
    fn send_to(&self, to: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()> {
        if let Some(number) = tunnel::number_of(to) {
            let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
            let mut tunnels = self.paths.tunnels();
            for datagram in transmit.contents.chunks(size) {
                if !tunnels.send(number, datagram) {
                    self.paths.unroutable.fetch_add(1, Ordering::Relaxed);
                }
            }
            return Ok(());
        }
        #[cfg(test)]
        if self.paths.is_walled_off(to) {
            return Ok(());
        }
        let Some(destination) = for_family(to, self.ipv6) else {
            self.paths.unroutable.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        self.inner.try_send(&Transmit { destination, ..transmit.clone() })
    }

    fn send_to_peer(&self, number: u64, transmit: &Transmit<'_>) -> io::Result<()> {
        let hops = {
            let mut peers = self.paths.peers();
            peers.route(number, &mut self.paths.table(), Instant::now())
        };
        // The address that a connection began with may be gone by now: the system knows which one leads there.
        let transmit = Transmit { src_ip: None, ..transmit.clone() };
        match hops {
            [Some(first), second] => {
                if let Some(second) = second {
                    // A copy, in case the first way is dead.
                    self.send_by(second, &transmit).ok();
                }
                self.send_by(first, &transmit)
            }
            [None, _] => {
                let proven = self.paths.table().proven(number);
                let Some(proven) = proven else {
                    self.paths.no_way.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                };
                self.send_to(proven, &transmit)
            }
        }
    }

    // ---- In.

    /// Puts what came by tunnels, and what was set aside, into the buffers. How many are filled.
    fn receive_queued(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        let mut filled = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas.iter_mut()) {
            if let Some((number, length)) = lock(&self.aside).pop(buffer) {
                *meta = received(address_table::address(number), length);
            } else {
                let Some((from, length)) = self.paths.tunnels().receive(buffer) else { break };
                *meta = received(from, length);
                self.sort(buffer, meta);
            }
            filled += 1;
        }
        filled
    }

    /// Leaves in `buffer` what is QUIC's of the datagrams that the kernel put together, and does what the others ask for.
    fn sort(&self, buffer: &mut [u8], meta: &mut RecvMeta) {
        let now = Instant::now();
        let from = canonical(meta.addr);
        let size = meta.stride.max(1);
        let most = size * self.inner.max_transmit_segments();
        let Some(bytes) = buffer.get_mut(..meta.len) else { return };
        let mut kept: Option<(SocketAddr, usize)> = None;
        let (mut length, mut is_closed) = (0, false);
        let mut run: Option<Run> = None;
        for start in (0..bytes.len()).step_by(size) {
            let range = start..bytes.len().min(start + size);
            let Some(datagram) = bytes.get_mut(range.clone()) else { break };
            match self.sort_one(datagram, from, now) {
                Sorted::Done => {}
                Sorted::Forward(to, channel) => {
                    datagram[..RELAYED_HEADER_BYTES].copy_from_slice(&relayed_header(channel));
                    run = match run {
                        Some(run) if run.to == to && run.range.end == start && run.range.len() < most => {
                            Some(Run { to, range: run.range.start..range.end })
                        }
                        earlier => {
                            self.forward(earlier, bytes, size);
                            Some(Run { to, range })
                        }
                    };
                }
                Sorted::Quic(address, offset) => {
                    // Moving bytes down must not overwrite what is still to be forwarded.
                    self.forward(run.take(), bytes, size);
                    let datagram = range.start + offset..range.end;
                    let fits = kept
                        .is_none_or(|(of, stride)| of == address && !is_closed && datagram.len() <= stride);
                    if fits {
                        let (_, stride) = *kept.get_or_insert((address, datagram.len()));
                        is_closed = datagram.len() < stride;
                        length += datagram.len();
                        bytes.copy_within(datagram.clone(), length - datagram.len());
                    } else {
                        self.set_aside(address, bytes.get(datagram).unwrap_or_default());
                    }
                }
            }
        }
        self.forward(run, bytes, size);
        match kept {
            Some((address, stride)) => (meta.addr, meta.len, meta.stride) = (address, length, stride),
            // An entry without bytes is skipped by QUIC.
            None => meta.len = 0,
        }
    }

    fn set_aside(&self, address: SocketAddr, datagram: &[u8]) {
        if let Some(number) = address_table::number_of(address) {
            let mut aside = lock(&self.aside);
            aside.push(number, datagram);
            self.paths.garbage.fetch_add(aside.take_dropped(), Ordering::Relaxed);
        }
    }

    fn sort_one(&self, datagram: &[u8], from: SocketAddr, now: Instant) -> Sorted {
        let mut peers = self.paths.peers();
        let mut table = self.paths.table();
        if !is_frame(datagram) {
            // An address in use may also send a stateless reset, which looks like noise. QUIC tells the two apart.
            let is_quic = datagram.first().is_some_and(|first| first & 0x40 != 0);
            if !((is_quic && table.is_pinned(from)) || self.ids.admits(datagram)) {
                return self.garbage(from, datagram);
            }
            let address = table.virtual_of(from);
            if let Some(Destination::Peer(number)) = table.destination(address) {
                peers.handle_datagram(number, &mut table, now);
            }
            return Sorted::Quic(address, 0);
        }
        match Frame::decode(datagram) {
            // Who is at the end of a tunnel is a node, or the client of one: nobody's way leads straight there.
            Ok(Frame::Probe(probe))
                if tunnel::number_of(from).is_none()
                    && peers.handle_probe(Way::Direct(from), &probe, &mut table, now) =>
            {
                return Sorted::Done;
            }
            Ok(Frame::Relayed { channel, datagram }) => {
                let Some((number, way)) = peers.by_channel(from, channel) else {
                    drop((peers, table));
                    return self.sort_relayed(from, channel, datagram, now);
                };
                match Frame::decode(datagram) {
                    Ok(Frame::Probe(probe)) if peers.handle_probe(way, &probe, &mut table, now) => {
                        return Sorted::Done;
                    }
                    Ok(Frame::Probe(_)) => {}
                    _ if self.ids.admits(datagram) || table.is_peer_pinned(number) => {
                        peers.handle_datagram(number, &mut table, now);
                        return Sorted::Quic(address_table::address(number), RELAYED_HEADER_BYTES);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        self.garbage(from, datagram)
    }

    /// A datagram that somebody wants forwarded.
    fn sort_relayed(&self, from: SocketAddr, channel: ChannelId, datagram: &[u8], now: Instant) -> Sorted {
        let mut relay = self.paths.relay();
        let Some(relay) = &mut *relay else { return self.garbage(from, datagram) };
        match relay.forward(from, channel, datagram.len(), now) {
            Ok((to, channel)) => Sorted::Forward(to, channel),
            Err(_) => {
                self.paths.not_forwarded.fetch_add(1, Ordering::Relaxed);
                Sorted::Done
            }
        }
    }

    /// Sends neighbours on as they are. What the socket does not take now is dropped: a relay keeps nothing.
    fn forward(&self, run: Option<Run>, bytes: &[u8], size: usize) {
        let Some(Run { to, range }) = run else { return };
        let contents = bytes.get(range).unwrap_or_default();
        let segment_size = (contents.len() > size).then_some(size);
        let datagrams = u64::try_from(contents.len().div_ceil(size)).unwrap_or(1);
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip: None };
        let counter = match self.send_to(to, &transmit) {
            Ok(()) => &self.paths.forwarded,
            Err(_) => &self.paths.not_forwarded,
        };
        counter.fetch_add(datagrams, Ordering::Relaxed);
    }

    fn garbage(&self, from: SocketAddr, datagram: &[u8]) -> Sorted {
        let count = self.paths.garbage.fetch_add(1, Ordering::Relaxed) + 1;
        let now = Instant::now();
        let mut logged = lock(&self.logged);
        if logged.is_none_or(|at| now.duration_since(at) >= LOG_INTERVAL) {
            *logged = Some(now);
            tracing::warn!(
                target: "audiocloud::socket", %from, bytes = datagram.len(), count,
                "a datagram that is not ours was dropped"
            );
        }
        Sorted::Done
    }
}

fn received(addr: SocketAddr, len: usize) -> RecvMeta {
    RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None }
}

impl AsyncUdpSocket for PathSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let destination = self.paths.table().destination(transmit.destination);
        match destination {
            Some(Destination::Address(real)) => self.send_to(real, transmit),
            Some(Destination::Peer(number)) => self.send_to_peer(number, transmit),
            None => {
                self.paths.unroutable.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.paths.tunnels().set_receiver(context.waker());
        let queued = self.receive_queued(buffers, metas);
        if queued > 0 {
            self.flush();
            return Poll::Ready(Ok(queued));
        }
        let received = ready!(self.inner.poll_recv(context, buffers, metas))?;
        for (buffer, meta) in buffers.iter_mut().zip(metas.iter_mut()).take(received) {
            #[cfg(test)]
            if self.paths.is_walled_off(meta.addr) {
                meta.len = 0;
            }
            self.sort(buffer, meta);
        }
        self.flush();
        Poll::Ready(Ok(received))
    }

    /// A virtual address, so that QUIC takes virtual IPv6 addresses for its peers whatever the real family is.
    fn local_addr(&self) -> io::Result<SocketAddr> {
        let port = self.inner.local_addr()?.port();
        Ok(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port))
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
