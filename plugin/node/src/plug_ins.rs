//! `audiocloud plug-ins`: the CLAP plug-ins that this machine's node can play for others, and those that may not be
//! loaded because they crashed.

use std::path::Path;

use audiocloud_engine::host::library::Library;
use serde_json::{Value, json};

use crate::arguments::{PlugInsArguments, PlugInsCommand};
use crate::field::{clean, counted, list, plain};
use crate::host::library;
use crate::output::answer;

pub(crate) fn run(arguments: &PlugInsArguments, config_dir: &Path) -> anyhow::Result<()> {
    let library = library(config_dir)?;
    if let Some(PlugInsCommand::Release { what }) = &arguments.command {
        let released = library.release(what)?;
        anyhow::ensure!(released > 0, "{what:?} is not in quarantine; `audiocloud plug-ins` shows what is");
        let words = format!("{} released; a running node loads it with the next chain.\n", clean(what));
        return answer(arguments.json, &json!({ "released": released }), &words);
    }
    let known = known(&library);
    answer(arguments.json, &known, &words(&known))
}

fn known(library: &Library) -> Value {
    let plug_ins: Vec<Value> = library
        .plugins()
        .into_iter()
        .map(|found| {
            let listed = found.listed;
            json!({ "id": listed.id, "name": listed.name, "vendor": listed.vendor, "version": listed.version, "path": found.path })
        })
        .collect();
    let quarantined: Vec<Value> = library
        .quarantined()
        .into_iter()
        .map(|held| json!({ "id": held.id, "path": held.path, "why": held.words, "at_s": held.at_s }))
        .collect();
    json!({ "plug_ins": plug_ins, "quarantined": quarantined })
}

fn words(known: &Value) -> String {
    let (plug_ins, quarantined) = (list(known, "plug_ins"), list(known, "quarantined"));
    let mut said: String = plug_ins
        .iter()
        .map(|one| {
            format!("{:30} {:20} clap:{}\n", plain(one, "name"), plain(one, "vendor"), plain(one, "id"))
        })
        .collect();
    if plug_ins.is_empty() {
        said += "No CLAP plug-in is known. `audiocloud node` looks for them when it starts.\n";
    }
    if !quarantined.is_empty() {
        let count = u64::try_from(quarantined.len()).unwrap_or(u64::MAX);
        said += &format!("\nIn quarantine, {}:\n", counted(count, "entry", "entries"));
        for held in quarantined {
            let name = if held["id"].is_string() { plain(held, "id") } else { plain(held, "path") };
            said += &format!("{name}  {}\n", plain(held, "why"));
        }
        said += "Each is loaded again when its file changes, or after `audiocloud plug-ins release ID`.\n";
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_named_with_the_remedy() {
        let known = json!({
            "plug_ins": [{ "id": "org.example.room", "name": "Room", "vendor": "Example" }],
            "quarantined": [
                { "id": "org.example.hall", "path": "/p/hall.clap", "why": "crashed (SIGSEGV)" },
                { "id": null, "path": "/p/\u{1b}[2Jbad.clap", "why": "hung" },
            ],
        });
        let said = words(&known);
        assert!(said.contains("clap:org.example.room"), "{said}");
        assert!(said.contains("2 entries") && said.contains("org.example.hall  crashed (SIGSEGV)"), "{said}");
        assert!(said.contains("plug-ins release ID") && !said.contains('\u{1b}'), "{said}");
        assert!(words(&json!({})).starts_with("No CLAP plug-in"));
    }

    #[test]
    fn what_is_not_held_cannot_be_released() {
        let folder = tempfile::tempdir().unwrap();
        let release = |what: &str| {
            let command = Some(PlugInsCommand::Release { what: what.to_owned() });
            run(&PlugInsArguments { command, json: true }, folder.path())
        };
        assert!(release("org.example.hall").unwrap_err().to_string().contains("not in quarantine"));
        let file = folder.path().join("hall.clap");
        std::fs::write(&file, "").unwrap();
        library(folder.path()).unwrap().quarantine(&file, Some("org.example.hall"), "crashed");
        release("org.example.hall").unwrap();
        assert!(library(folder.path()).unwrap().quarantined().is_empty());
    }
}
