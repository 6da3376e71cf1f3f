//! `audiocloud session state` and `chat`: what the members of a session share.

use std::fmt::Write;
use std::io::Read;

use anyhow::{Context, bail};
use audiocloud_net::membership::shared::{Edit, EditError, NOTES_BYTES_MAX, PRESET_BYTES_MAX, View, Written};
use audiocloud_net::runtime::calendar::utc;
use audiocloud_net::runtime::sessions::{Error, Membership, Store, acts};
use audiocloud_net::runtime::{Config, control};
use audiocloud_net::wire::id::StreamKey;
use serde_json::{Value, json};

use super::{Names, and_more, called, chosen, names, nothing_else, print_bytes_written};
use crate::arguments::{PresetCommand, SceneCommand, Setting, StateCommand, Which};
use crate::field::clean;
use crate::output::answer;
use crate::{choice, words};

pub(super) fn run(config: &Config, command: Option<StateCommand>, which: &Which) -> anyhow::Result<()> {
    let membership = chosen(config, which)?;
    let edit = match command {
        None | Some(StateCommand::Show) => return show(config, &membership, which.json),
        Some(StateCommand::Preset(PresetCommand::Get { name, file })) => {
            return write_preset(config, &membership, &name, &file);
        }
        Some(StateCommand::Set { what, value }) => setting(what, &value.join(" "))?,
        Some(StateCommand::Scene(command)) => scene(config, command)?,
        Some(StateCommand::Preset(PresetCommand::Put { name, file })) => {
            Edit::Preset { name, bytes: read(std::fs::File::open(&file), PRESET_BYTES_MAX, &file.display())? }
        }
        Some(StateCommand::Preset(PresetCommand::Remove { name })) => Edit::RemovePreset(name),
    };
    make(config, &membership, edit)?;
    show(config, &membership, which.json)
}

