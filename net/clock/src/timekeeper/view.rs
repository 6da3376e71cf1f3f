//! How it stands, as values for whoever shows it.

use audiocloud_units::{HostTime, Nanos, Ppm};

use super::{NO_TIME, Timekeeper};
use crate::election::{Master, ProcessId, Quality, SILENT};

/// Where the time comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is being looked for somebody whose time it could be.
    #[default]
    Searching,
    /// It is this machine's, and nobody else is there.
    Alone,
    /// It is this machine's, and others follow.
    Master,
    /// Another process of this machine keeps it for all of them.
    Shared,
    /// Messages with the master have begun.
    Measuring,
    /// It follows the master.
    Locked,
    /// The master is silent: it goes on at the rate that it had, and is less and less sure.
    Holdover,
}

impl Standing {
    /// For programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::Alone => "alone",
            Self::Master => "master",
            Self::Shared => "shared",
            Self::Measuring => "measuring",
            Self::Locked => "locked",
            Self::Holdover => "holdover",
        }
    }

    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Searching => "looking for others",
            Self::Alone => "this machine's own time; nobody else is there",
            Self::Master => "this machine's time, which the others follow",
            Self::Shared => "kept by another program on this machine",
            Self::Measuring => "measuring the way to the master",
            Self::Locked => "following the master",
            Self::Holdover => "the master is silent; going on at its rate",
        }
    }
}

/// What a peer is to this machine's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its time is everybody's.
    Master,
    /// We have the time from it, and it is not the master.
    Source,
    /// It has the time from us.
    Follower,
    /// Another process of this machine.
    Here,
    /// Neither.
    Other,
}

impl Role {
    /// For programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Source => "source",
            Self::Follower => "follower",
            Self::Here => "here",
            Self::Other => "other",
        }
    }
}

/// Another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which.
    pub id: ProcessId,
    /// What it is to this one.
    pub role: Role,
    /// There and back: by messages about time where there are any.
    pub round_trip: Nanos,
    /// By how much its clock is ahead of ours.
    pub offset: Option<Nanos>,
    /// How far off the master it says to be.
    pub bound: Nanos,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Where the time comes from.
    pub standing: Standing,
    /// Whose it is.
    pub master: Option<Master>,
    /// The master reads this machine's clock.
    pub is_this_machine: bool,
    /// Session less host time.
    pub offset: Option<Nanos>,
    /// By how much session time is faster.
    pub rate: Ppm,
    /// Of the error against the master's time.
    pub bound: Option<Nanos>,
    /// After a hand-over: of the drift against the time that the master before would show.
    pub drift_bound: Option<Nanos>,
    /// Of this machine's own clock.
    pub quality: Quality,
    /// As it was told.
    pub asymmetry: Nanos,
    /// Everybody else.
    pub peers: Vec<Peer>,
    /// Jumps of the time.
    pub steps: u64,
    /// What is still to be worked off.
    pub slew_left: Nanos,
    /// What was not taken.
    pub refused: u64,
    /// Why the last of it.
    pub last_refusal: Option<String>,
    /// Why this user may not lead.
    pub may_not_lead: Option<String>,
    /// Changes in the map.
    pub segments: usize,
}

impl Timekeeper {
    /// How it stands.
    #[must_use]
    pub fn view(&self, now: HostTime) -> View {
        let master = self.election.master();
        let is_of_here = |id: &ProcessId| {
            *id == self.settings.me
                || self.others.get(id).is_some_and(|other| self.is_here(id, &other.state.machine))
        };
        View {
            standing: self.standing(now),
            master,
            is_this_machine: master.is_some_and(|master| is_of_here(&master.id)),
            offset: self.line().map(|line| Nanos::new(line.session_at(now).get().saturating_sub(now.get()))),
            rate: self.line().map_or(Ppm::new(0.0), |line| line.rate),
            bound: self.following.bound_at(now).filter(|_| self.line().is_some()),
            drift_bound: self.following.drift_bound_at(now),
            quality: self.quality,
            asymmetry: self.following.asymmetry(),
            peers: self.peers(),
            steps: self.following.steps(),
            slew_left: self.following.slew_left(),
            refused: self.refused + self.election.refused(),
            last_refusal: self.last_refusal.clone(),
            may_not_lead: self.may_lead.clone().err(),
            segments: self.map.segments().len(),
        }
    }

    fn standing(&self, now: HostTime) -> Standing {
        if self.line().is_none() && self.source.is_none() {
            return Standing::Searching;
        }
        if !self.is_keeper {
            return Standing::Shared;
        }
        if self.is_master() {
            let has_company = self.elsewhere().next().is_some();
            return if has_company { Standing::Master } else { Standing::Alone };
        }
        let is_silent = self.silence(now).is_some_and(|silence| silence > SILENT);
        match self.source {
            None => Standing::Holdover,
            Some(_) if is_silent => Standing::Holdover,
            Some(_) if self.following.is_settled() => Standing::Locked,
            Some(_) => Standing::Measuring,
        }
    }

    fn peers(&self) -> Vec<Peer> {
        let master = self.election.master();
        let peer = |(id, other): (&ProcessId, &super::Other)| {
            let is_source = self.source == Some(*id);
            let role = if self.is_here(id, &other.state.machine) {
                Role::Here
            } else if master.is_some_and(|master| master.id == *id) {
                Role::Master
            } else if is_source {
                Role::Source
            } else if other.state.source == Some(self.settings.me) {
                Role::Follower
            } else {
                Role::Other
            };
            let said = other.state.master.filter(|said| said.steps != NO_TIME);
            Peer {
                id: *id,
                role,
                round_trip: self.following.round_trip().filter(|_| is_source).unwrap_or(other.round_trip),
                offset: self.following.measured_offset().filter(|_| is_source),
                bound: said.map_or(Nanos::ZERO, |said| said.bound),
            }
        };
        self.others.iter().map(peer).collect()
    }
}
