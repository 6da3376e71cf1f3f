//! PTP on a network interface beside `ptp4l` (linuxptp), which never steers this machine (`free_running`): its time is this
//! machine's wall clock. Our runtime stands on a simulated clock that is wrong by 50 ppm and wanders, so that both the truth
//! and the error are known.
//!
//! These are short: the figures for a hundred seconds are `cargo xtask bench clock`'s.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use audiocloud_e2e::net::{Host, Net};
use audiocloud_net::clock::ptp::{Role, State};
use audiocloud_net::runtime::clock::{HostClock, PtpConfig, PtpPort};
use audiocloud_net::runtime::{Config, Handle, Runtime};
use audiocloud_rt::host_time;
use audiocloud_units::{HostTime, Nanos, Ppm, SessionTime};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
/// Until there is a straight line through the first points.
const SETTLING: Duration = Duration::from_secs(8);
const MEASURED: Duration = Duration::from_secs(4);

/// Two machines on one cable: one has `ptp4l`, the other our runtime.
struct Wire {
    _net: Net,
    ptp4l: Host,
    ours: Host,
    folder: TempDir,
    clock: HostClock,
}

impl Wire {
    fn new(test: &str, ppm: f64) -> Option<Self> {
        if Command::new("ptp4l").arg("-v").output().is_err() {
            println!("{test} skipped: it needs ptp4l (package linuxptp)");
            return None;
        }
        let mut net = Net::new(test)?;
        let (ptp4l, ours) = (net.host("ptp4l"), net.host("ours"));
        net.cable(&ptp4l, &ours);
        let clock = HostClock::Simulated {
            ppm: Ppm::new(ppm),
            wander: Ppm::new(0.5),
            wander_period: Nanos::from_secs(120),
            offset: Nanos::from_secs(5),
        };
        Some(Self { _net: net, ptp4l, ours, folder: tempfile::tempdir().expect("a folder"), clock })
    }

    fn start(&self, domain: u8, role: Role) -> (Handle, PtpPort) {
        let mut config =
            Config::in_folders(&self.folder.path().join("config"), &self.folder.path().join("run"));
        (config.mdns, config.host_clock) = (false, self.clock);
        self.ours.within(|| {
            let handle = Runtime::acquire_with(config).expect("a runtime");
            let config = PtpConfig { interface: "lan0".to_owned(), domain, role };
            let port = PtpPort::start(&handle, config).expect("PTP");
            (handle, port)
        })
    }

    /// Starts `ptp4l`; what it says comes line by line.
    fn ptp4l(&self, settings: &str) -> (Ptp4l, mpsc::Receiver<String>) {
        let file = self.folder.path().join("ptp4l.cfg");
        let common = "time_stamping software\nfree_running 1\nsummary_interval -4\nuds_address";
        let socket = self.folder.path().join("ptp4l.sock");
        fs::write(&file, format!("[global]\n{common} {}\n{settings}\n", socket.display())).expect("a file");
        let mut command = self.ptp4l.command("ptp4l");
        command.args(["-i", "lan0", "-m", "-q", "-f"]).arg(&file).stdout(Stdio::piped());
        let mut child = command.spawn().expect("ptp4l");
        let output = child.stdout.take().expect("its output");
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        (Ptp4l(child), told)
    }
}

struct Ptp4l(Child);

