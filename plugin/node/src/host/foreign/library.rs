//! The library of this machine's plug-ins, and those of it that play in one chain.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use audiocloud_engine::chain::blob::{Blob, STATE_BYTES_MAX, STATES_BYTES_MAX};
use audiocloud_engine::chain::document::{CLAP, Slot};
use audiocloud_engine::chain::foreign::{Description, Foreign, ForeignParameter};
use audiocloud_engine::chain::rack::RackSetup;
use audiocloud_engine::graph::node::Node;
use audiocloud_engine::host::answers::Answers;
use audiocloud_engine::host::library::Library;
use audiocloud_engine::host::plugin::{BLOCK_FRAMES_MAX, Handle, HostedPlugin, Setup};
use audiocloud_engine::host::program::Program;
use serde_json::{Value, json};

use crate::node::settings::HostSettings;

/// Beside `config.toml`.
const FOLDER: &str = "plug-ins";
/// A plug-in that says without end that its state changed is asked for it no more often.
const STATE_EVERY: Duration = Duration::from_secs(5);
/// Nor than so many bytes of it go back in a second, beside the sound.
const STATE_BYTES_PER_S: u32 = 256 << 10;

/// What is known of this machine's plug-ins.
pub(crate) fn library(config_dir: &Path) -> anyhow::Result<Library> {
    let program = Program::this(&["sandbox"])
        .context("plug-ins cannot be hosted; set `plugins = false` in node.toml")?;
    Ok(Library::open(&config_dir.join(FOLDER), program))
}

/// The library, and what is told of it.
#[derive(Debug)]
pub(super) struct Shelf {
    library: Arc<Library>,
    details: Mutex<Vec<u8>>,
}

impl Shelf {
    /// What is known from before; files that are new or changed are looked into meanwhile.
    pub(super) fn open(settings: &HostSettings, config_dir: &Path) -> anyhow::Result<Arc<Self>> {
        let library = Arc::new(library(config_dir)?);
        let shelf = Arc::new(Self { library, details: Mutex::default() });
        shelf.tell();
        let mut folders = settings.plugin_folders.clone();
        folders.extend(Library::folders());
        let searching = Arc::clone(&shelf);
        thread::Builder::new().name("audiocloud-search".to_owned()).spawn(move || {
            match searching.library.search(&folders) {
                Ok(report) => {
                    let (files, searched, plug_ins) = (report.files, report.searched, report.plugins);
                    tracing::info!(target: "audiocloud::node", files, searched, plug_ins, "CLAP plug-ins");
                    for (path, words) in report.faults {
                        tracing::warn!(target: "audiocloud::node", path = %path.display(), words, "cannot be hosted");
                    }
                }
                Err(error) => {
                    tracing::warn!(target: "audiocloud::node", %error, "what was found of plug-ins is not kept");
                }
            }
            searching.tell();
        })?;
        Ok(shelf)
    }

    pub(super) fn details(&self) -> Vec<u8> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Brings what is told up to date.
    fn tell(&self) {
        let plug_ins = self.library.plugins().into_iter();
        let plug_ins: Vec<Value> = plug_ins
            .map(|found| json!({ "id": found.listed.id, "name": found.listed.name, "vendor": found.listed.vendor }))
            .collect();
        let quarantined = self.library.quarantined().into_iter();
        let quarantined: Vec<Value> = quarantined
            .map(|held| {
                let file = held.path.file_name().map(|name| name.to_string_lossy().into_owned());
                json!({ "id": held.id.or(file), "why": held.words })
            })
            .collect();
        *self.details.lock().unwrap_or_else(PoisonError::into_inner) = super::told(&plug_ins, &quarantined);
    }

    pub(super) fn foreign(self: &Arc<Self>, block_frames_max: u32, fifo: u8) -> (Box<dyn Foreign>, Playing) {
        let playing = Playing::default();
        let made = Made {
            shelf: Arc::clone(self),
            playing: playing.clone(),
            replaced: None,
            block_frames_max: block_frames_max.clamp(1, BLOCK_FRAMES_MAX),
            fifo: (fifo > 0).then_some(fifo),
        };
        (Box::new(made), playing)
    }
}

