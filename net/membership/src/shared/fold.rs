//! From changes in their order to what they amount to.

use audiocloud_wire::id::{ChangeHash, UserId};

use super::edit::Edit;
use super::notes::{Notes, Splice};
use super::view::{Scene, View, Written};
use super::{CHAT_LINES_MAX, EditError};
use crate::change::{Operation, SignedChange};
use crate::shared::notes::STRETCHES_MAX;

/// What the changes so far amount to.
#[derive(Debug, Default)]
pub(super) struct Fold {
    view: View,
    notes: Notes,
    /// The text of `notes` is not yet in `view`.
    notes_new: bool,
}

impl Fold {
    /// Applies one change. The later one of two that set the same wins.
    pub(super) fn apply(&mut self, hash: ChangeHash, change: &SignedChange) {
        let by = change.author;
        match change.operation() {
            Some((Operation::Edit(edit), at_ms)) => self.apply_edit(edit, by, at_ms),
            Some((Operation::Notes(splice), at_ms)) => {
                self.notes.apply(hash, &splice);
                self.notes_new = true;
                self.view.notes_by = Some(Written { value: (), by, at_ms });
            }
            None => self.view.unknown += 1,
        }
    }

    /// What the changes amount to.
    pub(super) fn view(&mut self) -> &View {
        if std::mem::take(&mut self.notes_new) {
            self.view.notes = self.notes.text();
        }
        &self.view
    }

    /// What makes `wanted` of the notes; `None` when it is what they are.
    pub(super) fn splice_to(&self, wanted: &str) -> Result<Option<Splice>, EditError> {
        match self.notes.splice_to(wanted) {
            Some(splice) if splice.removed.len() > STRETCHES_MAX => Err(EditError::Scattered),
            splice => Ok(splice),
        }
    }

    /// Whether the edit would set what is set already.
    pub(super) fn has(&self, edit: &Edit) -> bool {
        fn is<T: PartialEq>(now: Option<&Written<T>>, wanted: &T) -> bool {
            now.is_some_and(|now| now.value == *wanted)
        }
        let view = &self.view;
        match edit {
            Edit::Key(key) => is(view.key.as_ref(), key),
            Edit::Scale(scale) => is(view.scale.as_ref(), scale),
            Edit::Tempo(bpm) => is(view.tempo_bpm.as_ref(), bpm),
            Edit::Loop(beats) => is(view.loop_beats.as_ref(), beats),
            Edit::Scene { name, streams, chains } => view
                .scenes
                .get(name)
                .is_some_and(|now| now.value.streams == *streams && now.value.chains == *chains),
            Edit::RemoveScene(name) => !view.scenes.contains_key(name),
            Edit::ActivateScene(name) => is(view.active_scene.as_ref(), name),
            Edit::Preset { name, bytes } => is(view.presets.get(name), bytes),
            Edit::RemovePreset(name) => !view.presets.contains_key(name),
            // The same line twice is two lines.
            Edit::Chat(_) | Edit::Notes(_) => false,
        }
    }

    fn apply_edit(&mut self, edit: Edit, by: UserId, at_ms: u64) {
        let view = &mut self.view;
        match edit {
            Edit::Key(value) => view.key = Some(Written { value, by, at_ms }),
            Edit::Scale(value) => view.scale = Some(Written { value, by, at_ms }),
            Edit::Tempo(value) => view.tempo_bpm = Some(Written { value, by, at_ms }),
            Edit::Loop(value) => view.loop_beats = Some(Written { value, by, at_ms }),
            Edit::Scene { name, streams, chains } => {
                view.scenes.insert(name, Written { value: Scene { streams, chains }, by, at_ms });
            }
            Edit::RemoveScene(name) => {
                view.scenes.remove(&name);
            }
            Edit::ActivateScene(value) => view.active_scene = Some(Written { value, by, at_ms }),
            Edit::Preset { name, bytes } => {
                view.presets.insert(name, Written { value: bytes, by, at_ms });
            }
            Edit::RemovePreset(name) => {
                view.presets.remove(&name);
            }
            Edit::Chat(value) => {
                if view.chat.len() == CHAT_LINES_MAX {
                    view.chat.pop_front();
                }
                view.chat.push_back(Written { value, by, at_ms });
            }
            // A whole text is never signed: `SignedChange::operation` gives none.
            Edit::Notes(_) => view.unknown += 1,
        }
    }
}
