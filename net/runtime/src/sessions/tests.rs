//! Processes of one user at the same store, a file that is damaged, and people who let each other in.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use audiocloud_membership::invitation::Place;
use audiocloud_membership::key::SigningKey;
use audiocloud_membership::rights::{Operation, Rights};
use audiocloud_membership::shared::{Edit, SharedState};
use audiocloud_wire::id::{SessionId, UserId};
use audiocloud_wire::message::Text;
use tempfile::TempDir;

use super::store::now_ms;
use super::*;
use crate::config::{Config, MeetingPoint};
use crate::identity::Identity;

/// Somebody with a folder of their own.
struct Person {
    config: Config,
    _folder: TempDir,
}

impl Person {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::in_folders(&folder.path().join("config"), &folder.path().join("run"));
        config.name = name.to_owned();
        Self { config, _folder: folder }
    }

    fn store(&self) -> Store {
        Store::new(&self.config.config_dir)
    }

    fn user(&self) -> UserId {
        Identity::load_or_create(&self.config.config_dir).unwrap().user()
    }

    fn join(&self, inviter: &Self, session: &SessionId, rights: Rights) -> Membership {
        let options = InviteOptions { rights, ..InviteOptions::default() };
        let link = acts::invite(&inviter.config, session, &options).unwrap().to_string();
        acts::join(&self.config, &link).unwrap()
    }

    /// What gossip does: all that the other keeps of the session.
    fn hear(&self, other: &Self, session: &SessionId) {
        let (mine, theirs) = (self.store(), other.store());
        for record in theirs.records(session).unwrap() {
            mine.put_record(session, &record).unwrap();
        }
        for revocation in theirs.revocations(session).unwrap() {
            mine.put_revocation(session, &revocation).unwrap();
        }
        mine.put_changes(session, &theirs.changes(session).unwrap()).unwrap();
    }

    fn may(&self, session: &SessionId, user: &UserId, operation: &Operation<'_>) -> Result<(), String> {
        let now_s = now_ms() / 1000;
        let roster = self.store().roster(session, now_s).unwrap();
        let grant = roster.grant(user, now_s).map_err(|refused| refused.to_string())?;
        grant.allows(operation, now_s).map_err(|denied| denied.to_string())
    }
}

fn entry(text: &str) -> LogEntry {
    LogEntry { at_ms: 1, session: None, act: Act::Refused, who: None, text: text.to_owned() }
}

#[test]
fn who_founds_a_session_has_every_right_in_it_and_keeps_it() {
    let anna = Person::new("Anna");
    let point =
        MeetingPoint { address: "meet.example.org:4720".into(), device: [3; 32], tls_port: Some(443) };
    let membership = acts::create(&anna.config, " Band ", std::slice::from_ref(&point)).unwrap();
    let session = membership.session;
    let kept = anna.store().membership(&session).unwrap().unwrap();
    assert_eq!((kept.name.as_str(), kept.inviter.as_str()), ("Band", "Anna"));
    assert_eq!(kept.record, membership.record);
    assert_eq!(kept.founder.map(|key| key.public()), Some(session.0));
    assert_eq!((&*kept.meeting[0].address, kept.meeting[0].device), ("meet.example.org:4720", [3; 32]));
    assert_eq!(anna.store().current().unwrap(), Some(session));
    for operation in [Operation::Invite, Operation::Revoke, Operation::Edit, Operation::Lead] {
        assert_eq!(anna.may(&session, &anna.user(), &operation), Ok(()));
    }
    assert_eq!(acts::find(&anna.config, "band").unwrap().session, session);
    assert_eq!(acts::find(&anna.config, &session.to_string()[..6]).unwrap().session, session);
    assert!(acts::find(&anna.config, "choir").unwrap_err().to_string().contains("session list"));
    let second = acts::create(&anna.config, "Band", &[]).unwrap();
    let error = acts::find(&anna.config, "Band").unwrap_err().to_string();
    assert!(error.contains(&session.short().to_string()) && error.contains("more digits"), "{error}");
    acts::leave(&anna.config, &second.session).unwrap();
    assert_eq!(anna.store().memberships().unwrap().len(), 1);
    assert_eq!(anna.store().current().unwrap(), None);
    assert!(anna.store().records(&second.session).unwrap().is_empty());
    let acts: Vec<_> = anna.store().log(9).unwrap().into_iter().map(|entry| entry.act).collect();
    assert_eq!(acts, [Act::Created, Act::Created, Act::Left]);
}

