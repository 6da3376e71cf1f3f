//! Opus packets, decoded in order: a decoder goes on from what it heard last, so a packet that is missing holds up those
//! after it until it is due. Then the next one's copy of it is used where there is one, else the decoder makes it up.
//! Where nothing has come after it either, nothing is made up: it may only be late, and how late, the playout is to see.

use audiocloud_codec::opus::{self, Decoder};
use audiocloud_rt::block_ring::{Epoch, Flags, Header};
use audiocloud_units::{Frames, HostTime, MediaTime, Nanos, SampleRate};
use audiocloud_wire::packet::audio::{self, AudioPacket};

use super::samples::Samples;
use crate::convert;
/// The longest frame, 20 ms.
const FRAMES_MAX: usize = 960;
/// Packets that may wait for an earlier one.
const WAITING_MAX: usize = 64;
/// Decoders of one stream: its channels in parts.
const PARTS_MAX: usize = 64;
/// What is missing for longer than this is not made up: a decoder fades out anyway.
const MADE_UP_MAX: Nanos = Nanos::from_millis(100);
/// How long before it is due a packet is made up: decoding, and the way into the ring, take a moment.
const HEADROOM: Nanos = Nanos::from_micros(700);
/// How long one is waited for where nothing plays yet.
const PATIENCE: Nanos = Nanos::from_millis(20);
/// For longer than this nothing is waited for, however late it is due: what comes meanwhile has to be kept, and nothing that
/// is sent again takes as long.
const PATIENCE_MAX: Nanos = Nanos::from_millis(150);

/// What became of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) undecodable: u32,
    pub(super) recovered_fec: u32,
    pub(super) concealed: u32,
}

/// What all parts of a stream have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    pub(super) epoch: u32,
    pub(super) sample_rate: SampleRate,
    pub(super) stream_channels: u16,
}

/// A packet that waits for an earlier one.
#[derive(Debug)]
struct Waiting {
    header: audio::Header,
    arrival: HostTime,
    flags: Flags,
    payload: Vec<u8>,
}

/// The channels that one decoder makes.
struct Part {
    first_channel: u8,
    channels: u8,
    decoder: Decoder,
    planar: Vec<Vec<f32>>,
    /// The first frame of the next payload; none when it begins anew.
    next: Option<MediaTime>,
    /// Frames of each payload.
    frames: u16,
    /// Frames made up since the last payload.
    made_up: u32,
    /// In the order of their frames.
    waiting: Vec<Waiting>,
    /// When the wait for the next one began, where nothing says when it is due.
    since: HostTime,
    spare: Vec<Vec<u8>>,
}

/// All decoders of one stream.
#[derive(Debug, Default)]
pub(super) struct Parts {
    parts: Vec<Part>,
}

/// Where blocks go.
pub(super) type Emit<'a> = &'a mut dyn FnMut(&Header, Samples<'_>);

impl Parts {
    /// Forgets everything: an epoch ends.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
    }

    /// Takes in a packet, and passes on what can be decoded with it. `due` of a frame: when the first callback needs it.
    pub(super) fn handle(
        &mut self,
        common: Common,
        packet: &AudioPacket<'_>,
        arrival: HostTime,
        flags: Flags,
        emit: Emit<'_>,
    ) -> Outcome {
        let header = &packet.header;
        let mut outcome = Outcome::default();
        let is_of = |part: &Part| {
            (part.first_channel, part.channels, part.frames)
                == (header.first_channel, header.channels, header.frames)
        };
        let place = match self.parts.iter().position(is_of) {
            Some(place) => place,
            None if self.parts.len() < PARTS_MAX => match Part::new(header, common) {
                Some(part) => {
                    self.parts.push(part);
                    self.parts.len() - 1
                }
                None => return Outcome { undecodable: 1, ..outcome },
            },
            None => return Outcome { undecodable: 1, ..outcome },
        };
        // Frames of another length take over: nothing of the others is waited for any more.
        let end = MediaTime::new(header.first_frame) + Frames::from(u32::from(header.frames));
        for (other, part) in self.parts.iter_mut().enumerate() {
            let is_same = part.first_channel == header.first_channel && other != place;
            if is_same && part.next.is_some_and(|next| next < end) {
                part.begin_anew();
            }
        }
        if let Some(part) = self.parts.get_mut(place) {
            part.handle(common, packet, arrival, flags, &mut outcome, emit);
        }
        outcome
    }

    /// The stream goes on as PCM from this frame on: nothing is waited for any more.
    pub(super) fn leave(&mut self, start: MediaTime) {
        for part in self.parts.iter_mut().filter(|part| part.next.is_some_and(|next| next <= start)) {
            part.begin_anew();
        }
    }

    /// Makes up what is needed now.
    pub(super) fn poll(
        &mut self,
        common: Common,
        now: HostTime,
        due: impl Fn(MediaTime) -> Option<HostTime>,
        emit: Emit<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for part in &mut self.parts {
            while part.next_wake(common.sample_rate, &due).is_some_and(|at| at <= now) {
                part.make_up(common, now, &due, &mut outcome, emit);
            }
        }
        outcome
    }

    /// When something has to be made up.
    pub(super) fn next_wake(
        &self,
        sample_rate: SampleRate,
        due: impl Fn(MediaTime) -> Option<HostTime>,
    ) -> Option<HostTime> {
        self.parts.iter().filter_map(|part| part.next_wake(sample_rate, &due)).min()
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first_channel, channels, next, .. } = self;
        f.debug_struct("Part")
            .field("channels", &(first_channel, channels))
            .field("next", next)
            .finish_non_exhaustive()
    }
}

