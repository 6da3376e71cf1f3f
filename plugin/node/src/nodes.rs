//! `audiocloud nodes`: who could play chains of effects for us, and how much room they have.

use serde_json::{Value, json};

use crate::arguments::Form;
use crate::field::{counted, fingerprint, list, milliseconds, number, quoted};
use crate::output::answer;

pub(crate) fn print_all(runtimes: &[Value], form: &Form) -> anyhow::Result<()> {
    let nodes = known(runtimes);
    answer(form.json, &json!({ "nodes": nodes }), &words(&nodes))
}

/// Those that any process here can reach, each once, the best first.
fn known(runtimes: &[Value]) -> Vec<Value> {
    let mut nodes: Vec<Value> = Vec::new();
    for node in runtimes.iter().flat_map(|runtime| list(runtime, "nodes")) {
        if !nodes.iter().any(|other| other["instance"] == node["instance"]) {
            nodes.push(node.clone());
        }
    }
    nodes.sort_by_key(|node| {
        let head_room = u64::MAX - number(node, "head_room_permille");
        (node["draining"] == true, head_room, number(&node["path"], "rtt_us"))
    });
    nodes
}

fn words(nodes: &[Value]) -> String {
    if nodes.is_empty() {
        return "No node can be reached that plays chains of effects. `audiocloud node` is one; it is found on the local\n\
                network, and elsewhere by a [[peer]] in config.toml or a session.\n"
            .to_owned();
    }
    nodes.iter().map(|node| line(node) + "\n").collect()
}

fn line(node: &Value) -> String {
    let head_room = number(node, "head_room_permille") / 10;
    let chains = counted(number(node, "chains"), "chain", "chains");
    let mut said = format!(
        "{} ({})  {head_room} % free, {chains} of {} at most, {} away",
        quoted(node, "name"),
        fingerprint(node, "device"),
        number(node, "chains_max"),
        milliseconds(number(&node["path"], "rtt_us") / 2),
    );
    if node["realtime"] != true {
        said += ", not in real time";
    }
    if node["draining"] == true {
        said += ", about to end";
    }
    let plug_ins = list(&node["details"], "plug_ins").len();
    if plug_ins > 0 {
        said +=
            &format!(", {}", counted(u64::try_from(plug_ins).unwrap_or(0), "CLAP plug-in", "CLAP plug-ins"));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_shown_once_and_the_best_first() {
        let node = |instance: &str, head_room: u64, draining: bool| {
            json!({
                "name": "Rack", "device": "0123456789", "instance": instance, "head_room_permille": head_room,
                "chains": 1, "chains_max": 8, "realtime": true, "draining": draining, "path": { "rtt_us": 2_400 },
                "details": { "plug_ins": [{}, {}] },
            })
        };
        let runtimes = [
            json!({ "nodes": [node("a", 300, false), node("b", 900, true)] }),
            json!({ "nodes": [node("a", 300, false), node("c", 700, false)] }),
            json!({}),
        ];
        let known = known(&runtimes);
        let order: Vec<_> = known.iter().map(|node| node["instance"].as_str().unwrap()).collect();
        assert_eq!(order, ["c", "a", "b"]);
        let said = words(&known);
        assert!(
            said.starts_with(
                "\"Rack\" (01234567)  70 % free, 1 chain of 8 at most, 1.2 ms away, 2 CLAP plug-ins\n"
            ),
            "{said}"
        );
        assert!(said.ends_with(", about to end, 2 CLAP plug-ins\n"), "{said}");
        assert!(words(&[]).contains("No node can be reached"));
    }
}
