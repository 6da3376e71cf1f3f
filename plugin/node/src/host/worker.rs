//! The thread that plays a chain: blocks in, blocks out, as soon as they come.
//!
//! It sleeps until the network thread has blocks for it, plays each one as it is, for a rack gives the same whatever
//! the blocks' lengths are, and rings the network thread after each. Where the system permits it, it runs at
//! `SCHED_FIFO`, below the network thread: a packet that waits to leave is worth more than one that waits to be played.
//!
//! Blocks that were held up on their way come at once. Between them it waits for plug-ins in other processes, whose answers
//! to one block are needed by the next, as long as they would have had time if nothing had been held up.
//!
//! What goes back carries the number of the frame that it answers. A chain is late by its own latency, so what comes out
//! first answers nothing, and is left out.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use audiocloud_engine::chain::rack::{RackAudio, RackCall};
use audiocloud_engine::graph::event::Body;
use audiocloud_engine::graph::load::{Report, Statistics};
use audiocloud_engine::graph::node::GRID;
use audiocloud_engine::graph::renderer::Ports;
use audiocloud_engine::rt::block_ring::{Epoch, Flags, Header, Samples};
use audiocloud_engine::rt::callback::{self, Callback};
use audiocloud_engine::rt::chain_event::ChainBody;
use audiocloud_engine::rt::event::{self, Event};
use audiocloud_engine::rt::{hand_off, host_time, priority, snapshot};
use audiocloud_engine::units::{HostTime, MediaTime, Nanos, SampleRate};
use audiocloud_net::runtime::remote::{NodeEnds, Transfer};

use super::foreign::Answers;

/// The longest block that is played at once.
pub(crate) const FRAMES_MAX: usize = 8192;
/// Events that are given to the rack with one block; more of them wait for the next one.
const EVENTS_MAX: usize = 1024;
/// How soon a worker without work notices that it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it says how it stands.
const TELL_EVERY: Nanos = Nanos::new(100_000_000);
/// A worker that has said nothing for so long is stuck.
const STUCK_AFTER: Nanos = Nanos::new(2_000_000_000);
/// Of the load's average, and how far back its percentile looks.
const LOAD_TAU_NS: u64 = 1_000_000_000;
const LOAD_WINDOW_NS: u64 = 30_000_000_000;

/// What was agreed of a chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) sample_rate: SampleRate,
    pub(crate) inputs: u16,
    pub(crate) side_chain: u16,
    pub(crate) outputs: u16,
    pub(crate) transfer: Transfer,
}

/// What a worker counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Blocks played.
    pub(crate) blocks: u64,
    /// Frames played.
    pub(crate) frames: u64,
    /// How often it began anew: a new epoch, or frames that never came.
    pub(crate) beginnings: u64,
    /// Blocks of another form than was agreed.
    pub(crate) misshapen: u64,
    /// Blocks and events that there was no room for on their way back.
    pub(crate) back_full: u64,
    /// Events that came after their frame, and happened at once.
    pub(crate) events_late: u64,
}

/// How a worker stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Played {
    pub(crate) counters: Counters,
    /// None: nothing was played in time yet; an exact transfer has no deadline.
    pub(crate) load: Option<Report>,
    /// Whether it is scheduled in real time.
    pub(crate) realtime: bool,
    at: HostTime,
}

/// A worker. Dropping it ends it, and waits until it has.
#[derive(Debug)]
pub(crate) struct Worker {
    stop: Arc<AtomicBool>,
    answers: hand_off::Giver<Answers>,
    played: snapshot::Reader<Played>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Plays what comes, at this priority of `SCHED_FIFO` if the system lets it; 0: at an ordinary one.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(rack: RackAudio, shape: Shape, ends: NodeEnds, fifo: u8) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let played =
            Played { counters: Counters::default(), load: None, realtime: false, at: host_time::now() };
        let (writer, reader) = snapshot::snapshot(played);
        let (giver, answers) = hand_off::hand_off(None);
        let player = Player::new(rack, shape, ends, writer, answers);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("audiocloud-fx".to_owned()).spawn(move || {
            let realtime = fifo > 0 && priority::realtime(fifo).is_ok();
            // Its rings go with it, which the network thread notices; the node and its other chains go on.
            let played = catch_unwind(AssertUnwindSafe(|| player.run(realtime, &stopped)));
            if played.is_err() {
                tracing::error!(target: "audiocloud::node", "a worker has panicked; this is a mistake of ours");
            }
        })?;
        Ok(Self { stop, answers: giver, played: reader, thread: Some(thread) })
    }

    pub(crate) fn played(&self) -> Played {
        self.played.read()
    }

    /// Whose answers it waits for from now on. Whether it will hear of it: else it stands still, and is to be told again.
    pub(crate) fn set_answers(&mut self, answers: Answers) -> bool {
        self.answers.give(Some(Box::new(answers))).is_ok()
    }

    pub(crate) fn reader(&self) -> snapshot::Reader<Played> {
        self.played.clone()
    }

    /// Whether it ended by itself: by a mistake of ours.
    pub(crate) fn has_failed(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It catches its own panics, so this is no news.
            thread.join().ok();
        }
    }
}

