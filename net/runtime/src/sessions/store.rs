//! What is kept of sessions between runs: one file of the user, for all processes of theirs.
//!
//! Each call opens the file, does one transaction, and closes it; processes wait for each other. Looking changes
//! nothing, so that [`Store::stamp`] is another one exactly when something was written. Every call may block, up to
//! [`WAIT_MAX`] and a disk's time: never call one on an audio or network thread, but for `stamp`.

use std::fs;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use audiocloud_membership::key::SigningKey;
use audiocloud_membership::member::MemberRecord;
use audiocloud_membership::revocation::Revocation;
use audiocloud_membership::rights::Operation;
use audiocloud_membership::roster::Roster;
use audiocloud_membership::shared::{SharedState, SignedChange};
use audiocloud_wire::id::{SessionId, UserId};
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition, TableError, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::log::{LOG_LINES_MAX, LogEntry};
use super::membership::{Kept, Membership};
use crate::private_file;
use crate::status::lock;

mod places;

/// How long a process waits for others that use the file: many times what a transaction takes on a machine that is busy.
pub const WAIT_MAX: Duration = Duration::from_secs(5);
/// How often who waits looks again, and, being longer, for how long who has written leaves the file to others.
const LOOK_AGAIN: Duration = Duration::from_millis(3);
const TURN: Duration = Duration::from_millis(5);
/// When this process last wrote to a store.
static WRITTEN: Mutex<Option<Instant>> = Mutex::new(None);

const FILE: &str = "sessions.redb";
const SCHEMA: u32 = 1;
const CACHE_BYTES: usize = 8 << 20;
/// Clocks of file systems tick every 1 to 10 ms: within that time two writes have the same.
const SETTLED_AFTER: Duration = Duration::from_millis(100);

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// `schema`, `current`, `places`, `places` of a session.
const META: Table = Table::new("meta");
/// Session → [`Kept`].
const MEMBERSHIPS: Table = Table::new("memberships");
/// Session → the seed of its key.
const FOUNDED: Table = Table::new("founded");
/// Session, user → record.
const RECORDS: Table = Table::new("records");
/// Session, target, author → revocation.
const REVOCATIONS: Table = Table::new("revocations");
/// Session, hash → change.
const CHANGES: Table = Table::new("changes");
/// User → [`KeptUser`].
const ACCEPTED: Table = Table::new("accepted");
/// Number, most significant byte first → [`LogEntry`].
const LOG: Table = Table::new("log");
const TABLES: [Table; 8] = [META, MEMBERSHIPS, FOUNDED, RECORDS, REVOCATIONS, CHANGES, ACCEPTED, LOG];

/// Why the store cannot be used. What is in the file stays as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Others have used it all the time.
    #[error(
        "other audiocloud processes kept {} busy for {} seconds; try again, or end one that hangs",
        file.display(), WAIT_MAX.as_secs()
    )]
    Busy { file: PathBuf },
    /// It is no store, or damaged.
    #[error(
        "the sessions kept in {} cannot be read: the file is damaged ({cause}); put a copy of it back, or move it \
         away and join your sessions again by new links", file.display()
    )]
    Damaged { file: PathBuf, cause: String },
    /// A newer version wrote it.
    #[error(
        "the sessions in {} were kept by a newer audiocloud (form {found}, this one knows {SCHEMA}); update this one \
         here too", file.display()
    )]
    Newer { file: PathBuf, found: u32 },
    /// The file system refused.
    #[error(
        "cannot {act} {}: {cause}; make it and its folder yours to read and write, and see that the disk has room",
        file.display()
    )]
    Io { act: &'static str, file: PathBuf, cause: io::Error },
}

/// What tells whether the store was written: two stamps that are equal were taken with nothing written in between.
/// Take it before you read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    written: Option<(SystemTime, u64, u64)>,
    /// Written so lately that more could follow within the same tick of the file's clock: unlike any other.
    unsettled: Option<SystemTime>,
}

/// A user whom this user has accepted, outside of any session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Who.
    pub user: UserId,
    /// The name under which they were accepted.
    pub name: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct KeptUser {
    name: String,
    at_ms: u64,
}

/// The store of one user: only where it is.
#[derive(Clone, Debug)]
pub struct Store {
    file: PathBuf,
    wait_max: Duration,
}

