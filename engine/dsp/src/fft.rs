//! Real FFT.