impl Played {
    /// Whether it has not been heard of for so long that something holds it.
    pub(crate) fn is_stuck(&self) -> bool {
        host_time::now() - self.at > STUCK_AFTER
    }
}

/// Where a rack is in the stream of frames.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    epoch: Option<Epoch>,
    /// The frame that comes next.
    next: u64,
    /// The first frame that is played: a point of the grid.
    first: u64,
    /// The rack has not been told yet.
    is_new: bool,
}

impl Place {
    /// What a block of these frames means. Whether it begins anew.
    fn reach(&mut self, header: &Header) -> bool {
        let start = header.start.get();
        let is_new = self.epoch != Some(header.epoch) || start != self.next;
        if is_new {
            self.epoch = Some(header.epoch);
            self.first = start.next_multiple_of(GRID as u64);
            self.is_new = true;
        }
        self.next = start + u64::from(header.frames);
        is_new
    }
}

struct Player {
    rack: RackAudio,
    shape: Shape,
    ends: NodeEnds,
    place: Place,
    events: Vec<(u32, ChainBody)>,
    /// Channels in a row, each of [`FRAMES_MAX`].
    output: Vec<f32>,
    /// Played, and not yet taken: exact transfers alone wait.
    pending: Option<(Header, usize)>,
    answers: hand_off::Taker<Answers>,
    statistics: Statistics,
    counters: Counters,
    writer: snapshot::Writer<Played>,
}

impl Player {
    fn new(
        rack: RackAudio,
        shape: Shape,
        ends: NodeEnds,
        writer: snapshot::Writer<Played>,
        answers: hand_off::Taker<Answers>,
    ) -> Self {
        Self {
            rack,
            shape,
            ends,
            place: Place::default(),
            events: Vec::with_capacity(EVENTS_MAX),
            output: vec![0.0; usize::from(shape.outputs) * FRAMES_MAX],
            pending: None,
            answers,
            statistics: Statistics::new(LOAD_TAU_NS, LOAD_WINDOW_NS),
            counters: Counters::default(),
            writer,
        }
    }

    fn run(mut self, realtime: bool, stop: &AtomicBool) {
        let mut told = host_time::now();
        self.tell(realtime, told);
        while !stop.load(Ordering::Relaxed) {
            self.ends.due.wait(LOOK_EVERY);
            self.answers.exchange(|_| ());
            while !stop.load(Ordering::Relaxed) && self.play_next() {
                self.ends.waker.wake();
            }
            let now = host_time::now();
            if now - told >= TELL_EVERY {
                self.tell(realtime, now);
                told = now;
            }
        }
    }

    fn tell(&mut self, realtime: bool, at: HostTime) {
        let load = self.statistics.report();
        let load = (load.callbacks > 0).then_some(load);
        self.writer.write(Played { counters: self.counters, load, realtime, at });
    }

    /// Whether there was a block, and room for what comes of it.
    fn play_next(&mut self) -> bool {
        if !self.send_pending() {
            return false;
        }
        let Some(header) = self.ends.blocks.peek() else { return false };
        if let (Some(answers), Transfer::Live) = (self.answers.current(), self.shape.transfer) {
            answers.wait(header.start.get(), header.frames.into());
        }
        let began = host_time::now();
        let channels = self.shape.inputs + self.shape.side_chain;
        let fits = header.channels == channels
            && header.sample_rate == self.shape.sample_rate
            && header.frame_count() <= FRAMES_MAX;
        if !fits {
            self.counters.misshapen += 1;
            return self.ends.blocks.try_pop(|_, _| ()).is_some();
        }
        let before = self.place.epoch;
        if self.place.reach(&header) {
            self.counters.beginnings += 1;
            if before != Some(header.epoch) {
                self.forget_events(before);
            }
        }
        let skip = usize::try_from(self.place.first.saturating_sub(header.start.get())).unwrap_or(usize::MAX);
        let skip = skip.min(header.frame_count());
        self.gather_events(&header, skip);
        self.pending = self.play(skip);
        self.counters.blocks += 1;
        self.counters.frames += u64::from(header.frames);
        self.send_pending();
        if self.shape.transfer == Transfer::Live {
            let spent = u64::try_from((host_time::now() - began).get()).unwrap_or(0);
            let period = u64::from(header.frames) * 1_000_000_000 / u64::from(self.shape.sample_rate.hz());
            self.statistics.observe(spent, period);
        }
        true
    }

