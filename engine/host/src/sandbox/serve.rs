//! The plug-in's main thread: does what the node asks, and what the plug-in asks.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use super::audio::{AudioThread, Running};
use super::instance::Instances;
use crate::description::Description;
use crate::error::HostError;
use crate::message::{Answer, BLOB_BYTES_MAX, Command, Decoder, Numbered, Reply, read_frame, write_frame};
use crate::shared::Shared;

/// How often the plug-in's own wishes are looked at.
const ROUND: Duration = Duration::from_millis(10);
/// How long the plug-in may take to be put away.
const ENDS: Duration = Duration::from_millis(1500);
/// Lines of its log that wait to be sent.
const LOG_LINES: usize = 64;

/// Until the node closes the pipe, or the plug-in breaks something.
pub(super) fn serve(shared: Shared, wake: OwnedFd, commands: File, mut answers: File) -> io::Result<()> {
    let (log, lines) = mpsc::sync_channel(LOG_LINES);
    let mut house = House { shared: Arc::new(shared), wake: Arc::new(wake), log, guest: None };
    let orders = listen(commands)?;
    loop {
        house.shared.beat();
        match orders.recv_timeout(ROUND) {
            Ok((Numbered { number, command }, blob)) => {
                let (answer, blob) =
                    house.obey(command, &blob).unwrap_or_else(|words| (Answer::Refused(words), Vec::new()));
                write_frame(&mut answers, &Reply { number: Some(number), answer }, &blob)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let mut unasked: Vec<Answer> = lines.try_iter().map(Answer::Log).collect();
        if let Some(guest) = &mut house.guest {
            unasked.extend(guest.round(&house.shared, &house.wake));
        }
        for answer in unasked {
            write_frame(&mut answers, &Reply { number: None, answer }, &[])?;
        }
    }
    if let Some(guest) = house.guest {
        guest.leave();
    }
    Ok(())
}

/// Always reads, so that the node never waits to write. Where the node is gone, this process follows.
fn listen(mut commands: File) -> io::Result<Receiver<(Numbered, Vec<u8>)>> {
    let (send, orders) = mpsc::channel();
    let body = move || {
        let mut decoder = Decoder::default();
        while let Ok(Some(order)) = read_frame(&mut commands, &mut decoder) {
            if send.send(order).is_err() {
                break;
            }
        }
        drop(send);
        thread::sleep(ENDS);
        // The plug-in does not let go.
        kill_process(getpid(), Signal::KILL).ok();
    };
    thread::Builder::new().name("orders".into()).spawn(body)?;
    Ok(orders)
}

struct House {
    shared: Arc<Shared>,
    wake: Arc<OwnedFd>,
    log: SyncSender<String>,
    guest: Option<Guest>,
}

impl House {
    fn obey(&mut self, command: Command, blob: &[u8]) -> Result<(Answer, Vec<u8>), String> {
        if let Command::Load { path, id, sample_rate, priority } = command {
            if self.guest.is_some() {
                return Err("there is a plug-in already".into());
            }
            let guest = Guest::enter(self, &path, &id, sample_rate, priority, blob)?;
            let description = Box::new(guest.description.clone());
            self.guest = Some(guest);
            return Ok((Answer::Described(description), Vec::new()));
        }
        let guest = self.guest.as_mut().ok_or("no plug-in is loaded")?;
        Ok(match command {
            Command::Load { .. } => return Err("there is a plug-in already".into()),
            Command::SaveState => {
                let state = guest.instances.save()?;
                if state.len() > BLOB_BYTES_MAX {
                    let (bytes, max) = (state.len(), BLOB_BYTES_MAX);
                    return Err(HostError::TooLarge { bytes, max }.to_string());
                }
                return Ok((Answer::State, state));
            }
            Command::LoadState => {
                guest.instances.restore(blob)?;
                (Answer::Taken, Vec::new())
            }
            Command::Text { id, value } => (Answer::Text(guest.instances.text(id, value)), Vec::new()),
            Command::Value { id, text } => (Answer::Value(guest.instances.value(id, &text)), Vec::new()),
            Command::Describe => (Answer::Described(Box::new(guest.describe())), Vec::new()),
        })
    }
}

/// The one plug-in of this process.
struct Guest {
    instances: Instances,
    /// None where the plug-in did not begin again.
    audio: Option<AudioThread>,
    running: Running,
    description: Description,
    priority: Option<u8>,
    offline: bool,
}

impl Guest {
    fn enter(
        house: &House,
        path: &Path,
        id: &str,
        sample_rate: u32,
        priority: Option<u8>,
        state: &[u8],
    ) -> Result<Self, String> {
        let channels = house.shared.shape().channels;
        let mut instances = Instances::load(path, id, channels, sample_rate, &house.log)?;
        if !state.is_empty() {
            instances.restore(state)?;
        }
        let none = Running { tail: crate::description::Tail::None, realtime: false };
        let (audio, running) = begin(&mut instances, none, &house.shared, &house.wake, priority)?;
        let description = instances.describe(running.tail, running.realtime);
        Ok(Self { instances, audio: Some(audio), running, description, priority, offline: false })
    }

    fn describe(&mut self) -> Description {
        self.instances.describe(self.running.tail, self.running.realtime)
    }

    /// Does what the plug-in asked for; what there is to tell.
    fn round(&mut self, shared: &Arc<Shared>, wake: &Arc<OwnedFd>) -> Vec<Answer> {
        let wishes = self.instances.serve();
        let mut news = Vec::new();
        if wishes.changed {
            news.push(Answer::Changed);
        }
        if let Some(audio) = &self.audio {
            self.running.tail = audio.tail().unwrap_or(self.running.tail);
            if audio.is_offline() != self.offline {
                self.offline = audio.is_offline();
                self.instances.set_offline(self.offline);
            }
        }
        if wishes.restart
            && let Some(audio) = self.audio.take()
        {
            self.instances.deactivate(audio.stop());
            match begin(&mut self.instances, self.running, shared, wake, self.priority) {
                Ok((audio, running)) => (self.audio, self.running) = (Some(audio), running),
                Err(words) => news.push(Answer::Log(format!("it asked to begin anew, and {words}"))),
            }
        }
        if wishes.restart || wishes.late {
            news.push(Answer::Late(self.instances.latency()));
        }
        news
    }

    fn leave(mut self) {
        if let Some(audio) = self.audio {
            self.instances.deactivate(audio.stop());
        }
    }
}

/// Makes the plug-in active, and starts its audio.
fn begin(
    instances: &mut Instances,
    before: Running,
    shared: &Arc<Shared>,
    wake: &Arc<OwnedFd>,
    priority: Option<u8>,
) -> Result<(AudioThread, Running), String> {
    let processors = instances.activate()?;
    debug_assert_eq!(processors.len(), instances.copies());
    let description = instances.describe(before.tail, before.realtime);
    AudioThread::start(shared, wake, processors, description, priority)
}
