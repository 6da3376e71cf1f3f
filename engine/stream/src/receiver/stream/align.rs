//! How frames leave at their time of the session: in every receiver at the same.
//!
//! A frame bears the session's time at which it was recorded; it leaves one link offset after that. What that makes the
//! position to be heard at a callback is known to a fraction of a frame: from the stamps of the frames themselves, from
//! when the callback was due by the earliest of many, and from the session's time at that. The difference to what is heard
//! is worked off through the resampler; where it is large, for frames were lost at either end, by one cut.

use audiocloud_rt::block_ring::Header;
use audiocloud_rt::log::What;
use audiocloud_units::{HostTime, Nanos, SampleRate, SessionLine, SessionTime};

use super::{Cause, Mode, Stream, signed_count, signed_distance};
use crate::callback_clock::CallbackClock;
use crate::receiver::reach::Reach;
use crate::receiver::stamps::{Place, Stamps};
use crate::receiver::status::Alignment;
use crate::receiver::{Clock, LinkOffset};

/// A difference is worked off with this time constant, by at most so much: a fiftieth of a semitone.
const TRIM_SECONDS: f64 = 1.0;
const TRIM_MAX: f64 = 1e-3;
/// What is further off than this is cut to: nobody waits for longer than a second. So is any other link offset, at its frame,
/// for it is worth a millisecond or so: of two receivers the one would cut, and the other be a second late.
const CUT: Nanos = Nanos::from_millis(1);
/// Where nothing is resampled, what is further off than so many frames.
const CUT_FRAMES: f64 = 0.8;
/// What a block that arrives has to have in hand.
const GUARD: Nanos = Nanos::from_micros(300);
/// In place of what is agreed before anything is: so much more than is needed.
const FIRST_ROOM: Nanos = Nanos::from_millis(4);
/// Where no time is known.
const FIXED: Nanos = Nanos::from_millis(20);

/// What alignment has to remember.
#[derive(Debug)]
pub(super) struct Aligner {
    line: Option<SessionLine>,
    clock: CallbackClock,
    pub(super) stamps: Stamps,
    reach: Reach,
    agreed: Option<Agreed>,
    /// Frames of the stream for each of ours; nothing while the session's time is not kept.
    pub(super) ratio: Option<f64>,
}

/// The link offset that all keep.
#[derive(Clone, Copy, Debug)]
struct Agreed {
    offset: Nanos,
    /// It was guessed, for the sender has not said anything yet.
    is_guess: bool,
    /// What the frames before this position asked for is over.
    passed: u64,
}

impl Aligner {
    pub(super) fn new(frames: usize, sample_rate: SampleRate) -> Self {
        Self {
            line: None,
            clock: CallbackClock::new(sample_rate),
            stamps: Stamps::new(frames, sample_rate),
            reach: Reach::default(),
            agreed: None,
            ratio: None,
        }
    }

    pub(super) fn begin(&mut self, now: HostTime, frames: u32) {
        self.clock.observe(now, frames);
    }

    pub(super) fn begin_stream(&mut self, rate: SampleRate) {
        self.stamps.begin(rate);
        self.forget();
    }

    /// Forgets the stream; our own clock goes on.
    pub(super) fn forget(&mut self) {
        self.stamps.clear();
        self.reach.clear();
        (self.agreed, self.ratio) = (None, None);
    }

    /// The session's time when the first frame of this callback leaves.
    fn now(&self) -> Option<SessionTime> {
        self.line.map(|line| line.session_at(self.clock.due()))
    }

    /// The place to be heard now, and the offset that it has.
    fn place(&mut self, link_offset: LinkOffset, guess: Nanos) -> Option<(Place, Nanos)> {
        let now = self.now()?;
        let place = |offset: Nanos| Some((self.stamps.find(now - offset)?, offset));
        match link_offset {
            LinkOffset::Set { now: offset, then } => {
                place(then.filter(|(at, _)| now >= *at).map_or(offset, |(_, then)| then))
            }
            LinkOffset::Agreed => {
                let said = self.stamps.link_offset();
                let agreed = self.agreed.filter(|agreed| !agreed.is_guess || said.is_none());
                let agreed = agreed.unwrap_or(Agreed {
                    offset: said.unwrap_or(guess),
                    is_guess: said.is_none(),
                    passed: 0,
                });
                let (found, _) = place(agreed.offset)?;
                // Another one counts from the frame on that asks for it, which all receivers play at one time. A frame that
                // is played twice, for it became longer, asks for what is over.
                let is_ahead = found.position > agreed.passed;
                let asked = found.link_offset.filter(|offset| is_ahead && *offset != agreed.offset);
                let passed = agreed.passed.max(found.position);
                let offset = asked.unwrap_or(agreed.offset);
                self.agreed = Some(Agreed { offset, passed, ..agreed });
                place(offset)
            }
        }
    }
}

impl Stream {
    pub(in crate::receiver) fn set_line(&mut self, line: Option<SessionLine>) {
        self.aligner.line = line;
    }

    /// Whether the session's time is kept.
    pub(super) fn is_aligned(&self) -> bool {
        matches!(self.status.alignment, Alignment::Kept { .. })
    }

    /// A part of a frame is kept by resampling, which may as well begin with the first one.
    pub(super) fn is_resampled_from_the_start(&self) -> bool {
        matches!(self.settings.mode, Mode::Aligned { .. }) && self.settings.clock == Clock::Automatic
    }

