//! Whose clock the session goes by.
//!
//! Every member judges the same candidates by the same order and comes to the same answer: explicit choice, then the quality
//! of the clock, then the smallest worst round trip to all others, then the id. Who is master stays so until another one
//! is better by more than a little for more than a while; a new one is a new *epoch*, which every message about time carries.
//!
//! Who is left alone goes on as its own master in the epoch that there was: when the others are found again it counts less than theirs,
//! so that nobody who was gone for a moment becomes everybody's master by it.

use std::cmp::{Ordering, Reverse};
use std::time::Duration;

use audiocloud_units::{HostTime, Nanos};

/// So much shorter a worst round trip has to be, as a part of the master's, and by that at least, to be better at all.
const SHORTER_PART: f64 = 0.7;
const SHORTER_MIN: Nanos = Nanos::from_millis(2);
/// For so long it has to be better.
const FOR: Nanos = Nanos::from_secs(10);
/// A candidate that was not heard of for so long is none.
pub const SILENT: Nanos = Nanos::from_secs(3);
/// More are not listened to.
pub const CANDIDATES_MAX: usize = 256;
/// Epochs stay below: enough for one each second for a century, and far from the end of the number.
pub const EPOCHS_MAX: u64 = 1 << 32;

/// A device, by its public key.
pub type DeviceId = [u8; 32];

/// A process of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// Whose.
    pub device: DeviceId,
    /// Which of the device's: random in each run.
    pub instance: [u8; 16],
}

/// Where a clock comes from, the best first (after IEEE 1588-2019, 7.6.2.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// Locked to a satellite or an atomic clock, or to a PTP grandmaster that is.
    Traceable,
    /// Locked to a grandmaster of the local network.
    Network,
    /// A sound card's word clock, through audio callbacks.
    Audio,
    /// This machine's crystal.
    #[default]
    Crystal,
}

/// Somebody who may be master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whose clock it is.
    pub id: ProcessId,
    /// Somebody with the right to lead chose it, the later choice counts: its number, 0 for none.
    pub chosen: u64,
    /// Where its time comes from.
    pub quality: Quality,
    /// The longest of its round trips to the others.
    pub worst_round_trip: Nanos,
}

impl Candidate {
    /// Better is less. Of equal ones the id decides.
    fn order(&self, other: &Self) -> Ordering {
        self.firm(other).then(self.worst_round_trip.cmp(&other.worst_round_trip)).then(self.id.cmp(&other.id))
    }

    /// By what is not measured, and therefore does not waver.
    fn firm(&self, other: &Self) -> Ordering {
        other.chosen.cmp(&self.chosen).then(self.quality.cmp(&other.quality))
    }

    /// Whether it is worth a change of masters.
    fn is_clearly_better_than(&self, master: &Self) -> bool {
        match self.firm(master) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => {
                let (mine, theirs) = (self.worst_round_trip, master.worst_round_trip);
                (mine.get() as f64) < theirs.get() as f64 * SHORTER_PART
                    && theirs.get() - mine.get() > SHORTER_MIN.get()
            }
        }
    }
}

/// A master. Of two epochs the greater counts; of one epoch's two that who is not alone, then the smaller id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Master {
    /// Whose clock it is.
    pub id: ProcessId,
    /// Counts masters.
    pub epoch: u64,
    /// Nobody follows.
    pub alone: bool,
}

impl Master {
    /// Whether it is this one that counts, of the two.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        let rank = |master: &Self| (master.epoch, !master.alone, Reverse(master.id));
        rank(self) > rank(other)
    }
}

/// One member's view of the election.
#[derive(Clone, Debug, Default)]
pub struct Election {
    candidates: Vec<(Candidate, HostTime)>,
    master: Option<Master>,
    /// Who is clearly better than the master, and since when.
    better: Option<(ProcessId, HostTime)>,
    refused: u64,
}

impl Election {
    /// Nobody is known, and nobody is master.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Somebody is there and may be master. What does not fit among the first 256 is counted, and no candidate.
    pub fn hear(&mut self, candidate: Candidate, now: HostTime) {
        if let Some(known) = self.candidates.iter_mut().find(|(known, _)| known.id == candidate.id) {
            *known = (candidate, now);
        } else if self.candidates.len() < CANDIDATES_MAX {
            self.candidates.push((candidate, now));
        } else {
            self.refused += 1;
        }
    }

