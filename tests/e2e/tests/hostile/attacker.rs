//! The attacker's tools: keys that nobody knows, QUIC and TLS that show whatever they are told to, and plain sockets.

use std::{
    collections::BTreeMap,
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use audiocloud_e2e::net::Host;
use audiocloud_net::{
    runtime::identity::Identity,
    wire::{
        id::{InstanceId, SessionId, Signature},
        message::{self, Bytes, Hello, Membership, Message, Text, VERSIONS},
    },
};
use audiocloud_traversal::meeting;
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};
use tempfile::TempDir;

/// How long anything that is waited for may take: handshakes that say nothing are given three seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
/// The protocols of audiocloud, by their names in TLS.
pub(super) const PEER: &[u8] = b"audiocloud";
pub(super) const TUNNEL: &[u8] = b"audiocloud-tunnel";

/// Where attacks come from: a host, and what its programs run on.
pub(super) struct Lair {
    pub(super) host: Host,
    runtime: tokio::runtime::Runtime,
}

impl Lair {
    pub(super) fn new(host: Host) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { host, runtime }
    }

    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Likewise, of what must not take for ever.
    pub(super) fn soon<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let done = self.run(async { tokio::time::timeout(PATIENCE, work).await });
        done.unwrap_or_else(|_| panic!("{what} took longer than {PATIENCE:?}"))
    }

    pub(super) fn udp(&self) -> UdpSocket {
        self.host.within(|| UdpSocket::bind("0.0.0.0:0")).expect("a socket")
    }

    pub(super) fn tcp(&self, to: SocketAddr) -> TcpStream {
        let stream = self.host.within(|| TcpStream::connect(to)).expect("a TCP connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream
    }

    /// A QUIC endpoint on a socket, with what answers there.
    fn endpoint(&self, socket: UdpSocket, server: Option<quinn::ServerConfig>) -> Endpoint {
        socket.set_nonblocking(true).expect("a socket that does not wait");
        let _entered = self.runtime.enter();
        Endpoint::new(quinn::EndpointConfig::default(), server, socket, Arc::new(quinn::TokioRuntime))
            .expect("an endpoint")
    }

    /// As a peer whose certificate is in order.
    pub(super) fn connect(&self, to: SocketAddr, villain: &Villain) -> Puppet<'_> {
        let connected = self.try_connect(to, villain.shown(), PEER);
        connected.unwrap_or_else(|error| panic!("not connected to {to}: {error}"))
    }

    /// With whatever certificate, for whatever protocol.
    pub(super) fn try_connect(
        &self,
        to: SocketAddr,
        shown: Shown,
        protocol: &[u8],
    ) -> Result<Puppet<'_>, String> {
        let socket = self.udp();
        let endpoint = self.endpoint(socket.try_clone().expect("a socket"), None);
        let config = quic(tls(shown, protocol));
        self.soon("a handshake", async {
            let connecting =
                endpoint.connect_with(config, to, "audiocloud").map_err(|error| error.to_string())?;
            let connection = connecting.await.map_err(|error| error.to_string())?;
            let (send, receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
            Ok(Puppet { lair: self, connection, send, receive, socket, _endpoint: endpoint.clone() })
        })
    }

    /// As a peer that is let in.
    pub(super) fn enter(&self, to: SocketAddr, villain: &Villain) -> Puppet<'_> {
        let mut puppet = self.connect(to, villain);
        match puppet.introduce(&villain.hello()) {
            Message::Hello(_) => puppet,
            other => panic!("not let in: {other:?}"),
        }
    }

    /// What a peer with this hello is answered, who is not to be let in.
    pub(super) fn refused(&self, to: SocketAddr, villain: &Villain, hello: &Hello) -> String {
        match self.connect(to, villain).introduce(hello) {
            Message::HelloRefused(refused) => format!("{}: {}", refused.reason, refused.text),
            other => panic!("let in: {other:?}"),
        }
    }

    /// A TLS connection over TCP.
    pub(super) fn tls(&self, to: SocketAddr, shown: Shown, protocol: &[u8]) -> Result<Tls, String> {
        tls_on(self.tcp(to), shown, protocol)
    }

    /// The first datagrams of so many QUIC clients, none of which was sent to anybody.
    pub(super) fn first_datagrams(&self, count: usize) -> Vec<Vec<u8>> {
        let trap = self.udp();
        trap.set_nonblocking(true).expect("a socket that does not wait");
        let own = (self.host.public, trap.local_addr().expect("an address").port()).into();
        let (villain, endpoint) = (Villain::new(), self.endpoint(self.udp(), None));
        let config = quic(tls(villain.shown(), PEER));
        let _entered = self.runtime.enter();
        let (mut held, mut datagrams) = (Vec::new(), BTreeMap::new());
        let mut datagram = [0; 1500];
        while datagrams.len() < count {
            held.extend(endpoint.connect_with(config.clone(), own, "audiocloud"));
            // It leaves when the endpoint has had its turn.
            self.run(tokio::time::sleep(Duration::from_micros(200)));
            while let Ok((length, _)) = trap.recv_from(&mut datagram) {
                // RFC 9000, clause 17.2: the client's number for the connection begins at the seventh byte. A second
                // datagram of the same is not the first.
                let id = datagram[6..14].to_vec();
                datagrams.entry(id).or_insert_with(|| datagram[..length].to_vec());
            }
        }
        datagrams.into_values().take(count).collect()
    }

    /// Takes whoever comes, and listens to what they say.
    pub(super) fn serve(&self, villain: &Villain, protocol: &[u8]) -> Trap<'_> {
        let (certificate, key) = villain.identity.rustls_certificate();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate");
        config.alpn_protocols = vec![protocol.to_vec()];
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(config).expect("TLS for QUIC");
        let socket = self.udp();
        let address = (self.host.public, socket.local_addr().expect("an address").port()).into();
        let endpoint = self.endpoint(socket, Some(quinn::ServerConfig::with_crypto(Arc::new(crypto))));
        Trap { lair: self, endpoint, address }
    }
}

