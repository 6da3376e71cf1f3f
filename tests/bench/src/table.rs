//! The outcome: rows, as JSON and as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::clock::Case;
use crate::machine::Machine;
use crate::remote_fx;
use crate::streams::Details;

/// What ours has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// At most this part of the best peer's figure.
    RatioToBestPeer(f64),
    /// At most this, in the row's unit.
    Maximum(f64),
    /// At least this, in the row's unit.
    Minimum(f64),
}

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// Nothing where we have nothing to compare.
    pub(crate) ours: Option<f64>,
    pub(crate) peers: BTreeMap<&'static str, f64>,
    /// Ours, divided by the best peer's.
    pub(crate) ratio: Option<f64>,
    /// Below this the machine cannot go, as far as we know.
    pub(crate) limit: Option<f64>,
    pub(crate) limit_set_by: Option<&'static str>,
    /// A ratio to the best peer, or a maximum or a minimum in the row's unit: `target_is` says which. Nothing: the row informs.
    pub(crate) target: Option<f64>,
    pub(crate) target_is: Option<&'static str>,
    pub(crate) holds: Option<bool>,
}

impl Row {
    pub(crate) fn new(
        name: &str,
        unit: &'static str,
        ours: Option<f64>,
        peers: BTreeMap<&'static str, f64>,
        limit: Option<(&'static str, f64)>,
        target: Option<Target>,
    ) -> Self {
        let best = peers.values().copied().min_by(f64::total_cmp);
        let ratio = ours.zip(best).map(|(ours, best)| ours / best).filter(|ratio| ratio.is_finite());
        let (target, target_is, holds) = match target {
            Some(Target::RatioToBestPeer(most)) => {
                (Some(most), Some("ratio to the best peer"), ratio.map(|ratio| ratio <= most))
            }
            Some(Target::Maximum(most)) => (Some(most), Some("maximum"), ours.map(|ours| ours <= most)),
            Some(Target::Minimum(least)) => (Some(least), Some("minimum"), ours.map(|ours| ours >= least)),
            None => (None, None, None),
        };
        Self {
            name: name.to_owned(),
            unit,
            ours,
            peers,
            ratio,
            limit: limit.map(|(_, limit)| limit),
            limit_set_by: limit.map(|(name, _)| name),
            target,
            target_is,
            holds,
        }
    }

    /// The row in words; peers in the order of the head.
    fn cells(&self, peers: &[&'static str]) -> Vec<String> {
        let figure = |value: Option<f64>| value.map_or_else(String::new, |value| figure(value, self.unit));
        let times = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
        let mut cells = vec![self.name.clone(), figure(self.ours)];
        cells.extend(peers.iter().map(|peer| figure(self.peers.get(peer).copied())));
        cells.push(times(self.ratio));
        cells.push(match self.target_is {
            Some("maximum" | "minimum") => figure(self.target),
            _ => times(self.target),
        });
        cells.push(match self.holds {
            Some(true) => "holds".to_owned(),
            Some(false) => "MISSED".to_owned(),
            None if self.target.is_some() => "not measured".to_owned(),
            None => String::new(),
        });
        cells.push(figure(self.limit));
        let limit = self.limit.filter(|limit| *limit > 0.0);
        cells.push(times(self.ours.zip(limit).map(|(ours, limit)| ours / limit)));
        cells.push(self.limit_set_by.unwrap_or_default().to_owned());
        cells
    }
}

/// A number with the unit in which it reads best.
fn figure(value: f64, unit: &str) -> String {
    match unit {
        "ns" if value.abs() >= 1e6 => format!("{:.2} ms", value / 1e6),
        "ns" if value.abs() >= 1e3 => format!("{:.2} µs", value / 1e3),
        "ns" => format!("{value:.1} ns"),
        "ms" | "ms/s" | "ms/min" | "s" | "blocks" | "cores" | "%" | "dB" | "ppm" if value.abs() < 1e3 => {
            format!("{value:.2} {unit}")
        }
        "ms" | "ms/s" | "ms/min" | "s" | "kbit/s" => format!("{value:.0} {unit}"),
        _ => format!("{value:.0}"),
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
    /// What the rows are medians of, where they are.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) streams: Option<Details>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clock: Option<Vec<Case>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote_fx: Option<remote_fx::Details>,
}

impl Report {
    /// Every row with a target was measured and reached it.
    pub(crate) fn holds(&self) -> bool {
        self.rows.iter().filter(|row| row.target.is_some()).all(|row| row.holds == Some(true))
    }

    pub(crate) fn table(&self) -> String {
        let mut peers: Vec<&'static str> =
            self.rows.iter().flat_map(|row| row.peers.keys().copied()).collect();
        peers.sort_unstable();
        peers.dedup();
        let mut head = vec!["", "ours"];
        head.extend(&peers);
        head.extend(["ours/best", "target", "", "limit", "ours/limit", "set by"]);
        let mut lines = vec![head.into_iter().map(str::to_owned).collect::<Vec<_>>()];
        lines.extend(self.rows.iter().map(|row| row.cells(&peers)));

        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
        let mut text = format!("{}\n\n", self.machine.line());
        for line in &lines {
            let mut written = String::new();
            for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
                // Words to the left, numbers to the right.
                let left = column == 0 || column + 1 == line.len();
                let cell = if left { format!("{cell:width$}  ") } else { format!("{cell:>width$}  ") };
                written.push_str(&cell);
            }
            writeln!(text, "{}", written.trim_end()).expect("a string takes any text");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: Option<f64>, peers: &[(&'static str, f64)], target: Option<Target>) -> Row {
        Row::new("row", "ns", ours, peers.iter().copied().collect(), Some(("stores", 1.0)), target)
    }

    #[test]
    fn a_row_holds_against_the_best_peer_or_against_a_maximum() {
        let check = |ours, peers: &[_], target, ratio, holds| {
            let row = row(ours, peers, target);
            assert_eq!((row.ratio, row.holds), (ratio, holds), "{row:?}");
        };
        let half = Some(Target::RatioToBestPeer(0.5));
        check(Some(5.0), &[("a", 10.0), ("b", 20.0)], half, Some(0.5), Some(true));
        check(Some(5.0), &[("a", 10.0), ("b", 9.0)], half, Some(5.0 / 9.0), Some(false));
        check(Some(5.0), &[], half, None, None);
        check(None, &[("a", 10.0)], half, None, None);
        check(Some(5.0), &[("a", 10.0)], None, Some(0.5), None);
        check(Some(5.0), &[("a", 1.0)], Some(Target::Maximum(5.0)), Some(5.0), Some(true));
        check(Some(5.1), &[], Some(Target::Maximum(5.0)), None, Some(false));
        check(Some(5.0), &[], Some(Target::Minimum(5.0)), None, Some(true));
        check(Some(4.9), &[], Some(Target::Minimum(5.0)), None, Some(false));
        check(Some(0.0), &[("a", 0.0)], Some(Target::Maximum(0.0)), None, Some(true));
    }

    #[test]
    fn the_check_asks_for_every_row_with_a_target() {
        let check = |rows: Vec<Row>, holds| {
            assert_eq!(
                Report {
                    machine: crate::machine::describe(),
                    rows,
                    streams: None,
                    clock: None,
                    remote_fx: None
                }
                .holds(),
                holds
            );
        };
        let target = Some(Target::Maximum(1.0));
        check(vec![], true);
        check(vec![row(Some(9.0), &[], None)], true);
        check(vec![row(Some(1.0), &[], target)], true);
        check(vec![row(Some(1.0), &[], target), row(Some(9.0), &[], target)], false);
        check(vec![row(None, &[], target)], false);
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(figure(3.26, "ns"), "3.3 ns");
        assert_eq!(figure(14_545.0, "ns"), "14.54 µs");
        assert_eq!(figure(2.5e6, "ns"), "2.50 ms");
        assert_eq!(figure(4000.0, "operations"), "4000");
    }

    #[test]
    fn the_table_has_a_line_for_each_row() {
        let rows = vec![row(Some(1.0), &[("a", 2.0)], Some(Target::RatioToBestPeer(0.75)))];
        let text =
            Report { machine: crate::machine::describe(), rows, streams: None, clock: None, remote_fx: None }
                .table();
        let last = text.lines().last().unwrap();
        let words: Vec<&str> = last.split_whitespace().collect();
        assert_eq!(words.join(" "), "row 1.0 ns 2.0 ns 0.50 0.75 holds 1.0 ns 1.00 stores");
    }
}
