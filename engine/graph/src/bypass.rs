//! Leaving a node out, and taking it back, by a crossfade.

use audiocloud_dsp::delay::Ring;
use audiocloud_dsp::fade::{self, Curve};

use crate::node::{Buffer, GRID};

/// Everything in here changes at grid points alone, so that it does not depend on the host's block size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Only the processor is heard.
    Active,
    /// From the processor to what came in.
    Leaving,
    /// Only what came in is heard, and the processor rests.
    Bypassed,
    /// The processor was reset and is filled with sound again; what came in is heard.
    Warming,
    /// From what came in to the processor.
    Returning,
}

/// What happens to the processor at a grid point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It goes on as it is.
    None,
    /// It rests from here on.
    Rests,
    /// It begins anew.
    Begins,
}

/// One node's way past its processor. What came in is as late as the processor would have made it.
#[derive(Debug)]
pub(crate) struct Bypass {
    state: State,
    /// Frames since the state began.
    frames: u32,
    fade_frames: u32,
    latency: u32,
    lines: Box<[Ring]>,
    dry: Box<[Buffer]>,
    by_user: bool,
    by_load: bool,
}

impl Bypass {
    /// For a node whose first `channels` outputs replace its inputs; none for one without inputs.
    pub(crate) fn new(channels: usize, latency: u32, fade_frames: u32, bypassed: bool) -> Self {
        let lines = if latency > 0 { channels } else { 0 };
        Self {
            state: if bypassed { State::Bypassed } else { State::Active },
            frames: 0,
            fade_frames,
            latency,
            lines: (0..lines).map(|_| Ring::new(latency as usize + GRID)).collect(),
            dry: (0..channels).map(|_| Buffer::new()).collect(),
            by_user: bypassed,
            by_load: false,
        }
    }

    pub(crate) fn set_by_user(&mut self, bypassed: bool) {
        self.by_user = bypassed;
    }

    /// True where that is another state.
    pub(crate) fn set_by_load(&mut self, bypassed: bool) -> bool {
        std::mem::replace(&mut self.by_load, bypassed) != bypassed
    }

    /// At a grid point: what is heard from here on. Where the processor begins it has to be reset first.
    pub(crate) fn at_grid(&mut self) -> Turn {
        let wanted = self.by_user || self.by_load;
        let over = |frames: u32| self.frames >= frames;
        let next = match self.state {
            State::Active if wanted => State::Leaving,
            State::Leaving if over(self.fade_frames) => State::Bypassed,
            State::Bypassed if !wanted => State::Warming,
            State::Warming if wanted => State::Bypassed,
            State::Warming if over(self.latency) => State::Returning,
            State::Returning if over(self.fade_frames) => State::Active,
            state => state,
        };
        if next == self.state {
            return Turn::None;
        }
        self.frames = 0;
        self.state = next;
        match next {
            State::Warming => Turn::Begins,
            State::Bypassed => Turn::Rests,
            State::Active | State::Leaving | State::Returning => Turn::None,
        }
    }

    /// Whether there is nothing to do but to run the processor.
    pub(crate) fn is_out_of_the_way(&self) -> bool {
        self.state == State::Active && self.lines.is_empty()
    }

    /// Keeps what came in, which `buffers` hold. False where the processor is to rest.
    pub(crate) fn keep(&mut self, buffers: &[Buffer], frames: usize) -> bool {
        for (index, (dry, buffer)) in self.dry.iter_mut().zip(buffers).enumerate() {
            match self.lines.get_mut(index) {
                Some(line) => {
                    line.write(&buffer[..frames]);
                    line.read_back(self.latency as usize + frames, &mut dry[..frames]);
                }
                None => dry[..frames].copy_from_slice(&buffer[..frames]),
            }
        }
        self.state != State::Bypassed
    }

    /// Has `buffers`, which hold what the processor made, hold what is heard.
    pub(crate) fn blend(&mut self, buffers: &mut [Buffer], frames: usize) {
        let mut gains = [0.0; GRID];
        let gains = &mut gains[..frames];
        match self.state {
            State::Active => {}
            State::Bypassed | State::Warming => self.fill(buffers, frames),
            State::Leaving => {
                fade::fill_out(Curve::RaisedCosine, self.frames, self.fade_frames, gains);
                self.mix(buffers, gains);
            }
            State::Returning => {
                fade::fill_in(Curve::RaisedCosine, self.frames, self.fade_frames, gains);
                self.mix(buffers, gains);
            }
        }
        self.frames = self.frames.saturating_add(u32::try_from(frames).unwrap_or(0));
    }

    /// Has `buffers`, which hold what came in, hold what would be heard if it were bypassed; no crossfade.
    pub(crate) fn pass(&mut self, buffers: &mut [Buffer], frames: usize) {
        self.keep(buffers, frames);
        self.fill(buffers, frames);
    }

    /// What came in, and silence where nothing does.
    fn fill(&self, buffers: &mut [Buffer], frames: usize) {
        for (index, buffer) in buffers.iter_mut().enumerate() {
            match self.dry.get(index) {
                Some(dry) => buffer[..frames].copy_from_slice(&dry[..frames]),
                None => buffer[..frames].fill(0.0),
            }
        }
    }

    /// `gains` of the processor, and the rest of what came in.
    fn mix(&self, buffers: &mut [Buffer], gains: &[f32]) {
        for (index, buffer) in buffers.iter_mut().enumerate() {
            match self.dry.get(index) {
                Some(dry) => {
                    for ((wet, dry), gain) in buffer.iter_mut().zip(dry.iter()).zip(gains) {
                        *wet = *dry + gain * (*wet - *dry);
                    }
                }
                None => buffer.iter_mut().zip(gains).for_each(|(wet, gain)| *wet *= gain),
            }
        }
    }

    pub(crate) fn reset(&mut self) {
        self.lines.iter_mut().for_each(Ring::reset);
        let bypassed = self.by_user || self.by_load;
        self.state = if bypassed { State::Bypassed } else { State::Active };
        self.frames = 0;
    }
}
