//! Packets that vanish, one by one or in bursts.

use crate::random::Random;

/// How packets are lost. Probabilities are from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// Never.
    #[default]
    None,
    /// Each for itself.
    Bernoulli {
        /// Of each packet.
        probability: f64,
    },
    /// A good and a bad state, each with a loss rate of its own; a packet may change the state, then shares its fate.
    ///
    /// E. N. Gilbert, *Capacity of a Burst-Noise Channel*, Bell Syst. Tech. J. 39(5), 1960, where the good state loses
    /// nothing; E. O. Elliott, *Estimates of Error Rates for Codes on Burst-Noise Channels*, Bell Syst. Tech. J. 42(5),
    /// 1963.
    GilbertElliott {
        /// The probability that a packet turns good into bad.
        good_to_bad: f64,
        /// The probability that a packet turns bad into good.
        bad_to_good: f64,
        /// Loss in the good state.
        loss_in_good: f64,
        /// Loss in the bad state.
        loss_in_bad: f64,
    },
}

impl Loss {
    /// Bursts in which everything is lost, and nothing between them: a loss rate of `probability` (below 1), in bursts of
    /// `burst_packets` packets on average, at least 1.
    #[must_use]
    pub fn bursts(probability: f64, burst_packets: f64) -> Self {
        let bad_to_good = 1.0 / burst_packets.max(1.0);
        let good_to_bad = (bad_to_good * probability / (1.0 - probability)).min(1.0);
        Self::GilbertElliott { good_to_bad, bad_to_good, loss_in_good: 0.0, loss_in_bad: 1.0 }
    }

    /// The part of packets that is lost in the long run.
    #[must_use]
    pub fn rate(&self) -> f64 {
        match *self {
            Self::None => 0.0,
            Self::Bernoulli { probability } => probability,
            Self::GilbertElliott { good_to_bad, bad_to_good, loss_in_good, loss_in_bad } => {
                let turns = good_to_bad + bad_to_good;
                let bad = if turns > 0.0 { good_to_bad / turns } else { 0.0 };
                bad * loss_in_bad + (1.0 - bad) * loss_in_good
            }
        }
    }
}

/// A loss at work. It begins in the good state.
#[derive(Clone, Debug)]
pub struct Losses {
    loss: Loss,
    random: Random,
    is_bad: bool,
}

impl Losses {
    /// Losses of this kind.
    #[must_use]
    pub const fn new(loss: Loss, random: Random) -> Self {
        Self { loss, random, is_bad: false }
    }

    /// Whether the next packet is lost.
    pub fn next_is_lost(&mut self) -> bool {
        match self.loss {
            Loss::None => false,
            Loss::Bernoulli { probability } => self.random.chance(probability),
            Loss::GilbertElliott { good_to_bad, bad_to_good, loss_in_good, loss_in_bad } => {
                self.is_bad ^= self.random.chance(if self.is_bad { bad_to_good } else { good_to_bad });
                self.random.chance(if self.is_bad { loss_in_bad } else { loss_in_good })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: u32 = 1_000_000;

    /// Lengths of the runs of lost packets.
    fn bursts(loss: Loss, seed: u64) -> Vec<u32> {
        let mut losses = Losses::new(loss, Random::new(seed));
        let (mut bursts, mut run) = (Vec::new(), 0);
        for _ in 0..PACKETS {
            if losses.next_is_lost() {
                run += 1;
            } else if run > 0 {
                bursts.push(std::mem::take(&mut run));
            }
        }
        bursts.extend(Some(run).filter(|run| *run > 0));
        bursts
    }

    fn rate(bursts: &[u32]) -> f64 {
        f64::from(bursts.iter().sum::<u32>()) / f64::from(PACKETS)
    }

    #[test]
    fn the_rate_is_that_of_theory() {
        let elliott = Loss::GilbertElliott {
            good_to_bad: 0.02,
            bad_to_good: 0.1,
            loss_in_good: 0.005,
            loss_in_bad: 0.4,
        };
        for loss in
            [Loss::None, Loss::Bernoulli { probability: 0.01 }, Loss::Bernoulli { probability: 1.0 }, elliott]
        {
            let found = rate(&bursts(loss, 1));
            assert!((found - loss.rate()).abs() < 0.03 * loss.rate() + 1e-9, "{loss:?}: {found}");
        }
        assert!((Loss::bursts(0.05, 8.0).rate() - 0.05).abs() < 1e-12);
    }

    #[test]
    fn lengths_of_bursts_are_geometric() {
        fn check(loss: Loss, stay: f64) {
            let bursts = bursts(loss, 2);
            let count = bursts.len() as f64;
            let mean = f64::from(bursts.iter().sum::<u32>()) / count;
            let expected = 1.0 / (1.0 - stay);
            assert!((mean / expected - 1.0).abs() < 0.03, "{loss:?}: {mean} for {expected}");
            for length in 1..8_i32 {
                let found =
                    bursts.iter().filter(|found| i64::from(**found) == i64::from(length)).count() as f64;
                // Of as many as there were bursts, with four deviations of the binomial distribution.
                let part = stay.powi(length - 1) * (1.0 - stay);
                let room = 4.0 * (count * part * (1.0 - part)).sqrt() + 1.0;
                assert!(
                    (found - count * part).abs() < room,
                    "{loss:?}, {length}: {found} for {}",
                    count * part
                );
            }
        }
        check(Loss::Bernoulli { probability: 0.1 }, 0.1);
        check(Loss::bursts(0.02, 4.0), 0.75);
        check(Loss::bursts(0.01, 7.5), 1.0 - 1.0 / 7.5);
    }

    #[test]
    fn elliott_bursts_are_longer_than_chance() {
        // Two states of 2 and 50 % loss: after a lost packet the next is lost with the probability that the chain gives.
        let (p, r, good, bad) = (0.01, 0.05, 0.02, 0.5);
        let loss =
            Loss::GilbertElliott { good_to_bad: p, bad_to_good: r, loss_in_good: good, loss_in_bad: bad };
        let in_bad = p / (p + r);
        let both = in_bad * bad * ((1.0 - r) * bad + r * good)
            + (1.0 - in_bad) * good * ((1.0 - p) * good + p * bad);
        let expected = both / loss.rate();
        let bursts = bursts(loss, 3);
        let lost = f64::from(bursts.iter().sum::<u32>());
        let found = (lost - bursts.len() as f64) / lost;
        assert!((found - expected).abs() < 0.01, "{found} for {expected}");
    }
}
