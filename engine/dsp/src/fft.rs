//! Fast Fourier transform of real signals.
//!
//! Even samples become the real and odd samples the imaginary part of a complex signal of half the length, which is
//! transformed and then untangled (H. V. Sorensen, D. L. Jones, M. T. Heideman and C. S. Burrus, *Real-valued fast
//! Fourier transform algorithms*, IEEE Trans. ASSP 35(6), 1987). The complex transform is Stockham's, which needs no
//! bit reversal (W. T. Cochran et al., *What is the fast Fourier transform?*, Proc. IEEE 55(10), 1967), in radix 4 with
//! one last stage of radix 2 where needed. Real and imaginary parts lie in arrays of their own, four lanes of which
//! make a vector.

use std::f64::consts::TAU;

const SIZE_MIN: usize = 16;
const SIZE_MAX: usize = 1 << 20;

/// What the loops calculate with at a time: one vector register of every machine we run on.
type Lanes = [f32; 4];

/// A plan for transforms of one size, with the memory they work in.
///
/// A spectrum of `size` samples is a pair of slices, real and imaginary parts, of `size / 2` bins each: bin `k` is
/// `Σ x[n]·e^(−2πi·kn/size)`. The imaginary part of bin 0, which would be zero, holds the bin at half the sample rate,
/// which is real too.
#[derive(Clone, Debug)]
pub struct RealFft {
    /// Complex points: half the size.
    points: usize,
    stages: Box<[Stage]>,
    /// −i·e^(−2πi·k/size) for k from 1 up to, but not including, a quarter of the size.
    rotations: Complex,
    scratch: Complex,
}

/// Real and imaginary parts of equal length.
#[derive(Clone, Debug)]
struct Complex {
    re: Box<[f32]>,
    im: Box<[f32]>,
}

impl RealFft {
    /// A plan for `size` samples: a power of two from 16 to 2²⁰, to which any other size is rounded up or held.
    ///
    /// *Realtime-safe: no*, it allocates.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let size = size.clamp(SIZE_MIN, SIZE_MAX).next_power_of_two();
        let points = size / 2;
        let strides = std::iter::successors(Some(1), |stride| Some(stride * 4));
        let stages =
            strides.take_while(|stride| stride * 4 <= points).map(|stride| Stage::new(points, stride));
        Self {
            points,
            stages: stages.collect(),
            rotations: Complex::from_angles((1..points / 2).map(|k| -turn(k, size) - TAU / 4.0)),
            scratch: Complex::from_angles((0..points).map(|_| 0.0)),
        }
    }

    /// How many samples it transforms. *Realtime-safe: yes.*
    #[must_use]
    pub fn size(&self) -> usize {
        self.points * 2
    }

    /// The spectrum of `size` samples, unscaled. With slices of other lengths nothing is written. *Realtime-safe: yes.*
    pub fn forward(&mut self, samples: &[f32], re: &mut [f32], im: &mut [f32]) {
        if (samples.len(), re.len(), im.len()) != (self.size(), self.points, self.points) {
            return;
        }
        let scratch = (&mut self.scratch.re[..], &mut self.scratch.im[..]);
        // Each stage goes from one pair to the other: start where the last one will end in the caller's.
        let (from, to) =
            if self.stages.len().is_multiple_of(2) { ((re, im), scratch) } else { (scratch, (re, im)) };
        for ((pair, re), im) in samples.as_chunks().0.iter().zip(&mut *from.0).zip(&mut *from.1) {
            [*re, *im] = *pair;
        }
        let (re, im) = transform(&self.stages, from, to);
        (re[0], im[0]) = (re[0] + im[0], re[0] - im[0]);
        untangle(re, im, &self.rotations, 1.0, 0.5);
    }

    /// The `size` samples of a spectrum, scaled so that it undoes [`RealFft::forward`]. The spectrum is used up as
    /// working memory. With slices of other lengths nothing is written. *Realtime-safe: yes.*
    pub fn inverse(&mut self, re: &mut [f32], im: &mut [f32], samples: &mut [f32]) {
        if (samples.len(), re.len(), im.len()) != (self.size(), self.points, self.points) {
            return;
        }
        let scale = 1.0 / small_f32(self.size());
        (re[0], im[0]) = ((re[0] + im[0]) * scale, (re[0] - im[0]) * scale);
        untangle(re, im, &self.rotations, -1.0, scale);
        // Exchanging real and imaginary parts before and after makes an inverse of a forward transform.
        let (im, re) = transform(&self.stages, (im, re), (&mut self.scratch.im, &mut self.scratch.re));
        for ((pair, re), im) in samples.as_chunks_mut().0.iter_mut().zip(re).zip(im) {
            *pair = [*re, *im];
        }
    }
}

