//! What a plug-in says of itself.

use serde::{Deserialize, Serialize};

/// One plug-in of a file, as its factory lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// Its CLAP id, such as `com.example.reverb`.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    pub vendor: String,
    /// Its own.
    pub version: String,
    /// CLAP's words, such as `audio-effect`, `reverb`.
    pub features: Vec<String>,
}

/// One audio port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    /// For people.
    pub name: String,
    /// Its width.
    pub channels: u32,
    /// Whether it is the one that effects are made of.
    pub main: bool,
}

/// One parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameter {
    /// Stable over the plug-in's versions.
    pub id: u32,
    /// For people.
    pub name: String,
    /// Where it belongs, such as `Oscillators/Wavetable 1`.
    pub module: String,
    /// Smallest plain value.
    pub min: f64,
    /// Largest plain value.
    pub max: f64,
    /// The plug-in's own default.
    pub default: f64,
    /// When the description was made.
    pub value: f64,
    /// `value` in the plug-in's words.
    pub text: String,
    /// Whole numbers only.
    pub stepped: bool,
    /// Only shows something.
    pub read_only: bool,
    /// Not for people.
    pub hidden: bool,
    /// The plug-in's own bypass.
    pub bypass: bool,
}

/// How long it sounds on, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tail {
    /// Not at all.
    #[default]
    None,
    /// So many.
    Frames(u32),
    /// For ever.
    Infinite,
}

/// A plug-in that is loaded and active.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Description {
    /// As its factory lists it.
    pub listed: Listed,
    /// Audio inputs.
    pub inputs: Vec<Port>,
    /// Audio outputs.
    pub outputs: Vec<Port>,
    /// Whether it takes notes.
    pub note_input: bool,
    /// Whether it gives notes.
    pub note_output: bool,
    /// At most [`PARAMETERS_MAX`].
    pub parameters: Vec<Parameter>,
    /// Parameters beyond those.
    pub parameters_left_out: u32,
    /// Its own, without the way to its process, in frames.
    pub latency_frames: u32,
    /// How long it sounds on.
    pub tail: Tail,
    /// Whether it has any state to keep.
    pub state: bool,
    /// How many of it are needed for the chain's width: several where it is mono and the chain is not.
    pub copies: u16,
    /// Whether its audio runs under real-time scheduling.
    pub realtime: bool,
}

/// The most parameters of a plug-in that can be set while it plays.
pub const PARAMETERS_MAX: usize = 1024;

impl Description {
    /// The place of the main input, or of the main output.
    pub(crate) fn main(ports: &[Port]) -> Option<usize> {
        ports.iter().position(|port| port.main).or(if ports.is_empty() { None } else { Some(0) })
    }

    /// The first input besides the main one.
    pub(crate) fn side_chain(&self) -> Option<usize> {
        let main = Self::main(&self.inputs);
        (0..self.inputs.len()).find(|port| Some(*port) != main)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_and_side_chain_are_found() {
        let port = |main| Port { main, channels: 2, ..Port::default() };
        let check = |inputs: &[Port], main, side_chain| {
            let description = Description { inputs: inputs.to_vec(), ..Description::default() };
            assert_eq!((Description::main(inputs), description.side_chain()), (main, side_chain));
        };
        check(&[], None, None);
        check(&[port(false)], Some(0), None);
        check(&[port(false), port(true)], Some(1), Some(0));
        check(&[port(true), port(false), port(false)], Some(0), Some(1));
    }
}
