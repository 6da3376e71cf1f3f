//! What Receive says of itself, from what is the case.

use audiocloud_engine::stream::receiver::{Alignment, Cause};
use audiocloud_engine::units::Nanos;
use audiocloud_instance::status::{Severity, Status};

use crate::bars::Bars;

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

/// What the sentence depends on, whatever is played.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// What the guard says.
    pub(crate) panicked: Option<Status>,
    /// The project's state is of this later schema.
    pub(crate) unreadable_schema: Option<u64>,
    /// Between the host's activate and deactivate.
    pub(crate) active: bool,
    pub(crate) offline: bool,
    /// Why there is no subscription, as the runtime says it.
    pub(crate) error: Option<String>,
    /// What the graph had to do without.
    pub(crate) engine: Option<Status>,
    /// How things stand with the project's session.
    pub(crate) session: Option<Status>,
}

/// What the sentence about one stream depends on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) publisher: String,
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
    /// How far the sender's host runs ahead in bursts, and how long frames wait, ms.
    pub(crate) burst_ms: f64,
    pub(crate) delay_ms: f64,
    /// How the session's time is kept, where it is to be, how long after it was recorded a frame leaves, and how long it has
    /// to be at least.
    pub(crate) alignment: Alignment,
    pub(crate) link_offset: Nanos,
    pub(crate) needs: Option<Nanos>,
    /// How it stands with the bars, where the stream is to be late by some.
    pub(crate) bars: Option<Bars>,
}

/// What is played.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Played {
    #[default]
    Nothing,
    Stream,
    /// All of a person's, by name.
    Person(String),
    Session,
}

/// What every stream is silent for.
pub(crate) fn at_rest(host: &Host, played: &Played) -> Option<Status> {
    use Severity::Idle;
    if let Some(status) = Status::at_rest(host.panicked.as_ref(), host.unreadable_schema, host.active) {
        return Some(status);
    }
    if host.offline {
        return Some(Status::new(
            Idle,
            "Offline render: the stream cannot keep pace with it and is silent.",
            "Record the stream in real time, then render the recording.",
        ));
    }
    if let Some(error) = &host.error {
        return Some(Status::from_error(error, "No stream can be played"));
    }
    (*played == Played::Nothing)
        .then(|| Status::new(Idle, "No stream is picked.", "Pick a stream from the list."))
}

/// The sentence about one stream.
pub(crate) fn stream(facts: &Facts) -> Status {
    match &facts.link {
        Link::Live => live(facts),
        link => unconnected(link, &facts.name, &facts.publisher),
    }
}

/// The sentence about all that is played: that of its only stream, or the worst there is to say, or how many play.
/// `left_out` streams are more than can be played; `missing` are those who would be played and are not there.
pub(crate) fn all(
    host: &Host,
    played: &Played,
    streams: &[Status],
    left_out: usize,
    missing: &[&str],
) -> Status {
    if let Some(status) = at_rest(host, played) {
        return status;
    }
    let worst = streams.iter().max_by_key(|status| status.severity);
    // Who is no member hears nothing of the session: no other remedy helps.
    if let Some(session) = host.session.as_ref().filter(|session| session.severity > Severity::Good)
        && worst.is_none_or(|status| status.severity > Severity::Good)
    {
        return session.clone();
    }
    match (worst, played) {
        (None, Played::Person(name)) => Status::new(
            Severity::Warning,
            format!("{name} has no stream in reach."),
            "Streams are played as they come; start their host, or pick something else.",
        ),
        (None, _) => Status::new(
            Severity::Warning,
            "Nobody else has a stream in reach.",
            "Streams are played as they come. Put audiocloud Send on a track of another computer.",
        ),
        (Some(status), _) if status.severity > Severity::Good => troubled(streams, status),
        _ if left_out > 0 => Status::new(
            Severity::Warning,
            format!("{} streams are played; {left_out} more are in reach than can be.", streams.len()),
            "Play fewer people here, and the others in another Receive.",
        ),
        (Some(status), _) => match (&host.engine, streams.len(), played) {
            (Some(engine), ..) => engine.clone(),
            (None, 1, _) if missing.is_empty() => status.clone(),
            (None, count, Played::Person(name)) => {
                let said = format!("Playing {} of {name}{}.", counted(count), without(missing));
                Status::new(Severity::Good, said, "")
            }
            (None, count, _) => {
                let said = format!("Playing all {} in reach{}.", counted(count), without(missing));
                Status::new(Severity::Good, said, "")
            }
        },
    }
}

fn counted(streams: usize) -> String {
    if streams == 1 { "1 stream".to_owned() } else { format!("{streams} streams") }
}

