//! Bypass by event and by the user: a crossfade, as late as before, and nothing is lost meanwhile.

mod bed;
mod probe;

use audiocloud_graph::event::{Body, Event};
use audiocloud_graph::graph::{Graph, NodeKey};
use audiocloud_graph::node::Block;
use audiocloud_graph::renderer::Target;
use bed::{Host, noise};
use probe::{BLOCKS, Probe, due, graph, heard, play_to, playing, show_parameter, through};

/// A gain of −1 between input and output, where the input is 1.
fn inverter(latency_frames: u32) -> (Graph, NodeKey, Probe) {
    let mut graph = graph();
    let probe = Probe { factor: -1.0, latency_frames, ..Probe::new(1) };
    let key = through(&mut graph, "inverter", &probe);
    (graph, key, probe)
}

#[test]
fn a_bypass_by_event_is_a_crossfade() {
    let (graph, key, _) = inverter(0);
    let heard = heard(&graph, 3000, |controller| {
        let target = Target::Node(controller.address(key).unwrap());
        vec![(100, target, Body::Bypass(true)), (1500, target, Body::Bypass(false))]
    });
    // From the next grid point on; back after one more of them, for the processor begins anew.
    let (leaves, returns) = (128, 1536 + 64);
    for (frame, sample) in heard.iter().enumerate() {
        let along = |from: usize| ((frame as f64 - from as f64) / 512.0).clamp(0.0, 1.0);
        let dry = |along: f64| 0.5 - 0.5 * (std::f64::consts::PI * along).cos();
        let expected = -1.0 + 2.0 * (dry(along(leaves)) - dry(along(returns)));
        assert!((f64::from(*sample) - expected).abs() < 0.01, "frame {frame}: {sample} for {expected}");
    }
    assert!(heard[..leaves].iter().all(|sample| *sample == -1.0));
    assert!(heard[leaves + 512..returns].iter().all(|sample| *sample == 1.0));
    assert!(heard[returns + 512..].iter().all(|sample| *sample == -1.0));
}

#[test]
fn a_users_bypass_keeps_the_latency() {
    const FRAMES: usize = 4000;
    for block in BLOCKS {
        let (mut graph, key, _) = inverter(300);
        let (mut controller, mut renderer) = playing(&graph);
        let mut host = Host::new(vec![noise(9, FRAMES)], &[1]);
        play_to(&mut host, &mut renderer, 1000, block, &[]);
        controller.set_bypassed(&mut graph, key, true).unwrap();
        play_to(&mut host, &mut renderer, 2500, block, &[]);
        assert_eq!((controller.latency_frames(), renderer.latency_frames()), (300, 300));
        controller.set_bypassed(&mut graph, key, false).unwrap();
        play_to(&mut host, &mut renderer, FRAMES, block, &[]);
        let (input, output) = (&host.inputs[0][0], &host.outputs[0][0]);
        let gain = |frame: usize| f64::from(output[frame]) / f64::from(input[frame - 300]);
        assert!((300..1000).all(|frame| output[frame] == -input[frame - 300]));
        assert!((1024 + 512..2500).all(|frame| output[frame] == input[frame - 300]));
        // It is heard again once its memory is filled: 5 grid points for 300 frames.
        let back = 2560 + 320;
        assert!((2500..back).all(|frame| output[frame] == input[frame - 300]));
        let middle = (back..back + 512).filter(|frame| input[frame - 300].abs() > 0.01);
        assert!(middle.clone().all(|frame| gain(frame).abs() < 1.0001));
        assert!(middle.clone().zip(middle.skip(1)).all(|(a, b)| gain(b) <= gain(a) + 1e-3));
        assert!((back + 512..FRAMES).all(|frame| output[frame] == -input[frame - 300]));
    }
}

#[test]
fn who_rests_is_set_and_lets_go() {
    fn automate(block: &mut Block<'_>) {
        for (offset, _) in due(block, |at| at == 1100) {
            block.give(Event { offset, body: Body::parameter(0, 3.0) });
        }
    }
    let mut graph = graph();
    let (shown, listener) = (Probe::with(1, show_parameter), Probe::new(0));
    let key = through(&mut graph, "shown", &shown);
    let giver = graph.add("giver", Probe::with(0, automate)).unwrap();
    graph.connect_events(giver, key).unwrap();
    let listens = graph.add("listener", listener.clone()).unwrap();
    graph.connect_events(key, listens).unwrap();
    let heard = heard(&graph, 3000, |controller| {
        let target = Target::Node(controller.address(key).unwrap());
        vec![(10, target, Body::Bypass(true)), (1500, target, Body::Bypass(false))]
    });
    assert_eq!(heard[2999], 3.0);
    // Once for each of the block sizes.
    assert_eq!(listener.events(), [(64 + 512, Body::all_notes_off()); BLOCKS.len()]);
}
