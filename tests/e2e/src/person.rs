//! Somebody with keys and a machine of their own: member of a session, with plug-ins in rigs.

use std::time::Duration;

use audiocloud_rig::{
    process::{Options, Rig},
    session::{Identity, RECEIVE_ID, SEND_ID, START, World, publications},
};
use serde_json::{Value, json};

use crate::{LIVE, Stage, net::Host};

/// See the module.
#[derive(Debug)]
pub struct Person {
    /// Their machine.
    pub world: World,
    /// Their keys.
    pub identity: Identity,
    name: String,
}

impl Person {
    /// Somebody whose processes run on this host.
    ///
    /// # Panics
    /// The folders or the keys cannot be made. So do all others where what they ask for is not done.
    pub fn new(stage: &Stage, name: &str, host: &Host) -> Self {
        let world = stage.on_host(name, host, "");
        let config = world.config.join("config.toml");
        let lines = std::fs::read_to_string(&config).expect("a configuration");
        let named = lines.replace("name = \"Test\"", &format!("name = \"{name}\""));
        std::fs::write(&config, named).expect("written");
        let identity = world.identity(&stage.tools).expect("an identity");
        Self { world, identity, name: name.to_owned() }
    }

    /// What a command of theirs answers.
    pub fn ask(&self, stage: &Stage, arguments: &[&str]) -> Value {
        self.world.ask(&stage.tools, arguments).unwrap_or_else(|error| panic!("{}: {error:#}", self.name))
    }

    /// What is said where a command of theirs is not done.
    pub fn refused(&self, stage: &Stage, arguments: &[&str]) -> String {
        let output = self.world.audiocloud(&stage.tools, arguments).output().expect("an answer");
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Founds a session, whose members meet at these nodes.
    pub fn create_session(&self, stage: &Stage, meeting: &[&str]) {
        let meeting = meeting.iter().flat_map(|point| ["--meeting", point]);
        let command: Vec<_> =
            ["session", "create", "Friday jam", "--json"].into_iter().chain(meeting).collect();
        self.ask(stage, &command);
    }

    /// A link into their session.
    pub fn link(&self, stage: &Stage, more: &[&str]) -> String {
        let answer = self.ask(stage, &[&["session", "invite", "--json"], more].concat());
        answer["link"].as_str().expect("a link").to_owned()
    }

    /// Invites somebody by a link, who follows it.
    pub fn invite(&self, stage: &Stage, guest: &Person) {
        let link = self.link(stage, &[]);
        guest.ask(stage, &["session", "join", &link, "--json"]);
    }

    /// Their session, as their projects keep it.
    pub fn session(&self, stage: &Stage) -> Value {
        let sessions = self.ask(stage, &["session", "list", "--json"]);
        let session = &sessions["sessions"][0];
        json!({ "id": session["session"], "name": session["name"], "ask": session["inviter"] })
    }

    /// What the project of a Send in the session keeps.
    pub fn send_field(&self, stage: &Stage, name: &str, stream: &str) -> Value {
        json!({ "schema": 3, "name": name, "stream": stream, "session": self.session(stage) })
    }

    /// A Send in the session that is fed `input` from now on, and is published.
    pub fn send(&self, stage: &Stage, name: &str, stream: &str, mut options: Options) -> Rig {
        options.id = SEND_ID.to_owned();
        options.start = true;
        options.fields.push(("stream".into(), self.send_field(stage, name, stream)));
        let rig = self.rig(stage, name, &options);
        self.wait(stage, LIVE, "published", |status| {
            publications(status).iter().any(|entry| entry["stream"] == stream).then_some(())
        });
        rig
    }

    /// A Receive that plays all others of the session.
    pub fn receive(&self, stage: &Stage, name: &str, mut options: Options) -> Rig {
        options.id = RECEIVE_ID.to_owned();
        let everybody = json!({ "schema": 3, "session": self.session(stage), "play": "session" });
        options.fields.push(("stream".into(), everybody));
        self.rig(stage, name, &options)
    }

    /// A rig of theirs that is ready.
    pub fn rig(&self, stage: &Stage, name: &str, options: &Options) -> Rig {
        let mut rig = self.world.rig(&stage.tools, name, options).expect("a rig");
        rig.wait("ready", START).expect("ready");
        rig
    }

    /// Waits until their status has something.
    pub fn wait<T>(
        &self,
        stage: &Stage,
        within: Duration,
        what: &str,
        wanted: impl Fn(&Value) -> Option<T>,
    ) -> T {
        let found = self.world.wait_status(&stage.tools, within, what, wanted);
        found.unwrap_or_else(|error| panic!("{}: {error:#}", self.name))
    }
}
