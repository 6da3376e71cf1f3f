//! Sound that stops and comes back without a click.

/// Frames of either fade.
const FADE: u8 = 64;

/// One channel: plays what comes; where nothing comes, lets the last sample sink to silence; and fades in what comes
/// after that. While nothing was ever missing it changes no bit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declick {
    last: f32,
    /// Of `held`: how much is still heard, in 64ths.
    sinking: u8,
    held: f32,
    /// How much of what comes is heard, in 64ths.
    rising: u8,
}

impl Declick {
    /// Nothing was missing yet.
    pub(crate) const fn new() -> Self {
        Self { last: 0.0, sinking: 0, held: 0.0, rising: FADE }
    }

    /// `samples` came. *Realtime-safe: yes*.
    pub(crate) fn play(&mut self, samples: &mut [f32]) {
        if self.rising < FADE || self.sinking > 0 {
            for sample in samples.iter_mut() {
                self.rising = (self.rising + 1).min(FADE);
                *sample = *sample * level(self.rising) + self.sink();
            }
        }
        self.last = samples.last().copied().unwrap_or(self.last);
    }

    /// Nothing came: fills `samples`. *Realtime-safe: yes*.
    pub(crate) fn miss(&mut self, samples: &mut [f32]) {
        if self.rising > 0 {
            // What is not a number is not held.
            self.held = if self.last.is_finite() { self.last } else { 0.0 };
            self.sinking = FADE;
            self.rising = 0;
        }
        for sample in samples.iter_mut() {
            *sample = self.sink();
        }
        self.last = samples.last().copied().unwrap_or(self.last);
    }

    fn sink(&mut self) -> f32 {
        self.sinking = self.sinking.saturating_sub(1);
        self.held * level(self.sinking)
    }
}

fn level(of: u8) -> f32 {
    f32::from(of) / f32::from(FADE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(frames: usize) -> Vec<f32> {
        (0..frames)
            .map(|frame| (0.01 * f64::from(u32::try_from(frame).unwrap())).sin())
            .map(|sample| {
                #[allow(clippy::cast_possible_truncation, reason = "a test's samples")]
                let sample = sample as f32;
                sample
            })
            .collect()
    }

    #[test]
    fn what_is_whole_passes_bit_for_bit() {
        let (mut declick, mut samples) = (Declick::new(), wave(1000));
        samples.chunks_mut(64).for_each(|block| declick.play(block));
        assert_eq!(samples, wave(1000));
    }

    #[test]
    fn no_step_is_larger_than_a_fades() {
        // In every cutting: 300 frames, 10 missing, 20 there, 200 missing, the rest there.
        for block in [1, 7, 64] {
            let (mut declick, mut samples) = (Declick::new(), wave(1000));
            let is_missing = |frame: usize| (300..310).contains(&frame) || (330..530).contains(&frame);
            let mut at = 0;
            while at < samples.len() {
                let missing = is_missing(at);
                let end = (at + 1..(at + block + 1).min(samples.len() + 1))
                    .take_while(|end| is_missing(end - 1) == missing)
                    .last()
                    .unwrap();
                let part = &mut samples[at..end];
                if missing {
                    declick.miss(part)
                } else {
                    declick.play(part)
                }
                at = end;
            }
            let step = samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
            assert!(step < 0.05, "{step} in blocks of {block}");
            assert!(samples[400..530].iter().all(|sample| *sample == 0.0));
            assert_eq!(samples[600..], wave(1000)[600..]);
        }
    }

    #[test]
    fn what_is_not_a_number_is_not_held() {
        let mut declick = Declick::new();
        declick.play(&mut [f32::NAN]);
        let mut samples = [1.0; 4];
        declick.miss(&mut samples);
        assert_eq!(samples, [0.0; 4]);
    }
}
