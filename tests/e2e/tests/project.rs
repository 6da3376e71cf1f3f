//! Projects of a session: new plug-ins join it, saved ones come back by themselves, and who is no member reads whom to
//! ask.

use std::time::Duration;

use audiocloud_e2e::{LIVE, Stage, sentences};
use audiocloud_rig::{
    audio::phrase,
    process::{Options, Rig},
    session::{RECEIVE_ID, SEND_ID, START, World, is_playing, publications, subscriptions},
};
use serde_json::{Value, json};

const TALK: &str = "00000000000000ee";
/// A project that was saved is connected again within this.
const AGAIN: Duration = Duration::from_secs(5);

fn launch(stage: &Stage, world: &World, name: &str, options: &Options) -> Rig {
    let mut rig = world.rig(&stage.tools, name, options).expect("a rig");
    rig.wait("ready", START).expect("ready");
    rig
}

fn ask(stage: &Stage, world: &World, arguments: &[&str]) -> Value {
    world.ask(&stage.tools, arguments).unwrap_or_else(|error| panic!("{error:#}"))
}

fn wait<T>(
    stage: &Stage,
    world: &World,
    within: Duration,
    what: &str,
    wanted: impl Fn(&Value) -> Option<T>,
) -> T {
    world.wait_status(&stage.tools, within, what, wanted).unwrap_or_else(|error| panic!("{error:#}"))
}

fn send(stage: &Stage, world: &World, name: &str, document: Option<Value>) -> Rig {
    let mut options = Options::new(SEND_ID);
    options.fields.extend(document.map(|document| ("stream".into(), document)));
    options.input = Some(stage.recording(name, &phrase(48_000, 2, 60.0)));
    options.start = true;
    launch(stage, world, name, &options)
}

/// The ids of all that is played.
fn playing(status: &Value) -> Vec<String> {
    let playing = subscriptions(status).into_iter().filter(|entry| is_playing(entry));
    playing.filter_map(|entry| entry["stream"].as_str().map(str::to_owned)).collect()
}

fn document(state: &Value) -> Value {
    serde_json::from_str(state["fields"]["stream"].as_str().expect("the field")).expect("JSON")
}

#[test]
fn a_project_remembers_its_session_and_whom_to_ask() {
    let stage = Stage::new();
    let (anna, ben, carla) = (&stage.world, stage.another("ben", ""), stage.another("carla", ""));
    let created = ask(&stage, anna, &["session", "create", "Friday jam", "--json"]);
    let session = created["session"].as_str().expect("an id").to_owned();
    let kept = json!({ "id": session, "name": "Friday jam", "ask": "Anna" });

    // A new Send joins the current session; what is for talking says so in its project.
    let mut drums = send(&stage, anna, "drums", None);
    let talk = json!({ "schema": 3, "name": "Talk", "stream": TALK, "session": kept, "talk_back": true });
    let talk = send(&stage, anna, "talk", Some(talk));
    let stream = wait(&stage, anna, LIVE, "two streams of the session", |status| {
        let published = publications(status);
        let mut of_session = published.iter().filter(|entry| entry["session"] == session.as_str());
        let drums = of_session.clone().find(|entry| entry["purpose"] != "talk-back")?["stream"].as_str()?;
        of_session.find(|entry| entry["purpose"] == "talk-back")?;
        Some(drums.to_owned())
    });
    assert_eq!(document(&drums.state().expect("a state"))["session"]["id"], session.as_str());

    // Ben follows a link, and hears the drums: talk is for who picks it.
    let invited = ask(&stage, anna, &["session", "invite", "--json"]);
    ask(&stage, &ben, &["session", "join", invited["link"].as_str().expect("a link"), "--json"]);
    let mut options = Options::new(RECEIVE_ID);
    let everyone = json!({ "schema": 3, "session": kept, "play": "session" });
    options.fields.push(("stream".into(), everyone));
    options.parameters.push(("report-latency".into(), "on".into()));
    let mut receive = launch(&stage, &ben, "receive", &options);
    let heard = |status: &Value| (playing(status) == [stream.clone()]).then_some(());
    wait(&stage, &ben, LIVE, "the drums alone", heard);
    // Past the time after which a latency that stays is told to the host, and kept in the project.
    receive.command("run-on 5").expect("told");
    receive.wait("ran-on", START).expect("ran on");
    assert_eq!(
        subscriptions(&ben.status(&stage.tools).expect("a status")).len(),
        1,
        "no talk-back in the mix"
    );
    let state = receive.state_file();
    let run = receive.finish().expect("a run");
    assert_eq!(run.report.heap_operations.unwrap_or(0), 0, "{:#?}", run.report);
    let saved = document(&run.state);
    assert!(saved["latency_us"].as_u64().is_some_and(|latency_us| latency_us > 0), "{saved}");

    // The project is opened again: connected by itself.
    let mut again = Options::new(RECEIVE_ID);
    again.state = Some(state);
    let mut opened = launch(&stage, &ben, "again", &again);
    wait(&stage, &ben, AGAIN, "the drums again", heard);

    // Anna leaves: she is missing, and the latency stays as it was.
    drop((drums.finish().expect("a run"), talk.finish().expect("a run")));
    let missing = |status: &Value| {
        let instances = status["runtimes"][0]["instances"].as_array()?;
        let missing = instances[0]["missing"].as_array()?;
        let latency = instances[0]["reported_latency_frames"].as_u64()?;
        (!missing.is_empty() && latency > 0).then_some(latency)
    };
    let told = wait(&stage, &ben, LIVE, "somebody missing", missing);
    opened.command("run-on 4").expect("told");
    opened.wait("ran-on", START).expect("ran on");
    assert_eq!(wait(&stage, &ben, LIVE, "somebody missing still", missing), told, "frames");
    drop(opened.finish().expect("a run"));

    // Carla, who is no member, opens it: she reads whom to ask.
    let opened = launch(&stage, &carla, "not hers", &again);
    let said = wait(&stage, &carla, LIVE, "whom to ask", |status| {
        sentences(status).into_iter().find(|sentence| sentence.contains("no member"))
    });
    assert!(said.contains("“Friday jam”") && said.contains("Ask Anna for a new link"), "{said}");
    drop(opened.finish().expect("a run"));
}
