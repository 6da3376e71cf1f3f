//! A dip: a short fade to silence and back, at the bottom of which something may jump unheard.

use audiocloud_dsp::fade::{Curve, fill_in, fill_out};

use crate::effect::GRID_FRAMES;

/// Down and up again, from grid point to grid point, each as long.
#[derive(Clone, Debug)]
pub(crate) struct Dip {
    /// Of each half; whole grid cells.
    length: u32,
    /// Frames since it began; none at rest.
    frame: Option<u32>,
}

impl Dip {
    /// At rest; it will take about `ms` down, and as long up.
    pub(crate) fn new(ms: f64, rate_hz: f64) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few dozen cells")]
        let cells = libm::round(ms * rate_hz / 1000.0 / f64::from(GRID_FRAMES)).clamp(1.0, 1000.0) as u32;
        Self { length: cells * GRID_FRAMES, frame: None }
    }

    /// At a grid point where something wants to jump: whether now is the time. Begins a dip where there is none.
    pub(crate) fn may_jump(&mut self) -> bool {
        *self.frame.get_or_insert(0) == self.length
    }

    /// The gains of a block that crosses no grid point; goes on by as many frames.
    pub(crate) fn fill(&mut self, gains: &mut [f32]) {
        let Some(frame) = self.frame else { return gains.fill(1.0) };
        match frame.checked_sub(self.length) {
            None => fill_out(Curve::RaisedCosine, frame, self.length, gains),
            Some(rising) => fill_in(Curve::RaisedCosine, rising, self.length, gains),
        }
        let next = frame + u32::try_from(gains.len()).unwrap_or(0);
        self.frame = (next < 2 * self.length).then_some(next);
    }

    /// To rest.
    pub(crate) fn reset(&mut self) {
        self.frame = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jump_comes_in_silence_once() {
        let mut dip = Dip::new(10.0, 48_000.0);
        let (mut jumps, mut before, mut cells) = (0, 1.0, 0);
        loop {
            if jumps == 0 && dip.may_jump() {
                jumps += 1;
                assert_eq!((before < 1e-4, cells), (true, 8));
            }
            let mut gains = [9.0; GRID_FRAMES as usize];
            dip.fill(&mut gains[..40]);
            dip.fill(&mut gains[40..]);
            for gain in gains {
                assert!((gain - before).abs() < 0.004, "{before} to {gain}");
                before = gain;
            }
            cells += 1;
            if cells == 17 {
                break;
            }
        }
        assert_eq!((jumps, before), (1, 1.0));
    }
}
