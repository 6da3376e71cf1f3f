//! Ways from peer to peer through whatever lies between: introductions, probes, relays.
//!
//! One sentence: **no I/O: bytes and time in, actions out.** What a rendezvous node, a relay and their clients say to
//! each other, and when which way is taken; the sockets are the runtime's.
