//! What the window and the status command say of a Remote FX, made of plain facts.

use std::time::{Duration, Instant};

use audiocloud_engine::chain::blob::Blob;
use audiocloud_engine::chain::document::{CLAP, Chain};
use audiocloud_engine::stream::insert::{self, Source};
use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::status::{Recent, Severity, Status};
use audiocloud_net::runtime::remote::{NodeStatus, RemoteState, RemoteStatus};
use serde_json::{Value, json};

use crate::link::Link;
use crate::model::NodeLine;
use crate::params::LateBlock;

/// Callbacks further apart than this mean that the host is not processing.
const PROCESSING: Duration = Duration::from_millis(500);
/// The document follows the host's slots so often.
const FOLLOW: Duration = Duration::from_millis(250);

/// What can be told only by looking twice.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    callbacks: Option<(u64, Instant)>,
    late: Recent,
    /// The host moved slots that the kept document does not know of yet.
    pub(crate) is_moved: bool,
    followed: Option<Instant>,
    asked: Option<Instant>,
}

impl Progress {
    /// Whether callbacks have come lately, and whether blocks have been late lately.
    pub(crate) fn look(&mut self, heard: &insert::Status, now: Instant) -> (bool, bool) {
        let is_processing = match self.callbacks {
            Some((before, at)) if before == heard.callbacks => now.duration_since(at) < PROCESSING,
            _ => {
                self.callbacks = Some((heard.callbacks, now));
                heard.callbacks > 0
            }
        };
        (is_processing, self.late.look(heard.late_callbacks, now) > 0)
    }

    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.followed.is_none_or(|at| now.duration_since(at) >= FOLLOW);
        if is_due {
            self.followed = Some(now);
        }
        is_due
    }

    /// Whether the node's status is to be looked at again.
    pub(crate) fn is_status_due(&mut self, now: Instant) -> bool {
        let is_due = self.asked.is_none_or(|at| now.duration_since(at) >= FOLLOW);
        if is_due {
            self.asked = Some(now);
        }
        is_due
    }
}

/// What the sentence is made of.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) panicked: Option<Status>,
    pub(crate) unreadable_schema: Option<u64>,
    pub(crate) is_active: bool,
    pub(crate) error: Option<String>,
    pub(crate) chain_error: Option<String>,
    pub(crate) is_empty: bool,
    /// Some of it is a plug-in that only nodes have.
    pub(crate) has_foreign: bool,
    pub(crate) here: bool,
    pub(crate) is_exact: bool,
    pub(crate) gave_up: bool,
    pub(crate) is_processing: bool,
    pub(crate) is_late: bool,
    pub(crate) source: Source,
    pub(crate) late: LateBlock,
    pub(crate) remote: Option<RemoteStatus>,
}

/// The first of these that is the case.
pub(crate) fn status(facts: &Facts) -> Status {
    let Facts { panicked, unreadable_schema, is_active, .. } = facts;
    if let Some(said) = Status::at_rest(panicked.as_ref(), *unreadable_schema, *is_active) {
        return said;
    }
    if let Some(error) = &facts.chain_error {
        return Status::from_error(error, "The chain does not play");
    }
    if facts.here {
        return here(facts);
    }
    if let Some(error) = &facts.error {
        return Status::from_error(error, "No node can be reached");
    }
    if facts.gave_up {
        return Status::new(
            Severity::Fault,
            "The node took too long for an exact render: what was rendered since then is not exact.",
            "See that the node runs and can be reached, then render again; or switch Run here on.",
        );
    }
    let Some(remote) = &facts.remote else {
        return Status::new(Severity::Warning, "The way to a node is being prepared.", "");
    };
    match remote.state {
        RemoteState::Live => live(facts, remote),
        RemoteState::Opening => Status::new(Severity::Warning, sentence(&remote.words), heard(facts)),
        state => {
            let remedy = match state {
                RemoteState::Searching => {
                    "Start `audiocloud node` on a machine of yours, or join its session."
                }
                _ => "",
            };
            Status::new(
                Severity::Warning,
                sentence(&remote.words),
                format!("{} {remedy}", heard(facts)).trim().to_owned(),
            )
        }
    }
}

fn here(facts: &Facts) -> Status {
    if facts.has_foreign {
        return Status::new(
            Severity::Warning,
            "The chain runs here, without its CLAP plug-ins: those are on nodes alone, and pass what comes in.",
            "Switch Run here off to hear all of it.",
        );
    }
    Status::new(Severity::Good, "The chain runs here, as late as it would be on a node.", "")
}

