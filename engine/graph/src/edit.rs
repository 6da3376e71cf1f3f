//! What travels between the control thread and the callback when the graph is edited.

use audiocloud_dsp::delay::Ring;

use crate::event::Body;
use crate::load::monitor::NodeCost;
use crate::node::Buffer;
use crate::schedule::Schedule;
use crate::slot::Slot;

/// One channel each.
pub(crate) type Line = Box<[Ring]>;

/// A schedule and how long it plays.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) schedule: Schedule,
    /// New connections are silent for so long, and then fade in; old ones the other way round. Multiples of the grid.
    pub(crate) warm_up_frames: u32,
    pub(crate) fade_frames: u32,
}

/// All that one edit brings, and on its way home all that it replaced.
#[derive(Debug, Default)]
pub(crate) struct Edit {
    pub(crate) number: u64,
    /// Crossfades, none to two.
    pub(crate) transitions: Vec<Stage>,
    /// What stays. After it was taken, the one it replaced.
    pub(crate) schedule: Schedule,
    pub(crate) install: Vec<(u32, Slot)>,
    pub(crate) retire: Vec<u32>,
    pub(crate) retired: Vec<Slot>,
    pub(crate) install_lines: Vec<(u32, Line)>,
    pub(crate) retire_lines: Vec<u32>,
    pub(crate) retired_lines: Vec<Line>,
    /// Slots that are told something when the edit is taken.
    pub(crate) tell: Vec<(u32, Body)>,
    /// Larger tables, where they have become too small.
    pub(crate) tables: Option<Tables>,
    /// Whether any node is a meter, and whether any oversamples, from now on.
    pub(crate) meters: bool,
    pub(crate) oversampling: bool,
    pub(crate) waited_ns: u64,
}

/// What schedules work on. Larger ones replace smaller ones whole.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) slots: Vec<Slot>,
    pub(crate) costs: Vec<NodeCost>,
    /// Slots whose parameters move; room for all.
    pub(crate) moving: Vec<u32>,
    pub(crate) lines: Vec<Line>,
    pub(crate) pool: Vec<Buffer>,
    pub(crate) spare: Vec<Buffer>,
    pub(crate) filters: Filters,
}

/// Where filters are gathered before they run side by side.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    pub(crate) coefficients: Vec<audiocloud_dsp::biquad::Coefficients>,
    pub(crate) states: Vec<audiocloud_dsp::biquad::State>,
}

/// How large [`Tables`] are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) slots: usize,
    pub(crate) lines: usize,
    pub(crate) pool: usize,
    pub(crate) spare: usize,
    pub(crate) filters: usize,
}

impl Sizes {
    /// Large enough for both, with room to grow where `self` was too small.
    pub(crate) fn grown(self, needed: Self) -> Self {
        let grown = |have: usize, need: usize| if need <= have { have } else { need.next_power_of_two() };
        Self {
            slots: grown(self.slots, needed.slots),
            lines: grown(self.lines, needed.lines),
            pool: grown(self.pool, needed.pool),
            spare: grown(self.spare, needed.spare),
            filters: grown(self.filters, needed.filters),
        }
    }
}

impl Tables {
    /// Empty ones. *Realtime-safe: no*.
    pub(crate) fn new(sizes: Sizes) -> Self {
        use audiocloud_dsp::biquad::{Coefficients, State};
        Self {
            slots: (0..sizes.slots).map(|_| Slot::default()).collect(),
            costs: vec![NodeCost::default(); sizes.slots],
            moving: Vec::with_capacity(sizes.slots),
            lines: (0..sizes.lines).map(|_| Line::default()).collect(),
            pool: (0..sizes.pool).map(|_| Buffer::new()).collect(),
            spare: (0..sizes.spare).map(|_| Buffer::new()).collect(),
            filters: Filters {
                coefficients: vec![Coefficients::IDENTITY; sizes.filters],
                states: vec![State::default(); sizes.filters],
            },
        }
    }

    /// Takes over what is in `old`, which keeps what was in `self`. Buffers need not be moved: nothing in them outlives
    /// a block.
    ///
    /// *Realtime-safe: yes*; a few bytes moved for each slot.
    pub(crate) fn take_over(&mut self, old: &mut Self) {
        self.slots.iter_mut().zip(&mut old.slots).for_each(|(new, old)| std::mem::swap(new, old));
        self.lines.iter_mut().zip(&mut old.lines).for_each(|(new, old)| std::mem::swap(new, old));
        self.costs.iter_mut().zip(&old.costs).for_each(|(new, old)| *new = *old);
        self.moving.clear();
        self.moving.extend(old.moving.iter().take(self.moving.capacity()));
    }
}
