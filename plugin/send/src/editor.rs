//! Send's window: name, Transmit, meter, listeners, and the sentence of status.

use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::editor::window::{View, Window, set};
use audiocloud_instance::editor::{details, figure, meter, name_field, page, session_panel, theme, toggle};
use egui::{ComboBox, RichText, Ui, Vec2, vec2};
use nice_plug::prelude::{IntParam, ParamSetter};

use crate::model::{Action, Model};
use crate::params::SendParams;
use crate::quality::Highest;

const PLUG_IN: &str = "audiocloud Send";
/// Points.
const SIZE: Vec2 = vec2(460.0, 300.0);
const SIZE_MIN: Vec2 = vec2(380.0, 260.0);

/// What the user asked for in one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The parameter *Transmit*.
    Transmit(bool),
    Act(Action),
}

/// Draws one frame of the window and says what the user asked for.
pub fn ui(ui: &mut Ui, model: &Model, transmit: bool) -> Vec<Request> {
    let mut requests = Vec::new();
    page(
        ui,
        PLUG_IN,
        &model.status,
        |ui| figures(ui, model),
        |ui| {
            let mut transmit = transmit;
            ui.horizontal(|ui| {
                let label = ui.label(RichText::new("Stream name").color(theme::TEXT_WEAK));
                let width = (ui.available_width() - 116.0).max(80.0);
                if let Some(name) = name_field::show(ui, &model.name, "Name this stream", width, label.id) {
                    requests.push(Request::Act(Action::SetName(name)));
                }
                let switch = toggle::show(ui, "Transmit", &mut transmit);
                if switch.on_hover_text("Off: audio still passes through, nothing is published.").changed() {
                    requests.push(Request::Transmit(transmit));
                }
            });
            ui.add_space(6.0);
            meter::show(ui, "Input", &model.peaks);
            ui.add_space(2.0);
            requests.extend(session(ui, model).into_iter().map(Request::Act));
            details::show(ui, &model.identity, &lines(model), |ui| {
                if let Some(highest) = highest_choice(ui, model.highest) {
                    requests.push(Request::Act(Action::SetHighest(highest)));
                }
            });
        },
    );
    requests
}

/// At the right of the head, from the right.
fn figures(ui: &mut Ui, model: &Model) {
    let listeners = model.subscribers.to_string();
    figure::show(ui, "Listeners", &listeners, "Receivers that play this stream now.");
    if !model.peaks.is_empty() {
        let meaning =
            "How far the host runs ahead of real time; about one block is usual. It adds to the latency.";
        figure::show(ui, "Host ahead", &figure::milliseconds(model.ahead_ms), meaning);
    }
}

fn session(ui: &mut Ui, model: &Model) -> Vec<Action> {
    let mut talk_back = None;
    let acts = session_panel::show(ui, &model.session, |ui| {
        let mut is_on = model.is_talk_back;
        let meaning = "For talking: heard by whoever picks this very stream, and never part of what plays or records all \
                       streams of a person or a session. A change begins the stream anew.";
        if toggle::show(ui, "Talk-back", &mut is_on).on_hover_text(meaning).changed() {
            talk_back = Some(Action::SetTalkBack(is_on));
        }
    });
    talk_back.into_iter().chain(acts.into_iter().map(Action::Session)).collect()
}

/// What listeners can have at best; each may ask for less.
fn highest_choice(ui: &mut Ui, now: Highest) -> Option<Highest> {
    let mut wanted = now;
    let label = RichText::new("Highest quality").color(theme::TEXT_WEAK);
    let list = ComboBox::from_label(label).selected_text(now.words()).show_ui(ui, |ui| {
        for one in Highest::ALL {
            ui.selectable_value(&mut wanted, one, one.words());
        }
    });
    let meaning = "The best that listeners can have; each may ask for less. 32-bit float is exact for everything, 24-bit for \
                   sources of 24 bits or less; Opus takes a tenth of the network or less, and adds 2.5 ms and its frame. A \
                   change begins the stream anew.";
    list.response.on_hover_text(meaning);
    (wanted != now).then_some(wanted)
}

fn lines(model: &Model) -> Vec<Detail> {
    let format = (!model.format.is_empty()).then(|| {
        Detail::new("Format", model.format.clone(), "Sample rate, layout and coding of the stream.")
    });
    format.into_iter().chain(model.listeners.iter().cloned()).chain(model.details.iter().cloned()).collect()
}

/// The window in a host.
#[derive(Debug)]
pub struct SendView;

/// The type of Send's editor.
pub type SendEditor = Window<SendView>;

impl View for SendView {
    type Params = SendParams;
    type Model = Model;
    type Action = Action;

    const PLUG_IN: &'static str = PLUG_IN;
    const SIZE: Vec2 = SIZE;
    const SIZE_MIN: Vec2 = SIZE_MIN;

