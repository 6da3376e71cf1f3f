//! Congestion control for media, as quinn wants it: measured by [`rate_control`], kept by the [`Outlet`].
//!
//! The window that quinn is told never holds media back: on a path without a cap it is beyond every flow, which also
//! switches quinn's pacer off; with a cap it is twice what the cap leaves in flight, a second fence that only those meet
//! who do not go through the outlet. So a packet leaves when it is given, or its owner is told at once that it does not.

mod cubic;
mod rate_control;
mod shaper;
mod share;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn::{Connection, SendDatagramError};
use quinn_proto::RttEstimator;

use rate_control::RateControl;
use shaper::Shaper;
pub(crate) use share::shares;

/// Beyond 2^32 quinn's pacer lets everything pass.
const WINDOW_OPEN: u64 = 1 << 40;
const WINDOW_MIN: f64 = 64e3;
/// Acknowledgements may wait for so long in the peer, and be held up here.
const ACKNOWLEDGEMENT_DELAY: f64 = 0.1;
/// What QUIC adds to a datagram: short header with an id of 8 bytes, a packet number of 1 or 2, tag, type and length.
const QUIC_BYTES: usize = 30;
/// How often an outlet asks for the cap.
const REFRESH: Duration = Duration::from_millis(10);

/// A path as its sender sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PathState {
    /// In bit/s with QUIC's headers, without those of IP and UDP; none where the path carries what is sent.
    pub(crate) rate_cap_bps: Option<u64>,
    /// By which even the quickest packets of the last round trip were late.
    pub(crate) queueing_delay: Duration,
    /// The part of the bytes that was lost lately, 0 to 1.
    pub(crate) loss: f64,
    /// Another flow keeps the path's queue filled.
    pub(crate) competing: bool,
}

/// How the connection's path is. Takes the connection's lock once: for every few milliseconds, not for every packet.
pub(crate) fn path_state(connection: &Connection) -> Option<PathState> {
    let figures = control(connection)?.figures();
    Some(PathState {
        rate_cap_bps: figures.cap.map(|cap| bytes(8.0 * cap)),
        queueing_delay: figures.queueing_delay,
        loss: figures.loss,
        competing: figures.competing,
    })
}

/// What media may have on the connection's path in bit/s, if there is a limit: of [`PathState`].
pub(crate) fn rate_cap(connection: &Connection) -> Option<u64> {
    path_state(connection)?.rate_cap_bps
}

/// The connection's packets take another path from now on: what was measured is history.
pub(crate) fn path_changed(connection: &Connection) {
    if let Some(controller) = controller(connection) {
        controller.paths.fetch_add(1, Ordering::Relaxed);
    }
}

fn control(connection: &Connection) -> Option<RateControl> {
    Some(controller(connection)?.control)
}

/// A copy of it.
fn controller(connection: &Connection) -> Option<Box<MediaController>> {
    connection.congestion_state().into_any().downcast().ok()
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Queued,
    /// It is beyond the path's cap.
    BeyondCap,
    /// It waits in the place of older ones, which the socket did not take in time: about so many.
    QueuedInPlaceOf(u32),
    /// It is too large for the path, or the peer takes no datagrams.
    Unsendable,
    /// The connection has ended.
    Gone,
}

/// The way out for a connection's datagrams.
#[derive(Debug)]
pub(crate) struct Outlet {
    connection: Connection,
    shaper: Shaper,
    refreshed: Option<Instant>,
}

impl Outlet {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, shaper: Shaper::new(Instant::now()), refreshed: None }
    }

    /// Media, within the cap.
    pub(crate) fn send(&mut self, datagram: Bytes, now: Instant) -> Sent {
        if self.refreshed.is_none_or(|at| now.saturating_duration_since(at) >= REFRESH) {
            self.refreshed = Some(now);
            let cap = control(&self.connection).and_then(|control| control.figures().cap);
            self.shaper.set_cap(cap, now);
        }
        if !self.shaper.admits(datagram.len() + QUIC_BYTES, now) {
            return Sent::BeyondCap;
        }
        self.send_always(datagram)
    }

    /// What is small and tells the peer how its media fares: no cap holds for it.
    pub(crate) fn send_always(&self, datagram: Bytes) -> Sent {
        let (bytes, room) = (datagram.len(), self.connection.datagram_send_buffer_space());
        match self.connection.send_datagram(datagram) {
            Ok(()) if room >= bytes => Sent::Queued,
            // QUIC drops the oldest, and tells nobody. They are about as long.
            Ok(()) => {
                let left = self.connection.datagram_send_buffer_space();
                let dropped = left.saturating_sub(room).div_ceil(bytes.max(1)) + 1;
                Sent::QueuedInPlaceOf(u32::try_from(dropped).unwrap_or(u32::MAX))
            }
            Err(SendDatagramError::ConnectionLost(_)) => Sent::Gone,
            Err(_) => Sent::Unsendable,
        }
    }
}

/// For each connection's path.
#[derive(Clone, Debug)]
pub(crate) struct MediaController {
    control: RateControl,
    /// How many paths the connection has had, as those know who change them beneath QUIC, and as is known here.
    paths: Arc<AtomicU32>,
    path: u32,
}

impl MediaController {
    fn follow(&mut self, now: Instant) {
        let path = self.paths.load(Ordering::Relaxed);
        if path != self.path {
            self.path = path;
            self.control = RateControl::new(now);
        }
    }
}

impl Controller for MediaController {
    fn on_sent(&mut self, _now: Instant, bytes: u64, _last_packet_number: u64) {
        self.control.handle_sent(bytes);
    }

    fn on_ack(&mut self, _now: Instant, sent: Instant, bytes: u64, _app_limited: bool, _rtt: &RttEstimator) {
        self.control.handle_ack(sent, bytes);
    }

    fn on_end_acks(&mut self, now: Instant, _in_flight: u64, _app_limited: bool, _largest: Option<u64>) {
        self.follow(now);
        self.control.handle_acks_end(now);
    }

    /// A mark of congestion comes without bytes. Outages are not taken for congestion, however long.
    fn on_congestion_event(&mut self, _now: Instant, sent: Instant, _persistent: bool, lost_bytes: u64) {
        self.control.handle_lost(sent, lost_bytes);
    }

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        self.control.figures().cap.map_or(WINDOW_OPEN, |cap| {
            let in_flight = cap * (self.control.round_trip().as_secs_f64() + ACKNOWLEDGEMENT_DELAY);
            bytes((2.0 * in_flight).max(WINDOW_MIN))
        })
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.window();
        metrics.pacing_rate = self.control.figures().cap.map(|cap| bytes(8.0 * cap));
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        WINDOW_OPEN
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Makes a [`MediaController`] for each path.
#[derive(Debug)]
pub(crate) struct MediaControllers;

impl ControllerFactory for MediaControllers {
    fn build(self: Arc<Self>, now: Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(MediaController { control: RateControl::new(now), paths: Arc::default(), path: 0 })
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive rate or size, far below 2^63"
)]
fn bytes(value: f64) -> u64 {
    value as u64
}
