//! All strips in the callbacks: they come and go live, and sum into the mix and into outputs of their own.

use std::ops::Range;

use audiocloud_engine::rt::callback::Callback;
use audiocloud_engine::rt::hand_off::{Borrower, Lender, loan};
use audiocloud_engine::rt::snapshot;
use audiocloud_engine::stream::meter::{self, Meter};
use audiocloud_instance::guarded::Notes;
use audiocloud_instance::scratch::Scratch;
use audiocloud_instance::state::OUTPUTS;
use audiocloud_instance::time::Setup;
use nice_plug::prelude::Buffer;

use crate::merge::Merge;
use crate::params::{Outputs, ReceiveParams};
use crate::score::Score;
use crate::settings;
use crate::strip::{GLIDE_MS, Strip, add};

/// Streams that one Receive plays at once.
pub(crate) const STRIPS: usize = 64;
/// Changes that may be under way at once: all strips may be replaced between two callbacks.
const CHANGES: usize = 2 * STRIPS;

/// Peaks of the mix, linear.
pub(crate) type Peaks = [f32; meter::CHANNELS_MAX];

/// On its way to the callbacks what a slot is to play from now on, on its way home what it played before.
#[derive(Debug)]
pub(crate) struct Change {
    slot: usize,
    strip: Option<Box<Strip>>,
}

/// The end of the strips beside the callbacks.
#[derive(Debug)]
pub(crate) struct Slots {
    changes: Lender<Change>,
    peaks: snapshot::Reader<Peaks>,
}

impl Slots {
    /// Has a slot play `strip` from the next callback on, or nothing. False when no callback has run for so long that
    /// there is no room. *Realtime-safe: no.*
    pub(crate) fn give(&mut self, slot: usize, strip: Option<Box<Strip>>) -> bool {
        self.free_returned();
        self.changes.lend(Box::new(Change { slot, strip })).is_ok()
    }

    /// Frees what has come home. *Realtime-safe: no.*
    pub(crate) fn free_returned(&mut self) {
        while let Some(change) = self.changes.returned() {
            drop(change);
        }
    }

    pub(crate) fn peaks(&self) -> Peaks {
        self.peaks.read()
    }
}

/// The callbacks' end.
#[derive(Debug)]
pub(crate) struct Mixer {
    setup: Setup,
    changes: Borrower<Change>,
    strips: Vec<Option<Box<Strip>>>,
    /// One stream's frames of a piece.
    stream: Scratch,
    mix: Vec<Vec<f32>>,
    score: Score,
    meter: Meter,
    peaks: snapshot::Writer<Peaks>,
    glide: u32,
}

/// Which outputs something was written into.
#[derive(Clone, Copy, Debug, Default)]
struct Filled {
    mix: bool,
    own: [bool; OUTPUTS as usize],
}

/// Both ends, every slot empty. *Realtime-safe: no.*
pub(crate) fn mixer(setup: &Setup) -> (Slots, Mixer) {
    let (lender, borrower) = loan(CHANGES);
    let (writer, reader) = snapshot::snapshot(Peaks::default());
    let stream = Scratch::new(setup);
    let mixer = Mixer {
        setup: *setup,
        changes: borrower,
        strips: (0..STRIPS).map(|_| None).collect(),
        mix: stream.channels().to_vec(),
        stream,
        score: Score::new(),
        meter: Meter::new(setup.sample_rate),
        peaks: writer,
        glide: setup.sample_rate.hz() / 1_000 * GLIDE_MS,
    };
    (Slots { changes: lender, peaks: reader }, mixer)
}

impl Mixer {
    /// The host's block in pieces that fit.
    pub(crate) fn pieces(&self, frames: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        self.stream.pieces(frames)
    }

    /// The mix of the last piece.
    pub(crate) fn mix(&self) -> &[Vec<f32>] {
        &self.mix
    }

