//! Receive's graph: track and mix into the main output, gliding where a parameter moves, exact where none does.

use audiocloud_engine::graph::graph::{Graph, GraphError, NodeKey};
use audiocloud_engine::graph::nodes::Gain;
use audiocloud_engine::graph::renderer::Ports;
use audiocloud_instance::engine;
use nice_plug::prelude::Buffer;

/// How long a change of level or mode takes, ms.
const GLIDE_MS: f32 = 20.0;
/// The graph's inputs.
const TRACK: u16 = 0;
const STREAM: u16 = 1;
/// The graph's outputs.
const MAIN: u16 = 0;
const STREAM_ONLY: u16 = 1;

/// Track and stream through a gain each into the main output, and the stream as it is into the second one, where there
/// is one. The gains are those of level and mode.
pub(crate) fn graph(channels: u16, outputs: usize) -> Result<(Graph, [NodeKey; 2]), GraphError> {
    let mut graph = Graph::new(&[channels; 2], &vec![channels; outputs])?;
    let gain = Gain { channels, gain: 0.0, smoothing_ms: GLIDE_MS };
    let (level, input) = (graph.add("level", gain)?, graph.add("input", gain)?);
    for (bus, gain) in [(TRACK, input), (STREAM, level)] {
        graph.connect_audio((graph.input(), bus), (gain, 0))?;
        graph.connect_audio((gain, 0), (graph.output(), MAIN))?;
    }
    if outputs > usize::from(STREAM_ONLY) {
        graph.connect_audio((graph.input(), STREAM), (graph.output(), STREAM_ONLY))?;
    }
    Ok((graph, [level, input]))
}

/// Track and mix into the graph, and out of it both outputs.
pub(crate) struct Buses<'a, 'b, 'c> {
    pub(crate) main: &'a mut [&'b mut [f32]],
    /// *Stream only*, where there is one.
    pub(crate) stream_only: Option<&'a mut Buffer<'c>>,
    pub(crate) stream: &'a [Vec<f32>],
    /// The piece's first frame in the host's block.
    pub(crate) from: usize,
}

impl Ports for Buses<'_, '_, '_> {
    fn read(&mut self, bus: usize, channel: usize, from: usize, samples: &mut [f32]) {
        if bus == usize::from(TRACK) {
            engine::read(self.main, channel, self.from + from, samples);
        } else {
            engine::read(self.stream, channel, from, samples);
        }
    }

    fn write(&mut self, bus: usize, channel: usize, from: usize, samples: &[f32]) {
        let from = self.from + from;
        if bus == usize::from(MAIN) {
            return engine::write(self.main, channel, from, samples);
        }
        if let Some(output) = &mut self.stream_only {
            engine::write(output.as_slice(), channel, from, samples);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::rt::callback;
    use audiocloud_engine::units::SampleRate;
    use audiocloud_instance::engine::{Audio, Control};
    use audiocloud_instance::time::Setup;

    fn active() -> (Control, Audio) {
        let sample_rate = SampleRate::new(48_000).unwrap();
        let (graph, gains) = graph(2, 1).unwrap();
        let setup = Setup { sample_rate, channels: 2, block_max: 2_000, offline: false };
        engine::play(&graph, &setup, &gains.map(|gain| (gain, Gain::GAIN)))
    }

    /// The left output, of an input that is `track` all the time.
    fn mixed(audio: &mut Audio, track: f32, stream: &[f32], gains: [f32; 2]) -> Vec<f32> {
        let (mut left, mut right) = (vec![track; stream.len()], vec![track; stream.len()]);
        let (main, stream) = (&mut [&mut left[..], &mut right[..]], [stream.to_vec(), stream.to_vec()]);
        callback::enter(|callback| {
            let mut buses = Buses { main, stream_only: None, stream: &stream, from: 0 };
            audio.process(callback, stream[0].len(), &gains, &mut buses);
        });
        let bits = |channel: &[f32]| channel.iter().map(|sample| sample.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&left), bits(&right));
        left
    }

    #[test]
    fn replace_at_unity_is_bit_exact() {
        let odd = [-0.0, 1.0e-40, f32::MIN_POSITIVE, 0.1, -1.0, 3.0e38];
        let (_control, mut audio) = active();
        for track in [0.5, f32::INFINITY, f32::NAN] {
            let output = mixed(&mut audio, track, &odd, [1.0, 0.0]);
            assert!(output.iter().zip(odd).all(|(out, odd)| out.to_bits() == odd.to_bits()), "{output:?}");
        }
    }

    #[test]
    fn mix_adds() {
        for (level, expected) in [(1.0, 0.75), (0.5, 0.625), (0.0, 0.5)] {
            let (_control, mut audio) = active();
            assert_eq!(mixed(&mut audio, 0.5, &[0.25; 100], [level, 1.0]), [expected; 100]);
        }
    }

    #[test]
    fn changes_glide_for_20_ms() {
        let (_control, mut audio) = active();
        mixed(&mut audio, 1.0, &[1.0; 7], [1.0, 1.0]);
        let output = mixed(&mut audio, 1.0, &[1.0; 2_000], [0.5, 0.0]);
        let steepest = output.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(output[0] == 2.0 && output[959] > 0.5 && steepest < 0.002, "{steepest}");
        assert!(output[960..].iter().all(|sample| *sample == 0.5));
    }
}
