//! `audiocloud node`: a runtime without a DAW, until it is told to end.
//!
//! It plays chains of effects for others ([`crate::host`]), introduces members of sessions to each other, relays for them,
//! and says how it stands: as a log on standard error, and on a port of this machine ([`metrics`]).

mod exposition;
mod http;
mod log;
mod metrics;
pub(crate) mod settings;
mod supervisor;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use audiocloud_net::clock::ptp;
use audiocloud_net::runtime::clock::{PtpConfig, PtpPort};
use audiocloud_net::runtime::config::Serve;
use audiocloud_net::runtime::remote::Serving;
use audiocloud_net::runtime::sessions::Store;
use audiocloud_net::runtime::{Config, Handle, Runtime, control};
use serde_json::{Value, json};

use self::log::Log;
use self::settings::Settings;
use self::supervisor::Supervisor;
use crate::arguments::{NodeArguments, PtpRole};
use crate::field::counted;
use crate::host::{Hosting, PlugIns};
use crate::output::{print, print_json};

/// Where others expect a node, unless it is told otherwise: a port that may change would be of no use in a link.
const PORT: u16 = 4720;
/// How often it is looked whether the last chain has gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often owners of chains are told how good its clock is, and of its plug-ins.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Plug-ins are told of the end before it comes, however short the time is that they are given.
const DRAIN_MIN: Duration = Duration::from_millis(250);

pub(crate) fn run(arguments: &NodeArguments, config: Config) -> anyhow::Result<()> {
    let settings = Settings::load(&config.config_dir, arguments)?;
    let config = configured(arguments, config);
    let log = Log::start(settings.log_json, &settings.log_filter);
    let supervisor = Supervisor::from_environment();
    let events = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let events = events.context("cannot start an event loop")?;
    // Before it says that it is there: who reads that may end it at once.
    let mut end = events.block_on(async { End::new() }).context("cannot wait for the signal to end")?;
    let metrics = open_metrics(&settings)?;
    let plug_ins = PlugIns::find(&settings.host, &config.config_dir)?;
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
    let hosting = Arc::new(Hosting::new(settings.host.clone(), plug_ins));
    let serving = settings.host.enabled.then(|| handle.serve(Arc::clone(&hosting) as _));
    let at = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
    let place = place(&handle, &config, serving.is_some(), at);
    // Standard output may be closed: a node goes on without.
    let told = if arguments.json { print_json(&place) } else { print(&words(&place, &config, &hosting)) };
    told?;
    supervisor.ready(&format!("serving on UDP port {}", handle.port()));
    let pages = pages(&handle, &hosting, &log, &config);
    events.block_on(async {
        // Ends with the event loop.
        let _pages = metrics.map(|listener| tokio::spawn(http::serve(listener, pages)));
        loop {
            hosting.tell(&handle.clock(None).status().to_json());
            tokio::select! {
                () = end.come() => break,
                () = tokio::time::sleep(TELL_EVERY) => {}
            }
        }
        tracing::info!(target: "audiocloud::node", "told to end");
        if let Some(serving) = &serving {
            drain(&hosting, serving, &supervisor, &settings, &mut end).await;
        }
    });
    drop((serving, ptp));
    // A page that is being made has the handle, too.
    drop(events);
    drop(handle);
    Ok(())
}

/// Lets the chains go elsewhere, for as long as they are given, or until it is told to end again.
async fn drain(
    hosting: &Hosting,
    serving: &Serving,
    supervisor: &Supervisor,
    settings: &Settings,
    end: &mut End,
) {
    hosting.drain();
    serving.drain();
    if hosting.chains() == 0 {
        return;
    }
    let within = Duration::from_secs(settings.drain_s.into()).max(DRAIN_MIN);
    supervisor.stopping(within + Duration::from_secs(5));
    let chains = hosting.chains();
    tracing::info!(target: "audiocloud::node", chains, within_s = within.as_secs_f64(), "chains may go elsewhere");
    let began = Instant::now();
    let gone = async {
        while hosting.chains() > 0 && began.elapsed() < within {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = gone => {}
        () = end.come() => tracing::info!(target: "audiocloud::node", "told to end at once"),
    }
    let chains = hosting.chains();
    let took_s = began.elapsed().as_secs_f64();
    tracing::info!(target: "audiocloud::node", chains, took_s, "the rest of the chains ends here");
}

/// The port of the metrics. One that is only usual may be taken: then the node goes on without.
fn open_metrics(settings: &Settings) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = settings.metrics else { return Ok(None) };
    match http::listen(address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if settings.metrics_are_wanted => Err(error).with_context(|| {
            format!("the metrics cannot be served at {address}; choose another address by --metrics or in node.toml, or `off`")
        }),
        Err(error) => {
            tracing::warn!(target: "audiocloud::node", %address, %error, "no metrics are served; choose another address by --metrics, or `off`");
            Ok(None)
        }
    }
}

