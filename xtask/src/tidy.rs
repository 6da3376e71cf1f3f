//! `cargo xtask tidy`: what no compiler checks. Each rule is a function from text to complaints.

mod floors;
mod licences;
mod metadata;
mod texts;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// Runs every rule, prints every complaint, and fails when there is one.
pub(crate) fn run() -> Result<()> {
    let text = cargo::metadata_text(&["--locked"])?;
    let metadata: metadata::Metadata =
        serde_json::from_slice(&text).context("cargo metadata is not what was expected")?;
    let mut complaints = floors::check(&metadata);
    complaints.extend(licences::check(&metadata));
    complaints.extend(texts::check(cargo::root())?);
    for complaint in &complaints {
        println!("{complaint}");
    }
    match complaints.len() {
        0 => {
            println!("tidy: {} packages, floors, licences and texts in order", metadata.packages.len());
            Ok(())
        }
        count => bail!("tidy has {count} complaints"),
    }
}
