//! The receiver's half: packets and repairs, and the equations between them.

use std::collections::VecDeque;

use super::{
    LENGTH_BYTES, PACKET_BYTES_MAX, REACH, WINDOW_MAX, coefficient, field, read_symbol, write_symbol,
};

/// Computes lost packets from those that came and from repairs.
///
/// Each repair is an equation over the packets that are missing. The equations are kept solved as far as
/// they go (reduced row echelon form: each has one unknown that no other has), by which a packet is known
/// exactly when an equation has one unknown left.
#[derive(Debug)]
pub struct Decoder {
    /// The newest sequence number heard of; the oldest in reach is [`REACH`] − 1 before it.
    newest: Option<u32>,
    /// The symbols that came or were computed, by sequence number modulo their count; empty while unknown.
    symbols: [Vec<u8>; REACH],
    equations: Vec<Equation>,
    recovered: VecDeque<(u32, Vec<u8>)>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            newest: None,
            symbols: [const { Vec::new() }; REACH],
            equations: Vec::new(),
            recovered: VecDeque::new(),
        }
    }
}

/// The sum of the unknown symbols, each times its coefficient, is `sum`.
#[derive(Debug)]
struct Equation {
    /// By slot.
    coefficients: [u8; REACH],
    /// The slot of the unknown that only this equation has, with coefficient 1.
    pivot: usize,
    sum: Vec<u8>,
}

impl Decoder {
    /// Nothing received yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet that came, in whatever order, from the network or on request. One that is known already, or
    /// too old to be of use, changes nothing.
    ///
    /// *Realtime-safe: no*
    pub fn source(&mut self, sequence: u32, packet: &[u8]) {
        if packet.len() > PACKET_BYTES_MAX || !self.reach(sequence) {
            return;
        }
        let slot = slot(sequence);
        if self.symbols[slot].is_empty() && write_symbol(packet, &mut self.symbols[slot]) {
            self.substitute(slot);
            self.harvest();
        }
    }

    /// A repair that came: as its header says, over `window` packets of which `last` is the newest, coded by
    /// `key`. One that tells nothing new, or cannot be, changes nothing.
    ///
    /// *Realtime-safe: no*
    pub fn repair(&mut self, last: u32, window: u8, key: u8, payload: &[u8]) {
        let window = usize::from(window);
        let lengths = LENGTH_BYTES..=LENGTH_BYTES + PACKET_BYTES_MAX;
        let possible = (1..=WINDOW_MAX).contains(&window) && lengths.contains(&payload.len());
        if !possible || !self.reach(last) {
            return;
        }
        let covered = (0..).map(|back| last.wrapping_sub(back)).take(window);
        // The usual case, and the cheap one: nothing is missing.
        if covered.clone().all(|sequence| !self.symbols[slot(sequence)].is_empty()) {
            return;
        }
        let mut equation = Equation { coefficients: [0; REACH], pivot: 0, sum: payload.to_vec() };
        for sequence in covered {
            if !self.is_in_reach(sequence) {
                return;
            }
            let (slot, factor) = (slot(sequence), coefficient(sequence, key));
            let symbol = &self.symbols[slot];
            if symbol.is_empty() {
                equation.coefficients[slot] = factor;
            } else if symbol.len() <= equation.sum.len() {
                field::add_scaled(&mut equation.sum, symbol, factor);
            } else {
                return;
            }
        }
        self.insert(equation);
        self.harvest();
    }

    /// The next packet that was computed, by its sequence number; to be called until there is none, after
    /// each packet and each repair.
    ///
    /// *Realtime-safe: no*
    pub fn next_recovered(&mut self) -> Option<(u32, Vec<u8>)> {
        self.recovered.pop_front()
    }

    /// Makes `sequence` the newest, if it is; forgets what falls out of reach. Whether it is in reach.
    fn reach(&mut self, sequence: u32) -> bool {
        let Some(newest) = self.newest else {
            self.newest = Some(sequence);
            return true;
        };
        let ahead = sequence.wrapping_sub(newest);
        if ahead > u32::MAX / 2 {
            return self.is_in_reach(sequence);
        }
        for step in (1..=ahead).take(REACH) {
            self.forget(slot(newest.wrapping_add(step)));
        }
        self.newest = Some(sequence);
        true
    }

