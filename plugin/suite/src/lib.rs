//! The one library that exports every audiocloud plug-in, as CLAP and as VST3.
//!
//! The sentence of this crate: *one library, so one runtime for all instances of a process.* It holds no code of its
//! own. Some hosts load only the first class of a VST3: the features `only-send` and `only-receive` export one each.

// Exporting is calling C: the macros expand to the entry points that hosts look for.
#![allow(unsafe_code, reason = "the entry points of CLAP and VST3 are C functions")]

#[cfg(not(feature = "only-send"))]
use audiocloud_receive::{Receive, ReceiveVst3};
#[cfg(not(feature = "only-receive"))]
use audiocloud_send::{Send, SendVst3};

#[cfg(all(feature = "only-send", feature = "only-receive"))]
compile_error!("only-send and only-receive exclude each other");

#[cfg(not(any(feature = "only-send", feature = "only-receive")))]
mod export {
    use super::{Receive, ReceiveVst3, Send, SendVst3};
    nice_plug::nice_export_clap!(Send, Receive);
    nice_plug::nice_export_vst3!(SendVst3, ReceiveVst3);
}

#[cfg(all(feature = "only-send", not(feature = "only-receive")))]
mod export {
    use super::{Send, SendVst3};
    nice_plug::nice_export_clap!(Send);
    nice_plug::nice_export_vst3!(SendVst3);
}

#[cfg(all(feature = "only-receive", not(feature = "only-send")))]
mod export {
    use super::{Receive, ReceiveVst3};
    nice_plug::nice_export_clap!(Receive);
    nice_plug::nice_export_vst3!(ReceiveVst3);
}
