//! One cell: one system on one network, once.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use audiocloud_rig::{
    callback_log::Record,
    processors::{Processors, Stall},
    report::Spread,
};
use serde::Serialize;
use serde_json::Value;

use super::condition::Condition;
use super::cycle_log::CycleLog;
use super::forwarder::{Forwarder, Traffic};
use super::network::{Site, at};
use super::program::Program;
use super::quality::{self, Quality};
use super::signal::{Kind, SAMPLE_RATE_HZ, Signal, count, frames};
use super::system::{self, PRIORITY, Stage, System};
use super::verdict::Verdict;
use super::{alignment, latency, samples, sine};

/// How long a system may take to connect and to find its buffer before it is measured.
const SETTLE: Duration = Duration::from_secs(8);
const PORTS_APPEAR: Duration = Duration::from_secs(25);
/// At a section's ends nothing is judged: what is there depends on how it was faded.
const MARGIN_SECONDS: f64 = 0.5;
/// What is recorded after the signal's end.
const TAIL_SECONDS: f64 = 0.5;
/// For how much of a period a processor may stand still before that is a stall of the host.
const STALL_PERIODS: f64 = 0.5;
/// What a stall of the host may break, from so many periods before it to so long after it and the latency.
const STALL_BEFORE_PERIODS: f64 = 2.0;
const STALL_AFTER_US: f64 = 60_000.0;
const STALL_APART_US: f64 = 2_000.0;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) system: System,
    pub(crate) settings: &'static str,
    pub(crate) condition: &'static str,
    pub(crate) block: u32,
    pub(crate) run: u32,
    pub(crate) seed: u64,
    /// Why there is nothing else.
    pub(crate) failure: Option<String>,
    /// Median of the chirps before the first section, and after the last.
    pub(crate) latency_start_ms: Option<f64>,
    pub(crate) latency_end_ms: Option<f64>,
    /// Of all chirps.
    pub(crate) latency_max_ms: Option<f64>,
    pub(crate) chirps_found: usize,
    pub(crate) chirps_sent: usize,
    /// What a frame takes from A's cycle to B's next one, without any network.
    pub(crate) phase_ms: f64,
    pub(crate) sections: Vec<Heard>,
    /// Steps in the sine's waveform.
    pub(crate) discontinuities: Option<u32>,
    /// JACK cycles late or skipped, at either end, and frames that the forwarder sent late.
    pub(crate) host_stalls: usize,
    pub(crate) cpu_ms_per_s: f64,
    pub(crate) kbps_a_to_b: f64,
    pub(crate) kbps_b_to_a: f64,
    pub(crate) traffic: [Traffic; 2],
    /// p99.9 of Send's and of Receive's `process`, µs of the thread's processor time and µs by the clock; ours alone.
    pub(crate) process_p999_us: Option<[[f64; 2]; 2]>,
    /// The same of a callback that only wakes, on the same servers' machine right after it.
    pub(crate) wake_p999_us: Option<f64>,
    /// What Receive said of itself at the end; ours alone.
    pub(crate) status: Option<Value>,
}

/// A section's verdict.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Heard {
    pub(crate) signal: &'static str,
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    /// Of lossy codecs, where the signal is no sine.
    pub(crate) quality: Option<Quality>,
}

impl Cell {
    /// The steady latency, at its worse end: a buffer that still shrinks or grows is no better than that.
    pub(crate) fn latency_ms(&self) -> Option<f64> {
        Some(self.latency_start_ms?.max(self.latency_end_ms?))
    }

    pub(crate) fn heard(&self, kind: Kind) -> Option<&Heard> {
        self.sections.iter().find(|heard| heard.signal == kind.name())
    }

    pub(crate) fn kbps(&self) -> f64 {
        self.kbps_a_to_b + self.kbps_b_to_a
    }

    fn empty(system: System, condition: Condition, block: u32, run: u32, seed: u64) -> Self {
        Self {
            system,
            settings: system.settings(),
            condition: condition.name(),
            block,
            run,
            seed,
            failure: None,
            latency_start_ms: None,
            latency_end_ms: None,
            latency_max_ms: None,
            chirps_found: 0,
            chirps_sent: 0,
            phase_ms: 0.0,
            sections: Vec::new(),
            discontinuities: None,
            host_stalls: 0,
            cpu_ms_per_s: 0.0,
            kbps_a_to_b: 0.0,
            kbps_b_to_a: 0.0,
            traffic: Default::default(),
            process_p999_us: None,
            wake_p999_us: None,
            status: None,
        }
    }
}

/// Runs a cell. A system that does not start is a cell with a failure, not our failure.
pub(crate) fn run(system: System, condition: Condition, run: u32, stage: &Stage, signal: &Signal) -> Cell {
    let seed = u64::from(run);
    let mut cell = Cell::empty(system, condition, stage.block, run, seed);
    let outcome = std::fs::create_dir_all(&stage.folder)
        .map_err(Into::into)
        .and_then(|()| play(&mut cell, condition, stage, signal))
        .and_then(|played| judge(&mut cell, &played, stage, signal));
    if let Err(error) = outcome {
        cell.failure = Some(format!("{error:#}"));
    }
    cell
}

