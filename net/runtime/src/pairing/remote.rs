//! Host and guest wherever they are: the room of a code's number at a meeting point, which passes their messages on.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use audiocloud_traversal::frame::ChannelId;
use audiocloud_traversal::meeting::{Message, Pass, Register, Room};
use audiocloud_traversal::probe::ProbeSecret;
use audiocloud_wire::id::{DeviceId, InstanceId};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use ring::rand::SecureRandom;

use super::Error;
use super::line::{Line, read};
use crate::config::MeetingPoint;
use crate::identity::Identity;
use crate::tls;

const DIAL: Duration = Duration::from_secs(5);
/// Between two registrations, whatever the meeting point says.
const KEEP_MIN: Duration = Duration::from_secs(1);
const KEEP_MAX: Duration = Duration::from_secs(60);
/// What a guest says first, so that a host does not take another host for its guest.
const KNOCK: [u8; 1] = [0xff];

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

/// Dials the meeting point and registers there.
pub(super) async fn enter(identity: &Identity, point: &MeetingPoint, slot: u16) -> Result<Visit, Error> {
    let trouble = |cause: String| Error::Meeting { address: point.address.clone(), cause };
    let entered = async {
        let mut found = tokio::net::lookup_host(&point.address).await.map_err(|error| error.to_string())?;
        let address = found.next().ok_or("its name has no address")?;
        let any: std::net::IpAddr = if address.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
        let endpoint = endpoint(SocketAddr::new(any, 0)).map_err(|error| error.to_string())?;
        let config = tls::meeting_client_config(identity, DeviceId(point.device))
            .map_err(|error| error.to_string())?;
        let connecting =
            endpoint.connect_with(config, address, tls::SERVER_NAME).map_err(|error| error.to_string())?;
        let connection = tokio::time::timeout(DIAL, connecting).await;
        let connection = connection.map_err(|_| "it does not answer")?.map_err(|error| error.to_string())?;
        let (mut send, receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
        let mut random = [0; 48];
        ring::rand::SystemRandom::new().fill(&mut random).map_err(|_| "no random numbers")?;
        let (instance, secret) = random.split_at(16);
        let mut seed = [0; 32];
        seed.copy_from_slice(secret);
        let mut id = InstanceId([0; 16]);
        id.0.copy_from_slice(instance);
        let register = Register {
            room: Room::of_slot(slot.into()),
            instance: id,
            addresses: Vec::new(),
            // Nobody is probed from here.
            probe_key: ProbeSecret::from_bytes(seed).public(),
        };
        let register = Message::Register(register).to_frame();
        send.write_all(&register).await.map_err(|error| error.to_string())?;
        Ok::<_, String>((send, receive, connection, endpoint, register))
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

fn endpoint(own: SocketAddr) -> std::io::Result<Endpoint> {
    let socket = UdpSocket::bind(own)?;
    socket.set_nonblocking(true)?;
    Endpoint::new(quinn::EndpointConfig::default(), None, socket, Arc::new(quinn::TokioRuntime))
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
