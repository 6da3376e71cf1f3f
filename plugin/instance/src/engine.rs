//! A plug-in's graph: made at activation, played in its callbacks, looked after from its window and its report.
//!
//! Streams stay outside: their endpoints want the host's blocks whole, as the device does. So do notes.

use std::time::Instant;

use audiocloud_engine::graph::controller::{self, Controller};
use audiocloud_engine::graph::event::Body;
use audiocloud_engine::graph::graph::{Graph, NodeKey};
use audiocloud_engine::graph::renderer::{self, Address, Call, HostEvent, Ports, Renderer, Target};
use audiocloud_engine::rt::callback::Callback;
use audiocloud_engine::rt::host_time;
use audiocloud_engine::rt::log::{self, What};
use serde_json::json;

use crate::editor::details::Detail;
use crate::status::{Recent, Severity, Status};
use crate::time::Setup;

/// Entries that a log holds until somebody looks; later ones are counted.
const LOG: usize = 256;
/// Endpoints whose logs are read; those of earlier ones are not.
const STREAM_LOGS: usize = 64;

/// The half beside the callbacks.
#[derive(Debug)]
pub struct Control {
    controller: Controller,
    graph_log: log::Consumer,
    /// Of the streams' endpoints, the latest last.
    stream_logs: Vec<log::Consumer>,
    not_finite: Recent,
}

/// The half in the callbacks.
#[derive(Debug)]
pub struct Audio {
    renderer: Renderer,
    offline: bool,
    dials: Vec<Dial>,
    /// Room for an event of each dial.
    events: Vec<HostEvent>,
}

/// A parameter of the graph that follows one of the host's.
#[derive(Debug)]
struct Dial {
    address: Address,
    parameter: u32,
    /// What it was told last; `None` when it is to jump to where it is set.
    told: Option<f32>,
}

/// Both halves of a graph, with its parameters that follow the host's. *Realtime-safe: no.*
///
/// # Panics
/// When the graph has a loop without a delay: no plug-in of ours makes one.
pub fn play(graph: &Graph, setup: &Setup, parameters: &[(NodeKey, u32)]) -> (Control, Audio) {
    let (producer, graph_log) = log::log_ring(LOG);
    let config = controller::Config::new(setup.sample_rate);
    let (controller, renderer) = controller::play(graph, config, Some(producer)).expect("it is in order");
    let dial = |&(node, parameter)| Some(Dial { address: controller.address(node)?, parameter, told: None });
    let dials: Vec<Dial> = parameters.iter().filter_map(dial).collect();
    let events = Vec::with_capacity(dials.len());
    let control = Control { controller, graph_log, stream_logs: Vec::new(), not_finite: Recent::default() };
    (control, Audio { renderer, offline: setup.offline, dials, events })
}

impl Audio {
    /// Plays one block, its parameters at `values` from its first frame on: gliding there, but for the first time.
    ///
    /// *Realtime-safe: yes.*
    pub fn process(
        &mut self,
        callback: &Callback<'_>,
        frames: usize,
        values: &[f32],
        ports: &mut impl Ports,
    ) {
        self.events.clear();
        self.events.extend(self.dials.iter_mut().zip(values).filter_map(|(dial, value)| dial.turn(*value)));
        let call = Call { callback, transport: None, offline: self.offline, events: &self.events };
        self.renderer.process(&call, frames, ports);
    }

    /// A new beginning. *Realtime-safe: yes.*
    pub fn reset(&mut self, callback: &Callback<'_>) {
        self.renderer.reset(callback);
        self.dials.iter_mut().for_each(|dial| dial.told = None);
    }
}

impl Dial {
    fn turn(&mut self, value: f32) -> Option<HostEvent> {
        let before = self.told.replace(value);
        if before == Some(value) {
            return None;
        }
        let mut body = Body::parameter(self.parameter, value);
        if let (Body::Parameter { ramp_frames, .. }, None) = (&mut body, before) {
            *ramp_frames = Some(0);
        }
        Some(HostEvent { offset: 0, target: Target::Node(self.address), body })
    }
}

