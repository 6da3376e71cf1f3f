use super::words::WORDS;
use super::*;
use proptest::prelude::*;

const ANN: DeviceId = DeviceId([1; 32]);
const BEN: DeviceId = DeviceId([2; 32]);
const EVE: DeviceId = DeviceId([3; 32]);
const CODE: &str = "42-guitar-ocean-lamp-tango";
const SECRET: &[u8] = b"an invitation";

fn code(text: &str) -> Code {
    text.parse().unwrap()
}

fn host(text: &str) -> (Pairing, Vec<u8>) {
    Pairing::host(code(text), ANN, BEN, SECRET)
}

fn answer(step: Result<Step, PairingError>) -> Vec<u8> {
    match step {
        Ok(Step::Answer(bytes) | Step::Sent(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_code_passes_an_invitation() {
    let (mut host, first) = host(CODE);
    let mut guest = Pairing::guest(code("42 Guitar OCEAN lamp tango"), BEN, ANN);
    let second = answer(guest.receive(&first));
    let third = host.receive(&second).unwrap();
    let Step::Sent(third) = third else { panic!("{third:?}") };
    assert!(!third.windows(SECRET.len()).any(|bytes| bytes == SECRET));
    assert_eq!(guest.receive(&third), Ok(Step::Received(Zeroizing::new(SECRET.to_vec()))));
    // And that was the one try.
    assert_eq!(host.receive(&second), Err(PairingError::Unexpected));
    assert_eq!(guest.receive(&third), Err(PairingError::Unexpected));
}

#[test]
fn another_code_or_another_device_gets_nothing() {
    let check = |guest: Pairing| {
        let (mut host, first) = host(CODE);
        let mut guest = guest;
        let second = answer(guest.receive(&first));
        assert_eq!(host.receive(&second), Err(PairingError::Failed));
        assert_eq!(host.receive(&second), Err(PairingError::Unexpected), "no second guess");
    };
    check(Pairing::guest(code("42-guitar-ocean-lamp-table"), BEN, ANN));
    check(Pairing::guest(code("43-guitar-ocean-lamp-tango"), BEN, ANN));
    // Eve passes on between Ann and Ben, who both said the right code: TLS tells each of them Eve's device key.
    check(Pairing::guest(code(CODE), BEN, EVE));
    check(Pairing::guest(code(CODE), EVE, ANN));
}

#[test]
fn who_plays_host_cannot_hand_out_another_invitation() {
    let (mut host, first) = Pairing::host(code("42-guitar-ocean-lamp-table"), ANN, BEN, b"a trap");
    let mut guest = Pairing::guest(code(CODE), BEN, ANN);
    let second = answer(guest.receive(&first));
    assert_eq!(host.receive(&second), Err(PairingError::Failed));
    // Without the key that only the code gives, nothing opens.
    let trap = message(SEALED, &seal(&[7; 32], b"a trap"));
    assert_eq!(guest.receive(&trap), Err(PairingError::Failed));
    // Its own words sent back to a side are none of the other's.
    let mut guest = Pairing::guest(code(CODE), BEN, ANN);
    let State::Guest { element, .. } = &guest.state else { unreachable!() };
    let own = message(HOST, element);
    assert_eq!(guest.receive(&own), Err(PairingError::Unexpected));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn changed_messages_pass_nothing(at in any::<prop::sample::Index>(), change in 1..=255_u8, which in 0..3) {
        let bend = |mut bytes: Vec<u8>, number| {
            if which == number {
                let place = at.index(bytes.len());
                bytes[place] ^= change;
            }
            bytes
        };
        let (mut host, first) = host(CODE);
        let mut guest = Pairing::guest(code(CODE), BEN, ANN);
        let passed = guest.receive(&bend(first, 0)).and_then(|step| {
            host.receive(&bend(answer(Ok(step)), 1))
        }).and_then(|step| guest.receive(&bend(answer(Ok(step)), 2)));
        prop_assert!(passed.is_err());
    }
}

#[test]
fn messages_that_are_none_end_it() {
    let long = [vec![SEALED], vec![0; PAIRING_BYTES_MAX]].concat();
    for bytes in [&[][..], &[0], &[HOST], &[GUEST, 1], &[SEALED], &[9; 66], &long] {
        let (mut host, first) = host(CODE);
        assert_eq!(host.receive(bytes), Err(PairingError::Unexpected));
        let mut guest = Pairing::guest(code(CODE), BEN, ANN);
        assert_eq!(guest.receive(bytes), Err(PairingError::Unexpected));
        assert_eq!(guest.receive(&first), Err(PairingError::Unexpected), "it was over");
        let mut proven = Pairing::guest(code(CODE), BEN, ANN);
        answer(proven.receive(&first));
        assert!(proven.receive(bytes).is_err());
    }
}

#[test]
fn words_can_be_told_apart() {
    assert!(WORDS.is_sorted());
    for pair in WORDS.windows(2) {
        assert_ne!(pair[0].get(..4).unwrap_or(pair[0]), pair[1].get(..4).unwrap_or(pair[1]), "{pair:?}");
    }
    assert!(WORDS.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()) && word.len() <= 7));
}

#[test]
fn a_code_is_read_as_it_is_said() {
    let made = Code::generate(1042).unwrap();
    assert_eq!((made.slot(), made.to_string().parse()), (42, Ok(made)));
    assert_ne!(Code::generate(1).unwrap(), Code::generate(1).unwrap());
    assert_eq!(code(" 007 - Guitar  ocean LAMP tango ").to_string(), "7-guitar-ocean-lamp-tango");
    assert_eq!(format!("{:?}", code(CODE)), "Code(42-…)");
    let check = |text: &str, error: ParseCodeError| assert_eq!(text.parse::<Code>(), Err(error));
    check("", ParseCodeError::Shape);
    check("guitar-ocean-lamp-tango", ParseCodeError::Shape);
    check("1000-guitar-ocean-lamp-tango", ParseCodeError::Shape);
    check("42-guitar-ocean-lamp", ParseCodeError::Shape);
    check("42-guitar-ocean-lamp-tango-tango", ParseCodeError::Shape);
    check(&"4".repeat(200), ParseCodeError::Shape);
    check("42-guitar-ozean-lamp-tango", ParseCodeError::UnknownWord("ozean".to_owned()));
}
