use super::*;
use audiocloud_engine::chain::edit::{Edit, Place};
use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::editor::picture::{draw, scale};
use audiocloud_instance::status::{Severity, Status};
use audiocloud_net::wire::id::DeviceId;
use egui::accesskit::Role as Tree;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

use crate::model::NodeLine;
use crate::project::Project;

fn model() -> Model {
    let mut project = Project::default();
    for kind in ["eq", "compressor", "reverb"] {
        project.edit(&Edit::Add { at: Place::END, kind: kind.to_owned() }, |_| 0.0).unwrap();
    }
    Model {
        name: "Strings".into(),
        status: Status::new(Severity::Good, "The chain runs on “Rack”.", ""),
        chain: project.chain,
        slots: project.slots,
        plug_ins: vec![("clap:org.example.plate".into(), "Plate".into())],
        nodes: vec![NodeLine { device: DeviceId([7; 32]), name: "Rack".into(), words: "80 % free".into() }],
        delay_ms: Some(23.3),
        round_ms: Some(1.25),
        peaks_in: vec![0.5, 0.25],
        peaks_out: vec![0.4, 0.3],
        details: vec![Detail::new("Late blocks", "0", "Blocks that lacked frames.")],
        ..Model::default()
    }
}

fn controls() -> Controls {
    Controls {
        here: false,
        render: Render::Follow,
        late: LateBlock::Dry,
        network_ms: 10.0,
        head_room_ms: 8.0,
    }
}

fn harness<'a>(model: Model) -> Harness<'a, Vec<Request>> {
    // Higher than the window, so that nothing has to be scrolled to.
    Harness::builder().with_size([SIZE.x, 2_400.0]).build_ui_state(
        move |ui, seen: &mut Vec<Request>| {
            theme::apply(ui.ctx());
            seen.extend(self::ui(ui, &model, controls()));
        },
        Vec::new(),
    )
}

fn clicked(model: Model, labels: &[&str]) -> Vec<Request> {
    let mut harness = harness(model);
    for label in labels {
        harness.run();
        harness.get_by_label(label).click();
        harness.run();
    }
    harness.into_state()
}

fn edit(edit: Edit) -> [Request; 1] {
    [Request::Act(Action::Edit(edit))]
}

#[test]
fn everything_that_is_shown_has_a_name() {
    let mut harness = harness(model());
    harness.run();
    for figure in ["Latency: 23.3 ms", "Round trip: 1.2 ms", "Heard: node", "Channel L: -6.0 dBFS"] {
        harness.get_by_label(figure);
    }
    harness.get_by_role_and_label(Tree::Switch, "Run here");
    harness.get_by_role_and_label(Tree::Switch, "Compressor on");
    harness.get_by_role_and_label(Tree::ComboBox, "Node");
    harness.get_by_role_and_label(Tree::ComboBox, "Late block");
    harness.get_by_role_and_label(Tree::ComboBox, "Render");
    harness.get_by_label("Good: The chain runs on “Rack”.");
    assert!(harness.state().is_empty(), "looking asks for nothing: {:?}", harness.state());
}

#[test]
fn effects_are_added_moved_bypassed_and_removed() {
    let add = |kind: &str| edit(Edit::Add { at: Place::END, kind: kind.to_owned() });
    assert_eq!(clicked(model(), &["Add…", "Limiter"]), add("limiter"));
    assert_eq!(clicked(model(), &["Add…", "Plate"]), add("clap:org.example.plate"));
    assert_eq!(clicked(model(), &["Compressor on"]), edit(Edit::Bypass(1, true)));
    assert_eq!(clicked(model(), &["Remove Reverb"]), edit(Edit::Remove(2)));
    assert_eq!(clicked(model(), &["Move up Compressor"]), edit(Edit::Move { id: 1, to: Place::at(0) }));
    assert_eq!(clicked(model(), &["Move down Compressor"]), edit(Edit::Move { id: 1, to: Place::at(2) }));
    assert_eq!(clicked(model(), &["Move up EQ"]), [], "it is the first");
}

#[test]
fn a_node_is_picked() {
    let mut harness = harness(model());
    harness.run();
    harness.get_by_role_and_label(Tree::ComboBox, "Node").click();
    harness.run();
    harness.get_by_label("Rack").click();
    harness.run();
    let picked = NodeChoice::Device(DeviceId([7; 32]));
    assert_eq!(harness.into_state(), [Request::Act(Action::Node(picked))]);
}

#[test]
fn parameters_have_slots_that_can_be_freed() {
    let mut project = Project::default();
    project.edit(&Edit::Add { at: Place::END, kind: "compressor".into() }, |_| 0.0).unwrap();
    let parameter = audiocloud_engine::effects::kind("compressor").unwrap().parameters[0];
    let with = Model { chain: project.chain.clone(), slots: project.slots.clone(), ..model() };
    let slot = format!("{}: slot 1", parameter.name);
    let asked = clicked(with.clone(), &["Parameters", &slot]);
    assert_eq!(asked, [Request::Act(Action::Automate(0, parameter.id, false))]);
    project.automate((0, parameter.id), false, |_| 0.0).unwrap();
    let without = Model { slots: project.slots, ..with };
    let slot = format!("{}: no slot", parameter.name);
    let asked = clicked(without, &["Parameters", &slot]);
    assert_eq!(asked, [Request::Act(Action::Automate(0, parameter.id, true))]);
}

#[test]
fn branches_lie_side_by_side() {
    let mut project = Project::default();
    project.edit(&Edit::AddParallel { at: Place::END, branches: 2 }, |_| 0.0).unwrap();
    let with = Model { chain: project.chain, slots: project.slots, ..model() };
    assert_eq!(clicked(with.clone(), &["Add branch"]), edit(Edit::AddBranch(0)));
    assert_eq!(clicked(with, &["Remove branch 2"]), edit(Edit::RemoveBranch(0, 1)));
}

#[test]
fn what_is_refused_and_what_waits_is_said() {
    let with = Model { refused: Some("no room; give more head-room".into()), is_pending: true, ..model() };
    let mut harness = harness(with);
    harness.run();
    harness.get_by_label("no room; give more head-room");
    harness.get_by_label("Latency").click();
    harness.run();
    harness.get_by_label("Takes effect when the host switches the plug-in off and on.");
    harness.get_by_role_and_label(Tree::Slider, "Network");
    harness.get_by_role_and_label(Tree::Slider, "Head-room");
}

#[test]
fn it_has_its_picture() {
    let draw = |model: &Model| draw(SIZE, scale(), |ui| drop(self::ui(ui, model, controls())));
    let picture = draw(&model());
    picture.keep("remote_fx").unwrap();
    let silent = Model { peaks_out: vec![0.0; 2], ..model() };
    assert_ne!(picture, draw(&silent), "it shows what goes out");
}
