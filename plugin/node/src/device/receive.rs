//! `audiocloud receive`: a stream, into a device or a recording.

use std::path::Path;
use std::sync::mpsc;

use anyhow::{Context, bail};
use audiocloud_engine::rt::callback;
use audiocloud_engine::rt::snapshot;
use audiocloud_engine::stream::receiver::{State, Status};
use audiocloud_engine::units::Nanos;
use audiocloud_net::runtime::{Config, Handle, Runtime, StreamEntry};
use serde_json::{Value, json};

use super::paced::{Go, Paced};
use super::play::{Playing, Sound, Wish, play};
use super::until::until;
use super::{Running, Shape, find, jack, wav};
use crate::arguments::ReceiveArguments;
use crate::field::clean;
use crate::output::{print, print_json};

/// Frames a block of a recording.
const BLOCK: u32 = 128;
/// How late a recording is, unless it is told: nobody waits for it, and what came late or twice is in its place by then.
const RECORDING_DELAY: Nanos = Nanos::from_millis(200);
/// What may be in hand more or less than that before a recording goes faster or slower.
const SLACK: Nanos = Nanos::from_millis(20);

pub(crate) fn run(arguments: &ReceiveArguments, config: Config) -> anyhow::Result<()> {
    if arguments.seconds.is_some_and(|seconds| !(seconds > 0.0 && seconds < 1e6)) {
        bail!("--seconds takes a number above 0");
    }
    let handle = Runtime::acquire_with(config)?;
    if let Some(file) = &arguments.wav {
        let Some(stream) = wait_for(&handle, arguments)? else { return Ok(()) };
        return record(arguments, &handle, &stream, file);
    }
    // The device first: whether it is there is known at once.
    let mut target = Some(Target::open(arguments)?);
    while let Some(stream) = wait_for(&handle, arguments)? {
        let opened = target.take().map_or_else(|| Target::open(arguments), Ok)?;
        if play_on(arguments, &handle, &stream, opened)? == Next::End {
            break;
        }
    }
    Ok(())
}

/// The stream that is meant, as soon as it is there; none: it was ended before.
fn wait_for(handle: &Handle, arguments: &ReceiveArguments) -> anyhow::Result<Option<StreamEntry>> {
    let mut said = arguments.run.json;
    until(|| {
        let found = find::stream(handle, &arguments.stream).transpose();
        if found.is_none() && !std::mem::replace(&mut said, true) {
            // Nobody reads: then nobody waits, either.
            print(&format!("Waiting for \"{}\" …\n", clean(&arguments.stream))).ok();
        }
        found
    })?
    .transpose()
}

fn wish(arguments: &ReceiveArguments) -> Wish {
    Wish {
        delay: arguments.delay.map(|ms| Nanos::from_millis(ms.into())),
        is_aligned: arguments.aligned,
        has_same_clock: arguments.same_clock,
    }
}

/// What follows when a stream is no longer played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    End,
    /// Once more, for it is another one now.
    Again,
}

fn play_on(
    arguments: &ReceiveArguments,
    handle: &Handle,
    stream: &StreamEntry,
    target: Target,
) -> anyhow::Result<Next> {
    let shape = target.shape(stream.channels);
    let (playing, sound) = play(handle, stream, &shape, &wish(arguments));
    let running = target.start(&shape, sound, &arguments.connect)?;
    say(arguments, stream, &shape, handle)?;
    let enough = enough_frames(arguments, &shape);
    let ended = until(|| {
        if let Some(trouble) = running.trouble().or_else(|| playing.trouble()) {
            return Some(Err(anyhow::Error::msg(trouble)));
        }
        let played = playing.figures()["frames"].as_u64().unwrap_or(0);
        let is_other = playing.has_another_rate();
        (is_other || played >= enough).then_some(Ok(if is_other { Next::Again } else { Next::End }))
    })?;
    let overruns = running.overruns();
    drop(running);
    finish(arguments, &playing, overruns)?;
    ended.unwrap_or(Ok(Next::End))
}

