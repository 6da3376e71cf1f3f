//! A sound card that drifts, and the host that it calls back.

use std::ops::Range;

use audiocloud_units::{Frames, HostTime, MediaTime, Nanos, Ppm, SampleRate};

use crate::random::{Random, nanos};
use crate::spread::Spread;

/// A machine: its sound card, its monotonic clock, and how well its host keeps up.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Nominal.
    pub sample_rate: SampleRate,
    /// Frames of each callback.
    pub block_frames: u32,
    /// By how much the card's rate is off, at the beginning.
    pub offset: Ppm,
    /// How the card's rate changes, if it does.
    pub wander: Option<Wander>,
    /// From the card's interrupt, which is exact, until the callback begins. It delays no later callback, unless that one
    /// would begin before this one.
    pub callback_jitter: Spread,
    /// When no callback begins.
    pub stalls: Vec<Stall>,
    /// When the first block is due.
    pub starts_at: Nanos,
    /// What the machine's monotonic clock showed when the world began.
    pub host_time_at_zero: HostTime,
    /// By how much the monotonic clock's rate is off.
    pub host_clock_offset: Ppm,
}

impl Config {
    /// A machine without fault, which starts with the world.
    #[must_use]
    pub fn new(sample_rate: SampleRate, block_frames: u32) -> Self {
        Self {
            sample_rate,
            block_frames,
            offset: Ppm::default(),
            wander: None,
            callback_jitter: Spread::None,
            stalls: Vec::new(),
            starts_at: Nanos::ZERO,
            host_time_at_zero: HostTime::default(),
            host_clock_offset: Ppm::default(),
        }
    }
}

/// A random walk of the rate, as temperature causes it: at each step a normal number is added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wander {
    /// Time between steps. They take effect at the next block.
    pub every: Nanos,
    /// The standard deviation of a step.
    pub step: Ppm,
    /// The walk stays within this of the offset.
    pub max: Ppm,
}

/// A time in which the host does not call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// From when to when.
    pub during: Range<Nanos>,
    /// What becomes of the blocks that were due.
    pub after: AfterStall,
}

/// What a host does with blocks that it was late for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterStall {
    /// All of them at once, as hosts with buffers do.
    CatchUp,
    /// None: the card has gone on, the frames are lost, as in a JACK xrun.
    Skip,
}

/// A callback of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callback {
    /// When the card had the block ready.
    pub due: Nanos,
    /// When the callback begins.
    pub at: Nanos,
    /// The same as the machine's monotonic clock shows it.
    pub host_time: HostTime,
    /// Frames of the block.
    pub frames: u32,
    /// The first frame's index on the card's clock, those skipped in stalls included.
    pub position: MediaTime,
}

/// A machine's clocks at work: yields its callbacks, for ever.
#[derive(Clone, Debug)]
pub struct SampleClock {
    config: Config,
    jitter: Random,
    walk: Random,
    /// When the next block is due: whole nanoseconds, and the rest of one.
    due: Nanos,
    due_fraction: f64,
    position: MediaTime,
    last_at: Nanos,
    next_step: Nanos,
    walked: Ppm,
}

impl SampleClock {
    /// Clocks whose chance is `random`'s.
    #[must_use]
    pub fn new(config: Config, random: &Random) -> Self {
        Self {
            jitter: random.for_purpose(0),
            walk: random.for_purpose(1),
            due: config.starts_at,
            due_fraction: 0.0,
            position: MediaTime::ZERO,
            last_at: config.starts_at,
            next_step: config.starts_at,
            walked: Ppm::default(),
            config,
        }
    }

    /// By how much the card's rate is off now.
    #[must_use]
    pub fn offset(&self) -> Ppm {
        Ppm::new(self.config.offset.get() + self.walked.get())
    }

    /// What the machine's monotonic clock shows at a time.
    #[must_use]
    pub fn host_time(&self, at: Nanos) -> HostTime {
        let gained = nanos(at.get() as f64 * self.config.host_clock_offset.get() * 1e-6);
        self.config.host_time_at_zero + at + gained
    }

    /// Goes to the next block; when the one that it leaves was due, and its first frame.
    fn advance(&mut self) -> (Nanos, MediaTime) {
        let before = (self.due, self.position);
        self.wander();
        let rate_hz = f64::from(self.config.sample_rate.hz()) * self.offset().to_factor();
        let length = self.due_fraction + f64::from(self.config.block_frames.max(1)) * 1e9 / rate_hz;
        self.due += nanos(length);
        self.due_fraction = length - length.floor();
        self.position += Frames::from(self.config.block_frames);
        before
    }

    fn wander(&mut self) {
        let Some(Wander { every, step, max }) = self.config.wander else { return };
        let every = every.max(Nanos::new(1));
        while self.next_step <= self.due {
            self.next_step += every;
            let walked = self.walked.get() + step.get() * self.walk.normal();
            self.walked = Ppm::new(walked.clamp(-max.get().abs(), max.get().abs()));
        }
    }
}

impl Iterator for SampleClock {
    type Item = Callback;

