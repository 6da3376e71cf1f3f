//! Events end to end: each at its frame, in its order, with its note, wherever the host's blocks end.

mod bed;
mod probe;

use audiocloud_dsp::ramp::Curve;
use audiocloud_graph::controller::{Config, Controller, play};
use audiocloud_graph::event::{Body, Event, Transport};
use audiocloud_graph::graph::Graph;
use audiocloud_graph::node::Block;
use audiocloud_graph::nodes::Gain;
use audiocloud_graph::renderer::{Call, HostEvent, Target};
use audiocloud_rt::callback;
use audiocloud_rt::event::{self, Expression};
use audiocloud_units::SampleRate;
use bed::{Host, Late, rate};
use probe::{
    BLOCKS, Probe, bits, due, graph, heard, host, note, note_off, note_on, play_to, playing, set,
    show_parameter, through,
};

/// One of each kind.
fn all_kinds() -> Vec<Body> {
    vec![
        note_on(7),
        Body::Voice(event::Body::NoteExpression {
            note: note(7),
            expression: Expression::Tuning,
            value: 0.5,
        }),
        Body::Voice(event::Body::Midi1 { port: 1, bytes: [0x92, 60, 100] }),
        Body::Voice(event::Body::Midi2 { port: 2, words: [0x4092_3c00, 0xffff_0000, 0, 0] }),
        Body::Modulation { id: 0, note: note(7), amount: -0.125 },
        Body::Transport(Transport {
            playing: true,
            tempo_bpm: 98.5,
            position_beats: 16.25,
            signature: (7, 8),
        }),
        Body::Voice(event::Body::NoteChoke { note: note(7) }),
        Body::Voice(event::Body::Lost { count: 3 }),
        note_off(7),
    ]
}

#[test]
fn each_event_comes_at_its_frame_and_in_its_order() {
    let frames = [0, 1, 1, 62, 63, 64, 64, 64, 65, 100, 128, 999, 1023];
    let bodies = all_kinds();
    let sent: Vec<(usize, Body)> = frames.into_iter().zip(bodies.iter().copied().cycle()).collect();
    for to_node in [false, true] {
        for block in BLOCKS {
            let (mut graph, probe) = (graph(), Probe::new(1));
            let key = through(&mut graph, "probe", &probe);
            let (controller, mut renderer) = playing(&graph);
            let target = if to_node { Target::Node(controller.address(key).unwrap()) } else { Target::Input };
            let events: Vec<_> = sent.iter().map(|(at, body)| (*at, target, *body)).collect();
            play_to(&mut host(1024), &mut renderer, 1024, block, &events);
            let expected: Vec<(u64, Body)> = sent.iter().map(|(at, body)| (*at as u64, *body)).collect();
            assert_eq!(probe.events(), expected, "in blocks of {block}");
            // Blocks lie one behind the other, and cross no grid point.
            let mut at = 0;
            for (position, frames, _) in probe.blocks() {
                assert_eq!(position, at);
                assert!(frames > 0 && position % 64 + frames as u64 <= 64);
                at += frames as u64;
            }
            assert_eq!(at, 1024);
        }
    }
}

#[test]
fn a_late_offset_is_held_within_the_block_and_an_empty_block_keeps_its_events() {
    let (mut graph, probe) = (graph(), Probe::new(1));
    through(&mut graph, "probe", &probe);
    let (_controller, mut renderer) = playing(&graph);
    let mut host = host(200);
    let event = |offset, body| HostEvent { offset, target: Target::Input, body };
    host.play(&mut renderer, 100, &[event(u32::MAX, note_on(1))]);
    host.play(&mut renderer, 100, &[event(5, note_on(2))]);
    host.play(&mut renderer, 200, &[]);
    assert_eq!(probe.events(), [(99, note_on(1)), (100, note_on(2))]);
}

