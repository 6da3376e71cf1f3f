//! The receiver's playout: blocks from a ring, however they come, played a short while after they were due.
//!
//! Frames are kept by their media time. The first block of an epoch anchors the read position; from then on it moves
//! with our own callbacks, so that a block's fate depends on when it is due, never on the order of arrival. Where a frame
//! is there, it is put out bit for bit, as long as both ends share a sample clock; where they do not, the stream is
//! resampled. Where a frame is not there, what the sound was about to do takes its place. The read position is moved,
//! counted and with its cause, so that frames wait no longer than the network makes necessary; when the stream leaps;
//! or when the user asks for another delay.

mod anchor;
mod buffer;
mod callbacks;
mod delay;
mod drift;
mod histogram;
mod need;
mod notes;
mod reach;
mod render;
mod settings;
mod splice;
mod stamps;
mod status;
mod steps;
mod stream;

use audiocloud_rt::block_ring;
use audiocloud_rt::callback::Callback;
use audiocloud_rt::due::Due;
use audiocloud_rt::event::{self, Body};
use audiocloud_rt::{log, snapshot};
use audiocloud_units::{Frames, HostTime, Nanos, SampleRate, SessionLine};

pub use settings::{Clock, LinkOffset, Mode, Settings};
pub use status::{Alignment, Cause, Latency, State, Status};

use crate::meter::Meter;
use stream::Stream;

/// What the playout has to fit; a change means a new [`Playout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// This device's nominal rate.
    pub sample_rate: SampleRate,
    /// The stream's rate, as far as it is known. Streams of our rate or a lower one are played in any case, of higher
    /// ones only those of this rate: others are silence, and said in [`State::RateMismatch`].
    pub stream_rate: Option<SampleRate>,
    /// Output channels, at most 64; of a stream that has more, the first ones are played.
    pub channels: u16,
    /// The longest block that the host announced, in frames; longer ones are played all the same.
    pub max_block: u32,
    /// What to begin with.
    pub settings: Settings,
    /// The longest delay that [`Playout::set`] may ask for, in frames of this device.
    pub delay_max: Frames,
}

/// Events that one callback takes from the ring.
const EVENTS_PER_CALLBACK: usize = 256;

/// Plays a stream. Owned by the audio thread.
#[derive(Debug)]
pub struct Playout {
    blocks: block_ring::Consumer,
    events: event::Consumer,
    stream: Stream,
    notes: notes::Notes,
    meter: Meter,
    /// When the last callback began, and how long its block was.
    last_callback: Option<(HostTime, Nanos)>,
    /// Frames for which the first event in the ring has waited for its epoch.
    event_waited: i64,
    writer: snapshot::Writer<Status>,
    due: snapshot::Writer<Option<Due>>,
}

impl Playout {
    /// A playout for one subscription's rings.
    ///
    /// *Realtime-safe: no* (allocates); nor is dropping it.
    #[must_use]
    pub fn new(config: Config, blocks: block_ring::Consumer, events: event::Consumer) -> Self {
        let (writer, _reader) = snapshot::snapshot(Status::new());
        let (due, _reader) = snapshot::snapshot(None);
        Self {
            blocks,
            events,
            stream: Stream::new(config),
            notes: notes::Notes::new(),
            meter: Meter::new(config.sample_rate),
            last_callback: None,
            event_waited: 0,
            writer,
            due,
        }
    }

    /// Also writes what happens into a log. For the time before the first callback.
    ///
    /// *Realtime-safe: no*.
    #[must_use]
    pub fn with_log(mut self, log: log::Producer) -> Self {
        self.stream.set_log(log);
        self
    }

    /// Other settings, from the next callback on: a delay is changed by a cross-fade, counted, held between 0 and
    /// [`Config::delay_max`].
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn set(&mut self, settings: Settings) {
        self.stream.set(settings);
    }

