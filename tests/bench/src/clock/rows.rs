//! Rows of the table, and what they have to reach.

use std::collections::BTreeMap;

use super::Case;
use super::ptp4l::Offset;
use super::trace::{self, HandOver, Sample, Wrong};
use crate::table::{Row, Target};

/// By case: the most that the 99th percentile of the error may be, in ns, and whether the bound has to hold.
const TARGETS: [(&str, Option<f64>, bool); 6] = [
    ("slave to ptp4l, domain 0", Some(5e3), false),
    ("slave to ptp4l, domain 24", Some(5e3), false),
    ("ptp4l slave to us", Some(5e3), false),
    ("PTP in QUIC datagrams, LAN", Some(50e3), true),
    ("40 ms, 1 ms jitter, spikes, loss", Some(150e3), true),
    ("20/26 ms, entered", Some(200e3), false),
];
/// Of which nothing is asked but that the error lies within the bound.
const WITHIN_BOUND: &str = "20/26 ms";
const STEP_MAX_NS: f64 = 100e3;
const RATE_MAX_PPM: f64 = 1.0;

pub(super) fn of(cases: &[Case]) -> Vec<Row> {
    cases.iter().flat_map(rows).collect()
}

fn row(name: String, unit: &'static str, ours: Option<f64>, most: Option<f64>) -> Row {
    Row::new(&name, unit, ours, BTreeMap::new(), None, most.map(Target::Maximum))
}

fn rows(case: &Case) -> Vec<Row> {
    let Case { name, figures, hand_over } = case;
    if *name == "master killed" {
        let of = |figure: fn(&HandOver) -> Option<f64>| hand_over.as_ref().and_then(figure);
        return vec![
            row(format!("{name}: largest step"), "ns", of(|one| Some(one.step)), Some(STEP_MAX_NS)),
            row(
                format!("{name}: the new master keeps the rate within"),
                "ppm",
                of(|one| Some(one.rate_ppm)),
                Some(RATE_MAX_PPM),
            ),
            row(
                format!("{name}: and in the worst five seconds, its crystal wandering by ±0.5 ppm"),
                "ppm",
                of(|one| Some(one.worst_rate_ppm)),
                None,
            ),
            // One that is not elected within the time is none.
            row(format!("{name}: new master after"), "s", of(|one| one.elected_after_s), Some(60.0)),
            row(format!("{name}: bound before"), "ns", of(|one| Some(one.bound_before)), None),
            row(format!("{name}: bound at the end"), "ns", of(|one| Some(one.bound_end)), None),
            row(format!("{name}: bound at most"), "ns", of(|one| Some(one.bound_most)), None),
        ];
    }
    let target = TARGETS.iter().find(|(known, ..)| known == name);
    let most = target.and_then(|(_, most, _)| *most);
    let has_bound = target.is_some_and(|(.., has_bound)| *has_bound) || *name == WITHIN_BOUND;
    let figure = |of: fn(&trace::Figures) -> f64| figures.as_ref().map(of);
    let mut rows = vec![row(format!("{name}: p99 of the error"), "ns", figure(|one| one.p99), most)];
    rows.push(row(format!("{name}: p50"), "ns", figure(|one| one.p50), None));
    let bound = figures.as_ref().and_then(|one| one.bound_p50);
    if bound.is_none() && !has_bound {
        return rows;
    }
    rows.push(row(format!("{name}: bound, p50"), "ns", bound, None));
    let beyond = figures.as_ref().and_then(|one| u32::try_from(one.beyond_bound).ok()).map(f64::from);
    rows.push(row(format!("{name}: beyond the bound"), "samples", beyond, has_bound.then_some(0.0)));
    rows
}

/// How wrong `ptp4l` is as our slave, by what it says and what our time was then; its bound is not known.
pub(super) fn led(offsets: &[Offset], ours: &[Sample], from: i64) -> Vec<Wrong> {
    let wrong = |offset: &Offset| {
        let truth = -trace::ahead_of_wall(ours, offset.machine)?;
        #[allow(clippy::cast_possible_truncation, reason = "saturates")]
        let by = offset.ahead.saturating_sub(truth.round() as i64);
        Some(Wrong { machine: offset.machine, by, bound: None })
    };
    offsets.iter().filter(|offset| offset.machine >= from).filter_map(wrong).collect()
}

/// The worse of both in everything, but for the rate: it is the new master's, whose bound is the smaller one. Who follows it is
/// as restless as it was before.
pub(super) fn both(one: HandOver, other: HandOver) -> HandOver {
    let master = if one.bound_end <= other.bound_end { one } else { other };
    HandOver {
        step: one.step.max(other.step),
        rate_ppm: master.rate_ppm,
        worst_rate_ppm: master.worst_rate_ppm,
        bound_end: one.bound_end.max(other.bound_end),
        elected_after_s: one.elected_after_s.zip(other.elected_after_s).map(|(one, other)| one.max(other)),
        bound_before: one.bound_before.max(other.bound_before),
        bound_most: one.bound_most.max(other.bound_most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_its_rows_and_a_bound_that_is_left_is_missed() {
        let wrong = |by| Wrong { machine: 0, by, bound: Some(10_000) };
        let held = Case::of("PTP in QUIC datagrams, LAN", &[wrong(-9_000); 3]);
        assert!(of(&[held]).iter().all(|row| row.holds != Some(false)));
        let left = of(&[Case::of("PTP in QUIC datagrams, LAN", &[wrong(11_000); 3])]);
        assert_eq!((left[0].holds, left[3].holds), (Some(true), Some(false)));
        let nothing = of(&[Case::of("20/26 ms, entered", &[])]);
        assert_eq!((nothing[0].ours, nothing[0].holds, nothing[0].target), (None, None, Some(200e3)));
        let killed = Case { name: "master killed", figures: None, hand_over: None };
        assert_eq!(of(&[killed]).len(), 7);
    }

    #[test]
    fn the_rate_is_the_new_master_s() {
        let follower = HandOver {
            step: 9.0,
            rate_ppm: 7.0,
            worst_rate_ppm: 8.0,
            elected_after_s: Some(3.0),
            bound_before: 5.0,
            bound_most: 6.0,
            bound_end: 5.0,
        };
        let master = HandOver { step: 10.0, rate_ppm: 0.5, bound_end: 0.0, ..follower };
        let judged = both(follower, master);
        assert_eq!((judged.step, judged.rate_ppm, judged.bound_end), (10.0, 0.5, 5.0));
    }

    #[test]
    fn what_ptp4l_says_is_against_what_our_time_was() {
        let sample = |machine: i64| Sample {
            machine,
            wall: machine + 7,
            session: Some(machine + 7 + machine / 1_000),
            bound: None,
            ptp: None,
            ptp_bound: None,
            epoch: None,
        };
        let ours: Vec<Sample> = (0..100).map(|step| sample(step * 20_000_000)).collect();
        // At 1 s we are ahead by 1 ms, so the wall clock is behind by it.
        let offset = Offset { machine: 1_000_000_000, ahead: -999_400 };
        assert_eq!(led(&[offset], &ours, 0)[0].by, 600);
        assert!(led(&[offset], &ours, 2_000_000_000).is_empty());
    }
}
