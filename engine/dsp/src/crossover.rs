//! Linkwitz–Riley crossovers.
