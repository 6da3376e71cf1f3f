//! CLAP and VST3 bundles and where DAWs look for them
