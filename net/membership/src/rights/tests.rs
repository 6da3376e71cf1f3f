use super::*;
use audiocloud_wire::id::{DeviceId, StreamId};
use proptest::prelude::*;

pub(crate) fn any_rights() -> impl Strategy<Value = Rights> {
    let stream = (0..3_u8, 0..3_u64)
        .prop_map(|(device, stream)| StreamKey::new(DeviceId([device; 32]), StreamId(stream)));
    let subscribe = prop_oneof![
        Just(Subscribe::None),
        Just(Subscribe::All),
        prop::collection::vec(stream, 0..4).prop_map(Subscribe::Only),
    ];
    let name = prop_oneof!["[a-c]", "[ -~é]{1,20}"].prop_filter("a name", |name| is_name(name));
    let control = prop_oneof![
        Just(Control::None),
        Just(Control::All),
        prop::collection::vec(name, 0..4).prop_map(Control::Only),
    ];
    let publish = prop_oneof![
        Just(None),
        Just(Some(Publish::ALL)),
        (0..4_u16, 0..4_u16).prop_map(|(streams, channels)| Some(Publish { streams, channels })),
    ];
    (publish, subscribe, control, any::<[bool; 5]>()).prop_map(
        |(publish, subscribe, control, [host, lead, invite, revoke, edit])| {
            Rights { publish, subscribe, host, control, lead, invite, revoke, edit }.in_order()
        },
    )
}

/// One of each operation, and several where rights tell some from others.
pub(crate) fn operations() -> Vec<Operation<'static>> {
    static STREAMS: [StreamKey; 4] = [
        StreamKey::new(DeviceId([0; 32]), StreamId(0)),
        StreamKey::new(DeviceId([1; 32]), StreamId(2)),
        StreamKey::new(DeviceId([2; 32]), StreamId(1)),
        StreamKey::new(DeviceId([9; 32]), StreamId(9)),
    ];
    let mut operations = vec![Operation::Join, Operation::Host, Operation::Lead];
    operations.extend([Operation::Invite, Operation::Revoke, Operation::Edit]);
    operations.extend(STREAMS.iter().map(Operation::Subscribe));
    operations.extend(["a", "b", "c", "A"].map(Operation::Control));
    for streams in [0, 1, 3, 4] {
        operations.extend([0, 2, 9].map(|channels| Operation::Publish { streams, channels }));
    }
    operations
}

proptest! {
    #[test]
    fn text_reads_back(rights in any_rights()) {
        prop_assert_eq!(rights.to_string().parse(), Ok(rights));
    }

    #[test]
    fn both_allow_what_each_allows(a in any_rights(), b in any_rights()) {
        let and = a.and(&b);
        prop_assert_eq!(&and, &b.and(&a));
        for operation in operations() {
            prop_assert_eq!(and.allow(&operation), a.allow(&operation) && b.allow(&operation), "{:?}", operation);
        }
    }
}

#[test]
fn the_command_line_names_rights() {
    let check = |text: &str, words: &str| assert_eq!(text.parse::<Rights>().unwrap().words(), words);
    check(
        "publish=2x8, subscribe,edit",
        "publish up to 2 streams of 8 channels, hear all streams, edit the shared state",
    );
    check("publish=1x1", "publish up to 1 stream of 1 channel");
    check("listener", "hear all streams");
    check("none", "be there, and nothing else");
    check("control=drums+lead%2Bsolo", "control the effects of drums, lead+solo");
    assert_eq!("musician,host,revoke".parse(), Ok(Rights::everything()));
    assert_eq!("revoke,host,musician".parse(), Ok(Rights::everything()));
}

#[test]
fn text_that_names_no_rights_is_refused_with_what_would() {
    let check = |text: &str, why: &str| {
        let error = text.parse::<Rights>().unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    };
    check("", "no right");
    check("admin", "no right");
    check("edit=yes", "no right");
    check("publish=2", "publish=2x8");
    check("publish=2x70000", "publish=2x8");
    check("subscribe=abc", "PUBLISHER/STREAM");
    check("control=", "is empty");
    check("control=%4", "no list of names");
    check(&format!("control={}", "x".repeat(65)), "longer than 64");
    check(&format!("control={}", ["a"; 17].map(str::to_owned).join("+")), "more than 16");
}
