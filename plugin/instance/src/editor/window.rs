//! A view in a host's window: everything the host may call is guarded, and repainting is at a calm rate.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use egui::Vec2;
use nice_plug::context::gui::GuiContext;
use nice_plug::editor::dpi::{LogicalSize, NativeSize};
use nice_plug::editor::{HostMethods, SpawnedEditor};
use nice_plug::prelude::{Editor, FloatParam, IntParam, Param, ParamSetter, ParentWindowHandle, ResizeHint};
use nice_plug_egui::resizable_window::ResizableWindow;
use nice_plug_egui::{
    EguiEditor, EguiEditorHandle, EguiEditorState, EguiNiceSettings, Frame, NiceEguiApp, RepaintNotifier,
    baseview, create_egui_editor,
};

use super::slider::Gesture;
use super::{guarded_ui, theme};
use crate::guard::{Guard, Stage};

/// Time from frame to frame: a meter looks smooth, and a second core stays free for audio.
const FRAME: Duration = Duration::from_millis(33);

/// What is in a plug-in's window.
pub trait View: 'static {
    /// The plug-in's parameters.
    type Params: Send + Sync;
    /// What is shown.
    type Model: 'static;
    /// What a user can ask for beyond parameters.
    type Action: 'static;

    /// The plug-in's name.
    const PLUG_IN: &'static str;
    /// Points, when it opens.
    const SIZE: Vec2;
    /// Points, at least.
    const SIZE_MIN: Vec2;

    /// The number of the state that projects keep; and the hidden parameter by which the host is told of another one.
    fn revision<'a>(model: &Self::Model, params: &'a Self::Params) -> (u64, &'a IntParam);

    /// Draws one frame and carries out what the user asked for: parameters by `setter`, all else by `act`.
    fn draw(
        ui: &mut egui::Ui,
        model: &Self::Model,
        params: &Self::Params,
        setter: &ParamSetter<'_>,
        act: &mut dyn FnMut(Self::Action),
    );
}

struct App<V: View> {
    params: Arc<V::Params>,
    model: Box<dyn FnMut() -> V::Model + Send>,
    act: Box<dyn FnMut(V::Action) + Send>,
    /// Of the state that the host knows of.
    revision: u64,
    guard: Guard,
    /// The host's, from opening; it refers to the plug-in without keeping it alive.
    context: Option<GuiContext>,
}

impl<V: View> App<V> {
    fn draw(&mut self, ui: &mut egui::Ui, setter: &ParamSetter<'_>) {
        let model = (self.model)();
        let (revision, parameter) = V::revision(&model, &self.params);
        if self.revision != revision {
            self.revision = revision;
            mark_changed(setter, parameter);
        }
        V::draw(ui, &model, &self.params, setter, &mut self.act);
    }
}

impl<V: View> NiceEguiApp for App<V> {
    fn build(
        &mut self,
        context: egui::Context,
        host: GuiContext,
        frame: &mut Frame,
    ) -> Result<(), baseview::HandlerError> {
        theme::apply(&context);
        let background = theme::BACKGROUND;
        frame.set_clear_color(background.into());
        self.context = Some(host);
        self.guard.reopen_editor();
        Ok(())
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut Frame) {
        let (Some(context), guard) = (self.context.clone(), self.guard.clone()) else { return };
        guarded_ui(&guard, V::PLUG_IN, ui, |ui| {
            ResizableWindow::new("window").min_size(V::SIZE_MIN).show(ui, |ui| {
                self.draw(ui, &context.param_setter());
            });
        });
        ui.ctx().request_repaint_after(FRAME);
    }
}

/// A view's editor, as a plug-in gives it to nice-plug.
pub struct Window<V: View> {
    inner: EguiEditor<App<V>>,
    guard: Guard,
    size: NativeSize<u32>,
}

impl<V: View> std::fmt::Debug for Window<V> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Window").finish_non_exhaustive()
    }
}

/// Why a window did not open.
#[derive(Debug)]
struct Panicked;

impl std::fmt::Display for Panicked {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .write_str("The window stopped after an internal error while it was opened; the sound goes on.")
    }
}

impl Error for Panicked {}

/// Makes a plug-in's editor. Both closures are called on the window's thread, `model` once a frame, while it is open.
/// Nothing is opened yet.
pub fn create<V: View>(
    params: Arc<V::Params>,
    guard: &Guard,
    model: impl FnMut() -> V::Model + Send + 'static,
    act: impl FnMut(V::Action) + Send + 'static,
) -> Option<Window<V>> {
    let logical = |size: Vec2| LogicalSize { width: size.x, height: size.y };
    let state: Arc<EguiEditorState> = EguiEditorState::from_size(logical(V::SIZE), 1.0);
    let settings = EguiNiceSettings::new()
        .with_tile(V::PLUG_IN)
        .with_resize_hint(ResizeHint::resizable().with_min_logical_size(logical(V::SIZE_MIN)));
    let (model, act) = (Box::new(model), Box::new(act));
    let app = App { params, model, act, revision: 0, guard: guard.clone(), context: None };
    let inner = create_egui_editor(state, RepaintNotifier::new(), settings, app)?;
    let size = inner.size();
    Some(Window { inner, guard: guard.clone(), size })
}

impl<V: View> Editor for Window<V> {
    type Handle = EguiEditorHandle;

    fn spawn(
        &self,
        parent: Option<ParentWindowHandle>,
        wait_for_parent: bool,
        fallback_scale_factor: Option<f64>,
        context: GuiContext,
        host: Option<HostMethods>,
    ) -> Result<SpawnedEditor<Self::Handle>, Box<dyn Error>> {
        // Not the editor's own stage, which is for drawing: a window that failed to open must not stay dark.
        self.guard
            .run(Stage::Report, || {
                self.inner.spawn(parent, wait_for_parent, fallback_scale_factor, context, host)
            })
            .unwrap_or_else(|| Err(Box::new(Panicked)))
    }

    fn size(&self) -> NativeSize<u32> {
        self.guard.run(Stage::Report, || self.inner.size()).unwrap_or(self.size)
    }

    fn resize_hint(&self) -> ResizeHint {
        self.inner.resize_hint()
    }
}

/// A whole gesture on a parameter.
pub fn set<P: Param>(setter: &ParamSetter<'_>, param: &P, value: P::Plain) {
    setter.begin_set_parameter(param);
    setter.set_parameter(param, value);
    setter.end_set_parameter(param);
}

/// A slider's part of a gesture.
pub fn carry_out(setter: &ParamSetter<'_>, param: &FloatParam, gesture: Gesture) {
    match gesture {
        Gesture::Begin => setter.begin_set_parameter(param),
        // Stepped as the parameter is, so that what is shown is what is set.
        Gesture::Set(value) => {
            setter.set_parameter(param, param.preview_plain(param.preview_normalized(value)));
        }
        Gesture::End => setter.end_set_parameter(param),
    }
}

/// Makes the host mark its project as changed, by the hidden parameter `revision`.
fn mark_changed(setter: &ParamSetter<'_>, revision: &IntParam) {
    let (from, to) = (revision.value(), revision.preview_plain(1.0));
    set(setter, revision, if from < to { from + 1 } else { 0 });
}
