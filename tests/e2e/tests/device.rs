//! Without a DAW: a recording is sent on one machine, played into JACK on another, recorded from there, and is the same.

use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use audiocloud_e2e::{Stage, jack::Jack, jack::until};
use audiocloud_rig::{
    analysis,
    audio::{self, phrase},
    session::World,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Waits longer than a loaded test machine keeps a thread waiting.
const DELAY_MS: &str = "120";

/// `audiocloud send` or `receive`, which says what it is in JSON, and what became of it at its end.
struct Program {
    child: Child,
    said: serde_json::StreamDeserializer<'static, serde_json::de::IoRead<ChildStdout>, Value>,
    what: &'static str,
}

impl Program {
    fn start(what: &'static str, mut command: Command) -> Self {
        let mut child =
            command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let output = child.stdout.take().expect("its output");
        Self { child, said: serde_json::Deserializer::from_reader(output).into_iter(), what }
    }

    fn says(&mut self) -> Value {
        match self.said.next() {
            Some(Ok(said)) => said,
            other => {
                let mut errors = String::new();
                self.child.stderr.take().expect("its errors").read_to_string(&mut errors).expect("text");
                panic!("{}: {other:?}: {errors}", self.what)
            }
        }
    }

    fn tell_to_end(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, Signal::TERM).expect("it is there");
    }

    /// What became of it.
    fn end(mut self) -> Value {
        let figures = self.says();
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "{}: {status}", self.what);
        figures
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `audiocloud` in a world, at a JACK server.
fn audiocloud(stage: &Stage, world: &World, jack: &Jack, arguments: &[&str]) -> Command {
    let mut command = world.audiocloud(&stage.tools, arguments);
    command.env("JACK_DEFAULT_SERVER", &jack.server);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in letters")
}

#[test]
fn a_recording_goes_through_jack_on_another_machine_and_is_the_same() {
    let Some(jack) = Jack::start(256) else { return };
    let stage = Stage::new();
    let (hall, booth) = (&stage.world, stage.another("booth", ""));
    let source = phrase(48_000, 2, 4.0).with_lead(0.3);
    let (file, copy) = (stage.recording("strings", &source), stage.path("copy.wav"));
    let [us, them] = [hall, &booth].map(|world| world.identity(&stage.tools).expect("an identity").user);
    // Port 9 discards: the entry is there for its key alone.
    hall.configure(&format!("[[peer]]\naddress = \"127.0.0.1:9\"\nkey = \"{them}\"\n")).expect("configured");
    let send = ["send", text(&file), "--name", "Strings", "--wait"];
    let mut sender = Program::start("the sender", audiocloud(&stage, hall, &jack, &send));
    let port = sender.says()["port"].as_u64().expect("a port");
    booth
        .configure(&format!("[[peer]]\naddress = \"127.0.0.1:{port}\"\nkey = \"{us}\"\n"))
        .expect("configured");

    // Whoever records it is there first.
    let capture = ["send", "--jack", "capture", "--name", "Copy"];
    let mut capture = Program::start("the capture", audiocloud(&stage, &booth, &jack, &capture));
    assert_eq!(capture.says()["sample_rate"], 48_000);
    let record = ["receive", "Copy", "--wav", text(&copy), "--delay", DELAY_MS, "--same-clock"];
    let mut recorder = Program::start("the recorder", audiocloud(&stage, &booth, &jack, &record));
    recorder.says();
    until("a recording", || copy.metadata().is_ok_and(|file| file.len() > 100_000));
    let play = [
        "receive",
        "Strings",
        "--jack",
        "monitor",
        "--connect",
        "capture:in_1,capture:in_2",
        "--delay",
        DELAY_MS,
        "--same-clock",
    ];
    let mut player = Program::start("the player", audiocloud(&stage, &booth, &jack, &play));
    assert_eq!(player.says()["name"], "Strings");

    let sent = sender.end();
    let frames = u64::try_from(source.frames()).expect("a length");
    assert_eq!((&sent["frames"], &sent["frames_dropped"]), (&frames.into(), &0.into()), "{sent}");
    // What is on its way has to arrive.
    let so_far = copy.metadata().expect("a recording").len();
    until("the rest of the recording", || {
        copy.metadata().is_ok_and(|file| file.len() > so_far + 48_000 * 2 * 4)
    });
    player.tell_to_end();
    let played = player.end();
    capture.tell_to_end();
    let captured = capture.end();
    // Its stream has ended, and so does it.
    let recorded = recorder.end();

    let received = audio::read(&copy).expect("a whole recording");
    let comparison = analysis::compare(&source, &received);
    let figures = format!("{comparison:?}; player {played}, capture {captured}, recorder {recorded}");
    // A server that a machine standing still keeps from its periods leaves gaps, and says so; without one all is the same.
    let overruns = [&played, &captured].map(|said| said["overruns"].as_u64().expect("a count"));
    let gaps = u64::try_from(comparison.runs.len() + comparison.moves.len()).expect("a count");
    assert!(comparison.found && gaps <= 2 * overruns.iter().sum::<u64>(), "{figures}");
    assert!(comparison.missing_frames == 0 || gaps > 0, "{figures}");
}

#[test]
fn without_a_server_it_says_what_to_do() {
    let stage = Stage::new();
    let mut command = stage.world.audiocloud(&stage.tools, &["send", "--jack", "nobody"]);
    let output = command.env("JACK_DEFAULT_SERVER", "audiocloud-none").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("start JACK") || said.contains("not installed"),
        "{said}"
    );
}
