//! Four members with four streams each, on machines of their own: they edit what they share all at once, are cut into two
//! halves that go on by themselves, and agree again. What they see is asked for by the command line, as people do.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use audiocloud_e2e::{
    Stage,
    net::{Cut, Net},
    person::Person,
};
use audiocloud_rig::{
    process::{Block, Options, Rig},
    session::{SEND_ID, publications},
};
use serde_json::Value;

const NAMES: [&str; 4] = ["Anna", "Ben", "Carla", "Dora"];
/// What Ben calls himself later.
const RENAMED: &str = "Benjamin";
/// Of all members.
const STREAMS: usize = 16;
/// How long agreement may take.
const PATIENCE: Duration = Duration::from_secs(40);
/// Lines that everybody says in a round.
const LINES: usize = 3;

/// A process with two Sends, one behind the other: the streams `first` and `first + 1` of a member.
fn two_sends(stage: &Stage, person: &Person, number: usize, first: usize) -> Rig {
    let [one, two] = [first, first + 1].map(|stream| {
        let id = format!("{:016x}", 0x100 * (number + 1) + stream);
        (id.clone(), person.send_field(stage, &format!("{} {stream}", NAMES[number]), &id))
    });
    let mut options = Options::new(SEND_ID);
    (options.channels, options.block, options.fifo) = (1, Block::Fixed(1024), None);
    options.fields.push(("stream".into(), one.1));
    options.then = Some((SEND_ID.into(), vec![("stream".into(), two.1)]));
    let rig = person.rig(stage, &format!("sends-{first}"), &options);
    person.wait(stage, PATIENCE, "two streams more", |status| {
        let published: Vec<_> = publications(status).iter().map(|entry| &entry["stream"]).collect();
        [&one.0, &two.0].iter().all(|id| published.contains(&&Value::from(id.as_str()))).then_some(())
    });
    rig
}

/// What a member sees of the session.
#[derive(Debug, PartialEq)]
struct Seen {
    streams: Value,
    members: Vec<Value>,
    state: Value,
    chat: Vec<Value>,
}

impl Seen {
    fn by(stage: &Stage, person: &Person) -> Self {
        let ask = |arguments: &[&str]| person.ask(stage, arguments);
        let mut members = ask(&["session", "members", "--json"])["members"].take();
        let members = members.as_array_mut().expect("members");
        for fields in members.iter_mut().filter_map(Value::as_object_mut) {
            // Who is oneself, and who is there, is another matter for everybody.
            fields.retain(|key, _| key != "self" && key != "present");
        }
        let mut chat = ask(&["session", "chat", "--lines", "1000", "--json"])["chat"].take();
        Self {
            streams: ask(&["streams", "--json"])["streams"].take(),
            members: members.clone(),
            state: ask(&["session", "state", "--json"])["state"].take(),
            chat: chat.as_array_mut().map(std::mem::take).expect("lines"),
        }
    }

    /// What was said, without the order.
    fn lines(&self) -> BTreeSet<&str> {
        self.chat.iter().filter_map(|line| line["text"].as_str()).collect()
    }
}

/// Everybody does it at once.
fn all_at_once<T: Send>(people: &[Person], work: impl Fn(usize, &Person) -> T + Sync) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        let started: Vec<_> = people
            .iter()
            .enumerate()
            .map(|(number, person)| scope.spawn(move || work(number, person)))
            .collect();
        started.into_iter().map(|thread| thread.join().expect("done")).collect()
    })
}

