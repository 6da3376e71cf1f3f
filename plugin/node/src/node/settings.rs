//! What whoever runs a node decides: `node.toml` in the configuration folder, and the command line over it.
//!
//! A file that is not there means the defaults. A node that serves others does not start on a mistaken one, for nobody
//! sits beside it to notice.
//!
//! ```toml
//! [host]
//! enabled = true              # runs chains of effects for who may: the user's own devices, members with the right `host`
//! chains_max = 64             # at once
//! load_max = 0.8              # of each core, all chains' 99.9th percentiles added up: beyond it a new one is refused
//! priority = 55               # of the workers (SCHED_FIFO), where the system permits it; 0: ordinary scheduling
//! plugins = true              # the CLAP plug-ins of this machine too, each in a process of its own
//! plugin_folders = ["/opt/clap"]   # looked through besides the usual ones
//! [metrics]
//! address = "127.0.0.1:9464"  # /metrics for Prometheus, /healthz for whoever watches; "off": neither
//! [log]
//! json = false                # a JSON object a line, on standard error
//! filter = "info"             # as AUDIOCLOUD_LOG, which comes before it
//! [drain]
//! seconds = 10                # how long chains are given to go elsewhere when the node is told to end
//! ```

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::arguments::NodeArguments;

/// The file's name.
pub(crate) const FILE: &str = "node.toml";
const FILE_BYTES_MAX: u64 = 1 << 20;
/// OpenTelemetry's usual one for Prometheus.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// What a node does, and how much of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) host: HostSettings,
    /// Where figures and health are served.
    pub(crate) metrics: Option<SocketAddr>,
    /// Whether the address was asked for: then a node without it is none.
    pub(crate) metrics_are_wanted: bool,
    pub(crate) log_json: bool,
    pub(crate) log_filter: String,
    pub(crate) drain_s: u32,
}

/// Of the chains that it runs for others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HostSettings {
    pub(crate) enabled: bool,
    pub(crate) chains_max: usize,
    /// A ratio of each core's time.
    pub(crate) load_max: f64,
    /// `SCHED_FIFO`, 1 to 99; 0: ordinary scheduling.
    pub(crate) priority: u8,
    pub(crate) plugins: bool,
    pub(crate) plugin_folders: Vec<PathBuf>,
}

impl Default for HostSettings {
    fn default() -> Self {
        let plugin_folders = Vec::new();
        Self { enabled: true, chains_max: 64, load_max: 0.8, priority: 55, plugins: true, plugin_folders }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    host: HostSettings,
    metrics: MetricsSettings,
    log: LogSettings,
    drain: DrainSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MetricsSettings {
    address: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogSettings {
    json: bool,
    filter: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DrainSettings {
    seconds: u32,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { seconds: 10 }
    }
}

impl Settings {
    /// What the file says, of this folder or as the command line names it, and the command line over it.
    ///
    /// # Errors
    /// The file is named but not there, cannot be read, or has a mistake: file, line, cause and remedy.
    pub(crate) fn load(config_dir: &Path, arguments: &NodeArguments) -> anyhow::Result<Self> {
        let path = arguments.settings.clone().unwrap_or_else(|| config_dir.join(FILE));
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && arguments.settings.is_none() => {
                String::new()
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let mut settings = Self::parse(&text).map_err(|(line, cause)| {
            let place = path.display();
            anyhow::anyhow!("{place}, line {line}: {cause}; correct the line or delete it to get the default")
        })?;
        if let Some(metrics) = &arguments.metrics {
            settings.metrics = address(metrics).map_err(anyhow::Error::msg)?;
            settings.metrics_are_wanted = true;
        }
        settings.log_json |= arguments.log_json;
        settings.host.enabled &= !arguments.no_host;
        Ok(settings)
    }

    /// Or the line of the first mistake, and what it is.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let file: File = toml::from_str(text).map_err(|error| {
            (line_of(text, error.span().map_or(0, |span| span.start)), error.message().replace('\n', " "))
        })?;
        let host = file.host;
        let line = |key: &str| {
            let is_it = |line: &str| {
                line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
            };
            text.lines().position(is_it).map_or(1, |index| index + 1)
        };
        let mistaken = |key: &str, cause: &str| Err((line(key), cause.to_owned()));
        if !(1..=1024).contains(&host.chains_max) {
            return mistaken("chains_max", "`chains_max` must be 1 to 1024");
        }
        if !(host.load_max > 0.0 && host.load_max <= 1.0) {
            return mistaken("load_max", "`load_max` must be above 0 and at most 1, such as 0.8");
        }
        if host.priority > 59 {
            return mistaken("priority", "`priority` must be 0 to 59, below that of the network thread (60)");
        }
        if file.drain.seconds > 3_600 {
            return mistaken("seconds", "`seconds` must be at most 3600");
        }
        let metrics = match &file.metrics.address {
            Some(text) => address(text).map_err(|cause| (line("address"), cause))?,
            None => Some(METRICS),
        };
        let log_filter = file.log.filter.unwrap_or_else(|| "info".to_owned());
        if let Err(error) = log_filter.parse::<tracing_subscriber::EnvFilter>() {
            return Err((line("filter"), format!("`filter` is no log filter: {error}")));
        }
        Ok(Self {
            host,
            metrics,
            metrics_are_wanted: file.metrics.address.is_some(),
            log_json: file.log.json,
            log_filter,
            drain_s: file.drain.seconds,
        })
    }
}

/// An address and a port, or none for `off`.
fn address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    let remedy =
        "the metrics' address must be an IP address and a port, such as \"127.0.0.1:9464\", or \"off\"";
    text.parse().map(Some).map_err(|_| remedy.to_owned())
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn read(path: &Path) -> anyhow::Result<String, io::Error> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    io::Read::read_to_string(&mut io::Read::take(file, FILE_BYTES_MAX), &mut text)?;
    Ok(text)
}

