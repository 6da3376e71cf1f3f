//! Distortion: five curves, oversampled, with their aliases averaged out.

use audiocloud_dsp::dc_blocker::DcBlocker;
use audiocloud_dsp::delay::Ring;
use audiocloud_dsp::level::gain_from_db;
use audiocloud_dsp::oversampler::{Factor, Oversampler};
use audiocloud_dsp::waveshaper::{Curve, Shaper};

use crate::cut::{Cut, HIGH_CUT_OFF_HZ, LOW_CUT_OFF_HZ, State};
use crate::effect::{Activation, Block, Control, Due, Effect, GRID, GRID_FRAMES, Kind, Tail};
use crate::finite::keep_finite;
use crate::parameter::{Parameter, Unit};

const SORT: usize = 0;
const DRIVE: usize = 1;
const TIGHT: usize = 2;
const TONE: usize = 3;
const OUTPUT: usize = 4;
const MIX: usize = 5;

static PARAMETERS: [Parameter; 6] = [
    Parameter::choice(1, "Sort", &["Classic", "Hard", "Fuzz", "Asymmetric", "Rectifier"], 0),
    Parameter::linear(2, "Drive", Unit::Decibels, 0.0, 40.0, 12.0),
    Parameter::logarithmic(3, "Low cut", Unit::Hertz, LOW_CUT_OFF_HZ, 1000.0, LOW_CUT_OFF_HZ),
    Parameter::logarithmic(4, "Tone", Unit::Hertz, 500.0, HIGH_CUT_OFF_HZ, HIGH_CUT_OFF_HZ),
    Parameter::linear(5, "Output", Unit::Decibels, -36.0, 12.0, -6.0),
    Parameter::linear(6, "Mix", Unit::Percent, 0.0, 100.0, 100.0),
];

/// *Low cut* lies before the curve, *Tone* after it, and an offset that the curve makes is taken out. The curves end at
/// full scale; *Rectifier* does not, which keeps the level and turns the wave upwards, the more sharply the greater the
/// drive.
pub static DISTORTION: Kind = Kind {
    id: "distortion",
    name: "Distortion",
    about: "Five ways to bend a wave, from a warm stage to a rectifier, with hardly an alias",
    parameters: &PARAMETERS,
    side_chain: false,
    oversamples: true,
    latency_frames: |activation| oversampling(activation).1,
    // The offset's end is the slowest: 10 Hz, 100 dB down.
    tail: |activation, _| Tail::Frames(u64::from(activation.frames(250.0) + oversampling(activation).1)),
    make: |activation| Box::new(Distortion::new(activation)),
};

/// Eight times at 48 kHz, and less often where the rate is higher already; and how late that is, in frames.
fn oversampling(activation: &Activation) -> (Factor, u32) {
    match activation.sample_rate.hz() {
        ..64_000 => (Factor::Eight, 85),
        64_000..128_000 => (Factor::Four, 82),
        _ => (Factor::Two, 73),
    }
}

fn curve(choice: usize) -> Curve {
    match choice {
        0 => Curve::Soft,
        1 => Curve::Clip,
        2 => Curve::Fuzz,
        3 => Curve::Asymmetric,
        _ => Curve::Rectifier,
    }
}

const DC_HZ: f64 = 10.0;
/// Of a crossfade from curve to curve, and from one path to the other.
const FADE_FRAMES: u32 = 4 * GRID_FRAMES;
/// How long the oversampler runs unheard before it is heard again: its filters are full then.
const FILLING_FRAMES: u32 = 4 * GRID_FRAMES;

/// Which of the two paths is heard. All counts are frames since the change began, which is at a grid point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Full,
    Plain,
    ToFull(u32),
    ToPlain(u32),
}

impl Path {
    /// How much of the oversampled path is heard, at this frame of a change.
    fn share(self) -> f32 {
        let rising = |frame: u32| frame.min(FADE_FRAMES) as f32 / FADE_FRAMES as f32;
        match self {
            Self::Full => 1.0,
            Self::Plain => 0.0,
            Self::ToFull(frame) => rising(frame.saturating_sub(FILLING_FRAMES)),
            Self::ToPlain(frame) => 1.0 - rising(frame),
        }
    }

    fn advance(&mut self) {
        *self = match *self {
            Self::ToFull(frame) if frame < FILLING_FRAMES + FADE_FRAMES => Self::ToFull(frame + 1),
            Self::ToPlain(frame) if frame < FADE_FRAMES => Self::ToPlain(frame + 1),
            Self::ToFull(_) => Self::Full,
            Self::ToPlain(_) => Self::Plain,
            resting => resting,
        };
    }
}

