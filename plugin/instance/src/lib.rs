//! What all audiocloud plug-ins share