/// The folders of plug-ins must be there: a mistyped one would be found out by nobody.
pub(crate) fn check_folders(folders: &[PathBuf]) -> anyhow::Result<()> {
    match folders.iter().find(|folder| !folder.is_dir()) {
        Some(missing) => bail!(
            "the folder of plug-ins {} is not there; correct `plugin_folders` in {FILE}",
            missing.display()
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_means_the_defaults_and_an_empty_one_too() {
        let folder = tempfile::tempdir().unwrap();
        let loaded = Settings::load(folder.path(), &NodeArguments::default()).unwrap();
        assert_eq!(loaded, Settings::parse("").unwrap());
        assert_eq!(loaded.metrics, Some(METRICS));
        assert!(loaded.host.enabled && !loaded.metrics_are_wanted && !loaded.log_json);
        let named =
            NodeArguments { settings: Some(folder.path().join("none.toml")), ..NodeArguments::default() };
        assert!(Settings::load(folder.path(), &named).unwrap_err().to_string().contains("none.toml"));
    }

    #[test]
    fn every_setting_is_read_and_the_command_line_is_over_it() {
        let text = "[host]\nenabled = true\nchains_max = 3\nload_max = 0.5\npriority = 0\nplugins = false\n\
                    plugin_folders = [\"/opt/clap\"]\n[metrics]\naddress = \"[::1]:9000\"\n[log]\njson = true\n\
                    filter = \"audiocloud=debug\"\n[drain]\nseconds = 2\n";
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        let read = Settings::load(folder.path(), &NodeArguments::default()).unwrap();
        let host = HostSettings {
            enabled: true,
            chains_max: 3,
            load_max: 0.5,
            priority: 0,
            plugins: false,
            plugin_folders: vec!["/opt/clap".into()],
        };
        assert_eq!(read.host, host);
        assert_eq!((read.metrics, read.drain_s), (Some("[::1]:9000".parse().unwrap()), 2));
        assert!(read.log_json && read.log_filter == "audiocloud=debug");
        let over = NodeArguments { metrics: Some("off".into()), no_host: true, ..NodeArguments::default() };
        let over = Settings::load(folder.path(), &over).unwrap();
        assert_eq!((over.metrics, over.host.enabled), (None, false));
    }

    #[test]
    fn a_mistake_names_its_line() {
        let check = |text: &str, line: usize, needle: &str| {
            let (found, cause) = Settings::parse(text).unwrap_err();
            assert_eq!(found, line, "{text}: {cause}");
            assert!(cause.contains(needle), "{cause}");
        };
        check("[host]\nchain_max = 3", 2, "unknown field `chain_max`");
        check("[host]\n\nchains_max = 0", 3, "1 to 1024");
        check("[host]\nload_max = 1.5", 2, "at most 1");
        check("[host]\nload_max = nan", 2, "at most 1");
        check("[host]\npriority = 60", 2, "network thread");
        check("[metrics]\naddress = \"9464\"", 2, "or \"off\"");
        check("[log]\nfilter = \"a=b=c\"", 2, "no log filter");
        check("[drain]\nseconds = 99999", 2, "3600");
        check("[host", 1, "");
    }
}