/// What answers in somebody else's place.
pub(super) struct Trap<'a> {
    lair: &'a Lair,
    endpoint: Endpoint,
    pub(super) address: SocketAddr,
}

impl Trap<'_> {
    /// Waits for somebody to come and to leave again. Whether they opened a stream: then they believed it.
    pub(super) fn is_believed(&self) -> bool {
        self.lair.soon("somebody", async {
            let incoming = self.endpoint.accept().await.expect("somebody");
            match incoming.await {
                Ok(connection) => connection.accept_bi().await.is_ok(),
                Err(_) => false,
            }
        })
    }
}

pub(super) fn tls_on(stream: TcpStream, shown: Shown, protocol: &[u8]) -> Result<Tls, String> {
    let name = ServerName::try_from("audiocloud").expect("a name");
    let session = rustls::ClientConnection::new(Arc::new(tls(shown, protocol)), name);
    let mut stream = rustls::StreamOwned::new(session.map_err(|error| error.to_string())?, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
    }
    Ok(stream)
}

/// TLS over TCP.
pub(super) type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// What is sent is sent; whether the other end closed it, within [`PATIENCE`].
pub(super) fn is_closed(stream: &mut (impl Read + Write)) -> bool {
    let mut piece = [0; 1024];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                let waits =
                    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
                return !waits;
            }
        }
    }
}

// ---- Who attacks.

/// Somebody with keys of their own, and with memberships that they were given, stole or made up.
pub(super) struct Villain {
    pub(super) identity: Identity,
    pub(super) memberships: Vec<Membership>,
    instance: InstanceId,
    folder: TempDir,
}

impl Villain {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = Identity::load_or_create(folder.path()).expect("an identity");
        let instance = InstanceId(*identity.device().0.first_chunk().expect("16 of 32 bytes"));
        Self { identity, memberships: Vec::new(), instance, folder }
    }

    /// With the record of a member, be it theirs or not.
    pub(super) fn with_record(session: SessionId, record: &[u8]) -> Self {
        let mut villain = Self::new();
        villain.show(session, record);
        villain
    }

    pub(super) fn show(&mut self, session: SessionId, record: &[u8]) {
        let record = Bytes::try_from(record).expect("a record's length");
        self.memberships = vec![Membership { session, record }];
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn hello(&self) -> Hello {
        Hello {
            versions: VERSIONS,
            user: self.identity.user(),
            device: self.identity.device(),
            certificate: Signature(self.identity.certificate_by_user()),
            instance: self.instance,
            boot_epoch: 1,
            name: Text::new("Mallory"),
            software: Text::new("something else"),
            memberships: self.memberships.clone(),
        }
    }

    /// What an honest program shows in TLS.
    pub(super) fn shown(&self) -> Shown {
        let (certificate, _) = self.identity.rustls_certificate();
        self.showing(certificate)
    }

    /// Another certificate, with this one's key.
    pub(super) fn showing(&self, certificate: CertificateDer<'static>) -> Shown {
        let (_, key) = self.identity.rustls_certificate();
        let provider = rustls::crypto::ring::default_provider();
        let key = provider.key_provider.load_private_key(key).expect("a key");
        Shown(Some(Arc::new(CertifiedKey::new(vec![certificate], key))))
    }
}

