//! Which time of the session the frames of a stream bear.

use audiocloud_units::{Frames, Nanos, SampleRate, SessionTime};

/// Stamps are kept this far apart; between them a straight line will do.
const SPACING: Nanos = Nanos::from_millis(10);
/// So many of them say how fast the stream runs: two seconds.
const SLOPE: usize = 200;
/// No clock is off by more: a line that is steeper has a step in it, for the sender lost frames there.
const DRIFT_MAX: f64 = 1e-3;
/// What is off by more than this from a straight line is a step.
const STEP: Nanos = Nanos::from_micros(100);

/// One frame's.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stamp {
    position: u64,
    session: SessionTime,
    /// How long after that it is to leave, as the sender asks of everybody.
    link_offset: Option<Nanos>,
}

/// A place between two frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) position: u64,
    /// Of a frame, from 0 to 1.
    pub(super) fraction: f64,
    /// Frames of the stream for each second of the session, there.
    pub(super) hz: f64,
    /// As the sender asks there.
    pub(super) link_offset: Option<Nanos>,
}

impl Place {
    /// How many frames it is beyond `position`.
    pub(super) fn beyond(&self, position: u64) -> f64 {
        self.position.checked_signed_diff(position).unwrap_or(0) as f64 + self.fraction
    }
}

/// A ring of stamps, in the order of both position and time.
#[derive(Debug)]
pub(super) struct Stamps {
    entries: Box<[Stamp]>,
    first: usize,
    count: usize,
    hz: f64,
    spacing: u64,
}

impl Stamps {
    /// For so many frames of a stream. *Realtime-safe: no.*
    pub(super) fn new(frames: usize, sample_rate: SampleRate) -> Self {
        let blank = Stamp { position: 0, session: SessionTime::new(0), link_offset: None };
        let spacing = spacing(sample_rate);
        let entries = frames / usize::try_from(spacing).unwrap_or(1) + SLOPE;
        let hz = f64::from(sample_rate.hz());
        Self { entries: vec![blank; entries].into_boxed_slice(), first: 0, count: 0, hz, spacing }
    }

    /// Another stream, of this rate.
    pub(super) fn begin(&mut self, sample_rate: SampleRate) {
        (self.hz, self.spacing) = (f64::from(sample_rate.hz()), spacing(sample_rate));
        self.clear();
    }

    pub(super) fn clear(&mut self) {
        (self.first, self.count) = (0, 0);
    }

    fn at(&self, index: usize) -> Stamp {
        self.entries[(self.first + index) % self.entries.len()]
    }

    fn newest(&self) -> Option<Stamp> {
        self.count.checked_sub(1).map(|last| self.at(last))
    }

    /// What the sender asked for last.
    pub(super) fn link_offset(&self) -> Option<Nanos> {
        self.newest()?.link_offset
    }

    /// A frame bears a stamp. One that is older than the newest tells nothing new.
    pub(super) fn note(&mut self, position: u64, session: SessionTime, link_offset: Option<Nanos>) {
        if let Some(last) = self.newest() {
            if position <= last.position {
                return;
            }
            if session <= last.session {
                // Time went back: another session's, or another master's. What was before is over.
                self.clear();
            } else if position - last.position < self.spacing
                && link_offset == last.link_offset
                && !self.is_step(last, session, position)
            {
                return;
            }
        }
        if self.count == self.entries.len() {
            self.first = (self.first + 1) % self.entries.len();
            self.count -= 1;
        }
        let slot = (self.first + self.count) % self.entries.len();
        self.entries[slot] = Stamp { position, session, link_offset };
        self.count += 1;
    }

    fn is_step(&self, before: Stamp, session: SessionTime, position: u64) -> bool {
        let elapsed = (session - before.session).get() as f64;
        let expected = (position - before.position) as f64 * 1e9 / self.hz;
        (elapsed - expected).abs() > STEP.get() as f64 + DRIFT_MAX * expected
    }

    /// Where in the stream a time of the session is. Before the first stamp, and after the newest, as far on as that is.
    pub(super) fn find(&self, session: SessionTime) -> Option<Place> {
        self.newest()?;
        let after = self.partition(session);
        let index = after.saturating_sub(1);
        let before = self.at(index);
        let hz = self.slope(index);
        let elapsed = (session - before.session).get() as f64;
        let hz_here = (after > 0 && after < self.count)
            .then(|| self.at(after))
            .filter(|next| !self.is_step(before, next.session, next.position))
            .map_or(hz, |next| {
                (next.position - before.position) as f64 * 1e9 / (next.session - before.session).get() as f64
            });
        let frames = elapsed * 1e-9 * hz_here;
        let whole = libm::floor(frames);
        #[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let position = before.position.saturating_add_signed(whole as i64);
        Some(Place { position, fraction: frames - whole, hz, link_offset: before.link_offset })
    }

