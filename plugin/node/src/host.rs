//! What a node plays for others: chains of effects, each on a worker of its own.
//!
//! The runtime says who may ask; here is decided whether there is room, by deadline load ([`load`]). A chain is built,
//! rehearsed and edited on the thread that the runtime has for it, and played by its [`worker`].

mod foreign;
mod load;
mod served;
mod worker;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use audiocloud_engine::graph::load::Report;
use audiocloud_engine::rt::priority;
use audiocloud_net::runtime::remote::{Capacity, Host, OpenRequest, ServedChain};
use serde_json::{Value, json};

#[cfg(target_os = "linux")]
pub(crate) use self::foreign::library;
pub(crate) use self::foreign::{PlugIns, sandbox};
use self::load::{Load, Room};
use self::served::{Served, Shown};
pub(crate) use self::worker::Counters;
use crate::node::settings::HostSettings;

/// One chain, as the metrics show it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChainFigures {
    pub(crate) name: String,
    pub(crate) id: String,
    /// What its owner's device calls itself.
    pub(crate) owner: String,
    pub(crate) load: Option<Report>,
    pub(crate) counters: Counters,
    /// Its worker has not been heard of, or has ended by a mistake of ours.
    pub(crate) is_stuck: bool,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) draining: bool,
    pub(crate) realtime: bool,
    pub(crate) cores: usize,
    /// In cores.
    pub(crate) head_room: f64,
    pub(crate) opened: u64,
    pub(crate) refused_full: u64,
    pub(crate) refused_draining: u64,
    pub(crate) refused_unplayable: u64,
    pub(crate) workers_failed: u64,
    pub(crate) chains: Vec<ChainFigures>,
}

/// What a node plays for others.
#[derive(Debug)]
pub(crate) struct Hosting {
    settings: HostSettings,
    room: Room,
    realtime: bool,
    draining: AtomicBool,
    opened: AtomicU64,
    refused_full: AtomicU64,
    refused_draining: AtomicU64,
    refused_unplayable: AtomicU64,
    workers_failed: Arc<AtomicU64>,
    chains: Mutex<Vec<Weak<Shown>>>,
    plug_ins: PlugIns,
    /// What owners of chains are told of the node.
    details: Mutex<Vec<u8>>,
}

impl Hosting {
    /// Nothing is played yet.
    pub(crate) fn new(settings: HostSettings, plug_ins: PlugIns) -> Self {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let room = Room { cores, load_max: settings.load_max, chains_max: settings.chains_max };
        let realtime = settings.priority > 0 && is_permitted(settings.priority);
        let hosting = Self {
            settings,
            room,
            realtime,
            draining: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            refused_full: AtomicU64::new(0),
            refused_draining: AtomicU64::new(0),
            refused_unplayable: AtomicU64::new(0),
            workers_failed: Arc::default(),
            chains: Mutex::default(),
            plug_ins,
            details: Mutex::default(),
        };
        hosting.tell(&Value::Null);
        hosting
    }

    /// Brings up to date what owners of chains are told: `{"version","architecture","clock":{"quality","bound_us"}}` and
    /// the plug-ins. Bits agree between equal versions and architectures. The bound is a power of two, for whatever changes
    /// is told again.
    pub(crate) fn tell(&self, clock: &Value) {
        let mut details: Value =
            serde_json::from_slice(&self.plug_ins.details()).unwrap_or_else(|_| json!({}));
        details["version"] = env!("CARGO_PKG_VERSION").into();
        details["architecture"] = std::env::consts::ARCH.into();
        let bound_us =
            clock["bound_ns"].as_u64().map(|bound_ns| bound_ns.div_ceil(1_000).next_power_of_two());
        details["clock"] = json!({ "quality": clock["quality"], "bound_us": bound_us });
        *self.details.lock().unwrap_or_else(PoisonError::into_inner) = details.to_string().into_bytes();
    }

    /// Whether workers are scheduled in real time, in words.
    pub(crate) fn scheduling(&self) -> String {
        let priority = self.settings.priority;
        match (self.realtime, priority) {
            (true, _) => format!("in real time (SCHED_FIFO {priority})"),
            (false, 0) => "at an ordinary priority, as node.toml has it".to_owned(),
            (false, _) => "at an ordinary priority, for the system permits no other; allow it (ulimit -r, \
                           LimitRTPRIO) or blocks will be late under load"
                .to_owned(),
        }
    }

