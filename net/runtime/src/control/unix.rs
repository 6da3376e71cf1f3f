//! Control sockets as Unix sockets.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::{Announcement, Error, Order, Orders, Patch, Proposal, Request, Status, TimeOrder};
use crate::discovery::Discovered;
use crate::private_file;

const REQUEST_BYTES_MAX: u64 = 4096;
const ANSWER_BYTES_MAX: u64 = 16 << 20;
const CLIENTS_MAX: usize = 16;
const REQUESTS_MAX: usize = 64;
const SOCKETS_MAX: usize = 256;
/// For one request and its answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A control socket at work. Dropping it closes and removes the socket.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        // When this fails the next newcomer finds the socket dead and removes it.
        fs::remove_file(&self.path).ok();
    }
}

/// Opens this runtime's control socket and answers on it, within the tokio runtime that this is called in.
/// Runtimes that announce themselves on it go to `found`.
///
/// # Errors
/// The folder or the socket cannot be made, or others could write there.
pub fn serve(
    runtime_dir: &Path,
    me: Announcement,
    status: Status,
    orders: Orders,
    found: mpsc::Sender<Discovered>,
) -> Result<Control, Error> {
    let path = runtime_dir.join(format!("{}.sock", me.instance));
    let io = |cause| Error::Io { path: path.clone(), cause };
    private_file::create_dir(runtime_dir).map_err(io)?;
    if let Some(exposure) = private_file::dir_exposure(runtime_dir).map_err(io)? {
        return Err(Error::Exposed { folder: runtime_dir.to_owned(), exposure });
    }
    let listener = listen(&path).map_err(io)?;
    let task = tokio::spawn(accept(listener, Desk { me, status, orders, found }));
    Ok(Control { path, task })
}

/// A socket is bound, closed to others and listening before it gets its name: one that can be seen answers,
/// or its process is gone.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let unnamed = path.with_extension("new");
    let listener = StdListener::bind(&unnamed)?;
    let named = fs::set_permissions(&unnamed, Permissions::from_mode(0o600))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| fs::rename(&unnamed, path));
    if named.is_err() {
        fs::remove_file(&unnamed).ok();
    }
    named?;
    UnixListener::from_std(listener)
}

/// What every client is answered from.
#[derive(Clone)]
struct Desk {
    me: Announcement,
    status: Status,
    orders: Orders,
    found: mpsc::Sender<Discovered>,
}

async fn accept(listener: UnixListener, desk: Desk) {
    let desk = Arc::new(desk);
    // Ends its clients when it is dropped.
    let mut clients = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while clients.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) if clients.len() < CLIENTS_MAX && is_ours(&stream) => {
                clients.spawn(converse(stream, Arc::clone(&desk)));
            }
            Ok(_) => tracing::debug!(target: "audiocloud::control", "turned a client away"),
            Err(error) => {
                // Mostly "too many open files", which lasts: do not spin on it.
                tracing::debug!(target: "audiocloud::control", %error, "cannot accept a client");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The folder's rights keep others out already; this holds where its rights were loosened by hand.
fn is_ours(stream: &UnixStream) -> bool {
    let me = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|them| them.uid() == me || them.uid() == 0)
}

async fn converse(stream: UnixStream, desk: Arc<Desk>) {
    let (reading, mut writing) = stream.into_split();
    let mut reader = BufReader::new(reading);
    for _ in 0..REQUESTS_MAX {
        let exchange = async {
            let Some(line) = read_line(&mut reader, REQUEST_BYTES_MAX).await? else { return Ok(false) };
            let (answer, go_on) = desk.answer(&line);
            let mut bytes = answer.to_string().into_bytes();
            bytes.push(b'\n');
            writing.write_all(&bytes).await?;
            Ok::<bool, io::Error>(go_on)
        };
        match timeout(TIMEOUT, exchange).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return,
            Ok(Err(error)) => {
                // Best effort: it may be gone, or have sent a line without end.
                let complaint = json!({ "error": error.to_string() });
                timeout(TIMEOUT, writing.write_all(format!("{complaint}\n").as_bytes())).await.ok();
                return;
            }
            Err(_) => return,
        }
    }
}

