//! Properties that hold for all inputs: what is written is read back, and reading anything at all ends in a
//! value.

use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{
    ChangeHash, ConfigId, DeviceId, InputId, InstanceId, MachineId, RosterDigest, SessionId, Signature,
    StreamId, StreamKey, UserId,
};
use audiocloud_wire::message::{BeatLoop, BeatSegment, Beats, Finite, TempoRamp, TimeGrade};
use audiocloud_wire::message::{
    Bytes, Directory, Goodbye, GoodbyeReason, Hello, HelloRefused, Input, Inputs, Membership, Message, Patch,
    PatchRefused, Ping, Pong, Purpose, RefusalReason, SessionChanges, SessionHave, SessionPlaces,
    SessionRoster, StreamAnnouncement, Subscribe, SubscribeRefusal, SubscribeRefused, Text, Unknown,
    Unsubscribe, VersionRange, split_frame,
};
use audiocloud_wire::message::{TimeCandidate, TimeChoice, TimeLine, TimeMaster, TimeProcess, TimeState};
use audiocloud_wire::packet::audio::{AUDIO_BYTES_MAX, AudioPacket, Flags, Header};
use audiocloud_wire::packet::event::{self, Body, EventPacket, Expression, NoteAddress};
use audiocloud_wire::packet::extension::{Extension, LINK_OFFSET, SESSION_TIME, encoded_length};
use audiocloud_wire::packet::packetizer::Shape;
use audiocloud_wire::packet::repair::{self, RepairPacket};
use audiocloud_wire::packet::report::ReceiverReport;
use audiocloud_wire::packet::request::ResendRequest;
use audiocloud_wire::packet::{FRAME_INDEX_MAX, PACKET_BYTES_MAX, Packet};
use audiocloud_wire::pcm::{Interleaved, InterleavedMut, f32_to_s16, f32_to_s24, s16_to_f32};
use audiocloud_wire::quality::Quality;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(&Codec::ALL)
}

fn pcm() -> impl Strategy<Value = Codec> {
    prop::sample::select(&[Codec::PcmF32, Codec::PcmS24, Codec::PcmS16][..])
}

/// Extensions of any type but the session time, which is a field of the header.
fn is_of_time(kind: u8) -> bool {
    matches!(kind, SESSION_TIME | LINK_OFFSET)
}

fn extensions() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let kind = any::<u8>().prop_filter("not of time", |kind| !is_of_time(*kind));
    vec((kind, vec(any::<u8>(), 0..40)), 0..4)
}

fn borrowed(extensions: &[(u8, Vec<u8>)]) -> Vec<Extension<'_>> {
    extensions.iter().map(|(kind, value)| Extension { kind: *kind, value }).collect()
}

prop_compose! {
    fn header()(
        stream in any::<u64>(), epoch in any::<u32>(), config in any::<u16>(), sequence in any::<u32>(),
        frames in 1..200_u16, first_frame in 0..FRAME_INDEX_MAX - 200, first_channel in 0..64_u8,
        channels in 1..=64_u8, codec in codec(), session_time_ns in prop_oneof![Just(0), any::<i64>()],
        link_offset_us in prop_oneof![Just(0), any::<u32>()], flags in 0..4_u8,
    ) -> Header {
        Header {
            stream: StreamId(stream), epoch, config: ConfigId(config), sequence, first_frame, frames,
            first_channel, channels: channels.min(64 - first_channel), codec, session_time_ns,
            link_offset_us, flags: Flags::from_bits(flags),
        }
    }
}

prop_compose! {
    /// A header and a payload for it: silent, packed where it can be, as many samples as fit, or any bytes.
    fn audio()(
        header in header(), payload in vec(any::<u8>(), 800), length in 1..800_usize, silent in any::<bool>(),
        packed in any::<bool>(),
    ) -> (Header, Vec<u8>) {
        let mut header = header;
        if silent {
            header.flags = header.flags | Flags::SILENCE;
            return (header, vec![]);
        }
        let Some(bytes_per_sample) = header.codec.bytes_per_sample() else {
            return (header, payload[..length].to_vec());
        };
        let bytes_per_frame = bytes_per_sample * usize::from(header.channels);
        header.frames = header.frames.min(u16::try_from(payload.len() / bytes_per_frame).unwrap());
        let unpacked = bytes_per_frame * usize::from(header.frames);
        if packed && header.codec.integer_bits().is_some() {
            header.flags = header.flags | Flags::PACKED;
            return (header, payload[..length.clamp(1, unpacked - 1)].to_vec());
        }
        (header, payload[..unpacked].to_vec())
    }
}

