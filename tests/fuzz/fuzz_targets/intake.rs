//! What a peer can send to a receiver, well formed and not, in any order and at any time: every block lies within
//! the stream, whatever is sent back can be read, what is to be done has an end, and time goes on.
#![no_main]

use audiocloud_rt::block_ring::Epoch;
use audiocloud_rt::due::Due;
use audiocloud_rt::snapshot::snapshot;
use audiocloud_session::receiver::{Config, Intake, Output};
use audiocloud_units::{HostTime, MediaTime, Nanos, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{ConfigId, StreamId};
use audiocloud_wire::packet::audio::{self, AudioPacket};
use audiocloud_wire::packet::event::{self, Body};
use audiocloud_wire::packet::repair::{self, RepairPacket};
use audiocloud_wire::packet::{FRAME_INDEX_MAX, PACKET_BYTES_MAX, Packet};
use libfuzzer_sys::fuzz_target;

const STREAM: StreamId = StreamId(1);
const CONFIG: ConfigId = ConfigId(1);
const CHANNELS: u16 = 4;

/// Packets of one input.
const STEPS_MAX: usize = 128;

/// Blocks, events and datagrams that one packet may lead to: the packets that wait, and the most that are computed.
const OUTPUTS_MAX: usize = 1024;

/// One step of an input: what comes, when, and what is in it.
struct Step<'a> {
    what: u8,
    flags: u8,
    wait: u8,
    /// Sequence, event number, or frame, near zero and on both sides of the wrap, or anywhere.
    number: u32,
    small: u8,
    bytes: &'a [u8],
}

impl<'a> Step<'a> {
    fn take(input: &mut &'a [u8]) -> Option<Self> {
        let (&[what, flags, wait, far, near, small, length], rest) = input.split_first_chunk()?;
        let (bytes, rest) = rest.split_at(usize::from(length).min(rest.len()));
        *input = rest;
        let number = u32::from(near).wrapping_sub(40);
        let number = if far > 240 { number.wrapping_add(u32::from(far) << 24) } else { number };
        Some(Self { what, flags, wait, number, small, bytes })
    }

    /// The datagram, none where its fields do not go together.
    fn datagram(&self, out: &mut [u8]) -> Option<usize> {
        let epoch = u32::from(self.what >> 7);
        match self.what % 4 {
            0 => self.audio(epoch, out),
            1 => self.events(epoch, out),
            2 => {
                let mut symbol = vec![self.flags; repair::SYMBOL_BYTES_MIN.max(self.bytes.len())];
                symbol[..self.bytes.len()].copy_from_slice(self.bytes);
                let header = repair::Header {
                    stream: STREAM,
                    epoch,
                    last_sequence: self.number,
                    window: self.small % 17,
                    key: self.flags,
                };
                RepairPacket { header, symbol: &symbol }.encode(out).ok()
            }
            _ => {
                out[..self.bytes.len()].copy_from_slice(self.bytes);
                Some(self.bytes.len())
            }
        }
    }

    fn audio(&self, epoch: u32, out: &mut [u8]) -> Option<usize> {
        let codec = Codec::from_number(self.what >> 2 & 3)?;
        let channels = self.small % 5;
        let sample = usize::from(channels) * codec.bytes_per_sample().unwrap_or(1);
        let frames = self.bytes.len().checked_div(sample)?.min(48);
        let flags = audio::Flags::from_bits(self.flags);
        let payload = match codec {
            _ if flags.contains(audio::Flags::SILENCE) => &[],
            Codec::Opus => self.bytes,
            _ if flags.contains(audio::Flags::PACKED) => {
                &self.bytes[..self.bytes.len().min((frames * sample).checked_sub(1)?)]
            }
            _ => &self.bytes[..frames * sample],
        };
        let header = audio::Header {
            stream: STREAM,
            epoch,
            config: CONFIG,
            sequence: self.number,
            first_frame: u64::from(self.number).wrapping_mul(48) % (FRAME_INDEX_MAX - 1000),
            frames: if codec == Codec::Opus {
                120 << (self.small >> 6)
            } else {
                u16::try_from(frames).ok()?
            },
            first_channel: self.small >> 3 & 1,
            channels,
            codec,
            session_time_ns: i64::from(self.wait) << 55,
            link_offset_us: u32::from(self.small) << 20,
            flags,
        };
        AudioPacket::encode(&header, &[], payload, out).ok()
    }

    fn events(&self, epoch: u32, out: &mut [u8]) -> Option<usize> {
        let base_frame = u64::from(self.number) << (self.small % 32);
        let header =
            event::Header { stream: STREAM, epoch, config: CONFIG, first_number: self.number, base_frame };
        let mut encoder = event::Encoder::new(&header, &[], out).ok()?;
        for bytes in self.bytes.chunks_exact(3).take(usize::from(self.flags % 40)) {
            let bytes = [bytes[0], bytes[1], bytes[2]];
            encoder.try_push(base_frame + u64::from(bytes[0]), &Body::Midi1 { port: 0, bytes }).ok()?;
        }
        Some(encoder.finish())
    }
}

fn check(output: &Output<'_>) {
    match output {
        Output::Block { stream, header, samples } => {
            assert_eq!(*stream, STREAM);
            assert!(header.frames > 0 && header.channels > 0);
            assert!(header.first_channel + header.channels <= CHANNELS && header.stream_channels == CHANNELS);
            let mut out = [f32::NAN; 8];
            for channel in 0..usize::from(header.channels) {
                samples.read(channel, header.frames as usize - 1, &mut out);
            }
        }
        Output::Event { stream, .. } => assert_eq!(*stream, STREAM),
        Output::Send(bytes) => {
            assert!(matches!(Packet::decode(bytes), Ok(Packet::Report(_) | Packet::Request(_))));
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&[rtt, hold, start], mut rest)) = input.split_first_chunk() else { return };
    let sample_rate = SampleRate::new(48_000).expect("a rate");
    let mut now = HostTime::new(1_000_000_000);
    let mut intake = Intake::new();
    intake.open(Config { stream: STREAM, config: CONFIG, sample_rate, channels: CHANNELS }, now);
    intake.set_rtt(Nanos::from_micros(i64::from(rtt) * 200));
    let due = Due {
        epoch: Epoch(0),
        media: MediaTime::new(u64::from(start) * 12),
        at: now,
        sample_rate,
        hold: Nanos::from_micros(i64::from(hold) * 100),
        patience: Nanos::from_micros(i64::from(hold) * 10),
        latency: Nanos::from_micros(i64::from(hold) * 200),
        needs: (hold & 1 != 0).then_some(Nanos::from_micros(i64::from(hold) * 300)),
    };
    let (_writer, reader) = snapshot((start != 0).then_some(due));
    intake.set_dues(STREAM, vec![reader]);
    for _ in 0..STEPS_MAX {
        let Some(step) = Step::take(&mut rest) else { break };
        let mut outputs = 0;
        let mut out = |output: Output<'_>| {
            check(&output);
            outputs += 1;
            assert!(outputs <= OUTPUTS_MAX, "one packet leads to too much");
        };
        let mut datagram = [0; PACKET_BYTES_MAX];
        if let Some(length) = step.datagram(&mut datagram) {
            let _refused = intake.handle(&datagram[..length], now, &mut out);
        }
        now = now + Nanos::from_micros(i64::from(step.wait) * i64::from(step.wait));
        intake.poll(now, &mut out);
        assert!(intake.next_wake().is_none_or(|at| at > now), "what was due by now is done");
        let _figures = (intake.figures(STREAM), intake.state(STREAM, now));
    }
});
