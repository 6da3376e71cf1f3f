//! Inputs: what plays streams here, shown to others as the other side of the patch bay, and patched by them where they
//! may.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use audiocloud_wire::id::{DeviceId, InputId, SessionId, StreamKey};
use tokio::sync::mpsc;

use crate::command::Command;
use crate::status::lock;

/// Patches that wait to be taken. More are refused: whoever should take them does not.
const PATCHES_MAX: usize = 64;

/// What an input is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputConfig {
    /// What its user calls it.
    pub name: String,
    /// The session that it plays streams of; only members of this one see it, and those who are trusted without one.
    pub session: Option<SessionId>,
    /// Whether others with the right to control it may choose what it plays.
    pub open: bool,
    /// Whether it plays a person, or all of a session: what is for talking is in no mix.
    pub mixes: bool,
}

/// A wish of somebody else that an input of ours plays something, or no longer. Who asks had the right to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchWish {
    /// Which stream.
    pub stream: StreamKey,
    /// Whether it is to be played.
    pub on: bool,
    /// Who asks, for people.
    pub by: String,
}

/// An input as the patch bay shows it, ours or a peer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputStatus {
    /// The device that plays.
    pub device: DeviceId,
    /// What the device calls itself.
    pub device_name: String,
    /// Which of its inputs.
    pub input: InputId,
    /// What its user calls it.
    pub name: String,
    /// The session that it plays streams of.
    pub session: Option<SessionId>,
    /// What it plays now.
    pub playing: Vec<StreamKey>,
    /// Whether others may patch it.
    pub open: bool,
    /// Of this process.
    pub local: bool,
}

/// A patch that was asked for here and is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchRefusal {
    /// The device that plays.
    pub device: DeviceId,
    /// Which of its inputs.
    pub input: InputId,
    /// Which stream.
    pub stream: StreamKey,
    /// Why, for people.
    pub text: String,
}

/// What an input shares with its owner.
#[derive(Debug)]
pub(crate) struct InputShared {
    pub(crate) id: InputId,
    state: Mutex<InputState>,
}

#[derive(Clone, Debug, Default)]
struct InputState {
    config: InputConfig,
    playing: Vec<StreamKey>,
    patches: VecDeque<PatchWish>,
}

impl InputShared {
    pub(crate) fn new(id: InputId, config: InputConfig) -> Self {
        Self { id, state: Mutex::new(InputState { config, ..InputState::default() }) }
    }

    pub(crate) fn config(&self) -> InputConfig {
        lock(&self.state).config.clone()
    }

    pub(crate) fn playing(&self) -> Vec<StreamKey> {
        lock(&self.state).playing.clone()
    }

    /// Hands a wish to the owner. Whether there was room.
    pub(crate) fn wish(&self, wish: PatchWish) -> bool {
        let mut state = lock(&self.state);
        let room = state.patches.len() < PATCHES_MAX;
        if room {
            state.patches.push_back(wish);
        }
        room
    }
}

/// An input of ours. Dropping it takes it out of the patch bay. *Realtime-safe: no.*
pub struct Input {
    pub(crate) shared: Arc<InputShared>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("id", &self.shared.id).finish_non_exhaustive()
    }
}

impl Input {
    /// Which.
    pub fn id(&self) -> InputId {
        self.shared.id
    }

    /// Is something else from now on.
    pub fn set(&self, config: InputConfig) {
        let changed = {
            let mut state = lock(&self.shared.state);
            std::mem::replace(&mut state.config, config.clone()) != config
        };
        self.tell(changed);
    }

    /// Says what it plays now.
    pub fn playing(&self, streams: &[StreamKey]) {
        let changed = {
            let mut state = lock(&self.shared.state);
            let changed = state.playing != streams;
            state.playing = streams.to_vec();
            changed
        };
        self.tell(changed);
    }

    /// What others asked for since the last call, in their order; to be asked for a few times a second.
    pub fn take_patches(&self) -> Vec<PatchWish> {
        lock(&self.shared.state).patches.drain(..).collect()
    }

    fn tell(&self, changed: bool) {
        if changed {
            // After the runtime's end there is nobody to be told.
            self.commands.send(Command::InputsChanged).ok();
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.commands.send(Command::RemoveInput { input: self.shared.id }).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_wire::id::StreamId;

    #[test]
    fn wishes_wait_in_their_order_and_are_bounded() {
        let shared = InputShared::new(InputId(1), InputConfig::default());
        let wish = |number: u64| PatchWish {
            stream: StreamKey::new(DeviceId([0; 32]), StreamId(number)),
            on: true,
            by: "B".to_owned(),
        };
        let taken = (0..100).filter(|number| shared.wish(wish(*number))).count();
        assert_eq!(taken, PATCHES_MAX);
        let (commands, mut told) = mpsc::unbounded_channel();
        let input = Input { shared: Arc::new(shared), commands };
        let wishes = input.take_patches();
        assert_eq!((wishes.len(), &wishes[3]), (PATCHES_MAX, &wish(3)));
        assert!(input.take_patches().is_empty());
        input.playing(&[]);
        assert!(told.try_recv().is_err(), "it played nothing before either");
    }
}
