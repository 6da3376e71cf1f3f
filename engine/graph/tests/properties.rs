//! Random graphs, played by the graph and by a slow interpreter, edited while they play and cut into random blocks.
//!
//! Each case is one seed, which a failure names. `AUDIOCLOUD_CASES` multiplies the cases, `AUDIOCLOUD_SEED` plays one.

mod bed;
mod interpreter;

use std::collections::BTreeSet;
use std::ops::Range;

use audiocloud_graph::controller::{Config, play};
use audiocloud_graph::event::Body;
use audiocloud_graph::graph::{Flow, Graph, NodeKey, Port};
use audiocloud_graph::node::GRID;
use audiocloud_graph::nodes::Gain;
use audiocloud_graph::renderer::{HostEvent, Renderer, Target};
use bed::{Host, Late, noise, rate};
use interpreter::{Device, Dice, Interpreter, Limits, Session, note};

/// Sessions that once were played wrongly.
const FOUND: [u64; 3] = [327, 355, 639];

/// Calls with the seed of each case.
fn for_each_seed(cases: u64, found: &[u64], mut check: impl FnMut(u64)) {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds: Range<u64> = match number("AUDIOCLOUD_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            found.iter().for_each(|seed| check(*seed));
            0..cases * number("AUDIOCLOUD_CASES").unwrap_or(1)
        }
    };
    seeds.for_each(check);
}

/// Small graphs mostly, large ones now and then.
fn limits(seed: u64) -> Limits {
    let mut dice = Dice::new(seed ^ 0xF00D);
    let nodes = match seed % 10 {
        0..=4 => dice.whole(1..=12),
        5..=7 => dice.whole(10..=40),
        8 => dice.whole(30..=100),
        _ => dice.whole(100..=200),
    };
    let edits = dice.whole(1..=8) as usize;
    Limits { nodes: nodes as usize, edits, events: 20 + edits * 10, frames: 3_000 + dice.index(6_000) }
}

/// Blocks of any length, short ones more often than not.
fn any_block(seed: u64) -> impl FnMut() -> usize {
    let mut dice = Dice::new(seed ^ 0xB10C);
    move || {
        let longest = dice.one_of(&[1, 7, 64, 100, 512, 1_000, 8_192]);
        dice.whole(1..=longest) as usize
    }
}

fn sorted(events: &[(usize, Body)]) -> Vec<String> {
    let mut events: Vec<String> = events.iter().map(|(at, body)| format!("{at:06} {body:?}")).collect();
    events.sort();
    events
}

#[test]
fn any_session_sounds_as_the_interpreter_says() {
    let mut totals = [0; 7];
    let mut worst = [0.0_f64; 2];
    for_each_seed(150, &FOUND, |seed| {
        let session = Session::random(seed, limits(seed));
        let rendered = session.render(any_block(seed));
        let sound = Interpreter::new(&session).play();
        assert_eq!(rendered.accepted, sound.accepted, "seed {seed}: which commits found room");
        assert_eq!(rendered.latency, sound.latency, "seed {seed}: latency");
        // Relative to the loudest sample in the graph, as single precision is. A fade's curve is not exact either.
        let unit = 1e-6 * sound.peak.max(1.0);
        let buses = rendered.outputs.iter().flatten().zip(sound.outputs.iter().flatten());
        for (channel, (played, expected)) in buses.enumerate() {
            for (at, (played, expected)) in played.iter().zip(expected).enumerate() {
                let is_fading = sound.crossfaded.contains(&(at - at % GRID));
                let error = (f64::from(*played) - expected).abs() / unit;
                assert!(
                    error <= if is_fading { 2.0 } else { 1.0 },
                    "seed {seed}: channel {channel} at {at} is {played}, not {expected} ± {unit:e}",
                );
                worst[usize::from(is_fading)] = error.max(worst[usize::from(is_fading)]);
            }
            totals[5] += played.len();
        }
        assert_eq!(sorted(&rendered.events), sorted(&sound.events), "seed {seed}: events");
        let edits = sound.accepted.iter().filter(|accepted| **accepted).count();
        let parts = session.start.parts.len();
        let counts = [1, parts, edits, sound.crossfades, sound.in_two_stages, 0, sound.events.len()];
        totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    });
    let [graphs, nodes, edits, crossfades, in_two_stages, samples, events] = totals;
    let [steady, fading] = worst;
    println!(
        "{graphs} graphs of {nodes} nodes, {edits} edits, {crossfades} of them crossfaded, {in_two_stages} in two \
         stages; {samples} samples and {events} events compared; worst {steady:.2}e-6, in crossfades {fading:.2}e-6"
    );
}

