//! What is done beside the callbacks, look by look: what they saw is taken in, what everybody has to know is told, and what
//! the window is to show is written down.

use std::time::{Duration, Instant};

use audiocloud_engine::units::{Nanos, SampleRate, SessionLine};
use audiocloud_instance::transport::Transport;
use audiocloud_net::clock::beat_map::{Position, Segment};
use audiocloud_net::clock::timeline::Timeline;
use audiocloud_net::runtime::bridge::SharedBeat;

use crate::hand::{Command, Hand};
use crate::host_model::HostModel;
use crate::lead::{Ahead, Lead, Standing};
use crate::observation::Observation;
use crate::params::Role;
use crate::plan::Quantum;

/// After a refusal nothing is told for so long.
const REFUSED: Duration = Duration::from_secs(1);
/// A host that was not heard of for so long is not processing.
const SILENT: Nanos = Nanos::from_millis(500);

/// What is set in the plug-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) role: Role,
    pub(crate) quantum: Quantum,
}

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// There is a shared time.
    pub(crate) has_time: bool,
    /// Where the music is; none: there is no beat yet.
    pub(crate) position: Option<Position>,
    /// What the host says; none: it has not been heard of lately.
    pub(crate) host: Option<Transport>,
    /// The host against everybody, while both play.
    pub(crate) error: Option<Difference>,
    pub(crate) standing: Standing,
    pub(crate) waiting: Option<Command>,
    /// Why what was told was not taken, lately.
    pub(crate) refused: Option<String>,
    /// Segments told.
    pub(crate) told: u64,
}

/// Of the host against everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Difference {
    /// How much later than everybody's the host's nearest beat is heard, ms.
    pub phase_ms: f64,
    /// Quarter notes that it is ahead by besides, whole ones.
    pub beats: f64,
    /// By how much its tempo is higher, quarter notes a minute.
    pub bpm: f64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pilot {
    host: HostModel,
    lead: Lead,
    hand: Hand,
    role: Option<Role>,
    revision: Option<u64>,
    refused: Option<(Instant, String)>,
    told: u64,
}

impl Pilot {
    pub(crate) fn new(sample_rate: SampleRate) -> Self {
        Self {
            host: HostModel::new(sample_rate),
            lead: Lead::default(),
            hand: Hand::default(),
            role: None,
            revision: None,
            refused: None,
            told: 0,
        }
    }

    pub(crate) fn ask(&mut self, command: Command) {
        self.hand.ask(command);
    }

    /// One look. To be called each few milliseconds while it leads.
    pub(crate) fn look(
        &mut self,
        beat: &dyn SharedBeat,
        orders: Orders,
        seen: impl Iterator<Item = Observation>,
    ) -> Facts {
        // Before the timeline: a change in between is seen again by the next look.
        let revision = beat.revision();
        let timeline = beat.timeline();
        let Some(line) = timeline.line else {
            seen.for_each(|_| ());
            return Facts { refused: self.refusal(), ..Facts::default() };
        };
        let touches: Vec<_> = seen.filter_map(|observation| self.host.see(observation, &line)).collect();
        let now = beat.now();
        let horizon = beat.horizon();
        let soon = line.session_at(now + Nanos::new(horizon.get() / 2));
        let ahead = Ahead { soon, sure: line.session_at(now + horizon) };
        let begins_to_lead = self.role.replace(orders.role).is_some_and(|before| before != orders.role)
            && orders.role == Role::Lead;
        if begins_to_lead || orders.role == Role::Follow {
            self.lead = Lead::default();
        }
        if orders.role == Role::Lead {
            self.hand.forget();
            if self.revision != Some(revision) {
                self.lead.map_changed(&timeline.map, &self.host, ahead);
            }
            if begins_to_lead {
                self.lead.taken_over();
            }
            touches.into_iter().for_each(|touch| self.lead.touched(touch));
        }
        self.revision = Some(revision);
        let is_refused = self.refused.as_ref().is_some_and(|(at, _)| at.elapsed() < REFUSED);
        if !is_refused {
            let next = match orders.role {
                Role::Lead => self.lead.next(&self.host, &timeline.map, ahead, orders.quantum),
                Role::Follow => self.hand.next(&timeline.map, ahead.sure, orders.quantum),
            };
            if let Some(segment) = next {
                self.tell(beat, segment, ahead);
            }
        }
        self.facts(&timeline, &line, beat)
    }

    fn tell(&mut self, beat: &dyn SharedBeat, segment: Segment, ahead: Ahead) {
        match beat.edit(&[segment]) {
            Ok(()) => {
                self.lead.told(segment, ahead);
                self.refused = None;
                self.told += 1;
            }
            Err(words) => self.refused = Some((Instant::now(), words)),
        }
    }

    fn refusal(&self) -> Option<String> {
        self.refused.as_ref().map(|(_, words)| words.clone())
    }

    fn facts(&self, timeline: &Timeline, line: &SessionLine, beat: &dyn SharedBeat) -> Facts {
        let now = line.session_at(beat.now());
        let is_silent = self.host.age(now).is_none_or(|age| age > SILENT);
        Facts {
            has_time: true,
            position: timeline.map.at(now),
            host: self.host.transport().filter(|_| !is_silent),
            error: if is_silent { None } else { self.difference(timeline) },
            standing: self.lead.standing(),
            waiting: self.hand.waiting(),
            refused: self.refusal(),
            told: self.told,
        }
    }

    /// The host's position against everybody's, at the last callback's first frame.
    fn difference(&self, timeline: &Timeline) -> Option<Difference> {
        let at = self.host.seen_at()?;
        let (host, all) = (self.host.segment_at(at)?, timeline.map.at(at)?);
        if !host.playing || !all.playing {
            return None;
        }
        let ahead = host.beat.get() - all.beat.get();
        let beats = ahead.round();
        Some(Difference { phase_ms: (beats - ahead) * 60e3 / all.bpm, beats, bpm: host.bpm - all.bpm })
    }
}

#[cfg(test)]
mod tests;
