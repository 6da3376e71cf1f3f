//! The sending half: one publication, and a lane for each of its subscribers.
//!
//! Blocks and events of the callback go in, and what receivers report and ask for; datagrams come out, each with the lane
//! that it is for. Nothing here waits, and nobody is asked for the time: it comes with each call.
//!
//! *Realtime-safe: no*: for the network thread. A packet costs no allocation of its own but its share of a chunk.

use audiocloud_rt::block_ring::{self, Epoch, Samples, SessionStamp};
use audiocloud_rt::event::{self, Event};
use audiocloud_units::{HostTime, Nanos, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{ConfigId, StreamId};
use audiocloud_wire::packet::CHANNELS_MAX;
use audiocloud_wire::packet::report::ReceiverReport;
use audiocloud_wire::packet::request::ResendRequest;
use audiocloud_wire::quality::Quality;
use bytes::Bytes;

pub(crate) mod arena;
mod encoding;
mod event_log;
mod figures;
pub(crate) mod history;
mod ladder;
mod lane;
mod link_offset;
mod opus_framer;
mod rate;
mod rendition;
#[cfg(test)]
mod tests;

pub use encoding::Encoding;
pub use figures::Figures;
pub use ladder::Rung;
pub use lane::{Lane, LaneId};

use arena::Arena;
use encoding::Load;
use event_log::EventLog;
use lane::{Exit, Identity};
use link_offset::LinkOffset;
pub(crate) use rate::DATAGRAM_OVERHEAD_BYTES;
use rendition::Rendition;

/// How often, after the last event, its number is said again to those who have not acknowledged it.
const NUMBER_REMINDERS: u8 = 3;
/// What a receiver said that it needs counts for so long.
const NEED_AGE_MAX: Nanos = Nanos::from_secs(2);

/// What a publication is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its id.
    pub stream: StreamId,
    /// The configuration that it is announced with.
    pub config: ConfigId,
    /// The nominal rate.
    pub sample_rate: SampleRate,
    /// How many channels, at most 64.
    pub channels: u16,
    /// What subscribers get who have no wish of their own.
    pub codec: Codec,
}

/// A block that is not of the stream: its rate or its channels are others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch;

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the block has another rate or other channels than its stream")
    }
}

impl std::error::Error for Mismatch {}

/// See the module.
#[derive(Debug)]
pub struct Stream {
    description: Description,
    epoch: Option<Epoch>,
    lanes: Vec<Lane>,
    renditions: Vec<Rendition>,
    log: EventLog,
    reminders: u8,
    link_offset: LinkOffset,
    /// What those need who play it in this process.
    needs_here: Option<Nanos>,
    arena: Arena,
    /// What lanes that are gone have counted.
    past: Figures,
}

impl Stream {
    /// Without subscribers.
    pub fn new(description: Description) -> Self {
        Self {
            description,
            epoch: None,
            lanes: Vec::new(),
            renditions: Vec::new(),
            log: EventLog::new(description.stream, description.config),
            reminders: 0,
            link_offset: LinkOffset::default(),
            needs_here: None,
            arena: Arena::default(),
            past: Figures::default(),
        }
    }

    /// What it is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The epoch that it is in; none before the first block.
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    // ---- Lanes.

    /// A subscriber. One that is there already gets the quality that it asks for now, from the next block on. Either way
    /// it is told the number of the next event, so that it misses the loss of not even its first one.
    pub fn subscribe(
        &mut self,
        id: LaneId,
        quality: Quality,
        now: HostTime,
        send: &mut dyn FnMut(LaneId, Bytes),
    ) {
        match self.lane_mut(id) {
            Some(lane) => lane.set_quality(quality),
            None => {
                let Description { stream, config, sample_rate, codec, .. } = self.description;
                let identity = Identity { stream, config, sample_rate, preferred: codec };
                let mut lane = Lane::new(id, identity, quality, &self.log);
                if let Some(epoch) = self.epoch {
                    lane.restart(epoch.0);
                }
                self.lanes.push(lane);
            }
        }
        // Before the first event the numbers are those of the epoch that the audio is in.
        if self.log.epoch().is_none()
            && let Some(epoch) = self.epoch
        {
            self.log.restart(epoch.0);
        }
        let Self { lanes, log, arena, .. } = self;
        if let Some(lane) = lanes.iter_mut().find(|lane| lane.id() == id) {
            lane.send_number(log, &mut Exit { arena, now, send });
        }
    }

