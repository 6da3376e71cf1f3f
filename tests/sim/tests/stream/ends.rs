//! The two ends of a stream, all of them real but for the sockets: tap, session's sender, session's receiver, playout.

use audiocloud_rt::block_ring::{Consumer, Epoch, Producer, block_ring};
use audiocloud_rt::{callback, event, wake};
use audiocloud_session::receiver::{self as intake, Intake, Output};
use audiocloud_session::sender::{Description, LaneId, Stream};
use audiocloud_stream::receiver::{self, Clock, Mode, Playout, Settings};
use audiocloud_stream::sender::{self, Tap};
use audiocloud_units::{Frames, HostTime, Nanos, SampleRate, SessionLine};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{ConfigId, StreamId};
use audiocloud_wire::packet::Packet;
use audiocloud_wire::quality::Quality;

pub(crate) const CHANNELS: u16 = 2;
pub(crate) const BLOCK: u32 = 128;
const BLOCK_FRAMES: usize = BLOCK as usize;
const STREAM: StreamId = StreamId(1);

pub(crate) fn rate() -> SampleRate {
    SampleRate::new(48_000).unwrap()
}

/// Publishes the signal.
pub(crate) struct Sender {
    tap: Tap,
    blocks: Consumer,
    stream: Stream,
    input: Vec<Vec<f32>>,
    signal: fn(u64) -> f32,
    /// The session's time, where it is known.
    pub(crate) line: Option<SessionLine>,
    // Kept, that the other ends do not count as gone.
    _events: event::Consumer,
    _wake: wake::WakeReceiver,
}

impl Sender {
    /// To so many subscribers, numbered from 0.
    pub(crate) fn new(signal: fn(u64) -> f32, subscribers: u64) -> Self {
        let (blocks_in, blocks) = block_ring(64, 64 << 10);
        let (events_in, events) = event::event_ring(16);
        let (waker, wake) = wake::wake_pair().unwrap();
        let config = sender::Config { sample_rate: rate(), channels: CHANNELS };
        let description = Description {
            stream: STREAM,
            config: ConfigId(1),
            sample_rate: rate(),
            channels: CHANNELS,
            codec: Codec::PcmS24,
        };
        let mut stream = Stream::new(description);
        for lane in 0..subscribers {
            stream.subscribe(LaneId(lane), Quality::default(), HostTime::new(0), &mut |_, _| ());
        }
        Self {
            tap: Tap::new(config, blocks_in, events_in, waker, Epoch(1)),
            blocks,
            stream,
            input: vec![vec![0.0; BLOCK_FRAMES]; CHANNELS.into()],
            signal,
            line: None,
            _events: events,
            _wake: wake,
        }
    }

    pub(crate) fn callback(&mut self, at: HostTime, first_frame: u64, send: &mut dyn FnMut(u64, Vec<u8>)) {
        let (left, right) = self.input.split_at_mut(1);
        for ((frame, left), right) in (first_frame..).zip(&mut left[0]).zip(&mut right[0]) {
            (*left, *right) = ((self.signal)(frame), -(self.signal)(frame));
        }
        callback::enter_at(at, |callback| self.tap.process(callback, &self.input, self.line));
        let Self { blocks, stream, .. } = self;
        while blocks
            .try_pop(|header, samples| {
                stream
                    .push_block(header, &samples, at, &mut |lane, packet| send(lane.0, packet.to_vec()))
                    .unwrap();
            })
            .is_some()
        {}
        stream.tick(at, &mut |lane, packet| send(lane.0, packet.to_vec()));
    }

    pub(crate) fn feedback(
        &mut self,
        subscriber: u64,
        datagram: &[u8],
        at: HostTime,
        send: &mut dyn FnMut(Vec<u8>),
    ) {
        let lane = LaneId(subscriber);
        match Packet::decode(datagram).unwrap() {
            Packet::Report(report) => self.stream.handle_report(lane, &report, at),
            Packet::Request(request) => {
                self.stream.handle_request(lane, &request, at, &mut |_, packet| send(packet.to_vec()));
            }
            other => panic!("a receiver sends feedback alone: {other:?}"),
        }
    }
}

/// Plays it.
pub(crate) struct Receiver {
    pub(crate) playout: Playout,
    pub(crate) intake: Intake,
    blocks: Producer,
    pub(crate) output: Vec<Vec<f32>>,
    _events: event::Producer,
}

impl Receiver {
    pub(crate) fn new(mode: Mode, rtt: Nanos) -> Self {
        let (blocks, blocks_out) = block_ring(1_024, 1 << 20);
        let (events, events_out) = event::event_ring(16);
        let config = receiver::Config {
            sample_rate: rate(),
            stream_rate: None,
            channels: CHANNELS,
            max_block: BLOCK,
            settings: Settings { mode, clock: Clock::Automatic },
            delay_max: Frames::new(9_600),
        };
        let playout = Playout::new(config, blocks_out, events_out);
        let mut intake = Intake::new();
        let stream =
            intake::Config { stream: STREAM, config: ConfigId(1), sample_rate: rate(), channels: CHANNELS };
        intake.open(stream, HostTime::new(0));
        intake.set_rtt(rtt);
        intake.set_dues(STREAM, vec![playout.due()]);
        let output = vec![vec![0.0; BLOCK_FRAMES]; CHANNELS.into()];
        Self { playout, intake, blocks, output, _events: events }
    }

    /// By a line over its host's clock, where the session's time is known.
    pub(crate) fn callback(&mut self, at: HostTime, line: Option<SessionLine>) {
        self.playout.set_session_line(line);
        callback::enter_at(at, |callback| self.playout.process(callback, &mut self.output, |_, _| ()));
    }

    /// A datagram arrives, or, without one, it is time to look.
    pub(crate) fn take(&mut self, datagram: Option<&[u8]>, at: HostTime, send: &mut dyn FnMut(Vec<u8>)) {
        let Self { intake, blocks, .. } = self;
        let mut act = |output: Output<'_>| match output {
            Output::Block { header, samples, .. } => {
                let pushed = blocks.try_push(&header, |channel, from, out| samples.read(channel, from, out));
                pushed.expect("the ring is emptied by each callback");
            }
            Output::Event { .. } => {}
            Output::Send(bytes) => send(bytes.to_vec()),
        };
        if let Some(datagram) = datagram {
            intake.handle(datagram, at, &mut act).unwrap();
        }
        intake.poll(at, &mut act);
    }

    pub(crate) fn figures(&self) -> intake::Figures {
        self.intake.figures(STREAM).unwrap()
    }
}
