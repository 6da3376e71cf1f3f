//! Chorus: three voices, each a copy that a slow oscillation delays more and less.
//!
//! Jon Dattorro, *Effect Design, Part 2: Delay-Line Modulation and Chorus*, J. Audio Eng. Soc. 45(10), 1997.

use audiocloud_dsp::delay::{Delay, Interpolation};
use audiocloud_dsp::lfo::{self, Lfo};

use crate::cut::{Cut, HIGH_CUT_OFF_HZ, LOW_CUT_OFF_HZ, State};
use crate::dip::Dip;
use crate::effect::{Activation, Block, CHANNELS_MAX, Control, Due, Effect, GRID, Kind, Tail};
use crate::finite::keep_finite;
use crate::parameter::{Parameter, Unit};

const VOICES: usize = 3;
/// Three voices that are not alike are together as loud as one.
const VOICE_GAIN: f32 = 0.577_350_3;
/// The interpolation reads one sample on the near side, and the loop of feedback is one frame long already.
const DELAY_FRAMES_MIN: f64 = 2.0;

const RATE: usize = 0;
const DEPTH: usize = 1;
const DELAY: usize = 2;
const FEEDBACK: usize = 3;
const SHAPE: usize = 4;
const SPREAD: usize = 5;
const LOW_CUT: usize = 6;
const HIGH_CUT: usize = 7;
const MIX: usize = 8;

const DELAY_MS_MAX: f32 = 40.0;
const DEPTH_MS_MAX: f32 = 10.0;

static PARAMETERS: [Parameter; 9] = [
    Parameter::logarithmic(1, "Rate", Unit::Hertz, 0.02, 10.0, 0.6),
    Parameter::linear(2, "Depth", Unit::Milliseconds, 0.0, DEPTH_MS_MAX, 2.0),
    Parameter::logarithmic(3, "Delay", Unit::Milliseconds, 1.0, DELAY_MS_MAX, 12.0),
    Parameter::linear(4, "Feedback", Unit::Percent, -90.0, 90.0, 0.0),
    Parameter::choice(5, "Shape", &["Sine", "Triangle", "Random"], 0),
    Parameter::linear(6, "Spread", Unit::Percent, 0.0, 100.0, 100.0),
    Parameter::logarithmic(7, "Low cut", Unit::Hertz, LOW_CUT_OFF_HZ, 1000.0, LOW_CUT_OFF_HZ),
    Parameter::logarithmic(8, "High cut", Unit::Hertz, 1000.0, HIGH_CUT_OFF_HZ, HIGH_CUT_OFF_HZ),
    Parameter::linear(9, "Mix", Unit::Percent, 0.0, 100.0, 50.0),
];

/// Three voices, a third of a turn apart; *Spread* puts those of the right channel between those of the left one.
/// *Depth* is how far a voice goes from *Delay* to either side, and never further than to nothing. *Shape* changes in a dip.
pub static CHORUS: Kind = Kind {
    id: "chorus",
    name: "Chorus",
    about: "Three voices around a moving delay: wide, thick, or flanging with feedback",
    parameters: &PARAMETERS,
    side_chain: false,
    oversamples: false,
    latency_frames: |_| 0,
    tail: |activation, values| {
        let value = |place: usize| f64::from(values.get(place).copied().unwrap_or(0.0));
        let longest = f64::from(activation.frames(value(DELAY) + value(DELAY).min(value(DEPTH)))) + 2.0;
        let feedback = value(FEEDBACK).abs() / 100.0;
        // −100 dB is a factor of 10⁻⁵. The filters take their time too: 20 Hz are a tenth of a second.
        let passes = if feedback > 1e-5 { libm::ceil(libm::log(1e-5) / libm::log(feedback)) } else { 0.0 };
        let filters = f64::from(activation.frames(150.0));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a few million")]
        let frames = (longest * (1.0 + passes) + filters) as u64;
        Tail::Frames(frames)
    },
    make: |activation| Box::new(Chorus::new(activation)),
};

