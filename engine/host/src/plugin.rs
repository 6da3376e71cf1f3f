//! A plug-in of somebody else's as a node of a graph.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use audiocloud_graph::node::{
    Activation, Behaviour, Block, Kernel, Layout, Node, Parameter, Processor, Smoothing, Tail,
};
use audiocloud_rt::wake::{WakeReceiver, Waker, wake_pair};
use audiocloud_units::SampleRate;
use serde::{Deserialize, Serialize};

use crate::answers::Answers;
use crate::description::{self, Description, PARAMETERS_MAX};
use crate::error::HostError;
use crate::hop::{self, Times};
use crate::keeper::{Life, Link, keep};
use crate::library::Library;
use crate::message::{Answer, Command};
use crate::processor::Piped;
use crate::program::Program;
use crate::shared::{Shape, Shared};

/// How long a plug-in may take to load, with its samples.
const LOAD: Duration = Duration::from_secs(60);
/// How long it may take to save or load its state.
const STATE: Duration = Duration::from_secs(30);
/// How long it may take for everything else.
const ANSWER: Duration = Duration::from_secs(5);

/// What a plug-in is made for; another setup means another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The chain's rate.
    pub sample_rate: SampleRate,
    /// The chain's width, in and out. A mono plug-in in a wider chain is made once for each channel.
    pub channels: u16,
    /// Width of the side-chain; 0 for none.
    pub side_chain: u16,
    /// The longest block that the graph is called with: the plug-in's answer has the time of one such block.
    pub block_frames_max: u32,
    /// SCHED_FIFO for its audio, 1 to 99, where permitted.
    pub priority: Option<u8>,
}

impl Setup {
    /// How much later than its input the answer comes, without the plug-in's own latency, in frames.
    ///
    /// It is one block: what a block of the host's size gave to the plug-in is needed when the next one comes. Because
    /// the plug-in is given whole blocks of 64 frames, a size that is no multiple of 64 costs 64 frames more.
    #[must_use]
    pub fn pipeline_frames(&self) -> u32 {
        let block = self.block_frames_max.clamp(1, BLOCK_FRAMES_MAX);
        if block.is_multiple_of(64) { block } else { block.next_multiple_of(64) + 64 }
    }

    fn shape(&self) -> Result<Shape, HostError> {
        if self.block_frames_max == 0 || self.block_frames_max > BLOCK_FRAMES_MAX {
            return Err(HostError::Setup("a plug-in takes blocks of 1 to 8192 frames"));
        }
        // Several blocks may come at once after a delay, and the plug-in may be late with as many.
        let slots = 4 * (self.pipeline_frames() / 64) + 8;
        Shape::new(self.channels, self.side_chain, slots)
            .ok_or(HostError::Setup("a plug-in takes 1 to 64 channels"))
    }
}

/// The longest block that a graph is called with, in frames.
pub const BLOCK_FRAMES_MAX: u32 = 8192;

/// How a plug-in does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Its CLAP id.
    pub id: String,
    /// For people.
    pub name: String,
    /// Whether its process lives. Where not, it is silent.
    pub running: bool,
    /// What is wrong, if anything.
    pub words: Option<String>,
    /// Whether its audio runs under real-time scheduling.
    pub realtime: bool,
    /// The way to its process and back, in frames: part of the node's latency.
    pub pipeline_frames: u32,
    /// Its own latency, in frames.
    pub latency_frames: u32,
    /// Blocks that were not there in time; its owner is this computer, or the plug-in.
    pub late_blocks: u64,
    /// Blocks that were not given to it, because it was too far behind.
    pub refused_blocks: u64,
    /// Events that found no room.
    pub refused_events: u64,
    /// Calls that it said had failed.
    pub failed_calls: u64,
    /// From giving it a block until it began.
    pub wake: Times,
    /// From giving it a block until the answer was there.
    pub turn: Times,
}

/// What can be asked of a plug-in from any thread but the audio's. Does not keep its process alive.
#[derive(Clone, Debug)]
pub struct Handle {
    link: Arc<Link>,
    description: Arc<Mutex<Description>>,
    setup: Setup,
}

