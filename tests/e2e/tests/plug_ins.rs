//! CLAP plug-ins of somebody else's in the chains of a node: what they make comes back to the bit, and one that crashes costs
//! its own chain alone.

use std::{path::PathBuf, time::Duration};

use audiocloud_e2e::{
    Stage,
    remote_fx::{FxNode, chain},
};
use audiocloud_misbehaving as trouble;
use audiocloud_net::runtime::remote::Transfer;
use serde_json::Value;

use crate::insert::{FRAMES, Insert, RATE_HZ, noise, until};

const GAIN: &str = "org.audiocloud.test.gain";
const MONO: &str = "org.audiocloud.test.mono";
/// Of an empty chain's first effect.
const FIRST: u32 = 0;

/// A node with the test plug-ins and whatever else is installed.
fn node(stage: &Stage) -> FxNode {
    let folder = stage.path("clap");
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(built(), folder.join("test.clap")).unwrap();
    let node = FxNode::with(stage, &["--metrics", "off"], &[("CLAP_PATH", &folder)]);
    until("the search for plug-ins", || found(stage, GAIN));
    node
}

/// The test plug-ins' library: built, as a dependency of this test, beside the test itself.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let library = test.with_file_name("libaudiocloud_misbehaving.so");
    assert!(library.exists(), "{} is missing", library.display());
    library
}

fn known(stage: &Stage) -> Value {
    stage.world.ask(&stage.tools, &["plug-ins", "--json"]).unwrap()
}

/// The id of a plug-in that can be loaded, by its id or its name.
fn found(stage: &Stage, what: &str) -> Option<String> {
    let known = known(stage);
    let is_it = |one: &&Value| one["id"] == what || one["name"] == what;
    known["plug_ins"].as_array()?.iter().find(is_it)?["id"].as_str().map(str::to_owned)
}

/// A chain of these, exactly.
fn insert(stage: &Stage, name: &str, kinds: &[&str]) -> Insert {
    Insert::new(stage, name, chain(kinds).to_string().into_bytes(), Transfer::Exact)
}

fn clap(id: &str) -> String {
    format!("clap:{id}")
}

#[test]
fn a_plug_in_that_crashes_costs_its_own_chain_alone() {
    let stage = Stage::new();
    let _node = node(&stage);
    let mut broken = insert(&stage, "Broken", &[&clap(GAIN)]);
    let mut neighbour = insert(&stage, "Neighbour", &[&clap(MONO)]);
    until("both chains", || (broken.play(100, 512) & neighbour.play(100, 512)).then_some(()));
    broken.set(FIRST, trouble::TROUBLE, trouble::CRASH);
    until("both chains, after the crash", || {
        (broken.play(600, 512) & neighbour.play(600, 512)).then_some(())
    });

    let crashed_at = 100 * usize::try_from(FRAMES).unwrap();
    for (frame, sample) in neighbour.got.iter().enumerate() {
        assert_eq!(*sample, noise(0, u64::try_from(frame).unwrap()), "the neighbour's frame {frame}");
    }
    for (frame, sample) in broken.got[..crashed_at - 256].iter().enumerate() {
        assert_eq!(*sample, noise(0, u64::try_from(frame).unwrap()), "frame {frame} before the crash");
    }
    assert!(broken.got[crashed_at + 4096..].iter().all(|sample| *sample == 0.0), "it is silent afterwards");

    until("its name", || broken.report().contains("SIGSEGV").then_some(()));
    assert!(!neighbour.report().contains("SIGSEGV"));
    let held = until("quarantine", || {
        known(&stage)["quarantined"].as_array().and_then(|held| held.first().cloned())
    });
    assert_eq!((held["id"].as_str(), found(&stage, GAIN)), (Some(GAIN), None));
    let mut refused = insert(&stage, "Refused", &[&clap(GAIN)]);
    until("a chain without it", || refused.play(10, 512).then_some(()));
    until("its words", || refused.report().contains("quarantine").then_some(()));

    let released = stage.world.ask(&stage.tools, &["plug-ins", "release", GAIN, "--json"]).unwrap();
    assert_eq!(released["released"], 1);
    let mut again = insert(&stage, "Again", &[&clap(GAIN)]);
    again.set(FIRST, trouble::GAIN, 0.5);
    until("it plays again", || again.play(100, 512).then_some(()));
    let half = |(frame, sample): (usize, &f32)| *sample == 0.5 * noise(0, u64::try_from(frame).unwrap());
    assert!(again.got.iter().enumerate().all(half), "at half the level: {}", again.report());
}

