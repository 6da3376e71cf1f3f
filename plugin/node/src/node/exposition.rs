//! Figures in the text format that Prometheus reads, version 0.0.4.

use std::fmt::{Display, Write};

/// What the answer's type is.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of figure a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As it is now.
    Gauge,
    /// Since the process began; only grows.
    Counter,
}

/// A page of families, each with its samples.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

/// One family, to be filled.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    page: &'a mut String,
    name: &'a str,
}

impl Page {
    /// Begins a family. `name` is of letters, digits and underscores, and ends in its unit; a counter's in `_total`.
    pub(crate) fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string cannot fail.
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
        Family { page: &mut self.0, name }
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// One sample, told apart from its siblings by its labels.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.page.push_str(self.name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            write!(self.page, "{before}{label}=\"{}\"", escaped(text)).ok();
        }
        let close = if labels.is_empty() { "" } else { "}" };
        writeln!(self.page, "{close} {value}").ok();
        self
    }
}

/// Names come from other people's machines, and must not end the line that they stand on.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_as_prometheus_reads_it() {
        let mut page = Page::default();
        page.family("a_chains", Kind::Gauge, "How many\nrun.").sample(&[], 3);
        page.family("a_load_ratio", Kind::Gauge, "Load.")
            .sample(&[("chain", "Vocal \"dry\"\\\nx"), ("of", "p999")], 0.25)
            .sample(&[("chain", "b"), ("of", "mean")], 0.5);
        page.family("a_blocks_total", Kind::Counter, "Blocks.").sample(&[], u64::MAX);
        let expected = "# HELP a_chains How many\\nrun.\n# TYPE a_chains gauge\na_chains 3\n\
            # HELP a_load_ratio Load.\n# TYPE a_load_ratio gauge\n\
            a_load_ratio{chain=\"Vocal \\\"dry\\\"\\\\\\nx\",of=\"p999\"} 0.25\n\
            a_load_ratio{chain=\"b\",of=\"mean\"} 0.5\n\
            # HELP a_blocks_total Blocks.\n# TYPE a_blocks_total counter\na_blocks_total 18446744073709551615\n";
        assert_eq!(page.into_text(), expected);
    }
}
