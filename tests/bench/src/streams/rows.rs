//! From cells to rows: medians over the runs, and what ours has to reach.

use std::collections::{BTreeMap, BTreeSet};

use super::cell::Cell;
use super::condition::Condition;
use super::signal::{Kind, SAMPLE_RATE_HZ};
use super::system::System;
use crate::measure::median;
use crate::table::{Row, Target};

/// A median over at least one run of each system.
type Figures = BTreeMap<System, f64>;

const KINDS: [Kind; 4] = [Kind::Sine, Kind::Noise, Kind::Music, Kind::Speech];
/// Within so much a buffer is where it was: less than a tenth of the smallest block.
const SAME_LATENCY_MS: f64 = 0.1;

/// All rows that `cells`, measured at blocks of `block` frames, have figures for.
pub(crate) fn of(cells: &[Cell], block: u32) -> Vec<Row> {
    let names: BTreeSet<&str> = cells.iter().map(|cell| cell.condition).collect();
    let all = Condition::ALL.into_iter();
    all.filter(|condition| names.contains(condition.name()))
        .flat_map(|condition| {
            let cells = cells.iter().filter(|cell| cell.condition == condition.name()).collect();
            Table { cells, condition, block }.rows()
        })
        .collect()
}

struct Table<'a> {
    cells: Vec<&'a Cell>,
    condition: Condition,
    block: u32,
}

