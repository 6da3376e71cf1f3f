//! audiocloud Send
