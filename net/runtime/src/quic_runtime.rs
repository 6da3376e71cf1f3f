//! What QUIC has of the event loop.

use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::time::{Sleep, sleep_until};

use crate::kernel_socket;

/// Tokio's, but for what would wake the network thread for nothing.
#[derive(Debug)]
pub(crate) struct QuicRuntime;

impl Runtime for QuicRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer { sleep: Box::pin(sleep_until(at.into())) })
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        kernel_socket::wrap(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// A connection's timer, which moves on with each packet that it sends. One of Tokio's that is moved on rings at its old
/// time all the same, if only to be set anew, and wakes the thread for that; a new one does not.
#[derive(Debug)]
struct Timer {
    sleep: Pin<Box<Sleep>>,
}

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        self.sleep.set(sleep_until(at.into()));
    }

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Future::poll(self.sleep.as_mut(), context)
    }
}
