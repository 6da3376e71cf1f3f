//! How QUIC behaves under us: datagrams for media, short timeouts, and a congestion controller that lets media through.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory};
use quinn::{EndpointConfig, IdleTimeout, TransportConfig, VarInt};

use crate::Error;
use crate::socket::ConnectionIds;

/// What may be in flight before QUIC holds media back: 80 Mbit/s at a round trip of 400 ms.
const WINDOW_BYTES: u64 = 4 << 20;
/// What may wait for the socket. A burst of eight blocks of eight channels, 480 frames each, fits.
pub(crate) const DATAGRAM_QUEUE_BYTES: usize = 160 << 10;
/// What may wait for us.
const DATAGRAM_RECEIVE_BYTES: usize = 1 << 20;
/// The datagrams of the wire format fit this, and it fits every path that QUIC is for (RFC 9000, clause 14).
const MTU_BYTES: u16 = 1200;
const CONTROL_WINDOW_BYTES: u32 = 256 << 10;
const KEEP_ALIVE: Duration = Duration::from_millis(400);
const IDLE_TIMEOUT_MS: u32 = 2000;

/// A window that neither loss nor delay moves: media has the rate that it has. What is lost is counted, and the streams
/// above see to it.
#[derive(Clone, Copy, Debug)]
struct MediaController;

impl Controller for MediaController {
    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, _persistent: bool, _lost_bytes: u64) {}

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        WINDOW_BYTES
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(*self)
    }

    fn initial_window(&self) -> u64 {
        WINDOW_BYTES
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl ControllerFactory for MediaController {
    fn build(self: Arc<Self>, _now: Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(*self)
    }
}

/// For both sides of every connection.
pub(crate) fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(CONTROL_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(2 * CONTROL_WINDOW_BYTES))
        .send_window(u64::from(2 * CONTROL_WINDOW_BYTES))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_mtu(MTU_BYTES)
        .min_mtu(MTU_BYTES)
        // Packets of the wire format would not grow with it, and each probe that fails is a loss.
        .mtu_discovery_config(None)
        .datagram_send_buffer_size(DATAGRAM_QUEUE_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES))
        .congestion_controller_factory(Arc::new(MediaController));
    Arc::new(config)
}

/// For the endpoint: ids that our socket knows again.
pub(crate) fn endpoint(ids: ConnectionIds) -> Result<EndpointConfig, Error> {
    let mut config = EndpointConfig::default();
    config
        .cid_generator(move || Box::new(ids))
        // The door sorts by this bit.
        .grease_quic_bit(false)
        .supported_versions(vec![1])
        .max_udp_payload_size(1472)
        .map_err(|error| Error::Tls(error.to_string()))?;
    Ok(config)
}
