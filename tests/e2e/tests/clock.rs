//! One beat in several studios, far from each other: heard by their metronomes, as their plug-ins play them.
//!
//! All of them are on one machine, and so on one clock: what is heard when is known without asking anybody. But for their
//! plug-ins they are three machines, which measure each other over long ways.

use std::time::{Duration, Instant};

use audiocloud_e2e::{Stage, distance::Distance};
use audiocloud_net::clock::beat_map::{BeatMap, Meter, Ramp, Segment};
use audiocloud_rig::{
    audio::Audio,
    callback_log,
    process::{Options, Rig, Run},
    session::{CLOCK_ID, START, World},
    transport::{self, Change, Record},
};
use audiocloud_units::{Beats, HostTime, Ppm, SessionLine, SessionTime};
use serde_json::{Value, json};

const RATE: f64 = 48_000.0;
/// From studio to studio.
const EACH_WAY: Duration = Duration::from_millis(60);
/// Until a change has reached everybody, and some more for a machine that is busy.
const REACHED_MS: f64 = 400.0;
/// Beats agree by this.
const AGREES_MS: f64 = 1.0;
/// How long a clock may take to follow another.
const LOCKED: Duration = Duration::from_secs(20);
/// A callback that is so late was kept waiting by others on a busy test machine.
const STALL_NS: f64 = 4e6;
/// Until all is as it was.
const RECOVERED_NS: f64 = 3e8;
/// Until what is left of an early estimate is worked off.
const SETTLED_NS: u64 = 200_000;

/// One studio, on a machine of its own.
struct Studio {
    name: &'static str,
    world: World,
    rig: Rig,
}

impl Studio {
    /// With a Clock whose metronome is heard.
    fn open(stage: &Stage, name: &'static str, world: World, role: &str, script: Vec<Change>) -> Self {
        let mut options = Options::new(CLOCK_ID);
        let parameters = [("role", role), ("metronome", "On")];
        options.parameters =
            parameters.map(|(parameter, text)| (parameter.to_owned(), text.to_owned())).into();
        options.transport = Some(script);
        options.seconds_max = 90.0;
        // No session: what this user's own machines and named peers share.
        options.fields.push(("clock".into(), json!({ "schema": 3, "session": null })));
        let mut rig = world.rig(&stage.tools, name, &options).expect("a rig");
        rig.wait("ready", START).expect("ready");
        Self { name, world, rig }
    }

    fn port(&self, stage: &Stage) -> u16 {
        let port = |status: &Value| status["runtimes"][0]["port"].as_u64().filter(|port| *port > 0);
        let port = self.world.wait_status(&stage.tools, LOCKED, "at a port", port).expect("a port");
        u16::try_from(port).expect("a port")
    }

    /// Waits until it has one time with somebody else: its own, which the other follows, or theirs.
    fn wait_locked(&self, stage: &Stage) {
        let locked = |status: &Value| {
            let clock = &status["runtimes"][0]["clocks"][0];
            let left = clock["slew_left_ns"].as_i64()?.unsigned_abs();
            let is_there = clock["state"] == "locked" || clock["state"] == "master";
            (is_there && left < SETTLED_NS).then_some(())
        };
        self.world
            .wait_status(&stage.tools, LOCKED, "locked", locked)
            .unwrap_or_else(|error| panic!("{}: {error:#}", self.name));
    }

    /// What its Clock says of itself.
    fn report(&self, stage: &Stage) -> Value {
        let clock = |status: &Value| report(status).cloned();
        self.world.wait_status(&stage.tools, LOCKED, "a Clock", clock).expect("a report")
    }

    fn close(self) -> Heard {
        let run = self.rig.finish().unwrap_or_else(|error| panic!("{}: {error:#}", self.name));
        let report = &run.report;
        assert_eq!((report.process_errors, report.not_finite), (0, 0), "{}", self.name);
        assert_eq!(report.heap_operations.unwrap_or(0), 0, "{}: {:?}", self.name, report.heap_at_frames);
        Heard::new(self.name, run)
    }
}

fn report(status: &Value) -> Option<&Value> {
    match status {
        Value::Object(members) if members.get("plugin").is_some_and(|plugin| plugin == "clock") => {
            (members.get("busy").is_none()).then_some(status)
        }
        Value::Object(members) => members.values().find_map(report),
        Value::Array(items) => items.iter().find_map(report),
        _ => None,
    }
}

