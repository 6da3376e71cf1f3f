//! The audio half of a plug-in that runs in another process: blocks in, and, a fixed number of frames later, blocks out.
//!
//! Whatever the host's block size, the plug-in is given whole blocks of 64 frames on the grid of positions, so what it
//! makes does not depend on it. Nothing here waits, but in an offline render, which would rather wait than lose. Who plays
//! live, and may wait, does it before the block: see [`crate::answers`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use audiocloud_graph::event::{Body, Event};
use audiocloud_graph::node::{Block, GRID, Processor};
use audiocloud_rt::host_time;
use audiocloud_rt::wake::Waker;

use crate::declick::Declick;
use crate::keeper::Life;
use crate::shared::{Direction, Head, Slot, read, write};
use crate::words::PluginEvent;

/// While a parameter glides, the plug-in hears of it so often, in frames: CLAP knows no ramps.
const GLIDE_FRAMES: usize = 16;
/// How long an offline render waits for one block.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the blocks that are under way began.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// A multiple of 64.
    position: u64,
    /// The slot of its first block.
    slot: u64,
}

/// The end that the graph plays. See the module.
#[derive(Debug)]
pub(crate) struct Piped {
    life: Arc<Life>,
    waker: Waker,
    pipeline_frames: u64,
    channels: usize,
    side_chain: usize,
    gives_notes: bool,
    /// Of each parameter of the node: its id, and the value that the plug-in knows.
    parameters: Box<[(u32, f32)]>,
    run: Option<Run>,
    /// Where the next block is, if nothing was left out.
    expected: u64,
    declick: Box<[Declick]>,
    /// Whether the block before this one was missing.
    missing: bool,
}

impl Piped {
    pub(crate) fn new(
        life: Arc<Life>,
        waker: Waker,
        pipeline_frames: u32,
        gives_notes: bool,
        parameters: Box<[(u32, f32)]>,
    ) -> Self {
        let shape = life.link.shared.shape();
        let channels = usize::from(shape.channels);
        Self {
            life,
            waker,
            pipeline_frames: pipeline_frames.into(),
            channels,
            side_chain: shape.side_chain.into(),
            gives_notes,
            parameters,
            run: None,
            expected: 0,
            declick: vec![Declick::new(); channels].into(),
            missing: false,
        }
    }

