//! The system's time: tickets end by it, and mDNS names change by its hour.
//!
//! Without a time server there is no truth to compare with, but much that gives a wrong clock away: this program, and
//! files of audiocloud, cannot be from the future; and the members of a session tell their own time when they greet.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Check, Examination, Finding, Outcome};
use crate::calendar::{seconds, span, utc};

const CHECK: Check = Check::Clock;
/// No clock that is right shows a time before the first of these lines was written: 2026-11-01.
const EARLIEST_S: u64 = 1_793_491_200;
/// Fifty years later nobody runs this.
const LATEST_S: u64 = EARLIEST_S + 50 * 365 * 86_400;
/// More than clocks differ that are kept by a time server, and than matters to anything here.
const TOLERANCE_S: u64 = 60;
const REMEDY: &str = "set it by a time server: `sudo timedatectl set-ntp true` (or install chrony); until then tickets \
                      may seem expired or not yet valid, and mDNS does not find your other devices";

pub(super) fn examine(examination: &Examination<'_>) -> Vec<Finding> {
    let now_s = seconds(examination.options.now);
    let evidence = Evidence {
        now_s,
        newest: newest_file(&examination.config.config_dir),
        others: others(&examination.runtimes),
        is_kept: is_kept(),
    };
    judge(&evidence)
}

/// What speaks for or against the clock.
#[derive(Clone, Debug, Default)]
struct Evidence {
    /// Seconds since 1970.
    now_s: u64,
    /// The file of ours, this program included, that was written last, and when.
    newest: Option<(PathBuf, u64)>,
    /// Members by name, and by how many ms their clocks are ahead of this one.
    others: Vec<(String, i64)>,
    /// Whether a time server keeps the clock; `None`: not known.
    is_kept: Option<bool>,
}

fn judge(evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    let now = utc(evidence.now_s);
    if evidence.now_s + TOLERANCE_S < EARLIEST_S {
        let found = format!("this machine's clock says {now}, before this version of audiocloud was written");
        findings.push(Finding::fault(CHECK, found, REMEDY));
    } else if evidence.now_s > LATEST_S {
        let found = format!("this machine's clock says {now}, which is far in the future");
        findings.push(Finding::fault(CHECK, found, REMEDY));
    } else if let Some((file, written_s)) = &evidence.newest
        && *written_s > evidence.now_s + TOLERANCE_S
    {
        let found = format!(
            "this machine's clock says {now}, but {} was written at {}, {} later: it is behind, or was ahead then",
            file.display(),
            utc(*written_s),
            span(written_s - evidence.now_s)
        );
        findings.push(Finding::fault(CHECK, found, REMEDY));
    }
    findings.extend(judge_others(&evidence.others));
    let is_wrong = !findings.is_empty();
    match evidence.is_kept {
        Some(false) if !is_wrong => findings.push(Finding::warning(
            CHECK,
            format!("this machine's clock says {now}, and no time server keeps it right"),
            "sudo timedatectl set-ntp true (or install chrony)",
        )),
        Some(true) if !is_wrong => {
            findings.push(Finding::good(CHECK, format!("the clock says {now} and is kept by a time server")));
        }
        None if !is_wrong => findings.push(Finding {
            check: CHECK,
            outcome: Outcome::Good,
            found: format!("the clock says {now}, and nothing contradicts it"),
            remedy: None,
        }),
        _ => {}
    }
    findings
}

/// Half of them or more, not one whose own clock is wrong.
fn judge_others(others: &[(String, i64)]) -> Option<Finding> {
    let mut ahead_ms: Vec<i64> = others.iter().map(|(_, ahead_ms)| *ahead_ms).collect();
    ahead_ms.sort_unstable();
    let median_ms = *ahead_ms.get(ahead_ms.len() / 2)?;
    let off_s = median_ms.unsigned_abs() / 1000;
    if off_s <= TOLERANCE_S {
        return None;
    }
    let side = if median_ms > 0 { "behind" } else { "ahead of" };
    let names: Vec<&str> = others.iter().map(|(name, _)| name.as_str()).collect();
    let whose = match &names[..] {
        [one] => format!("that of {one}; one of the two is wrong"),
        several => format!("those of {}", several.join(", ")),
    };
    Some(Finding::fault(CHECK, format!("this machine's clock is {} {side} {whose}", span(off_s)), REMEDY))
}