/// After how many frames it is to end.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be above 0; a cast saturates"
)]
fn enough_frames(arguments: &ReceiveArguments, shape: &Shape) -> u64 {
    let frames = |seconds: f64| (seconds * f64::from(shape.sample_rate.hz())).round() as u64;
    arguments.seconds.map_or(u64::MAX, frames)
}

fn record(
    arguments: &ReceiveArguments,
    handle: &Handle,
    stream: &StreamEntry,
    file: &Path,
) -> anyhow::Result<()> {
    let shape = Shape { sample_rate: stream.sample_rate, channels: stream.channels, block_max: BLOCK };
    let writer = wav::Writer::create(file, shape.sample_rate, shape.channels)?;
    let wish = wish(arguments);
    let delay = wish.delay.unwrap_or(RECORDING_DELAY);
    // No device of ours has a clock that counts: the recording keeps the sender's, and every frame is as it was sent.
    let wish = Wish { delay: Some(delay), has_same_clock: true, ..wish };
    let in_frames = |span: Nanos| span.to_frames_nearest(shape.sample_rate).get();
    let (playing, sound) = play(handle, stream, &shape, &wish);
    let frames = usize::try_from(BLOCK).unwrap_or(0);
    let mut recorder = Recorder {
        status: sound.status(),
        sound,
        planes: vec![vec![0.0; frames]; usize::from(shape.channels)],
        writer: Some(writer),
        left: enough_frames(arguments, &shape),
        begun: false,
        in_hand: in_frames(delay),
        slack: in_frames(SLACK),
        has_rested: false,
    };
    let (told, came) = mpsc::channel();
    let paced = Paced::start(shape.sample_rate, BLOCK, move || match recorder.step() {
        Ok(Go::On) => Go::On,
        // Whoever waits for it may be gone, with the whole process.
        outcome => {
            told.send(outcome.and_then(|_| recorder.finish())).ok();
            Go::Done
        }
    })?;
    say(arguments, stream, &shape, handle)?;
    let ended = until(|| {
        let trouble = playing.trouble().map(|trouble| Err(anyhow::Error::msg(trouble)));
        trouble.or_else(|| came.try_recv().ok()).or_else(|| playing.has_ended().then_some(Ok(())))
    })?;
    // Here the recording becomes a whole file, if it is not one yet.
    drop(paced);
    finish(arguments, &playing, 0)?;
    ended.unwrap_or(Ok(()))
}

/// A stream, block by block, into a file.
struct Recorder {
    sound: Sound,
    status: snapshot::Reader<Status>,
    planes: Vec<Vec<f32>>,
    writer: Option<wav::Writer>,
    /// Frames that are wanted yet.
    left: u64,
    begun: bool,
    /// Frames that are to be in hand, and how many more or less may be.
    in_hand: i64,
    slack: i64,
    /// Whether nothing was recorded the last time.
    has_rested: bool,
}

/// How many blocks are recorded now, when so many frames more or less are in hand than should be: the sender's clock is not
/// ours, and what is recorded has no time to keep. It never rests twice, for only a block tells what is in hand now: what
/// runs dry because it has ended goes on at half speed, and then as time does.
fn blocks_now(is_playing: bool, has_rested: bool, surplus: i64, slack: i64) -> usize {
    match is_playing {
        true if surplus > slack => 2,
        true if surplus < -slack && !has_rested => 0,
        _ => 1,
    }
}

impl Recorder {
    fn step(&mut self) -> anyhow::Result<Go> {
        let status = self.status.read();
        let surplus = status.level_frames - self.in_hand;
        let blocks = blocks_now(status.state == State::Playing, self.has_rested, surplus, self.slack);
        self.has_rested = blocks == 0;
        for _ in 0..blocks {
            if self.block()? == Go::Done {
                return Ok(Go::Done);
            }
        }
        Ok(Go::On)
    }

