//! Rules on the text of our own files: lengths, words, attributes, the places of `unsafe`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Past this a file has a second noun in it.
const LINES_ADVISED: usize = 600;
/// Past this it is an error.
const LINES_MAX: usize = 700;

/// Where `unsafe` may stand: the crate that threads share, and the borders to C and to hosts.
const UNSAFE: &[&str] = &[
    "engine/rt/",
    // Kernels for wider vector registers than the target's baseline.
    "engine/dsp/src/biquad/lanes",
    "engine/dsp/src/ramp.rs",
    // The border to libopus.
    "net/codec/src/opus/libopus.rs",
    // Memory that two processes share, what happens between fork and exec, descriptors that a child inherits, and the
    // loading of foreign libraries.
    "engine/host/src/memory.rs",
    "engine/host/src/program.rs",
    "engine/host/src/sandbox.rs",
    "engine/host/src/sandbox/instance.rs",
    // The plug-in's side of CLAP, for tests.
    "engine/host/misbehaving/",
    // Keeps the library loaded, through the system's loader.
    "plugin/instance/src/pin.rs",
    // Promises Tokio that a watched descriptor stays open.
    "net/runtime/src/readiness.rs",
    // The border to JACK's library and ALSA's, which are looked for at run time.
    "net/runtime/src/bridge/midi/",
    // The border to JACK's library, likewise.
    "plugin/node/src/device/jack.rs",
    // The host's side of nice-plug, played by the test.
    "plugin/suite/tests/one_process/",
    // The host's side of CLAP.
    "tests/rig/",
    // An allocator that counts.
    "tests/fuzz/fuzz_targets/",
    // A kernel for wider vector registers than the target's baseline.
    "tests/bench/src/engine/limits.rs",
    // Packet sockets, and the scheduling of the thread that forwards frames.
    "tests/bench/src/streams/packet_socket.rs",
];

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: &[&str] = &["common", "util", "utils", "helper", "helpers", "manager", "misc"];

/// Words in Rust files that promise work instead of doing it. Each is in two parts lest this file complain of itself.
const UNFINISHED: &[(&str, &str)] =
    &[("#[ign", "ore"), ("todo", "!("), ("unimplemented", "!("), ("FIX", "ME"), ("XX", "X")];

/// Folders of one machine, which mean nothing on another.
const FOREIGN_PATHS: &[(&str, &str)] = &[("/wo", "rk/"), ("/ro", "ot/"), ("/tmp/", "t-")];

/// Complaints about every text file below `root`.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    visit(root, root, &mut complaints)?;
    complaints.sort();
    Ok(complaints)
}

fn visit(root: &Path, folder: &Path, complaints: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            // Hidden folders are git's and editors'; what is built is not ours to read.
            let hidden = name.starts_with('.') && !matches!(name, ".ci" | ".config" | ".cargo");
            if !(hidden || matches!(name, "target" | "out" | "corpus" | "artifacts" | "__pycache__")) {
                visit(root, &path, complaints)?;
            }
        } else if is_text(name) {
            let text =
                fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            complaints.extend(of_text(&relative, &text));
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    matches!(extension, "rs" | "toml" | "md" | "py" | "lua" | "sh" | "cddl" | "yml" | "yaml") || name == "run"
}

/// Complaints about one file, named by its path from the root.
fn of_text(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (a, b) in FOREIGN_PATHS {
        let word = format!("{a}{b}");
        complaints.extend(
            lines_with(text, &word).map(|line| format!("{path}:{line}: a path of one machine: {word}")),
        );
    }
    if path.ends_with("/Cargo.toml")
        && !text.contains("[workspace]")
        && !text.contains("[lints]\nworkspace = true")
    {
        complaints.push(format!("{path}: does not take the workspace's lints"));
    }
    let Some(module) = path.strip_suffix(".rs") else { return complaints };
    let lines = text.lines().count();
    if lines > LINES_MAX {
        complaints.push(format!("{path}: {lines} lines (look for the second noun past {LINES_ADVISED})"));
    }
    if EMPTY_NAMES.contains(&module.rsplit('/').next().unwrap_or_default()) {
        complaints.push(format!("{path}: a name that says nothing"));
    }
    for (a, b) in UNFINISHED {
        let word = format!("{a}{b}");
        complaints.extend(lines_with(text, &word).map(|line| format!("{path}:{line}: {word}")));
    }
    if module.ends_with("src/lib") && !text.starts_with("//!") {
        complaints.push(format!("{path}: does not open with what the crate does"));
    }
    complaints.extend(unreasoned(text).map(|line| format!("{path}:{line}: an allow without a reason")));
    if !UNSAFE.iter().any(|place| path.starts_with(place)) {
        complaints.extend(unsafe_lines(text).map(|line| format!("{path}:{line}: unsafe has no place here")));
    }
    complaints
}

