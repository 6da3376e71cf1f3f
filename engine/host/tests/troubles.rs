//! What breaks down costs itself alone: it is muted without a click, named, and kept from being loaded again.

mod bed;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use audiocloud_host::error::HostError;
use audiocloud_host::library::Library;
use audiocloud_host::plugin::HostedPlugin;
use audiocloud_misbehaving as trouble;
use bed::{GAIN, MONO, Rig, UNMAKEABLE, built, library, noise, program, setup, wait};

const FRAMES: usize = 4800;

/// A slow sine: whatever steps is not its own.
fn sine() -> Vec<f32> {
    let sample = |frame: usize| {
        let sample = 0.5 * (0.01 * f64::from(u32::try_from(frame).unwrap())).sin();
        #[allow(clippy::cast_possible_truncation, reason = "samples have 24 bits")]
        let sample = sample as f32;
        sample
    };
    (0..FRAMES).map(sample).collect()
}

fn rig(library: &Arc<Library>, id: &str) -> Rig {
    Rig::new(library, id, &setup(64), vec![vec![sine(), sine()]])
}

fn give(rig: &mut Rig, trouble: f32) {
    rig.controller.set_parameter(&mut rig.graph, rig.key, trouble::TROUBLE, trouble).unwrap();
}

/// Plays two plug-ins side by side; in the middle one of them gets into trouble.
fn play_through(trouble: f32, words: &str) {
    let (_folder, library) = library();
    let (mut broken, mut neighbour) = (rig(&library, GAIN), rig(&library, MONO));
    broken.play_live(2048, 64);
    neighbour.play_live(2048, 64);
    give(&mut broken, trouble);
    while broken.host.at < FRAMES {
        broken.host.offline = false;
        broken.play(broken.host.at + 64, &[]);
        neighbour.play_live(broken.host.at, 64);
        if broken.host.at == 2048 + 640 {
            wait("its death", || !broken.handle.status().running);
        }
    }
    let status = broken.handle.status();
    assert!(status.words.as_deref().unwrap_or_default().contains(words), "{status:?}");
    let heard = &broken.host.output[0];
    assert_eq!(heard[64..2112], sine()[..2048], "until then it is whole");
    let step = heard.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
    assert!(step < 0.02, "a click of {step}");
    assert!(heard[2400..].iter().all(|sample| *sample == 0.0), "it is silent afterwards");

    assert_eq!(neighbour.host.output[1][64..], sine()[..FRAMES - 64], "its neighbour is whole");
    assert_eq!(neighbour.handle.status().late_blocks, 0);

    wait("quarantine", || !library.quarantined().is_empty());
    let held = library.quarantined();
    assert_eq!((held[0].id.as_deref(), held.len()), (Some(GAIN), 1));
    let refused = HostedPlugin::open(&library, GAIN, &setup(64), None).unwrap_err();
    assert!(matches!(refused, HostError::Quarantined { .. }), "{refused}");
    assert!(HostedPlugin::open(&library, MONO, &setup(64), None).is_ok());
    assert_eq!(library.release(GAIN).unwrap(), 1);
    assert!(HostedPlugin::open(&library, GAIN, &setup(64), None).is_ok());
}

#[test]
fn a_crash() {
    play_through(trouble::CRASH, "SIGSEGV");
}

#[test]
fn an_abort() {
    play_through(trouble::GIVE_UP, "SIGABRT");
}

#[test]
fn an_exit() {
    play_through(trouble::EXIT, "ended by itself");
}

// Takes as long as a call must take to be called hung.
#[test]
fn a_hang() {
    play_through(trouble::HANG, "hung");
}

