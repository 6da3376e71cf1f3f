//! `audiocloud chain`: chains of effects wherever they run, and proposals to their owners.

use std::fmt::Write;

use anyhow::{anyhow, bail};
use audiocloud_engine::chain::document::{Chain, Item, LEVELS, Slot};
use audiocloud_engine::chain::edit::Edit;
use audiocloud_engine::effects::parameter::Parameter;
use audiocloud_net::runtime::{Config, control};
use serde_json::{Value, json};

use crate::arguments::{ChainCommand, Switch, WhichChain};
use crate::choice;
use crate::field::{clean, list, plain, quoted};
use crate::output::answer;

pub(crate) fn run(command: &ChainCommand, config: &Config) -> anyhow::Result<()> {
    let runtimes = control::query_all(&config.runtime_dir);
    let chains = known(&runtimes);
    match command {
        ChainCommand::List(form) => {
            answer(form.json, &json!({ "chains": chains }), &words(&chains, &runtimes))
        }
        ChainCommand::Show { which } => {
            let (status, chain) = find(&chains, &which.chain)?;
            answer(which.form.json, status, &shown(status, &chain))
        }
        ChainCommand::Set { which, effect, parameter, value } => {
            let (status, chain) = find(&chains, &which.chain)?;
            let edit = set(&chain, effect, parameter, value)?;
            propose(config, &runtimes, status, &edit, which)
        }
        ChainCommand::Bypass { which, effect, on } => {
            let (status, chain) = find(&chains, &which.chain)?;
            let item = item(&chain, effect)?;
            if matches!(item, Item::Parallel(_)) {
                bail!("\"{}\" is a parallel, which cannot be passed by; name an effect", clean(effect));
            }
            propose(config, &runtimes, status, &Edit::Bypass(item.id(), *on == Switch::On), which)
        }
    }
}

/// Every chain that some runtime knows, once; our own as its own process tells it.
fn known(runtimes: &[Value]) -> Vec<Value> {
    let mut chains: Vec<Value> =
        runtimes.iter().flat_map(|runtime| list(runtime, "chains")).cloned().collect();
    chains.sort_by_key(|chain| {
        (
            plain(chain, "owner"),
            plain(chain, "name"),
            plain(chain, "chain"),
            chain["local"] != true,
            chain["document"].is_null(),
        )
    });
    chains.dedup_by_key(|chain| plain(chain, "chain"));
    chains
}

fn find<'a>(chains: &'a [Value], text: &str) -> anyhow::Result<(&'a Value, Chain)> {
    let status = choice::chain(chains, text)?;
    if status["document"].is_null() {
        bail!("what {} is made of is not known here yet; try again in a moment", quoted(status, "name"));
    }
    let document = serde_json::to_vec(&status["document"])?;
    Ok((status, Chain::from_json(&document)?))
}

fn words(chains: &[Value], runtimes: &[Value]) -> String {
    if chains.is_empty() {
        return "No chain of effects is open. The plug-in audiocloud Remote FX opens one.\n".to_owned();
    }
    let nodes: Vec<&Value> = runtimes.iter().flat_map(|runtime| list(runtime, "nodes")).collect();
    let mut text = String::new();
    for chain in chains {
        let id: String =
            plain(chain, "chain").rsplit('/').next().unwrap_or_default().chars().take(8).collect();
        let place = match chain["node"].as_str() {
            None => "on no node".to_owned(),
            Some(device) => {
                let node = nodes.iter().find(|node| node["device"] == device);
                node.map_or(format!("on {}", device.chars().take(8).collect::<String>()), |node| {
                    format!("on {}", quoted(node, "name"))
                })
            }
        };
        writeln!(text, "{} of {} ({id})  {place}", quoted(chain, "name"), quoted(chain, "owner")).ok();
    }
    text
}

fn shown(status: &Value, chain: &Chain) -> String {
    let mut text = format!("{} of {}\n", quoted(status, "name"), quoted(status, "owner"));
    lines(&chain.items, 1, &mut text);
    if chain.items.is_empty() {
        text += "  nothing: what comes in goes out\n";
    }
    text
}

