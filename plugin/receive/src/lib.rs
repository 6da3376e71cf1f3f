//! audiocloud Receive

pub mod model;
pub mod params;
