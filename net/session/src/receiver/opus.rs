//! Opus packets, decoded in order: a decoder goes on from what it heard last, so a packet that is missing holds up those
//! after it until it is due. Then the next one's copy of it is used where there is one, else the decoder makes it up.

use audiocloud_codec::opus::{self, Decoder};
use audiocloud_rt::block_ring::{Epoch, Flags, Header};
use audiocloud_units::{Frames, HostTime, MediaTime, Nanos, SampleRate, SessionTime};
use audiocloud_wire::packet::audio::{self, AudioPacket};

use super::samples::Samples;
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
                part.make_up(common, now, &mut outcome, emit);
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

    /// Its place is taken by what was made up, but when it came is news to whoever judges the path.
    fn pass_late(
        &self,
        common: Common,
        header: &audio::Header,
        arrival: HostTime,
        flags: Flags,
        emit: Emit<'_>,
    ) {
        let start = MediaTime::new(header.first_frame);
        let block = self.block(common, start, header.frames, arrival, flags | Flags::SILENCE);
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
        let session_time = (header.session_time_ns != 0).then(|| SessionTime::new(header.session_time_ns));
        let mut block = self.block(common, start, header.frames, arrival, flags);
        block.session_time = session_time;
        emit(&block, Samples::planar(&self.planar));
    }

    /// When the next payload has to be made up, unless it comes before.
    fn next_wake(
        &self,
        sample_rate: SampleRate,
        due: &impl Fn(MediaTime) -> Option<HostTime>,
    ) -> Option<HostTime> {
        let next = self.next?;
        let made_up = Frames::from(self.made_up).to_nanos_floor(sample_rate);
        if self.waiting.is_empty() && made_up >= MADE_UP_MAX {
            return None;
        }
        match due(next) {
            Some(due) => Some(due - HEADROOM),
            None if self.waiting.is_empty() => None,
            None => Some(self.since + PATIENCE + made_up),
        }
    }

    /// Puts what sounds likely where the next payload should be.
    fn make_up(&mut self, common: Common, now: HostTime, outcome: &mut Outcome, emit: Emit<'_>) {
        let Some(start) = self.next else { return };
        let frames = usize::from(self.frames);
        let end = start + Frames::from(u32::from(self.frames));
        // Only the very next payload carries a copy.
        let first = self.waiting.first();
        let next = first.filter(|one| MediaTime::new(one.header.first_frame) == end);
        let made = match next {
            Some(next) if opus::carries_fec(&next.payload) => {
                outcome.recovered_fec += 1;
                self.decoder.decode_fec(&next.payload, frames, &mut self.planar)
            }
            _ => {
                outcome.concealed += 1;
                self.decoder.decode_lost(frames, &mut self.planar)
            }
        };
        // Another encoder's frames may begin within this one.
        let end = first.map_or(end, |one| end.min(MediaTime::new(one.header.first_frame)));
        self.next = Some(end);
        self.made_up += u32::from(self.frames);
        match (made, u16::try_from((end - start).get())) {
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
        }
    }
}
