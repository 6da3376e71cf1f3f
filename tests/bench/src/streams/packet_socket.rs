//! Raw frames of one interface: Linux's packet sockets, and the scheduling of the thread that forwards them. The one file
//! of the streams' benchmark that calls the C library.

#![allow(unsafe_code, reason = "packet sockets and scheduling are the C library's")]

use std::ffi::CString;
use std::io;

use anyhow::{Context, Result};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// Room in the kernel for a burst that comes while the forwarder waits for a processor.
const KERNEL_BUFFER_BYTES: libc::c_int = 8 << 20;

/// Sends and receives whole frames; does not see those that it sent.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    socket: OwnedFd,
}

impl PacketSocket {
    /// Opens `interface` of the calling thread's network namespace.
    pub(crate) fn open(interface: &str) -> Result<Self> {
        let every_protocol = u16::try_from(libc::ETH_P_ALL)?.to_be();
        // SAFETY: it has no preconditions.
        let socket = unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(every_protocol))
        };
        if socket < 0 {
            return Err(io::Error::last_os_error()).context("a packet socket cannot be opened");
        }
        // SAFETY: the kernel has just given it to us, and nobody else closes it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let name = CString::new(interface)?;
        // SAFETY: the name ends in zero and lives during the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error()).with_context(|| format!("no interface {interface}"));
        }
        let opened = Self { socket };
        opened.bind(index, every_protocol)?;
        let membership = libc::packet_mreq {
            mr_ifindex: i32::try_from(index)?,
            mr_type: u16::try_from(libc::PACKET_MR_PROMISC)?,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        opened.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)?;
        opened.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32)?;
        opened.set(libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1_i32)?;
        opened.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &KERNEL_BUFFER_BYTES)?;
        opened.set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &KERNEL_BUFFER_BYTES)?;
        Ok(opened)
    }

    fn bind(&self, index: u32, protocol: u16) -> Result<()> {
        let address = libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET)?,
            sll_protocol: protocol,
            sll_ifindex: i32::try_from(index)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = u32::try_from(size_of_val(&address))?;
        // SAFETY: the address is of the socket's family, of the length that is given, and read during the call only.
        let result = unsafe { libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), length) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("bind") }
    }

    fn set<T>(&self, level: i32, option: i32, value: &T) -> Result<()> {
        let length = u32::try_from(size_of::<T>())?;
        let value: *const T = value;
        // SAFETY: every caller gives the option's own type, which is read during the call only.
        let result =
            unsafe { libc::setsockopt(self.socket.as_raw_fd(), level, option, value.cast(), length) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("setsockopt") }
    }

    /// The next frame's length, where there is one and it fits.
    pub(crate) fn receive(&self, frame: &mut [u8]) -> Result<Option<usize>> {
        match rustix::net::recv(&self.socket, frame, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            Ok((_, length)) => Ok(Some(length)),
            Err(Errno::AGAIN) => Ok(None),
            // The cable's other end goes with its namespace.
            Err(Errno::NETDOWN) => Ok(None),
            Err(error) => Err(error).context("receiving a frame"),
        }
    }

    /// Whether the kernel took the frame.
    pub(crate) fn send(&self, frame: &[u8]) -> bool {
        rustix::net::send(&self.socket, frame, SendFlags::DONTWAIT).is_ok()
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Puts the calling thread at SCHED_FIFO `priority`.
pub(crate) fn schedule_first_in_first_out(priority: i32) -> Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: thread 0 is the calling one, and the parameters are read during the call only.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("SCHED_FIFO is refused") }
}
