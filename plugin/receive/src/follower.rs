//! The thread that looks, ten times a second, who came and who went, and what the parameters say now.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// From look to look.
pub(crate) const PERIOD: Duration = Duration::from_millis(100);

/// A thread that calls until it is dropped.
#[derive(Debug)]
pub(crate) struct Follower {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Calls `look` until it says false. `None` where the system gives no thread.
    pub(crate) fn start(mut look: impl FnMut() -> bool + Send + 'static) -> Option<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let run = move || while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) && look() {};
        let thread = Builder::new().name("audiocloud-recv".into()).spawn(run);
        let thread = thread.inspect_err(|error| tracing::error!(%error, "no thread follows the session"));
        Some(Self { stop: Some(stop), thread: Some(thread.ok()?) })
    }
}

impl Drop for Follower {
    /// Waits for a look that is under way.
    fn drop(&mut self) {
        self.stop = None;
        let Some(thread) = self.thread.take() else { return };
        // A look may drop what owns us; a thread does not wait for itself. One that panicked has been caught and said.
        if thread.thread().id() != std::thread::current().id() {
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn it_looks_until_it_is_dropped() {
        let (count, (seen, was_seen)) = (Arc::new(AtomicU32::new(0)), mpsc::channel());
        let looks = count.clone();
        let follower = Follower::start(move || {
            looks.fetch_add(1, Ordering::Relaxed);
            seen.send(()).is_ok()
        });
        was_seen.recv().unwrap();
        was_seen.recv().unwrap();
        drop(follower);
        let at_the_end = count.load(Ordering::Relaxed);
        assert!(at_the_end >= 2);
        assert_eq!((Arc::strong_count(&count), count.load(Ordering::Relaxed)), (1, at_the_end), "it is over");
    }
}
