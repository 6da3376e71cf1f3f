//! A graph that has too little time: who is found to be slow, what is given up for it, and how that sounds.
//!
//! A period is as many frames as a callback plays; nothing here waits for it to pass. So a slow callback takes as long as
//! it is made to, a fast one next to nothing, and minutes of calm pass in a moment.

mod bed;
mod stress;

use audiocloud_graph::controller::{Config, Controller, play};
use audiocloud_graph::event::Body;
use audiocloud_graph::graph::{Graph, NodeKey};
use audiocloud_graph::node::{Activation, Behaviour, Block, Kernel, Layout, Node, Processor, Shed};
use audiocloud_graph::nodes::Gain;
use audiocloud_graph::renderer::{Call, Ports, Renderer};
use audiocloud_rt::callback;
use audiocloud_rt::log::{self, What};
use bed::{Custom, Late, rate};
use stress::member::{Member, Sort, World};

/// Frames of a callback: 2.7 ms at 48 kHz, far above what this machine needs for anything but spinning.
const BLOCK: usize = 128;
/// A load that is too high, in thousandths.
const OVERLOAD: u32 = 1_100;
/// −60 dBFS.
const INAUDIBLE: f64 = 1e-3;

/// Halves what came in 100 frames ago, and takes as long as the world wants.
#[derive(Debug)]
struct Slow {
    late: Late,
    spins: Member,
}

impl Slow {
    const LATENCY: u32 = 100;

    fn new(world: &World, shed: Shed) -> Self {
        let spins = Member { world: world.clone(), sort: Sort::Slow, channels: 1, fault_grids: 0 };
        Self { late: Late { shed, ..Late::new(1, Self::LATENCY) }, spins }
    }
}

impl Node for Slow {
    fn kind(&self) -> &'static str {
        "slow"
    }

    fn layout(&self) -> Layout {
        self.late.layout()
    }

    fn behaviour(&self) -> Behaviour {
        self.late.behaviour()
    }

    fn latency_frames(&self, activation: &Activation) -> u32 {
        self.late.latency_frames(activation)
    }

    fn kernel(&self, activation: &Activation) -> Kernel {
        let processor = |kernel| match kernel {
            Kernel::Processor(processor) => processor,
            Kernel::Gain | Kernel::Biquad(_) => unreachable!("both are processors"),
        };
        let late = processor(self.late.kernel(activation));
        Kernel::Processor(Box::new(SlowProcessor { late, spins: processor(self.spins.kernel(activation)) }))
    }
}

#[derive(Debug)]
struct SlowProcessor {
    late: Box<dyn Processor>,
    spins: Box<dyn Processor>,
}

impl Processor for SlowProcessor {
    fn process(&mut self, block: &mut Block<'_>) {
        self.late.process(block);
        block.output(0).iter_mut().for_each(|sample| *sample *= 0.5);
        self.spins.process(block);
    }

    fn reset(&mut self) {
        self.late.reset();
        self.spins.reset();
    }
}

/// A host that plays a signal for as long as it likes, and keeps what it hears of it.
struct Bench {
    graph: Graph,
    controller: Controller,
    renderer: Renderer,
    told: log::Consumer,
    host: Host,
    world: World,
}

#[derive(Default)]
struct Host {
    played: u32,
    heard: Vec<f32>,
}

/// What the host plays, `late` frames ago: a low sine at −6 dBFS, and another that makes it less regular.
fn signal(frame: usize, late: u32) -> f32 {
    let seconds = (frame as f64 - f64::from(late)) / 48_000.0;
    let sine = |hz: f64| (seconds * hz * std::f64::consts::TAU).sin();
    let signal = 0.5 * sine(100.0) + 0.2 * sine(331.7);
    #[allow(clippy::cast_possible_truncation, reason = "rounded to a sample")]
    let sample = signal as f32;
    sample
}

impl Ports for Host {
    fn read(&mut self, _bus: usize, _channel: usize, from: usize, samples: &mut [f32]) {
        for (frame, sample) in (self.played as usize + from..).zip(samples) {
            *sample = signal(frame, 0);
        }
    }