    /// How many stamps are not later than this.
    fn partition(&self, session: SessionTime) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.at(middle).session <= session { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Frames for each second around a stamp.
    fn slope(&self, index: usize) -> f64 {
        let (from, to) = (index.saturating_sub(SLOPE), (index + SLOPE / 4).min(self.count - 1));
        let (from, to) = (self.at(from), self.at(to));
        if to.position - from.position < 4 * self.spacing {
            return self.hz;
        }
        let hz = (to.position - from.position) as f64 * 1e9 / (to.session - from.session).get() as f64;
        if (hz / self.hz - 1.0).abs() > DRIFT_MAX { self.hz } else { hz }
    }
}

fn spacing(sample_rate: SampleRate) -> u64 {
    let frames: Frames = SPACING.to_frames_floor(sample_rate);
    u64::try_from(frames.get()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: u64 = 1 << 41;
    const BEGAN: i64 = 1_700_000_000_000_000_000;

    fn rate() -> SampleRate {
        SampleRate::new(48_000).unwrap()
    }

    #[allow(clippy::cast_possible_truncation, reason = "times of a test")]
    fn session(frame: f64, hz: f64) -> SessionTime {
        SessionTime::new(BEGAN + (frame / hz * 1e9).round() as i64)
    }

    /// Blocks of 128 frames of a sender that runs at `hz`.
    fn filled(stamps: &mut Stamps, blocks: std::ops::Range<u64>, hz: f64) {
        for block in blocks {
            stamps.note(ZERO + block * 128, session((block * 128) as f64, hz), None);
        }
    }

    #[test]
    fn places_are_those_of_the_sender_to_a_thousandth_of_a_frame() {
        for hz in [48_000.0, 48_009.6, 47_990.4] {
            let mut stamps = Stamps::new(96_000, rate());
            filled(&mut stamps, 0..1_500, hz);
            // What is older than two and a half seconds is no longer there, and nobody asks for it.
            for frame in [120_000.25, 191_872.0, 191_900.5, 196_000.75] {
                let place = stamps.find(session(frame, hz)).unwrap();
                let off = place.beyond(ZERO) - frame;
                assert!(off.abs() < 1e-3, "{hz}, {frame}: {off}");
                assert!((place.hz - hz).abs() < 0.05, "{hz}, {frame}: {}", place.hz);
            }
        }
    }

    #[test]
    fn before_the_first_and_without_any() {
        let mut stamps = Stamps::new(96_000, rate());
        assert_eq!(stamps.find(SessionTime::new(BEGAN)), None);
        stamps.note(ZERO, SessionTime::new(BEGAN), None);
        let place = stamps.find(SessionTime::new(BEGAN - 1_000_000)).unwrap();
        assert!((place.beyond(ZERO) + 48.0).abs() < 1e-6);
    }

    #[test]
    fn frames_that_the_sender_lost_are_a_step_and_not_a_slope() {
        let mut stamps = Stamps::new(96_000, rate());
        filled(&mut stamps, 0..400, 48_000.0);
        for block in 400..800_u64 {
            let at = session((block * 128) as f64 + 512.0, 48_000.0);
            stamps.note(ZERO + block * 128, at, None);
        }
        let before = stamps.find(session(51_150.0, 48_000.0)).unwrap();
        assert!((before.beyond(ZERO) - 51_150.0).abs() < 1e-3);
        let after = stamps.find(session(51_712.0 + 10.0, 48_000.0)).unwrap();
        assert!((after.beyond(ZERO) - 51_210.0).abs() < 1e-3, "{}", after.beyond(ZERO));
        assert_eq!(after.hz, 48_000.0);
    }

    #[test]
    fn each_frame_has_the_offset_that_it_was_sent_with() {
        let mut stamps = Stamps::new(96_000, rate());
        let offset =
            |block: u64| (block >= 150).then_some(Nanos::from_millis(if block < 300 { 20 } else { 25 }));
        for block in 0..500_u64 {
            stamps.note(ZERO + block * 128, session((block * 128) as f64, 48_000.0), offset(block));
        }
        for block in [0, 149, 150, 299, 300, 499_u64] {
            let place = stamps.find(session((block * 128) as f64 + 1.0, 48_000.0)).unwrap();
            assert_eq!(place.link_offset, offset(block), "{block}");
        }
        assert_eq!(stamps.link_offset(), Some(Nanos::from_millis(25)));
        // Time that went back begins anew.
        stamps.note(ZERO + 500 * 128, SessionTime::new(0), None);
        assert_eq!(stamps.find(SessionTime::new(0)).unwrap().position, ZERO + 500 * 128);
    }
}
