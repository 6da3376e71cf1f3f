//! A chain of effects on another machine: what goes through it, there and back.
//!
//! Each way is an [`Outlet`] at one end and an [`Intake`] at the other. The outlet cuts blocks into *slices*, each with the
//! events of its frames, and sends again what is missed; the intake puts them together again. Both ways are alike but for
//! what becomes of frames that are missing:
//!
//! - On the way **there** a processor wants every frame, in order. What does not come within the patience is silence of
//!   the same length, counted.
//! - On the way **back** each frame has its time, and whoever plays it knows what to do without: blocks are handed over
//!   as they come, each once, and what is missing is left out.
//!
//! *Live*, slices are datagrams. What is missing is asked for at once, and again with each round trip; a path that goes on
//! losing gets each slice twice. *Exact*, the same slices follow each other on a stream ([`framing`]), which loses nothing.
//!
//! Events that were lost with their slices are asked for beyond the patience: a parameter or the end of a note counts
//! even when it comes late.
//!
//! *Realtime-safe: no*, all of it: for the network thread. A slice costs no allocation of its own but its share of a
//! chunk.

use audiocloud_units::SampleRate;
use audiocloud_wire::id::RemoteId;
use audiocloud_wire::packet::slice::Flags;

mod convert;
pub mod document;
mod doubling;
mod figures;
pub mod framing;
mod intake;
mod outlet;
mod overdue;
#[cfg(test)]
mod tests;
mod window;

pub use figures::{IntakeFigures, OutletFigures};
pub use intake::{Intake, IntakeConfig, Output};
pub use outlet::{Mismatch, Outlet};

/// Which way slices go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// To the node that has the chain.
    There,
    /// From it.
    Back,
}

impl Way {
    /// As slices say it.
    fn flags(self) -> Flags {
        match self {
            Self::There => Flags::NONE,
            Self::Back => Flags::BACK,
        }
    }

    /// The way of a slice or a report that is, or is not, of what comes back.
    #[must_use]
    pub fn of(back: bool) -> Self {
        if back { Self::Back } else { Self::There }
    }
}

/// How slices go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// As datagrams, in time or not at all.
    #[default]
    Live,
    /// On a stream, all of them, whenever.
    Exact,
}

/// One way of one opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which opening: drawn anew for each, so that nothing of an earlier one is taken for its own.
    pub remote: RemoteId,
    /// Which way.
    pub way: Way,
    /// Frames per second.
    pub sample_rate: SampleRate,
    /// Channels of every block, 1 to 64: of the way there, main channels and after them those of the side-chain.
    pub channels: u16,
    /// How.
    pub transfer: Transfer,
}

impl Config {
    /// The channels as a slice says them; 0, which no slice has, for too many.
    fn channel_count(&self) -> u8 {
        u8::try_from(self.channels).unwrap_or(0)
    }
}
