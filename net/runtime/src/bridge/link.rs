//! Tempo Link: sockets and time for `audiocloud_link`, on each interface of this machine.
//!
//! Link's packets stay on the studio's own network: each studio has a bridge, and the beat map is what they share.

mod ports;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audiocloud_link::follower::{Follower, Standing};
use audiocloud_link::node::{Action, Gateway, Node, Refusals};
use audiocloud_link::wire::NodeId;
use tokio::sync::mpsc;

use self::ports::{Ports, Received};
use super::worker::{Stage, Worker};
use super::{Bridge, BridgeStatus, SharedBeat};
use crate::doctor::interfaces::{Interface, interfaces};

/// How often both sides are compared.
const STEP: Duration = Duration::from_millis(10);
/// How often this machine's interfaces are looked at.
const INTERFACES_EVERY: Duration = Duration::from_secs(4);
/// What people are told is made anew so often.
const SAY_EVERY: Duration = Duration::from_millis(200);
/// Datagrams that wait for us; those beyond wait in the kernel, which drops what is too much.
const WAITING_MAX: usize = 256;
/// Link's tempo until the map, or a peer, has one.
const FIRST_BPM: f64 = 120.0;

/// A peer of Link on this machine's interfaces.
pub(super) struct Link(Worker);

impl Link {
    pub(super) fn start(beat: Arc<dyn SharedBeat>) -> Self {
        Self(Worker::start("Tempo Link", move |stage| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(run(&*beat, stage)),
                Err(error) => {
                    let trouble =
                        format!("no event loop could be had ({error}); the process may be out of files");
                    stage.say("off", 0, Some(trouble));
                }
            }
        }))
    }
}

impl Bridge for Link {
    fn status(&self) -> BridgeStatus {
        self.0.status()
    }
}

async fn run(beat: &dyn SharedBeat, stage: &Stage) {
    let (sender, mut received) = mpsc::channel(WAITING_MAX);
    let mut peer = Peer::new(beat, sender);
    let mut tick = tokio::time::interval(STEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stage.is_over() {
        tokio::select! {
            biased;
            Some(datagram) = received.recv() => peer.receive(&datagram),
            _ = tick.tick() => peer.step(stage),
        }
        peer.send();
    }
    peer.node.leave();
    peer.send();
}

/// The state machines and the sockets that they speak by.
struct Peer<'a> {
    beat: &'a dyn SharedBeat,
    node: Node,
    follower: Follower,
    ports: BTreeMap<Gateway, Ports>,
    /// Where a datagram goes that has come.
    sender: mpsc::Sender<Received>,
    /// Why an interface has no sockets, or does not send.
    trouble: Option<String>,
    refusal: Option<String>,
    looked_at_interfaces: Option<Instant>,
    said: Option<Instant>,
}

impl<'a> Peer<'a> {
    fn new(beat: &'a dyn SharedBeat, sender: mpsc::Sender<Received>) -> Self {
        Self {
            beat,
            node: Node::new(NodeId(crate::random_stream().to_bytes()), FIRST_BPM, beat.now()),
            follower: Follower::new(),
            ports: BTreeMap::new(),
            sender,
            trouble: None,
            refusal: None,
            looked_at_interfaces: None,
            said: None,
        }
    }

    fn receive(&mut self, datagram: &Received) {
        let now = self.beat.now();
        let Received { gateway, from, is_measuring, bytes } = datagram;
        if *is_measuring {
            self.node.receive_measuring(*gateway, *from, bytes, now);
        } else {
            self.node.receive(*gateway, *from, bytes, now);
        }
    }

    fn step(&mut self, stage: &Stage) {
        if self.looked_at_interfaces.is_none_or(|last| last.elapsed() >= INTERFACES_EVERY) {
            self.looked_at_interfaces = Some(Instant::now());
            self.look_at_interfaces();
        }
        let now = self.beat.now();
        self.node.poll(now);
        let timeline = self.beat.timeline();
        if let Some(segment) = self.follower.step(&mut self.node, &timeline, self.beat.horizon(), now) {
            self.refusal = self.beat.edit(&[segment]).err();
            self.follower.edited(self.refusal.is_none());
            tracing::debug!(target: "audiocloud::link", ?segment, refusal = ?self.refusal, "an edit by Link");
        }
        if self.said.is_none_or(|last| last.elapsed() >= SAY_EVERY) {
            self.said = Some(Instant::now());
            self.say(stage, timeline.line.is_some());
        }
    }

