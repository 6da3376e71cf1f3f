//! An insert whose processor is elsewhere: what comes in leaves as blocks under their frame index, and the answer to frame
//! *n* is played at frame *n + D*, wherever it was made.
//!
//! The far end answers when it can. What has not come when it is due is replaced, as [`Late`] says, and every change from
//! one [`Source`] to another is a crossfade over what the sound was about to do, so that no seam is heard. The same chain may
//! run in this process too: its answers are played by the same rule, at the same delay, bit for bit.
//!
//! A callback calls [`Insert::event`] and [`Insert::push`] for what comes in, [`Insert::here`] where the chain runs in this
//! process, and [`Insert::play`] for what goes out.

mod answers;
mod lateness;
mod status;
mod timeline;
mod voice;
mod wanted;

use audiocloud_dsp::fade::{self, Curve};
use audiocloud_rt::block_ring::{self, Epoch, Flags, Header};
use audiocloud_rt::callback::Callback;
use audiocloud_rt::chain_event::{self, ChainBody, ChainEvent};
use audiocloud_rt::hand_off::Taker;
use audiocloud_rt::{event, snapshot, wake};
use audiocloud_units::{Frames, MediaTime, Nanos, SampleRate};

use crate::meter::Meter;
use lateness::Lateness;
use status::Margin;
pub use status::{Source, Status};
use timeline::{Timeline, count};
use voice::Voice;
pub use wanted::{Late, Wanted};

/// From one source to another.
const FADE: Nanos = Nanos::from_millis(5);
/// A far end that failed is heard again when it has answered in time for so long.
const STEADY: Nanos = Nanos::from_millis(20);
/// What has not answered for so long does not answer.
const SILENT: Nanos = Nanos::from_millis(500);
/// Frames rendered at once while fading.
const CHUNK: usize = 256;

/// What an insert is made for; a change means a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The device's rate.
    pub sample_rate: SampleRate,
    /// Channels that come in.
    pub inputs: u16,
    /// Channels beside them, for effects that listen to something else.
    pub side_chain: u16,
    /// Channels that go out.
    pub outputs: u16,
    /// *D*: by how many frames everything is late, always.
    pub delay_frames: u32,
    /// The longest block that the host announced; longer ones are to be handed over in pieces.
    pub block_frames_max: u32,
}

/// The callback's ends of the rings to the runtime.
#[derive(Debug)]
pub struct Ends {
    /// What comes in: inputs first, then the side-chain.
    pub blocks: block_ring::Producer,
    /// What happens to the chain.
    pub events: chain_event::Producer,
    /// The answers. A block's `start` is the frame that its first frame answers.
    pub back: block_ring::Consumer,
    /// Notes of the chain, at the frames that they answer.
    pub back_events: event::Consumer,
    /// Wakes the runtime.
    pub waker: wake::Waker,
}

/// The callback's half of an insert. Owned by the audio thread.
#[derive(Debug)]
pub struct Insert {
    config: Config,
    ends: Taker<Ends>,
    /// Longest block that is pushed in one piece, frames.
    piece_max: usize,
    discontinuity: bool,
    events_lost: bool,
    dry: Timeline,
    far: Voice,
    here: Voice,
    source: Source,
    /// The source before, and how many frames of the fade from it have been played.
    fading: Option<(Source, u32)>,
    fade_frames: u32,
    /// Nothing of this epoch has been heard.
    fresh: bool,
    /// Frames for which the far end has answered in time without a break.
    steady: u64,
    steady_frames: u64,
    /// The frame at which an answer came last, and the first one that was answered since it began to.
    answered_at: Option<u64>,
    answers_from: Option<u64>,
    silent_frames: u64,
    /// First frame and length of the block that was pushed last.
    block: (u64, usize),
    scratch: Box<[Box<[f32]>]>,
    lateness: Lateness,
    margin: Margin,
    meters: (Meter, Meter),
    status: Status,
    writer: snapshot::Writer<Status>,
}

