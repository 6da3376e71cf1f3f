//! Where to cut so that nobody hears it: the read position moves to where the sound is most like it was.
//!
//! As in W. Verhelst and M. Roelands, *An overlap-add technique based on waveform similarity (WSOLA) for high quality
//! time-scale modification of speech*, Proc. ICASSP 1993: the stretch that was played last is compared with those before
//! other places, by cross-correlation normalised by their energies, and one is faded over into the other.

use super::buffer::{Buffer, count};

/// Frames compared, and places tried at first: at every fourth frame of both.
const STEP: usize = 4;
const COMPARED_MAX: usize = 512;
const SHIFT_MAX: usize = 1_024;
/// A mean square below this is silence: −80 dB.
const SILENCE: f32 = 1e-8;

/// A place to go on at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Splice {
    /// Frames to skip (positive) or to repeat (negative).
    pub(super) shift: i64,
    /// From −1 to 1; 1 also in silence.
    pub(super) likeness: f32,
}

/// Room for the search.
#[derive(Debug)]
pub(super) struct Search {
    /// What was played, and what surrounds it, mixed down and thinned.
    here: Box<[f32]>,
    there: Box<[f32]>,
}

impl Search {
    pub(super) fn new() -> Self {
        let here = vec![0.0; COMPARED_MAX / STEP].into_boxed_slice();
        Self { here, there: vec![0.0; (COMPARED_MAX + SHIFT_MAX) / STEP + 1].into_boxed_slice() }
    }

    /// The best of the shifts from `least` to `most` (of one sign, in frames) at `position`: the `length` frames before it
    /// are compared with those before the places to go on at. Bounded: at most about 33,000 products. `None` when not
    /// everything is there.
    pub(super) fn find(
        &mut self,
        buffer: &Buffer,
        position: u64,
        (least, most): (i64, i64),
        length: usize,
        (full, channels): (u64, usize),
    ) -> Option<Splice> {
        let length = length.min(COMPARED_MAX) / STEP * STEP;
        let position = position.checked_sub(count(length))?;
        let (low, high) = (least.min(most), least.max(most));
        let span = usize::try_from(high - low).ok()?.min(SHIFT_MAX) / STEP * STEP;
        // What is nearest to no shift at all stays within the span.
        let low = if most > 0 { low } else { high - i64::try_from(span).ok()? };
        let first = position.checked_add_signed(low)?;
        let reach = span + length;
        if buffer.run(position, length, full) < length || buffer.run(first, reach, full) < reach {
            return None;
        }
        thin(buffer, position, channels, &mut self.here[..length / STEP]);
        thin(buffer, first, channels, &mut self.there[..reach / STEP]);
        let here = &self.here[..length / STEP];
        let energy = square(here);
        let places = span / STEP + 1;
        let mean = (energy + square(&self.there[..reach / STEP])) / (reach / STEP + here.len()) as f32;
        if mean < SILENCE {
            return Some(Splice { shift: most, likeness: 1.0 });
        }
        let likeness = |place: usize| {
            let there = &self.there[place..place + here.len()];
            let product: f32 = here.iter().zip(there).map(|(a, b)| a * b).sum();
            product / (energy * square(there)).sqrt().max(1e-12)
        };
        let best = (0..places).map(|place| (place, likeness(place))).max_by(|a, b| a.1.total_cmp(&b.1))?;
        let coarse = low + i64::try_from(best.0 * STEP).ok()?;
        self.refine(buffer, position, coarse, (low, low + i64::try_from(span).ok()?), length, channels)
    }

    /// To the frame, around the best place of the thinned search.
    fn refine(
        &mut self,
        buffer: &Buffer,
        position: u64,
        coarse: i64,
        (low, high): (i64, i64),
        length: usize,
        channels: usize,
    ) -> Option<Splice> {
        let step = i64::try_from(STEP).ok()?;
        let mut best: Option<Splice> = None;
        for shift in (coarse - step + 1).max(low)..=(coarse + step - 1).min(high) {
            let there = position.checked_add_signed(shift)?;
            let (mut product, mut a_energy, mut b_energy) = (0.0_f32, 0.0_f32, 0.0_f32);
            for frame in 0..count(length) {
                // Every other one is enough, and of at most two channels.
                if frame % 2 == 1 {
                    continue;
                }
                for channel in 0..channels.min(2) {
                    let (a, b) =
                        (buffer.sample(channel, position + frame), buffer.sample(channel, there + frame));
                    product += a * b;
                    a_energy += a * a;
                    b_energy += b * b;
                }
            }
            let likeness = product / (a_energy * b_energy).sqrt().max(1e-12);
            if best.is_none_or(|best| likeness > best.likeness) {
                best = Some(Splice { shift, likeness });
            }
        }
        best
    }
}

/// Of the first two channels: unlike, for what is the other way round in one than in the other is no silence.
const WEIGHTS: [f32; 2] = [0.7, 0.3];

/// The mean of up to two channels and of [`STEP`] frames each.
fn thin(buffer: &Buffer, position: u64, channels: usize, out: &mut [f32]) {
    for (index, out) in out.iter_mut().enumerate() {
        let mut sum = 0.0;
        for (channel, weight) in WEIGHTS.into_iter().enumerate().take(channels) {
            for frame in 0..STEP {
                sum += weight * buffer.sample(channel, position + count(index * STEP + frame));
            }
        }
        *out = sum / STEP as f32;
    }
}

fn square(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum()
}
