//! TLS 1.3 with device keys instead of names: each side proves that it has the Ed25519 key in its certificate, and that
//! key is who it is. Nothing else in a certificate counts. Whether the key is welcome is decided by the hello.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use audiocloud_wire::id::DeviceId;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};

use crate::Error;
use crate::identity::Identity;

/// The application protocol of all audiocloud peers; versions are agreed in the hello.
pub(crate) const ALPN: &[u8] = b"audiocloud";
/// That of the talk with a rendezvous node; its messages are [`audiocloud_traversal`]'s.
pub(crate) const MEETING_ALPN: &[u8] = b"audiocloud-meet";
/// That of TLS over TCP with datagrams inside.
const TUNNEL_ALPN: &[u8] = b"audiocloud-tunnel";
/// Of two machines that were told the same spoken code.
const PAIRING_ALPN: &[u8] = b"audiocloud-pair";
/// TLS wants a name; peers have keys instead.
pub(crate) const SERVER_NAME: &str = "audiocloud";
/// A SubjectPublicKeyInfo of Ed25519 up to the 32 bytes of the key (RFC 8410, clause 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The device that a certificate is of.
pub(crate) fn device_of(certificate: &CertificateDer<'_>) -> Result<DeviceId, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let spki = parsed.subject_public_key_info();
    let key = spki.strip_prefix(&SPKI_PREFIX).and_then(|key| <[u8; 32]>::try_from(key).ok());
    key.map(DeviceId).ok_or(rustls::Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// The device at the other end of an established connection.
pub(crate) fn peer_device(connection: &quinn::Connection) -> Option<DeviceId> {
    let identity = connection.peer_identity()?;
    let certificates = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    device_of(certificates.first()?).ok()
}

/// What the peer showed, when it was not what was expected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mismatch(Arc<Mutex<Option<DeviceId>>>);

impl Mismatch {
    pub(crate) fn seen(&self) -> Option<DeviceId> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct DeviceVerifier {
    provider: Arc<CryptoProvider>,
    expected: Option<DeviceId>,
    mismatch: Mismatch,
}

impl fmt::Debug for DeviceVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceVerifier").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl DeviceVerifier {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let device = device_of(certificate)?;
        if self.expected.is_some_and(|expected| expected != device) {
            *self.mismatch.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(device);
            return Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(())
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }
}

impl ServerCertVerifier for DeviceVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for DeviceVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

fn verifier(expected: Option<DeviceId>) -> (Arc<DeviceVerifier>, Mismatch) {
    let mismatch = Mismatch::default();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    (Arc::new(DeviceVerifier { provider, expected, mismatch: mismatch.clone() }), mismatch)
}

/// For dialling a peer: `expected` pins the device's key where it is known.
pub(crate) fn client_config(
    identity: &Identity,
    expected: Option<DeviceId>,
) -> Result<(quinn::ClientConfig, Mismatch), Error> {
    let (config, mismatch) = client(identity, expected, ALPN)?;
    Ok((over_quic(config)?, mismatch))
}

/// For dialling a rendezvous node.
pub(crate) fn meeting_client_config(
    identity: &Identity,
    node: DeviceId,
) -> Result<quinn::ClientConfig, Error> {
    over_quic(client(identity, Some(node), MEETING_ALPN)?.0)
}

/// For dialling who announces the number of a spoken code.
pub(crate) fn pairing_client_config(identity: &Identity) -> Result<quinn::ClientConfig, Error> {
    over_quic(client(identity, None, PAIRING_ALPN)?.0)
}

/// For being dialled by who was told a spoken code.
pub(crate) fn pairing_server_config(
    identity: &Identity,
    incoming_max: usize,
) -> Result<quinn::ServerConfig, Error> {
    answering(server(identity, &[PAIRING_ALPN])?, incoming_max)
}

/// For dialling the TCP port of a rendezvous node.
pub(crate) fn tunnel_client_config(identity: &Identity, node: DeviceId) -> Result<Arc<ClientConfig>, Error> {
    Ok(Arc::new(client(identity, Some(node), TUNNEL_ALPN)?.0))
}

fn client(
    identity: &Identity,
    expected: Option<DeviceId>,
    protocol: &[u8],
) -> Result<(ClientConfig, Mismatch), Error> {
    let tls = |error: rustls::Error| Error::Tls(error.to_string());
    let (verifier, mismatch) = verifier(expected);
    let (certificate, key) = identity.rustls_certificate();
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(vec![certificate], key)
        .map_err(tls)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    // Every connection proves its key anew.
    config.resumption = Resumption::disabled();
    Ok((config, mismatch))
}

fn over_quic(config: ClientConfig) -> Result<quinn::ClientConfig, Error> {
    let crypto = QuicClientConfig::try_from(config).map_err(|error| Error::Tls(error.to_string()))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(crate::transport::transport());
    Ok(config)
}

/// For being dialled by peers, and by those who want to meet if this is a rendezvous node.
pub(crate) fn server_config(
    identity: &Identity,
    incoming_max: usize,
    rendezvous: bool,
) -> Result<quinn::ServerConfig, Error> {
    let protocols: &[&[u8]] = if rendezvous { &[ALPN, MEETING_ALPN] } else { &[ALPN] };
    answering(server(identity, protocols)?, incoming_max)
}

fn answering(config: ServerConfig, incoming_max: usize) -> Result<quinn::ServerConfig, Error> {
    let crypto = QuicServerConfig::try_from(config).map_err(|error| Error::Tls(error.to_string()))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(crate::transport::transport())
        .max_incoming(incoming_max)
        .incoming_buffer_size(16 << 10)
        .incoming_buffer_size_total(512 << 10);
    Ok(config)
}

/// For the TCP port of a rendezvous node.
pub(crate) fn tunnel_server_config(identity: &Identity) -> Result<Arc<ServerConfig>, Error> {
    Ok(Arc::new(server(identity, &[TUNNEL_ALPN])?))
}

fn server(identity: &Identity, protocols: &[&[u8]]) -> Result<ServerConfig, Error> {
    let tls = |error: rustls::Error| Error::Tls(error.to_string());
    let (verifier, _) = verifier(None);
    let (certificate, key) = identity.rustls_certificate();
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .map_err(tls)?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Whether the one at the other end of an established connection wants to meet somebody.
pub(crate) fn is_meeting(connection: &quinn::Connection) -> bool {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    data.is_some_and(|data| data.protocol.as_deref() == Some(MEETING_ALPN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_say_which_device() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(folder.path()).unwrap();
        let (certificate, _) = identity.rustls_certificate();
        assert_eq!(device_of(&certificate).unwrap(), identity.device());
        assert!(device_of(&CertificateDer::from(vec![1, 2, 3])).is_err());
    }
}
