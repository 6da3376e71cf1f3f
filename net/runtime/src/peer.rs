//! Who peers are to each other.

use audiocloud_wire::id::{DeviceId, InstanceId, UserId};

/// A peer whose hello was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) device: DeviceId,
    pub(crate) user: UserId,
    pub(crate) instance: InstanceId,
    pub(crate) name: String,
    pub(crate) boot_epoch: u64,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\" (device {}, instance {})", self.name, self.device.short(), self.instance.short())
    }
}

/// Of two instances, whether `ours` is the one that dials, and whose connection is kept when both have dialled.
/// By the instance alone, for it is always known, and both sides must come to the same answer.
pub(crate) fn dials(ours: InstanceId, theirs: InstanceId) -> bool {
    ours < theirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_of_two_dials() {
        let (one, two) = (InstanceId([1; 16]), InstanceId([2; 16]));
        assert!(dials(one, two));
        assert!(!dials(two, one));
    }
}
