//! Who is in reach, and which of their streams are to be played.

use audiocloud_instance::state::{PersonRef, Selection, StreamRef};
use audiocloud_net::runtime::{Handle, PeerStatus, StreamEntry};
use audiocloud_net::wire::id::DeviceId;

/// A stream that can be played, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) stream: StreamRef,
    pub(crate) person: PersonRef,
    pub(crate) entry: StreamEntry,
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

/// Those that are to be played, at most `room`, and how many there is no room for. What this process itself publishes is
/// left out of a person's or the session's unless `is_chosen`.
pub(crate) fn wanted(
    selection: Selection,
    tracks: &[Track],
    room: usize,
    is_chosen: impl Fn(StreamRef) -> bool,
) -> (Vec<&Track>, usize) {
    let is_wanted = |track: &&Track| match selection {
        Selection::Nothing => false,
        Selection::Stream(stream) => track.stream == stream,
        Selection::Person(person) => {
            (track.person == person || track.stream.publisher == person.0)
                && (!track.entry.local || is_chosen(track.stream))
        }
        Selection::Session => !track.entry.local || is_chosen(track.stream),
    };
    let mut wanted: Vec<&Track> = tracks.iter().filter(is_wanted).collect();
    let left_out = wanted.len().saturating_sub(room);
    wanted.truncate(room);
    (wanted, left_out)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use audiocloud_engine::units::SampleRate;
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
        };
        Track { stream: key.into(), person: PersonRef([person; 32]), entry }
    }

    #[test]
    fn a_selection_takes_what_it_names_and_never_our_own_unasked() {
        // Person 1 has two devices; person 9 is ourselves, with a stream of this process and one of another.
        let tracks =
            [track(1, 2, 1, false), track(1, 3, 2, false), track(9, 9, 3, true), track(9, 9, 4, false)];
        let check = |selection, chosen: &[u64], expected: &[u64]| {
            let (wanted, left_out) = wanted(selection, &tracks, 64, |stream| chosen.contains(&stream.stream));
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
        let (some, left_out) = wanted(Selection::Session, &tracks, 2, |_| true);
        assert_eq!((some.len(), left_out), (2, 2));
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
