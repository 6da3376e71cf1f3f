//! Datagrams that wait, in a ring of bytes: pushed and taken without allocation, and when it is full the oldest goes, for
//! the newest sound is the one that can still be heard.

use std::collections::VecDeque;

/// A length of two bytes and a tag of eight before each datagram.
const HEAD_BYTES: usize = 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct DatagramQueue {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    dropped: u64,
}

impl DatagramQueue {
    /// For so many bytes, heads included.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: VecDeque::with_capacity(bytes_max), bytes_max, dropped: 0 }
    }

    /// How many datagrams have gone unread, since the last time this was asked.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Adds a datagram. One that is empty or could never fit counts as dropped.
    pub(crate) fn push(&mut self, tag: u64, datagram: &[u8]) {
        let size = HEAD_BYTES + datagram.len();
        let length =
            u16::try_from(datagram.len()).ok().filter(|length| *length > 0 && size <= self.bytes_max);
        let Some(length) = length else {
            self.dropped += 1;
            return;
        };
        while self.bytes.len() + size > self.bytes_max {
            let Some((_, oldest)) = self.head() else { break };
            self.bytes.drain(..HEAD_BYTES + oldest);
            self.dropped += 1;
        }
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(tag.to_be_bytes());
        self.bytes.extend(datagram);
    }

    /// The length of the oldest datagram.
    pub(crate) fn next_bytes(&self) -> Option<usize> {
        self.head().map(|(_, length)| length)
    }

    /// Takes the oldest one: its tag, and how much of `into` it fills. What does not fit is cut off.
    pub(crate) fn pop(&mut self, into: &mut [u8]) -> Option<(u64, usize)> {
        let (tag, length) = self.head()?;
        let fitting = length.min(into.len());
        for (to, from) in into.iter_mut().zip(self.bytes.range(HEAD_BYTES..HEAD_BYTES + fitting)) {
            *to = *from;
        }
        self.bytes.drain(..HEAD_BYTES + length);
        Some((tag, fitting))
    }

    fn head(&self) -> Option<(u64, usize)> {
        let mut head = [0; HEAD_BYTES];
        if self.bytes.len() < HEAD_BYTES {
            return None;
        }
        for (to, from) in head.iter_mut().zip(self.bytes.range(..HEAD_BYTES)) {
            *to = *from;
        }
        let [high, low, tag @ ..] = head;
        Some((u64::from_be_bytes(tag), u16::from_be_bytes([high, low]).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let mut queue = DatagramQueue::new(1000);
        queue.push(1, b"one");
        queue.push(u64::MAX, b"three");
        queue.push(3, b"");
        queue.push(3, &[0; 991]);
        assert_eq!(queue.take_dropped(), 2, "empty, and too large for ever");
        let mut into = [0; 4];
        assert_eq!(queue.next_bytes(), Some(3));
        assert_eq!(queue.pop(&mut into), Some((1, 3)));
        assert_eq!(&into[..3], b"one");
        assert_eq!(queue.pop(&mut into), Some((u64::MAX, 4)));
        assert_eq!(&into, b"thre");
        assert_eq!(queue.pop(&mut into), None);
        assert_eq!(queue.next_bytes(), None);
    }

    #[test]
    fn the_oldest_goes_and_nothing_is_allocated() {
        let mut queue = DatagramQueue::new(1000);
        let capacity = queue.bytes.capacity();
        for number in 0..100_u64 {
            queue.push(number, &[7; 90]);
        }
        assert_eq!(queue.take_dropped(), 90);
        let mut into = [0; 100];
        let tags: Vec<_> = std::iter::from_fn(|| queue.pop(&mut into)).collect();
        assert_eq!(tags, (90..100).map(|tag| (tag, 90)).collect::<Vec<_>>());
        assert_eq!(queue.bytes.capacity(), capacity);
    }
}
