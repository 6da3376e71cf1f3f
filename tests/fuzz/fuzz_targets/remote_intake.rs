//! What a peer can send to either end of a chain, well formed and not, in any order and at any time: every block lies within
//! the way's channels, on the way there they follow each other, whatever is sent can be read, what is to be done has an end,
//! and time goes on.
#![no_main]

use audiocloud_rt::block_ring::{Epoch, Flags as BlockFlags, Header as Block, block_ring};
use audiocloud_rt::chain_event::{ChainBody, ChainEvent};
use audiocloud_session::remote::framing::Deframer;
use audiocloud_session::remote::{Config, Intake, IntakeConfig, Outlet, Output, Transfer, Way};
use audiocloud_units::{HostTime, MediaTime, Nanos, SampleRate};
use audiocloud_wire::id::RemoteId;
use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::event;
use audiocloud_wire::packet::slice::{Body, Encoder, Flags, Header, SLICE_BYTES_MAX, SlicePacket};
use libfuzzer_sys::fuzz_target;

const REMOTE: RemoteId = RemoteId(1);
const CHANNELS: u16 = 2;

/// Slices of one input.
const STEPS_MAX: usize = 256;
/// Blocks, events and datagrams that one slice may lead to: 512 slices that wait, each after 200 ms of silence (10 blocks),
/// and the events that an input has room for.
const OUTPUTS_MAX: usize = 512 * 11 + 8192;

/// One step of an input: what comes, when, and what is in it.
struct Step<'a> {
    what: u8,
    wait: u8,
    /// Near zero and on both sides of the wrap, or anywhere.
    sequence: u32,
    first_event: u8,
    frame: u64,
    frames: u8,
    bytes: &'a [u8],
}

impl<'a> Step<'a> {
    fn take(input: &mut &'a [u8]) -> Option<Self> {
        let (&[what, wait, far, near, first_event, frame, frames, length], rest) =
            input.split_first_chunk()?;
        let (bytes, rest) = rest.split_at(usize::from(length).min(rest.len()));
        *input = rest;
        let sequence = u32::from(near);
        let sequence = if far > 240 { sequence.wrapping_add(u32::from(far) << 24) } else { sequence };
        let near_frame = u64::from(sequence).wrapping_mul(64);
        let frame = match frame {
            0..128 => near_frame,
            128..240 => near_frame + u64::from(frame) * 100,
            _ => u64::from(frame) << 54,
        };
        Some(Self { what, wait, sequence, first_event, frame, frames, bytes })
    }

    /// None where its fields do not go together.
    fn slice(&self, way: Way, out: &mut [u8]) -> Option<usize> {
        let back = if way == Way::Back { Flags::BACK } else { Flags::NONE };
        let flags = Flags::from_bits(self.what & 0b1110) | back;
        let header = Header {
            remote: REMOTE,
            flags,
            epoch: u32::from(self.what >> 6),
            sequence: self.sequence,
            first_event: u32::from(self.first_event),
            first_frame: self.frame,
            frames: self.frames.min(64).into(),
            channels: 2,
        };
        let mut encoder = Encoder::new(&header, out).ok()?;
        for bytes in self.bytes.chunks_exact(4) {
            let body = match bytes[0] % 4 {
                0 => Body::Bypass { effect: bytes[1].into(), on: bytes[2] > 127 },
                1 => Body::Voice(event::Body::Midi1 { port: 0, bytes: [bytes[1], bytes[2], bytes[3]] }),
                _ => Body::Parameter {
                    effect: u32::from(bytes[0]),
                    parameter: bytes[1].into(),
                    value: bytes[2].into(),
                    ramp_frames: None,
                },
            };
            encoder.try_push(bytes[3].into(), &body).ok()?;
        }
        Some(encoder.finish(|channel, room| room.fill(self.frames.wrapping_add(channel as u8))))
    }
}

/// What there is to know of what was handed over.
#[derive(Default)]
struct Heard {
    epoch: Option<Epoch>,
    next: u64,
}

impl Heard {
    fn check(&mut self, output: &Output<'_>, way: Way) {
        match output {
            Output::Block { header, samples } => {
                assert!(header.frames > 0 && header.channels == CHANNELS && header.first_channel == 0);
                if way == Way::There && self.epoch == Some(header.epoch) {
                    let follows = header.start.get() == self.next;
                    assert!(follows || header.flags.contains(BlockFlags::DISCONTINUITY));
                }
                (self.epoch, self.next) = (Some(header.epoch), header.start.get() + u64::from(header.frames));
                let mut out = [f32::NAN; 4];
                samples.read(usize::from(CHANNELS), 0, &mut out);
                assert_eq!(out, [0.0; 4]);
            }
            Output::Event(_) => {}
            Output::Send(bytes) => assert!(matches!(Packet::decode(bytes), Ok(Packet::SliceReport(_)))),
        }
    }
}

