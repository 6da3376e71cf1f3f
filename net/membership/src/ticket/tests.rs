use super::*;
use crate::rights::tests::{any_rights, operations};
use crate::rights::{Control, Publish, Subscribe};
use audiocloud_wire::id::{DeviceId, StreamId, StreamKey};
use biscuit_auth::builder::{AuthorizerBuilder, Fact, Term};
use proptest::prelude::*;

const NOW_S: u64 = 1_800_000_000;

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn user(number: u8) -> Holder {
    Holder::User(id(number))
}

fn id(number: u8) -> UserId {
    UserId(key(number).public())
}

fn link(number: u8, uses: u16) -> Holder {
    Holder::Link { key: key(number).public(), uses }
}

fn session() -> SessionId {
    SessionId(key(0).public())
}

/// By the session, to user 1.
fn issue(rights: &Rights, expires_s: Option<u64>) -> Ticket {
    Ticket::issue(&key(0), user(1), rights, expires_s).unwrap()
}

fn reread(ticket: &Ticket) -> Ticket {
    Ticket::from_bytes(&ticket.to_bytes()).unwrap()
}

/// What `biscuit-auth` says, by running the checks of every hop.
fn biscuits_allow(ticket: &Ticket, operation: &Operation<'_>, now_s: u64) -> bool {
    let mut signer = key(0).public();
    ticket.hops.iter().all(|hop| {
        let root = PublicKey::from_bytes(&signer, Algorithm::Ed25519).unwrap();
        let biscuit = Biscuit::from(&hop.bytes, root).unwrap();
        signer = match hop.made.to {
            Holder::User(user) => user.0,
            Holder::Link { key, .. } => key,
        };
        let mut authorizer = AuthorizerBuilder::new().code("allow if true").unwrap();
        for fact in facts(operation, now_s) {
            authorizer = authorizer.fact(fact).unwrap();
        }
        authorizer.build(&biscuit).unwrap().authorize().is_ok()
    })
}

fn facts(operation: &Operation<'_>, now_s: u64) -> Vec<Fact> {
    let fact = |name: &str, terms: &[Term]| Fact::new(name.to_owned(), terms.to_vec());
    let named = |name: &str| fact("operation", &[Term::Str(name.to_owned())]);
    let mut facts = vec![fact("time", &[Term::Integer(now_s.cast_signed())])];
    match *operation {
        Operation::Join => facts.push(named("join")),
        Operation::Publish { streams, channels } => {
            facts.push(fact("publish", &[Term::Integer(streams.into()), Term::Integer(channels.into())]));
        }
        Operation::Subscribe(stream) => {
            facts.push(named("subscribe"));
            facts.push(fact("subscribe", &[Term::Bytes(block::stream_bytes(stream).to_vec())]));
        }
        Operation::Control(name) => {
            facts.push(named("control"));
            facts.push(fact("control", &[Term::Bytes(name.as_bytes().to_vec())]));
        }
        Operation::Host => facts.push(named("host")),
        Operation::Lead => facts.push(named("lead")),
        Operation::Invite => facts.push(named("invite")),
        Operation::Revoke => facts.push(named("revoke")),
        Operation::Edit => facts.push(named("edit")),
    }
    facts
}

fn any_end() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![Just(None), (NOW_S - 2..NOW_S + 3).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The one test that everything else stands on: what this crate says is what the checks in the ticket say, as
    /// the library evaluates them that defined their language.
    #[test]
    fn biscuits_evaluation_agrees(
        (first, narrower, second) in (any_rights(), any_rights(), any_rights()),
        (first_end, narrower_end) in (any_end(), any_end()),
    ) {
        let first = Rights { invite: true, ..first };
        let narrower = Rights { invite: true, ..narrower };
        let ticket = issue(&first, first_end).narrow(&narrower, narrower_end).unwrap();
        let ticket = reread(&ticket.delegate(&key(1), user(2), &second, None).unwrap());
        let verified = ticket.verify(&session(), &id(2), NOW_S);
        for operation in operations() {
            let allowed = verified.as_ref().is_ok_and(|grant| grant.allows(&operation, NOW_S).is_ok());
            prop_assert_eq!(allowed, biscuits_allow(&ticket, &operation, NOW_S), "{:?}", operation);
        }
    }

    #[test]
    fn neither_narrowing_nor_passing_on_widens(
        (wide, narrow, passed) in (any_rights(), any_rights(), any_rights()),
        (wide_end, narrow_end, passed_end) in (any_end(), any_end(), any_end()),
    ) {
        let wide = issue(&Rights { invite: true, ..wide }, wide_end);
        let narrow = wide.narrow(&narrow, narrow_end).unwrap();
        let passed = narrow.delegate(&key(1), user(2), &passed, passed_end).unwrap();
        let steps = [(&wide, id(1)), (&narrow, id(1)), (&passed, id(2))];
        for ((wider, its), (narrower, their)) in [(steps[0], steps[1]), (steps[1], steps[2])] {
            let Ok(narrower) = narrower.verify(&session(), &their, NOW_S) else { continue };
            let wider = wider.verify(&session(), &its, NOW_S).unwrap();
            prop_assert_eq!(&narrower.rights().and(wider.rights()), narrower.rights());
            prop_assert!(wider.expires_s.is_none_or(|end_s| narrower.expires_s.is_some_and(|it| it <= end_s)));
        }
    }

    /// Whatever is changed in a ticket: it grants the same as before, less, or nothing.
    #[test]
    fn changed_bytes_grant_nothing_new(place in any::<prop::sample::Index>(), change in 1..=255_u8) {
        let ticket = issue(&Rights::musician(), Some(NOW_S)).narrow(&"subscribe,invite".parse().unwrap(), None);
        let ticket = ticket.unwrap().delegate(&key(1), user(2), &Rights::everything(), None).unwrap();
        let granted = ticket.verify(&session(), &id(2), NOW_S).unwrap();
        let mut bytes = ticket.to_bytes();
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        let changed = Ticket::from_bytes(&bytes).and_then(|ticket| ticket.verify(&session(), &id(2), NOW_S));
        if let Ok(changed) = changed {
            prop_assert_eq!(changed, granted);
        }
    }
}

