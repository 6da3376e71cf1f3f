//! Any bytes as an invitation, and any text as a link: reading ends, what was read is written the same, and who
//! accepts it is a member only by a ticket of the session.
#![no_main]

use audiocloud_fuzz::people::{NOW_S, key, session};
use audiocloud_membership::invitation::Invitation;
use audiocloud_membership::rights::Rights;
use audiocloud_wire::message::Text;
use libfuzzer_sys::fuzz_target;

/// Bytes with the sum that tells links that were copied badly: else hardly any input is read further.
fn summed(bytes: &[u8]) -> Vec<u8> {
    [bytes, &blake3::hash(bytes).as_bytes()[..4]].concat()
}

fn accept(invitation: Invitation) {
    let of = invitation.session;
    let link = invitation.to_string();
    let again: Invitation = link.parse().expect("it was written");
    assert_eq!(*again.to_bytes(), *invitation.to_bytes());
    let Ok(record) = invitation.accept(&key(4), Text::new("me"), NOW_S * 1000) else { return };
    assert_eq!(record.session, of);
    let grant = record.verify(NOW_S).expect("it was accepted");
    if of == session() {
        // No ticket in the seeds gives a bearer more.
        assert_eq!(&grant.rights().and(&Rights::musician()), grant.rights());
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Ok(invitation)) = std::str::from_utf8(bytes).map(str::parse) {
        accept(invitation);
    }
    for bytes in [bytes, &summed(bytes)] {
        if let Ok(invitation) = Invitation::from_bytes(bytes) {
            accept(invitation);
        }
    }
});
