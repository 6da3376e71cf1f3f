//! What is set while an edit is on its way is heard when it plays, and nothing of it is lost while nobody calls.

mod bed;

use audiocloud_graph::controller::{CommitError, Config, play};
use audiocloud_graph::graph::{Graph, NodeKey};
use audiocloud_graph::nodes::Gain;
use bed::{Host, rate};

const FRAMES: usize = 4_096;

/// Adds a gain between the graph's input and its output.
fn add(graph: &mut Graph, gain: f32) -> NodeKey {
    let key = graph.add("gain", Gain { smoothing_ms: 0.0, ..Gain::new(1, gain) }).unwrap();
    graph.connect_audio((graph.input(), 0), (key, 0)).unwrap();
    graph.connect_audio((key, 0), (graph.output(), 0)).unwrap();
    key
}

fn last(host: &Host) -> f32 {
    host.outputs[0][0][FRAMES - 1]
}

#[test]
fn a_node_is_set_before_it_plays() {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let one = add(&mut graph, 1.0);
    let (mut controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![vec![1.0; FRAMES]], &[1]);
    host.play(&mut renderer, 70, &[]);
    // The second of these waits until the first is crossfaded, and both are set before they come.
    let two = add(&mut graph, 10.0);
    controller.commit(&graph).unwrap();
    controller.set_parameter(&mut graph, two, Gain::GAIN, 2.0).unwrap();
    let three = add(&mut graph, 10.0);
    controller.commit(&graph).unwrap();
    controller.set_parameter(&mut graph, three, Gain::GAIN, 3.0).unwrap();
    controller.set_parameter(&mut graph, one, Gain::GAIN, 0.5).unwrap();
    host.play_all(&mut renderer, 64);
    assert_eq!(last(&host), 5.5);
    assert_eq!(controller.status().events_refused, 0);
}

#[test]
fn another_in_its_place_is_set_before_it_plays() {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let gain = add(&mut graph, 1.0);
    let (mut controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![vec![1.0; FRAMES]], &[1]);
    host.play(&mut renderer, 70, &[]);
    graph.replace(gain, Box::new(Gain::new(1, 1.0))).unwrap();
    controller.commit(&graph).unwrap();
    controller.set_parameter(&mut graph, gain, Gain::GAIN, 4.0).unwrap();
    host.play_all(&mut renderer, 64);
    assert_eq!(last(&host), 4.0);
}

#[test]
fn what_finds_no_room_is_sent_later() {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let (one, two) = (add(&mut graph, 1.0), add(&mut graph, 1.0));
    let (mut controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![vec![1.0; FRAMES]], &[1]);
    let mut is_busy = false;
    for count in 0..5_000_u16 {
        for gain in [one, two] {
            let value = f32::from(count) / 1_000.0;
            let set = controller.set_parameter(&mut graph, gain, Gain::GAIN, value);
            is_busy |= set == Err(CommitError::Busy);
        }
    }
    assert!(is_busy, "nobody called");
    host.play(&mut renderer, 70, &[]);
    controller.collect();
    host.play_all(&mut renderer, 64);
    assert_eq!(last(&host), 2.0 * 4.999);
}
