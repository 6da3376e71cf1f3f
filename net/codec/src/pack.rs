//! Lossless packing of a PCM packet.

/// Why a packed payload cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackError {
    /// It ends within the samples.
    Truncated,
    /// It contradicts itself, or what was said of it.
    Malformed,
}

impl std::fmt::Display for PackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "packed samples end too early",
            Self::Malformed => "packed samples contradict themselves",
        })
    }
}

impl std::error::Error for PackError {}

/// Packs `samples`, one slice per channel, all equally long, each sample of `bits` bits (1..=24) to the front of `out`.
/// Returns how many bytes; none when that would not be less than raw (or `out` is shorter).
///
/// *Realtime-safe: yes*
pub fn pack<C: AsRef<[i32]>>(samples: &[C], bits: u8, out: &mut [u8]) -> Option<usize> {
    let _unused = (samples.len(), bits, out);
    None
}

/// The other way: `frames` samples to the front of each channel of `out` (each at least so long).
///
/// *Realtime-safe: yes*
pub fn unpack<C: AsMut<[i32]>>(
    payload: &[u8],
    frames: usize,
    bits: u8,
    out: &mut [C],
) -> Result<(), PackError> {
    let _unused = (payload, frames, bits, out.len());
    Err(PackError::Malformed)
}

/// Packs and unpacks whole payloads of PCM packets: interleaved, big-endian, 16 or 24 bits.
#[derive(Debug, Default)]
pub struct Packer {
    planar: Vec<Vec<i32>>,
}

impl Packer {
    /// Packs the payload `pcm` to the front of `out`: how many bytes; none when that is not less.
    pub fn pack(&mut self, pcm: &[u8], channels: usize, bits: u8, out: &mut [u8]) -> Option<usize> {
        let _unused = (pcm, channels, &self.planar);
        pack::<&[i32]>(&[], bits, out)
    }

    /// The other way: the payload as it was before packing, to `pcm` (its length is set).
    pub fn unpack(
        &mut self,
        payload: &[u8],
        channels: usize,
        frames: usize,
        bits: u8,
        pcm: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let _unused = (channels, pcm, &self.planar);
        unpack::<&mut [i32]>(payload, frames, bits, &mut [])
    }
}
