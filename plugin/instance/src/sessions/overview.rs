//! How things stand with the session of a project, in words, and all that the panel shows of it.

use audiocloud_net::runtime::Handle;
use audiocloud_net::runtime::sessions::SessionStatus;
use audiocloud_net::wire::id::SessionId;

use super::{Desk, Member, Model, Stranger};
use crate::state::SessionRef;
use crate::status::{Severity, Status};

/// Bytes of a key in one group of digits, and groups that a fingerprint has.
const GROUP_BYTES: usize = 2;
const GROUPS: usize = 4;

/// What a window shows of sessions; without a runtime, what the project says.
pub(super) fn model(handle: Option<&Handle>, project: Option<&SessionRef>, desk: Desk) -> Model {
    let known = handle.filter(|handle| handle.sessions_known()).map(Handle::sessions);
    let sessions = known.as_deref();
    let current = project.and_then(|project| standing(sessions, project.id));
    let members = current.map_or_else(Vec::new, members);
    Model {
        current: project.cloned(),
        status: status_of(sessions, project),
        joined: sessions
            .unwrap_or_default()
            .iter()
            .filter(|it| it.trouble.is_none())
            .map(reference)
            .collect(),
        may_invite: current.is_some_and(|current| current.rights.invite),
        may_remove: current.is_some_and(|current| current.rights.revoke),
        members,
        strangers: handle.map_or_else(Vec::new, strangers),
        desk,
    }
}

/// How things stand with the project's session, once that is known.
pub(super) fn status(handle: &Handle, project: &SessionRef) -> Option<Status> {
    handle.sessions_known().then(|| status_of(Some(&handle.sessions()), Some(project)))
}

fn standing(sessions: Option<&[SessionStatus]>, id: SessionId) -> Option<&SessionStatus> {
    sessions?.iter().find(|session| session.session == id)
}

fn status_of(sessions: Option<&[SessionStatus]>, project: Option<&SessionRef>) -> Status {
    let Some(project) = project else { return Status::default() };
    let name = &project.name;
    if sessions.is_none() {
        return Status::new(Severity::Idle, format!("“{name}” is being looked up."), "");
    }
    let Some(session) = standing(sessions, project.id) else { return stranger_here(project) };
    if let Some(trouble) = &session.trouble {
        return Status {
            severity: Severity::Warning,
            ..Status::from_error(trouble, &format!("“{name}” is closed to you"))
        };
    }
    let others = || session.members.iter().filter(|member| !member.is_self);
    let said = match (others().filter(|other| other.present).count(), others().count()) {
        (_, 0) => format!("You are alone in “{name}”: invite somebody."),
        (0, _) => format!("None of the others of “{name}” is here."),
        (here, all) => {
            format!("{here} of {all} others of “{name}” {} here.", if here == 1 { "is" } else { "are" })
        }
    };
    Status::new(Severity::Good, said, "")
}

/// This user is no member: somebody else's project, or a session that was left.
fn stranger_here(project: &SessionRef) -> Status {
    let cause = format!("This project belongs to “{}”, and you are no member of it.", project.name);
    let whom = if project.ask.is_empty() { "one of its members" } else { &project.ask };
    let remedy = format!("Ask {whom} for a new link and join by it, or choose another session.");
    Status::new(Severity::Warning, cause, remedy)
}

fn reference(session: &SessionStatus) -> SessionRef {
    SessionRef { id: session.session, name: session.name.clone(), ask: session.inviter.clone() }
}

fn members(session: &SessionStatus) -> Vec<Member> {
    let mut members: Vec<Member> = session
        .members
        .iter()
        .map(|member| Member {
            user: member.user,
            name: member.name.clone(),
            is_self: member.is_self,
            is_here: member.present,
            trouble: member.trouble.clone().unwrap_or_default(),
        })
        .collect();
    members.sort_by(|one, other| {
        (!one.is_self, &one.name, one.user).cmp(&(!other.is_self, &other.name, other.user))
    });
    members
}

