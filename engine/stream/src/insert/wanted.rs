//! What is to be heard.

/// What is heard where the far end's answer is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Late {
    /// What the sound was about to do, which fades to silence.
    Hold,
    /// The input.
    #[default]
    Dry,
    /// The chain in this process, where it runs; what the sound was about to do where it does not.
    Local,
}

/// What is to be heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The chain in this process, whether the far end answers or not.
    pub here: bool,
    /// Instead of an answer that is missing.
    pub late: Late,
}
