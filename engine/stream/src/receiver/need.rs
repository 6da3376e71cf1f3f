use audiocloud_units::SampleRate;

use super::delay::Observed;
use super::steps::Steps;

/// Less than this to spare is not worth a cut, which would have to be made good at the next step.
const WORTH_MICROS: i64 = 1_400;
/// What all of the last blocks lack is lacking; one may have been late by itself.
const BLOCKS: usize = 6;

/// How early blocks have to come beyond coming in time: so that one that is lost can be brought back, and so that a
/// callback that the sender's host leaves out is not heard.
#[derive(Debug)]
pub(super) struct Need {
    pub(super) steps: Steps,
    /// What the last blocks' margins lacked, below 0 what they had to spare.
    lacks: [i64; BLOCKS],
    next: usize,
    /// Blocks since there is a need.
    seen: usize,
    worth: i64,
}

impl Need {
    pub(super) fn new(sample_rate: SampleRate) -> Self {
        let worth = WORTH_MICROS * i64::from(sample_rate.hz()) / 1_000_000;
        Self { steps: Steps::new(sample_rate), lacks: [0; BLOCKS], next: 0, seen: 0, worth }
    }

    pub(super) fn relearn(&mut self) {
        self.steps.relearn();
        self.seen = 0;
    }

    /// A block came by itself that could not do with a margin of less than `wait`; lost ones are brought back `recovery`
    /// frames after they should have come.
    pub(super) fn observe(&mut self, block: Observed, wait: i64, recovery: i64) {
        let slack = self.steps.slack();
        let kept = if slack > 0 { wait + slack } else { 0 };
        let needed = kept.max(for_recovery(block, recovery));
        if needed <= 0 {
            self.seen = 0;
            return;
        }
        self.lacks[self.next] = needed - block.margin;
        self.next = (self.next + 1) % BLOCKS;
        self.seen = (self.seen + 1).min(BLOCKS);
    }

    /// All margins are larger by so many frames.
    pub(super) fn shift(&mut self, frames: i64) {
        self.lacks.iter_mut().for_each(|lack| *lack -= frames);
    }

    /// By how much the delay has to be longer.
    pub(super) fn lacking(&self) -> i64 {
        if self.seen < BLOCKS {
            return 0;
        }
        self.lacks.iter().copied().min().unwrap_or(0)
    }

    /// By how much it may be shorter at most.
    pub(super) fn spare(&self) -> i64 {
        match self.seen {
            0 => i64::MAX,
            BLOCKS => {
                let spare = -self.lacks.iter().copied().max().unwrap_or(0);
                if spare < self.worth { 0 } else { spare }
            }
            _ => 0,
        }
    }
}

/// The margin with which what comes `recovery` frames later is still in time. On one clock callbacks keep their distance
/// from arrivals, and only whole ones count; where clocks drift, it may be missed by one.
pub(super) fn for_recovery(block: Observed, recovery: i64) -> i64 {
    if recovery <= 0 {
        return 0;
    }
    let later = recovery - block.waited;
    if block.is_drifting {
        later + block.callback
    } else {
        let callback = block.callback.max(1);
        (later + callback - 1).div_euclid(callback) * callback
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(margin: i64, waited: i64) -> Observed {
        Observed { margin, waited, callback: 128, is_drifting: false }
    }

    #[test]
    fn what_is_brought_back_is_taken_by_a_whole_callback() {
        assert_eq!(for_recovery(block(0, 60), 0), 0);
        assert_eq!(for_recovery(block(0, 60), 60), 0);
        assert_eq!(for_recovery(block(0, 60), 61), 128);
        assert_eq!(for_recovery(block(0, 60), 200), 256);
        assert_eq!(for_recovery(Observed { is_drifting: true, ..block(0, 60) }, 200), 268);
    }

    #[test]
    fn what_all_blocks_lack_is_lacking() {
        let mut need = Need::new(SampleRate::new(48_000).unwrap());
        assert_eq!((need.lacking(), need.spare()), (0, i64::MAX));
        for index in 0..20 {
            // One in five comes later, and lacks more.
            need.observe(block(if index % 5 == 0 { 100 } else { 140 }, 60), 0, 200);
        }
        assert_eq!((need.lacking(), need.spare()), (116, 0));
        need.shift(200);
        assert_eq!((need.lacking(), need.spare()), (-84, 0), "not worth it");
        need.shift(100);
        assert_eq!((need.lacking(), need.spare()), (-184, 144));
        need.observe(block(300, 60), 0, 0);
        assert_eq!((need.lacking(), need.spare()), (0, i64::MAX), "nothing is lost any more");
    }
}