/// Each person once, whatever number of devices they try it with.
fn strangers(handle: &Handle) -> Vec<Stranger> {
    let mut strangers: Vec<Stranger> = Vec::new();
    for stranger in handle.strangers() {
        let key = stranger.user.map_or(stranger.device.0, |user| user.0);
        let fingerprint = fingerprint(&key);
        if strangers.iter().all(|known| known.fingerprint != fingerprint) {
            let name = if stranger.name.is_empty() { stranger.address } else { stranger.name };
            strangers.push(Stranger { user: stranger.user, name, fingerprint, why: stranger.why });
        }
    }
    strangers
}

/// Enough of a key to be read out, as "3f2a 0c11 9d02 77e4".
fn fingerprint(key: &[u8; 32]) -> String {
    let groups = key.chunks_exact(GROUP_BYTES).take(GROUPS);
    let digits = |group: &[u8]| group.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    groups.map(digits).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_net::membership::rights::Rights;
    use audiocloud_net::runtime::sessions::SessionMember;
    use audiocloud_net::wire::id::UserId;

    const JAM: SessionId = SessionId([1; 32]);

    fn member(number: u8, is_self: bool, present: bool) -> SessionMember {
        SessionMember {
            user: UserId([number; 32]),
            name: format!("Member {number}"),
            is_self,
            present,
            rights: Rights::musician(),
            trouble: None,
            clock_ahead_ms: None,
        }
    }

    fn session(members: Vec<SessionMember>) -> SessionStatus {
        SessionStatus {
            session: JAM,
            name: "Friday jam".into(),
            inviter: "Anna".into(),
            rights: Rights::musician(),
            trouble: None,
            members,
        }
    }

    fn project(ask: &str) -> SessionRef {
        SessionRef { id: JAM, name: "Friday jam".into(), ask: ask.into() }
    }

    #[test]
    fn each_standing_has_its_sentence() {
        let check = |sessions: Option<&[SessionStatus]>, project: &SessionRef, severity, words: &str| {
            let said = status_of(sessions, Some(project));
            assert_eq!(said.severity, severity, "{said:?}");
            assert!(said.sentence().contains(words), "{said:?}");
        };
        use Severity::{Good, Idle, Warning};
        let anna = project("Anna");
        check(None, &anna, Idle, "being looked up");
        check(Some(&[]), &anna, Warning, "Ask Anna for a new link");
        check(Some(&[]), &project(""), Warning, "Ask one of its members for a new link");
        check(Some(&[session(vec![member(1, true, true)])]), &anna, Good, "alone");
        let all = |present| vec![member(1, true, true), member(2, false, present), member(3, false, false)];
        check(Some(&[session(all(false))]), &anna, Good, "None of the others");
        check(Some(&[session(all(true))]), &anna, Good, "1 of 2 others of “Friday jam” is here.");
        let expired = "your ticket expired an hour ago; ask Anna for a new link";
        let closed = SessionStatus { trouble: Some(expired.into()), ..session(all(true)) };
        check(Some(&[closed]), &anna, Warning, "closed to you: your ticket expired an hour ago. Ask Anna");
        assert_eq!(status_of(Some(&[]), None), Status::default(), "no session, nothing to say");
    }

    #[test]
    fn oneself_comes_first_and_the_others_by_name() {
        let listed =
            members(&session(vec![member(3, false, true), member(9, true, true), member(2, false, false)]));
        let users: Vec<u8> = listed.iter().map(|member| member.user.0[0]).collect();
        assert_eq!(users, [9, 2, 3]);
    }

    #[test]
    fn a_fingerprint_can_be_read_out() {
        let mut key = [0xff; 32];
        key[..9].copy_from_slice(&[0x3f, 0x2a, 0x0c, 0x11, 0x9d, 0x02, 0x77, 0xe4, 0x00]);
        assert_eq!(fingerprint(&key), "3f2a 0c11 9d02 77e4");
    }
}