    fn write(&mut self, _bus: usize, _channel: usize, _from: usize, samples: &[f32]) {
        self.heard.extend_from_slice(samples);
    }

    fn event(&mut self, _offset: usize, _body: &Body) {}
}

impl Bench {
    /// Mono nodes in a row, by name.
    fn new(world: World, nodes: Vec<(&str, Box<dyn Node>)>) -> (Self, Vec<NodeKey>) {
        let mut graph = Graph::new(&[1], &[1]).unwrap();
        let keys: Vec<NodeKey> =
            nodes.into_iter().map(|(name, node)| graph.add_boxed(name, node).unwrap()).collect();
        let path = [&[graph.input()], &keys[..], &[graph.output()]].concat();
        for pair in path.windows(2) {
            graph.connect_audio((pair[0], 0), (pair[1], 0)).unwrap();
        }
        let (log, told) = log::log_ring(4_096);
        let (controller, renderer) = play(&graph, Config::new(rate()), Some(log)).unwrap();
        (Self { graph, controller, renderer, told, host: Host::default(), world }, keys)
    }

    fn member(&self, sort: Sort) -> Box<dyn Node> {
        member(&self.world, sort)
    }

    fn call(&mut self, offline: bool) {
        let host = &mut self.host;
        callback::enter(|callback| {
            let call = Call { callback, transport: None, offline, events: &[] };
            self.renderer.process(&call, BLOCK, host);
        });
        self.host.played += u32::try_from(BLOCK).unwrap();
    }

    /// Calls until that is so, for so long at most. How long it took, in frames.
    fn until(&mut self, seconds: u32, what: impl Fn(&Controller) -> bool) -> u32 {
        let from = self.host.played;
        while !what(&self.controller) {
            let played = self.host.played - from;
            assert!(played < seconds * 48_000, "{:?} {:?}", self.controller.status(), self.said());
            self.call(false);
        }
        self.host.played - from
    }

    /// What the log says, but for the loads.
    fn said(&mut self) -> Vec<String> {
        let entries = std::iter::from_fn(|| self.told.pop()).filter(|entry| entry.what != What::Load);
        entries.filter_map(|entry| self.controller.explain(&entry)).collect()
    }
}

fn member(world: &World, sort: Sort) -> Box<dyn Node> {
    Box::new(Member { world: world.clone(), sort, channels: 1, fault_grids: 0 })
}

/// By how much the second difference of what was heard, which is what a click stands out in, is off at any frame from
/// where it could be while `slow` becomes `bypassed` or the other way round: between those of the two.
fn discontinuity(heard: &[f32]) -> f64 {
    let late = |frame: usize| f64::from(signal(frame, Slow::LATENCY));
    let second = |before: f64, at: f64, after: f64| before - 2.0 * at + after;
    let mut worst = 0.0_f64;
    for (index, heard) in heard.windows(3).enumerate().skip(Slow::LATENCY as usize) {
        let [before, at, after] = [heard[0], heard[1], heard[2]].map(f64::from);
        let heard = second(before, at, after);
        let bypassed = second(late(index), late(index + 1), late(index + 2));
        let slow = 0.5 * bypassed;
        worst = worst.max(heard - bypassed.max(slow)).max(bypassed.min(slow) - heard);
    }
    worst
}

#[test]
fn the_measure_hears_a_hard_switch() {
    let switched = |at: usize| -> Vec<f32> {
        let gain = |frame| if frame < at { 0.5 } else { 1.0 };
        (0..6_000).map(|frame| gain(frame) * signal(frame, Slow::LATENCY)).collect()
    };
    assert!(discontinuity(&switched(0)) < 1e-6 && discontinuity(&switched(6_000)) < 1e-6);
    // Near a zero crossing one hears less of it.
    let found = (1_000..5_000).step_by(37).filter(|at| discontinuity(&switched(*at)) > INAUDIBLE).count();
    assert!(found > 100, "{found} of 109");
}

