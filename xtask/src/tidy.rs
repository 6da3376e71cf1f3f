//! `cargo xtask tidy`: what no compiler checks. Each rule is a function from text to complaints.

mod floors;
mod licences;
mod metadata;
mod texts;

use anyhow::{Result, bail};

use self::metadata::Metadata;
use crate::{bench, cargo};

/// Runs every rule, prints every complaint, and fails when there is one.
pub(crate) fn run() -> Result<()> {
    let metadata = Metadata::of(&["--locked"])?;
    let mut complaints = floors::check(&metadata);
    complaints.extend(licences::check(&metadata));
    // A workspace of its own, whose dependencies are nobody else's.
    complaints.extend(licences::check(&Metadata::of(&["--locked", "--manifest-path", bench::MANIFEST])?));
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
