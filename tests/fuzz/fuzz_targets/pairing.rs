//! Any text as a spoken code, and any messages between two who pair: an invitation arrives only whole, only once, and
//! only where both were given the same code.
//!
//! Input: a byte whose lowest bit says whether the codes are the same, then steps: who gets a message (lowest bit),
//! whether it is the other side's last one (second bit), a length, and bytes: the message, or what to change in it.
#![no_main]

use audiocloud_membership::pairing::{Code, Pairing, PairingError, SLOT_MAX, Step};
use audiocloud_wire::id::DeviceId;
use libfuzzer_sys::fuzz_target;

const STEPS_MAX: usize = 8;
const INVITATION: &[u8] = b"come in";

fn code(text: &str) -> Code {
    text.parse().expect("a code")
}

fuzz_target!(|input: &[u8]| {
    if let Ok(Ok(read)) = std::str::from_utf8(input).map(str::parse::<Code>) {
        assert!(read.slot() <= SLOT_MAX);
        assert_eq!(read.to_string().parse(), Ok(read));
    }
    let Some((same, mut rest)) = input.split_first() else { return };
    let (ann, ben) = (DeviceId([1; 32]), DeviceId([2; 32]));
    let same = same & 1 == 1;
    let (mut host, first) = Pairing::host(code("1-acorn-acorn-acorn-acorn"), ann, ben, INVITATION);
    let theirs = if same { "1-acorn-acorn-acorn-acorn" } else { "1-acorn-acorn-acorn-actor" };
    let mut guest = Pairing::guest(code(theirs), ben, ann);
    // What each side said last.
    let mut said = [first, Vec::new()];
    let (mut sent, mut received) = (0, 0);
    for _ in 0..STEPS_MAX {
        let [how, length, after @ ..] = rest else { break };
        let (bytes, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let to_host = how & 1 == 0;
        let message = if how & 2 == 0 {
            bytes.to_vec()
        } else {
            let mut message = said[usize::from(to_host)].clone();
            message.iter_mut().zip(bytes).for_each(|(byte, change)| *byte ^= change);
            message
        };
        match if to_host { host.receive(&message) } else { guest.receive(&message) } {
            Ok(Step::Answer(bytes)) => said[1] = bytes,
            Ok(Step::Sent(bytes)) => {
                said[0] = bytes;
                sent += 1;
            }
            Ok(Step::Received(invitation)) => {
                assert_eq!(invitation.as_slice(), INVITATION);
                received += 1;
            }
            Err(PairingError::Failed | PairingError::Unexpected) => {}
        }
    }
    assert!(received <= sent && sent <= usize::from(same));
});
