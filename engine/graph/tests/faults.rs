//! What is not a number, wherever it comes from, is muted and named, and the session goes on.

mod bed;

use audiocloud_dsp::biquad::Shape;
use audiocloud_graph::controller::{Config, Controller, play};
use audiocloud_graph::graph::{Flow, Graph, NodeKey, Port};
use audiocloud_graph::node::{Behaviour, Block, Layout, Node};
use audiocloud_graph::nodes::{Biquad, Gain};
use audiocloud_graph::renderer::Renderer;
use audiocloud_rt::log;
use bed::{Custom, Host, noise, rate};

const STATELESS: Behaviour =
    Behaviour { in_place: false, stateless: true, shed: audiocloud_graph::node::Shed::Never };

/// Without state; from frame `from` to frame `to` it makes `bad`, else it passes.
fn stateless(from: u64, to: u64, bad: f32) -> impl Node + 'static {
    let make = move || {
        move |block: &mut Block<'_>| {
            let is_bad = (from..to).contains(&block.position());
            let (input, output) = block.input_and_output(0, 0);
            output.copy_from_slice(input);
            if is_bad {
                output[0] = bad;
            }
        }
    };
    Custom { layout: Layout::effect(1), behaviour: STATELESS, make }
}

/// A graph of mono nodes between the input and the output, as it plays.
struct Bench {
    graph: Graph,
    controller: Controller,
    renderer: Renderer,
    told: log::Consumer,
    host: Host,
}

impl Bench {
    /// `nodes` in a row, by name, and a feedback from one of them to another, by their places and with its delay.
    fn new(
        nodes: Vec<(&str, Box<dyn Node>)>,
        feedback: Option<(usize, usize, u32)>,
        input: Vec<f32>,
    ) -> (Self, Vec<NodeKey>) {
        let mut graph = Graph::new(&[1], &[1]).unwrap();
        let add = |(name, node)| graph.add_boxed(name, node).unwrap();
        let keys: Vec<NodeKey> = nodes.into_iter().map(add).collect();
        let path = [&[graph.input()], &keys[..], &[graph.output()]].concat();
        for pair in path.windows(2) {
            graph.connect_audio((pair[0], 0), (pair[1], 0)).unwrap();
        }
        if let Some((from, to, delay_frames)) = feedback {
            let port = |place: usize| Port { node: keys[place], port: 0 };
            graph.connect(port(from), port(to), Flow::Feedback { delay_frames }).unwrap();
        }
        let (log, told) = log::log_ring(1_024);
        let (controller, renderer) = play(&graph, Config::new(rate()), Some(log)).unwrap();
        (Self { graph, controller, renderer, told, host: Host::new(vec![input], &[1]) }, keys)
    }

    fn play(&mut self, block: usize) {
        self.host.play_all(&mut self.renderer, block);
        assert!(self.output().iter().all(|sample| sample.is_finite()));
    }

    fn output(&self) -> &[f32] {
        &self.host.outputs[0][0]
    }

    /// Who was said to have made what is not sound, in this order.
    fn named(&mut self) -> Vec<String> {
        let entries = std::iter::from_fn(|| self.told.pop());
        let faults = entries.filter(|entry| entry.what == log::What::NotFinite);
        let explain = |entry: log::Entry| self.controller.explain(&entry).unwrap();
        faults.map(explain).map(|said| said.split(['“', '”']).nth(1).unwrap().to_owned()).collect()
    }
}

fn five_without_state(from: u64, to: u64, bad: f32) -> Vec<(&'static str, Box<dyn Node>)> {
    ["a", "b", "c", "d", "e"]
        .into_iter()
        .map(|name| {
            let (from, to) = if name == "c" { (from, to) } else { (0, 0) };
            (name, Box::new(stateless(from, to, bad)) as Box<dyn Node>)
        })
        .collect()
}

#[test]
fn among_many_without_state_the_one_is_named() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (mut bench, _) = Bench::new(five_without_state(640, u64::MAX, bad), None, vec![0.25; 64 * 200]);
        bench.play(64);
        // Only the end of the row is looked at, until something is found there; from the next block on, each of them.
        let named = bench.named();
        assert_eq!((named[0].as_str(), named[1].as_str()), ("e", "c"), "{named:?}");
        assert!(named[1..].iter().all(|name| name == "c"), "{named:?}");
        // Every block once.
        assert_eq!(bench.controller.status().not_finite, 190);
    }
}

#[test]
fn a_bad_block_is_silent_and_the_next_one_is_not() {
    let (mut bench, _) = Bench::new(five_without_state(640, 704, f32::NAN), None, vec![0.25; 64 * 20]);
    bench.play(64);
    let output = bench.output();
    let silent: Vec<usize> = (0..output.len()).filter(|frame| output[*frame] != 0.25).collect();
    assert_eq!(silent, (640..704).collect::<Vec<_>>());
    assert_eq!(bench.named(), ["e"]);
}

