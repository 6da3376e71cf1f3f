//! The seed of a test, which a failure prints.

/// A seed that says itself on standard error when the test that holds it panics, so that the run can be had again.
#[derive(Debug)]
pub struct Seed(u64);

impl Seed {
    /// Wraps the number. Keep it until the last assertion.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The number.
    #[must_use]
    pub const fn get(&self) -> u64 {
        self.0
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed of the failed simulation: {:#x}", self.0);
        }
    }
}
