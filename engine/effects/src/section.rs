//! A second-order filter that glides from one setting to the next.

use audiocloud_dsp::svf::circuit::{Circuit, Coefficients, State, process};

use crate::effect::CHANNELS_MAX;

/// One state-variable filter for all channels. What it is asked to be, it becomes within a number of frames, and its
/// circuit on the way is a filter too: no setting clicks, not even another shape.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    from: Circuit,
    to: Circuit,
    /// Frames of the way that are gone, and the whole way; both 0 at rest.
    gone: u32,
    length: u32,
    /// Whether the way begins and ends without a corner.
    is_round: bool,
    /// Of `to`, at rest.
    resting: Coefficients,
    states: [State; CHANNELS_MAX],
}

impl Section {
    /// At rest, passing. *Realtime-safe: yes.*
    pub(crate) fn new() -> Self {
        Self {
            from: Circuit::PASSING,
            to: Circuit::PASSING,
            gone: 0,
            length: 0,
            is_round: false,
            resting: Circuit::PASSING.coefficients(),
            states: [State::default(); CHANNELS_MAX],
        }
    }

    /// As new. *Realtime-safe: yes.*
    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }

    /// Becomes this filter at once. *Realtime-safe: yes.*
    pub(crate) fn jump(&mut self, to: Circuit) {
        (self.from, self.to) = (to, to);
        (self.gone, self.length) = (0, 0);
        self.resting = to.coefficients();
    }

    /// Becomes this filter within `frames`, or when a longer way that it is on ends: along a line, for many steps in a
    /// row make one movement. *Realtime-safe: yes.*
    pub(crate) fn follow(&mut self, to: Circuit, frames: u32) {
        self.glide(to, frames, false);
    }

    /// Becomes this filter within `frames`, which is another one altogether: begins and ends without a corner, which would
    /// be heard first. *Realtime-safe: yes.*
    pub(crate) fn fade(&mut self, to: Circuit, frames: u32) {
        self.glide(to, frames, true);
    }

    fn glide(&mut self, to: Circuit, frames: u32, is_round: bool) {
        if self.is_idle() && to.is_passing() {
            return self.jump(to);
        }
        let from = self.present();
        // Into and out of passing only the output is faded: the circuit is the other's already.
        let (from, to) = match (from.is_passing(), to.is_passing()) {
            (true, false) => (to.passing(), to),
            (_, true) => (from, from.passing()),
            (false, false) => (from, to),
        };
        let length = frames.max(self.length - self.gone);
        *self = Self { from, to, gone: 0, length, is_round, ..*self };
    }

    /// Whether it does nothing at all, now and in the frames to come. *Realtime-safe: yes.*
    pub(crate) fn is_idle(&self) -> bool {
        self.length == 0 && self.to.is_passing()
    }

    /// The circuit at the present frame.
    fn present(&self) -> Circuit {
        if self.length == 0 { self.to } else { self.on_the_way(self.gone) }
    }

    /// The circuit where so many frames of the way are gone.
    fn on_the_way(&self, gone: u32) -> Circuit {
        let share = f64::from(gone) / f64::from(self.length);
        let way = if self.is_round { share * share * (3.0 - 2.0 * share) } else { share };
        self.from.towards(&self.to, way)
    }

    /// Filters the channels in place, all equally long. *Realtime-safe: yes.*
    pub(crate) fn process(&mut self, channels: &mut [&mut [f32]]) {
        if self.is_idle() {
            return;
        }
        let frames = channels.first().map_or(0, |channel| channel.len());
        let moving = u32::try_from(frames).unwrap_or(u32::MAX).min(self.length - self.gone);
        for (frame, gone) in (0..).zip(self.gone + 1..=self.gone + moving) {
            let coefficients = self.on_the_way(gone).coefficients();
            for (channel, state) in channels.iter_mut().zip(&mut self.states) {
                channel[frame] = coefficients.step(state, channel[frame]);
            }
        }
        self.gone += moving;
        if self.length > 0 && self.gone == self.length {
            self.jump(self.to);
        }
        if self.length == 0 && !self.to.is_passing() {
            let from = moving as usize;
            match channels {
                [left, right] => {
                    filter(self.resting, &mut self.states, &mut left[from..], &mut right[from..])
                }
                _ => {
                    for (channel, state) in channels.iter_mut().zip(&mut self.states) {
                        process(&self.resting, state, &mut channel[from..]);
                    }
                }
            }
        }
        if self.is_idle() {
            self.states = [State::default(); CHANNELS_MAX];
        }
    }
}

