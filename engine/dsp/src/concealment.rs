//! Concealment of lost audio: a gap is filled with what the sound was about to do.
//!
//! Two predictions are added. The stretch that resembles the last 10 ms most is repeated, the same for all channels, so
//! that the image stays where it is (D. J. Goodman et al., *Waveform Substitution Techniques for Recovering Missing Speech
//! Segments in Packet Voice Communications*, IEEE Trans. ASSP 34(6), 1986), as loud as the resemblance warrants: noise
//! hardly. What that leaves over of the last milliseconds is carried on by linear prediction, channel by channel but by the
//! same weights, with the frequency and decay of each partial, so that the fill joins what was played without a seam
//! (I. Kauppinen and K. Roth, *Audio Signal Extrapolation: Theory and Applications*, Proc. DAFx-02, 2002). Both in a row
//! are the long and the short predictor of B. S. Atal and M. R. Schroeder, *Adaptive Predictive Coding of Speech Signals*,
//! Bell Syst. Tech. J. 49(8), 1970. Stretch and weights are found in the sum of all channels.
//!
//! Such a fill dies away. A longer one goes over into the bare repetition and, as in ITU-T G.711 Appendix I, 1999, ends in
//! silence after 60 ms. What returns is faded in over the fill, which goes on below it.

mod similarity;

use std::ops::Range;

use audiocloud_units::SampleRate;

use crate::linear_prediction::{Burg, Extrapolation};
use similarity::{Similarity, Spans};

/// What the weights are found from.
const ANALYSIS_MS: f64 = 12.0;

/// Weights at 48 kHz; in proportion at other rates, so that they span the same time.
const ORDER_AT_48_KHZ: f64 = 24.0;

/// The time constant by which a partial that would sound on dies away, at least.
const DAMPING_MS: f64 = 50.0;

/// Both predictions until here, repetition alone from there.
const REPETITION_BEGINS_MS: f64 = 10.0;
const REPETITION_ALONE_MS: f64 = 20.0;

/// The fill fades from here, and is silence from there.
const FADE_BEGINS_MS: f64 = 20.0;
const SILENCE_MS: f64 = 60.0;

/// From the fill back to what returns.
const RETURN_MS: f64 = 3.0;

/// Conceals the gaps of a stream's channels.
///
/// To be called for all that is played, in order: [`play`](Self::play) for what is there and
/// [`conceal`](Self::conceal) for what is not.
#[derive(Clone, Debug)]
pub struct Concealer {
    channels: Box<[Channel]>,
    burg: Burg,
    similarity: Similarity,
    /// The end of the histories in a row: of all channels, of one, and for analysis.
    mix: Box<[f32]>,
    past: Box<[f32]>,
    samples: Box<[f64]>,
    weights: Box<[f64]>,
    damping: f64,
    /// Where the channels' histories are written next.
    next: usize,
    state: State,
    repetition: Range<u32>,
    fade: Range<u32>,
    return_frames: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing to be done.
    Through,
    /// So many frames of fill were made, and after them, if it is `Some`, so many frames have returned.
    Gap { filled: u32, returned: Option<u32> },
}

#[derive(Clone, Debug)]
struct Channel {
    /// What was played, real or not, as a ring.
    history: Box<[f32]>,
    extrapolation: Extrapolation,
    /// What is repeated; as much of it as the lag is long.
    cycle: Box<[f32]>,
    /// The loudest in the history when the gap began.
    peak: f32,
}

