//! What stands behind Details: facts and counters, each with the part of the house that owns it.

use std::borrow::Cow;

use egui::{Grid, RichText, Ui};

use super::theme;

/// One line of Details.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// What is counted or said, as "Blocks lost: network".
    pub name: Cow<'static, str>,
    /// Its value with its unit.
    pub value: Cow<'static, str>,
    /// What it means and whose business it is; shown when the pointer rests on the line, and read by screen readers.
    pub meaning: Cow<'static, str>,
}

impl Detail {
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
        meaning: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { name: name.into(), value: value.into(), meaning: meaning.into() }
    }
}

