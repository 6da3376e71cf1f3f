//! Limiter: true look-ahead, and a ceiling for the true peak.
//!
//! The peaks between the samples are found by oversampling (ITU-R BS.1770-5, Annex 2, as in
//! [`audiocloud_dsp::true_peak`]). The gain that each needs is held for as long as the look-ahead, let go by the release,
//! and smoothed by two moving averages that together are as long as the look-ahead: so it has come down, without a
//! corner, when the peak arrives. An average of gains none of which is too high is not too high: that is why no peak
//! gets through. The averages count in whole numbers, so they neither drift nor depend on what was before.

use audiocloud_dsp::delay::Ring;
use audiocloud_dsp::maximum::Maximum;
use audiocloud_dsp::octave::{exp2, log2};
use audiocloud_dsp::true_peak::Crests;

use crate::decibels;
use crate::effect::{Activation, Block, CHANNELS_MAX, Control, Effect, GRID, Kind, Tail};
use crate::key::left_per_frame;
use crate::parameter::{Parameter, Unit};

/// Of the list.
pub static LIMITER: Kind = Kind {
    id: "limiter",
    name: "Limiter",
    about: "Lets nothing above the ceiling, not even between the samples; looks ahead",
    parameters: &[
        Parameter::linear(1, "Ceiling", Unit::Decibels, -24.0, 0.0, -1.0),
        Parameter::linear(2, "Drive", Unit::Decibels, -12.0, 36.0, 0.0),
        Parameter::logarithmic(3, "Release", Unit::Milliseconds, 5.0, 1000.0, 80.0).without_glide(),
        Parameter::switch(4, "True peak", true),
    ],
    side_chain: false,
    oversamples: false,
    latency_frames: |activation| Timing::new(activation).latency_frames(),
    tail: |_, _| Tail::Frames(0),
    make: |activation| Box::new(Limiter::new(activation)),
};

const CEILING: usize = 0;
const DRIVE: usize = 1;
const RELEASE: usize = 2;
const TRUE_PEAK: usize = 3;

/// The way of the gain down to a peak.
const LOOK_AHEAD_MS: f64 = 1.2;
/// A peak's gain is held for so long before and after it: what lies between two samples depends on their neighbours, too,
/// which therefore need the same gain.
const AROUND_FRAMES: u32 = 6;
/// Less than this, in octaves, is no reduction.
const NOTHING: f32 = 1e-7;

/// Its spans, which depend on the rate alone.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// Of each of the two averages.
    average_frames: u32,
}

impl Timing {
    fn new(activation: &Activation) -> Self {
        Self { average_frames: activation.frames(LOOK_AHEAD_MS / 2.0).max(1) }
    }

    /// From the first frame that an average of averages hears of to the last.
    fn reach_frames(self) -> u32 {
        2 * (self.average_frames - 1)
    }

    /// How long a peak is held.
    fn hold_frames(self) -> u32 {
        self.reach_frames() + 2 * AROUND_FRAMES + 1
    }

    fn latency_frames(self) -> u32 {
        Crests::LATENCY_FRAMES + self.reach_frames() + AROUND_FRAMES
    }
}

#[derive(Debug)]
struct Limiter {
    rate_hz: f64,
    width: usize,
    latency_frames: usize,
    control: Control,
    crests: [Crests; CHANNELS_MAX],
    /// The audio on its way, and the samples as late as the crests are.
    delays: [Ring; CHANNELS_MAX],
    hold: Maximum,
    release_left: f32,
    /// In octaves.
    reduction: f32,
    averages: [Average; 2],
    /// What the sum of sums is for a gain of 1.
    unity: f64,
}

impl Limiter {
    fn new(activation: &Activation) -> Self {
        let timing = Timing::new(activation);
        let latency_frames = timing.latency_frames() as usize;
        let delay = || Ring::new(latency_frames + GRID);
        let frames = f64::from(timing.average_frames);
        Self {
            rate_hz: activation.rate_hz(),
            width: activation.width(),
            latency_frames,
            control: Control::default(),
            crests: [Crests::new(), Crests::new()],
            delays: [delay(), delay()],
            hold: Maximum::new(timing.hold_frames()),
            release_left: 0.0,
            reduction: 0.0,
            averages: [Average::new(timing.average_frames, UNITY), {
                Average::new(timing.average_frames, UNITY * i64::from(timing.average_frames))
            }],
            unity: frames * frames * UNITY as f64,
        }
    }