#[test]
fn no_cut_of_time_changes_a_bit() {
    let mut samples = 0;
    for_each_seed(40, &FOUND, |seed| {
        let session = Session::random(seed, limits(seed));
        let expected = session.render(|| 64);
        let bits = |outputs: &[Vec<Vec<f32>>]| -> Vec<u32> {
            outputs.iter().flatten().flatten().map(|sample| sample.to_bits()).collect()
        };
        let expected_bits = bits(&expected.outputs);
        samples += expected_bits.len();
        let check = |name: &str, block: &mut dyn FnMut() -> usize| {
            let rendered = session.render(block);
            let same = bits(&rendered.outputs) == expected_bits;
            assert!(same, "seed {seed}: other samples in blocks of {name} frames than of 64");
            assert_eq!(rendered.events, expected.events, "seed {seed}: events in blocks of {name} frames");
            assert_eq!(
                rendered.accepted, expected.accepted,
                "seed {seed}: commits at blocks of {name} frames"
            );
            let refused = (rendered.events_refused, expected.events_refused);
            assert_eq!(refused.0, refused.1, "seed {seed}: refused in blocks of {name} frames");
        };
        check("1", &mut || 1);
        check("8192", &mut || 8_192);
        check("any number of", &mut any_block(seed));
    });
    println!("{samples} samples, four times");
}

#[test]
fn a_path_and_its_negative_cancel() {
    let (mut cases, mut heard) = (0, 0);
    for_each_seed(60, &[], |seed| {
        let session = Session::cancelling(seed, limits(seed));
        let rendered = session.render(any_block(seed));
        let [.., one_way, both_ways] = &rendered.outputs[..] else { unreachable!("two buses are reserved") };
        let silent = both_ways.iter().flatten().all(|sample| *sample == 0.0);
        assert!(silent, "seed {seed}: two ways that should cancel do not");
        cases += 1;
        heard += usize::from(one_way.iter().flatten().any(|sample| *sample != 0.0));
    });
    assert!(
        cases == 1 || 4 * heard > 3 * cases,
        "something was to be cancelled in {heard} of {cases} cases only"
    );
}

/// A random graph of latencies and signs: by node, the signed number of ways from the input, and the longest.
struct Ways {
    graph: Graph,
    nodes: Vec<(NodeKey, f32, usize)>,
    latency: usize,
    output: f32,
}

impl Ways {
    fn random(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut graph = Graph::new(&[1], &[1]).unwrap();
        let mut nodes = vec![(graph.input(), 1.0, 0)];
        for _ in 0..dice.whole(1..=200) {
            let late = if dice.percent(60) { Some(dice.whole(0..=300)) } else { None };
            let gain = dice.one_of(&[1.0, -1.0]);
            let node = match late {
                Some(frames) => graph.add("late", Late::new(1, frames)),
                None => graph.add("gain", Gain::new(1, gain)),
            };
            let node = node.unwrap();
            let (ways, longest) = Self::join(&mut graph, &mut dice, &nodes, node);
            let late = late.map_or((ways * gain, longest), |frames| (ways, longest + frames as usize));
            nodes.push((node, late.0, late.1));
        }
        let output = graph.output();
        let (mut ways, mut latency) = Self::join(&mut graph, &mut dice, &nodes, output);
        // All of the last ones, and some others.
        for _ in 0..3 {
            let (more, longest) = Self::join(&mut graph, &mut dice, &nodes, output);
            (ways, latency) = (ways + more, latency.max(longest));
        }
        Self { graph, nodes, latency, output: ways }
    }

    /// Connects a node to some before it: the ways that lead there, and the longest.
    fn join(
        graph: &mut Graph,
        dice: &mut Dice,
        nodes: &[(NodeKey, f32, usize)],
        to: NodeKey,
    ) -> (f32, usize) {
        let (mut ways, mut longest) = (0.0_f32, 0);
        for _ in 0..dice.one_of(&[0, 1, 1, 2, 2, 3]) {
            let young = nodes.len().min(10);
            let (from, more, latency) = nodes[nodes.len() - 1 - dice.index(young)];
            // So that their number is exact.
            if ways.abs() + more.abs() < 1e6 && graph.connect_audio((from, 0), (to, 0)).is_ok() {
                (ways, longest) = (ways + more, latency.max(longest));
            }
        }
        (ways, longest)
    }
}

