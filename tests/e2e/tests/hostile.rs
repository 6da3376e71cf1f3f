//! Attacks on two people who play together, over real sockets, while they play: their sound is whole, their memory stays
//! within a bound, each attack is noticed in words or figures, and they answer afterwards.
//!
//! Anna sends to Ben; both are members of a session, on machines of their own, and so is the node where its members meet.
//! Attackers sit on a machine beside them. Each attack is a row of a table: what it is called, what it does, what must
//! happen. SECURITY.md lists them all.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use audiocloud_e2e::{
    LIVE, PLAYOUT_MS, Stage,
    net::{Cut, Host, Net},
};
use audiocloud_net::{
    membership::{invitation::Invitation, member::MemberRecord},
    wire::{id::SessionId, message::Text},
};
use audiocloud_rig::{
    analysis,
    audio::{Audio, phrase},
    process::{Options, Rig},
    session::{Identity, RECEIVE_ID, SEND_ID, START, World, figure, is_playing, publications, subscriptions},
};
use serde_json::{Value, json};

use attacker::{Lair, Villain};

mod attacker;
mod chains;
mod gossip;
mod members;
mod node;
mod strangers;
mod tickets;
mod time;

/// What each process may have grown by at any moment, with all that attackers make it hold: see SECURITY.md.
const GROWTH_MAX_KIB: u64 = 32 << 10;
const STREAM: &str = "00000000000000aa";
const UDP_PORT: u16 = 4720;
const TLS_PORT: u16 = 443;
/// Longer than any of the suites; who plays ends with them.
const SECONDS_MAX: f64 = 170.0;
const KIND_OF_LINKS: [&str; 3] = ["musician", "listener", "publish=2x8,edit"];

/// One attack.
struct Attack {
    name: &'static str,
    /// What the attacker does.
    does: &'static str,
    /// What must come of it.
    must: &'static str,
    run: fn(&Field),
}

const STRANGERS: &[&[Attack]] = &[strangers::ATTACKS, tickets::ATTACKS];
const MEMBERS: &[&[Attack]] = &[members::ATTACKS, time::ATTACKS, chains::ATTACKS, gossip::ATTACKS];
const NODE: &[&[Attack]] = &[node::ATTACKS];

/// Somebody who is attacked.
struct Victim {
    name: &'static str,
    host: Host,
    world: World,
    identity: Identity,
    /// Of the process that is attacked.
    pid: u32,
    port: u16,
    memory: Memory,
}

/// How much memory of its own a process holds at most. What it maps of files, its program's code above all, is not counted:
/// that comes with whatever is done for the first time, attack or not, and never goes.
#[derive(Debug, Default)]
struct Memory {
    /// Before the attacks.
    began_kib: u64,
    /// More than that, at any moment until the last look.
    grown_kib: AtomicU64,
}

impl Memory {
    /// From now on.
    fn begin(pid: u32) -> Self {
        begin_peak(pid);
        Self { began_kib: peak_kib(pid), grown_kib: AtomicU64::new(0) }
    }

    /// By how much the process has grown at most since the beginning. To be called after each attack: code that is new to it
    /// is told apart from its own memory at each call.
    fn grown_kib(&self, pid: u32) -> u64 {
        let grown = peak_kib(pid).saturating_sub(self.began_kib);
        begin_peak(pid);
        grown.max(self.grown_kib.fetch_max(grown, Ordering::Relaxed))
    }
}

/// proc(5): the peak begins anew.
fn begin_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the right to");
}

/// The peak of what is not a file's, by the kernel's account of the process.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it still runs");
    let kib = |line: &str| -> u64 {
        let found = status.lines().find_map(|one| one.strip_prefix(line)).expect("a line of its memory");
        found.trim_matches(|character: char| !character.is_ascii_digit()).parse().expect("a number")
    };
    // Pages of files do not leave while there is room: those of now were there at the peak, or came since it was asked last.
    kib("VmHWM:").saturating_sub(kib("RssFile:"))
}

