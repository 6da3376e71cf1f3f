//! Those who knock and are not known: shown until they are accepted or have gone.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use audiocloud_wire::id::{DeviceId, UserId};

use super::Hub;
use crate::sessions::Stranger;
use crate::sessions::live::Event;
use crate::status::lock;

/// The most that are shown; beyond them the one that knocked longest ago goes.
const STRANGERS_MAX: usize = 32;
/// Who has not knocked for so long has gone.
const GONE: Duration = Duration::from_secs(300);

impl Hub {
    /// Somebody knocked, or answered as somebody who is not known. Whether they are shown already: then no line is needed.
    pub(crate) fn knocked(
        &mut self,
        user: Option<UserId>,
        device: DeviceId,
        name: &str,
        address: SocketAddr,
        why: &str,
    ) -> bool {
        let now = Instant::now();
        self.strangers.retain(|(_, at)| now.saturating_duration_since(*at) < GONE);
        let known = self.strangers.iter().position(|(stranger, _)| stranger.device == device);
        let before = known.map(|at| self.strangers.swap_remove(at).0);
        let stranger = Stranger {
            user: user.or(before.as_ref().and_then(|before| before.user)),
            device,
            // Who has told their name has one.
            name: before
                .as_ref()
                .filter(|_| name.is_empty())
                .map_or_else(|| name.to_owned(), |one| one.name.clone()),
            address: address.to_string(),
            why: why.to_owned(),
        };
        if self.strangers.len() >= STRANGERS_MAX {
            let oldest = self.strangers.iter().enumerate().min_by_key(|(_, (_, at))| *at).map(|(at, _)| at);
            oldest.map(|at| self.strangers.swap_remove(at));
        }
        self.strangers.push((stranger, now));
        self.show_strangers();
        before.is_some()
    }

    /// Whether it may be asked now about somebody who shows memberships: that takes cryptography, and they may be false.
    pub(crate) fn may_knock(&mut self) -> bool {
        self.knocks.take(0, Instant::now()).is_ok()
    }

    /// They are let in, or were connected for another reason.
    pub(crate) fn no_stranger(&mut self, device: DeviceId) {
        let before = self.strangers.len();
        self.strangers.retain(|(stranger, _)| stranger.device != device);
        if self.strangers.len() < before {
            self.show_strangers();
        }
    }

    /// This user lets somebody in.
    pub(super) fn accept(&self, user: UserId) {
        let known = self.strangers.iter().find(|(stranger, _)| stranger.user == Some(user));
        let name = known.map_or_else(|| user.short().to_string(), |(stranger, _)| stranger.name.clone());
        self.live.tell(Event::Accept { user, name });
    }

    pub(super) fn show_strangers(&self) {
        let mut strangers: Vec<_> = self.strangers.iter().map(|(stranger, _)| stranger.clone()).collect();
        strangers.sort_by(|one, other| (&one.name, one.device).cmp(&(&other.name, other.device)));
        *lock(&self.shared.strangers) = strangers;
    }
}