fn refused(ticket: &Ticket, holder: u8) -> TicketError {
    reread(ticket).verify(&session(), &id(holder), NOW_S).unwrap_err()
}

#[test]
fn who_is_refused_is_told_why() {
    let everything = Rights::everything();
    let ticket = issue(&everything, Some(NOW_S - 7300));
    let expired = refused(&ticket, 1).to_string();
    assert_eq!(expired, "this ticket expired 2 hours ago; ask for a new one");
    let ticket = issue(&everything, Some(NOW_S));
    let theirs = refused(&ticket, 2).to_string();
    assert!(
        theirs.contains(&id(1).short().to_string()) && theirs.contains("of no use to another key"),
        "{theirs}"
    );
    let other_session = Ticket::issue(&key(9), user(1), &everything, None).unwrap();
    assert_eq!(refused(&other_session, 1), TicketError::NotOfSession);
    // User 3 passes on what was given to user 1.
    let forged = ticket.delegate(&key(3), user(3), &everything, None).unwrap();
    assert_eq!(refused(&forged, 3), TicketError::Forged { hop: 2 });
    let listener = issue(&Rights::listener(), None);
    let passed = listener.delegate(&key(1), user(2), &everything, None).unwrap();
    assert!(matches!(refused(&passed, 2), TicketError::MayNotInvite { .. }));
    assert_eq!(
        refused(&Ticket::issue(&key(0), link(5, 1), &everything, None).unwrap(), 5),
        TicketError::ForLink
    );
}

#[test]
fn a_hop_is_no_good_behind_another_ticket() {
    let everything = Rights::everything();
    let wide = issue(&everything, None);
    let narrow = wide.narrow(&"subscribe,invite".parse().unwrap(), None).unwrap();
    let mut passed = narrow.delegate(&key(1), user(2), &everything, None).unwrap();
    assert_eq!(
        passed.verify(&session(), &id(2), NOW_S).unwrap().rights(),
        &"subscribe,invite".parse().unwrap()
    );
    // User 2 puts the hop behind the wide ticket of user 1, which all members have seen.
    passed.hops[0] = wide.hops[0].clone();
    assert_eq!(refused(&passed, 2), TicketError::Forged { hop: 2 });
    // Nor can it begin a ticket.
    passed.hops.remove(0);
    assert_eq!(refused(&passed, 2), TicketError::NotOfSession);
}

#[test]
fn a_link_lets_in_who_has_it_and_no_links() {
    let rights: Rights = "publish=2x8,subscribe".parse().unwrap();
    let ticket = Ticket::issue(&key(0), link(5, 3), &rights, None).unwrap();
    let joined = ticket.delegate(&key(5), user(1), &Rights::everything(), None).unwrap();
    let grant = reread(&joined).verify(&session(), &id(1), NOW_S).unwrap();
    assert_eq!(grant.rights(), &rights);
    assert_eq!(grant.keys, [key(5).public(), key(1).public()]);
    assert_eq!(grant.links, [Link { key: key(5).public(), uses: 3 }]);
    // Without the right to invite, it ends there.
    let passed = joined.delegate(&key(1), user(2), &rights, None).unwrap();
    assert!(matches!(refused(&passed, 2), TicketError::MayNotInvite { .. }));
    let to_link = ticket.delegate(&key(5), link(6, 100), &rights, None).unwrap();
    let through = to_link.delegate(&key(6), user(2), &rights, None).unwrap();
    assert_eq!(refused(&through, 2), TicketError::Forged { hop: 2 });
}

