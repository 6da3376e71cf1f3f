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

impl Peer {
    /// Whether the two are one process of one device. The device was proven, the instance is only claimed: nobody takes
    /// the place of another device's process by naming its instance.
    pub(crate) fn is_same_process(&self, other: &Self) -> bool {
        (self.device, self.instance) == (other.device, other.instance)
    }
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
    fn a_process_is_its_device_s_own() {
        let peer = |device: u8, instance: u8| Peer {
            device: DeviceId([device; 32]),
            user: UserId([0; 32]),
            instance: InstanceId([instance; 16]),
            name: String::new(),
            boot_epoch: 0,
        };
        assert!(peer(1, 1).is_same_process(&peer(1, 1)));
        assert!(!peer(1, 1).is_same_process(&peer(2, 1)), "another device claims the instance");
        assert!(!peer(1, 1).is_same_process(&peer(1, 2)));
    }

    #[test]
    fn exactly_one_of_two_dials() {
        let (one, two) = (InstanceId([1; 16]), InstanceId([2; 16]));
        assert!(dials(one, two));
        assert!(!dials(two, one));
    }
}
