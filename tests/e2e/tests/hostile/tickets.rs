//! Attacks by who shows memberships that are not theirs, or that nobody gave them.

use std::time::Duration;

use audiocloud_net::{
    membership::{
        invitation::Invitation,
        key::SigningKey,
        member::MemberRecord,
        rights::Rights,
        ticket::{Holder, Ticket},
    },
    wire::{
        id::{InstanceId, SessionId, UserId},
        message::Text,
    },
};

use super::attacker::Villain;
use super::{Attack, Field, now_ms};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "a copied record",
        does: "shows Ben's record, over a connection with another key",
        must: "refused: of no use to another key",
        run: copied_record,
    },
    Attack {
        name: "an expired ticket",
        does: "shows a ticket whose end has come",
        must: "refused: expired",
        run: expired_ticket,
    },
    Attack {
        name: "a forged ticket",
        does: "signs one for itself with another session key",
        must: "refused: forged",
        run: forged_ticket,
    },
    Attack {
        name: "a ticket passed on without right",
        does: "is let in by who may only listen",
        must: "refused: may not invite",
        run: passed_on_without_right,
    },
    Attack {
        name: "too many hops",
        does: "shows a ticket that was passed on nine times",
        must: "refused",
        run: too_many_hops,
    },
    Attack {
        name: "another session",
        does: "shows a good membership of a session of its own",
        must: "refused, and told nothing of Anna's",
        run: another_session,
    },
    Attack {
        name: "a link twice",
        does: "comes by a link for one that somebody else used",
        must: "refused: used",
        run: a_link_twice,
    },
    Attack { name: "a crowd", does: "40 identities knock", must: "32 are shown", run: crowd },
    Attack {
        name: "a crowd with records",
        does: "150 times in a row shows a record that takes cryptography to refuse",
        must: "when it becomes too many for a moment they are told to wait",
        run: crowd_with_records,
    },
];

fn turned_away(field: &Field, villain: &Villain, words: &str) {
    let to = field.anna.address();
    let said = field.counts(&field.anna, "refused", 1, || field.lair.refused(to, villain, &villain.hello()));
    assert!(said.contains(words), "{said}");
}

fn copied_record(field: &Field) {
    let member = field.member("musician");
    let copied = Villain::with_record(field.session, &member.memberships[0].record);
    turned_away(field, &copied, "of no use to another key");
}

fn expired_ticket(field: &Field) {
    let mut villain = Villain::new();
    let (session, key) = (field.session, villain.identity.user_key());
    // As it was when it still held.
    let invitation: Invitation = field.ended.parse().expect("a link");
    let ended_ms = invitation.expires_s.expect("an end") * 1000;
    let record = invitation.accept(&key, Text::new("Late"), ended_ms).expect("a member");
    villain.show(session, record.to_bytes());
    turned_away(field, &villain, "expired");
}

/// A record with a ticket that somebody made.
fn with_ticket(field: &Field, villain: &mut Villain, session: SessionId, ticket: Ticket) {
    let key = villain.identity.user_key();
    let record = MemberRecord::sign(&key, session, Text::new("Mallory"), ticket, now_ms(), 0);
    villain.show(session, record.to_bytes());
    assert!(field.links.len() > 1, "there is a session");
}

fn forged_ticket(field: &Field) {
    let mut villain = Villain::new();
    let forged = SigningKey::generate().expect("a key");
    let to = Holder::User(villain.identity.user());
    let ticket = Ticket::issue(&forged, to, &Rights::everything(), None).expect("a ticket");
    with_ticket(field, &mut villain, field.session, ticket);
    turned_away(field, &villain, "forged");
}

fn passed_on_without_right(field: &Field) {
    let (listener, mut villain) = (Villain::new(), Villain::new());
    let record = field.record(&listener, &field.links[1]);
    let to = Holder::User(villain.identity.user());
    let passed_on = record.ticket.delegate(&listener.identity.user_key(), to, &Rights::everything(), None);
    with_ticket(field, &mut villain, field.session, passed_on.expect("a ticket"));
    turned_away(field, &villain, "may not invite");
}