/// Where it all happens.
struct Field {
    stage: Stage,
    lair: Lair,
    anna: Victim,
    ben: Victim,
    node: Victim,
    session: SessionId,
    /// By kind.
    links: Vec<String>,
    /// One that has ended by now.
    ended: String,
    net: Net,
}

/// The processes; they end with this.
struct Players {
    send: Rig,
    receive: Rig,
    _node: Serving,
    source: Audio,
}

/// The node's process.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Victim {
    fn address(&self) -> SocketAddr {
        (self.host.public, self.port).into()
    }

    /// From now on the peak is one of the attacks.
    fn note_memory(&mut self) {
        self.memory = Memory::begin(self.pid);
    }

    fn grown_kib(&self) -> u64 {
        self.memory.grown_kib(self.pid)
    }
}

impl Field {
    /// Two who play through a relay: no packet goes from one to the other directly.
    fn new(test: &str) -> Option<(Self, Players)> {
        let mut net = Net::new(test)?;
        let stage = Stage::new();
        let mut victim = |name: &'static str| {
            let host = net.host(name);
            let world = stage.on_host(name, &host, "");
            let identity = world.identity(&stage.tools).expect("an identity");
            Victim { name, host, world, identity, pid: 0, port: 0, memory: Memory::default() }
        };
        let (mut anna, mut ben, mut node) = (victim("anna"), victim("ben"), victim("node"));
        let lair = Lair::new(net.host("lair"));
        net.cut(Cut::Between(anna.host.public, ben.host.public));

        let tcp = format!("0.0.0.0:{TLS_PORT}");
        let serve = ["node", "--rendezvous", "--relay", "--tcp", &tcp, "--json"];
        let mut serving = node.world.audiocloud(&stage.tools, &serve);
        let serving = serving.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a node");
        (node.pid, node.port) = (serving.id(), UDP_PORT);
        let point = format!("{}={},tcp={TLS_PORT}", node.address(), node.identity.device);

        let ask = |world: &World, arguments: &[&str]| {
            world.ask(&stage.tools, arguments).unwrap_or_else(|error| panic!("{error:#}"))
        };
        let made = ask(&anna.world, &["session", "create", "Band", "--meeting", &point, "--json"]);
        let session = made["session"].as_str().expect("an id").to_owned();
        let invite = |more: &[&str]| {
            let answer = ask(&anna.world, &[&["session", "invite", "--json"], more].concat());
            answer["link"].as_str().expect("a link").to_owned()
        };
        let ended = invite(&["--expires", "1s"]);
        let links = KIND_OF_LINKS.map(|kind| invite(&["--uses", "200", "--rights", kind])).into();
        ask(&ben.world, &["session", "join", &invite(&[]), "--json"]);

        let source = phrase(48_000, 2, SECONDS_MAX).with_lead(0.2);
        let kept = json!({ "id": session, "name": "Band", "ask": "Anna" });
        let mut options = Options::new(SEND_ID);
        options.seconds_max = SECONDS_MAX + 20.0;
        let field = json!({ "schema": 3, "name": "Bass", "stream": STREAM, "session": kept });
        options.fields.push(("stream".into(), field));
        options.input = Some(stage.recording("source", &source));
        let mut send = anna.world.rig(&stage.tools, "send", &options).expect("a rig");
        send.wait("ready", START).expect("ready");
        let mut options = Options::new(RECEIVE_ID);
        options.seconds_max = SECONDS_MAX + 20.0;
        let device = &anna.identity.device;
        let field =
            json!({ "schema": 3, "publisher": device, "stream": STREAM, "name": "Bass", "session": kept });
        options.fields.push(("stream".into(), field));
        options.parameters =
            vec![("playout".into(), "Fixed".into()), ("delay".into(), PLAYOUT_MS.to_string())];
        let mut receive = ben.world.rig(&stage.tools, "receive", &options).expect("a rig");
        receive.wait("ready", START).expect("ready");
        (anna.pid, ben.pid) = (send.id(), receive.id());