/// One channel.
#[derive(Debug)]
struct Channel {
    line: Delay,
    lfos: [Lfo; VOICES],
    /// The delays in frames at the last grid point, and at the next.
    from: [f64; VOICES],
    to: [f64; VOICES],
    low_cut: State,
    high_cut: State,
}

#[derive(Debug)]
struct Chorus {
    rate_hz: f64,
    control: Control,
    /// In which another shape is taken.
    dip: Dip,
    shape: lfo::Shape,
    channels: Vec<Channel>,
    low_cut: Cut,
    high_cut: Cut,
}

impl Chorus {
    fn new(activation: &Activation) -> Self {
        let rate_hz = activation.rate_hz();
        let frames_max = activation.frames(f64::from(DELAY_MS_MAX + DEPTH_MS_MAX)) as usize + 2;
        let channel = || Channel {
            line: Delay::new(frames_max, Interpolation::Cubic),
            lfos: std::array::from_fn(|_| Lfo::new(lfo::Shape::Sine, activation.sample_rate)),
            from: [0.0; VOICES],
            to: [0.0; VOICES],
            low_cut: State::default(),
            high_cut: State::default(),
        };
        Self {
            rate_hz,
            control: Control::default(),
            dip: Dip::new(10.0, rate_hz),
            shape: lfo::Shape::Sine,
            channels: (0..activation.width()).map(|_| channel()).collect(),
            low_cut: Cut::low(rate_hz),
            high_cut: Cut::high(rate_hz),
        }
    }

    /// Sets everything but what is set for each sample, and where the voices will be at the next grid point.
    fn control(&mut self, block: &Block<'_, '_>, due: Due) {
        let value = |place| f64::from(block.value(place));
        self.low_cut.set(block.value(LOW_CUT), due);
        self.high_cut.set(block.value(HIGH_CUT), due);
        let shape = match block.choice(SHAPE) {
            0 => lfo::Shape::Sine,
            1 => lfo::Shape::Triangle,
            _ => lfo::Shape::SmoothRandom,
        };
        if due == Due::First || (shape != self.shape && self.dip.may_jump()) {
            self.shape = shape;
        }
        let (delay_ms, spread) = (value(DELAY), value(SPREAD) / 100.0);
        let depth_ms = value(DEPTH).min(delay_ms);
        for (channel, side) in self.channels.iter_mut().zip([0.0, 1.0]) {
            for (voice, turn) in [0.0, 1.0, 2.0].into_iter().enumerate() {
                let lfo = &mut channel.lfos[voice];
                lfo.set_shape(self.shape);
                lfo.set_frequency_hz(value(RATE));
                lfo.set_phase_offset((turn + 0.5 * side * spread) / 3.0);
                let delay = |lfo: &Lfo| {
                    let ms = delay_ms + depth_ms * f64::from(lfo.value());
                    (ms * self.rate_hz / 1000.0).max(DELAY_FRAMES_MIN)
                };
                channel.from[voice] = if due == Due::First { delay(lfo) } else { channel.to[voice] };
                lfo.advance(GRID as u64);
                channel.to[voice] = delay(lfo);
            }
        }
    }
}

impl Effect for Chorus {
    fn process(&mut self, block: &mut Block<'_, '_>) {
        if let Some(due) = self.control.due(block) {
            self.control(block, due);
        }
        let frames = block.frames();
        let (mut feedback, mut mix) = ([0.0; GRID], [0.0; GRID]);
        block.ramp(FEEDBACK).fill(&mut feedback[..frames]);
        block.ramp(MIX).fill(&mut mix[..frames]);
        let mut gates = [0.0; GRID];
        self.dip.fill(&mut gates[..frames]);
        let offset = block.offset();
        for (samples, channel) in block.main.iter_mut().zip(&mut self.channels) {
            let samples = &mut samples[..frames];
            keep_finite(samples);
            for (frame, sample) in samples.iter_mut().enumerate() {
                let moment = offset + u32::try_from(frame).unwrap_or(0);
                let progress = f64::from(moment) / GRID as f64;
                let mut sum = 0.0;
                for (from, to) in channel.from.iter().zip(&channel.to) {
                    sum += channel.line.read(from + progress * (to - from) - 1.0);
                }
                sum *= gates[frame];
                let fed = feedback[frame] * (0.01 / VOICES as f32) * sum;
                channel.line.write(*sample + fed);
                let progress = moment as f32 / GRID as f32;
                let wet = self.low_cut.step(&mut channel.low_cut, progress, VOICE_GAIN * sum);
                let wet = self.high_cut.step(&mut channel.high_cut, progress, wet);
                *sample += 0.01 * mix[frame] * (wet - *sample);
            }
        }
    }

