//! The hub's part in media: from callbacks to connections, from datagrams to streams, and what time brings.

use audiocloud_rt::host_time;
use audiocloud_units::HostTime;
use audiocloud_wire::packet::Packet;

use super::Hub;
use crate::congestion;
use crate::publisher::Pass;

impl Hub {
    /// Moves what the callbacks left in their rings. Whether more is waiting.
    pub(crate) fn pump(&mut self) -> bool {
        let mut all = Pass::default();
        for publisher in self.publishers.values_mut() {
            let pass = publisher.pump(&mut self.subscribers);
            all.more |= pass.more;
            all.announce |= pass.announce;
        }
        if all.announce {
            self.announce();
        }
        self.pump_remote() | all.more
    }

    /// What is to be done now and then.
    pub(crate) fn tick(&mut self) {
        for publisher in self.publishers.values_mut() {
            publisher.tick();
        }
        self.share_rates();
        for link in self.links.values_mut() {
            link.incoming.tick(link.connection.rtt().into(), &self.subscribers);
        }
        self.tick_time();
        self.tick_remote();
    }

    /// Divides what each path carries among the streams that go over it, by what each would take.
    fn share_rates(&mut self) {
        let Self { links, publishers, .. } = self;
        for (&id, link) in links.iter() {
            let mut streams: Vec<_> = publishers
                .iter_mut()
                .map(|(&stream, publisher)| (stream, publisher.demand_bps(id), publisher))
                .filter(|(_, demand_bps, _)| *demand_bps > 0)
                .collect();
            streams.sort_unstable_by_key(|(stream, ..)| *stream);
            let demands: Vec<u64> = streams.iter().map(|(_, demand_bps, _)| *demand_bps).collect();
            let cap_bps = congestion::rate_cap(&link.connection);
            let shares = cap_bps.map(|cap_bps| congestion::shares(cap_bps, &demands));
            for (index, (.., publisher)) in streams.into_iter().enumerate() {
                publisher.set_rate_cap(id, shares.as_ref().and_then(|shares| shares.get(index).copied()));
            }
        }
    }

    /// Takes what came over a connection to the stream that it is about.
    pub(crate) fn handle_datagram(&mut self, id: u64, datagram: &[u8]) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let packet = match Packet::decode(datagram) {
            Ok(packet) => packet,
            Err(error) => {
                tracing::trace!(target: "audiocloud::net", code = error.code(), "undecodable packet");
                self.shared.counters.undecodable_packets.add(1);
                return;
            }
        };
        let about_ours = match &packet {
            Packet::Report(report) => Some(report.stream),
            Packet::Request(request) => Some(request.stream),
            Packet::Audio(_) | Packet::Event(_) | Packet::Repair(_) => None,
            Packet::Clock(packet) => return self.take_clock_packet(id, packet),
            Packet::Slice(slice) => return self.take_slice(id, slice),
            Packet::SliceReport(report) => return self.take_slice_report(id, report),
        };
        if let Some(stream) = about_ours {
            match self.publishers.get_mut(&stream) {
                Some(publisher) => publisher.handle_feedback(id, &packet),
                None => self.shared.counters.unknown_stream.add(1),
            }
            return;
        }
        let outlet = link.outlet.borrow();
        link.incoming.handle(&packet, datagram, &mut self.subscribers, &self.shared.counters, &outlet);
        let wake = link.incoming.next_wake();
        drop(outlet);
        if self.is_alarm_off(id, wake) {
            self.alarm_moved.notify_one();
        }
    }

    /// Whether the alarm has to be moved, now that a link's streams have something to do at `wake`. So it has, too, when it
    /// would ring too early: that wakes the thread for nothing, which costs more.
    fn is_alarm_off(&self, link: u64, wake: Option<HostTime>) -> bool {
        match (self.alarm, wake) {
            (Some((at, of)), wake) if of == link => wake != Some(at),
            (Some((at, _)), Some(wake)) => wake < at,
            (None, wake) => wake.is_some(),
            (Some(_), None) => false,
        }
    }

    /// Does for the streams that come in what is to be done by now. When it has to be called again.
    pub(crate) fn wake(&mut self) -> Option<HostTime> {
        let now = host_time::now();
        for link in self.links.values_mut() {
            if link.incoming.next_wake().is_some_and(|wake| wake <= now) {
                link.incoming.poll(&mut self.subscribers, &link.outlet.borrow());
            }
        }
        self.poll_remote(now);
        let wakes = self.links.iter().filter_map(|(&id, link)| Some((link.incoming.next_wake()?, id)));
        // Chains are no link's.
        self.alarm = wakes.chain(self.remote_next_wake().map(|at| (at, u64::MAX))).min();
        self.alarm.map(|(at, _)| at)
    }
}
