use audiocloud_rt::block_ring::{Epoch, Flags, Header, Samples};
use audiocloud_rt::log::{self, What};
use audiocloud_units::{Frames, HostTime, MediaTime, Nanos, SampleRate};

use super::anchor::Anchor;
use super::buffer::{self, Buffer, count};
use super::callbacks::Callbacks;
use super::delay::{Delay, Observed};
use super::drift::Drift;
use super::need::{self, Need};
use super::render::{Renderer, Source};
use super::splice::Search;
use super::status::{Cause, Latency, State, Status};
use super::{Config, Mode, Settings};
use align::Aligner;

mod adapt;
mod align;
mod anchoring;

/// Epochs that are over, remembered so that their stragglers are not taken for new ones.
const PAST: usize = 8;

/// The audio side of the playout: what has come, where we read, and when to move.
#[derive(Debug)]
pub(super) struct Stream {
    config: Config,
    settings: Settings,
    settings_wanted: Settings,
    /// The rate of the stream; ours, as long as none came.
    rate: SampleRate,
    buffer: Buffer,
    callbacks: Callbacks,
    delay: Delay,
    need: Need,
    drift: Drift,
    aligner: Aligner,
    renderer: Renderer,
    search: Search,
    anchor: Option<Anchor>,
    past: [Option<Epoch>; PAST],
    /// Where the next epoch's positions begin: beyond all that were ever used.
    next_zero: u64,
    now: HostTime,
    taken: Taken,
    /// How early blocks come, on average over the last 64, in frames from callback to callback.
    typical: i64,
    /// The delay should become shorter: by how much, and how long a good place for it was looked for, in frames.
    shorten: Option<(i64, i64)>,
    /// It should become longer, before anything comes too late: the same.
    lengthen: Option<(i64, i64)>,
    /// The clocks differ: resampling begins when nothing else is going on.
    is_about_to_resample: bool,
    /// Our device was found to have left callbacks out, for so long.
    left_out: Option<Nanos>,
    /// Frames that the read position was moved by on purpose, summed.
    travelled: i64,
    since_on_time: i64,
    late_in_a_row: u32,
    gap: u64,
    release: Release,
    histogram: super::histogram::Histogram,
    burst: Burst,
    log: Option<log::Producer>,
    pub(super) status: Status,
}

/// What one callback found in the ring.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    blocks: u32,
    on_time: u32,
    late: u32,
    frames: i64,
    latest_late: Option<u64>,
    /// How much too late the latest one was.
    lateness: i64,
}

/// Notes to let go, and waiting events to forget.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Release {
    pub(super) release: bool,
    pub(super) forget: bool,
}

/// The most frames found waiting, over one to two seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Burst {
    elapsed: i64,
    now: i64,
    before: i64,
}

impl Stream {
    pub(super) fn new(config: Config) -> Self {
        let second = i64::from(config.sample_rate.hz().max(config.stream_rate.map_or(0, SampleRate::hz)));
        let settings_max = config.settings.delay_max(config.sample_rate);
        let delay_max = config.delay_max.max(settings_max).get().max(0);
        // The delay ahead, and again behind for a delay that is made longer; a second for bursts. All of it twice again,
        // for a stream may have a higher rate.
        let higher = second / i64::from(config.sample_rate.hz()) + 1;
        let behind = delay_max.min(second);
        let frames = higher * (delay_max + behind + 4 * i64::from(config.max_block)) + second;
        let frames = usize::try_from(frames).unwrap_or(0);
        let channels = usize::from(config.channels).clamp(1, buffer::CHANNELS_MAX);
        Self {
            settings: config.settings,
            settings_wanted: config.settings,
            rate: config.sample_rate,
            buffer: Buffer::new(channels, frames),
            callbacks: Callbacks::new(config.sample_rate),
            delay: Delay::new(config.sample_rate),
            need: Need::new(config.sample_rate),
            drift: Drift::new(config.sample_rate, config.sample_rate),
            aligner: Aligner::new(frames, config.sample_rate),
            renderer: Renderer::new(config.sample_rate, channels, config.stream_rate),
            search: Search::new(),
            config: Config { delay_max: Frames::new(delay_max), ..config },
            next_zero: 1 << 41,
            anchor: None,
            past: [None; PAST],
            now: HostTime::new(0),
            taken: Taken::default(),
            typical: 0,
            shorten: None,
            lengthen: None,
            is_about_to_resample: false,
            left_out: None,
            travelled: 0,
            since_on_time: 0,
            late_in_a_row: 0,
            gap: 0,
            release: Release::default(),
            histogram: super::histogram::Histogram::new(),
            burst: Burst::default(),
            log: None,
            status: Status::new(),
        }
    }

