//! Floors: a crate of ours depends on lower floors alone, of any kind of dependency.

use super::metadata::{Metadata, Package};

/// Whom a crate may see, beyond the floors below its own.
#[derive(Clone, Copy)]
enum Sight {
    /// Every floor below.
    Below,
    /// These and no others.
    Only(&'static [&'static str]),
}

/// What `net` may see of `engine`, and of itself.
const NET: Sight = Sight::Only(&[
    "audiocloud-units",
    "audiocloud-rt",
    "audiocloud-wire",
    "audiocloud-codec",
    "audiocloud-session",
    "audiocloud-membership",
    "audiocloud-traversal",
    "audiocloud-clock",
    "audiocloud-link",
    "audiocloud-midi-clock",
    "audiocloud-osc",
    "audiocloud-runtime",
]);
/// What `engine` may see: itself.
const ENGINE: Sight = Sight::Only(&[
    "audiocloud-units",
    "audiocloud-rt",
    "audiocloud-dsp",
    "audiocloud-graph",
    "audiocloud-stream",
    "audiocloud-effects",
    "audiocloud-chain",
    "audiocloud-host",
]);
/// What hosts other people's plug-ins has some of its own for its tests.
const HOST: Sight = Sight::Only(&[
    "audiocloud-units",
    "audiocloud-rt",
    "audiocloud-dsp",
    "audiocloud-graph",
    "audiocloud-misbehaving",
]);
/// What a plug-in may see: the façades, and what all plug-ins share.
const PLUG_IN: Sight = Sight::Only(&["audiocloud-engine", "audiocloud-net", "audiocloud-instance"]);

/// What the one library may see: all plug-ins.
const SUITE: Sight = Sight::Only(&[
    "audiocloud-send",
    "audiocloud-receive",
    "audiocloud-clock-sync",
    "audiocloud-remote-fx",
    "audiocloud-instance",
]);

/// Every crate of the workspace and the floor that it stands on. ARCHITECTURE.md says why.
const FLOORS: &[(&str, u8, Sight)] = &[
    ("audiocloud-units", 0, ENGINE),
    ("audiocloud-rt", 1, ENGINE),
    ("audiocloud-dsp", 1, ENGINE),
    ("audiocloud-wire", 1, NET),
    ("audiocloud-graph", 2, ENGINE),
    ("audiocloud-effects", 2, ENGINE),
    ("audiocloud-codec", 2, NET),
    ("audiocloud-stream", 3, ENGINE),
    ("audiocloud-chain", 3, ENGINE),
    ("audiocloud-host", 3, HOST),
    // Plug-ins that break down, or the rules, on purpose, for the tests of who hosts them: they see none of ours.
    ("audiocloud-misbehaving", 2, Sight::Only(&[])),
    ("audiocloud-session", 3, NET),
    ("audiocloud-membership", 2, NET),
    ("audiocloud-traversal", 2, NET),
    ("audiocloud-clock", 2, NET),
    ("audiocloud-link", 3, NET),
    ("audiocloud-midi-clock", 3, NET),
    ("audiocloud-osc", 3, NET),
    ("audiocloud-runtime", 4, NET),
    ("audiocloud-engine", 5, ENGINE),
    ("audiocloud-net", 5, NET),
    ("audiocloud-instance", 6, PLUG_IN),
    ("audiocloud-send", 7, PLUG_IN),
    ("audiocloud-receive", 7, PLUG_IN),
    ("audiocloud-clock-sync", 7, PLUG_IN),
    ("audiocloud-remote-fx", 7, PLUG_IN),
    ("audiocloud-node", 7, PLUG_IN),
    ("audiocloud-suite", 8, SUITE),
    // The tools' floor has an order of its own: what measures and bundles, then what uses it.
    ("audiocloud-bundler", 9, Sight::Below),
    ("audiocloud-rig", 9, Sight::Below),
    ("audiocloud-sim", 9, Sight::Below),
    ("audiocloud-e2e", 10, Sight::Below),
    ("xtask", 10, Sight::Below),
];

fn place(name: &str) -> Option<(u8, Sight)> {
    FLOORS.iter().find(|(known, ..)| *known == name).map(|(_, floor, sight)| (*floor, *sight))
}

/// Complaints about crates that see what they must not.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    let names: Vec<&str> = metadata.members().map(|package| package.name.as_str()).collect();
    metadata.members().flat_map(|package| complaints(package, &names)).collect()
}

fn complaints(package: &Package, members: &[&str]) -> Vec<String> {
    let name = &package.name;
    let Some((floor, sight)) = place(name) else {
        return vec![format!(
            "{name}: has no floor (add it to the table of tidy/floors.rs and to ARCHITECTURE.md)"
        )];
    };
    let ours = package.dependencies.iter().map(|dependency| dependency.name.as_str());
    ours.filter(|dependency| members.contains(dependency) && dependency != name)
        .filter_map(|dependency| {
            let below = place(dependency)?.0;
            if below >= floor {
                Some(format!(
                    "{name} (floor {floor}) depends on {dependency} (floor {below}), which is not below it"
                ))
            } else if matches!(sight, Sight::Only(seen) if !seen.contains(&dependency)) {
                Some(format!("{name} must not see {dependency}"))
            } else {
                None
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::metadata::Dependency;
    use super::*;

    fn workspace(crates: &[(&str, &[&str])]) -> Metadata {
        let package = |(name, dependencies): &(&str, &[&str])| Package {
            name: (*name).to_owned(),
            id: format!("path+{name}"),
            dependencies: dependencies.iter().map(|name| Dependency { name: (*name).to_owned() }).collect(),
            ..Package::default()
        };
        Metadata {
            packages: crates.iter().map(package).collect(),
            workspace_members: crates.iter().map(|(name, _)| format!("path+{name}")).collect(),
        }
    }

    #[test]
    fn a_dependency_must_lead_down_and_be_in_sight() {
        let check = |name: &'static str, dependency: &'static str, complaint: &str| {
            let found = super::check(&workspace(&[(name, &[dependency]), (dependency, &[])]));
            match complaint {
                "" => assert!(found.is_empty(), "{name} on {dependency}: {found:?}"),
                text => assert!(found.iter().any(|c| c.contains(text)), "{name} on {dependency}: {found:?}"),
            }
        };
        check("audiocloud-stream", "audiocloud-rt", "");
        check("audiocloud-runtime", "audiocloud-units", "");
        check("audiocloud-suite", "audiocloud-send", "");
        check("xtask", "audiocloud-rig", "");
        check("audiocloud-rt", "audiocloud-stream", "not below");
        check("audiocloud-send", "audiocloud-receive", "not below");
        check("audiocloud-e2e", "xtask", "not below");
        check("audiocloud-runtime", "audiocloud-stream", "must not see");
        check("audiocloud-stream", "audiocloud-wire", "must not see");
        check("audiocloud-send", "audiocloud-rt", "must not see");
        check("audiocloud-suite", "audiocloud-net", "must not see");
        check("audiocloud-helpers", "audiocloud-rt", "has no floor");
    }

    #[test]
    fn others_dependencies_have_no_floor() {
        assert!(super::check(&workspace(&[("audiocloud-units", &["libm"])])).is_empty());
    }
}
