//! A self-test of this installation: what stands in the way of a stream, and what to do about it.
//!
//! Each check looks at the machine, or tries the thing itself, and gives [`Finding`]s in words: what was found and, where
//! something is wrong, the remedy. Nothing is changed: no key is made, no setting written, and what is sent stays on
//! this machine but for one query of multicast DNS and handshakes with the peers and meeting points that the user has named.
//!
//! Looking and judging are apart: each check gathers what can be seen into a value, and a function of that value alone
//! says what it means.

mod clock;
mod echo;
mod firewall;
pub(crate) mod interfaces;
mod keys;
mod multicast;
mod port;
mod reach;
mod scheduling;
mod stream;

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;

use crate::{Config, control};

/// What can be examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The keys: there, private, sound.
    Identity,
    /// The UDP port that the runtime would open.
    Port,
    /// Whether datagrams leave and come in, as far as this machine can tell.
    Firewall,
    /// Whether named peers and meeting points answer.
    Reach,
    /// Whether the local network carries multicast.
    Multicast,
    /// The system's time.
    Clock,
    /// The right to real-time scheduling and to locked memory.
    Scheduling,
    /// A second of sound through two runtimes on real sockets.
    Stream,
}

impl Check {
    /// In the order in which they are made: what is needed first, first.
    pub const ALL: [Self; 8] = [
        Self::Identity,
        Self::Port,
        Self::Firewall,
        Self::Reach,
        Self::Multicast,
        Self::Clock,
        Self::Scheduling,
        Self::Stream,
    ];

    /// For programs and the command line.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Port => "port",
            Self::Firewall => "firewall",
            Self::Reach => "reach",
            Self::Multicast => "multicast",
            Self::Clock => "clock",
            Self::Scheduling => "scheduling",
            Self::Stream => "stream",
        }
    }

    fn examine(self, examination: &Examination<'_>) -> Vec<Finding> {
        match self {
            Self::Identity => keys::examine(examination),
            Self::Port => port::examine(examination),
            Self::Firewall => firewall::examine(examination),
            Self::Reach => reach::examine(examination),
            Self::Multicast => multicast::examine(examination),
            Self::Clock => clock::examine(examination),
            Self::Scheduling => scheduling::examine(),
            Self::Stream => stream::examine(),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Not the name of a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no check \"{0}\"; there are identity, port, firewall, reach, multicast, clock, scheduling, stream"
)]
pub struct UnknownCheck(String);

impl FromStr for Check {
    type Err = UnknownCheck;

    fn from_str(text: &str) -> Result<Self, UnknownCheck> {
        Self::ALL.into_iter().find(|check| check.code() == text).ok_or_else(|| UnknownCheck(text.to_owned()))
    }
}

/// How a finding stands, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it should be.
    Good,
    /// It could not be examined here, or says nothing by itself.
    Unknown,
    /// It works, but not as well as it could.
    Warning,
    /// It stands in the way.
    Fault,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: Check,
    pub outcome: Outcome,
    /// What was found, in words.
    pub found: String,
    /// What to do about it; always there for a fault or a warning.
    pub remedy: Option<String>,
}

impl Finding {
    fn good(check: Check, found: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Good, found: found.into(), remedy: None }
    }

    fn unknown(check: Check, found: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Unknown, found: found.into(), remedy: None }
    }

    fn warning(check: Check, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Warning, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn fault(check: Check, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Fault, found: found.into(), remedy: Some(remedy.into()) }
    }

    /// Of an error of ours, whose text is a cause and, after a semicolon, the remedy.
    fn of_error(check: Check, error: &str) -> Self {
        match error.split_once("; ") {
            Some((cause, remedy)) => Self::fault(check, cause, remedy),
            None => Self::fault(check, error, "look at what the message names"),
        }
    }
}

/// What is to be examined.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which checks; they are made in the order of [`Check::ALL`].
    pub checks: Vec<Check>,
    /// Places (`host:port`) besides the configured ones that should answer.
    pub reach: Vec<String>,
    /// What the system's clock says.
    pub now: SystemTime,
}

impl Default for Options {
    fn default() -> Self {
        Self { checks: Check::ALL.to_vec(), reach: Vec::new(), now: SystemTime::now() }
    }
}

/// What every check may look at.
struct Examination<'a> {
    config: &'a Config,
    options: &'a Options,
    /// The status of each runtime of this user on this machine.
    runtimes: Vec<Value>,
}

impl Examination<'_> {
    /// The process that has this UDP port, where it is a runtime of this user.
    fn runtime_on(&self, port: u16) -> Option<&Value> {
        self.runtimes.iter().find(|runtime| runtime["port"].as_u64() == Some(port.into()))
    }
}

/// Examines this machine with this configuration and tells each finding as soon as it is made. Blocks: some five seconds.
/// *Realtime-safe: no.*
pub fn examine(config: &Config, options: &Options, tell: &mut dyn FnMut(&Finding)) -> Vec<Finding> {
    let examination = Examination { config, options, runtimes: control::query_all(&config.runtime_dir) };
    let mut findings = Vec::new();
    for check in Check::ALL.into_iter().filter(|check| options.checks.contains(check)) {
        for finding in check.examine(&examination) {
            tell(&finding);
            findings.push(finding);
        }
    }
    findings
}

/// How everything stands: the worst of the findings.
pub fn worst(findings: &[Finding]) -> Outcome {
    findings.iter().map(|finding| finding.outcome).max().unwrap_or(Outcome::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_known_by_their_codes() {
        for check in Check::ALL {
            assert_eq!(check.code().parse(), Ok(check));
            assert_eq!(serde_json::to_value(check).unwrap(), check.code());
        }
        let error = "ports".parse::<Check>().unwrap_err().to_string();
        assert!(Check::ALL.iter().all(|check| error.contains(check.code())), "{error}");
    }

    #[test]
    fn the_worst_finding_counts() {
        let check = Check::Clock;
        assert_eq!(worst(&[]), Outcome::Good);
        let mut findings = vec![Finding::good(check, "a"), Finding::unknown(check, "b")];
        assert_eq!(worst(&findings), Outcome::Unknown);
        findings.insert(0, Finding::fault(check, "c", "d"));
        findings.push(Finding::warning(check, "e", "f"));
        assert_eq!(worst(&findings), Outcome::Fault);
    }

    #[test]
    fn an_error_of_ours_is_a_cause_and_a_remedy() {
        let finding = Finding::of_error(Check::Port, "it is taken; take another; or none");
        assert_eq!(finding, Finding::fault(Check::Port, "it is taken", "take another; or none"));
        assert!(Finding::of_error(Check::Port, "it is taken").remedy.is_some());
    }
}
