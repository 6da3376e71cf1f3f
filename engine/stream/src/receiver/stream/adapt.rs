//! How the read position follows what the network and the clocks do, and what the user wishes.

use audiocloud_rt::block_ring::Header;
use audiocloud_rt::due::Due;
use audiocloud_rt::log::What;
use audiocloud_units::Frames;

use super::{Cause, Mode, Stream, signed_count, signed_distance};
use crate::receiver::Clock;
use crate::receiver::delay::START_SECONDS;

/// How like what follows must be for a cut at the first attempt. Where there is much to gain, less and less is asked for,
/// and after [`SEARCH_MILLIS`] nothing; sooner at the start, when nobody relies on anything yet. Later a little is not
/// worth a cut that may be heard.
const LIKENESS: f32 = 0.995;
const SEARCH_MILLIS: i64 = 8_000;
const SEARCH_AT_START_MILLIS: i64 = 2_000;
/// For a cut that makes it longer before anything comes too late: soon something might. But a cut that is heard for
/// certain is no better than that.
const SEARCH_FOR_MORE_MILLIS: i64 = 1_000;
const LIKENESS_FOR_MORE: f32 = 0.6;
const MUCH_MILLIS: i64 = 3;
/// So much later than it is due, a frame that was lost is worth being brought back: it makes the delay longer, and the
/// next one that is lost comes in time.
const PATIENCE_MILLIS: i64 = 10;
/// The most that one cut makes the delay shorter by, and how often a place for it is looked for.
const SHORTEN_MILLIS: i64 = 15;
const ATTEMPT_MILLIS: i64 = 20;
/// Longer than this nothing is waited for only because it might be lost.
const RECOVERY_MILLIS: i64 = 20;
/// A cut that makes it longer may repeat so much more than it must.
const LENGTHEN_MILLIS: i64 = 1;

impl Stream {
    /// The least delay that was asked for, or what holds where that is more, in frames of the stream.
    pub(super) fn delay_in_effect(&self) -> i64 {
        match self.settings.mode {
            Mode::Fixed { delay } => {
                self.to_stream(delay.get()).max(self.anchor.map_or(0, |anchor| anchor.floor))
            }
            Mode::Lowest { .. } | Mode::Aligned { .. } => self.typical.max(0),
        }
    }

    /// What was learnt of the network and of the sender's clock holds no longer.
    pub(super) fn relearn(&mut self) {
        self.delay.relearn();
        self.need.relearn();
        self.drift.forget_sender();
        (self.shorten, self.lengthen) = (None, None);
        self.is_about_to_resample = false;
        self.travelled = 0;
    }

    /// The user's wish.
    pub(super) fn adopt_settings(&mut self) {
        let (before, wanted) = (self.settings, self.settings_wanted);
        if before == wanted {
            return;
        }
        let was = self.delay_in_effect();
        self.settings = wanted;
        let Some(anchor) = self.anchor else { return };
        let longer = match (before.mode, wanted.mode) {
            (_, Mode::Fixed { delay }) => {
                let floor = if matches!(before.mode, Mode::Fixed { .. }) { anchor.floor } else { 0 };
                self.to_stream(delay.get()).max(floor) - was
            }
            (_, Mode::Lowest { floor, ceiling }) => {
                let (floor, ceiling) = (self.to_stream(floor.get()), self.to_stream(ceiling.get()));
                was.clamp(floor, ceiling.max(floor)) - was
            }
            // Where it has to be is found at each callback.
            (_, Mode::Aligned { .. }) => 0,
        };
        if longer != 0 {
            self.move_by(-longer);
            self.status.delay_changes += 1;
            self.note(What::DelayChanged, (was + longer).unsigned_abs(), was.unsigned_abs());
        }
    }

    /// A block that arrives now may wait as long as this callback lasts: with a fixed delay, longer callbacks need a
    /// longer one before the first block is late.
    pub(super) fn adopt_callback_length(&mut self) {
        let Some(anchor) = self.anchor else { return };
        let lacking = self.longest_callback() - anchor.arrival_margin;
        if lacking > 0 && matches!(self.settings.mode, Mode::Fixed { .. }) {
            let is_heard = anchor.read > anchor.origin;
            let in_effect = self.delay_in_effect();
            self.move_by(-lacking);
            if let Some(anchor) = self.anchor.as_mut() {
                anchor.floor = in_effect + lacking;
            }
            if is_heard {
                self.note_move(-lacking, Cause::BlocksLonger);
            }
        }
    }

    /// Nothing comes in time any more: read where the latest block is one delay away.
    pub(super) fn follow_the_late(&mut self, position: u64) {
        let Some(anchor) = self.anchor else { return };
        let target = position.saturating_add_signed(-self.delay_in_effect());
        self.move_by(signed_distance(target, anchor.read));
        self.relearn();
        self.since_on_time = 0;
        self.late_in_a_row = 0;
        // The stream stood still, and we wait for it: of the silence nothing was missing.
        self.gap = 0;
        self.note_resync(Cause::BlocksLate, anchor.media(target), anchor.media(anchor.read));
    }