#[test]
fn every_way_through_a_graph_is_as_long_as_it_says() {
    let mut heard = 0;
    for_each_seed(100, &[], |seed| {
        let ways = Ways::random(seed);
        let (controller, mut renderer) = play(&ways.graph, Config::new(rate()), None).unwrap();
        assert_eq!(
            controller.latency_frames() as usize,
            ways.latency,
            "seed {seed}, {} nodes",
            ways.nodes.len()
        );
        let mut input = vec![0.0; ways.latency + 1_000];
        input[123] = 1.0;
        let mut host = Host::new(vec![input], &[1]);
        let mut block = any_block(seed);
        while host.at < host.frames() {
            let to = (host.at + block()).min(host.frames());
            host.play(&mut renderer, to, &[]);
        }
        for (at, sample) in host.outputs[0][0].iter().enumerate() {
            let expected = if at == 123 + ways.latency { ways.output } else { 0.0 };
            assert_eq!(*sample, expected, "seed {seed}: at {at}");
        }
        heard += usize::from(ways.output != 0.0);
    });
    println!("ways to the output in {heard} graphs");
}

/// A random graph of chimes, and on how many ways a note comes to its event output.
fn chimes(seed: u64) -> (Graph, usize) {
    let mut dice = Dice::new(seed);
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let mut nodes = vec![(graph.input(), 1)];
    let mut audio = vec![graph.input()];
    let mut ways_out = 0;
    for _ in 0..dice.whole(1..=40) {
        let latency = dice.one_of(&[0, 1, 5, 30, 63, 64, 65, 200, 1_000]);
        let has_input = dice.percent(60);
        let from_audio = dice.one_of(&audio);
        if dice.percent(30) {
            // Only to make notes wait for the audio.
            let late = graph.add("late", Late::new(1, latency)).unwrap();
            graph.connect_audio((from_audio, 0), (late, 0)).unwrap();
            audio.push(late);
            continue;
        }
        let node = graph.add_boxed("chime", Device::Chime { has_input, latency }.node()).unwrap();
        if has_input {
            graph.connect_audio((from_audio, 0), (node, 0)).unwrap();
        }
        let mut ways = 0;
        for _ in 0..dice.whole(0..=2) {
            let (from, more) = dice.one_of(&nodes);
            if ways + more <= 8 && graph.connect_events(from, node).is_ok() {
                ways += more;
            }
        }
        if dice.percent(40) && ways_out + ways <= 20 {
            graph.connect_events(node, graph.output()).unwrap();
            graph.connect_audio((node, 0), (graph.output(), 0)).unwrap();
            ways_out += ways;
        }
        nodes.push((node, ways));
        audio.push(node);
    }
    if dice.percent(30) {
        graph.connect_events(graph.input(), graph.output()).unwrap();
        ways_out += 1;
    }
    (graph, ways_out)
}

/// Plays with notes at these frames to the graph's event input.
fn play_notes(
    host: &mut Host,
    renderer: &mut Renderer,
    notes: &[(usize, Body)],
    mut block: impl FnMut() -> usize,
) {
    while host.at < host.frames() {
        let (from, to) = (host.at, (host.at + block()).min(host.frames()));
        let now = notes.iter().filter(|(at, _)| (from..to).contains(at));
        let event = |(at, body): &(usize, Body)| HostEvent {
            offset: u32::try_from(at - from).unwrap(),
            target: Target::Input,
            body: *body,
        };
        let events: Vec<HostEvent> = now.map(event).collect();
        host.play(renderer, to, &events);
    }
}

