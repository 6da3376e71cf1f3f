//! Pan laws.
