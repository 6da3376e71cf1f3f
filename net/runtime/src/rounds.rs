//! What the network thread does again and again: for callbacks that wake it, for streams whose time has come, and now
//! and then.
//!
//! A thread that is woken costs more than what media makes it do, so what can wait a little is done in passing.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audiocloud_rt::wake::WakeReceiver;
use tokio::sync::Notify;

use crate::alarm::Alarm;
use crate::connection::Context;
use crate::status::lock;

const TICK: Duration = Duration::from_millis(50);
/// How long a tick waits for a callback or a datagram to go along with.
const TICK_WAITS: Duration = Duration::from_millis(10);
/// Round trips are shown anew after this many ticks.
const TICKS_PER_REFRESH: u32 = 5;

// ---- Now and then.

/// When what is not urgent is done: about every 50 ms.
#[derive(Debug)]
pub(crate) struct Ticks {
    next: Cell<Instant>,
    count: Cell<u32>,
    done: Notify,
}

impl Ticks {
    pub(crate) fn new() -> Self {
        Self { next: Cell::new(Instant::now() + TICK), count: Cell::new(0), done: Notify::new() }
    }
}

/// Does it if it is due. To be called whenever the thread is awake.
pub(crate) fn tick_in_passing(context: &Context) {
    let (ticks, now) = (&context.ticks, Instant::now());
    if now < ticks.next.get() {
        return;
    }
    ticks.next.set(now + TICK);
    ticks.done.notify_one();
    let mut hub = context.hub.borrow_mut();
    hub.tick();
    ticks.count.set((ticks.count.get() + 1) % TICKS_PER_REFRESH);
    if ticks.count.get() == 0 {
        hub.follow_migrations();
        hub.refresh();
        *lock(&hub.shared.meeting) = context.meeting.status();
    }
}

/// Does it where no traffic brings it about.
pub(crate) async fn tick(context: Rc<Context>) {
    loop {
        let alone = context.ticks.next.get() + TICK_WAITS;
        tokio::select! {
            () = tokio::time::sleep_until(alone.into()) => tick_in_passing(&context),
            () = context.ticks.done.notified() => {}
        }
    }
}

// ---- For streams that come in.

/// Wakes them when they have something to do.
pub(crate) async fn wake(context: Rc<Context>) {
    let moved = Arc::clone(&context.hub.borrow().alarm_moved);
    let mut alarm = match Alarm::new() {
        Ok(alarm) => alarm,
        Err(error) => {
            let line = format!("what is missing is asked for late: no timer: {error}");
            context.hub.borrow().shared.journal.note(&line);
            return;
        }
    };
    loop {
        let next = context.hub.borrow_mut().wake();
        let ring = async {
            match next {
                Some(at) => alarm.until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            rung = ring => if let Err(error) = rung {
                let line = format!("what is missing is asked for late: {error}");
                context.hub.borrow().shared.journal.note(&line);
                return;
            },
            () = moved.notified() => {}
        }
    }
}

// ---- For callbacks.

async fn drain(context: &Rc<Context>) {
    while context.hub.borrow_mut().pump() {
        // The connections send what they were given before they are given more.
        tokio::task::yield_now().await;
    }
    tick_in_passing(context);
}

/// Takes what callbacks leave when one of them says so.
#[cfg(target_os = "linux")]
pub(crate) async fn pump(context: Rc<Context>, wakes: WakeReceiver) {
    use std::future::poll_fn;
    use std::os::fd::AsFd;

    use crate::readiness::Readiness;

    let awaited = match Readiness::new(wakes.as_fd(), tokio::io::Interest::READABLE) {
        Ok(awaited) => awaited,
        Err(error) => {
            let line = format!("wakes of the callback cannot be waited for, so they are looked for: {error}");
            context.hub.borrow().shared.journal.note(&line);
            return poll(&context).await;
        }
    };
    // Each wake is an event of its own, whether those before it were drained or not: that would be a system call for
    // nothing.
    while let Ok(mut woken) = poll_fn(|waiting| awaited.poll_read(waiting)).await {
        woken.clear_ready();
        drain(&context).await;
    }
    poll(&context).await;
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn pump(context: Rc<Context>, wakes: WakeReceiver) {
    wakes.drain();
    poll(&context).await;
}

/// Looks into the rings every millisecond.
async fn poll(context: &Rc<Context>) {
    loop {
        drain(context).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