/// All that can be edited, by everybody at once.
fn edit(stage: &Stage, people: &[Person], round: usize) {
    all_at_once(people, |number, person| {
        let name = NAMES[number];
        let state = |rest: &[&str]| person.ask(stage, &[&["session", "state", "--json"], rest].concat());
        let chain = format!("{name}'s chain of round {round}");
        let preset = stage.path(&format!("preset-{number}"));
        std::fs::write(&preset, chain.as_bytes()).expect("a preset");
        let preset = preset.to_str().expect("a path");
        state(&["set", "tempo", &(100 + 10 * round + number).to_string()]);
        state(&["set", "key", ["A", "B", "C", "D"][(number + round) % 4]]);
        state(&["set", "scale", ["major", "minor", "dorian", "lydian"][(number + round) % 4]]);
        state(&["set", "loop", &format!("{number}-{}", 8 + number + round)]);
        state(&["scene", "put", "Verse", "--chain", &chain]);
        state(&["scene", "put", &format!("{name}'s"), "--chain", &chain]);
        state(&["scene", "on", &format!("{name}'s")]);
        state(&["preset", "put", "Warm", preset]);
        state(&["set", "notes", &format!("{name} has written this in round {round}.")]);
        for line in 0..LINES {
            person.ask(stage, &["session", "chat", "--json", &said(number, round, line)]);
        }
    });
}

fn said(number: usize, round: usize, line: usize) -> String {
    format!("{} says {line} in round {round}", NAMES[number])
}

/// What these have said in a round.
fn all_said(numbers: &[usize], round: usize) -> BTreeSet<String> {
    numbers.iter().flat_map(|&number| (0..LINES).map(move |line| said(number, round, line))).collect()
}

/// Waits until these see the same, and it is what is wanted; how long that took, and what they see.
fn agree(
    stage: &Stage,
    people: &[Person],
    what: &str,
    wanted: impl Fn(&Seen) -> bool,
) -> (Duration, Vec<Seen>) {
    let began = Instant::now();
    loop {
        let seen = all_at_once(people, |_, person| Seen::by(stage, person));
        let took = began.elapsed();
        if seen.iter().all(|one| *one == seen[0] && wanted(one)) {
            return (took, seen);
        }
        assert!(took < PATIENCE, "{what}: no agreement; they see {seen:#?}");
    }
}

/// Every process of everybody knows every stream.
fn every_process_knows_all(stage: &Stage, people: &[Person]) {
    for person in people {
        person.wait(stage, PATIENCE, "all streams in every process", |status| {
            let runtimes = status["runtimes"].as_array()?;
            let count = |runtime: &Value| runtime["streams"].as_array().map(Vec::len);
            (runtimes.len() == 2 && runtimes.iter().all(|one| count(one) == Some(STREAMS))).then_some(())
        });
    }
}

