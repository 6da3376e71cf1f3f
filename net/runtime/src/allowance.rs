//! How much one peer may ask of us: so many messages and bytes at once, and so many in a second after that.

use std::time::Instant;

/// A peer that talks all the time stays far below this.
const MESSAGES_PER_S: f64 = 100.0;
/// What is said at once after a long silence: all members and the whole shared state of a large session.
const MESSAGES_AT_ONCE: f64 = 600.0;
const BYTES_PER_S: f64 = 512.0 * 1024.0;
const BYTES_AT_ONCE: f64 = 12.0 * 1024.0 * 1024.0;

/// Of all who show memberships and are not known, together.
const KNOCKS_PER_S: f64 = 20.0;
const KNOCKS_AT_ONCE: f64 = 60.0;

/// Answers to one peer who asks what it lacks: all of the largest shared state at once, of 384 KiB each.
const ANSWERS_PER_S: f64 = 2.0;
const ANSWERS_AT_ONCE: f64 = 16.0;

/// Chains that one peer asks to be played: a whole project's at once.
const OPENINGS_PER_S: f64 = 4.0;
const OPENINGS_AT_ONCE: f64 = 96.0;

/// Documents of chains that one peer has played: those of a large project at once, states of foreign plug-ins included.
const PARTS_PER_S: f64 = 200.0;
const PARTS_AT_ONCE: f64 = 3000.0;
const PART_BYTES_PER_S: f64 = 4.0 * 1024.0 * 1024.0;
const PART_BYTES_AT_ONCE: f64 = 128.0 * 1024.0 * 1024.0;

/// Two token buckets, for messages and for their bytes.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    messages: f64,
    messages_per_s: f64,
    messages_at_once: f64,
    bytes: f64,
    bytes_per_s: f64,
    bytes_at_once: f64,
    at: Instant,
}

impl Allowance {
    pub(crate) fn new(now: Instant) -> Self {
        Self::of(MESSAGES_PER_S, MESSAGES_AT_ONCE, now)
    }

    /// For all strangers together.
    pub(crate) fn of_strangers(now: Instant) -> Self {
        Self::of(KNOCKS_PER_S, KNOCKS_AT_ONCE, now)
    }

    /// For answers to one peer.
    pub(crate) fn of_answers(now: Instant) -> Self {
        Self::of(ANSWERS_PER_S, ANSWERS_AT_ONCE, now)
    }

    /// For chains that one peer asks to be played.
    pub(crate) fn of_openings(now: Instant) -> Self {
        Self::of(OPENINGS_PER_S, OPENINGS_AT_ONCE, now)
    }

    /// For documents of chains that one peer has played.
    pub(crate) fn of_documents(now: Instant) -> Self {
        Self {
            bytes: PART_BYTES_AT_ONCE,
            bytes_per_s: PART_BYTES_PER_S,
            bytes_at_once: PART_BYTES_AT_ONCE,
            ..Self::of(PARTS_PER_S, PARTS_AT_ONCE, now)
        }
    }

    fn of(messages_per_s: f64, messages_at_once: f64, now: Instant) -> Self {
        Self {
            messages: messages_at_once,
            messages_per_s,
            messages_at_once,
            bytes: BYTES_AT_ONCE,
            bytes_per_s: BYTES_PER_S,
            bytes_at_once: BYTES_AT_ONCE,
            at: now,
        }
    }

    /// Takes a message's share. What there is too much of, where there is none left.
    pub(crate) fn take(&mut self, bytes: usize, now: Instant) -> Result<(), &'static str> {
        let elapsed_s = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        // A frame has at most 64 KiB.
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.messages = (self.messages + elapsed_s * self.messages_per_s).min(self.messages_at_once) - 1.0;
        self.bytes = (self.bytes + elapsed_s * self.bytes_per_s).min(self.bytes_at_once) - bytes;
        if self.messages < 0.0 {
            self.messages = 0.0;
            return Err("more messages than one peer may send");
        }
        if self.bytes < 0.0 {
            return Err("more bytes of messages than one peer may send");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_honest_passes_and_what_is_not_ends() {
        let start = Instant::now();
        let mut steady = Allowance::new(start);
        let passed =
            (0..10_000_u64).all(|step| steady.take(4096, start + Duration::from_millis(20 * step)).is_ok());
        assert!(passed, "50 messages of 4 KiB a second, for 200 s");
        let mut flood = Allowance::new(start);
        let small = (0..10_000).take_while(|_| flood.take(20, start).is_ok()).count();
        assert_eq!(small, 600);
        let mut flood = Allowance::new(start);
        let large = (0..10_000).take_while(|_| flood.take(65_540, start).is_ok()).count();
        assert_eq!(large, 191, "12 MiB");
    }
}
