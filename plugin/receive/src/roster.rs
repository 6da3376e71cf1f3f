//! Who is in reach, and which of their streams are to be played.

use audiocloud_engine::units::SampleRate;
use audiocloud_instance::state::{PersonRef, Selection, StreamRef};
use audiocloud_net::runtime::{Handle, PeerStatus, StreamEntry};
use audiocloud_net::wire::id::{DeviceId, SessionId};
use audiocloud_net::wire::message::Purpose;

/// A stream that can be played, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) stream: StreamRef,
    pub(crate) person: PersonRef,
    pub(crate) entry: StreamEntry,
}

/// A stream that is to be played, as much as is known of it.
pub(crate) struct Wanted {
    pub(crate) stream: StreamRef,
    pub(crate) person: PersonRef,
    pub(crate) is_local: bool,
    pub(crate) channels: u16,
    pub(crate) sample_rate: Option<SampleRate>,
    /// Whose time its frames bear.
    pub(crate) domain: Option<SessionId>,
}

impl From<&Track> for Wanted {
    fn from(track: &Track) -> Self {
        Self {
            stream: track.stream,
            person: track.person,
            is_local: track.entry.local,
            channels: track.entry.channels,
            sample_rate: Some(track.entry.sample_rate),
            domain: track.entry.session,
        }
    }
}

/// All streams in reach, by person, then by name.
pub(crate) fn in_reach(handle: &Handle) -> Vec<Track> {
    let (streams, peers) = (handle.streams(), handle.peers());
    let (device, user) = (handle.device(), handle.user());
    let mut tracks: Vec<Track> = streams
        .into_iter()
        .map(|entry| {
            let publisher = entry.key.publisher;
            let person = if publisher == device { PersonRef(user.0) } else { person(&peers, publisher) };
            Track { stream: entry.key.into(), person, entry }
        })
        .collect();
    sort(&mut tracks);
    tracks
}

fn person(peers: &[PeerStatus], publisher: DeviceId) -> PersonRef {
    let user = peers.iter().find(|peer| peer.device == Some(publisher)).and_then(|peer| peer.user);
    PersonRef(user.map_or(publisher.0, |user| user.0))
}

/// People by the name of their first stream's publisher, the streams of each by name.
fn sort(tracks: &mut [Track]) {
    let mut people: Vec<(PersonRef, String)> = Vec::new();
    for track in tracks.iter() {
        let name = &track.entry.publisher_name;
        match people.iter_mut().find(|(person, _)| *person == track.person) {
            Some((_, known)) if name < known => known.clone_from(name),
            Some(_) => (),
            None => people.push((track.person, name.clone())),
        }
    }
    tracks.sort_by_cached_key(|track| {
        let person = people.iter().find(|(person, _)| *person == track.person);
        (person.map(|(_, name)| name.clone()), track.person, track.entry.name.clone(), track.stream)
    });
}

/// What of all that is in reach a Receive takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    pub(crate) selection: Selection,
    /// The project's: a person's streams in it or in none are played, and everybody's in it.
    pub(crate) session: Option<SessionId>,
}

impl Scope {
    /// Whether a stream is shown, to be picked: another session's are not.
    pub(crate) fn shows(&self, entry: &StreamEntry) -> bool {
        self.session.is_none() || entry.session.is_none() || entry.session == self.session
    }

    /// Whether a stream belongs into the mix of a person or of everybody. What is for talking never does.
    fn mixes(&self, entry: &StreamEntry) -> bool {
        let is_of_it = match self.selection {
            Selection::Session => self.session.is_none() || entry.session == self.session,
            _ => self.shows(entry),
        };
        entry.purpose == Purpose::Play && is_of_it
    }
}

/// Those that are to be played, at most `room`, and how many there is no room for. What this process itself publishes is
/// left out of a person's or the session's unless `is_chosen`.
pub(crate) fn wanted(
    scope: Scope,
    tracks: &[Track],
    room: usize,
    is_chosen: impl Fn(StreamRef) -> bool,
) -> (Vec<&Track>, usize) {
    let is_mixed =
        |track: &Track| scope.mixes(&track.entry) && (!track.entry.local || is_chosen(track.stream));
    let is_wanted = |track: &&Track| match scope.selection {
        Selection::Nothing => false,
        Selection::Stream(stream) => track.stream == stream,
        Selection::Person(person) => is_by(track, person) && is_mixed(track),
        Selection::Session => is_mixed(track),
    };
    let mut wanted: Vec<&Track> = tracks.iter().filter(is_wanted).collect();
    let left_out = wanted.len().saturating_sub(room);
    wanted.truncate(room);
    (wanted, left_out)
}

fn is_by(track: &Track, person: PersonRef) -> bool {
    track.person == person || track.stream.publisher == person.0
}

