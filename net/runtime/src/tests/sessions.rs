//! People of several identities: who gets in, what each may do, and that all of them come to know the same.

use std::time::{Duration, Instant};

use audiocloud_membership::rights::Rights;
use audiocloud_membership::shared::Edit;
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{ConfigId, InputId, RosterDigest, SessionId, StreamId, StreamKey, UserId};
use audiocloud_wire::message::{
    self, Bytes, Directory, Membership, Message, Patch, Purpose, SessionHave, SessionRoster,
    StreamAnnouncement, Subscribe, Text,
};
use audiocloud_wire::quality::Quality;

use super::refusal::{Puppet, Undisturbed, has_line, peer};
use super::rig::{Machine, Receiver, Sender, until, until_subscribed};
use crate::sessions::{InviteOptions, Store, acts};
use crate::{Config, Handle, InputConfig, Link, Runtime};

/// Somebody with an identity, a machine and a runtime.
pub(super) struct Person {
    pub(super) machine: Machine,
    config: Config,
    handle: Option<Handle>,
}

impl Person {
    pub(super) fn new(name: &str) -> Self {
        let machine = Machine::new();
        let config = machine.config(name);
        let handle = Some(Runtime::acquire_with(config.clone()).unwrap());
        Self { machine, config, handle }
    }

    pub(super) fn handle(&self) -> &Handle {
        self.handle.as_ref().unwrap()
    }

    pub(super) fn stop(&mut self) {
        self.handle = None;
    }

    fn start(&mut self) {
        self.handle = Some(Runtime::acquire_with(self.config.clone()).unwrap());
    }

    pub(super) fn store(&self) -> Store {
        Store::new(&self.config.config_dir)
    }

    /// Founds a session, and waits until links can say where this runtime is.
    pub(super) fn found(&self) -> SessionId {
        let session = acts::create(&self.config, "Friday", &[]).unwrap().session;
        until("the founder's place is known", || !self.store().own_places().unwrap().is_empty());
        session
    }

    pub(super) fn invite(&self, session: &SessionId, options: InviteOptions) -> String {
        acts::invite(&self.config, session, &options).unwrap().to_string()
    }

    pub(super) fn join(&self, link: &str) {
        acts::join(&self.config, link).unwrap();
    }

    /// Puts somebody out.
    pub(super) fn revoke(&self, session: &SessionId, user: &UserId) {
        acts::revoke(&self.config, session, user, "too loud").unwrap();
    }

    /// How many members are there, as this person sees it.
    pub(super) fn present(&self) -> usize {
        let sessions = self.handle().sessions();
        sessions.first().map_or(0, |session| session.members.iter().filter(|member| member.present).count())
    }

    /// Why this person is out.
    fn trouble(&self) -> Option<String> {
        self.handle().sessions().first().and_then(|session| session.trouble.clone())
    }

    fn sender(&self, session: SessionId, purpose: Purpose) -> Sender {
        let claim = self.handle().claim(crate::random_stream()).unwrap();
        Sender::for_members(self.handle(), claim, (2, 64, Codec::PcmF32), (Some(session), purpose))
    }
}

pub(super) fn with(rights: Rights) -> InviteOptions {
    InviteOptions { rights, ..InviteOptions::default() }
}

/// A session of so many people who are all connected, the founder first.
pub(super) fn gathered(names: &[&str]) -> (SessionId, Vec<Person>) {
    let people: Vec<Person> = names.iter().map(|name| Person::new(name)).collect();
    let session = people[0].found();
    for guest in &people[1..] {
        guest.join(&people[0].invite(&session, InviteOptions::default()));
    }
    until("all are there", || people.iter().all(|person| person.present() == people.len()));
    for person in &people {
        let others = people.len() - 1;
        until("all are connected", || {
            person.handle().peers().iter().filter(|peer| peer.user.is_some()).count() >= others
        });
    }
    (session, people)
}

