//! Where peers were last: `last_peers.json` in the configuration folder, at most 64 addresses, the newest.
//!
//! Only a hint for the next start: it may be lost, shared by several processes, or hold nonsense, and nothing
//! breaks.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use audiocloud_wire::id::DeviceId;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Discovered, Source};
use crate::private_file;

const FILE: &str = "last_peers.json";
const ENTRIES_MAX: usize = 64;
const FILE_BYTES_MAX: u64 = 1 << 16;
/// New addresses are gathered this long, then written together.
const WRITE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    version: u32,
    peers: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    device: DeviceId,
    address: SocketAddr,
    /// Seconds since 1970 by this machine's clock.
    seen_s: u64,
}

/// Addresses that led to a peer since they were last written, by when.
type News = BTreeMap<(DeviceId, SocketAddr), u64>;

/// Takes proven addresses and writes them now and then.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    folder: PathBuf,
    news: Arc<Mutex<News>>,
}

/// Passes on what the last runs left, and starts the task that writes what this one learns.
pub(super) fn start(config_dir: &Path, found: mpsc::Sender<Discovered>) -> (Writer, JoinHandle<()>) {
    let writer = Writer { folder: config_dir.to_owned(), news: Arc::default() };
    let task = tokio::spawn({
        let writer = writer.clone();
        async move {
            for entry in writer.read() {
                let (device, address) = (Some(entry.device), entry.address);
                if found
                    .send(Discovered {
                        device,
                        instance: None,
                        address,
                        source: Source::LastSeen,
                        session: None,
                    })
                    .await
                    .is_err()
                {
                    return;
                }
            }
            loop {
                tokio::time::sleep(WRITE_EVERY).await;
                if !writer.news().is_empty() {
                    let writer = writer.clone();
                    // Off the runtime's thread: a home folder may be far away, and audio does not wait for
                    // it.
                    tokio::task::spawn_blocking(move || writer.write()).await.ok();
                }
            }
        }
    });
    (writer, task)
}

impl Writer {
    /// Notes an address that led to this peer. Ports on loopback are another process's of this machine:
    /// control sockets find those.
    pub(super) fn proven(&self, device: DeviceId, address: SocketAddr) {
        if !address.ip().to_canonical().is_loopback() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let mut news = self.news();
            news.insert((device, address), now);
            if news.len() > ENTRIES_MAX {
                news.pop_first();
            }
        }
    }

    /// Writes what is left; for the end.
    pub(super) fn finish(&self) {
        if !self.news().is_empty() {
            self.write();
        }
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries of the file; none when it is absent or damaged.
    fn read(&self) -> Vec<Entry> {
        let mut text = Vec::new();
        let Ok(file) = fs::File::open(self.folder.join(FILE)) else { return Vec::new() };
        if file.take(FILE_BYTES_MAX).read_to_end(&mut text).is_err() {
            return Vec::new();
        }
        let mut peers = match serde_json::from_slice::<File>(&text) {
            Ok(File { version: 1, peers }) => peers,
            _ => Vec::new(),
        };
        peers.truncate(ENTRIES_MAX);
        peers
    }

    /// Merges the news into the file. Processes take turns by a lock; one that finds it taken tries again
    /// later.
    fn write(&self) {
        let taken = private_file::open_lock(&self.folder.join("last_peers.lock"));
        let Ok(lock) = taken else { return };
        if lock.try_lock().is_err() {
            return;
        }
        let news = std::mem::take(&mut *self.news());
        let mut peers = self.read();
        peers.retain(|entry| !news.contains_key(&(entry.device, entry.address)));
        peers.extend(news.iter().map(|(&(device, address), &seen_s)| Entry { device, address, seen_s }));
        peers.sort_by_key(|entry| std::cmp::Reverse(entry.seen_s));
        peers.truncate(ENTRIES_MAX);
        let written = serde_json::to_vec_pretty(&File { version: 1, peers })
            .map_err(std::io::Error::from)
            .and_then(|text| private_file::write(&self.folder.join(FILE), &text, false));
        if let Err(error) = written {
            tracing::debug!(target: "audiocloud::discovery", %error, "cannot remember the addresses of peers");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(folder: &Path) -> Writer {
        Writer { folder: folder.to_owned(), news: Arc::default() }
    }

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], number))
    }

    #[test]
    fn addresses_survive_newest_first_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (writer(folder.path()), writer(folder.path()));
        one.proven(DeviceId([1; 32]), address(1));
        one.proven(DeviceId([1; 32]), "127.0.0.1:5".parse().unwrap());
        one.proven(DeviceId([1; 32]), "[::ffff:127.0.0.1]:5".parse().unwrap());
        one.finish();
        other.proven(DeviceId([2; 32]), address(2));
        other.proven(DeviceId([1; 32]), address(1));
        other.finish();
        let known: Vec<SocketAddr> = one.read().into_iter().map(|entry| entry.address).collect();
        assert_eq!(known.len(), 2, "{known:?}");
        for number in 0..200 {
            one.proven(DeviceId([3; 32]), address(number));
        }
        one.finish();
        assert_eq!(one.read().len(), ENTRIES_MAX);
    }

    #[tokio::test]
    async fn the_next_start_gets_them_as_hints() {
        let folder = tempfile::tempdir().unwrap();
        let before = writer(folder.path());
        before.proven(DeviceId([1; 32]), address(1));
        before.finish();
        let (to, mut found) = mpsc::channel(4);
        let (_, task) = start(folder.path(), to);
        let device = Some(DeviceId([1; 32]));
        let expected = Discovered {
            device,
            instance: None,
            address: address(1),
            source: Source::LastSeen,
            session: None,
        };
        assert_eq!(found.recv().await, Some(expected));
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_learnt_is_written_while_running() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, task) = start(folder.path(), mpsc::channel(4).0);
        writer.proven(DeviceId([1; 32]), address(1));
        while writer.read().is_empty() {
            tokio::time::sleep(WRITE_EVERY).await;
        }
        assert!(writer.news().is_empty());
        task.abort();
    }

    #[test]
    fn a_damaged_file_is_no_more_than_forgotten() {
        let check = |text: &[u8]| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(FILE), text).unwrap();
            let writer = writer(folder.path());
            assert_eq!(writer.read(), []);
            writer.proven(DeviceId([1; 32]), address(1));
            writer.finish();
            assert_eq!(writer.read().len(), 1);
        };
        check(b"");
        check(b"\xff{{{");
        check(br#"{"version":2,"peers":[]}"#);
        check(br#"{"version":1,"peers":[{"device":"00","address":"x","seen_s":-1}]}"#);
        check(&vec![b'['; 1 << 20]);
    }
}