prop_compose! {
    fn repair_header()(
        stream in any::<u64>(), epoch in any::<u32>(), last_sequence in any::<u32>(), window in 1..=16_u8,
        key in any::<u8>(),
    ) -> repair::Header {
        repair::Header { stream: StreamId(stream), epoch, last_sequence, window, key }
    }
}

fn symbol() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), repair::SYMBOL_BYTES_MIN..=repair::SYMBOL_BYTES_MAX)
}

prop_compose! {
    fn report()(
        stream in any::<u64>(), epoch in any::<u32>(), counts in any::<[u32; 5]>(), times in any::<[u32; 3]>(),
        next_event in any::<u32>(), repair_every in any::<u8>(), repair_window in 0..=16_u8,
        needs_us in of(any::<u32>()),
    ) -> ReceiverReport {
        let [highest_sequence, received, lost, recovered, late] = counts;
        let [jitter_us, hold_us, heard_us] = times;
        ReceiverReport {
            stream: StreamId(stream), epoch, highest_sequence, received, lost, recovered, late, jitter_us,
            hold_us, heard_us, next_event, repair_every, repair_window, needs_us,
        }
    }
}

prop_compose! {
    fn request()(
        stream in any::<u64>(), epoch in any::<u32>(), first_sequence in any::<u32>(), mask in any::<u64>(),
    ) -> ResendRequest {
        ResendRequest { stream: StreamId(stream), epoch, first_sequence, mask }
    }
}

prop_compose! {
    fn quality()(
        codec in of(codec()), bitrate_bps in prop_oneof![Just(0), any::<u32>()],
        frame_us in prop_oneof![Just(0), any::<u32>()],
    ) -> Quality {
        Quality { codec, bitrate_bps, frame_us }
    }
}

fn note() -> impl Strategy<Value = NoteAddress> {
    (any::<i32>(), any::<i16>(), any::<i16>(), any::<i16>())
        .prop_map(|(note_id, port, channel, key)| NoteAddress { note_id, port, channel, key })
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("a value of an event is finite", |value| value.is_finite())
}

fn body() -> impl Strategy<Value = Body<'static>> {
    prop_oneof![
        (note(), finite()).prop_map(|(note, velocity)| Body::NoteOn { note, velocity }),
        (note(), finite()).prop_map(|(note, velocity)| Body::NoteOff { note, velocity }),
        note().prop_map(|note| Body::NoteChoke { note }),
        (note(), 0..7_usize, finite()).prop_map(|(note, place, value)| {
            Body::NoteExpression { note, expression: Expression::ALL[place], value }
        }),
        (any::<u16>(), any::<[u8; 3]>()).prop_map(|(port, bytes)| Body::Midi1 { port, bytes }),
        (any::<u16>(), any::<[u32; 4]>()).prop_map(|(port, words)| Body::Midi2 { port, words }),
        (7..=255_u8).prop_map(|kind| Body::Unknown { kind, bytes: &[1, 2, 3, 4, 5] }),
    ]
}

fn text() -> impl Strategy<Value = Text> {
    any::<String>().prop_map(|text| Text::new(&text))
}

prop_compose! {
    fn announcement()(
        stream in any::<u64>(), name in text(), config in any::<u16>(), epoch in any::<u32>(),
        sample_rate_hz in 1..=u32::MAX, channels in 1..=64_u8, codec in of(codec()),
        codecs in prop::sample::subsequence(&Codec::ALL[..], 0..=4).prop_shuffle(), clock_domain in text(),
        block_frames_max in any::<u32>(), session in of(session()), talk_back in any::<bool>(),
    ) -> StreamAnnouncement {
        StreamAnnouncement {
            stream: StreamId(stream), name, config: ConfigId(config), epoch, sample_rate_hz, channels, codec,
            codecs, clock_domain, block_frames_max, session,
            purpose: if talk_back { Purpose::TalkBack } else { Purpose::Play },
        }
    }
}