#[test]
fn a_kill_from_outside_is_not_its_fault() {
    let (_folder, library) = library();
    let mut rig = rig(&library, GAIN);
    rig.play_live(2048, 64);
    let process = rig.handle.process_id().to_string();
    assert!(Command::new("kill").args(["-KILL", &process]).status().unwrap().success());
    wait("its death", || !rig.handle.status().running);
    rig.host.offline = false;
    rig.play_in(FRAMES, 64);
    assert!(rig.handle.status().words.unwrap().contains("from outside"));
    assert!(rig.handle.save_state().unwrap_err().to_string().contains("from outside"));
    assert_eq!(library.quarantined(), []);
}

#[test]
fn a_failed_call_is_silent_and_counted() {
    let (_folder, library) = library();
    let mut rig = rig(&library, GAIN);
    rig.play_live(2048, 64);
    give(&mut rig, trouble::ERROR);
    rig.play_live(2048 + 640, 64);
    give(&mut rig, 0.0);
    rig.play_live(FRAMES, 64);
    assert_eq!(rig.handle.status().failed_calls, 10);
    assert_eq!(rig.host.output[0][2112..2112 + 640], [0.0; 640]);
    assert_eq!(rig.host.output[0][2112 + 640..], sine()[2048 + 640..FRAMES - 64]);
}

#[test]
fn what_is_not_a_number_does_not_get_out() {
    let (_folder, library) = library();
    let mut rig = rig(&library, GAIN);
    rig.play_live(2048, 64);
    give(&mut rig, trouble::NOT_A_NUMBER);
    rig.play_live(2048 + 640, 64);
    give(&mut rig, 0.0);
    rig.play_live(FRAMES, 64);
    assert!(rig.host.output[0].iter().all(|sample| sample.is_finite()));
    assert_eq!(rig.host.output[0][3500..], sine()[3436..FRAMES - 64]);
    assert!(rig.controller.status().not_finite > 0);
}

#[test]
fn what_cannot_be_made_is_held() {
    let (_folder, library) = library();
    let refused = HostedPlugin::open(&library, UNMAKEABLE, &setup(64), None).unwrap_err();
    assert!(refused.to_string().contains("SIGSEGV"), "{refused}");
    wait("quarantine", || !library.quarantined().is_empty());
    assert!(matches!(library.find(UNMAKEABLE), Err(HostError::Quarantined { .. })));
    assert!(matches!(library.find("org.audiocloud.test.none"), Err(HostError::Unknown { .. })));
}

#[test]
fn files_that_break_the_search_are_held() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["good.clap", "crashes.clap", "hangs.clap"] {
        std::os::unix::fs::symlink(built(), at(name)).unwrap();
    }
    std::fs::write(at("text.clap"), "no library").unwrap();
    let library = Library::open(&at("state"), program());
    let folders = [folder.path().to_owned()];
    let report = library.search_within(&folders, Duration::from_millis(300)).unwrap();
    assert_eq!((report.files, report.searched, report.plugins), (4, 4, 6), "{report:?}");
    let fault = |name: &str| {
        let found = report.faults.iter().find(|(path, _)| path == Path::new(&at(name)));
        found.map(|(_, words)| words.clone()).unwrap_or_default()
    };
    assert!(fault("crashes.clap").contains("crashed"), "{report:?}");
    assert!(fault("hangs.clap").contains("hung"), "{report:?}");
    assert!(fault("text.clap").contains("does not load"), "{report:?}");
    let held: Vec<_> = library.quarantined().into_iter().map(|held| held.path).collect();
    assert_eq!(held, [at("crashes.clap"), at("hangs.clap")]);
    // What is known is not loaded again, now or by the next process.
    let again = Library::open(&at("state"), program());
    let report = again.search_within(&folders, Duration::from_millis(300)).unwrap();
    assert_eq!((report.searched, report.plugins, report.faults.len()), (0, 6, 3));
    // Released, it is tried again.
    assert_eq!(again.release(at("crashes.clap").to_str().unwrap()).unwrap(), 1);
    assert_eq!(again.search_within(&folders, Duration::from_millis(300)).unwrap().searched, 1);
}

