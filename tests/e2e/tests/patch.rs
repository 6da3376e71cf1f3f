//! The patch bay and talk-back, through the plug-ins: who rewires what somebody else hears, who may not, and what no mix
//! ever has in it.

use std::f32::consts::TAU;

use audiocloud_e2e::{LIVE, Stage};
use audiocloud_rig::{
    audio::Audio,
    process::{Options, Rig},
    session::{Identity, RECEIVE_ID, SEND_ID, START, World, is_playing},
};
use serde_json::{Value, json};

const RATE_HZ: u16 = 48_000;
/// How long a tone is sent: longer than any test here.
const SECONDS: u32 = 60;
/// A tenth of a second: whole cycles of each tone, so that none of them shows in another's measure.
const WINDOW: usize = 4_800;
/// Of every Receive: a stream that is begun is heard later by this, which is to pass for no silence.
const DELAY_MS: f64 = 50.0;
const AMPLITUDE: f32 = 0.25;
/// At this amplitude a tone is there.
const THERE: f64 = 0.2;
/// At this one it is not. What lies between is a fade, or a window in which something begins or ends.
const GONE: f64 = 0.005;

/// A stream that is known by its pitch.
struct Tone {
    name: &'static str,
    id: &'static str,
    hz: u16,
}

const GUITAR: Tone = Tone { name: "Guitar", id: "00000000000000a1", hz: 400 };
const VOICE: Tone = Tone { name: "Voice", id: "00000000000000a2", hz: 1_000 };
const TALK: Tone = Tone { name: "Talk", id: "00000000000000a3", hz: 1_700 };
const TONES: [Tone; 3] = [GUITAR, VOICE, TALK];

impl Tone {
    fn recording(&self) -> Audio {
        let step = TAU * f32::from(self.hz) / f32::from(RATE_HZ);
        let cycle = usize::from(RATE_HZ / 100);
        let period: Vec<f32> =
            (0..RATE_HZ / 100).map(|frame| AMPLITUDE * (step * f32::from(frame)).sin()).collect();
        let frames = cycle * 100 * usize::try_from(SECONDS).expect("few");
        let channel: Vec<f32> = period.iter().copied().cycle().take(frames).collect();
        Audio { sample_rate: RATE_HZ.into(), channels: vec![channel; 2] }
    }

    /// The amplitude of its pitch in a window, by the window's Fourier sum.
    fn amplitude(&self, window: &[f32]) -> f64 {
        let step = std::f64::consts::TAU * f64::from(self.hz) / f64::from(RATE_HZ);
        let (mut along, mut across) = (0.0, 0.0);
        for (frame, sample) in (0_u32..).zip(window) {
            let (sine, cosine) = (step * f64::from(frame)).sin_cos();
            along += f64::from(*sample) * cosine;
            across += f64::from(*sample) * sine;
        }
        2.0 * along.hypot(across) / f64::from(u32::try_from(window.len()).expect("a window"))
    }
}

/// Which tones sounded together, one after the other, as "Guitar+Voice"; "" is silence.
fn heard(output: &Audio) -> Vec<String> {
    let mut heard: Vec<String> = Vec::new();
    for window in output.channels[0].chunks_exact(WINDOW) {
        let amplitudes = TONES.map(|tone| (tone.name, tone.amplitude(window)));
        if amplitudes.iter().all(|(_, amplitude)| *amplitude > THERE || *amplitude < GONE) {
            let there = amplitudes.iter().filter(|(_, amplitude)| *amplitude > THERE);
            heard.push(there.map(|(name, _)| *name).collect::<Vec<_>>().join("+"));
        }
    }
    heard.dedup();
    heard
}

/// Somebody with a machine.
struct Person<'a> {
    stage: &'a Stage,
    world: World,
    identity: Identity,
}

impl<'a> Person<'a> {
    fn new(stage: &'a Stage, name: &str) -> Self {
        let world = stage.another(name, "");
        let identity = world.identity(&stage.tools).expect("an identity");
        Self { stage, world, identity }
    }

    fn ask(&self, arguments: &[&str]) -> Value {
        self.world
            .ask(&self.stage.tools, &[arguments, &["--json"]].concat())
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Why it is not done.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.world.audiocloud(&self.stage.tools, arguments).output().expect("an answer");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        println!("{arguments:?}: {}", said.trim());
        said
    }

