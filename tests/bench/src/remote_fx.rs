//! Chains that run on a node: how soon they come back, how small the insert's latency *D* may be, how many a node holds.
//!
//! Both processes are on this machine, over its loopback, so what is measured is everything but the cable: the plug-in's
//! runtime, the node's, its worker, and the way back. The plug-in's side is the runtime's example program `remote`, whose
//! callbacks come at even times at `SCHED_FIFO`, as a host's with a sound card do.

mod client;
mod rows;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use audiocloud_rig::processors::Processors;
use serde::Serialize;

use self::client::{Round, Told};
use crate::table::Row;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command line's program
    #[arg(long, value_name = "FILE")]
    audiocloud: PathBuf,
    /// The runtime's example program `remote`
    #[arg(long, value_name = "FILE")]
    client: PathBuf,
    /// How long each block size is measured
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// The most chains that are tried at once; 0: how many a node holds is not measured
    #[arg(long, default_value_t = 64)]
    chains: u32,
}

/// EQ → compressor → reverb.
const DOCUMENT: &str = r#"{"schema":1,"name":"bench","next_id":3,"items":[{"effect":{"id":0,"kind":"eq"}},
{"effect":{"id":1,"kind":"compressor"}},{"effect":{"id":2,"kind":"reverb"}}]}"#;
const RATE_HZ: f64 = 48_000.0;
/// What *D* is to be without a late block: so many blocks and so many frames.
const TARGET_BLOCKS: u32 = 2;
const TARGET_MS: f64 = 1.0;
/// Of those under way at once, what is tried is measured for so long.
const TRY_SECONDS: u32 = 8;
const TRY_FRAMES: u32 = 128;
/// Processors that stand still for longer are told, in periods of a block.
const STALL_PERIODS: f64 = 0.1;

/// What was measured at one block size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Case {
    pub(crate) frames: u32,
    pub(crate) blocks: u64,
    pub(crate) p50_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    /// The longest, host stalls taken off.
    pub(crate) max_without_stalls_us: f64,
    /// Blocks that never came back.
    pub(crate) never: u64,
    /// Late at two blocks and a millisecond, and what of it is left when host stalls are taken off.
    pub(crate) late: u64,
    pub(crate) late_without_stalls: u64,
    /// The smallest that held, host stalls taken off, in frames.
    pub(crate) smallest_d_frames: u32,
    pub(crate) stalls: usize,
    pub(crate) longest_stall_us: f64,
}

/// The way to another process and back, as the node measures it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Hop {
    pub(crate) plug_in: String,
    pub(crate) p50_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) late_blocks: u64,
}

/// One try to have so many chains.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Try {
    pub(crate) chains: u32,
    pub(crate) live: u64,
    /// There and back, of all chains' blocks, host stalls taken off; 0: less than a block lasts.
    pub(crate) p999_us: f64,
    pub(crate) holds: bool,
}

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Details {
    pub(crate) cases: Vec<Case>,
    pub(crate) hop: Option<Hop>,
    pub(crate) tries: Vec<Try>,
    /// The most chains that held.
    pub(crate) chains: Option<u32>,
    pub(crate) cores: usize,
}

pub(crate) fn measure(args: &Args) -> Result<(Vec<Row>, Details)> {
    let stage = Stage::new(args)?;
    let mut cases = Vec::new();
    for frames in [64, 128] {
        cases.push(stage.case(frames)?);
        eprintln!("{:?}", cases.last());
    }
    let hop = stage.hop()?;
    eprintln!("{hop:?}");
    let (tries, chains) = stage.chains()?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let details = Details { cases, hop, tries, chains, cores };
    Ok((rows::of(&details), details))
}

/// A folder with the node's configuration, in which both processes are devices of one user.
struct Stage<'a> {
    args: &'a Args,
    folder: PathBuf,
}

