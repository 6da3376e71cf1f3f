//! Typed time: frames, rates, and the clocks that time stamps belong to
