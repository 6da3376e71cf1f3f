//! When packets come, against when they were made: jitter, and when the next one is overdue.

use audiocloud_units::{Frames, HostTime, MediaTime, Nanos, SampleRate};

/// What a packet may be late beyond the usual before it counts as overdue.
const OVERDUE_SLACK: Nanos = Nanos::from_millis(1);
/// The deviation that is assumed before any was measured.
const DEVIATION_INITIAL_NS: f64 = 2e6;
/// How long the least transit is remembered, once to twice.
const LEAST_SPAN: Nanos = Nanos::from_secs(5);

/// The arrivals of one epoch's originals. Packets that come together, as the parts of one block of the sender do, count
/// once, like those of one timestamp in RTP.
///
/// The *transit* of a packet is its arrival less its first frame's place on the sample clock: the path's delay, but for a
/// constant that nobody knows.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    rate: SampleRate,
    origin: Option<(HostTime, MediaTime)>,
    last: HostTime,
    /// As of the last packet, in nanoseconds like all that follows.
    transit: f64,
    mean: f64,
    deviation: f64,
    jitter: f64,
    least: f64,
    least_next: f64,
    least_since: HostTime,
}

impl Arrivals {
    pub(super) fn new(rate: SampleRate) -> Self {
        Self {
            rate,
            origin: None,
            last: HostTime::new(0),
            transit: 0.0,
            mean: 0.0,
            deviation: DEVIATION_INITIAL_NS,
            jitter: 0.0,
            least: 0.0,
            least_next: 0.0,
            least_since: HostTime::new(0),
        }
    }

    /// An original came whose first frame and length are these.
    pub(super) fn observe(&mut self, arrival: HostTime, start: MediaTime, frames: u32) {
        let Some((origin, first)) = self.origin else {
            self.origin = Some((arrival, start));
            (self.last, self.least_since) = (arrival, arrival);
            return;
        };
        let length = Frames::from(frames).to_nanos_floor(self.rate);
        let comes_with_last = (arrival - self.last).get() < length.get() / 4;
        self.last = arrival;
        if comes_with_last {
            return;
        }
        let transit = float((arrival - origin) - (start - first).to_nanos_floor(self.rate));
        self.jitter += ((transit - self.transit).abs() - self.jitter) / 16.0;
        self.deviation += ((transit - self.mean).abs() - self.deviation) / 16.0;
        self.mean += (transit - self.mean) / 16.0;
        self.transit = transit;
        self.least = self.least.min(transit);
        self.least_next = self.least_next.min(transit);
        if arrival - self.least_since > LEAST_SPAN {
            (self.least, self.least_next, self.least_since) = (self.least_next, transit, arrival);
        }
    }

    /// Interarrival jitter, RFC 3550, 6.4.1.
    pub(super) fn jitter(&self) -> Nanos {
        nanos(self.jitter)
    }

    /// How much longer than the fastest packet of lately the usual one takes.
    pub(super) fn queueing(&self) -> Nanos {
        nanos((self.mean - self.least).max(0.0))
    }

    /// When a packet that begins with this frame usually comes.
    pub(super) fn expected(&self, start: MediaTime) -> Option<HostTime> {
        let (origin, first) = self.origin?;
        Some(origin + (start - first).to_nanos_floor(self.rate) + nanos(self.mean))
    }

    /// When a packet that begins with this frame, and has not come yet, is suspicious: four mean deviations after the
    /// usual, as a retransmission timer has it (RFC 6298), and a millisecond.
    pub(super) fn overdue(&self, start: MediaTime) -> Option<HostTime> {
        Some(self.expected(start)? + nanos(4.0 * self.deviation) + OVERDUE_SLACK)
    }
}

#[allow(clippy::cast_precision_loss, reason = "transits of less than a hundred days are exact")]
fn float(span: Nanos) -> f64 {
    span.get() as f64
}

#[allow(clippy::cast_possible_truncation, reason = "saturates")]
fn nanos(value: f64) -> Nanos {
    Nanos::new(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: i64 = 1_000_000;

    fn rate() -> SampleRate {
        SampleRate::new(48_000).unwrap()
    }

    fn at(nanos: i64) -> HostTime {
        HostTime::new(nanos)
    }

    #[test]
    fn an_even_stream_has_no_jitter_and_is_soon_overdue() {
        let mut arrivals = Arrivals::new(rate());
        for block in 0..200_i32 {
            let start = u64::try_from(block).unwrap() * 480;
            // Four parts that come together.
            for part in 0..4 {
                arrivals.observe(
                    at(i64::from(block) * 10 * MILLISECOND),
                    MediaTime::new(start + part * 120),
                    120,
                );
            }
        }
        assert_eq!(arrivals.jitter(), Nanos::new(0));
        let overdue = arrivals.overdue(MediaTime::new(200 * 480)).unwrap() - at(2000 * MILLISECOND);
        assert!((MILLISECOND..MILLISECOND + 1000).contains(&overdue.get()), "{overdue:?}");
    }

    #[test]
    fn uniform_delay_gives_the_jitter_of_theory() {
        let mut arrivals = Arrivals::new(rate());
        let (mut state, mut sum) = (1_u64, 0.0);
        for packet in 0..20_000_i32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let delay = i64::try_from(state >> 40).unwrap() * 5 * MILLISECOND / (1 << 24);
            let start = u64::try_from(packet).unwrap() * 480;
            arrivals.observe(at(i64::from(packet) * 10 * MILLISECOND + delay), MediaTime::new(start), 480);
            sum += arrivals.jitter().as_millis_f64();
        }
        // The difference of two uniform delays up to d is d/3 on average.
        assert!((sum / 20_000.0 - 5.0 / 3.0).abs() < 0.05, "{}", sum / 20_000.0);
        assert!((arrivals.queueing().as_millis_f64() - 2.5).abs() < 1.0, "{:?}", arrivals.queueing());
    }
}
