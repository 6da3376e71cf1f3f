//! audiocloud Receive
