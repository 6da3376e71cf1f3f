//! Rows of the table, and what they have to reach.

use std::collections::BTreeMap;

use super::{Case, Details};
use crate::table::{Row, Target};

pub(super) fn of(details: &Details) -> Vec<Row> {
    let mut rows: Vec<Row> = details.cases.iter().flat_map(of_case).collect();
    if let Some(hop) = &details.hop {
        rows.push(row(
            format!("to {} in a process of its own and back, median", hop.plug_in),
            "ns",
            Some(hop.p50_us * 1e3),
            None,
        ));
        rows.push(row("the same, 99.9 %".to_owned(), "ns", Some(hop.p999_us * 1e3), None));
    }
    if !details.tries.is_empty() {
        let name = format!(
            "chains of EQ → compressor → reverb on {} cores beside their owner, 128 frames, 99.9 % within two blocks",
            details.cores
        );
        rows.push(row(name, "chains", details.chains.map(f64::from), None));
    }
    rows
}

fn of_case(case: &Case) -> Vec<Row> {
    let name = |what: &str| format!("{} frames: {what}", case.frames);
    let none = Some(Target::Maximum(0.0));
    let number = |count: u64| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    vec![
        row(name("there and back, median"), "ns", Some(case.p50_us * 1e3), None),
        row(name("there and back, 99.9 %"), "ns", Some(case.p999_us * 1e3), None),
        row(name("there and back, longest"), "ns", Some(case.max_us * 1e3), None),
        row(name("longest, host stalls taken off"), "ns", Some(case.max_without_stalls_us * 1e3), None),
        row(
            name("smallest D that held, host stalls taken off"),
            "frames",
            Some(f64::from(case.smallest_d_frames)),
            None,
        ),
        row(name("late at two blocks and 1 ms"), "blocks", Some(number(case.late)), None),
        row(
            name("late there, host stalls taken off"),
            "blocks",
            Some(number(case.late_without_stalls)),
            none,
        ),
        row(name("never came back"), "blocks", Some(number(case.never)), none),
        row(name("longest host stall"), "ns", Some(case.longest_stall_us * 1e3), None),
    ]
}

fn row(name: String, unit: &'static str, ours: Option<f64>, target: Option<Target>) -> Row {
    Row::new(&name, unit, ours, BTreeMap::new(), None, target)
}

pub(super) fn count(of: impl Iterator) -> u64 {
    u64::try_from(of.count()).unwrap_or(u64::MAX)
}

/// The least whole number that is not below.
pub(super) fn whole_up(number: f64) -> u32 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let whole = number.ceil() as u32;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_outside_stalls_misses_the_target() {
        let case = Case {
            frames: 64,
            blocks: 1_000,
            p50_us: 300.0,
            p999_us: 900.0,
            max_us: 5_000.0,
            max_without_stalls_us: 1_400.0,
            never: 0,
            late: 3,
            late_without_stalls: 1,
            smallest_d_frames: 128,
            stalls: 2,
            longest_stall_us: 4_000.0,
        };
        let mut details = Details { cases: vec![case], hop: None, tries: Vec::new(), chains: None, cores: 2 };
        let holds = |details: &Details| of(details).iter().filter_map(|row| row.holds).collect::<Vec<_>>();
        assert_eq!(holds(&details), [false, true]);
        details.cases[0].late_without_stalls = 0;
        assert_eq!(holds(&details), [true, true]);
        assert_eq!((whole_up(1.0), whole_up(1.01)), (1, 2));
    }
}