/// What members of sessions said of their time to the runtimes of this machine.
fn others(runtimes: &[serde_json::Value]) -> Vec<(String, i64)> {
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let members =
        runtimes.iter().flat_map(|one| list(&one["sessions"])).flat_map(|one| list(&one["members"]));
    let mut others: Vec<(String, i64)> = members
        .filter_map(|member| Some((member["name"].as_str()?.to_owned(), member["clock_ahead_ms"].as_i64()?)))
        .collect();
    others.sort();
    others.dedup_by(|a, b| a.0 == b.0);
    others
}

/// Of this program and the files in the configuration folder.
fn newest_file(config_dir: &Path) -> Option<(PathBuf, u64)> {
    let entries = std::fs::read_dir(config_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let written = |path: PathBuf| {
        let written = path.metadata().ok().filter(std::fs::Metadata::is_file)?.modified().ok()?;
        Some((path, seconds(written)))
    };
    entries.chain(std::env::current_exe()).filter_map(written).max_by_key(|(_, written_s)| *written_s)
}

/// Whether the system says that a time server keeps its clock.
#[cfg(target_os = "linux")]
fn is_kept() -> Option<bool> {
    use std::process::{Command, Stdio};

    const PATIENCE: Duration = Duration::from_secs(1);
    let mut asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + PATIENCE;
    while asked.try_wait().ok()?.is_none() {
        if Instant::now() >= deadline {
            asked.kill().ok();
            asked.wait().ok();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut asked.stdout.take()?, &mut answer).ok()?;
    match answer.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn is_kept() -> Option<bool> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = EARLIEST_S + 30 * 86_400;

    fn evidence() -> Evidence {
        Evidence { now_s: NOW_S, ..Evidence::default() }
    }

    fn check(evidence: &Evidence, outcome: Outcome, found: &str) {
        let findings = judge(evidence);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.outcome, outcome, "{finding:?}");
        assert!(finding.found.contains(found), "{finding:?}");
        if outcome >= Outcome::Warning {
            assert!(finding.remedy.as_deref().unwrap().contains("timedatectl set-ntp true"), "{finding:?}");
        }
    }

    #[test]
    fn a_wrong_clock_is_given_away() {
        let fault = Outcome::Fault;
        check(&Evidence { now_s: 0, ..evidence() }, fault, "says 1970-01-01 00:00 UTC, before");
        check(&Evidence { now_s: u64::from(u32::MAX), ..evidence() }, fault, "far in the future");
        let newest = Some(("user.key".into(), NOW_S + 7_300));
        check(&Evidence { newest, ..evidence() }, fault, "2 hours later");
        let others = |ahead_ms: &[i64]| Evidence {
            others: ahead_ms
                .iter()
                .zip(["Ada", "Ben", "Cyd"])
                .map(|(ms, name)| (name.to_owned(), *ms))
                .collect(),
            ..evidence()
        };
        check(&others(&[300_000]), fault, "5 minutes behind that of Ada; one of the two is wrong");
        check(&others(&[-90_000, -91_000]), fault, "90 seconds ahead of those of Ada, Ben");
        check(&others(&[10, 900_000, -10]), Outcome::Good, "nothing contradicts it");
    }

    #[test]
    fn a_clock_that_may_be_right_is_told_by_who_keeps_it() {
        let kept = |is_kept| Evidence { is_kept, newest: Some(("x".into(), NOW_S + 30)), ..evidence() };
        check(&kept(Some(true)), Outcome::Good, "kept by a time server");
        check(&kept(None), Outcome::Good, "nothing contradicts it");
        check(&kept(Some(false)), Outcome::Warning, "no time server");
    }

    #[test]
    fn members_tell_their_time_once_each() {
        let member =
            |name: &str, ahead: Option<i64>| serde_json::json!({"name": name, "clock_ahead_ms": ahead});
        let runtime =
            serde_json::json!({"sessions": [{"members": [member("Ada", Some(7)), member("Ben", None)]}]});
        assert_eq!(others(&[runtime.clone(), runtime, serde_json::json!(3)]), [("Ada".to_owned(), 7)]);
    }
}
