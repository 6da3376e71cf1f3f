//! The rate that media may have on a path: told by delay and loss, without I/O and without a clock of its own.
//!
//! Media has the rate that it has, so on a path that carries it there is no cap at all. Three signs, taken once a round
//! (a round trip, 50 ms at least), say that there should be one:
//!
//! - *A standing queue*: even the quickest packet of each of three rounds was late. One late packet is jitter.
//! - *A queue and loss at once*: one round is enough, for the buffer is about to be full.
//! - *Heavy loss* without a queue: a policer, or a buffer too small to be seen. Should less of it not come of sending
//!   less, it is the path's own, and no sign of anything.
//!
//! Then the cap is what the path delivered, less a part that lets the queue drain, and it grows again once the queue is
//! empty. A queue that does not empty although we made room twice is another flow's, which knows loss alone and would
//! take all that we leave: from then on we take our share as it does (Copa, Arun & Balakrishnan, NSDI 2018), by CUBIC's
//! law (RFC 9438), until the queue is seen empty again. So it is with a queue that comes back soon after, and with one
//! that fills while far less is sent than the cap allows: neither is ours, and media is not to be pushed further down
//! for it.

use std::time::{Duration, Instant};

use super::cubic::Cubic;

/// No cap is lower, in bytes a second: Opus at 64 kbit/s with its headers still passes.
const CAP_MIN: f64 = 15e3;
/// A round lasts at least this long, and no longer than that.
const ROUND_MIN: Duration = Duration::from_millis(50);
const ROUND_MAX: Duration = Duration::from_millis(250);
/// A round with fewer packets says nothing: acknowledgements of sparse packets wait for their timer.
const ROUND_PACKETS_MIN: u32 = 8;
/// After a silence of this length what was known of the path is history.
const STALE: Duration = Duration::from_secs(3);
/// A delay beyond this, on top of the path's usual jitter, is a queue; one below half of it is none.
const QUEUE: f64 = 0.015;
/// More of what varies is not the path's jitter, but a queue that comes and goes.
const JITTER_MAX: f64 = 0.01;
/// Rounds in a row with a queue that make it a standing one.
const STANDING_ROUNDS: u32 = 3;
/// Rounds over which the delivered rate is measured.
const RATE_ROUNDS: usize = 4;
/// What a first and a second attempt to drain the queue leave of the delivered rate.
const DRAINS: [f64; 2] = [0.85, 0.7];
/// Loss beyond the path's own that counts as a sign beside a queue, and without one.
const LOSS_WITH_QUEUE: f64 = 0.02;
const LOSS_BESIDE_TCP: f64 = 0.004;
const LOSS_HEAVY: f64 = 0.10;
/// How long heavy loss lasts before it is believed: a burst is shorter.
const HEAVY: Duration = Duration::from_millis(600);
/// How long a rate just below the knee is kept before more is tried; doubles with each attempt that failed.
const PATIENCE_MIN: Duration = Duration::from_secs(1);
const PATIENCE_MAX: Duration = Duration::from_secs(8);
/// Beside another flow, no loss for so long means that there is none: the path itself has become longer.
const REBASE: Duration = Duration::from_secs(20);
/// How often we look, by making room, whether the other flow is still there; and for how long after it seemed gone a
/// queue is taken for its.
const LOOK: Duration = Duration::from_secs(60);
const RETURN: Duration = Duration::from_secs(20);

/// What the control knows, for those who look on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// In bytes a second, QUIC's headers included.
    pub(super) cap: Option<f64>,
    pub(super) queueing_delay: Duration,
    /// Of one.
    pub(super) loss: f64,
    pub(super) competing: bool,
}

/// What one round has seen.
#[derive(Clone, Copy, Debug)]
struct Round {
    began: Instant,
    rtt_min: Option<f64>,
    rtt_sum: f64,
    samples: u32,
    packets: u32,
    sent: u64,
    acked: u64,
    lost: u64,
    /// When the newest of the packets lost was sent.
    lost_newest: Option<Instant>,
}

impl Round {
    fn new(began: Instant) -> Self {
        Self {
            began,
            rtt_min: None,
            rtt_sum: 0.0,
            samples: 0,
            packets: 0,
            sent: 0,
            acked: 0,
            lost: 0,
            lost_newest: None,
        }
    }

    fn loss(&self) -> f64 {
        float(self.lost) / float((self.lost + self.acked).max(1))
    }
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    /// The queue is short or not ours to see; the cap, if there is one, grows.
    Open,
    /// The queue is being drained.
    Draining { until: Instant, attempt: usize },
    /// Another flow keeps the queue filled.
    Competing(Competition),
}