/// What was heard in a studio, on this machine's clock.
struct Heard {
    name: &'static str,
    /// When frame 0 was played, ns.
    origin_ns: f64,
    clicks: Vec<Click>,
    told: Vec<Record>,
    /// When callbacks came so late that frames lost their time: what is heard then is the test machine's.
    stalls_ns: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Click {
    frame: usize,
    at_ns: f64,
    is_first: bool,
}

impl Heard {
    fn new(name: &'static str, run: Run) -> Self {
        // The rig's device is this machine's clock itself; callbacks are late by what the system had to do first.
        let mut origins: Vec<f64> = run
            .log
            .records
            .iter()
            .map(|record| {
                float(record.entered_ns) - float(i64::try_from(record.first_frame).expect("few")) * 1e9 / RATE
            })
            .collect();
        origins.sort_by(f64::total_cmp);
        let origin_ns = origins[origins.len() / 2];
        let late = |record: &&callback_log::Record| {
            let due = origin_ns + float(i64::try_from(record.first_frame).expect("few")) * 1e9 / RATE;
            (float(record.entered_ns) - due).abs() > STALL_NS
        };
        let stalls_ns = run.log.records.iter().filter(late).map(|record| float(record.entered_ns)).collect();
        Self { name, origin_ns, clicks: clicks(&run.output, origin_ns), told: run.transport, stalls_ns }
    }

    /// The host's position at a time, its tempo, and whether it plays.
    fn host_at(&self, at_ns: f64) -> (Record, f64) {
        let time =
            |record: &Record| self.origin_ns + float(i64::try_from(record.frame).expect("few")) * 1e9 / RATE;
        let after = self.told.partition_point(|record| time(record) <= at_ns);
        let record = self.told[after.saturating_sub(1)];
        let minutes = (at_ns - time(&record)) / 60e9;
        (record, record.quarter + if record.playing { record.bpm * minutes } else { 0.0 })
    }

    /// When the last block that is known began.
    fn end_ns(&self) -> f64 {
        self.told.last().map_or(0.0, |record| self.at_ns(record.frame))
    }

    fn stalled(&self, at_ns: f64) -> bool {
        self.stalls_ns.iter().any(|stall| (-STALL_NS..RECOVERED_NS).contains(&(at_ns - stall)))
    }

    fn at_ns(&self, frame: u64) -> f64 {
        self.origin_ns + float(i64::try_from(frame).expect("few")) * 1e9 / RATE
    }
}

/// A click begins with its peak, after silence; a bar's first is higher.
fn clicks(output: &Audio, origin_ns: f64) -> Vec<Click> {
    let samples = &output.channels[0];
    let begins = |frame: &usize| samples[*frame] > 0.45 && (*frame == 0 || samples[frame - 1] == 0.0);
    (0..samples.len() - 16)
        .filter(begins)
        .map(|frame| Click {
            frame,
            at_ns: origin_ns + float(i64::try_from(frame).expect("few")) * 1e9 / RATE,
            // A quarter of a cycle of 1,760 Hz is 7 frames, of 1,175 Hz 10.
            is_first: samples[frame + 8] < 0.0,
        })
        .collect()
}

#[allow(clippy::cast_precision_loss, reason = "104 days in nanoseconds fit 53 bits")]
fn float(value: i64) -> f64 {
    value as f64
}

/// By how much clicks are off the leader's beats, ms; those within a while after a change of its transport are left out.
fn off_ms(heard: &Heard, leader: &Heard, from_ns: f64, changes_ns: &[f64]) -> Vec<f64> {
    let settled = |click: &&Click| {
        let since = |change: &f64| click.at_ns - change;
        click.at_ns > from_ns
            && click.at_ns < leader.end_ns()
            && ![heard, leader].iter().any(|studio| studio.stalled(click.at_ns))
            && changes_ns.iter().all(|change| !(-10e6..REACHED_MS * 1e6).contains(&since(change)))
    };
    let mut off = Vec::new();
    for click in heard.clicks.iter().filter(settled) {
        let (record, quarter) = leader.host_at(click.at_ns);
        assert!(record.playing, "{}: a click at {} while the leader stands", heard.name, click.frame);
        let beats = quarter - quarter.round();
        off.push(beats * 60e3 / record.bpm);
        let in_bar = (quarter - record.bar_start).round();
        let is_first =
            in_bar == 0.0 || (in_bar - 4.0).abs() < 1e-9 || (record.bar_start >= 36.0 && in_bar == 3.0);
        assert_eq!(click.is_first, is_first, "{} at {}: {record:?}, {quarter}", heard.name, click.frame);
    }
    off
}

fn most(off: &[f64]) -> f64 {
    off.iter().fold(0.0, |most, off| off.abs().max(most))
}

fn frame(seconds: f64) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "less than a minute")]
    let frame = (seconds * RATE).round() as u64;
    frame
}

