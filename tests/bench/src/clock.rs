//! The time that machines share: how wrong it is, against this machine's own clock. Each peer stands on a simulated clock
//! that is wrong by up to 50 ppm and wanders; `ptp4l` stands on this machine's, which nobody steers.
//!
//! Machines are network namespaces. What is *local* hangs on one cable; what is far apart has the streams' seeded network
//! between.

mod peer;
mod ptp4l;
mod rows;
mod trace;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use self::peer::{Peer, Simulated};
use self::ptp4l::Ptp4l;
use self::trace::{Figures, HandOver, Wrong};
use crate::streams::forwarder::Forwarder;
use crate::streams::impairment::{Impairment, Loss, Spikes};
use crate::streams::network::{self, Site};
use crate::streams::sandbox;
use crate::table::Row;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The runtime's example program `clock`
    #[arg(long, value_name = "FILE")]
    peer: PathBuf,
    /// What to measure [default: all]
    #[arg(long, value_delimiter = ',')]
    cases: Vec<Group>,
    /// How long each case is measured
    #[arg(long, default_value_t = 100)]
    seconds: u64,
    /// How long it is left alone before
    #[arg(long, default_value_t = 40)]
    settle: u64,
    /// Keeps what peers told there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// What is measured at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Group {
    /// PTP beside ptp4l: slave in domains 0 and 24, and master
    Ptp,
    /// PTP in QUIC datagrams on one cable
    Lan,
    /// 40 ms round trip, 1 ms of jitter, 2 % spikes of 20 ms, 1 % loss
    Wan,
    /// 26 ms to the master and 20 ms back, not entered and entered
    Asymmetry,
    /// The master is killed
    Killed,
}

impl Group {
    const ALL: [Self; 5] = [Self::Ptp, Self::Lan, Self::Wan, Self::Asymmetry, Self::Killed];
}

/// A case's outcome.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Case {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    figures: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hand_over: Option<HandOver>,
}

impl Case {
    fn of(name: &'static str, wrong: &[Wrong]) -> Self {
        Self { name, figures: Figures::of(wrong), hand_over: None }
    }
}

/// Milliseconds one way of the long ways; the other takes this or more.
const FAR_MS: f64 = 20.0;
const FARTHER_MS: f64 = 26.0;
/// For so long a peer is watched after its master's end.
const ALONE: Duration = Duration::from_secs(60);

/// Both ends of the impaired network.
const THERE: (Site, &str) = (Site::A, Site::A.address());
const HERE: (Site, &str) = (Site::B, Site::B.address());

type Measured = (Vec<Row>, Vec<Case>);

/// Measures; nothing but how that ended when a process inside the sandbox did it in our place.
pub(crate) fn measure(args: &Args) -> Result<Result<Measured, ExitStatus>> {
    if let Some(status) = sandbox::enter()? {
        return Ok(Err(status));
    }
    for needed in ["ptp4l", "ethtool", "ip", "sysctl"] {
        let is_there = Command::new("which").arg(needed).output().is_ok_and(|output| output.status.success());
        ensure!(is_there, "missing: {needed} (remedy: cargo xtask bench clock --install-peers)");
    }
    network::set_up()?;
    let groups = if args.cases.is_empty() { Group::ALL.to_vec() } else { args.cases.clone() };
    let mut cases = Vec::new();
    for (number, group) in (1..).zip(groups) {
        let folder = sandbox::scratch().join(format!("clock-{number}"));
        std::fs::create_dir_all(&folder)?;
        let stage = Stage { args, folder };
        let measured = match group {
            Group::Ptp => stage.ptp()?,
            Group::Lan => stage.lan()?,
            Group::Wan => stage.wan()?,
            Group::Asymmetry => stage.asymmetry()?,
            Group::Killed => stage.killed()?,
        };
        for case in &measured {
            eprintln!("{case:?}");
        }
        cases.extend(measured);
    }
    Ok(Ok((rows::of(&cases), cases)))
}

