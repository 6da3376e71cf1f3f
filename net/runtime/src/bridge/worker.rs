//! A bridge's thread: told to end and waited for, and what it says meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::{Bridge, BridgeStatus};
use crate::status::lock;

/// It ends when it is dropped.
pub(super) struct Worker {
    stage: Stage,
    thread: Option<JoinHandle<()>>,
}

/// What the work sees of it.
#[derive(Clone)]
pub(super) struct Stage {
    over: Arc<AtomicBool>,
    status: Arc<Mutex<BridgeStatus>>,
}

impl Stage {
    /// Whether to return: to be asked each 50 ms at least.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// How it stands now.
    pub(super) fn say(&self, words: impl Into<String>, peers: usize, trouble: Option<String>) {
        let mut status = lock(&self.status);
        (status.words, status.peers, status.trouble) = (words.into(), peers, trouble);
    }
}

impl Worker {
    /// A thread of this name that does `work`.
    pub(super) fn start(name: &'static str, work: impl FnOnce(&Stage) + Send + 'static) -> Self {
        let status = BridgeStatus { name, words: "starting".into(), ..BridgeStatus::default() };
        let stage = Stage { over: Arc::default(), status: Arc::new(Mutex::new(status)) };
        let theirs = stage.clone();
        let thread = std::thread::Builder::new()
            .name(format!("audiocloud {}", name.to_lowercase()))
            .spawn(move || work(&theirs))
            .inspect_err(|error| {
                let trouble =
                    format!("no thread could be had ({error}); the process may have run out of them");
                stage.say("off", 0, Some(trouble));
            });
        Self { stage, thread: thread.ok() }
    }
}

impl Bridge for Worker {
    fn status(&self) -> BridgeStatus {
        let mut status = lock(&self.stage.status).clone();
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) && status.trouble.is_none() {
            status.trouble =
                Some("it has ended by a mistake of ours; switch it off and on, and please report it".into());
        }
        status
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stage.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic has been told by its hook, and the status says so.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_dropped_and_says_what_it_was_told() {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let worker = Worker::start("Test", move |stage| {
            stage.say("at work", 3, None);
            while !stage.is_over() {
                std::thread::yield_now();
            }
            told.store(true, Ordering::Release);
        });
        while worker.status().words != "at work" {
            std::thread::yield_now();
        }
        assert_eq!((worker.status().peers, worker.status().trouble), (3, None));
        drop(worker);
        assert!(ended.load(Ordering::Acquire), "it was not waited for");
    }

    #[test]
    fn one_that_returned_by_itself_is_in_trouble() {
        let worker = Worker::start("Test", |_| {});
        while worker.status().trouble.is_none() {
            std::thread::yield_now();
        }
    }
}