        let players = Players { send, receive, _node: Serving(serving), source };
        let session = session.parse().expect("an id");
        let mut field = Self { stage, lair, anna, ben, node, session, links, ended, net };
        field.wait(&field.ben, "playing", |status| {
            subscriptions(status).into_iter().any(is_playing).then_some(())
        });
        for victim in [&mut field.anna, &mut field.ben] {
            let status = victim.world.status(&field.stage.tools).expect("a status");
            let port = status["runtimes"][0]["port"].as_u64().and_then(|port| u16::try_from(port).ok());
            victim.port = port.expect("a port");
        }
        Some((field, players))
    }

    fn wait<T>(&self, victim: &Victim, what: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
        victim
            .world
            .wait_status(&self.stage.tools, LIVE, &format!("{what} at {}", victim.name), wanted)
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// A counter of an attacked runtime.
    fn counter(&self, victim: &Victim, name: &str) -> u64 {
        self.wait(victim, name, |status| status["runtimes"][0]["counters"][name].as_u64())
    }

    /// Attacks, and waits until a counter has grown by at least so many.
    fn counts<T>(&self, victim: &Victim, name: &str, more: u64, attack: impl FnOnce() -> T) -> T {
        let before = self.counter(victim, name);
        let done = attack();
        self.wait(victim, &format!("{more} more {name} than {before}"), |status| {
            let now = status["runtimes"][0]["counters"][name].as_u64()?;
            (now >= before + more).then_some(())
        });
        done
    }

    /// Waits until an attacked runtime has said all these words in one line.
    fn says(&self, victim: &Victim, words: &[&str]) {
        self.wait(victim, &format!("a line with {words:?}"), |status| {
            let lines = ["refusals", "journal"].map(|list| status["runtimes"][0][list].as_array().cloned());
            let mut lines = lines.into_iter().flatten().flatten().map(|line| line.to_string());
            lines.find(|line| words.iter().all(|word| line.contains(word)))
        });
    }

    /// The record with which somebody is a member by a link.
    fn record(&self, villain: &Villain, link: &str) -> MemberRecord {
        let invitation: Invitation = link.parse().expect("a link");
        let accepted = invitation.accept(&villain.identity.user_key(), Text::new("Mallory"), now_ms());
        accepted.expect("a member")
    }

    /// Somebody whom Anna's link lets in, who goes about it in their own way.
    fn member(&self, kind: &str) -> Villain {
        let at = KIND_OF_LINKS.iter().position(|one| *one == kind).expect("a kind of link");
        let mut villain = Villain::new();
        let record = self.record(&villain, &self.links[at]);
        villain.show(self.session, record.to_bytes());
        villain
    }

    /// What must hold after each attack.
    fn check(&self, attack: &str) {
        for victim in [&self.anna, &self.ben, &self.node] {
            let name = victim.name;
            let status = victim.world.status(&self.stage.tools);
            let status = status.unwrap_or_else(|error| panic!("{attack}: {name} does not answer: {error:#}"));
            let pid = status["runtimes"][0]["pid"].as_u64();
            assert_eq!(pid, Some(victim.pid.into()), "{attack}: {name} does not answer");
            let grown_kib = victim.grown_kib();
            assert!(grown_kib <= GROWTH_MAX_KIB, "{attack}: {name} has grown by {grown_kib} KiB");
            if name == self.ben.name {
                let all = subscriptions(&status);
                let [heard] = &all[..] else { panic!("{attack}: Ben plays {all:#?}") };
                assert!(is_playing(heard), "{attack}: {heard:#}");
                for lost in ["lost", "late", "missing_frames", "late_blocks", "ring_full", "reconnects"] {
                    assert_eq!(figure(heard, lost), Some(0), "{attack}: {lost}: {heard:#}");
                }
            }
            if name == self.anna.name {
                let all = publications(&status);
                let own = all.first().expect("a publication");
                assert!(own["subscribers"].as_u64() >= Some(1), "{attack}: {own:#}");
            }
        }
    }

    /// From here on packets go from one to the other directly.
    fn let_through(&mut self) {
        self.net.mend(Cut::Between(self.anna.host.public, self.ben.host.public));
        self.wait(&self.ben, "a direct way", |status| {
            let peers = status["runtimes"][0]["peers"].as_array()?;
            peers.iter().any(|peer| peer["way"] == "direct").then_some(())
        });
    }

    fn suffer(mut self, mut players: Players, attacks: &[&[Attack]]) {
        for victim in [&mut self.anna, &mut self.ben, &mut self.node] {
            victim.note_memory();
        }
        players.send.command("start").expect("told");
        players.send.wait("input", START).expect("begun");
        let began = Instant::now();
        self.check("before");
        for Attack { name, does, must, run } in attacks.iter().copied().flatten() {
            let began = Instant::now();
            run(&self);
            self.check(name);
            println!("{name}: {does}; {must} [{:.1} s]", began.elapsed().as_secs_f64());
        }
        let took = began.elapsed();
        // What was sent until now has come out half a second later.
        players.receive.command("run-on 0.5").expect("told");
        players.receive.wait("ran-on", START).expect("ran on");
        let victims = [&self.anna, &self.ben, &self.node];
        let grown = victims.map(|victim| format!("{} by {} KiB", victim.name, victim.grown_kib()));
        println!("attacks in {took:.1?}; grown at most: {}", grown.join(", "));
        let seconds = took.as_secs_f64() - 0.5;
        assert!(seconds < SECONDS_MAX, "the music ended before the attacks did");
        let Players { send, receive, source, _node } = players;
        let heard = receive.finish().expect("Ben's run");
        let comparison = analysis::compare(&source.cut(seconds), &heard.output);
        assert!(comparison.bit_exact, "{comparison:#?}");
        let sent = send.finish().expect("Anna's run");
        for report in [sent.report, heard.report] {
            assert_eq!((report.process_errors, report.heap_operations.unwrap_or(0)), (0, 0), "{report:#?}");
        }
    }
}

