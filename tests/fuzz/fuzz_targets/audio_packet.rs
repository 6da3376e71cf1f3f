//! Any datagram as an audio packet: reading ends, within the packet, and what was read can be written again.
#![no_main]

use audiocloud_wire::packet::audio::{AUDIO_BYTES_MAX, AudioPacket, set_repeat};
use audiocloud_wire::packet::extension::{Extension, SESSION_TIME};
use audiocloud_wire::packet::{PACKET_BYTES_MAX, Packet};
use libfuzzer_sys::fuzz_target;

fn read_samples(packet: &AudioPacket<'_>) {
    let Some(samples) = packet.samples() else { return };
    let mut out = [f32::NAN; 16];
    for channel in 0..=samples.channels() {
        for first_frame in [0, 1, samples.frames() / 2, samples.frames(), usize::MAX] {
            samples.read(channel, first_frame, &mut out);
        }
    }
}

/// The extensions that are no field of the header.
fn others<'a>(packet: &AudioPacket<'a>) -> Vec<Extension<'a>> {
    packet.extensions.iter().filter(|extension| extension.kind != SESSION_TIME).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let any = Packet::decode(bytes);
    let Ok(packet) = AudioPacket::decode(bytes) else {
        assert!(!matches!(any, Ok(Packet::Audio(_))));
        return;
    };
    assert_eq!(any, Ok(Packet::Audio(packet)));
    assert!(bytes.len() <= AUDIO_BYTES_MAX);
    let header = packet.header;
    assert!(header.frames > 0 && header.channels > 0 && header.first_channel + header.channels <= 64);
    assert_eq!(header.payload_bytes().unwrap_or(packet.payload.len()), packet.payload.len());
    read_samples(&packet);

    let extensions = others(&packet);
    let mut again = [0; PACKET_BYTES_MAX];
    let length = AudioPacket::encode(&header, &extensions, packet.payload, &mut again).expect("it was read");
    // The session time comes first now, and once; flags that are not assigned are gone.
    assert!(length <= bytes.len());
    let read = AudioPacket::decode(&again[..length]).expect("it was written");
    assert_eq!((read.header, read.payload), (header, packet.payload));
    assert_eq!(others(&read), extensions);

    set_repeat(&mut again[..length], true);
    let repeat = AudioPacket::decode(&again[..length]).expect("a flag changes nothing else");
    assert_eq!((repeat.header.sequence, repeat.payload), (header.sequence, packet.payload));
});
