//! The messages that are sent, and their bytes.

use crate::timecode::Timecode;

/// The longest message.
pub const BYTES_MAX: usize = 10;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A 24th of a quarter note has gone by.
    Clock,
    /// From the song's beginning, with the next clock.
    Start,
    /// From the song position, with the next clock.
    Continue,
    /// Stands still from now on.
    Stop,
    /// Where the song is, in sixteenth notes from its beginning: 0 to 16,383.
    SongPosition(u16),
    /// An eighth of a time code: its number, 0 to 7, and four bits of the time at which number 0 was sent.
    QuarterFrame(u8, u8),
    /// A whole time code, for a place that was jumped to.
    FullFrame(Timecode),
}

/// A message's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Message {
    /// As they go over the wire. *Realtime-safe: yes.*
    #[must_use]
    pub fn bytes(self) -> Bytes {
        match self {
            Self::Clock => bytes([0xf8]),
            Self::Start => bytes([0xfa]),
            Self::Continue => bytes([0xfb]),
            Self::Stop => bytes([0xfc]),
            Self::SongPosition(sixteenths) => {
                let [high, low] = (sixteenths.min(SIXTEENTHS_MAX) << 1).to_be_bytes();
                bytes([0xf2, low >> 1, high])
            }
            Self::QuarterFrame(piece, value) => bytes([0xf1, (piece & 7) << 4 | value & 15]),
            Self::FullFrame(time) => bytes([
                0xf0,
                0x7f,
                // Every device.
                0x7f,
                0x01,
                0x01,
                time.rate.code() << 5 | time.hours,
                time.minutes,
                time.seconds,
                time.frames,
                0xf7,
            ]),
        }
    }
}

/// The furthest place that a song position can name: 14 bits.
pub const SIXTEENTHS_MAX: u16 = 0x3fff;

fn bytes<const LENGTH: usize>(given: [u8; LENGTH]) -> Bytes {
    let mut bytes = [0; BYTES_MAX];
    for (place, byte) in bytes.iter_mut().zip(given) {
        *place = byte;
    }
    Bytes { bytes, length: LENGTH }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timecode::FrameRate;

    fn check(message: Message, expected: &[u8]) {
        assert_eq!(&*message.bytes(), expected, "{message:?}");
    }

    #[test]
    fn bytes_are_those_of_the_standard() {
        check(Message::Clock, &[0xf8]);
        check(Message::Start, &[0xfa]);
        check(Message::Continue, &[0xfb]);
        check(Message::Stop, &[0xfc]);
        check(Message::SongPosition(0), &[0xf2, 0, 0]);
        check(Message::SongPosition(127), &[0xf2, 127, 0]);
        check(Message::SongPosition(128), &[0xf2, 0, 1]);
        check(Message::SongPosition(16_383), &[0xf2, 127, 127]);
        check(Message::SongPosition(u16::MAX), &[0xf2, 127, 127]);
        check(Message::QuarterFrame(3, 0x9), &[0xf1, 0x39]);
        check(Message::QuarterFrame(7, 0x6), &[0xf1, 0x76]);
        // 01:02:03:04 at 25 frames: rate 1 in bits 5 and 6 of the hours.
        let time = Timecode { hours: 1, minutes: 2, seconds: 3, frames: 4, rate: FrameRate::Film25 };
        check(Message::FullFrame(time), &[0xf0, 0x7f, 0x7f, 1, 1, 0x21, 2, 3, 4, 0xf7]);
    }
}
