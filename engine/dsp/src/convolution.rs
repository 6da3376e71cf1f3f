//! Partitioned FFT convolution.
