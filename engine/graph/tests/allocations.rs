//! 100,000 random edits while callbacks run: none of them touches the heap in the callback, and all comes home.

mod stress;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use audiocloud_graph::controller::{CommitError, Config, Controller, play};
use audiocloud_graph::renderer::{Address, Status};
use audiocloud_rt::{callback, log, trap};
use audiocloud_units::SampleRate;
use stress::editor::{Act, Editor};
use stress::member::Sort;
use stress::stage::Stage;

#[global_allocator]
static TRAP: trap::Allocator = trap::Allocator;

const EDITS: u64 = 100_000;
/// Nodes in the long run, and once.
const NODES: usize = 60;
const NODES_ONCE: usize = 400;
const LOG: usize = 32;

fn config() -> Config {
    Config { crossfade_ms: 0.1, ..Config::new(SampleRate::new(48_000).unwrap()) }
}

/// All in one function: the count is the process's.
#[test]
fn callbacks_leave_the_heap_alone() {
    // RealtimeSanitizer would end the process here, as its own tests show.
    if !cfg!(feature = "rtsan") {
        let before = trap::violations();
        callback::enter(|_| drop(std::hint::black_box(Box::new(1))));
        assert_eq!(trap::violations() - before, 2, "the trap counts");
    }
    let before = trap::violations();
    random_edits();
    edits_beside_callbacks();
    assert_eq!(trap::violations() - before, 0);
}

/// A graph that is edited and played in turns.
struct Bench {
    editor: Editor,
    controller: Controller,
    stage: Stage,
    /// Nodes that events are for, some of them gone.
    addresses: Vec<Address>,
    /// The last one that was committed.
    edit: u64,
    costs_ns: Vec<u64>,
    committing: Duration,
}

impl Bench {
    fn new(seed: u64) -> (Self, log::Consumer) {
        let editor = Editor::new(seed);
        let (log, told) = log::log_ring(LOG);
        let (controller, renderer) = play(&editor.graph, config(), Some(log)).unwrap();
        let stage = Stage::new(renderer, seed);
        let (addresses, costs_ns) = (Vec::new(), Vec::new());
        let committing = Duration::ZERO;
        (Self { editor, controller, stage, addresses, edit: 1, costs_ns, committing }, told)
    }

    fn status(&self) -> Status {
        self.controller.status()
    }

    fn call(&mut self) {
        let taken = self.status().edit;
        self.stage.call(&self.addresses);
        let status = self.status();
        if status.edit > taken {
            self.costs_ns.push(status.edit_cost_ns);
        }
    }

