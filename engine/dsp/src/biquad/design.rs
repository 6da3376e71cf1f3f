use super::{Coefficients, Shape};

/// Of the sample rate: 2.4 Hz at 48 kHz. Lower, and the poles are closer to 1 than `f32` can place them.
const FREQUENCY_MIN: f64 = 5e-5;
/// Of the sample rate. At half of it the bilinear transform has no frequency left.
const FREQUENCY_MAX: f64 = 0.49;
const Q_MIN: f64 = 0.01;
const Q_MAX: f64 = 1000.0;
const GAIN_DB_MAX: f64 = 120.0;

/// A transfer function whose first denominator coefficient is 1.
struct Exact {
    b: [f64; 3],
    a: [f64; 2],
}

impl Coefficients {
    /// The filter of a shape, after Bristow-Johnson's cookbook, for a frequency between 0.005 % and 49 % of the sample
    /// rate, a Q between 0.01 and 1000 and a gain within ±120 dB; what is outside is moved to the border.
    /// Only peaks and shelves have a gain. Anything that is not a finite number designs the identity.
    ///
    /// The result is stable, and its gain at 0 Hz and at half the sample rate is that of the exact design as closely
    /// as `f32` can hold it.
    ///
    /// *Realtime-safe: yes*; it computes a sine, a cosine and, for a gain, a power.
    #[must_use]
    pub fn design(shape: Shape, frequency_hz: f64, q: f64, gain_db: f64, sample_rate_hz: f64) -> Self {
        let frequency = frequency_hz / sample_rate_hz;
        if !(frequency.is_finite() && q.is_finite() && gain_db.is_finite()) {
            return Self::IDENTITY;
        }
        let frequency = frequency.clamp(FREQUENCY_MIN, FREQUENCY_MAX);
        let gain_db = gain_db.clamp(-GAIN_DB_MAX, GAIN_DB_MAX);
        let rounded = exact(shape, frequency, q.clamp(Q_MIN, Q_MAX), gain_db).rounded();
        match shape {
            // Whose gain is 0 dB everywhere for as long as one polynomial is the other's mirror image.
            Shape::AllPass => Self { b0: rounded.a2, b1: rounded.a1, b2: 1.0, ..rounded },
            _ => rounded,
        }
    }
}

/// The cookbook. `frequency` is in cycles per sample.
fn exact(shape: Shape, frequency: f64, q: f64, gain_db: f64) -> Exact {
    let angle = std::f64::consts::TAU * frequency;
    let (sin, cos) = (libm::sin(angle), libm::cos(angle));
    let alpha = sin / (2.0 * q);
    let resonance = [1.0 + alpha, -2.0 * cos, 1.0 - alpha];
    let (b, a) = match shape {
        Shape::LowPass => ([(1.0 - cos) / 2.0, 1.0 - cos, (1.0 - cos) / 2.0], resonance),
        Shape::HighPass => ([(1.0 + cos) / 2.0, -1.0 - cos, (1.0 + cos) / 2.0], resonance),
        Shape::BandPassSkirt => ([sin / 2.0, 0.0, -sin / 2.0], resonance),
        Shape::BandPassPeak => ([alpha, 0.0, -alpha], resonance),
        Shape::Notch => ([1.0, -2.0 * cos, 1.0], resonance),
        Shape::AllPass => ([1.0 - alpha, -2.0 * cos, 1.0 + alpha], resonance),
        Shape::Peak => {
            let gain = libm::pow(10.0, gain_db / 40.0);
            (
                [1.0 + alpha * gain, -2.0 * cos, 1.0 - alpha * gain],
                [1.0 + alpha / gain, -2.0 * cos, 1.0 - alpha / gain],
            )
        }
        Shape::LowShelf => {
            let (gain, lower, upper) = shelves(gain_db, cos, alpha);
            (upper.map(|b| gain * b), lower)
        }
        Shape::HighShelf => {
            let (gain, lower, upper) = shelves(gain_db, cos, alpha);
            (lower.map(|b| gain * b), upper)
        }
    };
    Exact { b: b.map(|b| b / a[0]), a: [a[1] / a[0], a[2] / a[0]] }
}

/// The square root of the gain, and the two polynomials whose ratio is a shelf.
fn shelves(gain_db: f64, cos: f64, alpha: f64) -> (f64, [f64; 3], [f64; 3]) {
    let gain = libm::pow(10.0, gain_db / 40.0);
    let (sum, difference) = (gain + 1.0, gain - 1.0);
    let damping = 2.0 * gain.sqrt() * alpha;
    let lower = sum + difference * cos;
    let upper = sum - difference * cos;
    (
        gain,
        [lower + damping, -2.0 * (difference + sum * cos), lower - damping],
        [upper + damping, 2.0 * (difference - sum * cos), upper - damping],
    )
}

impl Exact {
    /// Rounds to `f32` where it is heard least.
    ///
    /// A filter far below the sample rate has its poles and zeros close to `z = 1`, where both polynomials are tiny
    /// differences of large coefficients: rounded one by one, the coefficients of a 20 Hz bell at 192 kHz can leave its
    /// gain at 0 Hz several dB wrong. So the rounding error of one coefficient is handed to the next, the
    /// denominator is kept inside the triangle of stability, and the numerator is then fitted to the denominator as it
    /// was rounded, so that their ratio is right at both ends of the spectrum.
    fn rounded(&self) -> Coefficients {
        let [b0, b1, b2] = self.b;
        let [a1, a2] = self.a;
        let (rounded_a1, rounded_a2) = stable(a1, a2);
        let denominator = |sign: f64| 1.0 + sign * f64::from(rounded_a1) + f64::from(rounded_a2);
        let at_zero = (b0 + b1 + b2) / (1.0 + a1 + a2) * denominator(1.0);
        let at_half_rate = (b0 - b1 + b2) / (1.0 - a1 + a2) * denominator(-1.0);

        let even = (at_zero + at_half_rate) / 2.0;
        let odd = (at_zero - at_half_rate) / 2.0;
        let rounded_b0 = round((even + b0 - b2) / 2.0);
        let rounded_b1 = round(odd);
        let rounded_b2 = round(at_zero - f64::from(rounded_b0) - f64::from(rounded_b1));
        Coefficients { b0: rounded_b0, b1: rounded_b1, b2: rounded_b2, a1: rounded_a1, a2: rounded_a2 }
    }
}

/// Rounds a denominator such that its poles stay inside the unit circle, where `|a2| < 1` and `|a1| < 1 + a2`.
fn stable(a1: f64, a2: f64) -> (f32, f32) {
    /// The distance between neighbouring numbers below 1, where `a2` is when this matters.
    const STEP: f64 = f32::EPSILON as f64 / 2.0;
    let a1_max = 2.0 - 4.0 * STEP;
    let rounded_a1 = round(a1.clamp(-a1_max, a1_max));
    // What 1 − |a1| + a2 lost, the denominator at the end of the spectrum that the poles are closer to, goes into a2.
    let lost = f64::from(rounded_a1.abs()) - a1.abs();
    let rounded_a2 = round((a2 + lost).clamp(f64::from(rounded_a1.abs()) - 1.0 + STEP, 1.0 - STEP));
    (rounded_a1, rounded_a2)
}

#[allow(clippy::cast_possible_truncation, reason = "the nearest single is what is asked for")]
fn round(value: f64) -> f32 {
    value as f32
}
