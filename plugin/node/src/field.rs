//! What stands in a runtime's answer, field by field. What is not there, or is not what it should be, is nothing.

use serde_json::Value;

pub(crate) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or(0)
}

/// A text that a terminal can be shown.
pub(crate) fn plain(value: &Value, field: &str) -> String {
    clean(value[field].as_str().unwrap_or_default())
}

pub(crate) fn quoted(value: &Value, field: &str) -> String {
    let text = plain(value, field);
    if text.is_empty() { "(no name)".to_owned() } else { format!("\"{text}\"") }
}

/// Of a key, as much as people compare.
pub(crate) fn fingerprint(value: &Value, field: &str) -> String {
    plain(value, field).chars().take(8).collect()
}

/// Names come from other people's machines: nothing in them may reach the terminal as a command or turn
/// its text around.
pub(crate) fn clean(text: &str) -> String {
    let steers =
        |one: char| one.is_control() || matches!(one, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|one| if steers(one) { '\u{fffd}' } else { one }).collect()
}

pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Microseconds as milliseconds, to a tenth.
pub(crate) fn milliseconds(us: u64) -> String {
    let tenths = (us + 50) / 100;
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

/// Bits per second as people say them.
pub(crate) fn bit_rate(bps: u64) -> String {
    let tenths = (bps + 50_000) / 100_000;
    if tenths >= 10 {
        format!("{}.{} Mbit/s", tenths / 10, tenths % 10)
    } else {
        format!("{} kbit/s", (bps + 500) / 1_000)
    }
}

/// Of a million as of a hundred.
pub(crate) fn percent(ppm: u64) -> String {
    let hundredths = (ppm + 50) / 100;
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_rounded_as_people_say_them() {
        let check = |got: String, expected: &str| assert_eq!(got, expected);
        check(milliseconds(0), "0.0 ms");
        check(milliseconds(1_250), "1.3 ms");
        check(milliseconds(99_960), "100.0 ms");
        check(bit_rate(64_499), "64 kbit/s");
        check(bit_rate(949_000), "949 kbit/s");
        check(bit_rate(2_345_678), "2.3 Mbit/s");
        check(percent(0), "0.00 %");
        check(percent(12_345), "1.23 %");
        check(percent(1_000_000), "100.00 %");
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        let value = serde_json::json!({ "name": 7, "list": {}, "count": -1 });
        assert_eq!((plain(&value, "name").as_str(), list(&value, "list").len()), ("", 0));
        assert_eq!((number(&value, "count"), quoted(&value, "none").as_str()), (0, "(no name)"));
    }
}
