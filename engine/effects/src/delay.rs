//! Delay: echoes that are exact, or as circuits and tape made them, or that go from side to side.

use audiocloud_dsp::delay::{Delay as Line, Interpolation};
use audiocloud_dsp::fade::{Curve, gain_in};
use audiocloud_dsp::lfo::{self, Lfo};

use crate::cut::{self, Cut, HIGH_CUT_OFF_HZ, LOW_CUT_OFF_HZ, State};
use crate::dip::Dip;
use crate::effect::{Activation, Block, CHANNELS_MAX, Control, Due, Effect, GRID, Kind, Tail};
use crate::finite::keep_finite;
use crate::parameter::{Parameter, Unit};

const SORT: usize = 0;
const SYNC: usize = 1;
const TIME: usize = 2;
const NOTE: usize = 3;
const FEEDBACK: usize = 4;
const LOW_CUT: usize = 5;
const HIGH_CUT: usize = 6;
const WOBBLE: usize = 7;
const MIX: usize = 8;

/// A synchronised echo that would come later comes after half of its time, or a quarter, and so on.
const TIME_MS_MAX: f64 = 4000.0;
/// Where no host tells its own.
const TEMPO_BPM: f64 = 120.0;

/// The note values, and how many quarter notes each lasts.
const NOTES: [&str; 14] = [
    "1/32",
    "1/16 triplet",
    "1/16",
    "1/8 triplet",
    "1/16 dotted",
    "1/8",
    "1/4 triplet",
    "1/8 dotted",
    "1/4",
    "1/2 triplet",
    "1/4 dotted",
    "1/2",
    "1/2 dotted",
    "1/1",
];
const BEATS: [f64; 14] =
    [0.125, 1.0 / 6.0, 0.25, 1.0 / 3.0, 0.375, 0.5, 2.0 / 3.0, 0.75, 1.0, 4.0 / 3.0, 1.5, 2.0, 3.0, 4.0];

static PARAMETERS: [Parameter; 9] = [
    Parameter::choice(1, "Sort", &["Digital", "Analogue", "Tape", "Ping-pong"], 0),
    Parameter::switch(2, "Sync", false),
    Parameter::logarithmic(3, "Time", Unit::Milliseconds, 1.0, 2000.0, 350.0).without_glide(),
    Parameter::choice(4, "Note", &NOTES, 8),
    Parameter::linear(5, "Feedback", Unit::Percent, 0.0, 100.0, 35.0),
    Parameter::logarithmic(6, "Low cut", Unit::Hertz, LOW_CUT_OFF_HZ, 1000.0, LOW_CUT_OFF_HZ),
    Parameter::logarithmic(7, "High cut", Unit::Hertz, 500.0, HIGH_CUT_OFF_HZ, HIGH_CUT_OFF_HZ),
    Parameter::linear(8, "Wobble", Unit::Percent, 0.0, 100.0, 0.0),
    Parameter::linear(9, "Mix", Unit::Percent, 0.0, 100.0, 30.0),
];

/// Echoes come exactly *Time* after the sound and after each other, to the frame, or after the note value of *Note* at
/// the host's tempo while *Sync* is on. The cuts lie in the loop and are off at the ends of their ranges. *Analogue* is
/// duller the longer its time is, as a chain of buckets is; *Tape* is never bright; both bend what is loud, glide to
/// another time as a motor does, and heed *Wobble*. The other two fade from one time to the other.
pub static DELAY: Kind = Kind {
    id: "delay",
    name: "Delay",
    about: "Echoes: digital, analogue, tape or ping-pong, in time or in tempo",
    parameters: &PARAMETERS,
    side_chain: false,
    oversamples: false,
    latency_frames: |_| 0,
    tail: |activation, values| {
        let value = |place: usize| f64::from(values.get(place).copied().unwrap_or(0.0));
        let feedback = value(FEEDBACK) / 100.0;
        if feedback >= 1.0 {
            return Tail::Infinite;
        }
        // Twice for a ping-pong, whose second echo is the first of its side.
        let echoes =
            if feedback > 1e-5 { libm::ceil(libm::log(1e-5) / libm::log(feedback)) } else { 0.0 } + 2.0;
        let time_ms = if value(SYNC) > 0.5 { TIME_MS_MAX } else { value(TIME) };
        // The cuts ring for a while, and a glide from the longest time lasts.
        let frames = echoes * f64::from(activation.frames(time_ms)) + f64::from(activation.frames(400.0));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hours at most")]
        let frames = frames as u64;
        Tail::Frames(frames)
    },
    make: |activation| Box::new(Delay::new(activation)),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Digital,
    Analogue,
    Tape,
    PingPong,
}

impl Sort {
    fn of(choice: usize) -> Self {
        match choice {
            0 => Self::Digital,
            1 => Self::Analogue,
            2 => Self::Tape,
            _ => Self::PingPong,
        }
    }

    /// Whether it bends, glides and wobbles.
    fn is_worn(self) -> bool {
        matches!(self, Self::Analogue | Self::Tape)
    }

