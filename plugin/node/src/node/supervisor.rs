//! What a node tells the service manager that started it (systemd's protocol, sd_notify(3)): that it is ready, that it
//! ends, and how it stands.
//!
//! One datagram to the socket that `NOTIFY_SOCKET` names. Without one there is nobody to be told.

/// The manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    #[cfg(target_os = "linux")]
    socket: Option<std::os::unix::net::UnixDatagram>,
}

impl Supervisor {
    /// The one of the environment.
    #[cfg(target_os = "linux")]
    pub(crate) fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let connected = connect(&name);
        if let Err(error) = &connected {
            tracing::warn!(target: "audiocloud::node", %error, "the service manager cannot be told that the node is ready");
        }
        Self { socket: connected.ok() }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn from_environment() -> Self {
        Self::default()
    }

    /// It serves from now on.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// It ends within this time.
    pub(crate) fn stopping(&self, within: std::time::Duration) {
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}\nSTATUS=draining", within.as_micros()));
    }

    #[cfg(target_os = "linux")]
    fn tell(&self, state: &str) {
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.send(state.as_bytes())) {
            tracing::debug!(target: "audiocloud::node", %error, "the service manager does not listen");
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn tell(&self, _state: &str) {}
}

fn line(text: &str) -> String {
    text.replace('\n', " ")
}

#[cfg(target_os = "linux")]
fn connect(name: &std::ffi::OsStr) -> std::io::Result<std::os::unix::net::UnixDatagram> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let socket = UnixDatagram::unbound()?;
    // An @ stands for the zero byte of an abstract name.
    match name.as_bytes() {
        [b'@', rest @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(rest)?)?,
        _ => socket.connect(name)?,
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn the_manager_is_told_on_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor { socket: Some(connect(path.as_os_str()).unwrap()) };
        supervisor.ready("two\nlines");
        supervisor.stopping(std::time::Duration::from_secs(2));
        let read = || {
            let mut bytes = [0; 256];
            let length = manager.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..length].to_vec()).unwrap()
        };
        assert_eq!(read(), "READY=1\nSTATUS=two lines");
        assert_eq!(read(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000\nSTATUS=draining");
        Supervisor::default().ready("nobody hears");
    }
}
