//! Session time and the beat on it, as one value: what whoever has to know the beat of an instant is given.

use std::sync::Arc;

use audiocloud_units::{Beats, HostTime, SessionLine};

use crate::beat_map::{BeatMap, Position};

/// As it stands; a new one comes when either changes. Cheap to clone; *realtime-safe: no* (clones and drops count).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// The session's time, where there is one.
    pub line: Option<SessionLine>,
    /// Its beats.
    pub map: Arc<BeatMap>,
}

impl Timeline {
    /// Where the music is at an instant of this machine; nothing without a session's time or a beat.
    #[must_use]
    pub fn at(&self, host: HostTime) -> Option<Position> {
        self.map.at(self.line?.session_at(host))
    }

    /// When the next multiple of `grid` quarter notes, counted from a bar's first, comes at or after an instant of this
    /// machine; nothing while it stands still.
    #[must_use]
    pub fn next(&self, host: HostTime, grid: Beats) -> Option<HostTime> {
        let line = self.line?;
        self.map.next(line.session_at(host), grid).map(|session| line.host_at(session))
    }
}

#[cfg(test)]
mod tests {
    use audiocloud_units::{Nanos, Ppm, SessionTime};

    use super::*;
    use crate::beat_map::Segment;

    #[test]
    fn beats_of_instants_of_this_machine() {
        let line = SessionLine {
            host: HostTime::new(1_000),
            session: SessionTime::new(9_000_000_000),
            fraction: 0.0,
            rate: Ppm::new(0.0),
        };
        let mut map = BeatMap::new();
        map.insert(Segment::steady(line.session, Beats::new(0.0), 120.0), line.session).unwrap();
        let timeline = Timeline { line: Some(line), map: Arc::new(map) };
        let later = line.host + Nanos::from_millis(750);
        assert_eq!(timeline.at(later).unwrap().beat, Beats::new(1.5));
        assert_eq!(timeline.next(later, Beats::new(1.0)), Some(line.host + Nanos::from_secs(1)));
        assert_eq!(Timeline::default().at(later), None);
    }
}
