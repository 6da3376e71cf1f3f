//! What others read of the hub: streams that can be reached, peers that are known.

use audiocloud_units::SampleRate;
use audiocloud_wire::id::StreamKey;
use audiocloud_wire::message::{DIRECTORY_STREAMS_MAX, Directory, Message, StreamAnnouncement};

use crate::candidates::{Candidate, Place};
use crate::health::PathFigures;
use crate::hub::{Connected, Hub};
use crate::publisher::Publisher;
use crate::socket::Paths;
use crate::status::{PeerState, PeerStatus, StreamEntry, lock};
use crate::subscriber::Route;

/// As much of a directory as one message holds, lowest stream ids first, so that the same streams stay announced.
pub(crate) fn fitting(mut directory: Directory) -> Directory {
    directory.streams.sort_by_key(|stream| stream.stream);
    directory.streams.truncate(DIRECTORY_STREAMS_MAX);
    while Message::Directory(directory.clone()).to_frame().is_err() && !directory.streams.is_empty() {
        directory.streams.truncate(directory.streams.len() * 7 / 8);
    }
    directory
}

impl Hub {
    /// Brings what other threads read up to date.
    pub(crate) fn show(&self) {
        *lock(&self.shared.streams) = self.stream_entries();
        *lock(&self.shared.peers) = self.peer_entries();
    }

    /// Figures that move by themselves, for those who watch. Whoever is just reading may be a thread of low priority that
    /// was put to sleep: media does not wait for it.
    pub(crate) fn refresh(&mut self) {
        for publisher in self.publishers.values_mut() {
            publisher.show_listeners(&self.links);
        }
        for subscriber in self.subscribers.values() {
            if let Route::Link(link) = subscriber.route
                && let Some(link) = self.links.get(&link)
                && let Ok(mut state) = subscriber.shared.state.try_lock()
            {
                state.path = PathFigures::of(&link.connection);
            }
        }
        if let Ok(mut peers) = self.shared.peers.try_lock() {
            *peers = self.peer_entries();
        }
    }

    fn stream_entries(&self) -> Vec<StreamEntry> {
        let local = self.publishers.values().map(|publisher| self.local_entry(publisher));
        let remote = self
            .links
            .values()
            .flat_map(|link| link.streams.values().filter_map(|stream| remote_entry(link, stream)));
        let mut streams: Vec<_> = local.chain(remote).collect();
        // Our own first: it is the shorter way.
        streams.sort_by_key(|entry| (entry.key, !entry.local));
        streams.dedup_by_key(|entry| entry.key);
        streams
    }

    fn peer_entries(&self) -> Vec<PeerStatus> {
        let away = self.candidates.iter().filter(|one| !Self::is_connected(&self.links, one));
        let paths = &self.shared.paths;
        let connected = self.links.values().map(|link| connected_status(link, paths));
        connected.chain(away.filter_map(candidate_status)).collect()
    }

    fn local_entry(&self, publisher: &Publisher) -> StreamEntry {
        StreamEntry {
            key: StreamKey::new(self.hello.device, publisher.shared.stream),
            name: lock(&publisher.shared.name).clone(),
            publisher_name: self.shared.name.clone(),
            sample_rate: publisher.shared.sample_rate,
            channels: publisher.shared.channels,
            codec: Some(publisher.shared.codec),
            session: publisher.shared.session,
            purpose: publisher.shared.purpose,
            local: true,
        }
    }
}

fn remote_entry(link: &Connected, stream: &StreamAnnouncement) -> Option<StreamEntry> {
    Some(StreamEntry {
        key: StreamKey::new(link.peer.device, stream.stream),
        name: stream.name.to_string(),
        publisher_name: link.peer.name.clone(),
        sample_rate: SampleRate::new(stream.sample_rate_hz)?,
        channels: stream.channels.into(),
        codec: stream.codec,
        session: stream.session,
        purpose: stream.purpose,
        local: false,
    })
}

fn connected_status(link: &Connected, paths: &Paths) -> PeerStatus {
    let stats = link.connection.stats();
    let (address, way) = paths.shown(link.address);
    PeerStatus {
        device: Some(link.peer.device),
        user: Some(link.peer.user),
        instance: Some(link.peer.instance),
        name: link.peer.name.clone(),
        address,
        way,
        state: PeerState::Connected,
        reason: String::new(),
        path: PathFigures::of(&link.connection),
        lost_packets: stats.path.lost_packets,
        streams: link.streams.len(),
    }
}

fn candidate_status(candidate: &Candidate) -> Option<PeerStatus> {
    let Place::Address(address) = candidate.place else { return None };
    let state = match (&candidate.refused, candidate.is_dialling()) {
        (Some(_), _) => PeerState::Refused,
        (None, true) => PeerState::Connecting,
        (None, false) => PeerState::Away,
    };
    Some(PeerStatus {
        device: candidate.device,
        user: None,
        instance: candidate.instance,
        name: String::new(),
        address,
        way: String::new(),
        state,
        reason: candidate.refused.clone().unwrap_or_default(),
        path: PathFigures::default(),
        lost_packets: 0,
        streams: 0,
    })
}

/// In whole microseconds.
pub(crate) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_wire::codec::Codec;
    use audiocloud_wire::id::{ConfigId, StreamId};
    use audiocloud_wire::message::Text;

    #[test]
    fn a_directory_is_cut_to_what_one_message_holds() {
        let check = |count: u64, name: &str, all: bool| {
            let stream = |number| StreamAnnouncement {
                stream: StreamId(number),
                name: Text::new(name),
                config: ConfigId(1),
                epoch: 1,
                sample_rate_hz: 48_000,
                channels: 2,
                codec: Some(Codec::PcmF32),
                codecs: Vec::new(),
                clock_domain: Text::new(""),
                block_frames_max: 128,
                session: None,
                purpose: audiocloud_wire::message::Purpose::Play,
            };
            let streams: Vec<_> = (0..count).rev().map(stream).collect();
            let fitted = fitting(Directory { revision: 1, streams });
            assert!(Message::Directory(fitted.clone()).to_frame().is_ok());
            assert_eq!(fitted.streams.len() == usize::try_from(count).unwrap(), all, "{count} streams");
            assert!(fitted.streams.is_sorted_by_key(|stream| stream.stream));
        };
        check(0, "", true);
        check(300, "Drums", true);
        check(1_000, "Drums of the second verse, as they were on Thursday", false);
    }
}
