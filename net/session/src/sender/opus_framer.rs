//! Blocks of any length into frames of Opus, each at its right place on the sample clock.

use audiocloud_codec::opus::{self, Encoder, OpusError};
use audiocloud_rt::block_ring::{self, Samples};
use audiocloud_units::SampleRate;
use audiocloud_wire::packet::audio::Flags;

use super::encoding::Encoding;
use super::rendition::{Outline, Parts, ROOM_BYTES};
use crate::convert;

/// After so many frames an encoder that began in the middle sounds as if it had not.
const WARM_FRAMES: u32 = 3;

/// Some of the channels, in pairs, encoded into one packet.
#[derive(Debug)]
struct Group {
    encoder: Encoder,
    first_channel: usize,
    channels: usize,
}

/// Gathers samples until they are a frame.
#[derive(Debug)]
pub(super) struct OpusFramer {
    groups: Vec<Group>,
    /// A frame of each channel, filled so far to `filled`.
    frame: Vec<Vec<f32>>,
    filled: usize,
    frames: usize,
    /// Where the frame begins, as the input counts; none before the first block.
    start: Option<u64>,
    epoch: Option<u32>,
    /// By how much what a decoder gives is later than what it was made of.
    lookahead: u64,
    is_discontinuous: bool,
    encoded: u32,
}

impl OpusFramer {
    pub(super) fn new(encoding: Encoding, channels: u16, sample_rate: SampleRate) -> Result<Self, OpusError> {
        let channels = usize::from(channels);
        let bitrate_bps = encoding.bitrate_bps.min(bitrate_max(encoding.frame_us));
        let per_packet = channels_per_packet(bitrate_bps, encoding.frame_us);
        let groups = (0..channels).step_by(per_packet).map(|first_channel| {
            let channels = per_packet.min(channels - first_channel);
            let encoder = Encoder::new(channels, sample_rate.hz(), bitrate_bps, encoding.frame_us)?;
            Ok(Group { encoder, first_channel, channels })
        });
        let groups = groups.collect::<Result<Vec<_>, OpusError>>()?;
        let first = groups.first().ok_or(OpusError::Channels(channels))?;
        let frames = first.encoder.frames();
        let lookahead = u64::try_from(first.encoder.lookahead_frames()).unwrap_or(0);
        Ok(Self {
            groups,
            frame: vec![vec![0.0; frames]; channels],
            filled: 0,
            frames,
            start: None,
            epoch: None,
            lookahead,
            is_discontinuous: false,
            encoded: 0,
        })
    }

    pub(super) fn is_warm(&self) -> bool {
        self.encoded >= WARM_FRAMES
    }

    pub(super) fn set_loss(&mut self, percent: u8) {
        for group in &mut self.groups {
            group.encoder.set_loss(percent);
        }
    }

    /// Adds a block, and to `parts` every frame that it completes. How many could not be encoded.
    pub(super) fn encode(
        &mut self,
        block: &block_ring::Header,
        samples: &Samples<'_>,
        parts: &mut Parts,
    ) -> u64 {
        if usize::from(block.channels) != self.frame.len() {
            return 1;
        }
        let mut failed = self.go_to(block, parts);
        self.is_discontinuous |= block.flags.contains(block_ring::Flags::DISCONTINUITY);
        let mut done = 0;
        while done < block.frame_count() {
            let taken = (self.frames - self.filled).min(block.frame_count() - done);
            for (channel, frame) in self.frame.iter_mut().enumerate() {
                let out = &mut frame[self.filled..self.filled + taken];
                copy(samples.channel(channel), done, out);
            }
            self.filled += taken;
            done += taken;
            if self.filled == self.frames {
                failed += self.finish_frame(block, parts);
            }
        }
        failed
    }