    /// What an original block says about the sender's clock.
    pub(super) fn observe_clock(&mut self, header: &Header, position: u64, margin: i64) {
        let since = self.since_arrival(header);
        if (0..i64::from(self.rate.hz())).contains(&since) {
            let phase = margin + since + self.travelled;
            self.drift.observe_block(header.host_time, position, phase);
            if let Some(step) = self.need.steps.observe(phase) {
                self.delay.step(step);
                // That is not how clocks drift.
                self.drift.forget_phases();
            }
        }
    }

    /// All blocks of this callback are taken, and `frames` frames go by.
    pub(super) fn adapt(&mut self, frames: i64) {
        let differs = self.drift.advance(frames);
        self.need.steps.advance(frames);
        if self.anchor.is_none() {
            return;
        }
        if self.left_out.take().is_some() {
            self.note_cause(Cause::ReceiverStalled);
        }
        let may_resample = !self.renderer.is_resampling() && self.settings.clock == Clock::Automatic;
        if differs && may_resample && !self.is_about_to_resample {
            self.prepare_to_resample();
        }
        if self.is_about_to_resample && may_resample {
            self.resample();
        }
        let said = self.delay.advance(frames);
        let Mode::Lowest { floor, ceiling } = self.settings.mode else { return };
        let (floor, ceiling) = (self.to_stream(floor.get()), self.to_stream(ceiling.get()));
        if self.taken.lateness > 0 {
            let longer = match self.delay.late(self.taken.lateness) {
                0 => 0,
                // It was heard: what the next one would take is taken along.
                longer => longer + self.need.steps.slack(),
            };
            let longer = longer.min(ceiling - self.typical);
            if longer > 0 {
                self.move_by(-longer);
                self.note_move(-longer, Cause::BlocksLate);
                (self.shorten, self.lengthen) = (None, None);
                return;
            }
        }
        let lacking = self.need.lacking().min(ceiling - self.typical);
        let lacking = (lacking > self.delay.guard()).then_some(lacking);
        let lacking =
            lacking.or(said.filter(|slack| *slack < 0).map(|slack| (-slack).min(ceiling - self.typical)));
        if let Some(frames) = lacking.filter(|frames| *frames > 0) {
            self.lengthen = Some((frames, self.lengthen.map_or(0, |(_, tried)| tried)));
        }
        if self.lengthen.is_some() {
            self.shorten = None;
            self.try_to_lengthen(frames);
            return;
        }
        if let Some(slack) = said {
            let most = slack.min(self.typical - floor).min(self.frames_of_stream(SHORTEN_MILLIS));
            let tried = self.shorten.map_or(0, |(_, tried)| tried);
            self.shorten = (most > 0).then_some((most, tried));
        }
        self.try_to_shorten(frames);
    }

    /// When the frames of this callback, and of all others, are due.
    pub(in crate::receiver) fn due(&self) -> Option<Due> {
        let anchor = self.anchor?;
        let patience = match self.settings.mode {
            Mode::Lowest { ceiling, .. } => (self.to_stream(ceiling.get()) - self.typical)
                .clamp(0, self.frames_of_stream(PATIENCE_MILLIS)),
            Mode::Fixed { .. } | Mode::Aligned { .. } => 0,
        };
        Some(Due {
            epoch: anchor.epoch,
            media: anchor.media(anchor.read),
            at: self.now,
            sample_rate: self.rate,
            hold: Frames::new(self.status.hold_frames).to_nanos_floor(self.rate),
            patience: Frames::new(patience).to_nanos_floor(self.rate),
            latency: self.status.latency.last,
            needs: self.needs().filter(|_| matches!(self.settings.mode, Mode::Aligned { .. })),
        })
    }

    /// After how many frames what was lost is brought back.
    pub(super) fn recovery(&self, header: &Header) -> i64 {
        header.recovery.to_frames_ceil(self.rate).get().clamp(0, self.frames_of_stream(RECOVERY_MILLIS))
    }

    fn frames_of_stream(&self, millis: i64) -> i64 {
        millis * i64::from(self.rate.hz()) / 1_000
    }

    /// Resampling takes some frames of the future, for which the delay is made longer.
    pub(super) fn prepare_to_resample(&mut self) {
        let look_ahead = signed_count(self.renderer.look_ahead());
        let Some(anchor) = self.anchor else { return };
        let frames = match self.settings.mode {
            Mode::Lowest { .. } => look_ahead,
            // Where it has to be is found at each callback.
            Mode::Aligned { .. } => 0,
            // What the delay has to spare will do.
            Mode::Fixed { .. } => {
                look_ahead.min(self.longest_callback() + look_ahead - anchor.arrival_margin)
            }
        };
        self.lengthen(frames, -1.0);
        self.is_about_to_resample = true;
        self.shorten = None;
    }

