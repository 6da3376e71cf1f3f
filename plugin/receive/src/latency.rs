//! The latency that the host is told, where the user wants it made up for.

use std::time::{Duration, Instant};

use audiocloud_engine::units::{Frames, Nanos, SampleRate};

/// A difference that stays for so long is told: hosts restart a plug-in whose latency changes.
const STEADY: Duration = Duration::from_secs(3);

/// What is told, and what may have to be.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    told_frames: u32,
    differs_since: Option<Instant>,
}

impl Offer {
    /// What was told when the project was saved: it stays until all that is played has been measured again.
    pub(crate) fn resume(&mut self, told_frames: u32) {
        *self = Self { told_frames, differs_since: None };
    }

    /// What to tell from now on: nothing unless it `is_wanted`, else the latency that lasts, to within `slack_frames`.
    /// While nothing is measured, what was told last; while something is missing (not `is_complete`), no less than that:
    /// it may be what needs the time.
    pub(crate) fn look(
        &mut self,
        is_wanted: bool,
        measured_frames: Option<u32>,
        is_complete: bool,
        slack_frames: u32,
        now: Instant,
    ) -> u32 {
        if !is_wanted {
            *self = Self::default();
            return 0;
        }
        let measured_frames = measured_frames.filter(|frames| is_complete || *frames > self.told_frames);
        let differs = measured_frames.filter(|frames| frames.abs_diff(self.told_frames) > slack_frames);
        match (differs, self.differs_since) {
            (None, _) => self.differs_since = None,
            (Some(_), None) => self.differs_since = Some(now),
            (Some(frames), Some(since)) if now.duration_since(since) >= STEADY => {
                *self = Self { told_frames: frames, differs_since: None };
            }
            _ => {}
        }
        self.told_frames
    }
}

/// What a project keeps of a latency, at this rate.
pub(crate) fn frames(latency_us: u64, rate: SampleRate) -> u32 {
    let latency = Nanos::from(Duration::from_micros(latency_us));
    u32::try_from(latency.to_frames_nearest(rate).get()).unwrap_or(0)
}

/// A latency as a project keeps it: at any rate.
pub(crate) fn micros(latency_frames: u32, rate: SampleRate) -> u64 {
    let latency = Frames::new(latency_frames.into()).to_nanos_floor(rate);
    u64::try_from(latency.get() / 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_comes_back_from_the_project_to_the_frame() {
        for hz in [44_100, 48_000, 96_000, 192_000] {
            let rate = SampleRate::new(hz).unwrap();
            for latency_frames in [0, 1, 481, 9_999, 38_400] {
                assert_eq!(frames(micros(latency_frames, rate), rate), latency_frames, "at {hz} Hz");
            }
        }
        assert_eq!(frames(u64::MAX, SampleRate::new(48_000).unwrap()), 0);
    }

    #[test]
    fn only_what_lasts_is_told() {
        let (mut offer, start) = (Offer::default(), Instant::now());
        let mut look = |wanted, frames, seconds| {
            offer.look(wanted, frames, true, 48, start + Duration::from_secs(seconds))
        };
        assert_eq!(look(false, Some(480), 0), 0);
        assert_eq!(
            (look(true, Some(480), 0), look(true, Some(480), 2), look(true, Some(481), 3)),
            (0, 0, 481)
        );
        assert_eq!((look(true, Some(520), 4), look(true, Some(520), 9)), (481, 481), "within the slack");
        assert_eq!(
            (look(true, Some(900), 10), look(true, Some(481), 11), look(true, Some(900), 14)),
            (481, 481, 481)
        );
        assert_eq!(
            (look(true, None, 15), look(true, Some(900), 16), look(true, Some(900), 19)),
            (481, 481, 900)
        );
        assert_eq!(look(false, Some(900), 20), 0);
    }

    #[test]
    fn while_something_is_missing_it_becomes_no_shorter() {
        let (mut offer, start) = (Offer::default(), Instant::now());
        offer.resume(960);
        let mut look = |frames, is_complete, seconds| {
            offer.look(true, frames, is_complete, 48, start + Duration::from_secs(seconds))
        };
        assert_eq!(
            (look(None, false, 0), look(Some(480), false, 1), look(Some(480), false, 9)),
            (960, 960, 960)
        );
        assert_eq!((look(Some(1_200), false, 10), look(Some(1_200), false, 13)), (960, 1_200), "but longer");
        assert_eq!((look(Some(480), true, 14), look(Some(480), true, 17)), (1_200, 480), "all are back");
    }
}