fn is_refused(receiver: &Receiver) -> Option<String> {
    match receiver.subscription.status().link {
        Link::Refused { reason } => Some(reason),
        _ => None,
    }
}

#[test]
fn three_people_join_by_link_and_hear_each_other() {
    let (session, people) = gathered(&["Anna", "Ben", "Carl"]);
    let mut senders: Vec<_> = people.iter().map(|person| person.sender(session, Purpose::Play)).collect();
    let mut receivers = Vec::new();
    for (number, person) in people.iter().enumerate() {
        for (other, sender) in senders.iter().enumerate().filter(|(other, _)| *other != number) {
            receivers.push(Receiver::new(person.handle(), sender.key(people[other].handle())));
        }
    }
    receivers.iter().for_each(Receiver::until_live);
    senders.iter().for_each(|sender| until_subscribed(sender, 2));
    senders.iter_mut().for_each(Sender::block);
    for receiver in &mut receivers {
        let mut samples = 0;
        until("it is heard", || {
            samples += receiver.check_blocks();
            samples == 128
        });
    }
    until("it is in the log", || {
        people[0].store().log(100).unwrap().iter().any(|line| line.text == "Carl joined")
    });
}

#[test]
fn who_may_only_listen_does_only_that() {
    let anna = Person::new("Anna");
    let session = anna.found();
    let input = anna.handle().input(InputConfig {
        name: "Monitor".into(),
        session: Some(session),
        open: true,
        mixes: false,
    });
    let sender = anna.sender(session, Purpose::Play);
    let private = Sender::new(anna.handle(), 2, 64, Codec::PcmF32);
    let ben = Person::new("Ben");
    ben.join(&anna.invite(&session, with(Rights::listener())));
    let receiver = Receiver::new(ben.handle(), sender.key(anna.handle()));
    receiver.until_live();
    let entry = |key: StreamKey| ben.handle().streams().into_iter().find(|entry| entry.key == key);
    assert_eq!(entry(sender.key(anna.handle())).unwrap().session, Some(session));
    assert!(entry(private.key(anna.handle())).is_none(), "what is in no session is not shown");
    // Published by an honest program.
    let own = ben.sender(session, Purpose::Play);
    until("the publisher is told", || own.publication.status().trouble.is_some());
    // Patched.
    until("the input is seen", || ben.handle().inputs().iter().any(|one| one.input == input.id()));
    ben.handle().patch(anna.handle().device(), input.id(), sender.key(anna.handle()), true);
    until("the patch is refused", || {
        ben.handle().patch_refusals().iter().any(|one| one.text.contains("does not allow"))
    });
    assert!(input.take_patches().is_empty());
    // Invited, and edited.
    let error = acts::invite(&ben.config, &session, &InviteOptions::default()).unwrap_err().to_string();
    assert!(error.contains("does not allow"), "{error}");
    assert!(acts::edit(&ben.config, &session, Edit::Tempo(99.0)).is_err());
    assert!(ben.handle().edit(session, Edit::Tempo(99.0)).is_err());
    assert_eq!(anna.handle().streams().iter().filter(|entry| !entry.local).count(), 0);
}

/// A program that does not keep to its ticket.
pub(super) fn member_puppet(ben: &Person, to: &Person, session: SessionId) -> Puppet {
    let record = ben.store().membership(&session).unwrap().unwrap().record;
    let mut puppet = Puppet::connect(&ben.machine, to.handle());
    puppet.hello.memberships = vec![Membership { session, record: Bytes::try_from(record).unwrap() }];
    puppet
}

fn announcement(session: Option<SessionId>) -> StreamAnnouncement {
    StreamAnnouncement {
        stream: StreamId(7),
        name: Text::new("Smuggled"),
        config: ConfigId(1),
        epoch: 1,
        sample_rate_hz: 48_000,
        channels: 2,
        codec: Some(Codec::PcmF32),
        codecs: Vec::new(),
        clock_domain: Text::default(),
        block_frames_max: 0,
        session,
        purpose: Purpose::Play,
    }
}

