//! Documents that are read, and documents that are not.

use super::*;
use crate::edit::{Edit, Place};

fn effect(id: u32) -> Item {
    Item::Effect(Slot::new(id, "clap:x"))
}

fn parallel(id: u32, branches: Vec<Vec<Item>>) -> Item {
    let branches = branches.into_iter().map(|items| Branch { items, ..Branch::default() }).collect();
    Item::Parallel(Parallel { id, branches })
}

fn chain(items: Vec<Item>) -> Chain {
    let mut chain = Chain { items, ..Chain::default() };
    chain.number();
    chain
}

#[test]
fn a_document_is_short_and_plain() {
    let mut slot = Slot::new(3, "clap:org.example.plate");
    slot.values = BTreeMap::from([(7, 0.1), (2, -12.0)]);
    slot.state = Some(Blob::new(b"foo"));
    slot.bypassed = true;
    let dry = Branch { level_db: -6.0, items: Vec::new() };
    let wet = Branch { level_db: 0.0, items: vec![Item::Effect(slot)] };
    let mut written = chain(vec![Item::Parallel(Parallel { id: 1, branches: vec![dry, wet] })]);
    written.name = "Strings".to_owned();
    written.latency_frames = Some(480);
    let text = concat!(
        r#"{"schema":1,"name":"Strings","latency_frames":480,"next_id":4,"items":[{"parallel":{"id":1,"branches":["#,
        r#"{"level_db":-6.0,"items":[]},{"level_db":0.0,"items":[{"effect":{"id":3,"kind":"clap:org.example.plate","#,
        r#""bypassed":true,"values":{"2":-12.0,"7":0.1},"state":"Zm9v"}}]}]}}]}"#
    );
    assert_eq!(String::from_utf8(written.to_json()).unwrap(), text);
    assert_eq!(Chain::from_json(text.as_bytes()), Ok(written));
}

