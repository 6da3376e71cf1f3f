//! Clock and time code of one port, in the order of time.

use std::sync::Arc;

use audiocloud_clock::beat_map::BeatMap;
use audiocloud_clock::timeline::Timeline;
use audiocloud_units::{HostTime, Nanos, SessionLine};

use crate::clock::Clock;
use crate::message::Message;
use crate::timecode::{Code, FrameRate};

/// What a port sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// MIDI clock, song position, start and stop.
    pub clock: bool,
    /// MIDI Time Code.
    pub timecode: Option<FrameRate>,
    /// How much earlier than the beat: what the listener's sound is late by. Negative: later.
    pub earlier: Nanos,
}

impl Default for Settings {
    /// MIDI clock, on the beat.
    fn default() -> Self {
        Self { clock: true, timecode: None, earlier: Nanos::ZERO }
    }
}

/// A message, and when it is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: HostTime,
    /// What.
    pub message: Message,
}

/// One port's messages.
#[derive(Debug)]
pub struct Sender {
    earlier: Nanos,
    clock: Option<Clock>,
    code: Option<Code>,
    line: Option<SessionLine>,
}

impl Sender {
    /// Nothing was sent.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            earlier: settings.earlier,
            clock: settings.clock.then(Clock::default),
            code: settings.timecode.map(Code::new),
            line: None,
        }
    }

    /// Whether song position cannot name where the song is.
    #[must_use]
    pub fn is_out_of_range(&self) -> bool {
        self.clock.as_ref().is_some_and(Clock::is_out_of_range)
    }

    /// Appends all that is to leave until an instant, in order. To be called again with a later one, each time with the
    /// timeline as it stands: what was given out stays as it was, so an edit counts from there on.
    pub fn advance(&mut self, timeline: &Timeline, until: HostTime, events: &mut Vec<Event>) {
        let Some(line) = timeline.line else {
            // Without a session's time there is no beat.
            let map = Arc::new(BeatMap::new());
            if let Some(line) = self.line.take() {
                self.gather(&map, &line, until, events);
            }
            return;
        };
        self.line = Some(line);
        self.gather(&timeline.map, &line, until, events);
    }

    /// The last words: stop, if the song runs.
    pub fn end(&mut self, at: HostTime, events: &mut Vec<Event>) {
        if let (Some(clock), Some(line)) = (&mut self.clock, self.line.take()) {
            clock.end(line.session_at(at), |_, message| events.push(Event { at, message }));
        }
    }

    fn gather(&mut self, map: &BeatMap, line: &SessionLine, until: HostTime, events: &mut Vec<Event>) {
        let until = line.session_at(until + self.earlier);
        let begins = events.len();
        let earlier = self.earlier;
        let mut push = |at, message| events.push(Event { at: line.host_at(at) - earlier, message });
        if let Some(clock) = &mut self.clock {
            clock.advance(map, until, &mut push);
        }
        if let Some(code) = &mut self.code {
            code.advance(map, until, &mut push);
        }
        if let Some(new) = events.get_mut(begins..) {
            new.sort_by_key(|event| event.at);
        }
    }
}
