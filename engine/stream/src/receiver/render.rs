use std::array;

use audiocloud_dsp::concealment::Concealer;
use audiocloud_dsp::resampler::{self, Quality, Resampler};
use audiocloud_units::{Nanos, SampleRate};

use super::buffer::{Buffer, CHANNELS_MAX, count};

/// Frames read from the buffer at once: enough for [`OUTPUTS`] at the greatest ratio, and the longest filter.
const CHUNK: usize = 2_048;
/// Frames resampled at once.
const OUTPUTS: usize = 128;

/// Turns the buffer's frames into output. Where every frame is there and the clocks are one, they are copied bit for
/// bit. A gap is filled with what the sound was about to do; a moved read position is cross-faded; other clocks and rates
/// are resampled.
#[derive(Debug)]
pub(super) struct Renderer {
    ours: SampleRate,
    concealer: Concealer,
    /// Half a raised cosine, above 0 to 1.
    rise: Box<[f32]>,
    crossfade: Option<Crossfade>,
    /// For rates up to ours, and for the one above that was foreseen.
    narrow: Resampler,
    wide: Option<(SampleRate, Resampler)>,
    way: Way,
    /// What was read, a row for each channel, and what became of it.
    read: Box<[Box<[f32]>]>,
    resampled: Box<[Box<[f32]>]>,
}

/// What the frames go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Exact,
    Narrow,
    Wide,
}

#[derive(Clone, Copy, Debug)]
struct Crossfade {
    /// The next frame at the old position.
    from: u64,
    frame: usize,
    length: usize,
}

/// What is to be rendered from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) buffer: &'a Buffer,
    /// The position of the block's first frame.
    pub(super) read: u64,
    /// The channels that a frame needs to be complete.
    pub(super) full: u64,
    /// How many channels are kept; one goes to all outputs.
    pub(super) channels: usize,
    /// The epoch's first frame: a stream heard from its beginning needs no fade.
    pub(super) beginning: Option<u64>,
    /// The first frame that was ever there: before it nothing is missing.
    pub(super) origin: u64,
    /// The end of the newest frame: beyond it nothing has come yet.
    pub(super) newest: u64,
}

/// What a block was made of, in frames of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rendered {
    /// How many were read.
    pub(super) read: u64,
    /// As they came, bit for bit unless they were resampled.
    pub(super) exact: u64,
    pub(super) faded: u64,
    /// Filled, and how often that began.
    pub(super) concealed: u64,
    pub(super) concealments: u64,
    /// For want of anything newer.
    pub(super) starved: u64,
    /// Gaps that ended in this block, by why they were.
    pub(super) missing: u64,
    pub(super) unsent: u64,
}

impl Renderer {
    /// For so many channels of streams of our rate or lower ones, and of one foreseen rate that may be higher.
    pub(super) fn new(ours: SampleRate, channels: usize, foreseen: Option<SampleRate>) -> Self {
        let length = usize::try_from(Nanos::from_millis(4).to_frames_floor(ours).get()).unwrap_or(0).max(4);
        #[allow(clippy::cast_possible_truncation, reason = "a gain from 0 to 1, rounded to f32")]
        let gain = |frame: usize| {
            let phase = (frame + 1) as f64 / length as f64;
            (0.5 - 0.5 * libm::cos(std::f64::consts::PI * phase)) as f32
        };
        let resampler = |input_per_output_max| {
            Resampler::new(channels, resampler::Config { quality: Quality::High, input_per_output_max })
        };
        let above = foreseen.filter(|theirs| theirs.hz() > ours.hz());
        let rows = |frames: usize| (0..channels).map(|_| vec![0.0; frames].into_boxed_slice()).collect();
        let mut concealer = Concealer::new(channels, ours);
        concealer.silence();
        Self {
            ours,
            concealer,
            rise: (0..length).map(gain).collect(),
            crossfade: None,
            narrow: resampler(1.0),
            wide: above.map(|theirs| (theirs, resampler(f64::from(theirs.hz()) / f64::from(ours.hz())))),
            way: Way::Exact,
            read: rows(CHUNK),
            resampled: rows(OUTPUTS),
        }
    }

    /// Whether a stream of this rate can be played.
    pub(super) fn can_play(&self, theirs: SampleRate) -> bool {
        theirs.hz() <= self.ours.hz() || self.wide.as_ref().is_some_and(|(rate, _)| *rate == theirs)
    }

    /// The sound ends here, without a follow-up: it dies away, and what is played next is faded in.
    pub(super) fn cut(&mut self) {
        self.concealer.break_off();
        self.crossfade = None;
    }