impl Concealer {
    /// For so many channels. Each takes about 12 KB at 48 kHz.
    ///
    /// *Realtime-safe: no*, it allocates.
    #[must_use]
    pub fn new(channels: usize, sample_rate: SampleRate) -> Self {
        let rate_hz = f64::from(sample_rate.hz());
        let frames = |ms: f64| whole(ms * rate_hz / 1000.0).max(1);
        let length = |ms: f64| frames(ms) as usize;
        let order = (whole(ORDER_AT_48_KHZ * rate_hz / 48_000.0) as usize).clamp(16, 256);
        let spans = Spans::new(rate_hz);
        let history = spans.past().max(length(ANALYSIS_MS)).max(2 * order);
        let channel = Channel {
            history: vec![0.0; history].into(),
            extrapolation: Extrapolation::new(order),
            cycle: vec![0.0; spans.lag_max()].into(),
            peak: 0.0,
        };
        Self {
            channels: vec![channel; channels].into(),
            burg: Burg::new(order),
            similarity: Similarity::new(spans),
            mix: vec![0.0; history].into(),
            past: vec![0.0; history].into(),
            samples: vec![0.0; length(ANALYSIS_MS).max(2 * order)].into(),
            weights: vec![0.0; order].into(),
            damping: libm::exp(-1000.0 / (DAMPING_MS * rate_hz)),
            next: 0,
            state: State::Through,
            repetition: frames(REPETITION_BEGINS_MS)..frames(REPETITION_ALONE_MS),
            fade: frames(FADE_BEGINS_MS)..frames(SILENCE_MS),
            return_frames: frames(RETURN_MS),
        }
    }

    /// These frames of `audio` are real. They stay as they are, bit for bit, but for the 3 ms after a gap, where they are
    /// faded in over the fill.
    ///
    /// Channels beyond those of [`new`](Self::new) stay as they are; frames beyond the shortest slice are left out.
    ///
    /// *Realtime-safe: yes*; without a gap the cost is that of a copy.
    pub fn play<C: AsMut<[f32]>>(&mut self, audio: &mut [C], frames: Range<usize>) {
        let frames = within(audio, frames);
        if frames.is_empty() {
            return;
        }
        if let State::Gap { filled, returned } = self.state {
            self.fade_in(audio, frames.clone(), filled, returned.unwrap_or(0));
        }
        self.keep(audio, frames);
    }

    /// These frames of `audio` are lost: they are overwritten by the fill, which goes on from call to call until
    /// [`play`](Self::play).
    ///
    /// Channels beyond those of [`new`](Self::new) become silent; frames beyond the shortest slice are left out.
    ///
    /// *Realtime-safe: yes*. The first call of a gap analyses what was played: at 48 kHz about 7 µs, and 3 µs for each
    /// channel.
    pub fn conceal<C: AsMut<[f32]>>(&mut self, audio: &mut [C], frames: Range<usize>) {
        let frames = within(audio, frames);
        if frames.is_empty() {
            return;
        }
        let first = match self.state {
            State::Gap { filled, returned: None } => filled,
            // From what was played a new fill is made, also where too little returned to have faded in.
            State::Through | State::Gap { .. } => {
                self.begin();
                0
            }
        };
        for (index, channel) in audio.iter_mut().enumerate() {
            self.fill(index, first, &mut channel.as_mut()[frames.clone()], |sample, fill| *sample = fill);
        }
        // From there on all is silence, and nothing has to be counted.
        let filled = first.saturating_add(count(frames.len())).min(self.fade.end);
        self.state = State::Gap { filled, returned: None };
        self.keep(audio, frames);
    }

    /// What was played ends here: what is played next does not continue it, and is faded in over what it was about to do.
    ///
    /// *Realtime-safe: yes*; it costs what the first [`conceal`](Self::conceal) of a gap does, unless a gap is open.
    pub fn break_off(&mut self) {
        if !matches!(self.state, State::Gap { returned: None, .. }) {
            self.begin();
            self.state = State::Gap { filled: 0, returned: None };
        }
    }

    /// Silence from here on, which what is played next is faded in from.
    ///
    /// *Realtime-safe: yes*.
    pub fn silence(&mut self) {
        self.state = State::Gap { filled: self.fade.end, returned: None };
    }

