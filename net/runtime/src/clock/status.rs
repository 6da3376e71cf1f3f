//! How a domain's time stands, for people and programs.

use std::collections::BTreeMap;

use audiocloud_clock::election::{ProcessId, Quality};
use audiocloud_clock::timekeeper::{self, Role, Standing, View};
use audiocloud_units::{Nanos, Ppm};
use audiocloud_wire::id::{DeviceId, InstanceId, SessionId};
use serde_json::{Value, json};

/// Whose clock it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterStatus {
    /// Its device.
    pub device: DeviceId,
    /// The process.
    pub instance: InstanceId,
    /// What it calls itself; empty where it is not known.
    pub name: String,
    /// It is this machine.
    pub is_this_machine: bool,
}

/// Somebody else in the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockPeer {
    /// Its device.
    pub device: DeviceId,
    /// The process.
    pub instance: InstanceId,
    /// What it calls itself.
    pub name: String,
    /// What it is to us.
    pub role: Role,
    /// There and back.
    pub round_trip: Nanos,
    /// By how much its clock is ahead of ours, where messages about time go to and fro.
    pub offset: Option<Nanos>,
    /// How sure it says that it is of the time.
    pub bound: Nanos,
}

/// How a domain's time stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClockStatus {
    /// Which session's; none: that of this user's own machines.
    pub domain: Option<SessionId>,
    /// Where the time comes from.
    pub state: Standing,
    /// Whose it is.
    pub master: Option<MasterStatus>,
    /// Counts masters.
    pub epoch: u64,
    /// Session time less this machine's, now; none while there is no time.
    pub offset: Option<Nanos>,
    /// By how much the session's time goes faster than this machine's.
    pub rate: Ppm,
    /// By how much the time may be wrong against the master's; none while there is no time.
    pub bound: Option<Nanos>,
    /// Where this machine's own time comes from.
    pub quality: Quality,
    /// What was said of the ways being unequal.
    pub asymmetry: Nanos,
    /// All others in the domain.
    pub peers: Vec<ClockPeer>,
    /// After another one became master: by how much the time may be off where the one before would have it by now.
    pub drift_bound: Option<Nanos>,
    /// How often the time has jumped.
    pub steps: u64,
    /// What is still being worked off.
    pub slew_left: Nanos,
    /// What others said of time or beats and was not taken.
    pub refused: u64,
    /// Why the last of that was not taken.
    pub last_refusal: Option<String>,
    /// Why this user may not lead here; none: may.
    pub may_not_lead: Option<String>,
    /// What is in the way, cause and remedy.
    pub trouble: Option<String>,
    /// Changes of the beat map that are known.
    pub segments: usize,
}

impl ClockStatus {
    pub(crate) fn new(domain: Option<SessionId>, view: View, names: &BTreeMap<ProcessId, String>) -> Self {
        let name = |id: &ProcessId| names.get(id).cloned().unwrap_or_default();
        let peer = |peer: timekeeper::Peer| ClockPeer {
            device: DeviceId(peer.id.device),
            instance: InstanceId(peer.id.instance),
            name: name(&peer.id),
            role: peer.role,
            round_trip: peer.round_trip,
            offset: peer.offset,
            bound: peer.bound,
        };
        Self {
            domain,
            state: view.standing,
            master: view.master.map(|master| MasterStatus {
                device: DeviceId(master.id.device),
                instance: InstanceId(master.id.instance),
                name: name(&master.id),
                is_this_machine: view.is_this_machine,
            }),
            epoch: view.master.map_or(0, |master| master.epoch),
            offset: view.offset,
            rate: view.rate,
            bound: view.bound,
            quality: view.quality,
            asymmetry: view.asymmetry,
            peers: view.peers.into_iter().map(peer).collect(),
            drift_bound: view.drift_bound,
            steps: view.steps,
            slew_left: view.slew_left,
            refused: view.refused,
            last_refusal: view.last_refusal,
            may_not_lead: view.may_not_lead,
            trouble: None,
            segments: view.segments,
        }
    }

    /// For programs: one of `clocks[]` of the status.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let peers = self.peers.iter().map(|peer| {
            json!({
                "device": peer.device.to_string(),
                "instance": peer.instance.to_string(),
                "name": peer.name,
                "role": peer.role.code(),
                "round_trip_ns": peer.round_trip.get(),
                "offset_ns": peer.offset.map(Nanos::get),
                "bound_ns": peer.bound.get(),
            })
        });
        json!({
            "domain": self.domain.map(|session| session.to_string()),
            "state": self.state.code(),
            "words": self.state.words(),
            "master": self.master.as_ref().map(|master| json!({
                "device": master.device.to_string(),
                "instance": master.instance.to_string(),
                "name": master.name,
                "is_this_machine": master.is_this_machine,
            })),
            "epoch": self.epoch,
            "offset_ns": self.offset.map(Nanos::get),
            "rate_ppm": self.rate.get(),
            "bound_ns": self.bound.map(Nanos::get),
            "quality": quality_code(self.quality),
            "asymmetry_ns": self.asymmetry.get(),
            "peers": peers.collect::<Vec<_>>(),
            "drift_bound_ns": self.drift_bound.map(Nanos::get),
            "steps": self.steps,
            "slew_left_ns": self.slew_left.get(),
            "refused": self.refused,
            "last_refusal": self.last_refusal,
            "may_not_lead": self.may_not_lead,
            "trouble": self.trouble,
            "segments": self.segments,
        })
    }
}

/// For programs.
pub(crate) const fn quality_code(quality: Quality) -> &'static str {
    match quality {
        Quality::Traceable => "traceable",
        Quality::Network => "network",
        Quality::Audio => "audio",
        Quality::Crystal => "crystal",
    }
}
