//! Ardour without a window follows a session that a Clock in another process leads: what it is told by the bridge of a second
//! Clock, it does, by what its surface says.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use audiocloud_e2e::Stage;
use audiocloud_e2e::jack::{Jack, until};
use audiocloud_rig::process::{Options, Rig};
use audiocloud_rig::session::{CLOCK_ID, START};
use audiocloud_rig::transport::Change;
use serde_json::{Value, json};
use tungstenite::WebSocket;

const FOLDER: &str = "/usr/lib/ardour7";
const SURFACE: &str = "127.0.0.1:3818";
const RATE: u64 = 48_000;
/// The session: it stands at one place, plays from there, goes on elsewhere, and stands at another tempo.
const BPM: f64 = 97.0;
const FROM: f64 = 8.0;
const ELSEWHERE: f64 = 64.0;
const AT_LAST: (f64, f64) = (32.0, 140.0);
const PLAYS_S: u64 = 1;
const JUMPS_S: u64 = 5;
const STOPS_S: u64 = 8;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ardour's place may be so far off: it begins with a period of its own, and says where it is ten times a second.
const OFF_MS: f64 = 60.0;

/// What runs of Ardour, with the folder that it lives in.
struct Ardour {
    surface: WebSocket<TcpStream>,
    tempo: Option<f64>,
    rolls: Option<bool>,
    /// Where it said that it is, and when.
    place: Option<(f64, Instant)>,
}

impl Ardour {
    fn environment(command: &mut Command, home: &Path) {
        command
            .env("HOME", home)
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("LD_LIBRARY_PATH", FOLDER)
            .env("ARDOUR_DATA_PATH", "/usr/share/ardour7")
            .env("ARDOUR_CONFIG_PATH", "/etc/ardour7")
            .env("ARDOUR_DLL_PATH", FOLDER)
            .env("ARDOUR_BACKEND_PATH", format!("{FOLDER}/backends"))
            .env("ARDOUR_SURFACES_PATH", format!("{FOLDER}/surfaces"));
    }

    /// The program without a window; nothing where it is not installed, which is said.
    fn program() -> Option<PathBuf> {
        let files = std::fs::read_dir(FOLDER).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_it = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("hardour-"))
        };
        let found = files.into_iter().find(is_it);
        if found.is_none() {
            println!("skipped: there is no Ardour 7 in {FOLDER} (remedy: apt-get install ardour)");
        }
        found
    }

    /// An empty session whose surfaces are switched on.
    fn make(home: &Path, session: &Path) {
        for folder in [".cache", ".config"] {
            std::fs::create_dir_all(home.join(folder)).expect("a folder");
        }
        let script = format!(
            "assert(AudioEngine:set_backend('None (Dummy)', '', ''))\n\
             local session = create_session('{}', 'first', {RATE})\n\
             assert(session)\nsession:save_state('')\nclose_session()\n",
            session.display()
        );
        let mut command = Command::new(format!("{FOLDER}/luasession"));
        Self::environment(&mut command, home);
        command.arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn().expect("luasession belongs to Ardour");
        process.stdin.take().expect("piped").write_all(script.as_bytes()).expect("it reads");
        assert!(process.wait().expect("it ends").success(), "no session was made");
        let file = session.join("first.ardour");
        let mut text = std::fs::read_to_string(&file).expect("the session's file");
        for surface in ["Open Sound Control (OSC)", "WebSockets Server (Experimental)"] {
            let off = format!("name=\"{surface}\" active=\"0\"");
            assert!(text.contains(&off), "no {surface} in the session");
            text = text.replace(&off, &format!("name=\"{surface}\" active=\"1\""));
        }
        std::fs::write(file, text).expect("written");
    }

    /// Listens to the one that runs.
    fn listen() -> Self {
        let mut stream = None;
        until("Ardour's surface", || {
            stream = TcpStream::connect(SURFACE).ok();
            stream.is_some()
        });
        let (surface, _) = tungstenite::client::client(format!("ws://{SURFACE}/"), stream.expect("there"))
            .expect("a surface");
        surface.get_ref().set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
        Self { surface, tempo: None, rolls: None, place: None }
    }

    /// Hears what it says until something is so.
    fn hear(&mut self, what: &str, stage: &Stage, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            if Instant::now() > deadline {
                let Self { tempo, rolls, place, .. } = self;
                let clocks =
                    stage.world.wait_status(&stage.tools, START, "a status", |all| Some(all.clone()));
                panic!("{what} did not come: {tempo:?} bpm, rolls: {rolls:?}, at {place:?}; {clocks:#?}");
            }
            let Ok(message) = self.surface.read() else { continue };
            let text = message.to_text().unwrap_or_default();
            let Ok(said) = serde_json::from_str::<Value>(text) else { continue };
            let value = &said["val"][0];
            match said["node"].as_str() {
                Some("transport_tempo") => self.tempo = value.as_f64(),
                Some("transport_roll") => self.rolls = value.as_bool(),
                Some("transport_time") => {
                    self.place = value.as_f64().map(|seconds| (seconds, Instant::now()));
                }
                _ => {}
            }
        }
    }

    /// The leader's tempo is by its sound card: some parts in ten thousand of it may be missing in a while as short as this.
    fn stands_at(&self, beat: f64, bpm: f64) -> bool {
        let near =
            |found: Option<f64>, wanted: f64| found.is_some_and(|found| (found / wanted - 1.0).abs() < 1e-3);
        self.rolls == Some(false)
            && near(self.tempo, bpm)
            && near(self.place.map(|(seconds, _)| seconds), beat * 60.0 / bpm)
    }

    /// How much later than it should it is, in ms, if it was at `beat` at an instant.
    fn late_ms(&self, beat: f64, then: Instant) -> f64 {
        let (seconds, seen) = self.place.expect("it says where it is");
        let wanted = beat * 60.0 / BPM + seen.saturating_duration_since(then).as_secs_f64();
        (wanted - seconds) * 1e3
    }
}