/// One group's run.
struct Stage<'a> {
    args: &'a Args,
    folder: PathBuf,
}

impl Stage<'_> {
    /// Slaves of `ptp4l` in two domains, and `ptp4l` as our slave, each on a cable of its own.
    fn ptp(&self) -> Result<Vec<Case>> {
        let cables = ["ptp-0", "ptp-24", "ptp-led"];
        for (number, cable) in (1..).zip(cables) {
            network::lay_cable(cable, number)?;
        }
        let _grandmasters = [(cables[0], 0), (cables[1], 24)]
            .map(|(cable, domain)| Ptp4l::start(&self.folder, Site::A, cable, domain, ptp4l::MASTER))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        let slave = |cable: &str, domain: &str, clock| {
            let options = ["--ptp", cable, "--ptp-domain", domain, "--ptp-role", "slave"];
            self.peer(cable, HERE, clock, None, &options)
        };
        let mut fast = slave(cables[0], "0", Simulated::FAST)?;
        let mut slow = slave(cables[1], "24", Simulated::SLOW)?;
        let options = ["--ptp", cables[2], "--ptp-role", "master"];
        let mut master = self.peer("master", HERE, Simulated::FAST, None, &options)?;
        let led = Ptp4l::start(&self.folder, Site::A, cables[2], 0, ptp4l::SLAVE)?;
        let from = self.wait(&mut [&mut fast, &mut slow, &mut master], None)?;
        let names = ["slave to ptp4l, domain 0", "slave to ptp4l, domain 24"];
        let sessions = ["the same, session time of domain 0", "the same, session time of domain 24"];
        let mut cases = Vec::new();
        for (slave, (name, session)) in [fast, slow].iter().zip(names.into_iter().zip(sessions)) {
            let samples = slave.samples();
            cases.push(Case::of(name, &trace::against_wall(&samples, from)));
            cases.push(Case::of(session, &trace::session_against_wall(&samples, from)));
        }
        let samples = master.samples();
        cases.push(Case::of("ptp4l slave to us", &rows::led(&led.offsets(), &samples, from)));
        Ok(cases)
    }

    fn lan(&self) -> Result<Vec<Case>> {
        network::lay_cable("lan", 9)?;
        let [a, b] = Site::BOTH.map(|site| network::direct_address(site, 9));
        let mut master = self.peer("master", (Site::A, &a), Simulated::FAST, None, &["--lead", "1"])?;
        let mut slave = self.peer("slave", (Site::B, &b), Simulated::SLOW, Some(&master), &[])?;
        let from = self.wait(&mut [&mut master, &mut slave], None)?;
        let wrong = trace::against_master(&slave.samples(), &master.samples(), from);
        Ok(vec![Case::of("PTP in QUIC datagrams, LAN", &wrong)])
    }

    fn wan(&self) -> Result<Vec<Case>> {
        let spikes = Some(Spikes { probability: 0.02, ms: 20.0 });
        let impairment = Impairment {
            loss: Loss::Random(0.01),
            delay_ms: FAR_MS,
            jitter_ms: 1.0,
            spikes,
            ..Impairment::NONE
        };
        let _forwarder = Forwarder::start(impairment, 1)?;
        let mut master = self.master()?;
        let mut slave = self.peer("slave", HERE, Simulated::SLOW, Some(&master), &[])?;
        let from = self.wait(&mut [&mut master, &mut slave], None)?;
        let wrong = trace::against_master(&slave.samples(), &master.samples(), from);
        Ok(vec![Case::of("40 ms, 1 ms jitter, spikes, loss", &wrong)])
    }

    /// Two followers at once: one was told of the asymmetry, the other was not.
    fn asymmetry(&self) -> Result<Vec<Case>> {
        let way = |delay_ms| Impairment { delay_ms, jitter_ms: 1.0, ..Impairment::NONE };
        let _forwarder = Forwarder::start_unlike([way(FAR_MS), way(FARTHER_MS)], 2)?;
        let mut master = self.master()?;
        let mut untold = self.peer("untold", HERE, Simulated::SLOW, Some(&master), &[])?;
        let longer_ns = ((FAR_MS - FARTHER_MS) * 1e6).to_string();
        let options = ["--asymmetry-ns", &longer_ns];
        let mut told = self.peer("told", HERE, Simulated::THIRD, Some(&master), &options)?;
        let from = self.wait(&mut [&mut master, &mut untold, &mut told], None)?;
        let truth = master.samples();
        let wrong = |peer: &Peer| trace::against_master(&peer.samples(), &truth, from);
        Ok(vec![Case::of("20/26 ms", &wrong(&untold)), Case::of("20/26 ms, entered", &wrong(&told))])
    }

    /// One machine leads, and two that know each other follow, all on one cable.
    fn killed(&self) -> Result<Vec<Case>> {
        network::lay_cable("kill", 10)?;
        let [a, b] = Site::BOTH.map(|site| network::direct_address(site, 10));
        let mut master = self.peer("master", (Site::A, &a), Simulated::FAST, None, &["--lead", "1"])?;
        let mut one = self.peer("one", (Site::B, &b), Simulated::SLOW, Some(&master), &[])?;
        // They find each other by the folder where processes of one machine meet.
        let other = self.folder.join("other");
        std::fs::create_dir(&other)?;
        std::os::unix::fs::symlink(self.folder.join("one/run"), other.join("run"))?;
        let mut other = self.peer("other", (Site::B, &b), Simulated::THIRD, Some(&master), &[])?;
        std::thread::sleep(Duration::from_secs(self.args.settle));
        master.check()?;
        master.kill()?;
        let ended = now_ns()?;
        self.wait(&mut [&mut one, &mut other], Some(ALONE))?;
        let old = master.samples();
        let both = [one, other].map(|slave| HandOver::of(&slave.samples(), &old, ended));
        // Whoever became master, and whoever follows it.
        let [one, other] = both;
        let hand_over = one.zip(other).map(|(one, other)| rows::both(one, other));
        Ok(vec![Case { name: "master killed", figures: None, hand_over }])
    }

    fn master(&self) -> Result<Peer> {
        self.peer("master", THERE, Simulated::FAST, None, &["--lead", "1"])
    }

    fn peer(
        &self,
        name: &str,
        place: (Site, &str),
        clock: Simulated,
        others: Option<&Peer>,
        options: &[&str],
    ) -> Result<Peer> {
        Peer::start(&self.args.peer, &self.folder.join(name), place, clock, others, options)
    }

    /// Settles and measures, or waits for so long; the instant from which on it counts.
    fn wait(&self, peers: &mut [&mut Peer], instead: Option<Duration>) -> Result<i64> {
        let settle = if instead.is_some() { 0 } else { self.args.settle };
        let from = now_ns()? + i64::try_from(settle)? * 1_000_000_000;
        let whole = instead.unwrap_or(Duration::from_secs(settle + self.args.seconds));
        let end = Instant::now() + whole;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(500).min(end.saturating_duration_since(Instant::now())));
            for peer in &mut *peers {
                peer.check()?;
            }
        }
        if let Some(kept) = &self.args.keep {
            for (number, peer) in (1..).zip(peers) {
                keep(kept, &self.folder, number, peer)?;
            }
        }
        Ok(from)
    }
}

fn keep(kept: &Path, folder: &Path, number: usize, peer: &Peer) -> Result<()> {
    std::fs::create_dir_all(kept)?;
    let name = folder.file_name().context("a folder with a name")?.to_string_lossy().into_owned();
    let lines: Vec<String> = peer.samples().iter().map(|sample| format!("{sample:?}\n")).collect();
    std::fs::write(kept.join(format!("{name}-{number}.txt")), lines.concat())?;
    Ok(())
}

/// `CLOCK_MONOTONIC`, in nanoseconds.
fn now_ns() -> Result<i64> {
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic))?;
    Ok(i64::try_from(now.as_nanos())?)
}