/// 90 to 150 over eight bars, from bar 2 on; then in three, and round two bars of it.
fn music() -> (Vec<Change>, [f64; 3]) {
    let bar_2 = 4.0 * 60.0 / 90.0;
    let lasts = 32.0 * (150.0_f64 / 90.0).ln();
    // The ramp's end is quarter 36, a bar's first.
    let waltz = bar_2 + lasts + 0.01;
    let at = |seconds: f64| Change { frame: frame(seconds), ..Change::default() };
    let ramp = Some(transport::Ramp { to_bpm: 150.0, over: 32.0 });
    let script = vec![
        Change { playing: Some(true), bpm: Some(90.0), quarter: Some(0.0), ..at(0.0) },
        Change { ramp, ..at(bar_2) },
        Change { meter: Some([3, 4]), looped: Some([36.0, 42.0]), ..at(waltz) },
    ];
    (script, [0.0, waltz, waltz + 5.0])
}

/// Two studios that know each other by their keys; the second one dials the first, over a long way.
fn acquainted(stage: &Stage, leader: &World, others: &[&World]) {
    let keys = others.iter().map(|other| other.identity(&stage.tools).expect("an identity").user);
    // Port 9 discards: the entry is there for its key alone.
    let entries: String =
        keys.map(|key| format!("[[peer]]\naddress = \"127.0.0.1:9\"\nkey = \"{key}\"\n")).collect();
    leader.configure(&entries).expect("configured");
}

fn dials(stage: &Stage, world: &World, leader: &World, distance: &Distance) {
    let key = leader.identity(&stage.tools).expect("an identity").user;
    let entry = format!("[[peer]]\naddress = \"{}\"\nkey = \"{key}\"\n", distance.near);
    world.configure(&entry).expect("configured");
}

#[test]
fn three_studios_60_ms_apart_have_one_beat() {
    let stage = Stage::new();
    let (ben, eve) = (stage.another("ben", ""), stage.another("eve", ""));
    acquainted(&stage, &stage.world, &[&ben, &eve]);
    let (script, [begins, waltz, ends]) = music();
    let mut leader = Studio::open(&stage, "leader", stage.world.clone(), "Lead", script);
    let distances = [0, 1].map(|_| Distance::to(leader.port(&stage), EACH_WAY));
    dials(&stage, &ben, &stage.world, &distances[0]);
    dials(&stage, &eve, &stage.world, &distances[1]);
    let follower = Studio::open(&stage, "follower", ben, "Follow", Vec::new());
    [&leader, &follower].into_iter().for_each(|studio| studio.wait_locked(&stage));
    leader.rig.command("start").expect("told");
    let from = leader.rig.wait("input", START).expect("begun")["frame"].as_u64().expect("a frame");
    let began = Instant::now();
    // While the music plays somebody else comes.
    let late = Studio::open(&stage, "late", eve, "Follow", Vec::new());
    late.wait_locked(&stage);
    let late_from = late.report(&stage)["frames"]["host_ns"].as_i64().expect("a time");
    // And hears some of it, however long it took to come.
    let left = (ends - began.elapsed().as_secs_f64()).max(4.0);
    leader.rig.command(&format!("run-on {left}")).expect("told");
    leader.rig.wait("ran-on", Duration::from_secs(60)).expect("played");
    let reports = [&leader, &follower, &late].map(|studio| (studio.name, studio.report(&stage)));
    let heard = [leader, follower, late].map(Studio::close);

    let [leader, follower, late] = &heard;
    let changes = [begins, waltz].map(|seconds| leader.at_ns(from + frame(seconds)));
    let begun = changes[0];
    for (studio, since) in [(leader, begun), (follower, begun), (late, float(late_from))] {
        let off = off_ms(studio, leader, since, &changes);
        let (heard, stalls) = (studio.clicks.len(), studio.stalls_ns.len());
        println!(
            "{}: {heard} clicks, {} of them {:.3} ms off at most; {stalls} late callbacks",
            studio.name,
            off.len(),
            most(&off)
        );
        assert!(most(&off) < AGREES_MS, "{}: {off:?}", studio.name);
        let least = if stalls == 0 { 5 } else { 2 };
        assert!(off.len() >= least, "{}: {} clicks could be judged", studio.name, off.len());
    }
    assert!(follower.clicks.len() >= 46, "{} clicks", follower.clicks.len());
    for ((name, report), studio) in reports.iter().zip(&heard) {
        assert_clicks_are_on_the_map(name, report, studio);
        assert_eq!(report["place"]["meter"], json!([3, 4]), "{report:#}");
    }
}

