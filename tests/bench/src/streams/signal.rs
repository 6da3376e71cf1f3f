//! What is played: chirps that tell the latency, and between them a sine, noise, music and speech.

use std::f64::consts::TAU;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use audiocloud_rig::audio;

use super::impairment::SplitMix;

pub(crate) const SAMPLE_RATE_HZ: u32 = 48_000;
/// No packet, block or buffer holds a whole number of its periods, left or right.
pub(crate) const SINE_HZ: [f64; 2] = [1037.0, 1321.0];
pub(crate) const SINE_AMPLITUDE: f64 = 0.5;
const CHIRP_AMPLITUDE: f64 = 0.5;
const CHIRP_SECONDS: f64 = 0.01;
const CHIRPS: usize = 8;
/// Longer than any latency that is looked for, so that no chirp is taken for its neighbour.
pub(crate) const CHIRP_EVERY_SECONDS: f64 = 0.25;
const PAUSE_SECONDS: f64 = 0.3;
/// Noise ends where a peer's resampler may begin to filter.
const NOISE_HZ: f64 = 10_000.0;
/// Level of noise, music and speech.
const RMS: f64 = 0.1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    Sine,
    Noise,
    Music,
    Speech,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sine => "sine",
            Self::Noise => "noise",
            Self::Music => "music",
            Self::Speech => "speech",
        }
    }
}

/// A stretch of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    pub(crate) frames: std::ops::Range<usize>,
}

/// A stereo signal and where its parts are.
#[derive(Clone, Debug)]
pub(crate) struct Signal {
    pub(crate) channels: [Vec<f32>; 2],
    /// First frames of the chirps, in groups: before each section and after the last.
    pub(crate) chirps: Vec<Vec<usize>>,
    pub(crate) sections: Vec<Section>,
}

impl Signal {
    /// `seconds` of each kind. Music and speech are recordings in `recordings`.
    pub(crate) fn new(kinds: &[(Kind, f64)], recordings: &Path) -> Result<Self> {
        let mut signal = Self { channels: Default::default(), chirps: Vec::new(), sections: Vec::new() };
        signal.pause();
        for &(kind, seconds) in kinds {
            signal.chirps();
            let from = signal.frames();
            let stereo = section(kind, frames(seconds), recordings)?;
            for (channel, samples) in signal.channels.iter_mut().zip(stereo) {
                channel.extend(samples);
            }
            signal.sections.push(Section { kind, frames: from..signal.frames() });
            signal.pause();
        }
        signal.chirps();
        signal.pause();
        Ok(signal)
    }

    pub(crate) fn frames(&self) -> usize {
        self.channels[0].len()
    }

    pub(crate) fn seconds(&self) -> f64 {
        count(self.frames()) / f64::from(SAMPLE_RATE_HZ)
    }

    fn pause(&mut self) {
        for channel in &mut self.channels {
            channel.resize(channel.len() + frames(PAUSE_SECONDS), 0.0);
        }
    }

    fn chirps(&mut self) {
        let chirp = chirp();
        let mut firsts = Vec::new();
        for n in 0..CHIRPS {
            // At no fixed place in a block.
            let first = self.frames() + n * 37 % 97;
            let next = self.frames() + frames(CHIRP_EVERY_SECONDS);
            for channel in &mut self.channels {
                channel.resize(first, 0.0);
                channel.extend(&chirp);
                channel.resize(next, 0.0);
            }
            firsts.push(first);
        }
        self.chirps.push(firsts);
        self.pause();
    }
}

/// 10 ms from 0.8 to 6 kHz under a Hann window: its autocorrelation has one peak, a few samples wide.
pub(crate) fn chirp() -> Vec<f32> {
    let length = frames(CHIRP_SECONDS);
    let sample = |n: usize| {
        let part = count(n) / count(length);
        let window = 0.5 - 0.5 * (TAU * part).cos();
        let phase = TAU * CHIRP_SECONDS * part * (800.0 + (6_000.0 - 800.0) / 2.0 * part);
        single(CHIRP_AMPLITUDE * window * phase.sin())
    };
    (0..length).map(sample).collect()
}