    /// Nothing sounds, nothing decays.
    pub(super) fn reset(&mut self) {
        self.concealer.silence();
        self.crossfade = None;
        self.narrow.reset();
        if let Some((_, wide)) = &mut self.wide {
            wide.reset();
        }
    }

    /// A stream of this rate begins: as it is, if the rate is ours. Whether it is resampled.
    pub(super) fn begin(&mut self, theirs: SampleRate) -> bool {
        self.way = match theirs.hz() {
            hz if hz == self.ours.hz() => Way::Exact,
            hz if hz < self.ours.hz() => Way::Narrow,
            _ => Way::Wide,
        };
        if let Some(resampler) = self.resampler() {
            resampler.reset();
        }
        self.is_resampling()
    }

    /// Resamples from the first frame on, also where the rates are one. For the time before anything is heard.
    pub(super) fn resample(&mut self) {
        if self.way == Way::Exact {
            self.way = Way::Narrow;
            self.narrow.reset();
            self.narrow.set_ratio(1.0);
        }
    }

    pub(super) fn is_resampling(&self) -> bool {
        self.way != Way::Exact
    }

    /// How many frames of the future it takes to resample a stream of our rate.
    pub(super) fn look_ahead(&self) -> u64 {
        count(self.narrow.latency_frames())
    }

    /// Whether frames are put out as they are read.
    pub(super) fn is_steady(&self) -> bool {
        self.crossfade.is_none() && !self.concealer.is_concealing()
    }

    /// From now on the stream is resampled, from `position` on, which is heard next; the filter's frames on both sides of
    /// it are there. Returns the position to read on from.
    pub(super) fn engage(&mut self, buffer: &Buffer, position: u64, channels: usize) -> u64 {
        self.way = Way::Narrow;
        self.narrow.reset();
        self.narrow.set_ratio(1.0);
        let half = self.narrow.latency_frames();
        let first = position.saturating_sub(count(half));
        let channels = channels.min(self.read.len());
        for (channel, row) in self.read.iter_mut().enumerate().take(channels) {
            buffer.copy_out(channel, first, &mut row[..2 * half]);
        }
        // Its outputs for the frames already heard, which nobody hears again.
        let Self { narrow, read, resampled, .. } = self;
        let (mut from, mut left) = (0, 2 * half);
        while left > 0 {
            let frames = left.min(OUTPUTS);
            let (consumed, produced) = resample(narrow, read, from..2 * half, resampled, frames, channels);
            (from, left) = (from + consumed, left - produced.max(1));
        }
        first + count(2 * half)
    }

    fn resampler(&mut self) -> Option<&mut Resampler> {
        match self.way {
            Way::Exact => None,
            Way::Narrow => Some(&mut self.narrow),
            Way::Wide => self.wide.as_mut().map(|(_, resampler)| resampler),
        }
    }

    /// Frames of the stream for each of ours, while it is resampled.
    pub(super) fn set_ratio(&mut self, ratio: f64) {
        if let Some(resampler) = self.resampler() {
            resampler.set_ratio(ratio);
        }
    }

    /// How far the read position is ahead of the one that is heard.
    pub(super) fn pending(&self) -> f64 {
        match self.way {
            Way::Exact => 0.0,
            Way::Narrow => self.narrow.pending_frames(),
            Way::Wide => self.wide.as_ref().map_or(0.0, |(_, resampler)| resampler.pending_frames()),
        }
    }

    /// Frames of a cross-fade.
    pub(super) fn crossfade_frames(&self) -> usize {
        self.rise.len()
    }

    /// The read position moves away from `from`: fade over from there as far as frames are there.
    pub(super) fn jump(&mut self, buffer: &Buffer, from: u64, full: u64) {
        let length = buffer.run(from, self.rise.len(), full);
        if self.is_steady() && length * 4 >= self.rise.len() {
            self.crossfade = Some(Crossfade { from, frame: 0, length });
        } else if !self.concealer.is_silent() {
            self.cut();
        }
    }

    /// Writes every sample of `output`, whose channels have `frames` frames. `gap` counts the frames of the gap that
    /// the stream is in, from block to block.
    pub(super) fn render<C: AsMut<[f32]>>(
        &mut self,
        source: &Source<'_>,
        frames: usize,
        output: &mut [C],
        gap: &mut u64,
    ) -> Rendered {
        let mut rendered = Rendered::default();
        let channels = source.channels.min(self.read.len());
        let mut done = 0;
        while done < frames {
            let position = source.read + rendered.read;
            if self.is_resampling() {
                let outputs = (frames - done).min(OUTPUTS);
                let needed = self.resampler().map_or(0, |one| one.frames_needed(outputs)).min(CHUNK);
                self.read(source, position, needed, gap, &mut rendered);
                let Self { narrow, wide, way, read, resampled, .. } = self;
                let resampler = match (way, wide) {
                    (Way::Wide, Some((_, wide))) => wide,
                    _ => narrow,
                };
                resample(resampler, read, 0..needed, resampled, outputs, channels);
                map(&self.resampled, channels, outputs, output, done);
                done += outputs;
            } else {
                let length = (frames - done).min(CHUNK);
                self.read(source, position, length, gap, &mut rendered);
                map(&self.read, channels, length, output, done);
                done += length;
            }
        }
        rendered
    }