    pub(super) fn set_log(&mut self, log: log::Producer) {
        self.log = Some(log);
    }

    /// Writes an entry into the log, where there is one.
    pub(super) fn note(&mut self, what: What, a: u64, b: u64) {
        if let Some(log) = self.log.as_mut() {
            log.push(log::Entry { at: self.now, what, a, b });
        }
    }

    pub(super) fn set(&mut self, settings: Settings) {
        self.settings_wanted = settings.within(self.config.delay_max, self.config.sample_rate);
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.anchor.map(|anchor| anchor.epoch)
    }

    pub(super) fn is_past(&self, epoch: Epoch) -> bool {
        self.past.contains(&Some(epoch))
    }

    /// Frames of our own from what is heard at the callback to `media`; `None` when it is out of all reach.
    pub(super) fn offset(&self, media: MediaTime) -> Option<i64> {
        let anchor = self.anchor.as_ref()?;
        let distance = anchor.position(media)?.checked_signed_diff(anchor.read)?;
        if !self.renderer.is_resampling() {
            return Some(distance);
        }
        let ours = f64::from(self.config.sample_rate.hz()) / f64::from(self.rate.hz());
        Some(whole((distance as f64 + self.renderer.pending()) * ours))
    }

    pub(super) fn duration(&self, frames: usize) -> Nanos {
        self.duration_of(signed(frames))
    }

    pub(super) fn duration_of(&self, frames: i64) -> Nanos {
        Frames::new(frames).to_nanos_floor(self.config.sample_rate)
    }

    fn frames_in(&self, millis: i64) -> i64 {
        Nanos::from_millis(millis).to_frames_ceil(self.config.sample_rate).get()
    }

    pub(super) fn take_release(&mut self) -> Release {
        std::mem::take(&mut self.release)
    }

    /// Lets the stream go: silence at once, for whoever calls has faded or stopped the output.
    pub(super) fn forget(&mut self) {
        self.leave_epoch(false);
        self.renderer.reset();
        self.status.state = State::Empty;
    }

    /// The next block is a first one again, though the epoch may be the same.
    pub(super) fn begin_anew(&mut self, cause: Cause, now: HostTime) {
        if let Some(anchor) = self.anchor {
            self.now = now;
            self.leave_epoch(false);
            let read = anchor.media(anchor.read);
            self.note_resync(cause, read, read);
        }
    }

    fn leave_epoch(&mut self, for_good: bool) {
        let Some(anchor) = self.anchor.take() else { return };
        if for_good {
            self.past.rotate_right(1);
            self.past[0] = Some(anchor.epoch);
        }
        let used = anchor.read.max(anchor.newest);
        self.next_zero = used + 4 * count(self.buffer.capacity());
        self.renderer.cut();
        self.relearn();
        self.aligner.forget();
        self.gap = 0;
        self.status.state = State::Empty;
        self.release = Release { release: true, forget: true };
    }

    /// A callback of `frames` frames begins at `now`.
    pub(super) fn begin(&mut self, now: HostTime, frames: usize) {
        self.now = now;
        self.taken = Taken::default();
        self.callbacks.note(signed(frames));
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        self.left_out = self.drift.observe_callback(now, frames);
        self.aligner.begin(now, frames);
        self.adopt_settings();
        self.adopt_callback_length();
    }

    /// The longest callback to reckon with, in frames of the stream.
    fn longest_callback(&self) -> i64 {
        self.to_stream(self.callbacks.longest(i64::from(self.config.max_block)))
    }

