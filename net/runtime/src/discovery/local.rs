//! Other processes of this user on this machine: a newcomer announces itself on each control socket.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Discovered;
use crate::control::{self, Announcement};

/// Newcomers announce themselves, so looking again only serves where an announcement was lost.
const AGAIN: Duration = Duration::from_secs(3);

/// Announces `me` to every runtime in the folder and passes on where they are; ends with the runtime.
pub(super) async fn run(runtime_dir: PathBuf, me: Announcement, found: mpsc::Sender<Discovered>) {
    let own = format!("{}.sock", me.instance);
    let mut met = HashSet::new();
    loop {
        let mut exchanges = JoinSet::new();
        let sockets = control::sockets(&runtime_dir);
        // Those that are gone are forgotten, so the set stays as small as the folder.
        met.retain(|path| sockets.contains(path));
        for path in sockets {
            if path.file_name() != Some(own.as_ref()) && !met.contains(&path) {
                exchanges.spawn(async move {
                    let answer = control::announce(&path, &me).await;
                    (path, answer)
                });
            }
        }
        while let Some(Ok((path, answer))) = exchanges.join_next().await {
            match answer {
                Ok(them) => {
                    met.insert(path);
                    if them.instance != me.instance && found.send(them.discovered()).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::debug!(
                    target: "audiocloud::discovery", socket = %path.display(), %error, "a control socket did not answer"
                ),
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use audiocloud_wire::id::{DeviceId, InstanceId};
    use std::net::SocketAddr;
    use std::sync::Arc;

    #[tokio::test]
    async fn any_number_of_runtimes_all_find_each_other() {
        const COUNT: u8 = 5;
        let folder = tempfile::tempdir().unwrap();
        let mut runtimes = Vec::new();
        for number in 0..COUNT {
            let bound = SocketAddr::from(([0, 0, 0, 0], 4000 + u16::from(number)));
            let me = Announcement::new(InstanceId([number; 16]), DeviceId([9; 32]), bound);
            let (to, found) = mpsc::channel(32);
            let control = control::serve(
                folder.path(),
                me,
                Arc::new(|| serde_json::json!({})),
                Arc::new(|_| Ok(())),
                to.clone(),
            )
            .unwrap();
            runtimes.push((control, found, tokio::spawn(run(folder.path().to_owned(), me, to))));
        }
        for (number, (_, found, _)) in (0..COUNT).zip(&mut runtimes) {
            let mut seen = HashSet::new();
            while seen.len() < usize::from(COUNT) - 1 {
                let hint =
                    tokio::time::timeout(Duration::from_secs(10), found.recv()).await.unwrap().unwrap();
                seen.insert(hint.instance.unwrap());
            }
            assert!(!seen.contains(&InstanceId([number; 16])));
        }
    }
}