#[test]
fn events_between_nodes_cut_the_receivers_block() {
    fn give_notes(block: &mut Block<'_>) {
        for (offset, at) in due(block, |at| at % 37 == 5) {
            let id = i32::try_from(at).unwrap();
            assert!(block.give(Event { offset, body: note_on(id) }));
            assert!(block.give(Event { offset, body: note_off(id) }));
        }
    }
    fn forward(block: &mut Block<'_>) {
        for index in 0..block.events().len() {
            let body = block.events()[index].body;
            assert!(block.give(Event { offset: 0, body }));
        }
    }
    let expected: Vec<(u64, Body)> = (0_u64..)
        .zip(0_i32..1000)
        .filter(|(at, _)| at % 37 == 5)
        .flat_map(|(at, id)| [(at, note_on(id)), (at, note_off(id))])
        .collect();
    for block in BLOCKS {
        let mut graph = graph();
        let giver = graph.add("giver", Probe::with(0, give_notes)).unwrap();
        let (middle, last) = (Probe::with(0, forward), Probe::with(1, forward));
        let middle_key = graph.add("middle", middle.clone()).unwrap();
        let last_key = through(&mut graph, "last", &last);
        graph.connect_events(giver, middle_key).unwrap();
        graph.connect_events(middle_key, last_key).unwrap();
        graph.connect_events(last_key, graph.output()).unwrap();
        let (controller, mut renderer) = playing(&graph);
        let mut host = host(1000);
        play_to(&mut host, &mut renderer, 1000, block, &[]);
        assert_eq!(middle.events(), expected);
        assert_eq!(last.events(), expected);
        let told: Vec<(u64, Body)> = host.events.iter().map(|(at, body)| (*at as u64, *body)).collect();
        assert_eq!(told, expected, "in blocks of {block}");
        let begin = |(position, ..): &(u64, usize, Transport)| *position;
        let begins: Vec<u64> = middle.blocks().iter().map(begin).collect();
        assert!(expected.iter().all(|(at, _)| begins.contains(at)));
        assert_eq!(controller.status().events_refused, 0);
    }
}

#[test]
fn explicit_ramps_follow_their_formula() {
    let check = |curve, from: f32, to: f32, formula: fn(f64, f64, f64) -> f64| {
        let (mut graph, probe) = (graph(), Probe::with(1, show_parameter));
        let key = through(&mut graph, "probe", &probe);
        graph.set_value(key, 0, from).unwrap();
        let heard = heard(&graph, 2500, |controller| {
            let target = Target::Node(controller.address(key).unwrap());
            vec![(301, target, set(0, to, 1777, curve))]
        });
        for (frame, value) in heard.iter().enumerate() {
            let along = ((frame as f64 - 301.0) / 1777.0).clamp(0.0, 1.0);
            let expected = formula(f64::from(from), f64::from(to), along);
            let error = f64::from(*value) / expected - 1.0;
            assert!(error.abs() < 1e-6, "{curve:?}, frame {frame}: {value} for {expected} ({error:e})");
        }
        assert_eq!((heard[301], heard[301 + 1777]), (from, to), "begins and ends exactly");
    };
    check(Curve::Linear, 0.25, 4.0, |from, to, along| from + (to - from) * along);
    check(Curve::Exponential, 0.25, 4.0, |from, to, along| from * (to / from).powf(along));
    check(Curve::Exponential, 2.0, 1.0, |from, to, along| from * (to / from).powf(along));
}

#[test]
fn a_nodes_parameter_events_do_what_the_hosts_do() {
    const FRAMES: usize = 1500;
    fn automate(block: &mut Block<'_>) {
        for (offset, at) in due(block, |at| matches!(at, 77 | 130 | 1000)) {
            let body = match at {
                77 => set(0, 9.0, 500, Curve::Exponential),
                130 => set(0, 2.0, 700, Curve::Linear),
                _ => Body::parameter(0, 5.0),
            };
            assert!(block.give(Event { offset, body }));
        }
    }
    let (mut by_host, mut by_node) = (graph(), graph());
    let shown = Probe::with(1, show_parameter);
    let key = through(&mut by_host, "shown", &shown);
    let expected = heard(&by_host, FRAMES, |controller| {
        let target = Target::Node(controller.address(key).unwrap());
        vec![
            (77, target, set(0, 9.0, 500, Curve::Exponential)),
            (130, target, set(0, 2.0, 700, Curve::Linear)),
            (1000, target, Body::parameter(0, 5.0)),
        ]
    });
    let shown = Probe::with(1, show_parameter);
    let key = through(&mut by_node, "shown", &shown);
    let giver = by_node.add("giver", Probe::with(0, automate)).unwrap();
    by_node.connect_events(giver, key).unwrap();
    let heard = heard(&by_node, FRAMES, |_| Vec::new());
    assert!(bits(&heard) == bits(&expected));
    assert_eq!(heard[FRAMES - 1], 5.0);
    assert_eq!(shown.events(), [], "they are done for the processor");
}

