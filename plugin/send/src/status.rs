//! What Send says of itself, from what is the case.

use audiocloud_instance::status::{Severity, Status};

use crate::listeners::Trouble;

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
    /// Why there is no publication, as the runtime says it.
    pub(crate) error: Option<String>,
    pub(crate) looped: bool,
    /// This stream had to take a new id.
    pub(crate) fresh_identity: bool,
    pub(crate) transmit: bool,
    /// Callbacks have been coming within the last half second.
    pub(crate) processing: bool,
    /// How far the host runs ahead of real time, and its usual block, ms.
    pub(crate) ahead_ms: f64,
    pub(crate) block_ms: f64,
    /// Blocks lately lost because the network's side did not keep up.
    pub(crate) overrun: bool,
    /// What the graph had to do without.
    pub(crate) engine: Option<Status>,
    /// Why members of the project's session do not hear it.
    pub(crate) session: Option<Status>,
    pub(crate) is_talk_back: bool,
    pub(crate) subscribers: usize,
    /// What keeps one of them from hearing everything.
    pub(crate) trouble: Option<Trouble>,
}

/// Ahead by more than this is worth a word, ms: it has to be in every Receive's playout delay.
const AHEAD_MS: f64 = 30.0;

pub(crate) fn status(facts: &Facts) -> Status {
    use Severity::{Good, Idle, Warning};
    if let Some(status) = Status::at_rest(facts.panicked.as_ref(), facts.unreadable_schema, facts.active) {
        return status;
    }
    if facts.offline {
        return Status::new(
            Idle,
            "Offline render: audio passes through and is not published.",
            "Publishing goes on when the render ends.",
        );
    }
    if let Some(error) = &facts.error {
        return Status::from_error(error, "Audio passes through, nothing is published");
    }
    if facts.looped {
        return Status::new(
            Warning,
            "Feedback loop: this stream comes back to this track through a Receive in the same project; that Receive is faded out.",
            "Route the Receive's track elsewhere than into this one, then switch the Receive off and on.",
        );
    }
    if facts.fresh_identity {
        return Status::new(
            Warning,
            "Another Send already uses this stream's identity (a duplicated track?): this one is now a new stream.",
            "Pick the new stream in each Receive that should play it, and save the project.",
        );
    }
    if !facts.transmit {
        return Status::new(
            Idle,
            "Transmit is off: audio passes through, receivers hear silence.",
            "Switch Transmit on to be heard.",
        );
    }
    if !facts.processing {
        return Status::new(
            Idle,
            "The host is not processing this track, so nothing is sent.",
            "Start the host's audio engine, or wake the track from freeze or sleep.",
        );
    }
    if facts.overrun {
        return Status::new(
            Warning,
            "Blocks were lost on this computer: the network side did not keep up.",
            "Free the processor: close other programs or use a larger block.",
        );
    }
    if let Some(status) = &facts.engine {
        return status.clone();
    }
    if let Some(status) = &facts.session {
        return status.clone();
    }
    if facts.ahead_ms > AHEAD_MS.max(2.0 * facts.block_ms) {
        return Status::new(
            Warning,
            format!("The host processes ahead in bursts of {:.0} ms.", facts.ahead_ms),
            "Set each Receive's playout delay above that, or switch off anticipative processing for this track.",
        );
    }
    if let Some(trouble) = &facts.trouble {
        return troubled(trouble);
    }
    let on_air = if facts.is_talk_back { "On air for talking" } else { "On air" };
    match facts.subscribers {
        0 => Status::new(Good, format!("{on_air}; nobody listens yet."), "Pick this stream in a Receive."),
        1 => Status::new(Good, format!("{on_air} to one receiver."), ""),
        many => Status::new(Good, format!("{on_air} to {many} receivers."), ""),
    }
}

fn troubled(trouble: &Trouble) -> Status {
    match trouble {
        Trouble::Lossy { name, lost } => Status::new(
            Severity::Warning,
            format!("\"{name}\" has lost {lost} packets of this stream lately, and conceals them."),
            "Raise the ceiling of that Receive, or use a cable in place of wireless at both ends.",
        ),
        Trouble::Degraded { name, given_up } => Status::new(
            Severity::Warning,
            format!("\"{name}\" gets less than it asked for: {given_up}."),
            "End other transfers on that connection, or choose a lower quality; it comes back by itself when there is room.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_air() -> Facts {
        Facts {
            active: true,
            transmit: true,
            processing: true,
            block_ms: 2.7,
            ahead_ms: 2.7,
            ..Facts::default()
        }
    }

    #[test]
    fn each_case_has_its_sentence() {
        fn check(change: impl Fn(&mut Facts), severity: Severity, words: &str) {
            let mut facts = on_air();
            change(&mut facts);
            let said = status(&facts);
            assert_eq!(said.severity, severity, "{said:?}");
            assert!(said.sentence().contains(words), "{said:?}");
            assert!(
                severity == Severity::Good || severity == Severity::Idle || !said.remedy.is_empty(),
                "{said:?}"
            );
        }
        check(|_| (), Severity::Good, "nobody listens yet");
        check(|facts| facts.subscribers = 1, Severity::Good, "to one receiver");
        check(|facts| facts.subscribers = 3, Severity::Good, "to 3 receivers");
        let lossy = Trouble::Lossy { name: "Anna".into(), lost: 30 };
        check(|facts| facts.trouble = Some(lossy.clone()), Severity::Warning, "\"Anna\" has lost 30 packets");
        let degraded = Trouble::Degraded { name: "Anna".into(), given_up: "16 bit is sent".into() };
        check(
            |facts| facts.trouble = Some(degraded.clone()),
            Severity::Warning,
            "asked for: 16 bit is sent. End",
        );
        check(|facts| facts.active = false, Severity::Idle, "not switched");
        check(|facts| facts.offline = true, Severity::Idle, "Offline render");
        check(|facts| facts.transmit = false, Severity::Idle, "Transmit is off");
        check(|facts| facts.processing = false, Severity::Idle, "not processing");
        check(|facts| facts.fresh_identity = true, Severity::Warning, "Another Send already uses");
        check(|facts| facts.ahead_ms = 200.0, Severity::Warning, "in bursts of 200 ms");
        check(|facts| facts.overrun = true, Severity::Warning, "Blocks were lost on this computer");
        let silenced = Status::new(Severity::Warning, "The sound holds no numbers.", "Look for them.");
        check(|facts| facts.engine = Some(silenced.clone()), Severity::Warning, "no numbers");
        let left = Status::new(Severity::Warning, "You are no member.", "Ask Anna.");
        check(|facts| facts.session = Some(left.clone()), Severity::Warning, "no member. Ask Anna");
        check(|facts| facts.is_talk_back = true, Severity::Good, "On air for talking; nobody");
        check(|facts| facts.looped = true, Severity::Warning, "Feedback loop");
        check(|facts| facts.unreadable_schema = Some(2), Severity::Fault, "state schema 2");
        let error = "cannot open UDP port 4720: in use; choose another `bind` in config.toml";
        check(|facts| facts.error = Some(error.into()), Severity::Fault, "in use. Choose another `bind`");
        let panicked = Status::new(Severity::Fault, "audiocloud Send stopped", "Again.");
        check(|facts| facts.panicked = Some(panicked.clone()), Severity::Fault, "stopped");
    }

    #[test]
    fn a_large_block_is_no_burst() {
        let facts = Facts { block_ms: 42.7, ahead_ms: 42.7, ..on_air() };
        assert_eq!(status(&facts).severity, Severity::Good);
    }
}
