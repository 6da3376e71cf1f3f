//! The listeners of a Send in other processes, as its window tells of them.

use std::collections::HashMap;
use std::time::Instant;

use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::status::Recent;
use audiocloud_net::runtime::ListenerStatus;
use audiocloud_net::wire::codec::Codec;
use audiocloud_net::wire::id::InstanceId;

/// So many packets lost lately are worth a sentence; fewer are concealed.
const LOST_MANY: u64 = 10;

/// What keeps a listener from hearing all of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Its path does not take what it asked for, so it gets less; what, and why.
    Degraded { name: String, given_up: String },
    /// It lost so many packets lately.
    Lossy { name: String, lost: u64 },
}

/// What can be told only by looking twice.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    lost: HashMap<InstanceId, Recent>,
}

impl Watch {
    /// The worst of what is the case now: who loses more than others is told of first, then who gets less.
    pub(crate) fn look(&mut self, listeners: &[ListenerStatus], now: Instant) -> Option<Trouble> {
        self.lost.retain(|instance, _| listeners.iter().any(|listener| listener.instance == *instance));
        let lately = listeners.iter().map(|listener| {
            let lost = listener.heard.map_or(0, |heard| heard.lost.into());
            (self.lost.entry(listener.instance).or_default().look(lost, now), listener)
        });
        let lossy = lately.max_by_key(|(lost, _)| *lost).filter(|(lost, _)| *lost >= LOST_MANY);
        let lossy = lossy.map(|(lost, listener)| Trouble::Lossy { name: name(listener), lost });
        let degraded = |listener: &ListenerStatus| {
            Some(Trouble::Degraded { name: name(listener), given_up: listener.given_up.clone()? })
        };
        lossy.or_else(|| listeners.iter().find_map(degraded))
    }
}

/// A line each.
pub(crate) fn details(listeners: &[ListenerStatus]) -> Vec<Detail> {
    listeners.iter().map(detail).collect()
}

fn detail(listener: &ListenerStatus) -> Detail {
    let mut value = match (listener.heard_after_us(), listener.heard) {
        (Some(after_us), Some(heard)) => {
            format!("{} ms, {} % lost", tenths(after_us / 100), hundredths(heard.loss_ppm() / 100))
        }
        _ => "no report yet".to_owned(),
    };
    value += &format!(", {}", codec(listener));
    if let Some(given_up) = &listener.given_up {
        value += &format!("; {given_up}");
    }
    let figures = &listener.figures;
    let meaning = format!(
        "How long after leaving here the stream is heard there, what stays lost, and how it is written; at {}, {} kbit/s. \
         {} packets were sent again, {} repairs.",
        listener.address,
        figures.rate_bps / 1_000,
        figures.repeats,
        figures.repairs
    );
    Detail::new(name(listener), value, meaning)
}

fn name(listener: &ListenerStatus) -> String {
    if listener.name.is_empty() { listener.address.to_string() } else { listener.name.clone() }
}

fn codec(listener: &ListenerStatus) -> String {
    match listener.codec {
        Codec::PcmF32 => "32-bit float".to_owned(),
        Codec::PcmS24 => "24-bit".to_owned(),
        Codec::PcmS16 => "16-bit".to_owned(),
        Codec::Opus => format!("Opus {} kbit/s", listener.bitrate_bps / 1_000),
    }
}

fn tenths(tenths: u64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn hundredths(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_net::runtime::{Heard, LaneFigures, PathFigures};
    use audiocloud_net::wire::id::DeviceId;
    use std::time::Duration;

    fn listener(number: u8, name: &str) -> ListenerStatus {
        ListenerStatus {
            device: DeviceId([number; 32]),
            instance: InstanceId([number; 16]),
            name: name.to_owned(),
            address: ([192, 0, 2, number], 4460).into(),
            path: PathFigures { one_way_us: 5_000, ..PathFigures::default() },
            codec: Codec::PcmS24,
            bitrate_bps: 0,
            frame_us: 0,
            given_up: None,
            figures: LaneFigures { rate_bps: 2_345_678, ..LaneFigures::default() },
            heard: None,
        }
    }

    fn heard(lost: u32) -> Option<Heard> {
        Some(Heard {
            received: 10_000 - lost,
            lost,
            recovered: 0,
            late: 0,
            jitter_us: 0,
            hold_us: 0,
            heard_us: 7_280,
            age_ms: 30,
        })
    }

    #[test]
    fn a_line_says_how_late_how_whole_and_how_written() {
        let mut one = listener(1, "");
        let said = |one: &ListenerStatus| {
            let detail = detail(one);
            (detail.name.into_owned(), detail.value.into_owned())
        };
        assert_eq!(said(&one), ("192.0.2.1:4460".to_owned(), "no report yet, 24-bit".to_owned()));
        one.heard = heard(5);
        one.codec = Codec::Opus;
        one.bitrate_bps = 96_000;
        one.given_up = Some("no repairs are sent".to_owned());
        assert_eq!(said(&one).1, "12.2 ms, 0.05 % lost, Opus 96 kbit/s; no repairs are sent");
    }

    #[test]
    fn the_worst_is_told_first_and_only_as_long_as_it_lasts() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut all = [listener(1, "A"), listener(2, "B")];
        assert_eq!(watch.look(&all, at(0)), None);
        all[0].given_up = Some("less".to_owned());
        let degraded = Trouble::Degraded { name: "A".to_owned(), given_up: "less".to_owned() };
        assert_eq!(watch.look(&all, at(1)), Some(degraded.clone()));
        all[1].heard = heard(9);
        assert_eq!(watch.look(&all, at(2)), Some(degraded.clone()), "a few are concealed");
        all[1].heard = heard(50);
        assert_eq!(watch.look(&all, at(3)), Some(Trouble::Lossy { name: "B".to_owned(), lost: 50 }));
        assert_eq!(watch.look(&all, at(20)), Some(degraded));
        assert_eq!(watch.look(&[], at(21)), None);
        assert!(watch.lost.is_empty(), "who is gone is forgotten");
    }
}