    fn wait<T>(&self, what: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
        self.world
            .wait_status(&self.stage.tools, LIVE, what, wanted)
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn launch(&self, name: &str, mut options: Options, document: Value) -> Rig {
        options.fields.push(("stream".into(), document));
        let mut rig = self.world.rig(&self.stage.tools, name, &options).expect("a rig");
        rig.wait("ready", START).expect("ready");
        rig
    }

    fn send(&self, tone: &Tone, session: &Value) -> Rig {
        let mut options = Options::new(SEND_ID);
        options.input = Some(self.stage.recording(tone.name, &tone.recording()));
        options.start = true;
        let talk_back = tone.id == TALK.id;
        let document = json!({
            "schema": 3, "name": tone.name, "stream": tone.id, "session": session, "talk_back": talk_back,
        });
        self.launch(tone.name, options, document)
    }

    /// A Receive that others see under this name; `plays` are the fields that say what it plays.
    fn receive(&self, name: &str, open: bool, session: &Value, plays: &Value) -> Rig {
        let mut options = Options::new(RECEIVE_ID);
        options.parameters.push(("playout".into(), "Fixed".into()));
        options.parameters.push(("delay".into(), DELAY_MS.to_string()));
        let mut document = json!({ "schema": 3, "session": session, "input": name });
        let fields = document.as_object_mut().expect("an object");
        fields.extend(plays.as_object().expect("fields").clone());
        if open {
            fields.insert("open".into(), true.into());
        }
        self.launch(name, options, document)
    }

    /// As [`Self::receive`], of one stream of this publisher's.
    fn receive_one(&self, name: &str, open: bool, session: &Value, publisher: &str, tone: &Tone) -> Rig {
        let plays = json!({ "publisher": publisher, "stream": tone.id, "name": tone.name });
        self.receive(name, open, session, &plays)
    }

    /// Waits until the input of this name, in a process of this person's, plays these and nothing else.
    fn plays(&self, input: &str, tones: &[&Tone]) {
        let mut wanted: Vec<&str> = tones.iter().map(|tone| tone.id).collect();
        wanted.sort_unstable();
        self.wait(&format!("{input} plays {wanted:?}"), |status| {
            let runtimes = status["runtimes"].as_array()?;
            let of_it = |runtime: &&Value| {
                let inputs = runtime["inputs"].as_array().map(Vec::as_slice).unwrap_or_default();
                inputs.iter().any(|one| one["local"] == true && one["name"] == input)
            };
            let subscriptions = runtimes.iter().find(of_it)?["subscriptions"].as_array()?;
            let playing = subscriptions.iter().filter(|entry| is_playing(entry));
            let mut playing: Vec<&str> = playing.filter_map(|entry| entry["stream"].as_str()).collect();
            playing.sort_unstable();
            (playing == wanted && subscriptions.len() == wanted.len()).then_some(())
        });
    }

    /// Waits until the patch bay of this person shows these inputs.
    fn sees(&self, inputs: &[&str]) {
        self.wait(&format!("{inputs:?} in the patch bay"), |status| {
            let runtimes = status["runtimes"].as_array()?;
            let seen = |name: &&str| {
                let inputs = runtimes.iter().filter_map(|runtime| runtime["inputs"].as_array()).flatten();
                inputs.into_iter().any(|input| input["name"] == *name)
            };
            inputs.iter().all(seen).then_some(())
        });
    }
}

/// A few tenths of a second more of what these play now.
fn record(rigs: &mut [&mut Rig]) {
    for rig in &mut *rigs {
        rig.command("run-on 0.4").expect("told");
    }
    for rig in rigs {
        rig.wait("ran-on", START).expect("ran on");
    }
}

/// Loads the project again, changed, as a click in the window changes it.
fn change(rig: &mut Rig, folder: &World, change: impl Fn(&mut Value)) {
    let mut state = rig.state().expect("a state");
    let mut document: Value =
        serde_json::from_str(state["fields"]["stream"].as_str().expect("the field")).expect("JSON");
    change(&mut document);
    state["fields"]["stream"] = document.to_string().into();
    let path = folder.files.join("changed.json");
    std::fs::write(&path, state.to_string()).expect("written");
    rig.command(&format!("load {}", path.display())).expect("told");
    rig.wait("loaded", START).expect("loaded");
}

/// What was heard of a run, which touched no heap in its callbacks.
fn end(rig: Rig) -> Vec<String> {
    let run = rig.finish().expect("a run");
    assert_eq!(run.report.heap_operations.unwrap_or(0), 0, "{:#?}", run.report);
    heard(&run.output)
}

/// Somebody who founds a session, and the session as projects name it.
fn founder(stage: &Stage) -> (Person<'_>, Value) {
    let anna = Person::new(stage, "anna");
    let created = anna.ask(&["session", "create", "Friday jam"]);
    let session = json!({ "id": created["session"], "name": "Friday jam", "ask": "Anna" });
    (anna, session)
}

/// Somebody whom Anna invites, and who joins. The link says where she is: one of her plug-ins runs already.
fn guest<'a>(anna: &Person<'a>, name: &str, rights: &str) -> Person<'a> {
    let guest = Person::new(anna.stage, name);
    let invited = anna.ask(&["session", "invite", "--rights", rights]);
    guest.ask(&["session", "join", invited["link"].as_str().expect("a link")]);
    guest
}

