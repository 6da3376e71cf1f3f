//! What comes back from the far end: checked, then laid down where it is due.

use audiocloud_rt::event;

use super::timeline::count;
use super::{Insert, copy, signed};

impl Insert {
    /// Takes in what has come for frames from `position` on.
    pub(super) fn receive(&mut self, position: i64) {
        let Some(ends) = self.ends.current() else { return };
        let pushed = self.status.position.get();
        // Counted, for the far end could go on pushing meanwhile.
        for _ in 0..ends.back.blocks_max() {
            let outputs = self.config.outputs;
            let (epoch, far, status) = (self.status.epoch, &mut self.far, &mut self.status);
            let (answered_at, answers_from) = (&mut self.answered_at, &mut self.answers_from);
            let popped = ends.back.try_pop(|header, samples| {
                if header.epoch != epoch {
                    return;
                }
                let (start, frames) = (header.start.get(), header.frame_count());
                let end = start.saturating_add(count(frames));
                if end > pushed || frames > far.timeline.capacity() || header.channels != outputs {
                    status.strange_frames += count(frames);
                    return;
                }
                *answered_at = Some(pushed);
                answers_from.get_or_insert(start);
                let due = u64::try_from(position).unwrap_or(0);
                let skipped = usize::try_from(due.saturating_sub(start)).unwrap_or(usize::MAX).min(frames);
                status.came_late_frames += count(skipped);
                if skipped < frames {
                    far.write(start + count(skipped), frames - skipped, |channel, offset, destination| {
                        let (one, two) = samples.channel(channel);
                        copy_two(one, two, skipped + offset, destination);
                    });
                }
            });
            if popped.is_none() {
                break;
            }
        }
    }

    pub(super) fn receive_notes(
        &mut self,
        position: i64,
        frames: usize,
        notes: &mut impl FnMut(u32, event::Body),
    ) {
        let Some(ends) = self.ends.current() else { return };
        let (pushed, end) = (self.status.position.get(), position + signed(count(frames)));
        while let Ok(event) = ends.back_events.peek().copied() {
            let time = event.time.get();
            let is_ours = event.epoch == self.status.epoch && time <= pushed;
            if is_ours && signed(time) >= end {
                break;
            }
            if ends.back_events.pop().is_err() {
                break;
            }
            if is_ours {
                // What is late is played at once: a note that is not ended would sound for ever.
                notes(u32::try_from((signed(time) - position).max(0)).unwrap_or(0), event.body);
            }
        }
    }
}

/// A channel's samples from `offset` on, which lie in two pieces; silence where there are none.
fn copy_two(one: &[f32], two: &[f32], offset: usize, destination: &mut [f32]) {
    let first = one.get(offset..).unwrap_or_default();
    let split = first.len().min(destination.len());
    let (begin, rest) = destination.split_at_mut(split);
    begin.copy_from_slice(&first[..split]);
    copy(Some(two), offset.saturating_sub(one.len()), rest);
}
