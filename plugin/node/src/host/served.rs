//! A chain that is played for somebody: built from its document, rehearsed, edited, and reported of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use audiocloud_engine::chain::document::Chain;
use audiocloud_engine::chain::rack::{RackAudio, RackCall, RackControl, RackSetup, rack};
use audiocloud_engine::graph::event::Body;
use audiocloud_engine::graph::renderer::Ports;
use audiocloud_engine::rt::{callback, host_time, snapshot};
use audiocloud_net::runtime::remote::{OpenRequest, ServedChain};
use serde_json::json;

use super::ChainFigures;
use super::foreign::{Playing, PlugIns};
use super::load::Load;
use super::worker::{Played, Shape, Worker};

/// Rehearsals, of which the quickest counts: whatever else the machine does makes them longer.
const REHEARSALS: usize = 5;
/// Each of so much sound.
const REHEARSAL: Duration = Duration::from_millis(20);
const REHEARSAL_BLOCK: usize = 128;
/// A rehearsal that takes longer says all that there is to say.
const REHEARSAL_MAX: Duration = Duration::from_millis(100);

/// The longest report that the runtime carries.
const REPORT_BYTES_MAX: usize = 32 << 10;

/// What others see of a chain.
pub(crate) struct Shown {
    name: String,
    id: String,
    owner: String,
    rehearsed: f64,
    played: Mutex<Option<snapshot::Reader<Played>>>,
    has_failed: std::sync::atomic::AtomicBool,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Shown {
    pub(crate) fn new(request: &OpenRequest, load: Load) -> Self {
        Self {
            name: request.name.clone(),
            id: request.key.to_string(),
            owner: request.who.name.clone(),
            rehearsed: load.rehearsed,
            played: Mutex::default(),
            has_failed: false.into(),
        }
    }

    pub(crate) fn load(&self) -> Load {
        Load { measured: self.played().and_then(|played| played.load), rehearsed: self.rehearsed }
    }

    pub(crate) fn figures(&self) -> ChainFigures {
        let played = self.played();
        ChainFigures {
            name: self.name.clone(),
            id: self.id.clone(),
            owner: self.owner.clone(),
            load: played.and_then(|played| played.load),
            counters: played.map(|played| played.counters).unwrap_or_default(),
            is_stuck: self.has_failed.load(Ordering::Relaxed)
                || played.is_some_and(|played| played.is_stuck()),
        }
    }

    fn played(&self) -> Option<Played> {
        let reader = self.played.lock().unwrap_or_else(PoisonError::into_inner);
        reader.as_ref().map(snapshot::Reader::read)
    }
}

/// A chain that could be played.
pub(crate) struct Built {
    playing: Playing,
    control: RackControl,
    audio: RackAudio,
    /// Of a core, while it plays noise.
    pub(crate) rehearsed: f64,
}

/// Makes a chain of what was sent.
///
/// # Errors
/// It cannot be played here: cause and remedy.
pub(crate) fn build(request: &OpenRequest, plug_ins: &PlugIns, fifo: u8) -> Result<Built, String> {
    let chain = Chain::from_json(&request.document).map_err(|error| error.to_string())?;
    let setup = RackSetup {
        sample_rate: request.sample_rate,
        inputs: request.inputs,
        side_chain: request.side_chain,
        outputs: request.outputs,
    };
    let (foreign, playing) = plug_ins.foreign(request, fifo);
    let (control, mut audio) = rack(&chain, &setup, foreign).map_err(|error| error.to_string())?;
    // What plug-ins of others need is another process's, and a rehearsal would be heard in their tails.
    let rehearsed = if has_foreign(&chain) { 0.0 } else { rehearse(&mut audio, request) };
    Ok(Built { playing, control, audio, rehearsed })
}

/// Whether plug-ins of others are in it.
fn has_foreign(chain: &Chain) -> bool {
    chain.effects().iter().any(|slot| slot.effect_kind().is_none())
}

/// How much of a core it needs.
fn rehearse(audio: &mut RackAudio, request: &OpenRequest) -> f64 {
    let rate = f64::from(request.sample_rate.hz());
    let mut quickest = f64::INFINITY;
    let began = host_time::now();
    for _ in 0..REHEARSALS {
        let mut noise = Noise(1);
        let mut frames = 0.0;
        let start = host_time::now();
        while frames < REHEARSAL.as_secs_f64() * rate && elapsed(start) < REHEARSAL_MAX {
            callback::enter(|callback| {
                // Nobody listens, so nothing is given up for want of time.
                let call = RackCall { callback, offline: true, transport: None, events: &[] };
                audio.process(&call, REHEARSAL_BLOCK, &mut noise);
            });
            frames += 128.0;
        }
        quickest = quickest.min(elapsed(start).as_secs_f64() / (frames / rate));
        if elapsed(began) > REHEARSAL_MAX {
            break;
        }
    }
    callback::enter(|callback| audio.reset(callback));
    quickest
}

fn elapsed(since: audiocloud_engine::units::HostTime) -> Duration {
    Duration::from_nanos(u64::try_from((host_time::now() - since).get()).unwrap_or(0))
}

/// What a chain is rehearsed with: an xorshift generator (Marsaglia, 2003), at −12 dB.
struct Noise(u32);

impl Ports for Noise {
    fn read(&mut self, _bus: usize, _channel: usize, _from: usize, samples: &mut [f32]) {
        for sample in samples {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
            // 23 random bits below the exponent of 1 give 1 to 2.
            *sample = (f32::from_bits(0x3f80_0000 | (self.0 >> 9)) - 1.5) * 0.5;
        }
    }