fn live(facts: &Facts, remote: &RemoteStatus) -> Status {
    let name = remote.node.as_ref().map_or("a node", |(_, name)| name.as_str());
    if !facts.is_processing {
        return Status::new(Severity::Idle, format!("“{name}” is ready; the host is not playing."), "");
    }
    if facts.is_late {
        return Status::new(
            Severity::Warning,
            format!("Blocks come back too late from “{name}”."),
            format!(
                "{} Give the network more time (Network), and switch the plug-in off and on.",
                heard(facts)
            ),
        );
    }
    if facts.is_empty {
        return Status::new(
            Severity::Good,
            format!("“{name}” is ready: the chain is empty."),
            "Add an effect.",
        );
    }
    let exact = if facts.is_exact { ", exactly" } else { "" };
    Status::new(Severity::Good, format!("The chain runs on “{name}”{exact}."), "")
}

/// What is heard instead, in a sentence.
fn heard(facts: &Facts) -> &'static str {
    match (facts.source, facts.late) {
        (Source::Here, _) | (_, LateBlock::Local) => "The chain runs here meanwhile.",
        (Source::Dry, _) | (_, LateBlock::Dry) => "The track is heard dry meanwhile.",
        (Source::Far, LateBlock::Hold) => "There is silence meanwhile.",
    }
}

/// Words that others put together, as a sentence.
fn sentence(words: &str) -> String {
    let mut letters = words.trim().trim_end_matches('.').chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// What is the matter with single effects.
pub(crate) fn words(remote: Option<&RemoteStatus>, chain: &Chain, here: bool) -> Vec<(u32, String)> {
    if here {
        let foreign = chain.effects().into_iter().filter(|slot| slot.effect_kind().is_none());
        return foreign.map(|slot| (slot.id, "not on this machine".to_owned())).collect();
    }
    let report: Value =
        remote.and_then(|remote| serde_json::from_slice(&remote.node_report).ok()).unwrap_or_default();
    let effects = report["rack"]["effects"].as_array().cloned().unwrap_or_default();
    let words = |effect: &Value| {
        Some((u32::try_from(effect["id"].as_u64()?).ok()?, effect["words"].as_str()?.to_owned()))
    };
    effects.iter().filter_map(words).collect()
}

/// States that the node's plug-ins of others changed by themselves.
pub(crate) fn states(report: &[u8]) -> Vec<(u32, Blob)> {
    let report: Value = serde_json::from_slice(report).unwrap_or_default();
    let states = report["states"].as_object().cloned().unwrap_or_default();
    let state = |(id, blob): (String, Value)| Some((id.parse().ok()?, serde_json::from_value(blob).ok()?));
    states.into_iter().filter_map(state).collect()
}

pub(crate) fn node_line(node: &NodeStatus) -> NodeLine {
    let capacity = &node.capacity;
    let realtime = if capacity.realtime { "" } else { ", not in real time" };
    let draining = if capacity.draining { ", about to end" } else { "" };
    let words = format!(
        "{} % free, {} chains, {:.1} ms there and back{realtime}{draining}",
        capacity.head_room_permille / 10,
        capacity.chains,
        micros_as_ms(node.path.rtt_us),
    );
    NodeLine { device: node.device, name: node.name.clone(), words }
}

/// CLAP plug-ins that nodes have: kind and name.
pub(crate) fn plug_ins(nodes: &[NodeStatus]) -> Vec<(String, String)> {
    let mut found = std::collections::BTreeMap::new();
    for node in nodes {
        let details: Value = serde_json::from_slice(&node.capacity.details).unwrap_or_default();
        for plug_in in details["plug_ins"].as_array().into_iter().flatten() {
            if let Some(id) = plug_in["id"].as_str() {
                let name = plug_in["name"].as_str().unwrap_or(id);
                found.insert(format!("{CLAP}{id}"), name.to_owned());
            }
        }
    }
    found.into_iter().collect()
}

pub(crate) fn round_ms(remote: &RemoteStatus) -> Option<f64> {
    (remote.state == RemoteState::Live && remote.figures.round_us > 0)
        .then(|| micros_as_ms(remote.figures.round_us))
}

fn micros_as_ms(micros: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "for showing to people")]
    let micros = micros as f64;
    micros / 1e3
}

