//! When to try again: soon at first, then ever more rarely, and never in step with others.

use std::time::Duration;

/// The first wait, before jitter.
const FIRST: Duration = Duration::from_millis(60);
/// The longest wait, before jitter.
const LAST: Duration = Duration::from_secs(5);

/// The wait after `failures` failures in a row (the first is 1), of between 0.75 and 1.25 times the nominal one.
/// `random` spreads peers that failed together.
pub(crate) fn wait(failures: u32, random: u8) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let percent = 75 + u32::from(random) * 50 / 255;
    doubled.min(LAST) * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_an_end() {
        let check =
            |failures, random, expected_ms| assert_eq!(wait(failures, random).as_millis(), expected_ms);
        check(0, 0, 45);
        check(1, 0, 45);
        check(1, 255, 75);
        check(2, 0, 90);
        check(7, 0, 2880);
        check(8, 255, 6250);
        check(u32::MAX, 255, 6250);
    }
}
