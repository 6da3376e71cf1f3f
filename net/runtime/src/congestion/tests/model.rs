//! A bottleneck in virtual time, the media flow at it, and a CUBIC flow beside it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use crate::congestion::rate_control::RateControl;
use crate::congestion::shaper::Shaper;
use crate::congestion::share::shares;

const PACKET: f64 = 1200.0;
const SEGMENT: f64 = 1500.0;
/// As the transport asks for it: one acknowledgement for so many packets, or after this time.
const ACKNOWLEDGED: usize = 12;
const ACKNOWLEDGED_AFTER: f64 = 0.025;
/// Media comes in bursts, one for each callback.
const CALLBACK: f64 = 128.0 / 48_000.0;

#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) rate_bps: f64,
    pub(super) buffer_seconds: f64,
    pub(super) round_trip: f64,
    /// Of each packet, before the queue.
    pub(super) loss: f64,
    /// The most that a packet takes longer, so that it may be overtaken.
    pub(super) jitter: f64,
}

/// What happens; times are nanoseconds, so that they have an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Callback,
    MediaArrives(u64),
    MediaAcknowledgeBy,
    MediaAcknowledged(u64),
    TcpAcknowledged(u64),
    TcpTick,
}

#[derive(Debug)]
pub(super) struct Media {
    pub(super) demand_bps: f64,
    /// As parts of the demand, the best first: what a stream sends instead when its share of the cap is lower. The best
    /// one alone: it knows no other, and sends what the shaper lets through.
    pub(super) rungs: Vec<f64>,
    /// Of the streams, among which the demand is divided, the rung of each, and since when.
    pub(super) streams: Vec<(usize, f64)>,
    pub(super) cap_sum: f64,
    control: RateControl,
    shaper: Shaper,
    owed: f64,
    next: u64,
    in_flight: BTreeMap<u64, f64>,
    waiting: Vec<u64>,
    timer: bool,
    batches: Vec<Vec<u64>>,
    pub(super) refused: u64,
    pub(super) sent: f64,
    pub(super) lost: f64,
    pub(super) arrived: f64,
}

impl Media {
    /// As the ladder of `audiocloud_session` does it: down at once as far as it takes, up one at a time, each two seconds
    /// after the last change. What all of them send, as a part of the demand.
    fn choose_rungs(&mut self, cap: Option<f64>, now: f64) -> f64 {
        let count = self.streams.len();
        // In parts of a million of what one stream would take.
        let one = count_f64(count) * 1e6 / self.demand_bps.max(1.0);
        let cap = cap.map_or(u64::MAX, |cap| nanos(8.0 * cap * one / 1e9));
        let shares = shares(cap, &vec![1_000_000; count]);
        for ((rung, since), share) in self.streams.iter_mut().zip(shares) {
            let part = seconds(share) * 1e3;
            while self.rungs[*rung] > part && *rung + 1 < self.rungs.len() {
                *rung += 1;
                *since = now;
            }
            if *rung > 0 && now - *since > 2.0 && self.rungs[*rung - 1] < 0.95 * part {
                *rung -= 1;
                *since = now;
            }
        }
        self.streams.iter().map(|(rung, _)| self.rungs[*rung]).sum::<f64>() / count_f64(count)
    }
}

/// CUBIC (RFC 9438) in segments, with slow start and one reduction a round trip.
#[derive(Debug)]
pub(super) struct Tcp {
    window: f64,
    threshold: f64,
    window_max: f64,
    reno: f64,
    epoch: Option<f64>,
    recovery_until: u64,
    next: u64,
    in_flight: BTreeMap<u64, f64>,
    arrived: f64,
    round_trip: f64,
    last_acknowledged: f64,
}

impl Tcp {
    pub(super) fn new(now: f64) -> Self {
        Self {
            window: 10.0,
            threshold: f64::INFINITY,
            window_max: 0.0,
            reno: 0.0,
            epoch: None,
            recovery_until: 0,
            next: 0,
            in_flight: BTreeMap::new(),
            arrived: 0.0,
            round_trip: 0.1,
            last_acknowledged: now,
        }
    }

