//! What a session gets over by itself: a cable that was pulled, a member that was killed, a node that starts again,
//! addresses that change; with IPv4 and IPv6. One member's Send, another's Receive, on machines of their own.
//!
//! Each prints how long it took until sound came out of Receive's callback again.

use std::time::{Duration, Instant};

use audiocloud_e2e::{
    LIVE, PLAYOUT_MS, Stage,
    net::{Cut, Host, Nat, Net},
    node::Node,
    person::Person,
    sentences,
};
use audiocloud_rig::{
    analysis::silence_from,
    audio::phrase,
    clock::now_ns,
    process::{Options, Rig, Run},
    session::{RECEIVE_ID, SEND_ID, START, figure, is_playing, subscriptions},
};
use serde_json::Value;

const STREAM: &str = "00000000000000aa";
const RATE_HZ: u32 = 48_000;
/// How long a test that is not about a long one takes at most.
const SHORT_S: f64 = 90.0;
/// How long anything may take to heal.
const PATIENCE: Duration = Duration::from_secs(30);
/// Nothing sounds for so long: the stream is interrupted. 50 ms.
const SILENT_FRAMES: usize = 2_400;

/// Two members, and sound from one to the other.
struct Band<'a> {
    stage: &'a Stage,
    anna: Person,
    ben: Person,
    send: Rig,
    receive: Rig,
}

impl<'a> Band<'a> {
    /// Until Ben hears Anna, for at most so long; how long that took from when both were there.
    fn new(
        stage: &'a Stage,
        [of_anna, of_ben]: [&Host; 2],
        meeting: &[&str],
        seconds: f64,
    ) -> (Self, Duration) {
        let anna = Person::new(stage, "Anna", of_anna);
        let ben = Person::new(stage, "Ben", of_ben);
        anna.create_session(stage, meeting);
        let send = anna.send(stage, "Guitar", STREAM, sending(stage, seconds));
        anna.invite(stage, &ben);
        let mut options = Options::new(RECEIVE_ID);
        (options.channels, options.seconds_max) = (1, seconds);
        options.parameters.push(("playout".into(), "Fixed".into()));
        options.parameters.push(("delay".into(), PLAYOUT_MS.to_string()));
        let receive = ben.receive(stage, "receive", options);
        let began = Instant::now();
        let band = Self { stage, anna, ben, send, receive };
        band.wait_sound();
        let took = began.elapsed();
        (band, took)
    }

    /// Until it plays, and more than when this was called.
    fn wait_sound(&self) {
        let before = played_frames(&self.ben.world.status(&self.stage.tools).expect("a status"));
        self.ben.wait(self.stage, PATIENCE, "heard", |status| {
            let playing = subscriptions(status).into_iter().any(is_playing);
            (playing && played_frames(status) != before).then_some(())
        });
    }

    /// Until nothing has come for a while.
    fn wait_silence(&self) {
        self.ben.wait(self.stage, PATIENCE, "silent", |status| {
            (!subscriptions(status).into_iter().any(is_playing)).then_some(())
        });
    }

    /// Waits until Anna's packets come to Ben in this way, in words; where from.
    fn wait_way(&self, wanted: &str) -> String {
        let from_anna =
            |peer: &&Value| peer["device"] == self.anna.identity.device.as_str() && peer["way"] == wanted;
        self.ben.wait(self.stage, PATIENCE, wanted, |status| {
            let peers = status["runtimes"][0]["peers"].as_array()?;
            peers.iter().find(from_anna)?["address"].as_str().map(str::to_owned)
        })
    }

    /// What never came until now, by Receive's own count, in milliseconds.
    fn missing_ms(&self) -> u64 {
        let status = self.ben.world.status(&self.stage.tools).expect("a status");
        let missing = subscriptions(&status).into_iter().filter_map(|entry| figure(entry, "missing_frames"));
        (missing.sum::<u64>() * 1_000).div_ceil(u64::from(RATE_HZ))
    }

    /// Lets Receive's host go on.
    fn run_on(&mut self, seconds: f64) {
        self.receive.command(&format!("run-on {seconds}")).expect("told");
        self.receive.wait("ran-on", START).expect("ran on");
    }

