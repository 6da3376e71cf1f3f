//! The beat map of a domain: edits from here and from others, and what becomes of it where two times become one.

use std::sync::Arc;

use audiocloud_units::{HostTime, Nanos, SessionTime};

use super::{BEATS_COME, SESSION_TIME_MAX, Timekeeper};
use crate::beat_map::{BadSegment, BeatMap, Segment};

/// The most segments of one edit.
pub const EDIT_SEGMENTS_MAX: usize = 256;
/// Bits of a serial that name its author.
const AUTHOR_BITS: u32 = 16;
/// Serials stay below, far from the end of the number.
const SERIAL_MAX: u64 = 1 << 62;
/// An edit may be of an epoch that is not known here yet, but of none that is so far from it.
const EPOCHS_AHEAD: u64 = 16;

/// Why something was not taken, for people: cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Timekeeper {
    /// Makes these the map's next segments. They come back with epoch and serial, to be said to everybody.
    ///
    /// # Errors
    /// Nobody may, there is no time yet, or they cannot be; the map stays as it was.
    pub fn edit(&mut self, segments: &[Segment], now: HostTime) -> Result<Vec<Segment>, Refusal> {
        self.may_lead.clone().map_err(Refusal)?;
        let refuse = |why: &str| Refusal(why.to_owned());
        let line = self.line().ok_or_else(|| refuse("there is no shared time yet; wait a second"))?;
        if segments.len() > EDIT_SEGMENTS_MAX {
            return Err(refuse("more than 256 changes at once; make fewer"));
        }
        let [low, high, ..] = self.settings.me.instance;
        let author = u64::from(u16::from_le_bytes([low, high]));
        let serial = (((self.serial >> AUTHOR_BITS) + 1) << AUTHOR_BITS | author).min(SERIAL_MAX - 1);
        let epoch = self.election.master().map_or(0, |master| master.epoch);
        let numbered: Vec<Segment> =
            segments.iter().map(|segment| Segment { epoch, serial, ..*segment }).collect();
        let mut map = BeatMap::clone(&self.map);
        for segment in &numbered {
            within(segment.start)?;
            segment.check().map_err(|bad| Refusal(bad.to_string()))?;
        }
        map.merge(&numbered, line.session_at(now)).map_err(|bad| Refusal(bad.to_string()))?;
        self.set_map(map);
        self.serial = serial;
        // What came along from an earlier time is not put in place of this.
        self.orphans = None;
        Ok(numbered)
    }

    /// Somebody says beats on the time of this origin; they may lead, or not. Those that are news here, to be passed on.
    pub fn hear_beats(
        &mut self,
        segments: &[Segment],
        origin: u64,
        may_lead: bool,
        now: HostTime,
    ) -> Vec<Segment> {
        if !may_lead {
            self.refuse("somebody sends beats who may not lead".to_owned());
            return Vec::new();
        }
        // Theirs is not our time, or not yet: they send them again.
        let Some(line) = self.line().filter(|_| self.line_origin == Some(origin)) else { return Vec::new() };
        let epoch_max = self.election.master().map_or(0, |master| master.epoch) + EPOCHS_AHEAD;
        let (mut taken, mut bad) = (Vec::with_capacity(segments.len()), None);
        for segment in segments {
            let can_be = segment.check().map_err(|bad| Refusal(bad.to_string()));
            let can_be = can_be.and_then(|()| within(segment.start));
            let is_near = segment.epoch <= epoch_max && segment.serial < SERIAL_MAX;
            match can_be {
                Ok(()) if is_near => taken.push(*segment),
                Ok(()) => bad = Some("beats of an edit that cannot have been made".to_owned()),
                Err(refusal) => bad = Some(refusal.0),
            }
        }
        if let Some(why) = bad {
            self.refuse(why);
        }
        let mut map = BeatMap::clone(&self.map);
        match map.merge(&taken, line.session_at(now)) {
            Ok(news) if news.is_empty() => Vec::new(),
            Ok(news) => {
                let latest = news.iter().map(|segment| segment.serial).max();
                self.serial = self.serial.max(latest.unwrap_or(0));
                self.set_map(map);
                news
            }
            Err(bad) => {
                self.refuse(bad.to_string());
                Vec::new()
            }
        }
    }

    /// The origin of the time that the beats lie on.
    #[must_use]
    pub fn beats_origin(&self) -> Option<u64> {
        self.line_origin
    }

    /// Another time is shown from now on, ahead of the old one by so much, where there was one. The beats of the old time are
    /// kept aside: the new one may have its own.
    pub(super) fn move_beats(&mut self, by: Option<Nanos>, now: HostTime) {
        if self.map.segments().is_empty() {
            return;
        }
        let old = Arc::clone(&self.map);
        self.set_map(BeatMap::new());
        if let Some(by) = by {
            self.orphans = Some((moved(old.segments(), by, None).segments().to_vec(), now));
        }
    }

    /// Once it is clear that the new time has no beats, the old time's are put on it.
    pub(super) fn settle_orphans(&mut self, now: HostTime) {
        let Some((orphans, since)) = self.orphans.take() else { return };
        if !self.map.segments().is_empty() || self.may_lead.is_err() {
            return;
        }
        if now - since < BEATS_COME {
            self.orphans = Some((orphans, since));
            return;
        }
        let epoch = self.election.master().map_or(0, |master| master.epoch);
        self.set_map(moved(&orphans, Nanos::ZERO, Some(epoch)));
    }

    pub(super) fn set_map(&mut self, map: BeatMap) {
        self.beats = map.digest();
        self.map_number += 1;
        self.map = Arc::new(map);
        self.changed = true;
    }
}

/// These, so much later, in this epoch where one is given. As few as fit.
pub(super) fn moved(segments: &[Segment], by: Nanos, epoch: Option<u64>) -> BeatMap {
    let mut map = BeatMap::new();
    let segments: Vec<Segment> = segments
        .iter()
        .map(|segment| Segment {
            start: segment.start + by,
            epoch: epoch.unwrap_or(segment.epoch),
            ..*segment
        })
        .collect();
    // They were a map before: nothing about them cannot be.
    map.merge(&segments, SessionTime::new(i64::MAX)).ok();
    map
}

fn within(start: SessionTime) -> Result<(), Refusal> {
    let fits = start.get().saturating_abs() <= SESSION_TIME_MAX;
    fits.then_some(()).ok_or_else(|| Refusal(BadSegment::Position(start.get() as f64).to_string()))
}
