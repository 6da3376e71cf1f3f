//! What a receiver can say to a sender, true or not: what it is sent again it was sent before, in bounds, and the
//! stream goes on.
#![no_main]

use audiocloud_rt::block_ring::{Epoch, Flags, Header, block_ring};
use audiocloud_session::sender::{Description, LaneId, Stream};
use audiocloud_units::{Frames, HostTime, MediaTime, Nanos, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{ConfigId, StreamId};
use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::report::ReceiverReport;
use audiocloud_wire::packet::request::ResendRequest;
use audiocloud_wire::quality::Quality;
use libfuzzer_sys::fuzz_target;

const STREAM: StreamId = StreamId(1);
const LANE: LaneId = LaneId(1);
const EPOCH: u32 = 7;
const FRAMES: u32 = 64;

/// Blocks of one input.
const STEPS_MAX: usize = 128;

/// Packets that a step may send: a block's, its repairs and events, and those that a request has bits for.
const PACKETS_MAX: usize = 256;

/// Many bytes of what receivers say, from few of the input: small, large and near what is true.
fn numbers<const N: usize>(bytes: &[u8]) -> [u32; N] {
    std::array::from_fn(|place| match bytes.get(place).copied().unwrap_or(0) {
        byte @ 0..200 => u32::from(byte),
        byte @ 200..240 => u32::from(byte) << 16,
        byte => u32::MAX - u32::from(byte - 240),
    })
}

fn quality(what: u8) -> Quality {
    let codec = Codec::from_number(what & 7);
    let frame_us = [0, 2_500, 5_000, 10_000, 20_000, 1, u32::MAX, 7_500][usize::from(what >> 3 & 7)];
    Quality { codec, bitrate_bps: u32::from(what) * 4_000, frame_us }
}

fuzz_target!(|input: &[u8]| {
    let Some((&[first, channels], mut rest)) = input.split_first_chunk() else { return };
    let channels = u16::from(channels % 9) + 1;
    let sample_rate = SampleRate::new(48_000).expect("a rate");
    let mut now = HostTime::new(1_000_000_000);
    let description =
        Description { stream: STREAM, config: ConfigId(1), sample_rate, channels, codec: Codec::PcmS24 };
    let mut stream = Stream::new(description);
    stream.subscribe(LANE, quality(first), now, &mut |_, _| ());
    let mut header = Header {
        epoch: Epoch(EPOCH),
        sample_rate,
        start: MediaTime::ZERO,
        frames: FRAMES,
        first_channel: 0,
        channels,
        stream_channels: channels,
        host_time: now,
        session_time: None,
        flags: Flags::NONE,
        recovery: Nanos::ZERO,
    };
    let (mut blocks_in, mut blocks_out) = block_ring(1, header.samples());
    for _ in 0..STEPS_MAX {
        let Some((&[what, wait], after)) = rest.split_first_chunk() else { break };
        let (bytes, after) = after.split_at(16.min(after.len()));
        rest = after;
        let mut sent = 0;
        let mut send = |lane: LaneId, packet: bytes::Bytes| {
            assert_eq!(lane, LANE);
            assert!(matches!(
                Packet::decode(&packet),
                Ok(Packet::Audio(_) | Packet::Event(_) | Packet::Repair(_))
            ));
            sent += 1;
            assert!(sent <= PACKETS_MAX, "one step sends too much");
        };
        match what % 8 {
            0 => {
                let [epoch, first_sequence, high, low] = numbers(bytes);
                let mask = u64::from(high) << 32 | u64::from(low);
                let epoch = if epoch < 100 { EPOCH } else { epoch };
                let request = ResendRequest { stream: STREAM, epoch, first_sequence, mask };
                stream.handle_request(LANE, &request, now, &mut send);
            }
            1 => {
                let [epoch, highest_sequence, received, lost, recovered, late, jitter_us, hold_us, heard_us] =
                    numbers(bytes);
                let [next_event] = numbers(bytes.get(9..).unwrap_or_default());
                let [repair_every, repair_window] =
                    [10, 11].map(|place| bytes.get(place).copied().unwrap_or_default());
                let report = ReceiverReport {
                    stream: STREAM,
                    epoch: if epoch < 100 { EPOCH } else { epoch },
                    highest_sequence,
                    received,
                    lost,
                    recovered,
                    late,
                    jitter_us,
                    hold_us,
                    heard_us,
                    next_event,
                    repair_every,
                    repair_window: repair_window % 17,
                    needs_us: (next_event & 1 == 1).then_some(heard_us),
                };
                stream.handle_report(LANE, &report, now);
            }
            2 => stream.subscribe(LANE, quality(bytes.first().copied().unwrap_or(0)), now, &mut send),
            3 => stream.set_rate_cap(LANE, bytes.first().map(|byte| u64::from(*byte) * 10_000)),
            4 => stream.tick(now, &mut send),
            _ => {
                let fill = |channel: usize, from: usize, out: &mut [f32]| {
                    for (frame, out) in out.iter_mut().enumerate() {
                        let byte = bytes.get((channel + from + frame) % 16).copied().unwrap_or(0);
                        *out = f32::from(byte) / 128.0 - 1.0;
                    }
                };
                blocks_in.try_push(&header, fill).expect("the ring is empty");
                let pushed =
                    blocks_out.try_pop(|header, samples| stream.push_block(header, &samples, now, &mut send));
                pushed.expect("a block").expect("of this stream");
                header.start += Frames::from(FRAMES);
            }
        }
        now = now + Nanos::from_micros(i64::from(wait) * i64::from(wait));
        stream.figures(now);
    }
});
