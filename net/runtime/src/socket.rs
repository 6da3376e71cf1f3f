//! The UDP socket under QUIC: virtual peer addresses above, real ones below, and garbage stopped at the door.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, UdpPoller};
use ring::rand::SecureRandom;

use crate::address_table::{AddressTable, for_family};

/// Of QUIC version 1 (RFC 9000).
const QUIC_VERSION: [u8; 4] = [0, 0, 0, 1];
/// A client's first datagram is at least this long (RFC 9000, clause 14.1).
const INITIAL_BYTES_MIN: usize = 1200;
const CID_BYTES: usize = 8;
const NONCE_BYTES: usize = 4;
/// Garbage is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Connection ids that we know again without a table: four random bytes, and a keyed hash of them.
#[derive(Clone, Copy)]
pub(crate) struct ConnectionIds {
    key: [u8; 32],
}

impl ConnectionIds {
    /// With a random key.
    pub(crate) fn new() -> Result<Self, ring::error::Unspecified> {
        let mut key = [0; 32];
        ring::rand::SystemRandom::new().fill(&mut key)?;
        Ok(Self { key })
    }

    fn tag(&self, nonce: &[u8]) -> [u8; CID_BYTES - NONCE_BYTES] {
        let hash = blake3::keyed_hash(&self.key, nonce);
        let mut tag = [0; CID_BYTES - NONCE_BYTES];
        tag.copy_from_slice(&hash.as_bytes()[..CID_BYTES - NONCE_BYTES]);
        tag
    }

    fn is_ours(&self, id: &[u8]) -> bool {
        id.len() == CID_BYTES && self.tag(&id[..NONCE_BYTES]) == id[NONCE_BYTES..]
    }

    /// Whether a datagram can be one for our endpoint: the first of a client, or one that names an id of ours.
    fn admits(&self, datagram: &[u8]) -> bool {
        let [first, rest @ ..] = datagram else { return false };
        if first & 0x40 == 0 {
            return false;
        }
        if first & 0x80 == 0 {
            return rest.get(..CID_BYTES).is_some_and(|id| self.is_ours(id));
        }
        let Some((version, rest)) = rest.split_first_chunk::<4>() else { return false };
        let Some((length, rest)) = rest.split_first() else { return false };
        let Some(destination) = rest.get(..usize::from(*length)) else { return false };
        let is_initial = first & 0x30 == 0;
        *version == QUIC_VERSION
            && (self.is_ours(destination) || (is_initial && datagram.len() >= INITIAL_BYTES_MIN))
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CID_BYTES];
        // Should the system's randomness fail later than at the start, ids repeat, and QUIC asks for another one.
        if ring::rand::SystemRandom::new().fill(&mut id[..NONCE_BYTES]).is_err() {
            tracing::warn!(target: "audiocloud::socket", "the system gives no random numbers");
        }
        let tag = self.tag(&id[..NONCE_BYTES]);
        id[NONCE_BYTES..].copy_from_slice(&tag);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// What the runtime shares with its socket.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    table: Mutex<AddressTable>,
    /// Datagrams that no QUIC endpoint of ours was meant by.
    pub(crate) garbage: AtomicU64,
    /// Datagrams to an address that is forgotten or out of the socket's family.
    pub(crate) unroutable: AtomicU64,
}

impl Paths {
    pub(crate) fn table(&self) -> MutexGuard<'_, AddressTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(crate) struct PathSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    paths: Arc<Paths>,
    ids: ConnectionIds,
    ipv6: bool,
    logged: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for PathSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PathSocket").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl PathSocket {
    pub(crate) fn new(
        inner: Arc<dyn AsyncUdpSocket>,
        paths: Arc<Paths>,
        ids: ConnectionIds,
    ) -> io::Result<Self> {
        let ipv6 = inner.local_addr()?.is_ipv6();
        Ok(Self { inner, paths, ids, ipv6, logged: Mutex::new(None) })
    }

    /// Whether any of the datagrams that the kernel put together in `bytes` is for us.
    fn admits(&self, bytes: &[u8], meta: &RecvMeta, pinned: bool) -> bool {
        // An address in use may also send a stateless reset, which looks like noise. QUIC tells the two apart.
        if pinned && bytes.first().is_some_and(|first| first & 0x40 != 0) {
            return true;
        }
        bytes.chunks(meta.stride.max(1)).any(|datagram| self.ids.admits(datagram))
    }

    fn count_garbage(&self, meta: &RecvMeta) {
        let count = self.paths.garbage.fetch_add(1, Ordering::Relaxed) + 1;
        let now = Instant::now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| now.duration_since(at) >= LOG_INTERVAL) {
            *logged = Some(now);
            tracing::warn!(
                target: "audiocloud::socket", from = %meta.addr, bytes = meta.len, count,
                "a datagram that is not ours was dropped"
            );
        }
    }
}

impl AsyncUdpSocket for PathSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let real = self.paths.table().real_of(transmit.destination);
        let Some(destination) = real.and_then(|real| for_family(real, self.ipv6)) else {
            self.paths.unroutable.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        self.inner.try_send(&Transmit { destination, ..transmit.clone() })
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.inner.poll_recv(context, buffers, metas))?;
        let mut table = self.paths.table();
        for (buffer, meta) in buffers.iter().zip(metas.iter_mut()).take(received) {
            let pinned = table.is_pinned(meta.addr);
            let bytes = buffer.get(..meta.len).unwrap_or_default();
            if self.admits(bytes, meta, pinned) {
                meta.addr = table.virtual_of(meta.addr);
            } else {
                self.count_garbage(meta);
                // An entry without bytes is skipped by QUIC.
                meta.len = 0;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_ours_are_known_again() {
        let mut ids = ConnectionIds::new().unwrap();
        let other = ConnectionIds::new().unwrap();
        let id = ids.generate_cid();
        assert!(ids.is_ours(&id));
        assert!(!other.is_ours(&id));
        assert!(!ids.is_ours(&id[..7]));
    }

    #[test]
    fn the_door_knows_what_may_be_ours() {
        let mut ids = ConnectionIds::new().unwrap();
        let id = ids.generate_cid();
        let check = |datagram: &[u8], expected| assert_eq!(ids.admits(datagram), expected, "{datagram:02x?}");
        check(&[], false);
        check(&[0x40], false);
        check(&[0; 1200], false);
        check(&[0xff; 1200], false);
        check(&[&[0x41][..], &id[..], &[9; 30]].concat(), true);
        check(&[&[0x01][..], &id[..], &[9; 30]].concat(), false);
        check(&[&[0x41][..], &[7; 8], &[9; 30]].concat(), false);
        let mut initial = [0; 1200];
        initial[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 8]);
        check(&initial, true);
        check(&initial[..1199], false);
        initial[4] = 2;
        check(&initial, false);
        check(&[&[0xe0, 0, 0, 0, 1, 8][..], &id[..], &[0; 9]].concat(), true);
        check(&[0xe0, 0, 0, 0, 1, 255, 1], false);
    }
}
