//! A peer on a simulated clock that tells what it takes the shared time for: what `cargo xtask bench clock` measures.
//!
//! `cargo run -p audiocloud-runtime --example clock -- FOLDER [OPTION VALUE]…`: first a line `DEVICE PORT`, then, at each
//! instant of this machine's monotonic clock that is a multiple of 20 ms, a line of numbers in nanoseconds: the instant, the
//! machine's wall clock, the session's time and its bound, the grandmaster's time and its bound, and the epoch; `-` for what
//! is not known. It ends with its standard input. Options:
//!
//! - `--bind ADDRESS`; `--peer ADDRESS=DEVICE`, whose user's key is in the folder already
//! - `--ppm N`, `--wander PPM`, `--period S`, `--ahead S`: its clock
//! - `--lead 1`: chooses itself as master; `--asymmetry-ns N`
//! - `--ptp INTERFACE`, `--ptp-domain N`, `--ptp-role slave|master|auto`

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use audiocloud_clock::ptp::Role;
use audiocloud_rt::host_time;
use audiocloud_runtime::clock::{Clock, HostClock, PtpConfig, PtpPort};
use audiocloud_runtime::config::ExplicitPeer;
use audiocloud_runtime::{Config, Runtime};
use audiocloud_units::{HostTime, Nanos, Ppm, SessionTime};
use audiocloud_wire::id::DeviceId;
use rustix::time::{ClockId, clock_gettime};

type Failure = Box<dyn Error>;

const EVERY_NS: i64 = 20_000_000;

struct Options(HashMap<String, String>);

impl Options {
    fn get<T: FromStr<Err: Error + 'static>>(&self, name: &str) -> Result<Option<T>, Failure> {
        Ok(self.0.get(name).map(|text| text.parse()).transpose()?)
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("which folder?")?);
    let arguments: Vec<String> = arguments.collect();
    let pairs = arguments.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    let options = Options(pairs.collect());

    let mut config = Config::in_folders(&folder.join("config"), &folder.join("run"));
    config.mdns = false;
    config.host_clock = clock_of(&options)?;
    if let Some(bind) = options.get("--bind")? {
        config.bind = bind;
    }
    if let Some(peer) = options.0.get("--peer") {
        let (address, device) = peer.split_once('=').ok_or("--peer ADDRESS=DEVICE")?;
        let key = device.parse::<DeviceId>()?.0;
        config.peers = vec![ExplicitPeer { address: address.to_owned(), key }];
    }
    let host_clock = config.host_clock;
    let handle = Runtime::acquire_with(config)?;
    let clock = handle.clock(None);
    if options.0.contains_key("--lead") {
        clock.choose(Some(handle.device()))?;
    }
    if let Some(asymmetry) = options.get("--asymmetry-ns")? {
        clock.set_asymmetry(Nanos::new(asymmetry));
    }
    let ptp = match options.0.get("--ptp") {
        Some(interface) => {
            let role = match options.0.get("--ptp-role").map(String::as_str) {
                Some("slave") => Role::Slave,
                Some("master") => Role::Master,
                _ => Role::Auto,
            };
            let domain = options.get("--ptp-domain")?.unwrap_or(0);
            Some(PtpPort::start(&handle, PtpConfig { interface: interface.clone(), domain, role })?)
        }
        None => None,
    };
    println!("{} {}", handle.device(), handle.port());
    let ended = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&ended);
    std::thread::spawn(move || {
        let lines = std::io::stdin().lock().lines();
        lines.map_while(Result::ok).for_each(drop);
        end.store(true, Ordering::Relaxed);
    });
    trace(&clock, host_clock, ptp.as_ref(), &ended)
}

fn clock_of(options: &Options) -> Result<HostClock, Failure> {
    let number = |name| options.get::<f64>(name).map(Option::unwrap_or_default);
    let seconds = |name| -> Result<Nanos, Failure> { Ok(Nanos::from_micros(rounded(number(name)? * 1e6))) };
    if !options.0.contains_key("--ppm") {
        return Ok(HostClock::Machine);
    }
    Ok(HostClock::Simulated {
        ppm: Ppm::new(number("--ppm")?),
        wander: Ppm::new(number("--wander")?),
        wander_period: seconds("--period")?,
        offset: seconds("--ahead")?,
    })
}

#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn rounded(number: f64) -> i64 {
    number.round() as i64
}

fn trace(
    clock: &Clock,
    host_clock: HostClock,
    ptp: Option<&PtpPort>,
    ended: &AtomicBool,
) -> Result<(), Failure> {
    let line = clock.line();
    let mut out = std::io::stdout().lock();
    let mut at = (host_time::now().get() / EVERY_NS + 1) * EVERY_NS;
    while !ended.load(Ordering::Relaxed) {
        let left = at - host_time::now().get();
        std::thread::sleep(Duration::from_nanos(u64::try_from(left).unwrap_or(0)));
        let machine = HostTime::new(at);
        // The instant has just passed; what is shown of it is what was shown then.
        let host = host_clock.at(machine);
        let session = line.read().map(|line| line.session_at(host).get());
        let status = clock.status();
        let estimate = ptp.and_then(|port| port.status().estimate);
        let numbers = [
            Some(machine.get()),
            Some(wall_at(machine).get()),
            session,
            status.bound.map(Nanos::get),
            estimate.map(|estimate| estimate.session_at(host).get()),
            estimate.map(|estimate| estimate.bound_at(host).get()),
            i64::try_from(status.epoch).ok(),
        ];
        let words = numbers.map(|number| number.map_or_else(|| "-".to_owned(), |number| number.to_string()));
        writeln!(out, "{}", words.join(" "))?;
        out.flush()?;
        // What was missed is missed.
        at = (host_time::now().get() / EVERY_NS + 1) * EVERY_NS;
    }
    Ok(())
}

/// The wall clock at an instant of the monotonic one, by the quickest of five readings.
fn wall_at(machine: HostTime) -> SessionTime {
    let reading = || {
        let before = host_time::now();
        let wall = clock_gettime(ClockId::Realtime);
        let took = (host_time::now() - before).get();
        (took, wall.tv_sec * 1_000_000_000 + wall.tv_nsec - (before.get() + took / 2))
    };
    let ahead = (0..5).map(|_| reading()).min().map_or(0, |(_, ahead)| ahead);
    SessionTime::new(machine.get() + ahead)
}
