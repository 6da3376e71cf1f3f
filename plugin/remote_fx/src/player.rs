//! The chain in this process: *Run here*, and what is heard instead of a late block where that is wanted.

use audiocloud_engine::chain::rack::{RackAudio, RackCall};
use audiocloud_engine::graph::renderer::Ports;
use audiocloud_engine::rt::callback::Callback;
use audiocloud_engine::rt::chain_event::ChainBody;
use audiocloud_engine::stream::insert::Insert;
use audiocloud_instance::engine;

/// A rack begins at a multiple of this.
const GRID: u64 = 64;
/// Events of one block, and what is remembered while the rack stands still.
const EVENTS: usize = 4_096;

/// Plays the rack when it is wanted, and remembers what happens to the chain when it is not.
///
/// *Realtime-safe: yes*, all of it but [`Player::new`].
#[derive(Debug)]
pub(crate) struct Player {
    rack: RackAudio,
    /// The frame that it began at, while it runs; it is silent before that.
    begun: Option<u64>,
    /// It has yet to be told that it begins.
    is_due: bool,
    /// Of the present block, or, while it stands still, the last one of each kind.
    events: Vec<(u32, ChainBody)>,
    rows: [Vec<f32>; 2],
    channels: usize,
    latency_frames: u32,
}

struct Rows<'a, 'b> {
    main: &'a [&'b [f32]],
    side_chain: &'a [&'b [f32]],
    /// The first frame of the piece that is played, in both.
    from: usize,
    rows: &'a mut [Vec<f32>; 2],
}

impl Ports for Rows<'_, '_> {
    fn read(&mut self, bus: usize, channel: usize, from: usize, samples: &mut [f32]) {
        let bus = if bus == 0 { self.main } else { self.side_chain };
        engine::read(bus, channel, self.from + from, samples);
    }

    fn write(&mut self, _bus: usize, channel: usize, from: usize, samples: &[f32]) {
        engine::write(self.rows, channel, from, samples);
    }
}

impl Player {
    /// For blocks of at most so many frames.
    pub(crate) fn new(rack: RackAudio, channels: u16, block_frames_max: usize, latency_frames: u32) -> Self {
        let rows = [vec![0.0; block_frames_max], vec![0.0; block_frames_max]];
        let channels = usize::from(channels).clamp(1, 2);
        Self {
            rack,
            begun: None,
            is_due: false,
            events: Vec::with_capacity(EVENTS),
            rows,
            channels,
            latency_frames,
        }
    }

    /// A new epoch: everything begins at frame 0, the rack too where it is wanted.
    pub(crate) fn reset(&mut self, callback: &Callback<'_>, is_wanted: bool) {
        if !is_wanted {
            self.begun = None;
            return;
        }
        self.begin(0);
        self.rack.reset(callback);
        self.is_due = false;
    }

    /// The rack begins at this frame. What was told while it stood still is in force by then.
    fn begin(&mut self, position: u64) {
        (self.begun, self.is_due) = (Some(position), true);
        for (offset, body) in &mut self.events {
            *offset = 0;
            if let ChainBody::Parameter { ramp_frames, .. } = body {
                *ramp_frames = Some(0);
            }
        }
    }

    /// What happens so many frames into the block that is played next.
    pub(crate) fn event(&mut self, offset: u32, body: ChainBody) {
        if self.begun.is_none() {
            if matches!(body, ChainBody::Voice(_)) {
                return;
            }
            let same = |(_, known): &&mut (u32, ChainBody)| is_same(known, &body);
            if let Some(known) = self.events.iter_mut().find(same) {
                known.1 = body;
                return;
            }
        }
        if self.events.len() < self.events.capacity() {
            self.events.push((offset, body));
        }
    }

    /// Plays a block from frame `position` on, if that is wanted, and hands it to the insert.
    pub(crate) fn play(
        &mut self,
        callback: &Callback<'_>,
        insert: &mut Insert,
        position: u64,
        (main, side_chain): (&[&[f32]], &[&[f32]]),
        is_wanted: bool,
        offline: bool,
    ) {
        if !is_wanted {
            if self.begun.take().is_some() {
                self.events.clear();
            }
            return;
        }
        let frames = main.first().map_or(0, |row| row.len()).min(self.rows[0].len());
        let begun = self.begun.unwrap_or_else(|| position.next_multiple_of(GRID));
        if self.begun.is_none() {
            self.begin(begun);
        }
        let from = usize::try_from(begun.saturating_sub(position)).unwrap_or(usize::MAX);
        if from >= frames {
            return;
        }
        if std::mem::take(&mut self.is_due) {
            self.rack.reset_at(callback, begun);
        }
        let shift = u32::try_from(from).unwrap_or(0);
        self.events.iter_mut().for_each(|(offset, _)| *offset = offset.saturating_sub(shift));
        let call = RackCall { callback, offline, transport: None, events: &self.events };
        let mut ports = Rows { main, side_chain, from, rows: &mut self.rows };
        self.rack.process(&call, frames - from, &mut ports);
        self.events.clear();
        let [one, two] = &self.rows;
        let rows = [&one[..frames - from], &two[..frames - from]];
        insert.here(callback, from, begun, self.latency_frames, &rows[..self.channels]);
    }
}

/// Whether the later of two events makes the earlier one void.
fn is_same(known: &ChainBody, body: &ChainBody) -> bool {
    match (known, body) {
        (
            ChainBody::Parameter { effect, parameter, .. },
            ChainBody::Parameter { effect: new_effect, parameter: new_parameter, .. },
        ) => (effect, parameter) == (new_effect, new_parameter),
        (ChainBody::Bypass { effect, .. }, ChainBody::Bypass { effect: new_effect, .. }) => {
            effect == new_effect
        }
        (ChainBody::Transport { .. }, ChainBody::Transport { .. }) => true,
        _ => false,
    }
}
