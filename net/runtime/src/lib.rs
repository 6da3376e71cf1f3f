//! The runtime of a process: the QUIC mesh, identity, discovery, and the pumps between rings and packets.
//!
//! One sentence: **the only sockets are here.** One runtime serves every plug-in instance of a process, on its own
//! threads; it starts with the first [`Runtime::acquire`] and is joined when the last [`Handle`] goes, for the host
//! may unload the library afterwards.
//!
//! It never runs in the audio callback, never interprets what the samples mean, and never lets a peer that is not
//! authenticated reach anything but the handshake. Whatever a peer sends is a value to be checked, never a panic.

pub mod bridge;
pub mod calendar;
pub mod claim;
pub mod clock;
pub mod config;
pub mod control;
pub mod discovery;
pub mod doctor;
pub mod identity;
pub mod pairing;
pub mod remote;
pub mod sessions;

mod address_table;
mod alarm;
mod allowance;
mod backoff;
mod candidates;
mod command;
mod congestion;
mod connection;
mod connection_ids;
mod counters;
mod directory;
mod error;
mod handle;
mod health;
mod hello;
mod hub;
mod input;
mod journal;
mod kernel_socket;
mod meeting;
mod peer;
mod private_file;
mod publisher;
mod quic_runtime;
#[cfg(target_os = "linux")]
mod readiness;
mod rounds;
mod socket;
mod standing;
mod status;
mod subscriber;
mod thread;
mod tls;
mod transport;
mod udp_port;

pub use claim::{Claim, ClaimError};
pub use config::{Config, ExplicitPeer, MeetingPoint, Serve};
pub use counters::{LaneFigures, PublicationFigures, RuntimeFigures, SubscriptionFigures};
pub use error::Error;
pub use handle::{
    Handle, Publication, PublishConfig, Runtime, Shown, SubscribeConfig, Subscription, random_stream,
};
pub use health::{Heard, ListenerStatus, Loss, Owner, PathFigures};
pub use input::{Input, InputConfig, InputStatus, PatchRefusal, PatchWish};
pub use meeting::client::MeetingStatus;
pub use sessions::{SessionMember, SessionStatus, Stranger};
pub use status::{
    Link, LossCause, PeerState, PeerStatus, PublicationStatus, Report, StreamEntry, SubscriptionStatus,
};

#[cfg(test)]
mod tests;