impl Store {
    /// The store in this configuration folder. Nothing is opened or made before something is asked.
    pub fn new(config_dir: &Path) -> Self {
        Self { file: config_dir.join(FILE), wait_max: WAIT_MAX }
    }

    #[cfg(test)]
    pub(super) fn waiting_at_most(self, wait_max: Duration) -> Self {
        Self { wait_max, ..self }
    }

    /// See [`Stamp`]: one look at the file's date, which never waits for another process.
    pub fn stamp(&self) -> Stamp {
        let now = SystemTime::now();
        let written = fs::metadata(&self.file).ok().and_then(|found| {
            #[cfg(unix)]
            let number = std::os::unix::fs::MetadataExt::ino(&found);
            #[cfg(not(unix))]
            let number = 0;
            Some((found.modified().ok()?, found.len(), number))
        });
        // A date in the future, of a clock that was set back, is as good as an old one.
        let age = |(at, ..): (SystemTime, u64, u64)| now.duration_since(at).unwrap_or(SETTLED_AFTER);
        let unsettled = written.map(age).is_some_and(|age| age < SETTLED_AFTER).then_some(now);
        Stamp { written, unsettled }
    }

    /// The sessions that this user is a member of, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`]; likewise of all that follow.
    pub fn memberships(&self) -> Result<Vec<Membership>, StoreError> {
        let mut memberships = self.read(|read| {
            let mut found = Vec::new();
            for entry in read.open_table(MEMBERSHIPS)?.iter()? {
                let (session, kept) = entry?;
                found.extend(
                    session_of(session.value())
                        .map(|session| membership(read, session, kept.value()))
                        .transpose()?,
                );
            }
            Ok(found.into_iter().flatten().collect::<Vec<_>>())
        })?;
        memberships.sort_by_key(|membership| (membership.since_ms, membership.session));
        Ok(memberships)
    }

    /// That membership, if there is one.
    pub fn membership(&self, session: &SessionId) -> Result<Option<Membership>, StoreError> {
        self.read(|read| match read.open_table(MEMBERSHIPS)?.get(&session.0[..])? {
            Some(kept) => membership(read, *session, kept.value()),
            None => Ok(None),
        })
    }

    /// Keeps a membership, in place of one that was. Its record must be one.
    pub fn put_membership(&self, membership: &Membership) -> Result<(), StoreError> {
        let record = membership.member_record().map_err(|cause| self.damaged(&cause))?;
        let kept = cbor(&Kept::of(membership, record.user));
        self.write(|write| {
            let session = &membership.session.0[..];
            write.open_table(MEMBERSHIPS)?.insert(session, &kept[..])?;
            write.open_table(RECORDS)?.insert(&pair(session, &record.user.0)[..], &membership.record[..])?;
            if let Some(founder) = &membership.founder {
                write.open_table(FOUNDED)?.insert(session, &founder.seed()[..])?;
            }
            Ok(())
        })
    }

    /// Forgets a session with all that is kept of it. Its secret key goes too: who founded it cannot get it back.
    pub fn remove_membership(&self, session: &SessionId) -> Result<(), StoreError> {
        self.write(|write| {
            let session = &session.0[..];
            write.open_table(MEMBERSHIPS)?.remove(session)?;
            write.open_table(FOUNDED)?.remove(session)?;
            for table in [RECORDS, REVOCATIONS, CHANGES] {
                let (from, to) = range(session);
                write.open_table(table)?.retain_in(&from[..]..=&to[..], |_, _| false)?;
            }
            let mut meta = write.open_table(META)?;
            let current = meta.get(&b"current"[..])?.is_some_and(|current| current.value() == session);
            if current {
                meta.remove(&b"current"[..])?;
            }
            meta.remove(&places::of_members(session)[..])?;
            Ok(())
        })
    }

    /// The session that a new Send or Receive joins.
    pub fn current(&self) -> Result<Option<SessionId>, StoreError> {
        self.read(|read| {
            let current = read.open_table(META)?.get(&b"current"[..])?;
            Ok(current.and_then(|current| session_of(current.value())))
        })
    }