#[test]
fn any_number_of_parameters_is_exact_between_events() {
    fn show_last(block: &mut Block<'_>) {
        let ramp = block.parameter(79);
        ramp.fill(block.output(0));
    }
    fn often(block: &mut Block<'_>) {
        for (offset, _) in due(block, |at| at % 5 == 3) {
            block.give(Event { offset, body: note_on(0) });
        }
    }
    let ramp = |key| {
        move |controller: &Controller| {
            vec![(20, Target::Node(controller.address(key).unwrap()), set(79, 7.0, 900, Curve::Linear))]
        }
    };
    let (mut calm, mut busy) = (graph(), graph());
    let probe = Probe { parameters: 80, ..Probe::with(1, show_last) };
    let key = through(&mut calm, "probe", &probe);
    let expected = heard(&calm, 1200, ramp(key));
    let key = through(&mut busy, "probe", &probe);
    let giver = busy.add("giver", Probe::with(0, often)).unwrap();
    busy.connect_events(giver, key).unwrap();
    assert!(bits(&heard(&busy, 1200, ramp(key))) == bits(&expected));
}

#[test]
fn smoothing_takes_its_time_whatever_the_rate() {
    for (hz, frames) in [(44_100, 441), (48_000, 480), (96_000, 960)] {
        for block in BLOCKS {
            let mut graph = graph();
            let gain = graph.add("gain", Gain::new(1, 0.5)).unwrap();
            graph.connect_audio((graph.input(), 0), (gain, 0)).unwrap();
            graph.connect_audio((gain, 0), (graph.output(), 0)).unwrap();
            let config = Config::new(SampleRate::new(hz).unwrap());
            let (controller, mut renderer) = play(&graph, config, None).unwrap();
            let mut host = host(2000);
            let target = Target::Node(controller.address(gain).unwrap());
            let event = (333, target, Body::parameter(Gain::GAIN, 0.75));
            play_to(&mut host, &mut renderer, 2000, block, &[event]);
            let output = &host.outputs[0][0];
            let arrived = output.iter().position(|sample| *sample == 0.75);
            assert_eq!(arrived, Some(333 + frames), "{hz} Hz in blocks of {block}");
            for (frame, sample) in output.iter().enumerate() {
                let along = ((frame as f64 - 333.0) / frames as f64).clamp(0.0, 1.0);
                assert!((f64::from(*sample) - (0.5 + 0.25 * along)).abs() < 1e-6, "frame {frame}");
            }
        }
    }
}

#[test]
fn events_wait_for_their_audio() {
    fn give_once(block: &mut Block<'_>) {
        for (offset, at) in due(block, |at| at == 10) {
            block.give(Event { offset, body: note_on(i32::try_from(at).unwrap()) });
        }
    }
    for block in BLOCKS {
        let mut graph = graph();
        let probe = Probe::new(1);
        let late = graph.add("late", Late::new(1, 500)).unwrap();
        let key = graph.add("probe", probe.clone()).unwrap();
        // Not late itself, so that what it gives has to wait.
        let lane = graph.add("lane", Probe::with(0, give_once)).unwrap();
        let (input, output) = (graph.input(), graph.output());
        graph.connect_audio((input, 0), (late, 0)).unwrap();
        graph.connect_audio((late, 0), (key, 0)).unwrap();
        graph.connect_audio((key, 0), (output, 0)).unwrap();
        for (from, to) in [(input, key), (lane, key), (input, output)] {
            graph.connect_events(from, to).unwrap();
        }
        let (controller, mut renderer) = playing(&graph);
        let mut host = Host::new(vec![vec![0.0; 2000]], &[1]);
        host.inputs[0][0][100] = 1.0;
        let node = Target::Node(controller.address(key).unwrap());
        let events = [(100, node, note_on(1)), (100, Target::Input, note_on(2))];
        play_to(&mut host, &mut renderer, 2000, block, &events);
        assert_eq!(probe.events(), [(510, note_on(10)), (600, note_on(1)), (600, note_on(2))]);
        assert_eq!(host.outputs[0][0].iter().position(|sample| *sample == 1.0), Some(600));
        assert_eq!(host.events, [(600, note_on(2))], "in blocks of {block}");
    }
}