impl Part {
    fn new(header: &audio::Header, common: Common) -> Option<Self> {
        if usize::from(header.frames) > FRAMES_MAX {
            return None;
        }
        let decoder = Decoder::new(header.channels.into(), common.sample_rate.hz()).ok()?;
        Some(Self {
            first_channel: header.first_channel,
            channels: header.channels,
            decoder,
            planar: vec![vec![0.0; FRAMES_MAX]; header.channels.into()],
            next: None,
            frames: header.frames,
            made_up: 0,
            waiting: Vec::new(),
            since: HostTime::new(0),
            spare: Vec::new(),
        })
    }

    fn begin_anew(&mut self) {
        self.next = None;
        self.made_up = 0;
        while let Some(waiting) = self.waiting.pop() {
            self.spare.push(waiting.payload);
        }
    }

    fn handle(
        &mut self,
        common: Common,
        packet: &AudioPacket<'_>,
        arrival: HostTime,
        flags: Flags,
        outcome: &mut Outcome,
        emit: Emit<'_>,
    ) {
        let header = packet.header;
        let start = MediaTime::new(header.first_frame);
        if let Some(next) = self.next {
            let ahead = start - next;
            // Frames that begin within the last one are another encoder's, as when the bit rate changes.
            let is_within =
                ahead.get() < 0 && ahead + Frames::from(u32::from(header.frames)) > Frames::new(0);
            let is_new_beginning = is_within && self.made_up == 0
                || ahead.get() > 0 && flags.contains(Flags::DISCONTINUITY)
                || ahead.to_nanos_floor(common.sample_rate) > MADE_UP_MAX;
            if ahead.get() < 0 && !is_new_beginning {
                self.pass_late(common, &header, arrival, flags, emit);
                return;
            }
            if ahead.get() > 0 && !is_new_beginning {
                self.keep(packet, arrival, flags);
                return;
            }
            if is_new_beginning {
                self.begin_anew();
            }
        }
        self.decode(common, &header, packet.payload, (arrival, flags), outcome, emit);
        self.decode_waiting(common, outcome, emit);
    }

    /// The decoder is past it, but when it came is news to whoever judges the path: that is told with a single frame, of
    /// silence, which is past as well.
    fn pass_late(
        &self,
        common: Common,
        header: &audio::Header,
        arrival: HostTime,
        flags: Flags,
        emit: Emit<'_>,
    ) {
        let start = MediaTime::new(header.first_frame);
        let block = self.block(common, start, 1, arrival, flags | Flags::SILENCE);
        emit(&block, Samples::planar(&[]));
    }

    fn keep(&mut self, packet: &AudioPacket<'_>, arrival: HostTime, flags: Flags) {
        let header = packet.header;
        let place = self.waiting.partition_point(|one| one.header.first_frame < header.first_frame);
        let is_known =
            self.waiting.get(place).is_some_and(|one| one.header.first_frame == header.first_frame);
        if is_known || self.waiting.len() >= WAITING_MAX {
            return;
        }
        if self.waiting.is_empty() {
            self.since = arrival;
        }
        let mut payload = self.spare.pop().unwrap_or_default();
        payload.clear();
        payload.extend_from_slice(packet.payload);
        self.waiting.insert(place, Waiting { header, arrival, flags, payload });
    }

    fn decode_waiting(&mut self, common: Common, outcome: &mut Outcome, emit: Emit<'_>) {
        while let Some(first) = self.waiting.first() {
            let start = MediaTime::new(first.header.first_frame);
            if self.next.is_some_and(|next| start > next) {
                return;
            }
            let Waiting { header, arrival, flags, payload } = self.waiting.remove(0);
            if self.next.is_none_or(|next| next == start) {
                self.decode(common, &header, &payload, (arrival, flags), outcome, emit);
            }
            self.spare.push(payload);
        }
    }

