//! Changes that members sign, whatever is in them, and in any order: what does not count changes nothing, and who has
//! heard the same has the same.
#![no_main]

use audiocloud_fuzz::changes::{body, signed};
use audiocloud_membership::key::SigningKey;
use audiocloud_membership::shared::{DOCUMENT_BYTES_MAX, HEADS_MAX, SharedState, SignedChange};
use audiocloud_wire::id::{ChangeHash, SessionId, UserId};
use libfuzzer_sys::fuzz_target;

const SESSION: SessionId = SessionId([7; 32]);
const STEPS_MAX: usize = 60;

fuzz_target!(|input: &[u8]| {
    let members: Vec<_> = (0..4).map(|number| SigningKey::from_seed(&[number; 32])).collect();
    // The first two may edit, the third could at first, the last never.
    let may_edit =
        |user: &UserId, at_ms: u64| match members.iter().position(|member| member.public() == user.0) {
            Some(0 | 1) => true,
            Some(2) => at_ms < 1 << 31,
            _ => false,
        };
    let mut state = SharedState::new(SESSION);
    let mut sent: Vec<SignedChange> = Vec::new();
    let mut rest = input;
    for _ in 0..STEPS_MAX {
        let Some(([what, who, after, many, length], more)) = rest.split_first_chunk() else { break };
        let (bytes, more) = more.split_at(usize::from(*length).min(more.len()));
        rest = more;
        let author = &members[usize::from(*who) % members.len()];
        let followed: Vec<ChangeHash> = {
            let known = sent.iter().rev().skip(usize::from(*after) % 8).take(usize::from(*many) % 40);
            known.map(SignedChange::hash).collect()
        };
        let at_ms = u32::from(*after) << 24 | u32::from(*many);
        let change = match what % 4 {
            0 => SignedChange::from_bytes(bytes).ok(),
            1 => Some(signed(author, bytes.to_vec())),
            2 => Some(signed(author, body(&SESSION, &[ChangeHash([*after; 32])], at_ms, bytes))),
            _ => Some(signed(author, body(&SESSION, &followed, at_ms, bytes))),
        };
        let Some(change) = change else { continue };
        let before = state.heads();
        let merged = state.merge(std::slice::from_ref(&change), may_edit);
        assert_eq!(merged.news.is_empty(), state.heads() == before);
        assert!(state.heads().len() <= HEADS_MAX && state.bytes() <= DOCUMENT_BYTES_MAX);
        sent.push(change);
    }
    let mut other = SharedState::new(SESSION);
    sent.reverse();
    other.merge(&sent, may_edit);
    assert_eq!(other.heads(), state.heads());
    assert_eq!(other.view(), state.view());
    assert!(other.changes_since(&state.heads()).is_empty());
    let mut restored = SharedState::restore(SESSION, state.all());
    assert_eq!(restored.heads(), state.heads());
    assert_eq!(restored.view(), state.view());
    assert_eq!(restored.merge(&[], may_edit).withdrawn, 0);
});
