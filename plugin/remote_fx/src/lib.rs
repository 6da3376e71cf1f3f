//! audiocloud Remote FX: a chain of effects that runs in another room, as an insert.
