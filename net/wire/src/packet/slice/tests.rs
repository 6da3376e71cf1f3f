use super::*;
use crate::packet::event::NoteAddress;

const HEADER: Header = Header {
    remote: RemoteId(0x0102_0304_0506_0708),
    flags: Flags::BACK,
    epoch: 0xa1a2_a3a4,
    sequence: 0xc1c2_c3c4,
    first_event: u32::MAX,
    first_frame: 0x11d2_d3d4_d5d6_d7d8,
    frames: 2,
    channels: 2,
};
const PARAMETER: Body<'static> =
    Body::Parameter { effect: 0x0b, parameter: 0x0c, value: -0.5, ramp_frames: Some(0x0d) };
const BYPASS: Body<'static> = Body::Bypass { effect: 7, on: true };
const TRANSPORT: Body<'static> =
    Body::Transport { playing: true, tempo_bpm: 120.0, position_beats: -2.0, signature: (6, 8) };

const BYTES: &[u8] = b"\x16\x01\x02\x02\xa1\xa2\xa3\xa4\x01\x02\x03\x04\x05\x06\x07\x08\xc1\xc2\xc3\xc4\
    \xff\xff\xff\xff\x11\xd2\xd3\xd4\xd5\xd6\xd7\xd8\x00\x02\x00\x1d\
    \x00\x00\x10\x10\x00\x00\x00\x0b\x00\x00\x00\x0c\xbf\x00\x00\x00\x00\x00\x00\x0d\
    \x00\x01\x11\x05\x00\x00\x00\x07\x01\
    \x3f\x80\x00\x00\xbf\x00\x00\x00\x40\x00\x00\x00\x7f\xc0\x00\x01";

const SAMPLES: [[f32; 2]; 2] = [[1.0, -0.5], [2.0, f32::from_bits(0x7fc0_0001)]];

