//! How streams fare between peers: the state of a path, how a listener hears, and whose each loss is.
//!
//! For editors by [`crate::Handle::peers`], [`crate::Publication::status`] and [`crate::Subscription::status`]; for other
//! programs, in the fields of the same names, by `audiocloud status --json`.

use std::fmt;
use std::net::SocketAddr;

use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{DeviceId, InstanceId};
use audiocloud_wire::packet::report::ReceiverReport;
use serde::Serialize;

use crate::congestion;
use crate::counters::{LaneFigures, PublicationFigures, SubscriptionFigures};
use crate::directory::micros;

/// The path to a peer, as our side of it sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PathFigures {
    /// Smoothed round trip, in microseconds.
    pub rtt_us: u64,
    /// An estimate of the way there as it is now: half of the round trip without queues, and
    /// what waits in the queues. Nobody can
    /// tell a slow way there from a slow way back without a clock in common.
    pub one_way_us: u64,
    /// What waits in queues on the way there, in microseconds.
    pub queueing_us: u64,
    /// Bits per second that media is held to; none: the path takes all there is.
    pub rate_cap_bps: Option<u64>,
    /// Packets that are lost on the way there, lately, of a million.
    pub loss_ppm: u64,
}

impl PathFigures {
    /// As it is now. Takes the connection's lock: for a few times a second, not for each packet.
    pub(crate) fn of(connection: &quinn::Connection) -> Self {
        let state = congestion::path_state(connection).unwrap_or_default();
        let rtt_us = micros(connection.rtt());
        // The two are smoothed differently: the part may be ahead of the whole.
        let queueing_us = micros(state.queueing_delay).min(rtt_us);
        Self {
            rtt_us,
            one_way_us: rtt_us.midpoint(queueing_us),
            queueing_us,
            rate_cap_bps: state.rate_cap_bps,
            loss_ppm: millionths(state.loss),
        }
    }

    /// An estimate of the way back: what the way there leaves of the round trip.
    pub const fn way_back_us(&self) -> u64 {
        self.rtt_us.saturating_sub(self.one_way_us)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held within 0 and a million")]
fn millionths(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * 1e6).round() as u64
}

/// Whose business a loss is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// It could not keep up.
    SenderComputer,
    /// It lost, or brought too late.
    Network,
    /// It could not keep up.
    ReceiverComputer,
    /// We keep to a bound: of a queue, a rate, a memory.
    OurLimit,
}

impl Owner {
    /// For programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::SenderComputer => "sender-computer",
            Self::Network => "network",
            Self::ReceiverComputer => "receiver-computer",
            Self::OurLimit => "our-limit",
        }
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::SenderComputer => "the sender's computer",
            Self::Network => "the network",
            Self::ReceiverComputer => "the receiver's computer",
            Self::OurLimit => "a limit of ours",
        }
    }
}

/// Things that were lost, and why. Displayed, as "3 packets never came (the network)".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Whose business it is.
    pub owner: Owner,
    /// How many.
    pub count: u64,
    /// What became of what, after a number.
    pub what: &'static str,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.count, self.what, self.owner.words())
    }
}

impl Serialize for Loss {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Loss", 3)?;
        fields.serialize_field("owner", self.owner.code())?;
        fields.serialize_field("count", &self.count)?;
        fields.serialize_field("what", self.what)?;
        fields.end()
    }
}

/// Those that happened.
pub(crate) fn happened<const N: usize>(losses: [(Owner, u64, &'static str); N]) -> Vec<Loss> {
    let losses = losses.into_iter().filter(|(_, count, _)| *count > 0);
    losses.map(|(owner, count, what)| Loss { owner, count, what }).collect()
}

impl SubscriptionFigures {
    /// What was lost of this stream, and whose business it is. What was lost and recovered is not lost.
    pub fn losses(&self) -> Vec<Loss> {
        happened([
            (Owner::Network, self.lost.saturating_sub(self.late), "packets never came"),
            (Owner::Network, self.late, "packets came too late to be heard"),
            (Owner::Network, self.events_lost, "notes or controls never came"),
            (Owner::ReceiverComputer, self.ring_full, "blocks found no room: the host did not take them"),
            (Owner::ReceiverComputer, self.event_ring_full, "notes or controls found no room"),
            (Owner::SenderComputer, self.undecodable, "packets could not be read"),
            (Owner::OurLimit, self.unknown_config, "packets came before their stream was announced"),
        ])
    }

    /// Missing packets that came after all, by whichever way.
    pub const fn recovered(&self) -> u64 {
        self.recovered_resend + self.recovered_repair + self.recovered_fec
    }
}

impl PublicationFigures {
    /// What was lost of this stream before the network had it, over all listeners, and whose business it is.
    pub fn losses(&self) -> Vec<Loss> {
        happened([
            (Owner::SenderComputer, self.dropped_mismatched, "blocks had another format than the stream"),
            (Owner::Network, self.dropped_beyond_cap, "packets were more than the path takes"),
            (Owner::OurLimit, self.dropped_queue_full, "packets found no room in a queue"),
            (Owner::OurLimit, self.dropped_unsendable, "packets could not be sent"),
            (Owner::OurLimit, self.dropped_unencodable, "packets could not be written"),
            (Owner::ReceiverComputer, self.dropped_local_full, "blocks found no room in a Receive here"),
        ])
    }
}

/// How a listener hears a stream, by its last report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Heard {
    /// Packets that came, by whichever way, in this epoch.
    pub received: u32,
    /// Packets that did not come in time by any way, in this epoch.
    pub lost: u32,
    /// Of those that came, by a resend or a repair.
    pub recovered: u32,
    /// Of those that came, too late to be heard.
    pub late: u32,
    /// Interarrival jitter, in microseconds.
    pub jitter_us: u32,
    /// How long a packet waits there before it is due, in microseconds.
    pub hold_us: u32,
    /// From a packet's arrival there until it is heard, in microseconds.
    pub heard_us: u32,
    /// How old the report is.
    pub age_ms: u64,
}

impl Heard {
    pub(crate) const fn new(report: &ReceiverReport, age_ms: u64) -> Self {
        Self {
            received: report.received,
            lost: report.lost,
            recovered: report.recovered,
            late: report.late,
            jitter_us: report.jitter_us,
            hold_us: report.hold_us,
            heard_us: report.heard_us,
            age_ms,
        }
    }

    /// Packets that stayed lost, of a million.
    pub fn loss_ppm(&self) -> u64 {
        // What came too late is among both.
        let all = (u64::from(self.received) + u64::from(self.lost)).saturating_sub(self.late.into());
        (u64::from(self.lost) * 1_000_000).checked_div(all).unwrap_or(0)
    }
}

/// One listener in another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerStatus {
    pub device: DeviceId,
    pub instance: InstanceId,
    /// What the peer calls itself.
    pub name: String,
    pub address: SocketAddr,
    pub path: PathFigures,
    /// How the stream is written for it now.
    pub codec: Codec,
    /// Of Opus: bits per second for each pair of channels; otherwise 0.
    pub bitrate_bps: u32,
    /// Of Opus: of one frame; otherwise 0.
    pub frame_us: u32,
    /// What is given up of what it asked for, in words; none: nothing.
    pub given_up: Option<String>,
    pub figures: LaneFigures,
    /// None: no report has come yet.
    pub heard: Option<Heard>,
}

