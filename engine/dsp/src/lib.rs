//! Digital signal processing.
//!
//! The sentence of this crate: *numbers in, numbers out.* What is in here knows no thread, no host and no graph. It is
//! made off the audio thread, where it allocates all that it will need, and then processes slices of samples of any
//! length.
//!
//! Two builds of one release agree bit for bit on any machine: transcendental functions come from `libm`, nothing is
//! contracted into fused multiply-adds, noise is seeded, and no result depends on how a signal was cut into blocks.
//!
//! It never reads a clock, and but for constructors nothing in it allocates, locks or panics.

pub mod biquad;
pub mod concealment;
pub mod convolution;
pub mod crossover;
pub mod dc_blocker;
pub mod delay;
pub mod diffuser;
pub mod envelope;
pub mod fade;
pub mod feedback_delay_network;
pub mod fft;
pub mod hilbert;
pub mod level;
pub mod lfo;
pub mod linear_prediction;
pub mod loudness;
pub mod maximum;
pub mod noise;
pub mod octave;
pub mod oversampler;
pub mod pan;
pub mod ramp;
pub mod resampler;
pub mod svf;
pub mod true_peak;
pub mod waveshaper;
