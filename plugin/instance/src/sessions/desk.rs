//! Where acts on sessions are done: each on a thread of its own, for they read and write files and may wait for others
//! who do.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};

use audiocloud_net::membership::rights::Rights;
use audiocloud_net::runtime::sessions::acts::{self, InviteOptions};
use audiocloud_net::runtime::sessions::{Membership, Store};
use audiocloud_net::runtime::{Config, Handle};

use super::{Act, Link, Model, Offer, Role, overview};
use crate::editor::qr_code::QrCode;
use crate::guard::{Guard, Stage};
use crate::state::{SessionRef, Stored};
use crate::status::{Severity, Status};

/// One plug-in's. Dropping it waits for an act that is under way, two seconds at most.
#[derive(Debug)]
pub struct Desk {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where keys and sessions are, asked anew for each act.
type Where = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

struct Shared {
    place: Where,
    project: Arc<Stored>,
    guard: Guard,
    state: Mutex<super::Desk>,
    on_change: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Desk {
    /// For the plug-in of this project.
    pub fn new(project: Arc<Stored>, guard: &Guard) -> Self {
        Self::at(Box::new(config), project, guard)
    }

    fn at(place: Where, project: Arc<Stored>, guard: &Guard) -> Self {
        let (guard, state, on_change) = (guard.clone(), Mutex::default(), OnceLock::new());
        let shared = Shared { place, project, guard, state, on_change };
        Self { shared: Arc::new(shared), thread: Mutex::default() }
    }

    /// Has `hook` called whenever the project belongs to another session than before, on any thread; once.
    pub fn on_change(&self, hook: impl Fn() + Send + Sync + 'static) {
        let set = self.shared.on_change.set(Box::new(hook));
        debug_assert!(set.is_ok(), "one hook");
    }

    /// For the window.
    pub fn model(&self, handle: Option<&Handle>) -> Model {
        overview::model(handle, self.shared.project.session().as_ref(), self.shared.state().clone())
    }

    /// How things stand with the project's session; none without one, and while nothing is known yet.
    pub fn status(&self, handle: Option<&Handle>) -> Option<Status> {
        overview::status(handle?, &self.shared.project.session()?)
    }

    /// Does it. Nothing is done while another act is under way: the window then lets nobody ask. *Realtime-safe: no*, but
    /// it does not wait.
    pub fn ask(&self, act: Act) {
        match act {
            Act::Choose(session) => self.shared.enter(session.as_ref()),
            Act::PutAway => self.shared.state().link = None,
            act => self.start(move |shared| shared.carry_out(&act)),
        }
    }

    /// A project that is new joins the current session, as soon as that is known. *Realtime-safe: no*, but it does not
    /// wait.
    pub fn join_current(&self) {
        if self.shared.project.await_session() {
            self.start(Shared::join_current);
        }
    }

    fn start(&self, work: impl FnOnce(&Shared) + Send + 'static) {
        let mut thread = lock(&self.thread);
        if std::mem::replace(&mut self.shared.state().is_busy, true) {
            return;
        }
        let shared = self.shared.clone();
        let run = move || {
            shared.guard.run(Stage::Report, || work(&shared));
            shared.state().is_busy = false;
        };
        match Builder::new().name("audiocloud-desk".into()).spawn(run) {
            // The one before has said that it was not busy any more: it ends by itself.
            Ok(started) => *thread = Some(started),
            Err(error) => {
                let mut state = self.shared.state();
                state.is_busy = false;
                state.said = Some(Status::from_error(&error.to_string(), "Nothing was done"));
            }
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // What is done last may drop what owns us; a thread does not wait for itself. One that panicked has been caught.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, super::Desk> {
        lock(&self.state)
    }

    fn enter(&self, session: Option<&SessionRef>) {
        if self.project.set_session(session) {
            self.changed();
        }
    }

    fn changed(&self) {
        if let Some(hook) = self.on_change.get() {
            hook();
        }
    }

    fn join_current(&self) {
        match (self.place)().and_then(|config| current(&config)) {
            Ok(Some(session)) if self.project.adopt(&session) => self.changed(),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the current session is not known"),
        }
    }

    fn carry_out(&self, act: &Act) {
        match (self.place)().and_then(|config| carry_out(&config, act)) {
            Ok(done) => {
                let mut state = self.state();
                state.said = done.said.map(|said| Status::new(Severity::Good, said, ""));
                state.link = done.link;
                drop(state);
                if let Some(session) = done.entered {
                    self.enter(session.as_ref());
                }
            }
            Err(error) => {
                tracing::warn!(?act, %error, "an act on a session failed");
                self.state().said = Some(Status::from_error(&error, act.effect()));
            }
        }
    }
}

/// A panic elsewhere leaves whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came of an act.
#[derive(Default)]
struct Done {
    said: Option<String>,
    link: Option<Link>,
    /// The project is to belong to this one from now on.
    entered: Option<Option<SessionRef>>,
}

impl Act {
    /// What it means that it failed.
    const fn effect(&self) -> &'static str {
        match self {
            Self::Create(_) => "No session was begun",
            Self::Join(_) => "You have not joined",
            Self::Invite(..) => "There is no link",
            Self::Leave(_) => "You are still a member",
            Self::Remove(..) => "Nobody was removed",
            Self::Accept(..) => "Nobody was accepted",
            Self::Choose(_) | Self::PutAway => "Nothing was done",
        }
    }
}

fn config() -> Result<Config, String> {
    Config::from_environment_or_defaults().map(|(config, _)| config).map_err(|error| error.to_string())
}

fn current(config: &Config) -> Result<Option<SessionRef>, String> {
    let store = Store::new(&config.config_dir);
    let Some(id) = store.current().map_err(|error| error.to_string())? else { return Ok(None) };
    let membership = store.membership(&id).map_err(|error| error.to_string())?;
    Ok(membership.as_ref().map(reference))
}

fn reference(membership: &Membership) -> SessionRef {
    SessionRef { id: membership.session, name: membership.name.clone(), ask: membership.inviter.clone() }
}

fn carry_out(config: &Config, act: &Act) -> Result<Done, String> {
    match act {
        Act::Create(name) => {
            let session = acts::create(config, name, &config.meeting).map_err(|error| error.to_string())?;
            let said = format!("“{}” has begun. Invite those who are to be in it.", session.name);
            Ok(Done { said: Some(said), entered: Some(Some(reference(&session))), ..Done::default() })
        }
        Act::Join(link) => {
            let session = acts::join(config, link).map_err(|error| error.to_string())?;
            let said = format!("You are a member of “{}”.", session.name);
            Ok(Done { said: Some(said), entered: Some(Some(reference(&session))), ..Done::default() })
        }
        Act::Invite(session, offer) => {
            let options = InviteOptions {
                rights: rights(offer.role),
                expires_s: offer.stay.seconds(),
                uses: offer.uses,
                ..InviteOptions::default()
            };
            let invitation = acts::invite(config, session, &options).map_err(|error| error.to_string())?;
            Ok(Done { link: Some(link(invitation.to_string(), *offer)), ..Done::default() })
        }
        Act::Leave(session) => {
            acts::leave(config, session).map_err(|error| error.to_string())?;
            Ok(Done {
                said: Some("You are no longer a member.".into()),
                entered: Some(None),
                ..Done::default()
            })
        }
        Act::Remove(session, user) => {
            acts::revoke(config, session, user, "").map_err(|error| error.to_string())?;
            Ok(Done { said: Some("Removed, with all whom they invited.".into()), ..Done::default() })
        }
        Act::Accept(user, name) => {
            Store::new(&config.config_dir).accept(user, name).map_err(|error| error.to_string())?;
            Ok(Done { said: Some(format!("{name} is accepted.")), ..Done::default() })
        }
        Act::Choose(_) | Act::PutAway => Ok(Done::default()),
    }
}

fn rights(role: Role) -> Rights {
    match role {
        Role::Musician => Rights::musician(),
        Role::Listener => Rights::listener(),
    }
}

fn link(text: String, offer: Offer) -> Link {
    let qr_code = QrCode::new(&text);
    Link { text, qr_code, about: offer.words() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tempfile::TempDir;

    struct Plugin {
        project: Arc<Stored>,
        desk: Desk,
        changes: Arc<AtomicU32>,
    }

    /// One of the user whose folder this is.
    fn plugin(folder: &TempDir) -> Plugin {
        let config = Config::in_folders(&folder.path().join("config"), &folder.path().join("run"));
        let place = Box::new(move || Ok(config.clone()));
        let (project, changes) = (Arc::<Stored>::default(), Arc::<AtomicU32>::default());
        let desk = Desk::at(place, project.clone(), &Guard::default());
        let count = changes.clone();
        desk.on_change(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        Plugin { project, desk, changes }
    }

    impl Plugin {
        fn asked(&self, act: Act) -> super::super::Desk {
            self.desk.ask(act);
            self.settled()
        }

        fn settled(&self) -> super::super::Desk {
            if let Some(thread) = lock(&self.desk.thread).take() {
                thread.join().unwrap();
            }
            self.desk.shared.state().clone()
        }
    }

    #[test]
    fn a_session_is_begun_a_link_given_and_followed_and_new_plugins_join_it() {
        let (anna, ben) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = plugin(&anna);
        let begun = first.asked(Act::Create("Friday jam".into()));
        assert_eq!(begun.said.map(|said| said.severity), Some(Severity::Good));
        let session = first.project.session().unwrap();
        assert_eq!((session.name.as_str(), first.changes.load(Ordering::Relaxed)), ("Friday jam", 1));

        let offer = Offer { stay: super::super::Stay::Day, ..Offer::default() };
        let link = first.asked(Act::Invite(session.id, offer)).link.unwrap();
        assert!(link.text.starts_with("audiocloud://join/") && link.qr_code.is_some(), "{}", link.text.len());
        assert!(first.asked(Act::PutAway).link.is_none());

        let other = plugin(&ben);
        let joined = other.asked(Act::Join(link.text.clone()));
        assert_eq!(other.project.session().map(|session| session.id), Some(session.id), "{joined:?}");

        let (second, loaded) = (plugin(&ben), plugin(&ben));
        second.desk.join_current();
        loaded.project.set_stream(7);
        loaded.desk.join_current();
        second.settled();
        loaded.settled();
        assert_eq!(second.project.session().map(|session| session.id), Some(session.id));
        assert_eq!((loaded.project.session(), loaded.changes.load(Ordering::Relaxed)), (None, 0), "not new");

        assert!(other.asked(Act::Leave(session.id)).said.is_some());
        assert_eq!(other.project.session(), None);
    }

    #[test]
    fn what_fails_is_said_with_its_remedy_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let plugin = plugin(&folder);
        let failed = plugin.asked(Act::Join("https://example.org".into()));
        let said = failed.said.unwrap();
        assert!(said.severity == Severity::Fault && !said.remedy.is_empty(), "{said:?}");
        assert!(said.cause.starts_with("You have not joined: "), "{said:?}");
        assert_eq!((plugin.project.session(), plugin.changes.load(Ordering::Relaxed)), (None, 0));
        assert!(!failed.is_busy);
    }
}
