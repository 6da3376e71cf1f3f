//! The thread of a chain that is played here: what takes time, such as to load and to build, must not hold up the network.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::mpsc::UnboundedSender;

use super::api::DOCUMENT_BYTES_MAX;
use super::host::{Host, OpenRequest, ServedChain};
use super::order::{Order, tell};
use super::status::HostShared;
use crate::command::Command;

/// What a host may say of a chain, in bytes.
const REPORT_BYTES_MAX: usize = 32 << 10;

/// What such a thread is to do. It ends when nobody can ask it any more.
pub(crate) enum Job {
    Document(Vec<u8>),
    /// And its states, if they can be carried now.
    Report {
        states: bool,
    },
}

/// Says that the thread has ended, however it did.
struct Ending {
    serving: u64,
    shared: Arc<HostShared>,
    commands: UnboundedSender<Command>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        tell(&self.commands, Order::Ended { serving: self.serving });
        self.shared.thread_ends();
    }
}

/// Opens a chain on a thread of its own, which then does its jobs.
///
/// # Errors
/// The system has no thread for it.
pub(crate) fn spawn(
    host: Arc<dyn Host>,
    request: OpenRequest,
    serving: u64,
    shared: &Arc<HostShared>,
    commands: &UnboundedSender<Command>,
) -> std::io::Result<Sender<Job>> {
    let (jobs, queue) = channel();
    shared.thread_begins();
    // Where there is no thread it is dropped with the closure.
    let ending = Ending { serving, shared: Arc::clone(shared), commands: commands.clone() };
    std::thread::Builder::new().name("audiocloud-chain".to_owned()).spawn(move || {
        let ending = ending;
        let opened = host.open(request);
        let (result, chain) = match opened {
            Ok(chain) => (Ok(()), Some(chain)),
            Err(why) => (Err(why), None),
        };
        tell(&ending.commands, Order::Opened { serving, result });
        if let Some(chain) = chain {
            work(chain, &queue, &ending);
        }
    })?;
    Ok(jobs)
}

fn work(mut chain: Box<dyn ServedChain>, queue: &Receiver<Job>, ending: &Ending) {
    while let Ok(job) = queue.recv() {
        let (mut document, mut report, mut states) = (None, false, false);
        // Of documents that wait only the last one counts.
        for job in std::iter::once(job).chain(queue.try_iter()) {
            match job {
                Job::Document(latest) => document = Some(latest),
                Job::Report { states: too } => (report, states) = (true, states | too),
            }
        }
        if let Some(document) = document {
            chain.set_document(&document);
        }
        if report {
            let report = chain.report();
            if report.len() <= REPORT_BYTES_MAX {
                tell(&ending.commands, Order::Report { serving: ending.serving, report });
            } else {
                tracing::warn!(target: "audiocloud::net", bytes = report.len(), "a chain's report is too long");
            }
        }
        if let Some(states) = states.then(|| chain.states()).flatten() {
            if states.len() <= DOCUMENT_BYTES_MAX {
                tell(&ending.commands, Order::States { serving: ending.serving, states });
            } else {
                tracing::warn!(target: "audiocloud::net", bytes = states.len(), "a chain's states are too long");
            }
        }
    }
}