    /// The highest that it lets through, when the echo comes after `seconds`. A bucket brigade of a fixed number of stages
    /// is clocked the slower the longer it is to take: 300 ms leave 3 kHz.
    fn bandwidth_hz(self, seconds: f64) -> f32 {
        match self {
            Self::Analogue => single((900.0 / seconds.max(1e-3)).clamp(1_500.0, 10_000.0)),
            Self::Tape => 9_000.0,
            Self::Digital | Self::PingPong => f32::INFINITY,
        }
    }
}

/// The reading point, in frames behind.
#[derive(Debug, Default)]
struct Head {
    now: f64,
    next: f64,
    /// Frames since it began to fade from `now` to `next`.
    fading: u32,
}

impl Head {
    /// Goes to another time as soon as it has arrived where it was going before.
    fn move_to(&mut self, frames: f64, glides: bool) {
        if glides || self.now == self.next {
            self.next = frames;
        }
    }

    fn jump(&mut self, frames: f64) {
        (self.now, self.next, self.fading) = (frames, frames, 0);
    }

    /// Moves on by a frame, as a motor does.
    fn glide(&mut self, pace: f64) {
        /// Half the speed, or half as fast again.
        const SPEED: f64 = 0.5;
        let way = self.next - self.now;
        self.now = if way.abs() < 1e-3 { self.next } else { self.now + (way * pace).clamp(-SPEED, SPEED) };
    }

    /// How much of the next place is heard already; moves on by a frame.
    fn fade(&mut self, length: u32) -> f32 {
        if self.now == self.next {
            return 0.0;
        }
        let gain = gain_in(Curve::RaisedCosine, self.fading, length);
        self.fading += 1;
        if self.fading > length {
            self.jump(self.next);
        }
        gain
    }
}

/// One channel: its line and its filters.
#[derive(Debug)]
struct Channel {
    line: Line,
    low_cut: State,
    high_cut: State,
}

#[derive(Debug)]
struct Delay {
    activation: Activation,
    control: Control,
    sort: Sort,
    dip: Dip,
    head: Head,
    /// What the filters' own delay and the wobble add to the head's, in frames: at the last grid point, and at the next.
    drift: [f64; 2],
    wow: Lfo,
    flutter: Lfo,
    low_cut: Cut,
    high_cut: Cut,
    /// Of the way to another time that a worn head goes per frame.
    pace: f64,
    fade_frames: u32,
    channels: Vec<Channel>,
}

const WOW: (f64, f64) = (0.55, 1.2);
const FLUTTER: (f64, f64) = (6.1, 0.08);

impl Delay {
    fn new(activation: &Activation) -> Self {
        let rate_hz = activation.rate_hz();
        let oscillator = |hz| {
            let mut lfo = Lfo::new(lfo::Shape::Sine, activation.sample_rate);
            lfo.set_frequency_hz(hz);
            lfo
        };
        let frames_max = activation.frames(TIME_MS_MAX + 2.0 * (WOW.1 + FLUTTER.1)) as usize;
        let channel = || Channel {
            line: Line::new(frames_max, Interpolation::Cubic),
            low_cut: State::default(),
            high_cut: State::default(),
        };
        Self {
            activation: *activation,
            control: Control::default(),
            sort: Sort::Digital,
            dip: Dip::new(10.0, rate_hz),
            head: Head::default(),
            drift: [0.0; 2],
            wow: oscillator(WOW.0),
            flutter: oscillator(FLUTTER.0),
            low_cut: Cut::low(rate_hz),
            high_cut: Cut::high(rate_hz),
            pace: -libm::expm1(-10.0 / rate_hz),
            fade_frames: activation.frames(30.0),
            channels: (0..activation.width()).map(|_| channel()).collect(),
        }
    }

    fn control(&mut self, block: &Block<'_, '_>, due: Due) {
        let sort = Sort::of(block.choice(SORT));
        let frames = f64::from(self.activation.frames(time_ms(block)).max(1));
        if due == Due::First || (sort != self.sort && self.dip.may_jump()) {
            self.sort = sort;
            self.head.jump(frames);
        } else {
            self.head.move_to(frames, self.sort.is_worn());
        }
        self.low_cut.set(block.value(LOW_CUT), due);
        self.high_cut.set(self.high_cut_hz(block), due);
        self.wow.advance(GRID as u64);
        self.flutter.advance(GRID as u64);
        let next = self.drift_frames(block);
        self.drift = [if due == Due::First { next } else { self.drift[1] }, next];
    }

    /// What the high cut and the sort let through, up to this frequency.
    fn high_cut_hz(&self, block: &Block<'_, '_>) -> f32 {
        block.value(HIGH_CUT).min(self.sort.bandwidth_hz(self.head.next / self.activation.rate_hz()))
    }

