use audiocloud_units::SampleRate;

/// So many blocks in a row say that a phase has moved for good; fewer were late by themselves.
const LASTING: u32 = 4;
/// What moves less than this, or than so many mean deviations, is jitter.
const LEAST_MICROS: i64 = 600;
const DEVIATIONS: i64 = 6;
/// Of steps no further apart than this there will be another one; until then.
const RECURRING_SECONDS: i64 = 30;
const REMEMBERED_SECONDS: i64 = 60;
/// The next one may be so much greater.
const GUARD_MICROS: i64 = 300;
/// More than this is not kept in hand against one.
const SLACK_MAX_MILLIS: i64 = 10;

/// Notices when the sender's host leaves out callbacks: all blocks come later from then on, by the same step. Where that
/// recurs, so much has to be kept in hand.
#[derive(Debug)]
pub(super) struct Steps {
    second: i64,
    now: i64,
    /// The phase at present, and its mean deviation, in 1/16 of a frame.
    level: Option<i64>,
    deviation: i64,
    /// Blocks in a row that came this much too late, or too early: the least step that one of them shows.
    later: Run,
    earlier: Run,
    /// The last two steps towards later: when, and by how much.
    last: Option<(i64, i64)>,
    recurring: Option<(i64, i64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Run {
    length: u32,
    step: i64,
}

impl Run {
    /// The step, once it has lasted.
    fn add(&mut self, step: i64) -> Option<i64> {
        self.step = if self.length == 0 { step } else { self.step.min(step) };
        self.length += 1;
        (self.length == LASTING).then(|| std::mem::take(self).step)
    }
}

impl Steps {
    pub(super) fn new(sample_rate: SampleRate) -> Self {
        Self {
            second: i64::from(sample_rate.hz()),
            now: 0,
            level: None,
            deviation: 0,
            later: Run::default(),
            earlier: Run::default(),
            last: None,
            recurring: None,
        }
    }

    /// Another stream, or the same one anew.
    pub(super) fn relearn(&mut self) {
        (self.level, self.deviation) = (None, 0);
        (self.later, self.earlier) = (Run::default(), Run::default());
        (self.last, self.recurring) = (None, None);
    }

    /// `frames` frames go by.
    pub(super) fn advance(&mut self, frames: i64) {
        self.now += frames;
    }

    /// How early a block came, in frames, against a count that no move of the read position changes. By how much the phase
    /// has moved in a step, if it has: below 0 blocks come later from now on.
    pub(super) fn observe(&mut self, phase: i64) -> Option<i64> {
        let phase = 16 * phase;
        let level = *self.level.get_or_insert(phase);
        let off = level - phase;
        let least = (LEAST_MICROS * 16 * self.second / 1_000_000).max(DEVIATIONS * self.deviation);
        // A lone step of a block shows in it for long, so that jitter that comes in steps is taken for such.
        self.deviation += (off.abs().min(4 * least) - self.deviation) / 64;
        if off.abs() < least {
            (self.later, self.earlier) = (Run::default(), Run::default());
            self.level = Some(level - off / 16);
            return None;
        }
        let (run, other) =
            if off > 0 { (&mut self.later, &mut self.earlier) } else { (&mut self.earlier, &mut self.later) };
        *other = Run::default();
        let step = run.add(off.abs())?;
        self.level = Some(level - step * off.signum());
        if off > 0 {
            self.note(step / 16);
        }
        Some(-off.signum() * step / 16)
    }

    fn note(&mut self, step: i64) {
        let before = self.last.replace((self.now, step));
        if let Some((at, other)) = before
            && self.now - at <= RECURRING_SECONDS * self.second
        {
            self.recurring = Some((self.now, step.min(other)));
        }
    }

    /// What is to be kept in hand against the next one, in frames.
    pub(super) fn slack(&self) -> i64 {
        match self.recurring {
            Some((at, step)) if self.now - at <= REMEMBERED_SECONDS * self.second => {
                let guard = GUARD_MICROS * self.second / 1_000_000;
                (step + guard).min(SLACK_MAX_MILLIS * self.second / 1_000)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Steps {
        Steps::new(SampleRate::new(48_000).unwrap())
    }

    /// Blocks of 128 frames for so many seconds, `phase(block)` frames early. What is kept in hand then.
    fn watch(steps: &mut Steps, seconds: i64, phase: impl Fn(i64) -> i64) -> i64 {
        for block in 0..seconds * 375 {
            steps.observe(phase(block));
            steps.advance(128);
        }
        steps.slack()
    }

    #[test]
    fn recurring_steps_are_kept_in_hand_until_they_stay_away() {
        let mut steps = steps();
        let jitter = |block: i64| block * 7 % 5;
        assert_eq!(watch(&mut steps, 10, |block| 500 + jitter(block)), 0);
        assert_eq!(watch(&mut steps, 10, |block| 372 + jitter(block)), 0, "once is no rule");
        let slack = watch(&mut steps, 10, |block| 244 + jitter(block));
        assert!((134..=150).contains(&slack), "{slack}");
        assert!(watch(&mut steps, 40, |block| 244 + jitter(block)) > 0);
        assert_eq!(watch(&mut steps, 20, |block| 244 + jitter(block)), 0);
    }

    #[test]
    fn jitter_and_single_late_blocks_are_no_steps() {
        let mut steps = steps();
        assert_eq!(watch(&mut steps, 100, |block| 500 - 128 * i64::from(block % 50 < 3)), 0);
        let wide = |block: i64| block.wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_right(40).rem_euclid(480);
        assert_eq!(watch(&mut steps, 100, wide), 0);
        // Towards earlier there is nothing to lose.
        assert_eq!(watch(&mut steps, 10, |block| 128 * (block / 375)), 0);
    }
}