#[test]
fn a_slow_node_is_found_named_shed_and_restored() {
    let world = World::default();
    let nodes: Vec<(&str, Box<dyn Node>)> = vec![
        ("quick", Box::new(Late { shed: Shed::Bypass, ..Late::new(1, 0) })),
        ("meter", member(&world, Sort::Meter)),
        ("shaper", member(&world, Sort::Oversampling)),
        ("reverb", Box::new(Slow::new(&world, Shed::Bypass))),
    ];
    let (mut bench, _) = Bench::new(world, nodes);
    bench.until(1, |controller| controller.status().position > 10_000);
    let began = bench.host.heard.len();
    bench.world.set_load(OVERLOAD);
    bench.until(3, |controller| controller.status().nodes_bypassed == 1);
    let shed = bench.host.heard.len();
    bench.world.set_load(0);
    assert_eq!(
        bench.said(),
        [
            "change 1 plays",
            "meters stopped, for this computer is too slow",
            "oversampling is off, for this computer is too slow",
            "“reverb” is bypassed, for this computer is too slow",
        ]
    );
    let status = bench.controller.status();
    assert!(status.meters_off && status.oversampling_off && status.load.over > 0, "{status:?}");
    assert_eq!(bench.world.oversampling_changes(), 1);
    // What was dear is tried again after 10 s of calm, all else after 2 s.
    let waited = bench.until(60, |controller| controller.status().nodes_bypassed == 0);
    assert!(waited > 10 * 48_000, "{waited}");
    let restored = bench.host.heard.len();
    bench.until(60, |controller| !controller.status().oversampling_off);
    bench.until(60, |controller| !controller.status().meters_off);
    let expected = ["“reverb” is heard again", "oversampling is on again", "meters run again"];
    assert_eq!(bench.said(), expected);
    assert_eq!(bench.world.oversampling_changes(), 2);
    let heard = &bench.host.heard;
    let late = |frame: usize| signal(frame, Slow::LATENCY);
    let is = |gain: f32, mut frames: std::ops::Range<usize>| {
        frames.all(|frame| heard[frame] == gain * late(frame))
    };
    assert!(is(0.5, began..shed), "as it should while it is slow");
    assert!(is(1.0, shed + 1_000..restored), "as it came in, and as late, while it is bypassed");
    assert!(is(0.5, restored + 1_000..heard.len()), "as before when it is back");
    let discontinuity = discontinuity(heard);
    assert!(discontinuity < INAUDIBLE, "{discontinuity}");
    eprintln!(
        "overload for {:.2} s, discontinuity {:.1} dBFS",
        (shed - began) as f64 / 48_000.0,
        20.0 * discontinuity.log10()
    );
}

#[test]
fn offline_nothing_is_shed_and_all_is_restored_at_once() {
    let world = World::default();
    let reverb: Box<dyn Node> = Box::new(Slow::new(&world, Shed::Bypass));
    let (mut bench, _) = Bench::new(world, vec![("reverb", reverb)]);
    bench.world.set_load(OVERLOAD);
    let shed_after = bench.until(3, |controller| controller.status().nodes_bypassed == 1);
    bench.call(true);
    let status = bench.controller.status();
    assert_eq!((status.nodes_bypassed, status.is_helpless), (0, false));
    let said = bench.said();
    assert!(said.ends_with(&["“reverb” is heard again".to_owned()]), "{said:?}");
    // For as long as was enough before. An edit does not wait either.
    bench.graph.add("gain", Gain::new(1, 1.0)).unwrap();
    bench.controller.commit(&bench.graph).unwrap();
    let from = bench.host.played;
    while bench.host.played - from < shed_after {
        bench.call(true);
        let status = bench.controller.status();
        assert_eq!((status.nodes_bypassed, status.edit), (0, 2));
    }
    assert_eq!(bench.said(), ["change 2 plays"]);
    assert!(discontinuity(&bench.host.heard) < INAUDIBLE);
}