    fn acknowledge(&mut self, number: u64, now: f64) {
        self.last_acknowledged = now;
        let Some(sent) = self.in_flight.remove(&number) else { return };
        self.round_trip += 0.125 * (now - sent - self.round_trip);
        // The link keeps the order, so a hole of three segments is a loss.
        let lost: Vec<u64> =
            self.in_flight.range(..number.saturating_sub(2)).map(|(&number, _)| number).collect();
        for number in &lost {
            self.in_flight.remove(number);
        }
        if lost.last().is_some_and(|&last| last >= self.recovery_until) {
            self.recovery_until = self.next;
            self.window_max = if self.window < self.window_max { self.window * 0.85 } else { self.window };
            self.window = (self.window * 0.7).max(2.0);
            self.threshold = self.window;
            self.reno = self.window;
            self.epoch = None;
        } else if self.window < self.threshold {
            self.window += 1.0;
        } else if number >= self.recovery_until {
            let seconds = now + self.round_trip - *self.epoch.get_or_insert(now);
            let origin = (self.window_max * 0.3 / 0.4).cbrt();
            let target =
                (0.4 * (seconds - origin).powi(3) + self.window_max).clamp(self.window, 1.5 * self.window);
            self.reno += 3.0 * 0.3 / 1.7 / self.window;
            self.window = (self.window + (target - self.window) / self.window).max(self.reno);
        }
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) path: Path,
    pub(super) media: Media,
    pub(super) tcp: Option<Tcp>,
    /// Rounds at which there was a cap.
    pub(super) caps_seen: u64,
    start: Instant,
    now: f64,
    since: f64,
    events: BinaryHeap<Reverse<(u64, What)>>,
    /// When the link has sent all that is queued.
    free_at: f64,
    queue_sum: f64,
    queue_count: f64,
    random: u64,
}

impl World {
    pub(super) fn new(path: Path, demand_bps: f64, seed: u64) -> Self {
        let start = Instant::now();
        let media = Media {
            demand_bps,
            rungs: vec![1.0],
            streams: vec![(0, 0.0)],
            cap_sum: 0.0,
            control: RateControl::new(start),
            shaper: Shaper::new(start),
            owed: 0.0,
            next: 0,
            in_flight: BTreeMap::new(),
            waiting: Vec::new(),
            timer: false,
            batches: Vec::new(),
            refused: 0,
            sent: 0.0,
            lost: 0.0,
            arrived: 0.0,
        };
        let mut world = Self {
            path,
            media,
            tcp: None,
            caps_seen: 0,
            start,
            now: 0.0,
            since: 0.0,
            events: BinaryHeap::new(),
            free_at: 0.0,
            queue_sum: 0.0,
            queue_count: 0.0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        };
        let callback = world.random() * CALLBACK;
        world.at(callback, What::Callback);
        world.at(0.0, What::TcpTick);
        world
    }

    pub(super) fn reset(&mut self) {
        self.since = self.now;
        self.queue_sum = 0.0;
        self.queue_count = 0.0;
        self.media.refused = 0;
        self.media.cap_sum = 0.0;
        self.media.sent = 0.0;
        self.media.lost = 0.0;
        self.media.arrived = 0.0;
        if let Some(tcp) = &mut self.tcp {
            tcp.arrived = 0.0;
        }
    }

    pub(super) fn media_bps(&self) -> f64 {
        8.0 * self.media.arrived / (self.now - self.since)
    }

    /// What it might have sent, of what the link carries.
    pub(super) fn cap_bps(&self) -> f64 {
        self.media.cap_sum / (self.now - self.since)
    }

    pub(super) fn tcp_bps(&self) -> f64 {
        8.0 * self.tcp.as_ref().map_or(0.0, |tcp| tcp.arrived) / (self.now - self.since)
    }

    /// Seconds.
    pub(super) fn queue_mean(&self) -> f64 {
        self.queue_sum / self.queue_count.max(1.0)
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration.as_secs_f64();
        while let Some(&Reverse((at, what))) = self.events.peek() {
            let at = seconds(at);
            if at > end {
                break;
            }
            self.events.pop();
            self.now = at;
            self.handle(what);
        }
        self.now = end;
    }

    fn at(&mut self, time: f64, what: What) {
        self.events.push(Reverse((nanos(time), what)));
    }

    fn instant(&self, time: f64) -> Instant {
        self.start + Duration::from_nanos(nanos(time))
    }

    /// xorshift64*, in [0, 1).
    pub(super) fn random(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = u32::try_from(self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).unwrap_or(0);
        f64::from(bits) / 4_294_967_296.0
    }

    /// When a packet that is sent now reaches the other end, if it does.
    fn send(&mut self, bytes: f64) -> Option<f64> {
        if self.random() < self.path.loss {
            return None;
        }
        let waits = (self.free_at - self.now).max(0.0);
        self.queue_sum += waits;
        self.queue_count += 1.0;
        if waits > self.path.buffer_seconds {
            return None;
        }
        self.free_at = self.now + waits + 8.0 * bytes / self.path.rate_bps;
        Some(self.free_at + self.path.round_trip / 2.0 + self.path.jitter * self.random())
    }

