//! Version 1 of the wire format: bytes and nothing else
