//! Three people with keys of their own, on three machines: invited by links, heard by each other, bound by their tickets,
//! and put out.

use std::time::{Duration, Instant};

use audiocloud_e2e::{
    LIVE, Stage,
    net::{Host, Net},
    person::Person,
};
use audiocloud_rig::{
    audio::phrase,
    process::{Options, Rig},
    session::{RECEIVE_ID, SEND_ID, is_playing, publications, receive_field, subscriptions},
};
use serde_json::Value;

/// After this somebody who is put out hears nothing any more.
const OUT: Duration = Duration::from_secs(2);

/// Somebody with a Send, and a Receive that plays the whole session.
struct Player {
    person: Person,
    rigs: Vec<Rig>,
}

impl Player {
    fn new(stage: &Stage, name: &str, host: &Host) -> Self {
        Self { person: Person::new(stage, name, host), rigs: Vec::new() }
    }

    /// A Send that is new to its project, so that it joins the current session, and a Receive.
    fn play(&mut self, stage: &Stage) {
        let mut send = Options::new(SEND_ID);
        send.input = Some(stage.recording(&self.person.identity.device, &phrase(48_000, 2, 90.0)));
        send.start = true;
        self.rigs.push(self.person.rig(stage, "send", &send));
        self.rigs.push(self.person.receive(stage, "receive", Options::new(RECEIVE_ID)));
    }

    fn ask(&self, stage: &Stage, arguments: &[&str]) -> Value {
        self.person.ask(stage, arguments)
    }

    fn refused(&self, stage: &Stage, arguments: &[&str]) -> String {
        self.person.refused(stage, arguments)
    }

    fn wait<T>(&self, stage: &Stage, what: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
        self.person.wait(stage, LIVE, what, wanted)
    }

    /// Plays the streams of exactly these, and the one from the other process of its own.
    fn hears(&self, stage: &Stage, others: &[&Player]) {
        let others = others.iter().map(|other| other.person.identity.device.as_str());
        let mut wanted: Vec<&str> = others.chain([self.person.identity.device.as_str()]).collect();
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
    let players = names.map(|name| Player::new(&stage, name, &net.host(name)));
    let [mut anna, mut ben, mut carla, mut dora, mut eve] = players;

    // Founded, invited by link, joined: everybody hears everybody else.
    anna.ask(&stage, &["session", "create", "Friday jam", "--json"]);
    anna.play(&stage);
    for guest in [&mut ben, &mut carla] {
        let link = anna.person.link(&stage, &[]);
        guest.ask(&stage, &["session", "join", &link, "--json"]);
        guest.play(&stage);
    }
    anna.hears(&stage, &[&ben, &carla]);
    ben.hears(&stage, &[&anna, &carla]);
    carla.hears(&stage, &[&anna, &ben]);

    // Who may only listen hears all, is heard by nobody, rewires nothing and invites nobody.
    let link = anna.person.link(&stage, &["--rights", "listener"]);
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
    let for_carla = anna.person.link(&stage, &["--for", &carla.person.identity.user]);
    let said = eve.refused(&stage, &["session", "join", &for_carla]);
    println!("made for another: {said}");
    assert!(said.contains("for another user"), "{said}");
    let ended = anna.person.link(&stage, &["--expires", "1s"]);
    std::thread::sleep(Duration::from_secs(2));
    let said = eve.refused(&stage, &["session", "join", &ended]);
    println!("expired: {said}");
    assert!(said.contains("expired"), "{said}");

    // What Carla has, copied to a machine of Eve's: of no use without Carla's key.
    let store = "sessions.redb";
    std::fs::copy(carla.person.world.config.join(store), eve.person.world.config.join(store))
        .expect("copied");
    let mut receive = Options::new(RECEIVE_ID);
    let status = anna.ask(&stage, &["status", "--json"]);
    let stream = publications(&status)[0]["stream"].as_str().expect("a stream").to_owned();
    receive.fields.push(("stream".into(), receive_field(&anna.person.identity.device, &stream)));
    eve.rigs.push(eve.person.rig(&stage, "receive", &receive));
    let said = eve.wait(&stage, "a membership that is not hers", |status| {
        let sessions = status["runtimes"][0]["sessions"].as_array()?;
        sessions.iter().find_map(|session| session["trouble"].as_str().map(str::to_owned))
    });
    println!("copied: {said}");
    assert!(publishers(&eve.person.world.status(&stage.tools).expect("a status")).is_empty(), "Eve hears");

    // Put out: at once, and by all.
    let began = Instant::now();
    anna.ask(
        &stage,
        &["session", "revoke", &ben.person.identity.user[..12], "--because", "too loud", "--json"],
    );
    carla.hears(&stage, &[&anna]);
    ben.hears(&stage, &[]);
    let took = began.elapsed();
    println!("put out after {took:?}");
    assert!(took < OUT, "put out after {took:?}");
    anna.hears(&stage, &[&carla]);

    for player in [anna, ben, carla, dora, eve] {
        for rig in player.rigs {
            let run = rig.finish().expect("a run");
            assert_eq!(run.report.heap_operations.unwrap_or(0), 0, "{:#?}", run.report);
        }
    }
}
