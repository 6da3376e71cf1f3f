//! What a [`Handle`] does with chains.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use audiocloud_wire::id::ChainId;

use tokio::sync::mpsc::UnboundedSender;

use super::api::{ChainKey, PlugEnds, Proposal, Remote, RemoteConfig};
use super::host::{Host, Serving};
use super::order::{Order, tell};
use super::status::{ChainStatus, HostShared, NodeStatus, RemoteShared};
use crate::command::Command;
use crate::handle::Handle;
use crate::random_stream;
use crate::status::{Shared, living, lock};

impl Handle {
    /// Has a chain run on a node: on the one that is chosen, wherever and whenever there is one, until what is returned is
    /// dropped.
    pub fn remote(&self, config: RemoteConfig, ends: PlugEnds) -> Remote {
        let shared = self.shared();
        // As good a random number as those of streams.
        let key = ChainKey { device: shared.device, chain: ChainId(random_stream().0) };
        let document = config.document.clone();
        let remote = Arc::new(RemoteShared::new(key, config.name.clone(), config.session, document));
        lock(&shared.remotes).push(Arc::downgrade(&remote));
        let (config, ends) = (Box::new(config), Box::new(ends));
        tell(self.commands(), Order::Open { shared: Arc::clone(&remote), config, ends });
        Remote { shared: remote, commands: self.commands().clone() }
    }

    /// Plays chains for peers who may ask for it, until what is returned is dropped. The latest host is the one that does.
    pub fn serve(&self, host: Arc<dyn Host>) -> Serving {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(HostShared::default());
        tell(self.commands(), Order::Serve { serial, host, shared: Arc::clone(&shared) });
        Serving { serial, shared, commands: self.commands().clone() }
    }

    /// All nodes that can be reached now, the best first.
    pub fn nodes(&self) -> Vec<NodeStatus> {
        lock(&self.shared().nodes).clone()
    }

    /// All chains that can be seen now, those of this process first.
    pub fn chains(&self) -> Vec<ChainStatus> {
        self.shared().all_chains()
    }

    /// Proposes an edit to a chain's owner, who takes it if we may control the chain. That it is not allowed there shows in
    /// [`Handle::events_log`]; that it was done, in [`Handle::chains`].
    ///
    /// # Errors
    /// There is no such chain, or the edit is too long, or too many wait.
    pub fn propose(&self, chain: ChainKey, edit: Vec<u8>) -> Result<(), String> {
        self.shared().propose(self.commands(), chain, edit)
    }
}

impl Shared {
    /// See [`Handle::propose`].
    pub(crate) fn propose(
        &self,
        commands: &UnboundedSender<Command>,
        chain: ChainKey,
        edit: Vec<u8>,
    ) -> Result<(), String> {
        if let Some(own) = living(&self.remotes).iter().find(|one| one.key == chain) {
            return own.propose(Proposal { from: self.name.clone(), edit });
        }
        if !lock(&self.chains).iter().any(|known| known.chain == chain) {
            return Err("no such chain is known; see which there are with `audiocloud chain list`".to_owned());
        }
        if edit.len() > super::EDIT_BYTES_MAX {
            let most = super::EDIT_BYTES_MAX;
            return Err(format!("the edit takes {} bytes, {most} are allowed", edit.len()));
        }
        tell(commands, Order::Propose { chain, edit });
        Ok(())
    }

    /// Ours first.
    pub(crate) fn all_chains(&self) -> Vec<ChainStatus> {
        let own = living(&self.remotes).into_iter().map(|one| ChainStatus {
            chain: one.key,
            name: lock(&one.name).clone(),
            owner: self.name.clone(),
            session: one.session,
            node: lock(&one.state).node_now(),
            open: true,
            document: Arc::clone(&lock(&one.document)),
            local: true,
        });
        own.chain(lock(&self.chains).iter().cloned()).collect()
    }
}