    fn block(&mut self) -> anyhow::Result<Go> {
        callback::enter(|callback| self.sound.fill(callback, &mut self.planes));
        self.begun = self.begun || self.status.read().state == State::Playing;
        if !self.begun {
            return Ok(Go::On);
        }
        let frames = self.planes.first().map_or(0, Vec::len);
        let wanted = frames.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.planes.iter_mut().for_each(|plane| plane.truncate(wanted));
        if let Some(writer) = &mut self.writer {
            writer.write(&self.planes)?;
        }
        self.left -= u64::try_from(wanted).unwrap_or(0);
        Ok(if self.left == 0 { Go::Done } else { Go::On })
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.writer.take().map_or(Ok(()), wav::Writer::finish)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            eprintln!("audiocloud: {error:#}");
        }
    }
}

/// Where the sound goes.
enum Target {
    Jack(jack::Client),
    #[cfg(feature = "cpal")]
    Card(super::card::Card),
}

impl Target {
    fn open(arguments: &ReceiveArguments) -> anyhow::Result<Self> {
        #[cfg(feature = "cpal")]
        if let Some(device) = &arguments.device {
            return super::card::Card::output(device).map(Self::Card);
        }
        let name = arguments.jack.as_deref().context("say where it is to go: --jack or --wav")?;
        jack::Client::open(name).map(Self::Jack)
    }

    fn shape(&self, channels: u16) -> Shape {
        match self {
            Self::Jack(client) => client.shape(channels),
            #[cfg(feature = "cpal")]
            Self::Card(card) => card.shape(),
        }
    }

    fn start(self, shape: &Shape, sound: Sound, connect: &[String]) -> anyhow::Result<Box<dyn Running>> {
        match self {
            Self::Jack(client) => Ok(Box::new(client.start(0, shape.channels, Box::new(sound), connect)?)),
            #[cfg(feature = "cpal")]
            Self::Card(card) => Ok(Box::new(card.start(Box::new(sound))?)),
        }
    }
}

fn say(
    arguments: &ReceiveArguments,
    stream: &StreamEntry,
    shape: &Shape,
    handle: &Handle,
) -> anyhow::Result<()> {
    if arguments.run.json {
        let place = json!({
            "stream": stream.key.to_string(),
            "name": stream.name,
            "sample_rate": shape.sample_rate.hz(),
            "channels": shape.channels,
            "port": handle.port(),
        });
        return print_json(&place).map(drop);
    }
    let (name, publisher) = (clean(&stream.name), clean(&stream.publisher_name));
    let text =
        format!("Plays \"{name}\" of {publisher} ({})\nIt runs until it is ended (Ctrl-C).\n", shape.words());
    print(&text).map(drop)
}

fn finish(arguments: &ReceiveArguments, playing: &Playing, overruns: u64) -> anyhow::Result<()> {
    let mut figures = playing.figures();
    figures["overruns"] = overruns.into();
    if arguments.run.json {
        return print_json(&figures).map(drop);
    }
    let count = |field: &str| figures.get(field).and_then(Value::as_u64).unwrap_or(0);
    let text = format!(
        "{} frames played, {} missing, {} times the device lost some.\n",
        count("frames"),
        count("frames_missing"),
        overruns
    );
    print(&text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_keeps_the_senders_time() {
        // A sender that is half a per cent fast, or slow, for ten minutes, and one block each.
        for sent_per_block in [128.64, 127.36] {
            let (mut in_hand, mut seen, mut recorded, mut has_rested) = (0.0_f64, 0.0, 0.0, false);
            for _ in 0..225_000 {
                #[allow(clippy::cast_possible_truncation, reason = "some hundreds")]
                let blocks = blocks_now(true, has_rested, seen as i64, 960);
                has_rested = blocks == 0;
                let frames = 128.0 * f64::from(u8::try_from(blocks).unwrap());
                recorded += frames;
                in_hand += sent_per_block - frames;
                // As it was before the last block that was recorded, and unknown while none is.
                seen = if has_rested { seen } else { in_hand };
                assert!(in_hand.abs() < 960.0 + 256.0, "{in_hand} frames");
            }
            assert!((recorded - 225_000.0 * sent_per_block).abs() < 2_000.0, "{recorded}");
        }
        assert_eq!(blocks_now(false, false, -9_600, 960), 1, "silence takes its time");
        assert_eq!(blocks_now(true, true, -9_600, 960), 1, "what has ended runs out");
    }
}