/// An outlet that has sent a little, and is asked for anything.
fn outlet(rest: &[u8], config: Config, mut now: HostTime) {
    let mut outlet = Outlet::new(config);
    let (mut producer, mut consumer) = block_ring(2, 8192);
    let mut sent = 0_usize;
    for (number, bytes) in rest.chunks(48).enumerate().take(64) {
        let header = Block {
            epoch: Epoch(u32::from(bytes[0] >> 7)),
            sample_rate: config.sample_rate,
            start: MediaTime::new(number as u64 * 64),
            frames: u32::from(bytes[0]) * 8,
            first_channel: 0,
            channels: CHANNELS,
            stream_channels: CHANNELS,
            host_time: now,
            session_time: None,
            flags: BlockFlags::NONE,
            recovery: Nanos::ZERO,
        };
        producer.try_push(&header, |_, _, out| out.fill(f32::from(bytes[0] % 3))).expect("room");
        let event = |byte: &u8| ChainEvent {
            epoch: header.epoch,
            time: MediaTime::new(number as u64 * 64 + u64::from(*byte) * 16),
            body: ChainBody::Parameter {
                effect: (*byte).into(),
                parameter: 0,
                value: f32::from(*byte) / f32::from(byte & 7),
                ramp_frames: (*byte > 127).then_some(64),
            },
        };
        let events: Vec<_> = bytes.iter().map(event).collect();
        let mut count = 0;
        let mut send = |packet: bytes::Bytes| {
            count += 1;
            if config.transfer == Transfer::Live {
                assert!(matches!(Packet::decode(&packet), Ok(Packet::Slice(_))));
            }
        };
        let pushed = consumer.try_pop(|block, samples| outlet.push(block, &samples, &events, now, &mut send));
        assert_eq!(pushed, Some(Ok(())));
        if let Ok(Packet::SliceReport(report)) = Packet::decode(bytes) {
            outlet.handle(&report, now, &mut send);
        }
        now = now + Nanos::from_micros(i64::from(bytes[0]) * 100);
        outlet.poll(now, &mut send);
        assert!(outlet.next_wake().is_none_or(|at| at > now));
        sent += count;
    }
    assert!(sent <= 64 * (64 + 64 * 2), "{sent} datagrams");
}

fuzz_target!(|input: &[u8]| {
    let Some((&[choice, rtt, patience], mut rest)) = input.split_first_chunk() else { return };
    let way = Way::of(choice & 1 != 0);
    let transfer = if choice & 2 != 0 { Transfer::Exact } else { Transfer::Live };
    let sample_rate = SampleRate::new(48_000).expect("a rate");
    let config = Config { remote: REMOTE, way, sample_rate, channels: CHANNELS, transfer };
    let mut now = HostTime::new(1_000_000_000);
    if choice & 4 != 0 {
        return outlet(rest, config, now);
    }
    if choice & 8 != 0 {
        let mut deframer = Deframer::default();
        while let Ok(Some(slice)) = deframer.next(&mut rest) {
            assert!(slice.len() <= SLICE_BYTES_MAX);
        }
        return;
    }
    let patience = Nanos::from_micros(i64::from(patience) * 200);
    let mut intake = Intake::new(IntakeConfig { config, patience, block_frames_max: 64 });
    intake.set_rtt(Nanos::from_micros(i64::from(rtt) * 200));
    let mut heard = Heard::default();
    for _ in 0..STEPS_MAX {
        let Some(step) = Step::take(&mut rest) else { break };
        let mut outputs = 0;
        let mut out = |output: Output<'_>| {
            heard.check(&output, way);
            outputs += 1;
            assert!(outputs <= OUTPUTS_MAX, "one slice leads to too much");
        };
        let mut datagram = [0; SLICE_BYTES_MAX];
        if let Some(length) = step.slice(way, &mut datagram) {
            let slice = SlicePacket::decode(&datagram[..length]).expect("it was written");
            intake.handle(&slice, now, &mut out);
        }
        if let Ok(slice) = SlicePacket::decode(step.bytes) {
            intake.handle(&slice, now, &mut out);
        }
        now = now + Nanos::from_micros(i64::from(step.wait) * i64::from(step.wait));
        intake.poll(now, &mut out);
        assert!(intake.next_wake().is_none_or(|at| at > now), "what was due by now is done");
    }
    let figures = intake.figures();
    assert!(figures.late <= figures.lost && figures.recovered <= figures.missed + figures.slices);
});
