//! True-peak meter.
