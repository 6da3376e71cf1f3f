//! audiocloud Send

pub mod model;
pub mod params;
