//! A host's transport by a script: tempo, ramps, meter, loop, position, start and stop, at frames since the input began.

use serde::{Deserialize, Serialize};

const SECONDS_PER_MINUTE: f64 = 60.0;

/// Something that changes with the first block that begins at its frame or behind it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// Since the input began.
    pub frame: u64,
    /// Starts or stops.
    pub playing: Option<bool>,
    /// Another tempo, in quarter notes a minute, at once.
    pub bpm: Option<f64>,
    /// Another tempo by and by.
    pub ramp: Option<Ramp>,
    /// Beats of a bar and what part of a whole note each is; the bar that is under way is the first one counted so.
    pub meter: Option<[u16; 2]>,
    /// Another position, in quarter notes.
    #[serde(rename = "beat")]
    pub quarter: Option<f64>,
    /// From and to, in quarter notes; none where both are one.
    #[serde(rename = "loop")]
    pub looped: Option<[f64; 2]>,
}

/// The tempo goes evenly by the quarter note, and stays where it came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    /// Quarter notes a minute at its end.
    pub to_bpm: f64,
    /// Its length in quarter notes.
    pub over: f64,
}

/// What the plug-in was told of a block's first frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Counted since processing began.
    pub frame: u64,
    /// Whether quarter notes went by.
    pub playing: bool,
    /// Position in quarter notes.
    pub quarter: f64,
    /// Quarter notes a minute.
    pub bpm: f64,
    /// Where the present bar begins, in quarter notes.
    pub bar_start: f64,
}

/// Where the music is.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// Whether quarter notes go by.
    pub playing: bool,
    /// Position in quarter notes.
    pub quarter: f64,
    /// Quarter notes a minute.
    pub bpm: f64,
    /// Beats of a bar and what part of a whole note each is.
    pub meter: [u16; 2],
    /// Where the present bar begins, in quarter notes.
    pub bar_start: f64,
    /// Its number, from 0.
    pub bar: i32,
    /// From and to, in quarter notes.
    pub looped: Option<[f64; 2]>,
}

/// Plays a script. *Realtime-safe: yes*, all of it but making one.
#[derive(Clone, Debug)]
pub struct Transport {
    script: Vec<Change>,
    done: usize,
    state: State,
}

#[derive(Clone, Copy, Debug)]
struct State {
    sample_rate: f64,
    playing: bool,
    quarter: f64,
    bpm: f64,
    /// What is left of it.
    ramp: Option<Ramp>,
    meter: [u16; 2],
    /// Where bars are counted from, and the number of the one that begins there.
    origin: (f64, i32),
    looped: Option<[f64; 2]>,
}

impl Transport {
    /// Stands at the first quarter note, at 120 in 4/4, until the script says otherwise.
    #[must_use]
    pub fn new(mut script: Vec<Change>, sample_rate: u32) -> Self {
        script.sort_by_key(|change| change.frame);
        let state = State {
            sample_rate: f64::from(sample_rate),
            playing: false,
            quarter: 0.0,
            bpm: 120.0,
            ramp: None,
            meter: [4, 4],
            origin: (0.0, 0),
            looped: None,
        };
        Self { script, done: 0, state }
    }

    /// Where it is at the first frame of a block that begins so many frames after the input; none: it has not begun, and the
    /// changes of its very first frame are told all the same, but for a start.
    pub fn begin(&mut self, frame: Option<u64>) -> Position {
        while let Some(change) =
            self.script.get(self.done).filter(|change| change.frame <= frame.unwrap_or(0))
        {
            if frame.is_none() && change.playing == Some(true) {
                break;
            }
            self.state.change(change);
            self.done += 1;
        }
        self.state.position()
    }

    /// So many frames later, were nothing changed meanwhile.
    #[must_use]
    pub fn ahead(&self, frames: u32) -> Position {
        let mut state = self.state;
        state.advance(frames);
        state.position()
    }

    /// So many frames go by.
    pub fn advance(&mut self, frames: u32) {
        self.state.advance(frames);
    }
}

impl State {
    fn change(&mut self, change: &Change) {
        if let Some(bpm) = change.bpm {
            (self.bpm, self.ramp) = (bpm, None);
        }
        if let Some(ramp) = change.ramp {
            self.ramp = Some(ramp);
        }
        if let Some(meter) = change.meter {
            let (start, number) = self.bar();
            (self.meter, self.origin) = (meter, (start, number));
        }
        if let Some([from, to]) = change.looped {
            self.looped = (to > from).then_some([from, to]);
        }
        self.quarter = change.quarter.unwrap_or(self.quarter);
        self.playing = change.playing.unwrap_or(self.playing);
    }

    fn advance(&mut self, frames: u32) {
        if !self.playing {
            return;
        }
        let travelled = self.travel(f64::from(frames) / self.sample_rate / SECONDS_PER_MINUTE);
        let before = self.quarter;
        self.quarter += travelled;
        if let Some([from, to]) = self.looped.filter(|[_, to]| before < *to && self.quarter >= *to) {
            self.quarter = from + (self.quarter - from) % (to - from);
        }
    }

