//! The samples of a block, wherever they are.

use audiocloud_wire::pcm::Interleaved;

/// The samples of a block that came, to be copied out.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a>(Place<'a>);

#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    /// As bytes, in a packet.
    Packet(Interleaved<'a>),
    /// Decoded: a slice for each channel.
    Planar(&'a [Vec<f32>]),
}

impl<'a> Samples<'a> {
    pub(super) fn packet(samples: Interleaved<'a>) -> Self {
        Self(Place::Packet(samples))
    }

    pub(super) fn planar(channels: &'a [Vec<f32>]) -> Self {
        Self(Place::Planar(channels))
    }

    /// Copies channel `channel` (from 0, within this block), from frame `first_frame` on, to all of `out`. What lies
    /// outside of the block is written as zero.
    ///
    /// *Realtime-safe: yes*, though the callback has no business with packets.
    pub fn read(&self, channel: usize, first_frame: usize, out: &mut [f32]) {
        match self.0 {
            Place::Packet(samples) => samples.read(channel, first_frame, out),
            Place::Planar(channels) => {
                let samples = channels.get(channel).and_then(|one| one.get(first_frame..));
                let samples = samples.unwrap_or_default();
                let count = samples.len().min(out.len());
                out[..count].copy_from_slice(&samples[..count]);
                out[count..].fill(0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outside_reads_as_zero() {
        let channels = [vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0]];
        let samples = Samples::planar(&channels);
        let check = |channel, first, expected: [f32; 2]| {
            let mut out = [9.0; 2];
            samples.read(channel, first, &mut out);
            assert_eq!(out, expected);
        };
        check(0, 1, [2.0, 3.0]);
        check(1, 2, [6.0, 0.0]);
        check(1, 7, [0.0, 0.0]);
        check(2, 0, [0.0, 0.0]);
    }
}
