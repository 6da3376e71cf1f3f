//! The precision time protocol (IEEE 1588-2019), one port of it: whose clock it is to follow or to lead is decided
//! elsewhere or by its own election; what carries its messages is somebody else's too.
//!
//! The state machine is statime's; nothing of it is seen outside of this module. An [`Exchange`] is given messages, the
//! instants at which they came and went on this machine's clock, and the time; it wants messages sent, and yields
//! [`Measurement`]s, of which a [`crate::filter`] makes an estimate. A leader's messages carry the session's time, by the
//! line that it was given last.
//!
//! ```text
//!  leader                                      follower
//!    sync ─────────── its time of arrival ───────▶
//!    follow-up ────── when the sync left ────────▶  Measurement::Sync
//!    ◀─────────────── its time of sending ─── delay request
//!    delay response ─ when that arrived ─────────▶  Measurement::DelayRequest
//! ```

mod message;
mod port;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use audiocloud_units::{HostTime, Nanos, SessionLine};

pub use message::{Message, is_event};

use self::message::{Kind, Refused};
use self::port::{Input, Output, Port, Stamp, TIMERS, Timer};
use crate::filter::Measurement;

/// A delay request is not followed by another one while its answer may be on its way: for this many times what the last one
/// took, and for so long at least and at the most.
const ANSWER_TIMES: i64 = 3;
const ANSWER_MIN: Nanos = Nanos::from_millis(20);
const ANSWER_MAX: Nanos = Nanos::from_secs(2);
/// What is not fetched is dropped, the oldest first, and counted.
const ACTIONS_MAX: usize = 64;

/// Which end of the exchange this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its time is given to others.
    Master,
    /// It takes its time from another.
    Slave,
    /// The best master clock algorithm decides (IEEE 1588-2019, 9.3).
    Auto,
}

/// An exchange's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its clock identity, an EUI-64: unlike every other one's.
    pub identity: [u8; 8],
    /// Its domain. What belongs to others is passed over.
    pub domain: u8,
    /// Which end it is.
    pub role: Role,
    /// *Priority 1*, by which others elect: less is better.
    pub priority: u8,
    /// Syncs and delay requests every so many seconds, as a power of two.
    pub log_interval: i8,
    /// Announces, likewise; elections as often.
    pub log_announce_interval: i8,
    /// So many announces that do not come are a master that is lost.
    pub announces_missed: u8,
}

impl Config {
    /// Between two peers, eight exchanges a second. A follower follows within a second; a master is lost after two seconds'
    /// silence.
    #[must_use]
    pub const fn direct(identity: [u8; 8], role: Role) -> Self {
        // Announced twice as often as it is looked for, for some are lost.
        let log_announce_interval = if matches!(role, Role::Master) { -2 } else { -1 };
        Self { log_announce_interval, ..Self::network(identity, 0, role) }
    }

    /// On a network with others: eight exchanges a second; announces each second, two of which, of a second or two each, have
    /// to be heard before anybody is followed.
    #[must_use]
    pub const fn network(identity: [u8; 8], domain: u8, role: Role) -> Self {
        Self {
            identity,
            domain,
            role,
            priority: 128,
            log_interval: -3,
            log_announce_interval: 0,
            announces_missed: 3,
        }
    }
}

/// Whose time is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grandmaster {
    /// The clock identity of who sends it to us.
    pub source: [u8; 8],
    /// Where it comes from.
    pub identity: [u8; 8],
    /// Its *clock class* (IEEE 1588-2019, 7.6.2.5): 6 and 7 have or had an atomic clock or satellites, 248 is a crystal.
    pub class: u8,
    /// Its *priority 1*.
    pub priority: u8,
    /// By how much its time is ahead of UTC, as it says: TAI's 37 s, or nothing where it says nothing of the kind.
    pub ahead_of_utc: Nanos,
}

/// What an exchange is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nobody was heard yet, or not for a while.
    #[default]
    Listening,
    /// It takes its time from another.
    Following(Grandmaster),
    /// It gives its own.
    Leading,
    /// Another one leads, whom it does not follow.
    Passive,
}

/// What an exchange wants done.
#[derive(Debug)]
pub enum Action {
    /// To be sent to the others. With a `stamp` it is an event message: when it left has to be told by
    /// [`Exchange::sent`], as exactly as that is known.
    Send {
        /// Its bytes.
        message: Message,
        /// What is to be given back with the instant.
        stamp: Option<Unstamped>,
    },
    /// To be given to a filter.
    Measured(Measurement),
}

/// A message that was sent at an instant not yet told.
#[derive(Debug)]
pub struct Unstamped {
    context: statime::port::TimestampContext,
    kind: Kind,
}

/// What an exchange has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages taken.
    pub received: u64,
    /// Messages of other domains, or of kinds that are not used here.
    pub foreign: u64,
    /// Messages that say what cannot be.
    pub malformed: u64,
    /// Delay requests that were never answered.
    pub unanswered: u64,
    /// Actions that nobody fetched.
    pub dropped: u64,
}

