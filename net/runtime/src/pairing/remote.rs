//! Host and guest wherever they are: the room of a code's number at a meeting point, which passes their messages on.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use audiocloud_traversal::frame::ChannelId;
use audiocloud_traversal::meeting::{Message, Pass, Register, Room};
use audiocloud_traversal::probe::ProbeSecret;
use audiocloud_wire::id::{DeviceId, InstanceId};
use quinn::{Connection, Endpoint, RecvStream, Runtime, SendStream};
use ring::rand::SecureRandom;

use super::Error;
use super::line::{Line, read};
use crate::config::MeetingPoint;
use crate::connection_ids::ConnectionIds;
use crate::identity::Identity;
use crate::meeting::{by_udp_or_tcp, tunnel};
use crate::socket::{PathSocket, Paths};
use crate::{tls, transport};

const DIAL: Duration = Duration::from_secs(5);
/// Between two registrations, whatever the meeting point says.
const KEEP_MIN: Duration = Duration::from_secs(1);
const KEEP_MAX: Duration = Duration::from_secs(60);
/// What a guest says first, so that a host does not take another host for its guest.
const KNOCK: [u8; 1] = [0xff];
const NO_RANDOMNESS: &str = "this machine gives no random numbers";

/// A place in the room.
pub(super) struct Visit {
    send: SendStream,
    receive: RecvStream,
    connection: Connection,
    endpoint: Endpoint,
    address: String,
    /// Said again and again, to stay.
    register: Vec<u8>,
    keep: Duration,
    /// Who is here besides, by the channel towards them.
    met: Vec<(ChannelId, DeviceId)>,
}

/// What a meeting point is dialled by: UDP, and tunnels beneath the same endpoint.
struct Door {
    endpoint: Endpoint,
    paths: Arc<Paths>,
}

impl Door {
    fn open(address: SocketAddr) -> Result<Self, String> {
        let any: IpAddr = if address.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).map_err(words)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let ids = ConnectionIds::new().map_err(|_| NO_RANDOMNESS)?;
        let paths = Arc::new(Paths::new(ProbeSecret::from_bytes(random()?), None));
        let inner = runtime.wrap_udp_socket(socket).map_err(words)?;
        let socket = Arc::new(PathSocket::new(inner, Arc::clone(&paths), ids).map_err(words)?);
        let config = transport::endpoint(ids).map_err(words)?;
        let endpoint = Endpoint::new_with_abstract_socket(config, None, socket, runtime).map_err(words)?;
        Ok(Self { endpoint, paths })
    }

    /// By UDP, or where that does not get through, and the meeting point has a TCP port, by TLS over that.
    async fn dial(
        &self,
        identity: &Identity,
        point: &MeetingPoint,
        address: SocketAddr,
    ) -> Result<Connection, String> {
        let by_udp = self.connect(identity, point, address);
        let Some(port) = point.tls_port else { return by_udp.await };
        let by_tcp = async {
            let config = tls::tunnel_client_config(identity, DeviceId(point.device)).map_err(words)?;
            let address = SocketAddr::new(address.ip(), port);
            let tunnel = tunnel::open(address, config, &self.paths).await.map_err(words)?;
            let address = tunnel.address();
            // It ends with the event loop, which is the pairing's own.
            tokio::spawn(tunnel.carry());
            self.connect(identity, point, address).await
        };
        by_udp_or_tcp(by_udp, by_tcp).await
    }

    async fn connect(
        &self,
        identity: &Identity,
        point: &MeetingPoint,
        address: SocketAddr,
    ) -> Result<Connection, String> {
        let config = tls::meeting_client_config(identity, DeviceId(point.device)).map_err(words)?;
        let address = self.paths.table().pin(address);
        let connecting = self.endpoint.connect_with(config, address, tls::SERVER_NAME).map_err(words)?;
        let connection = tokio::time::timeout(DIAL, connecting).await;
        connection.map_err(|_| "it does not answer")?.map_err(words)
    }
}

/// Dials the meeting point and registers there.
pub(super) async fn enter(identity: &Identity, point: &MeetingPoint, slot: u16) -> Result<Visit, Error> {
    let trouble = |cause: String| Error::Meeting { address: point.address.clone(), cause };
    let entered = async {
        let mut found = tokio::net::lookup_host(&point.address).await.map_err(words)?;
        let address = found.next().ok_or("its name has no address")?;
        let door = Door::open(address)?;
        let connection = door.dial(identity, point, address).await?;
        let (mut send, receive) = connection.open_bi().await.map_err(words)?;
        let register = Register {
            room: Room::of_slot(slot.into()),
            instance: InstanceId(random()?),
            addresses: Vec::new(),
            // Nobody is probed from here.
            probe_key: door.paths.peers().key(),
        };
        let register = Message::Register(register).to_frame();
        send.write_all(&register).await.map_err(words)?;
        Ok::<_, String>((send, receive, connection, door.endpoint, register))
    };
    let (send, receive, connection, endpoint, register) = entered.await.map_err(trouble)?;
    let address = point.address.clone();
    let mut visit =
        Visit { send, receive, connection, endpoint, address, register, keep: KEEP_MAX, met: Vec::new() };
    // A code is said when the room is entered, not before.
    loop {
        if let Message::Registered(registered) = visit.next().await? {
            let keep = Duration::from_millis(registered.keep_ms.into());
            visit.keep = keep.clamp(KEEP_MIN, KEEP_MAX) / 2;
            return Ok(visit);
        }
    }
}

fn words(error: impl ToString) -> String {
    error.to_string()
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| NO_RANDOMNESS)?;
    Ok(bytes)
}

impl Visit {
    /// The next message; who is introduced is kept.
    async fn next(&mut self) -> Result<Message, Error> {
        let trouble = |cause| Error::Meeting { address: self.address.clone(), cause };
        // A message that has begun to come is not given up for a registration.
        let reading = read(&mut self.receive);
        let staying = async {
            loop {
                tokio::time::sleep(self.keep).await;
                if let Err(error) = self.send.write_all(&self.register).await {
                    return error.to_string();
                }
            }
        };
        let message = tokio::select! {
            message = reading => message.map_err(|error| trouble(error.to_string()))?,
            gone = staying => return Err(trouble(gone)),
        };
        match &message {
            Message::Refused(refused) => return Err(trouble(refused.text.to_string())),
            Message::Introduced(other) => self.met.push((other.channel, other.device)),
            _ => {}
        }
        Ok(message)
    }

    /// Host: the first that knocks.
    pub(super) async fn guest(mut self) -> Result<Line, Error> {
        loop {
            if let Message::Pass(Pass { channel, data }) = self.next().await?
                && data == KNOCK
                && let Some((_, device)) = self.met.iter().find(|(known, _)| *known == channel)
            {
                let device = *device;
                return Ok(self.line(device, channel));
            }
        }
    }

    /// Guest: the first that is there.
    pub(super) async fn host(mut self) -> Result<Line, Error> {
        while self.met.is_empty() {
            self.next().await?;
        }
        let (channel, device) = self.met[0];
        let knock = Message::Pass(Pass { channel, data: KNOCK.to_vec() }).to_frame();
        if let Err(error) = self.send.write_all(&knock).await {
            return Err(Error::Meeting { address: self.address, cause: error.to_string() });
        }
        Ok(self.line(device, channel))
    }

    fn line(self, device: DeviceId, channel: ChannelId) -> Line {
        Line::passed(device, channel, (self.send, self.receive), self.connection, self.endpoint)
    }
}
