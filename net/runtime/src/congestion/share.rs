//! What each stream may have of a path's cap.

/// The part of what a stream would take that it always gets, as far as there is enough for all: 24-bit PCM becomes
/// Opus at 256 kbit/s with it, which few hear.
const LEAST: u64 = 6;
/// What comes on top of it where there is room, so that a rate that varies a little still fits: an eighth.
const HEADROOM: u64 = 8;

/// For streams that would take `demands`, all of one unit, in an order that does not change.
///
/// A stream takes its rate in steps, and the same share for each may leave all of them below a step and half of the
/// path unused. So what is left when each has its least goes to the first ones, up to all that they would take
/// and a little more.
pub(crate) fn shares(cap: u64, demands: &[u64]) -> Vec<u64> {
    let all: u64 = demands.iter().fold(0, |sum, demand| sum.saturating_add(*demand));
    let least: Vec<u64> = demands.iter().map(|demand| demand.div_ceil(LEAST)).collect();
    let least_all = least.iter().fold(0, |sum: u64, least| sum.saturating_add(*least));
    let Some(mut left) = cap.checked_sub(least_all) else {
        let part = |demand: u64| u128::from(cap) * u128::from(demand) / u128::from(all.max(1));
        return demands.iter().map(|demand| u64::try_from(part(*demand)).unwrap_or(u64::MAX)).collect();
    };
    let mut shares = least;
    for (share, demand) in shares.iter_mut().zip(demands) {
        let more = demand.saturating_add(demand / HEADROOM).saturating_sub(*share).min(left);
        *share += more;
        left -= more;
    }
    // Redundancy and what is sent again come on top of what streams would take.
    for (share, demand) in shares.iter_mut().zip(demands) {
        *share += u64::try_from(u128::from(left) * u128::from(*demand) / u128::from(all.max(1))).unwrap_or(0);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_make_up_the_cap() {
        let check = |cap, demands: &[u64], expected: &[u64]| assert_eq!(shares(cap, demands), expected);
        check(0, &[], &[]);
        check(100, &[], &[]);
        check(100, &[0, 0], &[0, 0]);
        // Not even the least: in proportion.
        check(10, &[60, 120], &[3, 6]);
        // The least for all, the rest to the first.
        check(30, &[60, 120], &[10, 20]);
        check(70, &[60, 120], &[50, 20]);
        check(100, &[60, 120], &[67, 33]);
        // More than all would take, in proportion.
        check(382, &[60, 120], &[127, 255]);
        assert_eq!(shares(u64::MAX, &[u64::MAX, 60]).len(), 2);
    }
}
