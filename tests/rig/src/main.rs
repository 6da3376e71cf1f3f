//! `audiocloud-rig`: loads a CLAP plug-in, paces it like an audio device or as fast as it can, and measures.

mod arguments;
mod cycle;
mod engine;
mod heap;
mod jack_mode;
mod pace;
mod plugin;
mod run;
mod tail;

use clap::Parser;

fn main() {
    let outcome = match arguments::Arguments::parse().command {
        arguments::Command::Run(options) => run::run(&options),
        arguments::Command::Cycle(options) => cycle::cycle(&options),
    };
    if let Err(error) = outcome {
        run::tell(&serde_json::json!({ "event": "error", "message": format!("{error:#}") }));
        eprintln!("audiocloud-rig: {error:#}");
        std::process::exit(1);
    }
}