    fn decode(
        &mut self,
        common: Common,
        header: &audio::Header,
        payload: &[u8],
        (arrival, flags): (HostTime, Flags),
        outcome: &mut Outcome,
        emit: Emit<'_>,
    ) {
        let start = MediaTime::new(header.first_frame);
        self.next = Some(start + Frames::from(u32::from(header.frames)));
        self.made_up = 0;
        self.since = arrival;
        let decoded = if header.flags.contains(audio::Flags::SILENCE) {
            self.planar.iter_mut().for_each(|channel| channel.fill(0.0));
            Ok(header.frames.into())
        } else {
            self.decoder.decode(payload, &mut self.planar)
        };
        if decoded != Ok(usize::from(header.frames)) {
            outcome.undecodable += 1;
            return;
        }
        let mut block = self.block(common, start, header.frames, arrival, flags);
        block.session_time = convert::stamp(header);
        emit(&block, Samples::planar(&self.planar));
    }

    /// When the next payload has to be made up, unless it comes before.
    fn next_wake(
        &self,
        sample_rate: SampleRate,
        due: &impl Fn(MediaTime) -> Option<HostTime>,
    ) -> Option<HostTime> {
        let (next, _first) = self.next.zip(self.waiting.first())?;
        let made_up = Frames::from(self.made_up).to_nanos_floor(sample_rate);
        let latest = self.since + PATIENCE_MAX + made_up;
        Some(due(next).map_or(self.since + PATIENCE + made_up, |due| (due - HEADROOM).min(latest)))
    }

    /// Puts what sounds likely where the next payload should be.
    fn make_up(
        &mut self,
        common: Common,
        now: HostTime,
        due: &impl Fn(MediaTime) -> Option<HostTime>,
        outcome: &mut Outcome,
        emit: Emit<'_>,
    ) {
        let Some(start) = self.next else { return };
        // Too late it is no use to the playout, but the decoder goes on from it.
        let is_in_time = due(start).is_none_or(|due| now <= due);
        let frames = usize::from(self.frames);
        let end = start + Frames::from(u32::from(self.frames));
        // Only the very next payload carries a copy.
        let first = self.waiting.first();
        let next = first.filter(|one| MediaTime::new(one.header.first_frame) == end);
        let made = match next {
            Some(next) if opus::carries_fec(&next.payload) => {
                outcome.recovered_fec += u32::from(is_in_time);
                self.decoder.decode_fec(&next.payload, frames, &mut self.planar)
            }
            _ => {
                outcome.concealed += u32::from(is_in_time);
                self.decoder.decode_lost(frames, &mut self.planar)
            }
        };
        // Another encoder's frames may begin within this one.
        let end = first.map_or(end, |one| end.min(MediaTime::new(one.header.first_frame)));
        self.next = Some(end);
        self.made_up += u32::from(self.frames);
        match (made, u16::try_from((end - start).get())) {
            (Ok(_), Ok(_)) if !is_in_time => {}
            (Ok(_), Ok(length)) => {
                let block = self.block(common, start, length, now, Flags::REPEAT);
                emit(&block, Samples::planar(&self.planar));
            }
            _ => outcome.undecodable += 1,
        }
        self.decode_waiting(common, outcome, emit);
    }