    /// Reads `frames` frames into the rows, gaps filled.
    fn read(
        &mut self,
        source: &Source<'_>,
        position: u64,
        frames: usize,
        gap: &mut u64,
        rendered: &mut Rendered,
    ) {
        let mut done = 0;
        while done < frames {
            let position = position + count(done);
            let run = source.buffer.run(position, frames - done, source.full);
            if run > 0 {
                let lost = std::mem::take(gap);
                if source.buffer.is_break(position) {
                    rendered.unsent += lost;
                } else {
                    rendered.missing += lost;
                }
                self.play(source, position, done, run, rendered);
                done += run;
            } else {
                let absent = source.buffer.gap(position, frames - done, source.full);
                self.conceal(done, absent, rendered);
                let end = position + count(absent);
                *gap += end.saturating_sub(position.max(source.origin));
                rendered.starved += end.saturating_sub(position.max(source.newest).max(source.origin));
                done += absent;
            }
        }
        rendered.read += count(frames);
    }

    fn play(&mut self, source: &Source<'_>, position: u64, done: usize, run: usize, rendered: &mut Rendered) {
        if self.concealer.is_silent() && source.beginning == Some(position) {
            self.concealer.reset();
        }
        let channels = source.channels.min(self.read.len());
        for (channel, row) in self.read.iter_mut().enumerate().take(channels) {
            source.buffer.copy_out(channel, position, &mut row[done..done + run]);
        }
        let mut faded = 0;
        if let Some(fade) = self.crossfade {
            faded = run.min(fade.length - fade.frame);
            let gain = |frame: usize| self.rise[(fade.frame + frame) * self.rise.len() / fade.length];
            for (channel, row) in self.read.iter_mut().enumerate().take(channels) {
                for (frame, slot) in row[done..done + faded].iter_mut().enumerate() {
                    let old = source.buffer.sample(channel, fade.from + count(frame));
                    *slot = old + (*slot - old) * gain(frame);
                }
            }
            let frame = fade.frame + faded;
            let next = Crossfade { from: fade.from + count(faded), frame, ..fade };
            self.crossfade = (frame < fade.length).then_some(next);
        }
        if self.concealer.is_concealing() {
            faded = faded.max(run.min(self.rise.len()));
        }
        self.concealer.play(&mut self.read[..channels], done..done + run);
        rendered.faded += count(faded);
        rendered.exact += count(run - faded);
    }

    fn conceal(&mut self, done: usize, absent: usize, rendered: &mut Rendered) {
        let is_heard = !self.concealer.is_silent();
        rendered.concealments += u64::from(is_heard && !self.concealer.is_concealing());
        self.crossfade = None;
        self.concealer.conceal(&mut self.read, done..done + absent);
        if is_heard {
            rendered.concealed += count(absent);
        }
    }
}

/// Rows `inputs`, frames `span`, into so many frames of the rows `outputs`; the frames consumed and produced.
fn resample(
    resampler: &mut Resampler,
    inputs: &[Box<[f32]>],
    span: std::ops::Range<usize>,
    outputs: &mut [Box<[f32]>],
    frames: usize,
    channels: usize,
) -> (usize, usize) {
    let from: [&[f32]; CHANNELS_MAX] =
        array::from_fn(|channel| inputs.get(channel).map_or(&[][..], |row| &row[span.clone()]));
    let mut rows = outputs.iter_mut();
    let mut to: [&mut [f32]; CHANNELS_MAX] =
        array::from_fn(|_| rows.next().map_or(&mut [][..], |row| &mut row[..frames]));
    resampler.process(&from[..channels], &mut to[..channels])
}

/// Rows to outputs: one channel goes to all, else each to its own; outputs beyond them are silent.
fn map<C: AsMut<[f32]>>(rows: &[Box<[f32]>], channels: usize, frames: usize, output: &mut [C], done: usize) {
    for (index, slice) in output.iter_mut().enumerate() {
        let slice = &mut slice.as_mut()[done..done + frames];
        let row = match channels {
            1 => rows.first(),
            channels => rows.get(index).filter(|_| index < channels),
        };
        match row {
            Some(row) => slice.copy_from_slice(&row[..frames]),
            None => slice.fill(0.0),
        }
    }
}
