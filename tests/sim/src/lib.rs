//! A network and sound cards that exist in virtual time alone, to drive code that does no I/O of its own.
//!
//! The sentence of this crate: *what happens is a function of the seed.* Time is a number that is moved from one event
//! to the next, so that an hour lasts as long as its work; two runs of one seed agree to the bit, on any machine.
//!
//! - [`time`]: events in order of time, and of insertion where times are equal.
//! - [`random`] and [`seed`]: numbers that a seed decides, and a seed that is printed by whatever test fails.
//! - [`spread`], [`loss`], [`bottleneck`]: delays that vary, packets that vanish, a rate that is limited.
//! - [`link`] and [`network`]: one way from node to node, and all of them.
//! - [`clock`]: a sound card that drifts, and a host that calls back late.
//! - [`world`]: hosts and network, in the order in which things happen.
//!
//! Time is [`Nanos`](audiocloud_units::Nanos) since the world began; no simulated machine can see it. What a machine
//! sees is its own [`HostTime`](audiocloud_units::HostTime).
//!
//! It never sleeps, reads no clock, opens no socket, and starts no thread. All of it allocates: *Realtime-safe: no*.

pub mod bottleneck;
pub mod clock;
pub mod link;
pub mod loss;
pub mod network;
pub mod random;
pub mod seed;
pub mod spread;
pub mod time;
pub mod world;
