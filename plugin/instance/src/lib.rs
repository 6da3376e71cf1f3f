//! What all audiocloud plug-ins share.

pub mod editor;
pub mod params;
pub mod state;
pub mod status;