#[test]
fn a_ticket_has_bounds() {
    let everything = Rights::everything();
    let mut ticket = issue(&everything, None);
    for hop in 2..=8 {
        let to_link = ticket.delegate(&key(hop - 1), link(9, 1), &everything, None);
        assert_eq!(to_link.is_ok(), hop < 8, "a link needs one hop more");
        ticket = ticket.delegate(&key(hop - 1), user(hop), &everything, None).unwrap();
    }
    let grant = reread(&ticket).verify(&session(), &id(8), NOW_S).unwrap();
    assert_eq!((grant.keys.len(), grant.rights()), (HOPS_MAX, &everything));
    assert_eq!(ticket.delegate(&key(8), user(9), &everything, None), Err(TicketError::TooManyHops));

    let mut narrowed = issue(&everything, None);
    for _ in 1..BLOCKS_MAX {
        narrowed = narrowed.narrow(&everything, None).unwrap();
    }
    assert_eq!(narrowed.narrow(&everything, None), Err(TicketError::TooManyHops));

    let streams = (0..16).map(|stream| StreamKey::new(DeviceId([7; 32]), StreamId(stream))).collect();
    let names = (0..16).map(|number| format!("{number:064}")).collect();
    let subscribe = Subscribe::Only(streams);
    let widest = Rights { subscribe, control: Control::Only(names), ..everything };
    let grant = issue(&widest, None).verify(&session(), &id(1), NOW_S).unwrap();
    assert_eq!(grant.rights(), &widest);

    let too_long = vec![0; TICKET_BYTES_MAX + 1];
    assert_eq!(Ticket::from_bytes(&too_long), Err(TicketError::TooLong { bytes: TICKET_BYTES_MAX + 1 }));
    for bytes in [&[][..], &[0], &[0, 1], &[0, 0], &[0, 1, 7]] {
        assert!(matches!(Ticket::from_bytes(bytes), Err(TicketError::Malformed(_))), "{bytes:?}");
    }
}

#[test]
fn only_our_own_datalog_is_taken() {
    let made = |datalog: &str| {
        let source = format!("user(hex:{}); {datalog}", id(1));
        let biscuit = Biscuit::builder().code(source).unwrap().build(&key(0).pair()).unwrap();
        Hop::read(&biscuit.to_vec().unwrap()).map(|_| ())
    };
    assert_eq!(made("check if operation($operation), [\"join\"].contains($operation)"), Ok(()));
    let stranger = Err(TicketError::Malformed("rights that it does not know"));
    // A rule, an expression that takes its time, a check of another kind, another order, twice the same, other names.
    for datalog in [
        "check if operation($operation), [\"join\"].contains($operation); operation(\"edit\") <- true",
        "check if operation($operation), \"aaaaaaaaaaaaa\".matches(\"(a*)*b\")",
        "check all operation($operation), [\"join\"].contains($operation)",
        "reject if operation($operation), [\"join\"].contains($operation)",
        "check if operation($operation), [\"edit\", \"join\"].contains($operation)",
        "check if operation($operation), [\"join\", \"join\"].contains($operation)",
        "check if operation($o), [\"join\"].contains($o)",
        "check if operation($operation), [\"join\", \"fly\"].contains($operation)",
        "check if operation($operation), [\"join\"].contains($operation) or subscribe($stream), [hex:00].contains($stream)",
        "check if operation($operation), [\"join\"].contains($operation) trusting previous",
        "check if time($time), $time <= 5",
        "after(hex:00)",
    ] {
        assert_eq!(made(datalog), stranger, "{datalog}");
    }
}

#[test]
fn each_operation_has_its_words() {
    let grant =
        issue(&"publish=1x2".parse().unwrap(), Some(NOW_S)).verify(&session(), &id(1), NOW_S).unwrap();
    assert_eq!(grant.allows(&Operation::Publish { streams: 1, channels: 2 }, NOW_S), Ok(()));
    let denied =
        grant.allows(&Operation::Publish { streams: 2, channels: 2 }, NOW_S).unwrap_err().to_string();
    assert!(denied.contains("does not allow to publish 2 streams of 2 channels;"), "{denied}");
    let late = grant.allows(&Operation::Join, NOW_S + 3).unwrap_err().to_string();
    assert!(late.contains("expired 3 seconds ago;"), "{late}");
    assert_eq!(Publish::ALL.streams, u16::MAX);
}

#[test]
fn a_block_that_repeats_itself_is_not_spelt_out_for_long() {
    // One long symbol and many references to it: printed, each is the whole symbol.
    let hop = |symbol_bytes: usize, references: usize| {
        let symbol = format!("\"{}\"", "x".repeat(symbol_bytes));
        let source = format!("a({})", vec![symbol; references].join(", "));
        let biscuit = Biscuit::builder().code(source).unwrap().build(&key(0).pair()).unwrap();
        biscuit.to_vec().unwrap()
    };
    let largest = hop(1900, 400);
    assert!((3900..=HOP_BYTES_MAX).contains(&largest.len()), "{}", largest.len());
    assert_eq!(Hop::read(&largest).map(|_| ()), Err(TicketError::Malformed("a block too long")));
    let larger = hop(4000, 500);
    assert_eq!(Hop::read(&larger).map(|_| ()), Err(TicketError::Malformed("a part too long")));
}