#[test]
fn a_program_that_ignores_its_ticket_gets_no_further() {
    let anna = Person::new("Anna");
    let session = anna.found();
    let input = anna.handle().input(InputConfig {
        name: "Monitor".into(),
        session: Some(session),
        open: true,
        mixes: false,
    });
    let private = Sender::new(anna.handle(), 2, 64, Codec::PcmF32);
    let mut ben = Person::new("Ben");
    ben.stop();
    ben.join(&anna.invite(&session, with(Rights::listener())));
    let mut puppet = member_puppet(&ben, &anna, session);
    puppet.say_hello();
    let Message::Hello(hello) = puppet.answer() else { panic!("it was not let in") };
    assert_eq!(hello.memberships.len(), 1, "the other proves that it is in the session too");
    for session in [None, Some(session)] {
        let directory = Directory { revision: 1, streams: vec![announcement(session)] };
        puppet.send(&Message::Directory(directory).to_frame().unwrap());
    }
    let subscribe = Subscribe { stream: private.publication.stream(), quality: Quality::default() };
    puppet.send(&Message::Subscribe(subscribe).to_frame().unwrap());
    let stream = private.key(anna.handle());
    puppet.send(&Message::Patch(Patch { input: input.id(), stream, on: true }).to_frame().unwrap());
    puppet.send(&Message::Patch(Patch { input: InputId(5), stream, on: true }).to_frame().unwrap());
    let (mut hearing, mut patches) = (None, 0);
    while hearing.is_none() || patches < 2 {
        match puppet.answer() {
            Message::SubscribeRefused(refused) => hearing = Some(refused.reason),
            Message::PatchRefused(_) => patches += 1,
            _ => {}
        }
    }
    assert_eq!(hearing, Some(message::SubscribeRefusal::NotAllowed));
    until("its streams are refused", || anna.handle().figures().streams_refused >= 2);
    assert!(anna.handle().streams().iter().all(|entry| entry.local));
    assert!(input.take_patches().is_empty());
}

#[test]
fn who_is_revoked_is_out_within_two_seconds() {
    let (session, people) = gathered(&["Anna", "Ben", "Carl"]);
    let [anna, ben, carl] = &people[..] else { unreachable!() };
    let mut sender = carl.sender(session, Purpose::Play);
    let receiver = Receiver::new(ben.handle(), sender.key(carl.handle()));
    receiver.until_live();
    until_subscribed(&sender, 1);
    let start = Instant::now();
    acts::revoke(&anna.config, &session, &ben.handle().user(), "too loud").unwrap();
    let written = start.elapsed();
    until("Carl sends no more", || {
        sender.block();
        sender.publication.status().subscribers == 0
    });
    let unheard = start.elapsed();
    until("Ben is told", || ben.trouble().is_some_and(|why| why.contains("revoked (too loud)")));
    println!(
        "revoked: written after {written:?}, unheard after {unheard:?}, told after {:?}",
        start.elapsed()
    );
    assert!(unheard < Duration::from_secs(2), "{unheard:?}");
    until("Anna and Carl see two", || anna.present() == 2 && carl.present() == 2);
    until("and says so", || is_refused(&receiver).is_some());
    // Nor does a new start help.
    let Person { machine, config, handle } = people.into_iter().nth(1).unwrap();
    drop((receiver, handle));
    let again = Runtime::acquire_with(config).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(again.streams().is_empty());
    drop(machine);
}

#[test]
fn a_membership_is_of_no_use_to_another_key() {
    let (session, people) = gathered(&["Anna", "Ben"]);
    let thief = Machine::new();
    let mut puppet = Puppet::connect(&thief, people[0].handle());
    let record = people[1].store().membership(&session).unwrap().unwrap().record;
    puppet.hello.memberships = vec![Membership { session, record: Bytes::try_from(record).unwrap() }];
    puppet.say_hello();
    let Message::HelloRefused(refused) = puppet.answer() else { panic!("it was let in") };
    assert!(refused.text.contains("of no use to another key"), "{}", refused.text);
    assert_eq!(people[0].present(), 2);
}

