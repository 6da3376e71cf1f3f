//! The hub's part in chains of effects that run elsewhere, and in those that run here for others: what peers say of them,
//! which link a chain goes over, and the doors at which rights are asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Instant;

use audiocloud_rt::host_time;
use audiocloud_units::HostTime;
use audiocloud_wire::id::{ChainId, RemoteId};
use audiocloud_wire::message::{Message, RemoteCapacity};
use audiocloud_wire::packet::slice::{Flags, SlicePacket};
use audiocloud_wire::packet::slice_report::SliceReport;
use tokio::sync::mpsc;

use super::{Connected, Hub};
use crate::command::Command;
use crate::remote::RemoteState;
use crate::remote::end::End;
use crate::remote::opening::{Chain, Stage};
use crate::remote::order::Order;
use crate::remote::serving::{Asking, Hosting, Served};
use crate::status::lock;

mod ours;
mod seen;
mod theirs;

use seen::Seen;

/// Looked after that often, in ticks of 50 ms: what peers are told, and what is shown.
const TICKS_PER_ROUND: u32 = 5;
/// Reports are asked for every so many rounds.
const ROUNDS_PER_REPORT: u32 = 4;

/// What the hub keeps of chains.
pub(crate) struct Remoting {
    /// Ours.
    chains: BTreeMap<ChainId, Chain>,
    /// Their openings, by link.
    openings: HashMap<(u64, RemoteId), ChainId>,
    /// What nodes can take, by link.
    offers: BTreeMap<u64, RemoteCapacity>,
    /// Those that are played here, by a number of our own.
    served: BTreeMap<u64, Served>,
    /// By link.
    servings: HashMap<(u64, RemoteId), u64>,
    hosting: Option<Hosting>,
    /// What each peer may still ask for.
    askings: BTreeMap<u64, Asking>,
    /// Chains of peers, and who watches ours.
    seen: Seen,
    next_serving: u64,
    ticks: u32,
    rounds: u32,
    commands: mpsc::UnboundedSender<Command>,
}

impl Remoting {
    /// `commands`: the hub's own queue, for threads of chains.
    pub(crate) fn new(commands: mpsc::UnboundedSender<Command>) -> Self {
        Self {
            chains: BTreeMap::new(),
            openings: HashMap::new(),
            offers: BTreeMap::new(),
            served: BTreeMap::new(),
            servings: HashMap::new(),
            hosting: None,
            askings: BTreeMap::new(),
            seen: Seen::default(),
            next_serving: 0,
            ticks: 0,
            rounds: 0,
            commands,
        }
    }
}

impl Remoting {
    fn asking(&mut self, link: u64, now: Instant) -> &mut Asking {
        self.askings.entry(link).or_insert_with(|| Asking::new(now))
    }

    /// Takes the share of a document's part. What there is too much of, where there is none left.
    pub(super) fn allow_document(&mut self, link: u64, bytes: usize) -> Result<(), &'static str> {
        let now = Instant::now();
        self.asking(link, now).documents.take(bytes, now)
    }
}

impl Drop for Remoting {
    fn drop(&mut self) {
        // Whoever still has a chain is not to believe in it.
        for chain in self.chains.values() {
            let mut state = lock(&chain.shared.state);
            state.state = RemoteState::Searching;
            "audiocloud has ended in this process; reload the plug-in".clone_into(&mut state.words);
            drop(state);
            chain.shared.arrived.ring();
        }
        if let Some(hosting) = &self.hosting {
            hosting.shared.stop();
        }
    }
}