/// The control half. Dropping it and its audio half ends the process.
#[derive(Debug)]
pub struct HostedPlugin {
    life: Arc<Life>,
    handle: Handle,
    setup: Setup,
    /// Given to the first kernel; there is one process, so there can be no second.
    waker: Mutex<Option<Waker>>,
    /// Keeps the descriptor open that the process was given.
    _woken: WakeReceiver,
}

impl HostedPlugin {
    /// Starts a process for the plug-in `id` of `library`, loads it with `state`, and activates it.
    ///
    /// # Errors
    /// Unknown, in quarantine, or it refuses, crashes or hangs; a crash puts it in quarantine.
    pub fn open(
        library: &Arc<Library>,
        id: &str,
        setup: &Setup,
        state: Option<&[u8]>,
    ) -> Result<Self, HostError> {
        let path = library.find(id)?.0;
        let quarantine = {
            let (library, path, id) = (Arc::clone(library), path.clone(), id.to_owned());
            move |words: &str| library.quarantine(&path, Some(&id), words)
        };
        Self::start(library.program(), &path, id, setup, state, quarantine)
    }

    fn start(
        program: &Program,
        path: &Path,
        id: &str,
        setup: &Setup,
        state: Option<&[u8]>,
        quarantine: impl FnOnce(&str) + Send + 'static,
    ) -> Result<Self, HostError> {
        let shared = Shared::create(setup.shape()?).map_err(HostError::Process)?;
        let (waker, woken) = wake_pair().map_err(HostError::Process)?;
        let child =
            program.host(shared.shape(), shared.file(), descriptor(&woken)).map_err(HostError::Process)?;
        let name = id.to_owned();
        let died = move |death: &crate::keeper::Death| {
            let words = &death.words;
            tracing::warn!(target: "audiocloud::host", plug_in = name, words, "a plug-in's process is gone");
            if death.own {
                quarantine(words);
            }
        };
        let life = Arc::new(keep(child, shared, died).map_err(HostError::Process)?);
        let load = Command::Load {
            path: path.to_owned(),
            id: id.to_owned(),
            sample_rate: setup.sample_rate.hz(),
            priority: setup.priority,
        };
        let description = match life.link.ask(load, state.unwrap_or_default(), LOAD)?.0 {
            Answer::Described(description) => *description,
            other => return Err(HostError::Nonsense(format!("{other:?}"))),
        };
        let description = Arc::new(Mutex::new(bounded(description)));
        let handle = Handle { link: Arc::clone(&life.link), description, setup: *setup };
        Ok(Self { life, handle, setup: *setup, waker: Mutex::new(Some(waker)), _woken: woken })
    }

    /// What can be asked of it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

fn descriptor(woken: &WakeReceiver) -> BorrowedFd<'_> {
    debug_assert!(woken.as_raw_fd() > 2, "the standard descriptors are taken");
    woken.as_fd()
}

/// What another process says of a plug-in is not believed without bounds.
fn bounded(mut description: Description) -> Description {
    description.parameters.truncate(PARAMETERS_MAX);
    description.parameters.retain(|parameter| {
        let (min, max) = (parameter.min, parameter.max);
        min.is_finite() && max.is_finite() && min <= max && parameter.value.is_finite()
    });
    // A minute; more is a mistake.
    description.latency_frames = description.latency_frames.min(1 << 22);
    description
}

