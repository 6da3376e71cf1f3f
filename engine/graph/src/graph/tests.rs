use super::*;
use crate::nodes::Gain;

fn graph() -> Graph {
    Graph::new(&[2], &[2]).unwrap()
}

#[test]
fn a_loop_is_refused_and_named() {
    let mut graph = graph();
    let [a, b, c] = ["A", "B", "C"].map(|name| graph.add(name, Gain::new(2, 1.0)).unwrap());
    graph.connect_audio((a, 0), (b, 0)).unwrap();
    graph.connect_audio((b, 0), (c, 0)).unwrap();
    let error = graph.connect_audio((c, 0), (a, 0)).unwrap_err();
    assert_eq!(error, GraphError::Cycle(["A", "B", "C", "A"].map(str::to_owned).to_vec()));
    assert_eq!(error.to_string(), "a loop without a delay: A → B → C → A; connect one of them by feedback");
    let port = |node| Port { node, port: 0 };
    let feedback = |delay_frames| Flow::Feedback { delay_frames };
    assert_eq!(
        graph.connect(port(c), port(a), feedback(63)),
        Err(GraphError::FeedbackTooShort { delay_frames: 63 })
    );
    assert!(graph.connect(port(c), port(a), feedback(64)).is_ok());
    assert!(matches!(graph.connect_audio((a, 0), (a, 0)), Err(GraphError::Cycle(names)) if names.len() == 2));
}

#[test]
fn ports_must_fit() {
    let mut graph = graph();
    let (input, output) = (graph.input(), graph.output());
    let mono = graph.add("mono", Gain::new(1, 1.0)).unwrap();
    assert!(graph.connect_audio((mono, 0), (output, 0)).is_ok(), "mono feeds every channel");
    assert!(matches!(graph.connect_audio((input, 0), (mono, 0)), Err(GraphError::Widths { .. })));
    assert!(matches!(graph.connect_audio((mono, 1), (output, 0)), Err(GraphError::NoPort { .. })));
    assert!(matches!(graph.connect_audio((mono, 0), (output, 0)), Err(GraphError::Connected { .. })));
    assert!(matches!(graph.connect_events(mono, output), Err(GraphError::NoPort { .. })));
    assert!(matches!(graph.add("wide", Gain::new(65, 1.0)), Err(GraphError::Channels { channels: 65, .. })));
    assert_eq!(graph.remove(input), Err(GraphError::Terminal));
    graph.remove(mono).unwrap();
    assert_eq!(graph.edges().count(), 0);
    assert_eq!(graph.connect_audio((mono, 0), (output, 0)), Err(GraphError::Gone));
}

#[test]
fn a_replaced_node_keeps_its_place() {
    let mut graph = graph();
    let (input, output) = (graph.input(), graph.output());
    let gain = graph.add("gain", Gain::new(2, 1.0)).unwrap();
    graph.connect_audio((input, 0), (gain, 0)).unwrap();
    graph.connect_audio((gain, 0), (output, 0)).unwrap();
    graph.set_value(gain, Gain::GAIN, 0.25).unwrap();
    let revision = graph.node(gain).unwrap().revision;
    graph.replace(gain, Box::new(Gain::new(2, 1.0))).unwrap();
    assert_eq!(graph.edges().count(), 2);
    assert_eq!(graph.node(gain).unwrap().parameters().1, [0.25]);
    assert_ne!(graph.node(gain).unwrap().revision, revision);
    assert!(graph.replace(gain, Box::new(Gain::new(1, 1.0))).is_err());
    assert!(graph.set_value(gain, 9, 0.0).is_err());
    assert_eq!(graph.set_value(gain, Gain::GAIN, 99.0), Ok(16.0));
}

#[test]
fn a_default_is_held_within_its_range() {
    for (gain, expected) in [(0.5, 0.5), (99.0, 16.0), (f32::NEG_INFINITY, -16.0), (f32::NAN, -16.0)] {
        let mut graph = graph();
        let key = graph.add("gain", Gain::new(2, gain)).unwrap();
        assert_eq!(graph.node(key).unwrap().parameters().1, [expected]);
    }
}