/// The clicks of the last two seconds before a report are at the frames that the report's own map, time and frames say.
fn assert_clicks_are_on_the_map(name: &str, report: &Value, heard: &Heard) {
    let (map, line) = beat(&report["beat"]);
    let frames = &report["frames"];
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{report:#}"));
    let (position, host_ns, speed) =
        (number(&frames["position"]), number(&frames["host_ns"]), number(&frames["speed"]));
    if heard.stalls_ns.iter().any(|stall| (host_ns - stall).abs() < 3e9) {
        return println!("{name}: a busy machine kept callbacks waiting: clicks are not judged by the frame");
    }
    let frame_of =
        |time: SessionTime| position + (float(line.host_at(time).get()) - host_ns) * speed * RATE / 1e9;
    let until = position;
    let from = line.session_at(HostTime::new(frames["host_ns"].as_i64().expect("a time") - 2_000_000_000));
    let mut expected = Vec::new();
    let mut time = from;
    while let Some(at) = map.next(time, Beats::new(1.0)).filter(|at| frame_of(*at) < until) {
        expected.push(frame_of(at));
        time = at + audiocloud_units::Nanos::from_micros(10);
    }
    assert!(expected.len() >= 4, "{name}: {expected:?}");
    let nearest = |expected: &f64| {
        let distance = |click: &Click| (float(i64::try_from(click.frame).expect("few")) - expected).abs();
        heard.clicks.iter().map(distance).fold(f64::INFINITY, f64::min)
    };
    let farthest = expected.iter().map(nearest).fold(0.0, f64::max);
    println!("{name}: {} clicks at most {farthest:.2} frames from the beat map's", expected.len());
    // The nearest frame, and what the loop that follows callbacks has learnt in two seconds.
    assert!(farthest < 1.5, "{name}: {farthest} frames");
}

/// Map and time, as Clock's report has them.
fn beat(beat: &Value) -> (BeatMap, SessionLine) {
    let float = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{beat:#}"));
    let nanos = |value: &Value| value.as_i64().unwrap_or_else(|| panic!("{beat:#}"));
    let line = &beat["line"];
    let line = SessionLine {
        host: HostTime::new(nanos(&line["host_ns"])),
        session: SessionTime::new(nanos(&line["session_ns"])),
        fraction: float(&line["fraction_ns"]),
        rate: Ppm::new(float(&line["rate_ppm"])),
    };
    let mut map = BeatMap::new();
    for segment in beat["segments"].as_array().expect("segments") {
        let small = |value: &Value| u8::try_from(value.as_u64().expect("a number")).expect("a small one");
        let start = SessionTime::new(nanos(&segment["start_ns"]));
        let pair = |value: &Value| {
            value.as_array().map(|pair| (Beats::new(float(&pair[0])), Beats::new(float(&pair[1]))))
        };
        let ramp = &segment["ramp"];
        let segment = Segment {
            ramp: ramp
                .is_object()
                .then(|| Ramp { to_bpm: float(&ramp["to_bpm"]), over: Beats::new(float(&ramp["over"])) }),
            meter: Meter { beats: small(&segment["meter"][0]), unit: small(&segment["meter"][1]) },
            looped: pair(&segment["loop"]),
            playing: segment["playing"] == true,
            ..Segment::steady(start, Beats::new(float(&segment["quarter"])), float(&segment["bpm"]))
        };
        map.insert(segment, start).expect("a segment");
    }
    (map, line)
}