    fn block(
        &self,
        common: Common,
        start: MediaTime,
        frames: u16,
        host_time: HostTime,
        flags: Flags,
    ) -> Header {
        Header {
            epoch: Epoch(common.epoch),
            sample_rate: common.sample_rate,
            start,
            frames: frames.into(),
            first_channel: self.first_channel.into(),
            channels: self.channels.into(),
            stream_channels: common.stream_channels,
            host_time,
            session_time: None,
            flags,
            recovery: Nanos::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_codec::opus::Encoder;
    use audiocloud_wire::codec::Codec;
    use audiocloud_wire::id::{ConfigId, StreamId};

    const FRAMES: u16 = 240;
    const PERIOD: i64 = 5_000_000;

    /// Packets of a tone, as they come from an encoder.
    fn payloads(count: usize) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(2, 48_000, 96_000, 5_000).unwrap();
        let mut room = [0; 2_000];
        let mut phase = 0.0_f32;
        let mut payload = |_| {
            let tone: Vec<f32> = (0..FRAMES)
                .map(|_| {
                    phase += 0.05;
                    0.5 * phase.sin()
                })
                .collect();
            let length = encoder.encode(&[&tone, &tone], &mut room).unwrap();
            room[..length].to_vec()
        };
        (0..count).map(&mut payload).collect()
    }

    struct Bench {
        parts: Parts,
        payloads: Vec<Vec<u8>>,
        /// First frame, frames, whether it was made up, and the loudest sample.
        heard: Vec<(u64, u32, Flags, f32)>,
        outcome: Outcome,
    }

    fn common() -> Common {
        Common { epoch: 1, sample_rate: SampleRate::new(48_000).unwrap(), stream_channels: 2 }
    }

    fn note(heard: &mut Vec<(u64, u32, Flags, f32)>, header: &Header, samples: Samples<'_>) {
        let mut left = vec![0.0; header.frame_count()];
        samples.read(0, 0, &mut left);
        let loudest = left.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
        heard.push((header.start.get(), header.frames, header.flags, loudest));
    }

    impl Bench {
        fn new() -> Self {
            let payloads = payloads(30);
            Self { parts: Parts::default(), payloads, heard: Vec::new(), outcome: Outcome::default() }
        }

        fn receive(&mut self, place: u32) {
            let header = audio::Header {
                stream: StreamId(1),
                epoch: 1,
                config: ConfigId(1),
                sequence: place,
                first_frame: u64::from(place) * u64::from(FRAMES),
                frames: FRAMES,
                first_channel: 0,
                channels: 2,
                codec: Codec::Opus,
                session_time_ns: 0,
                link_offset_us: 0,
                flags: audio::Flags::NONE,
            };
            let mut room = [0; 2_000];
            let payload = &self.payloads[usize::try_from(place).unwrap()];
            let length = AudioPacket::encode(&header, &[], payload, &mut room).unwrap();
            let packet = AudioPacket::decode(&room[..length]).unwrap();
            let arrival = HostTime::new(i64::from(place) * PERIOD);
            let Self { parts, heard, .. } = self;
            let mut emit = |header: &Header, samples: Samples<'_>| note(heard, header, samples);
            let outcome = parts.handle(common(), &packet, arrival, Flags::NONE, &mut emit);
            self.add(outcome);
        }

        /// At this time, where each frame is due 20 ms after its arrival.
        fn poll(&mut self, now: i64) {
            let Self { parts, heard, .. } = self;
            let mut emit = |header: &Header, samples: Samples<'_>| note(heard, header, samples);
            let outcome = parts.poll(common(), HostTime::new(now), Self::due, &mut emit);
            self.add(outcome);
        }

        #[allow(clippy::unnecessary_wraps, reason = "as the receiver has it")]
        fn due(start: MediaTime) -> Option<HostTime> {
            let place = i64::try_from(start.get() / u64::from(FRAMES)).unwrap();
            Some(HostTime::new((place + 4) * PERIOD))
        }

        fn add(&mut self, outcome: Outcome) {
            self.outcome.undecodable += outcome.undecodable;
            self.outcome.recovered_fec += outcome.recovered_fec;
            self.outcome.concealed += outcome.concealed;
        }

        fn check_goes_on(&self) {
            let ends = self.heard.iter().map(|(start, frames, ..)| start + u64::from(*frames));
            let starts = self.heard.iter().map(|(start, ..)| *start).skip(1);
            assert!(ends.zip(starts).all(|(end, start)| end == start), "{:?}", self.heard);
        }
    }

    #[test]
    fn what_is_missing_is_made_up_when_it_is_due() {
        let mut bench = Bench::new();
        for place in (0..20).filter(|place| *place != 10) {
            bench.receive(place);
            if place == 13 {
                assert_eq!(bench.heard.len(), 10, "those after it wait");
                bench.poll(14 * PERIOD - HEADROOM.get() - 1);
                assert_eq!(bench.heard.len(), 10);
                bench.poll(14 * PERIOD - HEADROOM.get());
                assert_eq!(bench.heard.len(), 14);
            }
        }
        bench.check_goes_on();
        let (.., flags, loudest) = bench.heard[10];
        assert!(flags.contains(Flags::REPEAT) && loudest > 0.2, "{:?}", bench.heard[10]);
        assert_eq!(bench.outcome, Outcome { concealed: 1, ..Outcome::default() });
        bench.receive(10);
        assert_eq!(bench.heard.last(), Some(&(2400, 1, Flags::SILENCE, 0.0)), "its time is told");
    }

    #[test]
    fn one_that_is_overtaken_is_not_made_up() {
        let mut bench = Bench::new();
        for place in [0, 1, 4, 2, 5, 3, 6] {
            bench.receive(place);
        }
        assert_eq!(bench.heard.len(), 7);
        bench.check_goes_on();
        assert_eq!(bench.outcome, Outcome::default());
    }

    #[test]
    fn what_is_merely_late_is_not_made_up() {
        let mut bench = Bench::new();
        (0..5).for_each(|place| bench.receive(place));
        bench.poll(1000 * PERIOD);
        assert_eq!(bench.heard.len(), 5, "nothing has come after it");
        bench.receive(5);
        bench.receive(8);
        bench.poll(1000 * PERIOD);
        assert_eq!(bench.heard.len(), 7, "what is made up too late is kept back");
        assert_eq!(bench.heard[6].0, 8 * 240);
        assert_eq!(bench.outcome, Outcome::default());
    }
}