/// The two curves of a change, or twice the same.
#[derive(Clone, Copy, Debug)]
struct Pair {
    from: Shaper,
    to: Shaper,
}

impl Pair {
    fn new() -> Self {
        Self { from: Shaper::new(Curve::Soft), to: Shaper::new(Curve::Soft) }
    }

    fn jump(&mut self, curve: Curve) {
        self.to.set_curve(curve);
        self.from = self.to;
    }

    /// `samples` are `factor` for each frame of `drive`; the first is `change` frames after a change began, if there is
    /// one.
    fn process(&mut self, samples: &mut [f32], factor: usize, drive: &[f32], change: Option<u32>) {
        let to_levelled = self.to.curve() == Curve::Rectifier;
        let Some(since) = change else {
            self.to.process(samples);
            if to_levelled {
                level(samples, factor, drive);
            }
            return;
        };
        let from_levelled = self.from.curve() == Curve::Rectifier;
        for ((samples, drive), frame) in samples.chunks_mut(factor).zip(drive).zip(since..) {
            let share = frame.min(FADE_FRAMES) as f32 / FADE_FRAMES as f32;
            for sample in samples {
                let from = self.from.tick(*sample) / if from_levelled { *drive } else { 1.0 };
                let to = self.to.tick(*sample) / if to_levelled { *drive } else { 1.0 };
                *sample = from + share * (to - from);
            }
        }
    }
}

/// Takes back the drive of a rectifier: it is to change the shape, not the level.
fn level(samples: &mut [f32], factor: usize, drive: &[f32]) {
    for (samples, drive) in samples.chunks_mut(factor).zip(drive) {
        samples.iter_mut().for_each(|sample| *sample /= drive);
    }
}

#[derive(Debug)]
struct Channel {
    tight: State,
    oversampler: Oversampler,
    full: Pair,
    plain: Pair,
    /// What makes the plain path, and the dry one, as late as the oversampled.
    plain_late: Ring,
    dry_late: Ring,
    offset: DcBlocker,
    tone: State,
}

#[derive(Debug)]
struct Distortion {
    factor: usize,
    latency_frames: usize,
    control: Control,
    /// What was asked for, and what is so.
    oversamples: bool,
    path: Path,
    change: Option<u32>,
    tight: Cut,
    tone: Cut,
    channels: Vec<Channel>,
}

impl Distortion {
    fn new(activation: &Activation) -> Self {
        let rate_hz = activation.rate_hz();
        let (factor, latency_frames) = oversampling(activation);
        let ring = || Ring::new(latency_frames as usize + GRID);
        let channel = || Channel {
            tight: State::default(),
            oversampler: Oversampler::new(factor, GRID),
            full: Pair::new(),
            plain: Pair::new(),
            plain_late: ring(),
            dry_late: ring(),
            offset: DcBlocker::new(DC_HZ, rate_hz),
            tone: State::default(),
        };
        Self {
            factor: factor.get(),
            latency_frames: latency_frames as usize,
            control: Control::default(),
            oversamples: true,
            path: Path::Full,
            change: None,
            tight: Cut::low(rate_hz),
            tone: Cut::high(rate_hz),
            channels: (0..activation.width()).map(|_| channel()).collect(),
        }
    }

    fn control(&mut self, block: &Block<'_, '_>, due: Due) {
        self.tight.set(block.value(TIGHT), due);
        self.tone.set(block.value(TONE), due);
        let wanted = curve(block.choice(SORT));
        if due == Due::First {
            self.path = if self.oversamples { Path::Full } else { Path::Plain };
            self.change = None;
            self.channels.iter_mut().for_each(|channel| {
                channel.full.jump(wanted);
                channel.plain.jump(wanted);
            });
            return;
        }
        self.change = self.change.filter(|frame| *frame < FADE_FRAMES);
        let is = self.channels.first().map_or(wanted, |channel| channel.full.to.curve());
        if self.change.is_none() && is != wanted {
            self.change = Some(0);
            for pair in self.channels.iter_mut().flat_map(|channel| [&mut channel.full, &mut channel.plain]) {
                pair.from = pair.to;
                pair.to.set_curve(wanted);
            }
        }
        self.path = match (self.path, self.oversamples) {
            (Path::Full, false) => Path::ToPlain(0),
            (Path::Plain, true) => {
                for channel in &mut self.channels {
                    channel.oversampler.reset();
                    channel.full = channel.plain;
                }
                Path::ToFull(0)
            }
            (path, _) => path,
        };
    }
}

