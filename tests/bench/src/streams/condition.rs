//! The networks on which systems are compared.

use super::impairment::{Impairment, Loss};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Condition {
    /// Nothing is done to any frame
    Clean,
    /// 1 % of frames lost, each by itself
    Loss1,
    /// 5 % of frames lost, each by itself
    Loss5,
    /// 10 % of frames lost, each by itself
    Loss10,
    /// 5±5 ms, uniform, with reordering
    Jitter,
    /// Nothing comes through for 20 ms each 5 s
    Burst,
    /// 20 ms each way, 1 ms of jitter, 1 % of frames lost
    Wan,
    /// Gilbert's model: 1.5 % of frames lost, three in a row on average
    Gilbert,
}

/// Bursts end so long before the signal: is the buffer back where it was?
const QUIET_END_MS: f64 = 30_000.0;

impl Condition {
    pub(crate) const DEFAULT: [Self; 5] = [Self::Clean, Self::Loss1, Self::Loss5, Self::Jitter, Self::Burst];
    pub(crate) const ALL: [Self; 8] = [
        Self::Clean,
        Self::Loss1,
        Self::Loss5,
        Self::Loss10,
        Self::Jitter,
        Self::Burst,
        Self::Wan,
        Self::Gilbert,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Loss1 => "loss1",
            Self::Loss5 => "loss5",
            Self::Loss10 => "loss10",
            Self::Jitter => "jitter",
            Self::Burst => "burst",
            Self::Wan => "wan",
            Self::Gilbert => "gilbert",
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Loss1 => "1 % random loss",
            Self::Loss5 => "5 % random loss",
            Self::Loss10 => "10 % random loss",
            Self::Jitter => "5±5 ms jitter with reordering",
            Self::Burst => "bursts of 20 ms each 5 s",
            Self::Wan => "20 ms each way, 1 ms jitter, 1 % random loss",
            Self::Gilbert => "1.5 % loss, three frames in a row on average",
        }
    }

    /// `end_ms` after the forwarder's start all signals end.
    pub(crate) fn impairment(self, end_ms: f64) -> Impairment {
        let none = Impairment::NONE;
        match self {
            Self::Clean => none,
            Self::Loss1 => Impairment { loss: Loss::Random(0.01), ..none },
            Self::Loss5 => Impairment { loss: Loss::Random(0.05), ..none },
            Self::Loss10 => Impairment { loss: Loss::Random(0.1), ..none },
            Self::Jitter => Impairment { delay_ms: 5.0, jitter_ms: 5.0, ..none },
            Self::Burst => {
                // Of a short signal, half.
                let until_ms = (end_ms - QUIET_END_MS).max(end_ms / 2.0);
                Impairment { loss: Loss::Bursts { every_ms: 5e3, length_ms: 20.0, until_ms }, ..none }
            }
            Self::Gilbert => Impairment { loss: Loss::Gilbert { enter: 0.005, leave: 1.0 / 3.0 }, ..none },
            Self::Wan => Impairment { loss: Loss::Random(0.01), delay_ms: 20.0, jitter_ms: 1.0, ..none },
        }
    }

    /// The path's own one-way delay, at the median.
    pub(crate) fn delay_ms(self) -> f64 {
        self.impairment(0.0).delay_ms
    }
}
