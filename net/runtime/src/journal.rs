//! What happened lately, in words: for the window, the status command, and whoever looks into a refusal.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const LINES_MAX: usize = 200;
const REFUSALS_MAX: usize = 64;
/// Strangers may knock as often as they like, but they do not fill the log: so many lines in a window of time.
const REFUSALS_PER_WINDOW: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Bounded lists of lines, oldest first.
#[derive(Debug)]
pub(crate) struct Journal {
    began: Instant,
    lines: Mutex<VecDeque<String>>,
    refusals: Mutex<VecDeque<String>>,
    /// When the window began, and the lines in it.
    window: Mutex<(Instant, u32)>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        let began = Instant::now();
        Self { began, lines: Mutex::default(), refusals: Mutex::default(), window: Mutex::new((began, 0)) }
    }

    /// Something worth telling.
    pub(crate) fn note(&self, line: &str) {
        tracing::info!(target: "audiocloud::net", "{line}");
        push(&self.lines, LINES_MAX, self.stamped(line));
    }

    /// A peer that was turned away, or turned us away.
    pub(crate) fn refused(&self, line: &str) {
        if !self.has_room() {
            return;
        }
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

    fn has_room(&self) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.0.elapsed() > WINDOW {
            *window = (Instant::now(), 0);
        }
        window.1 += 1;
        window.1 <= REFUSALS_PER_WINDOW
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
            journal.refused(&format!("refusal {number}"));
        }
        assert_eq!(journal.refusals().len(), 20, "of one window");
        for number in 0..1000 {
            journal.note(&format!("line {number}"));
        }
        assert_eq!(journal.lines().len(), LINES_MAX);
        assert!(journal.lines().last().unwrap().ends_with("line 999"));
    }
}