fn too_many_hops(field: &Field) {
    let mut villain = Villain::new();
    let (mut holder, mut ticket) = {
        let first = Villain::new();
        let record = field.record(&first, &field.links[0]);
        (first.identity.user_key(), record.ticket)
    };
    // As often as an honest program does it.
    while let Ok(longer) = {
        let next = SigningKey::generate().expect("a key");
        let to = Holder::User(UserId(next.public()));
        let longer = ticket.delegate(&holder, to, &Rights::everything(), None);
        longer.map(|longer| (next, longer))
    } {
        (holder, ticket) = longer;
    }
    // One more, by hand: two bytes of length and a hop, such as the last one.
    let (whole, last) = (ticket.to_bytes(), last_hop(&ticket.to_bytes()).to_vec());
    with_ticket(field, &mut villain, field.session, ticket);
    let record = villain.memberships[0].record.to_vec();
    let at = find(&record, &whole);
    let head = record[..at].to_vec();
    let longer = [&whole[..], &last].concat();
    // A byte string of more than 255 bytes begins with 0x59 and its length.
    let (before, length) = head.split_at(head.len() - 2);
    assert_eq!(usize::from(u16::from_be_bytes([length[0], length[1]])), whole.len());
    let length = u16::try_from(longer.len()).expect("a length").to_be_bytes();
    let record = [before, &length, &longer, &record[at + whole.len()..]].concat();
    villain.show(field.session, &record);
    turned_away(field, &villain, "too often");
}

fn last_hop(ticket: &[u8]) -> &[u8] {
    let mut rest = ticket;
    loop {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        if rest.len() == 2 + length {
            return rest;
        }
        rest = &rest[2 + length..];
    }
}

fn find(all: &[u8], part: &[u8]) -> usize {
    all.windows(part.len()).position(|window| window == part).expect("a part of it")
}

fn another_session(field: &Field) {
    let mut villain = Villain::new();
    let key = SigningKey::generate().expect("a key");
    let to = Holder::User(villain.identity.user());
    let ticket = Ticket::issue(&key, to, &Rights::everything(), None).expect("a ticket");
    with_ticket(field, &mut villain, SessionId(key.public()), ticket);
    turned_away(field, &villain, "we are in no such session");
}

fn a_link_twice(field: &Field) {
    let invited = field.anna.world.ask(&field.stage.tools, &["session", "invite", "--json"]);
    let link = invited.expect("a link")["link"].as_str().expect("a link").to_owned();
    let (mut first, mut second) = (Villain::new(), Villain::new());
    for villain in [&mut first, &mut second] {
        let record = field.record(villain, &link);
        villain.show(field.session, record.to_bytes());
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(field.lair.enter(field.anna.address(), &first));
    turned_away(field, &second, "has been used");
}

fn crowd(field: &Field) {
    for _ in 0..40 {
        let villain = Villain::new();
        let said = field.lair.refused(field.anna.address(), &villain, &villain.hello());
        assert!(said.contains("not-trusted"), "{said}");
    }
    field.wait(&field.anna, "32 strangers", |status| {
        (status["runtimes"][0]["strangers"].as_array()?.len() == 32).then_some(())
    });
}

fn crowd_with_records(field: &Field) {
    let mut villain = Villain::new();
    let key = SigningKey::generate().expect("a key");
    let to = Holder::User(villain.identity.user());
    let ticket = Ticket::issue(&key, to, &Rights::everything(), None).expect("a ticket");
    with_ticket(field, &mut villain, field.session, ticket);
    let mut waits = 0;
    field.counts(&field.anna, "refused", 150, || {
        for number in 0..150 {
            let mut hello = villain.hello();
            hello.instance = InstanceId([number; 16]);
            let said = field.lair.refused(field.anna.address(), &villain, &hello);
            waits += usize::from(said.contains("wait a moment"));
        }
    });
    assert!(waits > 0, "nobody was told to wait");
}