    /// Plays a piece of the host's block into the mix and the outputs of streams by themselves: every sample of both is
    /// written. *Realtime-safe: yes.*
    pub(crate) fn play(
        &mut self,
        callback: &Callback<'_>,
        piece: &Range<usize>,
        params: &ReceiveParams,
        own: &mut [Buffer<'_>],
        merge: &mut Merge<'_, impl Notes>,
    ) {
        let mut filled = Filled::default();
        if piece.start == 0 {
            self.take_over(callback, piece, own, &mut filled, merge);
        }
        let separate = params.outputs.value() == Outputs::Separate;
        let offset = u32::try_from(piece.start).unwrap_or(u32::MAX);
        for slot in 0..self.strips.len() {
            let Some(strip) = &mut self.strips[slot] else { continue };
            strip.set(settings::playout(params, &self.setup, strip.plan.read(), strip.timing.bars()));
            strip.playout.set_session_line(strip.timing.line());
            strip.follow(separate, own.len().min(usize::from(OUTPUTS)), self.glide);
            let score = &mut self.score;
            self.stream.write(piece.len(), |slices| {
                strip.playout.process(callback, slices, |at, body| {
                    score.note(offset.saturating_add(at), body, merge);
                });
                if let Some(player) = &mut strip.player {
                    player.play(slices);
                }
            });
            sum(strip, &self.stream, piece, &mut self.mix, own, &mut filled);
            strip.advance(piece.len());
        }
        self.score.play(merge);
        self.finish(piece, own, filled);
    }

    /// What is replaced fades out within this piece, and its notes end.
    fn take_over(
        &mut self,
        callback: &Callback<'_>,
        piece: &Range<usize>,
        own: &mut [Buffer<'_>],
        filled: &mut Filled,
        merge: &mut Merge<'_, impl Notes>,
    ) {
        // Counted, for a giver could go on giving meanwhile.
        for _ in 0..CHANGES {
            let Some(mut change) = self.changes.take() else { break };
            if let Some(place) = self.strips.get_mut(change.slot) {
                std::mem::swap(place, &mut change.strip);
            }
            if let Some(old) = &mut change.strip {
                // Its events of this block would end at once: only its sound fades.
                self.stream.write(piece.len(), |slices| old.playout.process(callback, slices, |_, _| ()));
                self.stream.fade_out(piece.len(), self.setup.sample_rate.hz());
                sum(old, &self.stream, piece, &mut self.mix, own, filled);
                let score = &mut self.score;
                old.playout.stop(callback, |offset, body| score.note(offset, body, merge));
            }
            self.changes.send_home(change);
        }
    }

    /// Silence where nothing played, and the meter of what did.
    fn finish(&mut self, piece: &Range<usize>, own: &mut [Buffer<'_>], filled: Filled) {
        self.meter.fall(piece.len());
        for (index, channel) in self.mix.iter_mut().enumerate() {
            let samples = &mut channel[..piece.len()];
            if filled.mix {
                self.meter.rise(index, samples);
            } else {
                samples.fill(0.0);
            }
        }
        self.peaks.write(self.meter.peaks());
        for (index, output) in own.iter_mut().enumerate() {
            if !filled.own.get(index).is_some_and(|filled| *filled) {
                for channel in output.as_slice() {
                    if let Some(samples) = channel.get_mut(piece.clone()) {
                        samples.fill(0.0);
                    }
                }
            }
        }
    }
}

/// Adds what a strip played of a piece to the mix and to the output of its own.
fn sum(
    strip: &Strip,
    stream: &Scratch,
    piece: &Range<usize>,
    mix: &mut [Vec<f32>],
    own: &mut [Buffer<'_>],
    filled: &mut Filled,
) {
    let channels = stream.channels().len();
    // Channels have gains of their own: where one is silent and another is not, both have to be there.
    let is_heard = (0..channels).any(|channel| is_heard(strip.main(channel, channels)));
    if is_heard {
        for (channel, target) in mix.iter_mut().enumerate() {
            let source = &stream.channels()[channel][..piece.len()];
            put(&mut target[..piece.len()], source, strip.main(channel, channels), !filled.mix);
        }
        filled.mix = true;
    }
    let Some(index) = strip.own_index() else { return };
    let (Some(output), Some(filled)) = (own.get_mut(index), filled.own.get_mut(index)) else { return };
    if (0..channels).any(|channel| self::is_heard(strip.own(channel, channels))) {
        for (channel, target) in output.as_slice().iter_mut().enumerate().take(channels) {
            let source = &stream.channels()[channel][..piece.len()];
            if let Some(target) = target.get_mut(piece.clone()) {
                put(target, source, strip.own(channel, channels), !*filled);
            }
        }
        *filled = true;
    }
}

fn is_heard(gain: &audiocloud_engine::dsp::ramp::Ramp) -> bool {
    !gain.is_resting() || gain.target() != 0.0
}

fn put(target: &mut [f32], source: &[f32], gain: &audiocloud_engine::dsp::ramp::Ramp, is_first: bool) {
    if !add(target, source, gain, is_first) && is_first {
        target.fill(0.0);
    }
}
