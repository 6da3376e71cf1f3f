//! RealtimeSanitizer over the rack's callback. That it catches what a processor must not do, the graph's own tests show; this
//! one plays every effect under it.
//!
//! `RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=realtime cargo test -p audiocloud-chain --features rtsan
//! --target x86_64-unknown-linux-gnu --test allocations --test realtime_sanitizer`
#![cfg(feature = "rtsan")]

mod bed;

use audiocloud_chain::document::Chain;
use audiocloud_chain::edit::{Edit, Place};
use bed::{Host, add, racked, rolling, told};

#[test]
fn no_effect_and_no_edit_does_what_it_must_not() {
    let mut chain = Chain::default();
    for kind in audiocloud_effects::KINDS {
        add(&mut chain, kind.id);
    }
    let (mut control, mut audio) = racked(&chain);
    let mut host = Host::new(20_000);
    for effect in 0..8 {
        let to = host.at + 2_000;
        host.play(&mut audio, to, 100, &[(to - 500, told(rolling(0.0)))]);
        control.apply(&Edit::Move { id: effect, to: Place::at(0) }).unwrap();
        control.apply(&Edit::Bypass(effect, true)).unwrap();
    }
    host.play(&mut audio, 20_000, 64, &[]);
    assert!(host.output.iter().flatten().all(|sample| sample.is_finite()));
}