/// Blocks that were held up on their way come at once: a plug-in in another process has time for each of them all the same.
#[test]
fn a_burst_costs_a_plug_in_nothing() {
    const BURSTS: u64 = 20;
    const BLOCKS: u64 = 8;
    let stage = Stage::new();
    let _node = node(&stage);
    let document = chain(&[&clap(GAIN)]).to_string().into_bytes();
    let mut insert = Insert::new(&stage, "Burst", document, Transfer::Live);
    // Each block of 2.7 ms takes it 0.2 ms and more.
    insert.set(FIRST, trouble::TROUBLE, trouble::SLOW);
    for _ in 0..BURSTS {
        assert!((0..BLOCKS).all(|_| insert.push()));
        std::thread::sleep(Duration::from_secs(BLOCKS * u64::from(FRAMES)) / RATE_HZ);
        insert.forget_answers();
    }
    let all = BURSTS * BLOCKS * u64::from(FRAMES) / 64;
    let status = until("its answers to all of them", || {
        let report: Value = serde_json::from_str(&insert.report()).ok()?;
        let status = report["plug_ins"][FIRST.to_string()].clone();
        (status["turn"]["count"] == all).then_some(status)
    });
    // Without a pause it would miss seven of eight; a machine that stands still costs one or the other.
    assert!(status["late_blocks"].as_u64().unwrap() <= all / 4, "{status}");
}

/// What a plug-in changed by itself is the project's, however much that is; what cannot be kept is named. A latency that
/// changes while it plays is taken in: behind the same head-room, what comes back stays in its place.
#[test]
fn what_a_plug_in_changes_by_itself_is_kept_or_named() {
    const HEAD_ROOM: usize = 1024;
    let stage = Stage::new();
    let _node = node(&stage);
    let mut document = chain(&[&clap(GAIN)]);
    document["latency_frames"] = HEAD_ROOM.into();
    let mut insert = Insert::new(&stage, "Sampler", document.to_string().into_bytes(), Transfer::Exact);
    insert.set(FIRST, trouble::STATE, 1_500.0);
    until("what is played", || insert.play(100, HEAD_ROOM).then_some(()));
    let states = until("its state, of more than a message holds", || insert.remote.states().pop());
    let states: Value = serde_json::from_slice(&states).unwrap();
    let text = states["states"][FIRST.to_string()].as_str().unwrap();
    assert_eq!(text.len(), (16_usize + 1_500 * 1024).div_ceil(3) * 4);

    insert.set(FIRST, trouble::STATE, 3_000.0);
    insert.set(FIRST, trouble::LATENCY, 480.0);
    until("what is played", || insert.play(200, HEAD_ROOM).then_some(()));
    until("words for a state that is too long", || {
        insert.report().contains("choose a smaller preset").then_some(())
    });
    until("the plug-in that is made anew", || {
        let report: Value = serde_json::from_str(&insert.report()).ok()?;
        let effect = &report["rack"]["effects"][0];
        (effect["latency_frames"] == 128 + 480 && report["latency_frames"] == HEAD_ROOM).then_some(())
    });
    let settled = insert.got.len() + 16_384;
    until("what is played", || insert.play(600, HEAD_ROOM).then_some(()));
    for (frame, sample) in insert.got.iter().enumerate().skip(settled) {
        assert_eq!(*sample, noise(0, u64::try_from(frame).unwrap()), "frame {frame}");
    }
    insert.set(FIRST, trouble::LATENCY, 2_000.0);
    until("what is played", || insert.play(610, HEAD_ROOM).then_some(()));
    until("words for one that is too late", || {
        insert.report().contains("there is room for 1024").then_some(())
    });
}

#[test]
fn plug_ins_of_a_distribution_play_in_a_chain() {
    let stage = Stage::new();
    let _node = node(&stage);
    let mut played = 0;
    // Not ZaMaximX2: it reads memory that it never wrote, and gives something else each time, in a bare host too. What it
    // gives follows from what glibc's MALLOC_PERTURB_ fills its memory with.
    for name in ["ZamEQ2", "ZamComp", "ZamTube"] {
        let Some(id) = found(&stage, name) else {
            println!("{name} skipped: it needs zam-plugins (remedy: apt-get install zam-plugins)");
            continue;
        };
        let mut first = insert(&stage, name, &["eq", &clap(&id), "limiter"]);
        until("its answer", || first.play(400, 8192).then_some(()));
        let level = first.got[20_000..].iter().map(|sample| sample.abs()).fold(0.0, f32::max);
        assert!((0.01..1.5).contains(&level), "{name}: {level}: {}", first.report());
        // Twice the same, from the beginning.
        let mut again = insert(&stage, name, &["eq", &clap(&id), "limiter"]);
        until("its answer", || again.play(400, 8192).then_some(()));
        let frames = first.got.len().min(again.got.len());
        assert_eq!(first.got[..frames], again.got[..frames], "{name}");
        played += 1;
    }
    println!("{played} of somebody else's plug-ins played in chains");
}
