//! What becomes of a frame on its way: a pure function of a seed, of time and of the frame's length.

/// A network's faults, the same both ways, each way with a random sequence of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Impairment {
    pub(crate) loss: Loss,
    pub(crate) delay_ms: f64,
    /// Uniform within so much of the delay, frame by frame: later frames overtake earlier ones.
    pub(crate) jitter_ms: f64,
    pub(crate) bottleneck: Option<Bottleneck>,
    pub(crate) spikes: Option<Spikes>,
}

/// Each frame with this probability, by itself, takes so much longer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spikes {
    pub(crate) probability: f64,
    pub(crate) ms: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Loss {
    None,
    /// Each frame with this probability, by itself.
    Random(f64),
    /// Gilbert's model: probabilities of entering and of leaving, frame by frame, a state in which all is lost. Nothing is
    /// lost in the other.
    Gilbert {
        enter: f64,
        leave: f64,
    },
    /// Everything for `length_ms` at the end of each `every_ms`, while time is before `until_ms`.
    Bursts {
        every_ms: f64,
        length_ms: f64,
        until_ms: f64,
    },
}

/// A link of limited rate behind a queue that drops what comes when it is full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bottleneck {
    pub(crate) rate_bps: f64,
    pub(crate) queue_ms: f64,
}

impl Impairment {
    pub(crate) const NONE: Self =
        Self { loss: Loss::None, delay_ms: 0.0, jitter_ms: 0.0, bottleneck: None, spikes: None };
}

/// A frame's end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It arrives then.
    Due {
        ms: f64,
    },
    Lost,
    /// The bottleneck's queue was full.
    Refused,
}

/// One way through an impaired network.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    impairment: Impairment,
    random: SplitMix,
    /// Gilbert's state.
    bad: bool,
    /// When the bottleneck has sent what it was given.
    idle_at_ms: f64,
}

impl Way {
    pub(crate) fn new(impairment: Impairment, seed: u64) -> Self {
        Self { impairment, random: SplitMix(seed), bad: false, idle_at_ms: 0.0 }
    }

    /// What becomes of a frame of `bytes` that comes `now_ms` after the beginning; time does not run backwards.
    pub(crate) fn fate(&mut self, now_ms: f64, bytes: usize) -> Fate {
        let lost = match self.impairment.loss {
            Loss::None => false,
            Loss::Random(probability) => self.random.unit() < probability,
            Loss::Gilbert { enter, leave } => {
                let turn = if self.bad { leave } else { enter };
                self.bad ^= self.random.unit() < turn;
                self.bad
            }
            Loss::Bursts { every_ms, length_ms, until_ms } => {
                now_ms < until_ms && now_ms % every_ms >= every_ms - length_ms
            }
        };
        if lost {
            return Fate::Lost;
        }
        let mut due_ms = now_ms;
        if let Some(Bottleneck { rate_bps, queue_ms }) = self.impairment.bottleneck {
            let begins_ms = self.idle_at_ms.max(now_ms);
            if begins_ms - now_ms > queue_ms {
                return Fate::Refused;
            }
            self.idle_at_ms = begins_ms + bits(bytes) / rate_bps * 1e3;
            due_ms = self.idle_at_ms;
        }
        let spread = if self.impairment.jitter_ms > 0.0 { 2.0 * self.random.unit() - 1.0 } else { 0.0 };
        let spike_ms = match self.impairment.spikes {
            Some(spikes) if self.random.unit() < spikes.probability => spikes.ms,
            _ => 0.0,
        };
        let delay_ms = self.impairment.delay_ms + spread * self.impairment.jitter_ms;
        Fate::Due { ms: due_ms + delay_ms.max(0.0) + spike_ms }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a frame has fewer than 2^50 bytes")]
fn bits(bytes: usize) -> f64 {
    bytes as f64 * 8.0
}

/// Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to less than 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(impairment: Impairment, count: u32) -> Vec<Fate> {
        let mut way = Way::new(impairment, 7);
        (0..count).map(|n| way.fate(f64::from(n), 1250)).collect()
    }

    fn lost(impairment: Impairment) -> usize {
        fates(impairment, 100_000).into_iter().filter(|fate| *fate == Fate::Lost).count()
    }

    #[test]
    fn as_much_is_lost_as_asked() {
        let with = |loss| lost(Impairment { loss, ..Impairment::NONE });
        assert_eq!(with(Loss::None), 0);
        // Five standard deviations.
        assert!(with(Loss::Random(0.01)).abs_diff(1000) < 160);
        // In the long run enter / (enter + leave).
        assert!(with(Loss::Gilbert { enter: 0.005, leave: 0.25 }).abs_diff(1961) < 600);
        // Each fifth second's last 20 ms, for half of the time.
        assert_eq!(with(Loss::Bursts { every_ms: 5e3, length_ms: 20.0, until_ms: 5e4 }), 200);
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_fills_them() {
        let jitter = Impairment { delay_ms: 5.0, jitter_ms: 5.0, ..Impairment::NONE };
        let mut delays = Vec::new();
        for (n, fate) in fates(jitter, 10_000).into_iter().enumerate() {
            let Fate::Due { ms } = fate else { panic!("{fate:?}") };
            delays.push(ms - f64::from(u32::try_from(n).unwrap()));
        }
        let (least, most) = delays.iter().fold((f64::MAX, f64::MIN), |(a, b), d| (a.min(*d), b.max(*d)));
        assert!((0.0..0.01).contains(&least) && (9.99..=10.0).contains(&most), "{least} {most}");
    }

    #[test]
    fn as_many_frames_are_late_as_asked() {
        let spikes = Some(Spikes { probability: 0.02, ms: 20.0 });
        let fates = fates(Impairment { delay_ms: 1.0, spikes, ..Impairment::NONE }, 100_000);
        let delay = |(n, fate): (usize, Fate)| match fate {
            Fate::Due { ms } => ms - f64::from(u32::try_from(n).unwrap()),
            Fate::Lost | Fate::Refused => panic!("{fate:?}"),
        };
        let late = fates.into_iter().enumerate().map(delay).filter(|ms| (*ms - 21.0).abs() < 1e-6).count();
        // Five standard deviations.
        assert!(late.abs_diff(2_000) < 222, "{late}");
    }

    #[test]
    fn a_bottleneck_passes_its_rate_and_queues_no_more_than_it_may() {
        // 1,250 bytes each ms are 10 Mbit/s: twice what passes.
        let narrow = Bottleneck { rate_bps: 5e6, queue_ms: 100.0 };
        let fates = fates(Impairment { bottleneck: Some(narrow), ..Impairment::NONE }, 10_000);
        let passed = fates.iter().filter(|fate| matches!(fate, Fate::Due { .. })).count();
        assert!(passed.abs_diff(5050) < 10, "{passed}");
        assert!(fates.contains(&Fate::Refused));
        let waits = fates.iter().enumerate().filter_map(|(n, fate)| match fate {
            Fate::Due { ms } => Some(ms - f64::from(u32::try_from(n).unwrap())),
            _ => None,
        });
        let longest = waits.fold(0.0, f64::max);
        assert!((100.0..=103.0).contains(&longest), "{longest}");
    }

    #[test]
    fn a_seed_tells_everything() {
        let loss = Impairment { loss: Loss::Random(0.5), jitter_ms: 3.0, delay_ms: 3.0, ..Impairment::NONE };
        assert_eq!(fates(loss, 100), fates(loss, 100));
        let mut other = Way::new(loss, 8);
        let others: Vec<Fate> = (0..100).map(|n| other.fate(f64::from(n), 1250)).collect();
        assert_ne!(fates(loss, 100), others);
    }
}