    /// Ends both; what Receive recorded.
    fn finish(mut self) -> Run {
        self.run_on(0.5);
        let run = self.receive.finish().expect("Receive lives");
        let sent = self.send.finish().expect("Send lives");
        for report in [&run.report, &sent.report] {
            assert_eq!((report.process_errors, report.not_finite), (0, 0), "{report:#?}");
            assert_eq!(report.heap_operations.unwrap_or(0), 0, "{report:#?}");
        }
        run
    }
}

/// A Send that has something to say for so long.
fn sending(stage: &Stage, seconds: f64) -> Options {
    let mut options = Options::new(SEND_ID);
    options.input = Some(stage.recording("source", &phrase(RATE_HZ, 1, seconds)));
    (options.channels, options.seconds_max) = (1, seconds);
    options
}

fn played_frames(status: &Value) -> u64 {
    let played = |entry: &Value| entry["report"]["played_frames"].as_u64();
    subscriptions(status).into_iter().filter_map(played).sum()
}

fn frame_at(run: &Run, time_ns: i64) -> usize {
    usize::try_from(run.log.frame_at(time_ns).expect("a call after this")).expect("a frame")
}

/// Milliseconds from a time at which nothing sounded until the output sounds.
fn sound_after_ms(run: &Run, time_ns: i64) -> i64 {
    let from = frame_at(run, time_ns);
    let before = from.checked_sub(SILENT_FRAMES / 2).expect("a run before this");
    let is_silent = (before..from).all(|frame| !run.output.sounds_at(frame));
    assert!(is_silent, "the stream was not interrupted");
    let sounding =
        (from..run.output.frames()).find(|frame| run.output.sounds_at(*frame)).expect("sound again");
    let call = run.log.call_of(u64::try_from(sounding).expect("a frame")).expect("a call");
    (call.left_ns() - time_ns) / 1_000_000
}

/// How long nothing sounded in all from one time to another, or to the end, wherever that was [`SILENT_FRAMES`] or longer;
/// in milliseconds.
fn silence_ms(run: &Run, from_ns: i64, to_ns: Option<i64>) -> usize {
    let to = to_ns.map_or(run.output.frames(), |to_ns| frame_at(run, to_ns));
    let (mut from, mut silent) = (frame_at(run, from_ns), 0);
    while let Some(begin) = silence_from(&run.output, from, SILENT_FRAMES).filter(|begin| *begin < to) {
        from = (begin..run.output.frames()).find(|at| run.output.sounds_at(*at)).expect("sound at the end");
        silent += from - begin;
    }
    silent * 1_000 / usize::try_from(RATE_HZ).expect("a rate")
}

/// Anna's cable (0) or Ben's (1) is pulled, for so many seconds: how long after it was plugged in again there was sound, in
/// milliseconds.
fn cables_are_pulled(stage: &Stage, hosts: [&Host; 2], meeting: &[&str]) -> Vec<i64> {
    let pulls = pulls();
    let seconds: u32 = pulls.iter().map(|(_, seconds)| seconds).sum();
    let (mut band, _) = Band::new(stage, hosts, meeting, SHORT_S + f64::from(seconds));
    let mut plugged = Vec::new();
    for &(whose, seconds) in &pulls {
        band.run_on(1.0);
        hosts[whose].unplug();
        std::thread::sleep(Duration::from_secs(seconds.into()));
        plugged.push(now_ns());
        hosts[whose].plug();
        band.wait_sound();
    }
    let run = band.finish();
    let took: Vec<_> = plugged.into_iter().map(|plugged_ns| sound_after_ms(&run, plugged_ns)).collect();
    for ((whose, seconds), ms) in pulls.iter().zip(&took) {
        let whose = ["Send", "Receive"][*whose];
        println!(
            "the cable of {whose}'s machine pulled for {seconds} s: sound {ms} ms after it was plugged in"
        );
    }
    took
}

/// Longer ones take their time: with `AUDIOCLOUD_SLOW` set, as `cargo xtask test --slow` does.
fn pulls() -> Vec<(usize, u32)> {
    let ordinarily = [(0, 1), (1, 1), (0, 10)];
    let slow = [(1, 10), (0, 60), (1, 60)];
    let is_slow = std::env::var_os("AUDIOCLOUD_SLOW").is_some();
    ordinarily.into_iter().chain(slow.into_iter().filter(|_| is_slow)).collect()
}

