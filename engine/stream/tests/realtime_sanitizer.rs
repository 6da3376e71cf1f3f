//! RealtimeSanitizer over `callback::enter`: a lock inside is caught, so its silence elsewhere means something.
//!
//! `RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=realtime cargo test -p audiocloud-stream --features rtsan
//! --target x86_64-unknown-linux-gnu --test allocations --test realtime_sanitizer`
#![cfg(feature = "rtsan")]

use std::process::Command;
use std::sync::Mutex;

use audiocloud_rt::{callback, wake};

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
fn what_is_forbidden_is_caught_and_the_wake_is_not() {
    for act in ["lock", "allocate", "open"] {
        let (lived, said) = commit(act);
        assert!(!lived && said.contains("RealtimeSanitizer"), "{act}: {said}");
    }
    let (lived, said) = commit("wake");
    assert!(lived, "{said}");
}

/// Commits what the environment names, inside the callback; on its own it does nothing.
#[test]
fn acts() {
    let Ok(act) = std::env::var(ACT) else { return };
    let (waker, _receiver) = wake::wake_pair().unwrap();
    let mutex = Mutex::new(0);
    // A futex that nobody contends is not seen: hold it elsewhere meanwhile.
    std::thread::scope(|scope| {
        let (held, holds) = std::sync::mpsc::channel();
        if act == "lock" {
            let mutex = &mutex;
            scope.spawn(move || {
                let _guard = mutex.lock();
                held.send(()).unwrap();
                // Longer than the callback needs to meet it; then let go, so that a lock that is not caught fails
                // the test instead of hanging it.
                std::thread::sleep(std::time::Duration::from_millis(300));
            });
            holds.recv().unwrap();
        }
        callback::enter(|callback| match act.as_str() {
            "lock" => drop(mutex.lock()),
            "allocate" => drop(std::hint::black_box(Box::new(1))),
            "open" => drop(std::fs::File::open("/dev/null")),
            _ => {
                waker.wake();
                std::hint::black_box(callback.entered_at());
            }
        });
    });
}