impl Complex {
    /// e^(i·angle) for each angle.
    fn from_angles(angles: impl Iterator<Item = f64> + Clone) -> Self {
        Self {
            re: angles.clone().map(|angle| narrow(libm::cos(angle))).collect(),
            im: angles.map(|angle| narrow(libm::sin(angle))).collect(),
        }
    }
}

/// Turns the transform of a half-length complex signal into the spectrum of the real one, or back with the opposite
/// `direction`, all bins but the first.
///
/// With E and D half the sum and half the difference of bin k and the conjugate of its mirror image, the two become
/// E + rD and the conjugate of E − rD; `scale` stands for that half.
fn untangle(re: &mut [f32], im: &mut [f32], rotations: &Complex, direction: f32, scale: f32) {
    let middle = re.len() / 2;
    let (re_low, re_high) = re.split_at_mut(middle);
    let (im_low, im_high) = im.split_at_mut(middle);
    let low = re_low[1..].iter_mut().zip(&mut im_low[1..]);
    let high = re_high[1..].iter_mut().rev().zip(im_high[1..].iter_mut().rev());
    let rotations = rotations.re.iter().zip(&rotations.im);
    for (((a_re, a_im), (b_re, b_im)), (r_re, r_im)) in low.zip(high).zip(rotations) {
        let (e_re, e_im) = ((*a_re + *b_re) * scale, (*a_im - *b_im) * scale);
        let (d_re, d_im) = ((*a_re - *b_re) * scale, (*a_im + *b_im) * scale);
        let r_im = *r_im * direction;
        let (t_re, t_im) = (d_re * *r_re - d_im * r_im, d_re * r_im + d_im * *r_re);
        (*a_re, *a_im) = (e_re + t_re, e_im + t_im);
        (*b_re, *b_im) = (e_re - t_re, t_im - e_im);
    }
    re_high[0] *= 2.0 * scale;
    im_high[0] *= -2.0 * scale;
}

/// One pass of radix-4 butterflies from one array to another.
///
/// At stage `s` the signal is `stride` interleaved signals of `points / stride` points each.
#[derive(Clone, Debug)]
struct Stage {
    stride: usize,
    /// For each butterfly of one of those signals e^(−iφ), e^(−2iφ), e^(−3iφ).
    twiddles: [Complex; 3],
}

/// Real and imaginary parts of a signal that is being transformed.
type Pair<'a> = (&'a mut [f32], &'a mut [f32]);

