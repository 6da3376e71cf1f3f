//! State-variable filter.