    /// Sets which session a new Send or Receive joins.
    pub fn set_current(&self, session: Option<SessionId>) -> Result<(), StoreError> {
        self.write(|write| {
            let mut meta = write.open_table(META)?;
            match session {
                Some(session) => meta.insert(&b"current"[..], &session.0[..])?,
                None => meta.remove(&b"current"[..])?,
            };
            Ok(())
        })
    }

    /// Every kept record of the session's members.
    pub fn records(&self, session: &SessionId) -> Result<Vec<Vec<u8>>, StoreError> {
        self.values(RECORDS, session)
    }

    /// Keeps a member's record, in place of the one that they had. Bytes that are none are refused as damaged.
    pub fn put_record(&self, session: &SessionId, record: &[u8]) -> Result<(), StoreError> {
        let user = MemberRecord::from_bytes(record).map_err(|cause| self.damaged(&cause))?.user;
        self.put(RECORDS, &[(pair(&session.0, &user.0), record.to_vec())])
    }

    /// Every kept revocation of the session.
    pub fn revocations(&self, session: &SessionId) -> Result<Vec<Vec<u8>>, StoreError> {
        self.values(REVOCATIONS, session)
    }

    /// Keeps a revocation, in place of one of the same key by the same author. Bytes that are none are refused as
    /// damaged.
    pub fn put_revocation(&self, session: &SessionId, revocation: &[u8]) -> Result<(), StoreError> {
        let read = Revocation::from_bytes(revocation).map_err(|cause| self.damaged(&cause))?;
        let key = [&session.0[..], &read.target, &read.by].concat();
        self.put(REVOCATIONS, &[(key, revocation.to_vec())])
    }

    /// The members and revocations that are kept, as of now. What does not hold any more is left out.
    pub fn roster(&self, session: &SessionId, now_s: u64) -> Result<Roster, StoreError> {
        let mut roster = Roster::new(*session);
        for revocation in self.revocations(session)? {
            if let Err(cause) = roster.revoke(&revocation, now_s) {
                tracing::warn!(target: "audiocloud::sessions", session = %session.short(), %cause, "a kept revocation is left out");
            }
        }
        for record in self.records(session)? {
            if let Err(cause) = roster.insert(&record, now_s) {
                tracing::warn!(target: "audiocloud::sessions", session = %session.short(), %cause, "a kept record is left out");
            }
        }
        Ok(roster)
    }

    /// Every kept change of the session's shared state, in no order.
    pub fn changes(&self, session: &SessionId) -> Result<Vec<SignedChange>, StoreError> {
        let kept = self.values(CHANGES, session)?;
        Ok(kept.iter().filter_map(|bytes| SignedChange::from_bytes(bytes).ok()).collect())
    }

    /// Keeps changes; those that are kept already cost nothing.
    pub fn put_changes(&self, session: &SessionId, changes: &[SignedChange]) -> Result<(), StoreError> {
        let entry = |change: &SignedChange| (pair(&session.0, &change.hash().0), change.to_bytes());
        self.put(CHANGES, &changes.iter().map(entry).collect::<Vec<_>>())
    }

    /// The shared state of what is kept, with `roster` telling who could edit.
    pub fn shared_state(&self, roster: &Roster) -> Result<SharedState, StoreError> {
        let mut state = SharedState::restore(roster.session(), self.changes(&roster.session())?);
        state.merge(&[], |user, at_ms| may_edit(roster, user, at_ms));
        Ok(state)
    }

    /// Users whom this user has accepted.
    pub fn accepted(&self) -> Result<Vec<Accepted>, StoreError> {
        self.read(|read| {
            let mut accepted = Vec::new();
            for entry in read.open_table(ACCEPTED)?.iter()? {
                let (user, kept) = entry?;
                if let (Ok(user), Some(KeptUser { name, at_ms })) =
                    (user.value().try_into(), uncbor(kept.value()))
                {
                    accepted.push(Accepted { user: UserId(user), name, at_ms });
                }
            }
            Ok(accepted)
        })
    }

    /// Accepts a user: their devices and this user's are peers from now on.
    pub fn accept(&self, user: &UserId, name: &str) -> Result<(), StoreError> {
        let kept = KeptUser { name: name.to_owned(), at_ms: now_ms() };
        self.put(ACCEPTED, &[(user.0.to_vec(), cbor(&kept))])
    }

