//! The real-time graph.