    /// Our frames as the stream's.
    fn to_stream(&self, frames: i64) -> i64 {
        let (theirs, ours) = (i64::from(self.rate.hz()), i64::from(self.config.sample_rate.hz()));
        if theirs == ours { frames } else { frames.saturating_mul(theirs) / ours + i64::from(frames > 0) }
    }

    /// One block from the ring.
    pub(super) fn take(&mut self, header: &Header, samples: &Samples<'_>) {
        self.status.blocks += 1;
        self.status.last_block_at = self.now;
        let channels_end = u32::from(header.first_channel) + u32::from(header.channels);
        let is_endless = header.frame_count() > self.buffer.capacity() / 4;
        let is_empty = header.frames == 0 || header.channels == 0;
        if is_empty || is_endless || channels_end > u32::from(header.stream_channels) {
            self.status.malformed_blocks += 1;
        } else if !self.renderer.can_play(header.sample_rate) {
            self.mismatch(header.sample_rate);
        } else if self.is_past(header.epoch) && self.epoch() != Some(header.epoch) {
            self.status.stale_blocks += 1;
        } else {
            self.place(header, samples);
        }
    }

    fn mismatch(&mut self, theirs: SampleRate) {
        self.status.mismatched_blocks += 1;
        let state = State::RateMismatch { theirs };
        if self.status.state != state {
            self.leave_epoch(false);
            self.status.state = state;
            self.note(What::RateMismatch, u64::from(theirs.hz()), u64::from(self.config.sample_rate.hz()));
        }
    }

    /// Frames of the stream from a block's arrival to this callback.
    fn since_arrival(&self, header: &Header) -> i64 {
        (self.now - header.host_time).to_frames_floor(self.rate).get()
    }

    /// The same within reason: host times of other machines, or of tests, say nothing.
    fn waited(&self, header: &Header) -> i64 {
        self.since_arrival(header).clamp(0, self.longest_callback())
    }

    /// Whether a block lay in the ring for longer than callbacks explain: left over from before we were called.
    fn is_stale(&self, header: &Header) -> bool {
        self.since_arrival(header) > 2 * self.longest_callback() + self.frames_in(50)
    }

    fn place(&mut self, header: &Header, samples: &Samples<'_>) {
        let same = self.anchor.is_some_and(|anchor| {
            anchor.epoch == header.epoch
                && anchor.stream_channels == header.stream_channels
                && self.rate == header.sample_rate
        });
        let refresh = self.anchor.is_some_and(|anchor| anchor.stale) && !self.is_stale(header);
        if !same {
            let for_good = self.epoch().is_some_and(|epoch| epoch != header.epoch);
            self.leave_epoch(for_good);
            self.begin_epoch(header);
        } else if refresh {
            self.renderer.cut();
            self.anchor_at(header);
        }
        let Some(anchor) = self.anchor else { return };
        let Some(position) = anchor.position(header.start) else {
            self.leap(header, samples, Cause::StreamJumped);
            return;
        };
        let margin = position.checked_signed_diff(anchor.read).unwrap_or(i64::MIN);
        let ceiling = self.delay_in_effect() + self.frames_in(500);
        if margin > ceiling {
            let continues = position <= anchor.newest;
            let cause = if continues { Cause::SenderAhead } else { Cause::StreamJumped };
            self.leap(header, samples, cause);
        } else {
            self.store(header, samples, position, margin);
        }
    }

