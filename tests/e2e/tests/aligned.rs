//! Two Receives in two processes, on sound cards that drift, play one stream aligned: what leaves the one card is what
//! leaves the other at the same time, to within a sample, also after one of them has begun anew.
//!
//! Each sample of the stream says its own frame. What a rig recorded is set against when each of its frames was due by its
//! simulated card, so that the outputs are compared with each other at the same instants of the machine's clock, and not by
//! what the playouts say of themselves.

use std::{
    env,
    time::{Duration, Instant},
};

use audiocloud_e2e::{LIVE, Stage};
use audiocloud_rig::{
    audio::Audio,
    card::Card,
    process::{Options, Rig, Run},
    session::{RECEIVE_ID, SEND_ID, START, receive_field, send_field, subscriptions},
};

const RATE: u32 = 48_000;
const STREAM: &str = "00000000000a119d";
/// The signal repeats after so many frames.
const PERIOD: f64 = 16_384.0;
/// Of it, what is straight, and whatever a resampler's filter reaches from there.
const STRAIGHT: std::ops::Range<f64> = 100.0..16_200.0;
/// Until an output is compared: clocks and cards are known to a fraction of a sample by then.
const SETTLED: Duration = Duration::from_secs(6);
/// Around a cut or a gap what is heard says nothing of its time, s.
const AROUND_A_CUT: f64 = 0.03;

/// A frame as a sample, exact in 24 bits.
fn ramp(seconds: u32) -> Audio {
    let frame = |frame: u32| f32::from(u16::try_from(frame % 16_384 + 1).expect("in range")) / 8_388_608.0;
    Audio { sample_rate: RATE, channels: vec![(0..seconds * RATE).map(frame).collect()] }
}

/// What left a card.
struct Track {
    card: Card,
    origin_ns: i64,
    samples: Vec<f32>,
    /// Times of cuts and gaps, s since the origin.
    cuts: Vec<f64>,
    /// From which frame on the simulated card was late for good, and by how many ns: the whole machine stood still.
    stalls: Vec<(usize, f64)>,
}

impl Track {
    fn new(run: Run) -> Self {
        let report = &run.report;
        #[allow(clippy::cast_precision_loss, reason = "ns of a stall")]
        let stall = |(frame, late): &(i64, i64)| (usize::try_from(*frame).expect("a frame"), *late as f64);
        let stalls = report.given_up_ns.iter().map(stall).collect();
        let (card, origin_ns) = (report.card, report.origin_ns);
        let samples = run.output.channels.into_iter().next().expect("a channel");
        let mut track = Self { card, origin_ns, samples, cuts: Vec::new(), stalls };
        track.cuts = (1..track.samples.len())
            .filter(|frame| track.is_cut(*frame))
            .map(|frame| track.seconds(frame))
            .collect();
        track
    }

    fn frames(&self) -> usize {
        self.samples.len()
    }

    /// When a frame leaves, s since the origin.
    fn seconds(&self, frame: usize) -> f64 {
        let late: f64 = self.stalls.iter().filter(|(at, _)| *at <= frame).map(|(_, late)| late).sum();
        (self.card.due_ns(position(frame), RATE) + late) / 1e9
    }

    /// The frame of the stream that is heard, and the part of one; none in a gap, and where the signal begins again.
    fn place(&self, frame: usize) -> Option<f64> {
        let sample = f64::from(*self.samples.get(frame)?);
        let place = sample * 8_388_608.0 - 1.0;
        STRAIGHT.contains(&place).then_some(place)
    }

    fn is_cut(&self, frame: usize) -> bool {
        match (self.place(frame - 1), self.place(frame)) {
            (Some(before), Some(here)) => (here - before - 1.0).abs() > 0.05,
            // In and out of silence.
            _ => (self.samples[frame - 1] == 0.0) != (self.samples[frame] == 0.0),
        }
    }

    /// The place that is heard at a time of the machine, ns.
    fn place_at(&self, ns: f64) -> Option<f64> {
        let since = ns - self.origin();
        let over = self.stalls.iter().take_while(|(at, _)| self.seconds(*at) * 1e9 <= since);
        let late: f64 = over.map(|(_, late)| late).sum();
        let position = self.card.position_at(since - late, RATE);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "frames of a recording")]
        let frame = position.max(0.0) as usize;
        let (before, after) = (self.place(frame)?, self.place(frame + 1)?);
        Some(before + (after - before) * position.fract())
    }

    #[allow(clippy::cast_precision_loss, reason = "to a quarter of a microsecond")]
    fn origin(&self) -> f64 {
        self.origin_ns as f64
    }

    fn is_near_a_cut(&self, ns: f64) -> bool {
        let seconds = (ns - self.origin()) / 1e9;
        self.cuts.iter().any(|cut| (cut - seconds).abs() < AROUND_A_CUT)
    }

    /// Whether the card has been stopped by a stall of the machine so lately that its clock is not known again.
    fn is_after_a_stall(&self, ns: f64) -> bool {
        let seconds = (ns - self.origin()) / 1e9;
        let since = |(at, late): &(usize, f64)| seconds - self.seconds(*at) + late / 1e9;
        self.stalls.iter().any(|stall| (-AROUND_A_CUT..SETTLED.as_secs_f64()).contains(&since(stall)))
    }
}

#[allow(clippy::cast_precision_loss, reason = "frames of a recording")]
fn position(frame: usize) -> f64 {
    frame as f64
}

