//! Chains of ours: which node each goes to.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use audiocloud_session::remote::document::{Assembler, split};
use audiocloud_wire::id::{ChainId, DeviceId, RemoteId, SessionId};
use audiocloud_wire::message::{
    DOCUMENT_PART_BYTES_MAX, Message, RemoteCapacity, RemoteClose, RemoteDocument, RemoteOpen, RemoteRefused,
    RemoteReport, Text,
};

use super::called;
use crate::congestion;
use crate::health::PathFigures;
use crate::hub::{Connected, Hub};
use crate::random_stream;
use crate::remote::api::{DOCUMENT_BYTES_MAX, NodeChoice, PlugEnds, RemoteConfig, check_document};
use crate::remote::choice::{self, Candidate};
use crate::remote::end::{End, Form};
use crate::remote::opening::{Chain, OPENING_MAX, SILENT_MAX, Stage};
use crate::remote::order::{Order, tell};
use crate::remote::serving::heard;
use crate::remote::status::{NodeStatus, RemoteShared};
use crate::remote::{RemoteState, carry};
use crate::status::lock;

impl Hub {
    pub(super) fn add_chain(&mut self, shared: Arc<RemoteShared>, config: RemoteConfig, ends: PlugEnds) {
        let form = Form {
            to_node: true,
            sample_rate: config.sample_rate,
            channels_out: config.inputs.saturating_add(config.side_chain),
            channels_in: config.outputs,
            transfer: config.transfer,
            block_frames_max: config.block_frames_max,
            patience: config.patience,
        };
        let end = End::of_plug_in(form, ends, shared.arrived.clone());
        let id = shared.key.chain;
        let chain = Chain::new(shared, config, end);
        self.remote.chains.insert(id, chain);
        self.settle_chain(id);
        self.tell_chains();
        // What is in its rings already was told of by a wake that came before it.
        self.pump_remote();
    }

    pub(super) fn remove_chain(&mut self, id: ChainId) {
        self.leave_node(id);
        self.remote.chains.remove(&id);
        self.tell_chains();
    }

    pub(super) fn document_changed(&mut self, id: ChainId) {
        if let Some(chain) = self.remote.chains.get_mut(&id) {
            chain.revision += 1;
            chain.end.borrow_mut().forget_automation();
        }
    }

    pub(super) fn choose_node(&mut self, id: ChainId, node: NodeChoice) {
        if let Some(chain) = self.remote.chains.get_mut(&id) {
            chain.choice = node;
            chain.refusals.clear();
            self.settle_chain(id);
        }
    }

    // ---- Where each runs.

    pub(in crate::hub) fn settle_chains(&mut self) {
        let ids: Vec<ChainId> = self.remote.chains.keys().copied().collect();
        for id in ids {
            self.settle_chain(id);
        }
    }

    fn settle_chain(&mut self, id: ChainId) {
        let Some(chain) = self.remote.chains.get(&id) else { return };
        let candidates = self.candidates_for(chain);
        let works = chain.works_at();
        let best = choice::best(chain.choice, works, &candidates);
        let silent = matches!(chain.stage, Stage::Silent(_));
        let here = chain.opening.map(|(link, _)| link);
        // One that is silent is listened to while there is no other, and while sound may go there at all.
        let stays = silent && best.is_none() && candidates.iter().any(|one| Some(one.link) == here);
        if !stays && best != here {
            self.leave_node(id);
            if let Some(link) = best {
                self.ask_node(id, link);
            }
        }
        self.describe_chain(id);
    }

    fn candidates_for(&self, chain: &Chain) -> Vec<Candidate> {
        let now = Instant::now();
        let silent_at = match chain.stage {
            Stage::Silent(_) => chain.opening.map(|(link, _)| link),
            _ => None,
        };
        let offering = self.remote.offers.iter().filter_map(|(id, offer)| {
            let link = self.links.get(id).filter(|link| may_run_on(link, chain.config.session))?;
            Some((*id, link, offer))
        });
        let candidate = |(id, link, offer): (u64, &Connected, &RemoteCapacity)| Candidate {
            link: id,
            device: link.peer.device,
            head_room_permille: offer.head_room_permille,
            rtt: link.connection.rtt(),
            draining: offer.draining,
            full: offer.chains >= offer.chains_max,
            avoided: silent_at == Some(id) || chain.avoids(id, now),
        };
        offering.map(candidate).collect()
    }