/// Who is missing: two by name.
fn without(missing: &[&str]) -> String {
    match missing {
        [] => String::new(),
        [one] => format!("; {one} is missing"),
        [one, other] => format!("; {one} and {other} are missing"),
        [one, rest @ ..] => format!("; {one} and {} more are missing", rest.len()),
    }
}

/// One stream's trouble, and how many more have theirs.
fn troubled(streams: &[Status], worst: &Status) -> Status {
    let others = streams.iter().filter(|status| status.severity > Severity::Good).count() - 1;
    if others == 0 {
        return worst.clone();
    }
    let plural = if others == 1 { " has" } else { "s have" };
    let cause = format!("{} {others} more stream{plural} trouble.", worst.cause);
    Status::new(worst.severity, cause, worst.remedy.clone())
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

fn live(facts: &Facts) -> Status {
    use Severity::Warning;
    let Facts { name, publisher, .. } = facts;
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
            "It is fetched anew at that rate in a moment; if not, set both projects to one sample rate.",
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
        Sound::Playing => untimely(facts).unwrap_or_else(|| playing(facts)),
    }
}

fn playing(facts: &Facts) -> Status {
    let Facts { name, publisher, .. } = facts;
    match (facts.gaps, facts.alignment) {
        (1.., _) => gaps(facts, name),
        (0, Alignment::Kept { .. }) => {
            let by = match facts.bars {
                Some(Bars::Kept { bars: 1, .. }) => "a bar late".to_owned(),
                Some(Bars::Kept { bars, .. }) => format!("{bars} bars late"),
                _ => format!("{:.1} ms after it was recorded", facts.link_offset.as_millis_f64()),
            };
            Status::new(Severity::Good, format!("Playing “{name}” from {publisher}, {by}."), "")
        }
        (0, _) => Status::new(Severity::Good, format!("Playing “{name}” from {publisher}."), ""),
    }
}

/// It is to be played by the session's time, and is not, or not as it was wished.
fn untimely(facts: &Facts) -> Option<Status> {
    let Facts { name, publisher, .. } = facts;
    let (cause, remedy) = match (facts.alignment, facts.bars) {
        (Alignment::Off, _) => return None,
        (Alignment::NoTime, _) => (
            format!("“{name}” is not aligned: this computer does not know the session's time yet."),
            "It comes within seconds of the others' being in reach; audiocloud clock says how it stands.",
        ),
        (Alignment::NoStamps, _) => (
            format!("“{name}” is not aligned: {publisher} does not know the session's time yet."),
            "It comes within seconds; if not, update audiocloud there.",
        ),
        (_, Some(Bars::TooLong { bars })) => (
            format!("“{name}” is aligned, but not late by bars: {bars} of them last longer than 33 s."),
            "Choose fewer bars, or a quicker tempo.",
        ),
        (Alignment::TooLong, _) => (
            format!("“{name}” is not aligned: it would have to be kept for longer than this Receive can."),
            "Choose fewer bars; if none are, the clocks of the session are being set: wait a moment.",
        ),
        (Alignment::Kept { .. }, Some(Bars::NoBeat)) => (
            format!("“{name}” is aligned, but not late by bars: the session has no beat."),
            "Put audiocloud Clock on a track of the project that leads, or choose Aligned.",
        ),
        (Alignment::Kept { .. }, _) => {
            let needs = facts.needs.filter(|needs| *needs > facts.link_offset)?;
            let millis = |span: Nanos| format!("{:.1} ms", span.as_millis_f64());
            (
                format!(
                    "“{name}” comes too late to be played {} after it was recorded: it needs {}.",
                    millis(facts.link_offset),
                    millis(needs)
                ),
                "Set a longer link offset everywhere, or 0: as is agreed.",
            )
        }
    };
    Some(Status::new(Severity::Warning, cause, remedy))
}