impl Insert {
    /// At the first frame of `epoch`.
    ///
    /// *Realtime-safe: no* (allocates); nor is dropping it.
    #[must_use]
    pub fn new(config: Config, ends: Taker<Ends>, epoch: Epoch) -> Self {
        let rate = config.sample_rate;
        let frames = |span: Nanos| u64::try_from(span.to_frames_ceil(rate).get()).unwrap_or(0);
        let room = length(config.delay_frames) + 2 * length(config.block_frames_max) + CHUNK;
        let status = Status::new(epoch);
        let (writer, _reader) = snapshot::snapshot(status);
        Self {
            config,
            ends,
            piece_max: usize::MAX,
            discontinuity: false,
            events_lost: false,
            dry: Timeline::new(config.inputs, room),
            far: Voice::new(config.outputs, room, rate),
            here: Voice::new(config.outputs, room, rate),
            source: Source::Far,
            fading: None,
            fade_frames: u32::try_from(frames(FADE)).unwrap_or(1).max(64),
            fresh: true,
            steady: 0,
            steady_frames: frames(STEADY),
            answered_at: None,
            answers_from: None,
            silent_frames: frames(SILENT),
            block: (0, 0),
            scratch: (0..config.outputs).map(|_| vec![0.0; CHUNK].into()).collect(),
            lateness: Lateness::new(rate),
            margin: Margin::new(rate.hz()),
            meters: (Meter::new(rate), Meter::new(rate)),
            status,
            writer,
        }
    }

    /// What it was made for.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where others read the status, updated at every callback.
    ///
    /// *Realtime-safe: yes*, any thread that may borrow it.
    #[must_use]
    pub fn status(&self) -> snapshot::Reader<Status> {
        self.writer.reader()
    }

