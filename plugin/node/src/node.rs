//! `audiocloud node`: a runtime without a DAW, until it is told to end.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use audiocloud_net::clock::ptp;
use audiocloud_net::runtime::clock::{PtpConfig, PtpPort};
use audiocloud_net::runtime::config::Serve;
use audiocloud_net::runtime::sessions::Store;
use audiocloud_net::runtime::{Config, Handle, Runtime};
use serde_json::{Value, json};

use crate::arguments::{NodeArguments, PtpRole};
use crate::output::{print, print_json};

/// Where others expect a node, unless it is told otherwise: a port that may change would be of no use in a link.
const PORT: u16 = 4720;
/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(crate) fn run(arguments: &NodeArguments, config: Config) -> anyhow::Result<()> {
    let config = configured(arguments, config);
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start an event loop")?;
    // Before it says that it is there: who reads that may end it at once.
    let mut end = ended.block_on(async { End::new() }).context("cannot wait for the signal to end")?;
    let handle = Runtime::acquire_with(config.clone())?;
    let ptp = arguments.ptp.as_ref().map(|interface| {
        let role = match arguments.ptp_role {
            PtpRole::Auto => ptp::Role::Auto,
            PtpRole::Slave => ptp::Role::Slave,
            PtpRole::Master => ptp::Role::Master,
        };
        let config = PtpConfig { interface: interface.clone(), domain: arguments.ptp_domain, role };
        PtpPort::start(&handle, config)
    });
    // Whoever asks for it wants no node without it.
    let ptp = ptp.transpose()?;
    let place = place(&handle, &config);
    // Standard output may be closed: a node goes on without.
    let told = if arguments.json { print_json(&place) } else { print(&words(&place, &config)) };
    told?;
    ended.block_on(async {
        let mut shown = 0;
        loop {
            tokio::select! {
                () = end.come() => break,
                () = tokio::time::sleep(LOOK_EVERY) => shown = show_log(&handle, shown),
            }
        }
    });
    drop((ptp, handle));
    Ok(())
}

/// What config.toml says, and the command line over it.
fn configured(arguments: &NodeArguments, mut config: Config) -> Config {
    let from_file = config.serve.unwrap_or_default();
    let serve = Serve {
        rendezvous: arguments.rendezvous || from_file.rendezvous,
        relay: arguments.relay || from_file.relay,
        tcp: arguments.tcp.or(from_file.tcp),
    };
    let serves = serve.rendezvous || serve.relay;
    config.serve = serves.then_some(serve);
    config.is_node = true;
    match arguments.bind {
        Some(bind) => config.bind = bind,
        None if serves && config.bind.port() == 0 => config.bind.set_port(PORT),
        None => {}
    }
    config
}

/// Where others find it.
fn place(handle: &Handle, config: &Config) -> Value {
    let (port, tcp) = (handle.port(), handle.tunnel_port());
    let serve = config.serve.unwrap_or_default();
    let tls = tcp.map_or(String::new(), |port| format!(",tcp={port}"));
    // Its addresses as far as it has found them out; a name that others can look up is its user's to know.
    let known = Store::new(&config.config_dir).own_places().unwrap_or_default();
    let mut hosts: Vec<String> = known.iter().map(|place| place.address.to_string()).collect();
    if hosts.is_empty() {
        let bound = config.bind.ip();
        let host = if bound.is_unspecified() { config.name.clone() } else { bracketed(bound) };
        hosts.push(format!("{host}:{port}"));
    }
    let meeting: Vec<String> = hosts.iter().map(|host| format!("{host}={}{tls}", handle.device())).collect();
    json!({
        "name": config.name,
        "pid": std::process::id(),
        "device": handle.device(),
        "user": handle.user(),
        "port": port,
        "tcp_port": tcp,
        "rendezvous": serve.rendezvous,
        "relay": serve.relay,
        "meeting": if serve.rendezvous { meeting } else { Vec::new() },
    })
}

fn bracketed(ip: std::net::IpAddr) -> String {
    let address = SocketAddr::new(ip, 0).to_string();
    address.strip_suffix(":0").unwrap_or(&address).to_owned()
}

fn words(place: &Value, config: &Config) -> String {
    let serve = config.serve.unwrap_or_default();
    let does = match (serve.rendezvous, serve.relay) {
        (true, true) => "introduces members of sessions to each other and relays for them",
        (true, false) => "introduces members of sessions to each other",
        (false, true) => "relays for members of sessions",
        (false, false) => "takes part in your sessions",
    };
    let tcp = place["tcp_port"].as_u64().map_or(String::new(), |port| format!(", TCP port {port}"));
    let mut text = format!(
        "This node {does}.\n  device  {}\n  port    UDP {}{tcp}\n",
        place["device"].as_str().unwrap_or_default(),
        place["port"].as_u64().unwrap_or(0),
    );
    if let Some(first) = place["meeting"][0].as_str() {
        text += "Found a session that meets here (put a name or address that others reach in place of the host):\n  ";
        text += &format!("audiocloud session create NAME --meeting {first}\n");
    }
    text + "It runs until it is ended (Ctrl-C).\n"
}

/// Prints what is new in the log on standard error; returns how many lines are shown by now.
fn show_log(handle: &Handle, shown: usize) -> usize {
    let lines = handle.events_log();
    // A full journal drops its oldest lines: then only the last is known to be new.
    let from = if shown < lines.len() { shown } else { lines.len() };
    for line in &lines[from..] {
        eprintln!("{}", crate::field::clean(line));
    }
    lines.len()
}

/// The signal to end.
#[cfg(unix)]
struct End {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl End {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct End;

#[cfg(not(unix))]
impl End {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn come(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn arguments() -> NodeArguments {
        NodeArguments {
            rendezvous: false,
            relay: false,
            tcp: None,
            bind: None,
            ptp: None,
            ptp_domain: 0,
            ptp_role: PtpRole::Auto,
            json: false,
        }
    }

    #[test]
    fn a_node_that_serves_has_a_port_that_stays() {
        let config = Config::in_folders("/nowhere".as_ref(), "/nowhere".as_ref());
        let serving = configured(&NodeArguments { rendezvous: true, ..arguments() }, config.clone());
        assert_eq!((serving.bind.port(), serving.serve.unwrap().rendezvous), (PORT, true));
        let plain = configured(&arguments(), config.clone());
        assert_eq!((plain.bind.port(), plain.serve), (0, None));
        let bind = SocketAddr::from((Ipv6Addr::LOCALHOST, 7));
        let bound = NodeArguments { relay: true, bind: Some(bind), ..arguments() };
        assert_eq!(configured(&bound, config.clone()).bind, bind);
        let mut of_file = config;
        of_file.serve = Some(Serve { rendezvous: true, relay: false, tcp: None });
        let both = configured(&NodeArguments { relay: true, ..arguments() }, of_file).serve.unwrap();
        assert!(both.rendezvous && both.relay);
    }
}
