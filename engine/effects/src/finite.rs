//! What an effect with a memory lets in.

/// 120 dB above full scale.
const LIMIT: f32 = 1e6;

/// Silence for what is not a number, and an end to what would overflow on its way round a feedback loop. All that is
/// audio passes, bit for bit.
///
/// *Realtime-safe: yes*.
pub(crate) fn keep_finite(samples: &mut [f32]) {
    for sample in samples {
        *sample = if sample.is_finite() { sample.clamp(-LIMIT, LIMIT) } else { 0.0 };
    }
}
