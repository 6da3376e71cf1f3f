use std::cmp::Ordering;

/// `f64` with a total order (IEEE 754 `totalOrder`), so that it can be compared and sorted like the integer units.
macro_rules! ordered_float {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name(f64);

        impl $name {
            /// Wraps the number as it is.
            #[must_use]
            pub const fn new(value: f64) -> Self {
                Self(value)
            }

            /// The bare number.
            #[must_use]
            pub const fn get(self) -> f64 {
                self.0
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.total_cmp(&other.0)
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }

        impl Eq for $name {}
    };
}

ordered_float! {
    /// A clock's rate error in parts per million; positive runs fast.
    Ppm
}

ordered_float! {
    /// A musical length or position in quarter notes.
    Beats
}

impl Ppm {
    /// The rate as a factor: 0 ppm is 1.0, 100 ppm is 1.0001.
    #[must_use]
    pub fn to_factor(self) -> f64 {
        1.0 + self.0 * 1e-6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_ordered() {
        let mut all = [Ppm::new(3.0), Ppm::new(-1.0), Ppm::new(0.5)];
        all.sort();
        assert_eq!(all.map(Ppm::get), [-1.0, 0.5, 3.0]);
        assert_eq!(Beats::new(f64::NAN), Beats::new(f64::NAN));
    }

    #[test]
    fn factor() {
        assert!((Ppm::new(100.0).to_factor() - 1.000_1).abs() < 1e-12);
    }
}
