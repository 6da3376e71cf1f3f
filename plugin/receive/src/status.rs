//! What Receive says of itself, from what is the case.

use audiocloud_engine::stream::receiver::Cause;
use audiocloud_instance::status::{Severity, Status};

/// How things stand with the publisher.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Link {
    #[default]
    Searching,
    Connecting,
    Refused {
        reason: String,
    },
    NotPublished,
    Live,
    /// In a form that this version does not know.
    Unplayable {
        reason: String,
    },
    Lost {
        cause: &'static str,
        seconds: i64,
    },
}

/// What comes out of the playout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sound {
    /// Nothing yet.
    #[default]
    Waiting,
    Playing,
    Starved,
    RateMismatch {
        theirs_hz: u32,
    },
}

/// What the sentence depends on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// What the guard says.
    pub(crate) panicked: Option<Status>,
    /// The project's state is of this later schema.
    pub(crate) unreadable_schema: Option<u64>,
    /// Between the host's activate and deactivate.
    pub(crate) active: bool,
    pub(crate) offline: bool,
    /// Why there is no subscription, as the runtime says it.
    pub(crate) error: Option<String>,
    /// The stream's name and its publisher's; `None` when none is picked.
    pub(crate) stream: Option<(String, String)>,
    pub(crate) link: Link,
    pub(crate) sound: Sound,
    pub(crate) looped: bool,
    pub(crate) ours_hz: u32,
    /// Frames were missing within the last ten seconds: how many.
    pub(crate) gaps: u64,
    /// How long nothing has come, s.
    pub(crate) silent_s: i64,
    /// Why the playout had to move within the last ten seconds.
    pub(crate) cause: Option<Cause>,
    /// What the graph had to do without.
    pub(crate) engine: Option<Status>,
    /// How far the sender's host runs ahead in bursts, and the playout delay, ms.
    pub(crate) burst_ms: f64,
    pub(crate) delay_ms: f64,
}

pub(crate) fn status(facts: &Facts) -> Status {
    use Severity::Idle;
    if let Some(status) = Status::at_rest(facts.panicked.as_ref(), facts.unreadable_schema, facts.active) {
        return status;
    }
    if facts.offline {
        return Status::new(
            Idle,
            "Offline render: the stream cannot keep pace with it and is silent.",
            "Record the stream in real time, then render the recording.",
        );
    }
    if let Some(error) = &facts.error {
        return Status::from_error(error, "No stream can be played");
    }
    let Some((name, publisher)) = &facts.stream else {
        return Status::new(Idle, "No stream is picked.", "Pick a stream from the list.");
    };
    match &facts.link {
        Link::Live => live(facts, name, publisher),
        link => unconnected(link, name, publisher),
    }
}

fn unconnected(link: &Link, name: &str, publisher: &str) -> Status {
    use Severity::{Fault, Warning};
    match link {
        Link::Searching => Status::new(
            Warning,
            format!("“{name}” is looked for: {publisher} has not been found."),
            "Start it there; both computers must be on one network, or its address in config.toml.",
        ),
        Link::Connecting => {
            Status::new(Warning, format!("Connecting to {publisher} for “{name}”."), "Wait a moment.")
        }
        Link::Refused { reason } => Status::new(
            Fault,
            format!("{publisher} was refused or refuses: {reason}."),
            "Check that both sides have the keys of each other, and the same version of audiocloud.",
        ),
        Link::Unplayable { reason } => Status::new(
            Fault,
            format!("“{name}” cannot be played: {reason}."),
            "Update audiocloud on this computer.",
        ),
        Link::NotPublished | Link::Live => Status::new(
            Warning,
            format!("{publisher} is here, but does not publish “{name}” now."),
            "Open its project there, or pick another stream.",
        ),
        Link::Lost { cause, seconds } => Status::new(
            Warning,
            format!(
                "“{name}” is silent: the connection to {publisher} was lost {} ({cause}).",
                ago(*seconds)
            ),
            "It comes back by itself when the other side does; check that its host is running.",
        ),
    }
}

fn ago(seconds: i64) -> String {
    if seconds < 1 { "just now".to_owned() } else { format!("{seconds} s ago") }
}

fn live(facts: &Facts, name: &str, publisher: &str) -> Status {
    use Severity::{Good, Warning};
    if facts.looped {
        return Status::new(
            Warning,
            "Feedback loop: this track's sound reaches the Send that it receives from; it is faded out.",
            "Route this track elsewhere than into that Send's track, then switch this Receive off and on.",
        );
    }
    match facts.sound {
        Sound::RateMismatch { theirs_hz } => Status::new(
            Severity::Fault,
            format!(
                "“{name}” runs at {} and this project at {}: it is silent.",
                kilohertz(theirs_hz),
                kilohertz(facts.ours_hz)
            ),
            "Set both projects to one sample rate.",
        ),
        Sound::Waiting => Status::new(
            Warning,
            format!("Connected to {publisher}; “{name}” sends no sound yet."),
            "Start the audio engine there, and see that Transmit is on.",
        ),
        Sound::Starved => Status::new(
            Warning,
            format!("“{name}” has stopped: the last sound came from {publisher} {}.", ago(facts.silent_s)),
            "Its host stopped processing, Transmit is off there, or it crashed; it comes back by itself.",
        ),
        Sound::Playing if facts.gaps > 0 => gaps(facts, name),
        Sound::Playing => match &facts.engine {
            Some(status) => status.clone(),
            None => Status::new(Good, format!("Playing “{name}” from {publisher}."), ""),
        },
    }
}

