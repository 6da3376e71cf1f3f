//! DC blocker.