prop_compose! {
    fn hello()(
        (min, max) in any::<(u8, u8)>(), user in any::<[u8; 32]>(), device in any::<[u8; 32]>(),
        certificate in vec(any::<u8>(), 64), instance in any::<[u8; 16]>(), boot_epoch in any::<u64>(),
        name in text(), software in text(),
        memberships in vec((session(), bytes()).prop_map(|(session, record)| Membership { session, record }), 0..=4),
    ) -> Message {
        Message::Hello(Box::new(Hello {
            versions: VersionRange { min, max }, user: UserId(user), device: DeviceId(device),
            certificate: Signature(certificate.try_into().unwrap()), instance: InstanceId(instance), boot_epoch,
            name, software, memberships,
        }))
    }
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<[u8; 32]>().prop_map(SessionId)
}

fn bytes<const MAX: usize>() -> impl Strategy<Value = Bytes<MAX>> {
    vec(any::<u8>(), 0..200).prop_map(|bytes| Bytes::try_from(bytes).unwrap())
}

prop_compose! {
    fn places()(
        session in session(), user in any::<[u8; 32]>(), device in any::<[u8; 32]>(), keys in vec(any::<u8>(), 128),
        instance in any::<[u8; 16]>(), places in vec(text(), 0..16), at_ms in any::<u64>(),
    ) -> Message {
        Message::SessionPlaces(Box::new(SessionPlaces {
            session, user: UserId(user), device: DeviceId(device),
            certificate: Signature(keys[..64].try_into().unwrap()), instance: InstanceId(instance), places, at_ms,
            signature: Signature(keys[64..].try_into().unwrap()),
        }))
    }
}

fn stream_key() -> impl Strategy<Value = StreamKey> {
    (any::<[u8; 32]>(), any::<u64>())
        .prop_map(|(device, stream)| StreamKey::new(DeviceId(device), StreamId(stream)))
}

prop_compose! {
    fn input()(
        input in any::<u64>(), name in text(), session in of(session()),
        playing in vec(stream_key(), 0..8), open in any::<bool>(),
    ) -> Input {
        Input { input: InputId(input), name, session, playing, open }
    }
}

/// Messages about sessions and the patch bay.
fn session_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (session(), vec(bytes(), 0..8), vec(bytes(), 0..8)).prop_map(|(session, records, revocations)| {
            Message::SessionRoster(SessionRoster { session, records, revocations })
        }),
        places(),
        (session(), vec(any::<[u8; 32]>().prop_map(ChangeHash), 0..128), any::<[u8; 32]>()).prop_map(
            |(session, heads, roster)| {
                Message::SessionHave(SessionHave { session, heads, roster: RosterDigest(roster) })
            }
        ),
        (session(), vec(bytes(), 0..8), any::<bool>()).prop_map(|(session, changes, more)| {
            Message::SessionChanges(SessionChanges { session, changes, more })
        }),
        vec(input(), 0..8).prop_map(|inputs| Message::Inputs(Inputs { inputs })),
        (any::<u64>(), stream_key(), any::<bool>()).prop_map(|(input, stream, on)| Message::Patch(Patch {
            input: InputId(input),
            stream,
            on
        })),
        (any::<u64>(), stream_key(), text()).prop_map(|(input, stream, text)| {
            Message::PatchRefused(PatchRefused { input: InputId(input), stream, text })
        }),
    ]
}

fn real() -> impl Strategy<Value = Finite> {
    finite().prop_map(|value| Finite::new(value).unwrap())
}

