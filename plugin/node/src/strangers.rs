//! `audiocloud strangers` and `accept`: who knocks, and who may come in from now on.

use std::fmt::Write;

use anyhow::bail;
use audiocloud_net::runtime::sessions::Store;
use audiocloud_net::runtime::{Config, control};
use audiocloud_net::wire::id::UserId;
use serde_json::{Value, json};

use crate::arguments::{AcceptArguments, Form};
use crate::choice;
use crate::field::{clean, fingerprint, list, plain, quoted};
use crate::output::answer;

pub(crate) fn print_all(config: &Config, form: &Form) -> anyhow::Result<()> {
    let strangers = strangers(&control::query_all(&config.runtime_dir));
    let accepted = Store::new(&config.config_dir).accepted()?;
    let mut words = String::new();
    // Writing to a string cannot fail.
    for one in &strangers {
        let user = plain(one, "user");
        let key = if user.is_empty() {
            format!("device {}", fingerprint(one, "device"))
        } else {
            format!("user {}", fingerprint(one, "user"))
        };
        writeln!(
            words,
            "{}, {key}, at {}: {}",
            quoted(one, "name"),
            plain(one, "address"),
            plain(one, "why")
        )
        .ok();
    }
    if strangers.is_empty() {
        words += "Nobody unknown has tried to connect.\n";
    } else {
        words += "Compare the key with what `audiocloud identity` prints there, then `audiocloud accept` the user.\n";
    }
    for one in &accepted {
        writeln!(words, "accepted: {} ({})", clean(&one.name), one.user.short()).ok();
    }
    let accepted: Vec<Value> = accepted
        .iter()
        .map(|one| json!({ "user": one.user, "name": one.name, "at_ms": one.at_ms }))
        .collect();
    answer(form.json, &json!({ "strangers": strangers, "accepted": accepted }), &words)
}

/// Each once, whichever of our processes they knocked at.
fn strangers(runtimes: &[Value]) -> Vec<Value> {
    let mut all: Vec<Value> =
        runtimes.iter().flat_map(|runtime| list(runtime, "strangers")).cloned().collect();
    all.sort_by_key(|one| (plain(one, "user"), plain(one, "device")));
    all.dedup_by_key(|one| (plain(one, "user"), plain(one, "device")));
    all
}

pub(crate) fn accept(arguments: &AcceptArguments, config: &Config) -> anyhow::Result<()> {
    let store = Store::new(&config.config_dir);
    if arguments.forget {
        return forget(arguments, &store);
    }
    let (user, name) = match arguments.user.parse::<UserId>() {
        Ok(user) => (user, user.short().to_string()),
        Err(_) => {
            let mut known = strangers(&control::query_all(&config.runtime_dir));
            known.retain(|one| one["user"].is_string());
            // One who has several devices is one user.
            known.dedup_by_key(|one| plain(one, "user"));
            let stranger = choice::stranger(&known, &arguments.user)?;
            let Ok(user) = plain(stranger, "user").parse() else {
                bail!("the process that lists them is of another version; update audiocloud")
            };
            (user, plain(stranger, "name"))
        }
    };
    store.accept(&user, &name)?;
    let words = format!(
        "{} ({}) may connect from now on, and hears what you publish outside of sessions. `audiocloud accept --forget` takes \
         it back.\n",
        clean(&name),
        user.short()
    );
    answer(arguments.form.json, &json!({ "user": user, "name": name }), &words)
}

fn forget(arguments: &AcceptArguments, store: &Store) -> anyhow::Result<()> {
    let wanted = arguments.user.to_lowercase();
    let mut accepted = store.accepted()?;
    accepted.retain(|one| one.name.to_lowercase() == wanted || one.user.to_string().starts_with(&wanted));
    let [one] = &accepted[..] else {
        bail!(
            "{} of the accepted are called \"{}\"; `audiocloud strangers` shows them with their keys",
            if accepted.is_empty() { "none" } else { "several" },
            clean(&arguments.user)
        );
    };
    store.forget(&one.user)?;
    let words = format!("{} ({}) is a stranger again.\n", clean(&one.name), one.user.short());
    answer(arguments.form.json, &json!({ "user": one.user, "name": one.name, "accepted": false }), &words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knocks_at_two_processes_is_one_stranger() {
        let knocks =
            |user: Option<&str>, device: &str| json!({"user": user, "device": device, "name": "Ada"});
        let runtimes = [
            json!({"strangers": [knocks(Some("aa"), "01"), knocks(None, "02")]}),
            json!({"strangers": [knocks(Some("aa"), "01")]}),
        ];
        assert_eq!(strangers(&runtimes).len(), 2);
    }
}