#[test]
fn a_pulled_cable_heals_on_one_network() {
    let Some(mut net) = Net::new("a_pulled_cable_heals_on_one_network") else { return };
    let stage = Stage::new();
    let [one, two] = ["one", "two"].map(|name| net.host(name));
    let took = cables_are_pulled(&stage, [&one, &two], &[]);
    assert!(took.iter().all(|ms| *ms < 8_000), "{took:?}");
}

#[test]
fn a_pulled_cable_heals_behind_translators() {
    let Some(mut net) = Net::new("a_pulled_cable_heals_behind_translators") else { return };
    let stage = Stage::new();
    let node = Node::new(&stage, &net.host("node"));
    let [one, two] = ["one", "two"].map(|name| net.behind(name, Nat::PortPreserving));
    let took = cables_are_pulled(&stage, [&one, &two], &[&node.meeting]);
    assert!(took.iter().all(|ms| *ms < 8_000), "{took:?}");
}

#[test]
fn a_member_that_is_killed_is_named_and_heard_again() {
    let Some(mut net) = Net::new("a_member_that_is_killed_is_named_and_heard_again") else { return };
    let stage = Stage::new();
    let node = Node::new(&stage, &net.host("node"));
    let [one, two, three, four] = ["one", "two", "three", "four"].map(|name| net.host(name));
    for (hosts, meeting) in [([&one, &two], vec![]), ([&three, &four], vec![node.meeting.as_str()])] {
        let stage = Stage::new();
        let (mut band, _) = Band::new(&stage, hosts, &meeting, SHORT_S);
        band.run_on(1.0);
        band.send.kill().expect("killed");
        let killed = Instant::now();
        let said = band.ben.wait(&stage, PATIENCE, "named", |status| {
            let missing = status["runtimes"][0]["instances"][0]["missing"].as_array()?;
            missing.iter().any(|name| name == "Anna").then(|| sentences(status))
        });
        let named = killed.elapsed();
        // It was killed with its stream: nothing comes from anywhere.
        band.wait_silence();
        let mut options = sending(&stage, SHORT_S);
        options.fields.push(("stream".into(), band.anna.send_field(&stage, "Guitar", STREAM)));
        options.start = true;
        band.send = band.anna.world.rig(&stage.tools, "again", &options).expect("a rig");
        let ready_ns = band.send.wait("ready", START).expect("ready")["host_ns"].as_i64().expect("a time");
        band.wait_sound();
        let nobody = |status: &Value| {
            let missing = status["runtimes"][0]["instances"][0]["missing"].as_array()?;
            missing.is_empty().then_some(())
        };
        band.ben.wait(&stage, LIVE, "nobody missing", nobody);
        let run = band.finish();
        let again_ms = sound_after_ms(&run, ready_ns);
        let how = if meeting.is_empty() { "by themselves" } else { "with a meeting point" };
        println!(
            "killed, {how}: named after {named:?} ({said:?}), heard {again_ms} ms after it was ready again"
        );
        assert!(named < Duration::from_secs(5), "named after {named:?}");
        assert!(again_ms < 5_000, "heard after {again_ms} ms");
    }
}

#[test]
fn a_relayed_stream_survives_its_node() {
    let Some(mut net) = Net::new("a_relayed_stream_survives_its_node") else { return };
    let stage = Stage::new();
    let mut node = Node::new(&stage, &net.host("node"));
    let [one, two] = ["one", "two"].map(|name| net.behind(name, Nat::Symmetric));
    let (mut band, _) = Band::new(&stage, [&one, &two], &[&node.meeting], SHORT_S);
    band.wait_way("by relay");
    let mut times = Vec::new();
    for signal in ["TERM", "KILL"] {
        band.run_on(1.0);
        node.stop(signal);
        band.wait_silence();
        // Past the fading of what was carried on.
        band.run_on(0.3);
        let back_ns = now_ns();
        node.start(&stage);
        band.wait_sound();
        band.wait_way("by relay");
        times.push((signal, back_ns));
    }
    let run = band.finish();
    for (signal, back_ns) in times {
        let ms = sound_after_ms(&run, back_ns);
        println!("relay ended by SIG{signal} and started again: sound {ms} ms after that began");
        assert!(ms < 8_000, "{ms} ms");
    }
}

