use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::time::Duration;

use crate::SampleRate;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// A length in frames (one sample of every channel), signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frames(i64);

/// A length of time in nanoseconds, signed: about ±292 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(i64);

macro_rules! span {
    ($name:ident) => {
        impl $name {
            /// No length at all.
            pub const ZERO: Self = Self(0);

            /// Wraps the bare number.
            #[must_use]
            pub const fn new(value: i64) -> Self {
                Self(value)
            }

            /// The bare number.
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }

            /// The length without its sign.
            #[must_use]
            pub const fn abs(self) -> Self {
                Self(self.0.saturating_abs())
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Neg for $name {
            type Output = Self;
            fn neg(self) -> Self {
                Self(self.0.saturating_neg())
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }
    };
}

span!(Frames);
span!(Nanos);

/// Saturates: only lengths of centuries, which no stream has, reach the ends.
fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl Frames {
    /// How long this many frames last, rounded towards minus infinity.
    #[must_use]
    pub fn to_nanos_floor(self, rate: SampleRate) -> Nanos {
        Nanos(clamp((i128::from(self.0) * NANOS_PER_SECOND).div_euclid(i128::from(rate.hz()))))
    }
}

impl From<u32> for Frames {
    fn from(frames: u32) -> Self {
        Self(i64::from(frames))
    }
}

impl Nanos {
    /// From whole microseconds; saturates.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// From whole milliseconds; saturates.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// From whole seconds; saturates.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// For showing to people: exact to about 15 digits.
    #[must_use]
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// For showing to people: exact to about 15 digits.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The whole frames that fit (rounded towards minus infinity).
    #[must_use]
    pub fn to_frames_floor(self, rate: SampleRate) -> Frames {
        Frames(clamp(self.scaled(rate).div_euclid(NANOS_PER_SECOND)))
    }

    /// The fewest whole frames that last at least this long (rounded towards plus infinity).
    #[must_use]
    pub fn to_frames_ceil(self, rate: SampleRate) -> Frames {
        Frames(clamp(-(-self.scaled(rate)).div_euclid(NANOS_PER_SECOND)))
    }

    /// The nearest number of whole frames; halves go towards plus infinity.
    #[must_use]
    pub fn to_frames_nearest(self, rate: SampleRate) -> Frames {
        Frames(clamp((self.scaled(rate) + NANOS_PER_SECOND / 2).div_euclid(NANOS_PER_SECOND)))
    }

    fn scaled(self, rate: SampleRate) -> i128 {
        i128::from(self.0) * i128::from(rate.hz())
    }
}

impl From<Duration> for Nanos {
    /// Saturates beyond 292 years.
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(hz: u32) -> SampleRate {
        SampleRate::new(hz).unwrap()
    }

    #[test]
    fn roundings() {
        fn check(nanos: i64, hz: u32, floor: i64, nearest: i64, ceil: i64) {
            let (nanos, rate) = (Nanos::new(nanos), rate(hz));
            let found =
                [nanos.to_frames_floor(rate), nanos.to_frames_nearest(rate), nanos.to_frames_ceil(rate)];
            assert_eq!(found.map(Frames::get), [floor, nearest, ceil], "{nanos:?} at {hz}");
        }
        check(0, 48_000, 0, 0, 0);
        check(1_000_000_000, 44_100, 44_100, 44_100, 44_100);
        check(10_000_000, 44_100, 441, 441, 441);
        check(1_000_000, 44_100, 44, 44, 45);
        check(-1_000_000, 44_100, -45, -44, -44);
        check(10_417, 48_000, 0, 1, 1);
        check(10_416, 48_000, 0, 0, 1);
        check(1, 192_000, 0, 0, 1);
        check(-1, 192_000, -1, 0, 0);
        check(i64::MAX, 4_000_000_000, i64::MAX, i64::MAX, i64::MAX);
    }

    #[test]
    fn frames_to_nanos() {
        assert_eq!(Frames::new(48).to_nanos_floor(rate(48_000)), Nanos::from_millis(1));
        assert_eq!(Frames::new(1).to_nanos_floor(rate(44_100)), Nanos::new(22_675));
        assert_eq!(Frames::new(-1).to_nanos_floor(rate(44_100)), Nanos::new(-22_676));
        assert_eq!(Frames::new(i64::MAX).to_nanos_floor(rate(1)), Nanos::new(i64::MAX));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Frames::new(i64::MAX) + Frames::new(1), Frames::new(i64::MAX));
        assert_eq!(-Frames::new(i64::MIN), Frames::new(i64::MAX));
        assert_eq!(Nanos::from(Duration::MAX), Nanos::new(i64::MAX));
    }

    proptest! {
        /// A length in frames survives the way through nanoseconds at every rate below 1 GHz.
        #[test]
        fn round_trip(frames in -1_i64 << 40..1_i64 << 40, hz in 8_000_u32..768_000) {
            let nanos = Frames::new(frames).to_nanos_floor(rate(hz));
            prop_assert_eq!(nanos.to_frames_ceil(rate(hz)).get(), frames);
            prop_assert_eq!(nanos.to_frames_nearest(rate(hz)).get(), frames);
        }

        #[test]
        fn roundings_are_ordered(nanos: i64, hz in 1_u32..768_000) {
            let nanos = Nanos::new(nanos);
            let (floor, ceil) = (nanos.to_frames_floor(rate(hz)), nanos.to_frames_ceil(rate(hz)));
            let nearest = nanos.to_frames_nearest(rate(hz));
            prop_assert!(floor <= nearest && nearest <= ceil && (ceil - floor).get() <= 1);
        }
    }
}