/// Frames were missing: whose doing it was, as far as it is known.
fn gaps(facts: &Facts, name: &str) -> Status {
    let (because, remedy): (String, _) = match facts.cause {
        Some(Cause::SenderAhead | Cause::BlocksOftenLate) if facts.burst_ms > facts.delay_ms => (
            format!(
                "the sending host processes ahead in bursts of {:.0} ms, the playout delay is {:.0} ms",
                facts.burst_ms, facts.delay_ms
            ),
            "Lengthen the playout delay above the burst, or switch off anticipative processing there.",
        ),
        Some(Cause::ReceiverStalled) => (
            "this host did not process for a while".into(),
            "Free this computer's processor, or use a larger block.",
        ),
        Some(Cause::BlocksLonger) => (
            "this host's blocks became longer than the playout delay".into(),
            "Lengthen the playout delay above one block.",
        ),
        Some(Cause::StreamJumped) => (
            "the stream jumped: its host stalled, or the network failed for a while".into(),
            "If it comes back often, look at the other computer's load and at the network.",
        ),
        _ => (
            format!("{} frames were missing in the last ten seconds", facts.gaps),
            "Lengthen the playout delay, or use a cable instead of wireless.",
        ),
    };
    Status::new(Severity::Warning, format!("“{name}” has gaps: {because}."), remedy)
}

/// A sample rate in words.
pub(crate) fn kilohertz(hz: u32) -> String {
    format!("{} kHz", f64::from(hz) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn playing() -> Facts {
        Facts {
            active: true,
            stream: Some(("Drums".to_owned(), "Studio A".to_owned())),
            link: Link::Live,
            sound: Sound::Playing,
            ours_hz: 48_000,
            delay_ms: 10.0,
            ..Facts::default()
        }
    }

    #[test]
    fn each_case_has_its_sentence() {
        fn check(change: impl Fn(&mut Facts), severity: Severity, words: &str) {
            let mut facts = playing();
            change(&mut facts);
            let said = status(&facts);
            assert_eq!(said.severity, severity, "{said:?}");
            assert!(said.sentence().contains(words), "{said:?}");
            assert!(severity < Severity::Warning || !said.remedy.is_empty(), "{said:?}");
        }
        check(|_| (), Severity::Good, "Playing “Drums” from Studio A.");
        check(|facts| facts.active = false, Severity::Idle, "not switched");
        check(|facts| facts.offline = true, Severity::Idle, "Offline render");
        check(|facts| facts.stream = None, Severity::Idle, "Pick a stream");
        check(
            |facts| facts.error = Some("no port; choose one".into()),
            Severity::Fault,
            "no port. Choose one.",
        );
        check(|facts| facts.unreadable_schema = Some(9), Severity::Fault, "schema 9");
        check(|facts| facts.link = Link::Searching, Severity::Warning, "Studio A has not been found");
        check(|facts| facts.link = Link::Connecting, Severity::Warning, "Connecting to Studio A");
        check(|facts| facts.link = Link::NotPublished, Severity::Warning, "does not publish “Drums”");
        check(
            |facts| facts.link = Link::Refused { reason: "wrong key".into() },
            Severity::Fault,
            "wrong key",
        );
        let lost = Link::Lost { cause: "timed out", seconds: 3 };
        check(
            |facts| facts.link = lost.clone(),
            Severity::Warning,
            "the connection to Studio A was lost 3 s ago (timed out)",
        );
        check(|facts| facts.sound = Sound::Waiting, Severity::Warning, "sends no sound yet");
        check(|facts| facts.sound = Sound::Starved, Severity::Warning, "from Studio A just now.");
        let starved = |facts: &mut Facts| (facts.sound, facts.silent_s) = (Sound::Starved, 7);
        check(starved, Severity::Warning, "has stopped: the last sound came from Studio A 7 s ago.");
        let mismatch = Sound::RateMismatch { theirs_hz: 44_100 };
        check(|facts| facts.sound = mismatch, Severity::Fault, "at 44.1 kHz and this project at 48 kHz");
        check(|facts| facts.gaps = 128, Severity::Warning, "128 frames were missing");
        let because =
            |cause| move |facts: &mut Facts| (facts.gaps, facts.cause, facts.burst_ms) = (128, cause, 200.0);
        check(because(Some(Cause::ReceiverStalled)), Severity::Warning, "this host did not process");
        check(because(Some(Cause::BlocksLonger)), Severity::Warning, "longer than the playout delay");
        check(because(Some(Cause::StreamJumped)), Severity::Warning, "the stream jumped");
        check(because(None), Severity::Warning, "128 frames");
        check(
            because(Some(Cause::SenderAhead)),
            Severity::Warning,
            "in bursts of 200 ms, the playout delay is 10 ms",
        );
        let silenced = Status::new(Severity::Warning, "The sound holds no numbers.", "Look for them.");
        check(|facts| facts.engine = Some(silenced.clone()), Severity::Warning, "no numbers");
        check(|facts| facts.looped = true, Severity::Warning, "Feedback loop");
    }
}