/// The client's certificate in TLS, if it shows one, whether the key is that of the certificate or not.
#[derive(Debug)]
pub(super) struct Shown(pub(super) Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// An attacker does not mind whom they attack.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

fn tls(shown: Shown, protocol: &[u8]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    config
}

/// As large as it gets: an attacker bounds nothing.
fn quic(tls: ClientConfig) -> quinn::ClientConfig {
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS for QUIC");
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    transport
        .datagram_send_buffer_size(64 << 20)
        .send_window(64 << 20)
        .initial_rtt(Duration::from_millis(10))
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .keep_alive_interval(Some(Duration::from_millis(300)));
    config.transport_config(Arc::new(transport));
    config
}

// ---- A connection.

/// A program that says what it is told to.
pub(super) struct Puppet<'a> {
    lair: &'a Lair,
    pub(super) connection: Connection,
    pub(super) send: SendStream,
    receive: RecvStream,
    /// The endpoint's own: what is sent by it comes from the same address.
    socket: UdpSocket,
    _endpoint: Endpoint,
}

impl Puppet<'_> {
    /// Says who it is. What it is answered.
    pub(super) fn introduce(&mut self, hello: &Hello) -> Message {
        self.say(&Message::Hello(Box::new(hello.clone())));
        self.hear()
    }

    /// Writes bytes as they are. Whether the other end still took them.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        let Self { lair, send, .. } = self;
        lair.run(async { matches!(tokio::time::timeout(PATIENCE, send.write_all(bytes)).await, Ok(Ok(()))) })
    }

    pub(super) fn say(&mut self, message: &Message) -> bool {
        self.write(&message.to_frame().expect("a frame"))
    }

    /// Says it again and again until it is not heard any more, and why not.
    pub(super) fn flood(&mut self, frame: &[u8]) -> String {
        let began = Instant::now();
        while self.connection.close_reason().is_none() && self.write(frame) {
            assert!(began.elapsed() < PATIENCE, "it may go on for ever");
        }
        self.closed()
    }

    /// The next message.
    pub(super) fn hear(&mut self) -> Message {
        let Self { lair, receive, .. } = self;
        lair.soon("an answer", async {
            let body = read(receive, |prefix| message::frame_length(prefix).expect("a length")).await;
            Message::decode(&body.expect("an answer")).expect("a message")
        })
    }

    /// What comes until it is what is wanted.
    pub(super) fn hear_until<T>(&mut self, mut wanted: impl FnMut(Message) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.hear()) {
                return found;
            }
        }
    }

    /// Why the other end closed it; it has to.
    pub(super) fn closed(&mut self) -> String {
        self.lair.soon("closing", self.connection.closed()).to_string()
    }

    /// Whether all that was said has been read: pings are answered in their turn.
    pub(super) fn settle(&mut self) {
        let token = 0x5e77_1e00;
        self.say(&Message::Ping(message::Ping { token }));
        self.hear_until(|message| {
            matches!(message, Message::Pong(pong) if pong.token == token).then_some(())
        });
    }

    /// Sends datagrams, as fast as they leave, until all have left, or nobody is there any more.
    pub(super) fn send_datagrams(&self, datagrams: impl IntoIterator<Item = Vec<u8>>) {
        self.lair.soon("sending", async {
            let sent = || self.connection.stats().frame_tx.datagram;
            let mut all = sent();
            for datagram in datagrams {
                all += 1;
                if self.connection.send_datagram_wait(datagram.into()).await.is_err() {
                    return;
                }
            }
            while sent() < all && self.connection.close_reason().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    /// Throws one datagram as often as that from the address of this connection, beside it.
    pub(super) fn throw(&self, to: SocketAddr, datagram: &[u8], times: u32) {
        for number in 0..times {
            while self.socket.send_to(datagram, to).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
            if number % 50 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    // ---- At a meeting point.

    pub(super) fn tell(&mut self, message: &meeting::Message) -> bool {
        self.write(&message.to_frame())
    }

    /// What a meeting point says next; none when it says nothing more.
    pub(super) fn told(&mut self) -> Option<meeting::Message> {
        let Self { lair, receive, .. } = self;
        lair.soon("a meeting point's answer", async {
            let body = read(receive, |prefix| meeting::frame_length(prefix).expect("a length")).await?;
            Some(meeting::Message::decode(&body).expect("a message"))
        })
    }

    /// Why a meeting point ends it; empty where it says nothing before it does.
    pub(super) fn last_words(&mut self) -> String {
        let mut words = String::new();
        while let Some(message) = self.told() {
            if let meeting::Message::Refused(refused) = message {
                words = format!("{}: {}", refused.reason.code(), refused.text);
            }
        }
        words
    }
}

async fn read(receive: &mut RecvStream, length: impl Fn([u8; 4]) -> usize) -> Option<Vec<u8>> {
    let mut prefix = [0; 4];
    receive.read_exact(&mut prefix).await.ok()?;
    let mut body = vec![0; length(prefix)];
    receive.read_exact(&mut body).await.ok()?;
    Some(body)
}

/// A frame around a body that no honest program makes.
pub(super) fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a frame's length");
    [&length.to_be_bytes()[..], body].concat()
}

/// Bytes that look like noise, the same in each run (xorshift).
pub(super) struct Noise(u64);

impl Noise {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}
