//! An edge is added to a graph that plays: what that costs on either thread.
//!
//! Each side has its thread. In life they mostly run on a core each, and what is handed over has to come from the other
//! core's caches; on one core it is at hand, and what remains is the work. Both are measured, where Linux lets us
//! choose. Each time is of one call, not of many, so the clock's cost is taken off with that of a call without an edit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

use audiocloud_rt::{callback, trap};

use super::{aether, firewheel, fundsp, limits, ours};
use crate::measure::{in_turn, median, nanoseconds, thread_time};
use crate::table::{Row, Target};

const NODES: usize = 1000;
/// Edges added; each is removed again.
const EDITS: u32 = 200;
/// Blocks after each request, until what it set off is over: crossfades, and what goes home.
const BLOCKS_AFTER: u32 = 16;

/// What the control thread is asked to do before the next block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Nothing,
    /// An edge from the first node to the second input of the last.
    Add,
    Remove,
}

impl Request {
    /// In this order, again and again.
    const ORDER: [Self; 3] = [Self::Nothing, Self::Add, Self::Remove];

    fn nth(index: u32) -> Self {
        match index % 3 {
            0 => Self::ORDER[0],
            1 => Self::ORDER[1],
            _ => Self::ORDER[2],
        }
    }
}

/// What an edge costs.
pub(super) struct Cost {
    /// Of the block that takes it, beyond a block that has nothing to take.
    audio_ns: f64,
    /// In that block, at most.
    audio_heap_operations: u64,
    control_ns: f64,
}

/// Keeps this thread to the first (0) or another of the cores that it may use, where there are as many.
#[cfg(target_os = "linux")]
fn keep_to_core(number: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return };
    if let Some(core) = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).nth(number) {
        let mut only = CpuSet::new();
        only.set(core);
        // Refused, the thread goes where the system puts it.
        sched_setaffinity(None, &only).ok();
    }
}

#[cfg(not(target_os = "linux"))]
fn keep_to_core(_: usize) {}

/// The times of calls, told apart by what was asked for.
#[derive(Default)]
struct Times {
    idle_ns: f64,
    beyond_idle_ns: Vec<f64>,
}

impl Times {
    fn measure(&mut self, request: Request, call: impl FnOnce()) {
        let start = thread_time();
        call();
        let time_ns = nanoseconds(thread_time() - start);
        match request {
            Request::Nothing => self.idle_ns = time_ns,
            Request::Add => self.beyond_idle_ns.push(time_ns - self.idle_ns),
            Request::Remove => {}
        }
    }

    fn median_ns(self) -> f64 {
        median(self.beyond_idle_ns).expect("there were edits")
    }
}

/// Where the two sides run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cores {
    Two,
    One,
}

/// Edits and plays in turn. `build` makes the control side, which stays on its thread, and the block, which leaves it.
pub(super) fn cost<C, A>(cores: Cores, build: impl FnOnce(usize) -> (C, A) + Send) -> Cost
where
    C: FnMut(Request),
    A: FnMut() + Send,
{
    let (asked, answered) = (&AtomicU32::new(0), &AtomicU32::new(0));
    let wait = |turn: &AtomicU32, index, meanwhile: fn()| {
        while turn.load(Ordering::Acquire) < index {
            meanwhile();
        }
    };
    let requests = 3 * EDITS;
    let (sender, receiver) = mpsc::channel();
    let control = move || {
        keep_to_core(0);
        let (mut control, block) = build(NODES);
        sender.send(block).expect("the audio side waits for it");
        let mut times = Times::default();
        for index in 0..requests {
            wait(asked, index + 1, thread::yield_now);
            let request = Request::nth(index);
            times.measure(request, || control(request));
            answered.store(index + 1, Ordering::Release);
        }
        // It may own what the last block uses.
        wait(asked, requests + 1, thread::yield_now);
        times.median_ns()
    };
    let audio = move || {
        keep_to_core(if cores == Cores::Two { 1 } else { 0 });
        let mut block: A = receiver.recv().expect("the control side makes it");
        let (mut times, mut heap_operations) = (Times::default(), 0);
        for index in 0..requests {
            (0..BLOCKS_AFTER).for_each(|_| block());
            asked.store(index + 1, Ordering::Release);
            // Who gives the core away finds its caches full of others' things, but the control side may need it.
            let meanwhile = if cores == Cores::Two { std::hint::spin_loop } else { thread::yield_now };
            wait(answered, index + 1, meanwhile);
            let request = Request::nth(index);
            let mut operations = 0;
            times.measure(request, || {
                let before = trap::violations();
                block();
                operations = trap::violations() - before;
            });
            if request == Request::Add {
                heap_operations = heap_operations.max(operations);
            }
        }
        drop(block);
        asked.store(requests + 1, Ordering::Release);
        (times.median_ns(), heap_operations)
    };
    thread::scope(|scope| {
        let control = scope.spawn(control);
        let audio = scope.spawn(move || callback::enter(|_| audio()));
        let (audio_ns, audio_heap_operations) = audio.join().expect("blocks do not panic");
        let control_ns = control.join().expect("edits do not panic");
        Cost { audio_ns, audio_heap_operations, control_ns }
    })
}

pub(super) fn rows() -> Vec<Row> {
    let costs = |cores| {
        [
            ("ours", cost(cores, ours::edits)),
            ("aether", cost(cores, aether::edits)),
            ("fundsp", cost(cores, fundsp::edits)),
            ("firewheel", cost(cores, firewheel::edits)),
        ]
    };
    let (two, one) = (costs(Cores::Two), costs(Cores::One));
    let row = |name, unit, costs: &[(&'static str, Cost)], of: fn(&Cost) -> f64, limit, target| {
        let (ours, peers) = costs.split_first().expect("ours is among them");
        let peers: BTreeMap<_, _> = peers.iter().map(|(name, cost)| (*name, of(cost))).collect();
        Row::new(name, unit, Some(of(&ours.1)), peers, limit, target)
    };
    let mut exchange = [limits::exchange()];
    let exchange_ns = in_turn(&mut exchange)[0];
    let exchange = Some((exchange[0].name, exchange_ns));
    let audio = |cost: &Cost| cost.audio_ns;
    vec![
        row(
            "an edge into 1000 nodes: audio thread",
            "ns",
            &two,
            audio,
            exchange,
            Some(Target::Maximum(5_000.0)),
        ),
        row(
            "an edge into 1000 nodes: heap operations there",
            "operations",
            &two,
            |cost| count(cost.audio_heap_operations),
            None,
            Some(Target::Maximum(0.0)),
        ),
        row("an edge from the same core: audio thread", "ns", &one, audio, exchange, None),
        row("an edge into 1000 nodes: control thread", "ns", &two, |cost| cost.control_ns, None, None),
    ]
}

fn count(operations: u64) -> f64 {
    u32::try_from(operations).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::sync::Arc;

    #[test]
    fn what_the_callback_does_for_an_edit_is_told_apart() {
        let mail = Arc::new(AtomicU32::new(0));
        let build = |_| {
            let letter = Arc::clone(&mail);
            let control = move |request| {
                if request == Request::Add {
                    letter.store(1, Ordering::Release);
                }
            };
            let block = || {
                if mail.swap(0, Ordering::AcqRel) == 1 {
                    drop(black_box(Box::new(1)));
                    (0..100_000).for_each(|n| assert!(black_box(n) >= 0));
                }
            };
            (control, block)
        };
        let cost = cost(Cores::One, build);
        assert_eq!(cost.audio_heap_operations, 2);
        assert!(cost.audio_ns > 10_000.0, "{}", cost.audio_ns);
    }
}
