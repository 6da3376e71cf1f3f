//! `audiocloud clock`: whose time it is, how sure this machine is of it, and whose it shall be.

use std::fmt::Write;

use anyhow::{Context, bail};
use audiocloud_net::runtime::Config;
use audiocloud_net::runtime::control::{self, Choice, TimeOrder};
use audiocloud_net::wire::id::{DeviceId, SessionId};
use serde_json::{Value, json};

use crate::arguments::{ClockArguments, ClockCommand};
use crate::choice;
use crate::field::{clean, fingerprint, list, plain, quoted};
use crate::output::answer;

/// What chooses nobody.
const AUTOMATIC: &str = "automatic";
const NOTHING: &str = "No audiocloud process of this machine shares time with anybody.\n";

pub(crate) fn run(arguments: &ClockArguments, config: &Config) -> anyhow::Result<()> {
    let runtimes = control::query_all(&config.runtime_dir);
    let clocks: Vec<Value> = runtimes.iter().flat_map(clocks).collect();
    let wanted = arguments.session.as_deref();
    let shown: Vec<&Value> = clocks.iter().filter(|clock| is_of(clock, wanted)).collect();
    if let Some(name) = wanted
        && shown.is_empty()
    {
        bail!(
            "no process of this machine shares time with \"{}\"; `audiocloud clock` lists them",
            clean(name)
        );
    }
    match &arguments.command {
        None => {
            let ptp: Vec<&Value> =
                runtimes.iter().map(|one| &one["ptp"]).filter(|one| one.is_object()).collect();
            answer(arguments.json, &json!({ "clocks": shown, "ptp": ptp }), &words(&shown, &ptp))
        }
        Some(ClockCommand::Choose { master }) => {
            let domain = the_domain(&shown)?;
            let master = if master == AUTOMATIC { None } else { Some(device(&shown, &domain, master)?) };
            let order =
                TimeOrder { session: session(&domain)?, choose: Some(Choice { master }), asymmetry_ns: None };
            // Whoever is asked tells all others.
            ask(config, &shown[..1], &order)?;
            let whose = if master.is_some() { "That machine's clock is" } else { "The best clock is again" };
            answer(arguments.json, &json!({ "done": true }), &format!("{whose} everybody's.\n"))
        }
        Some(ClockCommand::Asymmetry { longer_from_master_ms }) => {
            let domain = the_domain(&shown)?;
            let asymmetry_ns = nanoseconds(*longer_from_master_ms)?;
            let order =
                TimeOrder { session: session(&domain)?, choose: None, asymmetry_ns: Some(asymmetry_ns) };
            // Only what measures needs it; which one that is may change.
            ask(config, &shown, &order)?;
            answer(arguments.json, &json!({ "done": true }), "It is taken into account from now on.\n")
        }
    }
}

/// A runtime's clocks, each with whose it is and its session's name.
fn clocks(runtime: &Value) -> Vec<Value> {
    let named = |clock: &Value| {
        let mut clock = clock.clone();
        let session = list(runtime, "sessions").iter().find(|one| one["session"] == clock["domain"]);
        clock["session_name"] = session.map_or(Value::Null, |one| one["name"].clone());
        for field in ["instance", "pid", "name", "device"] {
            clock["process"][field] = runtime[field].clone();
        }
        clock
    };
    list(runtime, "clocks").iter().map(named).collect()
}

/// Whether a clock is that of a session, by its name or the beginning of its id.
fn is_of(clock: &Value, wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted.map(str::to_lowercase) else { return true };
    let (name, id) = (plain(clock, "session_name").to_lowercase(), plain(clock, "domain"));
    name == wanted || wanted.len() >= choice::PREFIX_MIN && id.starts_with(&wanted)
}

/// The one domain that is meant.
fn the_domain(clocks: &[&Value]) -> anyhow::Result<Value> {
    let mut domains: Vec<&Value> = Vec::new();
    for clock in clocks {
        if !domains.contains(&&clock["domain"]) {
            domains.push(&clock["domain"]);
        }
    }
    match domains[..] {
        [] => bail!("{}", NOTHING.trim_end()),
        [one] => Ok(one.clone()),
        // Of a session and one's own machines the session is meant.
        _ => match domains.iter().filter(|domain| domain.is_string()).collect::<Vec<_>>()[..] {
            [one] => Ok((*one).clone()),
            _ => bail!("there are several sessions: say which with --session NAME"),
        },
    }
}

