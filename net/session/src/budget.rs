//! A stated latency turned into a plan: codec, frame, recovery, hold; and where the milliseconds go.
//!
//! The rules, in the order in which they decide:
//!
//! 1. A plan leaves at most three bad milliseconds in a minute, stays below the rate cap, and keeps to the budget.
//! 2. Of those that do, the one of the best quality, by the ladder on which a sender steps down too; of these the one
//!    of the lowest rate, then the one that is heard first. So lost packets are asked for again where there is time for
//!    it, and repaired by redundancy where there is not.
//! 3. Where none keeps to the budget, the one that is heard first, and a verdict that says what is missing.
//!
//! Losses are taken for independent of each other: a burst is the playout's to conceal.

mod form;
mod recovery;
mod waterfall;

use std::cmp::Reverse;
use std::fmt;

use audiocloud_units::{Nanos, SampleRate};
use audiocloud_wire::quality::Quality;

use form::Form;
pub use recovery::{Recovery, cheapest};
pub use waterfall::Waterfall;

/// How much of a stream may stay lost: three milliseconds in a minute.
pub const LOSS_FORGIVEN: f64 = 3.0 / 60_000.0;

/// What the user asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// From a sound's entering the sender's block to its leaving the receiver's.
    pub total: Nanos,
    /// The best that is wanted and offered; a plan may go below it. [`Quality::default`]: 32-bit float.
    pub best: Quality,
    /// Whether Opus is offered.
    pub opus: bool,
}

/// What is known of the path between two peers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// There and back while no queue is full.
    pub round_trip: Nanos,
    /// By how much the slowest packets come later than the fastest.
    pub jitter: Nanos,
    /// The share of packets that is lost, from 0 to 1.
    pub loss: f64,
    /// Bits per second that this stream may take, ours and QUIC's headers included, those of UDP and IP left out; none
    /// known.
    pub rate_cap_bps: Option<u64>,
}

/// What the ends of a stream are, whatever is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The stream's.
    pub sample_rate: SampleRate,
    /// From 1 to 64.
    pub channels: u8,
    /// Frames of one callback of the sender's host, at least 1.
    pub sender_block: u32,
    /// How long one callback of the receiver's host plays.
    pub receiver_block: Nanos,
    /// How long the receiver's resampler keeps a frame: nothing where both ends share a sample clock.
    pub resampler: Nanos,
}

/// How a stream is to be sent and played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// How it is written: codec, bit rate and frame are all named.
    pub quality: Quality,
    /// What is done about loss.
    pub recovery: Recovery,
    /// How long a packet waits at least before it is due.
    pub hold_floor: Nanos,
    /// How far the wait may grow within the budget; the floor where the budget is not kept.
    pub hold_ceiling: Nanos,
    /// With redundancy, and headers as in [`Path::rate_cap_bps`], bits per second; PCM is packed and takes less.
    pub rate_bps: u64,
    /// The share of packets that neither comes nor is recovered in time.
    pub left_lost: f64,
    /// Where the milliseconds go.
    pub waterfall: Waterfall,
    /// Whether that is what was asked for.
    pub verdict: Verdict,
}

/// What became of a budget. Displayed, a sentence's end: "needs at least 31.0 ms: 22.0 ms of it is the way there".
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is kept.
    Met,
    /// Nothing that holds is so fast.
    TooShort {
        /// What the fastest plan needs, which is the one given.
        least: Nanos,
        /// Of that, the way there: no setting shortens it.
        way: Nanos,
    },
    /// Not even the lowest quality passes below the cap, without any redundancy.
    TooNarrow {
        /// What it needs, bits per second.
        least_bps: u64,
    },
    /// More is lost than any recovery brings back below the cap; the plan given brings back most.
    TooLossy {
        /// The share of packets that stays lost.
        left_lost: f64,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Met => f.write_str("the budget is kept"),
            Self::TooShort { least, way } => {
                let (least, way) = (least.as_millis_f64(), way.as_millis_f64());
                write!(f, "needs at least {least:.1} ms: {way:.1} ms of it is the way there")
            }
            Self::TooNarrow { least_bps } => {
                write!(f, "needs at least {} kbit/s, and the path takes less", least_bps.div_ceil(1_000))
            }
            Self::TooLossy { left_lost } => {
                write!(f, "cannot hold on this path: {:.2} % stays lost whatever is done", left_lost * 100.0)
            }
        }
    }
}

/// Turns a budget into a plan; see the module for the rules. *Realtime-safe: no*; a few hundred candidates are weighed.
pub fn plan(budget: &Budget, path: &Path, ends: &Ends) -> Plan {
    let cap = path.rate_cap_bps.unwrap_or(u64::MAX);
    let (mut kept, mut fastest, mut surest, mut narrowest) = (None, None, None, None);
    for form in &form::ladder(budget, ends) {
        for recovery in Recovery::candidates() {
            let plan = candidate(form, recovery, budget, path, ends);
            let total = plan.waterfall.total();
            keep(&mut narrowest, (plan.rate_bps, total), plan);
            if plan.rate_bps > cap {
                continue;
            }
            keep(&mut surest, (ranked(plan.left_lost), plan.rate_bps, total), plan);
            if plan.left_lost > LOSS_FORGIVEN {
                continue;
            }
            keep(&mut fastest, (total, Reverse(form.worth), plan.rate_bps), plan);
            if total <= budget.total {
                keep(&mut kept, (Reverse(form.worth), plan.rate_bps, total), plan);
            }
        }
    }
    let met = kept.map(|(_, plan)| plan);
    let short = fastest.map(|(_, plan)| {
        let verdict = Verdict::TooShort { least: plan.waterfall.total(), way: plan.waterfall.wire };
        Plan { verdict, ..plan }
    });
    let lossy =
        surest.map(|(_, plan)| Plan { verdict: Verdict::TooLossy { left_lost: plan.left_lost }, ..plan });
    let narrow =
        narrowest.map(|(_, plan)| Plan { verdict: Verdict::TooNarrow { least_bps: plan.rate_bps }, ..plan });
    let Some(plan) = met.or(short).or(lossy).or(narrow) else {
        unreachable!("the ladder has a step, and doing nothing about loss is always a candidate")
    };
    plan
}

/// Keeps the plan with the least key.
fn keep<K: PartialOrd>(best: &mut Option<(K, Plan)>, key: K, plan: Plan) {
    if best.as_ref().is_none_or(|(least, _)| key < *least) {
        *best = Some((key, plan));
    }
}

/// Whatever is forgiven anyhow is equal.
fn ranked(left_lost: f64) -> f64 {
    left_lost.max(LOSS_FORGIVEN)
}

fn candidate(form: &Form, recovery: Recovery, budget: &Budget, path: &Path, ends: &Ends) -> Plan {
    let wait = recovery.wait(path.round_trip, form.interval, form.packets);
    let hold = path.jitter + wait;
    let waterfall = Waterfall {
        sender_block: form.block,
        codec: form.delay,
        wire: Nanos::new(path.round_trip.get() / 2),
        jitter: hold,
        resampler: ends.resampler,
        receiver_block: ends.receiver_block,
    };
    let spare = budget.total - waterfall.total();
    Plan {
        quality: form.quality,
        recovery,
        hold_floor: hold,
        hold_ceiling: hold + spare.max(Nanos::ZERO),
        rate_bps: recovery.rate_bps(form.rate_bps, path.loss),
        left_lost: recovery.left_lost(path.loss),
        waterfall,
        verdict: Verdict::Met,
    }
}

#[cfg(test)]
mod tests;
