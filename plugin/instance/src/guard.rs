//! No panic leaves a plug-in: it is caught here, and the plug-in goes on dry or silent and says so.
//!
//! This is the only place that catches. A panic switches off the domain that it happened in: after one in the audio
//! callbacks the sound is dry (Send) or silent (Receive) until the host activates the plug-in again; after one in the
//! window the window shows a sentence and the sound goes on.

mod hook;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::status::{Severity, Status};

/// For tests: `AUDIOCLOUD_INJECT_PANIC=process` panics in the first call of that stage after activation,
/// `process@1000` in the thousandth. Stages as in [`Stage::word`].
pub const INJECT_VARIABLE: &str = "AUDIOCLOUD_INJECT_PANIC";

/// What the host or the user was asking for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Create,
    Activate,
    Reset,
    Process,
    Deactivate,
    Destroy,
    Editor,
    State,
    Report,
}

/// What a panic switches off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Domain {
    Audio,
    Editor,
    /// One call at a time: the next one is tried again.
    Service,
}

impl Stage {
    /// The stage in a sentence, and in [`INJECT_VARIABLE`].
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Activate => "activate",
            Self::Reset => "reset",
            Self::Process => "process",
            Self::Deactivate => "deactivate",
            Self::Destroy => "destroy",
            Self::Editor => "editor",
            Self::State => "state",
            Self::Report => "report",
        }
    }

    fn domain(self) -> Domain {
        match self {
            Self::Create | Self::Activate | Self::Reset | Self::Process | Self::Deactivate => Domain::Audio,
            Self::Editor => Domain::Editor,
            Self::Destroy | Self::State | Self::Report => Domain::Service,
        }
    }
}

/// What a test asked for in the environment.
#[derive(Debug)]
struct Injection {
    stage: String,
    calls_left: AtomicU64,
}

impl Injection {
    fn parse(text: &str) -> Self {
        let (stage, calls) = text.split_once('@').unwrap_or((text, "1"));
        Self { stage: stage.to_owned(), calls_left: AtomicU64::new(calls.parse().unwrap_or(1).max(1)) }
    }

    fn strike(&self, stage: Stage) {
        if self.stage == stage.word() && self.calls_left.load(Ordering::Relaxed) > 0 {
            let before = self.calls_left.fetch_sub(1, Ordering::Relaxed);
            assert!(before != 1, "injected by {INJECT_VARIABLE}");
        }
    }
}

/// A panic that was caught.
struct Caught {
    stage: Stage,
    place: hook::Place,
    payload: Box<dyn Any + Send>,
    /// Whether it has been written to the log: not by the audio thread.
    logged: bool,
}

#[derive(Default)]
struct Inner {
    audio_off: AtomicBool,
    editor_off: AtomicBool,
    /// The last panic, kept whole: reading it out, and freeing it, is for another thread than the audio thread.
    caught: Mutex<Option<Caught>>,
    injection: Option<Injection>,
}

/// One plug-in instance's guard, shared by its callbacks, its window and its reports.
#[derive(Clone, Default)]
pub struct Guard(Arc<Inner>);

impl std::fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Guard").field("audio_off", &self.0.audio_off).finish_non_exhaustive()
    }
}

impl Guard {
    /// A guard that obeys [`INJECT_VARIABLE`].
    pub fn from_environment() -> Self {
        hook::install();
        let injection = std::env::var(INJECT_VARIABLE).ok().map(|text| Injection::parse(&text));
        Self(Arc::new(Inner { injection, ..Inner::default() }))
    }

    /// Runs `body`; `None` when it panicked, now or earlier in the same domain. Activation makes a new attempt.
    ///
    /// *Realtime-safe: yes*, unless `body` panics: then the standard library's unwinding and message allocate.
    pub fn run<R>(&self, stage: Stage, body: impl FnOnce() -> R) -> Option<R> {
        let off = match stage.domain() {
            Domain::Audio => Some(&self.0.audio_off),
            Domain::Editor => Some(&self.0.editor_off),
            Domain::Service => None,
        };
        if let Some(off) = off {
            if matches!(stage, Stage::Activate | Stage::Deactivate) {
                self.forget();
                off.store(false, Ordering::Relaxed);
            } else if off.load(Ordering::Relaxed) {
                return None;
            }
        }
        // What `body` left half done is not looked at again: the domain is off until activation rebuilds it.
        let guarded = AssertUnwindSafe(|| {
            let body = || {
                if let Some(injection) = &self.0.injection {
                    injection.strike(stage);
                }
                body()
            };
            if matches!(stage, Stage::Process | Stage::Reset) { hook::in_callback(body) } else { body() }
        });
        match catch_unwind(guarded) {
            Ok(result) => Some(result),
            Err(payload) => {
                if let Some(off) = off {
                    off.store(true, Ordering::Relaxed);
                }
                // Never wait for a reader: a later panic is of less interest than the first.
                if let Ok(mut caught) = self.0.caught.try_lock() {
                    caught.get_or_insert(Caught { stage, place: hook::last_place(), payload, logged: false });
                }
                None
            }
        }
    }