    /// From the next frame on the stream is resampled, unless something else is going on there.
    fn resample(&mut self) {
        let Some(anchor) = self.anchor else { return };
        let look_ahead = self.renderer.look_ahead();
        let around = usize::try_from(2 * look_ahead).unwrap_or(usize::MAX);
        let is_whole = self.buffer.run(anchor.read.saturating_sub(look_ahead), around, anchor.full) == around;
        if !is_whole || !self.renderer.is_steady() {
            return;
        }
        let read = self.renderer.engage(&self.buffer, anchor.read, anchor.channels);
        if let Some(anchor) = self.anchor.as_mut() {
            anchor.read = read;
        }
        self.is_about_to_resample = false;
        self.typical -= signed_count(look_ahead);
        self.delay.shift(-signed_count(look_ahead));
        self.drift.begin_anew();
        let ppm = self.drift.ppm();
        self.note(What::Resampling, count_of_millis(ppm.abs()), u64::from(ppm < 0.0));
    }

    fn try_to_lengthen(&mut self, frames: i64) {
        let Some((wanted, tried)) = self.lengthen else { return };
        let every = self.frames_of_stream(ATTEMPT_MILLIS);
        let after = tried + frames;
        self.lengthen = Some((wanted, after));
        if tried > 0 && tried / every == after / every {
            return;
        }
        let waited = after as f32 / self.frames_of_stream(SEARCH_FOR_MORE_MILLIS) as f32;
        if self.lengthen(wanted, less_like(waited).max(LIKENESS_FOR_MORE)) {
            self.lengthen = None;
        }
    }

    /// Makes the delay longer by at least so many frames, where the sound is so much like itself. Whether it did.
    fn lengthen(&mut self, frames: i64, likeness: f32) -> bool {
        let Some(anchor) = self.anchor else { return false };
        if frames <= 0 {
            return false;
        }
        let most = frames + self.frames_of_stream(LENGTHEN_MILLIS);
        let found = self.search.find(
            &self.buffer,
            anchor.read,
            (-frames, -most),
            self.renderer.crossfade_frames(),
            (anchor.full, anchor.channels),
        );
        // Where not everything is there, nothing can be compared, and nothing gets worse.
        if found.is_some_and(|splice| splice.likeness < likeness) {
            return false;
        }
        let shift = found.map_or(-frames, |splice| splice.shift);
        self.move_by(shift);
        self.note_move(shift, Cause::BlocksNearlyLate);
        true
    }

    fn try_to_shorten(&mut self, frames: i64) {
        let Some((most, tried)) = self.shorten else { return };
        let most = most.min(self.need.spare());
        if most <= 0 {
            self.shorten = None;
        }
        let Some(anchor) = self.anchor.filter(|_| most > 0) else { return };
        let every = self.frames_of_stream(ATTEMPT_MILLIS);
        let after = tried + frames;
        self.shorten = Some((most, after));
        if tried / every == after / every {
            return;
        }
        let found = self.search.find(
            &self.buffer,
            anchor.read,
            // Half of it at least, or it would take for ever.
            (most - most / 2, most),
            self.renderer.crossfade_frames(),
            (anchor.full, anchor.channels),
        );
        let patience = if self.delay.seconds() < START_SECONDS {
            Some(SEARCH_AT_START_MILLIS)
        } else if most > self.frames_of_stream(MUCH_MILLIS) {
            Some(SEARCH_MILLIS)
        } else {
            None
        };
        let waited = patience.map_or(0.0, |millis| after as f32 / self.frames_of_stream(millis) as f32);
        let found = found.filter(|splice| splice.likeness >= less_like(waited));
        if let Some(splice) = found {
            self.move_by(splice.shift);
            self.note_move(splice.shift, Cause::BlocksEarly);
            let left = most - splice.shift;
            self.shorten = (left > self.frames_of_stream(1) / 4).then_some((left, after));
        }
    }

    fn note_move(&mut self, frames: i64, cause: Cause) {
        self.status.slips += 1;
        self.status.slipped_frames += frames;
        self.note_cause(cause);
        if let Some(anchor) = self.anchor {
            let new = anchor.media(anchor.read);
            self.note(What::Slipped, new.get(), (new - Frames::new(frames)).get());
        }
    }
}

/// How like a place must be after so much of the patience: nearly as at first for the first half of it.
fn less_like(waited: f32) -> f32 {
    LIKENESS - 2.0 * waited * waited * waited
}

/// Thousandths of a positive number.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn count_of_millis(value: f64) -> u64 {
    (value * 1_000.0) as u64
}
