//! Which node a chain goes to, and what becomes of it when that one stops.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::rig::{Machine, until};
use super::rig::{Node, PlugIn, config};
use crate::remote::{NodeChoice, RemoteConfig, RemoteState};

fn node_of(plug_in: &PlugIn) -> String {
    plug_in.remote.status().node.map_or_else(String::new, |(_, name)| name)
}

/// Plays in real time until `done`.
fn play_until(plug_in: &mut PlugIn, what: &str, mut done: impl FnMut(&mut PlugIn) -> bool) {
    until(what, || {
        plug_in.block();
        std::thread::sleep(Duration::from_micros(2500));
        done(plug_in)
    });
}

#[test]
fn the_node_with_more_room_is_taken_and_kept_and_the_other_one_after_it() {
    let machine = Machine::new();
    let daw = machine.start("daw");
    let (booth, studio) = (Node::start(&machine, "Booth"), Node::start(&machine, "Studio"));
    studio.host.head_room_permille.store(900, Ordering::SeqCst);
    until("both are seen", || daw.nodes().len() == 2 && daw.nodes()[0].capacity.head_room_permille == 900);
    assert_eq!(daw.nodes()[0].name, "Studio");
    let mut plug_in = PlugIn::new(&daw, config());
    plug_in.until_live();
    assert_eq!(node_of(&plug_in), "Studio");
    studio.host.head_room_permille.store(100, Ordering::SeqCst);
    until("it has less room now", || daw.nodes()[1].capacity.head_room_permille == 100);
    assert_eq!(node_of(&plug_in), "Studio", "it is kept while it works");
    // It goes, with a word.
    drop(studio);
    play_until(&mut plug_in, "the other one has it", |plug_in| {
        let frames = plug_in.sent - plug_in.skip();
        node_of(plug_in) == "Booth" && frames < 1000 && plug_in.remote.status().state == RemoteState::Live
    });
    drop(booth);
    play_until(&mut plug_in, "it is lost", |plug_in| plug_in.remote.status().state == RemoteState::Searching);
    // The same, when it is back.
    let _booth = Node::start(&machine, "Booth again");
    play_until(&mut plug_in, "it runs again", |plug_in| {
        plug_in.sent - plug_in.skip() < 1000 && node_of(plug_in) == "Booth again"
    });
    until("it is counted", || plug_in.remote.status().figures.lost_nodes == 2);
}

#[test]
fn a_node_that_is_silent_is_left_for_another_at_once() {
    let machine = Machine::new();
    let (daw, studio) = (machine.start("daw"), Node::start(&machine, "Studio"));
    let mut plug_in = PlugIn::new(&daw, config());
    plug_in.until_live();
    play_until(&mut plug_in, "it plays", |plug_in| plug_in.skip() > 0);
    let booth = Node::start(&machine, "Booth");
    play_until(&mut plug_in, "the other one is seen", |plug_in| {
        plug_in.skip();
        daw.nodes().len() == 2
    });
    studio.host.stall(true);
    let begin = Instant::now();
    play_until(&mut plug_in, "the other one has it", |plug_in| {
        plug_in.sent - plug_in.skip() < 1000 && node_of(plug_in) == "Booth"
    });
    println!("silent, and elsewhere after {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    until("the silent one is told", || studio.host.open() == 0);
    drop(booth);
}

#[test]
fn a_node_that_was_silent_for_a_moment_goes_on() {
    let machine = Machine::new();
    let (daw, studio) = (machine.start("daw"), Node::start(&machine, "Studio"));
    let mut plug_in = PlugIn::new(&daw, config());
    plug_in.until_live();
    play_until(&mut plug_in, "it plays", |plug_in| plug_in.skip() > 0);
    studio.host.stall(true);
    play_until(&mut plug_in, "it is silent", |plug_in| plug_in.remote.status().state == RemoteState::Silent);
    assert!(plug_in.remote.status().words.contains("nothing comes back from \"Studio\""));
    studio.host.stall(false);
    play_until(&mut plug_in, "it goes on", |plug_in| {
        plug_in.sent - plug_in.skip() < 1000 && plug_in.remote.status().state == RemoteState::Live
    });
    until("it is counted", || plug_in.remote.status().figures.lost_nodes == 1);
    assert_eq!(studio.host.documents().len(), 1, "it was not opened anew");
}

#[test]
fn a_node_that_ends_politely_takes_no_more_and_is_left() {
    let machine = Machine::new();
    let (daw, studio) = (machine.start("daw"), Node::start(&machine, "Studio"));
    let plug_in = PlugIn::new(&daw, config());
    plug_in.until_live();
    studio.serving.drain();
    until("it is seen", || daw.nodes()[0].capacity.draining);
    let second = PlugIn::new(&daw, RemoteConfig { name: "Drums".to_owned(), ..config() });
    assert_eq!(second.remote.status().state, RemoteState::Searching);
    assert_eq!(studio.serving.chains().len(), 1, "there is no other one, so it stays");
    let _booth = Node::start(&machine, "Booth");
    until("both go to the other one", || {
        [&plug_in, &second]
            .iter()
            .all(|one| node_of(one) == "Booth" && one.remote.status().state == RemoteState::Live)
    });
    until("nothing is left", || studio.serving.chains().is_empty());
}

#[test]
fn the_one_that_was_chosen_and_no_other() {
    let (machine, elsewhere) = (Machine::new(), Machine::new());
    let daw = machine.start("daw");
    let _node = Node::start(&machine, "Studio");
    let device = crate::identity::Identity::load_or_create(elsewhere.config.path()).unwrap().device();
    let config = RemoteConfig { node: NodeChoice::Device(device), ..config() };
    let plug_in = PlugIn::new(&daw, config);
    until("the node is seen", || !daw.nodes().is_empty());
    assert_eq!(plug_in.remote.status().state, RemoteState::Searching);
    plug_in.remote.set_node(NodeChoice::Automatic);
    plug_in.until_live();
}
