//! RealtimeSanitizer over the graph's callback: what a processor does that it must not do is caught, so the sanitizer's
//! silence about the random edits in `allocations.rs` means something.
//!
//! `RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=realtime cargo test -p audiocloud-graph --features rtsan
//! --target x86_64-unknown-linux-gnu --test allocations --test realtime_sanitizer`
#![cfg(feature = "rtsan")]

mod bed;

use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use audiocloud_graph::controller::{Config, play};
use audiocloud_graph::graph::Graph;
use audiocloud_graph::node::{Behaviour, Block, Layout};
use bed::{Custom, Host, noise, rate};

/// Names the act that a child process commits, for the sanitizer ends the process.
const ACT: &str = "AUDIOCLOUD_TEST_ACT";

/// Runs this test in a child that commits `act`; whether it lived, and what it wrote to stderr.
fn commit(act: &str) -> (bool, String) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "acts", "--nocapture"])
        .env(ACT, act)
        .output()
        .unwrap();
    (child.status.success(), String::from_utf8_lossy(&child.stderr).into_owned())
}

#[test]
fn what_a_processor_must_not_do_is_caught() {
    for act in ["lock", "allocate", "open"] {
        let (lived, said) = commit(act);
        assert!(!lived && said.contains("RealtimeSanitizer"), "{act}: {said}");
    }
    let (lived, said) = commit("pass");
    assert!(lived, "{said}");
}

/// Has a processor commit what the environment names; on its own it does nothing.
#[test]
fn acts() {
    let Ok(act) = std::env::var(ACT) else { return };
    let mutex = Arc::new(Mutex::new(0));
    let make = {
        let (act, mutex) = (act.clone(), Arc::clone(&mutex));
        move || {
            let (act, mutex) = (act.clone(), Arc::clone(&mutex));
            move |_block: &mut Block<'_>| match act.as_str() {
                "lock" => drop(mutex.lock()),
                "allocate" => drop(std::hint::black_box(Box::new(1))),
                "open" => drop(std::fs::File::open("/dev/null")),
                _ => {}
            }
        }
    };
    let mut graph = Graph::new(&[1], &[1]).unwrap();
    let behaviour = Behaviour { in_place: true, ..Behaviour::default() };
    let node = graph.add("act", Custom { layout: Layout::effect(1), behaviour, make }).unwrap();
    graph.connect_audio((graph.input(), 0), (node, 0)).unwrap();
    graph.connect_audio((node, 0), (graph.output(), 0)).unwrap();
    let (_controller, mut renderer) = play(&graph, Config::new(rate()), None).unwrap();
    let mut host = Host::new(vec![noise(1, 640)], &[1]);
    // A futex that nobody contends is not seen: hold it elsewhere meanwhile.
    std::thread::scope(|scope| {
        let (held, holds) = mpsc::channel();
        if act == "lock" {
            let mutex = &mutex;
            scope.spawn(move || {
                let _guard = mutex.lock();
                held.send(()).unwrap();
                // Longer than the callback needs to meet it; then let go, so that a lock that is not caught fails
                // the test instead of hanging it.
                std::thread::sleep(Duration::from_millis(300));
            });
            holds.recv().unwrap();
        }
        host.play_all(&mut renderer, 64);
    });
    assert_eq!(host.inputs[0], host.outputs[0]);
}
