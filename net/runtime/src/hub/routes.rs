//! Subscriptions: where each has its blocks from, and what is told of those that have none.

use audiocloud_rt::host_time;
use audiocloud_units::SampleRate;
use audiocloud_wire::id::StreamKey;
use audiocloud_wire::message::{Message, StreamAnnouncement, Subscribe, Unsubscribe};

use super::Hub;
use crate::candidates::Candidate;
use crate::health::PathFigures;
use crate::status::{Link, LossCause, lock};
use crate::subscriber::{Route, SubscriptionId};

impl Hub {
    /// Says anew where subscriptions without a route stand.
    pub(crate) fn candidates_changed(&mut self) {
        self.settle(LossCause::ConnectionBroken);
    }

    /// Finds for every subscription where its blocks come from, and says where it stands. `cause` is why one that was
    /// live is so no longer.
    pub(super) fn settle(&mut self, cause: LossCause) {
        let mut ids: Vec<_> = self.subscribers.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.settle_one(id, cause);
        }
        self.show();
    }

    fn settle_one(&mut self, id: SubscriptionId, cause: LossCause) {
        let Some(subscriber) = self.subscribers.get(&id) else { return };
        let (key, before) = (subscriber.shared.key, subscriber.route);
        let best = self.best_route(key);
        if before != best {
            self.detach(id);
        }
        self.attach(id, key, best);
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        subscriber.route = best;
        let ended = before != Route::None && best == Route::None;
        let link = if best == Route::None {
            let subscriber = &*subscriber;
            let state = subscriber.shared.state().link.clone();
            let (was_live, since) = (subscriber.was_live, subscriber.searching_since);
            match self.idle_link(key, state, ended.then_some(cause)) {
                // Whoever had the stream before has lost it, wherever else it has been looked for meanwhile.
                Link::Searching { .. } if was_live => {
                    Link::Lost { since: host_time::now(), cause: LossCause::ConnectionBroken }
                }
                Link::Searching { .. } => Link::Searching { since },
                link => link,
            }
        } else {
            if subscriber.was_live && before == Route::None {
                subscriber.shared.counters.reconnects.add(1);
            }
            subscriber.was_live = true;
            Link::Live
        };
        self.describe(id, key, best, link);
    }

    /// The newest run of the publisher that has the stream in a form we can play; this process first.
    fn best_route(&self, key: StreamKey) -> Route {
        if key.publisher == self.hello.device && self.publishers.contains_key(&key.stream) {
            return Route::Local;
        }
        let offering = self.links.iter().filter(|(_, link)| {
            let stream = link.streams.get(&key.stream).filter(|_| !link.denied.contains_key(&key.stream));
            link.peer.device == key.publisher && stream.and_then(playable).is_some()
        });
        offering
            .max_by_key(|(id, link)| (link.peer.boot_epoch, **id))
            .map_or(Route::None, |(id, _)| Route::Link(*id))
    }

    fn attach(&mut self, id: SubscriptionId, key: StreamKey, route: Route) {
        match route {
            Route::None => {}
            Route::Local => {
                if let Some(publisher) = self.publishers.get_mut(&key.stream) {
                    publisher.add_local(id);
                }
            }
            Route::Link(link) => {
                let Some(link) = self.links.get_mut(&link) else { return };
                let Some(announcement) = link.streams.get(&key.stream) else { return };
                let Some(rate) = playable(announcement) else { return };
                if let Some(quality) = link.incoming.add(id, announcement, rate, &mut self.subscribers) {
                    link.send(Message::Subscribe(Subscribe { stream: key.stream, quality }));
                }
            }
        }
    }

    pub(super) fn detach(&mut self, id: SubscriptionId) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let stream = subscriber.shared.key.stream;
        match std::mem::replace(&mut subscriber.route, Route::None) {
            Route::None => {}
            Route::Local => {
                if let Some(publisher) = self.publishers.get_mut(&stream) {
                    publisher.remove_local(id);
                }
            }
            Route::Link(link) => {
                if let Some(link) = self.links.get_mut(&link)
                    && link.incoming.remove(stream, id, &mut self.subscribers)
                {
                    link.send(Message::Unsubscribe(Unsubscribe { stream }));
                }
            }
        }
    }

    /// Where a subscription without a route stands. `ended`: why it has just lost the one it had.
    fn idle_link(&self, key: StreamKey, state: Link, ended: Option<LossCause>) -> Link {
        let now = host_time::now();
        let of_publisher = || self.links.values().filter(|link| link.peer.device == key.publisher);
        if let Some(reason) = of_publisher().find_map(|link| link.denied.get(&key.stream)) {
            return Link::Refused { reason: reason.clone() };
        }
        if of_publisher().next().is_none()
            && let Some(reason) = self.put_out.get(&key.publisher)
        {
            return Link::Refused { reason: reason.clone() };
        }
        if let Some(cause) = ended {
            return Link::Lost { since: now, cause };
        }
        if let Some(link) = of_publisher().find(|link| link.streams.contains_key(&key.stream)) {
            let reason = format!("\"{}\" sends it in a form that needs a newer version here", link.peer.name);
            return Link::Unplayable { reason };
        }
        if let lost @ Link::Lost { since, .. } = state {
            // A process of the publisher that came back without the stream is news; one that never had it is not.
            return if of_publisher().any(|link| link.since > since) { Link::NotPublished } else { lost };
        }
        if of_publisher().next().is_some() {
            return Link::NotPublished;
        }
        if let Some(reason) = self.refused.get(&key.publisher) {
            return Link::Refused { reason: reason.clone() };
        }
        let mut candidates = self.candidates.iter().filter(|one| one.device == Some(key.publisher));
        if candidates.any(Candidate::is_dialling) { Link::Connecting } else { Link::Searching { since: now } }
    }

    fn describe(&self, id: SubscriptionId, key: StreamKey, route: Route, link: Link) {
        let Some(subscriber) = self.subscribers.get(&id) else { return };
        let mut state = subscriber.shared.state();
        state.link = link;
        match route {
            Route::None => {}
            Route::Local => {
                state.publisher_name.clone_from(&self.shared.name);
                state.address = None;
                if let Some(publisher) = self.publishers.get(&key.stream) {
                    state.stream_name.clone_from(&lock(&publisher.shared.name));
                    state.sample_rate = Some(publisher.shared.sample_rate);
                    state.channels = publisher.shared.channels;
                    state.block_frames_max = publisher.block_frames_max;
                }
            }
            Route::Link(link) => {
                let Some(link) = self.links.get(&link) else { return };
                state.publisher_name.clone_from(&link.peer.name);
                state.address = Some(self.shared.paths.shown(link.address).0);
                state.path = PathFigures::of(&link.connection);
                if let Some(stream) = link.streams.get(&key.stream) {
                    state.stream_name = stream.name.to_string();
                    state.sample_rate = SampleRate::new(stream.sample_rate_hz);
                    state.channels = stream.channels.into();
                    state.block_frames_max = stream.block_frames_max;
                }
            }
        }
    }
}

/// The rate to play it at, if we can.
fn playable(stream: &StreamAnnouncement) -> Option<SampleRate> {
    let is_known = stream.codec.is_some() || !stream.codecs.is_empty();
    SampleRate::new(stream.sample_rate_hz).filter(|_| is_known)
}
