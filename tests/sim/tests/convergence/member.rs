//! One member of a session: what they know, what they say, and what they do with what they hear.
//!
//! Rosters, shared state and messages are the runtime's own code; only the connections are missing here. Those give
//! messages in order and whole; this network does neither, so that what is proven does not rest upon them.

use std::collections::BTreeMap;

use audiocloud_membership::gossip;
use audiocloud_membership::key::SigningKey;
use audiocloud_membership::member::MemberRecord;
use audiocloud_membership::revocation::Revocation;
use audiocloud_membership::rights::Operation;
use audiocloud_membership::roster::{News, Roster};
use audiocloud_membership::shared::{Edit, EditError, SharedState, SignedChange, View};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{ChangeHash, ConfigId, RosterDigest, SessionId, StreamId, UserId};
use audiocloud_wire::message::{
    Directory, Message, SessionChanges, SessionHave, SessionRoster, StreamAnnouncement, Text,
};

/// A message, and who is to get it: all others, all but one, or one.
pub(crate) struct Saying {
    pub(crate) message: Message,
    pub(crate) to: To,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum To {
    All,
    AllBut(u32),
    One(u32),
}

/// What all members have to agree upon.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    pub(crate) roster: RosterDigest,
    /// Who is let in.
    pub(crate) members: Vec<UserId>,
    /// Each stream of those who are let in, by publisher and name.
    pub(crate) directory: BTreeMap<(UserId, StreamId), String>,
    pub(crate) heads: Vec<ChangeHash>,
    pub(crate) view: View,
}

/// See the module.
pub(crate) struct Member {
    user: SigningKey,
    roster: Roster,
    state: SharedState,
    tracks: Directory,
    heard: BTreeMap<UserId, Directory>,
    /// Edits that were merged from others, and messages that were not believed.
    pub(crate) merged: usize,
    pub(crate) refused: usize,
}

impl Member {
    pub(crate) fn new(user: SigningKey, session: SessionId, records: &[&MemberRecord], now_s: u64) -> Self {
        let mut roster = Roster::new(session);
        for record in records {
            roster.insert(record.to_bytes(), now_s).expect("the records of the test hold");
        }
        let state = SharedState::new(session);
        let (tracks, heard) = (Directory::default(), BTreeMap::new());
        Self { user, roster, state, tracks, heard, merged: 0, refused: 0 }
    }

    pub(crate) fn id(&self) -> UserId {
        UserId(self.user.public())
    }

    /// Publishes a track, or changes its name; no name: publishes it no longer.
    pub(crate) fn set_track(&mut self, track: u64, name: Option<&str>) -> Vec<Saying> {
        self.tracks.streams.retain(|stream| stream.stream != StreamId(track));
        self.tracks.streams.extend(name.map(|name| announcement(track, name, self.roster.session())));
        self.tracks.revision += 1;
        vec![self.directory()]
    }

    pub(crate) fn edit(&mut self, edit: Edit, now_ms: u64) -> Result<Vec<Saying>, EditError> {
        let change = self.state.edit(&self.user, edit, now_ms)?;
        Ok(self.pass_on(&[change], To::All))
    }

    pub(crate) fn view(&mut self) -> &View {
        self.state.view()
    }

    pub(crate) fn revoke(&mut self, revocation: &Revocation, now_s: u64) -> Vec<Saying> {
        let bytes = revocation.to_bytes().to_vec();
        self.roster.revoke(&bytes, now_s).expect("the session's own revocation holds");
        let messages = gossip::items_of(self.roster.session(), [(&bytes[..], true)].into_iter());
        messages.into_iter().map(|message| Saying { message, to: To::All }).collect()
    }

    /// What is said every now and then, and when a peer comes back.
    pub(crate) fn tick(&mut self) -> Vec<Saying> {
        // Own edits without the right to make them go here, as everywhere.
        self.merge(&[], To::All);
        let have = Message::SessionHave(gossip::have(&self.roster, &self.state));
        vec![self.directory(), Saying { message: have, to: To::All }]
    }

    /// What a hello shows: the peer's own record.
    pub(crate) fn greet(&mut self, peer: &MemberRecord, now_s: u64) {
        if self.roster.member(&peer.user).is_none() {
            self.roster.insert(peer.to_bytes(), now_s).expect("the records of the test hold");
        }
    }

    /// What a message makes this member say. Who is not let in is not heard.
    pub(crate) fn hear(&mut self, from: u32, by: &UserId, frame: &[u8], now_s: u64) -> Vec<Saying> {
        if self.roster.grant(by, now_s).is_err() {
            self.refused += 1;
            return Vec::new();
        }
        match Message::decode(frame).expect("members write what can be read") {
            Message::Directory(directory) => self.hear_directory(by, directory),
            Message::SessionHave(have) => self.hear_have(from, &have),
            Message::SessionRoster(roster) => self.hear_roster(from, &roster, now_s),
            Message::SessionChanges(changes) => self.hear_changes(from, changes),
            other => panic!("nobody says {}", other.kind()),
        }
    }

