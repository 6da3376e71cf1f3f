//! A long way between two processes of one machine: a port that passes on datagrams, both ways, after a while.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest datagram there is.
const BYTES: usize = 65_536;
/// How exactly datagrams are late.
const GRAIN: Duration = Duration::from_micros(100);

/// One that runs; it ends with this.
#[derive(Debug)]
pub struct Distance {
    /// Where the near end sends to.
    pub near: SocketAddr,
    is_over: Arc<AtomicBool>,
    ways: Vec<JoinHandle<()>>,
}

impl Distance {
    /// From whoever sends to [`Distance::near`] to the loopback interface's port, and back.
    ///
    /// # Panics
    /// No sockets can be had.
    pub fn to(port: u16, each_way: Duration) -> Self {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
            socket.set_nonblocking(true).expect("a socket that does not wait");
            Arc::new(socket)
        };
        let (near, far) = (socket(), socket());
        let address = near.local_addr().expect("an address");
        far.connect((Ipv4Addr::LOCALHOST, port)).expect("a far end");
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let passing = std::thread::Builder::new().name("distance".into()).spawn(move || {
            pass(&near, &far, each_way, &over);
        });
        Self { near: address, is_over, ways: vec![passing.expect("a thread")] }
    }
}

impl Drop for Distance {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for way in self.ways.drain(..) {
            // What it panicked of has been told.
            way.join().ok();
        }
    }
}

fn pass(near: &UdpSocket, far: &UdpSocket, each_way: Duration, is_over: &AtomicBool) {
    let mut back_to = None;
    let mut under_way: [VecDeque<(Instant, Vec<u8>)>; 2] = [VecDeque::new(), VecDeque::new()];
    let mut bytes = vec![0; BYTES];
    while !is_over.load(Ordering::Relaxed) {
        let [there, back] = &mut under_way;
        while let Some((length, from)) = received(near.recv_from(&mut bytes)) {
            back_to = Some(from);
            there.push_back((Instant::now() + each_way, bytes[..length].to_vec()));
        }
        while let Some(length) = received(far.recv(&mut bytes)) {
            back.push_back((Instant::now() + each_way, bytes[..length].to_vec()));
        }
        // What the kernel does not take is lost, as on any way.
        due(there, |datagram| drop(far.send(datagram)));
        due(back, |datagram| drop(back_to.map(|to| near.send_to(datagram, to))));
        std::thread::sleep(GRAIN);
    }
}

/// Nothing where there is none, or where the other end is not there yet.
fn received<T>(result: std::io::Result<T>) -> Option<T> {
    result
        .inspect_err(|error| {
            assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused), "{error}");
        })
        .ok()
}

fn due(waiting: &mut VecDeque<(Instant, Vec<u8>)>, mut send: impl FnMut(&[u8])) {
    while waiting.front().is_some_and(|(at, _)| *at <= Instant::now()) {
        let (_, datagram) = waiting.pop_front().expect("there is one");
        send(&datagram);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_late_by_as_much_as_asked_for_both_ways() {
        let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let distance = Distance::to(far.local_addr().expect("an address").port(), Duration::from_millis(20));
        let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let sent = Instant::now();
        near.send_to(b"there", distance.near).expect("sent");
        let mut bytes = [0; 9];
        let (length, from) = far.recv_from(&mut bytes).expect("received");
        assert!(&bytes[..length] == b"there" && sent.elapsed() >= Duration::from_millis(20));
        far.send_to(b"back", from).expect("sent");
        let (length, _) = near.recv_from(&mut bytes).expect("received");
        assert!(&bytes[..length] == b"back" && sent.elapsed() >= Duration::from_millis(40));
    }
}