/// A line of at most `bytes_max`, or `None` at the end of the input.
async fn read_line(reader: &mut (impl AsyncBufRead + Unpin), bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(bytes_max + 1).read_until(b'\n', &mut line).await?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a line must end within {bytes_max} bytes"),
        )),
    }
}

impl Desk {
    /// The answer, and whether this client may go on.
    fn answer(&self, line: &[u8]) -> (serde_json::Value, bool) {
        match serde_json::from_slice(line) {
            Ok(Request::Status) => ((self.status)(), true),
            Ok(Request::Announce(them)) => {
                // A full queue loses only a hint: the newcomer has our address and dials or looks again.
                if them.instance != self.me.instance && self.found.try_send(them.discovered()).is_err() {
                    tracing::debug!(target: "audiocloud::control", "an announcement found no room");
                }
                (json!(self.me), true)
            }
            Ok(Request::Patch(patch)) => (self.order(Order::Patch(patch)), true),
            Ok(Request::Time(time)) => (self.order(Order::Time(time)), true),
            Ok(Request::Propose(proposal)) => (self.order(Order::Propose(proposal)), true),
            Err(error) => (json!({ "error": format!("not a request: {error}") }), false),
        }
    }

    fn order(&self, order: Order) -> serde_json::Value {
        match (self.orders)(order) {
            Ok(()) => json!({ "ok": true }),
            Err(why) => json!({ "ok": false, "refused": why }),
        }
    }
}

/// The control sockets in the folder, those of dead processes included, at most 256.
pub(crate) fn sockets(runtime_dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(runtime_dir) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension() == Some(OsStr::new("sock"))).take(SOCKETS_MAX).collect()
}

/// Tells the runtime behind `socket` where we are, and learns where it is. A socket whose process has died is
/// removed.
///
/// # Errors
/// It is dead, or does not answer in time, or not in form.
pub(crate) async fn announce(socket: &Path, me: &Announcement) -> io::Result<Announcement> {
    let exchange = async {
        let mut stream = match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(socket).ok();
                return Err(error);
            }
            connected => connected?,
        };
        let request = serde_json::to_string(&Request::Announce(*me))?;
        stream.write_all(format!("{request}\n").as_bytes()).await?;
        let answer = read_line(&mut BufReader::new(&mut stream), REQUEST_BYTES_MAX).await?;
        let answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_slice(&answer)?)
    };
    timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Asks every runtime of this user on this machine for its status. Those that do not answer within two
/// seconds are left out. Blocks; changes nothing.
pub fn query_all(runtime_dir: &Path) -> Vec<serde_json::Value> {
    let mut sockets = sockets(runtime_dir);
    sockets.sort();
    std::thread::scope(|scope| {
        let asking: Vec<_> = sockets.iter().map(|socket| scope.spawn(|| query(socket))).collect();
        asking.into_iter().filter_map(|one| one.join().ok()?.ok()).collect()
    })
}

/// Asks the runtime of this instance id for a patch. Blocks.
///
/// # Errors
/// It is not there any more, or of a version that knows no patches.
pub fn patch(runtime_dir: &Path, instance: &str, patch: &Patch) -> Result<(), Error> {
    order(runtime_dir, instance, &Request::Patch(*patch))
}

/// Asks the runtime of this instance id for another master, or tells it of unequal ways. Blocks.
///
/// # Errors
/// It is not there any more, of a version that knows no time, or will not.
pub fn time(runtime_dir: &Path, instance: &str, time: &TimeOrder) -> Result<(), Error> {
    order(runtime_dir, instance, &Request::Time(*time))
}

/// Asks the runtime of this instance id to propose an edit of a chain to its owner. Blocks.
///
/// # Errors
/// It is not there any more, of a version that knows no chains, or will not.
pub fn propose(runtime_dir: &Path, instance: &str, proposal: &Proposal) -> Result<(), Error> {
    order(runtime_dir, instance, &Request::Propose(proposal.clone()))
}