#[test]
fn a_link_lets_one_in_with_its_rights_and_a_narrower_one_with_fewer() {
    let [anna, ben, cleo] = ["Anna", "Ben", "Cleo"].map(Person::new);
    let session = acts::create(&anna.config, "Band", &[]).unwrap().session;
    ben.join(&anna, &session, Rights::musician());
    let membership = ben.store().membership(&session).unwrap().unwrap();
    assert_eq!((membership.name.as_str(), membership.inviter.as_str()), ("Band", "Anna"));
    assert!(membership.founder.is_none());
    // Off-line: Ben needs nobody to let Cleo in, and narrows what he gives.
    let options = InviteOptions { rights: Rights::musician(), ..InviteOptions::default() };
    let link = acts::invite(&ben.config, &session, &options).unwrap().to_string();
    let narrower = acts::narrow(&link, &Rights::listener(), Some(3600)).unwrap().to_string();
    acts::join(&cleo.config, &narrower).unwrap();
    anna.hear(&cleo, &session);
    assert_eq!(anna.may(&session, &cleo.user(), &Operation::Join), Ok(()));
    for operation in [
        Operation::Publish { streams: 1, channels: 1 },
        Operation::Invite,
        Operation::Edit,
        Operation::Control("vox"),
    ] {
        assert!(anna.may(&session, &cleo.user(), &operation).is_err(), "{operation:?}");
    }
    assert!(matches!(acts::edit(&cleo.config, &session, Edit::Tempo(99.0)), Err(Error::Denied(_))));
    assert!(matches!(acts::invite(&cleo.config, &session, &options), Err(Error::Denied(_))));
    assert!(matches!(acts::revoke(&cleo.config, &session, &ben.user(), ""), Err(Error::Denied(_))));
    assert_eq!(acts::find_member(&anna.config, &session, "cleo").unwrap().user, cleo.user());
    let renamed = acts::rename(&cleo.config, &session, "Cleopatra").unwrap().member_record().unwrap();
    assert_eq!((&*renamed.name, renamed.revision > 0), ("Cleopatra", true));
}

#[test]
fn a_ticket_for_one_user_is_of_no_use_to_another() {
    let [anna, ben, mallory] = ["Anna", "Ben", "Mallory"].map(Person::new);
    let session = acts::create(&anna.config, "Band", &[]).unwrap().session;
    let options = InviteOptions { for_user: Some(ben.user()), ..InviteOptions::default() };
    let link = acts::invite(&anna.config, &session, &options).unwrap().to_string();
    assert!(acts::join(&mallory.config, &link).is_err());
    assert!(mallory.store().memberships().unwrap().is_empty());
    acts::join(&ben.config, &link).unwrap();
    assert!(matches!(acts::join(&anna.config, &link), Err(Error::Founder)));
}

#[test]
fn who_is_put_out_is_out_with_whom_they_let_in_and_their_edits_stay() {
    let [anna, ben, cleo] = ["Anna", "Ben", "Cleo"].map(Person::new);
    let session = acts::create(&anna.config, "Band", &[]).unwrap().session;
    ben.join(&anna, &session, Rights::musician());
    acts::edit(&ben.config, &session, Edit::Chat("hello".into())).unwrap();
    cleo.join(&ben, &session, Rights::listener());
    anna.hear(&ben, &session);
    anna.hear(&cleo, &session);
    assert_eq!(acts::view(&anna.config, &session).unwrap().chat[0].by, ben.user());
    assert!(matches!(acts::revoke(&anna.config, &session, &anna.user(), ""), Err(Error::Oneself)));
    acts::revoke(&anna.config, &session, &ben.user(), "too loud").unwrap();
    ben.hear(&anna, &session);
    for out in [&ben, &cleo] {
        assert!(anna.may(&session, &out.user(), &Operation::Join).is_err());
    }
    let error = acts::edit(&ben.config, &session, Edit::Chat("again".into())).unwrap_err().to_string();
    assert!(error.contains("revoked") && error.contains("too loud"), "{error}");
    assert_eq!(acts::view(&anna.config, &session).unwrap().chat.len(), 1);
}

#[test]
fn edits_of_several_processes_are_all_kept() {
    let anna = Person::new("Anna");
    let session = acts::create(&anna.config, "Band", &[]).unwrap().session;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let config = &anna.config;
            scope.spawn(move || {
                for number in 0..5 {
                    acts::edit(config, &session, Edit::Chat(format!("{thread} {number}"))).unwrap();
                }
            });
        }
    });
    let view = acts::view(&anna.config, &session).unwrap();
    assert_eq!(view.chat.iter().map(|line| &line.value).collect::<HashSet<_>>().len(), 20);
}

