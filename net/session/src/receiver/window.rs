//! Which sequence numbers have been seen.

/// How many of the latest numbers are remembered: two thirds of a second of 26 Mbit/s.
pub(super) const SPAN: u32 = 2048;

const WORD_BITS: u32 = u64::BITS;
const WORDS: usize = 32;

/// What a sequence number says about its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The first of all.
    First,
    /// A later one than all before; so many are missing between.
    After(u32),
    /// An earlier one that was missing.
    Earlier,
    /// Seen before, or so old that it might have been.
    Duplicate,
}

/// The latest [`SPAN`] sequence numbers of one epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    highest: Option<u32>,
    /// Bit `number % SPAN`: the number was seen. Only numbers within the span count.
    seen: [u64; WORDS],
}

impl Window {
    pub(super) fn highest(&self) -> Option<u32> {
        self.highest
    }

    pub(super) fn arrive(&mut self, sequence: u32) -> Arrival {
        let Some(highest) = self.highest else {
            self.highest = Some(sequence);
            self.set(sequence);
            return Arrival::First;
        };
        let ahead = sequence.wrapping_sub(highest);
        if ahead == 0 {
            return Arrival::Duplicate;
        }
        if ahead <= u32::MAX / 2 {
            self.clear_after(highest, ahead);
            self.highest = Some(sequence);
            self.set(sequence);
            return Arrival::After(ahead - 1);
        }
        if ahead.wrapping_neg() >= SPAN || self.is_set(sequence) {
            return Arrival::Duplicate;
        }
        self.set(sequence);
        Arrival::Earlier
    }

    /// Forgets what was said of the places that the next `count` numbers take.
    fn clear_after(&mut self, highest: u32, count: u32) {
        if count >= SPAN {
            self.seen = [0; WORDS];
            return;
        }
        for step in 1..=count {
            let (word, bit) = place(highest.wrapping_add(step));
            self.seen[word] &= !bit;
        }
    }

    fn set(&mut self, sequence: u32) {
        let (word, bit) = place(sequence);
        self.seen[word] |= bit;
    }

    fn is_set(&self, sequence: u32) -> bool {
        let (word, bit) = place(sequence);
        self.seen[word] & bit != 0
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a place below 32 fits any usize")]
const fn place(sequence: u32) -> (usize, u64) {
    ((sequence % SPAN / WORD_BITS) as usize, 1 << (sequence % WORD_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_loss_from_disorder() {
        let mut window = Window::default();
        let mut check = |sequence: u32, expected| assert_eq!(window.arrive(sequence), expected, "{sequence}");
        check(u32::MAX - 1, Arrival::First);
        check(u32::MAX, Arrival::After(0));
        check(0, Arrival::After(0));
        check(0, Arrival::Duplicate);
        check(3, Arrival::After(2));
        check(1, Arrival::Earlier);
        check(1, Arrival::Duplicate);
        check(u32::MAX, Arrival::Duplicate);
        check(2000, Arrival::After(1996));
        check(2, Arrival::Earlier);
        check(3, Arrival::Duplicate);
        check(2050, Arrival::After(49));
        check(2, Arrival::Duplicate);
        check(4, Arrival::Earlier);
        check(10_000, Arrival::After(7949));
        check(9_999, Arrival::Earlier);
        check(10_000 - SPAN + 1, Arrival::Earlier);
        check(10_000 - SPAN, Arrival::Duplicate);
    }

    #[test]
    fn it_agrees_with_a_set() {
        let mut window = Window::default();
        let mut seen = std::collections::HashSet::new();
        let (mut state, mut front) = (7_u32, 1_u32 << 31);
        for _ in 0..100_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            front += (state >> 28) / 4;
            let sequence = front - (state >> 8) % 2000;
            let highest = window.highest().unwrap_or(sequence);
            let within = sequence > highest || highest - sequence < SPAN;
            let fresh = within && seen.insert(sequence);
            assert_eq!(window.arrive(sequence) != Arrival::Duplicate, fresh, "{sequence}");
        }
    }
}