/// By this machine's clock.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    u64::try_from(since.as_millis()).expect("a time before the year 500 million")
}

#[test]
fn every_attack_is_in_security_md() {
    let security = include_str!("../../../SECURITY.md");
    let suites = [STRANGERS, MEMBERS, NODE].concat();
    let all: Vec<_> = suites.into_iter().flatten().collect();
    for Attack { name, does, must, .. } in &all {
        let row = format!("| {name} | {does} | {must} |");
        assert!(security.contains(&row), "SECURITY.md lacks the row\n{row}");
    }
    let bound = format!("at most {} MiB", GROWTH_MAX_KIB >> 10);
    assert!(security.contains(&bound), "SECURITY.md does not say \"{bound}\"");
    assert!(all.len() >= 25, "{} attacks", all.len());
}

#[test]
fn memory_that_was_given_back_is_seen() {
    const KIB: u64 = 48 << 10;
    let own = std::process::id();
    let memory = Memory::begin(own);
    assert!(memory.grown_kib(own) < KIB, "nothing has happened");
    drop(vec![1_u8; usize::try_from(KIB << 10).expect("a length")]);
    let grown_kib = memory.grown_kib(own);
    // The kernel counts pages by the dozen.
    assert!(grown_kib + 1024 >= KIB, "{grown_kib} KiB");
    assert_eq!(memory.grown_kib(own), grown_kib, "the largest of all counts");
}

#[test]
fn strangers_disturb_nobody() {
    let Some((mut field, players)) = Field::new("strangers_disturb_nobody") else { return };
    field.let_through();
    field.suffer(players, STRANGERS);
}

#[test]
fn members_who_keep_no_rule_disturb_nobody() {
    let Some((mut field, players)) = Field::new("members_who_keep_no_rule_disturb_nobody") else { return };
    field.let_through();
    field.suffer(players, MEMBERS);
}

#[test]
fn a_node_under_attack_relays_on() {
    let Some((field, players)) = Field::new("a_node_under_attack_relays_on") else { return };
    field.suffer(players, NODE);
}