impl Hub {
    pub(super) fn handle_remote_order(&mut self, order: Order) {
        match order {
            Order::Open { shared, config, ends } => self.add_chain(shared, *config, *ends),
            Order::Close { chain } => self.remove_chain(chain),
            Order::Broke { chain, remote, why } => self.broke_off(chain, remote, &why),
            Order::Document { chain } => self.document_changed(chain),
            Order::Changed => self.tell_chains(),
            Order::Node { chain, node } => self.choose_node(chain, node),
            Order::Propose { chain, edit } => self.propose(chain, edit),
            Order::Serve { serial, host, shared } => {
                self.stop_serving(None);
                self.remote.hosting = Some(Hosting::new(serial, host, shared));
                self.tell_capacity();
            }
            Order::Drain { serial } => self.drain(serial),
            Order::StopServing { serial } => self.stop_serving(Some(serial)),
            Order::Opened { serving, result } => self.served_opened(serving, result),
            Order::Report { serving, report } => self.served_reports(serving, report),
            Order::States { serving, states } => self.served_states(serving, states),
            Order::Ended { serving } => self.served_ended(serving),
        }
    }

    /// Takes what a peer says of chains; the message back if it is about something else.
    pub(super) fn take_remote_message(&mut self, id: u64, message: Message) -> Option<Message> {
        match message {
            Message::RemoteCapacity(capacity) => self.take_capacity(id, capacity),
            Message::RemoteOpened(opened) => self.opened(id, opened.remote),
            Message::RemoteRefused(refused) => self.remote_refused(id, &refused),
            Message::RemoteReport(report) => self.take_report(id, report),
            Message::RemoteStates(states) => self.take_states(id, &states),
            Message::RemoteOpen(open) => self.asked_to_open(id, *open),
            Message::RemoteDocument(document) => self.take_document(id, &document),
            Message::RemoteClose(close) => self.close_served(id, close.remote),
            Message::RemoteChains(chains) => self.take_chains(id, chains),
            Message::RemoteWatch(watch) => self.take_watch(id, watch),
            Message::RemoteView(view) => self.take_view(id, &view),
            Message::RemoteProposal(proposal) => self.take_proposal(id, proposal),
            Message::RemoteProposalRefused(refused) => self.proposal_refused(id, &refused),
            other => return Some(other),
        }
        None
    }

    // ---- Links.

    /// A peer has been let in, or may do other things than before.
    pub(super) fn remote_link_changed(&mut self, id: u64) {
        self.recheck_served(id);
        self.tell_capacity();
        self.tell_chains();
        self.settle_chains();
    }

    /// A connection is over. Chains that ran over it are looked after when the others are settled.
    pub(super) fn remote_link_gone(&mut self, id: u64) {
        self.remote.offers.remove(&id);
        self.remote.askings.remove(&id);
        self.remote.seen.link_gone(id);
        if let Some(hosting) = &mut self.remote.hosting {
            hosting.told.remove(&id);
        }
        self.drop_served_of(id);
        self.leave_link(id);
        self.show_chains();
    }

    // ---- Media.

    /// Moves what callbacks and workers left in their rings. Whether more is waiting.
    pub(super) fn pump_remote(&mut self) -> bool {
        let now = host_time::now();
        let (mut more, mut silent) = (false, false);
        let mut wake = None;
        for chain in self.remote.chains.values_mut() {
            silent |= chain.notice_silence(now);
            more |= pump(&chain.end, &mut wake);
        }
        for served in self.remote.served.values() {
            more |= pump(&served.end, &mut wake);
        }
        self.move_alarm(wake);
        if silent {
            self.settle_chains();
        }
        more
    }

    pub(super) fn take_slice(&mut self, id: u64, slice: &SlicePacket<'_>) {
        let remote = slice.header.remote;
        let now = host_time::now();
        let end = if slice.header.flags.contains(Flags::BACK) {
            let chain = self.remote.openings.get(&(id, remote)).copied();
            chain.and_then(|chain| self.end_of_chain(chain))
        } else {
            self.served_at(id, remote).map(|served| Rc::clone(&served.end))
        };
        let Some(end) = end.filter(|end| end.borrow_mut().handle_slice(slice, now)) else {
            self.shared.counters.unknown_stream.add(1);
            return;
        };
        let wake = end.borrow().next_wake();
        self.move_alarm(wake);
    }

