//! The sender's half: the last packets, and combinations of them.

use super::{WINDOW_MAX, coefficient, field, write_symbol};

/// Keeps the last [`WINDOW_MAX`] packets sent, and makes repairs of them.
#[derive(Debug, Default)]
pub struct Encoder {
    /// By sequence number modulo their count.
    symbols: [Vec<u8>; WINDOW_MAX],
    /// The newest packet's sequence number.
    last: u32,
    /// How many are kept, the newest and those before it without a gap.
    held: usize,
}

impl Encoder {
    /// Nothing sent yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet that is sent. Numbers follow one another: a gap, or a packet longer than
    /// [`super::PACKET_BYTES_MAX`], begins a new run, and no repair reaches across it.
    ///
    /// *Realtime-safe: no* (room grows to the longest packet)
    pub fn push(&mut self, sequence: u32, packet: &[u8]) {
        if sequence != self.last.wrapping_add(1) {
            self.held = 0;
        }
        let symbol = &mut self.symbols[slot(sequence)];
        self.held = if write_symbol(packet, symbol) { (self.held + 1).min(WINDOW_MAX) } else { 0 };
        self.last = sequence;
    }

    /// A repair by `key` over the last `window` packets (or over all that are kept, when those are fewer),
    /// written to the front of `out`: the newest sequence number covered, how many are covered, and how many
    /// bytes were written, 2 more than the longest packet covered has. None when nothing is kept, or `out` is too
    /// short.
    ///
    /// Repairs of different keys over the same packets help one another; the same key twice is the same
    /// repair. Counting from 1 to 192 and round again keeps keys apart for long enough.
    ///
    /// *Realtime-safe: yes*
    pub fn encode(&self, window: u8, key: u8, out: &mut [u8]) -> Option<(u32, u8, usize)> {
        let covered = self.held.min(usize::from(window));
        let symbols = || {
            let sequences = (0..).map(|back| self.last.wrapping_sub(back)).take(covered);
            sequences.map(|sequence| (sequence, self.symbols[slot(sequence)].as_slice()))
        };
        let length = symbols().map(|(_, symbol)| symbol.len()).max()?;
        let out = out.get_mut(..length)?;
        out.fill(0);
        for (sequence, symbol) in symbols() {
            field::add_scaled(out, symbol, coefficient(sequence, key));
        }
        Some((self.last, u8::try_from(covered).ok()?, length))
    }
}

fn slot(sequence: u32) -> usize {
    let [.., low] = sequence.to_be_bytes();
    usize::from(low) % WINDOW_MAX
}