    fn reset(&mut self) {
        self.control.reset();
        self.dip.reset();
        for channel in &mut self.channels {
            channel.line.reset();
            channel.lfos.iter_mut().for_each(Lfo::reset);
            channel.low_cut.reset();
            channel.high_cut.reset();
        }
    }
}

const _: () = assert!(CHANNELS_MAX == 2, "two sides");

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::stage::Stage;

    /// Where the energy of a few samples is.
    fn centre(samples: &[f32]) -> f64 {
        let (mut moment, mut mass) = (0.0, 0.0);
        for (frame, sample) in samples.iter().enumerate() {
            moment += f64::from(*sample) * frame as f64;
            mass += f64::from(*sample);
        }
        moment / mass
    }

    #[test]
    fn each_voice_is_where_its_oscillation_puts_it() {
        let (rate_hz, depth_ms, delay_ms) = (0.7, 4.0, 20.0);
        for side in 0..2 {
            let mut stage = Stage::new(&CHORUS, 48_000, 2);
            stage.set(&[("Rate", 0.7), ("Depth", 4.0), ("Delay", 20.0), ("Mix", 100.0)]);
            for act in 0..40_u32 {
                let begin = f64::from(act) * 4_800.0;
                let mut input = [vec![0.0; 4_800], vec![0.0; 4_800]];
                input[side][0] = 1.0;
                let output = stage.play(&input);
                let mut expected: Vec<f64> = [0.0, 1.0, 2.0]
                    .iter()
                    .map(|turn| {
                        let offset = (turn + if side == 1 { 0.5 } else { 0.0 }) / 3.0;
                        // Where the reading point meets the impulse: the delay of the frame in which it does.
                        let mut delay = delay_ms * 48.0;
                        for _ in 0..8 {
                            let turns = rate_hz * (begin + delay) / 48_000.0 + offset;
                            delay = 48.0 * (delay_ms + depth_ms * (TAU * turns).sin());
                        }
                        delay
                    })
                    .collect();
                expected.sort_by(f64::total_cmp);
                if expected.windows(2).any(|pair| pair[1] - pair[0] < 40.0) {
                    continue;
                }
                for delay in expected {
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a delay")]
                    let from = delay as usize - 10;
                    let found = from as f64 + centre(&output[side][from..from + 20]);
                    assert!((found - delay).abs() < 0.05, "impulse {act}: {found} for {delay}");
                }
            }
        }
    }

    #[test]
    fn a_voice_that_stands_still_is_a_comb() {
        let mut stage = Stage::new(&CHORUS, 48_000, 1);
        stage.set(&[("Depth", 0.0), ("Delay", 10.0), ("Mix", 100.0), ("Feedback", 50.0)]);
        let mut input = vec![0.0; 4_800];
        input[0] = 1.0;
        let output = stage.play(&[input]);
        for (frame, found) in output[0].iter().enumerate() {
            let echo = i32::try_from(frame / 480).unwrap() - 1;
            let at_echo = frame % 480 == 0 && echo >= 0;
            let expected = if at_echo { 3.0 * VOICE_GAIN * 0.5_f32.powi(echo) } else { 0.0 };
            assert!((found - expected).abs() < 1e-6, "frame {frame}: {found} for {expected}");
        }
    }
}
