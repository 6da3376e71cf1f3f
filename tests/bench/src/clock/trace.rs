//! What peers told of the time, against the truth.

use serde::Serialize;

/// What a peer took the time for at an instant of this machine's monotonic clock; all in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) machine: i64,
    pub(super) wall: i64,
    pub(super) session: Option<i64>,
    pub(super) bound: Option<i64>,
    /// By PTP on the interface alone.
    pub(super) ptp: Option<i64>,
    pub(super) ptp_bound: Option<i64>,
    pub(super) epoch: Option<i64>,
}

impl Sample {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let numbers: Vec<Option<i64>> = line.split(' ').map(|word| word.parse().ok()).collect();
        let [machine, wall, session, bound, ptp, ptp_bound, epoch] = numbers[..] else { return None };
        Some(Self { machine: machine?, wall: wall?, session, bound, ptp, ptp_bound, epoch })
    }
}

/// By how much the time was wrong, in ns with its sign, and within what it was said to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) machine: i64,
    pub(super) by: i64,
    pub(super) bound: Option<i64>,
}

/// How wrong a peer's session time was against the master's, from an instant on.
pub(super) fn against_master(peer: &[Sample], master: &[Sample], from: i64) -> Vec<Wrong> {
    let truth = |machine| master.binary_search_by_key(&machine, |sample| sample.machine).ok();
    let wrong = |sample: &Sample| {
        let truth = master[truth(sample.machine)?].session?;
        Some(Wrong { machine: sample.machine, by: sample.session? - truth, bound: sample.bound })
    };
    peer.iter().filter(|sample| sample.machine >= from).filter_map(wrong).collect()
}

/// How wrong PTP's estimate of a grandmaster was whose time is this machine's wall clock, from an instant on.
pub(super) fn against_wall(peer: &[Sample], from: i64) -> Vec<Wrong> {
    let wrong = |sample: &Sample| {
        Some(Wrong { machine: sample.machine, by: sample.ptp? - sample.wall, bound: sample.ptp_bound })
    };
    peer.iter().filter(|sample| sample.machine >= from).filter_map(wrong).collect()
}

/// The same of the session's time, once it is that of the grandmaster.
pub(super) fn session_against_wall(peer: &[Sample], from: i64) -> Vec<Wrong> {
    let wrong = |sample: &Sample| {
        Some(Wrong { machine: sample.machine, by: sample.session? - sample.wall, bound: sample.bound })
    };
    peer.iter().filter(|sample| sample.machine >= from).filter_map(wrong).collect()
}

/// By how much the session's time was ahead of the wall clock at an instant, between two samples.
pub(super) fn ahead_of_wall(peer: &[Sample], machine: i64) -> Option<f64> {
    let after = peer.partition_point(|sample| sample.machine < machine);
    let (before, after) = (peer.get(after.checked_sub(1)?)?, peer.get(after)?);
    let ahead = |sample: &Sample| sample.session.map(|session| number(session - sample.wall));
    let part = number(machine - before.machine) / number(after.machine - before.machine);
    Some(ahead(before)? + (ahead(after)? - ahead(before)?) * part)
}

/// Figures of a row, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Figures {
    pub(super) samples: usize,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) worst: f64,
    /// With its sign: what an asymmetry leaves.
    pub(super) median: f64,
    /// Samples that were further off than was said.
    pub(super) beyond_bound: usize,
    /// The median of what was said, where something was.
    pub(super) bound_p50: Option<f64>,
}

impl Figures {
    pub(super) fn of(wrong: &[Wrong]) -> Option<Self> {
        let sorted = |mut numbers: Vec<f64>| {
            numbers.sort_unstable_by(f64::total_cmp);
            numbers
        };
        let magnitudes = sorted(wrong.iter().map(|one| number(one.by).abs()).collect());
        let signed = sorted(wrong.iter().map(|one| number(one.by)).collect());
        let bounds = sorted(wrong.iter().filter_map(|one| one.bound.map(number)).collect());
        Some(Self {
            samples: wrong.len(),
            p50: percentile(&magnitudes, 50)?,
            p99: percentile(&magnitudes, 99)?,
            worst: *magnitudes.last()?,
            median: percentile(&signed, 50)?,
            beyond_bound: wrong
                .iter()
                .filter(|one| one.bound.is_some_and(|bound| one.by.abs() > bound))
                .count(),
            bound_p50: percentile(&bounds, 50),
        })
    }
}

fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().checked_sub(1)?)).copied()
}

/// What a master's end does to the time of who followed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct HandOver {
    /// The largest jump between samples beyond what the rate explains, in ns.
    pub(super) step: f64,
    /// By how much the session's rate was another than under the old master, from its end to ours, in ppm.
    pub(super) rate_ppm: f64,
    /// The same over the worst five seconds. The new master's crystal wanders on, which nobody tells it any more.
    pub(super) worst_rate_ppm: f64,
    /// After so many seconds there was another epoch.
    pub(super) elected_after_s: Option<f64>,
    /// The bound before, at most after, and at the end: a master's own is nothing.
    pub(super) bound_before: f64,
    pub(super) bound_most: f64,
    pub(super) bound_end: f64,
}

/// A rate is taken over so long.
const RATE_OVER_NS: i64 = 5_000_000_000;