fn order(runtime_dir: &Path, instance: &str, request: &Request) -> Result<(), Error> {
    let socket = sockets(runtime_dir).into_iter().find(|path| path.file_stem() == Some(OsStr::new(instance)));
    let asked = socket.ok_or_else(|| io::ErrorKind::NotFound.into()).and_then(|socket| ask(&socket, request));
    let answer = asked.map_err(Error::NoAnswer)?;
    match answer["refused"].as_str() {
        Some(why) => Err(Error::Refused(why.to_owned())),
        None if answer["ok"] == true => Ok(()),
        None => {
            Err(Error::NoAnswer(io::Error::other(answer["error"].as_str().unwrap_or_default().to_owned())))
        }
    }
}

fn query(socket: &Path) -> io::Result<serde_json::Value> {
    ask(socket, &Request::Status)
}

fn ask(socket: &Path, request: &Request) -> io::Result<serde_json::Value> {
    let mut stream = StdStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes())?;
    let mut answer = Vec::new();
    io::BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_wire::id::{DeviceId, InputId, InstanceId, StreamId, StreamKey};
    use std::net::SocketAddr;
    use std::sync::Mutex;

    fn announcement(number: u8) -> Announcement {
        let bound = SocketAddr::from(([0, 0, 0, 0], 4000 + u16::from(number)));
        Announcement::new(InstanceId([number; 16]), DeviceId([number; 32]), bound)
    }

    struct Served {
        folder: tempfile::TempDir,
        found: mpsc::Receiver<Discovered>,
        control: Control,
        patched: Arc<Mutex<Vec<Patch>>>,
    }

    fn deaf() -> Orders {
        Arc::new(|_| Ok(()))
    }

    fn served() -> Served {
        let folder = tempfile::tempdir().unwrap();
        let (to, found) = mpsc::channel(4);
        let patched = Arc::new(Mutex::new(Vec::new()));
        let patches = Arc::clone(&patched);
        let orders: Orders = Arc::new(move |order| match order {
            Order::Patch(patch) => {
                patches.lock().unwrap().push(patch);
                Ok(())
            }
            Order::Time(time) => Err(format!("not by {:?}", time.asymmetry_ns)),
            Order::Propose(proposal) => Err(format!("{} to {}", proposal.edit, proposal.chain)),
        });
        let control =
            serve(folder.path(), announcement(1), Arc::new(|| json!({ "pid": 7 })), orders, to).unwrap();
        Served { folder, found, control, patched }
    }

    /// Blocking work beside the server, as another process would do it.
    async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(work).await.unwrap()
    }

    async fn send(path: &Path, bytes: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(path).await.unwrap();
        // The server may hang up on what it refuses while we still write.
        stream.write_all(bytes).await.ok();
        stream.shutdown().await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        answer
    }

    #[tokio::test]
    async fn a_newcomer_and_the_resident_learn_of_each_other() {
        let mut served = served();
        let socket = sockets(served.folder.path()).pop().unwrap();
        assert_eq!(announce(&socket, &announcement(2)).await.unwrap(), announcement(1));
        let found = served.found.recv().await.unwrap();
        assert_eq!(found, announcement(2).discovered());
        assert_eq!(found.address.to_string(), "127.0.0.1:4002");
    }

    #[tokio::test]
    async fn status_is_answered_and_the_socket_goes_with_its_runtime() {
        let Served { folder, control, .. } = served();
        let mode = fs::metadata(&control.path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let path = folder.path().to_owned();
        assert_eq!(beside(move || query_all(&path)).await, [json!({ "pid": 7 })]);
        drop(control);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(query_all(folder.path()).is_empty());
    }

    #[tokio::test]
    async fn a_patch_reaches_the_runtime_that_is_asked() {
        let served = served();
        let stream = StreamKey::new(DeviceId([8; 32]), StreamId(7));
        let wish = Patch { device: DeviceId([9; 32]), input: InputId(5), stream, on: true };
        let ask = async |instance: String| {
            let folder = served.folder.path().to_owned();
            beside(move || patch(&folder, &instance, &wish)).await
        };
        ask(announcement(1).instance.to_string()).await.unwrap();
        assert_eq!(*served.patched.lock().unwrap(), [wish]);
        let error = ask(announcement(2).instance.to_string()).await.unwrap_err().to_string();
        assert!(error.contains("audiocloud status"), "{error}");
    }

    #[tokio::test]
    async fn why_an_order_is_refused_is_told() {
        let served = served();
        let order = TimeOrder { session: None, choose: None, asymmetry_ns: Some(6) };
        let (folder, instance) = (served.folder.path().to_owned(), announcement(1).instance.to_string());
        let refused = beside(move || time(&folder, &instance, &order)).await.unwrap_err();
        assert_eq!(refused.to_string(), "not by Some(6)");
    }

    #[tokio::test]
    async fn a_proposal_arrives_as_it_was_made() {
        let served = served();
        let chain = format!("{}/00000000000000ff", "0a".repeat(32));
        let proposal = Proposal { chain: chain.parse().unwrap(), edit: json!({ "bypass": [3, true] }) };
        let (folder, instance) = (served.folder.path().to_owned(), announcement(1).instance.to_string());
        let refused = beside(move || propose(&folder, &instance, &proposal)).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("{{\"bypass\":[3,true]}} to {chain}"));
        let unreadable =
            send(&served.control.path, b"{\"cmd\":\"propose\",\"chain\":\"x\",\"edit\":1}\n").await;
        assert!(String::from_utf8(unreadable).unwrap().contains("not a request"));
    }

    #[tokio::test]
    async fn hostile_clients_are_dropped_and_others_still_served() {
        let mut served = served();
        let path = served.control.path.clone();
        let check = async |input: &[u8], needle: &str| {
            let answer = String::from_utf8(send(&path, input).await).unwrap();
            assert!(answer.contains(needle), "{answer:?} to {:?}", String::from_utf8_lossy(input));
        };
        check(b"", "").await;
        check(b"{\"cmd\":\"status\"}", "must end within").await;
        check(b"{\"cmd\":\"launch\"}\n", "unknown variant `launch`").await;
        check(b"\xff\x00garbage\n", "not a request").await;
        check(b"{\"cmd\":\"announce\",\"port\":70000}\n", "not a request").await;
        check(b"{\"cmd\":\"patch\",\"device\":7}\n", "not a request").await;
        check(b"[[[[[[[[[[[[[[[[[[[[[[[[[[\n", "not a request").await;
        check(&vec![b'x'; 1 << 20], "").await;
        check(&b"{\"cmd\":\"status\"}\n".repeat(1000), "\"pid\":7").await;
        // Silent clients beyond the number that is served at once, then one more.
        let silent = silent_clients(CLIENTS_MAX, &path).await;
        assert_eq!(send(&path, b"{\"cmd\":\"status\"}\n").await, b"", "no room");
        drop(silent);
        // They are taken off the list once the server has seen them go.
        while send(&path, b"{\"cmd\":\"status\"}\n").await.is_empty() {}
        check(b"{\"cmd\":\"status\"}\n", "\"pid\":7").await;
        assert!(served.found.try_recv().is_err());
    }

    async fn silent_clients(count: usize, path: &Path) -> Vec<UnixStream> {
        let mut streams = Vec::new();
        for _ in 0..count {
            streams.push(UnixStream::connect(path).await.unwrap());
        }
        streams
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_hung_up_on() {
        let served = served();
        let mut stream = UnixStream::connect(&served.control.path).await.unwrap();
        let started = tokio::time::Instant::now();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        assert!(started.elapsed() >= TIMEOUT);
    }

    #[tokio::test]
    async fn a_dead_socket_is_removed_by_the_newcomer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(query_all(folder.path()).is_empty());
        assert!(path.exists(), "asking changes nothing");
        announce(&path, &announcement(2)).await.unwrap_err();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_folder_of_others_or_a_long_path_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let serve_in = |path: &Path| {
            let error =
                serve(path, announcement(1), Arc::new(|| json!({})), deaf(), mpsc::channel(1).0).unwrap_err();
            assert!(error.to_string().contains("AUDIOCLOUD_RUNTIME_DIR"), "{error}");
        };
        serve_in(&folder.path().join("x".repeat(120)));
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        serve_in(folder.path());
    }
}
