use audiocloud_units::{Nanos, SampleRate};

use super::buffer::{Buffer, count};

/// Outputs that carry sound; further ones are silent.
pub(super) const OUTPUTS_MAX: usize = 16;

/// Turns the buffer's frames into output. Where every frame is there, they are copied bit for bit; into and out of
/// gaps it fades, and a moved read position is cross-faded, all with raised cosines of at most 4 ms.
#[derive(Debug)]
pub(super) struct Renderer {
    /// Half a raised cosine, above 0 to 1.
    rise: Box<[f32]>,
    level: Level,
    /// The last frame put out, and the one that a tail decays from.
    last: [f32; OUTPUTS_MAX],
    held: [f32; OUTPUTS_MAX],
    /// Frames of the tail so far; none when the table's length is reached.
    tail: usize,
    crossfade: Option<Crossfade>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Silent,
    Rising { frame: usize },
    Full,
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
    pub(super) full: u16,
    /// How many channels are kept; one goes to all outputs.
    pub(super) channels: usize,
    /// The epoch's first frame: a stream heard from its beginning needs no fade.
    pub(super) beginning: Option<u64>,
    /// The first frame that was ever there: before it nothing is missing.
    pub(super) origin: u64,
    /// The end of the newest frame: beyond it nothing has come yet.
    pub(super) newest: u64,
}

/// What a block was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) exact: u64,
    pub(super) faded: u64,
    /// Frames of silence for want of anything.
    pub(super) starved: u64,
    /// Gaps that ended in this block, by why they were.
    pub(super) missing: u64,
    pub(super) unsent: u64,
}

impl Source<'_> {
    /// The kept channel that an output plays.
    fn channel(&self, output: usize) -> Option<usize> {
        match self.channels {
            1 => Some(0),
            channels if output < channels => Some(output),
            _ => None,
        }
    }
}

impl Renderer {
    pub(super) fn new(sample_rate: SampleRate) -> Self {
        let length =
            usize::try_from(Nanos::from_millis(4).to_frames_floor(sample_rate).get()).unwrap_or(0).max(4);
        #[allow(clippy::cast_possible_truncation, reason = "a gain from 0 to 1, rounded to f32")]
        let gain = |frame: usize| {
            let phase = (frame + 1) as f64 / length as f64;
            (0.5 - 0.5 * (std::f64::consts::PI * phase).cos()) as f32
        };
        Self {
            rise: (0..length).map(gain).collect(),
            level: Level::Silent,
            last: [0.0; OUTPUTS_MAX],
            held: [0.0; OUTPUTS_MAX],
            tail: length,
            crossfade: None,
        }
    }

    /// The sound ends here, without a follow-up: what was put out last decays.
    pub(super) fn cut(&mut self) {
        if self.level != Level::Silent {
            self.held = self.last;
            self.tail = 0;
            self.level = Level::Silent;
        }
        self.crossfade = None;
    }

    /// Nothing sounds, nothing decays.
    pub(super) fn reset(&mut self) {
        self.level = Level::Silent;
        self.tail = self.rise.len();
        self.crossfade = None;
        self.last = [0.0; OUTPUTS_MAX];
    }

