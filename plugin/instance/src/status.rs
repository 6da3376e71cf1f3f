//! What the window says: one sentence with its cause, and a second with the remedy.

use std::borrow::Cow;
use std::time::{Duration, Instant};

/// What went wrong is mentioned for this long.
pub const RECENT: Duration = Duration::from_secs(10);

/// How much the user should care; decides the colour and the word before the sentence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is asked for, nothing is wrong.
    #[default]
    Idle,
    /// It does what it was asked to do.
    Good,
    /// It works, but not as the user may expect; or it is about to.
    Warning,
    /// It does not work.
    Fault,
}

impl Severity {
    /// The word for machine-readable reports and for screen readers.
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// One state of a plug-in in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub severity: Severity,
    /// What is the case and why; a whole sentence.
    pub cause: Cow<'static, str>,
    /// What the user can do about it; empty where there is nothing to do.
    pub remedy: Cow<'static, str>,
}

impl Status {
    pub fn new(
        severity: Severity,
        cause: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { severity, cause: cause.into(), remedy: remedy.into() }
    }

    /// What every plug-in says first, where there is cause: that it stopped at an error of our own, that its state is of
    /// a later schema, or that the host has not switched it on.
    pub fn at_rest(panicked: Option<&Self>, unreadable_schema: Option<u64>, active: bool) -> Option<Self> {
        if let Some(panicked) = panicked {
            return Some(panicked.clone());
        }
        if let Some(schema) = unreadable_schema {
            let cause = format!(
                "This project was saved by a newer audiocloud (state schema {schema}); its state is kept, but not read."
            );
            return Some(Self::new(Severity::Fault, cause, "Update audiocloud on this computer."));
        }
        (!active).then(|| Self::new(Severity::Idle, "The host has not switched this plug-in on.", ""))
    }

    /// A fault from an error's message, "cause; remedy", after what it means for the user.
    pub fn from_error(error: &str, effect: &str) -> Self {
        let (cause, remedy) = error.split_once("; ").unwrap_or((error, ""));
        let mut letters = remedy.chars();
        let remedy = match letters.next() {
            Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str().trim_end_matches('.')),
            None => String::new(),
        };
        Self::new(Severity::Fault, format!("{effect}: {cause}."), remedy)
    }

    /// Cause and remedy as one line.
    pub fn sentence(&self) -> String {
        if self.remedy.is_empty() {
            self.cause.to_string()
        } else {
            format!("{} {}", self.cause, self.remedy)
        }
    }
}

/// How much a counter of what went wrong grew within the last while: what can be told only by looking twice.
#[derive(Debug, Default)]
pub struct Recent {
    seen: u64,
    /// The count when the present run of growth began, and when it grew last.
    run: Option<(u64, Instant)>,
}

impl Recent {
    /// Since the run began that is not over yet. A smaller count than the last one began anew.
    pub fn look(&mut self, count: u64, now: Instant) -> u64 {
        if count > self.seen {
            let from = self.run.map_or(self.seen, |(from, _)| from);
            self.run = Some((from, now));
        }
        self.seen = count;
        match self.run {
            Some((from, at)) if now.duration_since(at) < RECENT => count.saturating_sub(from),
            _ => {
                self.run = None;
                0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_mentioned_for_a_while() {
        let (mut missing, start) = (Recent::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(missing.look(0, at(0)), 0);
        assert_eq!(missing.look(128, at(1)), 128);
        assert_eq!(missing.look(192, at(5)), 192);
        assert_eq!(missing.look(192, at(14)), 192);
        assert_eq!(missing.look(192, at(16)), 0);
        assert_eq!(missing.look(200, at(17)), 8);
        assert_eq!(missing.look(0, at(18)), 0, "counters began anew");
    }

    #[test]
    fn an_error_becomes_cause_and_remedy() {
        fn check(error: &str, expected: &str) {
            let status = Status::from_error(error, "Nothing is published");
            assert_eq!((status.severity, status.sentence().as_str()), (Severity::Fault, expected));
        }
        check("no port; choose another", "Nothing is published: no port. Choose another.");
        check("no port", "Nothing is published: no port.");
        check("a; b; c.", "Nothing is published: a. B; c.");
    }
}
