//! Repair packets.

/// Most packets that one repair covers.
pub const WINDOW_MAX: usize = 16;

/// The sender's half: keeps the last [`WINDOW_MAX`] packets.
#[derive(Debug, Default)]
pub struct Encoder {
    packets: Vec<Vec<u8>>,
}

impl Encoder {
    /// Nothing sent yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet that was sent, by its sequence number: each one after the other.
    pub fn push(&mut self, sequence: u32, packet: &[u8]) {
        let _unused = (sequence, packet, &self.packets);
    }

    /// A symbol over the last `window` packets (fewer, when so many were not sent), coded by `key`, to the
    /// front of `out`. Returns the newest sequence covered, how many are covered, and the symbol's length.
    pub fn encode(&self, window: u8, key: u8, out: &mut [u8]) -> Option<(u32, u8, usize)> {
        let _unused = (window, key, out, &self.packets);
        None
    }
}

/// The receiver's half.
#[derive(Debug, Default)]
pub struct Decoder {
    recovered: Vec<(u32, Vec<u8>)>,
}

impl Decoder {
    /// Nothing received yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet that has come, or come again.
    pub fn source(&mut self, sequence: u32, packet: &[u8]) {
        let _unused = (sequence, packet);
    }

    /// A repair that has come.
    pub fn repair(&mut self, last: u32, window: u8, key: u8, payload: &[u8]) {
        let _unused = (last, window, key, payload);
    }

    /// The next packet that was recovered, by its sequence number; to be taken until there is none.
    pub fn next_recovered(&mut self) -> Option<(u32, Vec<u8>)> {
        self.recovered.pop()
    }
}