#[derive(Clone, Copy, Debug)]
struct Competition {
    cubic: Cubic,
    last_loss: Instant,
    /// When to look whether it is one still.
    look: Instant,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct RateControl {
    mode: Mode,
    cap: Option<f64>,
    round: Round,
    round_length: Duration,
    /// The newest packet that the acknowledgement at hand tells of.
    newest_sent: Option<Instant>,
    /// Seconds.
    rtt_base: f64,
    rtt_smooth: f64,
    jitter: f64,
    /// Of the last rounds: bytes sent, bytes delivered, and seconds.
    rounds: [(u64, u64, f64); RATE_ROUNDS],
    sent_peak: f64,
    standing: f64,
    standing_rounds: u32,
    /// The loss that the path has of itself, and that of the last rounds.
    loss_ambient: f64,
    loss_recent: f64,
    heavy_since: Option<Instant>,
    /// The heavy loss at which the cap was cut last, and when.
    last_cut: Option<(f64, Instant)>,
    /// The rate at which a queue formed, and from when on more may be tried.
    knee: Option<f64>,
    retry: Instant,
    patience: Duration,
    /// The delivered rate before we made room.
    before: f64,
    last_sign: Option<Instant>,
    /// When another flow seemed gone, and the cap beside it.
    competed: Option<(f64, Instant)>,
}

impl RateControl {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            mode: Mode::Open,
            cap: None,
            round: Round::new(now),
            round_length: ROUND_MIN,
            newest_sent: None,
            rtt_base: f64::INFINITY,
            rtt_smooth: 0.0,
            jitter: 0.0,
            rounds: [(0, 0, 0.0); RATE_ROUNDS],
            sent_peak: 0.0,
            standing: 0.0,
            standing_rounds: 0,
            loss_ambient: 0.0,
            loss_recent: 0.0,
            heavy_since: None,
            last_cut: None,
            knee: None,
            retry: now,
            patience: PATIENCE_MIN,
            before: 0.0,
            last_sign: None,
            competed: None,
        }
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            cap: self.cap,
            queueing_delay: Duration::from_secs_f64(self.standing),
            loss: self.loss_recent,
            competing: matches!(self.mode, Mode::Competing(_)),
        }
    }

    /// The round trip as it is now.
    pub(super) fn round_trip(&self) -> Duration {
        Duration::from_secs_f64(self.rtt_smooth)
    }

    pub(super) fn handle_sent(&mut self, bytes: u64) {
        self.round.sent += bytes;
    }

    /// One packet of an acknowledgement; `handle_acks_end` follows when it has told of all.
    pub(super) fn handle_ack(&mut self, sent: Instant, bytes: u64) {
        self.round.acked += bytes;
        self.round.packets += 1;
        self.newest_sent = self.newest_sent.max(Some(sent));
    }

    /// Packets, the newest of which was sent then.
    pub(super) fn handle_lost(&mut self, sent: Instant, bytes: u64) {
        self.round.lost += bytes;
        self.round.lost_newest = self.round.lost_newest.max(Some(sent));
    }

    /// The whole of an acknowledgement is in. Only its newest packet tells a round trip: the others waited for it.
    pub(super) fn handle_acks_end(&mut self, now: Instant) {
        let Some(sent) = self.newest_sent.take() else { return };
        let rtt = now.saturating_duration_since(sent).as_secs_f64();
        let round = &mut self.round;
        round.rtt_min = Some(round.rtt_min.map_or(rtt, |least| least.min(rtt)));
        round.rtt_sum += rtt;
        round.samples += 1;
        self.rtt_base = self.rtt_base.min(rtt);
        let elapsed = now.saturating_duration_since(round.began);
        if elapsed >= STALE {
            self.forget(now);
        } else if elapsed >= self.round_length && round.packets >= ROUND_PACKETS_MIN {
            let round = std::mem::replace(&mut self.round, Round::new(now));
            self.end_round(&round, now, elapsed.as_secs_f64());
        } else if elapsed >= ROUND_MAX && round.packets < ROUND_PACKETS_MIN {
            self.round = Round::new(now);
        }
    }

    /// Keeps the path's least round trip alone.
    fn forget(&mut self, now: Instant) {
        *self = Self { rtt_base: self.rtt_base, jitter: self.jitter, ..Self::new(now) };
    }

    fn end_round(&mut self, round: &Round, now: Instant, seconds: f64) {
        let Some(rtt_min) = round.rtt_min else { return };
        let rtt_mean = round.rtt_sum / f64::from(round.samples.max(1));
        self.rtt_smooth =
            if self.rtt_smooth == 0.0 { rtt_mean } else { mix(self.rtt_smooth, rtt_mean, 0.25) };
        self.round_length = Duration::from_secs_f64(self.rtt_smooth).clamp(ROUND_MIN, ROUND_MAX);
        self.rounds.rotate_right(1);
        self.rounds[0] = (round.sent, round.acked, seconds);
        self.sent_peak = (self.sent_peak * (1.0 - 0.1 * seconds)).max(float(round.sent) / seconds);
        let standing_before = self.standing;
        self.standing = rtt_min - self.rtt_base;
        self.loss_recent = mix(self.loss_recent, round.loss(), 0.25);
        let queued = self.standing > self.queue_threshold();
        // A queue that is on its way out needs nobody's help.
        let falling = self.standing < 0.8 * standing_before;
        self.standing_rounds = if !queued || falling { 0 } else { self.standing_rounds + 1 };
        let lossy = round.loss() > 2.0 * self.loss_ambient + LOSS_WITH_QUEUE;
        if !queued && round.loss() < LOSS_HEAVY {
            self.loss_ambient = mix(self.loss_ambient, round.loss(), 0.05);
        }
        if !queued && !lossy {
            self.jitter = mix(self.jitter, rtt_mean - rtt_min, 0.02).min(JITTER_MAX);
        }
        match self.mode {
            Mode::Open => self.open(queued, lossy, now, seconds),
            Mode::Draining { until, attempt } => self.drain(until, attempt, now),
            Mode::Competing(competition) => {
                // What was sent before the last loss was answered says nothing of the answer.
                let lossy = round.loss() > 2.0 * self.loss_ambient + LOSS_BESIDE_TCP
                    && queued
                    && round.lost_newest > Some(competition.last_loss);
                self.compete(competition, lossy, now, seconds);
            }
        }
    }

    /// Seconds. What one round has of jitter, twice, is usual.
    fn queue_threshold(&self) -> f64 {
        QUEUE + 2.0 * self.jitter
    }

    fn is_empty(&self) -> bool {
        self.standing < 0.5 * self.queue_threshold()
    }

    /// Bytes a second, over the last rounds.
    fn delivered_rate(&self) -> f64 {
        let bytes: u64 = self.rounds.iter().map(|(_, delivered, _)| delivered).sum();
        float(bytes) / self.rounds_seconds()
    }

    /// Likewise.
    fn sent_rate(&self) -> f64 {
        let bytes: u64 = self.rounds.iter().map(|(sent, ..)| sent).sum();
        float(bytes) / self.rounds_seconds()
    }

    fn rounds_seconds(&self) -> f64 {
        self.rounds.iter().map(|(.., seconds)| seconds).sum::<f64>().max(1e-3)
    }

    // ---- Open.

    fn open(&mut self, queued: bool, lossy: bool, now: Instant, seconds: f64) {
        if self.standing_rounds >= STANDING_ROUNDS || (queued && lossy) {
            if let Some(cap) = self.share_beside_another(now) {
                self.start_competing(Cubic::known(cap * self.rtt_smooth), now);
                return;
            }
            self.before = self.delivered_rate();
            self.miss(now);
            self.start_drain(0, now);
        } else if self.is_heavy(now) {
            self.cut(now);
        } else if self.is_empty() && !lossy {
            self.grow(now, seconds);
        }
    }

    /// The cap, if the queue cannot be ours: far less is sent than the cap allows, or another flow was here just now.
    fn share_beside_another(&self, now: Instant) -> Option<f64> {
        let unused = self.cap.filter(|cap| self.sent_rate() < 0.7 * cap);
        let back = self.competed.filter(|_| self.is_another_near(now));
        unused.or(back.map(|(cap, _)| cap))
    }

    fn is_another_near(&self, now: Instant) -> bool {
        self.competed.is_some_and(|(_, at)| now.saturating_duration_since(at) < RETURN)
    }

    fn is_heavy(&mut self, now: Instant) -> bool {
        if self.loss_recent <= LOSS_HEAVY + 1.5 * self.loss_ambient {
            self.heavy_since = None;
            return false;
        }
        let since = *self.heavy_since.get_or_insert(now);
        now.saturating_duration_since(since) >= HEAVY
    }

    /// Below what comes through, so that a queue would drain that was there before we were and hid the path's own round
    /// trip; unless it has not helped before.
    fn cut(&mut self, now: Instant) {
        self.heavy_since = None;
        let loss = self.loss_recent;
        let in_vain = |(before, at)| loss > 0.7 * before && now.saturating_duration_since(at) < 3 * HEAVY;
        if self.last_cut.take().is_some_and(in_vain) {
            self.loss_ambient = loss.min(0.5);
            self.cap = None;
            self.knee = None;
        } else {
            self.last_cut = Some((loss, now));
            self.miss(now);
            self.set_cap(DRAINS[0] * self.delivered_rate());
        }
    }

    /// The rate at hand is too much: it is not tried again too soon.
    fn miss(&mut self, now: Instant) {
        let soon = self.last_sign.is_some_and(|last| now.saturating_duration_since(last) < 4 * PATIENCE_MAX);
        self.patience = if soon { (2 * self.patience).min(PATIENCE_MAX) } else { PATIENCE_MIN };
        self.last_sign = Some(now);
        self.knee = Some(self.delivered_rate());
        self.retry = now + self.patience;
    }

    fn grow(&mut self, now: Instant, seconds: f64) {
        let Some(cap) = self.cap else { return };
        let per_second = match self.knee {
            // Should the other flow be there still, it shall not find its part taken.
            None if self.is_another_near(now) => 0.25,
            Some(knee) if cap < 0.9 * knee => 0.5,
            Some(_) if now < self.retry => 0.0,
            Some(knee) if cap < 1.15 * knee => 0.08,
            _ => {
                self.knee = None;
                1.0
            }
        };
        self.set_cap(cap * (1.0 + per_second * seconds));
        // Far from what is sent, and nothing speaks against it.
        if self.knee.is_none() && cap > 3.0 * self.sent_peak && now >= self.retry {
            self.cap = None;
        }
    }

    // ---- Draining.

    fn start_drain(&mut self, attempt: usize, now: Instant) {
        let part = DRAINS[attempt];
        self.set_cap(part * self.before);
        self.standing_rounds = 0;
        // What is not sent drains the queue; twice that time, and the round trips before and after it.
        let needed = 1.5 * self.standing * part / (1.0 - part) + 2.0 * self.rtt_smooth + 0.1;
        self.mode = Mode::Draining { until: now + Duration::from_secs_f64(needed.min(1.0)), attempt };
    }

    fn drain(&mut self, until: Instant, attempt: usize, now: Instant) {
        if self.is_empty() {
            self.mode = Mode::Open;
            return;
        }
        if now < until {
            return;
        }
        if attempt + 1 < DRAINS.len() {
            // A bottleneck that became much narrower meanwhile shows in what it delivers of what it is sent.
            if self.delivered_rate() < 0.9 * self.sent_rate() {
                self.before = self.before.min(self.delivered_rate() / DRAINS[attempt]);
            }
            self.start_drain(attempt + 1, now);
        } else {
            let window = self.before * self.rtt_smooth;
            let cubic = if self.competed.is_some() { Cubic::known(window) } else { Cubic::new(window) };
            self.start_competing(cubic, now);
        }
    }

    // ---- Competing.

    fn start_competing(&mut self, cubic: Cubic, now: Instant) {
        self.set_cap(cubic.window() / self.rtt_smooth.max(1e-3));
        self.competed = self.cap.map(|cap| (cap, now));
        self.mode = Mode::Competing(Competition { cubic, last_loss: now, look: now + LOOK });
    }

    fn compete(&mut self, mut competition: Competition, lossy: bool, now: Instant, seconds: f64) {
        let Competition { cubic, last_loss, look } = &mut competition;
        if self.is_empty() {
            self.leave(now);
            return;
        }
        if now >= *look {
            self.before = self.cap.unwrap_or_default();
            self.start_drain(0, now);
            return;
        }
        if lossy {
            cubic.handle_loss();
            *last_loss = now;
        } else if now.saturating_duration_since(*last_loss) > REBASE {
            self.rtt_base += self.standing;
            self.leave(now);
            return;
        } else {
            // Used or not: media that gave way, and comes back step by step, finds its share again.
            cubic.grow(seconds, self.rtt_smooth);
        }
        self.set_cap(cubic.window() / self.rtt_smooth.max(1e-3));
        self.mode = Mode::Competing(competition);
    }

    /// Nobody else is there any more, and nothing is known of what the path can carry.
    fn leave(&mut self, now: Instant) {
        self.mode = Mode::Open;
        self.competed = self.cap.map(|cap| (cap, now));
        self.knee = None;
        self.patience = PATIENCE_MIN;
        self.retry = now;
    }

    fn set_cap(&mut self, bytes_per_second: f64) {
        self.cap = Some(bytes_per_second.max(CAP_MIN));
    }
}

fn mix(before: f64, new: f64, part: f64) -> f64 {
    before + part * (new - before)
}

#[allow(clippy::cast_precision_loss, reason = "bytes of seconds, far below 2^53")]
fn float(value: u64) -> f64 {
    value as f64
}