impl Table<'_> {
    fn rows(&self) -> Vec<Row> {
        let bad_max = match self.condition {
            Condition::Clean => Some(0.0),
            Condition::Loss1 | Condition::Jitter => Some(3.0),
            Condition::Loss5 => Some(10.0),
            Condition::Wan => Some(5.0),
            Condition::Loss10 | Condition::Burst | Condition::Gilbert => None,
        };
        let mut rows: Vec<Row> = KINDS
            .into_iter()
            .map(|kind| {
                let bad = self.figures(|cell| Some(cell.heard(kind)?.verdict.bad_ms_per_minute));
                self.row(&format!("bad, {}", kind.name()), "ms/min", &bad, bad_max.map(Target::Maximum))
            })
            .collect();
        let latency = self.figures(Cell::latency_ms);
        let latency_max = match self.condition {
            Condition::Loss5 => Some(10.0),
            Condition::Jitter => Some(16.0),
            Condition::Wan => Some(self.condition.delay_ms() + 10.0),
            _ => None,
        };
        rows.push(self.row("latency", "ms", &latency, latency_max.map(Target::Maximum)));
        let wire = self.figures(|cell| Some(cell.kbps()));
        rows.push(self.row("wire, both ways", "kbit/s", &wire, None));
        let cpu = self.figures(|cell| Some(cell.cpu_ms_per_s));
        rows.push(self.row("CPU, both ends", "ms/s", &cpu, None));
        match self.condition {
            Condition::Clean => rows.extend(self.clean(&latency, &cpu)),
            Condition::Loss1 => {
                let only = |figures: &Figures| among(figures, &[System::JackTripTwice]);
                let against = |most| Some(Target::RatioToBestPeer(most));
                rows.push(self.row("latency against jacktrip-r2", "ms", &only(&latency), against(1.0)));
                rows.push(self.row("wire against jacktrip-r2", "kbit/s", &only(&wire), against(0.8)));
            }
            Condition::Burst => {
                let steps = self.figures(|cell| cell.discontinuities.map(f64::from));
                rows.push(self.row("discontinuities", "", &steps, Some(Target::Maximum(0.0))));
                let grown = self.figures(|cell| Some(cell.latency_end_ms? - cell.latency_start_ms?));
                let most = Some(Target::Maximum(SAME_LATENCY_MS));
                rows.push(self.row("latency, end less start", "ms", &grown, most));
            }
            _ => {}
        }
        let stalls =
            self.figures(|cell| Some(f64::from(u32::try_from(cell.host_stalls).unwrap_or(u32::MAX))));
        rows.push(self.row("host stalls, left out", "", &stalls, None));
        let excluded = self.figures(|cell| Some(cell.sections.iter().map(|s| s.verdict.excluded_s).sum()));
        rows.push(self.row("time left out", "s", &excluded, None));
        rows.extend(self.opus());
        rows.retain(|row| row.ours.is_some() || !row.peers.is_empty());
        rows
    }

    fn clean(&self, latency: &Figures, cpu: &Figures) -> Vec<Row> {
        let bad = self.figures(|cell| Some(cell.heard(Kind::Sine)?.verdict.bad_ms_per_minute));
        let whole: Vec<System> =
            System::ALL.into_iter().filter(|system| bad.get(system).is_some_and(|ms| *ms == 0.0)).collect();
        let block_ms = f64::from(self.block) * 1e3 / f64::from(SAMPLE_RATE_HZ);
        let above = self.figures(|cell| Some((cell.latency_ms()? - cell.phase_ms) / block_ms));
        let zita = [System::Zita5, System::Zita10];
        let wake = self.figures(|cell| Some(cell.wake_p999_us? / (block_ms * 1e3) * 100.0));
        let wake = wake.get(&System::Ours).copied();
        let process = |side: usize, by_clock: usize| {
            let part =
                self.figures(|cell| Some(cell.process_p999_us?[side][by_clock] / (block_ms * 1e3) * 100.0));
            let target = (self.block <= 64 && by_clock == 0).then_some(Target::Maximum(2.0));
            let what = format!("process() of {}, p99.9 of the period", ["Send", "Receive"][side]);
            let row = self.row(&(what + ["", ", by the clock"][by_clock]), "%", &among(&part, &[]), target);
            let limit = wake.filter(|_| by_clock == 0);
            Row { limit, limit_set_by: limit.map(|_| "a callback that only wakes"), ..row }
        };
        vec![
            process(0, 0),
            process(1, 0),
            process(0, 1),
            process(1, 1),
            self.row(
                "latency against peers with nothing bad",
                "ms",
                &among(latency, &whole),
                Some(Target::RatioToBestPeer(1.0)),
            ),
            self.row("latency above the phase floor", "blocks", &above, Some(Target::Maximum(1.0))),
            self.row("CPU against zita", "ms/s", &among(cpu, &zita), Some(Target::RatioToBestPeer(2.0))),
        ]
    }

    /// Our Opus beside whoever else keeps the sound and not the samples.
    fn opus(&self) -> Vec<Row> {
        let kinds = [Kind::Music, Kind::Speech];
        let ratio = |kind| {
            let figures = self.figures(|cell| Some(cell.heard(kind)?.quality?.noise_to_mask_db));
            (format!("Opus, noise to mask, {}", kind.name()), "dB", figures)
        };
        let to_noise = |kind| {
            let figures = self.figures(|cell| Some(cell.heard(kind)?.quality?.segmental_snr_db));
            (format!("Opus, segmental SNR, {}", kind.name()), "dB", figures)
        };
        let latency = among(&self.figures(Cell::latency_ms), &[System::OursOpus, System::Jamulus]);
        let wire = among(&self.figures(|cell| Some(cell.kbps())), &[System::OursOpus, System::Jamulus]);
        let latency = ("Opus, latency".to_owned(), "ms", latency);
        let wire = ("Opus, wire, both ways".to_owned(), "kbit/s", wire);
        let all = kinds.map(ratio).into_iter().chain(kinds.map(to_noise)).chain([latency, wire]);
        all.filter(|(_, _, figures)| figures.contains_key(&System::OursOpus))
            .map(|(what, unit, mut figures)| {
                let ours = figures.remove(&System::OursOpus);
                figures.remove(&System::Ours);
                figures.extend(ours.map(|figure| (System::Ours, figure)));
                self.row(&what, unit, &figures, None)
            })
            .collect()
    }

    fn row(&self, what: &str, unit: &'static str, figures: &Figures, target: Option<Target>) -> Row {
        let name = format!("{}, {}: {what}", self.condition.words(), self.block);
        let peers = figures.iter().filter(|(system, _)| !matches!(system, System::Ours | System::OursOpus));
        let peers = peers.map(|(system, figure)| (system.name(), *figure)).collect();
        Row::new(&name, unit, figures.get(&System::Ours).copied(), peers, None, target)
    }

    /// The median of each system's runs.
    fn figures(&self, figure: impl Fn(&Cell) -> Option<f64>) -> Figures {
        let of = |system: System| {
            let runs = self.cells.iter().filter(|cell| cell.system == system && cell.failure.is_none());
            Some((system, median(runs.filter_map(|cell| figure(cell)).collect())?))
        };
        System::ALL.into_iter().filter_map(of).collect()
    }
}

/// Ours and these.
fn among(figures: &Figures, peers: &[System]) -> Figures {
    let is_in = |system: &System| *system == System::Ours || peers.contains(system);
    figures.iter().filter(|(system, _)| is_in(system)).map(|(system, figure)| (*system, *figure)).collect()
}