    fn commit(&mut self) {
        loop {
            let began = Instant::now();
            let result = self.controller.commit(&self.editor.graph);
            self.committing += began.elapsed();
            match result {
                Ok(edit) => {
                    assert_eq!(edit, self.edit + 1);
                    self.edit = edit;
                    return;
                }
                Err(CommitError::Busy) => self.call(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// One random edit, and what may come with it.
    fn edit(&mut self) {
        self.editor.edit();
        self.commit();
        if self.editor.random.one_in(3) {
            self.editor.turn(&mut self.controller);
        }
        if self.editor.random.one_in(2) {
            let node = self.editor.random.pick(&self.editor.nodes);
            if let Some(address) = node.and_then(|node| self.controller.address(node)) {
                self.addresses.truncate(15);
                self.addresses.insert(0, address);
            }
        }
        if self.editor.random.one_in(100) {
            self.editor.nodes_max = 4 + self.editor.random.index(NODES - 3);
        }
        self.call();
    }

    /// Until all edits are taken and crossfaded; then no more processors are left than the graph has.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            let status = self.status();
            if status.edit == self.edit && !status.in_transition {
                break;
            }
            self.stage.call_plainly(64);
        }
        let status = self.status();
        assert!(status.edit == self.edit && !status.in_transition, "{status:?}");
        self.controller.collect();
        assert_eq!(self.editor.world.processors(), self.editor.members());
    }

    /// Overload until a slow node is bypassed; it is removed while it is.
    fn overload(&mut self) {
        let kept = [Sort::Meter, Sort::Oversampling, Sort::Slow].map(|sort| self.editor.keep(sort));
        self.commit();
        self.drain();
        self.editor.world.set_load(1_100);
        for _ in 0..20_000 {
            if self.status().nodes_bypassed > 0 {
                break;
            }
            self.stage.call_plainly(256);
            if self.editor.random.one_in(100) {
                self.editor.edit();
                if let Ok(edit) = self.controller.commit(&self.editor.graph) {
                    self.edit = edit;
                }
            }
        }
        self.editor.world.set_load(0);
        let status = self.status();
        assert!(status.meters_off && status.oversampling_off && status.nodes_bypassed > 0, "{status:?}");
        kept.iter().for_each(|key| self.editor.graph.remove(*key).unwrap());
        self.commit();
    }
}

fn random_edits() {
    let began = Instant::now();
    let (mut bench, mut told) = Bench::new(1);
    // Small at first, so that every table grows.
    bench.editor.nodes_max = 5;
    while bench.edit < 100 {
        bench.edit();
    }
    bench.editor.nodes_max = NODES_ONCE;
    while bench.editor.nodes.len() < NODES_ONCE {
        for _ in 0..10 {
            bench.editor.add();
        }
        bench.commit();
        bench.call();
    }
    bench.drain();
    while bench.editor.nodes.len() > NODES {
        for _ in 0..10 {
            bench.editor.remove();
        }
        bench.commit();
        bench.call();
    }
    bench.editor.nodes_max = NODES;
    while bench.edit < EDITS {
        bench.edit();
        if bench.edit.is_multiple_of(EDITS / 2) {
            bench.overload();
        }
    }
    bench.drain();
    let status = bench.status();
    let (bad, loudest, events) = bench.stage.heard();
    assert_eq!(bad, 0, "samples that are no numbers");
    assert!(loudest > 0.5 && events > 100, "{loudest} {events}");
    assert!(status.not_finite > 1_000 && status.events_refused > 1_000, "{status:?}");
    for (act, count) in Act::ALL.iter().zip(bench.editor.acts) {
        assert!(count > EDITS / 200, "{act:?}: {count}");
    }
    assert_eq!(std::iter::from_fn(|| told.pop()).count(), LOG, "the log is full");
    bench.costs_ns.sort_unstable();
    let cost_ns = |thousandths: usize| bench.costs_ns[thousandths * (bench.costs_ns.len() - 1) / 1_000];
    eprintln!(
        "{} edits in {:.1?}, {:.1?} of it for committing; taking one: median {} ns, 99.9 % {} ns, at worst {} ns; \
         {} callbacks, {} frames; {:?}",
        bench.edit,
        began.elapsed(),
        bench.committing,
        cost_ns(500),
        cost_ns(999),
        cost_ns(1_000),
        bench.stage.callbacks,
        bench.stage.frames,
        Act::ALL.iter().zip(bench.editor.acts).collect::<Vec<_>>(),
    );
    let Bench { editor, controller, stage, .. } = bench;
    drop(stage);
    drop(controller);
    assert_eq!(editor.world.processors(), 0);
}

/// The same with the callbacks in a thread of their own.
fn edits_beside_callbacks() {
    const EDITS: u64 = 2_000;
    let mut editor = Editor::new(2);
    editor.nodes_max = 30;
    let (mut controller, renderer) = play(&editor.graph, config(), None).unwrap();
    let mut stage = Stage::new(renderer, 2);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let audio = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                stage.call(&[]);
            }
        });
        for edit in 2..=EDITS {
            editor.edit();
            editor.turn(&mut controller);
            let taken = loop {
                match controller.commit(&editor.graph) {
                    Err(CommitError::Busy) => std::thread::yield_now(),
                    taken => break taken,
                }
            };
            assert_eq!(taken, Ok(edit));
        }
        while controller.status().edit < EDITS || controller.status().in_transition {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Release);
        audio.join().unwrap();
    });
    controller.collect();
    assert_eq!(editor.world.processors(), editor.members());
    assert_eq!(stage.heard().0, 0, "samples that are no numbers");
}
