use super::*;
use crate::editor::qr_code::QrCode;
use crate::sessions::{self, Offer};
use crate::state::SessionRef;
use crate::status::Status;
use audiocloud_net::wire::id::{SessionId, UserId};
use egui::Key;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};

const JAM: SessionId = SessionId([1; 32]);
const ANNA: UserId = UserId([2; 32]);

fn session(id: SessionId, name: &str) -> SessionRef {
    SessionRef { id, name: name.into(), ask: "Anna".into() }
}

fn member(number: u8, name: &str, is_here: bool) -> Member {
    let user = UserId([number; 32]);
    Member { user, name: name.into(), is_self: number == 9, is_here, trouble: String::new() }
}

fn joined() -> Model {
    Model {
        current: Some(session(JAM, "Friday jam")),
        status: Status::new(Severity::Good, "1 of 2 others of “Friday jam” is here.", ""),
        joined: vec![session(JAM, "Friday jam"), session(SessionId([3; 32]), "Trio")],
        members: vec![member(9, "Carla", true), member(2, "Anna", true), member(4, "Ben", false)],
        may_invite: true,
        may_remove: true,
        ..Model::default()
    }
}

/// The panel, unfolded.
fn harness<'a>(model: Model) -> Harness<'a, Vec<Act>> {
    let mut harness = Harness::builder().with_size(vec2(480.0, 900.0)).build_ui_state(
        move |ui, seen: &mut Vec<Act>| {
            theme::apply(ui.ctx());
            seen.extend(show(ui, &model, |_| ()));
        },
        Vec::new(),
    );
    harness.get_by_label_contains("Session").click();
    harness.run();
    harness
}

fn click(harness: &mut Harness<'_, Vec<Act>>, label: &str) {
    harness.get_by_label(label).click();
    harness.run();
}

fn write(harness: &mut Harness<'_, Vec<Act>>, name: &str, text: &str) {
    harness.get_by_role_and_label(Role::TextInput, name).click();
    harness.run();
    harness.get_by_role_and_label(Role::TextInput, name).type_text(text);
    harness.run();
}

#[test]
fn without_a_session_one_can_be_begun_or_joined_and_nothing_else() {
    let mut harness = harness(Model::default());
    for closed in ["Invite…", "Leave…"] {
        assert!(harness.get_by_label(closed).accesskit_node().is_disabled(), "{closed}");
    }
    click(&mut harness, "New…");
    assert!(harness.get_by_label("Create").accesskit_node().is_disabled(), "a session has a name");
    write(&mut harness, "Name of the new session", " Friday jam ");
    click(&mut harness, "Create");
    assert_eq!(*harness.state(), [Act::Create("Friday jam".into())]);
    assert!(harness.query_by_label("Create").is_none(), "the form is closed");
    click(&mut harness, "Join…");
    write(&mut harness, "Paste the link, or enter the code", "audiocloud://join/AAAA");
    harness.key_press(Key::Enter);
    harness.run();
    assert_eq!(harness.state().last(), Some(&Act::Join("audiocloud://join/AAAA".into())));
}

#[test]
fn escape_and_cancel_close_a_form_and_ask_for_nothing() {
    let mut harness = harness(Model::default());
    click(&mut harness, "Join…");
    write(&mut harness, "Paste the link, or enter the code", "audiocloud://");
    harness.key_press(Key::Escape);
    harness.run();
    assert!(harness.query_by_label("Paste the link, or enter the code").is_none());
    click(&mut harness, "New…");
    click(&mut harness, "Cancel");
    assert!(harness.query_by_label("Create").is_none());
    assert!(harness.state().is_empty());
}

#[test]
fn members_are_listed_with_presence_and_trouble() {
    let mut model = joined();
    model.members[1].trouble = "refused: their ticket expired an hour ago".into();
    let harness = harness(model);
    harness.get_by_label("Carla: you");
    harness.get_by_label("Anna: refused: their ticket expired an hour ago");
    harness.get_by_label("Ben: away");
    harness.get_by_label("1 of 2 others of “Friday jam” is here.");
    assert!(harness.query_by_label("Remove Carla…").is_none(), "nobody removes themselves");
    assert!(harness.state().is_empty(), "looking asks for nothing");
}

