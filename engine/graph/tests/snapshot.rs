//! A graph becomes a document and a graph again, and plays as before; what is no graph is refused in plain words.

mod bed;

use audiocloud_dsp::biquad::Shape;
use audiocloud_graph::controller::{Config, play};
use audiocloud_graph::fields::Fields;
use audiocloud_graph::graph::{Flow, Graph, NodeKey, Port};
use audiocloud_graph::node::{Activation, Behaviour, Kernel, Layout, Node, Parameter, Smoothing};
use audiocloud_graph::nodes::{Biquad, Gain};
use audiocloud_graph::registry::Registry;
use audiocloud_graph::snapshot::{
    Buses, EDGES_MAX, EdgeDescription, NODES_MAX, NodeDescription, Schema, Snapshot,
};
use bed::{Host, Late, noise, rate};
use proptest::prelude::*;

/// As [`Late`], but with events, a parameter, and a state that a snapshot keeps.
#[derive(Clone, Copy, Debug)]
struct Kept(Late);

impl Node for Kept {
    fn kind(&self) -> &'static str {
        "kept"
    }

    fn layout(&self) -> Layout {
        Layout { event_input: true, event_output: true, ..self.0.layout() }
    }

    fn behaviour(&self) -> Behaviour {
        self.0.behaviour()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let (range, smoothing) = ((0.0, 1.0), Smoothing::None);
        vec![Parameter { id: 70_000, name: "Unused", unit: "", range, default: 0.5, smoothing }]
    }

    fn latency_frames(&self, activation: &Activation) -> u32 {
        self.0.latency_frames(activation)
    }

    fn state(&self) -> String {
        format!("frames={}", self.0.frames)
    }

    fn kernel(&self, activation: &Activation) -> Kernel {
        self.0.kernel(activation)
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.register("kept", |description| {
        let mut fields = Fields::parse(&description.state)?;
        let frames = fields.number("frames", 0.0)?;
        fields.finish()?;
        if !(0.0..=1000.0).contains(&frames) {
            return Err(format!("{frames} frames are too many"));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds")]
        let frames = frames as u32;
        Ok(Box::new(Kept(Late::new(description.channels()?, frames))))
    });
    registry
}

fn arbitrary_node() -> impl Strategy<Value = Box<dyn Node>> {
    let shapes = prop::sample::select(vec![Shape::LowPass, Shape::Notch, Shape::Peak, Shape::HighShelf]);
    prop_oneof![
        (1_u16..3, -1.0_f32..1.0, 0.0_f32..30.0).prop_map(|(channels, gain, smoothing_ms)| {
            Box::new(Gain { channels, gain, smoothing_ms }) as Box<dyn Node>
        }),
        (1_u16..3, shapes, 20.0_f32..20_000.0, 0.1_f32..10.0, -12.0_f32..12.0).prop_map(
            |(channels, shape, frequency_hz, q, gain_db)| {
                Box::new(Biquad { channels, shape, frequency_hz, q, gain_db }) as Box<dyn Node>
            }
        ),
        (1_u16..3, 0_u32..200)
            .prop_map(|(channels, frames)| Box::new(Kept(Late::new(channels, frames))) as Box<dyn Node>),
    ]
}

/// With name, group, bypass, and where in its range its first parameter is.
type Added = (Box<dyn Node>, String, u16, bool, f32);
type Connection = ((usize, u16), (usize, u16), u32);

/// A graph with all that fits; some nodes were removed again, so that its keys have holes.
fn build(nodes: Vec<Added>, connections: &[Connection], removed: &[usize]) -> Graph {
    let mut graph = Graph::new(&[2, 1], &[2]).unwrap();
    let mut keys = vec![graph.input(), graph.output()];
    for (node, name, group, bypassed, value) in nodes {
        let key = graph.add_boxed(&name, node).unwrap();
        graph.set_group(key, group).unwrap();
        if bypassed && graph.node(key).unwrap().node().kind() == "kept" {
            graph.set_bypassed(key, true).unwrap();
        }
        let (parameters, _) = graph.node(key).unwrap().parameters();
        let first = parameters[0].clone();
        graph.set_value(key, first.id, first.range.0 + value * (first.range.1 - first.range.0)).unwrap();
        keys.push(key);
    }
    let connect = |graph: &mut Graph, keys: &[NodeKey]| {
        for ((from, from_port), (to, to_port), way) in connections {
            let port = |node: usize, port| Port { node: keys[node % keys.len()], port };
            let flow = match way {
                0..150 => Flow::Audio,
                150..200 => Flow::Events,
                delay_frames => Flow::Feedback { delay_frames: *delay_frames },
            };
            // Most are refused, for one reason or another.
            graph.connect(port(*from, *from_port), port(*to, *to_port), flow).ok();
        }
    };
    connect(&mut graph, &keys);
    for index in removed {
        let key = keys[index % keys.len()];
        if graph.remove(key).is_ok() {
            keys.retain(|other| *other != key);
        }
    }
    // Some places are taken again, in another order.
    keys.push(graph.add("late comer", Gain::new(2, 0.3)).unwrap());
    connect(&mut graph, &keys);
    graph
}

fn arbitrary_graph() -> impl Strategy<Value = Graph> {
    let node = (arbitrary_node(), any::<String>(), 0_u16..3, any::<bool>(), 0.0_f32..=1.0);
    let connection = ((0_usize..12, 0_u16..2), (0_usize..12, 0_u16..2), 0_u32..300);
    (
        prop::collection::vec(node, 0..10),
        prop::collection::vec(connection, 0..60),
        prop::collection::vec(0_usize..12, 0..4),
    )
        .prop_map(|(nodes, connections, removed)| build(nodes, &connections, &removed))
}

fn played(graph: &Graph) -> Vec<Vec<u32>> {
    const FRAMES: usize = 700;
    let (_controller, mut renderer) = play(graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![noise(5, FRAMES), noise(6, FRAMES)], &[2]);
    host.inputs.push(vec![noise(7, FRAMES)]);
    host.play_all(&mut renderer, 150);
    host.outputs[0].iter().map(|channel| channel.iter().map(|sample| sample.to_bits()).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_round_trip_gives_an_equal_graph_that_plays_the_same_bits(graph in arbitrary_graph()) {
        let snapshot = Snapshot::of(&graph);
        let text = serde_json::to_string(&snapshot).unwrap();
        let read: Snapshot = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &snapshot);
        let (restored, keys) = read.restore(&registry()).unwrap();
        prop_assert_eq!(Snapshot::of(&restored), snapshot);
        for ((old, entry), id) in graph.nodes().zip(0..) {
            let new = restored.node(keys[&id]).unwrap();
            prop_assert_eq!((entry.name(), entry.parameters()), (new.name(), new.parameters()), "{:?}", old);
            prop_assert_eq!(entry.behaviour_and_latency(), new.behaviour_and_latency());
        }
        prop_assert_eq!(keys.len(), graph.nodes().count());
        prop_assert!(played(&graph) == played(&restored), "another sound");
    }

    /// Whatever a stranger sends: an error or a graph that plays, never a panic.
    #[test]
    fn nonsense_does_no_harm(snapshot in nonsense()) {
        match snapshot.restore(&registry()) {
            Ok((graph, _)) => {
                let (_controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
                let mut host = Host::new(vec![noise(8, 200); 2], &[64; 8]);
                host.play_all(&mut renderer, 150);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn broken_text_does_no_harm(graph in arbitrary_graph(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut text = serde_json::to_vec(&Snapshot::of(&graph)).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(snapshot) = serde_json::from_slice::<Snapshot>(&text) {
            snapshot.restore(&registry()).ok();
        }
    }
}

/// What [`arbitrary_node`]'s kinds differ in beyond their parameters.
trait Compared {
    fn behaviour_and_latency(&self) -> (Behaviour, u32);
}

impl Compared for audiocloud_graph::graph::Entry {
    fn behaviour_and_latency(&self) -> (Behaviour, u32) {
        let activation = Activation { sample_rate: rate() };
        (self.node().behaviour(), self.node().latency_frames(&activation))
    }
}

fn nonsense() -> impl Strategy<Value = Snapshot> {
    let channels = || prop::sample::select(vec![0_u16, 1, 1, 2, 2, 64, 65, u16::MAX]);
    let buses = move || (prop::collection::vec(channels(), 0..3), any::<u16>());
    let kinds = prop::sample::select(vec!["gain", "gain", "biquad", "kept", "input", ""]);
    let states = prop::sample::select(vec![
        "",
        "gain=0.5 smoothing_ms=-1e30",
        "gain=-1e38",
        "shape=notch q=0 frequency_hz=-5",
        "shape=round",
        "frames=5",
        "frames=1e9",
        "=",
    ]);
    let value = prop::sample::select(vec![f32::NAN, f32::INFINITY, 0.0, -1e30, 1e-40, 0.5]);
    let layout = (
        prop::collection::vec(channels(), 0..3),
        prop::collection::vec(channels(), 0..3),
        any::<bool>(),
        any::<bool>(),
    );
    // More often than chance a layout that could be.
    let layout = prop_oneof![
        layout.prop_map(|(inputs, outputs, event_input, event_output)| Layout {
            inputs,
            outputs,
            event_input,
            event_output
        }),
        (1_u16..3).prop_map(Layout::effect),
    ];
    let node = (
        0_u32..6,
        kinds,
        layout,
        any::<u16>(),
        prop::bool::weighted(0.1),
        prop::collection::btree_map(0_u32..4, value, 0..2),
        states,
    )
        .prop_map(|(id, kind, layout, group, bypassed, values, state)| NodeDescription {
            id,
            kind: kind.to_owned(),
            name: format!("node {id}"),
            layout,
            group,
            bypassed,
            values,
            state: state.to_owned(),
        });
    let flow = prop_oneof![
        4 => Just(Flow::Audio),
        1 => Just(Flow::Events),
        1 => prop::sample::select(vec![0, 63, 64, 100, u32::MAX])
            .prop_map(|delay_frames| Flow::Feedback { delay_frames }),
    ];
    let edge = ((0_u32..6, 0_u16..2), (0_u32..6, 0_u16..2), flow);
    let edge = edge.prop_map(|(from, to, flow)| EdgeDescription { from, to, flow });
    let latency = prop::sample::select(vec![0, 1, 4_800, u32::MAX]);
    (buses(), buses(), latency, prop::collection::vec(node, 0..4), prop::collection::vec(edge, 0..4))
        .prop_map(|(input, output, latency_frames_min, nodes, edges)| Snapshot {
            schema: Schema::CURRENT,
            input: Buses { channels: input.0, group: input.1 },
            output: Buses { channels: output.0, group: output.1 },
            latency_frames_min,
            nodes,
            edges,
        })
}

/// One filter between input and output.
fn simple() -> Graph {
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    graph.set_latency_frames_min(480);
    let filter = Biquad { channels: 1, shape: Shape::LowPass, frequency_hz: 250.0, q: 0.5, gain_db: 0.0 };
    let filter = graph.add("Warm", filter).unwrap();
    graph.connect_audio((graph.input(), 0), (filter, 0)).unwrap();
    graph.connect_audio((filter, 0), (graph.output(), 0)).unwrap();
    let port = Port { node: filter, port: 0 };
    graph.connect(port, port, Flow::Feedback { delay_frames: 64 }).unwrap();
    graph
}

const SIMPLE: &str = r#"{
  "schema": 1,
  "input": { "channels": [1], "group": 0 },
  "output": { "channels": [1], "group": 0 },
  "latency_frames_min": 480,
  "nodes": [
    {
      "id": 2,
      "kind": "biquad",
      "name": "Warm",
      "layout": { "inputs": [1], "outputs": [1], "event_input": false, "event_output": false },
      "group": 0,
      "bypassed": false,
      "values": { "0": 250.0, "1": 0.5, "2": 0.0 },
      "state": "shape=low-pass frequency_hz=250 q=0.5 gain_db=0"
    }
  ],
  "edges": [
    { "from": [0, 0], "to": [2, 0], "flow": "Audio" },
    { "from": [2, 0], "to": [1, 0], "flow": "Audio" },
    { "from": [2, 0], "to": [2, 0], "flow": { "Feedback": { "delay_frames": 64 } } }
  ]
}"#;

/// The document's form is a promise: this text has to be readable for ever.
#[test]
fn the_first_schema_is_this_text() {
    let written = serde_json::to_value(Snapshot::of(&simple())).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(SIMPLE).unwrap());
    assert!(serde_json::to_string(&Snapshot::of(&simple())).unwrap().starts_with("{\"schema\":1,"));
    let (restored, _) = serde_json::from_str::<Snapshot>(SIMPLE).unwrap().restore(&Registry::new()).unwrap();
    assert_eq!(Snapshot::of(&restored), Snapshot::of(&simple()));
}

#[test]
fn what_may_be_missing_has_a_default_and_what_is_unknown_is_ignored() {
    let text = r#"{
        "schema": 1, "colour": "red",
        "input": { "channels": [1] }, "output": { "channels": [1] },
        "nodes": [{ "id": 9, "kind": "gain", "name": "G", "layout": { "inputs": [1], "outputs": [1] } }],
        "edges": []
    }"#;
    let (graph, keys) = serde_json::from_str::<Snapshot>(text).unwrap().restore(&Registry::new()).unwrap();
    assert_eq!(graph.node(keys[&9]).unwrap().parameters().1, [1.0]);
}

/// [`SIMPLE`] with one text exchanged for another, read and restored.
fn refusal(from: &str, to: &str) -> String {
    assert!(SIMPLE.contains(from), "{from}");
    match serde_json::from_str::<Snapshot>(&SIMPLE.replacen(from, to, 1)) {
        Ok(snapshot) => snapshot.restore(&registry()).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let check = |from, to, expected: &str| {
        let refusal = refusal(from, to);
        assert!(refusal.starts_with(expected), "{refusal}");
    };
    check(
        "\"schema\": 1",
        "\"schema\": 2, \"nodes\": \"elsewhere\"",
        "this snapshot was made by a newer version (schema 2; up to 1 can be read here); update this one",
    );
    check("\"schema\": 1", "\"schema\": 0", "this is no snapshot of a graph: there is no schema 0");
    check("\"biquad\"", "\"tape\"", "“Warm” is of the kind “tape”, which is not installed here");
    check("low-pass", "round", "“Warm” (biquad) cannot be made: “shape” is “round”, which is unknown");
    check("q=0.5", "q=NaN", "“Warm” (biquad) cannot be made: “q” is “NaN”, which is no number");
    check("\"1\": 0.5", "\"1\": 1e39", "parameter 1 of “Warm” is not a number");
    check("\"1\": 0.5", "\"8\": 0.5", "“Warm” has no parameter 8");
    check("\"inputs\": [1]", "\"inputs\": [0]", "“Warm” has a port of 0 channels; 1 to 64 are possible");
    check("\"inputs\": [1]", "\"inputs\": [65]", "“Warm” has a port of 65 channels; 1 to 64 are possible");
    check("\"inputs\": [1]", "\"inputs\": [2]", "“Warm” (biquad) cannot be made: it needs one input and one");
    check(
        "\"event_input\": false",
        "\"event_input\": true",
        "“Warm” (biquad) was saved with other ports than it has here",
    );
    check("\"bypassed\": false", "\"bypassed\": true", "“Warm” cannot be bypassed");
    check("\"channels\": [1]", "\"channels\": [2]", "“input” has 2 channels, but “Warm” takes 1");
    check("\"id\": 2", "\"id\": 1", "two nodes have the number 1; the second one is “Warm”");
    check("\"id\": 2", "\"id\": 3", "a connection names node 2, which is not there");
    check("\"from\": [0, 0]", "\"from\": [2, 0]", "a loop without a delay: Warm → Warm");
    check("\"from\": [0, 0]", "\"from\": [0, 7]", "“input” has no output port 7 for audio");
    check("\"flow\": \"Audio\"", "\"flow\": \"Events\"", "“Warm” has no input port 0 for events");
    check("\"to\": [1, 0]", "\"to\": [2, 0]", "a loop without a delay");
    check(": 64", ": 63", "a feedback of 63 frames is too short");
    check(": 64", ": 4000000000", "a feedback of 4000000000 frames is too long; at most 14400000 can be");
    check(
        "\"from\": [2, 0], \"to\": [1, 0]",
        "\"from\": [0, 0], \"to\": [2, 0]",
        "“input” is already connected",
    );
}

#[test]
fn absurd_sizes_are_refused_before_anything_is_made() {
    let snapshot = Snapshot::of(&simple());
    let refusal = |snapshot: Snapshot| snapshot.restore(&registry()).unwrap_err().to_string();
    let nodes = vec![snapshot.nodes[0].clone(); NODES_MAX + 1];
    assert_eq!(
        refusal(Snapshot { nodes, ..snapshot.clone() }),
        "8193 nodes are too many; at most 8192 can be restored"
    );
    let edges = vec![snapshot.edges[0]; EDGES_MAX + 1];
    assert!(refusal(Snapshot { edges, ..snapshot.clone() }).starts_with("32769 connections are too many"));
    let input = Buses { channels: vec![1; 257], group: 0 };
    assert!(refusal(Snapshot { input, ..snapshot.clone() }).starts_with("257 input buses are too many"));
    let late = Snapshot { latency_frames_min: 14_400_001, ..snapshot.clone() };
    assert!(refusal(late).starts_with("a latency of 14400001 frames is too long"));
    let mut wide = snapshot;
    wide.nodes[0].layout.outputs = vec![1; 300];
    assert!(refusal(wide).starts_with("300 output ports are too many"));
}