prop_compose! {
    fn time_master()(
        device in any::<[u8; 32]>(), instance in any::<[u8; 16]>(), numbers in any::<[u64; 5]>(), steps in any::<u8>(),
        alone in any::<bool>(),
    ) -> TimeMaster {
        let [epoch, origin, pulse, round_trip, bound] = numbers;
        TimeMaster {
            device: DeviceId(device), instance: InstanceId(instance), epoch, alone, origin, pulse,
            grade: TimeGrade::Network, round_trip, steps, bound,
        }
    }
}

prop_compose! {
    fn time_state()(
        session in of(session()), machine in any::<[u8; 16]>(), node in any::<bool>(),
        candidate in of(any::<u64>()), choice in of((any::<u64>(), of(any::<[u8; 32]>()))), master in of(time_master()),
        source in of((any::<[u8; 32]>(), any::<[u8; 16]>())), beats in any::<u64>(),
        line in of((any::<i64>(), any::<i64>(), real(), real())),
    ) -> Message {
        Message::TimeState(Box::new(TimeState {
            session, machine: MachineId(machine), node,
            candidate: candidate.map(|round_trip| TimeCandidate { grade: TimeGrade::Crystal, round_trip }),
            choice: choice.map(|(number, device)| TimeChoice { number, device: device.map(DeviceId) }),
            master, beats,
            source: source.map(|(device, instance)| TimeProcess {
                device: DeviceId(device), instance: InstanceId(instance),
            }),
            line: line.map(|(host, session, fraction, rate)| TimeLine { host, session, fraction, rate }),
        }))
    }
}

prop_compose! {
    fn segment()(
        (epoch, serial) in any::<(u64, u64)>(), (start, bar) in any::<(i64, i64)>(), beat in real(), bpm in real(),
        bar_beat in real(), meter in any::<(u8, u8)>(), ramp in of((real(), real())), looped in of((real(), real())),
        playing in any::<bool>(),
    ) -> BeatSegment {
        BeatSegment {
            epoch, serial, start, beat, bpm, meter, bar_beat, bar, playing,
            ramp: ramp.map(|(to_bpm, over)| TempoRamp { to_bpm, over }),
            looped: looped.map(|(from, to)| BeatLoop { from, to }),
        }
    }
}

fn time_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        time_state(),
        (of(session()), any::<u64>(), vec(segment(), 0..8))
            .prop_map(|(session, origin, segments)| Message::Beats(Beats { session, origin, segments })),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let stream = || any::<u64>().prop_map(StreamId);
    prop_oneof![
        hello(),
        session_message(),
        time_message(),
        text().prop_map(|text| {
            Message::HelloRefused(HelloRefused { reason: RefusalReason::NotTrusted, text })
        }),
        (any::<u64>(), vec(announcement(), 0..8))
            .prop_map(|(revision, streams)| Message::Directory(Directory { revision, streams })),
        (stream(), quality()).prop_map(|(stream, quality)| Message::Subscribe(Subscribe { stream, quality })),
        stream().prop_map(|stream| Message::Unsubscribe(Unsubscribe { stream })),
        (stream(), text()).prop_map(|(stream, text)| {
            Message::SubscribeRefused(SubscribeRefused { stream, reason: SubscribeRefusal::TooMany, text })
        }),
        any::<u64>().prop_map(|token| Message::Ping(Ping { token })),
        any::<u64>().prop_map(|token| Message::Pong(Pong { token })),
        text().prop_map(|text| Message::Goodbye(Goodbye { reason: GoodbyeReason::Shutdown, text })),
        "[a-z]{1,3}".prop_map(|kind| Message::Unknown(Unknown { kind: Text::new(&kind) })),
    ]
}

/// A change to bytes: overwrite some, cut some, or put some in.
fn mutation() -> impl Strategy<Value = (usize, u8, Vec<u8>)> {
    (any::<prop::sample::Index>(), 0..3_u8, vec(any::<u8>(), 1..9))
        .prop_map(|(at, how, bytes)| (at.index(4096), how, bytes))
}

