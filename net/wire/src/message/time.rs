//! Time: whose clock a domain goes by, how each stands to it, and where the beats lie on it.
//!
//! A *domain* is a session, or, without one, what two peers share who trust each other anyway. Times are nanoseconds,
//! signed; the numbers that are not whole are binary64 and finite.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::{codes, list};
use crate::id::{DeviceId, InstanceId, MachineId, SessionId};

/// The most segments of one [`Beats`].
pub const SEGMENTS_MAX: usize = 256;

codes! {
    /// What a clock runs on, the best first.
    TimeGrade {
        /// Locked to a satellite or an atomic clock, or to a PTP grandmaster that is.
        Traceable = "traceable",
        /// Locked to a grandmaster of the local network.
        Network = "network",
        /// A sound card's word clock.
        Audio = "audio",
        /// A machine's crystal.
        Crystal = "crystal",
    }
}

/// A number that is neither infinite nor none at all. Two are the same when all their bits are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finite(f64);

impl Finite {
    /// None for what is not finite.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value))
    }

    /// As it is.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Finite {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Finite {}

impl fmt::Display for Finite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Finite {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Finite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Self::new(value).ok_or_else(|| serde::de::Error::custom("a number that is not finite"))
    }
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeProcess {
    /// Its device.
    pub device: DeviceId,
    /// Which of the device's.
    pub instance: InstanceId,
}

/// How the sender stands to the time of a domain, in place of what any earlier such message said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeState {
    /// The domain; none: what the two share without a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Those who say the same one here read the same clock.
    pub machine: MachineId,
    /// It outlives plug-ins: of the processes of one machine it keeps the time.
    #[serde(default, skip_serializing_if = "is_false")]
    pub node: bool,
    /// The sender as a master; none: it is not to be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<TimeCandidate>,
    /// The latest choice of the master that the sender knows of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<TimeChoice>,
    /// Who is master, as far as the sender knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<TimeMaster>,
    /// Who the sender has the time from; none: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<TimeProcess>,
    /// A number for the sender's beat map, the same for the same map: whoever has another sends theirs.
    pub beats: u64,
    /// For processes of the same machine, from the one that keeps the time there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<TimeLine>,
}

/// Somebody who may be master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeCandidate {
    /// What its clock runs on.
    pub grade: TimeGrade,
    /// The longest of its round trips to the others, in nanoseconds.
    #[serde(rename = "round-trip")]
    pub round_trip: u64,
}

/// Somebody chose whose clock it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeChoice {
    /// Of two choices the greater number counts: milliseconds since 1970 (UTC) when it was made, or more.
    pub number: u64,
    /// Whose; none: whose is best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
}

/// Who is master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeMaster {
    /// Its device.
    pub device: DeviceId,
    /// Which of the device's processes.
    pub instance: InstanceId,
    /// Counts masters. Of two the greater counts; of two masters of one epoch who is not alone, then the smaller id.
    pub epoch: u64,
    /// Nobody follows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub alone: bool,
    /// Drawn at random when the time was begun; masters who go on with it keep it.
    pub origin: u64,
    /// Counts on while the master is there: what the sender has heard of it.
    pub pulse: u64,
    /// What its clock runs on.
    pub grade: TimeGrade,
    /// The longest of its round trips to the others, in nanoseconds.
    #[serde(rename = "round-trip")]
    pub round_trip: u64,
    /// Between it and the sender: 0 for the master itself.
    pub steps: u8,
    /// By how much the sender's time may be off the master's, in nanoseconds.
    pub bound: u64,
}

/// Session time over the clock of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeLine {
    /// An instant on that clock.
    pub host: i64,
    /// The session's time then.
    pub session: i64,
    /// Of a nanosecond, to be added to that.
    pub fraction: Finite,
    /// By how much session time goes faster, in millionths.
    pub rate: Finite,
}

/// Some of the changes that make up a domain's beat map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beats {
    /// The domain; none: what the two share without a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The origin of the time that they lie on; those of another time mean nothing.
    pub origin: u64,
    /// At most [`SEGMENTS_MAX`].
    #[serde(deserialize_with = "list::at_most::<SEGMENTS_MAX, _, _>")]
    pub segments: Vec<BeatSegment>,
}

/// A change of tempo, meter, position or movement, from its start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatSegment {
    /// The master's epoch in which it was made.
    pub epoch: u64,
    /// Of one epoch's, a later edit has a greater one; the pieces of one edit have the same.
    pub serial: u64,
    /// When it begins, in session time.
    pub start: i64,
    /// The position then, in quarter notes.
    pub beat: Finite,
    /// Quarter notes a minute then.
    pub bpm: Finite,
    /// Where the tempo goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<TempoRamp>,
    /// Beats of a bar, and what part of a whole note each is.
    pub meter: (u8, u8),
    /// A position where a bar begins, in quarter notes.
    #[serde(rename = "bar-beat")]
    pub bar_beat: Finite,
    /// That bar's number, from 0.
    pub bar: i64,
    /// What is gone through again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looped: Option<BeatLoop>,
    /// Whether beats go by.
    pub playing: bool,
}

/// The tempo goes to another, evenly by the beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TempoRamp {
    /// Quarter notes a minute at its end, and from there on.
    #[serde(rename = "to-bpm")]
    pub to_bpm: Finite,
    /// Its length, in quarter notes.
    pub over: Finite,
}

/// A position that comes to its end goes on at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatLoop {
    /// In quarter notes.
    pub from: Finite,
    /// In quarter notes.
    pub to: Finite,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}
