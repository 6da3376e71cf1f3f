//! A headless, paced CLAP host that measures
