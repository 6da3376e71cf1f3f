//! After how long a receiver can have what was recorded.

use audiocloud_units::Nanos;

/// Seconds that are looked back over.
const BUCKETS: usize = 20;
const SECOND: Nanos = Nanos::from_secs(1);
/// What comes this much later than in all other seconds is an outage: it is concealed, and nobody waits for its like.
const OUTAGE: Nanos = Nanos::from_millis(5);

/// How late blocks came, on the session's clock: from when their first frame was recorded until they arrived.
#[derive(Debug, Default)]
pub(super) struct Reach {
    latest: [Option<Nanos>; BUCKETS],
    elapsed: Nanos,
}

impl Reach {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A block came by itself, so long after its first frame was recorded; with the time that bringing back a lost one would
    /// have taken longer.
    pub(super) fn observe(&mut self, late: Nanos) {
        self.latest[0] = Some(self.latest[0].map_or(late, |before| before.max(late)));
    }

    pub(super) fn advance(&mut self, span: Nanos) {
        self.elapsed += span;
        if self.elapsed >= SECOND {
            self.elapsed = Nanos::ZERO;
            self.latest.rotate_right(1);
            self.latest[0] = None;
        }
    }

    /// The latest of all but one outage.
    pub(super) fn latest(&self) -> Option<Nanos> {
        let mut most: [Option<Nanos>; 2] = [None; 2];
        for late in self.latest.into_iter().flatten() {
            if most[0].is_none_or(|first| late > first) {
                most = [Some(late), most[0]];
            } else if most[1].is_none_or(|second| late > second) {
                most[1] = Some(late);
            }
        }
        let [first, second] = most;
        second.filter(|second| first.is_some_and(|first| first - *second > OUTAGE)).or(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(millis: &[i64]) -> Reach {
        let mut reach = Reach::default();
        for late in millis {
            reach.observe(Nanos::from_millis(late - 1));
            reach.observe(Nanos::from_millis(*late));
            reach.advance(SECOND);
        }
        reach
    }

    #[test]
    fn the_latest_of_twenty_seconds_counts_but_for_one_outage() {
        let check = |millis: &[i64], expected: Option<i64>| {
            assert_eq!(reach(millis).latest(), expected.map(Nanos::from_millis), "{millis:?}");
        };
        check(&[], None);
        check(&[7], Some(7));
        check(&[7, 9, 8], Some(9));
        check(&[7, 300, 8], Some(8));
        check(&[7, 300, 8, 290], Some(290));
        check(&[&[50, 49][..], &[7; 19]].concat(), Some(7));
        check(&[&[50, 49][..], &[7; 17]].concat(), Some(50));
        check(&[&[50, 49][..], &[7; 18]].concat(), Some(7));
        check(&[&[50, 49][..], &[7; 20]].concat(), Some(7));
    }
}