fn encoded(header: &Header, events: &[(u16, Body<'_>)]) -> Vec<u8> {
    let mut bytes = [0xee; SLICE_BYTES_MAX];
    let mut encoder = Encoder::new(header, &mut bytes).unwrap();
    events.iter().for_each(|(offset, body)| encoder.try_push(*offset, body).unwrap());
    let length = encoder.finish(|channel, room| write_samples(&SAMPLES[channel % 2], room));
    bytes[..length].to_vec()
}

#[test]
fn bytes_are_those_of_the_table() {
    assert_eq!(encoded(&HEADER, &[(0, PARAMETER), (1, BYPASS)]), BYTES);
    let packet = SlicePacket::decode(BYTES).unwrap();
    assert_eq!((packet.header, packet.count(), packet.next_event()), (HEADER, 2, 1));
    assert_eq!(packet.end(), HEADER.first_frame + 2);
    let events: Vec<_> = packet.events().collect();
    let first = HEADER.first_frame;
    assert_eq!(events[0], Event { number: u32::MAX, frame: first, body: PARAMETER });
    assert_eq!(events[1], Event { number: 0, frame: first + 1, body: BYPASS });
    for (channel, expected) in SAMPLES.iter().enumerate() {
        let mut out = [9.0; 3];
        packet.samples.read(channel, 0, &mut out);
        let bits = |samples: &[f32]| samples.iter().map(|sample| sample.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&out[..2]), bits(expected), "bit for bit, whatever it is");
        assert_eq!(out[2].to_bits(), 0, "what is outside is zero");
    }
}

#[test]
fn every_other_length_is_refused() {
    for length in 0..BYTES.len() {
        assert!(SlicePacket::decode(&BYTES[..length]).is_err(), "{length} bytes");
    }
    let longer = [BYTES, &[0]].concat();
    assert_eq!(SlicePacket::decode(&longer), Err(DecodeError::PayloadLength { expected: 16, found: 17 }));
    let too_long = [BYTES, &[0; SLICE_BYTES_MAX]].concat();
    assert_eq!(SlicePacket::decode(&too_long), Err(DecodeError::TooLong));
}

#[test]
fn fields_out_of_range_are_refused() {
    let check = |at: usize, field: &[u8], error: DecodeError| {
        let mut bytes = BYTES.to_vec();
        bytes[at..at + field.len()].copy_from_slice(field);
        assert_eq!(SlicePacket::decode(&bytes), Err(error));
    };
    check(0, &[0x10], DecodeError::OtherKind(Kind::Audio));
    check(2, &[0], DecodeError::Channels { first: 0, count: 0 });
    check(2, &[65], DecodeError::Channels { first: 0, count: 65 });
    check(2, &[1], DecodeError::PayloadLength { expected: 8, found: 16 });
    check(3, &[1], DecodeError::TrailingBytes);
    check(3, &[3], DecodeError::Truncated);
    check(24, &[0xff; 8], DecodeError::FrameIndex);
    check(24, &(FRAME_INDEX_MAX - 1).to_be_bytes(), DecodeError::FrameIndex);
    check(32, &[4, 1], DecodeError::TooLong);
    check(34, &[0, 30], DecodeError::TrailingBytes);
    check(34, &[0xff, 0xff], DecodeError::Truncated);
    check(39, &[15], DecodeError::EventLength(16));
    check(48, &[0x7f, 0xc0], DecodeError::NotFinite);
    check(58, &[18], DecodeError::EventLength(18));
}

#[test]
fn all_bodies_come_back_as_they_went() {
    let note = NoteAddress { note_id: -1, port: 0, channel: 9, key: 60 };
    let strange = [1, 2, 3];
    let bodies = [
        Body::Voice(event::Body::NoteOn { note, velocity: 0.75 }),
        Body::Voice(event::Body::Unknown { kind: 200, bytes: &strange }),
        Body::Parameter { effect: 1, parameter: 2, value: 3.0, ramp_frames: None },
        PARAMETER,
        Body::Bypass { effect: 7, on: false },
        TRANSPORT,
        Body::Transport { playing: false, tempo_bpm: 1.0, position_beats: 2.0, signature: (3, 4) },
    ];
    for body in bodies {
        let bytes = encoded(&HEADER, &[(5, body)]);
        let events: Vec<_> = SlicePacket::decode(&bytes).unwrap().events().map(|event| event.body).collect();
        assert_eq!(events, [body]);
    }
}

#[test]
fn silence_and_events_alone_carry_no_samples() {
    let silence = Header { flags: Flags::SILENCE, frames: SLICE_FRAMES_MAX, channels: 64, ..HEADER };
    let bytes = encoded(&silence, &[]);
    assert_eq!(bytes.len(), HEADER_BYTES);
    let packet = SlicePacket::decode(&bytes).unwrap();
    let mut out = [9.0; 4];
    packet.samples.read(63, 1000, &mut out);
    assert_eq!((out, packet.end() - packet.header.first_frame), ([0.0; 4], 1024));
    let alone = Header { frames: 0, ..HEADER };
    assert_eq!(SlicePacket::decode(&encoded(&alone, &[(9, BYPASS)])).unwrap().count(), 1);
}

#[test]
fn a_slice_is_as_long_as_a_packet_of_audio() {
    use crate::packet::audio::AUDIO_BYTES_MAX;
    assert_eq!(SLICE_BYTES_MAX, AUDIO_BYTES_MAX);
    for (channels, frames) in [(1, 276), (2, 138), (4, 69), (8, 34), (64, 4), (0, 276)] {
        assert_eq!(frames_max(channels), frames, "{channels} channels");
    }
    let mut out = [0; 2000];
    let full = Header { frames: frames_max(2), ..HEADER };
    assert!(Encoder::new(&full, &mut out).is_ok());
    let more = Header { frames: full.frames + 1, ..HEADER };
    assert_eq!(Encoder::new(&more, &mut out).err(), Some(EncodeError::NoRoom));
}

#[test]
fn a_refused_event_leaves_the_slice_as_it_was() {
    let mut out = [0; SLICE_BYTES_MAX];
    let stereo = Header { frames: 128, ..HEADER };
    let mut encoder = Encoder::new(&stereo, &mut out).unwrap();
    let not_a_number = Body::Parameter { effect: 0, parameter: 0, value: f32::NAN, ramp_frames: None };
    assert_eq!(encoder.try_push(0, &not_a_number), Err(EncodeError::NotFinite));
    while encoder.try_push(0, &PARAMETER).is_ok() {}
    assert_eq!(encoder.count(), 4, "80 bytes beside 128 frames of stereo");
    assert_eq!(encoder.try_push(0, &BYPASS), Err(EncodeError::NoRoom));
    let length = encoder.finish(|_, room| room.fill(0));
    assert_eq!(length, SLICE_BYTES_MAX);
    assert_eq!(SlicePacket::decode(&out).unwrap().count(), 4);

    let last = Header { first_frame: FRAME_INDEX_MAX - 2, ..HEADER };
    let mut encoder = Encoder::new(&last, &mut out).unwrap();
    assert_eq!(encoder.try_push(3, &BYPASS), Err(EncodeError::FrameIndex));
}

#[test]
fn a_repeat_differs_by_its_flag() {
    let mut bytes = BYTES.to_vec();
    set_repeat(&mut bytes);
    set_repeat(&mut []);
    let packet = SlicePacket::decode(&bytes).unwrap();
    assert_eq!(packet.header, Header { flags: Flags::BACK | Flags::REPEAT, ..HEADER });
}
