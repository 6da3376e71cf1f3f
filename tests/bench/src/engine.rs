//! The engine: blocks of 64 frames of one channel at 48 kHz, through run-time graphs.
//!
//! A peer gets the cheapest honest form of each task, and nodes made here where it brings none. Its input is a constant,
//! and only the last of independent nodes is listened to, which saves it work; of ours, all are summed.

mod aether;
mod edit;
mod firewheel;
mod fundsp;
mod kernels;
mod limits;
mod ours;

use std::hint::black_box;

use crate::measure::{Contestant, in_turn};
use crate::table::{Row, Target};

const SAMPLE_RATE_HZ: u32 = 48_000;
const FRAMES: usize = 64;
type Block = [f32; FRAMES];

/// The constant that every graph is fed.
const INPUT: f32 = 0.5;

/// A block that begins a line of the cache, so that where it happens to lie favours nobody.
#[derive(Clone)]
#[repr(align(64))]
struct Aligned(Block);

impl AsMut<[f32]> for Aligned {
    fn as_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

/// What each node of a graph does with its 64 frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Writes them, whatever came in.
    Nothing,
    Gain,
    Biquad,
}

/// How a graph's nodes are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Chain,
    /// Each is fed from the graph's input.
    Independent,
}

/// One row to be: who competes, and what the machine allows.
struct Contest {
    name: &'static str,
    target: Option<Target>,
    ours: Option<Contestant>,
    peers: Vec<Contestant>,
    /// What the machine cannot do the work without; the slowest is the limit.
    limits: Vec<Contestant>,
}

impl Contest {
    fn run(self) -> Row {
        let Self { name, target, ours, peers, limits } = self;
        let (has_ours, peer_count) = (usize::from(ours.is_some()), peers.len());
        let mut all: Vec<Contestant> = ours.into_iter().chain(peers).chain(limits).collect();
        let times = in_turn(&mut all);
        let named: Vec<(&'static str, f64)> =
            all.iter().map(|contestant| contestant.name).zip(times).collect();
        let (ours, others) = named.split_at(has_ours);
        let (peers, limits) = others.split_at(peer_count);
        let limit = limits.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        let ours = ours.first().map(|(_, time)| *time);
        Row::new(name, "ns", ours, peers.iter().copied().collect(), limit, target)
    }
}

/// The same graph in each engine.
fn graphs(
    name: &'static str,
    shape: Shape,
    work: Work,
    nodes: usize,
    target: Option<Target>,
    limits: Vec<Contestant>,
) -> Contest {
    let peers = vec![
        player("aether", aether::graph(shape, work, nodes)),
        player("fundsp", fundsp::graph(shape, work, nodes)),
        player("firewheel", firewheel::graph(shape, work, nodes)),
    ];
    let ours = Some(player("ours", ours::graph(shape, work, nodes)));
    Contest { name, target, ours, peers, limits }
}

/// A graph that plays a block and shows its last sample.
fn player(name: &'static str, mut block: impl FnMut() -> f32 + 'static) -> Contestant {
    Contestant::new(name, move || {
        black_box(block());
    })
}

/// What writes a block.
fn filler(name: &'static str, mut fill: impl FnMut(&mut Block) + 'static) -> Contestant {
    let mut block = Aligned([0.0; FRAMES]);
    Contestant::new(name, move || fill(black_box(&mut block.0)))
}

fn ratio(most: f64) -> Option<Target> {
    Some(Target::RatioToBestPeer(most))
}

fn contests() -> Vec<Contest> {
    use Shape::{Chain, Independent};
    vec![
        graphs(
            "1000 no-op nodes in a chain",
            Chain,
            Work::Nothing,
            1000,
            ratio(0.75),
            vec![limits::dispatch(1000), limits::stores(1000)],
        ),
        graphs("100 gains in a chain", Chain, Work::Gain, 100, ratio(0.5), vec![limits::gains(100)]),
        graphs(
            "100 biquads in a chain",
            Chain,
            Work::Biquad,
            100,
            ratio(1.0),
            vec![limits::biquads_in_vectors(100)],
        ),
        graphs(
            "100 independent biquads",
            Independent,
            Work::Biquad,
            100,
            ratio(0.25),
            vec![limits::biquads_in_vectors(100)],
        ),
        Contest {
            name: "a ramp over 64 frames",
            target: ratio(0.15),
            ours: Some(filler("ours", ours::ramp())),
            peers: vec![
                filler("aether", aether::ramp()),
                player("fundsp", fundsp::ramp()),
                filler("firewheel", firewheel::ramp()),
            ],
            limits: vec![filler("stores", |block| block.fill(0.0))],
        },
        Contest {
            name: "1000 inserts into a new arena, and removals",
            target: ratio(1.0),
            ours: Some(ours::arena()),
            peers: vec![aether::arena()],
            limits: vec![limits::list(1000)],
        },
    ]
}

/// Rows without a target: a graph that does next to nothing, and kernels without any graph around them.
fn informative() -> Vec<Contest> {
    let alone = |name, ours, limits| Contest { name, target: None, ours, peers: Vec::new(), limits };
    vec![
        graphs("one gain", Shape::Chain, Work::Gain, 1, None, vec![limits::gains(1)]),
        alone(
            "without a graph: 100 biquads in series",
            Some(ours::series(100)),
            vec![limits::biquads_in_vectors(100)],
        ),
        alone(
            "without a graph: a bank of 100 biquads",
            Some(ours::bank(100)),
            vec![limits::biquads_in_vectors(100)],
        ),
        alone("without a graph: 100 scalar biquads in series", None, vec![limits::biquads_in_series(100)]),
        Contest {
            peers: vec![player("fundsp", fundsp::banks())],
            ..alone("fused by the user: 104 biquads in 13 nodes of 8", None, Vec::new())
        },
    ]
}

/// Measures every row of the engine.
pub(crate) fn measure() -> Vec<Row> {
    // Flushes denormals for everyone, and lets this thread's heap operations be counted.
    audiocloud_rt::callback::enter(|_| {
        let mut rows: Vec<Row> = contests().into_iter().map(Contest::run).collect();
        rows.extend(edit::rows());
        rows.extend(informative().into_iter().map(Contest::run));
        rows
    })
}

#[cfg(test)]
mod tests;
