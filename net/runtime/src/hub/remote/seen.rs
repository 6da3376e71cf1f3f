//! Chains as others see them: who may see ours and what is in them, what we see of theirs, and edits that are proposed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use audiocloud_membership::rights::Operation;
use audiocloud_session::remote::document::{Assembler, split};
use audiocloud_wire::id::ChainId;
use audiocloud_wire::message::{
    CHAINS_MAX, Message, RemoteChain, RemoteChains, RemoteProposal, RemoteProposalRefused, RemoteView,
    RemoteWatch, Text,
};

use super::called;
use super::ours::has_room;
use crate::hub::{Connected, Hub};
use crate::remote::opening::Chain;
use crate::remote::status::SHOWN_BYTES_MAX;
use crate::remote::{ChainKey, ChainStatus, Proposal};
use crate::sessions::Act;
use crate::standing::Trusted;
use crate::status::lock;

/// What is kept of it, by link.
#[derive(Default)]
pub(super) struct Seen {
    /// What each peer was told of ours.
    told: BTreeMap<u64, RemoteChains>,
    /// Who watches which of ours, and which revision they have.
    watchers: BTreeMap<(u64, ChainId), u64>,
    /// What peers told of theirs.
    theirs: BTreeMap<u64, BTreeMap<ChainId, Theirs>>,
    /// Counts our proposals.
    proposals: u64,
}

struct Theirs {
    chain: RemoteChain,
    assembly: Assembler,
    document: Arc<Vec<u8>>,
}

impl Seen {
    pub(super) fn link_gone(&mut self, id: u64) {
        self.told.remove(&id);
        self.theirs.remove(&id);
        self.watchers.retain(|(link, _), _| *link != id);
    }
}

impl Hub {
    // ---- Ours.

    /// Tells every peer what it may see of our chains, where that has changed.
    pub(super) fn tell_chains(&mut self) {
        let Hub { links, remote, .. } = self;
        for (id, link) in links.iter() {
            let seen = remote.chains.values().filter(|chain| link.standing.sees(chain.config.session));
            let chains: Vec<_> = seen.take(CHAINS_MAX).map(|chain| announced(link, chain, links)).collect();
            let chains = RemoteChains { chains };
            let told = remote.seen.told.entry(*id).or_default();
            if *told != chains {
                told.clone_from(&chains);
                link.send(Message::RemoteChains(chains));
            }
        }
        self.show_watchers();
    }

    /// Sends what changed to those who watch it.
    fn show_watchers(&mut self) {
        let Hub { links, remote, .. } = self;
        let chains = &remote.chains;
        remote.seen.watchers.retain(|(id, chain), revision| {
            let (Some(link), Some(chain)) = (links.get(id), chains.get(chain)) else { return false };
            if !link.standing.sees(chain.config.session) {
                return false;
            }
            let document = Arc::clone(&lock(&chain.shared.document));
            if *revision != chain.revision && has_room(link, &document) {
                *revision = chain.revision;
                show_document(link, chain, &document);
            }
            true
        });
    }

    pub(super) fn take_watch(&mut self, id: u64, watch: RemoteWatch) {
        let watchers = &mut self.remote.seen.watchers;
        if !watch.on {
            watchers.remove(&(id, watch.chain));
        } else if self.remote.chains.contains_key(&watch.chain) {
            // Revisions count from 1. Whether it may be seen is asked when it is shown, in a moment.
            watchers.entry((id, watch.chain)).or_insert(0);
        }
    }

    /// A peer proposes an edit.
    pub(super) fn take_proposal(&mut self, id: u64, proposal: RemoteProposal) {
        let Some(link) = self.links.get(&id) else { return };
        let RemoteProposal { chain: chain_id, token, edit } = proposal;
        let refuse = |text: &str| {
            let text = Text::new(text);
            link.send(Message::RemoteProposalRefused(RemoteProposalRefused { chain: chain_id, token, text }));
        };
        let chain = self.remote.chains.get(&chain_id);
        let Some(chain) = chain.filter(|chain| link.standing.sees(chain.config.session)) else {
            return refuse("there is no such chain");
        };
        let session = chain.config.session;
        let name = lock(&chain.shared.name).clone();
        let by = self.who(link, session);
        let taken = may_control(link, chain)
            .and_then(|()| chain.shared.propose(Proposal { from: by.clone(), edit: edit.into_vec() }));
        if let Err(text) = taken {
            refuse(&text);
            let line = format!("{by} wanted to edit \"{name}\", and may not: {text}");
            self.shared.journal.note(&line);
            self.log(session, Act::Denied, Some(link.peer.user), line);
        }
    }

    // ---- Theirs.