/// The unscaled complex transform of `from`, of which either pair ends up holding the result, the one returned.
fn transform<'a>(stages: &[Stage], mut from: Pair<'a>, mut to: Pair<'a>) -> Pair<'a> {
    for stage in stages {
        stage.run(from.0, from.1, to.0, to.1);
        std::mem::swap(&mut from, &mut to);
    }
    // What is left of a size that is no power of four: two points at the greatest stride.
    let points = from.0.len();
    if !points.trailing_zeros().is_multiple_of(2) {
        for part in [&mut *from.0, &mut *from.1] {
            let (a, b) = part.split_at_mut(points / 2);
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
    }
    from
}

impl Stage {
    fn new(points: usize, stride: usize) -> Self {
        let length = points / stride;
        let twiddles =
            [1, 2, 3].map(|m| Complex::from_angles((0..length / 4).map(move |p| -turn(m * p, length))));
        Self { stride, twiddles }
    }

    fn run(&self, re: &[f32], im: &[f32], out_re: &mut [f32], out_im: &mut [f32]) {
        if self.stride == 1 {
            self.run_first(re, im, out_re, out_im);
        } else {
            self.run_strided(
                re.as_chunks().0,
                im.as_chunks().0,
                out_re.as_chunks_mut().0,
                out_im.as_chunks_mut().0,
            );
        }
    }

    /// At stride 1 neighbouring butterflies are the lanes.
    fn run_first(&self, re: &[f32], im: &[f32], out_re: &mut [f32], out_im: &mut [f32]) {
        let [re, im] = [re, im].map(quarters);
        let out_re = out_re.as_chunks_mut::<4>().0;
        let out_im = out_im.as_chunks_mut::<4>().0;
        let count = out_re.len().min(out_im.len());
        let [w1, w2, w3] = [0, 1, 2].map(|m| (&self.twiddles[m].re[..count], &self.twiddles[m].im[..count]));
        let [re, im] = [re, im].map(|parts| parts.map(|part| &part[..count]));
        for p in 0..count {
            let sums = [re[0][p] + re[2][p], im[0][p] + im[2][p], re[1][p] + re[3][p], im[1][p] + im[3][p]];
            let differences =
                [re[0][p] - re[2][p], im[0][p] - im[2][p], re[1][p] - re[3][p], im[1][p] - im[3][p]];
            let (y1_re, y1_im) = (differences[0] + differences[3], differences[1] - differences[2]);
            let (y2_re, y2_im) = (sums[0] - sums[2], sums[1] - sums[3]);
            let (y3_re, y3_im) = (differences[0] - differences[3], differences[1] + differences[2]);
            out_re[p] = [
                sums[0] + sums[2],
                y1_re * w1.0[p] - y1_im * w1.1[p],
                y2_re * w2.0[p] - y2_im * w2.1[p],
                y3_re * w3.0[p] - y3_im * w3.1[p],
            ];
            out_im[p] = [
                sums[1] + sums[3],
                y1_re * w1.1[p] + y1_im * w1.0[p],
                y2_re * w2.1[p] + y2_im * w2.0[p],
                y3_re * w3.1[p] + y3_im * w3.0[p],
            ];
        }
    }

    /// At greater strides the lanes are samples of different signals, and share their twiddles.
    fn run_strided(&self, re: &[Lanes], im: &[Lanes], out_re: &mut [Lanes], out_im: &mut [Lanes]) {
        let stride = self.stride / 4;
        let [re, im] = [re, im].map(quarters);
        let outs = out_re.chunks_exact_mut(self.stride).zip(out_im.chunks_exact_mut(self.stride));
        for (p, (out_re, out_im)) in outs.enumerate() {
            let w = [0, 1, 2].map(|m| (self.twiddles[m].re[p], self.twiddles[m].im[p]));
            let start = p * stride;
            let [re, im] = [re, im].map(|parts| parts.map(|part| &part[start..start + stride]));
            let out_re = quarters_mut(out_re);
            let out_im = quarters_mut(out_im);
            let [re0, re1, re2, re3] = re;
            let [im0, im1, im2, im3] = im;
            let [o_re0, o_re1, o_re2, o_re3] = out_re.map(|part| &mut part[..stride]);
            let [o_im0, o_im1, o_im2, o_im3] = out_im.map(|part| &mut part[..stride]);
            for q in 0..stride {
                let (s02_re, s02_im) = (sum(re0[q], re2[q]), sum(im0[q], im2[q]));
                let (s13_re, s13_im) = (sum(re1[q], re3[q]), sum(im1[q], im3[q]));
                let (d02_re, d02_im) = (difference(re0[q], re2[q]), difference(im0[q], im2[q]));
                let (d13_re, d13_im) = (difference(re1[q], re3[q]), difference(im1[q], im3[q]));
                (o_re0[q], o_im0[q]) = (sum(s02_re, s13_re), sum(s02_im, s13_im));
                (o_re1[q], o_im1[q]) = rotated(sum(d02_re, d13_im), difference(d02_im, d13_re), w[0]);
                (o_re2[q], o_im2[q]) = rotated(difference(s02_re, s13_re), difference(s02_im, s13_im), w[1]);
                (o_re3[q], o_im3[q]) = rotated(difference(d02_re, d13_im), sum(d02_im, d13_re), w[2]);
            }
        }
    }
}

fn quarters<T>(whole: &[T]) -> [&[T]; 4] {
    let (front, back) = whole.split_at(whole.len() / 2);
    let ((a, b), (c, d)) = (front.split_at(front.len() / 2), back.split_at(front.len() / 2));
    [a, b, c, d]
}

fn quarters_mut<T>(whole: &mut [T]) -> [&mut [T]; 4] {
    let quarter = whole.len() / 4;
    let (front, back) = whole.split_at_mut(quarter * 2);
    let ((a, b), (c, d)) = (front.split_at_mut(quarter), back.split_at_mut(quarter));
    [a, b, c, d]
}

#[inline(always)]
fn sum(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane] + b[lane])
}

#[inline(always)]
fn difference(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane] - b[lane])
}

#[inline(always)]
fn rotated(re: Lanes, im: Lanes, (w_re, w_im): (f32, f32)) -> (Lanes, Lanes) {
    (
        std::array::from_fn(|lane| re[lane] * w_re - im[lane] * w_im),
        std::array::from_fn(|lane| re[lane] * w_im + im[lane] * w_re),
    )
}