fn session(domain: &Value) -> anyhow::Result<Option<SessionId>> {
    let id = domain.as_str().map(str::parse).transpose();
    id.context("the process that answers is of another version; update audiocloud")
}

/// The device of this name, or whose key begins so, among those that share the domain's time.
fn device(clocks: &[&Value], domain: &Value, text: &str) -> anyhow::Result<DeviceId> {
    if let Ok(device) = text.parse() {
        return Ok(device);
    }
    let of_domain = || clocks.iter().filter(|clock| clock["domain"] == *domain);
    let mut known: Vec<Value> = of_domain().map(|clock| clock["process"].clone()).collect();
    known.extend(of_domain().flat_map(|clock| list(clock, "peers")).cloned());
    known.sort_by_key(|one| plain(one, "device"));
    known.dedup_by_key(|one| plain(one, "device"));
    let one = choice::machine(&known, text)?;
    plain(one, "device").parse().context("the process that answers is of another version; update audiocloud")
}

fn ask(config: &Config, clocks: &[&Value], order: &TimeOrder) -> anyhow::Result<()> {
    for clock in clocks {
        if clock["domain"].as_str().map(str::to_owned) == order.session.map(|session| session.to_string()) {
            control::time(&config.runtime_dir, &plain(&clock["process"], "instance"), order)?;
        }
    }
    Ok(())
}

#[allow(clippy::cast_possible_truncation, reason = "a second is the most")]
fn nanoseconds(ms: f64) -> anyhow::Result<i64> {
    if !ms.is_finite() || ms.abs() > 1_000.0 {
        bail!("an asymmetry is at most 1000 ms either way");
    }
    Ok((ms * 1e6).round() as i64)
}

/// A paragraph for each clock.
fn words(clocks: &[&Value], ptp: &[&Value]) -> String {
    if clocks.is_empty() && ptp.is_empty() {
        return NOTHING.to_owned();
    }
    let mut text: String = clocks.iter().map(|clock| clock_words(clock)).collect();
    for port in ptp {
        // Writing to a string cannot fail.
        write!(text, "PTP on {}, domain {}: ", plain(port, "interface"), port["domain"]).ok();
        write!(text, "{}, stamps of the {}", plain(port, "words"), plain(port, "stamps")).ok();
        if let Some(bound) = port["bound_ns"].as_i64() {
            write!(text, "; to within {}", span(bound)).ok();
        }
        let trouble = plain(port, "trouble");
        writeln!(text, "{}{trouble}", if trouble.is_empty() { "" } else { "; " }).ok();
    }
    text
}

fn clock_words(clock: &Value) -> String {
    let mut text = match clock["domain"].as_str() {
        Some(_) => format!("Session {}", quoted(clock, "session_name")),
        None => "Your own machines".to_owned(),
    };
    let (process, master) = (&clock["process"], &clock["master"]);
    let whose = match (&master["is_this_machine"], master.is_object()) {
        (Value::Bool(true), _) => "this machine's clock".to_owned(),
        (_, true) => format!("the clock of {} ({})", quoted(master, "name"), fingerprint(master, "device")),
        (_, false) => "nobody's clock yet".to_owned(),
    };
    // Writing to a string cannot fail.
    writeln!(text, ", process {}: {whose}, the {}. master", process["pid"], clock["epoch"]).ok();
    let bound = clock["bound_ns"].as_i64().map_or(String::new(), |ns| format!(", to within {}", span(ns)));
    let rate = clock["rate_ppm"].as_f64().unwrap_or(0.0);
    writeln!(text, "  {}{bound}; {rate:+.3} ppm against this machine", plain(clock, "words")).ok();
    let slew = clock["slew_left_ns"].as_i64().unwrap_or(0);
    let steps = clock["steps"].as_u64().unwrap_or(0);
    if steps > 0 || slew.abs() >= 1_000 {
        writeln!(text, "  {} being worked off, {steps} jumps so far", span(slew)).ok();
    }
    for peer in list(clock, "peers") {
        let offset = peer["offset_ns"].as_i64().map_or(String::new(), |ns| format!(", {} ahead", span(ns)));
        let (name, role) = (quoted(peer, "name"), plain(peer, "role"));
        let round_trip = span(peer["round_trip_ns"].as_i64().unwrap_or(0));
        writeln!(
            text,
            "  {role:<9}{name} ({}): {round_trip} there and back{offset}",
            fingerprint(peer, "device")
        )
        .ok();
    }
    for (field, before) in
        [("trouble", ""), ("may_not_lead", "you may not lead: "), ("last_refusal", "refused: ")]
    {
        let words = plain(clock, field);
        if !words.is_empty() {
            writeln!(text, "  {before}{words}").ok();
        }
    }
    text
}