    /// The read position moves away from `from`: fade over from there as far as frames are there.
    pub(super) fn jump(&mut self, buffer: &Buffer, from: u64, full: u16) {
        let length = buffer.run(from, self.rise.len(), full);
        let is_steady = self.level == Level::Full && self.crossfade.is_none();
        if is_steady && length * 4 >= self.rise.len() {
            self.crossfade = Some(Crossfade { from, frame: 0, length });
        } else if self.level != Level::Silent {
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
        let mut done = 0;
        while done < frames {
            let position = source.read + count(done);
            let run = source.buffer.run(position, frames - done, source.full);
            if run > 0 {
                let lost = std::mem::take(gap);
                if source.buffer.is_break(position) {
                    rendered.unsent += lost;
                } else {
                    rendered.missing += lost;
                }
                self.play(source, done, run, done + run < frames, output, &mut rendered);
                done += run;
            } else {
                let absent = source.buffer.gap(position, frames - done, source.full);
                self.decay(done, absent, output, &mut rendered);
                let end = position + count(absent);
                *gap += end.saturating_sub(position.max(source.origin));
                rendered.starved += end.saturating_sub(position.max(source.newest).max(source.origin));
                done += absent;
            }
        }
        rendered
    }

    fn is_exact(&self) -> bool {
        self.level == Level::Full && self.crossfade.is_none() && self.tail == self.rise.len()
    }

    /// Puts out `run` frames that are there; `before_gap` says that the next one is not.
    fn play<C: AsMut<[f32]>>(
        &mut self,
        source: &Source<'_>,
        done: usize,
        run: usize,
        before_gap: bool,
        output: &mut [C],
        rendered: &mut Rendered,
    ) {
        let position = source.read + count(done);
        if self.level == Level::Silent {
            let from_the_beginning = source.beginning == Some(position) && self.tail == self.rise.len();
            self.level = if from_the_beginning { Level::Full } else { Level::Rising { frame: 0 } };
        }
        // Half of the table is enough for the way out; a shorter run is cut instead.
        let fall = self.rise.len() / 2;
        let falls = before_gap && self.level == Level::Full && run >= fall;
        let plain_end = if falls { run - fall } else { run };
        let mut frame = 0;
        while frame < plain_end && !self.is_exact() {
            self.mix_frame(source, done + frame, output);
            frame += 1;
        }
        rendered.faded += count(frame);
        if frame < plain_end {
            self.copy(source, done + frame, plain_end - frame, output);
            rendered.exact += count(plain_end - frame);
        }
        for left in (0..run - plain_end).rev() {
            self.mix_frame(source, done + run - 1 - left, output);
            self.scale_frame(done + run - 1 - left, self.rise[(2 * left).min(self.rise.len() - 1)], output);
            rendered.faded += 1;
        }
        if falls {
            self.level = Level::Silent;
            self.crossfade = None;
        } else if before_gap {
            self.cut();
        }
    }

    /// The steady state: bit for bit.
    fn copy<C: AsMut<[f32]>>(&mut self, source: &Source<'_>, done: usize, frames: usize, output: &mut [C]) {
        for (index, slice) in output.iter_mut().enumerate() {
            let slice = &mut slice.as_mut()[done..done + frames];
            match source.channel(index).filter(|_| index < OUTPUTS_MAX) {
                Some(channel) => {
                    source.buffer.copy_out(channel, source.read + count(done), slice);
                    self.last[index] = slice.last().copied().unwrap_or(0.0);
                }
                None => slice.fill(0.0),
            }
        }
    }

    /// One frame with whatever fades are going on, and their clocks one further.
    fn mix_frame<C: AsMut<[f32]>>(&mut self, source: &Source<'_>, done: usize, output: &mut [C]) {
        let position = source.read + count(done);
        let length = self.rise.len();
        let gain = match self.level {
            Level::Silent => 0.0,
            Level::Rising { frame } => self.rise[frame],
            Level::Full => 1.0,
        };
        let tail = if self.tail < length { self.rise[length - 1 - self.tail] } else { 0.0 };
        let crossfade = self.crossfade.map(|fade| (fade.from, self.rise[fade.frame * length / fade.length]));
        for (index, slice) in output.iter_mut().enumerate() {
            let slot = &mut slice.as_mut()[done];
            let Some(channel) = source.channel(index).filter(|_| index < OUTPUTS_MAX) else {
                *slot = 0.0;
                continue;
            };
            let mut sample = source.buffer.sample(channel, position);
            if let Some((from, rise)) = crossfade {
                let old = source.buffer.sample(channel, from);
                sample = old + (sample - old) * rise;
            }
            *slot = sample * gain + self.held[index] * tail;
            self.last[index] = *slot;
        }
        self.step();
    }

    fn step(&mut self) {
        let length = self.rise.len();
        self.tail = (self.tail + 1).min(length);
        if let Level::Rising { frame } = self.level {
            self.level = if frame + 1 < length { Level::Rising { frame: frame + 1 } } else { Level::Full };
        }
        self.crossfade = self.crossfade.and_then(|fade| {
            let next = Crossfade { from: fade.from + 1, frame: fade.frame + 1, ..fade };
            (next.frame < next.length).then_some(next)
        });
    }

    fn scale_frame<C: AsMut<[f32]>>(&mut self, done: usize, gain: f32, output: &mut [C]) {
        for (index, slice) in output.iter_mut().enumerate().take(OUTPUTS_MAX) {
            let slot = &mut slice.as_mut()[done];
            *slot *= gain;
            self.last[index] = *slot;
        }
    }

    /// Puts out `frames` frames that are not there: what sounded decays, and then silence.
    fn decay<C: AsMut<[f32]>>(
        &mut self,
        done: usize,
        frames: usize,
        output: &mut [C],
        rendered: &mut Rendered,
    ) {
        self.cut();
        let length = self.rise.len();
        let decaying = (length - self.tail).min(frames);
        for (index, slice) in output.iter_mut().enumerate() {
            let slice = &mut slice.as_mut()[done..done + frames];
            let held = self.held.get(index).copied().unwrap_or(0.0);
            let falling = self.rise[..length - self.tail].iter().rev();
            for (slot, gain) in slice.iter_mut().zip(falling) {
                // The table's last gain is 1: begin below it.
                *slot = held * gain;
            }
            slice[decaying..].fill(0.0);
            if let Some(last) = self.last.get_mut(index) {
                *last = slice.last().copied().unwrap_or(0.0);
            }
        }
        self.tail += decaying;
        rendered.faded += count(decaying);
    }
}