#[test]
fn an_expired_ticket_says_so() {
    let anna = Person::new("Anna");
    let session = anna.found();
    let sender = anna.sender(session, Purpose::Play);
    let ben = Person::new("Ben");
    ben.join(&anna.invite(&session, InviteOptions { expires_s: Some(2), ..InviteOptions::default() }));
    let receiver = Receiver::new(ben.handle(), sender.key(anna.handle()));
    receiver.until_live();
    until("it ends", || sender.publication.status().subscribers == 0);
    until("Ben is told", || ben.trouble().is_some_and(|why| why.contains("expired")));
    until("Anna has it in her journal", || has_line(&anna.handle().refusals(), "expired"));
    // Whoever comes with it later is told as well.
    let mut puppet = member_puppet(&ben, &anna, session);
    puppet.say_hello();
    let Message::HelloRefused(refused) = puppet.answer() else { panic!("it was let in") };
    assert!(refused.text.contains("expired"), "{}", refused.text);
}

#[test]
fn four_members_agree_after_they_were_apart() {
    let (session, mut people) = gathered(&["Anna", "Ben", "Carl", "Dora"]);
    people[2].stop();
    people[3].stop();
    let edit = |person: &Person, edit| drop(acts::edit(&person.config, &session, edit).unwrap());
    edit(&people[0], Edit::Tempo(120.0));
    people[1].handle().edit(session, Edit::Chat("we start".into())).unwrap();
    edit(&people[2], Edit::Tempo(90.0));
    edit(&people[2], Edit::Notes("bring the drums".into()));
    edit(&people[3], Edit::Key("A minor".into()));
    acts::rename(&people[3].config, &session, "Dorothea").unwrap();
    people[2].start();
    people[3].start();
    let view = |person: &Person| acts::view(&person.config, &session).unwrap();
    until("all see the same", || {
        let first = view(&people[0]);
        first.key.is_some()
            && first.notes == "bring the drums"
            && first.chat.len() == 1
            && people.iter().all(|person| view(person) == first)
    });
    let names = |person: &Person| -> Vec<String> {
        let sessions = person.handle().sessions();
        sessions[0].members.iter().map(|member| member.name.clone()).collect()
    };
    until("and the same members", || {
        let first = names(&people[0]);
        first.contains(&"Dorothea".to_owned()) && people.iter().all(|person| names(person) == first)
    });
}

#[test]
fn talk_back_is_marked_and_inputs_are_patched_by_who_may() {
    let (session, people) = gathered(&["Anna", "Ben"]);
    let [anna, ben] = &people[..] else { unreachable!() };
    let talk_back = ben.sender(session, Purpose::TalkBack);
    let key = talk_back.key(ben.handle());
    until("it is announced as what it is", || {
        let streams = anna.handle().streams();
        streams
            .iter()
            .any(|one| one.key == key && one.purpose == Purpose::TalkBack && one.session == Some(session))
    });
    let config =
        InputConfig { name: "Control room".into(), session: Some(session), open: false, mixes: false };
    let input = anna.handle().input(config.clone());
    until("Ben sees it", || ben.handle().inputs().iter().any(|one| one.input == input.id() && !one.open));
    ben.handle().patch(anna.handle().device(), input.id(), key, true);
    until("it is not open", || {
        ben.handle().patch_refusals().iter().any(|one| one.text.contains("does not let"))
    });
    input.set(InputConfig { open: true, ..config.clone() });
    until("Ben sees that", || ben.handle().inputs().iter().any(|one| one.open));
    ben.handle().patch(anna.handle().device(), input.id(), key, true);
    let mut patches = Vec::new();
    until("the wish arrives", || {
        patches.extend(input.take_patches());
        !patches.is_empty()
    });
    assert_eq!((patches[0].stream, patches[0].on, patches[0].by.as_str()), (key, true, "Ben"));
    input.playing(&[key]);
    until("Ben sees that it plays", || ben.handle().inputs().iter().any(|one| one.playing == [key]));
    until("it is in the log", || {
        anna.store().log(100).unwrap().iter().any(|line| line.text.contains("had \"Control room\" play"))
    });
    // In a mix it has no place, whoever asks.
    input.set(InputConfig { open: true, mixes: true, ..config });
    let refused = |person: &Person| {
        let said = person.handle().patch_refusals();
        said.iter().filter(|one| one.text.contains("what is for talking is in no mix")).count()
    };
    for person in [ben, anna] {
        person.handle().patch(anna.handle().device(), input.id(), key, true);
        until("it is refused", || refused(person) == 1);
    }
    assert!(input.take_patches().is_empty());
    drop(input);
    until("it is gone", || ben.handle().inputs().is_empty());
}