    /// Nothing is let in any more.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// How many chains there are.
    pub(crate) fn chains(&self) -> usize {
        living(&mut self.list()).len()
    }

    pub(crate) fn figures(&self) -> Figures {
        let shown = living(&mut self.list());
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            draining: self.draining.load(Ordering::Relaxed),
            realtime: self.realtime,
            cores: self.room.cores,
            head_room: self.room.left(reserved(&shown)),
            opened: count(&self.opened),
            refused_full: count(&self.refused_full),
            refused_draining: count(&self.refused_draining),
            refused_unplayable: count(&self.refused_unplayable),
            workers_failed: count(&self.workers_failed),
            chains: shown.iter().map(|chain| chain.figures()).collect(),
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Weak<Shown>>> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps room for a chain, if there is any.
    fn admit(&self, shown: &Arc<Shown>) -> Result<(), String> {
        let mut list = self.list();
        let others = living(&mut list);
        self.room.admit(others.len(), reserved(&others), shown.load().reserved())?;
        list.push(Arc::downgrade(shown));
        Ok(())
    }
}

impl Host for Hosting {
    fn open(&self, request: OpenRequest) -> Result<Box<dyn ServedChain>, String> {
        let (name, owner) = (request.name.clone(), request.who.name.clone());
        let refused = |counter: &AtomicU64, why: String| {
            counter.fetch_add(1, Ordering::Relaxed);
            tracing::info!(target: "audiocloud::node", chain = name, owner, why, "chain refused");
            why
        };
        if self.draining.load(Ordering::Relaxed) {
            return Err(refused(
                &self.refused_draining,
                "this node is about to end; choose another one".to_owned(),
            ));
        }
        // Building takes time; who is full says so before.
        let full = self.room.admit(self.chains(), 0.0, 0.0);
        full.map_err(|why| refused(&self.refused_full, why))?;
        let fifo = if self.realtime { self.settings.priority } else { 0 };
        let built = served::build(&request, &self.plug_ins, fifo);
        let built = built.map_err(|why| refused(&self.refused_unplayable, why))?;
        let shown = Arc::new(Shown::new(&request, Load { measured: None, rehearsed: built.rehearsed }));
        self.admit(&shown).map_err(|why| refused(&self.refused_full, why))?;
        let served = Served::start(built, request, shown, fifo, Arc::clone(&self.workers_failed))
            .map_err(|why| refused(&self.refused_unplayable, why))?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        tracing::info!(target: "audiocloud::node", chain = name, owner, "chain opened");
        Ok(Box::new(served))
    }

    fn capacity(&self) -> Capacity {
        let shown = living(&mut self.list());
        let left = self.room.left(reserved(&shown)) / self.room.total();
        let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        Capacity {
            chains: count(shown.len()),
            chains_max: count(self.room.chains_max),
            head_room_permille: permille(left),
            workers: count(self.room.cores),
            realtime: self.realtime,
            draining: self.draining.load(Ordering::Relaxed),
            details: self.details.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// Those that are still played; the others are forgotten.
fn living(list: &mut Vec<Weak<Shown>>) -> Vec<Arc<Shown>> {
    list.retain(|one| one.strong_count() > 0);
    list.iter().filter_map(Weak::upgrade).collect()
}

/// What all of them need, in cores.
fn reserved(chains: &[Arc<Shown>]) -> f64 {
    chains.iter().map(|chain| chain.load().reserved()).sum()
}

/// From 0 to 1 as thousandths, rounded down: a node that has nothing left must not seem to.
fn permille(ratio: f64) -> u16 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 1000")]
    let permille = (ratio.clamp(0.0, 1.0) * 1000.0) as u16;
    permille
}

/// Whether a thread may have this priority: one tries.
fn is_permitted(fifo: u8) -> bool {
    thread::spawn(move || priority::realtime(fifo).is_ok()).join().unwrap_or(false)
}

#[cfg(test)]
mod tests;
