//! What a user does with sessions, from the command line or a window. Each act reads and writes the store alone:
//! runtimes that run notice it and act upon it, and without one it counts from when one starts.
//!
//! Every act may block, see [`Store`]: a window calls them on a thread for it.

use audiocloud_membership::invitation::{For, Invitation, InvitationError, Meeting, Place};
use audiocloud_membership::key::{NoRandomness, SigningKey};
use audiocloud_membership::member::{MemberRecord, RecordError};
use audiocloud_membership::revocation::Revocation;
use audiocloud_membership::rights::{Operation, Rights};
use audiocloud_membership::roster::{Refused, Roster};
use audiocloud_membership::shared::{Edit, EditError, SignedChange, View};
use audiocloud_membership::ticket::{Denied, Grant, Holder, Ticket, TicketError};
use audiocloud_wire::id::{SessionId, UserId};
use audiocloud_wire::message::Text;

use super::log::{Act, LogEntry};
use super::membership::Membership;
use super::store::{Store, StoreError, now_ms};
use crate::config::{Config, MeetingPoint};
use crate::identity::{self, Identity};

/// Why an act was not done; then nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no identity.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// No key can be made.
    #[error(transparent)]
    Key(#[from] NoRandomness),
    /// The link is none, or cannot be accepted.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    /// The own ticket does not hold.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// This user is out.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The ticket does not allow it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The edit cannot be made.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The own record does not hold.
    #[error("the record of this membership does not hold ({0}); join the session again by a new link")]
    Record(#[from] RecordError),
    /// No session of this user is called so.
    #[error(
        "none of your sessions is called \"{0}\" or has an id that begins so; `audiocloud session list` shows them"
    )]
    NoSession(String),
    /// Several are.
    #[error("\"{text}\" could be any of {}; give more digits of the id", found.join(", "))]
    Ambiguous { text: String, found: Vec<String> },
    /// No member is called so.
    #[error(
        "no member is called \"{0}\" or has a key that begins so; `audiocloud session members` shows them"
    )]
    NoMember(String),
    /// A name that is none.
    #[error("a session and a member need a name; give one of 1 to 64 bytes")]
    NoName,
    /// To put oneself out is to leave.
    #[error("you cannot revoke yourself; leave the session instead")]
    Oneself,
    /// The founder came by a link.
    #[error("you founded this session and have every right in it; a link of it is for others")]
    Founder,
}

/// How somebody is let in.
#[derive(Clone, Debug)]
pub struct InviteOptions {
    /// What they may do: at most what the own ticket allows.
    pub rights: Rights,
    /// How long the ticket holds, in seconds from now; none: as long as the own one.
    pub expires_s: Option<u64>,
    /// How many users may come by the link; at least one.
    pub uses: u16,
    /// Whom it is for; none: for who has the link.
    pub for_user: Option<UserId>,
    /// Where members can be dialled; empty: as this machine's runtime last knew.
    pub places: Vec<Place>,
}

impl Default for InviteOptions {
    fn default() -> Self {
        Self { rights: Rights::musician(), expires_s: None, uses: 1, for_user: None, places: Vec::new() }
    }
}

/// Founds a session, which becomes the current one. Its secret key is kept here and nowhere else.
///
/// # Errors
/// See [`Error`]; likewise of all that follow.
pub fn create(config: &Config, name: &str, meeting: &[MeetingPoint]) -> Result<Membership, Error> {
    let name = checked_name(name)?;
    let (store, user) = begin(config)?;
    let key = SigningKey::generate()?;
    let session = SessionId(key.public());
    let ticket = Ticket::issue(&key, Holder::User(UserId(user.public())), &Rights::everything(), None)?;
    let now_ms = now_ms();
    let own_name = Text::new(&config.name);
    let record = MemberRecord::sign(&user, session, own_name, ticket, now_ms, 1);
    let meeting = meeting.iter().map(|at| Meeting {
        address: Text::new(&at.address),
        device: at.device,
        tls_port: at.tls_port,
    });
    let membership = Membership {
        session,
        name: name.to_string(),
        inviter: config.name.clone(),
        founder: Some(key),
        record: record.to_bytes().to_vec(),
        places: Vec::new(),
        meeting: meeting.collect(),
        since_ms: now_ms,
    };
    store.put_membership(&membership)?;
    store.set_current(Some(session))?;
    log(&store, &user, Act::Created, session, format!("founded the session {name}"))?;
    Ok(membership)
}

