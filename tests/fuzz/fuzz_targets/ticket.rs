//! Any bytes as a ticket: reading ends, what was read is written the same, and nothing grants what the session's key
//! did not sign.
#![no_main]

use audiocloud_fuzz::people::{NOW_S, id, session, ticket};
use audiocloud_membership::rights::Rights;
use audiocloud_membership::ticket::{TICKET_BYTES_MAX, Ticket};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(rights) = text.parse::<Rights>() {
            assert_eq!(rights.to_string().parse(), Ok(rights));
        }
    }
    let Ok(read) = Ticket::from_bytes(bytes) else { return };
    assert!(bytes.len() <= TICKET_BYTES_MAX);
    assert_eq!(read.to_bytes(), bytes);
    let narrower = read.narrow(&Rights::listener(), Some(NOW_S));
    for user in 1..=3 {
        let Ok(grant) = read.verify(&session(), &id(user), NOW_S) else { continue };
        let granted = ticket(user).verify(&session(), &id(user), NOW_S).expect("a good ticket");
        assert_eq!(&grant.rights().and(granted.rights()), grant.rights());
        let Ok(narrower) = &narrower else { continue };
        let narrower = narrower.verify(&session(), &id(user), NOW_S).expect("narrowed by anybody");
        assert_eq!(&narrower.rights().and(grant.rights()), narrower.rights());
    }
});
