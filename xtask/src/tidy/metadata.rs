//! The part of `cargo metadata` that the rules read.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::cargo;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    pub(super) workspace_members: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) id: String,
    pub(super) license: Option<String>,
    pub(super) dependencies: Vec<Dependency>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
}

impl Metadata {
    /// What `cargo metadata` says when given these further arguments.
    pub(super) fn of(arguments: &[&str]) -> Result<Self> {
        let text = cargo::metadata_text(arguments)?;
        serde_json::from_slice(&text).context("cargo metadata is not what was expected")
    }

    /// The workspace's own packages.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Everyone else's.
    pub(super) fn dependencies(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| !self.workspace_members.contains(&package.id))
    }
}