/// How far two outputs are apart.
#[derive(Debug)]
struct Apart {
    compared: usize,
    /// Compared instants that were left out, for a cut or a gap was heard in one of the two.
    cut: usize,
    /// And those for which a card was stopped by a stall of the machine.
    stalled: usize,
    median: f64,
    /// Of a thousand instants all but one are no further apart.
    p999: f64,
}

/// Compares each fortieth frame of one output with what the other plays at that time, since both have settled.
fn compare(one: &Track, other: &Track) -> Apart {
    let first = |track: &Track| (0..track.frames()).find(|frame| track.place(*frame).is_some());
    let begun =
        |track: &Track| track.origin() + track.seconds(first(track).expect("something is heard")) * 1e9;
    let from = begun(one).max(begun(other)) + SETTLED.as_secs_f64() * 1e9;
    let (mut off, mut cut, mut stalled) = (Vec::new(), 0, 0);
    for frame in (0..one.frames()).step_by(40) {
        let ns = one.origin() + one.seconds(frame) * 1e9;
        if ns < from {
            continue;
        }
        if one.is_after_a_stall(ns) || other.is_after_a_stall(ns) {
            stalled += 1;
            continue;
        }
        let (Some(here), Some(there)) = (one.place(frame), other.place_at(ns)) else { continue };
        if one.is_near_a_cut(ns) || other.is_near_a_cut(ns) {
            cut += 1;
            continue;
        }
        let apart = here - there;
        off.push((apart - PERIOD * (apart / PERIOD).round()).abs());
    }
    off.sort_unstable_by(f64::total_cmp);
    let at = |index: usize| off.get(index).copied().unwrap_or(f64::NAN);
    Apart { compared: off.len(), cut, stalled, median: at(off.len() / 2), p999: at(off.len() * 999 / 1_000) }
}

/// Waits until so many Receives keep the session's time.
fn wait_aligned(stage: &Stage, receives: usize) {
    let kept = |status: &serde_json::Value| {
        let kept = subscriptions(status).into_iter().filter(|entry| entry["report"]["alignment"] == "kept");
        (kept.count() == receives).then_some(())
    };
    stage.world.wait_status(&stage.tools, LIVE, "aligned", kept).expect("aligned");
}

fn receive(stage: &Stage, device: &str, name: &str, card: Card, seconds: u32) -> Rig {
    let mut options = Options::new(RECEIVE_ID);
    (options.channels, options.card, options.seconds_max) = (1, Some(card), f64::from(seconds));
    options.fields.push(("stream".into(), receive_field(device, STREAM)));
    options.parameters = vec![("playout".into(), "Aligned".into()), ("mode".into(), "Replace".into())];
    let mut rig = stage.world.rig(&stage.tools, name, &options).expect("a rig");
    rig.wait("ready", START).expect("ready");
    rig
}

/// Two Receives for so many seconds before the one begins anew, and as many after it; what is found of both times.
fn aligned(seconds: u32) -> [Apart; 2] {
    let stage = Stage::new();
    let device = stage.world.identity(&stage.tools).expect("an identity").device;
    let most = 2 * seconds + 60;
    let card = |drift_ppm, wander_ppm| Card { drift_ppm, wander_ppm };
    let mut send = Options::new(SEND_ID);
    (send.channels, send.card, send.seconds_max) = (1, Some(card(60.0, 2.0)), f64::from(most));
    (send.start, send.input) = (true, Some(stage.recording("ramp", &ramp(most))));
    send.fields.push(("stream".into(), send_field(STREAM)));
    let mut send = stage.world.rig(&stage.tools, "send", &send).expect("a rig");
    send.wait("ready", START).expect("ready");
    let one = receive(&stage, &device, "one", card(-80.0, 3.0), most);
    let two = receive(&stage, &device, "two", card(110.0, 1.0), most);
    wait_aligned(&stage, 2);
    let wait = |since: Instant| {
        std::thread::sleep((SETTLED + Duration::from_secs(seconds.into())).saturating_sub(since.elapsed()))
    };
    wait(Instant::now());
    let before = Track::new(two.finish().expect("a run"));
    let anew = receive(&stage, &device, "anew", card(110.0, 1.0), most);
    wait_aligned(&stage, 2);
    wait(Instant::now());
    let status = stage.world.status(&stage.tools).expect("a status");
    for entry in subscriptions(&status) {
        let report = &entry["report"];
        println!(
            "link offset {} us of {} us needed, off by {} ns, {} realignments",
            report["link_offset_us"],
            report["needs_us"],
            report["alignment_error_ns"],
            report["realignments"]
        );
    }
    let (anew, one) = (Track::new(anew.finish().expect("a run")), Track::new(one.finish().expect("a run")));
    send.finish().expect("a run");
    [compare(&one, &before), compare(&one, &anew)]
}

/// For ten minutes with `AUDIOCLOUD_SLOW` set, as `cargo xtask test --slow` does.
#[test]
fn two_receives_on_cards_that_drift_play_the_same_at_the_same_time() {
    let seconds = if env::var_os("AUDIOCLOUD_SLOW").is_some() { 300 } else { 5 };
    for apart in aligned(seconds) {
        let Apart { compared, cut, stalled, median, p999 } = &apart;
        println!(
            "{compared} instants, {cut} at cuts and {stalled} after stalls left out: {median:.2} samples apart, p99.9 {p999:.2}"
        );
        assert!(apart.compared > 600 * usize::try_from(seconds).expect("seconds"), "{apart:?}");
        assert!(apart.cut * 50 < apart.compared, "{apart:?}");
        assert!(apart.p999 <= 1.0, "{apart:?}");
    }
}