    /// Plays the next block but for its first `skip` frames: what comes of it, and from where on in `output`.
    fn play(&mut self, skip: usize) -> Option<(Header, usize)> {
        let Self { rack, shape, ends, place, events, output, counters, .. } = self;
        let NodeEnds { blocks, back_events, .. } = ends;
        let played = blocks.try_pop(|header, samples| {
            let frames = header.frame_count() - skip;
            if frames == 0 {
                return None;
            }
            let start = header.start.get() + u64::try_from(skip).unwrap_or(0);
            let latency = callback::enter(|callback| {
                if std::mem::take(&mut place.is_new) {
                    rack.reset_at(callback, place.first);
                }
                let ports = BlockPorts {
                    samples,
                    skip,
                    inputs: usize::from(shape.inputs),
                    output,
                    back_events,
                    counters,
                    epoch: header.epoch,
                    // An event comes out as late as the sound does; which frame it answers is known afterwards.
                    start: start.saturating_sub(rack.latency_frames().into()),
                };
                play_block(callback, rack, shape.transfer == Transfer::Exact, events, frames, ports);
                u64::from(rack.latency_frames())
            });
            // The frames before `first` are nobody's: what answers them is left out.
            let cut = (place.first + latency).saturating_sub(start);
            let cut = usize::try_from(cut).unwrap_or(usize::MAX).min(frames);
            let answered = (start + u64::try_from(cut).unwrap_or(0)).saturating_sub(latency);
            let left = u32::try_from(frames - cut).unwrap_or(0);
            (left > 0).then(|| {
                let back = Header {
                    start: MediaTime::new(answered),
                    frames: left,
                    first_channel: 0,
                    channels: shape.outputs,
                    stream_channels: shape.outputs,
                    session_time: None,
                    flags: Flags::NONE,
                    ..*header
                };
                (back, cut)
            })
        });
        played.flatten()
    }

    /// Hands on what was played. Whether nothing is left of it.
    fn send_pending(&mut self) -> bool {
        let Some((header, from)) = self.pending else { return true };
        let output = &self.output;
        let pushed = self.ends.back.try_push(&header, |channel, at, samples| {
            let begin = channel * FRAMES_MAX + from + at;
            samples.copy_from_slice(&output[begin..begin + samples.len()]);
        });
        if pushed.is_err() {
            if self.shape.transfer == Transfer::Exact {
                return false;
            }
            self.counters.back_full += 1;
        }
        self.pending = None;
        true
    }

    /// What was to happen in an epoch that is over.
    fn forget_events(&mut self, over: Option<Epoch>) {
        let events = &mut self.ends.events;
        while events.peek().is_ok_and(|event| Some(event.epoch) == over) {
            if events.pop().is_err() {
                return;
            }
        }
    }

    /// What happens in the block, and what should have happened before.
    fn gather_events(&mut self, header: &Header, skip: usize) {
        self.events.clear();
        let start = header.start.get() + u64::try_from(skip).unwrap_or(0);
        let end = header.start.get() + u64::from(header.frames);
        while self.events.len() < EVENTS_MAX
            && skip < header.frame_count()
            && self
                .ends
                .events
                .peek()
                .is_ok_and(|event| event.epoch == header.epoch && event.time.get() < end)
        {
            let Ok(event) = self.ends.events.pop() else { return };
            let offset = event.time.get().saturating_sub(start);
            self.counters.events_late += u64::from(event.time < header.start);
            self.events.push((u32::try_from(offset).unwrap_or(0), event.body));
        }
        // An epoch of which no block ever came must not bar the way for good.
        let events = &mut self.ends.events;
        if events.slots() == events.buffer().capacity()
            && events.peek().is_ok_and(|event| event.epoch != header.epoch)
        {
            self.counters.events_late += u64::from(events.pop().is_ok());
        }
    }
}

fn play_block(
    callback: &Callback<'_>,
    rack: &mut RackAudio,
    offline: bool,
    events: &[(u32, ChainBody)],
    frames: usize,
    mut ports: BlockPorts<'_>,
) {
    let call = RackCall { callback, offline, transport: None, events };
    rack.process(&call, frames, &mut ports);
}

/// A block in its ring, and where it goes.
struct BlockPorts<'a> {
    samples: Samples<'a>,
    skip: usize,
    inputs: usize,
    output: &'a mut [f32],
    back_events: &'a mut event::Producer,
    counters: &'a mut Counters,
    epoch: Epoch,
    /// Of the frame that the first one answers.
    start: u64,
}

impl Ports for BlockPorts<'_> {
    fn read(&mut self, bus: usize, channel: usize, from: usize, samples: &mut [f32]) {
        let channel = if bus == 0 { channel } else { self.inputs + channel };
        let (one, two) = self.samples.channel(channel);
        let from = from + self.skip;
        if one.len() + two.len() < from + samples.len() {
            samples.fill(0.0);
            return;
        }
        let middle = one.len().saturating_sub(from).min(samples.len());
        samples[..middle].copy_from_slice(&one[from.min(one.len())..][..middle]);
        let rest = samples.len() - middle;
        samples[middle..].copy_from_slice(&two[(from + middle).saturating_sub(one.len())..][..rest]);
    }

    fn write(&mut self, bus: usize, channel: usize, from: usize, samples: &[f32]) {
        let begin = channel * FRAMES_MAX + from;
        if bus == 0
            && let Some(place) = self.output.get_mut(begin..begin + samples.len())
        {
            place.copy_from_slice(samples);
        }
    }

    fn event(&mut self, offset: usize, body: &Body) {
        let Body::Voice(body) = body else { return };
        let time = MediaTime::new(self.start + u64::try_from(offset).unwrap_or(0));
        if self.back_events.push(Event { epoch: self.epoch, time, body: *body }).is_err() {
            self.counters.back_full += 1;
        }
    }
}
