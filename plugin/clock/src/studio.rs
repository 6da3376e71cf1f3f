//! A studio for tests: a clock of its own, a beat map that takes edits, and a host that plays by a script.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use audiocloud_engine::units::{HostTime, Nanos, Ppm, SampleRate, SessionLine, SessionTime};
use audiocloud_instance::transport::Transport;
use audiocloud_net::clock::beat_map::{BeatMap, Segment};
use audiocloud_net::clock::timeline::Timeline;
use audiocloud_net::runtime::bridge::SharedBeat;

use crate::observation::Observation;
use crate::params::Role;
use crate::pilot::{Facts, Orders, Pilot};
use crate::plan::Quantum;

pub(crate) const RATE: SampleRate = SampleRate::new(48_000).unwrap();
/// 60 ms to the farthest, thrice, and a margin.
pub(crate) const HORIZON: Nanos = Nanos::from_millis(230);
/// Session time is this much ahead of the host's.
const OFFSET: i64 = 1_000_000_000_000;

/// The session, as this studio has it.
#[derive(Debug, Default)]
pub(crate) struct Beat {
    now: AtomicI64,
    revision: AtomicU64,
    map: Mutex<Arc<BeatMap>>,
    pub(crate) refuse: Mutex<Option<String>>,
}

impl Beat {
    pub(crate) fn map(&self) -> Arc<BeatMap> {
        Arc::clone(&self.map.lock().unwrap())
    }
}

impl SharedBeat for Beat {
    fn timeline(&self) -> Timeline {
        let line = SessionLine {
            host: HostTime::new(0),
            session: SessionTime::new(OFFSET),
            fraction: 0.0,
            rate: Ppm::new(0.0),
        };
        Timeline { line: Some(line), map: self.map() }
    }

    fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    fn now(&self) -> HostTime {
        HostTime::new(self.now.load(Ordering::Relaxed))
    }

    fn horizon(&self) -> Nanos {
        HORIZON
    }

    fn edit(&self, segments: &[Segment]) -> Result<(), String> {
        if let Some(words) = self.refuse.lock().unwrap().clone() {
            return Err(words);
        }
        let serial = self.revision.fetch_add(1, Ordering::Relaxed) + 1;
        let mut map = BeatMap::clone(&self.map());
        for segment in segments {
            let segment = Segment { epoch: 3, serial, ..*segment };
            map.insert(segment, segment.start).map_err(|bad| bad.to_string())?;
        }
        *self.map.lock().unwrap() = Arc::new(map);
        Ok(())
    }
}

pub(crate) fn at(seconds: f64) -> SessionTime {
    #[allow(clippy::cast_possible_truncation, reason = "a few minutes")]
    SessionTime::new(OFFSET + (seconds * 1e9).round() as i64)
}

/// One studio. Time is its callbacks'.
#[derive(Debug)]
pub(crate) struct Studio {
    pub(crate) beat: Beat,
    pub(crate) orders: Orders,
    pub(crate) pilot: Pilot,
    pub(crate) facts: Facts,
    frames: u64,
}

impl Studio {
    pub(crate) fn new(role: Role, quantum: Quantum) -> Self {
        Self {
            beat: Beat::default(),
            orders: Orders { role, quantum },
            pilot: Pilot::new(RATE),
            facts: Facts::default(),
            frames: 0,
        }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.frames as f64 / 48e3
    }

    /// Plays blocks of 128 frames until `until` seconds; the host is where `host` says. A look each second block.
    pub(crate) fn play(&mut self, until: f64, host: impl Fn(f64) -> Transport) {
        while self.seconds() < until {
            let mut seen = Vec::new();
            for _ in 0..2 {
                let seconds = self.seconds();
                #[allow(clippy::cast_possible_truncation, reason = "a few minutes")]
                let heard = HostTime::new((seconds * 1e9).round() as i64);
                self.beat.now.store(heard.get(), Ordering::Relaxed);
                let transport = host(seconds);
                seen.push(Observation { heard, position: self.frames, speed: 1.0, transport });
                self.frames += 128;
            }
            self.facts = self.pilot.look(&self.beat, self.orders, seen.into_iter());
        }
    }

    /// By how much everybody's beat is off the host's at most, ms, where both play between these seconds.
    pub(crate) fn off_ms(&self, from: f64, to: f64, host: impl Fn(f64) -> Transport) -> f64 {
        let map = self.beat.map();
        let mut most: f64 = 0.0;
        let mut seconds = from;
        while seconds < to {
            let (host, all) = (host(seconds), map.at(at(seconds)).unwrap());
            if host.is_playing {
                let mut off = host.beat.unwrap() - all.beat.get();
                if let Some((from, to)) = host.looped {
                    off -= (to - from) * (off / (to - from)).round();
                }
                most = most.max(off.abs() * 60e3 / all.bpm);
            }
            seconds += 0.001_3;
        }
        most
    }
}

pub(crate) fn stopped(beat: f64, bpm: f64) -> Transport {
    let bars = (beat / 4.0).floor();
    #[allow(clippy::cast_possible_truncation, reason = "a few bars")]
    let bar = Some((bars * 4.0, bars as i64));
    Transport { is_playing: false, bpm: Some(bpm), beat: Some(beat), meter: Some((4, 4)), bar, looped: None }
}

pub(crate) fn playing(beat: f64, bpm: f64) -> Transport {
    Transport { is_playing: true, ..stopped(beat, bpm) }
}
