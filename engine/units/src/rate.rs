use std::fmt;
use std::num::NonZeroU32;

/// Frames per second of a stream or device, in Hz, nominal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleRate(NonZeroU32);

impl SampleRate {
    /// `None` for 0 Hz, which no clock has.
    #[must_use]
    pub const fn new(hz: u32) -> Option<Self> {
        match NonZeroU32::new(hz) {
            Some(hz) => Some(Self(hz)),
            None => None,
        }
    }

    /// The rate in Hz.
    #[must_use]
    pub const fn hz(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for SampleRate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} Hz", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_rate() {
        assert_eq!(SampleRate::new(0), None);
        assert_eq!(SampleRate::new(48_000).map(SampleRate::hz), Some(48_000));
        assert_eq!(SampleRate::new(44_100).unwrap().to_string(), "44100 Hz");
    }
}