impl Handle {
    /// What the plug-in says of itself, as of its loading.
    #[must_use]
    pub fn description(&self) -> Description {
        self.description.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How it does.
    #[must_use]
    pub fn status(&self) -> Status {
        let description = self.description();
        let shared = &self.link.shared;
        Status {
            id: description.listed.id,
            name: description.listed.name,
            running: !self.link.is_gone(),
            words: self.link.words().or_else(|| self.misplaced()),
            realtime: description.realtime,
            pipeline_frames: self.setup.pipeline_frames(),
            latency_frames: description.latency_frames,
            late_blocks: self.link.late_blocks.load(Ordering::Relaxed),
            refused_blocks: self.link.refused_blocks.load(Ordering::Relaxed),
            refused_events: shared.refused_events(),
            failed_calls: shared.errors(),
            wake: hop::times(shared.wakes()),
            turn: hop::times(shared.turns()),
        }
    }

    /// Where the plug-in is later or earlier now than when it was loaded, which is what the graph counts on: then, and now, in
    /// frames of its own. One that is opened anew, with its state, is counted on as it is.
    #[must_use]
    pub fn moved(&self) -> Option<(u32, u32)> {
        let counted = self.description().latency_frames;
        self.link.late().filter(|late| *late != counted).map(|late| (counted, late))
    }

    fn misplaced(&self) -> Option<String> {
        let (counted, late) = self.moved()?;
        Some(format!(
            "is {late} frames late now and was {counted}: take it out of the chain and put it in again"
        ))
    }

    /// Its answers, for who plays blocks as they come and may wait.
    #[must_use]
    pub fn answers(&self) -> Answers {
        Answers::new(Arc::clone(&self.link), &self.setup)
    }

    /// The system's number of its process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.link.process_id
    }

    /// What it wrote into its log lately, the newest first.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.link.log()
    }

    /// Rises when the plug-in says that its state is another.
    #[must_use]
    pub fn state_changes(&self) -> u64 {
        self.link.changed()
    }

    /// The plug-in's state, for [`Handle::load_state`] and [`HostedPlugin::open`], on any machine.
    ///
    /// # Errors
    /// It keeps none, refuses, or is gone.
    pub fn save_state(&self) -> Result<Vec<u8>, HostError> {
        match self.link.ask(Command::SaveState, &[], STATE)? {
            (Answer::State, state) => Ok(state),
            (other, _) => Err(HostError::Nonsense(format!("{other:?}"))),
        }
    }

    /// Has the plug-in take a state. Its parameters are others then; those of the node are set by their own events.
    ///
    /// # Errors
    /// It refuses, or is gone.
    pub fn load_state(&self, state: &[u8]) -> Result<(), HostError> {
        match self.link.ask(Command::LoadState, state, STATE)?.0 {
            Answer::Taken => Ok(()),
            other => Err(HostError::Nonsense(format!("{other:?}"))),
        }
    }

    /// A parameter's value in the plug-in's words, if it has any.
    ///
    /// # Errors
    /// It is gone.
    pub fn text(&self, id: u32, value: f64) -> Result<Option<String>, HostError> {
        match self.link.ask(Command::Text { id, value }, &[], ANSWER)?.0 {
            Answer::Text(text) => Ok(text),
            other => Err(HostError::Nonsense(format!("{other:?}"))),
        }
    }

    /// The value that the plug-in reads out of words, if it can.
    ///
    /// # Errors
    /// It is gone.
    pub fn value(&self, id: u32, text: &str) -> Result<Option<f64>, HostError> {
        match self.link.ask(Command::Value { id, text: text.to_owned() }, &[], ANSWER)?.0 {
            Answer::Value(value) => Ok(value),
            other => Err(HostError::Nonsense(format!("{other:?}"))),
        }
    }

    /// Asks the plug-in what it is now: its values, and its latency where that changed.
    ///
    /// # Errors
    /// It is gone.
    pub fn describe(&self) -> Result<Description, HostError> {
        match self.link.ask(Command::Describe, &[], ANSWER)?.0 {
            Answer::Described(described) => Ok(bounded(*described)),
            other => Err(HostError::Nonsense(format!("{other:?}"))),
        }
    }
}

/// What can be set while it plays.
fn settable(description: &Description) -> impl Iterator<Item = &description::Parameter> {
    description.parameters.iter().filter(|parameter| !parameter.read_only)
}

#[allow(clippy::cast_possible_truncation, reason = "the graph's values have 24 bits; so have automation's")]
fn single(value: f64) -> f32 {
    value.clamp(f32::MIN.into(), f32::MAX.into()) as f32
}