    fn is_in_reach(&self, sequence: u32) -> bool {
        self.newest.is_some_and(|newest| (0..REACH).contains(&distance(newest, sequence)))
    }

    /// The packet of this slot is known: it is no unknown any more.
    fn substitute(&mut self, slot: usize) {
        let symbol = &self.symbols[slot];
        // An equation that is shorter than what is in it was a lie.
        self.equations
            .retain(|equation| equation.coefficients[slot] == 0 || symbol.len() <= equation.sum.len());
        for equation in self.equations.iter_mut().filter(|equation| equation.coefficients[slot] != 0) {
            field::add_scaled(&mut equation.sum, symbol, equation.coefficients[slot]);
            equation.coefficients[slot] = 0;
        }
        // Its own equation, if it had one, now needs another unknown.
        if let Some(at) = self.equations.iter().position(|equation| equation.pivot == slot) {
            let equation = self.equations.swap_remove(at);
            self.insert(equation);
        }
    }

    /// Adds an equation over unknowns alone.
    fn insert(&mut self, mut equation: Equation) {
        for other in &self.equations {
            equation.eliminate(other);
        }
        // Nothing left: it told nothing new.
        let Some(pivot) = equation.unknowns().next() else { return };
        equation.pivot_on(pivot);
        for other in &mut self.equations {
            other.eliminate(&equation);
        }
        self.equations.push(equation);
    }

    /// Moves the packets that are determined by now to where they are taken from.
    fn harvest(&mut self) {
        while let Some(at) = self.equations.iter().position(|equation| equation.unknowns().count() == 1) {
            let Equation { pivot, mut sum, .. } = self.equations.swap_remove(at);
            let Some(packet) = read_symbol(&sum).map(<[u8]>::to_vec) else { continue };
            let Some(sequence) = self.newest.map(|newest| sequence_at(newest, pivot)) else { continue };
            sum.truncate(LENGTH_BYTES + packet.len());
            // No other equation has this unknown, so that nothing is left to substitute.
            self.symbols[pivot] = sum;
            if self.recovered.len() == REACH {
                self.recovered.pop_front();
            }
            self.recovered.push_back((sequence, packet));
        }
    }

    /// What this slot held is out of reach; so is one equation, if it was an unknown.
    fn forget(&mut self, slot: usize) {
        self.symbols[slot].clear();
        if let Some(at) = self.equations.iter().position(|equation| equation.coefficients[slot] != 0) {
            let mut gone = self.equations.swap_remove(at);
            gone.pivot_on(slot);
            for other in &mut self.equations {
                other.eliminate(&gone);
            }
        }
    }
}

impl Equation {
    /// The slots that have a coefficient.
    fn unknowns(&self) -> impl Iterator<Item = usize> {
        self.coefficients.iter().enumerate().filter(|(_, factor)| **factor != 0).map(|(slot, _)| slot)
    }

    /// Makes the coefficient of `slot`, which is not zero, one.
    fn pivot_on(&mut self, slot: usize) {
        let factor = field::inverse(self.coefficients[slot]);
        field::scale(&mut self.coefficients, factor);
        field::scale(&mut self.sum, factor);
        self.pivot = slot;
    }

    /// Subtracts as much of `other` as rids this one of its pivot.
    fn eliminate(&mut self, other: &Self) {
        let factor = self.coefficients[other.pivot];
        if factor != 0 {
            if self.sum.len() < other.sum.len() {
                self.sum.resize(other.sum.len(), 0);
            }
            field::add_scaled(&mut self.coefficients, &other.coefficients, factor);
            field::add_scaled(&mut self.sum, &other.sum, factor);
        }
    }
}

fn slot(sequence: u32) -> usize {
    let [.., low] = sequence.to_be_bytes();
    usize::from(low) % REACH
}

/// How far `sequence` lies before `newest`.
fn distance(newest: u32, sequence: u32) -> usize {
    usize::try_from(newest.wrapping_sub(sequence)).unwrap_or(usize::MAX)
}

/// The sequence number in reach whose slot this is.
fn sequence_at(newest: u32, slot_wanted: usize) -> u32 {
    (0..64)
        .map(|back| newest.wrapping_sub(back))
        .find(|sequence| slot(*sequence) == slot_wanted)
        .unwrap_or(newest)
}