    /// The slot that is being filled, after it was begun where that is due.
    fn open(&mut self, block: &Block<'_>) -> Option<Slot<'_>> {
        let shared = &self.life.link.shared;
        let position = block.position();
        let number = shared.submitted();
        let begins = self.run.is_none() || position != self.expected;
        if begins || block.is_at_grid() {
            if !self.is_free(number, block.is_offline()) {
                // Too far ahead already: what the plug-in hears next begins anew.
                self.run = None;
                self.life.link.refused_blocks.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            let (from, grid) = (position % 64, position - position % 64);
            let head =
                Head { position: grid, begins, offline: block.is_offline(), transport: block.transport() };
            let slot = shared.slot(number);
            slot.open(&head);
            if begins {
                self.run = Some(Run { position: grid, slot: number });
                let head = usize::try_from(from).unwrap_or(0);
                for channel in 0..self.channels + self.side_chain {
                    write(slot.input(channel), &[0.0; GRID][..head]);
                }
            }
        }
        Some(shared.slot(number))
    }

    /// Whether the plug-in has answered what was in this slot before.
    fn is_free(&self, number: u64, offline: bool) -> bool {
        let shared = &self.life.link.shared;
        let free = || number.saturating_sub(shared.done()) < u64::from(shared.shape().slots);
        free() || (offline && self.wait_until(free))
    }

    /// In an offline render alone.
    fn wait_until(&self, is_true: impl Fn() -> bool) -> bool {
        let link = &self.life.link;
        link.shared.wait_until(|| is_true() || link.is_gone(), PATIENCE) && is_true()
    }

    fn submit(&mut self, block: &Block<'_>) {
        let (side_chain, channels) = (self.side_chain, self.channels);
        let from = usize::try_from(block.position() % 64).unwrap_or(0);
        let mut parameters = std::mem::take(&mut self.parameters);
        if let Some(slot) = self.open(block) {
            for channel in 0..side_chain {
                // In place: the node's inputs begin with its second port.
                write(&slot.input(channels + channel)[from..], block.input(channel));
            }
            tell_parameters(&mut parameters, block, slot, from);
            for event in block.events() {
                if let Some(event) = PluginEvent::of(&event.body) {
                    slot.push(Direction::In, event.to_words(offset(from)));
                }
            }
        }
        self.parameters = parameters;
    }

    /// What came in, and the word that the block is whole.
    fn submit_audio(&self, block: &mut Block<'_>) {
        let shared = &self.life.link.shared;
        let number = shared.submitted();
        let slot = shared.slot(number);
        let from = usize::try_from(block.position() % 64).unwrap_or(0);
        for channel in 0..self.channels {
            write(&slot.input(channel)[from..], block.output(channel));
        }
        if from + block.frames() == GRID {
            slot.set_submitted_at(now());
            shared.set_submitted(number + 1);
            self.waker.wake();
        }
    }

    /// The slot with the answer that is due now; `Err(true)` where it is missing, `Err(false)` where there is none yet.
    fn due(&self, block: &Block<'_>) -> Result<Slot<'_>, bool> {
        let Some(run) = self.run else { return Err(true) };
        let Some(answers) = block.position().checked_sub(self.pipeline_frames + run.position) else {
            return Err(false);
        };
        let shared = &self.life.link.shared;
        let number = run.slot + answers / 64;
        let is_done = || (number + 1..=shared.submitted()).contains(&shared.done());
        let there = is_done() || (block.is_offline() && self.wait_until(is_done));
        if there { Ok(shared.slot(number)) } else { Err(true) }
    }
}

impl Processor for Piped {
    fn process(&mut self, block: &mut Block<'_>) {
        let frames = u64::try_from(block.frames()).unwrap_or(0);
        let gone = self.life.link.is_gone();
        if gone {
            self.run = None;
        } else {
            self.submit(block);
            if self.run.is_some() {
                self.submit_audio(block);
            }
        }
        self.expected = block.position() + frames;
        let mut declick = std::mem::take(&mut self.declick);
        let from = usize::try_from(block.position() % 64).unwrap_or(0);
        let missing = match self.due(block) {
            Ok(slot) => {
                for (channel, declick) in declick.iter_mut().enumerate() {
                    let samples = block.output(channel);
                    read(&slot.output(channel)[from..], samples);
                    declick.play(samples);
                }
                self.give(slot, block, from);
                false
            }
            Err(missing) => {
                for (channel, declick) in declick.iter_mut().enumerate() {
                    let samples = block.output(channel);
                    if missing || self.missing { declick.miss(samples) } else { samples.fill(0.0) }
                }
                missing
            }
        };
        self.declick = declick;
        if missing && !gone {
            self.life.link.late_blocks.fetch_add(1, Ordering::Relaxed);
        }
        if missing && !self.missing && self.gives_notes {
            // The note-offs may have been in what is missing. No room is counted by the graph.
            block.give(Event { offset: 0, body: Body::all_notes_off() });
        }
        self.missing = missing;
    }

    fn reset(&mut self) {
        self.run = None;
        self.declick.fill(Declick::new());
        self.missing = false;
    }
}

impl Piped {
    /// The notes of the frames that are due now.
    fn give(&self, slot: Slot<'_>, block: &mut Block<'_>, from: usize) {
        if !self.gives_notes {
            return;
        }
        let frames = from..from + block.frames();
        for words in slot.events(Direction::Out) {
            let Some((at, PluginEvent::Voice(voice))) = PluginEvent::from_words(&words) else { continue };
            if frames.contains(&(at as usize)) {
                block.give(Event { offset: at - offset(from), body: Body::Voice(voice) });
            }
        }
    }
}

/// What the plug-in does not know yet, at the frames at which it is so.
fn tell_parameters(parameters: &mut [(u32, f32)], block: &Block<'_>, slot: Slot<'_>, from: usize) {
    for (index, (id, known)) in parameters.iter_mut().enumerate() {
        let mut ramp = block.parameter(index);
        let mut at = 0;
        loop {
            let value = ramp.value();
            if value != *known {
                let event = PluginEvent::Parameter { id: *id, value: value.into() };
                // Where there is no room it is told again with the next block.
                if slot.push(Direction::In, event.to_words(offset(from + at))) {
                    *known = value;
                }
            }
            let step = GLIDE_FRAMES.min(usize::try_from(ramp.remaining()).unwrap_or(GLIDE_FRAMES));
            at += step;
            if step == 0 || at >= block.frames() {
                break;
            }
            ramp.advance(offset(step));
        }
    }
}

/// A frame of a block as a number of events.
fn offset(frame: usize) -> u32 {
    u32::try_from(frame).unwrap_or(0)
}

fn now() -> u64 {
    u64::try_from(host_time::now().get()).unwrap_or(0)
}
