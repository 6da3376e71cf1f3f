//! What Clock says of itself, from what is the case.

use audiocloud_instance::status::{Severity, Status};
use audiocloud_net::runtime::clock::{self, ClockStatus};

use crate::lead::Standing;
use crate::params::Role;
use crate::pilot;

/// What the sentence depends on.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// What the guard says.
    pub(crate) panicked: Option<Status>,
    /// The project's state is of this later schema.
    pub(crate) unreadable_schema: Option<u64>,
    /// Between the host's activate and deactivate.
    pub(crate) active: bool,
    pub(crate) offline: bool,
    /// Why there is no runtime, or nobody who looks.
    pub(crate) error: Option<String>,
    /// Why the project's session is out of reach.
    pub(crate) session: Option<Status>,
    pub(crate) role: Role,
    pub(crate) clock: ClockStatus,
    pub(crate) pilot: pilot::Facts,
    /// A bridge that does not work: its name, and cause and remedy.
    pub(crate) bridge: Option<(&'static str, String)>,
}

pub(crate) fn status(facts: &Facts) -> Status {
    use Severity::{Idle, Warning};
    if let Some(status) = Status::at_rest(facts.panicked.as_ref(), facts.unreadable_schema, facts.active) {
        return status;
    }
    if facts.offline {
        return Status::new(
            Idle,
            "Offline render: the track passes through, without a metronome.",
            "The beat is shared again when the render ends.",
        );
    }
    if let Some(error) = &facts.error {
        return Status::from_error(error, "The beat is not shared");
    }
    if let Some(status) = &facts.session {
        return status.clone();
    }
    if let Some(trouble) = &facts.clock.trouble {
        return warning(trouble, "The shared time is not to be relied on");
    }
    if !facts.pilot.has_time {
        let words = facts.clock.state.words();
        return Status::new(
            Idle,
            format!("There is no shared time yet: {words}."),
            "This takes a few seconds where somebody else is there.",
        );
    }
    if let Some(refused) = &facts.pilot.refused {
        return warning(refused, "The others do not hear of it");
    }
    if let Some((name, trouble)) = &facts.bridge {
        return warning(trouble, &format!("{name} does not work"));
    }
    if facts.clock.state == clock::Standing::Holdover {
        return Status::new(
            Warning,
            format!("The clock of {} is silent: this one goes on at its rate.", master(&facts.clock)),
            "Look after that studio's connection; the error grows by the minute.",
        );
    }
    match facts.role {
        Role::Lead => leading(facts),
        Role::Follow => following(facts),
    }
}

fn warning(error: &str, effect: &str) -> Status {
    Status { severity: Severity::Warning, ..Status::from_error(error, effect) }
}

fn leading(facts: &Facts) -> Status {
    use Severity::{Good, Idle, Warning};
    if let Some(words) = &facts.clock.may_not_lead {
        return warning(words, "This host does not lead");
    }
    let Some(host) = &facts.pilot.host else {
        return Status::new(
            Idle,
            "The host is not processing this track, so it leads nobody.",
            "Start the host's audio engine, or wake the track from freeze or sleep.",
        );
    };
    if host.beat.is_none() || host.bpm.is_none() {
        return Status::new(
            Warning,
            "This host does not tell plug-ins where its music is, so it cannot lead.",
            "Let another studio lead, and switch this Clock to Follow.",
        );
    }
    match (facts.pilot.standing, facts.pilot.position) {
        (Standing::GivenWay, _) => Status::new(
            Idle,
            "Somebody else touched the beat last and leads now.",
            "Start this host's transport to lead again.",
        ),
        (_, Some(position)) if position.playing => {
            Status::new(Good, format!("Everybody follows this host, at {:.2} bpm.", position.bpm), "")
        }
        _ => Status::new(Good, "Everybody follows this host, which stands still.", ""),
    }
}

fn following(facts: &Facts) -> Status {
    use Severity::{Good, Idle};
    if facts.pilot.waiting.is_some() {
        return Status::new(Good, "What was asked for waits for its bar.", "");
    }
    let Some(position) = facts.pilot.position else {
        return Status::new(
            Idle,
            "Nobody has begun a beat yet.",
            "Press Start here, or switch the Clock of whoever plays to Lead.",
        );
    };
    if !position.playing {
        return Status::new(
            Good,
            "The session stands still.",
            "Press Start here, or in the host that leads.",
        );
    }
    let bound =
        facts.clock.bound.map_or_else(String::new, |bound| format!(", ±{}", span(bound.as_millis_f64())));
    let whose = match facts.clock.state {
        clock::Standing::Alone => "this computer's clock, for nobody else is there".to_owned(),
        _ => format!("the clock of {}{bound}", master(&facts.clock)),
    };
    Status::new(Good, format!("The session plays at {:.2} bpm, on {whose}.", position.bpm), "")
}