#[test]
fn a_node_that_leaves_while_it_is_bypassed_is_no_longer_counted() {
    let world = World::default();
    let nodes: Vec<(&str, Box<dyn Node>)> =
        vec![("one", Box::new(Slow::new(&world, Shed::Bypass))), ("gain", Box::new(Gain::new(1, 1.0)))];
    let (mut bench, keys) = Bench::new(world, nodes);
    bench.world.set_load(OVERLOAD);
    bench.until(3, |controller| controller.status().nodes_bypassed == 1);
    bench.world.set_load(0);
    bench.graph.remove(keys[0]).unwrap();
    bench.controller.commit(&bench.graph).unwrap();
    bench.until(2, |controller| controller.status().edit == 2 && !controller.status().in_transition);
    assert_eq!(bench.controller.status().nodes_bypassed, 0);
}

#[test]
fn a_meter_that_is_off_shows_nothing() {
    let world = World::default();
    let nodes: Vec<(&str, Box<dyn Node>)> =
        vec![("meter", member(&world, Sort::Meter)), ("slow", Box::new(Slow::new(&world, Shed::Never)))];
    let (mut bench, keys) = Bench::new(world, nodes);
    // What it shows is added to what is heard.
    bench.graph.connect_audio((keys[0], 1), (bench.graph.output(), 0)).unwrap();
    bench.controller.commit(&bench.graph).unwrap();
    bench.until(1, |controller| controller.status().position > 10_000);
    let shown = |bench: &Bench| {
        let frame = bench.host.heard.len() - 1;
        bench.host.heard[frame] - 0.5 * signal(frame, Slow::LATENCY)
    };
    assert!(shown(&bench) > 0.01, "{}", shown(&bench));
    bench.world.set_load(OVERLOAD);
    bench.until(3, |controller| controller.status().meters_off);
    bench.world.set_load(0);
    bench.until(1, |controller| controller.status().position.is_multiple_of(4_096));
    assert_eq!(shown(&bench), 0.0);
    bench.until(60, |controller| !controller.status().meters_off);
    (0..4).for_each(|_| bench.call(false));
    assert!(shown(&bench) > 0.01, "{}", shown(&bench));
}

#[test]
fn what_comes_while_oversampling_is_off_hears_of_it_where_it_oversamples() {
    let world = World::default();
    let nodes: Vec<(&str, Box<dyn Node>)> = vec![
        ("shaper", member(&world, Sort::Oversampling)),
        ("slow", Box::new(Slow::new(&world, Shed::Never))),
    ];
    let (mut bench, _) = Bench::new(world, nodes);
    bench.world.set_load(OVERLOAD);
    bench.until(3, |controller| controller.status().oversampling_off);
    bench.world.set_load(0);
    // Both count the changes that they hear of, but only one of them oversamples.
    bench.graph.add_boxed("late", bench.member(Sort::Late { latency: 5 })).unwrap();
    bench.graph.add_boxed("another shaper", bench.member(Sort::Oversampling)).unwrap();
    bench.controller.commit(&bench.graph).unwrap();
    bench.until(2, |controller| controller.status().edit == 2);
    assert_eq!(bench.world.oversampling_changes(), 2);
    bench.until(30, |controller| !controller.status().oversampling_off);
    assert_eq!(bench.world.oversampling_changes(), 4);
}

#[test]
fn under_overload_an_edit_waits_and_says_so() {
    let world = World::default();
    let slow: Box<dyn Node> = Box::new(Slow::new(&world, Shed::Never));
    let (mut bench, _) = Bench::new(world, vec![("slow", slow)]);
    let overload = |bench: &mut Bench| {
        bench.world.set_load(OVERLOAD);
        // Until the average is well above 0.85.
        let from = bench.host.played;
        while bench.host.played - from < 48_000 / 4 {
            bench.call(false);
        }
        bench.graph.add("gain", Gain::new(1, 1.0)).unwrap();
        bench.controller.commit(&bench.graph).unwrap();
        bench.call(false);
        let status = bench.controller.status();
        assert!(status.edit_waits, "{status:?}");
        status.edit
    };
    bench.world.set_load(OVERLOAD);
    bench.until(3, |controller| controller.status().is_helpless);
    // The load falls.
    let edit = overload(&mut bench);
    let said = bench.said();
    let words = "a change waits until this computer has time for it (load ";
    assert!(said.iter().any(|line| line.starts_with(words)), "{said:?}");
    bench.world.set_load(0);
    let waited = bench.until(2, |controller| controller.status().edit == edit + 1);
    assert!(waited < 48_000 / 2 && !bench.controller.status().edit_waits, "{waited}");
    assert!(bench.said().contains(&"change 2 plays".to_owned()));
    // It does not fall. Seconds of audio, which these are: not of waiting.
    let edit = overload(&mut bench);
    let waited = bench.until(3, |controller| controller.status().edit == edit + 1);
    assert!((47_000..=49_000).contains(&waited), "{waited}");
    assert!(!bench.controller.status().edit_waits);
    assert_eq!(bench.said().iter().filter(|line| line.starts_with(words)).count(), 1, "once for each");
}

