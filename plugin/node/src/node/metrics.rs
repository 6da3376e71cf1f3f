//! `/metrics` and `/healthz`: what a node knows of itself, as numbers for Prometheus and as an answer for who watches.
//!
//! Names keep: `audiocloud_` and what it is, with its unit. Seconds and ratios throughout, as Prometheus has it.

use serde_json::Value;

use crate::field::{list, number, plain};
use crate::host::{ChainFigures, Figures};
use crate::node::exposition::{Kind, Page};

/// Everything about the process that the status does not have.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    pub(crate) up_s: f64,
    /// Log lines that found no room.
    pub(crate) log_dropped: usize,
    pub(crate) host: Figures,
}

/// The page, from the runtime's status (see ARCHITECTURE.md, "What the status tells") and what is around it.
pub(crate) fn page(status: &Value, around: &Around) -> String {
    let mut page = Page::default();
    page.family("audiocloud_info", Kind::Gauge, "Which node this is; always 1.").sample(
        &[
            ("version", &plain(status, "version")),
            ("name", &plain(status, "name")),
            ("device", &plain(status, "device")),
        ],
        1,
    );
    page.family("audiocloud_up_seconds", Kind::Gauge, "How long it has been running.")
        .sample(&[], around.up_s);
    page.family("audiocloud_log_lines_dropped_total", Kind::Counter, "Log lines that found no room.")
        .sample(&[], around.log_dropped);
    host(&mut page, &around.host);
    chains(&mut page, &around.host.chains);
    network(&mut page, status);
    clocks(&mut page, status);
    page.into_text()
}

fn host(page: &mut Page, host: &Figures) {
    let flag = |on: bool| u8::from(on);
    page.family("audiocloud_draining", Kind::Gauge, "1: it takes no new chains, for it is ending.")
        .sample(&[], flag(host.draining));
    page.family("audiocloud_cores", Kind::Gauge, "Cores that workers run on.").sample(&[], host.cores);
    page.family("audiocloud_realtime", Kind::Gauge, "1: workers may run at SCHED_FIFO.")
        .sample(&[], flag(host.realtime));
    page.family(
        "audiocloud_head_room_cores",
        Kind::Gauge,
        "What may still be used, in cores, by deadline load.",
    )
    .sample(&[], host.head_room);
    page.family("audiocloud_chains", Kind::Gauge, "Chains that run now.").sample(&[], host.chains.len());
    page.family("audiocloud_chains_opened_total", Kind::Counter, "Chains that were let in.")
        .sample(&[], host.opened);
    let mut refused =
        page.family("audiocloud_chains_refused_total", Kind::Counter, "Chains that were not let in.");
    refused
        .sample(&[("because", "full")], host.refused_full)
        .sample(&[("because", "draining")], host.refused_draining)
        .sample(&[("because", "unplayable")], host.refused_unplayable);
    page.family("audiocloud_workers_failed_total", Kind::Counter, "Workers that ended by a mistake of ours.")
        .sample(&[], host.workers_failed);
}

/// One counter of a chain.
type Read = fn(&ChainFigures) -> u64;

