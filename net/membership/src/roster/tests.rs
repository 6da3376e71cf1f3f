use super::*;
use crate::key::SigningKey;
use crate::rights::Rights;
use crate::ticket::{Holder, Ticket};
use audiocloud_wire::message::Text;
use proptest::prelude::*;
use std::sync::LazyLock;

const NOW_S: u64 = 1_800_000_000;

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn id(number: u8) -> UserId {
    UserId(key(number).public())
}

fn session() -> SessionId {
    SessionId(key(0).public())
}

fn rights(text: &str) -> Rights {
    text.parse().unwrap()
}

fn founders(to: u8, text: &str) -> Ticket {
    Ticket::issue(&key(0), Holder::User(id(to)), &rights(text), None).unwrap()
}

fn passed(ticket: &Ticket, by: u8, to: u8, text: &str) -> Ticket {
    ticket.delegate(&key(by), Holder::User(id(to)), &rights(text), None).unwrap()
}

fn link(number: u8, uses: u16) -> Ticket {
    let to = Holder::Link { key: key(number).public(), uses };
    Ticket::issue(&key(0), to, &rights("musician"), None).unwrap()
}

fn record(user: u8, ticket: &Ticket, joined_ms: u64, revision: u64) -> Vec<u8> {
    let name = Text::new(&format!("user {user}"));
    MemberRecord::sign(&key(user), session(), name, ticket.clone(), joined_ms, revision).to_bytes().to_vec()
}

fn revoked_by(by: u8, ticket: &Ticket, target: u8, at_s: u64) -> Vec<u8> {
    let (target, text) = (key(target).public(), Text::new("too loud"));
    Revocation::by_member(&key(by), ticket.clone(), session(), target, at_s, text).to_bytes().to_vec()
}

fn revoked_by_session(target: u8, at_s: u64) -> Vec<u8> {
    Revocation::by_session(&key(0), key(target).public(), at_s, Text::default()).to_bytes().to_vec()
}

fn is_in(roster: &Roster, user: u8) -> bool {
    roster.grant(&id(user), NOW_S).is_ok()
}

fn roster(records: &[Vec<u8>]) -> Roster {
    let mut roster = Roster::new(session());
    for record in records {
        roster.insert(record, NOW_S).unwrap();
    }
    roster
}

enum Event {
    Record(Vec<u8>),
    Revocation(Vec<u8>),
}

/// People who invite and revoke each other in about every way.
static EVENTS: LazyLock<Vec<Event>> = LazyLock::new(|| {
    let boss = founders(1, "everything");
    let second = passed(&boss, 1, 2, "everything");
    let third = passed(&boss, 1, 3, "everything");
    let guest = passed(&second, 2, 4, "musician");
    let guests_guest = passed(&guest, 4, 5, "listener");
    let brief = Ticket::issue(&key(0), Holder::User(id(9)), &Rights::musician(), Some(NOW_S - 5)).unwrap();
    let (one, two) = (link(20, 1), link(21, 2));
    let through = |link: &Ticket, number: u8, user: u8| passed(link, number, user, "musician");
    let sixth = through(&one, 20, 6);
    let records = [
        record(1, &boss, 10, 0),
        record(1, &boss, 10, 1),
        record(2, &second, 20, 0),
        record(2, &founders(2, "listener"), 20, 2),
        record(3, &third, 30, 0),
        record(4, &guest, 40, 0),
        record(5, &guests_guest, 50, 0),
        record(6, &sixth, 60, 0),
        record(6, &sixth, 75, 1),
        record(7, &through(&one, 20, 7), 70, 0),
        record(8, &passed(&sixth, 6, 8, "listener"), 80, 0),
        record(9, &brief, 90, 0),
        record(10, &through(&two, 21, 10), 100, 3),
        record(10, &through(&two, 21, 10), 101, 3),
        record(11, &through(&two, 21, 11), 100, 0),
        record(12, &through(&two, 21, 12), 99, 0),
    ];
    let revocations = [
        revoked_by_session(1, NOW_S),
        revoked_by_session(20, NOW_S - 1),
        revoked_by_session(12, NOW_S),
        revoked_by(1, &boss, 2, NOW_S - 9),
        revoked_by(2, &second, 3, NOW_S),
        revoked_by(3, &third, 2, NOW_S - 2),
        revoked_by(3, &third, 2, NOW_S - 3),
        revoked_by(2, &second, 1, NOW_S - 100),
        revoked_by(3, &third, 4, NOW_S),
    ];
    records.map(Event::Record).into_iter().chain(revocations.map(Event::Revocation)).collect()
});

