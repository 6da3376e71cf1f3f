//! Recordings in memory: planar 32-bit float samples with their rate, read from WAV or FLAC, written as
//! 32-bit float WAV, and a phrase that is synthesised where no recording is at hand.

use std::{fs::File, io::BufReader, path::Path};

use anyhow::{Context, Result, bail, ensure};

/// A recording: one vector of samples per channel, all of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// Frames per second.
    pub sample_rate: u32,
    /// Planar samples, full scale at ±1.
    pub channels: Vec<Vec<f32>>,
}

impl Audio {
    /// Silence of the given shape.
    pub fn silence(sample_rate: u32, channels: usize, frames: usize) -> Self {
        Self { sample_rate, channels: vec![vec![0.0; frames]; channels] }
    }

    /// Length in frames.
    pub fn frames(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// The first `seconds` of the recording, or all of it where it is shorter.
    #[must_use]
    pub fn cut(mut self, seconds: f64) -> Self {
        let frames = seconds_to_frames(seconds, self.sample_rate);
        for channel in &mut self.channels {
            channel.truncate(frames);
        }
        self
    }

    /// The same recording with `seconds` of silence before it.
    #[must_use]
    pub fn with_lead(mut self, seconds: f64) -> Self {
        let frames = seconds_to_frames(seconds, self.sample_rate);
        for channel in &mut self.channels {
            channel.splice(0..0, std::iter::repeat_n(0.0, frames));
        }
        self
    }

    /// Whether any channel is other than zero at `frame`.
    pub fn sounds_at(&self, frame: usize) -> bool {
        self.channels.iter().any(|channel| channel.get(frame).is_some_and(|sample| *sample != 0.0))
    }

    /// The largest magnitude of any channel at `frame`; 0 outside the recording.
    pub fn magnitude_at(&self, frame: usize) -> f32 {
        self.channels.iter().filter_map(|channel| channel.get(frame)).fold(0.0, |most, x| x.abs().max(most))
    }
}

/// Seconds to whole frames, rounded to the nearest.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to integer cast saturates, and a negative length is none"
)]
pub fn seconds_to_frames(seconds: f64, sample_rate: u32) -> usize {
    (seconds * f64::from(sample_rate)).round() as usize
}

/// Reads a WAV (16, 24, 32 bit or float) or FLAC file. Integers are scaled by a power of two, so that every
/// integer of up to 24 bits is represented exactly.
///
/// # Errors
/// The file cannot be read, is of another kind, or ends in the middle of a frame.
pub fn read(path: impl AsRef<Path>) -> Result<Audio> {
    let path = path.as_ref();
    let flac = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("flac"));
    if flac { read_flac(path) } else { read_wav(path) }.with_context(|| format!("reading {}", path.display()))
}

fn read_wav(path: &Path) -> Result<Audio> {
    let reader = hound::WavReader::new(BufReader::new(File::open(path)?))?;
    let spec = reader.spec();
    let samples: Vec<f32> = match spec.sample_format {
        hound::SampleFormat::Float => reader.into_samples::<f32>().collect::<Result<_, _>>()?,
        hound::SampleFormat::Int => {
            let scale = full_scale(u32::from(spec.bits_per_sample));
            reader.into_samples::<i32>().map(|sample| Ok(scaled(sample?, scale))).collect::<Result<_>>()?
        }
    };
    planar(&samples, usize::from(spec.channels), spec.sample_rate)
}

fn read_flac(path: &Path) -> Result<Audio> {
    let mut reader = claxon::FlacReader::open(path)?;
    let info = reader.streaminfo();
    let scale = full_scale(info.bits_per_sample);
    let samples = reader.samples().map(|sample| Ok(scaled(sample?, scale))).collect::<Result<Vec<_>>>()?;
    planar(&samples, usize::try_from(info.channels)?, info.sample_rate)
}

fn full_scale(bits: u32) -> f64 {
    f64::from(bits.saturating_sub(1)).exp2()
}

#[allow(clippy::cast_possible_truncation, reason = "24 bits fit a 32-bit float exactly; more are rounded")]
fn scaled(sample: i32, full_scale: f64) -> f32 {
    (f64::from(sample) / full_scale) as f32
}

