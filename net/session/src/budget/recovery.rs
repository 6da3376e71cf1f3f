//! What can be done about lost packets, how long it takes, and what it leaves lost.

use audiocloud_units::Nanos;

use super::LOSS_FORGIVEN;

/// An answer and the timer that waits for it take so much of a round trip, in quarters.
const ROUND_TRIP_QUARTERS: i64 = 5;
/// Nobody answers faster, round trip or not: two network threads have to wake.
const ANSWER_MIN: Nanos = Nanos::from_millis(1);
/// The most times that one packet is asked for in a plan.
const TRIES_MAX: u8 = 3;
/// The widest window of a repair packet.
const WINDOW_MAX: u8 = 16;
/// The most repairs that one loss waits for in a plan.
const REPAIRS_MAX: u8 = 4;

/// What is done about loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recovery {
    /// Nothing: what is lost is concealed.
    None,
    /// Lost packets are asked for, so often.
    Requests {
        /// How often at most.
        tries: u8,
    },
    /// Repair packets come unasked.
    Repair {
        /// One after so many audio packets.
        every: u8,
        /// Over so many audio packets, those before it.
        window: u8,
        /// A lost packet waits for so many of them.
        repairs: u8,
    },
}

impl Recovery {
    /// All that are weighed, the cheapest in latency first.
    pub fn candidates() -> impl Iterator<Item = Self> {
        let requests = (1..=TRIES_MAX).map(|tries| Self::Requests { tries });
        // A wider window would add unknowns, and no repair that comes in time.
        let repair = (1..=REPAIRS_MAX)
            .flat_map(|repairs| (1..=WINDOW_MAX / repairs).map(move |every| (repairs, every)))
            .map(|(repairs, every)| Self::Repair { every, window: every * repairs, repairs });
        std::iter::once(Self::None).chain(requests).chain(repair)
    }

    /// How long a packet has to be waited for, beyond the path's jitter, so that this is done in time. `interval`:
    /// between two times at which `packets` packets leave together.
    pub fn wait(self, round_trip: Nanos, interval: Nanos, packets: u32) -> Nanos {
        match self {
            Self::None => Nanos::ZERO,
            // It is missed when the packet after it comes.
            Self::Requests { tries } => interval + times(answer(round_trip), tries.into()),
            Self::Repair { every, repairs, .. } => {
                // A repair leaves with the last packet that it covers.
                let later = (u32::from(every) * u32::from(repairs) - 1).div_ceil(packets.max(1));
                times(interval, later)
            }
        }
    }

    /// Bits per second with the redundancy of this.
    pub fn rate_bps(self, plain_bps: u64, loss: f64) -> u64 {
        match self {
            Self::None => plain_bps,
            Self::Requests { tries } => {
                let percent = whole_percent(loss * f64::from(tries));
                plain_bps + plain_bps * percent / 100
            }
            Self::Repair { every, .. } => plain_bps + plain_bps / u64::from(every.max(1)),
        }
    }

    /// The share of packets that stays lost where `loss` of all are, each by itself.
    pub fn left_lost(self, loss: f64) -> f64 {
        let loss = loss.clamp(0.0, 1.0);
        match self {
            Self::None => loss,
            // A try fails with its request, of which two are sent, or with its answer.
            Self::Requests { tries } => {
                let fails = 1.0 - (1.0 - loss * loss) * (1.0 - loss);
                loss * fails.powi(i32::from(tries))
            }
            // Of a window with as many unknowns as repairs, all are found. So one more than there are repairs must be
            // lost, of the packets in the window and of the repairs.
            Self::Repair { window, repairs, .. } => {
                let others = u32::from(window) - 1 + u32::from(repairs);
                loss * at_least(u32::from(repairs), others, loss)
            }
        }
    }
}

/// The recovery that suffices within `spare`, the wait beyond the path's jitter, at the lowest rate; of what does not
/// suffice, the one that leaves the least lost. The other arguments are those of [`Recovery::wait`] and
/// [`Recovery::left_lost`].
pub fn cheapest(spare: Nanos, round_trip: Nanos, interval: Nanos, packets: u32, loss: f64) -> Recovery {
    let in_time = Recovery::candidates().filter(|one| one.wait(round_trip, interval, packets) <= spare);
    // A rate of a million is as good as any to compare by.
    let keyed = in_time.map(|one| {
        let left = one.left_lost(loss).max(LOSS_FORGIVEN);
        ((left, one.rate_bps(1_000_000, loss), one.wait(round_trip, interval, packets)), one)
    });
    keyed.reduce(|best, one| if one.0 < best.0 { one } else { best }).map_or(Recovery::None, |(_, one)| one)
}

/// From a request's leaving until its answer is here.
fn answer(round_trip: Nanos) -> Nanos {
    ANSWER_MIN.max(Nanos::new(round_trip.get().saturating_mul(ROUND_TRIP_QUARTERS) / 4))
}

fn times(span: Nanos, count: u32) -> Nanos {
    Nanos::new(span.get().saturating_mul(i64::from(count)))
}

/// The chance that of `count` things, each with the chance `p`, at least `least` happen.
fn at_least(least: u32, count: u32, p: f64) -> f64 {
    // Summed from the rarest, so that small sums stay exact.
    (least..=count).rev().map(|hits| exactly(hits, count, p)).sum()
}

fn exactly(hits: u32, count: u32, p: f64) -> f64 {
    let ways = (0..hits).fold(1.0, |ways, hit| ways * f64::from(count - hit) / f64::from(hit + 1));
    let power = |base: f64, times: u32| (0..times).fold(1.0, |product, _| product * base);
    ways * power(p, hits) * power(1.0 - p, count - hits)
}

/// Rounded up, from 0 to 1,000.
fn whole_percent(share: f64) -> u64 {
    let percent = (share.clamp(0.0, 10.0) * 100.0).ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held within 0 and 1,000")]
    let percent = percent as u64;
    percent
}