    /// Whether a gap is open for so long that its fill has ended.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        matches!(self.state, State::Gap { filled, returned: None } if filled >= self.fade.end)
    }

    /// Whether a gap is open, or what returned has not faded in yet.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn is_concealing(&self) -> bool {
        self.state != State::Through
    }

    /// How much of what was played a fill is made from, frames.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn past_frames(&self) -> usize {
        self.mix.len()
    }

    /// Forgets all that was played.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        self.state = State::Through;
        for channel in &mut self.channels {
            channel.history.fill(0.0);
        }
    }

    /// A gap begins: how each channel goes on.
    fn begin(&mut self) {
        self.mix();
        let Self { channels, burg, similarity, mix, past, samples, weights, next, .. } = self;
        similarity.search(mix);
        let start = mix.len() - samples.len();
        for (sample, mixed) in samples.iter_mut().zip(&mix[start..]) {
            *sample = f64::from(*mixed);
        }
        burg.fit(samples, weights);
        let order = weights.len();
        let reach = (2 * similarity.lag).max(similarity.lag + order).min(past.len());
        for channel in channels {
            let past = &mut past[..reach];
            recall(&channel.history, *next, past);
            similarity.cut(past, &mut channel.cycle);
            // What the repetition leaves over, and would leave a seam, is predicted.
            similarity.leave_over(past, &mut samples[..order]);
            channel.extrapolation.begin(&samples[..order], weights, self.damping);
        }
    }

    /// All channels as one, each with the sign that it has most in common with the loudest by, so that none cancels
    /// another: what they have in common is searched for and predicted once.
    fn mix(&mut self) {
        let Self { channels, mix, past, next, .. } = self;
        for channel in &mut *channels {
            channel.peak = peak(&channel.history);
        }
        mix.fill(0.0);
        let loudest = channels.iter().enumerate().max_by(|a, b| a.1.peak.total_cmp(&b.1.peak));
        let Some(loudest) = loudest.map(|(index, _)| index) else { return };
        recall(&channels[loudest].history, *next, mix);
        for (_, channel) in channels.iter().enumerate().filter(|(index, _)| *index != loudest) {
            recall(&channel.history, *next, past);
            let last = past.len() - self.samples.len().min(past.len());
            let sign = if similarity::product(&mix[last..], &past[last..]) < 0.0 { -1.0 } else { 1.0 };
            for (mixed, sample) in mix.iter_mut().zip(past.iter()) {
                *mixed += sign * sample;
            }
        }
    }

    /// The fill from this position of the gap on, each once and in order: handed to `each` with the sample it is for.
    fn fill(&mut self, channel: usize, first: u32, samples: &mut [f32], mut each: impl FnMut(&mut f32, f32)) {
        let Self { channels, similarity, repetition, fade, .. } = self;
        let Some(channel) = channels.get_mut(channel) else {
            samples.iter_mut().for_each(|sample| each(sample, 0.0));
            return;
        };
        let lag = similarity.lag.clamp(1, channel.cycle.len().max(1));
        let mut place = first as usize % lag;
        for (position, sample) in (first..).zip(samples) {
            let repeated = channel.cycle.get(place).copied().unwrap_or(0.0);
            place = if place + 1 == lag { 0 } else { place + 1 };
            let mut fill = repeated;
            if position < repetition.end {
                // A difference of two samples may be twice as loud as either.
                let left_over = channel.extrapolation.next_sample(2.0 * f64::from(channel.peak));
                let predicted = similarity.gain * repeated + single(left_over);
                fill = predicted + rise(position, repetition) * (repeated - predicted);
            }
            fill = held(fill, channel.peak) * (1.0 - rise(position, fade));
            each(sample, if position < fade.end { fill } else { 0.0 });
        }
    }

    /// Fades what returns in over the fill, as far as it goes in these frames.
    fn fade_in<C: AsMut<[f32]>>(
        &mut self,
        audio: &mut [C],
        frames: Range<usize>,
        filled: u32,
        returned: u32,
    ) {
        let made = count(frames.len()).min(self.return_frames - returned);
        let fade = 0..2 * self.return_frames;
        for (index, channel) in audio.iter_mut().enumerate().take(self.channels.len()) {
            let samples = &mut channel.as_mut()[frames.clone()];
            // In half frames, so that neither end of the fade is spent on a frame that is not faded.
            let mut half = 2 * returned + 1;
            self.fill(index, filled, &mut samples[..made as usize], |sample, fill| {
                *sample = fill + rise(half, &fade) * (*sample - fill);
                half += 2;
            });
        }
        let (filled, returned) = (filled.saturating_add(made), returned + made);
        self.state = if returned < self.return_frames {
            State::Gap { filled, returned: Some(returned) }
        } else {
            State::Through
        };
    }

    /// Remembers what is played.
    fn keep<C: AsMut<[f32]>>(&mut self, audio: &mut [C], frames: Range<usize>) {
        let Some(length) = self.channels.first().map(|channel| channel.history.len()) else { return };
        // Of what is longer than the history, only its end.
        let (mut start, mut next) = (frames.start, self.next);
        if frames.len() > length {
            start = frames.end - length;
        }
        while start < frames.end {
            let run = (frames.end - start).min(length - next);
            for (channel, audio) in self.channels.iter_mut().zip(audio.iter_mut()) {
                channel.history[next..next + run].copy_from_slice(&audio.as_mut()[start..start + run]);
            }
            (start, next) = (start + run, (next + run) % length);
        }
        self.next = next;
    }
}

