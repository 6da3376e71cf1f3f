//! Sound devices by ALSA, CoreAudio or WASAPI, through `cpal`. Compiled, but not tested: no machine that tests this has one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, bail};
use audiocloud_engine::rt::callback;
use audiocloud_engine::units::SampleRate;
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{
    Device, FromSample, Sample, SampleFormat, SizedSample, Stream, StreamError, SupportedStreamConfig,
};

use super::{CHANNELS_MAX, Process, Running, Shape};

/// Frames that are processed at a time; a longer block of the device goes in pieces.
const PIECE: usize = 1_024;

/// A device that does nothing yet.
pub(super) struct Card {
    device: Device,
    config: SupportedStreamConfig,
    name: String,
    is_input: bool,
    channels: u16,
}

impl Card {
    /// The device that records, with at most so many channels.
    pub(super) fn input(name: &str, channels: u16) -> anyhow::Result<Self> {
        let host = cpal::default_host();
        let all = host.input_devices().context("the system lists no sound devices")?;
        let device = chosen(name, host.default_input_device(), all)?;
        let config =
            device.default_input_config().context("the device does not record; choose another one")?;
        Self::new(device, config, true, channels)
    }

    /// The device that plays.
    pub(super) fn output(name: &str) -> anyhow::Result<Self> {
        let host = cpal::default_host();
        let all = host.output_devices().context("the system lists no sound devices")?;
        let device = chosen(name, host.default_output_device(), all)?;
        let config =
            device.default_output_config().context("the device does not play; choose another one")?;
        Self::new(device, config, false, u16::MAX)
    }

    fn new(
        device: Device,
        config: SupportedStreamConfig,
        is_input: bool,
        channels: u16,
    ) -> anyhow::Result<Self> {
        let name = device.name().unwrap_or_else(|_| "Sound device".to_owned());
        let most = config.channels().min(u16::try_from(CHANNELS_MAX).unwrap_or(u16::MAX));
        Ok(Self { device, channels: channels.min(most), config, name, is_input })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shape(&self) -> Shape {
        // 0 Hz is no rate of a device that works: opening it will say why.
        let hz = self.config.sample_rate().0.max(1);
        let sample_rate = SampleRate::new(hz).unwrap_or(const { SampleRate::new(1).unwrap() });
        let block_max = u32::try_from(PIECE).unwrap_or(u32::MAX);
        Shape { sample_rate, channels: self.channels, block_max }
    }

    /// Has `process` called by the device from now on.
    pub(super) fn start(self, process: Box<dyn Process>) -> anyhow::Result<Active> {
        match self.config.sample_format() {
            SampleFormat::F32 => self.start_as::<f32>(process),
            SampleFormat::I32 => self.start_as::<i32>(process),
            SampleFormat::I16 => self.start_as::<i16>(process),
            SampleFormat::U16 => self.start_as::<u16>(process),
            other => bail!("the device's samples are {other}, which is not supported; choose another device"),
        }
    }

    fn start_as<T>(self, process: Box<dyn Process>) -> anyhow::Result<Active>
    where
        T: SizedSample + FromSample<f32> + Send + 'static,
        f32: FromSample<T>,
    {
        let told = Arc::new(Told::default());
        let failed = Arc::clone(&told);
        let on_error = move |error: StreamError| match error {
            StreamError::DeviceNotAvailable => failed.is_gone.store(true, Ordering::Release),
            StreamError::BackendSpecific { .. } => drop(failed.overruns.fetch_add(1, Ordering::Relaxed)),
        };
        let wide = usize::from(self.config.channels());
        let mut stage = Stage::new(process, usize::from(self.channels), wide);
        let config = self.config.config();
        let stream = if self.is_input {
            let record = move |samples: &[T], _: &cpal::InputCallbackInfo| stage.record(samples);
            self.device.build_input_stream(&config, record, on_error, None)
        } else {
            let play = move |samples: &mut [T], _: &cpal::OutputCallbackInfo| stage.play(samples);
            self.device.build_output_stream(&config, play, on_error, None)
        };
        let stream = stream.with_context(|| format!("{} cannot be opened; is it in use?", self.name))?;
        stream.play().with_context(|| format!("{} does not start", self.name))?;
        Ok(Active { _stream: stream, told })
    }
}

/// The device of this name, or whose name begins so, or the usual one.
fn chosen(name: &str, usual: Option<Device>, all: impl Iterator<Item = Device>) -> anyhow::Result<Device> {
    if name == "default" {
        return usual.context("the system has no usual sound device; name one");
    }
    let called = |device: &Device| device.name().unwrap_or_default();
    let devices: Vec<Device> = all.collect();
    let names: Vec<String> = devices.iter().map(called).collect();
    let wanted = name.to_lowercase();
    let found = devices.into_iter().find(|device| called(device).to_lowercase().starts_with(&wanted));
    found.with_context(|| format!("no sound device is called \"{name}\"; there are {}", names.join(", ")))
}

/// What the device tells, from threads of its own.
#[derive(Default)]
struct Told {
    is_gone: AtomicBool,
    overruns: AtomicU64,
}

/// A device at work, until it is dropped.
pub(super) struct Active {
    _stream: Stream,
    told: Arc<Told>,
}

impl Running for Active {
    fn trouble(&self) -> Option<String> {
        let is_gone = self.told.is_gone.load(Ordering::Acquire);
        is_gone.then(|| "the sound device is gone; connect it, and start this command again".into())
    }