fn lines(items: &[Item], depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    for item in items {
        match item {
            Item::Effect(slot) => {
                let bypassed = if slot.bypassed { ", passed by" } else { "" };
                writeln!(text, "{indent}{}  {}{bypassed}", slot.id, clean(slot.title())).ok();
                for (name, value) in values(slot) {
                    writeln!(text, "{indent}      {name}: {value}").ok();
                }
            }
            Item::Parallel(parallel) => {
                writeln!(text, "{indent}{}  Parallel", parallel.id).ok();
                for (branch, level) in parallel.branches.iter().zip(&LEVELS) {
                    writeln!(text, "{indent}    {}: {}", level.name, level.to_text(branch.level_db)).ok();
                    lines(&branch.items, depth + 3, text);
                }
            }
        }
    }
}

/// Names of parameters, and values as people read them. Of a plug-in that is not ours, what the document has.
fn values(slot: &Slot) -> Vec<(String, String)> {
    match slot.effect_kind() {
        Some(kind) => {
            let text =
                |parameter: &Parameter| (parameter.name.to_owned(), parameter.to_text(slot.value(parameter)));
            kind.parameters.iter().map(text).collect()
        }
        None => {
            slot.values.iter().map(|(id, value)| (format!("parameter {id}"), value.to_string())).collect()
        }
    }
}

/// The item of this name or number.
fn item<'a>(chain: &'a Chain, text: &str) -> anyhow::Result<&'a Item> {
    let mut all = Vec::new();
    chain.each(&mut |item| all.push(item));
    if let Some(by_number) = text.parse().ok().and_then(|id: u32| all.iter().find(|item| item.id() == id)) {
        return Ok(by_number);
    }
    let described = |item: &&Item| format!("{} {}", item.id(), clean(item.title()));
    let named = |item: &&&Item| item.title().eq_ignore_ascii_case(text);
    match all.iter().filter(named).collect::<Vec<_>>()[..] {
        [one] => Ok(one),
        [] => {
            let there: Vec<String> = all.iter().map(described).collect();
            bail!("no effect of the chain is called \"{}\"; there are: {}", clean(text), there.join(", "))
        }
        ref several => {
            let found: Vec<String> = several.iter().map(|item| described(item)).collect();
            bail!("\"{}\" is more than one effect; take the number: {}", clean(text), found.join(", "))
        }
    }
}

/// The edit that gives a parameter, by name or number, the value of this text.
fn set(chain: &Chain, effect: &str, parameter: &str, value: &str) -> anyhow::Result<Edit> {
    let item = item(chain, effect)?;
    let parameters: Vec<&'static Parameter> = match item {
        Item::Effect(slot) => {
            slot.effect_kind().map(|kind| kind.parameters.iter().collect()).unwrap_or_default()
        }
        Item::Parallel(parallel) => LEVELS.iter().take(parallel.branches.len()).collect(),
    };
    let number = parameter.parse::<u32>().ok();
    let known = parameters
        .iter()
        .find(|known| Some(known.id) == number || known.name.eq_ignore_ascii_case(parameter));
    let (parameter, value) = match (known, number) {
        (Some(known), _) => (known.id, known.from_text(value).map_err(anyhow::Error::msg)?),
        // Of a plug-in that is not ours only numbers are known.
        (None, Some(number)) if parameters.is_empty() => {
            let plain = value.trim().parse::<f32>().ok().filter(|value| value.is_finite());
            (
                number,
                plain
                    .ok_or_else(|| anyhow!("the value of a plug-in's parameter is a number, such as 0.5"))?,
            )
        }
        (None, _) => {
            let there: Vec<&str> = parameters.iter().map(|known| known.name).collect();
            let title = clean(item.title());
            bail!("\"{title}\" has no parameter \"{}\"; there are: {}", clean(parameter), there.join(", "))
        }
    };
    Ok(Edit::Set { effect: item.id(), parameter, value })
}

