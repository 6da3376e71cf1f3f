//! A session and its members: 1, whom the session itself let in with all rights; 2, whom 1 let in as a musician who
//! may revoke; 3, who came through a link of 2's. What they signed once stays the same for one run.

use std::sync::LazyLock;

use audiocloud_membership::invitation::{For, Invitation, Meeting, Place};
use audiocloud_membership::key::SigningKey;
use audiocloud_membership::member::MemberRecord;
use audiocloud_membership::revocation::Revocation;
use audiocloud_membership::rights::Rights;
use audiocloud_membership::ticket::{Holder, Ticket};
use audiocloud_wire::id::{SessionId, UserId};
use audiocloud_wire::message::Text;

/// Seconds of Unix time, for all that they sign.
pub const NOW_S: u64 = 1_800_000_000;
/// The key of 2's link.
const LINK: u8 = 20;

/// The key of a person; 0 is the session's.
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

/// A person.
pub fn id(number: u8) -> UserId {
    UserId(key(number).public())
}

/// The session.
pub fn session() -> SessionId {
    SessionId(key(0).public())
}

struct Signed {
    tickets: [Ticket; 3],
    link: Ticket,
    records: [Vec<u8>; 3],
}

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    let first = Ticket::issue(&key(0), Holder::User(id(1)), &Rights::everything(), None);
    let first = first.expect("rights that fit");
    let musician = Rights { revoke: true, ..Rights::musician() };
    let second = first.delegate(&key(1), Holder::User(id(2)), &musician, Some(NOW_S + 60));
    let second = second.expect("two hops");
    let to_link = Holder::Link { key: key(LINK).public(), uses: 1 };
    let rights = "publish=2x8,subscribe,control=drums+lead".parse().expect("rights");
    let link = second.delegate(&key(2), to_link, &rights, None).expect("three hops");
    let third = link.delegate(&key(LINK), Holder::User(id(3)), &Rights::everything(), None);
    let third = third.and_then(|ticket| ticket.narrow(&Rights::listener(), None)).expect("four hops");
    let tickets = [first, second, third];
    let records = [1_u8, 2, 3].map(|user| {
        let ticket = tickets[usize::from(user - 1)].clone();
        let name = Text::new(&format!("user {user}"));
        MemberRecord::sign(&key(user), session(), name, ticket, 1000, 0).to_bytes().to_vec()
    });
    Signed { tickets, link, records }
});

/// The ticket of 1, 2, or 3.
pub fn ticket(user: u8) -> &'static Ticket {
    &SIGNED.tickets[usize::from(user - 1)]
}

/// The record of 1, 2, or 3.
pub fn record(user: u8) -> Vec<u8> {
    SIGNED.records[usize::from(user - 1)].clone()
}

/// What is good, to be changed by the fuzzer: target and bytes.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds: Vec<_> = (1..=3).map(|user| ("ticket", ticket(user).to_bytes())).collect();
    seeds.push(("ticket", b"publish=2x8,subscribe,control=drums+lead%2C,edit".to_vec()));
    seeds.extend((1..=3).map(|user| ("member_record", record(user))));
    let text = Text::new("gone");
    let by_session = Revocation::by_session(&key(0), id(3).0, NOW_S, text.clone());
    let by_member = Revocation::by_member(&key(2), ticket(2).clone(), session(), id(3).0, NOW_S, text);
    seeds.extend([by_session, by_member].map(|revocation| ("revocation", revocation.to_bytes().to_vec())));
    let link = invitation(For::Bearer(key(LINK)), SIGNED.link.clone());
    let personal = invitation(For::User(id(1)), ticket(1).clone());
    for invitation in [link, personal] {
        let bytes = invitation.to_bytes();
        seeds.push(("invitation", bytes[..bytes.len() - 4].to_vec()));
        seeds.push(("invitation", invitation.to_string().into_bytes()));
    }
    // Messages passed on as they are; one changed; none.
    for input in
        [&[1, 3, 0, 2, 0, 3, 0][..], &[0, 3, 0, 2, 0], &[1, 3, 0, 2, 3, 0, 0, 9, 3, 0], &[1, 1, 1, 1]]
    {
        seeds.push(("pairing", input.to_vec()));
    }
    seeds.push(("pairing", b"42-guitar-ocean-lamp-tango".to_vec()));
    seeds
}

fn invitation(to: For, ticket: Ticket) -> Invitation {
    Invitation {
        session: session(),
        name: Text::new("Garage"),
        inviter_name: Text::new("Ann"),
        inviter: id(1),
        to,
        ticket,
        places: vec![Place { address: Text::new("192.0.2.7:4711"), device: Some([3; 32]) }],
        meeting: vec![Meeting {
            address: Text::new("meet.example.org:4710"),
            device: [4; 32],
            tls_port: Some(443),
        }],
        expires_s: Some(NOW_S + 60),
    }
}