fn section(kind: Kind, length: usize, recordings: &Path) -> Result<[Vec<f32>; 2]> {
    let recording = |name: &str| {
        let path = recordings.join(name);
        audio::read(&path).with_context(|| format!("no {} (see --signals)", path.display()))
    };
    match kind {
        Kind::Sine => Ok(SINE_HZ.map(|hz| {
            let step = TAU * hz / f64::from(SAMPLE_RATE_HZ);
            (0..length).map(|n| single(SINE_AMPLITUDE * (step * count(n)).sin())).collect()
        })),
        Kind::Noise => Ok([3, 4].map(|seed| levelled(noise(length, seed)))),
        Kind::Music => {
            let strings = recording("strings-48k.wav")?;
            let channel = |n: usize| strings.channels.get(n).unwrap_or(&strings.channels[0]);
            Ok([0, 1].map(|n| levelled(repeated(channel(n), 0, length))))
        }
        Kind::Speech => {
            let speech = recording("speech-48k-mono.wav")?;
            ensure!(speech.sample_rate == SAMPLE_RATE_HZ, "the speech is not at {SAMPLE_RATE_HZ} Hz");
            let half = speech.frames() / 2;
            Ok([0, half].map(|from| levelled(repeated(&speech.channels[0], from, length))))
        }
    }
}

/// White noise through a windowed-sinc low-pass.
fn noise(length: usize, seed: u64) -> Vec<f32> {
    const TAPS: usize = 127;
    let cutoff = NOISE_HZ / f64::from(SAMPLE_RATE_HZ);
    let taps: Vec<f64> = (0..TAPS)
        .map(|n| {
            let at = count(n) - count(TAPS / 2);
            let sinc = if at == 0.0 { 2.0 * cutoff } else { (TAU * cutoff * at).sin() / (TAU / 2.0 * at) };
            sinc * (0.5 - 0.5 * (TAU * (count(n) + 0.5) / count(TAPS)).cos())
        })
        .collect();
    let mut random = SplitMix(seed);
    let white: Vec<f64> = (0..length + TAPS).map(|_| 2.0 * random.unit() - 1.0).collect();
    let sample = |n: usize| single(taps.iter().zip(&white[n..]).map(|(tap, x)| tap * x).sum());
    (0..length).map(sample).collect()
}

fn repeated(samples: &[f32], from: usize, length: usize) -> Vec<f32> {
    samples.iter().copied().cycle().skip(from).take(length).collect()
}

fn levelled(samples: Vec<f32>) -> Vec<f32> {
    let gain = RMS / rms(&samples).max(1e-9);
    samples.into_iter().map(|sample| single(f64::from(sample) * gain).clamp(-0.99, 0.99)).collect()
}

pub(crate) fn rms(samples: &[f32]) -> f64 {
    let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (energy / count(samples.len().max(1))).sqrt()
}

pub(crate) fn frames(seconds: f64) -> usize {
    audio::seconds_to_frames(seconds, SAMPLE_RATE_HZ)
}

#[allow(clippy::cast_precision_loss, reason = "signals have fewer than 2^53 frames")]
pub(crate) fn count(frames: usize) -> f64 {
    frames as f64
}

#[allow(clippy::cast_possible_truncation, reason = "samples travel in single precision")]
fn single(sample: f64) -> f32 {
    sample as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_where_it_is_said_to_be() {
        let signal = Signal::new(&[(Kind::Sine, 1.0), (Kind::Noise, 0.5)], Path::new("")).unwrap();
        assert_eq!((signal.chirps.len(), signal.sections.len()), (3, 2));
        let chirp = chirp();
        for &first in signal.chirps.iter().flatten() {
            for channel in &signal.channels {
                assert_eq!(channel[first..first + chirp.len()], chirp);
            }
        }
        let [sine, noise] = [0, 1].map(|n| rms(&signal.channels[0][signal.sections[n].frames.clone()]));
        assert!((sine - SINE_AMPLITUDE / 2f64.sqrt()).abs() < 1e-3, "{sine}");
        assert!((noise - RMS).abs() < 1e-3, "{noise}");
        assert_eq!(signal.channels[0].len(), signal.channels[1].len());
    }

    #[test]
    fn a_recording_that_is_not_there_is_named() {
        let error = Signal::new(&[(Kind::Music, 1.0)], Path::new("nowhere")).unwrap_err();
        assert!(format!("{error:#}").contains("strings-48k.wav"), "{error:#}");
    }
}
