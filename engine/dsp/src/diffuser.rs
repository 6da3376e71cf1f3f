//! Diffusers: all-passes with long delays, which smear a sound in time and leave its spectrum.
//!
//! Manfred R. Schroeder, *Natural Sounding Artificial Reverberation*, J. Audio Eng. Soc. 10(3), 1962.

use crate::delay::Ring;

/// The longest block, and the shortest delay: what comes back within a block would have to be in it already.
pub const BLOCK_MAX: usize = 64;

/// One all-pass, `y[n] = v[n−d] − g·v[n]` with `v[n] = x[n] + g·v[n−d]`.
#[derive(Clone, Debug)]
pub struct Diffuser {
    ring: Ring,
    delay_frames: usize,
    delay_frames_max: usize,
}

impl Diffuser {
    /// At rest, with the shortest delay, for delays of up to `delay_frames_max`.
    ///
    /// *Realtime-safe: no*, it allocates.
    #[must_use]
    pub fn new(delay_frames_max: usize) -> Self {
        let delay_frames_max = delay_frames_max.max(BLOCK_MAX);
        Self { ring: Ring::new(delay_frames_max), delay_frames: BLOCK_MAX, delay_frames_max }
    }

    /// The delay, held between [`BLOCK_MAX`] and the longest. What is on its way jumps.
    ///
    /// *Realtime-safe: yes*.
    pub fn set_delay_frames(&mut self, frames: usize) {
        self.delay_frames = frames.clamp(BLOCK_MAX, self.delay_frames_max);
    }

    /// Diffuses `samples` in place, at most [`BLOCK_MAX`]; what is more stays as it is. `gain` is from −1 to 1,
    /// exclusively; what comes out of the delay is multiplied by `gates`, one for each sample, which are 1 unless the
    /// delay is about to jump.
    ///
    /// *Realtime-safe: yes*.
    pub fn process(&mut self, samples: &mut [f32], gain: f32, gates: &[f32]) {
        let mut late = [0.0; BLOCK_MAX];
        let frames = samples.len().min(BLOCK_MAX);
        let (samples, late) = (&mut samples[..frames], &mut late[..frames]);
        self.ring.read_back(self.delay_frames, late);
        for ((sample, late), gate) in samples.iter_mut().zip(&mut *late).zip(gates) {
            let delayed = *late * gate;
            let fed = *sample + gain * delayed;
            *sample = delayed - gain * fed;
            *late = fed;
        }
        self.ring.write(late);
    }

    /// Forgets every sample.
    ///
    /// *Realtime-safe: yes*, in a time proportional to the longest delay.
    pub fn reset(&mut self) {
        self.ring.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATES: [f32; BLOCK_MAX] = [1.0; BLOCK_MAX];

    fn played(delay_frames: usize, gain: f32, mut samples: Vec<f32>, block: usize) -> Vec<f32> {
        let mut diffuser = Diffuser::new(500);
        diffuser.set_delay_frames(delay_frames);
        for block in samples.chunks_mut(block) {
            diffuser.process(block, gain, &GATES);
        }
        samples
    }

    fn impulse(frames: usize) -> Vec<f32> {
        let mut samples = vec![0.0; frames];
        samples[0] = 1.0;
        samples
    }

    #[test]
    fn an_impulse_becomes_the_series_of_an_all_pass() {
        let response = played(100, 0.6, impulse(1_000), 64);
        for (n, found) in response.iter().enumerate() {
            let expected = match n {
                0 => -0.6,
                n if n % 100 == 0 => 0.64 * 0.6_f32.powi(i32::try_from(n / 100).unwrap() - 1),
                _ => 0.0,
            };
            assert!((found - expected).abs() < 1e-6, "frame {n}: {found} for {expected}");
        }
    }

    #[test]
    fn energy_is_kept() {
        let energy: f64 = played(77, 0.7, impulse(20_000), 64).iter().map(|x| f64::from(*x).powi(2)).sum();
        assert!((energy - 1.0).abs() < 1e-5, "{energy}");
    }

    #[test]
    fn no_cut_changes_a_bit_and_a_delay_out_of_range_is_held() {
        let whole = played(64, 0.5, impulse(1_000), 64);
        for block in [1, 7, 63] {
            assert_eq!(played(0, 0.5, impulse(1_000), block), whole);
        }
        assert_eq!(played(9_999, 0.5, impulse(2_000), 64), played(500, 0.5, impulse(2_000), 64));
    }
}