#[test]
fn a_note_comes_out_when_the_audio_does_on_every_way() {
    let mut heard = 0;
    for_each_seed(60, &[], |seed| {
        let mut dice = Dice::new(!seed);
        // Some of them at the same frame.
        let mut frames: Vec<usize> = (0..60).map(|_| 13 * dice.index(150)).collect();
        frames.sort_unstable();
        let notes: Vec<(usize, Body)> = frames.iter().zip(1..).map(|(at, id)| (*at, note(id, 0.5))).collect();
        let render = |block: &mut dyn FnMut() -> usize| {
            let (graph, ways) = chimes(seed);
            let (controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
            let latency = controller.latency_frames() as usize;
            let mut host = Host::new(vec![vec![0.0; 2_500 + latency]], &[1]);
            play_notes(&mut host, &mut renderer, &notes, block);
            let heard: Vec<usize> = host.events.iter().map(|(at, _)| *at).collect();
            let expected = frames.iter().flat_map(|at| std::iter::repeat_n(at + latency, ways));
            assert_eq!(heard, expected.collect::<Vec<_>>(), "seed {seed}");
            let bits: Vec<u32> = host.outputs[0][0].iter().map(|sample| sample.to_bits()).collect();
            (host.events, bits)
        };
        let expected = render(&mut || 64);
        heard += expected.0.len();
        // The same order too, of what comes at one frame.
        assert!(render(&mut || 1) == expected, "seed {seed}: blocks of 1 frame");
        assert!(render(&mut || 8_192) == expected, "seed {seed}: blocks of 8192 frames");
        assert!(render(&mut any_block(seed)) == expected, "seed {seed}: blocks of any length");
    });
    println!("{heard} notes came out");
}

#[test]
fn an_event_takes_the_way_that_there_is_when_it_happens() {
    let render = |block: usize| {
        let mut graph = Graph::new(&[1], &[1]).unwrap();
        let late = graph.add("late", Late::new(1, 500)).unwrap();
        let gain = graph.add("gain", Gain { smoothing_ms: 0.0, ..Gain::new(1, 1.0) }).unwrap();
        for (from, to) in [(graph.input(), late), (late, gain), (gain, graph.output())] {
            graph.connect_audio((from, 0), (to, 0)).unwrap();
        }
        let (mut controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
        let mut host = Host::new(vec![vec![1.0; 8_192]], &[1]);
        host.play(&mut renderer, 100, &[]);
        graph.replace(late, Box::new(Late::new(1, 20))).unwrap();
        controller.commit(&graph).unwrap();
        while host.at < host.frames() {
            let (from, to) = (host.at, (host.at + block).min(host.frames()));
            let target = Target::Node(controller.address(gain).unwrap());
            let (offset, body) =
                (u32::try_from(4_000_usize.saturating_sub(from)).unwrap(), Body::parameter(0, 0.5));
            let event = HostEvent { offset, target, body };
            let events = if (from..to).contains(&4_000) { vec![event] } else { Vec::new() };
            host.play(&mut renderer, to, &events);
        }
        host.outputs.swap_remove(0).swap_remove(0)
    };
    for block in [64, 8_192] {
        let output = render(block);
        let halved = output.iter().enumerate().skip(2_000).find(|(_, sample)| **sample == 0.5);
        assert_eq!(halved.map(|(at, _)| at), Some(4_020), "in blocks of {block} frames");
    }
}

/// Two nodes that an edit connects the other way round, so that it is played in two stages.
fn turn_round(graph: &mut Graph, connection: &mut Option<(NodeKey, NodeKey)>) {
    let (from, to) = match *connection {
        Some((from, to)) => (to, from),
        None => (graph.add("from", Gain::new(1, 1.0)).unwrap(), graph.add("to", Gain::new(1, 1.0)).unwrap()),
    };
    let edge =
        graph.edges().find(|(_, edge)| edge.from.node == to && edge.to.node == from).map(|(key, _)| key);
    edge.map(|edge| graph.disconnect(edge).unwrap());
    graph.connect_audio((from, 0), (to, 0)).unwrap();
    *connection = Some((from, to));
}

#[test]
fn a_delay_line_that_grows_is_filled_before_it_is_heard() {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let late = graph.add("late", Late::new(1, 100)).unwrap();
    let mut pair = None;
    turn_round(&mut graph, &mut pair);
    graph.connect_audio((graph.input(), 0), (graph.output(), 0)).unwrap();
    graph.connect_audio((late, 0), (graph.output(), 0)).unwrap();
    let (mut controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![noise(7, 8_000)], &[1]);
    host.play(&mut renderer, 1_000, &[]);
    // The input's line has been 256 frames long.
    let port = |node| Port { node, port: 0 };
    graph.connect(port(graph.input()), port(late), Flow::Feedback { delay_frames: 3_000 }).unwrap();
    turn_round(&mut graph, &mut pair);
    controller.commit(&graph).unwrap();
    host.play_all(&mut renderer, 500);
    let (input, output) = (&host.inputs[0][0], &host.outputs[0][0]);
    assert!(output[100..4_000].iter().zip(input).all(|(output, input)| output == input));
}

#[test]
fn no_note_is_lost_while_an_edit_plays_in_two_stages() {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let late = graph.add("late", Late::new(1, 100)).unwrap();
    let mut pair = None;
    turn_round(&mut graph, &mut pair);
    graph.connect_audio((late, 0), (graph.output(), 0)).unwrap();
    graph.connect_events(graph.input(), graph.output()).unwrap();
    let (mut controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![vec![0.0; 5_000]], &[1]);
    host.play(&mut renderer, 1_000, &[]);
    graph.replace(late, Box::new(Late::new(1, 200))).unwrap();
    turn_round(&mut graph, &mut pair);
    controller.commit(&graph).unwrap();
    let notes: Vec<(usize, Body)> =
        (1_000..4_000).step_by(10).zip(1..).map(|(at, id)| (at, note(id, 0.5))).collect();
    play_notes(&mut host, &mut renderer, &notes, || 77);
    assert_eq!(host.events.len(), notes.len());
    let late: BTreeSet<usize> =
        host.events.iter().zip(&notes).map(|(heard, sent)| heard.0 - sent.0).collect();
    assert_eq!(late, BTreeSet::from([100, 200]));
}
