//! Where packets are written: one allocation serves many of them.

use audiocloud_wire::packet::PACKET_BYTES_MAX;
use bytes::{Bytes, BytesMut};

/// Packets are cut from allocations of this size.
const CHUNK_BYTES: usize = 64 << 10;

/// Room for packets. A chunk is freed when the last packet cut from it is.
#[derive(Debug, Default)]
pub(crate) struct Arena(BytesMut);

impl Arena {
    /// Lets `write` fill the front of a slice that is long enough for any packet. What it returns is how long the packet
    /// has become; none: there is none.
    pub(crate) fn packet(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<Bytes> {
        if self.0.len() < PACKET_BYTES_MAX {
            self.0 = BytesMut::zeroed(CHUNK_BYTES);
        }
        let length = write(&mut self.0[..PACKET_BYTES_MAX])?;
        Some(self.0.split_to(length.min(PACKET_BYTES_MAX)).freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_lie_side_by_side() {
        let mut arena = Arena::default();
        let packets: Vec<_> = (0..200_u8)
            .filter_map(|value| {
                arena.packet(|room| {
                    room[..1_000].fill(value);
                    (value % 2 == 0).then_some(1_000)
                })
            })
            .collect();
        assert_eq!(packets.len(), 100);
        for (packet, value) in packets.iter().zip((0..200).step_by(2)) {
            assert_eq!((packet.len(), packet[0], packet[999]), (1_000, value, value));
        }
        let adjacent =
            packets.windows(2).filter(|two| two[0].as_ptr().wrapping_add(1_000) == two[1].as_ptr());
        assert!(adjacent.count() > 90, "an allocation serves many");
    }
}
