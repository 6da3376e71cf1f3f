//! `audiocloud session`: acts on the store, which runtimes that run notice within a moment, and what it says.

mod state;

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::SystemTime;

use anyhow::bail;
use audiocloud_net::membership::invitation::Invitation;
use audiocloud_net::runtime::calendar::{seconds, span, utc};
use audiocloud_net::runtime::config::MeetingPoint;
use audiocloud_net::runtime::identity::Identity;
use audiocloud_net::runtime::sessions::{InviteOptions, LogEntry, Membership, Store, acts};
use audiocloud_net::runtime::{Config, control};
use audiocloud_net::wire::id::{SessionId, UserId};
use serde_json::{Value, json};

use crate::arguments::{Bounds, Form, SessionCommand, Which};
use crate::field::{clean, counted, list, plain};
use crate::output::{answer, print};
use crate::qr_code;

pub(crate) fn run(command: SessionCommand, config: &Config) -> anyhow::Result<()> {
    match command {
        SessionCommand::Create { name, meeting, form } => create(config, &name, &meeting, &form),
        SessionCommand::Invite { which, bounds, uses, for_user, qr } => {
            invite(config, &which, bounds, uses, for_user, qr)
        }
        SessionCommand::Join { link, form } => {
            let membership = acts::join(config, &link)?;
            joined(config, &membership, form.json)
        }
        SessionCommand::List(form) => print_list(config, &form),
        SessionCommand::Members(which) => members(config, &which),
        SessionCommand::Leave(which) => leave(config, &which),
        SessionCommand::Revoke { member, which, because } => revoke(config, &which, &member, &because),
        SessionCommand::Narrow { link, own: _, which, bounds } => {
            narrow(config, link.as_deref(), &which, &bounds)
        }
        SessionCommand::State { command, which } => state::run(config, command, &which),
        SessionCommand::Chat { text, lines, which } => state::chat(config, &text.join(" "), lines, &which),
        SessionCommand::Log { lines, session, form } => log(config, lines, session.as_deref(), &form),
        SessionCommand::Use { session, form } => {
            let membership = acts::find(config, &session)?;
            Store::new(&config.config_dir).set_current(Some(membership.session))?;
            let words = format!(
                "{} is the current session: new Sends and Receives are in it.\n",
                called(&membership)
            );
            answer(form.json, &summary(&membership, true), &words)
        }
        SessionCommand::Rename { name, which } => {
            let membership = chosen(config, &which)?;
            let membership = acts::rename(config, &membership.session, &name)?;
            let words = format!("You are called {} in {}.\n", clean(&name), called(&membership));
            answer(which.json, &summary(&membership, false), &words)
        }
    }
}

