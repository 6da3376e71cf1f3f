//! How much of its time a chain needs, and whether there is room for another one.
//!
//! What counts is the deadline, not the processor: a block of so many frames must be done before as many have gone by.
//! A chain's *load* is the time that its blocks take over the time that they last, and what is added up is the 99.9th
//! percentile, for a node that holds chains on average holds none of them.

use audiocloud_engine::graph::load::Report;

/// The loads of a chain, as ratios of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// As it is now; none: nothing has been played for it to be known.
    pub(crate) measured: Option<Report>,
    /// What a rehearsal took before the chain was let in.
    pub(crate) rehearsed: f64,
}

impl Load {
    /// What is kept free for it. A chain that rests keeps its room: it may go on at any time.
    pub(crate) fn reserved(&self) -> f64 {
        /// Enough blocks that their percentile says more than the rehearsal.
        const BLOCKS_MIN: u64 = 2_000;
        match self.measured {
            Some(report) if report.callbacks >= BLOCKS_MIN => report.p999.max(report.ewma).into(),
            Some(report) => self.rehearsed.max(report.ewma.into()),
            None => self.rehearsed,
        }
    }
}

/// What a node has to give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Room {
    pub(crate) cores: usize,
    /// Of each core, at most.
    pub(crate) load_max: f64,
    pub(crate) chains_max: usize,
}

impl Room {
    /// What is left when this is reserved: 1.0 is a whole core; never below 0.
    pub(crate) fn left(&self, reserved: f64) -> f64 {
        (self.total() - reserved).max(0.0)
    }

    /// What there is to give to all chains together.
    pub(crate) fn total(&self) -> f64 {
        f64::from(u32::try_from(self.cores).unwrap_or(u32::MAX)) * self.load_max
    }

    /// Whether one more chain of this load fits to so many others, or why not, cause and remedy.
    pub(crate) fn admit(&self, chains: usize, reserved: f64, wanted: f64) -> Result<(), String> {
        if chains >= self.chains_max {
            return Err(format!(
                "this node runs {chains} chains, and no more are wanted here; choose another node, or raise `chains_max` in node.toml there"
            ));
        }
        // A thread takes one core at a time, however many there are.
        if wanted > self.load_max {
            return Err(format!(
                "the chain alone needs {} of a core of this node, and {} may be used; take effects out of it, or choose a faster node",
                percent(wanted),
                percent(self.load_max)
            ));
        }
        let left = self.left(reserved);
        if wanted > left {
            return Err(format!(
                "this node has {} of a core left, and the chain needs {}; choose another node, or take chains off this one",
                percent(left),
                percent(wanted)
            ));
        }
        Ok(())
    }
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { cores: 2, load_max: 0.8, chains_max: 3 };

    #[test]
    fn a_chain_is_let_in_while_there_is_time_for_it() {
        let check = |chains: usize, reserved: f64, wanted: f64, needle: &str| match ROOM
            .admit(chains, reserved, wanted)
        {
            Ok(()) => assert_eq!(needle, "", "{chains} {reserved} {wanted}"),
            Err(why) => assert!(!needle.is_empty() && why.contains(needle), "{why}"),
        };
        check(0, 0.0, 0.7, "");
        check(2, 1.5, 0.1, "");
        check(2, 1.5, 0.11, "10 % of a core left, and the chain needs 11 %");
        check(0, 0.0, 0.81, "take effects out of it");
        check(3, 0.0, 0.0, "runs 3 chains");
        assert_eq!((ROOM.left(1.0), ROOM.left(9.0)), (0.6000000000000001, 0.0));
    }

    #[test]
    fn what_is_measured_takes_the_place_of_the_rehearsal_when_it_says_more() {
        let report = |callbacks, ewma, p999| Some(Report { ewma, p999, peak: 1.0, callbacks, over: 0 });
        let reserved = |measured, rehearsed| Load { measured, rehearsed }.reserved();
        let check = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-6, "{got}, not {expected}");
        check(reserved(None, 0.3), 0.3);
        check(reserved(report(10, 0.1, 0.9), 0.3), 0.3);
        check(reserved(report(10, 0.5, 0.9), 0.3), 0.5);
        check(reserved(report(5_000, 0.05, 0.125), 0.3), 0.125);
    }
}