/// A link, or with `for_user` a ticket as a link: whoever follows it becomes a member.
pub fn invite(config: &Config, session: &SessionId, options: &InviteOptions) -> Result<Invitation, Error> {
    let (store, user) = begin(config)?;
    let own = Own::of(&store, &user, session)?;
    own.grant.allows(&Operation::Invite, now_ms() / 1000)?;
    let expires_s = options.expires_s.map(|from_now| (now_ms() / 1000).saturating_add(from_now));
    let (to, holder, whom) = match options.for_user {
        Some(guest) => (For::User(guest), Holder::User(guest), format!("the user {}", guest.short())),
        None => {
            let link = SigningKey::generate()?;
            let uses = options.uses.max(1);
            let holder = Holder::Link { key: link.public(), uses };
            (For::Bearer(link), holder, format!("whoever has the link, {uses} at most"))
        }
    };
    let ticket = own.record.ticket.delegate(&user, holder, &options.rights, expires_s)?;
    let mut places = options.places.clone();
    if places.is_empty() {
        places = store.own_places()?;
    }
    let invitation = Invitation {
        session: *session,
        name: Text::new(&own.membership.name),
        inviter_name: own.record.name.clone(),
        inviter: own.record.user,
        to,
        ticket,
        places,
        meeting: own.membership.meeting,
        expires_s,
    };
    let rights = options.rights.words();
    log(&store, &user, Act::Invited, *session, format!("invited {whom}: {rights}"))?;
    Ok(invitation)
}

/// Becomes a member by a link; the session becomes the current one. A second link replaces the ticket of the first.
pub fn join(config: &Config, link: &str) -> Result<Membership, Error> {
    let invitation: Invitation = link.trim().parse()?;
    accept(config, invitation)
}

/// As [`join`], of an invitation that came another way, such as by a spoken code.
pub fn accept(config: &Config, invitation: Invitation) -> Result<Membership, Error> {
    let (store, user) = begin(config)?;
    let (session, name) = (invitation.session, invitation.name.to_string());
    let (inviter, inviter_key) = (invitation.inviter_name.to_string(), invitation.inviter);
    let (places, meeting) = (invitation.places.clone(), invitation.meeting.clone());
    let before = store.membership(&session)?;
    if before.as_ref().is_some_and(|before| before.founder.is_some()) {
        return Err(Error::Founder);
    }
    let now_ms = now_ms();
    let mut record = invitation.accept(&user, Text::new(&config.name), now_ms)?;
    record.verify(now_ms / 1000)?;
    if let Some(Ok(before)) = before.map(|before| before.member_record()) {
        // Joined now, whatever was before: among those who came by this link that decides who was first.
        let revision = before.revision + 1;
        record = MemberRecord::sign(&user, session, before.name, record.ticket, now_ms, revision);
    }
    let membership = Membership {
        session,
        name,
        inviter: inviter.clone(),
        founder: None,
        record: record.to_bytes().to_vec(),
        places,
        meeting,
        since_ms: now_ms,
    };
    store.put_membership(&membership)?;
    store.set_current(Some(session))?;
    let text = format!("joined {} by an invitation of {inviter} ({})", membership.name, inviter_key.short());
    log(&store, &user, Act::Joined, session, text)?;
    Ok(membership)
}

/// Forgets the session with all that is kept of it. A founder cannot come back as its founder.
pub fn leave(config: &Config, session: &SessionId) -> Result<(), Error> {
    let (store, user) = begin(config)?;
    let membership = member_of(&store, session)?;
    store.remove_membership(session)?;
    log(&store, &user, Act::Left, *session, format!("left the session {}", membership.name))
}

