//! What `audiocloud node` can be told.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct NodeArguments {
    /// Introduces members of a session to each other
    #[arg(long)]
    pub(crate) rendezvous: bool,
    /// Forwards sealed packets between members whose networks let nothing else through
    #[arg(long)]
    pub(crate) relay: bool,
    /// Takes the relay's packets by TLS over TCP here too, such as [::]:443
    #[arg(long, value_name = "ADDRESS", requires = "relay")]
    pub(crate) tcp: Option<SocketAddr>,
    /// UDP address and port, instead of that of config.toml
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Option<SocketAddr>,
    /// Speaks PTP (IEEE 1588) on this network interface, such as eth0: takes the network's time, or gives it a session's
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) ptp: Option<String>,
    /// The PTP domain, 0 to 127
    #[arg(long, value_name = "N", requires = "ptp", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..128))]
    pub(crate) ptp_domain: u8,
    /// Takes the time (slave), gives it (master), or as the best master clock algorithm says
    #[arg(long, value_name = "ROLE", requires = "ptp", value_enum, default_value_t = PtpRole::Auto)]
    pub(crate) ptp_role: PtpRole,
    /// What it does and how much of it, instead of node.toml in the configuration folder
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// Runs no chains of effects for others
    #[arg(long)]
    pub(crate) no_host: bool,
    /// Where figures (/metrics, for Prometheus) and health (/healthz) are read, or `off` [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<String>,
    /// Logs a JSON object a line
    #[arg(long)]
    pub(crate) log_json: bool,
    /// Where it is, as one JSON document, then nothing more
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PtpRole {
    #[default]
    Auto,
    Slave,
    Master,
}

/// As an empty command line has it.
#[cfg(test)]
impl Default for NodeArguments {
    fn default() -> Self {
        Self {
            rendezvous: false,
            relay: false,
            tcp: None,
            bind: None,
            ptp: None,
            ptp_domain: 0,
            ptp_role: PtpRole::Auto,
            settings: None,
            no_host: false,
            metrics: None,
            log_json: false,
            json: false,
        }
    }
}
