use audiocloud_units::Frames;

/// How long frames wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As briefly as the network allows: longer at once when something comes too late, shorter by and by.
    Lowest {
        /// Not shorter than this, in frames of the device.
        floor: Frames,
        /// Not longer than this on average, in frames of the device.
        ceiling: Frames,
    },
    /// Always the same.
    Fixed {
        /// From the callback that takes a frame's block until the frame leaves, in frames of the device. Where that is
        /// less than the longest wait for a callback, that wait takes its place.
        delay: Frames,
    },
}

/// What is known of the two sample clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Nothing: whether they differ is found out, and then the stream is resampled.
    #[default]
    Automatic,
    /// They are one, by word clock or because there is one device: the stream is never resampled.
    Shared,
}

/// What the user may change at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long frames wait.
    pub mode: Mode,
    /// What is known of the clocks.
    pub clock: Clock,
}

impl Settings {
    /// Delays that are all the same. *Realtime-safe: yes.*
    #[must_use]
    pub const fn fixed(delay: Frames) -> Self {
        Self { mode: Mode::Fixed { delay }, clock: Clock::Automatic }
    }

    /// The longest delay that this may lead to.
    pub(super) fn delay_max(&self) -> Frames {
        match self.mode {
            Mode::Lowest { floor, ceiling } => floor.max(ceiling),
            Mode::Fixed { delay } => delay,
        }
    }

    /// All delays between 0 and `max`.
    pub(super) fn within(self, max: Frames) -> Self {
        let held = |frames: Frames| frames.clamp(Frames::new(0), max);
        let mode = match self.mode {
            Mode::Lowest { floor, ceiling } => Mode::Lowest { floor: held(floor), ceiling: held(ceiling) },
            Mode::Fixed { delay } => Mode::Fixed { delay: held(delay) },
        };
        Self { mode, ..self }
    }
}