    /// Bridges what lies between the last block and this one: a gap within the frame becomes silence, after a longer one
    /// a new frame begins.
    fn go_to(&mut self, block: &block_ring::Header, parts: &mut Parts) -> u64 {
        let at = block.start.get();
        let same_epoch = self.epoch == Some(block.epoch.0);
        self.epoch = Some(block.epoch.0);
        let start = match self.start {
            Some(start) if same_epoch => start,
            _ => {
                (self.start, self.filled) = (Some(at), 0);
                return 0;
            }
        };
        let end = start + u64::try_from(self.filled).unwrap_or(0);
        let mut failed = 0;
        if at == end {
            return 0;
        }
        self.is_discontinuous = true;
        let gap = at.checked_sub(end).and_then(|gap| usize::try_from(gap).ok());
        let room = self.frames - self.filled;
        let within = gap.filter(|gap| *gap < room && self.filled > 0);
        if self.filled > 0 {
            let upto = within.map_or(self.frames, |gap| self.filled + gap);
            for frame in &mut self.frame {
                frame[self.filled..upto].fill(0.0);
            }
            self.filled = upto;
        }
        if within.is_none() {
            if self.filled > 0 {
                failed = self.finish_frame(block, parts);
            }
            (self.start, self.filled) = (Some(at), 0);
        }
        failed
    }

    fn finish_frame(&mut self, block: &block_ring::Header, parts: &mut Parts) -> u64 {
        let start = self.start.unwrap_or(0);
        self.start = Some(start + u64::try_from(self.frames).unwrap_or(0));
        self.filled = 0;
        self.encoded = self.encoded.saturating_add(1);
        // What comes out begins before what went in; before the first frame of all there is nothing to be heard.
        let first_frame = start.checked_sub(self.lookahead);
        let mut flags = convert::flags_to_wire(block.flags, false);
        flags = Flags::from_bits(flags.bits() & !Flags::SILENCE.bits());
        if first_frame.is_some() && std::mem::take(&mut self.is_discontinuous) {
            flags = flags.union(Flags::DISCONTINUITY);
        }
        let mut failed = 0;
        for group in &mut self.groups {
            let channels = &self.frame[group.first_channel..group.first_channel + group.channels];
            let Some(first_frame) = first_frame else {
                let mut unheard = [0; ROOM_BYTES];
                failed += u64::from(group.encoder.encode(channels, &mut unheard).is_err());
                continue;
            };
            let outline = u8::try_from(usize::from(block.first_channel) + group.first_channel)
                .ok()
                .zip(u8::try_from(group.channels).ok().zip(u16::try_from(self.frames).ok()))
                .map(|(first_channel, (channels, frames))| Outline {
                    first_frame,
                    frames,
                    first_channel,
                    channels,
                    flags,
                });
            let pushed = outline.and_then(|outline| {
                parts.push(block, outline, |room, _| group.encoder.encode(channels, room).ok())
            });
            failed += u64::from(pushed.is_none());
        }
        failed
    }
}

/// Per pair: a packet has room for a frame of it.
fn bitrate_max(frame_us: u32) -> u32 {
    let bits = u64::try_from(ROOM_BYTES * 8).unwrap_or(0);
    u32::try_from(bits * 900_000 / u64::from(frame_us.max(1))).unwrap_or(u32::MAX)
}

/// As many pairs as fit into a packet even where the encoder spends twice its rate on a frame.
fn channels_per_packet(bitrate_bps: u32, frame_us: u32) -> usize {
    let bytes = u64::from(bitrate_bps) * u64::from(frame_us) / 8_000_000;
    let pair = usize::try_from(2 * bytes).unwrap_or(usize::MAX).min(opus::payload_max(2)).max(1) + 2;
    2 * (ROOM_BYTES / pair).clamp(1, 32)
}

/// Copies what follows the first `skip` samples of the two slices.
fn copy((first, second): (&[f32], &[f32]), skip: usize, out: &mut [f32]) {
    let rest = second.get(skip.saturating_sub(first.len())..).unwrap_or_default();
    let first = first.get(skip..).unwrap_or_default();
    let (front, back) = out.split_at_mut(first.len().min(out.len()));
    front.copy_from_slice(&first[..front.len()]);
    let length = back.len().min(rest.len());
    back[..length].copy_from_slice(&rest[..length]);
    back[length..].fill(0.0);
}
