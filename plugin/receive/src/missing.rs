//! What was played here and is out of reach, and who is not there: shown until it is back, and its latency kept.

use audiocloud_instance::state::{PersonRef, Selection, SessionRef, StreamRef};
use audiocloud_net::runtime::{Handle, PeerState};
use audiocloud_net::wire::id::DeviceId;

use crate::mixer::STRIPS;
use crate::roster::Track;

/// A stream that was played here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) stream: StreamRef,
    pub(crate) person: PersonRef,
    pub(crate) name: String,
    pub(crate) publisher: String,
}

/// Somebody in the project's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fellow {
    pub(crate) person: PersonRef,
    pub(crate) name: String,
    pub(crate) is_here: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// What is played, as of the last look.
    selection: Selection,
    /// The latest last.
    streams: Vec<Stream>,
    /// Others in the project's session.
    fellows: Vec<Fellow>,
}

impl Missing {
    /// Who is in the session now; what is back, or was given up by who published it, is missing no more.
    pub(crate) fn look(
        &mut self,
        handle: &Handle,
        selection: Selection,
        session: Option<&SessionRef>,
        tracks: &[Track],
    ) {
        self.fellows = session.map_or_else(Vec::new, |session| fellows(handle, session));
        if std::mem::replace(&mut self.selection, selection) != selection {
            self.streams.clear();
        }
        if !self.streams.is_empty() {
            let here: Vec<DeviceId> = connected(handle);
            let is_away = |stream: &StreamRef| here.iter().all(|device| device.0 != stream.publisher);
            let is_back = |stream: &StreamRef| tracks.iter().any(|track| track.stream == *stream);
            self.streams.retain(|it| is_away(&it.stream) && !is_back(&it.stream));
        }
    }

    /// A stream that was played is no longer waited for.
    pub(crate) fn note(&mut self, stream: Stream) {
        self.streams.retain(|known| known.stream != stream.stream);
        if self.streams.len() == STRIPS {
            self.streams.remove(0);
        }
        self.streams.push(stream);
    }

    pub(crate) fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Those who would be played, and are not there.
    pub(crate) fn people(&self) -> impl Iterator<Item = &Fellow> {
        let is_played = |fellow: &&Fellow| self.selection == Selection::Session && !fellow.is_here;
        self.fellows.iter().filter(is_played)
    }

    /// What somebody is called in the session.
    pub(crate) fn called(&self, person: PersonRef) -> Option<&str> {
        self.fellows.iter().find(|fellow| fellow.person == person).map(|fellow| fellow.name.as_str())
    }

    /// The names of all that is missing, each once.
    pub(crate) fn names(&self) -> Vec<&str> {
        let streams = self.streams.iter().map(|stream| stream.publisher.as_str());
        let mut names: Vec<&str> = self.people().map(|fellow| fellow.name.as_str()).chain(streams).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn fellows(handle: &Handle, session: &SessionRef) -> Vec<Fellow> {
    let sessions = handle.sessions();
    let Some(session) = sessions.into_iter().find(|one| one.session == session.id) else { return Vec::new() };
    let others = session.members.into_iter().filter(|member| !member.is_self);
    others
        .map(|member| Fellow { person: PersonRef(member.user.0), name: member.name, is_here: member.present })
        .collect()
}

fn connected(handle: &Handle) -> Vec<DeviceId> {
    let peers = handle.peers().into_iter().filter(|peer| peer.state == PeerState::Connected);
    peers.filter_map(|peer| peer.device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(stream: u64, publisher: &str) -> Stream {
        let stream = StreamRef { publisher: [7; 32], stream };
        Stream { stream, person: PersonRef([1; 32]), name: "Drums".into(), publisher: publisher.into() }
    }

    #[test]
    fn names_are_said_once_and_the_list_is_bounded() {
        let fellow = |number, name: &str, is_here| Fellow {
            person: PersonRef([number; 32]),
            name: name.into(),
            is_here,
        };
        let mut missing = Missing {
            selection: Selection::Session,
            fellows: vec![fellow(1, "Anna", false), fellow(2, "Ben", true), fellow(3, "Carla", false)],
            ..Missing::default()
        };
        for number in 0..200 {
            missing.note(stream(number, "Anna"));
            missing.note(stream(number, "Anna"));
        }
        assert_eq!(missing.streams().len(), STRIPS);
        assert_eq!(missing.streams().last(), Some(&stream(199, "Anna")));
        assert_eq!(missing.names(), ["Anna", "Carla"]);
        assert_eq!(missing.called(PersonRef([2; 32])), Some("Ben"));
        missing.selection = Selection::Person(PersonRef([1; 32]));
        assert_eq!(missing.people().count(), 0, "the others are not played");
    }
}
