//! Any bytes as a revocation: nobody is put out by one that is not signed by who may.
#![no_main]

use audiocloud_fuzz::people::{NOW_S, id, record, session};
use audiocloud_membership::revocation::{REVOCATION_BYTES_MAX, Revocation};
use audiocloud_membership::roster::Roster;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = Revocation::from_bytes(bytes) else { return };
    assert!(bytes.len() <= REVOCATION_BYTES_MAX);
    assert_eq!(read.to_bytes(), bytes);
    let mut roster = Roster::new(session());
    for user in 1..=3 {
        roster.insert(&record(user), NOW_S).expect("a good record");
    }
    let taken = roster.revoke(bytes, NOW_S);
    assert_eq!(taken.is_ok(), roster.revocations().any(|kept| kept == bytes));
    if taken.is_err() {
        assert!((1..=3).all(|user| roster.grant(&id(user), NOW_S).is_ok()));
    } else {
        assert!(read.by == session().0 || (1..=2).any(|user| read.by == id(user).0));
    }
});