/// Puts a member out, with all whom they let in; or with a link's key all who came by it.
pub fn revoke(config: &Config, session: &SessionId, target: &UserId, because: &str) -> Result<(), Error> {
    let (store, user) = begin(config)?;
    if target.0 == user.public() {
        return Err(Error::Oneself);
    }
    let membership = member_of(&store, session)?;
    let now_s = now_ms() / 1000;
    // They are out at once. What they wrote until now stays: so it counts from the next second on.
    let at_s = now_s + 1;
    let roster = store.roster(session, now_s)?;
    let because = Text::new(because);
    let mut targets = roster.revocation_targets(target);
    if !targets.contains(&target.0) {
        targets.push(target.0);
    }
    for target in targets {
        let revocation = match &membership.founder {
            Some(founder) => Revocation::by_session(founder, target, at_s, because.clone()),
            None => {
                let own = Own::of(&store, &user, session)?;
                own.grant.allows(&Operation::Revoke, now_s)?;
                Revocation::by_member(&user, own.record.ticket, *session, target, at_s, because.clone())
            }
        };
        store.put_revocation(session, revocation.to_bytes())?;
    }
    let whom =
        roster.member(target).map_or_else(|| target.short().to_string(), |member| member.name.to_string());
    log(
        &store,
        &user,
        Act::Revoked,
        *session,
        format!("put {whom} out: {because}", because = because.as_str()),
    )
}

/// Changes how this user is called in the session.
pub fn rename(config: &Config, session: &SessionId, name: &str) -> Result<Membership, Error> {
    let name = checked_name(name)?;
    resign(config, session, |record| Ok((name, record.ticket)))
}

/// Gives rights of the own membership up, or lets it end earlier: what is given up comes back by a new link only.
pub fn narrow_own(
    config: &Config,
    session: &SessionId,
    rights: &Rights,
    expires_s: Option<u64>,
) -> Result<Membership, Error> {
    let until = expires_s.map(|from_now| (now_ms() / 1000).saturating_add(from_now));
    resign(config, session, |record| Ok((record.name, record.ticket.narrow(rights, until)?)))
}

/// The same link with fewer rights, or an end in that many seconds from now. It is for the same number of users, all
/// counted together with those who come by the wider one.
pub fn narrow(link: &str, rights: &Rights, expires_s: Option<u64>) -> Result<Invitation, Error> {
    let mut invitation: Invitation = link.trim().parse()?;
    let until = expires_s.map(|from_now| (now_ms() / 1000).saturating_add(from_now));
    invitation.ticket = invitation.ticket.narrow(rights, until)?;
    invitation.expires_s = [invitation.expires_s, until].into_iter().flatten().min();
    Ok(invitation)
}

/// Edits the session's shared state.
pub fn edit(config: &Config, session: &SessionId, edit: Edit) -> Result<SignedChange, Error> {
    let (store, user) = begin(config)?;
    let own = Own::of(&store, &user, session)?;
    let now_ms = now_ms();
    own.grant.allows(&Operation::Edit, now_ms / 1000)?;
    let change = store.shared_state(&own.roster)?.edit(&user, edit, now_ms)?;
    store.put_changes(session, std::slice::from_ref(&change))?;
    Ok(change)
}

/// The session's shared state, as far as this machine has heard.
pub fn view(config: &Config, session: &SessionId) -> Result<View, Error> {
    let store = Store::new(&config.config_dir);
    member_of(&store, session)?;
    let roster = store.roster(session, now_ms() / 1000)?;
    Ok(store.shared_state(&roster)?.view().clone())
}

/// The session of this name, or whose id begins with these digits.
pub fn find(config: &Config, text: &str) -> Result<Membership, Error> {
    let memberships = Store::new(&config.config_dir).memberships()?;
    let name = |membership: &Membership| (membership.name.clone(), membership.session.to_string());
    the_one(memberships, text, name).map_err(|found| missing(text, found, Error::NoSession))
}

