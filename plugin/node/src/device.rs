//! Sound without a DAW: `audiocloud send` and `audiocloud receive`, from and to JACK, a sound device, or a file.
//!
//! What drives it is a callback: JACK's, the device's, or for files a thread of ours that keeps time ([`paced`]). What is
//! driven is the sender's tap ([`publish`]) or the receiver's playout ([`play`]), as in the plug-ins.

#[cfg(feature = "cpal")]
mod card;
mod find;
mod jack;
mod paced;
mod play;
mod publish;
mod receive;
mod send;
mod until;
mod wav;

use audiocloud_engine::rt::callback::Callback;
use audiocloud_engine::units::{Nanos, SampleRate};

pub(crate) use receive::run as receive;
pub(crate) use send::run as send;

/// The most channels of a stream.
const CHANNELS_MAX: usize = 64;
/// Rings hold so much sound: who fills them in one go, and who empties them late, has that much room.
const RING: Nanos = Nanos::from_millis(400);
/// As if no block were shorter than this, lest a ring run out of headers.
const SMALL_BLOCK: usize = 16;
const EVENTS: usize = 1_024;

/// What a device calls for each block: not always equally long.
trait Process: Send {
    /// Takes what came in, and writes every sample of what goes out.
    ///
    /// *Realtime-safe: yes.*
    fn process(&mut self, callback: &Callback<'_>, input: &[&[f32]], output: &mut [&mut [f32]]);
}

/// What a device, or a file, is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    sample_rate: SampleRate,
    channels: u16,
    /// The longest block, in frames, as far as it is known.
    block_max: u32,
}

impl Shape {
    /// Blocks and samples that a ring holds.
    fn ring(&self) -> (usize, usize) {
        let span = usize::try_from(RING.to_frames_ceil(self.sample_rate).get()).unwrap_or(0);
        let frames = span.max(16 * usize::try_from(self.block_max).unwrap_or(0));
        (frames.div_ceil(SMALL_BLOCK), frames * usize::from(self.channels))
    }

    /// For people.
    fn words(&self) -> String {
        let channels = crate::field::counted(self.channels.into(), "channel", "channels");
        format!("{} kHz, {channels}", f64::from(self.sample_rate.hz()) / 1000.0)
    }
}

/// A device that runs until it is dropped.
trait Running {
    /// Why it runs no longer, if it does not: cause and remedy.
    fn trouble(&self) -> Option<String>;

    /// Blocks that the device lost because somebody, not always we, was too slow.
    fn overruns(&self) -> u64;
}
