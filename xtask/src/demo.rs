//! `cargo xtask demo`: a recording goes into audiocloud Send in one process and comes out of audiocloud Receive in
//! another, in real time, through the built plug-ins; figures and pictures of what came out.

mod picture;
mod probe;
mod report;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use audiocloud_rig::audio::{self, Audio};
use audiocloud_rig::process::Block;
use audiocloud_rig::session::{Outcome, Pair, PairOptions, Tools, World};
use indicatif::{ProgressBar, ProgressStyle};

use crate::bundle::Build;
use crate::cargo;
use report::Report;

/// As much of a longer recording is played when no length is asked for.
const SECONDS_DEFAULT: f64 = 30.0;
/// The rate of the phrase when no rate is asked for.
const RATE_DEFAULT: u32 = 48_000;
/// How long the link may take to come up.
const LIVE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A WAV or FLAC file [default: a recording in ../shared/audio, else a phrase that is synthesised]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How much of it to play; a shorter one is repeated [default: up to 30]
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<f64>,
    /// Frames per second [default: the recording's]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(8_000..=384_000))]
    rate: Option<u32>,
    /// Frames per callback
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(16..=8_192))]
    block: u32,
    /// Where received.wav, report.json and report.png go [default: the target folder's demo]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.5..=3_600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0.5 to 3600".to_owned()),
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let out = match &args.out {
        Some(folder) => std::path::absolute(folder)?,
        None => cargo::target_directory()?.join("demo"),
    };
    std::fs::create_dir_all(&out).with_context(|| format!("{} cannot be made", out.display()))?;
    let (source, name) = choose(args)?;
    println!("building");
    let built = Build { programs: &["audiocloud-node", "audiocloud-rig"], ..Build::default() }.run()?;
    let tools = Tools {
        rig: built.programs.join(format!("audiocloud-rig{}", std::env::consts::EXE_SUFFIX)),
        audiocloud: built.programs.join(format!("audiocloud{}", std::env::consts::EXE_SUFFIX)),
        plugin: built.bundles.clap,
    };
    let stage = Stage { tools, block: args.block };
    println!(
        "{name}: {} channels, {} Hz, {:.1} s",
        source.channels.len(),
        source.sample_rate,
        length(&source)
    );
    let (probes, attempts) = search(&stage, &source)?;
    let last = attempts.last().context("no attempt was made")?;
    let report = Report::new(&name, &source, args.block, last, &probes, &attempts);
    audio::write_f32(out.join("received.wav"), &last.received(&source))?;
    std::fs::write(out.join("report.json"), report.json()?)?;
    picture::draw(&out.join("report.png"), &source, last, &report)?;
    println!("\n{}\n", report.table());
    for file in ["received.wav", "report.json", "report.png"] {
        println!("{}", out.join(file).display());
    }
    match report.complaint() {
        None => Ok(()),
        Some(complaint) => bail!("the stream did not hold: {complaint}"),
    }
}

