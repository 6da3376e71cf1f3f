//! Edits that change a document, and edits that leave it as it was.

use super::*;

fn row(count: u32) -> Chain {
    let mut chain = Chain::default();
    for _ in 0..count {
        add(&mut chain, Place::END);
    }
    chain
}

fn add(chain: &mut Chain, at: Place) -> u32 {
    chain.apply(&Edit::Add { at, kind: "clap:x".to_owned() }).unwrap().unwrap()
}

/// As `1 2(3|4 5) 6`.
fn shape(items: &[Item]) -> String {
    let item = |item: &Item| match item {
        Item::Effect(slot) => slot.id.to_string(),
        Item::Parallel(parallel) => {
            let branches: Vec<String> = parallel.branches.iter().map(|branch| shape(&branch.items)).collect();
            format!("{}({})", parallel.id, branches.join("|"))
        }
    };
    items.iter().map(item).collect::<Vec<_>>().join(" ")
}

/// `0 1 2(3 4|) 5`
fn garden() -> Chain {
    let mut chain = row(2);
    chain.apply(&Edit::AddParallel { at: Place::END, branches: 2 }).unwrap();
    add(&mut chain, Place::within(2, 0, 0));
    add(&mut chain, Place::within(2, 0, 9));
    add(&mut chain, Place::END);
    assert_eq!(shape(&chain.items), "0 1 2(3 4|) 5");
    chain
}

#[test]
fn items_come_go_and_move() {
    let mut chain = garden();
    let mut check = |edit: Edit, expected: &str| {
        chain.apply(&edit).unwrap();
        assert_eq!(shape(&chain.items), expected, "{edit:?}");
    };
    check(Edit::Move { id: 5, to: Place::at(0) }, "5 0 1 2(3 4|)");
    check(Edit::Move { id: 3, to: Place::within(2, 1, 0) }, "5 0 1 2(4|3)");
    check(Edit::Move { id: 2, to: Place::at(1) }, "5 2(4|3) 0 1");
    check(Edit::Move { id: 0, to: Place::at(3) }, "5 2(4|3) 1 0");
    check(Edit::AddBranch(2), "5 2(4|3|) 1 0");
    check(Edit::Move { id: 1, to: Place::within(2, 2, 7) }, "5 2(4|3|1) 0");
    check(Edit::RemoveBranch(2, 1), "5 2(4|1) 0");
    check(Edit::Remove(5), "2(4|1) 0");
    check(Edit::AddParallel { at: Place::within(2, 0, 0), branches: 1 }, "2(6() 4|1) 0");
    check(Edit::Remove(2), "0");
    check(Edit::Add { at: Place::at(0), kind: "clap:y".to_owned() }, "7 0");
}

#[test]
fn all_states_together_fit_into_a_document() {
    let mut chain = row(3);
    let mut keep = |effect, bytes| {
        let said = chain.apply(&Edit::SetState(effect, Some(Blob::new(&vec![7; bytes]))));
        (said.map_err(|error| error.to_string()), chain.to_json().len())
    };
    assert!(keep(0, STATE_BYTES_MAX).0.is_ok());
    let (said, length) = keep(1, STATES_BYTES_MAX - STATE_BYTES_MAX);
    assert!(said.is_ok() && length < DOCUMENT_BYTES_MAX, "{length}");
    let (said, same) = keep(2, 1);
    assert!(said.unwrap_err().contains("take a plug-in out") && same == length);
    assert!(keep(0, 5).0.is_ok() && keep(2, 1).0.is_ok(), "in the place of a longer one");
}

#[test]
fn what_does_not_suit_is_refused_and_changes_nothing() {
    let before = garden();
    let check = |edit: Edit, expected: &str| {
        let mut chain = before.clone();
        let said = chain.apply(&edit).map_err(|error| error.to_string());
        assert!(said.as_ref().is_err_and(|said| said.contains(expected)), "{edit:?}: {said:?}");
        assert_eq!(chain, before);
    };
    check(Edit::Remove(9), "no part with the number 9");
    check(Edit::Move { id: 2, to: Place::within(2, 0, 0) }, "into itself");
    check(Edit::Move { id: 0, to: Place::within(9, 0, 0) }, "number 9");
    check(Edit::Move { id: 0, to: Place::within(2, 2, 0) }, "no branch 2");
    check(Edit::Move { id: 0, to: Place::within(1, 0, 0) }, "no parallel");
    check(Edit::RemoveBranch(2, 2), "no branch 2");
    check(Edit::RemoveBranch(1, 0), "no parallel");
    check(Edit::AddParallel { at: Place::END, branches: 0 }, "at least one branch");
    check(Edit::AddParallel { at: Place::END, branches: u16::MAX }, "too many");
    check(Edit::Bypass(2, true), "no effect");
    check(Edit::Rename(2, "x".to_owned()), "no effect");
    check(Edit::Rename(0, "x".repeat(300)), "too large");
    check(Edit::RenameChain("x".repeat(300)), "too large");
    check(Edit::Set { effect: 0, parameter: 0, value: f32::NAN }, "not a number");
    check(Edit::Set { effect: 2, parameter: 2, value: 0.0 }, "no parameter 2");
    check(Edit::SetState(0, Some(Blob::new(&vec![0; STATE_BYTES_MAX + 1]))), "too large");
    check(Edit::Add { at: Place::END, kind: "clap:".to_owned() }, "no kind of effect");
    check(Edit::Add { at: Place::END, kind: "fuzzbox".to_owned() }, "“fuzzbox” is no kind");
    let mut double = row(1);
    double.items.push(double.items[0].clone());
    check(Edit::Replace(double), "the number 0");
    check(Edit::Replace(Chain { schema: 0, ..Chain::default() }), "schema 0");
    check(Edit::Replace(Chain { schema: 2, ..Chain::default() }), "newer version");
}

