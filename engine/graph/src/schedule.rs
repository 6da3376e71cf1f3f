//! What the compiler makes: a flat list of operations on numbered buffers, never changed once it is made.

use std::ops::Range;

/// A stretch of one of the schedule's tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u32,
    pub(crate) len: u32,
}

impl Span {
    pub(crate) fn range(self) -> Range<usize> {
        self.from as usize..(self.from + self.len) as usize
    }
}

/// How a connection sounds while an edit is crossfaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fade {
    Steady,
    In,
    Out,
}

/// One summand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Term {
    pub(crate) buffer: u32,
    /// Slots of fused gains, in [`Schedule::slots`].
    pub(crate) gains: Span,
    pub(crate) fade: Fade,
}

/// The most lanes of one bank.
pub(crate) const LANES_MAX: usize = 64;

/// One channel of one biquad in a bank. Its buffers are one and the same, or no lane of the bank writes to `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) slot: u32,
    pub(crate) channel: u32,
    pub(crate) from: u32,
    pub(crate) to: u32,
}

/// One of the processors of [`Op::ProcessMonos`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mono {
    pub(crate) slot: u32,
    pub(crate) input: u32,
    pub(crate) output: u32,
    /// Whether its output is looked at.
    pub(crate) check: bool,
}

/// Where a node's events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) slot: u32,
    pub(crate) delay: u32,
}

/// One operation on one block. Buffers, slots and lines are numbers into the renderer's tables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    /// A channel of the host's into a buffer.
    Read {
        bus: u16,
        channel: u16,
        to: u32,
    },
    /// A buffer into a channel of the host's.
    Write {
        bus: u16,
        channel: u16,
        from: u32,
    },
    Copy {
        from: u32,
        to: u32,
    },
    /// Fused gains, in place.
    Scale {
        buffer: u32,
        gains: Span,
    },
    /// The sum of the terms; added to what is there where `onto`.
    Mix {
        to: u32,
        terms: Span,
        onto: bool,
    },
    /// A processor; inputs and outputs in [`Schedule::buffers`].
    Process {
        slot: u32,
        inputs: Span,
        outputs: Span,
    },
    /// Mono processors in a row that have neither events nor a bypass; in [`Schedule::monos`].
    ProcessMonos {
        nodes: Span,
    },
    /// Independent filters, at most [`LANES_MAX`].
    Bank {
        lanes: Span,
    },
    /// Filters in a row, in place.
    Series {
        slots: Span,
        channel: u32,
        buffer: u32,
    },
    /// Silence instead of what is not a number; `slot` is who made it.
    Check {
        buffer: u32,
        slot: u32,
    },
    /// A block into one channel of a delay line.
    Remember {
        line: u32,
        channel: u32,
        from: u32,
    },
    /// A block out of it, late by `delay`; `behind` where this block was remembered already.
    Recall {
        line: u32,
        channel: u32,
        delay: u32,
        to: u32,
        behind: bool,
    },
    /// The events that the slot gave go where they belong.
    Deliver {
        slot: u32,
        routes: Span,
    },
    /// What follows belongs to this group.
    Stamp {
        group: u16,
    },
}

/// A buffer that is silent and never written.
pub(crate) const SILENCE: u32 = 0;

/// See [`Op`].
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    pub(crate) ops: Vec<Op>,
    pub(crate) buffers: Vec<u32>,
    pub(crate) slots: Vec<u32>,
    pub(crate) terms: Vec<Term>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) monos: Vec<Mono>,
    pub(crate) routes: Vec<Route>,
    /// Where the host's events go.
    pub(crate) input_routes: Span,
    /// By slot: how late audio is when it gets there, so that events can wait for it.
    pub(crate) arrivals: Vec<u32>,
    /// From the graph's input to its output, in frames.
    pub(crate) latency: u32,
    /// Whose silence stands for what the host gave that is not a number.
    pub(crate) input_slot: u32,
    /// What the first operations belong to.
    pub(crate) group: u16,
    /// How many buffers the operations use, the silent one included.
    pub(crate) pool: u32,
    /// The most buffers that one operation writes.
    pub(crate) widest: u32,
    /// The most filters of one operation.
    pub(crate) filters: u32,
}