impl ListenerStatus {
    /// From a packet's leaving here until it is heard there, in microseconds; none until a report has come.
    pub fn heard_after_us(&self) -> Option<u64> {
        Some(self.path.one_way_us + u64::from(self.heard?.heard_us))
    }

    /// What this listener lost, and whose business it is.
    pub fn losses(&self) -> Vec<Loss> {
        let heard = self.heard.map_or((0, 0), |heard| (heard.lost, heard.late));
        happened([
            (Owner::Network, u64::from(heard.0.saturating_sub(heard.1)), "packets never came"),
            (Owner::Network, u64::from(heard.1), "packets came too late to be heard"),
            (Owner::Network, self.figures.dropped_beyond_cap, "packets were more than the path takes"),
            (Owner::OurLimit, self.figures.dropped_queue_full, "packets found no room in a queue"),
            (Owner::OurLimit, self.figures.dropped_unsendable, "packets could not be sent"),
            (
                Owner::OurLimit,
                self.figures.requests_too_old,
                "packets were asked for when they were no longer kept",
            ),
        ])
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "device": self.device.to_string(),
            "instance": self.instance.to_string(),
            "name": self.name,
            "address": self.address.to_string(),
            "path": self.path,
            "codec": self.codec.name(),
            "bitrate_bps": self.bitrate_bps,
            "frame_us": self.frame_us,
            "given_up": self.given_up,
            "counters": self.figures,
            "heard": self.heard,
            "losses": self.losses(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_has_an_owner_and_a_sentence() {
        let figures =
            SubscriptionFigures { lost: 5, late: 2, ring_full: 1, recovered_resend: 9, ..Default::default() };
        let words: Vec<_> = figures.losses().iter().map(Loss::to_string).collect();
        assert_eq!(
            words,
            [
                "3 packets never came (the network)",
                "2 packets came too late to be heard (the network)",
                "1 blocks found no room: the host did not take them (the receiver's computer)",
            ]
        );
        assert_eq!(figures.recovered(), 9);
        assert!(SubscriptionFigures::default().losses().is_empty());
        let json = serde_json::to_value(figures.losses()[0]).unwrap();
        assert_eq!(json, serde_json::json!({ "owner": "network", "count": 3, "what": "packets never came" }));
    }

    #[test]
    fn a_listener_hears_after_the_way_and_its_own_wait() {
        let report = ReceiverReport {
            stream: audiocloud_wire::id::StreamId(1),
            epoch: 1,
            highest_sequence: 999,
            received: 993,
            lost: 10,
            recovered: 20,
            late: 3,
            jitter_us: 400,
            hold_us: 5_000,
            heard_us: 7_700,
            next_event: 0,
            repair_every: 0,
            repair_window: 0,
            needs_us: None,
        };
        let mut listener = ListenerStatus {
            device: DeviceId([1; 32]),
            instance: InstanceId([2; 16]),
            name: "Studio A".to_owned(),
            address: SocketAddr::from(([192, 0, 2, 1], 9)),
            path: PathFigures { one_way_us: 10_300, ..PathFigures::default() },
            codec: Codec::PcmS16,
            bitrate_bps: 0,
            frame_us: 0,
            given_up: None,
            figures: LaneFigures { requests_too_old: 4, ..LaneFigures::default() },
            heard: None,
        };
        assert_eq!((listener.heard_after_us(), listener.losses().len()), (None, 1));
        listener.heard = Some(Heard::new(&report, 40));
        assert_eq!(listener.heard_after_us(), Some(18_000));
        assert_eq!(listener.heard.unwrap().loss_ppm(), 10_000);
        let counts: Vec<_> = listener.losses().iter().map(|loss| (loss.owner, loss.count)).collect();
        assert_eq!(counts, [(Owner::Network, 7), (Owner::Network, 3), (Owner::OurLimit, 4)]);
        assert_eq!(listener.to_json()["heard"]["hold_us"], 5_000);
        assert_eq!(listener.to_json()["path"]["one_way_us"], 10_300);
    }
}
