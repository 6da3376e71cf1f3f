//! When frames have to be there, as the playouts of a stream tell it.

use audiocloud_rt::block_ring::Epoch;
use audiocloud_rt::due::Due;
use audiocloud_rt::snapshot;
use audiocloud_units::{Frames, HostTime, MediaTime, Nanos};

/// The length of a playout's callbacks is looked at anew after so many.
const CALLBACKS: u8 = 32;

/// What one playout tells, and how long its callbacks are.
#[derive(Debug)]
struct Playing {
    reader: snapshot::Reader<Option<Due>>,
    due: Option<Due>,
    /// The shortest way from one callback's first frame to the next one's; 0 before it is known.
    callback: i64,
    callback_next: i64,
    callbacks: u8,
}

impl Playing {
    fn refresh(&mut self) {
        let due = self.reader.read();
        if due == self.due {
            return;
        }
        if let (Some(before), Some(now)) = (self.due, due) {
            self.measure(&before, &now);
        }
        self.due = due;
    }

    /// Reading less often than the callback writes sees multiples of its length: the least is the length.
    fn measure(&mut self, before: &Due, now: &Due) {
        let step = (now.media - before.media).get();
        if before.epoch != now.epoch || step <= 0 {
            return;
        }
        self.callback_next = if self.callbacks == 0 { step } else { self.callback_next.min(step) };
        self.callback = if self.callback == 0 { step } else { self.callback.min(step) };
        self.callbacks += 1;
        if self.callbacks == CALLBACKS {
            (self.callback, self.callbacks) = (self.callback_next, 0);
        }
    }

    fn of(&self, epoch: u32) -> Option<&Due> {
        self.due.as_ref().filter(|due| due.epoch == Epoch(epoch))
    }

    /// When the callback begins that plays the frame, at the latest. A callback wants all of its frames at its beginning.
    fn callback_of(&self, due: &Due, frame: MediaTime) -> HostTime {
        let away = (frame - due.media).get();
        let into = if self.callback > 0 && away > 0 { away % self.callback } else { 0 };
        due.at(due.media + Frames::new(away - into))
    }
}

/// All playouts of one stream in this process.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    playing: Vec<Playing>,
}

impl Deadlines {
    pub(super) fn set(&mut self, readers: Vec<snapshot::Reader<Option<Due>>>) {
        let start = |reader| Playing { reader, due: None, callback: 0, callback_next: 0, callbacks: 0 };
        self.playing = readers.into_iter().map(start).collect();
        self.refresh();
    }

    /// Takes in what the playouts have told meanwhile.
    pub(super) fn refresh(&mut self) {
        for playing in &mut self.playing {
            playing.refresh();
        }
    }

    /// When the last of the playouts has played the frame, and would not wait longer for its like: until then it may still
    /// come. None before any of them plays.
    pub(super) fn last(&self, epoch: u32, frame: MediaTime) -> Option<HostTime> {
        let last = |one: &Playing| one.of(epoch).map(|due| due.at(frame) + due.patience);
        self.playing.iter().filter_map(last).max()
    }

    /// When the first of the playouts needs the frame.
    pub(super) fn first(&self, epoch: u32, frame: MediaTime) -> Option<HostTime> {
        self.playing.iter().filter_map(|one| Some(one.callback_of(one.of(epoch)?, frame))).min()
    }

    /// From a frame's arrival until it is due, where that is shortest.
    pub(super) fn hold(&self, epoch: u32) -> Option<Nanos> {
        self.playing.iter().filter_map(|one| Some(one.of(epoch)?.hold)).min()
    }

    /// How much longer than that one of them would rather make it than miss a frame.
    pub(super) fn patience(&self, epoch: u32) -> Nanos {
        self.playing.iter().filter_map(|one| Some(one.of(epoch)?.patience)).max().unwrap_or_default()
    }

    /// The smallest link offset that those can keep who play the stream at the session's time; none where nobody does.
    pub(super) fn needs(&self, epoch: u32) -> Option<Nanos> {
        self.playing.iter().filter_map(|one| one.of(epoch)?.needs).max()
    }

    /// From the arrival of a frame until it leaves, where that takes longest.
    pub(super) fn heard(&self, epoch: u32) -> Option<Nanos> {
        self.playing.iter().filter_map(|one| Some(one.of(epoch)?.latency)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_units::SampleRate;

    fn due(media: u64, at_us: i64, hold_us: i64) -> Due {
        Due {
            epoch: Epoch(1),
            media: MediaTime::new(media),
            at: HostTime::new(at_us * 1000),
            sample_rate: SampleRate::new(48_000).unwrap(),
            hold: Nanos::from_micros(hold_us),
            patience: Nanos::new(0),
            latency: Nanos::from_micros(hold_us + 1000),
            needs: None,
        }
    }

    #[test]
    fn a_frame_is_needed_when_its_callback_begins() {
        let (mut writer, reader) = snapshot::snapshot(None);
        let mut deadlines = Deadlines::default();
        deadlines.set(vec![reader]);
        assert_eq!(deadlines.last(1, MediaTime::new(0)), None, "nothing plays yet");
        for callback in 0..40_u64 {
            let at_us = i64::try_from(callback).unwrap() * 1000;
            writer.write(Some(due(callback * 48, at_us, 700)));
            // Now and then two callbacks go by unseen.
            if callback % 3 != 1 {
                deadlines.refresh();
            }
        }
        let at = |frame| deadlines.first(1, MediaTime::new(frame)).unwrap().get() / 1000;
        assert_eq!(at(39 * 48 + 47), 39_000);
        assert_eq!(at(40 * 48), 40_000);
        assert_eq!(deadlines.last(1, MediaTime::new(39 * 48 + 24)).unwrap().get() / 1000, 39_500);
        assert_eq!(deadlines.last(2, MediaTime::new(0)), None, "another epoch");
    }

    #[test]
    fn of_two_playouts_the_first_needs_and_the_last_still_takes() {
        let (_one, first) = snapshot::snapshot(Some(due(0, 1000, 300)));
        let (_two, second) = snapshot::snapshot(Some(due(0, 9000, 8300)));
        let mut deadlines = Deadlines::default();
        deadlines.set(vec![first, second]);
        let frame = MediaTime::new(48);
        assert_eq!(deadlines.first(1, frame), Some(HostTime::new(2_000_000)));
        assert_eq!(deadlines.last(1, frame), Some(HostTime::new(10_000_000)));
        assert_eq!(deadlines.hold(1), Some(Nanos::from_micros(300)));
        assert_eq!(deadlines.heard(1), Some(Nanos::from_micros(9300)));
    }
}
