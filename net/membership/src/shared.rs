//! What the members of a session share: key and scale, tempo, loop range, scenes, presets, chat and notes.
//!
//! One sentence: **the state is what all changes amount to, in one order that everybody computes alike.** A change is
//! one signed edit with the hashes of those that its author had seen last. So the changes form a graph without
//! circles; a change's *depth* is one more than the greatest depth that it follows. Members who have the same changes
//! apply them by depth, and by hash where depths are equal: an edit wins over what its author had seen, and of two
//! made at the same time the same one wins everywhere. Nothing depends on who heard what first, or on a clock.
//!
//! A change counts when its author may edit, or when somebody who may edit has built upon it: so what was merged
//! before its author lost the right stays under what was written on top of it, with all members alike.
//!
//! Peers exchange [`SharedState::heads`], and send each other [`SharedState::changes_since`] the other's.

mod edit;
mod fold;
pub(crate) mod notes;
mod view;
mod waiting;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::Bound;

use audiocloud_wire::id::{ChangeHash, SessionId, UserId};

pub use self::edit::{
    CHAT_BYTES_MAX, Edit, EditError, NAME_BYTES_MAX, NOTES_BYTES_MAX, PRESET_BYTES_MAX, SCENE_ENTRIES_MAX,
    TEMPO_BPM,
};
pub use self::view::{Scene, View, Written};
pub use crate::change::{BadChange, CHANGE_BYTES_MAX, SignedChange};

use self::fold::Fold;
use self::waiting::Waiting;
use crate::change::{AFTER_MAX, Operation};
use crate::key::SigningKey;

/// The bytes of all changes of a session.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// How many lines of chat are shown.
pub const CHAT_LINES_MAX: usize = 2000;
/// The most hashes that [`SharedState::heads`] gives.
pub const HEADS_MAX: usize = 1 + FRONTIER_MAX + SAMPLES_MAX;

/// Own edits stop here: what is left is for what others edited meanwhile.
const OWN_BYTES_MAX: usize = DOCUMENT_BYTES_MAX / 4 * 3;
const FRONTIER_MAX: usize = 64;
/// Back by 1, 2, 4 … changes: 2²⁴ are more than the document can have.
const SAMPLES_MAX: usize = 24;
const DIGEST_CONTEXT: &str = "audiocloud session heads v1";

/// What merging did.
#[derive(Debug, Default)]
pub struct Merged {
    /// Changes that count now and did not before, each after those that it follows: to keep and to pass on.
    pub news: Vec<SignedChange>,
    /// Changes that do not count any more, for their author's right ended before they were made.
    pub withdrawn: usize,
    /// Changes that follow what is not here yet: ask for what is missing.
    pub incomplete: usize,
    /// What was not merged, and why.
    pub rejected: Vec<Rejected>,
}

/// Why a change was not merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is no change of this session.
    #[error(transparent)]
    Bad(#[from] BadChange),
    /// Its author may not edit, or could not when it was made.
    #[error("{} has no right to edit the session's shared state", .0.short())]
    NoRight(UserId),
    /// There was no room for more that waits for what it follows or for its author's right.
    #[error("a change that waited too long for what it follows was dropped")]
    Dropped,
    /// The session has taken as many changes as it can.
    #[error("the session's shared state is full; found a new session to go on editing")]
    Full,
}

/// A change in the graph.
#[derive(Debug)]
struct Node {
    change: SignedChange,
    after: Vec<ChangeHash>,
    at_ms: u64,
    /// One more than the greatest depth that it follows; set when it is placed.
    depth: u64,
    /// How many placed changes follow it directly.
    followers: usize,
}

impl Node {
    fn read(change: SignedChange, session: &SessionId) -> Result<Self, BadChange> {
        let body = change.read(session)?;
        let mut after = body.after;
        after.sort_unstable();
        after.dedup();
        Ok(Self { change, after, at_ms: body.at_ms, depth: 0, followers: 0 })
    }

    fn authorised(&self, may_edit: &impl Fn(&UserId, u64) -> bool) -> bool {
        may_edit(&self.change.author, self.at_ms)
    }
}

/// One session's shared state as one member has it.
pub struct SharedState {
    session: SessionId,
    nodes: HashMap<ChangeHash, Node>,
    order: BTreeSet<(u64, ChangeHash)>,
    /// Changes that no other follows.
    frontier: HashSet<ChangeHash>,
    waiting: Waiting,
    bytes: usize,
    fold: Fold,
    /// The last change in `order` that `fold` has, for it has all before it.
    folded: Option<(u64, ChangeHash)>,
}

