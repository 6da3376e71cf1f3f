//! Where acts on sessions are done: each on a thread of its own, for they read and write files and may wait for others
//! who do. A spoken code has another thread: whoever it is said to may take minutes, and all else goes on meanwhile.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};

use audiocloud_net::membership::pairing::{Code, ParseCodeError};
use audiocloud_net::membership::rights::Rights;
use audiocloud_net::runtime::pairing::{self, Cancel};
use audiocloud_net::runtime::sessions::acts::{self, InviteOptions};
use audiocloud_net::runtime::sessions::{Membership, Store};
use audiocloud_net::runtime::{Config, Handle};

use super::{Act, Link, Model, Offer, Pairing, Role, overview};
use crate::editor::qr_code::QrCode;
use crate::guard::{Guard, Stage};
use crate::state::{SessionRef, Stored};
use crate::status::{Severity, Status};

/// What is waited for, by who made a code and by who entered one.
const SAY: &str = "Say it to the other one, who enters it under Join…, within ten minutes.";
const LOOKING: &str = "Looking on this network for who says this code.";

/// One plug-in's. Dropping it waits for an act that is under way, two seconds at most.
#[derive(Debug)]
pub struct Desk {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    pairing: Mutex<Option<(Cancel, JoinHandle<()>)>>,
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
        Self { shared: Arc::new(shared), thread: Mutex::default(), pairing: Mutex::default() }
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
            Act::ShowCode(..) | Act::EnterCode(_) => self.pair(act),
            Act::StopPairing => self.stop_pairing(),
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
        match spawn(run) {
            // The one before has said that it was not busy any more: it ends by itself.
            Ok(started) => *thread = Some(started),
            Err(said) => {
                let mut state = self.shared.state();
                state.is_busy = false;
                state.said = Some(said);
            }
        }
    }

    /// One code at a time.
    fn pair(&self, act: Act) {
        let mut pairing = lock(&self.pairing);
        let about = if let Act::EnterCode(_) = act { LOOKING } else { "A code is being made." };
        {
            let mut state = self.shared.state();
            if state.pairing.is_some() {
                return;
            }
            state.pairing = Some(Pairing { code: None, about: about.to_owned() });
        }
        let (shared, cancel) = (self.shared.clone(), Cancel::default());
        let run = {
            let cancel = cancel.clone();
            move || {
                shared.guard.run(Stage::Report, || shared.pair(&act, &cancel));
                shared.state().pairing = None;
            }
        };
        match spawn(run) {
            // As above.
            Ok(started) => *pairing = Some((cancel, started)),
            Err(said) => {
                let mut state = self.shared.state();
                (state.pairing, state.said) = (None, Some(said));
            }
        }
    }

    fn stop_pairing(&self) {
        if let Some((cancel, _)) = &*lock(&self.pairing) {
            cancel.cancel();
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop_pairing();
        let pairing = lock(&self.pairing).take().map(|(_, thread)| thread);
        for thread in lock(&self.thread).take().into_iter().chain(pairing) {
            // What is done last may drop what owns us; a thread does not wait for itself. One that panicked has been
            // caught.
            if thread.thread().id() != std::thread::current().id() {
                thread.join().ok();
            }
        }
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Status> {
    let spawned = Builder::new().name("audiocloud-desk".into()).spawn(run);
    spawned.map_err(|error| Status::from_error(&error.to_string(), "Nothing was done"))
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
        self.settle(act, (self.place)().and_then(|config| carry_out(&config, act)));
    }

    fn settle(&self, act: &Act, result: Result<Done, String>) {
        match result {
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

    /// Waits for who has the same code, or until that is cancelled, of which nothing is said.
    fn pair(&self, act: &Act, cancel: &Cancel) {
        let show = |code: &Code, offer: Offer| {
            let about = format!("{SAY} {}", offer.words());
            self.state().pairing = Some(Pairing { code: Some(code.to_string()), about });
        };
        let paired = (self.place)().and_then(|config| pair(&config, act, cancel, show));
        if let Some(result) = paired.transpose() {
            // A link that is shown has nothing to do with it.
            let link = self.state().link.clone();
            self.settle(act, result.map(|done| Done { link, ..done }));
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
            Self::ShowCode(..) => "Nobody was invited",
            Self::EnterCode(_) => "You have not joined",
            Self::Leave(_) => "You are still a member",
            Self::Remove(..) => "Nobody was removed",
            Self::Accept(..) => "Nobody was accepted",
            Self::Choose(_) | Self::PutAway | Self::StopPairing => "Nothing was done",
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
            Ok(joined(&session))
        }
        Act::Invite(session, offer) => {
            let invitation =
                acts::invite(config, session, &options(*offer)).map_err(|error| error.to_string())?;
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
        Act::Choose(_) | Act::PutAway | Act::ShowCode(..) | Act::EnterCode(_) | Act::StopPairing => {
            Ok(Done::default())
        }
    }
}

/// The acts that wait for somebody else, on the local network; nothing, when they are cancelled.
fn pair(
    config: &Config,
    act: &Act,
    cancel: &Cancel,
    show: impl Fn(&Code, Offer),
) -> Result<Option<Done>, String> {
    let paired = match act {
        Act::ShowCode(session, offer) => {
            let invitation =
                acts::invite(config, session, &options(*offer)).map_err(|error| error.to_string())?;
            let given = pairing::host(config, None, &invitation, cancel, |code| show(code, *offer));
            given.map(|device| Done {
                said: Some(format!("The invitation is with them now, on the device {}.", device.short())),
                ..Done::default()
            })
        }
        Act::EnterCode(text) => {
            let code: Code = text.parse().map_err(|error: ParseCodeError| error.to_string())?;
            match pairing::guest(config, None, code, cancel) {
                Ok((_, invitation)) => {
                    let session = acts::accept(config, invitation).map_err(|error| error.to_string())?;
                    Ok(joined(&session))
                }
                Err(error) => Err(error),
            }
        }
        _ => return Ok(None),
    };
    match paired {
        Ok(done) => Ok(Some(done)),
        Err(pairing::Error::Cancelled) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn joined(session: &Membership) -> Done {
    let said = format!("You are a member of “{}”.", session.name);
    Done { said: Some(said), entered: Some(Some(reference(session))), ..Done::default() }
}

fn options(offer: Offer) -> InviteOptions {
    InviteOptions {
        rights: rights(offer.role),
        expires_s: offer.stay.seconds(),
        uses: offer.uses,
        ..InviteOptions::default()
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
    fn a_code_is_waited_for_beside_all_else_until_it_is_put_away() {
        let folder = tempfile::tempdir().unwrap();
        let plugin = plugin(&folder);
        let paired = |plugin: &Plugin| {
            let (_, thread) = lock(&plugin.desk.pairing).take().unwrap();
            thread.join().unwrap();
            plugin.desk.shared.state().clone()
        };
        plugin.desk.ask(Act::EnterCode("42-guitar-ocean".into()));
        let said = paired(&plugin).said.unwrap();
        assert!(said.cause.starts_with("You have not joined: a code is a number and 4 words"), "{said:?}");

        plugin.desk.ask(Act::EnterCode("42-guitar-ocean-lamp-tango".into()));
        let looking = plugin.desk.shared.state().pairing.clone().unwrap();
        assert_eq!((looking.code, looking.about.as_str()), (None, LOOKING));
        let begun = plugin.asked(Act::Create("Friday jam".into()));
        assert!(begun.pairing.is_some() && plugin.project.session().is_some(), "{begun:?}");
        plugin.desk.ask(Act::StopPairing);
        let put_away = paired(&plugin);
        assert_eq!((put_away.pairing, put_away.said), (None, begun.said), "of that nothing is said");
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