    /// Takes that back. Says whether they were accepted.
    pub fn forget(&self, user: &UserId) -> Result<bool, StoreError> {
        self.write(|write| Ok(write.open_table(ACCEPTED)?.remove(&user.0[..])?.is_some()))
    }

    /// Adds lines to the log; beyond [`LOG_LINES_MAX`] the oldest go.
    pub fn append_log(&self, entries: &[LogEntry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.write(|write| {
            let mut log = write.open_table(LOG)?;
            let last = log.last()?.map_or(0, |(number, _)| number_of(number.value()));
            for (number, entry) in (last + 1..).zip(entries) {
                log.insert(&number.to_be_bytes()[..], &cbor(entry)[..])?;
            }
            while log.len()? > LOG_LINES_MAX {
                log.pop_first()?;
            }
            Ok(())
        })
    }

    /// The last `lines` of the log, oldest first.
    pub fn log(&self, lines: usize) -> Result<Vec<LogEntry>, StoreError> {
        let mut entries = self.read(|read| {
            let mut entries = Vec::new();
            for entry in read.open_table(LOG)?.iter()?.rev().take(lines) {
                entries.extend(uncbor::<LogEntry>(entry?.1.value()));
            }
            Ok(entries)
        })?;
        entries.reverse();
        Ok(entries)
    }

    #[cfg(test)]
    pub(super) fn set_schema(&self, schema: u32) {
        let database = self.open().unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(META).unwrap().insert(&b"schema"[..], &schema.to_be_bytes()[..]).unwrap();
        write.commit().unwrap();
    }

    fn values(&self, table: Table, session: &SessionId) -> Result<Vec<Vec<u8>>, StoreError> {
        self.read(|read| {
            let (from, to) = range(&session.0);
            let mut values = Vec::new();
            for entry in read.open_table(table)?.range(&from[..]..=&to[..])? {
                values.push(entry?.1.value().to_vec());
            }
            Ok(values)
        })
    }

    fn put(&self, table: Table, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.write(|write| {
            let mut table = write.open_table(table)?;
            for (key, value) in entries {
                table.insert(&key[..], &value[..])?;
            }
            Ok(())
        })
    }

    /// One look at the file. Nothing is in one that is not there.
    fn read<T: Default>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        match fs::metadata(&self.file) {
            Ok(found) if found.len() > 0 => {}
            // Empty: who makes it has not come further yet.
            Ok(_) => return Ok(T::default()),
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(T::default()),
            Err(cause) => return Err(self.refused("look at", cause)),
        }
        self.guarded("read", || {
            let database = match self
                .wait(|| redb::Builder::new().set_cache_size(CACHE_BYTES).open_read_only(&self.file))
            {
                // A process ended in the middle of a transaction: opening it to write mends that.
                Err(redb::Error::RepairAborted) => {
                    drop(self.open()?);
                    self.wait(|| redb::Builder::new().set_cache_size(CACHE_BYTES).open_read_only(&self.file))?
                }
                opened => opened?,
            };
            let read = database.begin_read()?;
            match read.open_table(META) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Ok(T::default())),
                meta => {
                    if let Some(newer) = self.newer(&meta?)? {
                        return Ok(Err(newer));
                    }
                }
            }
            look(&read).map(Ok)
        })
    }

    /// One transaction: all of it is kept, or nothing.
    fn write<T>(
        &self,
        act: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        private_file::create_dir(folder).map_err(|cause| self.refused("make the folder of", cause))?;
        self.guarded("write", || {
            let database = self.open()?;
            let write = database.begin_write()?;
            {
                let mut meta = write.open_table(META)?;
                if let Some(newer) = self.newer(&meta)? {
                    return Ok(Err(newer));
                }
                if meta.get(&b"schema"[..])?.is_none() {
                    meta.insert(&b"schema"[..], &SCHEMA.to_be_bytes()[..])?;
                    drop(meta);
                    for table in TABLES {
                        write.open_table(table)?;
                    }
                }
            }
            let done = act(&write)?;
            write.commit()?;
            drop(database);
            *lock(&WRITTEN) = Some(Instant::now());
            Ok(Ok(done))
        })
    }

    fn open(&self) -> Result<Database, redb::Error> {
        // Who writes without a pause would keep out all others, who look for a free file from time to time only.
        let since = lock(&WRITTEN).map_or(TURN, |written| written.elapsed());
        std::thread::sleep(TURN.saturating_sub(since));
        self.wait(|| {
            let file = private_file::open_lock(&self.file)?;
            // A page that is not what it was is found before anything is written beside it.
            let mut builder = redb::Builder::new();
            builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
            builder.create_with_backend(FileBackend::new(file)?)
        })
    }

    /// Waits for other processes, and other threads of this one.
    fn wait<T>(&self, open: impl Fn() -> Result<T, DatabaseError>) -> Result<T, redb::Error> {
        let start = Instant::now();
        loop {
            match open() {
                Err(DatabaseError::DatabaseAlreadyOpen) if start.elapsed() < self.wait_max => {
                    std::thread::sleep(LOOK_AGAIN);
                }
                opened => return Ok(opened?),
            }
        }
    }

    fn newer(
        &self,
        meta: &impl ReadableTable<&'static [u8], &'static [u8]>,
    ) -> Result<Option<StoreError>, redb::Error> {
        let schema = meta.get(&b"schema"[..])?;
        let found = schema.and_then(|schema| schema.value().try_into().ok()).map_or(0, u32::from_be_bytes);
        Ok((found > SCHEMA).then(|| StoreError::Newer { file: self.file.clone(), found }))
    }

    /// redb trusts the pages of a file and panics where they are not what they must be. That is the file's fault,
    /// and no reason to take a host down: nothing of this call's is shared, so nothing is left half-done.
    fn guarded<T>(
        &self,
        act: &'static str,
        with: impl FnOnce() -> Result<Result<T, StoreError>, redb::Error>,
    ) -> Result<T, StoreError> {
        match catch_unwind(AssertUnwindSafe(with)) {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(self.explained(act, error)),
            Err(_) => Err(self.damaged(&"its pages contradict each other")),
        }
    }

    fn explained(&self, act: &'static str, error: redb::Error) -> StoreError {
        use redb::Error as E;
        match error {
            E::DatabaseAlreadyOpen => StoreError::Busy { file: self.file.clone() },
            E::Io(cause) if !matches!(cause.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
                self.refused(act, cause)
            }
            cause => self.damaged(&cause),
        }
    }

    fn damaged(&self, cause: &dyn std::fmt::Display) -> StoreError {
        StoreError::Damaged { file: self.file.clone(), cause: cause.to_string() }
    }

    fn refused(&self, act: &'static str, cause: io::Error) -> StoreError {
        StoreError::Io { act, file: self.file.clone(), cause }
    }
}