fn mutated(mut bytes: Vec<u8>, mutations: &[(usize, u8, Vec<u8>)]) -> Vec<u8> {
    for (at, how, new) in mutations {
        let at = at % (bytes.len() + 1);
        let end = (at + new.len()).min(bytes.len());
        match how {
            0 => bytes[at..end].copy_from_slice(&new[..end - at]),
            1 => drop(bytes.drain(at..end)),
            _ => drop(bytes.splice(at..at, new.iter().copied())),
        }
    }
    bytes
}

/// Reads a packet in every way there is.
fn read_packet(bytes: &[u8]) {
    match Packet::decode(bytes) {
        Ok(Packet::Audio(packet)) => {
            assert!(bytes.len() <= PACKET_BYTES_MAX);
            packet.extensions.iter().for_each(drop);
            let Some(samples) = packet.samples() else { return };
            let mut out = [f32::NAN; 7];
            for channel in 0..samples.channels() + 1 {
                samples.read(channel, samples.frames().saturating_sub(3), &mut out);
            }
        }
        Ok(Packet::Event(packet)) => assert_eq!(packet.events().count(), usize::from(packet.count())),
        Ok(Packet::Repair(packet)) => assert!((1..=16).contains(&packet.header.window)),
        Ok(Packet::Report(report)) => assert!(report.repair_window <= 16),
        Ok(Packet::Clock(packet)) => assert!((34..=256).contains(&packet.ptp.len())),
        Ok(Packet::Request(request)) => assert!(request.sequences().count() <= 64),
        Ok(Packet::Slice(slice)) => {
            assert_eq!(slice.events().count(), usize::from(slice.count()));
            let mut out = [f32::NAN; 7];
            slice.samples.read(slice.samples.channels().into(), 0, &mut out);
        }
        Ok(Packet::SliceReport(report)) => assert!(report.sequences().count() <= 64),
        Err(_) => (),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn audio_packets_are_read_as_written((header, payload) in audio(), extensions in extensions()) {
        let mut bytes = [0; PACKET_BYTES_MAX];
        let length = AudioPacket::encode(&header, &borrowed(&extensions), &payload, &mut bytes).unwrap();
        let Ok(Packet::Audio(packet)) = Packet::decode(&bytes[..length]) else { panic!("no audio") };
        prop_assert_eq!(packet.header, header);
        let read: Vec<_> = packet.extensions.iter().filter(|one| !is_of_time(one.kind)).collect();
        prop_assert_eq!(read, borrowed(&extensions));
        prop_assert_eq!(packet.payload, &payload[..]);
        let is_pcm = header.payload_bytes().is_some();
        prop_assert_eq!(packet.samples().is_some(), is_pcm);
    }

    #[test]
    fn repairs_reports_and_requests_are_read_as_written(
        header in repair_header(), symbol in symbol(), report in report(), request in request(),
    ) {
        let mut bytes = [0; PACKET_BYTES_MAX];
        let repair = RepairPacket { header, symbol: &symbol };
        let length = repair.encode(&mut bytes).unwrap();
        prop_assert_eq!(Packet::decode(&bytes[..length]), Ok(Packet::Repair(repair)));
        let length = report.encode(&mut bytes).unwrap();
        prop_assert_eq!(Packet::decode(&bytes[..length]), Ok(Packet::Report(report)));
        let length = request.encode(&mut bytes).unwrap();
        prop_assert_eq!(Packet::decode(&bytes[..length]), Ok(Packet::Request(request)));
    }

    #[test]
    fn event_packets_are_read_as_written(
        stream in any::<u64>(), epoch in any::<u32>(), config in any::<u16>(), first_number in any::<u32>(),
        base_frame in 0..FRAME_INDEX_MAX - u64::from(u32::MAX), extensions in extensions(),
        events in vec((any::<u32>(), body()), 0..30),
    ) {
        let header = event::Header {
            stream: StreamId(stream), epoch, config: ConfigId(config), first_number, base_frame,
        };
        let mut bytes = [0; PACKET_BYTES_MAX];
        let mut encoder = event::Encoder::new(&header, &borrowed(&extensions), &mut bytes).unwrap();
        for (offset, body) in &events {
            encoder.try_push(base_frame + u64::from(*offset), body).unwrap();
        }
        let length = encoder.finish();
        let packet = EventPacket::decode(&bytes[..length]).unwrap();
        prop_assert_eq!(packet.header, header);
        prop_assert_eq!(packet.extensions.iter().collect::<Vec<_>>(), borrowed(&extensions));
        prop_assert_eq!(usize::from(packet.count()), events.len());
        for (place, (event, (offset, body))) in (0..).zip(packet.events().zip(&events)) {
            prop_assert_eq!(event.number, first_number.wrapping_add(place));
            prop_assert_eq!(event.frame, base_frame + u64::from(*offset));
            prop_assert_eq!(event.body, *body);
        }
    }

    #[test]
    fn messages_are_read_as_written(message in message()) {
        let frame = message.to_frame().unwrap();
        let (body, rest) = split_frame(&frame).unwrap().unwrap();
        prop_assert!(rest.is_empty());
        let read = Message::decode(body);
        // Random letters may spell a kind that is known; then fields are missing, which is as good.
        if !matches!(message, Message::Unknown(_)) || read.is_ok() {
            prop_assert_eq!(read.unwrap(), message);
        }
    }

    #[test]
    fn samples_are_read_as_written(
        codec in pcm(), channels in 1..9_usize, frames in 1..50_usize, skip in 0..10_usize, cut in 0..60_usize,
        seed in vec(any::<i16>(), 8 * 60),
    ) {
        // Samples of 16 bit are samples of every codec.
        let sample = |channel: usize, frame: usize| s16_to_f32(seed[channel * 60 + frame].to_be_bytes());
        let mut bytes = vec![0; frames * channels * codec.bytes_per_sample().unwrap()];
        let mut interleaved = InterleavedMut::new(codec, channels, frames, &mut bytes).unwrap();
        for channel in 0..channels {
            let planar: Vec<_> = (0..frames + skip).map(|frame| sample(channel, frame)).collect();
            let written = interleaved.write_pair(channel, planar.split_at(cut.min(planar.len())), skip);
            prop_assert_eq!(written, frames);
        }
        let interleaved = Interleaved::new(codec, channels, frames, &bytes);
        for channel in 0..channels {
            let mut out = vec![f32::NAN; frames];
            interleaved.read(channel, 0, &mut out);
            let expected: Vec<_> = (skip..frames + skip).map(|frame| sample(channel, frame)).collect();
            prop_assert_eq!(out, expected);
        }
    }

    #[test]
    fn integers_are_the_nearest(sample in prop_oneof![any::<f32>(), -1.1..1.1_f32]) {
        let nearest = |full_scale: f64| {
            let value = (f64::from(sample) * full_scale).round_ties_even().clamp(-full_scale, full_scale - 1.0);
            if value.is_nan() { 0.0 } else { value }
        };
        let [high, middle, low] = f32_to_s24(sample);
        let value = i32::from_be_bytes([high, middle, low, 0]) >> 8;
        prop_assert_eq!(f64::from(value), nearest(8_388_608.0));
        prop_assert_eq!(f64::from(i16::from_be_bytes(f32_to_s16(sample))), nearest(32_768.0));
    }

    #[test]
    fn pieces_tile_the_block(
        frames in 0..5000_u32, first_channel in 0..64_u8, channels in 0..=64_u8, bytes_per_sample in 0..5_usize,
        payload_bytes_max in 0..1200_usize,
    ) {
        let channels = channels.min(64 - first_channel);
        let shape = Shape { frames, first_channel, channels, bytes_per_sample, payload_bytes_max };
        let pieces: Vec<_> = shape.pieces().collect();
        prop_assert_eq!(shape.pieces().len(), pieces.len());
        let mut seen = vec![0_u8; usize::try_from(frames).unwrap() * usize::from(channels)];
        for piece in &pieces {
            let samples = usize::from(piece.frames) * usize::from(piece.channels);
            prop_assert!(samples > 0 && samples * bytes_per_sample <= payload_bytes_max);
            for frame in piece.frame_offset..piece.frame_offset + u32::from(piece.frames) {
                for channel in piece.first_channel..piece.first_channel + piece.channels {
                    let place = usize::try_from(frame).unwrap() * usize::from(channels);
                    seen[place + usize::from(channel - first_channel)] += 1;
                }
            }
        }
        let can_be_sent = payload_bytes_max >= bytes_per_sample.max(1) || bytes_per_sample == 0;
        prop_assert!(seen.iter().all(|times| *times == u8::from(can_be_sent)), "{:?}", pieces);
        let lengths = || pieces.iter().map(|piece| piece.frames);
        prop_assert!(lengths().max().unwrap_or(0) - lengths().min().unwrap_or(0) <= 1);
    }

    #[test]
    fn what_the_packetizer_gives_can_be_encoded(header in header(), codec in pcm(), frames in 1..3000_u32) {
        let extensions = [Extension { kind: 9, value: &[0; 30] }];
        let mut shape = Shape::new(codec, frames, header.channels);
        shape.first_channel = header.first_channel;
        shape.payload_bytes_max -= encoded_length(&extensions);
        for piece in shape.pieces() {
            let header = Header {
                frames: piece.frames, first_channel: piece.first_channel, channels: piece.channels, codec,
                first_frame: 480_000 + u64::from(piece.frame_offset), ..header
            };
            let mut bytes = [0; PACKET_BYTES_MAX];
            let start = header.encode(&extensions, &mut bytes).unwrap();
            let end = start + header.payload_bytes().unwrap();
            prop_assert!(end <= AUDIO_BYTES_MAX);
            prop_assert!(AudioPacket::decode(&bytes[..end]).unwrap().samples().is_some());
        }
    }

    #[test]
    fn reading_random_bytes_ends(bytes in vec(any::<u8>(), 0..1300), kind in 0..7_u8) {
        read_packet(&bytes);
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = 0x10 | kind;
        }
        read_packet(&bytes);
        drop(Message::decode(&bytes));
    }

    #[test]
    fn reading_damaged_packets_ends(
        (header, payload) in audio(), extensions in extensions(),
        events in vec((any::<u32>(), body()), 0..20), mutations in vec(mutation(), 1..6),
    ) {
        let mut bytes = [0; PACKET_BYTES_MAX];
        let length = AudioPacket::encode(&header, &borrowed(&extensions), &payload, &mut bytes).unwrap();
        read_packet(&mutated(bytes[..length].to_vec(), &mutations));

        let header = event::Header {
            stream: header.stream, epoch: header.epoch, config: header.config, first_number: header.sequence,
            base_frame: 480_000,
        };
        let mut encoder = event::Encoder::new(&header, &borrowed(&extensions), &mut bytes).unwrap();
        for (offset, body) in &events {
            encoder.try_push(480_000 + u64::from(*offset), body).unwrap();
        }
        let length = encoder.finish();
        read_packet(&mutated(bytes[..length].to_vec(), &mutations));
    }

    #[test]
    fn reading_damaged_repairs_reports_and_requests_ends(
        header in repair_header(), symbol in symbol(), report in report(), request in request(),
        mutations in vec(mutation(), 1..6),
    ) {
        let mut bytes = [0; PACKET_BYTES_MAX];
        let length = RepairPacket { header, symbol: &symbol }.encode(&mut bytes).unwrap();
        read_packet(&mutated(bytes[..length].to_vec(), &mutations));
        let length = report.encode(&mut bytes).unwrap();
        read_packet(&mutated(bytes[..length].to_vec(), &mutations));
        let length = request.encode(&mut bytes).unwrap();
        read_packet(&mutated(bytes[..length].to_vec(), &mutations));
    }

    #[test]
    fn reading_damaged_messages_ends(message in message(), mutations in vec(mutation(), 1..6)) {
        let bytes = mutated(message.to_frame().unwrap(), &mutations);
        drop(split_frame(&bytes));
        // What is read from damaged bytes can be sent on.
        if let Ok(message) = Message::decode(bytes.get(4..).unwrap_or_default()) {
            prop_assert!(message.to_frame().is_ok());
        }
    }
}
