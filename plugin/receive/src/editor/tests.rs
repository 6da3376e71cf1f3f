use super::*;
use crate::model::{Person, Playing, Track};
use audiocloud_instance::editor::picture::{draw, scale};
use audiocloud_instance::editor::theme;
use audiocloud_instance::state::{Fader, FaderKey, PersonRef, Selection, StreamRef};
use audiocloud_instance::status::{Severity, Status};
use egui::accesskit::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};

const ANNA: PersonRef = PersonRef([1; 32]);
const BEN: PersonRef = PersonRef([2; 32]);

fn stream(stream: u64) -> StreamRef {
    StreamRef { publisher: [7; 32], stream }
}

fn track(id: u64, name: &str, publisher: &str, playing: Option<Playing>) -> Track {
    Track {
        stream: stream(id),
        name: name.into(),
        publisher: publisher.into(),
        format: "48 kHz, 2 ch".into(),
        objection: String::new(),
        is_local: false,
        playing,
    }
}

fn playing(peak: f32) -> Option<Playing> {
    let (severity, sentence) = (Severity::Good, "Playing.".into());
    Some(Playing { severity, sentence, peaks: vec![peak, peak / 2.0], ..Playing::default() })
}

fn person(person: PersonRef, name: &str, tracks: Vec<Track>) -> Person {
    Person { person, name: name.into(), fader: Fader::default(), tracks }
}

/// One stream, which is played: what a newcomer sees.
fn single() -> Model {
    Model {
        selection: Selection::Stream(stream(1)),
        people: vec![person(ANNA, "Anna", vec![track(1, "Drums", "Anna", playing(0.5))])],
        status: Status::new(Severity::Good, "Playing Drums from Anna.", ""),
        latency_ms: Some(12.34),
        waterfall: vec![("sender block", 2.7), ("codec", 0.0), ("wire", 0.4), ("jitter", 6.5)],
        peaks: vec![0.5, 0.0],
        details: vec![Detail::new("Packets lost (network)", "128", "Never came.")],
        has_outputs: true,
        ..Model::default()
    }
}

/// Two people's streams, all of which are played, and one of this project, which is not.
fn session() -> Model {
    let mut own = track(9, "Click", "Ben", None);
    own.is_local = true;
    Model {
        selection: Selection::Session,
        people: vec![
            person(
                ANNA,
                "Anna",
                vec![track(1, "Drums", "Anna", playing(0.5)), track(2, "Bass", "Anna", playing(0.1))],
            ),
            person(BEN, "Ben", vec![own, track(3, "Keys", "Ben", playing(0.02))]),
        ],
        status: Status::new(Severity::Good, "Playing all 3 streams in reach.", ""),
        ..single()
    }
}

fn controls() -> Controls {
    Controls::from(&ReceiveParams::default())
}

fn harness<'a>(model: Model, controls: Controls) -> Harness<'a, Vec<Request>> {
    Harness::builder().with_size(vec2(SIZE.x, 1_000.0)).build_ui_state(
        move |ui, seen: &mut Vec<Request>| {
            theme::apply(ui.ctx());
            seen.extend(self::ui(ui, &model, controls));
        },
        Vec::new(),
    )
}

#[test]
fn everything_that_is_shown_has_a_name() {
    let mut harness = harness(single(), controls());
    harness.run();
    harness.get_by_role_and_label(Role::Slider, "Level");
    harness.get_by_label("Mix");
    harness.get_by_label("Channel L: -6.0 dBFS");
    harness.get_by_label("Latency: 12.3 ms");
    harness.get_by_label("Good: Playing Drums from Anna.");
    harness.get_by_label("Drums: -6.0 dBFS");
    harness.get_by_label("Level of Drums");
    harness.get_by_label("Mute Drums");
    harness.get_by_label("Pan of Drums");
    harness.get_by_label("Details").click();
    harness.run();
    harness.get_by_label("Latency: jitter");
    harness.get_by_label("Packets lost (network)");
    harness.get_by_label("128");
    assert!(harness.state().is_empty(), "looking asks for nothing");
}

#[test]
fn a_newcomer_sees_a_stream_and_nothing_to_choose_between() {
    let mut harness = harness(single(), controls());
    harness.run();
    for more in ["Everyone: all streams of the session, but this project's own", "Anna: all their streams"] {
        assert!(harness.query_by_label(more).is_none(), "{more}");
    }
    for folded in ["Floor", "Playout delay", "Budget"] {
        assert!(harness.query_by_role_and_label(Role::Slider, folded).is_none(), "{folded}");
    }
}

#[test]
fn the_picked_stream_is_marked_and_another_can_be_picked() {
    let mut model = single();
    model.people[0].tracks.push(track(2, "Bass", "Anna", None));
    let mut harness = harness(model, controls());
    let picked = harness.get_by_label("Drums, from Anna, 48 kHz, 2 ch");
    assert_eq!(picked.accesskit_node().toggled(), Some(egui::accesskit::Toggled::True));
    picked.click();
    harness.run();
    assert!(harness.state().is_empty(), "it is picked already");
    let check = |harness: &mut Harness<'_, Vec<Request>>, label: &str, selection, name: &str| {
        harness.get_by_label(label).click();
        harness.run();
        let expected = Request::Act(Action::Select(selection, name.into()));
        assert_eq!(harness.state().last(), Some(&expected));
    };
    check(&mut harness, "Bass, from Anna, 48 kHz, 2 ch", Selection::Stream(stream(2)), "Bass");
    check(&mut harness, "Anna: all their streams", Selection::Person(ANNA), "Anna");
    let everyone = "Everyone: all streams of the session, but this project's own";
    check(&mut harness, everyone, Selection::Session, "");
    check(&mut harness, "Release", Selection::Nothing, "");
}

