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

#[test]
fn a_latency_that_was_promised_is_kept_to_the_sample() {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let late = graph.add("late", Late::new(1, 100)).unwrap();
    row(&mut graph, &[late]);
    graph.set_latency_frames_min(250);
    let (mut controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![noise(5, FRAMES)], &[1]);
    assert_eq!(controller.latency_frames(), 250);
    host.play(&mut renderer, 1_000, &[]);
    // Another delay behind it takes from what there is to spare, and nothing is heard of it.
    let more = graph.add("more", Late::new(1, 150)).unwrap();
    let (first, last) = ((late, 0), (graph.output(), 0));
    let edge = graph.edges().find(|(_, edge)| edge.to.node == last.0).unwrap().0;
    graph.disconnect(edge).unwrap();
    graph.connect_audio(first, (more, 0)).unwrap();
    graph.connect_audio((more, 0), last).unwrap();
    controller.commit(&graph).unwrap();
    host.play_all(&mut renderer, 77);
    assert_eq!((controller.latency_frames(), renderer.latency_frames()), (250, 250));
    let (output, input) = (&host.outputs[0][0], &host.inputs[0][0]);
    let error = output[250..].iter().zip(input).map(|(output, input)| (output - input).abs());
    assert!(error.fold(0.0, f32::max) < 1e-6);
    assert!(output[..250].iter().all(|sample| *sample == 0.0));
    // What needs more is later than that.
    let most = graph.add("most", Late::new(1, 1)).unwrap();
    graph.connect_audio((more, 0), (most, 0)).unwrap();
    graph.connect_audio((most, 0), last).unwrap();
    controller.commit(&graph).unwrap();
    assert_eq!(controller.latency_frames(), 251);
}

#[test]
fn what_waits_can_be_taken_without_a_crossfade() {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let gain = graph.add("gain", Gain::new(1, 1.0)).unwrap();
    row(&mut graph, &[gain]);
    let (mut controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![vec![1.0; 300]], &[1]);
    host.play(&mut renderer, 100, &[]);
    for value in [2.0, 3.0] {
        graph.remove(graph.nodes().last().unwrap().0).unwrap();
        let other = graph.add("other", Gain::new(1, value)).unwrap();
        row(&mut graph, &[other]);
        controller.commit(&graph).unwrap();
    }
    audiocloud_rt::callback::enter(|callback| {
        renderer.catch_up(callback);
        renderer.reset_at(callback, 6_450);
    });
    host.play_all(&mut renderer, 64);
    assert!(host.outputs[0][0][100..].iter().all(|sample| *sample == 3.0));
    controller.collect();
    // Whole grids.
    assert_eq!((controller.under_way(), controller.status().position), (0, 6_400 + 200));
}

#[test]
fn a_processor_may_have_all_its_channels_at_once() {
    let mut graph = Graph::new(&[2, 2], &[2]).unwrap();
    let make = || {
        |block: &mut Block<'_>| {
            let frames = block.frames();
            let (outputs, inputs, parameters) = block.parts();
            assert!(parameters.is_empty());
            for (output, input) in outputs.zip(inputs) {
                assert_eq!((output.len(), input.len()), (frames, frames));
                output.iter_mut().zip(input).for_each(|(output, input)| *output += 2.0 * input);
            }
        }
    };
    let layout = Layout { inputs: vec![2, 2], outputs: vec![2], ..Layout::default() };
    let behaviour = Behaviour { in_place: true, ..Behaviour::default() };
    let both = graph.add("both", Custom { layout, behaviour, make }).unwrap();
    for bus in 0..2 {
        graph.connect_audio((graph.input(), bus), (both, bus)).unwrap();
    }
    graph.connect_audio((both, 0), (graph.output(), 0)).unwrap();
    let (_controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![vec![1.0; 300], vec![2.0; 300]], &[2]);
    host.inputs.push(vec![vec![0.25; 300], vec![0.5; 300]]);
    host.play_all(&mut renderer, 70);
    assert!(host.outputs[0][0].iter().all(|sample| *sample == 1.5));
    assert!(host.outputs[0][1].iter().all(|sample| *sample == 3.0));
}
