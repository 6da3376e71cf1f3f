//! `audiocloud node` on a host of a net: where members of a session meet, and that relays for them.

use std::process::{Child, Command, Stdio};

use audiocloud_rig::session::World;
use serde_json::Value;

use crate::{Stage, net::Host};

const UDP_PORT: u16 = 4460;
const TLS_PORT: u16 = 443;

/// See the module.
#[derive(Debug)]
pub struct Node {
    /// As `audiocloud session create --meeting` takes it.
    pub meeting: String,
    world: World,
    child: Option<Child>,
}

impl Node {
    /// Starts one, and waits until it is there.
    ///
    /// # Panics
    /// It does not start.
    pub fn new(stage: &Stage, host: &Host) -> Self {
        let world = stage.on_host("node", host, "");
        let device = world.identity(&stage.tools).expect("an identity").device;
        let address = std::net::SocketAddr::from((host.public, UDP_PORT));
        let mut node = Self { meeting: format!("{address}={device},tcp={TLS_PORT}"), world, child: None };
        node.start(stage);
        node
    }

    /// Starts it again, and waits until it is there.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(&mut self, stage: &Stage) {
        self.stop("KILL");
        let (udp, tcp) = (format!("[::]:{UDP_PORT}"), format!("[::]:{TLS_PORT}"));
        let serve = ["node", "--rendezvous", "--relay", "--bind", &udp, "--tcp", &tcp, "--json"];
        let mut command = self.world.audiocloud(&stage.tools, &serve);
        let errors = std::fs::File::create(self.world.files.join("node.stderr")).expect("a file");
        let mut child = command.stdout(Stdio::piped()).stderr(errors).spawn().expect("a node");
        let output = child.stdout.take().expect("its output");
        self.child = Some(child);
        // It says where it is, once it is there.
        let mut said = serde_json::Deserializer::from_reader(output).into_iter::<Value>();
        let place = said.next().expect("where it is").expect("JSON");
        assert_eq!(place["port"], UDP_PORT, "{place}");
    }

    /// Ends it by a signal, such as `TERM` or `KILL`, and waits until it is gone.
    ///
    /// # Panics
    /// It cannot be ended.
    pub fn stop(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else { return };
        let signal = format!("-{signal}");
        let asked = Command::new("kill").args([&signal, &child.id().to_string()]).status().expect("kill");
        assert!(asked.success(), "the node cannot be ended");
        child.wait().expect("its end");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
