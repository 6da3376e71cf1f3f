//! The plug-in's audio thread: waits for blocks, answers them, and says how long that took.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use audiocloud_rt::{callback, host_time, priority};
use clack_host::prelude::StoppedPluginAudioProcessor;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::callbacks::Host;
use super::voice::Voice;
use crate::description::{Description, Tail};
use crate::hop;
use crate::shared::Shared;

/// How often it looks whether it is to stop.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long a plug-in may take to begin.
const BEGINS: Duration = Duration::from_secs(20);

/// What it says of itself, once it runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) tail: Tail,
    pub(super) realtime: bool,
}

/// A running audio thread.
pub(super) struct AudioThread {
    thread: JoinHandle<Vec<StoppedPluginAudioProcessor<Host>>>,
    orders: Arc<Orders>,
    news: mpsc::Receiver<Tail>,
}

/// Between the two threads.
#[derive(Debug, Default)]
struct Orders {
    stop: AtomicBool,
    /// Whether the last block was one that nobody listens to.
    offline: AtomicBool,
}

impl AudioThread {
    /// Starts it, and waits until the plug-in runs.
    pub(super) fn start(
        shared: &Arc<Shared>,
        wake: &Arc<OwnedFd>,
        processors: Vec<StoppedPluginAudioProcessor<Host>>,
        description: Description,
        priority: Option<u8>,
    ) -> Result<(Self, Running), String> {
        let orders = Arc::new(Orders::default());
        let (say, said) = mpsc::channel();
        let (tell, news) = mpsc::channel();
        let worker =
            Worker { shared: Arc::clone(shared), wake: Arc::clone(wake), orders: Arc::clone(&orders), tell };
        let body = move || {
            let realtime = priority.is_some_and(|priority| priority::realtime(priority).is_ok());
            worker.run(processors, &description, &|tail| {
                say.send(Running { tail, realtime }).ok();
            })
        };
        let thread = thread::Builder::new().name("plug-in audio".into()).spawn(body);
        let thread = thread.map_err(|error| format!("no thread for its audio: {error}"))?;
        match said.recv_timeout(BEGINS) {
            Ok(running) => Ok((Self { thread, orders, news }, running)),
            Err(_) => Err("it does not begin to process".into()),
        }
    }

    /// Ends it, and gives back what it worked with.
    pub(super) fn stop(self) -> Vec<StoppedPluginAudioProcessor<Host>> {
        self.orders.stop.store(true, Ordering::Release);
        self.thread.join().unwrap_or_default()
    }

    pub(super) fn is_offline(&self) -> bool {
        self.orders.offline.load(Ordering::Relaxed)
    }

    /// Another tail than before.
    pub(super) fn tail(&self) -> Option<Tail> {
        self.news.try_iter().last()
    }
}

struct Worker {
    shared: Arc<Shared>,
    wake: Arc<OwnedFd>,
    orders: Arc<Orders>,
    tell: Sender<Tail>,
}

impl Worker {
    fn run(
        self,
        processors: Vec<StoppedPluginAudioProcessor<Host>>,
        description: &Description,
        say: &dyn Fn(Tail),
    ) -> Vec<StoppedPluginAudioProcessor<Host>> {
        let (mut voices, mut stopped) = (Vec::new(), Vec::new());
        let several = processors.len() > 1;
        for (index, processor) in processors.into_iter().enumerate() {
            match processor.start_processing() {
                Ok(started) => voices.push(Voice::new(started, description, several.then_some(index))),
                Err(refused) => stopped.push(refused.into_stopped_processor()),
            }
        }
        if stopped.is_empty()
            && let Some(first) = voices.first_mut()
        {
            say(first.tail());
            self.serve(&mut voices);
        }
        stopped.extend(voices.into_iter().map(Voice::stop));
        stopped
    }

    fn serve(&self, voices: &mut [Voice]) {
        let mut next = self.shared.done();
        while !self.orders.stop.load(Ordering::Acquire) {
            self.wait();
            while next < self.shared.submitted() && !self.orders.stop.load(Ordering::Acquire) {
                let submitted_at = self.answer(next, voices);
                next += 1;
                self.shared.set_done(next);
                hop::note(self.shared.turns(), now().saturating_sub(submitted_at));
            }
            if let Some(first) = voices.first_mut().filter(|voice| voice.tail_changed()) {
                self.tell.send(first.tail()).ok();
            }
        }
    }

    /// Answers one block; when it was submitted, for by then its slot may be another's.
    fn answer(&self, number: u64, voices: &mut [Voice]) -> u64 {
        let (slot, shape) = (self.shared.slot(number), self.shared.shape());
        let head = slot.head();
        let submitted_at = slot.submitted_at();
        hop::note(self.shared.wakes(), now().saturating_sub(submitted_at));
        self.orders.offline.store(head.offline, Ordering::Relaxed);
        callback::flushing(|| {
            for (index, voice) in voices.iter_mut().enumerate() {
                if !voice.answer(slot, &head, shape, index == 0) {
                    self.shared.count_error();
                }
            }
        });
        submitted_at
    }

    fn wait(&self) {
        let mut fds = [PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)];
        if poll(&mut fds, Some(&LOOK)).is_ok_and(|ready| ready > 0) {
            let mut count = [0; 8];
            // Another wake may have been taken with the last one: then there is nothing, and it does not block.
            rustix::io::read(&*self.wake, &mut count).ok();
        }
    }
}

fn now() -> u64 {
    u64::try_from(host_time::now().get()).unwrap_or(0)
}
