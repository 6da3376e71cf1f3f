//! The built plug-ins, in processes of their own, over real sockets.

mod aligned;
mod ardour;
mod clock;
mod cut;
mod device;
mod everyday;
mod faults;
mod heal;
mod hostile;
#[cfg(target_os = "linux")]
mod hosting;
#[cfg(target_os = "linux")]
mod insert;
mod latency;
mod link;
mod midi;
mod mixing;
mod nat;
mod notes;
mod patch;
#[cfg(target_os = "linux")]
mod plug_ins;
mod project;
mod ptp;
mod remote_fx;
mod session;
mod sixteen;
mod strangers;
mod three;
mod whole;