/// Average and 99.9th percentile by group, from the latest entries of the log.
fn loads(told: &mut log::Consumer) -> Vec<(u64, f64, f64)> {
    let entries: Vec<log::Entry> = std::iter::from_fn(|| told.pop()).collect();
    let at = entries.iter().rfind(|entry| entry.what == What::Load).map(|entry| entry.at);
    let latest = entries.iter().filter(|entry| entry.what == What::Load && Some(entry.at) == at);
    let share = |in_65536ths: u64| in_65536ths as f64 / 65_536.0;
    latest.map(|entry| (entry.a, share(entry.b >> 32), share(entry.b & 0xffff_ffff))).collect()
}

/// Frames of a callback in which groups are timed, 171 ms: so many that a moment in which the machine does something else
/// is short.
const LONG_BLOCK: u32 = 8_192;

/// Takes this share of each callback's period, and of the second callback's `once`.
fn busy(share: f64, once: f64) -> Box<dyn Node> {
    let make = move || {
        move |block: &mut Block<'_>| {
            let callback = block.position() / u64::from(LONG_BLOCK);
            if block.position().is_multiple_of(u64::from(LONG_BLOCK)) {
                let share = if callback == 1 { once } else { share };
                let took = std::time::Duration::from_secs_f64(share * f64::from(LONG_BLOCK) / 48_000.0);
                let began = std::time::Instant::now();
                while began.elapsed() < took {
                    std::hint::spin_loop();
                }
            }
        }
    };
    let behaviour = Behaviour { in_place: true, ..Behaviour::default() };
    Box::new(Custom { layout: Layout::effect(1), behaviour, make })
}

#[test]
fn each_group_is_timed_by_itself() {
    // The machine may do something else for long; but not every time.
    let attempts: Vec<_> = (0..5).map_while(|_| time_two_groups().err()).collect();
    assert!(attempts.len() < 5, "{attempts:?}");
}

/// One group takes a tenth of the period, another three tenths, and once all of it.
fn time_two_groups() -> Result<(), String> {
    let nodes = vec![("quick", busy(0.1, 0.1)), ("slow", busy(0.3, 1.0))];
    let (mut bench, keys) = Bench::new(World::default(), nodes);
    bench.graph.set_group(keys[0], 3).unwrap();
    bench.graph.set_group(keys[1], 7).unwrap();
    let (log, mut told) = log::log_ring(64);
    let (_controller, mut renderer) = play(&bench.graph, Config::new(rate()), Some(log)).unwrap();
    for _ in 0..8 {
        callback::enter(|callback| {
            let call = Call { callback, transport: None, offline: false, events: &[] };
            renderer.process(&call, LONG_BLOCK as usize, &mut bench.host);
        });
    }
    let loads = loads(&mut told);
    let group = |number| loads.iter().find(|(group, ..)| *group == number).copied();
    let (Some((_, quick, quick_p999)), Some((_, slow, slow_p999))) = (group(3), group(7)) else {
        panic!("{loads:?}");
    };
    // No machine is faster than the clock; the percentile is right to a sixteenth.
    assert!(quick > 0.099 && slow > 0.299 && quick_p999 > 0.093 && slow_p999 > 0.93, "{loads:?}");
    let is_right = quick < 0.15 && slow < 0.4 && quick_p999 < 0.2 && slow_p999 < 1.3;
    if is_right { Ok(()) } else { Err(format!("{loads:?}")) }
}
