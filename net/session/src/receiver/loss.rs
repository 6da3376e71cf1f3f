//! How much of a stream the path loses, and what is wished against it.

use audiocloud_units::{HostTime, Nanos};

/// How long the fast and the slow of the two averages remember, in steps.
const FAST_STEPS: f64 = 20.0;
const SLOW_STEPS: f64 = 200.0;
/// Of how many packets at least an average is made.
const PACKETS_MIN: f64 = 100.0;
/// Without loss for so long, nothing is spent against it.
const FORGIVEN: Nanos = Nanos::from_secs(10);
/// Less than this is what averages leave of packets that came after all.
const NOTHING: f64 = 0.000_2;
/// From this share on, what is sent back to the sender is sent twice.
const LOSSY: f64 = 0.02;

/// How much protection is wished: one repair for every `every` packets (0: none), each over the last `window`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Packets from one repair to the next; 0: no repairs.
    pub every: u8,
    /// Packets that each repair covers.
    pub window: u8,
}

impl Wish {
    /// No repairs.
    pub const NONE: Self = Self { every: 0, window: 0 };
}

/// A share of packets over a time that fades.
#[derive(Clone, Copy, Debug, Default)]
struct Fading {
    packets: f64,
    lost: f64,
}

impl Fading {
    fn step(&mut self, packets: f64, lost: f64, steps: f64) {
        let keep = 1.0 - 1.0 / steps;
        self.packets = self.packets * keep + packets;
        self.lost = (self.lost * keep + lost).max(0.0);
    }

    fn share(&self) -> f64 {
        self.lost / self.packets.max(PACKETS_MIN)
    }
}

/// What the path loses: originals that did not come by themselves, whether or not something else brought them back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loss {
    /// Since the last step.
    packets: f64,
    lost: f64,
    fast: Fading,
    slow: Fading,
    last: Option<HostTime>,
}

impl Loss {
    /// An original came.
    pub(super) fn came(&mut self) {
        self.packets += 1.0;
    }

    /// So many originals did not come.
    pub(super) fn stayed_away(&mut self, count: u32, now: HostTime) {
        self.packets += f64::from(count);
        self.lost += f64::from(count);
        self.last = Some(now);
    }

    /// One that was taken for lost came after all; it has been counted as having come too.
    pub(super) fn came_after_all(&mut self) {
        self.packets -= 1.0;
        self.lost -= 1.0;
    }

    /// 50 ms have passed.
    pub(super) fn step(&mut self) {
        self.fast.step(self.packets, self.lost, FAST_STEPS);
        self.slow.step(self.packets, self.lost, SLOW_STEPS);
        (self.packets, self.lost) = (0.0, 0.0);
    }

    /// As a share of packets: rises within a second, falls within ten.
    pub(super) fn share(&self) -> f64 {
        self.fast.share().max(self.slow.share())
    }

    /// Whether anything has been lost lately.
    pub(super) fn loses(&self) -> bool {
        self.share() > NOTHING
    }

    /// Whether as much is lost that what is sent back should be sent twice.
    pub(super) fn is_lossy(&self) -> bool {
        self.share() > LOSSY
    }

    /// What would bring back enough where there is no time to ask.
    pub(super) fn wish(&self, now: HostTime) -> Wish {
        if self.last.is_none_or(|last| now - last > FORGIVEN) {
            return Wish::NONE;
        }
        match self.share() {
            share if share < NOTHING => Wish::NONE,
            share if share < 0.001 => Wish { every: 4, window: 8 },
            share if share < 0.015 => Wish { every: 2, window: 4 },
            _ => Wish { every: 1, window: 4 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(loss: &mut Loss, seconds: u32, one_in: u32, now: &mut HostTime) {
        for step in 0..seconds * 20 {
            for packet in 0..20 {
                if one_in > 0 && (step * 20 + packet) % one_in == 0 {
                    loss.stayed_away(1, *now);
                } else {
                    loss.came();
                }
            }
            loss.step();
            *now = *now + Nanos::from_millis(50);
        }
    }

    #[test]
    fn protection_follows_loss_fast_up_and_slowly_down() {
        let (mut loss, mut now) = (Loss::default(), HostTime::new(0));
        run(&mut loss, 20, 0, &mut now);
        assert_eq!(loss.wish(now), Wish::NONE);
        run(&mut loss, 2, 100, &mut now);
        assert_eq!(loss.wish(now), Wish { every: 2, window: 4 });
        assert!(!loss.is_lossy());
        run(&mut loss, 2, 20, &mut now);
        assert_eq!(loss.wish(now), Wish { every: 1, window: 4 });
        assert!(loss.is_lossy() && (0.03..0.07).contains(&loss.share()), "{}", loss.share());
        run(&mut loss, 9, 0, &mut now);
        assert_ne!(loss.wish(now), Wish::NONE);
        run(&mut loss, 2, 0, &mut now);
        assert_eq!(loss.wish(now), Wish::NONE);
    }

    #[test]
    fn what_comes_after_all_was_not_lost() {
        let (mut loss, now) = (Loss::default(), HostTime::new(0));
        for _ in 0..50 {
            loss.stayed_away(1, now);
            loss.came();
            loss.came_after_all();
        }
        loss.step();
        assert_eq!(loss.share(), 0.0);
    }
}
