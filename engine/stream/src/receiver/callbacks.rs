use audiocloud_units::SampleRate;

/// The lengths of our own callbacks, over the last two to four seconds.
#[derive(Debug)]
pub(super) struct Callbacks {
    window_length: i64,
    elapsed: i64,
    now: Extremes,
    before: Extremes,
}

#[derive(Clone, Copy, Debug, Default)]
struct Extremes {
    min: i64,
    max: i64,
}

impl Callbacks {
    pub(super) fn new(sample_rate: SampleRate) -> Self {
        Self {
            window_length: 2 * i64::from(sample_rate.hz()),
            elapsed: 0,
            now: Extremes::default(),
            before: Extremes::default(),
        }
    }

    pub(super) fn note(&mut self, frames: i64) {
        self.elapsed += frames;
        if self.elapsed >= self.window_length {
            self.elapsed = 0;
            self.before = std::mem::take(&mut self.now);
        }
        self.now.max = self.now.max.max(frames);
        self.now.min = if self.now.min == 0 { frames } else { self.now.min.min(frames) };
    }

    /// The longest callback to reckon with: a block that arrives just after one began waits as long for the next.
    /// Where the lengths vary, the next power of two above the longest that was seen, up to the host's own limit.
    pub(super) fn longest(&self, host_max: i64) -> i64 {
        let max = self.now.max.max(self.before.max);
        let varies = self.now.min != max || (self.before.max != 0 && self.before.min != max);
        if varies {
            let above = u64::try_from(max)
                .map_or(max, |max| i64::try_from(max.next_power_of_two()).unwrap_or(i64::MAX));
            above.min(host_max).max(max)
        } else {
            max
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_vary_count_as_the_power_of_two_above() {
        let mut callbacks = Callbacks::new(SampleRate::new(48_000).unwrap());
        callbacks.note(480);
        callbacks.note(480);
        assert_eq!(callbacks.longest(4_096), 480);
        callbacks.note(300);
        assert_eq!(callbacks.longest(4_096), 512);
        assert_eq!(callbacks.longest(500), 500);
    }
}