/// A node; it ends when dropped.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // What is gone already needs no end.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl<'a> Stage<'a> {
    fn new(args: &'a Args) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("audiocloud-remote-fx-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("config"))?;
        std::fs::write(folder.join("config/config.toml"), "mdns = false\n")?;
        std::fs::write(folder.join("config/node.toml"), "[host]\nchains_max = 1024\nload_max = 1.0\n")?;
        std::fs::write(folder.join("chain.json"), DOCUMENT)?;
        Ok(Self { args, folder })
    }

    fn node(&self) -> Result<Node> {
        let mut command = self.audiocloud(&["node", "--bind", "127.0.0.1:0", "--metrics", "off"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Node(child.with_context(|| format!("{} cannot be run", self.args.audiocloud.display()))?))
    }

    fn audiocloud(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.args.audiocloud);
        command
            .args(arguments)
            .env("AUDIOCLOUD_CONFIG_DIR", self.folder.join("config"))
            .env("AUDIOCLOUD_RUNTIME_DIR", self.folder.join("run"));
        command
    }

    /// One chain of these blocks.
    fn case(&self, frames: u32) -> Result<Case> {
        let _node = self.node()?;
        let period = f64::from(frames) / RATE_HZ;
        let processors = Processors::watch(Duration::from_secs_f64(period * STALL_PERIODS))?;
        let told = self.client("chain.json", frames, self.args.seconds, 1)?;
        let stalls = processors.finish()?;
        ensure!(told.live == 1, "the node does not run the chain: {}", told.words.join("; "));
        // A block is awaited by the callback that plays its first frame: so many whole periods later.
        let frames_at = f64::from(TARGET_BLOCKS * frames) + TARGET_MS * RATE_HZ / 1e3;
        let deadline_us = (frames_at / f64::from(frames)).floor() * period * 1e6;
        let late: Vec<Round> = told.late.clone();
        let without = |round: &Round| round.without(&stalls);
        // Those that did not take a period are not told one by one.
        let longest = late.iter().map(without).fold(told.round_us.p50, f64::max);
        let periods = rows::whole_up(longest / (period * 1e6)).max(1);
        Ok(Case {
            frames,
            blocks: told.blocks,
            p50_us: told.round_us.p50,
            p999_us: told.round_us.p999,
            max_us: told.round_us.max,
            max_without_stalls_us: longest,
            never: told.never,
            late: rows::count(late.iter().filter(|round| round.took_us > deadline_us)),
            late_without_stalls: rows::count(late.iter().filter(|round| without(round) > deadline_us)),
            smallest_d_frames: periods * frames,
            stalls: stalls.len(),
            longest_stall_us: stalls.iter().map(|stall| stall.to_us - stall.from_us).fold(0.0, f64::max),
        })
    }

    /// Of the first CLAP plug-in that the node has, if there is one.
    fn hop(&self) -> Result<Option<Hop>> {
        let _node = self.node()?;
        // It looks for them when it starts, and tells who connects.
        std::thread::sleep(Duration::from_secs(4));
        let found = std::fs::read(self.folder.join("config/plug-ins/plug-ins.json")).unwrap_or_default();
        let Some(id) = client::first_plug_in(&found) else { return Ok(None) };
        let document =
            format!(r#"{{"schema":1,"next_id":1,"items":[{{"effect":{{"id":0,"kind":"clap:{id}"}}}}]}}"#);
        std::fs::write(self.folder.join("plug-in.json"), document)?;
        let told = self.client("plug-in.json", TRY_FRAMES, TRY_SECONDS, 1)?;
        let status = &told.report["plug_ins"]["0"];
        Ok(status["turn"]["p50_us"].as_f64().map(|p50_us| Hop {
            plug_in: id,
            p50_us,
            p999_us: status["turn"]["p999_us"].as_f64().unwrap_or(0.0),
            late_blocks: status["late_blocks"].as_u64().unwrap_or(0),
        }))
    }

    /// Twice as many until it is too much, then halfway between.
    fn chains(&self) -> Result<(Vec<Try>, Option<u32>)> {
        let (mut tries, mut holds, mut fails) = (Vec::new(), 0, self.args.chains + 1);
        while holds + 1 < fails {
            let chains = if fails > self.args.chains {
                (holds * 2).clamp(1, self.args.chains)
            } else {
                (holds + fails) / 2
            };
            let tried = self.try_chains(chains)?;
            eprintln!("{tried:?}");
            if tried.holds {
                holds = chains;
            } else {
                fails = chains;
            }
            tries.push(tried);
            if holds == self.args.chains {
                break;
            }
        }
        Ok((tries, (holds > 0).then_some(holds)))
    }

    fn try_chains(&self, chains: u32) -> Result<Try> {
        let _node = self.node()?;
        let period_us = f64::from(TRY_FRAMES) / RATE_HZ * 1e6;
        let processors = Processors::watch(Duration::from_secs_f64(period_us * 1e-6 * STALL_PERIODS))?;
        let told = self.client("chain.json", TRY_FRAMES, TRY_SECONDS, chains)?;
        let stalls = processors.finish()?;
        let mut took: Vec<f64> = told.late.iter().map(|round| round.without(&stalls)).collect();
        took.sort_by(|one, other| other.total_cmp(one));
        // One of a thousand may be late at two blocks.
        let p999_us =
            usize::try_from(told.blocks / 1000).ok().and_then(|rank| took.get(rank)).copied().unwrap_or(0.0);
        let holds = told.live == u64::from(chains)
            && p999_us <= f64::from(TARGET_BLOCKS) * period_us
            && told.never * 1000 <= told.blocks;
        Ok(Try { chains, live: told.live, p999_us, holds })
    }

    fn client(&self, document: &str, frames: u32, seconds: u32, chains: u32) -> Result<Told> {
        let numbers = [("--frames", frames), ("--seconds", seconds), ("--chains", chains)];
        let mut command = Command::new(&self.args.client);
        command.arg(&self.folder).arg(self.folder.join(document)).stderr(Stdio::inherit());
        for (name, number) in numbers {
            command.args([name, &number.to_string()]);
        }
        client::run(&mut command)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// What is left behind in the system's folder for such things is its own business.
fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).ok();
}
