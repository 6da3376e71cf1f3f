//! Where the read position begins: with an epoch's first block, and where nothing connects to what there is.

use audiocloud_rt::block_ring::{Header, Samples};
use audiocloud_rt::log::What;

use super::{Anchor, Cause, Delay, Drift, Latency, Mode, Need, Observed, Stream};
use super::{count, need, signed_count, signed_distance};

impl Stream {
    /// The first block of an epoch sets its zero.
    pub(super) fn begin_epoch(&mut self, header: &Header) {
        let before = self.status.epoch.map_or(0, |epoch| epoch.0);
        self.note(What::EpochChanged, u64::from(header.epoch.0), u64::from(before));
        self.status.epochs += 1;
        self.status.epoch = Some(header.epoch);
        self.status.stream_channels = header.stream_channels;
        self.status.latency = Latency::default();
        self.histogram.clear();
        if self.rate != header.sample_rate {
            self.rate = header.sample_rate;
            self.delay = Delay::new(self.rate);
            self.need = Need::new(self.rate);
            self.drift = Drift::new(self.rate, self.config.sample_rate);
        }
        self.renderer.begin(self.rate);
        if self.is_resampled_from_the_start() {
            self.renderer.resample();
        }
        self.aligner.begin_stream(self.rate);
        self.anchor = Some(Anchor::new(header, self.next_zero, self.config.channels));
        self.anchor_at(header);
    }

    /// Sets the read position so that the block's first frame leaves one delay after this callback.
    pub(super) fn anchor_at(&mut self, header: &Header) {
        let waited = self.waited(header);
        let stale = self.is_stale(header);
        let longest = self.longest_callback();
        let delay = match self.settings.mode {
            Mode::Fixed { delay } => self.to_stream(delay.get()),
            Mode::Aligned { .. } => self.first_delay(header),
            // Before anything is known: room for a little jitter, and for 500 ppm of drift until it is found out. It goes
            // within seconds if there is none.
            Mode::Lowest { floor, ceiling } => {
                let (floor, ceiling) = (self.to_stream(floor.get()), self.to_stream(ceiling.get()));
                let seen = Observed { margin: 0, waited, callback: longest, is_drifting: false };
                let needed = need::for_recovery(seen, self.recovery(header));
                needed.max(longest - waited + self.frames_in(5) / 2).clamp(floor, ceiling.max(floor))
            }
        };
        let look_ahead = i64::from(self.renderer.is_resampling()) * signed_count(self.renderer.look_ahead());
        let Some(anchor) = self.anchor.as_mut() else { return };
        let Some(position) = anchor.position(header.start) else { return };
        anchor.floor = longest - waited;
        let delay = match self.settings.mode {
            Mode::Fixed { .. } => (delay - look_ahead).max(anchor.floor),
            Mode::Aligned { .. } => delay - look_ahead,
            Mode::Lowest { .. } => delay,
        };
        anchor.arrival_margin = delay + waited;
        anchor.read = position.saturating_add_signed(-delay);
        anchor.origin = position;
        anchor.newest = position;
        anchor.stale = stale;
        self.typical = delay;
        self.since_on_time = 0;
        self.late_in_a_row = 0;
        self.gap = 0;
    }

    /// The stream goes on where nothing connects to what we have: begin there.
    pub(super) fn leap(&mut self, header: &Header, samples: &Samples<'_>, cause: Cause) {
        self.renderer.cut();
        self.release.release = true;
        let Some(anchor) = self.anchor.as_mut() else { return };
        let before = anchor.media(anchor.read);
        anchor.position_zero = anchor.read.max(anchor.newest) + 4 * count(self.buffer.capacity());
        anchor.media_zero = header.start;
        self.anchor_at(header);
        self.note_resync(cause, header.start, before);
        self.relearn();
        if let Some(position) = self.anchor.and_then(|anchor| anchor.position(header.start)) {
            let margin = self.anchor.map_or(0, |anchor| signed_distance(position, anchor.read));
            self.store(header, samples, position, margin);
        }
    }
}
