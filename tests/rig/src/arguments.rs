//! The command line.

use std::{path::PathBuf, str::FromStr};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use audiocloud_rig::card::Card;
use audiocloud_rig::process::{Block, Pace};

/// A headless CLAP host that measures.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a plug-in: feed it, record it, report.
    ///
    /// Reads commands as lines: start, stop, state, parameter NAME=VALUE, run-on SECONDS, pause, resume,
    /// restart [RATE], settle (tells when the plug-in wishes no restart any more). Ends when its input is closed.
    Run(Box<RunArguments>),
    /// Load, activate, process, deactivate, destroy and unload a plug-in over and over in this process.
    Cycle(CycleArguments),
}

#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    /// The CLAP file.
    #[arg(long)]
    pub(crate) plugin: PathBuf,
    /// The plug-in's id.
    #[arg(long)]
    pub(crate) id: String,
    /// Where results go: BASE.json, BASE.calls, BASE.wav, BASE.notes.json, BASE.state.json.
    #[arg(long, value_name = "BASE")]
    pub(crate) files: PathBuf,
    /// WAV or FLAC to feed; silence without one.
    #[arg(long)]
    pub(crate) input: Option<PathBuf>,
    /// Events to feed: JSON, at frames since the input began.
    #[arg(long)]
    pub(crate) notes: Option<PathBuf>,
    /// The host's transport: a script in JSON, at frames since the input began. Without one it plays in 4/4 at 120 from
    /// there on.
    #[arg(long)]
    pub(crate) transport: Option<PathBuf>,
    /// Tell the transport of so many frames later, as a host does that makes up for latencies.
    #[arg(long, default_value_t = 0)]
    pub(crate) transport_ahead: u32,
    /// Width of the main ports.
    #[arg(long, default_value_t = 2)]
    pub(crate) channels: usize,
    /// Frames per second.
    #[arg(long, default_value_t = 48_000)]
    pub(crate) rate: u32,
    /// Stop after so many seconds.
    #[arg(long, default_value_t = 60.0)]
    pub(crate) seconds: f64,
    /// Frames per call.
    #[arg(long, default_value_t = 128)]
    pub(crate) block: u32,
    /// A new size at every call, between MIN and MAX frames.
    #[arg(long, value_name = "MIN:MAX")]
    pub(crate) block_random: Option<Sizes>,
    /// Seed of the random sizes.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// realtime, fast (from the input's first frame on), or burst:K (K calls at once, then a wait).
    #[arg(long, default_value = "realtime", value_parser = parse_pace)]
    pub(crate) pace: Pace,
    /// Pace as a sound card does that is off by so many parts per million, and wanders by so many more once a minute.
    #[arg(long, value_name = "PPM[:WANDER]", value_parser = parse_card, allow_hyphen_values = true)]
    pub(crate) card: Option<Card>,
    /// Run so far ahead of the deadlines.
    #[arg(long, default_value_t = 0)]
    pub(crate) ahead_ms: u32,
    /// SCHED_FIFO priority of the audio thread, where permitted.
    #[arg(long)]
    pub(crate) fifo: Option<u32>,
    /// State to load: a file saved before.
    #[arg(long)]
    pub(crate) state: Option<PathBuf>,
    /// A persisted field to load: KEY=JSON.
    #[arg(long = "field", value_name = "KEY=JSON", value_parser = parse_field)]
    pub(crate) fields: Vec<(String, Value)>,
    /// A parameter to set before the first call: ID-OR-NAME=TEXT.
    #[arg(long = "param", value_name = "NAME=TEXT", value_parser = parse_pair)]
    pub(crate) parameters: Vec<(String, String)>,
    /// Tell the plug-in that the render is offline.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Feed silence until `start` is read.
    #[arg(long)]
    pub(crate) wait: bool,
    /// A second plug-in of the same file, which hears the first one's main output in the same callback.
    #[arg(long, value_name = "ID")]
    pub(crate) then: Option<String>,
    /// A persisted field of the second plug-in: KEY=JSON.
    #[arg(long = "then-field", value_name = "KEY=JSON", value_parser = parse_field)]
    pub(crate) then_fields: Vec<(String, Value)>,
    /// A parameter of the second plug-in to set before the first call: ID-OR-NAME=TEXT.
    #[arg(long = "then-param", value_name = "NAME=TEXT", value_parser = parse_pair)]
    pub(crate) then_parameters: Vec<(String, String)>,
    /// Run inside the callback of a JACK client of this name.
    #[arg(long, value_name = "CLIENT")]
    pub(crate) jack: Option<String>,
}

impl RunArguments {
    pub(crate) fn block(&self) -> Block {
        match self.block_random {
            Some(Sizes { low, high }) => Block::Random(low, high, self.seed),
            None => Block::Fixed(self.block),
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct CycleArguments {
    /// The CLAP file.
    #[arg(long)]
    pub(crate) plugin: PathBuf,
    /// The plug-in's id.
    #[arg(long)]
    pub(crate) id: String,
    /// How often.
    #[arg(long, default_value_t = 100)]
    pub(crate) count: u32,
    /// Calls of process in each cycle; 0: the plug-in is made and looked at, as by a host that scans, and never activated.
    #[arg(long, default_value_t = 20)]
    pub(crate) calls: u32,
    /// A persisted field to load: KEY=JSON.
    #[arg(long = "field", value_name = "KEY=JSON", value_parser = parse_field)]
    pub(crate) fields: Vec<(String, Value)>,
}

/// A range of block sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    low: u32,
    high: u32,
}

impl FromStr for Sizes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (low, high) = text.split_once(':').context("not MIN:MAX")?;
        let sizes = Self { low: low.parse()?, high: high.parse()? };
        ensure!(0 < sizes.low && sizes.low <= sizes.high, "not 0 < MIN <= MAX");
        Ok(sizes)
    }
}

fn parse_pace(text: &str) -> Result<Pace> {
    Ok(match text.split_once(':') {
        None if text == "realtime" => Pace::Realtime,
        None if text == "fast" => Pace::Fast,
        Some(("burst", calls)) => Pace::Burst(calls.parse::<u32>()?.max(1)),
        _ => bail!("not realtime, fast or burst:K"),
    })
}

fn parse_card(text: &str) -> Result<Card> {
    let (drift, wander) = text.split_once(':').unwrap_or((text, "0"));
    Ok(Card { drift_ppm: drift.parse()?, wander_ppm: wander.parse()? })
}

fn parse_pair(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').context("not NAME=TEXT")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_field(text: &str) -> Result<(String, Value)> {
    let (key, json) = parse_pair(text)?;
    Ok((key, serde_json::from_str(&json).context("not JSON after the first =")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn paces_and_sizes() {
        assert_eq!(parse_pace("burst:8").expect("a pace"), Pace::Burst(8));
        assert!(parse_pace("burst").is_err());
        assert_eq!(parse_card("-40:2.5").expect("a card"), Card { drift_ppm: -40.0, wander_ppm: 2.5 });
        assert!("0:4".parse::<Sizes>().is_err() && "9:4".parse::<Sizes>().is_err());
        let (key, value) = parse_field(r#"stream={"a":"b=c"}"#).expect("a field");
        assert_eq!((key.as_str(), value["a"].as_str()), ("stream", Some("b=c")));
    }
}
