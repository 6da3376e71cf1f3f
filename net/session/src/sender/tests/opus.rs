//! Opus: each frame at its right place, and no gap where a lane goes to it or comes from it.

use audiocloud_codec::opus::Decoder;

use super::*;

fn opus(bitrate_bps: u32, frame_us: u32) -> Quality {
    Quality { codec: Some(Codec::Opus), bitrate_bps, frame_us }
}

impl Rig {
    fn ask(&mut self, quality: Quality) {
        let sent = &mut self.sent;
        self.stream.subscribe(LANE, quality, self.now, &mut |lane, packet| sent.push((lane, packet)));
    }

    /// Sends so many blocks, and returns the audio packets.
    fn audio(&mut self, blocks: u32) -> Vec<Bytes> {
        self.sent.clear();
        for _ in 0..blocks {
            self.block().unwrap();
        }
        self.take().into_iter().filter(|bytes| audio(bytes).is_some()).collect()
    }
}

/// Noise below 3 kHz or so: like nothing but itself, and easy to encode.
fn rustle(_channel: usize, frame: u64) -> f32 {
    let noise = |frame: u64| {
        let mut random = Random(frame);
        random.next();
        f32::from(u16::try_from(random.next() % 2_001).unwrap()) / 1_000.0 - 1.0
    };
    (0..16).map(|back| noise(frame + back)).sum::<f32>() / 40.0
}

#[test]
fn decoded_frames_lie_where_their_samples_were() {
    let sent: Vec<_> = (0..12_000).map(|frame| rustle(0, frame)).collect();
    for (frame_us, block) in [(2_500, 128), (5_000, 64), (10_000, 441), (20_000, 1_024)] {
        let mut rig = Rig::new(Codec::PcmF32, 1, block);
        rig.sample = rustle;
        rig.ask(opus(128_000, frame_us));
        let mut decoder = Decoder::new(1, HZ).unwrap();
        let mut heard = BTreeMap::new();
        let mut next = None;
        for bytes in rig.audio(HZ / 4 / block) {
            let packet = audio(&bytes).unwrap();
            let (first, frames) = (packet.header.first_frame, packet.header.frames);
            assert_eq!(u32::from(frames) * 1_000 / 48, frame_us);
            assert_eq!(*next.get_or_insert(first), first, "one after the other");
            next = Some(first + u64::from(frames));
            let mut out = [vec![0.0; frames.into()]];
            assert_eq!(decoder.decode(packet.payload, &mut out), Ok(frames.into()));
            heard.extend((first..).zip(out[0].iter().copied()));
        }
        // Of all shifts, none must be the one under which what is heard is most like what was sent.
        let heard: Vec<_> = (8_000..10_000).map(|frame| heard[&frame]).collect();
        let likeness = |shift: usize| -> f64 {
            let pairs = heard.iter().zip(&sent[8_000 + shift - 400..]);
            pairs.map(|(heard, sent)| f64::from(*heard) * f64::from(*sent)).sum()
        };
        let best = (0..800).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).unwrap();
        assert_eq!(best, 400, "{frame_us} µs in blocks of {block}");
    }
}

/// Which frames came, as one range; panics at a gap.
fn covered(packets: &[Bytes]) -> (u64, u64) {
    let header = |bytes: &Bytes| audio(bytes).unwrap().header;
    let mut ranges: Vec<_> = packets
        .iter()
        .map(header)
        .map(|one| (one.first_frame, one.first_frame + u64::from(one.frames)))
        .collect();
    ranges.sort_unstable();
    let mut end = ranges[0].1;
    for (first, last) in &ranges {
        assert!(*first <= end, "a gap from {end} to {first}");
        end = end.max(*last);
    }
    (ranges[0].0, end)
}

#[test]
fn a_lane_changes_its_codec_without_a_gap() {
    for block in [64, 128, 441] {
        let mut rig = Rig::new(Codec::PcmF32, 2, block);
        rig.ask(Quality::default());
        let mut packets = rig.audio(50);
        for quality in [opus(128_000, 20_000), opus(96_000, 2_500), Quality::default()] {
            rig.ask(quality);
            let more = rig.audio(20_000 / block);
            let last = audio(more.last().unwrap()).unwrap().header;
            assert_eq!(last.codec, quality.codec.unwrap_or(Codec::PcmF32));
            assert_eq!(rig.stream.renditions.len(), 1, "what is left is not encoded any more");
            packets.extend(more);
        }
        let (first, end) = covered(&packets);
        assert_eq!((first, end), (0, rig.header.start.get()));
        let twice: u64 = packets.iter().map(|bytes| u64::from(audio(bytes).unwrap().header.frames)).sum();
        assert!(twice - end < 4_000, "{} frames went twice", twice - end);
        let sequences = packets.iter().map(|bytes| audio(bytes).unwrap().header.sequence);
        assert!(sequences.eq(0..u32::try_from(packets.len()).unwrap()));
    }
}

#[test]
fn blocks_that_were_never_sent_leave_the_others_at_their_places() {
    let mut rig = Rig::new(Codec::PcmF32, 1, 128);
    rig.ask(opus(64_000, 10_000));
    rig.audio(100);
    let at = |skipped: i64, rig: &mut Rig| {
        rig.header.start += Frames::new(skipped);
        let start = rig.header.start.get();
        let packets = rig.audio(30);
        let headers: Vec<_> = packets.iter().map(|bytes| audio(bytes).unwrap().header).collect();
        let marked = headers.iter().filter(|one| one.flags.contains(audio::Flags::DISCONTINUITY)).count();
        assert_eq!(marked, 1, "{skipped}");
        let last = headers.last().unwrap();
        let end = last.first_frame + u64::from(last.frames);
        let behind = rig.header.start.get() - end;
        assert!(behind < 480 + 400 && end > start, "{behind} frames behind after {skipped}");
    };
    at(100, &mut rig);
    at(128, &mut rig);
    at(10_000, &mut rig);
}

#[test]
fn sixty_four_channels_are_cut_into_packets_that_fit() {
    let mut rig = Rig::new(Codec::PcmF32, 64, 480);
    rig.ask(opus(256_000, 20_000));
    let packets = rig.audio(10);
    let mut channels = BTreeMap::new();
    for bytes in &packets {
        let header = audio(bytes).unwrap().header;
        assert_eq!(header.frames, 960);
        *channels.entry(header.first_frame).or_insert(0) += u32::from(header.channels);
    }
    assert!(channels.len() >= 4 && channels.values().all(|count| *count == 64), "{channels:?}");
    assert_eq!(rig.figures().unencodable, 0);
    let now = rig.now;
    assert_eq!(rig.stream.figures(now).unencodable, 0);
}

#[test]
fn where_there_is_no_opus_the_smallest_pcm_is_sent() {
    let mut rig = Rig::new(Codec::PcmF32, 1, 128);
    let sample_rate = SampleRate::new(96_000).unwrap();
    rig.header.sample_rate = sample_rate;
    rig.stream = Stream::new(Description { sample_rate, ..*rig.stream.description() });
    rig.ask(opus(128_000, 5_000));
    let packets = rig.audio(3);
    assert_eq!(audio(&packets[0]).unwrap().header.codec, Codec::PcmS16);
}
