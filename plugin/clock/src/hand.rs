//! What is asked for in the window: start, stop, another tempo. Done when its time has come.

use audiocloud_engine::units::{Beats, SessionTime};
use audiocloud_net::clock::beat_map::{BeatMap, Meter, Segment, TEMPO_BPM};

use crate::lead::CLOSE;
use crate::plan::{self, Quantum};

/// Where there was no beat before.
const FIRST_BPM: f64 = 120.0;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command {
    /// From where it stands, after so many bars of count-in.
    Start {
        count_in_bars: u8,
    },
    Stop,
    /// To the first bar.
    Rewind,
    /// Quarter notes a minute.
    Tempo(f64),
    Meter(Meter),
}

impl Command {
    /// Waits for a line of the bars.
    fn waits(self) -> bool {
        matches!(self, Self::Stop | Self::Rewind | Self::Meter(_))
    }
}

/// What has been asked for and not done.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    asked: Vec<Command>,
}

impl Hand {
    /// The latest of a kind counts.
    pub(crate) fn ask(&mut self, command: Command) {
        let same = std::mem::discriminant(&command);
        self.asked.retain(|asked| std::mem::discriminant(asked) != same);
        match command {
            Command::Start { .. } => self.asked.retain(|asked| !matches!(asked, Command::Stop)),
            Command::Stop => self.asked.retain(|asked| !matches!(asked, Command::Start { .. })),
            Command::Rewind | Command::Tempo(_) | Command::Meter(_) => {}
        }
        self.asked.push(command);
    }

    /// What waits for its time.
    pub(crate) fn waiting(&self) -> Option<Command> {
        self.asked.first().copied()
    }

    /// Nothing is asked for any more.
    pub(crate) fn forget(&mut self) {
        self.asked.clear();
    }

    /// What is to be told now. `ahead`: what begins then reaches everybody first.
    pub(crate) fn next(&mut self, map: &BeatMap, ahead: SessionTime, quantum: Quantum) -> Option<Segment> {
        let now = plan::carried(map, ahead).unwrap_or_else(|| Segment {
            playing: false,
            ..Segment::steady(ahead, Beats::new(0.0), FIRST_BPM)
        });
        for index in 0..self.asked.len() {
            let command = *self.asked.get(index)?;
            // Another meter begins with a bar, whatever else is asked.
            let quantum = if let Command::Meter(_) = command { Quantum::Bar } else { quantum };
            let at = if now.playing && command.waits() {
                plan::line_of(&now, quantum, ahead).filter(|line| *line - ahead <= CLOSE)
            } else {
                Some(ahead)
            };
            if let Some(at) = at {
                self.asked.remove(index);
                return plan::map_of(now)
                    .and_then(|map| plan::carried(&map, at))
                    .and_then(|from| done(command, from));
            }
        }
        None
    }
}