    pub(super) fn take_chains(&mut self, id: u64, told: RemoteChains) {
        let Some(link) = self.links.get(&id) else { return };
        let known = self.remote.seen.theirs.entry(id).or_default();
        let there: BTreeSet<ChainId> = told.chains.iter().map(|chain| chain.chain).collect();
        known.retain(|chain, _| there.contains(chain));
        for chain in told.chains {
            if let Some(known) = known.get_mut(&chain.chain) {
                known.chain = chain;
                continue;
            }
            link.send(Message::RemoteWatch(RemoteWatch { chain: chain.chain, on: true }));
            let (assembly, document) = (Assembler::default(), Arc::default());
            known.insert(chain.chain, Theirs { chain, assembly, document });
        }
        self.show_chains();
    }

    pub(super) fn take_view(&mut self, id: u64, view: &RemoteView) {
        let chains = self.remote.seen.theirs.get_mut(&id);
        let Some(known) = chains.and_then(|chains| chains.get_mut(&view.chain)) else { return };
        let RemoteView { revision, part, parts, bytes, .. } = view;
        // It is of a peer that shows more than we asked for, and is none of our business.
        if known.assembly.waiting() + bytes.len() > SHOWN_BYTES_MAX {
            known.assembly = Assembler::default();
            return;
        }
        if let Ok(Some(document)) = known.assembly.take(*revision, *part, *parts, bytes.clone()) {
            known.document = Arc::new(document);
            self.show_chains();
        }
    }

    pub(super) fn show_chains(&self) {
        let mut all = Vec::new();
        for (id, chains) in &self.remote.seen.theirs {
            let Some(link) = self.links.get(id) else { continue };
            all.extend(chains.values().map(|theirs| ChainStatus {
                chain: ChainKey { device: link.peer.device, chain: theirs.chain.chain },
                name: theirs.chain.name.to_string(),
                owner: link.peer.name.clone(),
                session: theirs.chain.session,
                node: theirs.chain.node,
                open: theirs.chain.open,
                document: Arc::clone(&theirs.document),
                local: false,
            }));
        }
        *lock(&self.shared.chains) = all;
    }

    /// We propose an edit to somebody's chain.
    pub(super) fn propose(&mut self, key: ChainKey, edit: Vec<u8>) {
        let owner = |(id, chains): (&u64, &BTreeMap<ChainId, Theirs>)| {
            let link = self.links.get(id).filter(|link| link.peer.device == key.device)?;
            chains.contains_key(&key.chain).then_some(link)
        };
        let Some(link) = self.remote.seen.theirs.iter().find_map(owner) else { return };
        let Ok(edit) = edit.try_into() else { return };
        self.remote.seen.proposals += 1;
        let token = self.remote.seen.proposals;
        link.send(Message::RemoteProposal(RemoteProposal { chain: key.chain, token, edit }));
    }

    pub(super) fn proposal_refused(&self, id: u64, refused: &RemoteProposalRefused) {
        let chains = self.remote.seen.theirs.get(&id);
        let known = chains.and_then(|chains| chains.get(&refused.chain));
        let name = known.map_or_else(|| "a chain".to_owned(), |known| format!("\"{}\"", known.chain.name));
        let owner = called(self.links.get(&id));
        self.shared.journal.note(&format!("the edit of {name} of {owner} is refused: {}", refused.text));
    }
}

fn announced(link: &Connected, chain: &Chain, links: &BTreeMap<u64, Connected>) -> RemoteChain {
    let node = chain.opening.and_then(|(link, _)| links.get(&link));
    // The name is let go before whoever asks for rights looks at it, too.
    let name = Text::new(&lock(&chain.shared.name));
    RemoteChain {
        chain: chain.shared.key.chain,
        name,
        session: chain.config.session,
        node: node.map(|link| link.peer.device),
        revision: chain.revision,
        open: may_control(link, chain).is_ok(),
    }
}

/// Whether a peer may edit a chain of ours.
fn may_control(link: &Connected, chain: &Chain) -> Result<(), String> {
    if link.standing.trusted == Some(Trusted::Own) {
        return Ok(());
    }
    if !chain.shared.is_open() {
        return Err("its owner does not let others edit it; they can open it in its window".to_owned());
    }
    let name = lock(&chain.shared.name).clone();
    link.standing.allows(chain.config.session, &Operation::Control(&name))
}

fn show_document(link: &Connected, chain: &Chain, document: &[u8]) {
    if document.len() > SHOWN_BYTES_MAX {
        return;
    }
    let Some((parts, all)) = split(document) else { return };
    let (chain, revision) = (chain.shared.key.chain, chain.revision);
    for (part, bytes) in all {
        link.send(Message::RemoteView(RemoteView { chain, revision, part, parts, bytes }));
    }
}
