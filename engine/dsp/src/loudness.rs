//! Loudness as broadcasters measure it.
//!
//! ITU-R BS.1770-5, *Algorithms to measure audio programme loudness and true-peak audio level*, Annex 1; EBU Tech 3341,
//! *Loudness Metering: 'EBU Mode' metering to supplement EBU R 128* (2023); EBU Tech 3342, *Loudness Range* (2023).
//!
//! LUFS is loudness on an absolute scale, on which a 997 Hz sine at full scale in one front channel is −3.01; LU is a
//! difference of loudness, in decibels.

mod histogram;
mod k_weighting;

use audiocloud_units::SampleRate;

use histogram::Histogram;
use k_weighting::KWeighting;

/// Weights for one channel. A mono programme that will be heard from two loudspeakers is 3 LU louder than this says: give
/// the meter its channel twice.
pub const MONO: [f64; 1] = [1.0];

/// Weights for left and right.
pub const STEREO: [f64; 2] = [1.0; 2];

/// Weights for left, right, centre, low-frequency effects, and the surrounds: these are louder where they stand, and the
/// low-frequency effects are not measured (BS.1770-5, Annex 1, table 3).
pub const SURROUND_5_1: [f64; 6] = [1.0, 1.0, 1.0, 0.0, 1.41, 1.41];

/// Weights for 5.1 with rear channels before the side ones (the order of WAVE files): those at the sides, between 60° and
/// 120°, are the louder ones (BS.1770-5, Annex 3).
pub const SURROUND_7_1: [f64; 8] = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.41, 1.41];

/// Everything is measured in tenths of a second: blocks overlap by 75%, and readings are renewed ten times a second.
const TENTHS_PER_SECOND: u32 = 10;

/// 400 ms.
const MOMENTARY_TENTHS: usize = 4;

/// 3 s.
const SHORT_TERM_TENTHS: usize = 30;

/// The relative gate of integrated loudness.
const INTEGRATED_GATE_LU: f64 = -10.0;

/// The relative gate of loudness range, and its percentiles.
const RANGE_GATE_LU: f64 = -20.0;
const RANGE_LOWER: f64 = 0.10;
const RANGE_UPPER: f64 = 0.95;

/// A loudness meter for all channels of a programme.
///
/// It takes a quarter of a megabyte however long the programme is, by counting blocks in steps of 0.01 LU: the range is
/// within 0.02 LU, and the integrated loudness within 0.005 LU unless the programme dwells at the very edge of a gate.
///
/// A tenth of a second that holds a sample that is not finite counts as silence.
#[derive(Clone, Debug)]
pub struct Meter {
    channels: Box<[Channel]>,
    rate_hz: u64,
    /// How far into the present tenth of a second: frames times [`TENTHS_PER_SECOND`], below the sample rate. So tenths
    /// follow each other without drift at rates that ten does not divide.
    progress: u64,
    /// Frames in the present tenth.
    frames: u32,
    /// The weighted power of the last tenths, in a ring.
    powers: [f64; SHORT_TERM_TENTHS],
    newest: usize,
    /// How many tenths there were, up to a full ring.
    filled: usize,
    momentary_max: f64,
    short_term_max: f64,
    momentary: Histogram,
    short_term: Histogram,
}

#[derive(Clone, Debug)]
struct Channel {
    weight: f64,
    filter: KWeighting,
    /// Of the present tenth of a second.
    energy: f64,
}

impl Meter {
    /// For a channel for each of `weights`, such as [`STEREO`]; a channel of weight 0 is not measured.
    ///
    /// *Realtime-safe: no*, it allocates.
    #[must_use]
    pub fn new(sample_rate: SampleRate, weights: &[f64]) -> Self {
        let filter = KWeighting::new(sample_rate);
        let channel = |&weight: &f64| Channel { weight, filter: filter.clone(), energy: 0.0 };
        Self {
            channels: weights.iter().map(channel).collect(),
            rate_hz: u64::from(sample_rate.hz()),
            progress: 0,
            frames: 0,
            powers: [0.0; SHORT_TERM_TENTHS],
            newest: 0,
            filled: 0,
            momentary_max: 0.0,
            short_term_max: 0.0,
            momentary: Histogram::new(),
            short_term: Histogram::new(),
        }
    }

    /// Starts a new measurement.
    ///
    /// *Realtime-safe: yes*, but it writes a quarter of a megabyte.
    pub fn reset(&mut self) {
        for channel in &mut self.channels {
            channel.filter.reset();
            channel.energy = 0.0;
        }
        self.progress = 0;
        self.frames = 0;
        self.newest = 0;
        self.filled = 0;
        self.powers.fill(0.0);
        self.momentary_max = 0.0;
        self.short_term_max = 0.0;
        self.momentary.reset();
        self.short_term.reset();
    }

