//! A stated latency becomes a quality and a wait for one stream, as the path to its publisher is.

use std::time::{Duration, Instant};

use audiocloud_engine::units::{Frames, Nanos, SampleRate};
use audiocloud_instance::time::Setup;
use audiocloud_net::session::budget::{self, Budget, Ends, Path, Plan};
use audiocloud_net::wire::quality::Quality;

use crate::member::Reading;
use crate::settings::Hold;

/// From plan to plan.
const EVERY: Duration = Duration::from_secs(1);
/// Another quality is taken once so many plans in a row ask for it: each change can be heard.
const AGREEING: u32 = 3;
/// RFC 3550's jitter is a mean; the slowest packets come later than the fastest by some three of it.
const JITTER_SPREAD: u64 = 3;
/// Over so many looks the share of lost packets is smoothed.
const LOSS_LOOKS: f64 = 30.0;

/// Plans for one stream.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    plan: Option<Plan>,
    planned_at: Option<Instant>,
    dissenting: u32,
    /// Packets that came and that did not at first, as of the last look.
    packets: u64,
    gaps: u64,
    loss: f64,
}

impl Planner {
    /// A look at the stream, every now and then: the plan for a budget, or none without one.
    pub(crate) fn look(
        &mut self,
        budget_ms: f32,
        setup: &Setup,
        reading: &Reading,
        now: Instant,
    ) -> Option<&Plan> {
        self.notice_losses(reading);
        if budget_ms <= 0.0 {
            (self.plan, self.planned_at) = (None, None);
            return None;
        }
        if self.planned_at.is_none_or(|at| now.duration_since(at) >= EVERY) {
            self.planned_at = Some(now);
            let next = budget::plan(&asked(budget_ms), &self.path(reading), &ends(setup, reading));
            self.take(next);
        }
        self.plan.as_ref()
    }

    /// The plan in force.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    fn take(&mut self, next: Plan) {
        let differs = self.plan.as_ref().is_some_and(|plan| plan.quality != next.quality);
        self.dissenting = if differs { self.dissenting + 1 } else { 0 };
        if !differs || self.dissenting >= AGREEING {
            self.dissenting = 0;
            self.plan = Some(next);
        }
    }

    fn notice_losses(&mut self, reading: &Reading) {
        let figures = &reading.wire.figures;
        let (packets, gaps) =
            (figures.packets.saturating_sub(self.packets), figures.gaps.saturating_sub(self.gaps));
        (self.packets, self.gaps) = (figures.packets, figures.gaps);
        if packets + gaps > 0 {
            let share = small(gaps) / small(packets + gaps);
            self.loss += (share - self.loss) / LOSS_LOOKS;
        }
    }

    fn path(&self, reading: &Reading) -> Path {
        let path = &reading.wire.path;
        Path {
            round_trip: micros(path.rtt_us.saturating_sub(path.queueing_us)),
            jitter: micros(reading.wire.figures.jitter_us.saturating_mul(JITTER_SPREAD)),
            loss: self.loss,
            rate_cap_bps: None,
        }
    }
}

/// What a plan lets frames wait.
pub(crate) fn hold(plan: &Plan) -> Hold {
    Hold { floor: plan.hold_floor, ceiling: plan.hold_ceiling }
}

fn asked(budget_ms: f32) -> Budget {
    #[allow(clippy::cast_possible_truncation, reason = "at most 500 ms")]
    let total = Nanos::new((f64::from(budget_ms) * 1e6).round() as i64);
    Budget { total, best: Quality::default(), opus: true }
}

fn ends(setup: &Setup, reading: &Reading) -> Ends {
    let sample_rate = reading.wire.sample_rate.unwrap_or(setup.sample_rate);
    let waterfall = reading.waterfall(setup, Quality::default());
    Ends {
        sample_rate,
        channels: u8::try_from(reading.wire.channels).unwrap_or(u8::MAX).clamp(1, 64),
        sender_block: reading.wire.block_frames_max.max(1),
        receiver_block: block(setup.block_max, setup.sample_rate),
        resampler: waterfall.resampler,
    }
}

fn block(frames: u32, sample_rate: SampleRate) -> Nanos {
    Frames::new(frames.into()).to_nanos_floor(sample_rate)
}

fn micros(micros: u64) -> Nanos {
    Nanos::new(i64::try_from(micros.saturating_mul(1_000)).unwrap_or(i64::MAX))
}

/// A count of packets between two looks.
fn small(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