#[test]
fn the_last_branch_stays() {
    let mut chain = garden();
    chain.apply(&Edit::RemoveBranch(2, 1)).unwrap();
    assert_eq!(chain.apply(&Edit::RemoveBranch(2, 0)), Err(ChainError::NoBranches));
}

#[test]
fn values_are_held_within_their_range() {
    let mut chain = garden();
    for (value, expected) in [(99.0, LEVEL_DB_MAX), (-1e9, LEVEL_DB_MIN), (-3.5, -3.5)] {
        chain.apply(&Edit::Set { effect: 2, parameter: 0, value }).unwrap();
        assert_eq!(chain.value(2, 0), Some(expected));
    }
    // A foreign plug-in's ranges are its own business.
    chain.apply(&Edit::Set { effect: 0, parameter: 77, value: 1e6 }).unwrap();
    assert_eq!(chain.value(0, 77), Some(1e6));
    for kind in audiocloud_effects::KINDS {
        let id = chain.apply(&Edit::Add { at: Place::END, kind: kind.id.to_owned() }).unwrap().unwrap();
        for parameter in kind.parameters {
            chain.apply(&Edit::Set { effect: id, parameter: parameter.id, value: f32::MAX }).unwrap();
            assert_eq!(chain.value(id, parameter.id), Some(parameter.bounds().1));
        }
        let unknown = Edit::Set { effect: id, parameter: 1_000_000, value: 0.0 };
        assert!(matches!(chain.apply(&unknown), Err(ChainError::NoParameter { .. })));
    }
}

#[test]
fn ids_are_never_given_twice() {
    let mut chain = row(3);
    chain.apply(&Edit::Remove(2)).unwrap();
    assert_eq!(add(&mut chain, Place::END), 3);
    let read = Chain::from_json(&chain.to_json()).unwrap();
    assert_eq!(read.next_id, 4);
    chain.apply(&Edit::Replace(row(1))).unwrap();
    assert_eq!(add(&mut chain, Place::END), 4);
    // To the very last one.
    chain.next_id = crate::document::ID_END - 2;
    add(&mut chain, Place::END);
    let one_more = Edit::Add { at: Place::END, kind: "clap:x".to_owned() };
    assert_eq!(chain.apply(&one_more), Err(ChainError::IdTooLarge { id: crate::document::ID_END - 1 }));
}

#[test]
fn what_the_owner_promised_survives_another_document() {
    let mut chain = Chain { latency_frames: Some(480), ..row(1) };
    chain.apply(&Edit::Replace(Chain { latency_frames: None, name: "Other".to_owned(), ..row(2) })).unwrap();
    assert_eq!((chain.latency_frames, chain.name.as_str(), chain.items.len()), (Some(480), "Other", 2));
}

#[test]
fn edits_are_short_and_come_back() {
    fn check(edit: Edit, text: &str) {
        assert_eq!(String::from_utf8(edit.to_json()).unwrap(), text);
        assert_eq!(Edit::from_json(text.as_bytes()), Ok(edit));
    }
    check(Edit::Add { at: Place::at(2), kind: "eq".to_owned() }, r#"{"add":{"at":{"index":2},"kind":"eq"}}"#);
    check(
        Edit::AddParallel { at: Place::within(4, 1, 0), branches: 3 },
        r#"{"add-parallel":{"at":{"within":[4,1],"index":0},"branches":3}}"#,
    );
    check(Edit::Bypass(3, true), r#"{"bypass":[3,true]}"#);
    check(
        Edit::Set { effect: 3, parameter: 1, value: -6.0 },
        r#"{"set":{"effect":3,"parameter":1,"value":-6.0}}"#,
    );
    check(Edit::Remove(3), r#"{"remove":3}"#);
    check(Edit::SetState(3, Some(Blob::new(b"foo"))), r#"{"set-state":[3,"Zm9v"]}"#);
    check(Edit::Replace(Chain::default()), r#"{"replace":{"schema":1,"name":"","next_id":0,"items":[]}}"#);
    for text in ["", "{}", r#"{"explode":1}"#, r#"{"bypass":[3]}"#, r#"{"set":{"effect":3}}"#] {
        assert!(Edit::from_json(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Edit::from_json(&vec![b' '; DOCUMENT_BYTES_MAX + 1]).is_err());
}

#[test]
fn who_applies_the_same_edits_has_the_same_document() {
    let (mut one, mut other) = (garden(), garden());
    for edit in [
        Edit::Add { at: Place::within(2, 1, 0), kind: "clap:z".to_owned() },
        Edit::Set { effect: 6, parameter: 3, value: 0.25 },
        Edit::Move { id: 6, to: Place::at(0) },
        Edit::Bypass(6, true),
    ] {
        let sent = Edit::from_json(&edit.to_json()).unwrap();
        assert_eq!(one.apply(&edit), other.apply(&sent));
    }
    assert_eq!(one.to_json(), other.to_json());
}
