//! Blocks of samples as payloads, encoded once however many lanes send them.

use audiocloud_codec::opus::OpusError;
use audiocloud_codec::pack::Packer;
use audiocloud_rt::block_ring::{self, Samples};
use audiocloud_units::{Frames, MediaTime, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::packet::audio::{Flags, TIMED_PAYLOAD_BYTES_MAX};
use audiocloud_wire::packet::packetizer::Shape;
use audiocloud_wire::pcm::InterleavedMut;

use super::encoding::Encoding;
use super::opus_framer::OpusFramer;
use crate::convert;

/// Bytes that a payload may have, whatever else its packet says.
pub(super) const ROOM_BYTES: usize = TIMED_PAYLOAD_BYTES_MAX;

/// One packet to be, without what differs from lane to lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first_frame: u64,
    pub(super) frames: u16,
    pub(super) first_channel: u8,
    pub(super) channels: u8,
    pub(super) flags: Flags,
    pub(super) session_time_ns: i64,
    pub(super) link_offset_us: u32,
    /// Where its payload is, and how long.
    start: usize,
    length: usize,
}

/// Payloads side by side, and what is to be said of each.
#[derive(Debug, Default)]
pub(super) struct Parts {
    payloads: Vec<u8>,
    parts: Vec<Part>,
}

impl Parts {
    fn clear(&mut self) {
        self.payloads.clear();
        self.parts.clear();
    }

    /// Adds a part whose payload `write` puts to the front of a slice of [`ROOM_BYTES`] bytes, and returns the length of.
    /// `block` gives the session time. `None`: it could not be written.
    pub(super) fn push(
        &mut self,
        block: &block_ring::Header,
        part: Outline,
        write: impl FnOnce(&mut [u8], &mut Flags) -> Option<usize>,
    ) -> Option<()> {
        let start = self.payloads.len();
        self.payloads.resize(start + ROOM_BYTES, 0);
        let mut flags = part.flags;
        let written = write(&mut self.payloads[start..], &mut flags);
        self.payloads.truncate(start + written.unwrap_or(0));
        let session_time_ns = block.session_time.map_or(0, |stamp| {
            let first = MediaTime::new(part.first_frame) - block.start;
            (stamp.time + first.to_nanos_floor(block.sample_rate)).get()
        });
        let link_offset = block.session_time.and_then(|stamp| stamp.link_offset).unwrap_or_default();
        self.parts.push(Part {
            first_frame: part.first_frame,
            frames: part.frames,
            first_channel: part.first_channel,
            channels: part.channels,
            flags,
            session_time_ns,
            link_offset_us: u32::try_from(link_offset.get() / 1_000).unwrap_or(0),
            start,
            length: written?,
        });
        Some(())
    }
}

/// Where a part lies, before its payload is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline {
    pub(super) first_frame: u64,
    pub(super) frames: u16,
    pub(super) first_channel: u8,
    pub(super) channels: u8,
    pub(super) flags: Flags,
}

#[derive(Debug)]
enum Writer {
    Pcm { codec: Codec, packer: Packer, plain: Vec<u8> },
    Opus(Box<OpusFramer>),
}

/// A stream in one encoding.
#[derive(Debug)]
pub(super) struct Rendition {
    encoding: Encoding,
    writer: Writer,
    parts: Parts,
}

impl Rendition {
    /// Of a stream of so many channels.
    ///
    /// # Errors
    ///
    /// [`OpusError`]: Opus does not do this rate, this frame or so many channels.
    pub(super) fn new(encoding: Encoding, channels: u16, sample_rate: SampleRate) -> Result<Self, OpusError> {
        let writer = match encoding.codec {
            Codec::Opus => Writer::Opus(Box::new(OpusFramer::new(encoding, channels, sample_rate)?)),
            codec => Writer::Pcm { codec, packer: Packer::default(), plain: Vec::new() },
        };
        Ok(Self { encoding, writer, parts: Parts::default() })
    }

    /// How it is written.
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// What is to be sent of the last block, in the order of time.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&Part, &[u8])> {
        let Parts { payloads, parts } = &self.parts;
        parts.iter().filter_map(|part| Some((part, payloads.get(part.start..part.start + part.length)?)))
    }

    /// Whether a decoder that begins here hears what it should.
    pub(super) fn is_warm(&self) -> bool {
        match &self.writer {
            Writer::Pcm { .. } => true,
            Writer::Opus(framer) => framer.is_warm(),
        }
    }

    /// How many packets of a hundred are lost on the worst of the paths.
    pub(super) fn set_loss(&mut self, percent: u8) {
        if let Writer::Opus(framer) = &mut self.writer {
            framer.set_loss(percent);
        }
    }

    /// Makes the parts of this block, in place of those of the one before. Returns how many could not be made: none, but
    /// for a block that is not of this stream.
    pub(super) fn encode(&mut self, block: &block_ring::Header, samples: &Samples<'_>) -> u64 {
        self.parts.clear();
        match &mut self.writer {
            Writer::Opus(framer) => framer.encode(block, samples, &mut self.parts),
            Writer::Pcm { codec, packer, plain } => {
                write_pcm(*codec, packer, plain, block, samples, &mut self.parts)
            }
        }
    }
}

fn write_pcm(
    codec: Codec,
    packer: &mut Packer,
    plain: &mut Vec<u8>,
    block: &block_ring::Header,
    samples: &Samples<'_>,
    parts: &mut Parts,
) -> u64 {
    let Some(shape) = shape(codec, block) else { return 1 };
    let mut failed = 0;
    for piece in shape.pieces() {
        let first_frame = (block.start + Frames::from(piece.frame_offset)).get();
        let outline = Outline {
            first_frame,
            frames: piece.frames,
            first_channel: piece.first_channel,
            channels: piece.channels,
            flags: convert::flags_to_wire(block.flags, piece.frame_offset == 0),
        };
        let pushed = parts.push(block, outline, |room, flags| {
            if flags.contains(Flags::SILENCE) {
                return Some(0);
            }
            let channels = usize::from(piece.channels);
            let bytes = usize::from(piece.frames) * channels * codec.bytes_per_sample()?;
            plain.resize(bytes, 0);
            let mut writer = InterleavedMut::new(codec, channels, piece.frames.into(), plain)?;
            let first = usize::from(piece.first_channel.checked_sub(shape.first_channel)?);
            let skip = usize::try_from(piece.frame_offset).ok()?;
            for channel in 0..channels {
                writer.write_pair(channel, samples.channel(first + channel), skip);
            }
            let room = room.get_mut(..bytes)?;
            if let Some(bits) = codec.integer_bits()
                && let Some(packed) = packer.pack(plain, channels, bits, room)
            {
                *flags = flags.union(Flags::PACKED);
                return Some(packed);
            }
            room.copy_from_slice(plain);
            Some(bytes)
        });
        failed += u64::from(pushed.is_none());
    }
    failed
}

fn shape(codec: Codec, block: &block_ring::Header) -> Option<Shape> {
    let mut shape = Shape::new(codec, block.frames, u8::try_from(block.channels).ok()?);
    shape.first_channel = u8::try_from(block.first_channel).ok()?;
    if block.flags.contains(block_ring::Flags::SILENCE) {
        shape.bytes_per_sample = 0;
    }
    Some(shape)
}
