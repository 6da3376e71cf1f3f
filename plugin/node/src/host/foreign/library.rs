//! The library of this machine's plug-ins, and those of it that play in one chain.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use audiocloud_engine::chain::blob::Blob;
use audiocloud_engine::chain::document::{CLAP, Slot};
use audiocloud_engine::chain::foreign::{Description, Foreign, ForeignParameter};
use audiocloud_engine::chain::rack::RackSetup;
use audiocloud_engine::graph::node::Node;
use audiocloud_engine::host::library::Library;
use audiocloud_engine::host::plugin::{BLOCK_FRAMES_MAX, Handle, HostedPlugin, Setup};
use audiocloud_engine::host::program::Program;
use serde_json::{Value, json};

use crate::node::settings::HostSettings;

/// Beside `config.toml`.
const FOLDER: &str = "plug-ins";
/// A plug-in that says without end that its state changed is asked for it no more often.
const STATE_EVERY: Duration = Duration::from_secs(5);
/// States that go back with a report.
const STATES_BYTES_MAX: usize = 16 << 10;

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
    /// Up to which of its changes, and when it was asked for last.
    seen: u64,
    asked: Instant,
    was_running: bool,
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
            let status = one.handle.status();
            if std::mem::replace(&mut one.was_running, status.running) && !status.running {
                tracing::warn!(target: "audiocloud::node", plug_in = status.name, words = status.words, "a plug-in is silent");
            }
            all[id.to_string()] = serde_json::to_value(status).unwrap_or_default();
        }
        all
    }

    pub(super) fn changed_states(&self) -> Value {
        let mut all = json!({});
        let mut bytes = 0;
        for (id, one) in &mut *self.lock() {
            let changes = one.handle.state_changes();
            if changes == one.seen || one.asked.elapsed() < STATE_EVERY {
                continue;
            }
            one.asked = Instant::now();
            // A plug-in that keeps none, or is gone, has nothing to tell.
            let Ok(state) = one.handle.save_state() else { continue };
            one.seen = changes;
            if one.kept.as_ref() == Some(&state) {
                continue;
            }
            bytes += state.len();
            if bytes > STATES_BYTES_MAX {
                tracing::debug!(target: "audiocloud::node", id, bytes, "a plug-in's state is too long to go back");
                continue;
            }
            let blob = Blob::new(&state);
            one.kept = Some(state);
            all[id.to_string()] = serde_json::to_value(blob).unwrap_or_default();
        }
        all
    }
}

/// Makes the plug-ins of one chain.
#[derive(Debug)]
struct Made {
    shelf: Arc<Shelf>,
    playing: Playing,
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
        let state = slot.state.as_ref().map(|state| state.bytes().to_vec());
        let plugin = HostedPlugin::open(&self.shelf.library, id, &setup, state.as_deref());
        // It may be in quarantine now.
        self.shelf.tell();
        let plugin = plugin.map_err(|error| error.to_string())?;
        let handle = plugin.handle();
        let seen = handle.state_changes();
        let one = One { handle, kept: state, seen, asked: Instant::now(), was_running: true };
        self.playing.lock().insert(slot.id, one);
        Ok(Box::new(plugin))
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
        Description { words: one.handle.status().words, parameters: parameters.collect() }
    }

    fn left(&mut self, id: u32) {
        self.playing.lock().remove(&id);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the chain's values have 24 bits; so have automation's")]
fn single(value: f64) -> f32 {
    value.clamp(f32::MIN.into(), f32::MAX.into()) as f32
}