/// A plug-in that plays.
#[derive(Debug)]
struct One {
    handle: Handle,
    /// The state that the document has of it.
    kept: Option<Vec<u8>>,
    /// Why its state is not kept.
    unkept: Option<String>,
    /// Up to which of its changes, when it was asked for last, and how long it was then.
    seen: u64,
    asked: Instant,
    bytes: u32,
    was_running: bool,
    /// How late it was counted on and was, when that was looked at last, and when it was made anew for it last.
    moved: Option<(u32, u32)>,
    mended: Option<(u32, u32)>,
    /// What it is made anew with.
    newest: Option<Vec<u8>>,
}

impl One {
    /// One that was opened with this state of the document's; or with a newer one, which the document is to have yet.
    fn new(handle: Handle, kept: Option<Vec<u8>>, before: Option<Before>) -> Self {
        let is_newer = before.as_ref().is_some_and(|before| before.newest.is_some());
        let seen = if is_newer { u64::MAX } else { handle.state_changes() };
        Self {
            handle,
            kept,
            unkept: before.as_ref().and_then(|before| before.unkept.clone()),
            seen,
            asked: Instant::now(),
            bytes: 0,
            was_running: true,
            moved: None,
            mended: before.and_then(|before| before.mended),
            newest: None,
        }
    }

    /// Whether it is time to ask for its state.
    fn is_due(&self) -> bool {
        let long = Duration::from_secs(self.bytes.into()) / STATE_BYTES_PER_S;
        self.handle.state_changes() != self.seen && self.asked.elapsed() >= STATE_EVERY.max(long)
    }

    /// Its state, where that can be kept; else it is said why not. `left`: how long it may be this time.
    fn state(&mut self, left: usize) -> Option<Vec<u8>> {
        let changes = self.handle.state_changes();
        let state = self.handle.save_state();
        self.asked = Instant::now();
        let bytes = state.as_ref().map_or(0, Vec::len);
        if bytes > left && bytes <= STATE_BYTES_MAX {
            return None;
        }
        self.seen = changes;
        self.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.unkept = match &state {
            Ok(_) if bytes > STATE_BYTES_MAX => Some(format!(
                "its state of {bytes} bytes is not kept in the project, {STATE_BYTES_MAX} can be: choose a smaller preset, or \
                 have it refer to its files"
            )),
            Err(error) if self.handle.description().state && self.was_running => {
                Some(format!("its state is not kept in the project: {error}"))
            }
            _ => None,
        };
        if let Some(why) = &self.unkept {
            tracing::warn!(target: "audiocloud::node", plug_in = self.handle.description().listed.id, why, "a plug-in's state");
        }
        state.ok().filter(|_| self.unkept.is_none())
    }