    /// The greatest magnitude of any channel around each frame, as late as crests are told. The channels go into their
    /// delays.
    fn peaks(&mut self, block: &mut Block<'_, '_>) -> [f32; GRID] {
        let frames = block.frames();
        let between = block.is_on(TRUE_PEAK);
        let mut greatest = [0.0_f32; GRID];
        for ((channel, crests), delay) in
            block.main[..self.width].iter_mut().zip(&mut self.crests).zip(&mut self.delays)
        {
            for sample in channel.iter_mut() {
                // It would be everywhere within the look-ahead.
                if !sample.is_finite() {
                    *sample = 0.0;
                }
            }
            delay.write(channel);
            // Even if nobody asks for them, so that they are right when somebody does.
            let mut peaks = [0.0; GRID];
            crests.process(channel, &mut peaks[..frames]);
            let mut samples = [0.0; GRID];
            delay.read_back(frames + Crests::LATENCY_FRAMES as usize, &mut samples[..frames]);
            for ((greatest, peak), sample) in greatest.iter_mut().zip(peaks).zip(samples) {
                let peak = if between { peak.max(sample.abs()) } else { sample.abs() };
                *greatest = greatest.max(peak);
            }
        }
        greatest
    }

    /// From peaks, in ceilings, to the gains of the audio that leaves.
    fn gains(&mut self, lane: &mut [f32]) {
        for peak in lane.iter_mut() {
            *peak = log2(peak.clamp(1.0, 1e30));
        }
        self.hold.process(lane);
        for reduction in lane.iter_mut() {
            let released = self.reduction * self.release_left;
            self.reduction = if released < NOTHING { *reduction } else { released.max(*reduction) };
            *reduction = self.reduction;
        }
        for gain in lane.iter_mut() {
            *gain = exp2(-*gain);
        }
        let [first, second] = &mut self.averages;
        for gain in lane {
            let sum = second.push(first.push(whole(*gain)));
            #[allow(clippy::cast_possible_truncation, reason = "the nearest single is what is asked for")]
            let mean = (sum as f64 / self.unity) as f32;
            *gain = mean;
        }
    }
}

impl Effect for Limiter {
    fn process(&mut self, block: &mut Block<'_, '_>) {
        if self.control.due(block).is_some() {
            #[allow(clippy::cast_possible_truncation, reason = "the nearest single is what is asked for")]
            let left = left_per_frame(f64::from(block.value(RELEASE)), self.rate_hz) as f32;
            self.release_left = left;
        }
        let frames = block.frames();
        decibels::apply(&block.ramp(DRIVE), block.main);
        let mut lane = self.peaks(block);

        let ceiling = block.ramp(CEILING);
        let mut ceilings = [0.0; GRID];
        decibels::fill(&ceiling, &mut ceilings[..frames]);
        // A ceiling that comes down is heeded from the start: what is measured now leaves under a lower one.
        let coming = decibels::gain(ceiling.target());
        for (peak, ceiling) in lane.iter_mut().zip(&ceilings[..frames]) {
            *peak /= ceiling.min(coming);
        }
        self.gains(&mut lane[..frames]);

        for (channel, delay) in block.main[..self.width].iter_mut().zip(&self.delays) {
            delay.read_back(frames + self.latency_frames, channel);
            for ((sample, gain), ceiling) in channel.iter_mut().zip(&lane).zip(&ceilings) {
                // What rounding has left above it, and a ceiling that came down faster than the look-ahead is long.
                *sample = (*sample * gain).clamp(-ceiling, *ceiling);
            }
        }
    }

    fn reset(&mut self) {
        self.control.reset();
        self.crests.iter_mut().for_each(Crests::reset);
        self.delays.iter_mut().for_each(Ring::reset);
        self.hold.reset();
        self.reduction = 0.0;
        self.averages.iter_mut().for_each(Average::reset);
    }
}

/// A gain of 1 in whole numbers.
const UNITY: i64 = 1 << 30;

/// Rounded down, so that no average is too high.
fn whole(gain: f32) -> i64 {
    #[allow(clippy::cast_possible_truncation, reason = "a gain is at most 1")]
    let whole = (f64::from(gain) * UNITY as f64) as i64;
    whole.min(UNITY)
}

/// A moving sum, which as a mean would be an average.
#[derive(Clone, Debug)]
struct Average {
    terms: Box<[i64]>,
    next: usize,
    sum: i64,
    /// What it has heard before it began.
    rest: i64,
}

impl Average {
    fn new(frames: u32, rest: i64) -> Self {
        Self {
            terms: vec![rest; frames as usize].into_boxed_slice(),
            next: 0,
            sum: rest * i64::from(frames),
            rest,
        }
    }

    fn reset(&mut self) {
        self.terms.fill(self.rest);
        self.next = 0;
        self.sum = self.rest * i64::try_from(self.terms.len()).unwrap_or(i64::MAX);
    }

    fn push(&mut self, term: i64) -> i64 {
        let oldest = std::mem::replace(&mut self.terms[self.next], term);
        self.next = if self.next + 1 == self.terms.len() { 0 } else { self.next + 1 };
        self.sum += term - oldest;
        self.sum
    }
}
