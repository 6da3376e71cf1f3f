//! One TCP flow with CUBIC between two sites, as fast as it goes: the kernel's own, the company that streams have to live
//! with.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use rustix::net::sockopt::set_tcp_congestion;

use super::network::{self, Site};

const PORT: u16 = 5001;

/// A running flow.
#[derive(Debug)]
pub(crate) struct Flow {
    socket: TcpStream,
    threads: Vec<JoinHandle<()>>,
}

impl Flow {
    /// Begins to send from one site to the other.
    pub(crate) fn start(from: Site, to: Site) -> Result<Self> {
        let (listening, is_listening) = channel();
        let sink = std::thread::spawn(move || {
            let listener = network::enter(to).and_then(|()| Ok(TcpListener::bind((to.address(), PORT))?));
            let told = listening.send(listener.as_ref().map(|_| ()).map_err(ToString::to_string));
            let Some(listener) = listener.ok().filter(|_| told.is_ok()) else { return };
            if let Ok((mut stream, _)) = listener.accept() {
                let mut bytes = vec![0; 1 << 16];
                while stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
            }
        });
        is_listening.recv()?.map_err(anyhow::Error::msg).context("the flow's sink")?;
        let (connected, is_connected) = channel();
        let source = std::thread::spawn(move || {
            let connect = || -> Result<TcpStream> {
                network::enter(from)?;
                let stream = TcpStream::connect((to.address(), PORT))?;
                set_tcp_congestion(&stream, "cubic")?;
                Ok(stream)
            };
            let stream = connect().map_err(|error| error.to_string());
            let mut own = stream.as_ref().ok().and_then(|stream| stream.try_clone().ok());
            if connected.send(stream).is_err() {
                return;
            }
            let bytes = vec![0; 1 << 16];
            while let Some(stream) = &mut own {
                match stream.write(&bytes) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
        let socket = is_connected.recv()?.map_err(anyhow::Error::msg).context("the flow's source")?;
        Ok(Self { socket, threads: vec![sink, source] })
    }

    /// Ends it.
    pub(crate) fn end(self) {
        // It may have broken by itself.
        self.socket.shutdown(Shutdown::Both).ok();
        for thread in self.threads {
            thread.join().ok();
        }
    }
}