/// Waits until everybody sees exactly those others there who are `present` to them; how long that took.
fn wait_present(stage: &Stage, people: &[Person], present: impl Fn(usize, usize) -> bool + Sync) -> Duration {
    let began = Instant::now();
    all_at_once(people, |number, person| {
        loop {
            let members = person.ask(stage, &["session", "members", "--json"]);
            let members = members["members"].as_array().expect("members");
            let right = |member: &Value| {
                let other = people.iter().position(|one| member["user"] == one.identity.user.as_str());
                let other = other.expect("one of the members");
                other == number || member["present"] == present(number, other)
            };
            if members.len() == people.len() && members.iter().all(right) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{} sees {members:#?}", NAMES[number]);
            thread::sleep(Duration::from_millis(50));
        }
    });
    began.elapsed()
}

#[test]
fn four_members_with_four_streams_each_agree() {
    let Some(mut net) = Net::new("four_members_with_four_streams_each_agree") else { return };
    let stage = Stage::new();
    let hosts = NAMES.map(|name| net.host(name));
    let people: Vec<_> =
        NAMES.iter().zip(&hosts).map(|(name, host)| Person::new(&stage, name, host)).collect();

    // One founds the session, and is there; the others follow links.
    people[0].create_session(&stage, &[]);
    let mut rigs: Vec<Vec<Rig>> = Vec::new();
    for (number, person) in people.iter().enumerate() {
        if number > 0 {
            people[0].invite(&stage, person);
        }
        rigs.push(vec![two_sends(&stage, person, number, 0), two_sends(&stage, person, number, 2)]);
    }
    let is_whole = |seen: &Seen, names: [&str; 4]| {
        let called: BTreeSet<_> = seen.members.iter().filter_map(|member| member["name"].as_str()).collect();
        seen.streams.as_array().map(Vec::len) == Some(STREAMS) && called == BTreeSet::from(names)
    };
    let (took, _) = agree(&stage, &people, "together", |seen| is_whole(seen, NAMES));
    every_process_knows_all(&stage, &people);
    println!("4 members, 8 processes, 16 streams: one directory and one roster after {took:?}");

    // All edit at once.
    edit(&stage, &people, 1);
    let everybody = all_said(&[0, 1, 2, 3], 1);
    let everybody = |seen: &Seen| everybody.iter().all(|line| seen.lines().contains(line.as_str()));
    let (took, seen) = agree(&stage, &people, "edited", |seen| is_whole(seen, NAMES) && everybody(seen));
    println!("48 edits by four at once: one state after {took:?}");
    for (name, person) in NAMES.iter().zip(&people) {
        let scene = &seen[0].state["scenes"][format!("{name}'s")];
        assert_eq!(scene["by"], person.identity.user.as_str(), "whose it is; {:#}", seen[0].state);
    }

    // Two and two: each half goes on, and loses and gains streams.
    let between = [(0, 2), (0, 3), (1, 2), (1, 3)];
    let cuts =
        between.map(|(one, other): (usize, usize)| Cut::Between(hosts[one].public, hosts[other].public));
    cuts.iter().for_each(|cut| net.cut(*cut));
    let half = |number: usize| number / 2;
    let took = wait_present(&stage, &people, |number, other| half(number) == half(other));
    println!("two and two: the others are away after {took:?}");
    edit(&stage, &people, 2);
    people[1].ask(&stage, &["session", "rename", RENAMED, "--json"]);
    for number in [0, 3] {
        let gone = rigs[number].pop().expect("a rig");
        gone.finish().expect("a run");
        rigs[number].push(two_sends(&stage, &people[number], number, 4));
    }
    let halves = people.chunks(2).zip([[0, 1], [2, 3]]).map(|(people, numbers)| {
        let (own, others) = (all_said(&numbers, 2), all_said(&numbers.map(|number| (number + 2) % 4), 2));
        let (_, mut seen) = agree(&stage, people, "a half", |seen| {
            own.iter().all(|line| seen.lines().contains(line.as_str()))
        });
        let seen = seen.remove(0);
        assert!(others.iter().all(|line| !seen.lines().contains(line.as_str())), "they are not cut off");
        seen
    });
    let halves: Vec<_> = halves.collect();
    assert_ne!(halves[0].state, halves[1].state);
    assert_ne!(halves[0].streams, halves[1].streams);

    // Together again.
    cuts.iter().for_each(|cut| net.mend(*cut));
    let all = all_said(&[0, 1, 2, 3], 2);
    let (took, seen) = agree(&stage, &people, "healed", |seen| {
        let names = [NAMES[0], RENAMED, NAMES[2], NAMES[3]];
        is_whole(seen, names) && all.iter().all(|line| seen.lines().contains(line.as_str()))
    });
    println!("healed: one directory, one roster, one state and one chat after {took:?}");
    let took = wait_present(&stage, &people, |_, _| true);
    println!("and everybody there {took:?} later");
    every_process_knows_all(&stage, &people);
    let ids: Vec<_> = seen[0].streams.as_array().expect("streams").iter().map(|one| &one["stream"]).collect();
    for (id, is_there) in
        [("0000000000000102", false), ("0000000000000104", true), ("0000000000000405", true)]
    {
        assert_eq!(ids.contains(&&Value::from(id)), is_there, "{id} in {ids:?}");
    }
    for rig in rigs.into_iter().flatten() {
        let run = rig.finish().expect("a run");
        assert_eq!(run.report.process_errors, 0, "{:#?}", run.report);
    }
}