    pub(crate) fn known(&mut self, now_s: u64) -> Known {
        let is_in = |user: &UserId| self.roster.grant(user, now_s).is_ok();
        let members: Vec<_> = self.roster.members().map(|record| record.user).filter(is_in).collect();
        let may_publish = |user: &&UserId| {
            let operation = Operation::Publish { streams: 1, channels: 1 };
            self.roster.grant(user, now_s).is_ok_and(|grant| grant.allows(&operation, now_s).is_ok())
        };
        let mut directory = BTreeMap::new();
        let own = self.id();
        for user in members.iter().filter(may_publish) {
            let streams = if *user == own { Some(&self.tracks) } else { self.heard.get(user) };
            for stream in streams.into_iter().flat_map(|directory| &directory.streams) {
                directory.insert((*user, stream.stream), stream.name.to_string());
            }
        }
        let (roster, heads) = (gossip::digest(&self.roster), self.state.heads());
        Known { roster, members, directory, heads, view: self.state.view().clone() }
    }

    fn directory(&self) -> Saying {
        Saying { message: Message::Directory(self.tracks.clone()), to: To::All }
    }

    fn hear_directory(&mut self, by: &UserId, directory: Directory) -> Vec<Saying> {
        let known = self.heard.entry(*by).or_default();
        if known.revision < directory.revision {
            *known = directory;
        }
        Vec::new()
    }

    fn hear_have(&mut self, from: u32, have: &SessionHave) -> Vec<Saying> {
        let mut messages = Vec::new();
        if self.state.heads() != have.heads {
            let lacking = self.state.changes_since(&have.heads);
            messages.extend(gossip::changes(have.session, &lacking, false));
        }
        if gossip::digest(&self.roster) != have.roster {
            messages.extend(gossip::roster(&self.roster));
        }
        messages.into_iter().map(|message| Saying { message, to: To::One(from) }).collect()
    }

    fn hear_roster(&mut self, from: u32, said: &SessionRoster, now_s: u64) -> Vec<Saying> {
        let mut news: Vec<(&[u8], bool)> = Vec::new();
        for revocation in &said.revocations {
            match self.roster.revoke(revocation, now_s) {
                Ok(News::Known) => {}
                Ok(_) => news.push((revocation, true)),
                Err(_) => self.refused += 1,
            }
        }
        for record in &said.records {
            match self.roster.insert(record, now_s) {
                Ok(News::Known) => {}
                Ok(_) => news.push((record, false)),
                Err(_) => self.refused += 1,
            }
        }
        if news.is_empty() {
            return Vec::new();
        }
        let to = To::AllBut(from);
        let messages = gossip::items_of(self.roster.session(), news.into_iter());
        let mut sayings: Vec<_> = messages.into_iter().map(|message| Saying { message, to }).collect();
        sayings.extend(self.merge(&[], to));
        sayings
    }

    fn hear_changes(&mut self, from: u32, said: SessionChanges) -> Vec<Saying> {
        let read = |bytes: &[u8]| SignedChange::from_bytes(bytes).expect("members write what can be read");
        let changes: Vec<_> = said.changes.iter().map(|bytes| read(bytes)).collect();
        self.merge(&changes, To::AllBut(from))
    }

    fn merge(&mut self, changes: &[SignedChange], to: To) -> Vec<Saying> {
        let roster = &self.roster;
        let merged = self.state.merge(changes, |user, at_ms| {
            let at_s = at_ms / 1000;
            roster.grant_at(user, at_s).is_ok_and(|grant| grant.allows(&Operation::Edit, at_s).is_ok())
        });
        self.merged += merged.news.len();
        self.refused += merged.rejected.len();
        self.pass_on(&merged.news, to)
    }

    fn pass_on(&self, changes: &[SignedChange], to: To) -> Vec<Saying> {
        let messages = gossip::changes(self.roster.session(), changes, true);
        messages.into_iter().map(|message| Saying { message, to }).collect()
    }
}

fn announcement(track: u64, name: &str, session: SessionId) -> StreamAnnouncement {
    StreamAnnouncement {
        stream: StreamId(track),
        name: Text::new(name),
        config: ConfigId(0),
        epoch: 1,
        sample_rate_hz: 48_000,
        channels: 2,
        codec: Some(Codec::PcmS16),
        codecs: Vec::new(),
        clock_domain: Text::default(),
        block_frames_max: 0,
        session: Some(session),
        purpose: Default::default(),
    }
}