#[test]
fn what_is_not_said_has_its_default_and_what_is_unknown_is_passed_over() {
    let text =
        r#"{"schema":1,"colour":"red","items":[{"effect":{"id":5,"kind":"eq","more":[1,2,{"a":null}]}}]}"#;
    let read = Chain::from_json(text.as_bytes()).unwrap();
    assert_eq!((read.next_id, read.latency_frames, read.items.len()), (6, None, 1));
    assert_eq!(read.slot(5), Some(&Slot::new(5, "eq")));
    assert_eq!(Chain::from_json(br#"{"schema":1}"#), Ok(Chain::default()));
}

#[test]
fn every_value_comes_back_to_the_bit() {
    let mut state = 1_u32;
    let mut values = BTreeMap::new();
    for id in 0..4_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let value = f32::from_bits(state);
        if value.is_finite() {
            values.insert(id, value);
        }
    }
    let mut slot = Slot::new(0, "clap:x");
    slot.values = values;
    let written = chain(vec![Item::Effect(slot)]);
    let read = Chain::from_json(&written.to_json()).unwrap();
    let bits = |chain: &Chain| -> Vec<u32> {
        chain.slot(0).unwrap().values.values().map(|value| value.to_bits()).collect()
    };
    assert!(bits(&read).len() > 3_900 && bits(&read) == bits(&written));
}

#[test]
fn what_is_wrong_is_said() {
    fn check(text: &str, expected: &str) {
        let said = Chain::from_json(text.as_bytes()).map(drop).map_err(|error| error.to_string());
        assert!(said.as_ref().is_err_and(|said| said.contains(expected)), "{text}: {said:?}");
    }
    let items = |items: &str| format!(r#"{{"schema":1,"items":[{items}]}}"#);
    check("", "no chain");
    check("[]", "no chain");
    check(r#"{"items":[]}"#, "schema");
    check(r#"{"schema":0}"#, "schema 0");
    check(r#"{"schema":2,"items":"of another form"}"#, "newer version");
    check(r#"{"schema":1,"items":{}}"#, "at most 96");
    check(&items(r#"{"effect":{"id":1,"kind":"eq"}},{"effect":{"id":1,"kind":"eq"}}"#), "the number 1");
    check(&items(r#"{"effect":{"id":4000000000,"kind":"eq"}}"#), "too large");
    check(&items(r#"{"effect":{"id":-1,"kind":"eq"}}"#), "no chain");
    check(&items(r#"{"effect":{"id":1,"kind":"eq","values":{"0":1e39}}}"#), "not a number");
    check(&items(r#"{"effect":{"id":1,"kind":"eq","values":{"0":null}}}"#), "no chain");
    check(&items(r#"{"effect":{"id":1,"kind":"eq","state":"?"}}"#), "Base64");
    check(&items(r#"{"parallel":{"id":1,"branches":[]}}"#), "at least one branch");
    check(&items(r#"{"parallel":{"id":1,"branches":[{},{},{},{},{},{},{},{},{}]}}"#), "at most 8");
    check(&items(r#"{"parallel":{"id":1,"branches":[{"level_db":1e300}]}}"#), "not a number");
    check(r#"{"schema":1,"latency_frames":960001}"#, "960001 frames");
    let name = "n".repeat(NAME_BYTES_MAX + 1);
    check(&format!(r#"{{"schema":1,"name":"{name}"}}"#), "257 bytes");
    check(&" ".repeat(DOCUMENT_BYTES_MAX + 1), "too large");
}

#[test]
fn what_is_too_much_is_refused_and_what_is_just_enough_is_read() {
    let read = |items: Vec<Item>| Chain::from_json(&chain(items).to_json()).map(drop);
    let many = |count: u32| (0..count).map(effect).collect::<Vec<_>>();
    assert_eq!(read(many(64)), Ok(()));
    assert_eq!(read(many(65)), Err(ChainError::TooMany { what: "effects", count: 65, max: 64 }));
    let wide = |count: u32| (0..count).map(|id| parallel(id, vec![vec![]])).collect::<Vec<_>>();
    assert_eq!(read(wide(32)), Ok(()));
    assert_eq!(read(wide(33)), Err(ChainError::TooMany { what: "parallels", count: 33, max: 32 }));
    let nested = |depth: u32| (0..depth).fold(effect(99), |inner, id| parallel(id, vec![vec![inner]]));
    assert_eq!(read(vec![nested(4)]), Ok(()));
    assert_eq!(read(vec![nested(5)]), Err(ChainError::TooDeep { depth: 5, max: 4 }));
    // Beyond what the reader of JSON follows.
    let text = format!(
        r#"{{"schema":1,"items":{}}}"#,
        r#"[{"parallel":{"id":1,"branches":[{"items":"#.repeat(10_000)
    );
    assert!(Chain::from_json(text.as_bytes()).is_err());
}

#[test]
fn items_are_found_wherever_they_are() {
    let chain =
        chain(vec![effect(1), parallel(2, vec![vec![effect(3)], vec![parallel(4, vec![vec![effect(5)]])]])]);
    for id in 1..=5 {
        assert_eq!(chain.item(id).map(Item::id), Some(id));
    }
    assert_eq!((chain.item(6), chain.slot(4)), (None, None));
    let ids: Vec<u32> = chain.effects().iter().map(|slot| slot.id).collect();
    assert_eq!((ids, chain.next_id), (vec![1, 3, 5], 6));
}

#[test]
fn a_parallel_has_a_level_for_each_branch() {
    let mut chain = chain(vec![parallel(0, vec![vec![], vec![]])]);
    assert_eq!(chain.parameter(0, 1).map(|parameter| parameter.name), Some("Level of branch 2"));
    assert_eq!(chain.parameter(0, 2), None);
    chain.apply(&Edit::Set { effect: 0, parameter: 1, value: -6.0 }).unwrap();
    assert_eq!((chain.value(0, 0), chain.value(0, 1), chain.value(0, 2)), (Some(0.0), Some(-6.0), None));
}

#[test]
fn tails_add_up_in_a_row_and_the_longest_counts_side_by_side() {
    let activation =
        Activation { sample_rate: audiocloud_units::SampleRate::new(48_000).unwrap(), channels: 2 };
    let Some(kind) = audiocloud_effects::KINDS.first() else { return };
    let one = (kind.tail)(&activation, &kind.defaults());
    let Tail::Frames(frames) = one else { return };
    let mut chain = Chain::default();
    let add =
        |chain: &mut Chain, at: Place| chain.apply(&Edit::Add { at, kind: kind.id.to_owned() }).unwrap();
    add(&mut chain, Place::END);
    add(&mut chain, Place::END);
    assert_eq!(chain.tail(&activation), Tail::Frames(2 * frames));
    let parallel = chain.apply(&Edit::AddParallel { at: Place::END, branches: 2 }).unwrap().unwrap();
    for branch in [0, 0, 1] {
        add(&mut chain, Place::within(parallel, branch, 0));
    }
    assert_eq!(chain.tail(&activation), Tail::Frames(4 * frames));
}