    /// The index of the next frame that comes in.
    ///
    /// *Realtime-safe: yes*, audio thread.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.status.position.get()
    }

    /// What is heard, or is being faded to; while [`Source::Here`] fades out, still that.
    ///
    /// *Realtime-safe: yes*, audio thread.
    #[must_use]
    pub fn source(&self) -> Source {
        match self.fading {
            // The old one is heard too.
            Some((Source::Here, _)) => Source::Here,
            _ => self.source,
        }
    }

    /// Callbacks so far that lacked frames of the far end, whyever.
    ///
    /// *Realtime-safe: yes*, audio thread.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.status.late_callbacks + self.status.unanswered_callbacks
    }

    /// Begins a new epoch at frame 0: what is under way of the old one is forgotten.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn restart(&mut self, epoch: Epoch) {
        (self.status.epoch, self.status.position) = (epoch, MediaTime::ZERO);
        self.dry.restart();
        self.far.restart();
        self.here.restart();
        (self.source, self.fading, self.fresh, self.steady) = (Source::Far, None, true, 0);
        (self.answered_at, self.answers_from) = (None, None);
        (self.block, self.discontinuity) = ((0, 0), false);
        self.lateness.restart();
        self.margin.restart();
        self.publish();
    }

    /// Whether events were lost since this was asked last: then the chain no longer is as it should be, and its values are to
    /// be told again.
    ///
    /// *Realtime-safe: yes*, audio thread.
    #[must_use]
    pub fn take_events_lost(&mut self) -> bool {
        std::mem::take(&mut self.events_lost)
    }

    /// Whether the far end's rings were exchanged since the last callback: then the chain there is a new one. To be asked once
    /// at the beginning of each callback.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn exchange(&mut self) -> bool {
        let is_new = self.ends.exchange(|_| ());
        if is_new {
            self.discontinuity = false;
            self.answers_from = None;
        }
        if let Some(ends) = self.ends.current() {
            let channels = usize::from(self.config.inputs + self.config.side_chain).max(1);
            self.piece_max = (ends.blocks.samples_max() / channels / 2).max(1);
        }
        is_new
    }

    /// What happens to the chain `offset` frames into the block that is pushed next. Where the ring is full, `wait` is asked
    /// whether to try again.
    ///
    /// *Realtime-safe: yes*, audio thread, if `wait` is.
    pub fn event(
        &mut self,
        _callback: &Callback<'_>,
        offset: u32,
        body: ChainBody,
        wait: &mut dyn FnMut() -> bool,
    ) {
        let Some(ends) = self.ends.current() else { return };
        let time = self.status.position + Frames::from(offset);
        let event = ChainEvent { epoch: self.status.epoch, time, body };
        while ends.events.push(event).is_err() {
            if ends.events.is_abandoned() || !wait() {
                self.status.events_dropped += 1;
                self.events_lost = true;
                return;
            }
            ends.waker.wake();
        }
    }

    /// Takes in one block and wakes the runtime. `main` and `side_chain` have one slice for each channel: missing channels
    /// are silent, surplus ones are left out. Where the ring is full, `wait` is asked whether to try again: a render that must
    /// be exact waits for room, a live one never does.
    ///
    /// *Realtime-safe: yes*, audio thread, if `wait` is.
    pub fn push<C: AsRef<[f32]>, S: AsRef<[f32]>>(
        &mut self,
        callback: &Callback<'_>,
        main: &[C],
        side_chain: &[S],
        wait: &mut dyn FnMut() -> bool,
    ) {
        let frames = main.iter().map(|channel| channel.as_ref().len()).min().unwrap_or(0);
        let position = self.position();
        self.block = (position, frames);
        self.status.last_block_at = callback.entered_at();
        let stall = self.lateness.observe(callback.entered_at(), position);
        self.status.stall_max = self.status.stall_max.max(stall);
        self.meters.0.fall(frames);
        for (channel, samples) in main.iter().take(usize::from(self.config.inputs)).enumerate() {
            self.meters.0.rise(channel, &samples.as_ref()[..frames]);
        }
        self.dry.write(position, frames, |channel, offset, destination| {
            copy(main.get(channel).map(AsRef::as_ref), offset, destination);
        });
        let mut from = 0;
        while from < frames {
            let piece = (frames - from).min(self.piece_max);
            self.push_piece(callback, main, side_chain, from, piece, wait);
            from += piece;
        }
        if let Some(ends) = self.ends.current() {
            ends.waker.wake();
        }
    }

    fn push_piece<C: AsRef<[f32]>, S: AsRef<[f32]>>(
        &mut self,
        callback: &Callback<'_>,
        main: &[C],
        side_chain: &[S],
        from: usize,
        frames: usize,
        wait: &mut dyn FnMut() -> bool,
    ) {
        let start = self.status.position;
        self.status.position += Frames::new(i64::try_from(frames).unwrap_or(i64::MAX));
        let Some(ends) = self.ends.current() else { return };
        let inputs = usize::from(self.config.inputs);
        let channels = self.config.inputs + self.config.side_chain;
        let samples = |channel: usize| match channel.checked_sub(inputs) {
            None => main.get(channel).map(AsRef::as_ref),
            Some(side) => side_chain.get(side).map(AsRef::as_ref),
        };
        // By the bits: a negative zero is not silence, for it would not arrive as one.
        let is_silent = (0..usize::from(channels)).filter_map(samples).all(|samples| {
            let end = samples.len().min(from + frames);
            samples[from.min(end)..end].iter().all(|sample| sample.to_bits() == 0)
        });
        let mut flags = if is_silent { Flags::SILENCE } else { Flags::NONE };
        if self.discontinuity {
            flags |= Flags::DISCONTINUITY;
        }
        let header = Header {
            epoch: self.status.epoch,
            sample_rate: self.config.sample_rate,
            start,
            frames: u32::try_from(frames).unwrap_or(u32::MAX),
            first_channel: 0,
            channels,
            stream_channels: channels,
            host_time: callback.entered_at(),
            session_time: None,
            flags,
            recovery: Nanos::ZERO,
        };
        let fill = |channel: usize, offset: usize, destination: &mut [f32]| {
            copy(samples(channel), from + offset, destination);
        };
        loop {
            if ends.blocks.try_push(&header, fill).is_ok() {
                self.discontinuity = false;
                return;
            }
            if ends.blocks.is_abandoned() || !wait() {
                break;
            }
            // What was pushed of this block already is to be taken.
            ends.waker.wake();
        }
        self.discontinuity = true;
        self.status.blocks_dropped += 1;
        self.status.frames_dropped += u64::from(header.frames);
    }

    /// What the chain in this process made of the frames from `offset` frames into the last pushed block on. Its processors
    /// are late by `latency_frames`, and began at frame `begun`: of what was before, they know nothing.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn here<C: AsRef<[f32]>>(
        &mut self,
        _callback: &Callback<'_>,
        offset: usize,
        begun: u64,
        latency_frames: u32,
        output: &[C],
    ) {
        let frames = output.iter().map(|channel| channel.as_ref().len()).min().unwrap_or(0);
        let first = self.block.0 + count(offset);
        let known = begun + u64::from(latency_frames);
        let skipped = usize::try_from(known.saturating_sub(first)).unwrap_or(usize::MAX).min(frames);
        if skipped < frames {
            let answered = first + count(skipped) - u64::from(latency_frames);
            self.here.write(answered, frames - skipped, |channel, offset, destination| {
                copy(output.get(channel).map(AsRef::as_ref), skipped + offset, destination);
            });
        }
    }

    /// Plays as many frames as the last pushed block had into `output`, one slice for each channel. Where the far end's
    /// answer is missing, `wait` is asked whether to look again: a render that must be exact waits, a live one never does.
    /// Notes of the chain go to `notes`, with their offset in the block.
    ///
    /// *Realtime-safe: yes*, audio thread, if `wait` and `notes` are.
    pub fn play<O: AsMut<[f32]>>(
        &mut self,
        _callback: &Callback<'_>,
        wanted: Wanted,
        output: &mut [O],
        wait: &mut dyn FnMut() -> bool,
        mut notes: impl FnMut(u32, event::Body),
    ) {
        let room = output.iter_mut().map(|row| row.as_mut().len()).min().unwrap_or(0);
        let frames = self.block.1.min(room);
        let position = signed(self.block.0) - i64::from(self.config.delay_frames);
        self.receive(position);
        let fits = frames <= self.far.timeline.capacity();
        while !wanted.here && fits && self.available(&self.far, position, frames) < frames {
            if !wait() {
                break;
            }
            // Whoever was not there when the block was pushed is told again.
            if let Some(ends) = self.ends.current() {
                ends.waker.wake();
            }
            self.receive(position);
        }
        self.receive_notes(position, frames, &mut notes);
        let target = self.target(wanted, position, frames);
        self.head_for(target, position);
        let mut done = 0;
        while done < frames {
            let at = position + signed(count(done));
            done += match self.fading {
                None => {
                    self.render(self.source, at, output, done, frames - done);
                    frames - done
                }
                Some((before, faded)) => self.render_fade(before, faded, at, output, done, frames - done),
            };
        }
        // Before its first frame an epoch is silent, and whatever is to be heard of it then begins without a fade.
        self.fresh &= position + signed(count(frames)) <= 0;
        self.status.callbacks += 1;
        self.meters.1.fall(frames);
        for (channel, row) in output.iter_mut().enumerate() {
            self.meters.1.rise(channel, &row.as_mut()[..frames]);
        }
        self.publish();
    }

    /// How many frames of `voice` are there from `position` on, at most `frames`: before the epoch all are.
    fn available(&self, voice: &Voice, position: i64, frames: usize) -> usize {
        match u64::try_from(position) {
            Ok(position) => voice.timeline.run(position, frames),
            Err(_) => {
                let before = usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX).min(frames);
                before + voice.timeline.run(0, frames - before)
            }
        }
    }

    /// What is to be heard of this block, and what is missing counted.
    fn target(&mut self, wanted: Wanted, position: i64, frames: usize) -> Source {
        let there = self.available(&self.far, position, frames);
        let is_complete = there == frames;
        self.steady = if is_complete { self.steady.saturating_add(count(frames)) } else { 0 };
        let pushed = self.status.position.get();
        self.status.answering =
            self.answered_at.is_some_and(|at| pushed.saturating_sub(at) < self.silent_frames);
        if self.status.answering && position >= 0 {
            let end = position + signed(count(frames));
            let margin = if is_complete {
                signed(self.far.end()) - end
            } else {
                signed(count(there)) - signed(count(frames))
            };
            self.margin.observe(pushed, margin);
        }
        if wanted.here {
            // It may have begun just now, and has nothing to say of frames before that.
            let is_there = self.available(&self.here, position, frames) == frames;
            return if is_there || self.fresh { Source::Here } else { self.source };
        }
        if is_complete && (self.fresh || self.source == Source::Far || self.steady >= self.steady_frames) {
            return Source::Far;
        }
        if !is_complete {
            self.count_late(position, there, frames);
        }
        match wanted.late {
            Late::Hold => Source::Far,
            Late::Dry => Source::Dry,
            Late::Local if self.available(&self.here, position, frames) == frames => Source::Here,
            Late::Local => Source::Far,
        }
    }

    fn count_late(&mut self, position: i64, there: usize, frames: usize) {
        let missing = u64::try_from(position + signed(count(there))).unwrap_or(0);
        if !self.status.answering {
            self.answers_from = None;
        }
        // What went by before the far end began is nobody's fault.
        if self.answers_from.is_none_or(|from| missing < from) {
            self.status.unanswered_callbacks += 1;
            return;
        }
        self.status.late_callbacks += 1;
        self.status.late_frames += count(frames - there);
        if self.lateness.is_hosts(missing, self.block.0, self.status.last_block_at) {
            self.status.late_by_host += 1;
        }
    }

    /// Begins to fade to `target` at `position`, unless a fade is under way: then after it.
    fn head_for(&mut self, target: Source, position: i64) {
        if self.fresh {
            (self.source, self.status.source) = (target, target);
            return;
        }
        if target == self.source || self.fading.is_some() {
            return;
        }
        match target {
            Source::Far => self.far.enter(position, &mut self.scratch),
            Source::Here => self.here.enter(position, &mut self.scratch),
            Source::Dry => {}
        }
        self.fading = Some((self.source, 0));
        (self.source, self.status.source) = (target, target);
        self.status.switches += 1;
    }

    fn render<O: AsMut<[f32]>>(
        &mut self,
        source: Source,
        position: i64,
        output: &mut [O],
        from: usize,
        frames: usize,
    ) {
        match source {
            Source::Far => self.far.play(position, output, from, frames),
            Source::Here => self.here.play(position, output, from, frames),
            Source::Dry => {
                let before = usize::try_from(-position.min(0)).unwrap_or(usize::MAX).min(frames);
                let first = u64::try_from(position.max(0)).unwrap_or(0);
                let last = usize::from(self.config.inputs).saturating_sub(1);
                for (channel, row) in output.iter_mut().enumerate() {
                    let (silent, rest) = row.as_mut()[from..from + frames].split_at_mut(before);
                    silent.fill(0.0);
                    self.dry.read(first, channel.min(last), rest);
                }
            }
        }
    }

    /// The next piece of a fade; how many frames it has.
    fn render_fade<O: AsMut<[f32]>>(
        &mut self,
        before: Source,
        faded: u32,
        position: i64,
        output: &mut [O],
        from: usize,
        frames: usize,
    ) -> usize {
        let frames = frames.min(length(self.fade_frames - faded)).min(CHUNK);
        self.render(before, position, output, from, frames);
        let mut scratch = std::mem::take(&mut self.scratch);
        self.render(self.source, position, &mut scratch, 0, frames);
        let mut gains = [0.0; CHUNK];
        fade::fill_in(Curve::RaisedCosine, faded + 1, self.fade_frames + 1, &mut gains[..frames]);
        for (row, incoming) in output.iter_mut().zip(&scratch) {
            let row = &mut row.as_mut()[from..from + frames];
            for ((sample, new), gain) in row.iter_mut().zip(incoming).zip(&gains) {
                *sample += gain * (new - *sample);
            }
        }
        self.scratch = scratch;
        let faded = faded + u32::try_from(frames).unwrap_or(u32::MAX);
        self.fading = (faded < self.fade_frames).then_some((before, faded));
        frames
    }

    fn publish(&mut self) {
        self.status.margin_frames = self.margin.least();
        (self.status.peaks_in, self.status.peaks_out) = (self.meters.0.peaks(), self.meters.1.peaks());
        self.writer.write(self.status);
    }
}

/// A channel's samples from `offset` on; silence where there is no such channel.
fn copy(samples: Option<&[f32]>, offset: usize, destination: &mut [f32]) {
    match samples.and_then(|samples| samples.get(offset..offset + destination.len())) {
        Some(samples) => destination.copy_from_slice(samples),
        None => destination.fill(0.0),
    }
}

fn length(frames: u32) -> usize {
    usize::try_from(frames).unwrap_or(usize::MAX)
}

fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
