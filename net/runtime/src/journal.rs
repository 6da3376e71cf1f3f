//! What happened lately, in words: for the window, the status command, and whoever looks into a refusal.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

const LINES_MAX: usize = 200;
const REFUSALS_MAX: usize = 64;

/// Bounded lists of lines, oldest first.
#[derive(Debug)]
pub(crate) struct Journal {
    began: Instant,
    lines: Mutex<VecDeque<String>>,
    refusals: Mutex<VecDeque<String>>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), lines: Mutex::default(), refusals: Mutex::default() }
    }

    /// Something worth telling.
    pub(crate) fn note(&self, line: &str) {
        tracing::info!(target: "audiocloud::net", "{line}");
        push(&self.lines, LINES_MAX, self.stamped(line));
    }

    /// A peer that was turned away, or turned us away.
    pub(crate) fn refused(&self, line: &str) {
        tracing::warn!(target: "audiocloud::net", "{line}");
        let stamped = self.stamped(line);
        push(&self.refusals, REFUSALS_MAX, stamped.clone());
        push(&self.lines, LINES_MAX, stamped);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        lock(&self.lines).iter().cloned().collect()
    }

    pub(crate) fn refusals(&self) -> Vec<String> {
        lock(&self.refusals).iter().cloned().collect()
    }

    fn stamped(&self, line: &str) -> String {
        format!("{:9.3} s  {line}", self.began.elapsed().as_secs_f64())
    }
}

fn push(list: &Mutex<VecDeque<String>>, max: usize, line: String) {
    let mut list = lock(list);
    if list.len() == max {
        list.pop_front();
    }
    list.push_back(line);
}

fn lock(list: &Mutex<VecDeque<String>>) -> MutexGuard<'_, VecDeque<String>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_are_bounded() {
        let journal = Journal::new();
        for number in 0..1000 {
            journal.refused(&format!("line {number}"));
        }
        assert_eq!(journal.lines().len(), LINES_MAX);
        assert_eq!(journal.refusals().len(), REFUSALS_MAX);
        assert!(journal.refusals().last().unwrap().ends_with("line 999"));
    }
}