    /// What is to be said of it, besides what its host says.
    fn words(&self, of_host: Option<String>) -> Option<String> {
        let all: Vec<String> = of_host.into_iter().chain(self.unkept.clone()).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// What there is to know of one that is made anew.
#[derive(Debug)]
struct Before {
    newest: Option<Vec<u8>>,
    unkept: Option<String>,
    mended: Option<(u32, u32)>,
}

/// What plays in one chain.
#[derive(Clone, Debug, Default)]
pub(super) struct Playing(Arc<Mutex<BTreeMap<u32, One>>>);

impl Playing {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, One>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> Value {
        let mut all = json!({});
        for (id, one) in &mut *self.lock() {
            let mut status = one.handle.status();
            if std::mem::replace(&mut one.was_running, status.running) && !status.running {
                tracing::warn!(target: "audiocloud::node", plug_in = status.name, words = status.words, "a plug-in is silent");
            }
            status.words = one.words(status.words);
            all[id.to_string()] = serde_json::to_value(status).unwrap_or_default();
        }
        all
    }

    /// What does not fit this time is told the next time.
    pub(super) fn changed_states(&self) -> Option<Value> {
        let mut all = json!({});
        let mut left = STATES_BYTES_MAX;
        for (id, one) in self.lock().iter_mut().filter(|(_, one)| one.is_due()) {
            let state = one.state(left).filter(|state| one.kept.as_ref() != Some(state));
            if let Some(state) = state {
                left -= state.len();
                all[id.to_string()] = serde_json::to_value(Blob::new(&state)).unwrap_or_default();
                one.kept = Some(state);
            }
        }
        all.as_object().is_some_and(|all| !all.is_empty()).then_some(all)
    }

    /// Those whose latency is another, and the same since the last look: they are made anew once for it. One that is as it
    /// was after that will not be otherwise, which its words say.
    pub(super) fn moved(&self) -> Vec<u32> {
        let mut found = Vec::new();
        for (id, one) in &mut *self.lock() {
            let moved = one.handle.moved();
            let stays = std::mem::replace(&mut one.moved, moved) == moved;
            if stays && moved.is_some() && moved != one.mended {
                one.mended = moved;
                one.newest = one.handle.save_state().ok();
                found.push(*id);
            }
        }
        found
    }

    pub(super) fn answers(&self) -> Vec<Answers> {
        self.lock().values().map(|one| one.handle.answers()).collect()
    }
}

/// Makes the plug-ins of one chain.
#[derive(Debug)]
struct Made {
    shelf: Arc<Shelf>,
    playing: Playing,
    /// Whose place the last one took, for the case that it is refused.
    replaced: Option<(u32, One)>,
    block_frames_max: u32,
    fifo: Option<u8>,
}

impl Foreign for Made {
    fn node(&mut self, slot: &Slot, setup: &RackSetup) -> Result<Box<dyn Node>, String> {
        let id = slot.kind.strip_prefix(CLAP).unwrap_or(&slot.kind);
        let setup = Setup {
            sample_rate: setup.sample_rate,
            channels: setup.outputs,
            side_chain: setup.side_chain,
            block_frames_max: self.block_frames_max,
            priority: self.fifo,
        };
        let kept = slot.state.as_ref().map(|state| state.bytes().to_vec());
        let before = self.playing.lock().get_mut(&slot.id).map(|one| Before {
            newest: one.newest.take(),
            unkept: one.unkept.clone(),
            mended: one.mended,
        });
        let newest = before.as_ref().and_then(|before| before.newest.as_ref());
        let state = newest.or(kept.as_ref());
        let plugin = HostedPlugin::open(&self.shelf.library, id, &setup, state.map(Vec::as_slice));
        // It may be in quarantine now.
        self.shelf.tell();
        let plugin = plugin.map_err(|error| error.to_string())?;
        let one = One::new(plugin.handle(), kept, before);
        self.replaced = self.playing.lock().insert(slot.id, one).map(|before| (slot.id, before));
        Ok(Box::new(plugin))
    }

    fn refused(&mut self, id: u32) {
        if let Some((_, before)) = self.replaced.take_if(|(of, _)| *of == id) {
            self.playing.lock().insert(id, before);
        }
    }

    fn set_state(&mut self, slot: &Slot) -> bool {
        let Some(state) = &slot.state else { return false };
        let mut playing = self.playing.lock();
        let Some(one) = playing.get_mut(&slot.id) else { return false };
        if one.kept.as_deref() == Some(state.bytes()) {
            return true;
        }
        let is_taken = one.handle.load_state(state.bytes()).is_ok();
        if is_taken {
            one.kept = Some(state.bytes().to_vec());
            one.unkept = None;
        }
        is_taken
    }

    fn describe(&self, id: u32) -> Description {
        let playing = self.playing.lock();
        let Some(one) = playing.get(&id) else { return Description::default() };
        let described = one.handle.description();
        let parameters =
            described.parameters.iter().filter(|parameter| !parameter.hidden && !parameter.read_only);
        let parameters = parameters.map(|parameter| ForeignParameter {
            id: parameter.id,
            name: parameter.name.clone(),
            min: single(parameter.min),
            max: single(parameter.max),
            default: single(parameter.default),
        });
        Description { words: one.words(one.handle.status().words), parameters: parameters.collect() }
    }

    fn left(&mut self, id: u32) {
        self.playing.lock().remove(&id);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the chain's values have 24 bits; so have automation's")]
fn single(value: f64) -> f32 {
    value.clamp(f32::MIN.into(), f32::MAX.into()) as f32
}
