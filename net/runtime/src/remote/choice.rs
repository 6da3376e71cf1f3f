//! Which node a chain goes to.

use std::time::Duration;

use audiocloud_wire::id::DeviceId;

use super::api::NodeChoice;

/// Head-room that differs by less than this, in thousandths, is alike: it moves all the time.
const ALIKE_PERMILLE: u16 = 100;

/// A node that may run the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) link: u64,
    pub(crate) device: DeviceId,
    pub(crate) head_room_permille: u16,
    pub(crate) rtt: Duration,
    /// About to end.
    pub(crate) draining: bool,
    /// It plays as many chains as it can.
    pub(crate) full: bool,
    /// It refused the chain, or failed it, a moment ago.
    pub(crate) avoided: bool,
}

/// The one that it goes to, or stays with: a node that works is kept while it is not about to end, and then too when there
/// is no other. `works`: the link of the node that has it and works.
pub(crate) fn best(choice: NodeChoice, works: Option<u64>, candidates: &[Candidate]) -> Option<u64> {
    let chosen = |one: &&Candidate| match choice {
        NodeChoice::Automatic => true,
        NodeChoice::Device(device) => one.device == device,
    };
    let current = candidates.iter().filter(chosen).find(|one| Some(one.link) == works);
    if let Some(current) = current.filter(|one| !one.draining) {
        return Some(current.link);
    }
    let open = |one: &&Candidate| !one.draining && !one.full && !one.avoided;
    let others = candidates.iter().filter(chosen).filter(open);
    let better = others.min_by_key(|one| {
        (std::cmp::Reverse(one.head_room_permille / ALIKE_PERMILLE), one.rtt, one.device, one.link)
    });
    better.or(current).map(|one| one.link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(link: u64, head_room_permille: u16, rtt_us: u64) -> Candidate {
        let device = DeviceId([u8::try_from(link).unwrap(); 32]);
        let rtt = Duration::from_micros(rtt_us);
        let (draining, full, avoided) = (false, false, false);
        Candidate { link, device, head_room_permille, rtt, draining, full, avoided }
    }

    #[test]
    fn the_greatest_head_room_then_the_shortest_way() {
        let check = |candidates: &[Candidate], works, expected| {
            assert_eq!(best(NodeChoice::Automatic, works, candidates), expected, "{candidates:?} {works:?}");
        };
        check(&[], None, None);
        check(&[node(1, 500, 300), node(2, 900, 9000)], None, Some(2));
        check(&[node(1, 940, 300), node(2, 900, 200)], None, Some(2));
        check(&[node(1, 500, 300), node(2, 900, 200)], Some(1), Some(1));
        let full = Candidate { full: true, ..node(2, 900, 1) };
        let avoided = Candidate { avoided: true, ..node(3, 950, 1) };
        check(&[node(1, 100, 300), full, avoided], None, Some(1));
        check(&[full, avoided], None, None);
        check(&[full], Some(2), Some(2));
        let draining = Candidate { draining: true, ..node(1, 900, 1) };
        check(&[draining, node(2, 10, 9)], Some(1), Some(2));
        check(&[draining], Some(1), Some(1));
        check(&[draining], None, None);
    }

    #[test]
    fn the_one_that_was_chosen_and_no_other() {
        let choice = NodeChoice::Device(DeviceId([2; 32]));
        let check = |candidates: &[Candidate], works, expected| {
            assert_eq!(best(choice, works, candidates), expected, "{candidates:?} {works:?}");
        };
        check(&[node(1, 900, 1), node(2, 10, 9)], None, Some(2));
        check(&[node(1, 900, 1), node(2, 10, 9)], Some(1), Some(2));
        check(&[node(1, 900, 1)], Some(1), None);
    }
}
