//! A plug-in's whole life over and over in one process, and what is left of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use crate::{arguments::CycleArguments, engine::Engine, plugin::Plugin, run::tell};

const SAMPLE_RATE: u32 = 48_000;
const BLOCK: u32 = 128;

/// What a process holds that a plug-in might leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holdings {
    threads: usize,
    descriptors: usize,
    resident_kib: usize,
}

impl Holdings {
    fn now() -> Result<Self> {
        let count = |folder: &str| std::fs::read_dir(folder).map(Iterator::count).context("Linux's /proc");
        let status = std::fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|line| line.split_whitespace().next()?.parse().ok());
        Ok(Self {
            threads: count("/proc/self/task")?,
            descriptors: count("/proc/self/fd")?,
            resident_kib: resident.unwrap_or(0),
        })
    }

    fn json(self) -> serde_json::Value {
        json!({ "threads": self.threads, "descriptors": self.descriptors, "resident_kib": self.resident_kib })
    }
}

pub(crate) fn cycle(arguments: &CycleArguments) -> Result<()> {
    let before = Holdings::now()?;
    let mut after_first = None;
    let mut during = None;
    let mut longest = Duration::ZERO;
    for index in 0..arguments.count {
        let began = Instant::now();
        let held = once(arguments).with_context(|| format!("cycle {index}"))?;
        during = during.max(Some((held.threads, held.descriptors)));
        longest = longest.max(began.elapsed());
        after_first = after_first.or(Some(Holdings::now()?));
    }
    let after = Holdings::now()?;
    let library = arguments.plugin.file_name().context("no file name")?.to_string_lossy().into_owned();
    let mapped = std::fs::read_to_string("/proc/self/maps")?.contains(&library);
    tell(&json!({
        "event": "cycled",
        "cycles": arguments.count,
        "before": before.json(),
        "during": during.map(|(threads, descriptors)| json!({ "threads": threads, "descriptors": descriptors })),
        "after_first": after_first.map(Holdings::json),
        "after": after.json(),
        "library_still_mapped": mapped,
        "longest_ms": longest.as_millis(),
    }));
    Ok(())
}

/// One life; returns what the process held in the middle of it.
fn once(arguments: &CycleArguments) -> Result<Holdings> {
    let mut plugin = Plugin::load(&arguments.plugin, &arguments.id)?;
    let ports = plugin.select(2)?;
    plugin.load_state(None, &arguments.fields)?;
    if arguments.calls == 0 {
        plugin.serve();
        return Holdings::now();
    }
    let block = usize::try_from(BLOCK)?;
    let calls = usize::try_from(arguments.calls)?;
    let mut engine = Engine::new(&ports, SAMPLE_RATE, block * calls, block, block);
    let processor = plugin.activate(SAMPLE_RATE, BLOCK)?;
    let audio = std::thread::spawn(move || {
        let mut processor = processor.start_processing().map_err(|error| anyhow!("{error}"))?;
        for _ in 0..calls {
            engine.call(&mut processor, BLOCK, None);
        }
        anyhow::Ok(processor.stop_processing())
    });
    let processor = audio.join().map_err(|_| anyhow!("the audio thread panicked"))??;
    plugin.serve();
    let held = Holdings::now()?;
    plugin.instance.deactivate(processor);
    Ok(held)
}