    /// The sentence after a panic; `None` as long as there was none, or activation put an end to it.
    ///
    /// *Realtime-safe: no.*
    pub fn status(&self, plug_in: &str, effect: &str) -> Option<Status> {
        let mut caught = self.0.caught.lock().unwrap_or_else(PoisonError::into_inner);
        let caught = caught.as_mut()?;
        let (stage, message, place) = (caught.stage, message(caught.payload.as_ref()), caught.place);
        if !std::mem::replace(&mut caught.logged, true) {
            tracing::error!(plug_in, stage = stage.word(), "panicked: {message}{place}");
        }
        let effect = if stage.domain() == Domain::Audio { effect } else { "the sound goes on" };
        let stage = stage.word();
        let cause =
            format!("{plug_in} stopped after an internal error in {stage} ({message}{place}); {effect}.");
        let remedy = "Switch the plug-in off and on to try again, and please report this sentence.";
        Some(Status::new(Severity::Fault, cause, remedy))
    }

    /// A window that is opened again is a new attempt. *Realtime-safe: no.*
    pub fn reopen_editor(&self) {
        let mut caught = self.0.caught.lock().unwrap_or_else(PoisonError::into_inner);
        if caught.as_ref().is_some_and(|caught| caught.stage.domain() == Domain::Editor) {
            *caught = None;
        }
        self.0.editor_off.store(false, Ordering::Relaxed);
    }

    /// A new attempt: what was caught before, but for the window, is over.
    fn forget(&self) {
        let mut caught = self.0.caught.lock().unwrap_or_else(PoisonError::into_inner);
        if caught.as_ref().is_some_and(|caught| caught.stage.domain() != Domain::Editor) {
            *caught = None;
        }
    }

    /// Whether the audio callbacks run. *Realtime-safe: yes.*
    pub fn is_audio_on(&self) -> bool {
        !self.0.audio_off.load(Ordering::Relaxed)
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_the_callbacks_lasts_until_activation() {
        let guard = Guard::from_environment();
        assert_eq!(guard.run(Stage::Process, || 1), Some(1));
        assert_eq!(guard.run(Stage::Process, || -> i32 { panic!("on {}", "purpose") }), None);
        assert_eq!(guard.run(Stage::Process, || 1), None);
        assert_eq!(guard.run(Stage::Reset, || 1), None);
        assert_eq!(guard.run(Stage::Editor, || 1), Some(1), "the window goes on");
        let said = guard.status("audiocloud Send", "it passes audio through").unwrap().sentence();
        assert!(said.contains("process (on purpose, "), "{said}");
        assert!(said.contains("guard.rs:") && said.contains("); it passes audio through."), "{said}");
        assert_eq!(guard.run(Stage::Activate, || 1), Some(1));
        assert_eq!(guard.run(Stage::Process, || 1), Some(1));
        assert_eq!(guard.status("", ""), None);
    }

    #[test]
    fn a_panic_in_the_window_leaves_the_sound_alone() {
        let guard = Guard::default();
        assert_eq!(guard.run(Stage::Editor, || -> i32 { panic!("on purpose") }), None);
        assert_eq!(guard.run(Stage::Editor, || 1), None);
        assert_eq!(guard.run(Stage::Process, || 1), Some(1));
        assert!(guard.status("audiocloud Send", "").unwrap().cause.contains("the sound goes on"));
    }

    #[test]
    fn an_injection_strikes_once_at_its_call() {
        let injected = |text: &str| {
            Guard(Arc::new(Inner { injection: Some(Injection::parse(text)), ..Inner::default() }))
        };
        let guard = injected("process@3");
        let calls: Vec<_> = (0..4).map(|_| guard.run(Stage::Process, || ()).is_some()).collect();
        assert_eq!(calls, [true, true, false, false]);
        let guard = injected("editor");
        assert_eq!(guard.run(Stage::Process, || ()), Some(()));
        assert_eq!(guard.run(Stage::Editor, || ()), None);
    }
}
