//! The thread beside the callbacks: takes in what the host moved, what came home, and what others propose.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use audiocloud_instance::guard::{Guard, Stage};

use crate::shared::Shared;

/// From look to look.
const EVERY: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Board {
    is_over: Mutex<bool>,
    wake: Condvar,
}

/// One that runs; dropping it ends it, and waits for that: never with a lock that its looks need.
pub(crate) struct Worker {
    board: Arc<Board>,
    thread: Option<JoinHandle<()>>,
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
    pub(crate) fn start(shared: Weak<Shared>, guard: &Guard) -> Result<Self, String> {
        let (board, guard) = (Arc::<Board>::default(), guard.clone());
        let seen = Arc::clone(&board);
        let run = move || {
            while !seen.is_over() {
                let Some(shared) = shared.upgrade() else { return };
                if guard.run(Stage::Report, || shared.look()).is_none() {
                    return;
                }
            }
        };
        let spawned = Builder::new().name("audiocloud-remote".into()).spawn(run);
        let thread = spawned.map_err(|error| {
            format!(
                "no thread could be had ({error}); close other programs, then switch the plug-in off and on"
            )
        })?;
        Ok(Self { board, thread: Some(thread) })
    }
}

impl Board {
    /// After a while, or at once when it is.
    fn is_over(&self) -> bool {
        let held = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(held, EVERY, |is_over| !*is_over);
        waited.map_or(true, |(is_over, _)| *is_over)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        *self.board.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.board.wake.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // What it panicked of, the guard has kept.
            drop(thread.join());
        }
    }
}
