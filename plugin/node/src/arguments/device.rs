//! What `audiocloud send` and `audiocloud receive` can be told.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

/// The longest block that can be asked for, in frames.
const BLOCK_MAX: i64 = 8_192;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true))]
pub(crate) struct SendArguments {
    /// A recording (WAV), at its own sample rate
    #[arg(group = "source")]
    pub(crate) file: Option<PathBuf>,
    /// What comes into a client of JACK, under this name
    #[arg(long, value_name = "NAME", group = "source", num_args = 0..=1, default_missing_value = "audiocloud")]
    pub(crate) jack: Option<String>,
    /// What a sound device of the system records: its name, or the beginning of it, or `default`
    #[cfg(feature = "cpal")]
    #[arg(long, value_name = "DEVICE", group = "source", num_args = 0..=1, default_missing_value = "default")]
    pub(crate) device: Option<String>,
    /// What the stream is called; without it, the file or the client
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// From so many channels
    #[arg(long, value_name = "N", default_value_t = 2, conflicts_with = "file", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) channels: u16,
    /// Connects these ports of JACK, in the order of the channels, such as system:capture_1,system:capture_2
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', requires = "jack")]
    pub(crate) connect: Vec<String>,
    /// Plays the recording again and again
    #[arg(long = "loop", requires = "file")]
    pub(crate) again: bool,
    /// Begins when somebody listens
    #[arg(long, requires = "file")]
    pub(crate) wait: bool,
    /// Frames a block, of a recording
    #[arg(long, value_name = "N", default_value_t = 128, requires = "file", value_parser = clap::value_parser!(u32).range(16..=BLOCK_MAX))]
    pub(crate) block: u32,
    /// For the members of this session, by name or id; without it, for your own machines and who is named or accepted
    #[arg(long = "in", value_name = "SESSION")]
    pub(crate) session: Option<String>,
    #[command(flatten)]
    pub(crate) run: RunArguments,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").required(true))]
pub(crate) struct ReceiveArguments {
    /// Its name or its id, as `audiocloud streams` shows them; waits for it if it is not there
    pub(crate) stream: String,
    /// Into a client of JACK, under this name
    #[arg(long, value_name = "NAME", group = "target", num_args = 0..=1, default_missing_value = "audiocloud")]
    pub(crate) jack: Option<String>,
    /// Into a sound device of the system: its name, or the beginning of it, or `default`
    #[cfg(feature = "cpal")]
    #[arg(long, value_name = "DEVICE", group = "target", num_args = 0..=1, default_missing_value = "default")]
    pub(crate) device: Option<String>,
    /// Into a recording (WAV, 32-bit float, at the stream's sample rate), from its first sound until the stream ends
    #[arg(long, value_name = "FILE", group = "target")]
    pub(crate) wav: Option<PathBuf>,
    /// Connects these ports of JACK, in the order of the channels, such as system:playback_1,system:playback_2
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', requires = "jack")]
    pub(crate) connect: Vec<String>,
    /// Always so late; without it, a recording 200 ms, a device as briefly as the network allows
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(..=1_000))]
    pub(crate) delay: Option<u16>,
    /// At one time in all places that do so
    #[arg(long, conflicts_with_all = ["delay", "wav"])]
    pub(crate) aligned: bool,
    /// The device has the sender's sample clock (word clock): never resampled; nor is a recording, which keeps the sender's
    #[arg(long)]
    pub(crate) same_clock: bool,
    /// Ends after so many seconds of sound
    #[arg(long, value_name = "SECONDS")]
    pub(crate) seconds: Option<f64>,
    #[command(flatten)]
    pub(crate) run: RunArguments,
}

/// Of both.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// What it is, as a JSON document once it runs, and what became of it, as another one at its end
    #[arg(long)]
    pub(crate) json: bool,
}