fn after(events: &[usize]) -> Roster {
    let mut roster = Roster::new(session());
    for event in events {
        match &EVENTS[*event] {
            Event::Record(bytes) => roster.insert(bytes, NOW_S).map(|_| ()).unwrap(),
            Event::Revocation(bytes) => roster.revoke(bytes, NOW_S).map(|_| ()).unwrap(),
        }
    }
    roster
}

/// All that a roster answers.
fn answers(roster: &Roster) -> Vec<Result<Grant, Refused>> {
    let users = 1..=12;
    let times = [NOW_S - 50, NOW_S - 5, NOW_S - 3, NOW_S - 1, NOW_S, NOW_S + 1];
    let at = |user, time| [roster.grant(&id(user), time).cloned(), roster.grant_at(&id(user), time).cloned()];
    users.flat_map(|user| times.into_iter().flat_map(move |time| at(user, time))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn the_order_does_not_matter(
        (chosen, again) in prop::sample::subsequence((0..25).collect::<Vec<usize>>(), 0..=25)
            .prop_flat_map(|chosen| (Just(chosen.clone()).prop_shuffle(), Just(chosen).prop_shuffle())),
    ) {
        let (one, other) = (after(&chosen), after(&again));
        prop_assert_eq!(answers(&one), answers(&other));
        prop_assert!(one.records().eq(other.records()) && one.revocations().eq(other.revocations()));
        // What one passes on makes another the same, and has no news for who has it.
        let mut third = Roster::new(session());
        for revocation in one.revocations() {
            third.revoke(revocation, NOW_S).unwrap();
        }
        for record in one.records() {
            third.insert(record, NOW_S).unwrap();
        }
        prop_assert_eq!(answers(&third), answers(&one));
        for record in one.records() {
            prop_assert_eq!(third.insert(record, NOW_S), Ok(News::Known));
        }
        for revocation in one.revocations() {
            prop_assert_eq!(third.revoke(revocation, NOW_S), Ok(News::Known));
        }
    }
}

#[test]
fn it_tells_what_is_new() {
    let boss = founders(1, "everything");
    let mut roster = Roster::new(session());
    let first = record(1, &boss, 0, 0);
    assert_eq!(roster.insert(&first, NOW_S), Ok(News::Joined(id(1))));
    assert_eq!(roster.insert(&first, NOW_S), Ok(News::Known));
    assert_eq!(roster.insert(&record(1, &boss, 0, 4), NOW_S), Ok(News::Renewed(id(1))));
    assert_eq!(roster.insert(&record(1, &boss, 0, 3), NOW_S), Ok(News::Known));
    assert_eq!(roster.member(&id(1)).unwrap().revision, 4);
    let guest = passed(&boss, 1, 2, "listener");
    assert_eq!(roster.insert(&record(2, &guest, 0, 0), NOW_S), Ok(News::Joined(id(2))));
    let revoked = News::Revoked { target: id(2).0, members: vec![id(2)] };
    assert_eq!(roster.revoke(&revoked_by(1, &boss, 2, NOW_S), NOW_S), Ok(revoked));
    assert_eq!(roster.insert(&record(2, &guest, 0, 1), NOW_S), Ok(News::Noted(id(2))));
    let refused = roster.grant(&id(2), NOW_S).unwrap_err().to_string();
    assert_eq!(refused, "this member was revoked (too loud); only a new invitation lets them in again");
}

#[test]
fn a_revocation_takes_out_whom_its_target_let_in() {
    let boss = founders(1, "everything");
    let (second, third) = (passed(&boss, 1, 2, "musician"), passed(&boss, 1, 3, "musician"));
    let guest = passed(&second, 2, 4, "listener");
    let records =
        [record(1, &boss, 0, 0), record(2, &second, 0, 0), record(3, &third, 0, 0), record(4, &guest, 0, 0)];
    let mut roster = roster(&records);
    // By a clock that is ahead: at the door it counts at once, for what was written it does not yet.
    let news = roster.revoke(&revoked_by(1, &boss, 2, NOW_S + 60), NOW_S).unwrap();
    let News::Revoked { mut members, .. } = news else { panic!("{news:?}") };
    members.sort_unstable_by_key(|user| *user != id(2));
    assert_eq!(members, [id(2), id(4)]);
    assert_eq!([1, 2, 3, 4].map(|user| is_in(&roster, user)), [true, false, true, false]);
    assert!(roster.grant_at(&id(4), NOW_S + 59).is_ok() && roster.grant_at(&id(4), NOW_S + 60).is_err());
    // A musician may not, and a forged one is none.
    let not_allowed = Err(Rejected::Revocation(RevocationError::NotAllowed));
    assert_eq!(roster.revoke(&revoked_by(3, &third, 1, NOW_S), NOW_S), not_allowed);
    let stolen = Revocation::by_member(&key(3), boss, session(), id(1).0, NOW_S, Text::default());
    assert!(matches!(
        roster.revoke(stolen.to_bytes(), NOW_S),
        Err(Rejected::Revocation(RevocationError::Ticket(TicketError::AnotherKey { .. })))
    ));
    let other = Revocation::by_session(&key(9), id(1).0, NOW_S, Text::default());
    assert_eq!(roster.revoke(other.to_bytes(), NOW_S), Err(Rejected::AnotherSession));
}

#[test]
fn the_founder_has_the_last_word() {
    let vandal = founders(1, "everything");
    let (second, third) = (founders(2, "everything"), passed(&vandal, 1, 3, "everything"));
    let records = [record(1, &vandal, 0, 0), record(2, &second, 0, 0), record(3, &third, 0, 0)];
    let mut roster = roster(&records);
    roster.revoke(&revoked_by(3, &third, 2, NOW_S), NOW_S).unwrap();
    assert!(!is_in(&roster, 2));
    roster.revoke(&revoked_by(2, &second, 3, NOW_S), NOW_S).unwrap();
    // Who is nearer to the session key: the one is out, and so has put out nobody.
    assert_eq!([1, 2, 3].map(|user| is_in(&roster, user)), [true, true, false]);
    // Two who are as near put each other out, whatever their clocks say.
    roster.revoke(&revoked_by(1, &vandal, 2, NOW_S), NOW_S).unwrap();
    roster.revoke(&revoked_by(2, &second, 1, 5), NOW_S).unwrap();
    assert_eq!([1, 2].map(|user| is_in(&roster, user)), [false, false]);
    roster.revoke(&revoked_by_session(1, NOW_S), NOW_S).unwrap();
    assert_eq!([1, 2].map(|user| is_in(&roster, user)), [false, true]);
}

#[test]
fn a_link_is_for_as_many_as_it_says() {
    let (one, two) = (link(20, 1), link(21, 2));
    let through = |link: &Ticket, number: u8, user: u8, joined_ms| {
        record(user, &passed(link, number, user, "musician"), joined_ms, 0)
    };
    let mut roster = roster(&[through(&one, 20, 1, 50), through(&one, 20, 2, 40)]);
    assert_eq!([1, 2].map(|user| is_in(&roster, user)), [false, true]);
    let refused = roster.grant(&id(1), NOW_S).unwrap_err();
    assert!(refused.to_string().starts_with("this link has been used"), "{refused}");
    // Who is put out has still used it; and to keep them out under each other key, the link goes too.
    assert_eq!(roster.revocation_targets(&id(2)), [key(2).public(), key(20).public()]);
    roster.revoke(&revoked_by_session(2, NOW_S), NOW_S).unwrap();
    assert_eq!([1, 2].map(|user| is_in(&roster, user)), [false, false]);
    roster.insert(&through(&one, 20, 3, 1), NOW_S).unwrap();
    assert!(is_in(&roster, 3), "the link alone does not tell who comes");
    roster.revoke(&revoked_by_session(20, NOW_S), NOW_S).unwrap();
    assert!(!is_in(&roster, 3));

    for (user, joined_ms) in [(4, 9), (5, 8), (6, 7)] {
        roster.insert(&through(&two, 21, user, joined_ms), NOW_S).unwrap();
    }
    assert_eq!([4, 5, 6].map(|user| is_in(&roster, user)), [false, true, true]);
    assert_eq!(roster.revocation_targets(&id(5)), [key(5).public()]);
}

#[test]
fn who_comes_too_many_is_turned_away() {
    let all_at = |number: u64| {
        let mut seed = [77; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        SigningKey::from_seed(&seed)
    };
    let sign = |number: u64, end_s: Option<u64>| {
        let user = all_at(number);
        let to = Holder::User(UserId(user.public()));
        let ticket = Ticket::issue(&key(0), to, &Rights::listener(), end_s).unwrap();
        MemberRecord::sign(&user, session(), Text::default(), ticket, 0, 0).to_bytes().to_vec()
    };
    let mut roster = Roster::new(session());
    roster.insert(&sign(0, Some(NOW_S)), NOW_S).unwrap();
    for number in 1..256 {
        roster.insert(&sign(number, None), NOW_S).unwrap();
    }
    assert_eq!(roster.insert(&sign(256, None), NOW_S), Err(Rejected::MembersFull));
    // Once the first has expired there is a place, but not for one who has expired, too.
    assert_eq!(roster.insert(&sign(257, Some(NOW_S)), NOW_S + 1), Err(Rejected::MembersFull));
    assert!(matches!(roster.insert(&sign(256, None), NOW_S + 1), Ok(News::Joined(_))));
    assert_eq!(roster.members().count(), MEMBERS_MAX);
    // Members cannot take the place of the founder's revocations.
    let boss = founders(1, "everything");
    for number in 0..256 {
        let target = all_at(1000 + number).public();
        let revocation = Revocation::by_member(&key(1), boss.clone(), session(), target, 0, Text::default());
        roster.revoke(revocation.to_bytes(), NOW_S).unwrap();
    }
    let full = Err(Rejected::RevocationsFull);
    assert_eq!(roster.revoke(&revoked_by(1, &boss, 99, 0), NOW_S), full);
    assert!(roster.revoke(&revoked_by_session(99, 0), NOW_S).is_ok());
}

#[test]
fn what_is_no_record_is_refused() {
    let boss = founders(1, "everything");
    let good = record(1, &boss, 0, 0);
    let mut roster = Roster::new(session());
    let malformed = |result| matches!(result, Err(Rejected::Record(RecordError::Malformed(_))));
    assert!(malformed(roster.insert(&[], NOW_S)));
    assert!(malformed(roster.insert(&good[..good.len() - 1], NOW_S)));
    assert!(malformed(roster.insert(&[&good[..], &[0]].concat(), NOW_S)));
    assert!(malformed(roster.insert(&vec![0; crate::member::RECORD_BYTES_MAX + 1], NOW_S)));
    let mut bent = good.clone();
    bent[3] ^= 1;
    assert_eq!(roster.insert(&bent, NOW_S), Err(Rejected::Record(RecordError::Forged)));
    // Somebody else's ticket in one's own record.
    let stolen = MemberRecord::sign(&key(2), session(), Text::default(), boss, 0, 0);
    let refused = roster.insert(stolen.to_bytes(), NOW_S).unwrap_err();
    assert!(
        matches!(refused, Rejected::Record(RecordError::Ticket(TicketError::AnotherKey { .. }))),
        "{refused}"
    );
    assert_eq!(roster.insert(&good, NOW_S), Ok(News::Joined(id(1))));
    assert_eq!(Roster::new(SessionId([1; 32])).insert(&good, NOW_S), Err(Rejected::AnotherSession));
}
