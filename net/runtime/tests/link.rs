//! Two bridges to tempo Link on one machine, each with a beat map of its own: they find each other over the loopback
//! interface, and what the one plays the other's map takes up.
#![cfg(target_os = "linux")]

mod namespace;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audiocloud_clock::beat_map::{BeatMap, Position, Segment};
use audiocloud_clock::timeline::Timeline;
use audiocloud_rt::host_time;
use audiocloud_runtime::bridge::{BridgeStatus, Bridges, Settings, SharedBeat};
use audiocloud_units::{Beats, HostTime, Nanos, Ppm, SessionLine, SessionTime};

const WITHIN: Duration = Duration::from_secs(15);

/// A session of one, which may lead or not.
#[derive(Clone)]
struct Beat {
    line: SessionLine,
    map: Arc<Mutex<(u64, Arc<BeatMap>)>>,
    may_lead: bool,
}

impl Beat {
    /// Session time begins at a number of its own.
    fn new(session: i64, may_lead: bool) -> Self {
        let line = SessionLine {
            host: host_time::now(),
            session: SessionTime::new(session),
            fraction: 0.0,
            rate: Ppm::new(0.0),
        };
        Self { line, map: Arc::default(), may_lead }
    }

    fn insert(&self, segments: &[Segment]) {
        let mut map = self.map.lock().unwrap();
        let mut edited = BeatMap::clone(&map.1);
        map.0 += 1;
        for segment in segments {
            let now = self.line.session_at(host_time::now());
            edited.insert(Segment { serial: map.0, ..*segment }, now).unwrap();
        }
        map.1 = Arc::new(edited);
    }

    fn plays(&self, bpm: f64) -> Segment {
        let start = self.line.session_at(host_time::now() + Nanos::from_millis(100));
        Segment::steady(start, Beats::new(0.0), bpm)
    }

    fn at(&self, host: HostTime) -> Option<Position> {
        self.timeline().at(host)
    }
}

impl SharedBeat for Beat {
    fn timeline(&self) -> Timeline {
        Timeline { line: Some(self.line), map: Arc::clone(&self.map.lock().unwrap().1) }
    }

    fn revision(&self) -> u64 {
        self.map.lock().unwrap().0
    }

    fn now(&self) -> HostTime {
        host_time::now()
    }

    fn horizon(&self) -> Nanos {
        Nanos::from_millis(50)
    }

    fn edit(&self, segments: &[Segment]) -> Result<(), String> {
        if !self.may_lead {
            return Err("no right to lead".into());
        }
        self.insert(segments);
        Ok(())
    }
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + WITHIN;
    while !is_so() {
        assert!(Instant::now() < until, "{what} within {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn bridged(beat: &Beat) -> Bridges {
    let bridges = Bridges::start(beat.clone());
    bridges.set(Settings { link: true, ..Settings::default() });
    bridges
}

fn status(bridges: &Bridges) -> BridgeStatus {
    bridges.status().into_iter().next().unwrap()
}

/// Both are somewhere in a bar, and less than a millisecond apart.
fn agree(one: &Beat, other: &Beat, bpm: f64) -> bool {
    let now = host_time::now();
    let (Some(one), Some(other)) = (one.at(now), other.at(now)) else { return false };
    let off = (one.in_bar.get() - other.in_bar.get() + 2.0).rem_euclid(4.0) - 2.0;
    let plays = |position: &Position| position.playing && (position.bpm - bpm).abs() < 1e-3;
    plays(&one) && plays(&other) && off.abs() * 60_000.0 / bpm < 1.0
}

#[test]
fn two_bridges_on_one_machine_find_each_other_and_share_the_beat() {
    if !namespace::enter("two_bridges_on_one_machine_find_each_other_and_share_the_beat") {
        return;
    }
    namespace::ip("link set lo up");
    let [one, other] = [Beat::new(1_790_000_000_000_000_000, true), Beat::new(5_000_000_000, true)];
    let listening = Beat::new(77, false);
    one.insert(&[one.plays(133.0)]);
    let first = bridged(&one);
    wait_for("the first one's transport", || status(&first).words.contains("playing"));
    let second = bridged(&other);
    wait_for("the other's beat", || agree(&one, &other, 133.0));
    wait_for("each other", || status(&first).peers == 1 && status(&second).peers == 1);
    assert_eq!((status(&first).trouble, status(&second).trouble), (None, None));

    // What one plays from now on, and who may not lead only hears.
    other.insert(&[other.plays(90.0)]);
    wait_for("the new tempo", || agree(&one, &other, 90.0));
    listening.insert(&[listening.plays(90.0)]);
    let third = bridged(&listening);
    wait_for("a third", || status(&third).peers == 2);

    // Switched off, one is gone at once.
    second.set(Settings::default());
    assert!(second.status().is_empty());
    wait_for("the goodbye", || status(&first).peers == 1);
}