#[test]
fn people_and_streams_have_faders_and_our_own_stream_is_asked_for() {
    let mut harness = harness(session(), controls());
    harness.run();
    let fade = |harness: &mut Harness<'_, Vec<Request>>, label: &str, key, fader| {
        harness.get_by_label(label).click();
        harness.run();
        assert_eq!(harness.state().last(), Some(&Request::Act(Action::Fade(key, fader))), "{label}");
    };
    let muted = Fader { is_muted: true, ..Fader::default() };
    fade(&mut harness, "Mute Anna", FaderKey::Person(ANNA), muted);
    fade(&mut harness, "Mute Keys", FaderKey::Stream(stream(3)), muted);
    let chosen = Fader { is_chosen: true, ..Fader::default() };
    fade(&mut harness, "Play too", FaderKey::Stream(stream(9)), chosen);
    assert!(harness.query_by_label("Mute Click").is_none(), "it is not played");
}

#[test]
fn a_missing_stream_is_shown_as_missing_and_can_be_released() {
    let mut model = single();
    model.people[0].tracks[0] =
        Track { objection: "missing".into(), format: String::new(), ..track(1, "Drums", "Anna", None) };
    let mut harness = harness(model, controls());
    harness.get_by_label("Drums, from Anna, missing");
    harness.get_by_label("Release").click();
    harness.run();
    let released = Action::Select(Selection::Nothing, String::new());
    assert_eq!(*harness.state(), [Request::Act(released)]);
}

#[test]
fn an_empty_list_says_what_to_do() {
    let harness = harness(Model::default(), controls());
    harness.get_by_label_contains("Put audiocloud Send on a track");
    assert!(harness.get_by_label("Release").accesskit_node().is_disabled());
    harness.get_by_label("Latency: --");
}

#[test]
fn the_parameters_are_set() {
    let fixed = Controls { playout: Playout::Fixed, ..controls() };
    let mut harness = harness(single(), fixed);
    harness.get_by_label("Mix").click();
    harness.get_by_label("Replace").click();
    harness.run();
    assert_eq!(*harness.state(), [Request::Mode(Mode::Replace)]);
    harness.get_by_label("Playout").click();
    harness.run();
    harness.run();
    for (label, expected) in [
        ("Aligned", Request::Playout(Playout::Aligned)),
        ("Interval", Request::Playout(Playout::Interval)),
        ("Lowest", Request::Playout(Playout::Lowest)),
        ("Shared", Request::Clock(Clock::Shared)),
        ("Separate", Request::Outputs(Outputs::Separate)),
        ("Report latency to the host", Request::ReportLatency(true)),
    ] {
        harness.get_by_label(label).click();
        harness.run();
        assert_eq!(harness.state().last(), Some(&expected));
    }
    harness.state_mut().clear();
    harness.get_by_role_and_label(Role::Slider, "Playout delay").focus();
    harness.run();
    harness.key_press(egui::Key::ArrowRight);
    harness.run();
    let [
        Request::Span(Span::Delay, Gesture::Begin),
        Request::Span(Span::Delay, Gesture::Set(delay_ms)),
        Request::Span(Span::Delay, Gesture::End),
    ] = harness.state()[..]
    else {
        panic!("{:?}", harness.state())
    };
    assert!(delay_ms > 10.0 && delay_ms < 15.0, "{delay_ms}");
}

#[test]
fn the_input_is_named_and_opened_to_others_in_the_session_fold() {
    let mut harness = harness(Model { input_name: "Left ear".into(), ..single() }, controls());
    assert!(harness.query_by_label("Others may rewire this input").is_none());
    harness.get_by_label("Session").click();
    harness.run();
    harness.run();
    harness.get_by_role_and_label(Role::Switch, "Others may rewire this input").click();
    harness.run();
    assert_eq!(*harness.state(), [Request::Act(Action::SetOpen(true))]);
    harness.get_by_role_and_label(Role::TextInput, "Input name").click();
    harness.run();
    harness.key_combination_modifiers(egui::Modifiers::COMMAND, &[egui::Key::A]);
    harness.get_by_role_and_label(Role::TextInput, "Input name").type_text("Right ear");
    harness.key_press(egui::Key::Enter);
    harness.run();
    assert_eq!(harness.state().last(), Some(&Request::Act(Action::SetInputName("Right ear".into()))));
}

#[test]
fn it_has_its_picture() {
    let draw = |model: &Model| draw(SIZE, scale(), |ui| drop(self::ui(ui, model, controls())));
    let picture = draw(&single());
    picture.keep("receive").unwrap();
    assert!(picture.count(theme::ACCENT_DARK) > 3000, "the picked stream and the mode are marked");
    let picture = draw(&session());
    picture.keep("receive_session").unwrap();
    assert!(picture.count(theme::GOOD) > 300, "a meter for each stream");
    let status = Status::new(
        Severity::Fault,
        "Anna's Send of Drums is not in reach; the output is silent.",
        "Start it there, or pick another stream.",
    );
    let mut missing = Model { status, peaks: vec![0.0; 2], ..single() };
    missing.people[0].tracks[0] =
        Track { objection: "missing".into(), format: String::new(), ..track(1, "Drums", "Anna", None) };
    let missing = draw(&missing);
    missing.keep("receive_missing").unwrap();
    assert!(missing.count(theme::FAULT) > 100, "the sign of a fault");
    draw(&Model::default()).keep("receive_empty").unwrap();
}