/// The segment that a command makes of what goes on there; none where that is nothing new.
fn done(command: Command, from: Segment) -> Option<Segment> {
    let position = from.at(from.start);
    match command {
        Command::Start { .. } if from.playing => None,
        Command::Start { count_in_bars } => {
            let back = f64::from(count_in_bars) * from.meter.bar().get();
            // Counted in before a bar's first beat.
            let to = if count_in_bars == 0 { 0.0 } else { position.in_bar.get() };
            let beat = Beats::new(from.beat.get() - to - back);
            Some(Segment { beat, playing: true, ramp: None, ..from })
        }
        Command::Stop => from.playing.then_some(Segment { playing: false, ramp: None, ..from }),
        Command::Rewind => {
            let zero = Beats::new(0.0);
            Some(Segment { beat: zero, bar_beat: zero, bar: 0, ramp: None, ..from })
        }
        Command::Tempo(bpm) => TEMPO_BPM.contains(&bpm).then_some(Segment { bpm, ramp: None, ..from }),
        Command::Meter(meter) => {
            // The bar that begins here, or that it stands in, is the first one counted so.
            let (bar_beat, bar) = if position.in_bar.get() > meter.bar().get() - 1e-6 {
                (from.beat.get(), position.bar + 1)
            } else {
                (from.beat.get() - position.in_bar.get(), position.bar)
            };
            (meter != from.meter).then_some(Segment { meter, bar_beat: Beats::new(bar_beat), bar, ..from })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> SessionTime {
        SessionTime::new(millis * 1_000_000)
    }

    fn playing() -> BeatMap {
        plan::map_of(Segment::steady(at(0), Beats::new(0.0), 120.0)).unwrap()
    }

    /// Asks, and looks every 5 ms until something is to be told.
    fn told(map: &BeatMap, command: Command, quantum: Quantum, from_ms: i64) -> Segment {
        let mut hand = Hand::default();
        hand.ask(command);
        let told = (from_ms..from_ms + 60_000).step_by(5).find_map(|now| hand.next(map, at(now), quantum));
        assert_eq!(hand.waiting(), None);
        told.unwrap()
    }

    #[test]
    fn a_count_in_leads_to_the_first_bar() {
        let start = Command::Start { count_in_bars: 2 };
        let told = told(&BeatMap::new(), start, Quantum::Bar, 1_000);
        assert_eq!((told.start, told.beat.get(), told.bpm), (at(1_000), -8.0, 120.0));
        let position = told.at(at(1_000));
        assert_eq!((position.bar, position.in_bar.get(), position.playing), (-2, 0.0, true));
        assert_eq!(told.at(at(5_000)).bar, 0);
        let mut hand = Hand::default();
        hand.ask(start);
        assert_eq!(hand.next(&playing(), at(100), Quantum::Bar), None, "it plays already");
    }

    #[test]
    fn a_stop_waits_for_its_line() {
        let map = playing();
        let stop = |quantum| {
            let told = told(&map, Command::Stop, quantum, 2_100);
            assert!(!told.playing);
            (told.start.get() / 1_000_000, (told.beat.get() * 1e6).round() / 1e6)
        };
        assert_eq!(stop(Quantum::AtOnce), (2_100, 4.2));
        assert_eq!(stop(Quantum::Beat), (2_500, 5.0));
        assert_eq!(stop(Quantum::Bar), (4_000, 8.0));
        assert_eq!(stop(Quantum::FourBars), (8_000, 16.0));
    }

    #[test]
    fn a_tempo_is_at_once_and_a_meter_from_the_next_bar() {
        let tempo = told(&playing(), Command::Tempo(90.0), Quantum::Bar, 2_100);
        assert_eq!((tempo.start, tempo.beat.get(), tempo.bpm), (at(2_100), 4.2, 90.0));
        let waltz = Meter { beats: 3, unit: 4 };
        let meter = told(&playing(), Command::Meter(waltz), Quantum::AtOnce, 2_100);
        assert_eq!((meter.start, meter.meter, meter.bar_beat.get(), meter.bar), (at(4_000), waltz, 8.0, 2));
        let position = meter.at(at(5_500));
        assert_eq!((position.bar, position.in_bar.get()), (3, 0.0));
    }

    #[test]
    fn who_asks_for_the_contrary_takes_back_what_waits() {
        let mut hand = Hand::default();
        hand.ask(Command::Stop);
        assert_eq!(hand.next(&playing(), at(100), Quantum::Bar), None);
        hand.ask(Command::Start { count_in_bars: 0 });
        assert_eq!(hand.waiting(), Some(Command::Start { count_in_bars: 0 }));
        assert_eq!(hand.next(&playing(), at(110), Quantum::Bar), None);
        assert_eq!(hand.waiting(), None);
        let rewound = told(&playing(), Command::Rewind, Quantum::Bar, 2_100);
        assert_eq!((rewound.start, rewound.beat.get(), rewound.bar), (at(4_000), 0.0, 0));
    }
}
