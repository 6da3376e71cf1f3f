//! The one library that exports every audiocloud plug-in, as CLAP and as VST3.
//!
//! The sentence of this crate: *one library, so one runtime for all instances of a process.* It holds no code of its
//! own. Some hosts load only the first class of a VST3: the features `only-send`, `only-receive`, `only-clock` and
//! `only-remote-fx` export one each.

// Exporting is calling C: the macros expand to the entry points that hosts look for.
#![allow(unsafe_code, reason = "the entry points of CLAP and VST3 are C functions")]

#[cfg(any(
    all(
        feature = "only-send",
        any(feature = "only-receive", feature = "only-clock", feature = "only-remote-fx")
    ),
    all(feature = "only-receive", any(feature = "only-clock", feature = "only-remote-fx")),
    all(feature = "only-clock", feature = "only-remote-fx")
))]
compile_error!("only-send, only-receive, only-clock and only-remote-fx exclude each other");

#[cfg(not(any(
    feature = "only-send",
    feature = "only-receive",
    feature = "only-clock",
    feature = "only-remote-fx"
)))]
mod export {
    use audiocloud_clock_sync::Clock;
    use audiocloud_receive::{Receive, ReceiveVst3};
    use audiocloud_remote_fx::{RemoteFx, RemoteFxVst3};
    use audiocloud_send::{Send, SendVst3};
    nice_plug::nice_export_clap!(Send, Receive, Clock, RemoteFx);
    nice_plug::nice_export_vst3!(SendVst3, ReceiveVst3, Clock, RemoteFxVst3);
}

#[cfg(feature = "only-send")]
mod export {
    use audiocloud_send::{Send, SendVst3};
    nice_plug::nice_export_clap!(Send);
    nice_plug::nice_export_vst3!(SendVst3);
}

#[cfg(all(feature = "only-receive", not(feature = "only-send")))]
mod export {
    use audiocloud_receive::{Receive, ReceiveVst3};
    nice_plug::nice_export_clap!(Receive);
    nice_plug::nice_export_vst3!(ReceiveVst3);
}

#[cfg(all(feature = "only-clock", not(any(feature = "only-send", feature = "only-receive"))))]
mod export {
    use audiocloud_clock_sync::Clock;
    nice_plug::nice_export_clap!(Clock);
    nice_plug::nice_export_vst3!(Clock);
}

#[cfg(all(
    feature = "only-remote-fx",
    not(any(feature = "only-send", feature = "only-receive", feature = "only-clock"))
))]
mod export {
    use audiocloud_remote_fx::{RemoteFx, RemoteFxVst3};
    nice_plug::nice_export_clap!(RemoteFx);
    nice_plug::nice_export_vst3!(RemoteFxVst3);
}