#[test]
fn who_may_rewires_what_another_member_hears() {
    let stage = Stage::new();
    let (anna, session) = founder(&stage);
    let sends = [&GUITAR, &VOICE].map(|tone| anna.send(tone, &session));
    let guests = [("ben", "musician"), ("carla", "subscribe,control=Monitor"), ("dora", "listener")];
    let [ben, carla, dora] = &guests.map(|(name, rights)| guest(&anna, name, rights));
    let of_anna = &anna.identity.device;
    let mut monitor = ben.receive_one("Monitor", true, &session, of_anna, &GUITAR);
    let mut shut = ben.receive_one("Shut", false, &session, of_anna, &GUITAR);
    let mut everything = ben.receive("Everything", true, &session, &json!({ "play": "session" }));
    let idle = [carla, dora].map(|person| person.receive("Idle", false, &session, &json!({})));
    ben.plays("Monitor", &[&GUITAR]);
    ben.plays("Shut", &[&GUITAR]);
    ben.plays("Everything", &[&GUITAR, &VOICE]);
    for person in [&anna, carla, dora] {
        person.sees(&["Monitor", "Shut", "Everything"]);
    }
    record(&mut [&mut monitor, &mut shut, &mut everything]);

    // Anna may do as she likes with what is open, and so may Carla with the input that her ticket names.
    anna.ask(&["patch", "connect", "Monitor", "Voice"]);
    ben.plays("Monitor", &[&VOICE]);
    record(&mut [&mut monitor]);
    anna.ask(&["patch", "disconnect", "Monitor", "Voice"]);
    ben.plays("Monitor", &[]);
    record(&mut [&mut monitor]);
    carla.ask(&["patch", "connect", "Monitor", "Guitar"]);
    ben.plays("Monitor", &[&GUITAR]);
    record(&mut [&mut monitor]);
    // Within a mix, a stream is let in and kept out.
    anna.ask(&["patch", "disconnect", "Everything", "Guitar"]);
    record(&mut [&mut everything]);

    // With the switch off, or without the right, it is refused in words, and what is heard stays.
    let said = carla.refused(&["patch", "disconnect", "Everything", "Voice"]);
    assert!(said.contains("does not allow to control the effects of Everything"), "{said}");
    let said = dora.refused(&["patch", "disconnect", "Monitor", "Guitar"]);
    assert!(said.contains("does not allow to control the effects of Monitor"), "{said}");
    let said = anna.refused(&["patch", "connect", "Shut", "Voice"]);
    assert!(said.contains("its owner does not let others rewire it"), "{said}");
    change(&mut monitor, &ben.world, |document| document["open"] = false.into());
    let shut_now = |status: &Value| {
        let inputs = status["runtimes"][0]["inputs"].as_array()?;
        inputs.iter().any(|input| input["name"] == "Monitor" && input["open"] == false).then_some(())
    };
    carla.wait("the switch of Monitor off", shut_now);
    let said = carla.refused(&["patch", "disconnect", "Monitor", "Guitar"]);
    assert!(said.contains("its owner does not let others rewire it"), "{said}");
    record(&mut [&mut monitor, &mut shut]);
    // Ben needs nobody's leave.
    ben.ask(&["patch", "connect", "Shut", "Voice"]);
    ben.plays("Shut", &[&VOICE]);
    record(&mut [&mut shut]);

    assert_eq!(end(monitor), ["", "Guitar", "Voice", "", "Guitar"]);
    assert_eq!(end(shut), ["", "Guitar", "Voice"]);
    let mix = end(everything);
    assert_eq!(mix.iter().rev().take(2).rev().collect::<Vec<_>>(), ["Guitar+Voice", "Voice"], "{mix:?}");
    let log = ben.ask(&["session", "log"]).to_string();
    assert!(log.contains("Monitor") && log.contains("and may not"), "{log}");
    drop((sends, idle));
}

#[test]
fn talk_back_is_heard_by_who_picks_it_and_is_in_no_mix() {
    let stage = Stage::new();
    let (anna, session) = founder(&stage);
    let sends = [&GUITAR, &TALK].map(|tone| anna.send(tone, &session));
    let ben = guest(&anna, "ben", "musician");
    let person = json!({ "play": "person", "person": anna.identity.user, "name": "Anna" });
    let mut talk = ben.receive_one("Talk", true, &session, &anna.identity.device, &TALK);
    let mut mixes = [("Anna", person), ("Everything", json!({ "play": "session" }))]
        .map(|(name, plays)| (name, ben.receive(name, true, &session, &plays)));
    // Who talks is heard by who picked it: from here on a mix could have it as well.
    ben.plays("Talk", &[&TALK]);
    for (name, _) in &mixes {
        ben.plays(name, &[&GUITAR]);
    }
    anna.sees(&["Anna", "Everything"]);
    // Nor does it come in by the patch bay, whoever asks.
    for (who, input) in [(&anna, "Anna"), (&anna, "Everything"), (&ben, "Everything")] {
        let said = who.refused(&["patch", "connect", input, "Talk"]);
        assert!(said.contains("what is for talking is in no mix"), "{said}");
    }
    record(&mut [&mut talk]);
    for (name, rig) in &mut mixes {
        record(&mut [rig]);
        ben.plays(name, &[&GUITAR]);
    }
    assert_eq!(end(talk), ["", "Talk"]);
    for (name, rig) in mixes {
        assert_eq!(end(rig), ["", "Guitar"], "{name}");
    }
    drop(sends);
}
