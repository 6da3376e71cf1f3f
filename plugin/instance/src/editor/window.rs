//! A view in a host's window: everything the host may call is guarded, and repainting is at a calm rate.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use egui::Vec2;
use nice_plug::context::gui::GuiContext;
use nice_plug::editor::dpi::{LogicalSize, NativeSize};
use nice_plug::editor::{HostMethods, SpawnedEditor};
use nice_plug::prelude::{Editor, IntParam, Param, ParamSetter, ParentWindowHandle, ResizeHint};
use nice_plug_egui::resizable_window::ResizableWindow;
use nice_plug_egui::{
    EguiEditor, EguiEditorHandle, EguiEditorState, EguiNiceSettings, Frame, NiceEguiApp, RepaintNotifier,
    baseview, create_egui_editor,
};

use super::{guarded_ui, theme};
use crate::guard::{Guard, Stage};

/// Time from frame to frame: a meter looks smooth, and a second core stays free for audio.
const FRAME: Duration = Duration::from_millis(33);

/// What is in a window: takes its model, draws it, and carries out what the user asked for.
pub trait View: Send + 'static {
    /// Once a frame, on the window's thread.
    fn draw(&mut self, ui: &mut egui::Ui, setter: &ParamSetter<'_>);
}

struct App<V> {
    view: V,
    guard: Guard,
    plug_in: &'static str,
    size_min: Vec2,
    /// The host's, from opening; it refers to the plug-in without keeping it alive.
    context: Option<GuiContext>,
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
        let Some(context) = &self.context else { return };
        let view = &mut self.view;
        guarded_ui(&self.guard, self.plug_in, ui, |ui| {
            ResizableWindow::new("window").min_size(self.size_min).show(ui, |ui| {
                view.draw(ui, &context.param_setter());
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

/// Makes the editor of `plug_in` around `view`; sizes in points. Nothing is opened yet.
pub fn create<V: View>(
    plug_in: &'static str,
    size: Vec2,
    size_min: Vec2,
    guard: &Guard,
    view: V,
) -> Option<Window<V>> {
    let logical = |size: Vec2| LogicalSize { width: size.x, height: size.y };
    let state: Arc<EguiEditorState> = EguiEditorState::from_size(logical(size), 1.0);
    let settings = EguiNiceSettings::new()
        .with_tile(plug_in)
        .with_resize_hint(ResizeHint::resizable().with_min_logical_size(logical(size_min)));
    let app = App { view, guard: guard.clone(), plug_in, size_min, context: None };
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

/// Makes the host mark its project as changed, by the hidden parameter `revision`.
pub fn mark_changed(setter: &ParamSetter<'_>, revision: &IntParam) {
    let (from, to) = (revision.value(), revision.preview_plain(1.0));
    setter.begin_set_parameter(revision);
    setter.set_parameter(revision, if from < to { from + 1 } else { 0 });
    setter.end_set_parameter(revision);
}