/// A span as it reads best.
fn span(ns: i64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let nanos = ns as f64;
    match nanos.abs() {
        less if less < 1e3 => format!("{ns} ns"),
        less if less < 1e6 => format!("{:.1} µs", nanos / 1e3),
        less if less < 1e9 => format!("{:.2} ms", nanos / 1e6),
        _ => format!("{:.3} s", nanos / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> Value {
        let device = |byte: u8| DeviceId([byte; 32]).to_string();
        let session = SessionId([7; 32]).to_string();
        json!({
            "name": "Studio A", "pid": 4711, "instance": "01", "device": device(0xa1),
            "sessions": [{ "session": session, "name": "Band" }],
            "clocks": [
                { "domain": session, "state": "locked", "words": "following the master", "epoch": 3,
                  "master": { "device": device(0xb2), "name": "Studio B", "is_this_machine": false },
                  "bound_ns": 42_500, "rate_ppm": -3.25, "steps": 0, "slew_left_ns": 0,
                  "peers": [
                      { "device": device(0xb2), "name": "Studio B", "role": "master",
                        "round_trip_ns": 40_000_000, "offset_ns": 7_000_000_000_i64 },
                      { "device": device(0xc3), "name": "Evil\u{1b}[2J", "role": "other", "round_trip_ns": 0 },
                  ] },
                { "domain": null, "words": "nobody else is there", "epoch": 1,
                  "master": { "device": device(0xa1), "name": "Studio A", "is_this_machine": true },
                  "bound_ns": 0, "rate_ppm": 0.0, "peers": [], "may_not_lead": "your ticket has expired" },
            ],
        })
    }

    #[test]
    fn what_is_known_of_a_clock_is_said() {
        let clocks = clocks(&runtime());
        let shown: Vec<&Value> = clocks.iter().collect();
        let ptp = json!({ "interface": "eth0", "domain": 24, "words": "no master is heard", "stamps": "kernel",
            "bound_ns": null, "trouble": "the cable is out" });
        let text = words(&shown, &[&ptp]);
        for expected in [
            "Session \"Band\", process 4711: the clock of \"Studio B\" (b2b2b2b2), the 3. master\n",
            "  following the master, to within 42.5 µs; -3.250 ppm against this machine\n",
            "  master   \"Studio B\" (b2b2b2b2): 40.00 ms there and back, 7.000 s ahead\n",
            "Your own machines, process 4711: this machine's clock, the 1. master\n",
            "  you may not lead: your ticket has expired\n",
            "PTP on eth0, domain 24: no master is heard, stamps of the kernel; the cable is out\n",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert_eq!(words(&[], &[]), NOTHING);
    }

    #[test]
    fn who_is_meant_is_found_or_asked_for() {
        let clocks = clocks(&runtime());
        let shown: Vec<&Value> = clocks.iter().collect();
        let domain = the_domain(&shown).unwrap();
        assert_eq!(session(&domain).unwrap(), Some(SessionId([7; 32])));
        assert_eq!(device(&shown, &domain, "studio b").unwrap(), DeviceId([0xb2; 32]));
        assert_eq!(device(&shown, &domain, "a1a1").unwrap(), DeviceId([0xa1; 32]));
        assert!(device(&shown, &domain, "nobody").unwrap_err().to_string().contains("Studio B"));
        assert!(
            is_of(shown[0], Some("band")) && is_of(shown[0], Some("0707")) && !is_of(shown[1], Some("band"))
        );
        assert!(the_domain(&[]).is_err());
        assert_eq!(the_domain(&shown[1..]).unwrap(), Value::Null);
        assert_eq!(nanoseconds(-6.0).unwrap(), -6_000_000);
        assert!(nanoseconds(f64::NAN).is_err() && nanoseconds(1_001.0).is_err());
    }
}
