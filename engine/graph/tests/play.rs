//! Small graphs whose output is known.

mod bed;

use audiocloud_dsp::biquad::{self, Coefficients, Shape};
use audiocloud_graph::controller::{Config, play};
use audiocloud_graph::event::Body;
use audiocloud_graph::graph::{Flow, Graph, Port};
use audiocloud_graph::node::{Behaviour, Block, Layout};
use audiocloud_graph::nodes::{Biquad, Gain};
use audiocloud_graph::renderer::{HostEvent, Target};
use bed::{Custom, Host, Late, noise, rate};

const FRAMES: usize = 4_000;

/// Adds the nodes in a row from the graph's input to its output.
fn row(graph: &mut Graph, nodes: &[audiocloud_graph::graph::NodeKey]) {
    let path = [&[graph.input()], nodes, &[graph.output()]].concat();
    for pair in path.windows(2) {
        graph.connect_audio((pair[0], 0), (pair[1], 0)).unwrap();
    }
}

#[test]
fn a_wire_changes_no_bit() {
    let mut graph = Graph::new(&[2], &[2]).unwrap();
    row(&mut graph, &[]);
    let (_controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![noise(1, FRAMES), noise(2, FRAMES)], &[2]);
    host.play_all(&mut renderer, 127);
    assert_eq!(host.inputs[0], host.outputs[0]);
}

#[test]
fn gains_melt_and_filters_agree_with_the_scalar_ones() {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let filter = |hz| Biquad { channels: 1, shape: Shape::Peak, frequency_hz: hz, q: 2.0, gain_db: 6.0 };
    let mut nodes = Vec::new();
    for index in 0..20 {
        nodes.push(graph.add("gain", Gain::new(1, 0.9)).unwrap());
        nodes.push(graph.add("filter", filter(200.0 * (index + 1) as f32)).unwrap());
        nodes.push(graph.add("filter", filter(150.0 * (index + 1) as f32)).unwrap());
    }
    row(&mut graph, &nodes);
    let (_controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![noise(3, FRAMES)], &[1]);
    host.play_all(&mut renderer, 333);
    let mut expected = host.inputs[0][0].clone();
    for index in 0..20 {
        expected.iter_mut().for_each(|sample| *sample *= 0.9);
        for hz in [200.0, 150.0] {
            let hz = f64::from((index + 1) as f32 * hz);
            let coefficients = Coefficients::design(Shape::Peak, hz, 2.0, 6.0, 48_000.0);
            biquad::process(&coefficients, &mut biquad::State::default(), &mut expected);
        }
    }
    assert_eq!(host.outputs[0][0], expected);
}

