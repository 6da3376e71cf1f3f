//! Three people with keys of their own, on three machines: invited by links, heard by each other, bound by their tickets,
//! and put out.

use std::time::{Duration, Instant};

use audiocloud_e2e::{
    LIVE, Stage,
    net::{Host, Net},
};
use audiocloud_rig::{
    audio::phrase,
    process::{Options, Rig},
    session::{
        Identity, RECEIVE_ID, SEND_ID, START, World, is_playing, publications, receive_field, subscriptions,
    },
};
use serde_json::{Value, json};

/// After this somebody who is put out hears nothing any more.
const OUT: Duration = Duration::from_secs(2);

/// Somebody with a machine, a Send and a Receive that plays the whole session.
struct Person {
    world: World,
    identity: Identity,
    rigs: Vec<Rig>,
}

impl Person {
    fn new(stage: &Stage, name: &str, host: &Host) -> Self {
        let world = stage.on_host(name, host, "");
        let identity = world.identity(&stage.tools).expect("an identity");
        Self { world, identity, rigs: Vec::new() }
    }

    fn ask(&self, stage: &Stage, arguments: &[&str]) -> Value {
        self.world.ask(&stage.tools, arguments).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// What is said where it is not done.
    fn refused(&self, stage: &Stage, arguments: &[&str]) -> String {
        let output = self.world.audiocloud(&stage.tools, arguments).output().expect("an answer");
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn invite(&self, stage: &Stage, more: &[&str]) -> String {
        let answer = self.ask(stage, &[&["session", "invite", "--json"], more].concat());
        answer["link"].as_str().expect("a link").to_owned()
    }

    fn launch(&mut self, stage: &Stage, name: &str, options: &Options) {
        let mut rig = self.world.rig(&stage.tools, name, options).expect("a rig");
        rig.wait("ready", START).expect("ready");
        self.rigs.push(rig);
    }

    /// A Send and a Receive, new to their project, so that they join the current session.
    fn play(&mut self, stage: &Stage) {
        let mut send = Options::new(SEND_ID);
        send.input = Some(stage.recording(&self.identity.device, &phrase(48_000, 2, 90.0)));
        send.start = true;
        self.launch(stage, "send", &send);
        let mut receive = Options::new(RECEIVE_ID);
        receive.fields.push((
            "stream".into(),
            json!({ "schema": 3, "session": self.session(stage), "play": "session" }),
        ));
        self.launch(stage, "receive", &receive);
    }

    fn session(&self, stage: &Stage) -> Value {
        let sessions = self.ask(stage, &["session", "list", "--json"]);
        json!({ "id": sessions["sessions"][0]["session"], "name": sessions["sessions"][0]["name"], "ask": "Test" })
    }

    fn wait<T>(&self, stage: &Stage, what: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
        self.world.wait_status(&stage.tools, LIVE, what, wanted).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Plays the streams of exactly these, and the one from the other process of its own.
    fn hears(&self, stage: &Stage, others: &[&Person]) {
        let others = others.iter().map(|other| other.identity.device.as_str());
        let mut wanted: Vec<&str> = others.chain([self.identity.device.as_str()]).collect();
        wanted.sort_unstable();
        self.wait(stage, &format!("heard: {wanted:?}"), |status| {
            (publishers(status) == wanted).then_some(())
        });
    }
}

/// Whose streams are played, sorted.
fn publishers(status: &Value) -> Vec<String> {
    let playing = subscriptions(status).into_iter().filter(|entry| is_playing(entry));
    let mut found: Vec<_> =
        playing.filter_map(|entry| entry["publisher"].as_str().map(str::to_owned)).collect();
    found.sort();
    found
}

#[test]
fn three_people_hear_each_other_as_far_as_their_tickets_go() {
    let Some(mut net) = Net::new("three_people_hear_each_other_as_far_as_their_tickets_go") else { return };
    let stage = Stage::new();
    let names = ["anna", "ben", "carla", "dora", "eve"];
    let people = names.map(|name| Person::new(&stage, name, &net.host(name)));
    let [mut anna, mut ben, mut carla, mut dora, eve] = people;

    // Founded, invited by link, joined: everybody hears everybody else.
    anna.ask(&stage, &["session", "create", "Friday jam", "--json"]);
    anna.play(&stage);
    for guest in [&mut ben, &mut carla] {
        let link = anna.invite(&stage, &[]);
        guest.ask(&stage, &["session", "join", &link, "--json"]);
        guest.play(&stage);
    }
    anna.hears(&stage, &[&ben, &carla]);
    ben.hears(&stage, &[&anna, &carla]);
    carla.hears(&stage, &[&anna, &ben]);

    // Who may only listen hears all, is heard by nobody, rewires nothing and invites nobody.
    let link = anna.invite(&stage, &["--rights", "listener"]);
    dora.ask(&stage, &["session", "join", &link, "--json"]);
    dora.play(&stage);
    dora.hears(&stage, &[&anna, &ben, &carla]);
    let said = dora.wait(&stage, "a stream that members do not hear", |status| {
        publications(status).iter().find_map(|entry| entry["trouble"].as_str().map(str::to_owned))
    });
    println!("not heard: {said}");
    anna.hears(&stage, &[&ben, &carla]);
    let said = dora.refused(&stage, &["session", "invite"]);
    assert!(said.contains("does not allow to invite"), "{said}");
    let said = dora.refused(&stage, &["session", "state", "set", "tempo", "240"]);
    assert!(said.contains("does not allow to edit"), "{said}");

    // Links that are not for one, are used already, or have ended.
    let for_carla = anna.invite(&stage, &["--for", &carla.identity.user]);
    let said = eve.refused(&stage, &["session", "join", &for_carla]);
    println!("made for another: {said}");
    assert!(said.contains("for another user"), "{said}");
    let ended = anna.invite(&stage, &["--expires", "1s"]);
    std::thread::sleep(Duration::from_secs(2));
    let said = eve.refused(&stage, &["session", "join", &ended]);
    println!("expired: {said}");
    assert!(said.contains("expired"), "{said}");

    // What Carla has, copied to a machine of Eve's: of no use without Carla's key.
    let store = "sessions.redb";
    std::fs::copy(carla.world.config.join(store), eve.world.config.join(store)).expect("copied");
    let mut eve = eve;
    let mut receive = Options::new(RECEIVE_ID);
    let status = anna.ask(&stage, &["status", "--json"]);
    let stream = publications(&status)[0]["stream"].as_str().expect("a stream").to_owned();
    receive.fields.push(("stream".into(), receive_field(&anna.identity.device, &stream)));
    eve.launch(&stage, "receive", &receive);
    let said = eve.wait(&stage, "a membership that is not hers", |status| {
        let sessions = status["runtimes"][0]["sessions"].as_array()?;
        sessions.iter().find_map(|session| session["trouble"].as_str().map(str::to_owned))
    });
    println!("copied: {said}");
    assert!(publishers(&eve.world.status(&stage.tools).expect("a status")).is_empty(), "Eve hears");

    // Put out: at once, and by all.
    let began = Instant::now();
    anna.ask(&stage, &["session", "revoke", &ben.identity.user[..12], "--because", "too loud", "--json"]);
    carla.hears(&stage, &[&anna]);
    ben.hears(&stage, &[]);
    let took = began.elapsed();
    println!("put out after {took:?}");
    assert!(took < OUT, "put out after {took:?}");
    anna.hears(&stage, &[&carla]);

    for person in [anna, ben, carla, dora, eve] {
        for rig in person.rigs {
            let run = rig.finish().expect("a run");
            assert_eq!(run.report.heap_operations.unwrap_or(0), 0, "{:#?}", run.report);
        }
    }
}
