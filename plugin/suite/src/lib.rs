//! The one library that exports every audiocloud plug-in, as CLAP and as VST3.
//!
//! The sentence of this crate: *one library, so one runtime for all instances of a process.* It holds no code of its
//! own. Some hosts load only the first class of a VST3: the features `only-send`, `only-receive` and `only-clock` export one
//! each.

// Exporting is calling C: the macros expand to the entry points that hosts look for.
#![allow(unsafe_code, reason = "the entry points of CLAP and VST3 are C functions")]

#[cfg(not(any(feature = "only-send", feature = "only-receive")))]
use audiocloud_clock_sync::Clock;
#[cfg(not(any(feature = "only-send", feature = "only-clock")))]
use audiocloud_receive::{Receive, ReceiveVst3};
#[cfg(not(any(feature = "only-receive", feature = "only-clock")))]
use audiocloud_send::{Send, SendVst3};

#[cfg(any(
    all(feature = "only-send", feature = "only-receive"),
    all(feature = "only-send", feature = "only-clock"),
    all(feature = "only-receive", feature = "only-clock")
))]
compile_error!("only-send, only-receive and only-clock exclude each other");

#[cfg(not(any(feature = "only-send", feature = "only-receive", feature = "only-clock")))]
mod export {
    use super::{Clock, Receive, ReceiveVst3, Send, SendVst3};
    nice_plug::nice_export_clap!(Send, Receive, Clock);
    nice_plug::nice_export_vst3!(SendVst3, ReceiveVst3, Clock);
}

#[cfg(all(feature = "only-send", not(any(feature = "only-receive", feature = "only-clock"))))]
mod export {
    use super::{Send, SendVst3};
    nice_plug::nice_export_clap!(Send);
    nice_plug::nice_export_vst3!(SendVst3);
}

#[cfg(all(feature = "only-receive", not(any(feature = "only-send", feature = "only-clock"))))]
mod export {
    use super::{Receive, ReceiveVst3};
    nice_plug::nice_export_clap!(Receive);
    nice_plug::nice_export_vst3!(ReceiveVst3);
}

#[cfg(all(feature = "only-clock", not(any(feature = "only-send", feature = "only-receive"))))]
mod export {
    use super::Clock;
    nice_plug::nice_export_clap!(Clock);
    nice_plug::nice_export_vst3!(Clock);
}
