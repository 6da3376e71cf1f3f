//! Any datagram as an audio packet: reading ends, within the packet, and what was read can be written again.
#![no_main]

use audiocloud_wire::codec::Codec;
use audiocloud_wire::packet::audio::AudioPacket;
use audiocloud_wire::packet::{PACKET_BYTES_MAX, Packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let any = Packet::decode(bytes);
    let Ok(packet) = AudioPacket::decode(bytes) else {
        assert!(!matches!(any, Ok(Packet::Audio(_))));
        return;
    };
    assert_eq!(any, Ok(Packet::Audio(packet)));
    let header = packet.header;
    assert!(header.frames > 0 && header.channels > 0 && header.first_channel + header.channels <= 64);
    for codec in [Codec::PcmF32, Codec::Pcm24] {
        let Ok(samples) = packet.samples(codec) else { continue };
        let mut out = [f32::NAN; 16];
        for channel in 0..=samples.channels() {
            for first_frame in [0, 1, samples.frames() / 2, samples.frames(), usize::MAX] {
                samples.read(channel, first_frame, &mut out);
            }
        }
    }
    let extensions: Vec<_> = packet.extensions.iter().collect();
    let mut again = [0; PACKET_BYTES_MAX];
    let length = AudioPacket::encode(&header, &extensions, packet.payload, &mut again).expect("it was read");
    assert_eq!(again[0], bytes[0]);
    // The second byte may have had flags that are not assigned.
    assert_eq!(again[2..length], bytes[2..]);
});