    /// Asks a node to run it.
    fn ask_node(&mut self, id: ChainId, link_id: u64) {
        let Some(link) = self.links.get(&link_id) else { return };
        let Some(chain) = self.remote.chains.get_mut(&id) else { return };
        // As good a random number as those of streams.
        let remote = RemoteId(random_stream().0);
        let config = &chain.config;
        let channels = |count: u16| u8::try_from(count).unwrap_or(u8::MAX);
        let document = Arc::clone(&lock(&chain.shared.document));
        let open = RemoteOpen {
            remote,
            chain: id,
            name: Text::new(&lock(&chain.shared.name)),
            session: config.session,
            sample_rate_hz: config.sample_rate.hz(),
            inputs: channels(config.inputs),
            side_chain: channels(config.side_chain),
            outputs: channels(config.outputs),
            block_frames_max: config.block_frames_max,
            patience_us: u32::try_from(config.patience.get() / 1000).unwrap_or(0),
            exact: chain.is_exact(),
        };
        let open = Message::RemoteOpen(Box::new(open));
        let sendable = check_document(&document)
            .and_then(|()| open.to_frame().map(drop).map_err(|error| error.to_string()));
        if let Err(why) = sendable {
            chain.avoid(link_id, &why, Instant::now());
            return;
        }
        if !has_room(link, &document) {
            // It is settled again in a moment.
            return;
        }
        link.send(open);
        send_document(link, remote, chain.revision, &document);
        chain.told = chain.revision;
        #[cfg(test)]
        chain.shared.opening.store(remote.0, std::sync::atomic::Ordering::SeqCst);
        chain.opening = Some((link_id, remote));
        chain.stage = Stage::Opening(Instant::now());
        self.remote.openings.insert((link_id, remote), id);
    }

    /// Leaves the node that it has, and tells it so.
    fn leave_node(&mut self, id: ChainId) {
        let Some(chain) = self.remote.chains.get_mut(&id) else { return };
        let Some((link, remote)) = chain.leave() else { return };
        self.remote.openings.remove(&(link, remote));
        if let Some(link) = self.links.get(&link) {
            link.send(Message::RemoteClose(RemoteClose { remote }));
        }
    }

    /// Without settling what ran there.
    pub(super) fn leave_link(&mut self, link: u64) {
        for chain in self.remote.chains.values_mut() {
            chain.refusals.remove(&link);
            if chain.opening.is_some_and(|(of, _)| of == link) {
                if chain.stage == Stage::Live {
                    chain.end.borrow_mut().lost_node();
                }
                chain.leave();
            }
        }
        self.remote.openings.retain(|(of, _), _| *of != link);
    }

    // ---- What nodes say.

    pub(super) fn take_capacity(&mut self, id: u64, capacity: RemoteCapacity) {
        let is_news = match self.remote.offers.get(&id) {
            Some(known) => {
                known.draining != capacity.draining
                    || (known.chains < known.chains_max) != (capacity.chains < capacity.chains_max)
            }
            None => true,
        };
        if capacity.chains_max == 0 {
            self.remote.offers.remove(&id);
        } else {
            self.remote.offers.insert(id, capacity);
        }
        if is_news {
            self.settle_chains();
            self.show_nodes();
        }
    }

    pub(super) fn opened(&mut self, id: u64, remote: RemoteId) {
        let Some(link) = self.links.get(&id) else { return };
        let Some(chain_id) = self.remote.openings.get(&(id, remote)).copied() else { return };
        let Some(chain) = self.remote.chains.get_mut(&chain_id) else { return };
        if !matches!(chain.stage, Stage::Opening(_)) {
            return;
        }
        chain.stage = Stage::Live;
        chain.rtt = link.connection.rtt().into();
        chain.refusals.remove(&id);
        let way = (!chain.is_exact()).then(|| Rc::clone(&link.outlet));
        chain.end.borrow_mut().begin(remote, chain.rtt, way);
        if chain.is_exact() {
            let (connection, end) = (link.connection.clone(), Rc::clone(&chain.end));
            let commands = self.remote.commands.clone();
            tokio::task::spawn_local(async move {
                if let Some(why) = carry::open(connection, remote, end).await {
                    tell(&commands, Order::Broke { chain: chain_id, remote, why });
                }
            });
        }
        let line = format!("\"{}\" runs on {}", lock(&chain.shared.name), called(Some(link)));
        self.shared.journal.note(&line);
        self.describe_chain(chain_id);
        self.tell_chains();
    }

