//! Who watches one plug-in's process: hears what it says, notices that it died or hangs, and ends it.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use audiocloud_rt::host_time;
use audiocloud_rt::wake::{WakeReceiver, Waker, wake_pair};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use crate::error::HostError;
use crate::message::{Answer, BLOB_BYTES_MAX, Command, Decoder, Numbered, Reply, write_frame};
use crate::process;
use crate::shared::Shared;

/// How often the process is looked at when it says nothing.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// A call of the plug-in's audio that takes longer than this hangs.
const AUDIO_HANGS_NS: u64 = 2_000_000_000;
/// As above in an offline render, where it may take its time.
const OFFLINE_HANGS_NS: u64 = 20_000_000_000;
/// A main thread that does not go round for so long hangs; loading samples takes long.
const MAIN_HANGS: Duration = Duration::from_secs(60);
/// How long it may take to end when it is asked to.
const ENDS: Duration = Duration::from_secs(2);
/// Lines of the plug-in's log that are kept.
const LOG_LINES: usize = 32;
/// Characters of each.
const LOG_CHARACTERS: usize = 300;

/// What all who have to do with one plug-in share.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) shared: Shared,
    /// Of its process.
    pub(crate) process_id: u32,
    /// Its process is gone, or about to be killed. The audio half reads it for every block.
    gone: AtomicBool,
    /// Why, and who waits to hear it.
    words: Mutex<Option<String>>,
    explained: Condvar,
    /// Blocks that were not there in time.
    pub(crate) late_blocks: AtomicU64,
    /// Blocks that were not given to it, because it has too many already.
    pub(crate) refused_blocks: AtomicU64,
    /// How often it said that its state is another.
    changed: AtomicU64,
    /// How late it is, where it has said so since it was loaded.
    late: Mutex<Option<u32>>,
    log: Mutex<VecDeque<String>>,
    commands: Mutex<Option<ChildStdin>>,
    conversation: Mutex<Conversation>,
    ending: AtomicBool,
    stop: Waker,
}

#[derive(Debug)]
struct Conversation {
    number: u64,
    replies: Receiver<(Reply, Vec<u8>)>,
}

/// What a death means for the plug-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    /// For people.
    pub(crate) words: String,
    /// Whether it is the plug-in's own.
    pub(crate) own: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// *Realtime-safe: yes*.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn words(&self) -> Option<String> {
        lock(&self.words).clone()
    }

    /// Its own latency in frames, where that is another than when it was loaded.
    pub(crate) fn late(&self) -> Option<u32> {
        *lock(&self.late)
    }

    pub(crate) fn changed(&self) -> u64 {
        self.changed.load(Ordering::Acquire)
    }

    pub(crate) fn log(&self) -> Vec<String> {
        lock(&self.log).iter().cloned().collect()
    }

    /// Sends a command and waits for what is answered.
    pub(crate) fn ask(
        &self,
        command: Command,
        blob: &[u8],
        limit: Duration,
    ) -> Result<(Answer, Vec<u8>), HostError> {
        if blob.len() > BLOB_BYTES_MAX {
            return Err(HostError::TooLarge { bytes: blob.len(), max: BLOB_BYTES_MAX });
        }
        let mut conversation = lock(&self.conversation);
        conversation.number += 1;
        let number = conversation.number;
        match lock(&self.commands).as_mut() {
            Some(pipe) => {
                write_frame(pipe, &Numbered { number, command }, blob).map_err(|_| self.gone_error())?
            }
            None => return Err(self.gone_error()),
        }
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match conversation.replies.recv_timeout(left) {
                Ok((reply, blob)) if reply.number == Some(number) => {
                    return match reply.answer {
                        Answer::Refused(words) => Err(HostError::Refused(words)),
                        answer => Ok((answer, blob)),
                    };
                }
                // The answer to a question that waited no longer.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Err(HostError::Silent { seconds: limit.as_secs() }),
                Err(RecvTimeoutError::Disconnected) => return Err(self.gone_error()),
            }
        }
    }

    fn gone_error(&self) -> HostError {
        // The pipe may break a moment before the keeper has looked why.
        let words = self.explained.wait_timeout_while(lock(&self.words), ENDS, |words| words.is_none());
        let words = words.unwrap_or_else(PoisonError::into_inner).0.clone();
        HostError::Gone(words.unwrap_or_else(|| "the plug-in's process has ended".into()))
    }

    /// From now on it is silent, and nobody waits for it any more.
    fn mute(&self) {
        self.gone.store(true, Ordering::Release);
        self.shared.ring();
    }

    fn hear(&self, reply: Reply, blob: Vec<u8>, replies: &Sender<(Reply, Vec<u8>)>) {
        match reply.answer {
            Answer::Changed => {
                self.changed.fetch_add(1, Ordering::AcqRel);
            }
            Answer::Late(frames) => *lock(&self.late) = Some(frames),
            Answer::Log(text) => {
                let text: String = text.chars().take(LOG_CHARACTERS).collect();
                tracing::info!(target: "audiocloud::host", text, "a plug-in says");
                let mut log = lock(&self.log);
                log.truncate(LOG_LINES - 1);
                log.push_front(text);
            }
            _ => {
                // Nobody listens once the last end of the plug-in is gone; then nobody asks either.
                drop(replies.send((reply, blob)));
            }
        }
    }
}