/// `frames` as far as every slice reaches.
fn within<C: AsMut<[f32]>>(audio: &mut [C], frames: Range<usize>) -> Range<usize> {
    let shortest = audio.iter_mut().map(|channel| channel.as_mut().len()).min().unwrap_or(0);
    let end = frames.end.min(shortest);
    frames.start.min(end)..end
}

/// The last of a history that is written at `next`; what is no number is silence, and what is no sound, at +180 dB, is held
/// there, where its square is still a number.
fn recall(history: &[f32], next: usize, result: &mut [f32]) {
    let (newer, older) = history.split_at(next);
    let newer = &newer[newer.len().saturating_sub(result.len())..];
    let (first, second) = result.split_at_mut(result.len() - newer.len());
    let older = &older[older.len().saturating_sub(first.len())..];
    for (result, samples) in [(first, older), (second, newer)] {
        for (result, &sample) in result.iter_mut().zip(samples) {
            *result = if sample.is_finite() { sample.clamp(-1e9, 1e9) } else { 0.0 };
        }
    }
}

/// The greatest magnitude, but of what is no number.
fn peak(samples: &[f32]) -> f32 {
    let magnitude = |sample: f32| if sample.is_finite() { sample.abs() } else { 0.0 };
    let (chunks, rest) = samples.as_chunks::<8>();
    let mut peaks = [0.0_f32; 8];
    for chunk in chunks {
        for (peak, &sample) in peaks.iter_mut().zip(chunk) {
            *peak = peak.max(magnitude(sample));
        }
    }
    peaks.into_iter().chain(rest.iter().copied().map(magnitude)).fold(0.0, f32::max)
}

/// Unchanged up to `peak`; above bent, without a kink, so that it stays below 1.2 times that.
fn held(sample: f32, peak: f32) -> f32 {
    let room = 0.2 * peak;
    let above = sample.abs() - peak;
    if above > 0.0 { (peak + room * (above / (room + above))).copysign(sample) } else { sample }
}

/// From 0 before a span of frames to 1 after it, without a kink: 3x² − 2x³.
fn rise(position: u32, span: &Range<u32>) -> f32 {
    let length = span.end.saturating_sub(span.start).max(1);
    let x = position.saturating_sub(span.start).min(length) as f32 / length as f32;
    x * x * (3.0 - 2.0 * x)
}

fn count(frames: usize) -> u32 {
    u32::try_from(frames).unwrap_or(u32::MAX)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn whole(value: f64) -> u32 {
    (value + 0.5) as u32
}

#[allow(clippy::cast_possible_truncation, reason = "samples are singles")]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;