    fn next(&mut self) -> Option<Callback> {
        loop {
            let (due, position) = self.advance();
            let jitter = self.config.callback_jitter.draw(&mut self.jitter);
            let stall = self.config.stalls.iter().find(|stall| stall.during.contains(&due));
            let called = match stall {
                Some(Stall { after: AfterStall::Skip, .. }) => continue,
                Some(Stall { after: AfterStall::CatchUp, during }) => during.end,
                None => due,
            };
            let at = (called + jitter).max(self.last_at);
            self.last_at = at;
            let frames = self.config.block_frames;
            return Some(Callback { due, at, host_time: self.host_time(at), frames, position });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE_HZ: u32 = 48_000;

    fn config() -> Config {
        Config::new(SampleRate::new(RATE_HZ).unwrap(), 128)
    }

    fn callbacks(config: Config, until: Nanos) -> Vec<Callback> {
        let clock = SampleClock::new(config, &Random::new(1));
        clock.take_while(|callback| callback.due <= until).collect()
    }

    #[test]
    fn an_hour_is_exact_to_the_nanosecond() {
        for ppm in [0.0, 100.0, -100.0, 500.0] {
            let config = Config { offset: Ppm::new(ppm), ..config() };
            let last = *callbacks(config, Nanos::from_secs(3_600)).last().unwrap();
            let seconds = last.position.get() as f64 / (f64::from(RATE_HZ) * (1.0 + ppm * 1e-6));
            let error = last.due.get() as f64 - seconds * 1e9;
            assert!(error.abs() <= 2.0, "{ppm} ppm: {error} ns");
            assert_eq!(last.due, last.at);
        }
    }

    #[test]
    fn jitter_delays_but_does_not_drift() {
        let max = Nanos::from_millis(4);
        let config = Config { callback_jitter: Spread::Uniform { max }, ..config() };
        let callbacks = callbacks(config, Nanos::from_secs(60));
        assert_eq!(callbacks.len(), 60 * 375 + 1);
        assert!(callbacks.is_sorted_by_key(|callback| callback.at));
        let late: Vec<Nanos> = callbacks.iter().map(|callback| callback.at - callback.due).collect();
        assert!(late.iter().all(|late| (Nanos::ZERO..=max).contains(late)));
        assert!(late.iter().any(|late| *late > Nanos::from_micros(3_900)));
        assert!(late.iter().any(|late| *late < Nanos::from_micros(100)));
    }

    #[test]
    fn the_walk_is_a_walk_within_bounds() {
        let wander = Wander { every: Nanos::from_secs(1), step: Ppm::new(0.2), max: Ppm::new(1e3) };
        // Of many walks of 400 steps the deviation is 20 steps.
        let ends = (0..200).map(|seed| {
            let config = Config { wander: Some(wander), block_frames: 4_800, ..config() };
            let mut clock = SampleClock::new(config, &Random::new(seed));
            while clock.due < Nanos::from_secs(400) {
                clock.next();
            }
            clock.offset().get()
        });
        let square: f64 = ends.map(|end| end * end).sum::<f64>() / 200.0;
        assert!((square.sqrt() / 4.0 - 1.0).abs() < 0.2, "{}", square.sqrt());

        let wander = Some(Wander { max: Ppm::new(0.5), ..wander });
        let config = Config { wander, offset: Ppm::new(30.0), ..config() };
        let mut clock = SampleClock::new(config, &Random::new(1));
        for _ in 0..100_000 {
            clock.next();
            assert!((29.5..=30.5).contains(&clock.offset().get()));
        }
    }

    #[test]
    fn stalls_skip_or_catch_up() {
        let during = Nanos::from_millis(999)..Nanos::from_millis(1_299);
        let with = |after| {
            let stalls = vec![Stall { during: during.clone(), after }];
            callbacks(Config { stalls, ..config() }, Nanos::from_secs(2))
        };
        let all = 2 * 375 + 1;
        let (skipped, caught_up) = (with(AfterStall::Skip), with(AfterStall::CatchUp));
        // Blocks 375 to 487, due at 1,000.0 to 1,298.7 ms.
        assert_eq!((skipped.len(), caught_up.len()), (all - 113, all));
        let gap = skipped.windows(2).map(|pair| pair[1].position - pair[0].position).max();
        assert_eq!(gap, Some(Frames::new(114 * 128)));
        assert_eq!(caught_up.iter().filter(|callback| callback.at == during.end).count(), 113);
        assert!(skipped.iter().chain(&caught_up).all(|callback| !during.contains(&callback.at)));
    }

    #[test]
    fn machines_have_their_own_time() {
        let config = Config {
            host_time_at_zero: HostTime::new(-7),
            host_clock_offset: Ppm::new(-20.0),
            starts_at: Nanos::from_secs(10),
            ..config()
        };
        let first = SampleClock::new(config, &Random::new(1)).next().unwrap();
        assert_eq!(first.at, Nanos::from_secs(10));
        assert_eq!(first.host_time, HostTime::new(10_000_000_000 - 200_000 - 7));
    }
}
