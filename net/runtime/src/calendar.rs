//! Points in time and spans in words, for people and without a time zone.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 for what was before.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A span as people say it, rounded down.
pub fn span(seconds: u64) -> String {
    let say = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match seconds {
        0..120 => say(seconds, "second"),
        120..7_200 => say(seconds / 60, "minute"),
        7_200..172_800 => say(seconds / 3_600, "hour"),
        _ => say(seconds / 86_400, "day"),
    }
}

/// ISO 8601, in the Gregorian calendar: years from March on have their leap day at the end, and 400 of them are always
/// as long.
pub fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + u64::from(month >= 10);
    let month = if month < 10 { month + 3 } else { month - 9 };
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", second / 3_600, second / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // By `date -u -d @…`.
        let check = |seconds: u64, expected: &str| assert_eq!(utc(seconds), expected);
        check(0, "1970-01-01 00:00 UTC");
        check(951_782_400, "2000-02-29 00:00 UTC");
        check(951_868_800, "2000-03-01 00:00 UTC");
        check(1_234_567_890, "2009-02-13 23:31 UTC");
        check(1_793_491_200, "2026-11-01 00:00 UTC");
        check(4_107_542_399, "2100-02-28 23:59 UTC");
        check(4_107_542_400, "2100-03-01 00:00 UTC");
        assert_eq!(
            [span(1), span(119), span(7_199), span(172_800)],
            ["1 second", "119 seconds", "119 minutes", "2 days"]
        );
    }
}
