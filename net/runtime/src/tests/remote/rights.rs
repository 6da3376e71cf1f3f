//! Who may have chains played, and who may edit them.

use audiocloud_membership::rights::{Control, Rights};

use super::super::refusal::has_line;
use super::super::rig::{sample, until};
use super::super::sessions::{Person, gathered, with};
use super::rig::{Node, PlugIn, config};
use crate::remote::{NodeChoice, RemoteConfig, RemoteState};
use crate::sessions::Act;

#[test]
fn a_member_needs_the_right_to_host() {
    let anna = Person::new("Anna");
    let session = anna.found();
    let node = Node::on(anna.handle().clone());
    let ben = Person::new("Ben");
    ben.join(&anna.invite(&session, with(Rights::musician())));
    let carl = Person::new("Carl");
    carl.join(&anna.invite(&session, with(Rights { host: true, ..Rights::musician() })));
    let config =
        RemoteConfig { session: Some(session), node: NodeChoice::Device(anna.handle().device()), ..config() };
    let allowed = PlugIn::new(carl.handle(), config.clone());
    allowed.until_live();
    until("the log says so", || {
        let log = anna.store().log(100).unwrap();
        log.iter().any(|line| line.act == Act::Allowed && line.text.contains("plays \"Vox\" of"))
    });
    let denied = PlugIn::new(ben.handle(), config);
    until("it says what to do", || denied.remote.status().words.contains("ask for the right to host"));
    assert_eq!(denied.remote.status().state, RemoteState::Searching);
    assert!(ben.handle().nodes().is_empty());
    // Without a session it is nobody's business but its user's.
    let private = PlugIn::new(carl.handle(), RemoteConfig { session: None, ..super::rig::config() });
    until("no node is found", || private.remote.status().words.contains("no node is there"));
    assert_eq!(node.host.open(), 1);
}

#[test]
fn who_is_put_out_loses_the_chain() {
    let anna = Person::new("Anna");
    let session = anna.found();
    let node = Node::on(anna.handle().clone());
    let carl = Person::new("Carl");
    carl.join(&anna.invite(&session, with(Rights { host: true, ..Rights::musician() })));
    let plug_in = PlugIn::new(carl.handle(), RemoteConfig { session: Some(session), ..config() });
    plug_in.until_live();
    anna.revoke(&session, &carl.handle().user());
    until("it is closed", || node.host.open() == 0 && node.serving.chains().is_empty());
    until("and its owner knows", || plug_in.remote.status().state != RemoteState::Live);
}

#[test]
fn edits_are_proposed_by_who_may_and_taken_by_the_owner() {
    let anna = Person::new("Anna");
    let session = anna.found();
    let ben = Person::new("Ben");
    let only = |names: &[&str]| Control::Only(names.iter().map(|name| (*name).to_owned()).collect());
    ben.join(&anna.invite(&session, with(Rights { control: only(&["Vox"]), ..Rights::musician() })));
    let carl = Person::new("Carl");
    carl.join(&anna.invite(&session, with(Rights { control: only(&["Drums"]), ..Rights::musician() })));
    let plug_in = PlugIn::new(anna.handle(), RemoteConfig { session: Some(session), ..config() });
    let private = PlugIn::new(anna.handle(), config());
    let key = plug_in.remote.key();
    let seen = |person: &Person| person.handle().chains().into_iter().find(|one| one.chain == key);
    for (person, may) in [(&ben, true), (&carl, false)] {
        until("they see it", || seen(person).is_some_and(|chain| chain.document.as_slice() == b"first"));
        let chain = seen(person).unwrap();
        assert_eq!((chain.name.as_str(), chain.owner.as_str(), chain.open), ("Vox", "Anna", may));
        assert_eq!(person.handle().chains().len(), 1, "what is in no session is not shown");
        assert!(person.handle().propose(private.remote.key(), Vec::new()).is_err());
        person.handle().propose(key, person.handle().user().0.to_vec()).unwrap();
    }
    let mut proposals = Vec::new();
    until("the one edit is proposed", || {
        proposals.extend(plug_in.remote.proposals());
        !proposals.is_empty()
    });
    until("the other is refused", || has_line(&carl.handle().events_log(), "the edit of \"Vox\""));
    assert_eq!(proposals.len(), 1);
    assert_eq!((proposals[0].from.as_str(), &proposals[0].edit[..]), ("Ben", &ben.handle().user().0[..]));
    assert!(plug_in.remote.proposals().is_empty());
    plug_in.remote.set_document(b"second".to_vec()).unwrap();
    until("all see the change", || {
        [&ben, &carl].iter().all(|one| seen(one).is_some_and(|chain| chain.document.as_slice() == b"second"))
    });
    // Taken away.
    plug_in.remote.set_open(false);
    until("it is seen", || seen(&ben).is_some_and(|chain| !chain.open));
    ben.handle().propose(key, Vec::new()).unwrap();
    until("it is refused", || has_line(&ben.handle().events_log(), "does not let others edit it"));
    assert!(plug_in.remote.proposals().is_empty());
}

#[test]
fn sound_of_a_session_goes_to_its_members_alone() {
    let (session, people) = gathered(&["Anna", "Ben"]);
    let stranger = Person::new("Dora");
    let _node = Node::on(stranger.handle().clone());
    let mut plug_in = PlugIn::new(people[0].handle(), RemoteConfig { session: Some(session), ..config() });
    plug_in.block();
    until("it is thrown away", || plug_in.remote.status().figures.blocks_unopened == 1);
    assert!(people[0].handle().nodes().is_empty());
    assert!(sample(0, 1) != 0.0, "there was something to hear");
}