/// What is so already is no failure.
fn make(config: &Config, membership: &Membership, edit: Edit) -> anyhow::Result<()> {
    match acts::edit(config, &membership.session, edit) {
        Ok(_) | Err(Error::Edit(EditError::Unchanged)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn setting(what: Setting, value: &str) -> anyhow::Result<Edit> {
    if value.is_empty() {
        bail!("to what? For example `set tempo 120`, `set key A minor`, `set loop 8-16`");
    }
    Ok(match what {
        Setting::Tempo => match value.trim_end_matches("bpm").trim().parse() {
            Ok(bpm) => Edit::Tempo(bpm),
            Err(_) => bail!(
                "\"{}\" is no tempo; a tempo is a number of beats per minute, such as 120",
                clean(value)
            ),
        },
        Setting::Key => Edit::Key(value.to_owned()),
        Setting::Scale => Edit::Scale(value.to_owned()),
        Setting::Loop if value == "off" => Edit::Loop(None),
        Setting::Loop => {
            let range = value
                .split_once('-')
                .and_then(|(from, to)| Some((from.trim().parse().ok()?, to.trim().parse().ok()?)));
            match range {
                Some(range) => Edit::Loop(Some(range)),
                None => bail!("\"{}\" is no loop; a loop is two beats, such as 8-16, or off", clean(value)),
            }
        }
        Setting::Notes if value == "-" => {
            let bytes = read(Ok(std::io::stdin()), NOTES_BYTES_MAX, &"standard input")?;
            Edit::Notes(String::from_utf8(bytes).context("the notes are no text in UTF-8; convert them")?)
        }
        Setting::Notes => Edit::Notes(value.to_owned()),
    })
}

/// All of it, and one byte more of what is too long: the edit then says so.
fn read(
    from: std::io::Result<impl Read>,
    bytes_max: usize,
    what: &dyn std::fmt::Display,
) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    from.and_then(|from| from.take(most).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {what}; give a file that you can read"))?;
    Ok(bytes)
}

fn scene(config: &Config, command: SceneCommand) -> anyhow::Result<Edit> {
    Ok(match command {
        SceneCommand::Put { name, stream, chain } => {
            let known = if stream.is_empty() {
                Vec::new()
            } else {
                words::reachable(&control::query_all(&config.runtime_dir))
            };
            let streams = stream.iter().map(|text| choice::stream(&known, text));
            Edit::Scene { name, streams: streams.collect::<anyhow::Result<_>>()?, chains: chain }
        }
        SceneCommand::Remove { name } => Edit::RemoveScene(name),
        SceneCommand::On { name } => Edit::ActivateScene(Some(name)),
        SceneCommand::Off => Edit::ActivateScene(None),
    })
}

fn write_preset(
    config: &Config,
    membership: &Membership,
    name: &str,
    file: &std::path::Path,
) -> anyhow::Result<()> {
    let view = acts::view(config, &membership.session)?;
    let Some(preset) = view.presets.get(name) else {
        let known: Vec<String> = view.presets.keys().map(|name| clean(name)).collect();
        bail!("{} has no preset \"{}\"; it has: {}", called(membership), clean(name), known.join(", "));
    };
    std::fs::write(file, &preset.value)
        .with_context(|| format!("cannot write {}; name a file in a folder that is yours", file.display()))?;
    print_bytes_written(name, preset.value.len())
}

fn show(config: &Config, membership: &Membership, json: bool) -> anyhow::Result<()> {
    let view = acts::view(config, &membership.session)?;
    let names = names(&Store::new(&config.config_dir))?;
    let words =
        format!("{}\n{}", called(membership), nothing_else(state_words(&view, &names), "  nothing is set\n"));
    let mut state = serde_json::to_value(&view)?;
    // The chat has a command of its own.
    if let Some(fields) = state.as_object_mut() {
        fields.remove("chat");
    }
    answer(json, &json!({ "session": membership.session, "state": state }), &words)
}

fn state_words(view: &View, names: &Names) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: String, by: Value| {
        let by = by.as_str().map_or(String::new(), |by| format!("   ({by})"));
        // Writing to a string cannot fail.
        writeln!(text, "  {what:<7} {value}{by}").ok();
    };
    if let Some(key) = &view.key {
        line("key", clean(&key.value), author(key, names));
    }
    if let Some(scale) = &view.scale {
        line("scale", clean(&scale.value), author(scale, names));
    }
    if let Some(tempo) = &view.tempo_bpm {
        line("tempo", format!("{} bpm", tempo.value), author(tempo, names));
    }
    if let Some(looped) = &view.loop_beats {
        let range = looped.value.map_or("off".to_owned(), |(from, to)| format!("beats {from} to {to}"));
        line("loop", range, author(looped, names));
    }
    let active = view.active_scene.as_ref().and_then(|scene| scene.value.as_ref());
    for (name, scene) in &view.scenes {
        let is_on = if active == Some(name) { "on: " } else { "" };
        let parts =
            scene.value.streams.iter().map(StreamKey::to_string).chain(scene.value.chains.iter().cloned());
        let parts: Vec<String> = parts.map(|part| clean(&part)).collect();
        line("scene", format!("{is_on}\"{}\": {}", clean(name), parts.join(", ")), author(scene, names));
    }
    for (name, preset) in &view.presets {
        line("preset", format!("\"{}\", {} bytes", clean(name), preset.value.len()), author(preset, names));
    }
    if !view.notes.is_empty() {
        let by = view.notes_by.as_ref().map_or(Value::Null, |notes| author(notes, names));
        line("notes", String::new(), by);
        for note in view.notes.lines() {
            line("", clean(note), Value::Null);
        }
    }
    if view.unknown > 0 {
        let update = format!("{} of a newer audiocloud: update this one to see them", view.unknown);
        line("changes", update, Value::Null);
    }
    text
}

fn author<T>(written: &Written<T>, names: &Names) -> Value {
    format!("{}, {}", names.user(&written.by), utc(written.at_ms / 1000)).into()
}

pub(super) fn chat(config: &Config, text: &str, lines: usize, which: &Which) -> anyhow::Result<()> {
    let membership = chosen(config, which)?;
    if !text.trim().is_empty() {
        make(config, &membership, Edit::Chat(text.to_owned()))?;
    }
    let view = acts::view(config, &membership.session)?;
    let names = names(&Store::new(&config.config_dir))?;
    let from = view.chat.len().saturating_sub(lines);
    let shown: Vec<&Written<String>> = view.chat.iter().skip(from).collect();
    let said: String = shown.iter().map(|line| chat_line(line, &names)).collect();
    let words = format!(
        "{}{}",
        and_more(view.chat.len(), shown.len()),
        nothing_else(said, "Nobody has said anything yet.\n")
    );
    let value: Vec<Value> = shown
        .iter()
        .map(|line| json!({ "text": line.value, "by": line.by, "name": names.user(&line.by), "at_ms": line.at_ms }))
        .collect();
    answer(which.json, &json!({ "session": membership.session, "chat": value }), &words)
}

fn chat_line(line: &Written<String>, names: &Names) -> String {
    format!("{}  {}: {}\n", utc(line.at_ms / 1000), names.user(&line.by), clean(&line.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_net::wire::id::UserId;

    fn by<T>(value: T) -> Written<T> {
        Written { value, by: UserId([1; 32]), at_ms: 951_782_400_000 }
    }

    #[test]
    fn settings_are_read_as_people_write_them() {
        let check = |what, text: &str, expected: Option<Edit>| {
            assert_eq!(setting(what, text).ok(), expected, "{text}")
        };
        check(Setting::Tempo, "120", Some(Edit::Tempo(120.0)));
        check(Setting::Tempo, "92.5 bpm", Some(Edit::Tempo(92.5)));
        check(Setting::Tempo, "fast", None);
        check(Setting::Key, "A minor", Some(Edit::Key("A minor".to_owned())));
        check(Setting::Loop, "8-16.5", Some(Edit::Loop(Some((8.0, 16.5)))));
        check(Setting::Loop, "off", Some(Edit::Loop(None)));
        check(Setting::Loop, "8", None);
        check(Setting::Notes, "", None);
    }

    #[test]
    fn the_state_shows_who_wrote_what() {
        let mut view =
            View { tempo_bpm: Some(by(120.0)), loop_beats: Some(by(Some((8.0, 16.0)))), ..View::default() };
        view.active_scene = Some(by(Some("Verse".to_owned())));
        view.scenes.insert("Verse".to_owned(), by(audiocloud_net::membership::shared::Scene::default()));
        view.notes = "one\n\u{1b}two".to_owned();
        let names = Names { users: vec![(UserId([1; 32]), "Ada".to_owned())], ..Names::default() };
        let words = state_words(&view, &names);
        let lines: Vec<&str> = words.lines().collect();
        assert_eq!(lines[0], "  tempo   120 bpm   (Ada, 2000-02-29 00:00 UTC)");
        assert_eq!(lines[1], "  loop    beats 8 to 16   (Ada, 2000-02-29 00:00 UTC)");
        assert!(lines[2].starts_with("  scene   on: \"Verse\": "), "{words}");
        assert_eq!(lines[5], "          \u{fffd}two");
        assert_eq!(chat_line(&by("hello".to_owned()), &names), "2000-02-29 00:00 UTC  Ada: hello\n");
    }
}
