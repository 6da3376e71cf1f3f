//! The cable between the two sites: takes frames from one, keeps them as long as the impairment says, gives them to the
//! other. Never drops ARP, counts frames and bytes of each way, and notes when it was itself late.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::impairment::{Fate, Impairment, Way};
use super::network::{Site, enter_middle};
use super::packet_socket::{PacketSocket, schedule_first_in_first_out};

/// Above JACK and everything that is measured.
const PRIORITY: i32 = 90;
/// Frames under way at most: a second of 100 Mbit/s in large frames.
const FRAMES_MAX: usize = 8192;
/// The longest frame of an interface with an MTU of 1,500, and some.
const FRAME_BYTES: usize = 2048;
/// How many frames of one side are taken before the other side has its turn.
const TURN: usize = 64;
/// Later than this the forwarder itself disturbs what is measured.
const LATE_NS: u64 = 1_000_000;
const LATE_NOTED_MAX: usize = 4096;
const ETHERTYPE: std::ops::Range<usize> = 12..14;
const ARP: [u8; 2] = [8, 6];
const IPV4: [u8; 2] = [8, 0];
/// Where an IPv4 packet in a frame names its protocol.
const PROTOCOL: usize = 23;
const TCP: u8 = 6;

/// What came one way.
#[derive(Debug, Default)]
struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    refused: AtomicU64,
    /// Bytes of TCP that were given to the other site.
    passed_tcp: AtomicU64,
    /// All others.
    passed_other: AtomicU64,
}

/// Bytes at layer 2 that reached B.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    pub(crate) tcp: u64,
    pub(crate) other: u64,
}

/// Frames and bytes at layer 2, as the sender gave them to the cable; lost by the impairment; refused by a full queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Traffic {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    pub(crate) refused: u64,
}

impl Traffic {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            frames: self.frames - before.frames,
            bytes: self.bytes - before.bytes,
            lost: self.lost - before.lost,
            refused: self.refused - before.refused,
        }
    }
}

/// A running forwarder; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Forwarder {
    stop: Arc<AtomicBool>,
    counters: Arc<[Counters; 2]>,
    thread: Option<JoinHandle<Result<Vec<i64>>>>,
}

impl Forwarder {
    /// Starts to forward, alike both ways. The impairment's time begins now.
    pub(crate) fn start(impairment: Impairment, seed: u64) -> Result<Self> {
        Self::start_unlike([impairment; 2], seed)
    }

    /// With one impairment for what comes from A, and one for what comes from B.
    pub(crate) fn start_unlike(impairments: [Impairment; 2], seed: u64) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let counters: Arc<[Counters; 2]> = Arc::default();
        let thread = std::thread::Builder::new().name("forwarder".into()).spawn({
            let (stop, counters) = (Arc::clone(&stop), Arc::clone(&counters));
            move || Run::new(impairments, seed, counters)?.forward(&stop)
        })?;
        Ok(Self { stop, counters, thread: Some(thread) })
    }

    /// What came so far: from A, from B.
    pub(crate) fn traffic(&self) -> [Traffic; 2] {
        self.counters.each_ref().map(|counters| Traffic {
            frames: counters.frames.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            lost: counters.lost.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
        })
    }

    /// What reached B so far.
    pub(crate) fn passed(&self) -> Passed {
        let [from_a, _] = &*self.counters;
        Passed {
            tcp: from_a.passed_tcp.load(Ordering::Relaxed),
            other: from_a.passed_other.load(Ordering::Relaxed),
        }
    }

    /// Ends, and tells when (`CLOCK_MONOTONIC`, ns) frames left more than a millisecond later than they should.
    pub(crate) fn finish(mut self) -> Result<Vec<i64>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the forwarder ends once")?;
        thread.join().map_err(|_| anyhow!("the forwarder panicked"))?
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What went wrong in it no longer matters to whoever gave up.
            drop(thread.join());
        }
    }
}

/// A frame under way. In order of time, then of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due_ns: u64,
    order: u64,
    to: usize,
    slot: usize,
    length: usize,
}

struct Run {
    sockets: [PacketSocket; 2],
    ways: [Way; 2],
    counters: Arc<[Counters; 2]>,
    slots: Vec<[u8; FRAME_BYTES]>,
    free: Vec<usize>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    order: u64,
    began_ns: u64,
    late_at_ns: Vec<i64>,
}

