//! Recordings: read block by block, written block by block.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use audiocloud_engine::units::SampleRate;
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::CHANNELS_MAX;

/// Read ahead, so that the disk is asked rarely.
const BUFFER_BYTES: usize = 1 << 20;

/// A recording that is played.
pub(super) struct Reader {
    path: PathBuf,
    wav: WavReader<BufReader<File>>,
    spec: WavSpec,
}

impl Reader {
    /// Opens one: 8 to 32 bit, or 32-bit float.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
        let wav = WavReader::new(BufReader::with_capacity(BUFFER_BYTES, file));
        let wav = wav.with_context(|| format!("{} is no WAV file that can be read", path.display()))?;
        let spec = wav.spec();
        if usize::from(spec.channels) > CHANNELS_MAX || spec.channels == 0 {
            bail!("{} has {} channels; a stream has 1 to {CHANNELS_MAX}", path.display(), spec.channels);
        }
        if wav.duration() == 0 {
            bail!("{} holds no sound; choose another file", path.display());
        }
        Ok(Self { path: path.to_owned(), wav, spec })
    }

    pub(super) fn sample_rate(&self) -> anyhow::Result<SampleRate> {
        SampleRate::new(self.spec.sample_rate).context("the file says that its sample rate is 0 Hz")
    }

    pub(super) fn channels(&self) -> u16 {
        self.spec.channels
    }

    /// The next frames into `planes`, one for each channel and all equally long; how many there were. Integers are scaled
    /// by a power of two, so that each of up to 24 bits stays what it is.
    pub(super) fn read(&mut self, planes: &mut [Vec<f32>]) -> anyhow::Result<usize> {
        let frames = planes.first().map_or(0, Vec::len);
        let broken = || format!("{} cannot be read to its end", self.path.display());
        match self.spec.sample_format {
            SampleFormat::Float => deal(&mut self.wav.samples::<f32>(), planes, frames, |sample| sample),
            SampleFormat::Int => {
                #[allow(clippy::cast_possible_truncation, reason = "a power of two")]
                let scale = (0.5_f64).powi(i32::from(self.spec.bits_per_sample) - 1) as f32;
                deal(&mut self.wav.samples::<i32>(), planes, frames, |sample| sample as f32 * scale)
            }
        }
        .with_context(broken)
    }

    /// Back to the first frame.
    pub(super) fn rewind(&mut self) -> anyhow::Result<()> {
        self.wav.seek(0).with_context(|| format!("{} cannot be played again", self.path.display()))
    }
}

/// Deals interleaved samples out to the channels; whole frames alone.
fn deal<S>(
    samples: &mut impl Iterator<Item = hound::Result<S>>,
    planes: &mut [Vec<f32>],
    frames: usize,
    scaled: impl Fn(S) -> f32,
) -> hound::Result<usize> {
    for frame in 0..frames {
        for plane in &mut *planes {
            match samples.next() {
                Some(sample) => plane[frame] = scaled(sample?),
                None => return Ok(frame),
            }
        }
    }
    Ok(frames)
}

/// A recording that is made: 32-bit float, as it comes.
pub(super) struct Writer {
    path: PathBuf,
    wav: WavWriter<std::io::BufWriter<File>>,
    since_flushed: usize,
    flush_every: usize,
}

impl Writer {
    pub(super) fn create(path: &Path, sample_rate: SampleRate, channels: u16) -> anyhow::Result<Self> {
        let spec = WavSpec {
            channels,
            sample_rate: sample_rate.hz(),
            bits_per_sample: 32,
            sample_format: SampleFormat::Float,
        };
        let wav = WavWriter::create(path, spec);
        let wav = wav.with_context(|| format!("{} cannot be written", path.display()))?;
        // A second: so much is lost when the machine dies.
        let flush_every = usize::try_from(sample_rate.hz()).unwrap_or(usize::MAX);
        Ok(Self { path: path.to_owned(), wav, since_flushed: 0, flush_every })
    }

    /// Appends frames, one plane for each channel, all equally long.
    pub(super) fn write(&mut self, planes: &[Vec<f32>]) -> anyhow::Result<()> {
        let full = || format!("{} cannot be written to; is the disk full?", self.path.display());
        let frames = planes.first().map_or(0, Vec::len);
        for frame in 0..frames {
            for plane in planes {
                self.wav.write_sample(plane[frame]).with_context(full)?;
            }
        }
        self.since_flushed += frames;
        if self.since_flushed >= self.flush_every {
            self.since_flushed = 0;
            self.wav.flush().with_context(full)?;
        }
        Ok(())
    }

    /// Makes it a whole file.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let Self { path, wav, .. } = self;
        wav.finalize().with_context(|| format!("{} cannot be finished; is the disk full?", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(hz: u32) -> SampleRate {
        SampleRate::new(hz).unwrap()
    }

    #[test]
    fn what_was_written_is_read_to_the_bit_block_by_block_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let planes =
            vec![(0_u16..1_000).map(|n| f32::from(n) * 0.37).collect::<Vec<_>>(), vec![-1e-30; 1_000]];
        let mut writer = Writer::create(&path, rate(44_100), 2).unwrap();
        writer.write(&planes).unwrap();
        writer.finish().unwrap();
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!((reader.sample_rate().unwrap(), reader.channels()), (rate(44_100), 2));
        for _ in 0..2 {
            let (mut block, mut read) = (vec![vec![0.0; 300]; 2], vec![Vec::new(); 2]);
            loop {
                let frames = reader.read(&mut block).unwrap();
                for (all, some) in read.iter_mut().zip(&block) {
                    all.extend_from_slice(&some[..frames]);
                }
                if frames < 300 {
                    break;
                }
            }
            assert!(read == planes);
            reader.rewind().unwrap();
        }
    }

    #[test]
    fn whole_numbers_are_scaled_by_a_power_of_two() {
        let folder = tempfile::tempdir().unwrap();
        for (bits, value, expected) in [
            (16_u16, i32::from(i16::MIN), -1.0),
            (24, 1, 2_f32.powi(-23)),
            (24, -(1 << 23), -1.0),
            (32, 1 << 30, 0.5),
        ] {
            let path = folder.path().join(format!("{bits}.wav"));
            let spec = WavSpec {
                channels: 1,
                sample_rate: 48_000,
                bits_per_sample: bits,
                sample_format: SampleFormat::Int,
            };
            let mut writer = WavWriter::create(&path, spec).unwrap();
            writer.write_sample(value).unwrap();
            writer.finalize().unwrap();
            let mut block = vec![vec![0.0; 4]];
            assert_eq!(Reader::open(&path).unwrap().read(&mut block).unwrap(), 1);
            assert_eq!(block[0][0], expected, "{bits} bits");
        }
    }

    #[test]
    fn what_is_no_recording_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "no sound").unwrap();
        let said = |path: &Path| format!("{:#}", Reader::open(path).err().unwrap());
        assert!(said(&path).contains("is no WAV file"), "{}", said(&path));
        assert!(said(&folder.path().join("b.wav")).contains("cannot be opened"));
    }
}
