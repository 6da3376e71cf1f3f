//! How long after it was recorded a frame is to leave everywhere: the smallest that all who play the stream at the session's
//! time can keep.

use audiocloud_units::{HostTime, Nanos};

/// So much more than the slowest receiver needs, at least; and in whole ones of these.
const ROOM: Nanos = Nanos::from_millis(1);
/// What would do with that much less, for that long, becomes shorter: each change is a cut in what everybody hears.
const WORTH: Nanos = Nanos::from_millis(2);
const PATIENCE: Nanos = Nanos::from_secs(20);
/// Nobody is waited for longer than this: who needs more hears gaps, and says so.
const MOST: Nanos = Nanos::from_millis(500);

/// What is asked of all.
#[derive(Debug, Default)]
pub(super) struct LinkOffset {
    offset: Option<Nanos>,
    /// Since when less would do, and how much would have done at most since then.
    less: Option<(HostTime, Nanos)>,
}

impl LinkOffset {
    /// What is asked of all; nothing while nobody plays so.
    pub(super) fn get(&self) -> Option<Nanos> {
        self.offset
    }

    /// What those need who play so: more of it is given at once, less after a while.
    pub(super) fn update(&mut self, needs: impl Iterator<Item = Nanos>, now: HostTime) {
        let wanted = needs.max().map(|most| with_room(most).min(MOST));
        match (self.offset, wanted) {
            (Some(offset), Some(wanted)) if wanted + WORTH <= offset => self.wait(offset, wanted, now),
            (Some(offset), Some(wanted)) if wanted <= offset => self.less = None,
            _ => *self = Self { offset: wanted, less: None },
        }
    }

    fn wait(&mut self, offset: Nanos, wanted: Nanos, now: HostTime) {
        let (since, most) = self.less.map_or((now, wanted), |(since, most)| (since, most.max(wanted)));
        self.less = Some((since, most));
        if now - since >= PATIENCE {
            *self = Self { offset: Some(most.min(offset)), less: None };
        }
    }
}

fn with_room(needs: Nanos) -> Nanos {
    let rooms = (needs.get().max(0) + ROOM.get() - 1) / ROOM.get() + 1;
    Nanos::new(rooms * ROOM.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: i64) -> Nanos {
        Nanos::from_millis(millis)
    }

    #[test]
    fn more_at_once_and_less_after_a_while() {
        let mut offset = LinkOffset::default();
        let mut check = |second: i64, needs: &[i64], expected: Option<i64>| {
            offset.update(needs.iter().map(|needs| ms(*needs)), HostTime::new(0) + Nanos::from_secs(second));
            assert_eq!(offset.get(), expected.map(ms), "at {second} s");
        };
        check(0, &[], None);
        check(1, &[7], Some(8));
        check(2, &[7, 12], Some(13));
        // One millisecond is not worth a cut.
        check(3, &[11], Some(13));
        check(40, &[11], Some(13));
        check(41, &[6], Some(13));
        check(50, &[8], Some(13));
        check(60, &[5], Some(13));
        check(61, &[5], Some(9));
        check(62, &[5], Some(9));
        check(63, &[60_000], Some(500));
        check(64, &[], None);
    }

    #[test]
    fn there_is_always_room() {
        for micros in [0, 1, 999, 1_000, 1_001, 5_500] {
            let room = with_room(Nanos::from_micros(micros)) - Nanos::from_micros(micros);
            assert!((ms(1)..=ms(2)).contains(&room), "{micros}: {room:?}");
        }
    }
}
