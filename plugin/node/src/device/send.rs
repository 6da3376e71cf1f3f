//! `audiocloud send`: a recording, or what a device hears, as a stream.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context;
use audiocloud_engine::rt::callback;
use audiocloud_net::runtime::sessions::acts;
use audiocloud_net::runtime::{Config, Handle, Runtime};
use audiocloud_net::wire::id::SessionId;
use serde_json::{Value, json};

use super::paced::{Go, Paced};
use super::publish::{Feed, Shared, publish};
use super::until::until;
use super::{Running, Shape, jack, wav};
use crate::arguments::SendArguments;
use crate::field::clean;
use crate::output::{print, print_json};

/// How long the end of a recording is kept for those who ask for what they missed of it.
const LINGER: Duration = Duration::from_millis(800);

pub(crate) fn run(arguments: &SendArguments, config: Config) -> anyhow::Result<()> {
    let session = arguments.session.as_deref().map(|text| acts::find(&config, text)).transpose()?;
    let session = session.map(|membership| membership.session);
    match &arguments.file {
        Some(file) => send_file(arguments, file, config, session),
        None => send_device(arguments, config, session),
    }
}

fn send_file(
    arguments: &SendArguments,
    file: &Path,
    config: Config,
    session: Option<SessionId>,
) -> anyhow::Result<()> {
    let reader = wav::Reader::open(file)?;
    let shape =
        Shape { sample_rate: reader.sample_rate()?, channels: reader.channels(), block_max: arguments.block };
    let stem = || file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let name = arguments.name.clone().unwrap_or_else(stem);
    let handle = Runtime::acquire_with(config)?;
    let (on_air, feed) = publish(&handle, &name, &shape, session)?;
    let on_air = Arc::new(on_air);
    say(arguments, &name, &shape, &on_air, &handle)?;
    let (told, trouble) = mpsc::channel();
    let mut player = Player { reader, feed, planes: planes(&shape), again: arguments.again };
    let listened = Arc::clone(&on_air);
    let mut waits = arguments.wait;
    let paced = Paced::start(shape.sample_rate, shape.block_max, move || {
        waits = waits && listened.listeners() == 0;
        if waits {
            return Go::On;
        }
        player.step().unwrap_or_else(|error| {
            // Whoever waits for it may be gone, with the whole process.
            told.send(error).ok();
            Go::Done
        })
    })?;
    let ended = until(|| paced.is_done().then_some(()))?;
    drop(paced);
    if let Ok(error) = trouble.try_recv() {
        return Err(error);
    }
    if ended.is_some() {
        let since = Instant::now();
        until(|| (on_air.listeners() == 0 || since.elapsed() >= LINGER).then_some(()))?;
    }
    finish(arguments, &on_air, 0)
}

fn planes(shape: &Shape) -> Vec<Vec<f32>> {
    let frames = usize::try_from(shape.block_max).unwrap_or(0);
    vec![vec![0.0; frames]; usize::from(shape.channels)]
}

/// The recording, block by block.
struct Player {
    reader: wav::Reader,
    feed: Feed,
    planes: Vec<Vec<f32>>,
    again: bool,
}

impl Player {
    fn step(&mut self) -> anyhow::Result<Go> {
        let whole = self.planes.first().map_or(0, Vec::len);
        let mut frames = self.reader.read(&mut self.planes)?;
        if frames < whole && self.again {
            // The rest of the block is of the next round.
            self.reader.rewind()?;
            let mut rest: Vec<Vec<f32>> =
                self.planes.iter().map(|plane| vec![0.0; plane.len() - frames]).collect();
            let read = self.reader.read(&mut rest)?;
            for (plane, rest) in self.planes.iter_mut().zip(rest) {
                plane[frames..frames + read].copy_from_slice(&rest[..read]);
            }
            frames += read;
        }
        let input: Vec<&[f32]> = self.planes.iter().map(|plane| &plane[..frames]).collect();
        if frames > 0 {
            callback::enter(|callback| self.feed.send(callback, &input));
        }
        Ok(if frames < whole { Go::Done } else { Go::On })
    }
}

