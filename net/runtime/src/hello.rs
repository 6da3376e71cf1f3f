//! Who may connect: the judgement on a peer's first message.

use audiocloud_wire::id::{DeviceId, SessionId, Signature, UserId};
use audiocloud_wire::message::{Hello, RefusalReason, Text, VERSIONS, negotiate};

use crate::config::ExplicitPeer;
use crate::identity::{Identity, verify_device};
use crate::peer::Peer;
use crate::standing::Trusted;

/// Whom we let in.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    pub(crate) own: Hello,
    /// Keys of users and devices that the configuration names.
    pub(crate) keys: Vec<[u8; 32]>,
}

/// A peer that is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: RefusalReason,
    pub(crate) text: String,
    /// Somebody who knocked a moment ago already, and is shown: no line is needed.
    pub(crate) known_stranger: bool,
}

impl Refusal {
    pub(crate) fn new(reason: RefusalReason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), known_stranger: false }
    }
}

/// Our own hello.
pub(crate) fn own(identity: &Identity, name: &str, instance: audiocloud_wire::id::InstanceId) -> Hello {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Hello {
        versions: VERSIONS,
        user: identity.user(),
        device: identity.device(),
        certificate: Signature(identity.certificate_by_user()),
        instance,
        boot_epoch: now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)),
        name: Text::new(name),
        software: Text::new(concat!("audiocloud ", env!("CARGO_PKG_VERSION"))),
        memberships: Vec::new(),
    }
}

impl Trust {
    pub(crate) fn new(own: Hello, peers: &[ExplicitPeer]) -> Self {
        Self { own, keys: peers.iter().map(|peer| peer.key).collect() }
    }

    /// Checks that a hello is true, that came over a connection whose TLS key is `device`. `pinned` is the key that the user
    /// gave for the address that was dialled. Whether whoever it is may come in is another question.
    pub(crate) fn check(
        &self,
        hello: &Hello,
        device: Option<DeviceId>,
        pinned: Option<[u8; 32]>,
    ) -> Result<Peer, Refusal> {
        negotiate(self.own.versions, hello.versions)
            .map_err(|error| Refusal::new(RefusalReason::NoCommonVersion, error.to_string()))?;
        if device != Some(hello.device) {
            let text = "the device key of the hello is not the one of the connection";
            return Err(Refusal::new(RefusalReason::BadCertificate, text));
        }
        verify_device(&hello.user, &hello.device, &hello.certificate.0)
            .map_err(|error| Refusal::new(RefusalReason::BadCertificate, error.to_string()))?;
        if hello.instance == self.own.instance {
            return Err(Refusal::new(RefusalReason::Oneself, "this is the very same process"));
        }
        if let Some(key) = pinned
            && !is_of(key, hello.user, hello.device)
        {
            let text = format!(
                "the key configured for this address is {}, but it is device {} of user {} that answers; \
                 correct the key in config.toml if that is who you mean",
                DeviceId(key),
                hello.device,
                hello.user
            );
            return Err(Refusal::new(RefusalReason::NotTrusted, text));
        }
        Ok(Peer {
            device: hello.device,
            user: hello.user,
            instance: hello.instance,
            name: hello.name.to_string(),
            boot_epoch: hello.boot_epoch,
        })
    }

    /// Why this peer is let in without any session, if it is; whom the user has accepted is known elsewhere.
    pub(crate) fn trusted(&self, peer: &Peer) -> Option<Trusted> {
        if peer.user == self.own.user {
            Some(Trusted::Own)
        } else {
            let named = self.keys.iter().any(|key| is_of(*key, peer.user, peer.device));
            named.then_some(Trusted::Named)
        }
    }
}

/// Nobody whom we know, who shows no membership, or none that holds.
pub(crate) fn stranger(peer: &Peer, refusals: &[(SessionId, String)]) -> Refusal {
    let text = match refusals {
        [] => format!(
            "user {} is another user, and neither accepted nor named as a peer in config.toml; \
             `audiocloud accept {}` lets them in, or an invitation to a session",
            peer.user,
            peer.user.short()
        ),
        // The session is in the text where there are several.
        [(_, why)] => why.clone(),
        several => {
            let each = several.iter().map(|(session, why)| format!("session {}: {why}", session.short()));
            each.collect::<Vec<_>>().join("; ")
        }
    };
    Refusal::new(RefusalReason::NotTrusted, text)
}

fn is_of(key: [u8; 32], user: UserId, device: DeviceId) -> bool {
    key == user.0 || key == device.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_wire::id::InstanceId;
    use audiocloud_wire::message::VersionRange;

    fn hello(number: u8) -> (Hello, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(folder.path()).unwrap();
        (own(&identity, "test", InstanceId([number; 16])), folder)
    }

    #[test]
    fn only_who_is_known_and_proves_it_is_let_in() {
        let (ours, _ours) = hello(1);
        let (theirs, _theirs) = hello(2);
        let check = |keys: &[[u8; 32]], hello: &Hello, device, pinned, expected: Option<RefusalReason>| {
            let trust = Trust { own: ours.clone(), keys: keys.to_vec() };
            let judged = trust.check(hello, device, pinned).and_then(|peer| match trust.trusted(&peer) {
                Some(_) => Ok(peer),
                None => Err(stranger(&peer, &[])),
            });
            assert_eq!(judged.err().map(|refusal| refusal.reason), expected);
        };
        let device = Some(theirs.device);
        check(&[], &theirs, device, None, Some(RefusalReason::NotTrusted));
        check(&[theirs.user.0], &theirs, device, None, None);
        check(&[theirs.device.0], &theirs, device, None, None);
        check(&[theirs.user.0], &theirs, device, Some(theirs.device.0), None);
        check(&[theirs.user.0], &theirs, device, Some([7; 32]), Some(RefusalReason::NotTrusted));
        check(&[theirs.user.0], &theirs, Some(ours.device), None, Some(RefusalReason::BadCertificate));
        check(&[theirs.user.0], &theirs, None, None, Some(RefusalReason::BadCertificate));
        let forged = Hello { user: ours.user, ..theirs.clone() };
        check(&[], &forged, device, None, Some(RefusalReason::BadCertificate));
        let future = Hello { versions: VersionRange { min: 2, max: 9 }, ..theirs.clone() };
        check(&[theirs.user.0], &future, device, None, Some(RefusalReason::NoCommonVersion));
        check(&[], &ours, Some(ours.device), None, Some(RefusalReason::Oneself));
        let sibling = Hello { instance: InstanceId([9; 16]), ..ours.clone() };
        check(&[], &sibling, Some(ours.device), None, None);
    }
}
