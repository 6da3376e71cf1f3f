//! Datagrams by TLS over TCP, for networks that let nothing else out: to both ends a tunnel is one more address.
//!
//! A tunnel's address is `fd61:7564:696f:1::/64` with its number. What is sent there waits in a bounded queue of which the
//! oldest goes when TCP is slower than the sound: a second-old packet helps nobody. Inside, each datagram follows its
//! length, two bytes in network order. The datagrams are the ones that would have gone by UDP, sealed as they are.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::datagram_queue::DatagramQueue;
use crate::Error;
use crate::identity::Identity;
use crate::socket::Paths;
use crate::tls;

const PREFIX: [u16; 4] = [0xfd61, 0x7564, 0x696f, 1];
/// Addresses want a port that is not zero; it means nothing here.
const PORT: u16 = 1;
/// What may wait to go out by one tunnel: a fifth of a second of eight stereo streams.
const OUTGOING_BYTES: usize = 192 << 10;
/// What may wait to be taken by QUIC, of all tunnels.
const INCOMING_BYTES: usize = 1 << 20;
/// The most tunnels at once, and those of them whose handshake is not done.
const TUNNELS_MAX: usize = 256;
const HANDSHAKES_MAX: usize = 32;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// The most tunnels from one IPv4 address, or from one /64 of IPv6, and those of them whose handshake is not done: so
/// that who says nothing keeps nobody else out.
const TUNNELS_EACH_MAX: usize = 64;
const HANDSHAKES_EACH_MAX: usize = 8;
/// Whoever has a use for a tunnel says something every second.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// What TCP may hold that the network has not taken: more would only grow old there.
const UNSENT_BYTES: u32 = 16 << 10;
const LENGTH_BYTES: usize = 2;
/// The largest datagram: QUIC's of 1,472 bytes and a relay's head fit.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 2048;
const READ_BYTES: usize = 32 << 10;
/// A record of TLS holds no more.
const WRITE_BYTES: usize = 16 << 10;

/// The ends of all tunnels of this runtime, as its socket sees them.
#[derive(Debug)]
pub(crate) struct Tunnels {
    ends: HashMap<u64, Outgoing>,
    next: u64,
    incoming: DatagramQueue,
    receiver: Option<Waker>,
}

#[derive(Debug)]
struct Outgoing {
    queue: DatagramQueue,
    filled: Arc<Notify>,
}

impl Default for Tunnels {
    fn default() -> Self {
        // Room is made when there is a tunnel.
        Self { ends: HashMap::new(), next: 0, incoming: DatagramQueue::new(0), receiver: None }
    }
}

impl Tunnels {
    fn open(&mut self) -> Option<(u64, Arc<Notify>)> {
        if self.ends.len() >= TUNNELS_MAX {
            return None;
        }
        if self.next == 0 {
            self.incoming = DatagramQueue::new(INCOMING_BYTES);
        }
        self.next += 1;
        let filled = Arc::new(Notify::new());
        let end = Outgoing { queue: DatagramQueue::new(OUTGOING_BYTES), filled: Arc::clone(&filled) };
        self.ends.insert(self.next, end);
        Some((self.next, filled))
    }

    /// Puts a datagram into the tunnel `number`. Whether there is one.
    pub(crate) fn send(&mut self, number: u64, datagram: &[u8]) -> bool {
        let Some(end) = self.ends.get_mut(&number) else { return false };
        end.queue.push(0, datagram);
        end.filled.notify_one();
        true
    }

    /// Takes the oldest datagram that came by a tunnel: where from, and how much of `into` it fills.
    pub(crate) fn receive(&mut self, into: &mut [u8]) -> Option<(SocketAddr, usize)> {
        self.incoming.pop(into).map(|(number, length)| (address_of(number), length))
    }

    /// Who is to be told when something comes.
    pub(crate) fn set_receiver(&mut self, waker: &Waker) {
        if self.receiver.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            self.receiver = Some(waker.clone());
        }
    }

    /// Moves what waits for the tunnel `number` behind `into`, each datagram behind its length, until that has a
    /// record's size. How many datagrams were dropped meanwhile; none when the tunnel is closed.
    fn take_outgoing(&mut self, number: u64, into: &mut Vec<u8>) -> Option<u64> {
        let queue = &mut self.ends.get_mut(&number)?.queue;
        while let Some(length) = queue.next_bytes() {
            let start = into.len();
            if start + LENGTH_BYTES + length > WRITE_BYTES {
                break;
            }
            into.extend(u16::try_from(length).unwrap_or(0).to_be_bytes());
            into.resize(start + LENGTH_BYTES + length, 0);
            queue.pop(into.get_mut(start + LENGTH_BYTES..).unwrap_or_default());
        }
        Some(queue.take_dropped())
    }

    /// How many datagrams had no room.
    fn deliver(&mut self, number: u64, datagrams: &mut Datagrams<'_>) -> u64 {
        for datagram in datagrams {
            self.incoming.push(number, datagram);
        }
        if let Some(receiver) = self.receiver.take() {
            receiver.wake();
        }
        self.incoming.take_dropped()
    }
}