    /// It is gone, with its history.
    pub fn unsubscribe(&mut self, id: LaneId, now: HostTime) {
        let past = &mut self.past;
        self.lanes.retain_mut(|lane| {
            let stays = lane.id() != id;
            if !stays {
                *past = past.and(Figures { level: 0, rate_bps: 0, ..lane.figures(now) });
            }
            stays
        });
    }

    /// All of them.
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// One of them.
    pub fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.id() == id)
    }

    /// What may be sent to a subscriber, in bits per second, all together; none: anything. When that is less than it is
    /// sent, its lane gives up redundancy first, then bits, then short frames.
    pub fn set_rate_cap(&mut self, id: LaneId, cap_bps: Option<u64>) {
        if let Some(lane) = self.lane_mut(id) {
            lane.set_rate_cap(cap_bps);
        }
    }

    /// What link offset those need who play the stream at the session's time in this process, at most; none where nobody
    /// does.
    pub fn set_needs_here(&mut self, needs: Option<Nanos>) {
        self.needs_here = needs;
    }

    /// How long after it was recorded a frame is to leave everywhere: what is said with each block where anybody plays it at
    /// the session's time.
    pub fn link_offset(&self) -> Option<Nanos> {
        self.link_offset.get()
    }

    /// Of all lanes together, those that are gone included.
    pub fn figures(&mut self, now: HostTime) -> Figures {
        let past = self.past;
        self.lanes.iter_mut().fold(past, |sum, lane| sum.and(lane.figures(now)))
    }

    // ---- What the callback left.

    /// Sends a block to every lane, and repeats to each the events that it has not acknowledged.
    ///
    /// # Errors
    ///
    /// [`Mismatch`]: nothing was sent.
    pub fn push_block(
        &mut self,
        block: &block_ring::Header,
        samples: &Samples<'_>,
        now: HostTime,
        send: &mut dyn FnMut(LaneId, Bytes),
    ) -> Result<(), Mismatch> {
        if !self.fits(block) {
            return Err(Mismatch);
        }
        self.epoch = Some(block.epoch);
        let link_offset = self.link_offset.get();
        let session_time = block.session_time.map(|stamp| SessionStamp { link_offset, ..stamp });
        let block = &block_ring::Header { session_time, ..*block };
        self.render(block, samples);
        let load = Load {
            sample_rate: self.description.sample_rate,
            channels: u8::try_from(self.description.channels).unwrap_or(CHANNELS_MAX),
            block_frames: block.frames,
        };
        self.log.forget(now);
        let Self { lanes, renditions, log, arena, .. } = self;
        let mut exit = Exit { arena, now, send };
        for lane in lanes {
            lane.restart(block.epoch.0);
            lane.send_block(renditions, load, &mut exit);
            lane.repeat_events(log, &mut exit);
        }
        Ok(())
    }

    fn fits(&self, block: &block_ring::Header) -> bool {
        let Description { sample_rate, channels, .. } = self.description;
        let end = block.first_channel.checked_add(block.channels);
        block.sample_rate == sample_rate
            && block.stream_channels == channels
            && channels <= CHANNELS_MAX.into()
            && end.is_some_and(|end| end <= channels)
    }

    /// Encodes the block once for each encoding that a lane needs.
    fn render(&mut self, block: &block_ring::Header, samples: &Samples<'_>) {
        let Self { lanes, renditions, past, description, .. } = self;
        renditions.retain(|rendition| lanes.iter().any(|lane| lane.needs(rendition.encoding())));
        for lane in lanes {
            for encoding in lane.encodings().into_iter().flatten() {
                if renditions.iter().any(|rendition| rendition.encoding() == encoding) {
                    continue;
                }
                match Rendition::new(encoding, description.channels, description.sample_rate) {
                    Ok(rendition) => renditions.push(rendition),
                    Err(_) => lane.cannot_have(encoding),
                }
            }
        }
        for rendition in renditions {
            past.unencodable += rendition.encode(block, samples);
        }
    }

    /// Sends events to every lane. They go before the blocks that they belong to.
    pub fn push_events(&mut self, events: &[Event], now: HostTime, send: &mut dyn FnMut(LaneId, Bytes)) {
        for event in events {
            if self.log.epoch() != Some(event.epoch.0) {
                self.send_events(now, send);
                self.log.restart(event.epoch.0);
            }
            match (event.body, crate::convert::body_to_wire(&event.body)) {
                (event::Body::Lost { count }, _) => self.log.skip(count),
                (_, Some(body)) => self.log.push(now, event.time.get(), body),
                (_, None) => self.log.skip(1),
            }
        }
        if !events.is_empty() {
            self.reminders = NUMBER_REMINDERS;
        }
        self.send_events(now, send);
    }

    fn send_events(&mut self, now: HostTime, send: &mut dyn FnMut(LaneId, Bytes)) {
        let Self { lanes, log, arena, .. } = self;
        let mut exit = Exit { arena, now, send };
        for lane in lanes {
            lane.send_events(log, &mut exit);
        }
    }

    /// What is to be done now and then, about every 50 ms, whether blocks come or not: events are repeated, and their
    /// number is said.
    pub fn tick(&mut self, now: HostTime, send: &mut dyn FnMut(LaneId, Bytes)) {
        self.log.forget(now);
        self.agree(now);
        let reminds = self.reminders > 0;
        self.reminders = self.reminders.saturating_sub(1);
        let Self { lanes, log, arena, .. } = self;
        let mut exit = Exit { arena, now, send };
        for lane in lanes {
            lane.repeat_events(log, &mut exit);
            if reminds && !lane.delivery.is_complete(log) {
                lane.send_number(log, &mut exit);
            }
        }
    }

    /// On the smallest link offset that all can keep.
    fn agree(&mut self, now: HostTime) {
        let fresh = |at: HostTime| now - at <= NEED_AGE_MAX;
        let said = self.lanes.iter().filter_map(|lane| {
            let (report, _) = lane.report().filter(|(_, at)| fresh(*at))?;
            report.needs_us.map(|micros| Nanos::from_micros(micros.into()))
        });
        self.link_offset.update(said.chain(self.needs_here), now);
    }

    // ---- What receivers say.

    /// A lane's receiver says how it fares.
    pub fn handle_report(&mut self, id: LaneId, report: &ReceiverReport, now: HostTime) {
        let Self { lanes, log, renditions, .. } = self;
        let Some(lane) = lanes.iter_mut().find(|lane| lane.id() == id) else { return };
        lane.handle_report(report, log, now);
        let encoding = lane.encoding();
        let of_encoding = lanes.iter().filter(|lane| lane.encoding() == encoding);
        let worst = of_encoding.map(Lane::loss_percent).max().unwrap_or(0);
        if let Some(rendition) = renditions.iter_mut().find(|rendition| rendition.encoding() == encoding) {
            rendition.set_loss(worst);
        }
    }

    /// A lane's receiver misses packets.
    pub fn handle_request(
        &mut self,
        id: LaneId,
        request: &ResendRequest,
        now: HostTime,
        send: &mut dyn FnMut(LaneId, Bytes),
    ) {
        let Self { lanes, arena, .. } = self;
        if let Some(lane) = lanes.iter_mut().find(|lane| lane.id() == id) {
            lane.handle_request(request, &mut Exit { arena, now, send });
        }
    }
}
