//! The thread beside the callbacks: takes in what they saw, gives them the map, and tells everybody what the host does.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use audiocloud_engine::rt::hand_off::{Giver, Lender};
use audiocloud_engine::rt::snapshot;
use audiocloud_engine::units::{SampleRate, SessionLine};
use audiocloud_instance::guard::{Guard, Stage};
use audiocloud_net::clock::beat_map::BeatMap;
use audiocloud_net::runtime::clock::Clock;

use crate::hand::Command;
use crate::observation::Observation;
use crate::params::ClockParams;
use crate::pilot::{Facts, Orders, Pilot};

/// From look to look: a part of what an edit lies ahead.
const EVERY: Duration = Duration::from_millis(5);
/// Callbacks that may go by unlooked-at: 40 ms of the shortest blocks.
pub(crate) const CALLBACKS: usize = 64;

/// What the callbacks know of the session.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) line: snapshot::Reader<Option<SessionLine>>,
    pub(crate) map: Arc<BeatMap>,
}

/// Towards the callbacks. A worker has them while it runs, and the next one goes on with them.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) seen: Lender<Observation>,
    pub(crate) live: Giver<Live>,
}

#[derive(Default)]
struct Board {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    is_over: bool,
    asked: Vec<Command>,
    facts: Facts,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that runs; dropping it ends it.
pub(crate) struct Worker {
    board: Arc<Board>,
    thread: Option<JoinHandle<Ends>>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    /// Begins to look.
    ///
    /// # Errors
    /// The system gives no thread; cause and remedy.
    pub(crate) fn start(
        ends: Ends,
        clock: Clock,
        params: Arc<ClockParams>,
        sample_rate: SampleRate,
        guard: &Guard,
    ) -> Result<Self, String> {
        let board = Arc::new(Board::default());
        let work = Work {
            ends,
            clock,
            params,
            pilot: Pilot::new(sample_rate),
            given: None,
            guard: guard.clone(),
            board: Arc::clone(&board),
        };
        let spawned = Builder::new().name("audiocloud-clock".into()).spawn(move || work.run());
        let thread = spawned.map_err(|error| {
            format!(
                "no thread could be had ({error}); close other programs, then switch the plug-in off and on"
            )
        })?;
        Ok(Self { board, thread: Some(thread) })
    }

    pub(crate) fn ask(&self, command: Command) {
        self.board.lock().asked.push(command);
    }

    pub(crate) fn facts(&self) -> Facts {
        self.board.lock().facts.clone()
    }

    /// Ends it; what the next one goes on with.
    pub(crate) fn end(mut self) -> Option<Ends> {
        self.join()
    }

    fn join(&mut self) -> Option<Ends> {
        self.board.lock().is_over = true;
        self.board.wake.notify_all();
        self.thread.take()?.join().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.join());
    }
}

struct Work {
    ends: Ends,
    clock: Clock,
    params: Arc<ClockParams>,
    pilot: Pilot,
    /// The map that the callbacks were given last.
    given: Option<u64>,
    guard: Guard,
    board: Arc<Board>,
}

impl Work {
    fn run(mut self) -> Ends {
        loop {
            let asked = {
                let mut state = self.board.lock();
                if state.is_over {
                    break;
                }
                std::mem::take(&mut state.asked)
            };
            let guard = self.guard.clone();
            let Some(facts) = guard.run(Stage::Report, || self.look(asked)) else { break };
            let mut state = self.board.lock();
            state.facts = facts;
            if state.is_over {
                break;
            }
            // Woken by nothing but the end: what is asked for waits a look at most.
            drop(self.board.wake.wait_timeout(state, EVERY));
        }
        self.ends
    }

    fn look(&mut self, asked: Vec<Command>) -> Facts {
        asked.into_iter().for_each(|command| self.pilot.ask(command));
        let mut seen = Vec::with_capacity(CALLBACKS);
        while let Some(home) = self.ends.seen.returned() {
            seen.push(*home);
            // It came home: there is room to lend it again.
            if self.ends.seen.lend(home).is_err() {
                break;
            }
        }
        let orders = Orders { role: self.params.role.value(), quantum: self.params.quantum.value() };
        let facts = self.pilot.look(&self.clock, orders, seen.into_iter());
        self.give();
        facts
    }

    fn give(&mut self) {
        self.ends.live.free_returned();
        let revision = self.clock.revision();
        if self.given == Some(revision) {
            return;
        }
        let live = Live { line: self.clock.line(), map: self.clock.timeline().map };
        // Full: no callback has run for a while. The next look tries again.
        if self.ends.live.give(Some(Box::new(live))).is_ok() {
            self.given = Some(revision);
        }
    }
}