    /// The session's time on this machine, as it is known now: for [`Mode::Aligned`], before each callback.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn set_session_line(&mut self, line: Option<SessionLine>) {
        self.stream.set_line(line);
    }

    /// Fills `output`, one slice per channel, and hands each event to `on_event` with its offset in the block, offsets
    /// never falling. Every sample is written.
    ///
    /// *Realtime-safe: yes*, audio thread, as far as `on_event` is. At most about 1,500 events are emitted.
    pub fn process<C: AsMut<[f32]>>(
        &mut self,
        callback: &Callback<'_>,
        output: &mut [C],
        mut on_event: impl FnMut(u32, Body),
    ) {
        let frames = output.iter_mut().map(|channel| channel.as_mut().len()).min().unwrap_or(0);
        for channel in output.iter_mut() {
            // Channels of one block are equally long; should one be longer, its rest is silent.
            channel.as_mut()[frames..].fill(0.0);
        }
        self.notice_a_stall(callback.entered_at(), frames);
        self.stream.begin(callback.entered_at(), frames);
        self.take_blocks();
        self.stream.settle(frames);
        self.due.write(self.stream.due());
        self.let_go(&mut on_event);
        self.take_events(frames, &mut on_event);
        self.play_events(frames, &mut on_event);
        self.stream.render(frames, output);
        self.meter.fall(frames);
        for (channel, samples) in output.iter_mut().enumerate() {
            self.meter.rise(channel, samples.as_mut());
        }
        self.publish();
    }

    /// Lets go every note and forgets the stream: what comes next is anchored anew. Call when the plug-in is
    /// deactivated or bypassed, or the stream is changed.
    ///
    /// *Realtime-safe: yes*, audio thread, as far as `on_event` is.
    pub fn stop(&mut self, _callback: &Callback<'_>, mut on_event: impl FnMut(u32, Body)) {
        self.release_notes(&mut on_event);
        self.notes.forget_all();
        self.stream.forget();
        self.last_callback = None;
        self.publish();
    }

    /// Where others read the status, updated at every callback.
    ///
    /// *Realtime-safe: yes*, any thread that may borrow the playout.
    #[must_use]
    pub fn status(&self) -> snapshot::Reader<Status> {
        self.writer.reader()
    }

    /// Where the decoder reads when frames are due, updated at every callback.
    ///
    /// *Realtime-safe: yes*, any thread that may borrow the playout.
    #[must_use]
    pub fn due(&self) -> snapshot::Reader<Option<Due>> {
        self.due.reader()
    }

    /// After a pause of the callbacks the rings hold an old piece of the stream: begin anew.
    fn notice_a_stall(&mut self, now: HostTime, frames: usize) {
        if let Some((last, length)) = self.last_callback
            && now - last > length + Nanos::from_millis(200)
        {
            self.stream.begin_anew(Cause::ReceiverStalled, now);
        }
        self.last_callback = Some((now, self.stream.duration(frames)));
    }

    /// Takes what is in the ring now; what comes meanwhile is the next callback's.
    fn take_blocks(&mut self) {
        for _ in 0..self.blocks.blocks() {
            let stream = &mut self.stream;
            if self.blocks.try_pop(|header, samples| stream.take(header, &samples)).is_none() {
                break;
            }
        }
        self.stream.status.abandoned = self.blocks.is_abandoned();
    }

    /// Lets go what sounds when the stream failed it: a new epoch, a leap, or 50 ms of nothing.
    fn let_go(&mut self, on_event: &mut impl FnMut(u32, Body)) {
        let wish = self.stream.take_release();
        if wish.forget {
            // They belong to an epoch that is over.
            self.stream.status.events_lost += buffer::count(self.notes.forget_all());
        }
        if wish.release {
            self.release_notes(on_event);
        }
    }

    fn release_notes(&mut self, on_event: &mut impl FnMut(u32, Body)) {
        let released = self.notes.release(0, on_event);
        if released > 0 {
            self.stream.status.notes_released += released;
            self.stream.note(log::What::NotesReleased, released, 0);
        }
    }

    /// Moves events from the ring to their place in time. Late ones are played now if they end something.
    fn take_events(&mut self, frames: usize, on_event: &mut impl FnMut(u32, Body)) {
        let stream = &mut self.stream;
        for _ in 0..EVENTS_PER_CALLBACK {
            let Ok(event) = self.events.peek().copied() else {
                self.event_waited = 0;
                return;
            };
            let is_ours = stream.epoch() == Some(event.epoch);
            if is_ours {
                self.event_waited = 0;
            }
            if !is_ours {
                if !stream.is_past(event.epoch) {
                    // Its audio comes through another ring and may be a moment behind. Not for ever, though.
                    if stream.duration_of(self.event_waited) < Nanos::from_secs(1) {
                        self.event_waited += i64::try_from(frames).unwrap_or(0);
                        return;
                    }
                }
                stream.status.events_lost += 1;
            } else if stream.offset(event.time).is_some_and(|offset| offset < 0) {
                if notes::Notes::is_ending(&event.body) {
                    play(stream, &mut self.notes, 0, event.body, on_event);
                } else {
                    stream.status.events_late += 1;
                }
            } else if !self.notes.keep(event) {
                stream.status.events_dropped += 1;
                if notes::Notes::is_ending(&event.body) {
                    stream.status.notes_released += self.notes.release(0, on_event);
                    stream.status.events_dropped += buffer::count(self.notes.forget_all());
                }
            }
            let popped = self.events.pop();
            debug_assert!(popped.is_ok(), "an event was peeked");
        }
    }

    /// Plays the events that are due in this block. Those that a moved read position passed over come first.
    fn play_events(&mut self, frames: usize, on_event: &mut impl FnMut(u32, Body)) {
        let stream = &mut self.stream;
        let end = i64::try_from(frames).unwrap_or(i64::MAX);
        let mut played = 0;
        while let Some(event) =
            self.notes.next(played, |event| stream.offset(event.time).is_none_or(|offset| offset < end))
        {
            played += 1;
            let offset = stream.offset(event.time).unwrap_or(i64::MIN);
            let passed_over = stream.duration_of(-offset.max(-i64::MAX)) > Nanos::from_millis(20);
            if passed_over && !notes::Notes::is_ending(&event.body) {
                stream.status.events_late += 1;
            } else {
                let offset = u32::try_from(offset.max(0)).unwrap_or(0);
                play(stream, &mut self.notes, offset, event.body, on_event);
            }
        }
        self.notes.forget(played);
    }

    fn publish(&mut self) {
        self.stream.status.peaks = self.meter.peaks();
        self.writer.write(self.stream.status);
    }
}

fn play(
    stream: &mut Stream,
    notes: &mut notes::Notes,
    offset: u32,
    body: Body,
    on_event: &mut impl FnMut(u32, Body),
) {
    match notes.play(offset, body, on_event) {
        notes::Outcome::Played => stream.status.events_played += 1,
        notes::Outcome::Dropped => stream.status.events_dropped += 1,
        notes::Outcome::Lost { count, released } => {
            stream.status.events_lost += u64::from(count);
            stream.status.notes_released += released;
        }
    }
}

#[cfg(test)]
mod tests;
