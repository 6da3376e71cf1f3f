//! Any bytes as packed samples: what was unpacked can be packed again. And any bytes as samples: packed, they come
//! back bit for bit.
#![no_main]

use audiocloud_codec::pack::Packer;
use libfuzzer_sys::fuzz_target;

/// Packs samples, and finds them again where that made them fewer bytes.
fn round_trip(packer: &mut Packer, pcm: &[u8], channels: usize, bits: u8) {
    let mut packed = vec![0; pcm.len()];
    let Some(length) = packer.pack(pcm, channels, bits, &mut packed) else { return };
    assert!(length < pcm.len());
    let frames = pcm.len() / channels / usize::from(bits / 8);
    let mut again = Vec::new();
    assert_eq!(packer.unpack(&packed[..length], channels, frames, bits, &mut again), Ok(()));
    assert!(again == pcm, "samples came back as others");
}

fuzz_target!(|input: &[u8]| {
    let Some((&[flags, frames_high, frames_low], bytes)) = input.split_first_chunk() else { return };
    let channels = usize::from(flags & 63) + 1;
    let bits = if flags & 64 == 0 { 16 } else { 24 };
    let frames = usize::from(u16::from_be_bytes([frames_high, frames_low]));
    let mut packer = Packer::default();
    let mut pcm = Vec::new();
    if packer.unpack(bytes, channels, frames, bits, &mut pcm).is_ok() {
        assert_eq!(pcm.len(), frames * channels * usize::from(bits / 8));
        round_trip(&mut packer, &pcm, channels, bits);
    }
    let stride = channels * usize::from(bits / 8);
    round_trip(&mut packer, &bytes[..bytes.len() / stride * stride], channels, bits);
});