    /// Writes the block's frames and notes how timely they were.
    fn store(&mut self, header: &Header, samples: &Samples<'_>, position: u64, margin: i64) {
        let Some(anchor) = self.anchor else { return };
        let frames = header.frame_count();
        // What is older than the ring's memory of the past would overwrite the future.
        let oldest = anchor.newest.saturating_sub(count(self.buffer.capacity()));
        let skipped = usize::try_from(oldest.saturating_sub(position)).unwrap_or(usize::MAX).min(frames);
        let late = usize::try_from(margin.saturating_neg()).unwrap_or(0).clamp(skipped.min(frames), frames);
        let late = if margin < 0 { late } else { skipped };
        let before = self.buffer.write(position + count(skipped), header, samples, skipped, late - skipped);
        let after = self.buffer.write(position + count(late), header, samples, late, frames - late);
        if header.flags.contains(Flags::DISCONTINUITY) {
            self.buffer.set_break(position);
        }
        let end = position + count(frames);
        if let Some(anchor) = self.anchor.as_mut() {
            anchor.newest = anchor.newest.max(end);
            if margin >= 0 {
                anchor.origin = anchor.origin.min(position);
            }
        }
        if let Some(stamp) = header.session_time {
            self.aligner.stamps.note(position, stamp.time, stamp.link_offset);
        }
        let is_new = before.new + after.new + skipped > 0;
        let late = if margin < 0 { before.new + skipped } else { 0 };
        if !is_new {
            self.status.duplicate_blocks += u64::from(!header.flags.contains(Flags::REPEAT));
            return;
        }
        if late > 0 {
            self.status.late_blocks += 1;
            self.status.late_frames += count(late);
        }
        self.note_taken(header, position, margin, late > 0);
    }

    fn note_taken(&mut self, header: &Header, position: u64, margin: i64, is_late: bool) {
        let waited = self.waited(header);
        let is_original = !header.flags.contains(Flags::REPEAT);
        let frames = i64::from(header.frames);
        if header.first_channel == 0 {
            let seen = Observed {
                margin,
                waited,
                callback: self.longest_callback(),
                is_drifting: self.renderer.is_resampling(),
            };
            self.delay.observe(seen);
            if is_original {
                self.need.observe(seen, self.delay.wait(seen), self.recovery(header));
                self.typical += (margin - self.typical) / 64 + (margin - self.typical).signum();
                self.observe_clock(header, position, margin);
                self.observe_reach(header);
            }
            self.taken.frames += frames;
        }
        self.taken.blocks += 1;
        self.taken.late += u32::from(is_late && is_original);
        self.taken.on_time += u32::from(!is_late);
        if is_late {
            self.taken.lateness = self.taken.lateness.max(-margin);
            if is_original {
                self.taken.latest_late = self.taken.latest_late.max(Some(position));
            }
        } else {
            self.measure_latency(header, margin);
        }
        self.status.recovered_blocks += u64::from(!is_original);
        self.status.margin_frames = margin;
        if is_original {
            self.status.hold_frames = margin + waited;
        }
    }

    /// The frame leaves `margin` frames into the callbacks to come: nothing but a move of the read position changes it.
    fn measure_latency(&mut self, header: &Header, margin: i64) {
        let heard = margin.saturating_add(whole(self.renderer.pending()));
        let latency = self.now + Frames::new(heard).to_nanos_floor(self.rate) - header.host_time;
        let status = &mut self.status.latency;
        let is_first = status.blocks == 0;
        status.last = latency;
        status.min = if is_first { latency } else { status.min.min(latency) };
        status.max = status.max.max(latency);
        status.blocks += 1;
        self.histogram.add(latency);
    }

    /// All blocks of this callback are taken: whether the read position has to move.
    pub(super) fn settle(&mut self, frames: usize) {
        let frames = signed(frames);
        let taken = self.taken;
        if let Some(anchor) = self.anchor {
            self.status.level_frames = signed_distance(anchor.newest, anchor.read);
            self.status.delay_frames = self.delay_in_effect();
        }
        self.note_burst(taken.frames, frames);
        if taken.on_time > 0 {
            self.since_on_time = 0;
            self.late_in_a_row = 0;
        } else if let Some(position) = taken.latest_late {
            self.late_in_a_row += taken.late;
            let enough = self.late_in_a_row >= 8 && self.since_on_time >= self.frames_in(5);
            // What is to be heard at its time is too late then, and there is nothing to follow.
            let may_follow = !self.is_aligned();
            if may_follow && (enough || self.since_on_time >= self.frames_in(20)) {
                self.follow_the_late(position);
            }
        }
        self.since_on_time = self.since_on_time.saturating_add(frames);
        self.adapt(self.to_stream(frames));
        self.align(frames);
    }