/// Whether the roster says that the member could edit then.
pub fn may_edit(roster: &Roster, user: &UserId, at_ms: u64) -> bool {
    let at_s = at_ms / 1000;
    roster.grant_at(user, at_s).is_ok_and(|grant| grant.allows(&Operation::Edit, at_s).is_ok())
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn membership(
    read: &ReadTransaction,
    session: SessionId,
    kept: &[u8],
) -> Result<Option<Membership>, redb::Error> {
    let Some(kept) = uncbor::<Kept>(kept) else {
        tracing::warn!(target: "audiocloud::sessions", session = %session.short(), "a kept membership cannot be read; join the session again by a new link");
        return Ok(None);
    };
    let founder = read.open_table(FOUNDED)?.get(&session.0[..])?;
    let seed = founder.and_then(|seed| Some(Zeroizing::new(<[u8; 32]>::try_from(seed.value()).ok()?)));
    let record = read.open_table(RECORDS)?.get(&pair(&session.0, &kept.user.0)[..])?;
    let record = record.map(|record| record.value().to_vec()).unwrap_or_default();
    Ok(Some(kept.with(session, seed.map(|seed| SigningKey::from_seed(&seed)), record)))
}

fn session_of(bytes: &[u8]) -> Option<SessionId> {
    bytes.try_into().ok().map(SessionId)
}

fn number_of(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

fn pair(session: &[u8], other: &[u8; 32]) -> Vec<u8> {
    [session, other].concat()
}

/// The first and last key of a session: it is followed by one or two keys or hashes.
fn range(session: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (session.to_vec(), [session, &[0xff; 64]].concat())
}

fn cbor(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("writing to memory cannot fail");
    bytes
}

fn uncbor<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    ciborium::from_reader(bytes).ok()
}
