//! The same plug-in inside a JACK client's callback, on a server of its own with the dummy driver.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use audiocloud_rig::{
    analysis, audio,
    process::{Block, Options},
};
use rustix::process::{Pid, Signal};

mod built;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Asked, not killed: a server that is killed keeps its place among the eight that JACK's registry holds.
        let asked = rustix::process::kill_process(Pid::from_child(&self.0), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while asked.is_ok() && Instant::now() < deadline {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A server of this name; `None` where there is none to start. The first one after a server of that name was killed only
/// clears its remains away, and ends: so there is a second attempt.
fn server(name: &str) -> Option<Server> {
    for _ in 0..2 {
        let mut command = Command::new("jackd");
        command.args(["--no-realtime", "-n", name, "-d", "dummy", "-r", "48000", "-p", "128"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let mut server = Server(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && matches!(server.0.try_wait(), Ok(None)) {
            let answer = Command::new("jack_wait").args(["-s", name, "-w", "-t", "1"]).output();
            if answer.is_ok_and(|output| output.status.success()) {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    panic!("jackd is installed, but no server answers: see what `jackd -n {name} -d dummy` says");
}

#[test]
fn a_plugin_runs_in_a_jack_client() {
    // Always the same: JACK gives the place of a dead server to the next of its name.
    let name = "audiocloud-rig-test".to_owned();
    let Some(_server) = server(&name) else {
        println!("skipped: jackd is not installed (apt-get install jackd2)");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let source = audio::phrase(48_000, 2, 0.5);
    let input = folder.path().join("in.wav");
    audio::write_f32(&input, &source).expect("written");
    let mut options = Options::new("org.audiocloud.test.clean");
    options.input = Some(input);
    options.jack = Some("rig".into());
    options.block = Block::Fixed(1024);
    options.seconds_max = 30.0;
    options.environment.push(("JACK_DEFAULT_SERVER".into(), name));
    let mut rig = built::ready(folder.path(), &options);
    rig.command("start").expect("told");
    rig.wait("input-done", Duration::from_secs(20)).expect("all in");
    let run = rig.finish().expect("a run");
    assert_eq!(run.report.heap_operations, Some(0));
    assert_eq!(run.report.scheduler, "JACK's");
    assert!(run.log.records.iter().all(|record| record.frames == 128), "JACK's own blocks");
    assert!(analysis::compare(&source, &run.output).bit_exact);
}