impl Run {
    fn new([from_a, from_b]: [Impairment; 2], seed: u64, counters: Arc<[Counters; 2]>) -> Result<Self> {
        enter_middle()?;
        schedule_first_in_first_out(PRIORITY)?;
        let open = |site: Site| PacketSocket::open(site.middle_interface());
        Ok(Self {
            sockets: [open(Site::A)?, open(Site::B)?],
            ways: [Way::new(from_a, 2 * seed), Way::new(from_b, 2 * seed + 1)],
            counters,
            slots: vec![[0; FRAME_BYTES]; FRAMES_MAX],
            free: (0..FRAMES_MAX).collect(),
            waiting: BinaryHeap::with_capacity(FRAMES_MAX),
            order: 0,
            began_ns: now_ns(),
            late_at_ns: Vec::with_capacity(LATE_NOTED_MAX),
        })
    }

    fn forward(mut self, stop: &AtomicBool) -> Result<Vec<i64>> {
        while !stop.load(Ordering::Relaxed) {
            self.wait()?;
            for from in 0..2 {
                self.take(from)?;
            }
            self.give();
        }
        Ok(self.late_at_ns)
    }

    /// Waits for a frame to come or to be due.
    fn wait(&self) -> Result<()> {
        let longest = Duration::from_millis(100);
        let left = self.waiting.peek().map(|Reverse(next)| next.due_ns.saturating_sub(now_ns()));
        let timeout = left.map_or(longest, |ns| Duration::from_nanos(ns).min(longest));
        let timeout = Timespec::try_from(timeout)?;
        let mut ends = self.sockets.each_ref().map(|socket| PollFd::new(socket, PollFlags::IN));
        poll(&mut ends, Some(&timeout))?;
        Ok(())
    }

    fn take(&mut self, from: usize) -> Result<()> {
        for _ in 0..TURN {
            // Without a free slot frames wait in the kernel, whose queue is long.
            let Some(&slot) = self.free.last() else { return Ok(()) };
            let frame = &mut self.slots[slot];
            let Some(length) = self.sockets[from].receive(frame)? else { return Ok(()) };
            if length > FRAME_BYTES {
                continue;
            }
            let counters = &self.counters[from];
            counters.frames.fetch_add(1, Ordering::Relaxed);
            counters.bytes.fetch_add(u64::try_from(length)?, Ordering::Relaxed);
            let now_ns = now_ns();
            let due_ns = if length >= ETHERTYPE.end && frame[ETHERTYPE] == ARP {
                now_ns
            } else {
                match self.ways[from].fate(milliseconds(now_ns - self.began_ns), length) {
                    Fate::Due { ms } => self.began_ns + nanoseconds(ms),
                    Fate::Lost => {
                        counters.lost.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    Fate::Refused => {
                        counters.refused.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                }
            };
            self.free.pop();
            self.order += 1;
            self.waiting.push(Reverse(Waiting { due_ns, order: self.order, to: 1 - from, slot, length }));
        }
        Ok(())
    }

    fn give(&mut self) {
        let now_ns = now_ns();
        while let Some(&Reverse(next)) = self.waiting.peek().filter(|Reverse(next)| next.due_ns <= now_ns) {
            self.waiting.pop();
            if now_ns - next.due_ns > LATE_NS && self.late_at_ns.len() < LATE_NOTED_MAX {
                self.late_at_ns.push(i64::try_from(now_ns).unwrap_or(i64::MAX));
            }
            // A frame that the kernel refuses is lost, as on any wire; its link is 10 Gbit/s, so that none is.
            let frame = &self.slots[next.slot][..next.length];
            self.sockets[next.to].send(frame);
            let counters = &self.counters[1 - next.to];
            let tcp = frame.get(ETHERTYPE) == Some(&IPV4) && frame.get(PROTOCOL) == Some(&TCP);
            let passed = if tcp { &counters.passed_tcp } else { &counters.passed_other };
            passed.fetch_add(u64::try_from(next.length).unwrap_or(0), Ordering::Relaxed);
            self.free.push(next.slot);
        }
    }
}

/// `CLOCK_MONOTONIC`.
fn now_ns() -> u64 {
    let time = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "hours in nanoseconds fit 53 bits")]
fn milliseconds(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time to come, at most hours")]
fn nanoseconds(ms: f64) -> u64 {
    (ms * 1e6) as u64
}