impl Drop for Ptp4l {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// This machine's wall clock beside its monotonic one.
fn wall() -> (HostTime, SessionTime) {
    let reading = || {
        let before = host_time::now();
        let wall = clock_gettime(ClockId::Realtime);
        let took = host_time::now() - before;
        let nanos = Nanos::from_secs(wall.tv_sec) + Nanos::new(wall.tv_nsec);
        (took, before + Nanos::new(took.get() / 2), SessionTime::new(0) + nanos)
    };
    let (_, host, wall) = (0..5).map(|_| reading()).min_by_key(|(took, ..)| *took).expect("a reading");
    (host, wall)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "this did not happen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Median and worst, in µs.
fn figures(mut errors: Vec<i64>) -> (f64, f64) {
    errors.sort_unstable();
    let micros = |ns: i64| ns as f64 / 1e3;
    (micros(errors[errors.len() / 2]), micros(errors[errors.len() - 1]))
}

#[test]
fn a_grandmaster_of_the_network_is_followed() {
    let Some(wire) = Wire::new("a_grandmaster_of_the_network_is_followed", 50.0) else { return };
    let quick =
        "logSyncInterval -3\nlogMinDelayReqInterval -3\nlogAnnounceInterval -2\nannounceReceiptTimeout 2";
    let (_ptp4l, _said) = wire.ptp4l(&format!("domainNumber 24\npriority1 100\n{quick}"));
    let (handle, port) = wire.start(24, Role::Slave);
    until("ptp4l is followed", || port.status().estimate.is_some());
    let State::Following(grandmaster) = port.status().state else { panic!("{:?}", port.status()) };
    assert_eq!((grandmaster.priority, grandmaster.ahead_of_utc), (100, Nanos::ZERO));
    std::thread::sleep(SETTLING);
    let (mut errors, mut outside) = (Vec::new(), 0);
    let end = Instant::now() + MEASURED;
    while Instant::now() < end {
        let (machine, wall) = wall();
        let ours = wire.clock.at(machine);
        let estimate = port.status().estimate.expect("it follows still");
        let error = (estimate.session_at(ours) - wall).abs();
        errors.push(error.get());
        outside += usize::from(error > estimate.bound_at(ours));
        std::thread::sleep(Duration::from_millis(20));
    }
    let count = errors.len();
    let (median, worst) = figures(errors);
    println!("off by {median:.2} µs, at worst {worst:.2} µs, in {count}; beyond the bound {outside} times");
    assert!(median < 5.0 && worst < 50.0, "median {median} µs, worst {worst} µs");
    assert!(outside * 50 <= count, "{outside} of {count} beyond the bound");
    // It is this machine's clock that has become better.
    let clock = handle.clock(None).status();
    assert_eq!(clock.to_json()["quality"], "network");
    let status = port.status();
    assert_eq!((status.counters.malformed, status.trouble), (0, None));
    assert!(status.round_trip.is_some_and(|round_trip| round_trip < Nanos::from_millis(1)));
}

#[test]
fn a_slave_of_the_network_follows_our_time() {
    let Some(wire) = Wire::new("a_slave_of_the_network_follows_our_time", -50.0) else { return };
    let (handle, port) = wire.start(0, Role::Master);
    until("it leads", || port.status().state == State::Leading);
    let line = handle.clock(None).line();
    // It says its offset as often as it estimates its frequency: once a second at the most.
    let (_ptp4l, said) = wire.ptp4l("slaveOnly 1\nlogMinDelayReqInterval -3\nfreq_est_interval 0");
    // Its first path delays are not those of its median yet.
    let (mut errors, mut passed_over) = (Vec::new(), 0);
    let deadline = Instant::now() + PATIENCE;
    while errors.len() < 7 {
        let left = deadline.saturating_duration_since(Instant::now());
        let said = said.recv_timeout(left).expect("ptp4l measures");
        // ptp4l[49409.806]: master offset       -684 s0 freq   -1713 path delay      3130
        let Some((_, figures)) = said.split_once("master offset") else { continue };
        let offset: i64 = figures.split_whitespace().next().and_then(|text| text.parse().ok()).expect("ns");
        passed_over += 1;
        if passed_over <= 2 {
            continue;
        }
        // What it says is of the last milliseconds, in which the clocks drift by nanoseconds.
        let (machine, wall) = wall();
        let line = line.read().expect("a time to give");
        let truth = wall - line.session_at(wire.clock.at(machine));
        errors.push((offset - truth.get()).abs());
    }
    let (median, worst) = figures(errors);
    println!("ptp4l is off by {median:.2} µs, at worst {worst:.2} µs");
    // It shows single messages, unsmoothed: the worst of a busy machine's says little.
    assert!(median < 5.0, "median {median} µs");
    drop(port);
}