/// What a run left.
struct Played {
    /// µs.
    forwarder_late_us: Vec<f64>,
    stalls: Vec<Stall>,
}

fn files(stage: &Stage, name: &str) -> PathBuf {
    stage.folder.join(name)
}

fn play(cell: &mut Cell, condition: Condition, stage: &Stage, signal: &Signal) -> Result<Played> {
    let end_ms = (SETTLE.as_secs_f64() + 4.0 + signal.seconds()) * 1e3;
    let block = Duration::from_secs_f64(f64::from(stage.block) / f64::from(SAMPLE_RATE_HZ));
    let processors = Processors::watch(block.mul_f64(STALL_PERIODS))?;
    let forwarder = Forwarder::start(condition.impairment(end_ms), cell.seed)?;
    let mut running = system::start(cell.system, stage)?;
    samples::write(&files(stage, "sent.f32"), &signal.channels)?;
    let room = (signal.frames() + frames(30.0)).to_string();
    let mut recorder =
        probe(Site::B, stage, &running.outputs, &["--record", "received.f32", "--frames", &room])?;
    let mut player = probe(Site::A, stage, &running.inputs, &["--play", "sent.f32"])?;
    for probe in [&mut recorder, &mut player] {
        probe.wait_for("ready", PORTS_APPEAR, &stage.folder)?;
    }
    running.programs.iter().for_each(|program| program.schedule_all(PRIORITY));
    std::thread::sleep(SETTLE);
    recorder.command("go")?;
    player.command("go")?;
    let (began, time_before, traffic_before) = (Instant::now(), running.run_time(), forwarder.traffic());
    player.wait_for("done", Duration::from_secs_f64(signal.seconds() + 20.0), &stage.folder)?;
    let (time_after, traffic_after) = (running.run_time(), forwarder.traffic());
    let seconds = began.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_secs_f64(TAIL_SECONDS));
    for mut probe in [player, recorder] {
        probe.command("stop")?;
        probe.finish(Duration::from_secs(20))?;
    }
    let alive = running.programs.iter_mut().all(Program::runs);
    let ours = running.end()?;
    ensure!(alive, "{} ended while it was measured", cell.system.name());
    let late = forwarder.finish()?;
    let stalls = processors.finish()?;
    cell.cpu_ms_per_s = time_after.saturating_sub(time_before).as_secs_f64() * 1e3 / seconds;
    cell.traffic = [0, 1].map(|way| traffic_after[way].since(traffic_before[way]));
    let kbps = |traffic: Traffic| super::cycle_log::exact(traffic.bytes) * 8.0 / 1e3 / seconds;
    [cell.kbps_a_to_b, cell.kbps_b_to_a] = cell.traffic.map(kbps);
    if let Some(ours) = ours {
        if condition == Condition::Clean {
            cell.wake_p999_us = Some(super::wake::p999_us(block)?);
        }
        let p999 = |log: &audiocloud_rig::callback_log::CallbackLog| {
            let of = |time: fn(&Record) -> i64| Spread::of_nanos(log.records.iter().map(time).collect()).p999;
            [of(|record| record.cpu_ns), of(|record| record.duration_ns)]
        };
        cell.process_p999_us = Some(ours.calls.each_ref().map(p999));
        cell.status = Some(ours.status);
    }
    Ok(Played { forwarder_late_us: late.into_iter().map(microseconds).collect(), stalls })
}

/// A player or a recorder at `site`; its files are in the stage's folder.
fn probe(site: Site, stage: &Stage, ports: &[String; 2], what: &[&str]) -> Result<Program> {
    let name = format!("probe-{}", site.name());
    let mut words: Vec<String> = vec!["probe".into(), "--name".into(), name.clone()];
    words.extend([what[0].into(), files(stage, what[1]).display().to_string()]);
    words.extend(what[2..].iter().map(|word| (*word).to_owned()));
    words.extend(["--log".into(), files(stage, &format!("{name}.cycles")).display().to_string()]);
    for port in ports {
        words.extend(["--connect".into(), port.clone()]);
    }
    let mut command = at(site, None, std::env::current_exe()?);
    command.args(&words).env("JACK_DEFAULT_SERVER", stage.server(site)).env("JACK_NO_START_SERVER", "1");
    Program::start(command, &name, &stage.folder)
}

