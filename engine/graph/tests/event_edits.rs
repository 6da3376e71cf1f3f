//! Events while the graph is edited: nothing comes to whom it is not for, and no note hangs.

mod bed;
mod probe;

use audiocloud_graph::event::{Body, Event};
use audiocloud_graph::node::Block;
use audiocloud_graph::renderer::Target;
use bed::Late;
use probe::{Probe, graph, host, note_off, note_on, play_to, playing};

#[test]
fn who_loses_a_connection_lets_go_of_its_notes() {
    let (mut graph, probe) = (graph(), Probe::new(1));
    let key = graph.add("probe", probe.clone()).unwrap();
    let edge = graph.connect_events(graph.input(), key).unwrap();
    let (mut controller, mut renderer) = playing(&graph);
    let mut host = host(1000);
    play_to(&mut host, &mut renderer, 100, 50, &[(10, Target::Input, note_on(1))]);
    graph.disconnect(edge).unwrap();
    controller.commit(&graph).unwrap();
    play_to(&mut host, &mut renderer, 1000, 50, &[(300, Target::Input, note_on(2))]);
    assert_eq!(probe.events(), [(10, note_on(1)), (128, Body::all_notes_off())]);
}

#[test]
fn notes_on_their_way_are_let_go_behind_their_beginning() {
    let mut graph = graph();
    let probe = Probe::new(1);
    let late = graph.add("late", Late::new(1, 700)).unwrap();
    let key = graph.add("probe", probe.clone()).unwrap();
    graph.connect_audio((graph.input(), 0), (late, 0)).unwrap();
    graph.connect_audio((late, 0), (key, 0)).unwrap();
    let edge = graph.connect_events(graph.input(), key).unwrap();
    let (mut controller, mut renderer) = playing(&graph);
    let mut host = host(3000);
    play_to(&mut host, &mut renderer, 100, 50, &[(90, Target::Input, note_on(1))]);
    graph.disconnect(edge).unwrap();
    controller.commit(&graph).unwrap();
    play_to(&mut host, &mut renderer, 3000, 50, &[(400, Target::Input, note_off(1))]);
    assert_eq!(probe.events(), [(790, note_on(1)), (790, Body::all_notes_off())]);
}

#[test]
fn a_note_that_ends_before_it_begins_is_let_go() {
    let mut graph = graph();
    let probe = Probe::new(1);
    let late = graph.add("late", Late::new(1, 700)).unwrap();
    let key = graph.add("probe", probe.clone()).unwrap();
    graph.connect_audio((graph.input(), 0), (late, 0)).unwrap();
    graph.connect_audio((late, 0), (key, 0)).unwrap();
    graph.connect_events(graph.input(), key).unwrap();
    let (mut controller, mut renderer) = playing(&graph);
    let mut host = host(3000);
    play_to(&mut host, &mut renderer, 100, 50, &[(90, Target::Input, note_on(1))]);
    // From now on nothing is late.
    graph.remove(late).unwrap();
    controller.commit(&graph).unwrap();
    play_to(&mut host, &mut renderer, 3000, 50, &[(200, Target::Input, note_off(1))]);
    let events = probe.events();
    assert_eq!(events.last(), Some(&(790, Body::all_notes_off())), "{events:?}");
    assert!(events.contains(&(790, note_on(1))) && events.contains(&(200, note_off(1))));
}

#[test]
fn events_leave_a_way_that_fades_out_at_once() {
    let mut graph = graph();
    let [a, b] = [Probe::new(1), Probe::new(1)];
    let [a_key, b_key] = [graph.add("a", a.clone()).unwrap(), graph.add("b", b.clone()).unwrap()];
    let there = graph.connect_audio((a_key, 0), (b_key, 0)).unwrap();
    let notes = graph.connect_events(graph.input(), b_key).unwrap();
    let (mut controller, mut renderer) = playing(&graph);
    let mut host = host(3000);
    play_to(&mut host, &mut renderer, 64, 64, &[(10, Target::Input, note_on(1))]);
    // The other way round: both at once would be a loop, so that one fades out before the other fades in.
    graph.disconnect(there).unwrap();
    graph.disconnect(notes).unwrap();
    graph.connect_audio((b_key, 0), (a_key, 0)).unwrap();
    graph.connect_events(graph.input(), a_key).unwrap();
    controller.commit(&graph).unwrap();
    play_to(
        &mut host,
        &mut renderer,
        3000,
        64,
        &[(200, Target::Input, note_on(2)), (2000, Target::Input, note_on(3))],
    );
    assert_eq!(b.events(), [(10, note_on(1)), (64, Body::all_notes_off())]);
    assert_eq!(a.events().last(), Some(&(2000, note_on(3))));
}

#[test]
fn a_nodes_events_die_with_it() {
    let mut graph = graph();
    let late = graph.add("late", Late::new(1, 5000)).unwrap();
    graph.connect_audio((graph.input(), 0), (late, 0)).unwrap();
    let old = graph.add("old", Probe::new(1)).unwrap();
    graph.connect_audio((late, 0), (old, 0)).unwrap();
    graph.connect_events(graph.input(), old).unwrap();
    let (mut controller, mut renderer) = playing(&graph);
    let mut host = host(10_000);
    play_to(&mut host, &mut renderer, 200, 64, &[(100, Target::Input, note_on(1))]);
    let address = controller.address(old).unwrap();
    graph.remove(old).unwrap();
    controller.commit(&graph).unwrap();
    play_to(&mut host, &mut renderer, 2000, 64, &[]);
    let probe = Probe::new(1);
    let new = graph.add("new", probe.clone()).unwrap();
    controller.commit(&graph).unwrap();
    play_to(&mut host, &mut renderer, 10_000, 64, &[(3000, Target::Node(address), note_on(2))]);
    assert_ne!(controller.address(new).unwrap(), address);
    assert_eq!(probe.events(), []);
    assert_eq!(controller.status().events_refused, 1, "the one for a node that is gone");
}

#[test]
fn what_nobody_listened_to_is_not_kept() {
    fn always(block: &mut Block<'_>) {
        let position = block.position();
        block.give(Event { offset: 0, body: note_on(i32::try_from(position).unwrap()) });
    }
    let (mut graph, probe) = (graph(), Probe::new(0));
    let giver = graph.add("giver", Probe::with(0, always)).unwrap();
    let key = graph.add("probe", probe.clone()).unwrap();
    let (mut controller, mut renderer) = playing(&graph);
    let mut host = host(64 * 400);
    play_to(&mut host, &mut renderer, 64 * 350, 64, &[]);
    graph.connect_events(giver, key).unwrap();
    controller.commit(&graph).unwrap();
    play_to(&mut host, &mut renderer, 64 * 400, 64, &[]);
    assert_eq!(probe.events().first(), Some(&(64 * 350, note_on(64 * 350))));
    assert_eq!(controller.status().events_refused, 0);
}
