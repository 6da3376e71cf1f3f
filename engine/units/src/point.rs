use std::ops::{Add, AddAssign, Sub};

use crate::{Frames, Nanos};

/// A frame's index on a stream's sample clock: frames processed since its epoch began, never a host's position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(u64);

/// Nanoseconds on the session's shared PTP timescale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionTime(i64);

/// Nanoseconds on this machine's monotonic clock. Two machines' host times have nothing in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostTime(i64);

impl MediaTime {
    /// The first frame of an epoch.
    pub const ZERO: Self = Self(0);

    /// Wraps a frame index.
    #[must_use]
    pub const fn new(index: u64) -> Self {
        Self(index)
    }

    /// The frame index.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Add<Frames> for MediaTime {
    type Output = Self;
    fn add(self, length: Frames) -> Self {
        Self(self.0.saturating_add_signed(length.get()))
    }
}

impl Sub<Frames> for MediaTime {
    type Output = Self;
    fn sub(self, length: Frames) -> Self {
        self + -length
    }
}

impl AddAssign<Frames> for MediaTime {
    fn add_assign(&mut self, length: Frames) {
        *self = *self + length;
    }
}

impl Sub for MediaTime {
    type Output = Frames;
    fn sub(self, earlier: Self) -> Frames {
        let limit = if self.0 < earlier.0 { i64::MIN } else { i64::MAX };
        Frames::new(self.0.checked_signed_diff(earlier.0).unwrap_or(limit))
    }
}

macro_rules! nanosecond_clock {
    ($name:ident) => {
        impl $name {
            /// Wraps a count of nanoseconds since the clock's own zero.
            #[must_use]
            pub const fn new(nanos: i64) -> Self {
                Self(nanos)
            }

            /// Nanoseconds since the clock's own zero.
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl Add<Nanos> for $name {
            type Output = Self;
            fn add(self, length: Nanos) -> Self {
                Self(self.0.saturating_add(length.get()))
            }
        }

        impl Sub<Nanos> for $name {
            type Output = Self;
            fn sub(self, length: Nanos) -> Self {
                Self(self.0.saturating_sub(length.get()))
            }
        }

        impl Sub for $name {
            type Output = Nanos;
            fn sub(self, earlier: Self) -> Nanos {
                Nanos::new(self.0.saturating_sub(earlier.0))
            }
        }
    };
}

nanosecond_clock!(SessionTime);
nanosecond_clock!(HostTime);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn media_time_saturates() {
        fn check(later: u64, earlier: u64, expected: i64) {
            assert_eq!((MediaTime::new(later) - MediaTime::new(earlier)).get(), expected);
        }
        check(10, 4, 6);
        check(4, 10, -6);
        check(u64::MAX, 0, i64::MAX);
        check(0, u64::MAX, i64::MIN);
        assert_eq!(MediaTime::new(3) - Frames::new(5), MediaTime::ZERO);
        assert_eq!(MediaTime::new(u64::MAX) + Frames::new(5), MediaTime::new(u64::MAX));
    }

    #[test]
    fn host_time() {
        let start = HostTime::new(1_000);
        assert_eq!(start + Nanos::new(500) - start, Nanos::new(500));
        assert_eq!(start - Nanos::new(1_500), HostTime::new(-500));
    }

    proptest! {
        #[test]
        fn point_plus_span_minus_point(start in 0_u64..1 << 62, length in 0_i64..1 << 62) {
            let (start, length) = (MediaTime::new(start), Frames::new(length));
            prop_assert_eq!((start + length) - start, length);
            prop_assert_eq!((start + length) - length, start);
        }
    }
}
