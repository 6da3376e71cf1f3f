//! CLAP plug-ins of this machine in the chains that it plays, each in a process of its own (`audiocloud sandbox`).
//!
//! Which there are is found out by children, in the background; what crashes is kept in quarantine, in `plug-ins` of the
//! configuration folder.

#[cfg(target_os = "linux")]
mod library;
#[cfg(target_os = "linux")]
pub(crate) use library::library;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use audiocloud_engine::chain::foreign::{Foreign, NoForeign};
use audiocloud_net::runtime::remote::OpenRequest;
use serde_json::{Value, json};

use crate::node::settings::{HostSettings, check_folders};

/// What is told of plug-ins at most, in bytes: the runtime carries 32 KiB.
#[cfg(target_os = "linux")]
const DETAILS_BYTES_MAX: usize = 30 << 10;

/// Which plug-ins there are.
#[derive(Debug, Default)]
pub(crate) struct PlugIns {
    #[cfg(target_os = "linux")]
    library: Option<Arc<library::Shelf>>,
}

/// The plug-ins of one chain, as the chain's thread asks for them.
#[derive(Debug, Default)]
pub(crate) struct Playing {
    #[cfg(target_os = "linux")]
    plug_ins: Option<library::Playing>,
}

/// The answers of the plug-ins of one chain, as its worker waits for them.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    #[cfg(target_os = "linux")]
    of_each: Vec<audiocloud_engine::host::answers::Answers>,
}

impl Answers {
    /// Waits until what a block needs has been answered, or its time is over. They have all been asked by then, and answer
    /// side by side.
    pub(crate) fn wait(&mut self, start: u64, frames: u64) {
        #[cfg(target_os = "linux")]
        self.of_each.iter_mut().for_each(|answers| answers.wait(start, frames));
        #[cfg(not(target_os = "linux"))]
        let _of_none = (start, frames);
    }
}

impl PlugIns {
    /// Those that the settings allow; they are looked for from now on.
    pub(crate) fn find(settings: &HostSettings, config_dir: &Path) -> anyhow::Result<Self> {
        if !(settings.enabled && settings.plugins) {
            return Ok(Self::default());
        }
        check_folders(&settings.plugin_folders)?;
        #[cfg(target_os = "linux")]
        return Ok(Self { library: Some(library::Shelf::open(settings, config_dir)?) });
        #[cfg(not(target_os = "linux"))]
        {
            let _folder = config_dir;
            Ok(Self::default())
        }
    }

    /// What owners of chains are told of them: `{"plug_ins":[{"id","name","vendor"}],"quarantined":[{"id","why"}]}`.
    pub(crate) fn details(&self) -> Vec<u8> {
        #[cfg(target_os = "linux")]
        if let Some(library) = &self.library {
            return library.details();
        }
        Vec::new()
    }

    /// What makes them for one chain, and what can be asked of those that it made. `fifo`: the priority of their audio,
    /// 0: an ordinary one.
    pub(crate) fn foreign(&self, request: &OpenRequest, fifo: u8) -> (Box<dyn Foreign>, Playing) {
        #[cfg(target_os = "linux")]
        if let Some(library) = &self.library {
            let (foreign, playing) = library.foreign(request.block_frames_max, fifo);
            return (foreign, Playing { plug_ins: Some(playing) });
        }
        let _without = (request, fifo);
        (Box::new(NoForeign), Playing::default())
    }
}

impl Playing {
    /// How each does, by the effect's number in the chain.
    pub(crate) fn status(&self) -> Value {
        #[cfg(target_os = "linux")]
        if let Some(plug_ins) = &self.plug_ins {
            return plug_ins.status();
        }
        json!({})
    }

    /// States that changed by themselves, for the owner to keep, by the effect's number in the chain, where there are any.
    pub(crate) fn changed_states(&self) -> Option<Value> {
        #[cfg(target_os = "linux")]
        if let Some(plug_ins) = &self.plug_ins {
            return plug_ins.changed_states();
        }
        None
    }

    /// Effects that are later or earlier than the chain counts on: to be made anew, with the state that they have.
    pub(crate) fn moved(&self) -> Vec<u32> {
        #[cfg(target_os = "linux")]
        if let Some(plug_ins) = &self.plug_ins {
            return plug_ins.moved();
        }
        Vec::new()
    }

    /// The answers of all that play now.
    pub(crate) fn answers(&self) -> Answers {
        #[cfg(target_os = "linux")]
        if let Some(plug_ins) = &self.plug_ins {
            return Answers { of_each: plug_ins.answers() };
        }
        Answers::default()
    }
}

/// The child that holds one plug-in.
#[cfg(target_os = "linux")]
pub(crate) fn sandbox(arguments: Vec<OsString>) -> ExitCode {
    audiocloud_engine::host::sandbox::run(arguments)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sandbox(_arguments: Vec<OsString>) -> ExitCode {
    eprintln!("audiocloud: plug-ins of others are hosted on Linux alone");
    ExitCode::FAILURE
}

/// As many of these as can be told.
#[cfg(target_os = "linux")]
fn told(plug_ins: &[Value], quarantined: &[Value]) -> Vec<u8> {
    let mut count = plug_ins.len();
    loop {
        let mut told = json!({ "plug_ins": plug_ins[..count], "quarantined": quarantined });
        if count < plug_ins.len() {
            told["not_told"] = (plug_ins.len() - count).into();
        }
        let bytes = told.to_string().into_bytes();
        if bytes.len() <= DETAILS_BYTES_MAX || count == 0 {
            return if bytes.len() <= DETAILS_BYTES_MAX { bytes } else { Vec::new() };
        }
        count = count * 3 / 4;
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_plug_ins_is_bounded() {
        let plug_ins: Vec<Value> = (0..2_000)
            .map(|number| json!({ "id": format!("org.example.{number}"), "name": "x".repeat(60) }))
            .collect();
        let few: Value = serde_json::from_slice(&told(&plug_ins[..3], &[])).unwrap();
        assert_eq!((few["plug_ins"].as_array().unwrap().len(), few["not_told"].as_u64()), (3, None));
        let bytes = told(&plug_ins, &[]);
        assert!(bytes.len() <= DETAILS_BYTES_MAX);
        let many: Value = serde_json::from_slice(&bytes).unwrap();
        let shown = many["plug_ins"].as_array().unwrap().len();
        assert!(shown > 100 && many["not_told"] == 2_000 - shown, "{shown}");
    }
}
