//! The bus layouts of all plug-ins: stereo first, then mono, 5.1 and 7.1, input as wide as output.
//!
//! 3 and 4 channels are left out because nice-plug's VST3 arrangements for them are wrong, and every auxiliary bus is
//! as wide as the main one because its VST3 `setBusArrangements` compares them.

use nice_plug::prelude::*;

const STEREO: NonZeroU32 = new_nonzero_u32(2);
const MONO: NonZeroU32 = new_nonzero_u32(1);
const SIX: NonZeroU32 = new_nonzero_u32(6);
const EIGHT: NonZeroU32 = new_nonzero_u32(8);

const fn layout(
    channels: NonZeroU32,
    name: &'static str,
    aux_output_ports: &'static [NonZeroU32],
    aux_outputs: &'static [&'static str],
) -> AudioIOLayout {
    AudioIOLayout {
        main_input_channels: Some(channels),
        main_output_channels: Some(channels),
        aux_input_ports: &[],
        aux_output_ports,
        names: PortNames {
            layout: Some(name),
            main_input: None,
            main_output: None,
            aux_inputs: &[],
            aux_outputs,
        },
    }
}

/// Main input and main output.
pub const THROUGH: &[AudioIOLayout] = &[
    layout(STEREO, "Stereo", &[], &[]),
    layout(MONO, "Mono", &[], &[]),
    layout(SIX, "6 channels", &[], &[]),
    layout(EIGHT, "8 channels", &[], &[]),
];

const STREAM_ONLY: &[&str] = &["Stream only"];

/// Main input and main output, and an output for the received stream by itself.
pub const THROUGH_AND_STREAM: &[AudioIOLayout] = &[
    layout(STEREO, "Stereo", &[STEREO], STREAM_ONLY),
    layout(MONO, "Mono", &[MONO], STREAM_ONLY),
    layout(SIX, "6 channels", &[SIX], STREAM_ONLY),
    layout(EIGHT, "8 channels", &[EIGHT], STREAM_ONLY),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bus_is_as_wide_as_the_main_one() {
        for layout in THROUGH.iter().chain(THROUGH_AND_STREAM) {
            assert_eq!(layout.main_input_channels, layout.main_output_channels);
            for aux in layout.aux_output_ports {
                assert_eq!(Some(*aux), layout.main_output_channels);
            }
        }
        let widths: Vec<_> = THROUGH.iter().filter_map(|layout| layout.main_output_channels).collect();
        assert_eq!(widths, [STEREO, MONO, SIX, EIGHT]);
    }
}
