//! Blocks to packets and back, as the runtime's pumps do it: `publisher` and `subscriber` of audiocloud-runtime, without
//! connections. The engine's tap and playout are real, and so are the bytes.

use audiocloud_rt::block_ring::{self, Epoch, Flags, Header};
use audiocloud_units::{Frames, HostTime, MediaTime, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{ConfigId, StreamId};
use audiocloud_wire::packet::audio::AudioPacket;
use audiocloud_wire::packet::packetizer::{Piece, Shape};
use audiocloud_wire::packet::{PACKET_BYTES_MAX, audio};
use audiocloud_wire::pcm::InterleavedMut;

pub(crate) const CODEC: Codec = Codec::PcmS24;

/// Cuts what is in the ring into packets.
pub(crate) fn pump(blocks: &mut block_ring::Consumer, sequence: &mut u32, mut send: impl FnMut(Vec<u8>)) {
    while blocks
        .try_pop(|header, samples| {
            let channels = u8::try_from(header.channels).unwrap();
            for piece in Shape::new(CODEC, header.frames, channels).pieces() {
                send(encode(header, &samples, &piece, *sequence));
                *sequence = sequence.wrapping_add(1);
            }
        })
        .is_some()
    {}
}

fn encode(block: &Header, samples: &block_ring::Samples<'_>, piece: &Piece, sequence: u32) -> Vec<u8> {
    let header = audio::Header {
        stream: StreamId(1),
        epoch: block.epoch.0,
        config: ConfigId(1),
        sequence,
        first_frame: (block.start + Frames::from(piece.frame_offset)).get(),
        frames: piece.frames,
        first_channel: piece.first_channel,
        channels: piece.channels,
        codec: CODEC,
        session_time_ns: 0,
        flags: audio::Flags::NONE,
    };
    let mut packet = vec![0; PACKET_BYTES_MAX];
    let start = header.encode(&[], &mut packet).unwrap();
    let mut writer =
        InterleavedMut::new(CODEC, piece.channels.into(), piece.frames.into(), &mut packet[start..]).unwrap();
    let (first, skip) = (usize::from(piece.first_channel), usize::try_from(piece.frame_offset).unwrap());
    for channel in 0..usize::from(piece.channels) {
        writer.write_pair(channel, samples.channel(first + channel), skip);
    }
    let length = start + writer.length();
    packet.truncate(length);
    packet
}

/// Puts a packet into the receiver's ring.
pub(crate) fn unpack(bytes: &[u8], at: HostTime, rate: SampleRate, blocks: &mut block_ring::Producer) {
    let packet = AudioPacket::decode(bytes).unwrap();
    let samples = packet.samples().unwrap();
    let block = Header {
        epoch: Epoch(packet.header.epoch),
        sample_rate: rate,
        start: MediaTime::new(packet.header.first_frame),
        frames: packet.header.frames.into(),
        first_channel: packet.header.first_channel.into(),
        channels: packet.header.channels.into(),
        stream_channels: packet.header.channels.into(),
        host_time: at,
        session_time: None,
        flags: Flags::NONE,
    };
    let pushed = blocks.try_push(&block, |channel, from, out| samples.read(channel, from, out));
    pushed.expect("the ring is emptied by each callback");
}

/// The first frame that a packet holds, and how many.
pub(crate) fn frames_of(bytes: &[u8]) -> (u64, u64) {
    let header = AudioPacket::decode(bytes).unwrap().header;
    (header.first_frame, header.frames.into())
}
