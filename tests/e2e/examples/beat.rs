//! A beat of its own through the bridges, led from the keyboard: to see what a DAW makes of it, and for tests.
//!
//! `beat [--midi] [--timecode 24|25|29.97|30] [--osc ADDRESS] [--ardour ADDRESS] [--link]`, then lines: `play BEAT BPM`,
//! `ramp BEAT BPM TO_BPM BEATS`, `loop BEAT BPM FROM TO`, `stop BEAT BPM`, `status`, and the end of the input. Each edit begins
//! 300 ms later, or `AT_NS` on the machine's monotonic clock if that stands before it (`@AT_NS play 0 120`), and is answered by
//! a line of JSON: when it begins.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use audiocloud_net::clock::beat_map::{BeatMap, Ramp, Segment};
use audiocloud_net::clock::timeline::Timeline;
use audiocloud_net::runtime::bridge::{
    ARDOUR, Bridges, FrameRate, MidiSettings, REAPER, Settings, SharedBeat,
};
use audiocloud_units::{Beats, HostTime, Nanos, Ppm, SessionLine, SessionTime};

const HORIZON: Nanos = Nanos::from_millis(300);

/// A session of one, whose time is this machine's.
#[derive(Clone, Default)]
struct Alone(Arc<Mutex<(BeatMap, u64)>>);

impl Alone {
    fn line() -> SessionLine {
        let (host, session) = (HostTime::new(0), SessionTime::new(0));
        SessionLine { host, session, fraction: 0.0, rate: Ppm::new(0.0) }
    }
}

impl SharedBeat for Alone {
    fn timeline(&self) -> Timeline {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        Timeline { line: Some(Self::line()), map: Arc::new(map) }
    }

    fn revision(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn now(&self) -> HostTime {
        audiocloud_rt::host_time::now()
    }

    fn horizon(&self) -> Nanos {
        HORIZON
    }

    fn edit(&self, segments: &[Segment]) -> Result<(), String> {
        let now = Self::line().session_at(self.now());
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (map, revision) = &mut *shared;
        *revision += 1;
        for segment in segments {
            let segment = Segment { serial: *revision, ..*segment };
            map.insert(segment, now).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

fn main() -> Result<(), String> {
    let beat = Alone::default();
    let bridges = Bridges::start(beat.clone());
    bridges.set(settings(std::env::args().skip(1))?);
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let answer = match line.trim() {
            "status" => format!("{:?}", bridges.status()),
            other => {
                let segment = segment(other, beat.now())?;
                beat.edit(&[segment])?;
                format!("{{\"begins_ns\":{}}}", segment.start.get())
            }
        };
        println!("{answer}");
        std::io::stdout().flush().map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn segment(line: &str, now: HostTime) -> Result<Segment, String> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let mut start = Alone::line().session_at(now + HORIZON);
    if let Some(at) = words.first().and_then(|word| word.strip_prefix('@')) {
        start = SessionTime::new(at.parse().map_err(|error| format!("{at}: {error}"))?);
        words.remove(0);
    }
    let number = |index: usize| -> Result<f64, String> {
        let word: &&str = words.get(index).ok_or_else(|| format!("{line}: too short"))?;
        word.parse().map_err(|error| format!("{word}: {error}"))
    };
    let steady = Segment::steady(start, Beats::new(number(1)?), number(2)?);
    match words.first().copied() {
        Some("play") => Ok(steady),
        Some("stop") => Ok(Segment { playing: false, ..steady }),
        Some("ramp") => {
            let ramp = Some(Ramp { to_bpm: number(3)?, over: Beats::new(number(4)?) });
            Ok(Segment { ramp, ..steady })
        }
        Some("loop") => {
            let looped = Some((Beats::new(number(3)?), Beats::new(number(4)?)));
            Ok(Segment { looped, ..steady })
        }
        _ => Err(format!("{line} is not understood")),
    }
}

fn settings(mut arguments: impl Iterator<Item = String>) -> Result<Settings, String> {
    let mut settings = Settings::default();
    let mut midi = MidiSettings { clock: false, ..MidiSettings::default() };
    while let Some(argument) = arguments.next() {
        let address = |given: Option<String>, usual: SocketAddr| {
            given.map_or(Ok(usual), |given| given.parse().map_err(|error| format!("{given}: {error}")))
        };
        match argument.as_str() {
            "--midi" => midi.clock = true,
            "--timecode" => {
                midi.timecode = match arguments.next().as_deref() {
                    Some("24") => Some(FrameRate::Film24),
                    Some("29.97") => Some(FrameRate::Drop2997),
                    Some("30") => Some(FrameRate::Whole30),
                    _ => Some(FrameRate::Film25),
                }
            }
            "--osc" => settings.osc = Some(address(arguments.next(), REAPER)?),
            "--ardour" => settings.ardour = Some(address(arguments.next(), ARDOUR)?),
            "--link" => settings.link = true,
            other => return Err(format!("{other} is not understood")),
        }
    }
    settings.midi = (midi.clock || midi.timecode.is_some()).then_some(midi);
    Ok(settings)
}
