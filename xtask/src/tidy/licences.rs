//! Licences: every dependency, of any platform, can be had under one that we allow.

use super::metadata::{Metadata, Package};

/// What STYLE.md allows: permissive licences, MPL-2.0, and two for fonts.
const ALLOWED: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "0BSD",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "MPL-2.0",
    "Unicode-3.0",
    "CDLA-Permissive-2.0",
    "OFL-1.1",
    "Ubuntu-font-1.0",
];

/// Crates with another licence, each for a reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    // The Boost licence is permissive too. Both are the clipboard of nice-plug-egui on Windows, and in no other build.
    ("clipboard-win", "BSL-1.0"),
    ("error-code", "BSL-1.0"),
];

/// Complaints about dependencies that cannot be had under an allowed licence.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    metadata.dependencies().filter_map(complaint).collect()
}

fn complaint(package: &Package) -> Option<String> {
    let Package { name, version, .. } = package;
    let Some(licence) = package.license.as_deref() else {
        return Some(format!("{name} {version} states no licence"));
    };
    if EXCEPTIONS.contains(&(name.as_str(), licence)) {
        return None;
    }
    match permits(licence) {
        Some(true) => None,
        Some(false) => Some(format!("{name} {version} is under {licence}, which STYLE.md does not allow")),
        None => Some(format!("{name} {version}: `{licence}` is no licence expression")),
    }
}

/// Whether an SPDX expression can be fulfilled with allowed licences alone; nothing when it is not one.
fn permits(expression: &str) -> Option<bool> {
    // Until 2021 crates.io wrote OR as a slash.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let result = either(&mut words)?;
    words.next().is_none().then_some(result)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// `both OR both …` (SPDX annex D: AND binds closer than OR, WITH closer than both).
fn either(words: &mut Words<'_>) -> Option<bool> {
    let mut result = both(words)?;
    while words.next_if_eq(&"OR").is_some() {
        result |= both(words)?;
    }
    Some(result)
}

fn both(words: &mut Words<'_>) -> Option<bool> {
    let mut result = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        result &= one(words)?;
    }
    Some(result)
}

fn one(words: &mut Words<'_>) -> Option<bool> {
    match words.next()? {
        "(" => {
            let result = either(words)?;
            words.next_if_eq(&")").map(|_| result)
        }
        "OR" | "AND" | "WITH" | ")" => None,
        licence if words.next_if_eq(&"WITH").is_some() => {
            let exception = words.next()?;
            Some(ALLOWED.contains(&format!("{licence} WITH {exception}").as_str()))
        }
        licence => Some(ALLOWED.contains(&licence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let check = |expression: &str, expected: Option<bool>| {
            assert_eq!(permits(expression), expected, "{expression}");
        };
        check("MIT", Some(true));
        check("GPL-3.0-only", Some(false));
        check("MIT OR GPL-3.0-only", Some(true));
        check("MIT AND GPL-3.0-only", Some(false));
        check("GPL-3.0-only AND MIT OR ISC", Some(true));
        check("GPL-3.0-only AND (MIT OR ISC)", Some(false));
        check("(MIT OR Apache-2.0) AND OFL-1.1 AND Ubuntu-font-1.0", Some(true));
        check("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", Some(true));
        check("GPL-2.0-only WITH Classpath-exception-2.0", Some(false));
        check("MIT/Apache-2.0", Some(true));
        check("Unlicense / MIT", Some(true));
        check("", None);
        check("MIT OR", None);
        check("(MIT", None);
        check("MIT Apache-2.0", None);
        check("WITH MIT", None);
    }

    #[test]
    fn a_crate_is_named_with_its_licence_unless_excepted() {
        let package = |name: &str, license: Option<&str>| Package {
            name: name.to_owned(),
            version: "1.2.3".to_owned(),
            license: license.map(str::to_owned),
            ..Package::default()
        };
        let of = |name, license| complaint(&package(name, license)).unwrap_or_default();
        assert_eq!(of("a", Some("MIT")), "");
        assert_eq!(of("error-code", Some("BSL-1.0")), "");
        assert!(of("other", Some("BSL-1.0")).contains("other 1.2.3 is under BSL-1.0"));
        assert!(of("error-code", Some("GPL-3.0-only")).contains("GPL"));
        assert!(of("a", None).contains("no licence"));
    }
}