/// The recording to play, and what to call it.
fn choose(args: &Args) -> Result<(Audio, String)> {
    let shared = cargo::root().join("../shared/audio");
    let recording = match args.rate {
        Some(44_100) => shared.join("trumpet-44k1.wav"),
        None | Some(48_000) => shared.join("strings-48k.wav"),
        // No recording has another rate, and playing one too fast or too slow is no music.
        Some(_) => PathBuf::new(),
    };
    let file = args.input.clone().or_else(|| recording.is_file().then_some(recording));
    let Some(file) = file else {
        let rate = args.rate.unwrap_or(RATE_DEFAULT);
        let phrase = audio::phrase(rate, 2, args.seconds.unwrap_or(SECONDS_DEFAULT));
        return Ok((phrase, "a synthesised phrase".to_owned()));
    };
    let mut source = audio::read(&file)?;
    if let Some(rate) = args.rate.filter(|rate| *rate != source.sample_rate) {
        println!("{}: its frames at {} Hz are played at {rate} Hz", file.display(), source.sample_rate);
        source.sample_rate = rate;
    }
    let source = match args.seconds {
        Some(seconds) => repeat(source, seconds)?,
        None => source.cut(SECONDS_DEFAULT),
    };
    Ok((source, file_name(&file)))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// As many seconds of a recording, from its beginning again where it ends too soon.
fn repeat(mut source: Audio, seconds: f64) -> Result<Audio> {
    let wanted = audio::seconds_to_frames(seconds, source.sample_rate);
    anyhow::ensure!(source.frames() > 0, "the recording is empty");
    for channel in &mut source.channels {
        *channel = channel.iter().copied().cycle().take(wanted).collect();
    }
    Ok(source)
}

#[allow(clippy::cast_precision_loss, reason = "a recording in memory has fewer than 2^53 frames")]
fn length(audio: &Audio) -> f64 {
    audio.frames() as f64 / f64::from(audio.sample_rate)
}

/// What the runs have in common.
struct Stage {
    tools: Tools,
    block: u32,
}

/// One run at one playout delay.
struct Attempt {
    delay_ms: f64,
    outcome: Outcome,
}

impl Attempt {
    /// Whether every sample came out, in time.
    fn holds(&self) -> bool {
        let late = self.outcome.receive_figure("late_blocks").unwrap_or(0);
        self.outcome.comparison.bit_exact && late == 0
    }

    /// What came out, from the source's first frame to its last; all of it where the source was not found.
    fn received(&self, source: &Audio) -> Audio {
        let output = &self.outcome.receive.output;
        let Ok(from) = usize::try_from(self.outcome.comparison.offset_frames) else { return output.clone() };
        if !self.outcome.comparison.found || from >= output.frames() {
            return output.clone();
        }
        let to = output.frames().min(from + source.frames());
        let channels = output.channels.iter().map(|channel| channel[from..to].to_vec()).collect();
        Audio { sample_rate: output.sample_rate, channels }
    }
}

/// Looks for the smallest playout delay with short runs, then plays all of it there. What holds for seconds may not
/// hold for half a minute: then a delay at least half as large again is tried, so that a busy machine costs few attempts, and
/// the last attempt is the one that counts.
fn search(stage: &Stage, source: &Audio) -> Result<(Vec<probe::Probe>, Vec<Attempt>)> {
    let (smallest, probes) = probe::smallest(stage, source)?;
    let mut attempts = Vec::new();
    let mut next = Some(smallest);
    while let Some(delay_ms) = next {
        let label = format!("playing at {delay_ms} ms playout delay");
        let attempt = play(stage, source, delay_ms, &label)?;
        next = if attempt.holds() { None } else { probe::after(delay_ms) };
        if !attempt.holds() {
            println!("did not hold at {delay_ms} ms");
        }
        attempts.push(attempt);
    }
    Ok((probes, attempts))
}

/// Plays `source` once, in a world of its own.
fn play(stage: &Stage, source: &Audio, delay_ms: f64, label: &str) -> Result<Attempt> {
    let folder = tempfile::tempdir()?;
    let world = World::new(folder.path())?;
    let input = folder.path().join("input.wav");
    audio::write_f32(&input, source)?;
    let mut options = PairOptions::new(source.channels.len(), source.sample_rate, Block::Fixed(stage.block));
    options.send.input = Some(input);
    let seconds_max = length(source) + 60.0;
    options.send.seconds_max = seconds_max;
    options.receive.seconds_max = seconds_max;
    options.playout_ms = Some(delay_ms);
    let mut pair = Pair::start(&stage.tools, &world, &options)?;
    pair.wait_live(LIVE)?;
    let length = Duration::from_secs_f64(length(source));
    pair.begin()?;
    progress(length, label, || pair.send.wait("input-done", length + Duration::from_secs(10)))?;
    Ok(Attempt { delay_ms, outcome: pair.finish(source)? })
}

/// Shows a bar that fills as time goes by while `work` is done.
fn progress<T>(length: Duration, label: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let bar = ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    bar.set_style(ProgressStyle::with_template("{msg} {wide_bar} {elapsed}")?);
    bar.set_message(label.to_owned());
    if bar.is_hidden() {
        // Not a terminal: a line instead of a bar.
        println!("{label} ({:.1} s)", length.as_secs_f64());
    }
    let began = Instant::now();
    std::thread::scope(|scope| {
        let (done, waiting) = mpsc::channel::<()>();
        let bar = &bar;
        scope.spawn(move || {
            // Ends when `done` is dropped.
            while waiting.recv_timeout(Duration::from_millis(100)) == Err(mpsc::RecvTimeoutError::Timeout) {
                bar.set_position(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            }
        });
        let result = work();
        drop(done);
        bar.finish_and_clear();
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_recording_is_repeated_and_a_long_one_cut() {
        let source = Audio { sample_rate: 10, channels: vec![vec![1.0, 2.0, 3.0]] };
        assert_eq!(repeat(source.clone(), 0.7).unwrap().channels, [[1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]]);
        assert_eq!(repeat(source, 0.2).unwrap().channels, [[1.0, 2.0]]);
        assert!(repeat(Audio::silence(10, 1, 0), 1.0).is_err());
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(seconds("30"), Ok(30.0));
        for text in ["0", "-1", "NaN", "x", "1e9"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn work_is_done_under_the_bar_and_its_error_is_kept() {
        assert_eq!(progress(Duration::from_millis(1), "working", || Ok(3)).unwrap(), 3);
        assert!(progress::<()>(Duration::from_millis(1), "failing", || bail!("no")).is_err());
    }
}