    /// From this callback until the block's first frame is heard, in frames of the stream; below 0 it is too late.
    pub(super) fn first_delay(&mut self, header: &Header) -> i64 {
        let fixed = FIXED.to_frames_ceil(self.rate).get().max(self.longest_callback());
        let Mode::Aligned { link_offset } = self.settings.mode else { return fixed };
        let (Some(stamp), Some(line)) = (header.session_time, self.aligner.line) else { return fixed };
        let guess = self.guess(line.session_at(header.host_time) - stamp.time);
        let offset = match (link_offset, stamp.link_offset) {
            (LinkOffset::Set { now, .. }, _) => now,
            (LinkOffset::Agreed, said) => said.unwrap_or(guess),
        };
        if link_offset == LinkOffset::Agreed {
            let is_guess = stamp.link_offset.is_none();
            self.aligner.agreed = Some(Agreed { offset, is_guess, passed: 0 });
        }
        let now = line.session_at(self.aligner.clock.due());
        let delay = (stamp.time + offset - now).to_frames_floor(self.rate).get();
        if delay.abs() > self.held_max() { fixed } else { delay }
    }

    /// What one that is as late as this needs.
    fn guess(&self, late: Nanos) -> Nanos {
        late.max(Nanos::ZERO) + self.overhead() + FIRST_ROOM
    }

    /// What it takes beyond a block's being here: it may have to wait for a whole callback, and for the filter.
    fn overhead(&self) -> Nanos {
        let callback = self.duration_of(self.callbacks.longest(i64::from(self.config.max_block)));
        let look_ahead = audiocloud_units::Frames::new(signed_count(self.renderer.look_ahead()));
        callback + look_ahead.to_nanos_floor(self.rate) + GUARD
    }

    /// The smallest link offset that could be kept.
    pub(super) fn needs(&self) -> Option<Nanos> {
        self.aligner.reach.latest().map(|late| (late + self.overhead()).max(Nanos::ZERO))
    }

    /// What an original block says about how late they come.
    pub(super) fn observe_reach(&mut self, header: &Header) {
        let (Some(stamp), Some(line)) = (header.session_time, self.aligner.line) else { return };
        let recovery = audiocloud_units::Frames::new(self.recovery(header)).to_nanos_floor(self.rate);
        self.aligner.reach.observe(line.session_at(header.host_time) - stamp.time + recovery);
    }

    /// How many frames can wait.
    fn held_max(&self) -> i64 {
        signed_count(super::count(self.buffer.capacity())) - i64::from(self.rate.hz()) / 2
    }

    /// All blocks of this callback are taken: where the read position has to be, and how fast it has to move.
    pub(super) fn align(&mut self, frames: i64) {
        self.aligner.reach.advance(self.duration_of(frames));
        self.status.needs = self.needs();
        let was_kept = self.is_aligned();
        self.status.alignment = self.find_alignment();
        if was_kept && !self.is_aligned() {
            // It goes on as it is.
            self.aligner.ratio = None;
            self.drift.begin_anew();
        }
    }

    fn find_alignment(&mut self) -> Alignment {
        let Mode::Aligned { link_offset } = self.settings.mode else { return Alignment::Off };
        if self.aligner.line.is_none() {
            return Alignment::NoTime;
        }
        let Some(anchor) = self.anchor else { return Alignment::NoStamps };
        let may_resample = self.settings.clock == Clock::Automatic;
        if may_resample && !self.renderer.is_resampling() && !self.is_about_to_resample {
            self.prepare_to_resample();
        }
        let guess = self.needs().unwrap_or(FIXED) + FIRST_ROOM;
        let Some((place, offset)) = self.aligner.place(link_offset, guess) else {
            return Alignment::NoStamps;
        };
        let behind = signed_distance(anchor.newest, place.position);
        if behind.abs() > self.held_max() {
            return Alignment::TooLong;
        }
        let is_other_offset = std::mem::replace(&mut self.status.link_offset, offset) != offset;
        let heard = |read: u64, pending: f64| place.beyond(read) + pending;
        let off = heard(anchor.read, self.renderer.pending());
        let most = if self.renderer.is_resampling() && !is_other_offset {
            CUT.to_frames_floor(self.rate).get() as f64
        } else {
            CUT_FRAMES
        };
        let off = if off.abs() > most {
            self.realign(off);
            heard(self.anchor.map_or(0, |anchor| anchor.read), self.renderer.pending())
        } else {
            off
        };
        self.aligner.ratio = self.ratio(&place, off);
        Alignment::Kept { error: nanos(-off / place.hz) }
    }

    /// Moves to where the session's time has it; unheard while nothing was.
    fn realign(&mut self, off: f64) {
        #[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let frames = libm::round(off) as i64;
        let Some(before) = self.anchor else { return };
        self.move_by(frames);
        if before.read > before.origin {
            self.status.realignments += 1;
            self.note_cause(Cause::SessionTime);
            let new = before.media(before.read.saturating_add_signed(frames));
            self.note(What::Slipped, new.get(), before.media(before.read).get());
        }
    }

    /// As fast as the sender's frames go by at its place, on our clock, and a little more or less.
    fn ratio(&self, place: &Place, off: f64) -> Option<f64> {
        let line = self.aligner.line.filter(|_| self.renderer.is_resampling())?;
        let ours = self.aligner.clock.rate_hz() / line.rate.to_factor();
        let trim = (off / (TRIM_SECONDS * place.hz)).clamp(-TRIM_MAX, TRIM_MAX);
        Some(place.hz / ours * (1.0 + trim))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn nanos(seconds: f64) -> Nanos {
    Nanos::new((seconds * 1e9) as i64)
}
