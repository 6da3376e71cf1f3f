//! The latency that the host is told, where the user wants it made up for.

use std::time::{Duration, Instant};

/// A difference that stays for so long is told: hosts restart a plug-in whose latency changes.
const STEADY: Duration = Duration::from_secs(3);

/// What is told, and what may have to be.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    told_frames: u32,
    differs_since: Option<Instant>,
}

impl Offer {
    /// What to tell from now on: nothing unless it `is_wanted`, else the latency that lasts, to within `slack_frames`.
    /// While nothing is measured, what was told last.
    pub(crate) fn look(
        &mut self,
        is_wanted: bool,
        measured_frames: Option<u32>,
        slack_frames: u32,
        now: Instant,
    ) -> u32 {
        if !is_wanted {
            *self = Self::default();
            return 0;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_is_told() {
        let (mut offer, start) = (Offer::default(), Instant::now());
        let mut look =
            |wanted, frames, seconds| offer.look(wanted, frames, 48, start + Duration::from_secs(seconds));
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
}