    /// Somebody says who is master. Whether that is news.
    pub fn hear_master(&mut self, master: Master) -> bool {
        let is_news = master.epoch < EPOCHS_MAX && self.master.is_none_or(|known| master.supersedes(&known));
        if is_news {
            self.master = Some(master);
            self.better = None;
        }
        is_news
    }

    /// The master, who said to be alone, says otherwise, or the other way round.
    pub fn set_alone(&mut self, alone: bool) {
        if let Some(master) = &mut self.master {
            master.alone = alone;
        }
    }

    /// Nobody is master: who was may no longer.
    pub fn depose(&mut self) {
        self.master = None;
        self.better = None;
    }

    /// Somebody has left, or is not to be master.
    pub fn forget(&mut self, id: &ProcessId) {
        self.candidates.retain(|(candidate, _)| candidate.id != *id);
    }

    /// The master, if there is one.
    #[must_use]
    pub fn master(&self) -> Option<Master> {
        self.master
    }

    /// Who may be master.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().map(|(candidate, _)| candidate)
    }

    /// Candidates that there was no room for.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Time goes by; to be called a few times a second. A new master, if there has to be one.
    pub fn tick(&mut self, now: HostTime) -> Option<Master> {
        self.candidates.retain(|(_, heard)| now - *heard <= SILENT);
        let best = self.candidates().copied().min_by(Candidate::order)?;
        let present =
            self.master.and_then(|master| self.candidates().copied().find(|one| one.id == master.id));
        let Some(present) = present else {
            return Some(if self.candidates.len() == 1 {
                self.leave_alone(best.id)
            } else {
                self.elect(best.id)
            });
        };
        if !best.is_clearly_better_than(&present) {
            self.better = None;
            return None;
        }
        let since = match self.better {
            Some((id, since)) if id == best.id => since,
            _ => now,
        };
        self.better = Some((best.id, since));
        // A choice is not waited over.
        let is_chosen = best.chosen > present.chosen;
        (is_chosen || now - since >= FOR).then(|| self.elect(best.id))
    }

    /// Makes somebody master in a new epoch.
    pub fn elect(&mut self, id: ProcessId) -> Master {
        let epoch = self.master.map_or(1, |master| (master.epoch + 1).min(EPOCHS_MAX - 1));
        self.enter(Master { id, epoch, alone: false })
    }

    /// The only one that is left, or the first one that is there.
    fn leave_alone(&mut self, id: ProcessId) -> Master {
        self.enter(Master { id, epoch: self.master.map_or(0, |master| master.epoch), alone: true })
    }

    fn enter(&mut self, master: Master) -> Master {
        self.master = Some(master);
        self.better = None;
        master
    }
}