/// The whole datagrams at the start of what was read.
struct Datagrams<'a> {
    rest: &'a [u8],
    /// One that is longer than any of ours.
    broken: bool,
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<LENGTH_BYTES>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        self.broken |= length > DATAGRAM_BYTES_MAX;
        if self.broken {
            return None;
        }
        let (datagram, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(datagram)
    }
}

fn address_of(number: u64) -> SocketAddr {
    let [a, b, c, d] = PREFIX;
    let prefix = Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_bits();
    SocketAddr::new(Ipv6Addr::from_bits(prefix | u128::from(number)).into(), PORT)
}

/// The tunnel that an address stands for.
pub(crate) fn number_of(address: SocketAddr) -> Option<u64> {
    let IpAddr::V6(ip) = address.ip() else { return None };
    let [a, b, c, d, ..] = ip.segments();
    let number = u64::try_from(ip.to_bits() & u128::from(u64::MAX)).ok()?;
    ([a, b, c, d] == PREFIX).then_some(number)
}

/// An open tunnel; dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Tunnel<S> {
    stream: S,
    paths: Arc<Paths>,
    number: u64,
    filled: Arc<Notify>,
}

impl<S> Drop for Tunnel<S> {
    fn drop(&mut self) {
        self.paths.tunnels().ends.remove(&self.number);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tunnel<S> {
    fn new(stream: S, paths: &Arc<Paths>) -> io::Result<Self> {
        let Some((number, filled)) = paths.tunnels().open() else {
            return Err(io::Error::other("as many tunnels as can be served are open"));
        };
        Ok(Self { stream, paths: Arc::clone(paths), number, filled })
    }

    /// The address that the other end has here.
    pub(crate) fn address(&self) -> SocketAddr {
        address_of(self.number)
    }

    /// Carries datagrams, both ways, until the connection ends or is silent for too long.
    pub(crate) async fn carry(mut self) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        let (paths, number, filled) = (&self.paths, self.number, &self.filled);
        let reading = async {
            let mut buffer = vec![0; READ_BYTES];
            let mut length = 0;
            loop {
                let free = buffer.get_mut(length..).unwrap_or_default();
                let read = timeout(SILENCE_MAX, reader.read(free)).await?;
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                length += read;
                let whole = buffer.get(..length).unwrap_or_default();
                let mut datagrams = Datagrams { rest: whole, broken: false };
                let dropped = paths.tunnels().deliver(number, &mut datagrams);
                paths.count_tunnel_drops(dropped);
                if datagrams.broken {
                    paths.count_refused_clients(1);
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let rest = datagrams.rest.len();
                buffer.copy_within(length - rest..length, 0);
                length = rest;
                // Others have their turn, however much there is to read.
                tokio::task::yield_now().await;
            }
        };
        let writing = async {
            let mut record = Vec::with_capacity(WRITE_BYTES);
            loop {
                let Some(dropped) = paths.tunnels().take_outgoing(number, &mut record) else { return Ok(()) };
                paths.count_tunnel_drops(dropped);
                if record.is_empty() {
                    filled.notified().await;
                } else {
                    writer.write_all(&record).await?;
                    writer.flush().await?;
                    record.clear();
                }
            }
        };
        tokio::select! {
            ended = reading => ended,
            ended = writing => ended,
        }
    }
}

/// Opens a tunnel to the node `device` at a TCP address.
pub(crate) async fn open(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    paths: &Arc<Paths>,
) -> io::Result<Tunnel<tokio_rustls::client::TlsStream<TcpStream>>> {
    let name = ServerName::try_from(tls::SERVER_NAME).map_err(io::Error::other)?;
    let opened = timeout(HANDSHAKE_TIMEOUT, async {
        let stream = TcpStream::connect(address).await?;
        prepare(&stream);
        TlsConnector::from(config).connect(name, stream).await
    });
    Tunnel::new(opened.await??, paths)
}

/// Takes tunnels at `listener`, forever, within a `LocalSet`.
///
/// # Errors
/// TLS does not take our certificate, or the event loop not the listener.
pub(crate) fn serve(
    listener: std::net::TcpListener,
    identity: &Identity,
    paths: Arc<Paths>,
) -> Result<impl Future<Output = ()> + use<>, Error> {
    let config = tls::tunnel_server_config(identity)?;
    let listener = TcpListener::from_std(listener)
        .map_err(|source| Error::System { action: "wait for TCP connections", source })?;
    Ok(accept(listener, config, paths))
}

/// How many tunnels each network has open here.
type Visitors = Rc<RefCell<HashMap<IpAddr, usize>>>;

/// One of them, as long as it lives.
struct Visitor {
    all: Visitors,
    network: IpAddr,
}

impl Visitor {
    fn new(all: &Visitors, ip: IpAddr, most: usize) -> Option<Self> {
        let network = match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
            ip => ip,
        };
        let mut counts = all.borrow_mut();
        let count = counts.entry(network).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Self { all: Rc::clone(all), network })
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let mut counts = self.all.borrow_mut();
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

async fn accept(listener: TcpListener, config: Arc<ServerConfig>, paths: Arc<Paths>) {
    let handshakes = Arc::new(tokio::sync::Semaphore::new(HANDSHAKES_MAX));
    let (visitors, newcomers) = (Visitors::default(), Visitors::default());
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(target: "audiocloud::tunnel", %error, "no TCP connection is taken");
                // The process may be out of descriptors: some will come free.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Who comes when all places are taken is not kept waiting.
        let place = Arc::clone(&handshakes).try_acquire_owned().ok();
        let place = place.zip(Visitor::new(&newcomers, from.ip(), HANDSHAKES_EACH_MAX));
        let Some((place, visitor)) = place.zip(Visitor::new(&visitors, from.ip(), TUNNELS_EACH_MAX)) else {
            paths.count_refused_clients(1);
            continue;
        };
        let (acceptor, paths) = (TlsAcceptor::from(Arc::clone(&config)), Arc::clone(&paths));
        tokio::task::spawn_local(async move {
            let _visitor = visitor;
            prepare(&stream);
            let accepted = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
            drop(place);
            let accepted = accepted.unwrap_or_else(|late| Err(late.into()));
            let ended = match accepted.and_then(|stream| Tunnel::new(stream, &paths)) {
                Ok(tunnel) => tunnel.carry().await,
                Err(error) => {
                    paths.count_refused_clients(1);
                    Err(error)
                }
            };
            if let Err(error) = ended {
                tracing::debug!(target: "audiocloud::tunnel", %error, "a tunnel ended");
            }
        });
    }
}

/// Nothing is held back to be sent together, and little is kept in the kernel. Both only cost delay when refused.
fn prepare(stream: &TcpStream) {
    let set = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let set = set.and(socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES));
    if let Err(error) = set {
        tracing::debug!(target: "audiocloud::tunnel", %error, "TCP stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_the_same() {
        assert_eq!(number_of(address_of(7)), Some(7));
        assert_eq!(number_of("[fd61:7564:696f::7]:1".parse().unwrap()), None, "a peer's virtual address");
        assert_eq!(number_of("192.0.2.1:7".parse().unwrap()), None);
    }

    #[test]
    fn what_was_read_is_cut_into_datagrams() {
        let check = |bytes: &[u8], expected: &[&[u8]], rest: usize, is_broken: bool| {
            let mut datagrams = Datagrams { rest: bytes, broken: false };
            let found: Vec<_> = datagrams.by_ref().collect();
            assert_eq!((&found[..], datagrams.rest.len(), datagrams.broken), (expected, rest, is_broken));
        };
        check(b"", &[], 0, false);
        check(b"\0", &[], 1, false);
        check(b"\0\x02a", &[], 3, false);
        check(b"\0\x02ab\0\x01c\0", &[b"ab", b"c"], 1, false);
        check(b"\0\x01a\x08\x01", &[b"a"], 2, true);
    }

    #[test]
    fn what_waits_for_tcp_is_bounded_and_the_oldest_goes() {
        let mut tunnels = Tunnels::default();
        let (number, _) = tunnels.open().unwrap();
        for datagram in 0..1000_u32 {
            assert!(tunnels.send(number, &[&datagram.to_be_bytes()[..], &[0; 1200]].concat()));
        }
        assert!(!tunnels.send(number + 1, b"nobody"));
        let mut record = Vec::new();
        let dropped = tunnels.take_outgoing(number, &mut record).unwrap();
        let oldest = u32::from_be_bytes([record[2], record[3], record[4], record[5]]);
        assert_eq!(u64::from(oldest), dropped);
        assert!(dropped > 800 && record.len() <= WRITE_BYTES, "{dropped} dropped");
        assert_eq!(tunnels.take_outgoing(number + 1, &mut record), None);
    }

    #[test]
    fn one_network_has_so_many_tunnels_and_no_more() {
        let all = Visitors::default();
        let visit = |last: u16| {
            Visitor::new(&all, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into(), TUNNELS_EACH_MAX)
        };
        let mut held: Vec<_> = (0..100).filter_map(visit).collect();
        assert_eq!(held.len(), TUNNELS_EACH_MAX);
        assert!(Visitor::new(&all, "192.0.2.1".parse().unwrap(), TUNNELS_EACH_MAX).is_some());
        held.pop();
        assert!(visit(5).is_some());
        drop(held);
        assert!(all.borrow().is_empty());
    }
}