/// Where a stream is that is no longer where the project says: on another device of the same person.
pub(crate) fn moved(tracks: &[Track], stream: StreamRef, member: PersonRef) -> Option<StreamRef> {
    let elsewhere = |track: &&Track| track.stream.stream == stream.stream && track.person == member;
    tracks.iter().find(elsewhere).map(|track| track.stream)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use audiocloud_net::wire::codec::Codec;
    use audiocloud_net::wire::id::{StreamId, StreamKey};

    pub(crate) fn track(person: u8, publisher: u8, stream: u64, local: bool) -> Track {
        let key = StreamKey::new(DeviceId([publisher; 32]), StreamId(stream));
        let entry = StreamEntry {
            key,
            name: format!("Track {stream}"),
            publisher_name: format!("Studio {publisher}"),
            sample_rate: SampleRate::new(48_000).unwrap(),
            channels: 2,
            codec: Some(Codec::PcmF32),
            local,
            session: None,
            purpose: Purpose::Play,
        };
        Track { stream: key.into(), person: PersonRef([person; 32]), entry }
    }

    #[test]
    fn a_selection_takes_what_it_names_and_never_our_own_unasked() {
        // Person 1 has two devices; person 9 is ourselves, with a stream of this process and one of another.
        let tracks =
            [track(1, 2, 1, false), track(1, 3, 2, false), track(9, 9, 3, true), track(9, 9, 4, false)];
        let check = |selection, chosen: &[u64], expected: &[u64]| {
            let scope = Scope { selection, session: None };
            let (wanted, left_out) = wanted(scope, &tracks, 64, |stream| chosen.contains(&stream.stream));
            let streams: Vec<u64> = wanted.iter().map(|track| track.stream.stream).collect();
            assert_eq!((&streams[..], left_out), (expected, 0), "{selection:?}");
        };
        check(Selection::Nothing, &[], &[]);
        check(Selection::Stream(tracks[2].stream), &[], &[3]);
        check(Selection::Person(PersonRef([1; 32])), &[], &[1, 2]);
        check(Selection::Person(PersonRef([3; 32])), &[], &[2]);
        check(Selection::Person(PersonRef([9; 32])), &[], &[4]);
        check(Selection::Session, &[], &[1, 2, 4]);
        check(Selection::Session, &[3], &[1, 2, 3, 4]);
        let scope = Scope { selection: Selection::Session, session: None };
        let (some, left_out) = wanted(scope, &tracks, 2, |_| true);
        assert_eq!((some.len(), left_out), (2, 2));
    }

    #[test]
    fn a_session_is_its_own_streams_and_talk_back_is_in_no_mix() {
        let (jam, other) = (SessionId([1; 32]), SessionId([2; 32]));
        let mut tracks = [1, 2, 3, 4, 5].map(|stream| track(1, 2, stream, false));
        for (track, session) in tracks.iter_mut().zip([Some(jam), Some(other), None, Some(jam), Some(jam)]) {
            track.entry.session = session;
        }
        tracks[3].entry.purpose = Purpose::TalkBack;
        tracks[4].entry.purpose = Purpose::Unknown;
        let check = |selection, session, expected: &[u64]| {
            let (wanted, _) = wanted(Scope { selection, session }, &tracks, 64, |_| true);
            let streams: Vec<u64> = wanted.iter().map(|track| track.stream.stream).collect();
            assert_eq!(streams, expected, "{selection:?} of {session:?}");
        };
        let person = Selection::Person(PersonRef([1; 32]));
        check(Selection::Session, Some(jam), &[1]);
        check(person, Some(jam), &[1, 3]);
        check(Selection::Session, None, &[1, 2, 3]);
        check(person, None, &[1, 2, 3]);
        check(Selection::Stream(tracks[3].stream), Some(jam), &[4]);
        check(Selection::Stream(tracks[1].stream), Some(jam), &[2]);
    }

    #[test]
    fn a_stream_is_found_again_on_another_device_of_its_person_alone() {
        let tracks = [track(1, 5, 7, false), track(2, 6, 8, false)];
        let at = |stream| StreamRef { publisher: [9; 32], stream };
        assert_eq!(moved(&tracks, at(7), PersonRef([1; 32])), Some(tracks[0].stream));
        assert_eq!(moved(&tracks, at(7), PersonRef([2; 32])), None, "somebody else's with that id");
        assert_eq!(moved(&tracks, at(8), PersonRef([1; 32])), None);
    }

    #[test]
    fn people_stay_together_however_their_devices_are_called() {
        let mut tracks =
            [track(1, 5, 1, false), track(2, 4, 2, false), track(1, 3, 3, false), track(1, 3, 0, false)];
        sort(&mut tracks);
        let order: Vec<u64> = tracks.iter().map(|track| track.stream.stream).collect();
        assert_eq!(order, [0, 1, 3, 2]);
    }
}
