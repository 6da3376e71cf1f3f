//! The graph as a drawing, in the language of Graphviz (<https://graphviz.org/doc/info/lang.html>).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::graph::{Edge, Entry, Flow, Graph, NodeKey};
use crate::node::Activation;

/// Nodes as boxes, one frame around each group but group 0; audio with its channels, feedback dashed with its delay,
/// events dotted. With an activation, latencies too.
///
/// *Realtime-safe: no*.
#[must_use]
pub fn dot(graph: &Graph, activation: Option<&Activation>) -> String {
    let ids: BTreeMap<NodeKey, usize> = graph.nodes().map(|(key, _)| key).zip(0..).collect();
    let id = |key| ids.get(&key).copied().unwrap_or_default();
    let mut text = String::from("digraph audiocloud {\n    rankdir=LR;\n    node [shape=box];\n");
    let groups: BTreeSet<u16> = graph.nodes().map(|(_, entry)| entry.group()).collect();
    for group in groups {
        let indent = if group == 0 { "    " } else { "        " };
        if group != 0 {
            line(&mut text, format_args!("    subgraph cluster_{group} {{"));
            line(&mut text, format_args!("        label=\"group {group}\";"));
        }
        for (key, entry) in graph.nodes().filter(|(_, entry)| entry.group() == group) {
            let style = if entry.is_bypassed() { ", style=dashed" } else { "" };
            let label = label(entry, activation);
            line(&mut text, format_args!("{indent}n{} [label=\"{label}\"{style}];", id(key)));
        }
        if group != 0 {
            text.push_str("    }\n");
        }
    }
    for (_, edge) in graph.edges() {
        let (from, to) = (id(edge.from.node), id(edge.to.node));
        line(&mut text, format_args!("    n{from} -> n{to} [{}];", attributes(graph, edge)));
    }
    text.push_str("}\n");
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    writeln!(text, "{arguments}").unwrap_or_default();
}

/// Name, kind, and what else is worth knowing.
fn label(entry: &Entry, activation: Option<&Activation>) -> String {
    let mut label = escaped(entry.name());
    if entry.node().kind() != entry.name() {
        label = format!("{label}\\n{}", escaped(entry.node().kind()));
    }
    if entry.is_bypassed() {
        label.push_str("\\nbypassed");
    }
    match activation.map(|activation| entry.node().latency_frames(activation)) {
        Some(frames @ 1..) => format!("{label}\\n{frames} frames late"),
        _ => label,
    }
}

fn attributes(graph: &Graph, edge: &Edge) -> String {
    let source = graph.node(edge.from.node).map(Entry::layout);
    let channels = source.and_then(|layout| layout.outputs.get(usize::from(edge.from.port))).unwrap_or(&0);
    let mut attributes = match edge.flow {
        Flow::Audio => format!("label=\"{channels}\""),
        Flow::Events => "style=dotted".to_owned(),
        Flow::Feedback { delay_frames } => {
            format!("label=\"{channels}, {delay_frames} frames late\", style=dashed, constraint=false")
        }
    };
    for (name, port) in [("taillabel", edge.from.port), ("headlabel", edge.to.port)] {
        if port != 0 {
            attributes = format!("{attributes}, {name}=\"{port}\"");
        }
    }
    attributes
}

/// As it can stand between double quotes: backslashes would begin an escape, and no other control character may be there.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            '\n' => escaped.push_str("\\n"),
            _ if character.is_control() => escaped.push(' '),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Port;
    use crate::node::{Behaviour, Kernel, Layout, Node};
    use crate::nodes::Gain;
    use audiocloud_units::SampleRate;

    #[derive(Debug)]
    struct Late;

    impl Node for Late {
        fn kind(&self) -> &'static str {
            "late"
        }

        fn layout(&self) -> Layout {
            let inputs = vec![2, 1];
            Layout { inputs, outputs: vec![2, 1], event_input: true, event_output: true }
        }

        fn behaviour(&self) -> Behaviour {
            Behaviour { in_place: true, ..Behaviour::default() }
        }

        fn latency_frames(&self, activation: &Activation) -> u32 {
            activation.sample_rate.hz() / 1000
        }

        fn kernel(&self, _activation: &Activation) -> Kernel {
            Kernel::Gain
        }
    }

    fn graph() -> Graph {
        let mut graph = Graph::new(&[2], &[2]).unwrap();
        let (input, output) = (graph.input(), graph.output());
        let gain = graph.add("a \"loud\" \\ one\n\u{7}", Gain::new(2, 2.0)).unwrap();
        let late = graph.add("late", Late).unwrap();
        graph.set_group(late, 3).unwrap();
        graph.set_bypassed(late, true).unwrap();
        graph.connect_audio((input, 0), (gain, 0)).unwrap();
        graph.connect_audio((gain, 0), (late, 0)).unwrap();
        graph.connect_audio((late, 0), (output, 0)).unwrap();
        graph.connect_events(input, late).unwrap();
        let port = |port| Port { node: late, port };
        graph.connect(port(1), port(1), Flow::Feedback { delay_frames: 480 }).unwrap();
        graph
    }

    const EXPECTED: &str = r#"digraph audiocloud {
    rankdir=LR;
    node [shape=box];
    n0 [label="input"];
    n1 [label="output"];
    n2 [label="a \"loud\" \\ one\n \ngain"];
    subgraph cluster_3 {
        label="group 3";
        n3 [label="late\nbypassed\n48 frames late", style=dashed];
    }
    n0 -> n2 [label="2"];
    n2 -> n3 [label="2"];
    n3 -> n1 [label="2"];
    n0 -> n3 [style=dotted];
    n3 -> n3 [label="1, 480 frames late", style=dashed, constraint=false, taillabel="1", headlabel="1"];
}
"#;

    #[test]
    fn draws_all_there_is() {
        let activation = Activation { sample_rate: SampleRate::new(48_000).unwrap() };
        assert_eq!(dot(&graph(), Some(&activation)), EXPECTED);
        assert_eq!(dot(&graph(), None), EXPECTED.replace("\\n48 frames late\"", "\""));
    }
}
