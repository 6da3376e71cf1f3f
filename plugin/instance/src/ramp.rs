//! A gain that glides to its target in a straight line, and rests at exactly the target.

/// How long a change takes, ms.
const GLIDE_MS: u32 = 20;

/// One gliding gain. *Realtime-safe: yes*, all of it.
#[derive(Clone, Copy, Debug)]
pub struct Ramp {
    current: f32,
    target: f32,
    step: f32,
    frames_left: u32,
    glide: u32,
}

impl Ramp {
    /// At rest at `value`.
    pub fn new(value: f32, sample_rate_hz: u32) -> Self {
        let glide = (sample_rate_hz / 1_000 * GLIDE_MS).max(1);
        Self { current: value, target: value, step: 0.0, frames_left: 0, glide }
    }

    /// Begins to glide to `target`, unless it is the target already.
    pub fn glide_to(&mut self, target: f32) {
        if target != self.target {
            self.target = target;
            self.frames_left = self.glide;
            #[allow(clippy::cast_precision_loss, reason = "a glide is a few thousand frames, far below 2^24")]
            let frames = self.glide as f32;
            self.step = (target - self.current) / frames;
        }
    }

    /// At rest at `target` at once.
    pub fn jump_to(&mut self, target: f32) {
        (self.current, self.target, self.frames_left) = (target, target, 0);
    }

    /// The value it rests at; `None` while it glides.
    pub fn resting(&self) -> Option<f32> {
        (self.frames_left == 0).then_some(self.target)
    }

    /// The next frame's gain.
    pub fn advance(&mut self) -> f32 {
        match self.frames_left {
            0 => {}
            // The steps do not add up exactly: end on the target itself.
            1 => (self.current, self.frames_left) = (self.target, 0),
            _ => {
                self.current += self.step;
                self.frames_left -= 1;
            }
        }
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glides_and_rests_exactly() {
        let mut ramp = Ramp::new(0.1, 48_000);
        ramp.glide_to(1.0);
        assert_eq!(ramp.resting(), None);
        let mut last = 0.1;
        for _ in 0..960 {
            let next = ramp.advance();
            assert!(next - last < 0.002 && next >= last);
            last = next;
        }
        assert_eq!((last, ramp.resting()), (1.0, Some(1.0)));
        assert_eq!(ramp.advance(), 1.0);
        ramp.jump_to(0.0);
        assert_eq!((ramp.resting(), ramp.advance()), (Some(0.0), 0.0));
    }
}
