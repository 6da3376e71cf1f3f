//! What `audiocloud chain` can be told.

use clap::{Args, Subcommand};

use super::Form;

#[derive(Debug, Subcommand)]
pub(crate) enum ChainCommand {
    /// Chains that run in a Remote FX plug-in or for one, and where
    List(Form),
    /// What one is made of, with the value of every parameter
    Show {
        #[command(flatten)]
        which: WhichChain,
    },
    /// Proposes a value to its owner, who takes it from those with the right to control it
    Set {
        #[command(flatten)]
        which: WhichChain,
        /// Its name or number in the chain, as `show` has it
        effect: String,
        /// Its name or number in the effect
        parameter: String,
        /// As it is shown, such as "-12 dB" or "800 Hz"
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Proposes that an effect is passed by, or comes back
    Bypass {
        #[command(flatten)]
        which: WhichChain,
        /// Its name or number in the chain, as `show` has it
        effect: String,
        #[arg(value_enum, default_value_t = Switch::On)]
        on: Switch,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WhichChain {
    /// Its name, the beginning of its id, or `MACHINE/NAME`, as `list` shows them
    pub(crate) chain: String,
    #[command(flatten)]
    pub(crate) form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}