/// The angle of `k` steps of `size` around the circle.
fn turn(k: usize, size: usize) -> f64 {
    TAU * f64::from(small_f32(k)) / f64::from(small_f32(size))
}

/// Exact: counts in here are below 2²⁴.
fn small_f32(count: usize) -> f32 {
    count as f32
}

#[allow(clippy::cast_possible_truncation, reason = "rounding to single precision is what it is for")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reproducible noise in ±1.
    fn noise(frames: usize) -> Vec<f32> {
        let mut state = 0x2545_f491u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            small_f32((state >> 8) as usize) / 8_388_608.0 - 1.0
        };
        (0..frames).map(|_| next()).collect()
    }

    fn spectrum(samples: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut re, mut im) = (vec![0.0; samples.len() / 2], vec![0.0; samples.len() / 2]);
        RealFft::new(samples.len()).forward(samples, &mut re, &mut im);
        (re, im)
    }

    /// The definition.
    fn bin(samples: &[f32], k: usize) -> (f64, f64) {
        let size = samples.len();
        samples.iter().enumerate().fold((0.0, 0.0), |(re, im), (n, x)| {
            let angle = turn(n * k % size, size);
            (re + f64::from(*x) * angle.cos(), im - f64::from(*x) * angle.sin())
        })
    }

    fn db(error_squared: f64, reference_squared: f64) -> f64 {
        10.0 * (error_squared / reference_squared).log10()
    }

    #[test]
    fn it_is_the_discrete_fourier_transform() {
        for size in [16, 32, 64, 128, 256, 512, 1024, 2048] {
            let samples = noise(size);
            let (re, im) = spectrum(&samples);
            let (mut error, mut power) = (0.0, 0.0);
            for k in 0..=size / 2 {
                let (got_re, got_im) = match k {
                    0 => (re[0], 0.0),
                    _ if k == size / 2 => (im[0], 0.0),
                    _ => (re[k], im[k]),
                };
                let (expected_re, expected_im) = bin(&samples, k);
                error +=
                    (f64::from(got_re) - expected_re).powi(2) + (f64::from(got_im) - expected_im).powi(2);
                power += expected_re.powi(2) + expected_im.powi(2);
            }
            assert!(db(error, power) < -135.0, "{size}: {:.1} dB", db(error, power));
        }
    }

    #[test]
    fn long_transforms_agree_bin_by_bin() {
        for size in [32_768, 65_536] {
            let samples = noise(size);
            let (re, im) = spectrum(&samples);
            for k in [1, 2, 3, 4_095, 8_192, size / 4, size / 2 - 1] {
                let (expected_re, expected_im) = bin(&samples, k);
                let error = (f64::from(re[k]) - expected_re).hypot(f64::from(im[k]) - expected_im);
                // The bins of noise have a power of a third of the size, on average.
                assert!(error / f64::from(small_f32(size) / 3.0).sqrt() < 1e-6, "{size}, bin {k}: {error}");
            }
        }
    }

    #[test]
    fn energy_is_the_same_in_both_domains() {
        let samples = noise(4096);
        let (re, im) = spectrum(&samples);
        let power = |values: &[f32]| values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let (dc, nyquist) = (f64::from(re[0]).powi(2), f64::from(im[0]).powi(2));
        let spectral = (2.0 * (power(&re) + power(&im)) - dc - nyquist) / 4096.0;
        assert!((spectral / power(&samples) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn there_and_back() {
        for size in [16, 32, 64, 128, 1024, 8192, 65_536] {
            let samples = noise(size);
            let (mut re, mut im) = spectrum(&samples);
            let mut back = vec![0.0; size];
            RealFft::new(size).inverse(&mut re, &mut im, &mut back);
            let error = samples.iter().zip(&back).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            let power = samples.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>();
            assert!(db(error, power) < -132.0, "{size}: {:.1} dB", db(error, power));
        }
    }

    #[test]
    fn sizes_are_held_and_other_lengths_refused() {
        for (asked, made) in [(0, 16), (16, 16), (17, 32), (1000, 1024), (usize::MAX, SIZE_MAX)] {
            assert_eq!(RealFft::new(asked).size(), made);
        }
        let mut fft = RealFft::new(16);
        let (mut re, mut im) = ([7.0; 8], [7.0; 8]);
        fft.forward(&[1.0; 14], &mut re, &mut im);
        assert_eq!((re, im), ([7.0; 8], [7.0; 8]));
        fft.inverse(&mut re, &mut im, &mut []);
        assert_eq!((re, im), ([7.0; 8], [7.0; 8]));
    }
}
