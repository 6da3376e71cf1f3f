//! The byte vectors of `net/wire/spec/vectors/membership.json`: what was signed once is read the same for ever.
//!
//! The keys are of the seeds that have one byte 32 times: 0 the session's, 1 to 3 the users', 20 a link's. There is no
//! way back from fields to bytes: biscuits have random keys inside.

use audiocloud_membership::invitation::{For, Invitation};
use audiocloud_membership::key::SigningKey;
use audiocloud_membership::member::MemberRecord;
use audiocloud_membership::revocation::Revocation;
use audiocloud_membership::ticket::Ticket;
use audiocloud_wire::id::{SessionId, UserId};
use serde_json::{Value, json};

const NOW_S: u64 = 1_800_000_000;

fn id(number: u64) -> UserId {
    let byte = u8::try_from(number).expect("the number of a user");
    UserId(SigningKey::from_seed(&[byte; 32]).public())
}

fn session() -> SessionId {
    SessionId(id(0).0)
}

fn number(key: &[u8; 32]) -> Value {
    if *key == session().0 { json!("session") } else { json!((1..=3).find(|number| id(*number).0 == *key)) }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

fn read_ticket(bytes: &[u8]) -> Result<Value, String> {
    let ticket = Ticket::from_bytes(bytes).map_err(|error| error.to_string())?;
    assert_eq!(ticket.to_bytes(), bytes);
    let grants = [1, 2, 3].map(|user| (user, ticket.verify(&session(), &id(user), NOW_S)));
    let Some((user, Ok(grant))) = grants.iter().find(|(_, grant)| grant.is_ok()) else {
        return Err(grants.map(|(_, grant)| grant.unwrap_err().to_string()).concat());
    };
    let rights = grant.rights().to_string();
    Ok(json!({ "user": user, "rights": rights, "expires_s": grant.expires_s, "hops": grant.keys.len() }))
}

fn read_record(bytes: &[u8]) -> Result<Value, String> {
    let record = MemberRecord::from_bytes(bytes).map_err(|error| error.to_string())?;
    assert_eq!((record.to_bytes(), record.session), (bytes, session()));
    let grant = record.verify(NOW_S).map_err(|error| error.to_string())?;
    let MemberRecord { joined_ms, revision, .. } = record;
    let (user, name, hops) = (number(record.user.as_bytes()), record.name.as_str(), grant.keys.len());
    Ok(json!({ "user": user, "name": name, "joined_ms": joined_ms, "revision": revision, "hops": hops }))
}

fn read_revocation(bytes: &[u8]) -> Result<Value, String> {
    let revocation = Revocation::from_bytes(bytes).map_err(|error| error.to_string())?;
    assert_eq!((revocation.to_bytes(), revocation.session), (bytes, session()));
    let chain = revocation.verify().map_err(|error| error.to_string())?;
    let by = if chain.is_empty() { "session" } else { "user" };
    let (target, reason) = (number(&revocation.target), revocation.text.as_str());
    Ok(json!({ "by": by, "target": target, "at_s": revocation.at_s, "reason": reason }))
}

fn read_link(text: &str) -> Result<Value, String> {
    let invitation: Invitation = text.parse().map_err(|error| format!("{error}"))?;
    assert_eq!((invitation.to_string().as_str(), invitation.session), (text, session()));
    let rights = invitation.rights(NOW_S).map_err(|error| error.to_string())?.to_string();
    let bearer = matches!(invitation.to, For::Bearer(_));
    Ok(json!({ "name": invitation.name.as_str(), "bearer": bearer, "rights": rights }))
}

#[test]
fn all_are_read_as_they_say() {
    let vectors = include_str!("../../wire/spec/vectors/membership.json");
    let vectors: Vec<Value> = serde_json::from_str(vectors).expect("JSON");
    assert!(vectors.len() > 15);
    for vector in vectors {
        let bytes = || unhex(vector["hex"].as_str().expect("bytes"));
        let read = match vector["kind"].as_str() {
            Some("ticket") => read_ticket(&bytes()),
            Some("record") => read_record(&bytes()),
            Some("revocation") => read_revocation(&bytes()),
            Some("link") => read_link(vector["text"].as_str().expect("text")),
            other => panic!("{other:?}"),
        };
        match (read, vector["error"].as_str()) {
            (Ok(fields), None) => assert_eq!(fields, vector["fields"], "{}", vector["name"]),
            (Err(error), Some(expected)) => assert!(error.contains(expected), "{}: {error}", vector["name"]),
            (read, _) => panic!("{}: {read:?}", vector["name"]),
        }
    }
}