/// Frames of one channel out of the host's or a stream's buffers; silence where there are none.
///
/// *Realtime-safe: yes.*
pub fn read(channels: &[impl AsRef<[f32]>], channel: usize, from: usize, samples: &mut [f32]) {
    match channels.get(channel).and_then(|channel| channel.as_ref().get(from..from + samples.len())) {
        Some(there) => samples.copy_from_slice(there),
        None => samples.fill(0.0),
    }
}

/// Frames of one channel into the host's or a stream's buffers, where there is room. *Realtime-safe: yes.*
pub fn write(channels: &mut [impl AsMut<[f32]>], channel: usize, from: usize, samples: &[f32]) {
    let channel = channels.get_mut(channel).map(AsMut::as_mut);
    if let Some(there) = channel.and_then(|channel| channel.get_mut(from..from + samples.len())) {
        there.copy_from_slice(samples);
    }
}

impl Control {
    /// A log for a stream's endpoint. *Realtime-safe: no.*
    pub fn stream_log(&mut self) -> log::Producer {
        let (producer, consumer) = log::log_ring(LOG);
        if self.stream_logs.len() == STREAM_LOGS {
            self.stream_logs.remove(0);
        }
        self.stream_logs.push(consumer);
        producer
    }

    /// Writes down what the callbacks had to tell; what the user should know of it. *Realtime-safe: no.*
    pub fn look(&mut self) -> Option<Status> {
        self.controller.collect();
        while let Some(entry) = self.graph_log.pop() {
            self.write_down(&entry);
        }
        while let Some(entry) = self.stream_logs.iter_mut().find_map(log::Consumer::pop) {
            self.write_down(&entry);
        }
        let status = self.controller.status();
        let is_faulty = self.not_finite.look(status.not_finite, Instant::now()) > 0;
        warning(&status, is_faulty)
    }

    fn write_down(&self, entry: &log::Entry) {
        let age_ms = (host_time::now() - entry.at).get() / 1_000_000;
        let log::Entry { what, a, b, .. } = *entry;
        match (what, self.controller.explain(entry)) {
            (What::Shed | What::NotFinite | What::EventsRefused, Some(words)) => {
                tracing::warn!(age_ms, "{words}");
            }
            (_, Some(words)) => tracing::debug!(age_ms, "{words}"),
            (_, None) => tracing::debug!(age_ms, ?what, a, b, "the stream"),
        }
    }

    /// For the window. *Realtime-safe: no.*
    pub fn details(&self) -> [Detail; 2] {
        let status = self.controller.status();
        let load = format!("{:.1} %, at worst {:.1} %", 100.0 * status.load.ewma, 100.0 * status.load.p999);
        [
            Detail::new(
                "Processing load",
                load,
                "Of the time that a block lasts: lately, and in all but a thousandth of ten seconds' blocks.",
            ),
            Detail::new(
                "Blocks muted (not finite)",
                status.not_finite.to_string(),
                "They held values that are not numbers: whatever plays before this plug-in made them.",
            ),
        ]
    }

    /// For the status command. *Realtime-safe: no.*
    pub fn report(&self) -> serde_json::Value {
        let status = self.controller.status();
        let stream: u64 = self.stream_logs.iter().map(log::Consumer::dropped).sum();
        json!({
            "load": status.load.ewma,
            "load_p999": status.load.p999,
            "load_peak": status.load.peak,
            "blocks_over": status.load.over,
            "not_finite": status.not_finite,
            "events_refused": status.events_refused,
            "shed": shed(&status),
            "overloaded": status.is_helpless,
            "log_dropped": self.graph_log.dropped() + stream,
        })
    }
}

/// How many things are given up for want of time.
fn shed(status: &renderer::Status) -> u32 {
    status.nodes_bypassed + u32::from(status.meters_off) + u32::from(status.oversampling_off)
}

