//! The receiving half: from datagrams to blocks and events, requests and reports.
//!
//! An [`Intake`] has the streams of one connection. Each packet is handed to it with the time of its arrival, and it is
//! woken when [`Intake::next_wake`] says; what is to be done it gives to a callback as [`Output`]. What a playout can
//! still use is passed on at once, in any order: the playout goes by time. Only Opus and events wait for what is missing
//! before them, and never longer than until they are due.
//!
//! A packet that is missing is asked for as soon as a later one shows the gap, or when it is overdue, and again while an
//! answer can be in time. Where there is no time for that, the sender is asked for repair packets instead; a path that
//! loses nothing costs nothing. When packets are due the playouts say, through [`Due`].

use std::collections::HashMap;

use audiocloud_rt::block_ring::Header;
use audiocloud_rt::due::Due;
use audiocloud_rt::event::Event;
use audiocloud_rt::snapshot;
use audiocloud_units::{HostTime, Nanos, SampleRate};
use audiocloud_wire::id::{ConfigId, StreamId};
use audiocloud_wire::packet::{DecodeError, Packet};

mod arrival;
mod deadline;
pub(crate) mod disorder;
mod echo;
pub(crate) mod events;
mod figures;
mod loss;
mod missing;
mod opus;
mod samples;
mod stream;
mod window;

pub use figures::{Figures, State};
pub use loss::Wish;
pub use samples::Samples;
use stream::Stream;

/// A stream, as its publisher announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which.
    pub stream: StreamId,
    /// The configuration that was announced: packets of another are not for us.
    pub config: ConfigId,
    /// The rate of its sample clock, nominally.
    pub sample_rate: SampleRate,
    /// From 1 to 64.
    pub channels: u16,
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub enum Output<'a> {
    /// To be played: frames of a stream, with the time of their packet's arrival. Those that did not come by themselves
    /// carry [`Flags::REPEAT`](audiocloud_rt::block_ring::Flags::REPEAT): when they came says nothing about the path.
    Block {
        /// Which stream.
        stream: StreamId,
        /// What they are.
        header: Header,
        /// To be copied from.
        samples: Samples<'a>,
    },
    /// To be played, in this order.
    Event {
        /// Which stream.
        stream: StreamId,
        /// What happens, or that something is missing.
        event: Event,
    },
    /// To be sent to the peer as a datagram.
    Send(&'a [u8]),
}

/// Why a packet was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It cannot be read.
    Undecodable(DecodeError),
    /// Nobody asked for its stream.
    UnknownStream,
    /// It is feedback on a stream that is sent from here: the sending half's.
    Feedback,
}

/// The streams that come over one connection. See the module.
#[derive(Debug, Default)]
pub struct Intake {
    streams: HashMap<StreamId, Stream>,
    rtt: Nanos,
}

impl Intake {
    /// No streams yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Packets of this stream are wanted from now on. One in another configuration begins anew, its figures go on.
    pub fn open(&mut self, config: Config, now: HostTime) {
        let known = self.streams.remove(&config.stream);
        let stream = match known {
            Some(known) if *known.config() == config => known,
            Some(known) => {
                let mut stream = Stream::new(config, self.rtt, now);
                (stream.figures, stream.deadlines) = (known.figures, known.deadlines);
                stream
            }
            None => Stream::new(config, self.rtt, now),
        };
        self.streams.insert(config.stream, stream);
    }

    /// Packets of this stream are not wanted any more.
    pub fn close(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
    }

    /// Whether packets of this stream are wanted.
    #[must_use]
    pub fn is_open(&self, stream: StreamId) -> bool {
        self.streams.contains_key(&stream)
    }

    /// The playouts of this stream, all there are, tell here when frames are due.
    pub fn set_dues(&mut self, stream: StreamId, readers: Vec<snapshot::Reader<Option<Due>>>) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.deadlines.set(readers);
        }
    }

    /// The connection's round trip.
    pub fn set_rtt(&mut self, rtt: Nanos) {
        self.rtt = rtt;
        for stream in self.streams.values_mut() {
            stream.set_rtt(rtt);
        }
    }

    /// Takes in a datagram.
    ///
    /// # Errors
    /// What is not for us; nothing has changed then.
    pub fn handle(
        &mut self,
        datagram: &[u8],
        now: HostTime,
        out: &mut impl FnMut(Output<'_>),
    ) -> Result<(), Refused> {
        let packet = Packet::decode(datagram).map_err(Refused::Undecodable)?;
        self.handle_packet(&packet, datagram, now, out)
    }

    /// Takes in a packet that was decoded from `datagram`.
    ///
    /// # Errors
    /// What is not for us; nothing has changed then.
    pub fn handle_packet(
        &mut self,
        packet: &Packet<'_>,
        datagram: &[u8],
        now: HostTime,
        out: &mut impl FnMut(Output<'_>),
    ) -> Result<(), Refused> {
        let stream = match packet {
            Packet::Audio(packet) => packet.header.stream,
            Packet::Event(packet) => packet.header.stream,
            Packet::Repair(packet) => packet.header.stream,
            Packet::Report(_)
            | Packet::Request(_)
            | Packet::Clock(_)
            | Packet::Slice(_)
            | Packet::SliceReport(_) => {
                return Err(Refused::Feedback);
            }
        };
        let stream = self.streams.get_mut(&stream).ok_or(Refused::UnknownStream)?;
        stream.handle(packet, datagram, now, out);
        Ok(())
    }

    /// Does what is to be done by now: to be called when [`Self::next_wake`] has come; earlier is harmless.
    pub fn poll(&mut self, now: HostTime, out: &mut impl FnMut(Output<'_>)) {
        for stream in self.streams.values_mut() {
            if stream.next_wake().is_some_and(|at| at <= now) {
                stream.poll(now, out);
            }
        }
    }

    /// When there is something to do next, unless a packet comes before.
    #[must_use]
    pub fn next_wake(&self) -> Option<HostTime> {
        self.streams.values().filter_map(Stream::next_wake).min()
    }

    /// What became of a stream's packets.
    #[must_use]
    pub fn figures(&self, stream: StreamId) -> Option<Figures> {
        self.streams.get(&stream).map(|stream| stream.figures)
    }

    /// How a stream comes at the moment.
    #[must_use]
    pub fn state(&self, stream: StreamId, now: HostTime) -> Option<State> {
        self.streams.get(&stream).map(|stream| stream.state(now))
    }
}

#[cfg(test)]
mod tests;