    /// Quarter notes that go by in so many minutes. With a slope of k quarter notes a minute for each quarter note, db/dt = v
    /// and dv/db = k, so that v grows as e^(k·t).
    fn travel(&mut self, minutes: f64) -> f64 {
        let Some(Ramp { to_bpm, over }) = self.ramp else { return self.bpm * minutes };
        let slope = (to_bpm - self.bpm) / over;
        let whole = if slope == 0.0 { over / self.bpm } else { (to_bpm / self.bpm).ln() / slope };
        if minutes >= whole {
            (self.bpm, self.ramp) = (to_bpm, None);
            return over + to_bpm * (minutes - whole);
        }
        let beats =
            if slope == 0.0 { self.bpm * minutes } else { self.bpm / slope * (slope * minutes).exp_m1() };
        self.bpm += slope * beats;
        self.ramp = Some(Ramp { to_bpm, over: over - beats });
        beats
    }

    /// Where the present bar begins, and its number.
    fn bar(&self) -> (f64, i32) {
        let length = f64::from(self.meter[0]) * 4.0 / f64::from(self.meter[1]);
        let whole = ((self.quarter - self.origin.0) / length + 1e-9).floor();
        #[allow(clippy::cast_possible_truncation, reason = "bars of one run")]
        let number = self.origin.1 + whole as i32;
        (self.origin.0 + whole * length, number)
    }

    fn position(&self) -> Position {
        let (bar_start, bar) = self.bar();
        Position {
            playing: self.playing,
            quarter: self.quarter,
            bpm: self.bpm,
            meter: self.meter,
            bar_start,
            bar,
            looped: self.looped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The position after so many seconds of a script, in blocks of `block` frames at 1 kHz.
    fn after(script: &str, seconds: u64, block: u32) -> Position {
        let mut transport = Transport::new(serde_json::from_str(script).expect("a script"), 1_000);
        let mut frame = 0;
        loop {
            let position = transport.begin(Some(frame));
            if frame >= seconds * 1_000 {
                return position;
            }
            transport.advance(block);
            frame += u64::from(block);
        }
    }

    #[test]
    fn it_stands_until_it_is_told_to_play() {
        let script = r#"[{"frame": 0, "bpm": 90, "beat": 3, "playing": true}]"#;
        let mut transport = Transport::new(serde_json::from_str(script).expect("a script"), 1_000);
        assert!(!transport.begin(None).playing);
        let begun = transport.begin(Some(0));
        assert_eq!((begun.playing, begun.quarter, begun.bpm), (true, 3.0, 90.0));
        assert!((transport.ahead(2_000).quarter - 6.0).abs() < 1e-9);
    }

    #[test]
    fn a_ramp_is_the_same_in_blocks_of_any_length() {
        let script = r#"[{"bpm": 90, "playing": true, "ramp": {"to_bpm": 150, "over": 32}}]"#;
        // 32 quarter notes take 32 ln(150 / 90) seconds, as the integral of 60 / (90 + 60 b / 32) says: 16.3.
        for block in [1, 10, 125, 1_000] {
            let position = after(script, 30, block);
            let expected = 32.0 + (30.0 - 32.0 * (150.0_f64 / 90.0).ln()) * 2.5;
            assert!((position.quarter - expected).abs() < 1e-6, "{position:?} in blocks of {block}");
            assert_eq!(position.bpm, 150.0);
        }
        let halfway = after(script, 8, 1_000);
        let expected = 48.0 * ((1.875_f64 * 8.0 / 60.0).exp() - 1.0);
        assert!(
            (halfway.quarter - expected).abs() < 1e-9 && (halfway.bpm - 90.0 - 1.875 * expected).abs() < 1e-9
        );
    }

    #[test]
    fn loops_meters_and_positions() {
        let looped = r#"[{"bpm": 60, "playing": true, "loop": [2, 6]}]"#;
        assert_eq!(after(looped, 5, 100).quarter.round(), 5.0);
        let round = after(looped, 11, 100);
        assert!((round.quarter - 3.0).abs() < 1e-9 && round.bar == 0, "{round:?}");
        let waltz = r#"[{"bpm": 60, "playing": true}, {"frame": 8100, "meter": [3, 4]}, {"frame": 20000, "beat": 17}]"#;
        let position = after(waltz, 12, 100);
        assert_eq!((position.bar_start.round(), position.bar, position.meter), (11.0, 3, [3, 4]));
        assert!((after(waltz, 20, 100).quarter - 17.0).abs() < 1e-9);
        assert!(serde_json::from_str::<Vec<Change>>(r#"[{"tempo": 60}]"#).is_err(), "a slip of the pen");
    }
}