/// What is served there. The handle is a weak one in effect: pages end before it is given back.
fn pages(handle: &Handle, hosting: &Arc<Hosting>, log: &Log, config: &Config) -> http::Pages {
    let (handle, hosting, dropped) = (handle.clone(), Arc::clone(hosting), log.dropped());
    let (runtime_dir, began) = (config.runtime_dir.clone(), Instant::now());
    Arc::new(move |path| match path {
        "/metrics" => {
            let up_s = began.elapsed().as_secs_f64();
            let around =
                metrics::Around { up_s, log_dropped: dropped.dropped_lines(), host: hosting.figures() };
            let body = metrics::page(&handle.status_json(), &around);
            Some(http::Answer { status: hyper::StatusCode::OK, content_type: exposition::CONTENT_TYPE, body })
        }
        "/healthz" => {
            // Asked as anybody would: it is the network thread that answers.
            let instance = handle.instance().to_string();
            let answers = control::query_all(&runtime_dir).iter().any(|one| one["instance"] == instance);
            let (is_well, said) = metrics::health(answers, &hosting.figures());
            let status = if is_well { hyper::StatusCode::OK } else { hyper::StatusCode::SERVICE_UNAVAILABLE };
            Some(http::Answer { status, content_type: "application/json", body: format!("{said}\n") })
        }
        _ => None,
    })
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
fn place(handle: &Handle, config: &Config, plays_chains: bool, metrics: Option<SocketAddr>) -> Value {
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
        "hosts": plays_chains,
        "metrics": metrics.map(|address| address.to_string()),
        "meeting": if serve.rendezvous { meeting } else { Vec::new() },
    })
}

fn bracketed(ip: std::net::IpAddr) -> String {
    let address = SocketAddr::new(ip, 0).to_string();
    address.strip_suffix(":0").unwrap_or(&address).to_owned()
}

fn words(place: &Value, config: &Config, hosting: &Hosting) -> String {
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
    if place["hosts"] == true {
        let cores = u64::try_from(hosting.figures().cores).unwrap_or(u64::MAX);
        let cores = counted(cores, "core", "cores");
        text +=
            &format!("  chains  of effects are played for others, on {cores}, {}\n", hosting.scheduling());
    }
    if let Some(metrics) = place["metrics"].as_str() {
        text += &format!("  health  http://{metrics}/healthz and /metrics\n");
    }
    if let Some(first) = place["meeting"][0].as_str() {
        text += "Found a session that meets here (put a name or address that others reach in place of the host):\n  ";
        text += &format!("audiocloud session create NAME --meeting {first}\n");
    }
    text + "It runs until it is ended (Ctrl-C).\n"
}

/// The signal to end.
#[cfg(unix)]
pub(crate) struct End {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl End {
    pub(crate) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(crate) async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
pub(crate) struct End;

#[cfg(not(unix))]
impl End {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn come(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn a_node_that_serves_has_a_port_that_stays() {
        let config = Config::in_folders("/nowhere".as_ref(), "/nowhere".as_ref());
        let serving =
            configured(&NodeArguments { rendezvous: true, ..NodeArguments::default() }, config.clone());
        assert_eq!((serving.bind.port(), serving.serve.unwrap().rendezvous), (PORT, true));
        let plain = configured(&NodeArguments::default(), config.clone());
        assert_eq!((plain.bind.port(), plain.serve), (0, None));
        let bind = SocketAddr::from((Ipv6Addr::LOCALHOST, 7));
        let bound = NodeArguments { relay: true, bind: Some(bind), ..NodeArguments::default() };
        assert_eq!(configured(&bound, config.clone()).bind, bind);
        let mut of_file = config;
        of_file.serve = Some(Serve { rendezvous: true, relay: false, tcp: None });
        let both =
            configured(&NodeArguments { relay: true, ..NodeArguments::default() }, of_file).serve.unwrap();
        assert!(both.rendezvous && both.relay);
    }
}