fn chains(page: &mut Page, chains: &[ChainFigures]) {
    let labels = |chain: &ChainFigures| {
        [("chain", chain.name.clone()), ("id", chain.id.clone()), ("owner", chain.owner.clone())]
    };
    let mut loads = page.family(
        "audiocloud_chain_load_ratio",
        Kind::Gauge,
        "Time that blocks take over the time that they last.",
    );
    for chain in chains {
        let own = labels(chain);
        let Some(report) = chain.load else { continue };
        for (of, value) in [("mean", report.ewma), ("p999", report.p999), ("peak", report.peak)] {
            let mut all: Vec<(&str, &str)> =
                own.iter().map(|(label, text)| (*label, text.as_str())).collect();
            all.push(("of", of));
            loads.sample(&all, value);
        }
    }
    let counters: [(&str, &str, Read); 7] = [
        ("audiocloud_chain_blocks_total", "Blocks that were played.", |chain| chain.counters.blocks),
        ("audiocloud_chain_frames_total", "Frames that were played.", |chain| chain.counters.frames),
        ("audiocloud_chain_deadlines_missed_total", "Blocks that took longer than they last.", |chain| {
            chain.load.map_or(0, |load| load.over)
        }),
        (
            "audiocloud_chain_beginnings_total",
            "How often it began anew, silent: a new epoch, or a gap.",
            |chain| chain.counters.beginnings,
        ),
        ("audiocloud_chain_blocks_refused_total", "Blocks of another form than was agreed.", |chain| {
            chain.counters.misshapen
        }),
        (
            "audiocloud_chain_ring_full_total",
            "Blocks and events that the network thread did not take in time.",
            |chain| chain.counters.back_full,
        ),
        ("audiocloud_chain_events_late_total", "Events that came after their frame.", |chain| {
            chain.counters.events_late
        }),
    ];
    for (name, help, read) in counters {
        let mut family = page.family(name, Kind::Counter, help);
        for chain in chains {
            let own = labels(chain);
            let all: Vec<(&str, &str)> = own.iter().map(|(label, text)| (*label, text.as_str())).collect();
            family.sample(&all, read(chain));
        }
    }
}

fn network(page: &mut Page, status: &Value) {
    let mut peers = page.family("audiocloud_peers", Kind::Gauge, "Peers, by how it stands with them.");
    for state in ["connected", "connecting", "away", "refused"] {
        let count = list(status, "peers").iter().filter(|peer| peer["state"] == state).count();
        peers.sample(&[("state", state)], count);
    }
    let mut round_trips = page.family(
        "audiocloud_peer_round_trip_seconds",
        Kind::Gauge,
        "To a peer and back, as measured lately.",
    );
    for peer in list(status, "peers").iter().filter(|peer| peer["state"] == "connected") {
        let device = plain(peer, "device");
        let seconds = seconds(number(&peer["path"], "rtt_us"));
        round_trips.sample(
            &[("peer", &plain(peer, "name")), ("device", &device), ("instance", &plain(peer, "instance"))],
            seconds,
        );
    }
    page.family("audiocloud_streams", Kind::Gauge, "Streams that can be received here.")
        .sample(&[], list(status, "streams").len());
    // Whatever the runtime counts, under the name that the status gives it.
    for (name, value) in status["counters"].as_object().into_iter().flatten() {
        if let Some(count) = value.as_u64() {
            let family = format!("audiocloud_runtime_{name}_total");
            let help = format!("What the status calls counters.{name}.");
            page.family(&family, Kind::Counter, &help).sample(&[], count);
        }
    }
}

fn seconds(us: u64) -> f64 {
    std::time::Duration::from_micros(us).as_secs_f64()
}

fn clocks(page: &mut Page, status: &Value) {
    let domain = |clock: &Value| match clock["domain"].as_str() {
        Some(session) => session.chars().take(8).collect(),
        None => "own".to_owned(),
    };
    let mut bounds = page.family(
        "audiocloud_clock_error_bound_seconds",
        Kind::Gauge,
        "How far shared time may be off, at most.",
    );
    for clock in list(status, "clocks") {
        if let Some(bound) = clock["bound_ns"].as_i64().and_then(|ns| u64::try_from(ns).ok()) {
            bounds
                .sample(&[("domain", &domain(clock))], std::time::Duration::from_nanos(bound).as_secs_f64());
        }
    }
}