    fn handle(&mut self, what: What) {
        match what {
            What::Callback => self.callback(),
            What::MediaArrives(number) => self.media_arrives(number),
            What::MediaAcknowledgeBy => {
                self.media.timer = false;
                self.acknowledge();
            }
            What::MediaAcknowledged(batch) => self.media_acknowledged(batch),
            What::TcpAcknowledged(number) => {
                if let Some(tcp) = &mut self.tcp {
                    tcp.arrived += SEGMENT;
                    tcp.acknowledge(number, self.now);
                }
                self.tcp_sends();
            }
            What::TcpTick => {
                // A window that is lost as a whole begins anew.
                if let Some(tcp) = &mut self.tcp
                    && self.now - tcp.last_acknowledged > 1.0
                {
                    tcp.in_flight.clear();
                    tcp.last_acknowledged = self.now;
                    tcp.threshold = tcp.window / 2.0;
                    tcp.window = 2.0;
                }
                self.tcp_sends();
                self.at(self.now + 0.2, What::TcpTick);
            }
        }
    }

    fn callback(&mut self) {
        let now = self.instant(self.now);
        let cap = self.media.control.figures().cap;
        self.caps_seen += u64::from(cap.is_some());
        self.media.cap_sum += 8.0 * cap.unwrap_or(f64::INFINITY).min(self.path.rate_bps / 8.0) * CALLBACK;
        let part = self.media.choose_rungs(cap, self.now);
        self.media.owed += part * self.media.demand_bps / 8.0 * CALLBACK;
        self.media.shaper.set_cap(cap, now);
        while self.media.owed >= PACKET {
            self.media.owed -= PACKET;
            if !self.media.shaper.admits(1200, now) {
                self.media.refused += 1;
                continue;
            }
            self.media.sent += PACKET;
            self.media.control.handle_sent(1200);
            let number = self.media.next;
            self.media.next += 1;
            self.media.in_flight.insert(number, self.now);
            match self.send(PACKET) {
                Some(arrival) => self.at(arrival, What::MediaArrives(number)),
                None => self.media.lost += PACKET,
            }
        }
        self.at(self.now + CALLBACK, What::Callback);
    }

    fn media_arrives(&mut self, number: u64) {
        self.media.arrived += PACKET;
        self.media.waiting.push(number);
        if self.media.waiting.len() >= ACKNOWLEDGED {
            self.acknowledge();
        } else if !self.media.timer {
            self.media.timer = true;
            self.at(self.now + ACKNOWLEDGED_AFTER, What::MediaAcknowledgeBy);
        }
    }

    fn acknowledge(&mut self) {
        let batch = std::mem::take(&mut self.media.waiting);
        if batch.is_empty() {
            return;
        }
        self.media.batches.push(batch);
        let index = u64::try_from(self.media.batches.len() - 1).unwrap_or(0);
        self.at(self.now + self.path.round_trip / 2.0, What::MediaAcknowledged(index));
    }

    fn media_acknowledged(&mut self, batch: u64) {
        let now = self.instant(self.now);
        let batch = std::mem::take(&mut self.media.batches[usize::try_from(batch).unwrap_or(0)]);
        for number in &batch {
            if let Some(sent) = self.media.in_flight.remove(number) {
                let sent = self.instant(sent);
                self.media.control.handle_ack(sent, 1200);
            }
        }
        self.media.control.handle_acks_end(now);
        // Late by so much that a reordered packet is not among them.
        let old = self.now - 2.0 * self.media.control.round_trip().as_secs_f64() - 0.02;
        let newest = batch.iter().max().copied().unwrap_or(0);
        let lost: Vec<u64> =
            self.media.in_flight.range(..newest).filter(|(_, sent)| **sent < old).map(|(&n, _)| n).collect();
        for number in lost {
            if let Some(sent) = self.media.in_flight.remove(&number) {
                let sent = self.instant(sent);
                self.media.control.handle_lost(sent, 1200);
            }
        }
    }

    fn tcp_sends(&mut self) {
        loop {
            let Some(tcp) = &mut self.tcp else { return };
            let in_flight = f64::from(u32::try_from(tcp.in_flight.len()).unwrap_or(u32::MAX));
            if in_flight + 1.0 > tcp.window {
                return;
            }
            let number = tcp.next;
            tcp.next += 1;
            tcp.in_flight.insert(number, self.now);
            let jitter = std::mem::take(&mut self.path.jitter);
            let arrival = self.send(SEGMENT);
            self.path.jitter = jitter;
            if let Some(arrival) = arrival {
                self.at(arrival + self.path.round_trip / 2.0, What::TcpAcknowledged(number));
            }
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "minutes, in nanoseconds")]
fn nanos(time: f64) -> u64 {
    (time * 1e9) as u64
}

fn count_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[allow(clippy::cast_precision_loss, reason = "minutes, in nanoseconds")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