/// Filters what is left of the channels, side by side: each step of a filter waits for the one before, and meanwhile the
/// other's can be taken.
fn filter(
    coefficients: Coefficients,
    [left_state, right_state]: &mut [State; CHANNELS_MAX],
    left: &mut [f32],
    right: &mut [f32],
) {
    let (mut first, mut second) = (*left_state, *right_state);
    for (left, right) in left.iter_mut().zip(right) {
        *left = coefficients.step(&mut first, *left);
        *right = coefficients.step(&mut second, *right);
    }
    (*left_state, *right_state) = (first, second);
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_dsp::biquad::Shape;
    use audiocloud_dsp::svf::Prototype;

    fn bell(gain_db: f64) -> Circuit {
        Prototype::new(Shape::Peak, 1.0, gain_db, 48_000.0).circuit_at(1000.0)
    }

    /// A tone of 1 kHz through the section, in blocks of `length`.
    fn play(section: &mut Section, from: u32, frames: u32, length: usize) -> Vec<f32> {
        let mut signal: Vec<f32> =
            (from..from + frames).map(|frame| libm::sinf(frame as f32 * 0.130_899_7)).collect();
        for block in signal.chunks_mut(length) {
            section.process(&mut [block]);
        }
        signal
    }

    #[test]
    fn idle_is_the_same_bits() {
        let mut section = Section::new();
        let mut signal = [0.1, -0.0, 1e-30, f32::MAX];
        section.process(&mut [&mut signal]);
        assert_eq!(signal.map(f32::to_bits), [0.1, -0.0, 1e-30, f32::MAX].map(f32::to_bits));
    }

    #[test]
    fn a_glide_has_no_step_and_arrives() {
        for to in
            [bell(12.0), bell(-12.0), Prototype::new(Shape::Notch, 1.0, 0.0, 48_000.0).circuit_at(1000.0)]
        {
            let mut section = Section::new();
            play(&mut section, 0, 480, 64);
            section.fade(to, 512);
            let glided = play(&mut section, 480, 960, 64);
            // A tone of 1 kHz moves by at most 0.131 of its amplitude per frame.
            let step = glided.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
            assert!(step < 0.131 * 4.2, "{step}");
            assert_eq!(section.length, 0);
            section.follow(Circuit::PASSING, 64);
            play(&mut section, 0, 64, 64);
            assert!(section.is_idle());
            assert_eq!(section.states, [State::default(); CHANNELS_MAX]);
        }
    }

    #[test]
    fn any_cut_gives_the_same_bits() {
        let run = |length| {
            let mut section = Section::new();
            section.fade(bell(9.0), 512);
            let mut signal = play(&mut section, 0, 640, length);
            section.follow(bell(-3.0), 64);
            signal.extend(play(&mut section, 640, 640, length));
            section.follow(Circuit::PASSING, 64);
            signal.extend(play(&mut section, 1280, 640, length));
            signal
        };
        let whole = run(64);
        for length in [1, 7, 32, 63] {
            assert!(whole.iter().zip(run(length)).all(|(whole, cut)| whole.to_bits() == cut.to_bits()));
        }
    }

    #[test]
    fn a_glide_within_a_glide_goes_on_from_where_it_is() {
        let mut section = Section::new();
        section.jump(bell(0.0));
        section.fade(bell(12.0), 512);
        play(&mut section, 0, 256, 64);
        let before = section.present();
        section.follow(bell(6.0), 64);
        assert_eq!((section.present(), section.length), (before, 256));
    }
}