impl fmt::Debug for SharedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedState")
            .field("session", &self.session)
            .field("changes", &self.nodes.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl SharedState {
    /// The empty state.
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            nodes: HashMap::new(),
            order: BTreeSet::new(),
            frontier: HashSet::new(),
            waiting: Waiting::default(),
            bytes: 0,
            fold: Fold::default(),
            folded: None,
        }
    }

    /// The state of changes that this user merged before and kept, in any order: their signatures were checked then.
    /// What cannot be read, or follows what is not there, is left out: peers have it.
    pub fn restore(session: SessionId, kept: impl IntoIterator<Item = SignedChange>) -> Self {
        let mut state = Self::new(session);
        let mut nodes: HashMap<ChangeHash, Node> = HashMap::new();
        for change in kept {
            if let Ok(node) = Node::read(change, &session) {
                nodes.insert(node.change.hash(), node);
            }
        }
        let mut followers: HashMap<ChangeHash, Vec<ChangeHash>> = HashMap::new();
        let mut ready = Vec::new();
        for (hash, node) in &nodes {
            node.after.iter().for_each(|parent| followers.entry(*parent).or_default().push(*hash));
            if node.after.is_empty() {
                ready.push(*hash);
            }
        }
        while let Some(hash) = ready.pop() {
            let all_here = |node: &Node| node.after.iter().all(|parent| state.nodes.contains_key(parent));
            if nodes.get(&hash).is_some_and(all_here)
                && let Some(node) = nodes.remove(&hash)
            {
                state.place(hash, node);
                ready.extend(followers.remove(&hash).unwrap_or_default());
            }
        }
        state
    }

    /// Which session's.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// Makes an edit in the name of the member whose user key this is. Whether they may is not asked here: a change
    /// without right is merged by nobody.
    ///
    /// # Errors
    /// See [`EditError`]; then nothing has changed.
    pub fn edit(&mut self, author: &SigningKey, edit: Edit, now_ms: u64) -> Result<SignedChange, EditError> {
        edit.check()?;
        self.catch_up();
        let operation = match edit {
            Edit::Notes(text) => Operation::Notes(self.fold.splice_to(&text)?.ok_or(EditError::Unchanged)?),
            edit if self.fold.has(&edit) => return Err(EditError::Unchanged),
            edit => Operation::Edit(edit),
        };
        // The deepest: a change that follows them wins over them.
        let mut after: Vec<_> = self.frontier.iter().copied().collect();
        after.sort_unstable_by_key(|hash| std::cmp::Reverse((self.nodes[hash].depth, *hash)));
        after.truncate(AFTER_MAX);
        let change = SignedChange::sign(author, self.session, after.clone(), now_ms, operation)?;
        if self.bytes + change.size_bytes() > OWN_BYTES_MAX {
            return Err(EditError::Full { bytes: self.bytes });
        }
        let node = Node { change: change.clone(), after, at_ms: now_ms, depth: 0, followers: 0 };
        self.place(change.hash(), node);
        Ok(change)
    }

    /// Merges what a peer sent, and looks again at all whose author's right has come or gone meanwhile: after news
    /// of the roster, call it with no changes.
    ///
    /// `may_edit` tells whether a member could edit at a time, in milliseconds since 1970.
    pub fn merge(&mut self, changes: &[SignedChange], may_edit: impl Fn(&UserId, u64) -> bool) -> Merged {
        let mut merged = Merged::default();
        let mut arrived = Vec::new();
        for change in changes {
            match self.admit(change, &may_edit, &mut merged) {
                Ok(Some(waits)) => arrived.push(waits),
                Ok(None) => {}
                Err(rejected) => merged.rejected.push(rejected),
            }
        }
        merged.withdrawn = self.withdraw(&may_edit);
        let complete = self.settle(&may_edit, &mut merged);
        for hash in arrived {
            match self.waiting.get(&hash) {
                Some(node) if complete.contains(&hash) && !node.authorised(&may_edit) => {
                    merged.rejected.push(Rejected::NoRight(node.change.author));
                }
                Some(_) => merged.incomplete += 1,
                None => {}
            }
        }
        merged
    }

    /// What tells a peer which changes are here: a digest, the changes that no other follows, and some before them.
    /// At most [`HEADS_MAX`], equal exactly where the same changes are. For comparing, and for
    /// [`Self::changes_since`] of the peer's state.
    pub fn heads(&self) -> Vec<ChangeHash> {
        let deepest = |hash: &ChangeHash| std::cmp::Reverse((self.nodes[hash].depth, *hash));
        let mut frontier: Vec<_> = self.frontier.iter().copied().collect();
        frontier.sort_unstable_by_key(deepest);
        let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
        for hash in &frontier {
            hasher.update(&hash.0);
        }
        let mut heads = vec![ChangeHash(*hasher.finalize().as_bytes())];
        heads.extend(frontier.iter().take(FRONTIER_MAX));
        // Who has edited beside us knows none of our last ones, but one of these: what we both have before it need
        // not be sent again.
        let mut next = 1;
        for (back, (_, hash)) in self.order.iter().rev().enumerate() {
            if back == next {
                heads.push(*hash);
                next *= 2;
            }
        }
        heads
    }

    /// The changes that one with these [`Self::heads`] lacks, in an order in which they can be merged.
    pub fn changes_since(&self, heads: &[ChangeHash]) -> Vec<SignedChange> {
        let mut known = HashSet::new();
        let mut open: Vec<_> = heads.iter().take(HEADS_MAX).copied().collect();
        while let Some(hash) = open.pop() {
            if let Some(node) = self.nodes.get(&hash)
                && known.insert(hash)
            {
                open.extend(&node.after);
            }
        }
        let lacking = self.order.iter().filter(|(_, hash)| !known.contains(hash));
        lacking.map(|(_, hash)| self.nodes[hash].change.clone()).collect()
    }

    /// All changes, in an order in which they can be merged.
    pub fn all(&self) -> Vec<SignedChange> {
        self.changes_since(&[])
    }

    /// The state as people see it.
    pub fn view(&mut self) -> &View {
        self.catch_up();
        self.fold.view()
    }

    /// The bytes of all changes that count, of [`DOCUMENT_BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Checks a change and places it, or lets it wait; then gives its name.
    fn admit(
        &mut self,
        change: &SignedChange,
        may_edit: &impl Fn(&UserId, u64) -> bool,
        merged: &mut Merged,
    ) -> Result<Option<ChangeHash>, Rejected> {
        let hash = change.hash();
        if self.nodes.contains_key(&hash) {
            return Ok(None);
        }
        let node = match self.waiting.remove(&hash) {
            Some(node) => node,
            None => {
                let node = Node::read(change.clone(), &self.session)?;
                change.verify()?;
                node
            }
        };
        let follows_placed = node.after.iter().all(|parent| self.nodes.contains_key(parent));
        if follows_placed && node.authorised(may_edit) {
            if self.bytes + change.size_bytes() > DOCUMENT_BYTES_MAX {
                return Err(Rejected::Full);
            }
            merged.news.push(node.change.clone());
            self.place(hash, node);
            return Ok(None);
        }
        let dropped = self.waiting.insert(hash, node);
        merged.rejected.extend(std::iter::repeat_n(Rejected::Dropped, dropped));
        Ok(Some(hash))
    }

    /// Places what waits and can be placed: what may count, with all of what it follows. Gives those that follow
    /// nothing that is missing.
    fn settle(
        &mut self,
        may_edit: &impl Fn(&UserId, u64) -> bool,
        merged: &mut Merged,
    ) -> HashSet<ChangeHash> {
        let complete = self.waiting.complete(|hash| self.nodes.contains_key(hash));
        for hash in self.waiting.hashes() {
            let counts = self.waiting.get(&hash).is_some_and(|node| node.authorised(may_edit));
            if !counts || !complete.contains(&hash) {
                continue;
            }
            let wanted = self.waiting.with_followed(hash);
            let bytes: usize = wanted
                .iter()
                .filter_map(|hash| self.waiting.get(hash))
                .map(|node| node.change.size_bytes())
                .sum();
            if self.bytes + bytes > DOCUMENT_BYTES_MAX {
                merged.rejected.push(Rejected::Full);
                continue;
            }
            for hash in wanted {
                let Some(node) = self.waiting.remove(&hash) else { continue };
                merged.news.push(node.change.clone());
                self.place(hash, node);
            }
        }
        complete
    }

    /// Takes out the last changes whose authors could not make them, for nobody has built upon those: they wait,
    /// for the right may come back. Gives how many they are.
    fn withdraw(&mut self, may_edit: &impl Fn(&UserId, u64) -> bool) -> usize {
        let mut last: Vec<_> = self.frontier.iter().copied().collect();
        let mut withdrawn = 0;
        while let Some(hash) = last.pop() {
            if self.nodes[&hash].authorised(may_edit) {
                continue;
            }
            let node = self.nodes.remove(&hash).expect("what is on the frontier is placed");
            self.order.remove(&(node.depth, hash));
            self.frontier.remove(&hash);
            self.bytes -= node.change.size_bytes();
            self.unfold_from((node.depth, hash));
            for parent in &node.after {
                let followed = self.nodes.get_mut(parent).expect("what a placed change follows is placed");
                followed.followers -= 1;
                if followed.followers == 0 {
                    self.frontier.insert(*parent);
                    last.push(*parent);
                }
            }
            self.waiting.insert(hash, node);
            withdrawn += 1;
        }
        withdrawn
    }

    /// Makes a change count. All that it follows is placed.
    fn place(&mut self, hash: ChangeHash, mut node: Node) {
        node.followers = 0;
        node.depth = 1;
        for parent in &node.after {
            let followed = self.nodes.get_mut(parent).expect("what a change follows is placed before it");
            followed.followers += 1;
            node.depth = node.depth.max(followed.depth + 1);
            self.frontier.remove(parent);
        }
        self.frontier.insert(hash);
        self.bytes += node.change.size_bytes();
        self.order.insert((node.depth, hash));
        self.unfold_from((node.depth, hash));
        self.nodes.insert(hash, node);
    }

    /// What is folded and comes after a place that changed has to be folded again, from the start.
    fn unfold_from(&mut self, place: (u64, ChangeHash)) {
        if self.folded.is_some_and(|folded| place <= folded) {
            self.fold = Fold::default();
            self.folded = None;
        }
    }

    fn catch_up(&mut self) {
        let from = self.folded.map_or(Bound::Unbounded, Bound::Excluded);
        for (depth, hash) in self.order.range((from, Bound::Unbounded)) {
            self.fold.apply(*hash, &self.nodes[hash].change);
            self.folded = Some((*depth, *hash));
        }
    }
}

#[cfg(test)]
mod tests;