    /// Takes in the next frames: a slice for each channel, as far as the shortest reaches. A channel that is missing is
    /// silent, one too many is not measured.
    ///
    /// *Realtime-safe: yes*.
    pub fn process(&mut self, channels: &[&[f32]]) {
        let channels = &channels[..channels.len().min(self.channels.len())];
        let frames = channels.iter().map(|samples| samples.len()).min().unwrap_or(0);
        let mut start = 0;
        while start < frames {
            let count = self.frames_left_in_tenth().min(frames - start);
            for (channel, samples) in self.channels.iter_mut().zip(channels) {
                channel.process(&samples[start..start + count]);
            }
            self.advance(count);
            start += count;
        }
    }

    /// Over the last 400 ms; −∞ for silence, and until there were as many.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn momentary_lufs(&self) -> f64 {
        lufs_from_power(self.recent_power(MOMENTARY_TENTHS).unwrap_or(0.0))
    }

    /// Over the last 3 s; −∞ for silence, and until there were as many.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn short_term_lufs(&self) -> f64 {
        lufs_from_power(self.recent_power(SHORT_TERM_TENTHS).unwrap_or(0.0))
    }

    /// The greatest momentary loudness of the measurement.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn momentary_max_lufs(&self) -> f64 {
        lufs_from_power(self.momentary_max)
    }

    /// The greatest short-term loudness of the measurement.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn short_term_max_lufs(&self) -> f64 {
        lufs_from_power(self.short_term_max)
    }

    /// Over the whole measurement, without what is not above −70 LUFS or more than 10 LU below the rest; −∞ if nothing is
    /// left.
    ///
    /// *Realtime-safe: yes*, but it reads an eighth of a megabyte: better asked for by a display than in each callback.
    #[must_use]
    pub fn integrated_lufs(&self) -> f64 {
        lufs_from_power(self.momentary.gated_power(INTEGRATED_GATE_LU))
    }

    /// Loudness range (LRA): from the softest to the loudest short-term loudness, but for the softest tenth and the
    /// loudest twentieth, and without what is not above −70 LUFS or more than 20 LU below the rest.
    ///
    /// *Realtime-safe: yes*, but it reads an eighth of a megabyte: better asked for by a display than in each callback.
    #[must_use]
    pub fn range_lu(&self) -> f64 {
        self.short_term.gated_range_lu(RANGE_GATE_LU, RANGE_LOWER, RANGE_UPPER)
    }

    fn frames_left_in_tenth(&self) -> usize {
        let left = self.rate_hz.saturating_sub(self.progress).div_ceil(TENTHS_PER_SECOND.into());
        usize::try_from(left).unwrap_or(usize::MAX).max(1)
    }

    /// Goes on by frames that end within the present tenth, or with it.
    fn advance(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.frames += count;
        self.progress += u64::from(TENTHS_PER_SECOND) * u64::from(count);
        if self.progress >= self.rate_hz {
            self.progress %= self.rate_hz;
            self.finish_tenth();
        }
    }

    fn finish_tenth(&mut self) {
        let energy: f64 = self.channels.iter_mut().map(Channel::take_energy).sum();
        self.newest = (self.newest + 1) % SHORT_TERM_TENTHS;
        self.powers[self.newest] = energy / f64::from(self.frames);
        self.filled = (self.filled + 1).min(SHORT_TERM_TENTHS);
        self.frames = 0;
        if let Some(power) = self.recent_power(MOMENTARY_TENTHS) {
            self.momentary_max = self.momentary_max.max(power);
            self.momentary.add(power);
        }
        if let Some(power) = self.recent_power(SHORT_TERM_TENTHS) {
            self.short_term_max = self.short_term_max.max(power);
            self.short_term.add(power);
        }
    }

    /// The mean power of the last tenths, if there were as many.
    fn recent_power(&self, tenths: usize) -> Option<f64> {
        // Summed anew each time: a running sum would keep the rounding of what is long past.
        let recent =
            (0..tenths).map(|age| self.powers[(self.newest + SHORT_TERM_TENTHS - age) % SHORT_TERM_TENTHS]);
        (self.filled >= tenths).then(|| recent.sum::<f64>() / tenths as f64)
    }
}

impl Channel {
    fn process(&mut self, samples: &[f32]) {
        if self.weight == 0.0 {
            return;
        }
        for &sample in samples {
            let weighted = self.filter.process(sample.into());
            self.energy += weighted * weighted;
        }
    }

    /// The weighted energy since the last call.
    fn take_energy(&mut self) -> f64 {
        let energy = std::mem::take(&mut self.energy);
        if energy.is_finite() {
            self.weight * energy
        } else {
            self.filter.reset();
            0.0
        }
    }
}

/// BS.1770-5, Annex 1, equation 2: the offset makes up for the weighting's gain at 997 Hz.
const OFFSET_LUFS: f64 = -0.691;

fn lufs_from_power(power: f64) -> f64 {
    OFFSET_LUFS + 10.0 * libm::log10(power)
}

fn power_from_lufs(lufs: f64) -> f64 {
    libm::pow(10.0, (lufs - OFFSET_LUFS) / 10.0)
}

#[cfg(test)]
mod tests;
