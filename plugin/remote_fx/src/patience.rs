//! Waiting in a callback: for renders that must be exact, and for no others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audiocloud_net::runtime::remote::Arrived;

/// A render waits so long for one block, the opening of the chain on a node included.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// From look to look, where nobody rings.
const STEP: Duration = Duration::from_millis(20);

/// What the callbacks and the link know of waiting.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// The way to the node is one on which nothing is lost.
    is_exact: AtomicBool,
    /// There is nothing to wait for: every node refuses the chain, or none is found.
    is_hopeless: AtomicBool,
    arrived: Mutex<Option<Arrived>>,
    /// One of the above is another.
    changed: Condvar,
    /// Waits that the limit ended.
    given_up: AtomicU64,
}

impl Patience {
    /// Another way from now on, whose ends the callbacks have been given; `None`: nobody to wait for.
    pub(crate) fn set(&self, arrived: Option<Arrived>) {
        let is_exact = arrived.is_some();
        let mut place = self.lock();
        *place = arrived;
        self.is_hopeless.store(false, Ordering::Relaxed);
        self.is_exact.store(is_exact, Ordering::Release);
        drop(place);
        self.changed.notify_all();
    }

    pub(crate) fn set_hopeless(&self, is_hopeless: bool) {
        let place = self.lock();
        self.is_hopeless.store(is_hopeless, Ordering::Relaxed);
        drop(place);
        self.changed.notify_all();
    }

    pub(crate) fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Waits until the way to the node is one on which nothing is lost, which takes the runtime a moment where *Render* was
    /// just put to *exact*. False where there will be none, or it took too long.
    pub(crate) fn wait_for_way(&self) -> bool {
        if self.is_exact.load(Ordering::Acquire) {
            return true;
        }
        let must_wait =
            |_: &mut _| !self.is_exact.load(Ordering::Acquire) && !self.is_hopeless.load(Ordering::Relaxed);
        drop(self.changed.wait_timeout_while(self.lock(), LIMIT, must_wait));
        let is_exact = self.is_exact.load(Ordering::Acquire);
        if !is_exact {
            self.given_up.fetch_add(1, Ordering::Relaxed);
        }
        is_exact
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arrived>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self) -> Option<Arrived> {
        if !self.is_exact.load(Ordering::Acquire) {
            return None;
        }
        self.lock().clone()
    }
}

/// One callback's waiting.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    patience: &'a Patience,
    arrived: Option<Arrived>,
    seen: u64,
    since: Option<Instant>,
    pub(crate) is_over: bool,
}

impl<'a> Wait<'a> {
    /// For a callback that may wait; in any other nothing is asked for and nothing done.
    pub(crate) fn new(patience: &'a Patience, may_wait: bool) -> Self {
        let arrived = if may_wait { patience.arrived() } else { None };
        let seen = arrived.as_ref().map_or(0, Arrived::count);
        Self { patience, arrived, seen, since: None, is_over: false }
    }

    /// Waits for news; false when there is nothing to wait for, or it took too long.
    pub(crate) fn again(&mut self) -> bool {
        let Some(arrived) = &self.arrived else { return false };
        if self.is_over {
            return false;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= LIMIT || self.patience.is_hopeless.load(Ordering::Relaxed) {
            self.patience.given_up.fetch_add(1, Ordering::Relaxed);
            self.is_over = true;
            return false;
        }
        self.seen = arrived.wait(self.seen, STEP);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_on_which_nothing_is_lost_is_waited_for() {
        let patience = Patience::default();
        // One on which something may be lost.
        patience.set(None);
        assert!(!Wait::new(&patience, true).again());
        std::thread::scope(|scope| {
            scope.spawn(|| patience.set(Some(Arrived::default())));
            assert!(patience.wait_for_way());
        });
        let other = Patience::default();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| other.wait_for_way());
            other.set_hopeless(true);
            assert!(!waits.join().unwrap(), "one that waits is told");
        });
        assert!(Wait::new(&patience, true).again());
        assert!(!Wait::new(&patience, false).again(), "a callback that may not wait");
        assert_eq!(patience.given_up(), 0);
    }

    #[test]
    fn where_every_node_refuses_nothing_is_waited_for() {
        let (patience, began) = (Patience::default(), Instant::now());
        patience.set_hopeless(true);
        assert!(!patience.wait_for_way());
        assert_eq!(patience.given_up(), 1);
        assert!(began.elapsed() < LIMIT);
        // Another way is another chance.
        patience.set(Some(Arrived::default()));
        assert!(patience.wait_for_way() && Wait::new(&patience, true).again());
        patience.set_hopeless(true);
        let mut wait = Wait::new(&patience, true);
        assert!(!wait.again() && wait.is_over);
        assert_eq!(patience.given_up(), 2);
    }
}