/// What is the same for all channels in a block.
struct Moment<'a> {
    frames: usize,
    drive: &'a [f32],
    shares: &'a [f32],
    path: Path,
    change: Option<u32>,
    factor: usize,
    latency_frames: usize,
}

impl Channel {
    /// `wet`, bent and late, by one path or by both.
    fn bend(&mut self, wet: &mut [f32], moment: &Moment<'_>) {
        let mut plain = [0.0; GRID];
        let plain = &mut plain[..moment.frames];
        for (sample, drive) in wet.iter_mut().zip(moment.drive) {
            *sample *= drive;
        }
        // The plain path's delay is kept filled, lest it begin with what is long past.
        self.plain_late.write(wet);
        if moment.path != Path::Full {
            self.plain_late.read_back(moment.latency_frames + moment.frames, plain);
            self.plain.process(plain, 1, moment.drive, moment.change);
        }
        if moment.path != Path::Plain {
            let Self { oversampler, full, .. } = self;
            // A block is never longer than the oversampler takes at once.
            oversampler
                .process(wet, |samples| full.process(samples, moment.factor, moment.drive, moment.change));
        }
        for ((wet, plain), share) in wet.iter_mut().zip(plain).zip(moment.shares) {
            let both = *plain + share * (*wet - *plain);
            // Exactly the one, where only the one is heard.
            *wet = match moment.path {
                Path::Full => *wet,
                Path::Plain => *plain,
                _ => both,
            };
        }
    }
}

impl Effect for Distortion {
    fn process(&mut self, block: &mut Block<'_, '_>) {
        if let Some(due) = self.control.due(block) {
            self.control(block, due);
        }
        let frames = block.frames();
        let fill = |place: usize, is_level: bool| {
            let mut values = [0.0; GRID];
            let ramp = block.ramp(place);
            if is_level && ramp.is_resting() {
                values.fill(gain_from_db(ramp.value()));
            } else {
                ramp.fill(&mut values[..frames]);
                if is_level {
                    values[..frames].iter_mut().for_each(|db| *db = gain_from_db(*db));
                }
            }
            values
        };
        let (drive, output, mix) = (fill(DRIVE, true), fill(OUTPUT, true), fill(MIX, false));
        let path = self.path;
        let mut shares = [0.0; GRID];
        for share in &mut shares[..frames] {
            *share = self.path.share();
            self.path.advance();
        }
        let moment = Moment {
            frames,
            drive: &drive[..frames],
            shares: &shares[..frames],
            path,
            change: self.change,
            factor: self.factor,
            latency_frames: self.latency_frames,
        };
        let offset = block.offset() as f32;
        let progress: [f32; GRID] = std::array::from_fn(|frame| (offset + frame as f32) / GRID as f32);
        let (mut wet, mut dry) = ([0.0; GRID], [0.0; GRID]);
        let (wet, dry) = (&mut wet[..frames], &mut dry[..frames]);
        for (samples, channel) in block.main.iter_mut().zip(&mut self.channels) {
            keep_finite(samples);
            channel.dry_late.write(samples);
            channel.dry_late.read_back(self.latency_frames + frames, dry);
            for ((wet, sample), progress) in wet.iter_mut().zip(samples.iter()).zip(progress) {
                *wet = self.tight.step(&mut channel.tight, progress, *sample);
            }
            channel.bend(wet, &moment);
            channel.offset.process(wet);
            for (frame, sample) in samples.iter_mut().enumerate() {
                let wet = output[frame] * self.tone.step(&mut channel.tone, progress[frame], wet[frame]);
                *sample = dry[frame] + 0.01 * mix[frame] * (wet - dry[frame]);
            }
        }
        self.change = self.change.map(|frame| frame + u32::try_from(frames).unwrap_or(0));
    }

    fn reset(&mut self) {
        self.control.reset();
        for channel in &mut self.channels {
            channel.tight.reset();
            channel.oversampler.reset();
            channel.full = Pair::new();
            channel.plain = Pair::new();
            channel.plain_late.reset();
            channel.dry_late.reset();
            channel.offset.reset();
            channel.tone.reset();
        }
    }

    fn set_oversampling(&mut self, on: bool) {
        self.oversamples = on;
    }
}

#[cfg(test)]
#[path = "distortion/tests.rs"]
mod tests;