#[test]
fn the_song_goes_on_within_a_block() {
    fn often(block: &mut Block<'_>) {
        for (offset, _) in due(block, |at| at % 11 == 7) {
            block.give(Event { offset, body: note_on(0) });
        }
    }
    for block in BLOCKS {
        let (mut graph, probe) = (graph(), Probe::new(1));
        let key = through(&mut graph, "probe", &probe);
        let giver = graph.add("giver", Probe::with(0, often)).unwrap();
        graph.connect_events(giver, key).unwrap();
        let (_controller, mut renderer) = playing(&graph);
        let mut host = host(3000);
        let told = [
            (0, Transport { playing: true, tempo_bpm: 120.0, position_beats: -1.0, signature: (3, 4) }),
            (1000, Transport { playing: true, tempo_bpm: 60.5, position_beats: 7.0, signature: (4, 4) }),
            (2000, Transport { playing: false, tempo_bpm: 60.5, position_beats: 9.0, signature: (4, 4) }),
        ];
        for (index, (at, transport)) in told.iter().enumerate() {
            let to = told.get(index + 1).map_or(3000, |(at, _)| *at);
            assert_eq!(host.at, *at);
            let mut transport = Some(*transport);
            while host.at < to {
                let end = (host.at + block).min(to);
                callback::enter(|callback| {
                    let call = Call { callback, transport: transport.take(), offline: true, events: &[] };
                    let frames = end - host.at;
                    renderer.process(&call, frames, &mut host);
                });
                host.at = end;
            }
        }
        for (position, _, seen) in probe.blocks() {
            let (at, told) = told.iter().rev().find(|(at, _)| *at as u64 <= position).unwrap();
            let frames = if told.playing { (position - *at as u64) as f64 } else { 0.0 };
            let expected = told.position_beats + frames * told.tempo_bpm / (60.0 * 48_000.0);
            assert_eq!(seen, Transport { position_beats: expected, ..*told }, "frame {position}");
        }
        assert!(probe.blocks().len() > 3000 / 11);
    }
}

/// Who has more events than there is room for, and how many were lost, after 1000 frames.
fn refused(
    graph: &Graph,
    block: usize,
    events: impl Fn(&Controller) -> Vec<(usize, Target, Body)>,
) -> (u64, Vec<String>) {
    let (log, mut told) = audiocloud_rt::log::log_ring(64);
    let (controller, mut renderer) = play(graph, Config::new(rate()), Some(log)).unwrap();
    let events = events(&controller);
    play_to(&mut host(1000), &mut renderer, 1000, block, &events);
    let said = std::iter::from_fn(|| told.pop()).filter_map(|entry| controller.explain(&entry));
    let said = said.filter(|line| line.contains("more events than there is room for")).collect();
    (controller.status().events_refused, said)
}

#[test]
fn what_finds_no_room_is_counted_and_named() {
    fn give_200(block: &mut Block<'_>) {
        for _ in due(block, |at| at == 130).flat_map(|_| 0..200) {
            block.give(Event { offset: 2, body: note_on(1) });
        }
    }
    fn give_300(block: &mut Block<'_>) {
        for (offset, _) in due(block, |at| at == 130).flat_map(|it| [it; 300]) {
            block.give(Event { offset, body: note_on(1) });
        }
    }
    // More at one frame than a node takes.
    let (mut host_only, probe) = (graph(), Probe::new(1));
    through(&mut host_only, "crowded", &probe);
    let many = |_: &Controller| vec![(500, Target::Input, note_on(1)); 300];
    let (count, said) = refused(&host_only, 64, many);
    assert_eq!((count, probe.events().len()), (44, 256));
    assert_eq!(said, ["“crowded” has more events than there is room for (44 lost)"]);

    // More than a node may give.
    let mut giving = graph();
    let giver = giving.add("generous", Probe::with(0, give_300)).unwrap();
    let probe = Probe::new(0);
    let key = giving.add("listener", probe.clone()).unwrap();
    giving.connect_events(giver, key).unwrap();
    let (count, said) = refused(&giving, 64, |_| Vec::new());
    assert_eq!((count, probe.events().len()), (44, 256));
    assert_eq!(said, ["“generous” has more events than there is room for (44 lost)"]);

    // More from two nodes than a third one takes; and to the host.
    for to_host in [false, true] {
        let mut joining = graph();
        let probe = Probe::new(0);
        let key = if to_host { joining.output() } else { joining.add("listener", probe.clone()).unwrap() };
        for name in ["left", "right"] {
            let giver = joining.add(name, Probe::with(0, give_200)).unwrap();
            joining.connect_events(giver, key).unwrap();
        }
        let (count, said) = refused(&joining, 64, |_| Vec::new());
        assert_eq!(count, 144);
        let name = if to_host { "output" } else { "listener" };
        assert_eq!(said, [format!("“{name}” has more events than there is room for (144 lost)")]);
    }

    // More than can wait.
    let (mut graph, probe) = (graph(), Probe::new(1));
    through(&mut graph, "patient", &probe);
    let many = |_: &Controller| (0..5000).map(|index| (index / 5, Target::Input, note_on(1))).collect();
    let (count, said) = refused(&graph, 1000, many);
    assert_eq!((count, probe.events().len()), (5000 - 4096, 4096));
    assert_eq!(said.first().unwrap(), "“patient” has more events than there is room for (1 lost)");
    assert_eq!(said.len(), 10, "whenever the count has doubled: {said:?}");
}
