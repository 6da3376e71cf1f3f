//! The sender's tap: what a callback processed, stamped with its frame index and pushed into the rings.

mod ahead;

use audiocloud_rt::block_ring::{self, Epoch, Flags, Header, SessionStamp};
use audiocloud_rt::callback::Callback;
use audiocloud_rt::{event, log, snapshot, wake};
use audiocloud_units::{Frames, HostTime, MediaTime, Nanos, SampleRate, SessionLine};

use crate::callback_clock::CallbackClock;
use crate::meter::{self, Meter};

/// What a stream is made of; a change means a new [`Tap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The device's nominal rate.
    pub sample_rate: SampleRate,
    /// Channels of the stream.
    pub channels: u16,
}

/// What the tap has done since it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Status {
    /// The epoch that `position` counts in.
    pub epoch: Epoch,
    /// The next frame's index.
    pub position: MediaTime,
    /// Whether the last callback was published.
    pub transmitting: bool,
    /// Whether the reading end of the ring is gone: nobody would send what is pushed.
    pub abandoned: bool,
    /// Blocks pushed. A callback's block that exceeds half of the ring goes in pieces, each counted.
    pub blocks: u64,
    /// Frames pushed.
    pub frames: u64,
    /// Blocks that found the ring full: the runtime's pump was too slow.
    pub blocks_dropped: u64,
    /// Frames of those.
    pub frames_dropped: u64,
    /// Events pushed.
    pub events: u64,
    /// Events that found their ring full.
    pub events_dropped: u64,
    /// Peak per channel, linear, falling 20 dB in 1.7 s.
    pub peaks: [f32; meter::CHANNELS_MAX],
    /// How far the host processed ahead of real time, at most, in the last one to two seconds. About a block's
    /// length of it is ordinary scheduling; hundreds of milliseconds are a host that renders in bursts.
    pub ahead: Nanos,
    /// When the last callback began.
    pub last_block_at: HostTime,
}

impl Status {
    /// [`Status::ahead`] in milliseconds, for showing to people.
    #[must_use]
    pub fn ahead_ms(&self) -> f64 {
        self.ahead.as_millis_f64()
    }
}

/// Publishes a callback's audio and events. Owned by the audio thread.
#[derive(Debug)]
pub struct Tap {
    config: Config,
    blocks: block_ring::Producer,
    events: event::Producer,
    waker: wake::Waker,
    /// Longest block that is pushed in one piece, in frames.
    piece_max: usize,
    discontinuity: bool,
    /// Events that found the ring full and are yet to be told of.
    events_lost: u32,
    ahead: ahead::Ahead,
    clock: CallbackClock,
    meter: Meter,
    log: Option<log::Producer>,
    status: Status,
    writer: snapshot::Writer<Status>,
}

impl Tap {
    /// A tap at the first frame of `epoch`.
    ///
    /// *Realtime-safe: no* (allocates); nor is dropping it.
    #[must_use]
    pub fn new(
        config: Config,
        blocks: block_ring::Producer,
        events: event::Producer,
        waker: wake::Waker,
        epoch: Epoch,
    ) -> Self {
        let status = Status {
            epoch,
            position: MediaTime::ZERO,
            transmitting: false,
            abandoned: false,
            blocks: 0,
            frames: 0,
            blocks_dropped: 0,
            frames_dropped: 0,
            events: 0,
            events_dropped: 0,
            peaks: [0.0; meter::CHANNELS_MAX],
            ahead: Nanos::ZERO,
            last_block_at: HostTime::new(0),
        };
        let (writer, _reader) = snapshot::snapshot(status);
        Self {
            config,
            // Half of the ring: so the pump can empty one piece while the next one is written.
            piece_max: (blocks.samples_max() / usize::from(config.channels).max(1) / 2).max(1),
            blocks,
            events,
            waker,
            discontinuity: false,
            events_lost: 0,
            ahead: ahead::Ahead::new(config.sample_rate),
            clock: CallbackClock::new(config.sample_rate),
            meter: Meter::new(config.sample_rate),
            log: None,
            status,
            writer,
        }
    }

    /// Also writes what happens into a log. For the time before the first callback.
    ///
    /// *Realtime-safe: no*.
    #[must_use]
    pub fn with_log(mut self, log: log::Producer) -> Self {
        self.log = Some(log);
        self
    }

    /// What happens `offset` frames into the block that is processed next. Call before [`Tap::process`].
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn event(&mut self, _callback: &Callback<'_>, offset: u32, body: event::Body) {
        let epoch = self.status.epoch;
        let time = self.status.position + Frames::from(offset);
        if self.events_lost > 0 {
            let lost = event::Body::Lost { count: self.events_lost };
            if self.events.push(event::Event { epoch, time, body: lost }).is_ok() {
                self.events_lost = 0;
            }
        }
        // While a loss is untold nothing may overtake it: a note-off might be what was lost.
        if self.events_lost == 0 && self.events.push(event::Event { epoch, time, body }).is_ok() {
            self.status.events += 1;
        } else {
            self.events_lost = self.events_lost.saturating_add(1);
            self.status.events_dropped += 1;
        }
    }

