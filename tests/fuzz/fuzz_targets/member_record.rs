//! Any bytes as a member's record: nobody is let in whose record is not signed, and rosters agree who have taken in
//! the same in another order.
#![no_main]

use audiocloud_fuzz::people::{NOW_S, id, record, session};
use audiocloud_membership::member::{MemberRecord, RECORD_BYTES_MAX};
use audiocloud_membership::roster::Roster;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = MemberRecord::from_bytes(bytes) else { return };
    assert!(bytes.len() <= RECORD_BYTES_MAX);
    assert_eq!(read.to_bytes(), bytes);
    let mut first = Roster::new(session());
    let taken = first.insert(bytes, NOW_S);
    assert_eq!(taken.is_ok(), first.member(&read.user).is_some());
    if taken.is_ok() {
        assert!((1..=3).any(|user| read.user == id(user)));
    }
    let mut last = Roster::new(session());
    for user in 1..=3 {
        first.insert(&record(user), NOW_S).expect("a good record");
        last.insert(&record(user), NOW_S).expect("a good record");
    }
    // One that is older than what is known is passed over, forged or not.
    assert!(last.insert(bytes, NOW_S).is_ok() || taken.is_err());
    assert!(first.records().eq(last.records()));
});
