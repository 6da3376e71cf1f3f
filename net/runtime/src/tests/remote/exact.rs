//! Exact transfers: nothing is lost, however small the rings and however slow the node.

use std::time::Duration;

use super::super::rig::{Machine, until};
use super::rig::{GAIN, Node, PlugIn, config};
use crate::remote::{RemoteConfig, RemoteState, Transfer};

fn exact() -> RemoteConfig {
    RemoteConfig { transfer: Transfer::Exact, ..config() }
}

#[test]
fn all_of_it_comes_back_through_small_rings_and_a_slow_node() {
    let machine = Machine::new();
    let (daw, node) = (machine.start("daw"), Node::start(&machine, "Studio"));
    node.host.slow();
    let mut plug_in = PlugIn::with_rings(&daw, exact(), 4);
    let arrived = plug_in.remote.arrived();
    plug_in.event(64 * 128, GAIN.set_to(0.5));
    let gain = |frame| if frame < 64 * 128 { 1.0 } else { 0.5 };
    let mut refused = 0;
    while plug_in.sent < 300 * 128 || plug_in.back < plug_in.sent {
        let seen = arrived.count();
        let before = (plug_in.sent, plug_in.back);
        if plug_in.sent < 300 * 128 && !plug_in.try_block() {
            refused += 1;
        }
        plug_in.check_with(gain);
        if (plug_in.sent, plug_in.back) == before {
            assert!(arrived.wait(seen, Duration::from_secs(10)) > seen, "nothing came within the limit");
        }
    }
    assert!(refused > 0, "the ring was never full: nothing held anything up");
    until("the figures say so", || {
        let figures = plug_in.remote.status().figures;
        figures.received == 600 && figures.sent == figures.received
    });
    let figures = plug_in.remote.status().figures;
    assert_eq!((figures.blocks_unopened, figures.lost, figures.ring_full), (0, 0, 0));
}

#[test]
fn nothing_is_thrown_away_before_a_node_is_there() {
    let machine = Machine::new();
    let daw = machine.start("daw");
    let mut plug_in = PlugIn::with_rings(&daw, exact(), 4);
    let taken = (0..20).filter(|_| plug_in.try_block()).count();
    assert_eq!(taken, 4, "the ring is left alone");
    let arrived = plug_in.remote.arrived();
    let seen = arrived.count();
    let _node = Node::start(&machine, "Studio");
    assert!(arrived.wait(seen, Duration::from_secs(10)) > seen);
    until("it is back", || {
        plug_in.check(1.0);
        plug_in.back == plug_in.sent
    });
}

#[test]
fn more_events_than_a_ring_holds_go_before_their_block() {
    let machine = Machine::new();
    let (daw, _node) = (machine.start("daw"), Node::start(&machine, "Studio"));
    let mut plug_in = PlugIn::new(&daw, exact());
    plug_in.until_live();
    let arrived = plug_in.remote.arrived();
    for number in 0..1500_u16 {
        let gain = f32::from(number) / 1024.0;
        let mut seen = arrived.count();
        while !plug_in.try_event(0, GAIN.set_to(gain)) {
            // In the middle of a callback, which has not woken anybody yet.
            let now = arrived.wait(seen, Duration::from_secs(10));
            assert!(now > seen, "nothing came within the limit");
            seen = now;
        }
    }
    plug_in.block();
    until("it is back", || {
        plug_in.check(1499.0 / 1024.0);
        plug_in.back == plug_in.sent
    });
}

#[test]
fn a_node_that_goes_is_told_of_in_words() {
    let machine = Machine::new();
    let (daw, node) = (machine.start("daw"), Node::start(&machine, "Studio"));
    let mut plug_in = PlugIn::new(&daw, exact());
    plug_in.block();
    until("it is back", || {
        plug_in.check(1.0);
        plug_in.back == plug_in.sent
    });
    drop(node);
    until("it is lost", || plug_in.remote.status().state == RemoteState::Searching);
    until("it is counted", || plug_in.remote.status().figures.lost_nodes == 1);
    let _node = Node::start(&machine, "Booth");
    plug_in.until_live();
    plug_in.block();
    until("what comes later goes there", || plug_in.skip() == plug_in.sent);
}
