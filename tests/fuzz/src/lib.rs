//! What the fuzz targets have in common.

pub mod chains;
pub mod changes;
pub mod people;
pub mod plugins;
pub mod traversal;
