//! Orders as REAPER takes them: the patterns of its `Default.ReaperOSC`, which the user selects in *Preferences, Control/OSC*.
//!
//! `TEMPO f/tempo/raw` is in quarter notes a minute, `TIME f/time` in seconds; `PLAY t/play` and `STOP t/stop` are triggers,
//! with 1 as their argument. REAPER has no message for a time signature.

use crate::conductor::Order;
use crate::message::{Argument, encode};

/// One order as a datagram.
#[must_use]
pub fn datagram(order: Order) -> Vec<u8> {
    match order {
        Order::Tempo(bpm) => encode("/tempo/raw", &[Argument::Float(single(bpm))]),
        Order::Locate(seconds) => encode("/time", &[Argument::Float(single(seconds))]),
        Order::Play => encode("/play", &[Argument::Float(1.0)]),
        Order::Stop => encode("/stop", &[Argument::Float(1.0)]),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "what the message has room for")]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_the_documented_messages() {
        let check = |order, expected: &[u8]| assert_eq!(datagram(order), expected, "{order:?}");
        check(Order::Tempo(93.5), b"/tempo/raw\0\0,f\0\0\x42\xbb\0\0");
        check(Order::Locate(2.0), b"/time\0\0\0,f\0\0\x40\0\0\0");
        check(Order::Play, b"/play\0\0\0,f\0\0\x3f\x80\0\0");
        check(Order::Stop, b"/stop\0\0\0,f\0\0\x3f\x80\0\0");
    }
}
