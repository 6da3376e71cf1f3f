//! The Receive's side: it writes down what it plays, dips when asked to, and fades out of a loop.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use audiocloud_engine::dsp::ramp::{Curve, Ramp};

use super::{Emphasis, Lengths, Meeting, slot};

/// One Receive at the meeting place of its stream.
#[derive(Debug)]
pub struct Player {
    meeting: Arc<Meeting>,
    index: usize,
    lengths: Lengths,
    emphasis: Emphasis,
    /// The dip under way: the frame at which it began.
    dip: Option<u64>,
    /// Frames until the next dip that was asked for.
    wait: Option<u32>,
    /// Random enough that no music foresees it.
    seed: u32,
    fade: Ramp,
}

impl Player {
    /// Takes a place; `None` when too many Receives of the stream are here already. *Realtime-safe: no.*
    pub fn new(meeting: Arc<Meeting>, sample_rate_hz: u32) -> Option<Self> {
        let free = |mark: &super::Mark| {
            mark.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let index = meeting.marks.iter().position(free)?;
        let mark = &meeting.marks[index];
        mark.looped.store(false, Ordering::Relaxed);
        // What the last one here was asked for and did not do is no longer wanted.
        mark.dips_begun.store(mark.dips_wanted.load(Ordering::Relaxed), Ordering::Relaxed);
        let seed = u32::from_le_bytes(crate::time::random());
        let (lengths, fade) = (Lengths::at(sample_rate_hz), Ramp::constant(1.0));
        Some(Self {
            meeting,
            index,
            lengths,
            emphasis: Emphasis::default(),
            dip: None,
            wait: None,
            seed,
            fade,
        })
    }

    /// Whether this Receive was found to play into the Send. *Realtime-safe: yes.*
    pub fn is_looped(&self) -> bool {
        self.meeting.marks[self.index].looped.load(Ordering::Relaxed)
    }

    /// A look at the same from elsewhere.
    pub fn watch(&self) -> Watch {
        Watch { meeting: self.meeting.clone(), index: self.index }
    }

    /// Goes over one block of the stream before it is played. Leaves it alone, bit for bit, but for dips and loops.
    ///
    /// *Realtime-safe: yes.*
    pub fn play<C: AsRef<[f32]> + AsMut<[f32]>>(&mut self, stream: &mut [C]) {
        let frames = stream.first().map_or(0, |channel| channel.as_ref().len());
        if self.is_looped() && self.fade.target() != 0.0 {
            self.fade.glide(0.0, self.lengths.fade, Curve::Linear);
        }
        let mark = &self.meeting.marks[self.index];
        let begin = mark.written.load(Ordering::Relaxed);
        for (frame, index) in (begin..).zip(0..frames) {
            let emphasised = self.emphasis.next(stream, index);
            mark.ring[slot(frame)].store(emphasised.to_bits(), Ordering::Relaxed);
        }
        mark.written.store(begin + frames as u64, Ordering::Release);
        if self.fade.target() != 1.0 {
            for index in 0..frames {
                let gain = self.fade.value();
                self.fade.advance(1);
                stream.iter_mut().for_each(|channel| channel.as_mut()[index] *= gain);
            }
        }
        self.dip(stream, begin, frames);
    }

    fn dip<C: AsMut<[f32]>>(&mut self, stream: &mut [C], begin: u64, frames: usize) {
        let mark = &self.meeting.marks[self.index];
        if self.dip.is_none()
            && mark.dips_wanted.load(Ordering::Acquire) != mark.dips_begun.load(Ordering::Relaxed)
        {
            let wait = match self.wait {
                Some(left) => left.saturating_sub(u32::try_from(frames).unwrap_or(u32::MAX)),
                None => {
                    self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (self.seed >> 16) % self.lengths.window
                }
            };
            self.wait = Some(wait);
            if wait > 0 {
                return;
            }
            self.wait = None;
            self.dip = Some(begin);
            mark.dip_start.store(begin, Ordering::Relaxed);
            mark.dips_begun.store(mark.dips_wanted.load(Ordering::Relaxed), Ordering::Release);
        }
        let Some(start) = self.dip else { return };
        for (frame, index) in (begin..).zip(0..frames) {
            let gain = gain(frame - start, self.lengths);
            stream.iter_mut().for_each(|channel| channel.as_mut()[index] *= gain);
        }
        if begin + frames as u64 >= start + u64::from(self.lengths.dip()) {
            self.dip = None;
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.meeting.marks[self.index].taken.store(false, Ordering::Release);
    }
}

/// Says whether a Receive is in a loop, from off its audio thread.
#[derive(Debug)]
pub struct Watch {
    meeting: Arc<Meeting>,
    index: usize,
}

impl Watch {
    pub fn is_looped(&self) -> bool {
        self.meeting.marks[self.index].looped.load(Ordering::Relaxed)
    }
}

/// The dip's shape: straight edges around silence.
fn gain(since: u64, lengths: Lengths) -> f32 {
    let since = u32::try_from(since).unwrap_or(u32::MAX);
    let line = |frames: u32| {
        #[allow(clippy::cast_precision_loss, reason = "an edge is a few hundred frames")]
        let part = frames as f32 / lengths.edge as f32;
        part
    };
    match since {
        _ if since < lengths.edge => 1.0 - line(since),
        _ if since < lengths.edge + lengths.hold => 0.0,
        _ if since < lengths.dip() => line(since - lengths.edge - lengths.hold),
        _ => 1.0,
    }
}
