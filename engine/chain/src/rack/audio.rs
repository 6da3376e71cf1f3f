//! The audio half of a rack.

use audiocloud_dsp::ramp::Curve;
use audiocloud_graph::event::{Body, Transport};
use audiocloud_graph::renderer::{Address, Call, HostEvent, Ports, Renderer, Target};
use audiocloud_rt::callback::Callback;
use audiocloud_rt::chain_event::ChainBody;
use audiocloud_rt::hand_off::Borrower;
use audiocloud_rt::snapshot::Writer;

use crate::mix::gain;

/// Events of one call; further ones are counted and lost.
pub(super) const EVENTS_MAX: usize = 4_096;

/// Whom an event may be for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) id: u32,
    pub(super) address: Address,
    /// A parallel: its values are levels, the node's are factors.
    pub(super) is_mix: bool,
}

/// All whom events may be for, sorted by id.
#[derive(Debug)]
pub(super) struct Table(Vec<Known>);

impl Table {
    pub(super) fn new(mut known: Vec<Known>) -> Self {
        known.sort_unstable_by_key(|known| known.id);
        Self(known)
    }

    fn find(&self, id: u32) -> Option<Known> {
        let index = self.0.binary_search_by_key(&id, |known| known.id).ok()?;
        self.0.get(index).copied()
    }
}

/// One call of the audio half.
#[derive(Clone, Copy, Debug)]
pub struct RackCall<'a> {
    /// The guard's token.
    pub callback: &'a Callback<'a>,
    /// Whether nobody listens: then nothing is given up for want of time.
    pub offline: bool,
    /// Where the host's song is at the first frame, where it says so. It goes on by itself until something else is said,
    /// here or by an event.
    pub transport: Option<Transport>,
    /// What happens, with its offset from the first frame; sorted by offset. What comes too late for its frame happens at
    /// once, what is beyond the block at its last frame.
    pub events: &'a [(u32, ChainBody)],
}

/// Plays a chain. Owned by the audio thread; made and dropped off it.
#[derive(Debug)]
pub struct RackAudio {
    renderer: Renderer,
    tables: Borrower<Table>,
    table: Box<Table>,
    /// Those of the present part of a call; of a fixed capacity.
    events: Vec<HostEvent>,
    /// Events that were for nobody, or found no room.
    strays: u64,
    writer: Writer<u64>,
    /// Nothing was played since the reset.
    is_fresh: bool,
}

impl RackAudio {
    pub(super) fn new(
        renderer: Renderer,
        tables: Borrower<Table>,
        table: Table,
        writer: Writer<u64>,
    ) -> Self {
        let events = Vec::with_capacity(EVENTS_MAX);
        let (table, strays) = (Box::new(table), 0);
        Self { renderer, tables, table, events, strays, writer, is_fresh: true }
    }

    /// Plays one block of any length: bus 0 of the ports is the main one, bus 1 of the input what effects may listen to.
    /// Output frame `k` answers input frame `k` − [`RackAudio::latency_frames`]. However a stretch of frames is cut into
    /// calls, the output is the same, bit for bit, as long as nothing is edited and nothing given up for want of time.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn process(&mut self, call: &RackCall<'_>, frames: usize, ports: &mut dyn Ports) {
        self.take_tables();
        let &RackCall { callback, offline, mut transport, mut events } = call;
        if std::mem::take(&mut self.is_fresh) {
            transport = transport.or(Some(Transport::default()));
        }
        let strays = self.strays;
        let last = u32::try_from(frames.saturating_sub(1)).unwrap_or(u32::MAX);
        let mut from = 0;
        // One stretch for each change of the host's song: whatever else happens, the graph knows frames for.
        loop {
            self.events.clear();
            let mut to = None;
            while let Some(((offset, body), later)) = events.split_first() {
                let at = (*offset).clamp(from, last.max(from));
                if let ChainBody::Transport { playing, tempo_bpm, position_beats, signature } = *body {
                    if at > from {
                        to = Some(at);
                        break;
                    }
                    transport = Some(Transport { playing, tempo_bpm, position_beats, signature });
                } else {
                    self.gather(at - from, body);
                }
                events = later;
            }
            let begin = usize::try_from(from).unwrap_or(frames);
            let end = to.and_then(|to| usize::try_from(to).ok()).unwrap_or(frames);
            let part = Call { callback, transport: transport.take(), offline, events: &self.events };
            self.renderer.process(&part, end - begin, &mut Later { ports: &mut *ports, by: begin });
            match to {
                Some(to) => from = to,
                None => break,
            }
        }
        if self.strays != strays {
            self.writer.write(self.strays);
        }
    }

    /// Begins anew at position 0: see [`RackAudio::reset_at`].
    ///
    /// *Realtime-safe: yes*, audio thread; takes as long as the chain is long.
    pub fn reset(&mut self, callback: &Callback<'_>) {
        self.reset_at(callback, 0);
    }

    /// Begins anew where the next frame has this position, a multiple of 64: what was heard is forgotten, and where the
    /// host's song is. Edits that wait are taken without a crossfade. Values and bypasses stay in force; those on their
    /// way are there at once.
    ///
    /// *Realtime-safe: yes*, audio thread; takes as long as the chain is long.
    pub fn reset_at(&mut self, callback: &Callback<'_>, position: u64) {
        self.take_tables();
        self.renderer.catch_up(callback);
        self.renderer.reset_at(callback, position);
        self.is_fresh = true;
    }

    /// From input to output in frames, as it is played now.
    ///
    /// *Realtime-safe: yes*, audio thread.
    #[must_use]
    pub fn latency_frames(&self) -> u32 {
        self.renderer.latency_frames()
    }

    fn take_tables(&mut self) {
        while let Some(table) = self.tables.take() {
            let before = std::mem::replace(&mut self.table, table);
            self.tables.send_home(before);
        }
    }

    /// An event as the graph has it.
    fn gather(&mut self, offset: u32, body: &ChainBody) {
        let made = match *body {
            ChainBody::Voice(voice) => Some((Target::Input, Body::Voice(voice))),
            ChainBody::Parameter { effect, parameter, value, ramp_frames } => self
                .table
                .find(effect)
                .filter(|_| value.is_finite())
                .map(|Known { address, is_mix, .. }| {
                    let value = if is_mix { gain(value) } else { value };
                    let body = Body::Parameter { id: parameter, value, ramp_frames, curve: Curve::Linear };
                    (Target::Node(address), body)
                }),
            ChainBody::Bypass { effect, on } => {
                self.table.find(effect).map(|known| (Target::Node(known.address), Body::Bypass(on)))
            }
            // Taken by the caller.
            ChainBody::Transport { .. } => return,
        };
        match made.filter(|_| self.events.len() < self.events.capacity()) {
            Some((target, body)) => self.events.push(HostEvent { offset, target, body }),
            None => self.strays += 1,
        }
    }
}

/// Ports from a later frame on.
struct Later<'p> {
    ports: &'p mut dyn Ports,
    by: usize,
}

impl Ports for Later<'_> {
    fn read(&mut self, bus: usize, channel: usize, from: usize, samples: &mut [f32]) {
        self.ports.read(bus, channel, self.by + from, samples);
    }

    fn write(&mut self, bus: usize, channel: usize, from: usize, samples: &[f32]) {
        self.ports.write(bus, channel, self.by + from, samples);
    }

    fn event(&mut self, offset: usize, body: &Body) {
        self.ports.event(self.by + offset, body);
    }
}
