//! What the fuzz targets have in common.

pub mod people;
pub mod traversal;