/// The session that is meant: the one named, else the current one, else the only one.
pub(crate) fn chosen(config: &Config, which: &Which) -> anyhow::Result<Membership> {
    if let Some(text) = &which.session {
        return Ok(acts::find(config, text)?);
    }
    let store = Store::new(&config.config_dir);
    if let Some(current) = store.current()?
        && let Some(membership) = store.membership(&current)?
    {
        return Ok(membership);
    }
    let mut all = store.memberships()?;
    match all.len() {
        0 => bail!(
            "you are in no session; found one with `audiocloud session create NAME`, or join one with `audiocloud session \
             join LINK`"
        ),
        1 => Ok(all.remove(0)),
        _ => bail!(
            "which session is meant? Say --in with one of {}, or make one the current one with `audiocloud session use`",
            all.iter().map(called).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// A session by name and as much of its id as people compare.
fn called(membership: &Membership) -> String {
    format!("\"{}\" ({})", clean(&membership.name), membership.session.short())
}

/// What may be told of a membership: nothing secret.
fn summary(membership: &Membership, is_current: bool) -> Value {
    let meeting: Vec<Value> = membership
        .meeting
        .iter()
        .map(|point| json!({ "address": point.address, "device": UserId(point.device), "tls_port": point.tls_port }))
        .collect();
    json!({
        "session": membership.session,
        "name": membership.name,
        "inviter": membership.inviter,
        "founder": membership.founder.is_some(),
        "since_ms": membership.since_ms,
        "meeting": meeting,
        "current": is_current,
    })
}

fn create(config: &Config, name: &str, meeting: &[MeetingPoint], form: &Form) -> anyhow::Result<()> {
    let meeting = if meeting.is_empty() { &config.meeting } else { meeting };
    let membership = acts::create(config, name, meeting)?;
    let place = match meeting {
        [] => "its members find each other on the local network and by the addresses in links".to_owned(),
        points => {
            let points: Vec<&str> = points.iter().map(|point| point.address.as_str()).collect();
            format!("its members meet at {}", points.join(" and "))
        }
    };
    let words = format!(
        "You founded {}; {place}.\nInvite others with `audiocloud session invite`.\n",
        called(&membership)
    );
    answer(form.json, &summary(&membership, true), &words)
}

fn invite(
    config: &Config,
    which: &Which,
    bounds: Bounds,
    uses: u16,
    for_user: Option<UserId>,
    qr: bool,
) -> anyhow::Result<()> {
    let membership = chosen(config, which)?;
    let Bounds { rights, expires } = bounds;
    let options = InviteOptions { rights, expires_s: expires, uses, for_user, ..InviteOptions::default() };
    let invitation = acts::invite(config, &membership.session, &options)?;
    let whom = match for_user {
        Some(user) => format!("The user {} alone", user.short()),
        None if uses == 1 => "One person who has this link".to_owned(),
        None => format!("The first {uses} who have this link"),
    };
    let words = format!("{whom} may join {} to {}", called(&membership), options.rights.words());
    show_link(&invitation, &words, which.json, qr)
}

/// The link by itself on a line, so that it is easy to copy.
fn show_link(invitation: &Invitation, words: &str, json: bool, qr: bool) -> anyhow::Result<()> {
    let link = invitation.to_string();
    let value = json!({
        "session": invitation.session,
        "name": invitation.name,
        "link": link,
        "expires_s": invitation.expires_s,
        "rights": words,
    });
    let until = invitation.expires_s.map_or(String::new(), |end_s| format!(", until {}", utc(end_s)));
    let mut text = format!("{}{until}:\n\n{link}\n", clean(words));
    if qr {
        text = format!("{text}\n{}", qr_code::draw(&link, std::io::stdout().is_terminal())?);
    }
    answer(json, &value, &text)
}

pub(crate) fn joined(config: &Config, membership: &Membership, json: bool) -> anyhow::Result<()> {
    let record = membership.member_record()?;
    let now_s = seconds(SystemTime::now());
    let grant = record.verify(now_s)?;
    let until = grant.expires_s.map_or(String::new(), |end_s| format!(", until {}", utc(end_s)));
    let words = format!(
        "You are in {} as {}, invited by {}. You may {}{until}.\n",
        called(membership),
        clean(&config.name),
        clean(&membership.inviter),
        grant.rights().words(),
    );
    let mut value = summary(membership, true);
    value["rights"] = grant.rights().to_string().into();
    value["expires_s"] = grant.expires_s.into();
    answer(json, &value, &words)
}

fn print_list(config: &Config, form: &Form) -> anyhow::Result<()> {
    let store = Store::new(&config.config_dir);
    let (memberships, current) = (store.memberships()?, store.current()?);
    let is_current = |one: &Membership| current == Some(one.session);
    let value = json!({ "sessions": memberships.iter().map(|one| summary(one, is_current(one))).collect::<Vec<_>>() });
    let now_s = seconds(SystemTime::now());
    let mut words = String::new();
    for one in &memberships {
        let mark = if is_current(one) { "*" } else { " " };
        let role = if one.founder.is_some() {
            "yours".to_owned()
        } else {
            format!("invited by {}", clean(&one.inviter))
        };
        let ago = span(now_s.saturating_sub(one.since_ms / 1000));
        // Writing to a string cannot fail.
        writeln!(words, "{mark} {}: {role}, for {ago}", called(one)).ok();
    }
    if words.is_empty() {
        words = "You are in no session.\n".to_owned();
    }
    answer(form.json, &value, &words)
}

fn members(config: &Config, which: &Which) -> anyhow::Result<()> {
    let membership = chosen(config, which)?;
    let now_s = seconds(SystemTime::now());
    let roster = Store::new(&config.config_dir).roster(&membership.session, now_s)?;
    let present = present(&control::query_all(&config.runtime_dir), &membership.session);
    let own = Identity::load_or_create(&config.config_dir)?.user();
    let mut values = Vec::new();
    let mut words = format!("{}:\n", called(&membership));
    for member in roster.members() {
        let grant = roster.grant(&member.user, now_s);
        let is_present = present.as_ref().map(|users| users.contains(&member.user.to_string()));
        let standing = match &grant {
            Ok(grant) => format!("may {}", grant.rights().words()),
            Err(refused) => format!("out: {refused}"),
        };
        let presence = match is_present {
            _ if member.user == own => "you",
            Some(true) => "here",
            Some(false) => "away",
            None => "",
        };
        writeln!(words, "  {:<20} {} {presence:<5} {standing}", clean(&member.name), member.user.short())
            .ok();
        values.push(json!({
            "user": member.user,
            "name": member.name,
            "self": member.user == own,
            "present": is_present,
            "joined_ms": member.joined_ms,
            "rights": grant.as_ref().ok().map(|grant| grant.rights().to_string()),
            "expires_s": grant.as_ref().ok().and_then(|grant| grant.expires_s),
            "trouble": grant.as_ref().err().map(ToString::to_string),
        }));
    }
    if present.is_none() {
        words += "Nobody's presence is known: no audiocloud plug-in or node is running here.\n";
    }
    answer(which.json, &json!({ "session": membership.session, "members": values }), &words)
}

/// The users of whom a runtime of this machine says that they are there; none where none runs.
fn present(runtimes: &[Value], session: &SessionId) -> Option<Vec<String>> {
    if runtimes.is_empty() {
        return None;
    }
    let of_session = |one: &&Value| plain(one, "session") == session.to_string();
    let sessions = runtimes.iter().flat_map(|runtime| list(runtime, "sessions")).filter(of_session);
    let members = sessions.flat_map(|session| list(session, "members"));
    Some(members.filter(|member| member["present"] == true).map(|member| plain(member, "user")).collect())
}

fn leave(config: &Config, which: &Which) -> anyhow::Result<()> {
    let membership = chosen(config, which)?;
    acts::leave(config, &membership.session)?;
    let words = format!("You left {}; to come back takes a new link.\n", called(&membership));
    answer(which.json, &summary(&membership, false), &words)
}

fn revoke(config: &Config, which: &Which, member: &str, because: &str) -> anyhow::Result<()> {
    let membership = chosen(config, which)?;
    let member = acts::find_member(config, &membership.session, member)?;
    acts::revoke(config, &membership.session, &member.user, because)?;
    let words = format!(
        "{} ({}) is out of {}, with all whom they let in. Members who are there learn it within seconds, others as \
         soon as they are.\n",
        clean(&member.name),
        member.user.short(),
        called(&membership)
    );
    answer(
        which.json,
        &json!({ "session": membership.session, "user": member.user, "because": because }),
        &words,
    )
}

fn narrow(config: &Config, link: Option<&str>, which: &Which, bounds: &Bounds) -> anyhow::Result<()> {
    match link {
        Some(link) => {
            let narrower = acts::narrow(link, &bounds.rights, bounds.expires)?;
            let words =
                format!("By this link one joins \"{}\" to at most {}", narrower.name, bounds.rights.words());
            show_link(&narrower, &words, which.json, false)
        }
        None => {
            let membership = chosen(config, which)?;
            let narrowed = acts::narrow_own(config, &membership.session, &bounds.rights, bounds.expires)?;
            joined(config, &narrowed, which.json)
        }
    }
}

fn log(config: &Config, lines: usize, session: Option<&str>, form: &Form) -> anyhow::Result<()> {
    let session = session.map(|text| acts::find(config, text)).transpose()?.map(|one| one.session);
    let store = Store::new(&config.config_dir);
    // Lines of other sessions are left out before they are counted.
    let mut entries = store.log(if session.is_some() { usize::MAX } else { lines })?;
    if session.is_some() {
        entries.retain(|entry| entry.session == session);
        entries.drain(..entries.len().saturating_sub(lines));
    }
    let names = names(&store)?;
    let words: String = entries.iter().map(|entry| log_line(entry, &names)).collect();
    let words = if words.is_empty() { "Nothing has happened yet.\n".to_owned() } else { words };
    answer(form.json, &json!({ "log": entries }), &words)
}

/// Users and sessions by what they are called.
#[derive(Debug, Default)]
struct Names {
    users: Vec<(UserId, String)>,
    sessions: Vec<(SessionId, String)>,
}

impl Names {
    fn user(&self, user: &UserId) -> String {
        let known = self.users.iter().find(|(one, _)| one == user);
        known.map_or_else(|| user.short().to_string(), |(_, name)| clean(name))
    }

    fn session(&self, session: &SessionId) -> String {
        let known = self.sessions.iter().find(|(one, _)| one == session);
        known.map_or_else(|| session.short().to_string(), |(_, name)| clean(name))
    }
}

fn names(store: &Store) -> anyhow::Result<Names> {
    let now_s = seconds(SystemTime::now());
    let mut names = Names::default();
    for membership in store.memberships()? {
        let roster = store.roster(&membership.session, now_s)?;
        names.users.extend(roster.members().map(|member| (member.user, member.name.to_string())));
        names.sessions.push((membership.session, membership.name));
    }
    Ok(names)
}

fn log_line(entry: &LogEntry, names: &Names) -> String {
    let session =
        entry.session.as_ref().map_or(String::new(), |session| format!(" in {}", names.session(session)));
    let who = entry.who.as_ref().map_or_else(|| "somebody".to_owned(), |who| names.user(who));
    format!("{}  {who}{session}: {}\n", utc(entry.at_ms / 1000), clean(&entry.text))
}

/// Says that there is none where there is none.
fn nothing_else(words: String, nothing: &str) -> String {
    if words.is_empty() { nothing.to_owned() } else { words }
}

/// For a list without end: how many there are besides what is shown.
fn and_more(all: usize, shown: usize) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => {
            format!("({} before these)\n", counted(u64::try_from(more).unwrap_or(u64::MAX), "line", "lines"))
        }
    }
}

/// Prints what a program asked for and nothing else.
fn print_bytes_written(name: &str, bytes: usize) -> anyhow::Result<()> {
    print(&format!("{} bytes of \"{}\" are written.\n", bytes, clean(name))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_net::runtime::sessions::Act;

    #[test]
    fn who_is_there_is_what_runtimes_of_this_machine_say() {
        let session = SessionId([7; 32]);
        let user = |byte: u8| UserId([byte; 32]).to_string();
        let runtime = json!({"sessions": [
            {"session": session.to_string(), "members": [
                {"user": user(1), "present": true}, {"user": user(2), "present": false}, {"user": user(3)},
            ]},
            {"session": SessionId([8; 32]).to_string(), "members": [{"user": user(4), "present": true}]},
        ]});
        assert_eq!(present(&[runtime], &session), Some(vec![user(1)]));
        assert_eq!(present(&[json!({})], &session), Some(Vec::new()));
        assert_eq!(present(&[], &session), None);
    }

    #[test]
    fn the_log_names_people_and_sessions_and_cannot_steer_the_terminal() {
        let (ada, band) = (UserId([1; 32]), SessionId([7; 32]));
        let names = Names { users: vec![(ada, "Ada".to_owned())], sessions: vec![(band, "Band".to_owned())] };
        let entry = LogEntry {
            at_ms: 951_782_400_000,
            session: Some(band),
            act: Act::Revoked,
            who: Some(ada),
            text: "put Ben out:\u{1b}[2J".to_owned(),
        };
        assert_eq!(log_line(&entry, &names), "2000-02-29 00:00 UTC  Ada in Band: put Ben out:\u{fffd}[2J\n");
        let unknown = log_line(&entry, &Names::default());
        assert!(unknown.contains("01010101 in 07070707:"), "{unknown}");
        let nobody = LogEntry { who: None, session: None, ..entry };
        assert!(log_line(&nobody, &names).contains("somebody: "));
    }
}