    /// The wobble, less what the low-pass delays low frequencies by: 1 / (2 Q tan(πf / rate)) frames, after the bilinear
    /// transform. So an echo's weight comes when it should, whatever the filter makes of its shape.
    fn drift_frames(&self, block: &Block<'_, '_>) -> f64 {
        let rate_hz = self.activation.rate_hz();
        let hz = f64::from(self.high_cut_hz(block));
        let late = if self.high_cut.is_on() {
            0.5 / (cut::Q * libm::tan(std::f64::consts::PI * hz / rate_hz))
        } else {
            0.0
        };
        if !self.sort.is_worn() {
            return -late;
        }
        let wobble_ms = WOW.1 * f64::from(self.wow.value()) + FLUTTER.1 * f64::from(self.flutter.value());
        f64::from(block.value(WOBBLE)) / 100.0 * wobble_ms * rate_hz / 1000.0 - late
    }

    /// What each line gives at this frame, filtered; moves the head on.
    fn echoes(&mut self, progress: f64, gate: f32) -> [f32; CHANNELS_MAX] {
        // Read before the frame's own sample is written: one frame less.
        let drift = self.drift[0] + progress * (self.drift[1] - self.drift[0]) - 1.0;
        let worn = self.sort.is_worn();
        let share = if worn { 0.0 } else { self.head.fade(self.fade_frames) };
        let mut echoes = [0.0; CHANNELS_MAX];
        for (echo, channel) in echoes.iter_mut().zip(&mut self.channels) {
            let mut sample = channel.line.read(self.head.now + drift);
            if share > 0.0 {
                sample += share * (channel.line.read(self.head.next + drift) - sample);
            }
            let sample = self.low_cut.step(&mut channel.low_cut, single(progress), sample);
            let sample = self.high_cut.step(&mut channel.high_cut, single(progress), sample);
            *echo = gate * if worn { bent(sample) } else { sample };
        }
        if worn {
            self.head.glide(self.pace);
        }
        echoes
    }
}

/// Bends from full scale on, to +6 dBFS at most.
fn bent(sample: f32) -> f32 {
    sample / (1.0 + 0.25 * sample * sample).sqrt()
}

#[allow(clippy::cast_possible_truncation, reason = "a frequency")]
fn single(value: f64) -> f32 {
    value as f32
}

/// How long an echo takes by the parameters and the host's tempo.
fn time_ms(block: &Block<'_, '_>) -> f64 {
    if !block.is_on(SYNC) {
        return f64::from(block.value(TIME));
    }
    let tempo_bpm = block.transport.map_or(TEMPO_BPM, |transport| transport.tempo_bpm);
    let tempo_bpm = if tempo_bpm.is_finite() { tempo_bpm.clamp(1.0, 1000.0) } else { TEMPO_BPM };
    let beats = BEATS.get(block.choice(NOTE)).copied().unwrap_or(1.0);
    let mut time_ms = beats * 60_000.0 / tempo_bpm;
    // At most six times: four beats at 1 a minute are 240 s.
    while time_ms > TIME_MS_MAX {
        time_ms *= 0.5;
    }
    time_ms
}

impl Effect for Delay {
    fn process(&mut self, block: &mut Block<'_, '_>) {
        if let Some(due) = self.control.due(block) {
            self.control(block, due);
        }
        let frames = block.frames();
        let (mut feedback, mut mix, mut gates) = ([0.0; GRID], [0.0; GRID], [0.0; GRID]);
        block.ramp(FEEDBACK).fill(&mut feedback[..frames]);
        block.ramp(MIX).fill(&mut mix[..frames]);
        self.dip.fill(&mut gates[..frames]);
        for samples in block.main.iter_mut() {
            keep_finite(samples);
        }
        let crosses = self.sort == Sort::PingPong && self.channels.len() == CHANNELS_MAX;
        for (frame, moment) in (0..frames).zip(block.offset()..) {
            let wet = self.echoes(f64::from(moment) / GRID as f64, gates[frame]);
            let fed = wet.map(|echo| 0.01 * feedback[frame] * echo);
            let mut dry = [0.0; CHANNELS_MAX];
            for ((dry, wet), samples) in dry.iter_mut().zip(wet).zip(block.main.iter_mut()) {
                let sample = &mut samples[frame];
                *dry = *sample;
                *sample += 0.01 * mix[frame] * (wet - *sample);
            }
            let written = if crosses {
                [0.5 * (dry[0] + dry[1]) + fed[1], fed[0]]
            } else {
                [dry[0] + fed[0], dry[1] + fed[1]]
            };
            for (channel, sample) in self.channels.iter_mut().zip(written) {
                // An end to what grows with a feedback of 100 %.
                channel.line.write(sample.clamp(-1e6, 1e6));
            }
        }
    }

    fn reset(&mut self) {
        self.control.reset();
        self.dip.reset();
        self.wow.reset();
        self.flutter.reset();
        for channel in &mut self.channels {
            channel.line.reset();
            channel.low_cut.reset();
            channel.high_cut.reset();
        }
    }
}

#[cfg(test)]
#[path = "delay/tests.rs"]
mod tests;
