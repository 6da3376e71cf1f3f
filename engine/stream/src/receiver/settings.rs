use audiocloud_units::{Frames, Nanos, SampleRate, SessionTime};

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
    /// At a time of the session: each frame leaves so long after it was recorded, in every receiver alike, to within a
    /// sample. Without a session's time, ours or the sender's, as [`Mode::Fixed`] with 20 ms.
    Aligned {
        /// So long.
        link_offset: LinkOffset,
    },
}

/// How long after it was recorded a frame leaves, on the session's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOffset {
    /// As the sender asks of all: the smallest that everybody who plays the stream so can keep.
    Agreed,
    /// As it is set here.
    Set {
        /// Until another one counts.
        now: Nanos,
        /// From a time of the session on another one.
        then: Option<(SessionTime, Nanos)>,
    },
}

impl LinkOffset {
    /// Always the same. *Realtime-safe: yes.*
    #[must_use]
    pub const fn set(offset: Nanos) -> Self {
        Self::Set { now: offset, then: None }
    }
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

    /// The longest delay that this may lead to, as far as it is known.
    pub(super) fn delay_max(&self, sample_rate: SampleRate) -> Frames {
        match self.mode {
            Mode::Lowest { floor, ceiling } => floor.max(ceiling),
            Mode::Fixed { delay } => delay,
            Mode::Aligned { link_offset: LinkOffset::Agreed } => Frames::new(0),
            Mode::Aligned { link_offset: LinkOffset::Set { now, then } } => {
                then.map_or(now, |(_, then)| now.max(then)).to_frames_ceil(sample_rate)
            }
        }
    }

    /// All delays between 0 and `max`.
    pub(super) fn within(self, max: Frames, sample_rate: SampleRate) -> Self {
        let held = |frames: Frames| frames.clamp(Frames::new(0), max);
        let mode = match self.mode {
            Mode::Lowest { floor, ceiling } => Mode::Lowest { floor: held(floor), ceiling: held(ceiling) },
            Mode::Fixed { delay } => Mode::Fixed { delay: held(delay) },
            Mode::Aligned { link_offset } => Mode::Aligned {
                link_offset: match link_offset {
                    LinkOffset::Agreed => LinkOffset::Agreed,
                    LinkOffset::Set { now, then } => {
                        let held = |offset: Nanos| offset.clamp(Nanos::ZERO, max.to_nanos_floor(sample_rate));
                        LinkOffset::Set { now: held(now), then: then.map(|(at, then)| (at, held(then))) }
                    }
                },
            },
        };
        Self { mode, ..self }
    }
}
