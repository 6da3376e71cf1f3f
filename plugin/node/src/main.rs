//! `audiocloud`, the command line: who this installation is, and what every audiocloud process of this
//! machine does.
//!
//! The sentence: **thin: it asks the runtimes, writes the store, and prints.** It publishes nothing; `audiocloud node`
//! alone is a runtime itself.

mod arguments;
mod chain;
mod choice;
mod clock;
mod device;
mod doctor;
mod field;
mod host;
mod identity;
mod node;
mod nodes;
mod output;
mod pair;
mod patch;
mod ping;
#[cfg(target_os = "linux")]
mod plug_ins;
mod qr_code;
mod session;
mod strangers;
mod words;

use std::process::ExitCode;
use std::time::Duration;

use audiocloud_net::runtime::config::Config;
use audiocloud_net::runtime::control;
use clap::Parser;
use serde_json::{Value, json};

use crate::arguments::{Arguments, Command, Form, PingArguments};
use crate::output::{answer, print, print_json};

const PING_PERIOD: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let command = match Arguments::parse().command {
        // Nothing of ours but the plug-in is to be in that process.
        Command::Sandbox { arguments } => return host::sandbox(arguments),
        command => command,
    };
    match run(command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("audiocloud: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// Whether all is well.
fn run(command: Command) -> anyhow::Result<bool> {
    // A mistake in the file is no reason to be silent about what runs: the folders do not depend on it.
    let (config, mistake) = Config::from_environment_or_defaults()?;
    if let Some(mistake) = mistake {
        eprintln!("audiocloud: {mistake}");
    }
    let runtimes = || control::query_all(&config.runtime_dir);
    match command {
        Command::Status(Form { json: true }) => print_json(&json!({ "runtimes": runtimes() })).map(drop),
        Command::Status(_) => print(&words::status(&runtimes())).map(drop),
        Command::Streams(Form { json }) => {
            let streams = words::reachable(&runtimes());
            answer(json, &json!({ "streams": streams }), &words::streams(&streams))
        }
        Command::Ping(arguments) => ping(&arguments, runtimes),
        Command::Identity(Form { json }) => {
            let identity = identity::Summary::load(&config.config_dir)?;
            answer(json, &identity.to_json(), &identity.to_string())
        }
        Command::Session(command) => session::run(command, &config),
        Command::Patch(arguments) => patch::run(&arguments, &config),
        Command::Strangers(form) => strangers::print_all(&config, &form),
        Command::Accept(arguments) => strangers::accept(&arguments, &config),
        Command::Pair(arguments) => pair::run(arguments, &config),
        Command::Send(arguments) => device::send(&arguments, config),
        Command::Receive(arguments) => device::receive(&arguments, config),
        #[cfg(target_os = "linux")]
        Command::PlugIns(arguments) => plug_ins::run(&arguments, &config.config_dir),
        Command::Clock(arguments) => clock::run(&arguments, &config),
        Command::Node(arguments) => node::run(&arguments, config),
        Command::Nodes(form) => nodes::print_all(&runtimes(), &form),
        Command::Chain(command) => chain::run(&command, &config),
        Command::Doctor(arguments) => return doctor::run(arguments, &config),
        Command::Sandbox { .. } => unreachable!("it never came here"),
    }
    .map(|()| true)
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
