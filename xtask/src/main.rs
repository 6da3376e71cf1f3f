//! The project's own commands, run as `cargo xtask <command>`.
//!
//! **Thin: each command is a file, and what it does is done by the crate that it calls.** Nothing here is shipped.

mod bench;
mod bundle;
mod cargo;
mod demo;
mod machine;
mod steps;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures ours beside its peers and beside what the machine allows
    Bench(bench::Args),
    /// Builds the plug-ins and lays them out as CLAP and VST3
    Bundle(bundle::Args),
    /// Streams a recording from one process to another and measures what came out
    Demo(demo::Args),
    /// Runs everything that continuous integration runs
    Test(test::Args),
    /// Checks what no compiler checks: floors, licences, file lengths, words
    Tidy,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Bundle(args) => bundle::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => return test::run(&args),
        Command::Tidy => tidy::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