    fn write(&mut self, _bus: usize, _channel: usize, _from: usize, _samples: &[f32]) {}

    fn event(&mut self, _offset: usize, _body: &Body) {}
}

/// A chain at work.
pub(crate) struct Served {
    control: RackControl,
    playing: Playing,
    worker: Worker,
    shown: Arc<Shown>,
    /// Why the last document is not what plays.
    mistake: Option<String>,
    workers_failed: Arc<AtomicU64>,
    /// The worker does not know yet whom to wait for.
    are_answers_due: bool,
}

impl Served {
    pub(crate) fn start(
        built: Built,
        request: OpenRequest,
        shown: Arc<Shown>,
        fifo: u8,
        workers_failed: Arc<AtomicU64>,
    ) -> Result<Self, String> {
        let Built { playing, control, audio, .. } = built;
        let shape = Shape {
            sample_rate: request.sample_rate,
            inputs: request.inputs,
            side_chain: request.side_chain,
            outputs: request.outputs,
            transfer: request.transfer,
        };
        let worker = Worker::start(audio, shape, request.ends, fifo)
            .map_err(|error| format!("the node cannot start a worker: {error}; take chains off it"))?;
        *shown.played.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker.reader());
        let (mistake, are_answers_due) = (None, true);
        let mut served = Self { control, playing, worker, shown, mistake, workers_failed, are_answers_due };
        served.tell_answers();
        Ok(served)
    }

    /// Has the worker wait for the plug-ins that play now.
    fn tell_answers(&mut self) {
        if self.are_answers_due {
            self.are_answers_due = !self.worker.set_answers(self.playing.answers());
        }
    }

    /// Takes in that plug-ins are later or earlier than they were.
    fn follow_latencies(&mut self) {
        for id in self.playing.moved() {
            if let Err(why) = self.control.reload(id) {
                let name =
                    self.control.chain().slot(id).map(|slot| slot.title().to_owned()).unwrap_or_default();
                tracing::warn!(target: "audiocloud::node", chain = self.shown.name, plug_in = name, %why, "its new latency");
                self.mistake = Some(format!("“{name}” has become later: {why}"));
            }
            self.are_answers_due = true;
        }
    }

    /// Sentences for the owner.
    fn words(&self, played: &Played) -> Vec<String> {
        let mut words: Vec<String> = self.mistake.iter().cloned().collect();
        if self.worker.has_failed() {
            words.push(
                "the node's worker has ended by a mistake of ours; remove the chain and add it again"
                    .to_owned(),
            );
        }
        if !played.realtime {
            words.push(
                "the node may not schedule in real time; allow it there, or blocks are late under load"
                    .to_owned(),
            );
        }
        let counters = played.counters;
        if counters.misshapen > 0 {
            words.push(format!("{} blocks were of another form than was agreed", counters.misshapen));
        }
        if counters.back_full > 0 {
            words.push(format!("{} blocks or notes found no room on their way back", counters.back_full));
        }
        words
    }
}

impl ServedChain for Served {
    fn set_document(&mut self, document: &[u8]) {
        let chain = Chain::from_json(document).map_err(|error| error.to_string());
        let set = chain.and_then(|chain| self.control.set_chain(&chain).map_err(|error| error.to_string()));
        self.mistake = set.err();
        if let Some(why) = &self.mistake {
            tracing::warn!(target: "audiocloud::node", chain = self.shown.name, why, "an edit is not played");
        }
        self.control.collect();
        self.are_answers_due = true;
        self.tell_answers();
    }

    fn report(&mut self) -> Vec<u8> {
        self.follow_latencies();
        self.tell_answers();
        self.control.collect();
        let played = self.worker.played();
        if self.worker.has_failed() && !self.shown.has_failed.swap(true, Ordering::Relaxed) {
            self.workers_failed.fetch_add(1, Ordering::Relaxed);
        }
        let load = played.load.unwrap_or_default();
        let mut report = json!({
            "rack": self.control.report(),
            "latency_frames": self.control.latency_frames(),
            "load": { "mean": load.ewma, "p999": load.p999, "peak": load.peak, "over": load.over },
            "realtime": played.realtime,
            "beginnings": played.counters.beginnings,
            "plug_ins": self.playing.status(),
            "words": self.words(&played),
        });
        bounded(&mut report)
    }

    fn states(&mut self) -> Option<Vec<u8>> {
        let states = self.playing.changed_states()?;
        Some(json!({ "states": states }).to_string().into_bytes())
    }
}

/// A report as it can be carried: a plug-in with thousands of parameters has to leave them out.
fn bounded(report: &mut serde_json::Value) -> Vec<u8> {
    for field in ["", "parameters", "words"] {
        if let Some(effects) = report["rack"]["effects"].as_array_mut() {
            effects
                .iter_mut()
                .filter_map(serde_json::Value::as_object_mut)
                .for_each(|effect| drop(effect.remove(field)));
        }
        if let Some(report) = report.as_object_mut() {
            report.remove(field);
        }
        let bytes = report.to_string().into_bytes();
        if bytes.len() <= REPORT_BYTES_MAX {
            return bytes;
        }
    }
    Vec::new()
}

impl Drop for Served {
    fn drop(&mut self) {
        tracing::info!(target: "audiocloud::node", chain = self.shown.name, "chain closed");
    }
}