    pub(super) fn remote_refused(&mut self, id: u64, refused: &RemoteRefused) {
        let Some(chain_id) = self.remote.openings.remove(&(id, refused.remote)) else { return };
        let Some(chain) = self.remote.chains.get_mut(&chain_id) else { return };
        let line = format!(
            "{} does not run \"{}\": {}",
            called(self.links.get(&id)),
            lock(&chain.shared.name),
            refused.text
        );
        if chain.stage == Stage::Live {
            chain.end.borrow_mut().lost_node();
        }
        chain.leave();
        chain.avoid(id, &refused.text, Instant::now());
        self.shared.journal.note(&line);
        self.settle_chain(chain_id);
        self.tell_chains();
    }

    /// The stream of an exact chain ended before its opening did.
    pub(super) fn broke_off(&mut self, id: ChainId, remote: RemoteId, why: &str) {
        let Some(chain) = self.remote.chains.get_mut(&id) else { return };
        let Some((link, _)) = chain.opening.filter(|(_, opening)| *opening == remote) else { return };
        let line =
            format!("the exact render of \"{}\" broke off: {why}; render again", lock(&chain.shared.name));
        chain.end.borrow_mut().lost_node();
        chain.avoid(link, why, Instant::now());
        self.shared.journal.note(&line);
        self.leave_node(id);
        self.settle_chain(id);
    }

    pub(super) fn take_report(&mut self, id: u64, report: RemoteReport) {
        let chain = self.remote.openings.get(&(id, report.remote)).and_then(|id| self.remote.chains.get(id));
        if let Some(chain) = chain {
            lock(&chain.shared.state).node_report = report.report.into_vec();
        }
    }

    /// States of plug-ins, for the project.
    pub(super) fn take_states(&mut self, id: u64, states: &RemoteDocument) {
        let RemoteDocument { remote, revision, part, parts, bytes } = states;
        let Some(chain) =
            self.remote.openings.get(&(id, *remote)).and_then(|id| self.remote.chains.get_mut(id))
        else {
            return;
        };
        let taken = if chain.states.waiting() + bytes.len() > DOCUMENT_BYTES_MAX {
            Err("they are longer than any".to_owned())
        } else {
            let whole = chain.states.take(*revision, *part, *parts, bytes.clone());
            whole.map_err(|why| why.to_string()).and_then(|whole| match whole {
                Some(states) => chain.shared.keep(states),
                None => Ok(()),
            })
        };
        if let Err(why) = taken {
            chain.states = Assembler::default();
            let (node, name) = (called(self.links.get(&id)), lock(&chain.shared.name).clone());
            self.shared
                .journal
                .note(&format!("states of plug-ins of \"{name}\" from {node} are lost: {why}"));
        }
    }

    // ---- Now and then.

    pub(super) fn tick_chains(&mut self) {
        let now = Instant::now();
        let mut unsettled = Vec::new();
        for (id, chain) in &mut self.remote.chains {
            if let Some((link_id, remote)) = chain.opening
                && let Some(link) = self.links.get(&link_id)
            {
                chain.rtt = link.connection.rtt().into();
                let may_double = congestion::rate_cap(&link.connection).is_none();
                chain.end.borrow_mut().set_path(chain.rtt, may_double);
                let document = Arc::clone(&lock(&chain.shared.document));
                if chain.told != chain.revision && has_room(link, &document) {
                    chain.told = chain.revision;
                    send_document(link, remote, chain.revision, &document);
                }
            }
            let late = |since: Instant, most| now.saturating_duration_since(since) > most;
            match chain.stage {
                Stage::Opening(since) if late(since, OPENING_MAX) => {
                    if let Some((link, _)) = chain.opening {
                        chain.avoid(link, "it does not answer; look at its log", now);
                    }
                    unsettled.push((*id, true));
                }
                Stage::Silent(since) if late(since, SILENT_MAX) => unsettled.push((*id, true)),
                Stage::Idle | Stage::Silent(_) => unsettled.push((*id, false)),
                Stage::Opening(_) | Stage::Live => {}
            }
        }
        for (id, leaves) in unsettled {
            if leaves {
                self.leave_node(id);
            }
            self.settle_chain(id);
        }
        for chain in self.remote.chains.values() {
            let figures = chain.end.borrow_mut().figures();
            if let Ok(mut state) = chain.shared.state.try_lock() {
                state.figures = figures;
            }
        }
    }

