//! Remote FX's window.

use audiocloud_instance::editor::window::{View, Window};
use audiocloud_instance::editor::{details, page};
use egui::{Ui, Vec2, vec2};
use nice_plug::prelude::{IntParam, ParamSetter};

use crate::model::{Action, Model};
use crate::params::RemoteFxParams;

/// What nice-plug is told of the window.
#[derive(Debug)]
pub struct RemoteFxView;

/// The type of Remote FX's editor.
pub type RemoteFxEditor = Window<RemoteFxView>;

impl View for RemoteFxView {
    type Params = RemoteFxParams;
    type Model = Model;
    type Action = Action;

    const PLUG_IN: &'static str = "audiocloud Remote FX";
    const SIZE: Vec2 = vec2(560.0, 560.0);
    const SIZE_MIN: Vec2 = vec2(460.0, 360.0);

    fn revision<'a>(model: &Model, params: &'a RemoteFxParams) -> (u64, &'a IntParam) {
        (model.revision, &params.revision)
    }

    fn draw(
        ui: &mut Ui,
        model: &Model,
        _params: &RemoteFxParams,
        _setter: &ParamSetter<'_>,
        _act: &mut dyn FnMut(Action),
    ) {
        page(
            ui,
            Self::PLUG_IN,
            &model.status,
            |_| (),
            |ui| details::show(ui, &model.identity, &model.details, |_| ()),
        );
    }
}