/// Holds a plug-in's process: when the last of them is dropped, it ends. *Realtime-safe: no*.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) link: Arc<Link>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.link.ending.store(true, Ordering::Release);
        self.link.stop.wake();
    }
}

/// Begins to watch a process. `died` is called when it ends without having been asked to.
pub(crate) fn keep(
    mut child: Child,
    shared: Shared,
    died: impl FnOnce(&Death) + Send + 'static,
) -> io::Result<Life> {
    let (stop, stopped) = wake_pair()?;
    let (send, replies) = mpsc::channel();
    let (commands, answers) = (child.stdin.take(), child.stdout.take());
    let (process, answers) = match (process::descriptor(&child), answers) {
        (Ok(process), Some(answers)) => (process, answers),
        (Err(error), _) => return Err(abandon(child, error)),
        (_, None) => return Err(abandon(child, io::ErrorKind::BrokenPipe.into())),
    };
    let link = Arc::new(Link {
        shared,
        process_id: child.id(),
        gone: AtomicBool::new(false),
        words: Mutex::new(None),
        explained: Condvar::new(),
        late_blocks: AtomicU64::new(0),
        refused_blocks: AtomicU64::new(0),
        changed: AtomicU64::new(0),
        late: Mutex::new(None),
        log: Mutex::new(VecDeque::new()),
        commands: Mutex::new(commands),
        conversation: Mutex::new(Conversation { number: 0, replies }),
        ending: AtomicBool::new(false),
        stop,
    });
    let keeper =
        Keeper { link: Arc::clone(&link), child, process, answers: Some(answers), replies: send, stopped };
    let life = Life { link };
    thread::Builder::new().name("plug-in keeper".into()).spawn(move || keeper.run(died))?;
    Ok(life)
}

/// Ends a process that cannot be watched.
fn abandon(mut child: Child, error: io::Error) -> io::Error {
    match child.kill().and_then(|()| child.wait()) {
        Ok(_) => error,
        Err(worse) => worse,
    }
}

struct Keeper {
    link: Arc<Link>,
    child: Child,
    process: OwnedFd,
    /// None after it said its last.
    answers: Option<ChildStdout>,
    replies: Sender<(Reply, Vec<u8>)>,
    stopped: WakeReceiver,
}

impl Keeper {
    fn run(mut self, died: impl FnOnce(&Death)) {
        let mut watch = Watch::new();
        let mut decoder = Decoder::default();
        let mut end_by = None;
        let mut killed = None;
        let status = loop {
            let (ended, speaks) = self.wait();
            if speaks && let Err(words) = self.listen(&mut decoder) {
                killed = killed.or(Some(words));
                self.kill();
            }
            if ended && !speaks {
                break self.child.wait();
            }
            if self.link.ending.load(Ordering::Acquire) {
                // Whoever writes just now finishes: the process always reads.
                drop(lock(&self.link.commands).take());
                let by = *end_by.get_or_insert_with(|| Instant::now() + ENDS);
                if Instant::now() >= by {
                    self.kill();
                }
            } else if killed.is_none()
                && let Some(words) = watch.look(&self.link.shared)
            {
                killed = Some(words);
                // What follows is muted from here on, not only when the process is gone.
                self.link.mute();
                self.kill();
            }
        };
        let death = death(killed, status);
        let ending = self.link.ending.load(Ordering::Acquire);
        *lock(&self.link.words) = Some(death.words.clone());
        self.link.mute();
        self.link.explained.notify_all();
        drop(lock(&self.link.commands).take());
        if !ending {
            died(&death);
        }
    }

    /// Waits until something happens; whether the process has ended, and whether it speaks.
    fn wait(&self) -> (bool, bool) {
        let fd = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = vec![fd(self.process.as_fd()), fd(self.stopped.as_fd())];
        fds.extend(self.answers.as_ref().map(|answers| fd(answers.as_fd())));
        // An interrupted wait is one that saw nothing.
        let seen = poll(&mut fds, Some(&LOOK)).is_ok();
        let happened = |index: usize| seen && fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let (ended, stopped, speaks) = (happened(0), happened(1), happened(2));
        if stopped {
            self.stopped.drain();
        }
        (ended, speaks)
    }