impl HandOver {
    /// Of a peer whose master ended at an instant. The rate to keep is the old master's, not what the peer made of it,
    /// which slews.
    pub(super) fn of(peer: &[Sample], master: &[Sample], ended: i64) -> Option<Self> {
        let [known, old] = [peer, master].map(known);
        let here = known.partition_point(|(machine, ..)| *machine < ended);
        let (before, after) = known.split_at(here);
        let (_, _, bound_before, epoch) = *before.last()?;
        let elected = after.iter().find(|(.., now)| *now != epoch);
        // Each piece of five seconds after the end, against the ten seconds before it.
        let reference = rate_at(&old, ended - 2 * RATE_OVER_NS, 2 * RATE_OVER_NS)?;
        let starts = (0..).map(|piece| ended + piece * 500_000_000);
        let last = after.last()?.0 - RATE_OVER_NS;
        let rates =
            starts.take_while(|from| *from <= last).filter_map(|from| rate_at(&known, from, RATE_OVER_NS));
        let worst_rate_ppm = rates.map(|rate| (rate - reference).abs()).fold(0.0, f64::max);
        let rate_ppm = (rate_at(&known, ended, after.last()?.0 - ended)? - reference).abs();
        let jumps = known.windows(2).filter(|pair| pair[1].0 >= ended).map(|pair| {
            let expected = reference * 1e-6 * number(pair[1].0 - pair[0].0);
            (pair[1].1 - pair[0].1 - expected).abs()
        });
        Some(Self {
            step: jumps.fold(0.0, f64::max),
            rate_ppm,
            worst_rate_ppm,
            elected_after_s: elected.map(|(machine, ..)| number(machine - ended) / 1e9),
            bound_before,
            bound_end: after.last()?.2,
            bound_most: after.iter().map(|(_, _, bound, _)| *bound).fold(0.0, f64::max),
        })
    }
}

/// When, how far session time is ahead of true time, its bound, and the epoch: where the peer knew all of it.
fn known(peer: &[Sample]) -> Vec<(i64, f64, f64, i64)> {
    peer.iter()
        .filter_map(|sample| {
            let ahead = number(sample.session? - sample.wall);
            Some((sample.machine, ahead, number(sample.bound?), sample.epoch?))
        })
        .collect()
}

/// The rate from an instant on, over so long, in ppm; nothing where less than half of that is known.
fn rate_at(known: &[(i64, f64, f64, i64)], from: i64, over: i64) -> Option<f64> {
    let begin = known.partition_point(|(machine, ..)| *machine < from);
    let end = known.partition_point(|(machine, ..)| *machine < from + over);
    let (first, last) = (known.get(begin)?, known.get(end.checked_sub(1)?)?);
    (last.0 - first.0 > over / 2).then(|| (last.1 - first.1) / number(last.0 - first.0) * 1e6)
}

#[allow(clippy::cast_precision_loss, reason = "differences of times, of minutes, and counts")]
fn number(ns: i64) -> f64 {
    ns as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(step: i64, by: i64) -> Sample {
        let machine = step * 20_000_000;
        let session = Some(machine + 1_000_000 + by);
        Sample {
            machine,
            wall: machine,
            session,
            bound: Some(50),
            ptp: None,
            ptp_bound: None,
            epoch: Some(1),
        }
    }

    #[test]
    fn what_is_told_is_read() {
        let read = Sample::parse("20000000 7 8 9 - - 3").unwrap();
        assert_eq!((read.machine, read.session, read.ptp, read.epoch), (20_000_000, Some(8), None, Some(3)));
        assert!(Sample::parse("20000000 7").is_none() && Sample::parse("abc 1 2 3 4 5 6").is_none());
    }

    #[test]
    fn errors_are_against_the_same_instant() {
        let master: Vec<Sample> = (0..200).map(|step| sample(step, 0)).collect();
        // The peer has missed an instant; each hundredth of its samples is far off.
        let told = (0..200).filter(|step| step % 90 != 3);
        let peer: Vec<Sample> =
            told.map(|step| sample(step, if step % 100 == 99 { 60 } else { -40 })).collect();
        let wrong = against_master(&peer, &master, 20_000_000 * 100);
        let figures = Figures::of(&wrong).unwrap();
        assert_eq!((figures.samples, figures.beyond_bound), (99, 1));
        assert_eq!((figures.p50, figures.worst, figures.median), (40.0, 60.0, -40.0));
        assert!(Figures::of(&[]).is_none());
        assert_eq!(ahead_of_wall(&master, 30_000_000), Some(1_000_000.0));
        assert_eq!(ahead_of_wall(&master, -1), None);
    }

    #[test]
    fn a_hand_over_is_judged_by_its_step_its_rate_and_its_bound() {
        // 10 ppm; 80 µs forward at the end, 2 ppm more from the tenth second after it on, another epoch after three.
        let told = |step: i64| {
            let after = step - 1_000;
            let jump = if after >= 0 { 80_000 } else { 0 };
            let drift = step * 200 + (after - 500).max(0) * 40;
            let epoch = if after >= 150 { 2 } else { 1 };
            Sample { epoch: Some(epoch), bound: Some(50 + after.max(0)), ..sample(step, drift + jump) }
        };
        let peer: Vec<Sample> = (0..4_000).map(told).collect();
        let judged = HandOver::of(&peer, &peer, 1_000 * 20_000_000).unwrap();
        assert!((judged.step - 80_000.0).abs() < 1.0, "{judged:?}");
        assert!((judged.worst_rate_ppm - 2.0).abs() < 0.01, "{judged:?}");
        assert!((judged.rate_ppm - 2.0 * 2_499.0 / 2_999.0).abs() < 0.01, "{judged:?}");
        assert_eq!(judged.elected_after_s, Some(3.0));
        assert_eq!((judged.bound_before, judged.bound_most, judged.bound_end), (50.0, 3_049.0, 3_049.0));
    }
}