fn warning(status: &renderer::Status, is_faulty: bool) -> Option<Status> {
    let (cause, remedy) = match (shed(status) > 0, status.is_helpless, is_faulty) {
        (_, true, _) => (
            "This computer is too slow for all that is to be done here: the sound may break up.",
            "Free the processor: close other programs or use a larger block.",
        ),
        (true, ..) => (
            "This computer is too slow for all that is to be done here: some of it is left out.",
            "Free the processor: close other programs or use a larger block.",
        ),
        (.., true) => (
            "The sound that comes in holds values that are not numbers: silence takes their place.",
            "Look for the plug-in or the driver before this one that makes them.",
        ),
        _ => return None,
    };
    Some(Status::new(Severity::Warning, cause, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::graph::nodes::Gain;
    use audiocloud_engine::rt::callback;
    use audiocloud_engine::units::SampleRate;

    const SETUP: Setup =
        Setup { sample_rate: SampleRate::new(48_000).unwrap(), channels: 1, block_max: 512, offline: false };

    struct Buses {
        input: f32,
        output: Vec<f32>,
    }

    impl Ports for Buses {
        fn read(&mut self, _bus: usize, _channel: usize, _from: usize, samples: &mut [f32]) {
            samples.fill(self.input);
        }

        fn write(&mut self, _bus: usize, channel: usize, from: usize, samples: &[f32]) {
            write(std::slice::from_mut(&mut self.output), channel, from, samples);
        }
    }

    fn gain() -> (Control, Audio) {
        let mut graph = Graph::new(&[1], &[1]).unwrap();
        let gain = graph.add("gain", Gain::new(1, 1.0)).unwrap();
        graph.connect_audio((graph.input(), 0), (gain, 0)).unwrap();
        graph.connect_audio((gain, 0), (graph.output(), 0)).unwrap();
        play(&graph, &SETUP, &[(gain, Gain::GAIN)])
    }

    fn played(audio: &mut Audio, input: f32, value: f32) -> Vec<f32> {
        let mut buses = Buses { input, output: vec![f32::NAN; 512] };
        callback::enter(|callback| audio.process(callback, 512, &[value], &mut buses));
        buses.output
    }

    #[test]
    fn parameters_jump_at_the_beginning_and_glide_from_then_on() {
        let (_control, mut audio) = gain();
        assert_eq!(played(&mut audio, 1.0, 0.25), [0.25; 512], "in the very first block");
        let output = played(&mut audio, 1.0, 0.75);
        assert_eq!(output[480..], [0.75; 32], "after 10 ms");
        let steepest = output.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(output[0] == 0.25 && steepest < 0.0011, "{steepest}");
        callback::enter(|callback| audio.reset(callback));
        assert_eq!(played(&mut audio, 1.0, 0.5), [0.5; 512]);
    }

    #[test]
    fn want_of_time_is_said_before_all_else() {
        let check = |nodes_bypassed, is_helpless, is_faulty, expected: Option<&str>| {
            let status = renderer::Status { nodes_bypassed, is_helpless, ..renderer::Status::default() };
            let said = warning(&status, is_faulty);
            let ending = said.as_ref().and_then(|said| said.cause.rsplit(": ").next());
            assert_eq!(ending, expected, "{said:?}");
        };
        check(0, false, false, None);
        check(1, false, true, Some("some of it is left out."));
        check(1, true, true, Some("the sound may break up."));
        check(0, true, false, Some("the sound may break up."));
        check(0, false, true, Some("silence takes their place."));
    }

    #[test]
    fn what_is_not_a_number_is_silence_and_said() {
        let (mut control, mut audio) = gain();
        played(&mut audio, 1.0, 1.0);
        assert_eq!((control.look(), control.report()["not_finite"].as_u64()), (None, Some(0)));
        assert_eq!(played(&mut audio, f32::NAN, 1.0), [0.0; 512]);
        let said = control.look().unwrap();
        assert!(said.severity == Severity::Warning && said.cause.contains("not numbers"), "{said:?}");
        assert_eq!(control.report()["not_finite"], 8, "blocks of 64");
        assert_eq!(control.report()["log_dropped"], 0);
    }
}
