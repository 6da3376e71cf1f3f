use super::*;
use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::editor::picture::{draw, scale};
use audiocloud_instance::state::{Bridge, Bridges};
use audiocloud_instance::status::{Severity, Status};
use egui::accesskit::Role as Tree;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

use crate::model::{BridgeLine, Difference};

fn model() -> Model {
    Model {
        status: Status::new(
            Severity::Good,
            "The session plays at 120.00 bpm, on the clock of \"Anna\", ±42 µs.",
            "",
        ),
        place: Some(Place { bar: 12, beat: 3, bpm: 120.0, meter: (4, 4), is_playing: true }),
        difference: Some(Difference { phase_ms: -0.42, beats: 0.0, bpm: 0.01 }),
        bound_ms: Some(0.042),
        has_hand: true,
        details: vec![Detail::new("Master", "Anna", "Whose clock everybody's time is.")],
        ..Model::default()
    }
}

fn controls() -> Controls {
    Controls {
        role: Role::Follow,
        quantum: Quantum::Bar,
        count_in: 1,
        metronome: true,
        level_db: -6.0,
        output_delay_ms: 5.0,
    }
}

fn harness<'a>(model: Model, controls: Controls) -> Harness<'a, Vec<Request>> {
    // Higher than the window, so that nothing has to be scrolled to.
    Harness::builder().with_size([SIZE.x, 900.0]).build_ui_state(
        move |ui, seen: &mut Vec<Request>| {
            theme::apply(ui.ctx());
            seen.extend(self::ui(ui, &model, controls));
        },
        Vec::new(),
    )
}

fn clicked(model: Model, controls: Controls, labels: &[&str]) -> Vec<Request> {
    let mut harness = harness(model, controls);
    for label in labels {
        harness.run();
        harness.get_by_label(label).click();
        harness.run();
    }
    harness.into_state()
}

fn picked(list: &str, item: &str) -> Vec<Request> {
    let mut harness = harness(model(), controls());
    harness.run();
    harness.get_by_role_and_label(Tree::ComboBox, list).click();
    harness.run();
    harness.get_by_label(item).click();
    harness.run();
    harness.into_state()
}

#[test]
fn everything_that_is_shown_has_a_name() {
    let mut harness = harness(model(), controls());
    harness.run();
    harness.get_by_label("Position: bar 12, beat 3, 120.00 bpm, 4 / 4, playing");
    harness.get_by_label("Clock: ±42 µs");
    harness.get_by_label("Host: -0.4 ms");
    harness.get_by_label("Tempo: +0.01 bpm");
    harness.get_by_role_and_label(Tree::Switch, "Metronome");
    harness.get_by_role_and_label(Tree::Slider, "Level");
    harness.get_by_role_and_label(Tree::Slider, "Output delay");
    harness.get_by_role_and_label(Tree::ComboBox, "Start and stop");
    harness.get_by_role_and_label(Tree::ComboBox, "Count-in");
    harness.get_by_label("Good: The session plays at 120.00 bpm, on the clock of \"Anna\", ±42 µs.");
    assert!(harness.state().is_empty(), "looking asks for nothing: {:?}", harness.state());
}

#[test]
fn the_session_is_started_and_stopped_by_hand_where_that_is_allowed() {
    let command = |command| [Request::Act(Action::Command(command))];
    assert_eq!(clicked(model(), controls(), &["Stop"]), command(Command::Stop));
    assert_eq!(clicked(model(), controls(), &["To bar 1"]), command(Command::Rewind));
    let still = Model { place: None, ..model() };
    assert_eq!(clicked(still, controls(), &["Start"]), command(Command::Start { count_in_bars: 0 }));
    let forbidden = Model { has_hand: false, ..model() };
    assert_eq!(clicked(forbidden, controls(), &["Stop"]), []);
    let leads = harness(model(), Controls { role: Role::Lead, ..controls() });
    assert!(leads.query_by_label("Stop").is_none(), "the host's transport is the session's");
}

#[test]
fn another_meter_is_picked() {
    let waltz = Meter { beats: 3, unit: 4 };
    assert_eq!(picked("Meter", "3 / 4"), [Request::Act(Action::Command(Command::Meter(waltz)))]);
}

#[test]
fn parameters_are_asked_for() {
    assert_eq!(clicked(model(), controls(), &["Lead"]), [Request::Role(Role::Lead)]);
    assert_eq!(clicked(model(), controls(), &["Metronome"]), [Request::Metronome(false)]);
    assert_eq!(picked("Start and stop", "Next 4 bars"), [Request::Quantum(Quantum::FourBars)]);
    assert_eq!(picked("Count-in", "2 bars"), [Request::CountIn(2)]);
}

#[test]
fn bridges_are_behind_their_fold() {
    let lines =
        vec![BridgeLine { name: "MIDI", words: "playing".into(), trouble: "no port; make one".into() }];
    let with = Model { bridge_lines: lines, ..model() };
    let mut harness = harness(with.clone(), controls());
    assert!(harness.query_by_label("Tempo Link").is_none());
    harness.get_by_label("Bridges").click();
    harness.run();
    harness.get_by_label("MIDI: playing");
    harness.get_by_label("no port; make one");
    let asked = clicked(with, controls(), &["Bridges", "Tempo Link"]);
    let wanted = Bridges { link: true, ..Bridges::default() };
    assert_eq!(asked, [Request::Act(Action::SetBridges(wanted))]);
    harness.get_by_role_and_label(Tree::Switch, "OSC to REAPER").click();
    harness.run();
    let asked = harness.into_state();
    let osc = Bridge { is_on: true, address: String::new() };
    assert_eq!(asked, [Request::Act(Action::SetBridges(Bridges { osc, ..Bridges::default() }))]);
}

#[test]
fn it_has_its_picture() {
    let draw = |model: &Model, controls| draw(SIZE, scale(), |ui| drop(self::ui(ui, model, controls)));
    let picture = draw(&model(), controls());
    picture.keep("clock").unwrap();
    assert!(picture.count(theme::ACCENT) > 200, "it plays, and the switch is on");
    let place = Some(Place { is_playing: false, ..model().place.unwrap() });
    assert_ne!(picture, draw(&Model { place, ..model() }, controls()), "it shows that it stands still");
}