    /// Takes what it says; words where that makes no sense.
    fn listen(&mut self, decoder: &mut Decoder) -> Result<(), String> {
        let Some(answers) = &mut self.answers else { return Ok(()) };
        let mut piece = [0; 65_536];
        match answers.read(&mut piece) {
            Ok(length) if length > 0 => decoder.push(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => self.answers = None,
        }
        loop {
            match decoder.frame::<Reply>() {
                Ok(Some((reply, blob))) => self.link.hear(reply, blob, &self.replies),
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.answers = None;
                    return Err(format!("its process spoke nonsense ({error})"));
                }
            }
        }
    }

    fn kill(&self) {
        if let Err(error) = pidfd_send_signal(&self.process, Signal::KILL) {
            tracing::debug!(target: "audiocloud::host", %error, "a plug-in's process had ended before it was killed");
        }
    }
}

/// Notices that a process hangs.
struct Watch {
    beats: u64,
    beaten: Instant,
}

impl Watch {
    fn new() -> Self {
        Self { beats: 0, beaten: Instant::now() }
    }

    fn look(&mut self, shared: &Shared) -> Option<String> {
        let beats = shared.beats();
        if beats != self.beats {
            (self.beats, self.beaten) = (beats, Instant::now());
        } else if self.beaten.elapsed() > MAIN_HANGS {
            return Some(format!("hung: its main thread stood still for {} s", MAIN_HANGS.as_secs()));
        }
        let (done, submitted) = (shared.done(), shared.submitted());
        if done > submitted {
            return Some("its process wrote over what it shares with us".into());
        }
        if done == submitted {
            return None;
        }
        let slot = shared.slot(done);
        let hangs = if slot.head().offline { OFFLINE_HANGS_NS } else { AUDIO_HANGS_NS };
        let now = u64::try_from(host_time::now().get()).unwrap_or(0);
        let stands = now.saturating_sub(slot.submitted_at()) > hangs;
        // It may have been answered in between, and the slot be another block's.
        let stands = stands && shared.done() == done;
        stands.then(|| format!("hung: one call of its audio took more than {} s", hangs / 1_000_000_000))
    }
}

fn death(killed: Option<String>, status: io::Result<ExitStatus>) -> Death {
    if let Some(words) = killed {
        return Death { words, own: true };
    }
    let Ok(status) = status else { return Death { words: "ended, nobody knows why".into(), own: false } };
    match status.signal() {
        // Sent by somebody: the user, or a system without memory.
        Some(signal @ (1 | 2 | 9 | 15)) => {
            Death { words: format!("was ended from outside (signal {signal})"), own: false }
        }
        Some(signal) => Death { words: format!("crashed ({})", name(signal)), own: true },
        None => Death { words: format!("ended by itself ({status})"), own: true },
    }
}

fn name(signal: i32) -> String {
    let name = match signal {
        4 => "SIGILL, an illegal instruction",
        5 => "SIGTRAP, a trap",
        6 => "SIGABRT, it gave up",
        7 => "SIGBUS, memory that is not there",
        8 => "SIGFPE, impossible arithmetic",
        11 => "SIGSEGV, memory that is not its own",
        31 => "SIGSYS, a forbidden system call",
        _ => return format!("signal {signal}"),
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::{Head, Shape};
    use audiocloud_graph::event::Transport;

    #[test]
    fn a_block_that_is_not_answered_hangs() {
        let shared = Shared::create(Shape::new(1, 0, 4).unwrap()).unwrap();
        let mut watch = Watch::new();
        let submit = |number: u64, ago_ns: i64, offline| {
            let slot = shared.slot(number);
            slot.open(&Head {
                position: 64 * number,
                begins: false,
                offline,
                transport: Transport::default(),
            });
            slot.set_submitted_at(u64::try_from(host_time::now().get() - ago_ns).unwrap());
            shared.set_submitted(number + 1);
        };
        assert_eq!(watch.look(&shared), None);
        submit(0, 100_000_000, false);
        assert_eq!(watch.look(&shared), None);
        submit(1, 3_000_000_000, false);
        assert_eq!(watch.look(&shared), None, "the first one is waited for first");
        shared.set_done(1);
        assert!(watch.look(&shared).is_some());
        submit(1, 3_000_000_000, true);
        assert_eq!(watch.look(&shared), None, "offline it may");
        shared.set_done(7);
        assert!(watch.look(&shared).unwrap().contains("wrote over"));
    }

    #[test]
    fn deaths_have_words_and_owners() {
        let check = |raw: i32, own: bool, part: &str| {
            let death = death(None, Ok(ExitStatus::from_raw(raw)));
            assert_eq!(death.own, own, "{death:?}");
            assert!(death.words.contains(part), "{death:?}");
        };
        check(11, true, "SIGSEGV");
        check(6, true, "SIGABRT");
        check(9, false, "from outside");
        check(3 << 8, true, "by itself");
        assert!(super::death(Some("hung".into()), Ok(ExitStatus::from_raw(9))).own);
    }
}
