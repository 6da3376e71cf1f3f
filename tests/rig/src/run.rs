//! One run: the main thread's part of it.

use std::{
    io::{BufRead, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clack_host::{prelude::*, utils::ClapId};
use serde_json::{Value, json};

use audiocloud_rig::{
    audio::{self, seconds_to_frames},
    card::Card,
    clock::now_ns,
    process::{Block, Pace},
    report::{Report, Spread},
    transport::Transport,
};

use crate::{
    arguments::RunArguments,
    engine::{Engine, Switches},
    jack_mode,
    pace::{self, Pacer, Sizes},
    plugin::{Host, Plugin},
    tail::Tail,
};

/// How often the main thread looks after the plug-in's requests.
const SERVICE: Duration = Duration::from_millis(20);
/// Likewise inside a JACK client, whose processor time is compared with that of clients without a plug-in: each look wakes a
/// thread.
const SERVICE_IN_JACK: Duration = Duration::from_millis(250);

/// Tells the parent process something, as a line of JSON.
pub(crate) fn tell(event: &Value) {
    let mut output = std::io::stdout().lock();
    // A parent that no longer listens ends this process by closing its input.
    drop(writeln!(output, "{event}").and_then(|()| output.flush()));
}

/// What the audio thread hands back when it leaves its loop.
pub(crate) struct Returned {
    pub(crate) engine: Engine,
    pub(crate) processor: StoppedPluginAudioProcessor<Host>,
    pub(crate) scheduler: String,
    pub(crate) given_up_ns: i64,
    pub(crate) given_up: Vec<(i64, i64)>,
    /// When the first frame was due.
    pub(crate) origin_ns: i64,
}

/// What the audio thread needs besides.
#[derive(Clone, Debug)]
pub(crate) struct Loop {
    sizes: Sizes,
    pace: Pace,
    card: Option<Card>,
    ahead_ms: u32,
    sample_rate: u32,
    fifo: Option<u32>,
}

pub(crate) fn run(arguments: &RunArguments) -> Result<()> {
    let mut plugin = Plugin::load(&arguments.plugin, &arguments.id)?;
    let ports = plugin.select(arguments.channels)?;
    if arguments.offline {
        plugin.set_offline()?;
    }
    let state = arguments.state.as_ref().map(std::fs::read).transpose().context("reading the state")?;
    plugin.load_state(state.as_deref(), &arguments.fields)?;

    let sizes = Sizes::new(arguments.block());
    let block_max = usize::try_from(sizes.most())?;
    let block_min = match arguments.block() {
        Block::Fixed(frames) | Block::Random(frames, _, _) => usize::try_from(frames)?,
    };
    ensure!(block_min > 0, "a block has at least one frame");
    let frames_max = seconds_to_frames(arguments.seconds, arguments.rate);
    let mut engine = Engine::new(&ports, arguments.rate, frames_max, block_min, block_max);
    let input = arguments.input.as_ref().map(audio::read).transpose()?;
    if let Some(input) = &input {
        let (rate, width) = (input.sample_rate, input.channels.len());
        ensure!(rate == arguments.rate, "the input has {rate} Hz, the run {} Hz", arguments.rate);
        ensure!(width == arguments.channels, "the input has {width} channels, not {}", arguments.channels);
    }
    let notes = arguments.notes.as_ref().map(std::fs::read).transpose().context("reading the notes")?;
    let notes = notes.map(|json| serde_json::from_slice(&json)).transpose()?.unwrap_or_default();
    engine.feed(input, notes);
    let script =
        arguments.transport.as_ref().map(std::fs::read).transpose().context("reading the transport")?;
    if let Some(script) = script {
        let script = serde_json::from_slice(&script).context("the transport's script")?;
        engine.direct(Transport::new(script, arguments.rate));
    }
    engine.transport_ahead = arguments.transport_ahead;
    for (name, text) in &arguments.parameters {
        engine.parameters.push(plugin.parameter(name, text)?);
    }
    engine.switches.start.store(!arguments.wait, Ordering::Release);

    let audio_loop = Loop {
        sizes,
        pace: arguments.pace,
        card: arguments.card,
        ahead_ms: arguments.ahead_ms,
        sample_rate: arguments.rate,
        fifo: arguments.fifo,
    };
    let tail = match &arguments.then {
        None => None,
        Some(id) => {
            let mut plugin = Plugin::load(&arguments.plugin, id)?;
            let ports = plugin.select(arguments.channels)?;
            plugin.load_state(None, &arguments.then_fields)?;
            let processor = plugin.activate(arguments.rate, u32::try_from(block_max)?)?;
            let mut after = Engine::new(&ports, arguments.rate, frames_max, block_min, block_max);
            for (name, text) in &arguments.then_parameters {
                after.parameters.push(plugin.parameter(name, text)?);
            }
            engine.tail = Some(Box::new(Tail::new(after, processor)));
            Some(plugin)
        }
    };
    let mut session = Session::new(plugin, audio_loop, arguments.jack.clone(), &engine);
    session.tail = tail;
    let processor = session.activate()?;
    session.ready_ns = now_ns();
    session.launch(engine, processor)?;
    let returned = session.serve(&read_commands())?;
    session.finish(returned, arguments)
}

fn read_commands() -> Receiver<String> {
    let (send, receive) = channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

enum Sound {
    Running(Running),
    Paused(Box<Returned>),
}

enum Running {
    Thread(JoinHandle<Result<Returned>>),
    Jack(jack_mode::Client),
}

struct Session {
    plugin: Plugin,
    tail: Option<Plugin>,
    audio_loop: Loop,
    jack: Option<String>,
    switches: Arc<Switches>,
    audio: Option<Sound>,
    parameters: Sender<(ClapId, f64)>,
    restarts: u32,
    /// The parent waits until the plug-in wishes no restart.
    is_settling: bool,
    /// When the plug-in was active for the first time.
    ready_ns: i64,
    scheduler: String,
    given_up_ns: i64,
}

impl Session {
    fn new(plugin: Plugin, audio_loop: Loop, jack: Option<String>, engine: &Engine) -> Self {
        let (parameters, _) = channel();
        Self {
            plugin,
            tail: None,
            audio_loop,
            jack,
            switches: Arc::clone(&engine.switches),
            audio: None,
            parameters,
            restarts: 0,
            is_settling: false,
            ready_ns: 0,
            scheduler: String::new(),
            given_up_ns: 0,
        }
    }

    fn activate(&mut self) -> Result<StoppedPluginAudioProcessor<Host>> {
        self.plugin.activate(self.audio_loop.sample_rate, self.audio_loop.sizes.most())
    }

    fn launch(&mut self, engine: Engine, processor: StoppedPluginAudioProcessor<Host>) -> Result<()> {
        self.switches.halt.store(false, Ordering::Release);
        let running = if let Some(name) = &self.jack {
            let Loop { sample_rate, sizes, .. } = &self.audio_loop;
            Running::Jack(jack_mode::Client::start(name, engine, processor, *sample_rate, sizes.most())?)
        } else {
            let audio_loop = self.audio_loop.clone();
            let (send, receive) = channel();
            self.parameters = send;
            Running::Thread(
                thread::Builder::new()
                    .name("audio".into())
                    .spawn(move || audio_thread(engine, processor, audio_loop, &receive))?,
            )
        };
        self.audio = Some(Sound::Running(running));
        Ok(())
    }

    /// Ends the audio thread's loop and takes back what it had.
    fn halt(&mut self) -> Result<Returned> {
        match self.audio.take().context("no audio")? {
            Sound::Paused(returned) => Ok(*returned),
            Sound::Running(running) => {
                self.switches.halt.store(true, Ordering::Release);
                let returned = match running {
                    Running::Thread(thread) => {
                        thread.join().map_err(|_| anyhow!("the audio thread panicked"))??
                    }
                    Running::Jack(client) => client.stop()?,
                };
                self.scheduler.clone_from(&returned.scheduler);
                self.given_up_ns += returned.given_up_ns;
                Ok(returned)
            }
        }
    }

    fn audio_ended(&self) -> bool {
        matches!(&self.audio, Some(Sound::Running(Running::Thread(thread))) if thread.is_finished())
    }

    fn restart(&mut self, sample_rate: Option<u32>) -> Result<()> {
        let returned = self.halt()?;
        self.plugin.instance.deactivate(returned.processor);
        if let Some(sample_rate) = sample_rate {
            self.audio_loop.sample_rate = sample_rate;
        }
        let processor = self.activate()?;
        self.restarts += 1;
        self.launch(returned.engine, processor)
    }

    /// Looks after the plug-in and the commands until the run ends.
    fn serve(&mut self, commands: &Receiver<String>) -> Result<Returned> {
        let (mut told_ready, mut told_input, mut told_done) = (false, false, false);
        let mut run_on: Option<u64> = None;
        let service = if self.jack.is_some() { SERVICE_IN_JACK } else { SERVICE };
        loop {
            match commands.recv_timeout(service) {
                Ok(line) if line == "stop" => return self.halt(),
                Ok(line) => self.obey(&line, &mut run_on)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.halt(),
            }
            self.plugin.serve();
            if let Some(tail) = &mut self.tail {
                tail.serve();
            }
            if self.plugin.wants_restart() {
                self.restart(None)?;
            } else if self.is_settling && !self.plugin.wants_anything() {
                self.is_settling = false;
                tell(
                    &json!({ "event": "settled", "restarts": self.restarts, "latency": self.plugin.latency() }),
                );
            }
            let position = self.switches.position.load(Ordering::Acquire);
            if position > 0 && !std::mem::replace(&mut told_ready, true) {
                tell(&json!({ "event": "ready", "host_ns": self.ready_ns }));
            }
            let input_from = self.switches.input_from.load(Ordering::Acquire);
            if input_from > 0 && !std::mem::replace(&mut told_input, true) {
                tell(&json!({ "event": "input", "frame": input_from - 1 }));
            }
            if self.switches.input_done.load(Ordering::Acquire) && !std::mem::replace(&mut told_done, true) {
                tell(&json!({ "event": "input-done" }));
            }
            if run_on.is_some_and(|end| position >= end) {
                run_on = None;
                tell(&json!({ "event": "ran-on" }));
            }
            if self.audio_ended() {
                if run_on.is_some() {
                    tell(&json!({ "event": "ran-on" }));
                }
                return self.halt();
            }
        }
    }

    fn obey(&mut self, line: &str, run_on: &mut Option<u64>) -> Result<()> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "start" => self.switches.start.store(true, Ordering::Release),
            "state" => {
                let state: Value = serde_json::from_slice(&self.plugin.save_state()?)?;
                tell(&json!({ "event": "state", "state": state }));
            }
            "load" => {
                let bytes = std::fs::read(PathBuf::from(rest))?;
                self.plugin.load_state(Some(&bytes), &[])?;
                tell(&json!({ "event": "loaded" }));
            }
            "parameter" => {
                let (name, text) = rest.split_once('=').context("parameter NAME=VALUE")?;
                let change = self.plugin.parameter(name, text)?;
                self.parameters.send(change).map_err(|_| anyhow!("no audio thread"))?;
            }
            "run-on" => {
                let frames = seconds_to_frames(rest.parse()?, self.audio_loop.sample_rate);
                let position = self.switches.position.load(Ordering::Acquire);
                *run_on = Some(position + u64::try_from(frames)?);
            }
            "pause" => {
                let returned = self.halt()?;
                self.audio = Some(Sound::Paused(Box::new(returned)));
                tell(&json!({ "event": "paused" }));
            }
            "resume" => {
                let returned = self.halt()?;
                self.launch(returned.engine, returned.processor)?;
            }
            "settle" => self.is_settling = true,
            "restart" => {
                let rate = if rest.is_empty() { None } else { Some(rest.parse()?) };
                self.restart(rate)?;
                tell(&json!({ "event": "restarted" }));
            }
            other => bail!("no command {other:?}"),
        }
        Ok(())
    }

    /// Ends the second plug-in; its heap operations and errors count with the first one's.
    fn end_tail(&mut self, engine: &mut Engine) -> Result<Option<audio::Audio>> {
        let (Some(tail), Some(mut plugin)) = (engine.tail.take(), self.tail.take()) else { return Ok(None) };
        let (after, processor) = tail.stop();
        plugin.instance.deactivate(processor.context("the second plug-in did not start processing")?);
        engine.figures.process_errors += after.figures.process_errors;
        engine.figures.not_finite += after.figures.not_finite;
        if let (Some(sum), Some(more)) = (&mut engine.figures.heap_operations, after.figures.heap_operations)
        {
            *sum += more;
        }
        Ok(Some(after.recorded))
    }

    fn finish(mut self, returned: Returned, arguments: &RunArguments) -> Result<()> {
        let Returned { mut engine, processor, origin_ns, given_up, .. } = returned;
        let then_output = self.end_tail(&mut engine)?;
        let latency_frames = self.plugin.latency();
        let parameters = self.plugin.parameters();
        let state = self.plugin.save_state()?;
        self.plugin.instance.deactivate(processor);
        let figures = engine.figures;
        let durations = engine.log.records.iter().map(|record| record.duration_ns).collect();
        let input_from = self.switches.input_from.load(Ordering::Acquire);
        let report = Report {
            id: arguments.id.clone(),
            sample_rate: self.audio_loop.sample_rate,
            channels: arguments.channels,
            block: format!("{:?}", arguments.block()),
            pace: format!("{:?}, {} ms ahead", arguments.pace, arguments.ahead_ms),
            scheduler: self.scheduler,
            frames: self.switches.position.load(Ordering::Acquire),
            calls: u64::try_from(engine.log.records.len())? + engine.log.dropped,
            input_from_frame: input_from.checked_sub(1),
            process_us: Spread::of_nanos(durations),
            lateness_us: Spread::of_nanos(figures.lateness_ns),
            heap_operations: figures.heap_operations,
            heap_at_frames: figures.heap_at_frames,
            stalls: figures.stalls,
            stall_max_ms: millis(figures.stall_max_ns),
            time_given_up_ms: millis(self.given_up_ns),
            given_up_ns: given_up,
            origin_ns,
            card: arguments.card.unwrap_or_default(),
            process_errors: figures.process_errors,
            not_finite: figures.not_finite,
            peak: figures.peak,
            latency_frames,
            restarts: self.restarts,
            parameters,
            notes_dropped: figures.notes_dropped,
            calls_unlogged: engine.log.dropped,
        };
        let file = |extension: &str| arguments.files.with_extension(extension);
        if let Some(folder) = arguments.files.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        engine.log.write(file("calls"))?;
        audio::write_f32(file("wav"), &engine.recorded)?;
        if let Some(recorded) = &engine.recorded_2 {
            audio::write_f32(file("2.wav"), recorded)?;
        }
        if let Some(recorded) = &then_output {
            audio::write_f32(file("then.wav"), recorded)?;
        }
        std::fs::write(file("notes.json"), serde_json::to_vec(&engine.heard)?)?;
        std::fs::write(file("transport.json"), serde_json::to_vec(&engine.told)?)?;
        std::fs::write(file("state.json"), state)?;
        std::fs::write(file("json"), serde_json::to_vec_pretty(&report)?)?;
        tell(&json!({ "event": "finished" }));
        Ok(())
    }
}

fn audio_thread(
    mut engine: Engine,
    processor: StoppedPluginAudioProcessor<Host>,
    audio_loop: Loop,
    changes: &Receiver<(ClapId, f64)>,
) -> Result<Returned> {
    let Loop { mut sizes, pace, card, ahead_ms, sample_rate, fifo } = audio_loop;
    let scheduler = pace::schedule(fifo);
    let started = processor.start_processing().map_err(|error| anyhow!("{error}"));
    let mut processor = started.context("the plug-in did not start processing")?;
    let mut pacer = Pacer::new(pace, sample_rate, card, ahead_ms);
    pacer.begin();
    while !engine.switches.halt.load(Ordering::Acquire) {
        let frames = engine.frames(sizes.next());
        if frames == 0 {
            break;
        }
        let late_ns = pacer.wait(frames, engine.has_begun());
        engine.lateness(late_ns, frames, sample_rate);
        engine.parameters.extend(changes.try_iter());
        engine.call(&mut processor, frames, None);
    }
    let processor = processor.stop_processing();
    let (origin_ns, given_up_ns) = (pacer.origin_ns(), pacer.given_up_ns);
    Ok(Returned { engine, processor, scheduler, given_up_ns, given_up: pacer.given_up, origin_ns })
}

#[allow(clippy::cast_precision_loss, reason = "a duration of less than 104 days in nanoseconds fits 53 bits")]
fn millis(ns: i64) -> f64 {
    ns as f64 / 1e6
}