    /// Publishes one callback's block and wakes the runtime once. `input` has one slice per channel: missing
    /// channels are sent as silence, surplus ones are not sent. By `line`, where the session's time is known, each block is
    /// stamped with when its first frame was due.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn process<C: AsRef<[f32]>>(
        &mut self,
        callback: &Callback<'_>,
        input: &[C],
        line: Option<SessionLine>,
    ) {
        let frames = input.iter().map(|channel| channel.as_ref().len()).min().unwrap_or(0);
        self.begin(callback, frames);
        for (channel, samples) in input.iter().take(usize::from(self.config.channels)).enumerate() {
            self.meter.rise(channel, &samples.as_ref()[..frames]);
        }
        let mut from = 0;
        while from < frames {
            let piece = (frames - from).min(self.piece_max);
            self.push(callback, input, from, piece, line);
            from += piece;
        }
        self.status.transmitting = true;
        self.publish();
        self.waker.wake();
    }

    /// Instead of [`Tap::process`] when a callback's `frames` are not to be sent: they count, so that the stream's
    /// clock goes on, and the next block that is sent says that it does not continue the last one.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn pause(&mut self, callback: &Callback<'_>, frames: usize) {
        self.begin(callback, frames);
        self.status.position += length(frames);
        self.discontinuity |= frames > 0;
        self.status.transmitting = false;
        self.publish();
    }

    /// Begins a new epoch at frame 0: after a suspension, a reset, or anything that broke the count of frames.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn restart(&mut self, epoch: Epoch) {
        self.note(log::What::EpochChanged, u64::from(epoch.0), u64::from(self.status.epoch.0));
        self.status.epoch = epoch;
        self.status.position = MediaTime::ZERO;
        self.discontinuity = false;
        self.ahead = ahead::Ahead::new(self.config.sample_rate);
        self.publish();
    }

    /// Where others read the status, updated at every callback.
    ///
    /// *Realtime-safe: yes*, any thread that may borrow the tap.
    #[must_use]
    pub fn status(&self) -> snapshot::Reader<Status> {
        self.writer.reader()
    }

    fn begin(&mut self, callback: &Callback<'_>, frames: usize) {
        self.status.last_block_at = callback.entered_at();
        self.status.ahead = self.ahead.observe(callback.entered_at(), length(frames));
        self.clock.observe(callback.entered_at(), u32::try_from(frames).unwrap_or(u32::MAX));
        self.meter.fall(frames);
    }

    fn note(&mut self, what: log::What, a: u64, b: u64) {
        if let Some(log) = self.log.as_mut() {
            log.push(log::Entry { at: self.status.last_block_at, what, a, b });
        }
    }

    fn publish(&mut self) {
        self.status.peaks = self.meter.peaks();
        self.status.abandoned = self.blocks.is_abandoned();
        self.writer.write(self.status);
    }

    /// Pushes `frames` frames of `input` from frame `from` on.
    fn push<C: AsRef<[f32]>>(
        &mut self,
        callback: &Callback<'_>,
        input: &[C],
        from: usize,
        frames: usize,
        line: Option<SessionLine>,
    ) {
        let channels = usize::from(self.config.channels);
        let piece = |channel: &C| from..from + frames.min(channel.as_ref().len() - from);
        // By the bits: a negative zero is not silence, for it would not arrive as one.
        let silent = input
            .iter()
            .take(channels)
            .all(|channel| channel.as_ref()[piece(channel)].iter().all(|sample| sample.to_bits() == 0));
        let mut flags = Flags::NONE;
        if self.discontinuity {
            flags |= Flags::DISCONTINUITY;
        }
        if silent {
            flags |= Flags::SILENCE;
        }
        let header = Header {
            epoch: self.status.epoch,
            sample_rate: self.config.sample_rate,
            start: self.status.position,
            frames: u32::try_from(frames).unwrap_or(u32::MAX),
            first_channel: 0,
            channels: self.config.channels,
            stream_channels: self.config.channels,
            host_time: callback.entered_at(),
            session_time: line.map(|line| SessionStamp {
                time: line.session_at(self.clock.due_after(u64::try_from(from).unwrap_or(u64::MAX))),
                link_offset: None,
            }),
            flags,
            recovery: Nanos::ZERO,
        };
        let pushed = self.blocks.try_push(&header, |channel, offset, destination| {
            if let Some(samples) = input.get(channel) {
                let begin = from + offset;
                destination.copy_from_slice(&samples.as_ref()[begin..begin + destination.len()]);
            }
        });
        let count = u64::from(header.frames);
        match pushed {
            Ok(()) => {
                self.discontinuity = false;
                self.status.blocks += 1;
                self.status.frames += count;
            }
            Err(block_ring::Full) => {
                self.discontinuity = true;
                self.status.blocks_dropped += 1;
                self.status.frames_dropped += count;
                self.note(log::What::RingFull, count, self.status.blocks_dropped);
            }
        }
        self.status.position += length(frames);
    }
}

/// A slice's length as a span.
fn length(frames: usize) -> Frames {
    Frames::new(i64::try_from(frames).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