/// Hands an edit to a runtime that knows the chain, best to its owner's.
fn propose(
    config: &Config,
    runtimes: &[Value],
    status: &Value,
    edit: &Edit,
    which: &WhichChain,
) -> anyhow::Result<()> {
    let id = plain(status, "chain");
    let knows = |runtime: &&Value| list(runtime, "chains").iter().any(|chain| plain(chain, "chain") == id);
    let owns = |runtime: &&Value| {
        list(runtime, "chains").iter().any(|chain| plain(chain, "chain") == id && chain["local"] == true)
    };
    let runtime = runtimes.iter().find(owns).or_else(|| runtimes.iter().find(knows));
    let runtime = runtime.ok_or_else(|| anyhow!("nobody here knows the chain any more"))?;
    let key = id
        .parse()
        .map_err(|_| anyhow!("the process that lists it is of another version; update audiocloud"))?;
    let wish = control::Proposal { chain: key, edit: serde_json::to_value(edit)? };
    control::propose(&config.runtime_dir, &plain(runtime, "instance"), &wish)?;
    let said = format!("proposed to {}\n", quoted(status, "owner"));
    answer(which.form.json, &json!({ "proposed": wish.edit, "chain": id }), &said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::chain::edit::Place;

    fn chain() -> Chain {
        let mut chain = Chain::default();
        for kind in ["eq", "compressor", "clap:org.example.thing"] {
            chain.apply(&Edit::Add { at: Place::END, kind: kind.to_owned() }).unwrap();
        }
        chain.apply(&Edit::AddParallel { at: Place::END, branches: 2 }).unwrap();
        chain.apply(&Edit::Add { at: Place::within(3, 1, 0), kind: "compressor".to_owned() }).unwrap();
        chain
    }

    #[test]
    fn effects_and_parameters_are_known_by_name_and_number() {
        let chain = chain();
        let threshold = &audiocloud_engine::effects::kind("compressor").unwrap().parameters[0];
        let text = threshold.to_text(threshold.default);
        let expected = |effect: u32| Edit::Set {
            effect,
            parameter: threshold.id,
            value: threshold.from_text(&text).unwrap(),
        };
        assert_eq!(set(&chain, "1", threshold.name, &text).unwrap(), expected(1));
        assert_eq!(set(&chain, "4", &threshold.id.to_string(), &text).unwrap(), expected(4));
        let many = set(&chain, "Compressor", threshold.name, &text).unwrap_err().to_string();
        assert!(many.contains("more than one effect; take the number: 1 Compressor, 4 Compressor"), "{many}");
        let none = set(&chain, "Flanger", "x", "1").unwrap_err().to_string();
        assert!(none.contains("there are: 0 "), "{none}");
        let parameter = set(&chain, "1", "Depth", "1").unwrap_err().to_string();
        assert!(
            parameter.contains("has no parameter \"Depth\"; there are: ")
                && parameter.contains(threshold.name),
            "{parameter}"
        );
        assert!(set(&chain, "1", threshold.name, "loud").is_err());
        let level = set(&chain, "parallel", "Level of branch 2", "-6 dB").unwrap();
        assert_eq!(level, Edit::Set { effect: 3, parameter: 1, value: -6.0 });
        assert!(set(&chain, "parallel", "Level of branch 3", "-6 dB").is_err());
        assert_eq!(
            set(&chain, "2", "77", "0.25").unwrap(),
            Edit::Set { effect: 2, parameter: 77, value: 0.25 }
        );
        assert!(set(&chain, "2", "77", "nan").is_err());
    }

    #[test]
    fn a_chain_is_shown_with_every_value() {
        let status = json!({ "name": "Vocals", "owner": "Ada\u{1b}[2J" });
        let text = shown(&status, &chain());
        assert!(text.starts_with("\"Vocals\" of \"Ada\u{fffd}[2J\"\n  0  "), "{text}");
        assert!(text.contains("\n  3  Parallel\n      Level of branch 1: "), "{text}");
        assert!(text.contains("\n        4  Compressor\n"), "{text}");
        let threshold = &audiocloud_engine::effects::kind("compressor").unwrap().parameters[0];
        assert!(
            text.contains(&format!("{}: {}\n", threshold.name, threshold.to_text(threshold.default))),
            "{text}"
        );
    }

    #[test]
    fn each_chain_is_listed_once_as_its_owner_tells_it() {
        let chain = |id: &str, local: bool| json!({ "chain": id, "name": "Vocals", "owner": "Ada", "local": local, "node": "ab".repeat(32), "document": {} });
        let node = json!({ "device": "ab".repeat(32), "name": "Rack" });
        let runtimes = [
            json!({ "chains": [chain("aa/0123456789", false)], "nodes": [node] }),
            json!({ "chains": [chain("aa/0123456789", true), chain("aa/9876543210", false)] }),
        ];
        let known = known(&runtimes);
        assert_eq!(known.iter().map(|chain| chain["local"] == true).collect::<Vec<_>>(), [true, false]);
        assert_eq!(
            words(&known, &runtimes).lines().next(),
            Some("\"Vocals\" of \"Ada\" (01234567)  on \"Rack\"")
        );
        assert!(words(&[], &[]).contains("Remote FX"));
    }
}
