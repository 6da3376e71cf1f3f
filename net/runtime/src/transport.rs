//! How QUIC behaves under us: datagrams for media, short timeouts, few acknowledgements, and congestion
//! control that lets media through.

use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, EndpointConfig, IdleTimeout, TransportConfig, VarInt};

use crate::Error;
use crate::congestion::MediaControllers;
use crate::connection_ids::ConnectionIds;

/// What may wait for the socket, and for us: a fifth of a second of 64 stereo streams of 24 bits, for a thread that the
/// machine held up. Congestion makes nothing wait here: what a path does not carry is refused before (`congestion`).
const DATAGRAM_QUEUE_BYTES: usize = 4 << 20;
const DATAGRAM_RECEIVE_BYTES: usize = 4 << 20;
/// The datagrams of the wire format fit this, and it fits every path that QUIC is for (RFC 9000, clause 14).
const MTU_BYTES: u16 = 1200;
const CONTROL_WINDOW_BYTES: u32 = 256 << 10;
/// Streams beside the control stream: one for each chain that is rendered exactly.
const EXACT_STREAMS: u32 = 16;
const KEEP_ALIVE: Duration = Duration::from_millis(400);
/// Three keep-alives may be lost. A peer that is gone is noticed within two seconds: the time begins anew with the first packet
/// that is sent after the last that came (RFC 9000, clause 10.1).
const IDLE_TIMEOUT_MS: u32 = 1500;
/// One acknowledgement for so many packets, at the latest after so long. The number decides wherever media comes in 12
/// packets within that time, so from blocks of 128 frames down: then the last packet brings the acknowledgement about, no
/// timer wakes the thread for it, and the round trip that it tells has no waiting in it. Fewer than 128 packets are
/// unacknowledged within 40 ms even at 2,700 a second, so that their numbers stay one byte long there.
const ACKNOWLEDGED_PACKETS: u32 = 12;
const ACKNOWLEDGED_AFTER: Duration = Duration::from_millis(36);
/// A packet that so many later ones, or two round trips, have overtaken is lost; before that it was reordered. Media is
/// asked for again by its receivers, so nothing waits for this but messages and the figures.
const REORDERED_PACKETS: u32 = 512;
const REORDERED_ROUND_TRIPS: f32 = 2.0;

/// For both sides of every connection.
pub(crate) fn transport() -> Arc<TransportConfig> {
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements
        .ack_eliciting_threshold(VarInt::from_u32(ACKNOWLEDGED_PACKETS - 1))
        .max_ack_delay(Some(ACKNOWLEDGED_AFTER))
        // A packet that is missing hurries nobody.
        .reordering_threshold(VarInt::from_u32(0));
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
        .packet_threshold(REORDERED_PACKETS)
        .time_threshold(REORDERED_ROUND_TRIPS)
        .ack_frequency_config(Some(acknowledgements))
        .congestion_controller_factory(Arc::new(MediaControllers));
    Arc::new(config)
}

/// For a peer that has been let in: streams for chains that are rendered exactly, each as wide as the control stream, so that
/// one whose rings are full holds up no other.
pub(crate) fn widen(connection: &quinn::Connection) {
    let window = (2 + EXACT_STREAMS) * CONTROL_WINDOW_BYTES;
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(1 + EXACT_STREAMS));
    connection.set_receive_window(VarInt::from_u32(window));
    connection.set_send_window(window.into());
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use bytes::Bytes;
    use quinn::{Connection, Endpoint};

    use crate::congestion::{Outlet, Sent};
    use crate::identity::Identity;
    use crate::tls;

    /// The dialler's end, the other one, and what keeps them alive.
    async fn connected() -> (Connection, Connection, [Endpoint; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(folder.path()).unwrap();
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let server = Endpoint::server(tls::server_config(&identity, 1, false).unwrap(), address).unwrap();
        let client = Endpoint::client(address).unwrap();
        let (config, _) = tls::client_config(&identity, None).unwrap();
        let connecting = client.connect_with(config, server.local_addr().unwrap(), tls::SERVER_NAME).unwrap();
        let (one, two) = tokio::join!(connecting, async { server.accept().await.unwrap().await });
        (one.unwrap(), two.unwrap(), [client, server])
    }

    #[tokio::test]
    async fn a_message_overtakes_the_media_that_waits() {
        let (one, _two, _endpoints) = connected().await;
        let (mut send, _receive) = one.open_bi().await.unwrap();
        let before = one.stats().frame_tx;
        let waiting = 4800;
        for _ in 0..waiting {
            assert!(one.datagram_send_buffer_space() >= 802, "the queue holds them all");
            one.send_datagram(Bytes::from_static(&[0; 802])).unwrap();
        }
        send.write_all(b"a message").await.unwrap();
        while one.stats().frame_tx.stream == before.stream {
            tokio::task::yield_now().await;
        }
        let overtook = waiting - (one.stats().frame_tx.datagram - before.datagram);
        // Some 1200 leave before the connection's task lets this one look.
        assert!(overtook > waiting / 2, "only {overtook} datagrams were overtaken");
    }

    #[tokio::test]
    async fn where_there_is_no_room_the_oldest_go() {
        let (one, two, _endpoints) = connected().await;
        let mut outlet = Outlet::new(one.clone());
        let now = Instant::now();
        // Nothing is taken away meanwhile: this thread is the connection's as well.
        let mut queued: u32 = 0;
        let full = loop {
            let datagram: Vec<u8> = queued.to_be_bytes().repeat(200);
            match outlet.send(datagram.into(), now) {
                Sent::Queued => queued += 1,
                other => break other,
            }
        };
        assert_eq!(full, Sent::QueuedInPlaceOf(1));
        let first = two.read_datagram().await.unwrap();
        assert_eq!(first[..4], 1_u32.to_be_bytes(), "the oldest went");
    }

    #[tokio::test]
    async fn many_packets_have_one_acknowledgement() {
        let (one, two, _endpoints) = connected().await;
        let before = two.stats().frame_tx.acks;
        // As at media's rates: several packets for each callback, callbacks a while apart.
        for _ in 0..50 {
            for _ in 0..24 {
                one.send_datagram(Bytes::from_static(&[0; 802])).unwrap();
            }
            for _ in 0..24 {
                two.read_datagram().await.unwrap();
            }
        }
        let acknowledgements = two.stats().frame_tx.acks - before;
        assert!(acknowledgements <= 50 * 24 / 8, "{acknowledgements} acknowledgements of 1200 packets");
        assert!(acknowledgements >= 50 * 24 / 64, "{acknowledgements} acknowledgements of 1200 packets");
    }
}
