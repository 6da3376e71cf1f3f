//! The greatest of the last so many values, at each of them.
//!
//! Daniel Lemire, *Streaming maximum-minimum filter using no more than three comparisons per element*, Nordic Journal of
//! Computing 13(4), 2006: of the values in the window only those are kept that no later one exceeds.

/// A sliding maximum over a window of a fixed length.
#[derive(Clone, Debug)]
pub struct Maximum {
    /// Falling values, oldest first, in a ring whose length is a power of two.
    kept: Box<[Kept]>,
    /// Where the oldest is.
    first: usize,
    count: usize,
    window: u32,
    /// Frames so far, wrapping.
    now: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    value: f32,
    frame: u32,
}

impl Maximum {
    /// Over `window` values, at least one and below 2³¹.
    ///
    /// *Realtime-safe: no*, it allocates.
    #[must_use]
    pub fn new(window: u32) -> Self {
        let window = window.clamp(1, u32::MAX / 2);
        // One more, for a value comes in before the oldest leaves.
        let places = (window as usize + 1).next_power_of_two();
        Self { kept: vec![Kept::default(); places].into_boxed_slice(), first: 0, count: 0, window, now: 0 }
    }

    /// Forgets every value. *Realtime-safe: yes.*
    pub fn reset(&mut self) {
        self.first = 0;
        self.count = 0;
        self.now = 0;
    }

    /// Takes in a value; the greatest of it and of the `window − 1` before it. What is not a number counts as the least
    /// of all. *Realtime-safe: yes*; at most as many steps as the window is long, and two on average.
    pub fn push(&mut self, value: f32) -> f32 {
        let value = if value.is_nan() { f32::NEG_INFINITY } else { value };
        let mask = self.kept.len() - 1;
        while self.count > 0 && self.kept[(self.first + self.count - 1) & mask].value <= value {
            self.count -= 1;
        }
        self.kept[(self.first + self.count) & mask] = Kept { value, frame: self.now };
        self.count += 1;
        if self.now.wrapping_sub(self.kept[self.first].frame) >= self.window {
            self.first = (self.first + 1) & mask;
            self.count -= 1;
        }
        self.now = self.now.wrapping_add(1);
        self.kept[self.first].value
    }

    /// Replaces each value by the greatest of it and the `window − 1` before it. *Realtime-safe: yes.*
    pub fn process(&mut self, values: &mut [f32]) {
        for value in values {
            *value = self.push(*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_window_is_as_long_as_it_says() {
        let mut maximum = Maximum::new(3);
        let found: Vec<f32> =
            [1.0, 0.0, 0.0, 0.0, 5.0, 2.0, 3.0, 1.0, 1.0].map(|value| maximum.push(value)).to_vec();
        assert_eq!(found, [1.0, 1.0, 1.0, 0.0, 5.0, 5.0, 5.0, 3.0, 3.0]);
    }

    #[test]
    fn no_number_is_less_than_any() {
        let mut maximum = Maximum::new(2);
        assert_eq!(maximum.push(f32::NAN), f32::NEG_INFINITY);
        assert_eq!([maximum.push(-3.0), maximum.push(f32::NAN)], [-3.0, -3.0]);
    }

    #[test]
    fn the_count_of_frames_may_wrap() {
        let mut maximum = Maximum::new(2);
        maximum.now = u32::MAX;
        assert_eq!([4.0, 1.0, 1.0].map(|value| maximum.push(value)), [4.0, 4.0, 1.0]);
    }

    proptest! {
        #[test]
        fn it_is_the_greatest_of_the_window(
            values in prop::collection::vec(-4_i8..4, 0..300), window in 1_u8..70, reset: bool,
        ) {
            let values: Vec<f32> = values.into_iter().map(f32::from).collect();
            let mut maximum = Maximum::new(u32::from(window));
            if reset {
                maximum.process(&mut [9.0; 100]);
                maximum.reset();
            }
            for (index, value) in values.iter().enumerate() {
                let from = (index + 1).saturating_sub(usize::from(window));
                let expected = values[from..=index].iter().copied().fold(f32::MIN, f32::max);
                prop_assert_eq!(maximum.push(*value), expected);
            }
        }
    }
}
