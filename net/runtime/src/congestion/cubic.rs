//! The window of a CUBIC flow (RFC 9438): what a TCP flow beside us allows itself under the same losses.

/// Bytes in a segment, as TCP has them.
const SEGMENT: f64 = 1448.0;
/// Segments per cubed second (clause 5.1), and what a loss leaves of the window (clause 4.6).
const C: f64 = 0.4;
const BETA: f64 = 0.7;
/// Of a Reno flow with CUBIC's β: segments per round trip (clause 4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
const WINDOW_MIN: f64 = 2.0 * SEGMENT;

/// In bytes; time is that since the last loss.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cubic {
    window: f64,
    window_max: f64,
    /// The window that a Reno flow would have.
    reno: f64,
    seconds: f64,
    /// Until the first loss the right window is unknown, and looked for more quickly.
    searching: bool,
}

impl Cubic {
    pub(super) fn new(window: f64) -> Self {
        let window = window.max(WINDOW_MIN);
        Self { window, window_max: window, reno: window, seconds: 0.0, searching: true }
    }

    /// About the right window is known.
    pub(super) fn known(window: f64) -> Self {
        Self { searching: false, ..Self::new(window) }
    }

    pub(super) fn window(&self) -> f64 {
        self.window
    }

    /// Called at most once in a round trip.
    pub(super) fn handle_loss(&mut self) {
        // Fast convergence (clause 4.7): a window that did not reach the last one leaves room to others.
        let converging = self.window < self.window_max && !self.searching;
        self.window_max = if converging { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.window = (BETA * self.window).max(WINDOW_MIN);
        self.reno = self.window;
        self.seconds = 0.0;
        self.searching = false;
    }

    /// `seconds` later, without a loss.
    pub(super) fn grow(&mut self, seconds: f64, round_trip: f64) {
        let rounds = seconds / round_trip.max(1e-3);
        self.seconds += seconds;
        let target = if self.searching {
            self.window * (1.0 + 0.1 * rounds)
        } else {
            self.reno += ALPHA * SEGMENT * rounds;
            let origin = (self.window_max * (1.0 - BETA) / (C * SEGMENT)).cbrt();
            let cubic = C * SEGMENT * (self.seconds - origin).powi(3) + self.window_max;
            cubic.max(self.reno)
        };
        // Clause 4.4: at most half as much again in a round trip.
        let target = target.min(self.window * (1.0 + 0.5 * rounds));
        self.window = self.window.max(target);
    }
}