fn master(clock: &ClockStatus) -> String {
    match &clock.master {
        Some(master) if master.is_this_machine => "this computer".to_owned(),
        Some(master) if !master.name.is_empty() => format!("\"{}\"", master.name),
        Some(master) => master.device.short().to_string(),
        None => "the master".to_owned(),
    }
}

/// A short time for people.
pub(crate) fn span(ms: f64) -> String {
    if ms.abs() < 1.0 { format!("{:.0} µs", ms * 1e3) } else { format!("{ms:.1} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hand::Command;
    use audiocloud_engine::units::{Beats, Nanos};
    use audiocloud_instance::transport::Transport;
    use audiocloud_net::clock::beat_map::{Meter, Position};
    use audiocloud_net::runtime::clock::MasterStatus;
    use audiocloud_net::wire::id::{DeviceId, InstanceId};

    fn playing() -> Position {
        Position {
            beat: Beats::new(8.0),
            bpm: 120.0,
            bar: 2,
            in_bar: Beats::new(0.0),
            meter: Meter::COMMON,
            playing: true,
        }
    }

    fn facts() -> Facts {
        let host = Transport { beat: Some(8.0), bpm: Some(120.0), ..Transport::default() };
        Facts {
            panicked: None,
            unreadable_schema: None,
            active: true,
            offline: false,
            error: None,
            session: None,
            role: Role::Follow,
            clock: ClockStatus::default(),
            pilot: pilot::Facts {
                has_time: true,
                position: Some(playing()),
                host: Some(host),
                standing: Standing::Leading,
                ..pilot::Facts::default()
            },
            bridge: None,
        }
    }

    #[test]
    fn each_case_has_its_sentence() {
        fn check(change: impl Fn(&mut Facts), severity: Severity, words: &str) {
            let mut facts = facts();
            change(&mut facts);
            let said = status(&facts);
            assert_eq!(said.severity, severity, "{said:?}");
            assert!(said.sentence().contains(words), "{said:?}");
            assert!(
                severity == Severity::Good || severity == Severity::Idle || !said.remedy.is_empty(),
                "{said:?}"
            );
        }
        use Severity::{Fault, Good, Idle, Warning};
        let anna = MasterStatus {
            device: DeviceId([1; 32]),
            instance: InstanceId([0; 16]),
            name: "Anna".into(),
            is_this_machine: false,
        };
        check(|_| (), Good, "plays at 120.00 bpm");
        check(
            |facts| {
                facts.clock.state = clock::Standing::Locked;
                (facts.clock.master, facts.clock.bound) = (Some(anna.clone()), Some(Nanos::from_micros(42)));
            },
            Good,
            "on the clock of \"Anna\", ±42 µs",
        );
        check(|facts| facts.clock.state = clock::Standing::Alone, Good, "nobody else is there");
        check(|facts| facts.clock.state = clock::Standing::Holdover, Warning, "is silent");
        check(|facts| facts.pilot.position = None, Idle, "Nobody has begun a beat");
        check(|facts| facts.pilot.waiting = Some(Command::Stop), Good, "waits for its bar");
        let stopped = Position { playing: false, ..playing() };
        check(|facts| facts.pilot.position = Some(stopped), Good, "stands still");
        check(|facts| facts.pilot.has_time = false, Idle, "no shared time yet");
        check(|facts| facts.active = false, Idle, "not switched");
        check(|facts| facts.offline = true, Idle, "Offline render");
        check(|facts| facts.error = Some("no port; choose one".into()), Fault, "not shared: no port. Choose");
        check(|facts| facts.unreadable_schema = Some(9), Fault, "state schema 9");
        let refusal = "your ticket does not let you lead; ask for another";
        check(|facts| facts.pilot.refused = Some(refusal.into()), Warning, "does not let you lead. Ask");
        check(
            |facts| facts.bridge = Some(("MIDI", "no port; make one".into())),
            Warning,
            "MIDI does not work",
        );
        check(
            |facts| facts.clock.trouble = Some("it jumps; look".into()),
            Warning,
            "relied on: it jumps. Look",
        );

        let lead = |change: &dyn Fn(&mut Facts), severity, words| {
            check(
                |facts| {
                    facts.role = Role::Lead;
                    change(facts);
                },
                severity,
                words,
            );
        };
        lead(&|_| (), Good, "Everybody follows this host, at 120.00 bpm");
        lead(&|facts| facts.pilot.position = Some(stopped), Good, "which stands still");
        lead(&|facts| facts.pilot.standing = Standing::GivenWay, Idle, "Somebody else");
        lead(&|facts| facts.pilot.host = None, Idle, "not processing");
        lead(&|facts| facts.pilot.host = Some(Transport::default()), Warning, "does not tell");
        lead(&|facts| facts.clock.may_not_lead = Some(refusal.into()), Warning, "does not lead: your ticket");
    }
}