#[test]
fn joining_paths_are_aligned_to_the_sample() {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let late = graph.add("late", Late::new(1, 777)).unwrap();
    let later = graph.add("later", Late::new(1, 100)).unwrap();
    let negative = graph.add("negative", Gain::new(1, -1.0)).unwrap();
    row(&mut graph, &[late, later]);
    row(&mut graph, &[negative]);
    let (controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    assert_eq!(controller.latency_frames(), 877);
    let mut host = Host::new(vec![noise(4, FRAMES)], &[1]);
    host.play_all(&mut renderer, 100);
    assert!(host.outputs[0][0].iter().all(|sample| *sample == 0.0));
}

#[test]
fn a_feedback_comes_round_after_its_delay() {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let half = graph.add("half", Gain::new(1, 0.5)).unwrap();
    row(&mut graph, &[half]);
    let port = Port { node: half, port: 0 };
    graph.connect(port, port, Flow::Feedback { delay_frames: 100 }).unwrap();
    let (_controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut input = vec![0.0; 1000];
    input[10] = 1.0;
    let mut host = Host::new(vec![input], &[1]);
    host.play_all(&mut renderer, 7);
    let output = &host.outputs[0][0];
    let heard: Vec<(usize, f32)> =
        output.iter().copied().enumerate().filter(|(_, sample)| *sample != 0.0).collect();
    let expected: Vec<(usize, f32)> =
        (10..1000).step_by(100).zip((1..).map(|round| 0.5_f32.powi(round))).collect();
    assert_eq!(heard, expected);
}

#[test]
fn an_edit_fades_and_what_is_left_goes_on() {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let one = graph.add("one", Gain::new(1, 1.0)).unwrap();
    row(&mut graph, &[one]);
    let (mut controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![vec![1.0; FRAMES]], &[1]);
    host.play(&mut renderer, 1000, &[]);
    let other = graph.add("other", Gain::new(1, -1.0)).unwrap();
    graph.remove(one).unwrap();
    row(&mut graph, &[other]);
    controller.commit(&graph).unwrap();
    host.play_all(&mut renderer, 50);
    let output = &host.outputs[0][0];
    // Taken at the next grid point; 512 frames, the first multiple of the grid above 10 ms.
    assert!(output[..1024].iter().all(|sample| *sample == 1.0));
    assert!(output[1024 + 512..].iter().all(|sample| *sample == -1.0));
    let step = output.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
    assert!(step < 0.01, "{step}");
    controller.collect();
    assert_eq!((controller.status().edit, controller.status().in_transition), (2, false));
}

#[test]
fn what_is_not_a_number_is_muted_and_named() {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let make = || {
        |block: &mut Block<'_>| {
            let bad = block.position() >= 640 && block.position() < 704;
            let samples = block.output(0);
            samples.fill(if bad { f32::NAN } else { 0.25 });
        }
    };
    let behaviour = Behaviour { in_place: true, ..Behaviour::default() };
    let bad = graph.add("bad", Custom { layout: Layout::effect(1), behaviour, make }).unwrap();
    let filter = Biquad { channels: 1, shape: Shape::LowPass, frequency_hz: 100.0, q: 0.7, gain_db: 0.0 };
    let filter = graph.add("filter", filter).unwrap();
    row(&mut graph, &[bad, filter]);
    let (log, mut told) = audiocloud_rt::log::log_ring(64);
    let (controller, mut renderer) = play(&graph, Config::new(rate()), Some(log)).unwrap();
    let mut host = Host::new(vec![vec![0.0; FRAMES]], &[1]);
    host.play_all(&mut renderer, 64);
    assert!(host.outputs[0][0].iter().all(|sample| sample.is_finite()));
    assert!((host.outputs[0][0][FRAMES - 1] - 0.25).abs() < 1e-3);
    assert_eq!(controller.status().not_finite, 1);
    let said: Vec<String> =
        std::iter::from_fn(|| told.pop()).filter_map(|entry| controller.explain(&entry)).collect();
    assert!(said.iter().any(|line| line.starts_with("“bad” made something")), "{said:?}");
}

#[test]
fn a_gain_at_rest_is_left_out_or_copies_from_the_same_frame_in_blocks_of_any_length() {
    let mut graph = Graph::new(&[1, 1], &[1]).unwrap();
    let gains = [(0, 1.0), (1, 0.5)].map(|(bus, gain)| {
        let gain = graph.add("gain", Gain::new(1, gain)).unwrap();
        graph.connect_audio((graph.input(), bus), (gain, 0)).unwrap();
        graph.connect_audio((gain, 0), (graph.output(), 0)).unwrap();
        gain
    });
    for block in [1, 7, 64, 1000] {
        let (controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
        let mut host = Host::new(vec![vec![0.25; 1000]], &[1]);
        host.inputs.push(vec![vec![-0.0; 1000]]);
        // In the very first callback, before the graph itself came there.
        let events = [(gains[0], 0.0, 100), (gains[1], 1.0, 0)].map(|(gain, value, frames)| HostEvent {
            offset: 0,
            target: Target::Node(controller.address(gain).unwrap()),
            body: Body::Parameter {
                id: Gain::GAIN,
                value,
                ramp_frames: Some(frames),
                curve: audiocloud_dsp::ramp::Curve::Linear,
            },
        });
        host.play(&mut renderer, block, &events);
        host.play_all(&mut renderer, block);
        assert_eq!(controller.status().events_refused, 0);
        let negative_zero = (-0.0_f32).to_bits();
        let exact = host.outputs[0][0].iter().position(|sample| sample.to_bits() == negative_zero);
        assert_eq!(exact, Some(100), "blocks of {block}");
        assert!(host.outputs[0][0][100..].iter().all(|sample| sample.to_bits() == negative_zero));
    }
}