fn lines_with(text: &str, word: &str) -> impl Iterator<Item = usize> {
    let found = move |(index, line): (usize, &str)| line.contains(word).then_some(index + 1);
    text.lines().enumerate().filter_map(found).collect::<Vec<_>>().into_iter()
}

/// Lines on which an attribute lets a lint pass and does not say why.
fn unreasoned(text: &str) -> impl Iterator<Item = usize> {
    let starts = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if starts.iter().any(|start| code.starts_with(start)) {
            let offset: usize = text.lines().take(index).map(|line| line.len() + 1).sum();
            let attribute = &text[offset.min(text.len())..];
            let end = attribute.find(")]").unwrap_or(attribute.len());
            if !attribute[..end].contains("reason") {
                found.push(index + 1);
            }
        }
    }
    found.into_iter()
}

/// Lines with the keyword `unsafe`, outside of comments and of text in quotes.
fn unsafe_lines(text: &str) -> impl Iterator<Item = usize> {
    let keyword = ["uns", "afe"].concat();
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let unquoted: String = code.split('"').step_by(2).collect::<Vec<_>>().join(" ");
        let words = unquoted.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        if words.into_iter().any(|word| word == keyword) {
            found.push(index + 1);
        }
    }
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let check = |path: &str, text: &str, complaint: &str| {
            let found = of_text(path, text).join("\n");
            match complaint {
                "" => assert_eq!(found, "", "{path}: {text}"),
                expected => assert!(found.contains(expected), "{path}: {text}: {found}"),
            }
        };
        let word = |(a, b): (&str, &str)| format!("{a}{b}");
        check("a/src/lib.rs", "//! What it does.\n", "");
        check("a/src/lib.rs", "fn f() {}\n", "does not open");
        check("a/src/x.rs", "fn f() {}\n", "");
        check("a/src/util.rs", "", "says nothing");
        check("a/src/x.rs", &"\n".repeat(LINES_MAX), "");
        check("a/src/x.rs", &"\n".repeat(LINES_MAX + 1), "701 lines");
        check("a/src/x.rs", &word(UNFINISHED[0]), ":1: #[");
        check("a/src/x.rs", &format!("\n{}x\")", word(UNFINISHED[1])), ":2: ");
        check("a/README.md", &word(FOREIGN_PATHS[0]), "a path of one machine");
        check("a/Cargo.toml", "[package]\n[lints]\nworkspace = true\n", "");
        check("a/Cargo.toml", "[package]\n", "workspace's lints");
        check("a/README.md", "../shared/audio", "");
    }

    #[test]
    fn an_allow_says_why() {
        let check = |text: &str, expected: &[usize]| {
            assert_eq!(unreasoned(text).collect::<Vec<_>>(), expected, "{text}");
        };
        let allow = "allow";
        check(&format!("#[{allow}(clippy::x, reason = \"why\")]"), &[]);
        check(&format!("#[{allow}(\n    clippy::x,\n    reason = \"why\"\n)]\nfn f() {{}}"), &[]);
        check(&format!("\n#![{allow}(clippy::x)]"), &[2]);
        check(&format!("    #[{allow}(clippy::x)]\n// reason"), &[1]);
    }

    #[test]
    fn unsafe_has_its_places() {
        let keyword = ["uns", "afe"].concat();
        let block = format!("let x = {keyword} {{ f() }};");
        assert!(of_text("engine/rt/src/ring.rs", &block).is_empty());
        assert_eq!(of_text("engine/stream/src/x.rs", &block).len(), 1);
        let harmless = format!("// {keyword} in prose\nlet x = \"{keyword}\";\n#![forbid({keyword}_code)]\n");
        assert!(of_text("engine/stream/src/x.rs", &harmless).is_empty());
    }
}