    /// Of a chain of ours, from whose node something has come.
    fn end_of_chain(&mut self, id: ChainId) -> Option<Rc<RefCell<End>>> {
        let chain = self.remote.chains.get_mut(&id)?;
        let end = Rc::clone(&chain.end);
        if matches!(chain.stage, Stage::Silent(_)) {
            chain.stage = Stage::Live;
            self.describe_chain(id);
        }
        Some(end)
    }

    /// How slices arrive that we sent.
    pub(super) fn take_slice_report(&mut self, id: u64, report: &SliceReport) {
        let now = host_time::now();
        let Hub { remote: remoting, .. } = self;
        let end = if report.back {
            let served = remoting.servings.get(&(id, report.remote)).and_then(|id| remoting.served.get(id));
            served.map(|served| &served.end)
        } else {
            let chain = remoting.openings.get(&(id, report.remote)).and_then(|id| remoting.chains.get(id));
            chain.map(|chain| &chain.end)
        };
        match end {
            Some(end) => end.borrow_mut().handle_report(report, now),
            None => self.shared.counters.unknown_stream.add(1),
        }
    }

    /// A stream that a peer has opened for an exact chain that is played here.
    pub(crate) fn exact_stream(&mut self, id: u64, remote: RemoteId) -> Option<Rc<RefCell<End>>> {
        let served = self.served_at(id, remote).filter(|served| served.open.exact)?;
        let end = Rc::clone(&served.end);
        let open = end.borrow().is_open(remote);
        open.then_some(end)
    }

    fn served_at(&self, id: u64, remote: RemoteId) -> Option<&Served> {
        self.remote.servings.get(&(id, remote)).and_then(|serving| self.remote.served.get(serving))
    }

    // ---- Time.

    /// Moves the alarm when a chain has something to do before all else.
    fn move_alarm(&self, wake: Option<HostTime>) {
        let is_earlier = |wake: HostTime| self.alarm.is_none_or(|(at, _)| wake < at);
        if wake.is_some_and(is_earlier) {
            self.alarm_moved.notify_one();
        }
    }

    pub(super) fn remote_next_wake(&self) -> Option<HostTime> {
        let ours = self.remote.chains.values().filter_map(|chain| chain.end.borrow().next_wake());
        let theirs = self.remote.served.values().filter_map(|served| served.end.borrow().next_wake());
        ours.chain(theirs).min()
    }

    pub(super) fn poll_remote(&mut self, now: HostTime) {
        let ours = self.remote.chains.values().map(|chain| &chain.end);
        let theirs = self.remote.served.values().map(|served| &served.end);
        for end in ours.chain(theirs) {
            let mut end = end.borrow_mut();
            if end.next_wake().is_some_and(|wake| wake <= now) {
                end.poll(now);
            }
        }
    }

    /// To be called twenty times a second.
    pub(super) fn tick_remote(&mut self) {
        self.tick_chains();
        self.remote.ticks += 1;
        if self.remote.ticks < TICKS_PER_ROUND {
            return;
        }
        self.remote.ticks = 0;
        self.remote.rounds += 1;
        if let Some(hosting) = &mut self.remote.hosting {
            hosting.look();
        }
        self.tell_capacity();
        self.tell_chains();
        self.show_nodes();
        let asks = self.remote.rounds.is_multiple_of(ROUNDS_PER_REPORT);
        self.tick_served(Instant::now(), asks);
    }
}

/// Whether more is waiting. `wake`: when the first of all has something to do.
fn pump(end: &RefCell<End>, wake: &mut Option<HostTime>) -> bool {
    let mut end = end.borrow_mut();
    let more = end.pump();
    *wake = (*wake).into_iter().chain(end.next_wake()).min();
    more
}

/// Where a link is, for people.
fn called(link: Option<&Connected>) -> String {
    link.map_or_else(|| "its node".to_owned(), |link| format!("\"{}\"", link.peer.name))
}
