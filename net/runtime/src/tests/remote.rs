//! Chains of effects that run in another runtime.

mod attacks;
mod exact;
mod rig;
mod rights;
mod ways;

use std::time::{Duration, Instant};

use audiocloud_rt::chain_event::ChainBody;
use audiocloud_rt::event::{Body, NoteAddress};
use audiocloud_units::MediaTime;

use self::rig::{FRAMES, GAIN, Node, PlugIn, config};
use super::rig::{Machine, until};
use crate::remote::{NodeChoice, RemoteState};

#[test]
fn what_comes_back_is_what_went_there_bit_for_bit() {
    let machine = Machine::new();
    let (daw, node) = (machine.start("daw"), Node::start(&machine, "Studio"));
    let mut plug_in = PlugIn::new(&daw, config());
    plug_in.until_live();
    for _ in 0..100 {
        plug_in.block();
        std::thread::sleep(Duration::from_millis(1));
        plug_in.check(1.0);
    }
    until("all of it is back", || {
        plug_in.check(1.0);
        plug_in.back == plug_in.sent
    });
    let status = plug_in.remote.status();
    assert_eq!((status.state, status.words.as_str()), (RemoteState::Live, "runs on \"Studio\""));
    assert_eq!(status.node, Some((daw.device(), "Studio".to_owned())), "of the same device");
    until("the figures say so", || {
        let figures = plug_in.remote.status().figures;
        figures.received == figures.sent && figures.round_us > 0
    });
    let figures = plug_in.remote.status().figures;
    assert_eq!((figures.lost, figures.ring_full, figures.refused, figures.opened), (0, 0, 0, 1));
    assert!(plug_in.remote.status().losses.is_empty());
    until("and those of the node", || {
        let (served, sent) = (node.serving.chains(), plug_in.remote.status().figures.sent);
        served.len() == 1 && served[0].figures.received == sent && served[0].name == "Vox"
    });
    until("its report has come", || plug_in.remote.status().node_report == b"{\"played\":\"first\"}");
    let json = daw.status_json();
    assert_eq!(json["remotes"][0]["state"], "live");
    assert_eq!(json["remotes"][0]["node_report"]["played"], "first");
    assert_eq!(json["nodes"][0]["name"], "Studio");
    assert_eq!(node.handle.status_json()["served"][0]["owner"], "daw");
}

#[test]
fn events_go_there_at_their_frames_and_notes_come_back() {
    let machine = Machine::new();
    let (daw, _node) = (machine.start("daw"), Node::start(&machine, "Studio"));
    let mut plug_in = PlugIn::new(&daw, config());
    plug_in.until_live();
    plug_in.block();
    let at = plug_in.sent + 37;
    plug_in.event(at, GAIN.set_to(0.5));
    let note = NoteAddress { note_id: -1, port: 0, channel: 3, key: 60 };
    plug_in.event(at + 5, ChainBody::Voice(Body::NoteOn { note, velocity: 0.5 }));
    plug_in.block();
    plug_in.block();
    until("all of it is back", || {
        plug_in.check_with(|frame| if frame < at { 1.0 } else { 0.5 });
        plug_in.back == plug_in.sent
    });
    let mut events = Vec::new();
    until("the note is back", || {
        events.extend(plug_in.events());
        !events.is_empty()
    });
    assert_eq!(events[0].time, MediaTime::new(at + 5));
    assert_eq!(events[0].body, Body::NoteOn { note, velocity: 0.5 });
}