    fn revision<'a>(model: &Model, params: &'a SendParams) -> (u64, &'a IntParam) {
        (model.revision, &params.revision)
    }

    fn draw(
        ui: &mut Ui,
        model: &Model,
        params: &SendParams,
        setter: &ParamSetter<'_>,
        act: &mut dyn FnMut(Action),
    ) {
        for request in self::ui(ui, model, params.transmit.value()) {
            match request {
                Request::Transmit(on) => set(setter, &params.transmit, on),
                Request::Act(action) => act(action),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_instance::editor::picture::{draw, scale};
    use audiocloud_instance::status::{Severity, Status};
    use egui::Key;
    use egui::accesskit::Role;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    fn model() -> Model {
        Model {
            name: "Drums".into(),
            status: Status::new(Severity::Good, "On air to 2 receivers.", ""),
            subscribers: 2,
            format: "48 kHz, 2 channels, 32-bit float".into(),
            peaks: vec![0.5, 0.25],
            ahead_ms: 2.7,
            identity: "3f2a 0c11".into(),
            listeners: vec![Detail::new("Studio A", "12.2 ms, 0.05 % lost, 24-bit", "Heard there.")],
            details: vec![Detail::new("Blocks lost (this computer)", "0", "The ring was full.")],
            ..Model::default()
        }
    }

    fn harness<'a>(model: Model) -> Harness<'a, Vec<Request>> {
        Harness::builder().with_size(SIZE).build_ui_state(
            move |ui, seen: &mut Vec<Request>| {
                theme::apply(ui.ctx());
                seen.extend(self::ui(ui, &model, true));
            },
            Vec::new(),
        )
    }

    #[test]
    fn everything_that_is_shown_has_a_name() {
        let mut harness = harness(model());
        harness.run();
        harness.get_by_role_and_label(Role::TextInput, "Stream name");
        harness.get_by_role_and_label(Role::Switch, "Transmit");
        harness.get_by_label("Channel L: -6.0 dBFS");
        harness.get_by_label("Channel R: -12.0 dBFS");
        harness.get_by_label("Listeners: 2");
        harness.get_by_label("Host ahead: 2.7 ms");
        harness.get_by_label("Good: On air to 2 receivers.");
        assert!(harness.state().is_empty(), "looking asks for nothing");
    }

    #[test]
    fn transmit_is_switched_off() {
        let mut harness = harness(model());
        harness.get_by_label("Transmit").click();
        harness.run();
        assert_eq!(*harness.state(), [Request::Transmit(false)]);
    }

    fn rename(keys: &[Key], text: &str) -> Vec<Request> {
        let mut harness = harness(model());
        harness.run();
        let field = harness.get_by_role_and_label(Role::TextInput, "Stream name");
        field.click();
        harness.run();
        harness.key_combination_modifiers(egui::Modifiers::COMMAND, &[Key::A]);
        harness.get_by_role_and_label(Role::TextInput, "Stream name").type_text(text);
        harness.run();
        for key in keys {
            harness.key_press(*key);
        }
        harness.run();
        harness.into_state()
    }

    #[test]
    fn a_name_counts_from_enter_and_escape_takes_it_back() {
        assert_eq!(rename(&[Key::Enter], "  Bass "), [Request::Act(Action::SetName("Bass".into()))]);
        assert_eq!(rename(&[Key::Escape], "Bass"), []);
        assert_eq!(rename(&[Key::Enter], "Drums"), [], "the same name is no change");
        assert_eq!(rename(&[Key::Enter], "   "), [], "a stream has a name");
        assert_eq!(rename(&[], "Bass"), [], "not while it is being typed");
    }

    #[test]
    fn details_are_behind_their_fold() {
        let mut harness = harness(model());
        assert!(harness.query_by_label("Identity").is_none());
        harness.get_by_label("Details").click();
        harness.run();
        harness.get_by_label("Blocks lost (this computer)");
        harness.get_by_label("Identity");
        harness.get_by_label("48 kHz, 2 channels, 32-bit float");
    }

    #[test]
    fn listeners_and_the_highest_quality_are_behind_details() {
        let mut harness = harness(model());
        harness.get_by_label("Details").click();
        harness.run();
        harness.get_by_label("Studio A");
        harness.get_by_label("12.2 ms, 0.05 % lost, 24-bit");
        let list = harness.get_by_role_and_label(Role::ComboBox, "Highest quality");
        list.scroll_to_me();
        harness.run();
        harness.get_by_role_and_label(Role::ComboBox, "Highest quality").click();
        harness.run();
        harness.get_by_label("Opus, 96 kbit/s").click();
        harness.run();
        assert_eq!(*harness.state(), [Request::Act(Action::SetHighest(Highest::Opus96))]);
    }

    #[test]
    fn talk_back_and_the_session_are_behind_their_fold() {
        let mut harness = harness(Model { is_talk_back: true, ..model() });
        assert!(harness.query_by_label("Talk-back").is_none());
        harness.get_by_label("Session").click();
        harness.run();
        harness.get_by_role_and_label(Role::Switch, "Talk-back").click();
        harness.run();
        assert_eq!(*harness.state(), [Request::Act(Action::SetTalkBack(false))]);
        harness.get_by_label("New…");
    }

    #[test]
    fn it_has_its_picture() {
        let draw = |model: &Model| draw(SIZE, scale(), |ui| drop(self::ui(ui, model, true)));
        let picture = draw(&model());
        picture.keep("send").unwrap();
        assert!(picture.count(theme::ACCENT) > 100, "the switch is on");
        let silent = draw(&Model { peaks: vec![0.0; 2], ..model() });
        assert_ne!(picture, silent, "the meter shows the level");
        let lost = Status::new(
            Severity::Warning,
            "Another Send already uses this stream's identity (a duplicated track?): this one is now a new stream.",
            "Pick the new stream in each Receive that should play it, and save the project.",
        );
        let many = Model { status: lost, peaks: vec![0.5, 0.4, 0.3, 0.01, 0.2, 0.1, 1.2, 0.0], ..model() };
        draw(&many).keep("send_warning").unwrap();
    }
}