pub(crate) fn details(heard: Option<&insert::Status>, remote: Option<&RemoteStatus>) -> Vec<Detail> {
    let mut details = Vec::new();
    if let Some(heard) = heard {
        let by_host = format!("{} (of them {} by this host)", heard.late_callbacks, heard.late_by_host);
        details.push(Detail::new(
            "Late blocks",
            by_host,
            "Blocks that lacked frames of the answer; by this host: it stood still, and left the node no time.",
        ));
        details.push(Detail::new(
            "Margin, frames",
            heard.margin_frames.to_string(),
            "By how much answers came before they were due, at least, in the last second or two.",
        ));
        details.push(Detail::new(
            "Blocks without a node",
            heard.unanswered_callbacks.to_string(),
            "Nobody answered.",
        ));
        details.push(Detail::new(
            "Blocks lost (this computer)",
            heard.blocks_dropped.to_string(),
            "The network side did not take them in time: the processor was busy.",
        ));
        details.push(Detail::new(
            "Longest stall of the host",
            format!("{:.1} ms", heard.stall_max.as_millis_f64()),
            "By how much later a callback came than the sample clock would have had it.",
        ));
    }
    if let Some(remote) = remote {
        for loss in &remote.losses {
            details.push(Detail::new("Lost", loss.to_string(), "Since the chain was opened first."));
        }
    }
    details
}

/// For the status command.
pub(crate) fn report(link: &Link, said: &Status, name: &str, chain: &Chain, revision: u64) -> Value {
    let mut report = json!({
        "plugin": "remote-fx",
        "name": name,
        "severity": said.severity.word(),
        "sentence": said.sentence(),
        "effects": chain.effects().iter().map(|slot| slot.kind.clone()).collect::<Vec<_>>(),
        "revision": revision,
        "refused": link.refused,
    });
    if let (Some(running), Some(fields)) = (&link.running, report.as_object_mut()) {
        let heard = running.heard.read();
        let remote = running.way.as_ref().map(|way| way.remote.status());
        let values = json!({
            "delay_frames": running.delay.frames,
            "head_room_frames": running.delay.head_room_frames,
            "chain": remote.as_ref().map(|remote| remote.chain.to_string()),
            "state": remote.as_ref().map(|remote| remote.state.code()),
            "node": remote.as_ref().and_then(|remote| Some(remote.node.as_ref()?.0.to_string())),
            "node_name": remote.as_ref().and_then(|remote| Some(remote.node.as_ref()?.1.clone())),
            "round_us": remote.as_ref().map(|remote| remote.figures.round_us),
            "given_up": running.patience.given_up(),
            "source": match heard.status.source {
                Source::Far => "node",
                Source::Here => "here",
                Source::Dry => "dry",
            },
            "answering": heard.status.answering,
            "position": heard.status.position.get(),
            "callbacks": heard.status.callbacks,
            "late_callbacks": heard.status.late_callbacks,
            "late_frames": heard.status.late_frames,
            "late_by_host": heard.status.late_by_host,
            "unanswered_callbacks": heard.status.unanswered_callbacks,
            "came_late_frames": heard.status.came_late_frames,
            "strange_frames": heard.status.strange_frames,
            "switches": heard.status.switches,
            "blocks_dropped": heard.status.blocks_dropped,
            "events_dropped": heard.status.events_dropped,
            "margin_frames": heard.status.margin_frames,
            "stall_max_us": heard.status.stall_max.get() / 1_000,
        });
        if let Value::Object(values) = values {
            fields.extend(values);
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            panicked: None,
            unreadable_schema: None,
            is_active: true,
            error: None,
            chain_error: None,
            is_empty: false,
            has_foreign: false,
            here: false,
            is_exact: false,
            gave_up: false,
            is_processing: true,
            is_late: false,
            source: Source::Far,
            late: LateBlock::Dry,
            remote: None,
        }
    }

    #[test]
    fn one_sentence_says_how_it_stands() {
        fn check(change: impl FnOnce(&mut Facts), severity: Severity, expected: &str) {
            let mut facts = facts();
            change(&mut facts);
            let said = status(&facts);
            assert!(said.severity == severity && said.sentence().contains(expected), "{said:?}");
        }
        check(|facts| facts.is_active = false, Severity::Idle, "has not switched this plug-in on");
        check(
            |facts| facts.chain_error = Some("too late; more head-room".into()),
            Severity::Fault,
            "More head-room.",
        );
        check(|facts| facts.here = true, Severity::Good, "runs here");
        let foreign = |facts: &mut Facts| (facts.here, facts.has_foreign) = (true, true);
        check(foreign, Severity::Warning, "without its CLAP plug-ins");
        check(|facts| facts.gave_up = true, Severity::Fault, "took too long for an exact render");
        check(|_| (), Severity::Warning, "being prepared");
        check(
            |facts| facts.error = Some("no port; choose another".into()),
            Severity::Fault,
            "Choose another.",
        );
    }

    #[test]
    fn a_node_is_read_with_suspicion() {
        let report = br#"{"states":{"3":"AAEC","x":"AA==","4":7}}"#;
        let states = states(report);
        assert_eq!((states.len(), states[0].0, states[0].1.bytes()), (1, 3, &[0, 1, 2][..]));
        assert_eq!(self::states(b"[1,2"), []);
        assert_eq!(sentence("no node answers."), "No node answers.");
    }
}