    fn send(&mut self) {
        while let Some(action) = self.node.next_action() {
            let (gateway, sent) = match action {
                Action::Announce(gateway, bytes) => {
                    (gateway, self.ports.get(&gateway).map(|ports| ports.announce(&bytes)))
                }
                Action::Respond(gateway, to, bytes) => {
                    (gateway, self.ports.get(&gateway).map(|ports| ports.respond(to, &bytes)))
                }
                Action::Measure(gateway, to, bytes) => {
                    (gateway, self.ports.get(&gateway).map(|ports| ports.measure(to, &bytes)))
                }
            };
            if let Some(Err(error)) = sent {
                let name = self.ports.get(&gateway).map(|ports| ports.name.clone()).unwrap_or_default();
                self.trouble = Some(format!("{name} does not send: {error}; a firewall may forbid it"));
            }
        }
    }

    /// Opens sockets on interfaces that are new, and closes those of interfaces that are gone.
    fn look_at_interfaces(&mut self) {
        self.trouble = None;
        let Some(present) = interfaces() else {
            self.trouble = Some("this system does not say which network interfaces it has".into());
            return;
        };
        let usable: BTreeMap<Gateway, (Interface, Ipv4Addr)> = present
            .into_iter()
            .filter(|one| one.is_up && (one.has_multicast || one.is_loopback))
            .filter_map(|one| Some((Gateway(one.index), (one.clone(), *one.v4.first()?))))
            .collect();
        let gone = |gateway: &Gateway, ports: &Ports| {
            usable.get(gateway).is_none_or(|(_, address)| *address != ports.address)
        };
        for gateway in self.ports.iter().filter(|(g, p)| gone(g, p)).map(|(g, _)| *g).collect::<Vec<_>>() {
            self.ports.remove(&gateway);
            self.node.remove_gateway(gateway);
        }
        for (gateway, (interface, address)) in usable {
            if self.ports.contains_key(&gateway) {
                continue;
            }
            match Ports::open(gateway, &interface, address, &self.sender) {
                Ok(ports) => {
                    self.node.add_gateway(gateway, ports.endpoint, self.beat.now());
                    self.ports.insert(gateway, ports);
                }
                Err(error) => {
                    let name = interface.name;
                    self.trouble =
                        Some(format!("{name} takes no multicast for Link: {error}; see `audiocloud doctor`"));
                }
            }
        }
    }

    fn say(&self, stage: &Stage, has_time: bool) {
        let shared = self.node.shared();
        let peers = self.node.peers();
        let (bpm, others) = (shared.timeline.bpm(), if peers == 1 { "peer" } else { "peers" });
        let runs = if shared.start_stop.is_playing { "playing" } else { "standing still" };
        let words = match (has_time, peers) {
            (false, _) => "waiting for the session's time".into(),
            (true, 0) => format!("{bpm:.2} bpm, {runs}; nobody else is there yet"),
            (true, peers) => format!("{bpm:.2} bpm with {peers} {others}, {runs}"),
        };
        stage.say(words, peers, self.trouble());
    }

    fn trouble(&self) -> Option<String> {
        let standing = match self.follower.standing() {
            Standing::OutOfRange => {
                Some("Link has tempos from 20 to 999 bpm alone, and the session's is another".to_owned())
            }
            Standing::Refused => self.refusal.as_ref().map(|refusal| {
                format!("what a peer of Link changed was put back, for this machine may not lead: {refusal}")
            }),
            Standing::Idle | Standing::Together => None,
        };
        let Refusals { insane, peers, pings, .. } = self.node.refusals();
        let odd = (insane + peers + pings > 0).then(|| {
            format!(
                "somebody on the network sends what Link's peers do not: {insane} impossible tempos or times, {peers} peers \
                 and {pings} questions too many; none of it is believed"
            )
        });
        let nowhere =
            self.ports.is_empty().then(|| "no network interface takes multicast; connect one".to_owned());
        standing.or_else(|| self.trouble.clone()).or(nowhere).or(odd)
    }
}