#[test]
fn what_cannot_be_taken_back_is_asked_for_twice() {
    let mut harness = harness(joined());
    click(&mut harness, "Remove Anna…");
    assert!(harness.state().is_empty());
    harness.get_by_label_contains("cannot be taken back");
    click(&mut harness, "Remove");
    assert_eq!(harness.state().last(), Some(&Act::Remove(JAM, ANNA)));
    click(&mut harness, "Leave…");
    click(&mut harness, "Leave");
    assert_eq!(harness.state().last(), Some(&Act::Leave(JAM)));
    assert_eq!(harness.state().len(), 2);
}

#[test]
fn without_the_right_nobody_is_invited_or_removed() {
    let harness = harness(Model { may_invite: false, may_remove: false, ..joined() });
    assert!(harness.get_by_label("Invite…").accesskit_node().is_disabled());
    assert!(harness.query_by_label("Remove Anna…").is_none());
}

#[test]
fn an_invitation_says_for_whom_and_shows_its_link() {
    let mut harness = harness(joined());
    click(&mut harness, "Invite…");
    harness.get_by_role_and_label(Role::ComboBox, "They may").click();
    harness.run();
    click(&mut harness, "Listen only");
    click(&mut harness, "Make a link");
    let offer = Offer { role: sessions::Role::Listener, ..Offer::default() };
    assert_eq!(harness.state().last(), Some(&Act::Invite(JAM, offer)));
    assert_eq!(offer.words(), "For one person, without end: listen only.");

    let text = "audiocloud://join/AAECAwQFBgcICQ";
    let link = Link {
        text: text.into(),
        qr_code: QrCode::new(text),
        about: "For one person, for a day: play and listen.".into(),
    };
    assert!(!format!("{link:?}").contains("join"), "a link is not for logs");
    let mut model = joined();
    model.desk.link = Some(link);
    let mut harness = self::harness(model);
    harness.get_by_label("The link");
    harness.get_by_label("QR code of the link");
    harness.get_by_label("For one person, for a day: play and listen.");
    harness.get_by_label("Copy link").click();
    harness.step();
    let copied =
        |command: &egui::OutputCommand| matches!(command, egui::OutputCommand::CopyText(it) if it == text);
    assert!(harness.output().platform_output.commands.iter().any(copied));
    click(&mut harness, "Done");
    assert_eq!(*harness.state(), [Act::PutAway]);
}

#[test]
fn a_code_is_made_for_one_person_and_shown_until_it_is_put_away() {
    let mut harness = harness(joined());
    click(&mut harness, "Invite…");
    click(&mut harness, "Make a code");
    assert_eq!(harness.state().last(), Some(&Act::ShowCode(JAM, Offer::default())));

    let text = "42-guitar-ocean-lamp-tango";
    let pairing = Pairing { code: Some(text.into()), about: "Say it to the other one.".into() };
    assert!(!format!("{pairing:?}").contains("guitar"), "a code is not for logs");
    let mut model = joined();
    model.desk.pairing = Some(pairing);
    let mut harness = self::harness(model);
    harness.get_by_label(text);
    harness.get_by_label("Say it to the other one.");
    click(&mut harness, "Invite…");
    assert!(harness.get_by_label("Make a code").accesskit_node().is_disabled(), "one code at a time");
    click(&mut harness, "Put away");
    assert_eq!(*harness.state(), [Act::StopPairing]);
}

#[test]
fn a_code_is_entered_where_a_link_is_pasted() {
    let mut harness = harness(Model::default());
    click(&mut harness, "Join…");
    write(&mut harness, "Paste the link, or enter the code", " 42 guitar ocean lamp tango ");
    click(&mut harness, "Join");
    assert_eq!(*harness.state(), [Act::EnterCode("42 guitar ocean lamp tango".into())]);
    assert!(!format!("{:?}", harness.state()).contains("guitar"), "a code is not for logs");
}