impl Node for HostedPlugin {
    fn kind(&self) -> &'static str {
        "clap"
    }

    fn layout(&self) -> Layout {
        let description = self.handle.description();
        let side_chain = (self.setup.side_chain > 0).then_some(self.setup.side_chain);
        Layout {
            inputs: std::iter::once(self.setup.channels).chain(side_chain).collect(),
            outputs: vec![self.setup.channels],
            event_input: description.note_input,
            event_output: description.note_output,
        }
    }

    fn behaviour(&self) -> Behaviour {
        // Not shed: what it costs is another process's time.
        Behaviour { in_place: true, ..Behaviour::default() }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let node = |parameter: &description::Parameter| Parameter {
            id: parameter.id,
            // Its name is a plug-in's, which comes and goes: see `Handle::description`.
            name: "",
            unit: "",
            range: (single(parameter.min), single(parameter.max)),
            default: single(parameter.value),
            smoothing: Smoothing::None,
        };
        settable(&self.handle.description()).map(node).collect()
    }

    fn latency_frames(&self, _activation: &Activation) -> u32 {
        self.setup.pipeline_frames() + self.handle.description().latency_frames
    }

    fn tail(&self, _activation: &Activation) -> Tail {
        match self.handle.description().tail {
            description::Tail::None => Tail::Frames(self.setup.pipeline_frames().into()),
            description::Tail::Frames(frames) => {
                Tail::Frames(u64::from(self.setup.pipeline_frames()) + u64::from(frames))
            }
            description::Tail::Infinite => Tail::Infinite,
        }
    }

    fn kernel(&self, activation: &Activation) -> Kernel {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(waker) = waker.filter(|_| activation.sample_rate == self.setup.sample_rate) else {
            return Kernel::Processor(Box::new(Mute));
        };
        let description = self.handle.description();
        let parameters = settable(&description).map(|parameter| (parameter.id, single(parameter.value)));
        Kernel::Processor(Box::new(Piped::new(
            Arc::clone(&self.life),
            waker,
            self.setup.pipeline_frames(),
            description.note_output,
            parameters.collect(),
        )))
    }
}

/// In the place of an audio half that another graph has already, or that was asked for at another rate.
#[derive(Debug)]
struct Mute;

impl Processor for Mute {
    fn process(&mut self, block: &mut Block<'_>) {
        (0..block.outputs()).for_each(|channel| block.output(channel).fill(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(block_frames_max: u32) -> Setup {
        let sample_rate = SampleRate::new(48_000).unwrap();
        Setup { sample_rate, channels: 2, side_chain: 0, block_frames_max, priority: None }
    }

    #[test]
    fn the_pipeline_is_one_block() {
        for (block, frames) in
            [(64, 64), (128, 128), (512, 512), (1, 128), (100, 192), (441, 512), (8192, 8192)]
        {
            assert_eq!(setup(block).pipeline_frames(), frames, "{block}");
            // What a block needs was given before it began, wherever the grid is.
            if block % 64 != 0 {
                assert!(frames >= block + 63);
            }
        }
    }

    #[test]
    fn setups_that_make_no_sense() {
        assert!(setup(0).shape().is_err());
        assert!(setup(8193).shape().is_err());
        assert!(setup(8192).shape().is_ok());
        assert!(Setup { channels: 0, ..setup(64) }.shape().is_err());
        assert!(Setup { side_chain: 65, ..setup(64) }.shape().is_err());
    }

    #[test]
    fn a_description_is_bounded() {
        let parameter = |min, max| description::Parameter { min, max, ..description::Parameter::default() };
        let parameters = vec![parameter(0.0, 1.0), parameter(1.0, 0.0), parameter(0.0, f64::INFINITY)];
        let wild = Description { parameters, latency_frames: u32::MAX, ..Description::default() };
        let tame = bounded(wild);
        assert_eq!((tame.parameters.len(), tame.latency_frames), (1, 1 << 22));
    }
}