/// How often [`Election::tick`] has to be called at least, for a lost master to be replaced in time.
pub const TICK: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn process(id: u8) -> ProcessId {
        ProcessId { device: [id; 32], instance: [0; 16] }
    }

    fn candidate(id: u8, quality: Quality, round_trip_ms: i64) -> Candidate {
        Candidate { id: process(id), chosen: 0, quality, worst_round_trip: Nanos::from_millis(round_trip_ms) }
    }

    fn at(seconds: i64) -> HostTime {
        HostTime::new(seconds * 1_000_000_000)
    }

    /// Hears all of them each second from `from` to `to`; the masters that came of it.
    fn play(election: &mut Election, all: &[Candidate], from: i64, to: i64) -> Vec<(i64, u8)> {
        let mut masters = Vec::new();
        for second in from..to {
            for one in all {
                election.hear(*one, at(second));
            }
            masters.extend(election.tick(at(second)).map(|master| (second, master.id.device[0])));
        }
        masters
    }

    #[test]
    fn choice_then_quality_then_round_trip_then_id() {
        let first = |all: &[Candidate]| play(&mut Election::new(), all, 0, 1)[0].1;
        let crystal = |id, ms| candidate(id, Quality::Crystal, ms);
        assert_eq!(first(&[crystal(3, 20), crystal(2, 20)]), 2);
        assert_eq!(first(&[crystal(2, 21), crystal(3, 20)]), 3);
        assert_eq!(first(&[crystal(2, 20), candidate(3, Quality::Audio, 90)]), 3);
        let chosen = Candidate { chosen: 1, ..crystal(9, 500) };
        assert_eq!(first(&[candidate(1, Quality::Traceable, 1), chosen]), 9);
    }

    #[test]
    fn a_little_better_is_not_enough_and_a_moment_neither() {
        let mut election = Election::new();
        let master = candidate(1, Quality::Crystal, 40);
        assert_eq!(play(&mut election, &[master], 0, 2), [(0, 1)]);
        assert_eq!(play(&mut election, &[master, candidate(2, Quality::Crystal, 30)], 2, 60), []);
        let better = [master, candidate(2, Quality::Crystal, 20)];
        assert_eq!(play(&mut election, &better, 60, 68), []);
        assert_eq!(play(&mut election, &[master, candidate(2, Quality::Crystal, 39)], 68, 70), []);
        assert_eq!(play(&mut election, &better, 70, 90), [(80, 2)]);
        assert_eq!(election.master().unwrap().epoch, 1);
    }

    #[test]
    fn a_master_that_falls_silent_is_replaced_and_a_choice_counts_at_once() {
        let mut election = Election::new();
        let [one, two] = [1, 2].map(|id| candidate(id, Quality::Crystal, 10));
        play(&mut election, &[one, two], 0, 5);
        assert_eq!(play(&mut election, &[two], 5, 20), [(8, 2)]);
        assert_eq!(play(&mut election, &[Candidate { chosen: 1, ..one }, two], 20, 22), [(20, 1)]);
        assert_eq!(
            play(&mut election, &[Candidate { chosen: 1, ..one }, Candidate { chosen: 2, ..two }], 22, 24),
            [(22, 2)]
        );
    }

    #[test]
    fn two_halves_agree_when_they_meet_again() {
        let [one, two] = [1, 2].map(|id| candidate(id, Quality::Crystal, 10));
        let (mut left, mut right) = (Election::new(), Election::new());
        play(&mut left, &[one], 0, 5);
        play(&mut right, &[two], 0, 5);
        let (mine, theirs) = (left.master().unwrap(), right.master().unwrap());
        assert!(!left.hear_master(theirs) && right.hear_master(mine));
        assert_eq!(left.master(), right.master());
        // Whoever had more masters meanwhile is followed.
        let later = Master { id: process(9), epoch: 7, alone: false };
        assert!(left.hear_master(later) && !left.hear_master(mine));
    }

    #[test]
    fn who_was_alone_for_a_while_does_not_become_master_by_it() {
        let [one, two, three] = [1, 2, 3].map(|id| candidate(id, Quality::Crystal, 10));
        let mut here = Election::new();
        play(&mut here, &[two, three], 0, 5);
        let theirs = here.master().unwrap();
        assert_eq!((theirs.id, theirs.alone), (process(2), false));
        let mut gone = Election::new();
        gone.hear_master(theirs);
        assert_eq!(play(&mut gone, &[one], 5, 9), [(5, 1)]);
        let mine = gone.master().unwrap();
        assert_eq!((mine.epoch, mine.alone), (theirs.epoch, true));
        assert!(gone.hear_master(theirs) && !here.hear_master(mine));
        // And nobody is believed who says that there were as many masters as a number can say.
        assert!(!here.hear_master(Master { id: process(1), epoch: EPOCHS_MAX, alone: false }));
    }

    #[test]
    fn there_is_an_end_to_candidates() {
        let mut election = Election::new();
        for id in 0..300_u16 {
            let mut id_of_it = process(0);
            id_of_it.device[..2].copy_from_slice(&id.to_be_bytes());
            election.hear(Candidate { id: id_of_it, ..candidate(0, Quality::Crystal, 1) }, at(0));
        }
        assert_eq!(election.refused(), 44);
    }
}
