//! A port of the system's MIDI where that is always there: CoreMIDI, Windows.

use midir::{MidiOutput, MidiOutputConnection};

use super::NAME;
use super::paced::Direct;

/// Our connection.
pub(super) struct System(MidiOutputConnection);

impl System {
    /// A virtual port that others connect to.
    #[cfg(unix)]
    pub(super) fn open() -> Result<Self, String> {
        use midir::os::unix::VirtualOutput;

        let output = MidiOutput::new(NAME).map_err(|error| error.to_string())?;
        output.create_virtual(&format!("{NAME} {}", super::PORT)).map(Self).map_err(|error| error.to_string())
    }

    /// Windows has no virtual ports: the one that another program made for us, by its name.
    #[cfg(windows)]
    pub(super) fn open() -> Result<Self, String> {
        let output = MidiOutput::new(NAME).map_err(|error| error.to_string())?;
        let ours = output
            .ports()
            .into_iter()
            .find(|port| output.port_name(port).is_ok_and(|name| name.to_lowercase().contains(NAME)));
        let ours = ours.ok_or(
            "Windows has no virtual ports; make one called \"audiocloud\", by loopMIDI for instance, and connect to that",
        )?;
        output.connect(&ours, super::PORT).map(Self).map_err(|error| error.to_string())
    }
}

impl Direct for System {
    fn words(&self) -> String {
        format!("MIDI port \"{NAME}\"")
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.send(bytes).is_ok()
    }
}