/// One port of the protocol.
pub struct Exchange {
    config: Config,
    port: Port,
    /// In the order of [`TIMERS`].
    timers: [Option<HostTime>; TIMERS.len()],
    line: Option<SessionLine>,
    /// When the delay request left that was not answered yet.
    asked: Option<HostTime>,
    /// For how long its answer is waited for.
    patience: Nanos,
    actions: VecDeque<Action>,
    outputs: Vec<Output>,
    counters: Counters,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { config, line, counters, .. } = self;
        formatter
            .debug_struct("Exchange")
            .field("config", config)
            .field("state", &self.state())
            .field("line", line)
            .field("counters", counters)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    /// Begins. The seed spreads delay requests in time, as the standard wants it.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: HostTime) -> Self {
        let mut exchange = Self {
            config,
            port: Port::new(&config, seed),
            timers: [None; TIMERS.len()],
            line: None,
            asked: None,
            patience: ANSWER_MAX,
            actions: VecDeque::new(),
            outputs: Vec::new(),
            counters: Counters::default(),
        };
        exchange.port.take(&mut exchange.outputs);
        exchange.take_outputs(now);
        if config.role == Role::Master {
            // Nobody is waited for: who leads was decided.
            exchange.put(Input::Due(Timer::AnnounceReceipt), now);
        }
        exchange
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.port.state()
    }

    /// What it has seen.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The session's time, which a leader gives to others. Without one it keeps silent.
    pub fn set_line(&mut self, line: Option<SessionLine>) {
        self.line = line;
    }

    /// A message came in at an instant: its time of arrival where [`is_event`] says so, else about now.
    pub fn receive(&mut self, bytes: &[u8], at: HostTime) {
        let (kind, message) = match message::check(bytes, self.config.domain, self.config.identity) {
            Ok(checked) => checked,
            Err(Refused::Malformed) => return self.counters.malformed += 1,
            Err(Refused::Foreign) => return self.counters.foreign += 1,
        };
        self.counters.received += 1;
        let input = match kind {
            // Who leads alone does not listen to who else would.
            Kind::Announce if self.config.role == Role::Master => return,
            Kind::Announce | Kind::FollowUp | Kind::DelayResponse => Input::General(message),
            Kind::Sync => Input::Event(message, Stamp::Host(at)),
            Kind::DelayRequest => match self.line {
                Some(line) => Input::Event(message, Stamp::Session(line.session_at(at))),
                None => return,
            },
        };
        self.put(input, at);
    }

    /// A message left at that instant.
    pub fn sent(&mut self, unstamped: Unstamped, at: HostTime) {
        let stamp = match (unstamped.kind, self.line) {
            (Kind::DelayRequest, _) => Stamp::Host(at),
            (_, Some(line)) => Stamp::Session(line.session_at(at)),
            (_, None) => return,
        };
        self.put(Input::Sent(unstamped.context, stamp), at);
    }

    /// When [`Self::handle_timeout`] has to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<HostTime> {
        self.timers.iter().flatten().min().copied()
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: HostTime) {
        for (slot, timer) in TIMERS.into_iter().enumerate() {
            if self.timers[slot].is_some_and(|due| due <= now) {
                self.timers[slot] = None;
                self.handle_due(timer, now);
            }
        }
    }

    /// What it wants done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn handle_due(&mut self, timer: Timer, now: HostTime) {
        match timer {
            Timer::Announce | Timer::Sync if self.line.is_none() => self.wake(timer, self.interval(), now),
            // Who leads was decided.
            Timer::Elect if self.config.role == Role::Master => {}
            Timer::Announce | Timer::Sync if self.config.role == Role::Slave => {}
            Timer::DelayRequest => self.ask(now),
            _ => self.put(Input::Due(timer), now),
        }
    }

    /// A port of statime knows of one delay request at a time: over long ways the next one waits for the answer.
    fn ask(&mut self, now: HostTime) {
        match self.asked {
            Some(asked) if now - asked < self.patience => {
                self.wake(Timer::DelayRequest, self.interval() / 4, now)
            }
            asked => {
                self.counters.unanswered += u64::from(asked.is_some());
                if asked.is_some() {
                    // The way may have become longer.
                    self.patience = Nanos::new(self.patience.get() * 2).min(ANSWER_MAX);
                }
                self.asked = None;
                self.put(Input::Due(Timer::DelayRequest), now);
            }
        }
    }

    fn answered(&mut self, now: HostTime) {
        if let Some(asked) = self.asked.take() {
            let took = Nanos::new((now - asked).get().saturating_mul(ANSWER_TIMES));
            self.patience = took.max(ANSWER_MIN).min(ANSWER_MAX);
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_secs_f64(2_f64.powi(i32::from(self.config.log_interval)))
    }

    fn put(&mut self, input: Input, now: HostTime) {
        self.port.put(input, &mut self.outputs);
        self.take_outputs(now);
    }

    fn take_outputs(&mut self, now: HostTime) {
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Wake(timer, after) => self.wake(timer, after, now),
                Output::Measured(measurement) => {
                    if matches!(measurement, Measurement::DelayRequest { .. }) {
                        self.answered(now);
                    }
                    self.act(Action::Measured(measurement));
                }
                Output::Send(message, context) => self.send(message, context, now),
            }
        }
    }

    fn send(&mut self, message: Message, context: Option<statime::port::TimestampContext>, now: HostTime) {
        let Some(kind) = message.kind() else { return };
        if self.config.role == Role::Slave && kind != Kind::DelayRequest {
            return;
        }
        if kind == Kind::DelayRequest {
            self.asked = Some(now);
        }
        let stamp = context.map(|context| Unstamped { context, kind });
        let message = message.told(self.config.log_interval, self.config.log_announce_interval);
        self.act(Action::Send { message, stamp });
    }

    fn act(&mut self, action: Action) {
        if self.actions.len() == ACTIONS_MAX {
            self.actions.pop_front();
            self.counters.dropped += 1;
        }
        self.actions.push_back(action);
    }

    fn wake(&mut self, timer: Timer, after: Duration, now: HostTime) {
        let after = Nanos::new(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX));
        let slot = TIMERS.iter().position(|known| *known == timer);
        if let Some(slot) = slot {
            self.timers[slot] = Some(now + after);
        }
    }
}