#[test]
fn a_changed_address_heals() {
    let Some(mut net) = Net::new("a_changed_address_heals") else { return };
    let stage = Stage::new();
    let node = Node::new(&stage, &net.host("node"));
    let names = ["one", "two", "three", "four", "five", "six"];
    let mut hosts = names.into_iter();
    let mut next = |is_public: bool| {
        let name = hosts.next().expect("a name");
        if is_public { net.host(name) } else { net.behind(name, Nat::PortPreserving) }
    };
    let cases: [(&str, [Host; 2], Vec<&str>); 3] = [
        ("behind translators", [next(false), next(false)], vec![&node.meeting]),
        ("with public addresses", [next(true), next(true)], vec![&node.meeting]),
        ("without a meeting point", [next(true), next(true)], vec![]),
    ];
    for (case, mut hosts, meeting) in cases {
        let stage = Stage::new();
        let (mut band, _) = Band::new(&stage, [&hosts[0], &hosts[1]], &meeting, SHORT_S);
        band.wait_way("direct");
        let mut times = Vec::new();
        for (host, whose) in hosts.iter_mut().zip(["Send", "Receive"]) {
            band.run_on(1.0);
            times.push((whose, now_ns()));
            host.renumber();
            // A stream that stops does so within this.
            band.run_on(2.0);
            band.wait_sound();
        }
        let run = band.finish();
        let ends = times.iter().skip(1).map(|(_, time_ns)| Some(*time_ns)).chain([None]);
        for ((whose, from_ns), to_ns) in times.iter().zip(ends) {
            let silent_ms = silence_ms(&run, *from_ns, to_ns);
            println!("{case}: the address of {whose}'s machine changed: {silent_ms} ms of silence");
            assert!(silent_ms < 3_000, "{silent_ms} ms");
        }
    }
}

#[test]
fn ipv6_alone_is_enough() {
    let test = "ipv6_alone_is_enough";
    let Some(mut net) = Net::new(test) else { return };
    if !net.has_ipv6(test) {
        return;
    }
    // By the addresses in the link.
    let [one, two] = ["one", "two"].map(|name| net.host_v6(name));
    let stage = Stage::new();
    let (mut band, took) = Band::new(&stage, [&one, &two], &[], SHORT_S);
    let address = band.wait_way("direct");
    assert!(address.starts_with(&format!("[{}]:", one.address)), "{address}");
    band.run_on(2.0);
    let missing_ms = band.missing_ms();
    println!("IPv6, by the link alone: heard after {took:?}, from {address}; missing {missing_ms} ms");
    assert_eq!(missing_ms, 0);
    band.finish();

    // Through firewalls, with the help of a node that is reached by IPv6 too; then by its relay, then over TCP.
    let node_host = net.host_v6("node");
    let [one, two] = ["three", "four"].map(|name| net.firewalled_v6(name));
    let stage = Stage::new();
    let node = Node::new(&stage, &node_host);
    let (mut band, took) = Band::new(&stage, [&one, &two], &[&node.meeting], SHORT_S);
    let address = band.wait_way("direct");
    println!("IPv6, through firewalls: heard after {took:?}, from {address}");
    assert!(address.starts_with(&format!("[{}]:", one.address)), "{address}");
    assert!(took < Duration::from_secs(3), "heard after {took:?}");
    band.run_on(1.0);
    assert_eq!(band.missing_ms(), 0);
    net.cut(Cut::Between(one.public, two.public));
    let address = band.wait_way("by relay");
    band.run_on(1.0);
    let missing_ms = band.missing_ms();
    println!("IPv6, the direct way cut: by relay, from {address}; missing {missing_ms} ms");
    assert!(address.starts_with(&format!("[{}]:", node_host.address)), "{address}");
    assert!(missing_ms <= 100, "{missing_ms} ms");
    let cut_ns = now_ns();
    net.cut(Cut::Udp(two.public));
    band.wait_way("by relay over TCP, which takes longer");
    band.wait_sound();
    let silent_ms = silence_ms(&band.finish(), cut_ns, None);
    println!("IPv6, all UDP cut: over TCP after {silent_ms} ms of silence");
    assert!(silent_ms < 5_000, "{silent_ms} ms");
}