/// The member of this name, or whose user key begins with these digits.
pub fn find_member(config: &Config, session: &SessionId, text: &str) -> Result<MemberRecord, Error> {
    let roster = Store::new(&config.config_dir).roster(session, now_ms() / 1000)?;
    let members = roster.members().cloned().collect();
    let name = |member: &MemberRecord| (member.name.to_string(), member.user.to_string());
    the_one(members, text, name).map_err(|found| missing(text, found, Error::NoMember))
}

/// This user's own standing in a session.
struct Own {
    membership: Membership,
    roster: Roster,
    record: MemberRecord,
    grant: Grant,
}

impl Own {
    fn of(store: &Store, user: &SigningKey, session: &SessionId) -> Result<Self, Error> {
        let membership = member_of(store, session)?;
        let now_s = now_ms() / 1000;
        let roster = store.roster(session, now_s)?;
        let record = membership.member_record()?;
        let grant = roster.grant(&UserId(user.public()), now_s)?.clone();
        Ok(Self { membership, roster, record, grant })
    }
}

fn begin(config: &Config) -> Result<(Store, SigningKey), Error> {
    let user = Identity::load_or_create(&config.config_dir)?.user_key();
    Ok((Store::new(&config.config_dir), user))
}

fn member_of(store: &Store, session: &SessionId) -> Result<Membership, Error> {
    store.membership(session)?.ok_or_else(|| Error::NoSession(session.short().to_string()))
}

/// Signs the own record anew, with another name or ticket.
fn resign(
    config: &Config,
    session: &SessionId,
    change: impl FnOnce(MemberRecord) -> Result<(Text, Ticket), Error>,
) -> Result<Membership, Error> {
    let (store, user) = begin(config)?;
    let mut membership = member_of(&store, session)?;
    let record = membership.member_record()?;
    let (joined_ms, revision) = (record.joined_ms, record.revision + 1);
    let (name, ticket) = change(record)?;
    let record = MemberRecord::sign(&user, *session, name, ticket, joined_ms, revision);
    record.verify(now_ms() / 1000)?;
    membership.record = record.to_bytes().to_vec();
    store.put_membership(&membership)?;
    Ok(membership)
}

fn log(store: &Store, user: &SigningKey, act: Act, session: SessionId, text: String) -> Result<(), Error> {
    let who = Some(UserId(user.public()));
    let entry = LogEntry { at_ms: now_ms(), session: Some(session), act, who, text };
    Ok(store.append_log(&[entry])?)
}

fn checked_name(name: &str) -> Result<Text, Error> {
    let name = name.trim();
    if name.is_empty() || name.len() > 64 { Err(Error::NoName) } else { Ok(Text::new(name)) }
}

/// The only one of this name or beginning; or what all could be meant. A whole name or id goes before a beginning.
fn the_one<T>(all: Vec<T>, text: &str, name: impl Fn(&T) -> (String, String)) -> Result<T, Vec<String>> {
    let text = text.trim().to_lowercase();
    let is = |one: &T| {
        let (called, id) = name(one);
        called.to_lowercase() == text || id == text
    };
    let begins = |one: &T| !text.is_empty() && name(one).1.starts_with(&text);
    let (whole, others): (Vec<T>, Vec<T>) = all.into_iter().partition(is);
    let mut found = if whole.is_empty() { others.into_iter().filter(begins).collect() } else { whole };
    if found.len() == 1 {
        return Ok(found.remove(0));
    }
    Err(found.iter().map(name).map(|(called, id)| format!("{called} ({})", &id[..8])).collect())
}

fn missing(text: &str, found: Vec<String>, none: impl FnOnce(String) -> Error) -> Error {
    let text = text.to_owned();
    if found.is_empty() { none(text) } else { Error::Ambiguous { text, found } }
}
