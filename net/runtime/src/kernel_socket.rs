//! The kernel's UDP socket, as QUIC wants it.
//!
//! On Linux the event loop watches it for datagrams alone. Otherwise each datagram that leaves would be an event, for it
//! makes room for another, and the network thread would run a round for nothing after each packet.

pub(crate) use imp::wrap;

#[cfg(target_os = "linux")]
mod imp {
    use std::io::{self, ErrorKind, IoSliceMut};
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::AsFd;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll, ready};

    use quinn::udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
    use quinn::{AsyncUdpSocket, UdpPoller};
    use tokio::io::Interest;

    use crate::readiness::Readiness;

    /// Hands it over to QUIC, within an event loop.
    pub(crate) fn wrap(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(KernelSocket::new(socket)?))
    }

    /// See the module.
    #[derive(Debug)]
    struct KernelSocket {
        socket: UdpSocket,
        state: UdpSocketState,
        datagrams: Readiness,
        /// The kernel refused a datagram, and nobody has seen room since.
        is_full: AtomicBool,
    }

    impl KernelSocket {
        fn new(socket: UdpSocket) -> io::Result<Self> {
            let state = UdpSocketState::new((&socket).into())?;
            let datagrams = Readiness::new(socket.as_fd(), Interest::READABLE)?;
            Ok(Self { socket, state, datagrams, is_full: AtomicBool::new(false) })
        }
    }

    impl AsyncUdpSocket for KernelSocket {
        fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            Box::pin(Room { socket: self, awaited: None })
        }

        fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            let sent = self.state.send((&self.socket).into(), transmit);
            if sent.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                self.is_full.store(true, Ordering::Relaxed);
            }
            sent
        }

        /// Fewer datagrams than there was room for are all there were, and the next one is an event again: so nobody asks
        /// a second time to be told that there are none.
        fn poll_recv(
            &self,
            context: &mut Context<'_>,
            buffers: &mut [IoSliceMut<'_>],
            metas: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            loop {
                let mut ready = ready!(self.datagrams.poll_read(context))?;
                match self.state.recv((&self.socket).into(), buffers, metas) {
                    Ok(count) => {
                        if count < buffers.len().min(BATCH_SIZE) {
                            ready.clear_ready();
                        }
                        return Poll::Ready(Ok(count));
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => ready.clear_ready(),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            self.socket.local_addr()
        }

        fn max_transmit_segments(&self) -> usize {
            self.state.max_gso_segments()
        }

        fn max_receive_segments(&self) -> usize {
            self.state.gro_segments()
        }

        fn may_fragment(&self) -> bool {
            self.state.may_fragment()
        }
    }

    /// Tells one connection when there is room for what it has to send.
    #[derive(Debug)]
    struct Room {
        socket: Arc<KernelSocket>,
        /// While there is none.
        awaited: Option<Readiness>,
    }

    impl UdpPoller for Room {
        fn poll_writable(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            let Self { socket, awaited } = self.get_mut();
            if awaited.is_none() && !socket.is_full.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            let room = match awaited {
                Some(room) => room,
                None => awaited.insert(Readiness::new(socket.socket.as_fd(), Interest::WRITABLE)?),
            };
            ready!(room.poll_write(context))?;
            *awaited = None;
            socket.is_full.store(false, Ordering::Relaxed);
            Poll::Ready(Ok(()))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::future::poll_fn;
        use std::net::Ipv4Addr;

        fn transmit(to: SocketAddr, contents: &[u8]) -> Transmit<'_> {
            Transmit { destination: to, ecn: None, contents, segment_size: None, src_ip: None }
        }

        /// The lengths of the datagrams that are there.
        async fn receive(socket: &dyn AsyncUdpSocket) -> Vec<usize> {
            let mut storage = vec![[0; 64]; BATCH_SIZE];
            let mut buffers: Vec<_> = storage.iter_mut().map(|one| IoSliceMut::new(one)).collect();
            let mut metas = vec![RecvMeta::default(); BATCH_SIZE];
            let count = poll_fn(|context| socket.poll_recv(context, &mut buffers, &mut metas)).await.unwrap();
            metas[..count].iter().flat_map(|meta| vec![meta.stride; meta.len / meta.stride]).collect()
        }

        #[tokio::test]
        async fn datagrams_come_in_batches_and_one_by_one() {
            let any = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let (one, two) = (wrap(any()).unwrap(), wrap(any()).unwrap());
            let to = two.local_addr().unwrap();
            for round in 0..3 {
                // More than one call takes, of different lengths, so that the kernel does not put them together.
                for length in 1..=50 {
                    one.try_send(&transmit(to, &[7; 64][..length])).unwrap();
                }
                let mut lengths = Vec::new();
                while lengths.len() < 50 {
                    lengths.extend(receive(&*two).await);
                }
                assert_eq!(lengths, (1..=50).collect::<Vec<_>>(), "round {round}");
                for length in 1..=3 {
                    one.try_send(&transmit(to, &[7; 64][..length])).unwrap();
                    assert_eq!(receive(&*two).await, [length], "round {round}");
                }
            }
        }

        #[tokio::test]
        async fn a_socket_that_was_full_sends_again() {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let socket = Arc::new(KernelSocket::new(socket).unwrap());
            let mut room = Arc::clone(&socket).create_io_poller();
            for _ in 0..2 {
                socket.is_full.store(true, Ordering::Relaxed);
                poll_fn(|context| room.as_mut().poll_writable(context)).await.unwrap();
                assert!(!socket.is_full.load(Ordering::Relaxed));
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::net::UdpSocket;
    use std::sync::Arc;

    use quinn::{AsyncUdpSocket, Runtime as _};

    /// Hands it over to QUIC, within an event loop.
    pub(crate) fn wrap(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        quinn::TokioRuntime.wrap_udp_socket(socket)
    }
}