/// Frames were missing: whose doing it was, as far as it is known.
fn gaps(facts: &Facts, name: &str) -> Status {
    let (because, remedy): (String, _) = match facts.cause {
        Some(Cause::ReceiverStalled) => (
            "this host did not process for a while".into(),
            "Free this computer's processor, or use a larger block.",
        ),
        Some(Cause::BlocksLonger) => (
            "this host's blocks became longer than the playout waits".into(),
            "Let the playout wait for longer than a block.",
        ),
        Some(Cause::StreamJumped) => (
            "the stream jumped: its host stalled, or the network failed for a while".into(),
            "If it comes back often, look at the other computer's load and at the network.",
        ),
        _ if facts.burst_ms > facts.delay_ms => (
            format!(
                "the sending host processes ahead in bursts of {:.0} ms, the playout waits {:.0} ms",
                facts.burst_ms, facts.delay_ms
            ),
            "Let the playout wait for longer than a burst, or switch off anticipative processing there.",
        ),
        _ => (
            format!("{} frames were missing in the last ten seconds", facts.gaps),
            "Let the playout wait for longer, or use a cable instead of wireless.",
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
    use audiocloud_engine::stream::receiver::LinkOffset;

    const ACTIVE: Host = Host {
        panicked: None,
        unreadable_schema: None,
        active: true,
        offline: false,
        error: None,
        engine: None,
        session: None,
    };

    fn playing() -> Facts {
        Facts {
            name: "Drums".to_owned(),
            publisher: "Studio A".to_owned(),
            link: Link::Live,
            sound: Sound::Playing,
            ours_hz: 48_000,
            delay_ms: 10.0,
            ..Facts::default()
        }
    }

    fn says(said: &Status, severity: Severity, words: &str) {
        assert_eq!(said.severity, severity, "{said:?}");
        assert!(said.sentence().contains(words), "{said:?}");
        assert!(severity < Severity::Warning || !said.remedy.is_empty(), "{said:?}");
    }

    #[test]
    fn each_case_of_the_host_has_its_sentence() {
        fn check(change: impl Fn(&mut Host, &mut Played), severity: Severity, words: &str) {
            let (mut host, mut played) = (ACTIVE, Played::Stream);
            change(&mut host, &mut played);
            says(&all(&host, &played, &[stream(&playing())], 0, &[]), severity, words);
        }
        check(|_, _| (), Severity::Good, "Playing “Drums” from Studio A.");
        check(|host, _| host.active = false, Severity::Idle, "not switched");
        check(|host, _| host.offline = true, Severity::Idle, "Offline render");
        check(|_, played| *played = Played::Nothing, Severity::Idle, "Pick a stream");
        let error = "no port; choose one";
        check(|host, _| host.error = Some(error.into()), Severity::Fault, "no port. Choose one.");
        check(|host, _| host.unreadable_schema = Some(9), Severity::Fault, "schema 9");
        let silenced = Status::new(Severity::Warning, "The sound holds no numbers.", "Look for them.");
        check(|host, _| host.engine = Some(silenced.clone()), Severity::Warning, "no numbers");
    }

    #[test]
    fn each_case_of_a_stream_has_its_sentence() {
        fn check(change: impl Fn(&mut Facts), severity: Severity, words: &str) {
            let mut facts = playing();
            change(&mut facts);
            says(&stream(&facts), severity, words);
        }
        check(|facts| facts.link = Link::Searching, Severity::Warning, "Studio A has not been found");
        check(|facts| facts.link = Link::Connecting, Severity::Warning, "Connecting to Studio A");
        check(|facts| facts.link = Link::NotPublished, Severity::Warning, "does not publish “Drums”");
        let refused = Link::Refused { reason: "wrong key".into() };
        check(|facts| facts.link = refused.clone(), Severity::Fault, "wrong key");
        let lost = Link::Lost { cause: "timed out", seconds: 3 };
        check(
            |facts| facts.link = lost.clone(),
            Severity::Warning,
            "the connection to Studio A was lost 3 s ago (timed out)",
        );
        check(|facts| facts.sound = Sound::Waiting, Severity::Warning, "sends no sound yet");
        check(|facts| facts.sound = Sound::Starved, Severity::Warning, "from Studio A just now.");
        let starved = |facts: &mut Facts| (facts.sound, facts.silent_s) = (Sound::Starved, 7);
        check(starved, Severity::Warning, "from Studio A 7 s ago.");
        let rate = |facts: &mut Facts| facts.sound = Sound::RateMismatch { theirs_hz: 96_000 };
        check(rate, Severity::Fault, "at 96 kHz and this project at 48 kHz");
        check(|facts| facts.gaps = 128, Severity::Warning, "128 frames were missing");
        let because =
            |cause| move |facts: &mut Facts| (facts.gaps, facts.cause, facts.burst_ms) = (128, cause, 200.0);
        check(because(Some(Cause::ReceiverStalled)), Severity::Warning, "this host did not process");
        check(because(Some(Cause::BlocksLonger)), Severity::Warning, "longer than the playout waits");
        check(because(Some(Cause::StreamJumped)), Severity::Warning, "the stream jumped");
        let ahead = "in bursts of 200 ms, the playout waits 10 ms";
        check(because(Some(Cause::SenderAhead)), Severity::Warning, ahead);
        check(because(None), Severity::Warning, ahead);
        check(|facts| facts.looped = true, Severity::Warning, "Feedback loop");
    }

    #[test]
    fn what_is_not_played_at_its_time_says_why() {
        fn check(change: impl Fn(&mut Facts), severity: Severity, words: &str) {
            let kept = Alignment::Kept { error: Nanos::ZERO };
            let (link_offset, needs) = (Nanos::from_millis(13), Some(Nanos::from_micros(11_400)));
            let mut facts = Facts { alignment: kept, link_offset, needs, ..playing() };
            change(&mut facts);
            says(&stream(&facts), severity, words);
        }
        check(|_| (), Severity::Good, "from Studio A, 13.0 ms after it was recorded.");
        check(|facts| facts.gaps = 128, Severity::Warning, "128 frames were missing");
        check(|facts| facts.alignment = Alignment::NoTime, Severity::Warning, "this computer does not know");
        check(|facts| facts.alignment = Alignment::NoStamps, Severity::Warning, "Studio A does not know");
        check(|facts| facts.alignment = Alignment::TooLong, Severity::Warning, "kept for longer");
        let late = |facts: &mut Facts| facts.needs = Some(Nanos::from_micros(14_600));
        check(late, Severity::Warning, "13.0 ms after it was recorded: it needs 14.6 ms");
        check(|facts| facts.bars = Some(Bars::NoBeat), Severity::Warning, "the session has no beat");
        check(|facts| facts.bars = Some(Bars::TooLong { bars: 16 }), Severity::Warning, "16 of them");
        let link_offset = LinkOffset::set(Nanos::from_secs(2));
        let kept = |bars| move |facts: &mut Facts| facts.bars = Some(Bars::Kept { bars, link_offset });
        check(kept(1), Severity::Good, "from Studio A, a bar late.");
        check(kept(4), Severity::Good, "from Studio A, 4 bars late.");
    }

    #[test]
    fn who_is_missing_is_named_and_does_not_spoil_what_plays() {
        let good = stream(&playing());
        let check = |played: &Played, streams: usize, missing: &[&str], words: &str| {
            let streams = vec![good.clone(); streams];
            says(&all(&ACTIVE, played, &streams, 0, missing), Severity::Good, words);
        };
        check(&Played::Session, 2, &["Ben"], "Playing all 2 streams in reach; Ben is missing.");
        check(&Played::Session, 1, &["Ben", "Carla"], "all 1 stream in reach; Ben and Carla are missing.");
        let anna = Played::Person("Anna".into());
        check(&anna, 1, &["A", "B", "C"], "Playing 1 stream of Anna; A and 2 more are missing.");
    }

    #[test]
    fn who_is_no_member_reads_that_before_what_follows_from_it() {
        let left = Status::new(Severity::Warning, "You are no member.", "Ask Anna for a new link.");
        let host = Host { session: Some(left), ..ACTIVE };
        let searched = stream(&Facts { link: Link::Searching, ..playing() });
        says(&all(&host, &Played::Session, &[], 0, &[]), Severity::Warning, "Ask Anna");
        says(&all(&host, &Played::Stream, &[searched], 0, &[]), Severity::Warning, "Ask Anna");
        let good = [stream(&playing())];
        says(&all(&host, &Played::Stream, &good, 0, &[]), Severity::Good, "Playing “Drums”");
        says(&all(&host, &Played::Nothing, &[], 0, &[]), Severity::Idle, "Pick a stream");
    }

    #[test]
    fn many_streams_have_one_sentence() {
        let good = stream(&playing());
        let silent = stream(&Facts { sound: Sound::Starved, ..playing() });
        let refused = stream(&Facts { link: Link::Refused { reason: "wrong key".into() }, ..playing() });
        let check = |played: &Played, streams: &[&Status], left_out, severity, words: &str| {
            let streams: Vec<Status> = streams.iter().copied().cloned().collect();
            says(&all(&ACTIVE, played, &streams, left_out, &[]), severity, words);
        };
        let anna = Played::Person("Anna".into());
        check(&anna, &[], 0, Severity::Warning, "Anna has no stream in reach.");
        check(&Played::Session, &[], 0, Severity::Warning, "Nobody else");
        check(&anna, &[&good], 0, Severity::Good, "Playing “Drums” from Studio A.");
        check(&anna, &[&good, &good], 0, Severity::Good, "Playing 2 streams of Anna.");
        check(&Played::Session, &[&good, &good, &good], 0, Severity::Good, "Playing all 3 streams in reach.");
        check(&Played::Session, &[&good, &good], 7, Severity::Warning, "7 more are in reach");
        check(&Played::Session, &[&good, &silent], 0, Severity::Warning, "Studio A just now. Its host");
        check(
            &Played::Session,
            &[&silent, &refused, &silent],
            0,
            Severity::Fault,
            "wrong key. 2 more streams have",
        );
        check(
            &Played::Session,
            &[&silent, &refused],
            0,
            Severity::Fault,
            "wrong key. 1 more stream has trouble.",
        );
    }
}
