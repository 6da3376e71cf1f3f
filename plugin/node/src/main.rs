//! `audiocloud`, the command line: who this installation is, and what every audiocloud process of this
//! machine does.
//!
//! The sentence: **thin: it asks the runtimes and prints.** It opens no endpoint and publishes nothing; the
//! headless node that will joins it here when there is a graph to host.

mod field;
mod identity;
mod ping;
mod words;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use audiocloud_net::runtime::config::Config;
use audiocloud_net::runtime::control;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

/// Sends audio and notes from one DAW to another: what is running, and who you are.
#[derive(Debug, Parser)]
#[command(name = "audiocloud", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Environment:
  AUDIOCLOUD_CONFIG_DIR   keys, config.toml and last addresses, instead of the user's configuration folder
  AUDIOCLOUD_RUNTIME_DIR  control sockets and claims, instead of $XDG_RUNTIME_DIR/audiocloud

Exit codes:
  0  done; a list may be empty
  1  failed; standard error says why and what to do
  2  wrong usage";

const PING_PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
enum Command {
    /// What every audiocloud process of this machine sends, receives and is connected to
    Status(Form),
    /// The streams that can be received here now
    Streams(Form),
    /// How long a sound takes to a peer and back, as it is heard, once a second
    Ping(PingArguments),
    /// This user's and this device's keys; made when there are none yet
    Identity(Form),
}

#[derive(Debug, clap::Args)]
struct Form {
    /// One JSON document, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct PingArguments {
    /// Its name, the beginning of its device's key, or its address, as `audiocloud status` shows them
    peer: String,
    /// Stop after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// A JSON document a line, for programs
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("audiocloud: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    // A mistake in the file is no reason to be silent about what runs: the folders do not depend on it.
    let (config, mistake) = Config::from_environment_or_defaults()?;
    if let Some(mistake) = mistake {
        eprintln!("audiocloud: {mistake}");
    }
    let runtimes = || control::query_all(&config.runtime_dir);
    let printed = match command {
        Command::Status(Form { json: true }) => print_json(&json!({ "runtimes": runtimes() })),
        Command::Status(_) => print(&words::status(&runtimes())),
        Command::Streams(Form { json: true }) => {
            print_json(&json!({ "streams": words::reachable(&runtimes()) }))
        }
        Command::Streams(_) => print(&words::streams(&words::reachable(&runtimes()))),
        Command::Ping(arguments) => return ping(&arguments, runtimes),
        Command::Identity(Form { json }) => {
            let identity = identity::Summary::load(&config.config_dir)?;
            if json { print_json(&identity.to_json()) } else { print(&identity.to_string()) }
        }
    };
    printed.map(drop)
}

/// Once a second, until it has been asked often enough or is interrupted.
fn ping(arguments: &PingArguments, runtimes: impl Fn() -> Vec<Value>) -> anyhow::Result<()> {
    let mut known = runtimes();
    let peer = ping::Peer::find(&known, &arguments.peer)?;
    let mut left = arguments.count;
    loop {
        let answer = ping::Answer::of(&known, &peer);
        let text = if arguments.json { format!("{}\n", answer.to_json()) } else { answer.to_string() };
        left = left.map(|left| left - 1);
        if !print(&text)? || left == Some(0) {
            return Ok(());
        }
        std::thread::sleep(PING_PERIOD);
        known = runtimes();
    }
}

fn print_json(value: &Value) -> anyhow::Result<bool> {
    print(&format!("{value:#}\n"))
}

/// Whether anybody still reads: a reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> anyhow::Result<bool> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
        let parsed = Arguments::try_parse_from(["audiocloud", "status", "--json"]).unwrap();
        assert!(matches!(parsed.command, Command::Status(Form { json: true })));
        let parsed = Arguments::try_parse_from(["audiocloud", "ping", "Studio A", "--count", "3"]).unwrap();
        assert!(matches!(parsed.command, Command::Ping(PingArguments { count: Some(3), json: false, .. })));
        assert!(Arguments::try_parse_from(["audiocloud", "ping", "A", "--count", "0"]).is_err());
        assert_eq!(Arguments::try_parse_from(["audiocloud", "play"]).unwrap_err().exit_code(), 2);
    }
}