fn planar(samples: &[f32], channels: usize, sample_rate: u32) -> Result<Audio> {
    ensure!(channels > 0, "no channels");
    if !samples.len().is_multiple_of(channels) {
        bail!("the file ends in the middle of a frame");
    }
    let planar = (0..channels).map(|c| samples.iter().skip(c).step_by(channels).copied().collect()).collect();
    Ok(Audio { sample_rate, channels: planar })
}

/// Writes a WAV of 32-bit float samples, unchanged.
///
/// # Errors
/// The file cannot be written.
pub fn write_f32(path: impl AsRef<Path>, audio: &Audio) -> Result<()> {
    let path = path.as_ref();
    let write = || -> Result<()> {
        let mut writer = hound::WavWriter::create(
            path,
            hound::WavSpec {
                channels: u16::try_from(audio.channels.len())?,
                sample_rate: audio.sample_rate,
                bits_per_sample: 32,
                sample_format: hound::SampleFormat::Float,
            },
        )?;
        for frame in 0..audio.frames() {
            for channel in &audio.channels {
                writer.write_sample(channel[frame])?;
            }
        }
        Ok(writer.finalize()?)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// A phrase of plucked notes over a held chord, different in every channel, quantised to 24 bits like a real
/// recording. The pitches are in just intonation on 311.127 Hz: no divisor of a usual buffer.
#[allow(clippy::cast_possible_truncation, reason = "quantised to 24 bits: exact in a 32-bit float")]
pub fn phrase(sample_rate: u32, channels: usize, seconds: f64) -> Audio {
    const RATIOS: [f64; 8] = [1.0, 9.0 / 8.0, 5.0 / 4.0, 3.0 / 2.0, 5.0 / 3.0, 2.0, 15.0 / 8.0, 4.0 / 3.0];
    const NOTE_SECONDS: f64 = 0.21;
    let rate = f64::from(sample_rate);
    let frames = seconds_to_frames(seconds, sample_rate);
    let note_frames = seconds_to_frames(NOTE_SECONDS, sample_rate).max(1);
    let channel = |c: usize| -> Vec<f32> {
        let mut noise = 0x9e37_79b9_u32.wrapping_mul(u32::try_from(c).unwrap_or(0) + 1) | 1;
        let mut seconds_in = 0.0;
        let step = 1.0 / rate;
        let mut samples = Vec::with_capacity(frames);
        for frame in 0..frames {
            let note = (frame / note_frames * 5 + c) % RATIOS.len();
            if frame.is_multiple_of(note_frames) {
                seconds_in = 0.0;
            }
            // A xorshift generator: hiss, so that no two stretches of the phrase are alike.
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            let hiss = f64::from(noise) / f64::from(u32::MAX) - 0.5;
            let pitch = 311.127 * RATIOS[note];
            let pluck = (std::f64::consts::TAU * pitch * seconds_in).sin() * (-seconds_in * 9.0).exp();
            let sample = 0.4 * pluck + 0.02 * hiss;
            samples.push(((sample * 8_388_608.0).round() / 8_388_608.0) as f32);
            seconds_in += step;
        }
        samples
    };
    Audio { sample_rate, channels: (0..channels).map(channel).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_survive_a_file() {
        let path = std::env::temp_dir().join(format!("audiocloud-rig-audio-{}.wav", std::process::id()));
        let audio = phrase(44_100, 3, 0.3);
        write_f32(&path, &audio).expect("written");
        let back = read(&path).expect("read");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(back, audio);
    }

    #[test]
    fn a_phrase_is_24_bit_and_its_channels_differ() {
        let audio = phrase(48_000, 2, 0.5);
        assert_eq!(audio.frames(), 24_000);
        assert_ne!(audio.channels[0], audio.channels[1]);
        for sample in &audio.channels[0] {
            let scaled = f64::from(*sample) * 8_388_608.0;
            assert!((scaled - scaled.round()).abs() < f64::EPSILON, "{sample} is not on the 24-bit grid");
        }
    }

    #[test]
    fn a_lead_is_silence_of_the_given_length() {
        let audio = phrase(48_000, 1, 0.1).with_lead(0.5);
        assert_eq!(audio.frames(), 28_800);
        assert!((0..24_000).all(|frame| !audio.sounds_at(frame)));
        assert!(audio.sounds_at(24_000) || audio.sounds_at(24_001));
    }
}
