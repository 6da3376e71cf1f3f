//! What leaves the machine
