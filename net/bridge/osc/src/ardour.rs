//! Orders as Ardour takes them, and what it says.
//!
//! Place, play and stop go by OSC (`/locate` in samples, `/transport_play`, `/transport_stop`); the tempo goes to its
//! WebSocket surface as a node's state, in JSON, and counts for the whole session. A tempo that is set while Ardour rolls
//! makes its bars jump, so it gets it only while it stands still. The surface says ten times a second where Ardour is, in
//! seconds: so its sample rate, which it does not say, shows by where it stands after it was sent to a sample.

use serde_json::Value;

use crate::message::{Argument, encode};

/// Sample rates of sessions.
const RATES_HZ: [f64; 10] =
    [22_050.0, 24_000.0, 32_000.0, 44_100.0, 48_000.0, 88_200.0, 96_000.0, 176_400.0, 192_000.0, 384_000.0];
/// A place is shown in six digits, and rates differ by 8 % at least.
const RATE_NEAR: f64 = 0.02;
/// Longer messages of the surface are of no interest.
pub const TEXT_BYTES_MAX: usize = 4_096;

/// What the surface says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Said {
    /// Its tempo, in quarter notes a minute.
    Tempo(f64),
    /// Where it is, in seconds.
    Time(f64),
    /// Whether it rolls.
    Rolls(bool),
}

/// One message of the surface; nothing if it is of something else.
#[must_use]
pub fn read(text: &str) -> Option<Said> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let message: Value = serde_json::from_str(text).ok()?;
    let value = message.get("val")?.get(0)?;
    let number = || value.as_f64().filter(|number| number.is_finite());
    match message.get("node")?.as_str()? {
        "transport_tempo" => number().map(Said::Tempo),
        "transport_time" => number().map(Said::Time),
        "transport_roll" => value.as_bool().map(Said::Rolls),
        _ => None,
    }
}

/// A tempo, as a message to the surface.
#[must_use]
pub fn tempo(bpm: f64) -> String {
    serde_json::json!({ "node": "transport_tempo", "val": [bpm] }).to_string()
}

/// Play, as a datagram.
#[must_use]
pub fn play() -> Vec<u8> {
    encode("/transport_play", &[])
}

/// Stop, as a datagram.
#[must_use]
pub fn stop() -> Vec<u8> {
    encode("/transport_stop", &[])
}

/// A sample to go to, as a datagram, and whether to roll there.
#[must_use]
pub fn locate(sample: i32, roll: bool) -> Vec<u8> {
    encode("/locate", &[Argument::Integer(sample), Argument::Integer(i32::from(roll))])
}

/// Ardour's sample rate, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    hz: f64,
    /// Where it was sent last, and has not been seen since.
    sent: Option<i32>,
}

impl Default for Rate {
    /// The likeliest one.
    fn default() -> Self {
        Self { hz: 48_000.0, sent: None }
    }
}

impl Rate {
    /// The sample at so many seconds: where it is going to be sent.
    pub fn sample(&mut self, seconds: f64) -> i32 {
        let sample = rounded(seconds * self.hz);
        self.sent = Some(sample);
        sample
    }

    /// It is seen standing somewhere. Whether that says that the rate was taken for another: then it has to be sent anew.
    pub fn stands(&mut self, seconds: f64) -> bool {
        let Some(sent) = self.sent.filter(|sent| *sent > 4_800) else { return false };
        let shown = f64::from(sent) / seconds;
        let Some(hz) = RATES_HZ.into_iter().find(|hz| (shown / hz - 1.0).abs() < RATE_NEAR) else {
            return false;
        };
        self.sent = None;
        let was_another = (hz - self.hz).abs() > 1.0;
        self.hz = hz;
        was_another
    }
}

#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn rounded(value: f64) -> i32 {
    value.round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_those_that_ardour_takes() {
        assert_eq!(play(), b"/transport_play\0,\0\0\0");
        assert_eq!(stop(), b"/transport_stop\0,\0\0\0");
        assert_eq!(locate(48_000, false), b"/locate\0,ii\0\0\0\xbb\x80\0\0\0\0");
        assert_eq!(tempo(93.5), r#"{"node":"transport_tempo","val":[93.5]}"#);
    }

    #[test]
    fn what_the_surface_says_is_understood_or_left() {
        let check = |text: &str, expected| assert_eq!(read(text), expected, "{text}");
        check(r#"{"node":"transport_time","val":[6.45333]}"#, Some(Said::Time(6.45333)));
        check(r#"{"node":"transport_tempo","val":[120]}"#, Some(Said::Tempo(120.0)));
        check(r#"{"node":"transport_roll","val":[false]}"#, Some(Said::Rolls(false)));
        check(r#"{"node":"strip_gain","addr":[0],"val":[0]}"#, None);
        check(r#"{"node":"transport_tempo","val":["fast"]}"#, None);
        check(r#"{"node":"transport_tempo","val":[]}"#, None);
        check("[[[[[", None);
        check(&"[".repeat(5_000), None);
    }

    #[test]
    fn a_rate_shows_by_where_it_stands() {
        let mut rate = Rate::default();
        assert_eq!(rate.sample(2.0), 96_000);
        assert!(!rate.stands(17.3), "it is not there yet");
        assert!(rate.stands(2.17687), "96,000 samples of 44.1 kHz");
        assert_eq!(rate.sample(2.0), 88_200);
        assert!(!rate.stands(2.0));
        assert!(!rate.stands(5.0), "it was moved by hand");
        // The beginning is the same at every rate.
        assert_eq!(rate.sample(0.0), 0);
        assert!(!rate.stands(0.0));
    }
}