/// What `/healthz` says: whether all is well, and one line for each thing that was looked at.
pub(crate) fn health(network_answers: bool, host: &Figures) -> (bool, Value) {
    let stuck: Vec<&str> =
        host.chains.iter().filter(|chain| chain.is_stuck).map(|chain| chain.name.as_str()).collect();
    let well = network_answers && stuck.is_empty() && !host.draining;
    let status = match (well, host.draining) {
        (true, _) => "ok",
        (false, true) => "draining",
        (false, false) => "failing",
    };
    let said = serde_json::json!({
        "status": status,
        "network": if network_answers { "answers" } else { "does not answer" },
        "chains": host.chains.len(),
        "stuck_workers": stuck,
        "head_room_cores": host.head_room,
        "realtime": host.realtime,
    });
    (well, said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::graph::load::Report;
    use serde_json::json;

    fn figures() -> Figures {
        let load = Report { ewma: 0.125, p999: 0.25, peak: 0.5, callbacks: 9, over: 2 };
        let chain = ChainFigures {
            name: "Vocals".into(),
            id: "07".into(),
            owner: "Ada".into(),
            load: Some(load),
            ..ChainFigures::default()
        };
        Figures {
            cores: 2,
            head_room: 1.5,
            opened: 3,
            refused_full: 1,
            chains: vec![chain],
            ..Figures::default()
        }
    }

    #[test]
    fn every_line_of_the_page_is_a_sample_or_says_what_follows() {
        let status = json!({
            "version": "0.1.0", "name": "Node", "device": "ab", "streams": [1, 2],
            "peers": [{ "state": "connected", "name": "Ada", "device": "cd", "instance": "ef", "path": { "rtt_us": 1500 } }, { "state": "away" }],
            "counters": { "dialled": 4, "words": "none" },
            "clocks": [{ "domain": null, "bound_ns": 250_000 }, { "domain": "0123456789", "bound_ns": null }],
        });
        let text = page(&status, &Around { up_s: 1.5, log_dropped: 0, host: figures() });
        for expected in [
            "audiocloud_info{version=\"0.1.0\",name=\"Node\",device=\"ab\"} 1\n",
            "audiocloud_chains 1\n",
            "audiocloud_head_room_cores 1.5\n",
            "audiocloud_chains_refused_total{because=\"full\"} 1\n",
            "audiocloud_chain_load_ratio{chain=\"Vocals\",id=\"07\",owner=\"Ada\",of=\"p999\"} 0.25\n",
            "audiocloud_chain_deadlines_missed_total{chain=\"Vocals\",id=\"07\",owner=\"Ada\"} 2\n",
            "audiocloud_peers{state=\"connected\"} 1\n",
            "audiocloud_peers{state=\"refused\"} 0\n",
            "audiocloud_peer_round_trip_seconds{peer=\"Ada\",device=\"cd\",instance=\"ef\"} 0.0015\n",
            "audiocloud_streams 2\n",
            "audiocloud_runtime_dialled_total 4\n",
            "audiocloud_clock_error_bound_seconds{domain=\"own\"} 0.00025\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        let mut families = std::collections::BTreeSet::new();
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(family) => assert!(families.insert(family.to_owned()), "twice: {family}"),
                None => assert!(
                    line.starts_with("# HELP ") || line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok(),
                    "{line}"
                ),
            }
        }
        // What the status does not have is left out, not made up.
        let empty = page(&Value::Null, &Around { up_s: 0.0, log_dropped: 0, host: Figures::default() });
        assert!(empty.contains("audiocloud_chains 0\n") && !empty.contains("audiocloud_runtime_"));
    }

    #[test]
    fn health_is_what_a_balancer_needs() {
        let well = |answers, change: fn(&mut Figures)| {
            let mut figures = figures();
            change(&mut figures);
            let (well, said) = health(answers, &figures);
            (well, said["status"].as_str().unwrap().to_owned())
        };
        assert_eq!(well(true, |_| {}), (true, "ok".into()));
        assert_eq!(well(false, |_| {}), (false, "failing".into()));
        assert_eq!(well(true, |figures| figures.draining = true), (false, "draining".into()));
        assert_eq!(well(true, |figures| figures.chains[0].is_stuck = true), (false, "failing".into()));
    }
}