fn send_device(arguments: &SendArguments, config: Config, session: Option<SessionId>) -> anyhow::Result<()> {
    let source = Source::open(arguments)?;
    let (shape, called) = (source.shape(arguments.channels), source.name());
    let name = arguments.name.clone().unwrap_or(called);
    let handle = Runtime::acquire_with(config)?;
    let (on_air, feed) = publish(&handle, &name, &shape, session)?;
    let on_air = Arc::new(on_air);
    let running = source.start(&shape, feed, &arguments.connect)?;
    say(arguments, &name, &shape, &on_air, &handle)?;
    let trouble = until(|| running.trouble())?;
    let overruns = running.overruns();
    drop(running);
    finish(arguments, &on_air, overruns)?;
    trouble.map_or(Ok(()), |trouble| Err(anyhow::Error::msg(trouble)))
}

/// Where the sound comes from.
enum Source {
    Jack(jack::Client),
    #[cfg(feature = "cpal")]
    Card(super::card::Card),
}

impl Source {
    fn open(arguments: &SendArguments) -> anyhow::Result<Self> {
        #[cfg(feature = "cpal")]
        if let Some(device) = &arguments.device {
            return super::card::Card::input(device, arguments.channels).map(Self::Card);
        }
        let name = arguments.jack.as_deref().context("say what is to be sent: a file, or --jack")?;
        jack::Client::open(name).map(Self::Jack)
    }

    fn shape(&self, channels: u16) -> Shape {
        match self {
            Self::Jack(client) => client.shape(channels),
            #[cfg(feature = "cpal")]
            Self::Card(card) => card.shape(),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Jack(client) => client.name().to_owned(),
            #[cfg(feature = "cpal")]
            Self::Card(card) => card.name().to_owned(),
        }
    }

    fn start(self, shape: &Shape, feed: Feed, connect: &[String]) -> anyhow::Result<Box<dyn Running>> {
        match self {
            Self::Jack(client) => Ok(Box::new(client.start(shape.channels, 0, Box::new(feed), connect)?)),
            #[cfg(feature = "cpal")]
            Self::Card(card) => Ok(Box::new(card.start(Box::new(feed))?)),
        }
    }
}

fn say(
    arguments: &SendArguments,
    name: &str,
    shape: &Shape,
    on_air: &Shared,
    handle: &Handle,
) -> anyhow::Result<()> {
    if arguments.run.json {
        let place = json!({
            "stream": on_air.key().to_string(),
            "name": name,
            "sample_rate": shape.sample_rate.hz(),
            "channels": shape.channels,
            "port": handle.port(),
        });
        return print_json(&place).map(drop);
    }
    let mut text = format!("Sends \"{}\" ({})\n  as {}\n", clean(name), shape.words(), on_air.key());
    if let Some(trouble) = on_air.trouble() {
        text += &format!("  {trouble}\n");
    }
    print(&(text + "It runs until it is ended (Ctrl-C).\n")).map(drop)
}

fn finish(arguments: &SendArguments, on_air: &Shared, overruns: u64) -> anyhow::Result<()> {
    let mut figures = on_air.figures();
    figures["overruns"] = overruns.into();
    if arguments.run.json {
        return print_json(&figures).map(drop);
    }
    let count = |field: &str| figures.get(field).and_then(Value::as_u64).unwrap_or(0);
    let lost = match (count("frames_dropped"), overruns) {
        (0, 0) => "none lost on this machine".to_owned(),
        (dropped, overruns) => format!(
            "{dropped} lost because this machine's network side was too slow, {overruns} times the device lost some"
        ),
    };
    print(&format!("{} frames sent, {lost}.\n", count("frames"))).map(drop)
}