#[test]
fn looking_changes_nothing_and_each_writing_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    assert_eq!(store.stamp(), store.stamp());
    assert!(store.memberships().unwrap().is_empty() && store.log(5).unwrap().is_empty());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "looking makes no file");
    let settled = || {
        // Within the file system's tick after a writing no two stamps are equal.
        let start = Instant::now();
        loop {
            let (one, other) = (store.stamp(), store.stamp());
            if one == other {
                return one;
            }
            assert!(start.elapsed() < Duration::from_secs(2));
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    store.append_log(&[entry("one")]).unwrap();
    assert_ne!(store.stamp(), store.stamp());
    let one = settled();
    store.log(5).unwrap();
    store.memberships().unwrap();
    assert_eq!(store.stamp(), one);
    store.accept(&UserId([5; 32]), "Dora").unwrap();
    assert_ne!(settled(), one);
    assert_eq!(store.accepted().unwrap()[0].name, "Dora");
    assert!(store.forget(&UserId([5; 32])).unwrap() && !store.forget(&UserId([5; 32])).unwrap());
}

#[test]
fn where_members_were_is_kept_until_their_session_is_left() {
    let anna = Person::new("Anna");
    let session = acts::create(&anna.config, "Jam", &[]).unwrap().session;
    let place = |port: u16| Place { address: Text::new(&format!("192.0.2.7:{port}")), device: Some([7; 32]) };
    let store = anna.store();
    store.set_own_places(&[place(1)]).unwrap();
    store.set_members_places(&session, &[place(2), place(3)]).unwrap();
    assert_eq!(store.members_places(&session).unwrap(), [place(2), place(3)]);
    store.remove_membership(&session).unwrap();
    assert_eq!(store.members_places(&session).unwrap(), []);
    assert_eq!(store.own_places().unwrap(), [place(1)]);
}

#[test]
fn a_long_log_loses_its_oldest_lines() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let lines: Vec<_> = (0..LOG_LINES_MAX + 10).map(|number| entry(&number.to_string())).collect();
    store.append_log(&lines).unwrap();
    store.append_log(&[entry("last")]).unwrap();
    let kept = store.log(usize::MAX).unwrap();
    assert_eq!((kept.len() as u64, kept[0].text.as_str()), (LOG_LINES_MAX, "11"));
    assert_eq!(store.log(2).unwrap()[1].text, "last");
}

#[cfg(unix)]
#[test]
fn the_store_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let anna = Person::new("Anna");
    acts::create(&anna.config, "Band", &[]).unwrap();
    let file = anna.config.config_dir.join("sessions.redb");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Every damage gives an error that names file and remedy, or leaves all as it was; never a panic, never less.
#[test]
fn a_damaged_file_is_named_and_left_alone() {
    let anna = Person::new("Anna");
    let session = acts::create(&anna.config, "Band", &[]).unwrap().session;
    let file = anna.config.config_dir.join("sessions.redb");
    let good = std::fs::read(&file).unwrap();
    let (mut named, mut refused) = (0, 0);
    let mut check = |damaged: &[u8]| {
        std::fs::write(&file, damaged).unwrap();
        match anna.store().membership(&session) {
            Ok(found) => assert!(found.is_none_or(|found| found.name == "Band")),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(file.to_str().unwrap()) && text.contains("; "), "{text}");
                assert!(matches!(error, StoreError::Damaged { .. }), "{text}");
                assert_eq!(
                    std::fs::read(&file).unwrap(),
                    damaged,
                    "what was there is left for who can mend it"
                );
                named += 1;
            }
        }
        // Who writes looks at every page first.
        if let Err(error) = anna.store().append_log(&[entry("more")]) {
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            refused += 1;
            assert_eq!(std::fs::read(&file).unwrap(), damaged, "nothing is written beside a damage");
        }
    };
    check(b"not a database at all");
    check(&good[..good.len() / 2]);
    check(&good[..100]);
    for page in 0..good.len() / 4096 {
        let mut damaged = good.clone();
        damaged[page * 4096..][..4096].fill(0xa5);
        check(&damaged);
    }
    for at in (0..512).step_by(8) {
        let mut damaged = good.clone();
        damaged[at] ^= 0xff;
        check(&damaged);
    }
    assert!(named > 5 && refused >= named, "{named} named, {refused} refused");
    std::fs::write(&file, &good).unwrap();
    assert_eq!(anna.store().membership(&session).unwrap().unwrap().name, "Band");
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let anna = Person::new("Anna");
    acts::create(&anna.config, "Band", &[]).unwrap();
    anna.store().set_schema(2);
    let file = anna.config.config_dir.join("sessions.redb");
    let before = std::fs::read(&file).unwrap();
    let (read, written) =
        (anna.store().memberships().unwrap_err(), anna.store().append_log(&[entry("x")]).unwrap_err());
    for error in [read, written] {
        assert!(
            error.to_string().contains("newer audiocloud") && error.to_string().contains("update"),
            "{error}"
        );
    }
    anna.store().set_schema(1);
    assert_eq!(anna.store().memberships().unwrap().len(), 1);
    assert!(!before.is_empty());
}