#[test]
fn a_stranger_is_shown_and_let_in_when_accepted() {
    let anna = Person::new("Anna");
    let elsewhere = Machine::new();
    let mut config = elsewhere.config("Xaver");
    config.peers.push(peer(anna.handle(), anna.handle().user().0));
    let xaver = Runtime::acquire_with(config).unwrap();
    let sender = Sender::new(anna.handle(), 2, 64, Codec::PcmF32);
    let receiver = Receiver::new(&xaver, sender.key(anna.handle()));
    until("he is shown", || {
        anna.handle().strangers().iter().any(|one| one.name == "Xaver" && one.user == Some(xaver.user()))
    });
    assert!(anna.handle().peers().iter().all(|one| one.user != Some(xaver.user())));
    anna.handle().accept(xaver.user());
    receiver.until_live();
    until("he is no stranger any more", || anna.handle().strangers().is_empty());
    anna.store().forget(&xaver.user()).unwrap();
    until("he is put out when he is forgotten", || sender.publication.status().subscribers == 0);
}

#[test]
fn a_flood_of_messages_is_cut_off_and_nobody_else_notices() {
    let ben = Machine::new();
    let machine = Machine::new();
    let mut stream = Undisturbed::new(&machine);
    let config = machine.config("one");
    let session = acts::create(&config, "Friday", &[]).unwrap().session;
    let link = acts::invite(&config, &session, &InviteOptions::default()).unwrap().to_string();
    acts::join(&ben.config("Ben"), &link).unwrap();
    let one = stream.one.clone();
    stream.until("the session is known", || !one.sessions().is_empty());
    let record = Store::new(ben.config.path()).membership(&session).unwrap().unwrap().record;
    let mut puppet = Puppet::connect(&ben, &stream.one);
    puppet.hello.memberships = vec![Membership { session, record: Bytes::try_from(record).unwrap() }];
    puppet.say_hello();
    assert!(matches!(puppet.answer(), Message::Hello(_)));
    let have = SessionHave { session, heads: Vec::new(), roster: RosterDigest([0; 32]) };
    let mut flood = Message::SessionHave(have).to_frame().unwrap();
    let junk = SessionRoster {
        session,
        records: vec![Bytes::try_from(vec![7; 1000]).unwrap(); 40],
        revocations: Vec::new(),
    };
    flood.extend(Message::SessionRoster(junk).to_frame().unwrap());
    let connection = puppet.connection.clone();
    let sending = std::thread::spawn(move || {
        // Until it is closed.
        while puppet.try_send(&flood).is_ok() {}
        puppet.closed().to_string()
    });
    stream.until("it is cut off", || connection.close_reason().is_some());
    let why = sending.join().unwrap();
    assert!(
        why.contains("more messages") || why.contains("more bytes") || why.contains("more false"),
        "{why}"
    );
    stream.until("it is counted", || one.figures().cut_off == 1);
    stream.until("and said", || has_line(&one.refusals(), "cut "));
    stream.finish();
}