#[test]
fn a_node_that_comes_later_hears_what_automation_said() {
    let machine = Machine::new();
    let daw = machine.start("daw");
    let mut plug_in = PlugIn::new(&daw, config());
    assert_eq!(plug_in.remote.status().state, RemoteState::Searching);
    until("it says what to do", || plug_in.remote.status().words.contains("audiocloud node"));
    plug_in.event(0, GAIN.set_to(0.25));
    plug_in.block();
    until("it is thrown away", || plug_in.remote.status().figures.blocks_unopened == 1);
    let _node = Node::start(&machine, "Studio");
    plug_in.until_live();
    plug_in.back = plug_in.sent;
    plug_in.block();
    until("it is back", || {
        plug_in.check(0.25);
        plug_in.back == plug_in.sent
    });
    // A document counts more than what was said before it, for a node that opens it anew.
    plug_in.remote.set_document(b"third".to_vec()).unwrap();
    plug_in.remote.set_node(NodeChoice::Device(audiocloud_wire::id::DeviceId([9; 32])));
    until("it is left", || plug_in.remote.status().state == RemoteState::Searching);
    assert!(plug_in.remote.status().words.contains("the node 09090909 is not there"));
    plug_in.remote.set_node(NodeChoice::Device(daw.device()));
    plug_in.until_live();
    plug_in.back = plug_in.sent;
    plug_in.block();
    until("it is back", || {
        plug_in.check(1.0);
        plug_in.back == plug_in.sent
    });
}

#[test]
fn a_new_document_reaches_the_node_and_long_ones_too() {
    let machine = Machine::new();
    let (daw, node) = (machine.start("daw"), Node::start(&machine, "Studio"));
    let plug_in = PlugIn::new(&daw, config());
    plug_in.until_live();
    assert_eq!(node.host.documents(), [b"first".to_vec()]);
    let long = vec![7; 1_000_000];
    plug_in.remote.set_document(long.clone()).unwrap();
    until("it is there", || node.host.documents().last() == Some(&long));
    plug_in.remote.set_document(b"second".to_vec()).unwrap();
    until("its report says so", || plug_in.remote.status().node_report == b"{\"played\":\"second\"}");
    assert!(plug_in.remote.set_document(vec![0; 5 << 20]).is_err());
    drop(plug_in);
    until("it is closed", || node.serving.chains().is_empty() && node.host.open() == 0);
}

#[test]
fn states_of_plug_ins_come_to_the_owner_whole_and_once() {
    let machine = Machine::new();
    let (daw, node) = (machine.start("daw"), Node::start(&machine, "Studio"));
    let plug_in = PlugIn::new(&daw, config());
    plug_in.until_live();
    let states = |seed: u8, bytes: usize| (seed..=255).cycle().take(bytes).collect::<Vec<u8>>();
    let told = [states(1, 4 << 20), states(2, 20), states(3, 60_000)];
    told.iter().for_each(|states| node.host.tell(states.clone()));
    let mut kept = Vec::new();
    until("all of them", || {
        kept.extend(plug_in.remote.states());
        kept.len() >= told.len()
    });
    assert!(kept == told, "as they were, in their order");
    assert_eq!(plug_in.remote.states(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_refusal_is_told_in_words_and_asked_for_again() {
    let machine = Machine::new();
    let (daw, node) = (machine.start("daw"), Node::start(&machine, "Studio"));
    node.host.refuse(Some("it has no such plug-in; install it there"));
    let plug_in = PlugIn::new(&daw, config());
    until("it is refused", || plug_in.remote.status().state == RemoteState::Refused);
    let words = plug_in.remote.status().words;
    assert_eq!(words, "\"Studio\" does not run it: it has no such plug-in; install it there");
    node.host.refuse(None);
    plug_in.until_live();
}

#[test]
fn the_way_there_and_back_is_quick() {
    let machine = Machine::new();
    let (daw, _node) = (machine.start("daw"), Node::start(&machine, "Studio"));
    let mut plug_in = PlugIn::new(&daw, config());
    plug_in.until_live();
    let mut rounds = Vec::new();
    for _ in 0..200 {
        let begin = Instant::now();
        plug_in.block();
        while plug_in.back < plug_in.sent && begin.elapsed() < Duration::from_secs(1) {
            plug_in.check(1.0);
            std::thread::yield_now();
        }
        rounds.push(begin.elapsed());
    }
    rounds.sort();
    println!("{FRAMES} frames there and back: median {:?}, worst {:?}", rounds[100], rounds[199]);
    assert!(rounds[100] < Duration::from_millis(20), "{:?}", rounds[100]);
}