    // ---- What is shown.

    pub(super) fn describe_chain(&self, id: ChainId) {
        let Some(chain) = self.remote.chains.get(&id) else { return };
        let link = chain.opening.and_then(|(link, _)| self.links.get(&link));
        let state = chain.state();
        let name = called(link);
        let words = match state {
            RemoteState::Searching => self.searching_words(chain.choice, chain.config.session),
            RemoteState::Opening => format!("{name} was asked to run it"),
            RemoteState::Live => format!("runs on {name}"),
            RemoteState::Silent => format!(
                "nothing comes back from {name}: its network or its machine stands still; look at `audiocloud nodes`"
            ),
            RemoteState::Refused => {
                let refusals = chain.refusals.iter();
                let words = refusals.map(|(link, refusal)| {
                    format!("{} does not run it: {}", called(self.links.get(link)), refusal.why)
                });
                words.collect::<Vec<_>>().join("; ")
            }
        };
        let mut shown = lock(&chain.shared.state);
        let changed = shown.state != state || shown.words != words;
        shown.state = state;
        shown.words = words;
        if let Some(link) = link {
            shown.node = Some((link.peer.device, link.peer.name.clone()));
        }
        drop(shown);
        if changed {
            chain.end.borrow().ring();
        }
    }

    fn searching_words(&self, choice: NodeChoice, session: Option<SessionId>) -> String {
        let device = match choice {
            NodeChoice::Automatic => {
                return match session {
                    None => "no node is there; start `audiocloud node` on one of your machines".to_owned(),
                    Some(_) => "no node is there that may be used; start `audiocloud node`, or ask the session for the \
                         right to host"
                        .to_owned(),
                };
            }
            NodeChoice::Device(device) => device,
        };
        let connected = |device: DeviceId| self.links.values().find(|link| link.peer.device == device);
        match connected(device) {
            Some(link) => format!(
                "\"{}\" is there, but no node that you may use; start `audiocloud node` there, or ask for the right to host",
                link.peer.name
            ),
            None => format!(
                "the node {} is not there; start `audiocloud node` there, or choose another",
                device.short()
            ),
        }
    }

    /// Brings the list of nodes, and the ways of chains, up to date.
    pub(super) fn show_nodes(&self) {
        let mut nodes: Vec<NodeStatus> = Vec::new();
        for (id, offer) in &self.remote.offers {
            let Some(link) = self.links.get(id) else { continue };
            nodes.push(NodeStatus {
                device: link.peer.device,
                instance: link.peer.instance,
                name: link.peer.name.clone(),
                sessions: link.standing.grants.keys().copied().collect(),
                trusted: link.standing.trusted.is_some(),
                path: PathFigures::of(&link.connection),
                capacity: heard(offer.clone()),
            });
        }
        nodes.sort_by_key(|node| {
            (node.capacity.draining, std::cmp::Reverse(node.capacity.head_room_permille), node.path.rtt_us)
        });
        *lock(&self.shared.nodes) = nodes;
        for chain in self.remote.chains.values() {
            let link = chain.opening.and_then(|(link, _)| self.links.get(&link));
            if let Ok(mut state) = chain.shared.state.try_lock() {
                state.path = link.map(|link| PathFigures::of(&link.connection)).unwrap_or_default();
            }
        }
    }
}

/// Whether sound of a session, or of none, may go to this peer.
fn may_run_on(link: &Connected, session: Option<SessionId>) -> bool {
    link.standing.sees(session)
}

/// Whether the parts of a document find room among what waits for the peer.
pub(super) fn has_room(link: &Connected, document: &[u8]) -> bool {
    link.has_room(document.len().div_ceil(DOCUMENT_PART_BYTES_MAX))
}

fn send_document(link: &Connected, remote: RemoteId, revision: u64, document: &[u8]) {
    let Some((parts, all)) = split(document) else { return };
    for (part, bytes) in all {
        link.send(Message::RemoteDocument(RemoteDocument { remote, revision, part, parts, bytes }));
    }
}