    fn note_resync(&mut self, cause: Cause, new: MediaTime, old: MediaTime) {
        self.status.resyncs += 1;
        self.note_cause(cause);
        self.note(What::Resynced, new.get(), old.get());
    }

    fn note_cause(&mut self, cause: Cause) {
        self.status.last_cause = Some(cause);
        self.status.last_cause_at = self.now;
    }

    fn move_by(&mut self, frames: i64) {
        let Some(anchor) = self.anchor.as_mut() else { return };
        self.renderer.jump(&self.buffer, anchor.read, anchor.full);
        anchor.read = anchor.read.saturating_add_signed(frames);
        anchor.arrival_margin -= frames;
        self.typical -= frames;
        self.travelled += frames;
        self.delay.shift(-frames);
        self.need.shift(-frames);
        self.drift.moved(frames);
    }

    fn note_burst(&mut self, taken: i64, frames: i64) {
        let burst = &mut self.burst;
        burst.elapsed += frames;
        if burst.elapsed >= i64::from(self.config.sample_rate.hz()) {
            *burst = Burst { elapsed: 0, now: 0, before: burst.now };
            self.histogram.summarise(&mut self.status.latency);
        }
        self.burst.now = self.burst.now.max(taken);
        self.status.burst_frames = self.burst.now.max(self.burst.before);
    }

    /// Renders the block and moves the read position on.
    pub(super) fn render<C: AsMut<[f32]>>(&mut self, frames: usize, output: &mut [C]) {
        let anchor = self.anchor;
        let source = Source {
            buffer: &self.buffer,
            read: anchor.map_or(0, |anchor| anchor.read),
            full: anchor.map_or(u64::MAX, |anchor| anchor.full),
            channels: anchor.map_or(1, |anchor| anchor.channels),
            beginning: anchor.and_then(|anchor| anchor.position(MediaTime::ZERO)),
            origin: anchor.map_or(u64::MAX, |anchor| anchor.origin),
            newest: anchor.map_or(u64::MAX, |anchor| anchor.newest),
        };
        let gap_before = self.gap;
        if self.renderer.is_resampling() && anchor.is_some() {
            let sounding = source.read as f64 - self.renderer.pending();
            let ratio = self.aligner.ratio.unwrap_or_else(|| self.drift.ratio(sounding));
            self.renderer.set_ratio(ratio);
        }
        let rendered = self.renderer.render(&source, frames, output, &mut self.gap);
        let status = &mut self.status;
        status.played_frames += rendered.exact;
        status.faded_frames += rendered.faded;
        status.missing_frames += rendered.missing;
        status.unsent_frames += rendered.unsent;
        status.starved_frames += rendered.starved;
        status.ppm = self.drift.ppm();
        status.is_resampling = self.renderer.is_resampling();
        let Some(anchor) = self.anchor.as_mut() else { return };
        status.concealed_frames += rendered.concealed;
        status.concealments += rendered.concealments;
        anchor.read += rendered.read;
        let (before, played) = (status.state, anchor.media(anchor.read));
        status.played = played;
        status.state = if self.gap >= gap_before + rendered.read && self.gap > 0 {
            State::Starved
        } else if anchor.read <= anchor.origin {
            State::Waiting
        } else {
            State::Playing
        };
        match (before, status.state) {
            (before, State::Playing) if before != State::Playing => {
                let epoch = anchor.epoch.0;
                self.note(What::Playing, played.get(), u64::from(epoch));
            }
            (State::Playing, State::Starved) => self.note(What::Starved, played.get(), 0),
            _ => {}
        }
        let long = count(usize::try_from(self.frames_in(50)).unwrap_or(0));
        if gap_before < long && self.gap >= long {
            self.release.release = true;
        }
    }
}

fn signed(frames: usize) -> i64 {
    i64::try_from(frames).unwrap_or(i64::MAX)
}

fn signed_distance(to: u64, from: u64) -> i64 {
    to.checked_signed_diff(from).unwrap_or(0)
}

fn signed_count(frames: u64) -> i64 {
    i64::try_from(frames).unwrap_or(i64::MAX)
}

#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn whole(value: f64) -> i64 {
    libm::floor(value) as i64
}