#[test]
fn the_process_ends_with_its_plug_in() {
    let (_folder, library) = library();
    let rig = rig(&library, GAIN);
    let process = rig.handle.process_id();
    assert!(lives(process));
    drop(rig);
    wait("its end", || !lives(process));
    assert_eq!(library.quarantined(), []);
}

/// Set: this process opens a plug-in, says which process that is, and waits to be killed.
const VICTIM: &str = "AUDIOCLOUD_TEST_VICTIM";

#[test]
fn the_process_ends_with_its_node() {
    if std::env::var_os(VICTIM).is_some() {
        let (_folder, library) = library();
        let rig = rig(&library, GAIN);
        eprintln!("process {}", rig.handle.process_id());
        loop {
            std::thread::park();
        }
    }
    let mut node = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_ends_with_its_node", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(node.stderr.take().unwrap()).lines();
    let process = lines.find_map(|line| line.unwrap().strip_prefix("process ")?.parse().ok()).unwrap();
    assert!(lives(process));
    node.kill().unwrap();
    node.wait().unwrap();
    wait("its end", || !lives(process));
}

/// Twenty times four blocks at once, as after a delay on the way, with as much time between them as four blocks have; whether
/// each waits for its answer.
fn play_bursts(rig: &mut Rig, waits: bool) {
    const BLOCK: usize = 2048;
    let mut answers = rig.handle.answers();
    rig.host.offline = false;
    while rig.host.at < rig.frames() {
        for _ in 0..4 {
            let to = (rig.host.at + BLOCK).min(rig.frames());
            if waits && to > rig.host.at {
                let frames = u64::try_from(to - rig.host.at).unwrap();
                answers.wait(u64::try_from(rig.host.at).unwrap(), frames);
            }
            rig.play(to, &[]);
        }
        wait("what was asked for", || {
            let status = rig.handle.status();
            !status.running || status.turn.count + 32 > u64::try_from(rig.host.at / 64).unwrap()
        });
    }
}

#[test]
fn blocks_that_come_at_once_cost_nothing_where_one_may_wait() {
    const FRAMES: usize = 20 * 4 * 2048;
    let (_folder, library) = library();
    let input = noise(2, FRAMES);
    let rig = || {
        let mut rig = Rig::new(&library, GAIN, &setup(2048), vec![vec![input.clone(), input.clone()]]);
        // Each 64 frames, of 1333 µs, take it 100 µs.
        give(&mut rig, trouble::SLOW);
        rig
    };
    let (mut waits, mut does_not) = (rig(), rig());
    play_bursts(&mut waits, true);
    play_bursts(&mut does_not, false);
    assert_eq!(waits.host.output[0][2048..], input[..FRAMES - 2048]);
    assert_eq!(waits.handle.status().late_blocks, 0);
    assert!(does_not.handle.status().late_blocks > 20, "{:?}", does_not.handle.status());
}

#[test]
fn one_that_hangs_is_waited_for_once() {
    let (_folder, library) = library();
    let mut rig = Rig::new(&library, GAIN, &setup(2048), vec![vec![vec![0.0; 65_536]; 2]]);
    give(&mut rig, trouble::HANG);
    rig.host.offline = false;
    let mut answers = rig.handle.answers();
    let began = Instant::now();
    for block in 0..16 {
        answers.wait(2048 * block, 2048);
        rig.play(rig.host.at + 2048, &[]);
    }
    // Each time would be 15 times 43 ms.
    assert!((42..300).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[test]
fn late_blocks_are_missed_and_not_waited_for() {
    let (_folder, library) = library();
    let input = noise(1, 64_000);
    let mut rig = Rig::new(&library, GAIN, &setup(64), vec![vec![input.clone(), input.clone()]]);
    rig.host.offline = false;
    // A thousand blocks with no pause between them: far more than fit.
    rig.play_in(64_000, 64);
    let status = rig.handle.status();
    assert!(status.running && status.late_blocks > 0, "{status:?}");
    assert!(rig.host.output[0].iter().all(|sample| sample.abs() <= 1.0));
}

fn lives(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}
