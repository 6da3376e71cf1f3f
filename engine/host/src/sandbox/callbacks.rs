//! What a plug-in may ask of us, from whichever thread. Most of it is noted, and done by the main thread's next round.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use clack_extensions::audio_ports::{AudioPortRescanFlags, HostAudioPorts, HostAudioPortsImpl};
use clack_extensions::latency::{HostLatency, HostLatencyImpl};
use clack_extensions::log::{HostLog, HostLogImpl, LogSeverity};
use clack_extensions::note_ports::{HostNotePorts, HostNotePortsImpl, NoteDialects, NotePortRescanFlags};
use clack_extensions::params::{
    HostParams, HostParamsImplMainThread, HostParamsImplShared, ParamClearFlags, ParamRescanFlags,
};
use clack_extensions::state::{HostState, HostStateImpl};
use clack_extensions::tail::{HostTail, HostTailImpl};
use clack_extensions::thread_check::{HostThreadCheck, HostThreadCheckImpl};
use clack_host::prelude::*;
use rustix::process::Pid;
use rustix::thread::gettid;

/// What was asked for since somebody looked.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) callback: AtomicBool,
    pub(super) restart: AtomicBool,
    pub(super) changed: AtomicBool,
    pub(super) late: AtomicBool,
    pub(super) tail: AtomicBool,
    main_thread: Pid,
    log: SyncSender<String>,
}

impl Requests {
    /// On the main thread.
    pub(super) fn new(log: SyncSender<String>) -> Self {
        let flag = || AtomicBool::new(false);
        let (callback, restart, changed, late, tail) = (flag(), flag(), flag(), flag(), flag());
        Self { callback, restart, changed, late, tail, main_thread: gettid(), log }
    }

    /// Whether a flag is up; it is not afterwards.
    pub(super) fn take(flag: &AtomicBool) -> bool {
        flag.swap(false, Ordering::AcqRel)
    }
}

impl SharedHandler<'_> for Requests {
    fn request_restart(&self) {
        self.restart.store(true, Ordering::Release);
    }

    // It is processed all the time.
    fn request_process(&self) {}

    fn request_callback(&self) {
        self.callback.store(true, Ordering::Release);
    }
}

impl HostThreadCheckImpl for Requests {
    fn is_main_thread(&self) -> bool {
        gettid() == self.main_thread
    }

    fn is_audio_thread(&self) -> bool {
        gettid() != self.main_thread
    }
}

impl HostLogImpl for Requests {
    fn log(&self, severity: LogSeverity, message: &str) {
        if severity >= LogSeverity::Warning {
            // A plug-in that says more than is heard is not worth waiting for.
            drop(self.log.try_send(format!("{severity}: {message}")));
        }
    }
}

impl HostParamsImplShared for Requests {
    // The next block is the flush.
    fn request_flush(&self) {}
}

/// The host on the plug-in's main thread.
#[derive(Debug)]
pub(super) struct MainThread<'a> {
    requests: &'a Requests,
}

impl<'a> MainThread<'a> {
    pub(super) fn new(requests: &'a Requests) -> Self {
        Self { requests }
    }
}

impl<'a> MainThreadHandler<'a> for MainThread<'a> {}

impl HostParamsImplMainThread for MainThread<'_> {
    fn rescan(&self, flags: ParamRescanFlags) {
        if flags.contains(ParamRescanFlags::VALUES) {
            self.requests.changed.store(true, Ordering::Release);
        }
    }

    fn clear(&self, _param_id: ClapId, _flags: ParamClearFlags) {}
}

impl HostStateImpl for MainThread<'_> {
    fn mark_dirty(&self) {
        self.requests.changed.store(true, Ordering::Release);
    }
}

impl HostLatencyImpl for MainThread<'_> {
    fn changed(&self) {
        self.requests.late.store(true, Ordering::Release);
    }
}

impl HostAudioPortsImpl for MainThread<'_> {
    // The ports of a node do not change.
    fn is_rescan_flag_supported(&self, flag: AudioPortRescanFlags) -> bool {
        !flag.requires_deactivate()
    }

    fn rescan(&self, _flags: AudioPortRescanFlags) {}
}

impl HostNotePortsImpl for MainThread<'_> {
    fn supported_dialects(&self) -> NoteDialects {
        NoteDialects::CLAP | NoteDialects::MIDI | NoteDialects::MIDI2
    }

    fn rescan(&self, _flags: NotePortRescanFlags) {}
}

/// The host on the plug-in's audio thread.
#[derive(Debug)]
pub(super) struct AudioThread<'a> {
    requests: &'a Requests,
}

impl<'a> AudioThread<'a> {
    pub(super) fn new(requests: &'a Requests) -> Self {
        Self { requests }
    }
}

impl<'a> AudioProcessorHandler<'a> for AudioThread<'a> {}

impl HostTailImpl for AudioThread<'_> {
    fn changed(&mut self) {
        self.requests.tail.store(true, Ordering::Release);
    }
}

/// The host as clack sees it.
#[derive(Debug)]
pub(super) struct Host;

impl HostHandlers for Host {
    type Shared<'a> = Requests;
    type MainThread<'a> = MainThread<'a>;
    type AudioProcessor<'a> = AudioThread<'a>;

    fn declare_extensions(builder: &mut HostExtensions<Self>, _shared: &Self::Shared<'_>) {
        builder.register::<HostParams>().register::<HostState>().register::<HostLatency>();
        builder.register::<HostTail>().register::<HostLog>().register::<HostThreadCheck>();
        builder.register::<HostAudioPorts>().register::<HostNotePorts>();
    }
}