#[test]
fn what_the_host_gives_is_named_as_the_input() {
    let mut input = noise(5, 6_400);
    for (frame, bad) in [(1_000, f32::NAN), (2_000, f32::INFINITY), (3_000, f32::NEG_INFINITY)] {
        input[frame] = bad;
    }
    let low_pass = Biquad { channels: 1, shape: Shape::LowPass, frequency_hz: 500.0, q: 0.7, gain_db: 0.0 };
    let nodes: Vec<(&str, Box<dyn Node>)> =
        vec![("gain", Box::new(Gain::new(1, 0.5))), ("filter", Box::new(low_pass))];
    let (mut bench, _) = Bench::new(nodes, None, input);
    bench.play(100);
    assert_eq!(bench.controller.status().not_finite, 3);
    assert!(bench.named().iter().all(|name| name == "input"));
    // The filter did not hear of it.
    assert!(bench.output()[3_100..].iter().any(|sample| sample.abs() > 1e-3));
}

#[test]
fn a_feedback_that_explodes_is_muted_and_dies_away_when_it_is_turned_down() {
    let check = |nodes: Vec<(&'static str, Box<dyn Node>)>| {
        let sample = |frame: u16| 0.1 * (f32::from(frame) * 440.0 * std::f32::consts::TAU / 48_000.0).sin();
        let input = (0..48_000).map(sample).collect();
        let last = nodes.len() - 1;
        let (mut bench, keys) = Bench::new(nodes, Some((last, 0, 100)), input);
        while bench.host.at < 24_000 {
            let to = bench.host.at + 100;
            bench.host.play(&mut bench.renderer, to, &[]);
        }
        let before = bench.controller.status().not_finite;
        assert!(before > 0);
        assert!(bench.named().iter().all(|name| name == "gain" || name == "filter"));
        // What is left in the loop dies away within 40 rounds of a tenth each.
        bench.controller.set_parameter(&mut bench.graph, keys[0], Gain::GAIN, 0.1).unwrap();
        bench.play(100);
        let output = bench.output();
        let peak = output[36_000..].iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!((0.009..0.012).contains(&peak), "{peak}");
        let after = bench.controller.status().not_finite;
        assert!(after - before < 20, "{before} {after}");
    };
    let low_pass = Biquad { channels: 1, shape: Shape::LowPass, frequency_hz: 8_000.0, q: 0.7, gain_db: 0.0 };
    check(vec![("gain", Box::new(Gain::new(1, 16.0)))]);
    check(vec![("gain", Box::new(Gain::new(1, 16.0))), ("filter", Box::new(low_pass))]);
}

#[test]
fn a_sum_that_grows_too_large_leaves_no_trace() {
    // Two numbers whose sum is none, in front of a processor that would remember it and not show it.
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let (one, two) =
        (graph.add("one", Gain::new(1, 16.0)).unwrap(), graph.add("two", Gain::new(1, 16.0)).unwrap());
    let remembers = Custom {
        layout: Layout::effect(1),
        behaviour: Behaviour::default(),
        make: || {
            let mut peak = 0.0_f32;
            move |block: &mut Block<'_>| {
                peak = block.input(0).iter().fold(peak, |peak, sample| peak.max(sample.abs()));
                let (input, output) = block.input_and_output(0, 0);
                output.iter_mut().zip(input).for_each(|(output, input)| *output = input / (1.0 + peak));
            }
        },
    };
    let (remembers, pass) =
        (graph.add("remembers", remembers).unwrap(), graph.add("pass", stateless(0, 0, 0.0)).unwrap());
    for gain in [one, two] {
        graph.connect_audio((graph.input(), 0), (gain, 0)).unwrap();
        graph.connect_audio((gain, 0), (remembers, 0)).unwrap();
    }
    graph.connect_audio((remembers, 0), (pass, 0)).unwrap();
    graph.connect_audio((pass, 0), (graph.output(), 0)).unwrap();
    let (_controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut input = vec![0.01; 64 * 10];
    input[64..128].fill(3.0e37);
    let mut host = Host::new(vec![input], &[1]);
    host.play_all(&mut renderer, 64);
    // 0.32 over 1.32, as it would be had the loud block never been.
    let expected = 0.32 / 1.32;
    assert!((host.outputs[0][0][639] - expected).abs() < 1e-6, "{}", host.outputs[0][0][639]);
    assert!(host.outputs[0][0][64..128].iter().all(|sample| *sample == 0.0));
}