const CHILD: &str = "AUDIOCLOUD_TEST_STORE_CHILD";

fn child(act: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "sessions::tests::child_at_the_store", "--nocapture"])
        .env(CHILD, format!("{act} {}", folder.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Not a test by itself: one of the processes of those below.
#[test]
fn child_at_the_store() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let (act, folder) = order.split_once(' ').unwrap();
    let store = Store::new(Path::new(folder));
    match act {
        "lines" => {
            for number in 0..10 {
                store.append_log(&[entry(&format!("{} {number}", std::process::id()))]).unwrap();
            }
        }
        "for-ever" => {
            for number in 0.. {
                store.append_log(&[entry(&number.to_string())]).unwrap();
            }
        }
        "read-only" => {
            assert_eq!(store.log(9).unwrap().len(), 1, "what is there can be read");
            let error = store.append_log(&[entry("x")]).unwrap_err().to_string();
            assert!(error.contains("yours to read and write"), "{error}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn processes_of_one_user_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let children: Vec<Child> = (0..4).map(|_| child("lines", folder.path()).spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let lines = Store::new(folder.path()).log(100).unwrap();
    assert_eq!(lines.iter().map(|line| &line.text).collect::<HashSet<_>>().len(), 40);
}

#[test]
fn a_process_that_is_killed_while_it_writes_leaves_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let mut before = 0;
    for _ in 0..5 {
        let mut child = child("for-ever", folder.path()).spawn().unwrap();
        let start = Instant::now();
        while store.log(usize::MAX).unwrap().len() < before + 3 {
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let lines = store.log(usize::MAX).unwrap();
        assert!(lines.len() >= before + 3);
        before = lines.len();
    }
    store.append_log(&[entry("last")]).unwrap();
    assert_eq!(store.log(1).unwrap()[0].text, "last");
}

#[cfg(unix)]
#[test]
fn a_file_that_can_only_be_read_is_read() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    Store::new(folder.path()).append_log(&[entry("one")]).unwrap();
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(&folder.path().join("sessions.redb"), 0o444);
    mode(folder.path(), 0o555);
    let mut command = child("read-only", folder.path());
    if rustix::process::geteuid().is_root() {
        // Modes do not stop root: be nobody.
        command.uid(65_534);
    }
    let done = command.status().unwrap();
    mode(folder.path(), 0o755);
    assert!(done.success());
}

#[test]
fn a_store_that_stays_busy_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let wait_max = Duration::from_millis(100);
    let store = Store::new(folder.path()).waiting_at_most(wait_max);
    store.append_log(&[entry("one")]).unwrap();
    let held = redb::Database::open(folder.path().join("sessions.redb")).unwrap();
    let start = Instant::now();
    let error = store.log(1).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    assert!(start.elapsed() >= wait_max);
    assert_eq!(store.stamp(), store.stamp(), "a look at its date waits for nobody");
    drop(held);
    assert_eq!(store.log(1).unwrap().len(), 1);
}

/// A restored state is built without a look at each signature: what a full one takes is said here.
#[test]
fn a_state_of_many_changes_is_there_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (store, session) = (Store::new(folder.path()), SessionId([1; 32]));
    let key = SigningKey::from_seed(&[1; 32]);
    let mut state = SharedState::new(session);
    for number in 0..1000 {
        state.edit(&key, Edit::Chat(format!("line {number}")), number).unwrap();
    }
    store.put_changes(&session, &state.all()).unwrap();
    let start = Instant::now();
    let mut restored = SharedState::restore(session, store.changes(&session).unwrap());
    let took = start.elapsed();
    assert_eq!((restored.heads(), restored.view()), (state.heads(), state.view()));
    assert!(took < Duration::from_millis(500), "{took:?}");
}