#[test]
fn another_session_is_chosen_from_the_list() {
    let mut harness = harness(joined());
    for (label, expected) in [("Trio", Some(session(SessionId([3; 32]), "Trio"))), ("No session", None)] {
        harness.get_by_role_and_label(Role::ComboBox, "Belongs to").click();
        harness.run();
        click(&mut harness, label);
        assert_eq!(harness.state().last(), Some(&Act::Choose(expected)));
    }
}

#[test]
fn strangers_are_accepted_by_name_and_fingerprint() {
    let stranger = |user, name: &str, fingerprint: &str| Stranger {
        user,
        name: name.into(),
        fingerprint: fingerprint.into(),
        why: "not named".into(),
    };
    let strangers = vec![
        stranger(Some(ANNA), "Studio A", "0202 0202 0202 0202"),
        stranger(None, "192.0.2.7", "0303 0303 0303 0303"),
    ];
    let mut harness = harness(Model { strangers, ..Model::default() });
    harness.get_by_label("192.0.2.7");
    assert!(harness.query_by_label_contains("Accept 192.0.2.7").is_none(), "nobody knows yet who they are");
    harness.get_by_label("0202 0202 0202 0202");
    click(&mut harness, "Accept Studio A, 0202 0202 0202 0202");
    assert_eq!(*harness.state(), [Act::Accept(ANNA, "Studio A".into())]);
}

#[test]
fn while_something_is_done_nothing_else_is_asked_for() {
    let mut model = joined();
    model.desk.is_busy = true;
    let harness = harness(model);
    for button in ["New…", "Join…", "Invite…", "Leave…", "Remove Anna…"] {
        assert!(harness.get_by_label(button).accesskit_node().is_disabled(), "{button}");
    }
}

#[test]
fn who_is_no_member_reads_what_to_do() {
    let status = Status::new(Severity::Warning, "You are no member.", "Ask Anna for a new link.");
    let model = Model { status, joined: Vec::new(), members: Vec::new(), ..joined() };
    let harness = harness(model);
    harness.get_by_label("Warning: You are no member. Ask Anna for a new link.");
    assert!(harness.get_by_label("Leave…").accesskit_node().is_disabled());
}

#[cfg(feature = "pictures")]
#[test]
fn it_has_its_picture() {
    use crate::editor::picture::{draw, scale};

    let size = vec2(460.0, 560.0);
    let draw = |model: &Model| {
        draw(size, scale(), |ui| {
            ui.painter().rect_filled(ui.clip_rect(), 0.0, theme::BACKGROUND);
            let inside = egui::Frame::new().inner_margin(egui::Margin::same(theme::MARGIN));
            inside.show(ui, |ui| drop(content(ui, model, |_| ())));
        })
    };
    let mut model = joined();
    let text = format!("audiocloud://join/{}", "AbCd0123_-xyz".repeat(70));
    model.desk.link = Some(Link {
        qr_code: QrCode::new(&text),
        text,
        about: "For one person, for a day: play and listen.".into(),
    });
    let invited = draw(&model);
    invited.keep("session").unwrap();
    assert!(invited.count(egui::Color32::BLACK) > 10_000, "the code");

    let mut model = joined();
    let about = "Say it to the other one, who enters it under Join…, within ten minutes. For one person, without end: play \
                 and listen.";
    model.desk.pairing =
        Some(Pairing { code: Some("42-guitar-ocean-lamp-tango".into()), about: about.into() });
    let code = draw(&model);
    code.keep("session_code").unwrap();
    assert!(code.count(theme::CARD) > 10_000 && code.count(theme::TEXT) > 500, "the code");

    let status = Status::new(
        Severity::Warning,
        "This project belongs to “Friday jam”, and you are no member of it.",
        "Ask Anna for a new link and join by it, or choose another session.",
    );
    let stranger = Stranger {
        user: Some(ANNA),
        name: "Studio A".into(),
        fingerprint: "3f2a 0c11 9d02 77e4".into(),
        why: "not named".into(),
    };
    let outside =
        Model { status, joined: Vec::new(), members: Vec::new(), strangers: vec![stranger], ..joined() };
    let outside = draw(&outside);
    outside.keep("session_outside").unwrap();
    assert!(outside.count(theme::WARNING) > 50, "the signs");
}