fn judge(cell: &mut Cell, played: &Played, stage: &Stage, signal: &Signal) -> Result<()> {
    let rate = f64::from(SAMPLE_RATE_HZ);
    let sent = CycleLog::read(&files(stage, "probe-a.cycles"))?;
    let heard = CycleLog::read(&files(stage, "probe-b.cycles"))?;
    let received = samples::read(&files(stage, "received.f32"), 2)?;
    let received = received.first().context("nothing was recorded")?;

    let groups: Vec<Vec<f64>> =
        signal.chirps.iter().map(|firsts| latency::of_chirps(firsts, &sent, &heard, received)).collect();
    let median = |group: Option<&Vec<f64>>| crate::measure::median(group?.clone());
    cell.chirps_sent = signal.chirps.iter().map(Vec::len).sum();
    cell.chirps_found = groups.iter().map(Vec::len).sum();
    cell.latency_start_ms = median(groups.first());
    cell.latency_end_ms = median(groups.last());
    cell.latency_max_ms = groups.iter().flatten().copied().max_by(f64::total_cmp);
    cell.phase_ms = phase_ms(&sent, &heard);

    let mut stalls = sent.stalls_us(rate);
    stalls.extend(heard.stalls_us(rate));
    stalls.extend(&played.forwarder_late_us);
    stalls.extend(played.stalls.iter().flat_map(|stall| [stall.from_us, stall.to_us]));
    stalls.sort_by(f64::total_cmp);
    // What several saw was one.
    cell.host_stalls = stalls.chunk_by(|before, after| after - before < STALL_APART_US).count();
    let after_us = STALL_AFTER_US + cell.latency_max_ms.unwrap_or(0.0) * 1e3;
    let before_us = STALL_BEFORE_PERIODS * f64::from(stage.block) * 1e6 / rate;
    let stalled = |frame: usize| {
        let at = heard.time_us(count(frame), rate);
        let next = stalls.partition_point(|stall| *stall < at - after_us);
        stalls.get(next).is_some_and(|stall| *stall < at + before_us)
    };

    for (index, section) in signal.sections.iter().enumerate() {
        let before_ms = median(groups.get(index)).or(cell.latency_start_ms).unwrap_or(0.0);
        let begins_us = sent.time_us(count(section.frames.start), rate) + before_ms * 1e3;
        let begins = heard.frame_at(begins_us, rate);
        let from = frames(begins / rate + MARGIN_SECONDS);
        let to = frames(begins / rate + count(section.frames.len()) / rate - MARGIN_SECONDS);
        let samples = received.get(from..to.min(received.len())).context("the recording is too short")?;
        let mut quality = None;
        let windows = if section.kind == Kind::Sine {
            cell.discontinuities = Some(sine::discontinuities(samples, |index| stalled(from + index)));
            sine::windows(samples, from)
        } else {
            let original = &signal.channels[0][section.frames.clone()];
            // Frame 0 of what is compared is the recording's frame `from`, against the section's first.
            let delay = begins - count(from);
            if cell.system.is_lossy() {
                quality = quality::of(&alignment::expected(original, samples, delay), samples);
            }
            alignment::windows(original, samples, delay, from)
        };
        let verdict = windows.verdict(stalled);
        cell.sections.push(Heard { signal: section.kind.name(), verdict, quality });
    }
    Ok(())
}

/// From the beginning of A's cycles to the next beginning of B's, in the middle.
fn phase_ms(sent: &CycleLog, heard: &CycleLog) -> f64 {
    let phases = sent.cycles.iter().step_by(16).filter_map(|cycle| {
        let next = heard.cycles.partition_point(|other| other.began_us < cycle.began_us);
        let next = heard.cycles.get(next)?;
        Some(super::cycle_log::exact(next.began_us - cycle.began_us) / 1e3)
    });
    crate::measure::median(phases.collect()).unwrap_or(0.0)
}

#[allow(clippy::cast_precision_loss, reason = "an uptime in nanoseconds fits 53 bits")]
fn microseconds(ns: i64) -> f64 {
    ns as f64 / 1e3
}

/// A line for whoever watches.
pub(crate) fn line(cell: &Cell) -> String {
    let name = format!("{:>12} {:>7}", cell.system.name(), cell.condition);
    if let Some(failure) = &cell.failure {
        return format!("{name}  FAILED: {failure}");
    }
    let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"));
    let mut text = format!(
        "{name}  {:>6} -> {:>6} ms (phase {:.2})  cpu {:>5.1} ms/s  {:>5.0}+{:<4.0} kbit/s  stalls {:>3}",
        ms(cell.latency_start_ms),
        ms(cell.latency_end_ms),
        cell.phase_ms,
        cell.cpu_ms_per_s,
        cell.kbps_a_to_b,
        cell.kbps_b_to_a,
        cell.host_stalls
    );
    for Heard { signal, verdict, quality } in &cell.sections {
        text += &format!(
            "  {signal}: {:.1} bad ms/min in {} ({:.0} dB, {:.1} s out)",
            verdict.bad_ms_per_minute, verdict.glitches, verdict.residual_db, verdict.excluded_s
        );
        if let Some(Quality { segmental_snr_db, noise_to_mask_db }) = quality {
            text += &format!(" SNR {segmental_snr_db:.1} dB, NMR {noise_to_mask_db:.1} dB");
        }
    }
    text
}

/// Where a stage keeps a cell's files: all of a cell's, and none of another's.
pub(crate) fn folder(scratch: &Path, system: System, condition: Condition, run: u32) -> PathBuf {
    scratch.join(format!("{}-{}-{run}", system.name(), condition.name()))
}