/// A Clock in a process of its own.
fn clock(stage: &Stage, name: &str, role: &str, bridges: &Value, script: Vec<Change>) -> Rig {
    let mut options = Options::new(CLOCK_ID);
    options.parameters = vec![("role".into(), role.into())];
    options.transport = Some(script);
    options.seconds_max = 90.0;
    options.fields.push(("clock".into(), json!({ "schema": 3, "session": null, "bridges": bridges })));
    let mut rig = stage.world.rig(&stage.tools, name, &options).expect("a rig");
    rig.wait("ready", START).expect("ready");
    rig
}

fn script() -> Vec<Change> {
    let still = Change { playing: Some(false), bpm: Some(BPM), quarter: Some(FROM), ..Change::default() };
    let at = |seconds: u64, change: Change| Change { frame: seconds * RATE, ..change };
    vec![
        still,
        at(PLAYS_S, Change { playing: Some(true), ..Change::default() }),
        at(JUMPS_S, Change { quarter: Some(ELSEWHERE), ..Change::default() }),
        at(
            STOPS_S,
            Change {
                playing: Some(false),
                quarter: Some(AT_LAST.0),
                bpm: Some(AT_LAST.1),
                ..Change::default()
            },
        ),
    ]
}

#[test]
fn ardour_takes_tempo_place_start_and_stop_from_a_session_that_another_leads() {
    let Some(program) = Ardour::program() else { return };
    let Some(mut jack) = Jack::start(256) else { return };
    let stage = Stage::new();
    let (home, session) = (stage.path("home"), stage.path("session"));
    Ardour::make(&home, &session);
    let mut command = jack.command(program.to_str().expect("a path"));
    Ardour::environment(&mut command, &home);
    jack.spawn(command.arg(&session).arg("first")).expect("Ardour runs");
    let mut ardour = Ardour::listen();

    let bridges = json!({ "ardour": { "on": true, "address": SURFACE } });
    let follows = clock(&stage, "follows", "Follow", &bridges, Vec::new());
    let mut leads = clock(&stage, "leads", "Lead", &Value::Null, script());
    // It rolls as it comes up. Standing still it takes the tempo, and the place that it will play from.
    ardour.hear("tempo and place while it stands", &stage, |ardour| ardour.stands_at(FROM, BPM));
    leads.command("start").expect("told");
    let begun = Instant::now();
    let due = |seconds: u64| begun + Duration::from_secs(seconds);
    ardour.hear("the start", &stage, |ardour| ardour.rolls == Some(true));
    let beyond = |seconds: f64| move |ardour: &Ardour| ardour.place.is_some_and(|(at, _)| at > seconds);
    ardour.hear("two seconds of it", &stage, beyond(FROM * 60.0 / BPM + 2.0));
    // The leader's script begins with the block after it was told to.
    let started = ardour.late_ms(FROM, due(PLAYS_S));
    ardour.hear("the jump", &stage, beyond(ELSEWHERE * 60.0 / BPM + 1.0));
    let jumped = ardour.late_ms(ELSEWHERE, due(JUMPS_S));
    println!("{started:.1} ms late after the start, {jumped:.1} ms after the jump, by the test's own clock");
    assert!((started - jumped).abs() < OFF_MS, "the jump has led elsewhere than the start");
    assert!(started.abs() < 150.0, "that is not the leader's place");
    ardour
        .hear("the stop, the last place and tempo", &stage, |ardour| ardour.stands_at(AT_LAST.0, AT_LAST.1));
    for rig in [leads, follows] {
        let report = rig.finish().expect("a report").report;
        assert_eq!(report.process_errors, 0);
    }
}