    fn overruns(&self) -> u64 {
        self.told.overruns.load(Ordering::Relaxed)
    }
}

/// What the device's thread has: planes for what it interleaves.
struct Stage {
    process: Box<dyn Process>,
    planes: Vec<[f32; PIECE]>,
    /// Channels of the device.
    wide: usize,
}

impl Stage {
    fn new(process: Box<dyn Process>, channels: usize, wide: usize) -> Self {
        Self { process, planes: vec![[0.0; PIECE]; channels], wide: wide.max(1) }
    }

    fn record<T: SizedSample>(&mut self, samples: &[T])
    where
        f32: FromSample<T>,
    {
        for piece in samples.chunks(PIECE * self.wide) {
            let frames = piece.len() / self.wide;
            for (channel, plane) in self.planes.iter_mut().enumerate() {
                for (sample, frame) in plane.iter_mut().zip(piece.chunks_exact(self.wide)) {
                    *sample = frame.get(channel).map_or(0.0, |sample| f32::from_sample(*sample));
                }
            }
            let mut input: [&[f32]; CHANNELS_MAX] = [&[]; CHANNELS_MAX];
            for (input, plane) in input.iter_mut().zip(&self.planes) {
                *input = &plane[..frames];
            }
            let input = &input[..self.planes.len()];
            callback::enter(|callback| self.process.process(callback, input, &mut []));
        }
    }

    fn play<T: SizedSample + FromSample<f32>>(&mut self, samples: &mut [T]) {
        for piece in samples.chunks_mut(PIECE * self.wide) {
            let frames = piece.len() / self.wide;
            let mut output: [&mut [f32]; CHANNELS_MAX] = std::array::from_fn(|_| &mut [][..]);
            for (output, plane) in output.iter_mut().zip(&mut self.planes) {
                *output = &mut plane[..frames];
            }
            let count = self.wide.min(CHANNELS_MAX);
            let output = &mut output[..count];
            callback::enter(|callback| self.process.process(callback, &[], output));
            for (frame, samples) in piece.chunks_exact_mut(self.wide).enumerate() {
                for (channel, sample) in samples.iter_mut().enumerate() {
                    let value = self.planes.get(channel).map_or(0.0, |plane| plane[frame]);
                    *sample = T::from_sample(value.clamp(-1.0, 1.0));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::rt::callback::Callback;

    /// Halves what comes, or plays a count.
    struct Count(f32, std::sync::mpsc::Sender<Vec<f32>>);

    impl Process for Count {
        fn process(&mut self, _callback: &Callback<'_>, input: &[&[f32]], output: &mut [&mut [f32]]) {
            for channel in input {
                self.1.send(channel.to_vec()).unwrap();
            }
            for channel in output {
                for sample in channel.iter_mut() {
                    *sample = self.0;
                    self.0 += 0.001;
                }
            }
        }
    }

    #[test]
    fn channels_are_dealt_out_and_gathered() {
        let (told, came) = std::sync::mpsc::channel();
        Stage::new(Box::new(Count(0.0, told)), 2, 3).record(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(came.try_iter().collect::<Vec<_>>(), [[1.0, 4.0], [2.0, 5.0]]);
        let (told, _came) = std::sync::mpsc::channel();
        let mut played = [0_i16; 6];
        Stage::new(Box::new(Count(0.5, told)), 2, 2).play(&mut played);
        let expected = [0.5_f32, 0.503, 0.501, 0.504, 0.502, 0.505].map(i16::from_sample);
        for (found, expected) in played.into_iter().zip(expected) {
            assert!(found.abs_diff(expected) <= 1, "{found} for {expected}");
        }
    }
}
