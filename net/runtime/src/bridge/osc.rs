//! REAPER, by OSC: what it is told goes to one UDP port, and nothing is heard back.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use audiocloud_osc::conductor::{Conductor, Order};
use audiocloud_osc::reaper;
use audiocloud_units::Nanos;

use super::SharedBeat;
use super::worker::{Stage, Worker};

/// Orders of which REAPER's machine said that nobody takes them, until it is called absent.
const REFUSALS: u32 = 2;

/// Tells the REAPER that listens at `address`.
pub(super) fn start(beat: Arc<dyn SharedBeat>, address: SocketAddr) -> Worker {
    Worker::start("OSC", move |stage| match connect(address) {
        Ok(socket) => tell(stage, &*beat, &socket, address),
        Err(error) => {
            let trouble = format!("{address} cannot be reached ({error}); is the address right?");
            stage.say("off", 0, Some(trouble));
            while !stage.is_over() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    })
}

/// A socket that sends to `address` alone.
pub(super) fn connect(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    Ok(socket)
}

fn tell(stage: &Stage, beat: &dyn SharedBeat, socket: &UdpSocket, address: SocketAddr) {
    let mut conductor = Conductor::new(Nanos::ZERO);
    let (mut refused, mut lost) = (0, 0_u64);
    while !stage.is_over() {
        let now = beat.now();
        let timeline = beat.timeline();
        for order in conductor.poll(&timeline, now, true) {
            tracing::debug!(target: "audiocloud::bridge", ?order, "OSC");
            match socket.send(&reaper::datagram(order)) {
                Ok(_) => refused = 0,
                // The answer to what was sent before: nobody listens there.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    refused += 1;
                    // It was not sent then.
                    lost += u64::from(socket.send(&reaper::datagram(order)).is_err());
                }
                Err(_) => lost += 1,
            }
        }
        say(stage, &conductor, address, refused, lost);
        let wait = (conductor.next(&timeline, beat.now()) - beat.now()).max(Nanos::ZERO);
        std::thread::sleep(duration(wait));
    }
    if conductor.is_playing() {
        // The beat goes away, so the DAW stands still.
        socket.send(&reaper::datagram(Order::Stop)).ok();
    }
}

fn say(stage: &Stage, conductor: &Conductor, address: SocketAddr, refused: u32, lost: u64) {
    let words = words(conductor, &format!("REAPER at {address}"));
    let trouble = if refused >= REFUSALS {
        Some(format!(
            "nobody listens at {address}: in REAPER, add a control surface \"OSC\" with this local listen port"
        ))
    } else {
        (lost > 0).then(|| format!("{lost} messages could not be sent to {address}; is it in this network?"))
    };
    stage.say(words, 0, trouble);
}

/// What somebody was told last.
pub(super) fn words(conductor: &Conductor, whom: &str) -> String {
    match (conductor.bpm(), conductor.is_playing()) {
        (None, _) => format!("no beat yet for {whom}"),
        (Some(bpm), true) => format!("{whom} plays, at {bpm:.2} bpm"),
        (Some(bpm), false) => format!("{whom} stands still, at {bpm:.2} bpm"),
    }
}

pub(super) fn duration(nanos: Nanos) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.get()).unwrap_or(0))
}
